/*
 * check_rules.c: what must hold of single effects: who takes the key, what
 * is ordered in pause, when the keeper is told to rest, what /sync and
 * synchronous_standby_names say together (spec/ha.md 23.1).
 */
#include <stdlib.h>

#include "sim.h"

/* ---- who takes the key ---- */

/* This one could be asked for a while, and nothing changed about it. */
static bool
settled(const struct world *w, const struct node *n, const struct node *p)
{
	int64_t margin = w->now - 15 * SEC;

	return p->machine_up && p->h != NULL && !pg_foreign(p) &&
	    p->pg.run == PG_UP && !p->pg.hung && !p->pg.primary &&
	    p->pg.up_since < margin && p->well_since < margin &&
	    w->disturbed < margin && process_ok(p, PROC_POSTGRES) &&
	    process_ok(p, PROC_REST) && process_ok(p, PROC_DCS) &&
	    linked(w, p->i, STORE) && linked(w, STORE, p->i) &&
	    linked(w, n->i, p->i) && linked(w, p->i, n->i);
}

bool
sync_listed_in(const struct world *w, const struct node *n)
{
	const struct store *s = &w->store;
	uint32_t i;

	if (strcmp(s->sync_leader, n->name) == 0)
		return true;
	for (i = 0; i < s->nsync; i++)
		if (strcmp(s->sync_standby[i], n->name) == 0)
			return true;
	return false;
}

static bool
may_lead(const struct world *w, const struct node *p)
{
	if (p->tags.nofailover || !keeper_healthy(p) ||
	    p->device_mended > w->now - 15 * SEC)
		return false;
	if (p->withheld > w->now - (w->ttl + 15) * SEC)
		return false;
	if (w->failsafe && w->store.has_failsafe && !w->store.failsafe[p->i])
		return false;
	return !w->synced || sync_listed_in(w, p);
}

/* Something is wrong that may keep nodes from seeing what others see. */
bool
in_trouble(const struct world *w)
{
	return w->store_delay_max > 0 || w->store_crawls ||
	    w->loss_percent > 0 || w->answer_loss > 0 || w->store.read_only;
}

/* 11.2 step 7: at equal positions the priority decides. */
static void
check_priority(struct node *n)
{
	struct world *w = n->w;
	int i;

	if (w->store.failover_leader[0] != '\0' ||
	    w->store.failover_member[0] != '\0' || w->sync != 0 ||
	    n->well_since > w->now - 15 * SEC ||
	    w->disturbed > w->now - (w->ttl - w->loop_wait - 3) * SEC ||
	    in_trouble(w) || w->last_commit > w->now - 15 * SEC)
		return;
	for (i = 0; i < w->nnodes; i++) {
		const struct node *p = &w->node[i];

		/* without its member key nobody can ask it (11.2, 5) */
		if (p == n || !settled(w, n, p) || !may_lead(w, p) ||
		    (!n->known[i] && !n->known_old[i]) || i == w->former ||
		    i == w->former_before || p->pg.wal.end != n->pg.wal.end ||
		    pg_tli(&p->pg) != pg_tli(&n->pg) ||
		    p->tags.failover_priority <= n->tags.failover_priority)
			continue;
		violate(w,
		    "%s takes the key before %s, whose WAL is equal and "
		    "whose priority is higher",
		    n->name, p->name);
	}
}

/* 12.3: a healthy candidate comes first. */
static void
check_candidate(struct node *n)
{
	struct world *w = n->w;
	const struct node *p = node_named(w, w->store.failover_member);

	if (w->store.failover_member[0] == '\0' || p == NULL || p == n ||
	    w->paused || w->resumed_at > w->now - 15 * SEC ||
	    w->requested > w->now - 15 * SEC || !w->store.members[p->i].there ||
	    w->store.members[p->i].expires < w->now + SEC ||
	    !n->known[p->i] || /* its key came after the winner's last look */
	    !settled(w, n, p) || !may_lead(w, p))
		return;
	/* a schedule that this node takes for missed */
	if (w->sync != 0 && !sync_listed_in(w, p))
		return;
	violate(w, "%s takes the key although %s was asked for and is well",
	    n->name, p->name);
}

/* Named by people: 12.3 asks neither for lag nor for the watchdog. */
static bool
is_named(const struct world *w, const struct node *n)
{
	return strcmp(w->store.failover_member, n->name) == 0;
}

/* 4, 1: everybody waits for loop_wait at least, who knows where it was. */
static void
check_backoff(const struct node *n)
{
	struct world *w = n->w;
	int64_t since = w->now - 2 * w->ttl * SEC;

	if (w->race_backoff == 0 || w->standby || w->standby_since > since ||
	    w->store.failover_member[0] != '\0' || w->requested > since ||
	    w->paused || w->resumed_at > since || n->unled_since == 0 ||
	    n->well_since > since || n->pg.up_since > since ||
	    /* nobody can read that it is no standby cluster any more */
	    (w->forgot_at > since && w->forgot_at > 0) ||
	    w->now - n->unled_since >= (w->loop_wait * SEC) - 100 * MS)
		return;
	violate(w, "%s takes the key %.1f s after nobody led", n->name,
	    (double)(w->now - n->unled_since) / 1e9);
}

void
check_fit(struct node *n)
{
	struct world *w = n->w;

	if (n->bootstraps || n->paused_until > w->now ||
	    (n->pg.run == PG_UP && n->pg.primary))
		return;
	if (n->tags.nofailover)
		violate(w, "%s takes the key, tagged nofailover", n->name);
	if (w->watchdog == WATCHDOG_REQUIRED && n->device_bad &&
	    !n->device.running && n->device.given_up &&
	    w->disturbed < w->now - 15 * SEC && !is_named(w, n))
		violate(w, "%s takes the key without a usable device", n->name);
	if (n->withheld > w->now - (w->ttl - 2) * SEC && n->withheld > 0 &&
	    n->well_since < n->withheld)
		violate(w,
		    "%s takes the key %.1f s after its pre_promote failed",
		    n->name, (double)(w->now - n->withheld) / 1e9);
	check_priority(n);
	check_candidate(n);
	check_backoff(n);
}

/* ---- pg_ctl promote ---- */

void
check_order(struct node *n)
{
	struct world *w = n->w;

	if (w->watchdog == WATCHDOG_REQUIRED && !n->device.running &&
	    !ha_paused(n->h) && process_ok(n, PROC_WATCHDOG))
		violate(
		    w, "%s is promoted without its required watchdog", n->name);
	if (w->check_timeline && w->store.nhistory > 0 && n->pg.run == PG_UP &&
	    w->named != n->i && w->given != n->i &&
	    /* a wiped store gave its key to somebody else meanwhile */
	    (w->forgot_at == 0 || w->forgot_at < w->now - w->ttl * SEC) &&
	    pg_tli(&n->pg) <
		w->store.history[w->store.nhistory - 1].timeline + 1)
		violate(w,
		    "%s on timeline %u is promoted, the cluster is "
		    "beyond %u",
		    n->name, pg_tli(&n->pg),
		    w->store.history[w->store.nhistory - 1].timeline);
	/* the other side leads for longer than a cycle takes */
	if (w->standby && w->standby_until == 0 && w->remote.pg.primary &&
	    w->remote.pg.up_since < w->now - 2 * w->ttl * SEC)
		violate(w, "%s is promoted in a standby cluster", n->name);
}

/* ---- the keeper is told to rest ---- */

void
check_disarm(struct node *n)
{
	if (pg_writable(n) && !ha_paused(n->h) && !n->bootstraps &&
	    (n->keeper.stage != KEEPER_IDLE || n->device.running))
		violate(n->w,
		    "%s has its keeper disarmed while clients can commit",
		    n->name);
}

/* ---- jobs ---- */

static bool
forbidden_in_pause(const struct node *n, const struct ha_job *j)
{
	switch (j->kind) {
	case JOB_BOOTSTRAP:
	case JOB_START_PRIMARY:
		return true;
	case JOB_STOP:
		/* a switchover to a named candidate is a graceful one */
		return !j->checkpoint && pg_writable(n);
	default:
		return false;
	}
}

/* Up for long enough that it cannot have missed the question. */
static bool
could_take_over(const struct node *n, const struct node *p)
{
	struct world *w = n->w;

	return p != n && process_ok(p, PROC_REST) &&
	    process_ok(p, PROC_POSTGRES) && p->h != NULL &&
	    w->store.members[p->i].there && p->well_since < w->quiet_since &&
	    !p->tags.nofailover && p->tags.failover_priority > 0 &&
	    keeper_healthy(p) && p->pg.run == PG_UP && !p->pg.hung &&
	    !p->pg.primary && p->pg.up_since < w->quiet_since &&
	    p->pg.wal.end >= n->pg.checkpoint &&
	    pg_tli(&p->pg) == n->pg.checkpoint_tli;
}

/*
 * A member that does not answer makes the question as long as the answer is
 * waited for (11.3): it is asked once, and what others got after that counts
 * for nothing.
 */
static bool
asked_in_time(const struct node *n, const struct node *p)
{
	const struct world *w = n->w;
	int i;

	/* two seconds to connect, two for the answer */
	if (p->pg.grew < w->now - 5 * SEC)
		return true;
	for (i = 0; i < w->nnodes; i++) {
		const struct node *q = &w->node[i];

		if (q != n && q != p &&
		    (q->h == NULL || !process_ok(q, PROC_REST) ||
			!process_ok(q, PROC_POSTGRES) || !linked(w, n->i, i) ||
			!linked(w, i, n->i)))
			return false;
	}
	return true;
}

/* 17.3: the demoted primary keeps its key only where nobody can have it. */
static void
check_places(struct node *n, const struct ha_job *j)
{
	struct world *w = n->w;
	const char *action = n->h == NULL ? NULL : ha_action(n->h);
	int i;

	if (j->kind != JOB_FOLLOW || j->role != ROLE_STANDBY_LEADER ||
	    action == NULL ||
	    strcmp(action, "demoting to a standby cluster") != 0)
		return;
	if (w->archiving || n->pg.control != CONTROL_SHUT_DOWN ||
	    w->quiet_since > w->now - 60 * SEC || w->store.has_failover ||
	    /* asked when nobody could be reached */
	    w->relinked > w->now - 5 * SEC ||
	    /* it did ask to be rid of it, and got no answer */
	    n->gave_back > w->now - w->ttl * SEC)
		return;
	for (i = 0; i < w->nnodes; i++)
		if (could_take_over(n, &w->node[i]) &&
		    asked_in_time(n, &w->node[i]))
			violate(w,
			    "%s keeps the key of the demoted cluster, %s has "
			    "the shutdown checkpoint",
			    n->name, w->node[i].name);
}

/* 18.2: once, and not after it was called off. */
static void
check_schedule(struct node *n)
{
	/* asked for now; or before its answer, which frees the place */
	if (n->request != 0)
		return;
	if (!n->scheduled)
		violate(n->w, "%s restarts, and nobody asks for it", n->name);
	/* one that has just ended was up when this was decided */
	if (n->scheduled_gen != 0 && n->scheduled_gen != n->pg.gen &&
	    n->pg.run == PG_UP)
		violate(n->w,
		    "%s restarts as scheduled, and has restarted since",
		    n->name);
	n->scheduled = false;
}

/* 23.1, 11 */
static void
check_bootstrap(struct node *n)
{
	const struct world *w = n->w;

	if (w->forgot_at > w->now - 15 * SEC && w->forgot_at > 0)
		return;
	/* people took it away before the answer was there */
	if (w->uninitialized_at > w->now - SEC && w->uninitialized_at > 0)
		return;
	if (!w->store.has_initialize || w->store.initializer != n->i)
		violate(n->w, "%s bootstraps without /initialize", n->name);
}

void
check_job(struct node *n, const struct ha_job *j)
{
	struct world *w = n->w;

	if (j->kind == JOB_RESTART)
		check_schedule(n);
	if (j->kind == JOB_BOOTSTRAP)
		check_bootstrap(n);
	/* asked for with a schedule, it may begin in a time of health */
	if (j->kind == JOB_RESTART || (j->kind == JOB_STOP && j->checkpoint))
		w->moved_at = w->now;
	/* 23.1, 15 */
	if (ha_paused(n->h) && forbidden_in_pause(n, j) && !n->unreadable &&
	    n->pg.data && n->operated < w->now - 30 * SEC && !n->stopping &&
	    w->paused_at < w->now - 10 * SEC && w->paused)
		violate(w, "%s: job %d begins in pause", n->name, (int)j->kind);
	if ((j->kind == JOB_CLONE || j->kind == JOB_REMOVE_DATA ||
		j->kind == JOB_REWIND) &&
	    store_leader(w) == n->i && pg_writable(n) &&
	    n->operated < w->now - 5 * SEC)
		violate(w, "%s: its data go (job %d) while it leads", n->name,
		    (int)j->kind);
	check_places(n, j);
	if (j->kind == JOB_COPY_SLOTS && pg_writable(n))
		violate(w, "%s: a primary stops to copy slots", n->name);
	/* 12.4; the cycle that decides has the wall clock of its begin */
	if (n->stepped_at < w->now - w->ttl * SEC && j->kind == JOB_STOP &&
	    j->checkpoint && j->want_shutdown_lsn &&
	    w->store.failover_at > wall_time(n) + 1000000 &&
	    /* decided by the one before, which was due */
	    (w->requested < w->now - 15 * SEC ||
		w->scheduled_before > wall_time(n) + 1000000) &&
	    w->requested_before < w->now - 30 * SEC)
		violate(w, "%s: the switchover begins %.1f s early", n->name,
		    (double)(w->store.failover_at - wall_time(n)) / 1e6);
}

/* ---- the end of a daemon ---- */

/*
 * 2.5, 6: who stopped its server in order gives the key up, if as far as it
 * knows the key may be its own: it asks, whatever comes of that.  What a slip
 * of people gave to it meanwhile it cannot know.
 */
void
check_exit(struct node *n)
{
	struct world *w = n->w;

	if (store_leader(w) != n->i || ha_paused(n->h) || pg_running(n) ||
	    n->well_since > w->now - 2 * w->ttl * SEC || n->holds < w->now ||
	    /* no key that is nearly over is trusted (2.5, 6) */
	    w->store.leader_expires <
		w->now + (w->ttl - 2 * w->loop_wait) * SEC ||
	    n->gave_back > w->now - w->ttl * SEC)
		return;
	violate(w, "%s ends and keeps the key", n->name);
}

/* ---- the two records of synchronous mode (13.1, 14.1) ---- */

struct set {
	uint32_t n;
	char v[2 * MAX_NODES + 2][NAME_SIZE];
};

static bool
has(const struct set *s, const char *name)
{
	uint32_t i;

	for (i = 0; i < s->n; i++)
		if (strcmp(s->v[i], name) == 0)
			return true;
	return false;
}

static void
add(struct set *s, const char *name)
{
	if (name[0] != '\0' && !has(s, name))
		(void)text_set(s->v[s->n++], NAME_SIZE, name);
}

static void
check_priority_records(struct world *w, const struct node *n)
{
	const struct store *s = &w->store;
	struct set names = { 0 };
	uint32_t need, i;

	sync_names(n, &need, names.v, &names.n);
	for (i = 0; i < s->nsync; i++)
		if (!has(&names, s->sync_standby[i]))
			violate(w,
			    "%s is in /sync, but %s does not wait for it "
			    "(\"%s\")",
			    s->sync_standby[i], n->name, n->pg.ssn);
	if (s->nsync > 0 && need < names.n)
		violate(w, "%s waits for %u of \"%s\" with %u in /sync",
		    n->name, need, n->pg.ssn, s->nsync);
}

static void
check_quorum_records(struct world *w, const struct node *n)
{
	const struct store *s = &w->store;
	struct set names = { 0 }, all = { 0 };
	uint32_t need, i;

	sync_names(n, &need, names.v, &names.n);
	/* who is named may lead without votes: it has to have everything */
	if (s->sync_leader[0] != '\0' && strcmp(s->sync_leader, n->name) != 0 &&
	    (!has(&names, s->sync_leader) || need < names.n))
		violate(w,
		    "/sync names %s, and %s may commit without it (\"%s\")",
		    s->sync_leader, n->name, n->pg.ssn);
	if (s->nsync == 0)
		return;
	for (i = 0; i < s->nsync; i++)
		add(&all, s->sync_standby[i]);
	add(&all, s->sync_leader);
	for (i = 0; i < names.n; i++)
		add(&all, names.v[i]);
	add(&all, n->name);
	if (all.n > s->sync_quorum + need + 1)
		violate(w,
		    "%u nodes, but quorum %u and %u acknowledgements "
		    "(\"%s\") need not overlap",
		    all.n, s->sync_quorum, need, n->pg.ssn);
}

static void
check_nosync(struct world *w)
{
	const struct store *s = &w->store;
	uint32_t i;

	for (i = 0; i < s->nsync; i++) {
		const struct node *p = node_named(w, s->sync_standby[i]);

		/* those that led before may be named in strict mode (13.7) */
		if (p != NULL && p->tags.nosync && !w->sync_strict)
			violate(w, "%s is in /sync, tagged nosync", p->name);
	}
}

/* After each single write of either record, and after a promotion. */
void
check_sync(struct world *w)
{
	int owner = store_leader(w);
	const struct node *n;

	if (!w->synced || w->toggles || owner < 0 || w->ssn_by_hand)
		return;
	n = &w->node[owner];
	if (!pg_writable(n) || n->bootstraps || n->paused_until > w->now)
		return;
	/* turned on just now, /sync comes first (13.5, 1; 13.6) */
	if (w->sync_strict && n->pg.ssn[0] == '\0' &&
	    w->synced_at < w->now - w->loop_wait * SEC)
		violate(w, "%s waits for nobody in strict mode", n->name);
	if (w->sync == 2)
		check_quorum_records(w, n);
	else if (strcmp(w->store.sync_leader, n->name) == 0)
		check_priority_records(w, n);
	if (w->sync == 1)
		check_nosync(w);
}
