/*
 * ha_ask.c: how the rules speak to the outside: effects, and the answers to
 * those that ask.
 *
 * Replay.  A run (a cycle, the handling of an action's event, the shutdown)
 * is executed again from its start whenever an answer has arrived.  Effects
 * carry an ordinal within the run; those of earlier passes are written to a
 * scratch place instead of the list.  Answers are used in the order in which
 * they were given, each with the time of its arrival, so that every pass
 * takes the same way as far as the answers reach.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ha_int.h"

/* Thousands of these are made a second in the simulator: no more is cleared
 * than somebody may read. */
static void
fx_clear(struct ha_fx *fx, enum ha_fx_type type)
{
	memset(fx, 0, offsetof(struct ha_fx, dcs));
	fx->type = type;
	switch (type) {
	case FX_DCS:
		memset(&fx->dcs, 0, sizeof(fx->dcs));
		break;
	case FX_JOB:
	case FX_RECOVERY_DIFF:
	case FX_DIVERGENCE:
		job_init(&fx->job, JOB_NONE);
		break;
	case FX_REPLY:
		memset(&fx->reply, 0, sizeof(fx->reply));
		break;
	default:
		fx->text[0] = fx->inputs[0] = '\0';
		fx->reasons[0] = fx->effects[0] = '\0';
		break;
	}
}

/* An effect outside the ordinals of a run. */
struct ha_fx *
fx_append(struct ha *h, enum ha_fx_type type)
{
	struct ha_fx *fx;

	if (h->nfx == h->fx_cap) {
		uint32_t want = h->fx_cap == 0 ? 16 : h->fx_cap * 2;

		h->fx = reallocarray(h->fx, want, sizeof(*h->fx));
		if (h->fx == NULL || want > MAX_EFFECTS)
			abort();
		h->fx_cap = want;
	}
	fx = &h->fx[h->nfx++];
	fx_clear(fx, type);
	return fx;
}

/* Emitted by an earlier pass of this run. */
static bool
is_repetition(const struct ha *h)
{
	return h->run != RUN_NONE && h->p.ordinal < h->emitted;
}

struct ha_fx *
fx_new(struct ha *h, enum ha_fx_type type)
{
	bool repetition = is_repetition(h);

	h->p.ordinal++;
	if (!repetition)
		return fx_append(h, type);
#ifdef SANITIZED
	memset(&h->scratch, 0xff, sizeof(h->scratch)); /* who reads it fails */
#endif
	h->scratch.type = type;
	return &h->scratch;
}

/* An ask: id and deadline set.  timeout_ns 0 = the runtime's own limit. */
struct ha_fx *
ask_new(struct ha *h, enum ha_fx_type type, int64_t timeout_ns)
{
	struct ha_fx *fx = fx_new(h, type);

	fx->id = ++h->s.next_id;
	h->p.asked = type;
	h->p.asked_id = fx->id;
	fx->deadline = timeout_ns == 0 ? 0 : h->p.now + timeout_ns;
	return fx;
}

static struct event *
queue_take(struct ha *h, uint64_t id)
{
	uint32_t i;

	for (i = 0; i < h->nqueue; i++) {
		struct event *e = h->queue[i];

		if (e->ev.id != id || e->ev.type == EV_REQUEST)
			continue;
		memmove(&h->queue[i], &h->queue[i + 1],
		    (h->nqueue - i - 1) * sizeof(h->queue[0]));
		h->nqueue--;
		return e;
	}
	return NULL;
}

/*
 * The next event that carries this id.  A job is awaited again and again
 * until its EV_JOB_DONE.
 */
enum rc
await(struct ha *h, uint64_t id, const struct ha_ev **out)
{
	struct event *e;

	if (h->p.used < h->nanswers) {
		e = h->answers[h->p.used];
		if (e->ev.id != id)
			return RC_BUG;
	} else {
		e = queue_take(h, id);
		if (e == NULL) {
			h->waiting = id;
			return RC_PENDING;
		}
		if (h->nanswers == MAX_ANSWERS) {
			ha_event_free(h, e);
			return RC_BUG;
		}
		e->at = h->now;
		h->answers[h->nanswers++] = e;
	}
	h->p.used++;
	if (e->at > h->p.now)
		h->p.now = e->at;
	*out = &e->ev;
	return RC_OK;
}

void
ha_log(struct ha *h, int level, const char *rule, const char *fmt, ...)
{
	bool repetition = is_repetition(h);
	struct ha_fx *fx = fx_new(h, FX_LOG);
	va_list ap;

	if (repetition) {
		if (rule != NULL && rule != h->p.rule)
			h->p.notes++;
		return;
	}
	fx->level = level;
	if (rule != NULL)
		(void)text_set(fx->rule, sizeof(fx->rule), rule);
	if (h->conf.mute)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(fx->text, sizeof(fx->text), fmt, ap);
	va_end(ap);
	if (rule != NULL && rule != h->p.rule)
		journal_reason(h, "%s", fx->text);
}

enum rc
say(struct ha *h, const char *rule, const char *fmt, ...)
{
	va_list ap;

	(void)text_set(h->p.rule, sizeof(h->p.rule), rule);
	if (h->conf.mute)
		return RC_MSG;
	va_start(ap, fmt);
	(void)vsnprintf(h->p.msg, sizeof(h->p.msg), fmt, ap);
	va_end(ap);
	return RC_MSG;
}

enum rc
ask_delay(struct ha *h, int64_t ns)
{
	struct ha_fx *fx = ask_new(h, FX_DELAY, 0);
	const struct ha_ev *ev;

	fx->at = h->p.now + ns;
	fx->deadline = fx->at;
	return await(h, fx->id, &ev);
}

static void
take_snapshot(struct ha *h, const struct ha_pg *pg)
{
	static const struct ha_pg none;

	ha_pg_copy(&h->p.pg, pg != NULL ? pg : &none);
	if (h->p.pg.query_ok || !h->p.pg.running)
		h->s.silent = h->s.maybe_promoted = false;
	h->p.have_pg = true;
	h->s.pg_state = h->p.pg.state;
}

/* spec 1.2: one snapshot per cycle; a failed one stays failed. */
enum rc
ask_snapshot(struct ha *h)
{
	if (h->p.have_pg)
		return RC_OK;
	return ask_snapshot_again(h);
}

enum rc
ask_snapshot_again(struct ha *h)
{
	const struct ha_ev *ev;
	struct ha_fx *fx = ask_new(h, FX_PG_STATUS, retry_ns(h) / 2);

	TRY(await(h, fx->id, &ev));
	take_snapshot(h, ev->pg);
	return RC_OK;
}

enum rc
ask_control(struct ha *h, uint32_t timeline, struct ha_control *out)
{
	const struct ha_ev *ev;
	struct ha_fx *fx = ask_new(h, FX_CONTROL, retry_ns(h));

	fx->timeline = timeline;
	TRY(await(h, fx->id, &ev));
	if (ev->control != NULL)
		*out = *ev->control;
	else
		memset(out, 0, sizeof(*out));
	return RC_OK;
}

/* spec 11.3: the runtime's limits are 2 s to connect and 2 s to read. */
enum rc
ask_peers(struct ha *h, const struct view_failsafe *peers, uint32_t n,
    const struct peer_status **out, uint32_t *count)
{
	const struct ha_ev *ev;
	struct ha_fx *fx;
	uint32_t i;
	uint64_t id;

	*out = NULL;
	*count = 0;
	h->p.poll_failed = false;
	if (n == 0)
		return RC_OK;
	fx = ask_new(h, FX_POLL, 5 * NS_PER_SEC);
	id = fx->id;
	if (fx != &h->scratch) {
		struct view_failsafe *copy = keep_bytes(h, n * sizeof(*peers));

		memcpy(copy, peers, n * sizeof(*peers));
		fx->peers = copy;
		fx->npeers = n;
	}
	TRY(await(h, id, &ev));
	h->p.poll_failed = ev->outcome != OUTCOME_OK;
	*out = ev->peers;
	*count = ev->npeers;
	for (i = 0; i < ev->npeers; i++)
		journal_peer(h, &ev->peers[i]);
	return RC_OK;
}

/*
 * While we are primary on a lease: what is left of it but for a third of the
 * ttl, to stop in: the keeper fences up to ttl / 4 before the end, and an
 * orderly stop is to be over by then.  A view without our lock ends the trust,
 * not what the keeper counts.
 */
static int64_t
lease_left(const struct ha *h)
{
	int64_t lease = h->s.trusted;

	if (lease == 0 && (h->s.wd_fence_armed || h->s.wd_device_running) &&
	    (h->s.role == ROLE_PRIMARY || h->s.role == ROLE_PROMOTED))
		lease = h->s.wd_granted;
	if (lease == 0 || h->s.opt.pause)
		return INT64_MAX;
	return lease - ttl_ns(h) / 3 - h->p.now;
}

/*
 * An operation of the store may take retry_timeout, but not longer than the
 * lease leaves; a second at least, for what cannot be left out.
 */
int64_t
dcs_timeout(const struct ha *h)
{
	int64_t limit = retry_ns(h), left = lease_left(h);

	if (left < NS_PER_SEC)
		left = NS_PER_SEC;
	return left < limit ? left : limit;
}

bool
time_for_more(const struct ha *h)
{
	return lease_left(h) >= NS_PER_SEC;
}

/*
 * Where the store crawls and a lease runs, no more than half the time that
 * there is goes into anything but the lock itself.
 */
static int64_t
op_timeout(const struct ha *h, enum ha_dcs_op op)
{
	int64_t limit = dcs_timeout(h), half = lease_left(h) / 2;

	if (op == OP_ACQUIRE || op == OP_UPDATE || op == OP_RELEASE)
		return limit;
	if (half < NS_PER_SEC)
		half = NS_PER_SEC;
	return half < limit ? half : limit;
}

/*
 * As long as the members of failsafe mode can be waited for: half of what is
 * left until the keeper fences, so that there is time to stop if one does not
 * agree.
 */
int64_t
failsafe_timeout(const struct ha *h)
{
	int64_t most = 5 * NS_PER_SEC, left = lease_left(h);

	if (left > 2 * most)
		return most;
	left = (left + ttl_ns(h) / 3 - ttl_ns(h) / 4) / 2;
	if (left < NS_PER_SEC / 10)
		left = NS_PER_SEC / 10;
	return left < most ? left : most;
}

struct ha_fx *
dcs_new(struct ha *h, enum ha_dcs_op op)
{
	struct ha_fx *fx = ask_new(h, FX_DCS, op_timeout(h, op));

	fx->dcs.op = op;
	h->p.asked_op = op;
	journal_operation(h, op);
	return fx;
}

enum rc
dcs_wait(struct ha *h, uint64_t id, enum outcome *outcome, int64_t *sent)
{
	const struct ha_ev *ev;

	TRY(await(h, id, &ev));
	*outcome = ev->outcome;
	if (sent != NULL)
		*sent = ev->sent;
	return RC_OK;
}

void
job_init(struct ha_job *job, enum ha_job_kind kind)
{
	memset(job, 0, offsetof(struct ha_job, node));
	job_no_node(job);
	job->text[0] = '\0';
	job->kind = kind;
	job->role = ROLE_REPLICA;
}

/* The member's own trees stay behind: they live and die with the view. */
void
job_node(struct ha *h, struct ha_job *job, const struct view_member *m)
{
	job->has_node = m != NULL;
	if (m == NULL)
		return;
	job->node = *m;
	job->node.tags_doc = NULL;
	job->node.pending_restart_reason = NULL;
	job->node.scheduled_restart = NULL;
	job->node_remote = m == &h->p.remote;
}

uint64_t
job_start(struct ha *h, const struct ha_job *job)
{
	struct ha_fx *fx = ask_new(h, FX_JOB, 0); /* its limits are its own */

	if (fx != &h->scratch)
		ha_job_copy(&fx->job, job);
	h->p.asked_job = job->kind;
	journal_job(h, job->kind);
	return fx->id;
}

enum rc
job_run(struct ha *h, const struct ha_job *job, enum ha_job_result *result)
{
	const struct ha_ev *ev;
	uint64_t id = job_start(h, job);

	for (;;) {
		TRY(await(h, id, &ev));
		if (ev->type == EV_JOB_DONE)
			break;
		if (ev->type == EV_JOB_PROGRESS &&
		    ev->progress == PROGRESS_SAFEPOINT)
			watchdog_disarm(h, 0);
	}
	*result = ev->result;
	return RC_OK;
}

void
set_role(struct ha *h, enum pg_role role, bool callback)
{
	struct ha_fx *fx;

	if (h->s.role == role)
		return;
	h->s.role = role;
	journal_role(h, role);
	fx = fx_new(h, FX_ROLE);
	fx->role = role;
	if (callback) {
		fx->callback = CALLBACK_ON_ROLE_CHANGE;
		h->s.callbacks_seen = true;
	}
}

/*
 * The role of a node that was started or re-pointed as a standby.  spec/
 * postgres.md 15.4: a former primary, and a change between replica and
 * standby leader, are role changes with a callback; the rest is not.
 */
void
set_role_standby(struct ha *h, enum pg_role role)
{
	enum pg_role was = h->s.role;
	bool change = was == ROLE_PRIMARY || was == ROLE_DEMOTED ||
	    (was == ROLE_REPLICA && role == ROLE_STANDBY_LEADER) ||
	    (was == ROLE_STANDBY_LEADER && role == ROLE_REPLICA);

	set_role(h, role, change && h->s.callbacks_seen);
}

void
set_state(struct ha *h, enum pg_state state)
{
	h->p.pg.state = state;
	h->s.pg_state = state;
	fx_new(h, FX_SET_STATE)->state = state;
}

int64_t
ttl_ns(const struct ha *h)
{
	return (int64_t)h->s.opt.time.ttl * NS_PER_SEC;
}

int64_t
retry_ns(const struct ha *h)
{
	return (int64_t)h->s.opt.time.retry_timeout * NS_PER_SEC;
}

int64_t
loop_ns(const struct ha *h)
{
	return (int64_t)h->s.opt.time.loop_wait * NS_PER_SEC;
}

/* spec 1.3: only with synchronous replication; 0 = as long as it takes. */
int64_t
stop_timeout_ns(const struct ha *h)
{
	const struct options *o = &h->s.opt;

	if (o->sync_mode == SYNC_OFF || o->primary_stop_timeout <= 0)
		return 0;
	return o->primary_stop_timeout * NS_PER_SEC;
}

/* Wall clock at the pass's "now". */
int64_t
wall_now(const struct ha *h)
{
	return h->wall_start + (h->p.now - h->start) / 1000;
}
