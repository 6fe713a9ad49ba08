/*
 * http_parse.h: answers of HTTP/1.x servers (RFC 9112), as they come in.
 */
#ifndef DCS_HTTP_PARSE_H
#define DCS_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_LINE_SIZE 1024 /* what is longer is cut, but for a status line */

/* What a parser tells.  False ends the parsing. */
struct http_sink {
	void (*header)(const char *line, size_t, void *arg);
	bool (*head)(long status, void *arg); /* all headers have come */
	bool (*bytes)(const char *, size_t, void *arg);
};

struct http_parser {
	enum {
		PARSE_STATUS,
		PARSE_HEADER,
		PARSE_LENGTH, /* a body of known length */
		PARSE_CLOSE,  /* a body that ends with the connection */
		PARSE_CHUNK_SIZE,
		PARSE_CHUNK,
		PARSE_CHUNK_END,
		PARSE_TRAILER,
		PARSE_DONE,
		PARSE_FAILED
	} state;
	bool no_body; /* of an answer to HEAD */
	bool keep;    /* the connection may be used again */
	bool chunked;
	bool any; /* a byte has come */
	long status;
	int64_t length; /* left of the body or chunk; -1 = not told */
	size_t head;	/* bytes of status line, headers and trailers */
	size_t used;
	const char *why; /* when failed; NULL: the sink ended it */
	char line[HTTP_LINE_SIZE];
};

void http_parse_init(struct http_parser *, bool no_body);
/*
 * Parse what came.  True while all is well; look at state then: bytes beyond
 * a whole answer (PARSE_DONE) make `keep` false.  False: PARSE_FAILED.
 */
bool http_parse(struct http_parser *, const char *, size_t,
    const struct http_sink *, void *arg);
/* The connection has ended.  True when the answer is whole. */
bool http_parse_end(struct http_parser *);

#endif
