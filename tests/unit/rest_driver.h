/*
 * rest_driver.h: the REST server on a loopback socket in the test's process,
 * with a stand-in for the postgres and dcs helpers.
 */
#ifndef TESTS_UNIT_REST_DRIVER_H
#define TESTS_UNIT_REST_DRIVER_H

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
#include "ipc/log.h"
#include "rest/rest.h"

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
	bool nofailover, watchdog_failed;
	int wakes, reloads, lookups;
	const char *addresses; /* RESOLVE: JSON map, NULL = none */
} t;

static inline void
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
		peer.tags.nofailover = t.nofailover;
		peer.watchdog_failed = t.watchdog_failed;
		m.hdr.type = MSG_DCS_PEERS;
		m.hdr.var_len = sizeof(peer);
		m.body = &peers;
		m.var = (const uint8_t *)&peer;
		break;
	case MSG_DCS_RESOLVE:
		m.hdr.type = MSG_DCS_ADDRESSES;
		if (t.addresses != NULL) {
			struct tree *map = tree_from_json(
			    t.addresses, strlen(t.addresses), NULL, 0);

			assert_true(tree_encode(map, &var, &len));
			tree_free(map);
		}
		m.hdr.var_len = (uint32_t)len;
		m.var = var;
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

static inline uint64_t
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
	} else if (type == MSG_DCS_RESOLVE)
		t.lookups++;
	else if (type == MSG_DCS_SET_FAILOVER)
		memcpy(&t.failover, body, sizeof(t.failover));
	p->rest = t.rest;
	p->cb = cb;
	p->arg = arg;
	p->type = type;
	event_base_once(t.base, -1, EV_TIMEOUT, answer, p, &now);
	return 1;
}

static inline int
fake_notify(void *ctx, enum notify_kind kind)
{
	(void)ctx;
	t.reloads += kind == NOTIFY_RELOAD;
	return 0;
}

/* ---- harness ---- */

static inline void
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

static inline void
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

static inline void
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

static inline int
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

static inline int
teardown(void **state)
{
	(void)state;
	rest_close(t.rest);
	view_free(t.view);
	event_base_free(t.base);
	return 0;
}

static inline int
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
static inline size_t
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
static inline int
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

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
