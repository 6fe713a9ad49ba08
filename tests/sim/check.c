/*
 * check.c: what must hold (spec/ha.md 23): after every event, when the key
 * is taken, at a promotion, for the fence.  More about synchronous mode and
 * single effects is in check_rules.c, about health in health.c.
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
	int i, writable = 0, robbed = 0, owner = store_leader(w);

	for (i = 0; i < w->nnodes; i++) {
		const struct node *n = &w->node[i];

		if (!pg_writable(n) || n->bootstraps)
			continue;
		/* in pause it is people's business (23.1, 1) */
		if (n->paused_until > w->now)
			continue;
		writable++;
		if (n->robbed_until > w->now) {
			robbed++;
			continue;
		}
		/* all members agreed that it goes on; one of them may have the
		 * key, as long as it keeps to that (23.1, 1; 15.4) */
		if (w->failsafe && n->granted > local_time(n) &&
		    (owner < 0 || !pg_writable(&w->node[owner])))
			continue;
		if (owner != i && !bootstrapping(w))
			violate(w,
			    "%s accepts commits without the leader "
			    "key (owner: %s)",
			    n->name,
			    owner < 0 ? "nobody" : w->node[owner].name);
		if (n->job.on && n->job.spec.kind == JOB_CLONE)
			violate(w, "%s accepts commits while it is cloned",
			    n->name);
	}
	if (writable - robbed > 1)
		violate(w, "%d nodes accept commits", writable);
}

/* Could the winner have known that this one has more? */
static bool
peer_ahead(const struct world *w, const struct node *n, const struct node *p)
{
	int64_t margin = w->now - 15 * SEC;

	/* asked once, before the key was asked for (11.2): what it got after
	 * that, from a former primary that is up again, nobody could know */
	if (p->pg.grew > margin || p->pg.before != p->pg.wal.end)
		return false;
	if (!n->known[p->i] && !n->known_old[p->i])
		return false;
	if (p == n || pg_foreign(p) || p->pg.run != PG_UP || p->pg.hung ||
	    p->pg.primary || p->pg.up_since > margin || p->h == NULL ||
	    p->well_since > margin || w->disturbed > margin ||
	    !process_ok(p, PROC_POSTGRES) || !process_ok(p, PROC_REST))
		return false;
	if (!linked(w, n->i, p->i) || !linked(w, p->i, n->i))
		return false;
	if (w->check_timeline && pg_tli(&p->pg) < pg_tli(&n->pg))
		return false;
	/* it is not asked, or does not count, or did not when it was asked */
	if (p->tags.nofailover || !keeper_healthy(p) ||
	    p->device_mended > margin)
		return false;
	/* by what /sync says, be it known to be true or not (11.1 row 12) */
	if (w->sync != 0 && w->store.sync_leader[0] != '\0' &&
	    !sync_listed_in(w, p))
		return false;
	/* with votes, what is more on an older branch is no claim (11.2) */
	if (w->sync == 2 && pg_tli(&p->pg) < pg_tli(&n->pg))
		return false;
	if (strcmp(w->store.failover_leader, p->name) == 0)
		return false;
	/* the former leader's surplus was never acknowledged (spec 11.2, 7);
	 * it is so by /sync as it is, which a cluster that was demoted and
	 * promoted again may go on with unchanged */
	if (w->sync != 0 && strcmp(p->name, w->store.sync_leader) == 0)
		return false;
	if (w->failsafe && w->store.has_failsafe && !w->store.failsafe[p->i])
		return false;
	return p->pg.wal.end > n->pg.wal.end;
}

static void
check_peers(struct world *w, const struct node *n)
{
	int i;

	/* positions stand still since before the winner asked */
	if (n->pg.run != PG_UP || n->pg.primary ||
	    n->well_since > w->now - 15 * SEC ||
	    w->last_commit > w->now - 15 * SEC)
		return;
	for (i = 0; i < w->nnodes; i++)
		if (peer_ahead(w, n, &w->node[i]))
			violate(w,
			    "%s takes the key at %llu while %s could "
			    "be asked and has %llu",
			    n->name, (unsigned long long)n->pg.wal.end,
			    w->node[i].name,
			    (unsigned long long)w->node[i].pg.wal.end);
}

/* What the keeper is told may not outlast what the store holds. */
void
check_grant(struct node *n, int64_t lease_end)
{
	struct world *w = n->w;
	int64_t end = true_time(n, lease_end);

	/* no lease, but the time in which a server without one is to be
	 * stopped by a controller that never knew of any (design 5) */
	if (lease_end == local_time(n) + w->ttl * SEC / 3)
		return;
	n->granted = lease_end;
	/* also what all members agreed to lasts ttl from then (15.3) */
	if (end > w->now + w->ttl * SEC + 20 * MS)
		violate(w, "%s grants a lease of %.3f s", n->name,
		    (double)(end - w->now) / 1e9);
	if (!w->failsafe && store_leader(w) == n->i &&
	    end > w->store.leader_expires + 20 * MS)
		violate(w,
		    "%s grants a lease that ends %.3f s after the "
		    "store's",
		    n->name, (double)(end - w->store.leader_expires) / 1e9);
}

/*
 * The fence is for a manager that cannot act.  One that ran all the time has
 * to be done with its demotion before.
 */
void
check_fence(struct node *n)
{
	struct world *w = n->w;

	if (n->h != NULL && ha_paused(n->h) && n->pg.primary &&
	    w->paused_at < w->now - 15 * SEC &&
	    n->well_since < w->now - 15 * SEC &&
	    n->keeper.since < w->now - 15 * SEC)
		violate(w, "%s is fenced in pause", n->name);
	/* resumed a moment ago: the lease may be over already (16) */
	if (n->h == NULL || n->paused_until > w->now)
		return;
	/*
	 * One that hung or was restarted had not ttl to act in (23.2), nor had
	 * one just promoted: writes between the refresh and its promotion (4,
	 * 13.7) may have cost most of the lease.  What does not answer, or
	 * cannot be stopped, is the fence's (design 5).
	 */
	if (!process_ok(n, PROC_POSTGRES) || n->pg.hung ||
	    n->stop_failed > w->now - w->ttl * SEC || n->pg.run != PG_UP ||
	    !n->pg.primary || n->well_since > w->now - 2 * w->ttl * SEC ||
	    n->pg.up_since > w->now - w->ttl * SEC)
		return;
	/* a hung helper takes the failsafe round's time as well */
	if (w->failsafe && !process_ok(n, PROC_DCS))
		return;
	violate(w,
	    "the keeper had to fence %s although its controller was "
	    "well",
	    n->name);
}

/* The key was just taken: by somebody who may? */
void
check_acquired(struct world *w, struct node *n)
{
	char id[WORD_SIZE];

	if (w->lead_since == 0)
		w->lead_since = w->now;
	/*
	 * A candidate that ended before it was promoted stays the one that was
	 * named: /sync says so (13.7) and keeps all others from leading.
	 */
	if (w->sync != 1 || w->named != n->i ||
	    strcmp(w->store.sync_leader, n->name) != 0)
		w->named = -1;
	/* nothing tells what was acknowledged; or a request, which asks not for
	 * lag (12.3, 7) */
	if (w->wiped ||
	    (!w->synced &&
		(w->store.failover_leader[0] != '\0' ||
		    w->store.failover_member[0] != '\0')))
		w->given = n->i;
	if (strcmp(w->store.failover_member, n->name) == 0) {
		/* by order of people, who know what they lose (12.3, 1) */
		if (w->store.failover_leader[0] == '\0' || !w->synced)
			w->named = n->i;
	} else
		check_peers(w, n);
	check_fit(n);
	(void)snprintf(id, sizeof(id), "%llu", (unsigned long long)n->pg.sysid);
	if (n->pg.data && strlen(w->store.initialize) >= 10 &&
	    strcmp(id, w->store.initialize) != 0)
		violate(w, "%s leads with another cluster's data", n->name);
}

/*
 * Asynchronous mode: what was acknowledged and is not on the new timeline is
 * bounded (spec 23.2).
 */
void
check_promotion(struct world *w, struct node *n)
{
	uint64_t common = wal_common(&w->acked, &n->pg.wal);
	uint64_t bound = (uint64_t)(w->maximum_lag + w->rate * (w->ttl + 5));
	uint64_t lost;

	/* by order of people, who know what they lose (12.3) */
	if (w->given == n->i || w->named == n->i) {
		w->given = w->named = -1;
		w->acked.n = 0;
	}
	if (w->acked.n == 0 || w->wiped || w->paused ||
	    n->paused_until > w->now || w->standby || pg_foreign(n))
		return;
	lost = w->acked.end > common ? w->acked.end - common : 0;
	if (w->synced && lost > 0 && w->acked.end > w->acked_before) {
		violate(w,
		    "%s was promoted without %llu bytes that were "
		    "acknowledged in synchronous mode",
		    n->name, (unsigned long long)lost);
		return;
	}
	if (!w->check_timeline)
		bound *= 2;
	if (lost > bound)
		violate(w,
		    "%s was promoted without %llu bytes that were "
		    "acknowledged; %llu may be",
		    n->name, (unsigned long long)lost,
		    (unsigned long long)bound);
}
