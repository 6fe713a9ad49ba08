/*
 * tree.h: typed trees of values (null, bool, int, real, text, list, map).
 *
 * The one in-memory form of configuration, dynamic documents, tags and other
 * structured values, and its binary encoding for the variable part of a
 * message.  Knows neither YAML nor JSON: the process that reads text converts
 * it (master/conf for YAML, helpers/json.c for JSON).  libc only.
 *
 * Ownership: a node owns its children; tree_free(root) frees all.  Functions
 * that add a child take it over, also when they fail.
 */
#ifndef IPC_TREE_H
#define IPC_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_MAX_DEPTH 32
#define TREE_MAX_NODES 65536
#define TREE_MAX_KEYS 8192	     /* of one map: look-up is a scan */
#define TREE_MAX_BYTES (1024 * 1024) /* encoded size */

enum tree_type {
	TREE_NULL = 0,
	TREE_BOOL = 1,
	TREE_INT = 2,
	TREE_REAL = 3,
	TREE_TEXT = 4,
	TREE_LIST = 5,
	TREE_MAP = 6
};

struct tree {
	enum tree_type type;
	uint32_t line;	 /* line in the source file, 0 = unknown */
	uint32_t shares; /* of a root: further holders, tree_share() */
	char *key;	 /* in a map; NULL elsewhere */
	union {
		bool b;
		int64_t i;
		double r;
		char *s; /* TREE_TEXT, never NULL */
		struct {
			struct tree **v; /* children, insertion order */
			uint32_t n, cap;
		} c;
	} u;
};

/* Constructors return NULL when memory is short. */
struct tree *tree_null(void);
struct tree *tree_bool(bool);
struct tree *tree_int(int64_t);
struct tree *tree_real(double);
struct tree *tree_text(const char *);
struct tree *tree_list(void);
struct tree *tree_map(void);
void tree_free(struct tree *);	     /* NULL allowed */
void tree_free_wiped(struct tree *); /* text is overwritten first */
/*
 * Hold a tree that nobody changes any more as well: the same pointer, to be
 * given to tree_free() once more.  It must not become a child of another.
 */
struct tree *tree_share(const struct tree *);
struct tree *tree_copy(const struct tree *);

/* Map: set (replaces, keeps the place), get (NULL when absent), remove. */
bool tree_set(struct tree *map, const char *key, struct tree *value);
struct tree *tree_get(const struct tree *map, const char *key);
/* As tree_get, ASCII case ignored (PostgreSQL parameter names). */
struct tree *tree_get_nocase(const struct tree *map, const char *key);
void tree_remove(struct tree *map, const char *key);
/* Dotted path through maps: "postgresql.authentication.superuser". */
struct tree *tree_path(const struct tree *, const char *path);
/* List. */
bool tree_append(struct tree *list, struct tree *value);
/* Children of a list or map; 0 / NULL for anything else, NULL included. */
uint32_t tree_count(const struct tree *);
struct tree *tree_child(const struct tree *, uint32_t index);

/* Convenience readers: the value at path, or the default when absent or of
 * another type.  Text pointers live as long as the tree. */
const char *tree_path_text(
    const struct tree *, const char *path, const char *dflt);
int64_t tree_path_int(const struct tree *, const char *path, int64_t dflt);
bool tree_path_bool(const struct tree *, const char *path, bool dflt);

/* The "patch" merge of spec/config.md 2.3: overlay onto base, in place. */
bool tree_patch(struct tree *base, const struct tree *overlay, bool *changed);
/* Deep comparison of spec/dcs.md 2.2 (values by their text form). */
bool tree_equal_loose(const struct tree *, const struct tree *);
/* Exact comparison: types and order of list items, not of map keys. */
bool tree_equal(const struct tree *, const struct tree *);
/* Truth of a value as Python sees it: any text but the empty one is true;
 * NULL is false. */
bool tree_truthy(const struct tree *);
/* Text form of a scalar (spec/config.md 3.4): True/False/None, numbers;
 * returns the length as snprintf does. */
int tree_scalar_text(const struct tree *, char *buf, size_t size);

/* Binary form.  Encode allocates *out (caller frees). Decode checks types,
 * lengths, depth, node count, UTF-8-agnostic NUL-free text and unused bytes;
 * NULL when anything is wrong. */
bool tree_encode(const struct tree *, uint8_t **out, size_t *len);
struct tree *tree_decode(const uint8_t *, size_t len);

#endif
