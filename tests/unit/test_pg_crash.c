/*
 * test_pg_crash.c: single-user recovery and handing ready WAL to the archive,
 * step by step and for old and new names (postgres.md 8, 16.6).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg_jobs.h"

/* `postgres -C` answers for archive_mode and archive_command. */
#define SETTINGS                                                \
	"[ \"$3\" = -C ] && case $4 in archive_mode) echo %s;;" \
	" archive_command) echo \"%s\";; esac\n"

#define OPTS                                                                         \
	"/usr/lib/postgresql/bin/postgres \"-D\" \"/d\" \"--config-file=/c/x.conf\"" \
	" \"--port=5432\" \"--cluster_name=a b\" \"-x\" \"--flag\"\n"

static void
postgres(const struct stage *s, const char *mode, const char *command,
    const char *more)
{
	char body[1024];

	stage_text(body, sizeof body, SETTINGS "%s\n:\n", mode, command, more);
	stage_program(s, "postgres", body);
}

static void
wal(const struct stage *s, const char *dir, const char *file, const char *mark)
{
	char path[256];

	if (file != NULL) {
		stage_text(path, sizeof path, "%s/%s", dir, file);
		stage_write(s->data, path, "wal", 0600);
	}
	if (mark != NULL) {
		stage_text(
		    path, sizeof path, "%s/archive_status/%s", dir, mark);
		stage_write(s->data, path, "", 0600);
	}
}

static bool
there(const struct stage *s, const char *name)
{
	char path[256];

	stage_text(path, sizeof path, "%s/%s", s->data, name);
	return access(path, F_OK) == 0;
}

/* The arguments of the last call of postgres, joined by blanks. */
static const char *
last_call(const struct stage *s)
{
	static char text[4096];
	const char *all = stage_read(s, "postgres.args"), *p, *from = all;
	size_t n = 0;

	while ((p = strstr(from, "--\n")) != NULL && p[3] != '\0' &&
	    strstr(p + 3, "\n--\n") != NULL)
		from = p + 3;
	for (; *from != '\0' && n + 1 < sizeof text; from++)
		text[n++] = *from == '\n' ? ' ' : *from;
	text[n] = '\0';
	return text;
}

static void
test_single_user(void **state)
{
	static const char *const versions[][2] = { { "9.3", "pg_xlog" },
		{ "9.6", "pg_xlog" }, { "10", "pg_wal" }, { "11", "pg_wal" },
		{ "12", "pg_wal" }, { "15", "pg_wal" }, { "18", "pg_wal" } };
	size_t i;

	for (i = 0; i < sizeof versions / sizeof *versions; i++) {
		struct stage *s = stage_open(state, versions[i][0], NULL);
		const char *call;
		char path[160];

		postgres(s, "off", "", "");
		stage_write(s->data, "postmaster.opts", OPTS, 0600);
		stage_write(s->data, "recovery.conf", "", 0600);
		stage_write(s->data, "standby.signal", "", 0600);
		stage_write(s->data, "recovery.signal", "", 0600);
		wal(s, versions[i][1], "000000010000000000000001",
		    "000000010000000000000001.ready");
		wal(s, versions[i][1], NULL, "000000010000000000000002.done");
		assert_int_equal(stage_run(s, JOB_CRASH_RECOVERY), JOB_OK);
		call = last_call(s);
		if (strstr(call, "--single -D ") == NULL ||
		    strstr(call,
			" -c archive_command=false -c archive_mode=on"
			" -c cluster_name=a b -c config-file=/c/x.conf"
			" -c port=5432 template1 ") == NULL)
			fail_msg("%s: %s", versions[i][0], call);
		assert_null(strstr(call, "flag"));
		assert_false(there(s, "recovery.conf"));
		assert_false(there(s, "standby.signal"));
		assert_false(there(s, "recovery.signal"));
		/* neither archived again nor recycled by what they say */
		stage_text(path, sizeof path,
		    "%s/archive_status/000000010000000000000001.ready",
		    versions[i][1]);
		assert_false(there(s, path));
		stage_text(path, sizeof path,
		    "%s/archive_status/000000010000000000000002.done",
		    versions[i][1]);
		assert_false(there(s, path));
		stage_close(s);
	}
}

static void
test_failure_and_no_options(void **state)
{
	struct stage *s = stage_open(state, "15", NULL);

	postgres(s, "off", "",
	    "[ \"$1\" = --single ] && { echo out; echo why >&2; exit 3; }");
	assert_int_equal(stage_run(s, JOB_CRASH_RECOVERY), JOB_NOTHING);
	assert_true(stage_logged(s, "Error when reading postmaster.opts"));
	assert_true(stage_logged(s, "Crash recovery finished with code=3"));
	assert_true(stage_logged(s, " stdout=out"));
	assert_true(stage_logged(s, " stderr=why"));
	assert_non_null(strstr(last_call(s),
	    " -c archive_command=false -c archive_mode=on template1 "));
	stage_close(s);
}

/* Oldest first; what cannot be archived stays ready; only what is there. */
static void
test_ready_wal(void **state)
{
	static const char *const versions[][2] = { { "9.6", "pg_xlog" },
		{ "15", "pg_wal" } };
	size_t i;

	for (i = 0; i < sizeof versions / sizeof *versions; i++) {
		const char *d = versions[i][1];
		struct stage *s = stage_open(state, versions[i][0], NULL);
		char path[160];

		/* through a shell, so that operators work */
		postgres(s, "always",
		    "test %f != 000000010000000000000002 && cp %p arch/ || exit 1",
		    "");
		stage_text(path, sizeof path, "%s/arch", s->dir);
		assert_int_equal(mkdir(path, 0700), 0);
		wal(s, d, "000000010000000000000003",
		    "000000010000000000000003.ready");
		wal(s, d, "000000010000000000000001",
		    "000000010000000000000001.ready");
		wal(s, d, "000000010000000000000002",
		    "000000010000000000000002.ready");
		wal(s, d, "000000010000000000000004.partial",
		    "000000010000000000000004.partial.ready");
		wal(s, d, NULL, "000000010000000000000005.ready");
		wal(s, d, "00000002.history", "00000002.history.ready");
		assert_int_equal(chdir(s->dir), 0);
		stage_program(s, "pg_rewind", "exit 0");
		/* as a part of the rewind: the markers can be seen after it */
		assert_int_equal(stage_run(s, JOB_REWIND), JOB_OK);
		assert_int_equal(chdir("/"), 0);
		assert_string_equal(
		    stage_read(s, "arch/000000010000000000000001"), "wal");
		assert_string_equal(
		    stage_read(s, "arch/000000010000000000000003"), "wal");
		assert_string_equal(
		    stage_read(s, "arch/000000010000000000000004.partial"),
		    "wal");
		assert_string_equal(
		    stage_read(s, "arch/000000010000000000000005"), "");
		assert_true(stage_logged(s,
		    "Failed to archive WAL segment 000000010000000000000002"));
		stage_text(path, sizeof path,
		    "%s/archive_status/000000010000000000000001.done", d);
		assert_true(there(s, path));
		stage_text(path, sizeof path,
		    "%s/archive_status/000000010000000000000002.ready", d);
		assert_true(there(s, path));
		stage_text(path, sizeof path,
		    "%s/archive_status/00000002.history.ready", d);
		assert_true(there(s, path));
		stage_close(s);
	}
}

/* Archiving that is off, or by a library. */
static void
test_nothing_to_archive(void **state)
{
	static const char *const modes[][2] = { { "off", "cp %p /x" },
		{ "on", "" } };
	size_t i;

	for (i = 0; i < 2; i++) {
		struct stage *s = stage_open(state, "15", NULL);

		postgres(s, modes[i][0], modes[i][1], "");
		stage_program(s, "pg_rewind", "exit 0");
		wal(s, "pg_wal", "000000010000000000000001",
		    "000000010000000000000001.ready");
		assert_int_equal(stage_run(s, JOB_REWIND), JOB_OK);
		assert_false(stage_logged(s, "Trying to archive"));
		stage_close(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { STAGE_TEST(test_single_user),
		STAGE_TEST(test_failure_and_no_options),
		STAGE_TEST(test_ready_wal),
		STAGE_TEST(test_nothing_to_archive) };

	return cmocka_run_group_tests(tests, pg_server_start, pg_server_stop);
}
