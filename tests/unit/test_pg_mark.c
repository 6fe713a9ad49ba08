/*
 * test_pg_mark.c: helpers/postgres/data_mark.c: marks of unfinished work on a
 * data directory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/postgres/job.h"

static char top[64], data[96];

static int
begin(void **state)
{
	(void)state;
	snprintf(top, sizeof top, "/tmp/test-mark-XXXXXX");
	if (mkdtemp(top) == NULL)
		return -1;
	snprintf(data, sizeof data, "%s/data", top);
	return mkdir(data, 0700);
}

static int
end(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof cmd, "rm -rf %s", top);
	return system(cmd);
}

static bool
exists(const char *suffix)
{
	char path[128];

	snprintf(path, sizeof path, "%s%s", data, suffix);
	return access(path, F_OK) == 0;
}

static void
test_creation(void **state)
{
	char slashes[128];

	(void)state;
	assert_int_equal(data_marked(data), MARK_NONE);
	data_mark(data, MARK_CLONE);
	assert_int_equal(data_marked(data), MARK_CLONE);
	/* the same mark, however the directory is written */
	snprintf(slashes, sizeof slashes, "%s//", data);
	assert_int_equal(data_marked(slashes), MARK_CLONE);
	data_mark(slashes, MARK_BOOTSTRAP);
	assert_int_equal(data_marked(data), MARK_BOOTSTRAP);
	data_mark(data, MARK_CLONE);
	assert_int_equal(data_marked(data), MARK_CLONE);
	data_mark(data, MARK_NONE);
	assert_int_equal(data_marked(data), MARK_NONE);
	assert_false(exists(".creating"));
}

static void
test_rewind(void **state)
{
	(void)state;
	assert_false(data_rewind_marked(data));
	assert_int_equal(data_rewind_mark(data), 0);
	assert_true(data_rewind_marked(data));
	assert_true(exists(".rewinding"));
	data_rewind_unmark(data);
	assert_false(data_rewind_marked(data));
	assert_false(exists(".rewinding"));
}

/* A directory put in its place by hand is not what was marked. */
static void
test_replaced(void **state)
{
	char old[128];

	(void)state;
	assert_int_equal(data_rewind_mark(data), 0);
	snprintf(old, sizeof old, "%s.old", data);
	assert_int_equal(rename(data, old), 0);
	assert_int_equal(mkdir(data, 0700), 0);
	assert_false(data_rewind_marked(data));
	assert_false(exists(".rewinding"));
}

/* Cut off while it was written: pg_rewind had not begun. */
static void
test_empty(void **state)
{
	char path[128];
	FILE *f;

	(void)state;
	snprintf(path, sizeof path, "%s.rewinding", data);
	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
	assert_false(data_rewind_marked(data));
}

static void
test_impossible(void **state)
{
	(void)state;
	assert_int_not_equal(data_rewind_mark("/nonexistent/data"), 0);
	assert_false(data_rewind_marked("/nonexistent/data"));
}

static void
test_sysid(void **state)
{
	static const uint64_t id = UINT64_C(7301234567890123456);
	char path[160], text[WORD_SIZE];
	FILE *f;

	(void)state;
	assert_false(data_sysid(data, text, sizeof text));
	snprintf(path, sizeof path, "%s/global", data);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/global/pg_control", data);
	f = fopen(path, "w");
	assert_non_null(f);
	fwrite(&id, sizeof id, 1, f);
	fclose(f);
	assert_true(data_sysid(data, text, sizeof text));
	assert_string_equal(text, "7301234567890123456");
	assert_int_equal(truncate(path, 4), 0);
	assert_false(data_sysid(data, text, sizeof text));
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_creation), T(test_rewind),
		T(test_replaced), T(test_empty), T(test_impossible),
		T(test_sysid) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
