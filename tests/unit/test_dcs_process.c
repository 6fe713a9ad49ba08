/*
 * test_dcs_process.c: the dcs helper as a process, with its sandbox, against a
 * real etcd; the test plays master, postgres and rest.  Kills it with the lock
 * held and sees the next one keep the lock.
 */
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../ipc/clock.h"
#include "../../ipc/messages.h"

#define ETCD "/usr/bin/etcd"

static char dir[] = "/tmp/test_dcsp.XXXXXX";
static char program[PATH_SIZE];
static pid_t etcd_pid;
static int etcd_port;

static int
free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static void
etcd_start(void)
{
	char data[64], client[64], peer[64], cluster[80], log[64];
	int fd, peer_port;

	etcd_port = free_port();
	peer_port = free_port();
	snprintf(data, sizeof(data), "%s/data", dir);
	snprintf(client, sizeof(client), "http://127.0.0.1:%d", etcd_port);
	snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", peer_port);
	snprintf(cluster, sizeof(cluster), "default=%s", peer);
	snprintf(log, sizeof(log), "%s/log", dir);
	if ((etcd_pid = fork()) != 0)
		return;
	fd = open(log, O_WRONLY | O_CREAT, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execl(ETCD, ETCD, "--data-dir", data, "--listen-client-urls", client,
	    "--advertise-client-urls", client, "--listen-peer-urls", peer,
	    "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
	    (char *)NULL);
	_exit(127);
}

/* One helper process and our ends of its links. */
struct node {
	pid_t pid;
	struct link *master, *postgres, *rest;
	uint64_t next_id;
	uint32_t wakes, views, ready;
};

static void
pair(int sv[2])
{
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
}

static struct link *
give_link(struct node *n, enum proc peer)
{
	struct msg_link m = { .peer = peer };
	struct link *l;
	int sv[2];

	pair(sv);
	l = link_open(sv[0], peer, PROC_DCS, 4 << 20);
	assert_non_null(l);
	assert_int_equal(
	    link_send(n->master, MSG_LINK, 0, 0, 0, &m, NULL, 0, sv[1]), 0);
	close(sv[1]);
	return l;
}

static void
node_start(struct node *n, const char *name)
{
	struct msg_config m = { .generation = 1 };
	struct tree *t = tree_map(), *s = tree_map();
	char host[64];
	uint8_t *var;
	size_t len;
	int sv[2];

	memset(n, 0, sizeof(*n));
	pair(sv);
	if ((n->pid = fork()) == 0) {
		if (sv[1] == 3)
			fcntl(3, F_SETFD, 0);
		else
			dup2(sv[1], 3);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(program, program, (char *)NULL);
		_exit(127);
	}
	close(sv[1]);
	n->master = link_open(sv[0], PROC_MASTER, PROC_DCS, 4 << 20);
	/* a name: the resolver must work inside the sandbox */
	snprintf(host, sizeof(host), "localhost:%d", etcd_port);
	tree_set(s, "host", tree_text(host));
	tree_set(t, "etcd3", s);
	tree_set(t, "name", tree_text(name));
	tree_set(t, "scope", tree_text("p"));
	tree_set(t, "ttl", tree_int(4));
	tree_set(t, "loop_wait", tree_int(1));
	tree_set(t, "retry_timeout", tree_int(3));
	assert_true(tree_encode(t, &var, &len));
	assert_int_equal(
	    link_send(n->master, MSG_CONFIG, 0, 0, 0, &m, var, len, -1), 0);
	free(var);
	tree_free(t);
	n->postgres = give_link(n, PROC_POSTGRES);
	n->rest = give_link(n, PROC_REST);
}

static void
node_stop(struct node *n)
{
	kill(n->pid, SIGKILL);
	waitpid(n->pid, NULL, 0);
	link_close(n->master);
	link_close(n->postgres);
	link_close(n->rest);
}

/* Take what has come; copy the reply with that id. */
static bool
take(struct node *n, struct link *l, uint64_t id, struct ipc_header *hdr,
    void *body, size_t size)
{
	struct ipc_msg m;
	bool found = false;

	if (link_read(l) < 0)
		return false;
	while (link_next(l, &m) == 1) {
		n->wakes += m.hdr.type == MSG_DCS_WAKE;
		n->views += m.hdr.type == MSG_DCS_VIEW && m.hdr.id == 0;
		n->ready += m.hdr.type == MSG_READY &&
		    ((const struct msg_ready *)m.body)->ok;
		if (id != 0 && m.hdr.id == id && m.hdr.body_len <= size) {
			*hdr = m.hdr;
			memcpy(body, m.body, m.hdr.body_len);
			found = true;
		}
	}
	return found;
}

static bool
pump(struct node *n, int ms, uint64_t id, struct ipc_header *hdr, void *body,
    size_t size)
{
	int64_t end = clock_boot_ns() + ms * NS_PER_MS;
	struct link *l[3] = { n->postgres, n->master, n->rest };
	struct pollfd p[3];
	bool found = false;
	int i;

	while (!found && clock_boot_ns() < end) {
		for (i = 0; i < 3; i++)
			p[i] = (struct pollfd){ link_fd(l[i]), POLLIN, 0 };
		poll(p, 3, 20);
		for (i = 0; i < 3; i++)
			if (p[i].revents)
				found |= take(
				    n, l[i], i == 0 ? id : 0, hdr, body, size);
	}
	return found;
}

static enum outcome
ask(struct node *n, uint16_t type, const void *body, const struct tree *doc)
{
	struct msg_view v = { 0 };
	struct msg_result r = { 0 };
	struct ipc_header hdr;
	union {
		struct msg_view v;
		struct msg_result r;
		struct msg_peers p;
	} u;
	uint8_t *var = NULL;
	size_t len = 0;

	if (doc != NULL)
		assert_true(tree_encode(doc, &var, &len));
	assert_int_equal(
	    link_send(n->postgres, type, 0, ++n->next_id,
		clock_boot_ns() + 3 * NS_PER_SEC, body, var, len, -1),
	    0);
	free(var);
	if (!pump(n, 5000, n->next_id, &hdr, &u, sizeof(u)))
		fail_msg("no answer to %s", msg_name(type));
	if (hdr.type == MSG_DCS_VIEW) {
		memcpy(&v, &u, sizeof(v));
		return (enum outcome)v.outcome;
	}
	if (hdr.type == MSG_DCS_PEERS)
		return u.p.count == 1 ? OUTCOME_OK : OUTCOME_FAILED;
	memcpy(&r, &u, sizeof(r));
	if (r.outcome != OUTCOME_OK)
		fprintf(stderr, "%s: %s\n", msg_name(type), r.error);
	return (enum outcome)r.outcome;
}

static void
test_process(void **state)
{
	struct msg_dcs_update update = { 0 };
	struct msg_dcs_touch touch = { .state = STATE_RUNNING,
		.role = ROLE_PRIMARY };
	struct msg_poll poll_timeouts = { 500, 500 };
	struct tree *targets = tree_list(), *t = tree_map();
	struct node a, b;
	int i;

	(void)state;
	node_start(&a, "a");
	node_start(&b, "b");
	assert_int_equal(ask(&a, MSG_DCS_LOAD, NULL, NULL), OUTCOME_OK);
	assert_int_equal(ask(&b, MSG_DCS_LOAD, NULL, NULL), OUTCOME_OK);
	assert_int_equal(a.ready, 1);
	assert_int_equal(ask(&a, MSG_DCS_ACQUIRE, NULL, NULL), OUTCOME_OK);
	assert_int_equal(ask(&a, MSG_DCS_TOUCH, &touch, NULL), OUTCOME_OK);
	pump(&b, 500, 0, NULL, NULL, 0);
	assert_true(b.wakes > 0); /* the leader key appeared */
	assert_true(b.views > 0); /* rest was told */
	tree_set(t, "name", tree_text("x"));
	tree_set(t, "api_url", tree_text("http://127.0.0.1:1/patroni"));
	tree_append(targets, t);
	assert_int_equal(ask(&a, MSG_DCS_POLL, &poll_timeouts, targets),
	    OUTCOME_OK); /* one status, unreachable */
	tree_free(targets);
	for (i = 0; i < 6; i++) { /* kill it; the lock stays */
		node_stop(&a);
		node_start(&a, "a");
		assert_int_equal(
		    ask(&a, MSG_DCS_UPDATE, &update, NULL), OUTCOME_OK);
		assert_int_equal(
		    ask(&b, MSG_DCS_ACQUIRE, NULL, NULL), OUTCOME_REFUSED);
		pump(&b, 900, 0, NULL, NULL, 0);
	}
	assert_int_equal(ask(&a, MSG_DCS_UPDATE, &update, NULL), OUTCOME_OK);
	node_stop(&a);
	b.wakes = 0;
	pump(&b, 1000, 0, NULL, NULL, 0);
	for (i = 0; i < 80 && b.wakes == 0; i++)
		pump(&b, 100, 0, NULL, NULL, 0);
	assert_true(b.wakes > 0);
	assert_int_equal(ask(&b, MSG_DCS_ACQUIRE, NULL, NULL), OUTCOME_OK);
	node_stop(&b);
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process),
	};
	char self[PATH_SIZE];
	ssize_t n;
	int rc;

	(void)argc;
	(void)argv;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return 1;
	self[n] = '\0';
	snprintf(
	    program, sizeof(program), "%.900s/../patroni-dcs", dirname(self));
	if (access(program, X_OK) != 0)
		snprintf(program, sizeof(program), "%.900s/patroni-dcs",
		    self); /* dirname() has cut self */
	if (access(ETCD, X_OK) != 0 || access(program, X_OK) != 0 ||
	    mkdtemp(dir) == NULL) {
		fprintf(stderr, "etcd or patroni-dcs is missing\n");
		return 1;
	}
	etcd_start();
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	kill(etcd_pid, SIGKILL);
	waitpid(etcd_pid, NULL, 0);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return rc;
}
