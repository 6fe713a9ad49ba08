/*
 * http_answer.c: gathers an answer for http_plain.c and http_curl.c: the
 * headers that were asked for and the body, or its bytes as they come.
 */
#include <stdlib.h>
#include <string.h>

#include "../ipc/types.h"
#include "http_int.h"

#define MAX_NUMBER 64

void
gathered_init(struct gathered *g, const struct http_spec *s, void *arg)
{
	memset(g, 0, sizeof(*g));
	g->max = s->max_body;
	g->data = s->data;
	g->arg = arg;
	g->want = s->want;
	g->lsn = -1;
}

void
gathered_clear(struct gathered *g)
{
	free(g->body);
	g->body = NULL;
	g->len = g->cap = 0;
}

/* Length of the value of a header, *value at its start; -1: another header. */
static ssize_t
header_value(const char *line, size_t n, const char *name, const char **value)
{
	size_t len = strlen(name);

	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return -1;
	line += len + 1;
	n -= len + 1;
	while (n > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		n--;
	}
	while (n > 0 &&
	    (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' ' ||
		line[n - 1] == '\t'))
		n--;
	*value = line;
	return (ssize_t)n;
}

/* Cut to what there is room for. */
static void
copy_value(char *dst, size_t size, const char *value, size_t n)
{
	if (n >= size)
		n = size - 1;
	memcpy(dst, value, n);
	dst[n] = '\0';
}

void
gathered_header(struct gathered *g, const char *line, size_t len)
{
	char number[MAX_NUMBER];
	const char *value;
	ssize_t n;
	int i;

	for (i = 0; g->want != NULL && g->want[i] != NULL && i < HTTP_MAX_WANT;
	     i++)
		if ((n = header_value(line, len, g->want[i], &value)) >= 0) {
			copy_value(g->got[i], HTTP_WANT_SIZE, value, (size_t)n);
			break;
		}
	if ((n = header_value(line, len, "lsn", &value)) >= 0) {
		copy_value(number, sizeof(number), value, (size_t)n);
		if (!text_to_int64(number, 0, INT64_MAX, &g->lsn))
			g->lsn = -1;
	}
}

bool
gathered_head(struct gathered *g, long status)
{
	g->status = status;
	if (g->data != NULL && status >= 200 && status < 300 &&
	    !g->data("", 0, g->arg))
		g->aborted = true;
	return !g->aborted;
}

bool
gathered_bytes(struct gathered *g, const char *data, size_t n)
{
	size_t cap;
	char *p;

	if (g->data != NULL) {
		if (n > 0 && !g->data(data, n, g->arg))
			g->aborted = true;
		return !g->aborted;
	}
	if (n > g->max - g->len) {
		g->too_long = true;
		return false;
	}
	if (g->len + n + 1 > g->cap) {
		cap = (g->len + n + 1) * 2;
		if ((p = realloc(g->body, cap)) == NULL)
			return false;
		g->body = p;
		g->cap = cap;
	}
	memcpy(g->body + g->len, data, n);
	g->len += n;
	g->body[g->len] = '\0';
	return true;
}

void
gathered_answer(const struct gathered *g, struct http_answer *a)
{
	int i;

	a->status = g->status;
	a->lsn = g->lsn;
	for (i = 0; i < HTTP_MAX_WANT; i++)
		a->got[i] = g->got[i];
	a->body = g->body == NULL ? "" : g->body;
	a->len = g->len;
}
