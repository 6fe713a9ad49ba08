/*
 * http_plain.c: requests to http://, by sockets of our own (http_int.h).
 *
 * A request looks up its host, connects to one address after the other, is
 * sent, and reads its answer; or it takes a kept connection and begins with
 * the sending.  Requests fail from their timer's event alone, so that nothing
 * is told from inside http_start(); answers end in the last line of the
 * connection's event.
 *
 * Why not the client of libevent's evhttp.  Version 2.1.12 was tried against
 * a scripted server, and these could not be mended from outside:
 *  - Chunks: a size with an extension ("a;x=y") ends the request, which
 *    RFC 9112 (7.1.1) forbids.  What follows a chunk is not checked: "1",
 *    "a5", "hello", "0" is told as a good answer "ahello".  A chunk of a
 *    stream is held until it is whole, whatever size it announces.
 *  - An interim answer other than 100 (102, 103) is taken for the final one.
 *  - An answer is not read before the request is written whole: a server
 *    that refuses early and stops reading is waited for until the deadline.
 *  - Why connecting failed is lost: the socket is shut down and closed
 *    before the callback, errno is ENOTCONN, and a connected socket of our
 *    own cannot be handed over.  Operators read that reason in the log.
 * Others could be, by editing the headers before evhttp looks at them: those
 * of a 100 are mixed into the answer's, of two lengths the first is believed,
 * and a body that ends with the connection is told as empty, without an
 * error, when the Connection header says anything but "close".
 */
#include <sys/queue.h>
#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "http_int.h"
#include "http_names.h"
#include "http_parse.h"
#include "http_text.h"

#define MAX_IDLE_NS (110 * NS_PER_SEC) /* servers give up after 2 minutes */
#define READ_SIZE 16384
#define MAX_READS 16 /* then the others' turn */
#define KEEPALIVE_COUNT 3

struct request;
struct plain;

struct connection {
	LIST_ENTRY(connection) entry;
	struct plain *plain;
	struct request *request; /* NULL: kept for the next one */
	struct event *ev;
	short watched;
	int fd;
	bool connected;
	bool reused;
	int64_t idle_since;
	char host[URL_SIZE];
	uint16_t port;
	struct http_parser parser;
};

struct request {
	struct http_request base;
	LIST_ENTRY(request) entry;
	struct plain *plain;
	struct connection *conn;
	struct event *timer;
	struct names_query *query;
	struct http_url url;
	struct addresses addresses;
	uint32_t next; /* address to try */
	char *out;
	size_t out_len, sent;
	struct gathered answer;
	http_done_cb done;
	void *arg;
	int64_t began, deadline; /* 0: a stream lives until it ends */
	int64_t connect_deadline, attempt_deadline;
	int sends;
	int send_error; /* of the connection; its answer may have come before */
	bool no_body, close, repeated;
	bool parsing, cancelled;
	enum http_error error; /* with failed */
	bool failed;
	char text[TEXT_SIZE];
};

struct plain {
	struct event_base *base;
	struct names *names;
	LIST_HEAD(, request) requests;
	LIST_HEAD(, connection) idle;
	uint32_t nidle;
	int user_timeout, keep_idle, interval;
};

static void on_connection(evutil_socket_t, short, void *);
static void connect_next(struct request *);

bool
http_plain_takes(const char *url)
{
	struct http_url u;

	return http_url_parse(&u, url);
}

/* ---- connections ---- */

static void
connection_free(struct connection *c)
{
	if (c->request == NULL) {
		LIST_REMOVE(c, entry);
		c->plain->nidle--;
	} else
		c->request->conn = NULL;
	if (c->ev != NULL)
		event_free(c->ev);
	close(c->fd);
	free(c);
}

static bool
watch(struct connection *c, short what)
{
	if (c->watched == what)
		return true;
	if (c->ev != NULL)
		event_free(c->ev);
	c->watched = what;
	c->ev = event_new(c->plain->base, c->fd, (short)(what | EV_PERSIST),
	    on_connection, c);
	return c->ev != NULL && event_add(c->ev, NULL) == 0;
}

/* A peer that vanished is to be noticed within the time of the lease. */
static void
set_options(const struct plain *p, int fd)
{
	unsigned int ms = (unsigned int)p->user_timeout * 1000;
	int on = 1, count = KEEPALIVE_COUNT;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (p->user_timeout <= 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(
	    fd, IPPROTO_TCP, TCP_KEEPIDLE, &p->keep_idle, sizeof(p->keep_idle));
	setsockopt(
	    fd, IPPROTO_TCP, TCP_KEEPINTVL, &p->interval, sizeof(p->interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* The connection has served; keep it if it can serve again. */
static void
connection_release(struct connection *c, bool keep)
{
	struct plain *p = c->plain;

	if (!keep || p->nidle >= HTTP_MAX_CONNECTIONS || !watch(c, EV_READ)) {
		connection_free(c);
		return;
	}
	c->request->conn = NULL;
	c->request = NULL;
	c->idle_since = clock_boot_ns();
	LIST_INSERT_HEAD(&p->idle, c, entry);
	p->nidle++;
}

/* Not closed by the server, and nothing came that nobody asked for. */
static bool
still_quiet(const struct connection *c)
{
	char byte;

	return clock_boot_ns() - c->idle_since < MAX_IDLE_NS &&
	    recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1 &&
	    (errno == EAGAIN || errno == EWOULDBLOCK);
}

static struct connection *
take_idle(struct plain *p, const struct http_url *u)
{
	struct connection *c, *next;

	for (c = LIST_FIRST(&p->idle); c != NULL; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->port != u->port || strcasecmp(c->host, u->host) != 0)
			continue;
		if (!still_quiet(c)) {
			connection_free(c);
			continue;
		}
		LIST_REMOVE(c, entry);
		p->nidle--;
		return c;
	}
	return NULL;
}

static bool
connection_open(struct request *r, struct sockaddr *sa, socklen_t len)
{
	struct connection *c = calloc(1, sizeof(*c));
	int saved;

	if (c == NULL)
		return false;
	c->plain = r->plain;
	c->port = r->url.port;
	memcpy(c->host, r->url.host, sizeof(c->host));
	if ((c->fd = socket(sa->sa_family,
		 SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) == -1) {
		free(c);
		return false;
	}
	c->request = r;
	r->conn = c;
	set_options(r->plain, c->fd);
	if ((connect(c->fd, sa, len) == 0 || errno == EINPROGRESS) &&
	    watch(c, EV_WRITE))
		return true;
	saved = errno;
	connection_free(c);
	errno = saved;
	return false;
}

/* ---- requests ---- */

static void
request_free(struct request *r)
{
	if (r->conn != NULL)
		connection_free(r->conn);
	names_cancel(r->query);
	if (r->timer != NULL)
		event_free(r->timer);
	if (r->out != NULL)
		wipe(r->out, r->out_len);
	free(r->out);
	gathered_clear(&r->answer);
	free(r);
}

static void
cancel(struct http_request *base)
{
	struct request *r = (struct request *)base;

	if (r->parsing) { /* it ends with the event that tells it */
		r->cancelled = true;
		return;
	}
	LIST_REMOVE(r, entry);
	request_free(r);
}

/* Out of our lists first: done() may start or cancel requests or free
 * everything; the answer's bytes live until then. */
static void
finish(struct request *r, enum http_error error)
{
	struct http_answer a = { .error = error, .resent = r->sends > 1 };
	http_done_cb done = r->done;

	if (r->conn != NULL)
		connection_free(r->conn);
	names_cancel(r->query);
	r->query = NULL;
	event_free(r->timer);
	r->timer = NULL;
	LIST_REMOVE(r, entry);
	gathered_answer(&r->answer, &a);
	a.text = r->text;
	done(&a, r->arg);
	request_free(r);
}

/* The connection ends now, the request with its timer. */
static void
fail(struct request *r, enum http_error error, const char *text)
{
	if (r->conn != NULL)
		connection_free(r->conn);
	if (r->failed)
		return;
	r->failed = true;
	r->error = error;
	(void)text_set(r->text, sizeof(r->text), text);
	event_active(r->timer, EV_TIMEOUT, 1);
}

static int64_t
sooner(int64_t a, int64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The next moment at which something has to have happened. */
static void
set_timer(struct request *r)
{
	int64_t at = r->deadline, left;
	struct timeval tv;

	if (r->conn == NULL || !r->conn->connected)
		at = sooner(
		    at, sooner(r->connect_deadline, r->attempt_deadline));
	if (at == 0) {
		(void)event_del(r->timer);
		return;
	}
	if ((left = at - clock_boot_ns()) < 0)
		left = 0;
	left += NS_PER_MS; /* not a little too early */
	tv.tv_sec = left / NS_PER_SEC;
	tv.tv_usec = left % NS_PER_SEC / 1000;
	if (event_add(r->timer, &tv) == -1)
		fail(r, HTTP_CONNECT, "out of memory");
}

static void
timed_out(struct request *r, int64_t now)
{
	enum http_error error = r->sends > 0 ? HTTP_BROKEN : HTTP_CONNECT;

	(void)snprintf(r->text, sizeof(r->text),
	    "%s timed out after %lld milliseconds",
	    error == HTTP_CONNECT ? "Connection" : "Operation",
	    (long long)((now - r->began) / NS_PER_MS));
	finish(r, error);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	bool connecting;
	struct request *r = arg;
	int64_t now = clock_boot_ns();

	(void)fd;
	(void)what;
	connecting = r->conn == NULL || !r->conn->connected;
	if (r->failed)
		finish(r, r->error);
	else if ((r->deadline != 0 && now >= r->deadline) ||
	    (connecting && now >= r->connect_deadline))
		timed_out(r, now);
	else if (connecting && r->conn != NULL && r->attempt_deadline != 0 &&
	    now >= r->attempt_deadline) {
		connection_free(r->conn);
		errno = ETIMEDOUT;
		connect_next(r);
	} else
		set_timer(r);
}

/* ---- connecting ---- */

/* errno is why the address before did not do. */
static void
connect_next(struct request *r)
{
	char text[TEXT_SIZE];
	int64_t now = clock_boot_ns();
	uint32_t left;

	while (r->next < r->addresses.count) {
		struct sockaddr_storage sa = r->addresses.a[r->next].sa;

		if (sa.ss_family == AF_INET)
			((struct sockaddr_in *)&sa)->sin_port =
			    htons(r->url.port);
		else
			((struct sockaddr_in6 *)&sa)->sin6_port =
			    htons(r->url.port);
		left = r->addresses.count - r->next;
		if (connection_open(r, (struct sockaddr *)&sa,
			r->addresses.a[r->next++].len)) {
			/* one that hangs leaves time for the others */
			r->attempt_deadline =
			    now + (r->connect_deadline - now) / left;
			set_timer(r);
			return;
		}
	}
	(void)snprintf(text, sizeof(text),
	    "Failed to connect to %.300s port %u: %s", r->url.host,
	    (unsigned)r->url.port, strerror(errno));
	fail(r, HTTP_CONNECT, text);
}

static void
on_names(const struct addresses *a, void *arg)
{
	struct request *r = arg;
	char text[TEXT_SIZE];

	r->query = NULL;
	if (a->count == 0) {
		(void)snprintf(text, sizeof(text),
		    "Could not resolve host: %.400s", r->url.host);
		fail(r, HTTP_CONNECT, text);
		return;
	}
	r->addresses = *a;
	connect_next(r);
}

static void
connect_fresh(struct request *r)
{
	r->next = 0;
	if (names_known(r->plain->names, r->url.host, &r->addresses)) {
		connect_next(r);
		return;
	}
	r->query = names_ask(
	    r->plain->names, r->url.host, r->connect_deadline, on_names, r);
	if (r->query == NULL)
		fail(r, HTTP_CONNECT, "name lookups hang");
	else
		set_timer(r);
}

/* ---- sending and reading ---- */

/*
 * The server has ended the connection.  It may have done so with a kept one
 * just before the request came: that is asked once more, on a new one.
 */
static void
lost(struct request *r, const char *why)
{
	struct connection *c = r->conn;

	if (!c->reused || c->parser.any || r->repeated) {
		fail(r, HTTP_BROKEN, why);
		return;
	}
	connection_free(c);
	r->repeated = true;
	r->sent = 0;
	r->connect_deadline = sooner(
	    r->deadline, clock_boot_ns() + (r->connect_deadline - r->began));
	connect_fresh(r);
}

/* Reading goes on when nothing can be written any more. */
static void
send_more(struct request *r)
{
	struct connection *c = r->conn;
	bool more;
	ssize_t n;

	while (r->sent < r->out_len) {
		n = send(c->fd, r->out + r->sent, r->out_len - r->sent,
		    MSG_NOSIGNAL);
		if (n > 0) {
			r->sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EPIPE || errno == ECONNRESET) {
			/* a refusal may have come before the reset, and the
			 * end comes behind it: read_answer() tells which */
			r->send_error = errno;
			break;
		}
		if (errno != EAGAIN && errno != EWOULDBLOCK) {
			lost(r, strerror(errno));
			return;
		}
		break;
	}
	more = r->sent < r->out_len && r->send_error == 0;
	if (!watch(c, more ? (short)(EV_READ | EV_WRITE) : EV_READ))
		fail(r, HTTP_BROKEN, "out of memory");
}

/* On a connection that stands. */
static void
begin(struct request *r, struct connection *c)
{
	c->request = r;
	r->conn = c;
	r->sends++;
	r->send_error = 0;
	http_parse_init(&c->parser, r->no_body);
	set_timer(r);
	send_more(r);
}

static void
sink_header(const char *line, size_t n, void *arg)
{
	struct request *r = arg;

	gathered_header(&r->answer, line, n);
}

static bool
sink_head(long status, void *arg)
{
	struct request *r = arg;

	return gathered_head(&r->answer, status) && !r->cancelled;
}

static bool
sink_bytes(const char *data, size_t n, void *arg)
{
	struct request *r = arg;

	return gathered_bytes(&r->answer, data, n) && !r->cancelled;
}

static void
answered(struct request *r)
{
	struct connection *c = r->conn;

	c->reused = true;
	connection_release(
	    c, c->parser.keep && !r->close && r->sent == r->out_len);
	finish(r, HTTP_OK);
}

static void
refused(struct request *r)
{
	const struct http_parser *p = &r->conn->parser;

	if (r->answer.aborted)
		fail(r, HTTP_ABORTED, "stopped");
	else if (r->answer.too_long)
		fail(r, HTTP_BROKEN, "answer too long");
	else
		fail(r, HTTP_BROKEN, p->why != NULL ? p->why : "out of memory");
}

/* True: there may be more to read. */
static bool
parsed(struct request *r, const char *data, size_t n)
{
	static const struct http_sink sink = { sink_header, sink_head,
		sink_bytes };
	struct http_parser *p = &r->conn->parser;
	bool ok;

	r->parsing = true;
	ok = http_parse(p, data, n, &sink, r);
	r->parsing = false;
	if (r->cancelled)
		cancel(&r->base);
	else if (!ok)
		refused(r);
	else if (p->state == PARSE_DONE)
		answered(r);
	else
		return true;
	return false;
}

static void
read_answer(struct request *r)
{
	char buffer[READ_SIZE];
	ssize_t n;
	int i;

	for (i = 0; i < MAX_READS; i++) {
		n = recv(r->conn->fd, buffer, sizeof(buffer), 0);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno != EAGAIN && errno != EWOULDBLOCK) {
			lost(r, strerror(errno));
			return;
		}
		if (n == -1)
			return;
		if (n == 0) {
			if (http_parse_end(&r->conn->parser))
				answered(r);
			else
				lost(r,
				    r->send_error != 0 ?
					strerror(r->send_error) :
					r->conn->parser.why);
			return;
		}
		if (!parsed(r, buffer, (size_t)n) || (size_t)n < sizeof(buffer))
			return;
	}
}

static void
on_connection(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	struct request *r = c->request;
	socklen_t len = sizeof(int);
	int error = 0;

	if (r == NULL) { /* closed, or says what nobody asked for */
		connection_free(c);
		return;
	}
	if (!c->connected) {
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
			error = errno;
		if (error != 0) {
			connection_free(c);
			errno = error;
			connect_next(r);
			return;
		}
		c->connected = true;
		begin(r, c);
		return;
	}
	if (what & EV_WRITE) {
		send_more(r);
		if (r->conn != c || r->failed)
			return;
	}
	if (what & EV_READ)
		read_answer(r);
}

/* ---- the way ---- */

static void
set_limits(struct request *r, const struct http_spec *s)
{
	int64_t now = clock_boot_ns(), left = s->deadline - now, conn;

	if (left < NS_PER_MS)
		left = NS_PER_MS;
	conn = s->connect_ns > 0 && s->connect_ns < left ? s->connect_ns : left;
	r->began = now;
	r->connect_deadline = now + conn;
	r->deadline = s->data == NULL ? now + left : 0;
}

static struct http_request *
start(void *arg, const struct http_spec *s, http_done_cb done, void *done_arg)
{
	struct plain *p = arg;
	struct connection *c;
	struct request *r;
	struct http_url u;

	if (!http_url_parse(&u, s->url) || (r = calloc(1, sizeof(*r))) == NULL)
		return NULL;
	r->base.cancel = cancel;
	r->plain = p;
	r->done = done;
	r->arg = done_arg;
	r->url = u;
	r->close = s->close;
	r->no_body = strcmp(s->method, "HEAD") == 0;
	gathered_init(&r->answer, s, done_arg);
	set_limits(r, s);
	r->timer = evtimer_new(p->base, on_timer, r);
	r->out = http_text(s, &u, &r->out_len);
	if (r->timer == NULL || r->out == NULL) {
		request_free(r);
		return NULL;
	}
	r->url.path = ""; /* the caller's text */
	LIST_INSERT_HEAD(&p->requests, r, entry);
	if (!s->close && (c = take_idle(p, &u)) != NULL)
		begin(r, c);
	else
		connect_fresh(r);
	return &r->base;
}

static void
keepalive(void *arg, int user_timeout, int idle, int interval)
{
	struct plain *p = arg;

	p->user_timeout = user_timeout;
	p->keep_idle = idle;
	p->interval = interval;
}

static void
way_close(void *arg)
{
	struct plain *p = arg;

	while (!LIST_EMPTY(&p->requests)) {
		struct request *r = LIST_FIRST(&p->requests);

		LIST_REMOVE(r, entry);
		request_free(r);
	}
	while (!LIST_EMPTY(&p->idle))
		connection_free(LIST_FIRST(&p->idle));
	names_free(p->names);
	free(p);
}

static void *
way_open(struct event_base *base)
{
	struct plain *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	LIST_INIT(&p->requests);
	LIST_INIT(&p->idle);
	p->base = base;
	if ((p->names = names_new(base)) == NULL) {
		free(p);
		return NULL;
	}
	return p;
}

const struct http_way http_way_plain = { .version = HTTP_WAY_VERSION,
	.open = way_open,
	.close = way_close,
	.keepalive = keepalive,
	.start = start };
