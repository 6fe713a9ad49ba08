/*
 * yaml.c: one YAML 1.1 document to a tree (spec/config.md 3.1).
 *
 * Works on libyaml's events; anchors are kept as copies, so that an alias
 * never shares memory.  Every node, alias copies included, counts against a
 * budget of nodes and bytes.  What a plain scalar means stands in scalar.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "conf.h"

#define MAX_NODES 20000
#define MAX_ANCHORS 256

struct anchor {
	char *name;
	struct tree *value;
};

struct loader {
	yaml_parser_t parser;
	uint32_t file;
	uint32_t nodes;
	size_t bytes;
	struct anchor anchors[MAX_ANCHORS];
	uint32_t nanchors;
	char *err;
	size_t errsize;
};

static struct tree *parse_node(struct loader *, yaml_event_t *, int);

static struct tree *fail(struct loader *l, size_t line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static struct tree *
fail(struct loader *l, size_t line, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (*l->err != '\0') /* the first reason is the one to tell */
		return NULL;
	n = snprintf(l->err, l->errsize, "line %zu: ", line + 1);
	if (n < 0 || (size_t)n >= l->errsize)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(l->err + n, l->errsize - (size_t)n, fmt, ap);
	va_end(ap);
	return NULL;
}

static bool
next_event(struct loader *l, yaml_event_t *ev)
{
	if (yaml_parser_parse(&l->parser, ev))
		return true;
	fail(l, l->parser.problem_mark.line, "%s%s%s",
	    l->parser.context != NULL ? l->parser.context : "",
	    l->parser.context != NULL ? ": " : "",
	    l->parser.problem != NULL ? l->parser.problem : "not YAML");
	return false;
}

/* Take nodes and bytes from the budget. */
static bool
spend(struct loader *l, size_t line, uint32_t nodes, size_t bytes)
{
	if (nodes > MAX_NODES - l->nodes || bytes > TREE_MAX_BYTES - l->bytes) {
		fail(l, line, "the document is too large");
		return false;
	}
	l->nodes += nodes;
	l->bytes += bytes;
	return true;
}

static void
measure(const struct tree *t, uint32_t *nodes, size_t *bytes, int depth,
    int *deepest)
{
	(*nodes)++;
	if (depth > *deepest)
		*deepest = depth;
	*bytes += 8 + (t->key != NULL ? strlen(t->key) : 0) +
	    (t->type == TREE_TEXT ? strlen(t->u.s) : 0);
	for (uint32_t i = 0; i < tree_count(t); i++)
		measure(tree_child(t, i), nodes, bytes, depth + 1, deepest);
}

static struct tree *
place(struct loader *l, struct tree *t, size_t line)
{
	if (t == NULL)
		return fail(l, line, "out of memory");
	line++;
	if (line >= 1u << CONF_FILE_SHIFT)
		line = 0;
	t->line = l->file << CONF_FILE_SHIFT | (uint32_t)line;
	return t;
}

/* The budgeted copy of a subtree that will stand at `depth`. */
static struct tree *
paid_copy(struct loader *l, const struct tree *t, size_t line, int depth)
{
	uint32_t nodes = 0;
	size_t bytes = 0;
	int deepest = 0;
	struct tree *copy;

	measure(t, &nodes, &bytes, depth, &deepest);
	if (deepest >= TREE_MAX_DEPTH)
		return fail(l, line, "nested too deeply");
	if (!spend(l, line, nodes, bytes))
		return NULL;
	copy = tree_copy(t);
	return copy != NULL ? copy : fail(l, line, "out of memory");
}

static bool
remember(struct loader *l, const char *name, const struct tree *t, size_t line)
{
	struct anchor *a = NULL;
	struct tree *copy;

	for (uint32_t i = 0; i < l->nanchors; i++)
		if (strcmp(l->anchors[i].name, name) == 0)
			a = &l->anchors[i];
	if (a == NULL && l->nanchors == MAX_ANCHORS) {
		fail(l, line, "too many anchors");
		return false;
	}
	if ((copy = paid_copy(l, t, line, 0)) == NULL)
		return false;
	free(copy->key);
	copy->key = NULL;
	if (a != NULL) {
		tree_free_wiped(a->value);
		a->value = copy;
		return true;
	}
	a = &l->anchors[l->nanchors];
	if ((a->name = strdup(name)) == NULL) {
		tree_free_wiped(copy);
		fail(l, line, "out of memory");
		return false;
	}
	a->value = copy;
	l->nanchors++;
	return true;
}

static struct tree *
parse_alias(struct loader *l, const yaml_event_t *ev, int depth)
{
	const char *name = (const char *)ev->data.alias.anchor;
	size_t line = ev->start_mark.line;
	struct tree *t;

	for (uint32_t i = 0; i < l->nanchors; i++) {
		if (strcmp(l->anchors[i].name, name) != 0)
			continue;
		if ((t = paid_copy(l, l->anchors[i].value, line, depth)) !=
		    NULL)
			place(l, t, line);
		return t;
	}
	return fail(l, line, "alias *%s without an anchor", name);
}

static bool
tag_is(const char *tag, const char *type)
{
	static const char prefix[] = "tag:yaml.org,2002:";

	return strncmp(tag, prefix, sizeof(prefix) - 1) == 0 &&
	    strcmp(tag + sizeof(prefix) - 1, type) == 0;
}

static bool
tag_resolves(const char *tag)
{
	static const char *const types[] = { "int", "float", "bool", "null",
		"timestamp" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (tag_is(tag, types[i]))
			return true;
	return false;
}

static struct tree *
parse_scalar(struct loader *l, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;
	const char *tag = (const char *)ev->data.scalar.tag;
	size_t len = ev->data.scalar.length, line = ev->start_mark.line;

	if (memchr(s, '\0', len) != NULL)
		return fail(l, line, "text holds a NUL byte");
	if (!spend(l, line, 1, len + 8))
		return NULL;
	if (tag != NULL && tag_resolves(tag))
		return place(l, conf_yaml_scalar(s), line);
	if (tag != NULL && strcmp(tag, "!") != 0 && !tag_is(tag, "str"))
		return fail(l, line, "unknown tag %.100s", tag);
	if (tag == NULL && ev->data.scalar.plain_implicit)
		return place(l, conf_yaml_scalar(s), line);
	return place(l, tree_text(s), line);
}

static struct tree *
parse_list(struct loader *l, const yaml_event_t *start, int depth)
{
	const char *tag = (const char *)start->data.sequence_start.tag;
	size_t line = start->start_mark.line;
	struct tree *list, *item;
	yaml_event_t ev;

	if (tag != NULL && strcmp(tag, "!") != 0 && !tag_is(tag, "seq"))
		return fail(l, line, "unknown tag %.100s", tag);
	if (!spend(l, line, 1, 8) ||
	    (list = place(l, tree_list(), line)) == NULL)
		return NULL;
	for (;;) {
		if (!next_event(l, &ev))
			goto bad;
		if (ev.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&ev);
			return list;
		}
		item = parse_node(l, &ev, depth + 1);
		yaml_event_delete(&ev);
		if (item == NULL)
			goto bad;
		if (!tree_append(list, item)) {
			fail(l, line, "out of memory");
			goto bad;
		}
	}
bad:
	tree_free_wiped(list);
	return NULL;
}

/* Keys of `from` that the map does not have yet. */
static bool
merge_map(struct loader *l, struct tree *map, const struct tree *from,
    size_t line, int depth)
{
	struct tree *copy;

	for (uint32_t i = 0; i < tree_count(from); i++) {
		const struct tree *c = tree_child(from, i);

		if (tree_get(map, c->key) != NULL)
			continue;
		if ((copy = paid_copy(l, c, line, depth + 1)) == NULL)
			return false;
		if (!tree_set(map, c->key, copy)) {
			fail(l, line, "out of memory");
			return false;
		}
	}
	return true;
}

/* The value of `<<`: a map, or a list of maps, the first one strongest. */
static bool
merge(struct loader *l, struct tree *map, const struct tree *value, size_t line,
    int depth)
{
	if (value->type == TREE_MAP)
		return merge_map(l, map, value, line, depth);
	if (value->type != TREE_LIST) {
		fail(l, line, "<< needs a mapping or a list of mappings");
		return false;
	}
	for (uint32_t i = 0; i < tree_count(value); i++) {
		const struct tree *c = tree_child(value, i);

		if (c->type != TREE_MAP) {
			fail(l, line, "<< needs mappings in its list");
			return false;
		}
		if (!merge_map(l, map, c, line, depth))
			return false;
	}
	return true;
}

/* The text of a map key, to be freed; *merging: it is the merge key. */
static char *
parse_key(struct loader *l, const yaml_event_t *ev, bool *merging)
{
	const char *s = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length, line = ev->start_mark.line;
	char *key;

	if (ev->type != YAML_SCALAR_EVENT) {
		fail(l, line, "a key must be a scalar");
		return NULL;
	}
	if (memchr(s, '\0', len) != NULL) {
		fail(l, line, "key holds a NUL byte");
		return NULL;
	}
	if (!spend(l, line, 0, len))
		return NULL;
	*merging = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	    strcmp(s, "<<") == 0;
	if ((key = strdup(s)) == NULL) {
		fail(l, line, "out of memory");
		return NULL;
	}
	if (ev->data.scalar.anchor != NULL) {
		struct tree *t = tree_text(key);

		if (t == NULL ||
		    !remember(
			l, (const char *)ev->data.scalar.anchor, t, line)) {
			tree_free(t);
			free(key);
			return NULL;
		}
		tree_free(t);
	}
	return key;
}

/* One pair; its key event is given.  Merge values collect in *merges. */
static bool
parse_pair(struct loader *l, yaml_event_t *key_ev, struct tree *map,
    struct tree *merges, int depth)
{
	bool merging = false, ok;
	char *key = parse_key(l, key_ev, &merging);
	size_t line = key_ev->start_mark.line;
	struct tree *value;
	yaml_event_t ev;

	if (key == NULL)
		return false;
	if (!next_event(l, &ev)) {
		free(key);
		return false;
	}
	value = parse_node(l, &ev, depth + 1);
	yaml_event_delete(&ev);
	if (value == NULL) {
		free(key);
		return false;
	}
	/* a mapping or list begins on the next line: its key tells better */
	place(l, value, line);
	ok = merging ? tree_append(merges, value) : tree_set(map, key, value);
	if (!ok)
		fail(l, line, "out of memory");
	free(key);
	return ok;
}

static struct tree *
parse_map(struct loader *l, const yaml_event_t *start, int depth)
{
	const char *tag = (const char *)start->data.mapping_start.tag;
	size_t line = start->start_mark.line;
	struct tree *map, *merges;
	yaml_event_t ev;
	bool more = true, ok = true;

	if (tag != NULL && strcmp(tag, "!") != 0 && !tag_is(tag, "map"))
		return fail(l, line, "unknown tag %.100s", tag);
	if (!spend(l, line, 1, 8) || (map = place(l, tree_map(), line)) == NULL)
		return NULL;
	if ((merges = tree_list()) == NULL) {
		tree_free(map);
		return fail(l, line, "out of memory");
	}
	while (ok && more) {
		if (!next_event(l, &ev)) {
			ok = false;
			break;
		}
		more = ev.type != YAML_MAPPING_END_EVENT;
		if (more)
			ok = parse_pair(l, &ev, map, merges, depth);
		yaml_event_delete(&ev);
	}
	for (uint32_t i = 0; ok && i < tree_count(merges); i++)
		ok = merge(l, map, tree_child(merges, i), line, depth);
	tree_free_wiped(merges);
	if (ok)
		return map;
	tree_free_wiped(map);
	return NULL;
}

static const char *
anchor_of(const yaml_event_t *ev)
{
	if (ev->type == YAML_SCALAR_EVENT)
		return (const char *)ev->data.scalar.anchor;
	if (ev->type == YAML_SEQUENCE_START_EVENT)
		return (const char *)ev->data.sequence_start.anchor;
	if (ev->type == YAML_MAPPING_START_EVENT)
		return (const char *)ev->data.mapping_start.anchor;
	return NULL;
}

static struct tree *
parse_node(struct loader *l, yaml_event_t *ev, int depth)
{
	size_t line = ev->start_mark.line;
	const char *anchor = anchor_of(ev);
	struct tree *t = NULL;

	if (depth >= TREE_MAX_DEPTH)
		return fail(l, line, "nested too deeply");
	if (ev->type == YAML_ALIAS_EVENT)
		t = parse_alias(l, ev, depth);
	else if (ev->type == YAML_SCALAR_EVENT)
		t = parse_scalar(l, ev);
	else if (ev->type == YAML_SEQUENCE_START_EVENT)
		t = parse_list(l, ev, depth);
	else if (ev->type == YAML_MAPPING_START_EVENT)
		t = parse_map(l, ev, depth);
	else
		return fail(l, line, "unexpected event");
	if (t != NULL && anchor != NULL && !remember(l, anchor, t, line)) {
		tree_free_wiped(t);
		return NULL;
	}
	return t;
}

/* Wait for this event; others before it are an error. */
static bool
expect(struct loader *l, yaml_event_type_t type)
{
	yaml_event_t ev;
	bool ok;

	if (!next_event(l, &ev))
		return false;
	ok = ev.type == type;
	if (!ok)
		fail(l, ev.start_mark.line, "more than one document");
	yaml_event_delete(&ev);
	return ok;
}

static struct tree *
parse_stream(struct loader *l)
{
	yaml_event_t ev;
	struct tree *t;

	if (!expect(l, YAML_STREAM_START_EVENT) || !next_event(l, &ev))
		return NULL;
	if (ev.type == YAML_STREAM_END_EVENT) {
		yaml_event_delete(&ev);
		return place(l, tree_null(), 0);
	}
	yaml_event_delete(&ev); /* document start */
	if (!next_event(l, &ev))
		return NULL;
	t = parse_node(l, &ev, 0);
	yaml_event_delete(&ev);
	if (t == NULL)
		return NULL;
	if (expect(l, YAML_DOCUMENT_END_EVENT) &&
	    expect(l, YAML_STREAM_END_EVENT))
		return t;
	tree_free_wiped(t);
	return NULL;
}

struct tree *
conf_yaml_parse(
    const char *text, size_t len, uint32_t file, char *err, size_t errsize)
{
	struct loader *l;
	struct tree *t = NULL;

	*err = '\0';
	if (len > CONF_MAX_FILE) {
		snprintf(err, errsize, "larger than %d bytes", CONF_MAX_FILE);
		return NULL;
	}
	if ((l = calloc(1, sizeof(*l))) == NULL) {
		snprintf(err, errsize, "out of memory");
		return NULL;
	}
	l->err = err;
	l->errsize = errsize;
	l->file = file;
	if (!yaml_parser_initialize(&l->parser)) {
		snprintf(err, errsize, "out of memory");
		free(l);
		return NULL;
	}
	yaml_parser_set_input_string(
	    &l->parser, (const unsigned char *)text, len);
	t = parse_stream(l);
	yaml_parser_delete(&l->parser);
	for (uint32_t i = 0; i < l->nanchors; i++) {
		free(l->anchors[i].name);
		tree_free_wiped(l->anchors[i].value);
	}
	free(l);
	return t;
}
