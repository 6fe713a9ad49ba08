/*
 * keeper.c: the lease keeper as far as the cluster can see it (design 5):
 * grants, and the fence.  Times are the node's own.
 */
#include "sim.h"

static void on_fence(struct world *, struct ev *);

/* As watchdog/keeper.h says. */
int64_t
keeper_safety(const struct node *n)
{
	int64_t ttl = n->w->ttl * SEC, wait = n->w->loop_wait * SEC;
	int64_t safety = ttl / 4;

	if ((ttl - wait) / 2 < safety)
		safety = (ttl - wait) / 2;
	return safety < SEC / 2 ? SEC / 2 : safety;
}

static void
schedule(struct node *n)
{
	struct keeper *k = &n->keeper;
	int64_t when;

	if (k->stage == KEEPER_IDLE)
		return;
	when = k->stage == KEEPER_QUIT ? k->end : k->end - keeper_safety(n);
	if (n->w->broken == BREAK_FENCE_LATE)
		when += n->w->ttl * SEC;
	k->version++;
	at(n->w, true_time(n, when), on_fence, n, PROC_WATCHDOG)->id =
	    k->version;
}

static void
on_state(struct world *w, struct ev *e)
{
	struct ha_ev ev;

	(void)w;
	/* the answer and the deadline of a question: the first one counts */
	if (e->n->h == NULL || (e->id != 0 && e->id <= e->n->arm_answered))
		return;
	if (e->id != 0)
		e->n->arm_answered = e->id;
	memset(&ev, 0, sizeof(ev));
	ev.type = EV_WATCHDOG;
	ev.id = e->id;
	ev.outcome = e->arg == 2 ? OUTCOME_FAILED : OUTCOME_OK;
	ev.watchdog.healthy = 1;
	ev.watchdog.fence_armed =
	    e->n->keeper.stage != KEEPER_IDLE && e->arg != 2;
	ev.watchdog.fenced = e->arg == 1;
	node_feed(e->n, &ev);
}

static void
on_fence(struct world *w, struct ev *e)
{
	struct node *n = e->n;
	struct keeper *k = &n->keeper;

	if (e->id != k->version || k->stage == KEEPER_IDLE)
		return;
	if (n->pg.run == PG_DOWN || n->pg.gen != k->pg_gen) {
		k->stage = KEEPER_IDLE;
		return;
	}
	if (w->broken == BREAK_FENCE_OFF)
		return;
	w->fences++;
	check_fence(n);
	trace(w, n, "keeper: lease ended, fencing");
	if (k->stage == KEEPER_QUIT) {
		pg_kill(n);
		k->stage = KEEPER_IDLE;
		k->sent = k->end = 0;
		at(w, w->now, on_state, n, PROC_POSTGRES)->arg = 1;
		return;
	}
	pg_stop(n, STOP_IMMEDIATE);
	k->stage = KEEPER_QUIT;
	if (local_time(n) >= k->end)
		k->end = local_time(n) + 100 * MS;
	schedule(n);
}

/* ---- messages: they wait while the keeper hangs ---- */

static void
on_arm(struct world *w, struct ev *e)
{
	struct node *n = e->n;
	struct keeper *k = &n->keeper;

	if (k->stage != KEEPER_QUIT || k->pg_gen != n->pg.gen) {
		k->stage = n->pg.run == PG_DOWN ? KEEPER_IDLE : KEEPER_ARMED;
		k->pg_gen = n->pg.gen;
		/* a grant may be right behind */
		if (k->end - keeper_safety(n) <= local_time(n))
			k->end = local_time(n) + w->ttl * SEC;
		schedule(n);
	}
	at(w, w->now, on_state, n, PROC_POSTGRES)->id = e->id;
}

static void
on_grant(struct world *w, struct ev *e)
{
	struct keeper *k = &e->n->keeper;

	if (e->arg < k->sent)
		return;
	k->sent = e->arg;
	k->end = e->arg + w->ttl * SEC;
	if (k->stage == KEEPER_ARMED)
		schedule(e->n);
}

static void
on_disarm(struct world *w, struct ev *e)
{
	struct keeper *k = &e->n->keeper;

	(void)w;
	if (k->stage == KEEPER_ARMED)
		k->stage = KEEPER_IDLE;
	k->sent = k->end = 0;
}

void
keeper_arm(struct node *n, uint64_t id)
{
	struct world *w = n->w;
	struct ev *e;

	if (n->proc[PROC_WATCHDOG].up)
		at(w, w->now, on_arm, n, PROC_WATCHDOG)->id = id;
	e = at(w, w->now + (n->proc[PROC_WATCHDOG].up ? 2 * SEC : MS), on_state,
	    n, PROC_POSTGRES);
	e->id = id;
	e->arg = 2;
}

void
keeper_grant(struct node *n, const struct msg_wd_grant *g)
{
	at(n->w, n->w->now, on_grant, n, PROC_WATCHDOG)->arg = g->sent_ns;
}

void
keeper_disarm(struct node *n)
{
	at(n->w, n->w->now, on_disarm, n, PROC_WATCHDOG);
}

void
keeper_restart(struct node *n)
{
	n->keeper.stage = KEEPER_IDLE;
	n->keeper.sent = n->keeper.end = 0;
	n->keeper.version++;
}
