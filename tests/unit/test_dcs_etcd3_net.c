/*
 * test_dcs_etcd3_net.c: the way to etcd: dead and hanging endpoints, lost
 * answers, login and TLS.
 */
#include "dcs_driver.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "../../dcs/http.h"

/* ---- endpoints ---- */

static struct tree *
two_hosts(const char *name, const char *scope, int first)
{
	struct tree *t = conf_tree(name, scope, 10);
	char hosts[80];

	snprintf(hosts, sizeof(hosts), "127.0.0.1:%d,127.0.0.1:%d", first,
	    etcd_port);
	tree_set(tree_get(t, "etcd3"), "hosts", tree_text(hosts));
	return t;
}

static void
test_dead_endpoint(void **state)
{
	struct client *a =
	    client_of(two_hosts("a", "dead", free_port()), false);

	(void)state;
	expect_leader(a, "");
	assert_int_equal(acquire(a), OUTCOME_OK);
	client_free(a);
}

static void
test_hanging_endpoint(void **state)
{
	struct sockaddr_in s = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct client *a;
	socklen_t len = sizeof(s);

	(void)state;
	s.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&s, sizeof(s)), 0);
	assert_int_equal(listen(fd, 16), 0); /* accepts, never answers */
	getsockname(fd, (struct sockaddr *)&s, &len);
	a = client_of(two_hosts("a", "hang", ntohs(s.sin_port)), false);
	expect_leader(a, "");
	assert_int_equal(acquire(a), OUTCOME_OK);
	assert_int_equal(update(a), OUTCOME_OK);
	client_free(a);
	close(fd);
}

/* ---- lost answers ---- */

/*
 * A proxy that loses answers: requests of one path reach the store, what
 * comes back is thrown away and the connection closed, `drop` times.  Or one
 * that falls silent: the first `silent` watches hear nothing more, and their
 * connections stay.
 */
struct proxy {
	struct evconnlistener *listener;
	const char *path;
	int drop, port;
	int watches, silent, ranges; /* begun */
};

struct pipe {
	struct proxy *proxy;
	struct bufferevent *client, *server;
	bool dropping;
	int watch; /* which one, 0 = none */
};

static void
pipe_free(struct pipe *p)
{
	bufferevent_free(p->client);
	bufferevent_free(p->server);
	free(p);
}

static bool
asks_for(struct evbuffer *in, const char *path)
{
	return evbuffer_search(in, path, strlen(path), NULL).pos >= 0;
}

static void
pipe_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct pipe *p = arg;

	if (bev == p->client && asks_for(in, "/kv/range"))
		p->proxy->ranges++;
	if (bev == p->client && asks_for(in, "/watch"))
		p->watch = ++p->proxy->watches;
	if (bev == p->server && p->watch != 0 && p->watch <= p->proxy->silent) {
		evbuffer_drain(in, evbuffer_get_length(in));
		return;
	}
	if (bev == p->server && p->dropping) {
		p->proxy->drop--;
		pipe_free(p);
		return;
	}
	if (bev == p->client && p->proxy->drop > 0 &&
	    asks_for(in, p->proxy->path))
		p->dropping = true;
	bufferevent_write_buffer(bev == p->client ? p->server : p->client, in);
}

static void
pipe_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		pipe_free(arg);
}

static void
proxy_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa,
    int len, void *arg)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct pipe *p = calloc(1, sizeof(*p));

	(void)l;
	(void)sa;
	(void)len;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)etcd_port);
	p->proxy = arg;
	p->client = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	p->server = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_socket_connect(p->server, (struct sockaddr *)&a, sizeof(a));
	bufferevent_setcb(p->client, pipe_read, NULL, pipe_event, p);
	bufferevent_setcb(p->server, pipe_read, NULL, pipe_event, p);
	bufferevent_enable(p->client, EV_READ | EV_WRITE);
	bufferevent_enable(p->server, EV_READ | EV_WRITE);
}

static void
proxy_start(struct proxy *p)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)(p->port = free_port()));
	p->listener = evconnlistener_new_bind(base, proxy_accept, p,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 8, (struct sockaddr *)&a,
	    sizeof(a));
	assert_non_null(p->listener);
}

static struct client *
behind(const struct proxy *p, const char *name, const char *scope)
{
	struct tree *conf = conf_tree(name, scope, 10);
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d", p->port);
	tree_set(tree_get(conf, "etcd3"), "proxy", tree_text(url));
	return client_of(conf, false);
}

static void
test_lost_answer(void **state)
{
	static struct proxy p = { .path = "/kv/txn" };
	struct msg_dcs_sync m = { .with_token = 1 };
	struct msg_dcs_failover f = { .member = "b" };
	struct answer r = { 0 };
	struct client *a;

	(void)state;
	proxy_start(&p);
	a = behind(&p, "a", "lost");
	expect_leader(a, "");
	/* won, but the answers are lost: repeated and found won; two, since
	 * curl itself repeats once when a kept connection breaks */
	p.drop = 2;
	dcs_acquire(a->dcs, in_ms(3000), on_answer, &r);
	if (wait_for(&r) != OUTCOME_OK)
		fail_msg("%s", r.error);
	assert_int_equal(p.drop, 0);
	memset(&r, 0, sizeof(r));
	expect_leader(a, "a");
	text_set(m.leader, sizeof(m.leader), "a");
	m.with_token = 0;
	dcs_set_sync(a->dcs, &m, NULL, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	m.with_token = 1;
	m.token = r.token;
	m.quorum = 1;
	p.drop = 2;
	memset(&r, 0, sizeof(r));
	dcs_set_sync(a->dcs, &m, NULL, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	assert_true(r.token > m.token);
	p.path = "/kv/put"; /* not repeated: it may or may not be there */
	p.drop = 2;
	memset(&r, 0, sizeof(r));
	dcs_set_failover(a->dcs, &f, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_UNKNOWN);
	client_free(a);
	evconnlistener_free(p.listener);
	run_for(50, NULL);
}

/* ---- a silent watch ---- */

/*
 * Requests are answered, the stream stays open and says nothing.  One that
 * writes misses its own writes; one that only renews its lease sees the
 * store's revision go on.
 */
static void
test_silent_watch(void **state)
{
	static struct proxy p = { .path = "" };
	struct client *a, *b, *c = client_new("c", "silent", 10);
	int64_t end = in_ms(20000);
	uint64_t lsn = 1;

	(void)state;
	proxy_start(&p);
	a = behind(&p, "a", "silent");
	b = behind(&p, "b", "silent");
	assert_int_equal(touch(b, 1), OUTCOME_OK);
	expect_leader(a, "");
	expect_leader(b, "");
	while (p.watches < 2)
		run_for(10, NULL);
	run_for(200, NULL);
	p.silent = p.watches;
	a->wake = b->wake = 0;
	assert_int_equal(acquire(c), OUTCOME_OK);
	run_for(200, NULL);
	assert_int_equal(a->wake | b->wake, 0); /* silent indeed */
	expect_leader(a, "");
	while ((a->wake & b->wake & (1u << WAKE_LEADER)) == 0 &&
	    clock_boot_ns() < end) {
		assert_int_equal(touch(a, ++lsn), OUTCOME_OK);
		assert_int_equal(touch(b, 1), OUTCOME_OK);
		run_for(500, NULL);
	}
	expect_leader(a, "c");
	expect_leader(b, "c");
	client_free(a);
	client_free(b);
	client_free(c);
	evconnlistener_free(p.listener);
	run_for(50, NULL);
}

/* Others write into the same store: that is no silence, and looking whether
 * it is one costs a request a minute at most. */
static void
test_foreign_writes(void **state)
{
	static struct proxy p = { .path = "" };
	struct client *a, *other = client_new("x", "other", 10);
	int64_t end = in_ms(14000);
	uint64_t lsn = 1;

	(void)state;
	proxy_start(&p);
	a = behind(&p, "a", "mine");
	expect_leader(a, "");
	while (p.watches == 0)
		run_for(10, NULL);
	p.ranges = 0;
	while (clock_boot_ns() < end) {
		assert_int_equal(touch(a, 1), OUTCOME_OK);
		assert_int_equal(touch(other, ++lsn), OUTCOME_OK);
		run_for(300, NULL);
	}
	assert_int_equal(p.ranges, 1);
	assert_int_equal(p.watches, 1);
	client_free(a);
	client_free(other);
	evconnlistener_free(p.listener);
	run_for(50, NULL);
}

/* ---- login and TLS ---- */

struct post {
	uint32_t done;
	long status;
};

static void
on_post(const struct http_answer *a, void *arg)
{
	struct post *p = arg;

	p->status = a->error == HTTP_OK ? a->status : -1;
	p->done = 1;
}

static void
post(struct http *h, const char *path, const char *body, const char *token)
{
	const char *headers[2] = { token, NULL };
	char url[128];
	struct http_spec s = { .method = "POST",
		.url = url,
		.body = body,
		.body_len = strlen(body),
		.headers = headers,
		.deadline = in_ms(3000),
		.max_body = 65536 };
	struct post p = { 0 };

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/v3/auth/%s", etcd_port,
	    path);
	assert_non_null(http_start(h, &s, on_post, &p));
	run_for(5000, &p.done);
	assert_int_equal(p.status, 200);
}

static void
test_login(void **state)
{
	struct http *h = http_new(base);
	struct tree *conf = conf_tree("a", "login", 5);
	struct client *a;
	struct answer r = { 0 };
	char err[TEXT_SIZE];

	(void)state;
	post(h, "role/add", "{\"name\":\"root\"}", NULL);
	post(
	    h, "user/add", "{\"name\":\"root\",\"password\":\"s\\\"x\"}", NULL);
	post(h, "user/grant", "{\"user\":\"root\",\"role\":\"root\"}", NULL);
	a = client_new("a", "login", 5); /* no credentials */
	expect_leader(a, "");
	post(h, "enable", "{}", NULL);
	assert_int_equal(acquire(a), OUTCOME_REFUSED);
	tree_set(tree_get(conf, "etcd3"), "username", tree_text("root"));
	tree_set(tree_get(conf, "etcd3"), "password", tree_text("s\"x"));
	assert_true(dcs_reload(a->dcs, conf, err, sizeof(err)));
	assert_int_equal(acquire(a), OUTCOME_OK);
	expect_leader(a, "a");
	/* tokens of the simple kind die with the server: log in again */
	etcd_stop(SIGTERM);
	etcd_start(false);
	assert_int_equal(update_at(a, &r, 8000), OUTCOME_OK);
	expect_leader(a, "a");
	client_free(a);
	a = client_of(conf, false);
	expect_leader(a, "a");
	client_free(a);
	http_free(h);
}

static void
certificate(const char *name, const char *extra)
{
	char cmd[1024];

	snprintf(cmd, sizeof(cmd),
	    "cd %s && openssl req -newkey rsa:2048 "
	    "-nodes -subj /CN=%s -keyout %s.key -out %s.csr 2>/dev/null && "
	    "printf '%s' > ext && openssl x509 -req -in %s.csr -CA ca.crt "
	    "-CAkey ca.key -CAcreateserial -days 2 -extfile ext -out %s.crt "
	    "2>/dev/null",
	    dir, name, name, name, extra, name, name);
	assert_int_equal(system(cmd), 0);
}

static struct tree *
tls_conf(bool client_cert)
{
	struct tree *conf = conf_tree("a", "tls", 5), *s;
	char path[64];

	s = tree_get(conf, "etcd3");
	tree_set(s, "protocol", tree_text("https"));
	snprintf(path, sizeof(path), "%s/ca.crt", dir);
	tree_set(s, "cacert", tree_text(path));
	if (!client_cert)
		return conf;
	snprintf(path, sizeof(path), "%s/client.crt", dir);
	tree_set(s, "cert", tree_text(path));
	snprintf(path, sizeof(path), "%s/client.key", dir);
	tree_set(s, "key", tree_text(path));
	return conf;
}

static void
test_tls(void **state)
{
	struct answer r = { 0 };
	struct client *a;
	char cmd[256];

	(void)state;
	etcd_stop(SIGKILL);
	snprintf(cmd, sizeof(cmd),
	    "cd %s && openssl req -x509 -newkey "
	    "rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt "
	    "2>/dev/null",
	    dir);
	assert_int_equal(system(cmd), 0);
	certificate("server",
	    "subjectAltName=IP:127.0.0.1\n"
	    "extendedKeyUsage=serverAuth,clientAuth");
	certificate("client", "extendedKeyUsage=clientAuth");
	etcd_start(true);
	a = client_of(tls_conf(true), false);
	expect_leader(a, "");
	assert_int_equal(acquire(a), OUTCOME_OK);
	client_free(a);
	a = client_of(tls_conf(false), false); /* no client certificate */
	dcs_load(a->dcs, in_ms(2500), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_FAILED);
	client_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dead_endpoint),
		cmocka_unit_test(test_hanging_endpoint),
		cmocka_unit_test(test_lost_answer),
		cmocka_unit_test(test_silent_watch),
		cmocka_unit_test(test_foreign_writes),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_tls), /* last: another etcd */
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
