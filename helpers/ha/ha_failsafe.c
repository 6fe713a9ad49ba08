/*
 * ha_failsafe.c: DCS failsafe mode (spec/ha.md 15): the list of members to
 * ask, the record of a primary that goes on without the store, the view as
 * that record makes it, and the round of questions.
 */
#include <stdlib.h>

#include "ha_int.h"

/* The last /failsafe read is what counts in an outage. */
void
failsafe_remember(struct ha *h, const struct view *v)
{
	uint32_t i, n = v->nfailsafe < MAX_MEMBERS ? v->nfailsafe : MAX_MEMBERS;

	h->s.failsafe_usable = v->has_failsafe && v->failsafe_object;
	h->s.nfailsafe_members = n;
	for (i = 0; i < n; i++)
		h->s.failsafe_members[i] = v->failsafe[i];
}

/*
 * What an update of the lock has written with it.  Names that it added count
 * at once: they may already race, so they must agree.  Names that it dropped
 * count until the key has been read again: whether it was written is not
 * known, and who is still listed there may race as well.
 */
void
failsafe_written(struct ha *h)
{
	const struct view *v = h->s.view;
	struct state *s = &h->s;
	uint32_t i, k;

	if (!s->opt.failsafe || !s->failsafe_usable)
		return;
	for (i = 0; i < v->nmembers; i++) {
		const struct view_member *m = &v->members[i];

		if (m->api_url[0] == '\0')
			continue;
		for (k = 0; k < s->nfailsafe_members; k++)
			if (strcmp(s->failsafe_members[k].name, m->name) == 0)
				break;
		if (k == MAX_MEMBERS) {
			s->failsafe_usable = false; /* cannot ask them all */
			return;
		}
		if (k == s->nfailsafe_members)
			s->nfailsafe_members++;
		memcpy(s->failsafe_members[k].name, m->name, NAME_SIZE);
		memcpy(s->failsafe_members[k].api_url, m->api_url, URL_SIZE);
	}
}

void
failsafe_clear(struct ha *h)
{
	struct failsafe_record *f = &h->s.failsafe;

	f->until = 0;
	f->nslots = 0;
	f->name[0] = f->conn_url[0] = f->api_url[0] = '\0';
}

bool
failsafe_active(const struct ha *h)
{
	return h->s.opt.failsafe && h->s.failsafe.until > h->p.now;
}

/* ---- the patched view (15.4) ---- */

/* The primary's key may be gone as well: its addresses are in the record. */
static void
patch_leader(struct view *v, const struct failsafe_record *f)
{
	struct view_member *m, *grown;

	v->has_leader = 1;
	memcpy(v->leader, f->name, sizeof(v->leader));
	v->leader_session[0] = '\0';
	v->leader_token = 0;
	m = (struct view_member *)(uintptr_t)view_member(v, f->name);
	if (m == NULL) {
		grown = reallocarray(
		    v->members, v->nmembers + 1, sizeof(*v->members));
		if (grown == NULL)
			abort();
		v->members = grown;
		m = &v->members[v->nmembers++];
		memset(m, 0, sizeof(*m));
		memcpy(m->name, f->name, sizeof(m->name));
		(void)text_set(m->state, sizeof(m->state), "unknown");
		m->tags.failover_priority = m->tags.sync_priority = 1;
	}
	if (f->conn_url[0] != '\0')
		memcpy(m->conn_url, f->conn_url, sizeof(m->conn_url));
	if (f->api_url[0] != '\0')
		memcpy(m->api_url, f->api_url, sizeof(m->api_url));
}

static void
patch_slots(struct view *v, const struct failsafe_record *f)
{
	struct view_slot *slots = calloc(f->nslots + 1, sizeof(*slots));

	if (slots == NULL)
		abort();
	memcpy(slots, f->slots, f->nslots * sizeof(*slots));
	free(v->slots);
	v->slots = slots;
	v->nslots = f->nslots;
	v->slots_known = 1;
}

/* On replicas the record is keyed by slot, on the primary by member. */
static const struct view_slot *
slot_of(const struct failsafe_record *f, const char *member)
{
	char slot[64];
	uint32_t i;

	ha_slot_name(member, slot);
	for (i = 0; i < f->nslots; i++)
		if (strcmp(f->slots[i].name, member) == 0 ||
		    strcmp(f->slots[i].name, slot) == 0)
			return &f->slots[i];
	return NULL;
}

static void
patch_cascades(struct view *v, const struct failsafe_record *f)
{
	const struct view_slot *s;
	uint32_t i;

	for (i = 0; i < v->nmembers; i++) {
		struct view_member *m = &v->members[i];

		if (m->tags.replicatefrom[0] == '\0')
			continue;
		s = slot_of(f, m->name);
		if (s == NULL)
			continue;
		m->xlog_location = s->lsn;
		m->has_xlog_location = 1;
	}
}

/*
 * While a primary goes on without the store, this node sees it as the leader
 * of an unlocked view and does not race.  On the primary itself the record
 * has no name, so that only the positions of others are filled in.
 */
void
failsafe_patch(struct ha *h, bool at_load)
{
	const struct failsafe_record *f = &h->s.failsafe;
	struct view *v;

	if (!failsafe_active(h) || h->s.view == NULL ||
	    (at_load && !unlocked(h)) || BROKEN(h, FAILSAFE_RECORD))
		return;
	v = view_copy(h->s.view);
	if (v == NULL)
		abort();
	if (f->name[0] != '\0')
		patch_leader(v, f);
	patch_slots(v, f);
	patch_cascades(v, f);
	h->s.view = keep_view(h, v);
}

/* ---- POST /failsafe of a primary ---- */

static void
receive_slots(struct failsafe_record *f, const struct tree *slots)
{
	uint32_t i;

	for (i = 0; i < tree_count(slots) && f->nslots < MAX_MEMBERS; i++) {
		const struct tree *t = tree_child(slots, i);
		struct view_slot *s = &f->slots[f->nslots];

		if (t->type != TREE_INT || t->u.i < 0 || t->key == NULL ||
		    !text_set(s->name, sizeof(s->name), t->key))
			continue;
		s->lsn = (uint64_t)t->u.i;
		f->nslots++;
	}
}

/* Record and answer.  True when the primary's claim was accepted. */
static bool
receive(struct ha *h, const struct ha_ev *ev, int64_t now,
    struct msg_request_reply *answer)
{
	const struct msg_request *r = ev->req;
	struct failsafe_record *f = &h->s.failsafe;

	answer->code = 200;
	if (!h->s.opt.failsafe) {
		answer->code = 502;
		(void)text_set(answer->text, sizeof(answer->text),
		    "failsafe_mode is disabled");
		return false;
	}
	/*
	 * Also with the lock just won, or while the promotion goes on: who says
	 * yes here lets the other one write.
	 */
	if (((h->s.role == ROLE_PRIMARY || h->s.role == ROLE_PROMOTED) &&
		h->s.pg_state == STATE_RUNNING) ||
	    h->s.trusted > now) {
		answer->code = 500;
		(void)text_set(
		    answer->text, sizeof(answer->text), "Running as a leader");
		return false;
	}
	if (r->name[0] == '\0') {
		answer->code = 400;
		(void)text_set(answer->text, sizeof(answer->text),
		    "name of the primary is missing");
		return false;
	}
	memset(f, 0, sizeof(*f));
	f->until = now + ttl_ns(h);
	memcpy(f->name, r->name, sizeof(f->name));
	memcpy(f->conn_url, r->conn_url, sizeof(f->conn_url));
	memcpy(f->api_url, r->api_url, sizeof(f->api_url));
	receive_slots(f, tree_get(ev->doc, "slots"));
	answer->has_lsn = h->s.last_wal != 0;
	answer->lsn = h->s.last_wal;
	(void)text_set(answer->text, sizeof(answer->text), "Accepted");
	return true;
}

void
failsafe_receive(struct ha *h, const struct event *e)
{
	struct ha_fx *fx = fx_new(h, FX_REPLY);

	fx->request = e->ev.request;
	if (receive(h, &e->ev, h->p.now, &fx->reply))
		fx_new(h, FX_PUBLISH);
}

/*
 * A primary that lost the store gives its members two seconds, and the cycle
 * of a member is waiting for the same store: such a request is answered in
 * the middle of a run.  Only as long as that run has taken no view, though:
 * with one it may be about to race, and must not do that after it has told
 * the primary that it may go on.  The record is first read with the next
 * view, so the passes made so far would not have gone another way.
 */
bool
failsafe_at_once(struct ha *h, const struct ha_ev *ev)
{
	struct ha_fx *fx;

	if (ev->type != EV_REQUEST || ev->req == NULL ||
	    ev->req->kind != REQUEST_FAILSAFE || h->run == RUN_NONE ||
	    h->s.view != h->base.view)
		return false;
	fx = fx_append(h, FX_REPLY);
	fx->request = ev->request;
	if (receive(h, ev, h->now, &fx->reply)) {
		h->base.failsafe = h->s.failsafe;
		fx_append(h, FX_PUBLISH);
	}
	return true;
}

/* ---- the round of questions (15.3) ---- */

static bool
accepted(const struct ha_ev *ev, const char *name)
{
	uint32_t i;

	for (i = 0; i < ev->npeers; i++)
		if (strcmp(ev->peers[i].name, name) == 0)
			return ev->peers[i].accepted != 0;
	return false;
}

/* Positions of standbys, for the slots of those that cascade. */
static void
remember_feedback(struct failsafe_record *f, const struct ha_ev *ev)
{
	uint32_t i;

	for (i = 0; i < ev->npeers; i++) {
		const struct peer_status *p = &ev->peers[i];

		if (!p->has_lsn || f->nslots == MAX_MEMBERS)
			continue;
		memcpy(f->slots[f->nslots].name, p->name, NAME_SIZE);
		f->slots[f->nslots++].lsn = p->lsn;
	}
}

static enum rc
ask_members(struct ha *h, const struct view_failsafe *others, uint32_t n,
    const struct ha_ev **ev)
{
	/* 2 s to connect, 2 s to read; but not past what the lease leaves */
	struct ha_fx *fx = ask_new(h, FX_FAILSAFE_POST, failsafe_timeout(h));
	uint64_t id = fx->id;

	if (fx != &h->scratch) {
		struct view_failsafe *copy = keep_bytes(h, n * sizeof(*copy));

		memcpy(copy, others, n * sizeof(*copy));
		fx->peers = copy;
		fx->npeers = n;
	}
	return await(h, id, ev);
}

/* A positive round extends the lease from when it was begun. */
static void
failsafe_agreed(struct ha *h, int64_t begun, const struct ha_ev *ev)
{
	failsafe_clear(h);
	h->s.failsafe.until = begun + ttl_ns(h);
	if (ev != NULL)
		remember_feedback(&h->s.failsafe, ev);
	h->s.trusted = begun + ttl_ns(h);
	watchdog_grant(h, begun);
}

enum rc
failsafe_check(struct ha *h, bool *yes)
{
	struct view_failsafe others[MAX_MEMBERS];
	const struct ha_ev *ev = NULL;
	int64_t begun = h->p.now;
	bool listed = false;
	uint32_t i, n = 0;

	*yes = false;
	if (!h->s.failsafe_usable)
		return RC_OK;
	for (i = 0; i < h->s.nfailsafe_members; i++) {
		if (is_me(h, h->s.failsafe_members[i].name))
			listed = true;
		else
			others[n++] = h->s.failsafe_members[i];
	}
	if (!listed)
		return RC_OK;
	if (n > 0) {
		TRY(ask_members(h, others, n, &ev));
		for (i = 0; i < n; i++) {
			if (accepted(ev, others[i].name) ||
			    BROKEN(h, FAILSAFE_ONE))
				continue;
			journal_reason(h, "%s did not accept", others[i].name);
			return RC_OK;
		}
	}
	*yes = true;
	failsafe_agreed(h, begun, ev);
	return RC_OK;
}

/* ---- a node whose daemon has just started ---- */

/*
 * The record is in memory.  A node that was restarted after it had told a
 * primary to go on knows nothing of that, and once the leader key has run out
 * would take it while the other one writes.  Until such a promise would be
 * over it takes the key only if all that failsafe mode counts on can be asked
 * and none is primary.
 */
enum rc
failsafe_rival(struct ha *h, bool *possible)
{
	struct view_failsafe others[MAX_MEMBERS];
	const struct view *v = h->s.view;
	const struct peer_status *answers;
	uint32_t i, n = 0, count;

	*possible = false;
	if (!h->s.opt.failsafe || h->s.opt.pause || !v->failsafe_object ||
	    h->p.now - h->s.attached_at >= ttl_ns(h))
		return RC_OK;
	for (i = 0; i < v->nfailsafe && n < MAX_MEMBERS; i++)
		if (!is_me(h, v->failsafe[i].name))
			others[n++] = v->failsafe[i];
	if (n == 0)
		return RC_OK;
	TRY(ask_peers(h, others, n, &answers, &count));
	*possible = h->p.poll_failed || count < n;
	for (i = 0; i < count; i++)
		if (!answers[i].reachable || answers[i].runs_as_primary)
			*possible = true;
	if (*possible)
		ha_log(h, LOG_LVL_INFO, "replica.race.failsafe-unknown",
		    "Not every member of failsafe mode can be asked, and this "
		    "daemon has not run long enough to know of its agreements");
	return RC_OK;
}
