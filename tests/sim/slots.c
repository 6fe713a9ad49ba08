/*
 * slots.c: physical slots of members, as far as the core has a say in them:
 * which there are, which /status retains for members that are away.
 */
#include <stdlib.h>

#include "sim.h"

static bool
has(uint32_t mask, int i)
{
	return (mask >> i & 1) != 0;
}

/* The member keys that are there. */
static uint32_t
members(const struct world *w)
{
	uint32_t mask = 0;
	int i;

	for (i = 0; i < w->nnodes; i++)
		if (w->store.members[i].there &&
		    w->store.members[i].expires > w->now)
			mask |= 1U << i;
	return mask;
}

/* Names of nodes: "n1" is the first. */
uint32_t
slots_named(const struct tree *list)
{
	uint32_t mask = 0, i;

	for (i = 0; list != NULL && i < tree_count(list); i++) {
		const char *name = tree_child(list, i)->u.s;

		if (name[0] == 'n' && name[1] >= '1' &&
		    name[1] < '1' + MAX_NODES)
			mask |= 1U << (name[1] - '1');
	}
	return mask;
}

const struct tree *
slots_facts(struct node *n)
{
	int i;

	if (!n->w->member_slots)
		return NULL;
	if (n->slots_told != NULL)
		return n->slots_told;
	n->slots_told = tree_map();
	for (i = 0; i < n->w->nnodes; i++)
		if (has(n->slots, i))
			tree_set(
			    n->slots_told, n->w->node[i].name, tree_int(1));
	return n->slots_told;
}

static void
set(struct node *n, uint32_t slots)
{
	if (slots == n->slots)
		return;
	n->slots = slots;
	trace(n->w, n, "  slots of members: %x", slots);
	tree_free(n->slots_told);
	n->slots_told = NULL;
}

/*
 * dcs.md 2.7: who was seen less than member_slots_ttl ago has its slot on the
 * leader.  Not demanded of a store that forgot whom it knew, nor of a leader
 * whose server was away: it counts with each write of /status alone; and of
 * what came back after its last view it knows nothing.
 */
static void
check_dropped(struct node *n, uint32_t dropped)
{
	struct world *w = n->w;
	int64_t ttl = w->member_slots_ttl * SEC;
	int i;

	if (store_leader(w) != n->i || w->forgot_at > w->now - ttl ||
	    n->pg.up_since > w->now - ttl)
		return;
	for (i = 0; i < w->nnodes; i++) {
		int64_t seen = w->store.members[i].expires;

		if (has(dropped, i) && i != n->i && !w->node[i].tags.nostream &&
		    w->now - seen < ttl - w->ttl * SEC &&
		    w->now - n->seen[i] < ttl - w->ttl * SEC)
			violate(w,
			    "%s drops the slot of %s, which was there %lld s "
			    "ago",
			    n->name, w->node[i].name,
			    (long long)((w->now - seen) / SEC));
	}
}

/* spec/postgres.md 17.4, 5-6: those of the core's view, and of retain_slots. */
void
slots_sync(struct node *n)
{
	struct world *w = n->w;
	const struct view *v = n->h == NULL ? NULL : ha_view(n->h);
	uint32_t want = 0, i;

	if (!w->member_slots || v == NULL || n->pg.run != PG_UP || n->pg.hung)
		return;
	for (i = 0; i < v->nmembers; i++) {
		const struct node *p = node_named(w, v->members[i].name);

		if (p != NULL && p != n && !p->tags.nostream)
			want |= 1U << p->i;
	}
	for (i = 0; i < v->nretain; i++)
		want |= 1U << (v->retain_slots[i][1] - '1');
	want &= ~(1U << n->i);
	if (ha_paused(n->h))
		want |= n->slots;
	if (n->pg.primary)
		check_dropped(n, n->slots & ~want);
	set(n, want);
}

/*
 * And whoever is away for longer is forgotten, counted anew by each
 * leader and each of its controllers.
 */
void
slots_retain(struct world *w, struct ask *a)
{
	int64_t limit = (w->member_slots_ttl + 2 * w->ttl) * SEC;
	uint32_t away = a->slots & ~members(w);
	int i;

	/* what is not told stays as it was (dcs.md 2.7, 1) */
	if (!a->with_slots)
		return;
	if (w->store.retained != a->slots)
		trace(w, a->n, "  slots retained: %x", a->slots);
	w->store.retained = a->slots;
	if (a->n->slots_since < w->term_at ||
	    a->n->slots_since < a->n->well_since)
		a->n->slots_since = w->now;
	for (i = 0; i < w->nnodes; i++) {
		int64_t since = w->store.members[i].expires;

		if (since < a->n->slots_since)
			since = a->n->slots_since;
		if (has(away, i) && w->now - since > limit)
			violate(w, "the slot of %s is kept for ever",
			    w->node[i].name);
	}
}

void
slots_view(const struct world *w, struct view *v)
{
	int i;

	if (w->store.retained == 0)
		return;
	v->retain_slots = calloc(MAX_NODES, sizeof(*v->retain_slots));
	for (i = 0; v->retain_slots != NULL && i < w->nnodes; i++)
		if (has(w->store.retained, i))
			(void)text_set(v->retain_slots[v->nretain++], NAME_SIZE,
			    w->node[i].name);
}
