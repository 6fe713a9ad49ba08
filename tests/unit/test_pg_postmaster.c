/*
 * test_pg_postmaster.c: helpers/postgres/postmaster.c with a real server:
 * finding, refusing strangers, launching, watching, leftovers of a kill -9.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/postgres/postmaster.h"
#include "ipc/clock.h"
#include "pg_server.h"

static struct event_base *base;
static int gone;

static void
on_gone(void *arg)
{
	(void)arg;
	gone++;
}

static void
spin(int ms)
{
	struct timeval tv = { ms / 1000, (ms % 1000) * 1000 };

	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
}

static void
open_pm(struct postmaster *pm, const struct pg_server *srv)
{
	gone = 0;
	postmaster_init(pm, base, srv->data, PG_BIN "/postgres", on_gone, NULL);
}

static void
test_titles(void **state)
{
	(void)state;
	assert_false(postmaster_client_title("postgres: checkpointer "));
	assert_false(postmaster_client_title("postgres: foo: checkpointer "));
	assert_false(postmaster_client_title(
	    "postgres: a:b c: walsender rep 127.0.0.1(1) streaming"));
	assert_false(postmaster_client_title("postgres: writer process   "));
	assert_false(postmaster_client_title(
	    "postgres: logical replication apply worker for subscription 16391 "));
	assert_true(postmaster_client_title(
	    "postgres: postgres postgres [local] idle"));
	assert_true(postmaster_client_title(
	    "postgres: foo: app db 10.0.0.1(5) COMMIT"));
	assert_true(
	    postmaster_client_title("postgres: writers db [local] idle"));
}

static void
test_find_and_status(void **state)
{
	struct pg_server *srv = *state;
	struct proc_entry v[64];
	struct postmaster pm;

	open_pm(&pm, srv);
	assert_true(postmaster_find(&pm));
	assert_true(postmaster_alive(&pm));
	assert_int_equal(postmaster_isready(&pm), ISREADY_ACCEPTING);
	assert_int_equal(postmaster_backends(&pm, v, 64), 0);
	assert_true(postmaster_strays(&pm, v, 64) > 0);
	postmaster_free(&pm);
}

static void
test_stranger_in_pid_file(void **state)
{
	char dir[] = "/tmp/pgpm-XXXXXX", path[64];
	struct pg_server fake = { .port = "1" };
	struct postmaster pm;
	pid_t pid;
	FILE *fp;

	(void)state;
	assert_non_null(mkdtemp(dir));
	strcpy(fake.data, dir);
	snprintf(path, sizeof path, "%s/postmaster.pid", dir);
	/* a process that is no server, and not our child */
	pid = fork();
	if (pid == 0) {
		pid = fork();
		if (pid == 0) {
			sleep(3);
			_exit(0);
		}
		fp = fopen(path, "w");
		fprintf(fp, "%d\n%s\n1000\n5432\n", (int)pid, dir);
		fclose(fp);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	open_pm(&pm, &fake);
	assert_false(postmaster_find(&pm));
	assert_int_not_equal(pm.stale_pid, 0);
	kill(pm.stale_pid, SIGKILL);
	postmaster_free(&pm);
	/* garbage, and a pid that does not exist */
	fp = fopen(path, "w");
	fprintf(fp, "hello\n");
	fclose(fp);
	open_pm(&pm, &fake);
	assert_false(postmaster_find(&pm));
	assert_int_equal(pm.stale_pid, 0);
	fp = fopen(path, "w");
	fprintf(fp, "4194304\n");
	fclose(fp);
	assert_false(postmaster_find(&pm));
	unlink(path);
	assert_false(postmaster_find(&pm));
	rmdir(dir);
}

static bool
wait_ready(struct postmaster *pm)
{
	int i;

	for (i = 0; i < 500; i++) {
		if (postmaster_isready(pm) == ISREADY_ACCEPTING)
			return true;
		spin(20);
	}
	return false;
}

static void
test_stop_start_kill(void **state)
{
	struct pg_server *srv = *state;
	const char *argv[] = { PG_BIN "/postgres", "-D", srv->data, "-k",
		srv->dir, "-p", srv->port, "-c", "listen_addresses=", NULL };
	struct proc_entry v[64];
	struct postmaster pm;
	size_t i, n;

	open_pm(&pm, srv);
	assert_true(postmaster_find(&pm));
	assert_int_equal(postmaster_signal(&pm, SIGINT), 0);
	for (i = 0; i < 200 && gone == 0; i++)
		spin(20);
	assert_int_equal(gone, 1);
	assert_false(postmaster_find(&pm));
	errno = 0;
	assert_int_equal(postmaster_signal(&pm, SIGINT), -1);
	assert_int_equal(errno, ESRCH);

	assert_int_equal(postmaster_start(&pm, argv), 0);
	assert_true(pm.proc.pid > 0);
	assert_true(wait_ready(&pm));
	/* a second handle finds the same process by its file */
	n = (size_t)pm.proc.pid;
	postmaster_free(&pm);
	open_pm(&pm, srv);
	assert_true(postmaster_find(&pm));
	assert_int_equal(pm.proc.pid, n);

	kill(pm.proc.pid, SIGKILL);
	for (i = 0; i < 100 && gone == 0; i++)
		spin(10);
	assert_int_equal(gone, 1);
	assert_false(postmaster_find(&pm));
	for (i = 0; i < 100; i++) {
		n = postmaster_strays(&pm, v, 64);
		if (n == 0)
			break;
		while (n-- > 0)
			proc_signal(&v[n], SIGKILL);
		spin(20);
	}
	assert_int_equal(n, 0);
	assert_int_equal(postmaster_start(&pm, argv), 0);
	assert_true(wait_ready(&pm));
	postmaster_kill(&pm);
	for (i = 0; i < 100 && gone == 1; i++)
		spin(10);
	assert_int_equal(gone, 2);
	postmaster_free(&pm);
}

static void
test_missing_binary(void **state)
{
	const char *argv[] = { "/nonexistent/postgres", NULL };
	struct pg_server *srv = *state;
	struct postmaster pm;
	int i;

	open_pm(&pm, srv);
	assert_int_equal(postmaster_start(&pm, argv), 0);
	for (i = 0; i < 100 && gone == 0; i++)
		spin(10);
	assert_int_equal(gone, 1);
	postmaster_free(&pm);
}

/* The server becomes a child of our parent, who must collect it as the master
 * does. */
static void
act_as_master(void)
{
	int status;
	pid_t pid, test;

	test = fork();
	if (test == 0)
		return;
	while ((pid = wait(&status)) != -1)
		if (pid == test)
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
	_exit(99);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_titles),
		cmocka_unit_test(test_find_and_status),
		cmocka_unit_test(test_stranger_in_pid_file),
		cmocka_unit_test(test_stop_start_kill),
		cmocka_unit_test(test_missing_binary) };

	act_as_master();
	base = event_base_new();
	return cmocka_run_group_tests(tests, pg_server_start, pg_server_stop);
}
