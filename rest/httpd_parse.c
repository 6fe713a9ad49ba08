/*
 * httpd_parse.c: the head of an HTTP request.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../ipc/types.h"
#include "httpd_parse.h"

#define MAX_WORD 32 /* of a method or version that is worth quoting */

/* End of the head: offset behind the empty line, or 0. */
static size_t
find_end(const char *buf, size_t len, size_t *scanned)
{
	const char *nl;
	size_t i = *scanned;

	while (i < len && (nl = memchr(buf + i, '\n', len - i)) != NULL) {
		i = (size_t)(nl - buf) + 1;
		if (i < len && buf[i] == '\n')
			return i + 1;
		if (i + 1 < len && buf[i] == '\r' && buf[i + 1] == '\n')
			return i + 2;
		if (i + 1 >= len) {
			*scanned = i - 1; /* look at this newline again */
			return 0;
		}
	}
	*scanned = len;
	return 0;
}

static int
fail(int code, char *text, size_t size, const char *what)
{
	text_set(text, size, what);
	return -code;
}

/* Too long already, although the end has not been seen? */
static int
check_size(const char *buf, size_t len, char *text, size_t size)
{
	const char *nl = memchr(buf, '\n', len);
	size_t line = nl == NULL ? len : (size_t)(nl - buf);

	if (line > HTTP_MAX_LINE)
		return fail(414, text, size, "Request-URI Too Long");
	if (len >= HTTP_MAX_HEAD)
		return fail(431, text, size, "Request Header Fields Too Large");
	return 0;
}

static int
parse_version(const char *v, char *text, size_t size)
{
	if (strncmp(v, "HTTP/", 5) != 0 || v[5] < '0' || v[5] > '9' ||
	    v[6] != '.' || v[7] < '0' || v[7] > '9' || v[8] != '\0') {
		snprintf(
		    text, size, "Bad request version ('%.*s')", MAX_WORD, v);
		return -400;
	}
	if (v[5] >= '2') {
		snprintf(text, size, "Invalid HTTP version (%.*s)", 3, v + 5);
		return -505;
	}
	return 0;
}

/* Only the path and query of an absolute URI count; leading slashes collapse.
 */
static void
split_target(char *target, struct httpd_head *head)
{
	char *p = target, *q;

	if (strncasecmp(p, "http://", 7) == 0 ||
	    strncasecmp(p, "https://", 8) == 0) {
		p = strstr(p, "//") + 2;
		p += strcspn(p, "/?#");
		if (*p != '/') {
			/* room for the slash is in the scheme before it */
			p--;
			*p = '/';
		}
	}
	while (p[0] == '/' && p[1] == '/')
		p++;
	if ((q = strchr(p, '#')) != NULL)
		*q = '\0';
	if ((q = strchr(p, '?')) != NULL)
		*q++ = '\0';
	head->path = p;
	head->query = q;
}

static int
parse_request_line(char *line, struct httpd_head *head, char *text, size_t size)
{
	char *word[4], *save = NULL, *p;
	int n = 0, error;

	snprintf(head->line_copy, sizeof(head->line_copy), "%s", line);
	head->line = head->line_copy;
	for (p = strtok_r(line, " \t", &save); p != NULL && n < 4;
	     p = strtok_r(NULL, " \t", &save))
		word[n++] = p;
	if (n == 0)
		return -1;
	if (n != 3) {
		snprintf(text, size, "Bad request syntax ('%.150s')",
		    head->line_copy);
		return -400;
	}
	if ((error = parse_version(word[2], text, size)) != 0)
		return error;
	head->method = word[0];
	split_target(word[1], head);
	return 0;
}

static void
parse_length(const char *v, struct httpd_head *head)
{
	int64_t n;

	if (head->body != BODY_NONE || v[0] < '0' || v[0] > '9' ||
	    !text_to_int64(v, 0, INT64_MAX, &n)) {
		head->body = BODY_BAD;
		return;
	}
	if (n > HTTP_MAX_BODY) {
		head->body = BODY_TOO_BIG;
		return;
	}
	head->body = BODY_LENGTH;
	head->length = (size_t)n;
}

struct header_state {
	bool keep_alive, close, chunked;
};

static void
take_header(const char *name, char *value, struct httpd_head *head,
    struct header_state *st)
{
	switch (name[0] | 0x20) {
	case 'a':
		if (strcasecmp(name, "authorization") == 0 &&
		    head->authorization == NULL)
			head->authorization = value;
		break;
	case 'c':
		if (strcasecmp(name, "content-length") == 0)
			parse_length(value, head);
		else if (strcasecmp(name, "connection") == 0) {
			if (strcasestr(value, "keep-alive") != NULL)
				st->keep_alive = true;
			if (strcasestr(value, "close") != NULL)
				st->close = true;
		}
		break;
	case 't':
		if (strcasecmp(name, "transfer-encoding") == 0)
			st->chunked = true;
		break;
	}
}

/* Terminate the line at p in place and return the start of the next one. */
static char *
cut_line(char *p, char *end)
{
	char *nl = memchr(p, '\n', (size_t)(end - p));

	*nl = '\0';
	if (nl > p && nl[-1] == '\r')
		nl[-1] = '\0';
	return nl + 1;
}

static int
parse_headers(
    char *p, char *end, struct httpd_head *head, char *text, size_t size)
{
	struct header_state st = { false, false, false };
	char *next, *colon, *value, *last;
	int n = 0;

	for (; p < end; p = next) {
		next = cut_line(p, end);
		if (*p == '\0')
			break;
		if (next - p > HTTP_MAX_LINE)
			return fail(431, text, size, "Line too long");
		if (++n > HTTP_MAX_HEADERS)
			return fail(431, text, size, "Too many headers");
		colon = strchr(p, ':');
		if (colon == NULL || colon == p || *p == ' ' || *p == '\t' ||
		    colon[-1] == ' ' || colon[-1] == '\t')
			return fail(400, text, size, "Bad header line");
		*colon = '\0';
		value = colon + 1 + strspn(colon + 1, " \t");
		last = value + strlen(value);
		while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
			*--last = '\0';
		take_header(p, value, head, &st);
	}
	if (st.chunked) {
		/* Not understood: without a length there is no body, and what
		 * follows must not be taken for another request. */
		head->body = BODY_NONE;
		head->length = 0;
		st.close = true;
	}
	head->keep_alive = st.keep_alive && !st.close &&
	    (head->body == BODY_NONE || head->body == BODY_LENGTH);
	return 1;
}

int
httpd_parse(char *buf, size_t len, size_t *scanned, struct httpd_head *head,
    char *text, size_t size)
{
	size_t end, start = 0;
	char *next;
	int error;

	memset(head, 0, offsetof(struct httpd_head, line_copy));
	head->line_copy[0] = '\0';
	head->line = head->line_copy;
	if (len > 0 && buf[0] == '\n')
		return -1;
	if (len > 1 && buf[0] == '\r' && buf[1] == '\n')
		return -1;
	if ((end = find_end(buf, len, scanned)) == 0)
		return check_size(buf, len, text, size);
	if ((error = check_size(buf, end, text, size)) != 0)
		return error;
	if (memchr(buf, '\0', end) != NULL)
		return fail(400, text, size, "Bad request syntax (NUL)");
	head->size = end;
	next = cut_line(buf + start, buf + end);
	if ((error = parse_request_line(buf, head, text, size)) != 0)
		return error;
	return parse_headers(next, buf + end, head, text, size);
}

static void
move(char **p, const char *old, char *now)
{
	if (*p != NULL)
		*p = now + (*p - old);
}

void
httpd_head_move(struct httpd_head *head, const char *old, char *now)
{
	move(&head->method, old, now);
	move(&head->path, old, now);
	move(&head->query, old, now);
	move(&head->authorization, old, now);
}
