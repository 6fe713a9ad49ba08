/*
 * keeper.c: the lease keeper as far as the cluster can see it (design 5):
 * grants, and the fence.  Times are the node's own.
 */
#include "sim.h"

static void on_fence(struct world *, struct ev *);

static void
on_booted(struct world *w, struct ev *e)
{
	(void)w;
	if (!e->n->machine_up)
		node_power_on(e->n);
}

/* As watchdog/keeper.h says. */
int64_t
keeper_safety(const struct node *n)
{
	int64_t ttl = n->w->ttl * SEC, wait = n->w->loop_wait * SEC;
	int64_t safety =
	    n->w->safety_margin < 0 ? ttl / 2 : n->w->safety_margin * SEC;

	if (ttl / 4 < safety)
		safety = ttl / 4;
	if ((ttl - wait) / 2 < safety)
		safety = (ttl - wait) / 2;
	return safety < SEC / 2 ? SEC / 2 : safety;
}

/* ---- the device ---- */

static int64_t
device_timeout(const struct node *n)
{
	return (n->w->safety_margin < 0 ? n->w->ttl / 2 :
					  n->w->ttl - n->w->safety_margin) *
	    SEC;
}

bool
keeper_healthy(const struct node *n)
{
	if (n->w->watchdog != WATCHDOG_REQUIRED)
		return true;
	return n->device.running || (!n->device.given_up && !n->device_bad);
}

/* Nobody wrote to it in time: the machine is reset. */
static void
on_reset(struct world *w, struct ev *e)
{
	struct node *n = e->n;

	if (e->id != n->device.version || !n->device.running)
		return;
	trace(w, n, "the watchdog device resets the machine");
	w->resets++;
	node_power_off(n);
	at(w, w->now + rnd_range(w, 15, 60) * SEC, on_booted, n, PROC_COUNT);
}

static void
device_ping(struct node *n)
{
	struct device *d = &n->device;

	d->ends = n->w->now + device_timeout(n);
	at(n->w, d->ends, on_reset, n, PROC_COUNT)->id = ++d->version;
}

static void
device_activate(struct node *n)
{
	struct device *d = &n->device;

	if (n->w->watchdog == WATCHDOG_OFF || d->running || d->given_up)
		return;
	if (n->device_bad) {
		d->given_up = true;
		return;
	}
	d->running = true;
	device_ping(n);
}

static void
device_disable(struct node *n)
{
	n->device.running = false;
	n->device.version++;
}

/* A late grant leaves it running out (design 5). */
static void
device_granted(struct node *n, int64_t sent)
{
	int64_t margin =
	    n->w->safety_margin < 0 ? n->w->ttl / 2 : n->w->safety_margin;

	if (!n->device.running)
		return;
	if (local_time(n) - sent > margin * SEC &&
	    n->w->broken != BREAK_LATE_PING)
		return;
	device_ping(n);
	if (n->device.ends > true_time(n, sent) + n->w->ttl * SEC + 20 * MS)
		violate(n->w, "%s: the device fires after the lease's end",
		    n->name);
}

/* ---- the fence ---- */

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

	/* the answer and the deadline of a question: the first one counts */
	if (e->n->h == NULL || (e->id != 0 && e->id <= e->n->arm_answered))
		return;
	if (e->id != 0)
		e->n->arm_answered = e->id;
	memset(&ev, 0, sizeof(ev));
	ev.type = EV_WATCHDOG;
	ev.id = e->id;
	ev.outcome = e->arg == 2 ? OUTCOME_FAILED : OUTCOME_OK;
	ev.watchdog.healthy = keeper_healthy(e->n);
	ev.watchdog.mode = w->watchdog;
	ev.watchdog.device_running = e->n->device.running && e->arg != 2;
	/* only an ARM can fail */
	ev.watchdog.activation_failed = e->id != 0 && e->arg != 2 &&
	    w->watchdog == WATCHDOG_REQUIRED && !e->n->device.running;
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
	/* after a hang it reads what has come before it looks at the clock */
	if (k->since == w->now && e->arg == 0) {
		e = at(w, w->now, on_fence, n, PROC_WATCHDOG);
		e->id = k->version;
		e->arg = 1;
		return;
	}
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
		/* nothing can commit here any more */
		device_disable(n);
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

	trace(w, n, "keeper: arm");
	if (k->stage != KEEPER_QUIT || k->pg_gen != n->pg.gen) {
		k->stage = n->pg.run == PG_DOWN ? KEEPER_IDLE : KEEPER_ARMED;
		k->pg_gen = n->pg.gen;
		/* a grant may be right behind */
		if (k->end - keeper_safety(n) <= local_time(n))
			k->end = local_time(n) + w->ttl * SEC;
		schedule(n);
	}
	device_activate(n);
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
	device_granted(e->n, e->arg);
	if (k->stage == KEEPER_ARMED)
		schedule(e->n);
}

static void
on_disarm(struct world *w, struct ev *e)
{
	struct keeper *k = &e->n->keeper;

	trace(w, e->n, "keeper: disarm");
	if (k->stage == KEEPER_ARMED)
		k->stage = KEEPER_IDLE;
	k->sent = k->end = 0;
	device_disable(e->n);
}

void
keeper_tell(struct node *n)
{
	if (n->proc[PROC_WATCHDOG].up)
		at(n->w, n->w->now, on_state, n, PROC_POSTGRES);
}

void
keeper_arm(struct node *n, uint64_t id)
{
	struct world *w = n->w;
	struct ev *e;

	if (n->proc[PROC_WATCHDOG].up)
		at(w, w->now, on_arm, n, PROC_WATCHDOG)->id = id;
	if (id == 0) /* nobody waits for the answer */
		return;
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
	n->device.given_up = false; /* the next one tries again */
}
