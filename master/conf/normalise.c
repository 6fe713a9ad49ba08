/*
 * normalise.c: known keys get the types of the schema, unknown ones a note.
 *
 * Files that upstream accepts must be accepted: text that reads as a number
 * or a boolean will do, and where upstream falls back to a default so does
 * this.  What would have no sensible meaning is an error that names file,
 * line, key and what is accepted.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/values.h"
#include "internal.h"

struct walk {
	struct conf *conf;
	struct conf_notes *notes;
	bool ok;
};

/* Where, for the beginning of a note. */
static const char *
where(struct walk *w, const struct tree *t, char *buf, size_t size)
{
	return conf_where(w->conf, t, buf, size);
}

static void
note_wrong(struct walk *w, const struct conf_key *k, const char *path,
    const struct tree *t, bool fatal_note)
{
	char at[PATH_SIZE + 32], shown[192], accepted[TEXT_SIZE];

	conf_key_accepted(k, accepted, sizeof(accepted));
	conf_note(w->notes, fatal_note ? CONF_ERROR : CONF_WARNING,
	    "%s: %s: wrong value %s, accepted: %s%s%s",
	    where(w, t, at, sizeof(at)), path,
	    conf_shown(k, t, shown, sizeof(shown)), accepted,
	    fatal_note		? "" :
		k->dflt != NULL ? "; using " :
				  "; ignored",
	    fatal_note || k->dflt == NULL ? "" : k->dflt);
	if (fatal_note)
		w->ok = false;
}

/* ---- unknown keys ---- */

/* The row for a path; below bootstrap.dcs.postgresql the rows of postgresql
 * count as well. */
static const struct conf_key *
row_for(const char *path)
{
	static const char dynamic[] = "bootstrap.dcs.postgresql.";
	const struct conf_key *k = conf_key_find(path);

	if (k == NULL && strncmp(path, dynamic, sizeof(dynamic) - 1) == 0)
		k = conf_key_find(path + strlen("bootstrap.dcs."));
	return k;
}

static bool
is_dynamic_key(const char *path)
{
	char dynamic[CONF_PATH_SIZE];

	return strchr(path, '.') == NULL &&
	    conf_path_join(dynamic, sizeof(dynamic), "bootstrap.dcs", path) &&
	    conf_key_find(dynamic) != NULL;
}

static void
note_unknown(struct walk *w, const char *path, const struct tree *t)
{
	char at[PATH_SIZE + 32];
	const char *near, *dot = strrchr(path, '.');
	int prefix = dot != NULL ? (int)(dot + 1 - path) : 0;

	/* anchors are often parked under x- keys; and foreign words in the
	 * environment make sections by design */
	if (CONF_LINE(t->line) == 0 || strncmp(path, "x-", 2) == 0 ||
	    path[0] == '.')
		return;
	if (is_dynamic_key(path)) {
		conf_note(w->notes, CONF_WARNING,
		    "%s: %s has no effect here, it belongs to the dynamic "
		    "configuration",
		    where(w, t, at, sizeof(at)), path);
		return;
	}
	if ((near = conf_key_nearest(path)) != NULL)
		conf_note(w->notes, CONF_WARNING,
		    "%s: unknown key %s, did you mean %.*s%s?",
		    where(w, t, at, sizeof(at)), path, prefix, path, near);
	else
		conf_note(w->notes, CONF_WARNING, "%s: unknown key %s",
		    where(w, t, at, sizeof(at)), path);
}

static void
find_unknown(struct walk *w, const struct tree *map, const char *path)
{
	const struct conf_key *k;
	char sub[CONF_PATH_SIZE];

	for (uint32_t i = 0; i < tree_count(map); i++) {
		const struct tree *c = tree_child(map, i);

		if (!conf_path_join(sub, sizeof(sub), path, c->key))
			continue;
		k = row_for(sub);
		if (k == NULL ||
		    (k->type == CONF_MAP && conf_key_wild(k) &&
			c->type != TREE_MAP))
			note_unknown(w, sub, c);
		else if (k->type == CONF_SECTION && c->type == TREE_MAP)
			find_unknown(w, c, sub);
	}
}

/* ---- types ---- */

/* The canonical word, or NULL. */
static const char *
match_word(const struct conf_key *k, const char *text, size_t *len)
{
	const char *p = k->words;

	while (*p != '\0') {
		*len = strcspn(p, " ");
		if (strlen(text) == *len && strncasecmp(p, text, *len) == 0)
			return p;
		p += *len;
		p += strspn(p, " ");
	}
	return NULL;
}

static struct tree *
as_word(const struct conf_key *k, const char *text)
{
	char buf[WORD_SIZE];
	const char *word;
	size_t len;

	if ((word = match_word(k, text, &len)) == NULL || len >= sizeof(buf))
		return NULL;
	memcpy(buf, word, len);
	buf[len] = '\0';
	return tree_text(buf);
}

static struct tree *
as_int(const struct conf_key *k, const struct tree *t, const char *text,
    const char *unit)
{
	int64_t i;

	if (t->type == TREE_BOOL)
		i = t->u.b ? 1 : 0;
	else if (t->type == TREE_INT)
		i = t->u.i;
	else if (!value_int(text, unit, &i))
		return NULL;
	if ((k->min != 0 || k->max != 0) && (i < k->min || i > k->max))
		return NULL;
	return tree_int(i);
}

/* The scalar in the type of the row; NULL: not possible. */
static struct tree *
convert(const struct conf_key *k, const struct tree *t)
{
	char buf[128];
	const char *text = buf;
	struct tree *out = NULL;
	double r;
	int b;

	if (t->type == TREE_TEXT)
		text = t->u.s;
	else
		tree_scalar_text(t, buf, sizeof(buf));
	switch (k->type) {
	case CONF_TEXT:
		out = tree_text(text);
		break;
	case CONF_INT:
	case CONF_NUMBER:
		out = as_int(k, t, text, NULL);
		break;
	case CONF_BYTES:
		out = as_int(k, t, text, "B");
		break;
	case CONF_DURATION:
		out = as_int(k, t, text, "s");
		break;
	case CONF_REAL:
		if (value_real(text, NULL, &r))
			out = tree_real(r);
		break;
	case CONF_BOOL:
		if ((b = value_bool(text)) >= 0)
			out = tree_bool(b == 1);
		break;
	case CONF_WORD:
		out = as_word(k, text);
		break;
	default:
		break;
	}
	wipe(buf, sizeof(buf)); /* a password may be a number */
	return out;
}

static bool
is_scalar_row(const struct conf_key *k)
{
	return k->type != CONF_SECTION && k->type != CONF_LIST &&
	    k->type != CONF_STRINGS && k->type != CONF_MAP &&
	    k->type != CONF_ANY;
}

/* log.level takes numbers, too (spec 14). */
static bool
is_level_number(const struct conf_key *k, const struct tree *t)
{
	return strcmp(k->path, "log.level") == 0 && t->type == TREE_INT &&
	    t->u.i >= 0 && t->u.i <= 1000;
}

/* False: the child was removed from its map. */
static bool
normalise_scalar(struct walk *w, struct tree *map, struct tree *t,
    const struct conf_key *k, const char *path)
{
	struct tree *typed = NULL;
	bool lenient = (k->flags & CONF_LENIENT) != 0 || k->type == CONF_BOOL;

	if (t->type == TREE_NULL) {
		tree_remove(map, t->key);
		return false;
	}
	if (is_level_number(k, t))
		return true;
	if (t->type != TREE_LIST && t->type != TREE_MAP)
		typed = convert(k, t);
	if (typed == NULL) {
		if (strcmp(path, "thread_pool_size") == 0 ||
		    strcmp(path, "thread_stack_size") == 0) {
			char shown[192];

			conf_note(w->notes, CONF_WARNING,
			    "Failed to parse %s value %s", path,
			    conf_shown(k, t, shown, sizeof(shown)));
		} else
			note_wrong(w, k, path, t, !lenient);
		tree_remove(map, t->key);
		return false;
	}
	typed->line = t->line;
	if (typed->type == t->type && tree_equal(typed, t)) {
		tree_free_wiped(typed);
		return true;
	}
	if (!tree_set(map, t->key, typed))
		w->ok = false;
	return true;
}

static void normalise_map(struct walk *, struct tree *, const char *);

/* False: the child was removed from its map. */
static bool
normalise_collection(struct walk *w, struct tree *map, struct tree *t,
    const struct conf_key *k, const char *path)
{
	bool list = k->type == CONF_LIST || k->type == CONF_STRINGS;
	bool top = strchr(path, '.') == NULL;

	if (t->type == (list ? TREE_LIST : TREE_MAP)) {
		if (k->type == CONF_SECTION &&
		    strcmp(path, "bootstrap.dcs") != 0 &&
		    strcmp(path, "tags") != 0)
			normalise_map(w, t, path);
		return true;
	}
	if (top && conf_falsy(t)) { /* spec 2.4.3 */
		if (!tree_set(map, t->key, tree_map()))
			w->ok = false;
		return true;
	}
	/* an account without a value is more likely a slip than a wish */
	if (t->type == TREE_NULL &&
	    strncmp(path, "postgresql.authentication.", 26) != 0) {
		tree_remove(map, t->key);
		return false;
	}
	if (strcmp(path, "postgresql.parameters") == 0) {
		conf_note(w->notes, CONF_ERROR,
		    "postgresql.parameters is not a dictionary");
		w->ok = false;
	} else
		note_wrong(w, k, path, t, true);
	return true;
}

static void
normalise_map(struct walk *w, struct tree *map, const char *path)
{
	const struct conf_key *k;
	char sub[CONF_PATH_SIZE];
	uint32_t i = 0;
	bool stays;

	while (i < tree_count(map)) {
		struct tree *t = tree_child(map, i);

		i++;
		if (!conf_path_join(sub, sizeof(sub), path, t->key) ||
		    (k = conf_key_find(sub)) == NULL || conf_key_wild(k) ||
		    k->type == CONF_ANY || (k->flags & CONF_OLD) != 0 ||
		    k->class == CONF_DYNAMIC)
			continue;
		if (is_scalar_row(k))
			stays = normalise_scalar(w, map, t, k, sub);
		else
			stays = normalise_collection(w, map, t, k, sub);
		if (!stays)
			i--;
	}
}

void
conf_note_unknown(struct conf *conf, struct conf_notes *notes)
{
	struct walk w = { conf, notes, true };

	find_unknown(&w, conf->local, "");
}

bool
conf_normalise(struct conf *conf, struct conf_notes *notes)
{
	struct walk w = { conf, notes, true };

	conf_note_unknown(conf, notes);
	normalise_map(&w, conf->effective, "");
	return w.ok;
}
