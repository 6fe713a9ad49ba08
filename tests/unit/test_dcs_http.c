/*
 * test_dcs_http.c: answers of HTTP servers as they are parsed, and requests
 * over plain connections against a scripted server in the test's process.
 */
#include <sys/socket.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "dcs/http.h"
#include "dcs/http_parse.h"
#include "dcs/http_text.h"
#include "ipc/clock.h"
#include "ipc/log.h"

static struct event_base *base;

/* ---- the parser ---- */

struct heard {
	char body[4096], headers[4096];
	size_t len, hlen;
	long status;
	int heads;
	size_t stop_at; /* refuse bytes from here on; 0 = never */
};

static void
heard_header(const char *line, size_t n, void *arg)
{
	struct heard *h = arg;

	assert_true(h->hlen + n + 2 < sizeof(h->headers));
	memcpy(h->headers + h->hlen, line, n);
	h->hlen += n;
	h->headers[h->hlen++] = '|';
}

static bool
heard_head(long status, void *arg)
{
	struct heard *h = arg;

	h->status = status;
	h->heads++;
	return true;
}

static bool
heard_bytes(const char *data, size_t n, void *arg)
{
	struct heard *h = arg;

	assert_true(h->len + n < sizeof(h->body));
	memcpy(h->body + h->len, data, n);
	h->len += n;
	return h->stop_at == 0 || h->len < h->stop_at;
}

static const struct http_sink sink = { heard_header, heard_head, heard_bytes };

struct answer_case {
	const char *text;
	bool done;	  /* without the end of the connection */
	bool done_at_end; /* with it */
	bool keep;
	long status;
	const char *body;
	bool no_body;
};

static const struct answer_case answers[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true, true, true,
	    200, "abc", false },
	{ "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", true, true, true, 200,
	    "", false },
	{ "HTTP/1.1 200 OK\ncontent-length:3 \n\nabc", true, true, true, 200,
	    "abc", false },
	{ "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
	    true, true, false, 200, "abc", false },
	{ "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", true, true, false,
	    200, "abc", false },
	{ "HTTP/1.0 200 OK\r\nConnection: x, Keep-Alive\r\n"
	  "Content-Length: 3\r\n\r\nabc",
	    true, true, true, 200, "abc", false },
	{ "HTTP/1.1 503 No\r\n\r\nabc", false, true, false, 503, "abc", false },
	{ "HTTP/1.1 204 No\r\n\r\n", true, true, true, 204, "", false },
	{ "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", true, true, true, 304,
	    "", false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, true, true, 200,
	    "", true },
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
	  "Content-Length: 1\r\n\r\na",
	    true, true, true, 200, "a", false },
	/* what interim answers say is not the answer's */
	{ "HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n"
	  "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
	  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
	    true, true, true, 200, "a", false },
	{ "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 0\r\n"
	  "\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
	    true, true, true, 200, "a", false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	  "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
	    true, true, true, 200, "abc0123456789", false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n"
	  "Content-Length: 3\r\n\r\n1\r\na\r\n0\r\n\r\n",
	    true, true, false, 200, "a", false },
	/* cut off */
	{ "", false, false, false, 0, "", false },
	{ "HTTP/1.1 200 OK\r\nContent-Len", false, false, false, 0, "", false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", false, false,
	    false, 200, "abc", false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	    false, false, false, 200, "abc", false },
};

static const char *const malformed[] = {
	"GET / HTTP/1.1\r\n",
	"HTTP/2 200 OK\r\n",
	"HTTP/1.1 20 OK\r\n",
	"HTTP/1.1 2000 OK\r\n",
	"HTTP/1.1 099 OK\r\n",
	"\r\n",
	"HTTP/1.1 101 Switch\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 1\r\n",
	("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "fffffffffffffffff\r\n"),
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
};

static void
expect_case(
    const struct answer_case *c, struct http_parser *p, const struct heard *h)
{
	assert_int_equal(p->state == PARSE_DONE, c->done);
	assert_int_equal(h->status, c->status);
	assert_int_equal(h->heads, c->status != 0);
	assert_int_equal(h->len, strlen(c->body));
	assert_memory_equal(h->body, c->body, h->len);
	if (c->done)
		assert_int_equal(p->keep, c->keep);
	assert_int_equal(http_parse_end(p), c->done_at_end);
	assert_false(p->keep);
}

static void
test_answers(void **state)
{
	size_t i, n, cut;

	(void)state;
	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		const struct answer_case *c = &answers[i];

		n = strlen(c->text);
		for (cut = 0; cut <= n; cut++) {
			struct http_parser p;
			struct heard h = { 0 };

			http_parse_init(&p, c->no_body);
			assert_true(http_parse(&p, c->text, cut, &sink, &h));
			assert_true(
			    http_parse(&p, c->text + cut, n - cut, &sink, &h));
			expect_case(c, &p, &h);
		}
	}
}

static void
test_malformed(void **state)
{
	struct http_parser p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		struct heard h = { 0 };

		http_parse_init(&p, false);
		if (http_parse(
			&p, malformed[i], strlen(malformed[i]), &sink, &h))
			fail_msg("accepted: %s", malformed[i]);
		assert_non_null(p.why);
		assert_false(http_parse_end(&p));
		assert_false(p.keep);
	}
	http_parse_init(&p, false);
	assert_false(http_parse(&p, "HTTP/1.1\0 200", 13, &sink, NULL));
}

static void
test_parser_bounds(void **state)
{
	static char line[2000], many[1024];
	struct http_parser p;
	struct heard h = { 0 };
	int i;

	(void)state;
	/* a long header is cut, not refused */
	memset(line, 'x', sizeof(line));
	/* NOLINTNEXTLINE: the text goes on */
	memcpy(line, "HTTP/1.1 200 OK\r\nX: ", 20);
	line[sizeof(line) - 1] = '\n';
	http_parse_init(&p, false);
	assert_true(http_parse(&p, line, sizeof(line), &sink, &h));
	assert_int_equal(h.hlen, HTTP_LINE_SIZE);
	/* a head without an end is */
	memset(many, 'x', sizeof(many));
	for (i = 0; i < 1024 && http_parse(&p, many, sizeof(many), &sink, &h);)
		i++;
	assert_in_range(i, 200, 300);
	/* bytes after a whole answer belong to nobody */
	http_parse_init(&p, false);
	memset(&h, 0, sizeof(h));
	assert_true(http_parse(&p,
	    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", 41, &sink, &h));
	assert_int_equal(p.state, PARSE_DONE);
	assert_int_equal(h.len, 1);
	assert_false(p.keep);
	/* the reader has had enough */
	http_parse_init(&p, false);
	memset(&h, 0, sizeof(h));
	h.stop_at = 1;
	assert_false(http_parse(&p,
	    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 41, &sink, &h));
	assert_null(p.why);
}

/* ---- URLs and requests ---- */

static void
test_urls(void **state)
{
	static const struct {
		const char *url, *host;
		uint16_t port;
		const char *path; /* NULL: not taken */
	} urls[] = {
		{ "http://a", "a", 80, "" },
		{ "HTTP://a.b-c_d:8008/x?y=z", "a.b-c_d", 8008, "/x?y=z" },
		{ "http://a?x", "a", 80, "?x" },
		{ "http://[::1]:2379/", "::1", 2379, "/" },
		{ "http://[::1]", "::1", 80, "" },
		{ "https://a/", "", 0, NULL },
		{ "http://", "", 0, NULL },
		{ "http://u:p@a/", "", 0, NULL },
		{ "http://a:0/", "", 0, NULL },
		{ "http://a:65536/", "", 0, NULL },
		{ "http://a:/", "", 0, NULL },
		{ "http://a:80x/", "", 0, NULL },
		{ "http://[fe80::1%25eth0]/", "", 0, NULL },
		{ "http://[::1/", "", 0, NULL },
		{ "http://a/x y", "", 0, NULL },
		{ "http://a/x\r\ny", "", 0, NULL },
		{ "http://a/\xc3\xa4", "", 0, NULL },
		{ "http://a/x#y", "", 0, NULL },
	};
	struct http_url u;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		bool taken = http_url_parse(&u, urls[i].url);

		if (taken != (urls[i].path != NULL))
			fail_msg("%s", urls[i].url);
		if (!taken)
			continue;
		assert_string_equal(u.host, urls[i].host);
		assert_int_equal(u.port, urls[i].port);
		assert_string_equal(u.path, urls[i].path);
	}
}

static void
test_request_text(void **state)
{
	const char *headers[] = { "Accept: a/b", "X: y", NULL };
	struct http_spec s = { .method = "PUT",
		.headers = headers,
		.body = "hello",
		.body_len = 5,
		.user = "u",
		.password = "p" };
	struct http_url u;
	size_t len;
	char *text;

	(void)state;
	assert_true(http_url_parse(&u, "http://[::1]:99?q"));
	text = http_text(&s, &u, &len);
	assert_non_null(text);
	assert_non_null(text = realloc(text, len + 1));
	text[len] = '\0';
	assert_ptr_equal(
	    strstr(text,
		"PUT /?q HTTP/1.1\r\nHost: [::1]:99\r\nUser-Agent: Patroni/"),
	    text);
	assert_non_null(strstr(text,
	    "\r\nAccept: a/b\r\nX: y\r\nAuthorization: Basic dTpw\r\n"
	    "Content-Length: 5\r\n\r\nhello"));
	assert_null(strstr(text, "*/*"));
	free(text);
	headers[1] = "X: y\r\nInjected: z";
	assert_null(http_text(&s, &u, &len));
	headers[1] = "X: y";
	s.method = "GET / HTTP/1.1\r\nX:";
	assert_null(http_text(&s, &u, &len));
}

/* ---- a server ---- */

static struct {
	struct evconnlistener *listener;
	const char *answer; /* NULL: none */
	bool close;	    /* after the answer */
	bool answered;
	bool early; /* it reads no more than the head and answers */
	int accepted, requests, drop; /* so many requests are not answered */
	uint16_t port;
	struct bufferevent *last;
} server;

static void
server_flushed(struct bufferevent *bev, void *arg)
{
	(void)arg;
	if (!server.answered)
		return;
	server.answered = false;
	if (!server.close)
		return;
	server.last = NULL;
	bufferevent_free(bev);
}

static void
server_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);

	(void)arg;
	if (evbuffer_search(in, "\r\n\r\n", 4, NULL).pos < 0)
		return;
	evbuffer_drain(in, evbuffer_get_length(in));
	server.requests++;
	if (server.early)
		bufferevent_disable(bev, EV_READ);
	if (server.drop > 0) {
		server.drop--;
		server.last = NULL;
		bufferevent_free(bev);
	} else if (server.answer != NULL) {
		server.answered = true;
		bufferevent_write(bev, server.answer, strlen(server.answer));
	}
}

static void
server_event(struct bufferevent *bev, short what, void *arg)
{
	(void)arg;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
		if (server.last == bev)
			server.last = NULL;
		bufferevent_free(bev);
	}
}

static void
server_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa,
    int len, void *arg)
{
	struct bufferevent *bev =
	    bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)l;
	(void)sa;
	(void)len;
	(void)arg;
	server.accepted++;
	server.last = bev;
	bufferevent_setcb(bev, server_read, server_flushed, server_event, NULL);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static int
server_start(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);

	(void)state;
	memset(&server, 0, sizeof(server));
	server.answer = "HTTP/1.1 200 OK\r\nLSN: 7\r\nX-Y: z \r\n"
			"Content-Length: 2\r\n\r\nok";
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	base = event_base_new();
	server.listener = evconnlistener_new_bind(base, server_accept, NULL,
	    LEV_OPT_CLOSE_ON_FREE, 16, (struct sockaddr *)&a, sizeof(a));
	if (server.listener == NULL)
		return -1;
	getsockname(evconnlistener_get_fd(server.listener),
	    (struct sockaddr *)&a, &len);
	server.port = ntohs(a.sin_port);
	return 0;
}

static void run_until(const int *, int);

static int
server_stop(void **state)
{
	int never = 0;

	(void)state;
	run_until(&never, 50); /* the clients are gone */
	if (server.last != NULL)
		bufferevent_free(server.last);
	if (server.listener != NULL)
		evconnlistener_free(server.listener);
	event_base_free(base);
	return 0;
}

/* ---- requests ---- */

struct result {
	int done;
	enum http_error error;
	long status;
	bool resent;
	int64_t lsn;
	char body[256], text[256], got[64];
	/* of a stream */
	int heads;
	size_t bytes, stop_at;
	struct http_request *cancel; /* from inside the callback */
};

static void
on_done(const struct http_answer *a, void *arg)
{
	struct result *r = arg;

	r->done++;
	r->error = a->error;
	r->status = a->status;
	r->resent = a->resent;
	r->lsn = a->lsn;
	snprintf(r->body, sizeof(r->body), "%s", a->body);
	snprintf(r->text, sizeof(r->text), "%s", a->text);
	snprintf(r->got, sizeof(r->got), "%s", a->got[0]);
}

static bool
on_data(const char *data, size_t n, void *arg)
{
	struct result *r = arg;

	(void)data;
	if (n == 0)
		r->heads++;
	r->bytes += n;
	if (r->cancel != NULL && n > 0)
		http_cancel(r->cancel);
	return r->stop_at == 0 || r->bytes < r->stop_at;
}

static int64_t
in_ms(int ms)
{
	return clock_boot_ns() + ms * NS_PER_MS;
}

static void
run_until(const int *done, int ms)
{
	int64_t end = in_ms(ms);
	struct timeval step = { 0, 10000 };

	while (!*done && clock_boot_ns() < end) {
		event_base_loopexit(base, &step);
		event_base_loop(base, EVLOOP_ONCE);
	}
}

static struct http_request *
ask(struct http *h, struct http_spec *s, struct result *r, const char *host)
{
	static const char *const want[] = { "X-Y", NULL };
	char url[128];

	memset(r, 0, sizeof(*r));
	snprintf(url, sizeof(url), "http://%s:%u/x", host, server.port);
	s->method = "GET";
	s->url = url;
	s->want = want;
	if (s->deadline == 0)
		s->deadline = in_ms(5000);
	if (s->max_body == 0)
		s->max_body = 100;
	return http_start(h, s, on_done, r);
}

static void
expect_ok(struct http *h, const char *host, bool close)
{
	struct http_spec s = { .close = close };
	struct result r;

	assert_non_null(ask(h, &s, &r, host));
	assert_int_equal(r.done, 0);
	run_until(&r.done, 6000);
	if (r.error != HTTP_OK)
		fail_msg("%s", r.text);
	assert_int_equal(r.done, 1);
	assert_int_equal(r.status, 200);
	assert_int_equal(r.lsn, 7);
	assert_string_equal(r.got, "z");
	assert_string_equal(r.body, "ok");
	assert_false(r.resent);
}

static void
expect_error(struct http *h, struct http_spec *s, enum http_error error,
    const char *text)
{
	struct result r;

	assert_non_null(ask(h, s, &r, "127.0.0.1"));
	assert_int_equal(r.done, 0);
	run_until(&r.done, 6000);
	assert_int_equal(r.done, 1);
	assert_int_equal(r.error, error);
	if (strstr(r.text, text) == NULL)
		fail_msg("%s", r.text);
}

static void
test_kept_connection(void **state)
{
	struct http *h = http_new(base);

	(void)state;
	expect_ok(h, "127.0.0.1", false);
	expect_ok(h, "127.0.0.1", false);
	assert_int_equal(server.accepted, 1);
	expect_ok(h, "127.0.0.1", true); /* neither takes one nor leaves one */
	assert_int_equal(server.accepted, 2);
	expect_ok(h, "localhost", false); /* by a thread, then known */
	expect_ok(h, "localhost", true);
	assert_int_equal(server.accepted, 4);
	http_free(h);
}

static void
test_closed_meanwhile(void **state)
{
	struct http *h = http_new(base);
	int never = 0;

	(void)state;
	server.close = true; /* without saying so */
	expect_ok(h, "127.0.0.1", false);
	run_until(&never, 50);
	expect_ok(h, "127.0.0.1", false);
	assert_int_equal(server.requests, 2);
	http_free(h);
}

static void
test_asked_once_more(void **state)
{
	struct http *h = http_new(base);
	struct http_spec s = { .close = false };
	struct result r;

	(void)state;
	expect_ok(h, "127.0.0.1", false);
	server.drop = 1;
	assert_non_null(ask(h, &s, &r, "127.0.0.1"));
	run_until(&r.done, 6000);
	assert_int_equal(r.error, HTTP_OK);
	assert_true(r.resent);
	assert_int_equal(server.requests, 3);
	/* but once only, and not on a new connection */
	server.drop = 2;
	expect_error(h, &s, HTTP_BROKEN, "Empty reply");
	assert_int_equal(server.requests, 5);
	server.drop = 1;
	expect_error(h, &s, HTTP_BROKEN, "Empty reply");
	assert_int_equal(server.requests, 6);
	http_free(h);
}

static void
test_refusals(void **state)
{
	struct http *h = http_new(base);
	struct http_spec s = { .max_body = 1 };

	(void)state;
	expect_error(h, &s, HTTP_BROKEN, "answer too long");
	s.max_body = 0;
	server.answer = "hello\r\n";
	expect_error(h, &s, HTTP_BROKEN, "not an answer");
	server.answer = NULL;
	s.deadline = in_ms(100);
	expect_error(h, &s, HTTP_BROKEN, "Operation timed out after");
	s.deadline = in_ms(5000);
	evconnlistener_free(server.listener);
	server.listener = NULL;
	expect_error(h, &s, HTTP_CONNECT, "Connection refused");
	http_free(h);
}

static void
test_interim(void **state)
{
	static const char *const first[] = {
		"HTTP/1.1 100 Continue\r\nLSN: 9\r\nX-Y: no\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nX-Y: no\r\nLSN: 9\r\n"
		"Content-Length: 5\r\n\r\n",
	};
	struct http *h = http_new(base);
	const char *final = server.answer;
	char answer[512];
	int i;

	(void)state;
	server.answer = answer;
	for (i = 0; i < 2; i++) {
		(void)snprintf(answer, sizeof(answer), "%s%s", first[i], final);
		expect_ok(h, "127.0.0.1", false);
	}
	(void)snprintf(
	    answer, sizeof(answer), "%s%s%s", first[1], first[0], final);
	expect_ok(h, "127.0.0.1", false);
	assert_int_equal(server.accepted, 1);
	http_free(h);
}

/* The server has seen enough before the request is out. */
static void
test_early_answer(void **state)
{
	static char body[16 * 1024 * 1024];
	struct http *h = http_new(base);
	struct http_spec s = { .body = body, .body_len = sizeof(body) };
	struct result r;
	int i;

	(void)state;
	memset(body, 'x', sizeof(body));
	server.answer = "HTTP/1.1 413 Too Large\r\nX-Y: z\r\n"
			"Content-Length: 3\r\n\r\nbig";
	server.early = true;
	/* it leaves the rest in the socket; or closes, which resets it */
	for (i = 0; i < 20; i++) {
		server.close = i > 0;
		assert_non_null(ask(h, &s, &r, "127.0.0.1"));
		run_until(&r.done, 6000);
		if (r.error != HTTP_OK)
			fail_msg("%d: %s", i, r.text);
		assert_int_equal(r.status, 413);
		assert_string_equal(r.body, "big");
		assert_false(r.resent);
		/* what is half written serves nobody else */
		assert_int_equal(server.accepted, i + 1);
		if (server.last != NULL) /* it does not see the end */
			bufferevent_free(server.last);
		server.last = NULL;
	}
	/* without an answer it is the error that it was */
	server.answer = NULL;
	server.drop = 1;
	expect_error(h, &s, HTTP_BROKEN, "");
	server.early = false;
	server.answer = "HTTP/1.1 200 OK\r\nLSN: 7\r\nX-Y: z\r\n"
			"Content-Length: 2\r\n\r\nok";
	expect_ok(h, "127.0.0.1", false);
	http_free(h);
}

static void
test_unreachable(void **state)
{
	struct http *h = http_new(base);
	struct http_spec s = { .connect_ns = 200 * NS_PER_MS };
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fill[8], i;
	socklen_t len = sizeof(a);

	(void)state;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 0), 0);
	getsockname(fd, (struct sockaddr *)&a, &len);
	for (i = 0; i < 8; i++) { /* its queue is full from now on */
		fill[i] = socket(
		    AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fill[i], (struct sockaddr *)&a, sizeof(a));
	}
	server.port = ntohs(a.sin_port);
	expect_error(h, &s, HTTP_CONNECT, "Connection timed out after");
	for (i = 0; i < 8; i++)
		close(fill[i]);
	close(fd);
	http_free(h);
}

static void
test_no_such_name(void **state)
{
	struct http *h = http_new(base);
	struct http_spec s = { .close = true };
	struct result r;

	(void)state;
	assert_non_null(ask(h, &s, &r, "no-such-host.invalid"));
	run_until(&r.done, 6000);
	assert_int_equal(r.error, HTTP_CONNECT);
	http_free(h);
}

static void
test_stream(void **state)
{
	struct http *h = http_new(base);
	struct http_spec s = { .data = on_data, .deadline = in_ms(200) };
	struct result r;
	int never = 0;

	(void)state;
	server.answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			"5\r\nhello\r\n";
	assert_non_null(ask(h, &s, &r, "127.0.0.1"));
	run_until(&never, 400); /* the deadline was for connecting */
	assert_int_equal(r.done, 0);
	assert_int_equal(r.heads, 1);
	assert_int_equal(r.bytes, 5);
	bufferevent_free(server.last); /* ends too early */
	server.last = NULL;
	run_until(&r.done, 5000);
	assert_int_equal(r.error, HTTP_BROKEN);
	/* stopped by its reader */
	assert_non_null(ask(h, &s, &r, "127.0.0.1"));
	r.stop_at = 3;
	run_until(&r.done, 5000);
	assert_int_equal(r.error, HTTP_ABORTED);
	/* no stream of a refusal begins */
	server.answer = "HTTP/1.1 400 No\r\nContent-Length: 1\r\n\r\nx";
	assert_non_null(ask(h, &s, &r, "127.0.0.1"));
	run_until(&r.done, 5000);
	assert_int_equal(r.heads, 0);
	assert_int_equal(r.status, 400);
	http_free(h);
}

static void
test_cancel(void **state)
{
	struct http *h = http_new(base);
	struct http_spec s = { .data = on_data };
	struct result r, other;
	struct http_request *q;
	int never = 0;

	(void)state;
	/* before anything, while the name is looked up, while it waits */
	http_cancel(ask(h, &s, &r, "127.0.0.1"));
	http_cancel(ask(h, &s, &r, "localhost"));
	server.answer = NULL;
	q = ask(h, &s, &r, "127.0.0.1");
	run_until(&never, 100);
	http_cancel(q);
	assert_int_equal(r.done, 0);
	/* from inside its own callback */
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
	q = ask(h, &s, &r, "127.0.0.1");
	r.cancel = q;
	run_until(&never, 100);
	assert_int_equal(r.bytes, 5);
	assert_int_equal(r.done, 0);
	/* with everything */
	assert_non_null(ask(h, &s, &r, "127.0.0.1"));
	assert_non_null(ask(h, &s, &other, "localhost"));
	http_free(h);
	run_until(&never, 100);
	assert_int_equal(r.done + other.done, 0);
}

int
main(void)
{
#define REQUEST(f) cmocka_unit_test_setup_teardown(f, server_start, server_stop)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_parser_bounds),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_request_text),
		REQUEST(test_kept_connection),
		REQUEST(test_closed_meanwhile),
		REQUEST(test_asked_once_more),
		REQUEST(test_refusals),
		REQUEST(test_interim),
		REQUEST(test_early_answer),
		REQUEST(test_unreachable),
		REQUEST(test_no_such_name),
		REQUEST(test_stream),
		REQUEST(test_cancel),
	};

	log_init("test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
