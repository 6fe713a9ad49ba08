/*
 * test_ha_resolver.c: the quorum resolver from every state of three standbys,
 * also those that only an operator or a crash between two writes can make:
 * each single write keeps the promise of the one before (spec/ha.md 14.1),
 * and the steps lead to the wanted state, never round and round.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../helpers/ha/ha_sync.h"

#define STANDBYS 3
#define ALL (1u << STANDBYS)
#define ROUNDS 12

/* Sets of b, c, d by bits; a leads. */
struct quorum_state {
	unsigned v, s, a;
	int64_t q, n;
	int wanted;
	bool foreign; /* /sync still names b, the leader before */
};

static int64_t
size(unsigned set)
{
	return __builtin_popcount(set);
}

static void
fill(struct names *n, unsigned set)
{
	unsigned i;

	memset(n, 0, sizeof(*n));
	for (i = 0; i < STANDBYS; i++)
		if (set & 1u << i)
			names_add(n, (char[2]){ (char)('b' + (int)i), '\0' });
}

static unsigned
bits(const struct names *n)
{
	unsigned set = 0;
	uint32_t i;

	for (i = 0; i < n->n; i++)
		if (n->v[i][0] != 'a')
			set |= 1u << (n->v[i][0] - 'b');
	return set;
}

static void
ask(const struct quorum_state *t, int64_t confirmed, struct resolver *r)
{
	memset(r, 0, sizeof(*r));
	memcpy(r->leader, t->foreign ? "b" : "a", 2);
	memcpy(r->wanted_leader, "a", 2);
	fill(&r->voters, t->v);
	fill(&r->sync, t->s);
	fill(&r->active, t->a);
	r->q = t->q;
	r->n = t->n;
	r->confirmed = confirmed;
	r->wanted = t->wanted;
	quorum_resolve(r);
}

/* V' and S' of 14.1: any N and any Q + 1 of them have a node in common. */
static bool
safe(const struct quorum_state *t)
{
	const unsigned me = ALL;
	unsigned v = t->v | me, s = t->s | me;

	return t->v == 0 ||
	    (size(v | s) <= t->q + t->n + 1 && ((v & s) == v || (v & s) == s));
}

static void
complain(const struct quorum_state *t, const char *what)
{
	fail_msg("%s: quorum %d of %x, sync %d of %x, active %x, wanted %d",
	    what, (int)t->q, t->v, (int)t->n, t->s, t->a, t->wanted);
}

/* Carry the transitions out, checking each.  False: there were none. */
static bool
carry_out(struct quorum_state *t, const struct resolver *r)
{
	bool checked = !t->foreign && safe(t);
	uint32_t i;

	for (i = 0; i < r->ntransitions; i++) {
		const struct transition *x = &r->transitions[i];

		if (x->kind == TRANSITION_RESTART)
			break;
		if (x->kind == TRANSITION_SYNC) {
			t->n = x->n;
			t->s = bits(&x->names);
		} else {
			assert_string_equal(x->leader, "a");
			t->foreign = false;
			t->q = x->n;
			t->v = bits(&x->names);
			checked = true; /* from here on it is ours */
		}
		if (checked && !safe(t))
			complain(t, "not safe");
	}
	return i > 0;
}

static bool
wanted(const struct quorum_state *t)
{
	int64_t n = t->wanted < size(t->a) ? t->wanted : size(t->a);

	return t->v == t->a && t->s == t->a && t->n == n &&
	    t->q == size(t->a) - n;
}

static void
follow_up(const struct quorum_state *start, int64_t confirmed)
{
	struct quorum_state t = *start;
	struct resolver r;
	int i;

	ask(&t, confirmed, &r);
	(void)carry_out(&t, &r);
	/* from now on everybody who is there catches up */
	for (i = 0; i < ROUNDS; i++) {
		ask(&t, size(t.a & t.s), &r);
		if (!carry_out(&t, &r))
			break;
	}
	if (i == ROUNDS || !wanted(&t))
		complain(start, "does not lead to what is wanted");
}

static void
from_every_number(struct quorum_state *t)
{
	int64_t confirmed;

	for (t->q = 0; t->q <= size(t->v); t->q++)
		for (t->n = 0; t->n <= size(t->s); t->n++)
			for (confirmed = 0; confirmed <= size(t->a & t->s);
			     confirmed++)
				follow_up(t, confirmed);
}

static void
from_every_state(bool foreign)
{
	struct quorum_state t;

	memset(&t, 0, sizeof(t));
	t.foreign = foreign;
	for (t.v = 0; t.v < ALL; t.v++)
		for (t.s = 0; t.s < ALL; t.s++)
			for (t.a = 0; t.a < ALL; t.a++)
				for (t.wanted = 1; t.wanted <= STANDBYS;
				     t.wanted++)
					from_every_number(&t);
}

static void
test_own_key(void **state)
{
	(void)state;
	from_every_state(false);
}

static void
test_key_of_the_former_leader(void **state)
{
	(void)state;
	from_every_state(true);
}

/* More replicas are asked for than there are: one joins, step by step. */
static void
test_one_of_many_joins(void **state)
{
	struct quorum_state t = {
		.v = 3, .s = 3, .a = 7, .q = 1, .n = 1, .wanted = 3
	};
	struct resolver r;

	(void)state;
	ask(&t, 2, &r);
	assert_string_equal(r.warning, "");
	assert_true(carry_out(&t, &r));
	assert_int_equal(t.n, 3);
	assert_int_equal(t.s, 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_key),
		cmocka_unit_test(test_key_of_the_former_leader),
		cmocka_unit_test(test_one_of_many_joins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
