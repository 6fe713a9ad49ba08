/*
 * net.c: asks on their way: to the store through the dcs helper, to peers,
 * and to what is local.  Here messages get lost, late and answered in vain.
 */
#include <stdlib.h>

#include "sim.h"

#define RETRY (700 * MS)

struct ask *
ask_open(struct node *n, const struct ha_fx *fx)
{
	struct ask *a = n->w->spare_asks;

	if (a != NULL)
		n->w->spare_asks = a->next;
	else if ((a = malloc(sizeof(*a))) == NULL)
		abort();
	memset(a, 0, offsetof(struct ask, touch));
	a->id = fx->id;
	a->n = n;
	a->gen = n->proc[PROC_POSTGRES].gen;
	a->type = fx->type;
	a->sent = local_time(n);
	a->deadline = fx->deadline == 0 ? 0 : true_time(n, fx->deadline);
	a->next = n->w->asks;
	n->w->asks = a;
	return a;
}

void
ask_close(struct world *w, struct ask *a)
{
	struct ask **p;

	for (p = &w->asks; *p != NULL && *p != a; p = &(*p)->next)
		;
	if (*p != NULL)
		*p = a->next;
	view_free(a->view);
	tree_free(a->doc);
	free(a->peers);
	a->next = w->spare_asks;
	w->spare_asks = a;
}

/* Asks are found by node and id: events outlive them. */
static struct ask *
ask_find(struct node *n, uint64_t id, int64_t gen)
{
	struct ask *a;

	for (a = n->w->asks; a != NULL; a = a->next)
		if (a->n == n && a->id == id && a->gen == (uint32_t)gen)
			return a;
	return NULL;
}

static struct ev *
at_ask(struct ask *a, int64_t when, void (*fn)(struct world *, struct ev *),
    enum proc proc)
{
	struct ev *e = at(a->n->w, when, fn, a->n, proc);

	e->id = a->id;
	e->arg = a->gen;
	return e;
}

/* ---- the answer reaches the controller ---- */

/* A leader without its member key keeps the address that was known. */
static void
remember_peers(struct node *n, const struct view *v)
{
	struct node *leader = node_named(n->w, v->leader), *m;
	bool led = leader != NULL && !view_unlocked(v);
	uint32_t i;

	memset(n->known, 0, sizeof(n->known));
	for (i = 0; i < v->nmembers; i++)
		if ((m = node_named(n->w, v->members[i].name)) != NULL) {
			n->known[m->i] = true;
			n->seen[m->i] = n->w->now;
		}
	for (i = 0; i < v->nfailsafe; i++)
		if ((m = node_named(n->w, v->failsafe[i].name)) != NULL)
			n->known[m->i] = true;
	if (!led ||
	    (!n->known[leader->i] && n->known_leader == leader->i &&
		n->known_old[leader->i]))
		return;
	n->known_leader = leader->i;
	memcpy(n->known_old, n->known, sizeof(n->known_old));
}

/* May the key be its own?  What it saw last, or asked for and may have got. */
static void
remember_key(struct node *n, const struct ask *a)
{
	int64_t lease = n->w->now + n->w->ttl * SEC;

	if (a->type == FX_LOAD && a->view != NULL)
		n->holds = !view_unlocked(a->view) &&
			strcmp(a->view->leader, n->name) == 0 ?
		    lease :
		    0;
	if (a->type == FX_LOAD && a->view != NULL) {
		if (!view_unlocked(a->view))
			n->unled_since = 0;
		else if (n->unled_since == 0)
			n->unled_since = n->w->now;
	}
	if (a->type != FX_DCS ||
	    (a->op != OP_ACQUIRE && a->op != OP_TAKE && a->op != OP_UPDATE))
		return;
	if (a->outcome == OUTCOME_OK ||
	    (a->op != OP_UPDATE && a->outcome == OUTCOME_UNKNOWN))
		n->holds = lease;
	else if (a->outcome == OUTCOME_REFUSED)
		n->holds = 0;
}

static void
on_answer(struct world *w, struct ev *e)
{
	struct ask *a = ask_find(e->n, e->id, e->arg);
	struct ha_ev ev;

	if (a == NULL)
		return;
	memset(&ev, 0, sizeof(ev));
	remember_key(e->n, a);
	ev.id = a->id;
	ev.outcome = a->outcome;
	ev.sent = w->broken == BREAK_LEASE_ANSWER ? local_time(e->n) : a->sent;
	if (a->type == FX_LOAD) {
		ev.type = EV_VIEW;
		ev.view = a->view;
		if (a->view != NULL)
			remember_peers(e->n, a->view);
	} else if (a->type == FX_DCS) {
		ev.type = EV_DCS;
		ev.token = a->token;
		trace(w, e->n, "  op %d: %s", (int)a->op,
		    outcome_name(a->outcome));
	} else {
		ev.type = EV_PEERS;
		ev.peers = a->peers;
		ev.npeers = a->npeers;
	}
	if (ev.outcome != OUTCOME_OK && a->type != FX_POLL)
		ev.error = "no answer";
	a->view = NULL;
	a->answered = true;
	node_feed(e->n, &ev);
	view_free((struct view *)(uintptr_t)ev.view);
	if (!a->flying) /* what is under way still arrives */
		ask_close(w, a);
}

static void
on_deadline(struct world *w, struct ev *e)
{
	struct ask *a = ask_find(e->n, e->id, e->arg);

	if (a == NULL || a->answered)
		return;
	view_free(a->view);
	a->view = NULL;
	if (a->type == FX_LOAD)
		a->outcome = OUTCOME_FAILED;
	else if (a->type == FX_DCS)
		a->outcome = a->flag && a->op == OP_TOUCH ? OUTCOME_FAILED :
							    OUTCOME_UNKNOWN;
	on_answer(w, e);
}

/* Back at the dcs helper. */
static void
on_reply(struct world *w, struct ev *e)
{
	struct ask *a = ask_find(e->n, e->id, e->arg);

	if (a == NULL || a->answered)
		return;
	/* at once, where nothing can come between */
	if (process_ok(e->n, PROC_POSTGRES) && engine_alone(w))
		on_answer(w, e);
	else
		at_ask(a, w->now, on_answer, PROC_POSTGRES);
}

/* ---- to the store ---- */

static int64_t
travel(struct world *w)
{
	if (w->store_crawls)
		return w->retry_timeout * rnd_range(w, 350, 480) * MS;
	if (w->store_delay_max > 0 && chance(w, 30))
		return rnd_range(w, MS, w->store_delay_max);
	return rnd_range(w, MS / 2, 8 * MS);
}

static bool
lost(struct world *w)
{
	return w->loss_percent > 0 && chance(w, w->loss_percent);
}

static void
on_arrival(struct world *w, struct ev *e)
{
	struct ask *a = ask_find(e->n, e->id, e->arg);

	/* a dead controller's request is carried out all the same */
	if (a == NULL)
		return;
	a->flying = false;
	if (!w->store.down)
		store_apply(w, a);
	if (a->answered) {
		ask_close(w, a);
		return;
	}
	if (a->applied && linked(w, STORE, e->n->i) && !lost(w) &&
	    !(w->answer_loss > 0 && chance(w, w->answer_loss)))
		at_ask(a, w->now + travel(w), on_reply, PROC_DCS);
}

static void
on_send(struct world *w, struct ev *e)
{
	struct ask *a = ask_find(e->n, e->id, e->arg);
	int64_t when;

	if (a == NULL || a->applied || a->answered)
		return;
	if (a->deadline != 0 && w->now >= a->deadline)
		return;
	if (w->store.down || !linked(w, e->n->i, STORE) || lost(w)) {
		at_ask(a, w->now + RETRY, on_send, PROC_DCS);
		return;
	}
	when = w->now + travel(w);
	if (when < e->n->last_arrival)
		when = e->n->last_arrival;
	e->n->last_arrival = when;
	a->flying = true;
	at_ask(a, when, on_arrival, PROC_COUNT);
}

static void
fill_failsafe(struct ask *a, const struct tree *map)
{
	struct world *w = a->n->w;
	int i;

	a->with_members = map != NULL;
	for (i = 0; i < w->nnodes && map != NULL; i++)
		a->members[i] = tree_get(map, w->node[i].name) != NULL;
}

static void
copy_touch(struct msg_dcs_touch *to, const struct msg_dcs_touch *from)
{
	short_copy(to->conn_url, from->conn_url);
	short_copy(to->api_url, from->api_url);
	memcpy(&to->state, &from->state,
	    sizeof(*to) - offsetof(struct msg_dcs_touch, state));
}

static bool
nosync(const struct tree *tags)
{
	const struct tree *t = tree_get(tags, "nosync");

	return t != NULL && t->type == TREE_BOOL && t->u.b;
}

static void
fill_dcs(struct ask *a, const struct ha_dcs *d)
{
	a->op = d->op;
	a->history_of = d->history_of;
	switch (d->op) {
	case OP_UPDATE:
		a->flag = d->u.update.with_status != 0;
		a->optime = d->u.update.optime;
		a->failsafe = d->u.update.with_failsafe != 0;
		a->with_slots = tree_get(d->doc, "retain_slots") != NULL;
		a->slots = slots_named(tree_get(d->doc, "retain_slots"));
		fill_failsafe(a, tree_get(d->doc, "failsafe"));
		break;
	case OP_RELEASE:
	case OP_SET_STATUS:
		a->optime = d->u.status.optime;
		break;
	case OP_INITIALIZE:
		a->flag = d->u.initialize.create != 0;
		memcpy(a->text[0], d->u.initialize.sysid, WORD_SIZE);
		break;
	case OP_TOUCH:
		copy_touch(&a->touch, &d->u.touch);
		a->nosync = nosync(tree_get(d->doc, "tags"));
		break;
	case OP_SET_FAILOVER:
		memcpy(a->text[0], d->u.failover.leader, NAME_SIZE);
		memcpy(a->text[1], d->u.failover.member, NAME_SIZE);
		a->at = strcmp(d->u.failover.scheduled_at, NAIVE) == 0 ?
		    NO_TIME :
		    strtoll(d->u.failover.scheduled_at, NULL, 10);
		a->token = d->u.failover.token;
		a->flag = d->u.failover.with_token != 0;
		break;
	case OP_SET_SYNC:
		memcpy(a->text[0], d->u.sync.leader, NAME_SIZE);
		a->quorum = d->u.sync.quorum;
		a->token = d->u.sync.token;
		a->flag = d->u.sync.with_token != 0;
		a->doc = tree_copy(d->doc);
		break;
	case OP_DELETE_SYNC:
		a->token = d->u.token.token;
		a->flag = d->u.token.with_token != 0;
		break;
	case OP_SET_CONFIG:
		a->doc = tree_copy(d->doc);
		break;
	default:
		break;
	}
}

void
ask_store(struct node *n, const struct ha_fx *fx)
{
	struct ask *a = ask_open(n, fx);
	struct world *w = n->w;

	if (fx->type == FX_DCS)
		fill_dcs(a, &fx->dcs);
	if (fx->type == FX_DCS && fx->dcs.op == OP_RELEASE)
		n->gave_back = w->now;
	if (!n->proc[PROC_DCS].up) {
		a->outcome = OUTCOME_FAILED;
		at_ask(a, w->now + MS, on_answer, PROC_POSTGRES);
		return;
	}
	at_ask(a, w->now, on_send, PROC_DCS);
	if (a->deadline != 0)
		a->limit = limit(w, a->deadline);
}

/* The limits that are reached become events, the next one is looked for. */
void
asks_near(struct world *w)
{
	unsigned __int128 reached = w->limit;
	struct ask *a;

	w->limit = NO_LIMIT;
	for (a = w->asks; a != NULL; a = a->next) {
		struct ev *e;

		if (a->answered || a->limit == 0)
			continue;
		if (a->limit > reached) {
			if (a->limit < w->limit)
				w->limit = a->limit;
			continue;
		}
		e = at_limit(w, a->limit, on_deadline, a->n, PROC_POSTGRES);
		e->id = a->id;
		e->arg = a->gen;
		a->limit = 0;
	}
}

static bool
through_dcs(const struct ask *a)
{
	return a->type == FX_LOAD || a->type == FX_DCS || a->type == FX_POLL ||
	    a->type == FX_FAILSAFE_POST;
}

/* The link to the dcs helper closed: what was asked of it is unknown. */
void
asks_lost(struct node *n)
{
	struct ask *a;

	for (a = n->w->asks; a != NULL; a = a->next) {
		if (a->n != n || a->answered ||
		    a->gen != n->proc[PROC_POSTGRES].gen || !through_dcs(a))
			continue;
		view_free(a->view);
		a->view = NULL;
		a->outcome =
		    a->type == FX_LOAD ? OUTCOME_FAILED : OUTCOME_UNKNOWN;
		at_ask(a, n->w->now, on_answer, PROC_POSTGRES);
	}
}

/* The controller died: nobody waits, but what is under way arrives. */
void
asks_drop(struct node *n)
{
	struct ask *a, *next;

	for (a = n->w->asks; a != NULL; a = next) {
		next = a->next;
		if (a->n != n || a->answered)
			continue;
		a->answered = true;
		if (!a->flying)
			ask_close(n->w, a);
	}
}

/* ---- to peers ---- */

static void
fill_peer(struct node *p, struct peer_status *s)
{
	const struct pg *pg = &p->pg;

	/* without positions the answer counts as none (spec/ha.md 11.3) */
	s->reachable = pg->run == PG_UP && !pg->hung;
	s->has_tags = !p->old;
	s->tags = p->tags;
	s->watchdog_failed = !keeper_healthy(p);
	s->runs_as_primary = pg->run == PG_UP && !pg->hung && pg->primary;
	if (pg->run == PG_UP && !pg->hung) {
		s->position = pg->wal.end;
		s->timeline = pg_tli(pg);
	}
}

/* ---- POST /failsafe: the peer's own core answers ---- */

#define REQUEST_ID(asker, index, id) \
	((uint64_t)(asker) << 56 | (uint64_t)(index) << 48 | (id))

static void
post_failsafe(struct ask *a, struct node *p, int index)
{
	struct msg_request req;
	struct ha_ev ev;

	memset(&req, 0, sizeof(req));
	req.kind = REQUEST_FAILSAFE;
	req.timeout = -1;
	(void)text_set(req.name, sizeof(req.name), a->n->name);
	(void)snprintf(req.conn_url, sizeof(req.conn_url),
	    "postgres://%s:5432/postgres", a->n->name);
	(void)snprintf(req.api_url, sizeof(req.api_url),
	    "http://%s:8008/patroni", a->n->name);
	memset(&ev, 0, sizeof(ev));
	ev.type = EV_REQUEST;
	ev.req = &req;
	ev.request = REQUEST_ID(a->n->i + 1, index, a->id);
	node_feed(p, &ev);
}

static void
on_accepted(struct world *w, struct ev *e)
{
	struct ask *a = ask_find(e->n, e->id, e->n->proc[PROC_POSTGRES].gen);
	int index = (int)(e->arg >> 8);

	if (a == NULL || a->answered || a->type != FX_FAILSAFE_POST)
		return;
	a->peers[index].reachable = 1;
	a->peers[index].accepted = (e->arg & 1) != 0;
	if (--a->waiting == 0)
		at_ask(a, w->now + travel(w), on_reply, PROC_DCS);
}

void
ask_reply(struct node *p, const struct ha_fx *fx)
{
	int asker = (int)(fx->request >> 56) - 1;
	struct world *w = p->w;
	struct ev *e;

	if (asker < 0)
		operator_replied(p, fx);
	if (asker < 0 || asker >= w->nnodes || !linked(w, p->i, asker))
		return;
	e = at(w, w->now + travel(w), on_accepted, &w->node[asker], PROC_DCS);
	e->id = fx->request & UINT64_C(0xffffffffffff);
	e->arg =
	    (int64_t)(fx->request >> 48 & 0xff) << 8 | (fx->reply.code == 200);
}

static void
on_peer(struct world *w, struct ev *e)
{
	struct ask *a = ask_find(e->n, e->id, e->arg & 0xffffffff);
	int index = (int)(e->arg >> 32);
	struct node *p;

	if (a == NULL || a->answered)
		return;
	p = node_named(w, a->peers[index].name);
	if (p == NULL || !process_ok(p, PROC_REST) || p->h == NULL ||
	    !process_ok(p, PROC_POSTGRES) || !linked(w, e->n->i, p->i) ||
	    !linked(w, p->i, e->n->i))
		return;
	if (a->type == FX_FAILSAFE_POST) {
		post_failsafe(a, p, index);
		return;
	}
	fill_peer(p, &a->peers[index]);
	if (--a->waiting == 0)
		at_ask(a, w->now + travel(w), on_reply, PROC_DCS);
}

static void
on_poll_end(struct world *w, struct ev *e)
{
	struct ask *a = ask_find(e->n, e->id, e->arg);

	if (a != NULL && !a->answered)
		on_answer(w, e);
}

static void
on_poll_dies(struct world *w, struct ev *e)
{
	(void)w;
	node_crash_helper(e->n, PROC_DCS);
}

void
ask_poll(struct node *n, const struct ha_fx *fx)
{
	struct ask *a = ask_open(n, fx);
	struct world *w = n->w;
	int64_t most;
	uint32_t i;

	a->npeers = a->waiting = fx->npeers;
	a->peers = calloc(fx->npeers + 1, sizeof(*a->peers));
	if (a->peers == NULL)
		abort();
	for (i = 0; i < fx->npeers; i++) {
		(void)text_set(a->peers[i].name, sizeof(a->peers[i].name),
		    fx->peers[i].name);
		at_ask(a, w->now + rnd_range(w, MS, 15 * MS), on_peer, PROC_DCS)
		    ->arg |= (int64_t)i << 32;
	}
	/* connect and read: two seconds, but not beyond the deadline */
	most = 2 * SEC;
	if (!n->proc[PROC_DCS].up) {
		a->outcome = OUTCOME_FAILED;
		most = MS;
	}
	if (a->deadline != 0 && a->deadline - w->now < most)
		most = a->deadline > w->now ? a->deadline - w->now : MS;
	at_ask(a, w->now + most, on_poll_end, PROC_POSTGRES);
	if (n->dies_polling)
		at(w, w->now, on_poll_dies, n, PROC_COUNT);
	n->dies_polling = false;
}

/* ---- local questions ---- */

static int
named(struct world *w, const struct ha_job *j)
{
	struct node *n = j->has_node ? node_named(w, j->node.name) : NULL;

	return n == NULL ? -1 : n->i;
}

static void
on_local(struct world *w, struct ev *e)
{
	struct ask *a = ask_find(e->n, e->id, e->arg);
	static const struct ha_pg no_facts;
	static struct ha_divergence d;
	static struct ha_pg pg;
	struct ha_control control;
	struct ha_ev ev;

	if (a == NULL)
		return;
	memset(&ev, 0, sizeof(ev));
	ev.id = a->id;
	switch (a->type) {
	case FX_PG_STATUS:
		ev.type = EV_PG_STATUS;
		ha_pg_copy(&pg, &no_facts);
		facts_status(e->n, &pg);
		ev.pg = &pg;
		break;
	case FX_CONTROL:
		ev.type = EV_CONTROL;
		facts_control(e->n, a->timeline, &control);
		ev.control = &control;
		break;
	case FX_RECOVERY_DIFF:
		ev.type = EV_RECOVERY_DIFF;
		ev.diff = facts_diff(e->n, a->other);
		break;
	case FX_DIVERGENCE:
		ev.type = EV_DIVERGENCE;
		memset(&d, 0, offsetof(struct ha_divergence, history));
		facts_divergence(e->n, a->other, &d);
		ev.divergence = &d;
		break;
	default:
		ev.type = EV_DELAY;
		break;
	}
	a->answered = true;
	node_feed(e->n, &ev);
	ask_close(w, a);
}

void
ask_local(struct node *n, const struct ha_fx *fx, int64_t delay)
{
	struct ask *a = ask_open(n, fx);

	a->timeline = fx->timeline;
	if (fx->type == FX_RECOVERY_DIFF || fx->type == FX_DIVERGENCE)
		a->other = named(n->w, &fx->job);
	at_ask(a, n->w->now + delay, on_local, PROC_POSTGRES);
}
