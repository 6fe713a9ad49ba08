/*
 * conf_util.c: helpers shared by the conf_*.c files of this folder.
 */
#include "conf_util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/log.h"
#include "../../ipc/values.h"

void *
must(void *p)
{
	if (p == NULL)
		fatal("out of memory");
	return p;
}

static void
text_room(struct text *t, size_t more)
{
	size_t cap = t->cap == 0 ? 256 : t->cap;

	while (cap < t->len + more + 1)
		cap *= 2;
	if (cap == t->cap)
		return;
	t->s = must(realloc(t->s, cap));
	t->cap = cap;
}

void
text_add_n(struct text *t, const char *s, size_t n)
{
	text_room(t, n);
	memcpy(t->s + t->len, s, n);
	t->len += n;
	t->s[t->len] = '\0';
}

void
text_add(struct text *t, const char *s)
{
	text_add_n(t, s, strlen(s));
}

void
text_addf(struct text *t, const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		fatal("out of memory");
	text_add_n(t, s, (size_t)n);
	free(s);
}

char *
text_take(struct text *t)
{
	char *s;

	text_room(t, 0);
	s = t->s;
	s[t->len] = '\0';
	memset(t, 0, sizeof(*t));
	return s;
}

void
put(struct tree *map, const char *key, struct tree *value)
{
	must(value);
	if (!tree_set(map, key, value))
		fatal("out of memory");
}

void
put_text(struct tree *map, const char *key, const char *value)
{
	put(map, key, tree_text(value));
}

void
put_copy(struct tree *map, const char *key, const struct tree *value)
{
	put(map, key, tree_copy(value));
}

void
add_text(struct tree *list, const char *value)
{
	if (!tree_append(list, must(tree_text(value))))
		fatal("out of memory");
}

void
add_textf(struct tree *list, const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		fatal("out of memory");
	add_text(list, s);
	free(s);
}

void
put_param(struct tree *map, const char *name, struct tree *value)
{
	const struct tree *old = tree_get_nocase(map, name);

	/* the spelling seen last is the one that is written out */
	if (old != NULL && strcmp(old->key, name) != 0)
		tree_remove(map, old->key);
	put(map, name, value);
}

char *
scalar_text(const struct tree *t)
{
	char buf[64];

	if (t->type == TREE_TEXT)
		return must(strdup(t->u.s));
	tree_scalar_text(t, buf, sizeof(buf));
	return must(strdup(buf));
}

bool
tree_boolean(const struct tree *t, bool dflt)
{
	char buf[64];
	int v;

	if (t == NULL || t->type == TREE_LIST || t->type == TREE_MAP)
		return dflt;
	if (t->type == TREE_TEXT)
		v = value_bool(t->u.s);
	else {
		tree_scalar_text(t, buf, sizeof(buf));
		v = value_bool(buf);
	}
	return v < 0 ? dflt : v == 1;
}

bool
path_text(const struct tree *t, const char *path, char *out, size_t size)
{
	const struct tree *v = tree_path(t, path);
	int n;

	out[0] = '\0';
	if (v == NULL || v->type == TREE_NULL || v->type == TREE_LIST ||
	    v->type == TREE_MAP)
		return true;
	n = tree_scalar_text(v, out, size);
	if (n >= 0 && (size_t)n < size)
		return true;
	out[0] = '\0';
	return false;
}

bool
fail(struct pgerr *err, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return false;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return false;
}

bool
path_join(char out[PATH_SIZE], const char *dir, const char *name)
{
	int n;

	if (name[0] == '/')
		n = snprintf(out, PATH_SIZE, "%s", name);
	else
		n = snprintf(out, PATH_SIZE, "%s/%s", dir, name);
	if (n >= 0 && n < PATH_SIZE)
		return true;
	out[0] = '\0';
	return false;
}

static int
by_key(const void *a, const void *b)
{
	const struct tree *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

const struct tree **
sorted_children(const struct tree *map, uint32_t *n)
{
	const struct tree **v;

	*n = map != NULL && map->type == TREE_MAP ? tree_count(map) : 0;
	v = must(calloc(*n + 1, sizeof(const struct tree *)));
	for (uint32_t i = 0; i < *n; i++)
		v[i] = tree_child(map, i);
	if (*n > 1)
		qsort(v, *n, sizeof(const struct tree *), by_key);
	return v;
}

const char *
overlay_word(enum pg_role role)
{
	switch (role) {
	case ROLE_PRIMARY:
	case ROLE_PROMOTED:
		return "primary";
	case ROLE_REPLICA:
	case ROLE_DEMOTED:
		return "replica";
	case ROLE_STANDBY_LEADER:
		return "standby_leader";
	case ROLE_UNINITIALIZED:
	case ROLE_COUNT:
		break;
	}
	return NULL;
}

bool
file_customised(const struct pgconf *c, const struct tree *params,
    const char *param, const char *file, char value[PATH_SIZE])
{
	const struct tree *v =
	    params == NULL ? NULL : tree_get_nocase(params, param);
	char dflt[PATH_SIZE];

	if (!path_join(dflt, c->config_dir, file))
		return false;
	if (v == NULL || v->type != TREE_TEXT || !tree_truthy(v))
		return false;
	return path_join(value, c->config_dir, v->u.s) &&
	    strcmp(value, dflt) != 0;
}
