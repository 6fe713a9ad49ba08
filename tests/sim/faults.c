/*
 * faults.c: what goes wrong, and when: phases of trouble, each followed by a
 * phase of health in which the cluster has to come back.
 */
#include "sim.h"

static const char *const kind_names[FAULT_KINDS] = {
#define FAULT(kind, name, sections) name,
#include "faults.def"
#undef FAULT
};

static void
cut(struct world *w, int a, int b, int way, bool on)
{
	int f = a == STORE ? MAX_NODES : a, t = b == STORE ? MAX_NODES : b;

	if (way != 2)
		w->cut[f][t] = on;
	if (way != 1)
		w->cut[t][f] = on;
}

static void
isolate(struct world *w, struct node *n, bool on)
{
	int i;

	cut(w, n->i, STORE, 0, on);
	for (i = 0; i < w->nnodes; i++)
		if (i != n->i)
			cut(w, n->i, i, 0, on);
}

/* ---- processes ---- */

static void
helper_event(struct node *n, enum proc proc, bool up)
{
	struct ha_ev ev;

	if (n->h == NULL || !process_ok(n, PROC_POSTGRES))
		return;
	memset(&ev, 0, sizeof(ev));
	ev.type = EV_HELPER;
	ev.helper = proc;
	ev.up = up;
	node_feed(n, &ev);
}

static void
on_helper_lost(struct world *w, struct ev *e)
{
	(void)w;
	helper_event(e->n, (enum proc)e->arg, false);
}

static void
on_helper_up(struct world *w, struct ev *e)
{
	(void)w;
	helper_event(e->n, (enum proc)e->arg, true);
}

static void
on_helper_restart(struct world *w, struct ev *e)
{
	enum proc proc = (enum proc)e->arg;
	struct process *p = &e->n->proc[proc];

	if (!e->n->machine_up || p->up || e->n->stopping)
		return;
	p->up = true;
	p->gen++;
	at(w, w->now, on_helper_up, e->n, PROC_POSTGRES)->arg = proc;
}

void
node_crash_helper(struct node *n, enum proc proc)
{
	struct world *w = n->w;

	if (!n->proc[proc].up)
		return;
	process_stop(n, proc);
	if (proc == PROC_DCS)
		asks_lost(n);
	if (proc == PROC_WATCHDOG)
		keeper_restart(n);
	at(w, w->now, on_helper_lost, n, PROC_POSTGRES)->arg = proc;
	at(w, w->now + rnd_range(w, 5 * MS, 2 * SEC), on_helper_restart, n,
	    PROC_COUNT)
	    ->arg = proc;
}

static void
on_master_back(struct world *w, struct ev *e)
{
	(void)w;
	if (e->n->machine_up && !e->n->stopping)
		node_power_on(e->n);
}

/* The keeper stays until the lease is over; the next one takes over. */
static void
crash_master(struct node *n)
{
	struct world *w = n->w;

	node_detach(n);
	process_stop(n, PROC_DCS);
	process_stop(n, PROC_REST);
	at(w, w->now + rnd_range(w, SEC, 5 * SEC), on_master_back, n,
	    PROC_COUNT);
}

static void
hang(struct node *n, enum proc proc, bool on)
{
	if (on && n->proc[proc].up) {
		n->proc[proc].hung = true;
		node_stays_paused(n);
	} else if (!on)
		process_resume(n, proc);
}

static void
on_thaw(struct world *w, struct ev *e)
{
	(void)w;
	pg_resume(e->n);
}

static void
freeze(struct node *n, bool on, bool everything)
{
	hang(n, PROC_POSTGRES, on);
	hang(n, PROC_DCS, on);
	hang(n, PROC_REST, on);
	if (!everything)
		return;
	hang(n, PROC_WATCHDOG, on);
	if (on)
		n->pg.hung = n->pg.run != PG_DOWN;
	else /* after the keeper, see sim.h */
		at(n->w, n->w->now + 40 * MS, on_thaw, n, PROC_COUNT);
}

static void
terminate(struct node *n)
{
	struct ha_ev ev;

	if (n->h == NULL || !process_ok(n, PROC_POSTGRES))
		return;
	n->stopping = true;
	memset(&ev, 0, sizeof(ev));
	ev.type = EV_SHUTDOWN;
	node_feed(n, &ev);
}

/* ---- data ---- */

static void
lose_data(struct node *n)
{
	pg_kill(n);
	n->pg.data = false;
	n->pg.wal.n = 0;
	n->pg.wal.end = 0;
	n->bootstraps = false;
}

/* People may only do this where the manager keeps still. */
static void
new_sysid(struct node *n)
{
	if (!n->w->paused || n->pg.run != PG_DOWN || n->job.on ||
	    n->w->nnodes < 4 || n->i < 3)
		return;
	pg_new_sysid(n);
}

static void
end_new_sysid(struct node *n)
{
	if (pg_foreign(n))
		lose_data(n);
}

/* Another node that has a long action, if there is one. */
static struct node *
occupied(struct node *n)
{
	struct world *w = n->w;
	int i;

	for (i = 0; i < w->nnodes; i++)
		if (w->node[i].h != NULL && ha_action(w->node[i].h) != NULL &&
		    !pg_writable(&w->node[i]))
			return &w->node[i];
	return n;
}

/* ---- begin and end ---- */

static void
begin(struct world *w, struct fault *f)
{
	struct node *n = f->n;

	switch ((enum fault_kind)f->kind) {
	case PG_CRASH:
		pg_kill(n);
		break;
	case PG_HANG:
		n->pg.hung = n->pg.run != PG_DOWN;
		break;
	case CONTROLLER_CRASH:
		node_crash_controller(n);
		break;
	case CONTROLLER_HANG:
		hang(n, PROC_POSTGRES, true);
		break;
	case DCS_CRASH:
		node_crash_helper(n, PROC_DCS);
		break;
	case DCS_HANG:
		hang(n, PROC_DCS, true);
		break;
	case REST_HANG:
		hang(n, PROC_REST, true);
		break;
	case KEEPER_CRASH:
		node_crash_helper(n, PROC_WATCHDOG);
		break;
	case KEEPER_HANG:
		hang(n, PROC_WATCHDOG, true);
		break;
	case MASTER_CRASH:
		crash_master(n);
		break;
	case MANAGER_HANG:
		freeze(n, true, false);
		break;
	case NODE_FREEZE:
		freeze(n, true, true);
		break;
	case NODE_LOSS:
		node_power_off(n);
		break;
	case TERMINATE:
		terminate(n);
		break;
	case STORE_DOWN:
		w->store.down = true;
		break;
	case PARTITION_STORE:
	case PARTITION_NODES:
		cut(w, n->i, f->other, f->way, true);
		break;
	case ISOLATION:
		isolate(w, n, true);
		break;
	case SLOW_STORE:
		w->store_delay_max = rnd_range(w, 100, 4000) * MS;
		break;
	case LOSS:
		w->loss_percent = (int)rnd_range(w, 5, 60);
		break;
	case SLOW_STOP:
		n->slow_stop = true;
		break;
	case SLOW_START:
		n->slow_start = true;
		break;
	case JOBS_FAIL:
		n->jobs_fail = true;
		break;
	case REPLICATION_STALL:
		n->repl_stall = true;
		break;
	case CLOCK_STEP:
		n->wall_step += rnd_range(w, -600, 600) * 1000000;
		n->stepped_at = w->now;
		break;
	case SWITCHOVER:
		operator_switchover(w, false);
		break;
	case SWITCHOVER_SCHEDULED:
		operator_switchover(w, true);
		break;
	case FAILOVER:
		operator_failover(w);
		break;
	case DISK_FULL:
		n->disk_full = true;
		if (pg_writable(n) && chance(w, 50))
			pg_kill(n);
		break;
	case PRE_PROMOTE_FAILS:
		n->pre_promote_fails = true;
		break;
	case DEVICE_FAILS:
		n->device_bad = true;
		keeper_tell(n);
		break;
	case DATA_UNREADABLE:
		n->unreadable = true;
		break;
	case SYSID_UNREADABLE:
		n->no_sysid = true;
		break;
	case DATA_LOST:
		lose_data(n);
		break;
	case REPLAY_PAUSED:
		n->pg.replay_paused = n->pg.run == PG_UP && !n->pg.primary &&
		    w->pg_version >= 140000;
		break;
	case SLOTS_MISSING:
		n->slots_wanted = true;
		break;
	case RESTART:
		operator_restart(n, false);
		break;
	case RESTART_SCHEDULED:
		operator_restart(n, true);
		break;
	case REINITIALIZE:
		operator_reinitialize(chance(w, 50) ? occupied(n) : n);
		break;
	case READ_ONLY:
		w->store.read_only = true;
		break;
	case ANSWERS_LOST:
		w->answer_loss = (int)rnd_range(w, 20, 90);
		break;
	case STORE_WIPED:
		store_wipe(w);
		break;
	case PAUSE:
		operator_pause(w, true);
		break;
	case HAND_PROMOTION:
		operator_promotes(n);
		break;
	case NEW_SYSID:
		new_sysid(n);
		break;
	case DEMOTE_CLUSTER:
		operator_standby(w, !w->standby);
		break;
	case SYNC_CHANGE:
		operator_sync(w, (int)rnd_range(w, 0, 2));
		break;
	case KEY_DELETED:
		operator_deletes_key(w, chance(w, 50));
		break;
	case STOP_FAILS:
		n->stop_fails = true;
		break;
	case LOGIN_FAILS:
		n->login_fails = true;
		break;
	case STORE_CRAWLS:
		w->store_crawls = true;
		break;
	case SSN_BY_HAND:
		operator_ssn(w);
		break;
	case SYNC_BY_HAND:
		operator_sync_key(w);
		break;
	case LAGGARD:
	case OUTRUN:
	case SUCCESSOR:
	case RIVALS:
	case OTHER_ID:
	case GHOST_ASKED:
	case LOST_STARTING:
	case DEMOTED_UNLED:
	case POLLERS_DIE:
	case CRAWLING_RACE:
		break; /* story_begin() */
	case FAULT_KINDS:
		break;
	}
}

static void
finish(struct world *w, struct fault *f)
{
	struct node *n = f->n;

	switch ((enum fault_kind)f->kind) {
	case PG_HANG:
		pg_resume(n);
		break;
	case CONTROLLER_HANG:
		hang(n, PROC_POSTGRES, false);
		break;
	case DCS_HANG:
		hang(n, PROC_DCS, false);
		break;
	case REST_HANG:
		hang(n, PROC_REST, false);
		break;
	case KEEPER_HANG:
		hang(n, PROC_WATCHDOG, false);
		break;
	case MANAGER_HANG:
		freeze(n, false, false);
		break;
	case NODE_FREEZE:
		freeze(n, false, true);
		break;
	case NODE_LOSS:
	case TERMINATE:
		node_power_on(n);
		break;
	case STORE_DOWN:
		w->store.down = false;
		break;
	case PARTITION_STORE:
	case PARTITION_NODES:
		cut(w, n->i, f->other, f->way, false);
		w->relinked = w->now;
		break;
	case ISOLATION:
		isolate(w, n, false);
		w->relinked = w->now;
		break;
	case SLOW_STORE:
		w->store_delay_max = 0;
		break;
	case LOSS:
		w->loss_percent = 0;
		break;
	case SLOW_STOP:
		n->slow_stop = false;
		break;
	case SLOW_START:
		n->slow_start = false;
		break;
	case JOBS_FAIL:
		n->jobs_fail = false;
		break;
	case REPLICATION_STALL:
		n->repl_stall = false;
		break;
	case DISK_FULL:
		n->disk_full = false;
		break;
	case PRE_PROMOTE_FAILS:
		n->pre_promote_fails = false;
		break;
	case DEVICE_FAILS:
		n->device_bad = n->device.given_up = false;
		n->device_mended = n->w->now;
		keeper_tell(n);
		break;
	case DATA_UNREADABLE:
		n->unreadable = false;
		break;
	case SYSID_UNREADABLE:
		n->no_sysid = false;
		break;
	case READ_ONLY:
		w->store.read_only = false;
		break;
	case ANSWERS_LOST:
		w->answer_loss = 0;
		break;
	case PAUSE:
		operator_pause(w, false);
		break;
	case NEW_SYSID:
		end_new_sysid(n);
		break;
	case STOP_FAILS:
		n->stop_fails = false;
		break;
	case LOGIN_FAILS:
		n->login_fails = false;
		break;
	case STORE_CRAWLS:
		w->store_crawls = false;
		break;
	case LAGGARD:
	case OUTRUN:
	case SUCCESSOR:
	case RIVALS:
	case OTHER_ID:
	case GHOST_ASKED:
	case LOST_STARTING:
	case DEMOTED_UNLED:
	case POLLERS_DIE:
	case CRAWLING_RACE:
		story_end(w);
		break;
	default:
		break;
	}
}

/*
 * The fence covers one fault inside the manager.  A keeper that is away
 * while the rest of its manager hangs or dies is two: no software survives
 * that without a hardware watchdog, so it is not asked for.
 */
static bool
hurts_keeper(int kind)
{
	return kind == KEEPER_CRASH || kind == KEEPER_HANG;
}

/*
 * A controller that was started again knows of no lease before it has seen
 * the store once (spec/config.md 1.3): its crash is not over.
 */
static bool
has_lost_controller(const struct node *n)
{
	return n->machine_up && n->h == NULL;
}

static bool
needs_keeper(int kind)
{
	return kind == CONTROLLER_CRASH || kind == CONTROLLER_HANG ||
	    kind == MASTER_CRASH || kind == MANAGER_HANG ||
	    kind == NODE_FREEZE || kind == TERMINATE;
}

/* A server that does not stop is the keeper's, as soon as its lease is over. */
static bool
needs_fence(int kind)
{
	return needs_keeper(kind) || kind == STOP_FAILS;
}

/* Does this seed have what the fault belongs to? */
static bool
applies(const struct world *w, int kind)
{
	switch ((enum fault_kind)kind) {
	case RESTART:
	case RESTART_SCHEDULED:
	case REINITIALIZE:
	case SWITCHOVER_SCHEDULED:
	case FAILOVER:
	case PAUSE:
	case HAND_PROMOTION:
	case NEW_SYSID:
		return w->operators;
	case RIVALS:
	case OTHER_ID:
	case GHOST_ASKED:
		return w->operators && !w->standby;
	case DEMOTE_CLUSTER:
		return w->standby_seed;
	case DEMOTED_UNLED:
		return w->standby_seed && !w->standby;
	case SUCCESSOR:
		return w->sync == 2 && w->synced && !w->toggles;
	case SSN_BY_HAND:
	case SYNC_BY_HAND:
		return w->sync != 0 && w->operators && !w->standby;
	case SYNC_CHANGE:
		return w->toggles;
	case PRE_PROMOTE_FAILS:
		return w->pre_promote;
	case DEVICE_FAILS:
		return w->watchdog != WATCHDOG_OFF;
	case SLOTS_MISSING:
		return w->logical_slots;
	case KEY_DELETED:
		/* two primaries for a moment can lose what was acknowledged */
		return w->sync == 0 && !w->toggles;
	default:
		return true;
	}
}

/*
 * A node without data, or with other data, and a store without keys: that is
 * a new cluster, and no manager could know better.  So a phase of trouble has
 * one kind of these, and no more than one data directory goes.
 */
static bool
disaster(struct world *w, int kind)
{
	bool data =
	    kind == DATA_LOST || kind == NEW_SYSID || kind == REINITIALIZE;
	int i, left = 0;

	if ((data && w->wiped_now) ||
	    (kind == STORE_WIPED && (w->data_lost || w->data_hurt)) ||
	    (kind == DATA_LOST && w->data_lost))
		return false;
	for (i = 0; kind == STORE_WIPED && i < w->nnodes; i++)
		if (!w->node[i].pg.data || pg_foreign(&w->node[i]))
			return false;
	/* somebody has to be able to lead, if only by order */
	for (i = 0; i < w->nnodes; i++)
		left += w->node[i].pg.data && !pg_foreign(&w->node[i]) &&
		    !w->node[i].tags.nofailover && !w->node[i].job.on;
	if (data && left < 2)
		return false;
	if (kind == STORE_WIPED)
		w->wiped_now = true;
	if (data)
		w->data_hurt = true;
	if (kind == DATA_LOST)
		w->data_lost = true;
	return true;
}

static bool
is_story(int kind)
{
	return kind >= LAGGARD;
}

static bool
allowed(const struct world *w, const struct fault *f)
{
	int i;

	if (w->watchdog != WATCHDOG_REQUIRED && hurts_keeper(f->kind) &&
	    has_lost_controller(f->n))
		return false;
	for (i = 0; i < MAX_FAULTS; i++) {
		const struct fault *g = &w->faults[i];

		if (!g->on)
			continue;
		if (is_story(g->kind) || is_story(f->kind))
			return false;
		if (g->kind == f->kind &&
		    (g->n == f->n || f->kind >= STORE_DOWN))
			return false;
		if (g->n != f->n)
			continue;
		/* a required device survives that */
		if (w->watchdog != WATCHDOG_REQUIRED &&
		    ((hurts_keeper(g->kind) && needs_fence(f->kind)) ||
			(needs_fence(g->kind) && hurts_keeper(f->kind))))
			return false;
		/* a frozen process has one cause only */
		if (needs_keeper(g->kind) && needs_keeper(f->kind))
			return false;
		if (g->kind == NODE_LOSS || f->kind == NODE_LOSS)
			return false;
		if (f->kind == PG_HANG && g->kind == NODE_FREEZE)
			return false;
		if (f->kind == NODE_FREEZE)
			return false;
	}
	return true;
}

static void
on_end(struct world *w, struct ev *e)
{
	struct fault *f = &w->faults[e->arg];

	trace(w, f->n, "== fault over: %s", kind_names[f->kind]);
	f->on = false;
	w->disturbed = w->now;
	if (in_trouble(w) || w->store.down)
		w->eased = w->now;
	finish(w, f);
}

static struct node *
victim(struct world *w)
{
	int owner = store_leader(w);

	/* trouble loves the leader */
	if (owner >= 0 && chance(w, 55))
		return &w->node[owner];
	return &w->node[rnd_range(w, 0, w->nnodes - 1)];
}

static void
on_begin(struct world *w, struct ev *e)
{
	struct fault f, *slot = NULL;
	int64_t lasts;
	int i;

	memset(&f, 0, sizeof(f));
	f.kind = e->id != 0 ? (int)rnd_range(w, LAGGARD, FAULT_KINDS - 1) :
			      (int)rnd_range(w, 0, LAGGARD - 1);
	f.n = victim(w);
	f.way = (int)rnd_range(w, 0, 2);
	f.other = STORE;
	lasts = chance(w, 50) ? rnd_range(w, MS, 8 * SEC) :
				rnd_range(w, 8 * SEC, 90 * SEC);
	if (w->now + lasts > e->arg)
		lasts = e->arg - w->now;
	if (f.kind == PARTITION_NODES) {
		f.other = (int)rnd_range(w, 0, w->nnodes - 1);
		if (f.other == f.n->i)
			return;
	}
	if (!applies(w, f.kind))
		return;
	if (!disaster(w, f.kind))
		return;
	if (is_story(f.kind)) {
		lasts = e->arg - w->now;
		if (!story_victim(w, &f, lasts))
			return;
	}
	for (i = 0; i < MAX_FAULTS; i++)
		if (!w->faults[i].on)
			slot = &w->faults[i];
	if (slot == NULL || !allowed(w, &f))
		return;
	trace(w, f.n, "== fault: %s for %.1f s (way %d, other %d)",
	    kind_names[f.kind], (double)lasts / 1e9, f.way, f.other + 1);
	coverage_fault(w, kind_names[f.kind]);
	*slot = f;
	slot->on = true;
	w->faults_begun++;
	at(w,
	    w->now +
		(hurts_keeper(f.kind) && lasts < w->ttl * SEC ? w->ttl * SEC :
								lasts),
	    on_end, NULL, PROC_COUNT)
	    ->arg = slot - w->faults;
	w->disturbed = w->now;
	begin(w, slot);
	story_begin(w, slot, lasts);
}

/* ---- phases ---- */

static void on_trouble(struct world *, struct ev *);

static void
on_quiet_second(struct world *w, struct ev *e)
{
	if (!w->quiet || w->now >= e->arg)
		return;
	operator_insists(w);
	check_quiet(w);
	at(w, w->now + SEC, on_quiet_second, NULL, PROC_COUNT)->arg = e->arg;
}

static void
on_quiet(struct world *w, struct ev *e)
{
	int64_t lasts = (w->ttl + 210) * SEC;

	(void)e;
	trace(w, NULL, "== health");
	w->quiet = true;
	w->quiet_since = w->now;
	w->lost_before = w->data_lost;
	w->data_lost = w->rescued = w->data_hurt = w->wiped_now = false;
	at(w, w->now + SEC, on_quiet_second, NULL, PROC_COUNT)->arg =
	    w->now + lasts;
	at(w, w->now + lasts, on_trouble, NULL, PROC_COUNT);
}

static void
on_trouble(struct world *w, struct ev *e)
{
	int64_t lasts = rnd_range(w, 40, 240) * SEC, i, n;

	(void)e;
	if (w->intensity == 0) {
		on_quiet(w, e);
		return;
	}
	trace(w, NULL, "== trouble");
	w->quiet = false;
	n = rnd_range(w, 1, w->intensity);
	if (chance(w, 25)) { /* one story, nothing else, and time for it */
		struct ev *b = at(w, w->now + rnd_range(w, 0, 20) * SEC,
		    on_begin, NULL, PROC_COUNT);

		lasts = rnd_range(w, 100, 400) * SEC;
		b->arg = w->now + lasts;
		b->id = 1;
		n = 0;
	}
	for (i = 0; i < n; i++)
		at(w, w->now + rnd_range(w, 0, lasts - SEC), on_begin, NULL,
		    PROC_COUNT)
		    ->arg = w->now + lasts;
	/* the longest fault of a keeper outlives the phase by ttl */
	at(w, w->now + lasts + (w->ttl + 1) * SEC, on_quiet, NULL, PROC_COUNT);
}

void
faults_init(struct world *w)
{
	/* a cluster has to exist before it can be hurt, mostly */
	if (chance(w, 85))
		at(w, w->now, on_quiet, NULL, PROC_COUNT);
	else
		at(w, w->now, on_trouble, NULL, PROC_COUNT);
}
