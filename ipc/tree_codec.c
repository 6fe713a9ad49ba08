/*
 * tree_codec.c: binary form of value trees.
 *
 * A node: type, line, key (only inside a map), then the value; a container
 * is a count and its children.  Decoding trusts nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "tree.h"

static void
encode(struct writer *w, const struct tree *t, bool in_map, int depth)
{
	if (depth > TREE_MAX_DEPTH ||
	    (t->type == TREE_MAP && t->u.c.n > TREE_MAX_KEYS)) {
		w->failed = true;
		return;
	}
	write_u8(w, (uint8_t)t->type);
	write_u32(w, t->line);
	if (in_map)
		write_text(w, t->key);
	switch (t->type) {
	case TREE_NULL:
		return;
	case TREE_BOOL:
		write_u8(w, t->u.b);
		return;
	case TREE_INT:
		write_u64(w, (uint64_t)t->u.i);
		return;
	case TREE_REAL:
		write_bytes(w, &t->u.r, sizeof(t->u.r));
		return;
	case TREE_TEXT:
		write_text(w, t->u.s);
		return;
	case TREE_LIST:
	case TREE_MAP:
		write_u32(w, t->u.c.n);
		for (uint32_t i = 0; i < t->u.c.n; i++)
			encode(w, t->u.c.v[i], t->type == TREE_MAP, depth + 1);
		return;
	}
}

bool
tree_encode(const struct tree *t, uint8_t **out, size_t *len)
{
	struct writer w;

	writer_init(&w, TREE_MAX_BYTES);
	encode(&w, t, false, 1);
	return writer_finish(&w, out, len);
}

static struct tree *decode(struct reader *, bool, int, uint32_t *);

static bool
decode_children(struct reader *r, struct tree *t, int depth, uint32_t *nodes)
{
	uint32_t n = read_u32(r);

	if (t->type == TREE_MAP && n > TREE_MAX_KEYS)
		return false;
	for (uint32_t i = 0; i < n && !r->failed; i++) {
		struct tree *c =
		    decode(r, t->type == TREE_MAP, depth + 1, nodes);
		bool ok;

		if (c == NULL)
			return false;
		if (t->type == TREE_LIST)
			ok = tree_append(t, c);
		else if (tree_get(t, c->key) != NULL) { /* keys are unique */
			tree_free(c);
			ok = false;
		} else {
			char *key = c->key;

			c->key = NULL;
			ok = tree_set(t, key, c);
			free(key);
		}
		if (!ok)
			return false;
	}
	return !r->failed;
}

static bool
decode_value(struct reader *r, struct tree *t, int depth, uint32_t *nodes)
{
	uint8_t b;

	switch (t->type) {
	case TREE_NULL:
		return true;
	case TREE_BOOL:
		b = read_u8(r);
		t->u.b = b != 0;
		return !r->failed && b <= 1;
	case TREE_INT:
		t->u.i = (int64_t)read_u64(r);
		return !r->failed;
	case TREE_REAL:
		read_bytes(r, &t->u.r, sizeof(t->u.r));
		return !r->failed;
	case TREE_TEXT:
		return (t->u.s = read_text(r)) != NULL;
	case TREE_LIST:
	case TREE_MAP:
		return decode_children(r, t, depth, nodes);
	}
	return false;
}

static struct tree *
decode(struct reader *r, bool in_map, int depth, uint32_t *nodes)
{
	uint8_t type = read_u8(r);
	uint32_t line = read_u32(r);
	struct tree *t;

	if (r->failed || type > TREE_MAP || depth > TREE_MAX_DEPTH ||
	    ++*nodes > TREE_MAX_NODES || (t = calloc(1, sizeof(*t))) == NULL)
		return NULL;
	/* not yet TEXT: a failure before the value must not free s */
	t->type = TREE_NULL;
	t->line = line;
	if (in_map && (t->key = read_text(r)) == NULL) {
		tree_free(t);
		return NULL;
	}
	t->type = (enum tree_type)type;
	if (!decode_value(r, t, depth, nodes)) {
		tree_free(t); /* s is NULL when TEXT failed: free(NULL) */
		return NULL;
	}
	return t;
}

struct tree *
tree_decode(const uint8_t *buf, size_t len)
{
	struct reader r = { .p = buf, .end = buf + len };
	uint32_t nodes = 0;
	struct tree *t;

	if (buf == NULL || len == 0 || len > TREE_MAX_BYTES)
		return NULL;
	t = decode(&r, false, 1, &nodes);
	if (t != NULL && r.p != r.end) {
		tree_free(t);
		return NULL;
	}
	return t;
}
