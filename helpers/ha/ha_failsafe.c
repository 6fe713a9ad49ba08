/*
 * ha_failsafe.c: DCS failsafe mode (spec/ha.md 15).
 */
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

void
failsafe_clear(struct ha *h)
{
	memset(&h->s.failsafe, 0, sizeof(h->s.failsafe));
}

/*
 * 15.4: while a primary goes on without the store, this node sees it as the
 * leader of an unlocked view and does not race.
 */
void
failsafe_patch(struct ha *h, bool at_load)
{
	const struct failsafe_record *f = &h->s.failsafe;
	struct view *v;

	if (!h->s.opt.failsafe || f->until <= h->p.now || f->name[0] == '\0')
		return;
	if (at_load && !unlocked(h))
		return;
	v = view_copy(h->s.view);
	if (v == NULL)
		return;
	v->has_leader = 1;
	memcpy(v->leader, f->name, sizeof(v->leader));
	v->leader_session[0] = '\0';
	v->leader_token = 0;
	h->s.view = keep_view(h, v);
}

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
	if (h->s.role == ROLE_PRIMARY && h->s.pg_state == STATE_RUNNING) {
		answer->code = 500;
		(void)text_set(answer->text, sizeof(answer->text),
		    "Running as a leader");
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

/* 15.3; a positive round extends the lease from when it was begun. */
enum rc
failsafe_check(struct ha *h, bool *yes)
{
	struct view_failsafe others[MAX_MEMBERS];
	int64_t begun = h->p.now;
	const struct ha_ev *ev;
	bool listed = false;
	uint32_t i, n = 0;
	struct ha_fx *fx;
	uint64_t id;

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
		fx = ask_new(h, FX_FAILSAFE_POST, 5 * NS_PER_SEC);
		id = fx->id;
		if (fx != &h->scratch) {
			struct view_failsafe *copy =
			    keep_bytes(h, n * sizeof(*copy));

			memcpy(copy, others, n * sizeof(*copy));
			fx->peers = copy;
			fx->npeers = n;
		}
		fx->dcs.doc = status_document(h, true);
		TRY(await(h, id, &ev));
		if (ev->npeers != n)
			return RC_OK;
		for (i = 0; i < n; i++)
			if (!ev->peers[i].accepted)
				return RC_OK;
	}
	*yes = true;
	failsafe_clear(h);
	h->s.failsafe.until = begun + ttl_ns(h);
	h->s.trusted = begun + ttl_ns(h);
	fx = fx_new(h, FX_WD_GRANT);
	fx->grant.sent_ns = begun;
	fx->grant.lease_end_ns = h->s.trusted;
	fx->grant.ttl_ns = ttl_ns(h);
	return RC_OK;
}
