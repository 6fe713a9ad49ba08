/*
 * http_int.h: what the two ways of sending a request share.
 *
 * http_plain.c sends those to http:// by itself; http_curl.c sends the others
 * by libcurl.  libcurl and the thirty libraries that come with it cost a
 * process about 2 MB before the first request, so patroni-dcs has it in a
 * module of its own (patroni-https.so) and loads that when TLS is asked for.
 */
#ifndef DCS_HTTP_INT_H
#define DCS_HTTP_INT_H

#include "http.h"

#define HTTP_MAX_CONNECTIONS 64 /* kept for the next request */

/* First member of each way's own request. */
struct http_request {
	void (*cancel)(struct http_request *);
};

struct http_way {
	uint32_t version; /* HTTP_WAY_VERSION: a module of another build */
	void *(*open)(struct event_base *);
	void (*close)(void *); /* requests in flight are forgotten */
	void (*keepalive)(void *, int user_timeout, int idle, int interval);
	/* as http_start() */
	struct http_request *(*start)(
	    void *, const struct http_spec *, http_done_cb, void *arg);
};

#define HTTP_WAY_VERSION (1u << 16 | (uint32_t)sizeof(struct http_spec))
#define HTTP_WAY_SYMBOL "http_way_curl"

extern const struct http_way http_way_plain;
/* Not linked into patroni-dcs. */
extern const struct http_way http_way_curl __attribute__((weak));

/* Whether http_way_plain can send a request to this URL. */
bool http_plain_takes(const char *url);

/* ---- http_answer.c: an answer as it comes in ---- */

struct gathered {
	char *body;
	size_t len, cap, max;
	bool too_long;
	bool aborted; /* by the callback of a stream */
	http_data_cb data;
	void *arg;
	long status;
	int64_t lsn;
	const char *const *want;
	char got[HTTP_MAX_WANT][HTTP_WANT_SIZE];
};

void gathered_init(struct gathered *, const struct http_spec *, void *arg);
void gathered_clear(struct gathered *);
/* One line of a head, its end included or not. */
void gathered_header(struct gathered *, const char *line, size_t);
/* The head is whole.  False: the stream's callback said stop. */
bool gathered_head(struct gathered *, long status);
/* False: too long, no memory, or the stream's callback said stop. */
bool gathered_bytes(struct gathered *, const char *, size_t);
/* What came, without error and text. */
void gathered_answer(const struct gathered *, struct http_answer *);

#endif
