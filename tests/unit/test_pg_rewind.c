/*
 * test_pg_rewind.c: the rewind job for versions that cannot be installed: who
 * runs restore_command, what is fetched, what is cleaned (postgres.md 16.5 to
 * 16.7).  Against a real pg_rewind: tests/system/test_rewind.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg_jobs.h"

/* Misses two files, one after the other, until they are there. */
#define MISSES                                                                                                                                      \
	"for f in 000000010000000000000003 000000010000000000000002; do\n"                                                                          \
	"[ -e data/%s/$f ] || { echo \"pg_rewind: error: could not open file \\\"$PWD/data/%s/$f\\\": No such file or directory\" >&2; exit 1; }\n" \
	"done\necho \"$PGPASSFILE $PGOPTIONS\" > env\n"

static struct stage *
open_rewind(void **state, const char *version, const char *more)
{
	struct stage *s = stage_open(state, version, more);
	const char *wal = strchr(version, '.') != NULL ? "pg_xlog" : "pg_wal";
	char body[1024];

	stage_text(body, sizeof body, MISSES, wal, wal);
	stage_program(s, "pg_rewind", body);
	/* the archive has one file only under another name's rules */
	stage_program(s, "fetch", "cp \"$1\" \"$2\"");
	stage_write(s->dir, "000000010000000000000002", "two", 0600);
	stage_write(s->dir, "000000010000000000000003", "three", 0600);
	return s;
}

#define RESTORE_CONF                                               \
	"{\"postgresql\":{\"recovery_conf\":{\"restore_command\":" \
	"\"%s/bin/fetch '%s/%f' %p\"}}}"

static size_t
count(const char *text, const char *part)
{
	size_t n = 0;

	for (; (text = strstr(text, part)) != NULL; text += strlen(part))
		n++;
	return n;
}

/* recovery.conf's setting; pg_replslot is emptied. */
static void
test_before_11(void **state)
{
	static const char *const versions[] = { "9.3", "9.4", "9.5", "9.6",
		"10" };
	size_t i;

	for (i = 0; i < sizeof versions / sizeof *versions; i++) {
		struct stage *s = open_rewind(state, versions[i], RESTORE_CONF);
		char path[192];

		assert_int_equal(stage_run(s, JOB_REWIND), JOB_OK);
		assert_int_equal(
		    count(stage_read(s, "pg_rewind.args"), "--\n-D"), 2);
		assert_null(strstr(stage_read(s, "pg_rewind.args"), "restore"));
		assert_int_equal(count(stage_read(s, "fetch.args"), "--\n"), 2);
		assert_true(
		    stage_logged(s, "Trying to fetch the missing wal: "));
		assert_non_null(strstr(
		    stage_read(s, "env"), "/pgpass -c statement_timeout=0"));
		stage_text(path, sizeof path, "%s/pg_replslot/old", s->data);
		assert_int_equal(access(path, F_OK), -1);
		stage_text(path, sizeof path, "%s/pg_replslot", s->data);
		assert_int_equal(access(path, F_OK), 0);
		assert_false(data_rewind_marked(s->data));
		stage_close(s);
	}
}

/* From 12 the server's own setting counts; slots stay from 11 on. */
static void
test_12(void **state)
{
	struct stage *s = open_rewind(state, "12", NULL);
	char path[192];

	stage_program(s, "postgres",
	    "[ \"$4\" = restore_command ] && echo \"$PWD/bin/fetch $PWD/%f %p\"");
	assert_int_equal(stage_run(s, JOB_REWIND), JOB_OK);
	assert_int_equal(count(stage_read(s, "fetch.args"), "--\n"), 2);
	assert_null(strstr(stage_read(s, "pg_rewind.args"), "restore"));
	stage_text(path, sizeof path, "%s/pg_replslot/old", s->data);
	assert_int_equal(access(path, F_OK), 0);
	stage_close(s);
}

/* With configuration files elsewhere pg_rewind cannot find it before 15. */
static void
test_config_dir(void **state)
{
	static const char conf[] =
	    "{\"postgresql\":{\"config_dir\":\"%s/conf\"}}";
	static const struct {
		const char *version, *more;
		bool itself, config_file;
	} cases[] = { { "13", NULL, true, false }, { "13", conf, false, false },
		{ "14", NULL, true, false }, { "14", conf, false, false },
		{ "15", NULL, true, false }, { "15", conf, true, true },
		{ "17", conf, true, true } };
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct stage *s =
		    open_rewind(state, cases[i].version, cases[i].more);
		const char *args;

		stage_program(
		    s, "postgres", "echo \"$PWD/bin/fetch $PWD/%f %p\"");
		/* who fetches for itself does not ask us */
		if (cases[i].itself)
			stage_program(s, "pg_rewind", "exit 0");
		assert_int_equal(stage_run(s, JOB_REWIND), JOB_OK);
		args = stage_read(s, "pg_rewind.args");
		assert_int_equal(strstr(args, "--restore-target-wal\n") != NULL,
		    cases[i].itself);
		assert_int_equal(strstr(args, "--config-file=") != NULL,
		    cases[i].config_file);
		assert_int_equal(
		    stage_logged(s, "fetch the missing"), !cases[i].itself);
		stage_close(s);
	}
}

static void
test_archive_has_not_got_it(void **state)
{
	struct stage *s = open_rewind(state, "9.6", RESTORE_CONF);
	char path[192];

	stage_text(path, sizeof path, "%s/000000010000000000000002", s->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(stage_run(s, JOB_REWIND), JOB_FAILED);
	assert_true(stage_logged(s,
	    "Failed to fetch WAL segment 000000010000000000000002 required for pg_rewind"));
	assert_true(
	    stage_logged(s, "Failed to rewind from healthy primary: leader"));
	assert_false(data_rewind_marked(s->data));
	stage_close(s);
}

/* A command that claims to have fetched: no endless loop. */
static void
test_archive_lies(void **state)
{
	struct stage *s = open_rewind(state, "9.6", RESTORE_CONF);

	stage_program(s, "fetch", "exit 0");
	assert_int_equal(stage_run(s, JOB_REWIND), JOB_FAILED);
	assert_int_equal(count(stage_read(s, "fetch.args"), "--\n"), 1);
	stage_close(s);
}

static void
test_without_restore_command(void **state)
{
	struct stage *s = open_rewind(state, "9.6", NULL);

	assert_int_equal(stage_run(s, JOB_REWIND), JOB_FAILED);
	assert_string_equal(stage_read(s, "fetch.args"), "");
	stage_close(s);
}

/* A source that has not checkpointed since its promotion is waited for. */
static void
test_source(void **state)
{
	struct stage *s = open_rewind(state, "15", NULL);

	s->spec.node.checkpoint_after_promote = CAP_PENDING;
	assert_int_equal(stage_run(s, JOB_REWIND), JOB_NOTHING);
	assert_true(
	    stage_logged(s, "Waiting for checkpoint on leader before rewind"));
	assert_string_equal(stage_read(s, "pg_rewind.args"), "");
	stage_close(s);
	/* a very old member cannot tell: it is told to checkpoint */
	s = open_rewind(state, "15", NULL);
	stage_program(s, "pg_rewind", "exit 0");
	stage_text(s->spec.node.version, sizeof s->spec.node.version, "1.5.6");
	assert_int_equal(stage_run(s, JOB_REWIND), JOB_OK);
	stage_close(s);
	s = open_rewind(state, "15", NULL);
	stage_text(s->spec.node.conn_url, sizeof s->spec.node.conn_url,
	    "postgres://127.0.0.1:1/postgres");
	assert_int_equal(stage_run(s, JOB_REWIND), JOB_NOTHING);
	assert_true(stage_logged(s, "Can not use leader for rewind: "));
	stage_close(s);
}

/* ---- the texts ---- */

static void
test_missing(void **state)
{
	static const struct {
		const char *text, *name;
	} cases[] = { /* 9.5, 9.6: to stdout or stderr, without a prefix */
		{ "could not open file \"/d/pg_xlog/0000000A00000000000000FF\": No such file or directory\n",
		    "0000000A00000000000000FF" },
		{ "pg_rewind: error: could not open file \"/d/pg_wal/000000010000000000000002\": No such file or directory\npg_rewind: fatal: could not find previous WAL record at 0/2000028\n",
		    "000000010000000000000002" },
		{ "could not open file \"/d/pg_wal/00000002.history\": x\n"
		  "could not open file \"/d d/pg_wal/000000020000000000000001\": x",
		    "000000020000000000000001" },
		{ "could not open file \"/d/global/000000010000000000000002\": x",
		    NULL },
		{ "could not open file \"/d/xpg_wal/000000010000000000000002\": x",
		    NULL },
		{ "could not open file \"pg_wal/000000010000000000000002\": x",
		    NULL },
		{ "could not open file \"/d/pg_wal/00000001000000000000000g\": x",
		    NULL },
		{ "could not open file \"/d/pg_wal/000000010000000000000002",
		    NULL },
		{ "", NULL }
	};
	char name[25];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *dir = strstr(cases[i].text, "pg_xlog") != NULL ?
		    "pg_xlog" :
		    "pg_wal";
		bool found = wal_missing(cases[i].text, dir, name);

		assert_int_equal(found, cases[i].name != NULL);
		if (found)
			assert_string_equal(name, cases[i].name);
	}
}

static void
test_command(void **state)
{
	char out[256], small[16];

	(void)state;
	assert_true(wal_command(
	    "cp %p /a/%f; # %r %% %x %", "/d/pg_wal", "F", out, sizeof out));
	assert_string_equal(
	    out, "cp /d/pg_wal/F /a/F; # 000000010000000000000001 % %x %");
	assert_false(
	    wal_command("%p%p", "/d/pg_wal", "F", small, sizeof small));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { STAGE_TEST(test_missing),
		STAGE_TEST(test_command), STAGE_TEST(test_before_11),
		STAGE_TEST(test_12), STAGE_TEST(test_config_dir),
		STAGE_TEST(test_archive_has_not_got_it),
		STAGE_TEST(test_archive_lies),
		STAGE_TEST(test_without_restore_command),
		STAGE_TEST(test_source) };

	return cmocka_run_group_tests(tests, pg_server_start, pg_server_stop);
}
