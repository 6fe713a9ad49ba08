/*
 * ha_recover.c: PostgreSQL is not running, is starting, or is in the hands of
 * a long action; the store cannot be reached (spec/ha.md 8).
 */
#include "ha_int.h"

/* ---- recovery (8.1) ---- */

static bool
may_start_as_primary(const struct ha *h, const struct ha_control *c)
{
	if (h->s.role != ROLE_PRIMARY || h->p.pg.state != STATE_CRASHED ||
	    h->p.pg.has_recovery_files || !c->ok)
		return false;
	switch (c->state) {
	case CONTROL_IN_PRODUCTION:
	case CONTROL_IN_CRASH_RECOVERY:
	case CONTROL_SHUTTING_DOWN:
	case CONTROL_SHUT_DOWN:
		return true;
	default:
		return false;
	}
}

/* Step 1: refresh; with primary_start_timeout 0 hand over at once. */
static enum rc
recover_with_lock(struct ha *h, int64_t *timeout)
{
	bool ok, possible;

	*timeout = 0;
	if (!has_lock(h))
		return RC_OK;
	TRY(lock_update(h, false, &ok));
	if (!ok)
		return RC_OK;
	*timeout = h->s.opt.primary_start_timeout * NS_PER_SEC;
	if (h->s.opt.primary_start_timeout > 0)
		return RC_OK;
	TRY(failover_possible(h, 0, false, &possible));
	if (!possible)
		return RC_OK;
	watchdog_disarm(h, 0);
	ha_log(h, LOG_LVL_INFO, "recover.failover",
	    "Primary crashed. Failing over.");
	TRY(demote(h, DEMOTE_IMMEDIATE));
	return say(h, "recover.failover",
	    "stopped PostgreSQL to fail over after a crash");
}

static enum rc
recover_crash(struct ha *h, const struct ha_control *c)
{
	if (!c->ok ||
	    (c->state != CONTROL_IN_PRODUCTION &&
		c->state != CONTROL_SHUTTING_DOWN &&
		c->state != CONTROL_IN_CRASH_RECOVERY))
		return RC_OK;
	if (h->p.pg.server_version >= 150000 && h->p.pg.has_backup_label) {
		ha_log(h, LOG_LVL_INFO, "recover.backup-label",
		    "Skipping "
		    "single-user crash recovery because backup_label exists; "
		    "PostgreSQL will handle it during normal startup");
		return RC_OK;
	}
	return crash_recovery(h);
}

static enum rc
start_standby(struct ha *h, const struct view_member *target, enum pg_role role,
    int64_t timeout)
{
	struct ha_job job;

	job_init(&job, JOB_FOLLOW);
	job_node(h, &job, target);
	job.role = role;
	job.timeout_ns = timeout;
	TRY(action_begin(h, ACTION_FOLLOW, &job, "restarting after failure"));
	h->s.recovering = true;
	return RC_OK;
}

/* Step 6: start read-only; whoever wins the lock promotes later. */
static enum rc
recover_as_standby(struct ha *h, int64_t timeout)
{
	const struct view_member *target;
	bool remote, ok;

	TRY(load_plain(h, &ok));
	if (!ok)
		return RC_DCS;
	if (has_lock(h) && !h->s.opt.standby_cluster) {
		h->s.rewind = REWIND_INITIAL;
		TRY(start_standby(h, NULL, ROLE_REPLICA, timeout));
		return say(h, "recover.read-only",
		    "starting as readonly "
		    "because i had the session lock");
	}
	if (!rewind_executed(h))
		rewind_trigger(h);
	TRY(rewind_step(h));
	target = follow_target(h, &remote);
	if (has_lock(h)) {
		TRY(start_standby(h, target, ROLE_STANDBY_LEADER, timeout));
		return say(h, "recover.standby-leader",
		    "starting as a "
		    "standby leader because i had the session lock");
	}
	if (h->s.opt.standby_cluster && unlocked(h)) {
		TRY(start_standby(h, target, ROLE_REPLICA, timeout));
		return say(h, "recover.remote",
		    "trying to follow a remote "
		    "member because standby cluster is unhealthy");
	}
	TRY(sync_clear_ssn(h));
	TRY(start_standby(h, target, ROLE_REPLICA, timeout));
	return say(h, "recover.standby", "starting as a secondary");
}

enum rc
recover(struct ha *h)
{
	struct ha_control control;
	struct ha_job job;
	int64_t timeout;

	TRY(recover_with_lock(h, &timeout));
	TRY(ask_control(h, 0, &control));
	if (((timeout > 0 && trusted(h)) || BROKEN(h, START_PRIMARY)) &&
	    may_start_as_primary(h, &control)) {
		job_init(&job, JOB_START_PRIMARY);
		job.role = ROLE_PRIMARY;
		job.timeout_ns = timeout;
		TRY(action_begin(h, ACTION_START_PRIMARY, &job,
		    "starting primary after failure"));
		h->s.recovering = true;
		return say(h, "recover.start-primary", "%s", h->s.action.name);
	}
	watchdog_disarm(h, 0);
	TRY(recover_crash(h, &control));
	return recover_as_standby(h, timeout);
}

/* 8.2: once per outage. */
enum rc
crash_recovery(struct ha *h)
{
	struct ha_job job;

	if (h->s.crash_recovery_at != 0 ||
	    !(unlocked(h) || h->p.pg.pg_rewind_possible))
		return RC_OK;
	h->s.crash_recovery_at = h->p.now;
	job_init(&job, JOB_CRASH_RECOVERY);
	TRY(action_begin(h, ACTION_CRASH_RECOVERY, &job,
	    "doing crash recovery in a single user mode"));
	return say(h, "recover.crash-recovery", "%s", h->s.action.name);
}

/* ---- startup check (8.5) ---- */

/* Step 1: has it come up? */
static void
startup_state(struct ha *h)
{
	struct ha_pg *pg = &h->p.pg;
	struct ha_fx *fx;

	/* what could not be stopped, and answers, runs as before */
	if (pg->state == STATE_STOP_FAILED && pg->running && pg->query_ok &&
	    !BROKEN(h, STATE_STUCK))
		set_state(h, STATE_RUNNING);
	if (!starting(h) || pg->isready == ISREADY_REJECTING)
		return;
	if (pg->isready == ISREADY_NO_RESPONSE) {
		if (!pg->running)
			set_state(h, STATE_START_FAILED);
		return;
	}
	if (pg->isready == ISREADY_UNKNOWN && !pg->running) {
		set_state(h, STATE_START_FAILED);
		return;
	}
	set_state(h, STATE_RUNNING);
	if (h->s.bootstrapping)
		return;
	fx = fx_new(h, FX_CALLBACK);
	fx->callback = CALLBACK_ON_START;
	fx->role = h->s.role;
	h->s.callbacks_seen = true;
}

static enum rc
startup_timed_out(struct ha *h)
{
	bool possible;

	TRY(failover_possible(h, 0, false, &possible));
	if (!possible)
		return say(h, "startup.timeout-wait",
		    "primary start has "
		    "timed out, but continuing to wait because failover is "
		    "not possible");
	ha_log(h, LOG_LVL_INFO, "startup.timeout",
	    "Demoting self because primary startup is taking too long");
	TRY(demote(h, DEMOTE_IMMEDIATE));
	return say(h, "startup.timeout",
	    "stopped PostgreSQL because of startup timeout");
}

static enum rc
startup_with_lock(struct ha *h)
{
	int64_t limit, left;
	bool ok;

	TRY(lock_update(h, false, &ok));
	if (!ok) {
		ha_log(h, LOG_LVL_INFO, "startup.lock-lost",
		    "Lost lock while starting up. Demoting self.");
		TRY(demote(h, DEMOTE_IMMEDIATE_NOLOCK));
		return say(h, "startup.lock-lost",
		    "stopped PostgreSQL while "
		    "starting up because leader key was lost");
	}
	limit = h->s.start_timeout != 0 ?
	    h->s.start_timeout :
	    h->s.opt.primary_start_timeout * NS_PER_SEC;
	left = h->p.pg.state_since + limit - h->p.now;
	if (left <= 0)
		return startup_timed_out(h);
	TRY(manual_lead(h));
	return say(h, "startup.wait",
	    "PostgreSQL is still starting up, "
	    "%lld seconds until timeout",
	    (long long)(left / NS_PER_SEC));
}

enum rc
startup_check(struct ha *h)
{
	startup_state(h);
	if (!starting(h) || h->s.opt.pause) {
		h->s.start_timeout = 0;
		if (h->s.opt.pause) {
			enum pg_state now =
			    h->p.pg.running ? STATE_RUNNING : STATE_STOPPED;

			if (h->p.pg.state != now)
				set_state(h, now);
		}
		return RC_OK;
	}
	if (!has_lock(h)) {
		ha_log(h, LOG_LVL_INFO, "startup.standby",
		    "Still starting up as a standby.");
		return RC_OK;
	}
	return startup_with_lock(h);
}

/* ---- a long action is running (8.6) ---- */

/*
 * A pause that began and ended while pre_promote runs has disarmed the
 * keeper: no promotion without it (23.1, 13).
 */
static enum rc
busy_promote_armed(struct ha *h)
{
	bool ok;

	if (h->s.action.kind != ACTION_PROMOTE ||
	    h->s.action.pre_promote_done || h->s.opt.pause)
		return RC_OK;
	TRY(watchdog_activate(h, &ok));
	if (ok)
		return RC_OK;
	TRY(action_cancel(h, NS_PER_SEC));
	if (h->s.role == ROLE_PROMOTED || h->s.role == ROLE_PRIMARY)
		TRY(demote(h, DEMOTE_IMMEDIATE));
	else
		TRY(lock_release(h, 0));
	return say(h, "leader.watchdog.release",
	    "Not promoting self because watchdog could not be activated");
}

/* Rows 1, 2 */
static enum rc
busy_with_lock(struct ha *h)
{
	int64_t limit = h->s.opt.primary_start_timeout * NS_PER_SEC;
	bool ok, possible;

	if (!has_lock(h))
		return RC_OK;
	if (h->s.action.kind == ACTION_DEMOTE &&
	    h->s.action.early == EARLY_RELEASED) {
		/* given up, but the store did not get it: never refresh it */
		TRY(lock_delete(h, 0, &ok));
		return RC_OK;
	}
	TRY(lock_update(h, false, &ok));
	if (!ok)
		return RC_OK;
	if (h->s.action.kind == ACTION_CRASH_RECOVERY &&
	    h->p.now - h->s.crash_recovery_at > limit) {
		TRY(failover_possible(h, 0, false, &possible));
		if (possible) {
			ha_log(h, LOG_LVL_INFO, "busy.crash-recovery",
			    "Demoting self because crash recovery is taking "
			    "too long");
			TRY(action_cancel(h, NS_PER_SEC));
			TRY(demote(h, DEMOTE_IMMEDIATE));
			return say(h, "busy.crash-recovery",
			    "terminated "
			    "crash recovery because of startup timeout");
		}
	}
	demote_look(h);
	TRY(busy_promote_armed(h));
	return say(h, "busy.lock-updated", "updated leader lock during %s",
	    h->s.action.name);
}

/* Row 3: not promoted yet, so nothing has to be undone */
static enum rc
busy_promote(struct ha *h)
{
	if (h->s.action.kind != ACTION_PROMOTE || h->s.action.pre_promote_done)
		return RC_OK;
	TRY(action_cancel(h, NS_PER_SEC));
	if (h->s.role == ROLE_PROMOTED || h->s.role == ROLE_PRIMARY) {
		/* the order had gone out before it could be cancelled */
		TRY(demote(h, DEMOTE_IMMEDIATE_NOLOCK));
	}
	return say(h, "busy.lost-before-promote", "lost leader before promote");
}

/* Row 4; a node whose promotion was ordered is one of these */
static enum rc
busy_primary(struct ha *h)
{
	char name[sizeof(h->s.action.name)];

	if (h->s.role != ROLE_PRIMARY && h->s.role != ROLE_PROMOTED)
		return RC_OK;
	if (h->s.action.kind == ACTION_DEMOTE)
		return RC_OK; /* it is being stopped as it is */
	memcpy(name, h->s.action.name, sizeof(name));
	ha_log(
	    h, LOG_LVL_INFO, "busy.demote", "Demoting primary during %s", name);
	TRY(action_cancel(h, NS_PER_SEC));
	TRY(demote(h, DEMOTE_IMMEDIATE_NOLOCK));
	return say(h, "busy.demote", "lost leader lock during %s", name);
}

enum rc
long_action(struct ha *h)
{
	TRY(busy_with_lock(h));
	if (!h->s.bootstrapping && !h->s.opt.pause) {
		TRY(busy_promote(h));
		TRY(busy_primary(h));
	}
	demote_look(h);
	if (unlocked(h))
		ha_log(h, LOG_LVL_INFO, "busy.no-race",
		    "not healthy enough for leader race");
	return say(h, "busy.in-progress", "%s in progress", h->s.action.name);
}

/* ---- the store cannot be reached (8.7) ---- */

static enum rc
dcs_error_primary(struct ha *h)
{
	bool yes = false;

	if (h->s.opt.failsafe)
		TRY(failsafe_check(h, &yes));
	if (yes) {
		/* a keeper that died meanwhile, or a server that was restarted:
		 * without the store no cycle comes to enforce_leader() */
		if (h->conf.fence && !h->s.wd_fence_armed)
			arm_new_postmaster(h);
		failsafe_patch(h, false);
		sync_slots(h);
		return say(h, "dcs.failsafe",
		    "continue to run as a leader "
		    "because failsafe mode is enabled and all members are "
		    "accessible");
	}
	if (BROKEN(h, NO_DEMOTE_ERROR))
		return say(h, "dcs.inaccessible", "DCS is not accessible");
	failsafe_clear(h);
	ha_log(h, LOG_LVL_INFO, "dcs.demote",
	    "demoting self because DCS is "
	    "not accessible and I was a leader");
	if (busy(h) && h->s.action.kind != ACTION_DEMOTE)
		TRY(action_cancel(h, NS_PER_SEC));
	if (!busy(h))
		TRY(demote(h, DEMOTE_OFFLINE));
	return say(h, "dcs.demote",
	    "demoted self because DCS is not "
	    "accessible and I was a leader");
}

/*
 * A promotion that waits for pre_promote must not outlive the lease.  A start
 * as primary must not either: what it starts could accept commits.
 */
static enum rc
dcs_error_becoming_primary(struct ha *h)
{
	if (h->s.action.kind != ACTION_PROMOTE &&
	    h->s.action.kind != ACTION_START_PRIMARY &&
	    !(h->s.action.kind == ACTION_RESTART && h->s.role == ROLE_PRIMARY))
		return RC_OK;
	if (h->s.opt.pause)
		return RC_OK;
	TRY(action_cancel(h, NS_PER_SEC));
	TRY(ask_snapshot_again(h));
	if (!h->p.pg.running && h->s.role == ROLE_PRIMARY)
		set_state(h, STATE_CRASHED); /* the next recovery may retry */
	return RC_OK;
}

enum rc
dcs_error(struct ha *h)
{
	TRY(ask_snapshot(h));
	if (h->s.opt.failsafe && h->p.pg.query_ok && h->p.pg.wal_position != 0)
		h->s.last_wal = h->p.pg.wal_position;
	TRY(dcs_error_becoming_primary(h));
	/*
	 * A cluster that is being bootstrapped has no lease to lose and no
	 * rival: as a standby it would wait for the end of recovery for ever.
	 */
	if ((h->s.opt.pause && !BROKEN(h, PAUSE_DEMOTE)) || !h->p.pg.running ||
	    h->s.bootstrapping)
		return say(h, "dcs.inaccessible", "DCS is not accessible");
	if (is_primary(h) || h->s.role == ROLE_PROMOTED)
		return dcs_error_primary(h);
	if (h->s.opt.failsafe) {
		failsafe_patch(h, false);
		sync_slots(h);
	}
	return say(h, "dcs.inaccessible", "DCS is not accessible");
}
