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

/* ---- the queue: a heap of keys, the events beside it ---- */

static bool
before(const struct due *a, const struct due *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
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

	w->heap = resize(w->heap, cap, sizeof(*w->heap));
	w->slots = resize(w->slots, cap, sizeof(*w->slots));
	w->spare = resize(w->spare, cap, sizeof(*w->spare));
	/* all that was there is in use: the last of `spare` is taken next */
	for (i = w->heap_cap; i < cap; i++)
		w->spare[cap - 1 - i] = i;
	w->heap_cap = cap;
}

/* A slot for an event at that time; at and seq are set. */
static struct ev *
push(struct world *w, int64_t when)
{
	struct due d;
	struct ev *e;
	uint32_t i;

	if (w->nheap == w->heap_cap)
		grow(w);
	d.at = when;
	d.seq = ++w->seq;
	d.slot = w->spare[w->heap_cap - w->nheap - 1];
	for (i = w->nheap++; i > 0; i = (i - 1) / 2) {
		if (!before(&d, &w->heap[(i - 1) / 2]))
			break;
		w->heap[i] = w->heap[(i - 1) / 2];
	}
	w->heap[i] = d;
	e = &w->slots[d.slot];
	e->at = d.at;
	e->seq = d.seq;
	return e;
}

static struct ev
pop(struct world *w)
{
	struct due top = w->heap[0], last = w->heap[--w->nheap];
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < w->nheap) {
		if (child + 1 < w->nheap &&
		    before(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!before(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	w->spare[w->heap_cap - w->nheap - 1] = top.slot;
	return w->slots[top.slot];
}

/* The returned event may be filled in until the next call; its time is set. */
struct ev *
at(struct world *w, int64_t when, void (*fn)(struct world *, struct ev *),
    struct node *n, enum proc proc)
{
	struct ev *e = push(w, when < w->now ? w->now : when);

	e->fn = fn;
	e->n = n;
	e->proc = proc;
	e->gen = n != NULL && proc < PROC_COUNT ? n->proc[proc].gen : 0;
	e->id = 0;
	e->arg = 0;
	return e;
}

static void
hold(struct world *w, struct process *p, const struct ev *e)
{
	if (p->nheld == MAX_HELD) {
		trace(w, e->n, "a hung process's queue is full");
		return;
	}
	p->held[p->nheld++] = *e;
}

void
engine_step(struct world *w)
{
	struct ev e = pop(w);

	w->now = e.at;
	w->steps++;
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
		struct ev *e = push(n->w, n->w->now);
		uint64_t seq = e->seq;

		*e = p->held[i];
		e->at = n->w->now;
		e->seq = seq;
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
