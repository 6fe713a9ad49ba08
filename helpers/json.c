/*
 * json.c: see json.h.  Reading goes through jansson; writing is done here,
 * because the forms to keep are those of Python's json module.
 */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/codec.h"
#include "json.h"

#define MAX_OUTPUT (16u * 1024 * 1024)

/*
 * jansson seeds its hash tables from a device at the first object; a helper
 * in its sandbox cannot open that any more and would get a seed that clients
 * can guess.
 */
__attribute__((constructor)) static void
seed_hashes(void)
{
	json_object_seed(0);
}

/* ---- reading ---- */

/* Before the parser recurses: how deep does the text go? */
static bool
depth_allowed(const char *s, size_t len)
{
	int depth = 0;
	bool text = false;

	for (size_t i = 0; i < len; i++) {
		if (text) {
			if (s[i] == '\\')
				i++;
			else if (s[i] == '"')
				text = false;
		} else if (s[i] == '"')
			text = true;
		else if (s[i] == '{' || s[i] == '[') {
			if (++depth > TREE_MAX_DEPTH)
				return false;
		} else if (s[i] == '}' || s[i] == ']')
			depth--;
	}
	return true;
}

static struct tree *convert(const json_t *, uint32_t *nodes);

static struct tree *
convert_object(const json_t *j, uint32_t *nodes)
{
	json_t *object = (json_t *)(uintptr_t)j; /* the iterators lack const */
	struct tree *t = tree_map(), *child;

	for (void *it = json_object_iter(object); t != NULL && it != NULL;
	     it = json_object_iter_next(object, it)) {
		child = convert(json_object_iter_value(it), nodes);
		if (child == NULL ||
		    !tree_set(t, json_object_iter_key(it), child)) {
			tree_free(t);
			return NULL;
		}
	}
	return t;
}

static struct tree *
convert_array(const json_t *j, uint32_t *nodes)
{
	struct tree *t = tree_list(), *child;

	for (size_t i = 0; t != NULL && i < json_array_size(j); i++) {
		child = convert(json_array_get(j, i), nodes);
		if (child == NULL || !tree_append(t, child)) {
			tree_free(t);
			return NULL;
		}
	}
	return t;
}

static struct tree *
convert(const json_t *j, uint32_t *nodes)
{
	if (++*nodes > TREE_MAX_NODES)
		return NULL;
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		/* a look-up in a map is a scan: bounded before it is built */
		if (json_object_size(j) > TREE_MAX_KEYS)
			return NULL;
		return convert_object(j, nodes);
	case JSON_ARRAY:
		return convert_array(j, nodes);
	case JSON_STRING:
		return tree_text(json_string_value(j));
	case JSON_INTEGER:
		return tree_int(json_integer_value(j));
	case JSON_REAL:
		return tree_real(json_real_value(j));
	case JSON_TRUE:
		return tree_bool(true);
	case JSON_FALSE:
		return tree_bool(false);
	case JSON_NULL:
		return tree_null();
	}
	return NULL;
}

static struct tree *
refuse(char *why, size_t size, const char *reason)
{
	if (why != NULL && size > 0)
		(void)snprintf(why, size, "%s", reason);
	return NULL;
}

struct json_t *
jansson_parse(const char *text, size_t len, char *why, size_t why_size)
{
	json_error_t error;
	json_t *j;

	if (text == NULL)
		(void)refuse(why, why_size, "no text");
	else if (len > JSON_MAX_TEXT)
		(void)refuse(why, why_size, "too large");
	else if (memchr(text, '\0', len) != NULL) /* jansson would not mind */
		(void)refuse(why, why_size, "NUL in the text");
	else if (!depth_allowed(text, len))
		(void)refuse(why, why_size, "nested too deeply");
	else if ((j = json_loadb(text, len, JSON_DECODE_ANY, &error)) == NULL)
		(void)refuse(why, why_size, error.text);
	else
		return j;
	return NULL;
}

struct tree *
tree_from_jansson(const struct json_t *j)
{
	uint32_t nodes = 0;

	return j == NULL ? NULL : convert(j, &nodes);
}

struct tree *
tree_from_json(const char *text, size_t len, char *why, size_t why_size)
{
	struct tree *t;
	json_t *j;

	if ((j = jansson_parse(text, len, why, why_size)) == NULL)
		return NULL;
	t = tree_from_jansson(j);
	json_decref(j);
	return t != NULL ? t : refuse(why, why_size, "too many values");
}

/* ---- writing ---- */

/* One code point of UTF-8 at s; 0 when it is malformed.  *size: its bytes. */
static uint32_t
code_point(const unsigned char *s, size_t *size)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c;
	size_t n;

	if (s[0] < 0x80) {
		*size = 1;
		return s[0];
	}
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if ((s[0] & 0xf0) == 0xe0)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	c = s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) /* also the final NUL */
			return 0;
		c = (c << 6) | (s[i] & 0x3fu);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*size = n;
	return c;
}

static void
put(struct writer *w, const char *s)
{
	write_bytes(w, s, strlen(s));
}

static void
put_escaped(struct writer *w, uint32_t c)
{
	char buf[16];

	switch (c) {
	case '"':
		put(w, "\\\"");
		return;
	case '\\':
		put(w, "\\\\");
		return;
	case '\n':
		put(w, "\\n");
		return;
	case '\r':
		put(w, "\\r");
		return;
	case '\t':
		put(w, "\\t");
		return;
	case '\b':
		put(w, "\\b");
		return;
	case '\f':
		put(w, "\\f");
		return;
	default:
		break;
	}
	if (c >= 0x10000)
		(void)snprintf(buf, sizeof(buf), "\\u%04x\\u%04x",
		    (unsigned int)(0xd800 + ((c - 0x10000) >> 10)),
		    (unsigned int)(0xdc00 + ((c - 0x10000) & 0x3ff)));
	else
		(void)snprintf(buf, sizeof(buf), "\\u%04x", (unsigned int)c);
	put(w, buf);
}

static void
put_text(struct writer *w, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t size, plain;
	uint32_t c;

	write_u8(w, '"');
	while (*s != '\0') {
		for (plain = 0; s[plain] >= 0x20 && s[plain] < 0x7f &&
		     s[plain] != '"' && s[plain] != '\\';
		     plain++)
			;
		write_bytes(w, s, plain);
		s += plain;
		if (*s == '\0')
			break;
		if ((c = code_point(s, &size)) == 0) {
			w->failed = true;
			return;
		}
		put_escaped(w, c);
		s += size;
	}
	write_u8(w, '"');
}

/* Shortest digits that read back as the same number, with a fraction or an
 * exponent so that it stays a real. */
static void
put_real(struct writer *w, double r)
{
	char buf[40];
	int precision = 15;

	if (!isfinite(r)) {
		w->failed = true; /* JSON has no such number */
		return;
	}
	do
		(void)snprintf(buf, sizeof(buf), "%.*g", precision, r);
	while (precision++ < 17 && strtod(buf, NULL) - r != 0.0);
	put(w, buf);
	if (strpbrk(buf, ".eE") == NULL)
		put(w, ".0");
}

static void
put_tree(struct writer *w, const struct tree *t, enum json_form form, int depth)
{
	bool map = t->type == TREE_MAP;
	char buf[32];

	if (depth > TREE_MAX_DEPTH)
		w->failed = true;
	if (w->failed)
		return;
	switch (t->type) {
	case TREE_NULL:
		put(w, "null");
		return;
	case TREE_BOOL:
		put(w, t->u.b ? "true" : "false");
		return;
	case TREE_INT:
		(void)snprintf(buf, sizeof(buf), "%" PRId64, t->u.i);
		put(w, buf);
		return;
	case TREE_REAL:
		put_real(w, t->u.r);
		return;
	case TREE_TEXT:
		put_text(w, t->u.s);
		return;
	case TREE_LIST:
	case TREE_MAP:
		break;
	}
	put(w, map ? "{" : "[");
	for (uint32_t i = 0; i < tree_count(t); i++) {
		if (i > 0)
			put(w, form == JSON_FORM_SPACED ? ", " : ",");
		if (map) {
			put_text(w, tree_child(t, i)->key);
			put(w, form == JSON_FORM_SPACED ? ": " : ":");
		}
		put_tree(w, tree_child(t, i), form, depth + 1);
	}
	put(w, map ? "}" : "]");
}

char *
tree_to_json(const struct tree *t, enum json_form form, size_t *len)
{
	struct writer w;
	uint8_t *out;
	size_t n;

	writer_init(&w, MAX_OUTPUT);
	put_tree(&w, t, form, 0);
	write_u8(&w, '\0');
	if (!writer_finish(&w, &out, &n))
		return NULL;
	if (len != NULL)
		*len = n - 1;
	return (char *)out;
}
