/*
 * httpd_conn.h: inner structures of the HTTP server, for httpd.c and
 * httpd_reply.c alone.
 */
#ifndef REST_HTTP_CONN_H
#define REST_HTTP_CONN_H

#include <sys/queue.h>

#include <event2/event_struct.h>
#include <time.h>

#include "buf.h"
#include "httpd.h"
#include "pool.h"

#define HTTP_MAX_LISTEN 16

enum conn_state {
	CONN_HANDSHAKE,
	CONN_READING,
	CONN_HANDLING, /* the handler holds the request */
	CONN_ANSWERED, /* answered within the handler's call */
	CONN_WRITING,
	CONN_LINGER
};

struct httpd_conn {
	struct httpd_request req; /* first: a request is its connection */
	struct httpd_server *server;
	TAILQ_ENTRY(httpd_conn) entry;
	struct event ev;
	struct tls_conn *tls; /* NULL: plain */
	int fd;
	short watching;
	enum conn_state state;
	int64_t deadline; /* 0 = none */
	int64_t since;	  /* request taken up, for its log line */
	char *in;
	size_t in_len, in_cap, scanned;
	struct buf out; /* what the socket did not take at once */
	size_t out_sent;
	char saved_byte;
	bool head_done;
	bool dispatching; /* inside conn_process() */
	bool close_after;
	bool unread; /* input behind the request is not read */
	bool broken;
	bool tls_wants_write, tls_wants_read;
	bool more_input; /* pipelined input waits for its turn */
};

struct httpd_server {
	struct event_base *base;
	httpd_handler handler;
	void *arg;
	TAILQ_HEAD(, httpd_conn) conns; /* longest idle first */
	struct event *scan;
	/* the module stays for old connections when TLS is turned off */
	const struct tls_module *tls_module;
	struct tls_context *tls;
	int64_t now;
	struct httpd_stats stats, reported;
	int64_t reported_ns;
	struct {
		int fd;
		struct event *ev;
	} listen[HTTP_MAX_LISTEN];
	uint32_t nlisten;
	bool accept_paused;
	struct event *drain; /* the end of httpd_drain() */
	void (*drained)(void *);
	void *drained_arg;
	uint32_t max_conns, peak;
	struct pool conn_pool, buffer_pool;
	char *server_header, *extra_headers;
	struct buf reply; /* the answer being put together */
	time_t date_at;
	char date[48];
	char scratch[4096];
};

void conn_answer(struct httpd_conn *, const struct buf *);
void conn_free(struct httpd_conn *);
bool httpd_report(struct httpd_server *);

#endif
