/*
 * validate.c: --validate-config (spec/config.md 15).
 *
 * Walks the schema in its order; checks of single values stand in checks.c.
 */
#include <stdlib.h>
#include <string.h>

#include "checks.h"

/* Is path a direct child of section (section "" = top)? */
static bool
is_child(const char *section, const char *path)
{
	size_t n = strlen(section);

	if (n > 0 && (strncmp(path, section, n) != 0 || path[n] != '.'))
		return false;
	return strchr(path + (n > 0 ? n + 1 : 0), '.') == NULL;
}

static const char *
last_word(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot != NULL ? dot + 1 : path;
}

static bool
is_store(const char *path)
{
	for (const char *const *s = conf_stores; *s != NULL; s++)
		if (strcmp(*s, path) == 0)
			return true;
	return false;
}

static void check_section(struct check *, const char *, const struct tree *);

static void
check_key(struct check *c, const struct conf_key *k, const struct tree *t)
{
	if (k->type != CONF_SECTION) {
		check_value(c, k, t);
		/* rows below a map of the user's: parameters */
		if (k->type == CONF_MAP && t->type == TREE_MAP)
			check_section(c, k->path, t);
		return;
	}
	if (t->type != TREE_MAP) {
		check_problem(c, k->path, t, "is not a dictionary");
		return;
	}
	check_section(c, k->path, t);
}

static void
check_stores(struct check *c, const struct tree *root)
{
	bool any = false;

	for (const char *const *s = conf_stores; *s != NULL; s++) {
		const struct tree *t = tree_get(root, *s);

		if (t == NULL)
			continue;
		any = true;
		check_key(c, conf_key_find(*s), t);
	}
	for (const char *const *s = conf_stores; !any && *s != NULL; s++)
		check_missing(c, *s);
}

/* One of the keys so marked must be there. */
static void
check_one_of(struct check *c, const char *section, const struct tree *map)
{
	const struct conf_key *k;
	bool marked = false;

	for (k = conf_keys; k->path != NULL; k++) {
		if ((k->flags & CONF_ONE_OF) == 0 ||
		    !is_child(section, k->path))
			continue;
		marked = true;
		if (tree_get(map, last_word(k->path)) != NULL)
			return;
	}
	for (k = conf_keys; marked && k->path != NULL; k++)
		if ((k->flags & CONF_ONE_OF) != 0 && is_child(section, k->path))
			check_missing(c, k->path);
}

static void
check_exclusive(
    struct check *c, const struct tree *tags, const char *a, const char *b)
{
	char text[TEXT_SIZE];

	if (tree_get(tags, a) == NULL || tree_get(tags, b) == NULL)
		return;
	snprintf(text, sizeof(text), "Multiple of ('%s', '%s') provided", a, b);
	check_problem(c, "tags", NULL, text);
}

static void
check_section(struct check *c, const char *section, const struct tree *map)
{
	bool stores_done = false;
	const struct tree *t;

	check_one_of(c, section, map);
	for (const struct conf_key *k = conf_keys; k->path != NULL; k++) {
		if (!is_child(section, k->path) || conf_key_wild(k))
			continue;
		if (strcmp(k->path, "tags.nofailover") == 0)
			check_exclusive(
			    c, map, "nofailover", "failover_priority");
		if (strcmp(k->path, "tags.nosync") == 0)
			check_exclusive(c, map, "nosync", "sync_priority");
		if (is_store(k->path)) {
			if (!stores_done)
				check_stores(c, map);
			stores_done = true;
			continue;
		}
		t = tree_get(map, last_word(k->path));
		if (k->check == CHECK_BIN_DIR)
			check_programs(c, k, t);
		else if (k->check == CHECK_NOT)
			continue;
		else if (t != NULL)
			check_key(c, k, t);
		else if ((k->flags & CONF_REQUIRED) != 0)
			check_missing(c, k->path);
	}
}

static void
print_local(const struct conf *conf, FILE *out)
{
	struct tree *copy = tree_copy(conf->local), *pg;

	if (copy == NULL)
		return;
	pg = tree_get(copy, "postgresql");
	if (pg != NULL && pg->type == TREE_MAP &&
	    tree_get(pg, "bin_dir") == NULL)
		tree_set(pg, "bin_dir", tree_text(""));
	conf_yaml_write(copy, 0, true, out);
	tree_free_wiped(copy);
}

/* What the daemon would say beyond the schema.  After problems only a slip of
 * the pen in a key is worth telling. */
static bool
check_build(struct conf *conf, FILE *err, bool problems)
{
	struct conf_notes notes = { 0 };
	bool ok = true;

	if (problems)
		conf_note_unknown(conf, &notes);
	else
		ok = conf_build(conf, 0, &notes);
	for (uint32_t i = 0; i < notes.n; i++)
		fprintf(err, "%s\n", notes.v[i].text);
	conf_notes_free(&notes);
	return ok;
}

int
conf_validate_main(const struct conf_validate_options *o,
    const struct conf_env *env, FILE *out, FILE *err)
{
	struct conf_notes notes = { 0 };
	struct conf *conf = conf_load(o->path, env, CONF_LOAD_VALIDATE, &notes);
	struct check c = { 0 };
	bool ok;

	if (conf == NULL) {
		conf_notes_print_errors(&notes, err);
		conf_notes_free(&notes);
		return 1;
	}
	conf_notes_free(&notes);
	c.root = conf->local;
	c.ignore_listen_port = o->ignore_listen_port;
	c.err = err;
	check_section(&c, "", conf->local);
	ok = check_build(conf, err, c.problems > 0) && c.problems == 0;
	if (ok && o->print)
		print_local(conf, out);
	conf_free(conf);
	return ok ? 0 : 1;
}
