/*
 * httpd.h: a small HTTP/1 server on non-blocking sockets (spec/rest-api.md 2.3
 * and 3), without any knowledge of what is served.
 *
 * An own layer rather than evhttp because the wire form is part of the
 * interface: headerless status lines, HTTP/1.0 and close by default, error
 * pages, any method and absolute targets are beyond what evhttp lets one say.
 */
#ifndef REST_HTTP_H
#define REST_HTTP_H

#include <sys/socket.h>

#include <event2/event.h>

#include "httpd_parse.h"
#include "tls.h"

struct httpd_server;

/*
 * One request.  Valid from the handler's call until httpd_reply*() was called
 * for it, which must happen exactly once, from within the handler or later.
 * The client may be gone by then; the reply is then dropped.
 */
struct httpd_request {
	struct httpd_head head;
	const char *body; /* NUL-terminated; "" when there is none */
	size_t body_len;
	struct sockaddr_storage peer;
	bool tls;
	bool client_cert; /* a verified client certificate was presented */
};

typedef void (*httpd_handler)(struct httpd_request *, void *arg);

struct httpd_stats {
	uint64_t requests, accepted, refused, timeouts, errors;
	uint64_t slow, handshakes; /* of timeouts: not merely idle; failed */
	uint32_t connections, buffered;
};

/* NULL when memory is short. */
struct httpd_server *httpd_new(struct event_base *, httpd_handler, void *arg);
/* Closes everything; requests that wait for an answer are dropped. */
void httpd_free(struct httpd_server *);
/* Serve on this listening socket (taken over). 0 or -1 with errno. */
int httpd_listen(struct httpd_server *, int fd);
/* Close the listening sockets; connections go on. */
void httpd_unlisten(struct httpd_server *);
/*
 * Close the listening sockets and what waits for a request; answer the
 * requests that were taken.  done runs once, never from inside this call: when
 * the last one was answered, or after `most`.
 */
void httpd_drain(struct httpd_server *, const struct timeval *most,
    void (*done)(void *), void *arg);
/* TLS for connections accepted from now on; NULL = plain.  Taken over. */
void httpd_set_tls(
    struct httpd_server *, const struct tls_module *, struct tls_context *);
/* `Server` header and further header lines ("Name: value\r\n"...), copied. */
void httpd_set_headers(
    struct httpd_server *, const char *server, const char *extra);
const struct httpd_stats *httpd_stats(const struct httpd_server *);

/* For lines about what clients send: at most ten in ten seconds, then their
 * number.  Start with zeroes; false: leave the line out. */
struct httpd_log_rate {
	int64_t since_ns;
	uint32_t lines;
};
bool httpd_log_rate(struct httpd_log_rate *, int64_t now);

/* Status line alone (HEAD, OPTIONS, liveness, readiness). */
void httpd_reply_bare(struct httpd_request *, int code);
/* headers: further complete lines, or NULL. */
void httpd_reply(struct httpd_request *, int code, const char *type,
    const char *headers, const void *body, size_t len);
/* Short text as text/html. */
void httpd_reply_text(struct httpd_request *, int code, const char *text);
/* Error page (spec 3.5); message NULL = the reason phrase of the code. */
void httpd_error(struct httpd_request *, int code, const char *message);
/* Reason phrase. */
const char *httpd_reason(int code);
/* Numeric address of the client; v4-mapped ones as they appear. */
void httpd_peer_text(const struct httpd_request *, char *, size_t);

#endif
