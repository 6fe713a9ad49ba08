/*
 * remote.c: the primary that a standby cluster follows.  While this cluster
 * is the primary one, the remote server is its standby elsewhere; when this
 * one is demoted, the remote server takes over with all that the last primary
 * here has written, as a careful operator sees to.
 */
#include "sim.h"

#define TAKES_OVER (5 * SEC) /* after the last primary here has ended */

void
remote_init(struct world *w)
{
	struct node *r = &w->remote;

	r->i = REMOTE;
	r->w = w;
	(void)text_set(r->name, sizeof(r->name), "remote");
	r->machine_up = true;
	r->pg.follow = -1;
	r->tags.failover_priority = r->tags.sync_priority = 1;
}

static bool
primary_here(const struct world *w)
{
	int i;

	for (i = 0; i < w->nnodes; i++)
		if (w->node[i].pg.run != PG_DOWN && w->node[i].pg.primary)
			return true;
	return false;
}

/*
 * Who has all that this cluster ever committed: the last that wrote, unless
 * its data went meanwhile and came back from an older place.
 */
static const struct node *
newest(const struct world *w)
{
	const struct node *best = NULL;
	int i;

	for (i = 0; i < w->nnodes; i++) {
		const struct node *n = &w->node[i];

		if (!n->pg.data || n->pg.wal.n == 0 || pg_foreign(n))
			continue;
		if (best == NULL || pg_tli(&n->pg) > pg_tli(&best->pg) ||
		    (pg_tli(&n->pg) == pg_tli(&best->pg) &&
			n->pg.wal.end > best->pg.wal.end))
			best = n;
	}
	return best;
}

static void
take_over(struct world *w)
{
	struct pg *p = &w->remote.pg;
	const struct node *from;

	from = newest(w);
	if (from != NULL) {
		p->data = true;
		p->sysid = from->pg.sysid;
		wal_copy(&p->wal, &from->pg.wal);
		wal_branch(w, &p->wal);
	} else if (w->last_writer >= 0)
		return;
	else if (!p->data) /* nobody here has ever led */
		pg_new_cluster(&w->remote);
	p->checkpoint = p->before = p->wal.end;
	p->checkpoint_tli = pg_tli(p);
	p->wal.end += CHECKPOINT_RECORD;
	p->run = PG_UP;
	p->up_since = w->now;
	p->primary = true;
	p->control = CONTROL_IN_PRODUCTION;
	trace(w, &w->remote, "is the primary, timeline %u from %llu", pg_tli(p),
	    (unsigned long long)p->before);
}

void
remote_tick(struct world *w)
{
	struct pg *p = &w->remote.pg;

	if (!w->standby) {
		/* whoever promotes a cluster has stopped the other's primary */
		if (p->run == PG_UP)
			p->run = PG_DOWN;
		p->primary = false;
		return;
	}
	if (p->primary) {
		p->before = p->wal.end;
		if (w->standby_until == 0) {
			p->wal.end += (uint64_t)rnd_range(w, 0, w->rate / 5);
			w->last_commit = w->now;
		}
		return;
	}
	if (primary_here(w))
		w->standby_since = w->now;
	else if (w->now - w->standby_since > TAKES_OVER)
		take_over(w);
}
