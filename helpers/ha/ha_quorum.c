/*
 * ha_quorum.c: quorum commit (spec/ha.md 14): the resolver, a pure function
 * from what is to what shall be next, and the procedure that applies it.
 *
 * After every single write any N acknowledging nodes and any Q+1 voters have
 * a node in common; the order of the transitions is what keeps that true.
 */
#include <strings.h>

#include "ha_sync.h"

/* ---- the resolver (14.3) ---- */

struct work {
	struct resolver *r;
	char leader[NAME_SIZE];
	int64_t q, n;
	struct names v, s;
	bool error;
};

static void
set_names_text(struct work *w, const struct names *a, const struct names *b,
    char *buf, size_t size)
{
	struct names only;

	(void)w;
	names_copy(&only, a);
	names_minus(&only, b);
	names_text(&only, ", ", buf, size);
}

/* V' = V + leader, S' = S + wanted leader; the rule of 14.1. */
static bool
invariant(struct work *w)
{
	struct names v, s, all;
	char a[400], b[400];

	names_copy(&v, &w->v);
	names_copy(&s, &w->s);
	names_add(&v, w->leader);
	names_add(&s, w->r->wanted_leader);
	names_copy(&all, &v);
	names_union(&all, &s);
	if (w->v.n > 0 && (int64_t)all.n > w->q + w->n + 1) {
		names_text(&all, ", ", a, sizeof(a));
		(void)snprintf(w->r->warning, sizeof(w->r->warning),
		    "Quorum and sync not guaranteed to overlap: nodes {%s} >= "
		    "quorum %lld + sync %lld + 1",
		    a, (long long)w->q, (long long)w->n);
		return false;
	}
	if (names_subset(&v, &s) || names_subset(&s, &v))
		return true;
	set_names_text(w, &v, &s, a, sizeof(a));
	set_names_text(w, &s, &v, b, sizeof(b));
	(void)snprintf(w->r->warning, sizeof(w->r->warning),
	    "Mismatched sets: voter only={%s} sync only={%s}", a, b);
	return false;
}

static void
emit(struct work *w, enum transition_kind kind)
{
	struct resolver *r = w->r;
	struct transition *t;

	if (r->ntransitions == MAX_TRANSITIONS) {
		w->error = true;
		return;
	}
	t = &r->transitions[r->ntransitions++];
	t->kind = kind;
	t->leader[0] = '\0';
	t->n = 0;
	t->names.n = 0;
	if (kind == TRANSITION_QUORUM) {
		memcpy(t->leader, w->leader, sizeof(t->leader));
		t->n = w->q;
		names_copy(&t->names, &w->v);
	} else if (kind == TRANSITION_SYNC) {
		t->n = w->n;
		names_copy(&t->names, &w->s);
	}
}

static void
set_q(struct work *w, int64_t q, const struct names *given, const char *leader,
    bool adjust)
{
	struct names v;

	if (w->error)
		return;
	names_copy(&v, given);
	if (q < 0 || (q > 0 && q >= (int64_t)v.n)) {
		w->error = true;
		return;
	}
	if (leader != NULL) {
		(void)text_set(w->leader, sizeof(w->leader), leader);
	} else if (w->r->confirmed == 0 && w->v.n == 0) {
		q = 0;
		v.n = 0;
	} else if (adjust && w->n > w->r->confirmed)
		q += w->n - w->r->confirmed;
	if (leader == NULL && q == w->q && names_equal(&v, &w->v)) {
		if (w->v.n > 0)
			return;
		emit(w, TRANSITION_RESTART);
	}
	w->q = q;
	names_copy(&w->v, &v);
	if (!invariant(w)) {
		w->error = true;
		return;
	}
	emit(w, TRANSITION_QUORUM);
}

static void
set_s(struct work *w, int64_t n, const struct names *given)
{
	if (w->error)
		return;
	if (n < 0 || n > (int64_t)given->n) {
		w->error = true;
		return;
	}
	w->n = n;
	names_copy(&w->s, given);
	if (!invariant(w)) {
		w->error = true;
		return;
	}
	emit(w, TRANSITION_SYNC);
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* r = a - b, a & b, a | b; r may be a, not b */
static void
minus(struct names *r, const struct names *a, const struct names *b)
{
	names_copy(r, a);
	names_minus(r, b);
}

static void
both(struct names *r, const struct names *a, const struct names *b)
{
	names_copy(r, a);
	names_intersect(r, b);
}

static void
either(struct names *r, const struct names *a, const struct names *b)
{
	names_copy(r, a);
	names_union(r, b);
}

/*
 * Step 0a: the promoted node takes over the record.  Until it is written the
 * leader before may lead without votes, so that all that it names have to
 * acknowledge (promote_quorum()); from then on as many as overlap with the
 * votes: the leader before may never come back.  True = stop here.
 */
static bool
change_leader(struct work *w)
{
	struct resolver *r = w->r;
	struct names v, all;
	int64_t enough;

	names_copy(&v, &w->v);
	names_remove(&v, r->wanted_leader);
	names_add(&v, w->leader);
	if (w->s.n == 0)
		set_s(w, v.n, &v);
	set_q(w, w->q, &v, r->wanted_leader, true);
	either(&all, &w->v, &w->s);
	enough = (int64_t)all.n - w->q;
	if (!w->error && w->n > enough) {
		names_copy(&v, &w->s);
		set_s(w, enough, &v);
	}
	return !w->error && names_disjoint(&w->s, &r->active);
}

/* Steps 0a-0c.  True = nothing more in this cycle. */
static bool
step_0(struct work *w)
{
	struct names s;

	if (strcasecmp(w->leader, w->r->wanted_leader) != 0) {
		if (change_leader(w))
			return true;
	} else if (!invariant(w))
		w->error = true;
	if (!w->error)
		return false;
	/* what is stored is not safe, or not of our making: start from SSN */
	w->error = false;
	(void)text_set(w->leader, sizeof(w->leader), w->r->wanted_leader);
	names_copy(&s, &w->s);
	set_q(w, (int64_t)s.n - w->n, &s, NULL, true);
	return w->error;
}

/* Steps 2a, 2b: the sets differ, one within the other. */
static void
step_2_sets(struct work *w)
{
	const struct names *active = &w->r->active;
	struct names r, a, s, t;

	if (names_subset(&w->s, &w->v) && w->s.n < w->v.n) {
		either(&t, &w->s, active);
		minus(&r, &w->v, &t);
		if (r.n > 0) {
			minus(&t, &w->v, &r);
			set_q(w, (int64_t)w->v.n - r.n - w->n, &t, NULL,
			    names_subset(&w->s, active));
		}
		both(&a, &w->v, active);
		names_minus(&a, &w->s);
		if (a.n > 0) {
			either(&t, &w->s, &a);
			set_s(w, w->n, &t);
		}
	} else if (names_subset(&w->v, &w->s) && w->v.n < w->s.n) {
		minus(&r, &w->s, active);
		minus(&s, &w->s, &r);
		if (r.n > 0 && s.n > 0 &&
		    (w->v.n == 0 || !names_disjoint(&s, &w->v)))
			set_s(w, least(w->n, (int64_t)w->s.n - r.n), &s);
		minus(&a, &w->s, &w->v);
		names_intersect(&a, active);
		if (a.n > 0) {
			either(&t, &w->v, &a);
			set_q(w, (int64_t)t.n - w->n, &t, NULL, true);
		}
		minus(&r, &w->s, &w->v);
		if (r.n > 0) {
			minus(&t, &w->s, &r);
			set_s(w, least(w->n, (int64_t)w->s.n - r.n), &t);
		}
	}
}

/* Steps 2c, 2d: a safe state that waits for more than it needs. */
static void
step_2_numbers(struct work *w)
{
	int64_t c = w->r->confirmed, wanted = w->r->wanted;
	int64_t m = w->q + least(w->n, c) - (int64_t)w->v.n;
	struct names same, s;

	names_copy(&same, &w->v);
	names_copy(&s, &w->s);
	if (m > 0) {
		if (w->n > wanted)
			set_s(w, most(wanted, (int64_t)same.n - w->q), &s);
		else
			set_q(w, (int64_t)s.n - w->n, &same, NULL, true);
	} else if (w->n == wanted && w->q + w->n > (int64_t)same.n && w->n > c)
		set_q(w, (int64_t)s.n - w->n, &same, NULL, true);
}

/* Step 3: nodes that went away. */
static void
step_3(struct work *w)
{
	static const struct names none;
	struct names g, d, s, v;
	int64_t n, k, i;

	minus(&g, &w->s, &w->r->active);
	if (g.n == 0)
		return;
	if (names_equal(&g, &w->s)) {
		set_q(w, 0, &none, NULL, false);
		set_s(w, 0, &none);
		return;
	}
	if (w->q > 0) {
		d.n = 0;
		for (i = 0; i < w->q && i < (int64_t)g.n; i++)
			names_add(&d, g.v[(int64_t)g.n - 1 - i]);
		minus(&s, &w->s, &d);
		set_s(w, least(most(w->n, w->r->wanted), (int64_t)s.n), &s);
		minus(&v, &w->v, &d);
		names_intersect(&g, &w->s);
		set_q(w, (int64_t)v.n - w->n, &v, NULL, g.n == 0);
	}
	if (g.n == 0 || w->error)
		return;
	n = w->n - (int64_t)g.n;
	minus(&s, &w->s, &g);
	minus(&v, &w->v, &g);
	k = n - least(w->r->wanted, (int64_t)s.n);
	set_q(w, k == 0 ? 0 : least(k, (int64_t)v.n - 1), &v, NULL, false);
	set_s(w, n, &s);
}

/* Step 4: nodes that came. */
static void
step_4(struct work *w)
{
	struct names e, all, d, s, v;
	int64_t wish, i, k;

	minus(&e, &w->r->active, &w->s);
	if (e.n == 0)
		return;
	either(&all, &w->s, &e);
	wish = least(w->r->wanted, (int64_t)all.n);
	i = wish - w->n;
	if (i > 0) {
		d.n = 0;
		if (w->s.n == 0)
			names_copy(&d, &e);
		else
			for (k = 0; k < i && k < (int64_t)e.n; k++)
				names_add(&d, e.v[k]);
		if (w->s.n > 0)
			i = (int64_t)d.n;
		either(&s, &w->s, &d);
		set_s(w, w->n + i, &s);
		either(&v, &w->v, &d);
		/* fewer may have come than are wished for: step 5 goes on */
		set_q(w, (int64_t)v.n - w->n, &v, NULL, true);
		names_minus(&e, &w->s);
	}
	if (e.n == 0 || w->error)
		return;
	either(&v, &w->v, &e);
	set_q(w, (int64_t)v.n - wish, &v, NULL, wish > w->r->confirmed);
	either(&s, &w->s, &e);
	set_s(w, wish, &s);
}

/* Step 5: as many acknowledgements as asked for. */
static void
step_5(struct work *w)
{
	int64_t k = least(w->r->wanted, (int64_t)w->s.n) - w->n;
	struct names v, s;

	names_copy(&v, &w->v);
	names_copy(&s, &w->s);
	if (k > 0) {
		set_s(w, w->n + k, &s);
		set_q(w, (int64_t)v.n - w->n, &v, NULL, true);
	} else if (k < 0) {
		if (w->q - k < (int64_t)v.n)
			set_q(w, (int64_t)v.n - w->n - k, &v, NULL,
			    w->r->wanted > w->r->confirmed);
		else if (w->q < (int64_t)v.n - w->n - k)
			/* room for what fewer acknowledgements need */
			set_q(w, (int64_t)v.n - w->n - k, &v, NULL, false);
		set_s(w, w->n + k, &s);
	}
}

static void
copy_transition(struct transition *to, const struct transition *from)
{
	to->kind = from->kind;
	memcpy(to->leader, from->leader, sizeof(to->leader));
	to->n = from->n;
	names_copy(&to->names, &from->names);
}

/* Of a row of the same kind the last; nothing after the first restart. */
static void
compress(struct resolver *r)
{
	uint32_t i, k = 0;

	for (i = 0; i < r->ntransitions; i++) {
		if (k > 0 &&
		    r->transitions[k - 1].kind == r->transitions[i].kind)
			k--;
		if (k != i)
			copy_transition(&r->transitions[k], &r->transitions[i]);
		k++;
		if (r->transitions[k - 1].kind == TRANSITION_RESTART)
			break;
	}
	r->ntransitions = k;
}

/*
 * No path of small safe steps leads on from here (spec/ha.md 26.8: the
 * reference stops at this, for as long as its input stays).  With nobody in
 * /sync any names may be waited for: give the voters up, name who is here,
 * and let the next cycles build up from that.
 */
static void
start_over(struct work *w)
{
	struct resolver *r = w->r;
	int64_t n = least(r->wanted, (int64_t)r->active.n);

	if (r->warning[0] == '\0')
		(void)snprintf(r->warning, sizeof(r->warning),
		    "Quorum %lld of %u and %lld of %u synchronous standbys can "
		    "not be resolved, starting over",
		    (long long)r->q, r->voters.n, (long long)r->n, r->sync.n);
	r->ntransitions = 0;
	w->error = false;
	(void)text_set(w->leader, sizeof(w->leader), r->wanted_leader);
	w->q = 0;
	memset(&w->v, 0, sizeof(w->v));
	if (r->voters.n > 0 || r->q != 0 ||
	    strcasecmp(r->leader, r->wanted_leader) != 0)
		emit(w, TRANSITION_QUORUM);
	w->s = r->active;
	w->n = n;
	if (r->n != n || !names_equal(&r->sync, &r->active))
		emit(w, TRANSITION_SYNC);
}

void
quorum_resolve(struct resolver *r)
{
	struct work w;
	struct names common;

	w.error = false;
	w.r = r;
	memcpy(w.leader, r->leader, sizeof(w.leader));
	w.q = r->q;
	names_copy(&w.v, &r->voters);
	names_copy(&w.s, &r->sync);
	w.n = least(r->n, (int64_t)r->sync.n);
	r->ntransitions = 0;
	r->warning[0] = '\0';
	if (!step_0(&w)) {
		both(&common, &w.s, &r->active);
		if (r->confirmed == 0 && common.n > 0)
			r->confirmed =
			    least((int64_t)common.n, (int64_t)w.v.n - w.q);
		step_2_sets(&w);
		if (!w.error && names_equal(&w.v, &w.s))
			step_2_numbers(&w);
		if (!w.error)
			step_3(&w);
		if (!w.error)
			step_4(&w);
		if (!w.error)
			step_5(&w);
	}
	if (w.error)
		start_over(&w);
	compress(r);
}

/* ---- the procedure (14.2) ---- */

static void
resolver_fill(const struct ha *h, const struct sync_key *k,
    const struct standbys *st, struct resolver *r)
{
	memcpy(r->leader, k->leader, sizeof(r->leader));
	r->q = k->quorum;
	names_copy(&r->voters, &k->voters);
	r->n = st->ssn.star ? 0 : st->ssn.n;
	r->sync.n = 0;
	if (!st->ssn.star)
		names_copy(&r->sync, &st->ssn.names);
	r->confirmed = st->confirmed.n;
	names_copy(&r->active, &st->active);
	r->wanted = h->s.opt.sync_node_count;
	memcpy(r->wanted_leader, h->conf.name, sizeof(r->wanted_leader));
}

/* *go false: somebody else wrote the key, the store did not answer, or SSN
 * is not in force. */
static enum rc
apply(struct ha *h, struct sync_key *k, const struct transition *t, bool *go)
{
	char names[TEXT_SIZE];

	*go = true;
	if (t->kind == TRANSITION_RESTART)
		return RC_OK;
	if (t->kind == TRANSITION_SYNC)
		return sync_assign(h, &t->names, t->n, true, go);
	names_text(&t->names, ", ", names, sizeof(names));
	ha_log(h, LOG_LVL_INFO, "sync.quorum",
	    "Setting leader to %s, quorum to %lld of (%s)", t->leader,
	    (long long)t->n, names);
	TRY(sync_write(h, k, t->leader, &t->names, (uint32_t)t->n, go));
	if (*go)
		return RC_OK;
	ha_log(h, LOG_LVL_INFO, "sync.conflict",
	    "Synchronous replication key updated by someone else.");
	/* commits may wait for nodes that will not come back */
	if (strcasecmp(k->leader, h->conf.name) != 0)
		h->s.earlier = h->p.now + NS_PER_SEC;
	return RC_OK;
}

/* One evaluation and its transitions.  *again: SSN is new, look once more. */
static enum rc
quorum_round(struct ha *h, struct sync_key *k, int64_t limit, bool *again)
{
	struct standbys st;
	struct resolver r;
	bool strict, go;
	uint32_t i;

	*again = false;
	TRY(standbys_evaluate(h, k, &st));
	if (strcasecmp(k->leader, h->conf.name) == 0) {
		TRY(sync_strict(h, k, &st, &strict));
		if (strict)
			return RC_OK;
	}
	resolver_fill(h, k, &st, &r);
	quorum_resolve(&r);
	if (r.warning[0] != '\0')
		ha_log(h, LOG_LVL_WARNING, "sync.repair", "%s", r.warning);
	for (i = 0; i < r.ntransitions; i++) {
		if (h->p.now >= limit)
			return RC_OK;
		TRY(apply(h, k,
		    &r.transitions[BROKEN(h, QUORUM_ORDER) ?
			    r.ntransitions - 1 - i :
			    i],
		    &go));
		if (!go)
			return RC_OK;
	}
	if (i == 0) {
		if (st.ssn.type != SSN_QUORUM && st.ssn.names.n > 0)
			return sync_assign(
			    h, &st.ssn.names, st.ssn.n, true, &go);
		return RC_OK;
	}
	*again = r.transitions[i - 1].kind == TRANSITION_RESTART;
	/*
	 * Left by priority mode: in that form nobody is a "quorum" standby, so
	 * that nobody would ever be confirmed.
	 */
	if (*again && st.ssn.type == SSN_PRIORITY && st.ssn.names.n > 0)
		return sync_assign(h, &st.ssn.names, st.ssn.n, true, &go);
	return RC_OK;
}

enum rc
quorum_process(struct ha *h, struct sync_key *k)
{
	int64_t limit = h->p.now + loop_ns(h);
	bool again;

	for (;;) {
		TRY(quorum_round(h, k, limit, &again));
		if (!again || limit - h->p.now < NS_PER_SEC)
			return RC_OK;
		TRY(ask_delay(h, NS_PER_SEC));
		TRY(ask_snapshot_again(h));
	}
}
