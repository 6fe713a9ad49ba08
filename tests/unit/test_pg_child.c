/*
 * test_pg_child.c: helpers/postgres/child.c and proc.c: programs, workers,
 * limits, word split, environment.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/postgres/job.h"
#include "ipc/clock.h"

static struct event_base *base;

struct seen {
	int calls;
	struct child_end end;
	char out[256], err[256];
	size_t out_len;
	int lines;
	char last[64];
};

static void
on_end(const struct child_end *e, void *arg)
{
	struct seen *s = arg;

	s->calls++;
	s->end = *e;
	snprintf(s->out, sizeof s->out, "%s", e->out);
	s->out_len = strlen(e->out);
	snprintf(s->err, sizeof s->err, "%s", e->err);
}

static void
wait_for(struct seen *s)
{
	int64_t limit = clock_boot_ns() + 10 * NS_PER_SEC;

	while (s->calls == 0 && clock_boot_ns() < limit) {
		struct timeval tv = { 0, 20000 };

		event_base_loopexit(base, &tv);
		event_base_dispatch(base);
	}
	assert_int_equal(s->calls, 1);
}

static struct child *
run(struct seen *s, bool capture, int64_t timeout, const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct child_spec spec = {
		.argv = argv, .capture = capture, .timeout_ns = timeout
	};
	struct child *c;

	memset(s, 0, sizeof *s);
	c = child_run(base, &spec, on_end, s);
	assert_non_null(c);
	assert_int_equal(s->calls, 0);
	return c;
}

static void
test_exit_code_and_output(void **state)
{
	struct seen s;

	(void)state;
	run(&s, true, 0, "echo out; echo err >&2; exit 7");
	wait_for(&s);
	assert_true(s.end.started);
	assert_int_equal(s.end.code, 7);
	assert_string_equal(s.out, "out\n");
}

static void
test_missing_program(void **state)
{
	const char *argv[] = { "/nonexistent/program", NULL };
	struct child_spec spec = { .argv = argv };
	struct seen s = { 0 };

	(void)state;
	assert_non_null(child_run(base, &spec, on_end, &s));
	wait_for(&s);
	assert_false(s.end.started);
	assert_int_equal(s.end.error, 2);
}

static void
test_signal(void **state)
{
	struct seen s;

	(void)state;
	run(&s, false, 0, "kill -9 $$");
	wait_for(&s);
	assert_int_equal(s.end.code, -SIGKILL);
}

static void
test_timeout_kills_descendants(void **state)
{
	char file[] = "/tmp/pgchild-XXXXXX", script[256];
	int fd = mkstemp(file);
	struct proc_entry e;
	struct seen s;
	FILE *fp;
	int pid;

	(void)state;
	close(fd);
	snprintf(script, sizeof script, "setsid sleep 60 & echo $! > %s; wait",
	    file);
	run(&s, false, 300 * NS_PER_MS, script);
	wait_for(&s);
	assert_true(s.end.timed_out);
	fp = fopen(file, "r");
	assert_int_equal(fscanf(fp, "%d", &pid), 1);
	fclose(fp);
	unlink(file);
	usleep(50000);
	assert_false(proc_read(pid, &e));
}

static void
test_cancel_after_grace(void **state)
{
	int64_t began = clock_boot_ns();
	struct child *c;
	struct seen s;

	(void)state;
	c = run(&s, false, 0, "trap '' TERM; sleep 60 & wait; sleep 60");
	usleep(100000);
	child_cancel(c, 200 * NS_PER_MS);
	wait_for(&s);
	assert_true(s.end.cancelled);
	assert_false(s.end.timed_out);
	assert_true(clock_boot_ns() - began < 5 * NS_PER_SEC);
}

static void
test_output_bound(void **state)
{
	struct seen s;

	(void)state;
	run(&s, true, 0, "head -c 2000000 /dev/zero | tr '\\0' x");
	wait_for(&s);
	assert_int_equal(s.end.code, 0);
	assert_int_equal(s.out_len, CHILD_CAPTURE_MAX);
}

static bool
number_line(const char *line, void *arg)
{
	struct seen *s = arg;

	if (line[0] < '0' || line[0] > '9')
		return false;
	s->lines++;
	snprintf(s->last, sizeof s->last, "%s", line);
	return true;
}

/* Progress of hours does not crowd out the message of the failure. */
static void
test_lines_of_stderr(void **state)
{
	const char *argv[] = { "sh", "-c",
		"echo first >&2; i=0; while [ $i -lt 20000 ]; do i=$((i+1));"
		" printf '%s/20000 kB\\r' $i; done >&2; echo failed >&2; printf 1/1 >&2",
		NULL };
	struct child_spec spec = {
		.argv = argv, .capture = true, .err_line = number_line
	};
	struct seen s = { 0 };

	(void)state;
	assert_non_null(child_run(base, &spec, on_end, &s));
	wait_for(&s);
	assert_int_equal(s.lines, 20000);
	assert_string_equal(s.last, "20000/20000 kB");
	/* the last one was no whole line */
	assert_string_equal(s.err, "first\nfailed\n1/1");
}

static void
test_progress_lines(void **state)
{
	static const struct {
		const char *line;
		int percent; /* -1: none */
	} cases[] = { { "    0/23456 kB (0%), 0/1 tablespace", 0 },
		{ "23457/23457 kB (100%), 1/1 tablespace", 100 },
		/* 10 and older: one tablespace with the file's name */
		{ " 1024/4096 kB (25%), 0/2 tablespaces (...data/base/1/1259      )",
		    25 },
		{ "1024/4096 kB (25 %), 0/1 Tablespace", 25 },
		{ "1024/4096 kB (101%), 0/1 tablespace", -1 },
		{ "1024/4096 Ko (25%), 0/1 tablespace", 25 },
		{ "pg_basebackup: error: connection 1/2 kB (3%) lost", -1 },
		{ "99999999999999999999999/1 kB (25%), 0/1", -1 },
		{ "12/", -1 }, { "12", -1 }, { "12/13", -1 }, { "", -1 } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct progress p = { 0 };

		assert_int_equal(basebackup_progress(cases[i].line, &p),
		    cases[i].percent >= 0);
		assert_int_equal(p.known, cases[i].percent >= 0);
		if (p.known)
			assert_int_equal(p.percent, cases[i].percent);
	}
}

static int
worker(void *arg)
{
	return *(int *)arg;
}

static void
test_worker(void **state)
{
	int code = 5;
	struct child_spec spec = { .worker = worker, .worker_arg = &code };
	struct seen s = { 0 };

	(void)state;
	assert_non_null(child_run(base, &spec, on_end, &s));
	wait_for(&s);
	assert_true(s.end.started);
	assert_int_equal(s.end.code, 5);
}

static void
test_words(void **state)
{
	char **w;
	size_t n;

	(void)state;
	w = child_words("  a 'b c' \"d \\\" \\x\" e\\ f '' ", &n);
	assert_int_equal(n, 5);
	assert_string_equal(w[0], "a");
	assert_string_equal(w[1], "b c");
	assert_string_equal(w[2], "d \" \\x");
	assert_string_equal(w[3], "e f");
	assert_string_equal(w[4], "");
	free(w);
	assert_null(child_words("'open", NULL));
	assert_null(child_words("end\\", NULL));
	w = child_words("", &n);
	assert_int_equal(n, 0);
	free(w);
}

static const char *
find(char **env, const char *name)
{
	for (; *env != NULL; env++)
		if (strncmp(*env, name, strlen(name)) == 0)
			return *env;
	return NULL;
}

static void
test_environment(void **state)
{
	const char *extra[] = { "LANG=C", NULL };
	char **env;

	(void)state;
	setenv("PATRONI_SECRET", "x", 1);
	setenv("NOTIFY_SOCKET", "x", 1);
	setenv("KUBERNETES_PORT", "x", 1);
	setenv("LANG", "de", 1);
	setenv("PG_MALLOC_ARENA_MAX", "3", 1);
	env = child_environment(extra, true);
	assert_null(find(env, "PATRONI_"));
	assert_null(find(env, "NOTIFY_SOCKET"));
	assert_null(find(env, "KUBERNETES_"));
	assert_string_equal(find(env, "LANG="), "LANG=C");
	assert_string_equal(
	    find(env, "MALLOC_ARENA_MAX"), "MALLOC_ARENA_MAX=3");
	assert_null(find(env, "PG_MALLOC"));
	free(env);
	env = child_environment(NULL, false);
	assert_non_null(find(env, "PG_MALLOC_ARENA_MAX"));
	free(env);
}

/* ---- data directories ---- */

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(
						test_exit_code_and_output),
		cmocka_unit_test(test_missing_program),
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_timeout_kills_descendants),
		cmocka_unit_test(test_cancel_after_grace),
		cmocka_unit_test(test_output_bound),
		cmocka_unit_test(test_lines_of_stderr),
		cmocka_unit_test(test_progress_lines),
		cmocka_unit_test(test_worker), cmocka_unit_test(test_words),
		cmocka_unit_test(test_environment) };

	base = event_base_new();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
