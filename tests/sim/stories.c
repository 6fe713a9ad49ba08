/*
 * stories.c: faults of several steps that chance would seldom put together.
 * Each has a phase of trouble for itself.
 */
#include "sim.h"

/* ---- one node misses what the others do ---- */

static void
lose_all_but(struct world *w, const struct node *x)
{
	int i;

	for (i = 0; i < w->nnodes; i++)
		if (&w->node[i] != x && w->node[i].machine_up)
			node_power_off(&w->node[i]);
}

static void
on_leader_lost(struct world *w, struct ev *e)
{
	int owner = store_leader(w);

	w->disturbed = w->now;
	if (owner < 0 || owner == e->n->i)
		return;
	if (w->name_laggard && e->n->repl_stall)
		operator_names(w, e->n);
	node_power_off(&w->node[owner]);
}

/* The one that missed everything is the only one left. */
static void
on_outrun(struct world *w, struct ev *e)
{
	w->disturbed = w->now;
	lose_all_but(w, e->n);
	node_power_on(e->n);
}

/* Who led before is the only one left; what it missed is not to be missed. */
static void
on_successor_lost(struct world *w, struct ev *e)
{
	on_outrun(w, e);
	w->store.sync_stuck = false;
}

/*
 * The leader goes, another one is promoted, but does not get its name into
 * /sync before all but the former leader are lost.
 */
static void
begin_succession(struct world *w, struct node *n)
{
	int64_t lasts = (w->ttl + 3 * w->loop_wait) * SEC;

	w->store.sync_stuck = true;
	node_power_off(n);
	at(w, w->now + lasts + rnd_range(w, 0, lasts / 2), on_successor_lost, n,
	    PROC_COUNT);
}

static void
laggard_begin(struct world *w, struct fault *f, int64_t lasts)
{
	if (f->kind == LAGGARD) {
		f->n->repl_stall = true;
		/* as long as it is a voter of a quorum */
		if (w->name_laggard)
			lasts = rnd_range(w, SEC, w->loop_wait * 2 * SEC);
		at(w, w->now + lasts / 2, on_leader_lost, f->n, PROC_COUNT);
		return;
	}
	node_power_off(f->n);
	at(w, w->now + lasts / 4, on_leader_lost, f->n, PROC_COUNT);
	at(w, w->now + lasts * 5 / 8, on_outrun, f->n, PROC_COUNT);
}

/* ---- in pause, where people may do what they like ---- */

/* Who leads and what is asked for has been seen by all. */
static int64_t
seen(const struct world *w)
{
	return (2 * w->loop_wait + 5) * SEC;
}

/* A standby that can be promoted by hand; one that may not lead, if wanted. */
static struct node *
rival(struct world *w, bool nofailover)
{
	struct node *best = NULL;
	int i;

	for (i = 0; i < w->nnodes; i++) {
		struct node *n = &w->node[i];

		if (n->pg.run == PG_UP && !n->pg.primary && !pg_foreign(n) &&
		    (best == NULL || n->tags.nofailover == nofailover))
			best = n;
	}
	return best;
}

static void
on_rivals_resumed(struct world *w, struct ev *e)
{
	(void)e;
	operator_deletes_key(w, false);
	operator_pause(w, false);
}

static void
on_rivals_promoted(struct world *w, struct ev *e)
{
	struct node *n = rival(w, false);

	(void)e;
	if (!w->paused)
		return;
	if (n != NULL)
		operator_promotes(n);
	operator_deletes_key(w, false);
	at(w, w->now + seen(w), on_rivals_resumed, NULL, PROC_COUNT);
}

/*
 * Two are promoted beside the leader; the key goes to whoever is first, and
 * is gone again as the pause ends: those on old timelines have to stand back.
 */
static void
on_rivals(struct world *w, struct ev *e)
{
	struct node *n = rival(w, true);

	(void)e;
	if (!w->paused)
		return;
	if (n != NULL)
		operator_promotes(n);
	at(w, w->now + seen(w), on_rivals_promoted, NULL, PROC_COUNT);
}

/* A backup of the store was put back, of another cluster. */
static void
on_other_id(struct world *w, struct ev *e)
{
	struct store *s = &w->store;
	bool back = e->arg != 0;
	uint64_t id = back ? (uint64_t)e->arg : s->sysid + 1;

	if (!back && (!w->paused || s->sysid == 0))
		return;
	if (!back) {
		at(w, w->now + seen(w), on_other_id, NULL, PROC_COUNT)->arg =
		    (int64_t)s->sysid;
	}
	trace(w, NULL, "operator: another /initialize");
	s->sysid = id;
	(void)snprintf(s->initialize, sizeof(s->initialize), "%llu",
	    (unsigned long long)id);
	s->revision++;
	store_wake(w, WAKE_OTHER);
}

/* Asked for in pause: nobody by name, or one that never was. */
static void
on_ghost(struct world *w, struct ev *e)
{
	(void)e;
	if (!w->paused)
		return;
	if (chance(w, 50) && store_leader(w) >= 0) {
		operator_asks(w, w->node[store_leader(w)].name, "");
		return;
	}
	operator_deletes_key(w, false);
	operator_asks(w, "", GHOST);
}

static void
pause_begin(struct world *w, struct fault *f)
{
	operator_pause(w, true);
	at(w, w->now + seen(w),
	    f->kind == RIVALS	    ? on_rivals :
		f->kind == OTHER_ID ? on_other_id :
				      on_ghost,
	    f->n, PROC_COUNT);
}

/* ---- the key goes at a bad moment ---- */

static void
on_controller_again(struct world *w, struct ev *e)
{
	node_crash_controller(e->n);
	if (store_leader(w) == e->n->i)
		w->ambushed = e->n->i;
}

/*
 * The leader's server and its controller die; the next controller finds the
 * server starting, and the key, which goes as it is refreshed.
 */
static void
lost_starting(struct world *w, struct node *n)
{
	n->slow_start = true;
	pg_kill(n);
	if (chance(w, 30)) { /* nor is there anybody to take over */
		lose_all_but(w, n);
		node_crash_controller(n);
		return;
	}
	node_crash_controller(n);
	at(w, w->now + rnd_range(w, 4, 12) * SEC, on_controller_again, n,
	    PROC_COUNT);
}

/* ---- races under difficulties ---- */

static void
pollers_die(struct world *w, struct node *leader)
{
	int i;

	for (i = 0; i < w->nnodes; i++)
		w->node[i].dies_polling = true;
	node_power_off(leader);
}

/* ---- begin and end ---- */

/* False: not now.  Most stories are about one that does not lead. */
bool
story_victim(struct world *w, struct fault *f, int64_t lasts)
{
	int i, owner = store_leader(w);

	if (lasts < 2 * w->ttl * SEC)
		return false;
	if (f->kind == LOST_STARTING || f->kind == SUCCESSOR ||
	    f->kind == POLLERS_DIE || f->kind == CRAWLING_RACE) {
		if (owner < 0 || !pg_writable(&w->node[owner]) ||
		    (f->kind == SUCCESSOR && lasts < 6 * w->ttl * SEC))
			return false;
		f->n = &w->node[owner];
		return true;
	}
	for (i = 0; pg_foreign(f->n) || owner == f->n->i; i++) {
		if (i == 50)
			return false;
		f->n = &w->node[rnd_range(w, 0, w->nnodes - 1)];
	}
	return true;
}

void
story_begin(struct world *w, struct fault *f, int64_t lasts)
{
	switch (f->kind) {
	case LAGGARD:
	case OUTRUN:
		laggard_begin(w, f, lasts);
		break;
	case SUCCESSOR:
		begin_succession(w, f->n);
		break;
	case RIVALS:
	case OTHER_ID:
	case GHOST_ASKED:
		pause_begin(w, f);
		break;
	case LOST_STARTING:
		lost_starting(w, f->n);
		break;
	case POLLERS_DIE:
		pollers_die(w, f->n);
		break;
	case CRAWLING_RACE:
		w->store_crawls = true;
		node_power_off(f->n);
		break;
	case DEMOTED_UNLED:
		operator_deletes_key(w, chance(w, 30));
		operator_standby(w, true);
		break;
	default:
		break;
	}
}

void
story_end(struct world *w)
{
	int i;

	w->ambushed = -1;
	w->store.sync_stuck = w->store_crawls = false;
	operator_pause(w, false);
	for (i = 0; i < w->nnodes; i++) {
		struct node *n = &w->node[i];

		n->repl_stall = n->slow_start = n->dies_polling = false;
		if (!n->machine_up && !n->odd)
			node_power_on(n);
	}
}
