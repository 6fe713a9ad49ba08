/*
 * postgres.c: PostgreSQL as a model: WAL known by its content, timelines
 * that fork, streaming, crash, shutdown, promotion.
 */
#include <stdlib.h>

#include "sim.h"

#define TICK (200 * MS)

bool
pg_running(const struct node *n)
{
	return n->pg.run != PG_DOWN;
}

bool
pg_foreign(const struct node *n)
{
	uint64_t id = n->w->store.sysid;

	return n->pg.data && id != 0 && id != n->pg.sysid;
}

/* A client that connects now can commit. */
bool
pg_writable(const struct node *n)
{
	return n->pg.run == PG_UP && n->pg.primary && !n->pg.hung;
}

struct node *
pg_place(struct world *w, int follow)
{
	if (follow == REMOTE)
		return &w->remote;
	return follow < 0 ? NULL : &w->node[follow];
}

uint32_t
pg_tli(const struct pg *p)
{
	return p->wal.n == 0 ? 0 : p->wal.seg[p->wal.n - 1].tli;
}

/* ---- WAL ---- */

uint64_t
wal_common(const struct wal *a, const struct wal *b)
{
	uint64_t ea, eb;
	uint32_t i;

	/* a branch has one past: where both are on it, so they were before */
	i = a->n < b->n ? a->n : b->n;
	while (i > 0 && a->seg[i - 1].branch != b->seg[i - 1].branch)
		i--;
	if (i == 0)
		return 0;
	ea = i < a->n ? a->seg[i].begin : a->end;
	eb = i < b->n ? b->seg[i].begin : b->end;
	return ea < eb ? ea : eb;
}

void
wal_cut(struct wal *l, uint64_t end)
{
	while (l->n > 1 && l->seg[l->n - 1].begin > end)
		l->n--;
	if (end < l->end)
		l->end = end;
}

/* Copies what is in use, not the whole table. */
void
wal_copy(struct wal *to, const struct wal *from)
{
	bool same = to->n == from->n && to->n > 0 &&
	    to->seg[to->n - 1].branch == from->seg[to->n - 1].branch;

	to->n = from->n;
	to->end = from->end;
	if (same)
		return;
	memcpy(to->seg, from->seg, from->n * sizeof(from->seg[0]));
}

void
wal_branch(struct world *w, struct wal *l)
{
	struct segment *s;

	if (l->n == MAX_BRANCHES) {
		violate(w, "the model is out of timelines");
		return;
	}
	s = &l->seg[l->n++];
	s->branch = ++w->branches;
	s->tli = ++w->tlis;
	s->begin = l->end;
}

static void
write_checkpoint(struct node *n)
{
	n->pg.checkpoint = n->pg.wal.end;
	n->pg.checkpoint_tli = pg_tli(&n->pg);
	n->pg.wal.end += CHECKPOINT_RECORD;
}

/* ---- end ---- */

static void
tell_gone(struct world *w, struct ev *e)
{
	struct ha_ev ev;

	(void)w;
	if (e->n->h == NULL)
		return;
	memset(&ev, 0, sizeof(ev));
	ev.type = EV_POSTMASTER_GONE;
	node_feed(e->n, &ev);
}

void
pg_kill(struct node *n)
{
	struct pg *p = &n->pg;

	if (p->run == PG_DOWN)
		return;
	trace(n->w, n, "  postmaster has ended");
	p->run = PG_DOWN;
	p->gen++;
	p->hung = p->quit_pending = p->streaming = p->replay_paused = false;
	if (n->machine_up)
		at(n->w, n->w->now + MS, tell_gone, n, PROC_POSTGRES);
}

static bool
same_postmaster(const struct ev *e)
{
	return e->n->pg.run != PG_DOWN && (uint32_t)e->arg == e->n->pg.gen;
}

static struct ev *
at_pg(struct node *n, int64_t delay, void (*fn)(struct world *, struct ev *))
{
	struct ev *e = at(n->w, n->w->now + delay, fn, n, PROC_COUNT);

	e->arg = n->pg.gen;
	return e;
}

static void
on_ended(struct world *w, struct ev *e)
{
	if (!same_postmaster(e))
		return;
	if (e->n->pg.hung) {
		e->n->pg.quit_pending = true;
		return;
	}
	(void)w;
	pg_kill(e->n);
}

/*
 * From the shutdown checkpoint to the end: standbys and the archive get what
 * they lack.  Without either it is too short for anybody to look between.
 */
static int64_t
last_moments(struct world *w)
{
	int64_t ns = rnd_range(w, 0, 900 * MS);

	return ns < 300 * MS ? ns / 100 : ns;
}

static void
on_shut(struct world *w, struct ev *e)
{
	struct pg *p = &e->n->pg;

	if (!same_postmaster(e))
		return;
	if (p->hung) {
		at_pg(e->n, SEC, on_shut);
		return;
	}
	if (p->primary) {
		write_checkpoint(e->n);
		p->control = CONTROL_SHUT_DOWN;
	} else
		p->control = CONTROL_SHUT_DOWN_IN_RECOVERY;
	p->shut = true;
	trace(w, e->n, "  shut down at %llu", (unsigned long long)p->wal.end);
	at_pg(e->n, last_moments(w), on_ended);
}

static void
on_safepoint(struct world *w, struct ev *e)
{
	struct node *n = e->n;

	if (!same_postmaster(e))
		return;
	n->pg.safepoint = true;
	at_pg(n,
	    n->slow_stop ? rnd_range(w, 2 * SEC, 60 * SEC) :
			   rnd_range(w, 10 * MS, 500 * MS),
	    on_shut);
}

void
pg_stop(struct node *n, enum ha_stop_mode mode)
{
	struct pg *p = &n->pg;

	if (p->run == PG_DOWN)
		return;
	if (mode == STOP_IMMEDIATE) {
		if (!p->hung)
			p->run = PG_STOPPING;
		at_pg(n, rnd_range(n->w, MS, 30 * MS), on_ended);
		return;
	}
	if (p->run == PG_STOPPING)
		return;
	if (p->hung) {
		p->quit_pending = true;
		return;
	}
	if (p->run == PG_STARTING) {
		/* recovery is interrupted: nothing is written */
		p->run = PG_STOPPING;
		at_pg(n, rnd_range(n->w, 10 * MS, 300 * MS), on_ended);
		return;
	}
	p->run = PG_STOPPING;
	p->safepoint = p->shut = false;
	at_pg(n, rnd_range(n->w, MS, 80 * MS), on_safepoint);
}

/* SIGCONT; what was sent meanwhile takes effect first. */
void
pg_resume(struct node *n)
{
	n->pg.hung = false;
	n->pg.up_since = n->w->now;
	if (n->pg.quit_pending)
		pg_kill(n);
}

/* ---- begin ---- */

static void
on_ready(struct world *w, struct ev *e)
{
	struct node *n = e->n;
	struct pg *p = &n->pg;

	if (!same_postmaster(e) || p->run != PG_STARTING)
		return;
	if (p->hung) {
		at_pg(n, SEC, on_ready);
		return;
	}
	p->run = PG_UP;
	p->backup_label = false;
	p->up_since = w->now;
	if (p->primary) {
		write_checkpoint(n);
		p->control = CONTROL_IN_PRODUCTION;
	}
	trace(w, n, "  PostgreSQL is up as %s, timeline %u, at %llu",
	    p->primary ? "primary" : "standby", pg_tli(p),
	    (unsigned long long)p->wal.end);
}

void
pg_start(struct node *n, bool primary)
{
	struct world *w = n->w;
	struct pg *p = &n->pg;

	p->run = PG_STARTING;
	p->gen++;
	p->primary = primary;
	p->hung = p->quit_pending = p->streaming = false;
	p->safepoint = p->shut = false;
	p->control =
	    primary ? CONTROL_IN_CRASH_RECOVERY : CONTROL_IN_ARCHIVE_RECOVERY;
	at_pg(n,
	    n->slow_start ? rnd_range(w, 5 * SEC, 90 * SEC) :
			    rnd_range(w, 50 * MS, 2 * SEC),
	    on_ready);
}

void
pg_new_cluster(struct node *n)
{
	struct world *w = n->w;
	struct pg *p = &n->pg;

	p->data = true;
	p->sysid = UINT64_C(7000000000000000000) + rnd(w) % 1000000000;
	p->wal.n = 0;
	p->wal.end = 1000000;
	wal_branch(w, &p->wal);
	p->wal.seg[0].begin = 0;
	p->wal.seg[0].tli = 1;
	if (w->tlis < 1)
		w->tlis = 1;
	p->standby_files = false;
	p->follow = -1;
	p->control = CONTROL_SHUT_DOWN;
	write_checkpoint(n);
}

/* Somebody ran initdb by hand. */
void
pg_new_sysid(struct node *n)
{
	pg_new_cluster(n);
	n->pg.standby_files = false;
}

static void
on_promoted(struct world *w, struct ev *e)
{
	struct node *n = e->n;
	struct pg *p = &n->pg;

	if (!same_postmaster(e) || p->run != PG_UP || p->primary)
		return;
	if (p->hung) {
		at_pg(n, SEC, on_promoted);
		return;
	}
	p->replay_paused = false;
	wal_branch(w, &p->wal);
	p->up_since = w->now;
	p->primary = true;
	p->streaming = false;
	p->standby_files = false;
	p->control = CONTROL_IN_PRODUCTION;
	p->wal.end += CHECKPOINT_RECORD;
	trace(w, n, "  promoted: timeline %u from %llu", pg_tli(p),
	    (unsigned long long)p->wal.seg[p->wal.n - 1].begin);
	w->promotions++;
	check_promotion(w, n);
	check_sync(w);
}

void
pg_promote(struct node *n)
{
	at_pg(n,
	    n->slow_start ? rnd_range(n->w, SEC, 20 * SEC) :
			    rnd_range(n->w, 20 * MS, 800 * MS),
	    on_promoted);
}

static void
on_recovered(struct world *w, struct ev *e)
{
	(void)w;
	if (!same_postmaster(e))
		return;
	if (e->n->pg.run == PG_STARTING)
		at_pg(e->n, SEC, on_recovered);
	else
		pg_promote(e->n);
}

/* It takes its time, and ends by itself on a timeline of its own. */
void
pg_recovers(struct node *n)
{
	n->pg.standby_files = false;
	at_pg(n, rnd_range(n->w, SEC, 30 * SEC), on_recovered);
}

/* ---- clients and replication ---- */

/* What PostgreSQL itself checks: whose WAL can be continued with whose. */
static bool
can_stream(struct node *s, struct node *t)
{
	const struct pg *p = &s->pg, *q = &t->pg;

	if (p->sysid != q->sysid || q->run == PG_DOWN ||
	    q->run == PG_STARTING || q->hung || p->hung)
		return false;
	if (s->repl_stall || t->repl_stall || s->disk_full)
		return false;
	if (!linked(s->w, s->i, t->i) || !linked(s->w, t->i, s->i))
		return false;
	return wal_common(&p->wal, &q->wal) == p->wal.end;
}

static void
stream(struct node *s)
{
	struct pg *p = &s->pg, *q;
	struct node *t;
	uint64_t end, most;

	p->streaming = false;
	if (p->run != PG_UP || p->primary || p->follow < 0)
		return;
	t = pg_place(s->w, p->follow);
	q = &t->pg;
	if (!can_stream(s, t))
		return;
	p->streaming = true;
	/* a server that stops sends all before it ends */
	end = q->run == PG_STOPPING ? q->wal.end : q->before;
	if (end <= p->wal.end && p->wal.n == q->wal.n)
		return;
	if (end < p->wal.end)
		return;
	/* who was away catches up with twenty times what is written */
	most = p->wal.end + (uint64_t)s->w->rate * 4 + 1000;
	if (end > most && p->wal.n == q->wal.n)
		end = most;
	wal_copy(&p->wal, &q->wal);
	wal_cut(&p->wal, end);
}

static bool
counts(const struct world *w, const struct node *n)
{
	if (w->standby || pg_foreign(n))
		return false;
	/* its key was taken away by hand: what it still acknowledges is lost
	 * where another one leads already */
	if (n->robbed_until > w->now && store_leader(w) != n->i)
		return false;
	return n->paused_until <= w->now || store_leader(w) == n->i;
}

static void
commit(struct world *w, struct node *n)
{
	struct pg *p = &n->pg;
	uint64_t acked;

	if (p->before != p->wal.end)
		p->grew = w->now;
	p->before = p->wal.end;
	/* nobody knows of a cluster that is not published */
	if (!pg_writable(n) || n->bootstraps || n->disk_full)
		return;
	w->last_writer = n->i;
	acked = p->ssn[0] == '\0' ? p->wal.end : sync_acknowledged(n);
	/* in pause people may run two primaries: the leader's commits count */
	if (acked > p->wal.seg[p->wal.n - 1].begin && counts(w, n)) {
		wal_copy(&w->acked, &p->wal);
		wal_cut(&w->acked, acked);
	}
	/* clients wait for their answers: so much is under way at most */
	if (acked + (uint64_t)w->rate < p->wal.end)
		return;
	w->last_commit = w->now;
	p->wal.end += (uint64_t)rnd_range(w, 0, w->rate * TICK / SEC);
	if (p->ssn[0] == '\0' && counts(w, n))
		wal_copy(&w->acked, &p->wal);
}

void
pg_tick(struct world *w)
{
	int i;

	for (i = 0; i < w->nnodes; i++)
		stream(&w->node[i]);
	for (i = 0; i < w->nnodes; i++)
		commit(w, &w->node[i]);
	if (w->standby_seed)
		remote_tick(w);
	beat(w, w->now + TICK, pg_tick);
}
