/*
 * test_rest_pool.c: pools of objects: what is handed out is apart, and what
 * is put back leaves the process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rest/pool.h"

#define MANY 5000
#define SIZE 1000

static void
fill(unsigned char *p, int i)
{
	memset(p, i % 251, SIZE);
}

static bool
whole(const unsigned char *p, int i)
{
	int j;

	for (j = 0; j < SIZE; j++)
		if (p[j] != i % 251)
			return false;
	return true;
}

static void
test_apart(void **state)
{
	static unsigned char *p[MANY];
	struct pool pool;
	int i, round;

	(void)state;
	srandom(1);
	pool_init(&pool, SIZE);
	for (round = 0; round < 4; round++) {
		for (i = 0; i < MANY; i++)
			if (p[i] == NULL) {
				assert_non_null(p[i] = pool_get(&pool));
				assert_int_equal((uintptr_t)p[i] % 16, 0);
				fill(p[i], i);
			}
		for (i = 0; i < MANY; i++)
			assert_true(whole(p[i], i));
		for (i = 0; i < MANY; i++)
			if (round == 3 || random() % 3 == 0) {
				pool_put(&pool, p[i]);
				p[i] = NULL;
			}
	}
	pool_put(&pool, NULL);
	assert_true(pool.blocks <= 1);
	pool_clear(&pool);
	assert_int_equal(pool.blocks, 0);
}

#ifndef SANITIZED
/* One at a time makes no mappings; a flood leaves one block. */
static void
test_blocks(void **state)
{
	static void *p[MANY];
	struct pool pool;
	void *one, *again;
	int i;

	(void)state;
	pool_init(&pool, SIZE);
	one = pool_get(&pool);
	pool_put(&pool, one);
	for (i = 0; i < 1000; i++) {
		again = pool_get(&pool);
		assert_ptr_equal(again, one);
		pool_put(&pool, again);
	}
	assert_int_equal(pool.blocks, 1);
	for (i = 0; i < MANY; i++)
		p[i] = pool_get(&pool);
	assert_true(pool.blocks >= MANY * SIZE / 65536);
	/* the last of each block, and with it the block, goes in any order */
	for (i = 0; i < MANY; i += 2)
		pool_put(&pool, p[i]);
	for (i = 1; i < MANY; i += 2)
		pool_put(&pool, p[i]);
	assert_int_equal(pool.blocks, 1);
	pool_clear(&pool);
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_apart),
#ifndef SANITIZED
		cmocka_unit_test(test_blocks),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
