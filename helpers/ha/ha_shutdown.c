/*
 * ha_shutdown.c: the end of the daemon (spec/ha.md 2.5): cancel the action,
 * stop PostgreSQL, hand the key over as early as is safe, publish, exit.
 */
#include "ha_int.h"

/* The end is a decision like any other: the journal has it. */
void
run_exit(struct ha *h)
{
	(void)say(h, "exit", "exiting with code %d", h->s.exit_code);
	journal_exit(h);
	journal_decision(h);
	fx_new(h, FX_EXIT)->code = h->s.exit_code;
}

static enum rc
leave(struct ha *h)
{
	fx_new(h, FX_PUBLISH);
	run_exit(h);
	return RC_OK;
}

/* The hook at "shut down" while the postmaster still archives. */
static enum rc
shut_down_seen(struct ha *h, const struct ha_ev *ev, enum early *early)
{
	enum outcome outcome;
	struct ha_fx *fx;

	if (!trusted(h))
		return RC_OK;
	TRY(early_release(h, ev->lsn, ev->prev_lsn, early));
	if (*early != EARLY_NOBODY || ev->prev_lsn == 0)
		return RC_OK;
	fx = dcs_new(h, OP_SET_STATUS);
	fx->dcs.u.status.optime = ev->prev_lsn;
	return dcs_wait(h, fx->id, &outcome, NULL);
}

static enum rc
stop_postgres(struct ha *h, bool *stopped, enum early *early)
{
	const struct ha_ev *ev;
	struct ha_job job;
	uint64_t id;

	job_init(&job, JOB_STOP);
	job.role = h->s.role;
	job.stop_mode = STOP_FAST;
	job.timeout_ns = stop_timeout_ns(h);
	job.want_safepoint = true;
	job.want_shutdown_lsn = trusted(h);
	id = job_start(h, &job);
	for (;;) {
		TRY(await(h, id, &ev));
		if (ev->type == EV_JOB_DONE)
			break;
		if (ev->progress == PROGRESS_SAFEPOINT)
			watchdog_disarm(h, 3);
		if (ev->progress == PROGRESS_SHUT_DOWN &&
		    *early == EARLY_UNTRIED)
			TRY(shut_down_seen(h, ev, early));
	}
	*stopped = ev->result == JOB_OK || ev->result == JOB_NOTHING;
	return RC_OK;
}

/*
 * Also where the lock is not trusted any more, because the store failed, and
 * the key may be ours still: the server is stopped (23.1, 4), the store
 * refuses who is not the owner, and others need not wait for the rest of ttl.
 */
static enum rc
release_after_stop(struct ha *h, enum early early)
{
	struct ha_control control;
	uint64_t lsn = 0;
	bool ok;

	if ((!trusted(h) && h->s.may_own <= h->p.now && !h->s.lock_unknown &&
		early != EARLY_UNSURE) ||
	    BROKEN(h, SHUTDOWN_KEY))
		return RC_OK;
	TRY(ask_control(h, 0, &control));
	if (control.ok && control.state == CONTROL_SHUT_DOWN)
		lsn = control.prev_lsn != 0 ? control.prev_lsn :
					      control.checkpoint_lsn;
	return lock_delete(h, lsn, &ok);
}

/*
 * A server that was running a moment ago is stopped without a look at it: a
 * hanging query must not hold up the stop.
 */
static enum rc
must_stop(struct ha *h, bool *yes)
{
	*yes = h->s.pg_state == STATE_RUNNING;
	if (*yes)
		return RC_OK;
	TRY(ask_snapshot(h));
	*yes = h->p.pg.running;
	return RC_OK;
}

/* 13.8: commits must not hang on this standby.  The tags stay. */
static enum rc
leave_sync_set(struct ha *h)
{
	int64_t limit = h->p.now + 2 * loop_ns(h);
	bool begun, left;

	if (h->s.opt.sync_mode == SYNC_OFF || trusted(h))
		return RC_OK;
	TRY(ask_snapshot(h));
	TRY(sync_leave(h, &begun));
	while (begun) {
		TRY(sync_left(h, &left));
		if (left || h->p.now >= limit)
			break;
		TRY(ask_delay(h, SYNC_LEAVE_LOOK));
	}
	return RC_OK;
}

static enum rc
stop_and_publish(struct ha *h)
{
	enum early early = EARLY_UNTRIED;
	enum outcome outcome;
	bool stop, stopped;

	TRY(must_stop(h, &stop));
	if (stop) {
		TRY(leave_sync_set(h));
		TRY(stop_postgres(h, &stopped, &early));
		if (!stopped) {
			ha_log(h, LOG_LVL_ERROR, "shutdown.failed",
			    "PostgreSQL "
			    "shutdown failed, leader key not removed.%s",
			    h->s.wd_fence_armed || h->s.wd_device_running ?
				" Leaving watchdog running." :
				"");
			return leave(h);
		}
		h->p.pg.running = false;
		h->p.pg.query_ok = false;
		set_state(h, STATE_STOPPED);
	}
	watchdog_disarm(h, 3);
	if (early != EARLY_RELEASED)
		TRY(release_after_stop(h, early));
	TRY(publish_member_wait(h, &outcome));
	return leave(h);
}

enum rc
run_shutdown(struct ha *h)
{
	/* to be read while the stop takes its time */
	(void)say(h, "shutdown", "shutting down");
	journal_decision(h);
	if (busy(h)) {
		ha_log(h, LOG_LVL_WARNING, "shutdown.cancel",
		    "Cancelling long running task %s", h->s.action.name);
		TRY(action_cancel(h, 10 * NS_PER_SEC));
	}
	if (h->s.opt.pause) {
		ha_log(h, LOG_LVL_INFO, "shutdown.paused",
		    "Leader key is not "
		    "deleted and Postgresql is not stopped due paused state");
		watchdog_disarm(h, 1);
		return leave(h);
	}
	if (h->s.join_aborted)
		return leave(h);
	if (h->s.bootstrapping)
		TRY(bootstrap_undo(h));
	return stop_and_publish(h);
}
