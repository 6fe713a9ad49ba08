/*
 * buf.c: growing text and the JSON text forms of the answers.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

void
buf_free(struct buf *b)
{
	free(b->s);
	memset(b, 0, sizeof(*b));
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->s != NULL)
		b->s[0] = '\0';
}

static bool
buf_reserve(struct buf *b, size_t more)
{
	size_t cap;
	char *s;

	if (b->failed)
		return false;
	if (more > BUF_MAX || b->len > BUF_MAX - more) {
		b->failed = true;
		return false;
	}
	if (b->len + more < b->cap)
		return true;
	cap = b->cap == 0 ? 512 : b->cap;
	while (cap <= b->len + more)
		cap *= 2;
	if ((s = realloc(b->s, cap)) == NULL) {
		b->failed = true;
		return false;
	}
	b->s = s;
	b->cap = cap;
	return true;
}

void
buf_add(struct buf *b, const void *p, size_t len)
{
	if (!buf_reserve(b, len))
		return;
	if (len > 0)
		memcpy(b->s + b->len, p, len);
	b->len += len;
	b->s[b->len] = '\0';
}

void
buf_text(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !buf_reserve(b, (size_t)n)) {
		b->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(b->s + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void
buf_html(struct buf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		switch (*s) {
		case '&':
			buf_text(b, "&amp;");
			break;
		case '<':
			buf_text(b, "&lt;");
			break;
		case '>':
			buf_text(b, "&gt;");
			break;
		default:
			buf_add(b, s, 1);
		}
	}
}

/*
 * One code point of UTF-8.  A byte that is not part of valid UTF-8 is taken
 * as U+FFFD, so the answer is always valid JSON.
 */
static const uint8_t *
utf8_next(const uint8_t *p, uint32_t *cp)
{
	static const uint32_t least[4] = { 0, 0x80, 0x800, 0x10000 };
	uint32_t c, n, i;

	c = *p++;
	*cp = 0xfffd;
	if (c < 0x80) {
		*cp = c;
		return p;
	}
	if ((c & 0xe0) == 0xc0) {
		n = 1;
		c &= 0x1f;
	} else if ((c & 0xf0) == 0xe0) {
		n = 2;
		c &= 0x0f;
	} else if ((c & 0xf8) == 0xf0) {
		n = 3;
		c &= 0x07;
	} else
		return p;
	for (i = 0; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return p;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return p;
	*cp = c;
	return p + n;
}

void
buf_json_text(struct buf *b, const char *s)
{
	const uint8_t *p = (const uint8_t *)s, *run;
	uint32_t c;

	buf_add(b, "\"", 1);
	while (*p != '\0') {
		for (run = p;
		     *p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\';)
			p++;
		buf_add(b, run, (size_t)(p - run));
		if (*p == '\0')
			break;
		p = utf8_next(p, &c);
		if (c == '"' || c == '\\') {
			buf_add(b, "\\", 1);
			buf_add(b, c == '"' ? "\"" : "\\", 1);
		} else if (c == '\n')
			buf_text(b, "\\n");
		else if (c == '\r')
			buf_text(b, "\\r");
		else if (c == '\t')
			buf_text(b, "\\t");
		else if (c == '\b')
			buf_text(b, "\\b");
		else if (c == '\f')
			buf_text(b, "\\f");
		else if (c == 0x7f)
			buf_text(b, "\x7f");
		else if (c < 0x10000)
			buf_printf(b, "\\u%04x", c);
		else {
			c -= 0x10000;
			buf_printf(b, "\\u%04x\\u%04x", 0xd800 + (c >> 10),
			    0xdc00 + (c & 0x3ff));
		}
	}
	buf_add(b, "\"", 1);
}

static void
json_list(struct buf *b, const struct tree *t)
{
	uint32_t i;

	buf_text(b, "[");
	for (i = 0; i < tree_count(t); i++) {
		if (i > 0)
			buf_text(b, b->compact ? "," : ", ");
		buf_json_tree(b, tree_child(t, i));
	}
	buf_text(b, "]");
}

static void
json_map(struct buf *b, const struct tree *t)
{
	const struct tree *c;
	bool first = true;
	uint32_t i;

	buf_text(b, "{");
	for (i = 0; i < tree_count(t); i++) {
		c = tree_child(t, i);
		buf_json_set_tree(b, &first, c->key == NULL ? "" : c->key, c);
	}
	buf_text(b, "}");
}

void
buf_json_tree(struct buf *b, const struct tree *t)
{
	char num[64];

	if (t == NULL) {
		buf_text(b, "null");
		return;
	}
	switch (t->type) {
	case TREE_NULL:
		buf_text(b, "null");
		break;
	case TREE_BOOL:
		buf_text(b, t->u.b ? "true" : "false");
		break;
	case TREE_INT:
		buf_printf(b, "%" PRId64, t->u.i);
		break;
	case TREE_REAL:
		tree_scalar_text(t, num, sizeof(num));
		buf_text(b, num);
		break;
	case TREE_TEXT:
		buf_json_text(b, t->u.s);
		break;
	case TREE_LIST:
		json_list(b, t);
		break;
	case TREE_MAP:
		json_map(b, t);
		break;
	}
}

void
buf_json_key(struct buf *b, bool *first, const char *key)
{
	if (!*first)
		buf_text(b, b->compact ? "," : ", ");
	*first = false;
	buf_json_text(b, key);
	buf_text(b, b->compact ? ":" : ": ");
}

void
buf_json_set_text(struct buf *b, bool *first, const char *key, const char *s)
{
	buf_json_key(b, first, key);
	buf_json_text(b, s);
}

void
buf_json_set_int(struct buf *b, bool *first, const char *key, int64_t v)
{
	buf_json_key(b, first, key);
	buf_printf(b, "%" PRId64, v);
}

void
buf_json_set_uint(struct buf *b, bool *first, const char *key, uint64_t v)
{
	buf_json_key(b, first, key);
	buf_printf(b, "%" PRIu64, v);
}

void
buf_json_set_true(struct buf *b, bool *first, const char *key)
{
	buf_json_key(b, first, key);
	buf_text(b, "true");
}

void
buf_json_set_tree(
    struct buf *b, bool *first, const char *key, const struct tree *t)
{
	buf_json_key(b, first, key);
	buf_json_tree(b, t);
}
