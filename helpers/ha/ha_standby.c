/*
 * ha_standby.c: which standbys are synchronous, and which of them have caught
 * up (spec/ha.md 13.3, 13.4).
 */
#include <stdlib.h>
#include <strings.h>

#include "ha_sync.h"

struct candidate {
	const struct ha_sender *sender;
	const struct view_member *member;
	uint64_t lsn;
	uint32_t place; /* keeps the sort stable */
};

static uint64_t
sender_lsn(const struct ha *h, const struct ha_sender *s)
{
	if (strcmp(h->p.pg.synchronous_commit, "remote_apply") == 0)
		return s->replay_lsn;
	if (strcmp(h->p.pg.synchronous_commit, "remote_write") == 0)
		return s->write_lsn;
	return s->flush_lsn;
}

/* Several rows of one name: the last counts. */
static const struct ha_sender *
find_sender(const struct ha *h, const char *name)
{
	uint32_t i;

	for (i = h->p.pg.nsenders; i > 0; i--)
		if (strcasecmp(h->p.pg.senders[i - 1].name, name) == 0)
			return &h->p.pg.senders[i - 1];
	return NULL;
}

static const struct view_member *
find_member(const struct ha *h, const char *name)
{
	const struct view *v = h->s.view;
	uint32_t i;

	for (i = 0; i < v->nmembers; i++)
		if (strcasecmp(v->members[i].name, name) == 0)
			return &v->members[i];
	return NULL;
}

static bool
eligible(const struct ha *h, const struct view_member *m)
{
	return !is_me(h, m->name) && (!m->tags.nosync || BROKEN(h, NOSYNC)) &&
	    pg_state_parse(m->state, NULL) == STATE_RUNNING;
}

/*
 * It is meant to stream from another replica.  Then it counts only while that
 * one cannot: no synchronous state for a mere detour.  Loops end the walk.
 */
static bool
cascades(const struct ha *h, const struct view_member *m)
{
	const struct view_member *root = m, *next;
	uint32_t steps;

	for (steps = 0; steps < MAX_MEMBERS; steps++) {
		if (root->tags.replicatefrom[0] == '\0' ||
		    is_me(h, root->tags.replicatefrom))
			break;
		next = find_member(h, root->tags.replicatefrom);
		if (next == NULL)
			break;
		root = next;
	}
	return steps < MAX_MEMBERS && root != m && eligible(h, root) &&
	    find_sender(h, root->name) != NULL;
}

static int
state_rank(const char *s)
{
	if (strcmp(s, "sync") == 0)
		return 3;
	if (strcmp(s, "quorum") == 0)
		return 2;
	return strcmp(s, "potential") == 0;
}

static int
by_preference(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int r;

	if (x->member->tags.nofailover != y->member->tags.nofailover)
		return x->member->tags.nofailover ? 1 : -1;
	if (x->member->tags.sync_priority != y->member->tags.sync_priority)
		return x->member->tags.sync_priority <
			y->member->tags.sync_priority ?
		    1 :
		    -1;
	r = state_rank(y->sender->sync_state) -
	    state_rank(x->sender->sync_state);
	if (r != 0)
		return r;
	if (x->lsn != y->lsn)
		return x->lsn < y->lsn ? 1 : -1;
	return x->place < y->place ? -1 : 1;
}

static uint32_t
collect(const struct ha *h, struct candidate *c)
{
	uint32_t i, n = 0;

	for (i = 0; i < h->p.pg.nsenders && n < MAX_MEMBERS; i++) {
		const struct ha_sender *s = &h->p.pg.senders[i];
		const struct view_member *m = find_member(h, s->name);

		if (m == NULL || find_sender(h, s->name) != s ||
		    sender_lsn(h, s) == 0 || !eligible(h, m) || cascades(h, m))
			continue;
		c[n].sender = s;
		c[n].member = m;
		c[n].lsn = sender_lsn(h, s);
		c[n].place = n;
		n++;
	}
	qsort(c, n, sizeof(*c), by_preference);
	return n;
}

/* ---- caught up since it is listed (13.3) ---- */

static bool
is_ready(const struct ha *h, const char *name)
{
	uint32_t i;

	for (i = 0; i < h->s.sync.nready; i++)
		if (strcasecmp(h->s.sync.ready[i], name) == 0)
			return true;
	return false;
}

static void
forget_unlisted(struct ha *h, const struct ssn *ssn)
{
	struct sync_memory *m = &h->s.sync;
	uint32_t i, k = 0;

	for (i = 0; i < m->nready; i++)
		if (names_has(&ssn->names, m->ready[i])) {
			if (k != i)
				memcpy(m->ready[k], m->ready[i], NAME_SIZE);
			k++;
		}
	m->nready = k;
}

static bool
has_caught_up(
    const struct ha *h, const struct sync_key *k, const struct ha_sender *s)
{
	bool reached = sender_lsn(h, s) >= h->s.sync.reference;

	if (h->s.opt.sync_mode == SYNC_QUORUM &&
	    h->p.pg.server_version >= 100000)
		return reached && strcmp(s->sync_state, "quorum") == 0;
	if (h->s.opt.sync_mode == SYNC_QUORUM &&
	    h->p.pg.server_version >= 90600)
		return reached &&
		    (strcmp(s->sync_state, "sync") == 0 ||
			strcmp(s->sync_state, "potential") == 0);
	return names_has(&k->voters, s->name) ||
	    (reached && strcmp(s->sync_state, "sync") == 0);
}

/*
 * A changed SSN starts a new count: who is listed now has to reach the
 * position of this moment; a little WAL makes an idle server get there.
 */
static enum rc
note_ssn(struct ha *h, const struct sync_key *k, struct standbys *st)
{
	struct sync_memory *m = &h->s.sync;
	enum ha_job_result result;
	struct ha_job job;
	uint32_t i;

	ssn_parse(h->p.pg.ssn, &st->ssn);
	if (st->ssn.bad)
		ha_log(h, LOG_LVL_WARNING, "sync.unparsable",
		    "Unparsable "
		    "synchronous_standby_names value \"%s\"",
		    h->p.pg.ssn);
	if (!m->known || strcmp(m->seen, h->p.pg.ssn) != 0) {
		memcpy(m->seen, h->p.pg.ssn, sizeof(m->seen));
		m->known = true;
		forget_unlisted(h, &st->ssn);
		m->reference = h->p.pg.wal_position;
		if (st->ssn.names.n > 0) {
			job_init(&job, JOB_ADVANCE_WAL);
			TRY(job_run(h, &job, &result));
			TRY(ask_snapshot_again(h));
		}
	}
	for (i = 0; i < st->ssn.names.n; i++) {
		const char *name = st->ssn.names.v[i];
		const struct ha_sender *s = find_sender(h, name);

		if (s != NULL && !is_ready(h, name) &&
		    m->nready < MAX_MEMBERS && has_caught_up(h, k, s))
			(void)text_set(m->ready[m->nready++], NAME_SIZE, name);
	}
	return RC_OK;
}

/* ---- the choice ---- */

enum rc
standbys_evaluate(struct ha *h, const struct sync_key *k, struct standbys *st)
{
	struct candidate c[MAX_MEMBERS];
	bool quorum = h->s.opt.sync_mode == SYNC_QUORUM &&
	    h->p.pg.server_version >= 90600;
	int64_t most = h->s.opt.maximum_lag_on_syncnode;
	int64_t want =
	    h->p.pg.server_version < 90600 ? 1 : h->s.opt.sync_node_count;
	uint64_t top;
	uint32_t i, n;

	st->active.n = st->confirmed.n = 0;
	TRY(note_ssn(h, k, st));
	n = collect(h, c);
	top = n > 1 ? 0 : h->p.pg.wal_position;
	for (i = 0; n > 1 && i < n; i++)
		if (c[i].lsn > top)
			top = c[i].lsn;
	for (i = 0; i < n; i++) {
		const char *name = c[i].member->name;
		const char *state = c[i].sender->sync_state;

		if (!quorum && st->active.n >= want)
			break;
		if (quorum && c[i].member->tags.nofailover &&
		    st->active.n >= want)
			continue;
		if (most > 0 && top > c[i].lsn &&
		    top - c[i].lsn > (uint64_t)most)
			continue;
		names_add(&st->active, name);
		if (is_ready(h, name) && (quorum || strcmp(state, "sync") == 0))
			names_add(&st->confirmed, name);
	}
	return RC_OK;
}
