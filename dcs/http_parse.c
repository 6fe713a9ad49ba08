/*
 * http_parse.c: see http_parse.h.
 *
 * Nothing is held back but one line at a time; bodies are told in the pieces
 * in which they came.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "../ipc/types.h"
#include "http_parse.h"

#define MAX_HEAD (256 * 1024)

static bool
fail(struct http_parser *p, const char *why)
{
	p->state = PARSE_FAILED;
	p->why = why;
	p->keep = false;
	return false;
}

/* "HTTP/1.1 200 OK" */
static bool
status_line(struct http_parser *p)
{
	const char *l = p->line;
	int i;

	if (strncmp(l, "HTTP/1.", 7) != 0 || (l[7] != '0' && l[7] != '1') ||
	    l[8] != ' ')
		return fail(p, "not an answer of HTTP/1");
	for (i = 9; i < 12; i++)
		if (!isdigit((unsigned char)l[i]))
			return fail(p, "malformed status");
	if ((l[12] != ' ' && l[12] != '\0') || l[9] == '0')
		return fail(p, "malformed status");
	p->status = (l[9] - '0') * 100 + (l[10] - '0') * 10 + (l[11] - '0');
	p->keep = l[7] == '1';
	p->chunked = false;
	p->length = -1;
	p->state = PARSE_HEADER;
	return true;
}

/* The value of a header by its lower-case name, NULL: another one. */
static char *
value_of(char *line, const char *name)
{
	size_t n = strlen(name), len;

	if (strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	line += n + 1;
	line += strspn(line, " \t");
	len = strlen(line);
	while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		line[--len] = '\0';
	return line;
}

static bool
length_header(struct http_parser *p, const char *value)
{
	int64_t n;

	if (!isdigit((unsigned char)value[0]) ||
	    !text_to_int64(value, 0, INT64_MAX, &n) ||
	    (p->length != -1 && p->length != n))
		return fail(p, "malformed length");
	p->length = n;
	return true;
}

static void
connection_header(struct http_parser *p, char *value)
{
	char *word, *rest = NULL;

	for (word = strtok_r(value, ", \t", &rest); word != NULL;
	     word = strtok_r(NULL, ", \t", &rest))
		if (strcasecmp(word, "close") == 0)
			p->keep = false;
		else if (strcasecmp(word, "keep-alive") == 0)
			p->keep = true;
}

static bool
header_line(struct http_parser *p, const struct http_sink *sink, void *arg)
{
	char *value;

	if (p->status >= 200)
		sink->header(p->line, p->used, arg);
	if ((value = value_of(p->line, "content-length")) != NULL)
		return length_header(p, value);
	if ((value = value_of(p->line, "transfer-encoding")) != NULL) {
		if (strcasecmp(value, "chunked") != 0)
			return fail(p, "unknown transfer encoding");
		p->chunked = true;
	} else if ((value = value_of(p->line, "connection")) != NULL)
		connection_header(p, value);
	return true;
}

/* The empty line has come: what kind of body follows? */
static bool
head_end(struct http_parser *p, const struct http_sink *sink, void *arg)
{
	if (p->status == 101)
		return fail(p, "unexpected change of protocol");
	if (p->status < 200) { /* the answer proper is still to come */
		p->state = PARSE_STATUS;
		return true;
	}
	if (p->no_body || p->status == 204 || p->status == 304)
		p->state = PARSE_DONE;
	else if (p->chunked) {
		/* both is what smuggling is made of */
		if (p->length != -1)
			p->keep = false;
		p->state = PARSE_CHUNK_SIZE;
	} else if (p->length == -1) {
		p->keep = false;
		p->state = PARSE_CLOSE;
	} else
		p->state = p->length == 0 ? PARSE_DONE : PARSE_LENGTH;
	if (!sink->head(p->status, arg))
		return fail(p, NULL);
	return true;
}

/* "1a2b" or "1a2b;extension" */
static bool
chunk_size(struct http_parser *p)
{
	const char *c = p->line;
	int64_t n = 0;

	if (!isxdigit((unsigned char)*c))
		return fail(p, "malformed chunk");
	for (; isxdigit((unsigned char)*c); c++) {
		if (n > INT64_MAX >> 5)
			return fail(p, "malformed chunk");
		n = n * 16 +
		    (isdigit((unsigned char)*c) ?
			    *c - '0' :
			    tolower((unsigned char)*c) - 'a' + 10);
	}
	c += strspn(c, " \t");
	if (*c != '\0' && *c != ';')
		return fail(p, "malformed chunk");
	p->length = n;
	p->state = n == 0 ? PARSE_TRAILER : PARSE_CHUNK;
	return true;
}

static bool
line_end(struct http_parser *p, const struct http_sink *sink, void *arg)
{
	bool empty = p->used == 0, ok;

	p->line[p->used] = '\0';
	switch (p->state) {
	case PARSE_STATUS:
		ok = status_line(p);
		break;
	case PARSE_HEADER:
		ok = empty ? head_end(p, sink, arg) : header_line(p, sink, arg);
		break;
	case PARSE_CHUNK_SIZE:
		p->head = 0; /* as many chunks as there are */
		ok = chunk_size(p);
		break;
	case PARSE_CHUNK_END:
		p->state = PARSE_CHUNK_SIZE;
		ok = empty || fail(p, "malformed chunk");
		break;
	default: /* PARSE_TRAILER */
		if (empty)
			p->state = PARSE_DONE;
		ok = true;
		break;
	}
	p->used = 0;
	return ok;
}

/* Take bytes up to and with the end of a line; how many, 0: failed. */
static size_t
take_line(struct http_parser *p, const char *data, size_t len,
    const struct http_sink *sink, void *arg)
{
	const char *nl = memchr(data, '\n', len);
	size_t n = nl == NULL ? len : (size_t)(nl - data), room;

	if ((p->head += n + 1) > MAX_HEAD) {
		fail(p, "head too long");
		return 0;
	}
	room = sizeof(p->line) - 1 - p->used;
	if (room > n)
		room = n;
	if (memchr(data, '\0', n) != NULL) {
		fail(p, "malformed head");
		return 0;
	}
	memcpy(p->line + p->used, data, room);
	p->used += room;
	if (nl == NULL)
		return n;
	if (p->used > 0 && p->line[p->used - 1] == '\r')
		p->used--;
	return line_end(p, sink, arg) ? n + 1 : 0;
}

/* Take bytes of the body; how many, 0: failed. */
static size_t
take_body(struct http_parser *p, const char *data, size_t len,
    const struct http_sink *sink, void *arg)
{
	if (p->state != PARSE_CLOSE) {
		if ((int64_t)len > p->length)
			len = (size_t)p->length;
		p->length -= (int64_t)len;
	}
	if (!sink->bytes(data, len, arg)) {
		fail(p, NULL);
		return 0;
	}
	if (p->length == 0 && p->state == PARSE_LENGTH)
		p->state = PARSE_DONE;
	else if (p->length == 0 && p->state == PARSE_CHUNK)
		p->state = PARSE_CHUNK_END;
	return len;
}

bool
http_parse(struct http_parser *p, const char *data, size_t len,
    const struct http_sink *sink, void *arg)
{
	size_t n;

	if (len > 0)
		p->any = true;
	while (len > 0 && p->state < PARSE_DONE) {
		if (p->state == PARSE_LENGTH || p->state == PARSE_CLOSE ||
		    p->state == PARSE_CHUNK)
			n = take_body(p, data, len, sink, arg);
		else
			n = take_line(p, data, len, sink, arg);
		data += n;
		len -= n;
		if (n == 0)
			break;
	}
	if (len > 0)
		p->keep = false;
	return p->state != PARSE_FAILED;
}

bool
http_parse_end(struct http_parser *p)
{
	p->keep = false;
	if (p->state == PARSE_CLOSE)
		p->state = PARSE_DONE;
	if (p->state != PARSE_DONE && p->state != PARSE_FAILED)
		fail(p,
		    p->any ? "the connection ended within the answer" :
			     "Empty reply from server");
	return p->state == PARSE_DONE;
}

void
http_parse_init(struct http_parser *p, bool no_body)
{
	memset(p, 0, sizeof(*p));
	p->no_body = no_body;
	p->length = -1;
}
