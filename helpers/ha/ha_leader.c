/*
 * ha_leader.c: holding the lock: lock operations (spec/ha.md 7.5), the
 * leader's branch (5.1), enforce-leader and promotion (7.1), history (7.3),
 * checkpoint after promotion (7.4), and the watchdog keeper (20, design 5).
 */
#include "ha_int.h"

/* ---- lock operations ---- */

/* The keeper may count ttl from `sent`, whatever the lock is worth later. */
void
watchdog_grant(struct ha *h, int64_t sent)
{
	struct ha_fx *fx = fx_new(h, FX_WD_GRANT);

	h->s.wd_granted = sent + ttl_ns(h);
	fx->grant.sent_ns = sent;
	fx->grant.lease_end_ns = h->s.wd_granted;
	fx->grant.ttl_ns = ttl_ns(h);
}

/* The lease counts from the time at which the request was sent. */
void
lease_renewed(struct ha *h, int64_t sent)
{
	if (sent <= 0 || sent > h->p.now)
		sent = h->start; /* not told: the earliest it can have been */
	h->s.trusted = h->s.may_own = sent + ttl_ns(h);
	watchdog_grant(h, sent);
}

enum rc
lock_acquire(struct ha *h, bool *ok)
{
	int64_t limit = h->s.view_at + ttl_ns(h);
	enum outcome outcome;
	struct ha_fx *fx;
	int64_t sent;

	*ok = false;
	if (limit - h->p.now < NS_PER_SEC && !BROKEN(h, PROMOTE_NO_LOCK)) {
		h->s.earlier = h->p.now;
		return say(h, "race.stale",
		    "not taking the lock because the view of the cluster is "
		    "too old");
	}
	fx = dcs_new(h, OP_ACQUIRE);
	if (limit < fx->deadline)
		fx->deadline = limit;
	TRY(dcs_wait(h, fx->id, &outcome, &sent));
	*ok = outcome == OUTCOME_OK;
	if (*ok) {
		lease_renewed(h, sent);
		/* of a term that is over */
		h->s.promote_result = VERDICT_NONE;
		/* whose slots are kept is counted anew from /status */
		h->s.nretained = 0;
	} else {
		h->s.trusted = 0;
		h->s.may_own =
		    outcome == OUTCOME_UNKNOWN ? h->p.now + ttl_ns(h) : 0;
	}
	return outcome == OUTCOME_OK || outcome == OUTCOME_REFUSED ? RC_OK :
								     RC_DCS;
}

/* What a store that is well needs for a refresh, many times over. */
#define HURRIED (NS_PER_SEC / 4)

/*
 * *ok false = refused: the key is not ours any more.  Everything that the
 * leader does in a cycle comes after this.  With failsafe mode on, and no time
 * to wait for a store that crawls, what is left is better spent on asking the
 * members.
 */
enum rc
lock_update(struct ha *h, bool with_status, bool *ok)
{
	bool status =
	    with_status && h->p.pg.query_ok && h->p.pg.wal_position != 0;
	enum outcome outcome;
	struct ha_fx *fx;
	int64_t sent;
	uint64_t id;
	bool hurried;

	*ok = false;
	fx = dcs_new(h, OP_UPDATE);
	id = fx->id;
	hurried = h->s.opt.failsafe && is_primary(h) && !time_for_more(h);
	if (hurried)
		fx->deadline = h->p.now + HURRIED;
	if (status) {
		h->s.last_wal = h->p.pg.wal_position;
		fx->dcs.u.update.with_status = 1;
		fx->dcs.u.update.optime = h->p.pg.wal_position;
	}
	fx->dcs.u.update.with_failsafe = h->s.opt.failsafe;
	fx->dcs.doc = status_document(h, status);
	TRY(dcs_wait(h, id, &outcome, &sent));
	*ok = outcome == OUTCOME_OK;
	if (*ok) {
		lease_renewed(h, sent);
		failsafe_written(h);
		return RC_OK;
	}
	if (outcome != OUTCOME_REFUSED) {
		if (hurried)
			ha_log(h, LOG_LVL_WARNING, "leader.no-time",
			    "No time is left to wait for the refresh of the "
			    "leader lock");
		return RC_DCS;
	}
	h->s.trusted = h->s.may_own = 0;
	return RC_OK;
}

/* Give the key up; lsn 0 = leave /status alone. */
enum rc
lock_delete(struct ha *h, uint64_t lsn, bool *ok)
{
	struct ha_fx *fx = dcs_new(h, OP_RELEASE);
	enum outcome outcome;

	fx->dcs.u.status.optime = lsn;
	h->s.trusted = 0;
	TRY(dcs_wait(h, fx->id, &outcome, NULL));
	h->s.view_until = 0;
	*ok = outcome == OUTCOME_OK;
	if (*ok)
		h->s.may_own = 0;
	return RC_OK;
}

/* The key goes; what may write under it is stopped first. */
enum rc
give_up(struct ha *h)
{
	return may_write(h) ? demote(h, DEMOTE_IMMEDIATE) : lock_release(h, 0);
}

enum rc
lock_release(struct ha *h, uint64_t lsn)
{
	bool ok;

	TRY(lock_delete(h, lsn, &ok));
	publish_member(h);
	ha_log(h, LOG_LVL_INFO, "leader.release", "Leader key released");
	return RC_OK;
}

/* ---- the keeper ---- */

void
watchdog_disarm(struct ha *h, uint32_t reason)
{
	if (!h->s.wd_fence_armed && !h->s.wd_device_running && !h->s.wd_maybe)
		return;
	h->s.wd_maybe = false;
	h->s.wd_fence_armed = false;
	h->s.wd_device_running = false;
	h->s.wd_tried = false;
	h->s.wd_disarmed = h->s.next_id;
	fx_new(h, FX_WD_DISARM)->disarm.reason = reason;
}

static bool
watchdog_wanted(const struct ha *h)
{
	if (h->conf.fence && !h->s.wd_fence_armed)
		return true;
	if (h->conf.watchdog_mode == WATCHDOG_OFF || h->s.wd_device_running)
		return false;
	return h->conf.watchdog_mode == WATCHDOG_REQUIRED || !h->s.wd_tried;
}

/*
 * spec 20.3.  A keeper that does not answer keeps a standby from promoting,
 * but does not cost a running primary its life: it is armed in the next
 * cycle, once the keeper is back.
 */
enum rc
watchdog_activate(struct ha *h, bool *ok)
{
	const struct ha_ev *ev;
	const struct msg_wd_state *wd;
	struct ha_fx *fx;
	bool answered;

	*ok = true;
	if (!watchdog_wanted(h))
		return RC_OK;
	fx = ask_new(h, FX_WD_ARM, 2 * NS_PER_SEC);
	fx->arm.activate_device = h->conf.watchdog_mode != WATCHDOG_OFF;
	TRY(await(h, fx->id, &ev));
	wd = &ev->watchdog;
	/* no answer is no verdict: the keeper may just be restarting */
	answered = ev->outcome == OUTCOME_OK;
	/* one that hangs has it before it, and arms when it goes on */
	if (!answered)
		h->s.wd_maybe = true;
	h->s.wd_fence_armed = wd->fence_armed != 0;
	h->s.wd_device_running = wd->device_running != 0;
	h->s.wd_tried = true;
	if (answered)
		h->s.wd_unhealthy = wd->healthy == 0;
	if (answered && wd->activation_failed &&
	    !BROKEN(h, WATCHDOG_REQUIRED)) {
		*ok = false;
		return RC_OK;
	}
	if (!answered || (h->conf.fence && !h->s.wd_fence_armed)) {
		*ok = may_write(h);
		ha_log(h, LOG_LVL_WARNING, "watchdog.no-keeper",
		    "The lease keeper did not acknowledge the fence");
		return RC_OK;
	}
	if (trusted(h))
		watchdog_grant(h, h->s.trusted - ttl_ns(h));
	return RC_OK;
}

/* ---- history, checkpoint ---- */

/* spec 7.3: not awaited; a lost write is repeated in the next cycle. */
static void
write_history(struct ha *h)
{
	const struct view *v = h->s.view;
	uint32_t timeline = h->p.pg.timeline;
	const struct view_history *last;
	struct ha_fx *fx;

	if (!h->p.pg.query_ok || timeline == 0 || BROKEN(h, HISTORY))
		return;
	if (timeline == 1) {
		if (v->nhistory == 0)
			return;
		timeline = 0;
	} else if (v->nhistory > 0) {
		last = &v->history[v->nhistory - 1];
		if (last->timeline == timeline - 1 && last->elements == 5)
			return;
	}
	fx = dcs_new(h, OP_SET_HISTORY);
	fx->dcs.history_of = timeline;
}

/* spec 7.4 */
enum rc
checkpoint_bookkeeping(struct ha *h)
{
	struct ha_control control;
	struct ha_job job;

	if (!is_primary(h) || h->s.rewind == REWIND_CHECKPOINT ||
	    BROKEN(h, CHECKPOINT))
		return RC_OK;
	if (h->s.checkpoint_job != 0 || !h->p.pg.query_ok)
		return RC_OK;
	TRY(ask_control(h, 0, &control));
	if (control.ok && control.timeline == h->p.pg.timeline) {
		h->s.rewind = REWIND_CHECKPOINT;
		return RC_OK;
	}
	job_init(&job, JOB_CHECKPOINT);
	h->s.checkpoint_job = job_start(h, &job);
	return RC_OK;
}

/* ---- enforce-leader (7.1) ---- */

static enum rc
check_watchdog(struct ha *h)
{
	bool ok;

	TRY(watchdog_activate(h, &ok));
	if (ok)
		return RC_OK;
	if (may_write(h)) {
		TRY(demote(h, DEMOTE_IMMEDIATE));
		return say(h, "leader.watchdog.demote",
		    "Demoting self because watchdog could not be activated");
	}
	h->s.wd_refused_at = h->p.now;
	TRY(lock_release(h, 0));
	return say(h, "leader.watchdog.release",
	    "Not promoting self because watchdog could not be activated");
}

static enum rc
check_pre_promote(struct ha *h)
{
	if (h->s.promote_result != VERDICT_FALSE)
		return RC_OK;
	ha_log(h, LOG_LVL_WARNING, "leader.pre-promote",
	    "Releasing the "
	    "leader key voluntarily because the pre-promote script failed");
	h->s.released_at = h->p.now;
	h->s.promote_result = VERDICT_NONE;
	TRY(give_up(h));
	return say(h, "leader.pre-promote",
	    "Promotion cancelled because the pre-promote script failed");
}

/*
 * The lease must still be ours at the moment of the order: the checks before
 * may have waited for peers or for the store.
 */
static enum rc
promote(struct ha *h, const char *rule, const char *msg)
{
	struct ha_job job;

	TRY(sync_before_promote(h));
	if (!h->s.opt.pause && !trusted(h) && !BROKEN(h, PROMOTE_NO_LOCK))
		return say(h, "leader.lease-over",
		    "not promoting because "
		    "failed to update leader lock in DCS");
	failsafe_clear(h);
	h->s.last_timeline = 0;
	h->s.promote_result = VERDICT_NONE;
	job_init(&job, JOB_PROMOTE);
	job.role = ROLE_PRIMARY;
	TRY(action_begin(h, ACTION_PROMOTE, &job, "promote"));
	return say(h, rule, "%s", msg);
}

enum rc
enforce_leader(struct ha *h, const char *rule, const char *msg,
    const char *promote_rule, const char *promote_msg)
{
	if (!h->s.opt.pause) {
		TRY(check_watchdog(h));
		TRY(check_pre_promote(h));
	}
	if (is_primary(h)) {
		set_role(h, ROLE_PRIMARY, false);
		TRY(sync_process(h));
		write_history(h);
		return say(h, rule, "%s", msg);
	}
	if (h->s.role == ROLE_PRIMARY || h->s.role == ROLE_PROMOTED) {
		TRY(sync_process(h));
		return say(h, rule, "%s", msg);
	}
	return promote(h, promote_rule, promote_msg);
}

/* ---- the leader's branch (5.1) ---- */

static enum rc
lead_paused_standby(struct ha *h)
{
	bool ok;

	if (!h->s.opt.pause || is_primary(h))
		return RC_OK;
	if (is_me(h, h->s.view->failover_member))
		return say(h, "pause.waiting-to-promote",
		    "waiting to become primary after promote...");
	if (h->s.opt.standby_cluster || may_write(h))
		return RC_OK;
	TRY(lock_delete(h, 0, &ok));
	return say(h, "pause.not-primary",
	    "removed leader lock because "
	    "postgres is not running as primary");
}

static enum rc
lead_refused(struct ha *h)
{
	ha_log(h, LOG_LVL_ERROR, "leader.lock-lost",
	    "failed to update leader lock");
	if (!may_write(h))
		return say(h, "leader.lock-lost.standby",
		    "not promoting "
		    "because failed to update leader lock in DCS");
	if (h->s.opt.pause)
		return say(h, "pause.lock-lost",
		    "continue to run as primary "
		    "after failing to update leader lock in DCS");
	if (!BROKEN(h, NO_DEMOTE_REFUSED))
		TRY(demote(h, DEMOTE_IMMEDIATE_NOLOCK));
	return say(h, "leader.lock-lost.demote",
	    "demoted self because failed to update leader lock in DCS");
}

static enum rc
lead_standby_cluster(struct ha *h)
{
	char msg[NAME_SIZE * 2];

	/* a primary keeps its fence until it has stopped */
	if (!may_write(h) || BROKEN(h, STANDBY_DISARM))
		watchdog_disarm(h, 2);
	if (h->s.role != ROLE_STANDBY_LEADER)
		return follow(h, "standby-leader.demote",
		    "cannot be a real primary in standby cluster",
		    "standby-leader.promote",
		    "promoted self to a standby "
		    "leader because i had the session lock",
		    true);
	(void)snprintf(msg, sizeof(msg),
	    "no action. I am (%s), the standby leader with the lock",
	    h->conf.name);
	return follow(h, "standby-leader.demote",
	    "cannot be a real primary in standby cluster",
	    "standby-leader.no-action", msg, true);
}

/*
 * The lock is ours by a request whose answer was lost, or by somebody else's
 * hand, and meanwhile we have told a primary without the store to go on: it
 * writes as long as that holds.
 */
static enum rc
lead_promised(struct ha *h)
{
	const char *name = h->s.failsafe.name;

	if (!failsafe_active(h) || name[0] == '\0' || is_me(h, name) ||
	    h->s.opt.pause || may_write(h) || BROKEN(h, FAILSAFE_RECORD))
		return RC_OK;
	TRY(lock_release(h, 0));
	return say(h, "leader.promised",
	    "released leader key voluntarily because %s goes on in failsafe "
	    "mode",
	    name);
}

enum rc
lead(struct ha *h)
{
	char msg[NAME_SIZE * 2] = "";
	bool ok;

	TRY(lead_promised(h));
	TRY(lead_paused_standby(h));
	TRY(lock_update(h, true, &ok));
	if (!ok)
		return lead_refused(h);
	TRY(manual_lead(h));
	TRY(checkpoint_bookkeeping(h));
	if (h->s.opt.standby_cluster && !BROKEN(h, STANDBY_PROMOTE))
		return lead_standby_cluster(h);
	if (!h->conf.mute)
		(void)snprintf(msg, sizeof(msg),
		    "no action. I am (%s), the leader with the lock",
		    h->conf.name);
	return enforce_leader(h, "leader.no-action", msg, "leader.promote",
	    "promoted self to leader because I had the session lock");
}
