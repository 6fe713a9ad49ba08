/*
 * test_pg_data.c: removing and moving data directories (helpers/postgres/
 * data.c): what is PostgreSQL's goes, nothing else does.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/postgres/job.h"

__attribute__((format(printf, 1, 2))) static void
sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(cmd, sizeof cmd, fmt, ap);
	va_end(ap);
	assert_in_range(n, 0, sizeof cmd - 1);
	assert_int_equal(system(cmd), 0);
}

static void
test_data_empty(void **state)
{
	char dir[] = "/tmp/pgdata-XXXXXX";

	(void)state;
	assert_int_equal(data_empty("/tmp/nonexistent-data"), 1);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(data_empty(dir), 1);
	sh("mkdir %s/lost+found && touch %s/.hidden", dir, dir);
	assert_int_equal(data_empty(dir), 1);
	sh("touch %s/x", dir);
	assert_int_equal(data_empty(dir), 0);
	sh("rm -rf %s", dir);
}

static void
test_data_remove_refuses_strangers(void **state)
{
	char dir[] = "/tmp/pgdata-XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	sh("mkdir %s/photos && touch %s/photos/1.jpg", dir, dir);
	assert_int_not_equal(data_remove(dir), 0);
	snprintf(path, sizeof path, "%s/photos/1.jpg", dir);
	assert_int_equal(access(path, F_OK), 0);
	sh("rm -rf %s", dir);
}

static void
test_data_remove_with_links(void **state)
{
	char dir[] = "/tmp/pgdata-XXXXXX", path[96];

	(void)state;
	assert_non_null(mkdtemp(dir));
	sh("cd %s && mkdir data wal space other data/pg_tblspc && "
	   "mkdir wal/archive_status space/PG_15_202209061 && touch wal/w space/PG_15_202209061/s other/o && echo 15 > data/PG_VERSION && "
	   "ln -s ../wal data/pg_wal && ln -s ../../space data/pg_tblspc/16385 && "
	   "ln -s ../other data/elsewhere",
	    dir);
	snprintf(path, sizeof path, "%s/data", dir);
	assert_int_equal(data_remove(path), 0);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof path, "%s/wal/w", dir);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof path, "%s/space/PG_15_202209061/s", dir);
	assert_int_equal(access(path, F_OK), -1);
	/* an unknown link is cut, what it points to is not ours */
	snprintf(path, sizeof path, "%s/other/o", dir);
	assert_int_equal(access(path, F_OK), 0);
	sh("rm -rf %s", dir);
}

static void
test_data_move(void **state)
{
	char dir[] = "/tmp/pgdata-XXXXXX", path[96];

	(void)state;
	assert_non_null(mkdtemp(dir));
	sh("cd %s && mkdir data data.failed wal && touch data.failed/old wal/w "
	   "data/new && ln -s ../wal data/pg_wal",
	    dir);
	snprintf(path, sizeof path, "%s/data", dir);
	assert_int_equal(data_move(path), 0);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof path, "%s/data.failed/new", dir);
	assert_int_equal(access(path, F_OK), 0);
	snprintf(path, sizeof path, "%s/data.failed/old", dir);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof path, "%s/data.failed/pg_wal/w", dir);
	assert_int_equal(access(path, F_OK), 0);
	sh("rm -rf %s", dir);
}

static bool
there(const char *dir, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return lstat(path, &st) == 0;
}

/* Something of each kind that is no data directory. */
static void
test_strangers_stay(void **state)
{
	static const char *const makes[] = {
		/* a home directory with names like ours */
		"mkdir base global pg_wal && touch thesis.tex",
		"mkdir base && touch base/x notes",
		"touch postgresql.conf README",
		/* PG_VERSION is a directory: somebody else's */
		"mkdir PG_VERSION && touch file",
		"mkdir -p global/pg_control && touch file",
		"touch lost",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof makes / sizeof *makes; i++) {
		char dir[] = "/tmp/pgdata-XXXXXX", path[96];

		assert_non_null(mkdtemp(dir));
		sh("mkdir %s/data && cd %s/data && %s && ls -R > ../before",
		    dir, dir, makes[i]);
		snprintf(path, sizeof path, "%s/data", dir);
		assert_int_not_equal(data_remove(path), 0);
		sh("cd %s/data && ls -R | cmp - ../before && rm -rf %s", dir,
		    dir);
	}
}

/* Cut off early: nothing but what initdb and pg_basebackup make. */
static void
test_torsos_go(void **state)
{
	static const char *const makes[] = { "mkdir pg_wal pg_tblspc",
		"mkdir base global pg_wal pg_notify; touch postgresql.conf",
		"touch backup_label.old; mkdir pg_wal",
		"touch PG_VERSION anything", "touch backup_label; mkdir mine",
		"mkdir global; touch global/pg_control" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof makes / sizeof *makes; i++) {
		char dir[] = "/tmp/pgdata-XXXXXX", path[96];

		assert_non_null(mkdtemp(dir));
		sh("mkdir %s/data && cd %s/data && %s", dir, dir, makes[i]);
		snprintf(path, sizeof path, "%s/data", dir);
		assert_int_equal(data_remove(path), 0);
		assert_false(there(dir, "data"));
		sh("rm -rf %s", dir);
	}
}

/* The directory itself is a link: the link goes, its target is kept (9.5). */
static void
test_link_to_data(void **state)
{
	char dir[] = "/tmp/pgdata-XXXXXX", path[96];

	(void)state;
	assert_non_null(mkdtemp(dir));
	sh("cd %s && mkdir real && touch real/PG_VERSION && ln -s real data",
	    dir);
	snprintf(path, sizeof path, "%s/data", dir);
	assert_int_equal(data_remove(path), 0);
	assert_false(there(dir, "data"));
	assert_true(there(dir, "real/PG_VERSION"));
	sh("rm -rf %s", dir);
}

/* Two clusters in one tablespace location, and a file of the operator's. */
static void
test_shared_tablespace(void **state)
{
	char dir[] = "/tmp/pgdata-XXXXXX", path[96];

	(void)state;
	assert_non_null(mkdtemp(dir));
	sh("cd %s && mkdir -p data/pg_tblspc space/PG_15_202209061/5 "
	   "space/PG_14_202107181/5 space/PG_150_1 own && "
	   "echo 15 > data/PG_VERSION && touch space/mine own/file && "
	   "ln -s ../../space data/pg_tblspc/16385 && "
	   "ln -s ../../own data/pg_tblspc/name && "
	   "ln -s ../../own data/pg_tblspc/0",
	    dir);
	snprintf(path, sizeof path, "%s/data", dir);
	assert_int_equal(data_remove(path), 0);
	assert_false(there(dir, "data"));
	assert_false(there(dir, "space/PG_15_202209061"));
	assert_true(there(dir, "space/PG_14_202107181/5"));
	assert_true(there(dir, "space/PG_150_1"));
	assert_true(there(dir, "space/mine"));
	/* what is no tablespace's number is no tablespace */
	assert_true(there(dir, "own/file"));
	sh("rm -rf %s", dir);
}

/* pg_wal links to what is no WAL directory. */
static void
test_foreign_wal_target(void **state)
{
	char dir[] = "/tmp/pgdata-XXXXXX", path[96];

	(void)state;
	assert_non_null(mkdtemp(dir));
	sh("cd %s && mkdir data home empty && echo 15 > data/PG_VERSION && "
	   "touch home/letter home/000000010000000000000001 && "
	   "ln -s ../home data/pg_wal && ln -s ../empty data/pg_xlog",
	    dir);
	snprintf(path, sizeof path, "%s/data", dir);
	assert_int_equal(data_remove(path), 0);
	assert_false(there(dir, "data"));
	assert_true(there(dir, "home/letter"));
	assert_true(there(dir, "home/000000010000000000000001"));
	assert_false(there(dir, "empty"));
	sh("rm -rf %s", dir);
}

/* A link inside, also one that was put there meanwhile, is never followed. */
static void
test_links_inside(void **state)
{
	char dir[] = "/tmp/pgdata-XXXXXX", path[96];

	(void)state;
	assert_non_null(mkdtemp(dir));
	sh("cd %s && mkdir -p data/base/1 home && echo 15 > data/PG_VERSION && "
	   "touch home/letter && ln -s ../../../home data/base/1/x && "
	   "ln -s ../home data/base/y && ln -s ../home data/pg_log && "
	   "ln -s /nowhere data/pg_wal",
	    dir);
	snprintf(path, sizeof path, "%s/data", dir);
	assert_int_equal(data_remove(path), 0);
	assert_false(there(dir, "data"));
	assert_true(there(dir, "home/letter"));
	sh("rm -rf %s", dir);
}

/* Both kinds of links follow a directory that is moved aside. */
static void
test_move_with_links(void **state)
{
	char dir[] = "/tmp/pgdata-XXXXXX", path[96];

	(void)state;
	assert_non_null(mkdtemp(dir));
	sh("cd %s && mkdir -p data/pg_tblspc wal/archive_status space/PG_15_1 "
	   "space.failed/old && echo 15 > data/PG_VERSION && "
	   "ln -s ../wal data/pg_wal && ln -s ../../space data/pg_tblspc/7",
	    dir);
	snprintf(path, sizeof path, "%s/data", dir);
	assert_int_equal(data_move(path), 0);
	assert_false(there(dir, "data"));
	assert_false(there(dir, "wal"));
	assert_false(there(dir, "space"));
	assert_true(there(dir, "data.failed/pg_wal/archive_status"));
	assert_true(there(dir, "data.failed/pg_tblspc/7/PG_15_1"));
	assert_false(there(dir, "space.failed/old"));
	assert_int_equal(data_move(path), 0);
	sh("rm -rf %s", dir);
}

static void
test_clean_slots(void **state)
{
	char dir[] = "/tmp/pgdata-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(data_clean_slots(dir), 0);
	sh("mkdir -p %s/pg_replslot/a && touch %s/pg_replslot/a/state", dir,
	    dir);
	assert_int_equal(data_clean_slots(dir), 0);
	assert_true(there(dir, "pg_replslot"));
	assert_false(there(dir, "pg_replslot/a"));
	sh("rm -rf %s", dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_data_empty),
		cmocka_unit_test(test_data_remove_refuses_strangers),
		cmocka_unit_test(test_data_remove_with_links),
		cmocka_unit_test(test_data_move),
		cmocka_unit_test(test_strangers_stay),
		cmocka_unit_test(test_torsos_go),
		cmocka_unit_test(test_link_to_data),
		cmocka_unit_test(test_shared_tablespace),
		cmocka_unit_test(test_foreign_wal_target),
		cmocka_unit_test(test_links_inside),
		cmocka_unit_test(test_move_with_links),
		cmocka_unit_test(test_clean_slots) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
