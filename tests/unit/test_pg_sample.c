/*
 * test_pg_sample.c: some bytes of the WAL from files and from messages.
 * Against a real walsender: test_pg_sql.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helpers/postgres/wal_sample.h"

#define MB (UINT64_C(1) << 20)

static char dir[] = "/tmp/sample-XXXXXX";

/* Bytes that tell where they are. */
static void
put(const char *wal, const char *name, size_t size)
{
	char path[128];
	FILE *f;
	size_t i;

	snprintf(path, sizeof path, "%s/%s", dir, wal);
	(void)mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/%s/%s", dir, wal, name);
	f = fopen(path, "w");
	assert_non_null(f);
	for (i = 0; i < size; i++)
		assert_int_not_equal(fputc((int)(i * 7 / 3 & 0xff), f), EOF);
	assert_int_equal(fclose(f), 0);
}

static void
gone(const char *wal, const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s/%s", dir, wal, name);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof path, "%s/%s", dir, wal);
	assert_int_equal(rmdir(path), 0);
}

static void
test_files(void **state)
{
	const char *name = "00000002000000010000000F",
		   *big = "0000000A0000000500000003";
	struct wal_sample s;
	struct pgerr err;
	uint32_t i;

	(void)state;
	put("pg_wal", name, 1 * MB);
	assert_true(wal_sample_read(dir, 150000, 2,
	    UINT64_C(0x100000000) + 15 * MB + 40, MB, &s, &err));
	assert_int_equal(s.size, 48);
	for (i = 0; i < s.size; i++)
		assert_int_equal(s.bytes[i], ((i + 40) * 7 / 3) & 0xff);
	/* a page begins: its header comes first */
	assert_true(wal_sample_read(dir, 150000, 2,
	    UINT64_C(0x100000000) + 15 * MB + 8192, MB, &s, &err));
	assert_int_equal(s.size, 64);
	/* the segment ends */
	assert_true(wal_sample_read(
	    dir, 150000, 2, UINT64_C(0x100000000) + 16 * MB - 8, MB, &s, &err));
	assert_int_equal(s.size, 8);
	/* the next is not there, nor is another timeline's */
	assert_false(wal_sample_read(
	    dir, 150000, 2, UINT64_C(0x100000000) + 16 * MB, MB, &s, &err));
	assert_non_null(strstr(err.text, "000000020000000100000010"));
	assert_false(wal_sample_read(
	    dir, 150000, 3, UINT64_C(0x100000000) + 15 * MB, MB, &s, &err));
	/* other sizes of segments, or none */
	assert_false(wal_sample_read(dir, 150000, 2, 0, 0, &s, &err));
	assert_false(wal_sample_read(dir, 150000, 2, 0, 3 * MB, &s, &err));
	assert_false(
	    wal_sample_read(dir, 150000, 2, 0, UINT64_C(1) << 31, &s, &err));
	gone("pg_wal", name);
	put("pg_xlog", big, 100);
	assert_true(wal_sample_read(dir, 90600, 10,
	    UINT64_C(0x500000000) + 3 * 1024 * MB + 40, 1024 * MB, &s, &err));
	/* cut off */
	assert_false(wal_sample_read(dir, 90600, 10,
	    UINT64_C(0x500000000) + 3 * 1024 * MB + 56, 1024 * MB, &s, &err));
	gone("pg_xlog", big);
}

static void
test_messages(void **state)
{
	struct wal_sample s = { .lsn = UINT64_C(0x0102030405060708),
		.size = 8 };
	char message[25 + 8 + 1] = "w\1\2\3\4\5\6\7\10";

	(void)state;
	memcpy(s.bytes, "abcdefgh", 8);
	memcpy(message + 25, s.bytes, 8);
	message[33] = 'i';
	assert_int_equal(wal_sample_compare(&s, message, 34), 1);
	assert_int_equal(wal_sample_compare(&s, message, 33), 1);
	assert_int_equal(wal_sample_compare(&s, message, 32), -1);
	assert_int_equal(wal_sample_compare(&s, message, 0), -1);
	message[32] = 'x';
	assert_int_equal(wal_sample_compare(&s, message, 34), 0);
	message[8]++; /* another place */
	assert_int_equal(wal_sample_compare(&s, message, 34), -1);
	message[8]--;
	message[0] = 'k';
	assert_int_equal(wal_sample_compare(&s, message, 34), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_messages),
	};
	int failed;

	if (mkdtemp(dir) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(dir);
	return failed;
}
