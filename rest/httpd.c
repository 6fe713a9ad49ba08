/*
 * httpd.c: connections of the HTTP server: accept, read, dispatch, write,
 * deadlines.  The forms of answers are in httpd_reply.c, the head of requests
 * in httpd_parse.c.
 *
 * A connection is in one state at a time.  Idle ones own no buffer.  A
 * once-a-second scan enforces the deadlines, so that no timer is touched per
 * request; it runs only while there are connections.
 */
#include <sys/queue.h>
#include <sys/resource.h>

#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "httpd_conn.h"

#define MAX_CONNS 4096
#define MANY_CONNS 256
#define SPARE_FDS 64			/* links, listeners, the loop itself */
#define MAX_BUFFERED (32 * 1024 * 1024) /* request bytes of all connections */
#define FIRST_BUFFER 4096
#define ACCEPT_BURST 64
#define REQUEST_BURST 32 /* pipelined requests before others have a turn */

#define HANDSHAKE_NS (10 * NS_PER_SEC)
#define HEAD_NS (10 * NS_PER_SEC)
#define BODY_NS (20 * NS_PER_SEC)
#define IDLE_NS (60 * NS_PER_SEC) /* between requests of one connection */
#define WRITE_NS (30 * NS_PER_SEC)
#define LINGER_NS (2 * NS_PER_SEC)

static void conn_event(evutil_socket_t, short, void *);
static void conn_process(struct httpd_conn *);
static void server_resume_accept(struct httpd_server *);

/* ---- descriptors: plain or TLS ---- */

/* Bytes, 0 at the end, -1 with errno; EAGAIN with c->tls_wants_write set
 * when TLS must write first. */
static ssize_t
conn_recv(struct httpd_conn *c, void *p, size_t len)
{
	enum tls_wants wants;
	ssize_t n;

	if (c->tls == NULL)
		return recv(c->fd, p, len, 0);
	n = c->server->tls_module->recv(c->tls, p, len, &wants);
	c->tls_wants_write = wants == TLS_WANTS_WRITE;
	return n;
}

static ssize_t
conn_send(struct httpd_conn *c, const void *p, size_t len)
{
	enum tls_wants wants;
	ssize_t n;

	if (c->tls == NULL)
		return send(c->fd, p, len, MSG_NOSIGNAL);
	n = c->server->tls_module->send(c->tls, p, len, &wants);
	c->tls_wants_read = wants == TLS_WANTS_READ;
	return n;
}

/* ---- life of a connection ---- */

static void
conn_watch(struct httpd_conn *c, short what)
{
	if (c->watching == what)
		return;
	if (c->watching != 0)
		event_del(&c->ev);
	c->watching = what;
	if (what == 0)
		return;
	event_assign(&c->ev, c->server->base, c->fd, (short)(what | EV_PERSIST),
	    conn_event, c);
	if (event_add(&c->ev, NULL) == -1)
		c->broken = true;
}

static void
conn_free_input(struct httpd_conn *c)
{
	if (c->in_cap == FIRST_BUFFER)
		pool_put(&c->server->buffer_pool, c->in);
	else
		free(c->in);
}

static void
conn_release_input(struct httpd_conn *c)
{
	c->server->stats.buffered -= (uint32_t)c->in_cap;
	conn_free_input(c);
	c->in = NULL;
	c->in_len = c->in_cap = c->scanned = 0;
	c->head_done = false;
}

static void
conn_close_socket(struct httpd_conn *c)
{
	if (c->fd == -1)
		return;
	conn_watch(c, 0);
	if (c->tls != NULL) {
		c->server->tls_module->close(c->tls, !c->broken);
		c->tls = NULL;
	}
	close(c->fd);
	c->fd = -1;
}

void
conn_free(struct httpd_conn *c)
{
	struct httpd_server *s = c->server;

	conn_close_socket(c);
	TAILQ_REMOVE(&s->conns, c, entry);
	s->stats.connections--;
	conn_release_input(c);
	buf_free(&c->out);
	event_del(&c->ev); /* pipelined input may have made it active */
	pool_put(&s->conn_pool, c);
	if (s->accept_paused)
		server_resume_accept(s);
	if (s->drain != NULL && s->stats.connections == 0)
		event_active(s->drain, EV_TIMEOUT, 1);
}

/* The client is gone.  A handler may still hold the request. */
static void
conn_lost(struct httpd_conn *c)
{
	c->broken = true;
	if (c->state == CONN_HANDLING) {
		conn_close_socket(c);
		return;
	}
	conn_free(c);
}

static void
conn_state(struct httpd_conn *c, enum conn_state state, int64_t allowance)
{
	c->state = state;
	c->deadline = allowance == 0 ? 0 : c->server->now + allowance;
}

/* Say goodbye and eat what still comes, so that the kernel does not reset the
 * connection before the client has read the answer. */
static void
conn_linger(struct httpd_conn *c)
{
	if (c->tls != NULL)
		c->server->tls_module->goodbye(c->tls);
	shutdown(c->fd, SHUT_WR);
	conn_release_input(c);
	conn_state(c, CONN_LINGER, LINGER_NS);
	conn_watch(c, EV_READ);
}

/* The answer is on its way: next request or the end.  False: c is gone. */
static bool
conn_answered(struct httpd_conn *c)
{
	size_t used;

	buf_free(&c->out);
	c->out_sent = 0;
	if (c->close_after) {
		if (c->unread) {
			conn_linger(c);
			return true;
		}
		conn_free(c);
		return false;
	}
	used = c->req.head.size + c->req.body_len;
	c->in[used] = c->saved_byte;
	c->head_done = false;
	c->scanned = 0;
	if (used == c->in_len) {
		conn_release_input(c);
		conn_state(c, CONN_READING, IDLE_NS);
	} else {
		memmove(c->in, c->in + used, c->in_len - used);
		c->in_len -= used;
		conn_state(c, CONN_READING, HEAD_NS);
	}
	conn_watch(c, EV_READ);
	return true;
}

/* Send what is queued.  False: c is gone. */
static bool
conn_flush(struct httpd_conn *c)
{
	ssize_t n;

	while (c->out_sent < c->out.len) {
		n = conn_send(
		    c, c->out.s + c->out_sent, c->out.len - c->out_sent);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			if (c->state != CONN_WRITING)
				conn_state(c, CONN_WRITING, WRITE_NS);
			conn_watch(c, c->tls_wants_read ? EV_READ : EV_WRITE);
			return true;
		}
		if (n <= 0) {
			c->state = CONN_WRITING;
			conn_lost(c);
			return false;
		}
		c->out_sent += (size_t)n;
	}
	return conn_answered(c);
}

/*
 * One answer, complete.  Called by httpd_reply.c.  Sends from the server's
 * scratch buffer and copies only what the socket did not take.
 */
void
conn_answer(struct httpd_conn *c, const struct buf *b)
{
	struct httpd_server *s = c->server;
	size_t sent = 0;
	ssize_t n;

	s->now = clock_boot_ns();
	if (c->fd == -1 || c->broken) {
		c->broken = true;
		if (!c->dispatching)
			conn_free(c);
		return;
	}
	if (b->failed) { /* memory is short: the client sees a closed line */
		s->stats.errors++;
		c->broken = true;
		if (!c->dispatching)
			conn_free(c);
		return;
	}
	n = conn_send(c, b->s, b->len);
	if (n > 0)
		sent = (size_t)n;
	else if (n == 0 ||
	    (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
		c->broken = true;
		if (!c->dispatching)
			conn_free(c);
		return;
	}
	c->state = CONN_ANSWERED;
	if (sent < b->len) {
		buf_add(&c->out, b->s + sent, b->len - sent);
		if (c->out.failed) {
			c->broken = true;
			if (!c->dispatching)
				conn_free(c);
			return;
		}
	}
	if (c->dispatching)
		return; /* conn_process() goes on */
	if (conn_flush(c) && c->state == CONN_READING)
		conn_process(c);
}

/* ---- reading requests ---- */

static void
conn_page(struct httpd_conn *c, int code, const char *text)
{
	c->unread = true;
	c->close_after = true;
	c->req.head.keep_alive = false;
	httpd_error(&c->req, code, text);
}

static bool
body_complete(struct httpd_conn *c)
{
	struct httpd_head *h = &c->req.head;

	if (h->body != BODY_LENGTH)
		return true;
	return c->in_len - h->size >= h->length;
}

static void
conn_dispatch(struct httpd_conn *c)
{
	struct httpd_head *h = &c->req.head;

	c->req.body_len = h->body == BODY_LENGTH ? h->length : 0;
	c->req.body = c->in + h->size;
	/* The byte behind the body may belong to the next request. */
	c->saved_byte = c->in[h->size + c->req.body_len];
	c->in[h->size + c->req.body_len] = '\0';
	c->close_after = !h->keep_alive || c->server->drain != NULL;
	c->unread =
	    h->size + c->req.body_len < c->in_len || h->body == BODY_BAD;
	c->since = c->server->now;
	conn_state(c, CONN_HANDLING, 0);
	c->server->stats.requests++;
	if (h->body == BODY_TOO_BIG)
		conn_page(c, 413, NULL);
	else
		c->server->handler(&c->req, c->server->arg);
}

/* Try to make a request out of the input.  1 dispatched, 0 more is needed,
 * -1 the connection is to be closed. */
static int
conn_request(struct httpd_conn *c)
{
	char text[256];
	int n;

	if (!c->head_done) {
		if (c->in_len == 0)
			return 0;
		n = httpd_parse(c->in, c->in_len, &c->scanned, &c->req.head,
		    text, sizeof(text));
		if (n == 0)
			return 0;
		if (n == -1)
			return -1;
		if (n < 0) {
			conn_state(c, CONN_HANDLING, 0);
			c->server->stats.errors++;
			conn_page(c, -n, text);
			return 1;
		}
		c->head_done = true;
		if (!body_complete(c))
			conn_state(c, CONN_READING, BODY_NS);
	}
	if (!body_complete(c))
		return 0;
	conn_dispatch(c);
	return 1;
}

static void
conn_process(struct httpd_conn *c)
{
	int i, n;

	for (i = 0; i < REQUEST_BURST; i++) {
		if (c->state != CONN_READING)
			return;
		c->dispatching = true;
		n = conn_request(c);
		c->dispatching = false;
		if (c->broken || n == -1) {
			/* a handler that holds the request frees c by its
			 * reply; here nothing is held */
			conn_free(c);
			return;
		}
		if (n == 0) {
			conn_watch(c, EV_READ);
			return;
		}
		if (c->state == CONN_HANDLING) {
			conn_watch(c, 0);
			return;
		}
		if (!conn_flush(c))
			return;
	}
	if (c->state == CONN_READING && c->in_len > 0) {
		c->more_input = true;
		event_active(&c->ev, EV_READ, 1);
	}
}

/* Room for more input.  False when the limits say no. */
static bool
conn_grow(struct httpd_conn *c)
{
	struct httpd_server *s = c->server;
	size_t cap, need;
	char *p;

	if (c->in_len + 1 < c->in_cap)
		return true;
	cap = c->in_cap == 0 ? FIRST_BUFFER : c->in_cap * 2;
	if (c->head_done && c->req.head.body == BODY_LENGTH) {
		need = c->req.head.size + c->req.head.length + 2;
		if (cap < need)
			cap = need;
	}
	if (cap > HTTP_MAX_HEAD + HTTP_MAX_BODY + 8192 ||
	    s->stats.buffered + cap - c->in_cap > MAX_BUFFERED)
		return false;
	p = cap == FIRST_BUFFER ? pool_get(&s->buffer_pool) : malloc(cap);
	if (p == NULL)
		return false;
	if (c->in_len > 0)
		memcpy(p, c->in, c->in_len);
	if (c->head_done)
		httpd_head_move(&c->req.head, c->in, p);
	conn_free_input(c);
	c->in = p;
	s->stats.buffered += (uint32_t)(cap - c->in_cap);
	c->in_cap = cap;
	return true;
}

static void
conn_read(struct httpd_conn *c)
{
	bool first = c->in_len == 0;
	ssize_t n;

	do {
		if (!conn_grow(c)) {
			c->server->stats.refused++;
			conn_state(c, CONN_HANDLING, 0);
			c->dispatching = true;
			conn_page(c, 503, NULL);
			c->dispatching = false;
			if (c->broken)
				conn_free(c);
			else
				conn_flush(c);
			return;
		}
		n = conn_recv(c, c->in + c->in_len, c->in_cap - c->in_len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			if (c->in_len == 0)
				conn_release_input(c);
			conn_watch(c,
			    (short)(EV_READ |
				(c->tls_wants_write ? EV_WRITE : 0)));
			return;
		}
		if (n <= 0) {
			conn_free(c);
			return;
		}
		c->in_len += (size_t)n;
	} while (c->tls != NULL &&
	    c->server->tls_module->pending(c->tls, false) &&
	    c->in_len < HTTP_MAX_HEAD);
	if (first) {
		conn_state(c, CONN_READING, HEAD_NS);
		TAILQ_REMOVE(&c->server->conns, c, entry);
		TAILQ_INSERT_TAIL(&c->server->conns, c, entry);
	}
	conn_process(c);
}

static void
conn_handshake(struct httpd_conn *c)
{
	const struct tls_module *tls = c->server->tls_module;
	const char *why;
	char peer[64];

	switch (tls->accept(c->tls, &c->req.client_cert)) {
	case TLS_NOTHING:
		conn_state(c, CONN_READING, HEAD_NS);
		conn_watch(c, EV_READ);
		if (tls->pending(c->tls, true))
			conn_read(c);
		return;
	case TLS_WANTS_READ:
		conn_watch(c, EV_READ);
		return;
	case TLS_WANTS_WRITE:
		conn_watch(c, EV_WRITE);
		return;
	case TLS_FAILED:
		c->server->stats.handshakes++;
		break;
	default: /* a mere end is a port check */
		break;
	}
	if (log_enabled(LOG_LVL_DEBUG)) {
		why = tls->reason();
		httpd_peer_text(&c->req, peer, sizeof(peer));
		log_debug("Connection from %s was reset during the SSL "
			  "handshake: %s",
		    peer, why == NULL ? "the connection ended" : why);
	}
	tls->clear();
	c->broken = true;
	conn_free(c);
}

static void
conn_drain(struct httpd_conn *c)
{
	ssize_t n =
	    recv(c->fd, c->server->scratch, sizeof(c->server->scratch), 0);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	c->broken = true;
	conn_free(c);
}

static void
conn_event(evutil_socket_t fd, short what, void *arg)
{
	struct httpd_conn *c = arg;

	(void)fd;
	(void)what;
	c->server->now = clock_boot_ns();
	switch (c->state) {
	case CONN_HANDSHAKE:
		conn_handshake(c);
		break;
	case CONN_READING:
		/* pipelined input first: it may be all that there is */
		if (c->more_input) {
			c->more_input = false;
			conn_process(c);
		} else
			conn_read(c);
		break;
	case CONN_WRITING:
		if (conn_flush(c) && c->state == CONN_READING)
			conn_process(c);
		break;
	case CONN_LINGER:
		conn_drain(c);
		break;
	case CONN_HANDLING:
	case CONN_ANSWERED:
		break;
	}
}

/* ---- accepting ---- */

/* Under pressure the connection that has been idle longest makes room. */
static bool
server_make_room(struct httpd_server *s)
{
	struct httpd_conn *c;

	if (s->stats.connections < s->max_conns)
		return true;
	TAILQ_FOREACH(c, &s->conns, entry)
	{
		if (c->state == CONN_READING || c->state == CONN_HANDSHAKE ||
		    c->state == CONN_LINGER) {
			s->stats.refused++;
			c->broken = true;
			conn_free(c);
			return true;
		}
	}
	return false;
}

static void
server_accepted(
    struct httpd_server *s, int fd, const struct sockaddr_storage *peer)
{
	static const struct timeval second = { 1, 0 };
	struct httpd_conn *c;

	if ((c = pool_get(&s->conn_pool)) == NULL) {
		close(fd);
		return;
	}
	memset(c, 0, sizeof(*c));
	event_assign(&c->ev, s->base, -1, 0, conn_event, c);
	c->server = s;
	c->fd = fd;
	c->req.peer = *peer;
	c->req.tls = s->tls != NULL;
	if (s->tls != NULL &&
	    (c->tls = s->tls_module->open(s->tls, fd)) == NULL) {
		pool_put(&s->conn_pool, c);
		close(fd);
		return;
	}
	TAILQ_INSERT_TAIL(&s->conns, c, entry);
	s->stats.connections++;
	s->stats.accepted++;
	/* here, for a flood may come and go between two scans */
	if (s->stats.connections > s->peak)
		s->peak = s->stats.connections;
	if (s->stats.connections == 1)
		event_add(s->scan, &second);
	if (c->tls != NULL)
		conn_state(c, CONN_HANDSHAKE, HANDSHAKE_NS);
	else
		conn_state(c, CONN_READING, HEAD_NS);
	conn_watch(c, EV_READ);
	if (c->broken) {
		conn_free(c);
		return;
	}
	if (c->tls == NULL)
		conn_read(c); /* most clients have sent already */
}

static void
server_pause_accept(struct httpd_server *s)
{
	static const struct timeval second = { 1, 0 };
	uint32_t i;

	event_add(s->scan, &second);
	s->accept_paused = true;
	for (i = 0; i < s->nlisten; i++)
		event_del(s->listen[i].ev);
}

static void
server_resume_accept(struct httpd_server *s)
{
	uint32_t i;

	s->accept_paused = false;
	for (i = 0; i < s->nlisten; i++)
		event_add(s->listen[i].ev, NULL);
}

static void
server_accept(evutil_socket_t fd, short what, void *arg)
{
	struct httpd_server *s = arg;
	struct sockaddr_storage peer;
	socklen_t len;
	int i, conn;

	(void)what;
	s->now = clock_boot_ns();
	for (i = 0; i < ACCEPT_BURST; i++) {
		if (!server_make_room(s)) {
			server_pause_accept(s);
			return;
		}
		len = sizeof(peer);
		memset(&peer, 0, sizeof(peer));
		conn = accept4(fd, (struct sockaddr *)&peer, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (conn == -1) {
			/* Descriptors or memory short: wait for the next
			 * second rather than spin on a readable socket. */
			if (errno == EMFILE || errno == ENFILE ||
			    errno == ENOBUFS || errno == ENOMEM)
				server_pause_accept(s);
			return;
		}
		server_accepted(s, conn, &peer);
	}
}

/* ---- deadlines ---- */

/* After a flood of connections: memory goes back to the system. */
static void
give_back(struct httpd_server *s)
{
	if (s->peak < MANY_CONNS || s->stats.connections > s->peak / 4)
		return;
	s->peak = s->stats.connections;
	malloc_trim(0);
}

static void
server_scan(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval second = { 1, 0 };
	struct httpd_server *s = arg;
	struct httpd_conn *c, *next;

	(void)fd;
	(void)what;
	s->now = clock_boot_ns();
	if (s->accept_paused)
		server_resume_accept(s);
	for (c = TAILQ_FIRST(&s->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (c->deadline == 0 || c->deadline > s->now)
			continue;
		if (c->state != CONN_READING || c->in_len > 0)
			s->stats.slow += c->state != CONN_LINGER;
		s->stats.timeouts++;
		c->broken = true;
		conn_free(c);
	}
	give_back(s);
	if (httpd_report(s) || s->stats.connections > 0)
		event_add(s->scan, &second);
}

/* ---- the server ---- */

struct httpd_server *
httpd_new(struct event_base *base, httpd_handler handler, void *arg)
{
	struct httpd_server *s;
	struct rlimit rl;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	s->base = base;
	s->handler = handler;
	s->arg = arg;
	TAILQ_INIT(&s->conns);
	pool_init(&s->conn_pool, sizeof(struct httpd_conn));
	pool_init(&s->buffer_pool, FIRST_BUFFER);
	s->max_conns = MAX_CONNS;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 &&
	    rl.rlim_cur != RLIM_INFINITY && rl.rlim_cur < MAX_CONNS + SPARE_FDS)
		s->max_conns = rl.rlim_cur > 2 * SPARE_FDS ?
		    (uint32_t)rl.rlim_cur - SPARE_FDS :
		    SPARE_FDS;
	s->scan = evtimer_new(base, server_scan, s);
	if (s->scan == NULL) {
		free(s);
		return NULL;
	}
	httpd_set_headers(s, "Patroni", "");
	return s;
}

void
httpd_unlisten(struct httpd_server *s)
{
	while (s->nlisten > 0) {
		s->nlisten--;
		event_free(s->listen[s->nlisten].ev);
		close(s->listen[s->nlisten].fd);
	}
}

static void
server_drained(evutil_socket_t fd, short what, void *arg)
{
	struct httpd_server *s = arg;

	(void)fd;
	(void)what;
	event_del(s->drain); /* once */
	if (s->drained != NULL)
		s->drained(s->drained_arg);
	s->drained = NULL;
}

void
httpd_drain(struct httpd_server *s, const struct timeval *most,
    void (*done)(void *), void *arg)
{
	struct httpd_conn *c, *next;

	httpd_unlisten(s);
	s->drained = done;
	s->drained_arg = arg;
	if (s->drain == NULL)
		s->drain = evtimer_new(s->base, server_drained, s);
	for (c = TAILQ_FIRST(&s->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		c->close_after = true;
		if (c->state == CONN_READING || c->state == CONN_HANDSHAKE)
			conn_free(c);
	}
	if (s->drain == NULL)
		done(arg); /* no memory for manners */
	else if (s->stats.connections == 0)
		event_active(s->drain, EV_TIMEOUT, 1);
	else
		event_add(s->drain, most);
}

void
httpd_free(struct httpd_server *s)
{
	struct httpd_conn *c;

	if (s == NULL)
		return;
	httpd_unlisten(s);
	while ((c = TAILQ_FIRST(&s->conns)) != NULL)
		conn_free(c);
	if (s->drain != NULL)
		event_free(s->drain);
	pool_clear(&s->conn_pool);
	pool_clear(&s->buffer_pool);
	event_free(s->scan);
	httpd_set_tls(s, NULL, NULL);
	buf_free(&s->reply);
	free(s->server_header);
	free(s->extra_headers);
	free(s);
}

/* Accepted sockets inherit these (spec 2.3). */
static void
set_options(int fd)
{
	static const struct {
		int level, name, value;
	} opt[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, 10000 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 3 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 2 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 3 },
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
	};
	size_t i;

	for (i = 0; i < sizeof(opt) / sizeof(opt[0]); i++)
		if (setsockopt(fd, opt[i].level, opt[i].name, &opt[i].value,
			sizeof(int)) == -1)
			log_debug("REST API socket option %d: %s", opt[i].name,
			    strerror(errno));
}

int
httpd_listen(struct httpd_server *s, int fd)
{
	struct event *ev;

	if (s->nlisten == HTTP_MAX_LISTEN) {
		errno = EMFILE;
		return -1;
	}
	if (evutil_make_socket_nonblocking(fd) == -1 ||
	    evutil_make_socket_closeonexec(fd) == -1)
		return -1;
	set_options(fd);
	ev = event_new(s->base, fd, EV_READ | EV_PERSIST, server_accept, s);
	if (ev == NULL || event_add(ev, NULL) == -1) {
		if (ev != NULL)
			event_free(ev);
		errno = ENOMEM;
		return -1;
	}
	s->listen[s->nlisten].fd = fd;
	s->listen[s->nlisten].ev = ev;
	s->nlisten++;
	return 0;
}

void
httpd_set_tls(struct httpd_server *s, const struct tls_module *module,
    struct tls_context *tls)
{
	if (s->tls != NULL)
		s->tls_module->context_free(s->tls);
	if (module != NULL)
		s->tls_module = module;
	s->tls = tls;
}

const struct httpd_stats *
httpd_stats(const struct httpd_server *s)
{
	return &s->stats;
}
