/*
 * diff.c: unified difference of two texts, with the very hunks that Python's
 * difflib finds: the longest common run of lines, the first of equally long
 * ones, and so on in what is before and behind it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "diff.h"

#define CONTEXT 3
/* Of long texts, lines that stand for more than a hundredth of them do not
 * start a run. */
#define MANY_LINES 200

struct line {
	const char *s;
	size_t len;
	int id;	  /* equal lines, equal numbers */
	int next; /* b: the next one with this number, -1 = none */
};

struct side {
	struct line *v;
	int n;
};

struct block {
	int a, b, n;
};

struct diff {
	struct side a, b;
	int *heads, *tails, *counts; /* by id: chain of lines of b */
	int *now, *before; /* by place in b: length of the run ending there */
	struct block *blocks;
	int nblocks;
};

static void *
array(size_t n, size_t size)
{
	void *p = calloc(n + 1, size);

	if (p == NULL)
		ctl_error("out of memory");
	return p;
}

/* ---- lines and their numbers ---- */

static void
split(const char *text, struct side *side)
{
	size_t len = strlen(text), n = 1, i;

	while (len > 0 && text[len - 1] == '\n')
		len--;
	for (i = 0; i < len; i++)
		if (text[i] == '\n')
			n++;
	side->v = array(n, sizeof(*side->v));
	side->n = 0;
	for (i = 0; i <= len; i++) {
		struct line *l = &side->v[side->n++];

		l->s = text + i;
		while (i < len && text[i] != '\n')
			i++;
		l->len = (size_t)(text + i - l->s);
	}
}

static int
by_text(const void *a, const void *b)
{
	const struct line *x = *(struct line *const *)a,
			  *y = *(struct line *const *)b;
	size_t n = x->len < y->len ? x->len : y->len;
	int c = memcmp(x->s, y->s, n);

	if (c != 0)
		return c;
	return x->len < y->len ? -1 : x->len > y->len;
}

/* Returns how many numbers there are. */
static int
number_lines(struct diff *d)
{
	int n = d->a.n + d->b.n, i, id = 0;
	struct line **all = array((size_t)n, sizeof(*all));

	for (i = 0; i < d->a.n; i++)
		all[i] = &d->a.v[i];
	for (i = 0; i < d->b.n; i++)
		all[d->a.n + i] = &d->b.v[i];
	qsort(all, (size_t)n, sizeof(*all), by_text);
	for (i = 0; i < n; i++) {
		if (i > 0 && by_text(&all[i - 1], &all[i]) != 0)
			id++;
		all[i]->id = id;
	}
	free(all);
	return id + 1;
}

static void
chain_lines(struct diff *d)
{
	int n = number_lines(d), i, id;

	d->heads = array((size_t)n, sizeof(int));
	d->tails = array((size_t)n, sizeof(int));
	d->counts = array((size_t)n, sizeof(int));
	for (i = 0; i < n; i++)
		d->heads[i] = d->tails[i] = -1;
	for (i = 0; i < d->b.n; i++) {
		id = d->b.v[i].id;
		d->b.v[i].next = -1;
		if (d->tails[id] == -1)
			d->heads[id] = i;
		else
			d->b.v[d->tails[id]].next = i;
		d->tails[id] = i;
		d->counts[id]++;
	}
	for (i = 0; d->b.n >= MANY_LINES && i < n; i++)
		if (d->counts[i] > d->b.n / 100 + 1)
			d->heads[i] = -1;
}

/* ---- common runs ---- */

static bool
same(const struct diff *d, int i, int j)
{
	return d->a.v[i].id == d->b.v[j].id;
}

static void
clear(const struct diff *d, int *lengths, int i)
{
	int j;

	for (j = d->heads[d->a.v[i].id]; j != -1; j = d->b.v[j].next)
		lengths[j + 1] = 0;
}

static struct block
longest(struct diff *d, int alo, int ahi, int blo, int bhi)
{
	struct block best = { alo, blo, 0 };
	int i, j, *swap;

	for (i = alo; i < ahi; i++) {
		for (j = d->heads[d->a.v[i].id]; j != -1 && j < bhi;
		     j = d->b.v[j].next) {
			if (j < blo)
				continue;
			d->now[j + 1] = d->before[j] + 1;
			if (d->now[j + 1] > best.n) {
				best.n = d->now[j + 1];
				best.a = i - best.n + 1;
				best.b = j - best.n + 1;
			}
		}
		if (i > alo)
			clear(d, d->before, i - 1);
		swap = d->now;
		d->now = d->before;
		d->before = swap;
	}
	if (ahi > alo)
		clear(d, d->before, ahi - 1);
	while (
	    best.a > alo && best.b > blo && same(d, best.a - 1, best.b - 1)) {
		best.a--;
		best.b--;
		best.n++;
	}
	while (best.a + best.n < ahi && best.b + best.n < bhi &&
	    same(d, best.a + best.n, best.b + best.n))
		best.n++;
	return best;
}

static void
add_block(struct diff *d, struct block b)
{
	struct block *last = d->nblocks > 0 ? &d->blocks[d->nblocks - 1] : NULL;

	if (last != NULL && last->a + last->n == b.a &&
	    last->b + last->n == b.b)
		last->n += b.n;
	else /* NOLINTNEXTLINE: array() does not give NULL */
		d->blocks[d->nblocks++] = b;
}

struct range {
	int alo, ahi, blo, bhi;
	struct block done; /* n > 0: emit this one instead of searching */
};

/* In order, without recursion: a stack of what is still to be done. */
static void
find_blocks(struct diff *d)
{
	struct range *stack = array(3 * ((size_t)d->a.n + 2), sizeof(*stack)),
		     r;
	struct block m;
	int n = 0;

	stack[n++] = (struct range){ 0, d->a.n, 0, d->b.n, { 0, 0, 0 } };
	while (n > 0) {
		r = stack[--n];
		if (r.done.n > 0) {
			add_block(d, r.done);
			continue;
		}
		if (r.alo >= r.ahi || r.blo >= r.bhi)
			continue;
		m = longest(d, r.alo, r.ahi, r.blo, r.bhi);
		if (m.n == 0)
			continue;
		stack[n++] = (struct range){ m.a + m.n, r.ahi, m.b + m.n, r.bhi,
			{ 0, 0, 0 } };
		stack[n++] = (struct range){ 0, 0, 0, 0, m };
		stack[n++] =
		    (struct range){ r.alo, m.a, r.blo, m.b, { 0, 0, 0 } };
	}
	free(stack);
}

/* ---- hunks ---- */

#define RED "\033[31m"
#define GREEN "\033[32m"

struct painter {
	FILE *f;
	bool colour;
};

static void
put(const struct painter *p, const char *colour, char mark,
    const struct line *l)
{
	fprintf(p->f, "%s%c%.*s%s\n", p->colour ? colour : "", mark,
	    (int)l->len, l->s, p->colour && colour[0] != '\0' ? "\033[0m" : "");
}

/* Inside a character of UTF-8? */
static bool
is_inside(const struct line *l, size_t at)
{
	return at < l->len && ((unsigned char)l->s[at] & 0xc0) == 0x80;
}

/* A line of which [from, to) is what changed: that is shown in reverse. */
static void
put_part(const struct painter *p, const char *colour, char mark,
    const struct line *l, size_t from, size_t to)
{
	if (from >= to) {
		put(p, colour, mark, l);
		return;
	}
	fprintf(p->f, "%s%c%.*s\033[7m%.*s\033[27m%.*s\033[0m\n", colour, mark,
	    (int)from, l->s, (int)(to - from), l->s + from, (int)(l->len - to),
	    l->s + to);
}

/* One line took the place of the other: what do they have in common? */
static void
common_ends(
    const struct line *a, const struct line *b, size_t *front, size_t *back)
{
	size_t least = a->len < b->len ? a->len : b->len, f = 0, k = 0;

	while (f < least && a->s[f] == b->s[f])
		f++;
	while (f > 0 && (is_inside(a, f) || is_inside(b, f)))
		f--;
	while (k < least - f && a->s[a->len - k - 1] == b->s[b->len - k - 1])
		k++;
	while (k > 0 && is_inside(a, a->len - k))
		k--;
	*front = f;
	*back = k;
}

static void
put_replaced(const struct painter *p, const char *colour, char mark,
    const struct line *l, const struct line *other)
{
	size_t front, back;

	common_ends(l, other, &front, &back);
	if (front == 0 && back == 0) /* nothing in common: all is new */
		put(p, colour, mark, l);
	else
		put_part(p, colour, mark, l, front, l->len - back);
}

static void
put_range(const struct painter *p, int lo, int hi)
{
	if (hi - lo == 1)
		fprintf(p->f, "%d", lo + 1);
	else
		fprintf(p->f, "%d,%d", hi == lo ? lo : lo + 1, hi - lo);
}

/* What was before and behind block k: [alo,ahi) became [blo,bhi). */
static void
put_change(const struct diff *d, const struct painter *p, int alo, int ahi,
    int blo, int bhi)
{
	bool pairs = p->colour && ahi - alo == bhi - blo;
	const struct line *a = d->a.v, *b = d->b.v;
	int i;

	for (i = alo; i < ahi; i++)
		if (pairs)
			put_replaced(p, RED, '-', &a[i], &b[blo + i - alo]);
		else
			put(p, RED, '-', &a[i]);
	for (i = blo; i < bhi; i++)
		if (pairs)
			put_replaced(p, GREEN, '+', &b[i], &a[alo + i - blo]);
		else
			put(p, GREEN, '+', &b[i]);
}

static void
put_hunk_line(const struct painter *p, int alo, int ahi, int blo, int bhi)
{
	fputs(p->colour ? "\033[34m@@ -" : "@@ -", p->f);
	put_range(p, alo, ahi);
	fputs(" +", p->f);
	put_range(p, blo, bhi);
	fputs(p->colour ? " @@\033[0m\n" : " @@\n", p->f);
}

static int
at_most(int n, int most)
{
	return n < most ? n : most;
}

/*
 * Blocks first..last-1 lie between the changes of one hunk; in front of the
 * first change and behind the last one stands some context.
 */
static void
put_hunk(const struct diff *d, const struct painter *p, int first, int last)
{
	const struct block *v = d->blocks, *lead = &v[first], *tail = &v[last];
	int before = at_most(lead->n, CONTEXT),
	    behind = at_most(tail->n, CONTEXT), k, i;
	int a = lead->a + lead->n, b = lead->b + lead->n;

	put_hunk_line(
	    p, a - before, tail->a + behind, b - before, tail->b + behind);
	for (i = a - before; i < a; i++)
		put(p, "", ' ', &d->a.v[i]);
	for (k = first + 1; k <= last; k++) {
		put_change(d, p, a, v[k].a, b, v[k].b);
		a = v[k].a + v[k].n;
		b = v[k].b + v[k].n;
		for (i = v[k].a; i < (k < last ? a : v[k].a + behind); i++)
			put(p, "", ' ', &d->a.v[i]);
	}
}

static void
put_hunks(const struct diff *d, const struct painter *p)
{
	int first = 0, k;

	/* Two changes are one hunk when few lines are between them. */
	for (k = 1; k < d->nblocks; k++)
		if (k == d->nblocks - 1 || d->blocks[k].n > 2 * CONTEXT) {
			put_hunk(d, p, first, k);
			first = k;
		}
}

/* An empty block at either end makes every change lie between two. */
static void
frame_blocks(struct diff *d)
{
	if (d->nblocks == 0 || d->blocks[0].a != 0 || d->blocks[0].b != 0) {
		memmove(d->blocks + 1, d->blocks,
		    (size_t)d->nblocks * sizeof(*d->blocks));
		d->blocks[0] = (struct block){ 0, 0, 0 };
		d->nblocks++;
	}
	if (d->blocks[d->nblocks - 1].a + d->blocks[d->nblocks - 1].n !=
		d->a.n ||
	    d->blocks[d->nblocks - 1].b + d->blocks[d->nblocks - 1].n != d->b.n)
		d->blocks[d->nblocks++] = (struct block){ d->a.n, d->b.n, 0 };
}

void
diff_print(const char *before, const char *after, bool colour, FILE *f)
{
	struct painter p = { f, colour };
	struct diff d;

	memset(&d, 0, sizeof(d));
	split(before, &d.a);
	split(after, &d.b);
	chain_lines(&d);
	d.now = array((size_t)d.b.n + 1, sizeof(int));
	d.before = array((size_t)d.b.n + 1, sizeof(int));
	d.blocks = array((size_t)d.a.n + 3, sizeof(*d.blocks));
	find_blocks(&d);
	frame_blocks(&d);
	if (d.nblocks > 1) {
		fputs(colour ? "\033[33m--- \033[0m\n\033[33m+++ \033[0m\n" :
			       "--- \n+++ \n",
		    f);
		put_hunks(&d, &p);
	}
	free(d.a.v);
	free(d.b.v);
	free(d.heads);
	free(d.tails);
	free(d.counts);
	free(d.now);
	free(d.before);
	free(d.blocks);
}
