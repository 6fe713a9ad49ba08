/*
 * test_rest_http.c: the REST server on a loopback socket in this process,
 * with a stand-in for the postgres and dcs helpers: wire forms, limits,
 * access, and the whole course of unsafe requests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/json.h"
#include "ipc/clock.h"
#include "rest/openapi.h"
#include "rest/rest.h"
#include "rest/schedule.h"

/* ---- the other helpers ---- */

struct pending {
	struct rest *rest;
	rest_reply_cb cb;
	void *arg;
	uint16_t type;
};

static struct {
	struct event_base *base;
	struct rest *rest;
	uint16_t port;
	struct view *view;	      /* what the store holds */
	enum outcome outcome;	      /* of writes */
	bool store_down, nobody_home; /* answers get lost */
	char document[4096];	      /* last SET_CONFIG */
	struct msg_dcs_failover failover;
	struct msg_request request; /* last REQUEST */
	uint32_t request_code;
	char request_text[128];
	uint32_t reachable; /* POLL: answers of the peers */
	int wakes, reloads;
} t;

static void
answer(evutil_socket_t fd, short what, void *arg)
{
	struct pending *p = arg;
	struct ipc_msg m;
	struct msg_view view;
	struct msg_result result;
	struct msg_request_reply reply;
	struct {
		struct msg_peers head;
	} peers;
	struct peer_status peer;
	uint8_t *var = NULL;
	size_t len = 0;

	(void)fd;
	(void)what;
	memset(&m, 0, sizeof(m));
	m.fd = -1;
	if (p->type == MSG_REQUEST ? t.nobody_home : t.store_down) {
		p->cb(p->rest, NULL, ETIMEDOUT, p->arg);
		free(p);
		return;
	}
	switch (p->type) {
	case MSG_DCS_LOAD:
		memset(&view, 0, sizeof(view));
		assert_true(view_encode(t.view, &var, &len));
		m.hdr.type = MSG_DCS_VIEW;
		m.hdr.var_len = (uint32_t)len;
		m.body = &view;
		m.var = var;
		break;
	case MSG_DCS_POLL:
		memset(&peers, 0, sizeof(peers));
		memset(&peer, 0, sizeof(peer));
		peers.head.count = 1;
		peer.reachable = t.reachable;
		m.hdr.type = MSG_DCS_PEERS;
		m.hdr.var_len = sizeof(peer);
		m.body = &peers;
		m.var = (const uint8_t *)&peer;
		break;
	case MSG_REQUEST:
		memset(&reply, 0, sizeof(reply));
		reply.code = t.request_code;
		reply.has_lsn = 1;
		reply.lsn = 4711;
		strcpy(reply.text, t.request_text);
		m.hdr.type = MSG_REQUEST_REPLY;
		m.body = &reply;
		break;
	default:
		memset(&result, 0, sizeof(result));
		result.outcome = t.outcome;
		m.hdr.type = MSG_DCS_RESULT;
		m.body = &result;
	}
	p->cb(p->rest, &m, 0, p->arg);
	free(var);
	free(p);
}

static uint64_t
fake_request(void *ctx, enum proc to, uint16_t type, const void *body,
    const void *var, size_t var_len, int64_t deadline, rest_reply_cb cb,
    void *arg)
{
	static const struct timeval now = { 0, 0 };
	struct pending *p = calloc(1, sizeof(*p));

	(void)ctx;
	assert_true(msg_allowed(type, PROC_REST, to));
	assert_true(deadline > clock_boot_ns());
	if (type == MSG_REQUEST) {
		assert_null(msg_check(type, body, var, var_len));
		if (((const struct msg_request *)body)->kind == REQUEST_WAKE)
			t.wakes++;
		else
			memcpy(&t.request, body, sizeof(t.request));
	} else if (type == MSG_DCS_SET_CONFIG) {
		assert_true(var_len < sizeof(t.document));
		memcpy(t.document, var, var_len);
		t.document[var_len] = '\0';
	} else if (type == MSG_DCS_SET_FAILOVER)
		memcpy(&t.failover, body, sizeof(t.failover));
	p->rest = t.rest;
	p->cb = cb;
	p->arg = arg;
	p->type = type;
	event_base_once(t.base, -1, EV_TIMEOUT, answer, p, &now);
	return 1;
}

static int
fake_notify(void *ctx, enum notify_kind kind)
{
	(void)ctx;
	t.reloads += kind == NOTIFY_RELOAD;
	return 0;
}

/* ---- harness ---- */

static void
configure(const char *restapi)
{
	char text[1024];
	struct tree *conf;

	snprintf(text, sizeof(text),
	    "{\"scope\": \"demo\", \"name\": \"n1\", "
	    "\"tags\": {\"zone\": \"a\", \"nosync\": false}, \"restapi\": {%s}}",
	    restapi);
	conf = tree_from_json(text, strlen(text), NULL, 0);
	assert_non_null(conf);
	assert_null(rest_configure(t.rest, conf));
	tree_free(conf);
}

static void
tell_status(enum pg_role role)
{
	struct msg_status s;
	int64_t now = clock_boot_ns();

	memset(&s, 0, sizeof(s));
	s.stamp_ns = now;
	s.ttl_ns = 30 * NS_PER_SEC;
	s.view_until_ns = s.next_run_ns = now + 30 * NS_PER_SEC;
	s.trusted_until_ns = role == ROLE_PRIMARY ? s.view_until_ns : 0;
	s.role = role;
	s.state = STATE_RUNNING;
	s.sql_ok = 1;
	s.in_recovery = role != ROLE_PRIMARY;
	s.failsafe_mode = 1;
	rest_status(t.rest, &s, NULL);
}

static void
add_member(struct view *v, const char *name)
{
	struct view_member *m;

	v->members = realloc(v->members, (v->nmembers + 1) * sizeof(*m));
	m = &v->members[v->nmembers++];
	memset(m, 0, sizeof(*m));
	strcpy(m->name, name);
	snprintf(m->conn_url, sizeof(m->conn_url),
	    "postgres://127.0.0.1:5432/postgres");
	snprintf(
	    m->api_url, sizeof(m->api_url), "http://127.0.0.1:8008/patroni");
	strcpy(m->state, "running");
	m->has_xlog_location = 1;
	m->xlog_location = 0x3000060;
	m->has_data = 1;
}

static int
setup(void **state)
{
	static const char config[] = "{\"ttl\":30,\"a\":{\"b\":1}}";
	static const struct rest_ops ops = { fake_request, fake_notify, NULL,
		NULL, NULL };
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int fd;

	(void)state;
	memset(&t, 0, sizeof(t));
	t.base = event_base_new();
	t.rest = rest_open(t.base, &ops);
	t.view = view_new();
	t.view->has_leader = 1;
	strcpy(t.view->leader, "n2");
	t.view->optime = 0x3000100;
	t.view->has_config = 1;
	t.view->config_modify = 7;
	t.view->config_token = 7;
	t.view->config = tree_from_json(config, strlen(config), NULL, 0);
	add_member(t.view, "n2");
	add_member(t.view, "n1");
	t.request_code = 200;
	strcpy(t.request_text, "done");
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == -1 ||
	    listen(fd, 64) == -1 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) == -1)
		return -1;
	t.port = ntohs(a.sin_port);
	configure("");
	tell_status(ROLE_REPLICA);
	return httpd_listen(t.rest->http, fd);
}

static int
teardown(void **state)
{
	(void)state;
	rest_close(t.rest);
	view_free(t.view);
	event_base_free(t.base);
	return 0;
}

static int
dial(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(t.port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	return fd;
}

/* Serve until the peer has closed, or want bytes came, or two seconds. */
static size_t
collect(int fd, char *out, size_t size, size_t want)
{
	int64_t end = clock_boot_ns() + 2 * NS_PER_SEC;
	size_t n = 0;
	ssize_t r;

	while (clock_boot_ns() < end && n < want) {
		event_base_loop(t.base, EVLOOP_NONBLOCK);
		r = recv(fd, out + n, size - 1 - n, 0);
		if (r == 0 || (r < 0 && errno != EAGAIN))
			break;
		if (r > 0)
			n += (size_t)r;
	}
	out[n] = '\0';
	return n;
}

static char reply[65536];

static const char *
talk(const char *raw)
{
	size_t len = strlen(raw), sent = 0;
	int fd = dial();
	ssize_t n;

	/* as much as the server is willing to take */
	while (sent < len) {
		n = send(fd, raw + sent, len - sent, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
		event_base_loop(t.base, EVLOOP_NONBLOCK);
	}
	collect(fd, reply, sizeof(reply), sizeof(reply));
	close(fd);
	return reply;
}

/* Status, with the body in *body. */
static int
call(const char *method, const char *path, const char *json, const char **body)
{
	static char raw[65536];
	const char *r, *b;

	if (json != NULL)
		snprintf(raw, sizeof(raw),
		    "%s %s HTTP/1.1\r\nHost: x\r\n"
		    "Content-Length: %zu\r\n\r\n%s",
		    method, path, strlen(json), json);
	else
		snprintf(raw, sizeof(raw), "%s %s HTTP/1.1\r\nHost: x\r\n\r\n",
		    method, path);
	r = talk(raw);
	b = strstr(r, "\r\n\r\n");
	if (body != NULL)
		*body = b == NULL ? "" : b + 4;
	return strlen(r) < 12 ? 0 : atoi(r + 9);
}

#define CALL(code, method, path, json, text)                                   \
	do {                                                                   \
		const char *b_;                                                \
		int c_ = call(method, path, json, &b_);                        \
		if (c_ != (code) || strcmp(b_, text) != 0)                     \
			fail_msg("%s %s %s: %d \"%s\", not %d \"%s\"", method, \
			    path, json == NULL ? "" : json, c_, b_, code,      \
			    text);                                             \
	} while (0)

#define CODE(code, method, path, json)                                         \
	do {                                                                   \
		int c_ = call(method, path, json, NULL);                       \
		if (c_ != (code))                                              \
			fail_msg("%s %s: %d, not %d", method, path, c_, code); \
	} while (0)

/* ---- tests ---- */

static void
test_wire(void **state)
{
	(void)state;
	assert_string_equal(
	    talk("HEAD /replica HTTP/1.1\r\n\r\n"), "HTTP/1.0 200 OK\r\n\r\n");
	assert_string_equal(talk("OPTIONS / HTTP/1.0\r\n\r\n"),
	    "HTTP/1.0 503 Service Unavailable\r\n\r\n");
	assert_string_equal(
	    talk("GET /liveness HTTP/1.0\r\n\r\n"), "HTTP/1.0 200 OK\r\n\r\n");
	assert_string_equal(talk("OPTIONS * HTTP/1.0\r\n\r\n"),
	    "HTTP/1.0 503 Service Unavailable\r\n\r\n");
	assert_string_equal(talk("HEAD /patroni HTTP/1.0\r\n\r\n"),
	    "HTTP/1.0 503 Service Unavailable\r\n\r\n");
	assert_string_equal(talk("\r\n"), "");
	assert_memory_equal(
	    talk("GET //replica HTTP/1.0\n\n"), "HTTP/1.0 200", 12);
	assert_memory_equal(
	    talk("GET http://h:1/replica?lag=1 HTTP/1.0\r\n\r\n"),
	    "HTTP/1.0 200", 12);
	assert_non_null(
	    strstr(reply, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(reply, "\r\n\r\n{\"state\": \"running\", "));
	assert_memory_equal(talk("GET\r\n\r\n"), "HTTP/1.0 400", 12);
	assert_non_null(strstr(reply, "Bad request syntax ('GET')"));
	assert_memory_equal(talk("GET / HTTP/x\r\n\r\n"), "HTTP/1.0 400", 12);
	assert_memory_equal(talk("GET / HTTP/2.0\r\n\r\n"), "HTTP/1.0 505", 12);
	assert_memory_equal(
	    talk("GET / HTTP/1.1\r\nno colon\r\n\r\n"), "HTTP/1.0 400", 12);
	assert_memory_equal(talk("BREW /pot HTTP/1.1\r\n\r\n"),
	    "HTTP/1.0 501 Unsupported method ('BREW')\r\n", 42);
	assert_non_null(
	    strstr(reply, "Server does not support this operation"));
	CODE(501, "DELETE", "/failover", NULL);
	CODE(501, "POST", "/", "{}");
}

static void
test_keep_alive(void **state)
{
	const char *two =
	    "GET /liveness HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"
	    "GET /cluster HTTP/1.1\r\nConnection: Keep-Alive\r\n\r\n"
	    "POST /failsafe HTTP/1.1\r\nConnection: keep-alive\r\n"
	    "Content-Length: 2\r\n\r\n{}"
	    "HEAD /health HTTP/1.1\r\n\r\n";
	const char *first = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
			    "Connection: keep-alive\r\n\r\nHTTP/1.1 200 OK\r\n";

	(void)state;
	talk(two);
	assert_memory_equal(reply, first, strlen(first));
	/* the error page in the middle closes */
	assert_non_null(strstr(reply, "\"scope\": \"demo\"}HTTP/1.0 400"));
	assert_null(strstr(reply, "HTTP/1.0 200"));
}

static void
test_slices(void **state)
{
	const char *raw = "PATCH /config HTTP/1.1\r\nContent-Length: 14\r\n"
			  "\r\n{\"a\": {\"c\":2}";
	int fd = dial();
	size_t i;

	(void)state;
	/* one byte short: nothing may be answered yet */
	for (i = 0; i < strlen(raw); i++) {
		assert_int_equal(send(fd, raw + i, 1, MSG_NOSIGNAL), 1);
		event_base_loop(t.base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(recv(fd, reply, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	assert_int_equal(httpd_stats(t.rest->http)->connections, 0);
	assert_int_equal(httpd_stats(t.rest->http)->buffered, 0);
}

static void
test_limits(void **state)
{
	static char raw[300000];
	int fd[200], i;

	(void)state;
	memset(raw, 'a', sizeof(raw) - 1);
	memcpy(raw, "GET /", 5);
	raw[90000] = '\0';
	assert_memory_equal(talk(raw), "HTTP/1.0 414", 12);
	strcpy(raw, "GET / HTTP/1.1\r\n");
	for (i = 0; i < 101; i++)
		strcat(raw, "A: b\r\n");
	strcat(raw, "\r\n");
	assert_memory_equal(talk(raw), "HTTP/1.0 431", 12);
	memset(raw, 'a', sizeof(raw) - 1);
	memcpy(raw, "GET / HTTP/1.1\r\nA: ", 19);
	raw[150000] = '\0';
	assert_memory_equal(talk(raw), "HTTP/1.0 431", 12);
	assert_memory_equal(talk("POST /restart HTTP/1.1\r\n"
				 "Content-Length: 99999999\r\n\r\n"),
	    "HTTP/1.0 413", 12);
	assert_memory_equal(talk("POST /restart HTTP/1.1\r\n"
				 "Content-Length: -1\r\n\r\n"),
	    "HTTP/1.0 400", 12);
	for (i = 0; i < 200; i++)
		fd[i] = dial();
	assert_string_equal(
	    talk("HEAD /health HTTP/1.1\r\n\r\n"), "HTTP/1.0 200 OK\r\n\r\n");
	for (i = 0; i < 200; i++)
		close(fd[i]);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	assert_int_equal(httpd_stats(t.rest->http)->buffered, 0);
}

static void
test_access(void **state)
{
	(void)state;
	configure(
	    "\"authentication\": {\"username\": \"u\", \"password\": \"p\"}");
	CALL(401, "POST", "/reload", NULL, "no auth header received");
	assert_non_null(
	    strstr(reply, "WWW-Authenticate: Basic realm=\"Patroni\""));
	talk("POST /reload HTTP/1.1\r\nAuthorization: Basic dTpq\r\n\r\n");
	assert_non_null(strstr(reply, "not authenticated"));
	talk("POST /reload HTTP/1.1\r\nAuthorization: basic dTpw\r\n\r\n");
	assert_non_null(strstr(reply, "not authenticated"));
	assert_int_equal(t.reloads, 0);
	talk("POST /reload HTTP/1.1\r\nAuthorization: Basic dTpw\r\n\r\n");
	assert_non_null(strstr(reply, "HTTP/1.0 202 Accepted"));
	assert_non_null(strstr(reply, "reload scheduled"));
	assert_int_equal(t.reloads, 1);
	CODE(200, "GET", "/config", NULL);
	configure("\"auth\": \"u:p\"");
	talk("POST /reload HTTP/1.1\r\nAuthorization: Basic dTpw\r\n\r\n");
	assert_int_equal(t.reloads, 2);
	configure("\"allowlist\": [\"10.0.0.0/8\"]");
	CALL(403, "POST", "/reload", NULL, "Access is denied");
	configure("\"allowlist\": [\"10.0.0.0/8\", \"127.0.0.3/8\"]");
	CODE(202, "POST", "/reload", NULL);
	configure("\"allowlist\": [\"no such name\"]"); /* fail closed */
	CODE(403, "POST", "/reload", NULL);
	configure("\"allowlist_include_members\": true");
	rest_view(t.rest, NULL);
	CODE(403, "POST", "/reload", NULL); /* no view yet */
	rest_view(t.rest, view_copy(t.view));
	CODE(202, "POST", "/reload", NULL);
	configure(
	    "\"http_extra_headers\": {\"X-A\": \"b\", \"X-C\": \"d\\r\\ne\"}");
	talk("GET /health HTTP/1.0\r\n\r\n");
	assert_non_null(strstr(reply, "\r\nX-A: b\r\n"));
	assert_null(strstr(reply, "X-C"));
}

static void
test_networks(void **state)
{
	struct sockaddr_storage peer;
	struct sockaddr_in6 *p = (struct sockaddr_in6 *)&peer;
	struct allow a;

	(void)state;
	memset(&peer, 0, sizeof(peer));
	p->sin6_family = AF_INET6;
	inet_pton(AF_INET6, "::ffff:10.1.2.3", &p->sin6_addr);
	assert_true(allow_parse("10.0.0.1/8", &a) && allow_match(&a, &peer));
	assert_true(
	    allow_parse("10.1.2.3/255.255.0.0", &a) && allow_match(&a, &peer));
	assert_true(allow_parse("10.1.2.2/31", &a) && allow_match(&a, &peer));
	assert_true(allow_parse("10.1.2.4/31", &a) && !allow_match(&a, &peer));
	assert_true(allow_parse("::/0", &a) && !allow_match(&a, &peer));
	assert_true(allow_parse("0.0.0.0/0", &a) && allow_match(&a, &peer));
	assert_false(allow_parse("10.0.0.0/33", &a));
	assert_false(allow_parse("10.0.0.0/255.0.255.0", &a));
	assert_false(allow_parse("host", &a));
	assert_false(allow_parse("", &a));
}

static void
test_cluster(void **state)
{
	const char *b;

	(void)state;
	assert_int_equal(call("GET", "/cluster", NULL, &b), 200);
	assert_string_equal(b,
	    "{\"members\": [{\"name\": \"n1\", \"role\": "
	    "\"replica\", \"state\": \"running\", \"api_url\": "
	    "\"http://127.0.0.1:8008/patroni\", \"host\": \"127.0.0.1\", "
	    "\"port\": 5432, \"receive_lag\": \"unknown\", \"receive_lsn\": "
	    "\"unknown\", \"replay_lag\": \"unknown\", \"replay_lsn\": "
	    "\"unknown\", \"lag\": 160, \"lsn\": \"0/3000060\"}, {\"name\": "
	    "\"n2\", \"role\": \"leader\", \"state\": \"running\", \"api_url\": "
	    "\"http://127.0.0.1:8008/patroni\", \"host\": \"127.0.0.1\", "
	    "\"port\": 5432}], \"scope\": \"demo\"}");
	CALL(200, "GET", "/history", NULL, "[]");
	t.store_down = true;
	t.rest->view_ns = 0;
	CALL(503, "GET", "/cluster", NULL, "DCS is not accessible");
	CODE(502, "GET", "/failsafe", NULL); /* seen: there is none */
	t.rest->view->has_failsafe = t.rest->view->failsafe_object = 1;
	CALL(200, "GET", "/failsafe", NULL, "{}");
}

/* Peers must never read numbers that nobody has just read. */
static void
test_patroni(void **state)
{
	(void)state;
	CODE(200, "GET", "/patroni", NULL);
	assert_non_null(strstr(reply, "\"xlog\": {"));
	assert_int_equal(t.request.kind, 0); /* new enough, nobody was asked */
	t.rest->snap.s.stamp_ns -= NS_PER_SEC;
	CODE(200, "GET", "/patroni", NULL);
	assert_int_equal(t.request.kind, REQUEST_STATUS);
	assert_non_null(strstr(reply, "\"xlog\": {"));
	t.nobody_home = true;
	CODE(200, "GET", "/patroni", NULL);
	assert_null(strstr(reply, "xlog"));
	assert_non_null(strstr(reply, "\"state\": \"unknown\""));
	CODE(200, "GET", "/replica", NULL); /* health checks ask nobody */
	assert_non_null(strstr(reply, "\"xlog\": {"));
	t.nobody_home = false;
	t.request_code = 501;
	CODE(200, "GET", "/patroni", NULL);
	assert_non_null(strstr(reply, "\"xlog\": {"));
	t.rest->snap.s.stamp_ns -= 60 * NS_PER_SEC;
	CODE(503, "GET", "/patroni", NULL);
	assert_null(strstr(reply, "xlog"));
}

static void
test_config(void **state)
{
	const char *b;

	(void)state;
	CALL(200, "GET", "/config", NULL, "{\"ttl\": 30, \"a\": {\"b\": 1}}");
	CALL(200, "PATCH", "/config", "{\"ttl\": null, \"a\": {\"c\": \"x\"}}",
	    "{\"a\": {\"b\": 1, \"c\": \"x\"}}");
	assert_string_equal(t.document, "{\"a\":{\"b\":1,\"c\":\"x\"}}");
	assert_int_equal(t.wakes, 1);
	t.document[0] = '\0';
	CALL(200, "PATCH", "/config", "{\"ttl\": \"30\"}",
	    "{\"ttl\": 30, \"a\": {\"b\": 1}}");
	assert_string_equal(t.document, ""); /* no change, no write */
	CALL(200, "PUT", "/config", "{\"x\": 1}", "{\"x\": 1}");
	assert_string_equal(t.document, "{\"x\":1}");
	CODE(411, "PATCH", "/config", NULL);
	CODE(400, "PATCH", "/config", "");
	CODE(400, "PATCH", "/config", "{}");
	CODE(400, "PATCH", "/config", "[1]");
	CODE(400, "PATCH", "/config", "{\"a\": NaN}");
	CODE(400, "PATCH", "/config", "{\"a\": ");
	t.outcome = OUTCOME_REFUSED;
	CODE(409, "PATCH", "/config", "{\"ttl\": 20}");
	CODE(502, "PUT", "/config", "{\"ttl\": 20}");
	t.outcome = OUTCOME_UNKNOWN;
	CODE(503, "PATCH", "/config", "{\"ttl\": 20}");
	t.outcome = OUTCOME_OK;
	t.view->config_modify = 0;
	CODE(503, "PATCH", "/config", "{\"ttl\": 20}");
	CODE(502, "GET", "/config", NULL);
	t.store_down = true;
	assert_int_equal(call("PATCH", "/config", "{\"a\": 1}", &b), 503);
}

static void
test_restart(void **state)
{
	static const char role[] = "PostgreSQL role should be either primary, "
				   "standby_leader, or replica";
	static const char when[] =
	    "Unable to parse scheduled timestamp. It should "
	    "be in an unambiguous format, e.g. ISO 8601";

	(void)state;
	CALL(200, "POST", "/restart", NULL, "done");
	assert_int_equal(t.request.kind, REQUEST_RESTART);
	assert_int_equal(t.request.timeout, -1);
	CALL(200, "POST", "/restart",
	    "{\"role\": \"master\", \"timeout\": \"1min\", "
	    "\"postgres_version\": \"9.6.24\", \"restart_pending\": false}",
	    "done");
	assert_int_equal(t.request.role, ROLE_PRIMARY);
	assert_int_equal(t.request.timeout, 60);
	assert_int_equal(t.request.postgres_version, 90624);
	assert_int_equal(t.request.restart_pending, 1);
	CALL(
	    400, "POST", "/restart", "{\"role\": \"x\", \"timeout\": 0}", role);
	CALL(400, "POST", "/restart", "{\"timeout\": 0, \"role\": \"x\"}",
	    "Timeout should be a positive number of seconds");
	CALL(400, "POST", "/restart", "{\"postgres_version\": \"9.6\"}",
	    "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 9.6");
	CALL(400, "POST", "/restart", "{\"postgres_version\": \"16.x\"}",
	    "Invalid PostgreSQL version: 16.x");
	CALL(400, "POST", "/restart", "{\"y\": 1}",
	    "Unknown filter for the scheduled restart: y");
	CALL(422, "POST", "/restart", "{\"schedule\": null}", when);
	CALL(400, "POST", "/restart", "{\"schedule\": \"2999-01-01 10:00\"}",
	    "Timezone information is mandatory for the scheduled restart");
	CALL(422, "POST", "/restart", "{\"schedule\": \"1999-01-01T10:00Z\"}",
	    "Cannot schedule restart in the past");
	t.request_code = 202;
	CALL(202, "POST", "/restart", "{\"schedule\": \"2999-01-01T10:00Z\"}",
	    "done");
	assert_int_equal(t.request.kind, REQUEST_SCHEDULE_RESTART);
	assert_string_equal(t.request.schedule, "2999-01-01T10:00:00+00:00");
	tree_set(t.view->config, "pause", tree_bool(true));
	CALL(500, "POST", "/restart", "{\"schedule\": \"x\"}",
	    "Can't schedule restart in the paused state");
	CODE(400, "POST", "/restart", "{");
	t.request_code = 404;
	CODE(404, "DELETE", "/restart", NULL);
	assert_int_equal(t.request.kind, REQUEST_CANCEL_RESTART);
	t.nobody_home = true;
	CALL(503, "POST", "/restart", NULL, "postgres is still starting");
}

static void
test_switchover(void **state)
{
	(void)state;
	CALL(400, "POST", "/failover", "{\"leader\": \"n2\"}",
	    "Failover could be performed only to a specific candidate");
	CALL(400, "POST", "/switchover", "{\"candidate\": \"n1\"}",
	    "Switchover could be performed only from a specific leader");
	CALL(400, "POST", "/failover",
	    "{\"candidate\": \"n1\", \"scheduled_at\": "
	    "\"x\"}",
	    "Failover can't be scheduled");
	CALL(400, "POST", "/switchover",
	    "{\"leader\": \"n2\", \"candidate\": "
	    "\"n2\"}",
	    "Switchover target and source are the same");
	CALL(412, "POST", "/switchover", "{\"leader\": \"n1\"}",
	    "leader name does not match");
	CALL(412, "POST", "/switchover",
	    "{\"leader\": \"n2\", \"candidate\": "
	    "\"n9\"}",
	    "candidate does not exists");
	CALL(412, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "switchover is not possible: no good candidates have been found");
	CODE(400, "POST", "/switchover", "{\"leader\": 5}");
	t.reachable = 1;
	t.outcome = OUTCOME_REFUSED;
	CALL(503, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "failed to write failover key into DCS");
	t.outcome = OUTCOME_OK;
	CALL(202, "POST", "/switchover",
	    "{\"leader\": \"n2\", \"scheduled_at\": "
	    "\"2999-01-01T10:00+02\"}",
	    "Switchover scheduled");
	assert_string_equal(
	    t.failover.scheduled_at, "2999-01-01T10:00:00+02:00");
	/* the key is there and empty again: it failed, one round later */
	CALL(503, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "Switchover failed");
	assert_string_equal(t.failover.leader, "n2");
	tree_set(t.view->config, "synchronous_mode", tree_bool(true));
	CALL(412, "POST", "/switchover",
	    "{\"leader\": \"n2\", \"candidate\": "
	    "\"n1\"}",
	    "candidate name does not match with sync_standby");
	CALL(412, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "switchover is not possible: can not find sync_standby");
	tree_set(t.view->config, "pause", tree_bool(true));
	CALL(400, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "Switchover is possible only to a specific candidate in a paused "
	    "state");
	CALL(404, "DELETE", "/switchover", NULL, "no switchover is scheduled");
	t.view->has_failover = t.view->failover_scheduled = 1;
	strcpy(t.view->failover_leader, "n2");
	CALL(
	    200, "DELETE", "/switchover", NULL, "scheduled switchover deleted");
	t.outcome = OUTCOME_REFUSED;
	CODE(409, "DELETE", "/switchover", NULL);
}

static void
other_leads(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	strcpy(t.view->leader, "n1");
}

static void
test_switchover_done(void **state)
{
	static const struct timeval soon = { 0, 200000 };

	(void)state;
	t.reachable = 1;
	t.view->has_failover = 1;
	strcpy(t.view->failover_leader, "n2");
	event_base_once(t.base, -1, EV_TIMEOUT, other_leads, NULL, &soon);
	CALL(200, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "Successfully switched over to \"n1\"");
}

static void
test_others(void **state)
{
	(void)state;
	strcpy(t.request_text, "Accepted");
	CALL(200, "POST", "/failsafe",
	    "{\"name\": \"n2\", \"conn_url\": \"c\", "
	    "\"api_url\": \"a\", \"slots\": {\"n1\": 5}}",
	    "Accepted");
	assert_non_null(strstr(reply, "\r\nlsn: 4711\r\n"));
	assert_string_equal(t.request.name, "n2");
	CODE(400, "POST", "/failsafe", "{\"name\": \"n2\"}");
	CODE(411, "POST", "/failsafe", NULL);
	t.rest->snap.s.failsafe_mode = 0;
	CODE(502, "POST", "/failsafe", NULL);
	CALL(200, "POST", "/reinitialize", "{\"force\": \"on\"}", "Accepted");
	assert_int_equal(t.request.force, 1);
	assert_int_equal(t.request.from_leader, 0);
	strcpy(t.view->leader, "n1");
	CALL(503, "POST", "/reinitialize", NULL,
	    "I am the leader, can not reinitialize");
	t.view->leader[0] = '\0';
	CALL(503, "POST", "/reinitialize", NULL,
	    "Cluster has no leader, can not reinitialize");
	CALL(202, "POST", "/sigterm", NULL, "shutdown scheduled");
	CALL(200, "POST", "/citus", "{\"type\": \"x\"}", "OK");
}

/* Every path and method of the description is answered, not with 501. */
static void
test_openapi(void **state)
{
	struct tree *doc, *paths, *p;
	char method[16];
	uint32_t i, j, k;
	int code;

	(void)state;
	doc = tree_from_json(openapi_json, strlen(openapi_json), NULL, 0);
	paths = tree_get(doc, "paths");
	assert_true(tree_count(paths) > 30);
	for (i = 0; i < tree_count(paths); i++) {
		p = tree_child(paths, i);
		for (j = 0; j < tree_count(p); j++) {
			snprintf(method, sizeof(method), "%s",
			    tree_child(p, j)->key);
			for (k = 0; method[k] != '\0'; k++)
				method[k] = (char)(method[k] - 'a' + 'A');
			code = call(method, p->key, NULL, NULL);
			if (code == 0 || code == 501)
				fail_msg("%s %s: %d", method, p->key, code);
			snprintf(method, sizeof(method), "%d", code);
			if (tree_get(tree_get(tree_child(p, j), "responses"),
				method) == NULL)
				fail_msg("%s %s: %d is not described",
				    tree_child(p, j)->key, p->key, code);
		}
	}
	tree_free(doc);
}

static void
test_schedule(void **state)
{
	static const struct {
		const char *text, *iso;
		int code;
	} row[] = {
		{ "2030-01-02T03:04:05.6+02:30",
		    "2030-01-02T03:04:05.600000+02:30", 0 },
		{ "2030-01-02 03:04:05,1234567 Z",
		    "2030-01-02T03:04:05.123456+00:00", 0 },
		{ "20300102T030405-5", "2030-01-02T03:04:05-05:00", 0 },
		{ "2030-01-02 UTC", "2030-01-02T00:00:00+00:00", 0 },
		{ "2030-01-02 10:00 GMT+3", "2030-01-02T10:00:00-03:00", 0 },
		{ "09/10/2030 10:00 +0530", "2030-09-10T10:00:00+05:30", 0 },
		{ "2028-02-29T00:00Z", "2028-02-29T00:00:00+00:00", 0 },
		{ "2030-02-29T00:00Z", "", 422 },
		{ "2030-01-02 24:00Z", "", 422 },
		{ "2030-13-02 10:00Z", "", 422 },
		{ "2030-001", "", 422 },
		{ "2030-W01-1", "", 422 },
		{ "2030-01-02T10:00+01:00:30", "", 422 },
		{ "now", "", 422 },
		{ "", "", 422 },
		{ "2030-01-02T10:00", "", 400 },
		{ "2030-01-02 10:00 CET", "", 400 },
		{ "2020-01-02T10:00Z", "", 422 },
	};
	char iso[WORD_SIZE], error[256];
	int64_t at;
	size_t i;
	int code;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		code = schedule_parse(row[i].text, INT64_C(1790000000000000),
		    "restart", &at, iso, error, sizeof(error));
		if (code != row[i].code ||
		    (code == 0 && strcmp(iso, row[i].iso) != 0))
			fail_msg("%s: %d %s", row[i].text, code,
			    code == 0 ? iso : error);
	}
	assert_int_equal(schedule_parse("2030-01-02T03:04:05+01:00", 0, "x",
			     &at, iso, error, sizeof(error)),
	    0);
	assert_true(at == INT64_C(1893549845000000));
	/* a time alone is today */
	assert_int_equal(schedule_parse("23:00Z", INT64_C(1790000000000000),
			     "x", &at, iso, error, sizeof(error)),
	    0);
	assert_string_equal(iso, "2026-09-21T23:00:00+00:00");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_wire),
		T(test_keep_alive),
		T(test_slices),
		T(test_limits),
		T(test_access),
		T(test_networks),
		T(test_cluster),
		T(test_patroni),
		T(test_config),
		T(test_restart),
		T(test_switchover),
		T(test_switchover_done),
		T(test_others),
		T(test_openapi),
		T(test_schedule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
