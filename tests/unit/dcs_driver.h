/*
 * dcs_driver.h: a real etcd on loopback and clients of dcs.h before it, for
 * the unit tests of the store's driver.
 */
#ifndef TESTS_UNIT_DCS_DRIVER_H
#define TESTS_UNIT_DCS_DRIVER_H

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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
#include <event2/event.h>

#include "../../dcs/dcs.h"
#include "../../ipc/clock.h"

#define ETCD "/usr/bin/etcd"

static struct event_base *base;
static char dir[] = "/tmp/test_dcs.XXXXXX";
static pid_t etcd_pid;
static int etcd_port, peer_port;

/* ---- the store ---- */

static inline int
free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0), port;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	port = ntohs(a.sin_port);
	close(fd);
	return port;
}

static inline pid_t
spawn(char *const argv[])
{
	char log[64];
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	snprintf(log, sizeof(log), "%s/log", dir);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* an aborted test leaves nothing */
	execv(argv[0], argv);
	_exit(127);
}

/* tls: serve https and ask for client certificates. */
static inline void
etcd_start(bool tls)
{
	const char *scheme = tls ? "https" : "http";
	char data[64], client[64], peer[64], cluster[80], ca[64], crt[64],
	    key[64];
	char *argv[32] = { (char *)(uintptr_t)ETCD };
	int n = 1;

	snprintf(data, sizeof(data), "%s/data%s", dir, tls ? "-tls" : "");
	snprintf(
	    client, sizeof(client), "%s://127.0.0.1:%d", scheme, etcd_port);
	snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", peer_port);
	snprintf(cluster, sizeof(cluster), "default=%s", peer);
	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	snprintf(crt, sizeof(crt), "%s/server.crt", dir);
	snprintf(key, sizeof(key), "%s/server.key", dir);
#define ARG(s) argv[n++] = (char *)(uintptr_t)(s)
	ARG("--data-dir");
	ARG(data);
	ARG("--listen-client-urls");
	ARG(client);
	ARG("--advertise-client-urls");
	ARG(client);
	ARG("--listen-peer-urls");
	ARG(peer);
	ARG("--initial-advertise-peer-urls");
	ARG(peer);
	ARG("--initial-cluster");
	ARG(cluster);
	if (tls) {
		ARG("--trusted-ca-file");
		ARG(ca);
		ARG("--cert-file");
		ARG(crt);
		ARG("--key-file");
		ARG(key);
		ARG("--client-cert-auth");
	}
#undef ARG
	etcd_pid = spawn(argv);
	assert_true(etcd_pid > 0);
}

static inline void
etcd_stop(int sig)
{
	if (etcd_pid <= 0)
		return;
	kill(etcd_pid, SIGCONT);
	kill(etcd_pid, sig);
	waitpid(etcd_pid, NULL, 0);
	etcd_pid = 0;
}

/* ---- clients ---- */

struct client {
	struct dcs *dcs;
	uint32_t wake, keys;
};

static inline void
changed(uint32_t keys, uint32_t wake, void *arg)
{
	struct client *c = arg;

	c->keys |= keys;
	if (wake != 0)
		c->wake |= 1u << wake;
}

static inline struct tree *
conf_tree(const char *name, const char *scope, int ttl)
{
	struct tree *t = tree_map(), *s = tree_map();
	char hosts[64];

	snprintf(hosts, sizeof(hosts), "127.0.0.1:%d", etcd_port);
	tree_set(t, "name", tree_text(name));
	tree_set(t, "scope", tree_text(scope));
	tree_set(t, "ttl", tree_int(ttl));
	tree_set(t, "loop_wait", tree_int(1));
	tree_set(t, "retry_timeout", tree_int(3));
	tree_set(s, "hosts", tree_text(hosts));
	tree_set(t, "etcd3", s);
	return t;
}

static inline struct client *
client_of(struct tree *conf, bool ctl)
{
	static const struct dcs_callbacks callbacks = { changed };
	struct client *c = calloc(1, sizeof(*c));
	char err[TEXT_SIZE] = "";

	c->dcs = dcs_open(base, conf, ctl, &callbacks, c, err, sizeof(err));
	if (c->dcs == NULL)
		fail_msg("dcs_open: %s", err);
	tree_free(conf);
	return c;
}

static inline struct client *
client_new(const char *name, const char *scope, int ttl)
{
	return client_of(conf_tree(name, scope, ttl), false);
}

static inline void
client_free(struct client *c)
{
	dcs_close(c->dcs);
	free(c);
}

static inline void
stop_loop(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
	event_base_loopbreak(base);
}

/* Let the loop run; it ends early when *flag becomes non-zero. */
static inline void
run_for(int ms, const uint32_t *flag)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	bool over = false;
	struct event *ev = evtimer_new(base, stop_loop, &over);

	evtimer_add(ev, &tv);
	while (!over && (flag == NULL || *flag == 0))
		event_base_loop(base, EVLOOP_ONCE);
	event_free(ev);
}

struct answer {
	uint32_t done;
	enum outcome outcome;
	int64_t token, sent_ns, ns;
	struct view *view;
	char error[TEXT_SIZE];
};

static inline void
on_answer(const struct dcs_reply *r, void *arg)
{
	struct answer *a = arg;

	assert_int_equal(a->done, 0);
	a->done = 1;
	a->outcome = r->outcome;
	a->token = r->token;
	a->sent_ns = r->sent_ns;
	a->view = r->view == NULL ? NULL : view_copy(r->view);
	snprintf(a->error, sizeof(a->error), "%s", r->error);
}

static int64_t
in_ms(int ms)
{
	return clock_boot_ns() + ms * NS_PER_MS;
}

static inline enum outcome
wait_for(struct answer *a)
{
	run_for(20000, &a->done);
	assert_true(a->done);
	return a->outcome;
}

static inline struct view *
load(struct client *c)
{
	struct answer a = { 0 };

	dcs_load(c->dcs, in_ms(8000), on_answer, &a);
	if (wait_for(&a) != OUTCOME_OK)
		fail_msg("load: %s", a.error);
	return a.view;
}

static inline enum outcome
acquire(struct client *c)
{
	struct answer a = { 0 };

	dcs_acquire(c->dcs, in_ms(3000), on_answer, &a);
	return wait_for(&a);
}

static inline enum outcome
update_at(struct client *c, struct answer *a, int ms)
{
	struct msg_dcs_update m = { 0 };

	memset(a, 0, sizeof(*a));
	dcs_update(c->dcs, &m, NULL, in_ms(ms), on_answer, a);
	return wait_for(a);
}

static inline enum outcome
update(struct client *c)
{
	struct answer a;

	return update_at(c, &a, 3000);
}

static inline enum outcome
touch(struct client *c, uint64_t lsn)
{
	struct msg_dcs_touch m = { .state = STATE_RUNNING,
		.role = ROLE_REPLICA,
		.has_lsn = 1,
		.xlog_location = lsn };
	struct answer a = { 0 };

	text_set(m.conn_url, sizeof(m.conn_url), "postgres://h:1/postgres");
	text_set(m.api_url, sizeof(m.api_url), "http://h:2/patroni");
	dcs_touch(c->dcs, &m, NULL, in_ms(3000), on_answer, &a);
	return wait_for(&a);
}

static inline void
expect_leader(struct client *c, const char *name)
{
	struct view *v = load(c);

	assert_string_equal(v->leader, name);
	view_free(v);
}

/* ---- set-up ---- */

static inline int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline int
setup(void **state)
{
	(void)state;
	if (access(ETCD, X_OK) != 0) {
		fprintf(stderr, "no etcd here\n");
		return -1;
	}
	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	if (mkdtemp(dir) == NULL)
		return -1;
	etcd_port = free_port();
	peer_port = free_port();
	etcd_start(false);
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	etcd_stop(SIGKILL);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	event_base_free(base);
	return 0;
}

#endif
