/*
 * store.c: the store: keys with leases, compare-and-set, watches.  Every
 * operation happens at one instant; what gets lost on the way is net.c's.
 */
#include <stdlib.h>

#include "sim.h"

#define MEMBER(w, n) (&(w)->store.members[(n)->i])

static void on_expiry(struct world *, struct ev *);

int
store_leader(const struct world *w)
{
	const struct store *s = &w->store;

	return s->leader >= 0 && s->leader_expires > w->now ? s->leader : -1;
}

/* ---- watches ---- */

static void
on_wake(struct world *w, struct ev *e)
{
	struct ha_ev ev;

	(void)w;
	if (e->n->h == NULL)
		return;
	memset(&ev, 0, sizeof(ev));
	ev.type = EV_WAKE;
	ev.wake = (enum wake_reason)e->arg;
	node_feed(e->n, &ev);
}

void
store_wake(struct world *w, enum wake_reason reason)
{
	int i;

	for (i = 0; i < w->nnodes; i++) {
		struct node *n = &w->node[i];
		int64_t when = w->now + rnd_range(w, MS, 20 * MS);

		/* through the dcs helper: a hung one tells nothing */
		if (linked(w, STORE, i) && process_ok(n, PROC_DCS))
			at(w, when, on_wake, n, PROC_POSTGRES)->arg = reason;
	}
}

static void
leader_gone(struct world *w, const char *why)
{
	trace(w, NULL, "store: leader key of %s %s",
	    w->node[w->store.leader].name, why);
	if (w->former != w->store.leader)
		w->former_before = w->former;
	w->former = w->store.leader;
	w->store.leader = -1;
	w->store.revision++;
	store_wake(w, WAKE_LEADER);
}

static void
on_expiry(struct world *w, struct ev *e)
{
	struct store *s = &w->store;

	(void)e;
	if (s->leader >= 0 && s->leader_expires <= w->now)
		leader_gone(w, "expired");
}

static void
renew(struct world *w)
{
	w->store.leader_expires = w->now + (int64_t)w->ttl * SEC;
	at(w, w->store.leader_expires, on_expiry, NULL, PROC_COUNT);
}

static void
set_leader(struct world *w, struct node *n)
{
	trace(w, NULL, "store: leader key taken by %s", n->name);
	w->store.leader = n->i;
	n->bootstraps = false;
	w->term_at = w->now;
	w->store.revision++;
	renew(w);
	check_acquired(w, n);
	store_wake(w, WAKE_LEADER);
}

/* ---- operations ---- */

/* The key of a leader that starts is deleted just before its refresh. */
static bool
ambush(struct world *w, const struct node *n)
{
	if (w->ambushed != n->i || n->pg.run != PG_STARTING || n->job.on)
		return false;
	w->ambushed = -1;
	leader_gone(w, "is deleted");
	return true;
}

static enum outcome
op_leader(struct world *w, struct ask *a)
{
	struct store *s = &w->store;
	int owner = store_leader(w);

	switch (a->op) {
	case OP_ACQUIRE:
		if (owner >= 0 && owner != a->n->i)
			return OUTCOME_REFUSED;
		if (owner < 0)
			set_leader(w, a->n);
		else
			renew(w);
		return OUTCOME_OK;
	case OP_UPDATE:
		if (owner == a->n->i && ambush(w, a->n))
			return OUTCOME_REFUSED;
		if (owner != a->n->i)
			return OUTCOME_REFUSED;
		renew(w);
		if (a->flag) {
			s->has_status = true;
			s->optime = a->optime;
			w->wiped = false;
			slots_retain(w, a);
		}
		if (a->failsafe && a->with_members) {
			s->has_failsafe = true;
			memcpy(s->failsafe, a->members, sizeof(s->failsafe));
		}
		return OUTCOME_OK;
	case OP_TAKE:
		set_leader(w, a->n);
		return OUTCOME_OK;
	default: /* OP_RELEASE */
		if (owner != a->n->i)
			return OUTCOME_REFUSED;
		if (a->optime != 0)
			s->optime = a->optime;
		w->handed_at = w->now;
		leader_gone(w, "released");
		return OUTCOME_OK;
	}
}

static enum outcome
op_initialize(struct world *w, struct ask *a)
{
	struct store *s = &w->store;

	if (a->flag && s->has_initialize)
		return OUTCOME_REFUSED;
	trace(
	    w, NULL, "store: initialize \"%s\" by %s", a->text[0], a->n->name);
	if (!s->has_initialize)
		s->initializer = a->n->i;
	s->has_initialize = true;
	memcpy(s->initialize, a->text[0], sizeof(s->initialize));
	s->sysid =
	    strlen(s->initialize) < 10 ? 0 : strtoull(s->initialize, NULL, 10);
	s->revision++;
	store_wake(w, WAKE_OTHER);
	return OUTCOME_OK;
}

static void
member_seen(const struct node *n, const struct ask *a, struct view_member *m)
{
	const struct msg_dcs_touch *t = &a->touch;

	(void)text_set(m->name, sizeof(m->name), n->name);
	short_copy(m->conn_url, t->conn_url);
	short_copy(m->api_url, t->api_url);
	(void)text_set(m->state, sizeof(m->state), pg_state_name(t->state));
	(void)text_set(m->role, sizeof(m->role),
	    n->old && t->role == ROLE_PRIMARY ? "master" :
						pg_role_name(t->role));
	(void)text_set(
	    m->version, sizeof(m->version), n->old ? "3.0.0" : "4.1.0");
	m->has_data = 1;
	m->has_xlog_location = t->has_lsn != 0;
	m->xlog_location = t->xlog_location;
	m->receive_lsn = t->receive_lsn;
	m->replay_lsn = t->replay_lsn;
	m->timeline = t->timeline;
	m->checkpoint_after_promote = t->role != ROLE_PRIMARY ? CAP_UNKNOWN :
	    t->checkpoint_pending			      ? CAP_PENDING :
								CAP_DONE;
	m->pause = t->pause != 0;
	m->tags = n->tags;
	if (a->nosync) {
		m->tags.nosync = 1;
		m->tags.sync_priority = 0;
	}
}

static enum outcome
op_touch(struct world *w, struct ask *a)
{
	struct store_member *m = MEMBER(w, a->n);

	m->there = true;
	m->expires = w->now + (int64_t)w->ttl * SEC;
	member_seen(a->n, a, &m->seen);
	m->seen.token = ++w->store.revision;
	return OUTCOME_OK;
}

static void
write_history(struct world *w, struct ask *a)
{
	struct store *s = &w->store;
	const struct wal *l = &a->n->pg.wal;
	uint32_t i;

	s->has_history = true;
	s->nhistory = 0;
	if (a->history_of == 0) /* `[]`: timeline 1 has none */
		return;
	for (i = 0; i + 1 < l->n && l->seg[i].tli < a->history_of; i++) {
		struct view_history *v = &s->history[s->nhistory++];

		memset(v, 0, sizeof(*v));
		v->timeline = l->seg[i].tli;
		v->elements = 5;
		v->lsn = l->seg[i + 1].begin;
		(void)text_set(
		    v->new_leader, sizeof(v->new_leader), a->n->name);
	}
}

static enum outcome
op_failover(struct world *w, struct ask *a)
{
	struct store *s = &w->store;

	if (a->flag && a->token != s->failover_revision)
		return OUTCOME_REFUSED;
	s->has_failover = true;
	s->failover_at = a->at;
	memcpy(s->failover_leader, a->text[0], sizeof(s->failover_leader));
	memcpy(s->failover_member, a->text[1], sizeof(s->failover_member));
	s->failover_revision = ++s->revision;
	store_wake(w, WAKE_OTHER);
	return OUTCOME_OK;
}

/*
 * The leader puts back the document that it knew (spec/ha.md 3.4, 5): what
 * people changed since, when it did not see the store, is gone with what was
 * wiped. One that is there is never replaced: the mode asked for stays the
 * measure.
 */
static void
put_back(struct world *w, const struct tree *doc)
{
	const struct tree *t = tree_get(doc, "synchronous_mode");

	if (t != NULL && t->type == TREE_TEXT)
		w->sync = 2;
	else
		w->sync = t != NULL && t->type == TREE_BOOL && t->u.b ? 1 : 0;
}

static enum outcome
op_config(struct world *w, struct ask *a)
{
	struct store *s = &w->store;

	if (a->doc == NULL)
		return OUTCOME_FAILED;
	if (s->config == NULL)
		put_back(w, a->doc);
	tree_free(s->config);
	s->config = tree_share(a->doc);
	s->config_revision = ++s->revision;
	store_wake(w, WAKE_CONFIG);
	return OUTCOME_OK;
}

static enum outcome
op_sync(struct world *w, struct ask *a)
{
	struct store *s = &w->store;
	uint32_t i;

	if (a->flag && a->token != s->sync_revision)
		return OUTCOME_REFUSED;
	memcpy(s->sync_leader, a->text[0], sizeof(s->sync_leader));
	s->sync_quorum = a->quorum;
	s->nsync = 0;
	if (a->op == OP_DELETE_SYNC) {
		trace(w, NULL, "store: sync is deleted");
		s->sync_revision = 0;
		w->synced = false;
		return OUTCOME_OK;
	}
	for (i = 0; a->doc != NULL && i < tree_count(a->doc) && i < MAX_NODES;
	     i++)
		(void)text_set(s->sync_standby[s->nsync++], NAME_SIZE,
		    tree_child(a->doc, i)->u.s);
	trace(w, NULL, "store: sync leader %s, %u voters (%s %s), quorum %u",
	    s->sync_leader, s->nsync, s->nsync > 0 ? s->sync_standby[0] : "",
	    s->nsync > 1 ? s->sync_standby[1] : "", s->sync_quorum);
	if (!w->synced)
		w->acked_before = w->acked.end;
	if (!w->synced)
		w->synced_at = w->now;
	w->synced = w->sync != 0 && !w->standby && a->text[0][0] != '\0';
	a->token = s->sync_revision = ++s->revision;
	w->sync_by_hand = false;
	check_sync(w);
	store_wake(w, WAKE_OTHER);
	return OUTCOME_OK;
}

static enum outcome
operation(struct world *w, struct ask *a)
{
	struct store *s = &w->store;

	switch (a->op) {
	case OP_ACQUIRE:
	case OP_UPDATE:
	case OP_RELEASE:
	case OP_TAKE:
		return op_leader(w, a);
	case OP_INITIALIZE:
		return op_initialize(w, a);
	case OP_CANCEL_INITIALIZE:
		s->has_initialize = false;
		s->initialize[0] = '\0';
		s->sysid = 0;
		store_wake(w, WAKE_OTHER);
		return OUTCOME_OK;
	case OP_TOUCH:
		return op_touch(w, a);
	case OP_SET_FAILOVER:
		return op_failover(w, a);
	case OP_SET_CONFIG:
		return op_config(w, a);
	case OP_SET_HISTORY:
		write_history(w, a);
		return OUTCOME_OK;
	case OP_SET_STATUS:
		s->has_status = true;
		s->optime = a->optime;
		return OUTCOME_OK;
	case OP_SET_SYNC:
	case OP_DELETE_SYNC:
		return op_sync(w, a);
	}
	return OUTCOME_REFUSED;
}

/* ---- the view ---- */

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* Of the texts no more than what is in them. */
static void
copy_member(struct view_member *to, const struct view_member *from)
{
	short_copy(to->name, from->name);
	short_copy(to->conn_url, from->conn_url);
	short_copy(to->api_url, from->api_url);
	short_copy(to->state, from->state);
	short_copy(to->role, from->role);
	short_copy(to->version, from->version);
	to->proxy_url[0] = to->replication_state[0] = to->session[0] = '\0';
	memcpy(&to->token, &from->token,
	    sizeof(*to) - offsetof(struct view_member, token));
}

static void
view_members(const struct world *w, struct view *v)
{
	int i;

	v->members = need(malloc((size_t)w->nnodes * sizeof(*v->members)));
	for (i = 0; i < w->nnodes; i++)
		if (w->store.members[i].there &&
		    w->store.members[i].expires > w->now)
			copy_member(&v->members[v->nmembers++],
			    &w->store.members[i].seen);
}

static void
view_failsafe(const struct world *w, struct view *v)
{
	int i;

	v->has_failsafe = w->store.has_failsafe;
	if (!v->has_failsafe)
		return;
	v->failsafe_object = 1;
	v->failsafe = need(malloc(MAX_NODES * sizeof(*v->failsafe)));
	for (i = 0; i < w->nnodes; i++)
		if (w->store.failsafe[i]) {
			struct view_failsafe *f = &v->failsafe[v->nfailsafe++];

			(void)text_set(
			    f->name, sizeof(f->name), w->node[i].name);
			short_copy(
			    f->api_url, w->store.members[i].seen.api_url);
		}
}

static void
view_sync(const struct store *s, struct view *v)
{
	v->has_sync = s->sync_revision != 0;
	v->sync_token = s->sync_revision;
	memcpy(v->sync_leader, s->sync_leader, sizeof(v->sync_leader));
	v->sync_quorum = s->sync_quorum;
	if (s->nsync == 0)
		return;
	v->sync_standby = need(calloc(s->nsync, sizeof(*v->sync_standby)));
	memcpy(v->sync_standby, s->sync_standby,
	    s->nsync * sizeof(*v->sync_standby));
	v->nsync_standby = s->nsync;
}

static void
copy_history(struct view_history *to, const struct view_history *from)
{
	to->timeline = from->timeline;
	to->elements = from->elements;
	to->lsn = from->lsn;
	short_copy(to->reason, from->reason);
	short_copy(to->timestamp, from->timestamp);
	short_copy(to->new_leader, from->new_leader);
}

static struct view *
make_view(const struct world *w, const struct node *n)
{
	uint32_t i;
	const struct store *s = &w->store;
	struct view *v = need(view_new());
	int owner = store_leader(w);

	v->loaded_ns = local_time(n);
	v->loaded_wall_us = wall_time(n);
	v->has_initialize = s->has_initialize;
	v->initialize_valid = strlen(s->initialize) >= 10;
	memcpy(v->initialize, s->initialize, sizeof(v->initialize));
	v->has_leader = owner >= 0;
	if (owner >= 0)
		(void)text_set(
		    v->leader, sizeof(v->leader), w->node[owner].name);
	v->leader_token = s->revision;
	if (s->config != NULL) {
		v->has_config = 1;
		v->config_token = v->config_modify = s->config_revision;
		v->config = tree_share(s->config);
	}
	v->has_status = s->has_status;
	v->optime = s->optime;
	v->has_failover = s->has_failover;
	v->failover_token = s->failover_revision;
	memcpy(v->failover_leader, s->failover_leader, NAME_SIZE);
	memcpy(v->failover_member, s->failover_member, NAME_SIZE);
	if (s->failover_at == NO_TIME) {
		v->failover_scheduled = v->failover_schedule_bad = 1;
		(void)text_set(v->failover_at, sizeof(v->failover_at), NAIVE);
	} else if (s->failover_at != 0) {
		v->failover_scheduled = 1;
		v->failover_at_us = s->failover_at;
		(void)snprintf(v->failover_at, sizeof(v->failover_at), "%lld",
		    (long long)s->failover_at);
	}
	v->has_history = s->has_history;
	if (s->nhistory > 0) {
		v->history = need(malloc(s->nhistory * sizeof(*v->history)));
		for (i = 0; i < s->nhistory; i++)
			copy_history(&v->history[i], &s->history[i]);
		v->nhistory = s->nhistory;
		v->timeline = s->history[s->nhistory - 1].timeline + 1;
	}
	slots_view(w, v);
	view_sync(s, v);
	view_members(w, v);
	view_failsafe(w, v);
	return v;
}

void
store_apply(struct world *w, struct ask *a)
{
	a->applied = true;
	if (a->type == FX_LOAD) {
		a->view = make_view(w, a->n);
		a->outcome = OUTCOME_OK;
		return;
	}
	a->outcome = w->store.read_only ||
		(w->store.sync_stuck && a->op == OP_SET_SYNC) ?
	    OUTCOME_FAILED :
	    operation(w, a);
}

/* Somebody deleted everything.  Revisions go on. */
void
store_wipe(struct world *w)
{
	struct store *s = &w->store;
	int64_t revision = s->revision;
	int owner = store_leader(w);

	if (owner >= 0)
		w->node[owner].robbed_until = s->leader_expires;
	tree_free(s->config);
	memset(s, 0, sizeof(*s));
	s->revision = revision + 1;
	s->leader = -1;
	w->wiped = true;
	w->forgot_at = w->now;
	w->synced = false;
	store_wake(w, WAKE_LEADER);
}

void
store_init(struct world *w)
{
	w->store.leader = -1;
}

void
store_free(struct world *w)
{
	tree_free(w->store.config);
}
