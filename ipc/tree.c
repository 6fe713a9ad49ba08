/*
 * tree.c: value trees in memory: building, reading, merging, comparing.
 * The binary form is in tree_codec.c.
 */
#include "tree.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "types.h"

static struct tree *
node(enum tree_type type)
{
	struct tree *t = calloc(1, sizeof(*t));

	if (t != NULL)
		t->type = type;
	return t;
}

struct tree *
tree_null(void)
{
	return node(TREE_NULL);
}

struct tree *
tree_bool(bool b)
{
	struct tree *t = node(TREE_BOOL);

	if (t != NULL)
		t->u.b = b;
	return t;
}

struct tree *
tree_int(int64_t i)
{
	struct tree *t = node(TREE_INT);

	if (t != NULL)
		t->u.i = i;
	return t;
}

struct tree *
tree_real(double r)
{
	struct tree *t = node(TREE_REAL);

	if (t != NULL)
		t->u.r = r;
	return t;
}

struct tree *
tree_text(const char *s)
{
	struct tree *t = node(TREE_TEXT);

	if (t == NULL)
		return NULL;
	if ((t->u.s = strdup(s)) == NULL) {
		free(t);
		return NULL;
	}
	return t;
}

struct tree *
tree_list(void)
{
	return node(TREE_LIST);
}

struct tree *
tree_map(void)
{
	return node(TREE_MAP);
}

static bool
is_container(const struct tree *t)
{
	return t != NULL && (t->type == TREE_LIST || t->type == TREE_MAP);
}

static void
release(struct tree *t, bool wiped)
{
	if (t == NULL)
		return;
	if (is_container(t)) {
		for (uint32_t i = 0; i < t->u.c.n; i++)
			release(t->u.c.v[i], wiped);
		free(t->u.c.v);
	} else if (t->type == TREE_TEXT) {
		if (wiped)
			wipe(t->u.s, strlen(t->u.s));
		free(t->u.s);
	}
	free(t->key);
	free(t);
}

static void
give_up(struct tree *t, bool wiped)
{
	if (t != NULL && t->shares > 0)
		t->shares--;
	else
		release(t, wiped);
}

void
tree_free(struct tree *t)
{
	give_up(t, false);
}

void
tree_free_wiped(struct tree *t)
{
	give_up(t, true);
}

struct tree *
tree_share(const struct tree *t)
{
	struct tree *held = (struct tree *)(uintptr_t)t;

	if (held != NULL)
		held->shares++;
	return held;
}

static bool
add_child(struct tree *c, struct tree *value)
{
	if (c->u.c.n == c->u.c.cap) {
		uint32_t cap = c->u.c.cap == 0 ? 8 : c->u.c.cap * 2;
		struct tree **v = reallocarray(c->u.c.v, cap, sizeof(*v));

		if (v == NULL) {
			tree_free(value);
			return false;
		}
		c->u.c.v = v;
		c->u.c.cap = cap;
	}
	c->u.c.v[c->u.c.n++] = value;
	return true;
}

struct tree *
tree_copy(const struct tree *t)
{
	struct tree *copy;

	if (t == NULL)
		return NULL;
	if (t->type == TREE_TEXT)
		copy = tree_text(t->u.s);
	else if ((copy = node(t->type)) != NULL && !is_container(t))
		copy->u = t->u;
	if (copy == NULL)
		return NULL;
	copy->line = t->line;
	if (!is_container(t))
		return copy;
	for (uint32_t i = 0; i < t->u.c.n; i++) {
		const struct tree *child = t->u.c.v[i];
		struct tree *c = tree_copy(child);

		if (c == NULL ||
		    (child->key != NULL &&
			(c->key = strdup(child->key)) == NULL)) {
			tree_free(c);
			tree_free(copy);
			return NULL;
		}
		if (!add_child(copy, c)) {
			tree_free(copy);
			return NULL;
		}
	}
	return copy;
}

static struct tree **
find(const struct tree *map, const char *key, bool nocase)
{
	if (map == NULL || map->type != TREE_MAP)
		return NULL;
	for (uint32_t i = 0; i < map->u.c.n; i++) {
		const char *k = map->u.c.v[i]->key;

		if (nocase ? strcasecmp(k, key) == 0 : text_equal(k, key))
			return &map->u.c.v[i];
	}
	return NULL;
}

bool
tree_set(struct tree *map, const char *key, struct tree *value)
{
	struct tree **place;
	char *k;

	if (value == NULL)
		return false;
	if (map == NULL || map->type != TREE_MAP || (k = strdup(key)) == NULL) {
		tree_free(value);
		return false;
	}
	free(value->key);
	value->key = k;
	place = find(map, key, false);
	if (place == NULL)
		return add_child(map, value);
	tree_free(*place);
	*place = value;
	return true;
}

struct tree *
tree_get(const struct tree *map, const char *key)
{
	struct tree **place = find(map, key, false);

	return place != NULL ? *place : NULL;
}

struct tree *
tree_get_nocase(const struct tree *map, const char *key)
{
	struct tree **place = find(map, key, true);

	return place != NULL ? *place : NULL;
}

void
tree_remove(struct tree *map, const char *key)
{
	struct tree **place = find(map, key, false);
	uint32_t at;

	if (place == NULL)
		return;
	at = (uint32_t)(place - map->u.c.v);
	tree_free(*place);
	map->u.c.n--;
	memmove(place, place + 1, (map->u.c.n - at) * sizeof(*place));
}

struct tree *
tree_path(const struct tree *t, const char *path)
{
	char key[256];

	while (t != NULL) {
		const char *dot = strchr(path, '.');
		size_t len = dot != NULL ? (size_t)(dot - path) : strlen(path);

		if (len >= sizeof(key))
			return NULL;
		memcpy(key, path, len);
		key[len] = '\0';
		t = tree_get(t, key);
		if (dot == NULL)
			return (struct tree *)(uintptr_t)t;
		path = dot + 1;
	}
	return NULL;
}

bool
tree_append(struct tree *list, struct tree *value)
{
	if (value == NULL)
		return false;
	if (list == NULL || list->type != TREE_LIST) {
		tree_free(value);
		return false;
	}
	return add_child(list, value);
}

uint32_t
tree_count(const struct tree *t)
{
	return is_container(t) ? t->u.c.n : 0;
}

struct tree *
tree_child(const struct tree *t, uint32_t index)
{
	return index < tree_count(t) ? t->u.c.v[index] : NULL;
}

const char *
tree_path_text(const struct tree *t, const char *path, const char *dflt)
{
	const struct tree *v = tree_path(t, path);

	return v != NULL && v->type == TREE_TEXT ? v->u.s : dflt;
}

int64_t
tree_path_int(const struct tree *t, const char *path, int64_t dflt)
{
	const struct tree *v = tree_path(t, path);

	return v != NULL && v->type == TREE_INT ? v->u.i : dflt;
}

bool
tree_path_bool(const struct tree *t, const char *path, bool dflt)
{
	const struct tree *v = tree_path(t, path);

	return v != NULL && v->type == TREE_BOOL ? v->u.b : dflt;
}

/* Shortest text that reads back as the same number, as Python's repr. */
static int
real_text(double r, char *buf, size_t size)
{
	char tmp[40];

	if (isnan(r))
		return snprintf(buf, size, "nan");
	if (isinf(r))
		return snprintf(buf, size, r < 0 ? "-inf" : "inf");
	if (fabs(r) < 1e16 && r == (double)(int64_t)r)
		return snprintf(buf, size, "%.1f", r);
	for (int digits = 1; digits <= 17; digits++) {
		/* %g writes 17 digits without an exponent */
		if (fabs(r) >= 1e16)
			snprintf(tmp, sizeof(tmp), "%.*e", digits - 1, r);
		else
			snprintf(tmp, sizeof(tmp), "%.*g", digits, r);
		if (strtod(tmp, NULL) == r)
			break;
	}
	return snprintf(buf, size, "%s", tmp);
}

int
tree_scalar_text(const struct tree *t, char *buf, size_t size)
{
	switch (t->type) {
	case TREE_NULL:
		return snprintf(buf, size, "None");
	case TREE_BOOL:
		return snprintf(buf, size, t->u.b ? "True" : "False");
	case TREE_INT:
		return snprintf(buf, size, "%" PRId64, t->u.i);
	case TREE_REAL:
		return real_text(t->u.r, buf, size);
	case TREE_TEXT:
		return snprintf(buf, size, "%s", t->u.s);
	case TREE_LIST:
	case TREE_MAP:
		break;
	}
	return snprintf(buf, size, "%s", "");
}

/* Text forms of two scalars are the same. */
static bool
same_text(const struct tree *a, const struct tree *b)
{
	char abuf[64], bbuf[64];
	const char *at = abuf, *bt = bbuf;

	if (a->type == TREE_TEXT)
		at = a->u.s;
	else
		tree_scalar_text(a, abuf, sizeof(abuf));
	if (b->type == TREE_TEXT)
		bt = b->u.s;
	else
		tree_scalar_text(b, bbuf, sizeof(bbuf));
	return strcmp(at, bt) == 0;
}

static bool
equal_maps(const struct tree *a, const struct tree *b,
    bool (*equal)(const struct tree *, const struct tree *))
{
	if (a->u.c.n != b->u.c.n)
		return false;
	for (uint32_t i = 0; i < a->u.c.n; i++) {
		const struct tree *child = a->u.c.v[i];
		const struct tree *other = tree_get(b, child->key);

		if (other == NULL || !equal(child, other))
			return false;
	}
	return true;
}

static bool
equal_lists(const struct tree *a, const struct tree *b,
    bool (*equal)(const struct tree *, const struct tree *))
{
	if (a->u.c.n != b->u.c.n)
		return false;
	for (uint32_t i = 0; i < a->u.c.n; i++)
		if (!equal(a->u.c.v[i], b->u.c.v[i]))
			return false;
	return true;
}

bool
tree_equal_loose(const struct tree *a, const struct tree *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->type == TREE_MAP && b->type == TREE_MAP)
		return equal_maps(a, b, tree_equal_loose);
	/* lists compare as a whole: by the exact items */
	if (a->type == TREE_LIST && b->type == TREE_LIST)
		return equal_lists(a, b, tree_equal);
	if (is_container(a) || is_container(b))
		return false;
	return same_text(a, b);
}

bool
tree_equal(const struct tree *a, const struct tree *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case TREE_NULL:
		return true;
	case TREE_BOOL:
		return a->u.b == b->u.b;
	case TREE_INT:
		return a->u.i == b->u.i;
	case TREE_REAL:
		/* NOLINTNEXTLINE: bit by bit, NaN equals itself */
		return memcmp(&a->u.r, &b->u.r, sizeof(a->u.r)) == 0;
	case TREE_TEXT:
		return strcmp(a->u.s, b->u.s) == 0;
	case TREE_LIST:
		return equal_lists(a, b, tree_equal);
	case TREE_MAP:
		return equal_maps(a, b, tree_equal);
	}
	return false;
}

/* Replace or add one key of the base by a copy. */
static bool
patch_replace(struct tree *base, const struct tree *over, bool *changed)
{
	struct tree *copy = tree_copy(over);

	if (copy == NULL || !tree_set(base, over->key, copy))
		return false;
	*changed = true;
	return true;
}

bool
tree_patch(struct tree *base, const struct tree *overlay, bool *changed)
{
	bool dummy = false;

	if (changed == NULL)
		changed = &dummy;
	if (base->type != TREE_MAP || overlay->type != TREE_MAP)
		return false;
	for (uint32_t i = 0; i < overlay->u.c.n; i++) {
		const struct tree *over = overlay->u.c.v[i];
		struct tree *cur = tree_get(base, over->key);
		bool ok = true;

		if (over->type == TREE_NULL) {
			if (cur != NULL) {
				tree_remove(base, over->key);
				*changed = true;
			}
		} else if (cur != NULL && cur->type == TREE_MAP &&
		    over->type == TREE_MAP)
			ok = tree_patch(cur, over, changed);
		else if (cur == NULL || !tree_equal_loose(cur, over))
			ok = patch_replace(base, over, changed);
		if (!ok)
			return false;
	}
	return true;
}

bool
tree_truthy(const struct tree *t)
{
	if (t == NULL)
		return false;
	switch (t->type) {
	case TREE_NULL:
		return false;
	case TREE_BOOL:
		return t->u.b;
	case TREE_INT:
		return t->u.i != 0;
	case TREE_REAL:
		return t->u.r < 0 || t->u.r > 0;
	case TREE_TEXT:
		return t->u.s[0] != '\0';
	case TREE_LIST:
	case TREE_MAP:
		return tree_count(t) > 0;
	}
	return false;
}
