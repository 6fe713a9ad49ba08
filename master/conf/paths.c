/*
 * paths.c: small helpers on trees and dotted paths of the configuration.
 */
#include <stdlib.h>
#include <string.h>

#include "../../ipc/version.h"
#include "internal.h"

const char *const conf_stores[] = { "consul", "etcd", "etcd3", "exhibitor",
	"kubernetes", "raft", "zookeeper", NULL };

#define STORE_NAME(name) #name,
const char *const conf_built_stores[] = { STORES(STORE_NAME, STORE_NAME) NULL };

bool
conf_path_join(char *dst, size_t size, const char *path, const char *key)
{
	int n =
	    snprintf(dst, size, "%s%s%s", path, *path != '\0' ? "." : "", key);

	return n >= 0 && (size_t)n < size;
}

bool
conf_key_wild(const struct conf_key *k)
{
	size_t n = strlen(k->path);

	return k->path[n - 1] == '*';
}

/* The map that holds the last word of path; made on demand. */
static struct tree *
parent_of(struct tree *root, const char *path, bool make, const char **last)
{
	char key[CONF_PATH_SIZE];
	const char *dot;
	struct tree *t = root, *next;

	while ((dot = strchr(path, '.')) != NULL) {
		size_t n = (size_t)(dot - path);

		if (n >= sizeof(key) || t->type != TREE_MAP)
			return NULL;
		memcpy(key, path, n);
		key[n] = '\0';
		next = tree_get(t, key);
		if (next == NULL || next->type != TREE_MAP) {
			if (!make || !tree_set(t, key, tree_map()))
				return NULL;
			next = tree_get(t, key);
		}
		if ((t = next) == NULL)
			return NULL;
		path = dot + 1;
	}
	*last = path;
	return t->type == TREE_MAP ? t : NULL;
}

bool
conf_set_path(struct tree *root, const char *path, struct tree *value)
{
	const char *last;
	struct tree *map;

	if (value == NULL)
		return false;
	if ((map = parent_of(root, path, true, &last)) == NULL) {
		tree_free_wiped(value);
		return false;
	}
	return tree_set(map, last, value);
}

void
conf_remove_path(struct tree *root, const char *path)
{
	const char *last;
	struct tree *map = parent_of(root, path, false, &last);

	if (map != NULL)
		tree_remove(map, last);
}

bool
conf_falsy(const struct tree *t)
{
	if (t == NULL)
		return true;
	switch (t->type) {
	case TREE_NULL:
		return true;
	case TREE_BOOL:
		return !t->u.b;
	case TREE_INT:
		return t->u.i == 0;
	case TREE_REAL:
		return !(t->u.r < 0 || t->u.r > 0) && t->u.r == t->u.r;
	case TREE_TEXT:
		return *t->u.s == '\0';
	case TREE_LIST:
	case TREE_MAP:
		return tree_count(t) == 0;
	}
	return false;
}

const char *
conf_shown(
    const struct conf_key *k, const struct tree *t, char *buf, size_t size)
{
	char text[128];

	if (k != NULL && (k->flags & CONF_SECRET) != 0)
		snprintf(buf, size, "(hidden)");
	else if (t->type == TREE_LIST)
		snprintf(buf, size, "a list");
	else if (t->type == TREE_MAP)
		snprintf(buf, size, "a mapping");
	else {
		tree_scalar_text(t, text, sizeof(text));
		snprintf(buf, size, "\"%s\"", text);
	}
	return buf;
}
