/*
 * conf_diff.c: do the recovery settings in force differ from the wanted ones,
 * and what does that take (spec/config.md 12.4)?  Also the reader of
 * recovery.conf for servers before 12.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "../../ipc/log.h"
#include "../../ipc/values.h"
#include "conf_recovery.h"

/* ---- recovery.conf ---- */

static const char *
blanks(const char *s)
{
	while (*s == ' ' || *s == '\t' || *s == '\r')
		s++;
	return s;
}

/* Quoted or plain value at s; NULL when malformed. */
static const char *
conf_value(const char *s, struct text *out)
{
	if (*s != '\'') {
		while (*s != '\0' && *s != '#' && !isspace((unsigned char)*s))
			text_add_n(out, s++, 1);
		return s;
	}
	for (s++; *s != '\0' && *s != '\n'; s++) {
		if (*s == '\'' && s[1] != '\'')
			return s + 1;
		if (*s == '\'' || (*s == '\\' && s[1] != '\0'))
			s++;
		text_add_n(out, s, 1);
	}
	return NULL;
}

static const char *
conf_entry(const char *s, struct tree *map)
{
	struct text value = { 0 };
	char name[64], *v;
	size_t n = 0;

	while ((isalnum((unsigned char)*s) || *s == '_' || *s == '.') &&
	    n < sizeof(name) - 1)
		name[n++] = (char)tolower((unsigned char)*s++);
	name[n] = '\0';
	s = blanks(s);
	if (n == 0)
		return NULL;
	if (*s == '=')
		s = blanks(s + 1);
	s = conf_value(s, &value);
	v = text_take(&value);
	if (s != NULL)
		put_text(map, name, v);
	wipe(v, strlen(v));
	free(v);
	if (s == NULL)
		return NULL;
	s = blanks(s);
	return *s == '\0' || *s == '\n' || *s == '#' ? s : NULL;
}

struct tree *
recovery_conf_parse(const char *s)
{
	struct tree *map = must(tree_map());

	while (*s != '\0') {
		s = blanks(s);
		if (*s != '\n' && *s != '#' && *s != '\0')
			s = conf_entry(s, map);
		if (s == NULL) {
			tree_free_wiped(map);
			return NULL;
		}
		s += strcspn(s, "\n");
		s += *s == '\n';
	}
	return map;
}

/* ---- comparison ---- */

struct diff {
	const struct pgconf *c;
	const struct tree *want;
	const struct pgcurrent *cur;
	uint32_t major;
	struct pgfeatures p;
};

static const struct pgsetting *
row_of(const struct diff *d, const char *name)
{
	for (size_t i = 0; i < d->cur->nrows; i++)
		if (strcasecmp(d->cur->rows[i].name, name) == 0)
			return &d->cur->rows[i];
	return NULL;
}

/* Value in force as text, "" when unset. */
static char *
current_text(const struct diff *d, const char *name)
{
	const struct pgsetting *row;
	const struct tree *t;

	if (d->p.recovery_guc) {
		row = row_of(d, name);
		return must(strdup(
		    row == NULL || row->setting == NULL ? "" : row->setting));
	}
	t = tree_get_nocase(d->cur->recovery_conf, name);
	return t == NULL ? must(strdup("")) : scalar_text(t);
}

static char *
wanted_text(const struct diff *d, const char *name)
{
	const struct tree *t = tree_get_nocase(d->want, name);

	if (t == NULL || t->type == TREE_NULL || t->type == TREE_MAP ||
	    t->type == TREE_LIST)
		return must(strdup(""));
	return scalar_text(t);
}

static bool
same_delay(const char *cur, const char *want)
{
	int64_t a = 0, b = 0;

	if (cur[0] != '\0' && !value_int(cur, "ms", &a))
		return false;
	if (!value_int(want, "ms", &b))
		b = 0; /* such a value is not written */
	return a == b;
}

/* Set of lines in one text is part of that in the other. */
static bool
lines_within(const char *a, const char *b)
{
	while (*a != '\0') {
		size_t n = strcspn(a, "\n");
		bool found = n == 0;

		for (const char *s = b; !found && *s != '\0';) {
			size_t k = strcspn(s, "\n");

			found = k == n && memcmp(a, s, n) == 0;
			s += k;
			s += *s == '\n';
		}
		if (!found)
			return false;
		a += n;
		a += *a == '\n';
	}
	return true;
}

/* The pgpass file in use gives the wanted password. */
static bool
same_passfile(const char *path, const struct tree *want)
{
	char *lines = pgpass_lines(want), *have;
	struct pgerr err;
	bool same;

	have = pgfile_read(path, 65536, NULL, &err);
	same = lines != NULL && have != NULL && lines_within(lines, have) &&
	    lines_within(have, lines);
	if (lines != NULL)
		wipe(lines, strlen(lines));
	if (have != NULL)
		wipe(have, strlen(have));
	free(lines);
	free(have);
	return same;
}

static void
fill(struct tree *map, const char *key, const char *value)
{
	if (!tree_truthy(tree_get(map, key)))
		put_text(map, key, value);
}

static bool
same_pair(const struct tree *cur, const struct tree *want)
{
	const struct tree *t = tree_get(cur, want->key);
	char *a, *b;
	bool same;

	a = t == NULL ? must(strdup("")) : scalar_text(t);
	b = scalar_text(want);
	same = strcmp(a, b) == 0;
	wipe(a, strlen(a));
	wipe(b, strlen(b));
	free(a);
	free(b);
	return same;
}

static bool
same_pairs(const struct diff *d, struct tree *cur, const struct tree *want)
{
	fill(cur, "sslmode", "prefer");
	fill(cur, "gssencmode", "prefer");
	fill(cur, "channel_binding", "prefer");
	fill(cur, "sslnegotiation", "postgres");
	for (uint32_t i = 0; i < tree_count(want); i++) {
		const struct tree *w = tree_child(want, i);
		const struct tree *file = tree_get(cur, "passfile");

		if (!tree_truthy(w) ||
		    (strcmp(w->key, "dbname") == 0 && !d->p.conninfo_dbname))
			continue;
		if (strcmp(w->key, "password") == 0 &&
		    !tree_truthy(tree_get(cur, "password")) &&
		    tree_truthy(file)) {
			if (!same_passfile(file->u.s, want))
				return false;
		} else if (!same_pair(cur, w))
			return false;
	}
	return true;
}

/* A live walreceiver tells what is really used, with the password masked and
 * its own dbname: those two come from the setting. */
static void
from_setting(struct tree *cur, const char *setting)
{
	static const char *const keys[] = { "dbname", "password" };
	struct tree *guc = conninfo_parse(setting);

	for (size_t i = 0; i < 2; i++) {
		const struct tree *t = tree_get(guc, keys[i]);

		tree_remove(cur, keys[i]);
		if (t != NULL)
			put_copy(cur, keys[i], t);
	}
	tree_free_wiped(guc);
}

static bool
same_conninfo(const struct diff *d, const char *setting, bool *broken)
{
	const struct tree *want = tree_get_nocase(d->want, "primary_conninfo");
	bool live = d->cur->has_receiver && d->p.wal_receiver_view &&
	    d->cur->receiver_conninfo != NULL &&
	    d->cur->receiver_conninfo[0] != '\0';
	struct tree *cur;
	bool same;

	if (want == NULL || want->type != TREE_MAP)
		return setting[0] == '\0';
	if (setting[0] == '\0')
		return false;
	cur = conninfo_parse(live ? d->cur->receiver_conninfo : setting);
	if (cur == NULL) {
		*broken = true;
		return false;
	}
	if (live)
		from_setting(cur, setting);
	same = same_pairs(d, cur, want);
	tree_free_wiped(cur);
	return same;
}

/* 12.4 step 4: set in a file of the operator's and not by us. */
static bool
left_to_others(const struct diff *d, const char *name)
{
	static const char *const names[] = { "archive_cleanup_command",
		"promote_trigger_file", "recovery_end_command",
		"recovery_min_apply_delay", "restore_command" };
	char ours[PATH_SIZE], autoconf[PATH_SIZE];
	const struct pgsetting *row;
	bool listed = false;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		listed |= strcmp(names[i], name) == 0;
	row = row_of(d, name);
	if (!listed || row == NULL || row->sourcefile == NULL ||
	    row->sourcefile[0] == '\0' ||
	    tree_get_nocase(d->want, name) != NULL)
		return false;
	pgconf_config_file(d->c, ours);
	path_join(autoconf, d->c->data_dir, "postgresql.auto.conf");
	return strcmp(row->sourcefile, ours) != 0 &&
	    strcmp(row->sourcefile, autoconf) != 0;
}

static bool
compared(const struct diff *d, const char *name)
{
	static const char *const never[] = { "pause_at_recovery_target",
		"recovery_target_inclusive", "recovery_target_action",
		"standby_mode" };

	for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
		if (strcmp(never[i], name) == 0)
			return false;
	if (!recovery_param_known(name, d->major))
		return false;
	if (strcmp(name, "primary_slot_name") == 0 &&
	    tree_get_nocase(d->want, "primary_conninfo") == NULL)
		return false;
	return !d->p.recovery_guc || !left_to_others(d, name);
}

static bool
same_value(const struct diff *d, const char *name, bool *broken)
{
	char *cur = current_text(d, name), *want = wanted_text(d, name);
	const char *use = cur;
	bool same;

	if (strcmp(name, "primary_slot_name") == 0 && d->cur->has_receiver &&
	    d->p.wal_receiver_view)
		use =
		    d->cur->receiver_slot == NULL ? "" : d->cur->receiver_slot;
	if (strcmp(name, "primary_conninfo") == 0)
		same = same_conninfo(d, use, broken);
	else if (strcmp(name, "recovery_min_apply_delay") == 0)
		same = same_delay(use, want);
	else
		same = strcmp(use, want) == 0;
	wipe(cur, strlen(cur));
	free(cur);
	free(want);
	return same;
}

static bool
needs_restart(const struct diff *d, const char *name)
{
	const struct pgsetting *row;

	if (!d->p.recovery_guc)
		return true;
	row = row_of(d, name);
	return row == NULL || row->context == NULL ||
	    strcmp(row->context, "postmaster") == 0;
}

static enum pgdiff
because(char *why, const char *name, enum pgdiff diff)
{
	if (why != NULL)
		text_set(why, WORD_SIZE, name);
	return diff;
}

static bool
standby_file_present(const struct diff *d)
{
	char path[PATH_SIZE];

	path_join(path, d->c->data_dir,
	    d->p.recovery_guc ? "standby.signal" : "recovery.conf");
	return access(path, F_OK) == 0;
}

enum pgdiff
pgconf_recovery_diff(const struct pgconf *c, const struct tree *want,
    const struct pgcurrent *cur, const struct pgfacts *f, char why[WORD_SIZE])
{
	struct diff d = { .c = c,
		.want = want,
		.cur = cur,
		.major = f->major,
		.p = pgfeatures(f->major) };
	const char *const *names = recovery_param_names();
	enum pgdiff result = PGDIFF_NONE;
	bool broken = false;

	if (why != NULL)
		why[0] = '\0';
	if (!standby_file_present(&d))
		return because(why,
		    d.p.recovery_guc ? "standby.signal" : "recovery.conf",
		    PGDIFF_RESTART);
	if (!cur->valid)
		return because(why, "unreadable", PGDIFF_RESTART);
	for (; *names != NULL; names++) {
		if (!compared(&d, *names) || same_value(&d, *names, &broken))
			continue;
		if (broken || needs_restart(&d, *names))
			return because(why, *names, PGDIFF_RESTART);
		if (result == PGDIFF_NONE)
			result = because(why, *names, PGDIFF_RELOAD);
	}
	return result;
}
