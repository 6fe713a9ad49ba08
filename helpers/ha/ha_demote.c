/*
 * ha_demote.c: demotion (spec/ha.md 9): the modes that stop PostgreSQL inside
 * the cycle, the graceful one as a long action, and the early release of the
 * leader key (9.3).
 */
#include "ha_int.h"

/* Steps of the long action. */
enum {
	STEP_STOP = 0,	 /* the stop job runs */
	STEP_WAIT = 1,	 /* key released: a successor may appear */
	STEP_FOLLOW = 2, /* started again as a standby */
	STEP_ARCHIVE = 3 /* demote-cluster: the last WAL file */
};

#define RELEASE_RETRY (100 * NS_PER_MS)
#define RELEASE_LIMIT (1500 * NS_PER_MS)
#define STOP_AGAIN NS_PER_SEC
#define STOP_AGAIN_LIMIT (10 * NS_PER_SEC)
#define SUCCESSOR_WAIT (2 * NS_PER_SEC)

static const char *
mode_name(enum demote_mode mode)
{
	switch (mode) {
	case DEMOTE_OFFLINE:
		return "offline";
	case DEMOTE_GRACEFUL:
		return "graceful";
	case DEMOTE_IMMEDIATE:
		return "immediate";
	case DEMOTE_IMMEDIATE_NOLOCK:
		return "immediate-nolock";
	case DEMOTE_CLUSTER:
		return "demote-cluster";
	}
	return "?";
}

static enum rc
not_early(struct ha *h, const char *why)
{
	ha_log(h, LOG_LVL_INFO, "leader.not-released",
	    "Leader key not released early: %s", why);
	return RC_OK;
}

/* Has a standby the shutdown checkpoint?  It may still be on its way. */
static enum rc
successor_there(struct ha *h, uint64_t lsn, bool *there)
{
	int64_t begin = h->p.now;

	for (;;) {
		TRY(failover_possible(h, lsn, false, there));
		if (*there || h->p.now - begin + RELEASE_RETRY > RELEASE_LIMIT)
			return RC_OK;
		TRY(ask_delay(h, RELEASE_RETRY));
	}
}

/*
 * Early release (9.3): the shutdown checkpoint is written, archiving still
 * goes on.  As soon as a standby has the checkpoint the key can go.  The
 * reference waits a second and asks once; here the question is repeated.
 */
enum rc
early_release(struct ha *h, uint64_t lsn, uint64_t prev, enum early *early)
{
	bool there, ok;

	*early = EARLY_NOBODY;
	if (lsn == 0 || h->s.view == NULL)
		return not_early(h, "the shutdown checkpoint is not known");
	TRY(successor_there(h, lsn, &there));
	if (!there)
		return not_early(h, "no member has the shutdown checkpoint");
	TRY(lock_delete(h, prev, &ok));
	*early = ok ? EARLY_RELEASED : EARLY_UNSURE;
	if (!ok) /* it is tried again after the stop */
		return not_early(h, "the store did not confirm it");
	ha_log(h, LOG_LVL_INFO, "leader.release", "Leader key released");
	return RC_OK;
}

/* ---- stop inside the cycle: offline, immediate, immediate-nolock ---- */

/* A fast stop may not take longer than the lease lasts. */
static int64_t
offline_timeout(const struct ha *h)
{
	int64_t timeout = stop_timeout_ns(h);
	int64_t left = h->s.trusted - h->p.now - ttl_ns(h) / 10;

	if (left < NS_PER_SEC)
		left = NS_PER_SEC;
	return timeout == 0 || left < timeout ? left : timeout;
}

/*
 * A primary that is to be stopped here and has no fence: resumed from pause
 * without the key, or its keeper was away when it was armed.  If the stop
 * fails, or never ends, nobody else would end its writing.  So the keeper is
 * armed first, with what is left of the lease, or with a short one when there
 * is none: SIGQUIT after ttl / 12 at the earliest, and time for what that
 * begins.  A stop that succeeds disarms it.  The answer is not awaited: the
 * stop may not wait for a keeper that is away.
 */
static void
fence_before_stop(struct ha *h)
{
	struct ha_fx *fx;
	int64_t end;

	if (!may_write(h) || h->s.opt.pause || !h->conf.fence ||
	    h->s.wd_fence_armed)
		return;
	end = trusted(h) ? h->s.trusted : h->p.now + ttl_ns(h) / 3;
	/* a lease that was confirmed, in pause for instance, ends no later */
	if (h->s.wd_granted > h->p.now && h->s.wd_granted < end)
		end = h->s.wd_granted;
	fx = ask_new(h, FX_WD_ARM, 2 * NS_PER_SEC);
	fx->arm.activate_device = 0; /* what it would do, the fence does */
	h->s.wd_maybe = true; /* until it has answered, and if it does not */
	watchdog_grant(h, end - ttl_ns(h));
}

static enum rc
demote_stop_once(struct ha *h, enum demote_mode mode, bool *stopped)
{
	enum ha_job_result result;
	struct ha_job job;

	job_init(&job, JOB_STOP);
	job.role = h->s.role;
	job.want_safepoint = true;
	job.stop_mode = mode == DEMOTE_OFFLINE ? STOP_FAST : STOP_IMMEDIATE;
	job.timeout_ns =
	    mode == DEMOTE_OFFLINE ? offline_timeout(h) : stop_timeout_ns(h);
	TRY(job_run(h, &job, &result));
	*stopped =
	    result == JOB_OK || result == JOB_NOTHING || BROKEN(h, STOP_FAILED);
	if (!*stopped)
		ha_log(h, LOG_LVL_ERROR, "demote.stop-failed",
		    "PostgreSQL could not be stopped");
	return RC_OK;
}

/*
 * What cannot be stopped goes on writing on a lease that runs out: it is tried
 * again at once, and not when the next loop is due.
 */
static enum rc
demote_stop(struct ha *h, enum demote_mode mode, bool *stopped)
{
	int64_t limit = h->p.now + STOP_AGAIN_LIMIT;

	fence_before_stop(h);
	for (;;) {
		TRY(demote_stop_once(h, mode, stopped));
		if (*stopped)
			return RC_OK;
		if (h->p.now + STOP_AGAIN > limit)
			break;
		TRY(ask_delay(h, STOP_AGAIN));
	}
	h->s.earlier = h->p.now + STOP_AGAIN;
	return RC_OK;
}

/* Step 9: start again as a standby of whoever leads now. */
static enum rc
demote_start(struct ha *h, enum demote_mode mode)
{
	const struct view_member *target = NULL;
	bool remote, needed = false, ok = false;
	struct ha_job job;

	if (mode != DEMOTE_OFFLINE)
		TRY(load_plain(h, &ok));
	if (ok)
		target = follow_target(h, &remote);
	TRY(sync_clear_ssn(h));
	TRY(ask_snapshot_again(h));
	if (mode != DEMOTE_OFFLINE && target != NULL)
		TRY(rewind_check(h, &needed));
	if (needed)
		return RC_OK; /* the next cycle recovers and rewinds */
	job_init(&job, JOB_FOLLOW);
	job_node(h, &job, target);
	return action_begin(h, ACTION_FOLLOW, &job, "starting after demotion");
}

/*
 * Stop first, then give up the key: a key that is released while this
 * PostgreSQL still runs could make two primaries.
 */
enum rc
demote(struct ha *h, enum demote_mode mode)
{
	bool stopped;

	ha_log(
	    h, LOG_LVL_INFO, "demote", "Demoting self (%s)", mode_name(mode));
	rewind_trigger(h);
	TRY(demote_stop(h, mode, &stopped));
	if (!stopped)
		return RC_OK;
	watchdog_disarm(h, 0);
	set_role(h, ROLE_DEMOTED, false);
	h->p.pg.running = false;
	h->p.pg.query_ok = false;
	if (mode == DEMOTE_IMMEDIATE)
		TRY(lock_release(h, 0));
	h->s.trusted = 0;
	return demote_start(h, mode);
}

/* ---- the long action: graceful, demote-cluster ---- */

enum rc
demote_begin(struct ha *h, enum demote_mode mode, const char *name)
{
	struct ha_job job;
	bool archiving;

	ha_log(
	    h, LOG_LVL_INFO, "demote", "Demoting self (%s)", mode_name(mode));
	if (BROKEN(h, RELEASE_FIRST))
		TRY(lock_release(h, 0));
	rewind_trigger(h);
	job_init(&job, JOB_STOP);
	job.role = h->s.role;
	job.stop_mode = STOP_FAST;
	job.checkpoint = mode == DEMOTE_GRACEFUL;
	job.want_safepoint = true;
	job.want_shutdown_lsn = true;
	/* with archiving all WAL has to get out, however long it takes */
	archiving = mode == DEMOTE_CLUSTER && h->p.pg.archiving;
	job.timeout_ns = archiving ? 0 : stop_timeout_ns(h);
	TRY(action_begin(h, ACTION_DEMOTE, &job, "%s", name));
	h->s.action.mode = mode;
	h->s.action.archiving = archiving;
	return RC_OK;
}

/* A release whose answer was lost has ended the trust, not the wish. */
static enum rc
demote_release(struct ha *h, uint64_t lsn, uint64_t prev)
{
	struct action *a = &h->s.action;

	if (!trusted(h) && a->early != EARLY_UNSURE) {
		a->early = EARLY_NOBODY;
		return not_early(h, "the lease is over");
	}
	TRY(early_release(h, lsn, prev, &a->early));
	if (a->early == EARLY_RELEASED)
		set_role(h, ROLE_DEMOTED, false);
	return RC_OK;
}

static enum rc
demote_progress(struct ha *h, const struct ha_ev *ev)
{
	struct action *a = &h->s.action;

	if (ev->progress == PROGRESS_SAFEPOINT)
		watchdog_disarm(h, 0);
	if (ev->progress != PROGRESS_SHUT_DOWN || a->early != EARLY_UNTRIED)
		return RC_OK;
	/* with archiving the node keeps its key: it has to archive */
	if (a->archiving)
		return RC_OK;
	return demote_release(
	    h, ev->lsn, a->mode == DEMOTE_CLUSTER ? ev->lsn : ev->prev_lsn);
}

static enum rc
demote_follow(struct ha *h)
{
	const struct view_member *target = NULL;
	bool remote, ok, needed = false;
	struct ha_job job;

	TRY(load_plain(h, &ok));
	if (ok)
		target = follow_target(h, &remote);
	TRY(sync_clear_ssn(h));
	TRY(ask_snapshot_again(h));
	if (target != NULL)
		TRY(rewind_check(h, &needed));
	if (needed) {
		action_end(h, true);
		return RC_OK;
	}
	job_init(&job, JOB_FOLLOW);
	job_node(h, &job, target);
	if (h->s.action.mode == DEMOTE_CLUSTER && has_lock(h) &&
	    h->s.action.early != EARLY_RELEASED)
		job.role = ROLE_STANDBY_LEADER;
	h->s.action.role = job.role;
	h->s.action.step = STEP_FOLLOW;
	h->s.action.delayed = false;
	h->s.action.job = job_start(h, &job);
	return RC_OK;
}

/* The successor ends the wait early (demote_look). */
static void
demote_wait(struct ha *h)
{
	action_delay(h, SUCCESSOR_WAIT);
	h->s.action.step = STEP_WAIT;
}

static void
no_archive(struct ha *h)
{
	ha_log(h, LOG_LVL_INFO, "demote.no-archive",
	    "Not archiving latest checkpoint WAL file. "
	    "Archiving is not configured.");
}

/*
 * The cluster is demoted and the key kept: what the standbys have not got of
 * the last WAL goes to the archive, where the new primary's side finds it.
 */
static enum rc
demote_cluster_stopped(struct ha *h)
{
	struct ha_job job;
	bool kept = false;
	enum rc rc;

	if (has_lock(h)) {
		rc = lock_update(h, false, &kept);
		if (rc == RC_PENDING)
			return rc;
		kept = kept && rc == RC_OK; /* else the cycles try again */
	}
	if (!kept)
		h->s.trusted = 0;
	if (!h->s.action.archiving) {
		no_archive(h);
		return demote_follow(h);
	}
	job_init(&job, JOB_ARCHIVE_CHECKPOINT);
	h->s.action.step = STEP_ARCHIVE;
	h->s.action.job = job_start(h, &job);
	return RC_OK;
}

/*
 * A postmaster without anything to archive ends a few milliseconds after its
 * shutdown checkpoint, which may be too quick to be seen in between.  Whether
 * a standby has that checkpoint must not depend on it: without the hook the
 * question is put after the stop.
 */
static enum rc
demote_cluster_release(struct ha *h)
{
	struct action *a = &h->s.action;
	struct ha_control control;

	if (a->archiving ||
	    (a->early != EARLY_UNTRIED && a->early != EARLY_UNSURE) ||
	    BROKEN(h, HOOK_ONLY))
		return RC_OK;
	TRY(ask_control(h, 0, &control));
	if (!control.ok || control.state != CONTROL_SHUT_DOWN)
		return not_early(h, "the server was not shut down cleanly");
	return demote_release(
	    h, control.checkpoint_lsn, control.checkpoint_lsn);
}

static enum rc
demote_release_late(struct ha *h)
{
	struct ha_control control;
	bool ok;

	TRY(ask_control(h, 0, &control));
	TRY(lock_delete(h,
	    !control.ok		      ? 0 :
		control.prev_lsn != 0 ? control.prev_lsn :
					control.checkpoint_lsn,
	    &ok));
	if (ok)
		ha_log(
		    h, LOG_LVL_INFO, "leader.release", "Leader key released");
	h->s.action.early = EARLY_RELEASED;
	return RC_OK;
}

static enum rc
demote_stopped(struct ha *h, const struct ha_ev *ev)
{
	struct action *a = &h->s.action;

	if (ev->result != JOB_OK && ev->result != JOB_NOTHING) {
		ha_log(h, LOG_LVL_ERROR, "demote.stop-failed",
		    "PostgreSQL could not be stopped");
		action_end(h, true);
		return RC_OK;
	}
	watchdog_disarm(h, 0);
	set_role(h, ROLE_DEMOTED, false);
	if (a->mode == DEMOTE_CLUSTER)
		TRY(demote_cluster_release(h));
	else if (a->early != EARLY_RELEASED)
		TRY(demote_release_late(h));
	if (a->early != EARLY_RELEASED)
		return demote_cluster_stopped(h);
	h->s.trusted = 0;
	if (a->mode == DEMOTE_CLUSTER) /* released early: nothing archives */
		no_archive(h);
	publish_member(h);
	demote_wait(h);
	return RC_OK;
}

enum rc
demote_event(struct ha *h, const struct ha_ev *ev)
{
	if (h->s.action.step == STEP_WAIT)
		return ev->type == EV_DELAY ? demote_follow(h) : RC_OK;
	if (ev->type == EV_JOB_PROGRESS)
		return h->s.action.step == STEP_STOP ? demote_progress(h, ev) :
						       RC_OK;
	if (ev->type != EV_JOB_DONE)
		return RC_OK;
	if (h->s.action.step == STEP_STOP)
		return demote_stopped(h, ev);
	/* archived or not: the standbys stream what they lack */
	if (h->s.action.step == STEP_ARCHIVE)
		return demote_follow(h);
	if (ev->result == JOB_OK || ev->result == JOB_NOTHING)
		set_role_standby(h, h->s.action.role);
	action_end(h, true);
	return RC_OK;
}

/* Busy cycle: the successor is there, so follow it now (0 s delay). */
void
demote_look(struct ha *h)
{
	if (h->s.action.kind != ACTION_DEMOTE ||
	    h->s.action.step != STEP_WAIT || unlocked(h) || has_lock(h))
		return;
	action_delay(h, 0);
}
