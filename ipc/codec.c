/*
 * codec.c: growing output and checked input buffers.
 */
#include "codec.h"

#include <stdlib.h>
#include <string.h>

void
writer_init(struct writer *w, size_t max)
{
	memset(w, 0, sizeof(*w));
	w->max = max;
}

void
write_bytes(struct writer *w, const void *p, size_t len)
{
	if (w->failed || len == 0)
		return;
	if (len > w->max - w->len) {
		w->failed = true;
		return;
	}
	if (w->len + len > w->cap) {
		size_t cap = w->cap == 0 ? 512 : w->cap;
		uint8_t *buf;

		while (cap < w->len + len)
			cap *= 2;
		if ((buf = realloc(w->buf, cap)) == NULL) {
			w->failed = true;
			return;
		}
		w->buf = buf;
		w->cap = cap;
	}
	memcpy(w->buf + w->len, p, len);
	w->len += len;
}

void
write_u8(struct writer *w, uint8_t v)
{
	write_bytes(w, &v, sizeof(v));
}

void
write_u32(struct writer *w, uint32_t v)
{
	write_bytes(w, &v, sizeof(v));
}

void
write_u64(struct writer *w, uint64_t v)
{
	write_bytes(w, &v, sizeof(v));
}

void
write_text(struct writer *w, const char *s)
{
	size_t len = strlen(s);

	if (len > UINT32_MAX) {
		w->failed = true;
		return;
	}
	write_u32(w, (uint32_t)len);
	write_bytes(w, s, len);
}

bool
writer_finish(struct writer *w, uint8_t **out, size_t *len)
{
	if (w->failed) {
		free(w->buf);
		w->buf = NULL;
		return false;
	}
	*out = w->buf;
	*len = w->len;
	return true;
}

size_t
reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->p);
}

void
read_bytes(struct reader *r, void *p, size_t len)
{
	if (r->failed || len > reader_left(r)) {
		r->failed = true;
		memset(p, 0, len);
		return;
	}
	memcpy(p, r->p, len);
	r->p += len;
}

uint8_t
read_u8(struct reader *r)
{
	uint8_t v;

	read_bytes(r, &v, sizeof(v));
	return v;
}

uint32_t
read_u32(struct reader *r)
{
	uint32_t v;

	read_bytes(r, &v, sizeof(v));
	return v;
}

uint64_t
read_u64(struct reader *r)
{
	uint64_t v;

	read_bytes(r, &v, sizeof(v));
	return v;
}

char *
read_text(struct reader *r)
{
	uint32_t len = read_u32(r);
	char *s;

	if (r->failed || len > reader_left(r) ||
	    memchr(r->p, '\0', len) != NULL || (s = malloc(len + 1)) == NULL) {
		r->failed = true;
		return NULL;
	}
	memcpy(s, r->p, len);
	s[len] = '\0';
	r->p += len;
	return s;
}

void
read_text_into(struct reader *r, char *dst, size_t size)
{
	uint32_t len = read_u32(r);

	dst[0] = '\0';
	if (r->failed || len > reader_left(r) || len >= size ||
	    memchr(r->p, '\0', len) != NULL) {
		r->failed = true;
		return;
	}
	memcpy(dst, r->p, len);
	dst[len] = '\0';
	r->p += len;
}
