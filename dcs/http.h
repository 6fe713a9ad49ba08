/*
 * http.h: HTTP client on libevent; TLS by libcurl multi.
 *
 * Knows neither etcd nor members.  Every request has a deadline that covers
 * everything (names, connect, TLS, answer), except a stream, which has one
 * for connecting only and then lives until either side ends it.
 */
#ifndef DCS_HTTP_H
#define DCS_HTTP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http;
struct http_request;

/* How servers are verified and who we are.  Certificates are kept as the
 * bytes of the files, read by http_tls_load(). */
struct http_tls {
	bool verify_peer;
	bool verify_host;
	char *ca, *cert, *key; /* PEM, NULL = none */
	size_t ca_len, cert_len, key_len;
	char *key_password; /* NULL = none */
};

/*
 * Load what TLS needs, which takes some milliseconds, unless it is there
 * already.  False: not available (logged).  A request to https:// does it by
 * itself.
 */
bool http_tls_ready(void);
/* The file that it is loaded from: beside the program, or where `make install`
 * puts it.  To be called before the sandbox closes. */
const char *http_tls_module(void);
/* Read the files (NULL or "" = none).  False and err when one is unreadable;
 * the struct is then unchanged.  key NULL: it is inside cert. */
bool http_tls_load(struct http_tls *, const char *ca, const char *cert,
    const char *key, const char *key_password, char *err, size_t errlen);
void http_tls_clear(struct http_tls *);

enum http_error {
	HTTP_OK = 0,	  /* an answer came; look at the status */
	HTTP_CONNECT = 1, /* never sent: name, connect or TLS failed */
	HTTP_BROKEN = 2,  /* sent, no (whole) answer */
	HTTP_ABORTED = 3  /* stream: the callback said stop */
};

#define HTTP_MAX_WANT 4
#define HTTP_WANT_SIZE 128

struct http_answer {
	enum http_error error;
	long status;
	const char *body; /* NUL-terminated; "" when none */
	size_t len;
	const char *text; /* what happened when error, else "" */
	bool resent;	  /* an earlier copy may have been carried out, too */
	int64_t lsn;	  /* value of an "lsn" header, -1 = none */
	/* headers that were asked for, in that order; "" when absent */
	const char *got[HTTP_MAX_WANT];
};

typedef void (*http_done_cb)(const struct http_answer *, void *arg);
/* Bytes of a streamed answer; false ends the stream.  No bytes (n 0): the
 * headers of a good answer (2xx) have come. */
typedef bool (*http_data_cb)(const char *, size_t, void *arg);

struct http_spec {
	const char *method; /* "GET", "POST" */
	const char *url;
	const char *body; /* NULL = none */
	size_t body_len;
	const char *const *headers; /* NULL-terminated, or NULL */
	/* names of headers to keep of the answer, NULL-terminated, static;
	 * at most HTTP_MAX_WANT, values cut to HTTP_WANT_SIZE */
	const char *const *want;
	const char *user, *password; /* basic auth, or NULL */
	const struct http_tls *tls;  /* NULL: system CAs, verified */
	int64_t deadline;	     /* absolute, must not be 0 */
	int64_t connect_ns;	     /* most for connecting, 0 = deadline */
	size_t max_body;	     /* longer answers are HTTP_BROKEN */
	bool close;		     /* no keep-alive */
	http_data_cb data;	     /* not NULL: a stream */
};

struct http *http_new(struct event_base *);
void http_free(struct http *); /* requests in flight are forgotten */
/* TCP keepalive of connections made from now on, in seconds. */
void http_keepalive(struct http *, int user_timeout, int idle, int interval);
/*
 * Start a request; all texts are copied.  `done` runs exactly once, from the
 * event loop and never from inside this call.  NULL when it could not be
 * started (done will not run).
 */
struct http_request *http_start(
    struct http *, const struct http_spec *, http_done_cb done, void *arg);
/* Percent-encode text into dst, all but unreserved characters and those in
 * keep.  False: no room; dst is then "". */
bool http_escape(char *dst, size_t size, const char *text, const char *keep);
/* Forget a request: `done` will not run. */
void http_cancel(struct http_request *);

#endif
