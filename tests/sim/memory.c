/*
 * memory.c: memory for the fast simulator: one thread that asks for the same
 * few sizes again and again.  Blocks of a size are kept for the next that asks
 * for it, and nothing goes back before the end.  It stands in for the C
 * library's in build/sim-fast alone, which no sanitizer watches.
 */
#ifdef SIM_FAST
#include <sys/mman.h>

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)8 << 20)
#define CLASSES 160 /* four to each doubling, from 16 bytes */
#define LARGEST ((size_t)1 << 40)

/* Before each block; behind it, while the block is free, the next one. */
struct block {
	size_t class;
	struct block *next;
};
#define HEAD 16

static struct block *spare[CLASSES];
static char *rest;
static size_t left;

static size_t
size_of(size_t class)
{
	return ((size_t)16 << class / 4) / 4 * (4 + class % 4);
}

/* The smallest one that is large enough. */
static size_t
class_of(size_t size)
{
	size_t log, class;

	if (size <= 16)
		return 0;
	log = 63 - (size_t)__builtin_clzl(size - 1);
	class = (log - 4) * 4 + ((size - 1) >> (log - 2) & 3) + 1;
	return class;
}

static void *
fresh(size_t class)
{
	size_t want = (size_of(class) + HEAD + 15) / 16 * 16;
	struct block *b;

	if (want > left) {
		size_t chunk = want > CHUNK ? want : CHUNK;
		void *p = mmap(NULL, chunk, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return NULL;
		(void)madvise(p, chunk, MADV_HUGEPAGE);
		rest = p;
		left = chunk;
	}
	b = (struct block *)rest;
	rest += want;
	left -= want;
	b->class = class;
	return b;
}

static inline void *
take(size_t size)
{
	size_t class = class_of(size);
	struct block *b;

	if (size > LARGEST || class >= CLASSES) {
		errno = ENOMEM;
		return NULL;
	}
	b = spare[class];
	if (b != NULL)
		spare[class] = b->next;
	else if ((b = fresh(class)) == NULL)
		return NULL;
	return (char *)b + HEAD;
}

__attribute__((used)) void *
malloc(size_t size)
{
	return take(size);
}

__attribute__((used)) void
free(void *p)
{
	struct block *b;

	if (p == NULL)
		return;
	b = (struct block *)((char *)p - HEAD);
	b->next = spare[b->class];
	spare[b->class] = b;
}

__attribute__((used)) void *
calloc(size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	p = take(bytes);
	return p == NULL ? NULL : memset(p, 0, bytes);
}

__attribute__((used)) void *
realloc(void *p, size_t size)
{
	size_t had;
	void *q;

	if (p == NULL)
		return take(size);
	had = size_of(((struct block *)((char *)p - HEAD))->class);
	if (size <= had)
		return p;
	q = take(size);
	if (q == NULL)
		return NULL;
	memcpy(q, p, had);
	free(p);
	return q;
}

/* The C library's own asks for no more than what all blocks have. */
__attribute__((used)) void *
memalign(size_t alignment, size_t size)
{
	return alignment <= 16 ? take(size) : NULL;
}

__attribute__((used)) void *
aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

__attribute__((used)) int
posix_memalign(void **p, size_t alignment, size_t size)
{
	*p = memalign(alignment, size);
	return *p == NULL ? ENOMEM : 0;
}

#endif
