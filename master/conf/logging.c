/*
 * logging.c: the `log` section as the settings of a process (spec/config.md
 * 4.2, 14): levels of components, fields of a line in JSON.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../helpers/json.h"
#include "internal.h"

/* 0: says nothing of a level. */
static int32_t
level_of(const struct tree *t)
{
	static const struct {
		const char *name;
		int32_t level;
	} levels[] = { { "DEBUG", LOG_LVL_DEBUG }, { "INFO", LOG_LVL_INFO },
		{ "WARN", LOG_LVL_WARNING }, { "WARNING", LOG_LVL_WARNING },
		{ "ERROR", LOG_LVL_ERROR }, { "FATAL", LOG_LVL_CRITICAL },
		{ "CRITICAL", LOG_LVL_CRITICAL } };

	if (t != NULL && t->type == TREE_INT && t->u.i >= 0 && t->u.i <= 1000)
		return (int32_t)t->u.i;
	for (size_t i = 0; t != NULL && t->type == TREE_TEXT &&
	     i < sizeof(levels) / sizeof(levels[0]);
	     i++)
		if (strcasecmp(t->u.s, levels[i].name) == 0)
			return levels[i].level;
	return 0;
}

/*
 * log.loggers names modules of the reference, and what is said of one holds
 * for those below it.  The modules that a process stands for: of several that
 * are configured the longest name decides, then the one that says most.
 */
static int32_t
component_level(const struct tree *loggers, enum proc proc, int32_t level)
{
	static const struct {
		enum proc proc;
		const char *name;
	} modules[] = { { PROC_MASTER, "patroni.__main__" },
		{ PROC_MASTER, "patroni.config" },
		{ PROC_MASTER, "patroni.daemon" },
		{ PROC_MASTER, "patroni.log" }, { PROC_DCS, "patroni.dcs" },
		{ PROC_REST, "patroni.api" }, { PROC_POSTGRES, "patroni.ha" },
		{ PROC_POSTGRES, "patroni.postgresql" },
		{ PROC_POSTGRES, "patroni.async_executor" },
		{ PROC_WATCHDOG, "patroni.watchdog" } };
	const struct tree *t;
	const char *key;
	size_t i, len, best = 0;
	int32_t found;
	uint32_t k;

	for (i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
		for (k = 0; k < tree_count(loggers); k++) {
			t = tree_child(loggers, k);
			key = t->key == NULL ? "" : t->key;
			len = strlen(key);
			if (modules[i].proc != proc || len < best ||
			    strncmp(modules[i].name, key, len) != 0 ||
			    (modules[i].name[len] != '\0' &&
				modules[i].name[len] != '.') ||
			    (found = level_of(t)) == 0)
				continue;
			if (len > best || found < level)
				level = found;
			best = len;
		}
	return level;
}

/* One field as "name=shown\n"; one that does not fit is left out whole. */
static void
add_field(struct log_settings *s, const char *name, size_t n, const char *shown)
{
	size_t used = strlen(s->fields);
	int len;

	if (n == 0 || memchr(name, '=', n) != NULL ||
	    strchr(shown, '\n') != NULL)
		return;
	len = snprintf(s->fields + used, sizeof(s->fields) - used, "%.*s=%s\n",
	    (int)n, name, shown);
	if (len < 0 || (size_t)len >= sizeof(s->fields) - used)
		s->fields[used] = '\0';
}

/* Every %(name) of a pattern. */
static void
pattern_fields(struct log_settings *s, const char *format)
{
	char name[64];
	const char *end;
	size_t n;

	while ((format = strstr(format, "%(")) != NULL) {
		format += 2;
		if ((end = strchr(format, ')')) == NULL)
			return;
		n = (size_t)(end - format);
		if (n < sizeof(name)) {
			memcpy(name, format, n);
			name[n] = '\0';
			add_field(s, name, n, name);
		}
		format = end;
	}
}

static void
json_fields(struct log_settings *s, const struct tree *format)
{
	const struct tree *t;
	uint32_t i;

	if (format != NULL && format->type == TREE_TEXT)
		pattern_fields(s, format->u.s);
	if (format == NULL || format->type != TREE_LIST)
		return;
	for (i = 0; i < tree_count(format); i++) {
		t = tree_child(format, i);
		if (t->type == TREE_TEXT)
			add_field(s, t->u.s, strlen(t->u.s), t->u.s);
		else if (t->type == TREE_MAP && tree_count(t) == 1 &&
		    (t = tree_child(t, 0))->type == TREE_TEXT)
			add_field(s, t->key, strlen(t->key), t->u.s);
	}
}

/* The map's JSON without its braces. */
static void
static_fields(struct log_settings *s, const struct tree *map)
{
	char *text;
	size_t len;

	if (map == NULL || map->type != TREE_MAP || tree_count(map) == 0 ||
	    (text = tree_to_json(map, JSON_FORM_COMPACT, &len)) == NULL)
		return;
	if (len >= 2 && len - 2 < sizeof(s->statics)) {
		memcpy(s->statics, text + 1, len - 2);
		s->statics[len - 2] = '\0';
	}
	free(text);
}

void
conf_log_settings(
    const struct conf *conf, enum proc proc, struct log_settings *s)
{
	const struct tree *root = conf->effective;
	const struct tree *format = tree_path(root, "log.format");

	memset(s, 0, sizeof(*s));
	if ((s->level = level_of(tree_path(root, "log.level"))) == 0)
		s->level = LOG_LVL_INFO;
	s->level =
	    component_level(tree_path(root, "log.loggers"), proc, s->level);
	s->json =
	    strcmp(tree_path_text(root, "log.type", "plain"), "json") == 0;
	if (s->json) {
		json_fields(s, format);
		static_fields(s, tree_path(root, "log.static_fields"));
	}
	/* too long for the setting: the default is better than a part */
	text_set(s->format, sizeof(s->format),
	    tree_path_text(root, "log.format", ""));
	text_set(s->dateformat, sizeof(s->dateformat),
	    tree_path_text(root, "log.dateformat", ""));
}
