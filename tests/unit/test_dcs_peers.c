/*
 * test_dcs_peers.c: rounds of requests to other members, against a scripted
 * HTTP server in the test's process, plain and TLS: what is sent, how answers
 * are read, and peers that misbehave.
 */
#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <openssl/ssl.h>

#include "dcs/peers.h"
#include "helpers/json.h"
#include "ipc/clock.h"
#include "ipc/log.h"

static struct event_base *base;
static char dir[] = "/tmp/test_peers.XXXXXX";

/* ---- a peer ---- */

enum behaviour {
	ANSWER,	      /* status, headers and body as given */
	SILENT,	      /* takes the request, says nothing */
	HALF,	      /* half of an answer, then nothing */
	CUT,	      /* half of an answer, then the end */
	ENDLESS,      /* a body that never ends */
	CLOSE_ACCEPT, /* closes what it has accepted */
};

static struct peer {
	struct evconnlistener *listener;
	SSL_CTX *tls;
	enum behaviour behaviour;
	const char *status, *headers, *body;
	char request[8192];		/* the last one, whole */
	char client[64];		/* common name of its certificate */
	int requests, accepted, refuse; /* so many connections are closed */
	uint16_t port;
} peers[3];

static void
write_more(struct bufferevent *bev, void *arg)
{
	static char filler[65536];

	(void)arg;
	memset(filler, 'x', sizeof(filler));
	bufferevent_write(bev, filler, sizeof(filler));
}

static void
peer_event(struct bufferevent *bev, short what, void *arg)
{
	struct peer *p = arg;
	SSL *ssl = bufferevent_openssl_get_ssl(bev);
	X509 *cert;

	if (what & BEV_EVENT_CONNECTED && ssl != NULL &&
	    (cert = SSL_get0_peer_certificate(ssl)) != NULL)
		X509_NAME_get_text_by_NID(X509_get_subject_name(cert),
		    NID_commonName, p->client, sizeof(p->client));
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		bufferevent_free(bev);
}

static void
close_written(struct bufferevent *bev, void *arg)
{
	(void)arg;
	bufferevent_free(bev);
}

static void
peer_answer(struct bufferevent *bev, struct peer *p)
{
	struct evbuffer *out = bufferevent_get_output(bev);
	size_t len = strlen(p->body);

	if (p->behaviour == SILENT)
		return;
	if (p->behaviour == ENDLESS) {
		evbuffer_add_printf(out, "HTTP/1.0 200 OK\r\n\r\n");
		bufferevent_setcb(bev, NULL, write_more, peer_event, p);
		return;
	}
	evbuffer_add_printf(out, "HTTP/1.0 %s\r\n%s", p->status, p->headers);
	if (p->behaviour != ANSWER) {
		evbuffer_add_printf(
		    out, "Content-Length: %zu\r\n\r\n%.*s", len, 5, p->body);
		if (p->behaviour == CUT)
			bufferevent_setcb(
			    bev, NULL, close_written, peer_event, p);
		return;
	}
	evbuffer_add_printf(out, "\r\n%s", p->body); /* ends at the close */
	bufferevent_setcb(bev, NULL, close_written, peer_event, p);
}

static void
peer_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct peer *p = arg;
	size_t len = evbuffer_get_length(in), want = 0;
	const char *head, *text;

	assert_true(len < sizeof(p->request));
	evbuffer_copyout(in, p->request, len);
	p->request[len] = '\0';
	if ((head = strstr(p->request, "\r\n\r\n")) == NULL)
		return;
	if ((text = strcasestr(p->request, "\r\nContent-Length: ")) != NULL)
		want = (size_t)atoi(text + 18);
	if (strlen(head + 4) < want)
		return;
	p->requests++;
	/* goes on reading: it has to see the end */
	bufferevent_setcb(bev, NULL, NULL, peer_event, p);
	peer_answer(bev, p);
}

static void
peer_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa,
    int len, void *arg)
{
	struct peer *p = arg;
	struct bufferevent *bev;

	(void)l;
	(void)sa;
	(void)len;
	p->accepted++;
	if (p->behaviour == CLOSE_ACCEPT || p->refuse-- > 0) {
		close(fd);
		return;
	}
	bev = p->tls == NULL ?
	    bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE) :
	    bufferevent_openssl_socket_new(base, fd, SSL_new(p->tls),
		BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, peer_read, NULL, peer_event, p);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static void
peer_start(struct peer *p)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);

	memset(p, 0, sizeof(*p));
	p->listener = evconnlistener_new_bind(base, peer_accept, p,
	    LEV_OPT_CLOSE_ON_FREE, 16, (struct sockaddr *)&a, sizeof(a));
	assert_non_null(p->listener);
	getsockname(
	    evconnlistener_get_fd(p->listener), (struct sockaddr *)&a, &len);
	p->port = ntohs(a.sin_port);
	p->status = "200 OK";
	p->headers = "";
	p->body = "Accepted";
}

static int
setup(void **state)
{
	size_t i;

	(void)state;
	base = event_base_new();
	for (i = 0; i < 3; i++)
		peer_start(&peers[i]);
	return 0;
}

static int
teardown(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		if (peers[i].listener != NULL)
			evconnlistener_free(peers[i].listener);
		SSL_CTX_free(peers[i].tls);
	}
	/* the peers see the ends of what was asked of them */
	for (i = 0; i < 8; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_free(base);
	return 0;
}

/* ---- rounds ---- */

struct answer {
	uint32_t done, count, code;
	struct peer_status p[MAX_MEMBERS];
	int64_t took;
};

static void
on_done(const struct peer_status *p, uint32_t count, void *arg)
{
	struct answer *a = arg;

	assert_int_equal(a->done, 0);
	a->done = 1;
	a->count = count;
	memcpy(a->p, p, count * sizeof(*p));
}

static struct tree *
json(const char *text)
{
	struct tree *t = tree_from_json(text, strlen(text), NULL, 0);

	assert_non_null(t);
	return t;
}

static struct peers *
open_peers(const char *conf)
{
	struct tree *t = json(conf);
	char err[256] = "";
	struct peers *p = peers_open(base, t, err, sizeof(err));

	if (p == NULL)
		fail_msg("%s", err);
	tree_free(t);
	return p;
}

/* b, c and d at the peers' addresses. */
static struct tree *
targets(const char *scheme)
{
	struct tree *list = tree_list(), *t;
	char url[64];
	int i;

	for (i = 0; i < 3; i++) {
		t = tree_map();
		snprintf(url, sizeof(url), "%s://127.0.0.1:%u/patroni", scheme,
		    peers[i].port);
		tree_set(t, "name",
		    tree_text(i == 0 ? "b" :
			    i == 1   ? "c" :
				       "d"));
		tree_set(t, "api_url", tree_text(url));
		tree_append(list, t);
	}
	return list;
}

static void
run(struct answer *a, int64_t start)
{
	while (a->done == 0)
		event_base_loop(base, EVLOOP_ONCE);
	a->took = clock_boot_ns() - start;
}

/* One failsafe round over all three with these limits. */
static struct answer
failsafe_with(const char *conf, const char *scheme, struct msg_poll m,
    int64_t deadline_ms)
{
	struct peers *p = open_peers(conf);
	struct tree *doc = json(
	    "{\"name\": \"a\", \"conn_url\": \"postgres://a/\", "
	    "\"api_url\": \"http://a:8008/patroni\", \"slots\": {\"a\": 5}}");
	struct answer a = { 0 };
	int64_t now = clock_boot_ns();

	tree_set(doc, "targets", targets(scheme));
	assert_true(peers_failsafe(
	    p, doc, &m, now + deadline_ms * NS_PER_MS, on_done, &a));
	assert_int_equal(a.done, 0);
	tree_free(doc);
	run(&a, now);
	peers_close(p);
	assert_int_equal(a.count, 3);
	assert_string_equal(a.p[0].name, "b");
	assert_string_equal(a.p[2].name, "d");
	return a;
}

static struct answer
failsafe(void)
{
	return failsafe_with(
	    "{}", "http", (struct msg_poll){ 2000, 2000 }, 10000);
}

/* Spec 20.3: accepted iff 200 and exactly that word. */
static void
test_accepted(void **state)
{
	static const char *const refusals[][2] = {
		{ "200 OK", "accepted" },
		{ "200 OK", "Accepted\n" },
		{ "200 OK", "" },
		{ "200 OK", "{\"Accepted\": true}" },
		{ "202 Accepted", "Accepted" },
		{ "502 Bad Gateway", "Accepted" },
		{ "500 Internal Server Error", "Running as a leader" },
	};
	struct answer a;
	size_t i;

	(void)state;
	a = failsafe();
	for (i = 0; i < 3; i++) {
		assert_int_equal(a.p[i].accepted, 1);
		assert_int_equal(a.p[i].has_lsn, 0);
		assert_string_equal(a.p[i].text, "Accepted");
	}
	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		peers[1].status = refusals[i][0];
		peers[1].body = refusals[i][1];
		a = failsafe();
		if (a.p[1].accepted || !a.p[0].accepted || !a.p[2].accepted)
			fail_msg("%s %s", refusals[i][0], refusals[i][1]);
	}
}

static void
test_lsn_header(void **state)
{
	static const struct {
		const char *header;
		uint32_t has;
		uint64_t lsn;
	} row[] = {
		{ "lsn: 50331648\r\n", 1, 50331648 },
		{ "LSN:1\r\n", 1, 1 },
		{ "lsn: 0\r\n", 1, 0 },
		{ "lsn: 9223372036854775807\r\n", 1, INT64_MAX },
		{ "lsn: 9223372036854775808\r\n", 0, 0 },
		{ "lsn: -5\r\n", 0, 0 },
		{ "lsn: 5x\r\n", 0, 0 },
		{ "lsn: \r\n", 0, 0 },
		{ "xlsn: 7\r\n", 0, 0 },
	};
	struct answer a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		peers[2].headers = row[i].header;
		a = failsafe();
		assert_int_equal(a.p[2].accepted, 1);
		if (a.p[2].has_lsn != row[i].has ||
		    (row[i].has && a.p[2].lsn != row[i].lsn))
			fail_msg("%s: %u %llu", row[i].header, a.p[2].has_lsn,
			    (unsigned long long)a.p[2].lsn);
		assert_int_equal(a.p[0].has_lsn, 0);
	}
}

static bool
sent(const struct peer *p, const char *text)
{
	return strcasestr(p->request, text) != NULL;
}

/* What goes out: path, headers, body without the targets (20.1). */
static void
test_request(void **state)
{
	const char *body;
	struct tree *t;

	(void)state;
	(void)failsafe();
	assert_memory_equal(
	    peers[0].request, "POST /failsafe HTTP/1.1\r\n", 25);
	assert_true(sent(&peers[0], "\r\nuser-agent: Patroni/"));
	assert_false(sent(&peers[0], "\r\nauthorization:"));
	assert_false(sent(&peers[0], "\r\nexpect:"));
	body = strstr(peers[0].request, "\r\n\r\n") + 4;
	t = json(body);
	assert_int_equal(tree_count(t), 4);
	assert_string_equal(tree_path_text(t, "name", ""), "a");
	assert_string_equal(
	    tree_path_text(t, "api_url", ""), "http://a:8008/patroni");
	assert_non_null(tree_get(tree_get(t, "slots"), "a"));
	tree_free(t);
}

static void
test_credentials(void **state)
{
	(void)state;
	failsafe_with("{\"restapi\": {\"authentication\": {\"username\": "
		      "\"u\", \"password\": \"p:q\"}}}",
	    "http", (struct msg_poll){ 2000, 2000 }, 10000);
	assert_true(sent(&peers[1], "\r\nauthorization: Basic dTpwOnE=\r\n"));
	/* those of ctl go before, in either form */
	failsafe_with("{\"ctl\": {\"auth\": \"x:y\"}, \"restapi\": "
		      "{\"auth\": \"u:p\"}}",
	    "http", (struct msg_poll){ 2000, 2000 }, 10000);
	assert_true(sent(&peers[1], "\r\nauthorization: Basic eDp5\r\n"));
	/* not ASCII: UTF-8, as the server side reads them */
	failsafe_with("{\"ctl\": {\"authentication\": {\"username\": "
		      "\"\\u00e4\", \"password\": \"\"}}}",
	    "http", (struct msg_poll){ 2000, 2000 }, 10000);
	assert_true(sent(&peers[1], "\r\nauthorization: Basic w6Q6\r\n"));
}

/* One bad peer costs the others nothing and the round a bounded time. */
static void
test_bad_peers(void **state)
{
	static const struct {
		enum behaviour behaviour;
		const char *what;
	} row[] = {
		{ SILENT, "silent" },
		{ HALF, "half an answer" },
		{ CUT, "cut off" },
		{ ENDLESS, "endless" },
		{ CLOSE_ACCEPT, "closing" },
	};
	struct answer a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		peers[0].behaviour = row[i].behaviour;
		a = failsafe_with(
		    "{}", "http", (struct msg_poll){ 300, 300 }, 10000);
		if (a.p[0].reachable || a.p[0].accepted ||
		    a.p[0].text[0] == '\0')
			fail_msg("%s: %s", row[i].what, a.p[0].text);
		assert_int_equal(a.p[1].accepted, 1);
		assert_int_equal(a.p[2].accepted, 1);
		if (a.took > 2500 * NS_PER_MS)
			fail_msg("%s took %lld ms", row[i].what,
			    (long long)(a.took / NS_PER_MS));
	}
	/* the caller's deadline comes before the limits of one request */
	peers[0].behaviour = SILENT;
	a = failsafe_with("{}", "http", (struct msg_poll){ 9000, 9000 }, 200);
	assert_int_equal(a.p[0].reachable, 0);
	assert_true(a.took < 2000 * NS_PER_MS);
	/* none there at all */
	for (i = 0; i < 3; i++) {
		evconnlistener_free(peers[i].listener);
		peers[i].listener = NULL;
	}
	a = failsafe();
	for (i = 0; i < 3; i++)
		assert_int_equal(a.p[i].reachable, 0);
	assert_true(a.took < 4000 * NS_PER_MS);
}

/* A connection that fails before the request is made again, once. */
static void
test_connect_again(void **state)
{
	struct evconnlistener *l = peers[0].listener;
	struct answer a;

	(void)state;
	/* nobody listens: both attempts fail, at once */
	evconnlistener_free(l);
	peers[0].listener = NULL;
	a = failsafe();
	assert_int_equal(a.p[0].reachable, 0);
	assert_int_equal(a.p[1].accepted, 1);
	/* one that did take the request is not asked twice */
	peers[1].behaviour = CUT;
	peers[1].requests = 0;
	a = failsafe();
	assert_int_equal(a.p[1].accepted, 0);
	assert_int_equal(peers[1].requests, 1);
}

/* ---- polls ---- */

static struct answer
poll_all(const char *scheme)
{
	struct peers *p = open_peers("{}");
	struct msg_poll m = { 500, 500 };
	struct tree *list = targets(scheme);
	struct answer a = { 0 };
	int64_t now = clock_boot_ns();

	assert_true(peers_poll(p, list, &m, now + 9 * NS_PER_SEC, on_done, &a));
	tree_free(list);
	run(&a, now);
	peers_close(p);
	return a;
}

/* The status is not looked at; the body has to hold numbers (20.2). */
static void
test_poll(void **state)
{
	struct answer a;
	char *big;

	(void)state;
	peers[0].status = "503 Service Unavailable";
	peers[0].body = "{\"role\": \"replica\", \"timeline\": 3, \"xlog\": "
			"{\"received_location\": 7, \"replayed_location\": 9}, "
			"\"tags\": {\"nofailover\": true}, "
			"\"watchdog_failed\": true}";
	peers[1].body = "{\"role\": \"master\", \"wal\": {\"location\": 5}}";
	peers[2].body = "{\"state\": \"starting\", \"role\": \"replica\"}";
	a = poll_all("http");
	assert_memory_equal(peers[0].request, "GET /patroni HTTP/1.1\r\n", 23);
	assert_int_equal(a.p[0].reachable, 1);
	assert_int_equal(a.p[0].position, 9);
	assert_int_equal(a.p[0].timeline, 3);
	assert_int_equal(a.p[0].tags.nofailover, 1);
	assert_int_equal(a.p[0].watchdog_failed, 1);
	assert_int_equal(a.p[1].reachable, 1);
	assert_int_equal(a.p[1].runs_as_primary, 1);
	assert_int_equal(a.p[1].position, 0);
	assert_int_equal(a.p[2].reachable, 0);
	/* a megabyte is the most that is read */
	big = malloc(2 << 20);
	memset(big, ' ', 2 << 20);
	memcpy(big, "{\"xlog\": {\"location\": 1},", 25);
	strcpy(big + (2 << 20) - 9, "\"a\": 1}");
	peers[0].body = big;
	peers[1].body = "[1]";
	peers[2].body = "{\"xlog\": {\"replayed_location\": null}}";
	a = poll_all("http");
	assert_int_equal(a.p[0].reachable, 0);
	assert_int_equal(a.p[1].reachable, 0);
	assert_int_equal(a.p[2].reachable, 0);
	free(big);
}

/* Sixteen rounds at a time, sixty-four members in each. */
static void
test_bounds(void **state)
{
	struct peers *p = open_peers("{}");
	struct msg_poll m = { 300, 300 };
	struct tree *list = tree_list(), *t;
	struct answer a[17] = { 0 };
	int64_t deadline = clock_boot_ns() + 9 * NS_PER_SEC;
	int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		t = tree_map();
		tree_set(t, "name", tree_text("x"));
		tree_set(t, "api_url", tree_text(i == 0 ? "no url" : ""));
		tree_append(list, t);
	}
	for (i = 0; i < 16; i++)
		assert_true(peers_poll(p, list, &m, deadline, on_done, &a[i]));
	assert_false(peers_poll(p, list, &m, deadline, on_done, &a[16]));
	for (i = 0; i < 16; i++) {
		run(&a[i], clock_boot_ns());
		assert_int_equal(a[i].count, MAX_MEMBERS);
	}
	assert_int_equal(a[16].done, 0);
	assert_true(peers_poll(p, list, &m, deadline, on_done, &a[16]));
	peers_close(p); /* with a round on the way: no callback */
	assert_int_equal(a[16].done, 0);
	tree_free(list);
}

/* ---- liveness ---- */

static void
on_code(uint32_t code, void *arg)
{
	struct answer *a = arg;

	assert_int_equal(a->done, 0);
	a->done = 1;
	a->code = code;
}

static uint32_t
liveness(int64_t within_ms, int64_t *took)
{
	struct peers *p = open_peers("{}");
	struct answer a = { 0 };
	int64_t now = clock_boot_ns();
	char url[64];

	snprintf(
	    url, sizeof(url), "http://127.0.0.1:%u/patroni", peers[0].port);
	assert_true(
	    peers_liveness(p, url, now + within_ms * NS_PER_MS, on_code, &a));
	run(&a, now);
	if (took != NULL)
		*took = a.took;
	peers_close(p);
	return a.code;
}

/* Any answer means that somebody is there (20.4). */
static void
test_liveness(void **state)
{
	int64_t took;

	(void)state;
	assert_int_equal(liveness(9000, NULL), 200);
	assert_memory_equal(peers[0].request, "GET /liveness HTTP/1.1\r\n", 24);
	peers[0].status = "503 Service Unavailable";
	assert_int_equal(liveness(9000, NULL), 503);
	/* asked four times before it counts as gone */
	peers[0].behaviour = CUT;
	peers[0].requests = 0;
	assert_int_equal(liveness(20000, NULL), 0);
	assert_int_equal(peers[0].requests, 4);
	peers[0].behaviour = SILENT;
	assert_int_equal(liveness(400, &took), 0);
	assert_true(took < 3000 * NS_PER_MS);
}

/* ---- TLS ---- */

static void
shell(const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	assert_int_equal(system(cmd), 0); /* NOLINT: fixed commands */
}

static void
certificate(const char *name, const char *ca)
{
	shell("cd %s && openssl req -newkey ec -pkeyopt "
	      "ec_paramgen_curve:P-256 -nodes -subj /CN=%s -keyout %s.key "
	      "-out csr 2>/dev/null && openssl x509 -req -in csr -CA %s.crt "
	      "-CAkey %s.key -set_serial 7 -days 2 -out %s.crt 2>/dev/null",
	    dir, name, name, ca, ca, name);
}

static void
authority(const char *name)
{
	shell("cd %s && openssl req -x509 -newkey ec -pkeyopt "
	      "ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=%s "
	      "-keyout %s.key -out %s.crt 2>/dev/null",
	    dir, name, name, name);
}

/* Serve with this certificate; want_ca: ask for one of clients. */
static void
peer_tls(struct peer *p, const char *cert, const char *want_ca)
{
	char path[128];

	p->tls = SSL_CTX_new(TLS_server_method());
	snprintf(path, sizeof(path), "%s/%s.crt", dir, cert);
	assert_int_equal(
	    SSL_CTX_use_certificate_file(p->tls, path, SSL_FILETYPE_PEM), 1);
	snprintf(path, sizeof(path), "%s/%s.key", dir, cert);
	assert_int_equal(
	    SSL_CTX_use_PrivateKey_file(p->tls, path, SSL_FILETYPE_PEM), 1);
	if (want_ca == NULL)
		return;
	snprintf(path, sizeof(path), "%s/%s.crt", dir, want_ca);
	assert_int_equal(SSL_CTX_load_verify_locations(p->tls, path, NULL), 1);
	SSL_CTX_set_verify(
	    p->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

/*
 * Without a client certificate nothing is verified; with one the chain of the
 * server is, its name never (20.1).
 */
static void
test_tls(void **state)
{
	char conf[512];
	struct answer a;

	(void)state;
	peer_tls(&peers[0], "server", NULL); /* its name is not 127.0.0.1 */
	peer_tls(&peers[1], "stranger", NULL);
	peer_tls(&peers[2], "server", "ca");
	a = failsafe_with(
	    "{}", "https", (struct msg_poll){ 2000, 2000 }, 10000);
	assert_int_equal(a.p[0].accepted, 1);
	assert_int_equal(a.p[1].accepted, 1);
	assert_int_equal(a.p[2].accepted, 0); /* wants a certificate */
	snprintf(conf, sizeof(conf),
	    "{\"ctl\": {\"certfile\": \"%s/client.crt\", "
	    "\"keyfile\": \"%s/client.key\", \"cacert\": \"%s/ca.crt\"}}",
	    dir, dir, dir);
	a = failsafe_with(
	    conf, "https", (struct msg_poll){ 2000, 2000 }, 10000);
	assert_int_equal(a.p[0].accepted, 1);
	assert_int_equal(a.p[1].accepted, 0); /* of another authority */
	assert_int_equal(a.p[2].accepted, 1);
	assert_string_equal(peers[2].client, "client");
	/* a handshake that breaks is no request yet: it is tried once more */
	peers[0].accepted = peers[0].requests = 0;
	peers[0].refuse = 1;
	a = failsafe_with(
	    conf, "https", (struct msg_poll){ 2000, 2000 }, 10000);
	assert_int_equal(a.p[0].accepted, 1);
	assert_int_equal(peers[0].accepted, 2);
	assert_int_equal(peers[0].requests, 1);
	peers[0].refuse = 2;
	a = failsafe_with(
	    conf, "https", (struct msg_poll){ 2000, 2000 }, 10000);
	assert_int_equal(a.p[0].accepted, 0);
	/* the CA of the API's clients is the second choice */
	snprintf(conf, sizeof(conf),
	    "{\"ctl\": {\"certfile\": \"%s/client.crt\", "
	    "\"keyfile\": \"%s/client.key\"}, "
	    "\"restapi\": {\"cafile\": \"%s/ca.crt\"}}",
	    dir, dir, dir);
	a = failsafe_with(
	    conf, "https", (struct msg_poll){ 2000, 2000 }, 10000);
	assert_int_equal(a.p[0].accepted, 1);
	assert_int_equal(a.p[1].accepted, 0);
	/* plain where TLS is spoken, and the other way round */
	a = failsafe_with(conf, "http", (struct msg_poll){ 300, 300 }, 10000);
	assert_int_equal(a.p[0].accepted, 0);
	SSL_CTX_free(peers[0].tls);
	peers[0].tls = NULL;
	a = failsafe_with(conf, "https", (struct msg_poll){ 300, 300 }, 10000);
	assert_int_equal(a.p[0].accepted, 0);
}

static void
test_bad_files(void **state)
{
	struct peers *p = open_peers("{}");
	char conf[512], err[256] = "";
	struct tree *t;

	(void)state;
	snprintf(conf, sizeof(conf),
	    "{\"ctl\": {\"certfile\": \"%s/none.crt\"}}", dir);
	t = json(conf);
	assert_null(peers_open(base, t, err, sizeof(err)));
	assert_non_null(strstr(err, "none.crt"));
	/* a reload keeps what works */
	assert_false(peers_reload(p, t, err, sizeof(err)));
	tree_free(t);
	peers_close(p);
}

static int
group_setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(dir) == NULL)
		return -1;
	authority("ca");
	authority("other");
	certificate("server", "ca");
	certificate("client", "ca");
	certificate("stranger", "other");
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int
group_teardown(void **state)
{
	(void)state;
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_accepted),
		T(test_lsn_header),
		T(test_request),
		T(test_credentials),
		T(test_bad_peers),
		T(test_connect_again),
		T(test_poll),
		T(test_bounds),
		T(test_liveness),
		T(test_tls),
		T(test_bad_files),
	};

	log_configure(&(struct log_settings){ .level = 100 });
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
