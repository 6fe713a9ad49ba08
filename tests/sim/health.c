/*
 * health.c: what must be so when the faults have been over for a while: a
 * leader, followers that stream, requests that were answered, nothing
 * half-way.  Called every second of a quiet phase.
 */
#include "sim.h"

/* So long after ttl nothing may be half-way any more (s). */
#define HEALED 150

static int
primary(const struct world *w)
{
	int i;

	for (i = 0; i < w->nnodes; i++)
		if (pg_writable(&w->node[i]))
			return i;
	return -1;
}

/* Whom this one has to follow, as its tags say; -1: nobody. */
static int
wanted(struct world *w, const struct node *n, int leader)
{
	const struct node *from;

	if (n->tags.nostream)
		return -1;
	if (n->i == leader)
		return REMOTE;
	from = n->tags.replicatefrom[0] == '\0' ?
	    NULL :
	    node_named(w, n->tags.replicatefrom);
	if (from != NULL && w->store.members[from->i].there &&
	    w->store.members[from->i].expires > w->now)
		return from->i;
	return leader;
}

/* It cannot stream from one that does not stream itself. */
static bool
reaches(struct world *w, const struct node *n, int leader)
{
	int i, at = n->i;

	for (i = 0; i < MAX_NODES && at != leader; i++) {
		if (w->node[at].tags.nostream || pg_foreign(&w->node[at]))
			return false;
		at = wanted(w, &w->node[at], leader);
	}
	return at == leader;
}

static void
check_follower(struct world *w, const struct node *n, int leader)
{
	int from = wanted(w, n, leader);

	if (n->pg.replay_paused)
		violate(w, "%s stays in paused replay", n->name);
	if (n->slots_wanted && n->pg.streaming && store_leader(w) != n->i)
		violate(w, "%s lacks logical slots of the leader", n->name);
	/* without a target a standby cluster's keeps the one it had (6.2, 9) */
	if (n->tags.nostream) {
		if (!w->standby && n->pg.streaming)
			violate(w, "%s streams, tagged nostream", n->name);
		return;
	}
	/* diverged, and neither rewound nor cloned anew (17.5) */
	if (w->standby && !w->use_rewind && n->pg.run == PG_UP &&
	    !n->pg.primary)
		return;
	if (n->pg.run != PG_UP || n->pg.primary || n->pg.follow != from ||
	    (!n->pg.streaming && reaches(w, n, leader)))
		violate(w,
		    "%s does not stream from %d (%s, follows "
		    "%d, state %s)",
		    n->name, from + 1, n->pg.run == PG_UP ? "up" : "not up",
		    n->pg.follow + 1, pg_state_name(n->state));
	if (n->state != STATE_RUNNING)
		violate(w, "%s stays in state %s", n->name,
		    pg_state_name(n->state));
}

/* Nor does the one that leads stay half-way. */
static void
check_leader(struct world *w, int leader)
{
	const struct node *n = &w->node[leader];
	enum pg_role role = w->standby ? ROLE_STANDBY_LEADER : ROLE_PRIMARY;

	if (n->state != STATE_RUNNING)
		violate(w, "%s leads and stays in state %s", n->name,
		    pg_state_name(n->state));
	if (n->h == NULL)
		violate(w, "%s leads and has no controller", n->name);
	else if (ha_role(n->h) != role)
		violate(w, "%s leads and stays %s", n->name,
		    pg_role_name(ha_role(n->h)));
	if (store_leader(w) != leader)
		violate(w, "%s leads and the key is not its own", n->name);
}

/* Nobody asked for it any more: operator_insists(). */
static void
check_resumed(struct world *w)
{
	int i;

	if (w->paused)
		violate(w, "the cluster stays paused");
	for (i = 0; i < w->nnodes; i++)
		if (w->node[i].h != NULL && ha_paused(w->node[i].h))
			violate(w, "%s stays paused", w->node[i].name);
}

static void
check_followers(struct world *w, int leader)
{
	int i;

	for (i = 0; i < w->nnodes; i++) {
		const struct node *n = &w->node[i];

		if (pg_foreign(n))
			continue;
		if (n->h != NULL && ha_action(n->h) != NULL)
			violate(w, "%s is busy without end: %s", n->name,
			    ha_action(n->h));
		if (i != leader)
			check_follower(w, n, leader);
	}
}

/* ---- requests ---- */

/* All clocks are past the moment. */
static bool
due_everywhere(const struct world *w)
{
	int i;

	for (i = 0; i < w->nnodes; i++)
		if (wall_time(&w->node[i]) <
		    w->store.failover_at + INT64_C(60000000))
			return false;
	return true;
}

static void
check_requests(struct world *w, int64_t quiet)
{
	const struct store *s = &w->store;
	int i;

	if (s->has_failover && quiet > (w->ttl + 90) * SEC &&
	    (s->failover_leader[0] != '\0' || s->failover_member[0] != '\0') &&
	    (s->failover_at == 0 || due_everywhere(w)))
		violate(w,
		    "a request is neither carried out nor refused "
		    "(leader \"%s\", member \"%s\")",
		    s->failover_leader, s->failover_member);
	for (i = 0; i < w->nnodes; i++)
		if (w->node[i].request != 0 &&
		    w->node[i].request_at < w->now - 200 * SEC &&
		    quiet > 150 * SEC)
			violate(
			    w, "%s: a request gets no answer", w->node[i].name);
}

/* ---- synchronous mode ---- */

static void
check_half_synchronous(struct world *w, int leader)
{
	const struct node *n = &w->node[leader];
	char names[2 * MAX_NODES + 2][NAME_SIZE];
	uint32_t need, count = 0, i, j;
	int eligible = 0;

	if (w->sync == 0) {
		if (w->store.sync_leader[0] != '\0' || n->pg.ssn[0] != '\0')
			violate(w, "synchronous mode is off and is not");
		return;
	}
	if (strcmp(w->store.sync_leader, n->name) != 0)
		violate(w, "/sync names %s, the leader is %s",
		    w->store.sync_leader, n->name);
	sync_names(n, &need, names, &count);
	for (i = 0; i < count; i++) {
		for (j = 0; j < w->store.nsync; j++)
			if (strcmp(names[i], w->store.sync_standby[j]) == 0)
				break;
		if (j == w->store.nsync)
			violate(w, "%s waits for %s, which is not in /sync",
			    n->name, names[i]);
	}
	for (i = 0; i < (uint32_t)w->nnodes; i++) {
		const struct node *p = &w->node[i];

		if (p != n && p->pg.streaming && p->pg.follow == leader &&
		    !p->tags.nosync && p->tags.replicatefrom[0] == '\0')
			eligible++;
	}
	if (eligible > 0 && w->store.nsync == 0)
		violate(
		    w, "%d standbys could be synchronous, none is", eligible);
}

/* 3.4, row 4 */
static void
check_initialize(struct world *w, int leader)
{
	char id[WORD_SIZE];

	(void)snprintf(id, sizeof(id), "%llu",
	    (unsigned long long)w->node[leader].pg.sysid);
	if (strcmp(id, w->store.initialize) != 0)
		violate(w, "/initialize is \"%s\", the leader's data are %s",
		    w->store.initialize, id);
}

static void
check_history(struct world *w, int leader)
{
	const struct store *s = &w->store;
	uint32_t tli = pg_tli(&w->node[leader].pg);

	if (tli > 1 &&
	    (s->nhistory == 0 || s->history[s->nhistory - 1].timeline >= tli))
		violate(w, "timeline %u, and /history does not tell", tli);
}

/* ---- a standby cluster ---- */

static void
check_standby_cluster(struct world *w, int64_t quiet)
{
	int leader = store_leader(w), p = primary(w);
	const struct node *n;

	if (w->handed_at > w->now - 60 * SEC ||
	    w->standby_since > w->now - (w->ttl + 200) * SEC ||
	    quiet < (w->ttl + HEALED) * SEC)
		return;
	if (p >= 0)
		violate(
		    w, "%s is a primary in a standby cluster", w->node[p].name);
	if (leader < 0) {
		violate(w, "a standby cluster without a leader");
		return;
	}
	n = &w->node[leader];
	/* a slip gave the key to one that receives nothing: neither do others
	 */
	if (n->tags.nostream)
		return;
	check_follower(w, n, leader);
	check_followers(w, leader);
	check_leader(w, leader);
}

/*
 * A restart lets the primary release it from the synchronous set first, for
 * 2 loop_wait at most (13.8, 18.1): its job has not begun then.
 */
static bool
leaves_sync_set(struct node *n)
{
	const char *action = n->h == NULL ? NULL : ha_action(n->h);

	if (action == NULL || n->job.on || strcmp(action, "restart") != 0) {
		n->leaves_since = 0;
		return false;
	}
	if (n->leaves_since == 0)
		n->leaves_since = n->w->now;
	return n->w->now - n->leaves_since <= (2 * n->w->loop_wait + 5) * SEC;
}

/*
 * What was asked for with a schedule may begin in a time of health: judged
 * is what follows.
 */
static void
look(struct world *w, int leader)
{
	int i;

	if (leader >= 0)
		w->led_at = w->now;
	for (i = 0; i < w->nnodes; i++)
		if (leaves_sync_set(&w->node[i]))
			w->moved_at = w->now;
	for (i = 0; i < w->nnodes; i++) {
		const struct job *j = &w->node[i].job;

		if (j->on &&
		    (j->spec.kind == JOB_RESTART ||
			(j->spec.kind == JOB_STOP && j->spec.checkpoint)))
			w->moved_at = w->now;
	}
}

void
check_quiet(struct world *w)
{
	int64_t since = w->quiet_since, quiet;
	int leader = primary(w);

	look(w, leader);
	if (w->moved_at > since)
		since = w->moved_at;
	quiet = w->now - since;
	check_requests(w, quiet);
	if (quiet > (w->ttl + HEALED) * SEC)
		check_resumed(w);
	if (w->standby) {
		check_standby_cluster(w, quiet);
		return;
	}
	if (leader < 0 && w->led_at < w->now - (w->ttl + 60) * SEC &&
	    quiet > (w->ttl + (w->lost_before ? 120 : 60)) * SEC)
		violate(w, "no primary for %lld s of health",
		    (long long)(quiet / SEC));
	if (leader < 0 || quiet <= (w->ttl + HEALED) * SEC ||
	    w->handed_at > w->now - 60 * SEC)
		return;
	check_leader(w, leader);
	check_followers(w, leader);
	check_half_synchronous(w, leader);
	check_history(w, leader);
	check_initialize(w, leader);
}
