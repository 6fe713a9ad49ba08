/*
 * ha_action.c: the one long action (spec/ha.md 21): claiming it, what each of
 * its job's events means, cancelling it.  Each kind is a small step machine;
 * demotion and cloning have theirs in ha_demote.c and ha_bootstrap.c.
 */
#include <stdarg.h>

#include "ha_int.h"

static enum rc
claim(struct ha *h, enum action_kind kind, const char *fmt, va_list ap)
{
	struct action *a = &h->s.action;
	char name[sizeof(a->name)];

	(void)vsnprintf(name, sizeof(name), fmt, ap);
	if (busy(h))
		return say(h, "busy.refused",
		    "Failed to run %s, %s is already in progress", name,
		    a->name);
	memset(a, 0, sizeof(*a));
	a->kind = kind;
	memcpy(a->name, name, sizeof(a->name));
	a->started = h->p.now;
	return RC_OK;
}

enum rc
action_claim(struct ha *h, enum action_kind kind, const char *fmt, ...)
{
	va_list ap;
	enum rc rc;

	va_start(ap, fmt);
	rc = claim(h, kind, fmt, ap);
	va_end(ap);
	return rc;
}

enum rc
action_begin(struct ha *h, enum action_kind kind, const struct ha_job *job,
    const char *fmt, ...)
{
	struct action *a = &h->s.action;
	va_list ap;
	enum rc rc;

	va_start(ap, fmt);
	rc = claim(h, kind, fmt, ap);
	va_end(ap);
	if (rc != RC_OK)
		return rc;
	a->role = job->role;
	a->job_timeout = job->timeout_ns;
	a->job = job_start(h, job);
	return RC_OK;
}

/* Not exclusive: cycles go on meanwhile. */
void
action_delay(struct ha *h, int64_t ns)
{
	struct ha_fx *fx = ask_new(h, FX_DELAY, 0);

	fx->at = h->p.now + ns;
	fx->deadline = fx->at;
	h->s.action.delayed = true;
	h->s.action.job = fx->id;
}

/*
 * An action that ends at once and is begun again at once (a server that
 * cannot start) must not turn: after a few rounds the timer decides.
 */
static bool
too_quick(struct ha *h)
{
	if (h->p.now - h->s.last_end > NS_PER_SEC)
		h->s.quick_ends = 0;
	h->s.last_end = h->p.now;
	return ++h->s.quick_ends > 8;
}

void
action_end(struct ha *h, bool wake)
{
	struct action *a = &h->s.action;

	if (a->sync_counted)
		sync_stay(h);
	if (a->request != 0)
		reply(h, a->request, 503, "postgres is still starting");
	memset(a, 0, sizeof(*a));
	if (!too_quick(h) && wake)
		h->s.wake = true;
	fx_new(h, FX_PUBLISH);
}

static void
cancelled_promotion(struct ha *h, const struct ha_ev *ev)
{
	if (h->s.action.kind == ACTION_PROMOTE && ev->result == JOB_CANCELLED)
		ha_log(h, LOG_LVL_INFO, "promote.cancelled",
		    "PostgreSQL promote cancelled.");
}

/* A new postmaster needs the fence before its first client (design 5). */
void
arm_new_postmaster(struct ha *h)
{
	struct ha_fx *fx;

	h->s.wd_fence_armed = false;
	if (h->s.opt.pause || !trusted(h) ||
	    (!h->conf.fence && h->conf.watchdog_mode == WATCHDOG_OFF))
		return;
	fx = ask_new(h, FX_WD_ARM, 2 * NS_PER_SEC);
	fx->arm.activate_device = h->conf.watchdog_mode != WATCHDOG_OFF;
	h->s.wd_maybe = true; /* until it has answered, and if it does not */
	watchdog_grant(h, h->s.trusted - ttl_ns(h));
}

/* It comes up as a primary that clients can write to. */
static bool
starts_primary(const struct state *s)
{
	return s->action.kind == ACTION_START_PRIMARY ||
	    (s->action.kind == ACTION_RESTART &&
		(s->role == ROLE_PRIMARY || s->role == ROLE_PROMOTED));
}

/*
 * The same while a run waits for the store, behind which the event itself has
 * to wait: a machine that freezes then must not thaw with clients on a lease
 * that is over.  The answer is of nobody's concern (id 0): the event, when its
 * turn comes, arms again and learns it.
 */
void
arm_at_once(struct ha *h, const struct ha_ev *ev)
{
	const struct state *s = &h->base;
	struct ha_fx *fx;

	if (h->run == RUN_NONE || ev->type != EV_JOB_PROGRESS ||
	    ev->progress != PROGRESS_SPAWNED || ev->id != s->action.job ||
	    ev->id == h->waiting || !starts_primary(s) || s->opt.pause ||
	    s->trusted <= h->now ||
	    (!h->conf.fence && h->conf.watchdog_mode == WATCHDOG_OFF))
		return;
	fx = fx_append(h, FX_WD_ARM);
	fx->deadline = h->now + 2 * NS_PER_SEC;
	fx->arm.activate_device = h->conf.watchdog_mode != WATCHDOG_OFF;
	fx = fx_append(h, FX_WD_GRANT);
	fx->grant.lease_end_ns = s->trusted;
	fx->grant.sent_ns = s->trusted - ttl_ns(h);
	fx->grant.ttl_ns = ttl_ns(h);
}

/*
 * What the keeper was armed for has ended.  A standby is armed again when it
 * is about to be promoted, not before.
 */
static void
new_postmaster(struct ha *h)
{
	if (!BROKEN(h, STALE_ARM))
		h->s.wd_fence_armed = false;
	if (starts_primary(&h->s))
		arm_new_postmaster(h);
	/* the order was to the one before: done, or to be given again */
	if (h->s.role == ROLE_PROMOTED)
		set_role(h, ROLE_REPLICA, false);
}

/*
 * Cancel and wait until it has ended (21.4).  A promotion that was ordered in
 * the meantime is seen, so that the caller can undo it.
 */
enum rc
action_cancel(struct ha *h, int64_t grace)
{
	struct action *a = &h->s.action;
	const struct ha_ev *ev;
	struct ha_fx *fx;

	if (!busy(h))
		return RC_OK;
	if (a->kind == ACTION_START_PRIMARY || a->kind == ACTION_FOLLOW)
		h->s.recovering = false;
	if (a->delayed) { /* nothing runs */
		action_end(h, false);
		return RC_OK;
	}
	fx = fx_new(h, FX_JOB_CANCEL);
	fx->cancel_id = a->job;
	fx->grace = grace;
	for (;;) {
		TRY(await(h, a->job, &ev));
		if (ev->type == EV_JOB_PROGRESS &&
		    ev->progress == PROGRESS_PROMOTED)
			set_role(h, ROLE_PROMOTED, true);
		/* this one may live on (failsafe) */
		if (ev->type == EV_JOB_PROGRESS &&
		    ev->progress == PROGRESS_SPAWNED)
			new_postmaster(h);
		if (ev->type != EV_JOB_PROGRESS)
			break;
	}
	cancelled_promotion(h, ev);
	action_end(h, false);
	return RC_OK;
}

/* ---- the kinds ---- */

static void
promote_progress(struct ha *h, const struct ha_ev *ev)
{
	struct action *a = &h->s.action;
	struct ha_fx *fx;

	switch (ev->progress) {
	case PROGRESS_PRE_PROMOTE_OK:
		h->s.promote_result = VERDICT_TRUE;
		if (!h->s.opt.pause && !trusted(h)) {
			/* the script outlived the lease: do not promote */
			fx = fx_new(h, FX_JOB_CANCEL);
			fx->cancel_id = a->job;
			fx->grace = NS_PER_SEC;
			return;
		}
		a->pre_promote_done = true;
		h->s.rewind = REWIND_INITIAL;
		break;
	case PROGRESS_PRE_PROMOTE_FAILED:
		h->s.promote_result = VERDICT_FALSE;
		/* whatever ends this term now */
		h->s.released_at = h->p.now;
		break;
	case PROGRESS_PROMOTED:
		a->pre_promote_done = true;
		h->s.rewind = REWIND_INITIAL;
		set_role(h, ROLE_PROMOTED, true);
		fx_new(h, FX_PUBLISH);
		break;
	default:
		break;
	}
}

static void
promote_done(struct ha *h, const struct ha_ev *ev)
{
	cancelled_promotion(h, ev);
	if (ev->result == JOB_OK) {
		h->s.rewind = REWIND_INITIAL;
		if (h->s.role != ROLE_PROMOTED)
			set_role(h, ROLE_PRIMARY, true);
		set_role(h, ROLE_PRIMARY, false);
	}
	action_end(h, ev->result != JOB_NOTHING);
}

/* A start or restart; the controller ran the callbacks. */
static void
start_done(struct ha *h, const struct ha_ev *ev)
{
	struct action *a = &h->s.action;
	bool up = ev->result == JOB_OK || ev->result == JOB_NOTHING;

	if (up) {
		h->s.callbacks_seen = true;
		h->s.initialized = true;
		if (a->kind == ACTION_FOLLOW)
			set_role_standby(h, a->role);
	}
	action_end(h, ev->result != JOB_NOTHING);
}

static void
restart_done(struct ha *h, const struct ha_ev *ev)
{
	struct action *a = &h->s.action;

	if (ev->result == JOB_OK)
		reply(h, a->request, 200, "restarted successfully");
	else if (ev->result == JOB_FAILED)
		reply(h, a->request, 503, "restart failed");
	else
		reply(h, a->request, 503, "postgres is still starting");
	a->request = 0;
	action_end(h, ev->result != JOB_NOTHING);
}

static void
rewind_done(struct ha *h, const struct ha_ev *ev)
{
	struct ha_job job;

	if (h->s.action.step > 0) {
		h->s.rewind = REWIND_INITIAL;
		action_end(h, true);
		return;
	}
	if (ev->result == JOB_OK)
		h->s.rewind = REWIND_SUCCESS;
	if (ev->result != JOB_FAILED) {
		action_end(h, ev->result == JOB_OK);
		return;
	}
	h->s.rewind = REWIND_FAILED;
	if (!h->conf.remove_data_on_rewind_failure &&
	    !h->conf.remove_data_on_diverged) {
		action_end(h, true);
		return;
	}
	ha_log(h, LOG_LVL_WARNING, "rewind.remove", "%s is set. removing...",
	    h->conf.remove_data_on_rewind_failure ?
		"remove_data_directory_on_rewind_failure" :
		"remove_data_directory_on_diverged_timelines");
	job_init(&job, JOB_REMOVE_DATA);
	h->s.action.step = 1;
	h->s.action.job = job_start(h, &job);
}

/* 18.3: stopped, now clone; from here it is a clone like any other. */
static enum rc
reinitialize_stopped(struct ha *h, const struct ha_ev *ev)
{
	struct action *a = &h->s.action;
	char what[NAME_SIZE * 2];
	struct ha_job job;
	bool ok;

	if (ev->result != JOB_OK && ev->result != JOB_NOTHING) {
		action_end(h, true);
		return RC_OK;
	}
	TRY(load_plain(h, &ok));
	if (!ok || unlocked(h) || has_lock(h)) {
		action_end(h, true);
		return RC_OK;
	}
	h->s.rewind = REWIND_INITIAL;
	job_init(&job, JOB_CLONE);
	clone_source(h, &job, what, sizeof(what));
	if (a->from_leader) {
		job_node(h, &job, leader_member(h));
		job.from_leader = true;
		(void)snprintf(
		    what, sizeof(what), "from leader '%s'", h->s.view->leader);
	}
	a->kind = ACTION_CLONE;
	a->step = 0;
	(void)text_set(a->source, sizeof(a->source), what);
	a->job = job_start(h, &job);
	return RC_OK;
}

/* The remote member's data are here: start following it. */
static void
standby_cloned(struct ha *h, const struct ha_ev *ev)
{
	struct ha_job job;

	if (h->s.action.step == 0 && ev->result == JOB_OK) {
		job_init(&job, JOB_FOLLOW);
		job_node(h, &job, remote_member(h));
		job.role = ROLE_STANDBY_LEADER;
		job.block_callbacks = true;
		h->s.action.step = 1;
		h->s.action.job = job_start(h, &job);
		return;
	}
	if (ev->result == JOB_OK || ev->result == JOB_NOTHING) {
		h->s.promote_result = VERDICT_TRUE;
		set_role(h, ROLE_STANDBY_LEADER, false);
	} else
		h->s.promote_result = VERDICT_FALSE;
	action_end(h, true);
}

static void
action_progress(struct ha *h, const struct ha_ev *ev)
{
	struct action *a = &h->s.action;

	if (a->kind == ACTION_PROMOTE) {
		promote_progress(h, ev);
		return;
	}
	if (ev->progress == PROGRESS_SAFEPOINT)
		watchdog_disarm(h, 0);
	if (ev->progress != PROGRESS_SPAWNED)
		return;
	a->spawned = true;
	new_postmaster(h);
	if (a->kind == ACTION_FOLLOW)
		set_role_standby(h, a->role);
}

static void
action_done(struct ha *h, const struct ha_ev *ev)
{
	switch (h->s.action.kind) {
	case ACTION_PROMOTE:
		promote_done(h, ev);
		return;
	case ACTION_START_PRIMARY:
	case ACTION_FOLLOW:
		start_done(h, ev);
		return;
	case ACTION_RESTART:
		restart_done(h, ev);
		return;
	case ACTION_REWIND:
		rewind_done(h, ev);
		return;
	case ACTION_BOOTSTRAP_STANDBY:
		standby_cloned(h, ev);
		return;
	case ACTION_POST_BOOTSTRAP:
		h->s.promote_result =
		    ev->result == JOB_OK ? VERDICT_TRUE : VERDICT_FALSE;
		break;
	default:
		break;
	}
	action_end(h, ev->result != JOB_NOTHING);
}

enum rc
action_event(struct ha *h, const struct ha_ev *ev)
{
	switch (h->s.action.kind) {
	case ACTION_NONE:
		return RC_OK;
	case ACTION_DEMOTE:
		return demote_event(h, ev);
	case ACTION_CLONE:
		return clone_event(h, ev);
	case ACTION_REINITIALIZE:
		return ev->type == EV_JOB_DONE ? reinitialize_stopped(h, ev) :
						 RC_OK;
	case ACTION_RESTART:
		if (h->s.action.delayed)
			return restart_leave(h, ev);
		break;
	default:
		break;
	}
	if (ev->type == EV_JOB_PROGRESS)
		action_progress(h, ev);
	else if (ev->type == EV_JOB_DONE)
		action_done(h, ev);
	return RC_OK;
}

const char *
ha_action(const struct ha *h)
{
	return h->s.action.kind == ACTION_NONE ? NULL : h->s.action.name;
}
