/*
 * operator.c: what people do to a cluster: /config, /failover, restarts and
 * reinitializations, and a promotion by hand in pause.  They write to the
 * store and to a node's REST API, at any time, sensible or not.
 */
#include "sim.h"

/* ---- /config ---- */

/* People cannot write to a store that does not take it either. */
static bool
writable(const struct world *w)
{
	return w->store.config != NULL && !w->store.down && !w->store.read_only;
}

/* NULL: the key goes. */
void
operator_config(struct world *w, const char *key, struct tree *value)
{
	struct store *s = &w->store;
	struct tree *doc;

	if (!writable(w)) {
		tree_free(value);
		return;
	}
	doc = tree_copy(s->config);
	if (value == NULL)
		tree_remove(doc, key);
	else
		tree_set(doc, key, value);
	tree_free(s->config);
	s->config = doc;
	s->config_revision = ++s->revision;
	store_wake(w, WAKE_CONFIG);
}

void
operator_pause(struct world *w, bool on)
{
	if (!writable(w) || w->paused == on)
		return;
	trace(w, NULL, "operator: %s", on ? "pause" : "resume");
	w->paused = on;
	if (on)
		w->paused_at = w->now;
	else
		w->resumed_at = w->now;
	operator_config(w, "pause", tree_bool(on));
}

static void
on_section_removed(struct world *w, struct ev *e)
{
	(void)e;
	if (!w->standby || w->standby_until == 0)
		return;
	if (!writable(w)) { /* again later */
		at(w, w->now + 5 * SEC, on_section_removed, NULL, PROC_COUNT);
		return;
	}
	trace(w, NULL, "operator: the cluster is promoted");
	w->standby = false;
	w->standby_until = 0;
	operator_config(w, "standby_cluster", NULL);
}

/* Promotion: first the other side's primary stops, its last WAL arrives. */
void
operator_standby(struct world *w, bool on)
{
	struct tree *section;

	if (!writable(w))
		return;
	if (!on) {
		if (!w->standby || w->standby_until != 0)
			return;
		w->standby_until = w->now;
		at(w, w->now + 5 * SEC, on_section_removed, NULL, PROC_COUNT);
		return;
	}
	if (w->standby)
		return;
	trace(w, NULL, "operator: the cluster is demoted");
	w->standby = true;
	w->standby_since = w->now;
	w->standby_until = 0;
	/* what is lost from here on is not this cluster's to keep */
	w->synced = false;
	w->acked.n = 0;
	section = tree_map();
	tree_set(section, "host", tree_text("remote"));
	operator_config(w, "standby_cluster", section);
}

void
operator_sync(struct world *w, int mode)
{
	if (!writable(w) || w->sync == mode)
		return;
	trace(w, NULL, "operator: synchronous mode %d", mode);
	w->sync = mode;
	if (mode == 0)
		w->synced = false;
	operator_config(w, "synchronous_mode",
	    mode == 2 ? tree_text("quorum") : tree_bool(mode == 1));
}

/*
 * A wiped store comes back with the document that its next leader knew
 * (spec/ha.md 3.4, row 5), and that one may not have read of a demotion, or
 * of a promotion, of the cluster.  The other side is as people made it, so
 * they make this one so again.
 */
static void
ask_again(struct world *w)
{
	bool there = tree_get(w->store.config, "standby_cluster") != NULL;

	if (!writable(w) || w->standby == there || w->standby_until != 0)
		return;
	if (w->standby) {
		w->standby = false;
		operator_standby(w, true);
		return;
	}
	trace(w, NULL, "operator: the cluster is promoted");
	operator_config(w, "standby_cluster", NULL);
}

/* ---- /failover ---- */

static void
request(struct world *w, const char *leader, const char *member, int64_t when)
{
	struct store *s = &w->store;

	trace(w, NULL, "operator: request {leader %s, member %s, in %lld s}",
	    leader, member,
	    when <= 0 ? 0 : (long long)(when - WALL - w->now / 1000) / 1000000);
	s->has_failover = true;
	(void)text_set(s->failover_leader, NAME_SIZE, leader);
	(void)text_set(s->failover_member, NAME_SIZE, member);
	w->scheduled_before = s->has_failover ? s->failover_at : 0;
	s->failover_at = when;
	s->failover_revision = ++s->revision;
	w->requested_before = w->requested;
	w->requested = w->now;
	store_wake(w, WAKE_OTHER);
}

static const char *
candidate(struct world *w)
{
	if (chance(w, 4))
		return GHOST;
	return w->node[rnd_range(w, 0, w->nnodes - 1)].name;
}

void
operator_switchover(struct world *w, bool scheduled)
{
	int owner = store_leader(w);
	int64_t when = 0;

	if (owner < 0 || !writable(w))
		return;
	if (scheduled && chance(w, 10))
		when = NO_TIME; /* past all tools, which would not take it */
	else if (scheduled)
		when = WALL + (w->now + rnd_range(w, 5, 90) * SEC) / 1000;
	/* now and then for a leader that is none any more */
	if (chance(w, 5))
		owner = (int)rnd_range(w, 0, w->nnodes - 1);
	request(w, w->node[owner].name,
	    chance(w, w->paused ? 85 : 50) ? candidate(w) : "", when);
}

/* To a certain one, whatever it is fit for. */
void
operator_names(struct world *w, const struct node *n)
{
	int owner = store_leader(w);

	if (owner >= 0 && writable(w))
		request(w, w->node[owner].name, n->name, 0);
}

void
operator_asks(struct world *w, const char *leader, const char *member)
{
	if (writable(w))
		request(w, leader, member, 0);
}

void
operator_failover(struct world *w)
{
	if (!writable(w))
		return;
	request(w, "", candidate(w), 0);
}

/* ---- keys that are not people's ---- */

/*
 * An operator's slip: nobody's lease is over, but the key is gone, or names
 * somebody else.
 */
void
operator_deletes_key(struct world *w, bool given)
{
	int owner = store_leader(w);

	if (owner < 0)
		return;
	w->node[owner].robbed_until = w->store.leader_expires;
	/* agreements of failsafe mode reach further than the key did */
	if (true_time(&w->node[owner], w->node[owner].granted) >
	    w->store.leader_expires)
		w->node[owner].robbed_until =
		    true_time(&w->node[owner], w->node[owner].granted);
	w->store.leader = given ? (int)rnd_range(w, 0, w->nnodes - 1) : -1;
	/* whoever was given it leads, with what it has */
	if (w->store.leader >= 0)
		w->acked.n = 0;
	w->given = w->store.leader;
	w->store.revision++;
	store_wake(w, WAKE_LEADER);
}

/*
 * A value that the server takes and the core cannot read: the name of a
 * standby may be of any length.  Commits wait for one that never comes, so
 * nothing is acknowledged that /sync does not know.
 */
void
operator_ssn(struct world *w)
{
	int owner = store_leader(w);
	struct node *n = owner < 0 ? NULL : &w->node[owner];

	if (n == NULL || !pg_writable(n) || w->sync == 0)
		return;
	trace(w, n, "operator: a name too long in synchronous_standby_names");
	(void)snprintf(n->pg.ssn, sizeof(n->pg.ssn), "%0*d", NAME_SIZE + 1, 0);
	n->pg.ssn[0] = 'n';
	w->ssn_by_hand = true;
}

/*
 * /sync is deleted, has one voter too many, or names another leader.  What is
 * acknowledged until the leader has put it right is not safe.
 */
void
operator_sync_key(struct world *w)
{
	struct store *s = &w->store;
	int64_t way = rnd_range(w, 0, 2);

	if (!writable(w) || s->sync_revision == 0 || w->sync == 0)
		return;
	trace(w, NULL, "operator: /sync by hand (%lld)", (long long)way);
	if (way == 0) {
		s->sync_leader[0] = '\0';
		s->sync_quorum = s->nsync = 0;
	} else if (way == 1 && s->nsync < MAX_NODES)
		(void)text_set(s->sync_standby[s->nsync++], NAME_SIZE, GHOST);
	else
		(void)text_set(s->sync_leader, NAME_SIZE, candidate(w));
	s->sync_revision = way == 0 ? 0 : ++s->revision;
	w->synced = false;
	w->sync_by_hand = true;
	store_wake(w, WAKE_OTHER);
}

/* ---- a node's REST API ---- */

static void
ask_node(struct node *n, struct msg_request *r)
{
	struct world *w = n->w;
	struct ha_ev ev;

	if (n->h == NULL || !process_ok(n, PROC_POSTGRES) ||
	    !process_ok(n, PROC_REST) || n->request != 0)
		return;
	n->request = ++w->requests;
	n->request_at = w->now;
	n->operated = w->now;
	memset(&ev, 0, sizeof(ev));
	ev.type = EV_REQUEST;
	ev.req = r;
	ev.request = n->request;
	node_feed(n, &ev);
}

void
operator_replied(struct node *n, const struct ha_fx *fx)
{
	if (fx->request != n->request)
		return;
	trace(n->w, n, "  reply %u: %s", fx->reply.code, fx->reply.text);
	n->request = 0;
	if (n->schedules && fx->reply.code < 300) {
		n->scheduled = !n->schedule_ends;
		n->scheduled_gen = n->pg.run == PG_UP ? n->pg.gen : 0;
	}
	n->schedules = false;
	/* a controller that hung finds another world when it looks */
	if (n->request_unfit && fx->reply.code == 200 &&
	    n->well_since <= n->request_at &&
	    /* 18.3 looks when its turn comes: it may lead no more */
	    (!n->request_leads || store_leader(n->w) == n->i))
		violate(n->w, "%s does what was asked although it may not (%s)",
		    n->name, fx->reply.text);
}

/* Conditions that hold, do not hold, or none. */
static void
conditions(struct node *n, struct msg_request *r)
{
	struct world *w = n->w;
	enum pg_role role = ha_role(n->h);

	r->timeout = chance(w, 30) ? (int32_t)rnd_range(w, 5, 60) : -1;
	n->request_unfit = n->request_leads = false;
	if (chance(w, 60))
		return;
	r->has_role = 1;
	r->role = chance(w, 50) ? ROLE_PRIMARY : ROLE_REPLICA;
	if (chance(w, 30))
		r->postgres_version = chance(w, 50) ? 90600 : 170000;
	n->request_unfit = (role == ROLE_PRIMARY && r->role == ROLE_REPLICA) ||
	    (role == ROLE_REPLICA && r->role == ROLE_PRIMARY) ||
	    r->postgres_version == 90600;
}

void
operator_restart(struct node *n, bool scheduled)
{
	struct world *w = n->w;
	struct msg_request r;

	if (n->h == NULL || n->request != 0)
		return;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	n->schedules = false;
	conditions(n, &r);
	if (scheduled) {
		r.kind = chance(w, n->scheduled ? 60 : 20) ?
		    REQUEST_CANCEL_RESTART :
		    REQUEST_SCHEDULE_RESTART;
		n->request_unfit = false;
		n->schedules = true;
		n->schedule_ends = r.kind == REQUEST_CANCEL_RESTART;
		r.schedule_us =
		    WALL + (w->now + rnd_range(w, -60, 90) * SEC) / 1000;
		(void)snprintf(r.schedule, sizeof(r.schedule), "%lld",
		    (long long)r.schedule_us);
	}
	trace(w, n, "operator: %s",
	    scheduled ? "restart at some time" : "restart");
	ask_node(n, &r);
}

void
operator_reinitialize(struct node *n)
{
	struct world *w = n->w;
	struct msg_request r;

	if (n->h == NULL || n->request != 0)
		return;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_REINITIALIZE;
	n->schedules = false;
	r.timeout = -1;
	r.force = chance(w, 50);
	r.from_leader = chance(w, 30);
	n->request_unfit = store_leader(w) == n->i && pg_writable(n);
	n->request_leads = true;
	trace(w, n, "operator: reinitialize%s", r.force ? ", forced" : "");
	ask_node(n, &r);
}

/* ---- in pause, past the manager ---- */

void
operator_promotes(struct node *n)
{
	if (!n->w->paused || n->h == NULL || !ha_paused(n->h) ||
	    n->pg.run != PG_UP || n->pg.primary || n->pg.hung)
		return;
	trace(n->w, n, "operator: pg_ctl promote");
	n->w->acked.n = 0;
	n->w->synced = false;
	n->operated = n->w->now;
	pg_promote(n);
}

/* ---- health ---- */

/* A standby leader that died so: its copy is nobody's, its start ends (10.4) */
static bool
aborted(const struct node *n)
{
	return n->w->lead_since == 0 && n->h == NULL && !n->pg.primary &&
	    n->pg.standby_files;
}

/*
 * A node that died while it bootstrapped has left its key behind: etcd keys
 * of this kind have no end (10.1).
 */
static void
forget_bootstrap(struct world *w)
{
	struct store *s = &w->store;
	int i;

	if (!s->has_initialize || s->initialize[0] != '\0' ||
	    w->now - w->quiet_since < 20 * SEC)
		return;
	for (i = 0; i < w->nnodes; i++)
		if ((w->node[i].pg.data && !aborted(&w->node[i])) ||
		    w->node[i].job.on)
			return;
	for (i = 0; i < w->nnodes; i++)
		if (w->node[i].pg.data) {
			pg_kill(&w->node[i]);
			w->node[i].pg.data = false;
			w->node[i].pg.wal.n = 0;
			w->node[i].pg.wal.end = 0;
		}
	w->uninitialized_at = w->now;
	trace(w, NULL, "operator: the initialize key is removed");
	s->has_initialize = false;
	s->sysid = 0;
	s->revision++;
	store_wake(w, WAKE_OTHER);
}

/*
 * A slip gave the key, or a place in /sync, to a node that may not lead by
 * itself: where /sync names that one alone (11.1, 11), or with check_timeline
 * only it has the newest timeline (11.2, 3), the others stand back for good.
 */
static bool
stranded(const struct world *w)
{
	const struct store *s = &w->store;
	uint32_t newest = !w->check_timeline || s->nhistory == 0 ?
	    0 :
	    s->history[s->nhistory - 1].timeline + 1;
	bool listed = w->sync != 0 && s->sync_leader[0] != '\0';
	int i;

	for (i = 0; i < w->nnodes; i++) {
		const struct node *n = &w->node[i];

		if (n->pg.data && !pg_foreign(n) && !n->tags.nofailover &&
		    pg_tli(&n->pg) >= newest &&
		    (!listed || sync_listed_in(w, n)))
			return false;
	}
	return true;
}

/*
 * With the data of the leader gone there may be nobody left who may lead by
 * itself: people choose one then, and know what they lose.
 */
static void
rescue(struct world *w)
{
	struct node *best = NULL;
	int i;

	if (!(w->lost_before || stranded(w)) || store_leader(w) >= 0 ||
	    w->rescued || w->now - w->quiet_since < 60 * SEC)
		return;
	for (i = 0; i < w->nnodes; i++) {
		struct node *n = &w->node[i];

		if (n->pg.run == PG_UP && !n->pg.primary && !pg_foreign(n) &&
		    !n->tags.nofailover &&
		    (best == NULL || n->pg.wal.end > best->pg.wal.end))
			best = n;
	}
	if (best == NULL)
		return;
	w->rescued = true;
	w->acked.n = 0;
	w->synced = false;
	request(w, "", best->name, 0);
}

/*
 * What people made of /sync may let nobody lead (11.1, rows 8 and 11), and no
 * leader means nobody to put it right: they delete it.
 */
static void
forget_sync(struct world *w)
{
	struct store *s = &w->store;

	if (!w->sync_by_hand || store_leader(w) >= 0 || !writable(w) ||
	    w->now - w->quiet_since < 30 * SEC)
		return;
	trace(w, NULL, "operator: /sync is removed");
	w->sync_by_hand = false;
	s->sync_leader[0] = '\0';
	s->sync_quorum = s->nsync = 0;
	s->sync_revision = 0;
	s->revision++;
	store_wake(w, WAKE_OTHER);
}

/* Before health can be judged, what was turned off for a while is on. */
void
operator_insists(struct world *w)
{
	const struct tree *t;

	/* a wiped /config that was to pause is kept by nodes without leader */
	if (w->store.config == NULL && w->lead_since != 0 &&
	    w->now - w->quiet_since > 30 * SEC) {
		struct tree *doc = node_document(w);

		tree_set(doc, "pause", tree_bool(false));
		w->store.config = doc;
		w->store.config_revision = ++w->store.revision;
		store_wake(w, WAKE_CONFIG);
	}
	ask_again(w);
	forget_bootstrap(w);
	forget_sync(w);
	rescue(w);
	/* also when a restored document brings it back */
	t = tree_get(w->store.config, "pause");
	if (t != NULL && t->type == TREE_BOOL && t->u.b) {
		w->paused = true;
		operator_pause(w, false);
	} else if (w->paused && w->store.config != NULL) {
		/* the wish went with the wiped store */
		w->paused = false;
		w->resumed_at = w->now;
	}
}
