/*
 * test_pg_disk.c: the loop never waits for fsync (helpers/postgres/disk.c).
 * fsync() is this file's own here: slow, and counted across processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "pg_jobs.h"

#define SLOW_MS 200

static struct shared {
	pid_t loop;
	int in_loop, elsewhere;
} * shared;

/* Instead of libc's. */
int
fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return -1;
	if (shared != NULL && getpid() == shared->loop)
		__atomic_add_fetch(&shared->in_loop, 1, __ATOMIC_SEQ_CST);
	else if (shared != NULL) {
		usleep(SLOW_MS * 1000);
		__atomic_add_fetch(&shared->elsewhere, 1, __ATOMIC_SEQ_CST);
	}
	return 0;
}

static void
counters_new(void)
{
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	shared->loop = getpid();
}

static void
counters_free(void)
{
	munmap(shared, sizeof *shared);
	shared = NULL;
}

static void
turn(struct stage *s, int ms)
{
	struct timeval tv = { 0, ms * 1000 };

	event_base_loopexit(s->c.base, &tv);
	event_base_dispatch(s->c.base);
}

static void
disk_end(struct stage *s)
{
	pgfile_defer_sync(NULL, NULL);
	free(s->c.disk);
	counters_free();
	stage_close(s);
}

static void
test_written_at_once_synced_later(void **state)
{
	struct stage *s = stage_open(state, "15", NULL);
	char path[160], text[32];
	struct pgerr err;
	int64_t began;
	int i;

	counters_new();
	s->c.disk = disk_new(&s->c);
	began = clock_boot_ns();
	for (i = 0; i < 20; i++) {
		stage_text(path, sizeof path, "%s/file%d", s->dir, i % 2);
		stage_text(text, sizeof text, "%d", i);
		assert_true(pgfile_write(path, text, strlen(text), 0600, &err));
	}
	/* 40 calls of fsync would have taken 8 s */
	assert_true(clock_boot_ns() - began < 2 * NS_PER_SEC);
	assert_int_equal(shared->in_loop, 0);
	assert_string_equal(stage_read(s, "file0"), "18");
	/* the first by itself, then both with their directory */
	for (i = 0; i < 1000 && shared->elsewhere < 6; i++)
		turn(s, 20);
	assert_int_equal(shared->elsewhere, 6);
	for (i = 0; i < 10; i++)
		turn(s, 20);
	assert_int_equal(shared->elsewhere, 6);
	assert_int_equal(shared->in_loop, 0);
	/* without change: neither written nor synced */
	assert_true(pgfile_write(path, "19", 2, 0600, &err));
	turn(s, 20);
	assert_int_equal(shared->elsewhere, 6);
	/* a file that went away meanwhile is nobody's fault */
	assert_true(pgfile_write(path, "x", 1, 0600, &err));
	assert_int_equal(unlink(path), 0);
	assert_true(pgfile_sync(path, &err));
	for (i = 0; i < 30; i++)
		turn(s, 20);
	assert_false(stage_logged(s, "file1"));
	disk_end(s);
}

/* What cannot be made anew is on the disk before its name is. */
static void
test_durable(void **state)
{
	struct stage *s = stage_open(state, "15", NULL);
	char path[160];
	struct pgerr err;

	counters_new();
	s->c.disk = disk_new(&s->c);
	stage_text(path, sizeof path, "%s/file", s->dir);
	assert_true(pgfile_write_durable(path, "x", 1, 0600, &err));
	assert_int_equal(shared->in_loop, 2);
	disk_end(s);
}

/* Cleaned before the server reads it, and not by the loop. */
static void
test_auto_conf_before_start(void **state)
{
	struct stage *s = stage_open(state, "15", NULL);

	counters_new();
	s->c.disk = disk_new(&s->c);
	s->spec.role = ROLE_PRIMARY;
	stage_write(s->data, "postgresql.auto.conf",
	    "work_mem = '1MB'\nrestore_command = 'x'\n", 0600);
	stage_program(s, "postgres", "cp data/postgresql.auto.conf seen");
	(void)stage_run(s, JOB_START_PRIMARY);
	assert_string_equal(stage_read(s, "seen"), "work_mem = '1MB'\n");
	assert_int_equal(shared->in_loop, 0);
	assert_true(shared->elsewhere >= 2);
	disk_end(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGE_TEST(test_written_at_once_synced_later),
		STAGE_TEST(test_durable),
		STAGE_TEST(test_auto_conf_before_start)
	};

	return cmocka_run_group_tests(tests, pg_server_start, pg_server_stop);
}
