/*
 * conf_options.c: arguments of programs and scripts from the configuration
 * (spec/postgres.md 13.2-13.4, 14.2, 14.4): option lists, word splitting,
 * replica methods, custom bootstrap.  Runs nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/log.h"
#include "conf_util.h"

static const char *const initdb_refused[] = { "pgdata", "nosync", "pwfile",
	"sync-only", "version", NULL };
static const char *const basebackup_refused[] = { "pgdata", "format",
	"wal-method", "xlog-method", "gzip", "version", "dbname", "host",
	"port", "username", "password", NULL };
static const char *const rewind_refused[] = { "target-pgdata", "source-pgdata",
	"source-server", "write-recovery-conf", "dry-run", "restore-target-wal",
	"config-file", "no-ensure-shutdown", "version", "help", NULL };

static const struct {
	const char *name;
	const char *const *refused;
} tools[] = {
	[PGTOOL_INITDB] = { "initdb", initdb_refused },
	[PGTOOL_BASEBACKUP] = { "basebackup", basebackup_refused },
	[PGTOOL_REWIND] = { "rewind", rewind_refused },
};

static bool
in_list(const char *s, const char *const *v)
{
	for (; *v != NULL; v++)
		if (strcmp(s, *v) == 0)
			return true;
	return false;
}

/* ---- words ---- */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* One word of a POSIX shell line from *s; false when a quote stays open. */
static bool
read_word(const char **s, struct text *out)
{
	const char *p = *s;
	char quote = '\0';

	for (; *p != '\0' && (quote != '\0' || !is_blank(*p)); p++) {
		if (quote == '\0' && (*p == '\'' || *p == '"')) {
			quote = *p;
			continue;
		}
		if (quote != '\0' && *p == quote) {
			quote = '\0';
			continue;
		}
		if (*p == '\\' && quote != '\'') {
			if (p[1] == '\0')
				return false;
			/* in double quotes only these two are escaped */
			if (quote == '\0' || p[1] == '"' || p[1] == '\\')
				p++;
		}
		text_add_n(out, p, 1);
	}
	*s = p;
	return quote == '\0';
}

struct tree *
pgwords(const char *command, struct pgerr *err)
{
	struct tree *list = must(tree_list());
	const char *s = command;

	for (;;) {
		struct text word = { 0 };
		char *w;

		while (is_blank(*s))
			s++;
		if (*s == '\0')
			break;
		if (!read_word(&s, &word)) {
			free(word.s);
			fail(err, "'%s': quotation is not closed", command);
			tree_free(list);
			return NULL;
		}
		w = text_take(&word);
		add_text(list, w);
		free(w);
	}
	if (tree_count(list) > 0)
		return list;
	fail(err, "the command is empty");
	tree_free(list);
	return NULL;
}

/* A value that is one fully quoted shell word, without its quotes. */
static char *
unquoted(const struct tree *t)
{
	char *s = scalar_text(t);
	struct tree *words;

	if (s[0] != '\'' && s[0] != '"')
		return s;
	words = pgwords(s, NULL);
	if (tree_count(words) == 1 && strlen(s) > 1 &&
	    s[strlen(s) - 1] == s[0]) {
		free(s);
		s = must(strdup(tree_child(words, 0)->u.s));
	}
	tree_free(words);
	return s;
}

/* ---- options (14.4) ---- */

struct options {
	enum pgtool tool;
	uint32_t version;
	struct tree *out;
	struct pgerr *err;
	bool failed;
};

static void __attribute__((format(printf, 2, 3)))
violation(struct options *o, const char *fmt, ...)
{
	char text[TEXT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (o->tool != PGTOOL_INITDB) {
		log_error("%s", text);
		return;
	}
	o->failed = true;
	fail(o->err, "%s", text);
}

static bool
allowed(struct options *o, const char *key, const char *value)
{
	bool compress =
	    o->tool == PGTOOL_BASEBACKUP && strcmp(key, "compress") == 0;

	if (in_list(key, tools[o->tool].refused) ||
	    (compress && !pgfeatures(o->version).server_compression)) {
		violation(o, "%s option for %s is not allowed", key,
		    tools[o->tool].name);
		return false;
	}
	if (compress && (value == NULL || strncmp(value, "server", 6) != 0)) {
		violation(o,
		    "compress option for basebackup must use "
		    "server-side compression (e.g., server-gzip, server-zstd)."
		    " Client-side compression is not allowed.");
		return false;
	}
	return true;
}

static void
pair(struct options *o, const char *key, const struct tree *t)
{
	char *value = unquoted(t);

	if (allowed(o, key, value))
		add_textf(o->out, "--%s=%s", key, value);
	free(value);
}

static void
map_options(struct options *o, const struct tree *map)
{
	for (uint32_t i = 0; i < tree_count(map); i++) {
		const struct tree *t = tree_child(map, i);

		if (t->type == TREE_MAP || t->type == TREE_LIST)
			violation(o,
			    "Error when parsing %s key-value option "
			    "%s: only one key-value is allowed and value "
			    "should be a string",
			    tools[o->tool].name, t->key);
		else if (t->key[0] != '\0' && tree_truthy(t))
			pair(o, t->key, t);
	}
}

static void
list_option(struct options *o, const struct tree *t)
{
	const struct tree *v = tree_child(t, 0);

	if (t->type == TREE_TEXT) {
		if (allowed(o, t->u.s, NULL))
			add_textf(o->out, "--%s", t->u.s);
		return;
	}
	if (t->type != TREE_MAP) {
		violation(o,
		    "Error when parsing %s option %s: value should "
		    "be string value or a single key-value pair",
		    tools[o->tool].name, "list item");
		return;
	}
	if (tree_count(t) != 1 || v->type == TREE_NULL || v->type == TREE_MAP ||
	    v->type == TREE_LIST)
		violation(o,
		    "Error when parsing %s key-value option %s: only "
		    "one key-value is allowed and value should be a string",
		    tools[o->tool].name, tree_count(t) > 0 ? v->key : "{}");
	else
		pair(o, v->key, v);
}

struct tree *
pgoptions(enum pgtool tool, const struct tree *section, uint32_t version,
    struct pgerr *err)
{
	struct options o = { .tool = tool, .version = version, .err = err };

	o.out = must(tree_list());
	if (section == NULL || section->type == TREE_NULL)
		return o.out;
	if (section->type == TREE_MAP)
		map_options(&o, section);
	else if (section->type == TREE_LIST)
		for (uint32_t i = 0; i < tree_count(section); i++)
			list_option(&o, tree_child(section, i));
	else
		violation(
		    &o, "%s options must be list or dict", tools[tool].name);
	if (!o.failed)
		return o.out;
	tree_free(o.out);
	return NULL;
}

/* ---- replica methods (14.2) ---- */

static bool
no_leader(const struct tree *section)
{
	return tree_boolean(tree_get(section, "no_leader"), false) ||
	    tree_boolean(tree_get(section, "no_master"), false);
}

static const struct tree *
method_list(const struct pgconf *c, bool remote)
{
	const struct tree *t;

	if (remote)
		return tree_path(
		    c->root, "standby_cluster.create_replica_methods");
	t = tree_get(c->pg, "create_replica_methods");
	return tree_truthy(t) ? t : tree_get(c->pg, "create_replica_method");
}

struct tree *
pgconf_replica_methods(
    const struct pgconf *c, bool remote, bool have_source, bool from_leader)
{
	const struct tree *from = method_list(c, remote);
	struct tree *out = must(tree_list());

	if (!from_leader && from != NULL && from->type == TREE_LIST)
		for (uint32_t i = 0; i < tree_count(from); i++) {
			const struct tree *t = tree_child(from, i);

			if (t->type != TREE_TEXT || t->u.s[0] == '\0')
				continue;
			if (have_source ||
			    (strcmp(t->u.s, "basebackup") != 0 &&
				no_leader(tree_get(c->pg, t->u.s))))
				add_text(out, t->u.s);
		}
	if (have_source && (from_leader || !tree_truthy(from)))
		add_text(out, "basebackup");
	return out;
}

bool
pgconf_can_clone_without_leader(const struct pgconf *c)
{
	struct tree *v = pgconf_replica_methods(c, false, false, false);
	bool yes = tree_count(v) > 0;

	tree_free(v);
	return yes;
}

/* --key=value for a section, in order; keys in `skip` left out. */
static void
section_arguments(struct tree *argv, const struct tree *section,
    const char *const *skip, const struct tree *standard)
{
	for (uint32_t i = 0; i < tree_count(section); i++) {
		const struct tree *t = tree_child(section, i);
		char *s;

		if (in_list(t->key, skip) || t->type == TREE_MAP ||
		    t->type == TREE_LIST)
			continue;
		/* a standard parameter of that name wins, in its place */
		if (tree_get(standard, t->key) != NULL)
			t = tree_get(standard, t->key);
		s = scalar_text(t);
		add_textf(argv, "--%s=%s", t->key, s);
		free(s);
	}
	for (uint32_t i = 0; i < tree_count(standard); i++) {
		const struct tree *t = tree_child(standard, i);

		if (tree_get(section, t->key) == NULL)
			add_textf(argv, "--%s=%s", t->key, t->u.s);
	}
}

bool
pgconf_replica_method(const struct pgconf *c, const char *method,
    const char *connstring, struct pgmethod *out, struct pgerr *err)
{
	static const char *const command_only[] = { "command", NULL };
	static const char *const special[] = { "command", "no_params",
		"no_leader", "no_master", "keep_data", NULL };
	const struct tree *section = tree_get(c->pg, method);
	const struct tree *command = tree_get(section, "command");
	struct tree *standard = must(tree_map());

	memset(out, 0, sizeof(*out));
	out->no_leader = no_leader(section);
	out->no_params = tree_boolean(tree_get(section, "no_params"), false);
	out->keep_data = tree_boolean(tree_get(section, "keep_data"), false);
	out->argv = pgwords(tree_truthy(command) && command->type == TREE_TEXT ?
		command->u.s :
		method,
	    err);
	if (out->argv == NULL) {
		tree_free(standard);
		return false;
	}
	if (!out->no_params) {
		put_text(standard, "scope", c->scope);
		put_text(standard, "role", "replica");
		put_text(standard, "datadir", c->data_dir);
		put_text(standard, "connstring", connstring);
	}
	section_arguments(out->argv, section,
	    out->no_params ? special : command_only, standard);
	tree_free(standard);
	return true;
}

/* ---- custom bootstrap ---- */

const char *
pgconf_bootstrap_method(const struct pgconf *c)
{
	const struct tree *bootstrap = tree_get(c->root, "bootstrap");
	const struct tree *method = tree_get(bootstrap, "method");

	if (!tree_truthy(method) || method->type != TREE_TEXT ||
	    strcmp(method->u.s, "initdb") == 0 ||
	    !tree_truthy(tree_get(tree_get(bootstrap, method->u.s), "command")))
		return NULL;
	return method->u.s;
}

bool
pgconf_bootstrap_argv(const struct pgconf *c, const char *method,
    struct tree **argv, struct pgerr *err)
{
	static const char *const skip[] = { "command", "no_params",
		"keep_existing_recovery_conf", "recovery_conf", "scope",
		"datadir", NULL };
	const struct tree *section =
	    tree_get(tree_get(c->root, "bootstrap"), method);
	const struct tree *command = tree_get(section, "command");

	if (!tree_truthy(command) || command->type != TREE_TEXT)
		return fail(err, "bootstrap.%s.command is missing", method);
	*argv = pgwords(command->u.s, err);
	if (*argv == NULL)
		return false;
	if (!tree_boolean(tree_get(section, "no_params"), false)) {
		add_textf(*argv, "--scope=%s", c->scope);
		add_textf(*argv, "--datadir=%s", c->data_dir);
	}
	section_arguments(*argv, section, skip, NULL);
	return true;
}
