/*
 * test_watchdog_process.c: the keeper's program itself, in its sandbox, with
 * this test as its master and controller and forked processes as a
 * postmaster with children.
 */
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../ipc/clock.h"
#include "../../ipc/messages.h"

#define MS NS_PER_MS
#define CHILDREN 3

struct keeper_process {
	pid_t pid;
	struct link *master, *postgres;
};

struct family { /* a postmaster and its children */
	pid_t pid, children[CHILDREN];
	int pidfd, alive; /* alive: end of file once all of them are gone */
};

/* ---- processes ---- */

static void
keeper_path(char *out, size_t size)
{
	char self[PATH_SIZE];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	assert_true(n > 0);
	self[n] = '\0';
	for (int i = 0; i < 2; i++)
		if ((slash = strrchr(self, '/')) != NULL)
			*slash = '\0';
	assert_true(
	    (size_t)snprintf(out, size, "%s/patroni-watchdog", self) < size);
	if (access(out, X_OK) == -1)
		fail_msg("%s: build it first: %s", out, strerror(errno));
}

static struct keeper_process
keeper_start(void)
{
	struct keeper_process k = { 0 };
	char path[PATH_SIZE];
	int sv[2];

	keeper_path(path, sizeof(path));
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	if ((k.pid = fork()) == 0) {
		(void)dup2(sv[1], 3);
		(void)fcntl(3, F_SETFD, 0);
		(void)execl(path, "patroni: watchdog", (char *)NULL);
		_exit(127);
	}
	assert_true(k.pid > 0);
	close(sv[1]);
	k.master = link_open(sv[0], PROC_MASTER, PROC_WATCHDOG, 1 << 20);
	assert_non_null(k.master);
	return k;
}

static void __attribute__((noreturn)) postmaster(bool stubborn, int report)
{
	pid_t children[CHILDREN];

	(void)signal(SIGQUIT, stubborn ? SIG_IGN : SIG_DFL);
	for (int i = 0; i < CHILDREN; i++)
		if ((children[i] = fork()) == 0) {
			if (!stubborn) /* as backends go with the postmaster */
				(void)prctl(PR_SET_PDEATHSIG,
				    (unsigned long)SIGKILL, 0L, 0L, 0L);
			close(report);
			for (;;)
				pause();
		}
	if (write(report, children, sizeof(children)) == -1)
		_exit(1);
	close(report);
	for (;;)
		pause();
}

static struct family
family_start(bool stubborn)
{
	struct family f;
	int life[2], report[2];

	assert_int_equal(pipe2(life, O_CLOEXEC), 0);
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	if ((f.pid = fork()) == 0) {
		/* none of the links: the keeper must see them close */
		(void)dup2(life[1], 100);
		(void)dup2(report[1], 101);
		(void)close_range(3, 99, 0);
		(void)close_range(102, ~0u, 0);
		postmaster(stubborn, 101);
	}
	assert_true(f.pid > 0);
	close(life[1]);
	close(report[1]);
	assert_int_equal(read(report[0], f.children, sizeof(f.children)),
	    sizeof(f.children));
	close(report[0]);
	f.alive = life[0];
	f.pidfd = (int)syscall(SYS_pidfd_open, f.pid, 0u);
	assert_int_not_equal(f.pidfd, -1);
	return f;
}

static bool
family_gone(const struct family *f, int timeout_ms)
{
	struct pollfd p = { .fd = f->alive, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

static void
family_end(struct family *f)
{
	if (!family_gone(f, 0))
		for (int i = 0; i < CHILDREN; i++)
			(void)kill(f->children[i], SIGKILL);
	(void)kill(f->pid, SIGKILL);
	(void)waitpid(f->pid, NULL, 0);
	close(f->alive);
	close(f->pidfd);
}

/* ---- messages ---- */

/* Wait for a message of the type; its body is copied. */
static void
expect(struct link *l, uint16_t type, uint64_t id, void *body, size_t size)
{
	struct pollfd p = { .fd = link_fd(l), .events = POLLIN };
	int64_t until = clock_boot_ns() + 10 * NS_PER_SEC;
	struct ipc_msg m;
	int rc;

	for (;;) {
		while ((rc = link_next(l, &m)) == 1) {
			if (m.hdr.type != type || m.hdr.id != id)
				continue;
			memcpy(body, m.body, size);
			return;
		}
		assert_int_equal(rc, 0);
		if (clock_boot_ns() > until || poll(&p, 1, 10000) != 1 ||
		    link_read(l) == -1)
			fail_msg("no %s: %s", msg_name(type), link_error(l));
	}
}

static void
configure(struct keeper_process *k, const char *device)
{
	struct msg_config c = { .generation = 7 };
	struct tree *t = tree_map(), *wd = tree_map();
	struct msg_ready ready;
	uint8_t *buf;
	size_t len;

	assert_true(tree_set(
	    wd, "mode", tree_text(device != NULL ? "required" : "off")));
	assert_true(tree_set(wd, "driver", tree_text("testing")));
	if (device != NULL)
		assert_true(tree_set(wd, "device", tree_text(device)));
	assert_true(tree_set(t, "watchdog", wd));
	assert_true(tree_set(t, "ttl", tree_int(2)));
	assert_true(tree_encode(t, &buf, &len));
	tree_free(t);
	assert_int_equal(
	    link_send(k->master, MSG_CONFIG, 0, 0, 0, &c, buf, len, -1), 0);
	free(buf);
	expect(k->master, MSG_READY, 0, &ready, sizeof(ready));
	assert_true(ready.ok);
	assert_int_equal(ready.generation, 7);
}

static void
connect_with(struct keeper_process *k, int ttl, int loop_wait)
{
	struct msg_link m = { .peer = PROC_POSTGRES };
	struct msg_wd_settings s = { .ttl = ttl, .loop_wait = loop_wait };
	struct msg_wd_state state;
	int sv[2];

	link_close(k->postgres);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(
	    link_send(k->master, MSG_LINK, 0, 0, 0, &m, NULL, 0, sv[1]), 0);
	close(sv[1]);
	k->postgres = link_open(sv[0], PROC_POSTGRES, PROC_WATCHDOG, 1 << 20);
	assert_non_null(k->postgres);
	assert_int_equal(
	    link_send(k->postgres, MSG_WD_SETTINGS, 0, 1, 0, &s, NULL, 0, -1),
	    0);
	expect(k->postgres, MSG_WD_STATE, 1, &state, sizeof(state));
}

static void
connect_controller(struct keeper_process *k)
{
	connect_with(k, 2, 1);
}

static struct keeper_process
keeper_ready(void)
{
	struct keeper_process k = keeper_start();

	configure(&k, NULL);
	connect_controller(&k);
	return k;
}

static struct msg_wd_state
arm(struct keeper_process *k, pid_t pid, int pidfd, bool device)
{
	struct msg_wd_arm m = { .postmaster_pid = pid,
		.activate_device = device };
	struct msg_wd_state state;
	int64_t deadline = clock_boot_ns() + 2 * NS_PER_SEC;

	assert_int_equal(link_send(k->postgres, MSG_WD_ARM, 0, 2, deadline, &m,
			     NULL, 0, pidfd),
	    0);
	if (device)
		return (struct msg_wd_state){ 0 };
	expect(k->postgres, MSG_WD_STATE, 2, &state, sizeof(state));
	return state;
}

static int64_t
grant(struct keeper_process *k, int64_t ttl)
{
	struct msg_wd_grant m = { .sent_ns = clock_boot_ns(), .ttl_ns = ttl };
	struct msg_wd_state state;

	m.lease_end_ns = m.sent_ns + ttl;
	assert_int_equal(
	    link_send(k->postgres, MSG_WD_GRANT, 0, 3, 0, &m, NULL, 0, -1), 0);
	expect(k->postgres, MSG_WD_STATE, 3, &state, sizeof(state));
	assert_true(state.lease_end_ns == m.lease_end_ns);
	return m.lease_end_ns;
}

static int
keeper_wait(struct keeper_process *k)
{
	int status;

	link_close(k->master);
	link_close(k->postgres);
	assert_int_equal(waitpid(k->pid, &status, 0), k->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
stop(struct keeper_process *k)
{
	assert_int_equal(
	    link_send(k->master, MSG_SHUTDOWN, 0, 0, 0, NULL, NULL, 0, -1), 0);
	assert_int_equal(keeper_wait(k), 0);
}

/* ---- tests ---- */

static void
a_lease_that_ends_ends_the_postmaster(void **state)
{
	struct keeper_process k = keeper_ready();
	struct family f = family_start(false);
	struct msg_wd_state s;
	int64_t end;

	(void)state;
	assert_true(arm(&k, f.pid, f.pidfd, false).fence_armed);
	(void)grant(&k, 2000 * MS);
	assert_false(family_gone(&f, 1000));
	end = grant(&k, 2000 * MS); /* renewed */
	assert_false(family_gone(&f, 1000));
	assert_true(family_gone(&f, 3000));
	assert_true(clock_boot_ns() < end);
	do
		expect(k.postgres, MSG_WD_STATE, 0, &s, sizeof(s));
	while (!s.fenced);
	assert_false(s.fence_armed);
	family_end(&f);
	stop(&k);
}

static void
what_ignores_sigquit_is_killed_with_its_children(void **state)
{
	struct keeper_process k = keeper_ready();
	struct family f = family_start(true);
	int64_t end, now;

	(void)state;
	assert_true(arm(&k, f.pid, f.pidfd, false).fence_armed);
	end = grant(&k, 1200 * MS);
	assert_true(family_gone(&f, 5000));
	now = clock_boot_ns();
	assert_in_range(now, end, end + NS_PER_SEC);
	family_end(&f);
	stop(&k);
}

static void
a_stopped_postmaster_is_killed_too(void **state)
{
	struct keeper_process k = keeper_ready();
	struct family f = family_start(true);

	(void)state;
	assert_int_equal(kill(f.pid, SIGSTOP), 0);
	assert_true(arm(&k, f.pid, f.pidfd, false).fence_armed);
	(void)grant(&k, 1000 * MS);
	assert_true(family_gone(&f, 5000));
	family_end(&f);
	stop(&k);
}

static void
a_foreign_pidfd_arms_nothing(void **state)
{
	struct keeper_process k = keeper_ready();
	struct family f = family_start(false), other = family_start(false);

	(void)state;
	(void)grant(&k, 600 * MS);
	assert_false(arm(&k, f.pid, other.pidfd, false).fence_armed);
	assert_false(arm(&k, f.pid, -1, false).fence_armed);
	assert_false(arm(&k, f.pid, f.alive, false).fence_armed);
	assert_false(family_gone(&f, 1500));
	assert_false(family_gone(&other, 0));
	family_end(&f);
	family_end(&other);
	stop(&k);
}

static void
losing_the_controller_changes_nothing(void **state)
{
	struct keeper_process k = keeper_ready();
	struct family f = family_start(false);

	(void)state;
	assert_true(arm(&k, f.pid, f.pidfd, false).fence_armed);
	(void)grant(&k, 1500 * MS);
	connect_controller(&k); /* a new one, which never arms */
	assert_false(family_gone(&f, 500));
	assert_true(family_gone(&f, 3000));
	family_end(&f);
	stop(&k);
}

static void
a_new_controller_renews_for_the_old_one(void **state)
{
	struct keeper_process k = keeper_ready();
	struct family f = family_start(false);

	(void)state;
	assert_true(arm(&k, f.pid, f.pidfd, false).fence_armed);
	(void)grant(&k, 1500 * MS);
	connect_controller(&k);
	assert_true(arm(&k, f.pid, f.pidfd, false).fence_armed);
	for (int i = 0; i < 4; i++) {
		(void)grant(&k, 1500 * MS);
		assert_false(family_gone(&f, 500));
	}
	family_end(&f);
	stop(&k);
}

static void
without_the_master_it_fences_and_goes(void **state)
{
	struct keeper_process k = keeper_ready();
	struct family f = family_start(true);

	(void)state;
	assert_true(arm(&k, f.pid, f.pidfd, false).fence_armed);
	(void)grant(&k, 1500 * MS);
	assert_int_equal(keeper_wait(&k), 0);
	assert_true(family_gone(&f, 0));
	family_end(&f);
}

static void
a_new_keeper_takes_over_from_an_orphan(void **state)
{
	struct keeper_process old = keeper_ready(), k;
	struct family f = family_start(false);

	(void)state;
	assert_true(arm(&old, f.pid, f.pidfd, false).fence_armed);
	(void)grant(&old, 3000 * MS);
	link_close(old.master);
	link_close(old.postgres);
	old.master = old.postgres = NULL;
	k = keeper_ready();
	assert_true(arm(&k, f.pid, f.pidfd, false).fence_armed);
	for (int i = 0; i < 5; i++) {
		(void)grant(&k, 3000 * MS);
		assert_false(family_gone(&f, 1000));
	}
	assert_int_equal(keeper_wait(&old), 0);
	family_end(&f);
	stop(&k);
}

static void
the_masters_end_ends_an_idle_keeper(void **state)
{
	struct keeper_process k = keeper_ready();

	(void)state;
	assert_int_equal(keeper_wait(&k), 0);
}

static void
signals_do_not_end_it(void **state)
{
	struct keeper_process k = keeper_ready();

	(void)state;
	assert_int_equal(kill(k.pid, SIGTERM), 0);
	assert_int_equal(kill(k.pid, SIGINT), 0);
	assert_int_equal(kill(k.pid, SIGHUP), 0);
	(void)grant(&k, 2000 * MS);
	stop(&k);
}

static void
the_device_comes_from_the_master(void **state)
{
	struct keeper_process k = keeper_start();
	struct family f = family_start(false);
	struct msg_device_open open;
	struct msg_descriptor d = { .kind = DESCRIPTOR_WATCHDOG };
	struct msg_wd_disarm dis = { .reason = 1 };
	struct msg_wd_state s;
	char told[64] = "", dir[] = "/tmp/test_wd_XXXXXX", path[64];
	int pipefd[2];
	ssize_t n;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/watchdog", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(pipe2(pipefd, O_CLOEXEC | O_NONBLOCK), 0);
	configure(&k, path);
	connect_with(&k, 20, 5);
	(void)arm(&k, f.pid, f.pidfd, true);
	expect(k.master, MSG_DEVICE_OPEN, 1, &open, sizeof(open));
	assert_string_equal(open.path, path);
	assert_int_equal(link_send(k.master, MSG_DESCRIPTOR, IPC_FLAG_REPLY, 1,
			     0, &d, NULL, 0, pipefd[1]),
	    0);
	expect(k.postgres, MSG_WD_STATE, 2, &s, sizeof(s));
	assert_true(s.fence_armed && s.device_running);
	assert_int_equal(s.device_timeout, 15);
	(void)grant(&k, 20000 * MS);
	(void)link_send(k.postgres, MSG_WD_DISARM, 0, 4, 0, &dis, NULL, 0, -1);
	expect(k.postgres, MSG_WD_STATE, 4, &s, sizeof(s));
	n = read(pipefd[0], told, sizeof(told) - 1);
	assert_true(n > 0);
	assert_string_equal(told, "T15\n1V");
	close(pipefd[0]);
	close(pipefd[1]);
	(void)unlink(path);
	(void)rmdir(dir);
	family_end(&f);
	stop(&k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lease_that_ends_ends_the_postmaster),
		cmocka_unit_test(
		    what_ignores_sigquit_is_killed_with_its_children),
		cmocka_unit_test(a_stopped_postmaster_is_killed_too),
		cmocka_unit_test(a_foreign_pidfd_arms_nothing),
		cmocka_unit_test(losing_the_controller_changes_nothing),
		cmocka_unit_test(a_new_controller_renews_for_the_old_one),
		cmocka_unit_test(without_the_master_it_fences_and_goes),
		cmocka_unit_test(a_new_keeper_takes_over_from_an_orphan),
		cmocka_unit_test(the_masters_end_ends_an_idle_keeper),
		cmocka_unit_test(signals_do_not_end_it),
		cmocka_unit_test(the_device_comes_from_the_master),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
