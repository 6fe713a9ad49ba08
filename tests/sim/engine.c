/*
 * engine.c: virtual time, the queue of events, chance, and the fate of work
 * whose process hangs or died.  Knows nothing of clusters.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "sim.h"

/* splitmix64 */
uint64_t
rnd(struct world *w)
{
	uint64_t z = (w->rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

int64_t
rnd_range(struct world *w, int64_t low, int64_t high)
{
	return low + (int64_t)(rnd(w) % (uint64_t)(high - low + 1));
}

bool
chance(struct world *w, int percent)
{
	return (int)(rnd(w) % 100) < percent;
}

/*
 * ---- the queue: a heap of keys, the events beside it ----
 *
 * A key is the time, the order of birth and the slot of the event in one
 * number, so that one comparison without a branch tells who is first.
 */

#define SLOT_BITS 20

static unsigned __int128
key(int64_t when, uint64_t seq, uint32_t slot)
{
	return (unsigned __int128)(uint64_t)when << 64 | seq << SLOT_BITS |
	    slot;
}

static int64_t
key_time(unsigned __int128 k)
{
	return (int64_t)(k >> 64);
}

static void *
resize(void *p, size_t n, size_t size)
{
	p = reallocarray(p, n, size);
	if (p == NULL)
		abort();
	return p;
}

static void
grow(struct world *w)
{
	uint32_t i, cap = w->heap_cap == 0 ? 256 : w->heap_cap * 2;

	if (cap > 1u << SLOT_BITS)
		abort();
	w->heap = resize(w->heap, cap, sizeof(*w->heap));
	w->slots = resize(w->slots, cap, sizeof(*w->slots));
	w->spare = resize(w->spare, cap, sizeof(*w->spare));
	/* all that was there is in use: the last of `spare` is taken next */
	for (i = w->heap_cap; i < cap; i++)
		w->spare[cap - 1 - i] = i;
	w->heap_cap = cap;
}

/* From a hole at i upwards. */
static void
rise(unsigned __int128 *heap, uint32_t i, unsigned __int128 k)
{
	for (; i > 0 && k < heap[(i - 1) / 2]; i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = k;
}

/* A place for an event in the heap. */
static struct ev *
push(struct world *w, unsigned __int128 k)
{
	uint32_t slot;

	if (w->nheap == w->heap_cap)
		grow(w);
	slot = w->spare[w->heap_cap - w->nheap - 1];
	rise(w->heap, w->nheap++, k | slot);
	return &w->slots[slot];
}

/*
 * What is to happen at once stands in a line of its own: all that the heap
 * has for this instant was put there before.
 */
static struct ev *
push_now(struct world *w)
{
	if (w->nline == w->line_cap) {
		w->line_cap = w->line_cap == 0 ? 64 : w->line_cap * 2;
		w->line = resize(w->line, w->line_cap, sizeof(*w->line));
	}
	return &w->line[w->nline++];
}

static struct ev *
place(struct world *w, int64_t when)
{
	struct ev *e =
	    when <= w->now ? push_now(w) : push(w, key(when, ++w->seq, 0));

	e->at = when < w->now ? w->now : when;
	return e;
}

/* The hole goes down to a leaf: what fills it mostly belongs there. */
static struct ev
pop(struct world *w)
{
	unsigned __int128 *heap = w->heap;
	uint32_t slot = (uint32_t)heap[0] & ((1u << SLOT_BITS) - 1);
	uint32_t n = --w->nheap, i = 0, child;

	for (child = 2; child < n; child = 2 * i + 2) {
		child -= heap[child - 1] < heap[child];
		heap[i] = heap[child];
		i = child;
	}
	if (child == n) {
		heap[i] = heap[child - 1];
		i = child - 1;
	}
	rise(heap, i, heap[n]);
	w->spare[w->heap_cap - n - 1] = slot;
	return w->slots[slot];
}

/* One event that always comes again stands beside the queue. */
void
beat(struct world *w, int64_t when, void (*fn)(struct world *))
{
	w->beat = key(when, ++w->seq, 0);
	w->beat_fn = fn;
}

/* Nothing else happens at this instant. */
bool
engine_alone(const struct world *w)
{
	return w->line_at == w->nline && key_time(w->beat) > w->now &&
	    (w->nheap == 0 || key_time(w->heap[0]) > w->now);
}

static struct ev *
fill(struct ev *e, void (*fn)(struct world *, struct ev *), struct node *n,
    enum proc proc)
{
	e->fn = fn;
	e->n = n;
	e->proc = proc;
	e->gen = n != NULL && proc < PROC_COUNT ? n->proc[proc].gen : 0;
	e->id = 0;
	e->arg = 0;
	return e;
}

/* The returned event may be filled in until the next call; its time is set. */
struct ev *
at(struct world *w, int64_t when, void (*fn)(struct world *, struct ev *),
    struct node *n, enum proc proc)
{
	return fill(place(w, when), fn, n, proc);
}

/* ---- limits: few are reached, so no event is made of them before ---- */

unsigned __int128
limit(struct world *w, int64_t when)
{
	unsigned __int128 k = key(when < w->now ? w->now : when, ++w->seq, 0);

	if (k < w->limit)
		w->limit = k;
	return k;
}

struct ev *
at_limit(struct world *w, unsigned __int128 k,
    void (*fn)(struct world *, struct ev *), struct node *n, enum proc proc)
{
	struct ev *e = push(w, k);

	e->at = key_time(k);
	return fill(e, fn, n, proc);
}

static void
hold(struct world *w, struct process *p, const struct ev *e)
{
	if (p->nheld == MAX_HELD) {
		trace(w, e->n, "a hung process's queue is full");
		return;
	}
	if (p->held == NULL)
		p->held = resize(NULL, MAX_HELD, sizeof(*p->held));
	p->held[p->nheld++] = *e;
}

/* What is next; false: it was the beat, which has had its turn. */
static bool
take(struct world *w, struct ev *e)
{
	unsigned __int128 next = w->nheap == 0 ? NO_LIMIT : w->heap[0];
	bool beats = w->beat < next;

	if (beats)
		next = w->beat;
	if (w->line_at < w->nline && key_time(next) > w->now) {
		*e = w->line[w->line_at++];
		if (w->line_at == w->nline)
			w->line_at = w->nline = 0;
		return true;
	}
	if (!beats) {
		*e = pop(w);
		return true;
	}
	w->now = key_time(next);
	w->beat_fn(w);
	return false;
}

void
engine_step(struct world *w)
{
	struct ev e;

	/* one may be reached before all else that is known */
	while (w->limit < w->beat && (w->nheap == 0 || w->limit < w->heap[0]))
		asks_near(w);
	if (!take(w, &e))
		return;
	w->now = e.at;
	if (e.proc < PROC_COUNT) {
		struct process *p = &e.n->proc[e.proc];

		if (!p->up || p->gen != e.gen)
			return;
		if (p->hung) {
			hold(w, p, &e);
			return;
		}
	}
	e.fn(w, &e);
}

void
process_stop(struct node *n, enum proc proc)
{
	struct process *p = &n->proc[proc];

	p->up = false;
	p->hung = false;
	p->gen++;
	p->nheld = 0;
}

void
process_resume(struct node *n, enum proc proc)
{
	struct process *p = &n->proc[proc];
	uint32_t i, count = p->nheld;

	if (!p->hung)
		return;
	p->hung = false;
	if (proc == PROC_POSTGRES)
		n->well_since = n->w->now;
	if (proc == PROC_WATCHDOG)
		n->keeper.since = n->w->now;
	p->nheld = 0;
	for (i = 0; i < count; i++) {
		struct ev *e = place(n->w, n->w->now);

		*e = p->held[i];
		e->at = n->w->now;
	}
}

bool
process_ok(const struct node *n, enum proc proc)
{
	return n->machine_up && n->proc[proc].up && !n->proc[proc].hung;
}

/* ---- output ---- */

void
trace(struct world *w, const struct node *n, const char *fmt, ...)
{
	va_list ap;

	if (!w->tracing)
		return;
	printf("%9.3f %-3s ", (double)w->now / 1e9, n == NULL ? "-" : n->name);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void
violate(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->violated)
		return;
	w->violated = true;
	va_start(ap, fmt);
	(void)vsnprintf(w->violation, sizeof(w->violation), fmt, ap);
	va_end(ap);
	trace(w, NULL, "VIOLATION: %s", w->violation);
}

/* ---- links and clocks ---- */

bool
linked(const struct world *w, int from, int to)
{
	int f = from == STORE ? MAX_NODES : from;
	int t = to == STORE ? MAX_NODES : to;

	if (from == to)
		return true;
	if (from == REMOTE || to == REMOTE)
		return from == REMOTE ? w->node[to].machine_up :
					w->node[from].machine_up;
	if (from != STORE && !w->node[from].machine_up)
		return false;
	if (to != STORE && !w->node[to].machine_up)
		return false;
	return !w->cut[f][t];
}

int64_t
local_time(const struct node *n)
{
	return n->offset + n->w->now + n->w->now / 1000000 * n->drift_ppm;
}

int64_t
true_time(const struct node *n, int64_t local)
{
	int64_t ahead = local - local_time(n);

	/* rounded up: never before the local time is reached */
	return n->w->now + ahead - ahead / 1000000 * n->drift_ppm + 1000;
}

int64_t
wall_time(const struct node *n)
{
	return WALL + (local_time(n) - n->offset) / 1000 + n->wall_step;
}
