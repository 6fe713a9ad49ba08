/*
 * conf_compare.c: configured parameters against pg_settings: what must be
 * rewritten, what waits for a restart (spec/config.md 10.5, 10.6).
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/log.h"
#include "../../ipc/values.h"
#include "conf_util.h"

bool
pgsetting_differs(const struct pgsetting *row, const struct tree *value)
{
	const char *set = row->setting == NULL ? "" : row->setting;
	const char *type = row->vartype == NULL ? "string" : row->vartype;
	bool differs = true;
	int64_t a, b;
	double x, y;
	char *want;

	if (value == NULL || value->type == TREE_NULL ||
	    value->type == TREE_MAP || value->type == TREE_LIST)
		return true;
	want = scalar_text(value);
	if (strcmp(type, "bool") == 0)
		differs =
		    value_bool(set) < 0 || value_bool(set) != value_bool(want);
	else if (strcmp(type, "integer") == 0)
		differs = !value_int(set, NULL, &a) ||
		    !value_int(want, row->unit, &b) || a != b;
	else if (strcmp(type, "real") == 0)
		differs = !value_real(set, NULL, &x) ||
		    !value_real(want, row->unit, &y) || x < y || x > y;
	else if (strcmp(type, "enum") == 0)
		differs = strcasecmp(set, want) != 0;
	else
		differs = strcmp(set, want) != 0;
	free(want);
	return differs;
}

static const struct pgsetting *
find_row(const struct pgsetting *rows, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

static bool
is_watched(const char *name)
{
	return !recovery_param_is(name) && strcasecmp(name, "hot_standby") != 0;
}

static void
add_name(struct tree *list, const char *name)
{
	char low[NAME_SIZE];
	size_t n = 0;

	for (; n < sizeof(low) - 1 && name[n] != '\0'; n++)
		low[n] = (char)tolower((unsigned char)name[n]);
	low[n] = '\0';
	add_text(list, low);
}

struct tree *
pgconf_compare_names(const struct tree *before, const struct tree *after)
{
	static const char *const sizes[] = { "shared_buffers",
		"wal_segment_size", "wal_block_size" };
	struct tree *list = must(tree_list());

	for (uint32_t i = 0; i < tree_count(after); i++)
		if (is_watched(tree_child(after, i)->key))
			add_name(list, tree_child(after, i)->key);
	for (uint32_t i = 0; i < tree_count(before); i++) {
		const char *name = tree_child(before, i)->key;

		if (is_watched(name) && tree_get_nocase(after, name) == NULL)
			add_name(list, name);
	}
	if (tree_get_nocase(after, "wal_buffers") == NULL &&
	    (before == NULL || tree_get_nocase(before, "wal_buffers") == NULL))
		return list;
	for (size_t i = 0; i < 3; i++)
		if (tree_get_nocase(after, sizes[i]) == NULL)
			add_text(list, sizes[i]);
	return list;
}

/* Number of a row in plain base units of that row. */
static int64_t
row_int(
    const struct pgsetting *rows, size_t n, const char *name, const char *unit)
{
	const struct pgsetting *row = find_row(rows, n, name);
	char text[64];
	int64_t v;

	if (row == NULL || row->setting == NULL)
		return 0;
	if (unit == NULL || row->unit == NULL || row->unit[0] == '\0')
		return value_int(row->setting, NULL, &v) ? v : 0;
	/* "16777216" in B, or "2048" in 8kB before 11 */
	snprintf(text, sizeof(text), "%s", row->setting);
	if (!value_int(text, NULL, &v))
		return 0;
	if (strcmp(row->unit, "8kB") == 0)
		return v * 8192;
	return strcmp(row->unit, "kB") == 0 ? v * 1024 :
	    strcmp(row->unit, "MB") == 0    ? v * 1048576 :
					      v;
}

/* wal_buffers unset or -1: what the server makes of it (10.6 step 2), in
 * blocks. */
static int64_t
auto_wal_buffers(const struct pgsetting *rows, size_t n)
{
	int64_t shared = row_int(rows, n, "shared_buffers", NULL);
	int64_t block = row_int(rows, n, "wal_block_size", NULL);
	int64_t segment = row_int(rows, n, "wal_segment_size", "B");
	int64_t v = shared / 32 > 8 ? shared / 32 : 8;

	if (block <= 0 || segment <= 0)
		return v;
	return v < segment / block ? v : segment / block;
}

static bool
wal_buffers_same(const struct pgsetting *row, const struct tree *value,
    const struct pgsetting *rows, size_t n)
{
	int64_t want = -1, have;
	char *s;

	if (!value_int(row->setting == NULL ? "" : row->setting, NULL, &have))
		return false;
	if (value != NULL && value->type != TREE_NULL) {
		s = scalar_text(value);
		if (!value_int(s, row->unit, &want))
			want = -2;
		free(s);
	}
	if (want == -1)
		want = auto_wal_buffers(rows, n);
	return want == have;
}

struct compare {
	const struct tree *before;
	struct tree *after;
	const struct pgsetting *rows;
	size_t nrows;
	struct pgreload *out;
};

static void
human(const struct pgsetting *row, const char *text, char *out, size_t size)
{
	bool number = row->vartype != NULL &&
	    (strcmp(row->vartype, "integer") == 0 ||
		strcmp(row->vartype, "real") == 0);

	if (number)
		value_human(text, strcmp(row->vartype, "real") == 0, row->unit,
		    out, size);
	else if (!text_set(out, size, text))
		snprintf(out, size, "%.*s...", (int)size - 8, text);
}

static void
tell(struct compare *x, const struct pgsetting *row, const char *name,
    const char *old_text, const struct tree *value)
{
	bool restart =
	    row->context != NULL && strcmp(row->context, "postmaster") == 0;
	bool none = value == NULL || value->type == TREE_NULL;
	char old[TEXT_SIZE], new[TEXT_SIZE], *s;
	struct tree *reason;

	s = none ? must(strdup("")) : scalar_text(value);
	human(row, old_text, old, sizeof(old));
	human(row, s, new, sizeof(new));
	free(s);
	x->out->conf = true;
	log_info("Changed %s from '%s' to '%s'%s", name, old,
	    none ? "None" : new, restart ? " (restart might be required)" : "");
	if (!restart)
		return;
	reason = must(tree_map());
	put_text(reason, "old_value", old);
	put_text(reason, "new_value", new);
	put(x->out->pending, name, reason);
}

static bool
same_text(const struct tree *a, const struct tree *b)
{
	return a != NULL && b != NULL && tree_equal_loose(a, b);
}

static void
compare_row(struct compare *x, const struct pgsetting *row, const char *name,
    const struct tree *value)
{
	const struct tree *was =
	    x->before == NULL ? NULL : tree_get_nocase(x->before, name);
	const char *set = row->setting == NULL ? "" : row->setting;
	bool differs = strcasecmp(name, "wal_buffers") == 0 ?
	    !wal_buffers_same(row, value, x->rows, x->nrows) :
	    pgsetting_differs(row, value);
	char *s;

	if (differs) {
		tell(x, row, name, set, value);
		return;
	}
	/* a change is taken back before it was in force */
	if (was == NULL || was->type == TREE_MAP || was->type == TREE_LIST ||
	    !pgsetting_differs(row, was))
		return;
	s = scalar_text(was);
	log_info("Changed %s from '%s' to '%s'", name, s, set);
	free(s);
	x->out->conf = true;
}

static void
compare_unknown(struct compare *x, const char *name, const struct tree *value)
{
	const struct tree *was =
	    x->before == NULL ? NULL : tree_get_nocase(x->before, name);
	char *a, *b;

	if (strchr(name, '.') == NULL) {
		if (value == NULL)
			return;
		log_warn("Removing invalid parameter `%s` from "
			 "postgresql.parameters",
		    name);
		tree_remove(x->after, value->key);
		return;
	}
	if (same_text(was, value))
		return;
	a = was == NULL ? must(strdup("None")) : scalar_text(was);
	b = value == NULL ? must(strdup("None")) : scalar_text(value);
	log_info("Changed %s from '%s' to '%s'", name, a, b);
	free(a);
	free(b);
	x->out->conf = true;
}

static void
compare_one(struct compare *x, const char *name, const struct tree *value)
{
	const struct pgsetting *row = find_row(x->rows, x->nrows, name);

	if (row != NULL && row->context != NULL &&
	    strcmp(row->context, "internal") != 0)
		compare_row(x, row, name, value);
	else
		compare_unknown(x, name, value);
}

static bool
list_changed(const struct pgconf *c, const struct pgconf *old, const char *key)
{
	const struct tree *now = tree_get(c->pg, key);

	if (now == NULL || now->type != TREE_LIST || tree_count(now) == 0)
		return false;
	return old == NULL || tree_get(old->pg, key) == NULL ||
	    !tree_equal_loose(tree_get(old->pg, key), now);
}

void
pgconf_compare(const struct pgconf *c, const struct pgconf *old,
    const struct tree *before, struct tree *after, const struct pgsetting *rows,
    size_t nrows, bool running, struct pgreload *out)
{
	struct compare x = { before, after, rows, nrows, out };
	struct tree *names;
	char value[PATH_SIZE];

	memset(out, 0, sizeof(*out));
	out->pending = must(tree_map());
	out->hba = list_changed(c, old, "pg_hba") &&
	    !file_customised(c, after, "hba_file", "pg_hba.conf", value);
	out->ident = list_changed(c, old, "pg_ident") &&
	    !file_customised(c, after, "ident_file", "pg_ident.conf", value);
	if (!running)
		return;
	/* the set may shrink on the way: walk over a copy */
	names = must(tree_copy(after));
	for (uint32_t i = 0; i < tree_count(names); i++) {
		const char *name = tree_child(names, i)->key;

		if (is_watched(name))
			compare_one(&x, name, tree_get(after, name));
	}
	tree_free(names);
	for (uint32_t i = 0; i < tree_count(before); i++) {
		const char *name = tree_child(before, i)->key;

		/* no longer configured, or thrown out above */
		if (is_watched(name) && tree_get_nocase(after, name) == NULL)
			compare_one(&x, name, NULL);
	}
}
