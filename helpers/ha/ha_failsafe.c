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

void
failsafe_receive(struct ha *h, const struct event *e)
{
	const struct msg_request *r = e->req;
	struct failsafe_record *f = &h->s.failsafe;
	struct ha_fx *fx;

	if (!h->s.opt.failsafe) {
		reply(h, e->ev.request, 502, "failsafe_mode is disabled");
		return;
	}
	if (h->s.role == ROLE_PRIMARY && h->s.pg_state == STATE_RUNNING) {
		reply(h, e->ev.request, 500, "Running as a leader");
		return;
	}
	memset(f, 0, sizeof(*f));
	f->until = h->p.now + ttl_ns(h);
	memcpy(f->name, r->name, sizeof(f->name));
	memcpy(f->conn_url, r->conn_url, sizeof(f->conn_url));
	memcpy(f->api_url, r->api_url, sizeof(f->api_url));
	receive_slots(f, tree_get(e->doc, "slots"));
	fx = fx_new(h, FX_REPLY);
	fx->request = e->ev.request;
	fx->reply.code = 200;
	fx->reply.has_lsn = h->s.last_wal != 0;
	fx->reply.lsn = h->s.last_wal;
	(void)text_set(fx->reply.text, sizeof(fx->reply.text), "Accepted");
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
