/*
 * etcd3_proto.c: see etcd3_proto.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/types.h"
#include "etcd3_proto.h"
#include "json.h"

int64_t
etcd_int(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);
	int64_t n = 0;

	if (json_is_integer(v))
		return json_integer_value(v);
	if (json_is_string(v) &&
	    !text_to_int64(json_string_value(v), INT64_MIN, INT64_MAX, &n))
		return 0;
	return n;
}

json_t *
etcd_parse(const char *s, size_t len)
{
	json_error_t e;

	return json_loadb(s, len, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, &e);
}

bool
etcd_error(const json_t *j, int *code, char *msg, size_t size)
{
	const json_t *e = json_object_get(j, "error"), *src = j;
	const char *text = NULL;
	int64_t c;

	if (e == NULL)
		e = json_object_get(j, "Error");
	if (e == NULL)
		return false;
	if (json_is_object(e)) {
		src = e;
		text = json_text(e, "message");
	} else
		text = json_string_value(e);
	c = etcd_int(src, "grpc_code");
	if (c == 0)
		c = etcd_int(src, "code");
	if (c == 0)
		c = etcd_int(src, "Code");
	*code = c > 0 && c < 1000 ? (int)c : GRPC_UNKNOWN;
	snprintf(msg, size, "%.400s", text == NULL ? "unknown error" : text);
	return true;
}

int64_t
etcd_revision(const json_t *j)
{
	return etcd_int(json_object_get(j, "header"), "revision");
}

bool
etcd_kv_parse(const json_t *j, struct etcd_kv *kv)
{
	const char *k = json_text(j, "key"), *v = json_text(j, "value");
	size_t klen = 0;

	memset(kv, 0, sizeof(*kv));
	if (k == NULL)
		return false;
	kv->key = base64_decode(k, &klen);
	kv->value = base64_decode(v == NULL ? "" : v, &kv->len);
	kv->mod_revision = etcd_int(j, "mod_revision");
	snprintf(
	    kv->lease, sizeof(kv->lease), "%" PRId64, etcd_int(j, "lease"));
	if (kv->key == NULL || kv->value == NULL || strlen(kv->key) != klen) {
		etcd_kv_clear(kv);
		return false;
	}
	return true;
}

void
etcd_kv_clear(struct etcd_kv *kv)
{
	free(kv->key);
	free(kv->value);
	kv->key = kv->value = NULL;
}

/* Advance over one byte; true when it ends a document. */
static bool
scan(struct etcd_stream *s, char c)
{
	if (s->text) {
		if (s->escape)
			s->escape = false;
		else if (c == '\\')
			s->escape = true;
		else if (c == '"')
			s->text = false;
		return false;
	}
	if (c == '"')
		s->text = true;
	else if (c == '{' || c == '[')
		s->depth++;
	else if (c == '}' || c == ']')
		return --s->depth == 0;
	return false;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool
document(const char *s, size_t n, etcd_document_cb cb, void *arg)
{
	json_error_t e;
	json_t *j;
	bool ok;

	if ((j = json_loadb(s, n, 0, &e)) == NULL)
		return false;
	ok = cb(j, arg);
	json_decref(j);
	return ok;
}

bool
etcd_stream_feed(struct etcd_stream *s, const char *data, size_t n,
    etcd_document_cb cb, void *arg)
{
	size_t start = 0;
	char *p;

	if (n > STREAM_MAX_DOCUMENT - s->len)
		return false;
	if (s->len + n > s->cap) {
		if ((p = realloc(s->buf, s->len + n)) == NULL)
			return false;
		s->buf = p;
		s->cap = s->len + n;
	}
	if (n > 0)
		memcpy(s->buf + s->len, data, n);
	s->len += n;
	for (; s->pos < s->len; s->pos++) {
		if (s->depth == 0 && is_blank(s->buf[s->pos])) {
			start = s->pos + 1;
			continue;
		}
		if (s->depth == 0 && s->buf[s->pos] != '{')
			return false;
		if (!scan(s, s->buf[s->pos]))
			continue;
		if (!document(s->buf + start, s->pos + 1 - start, cb, arg))
			return false;
		start = s->pos + 1;
	}
	/* keep the unfinished document only; give a large buffer back */
	if (start > 0) {
		memmove(s->buf, s->buf + start, s->len - start);
		s->len -= start;
		s->pos -= start;
	}
	if (s->len == 0 && s->cap > 65536)
		etcd_stream_reset(s);
	return true;
}

void
etcd_stream_reset(struct etcd_stream *s)
{
	free(s->buf);
	memset(s, 0, sizeof(*s));
}
