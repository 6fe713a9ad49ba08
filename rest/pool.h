/*
 * pool.h: objects of one size in blocks of their own, so that what a flood of
 * connections took goes back to the system when it is over: in the heap, small
 * things that stay would hold on to the pages between them.
 */
#ifndef REST_POOL_H
#define REST_POOL_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

struct pool_block;

struct pool {
	size_t size;
	uint32_t blocks; /* for tests */
	TAILQ_HEAD(, pool_block) partial, full;
};

/* size: at most 16 kB. */
void pool_init(struct pool *, size_t size);
/* All objects must have been put back. */
void pool_clear(struct pool *);
/* Not initialized; NULL when memory is short. */
void *pool_get(struct pool *);
void pool_put(struct pool *, void *); /* NULL allowed */

#endif
