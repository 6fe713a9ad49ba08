/*
 * httpd_parse.h: the head of an HTTP request (spec/rest-api.md 3.1, 3.2).
 *
 * Works in place on a buffer that the caller owns; no I/O, no allocation.
 * The fuzz target of the request path enters here.
 */
#ifndef REST_HTTP_PARSE_H
#define REST_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_MAX_LINE 65536	  /* request line, header line */
#define HTTP_MAX_HEAD (96 * 1024) /* whole head */
#define HTTP_MAX_HEADERS 100
#define HTTP_MAX_BODY (1024 * 1024)

enum httpd_body {
	BODY_NONE,    /* no Content-Length */
	BODY_BAD,     /* not an unsigned integer, or stated twice */
	BODY_TOO_BIG, /* over HTTP_MAX_BODY */
	BODY_LENGTH   /* head.length bytes follow */
};

struct httpd_head {
	size_t size; /* bytes of the head, empty line included */
	char *line;  /* request line as received, for logs; may be cut */
	char *method;
	char *path;	     /* begins with one '/' unless the target was odd */
	char *query;	     /* undecoded text behind '?', or NULL */
	char *authorization; /* header value or NULL */
	enum httpd_body body;
	size_t length;
	bool keep_alive; /* asked for, and the body's length is clear */
	char line_copy[256];
};

/*
 * Look for a complete head in buf[0..len) (buf[len] must be writable).
 * scanned remembers how far the search for its end has come; start with 0.
 * Returns 1 (head filled, buf changed: texts are terminated in place), 0 when
 * more is needed, or the negative status of an error page, whose message is
 * put into text; -1 = close silently (empty line).
 */
int httpd_parse(char *buf, size_t len, size_t *scanned, struct httpd_head *head,
    char *text, size_t size);
/* The buffer was copied from old to now: make the texts point there. */
void httpd_head_move(struct httpd_head *, const char *old, char *now);

#endif
