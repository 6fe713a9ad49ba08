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

/*
 * Early release (9.3): the shutdown checkpoint is written, archiving still
 * goes on.  As soon as a standby has the checkpoint the key can go.  The
 * reference waits a second and asks once; here the question is repeated.
 */
enum rc
early_release(struct ha *h, uint64_t lsn, uint64_t prev, bool *released)
{
	int64_t begin = h->p.now;
	bool possible, ok;

	*released = false;
	if (lsn == 0 || h->s.view == NULL)
		return RC_OK;
	for (;;) {
		TRY(failover_possible(h, lsn, false, &possible));
		if (possible)
			break;
		if (h->p.now - begin + RELEASE_RETRY > RELEASE_LIMIT)
			return RC_OK;
		TRY(ask_delay(h, RELEASE_RETRY));
	}
	TRY(lock_delete(h, prev, &ok));
	if (ok)
		ha_log(
		    h, LOG_LVL_INFO, "leader.release", "Leader key released");
	*released = ok; /* else it is tried again after the stop */
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

static enum rc
demote_stop(struct ha *h, enum demote_mode mode, bool *stopped)
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
	*stopped = result == JOB_OK || result == JOB_NOTHING;
	if (!*stopped)
		ha_log(h, LOG_LVL_ERROR, "demote.stop-failed",
		    "PostgreSQL could not be stopped");
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

static enum rc
demote_progress(struct ha *h, const struct ha_ev *ev)
{
	struct action *a = &h->s.action;
	uint64_t prev = ev->prev_lsn;

	if (ev->progress == PROGRESS_SAFEPOINT)
		watchdog_disarm(h, 0);
	/* with archiving the node keeps its key: it has to archive */
	if (ev->progress != PROGRESS_SHUT_DOWN || a->early_tried ||
	    a->archiving || !trusted(h))
		return RC_OK;
	a->early_tried = true;
	if (a->mode == DEMOTE_CLUSTER)
		prev = ev->lsn;
	TRY(early_release(h, ev->lsn, prev, &a->released));
	if (a->released)
		set_role(h, ROLE_DEMOTED, false);
	return RC_OK;
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
	    !h->s.action.released)
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

static enum rc
demote_stopped(struct ha *h, const struct ha_ev *ev)
{
	struct action *a = &h->s.action;
	struct ha_control control;
	bool ok;

	if (ev->result != JOB_OK && ev->result != JOB_NOTHING) {
		ha_log(h, LOG_LVL_ERROR, "demote.stop-failed",
		    "PostgreSQL could not be stopped");
		action_end(h, true);
		return RC_OK;
	}
	watchdog_disarm(h, 0);
	set_role(h, ROLE_DEMOTED, false);
	if (a->mode == DEMOTE_CLUSTER && !a->released)
		return demote_cluster_stopped(h);
	if (!a->released) {
		TRY(ask_control(h, 0, &control));
		TRY(lock_delete(h,
		    !control.ok		      ? 0 :
			control.prev_lsn != 0 ? control.prev_lsn :
						control.checkpoint_lsn,
		    &ok));
		if (ok)
			ha_log(h, LOG_LVL_INFO, "leader.release",
			    "Leader key released");
		a->released = true;
	}
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
