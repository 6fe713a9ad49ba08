/*
 * guc.c: the judgement of one parameter before it is written to
 * postgresql.conf (spec/config.md 10.4), with the table of guc_table.c.
 * A value that PostgreSQL would refuse must never reach the file: one bad
 * line keeps the server from starting.
 */
#include "guc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/log.h"
#include "../../ipc/values.h"
#include "conf_util.h"
#include "guc_table.h"

const struct guc *
guc_find(const char *name, uint32_t version, bool *known)
{
	size_t lo = 0, hi = guc_table_size;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (strcasecmp(guc_table[mid].name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (known != NULL)
		*known = lo < guc_table_size &&
		    strcasecmp(guc_table[lo].name, name) == 0;
	for (; lo < guc_table_size && strcasecmp(guc_table[lo].name, name) == 0;
	     lo++)
		if (version >= guc_table[lo].from &&
		    (guc_table[lo].till == 0 || version < guc_table[lo].till))
			return &guc_table[lo];
	return NULL;
}

struct tree *
guc_describe_parse(const char *output)
{
	struct tree *map = must(tree_map());

	while (*output != '\0') {
		size_t line = strcspn(output, "\n");
		size_t n = strcspn(output, "\t\n");
		char name[NAME_SIZE];

		if (n > 0 && n < line && n < sizeof(name)) {
			memcpy(name, output, n);
			name[n] = '\0';
			put(map, name, tree_null());
		}
		output += line;
		output += *output == '\n';
	}
	return map;
}

static bool
in_words(const char *text, const char *words)
{
	size_t len = strlen(text);

	for (;;) {
		size_t n = strcspn(words, "|");

		if (n == len && strncasecmp(words, text, n) == 0)
			return true;
		if (words[n] == '\0')
			return false;
		words += n + 1;
	}
}

static bool
removed(const char *kind, const char *name, const char *text)
{
	log_warn("Removing %s parameter=%s from the config due to the invalid "
		 "value=%s",
	    kind, name, text);
	return false;
}

/* Limits in the form in which they are written: "262143", "0.5". */
static bool
clamped(const struct guc *g, const char *name, const char *text, double limit,
    bool low, char *out, size_t size)
{
	int n = snprintf(out, size, "%.15g", limit);

	log_warn("Value=%s of parameter=%s is too %s to %s%s", text, name,
	    low ? "low, increasing" : "big, decreasing", out,
	    g->unit == NULL ? "" : g->unit);
	return n > 0 && (size_t)n < size;
}

static bool
judge_number(const struct guc *g, const char *name, const char *text, char *out,
    size_t size)
{
	double v;

	if (g->type == GUC_INTEGER) {
		int64_t i;

		if (!value_int(text, g->unit, &i))
			return removed("integer", name, text);
		v = (double)i;
	} else if (!value_real(text, g->unit, &v))
		return removed("real", name, text);
	if (v < g->min)
		return clamped(g, name, text, g->min, true, out, size);
	if (v > g->max)
		return clamped(g, name, text, g->max, false, out, size);
	return text_set(out, size, text);
}

static bool
judge_text(const struct guc *g, const char *name, const char *text, char *out,
    size_t size)
{
	switch (g->type) {
	case GUC_BOOL:
		if (value_bool(text) < 0)
			return removed("bool", name, text);
		break;
	case GUC_INTEGER:
	case GUC_REAL:
		return judge_number(g, name, text, out, size);
	case GUC_ENUM_BOOL:
		if (value_bool(text) >= 0)
			break;
		__attribute__((fallthrough));
	case GUC_ENUM:
		if (!in_words(text, g->words))
			return removed("enum", name, text);
		break;
	case GUC_STRING:
		break;
	}
	if (text_set(out, size, text))
		return true;
	log_warn("Removing parameter=%s from the config: its value is too "
		 "long",
	    name);
	return false;
}

/* The table ends with 18: of newer servers (and unknown ones) it cannot tell
 * which names they have. */
static bool
server_knows(const char *name, uint32_t version, const struct tree *known)
{
	if (known != NULL)
		return tree_get_nocase(known, name) != NULL;
	return version == 0 || version >= 190000;
}

bool
guc_judge(const char *name, const struct tree *value, uint32_t version,
    const struct tree *known, char *out, size_t size)
{
	const struct guc *g = guc_find(name, version, NULL);
	char *text;
	bool ok;

	if (value->type == TREE_NULL)
		return false;
	if (value->type == TREE_LIST || value->type == TREE_MAP) {
		log_warn("Removing parameter=%s from the config: its value is "
			 "not a scalar",
		    name);
		return false;
	}
	text = scalar_text(value);
	if (g != NULL)
		ok = judge_text(g, name, text, out, size);
	else if (strchr(name, '.') != NULL ||
	    server_knows(name, version, known))
		ok = text_set(out, size, text);
	else {
		ok = false;
		log_warn("Removing unexpected parameter=%s value=%s from the "
			 "config",
		    name, text);
	}
	free(text);
	return ok;
}
