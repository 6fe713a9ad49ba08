/*
 * pool.c: see pool.h.  A block is a mapping aligned to its own size, so that
 * an object's address tells its block.  One empty block is kept.
 */
#include <sys/mman.h>

#include <assert.h>
#include <stdlib.h>

#include "pool.h"

#ifdef SANITIZED

/* Each object by itself, for the sanitizer's sake. */
void
pool_init(struct pool *p, size_t size)
{
	p->size = size;
	p->blocks = 0;
}

void
pool_clear(struct pool *p)
{
	(void)p;
}

void *
pool_get(struct pool *p)
{
	return malloc(p->size);
}

void
pool_put(struct pool *p, void *object)
{
	(void)p;
	free(object);
}

#else

#define BLOCK ((size_t)65536)
#define ALIGN 16

struct pool_block {
	TAILQ_ENTRY(pool_block) entry;
	uint32_t used, fresh; /* fresh: never handed out, from here on */
	struct slot {
		struct slot *next;
	} * free;
};

#define FIRST ((sizeof(struct pool_block) + ALIGN - 1) / ALIGN * ALIGN)

static uint32_t
per_block(const struct pool *p)
{
	return (uint32_t)((BLOCK - FIRST) / p->size);
}

static struct pool_block *
block_map(struct pool *p)
{
	uint8_t *m, *start;
	struct pool_block *b;

	m = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		return NULL;
	start = m + (BLOCK - (uintptr_t)m % BLOCK) % BLOCK;
	if (start > m)
		(void)munmap(m, (size_t)(start - m));
	if (start < m + BLOCK)
		(void)munmap(start + BLOCK, (size_t)(m + BLOCK - start));
	b = (struct pool_block *)(void *)start; /* all zero */
	TAILQ_INSERT_HEAD(&p->partial, b, entry);
	p->blocks++;
	return b;
}

static void
block_unmap(struct pool *p, struct pool_block *b)
{
	TAILQ_REMOVE(&p->partial, b, entry);
	(void)munmap(b, BLOCK);
	p->blocks--;
}

void
pool_init(struct pool *p, size_t size)
{
	p->size = (size + ALIGN - 1) / ALIGN * ALIGN;
	p->blocks = 0;
	assert(per_block(p) > 3);
	TAILQ_INIT(&p->partial);
	TAILQ_INIT(&p->full);
}

void
pool_clear(struct pool *p)
{
	assert(TAILQ_EMPTY(&p->full));
	while (!TAILQ_EMPTY(&p->partial))
		block_unmap(p, TAILQ_FIRST(&p->partial));
}

void *
pool_get(struct pool *p)
{
	struct pool_block *b = TAILQ_FIRST(&p->partial);
	void *object;

	if (b == NULL && (b = block_map(p)) == NULL)
		return NULL;
	if (b->free != NULL) {
		object = b->free;
		b->free = b->free->next;
	} else
		object = (uint8_t *)b + FIRST + p->size * b->fresh++;
	if (++b->used == per_block(p)) {
		TAILQ_REMOVE(&p->partial, b, entry);
		TAILQ_INSERT_TAIL(&p->full, b, entry);
	}
	return object;
}

void
pool_put(struct pool *p, void *object)
{
	struct pool_block *b;
	struct slot *s = object;

	if (object == NULL)
		return;
	b = (struct pool_block *)((uintptr_t)object & ~(uintptr_t)(BLOCK - 1));
	s->next = b->free;
	b->free = s;
	if (b->used-- == per_block(p)) {
		TAILQ_REMOVE(&p->full, b, entry);
		/* behind those that are nearer to being empty */
		TAILQ_INSERT_TAIL(&p->partial, b, entry);
	}
	if (b->used > 0)
		return;
	/* empty: one is kept, as the last to be used */
	if (TAILQ_FIRST(&p->partial) != b || TAILQ_NEXT(b, entry) != NULL)
		block_unmap(p, b);
}

#endif
