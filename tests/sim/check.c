/*
 * check.c: what must hold (spec/ha.md 23): after every event, at a
 * promotion, and when the faults are over.
 */
#include <stdlib.h>

#include "sim.h"

/* Until a first leader key has been written a bootstrap runs without one. */
static bool
bootstrapping(const struct world *w)
{
	return w->lead_since == 0;
}

/*
 * A node that can commit holds the key, at the store, now.  It follows that
 * no two can.
 */
void
check_step(struct world *w)
{
	int i, writable = 0, owner = store_leader(w);

	for (i = 0; i < w->nnodes; i++) {
		const struct node *n = &w->node[i];

		if (!pg_writable(n))
			continue;
		writable++;
		if (owner != i && !bootstrapping(w) && !n->foreign)
			violate(w, "%s accepts commits without the leader "
			    "key (owner: %s)", n->name,
			    owner < 0 ? "nobody" : w->node[owner].name);
		if (n->job.on && n->job.spec.kind == JOB_CLONE)
			violate(w, "%s accepts commits while it is cloned",
			    n->name);
	}
	if (writable > 1)
		violate(w, "%d nodes accept commits", writable);
}

/* The key was just taken: by somebody who may? */
void
check_acquired(struct world *w, struct node *n)
{
	char id[WORD_SIZE];

	if (w->lead_since == 0)
		w->lead_since = w->now;
	(void)snprintf(id, sizeof(id), "%llu",
	    (unsigned long long)n->pg.sysid);
	if (n->pg.data && strlen(w->store.initialize) >= 10 &&
	    strcmp(id, w->store.initialize) != 0)
		violate(w, "%s leads with another cluster's data", n->name);
	if (w->check_timeline && w->store.nhistory > 0 && pg_tli(&n->pg) <
	    w->store.history[w->store.nhistory - 1].timeline + 1)
		violate(w, "%s on timeline %u takes the key, the cluster is "
		    "beyond %u", n->name, pg_tli(&n->pg),
		    w->store.history[w->store.nhistory - 1].timeline);
}

/*
 * Asynchronous mode: what was acknowledged and is not on the new timeline is
 * bounded (spec 23.2).
 */
void
check_promotion(struct world *w, struct node *n)
{
	uint64_t common = wal_common(&w->acked, &n->pg.wal);
	uint64_t bound = (uint64_t)(w->maximum_lag +
	    w->rate * (w->ttl + 5));
	uint64_t lost;

	if (w->acked.n == 0)
		return;
	lost = w->acked.end > common ? w->acked.end - common : 0;
	if (!w->check_timeline)
		bound *= 2;
	if (lost > bound)
		violate(w, "%s was promoted without %llu bytes that were "
		    "acknowledged; %llu may be", n->name,
		    (unsigned long long)lost, (unsigned long long)bound);
}

/* ---- when the faults are over ---- */

static int
primary(const struct world *w)
{
	int i;

	for (i = 0; i < w->nnodes; i++)
		if (pg_writable(&w->node[i]))
			return i;
	return -1;
}

static void
check_followers(struct world *w, int leader)
{
	int i;

	for (i = 0; i < w->nnodes; i++) {
		const struct node *n = &w->node[i];

		if (i == leader || n->foreign)
			continue;
		if (n->pg.run != PG_UP || n->pg.primary || !n->pg.streaming ||
		    n->pg.follow != leader)
			violate(w, "%s does not stream from %s (%s, follows "
			    "%d, state %s)", n->name, w->node[leader].name,
			    n->pg.run == PG_UP ? "up" : "not up",
			    n->pg.follow + 1, pg_state_name(n->state));
	}
}

/* Called every second of a quiet phase. */
void
check_quiet(struct world *w)
{
	int64_t quiet = w->now - w->quiet_since;
	int leader = primary(w);

	if (leader < 0 && quiet > (w->ttl + 90) * SEC)
		violate(w, "no primary for %lld s of health",
		    (long long)(quiet / SEC));
	if (leader >= 0 && quiet > (w->ttl + 200) * SEC)
		check_followers(w, leader);
}
