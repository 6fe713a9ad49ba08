/*
 * job_follow.c: starting as primary, following another node, restarting
 * (postgres.md 6, 15.4).
 */
#include <stdlib.h>
#include <string.h>

#include "job.h"

/* A role change has its own callback (the core's FX_ROLE), which swallows the
 * one of the start. */
static bool
role_change(const struct controller *c, enum pg_role role)
{
	if (!c->callback_seen)
		return false;
	return c->role == ROLE_PRIMARY || c->role == ROLE_DEMOTED ||
	    (c->role == ROLE_REPLICA && role == ROLE_STANDBY_LEADER) ||
	    (c->role == ROLE_STANDBY_LEADER && role == ROLE_REPLICA);
}

static void
prepare_start(struct controller *c, enum pg_role role, struct tree *recovery,
    enum ha_callback callback)
{
	struct op_start *o = &c->job->start;

	o->role = role;
	tree_free(o->recovery);
	o->recovery = recovery;
	o->timeout_ns = c->job->spec.timeout_ns;
	o->callback = c->job->spec.block_callbacks ? CALLBACK_NONE : callback;
}

static void
follow_started(struct controller *c, enum ha_job_result r)
{
	/* "failed" only means not now: the core looks at what it finds */
	if (r == JOB_FAILED && !c->job->cancelled)
		r = c->job->spec.timeout_ns > 0 ? JOB_FAILED : JOB_NOTHING;
	job_finish(c, r);
}

static void
restart_started(struct controller *c, enum ha_job_result r)
{
	if (r != JOB_OK && c->state != STATE_STARTING && !c->job->cancelled) {
		log_warn("restart failed (%s)", pg_state_name(c->state));
		controller_set_state(c, STATE_RESTART_FAILED);
	}
	job_finish(c, r);
}

static void
restart_stopped(struct controller *c, enum ha_job_result r)
{
	if (r != JOB_OK) {
		restart_started(c, r);
		return;
	}
	start_begin(c, restart_started);
}

static void
begin_restart(struct controller *c)
{
	struct op_stop *o = &c->job->stop;

	controller_set_state(c, STATE_RESTARTING);
	o->mode = STOP_FAST;
	o->checkpoint = true;
	o->callbacks = false;
	stop_begin(c, restart_stopped);
}

void
job_start_primary(struct controller *c)
{
	prepare_start(c, ROLE_PRIMARY, NULL, CALLBACK_ON_START);
	start_begin(c, follow_started);
}

/* A running server takes the new settings with SIGHUP. */
static void
follow_reload(struct controller *c, struct tree *recovery)
{
	enum pg_role role = c->job->spec.role;
	struct tree *params = tree_copy(c->params);
	struct pgerr err;
	bool change = role_change(c, role);

	if (params == NULL) {
		struct pgfacts f = settings_facts(c, role);

		params = pgconf_server_params(c->conf, &f);
	}
	if (!settings_write(c, params, recovery, role, true, &err)) {
		log_error("%s", err.text);
		job_fail(c, err.text);
		return;
	}
	c->reload_forced = false;
	if (!settings_signal_reload(c, !change)) {
		job_finish(c, JOB_FAILED);
		return;
	}
	c->role = role;
	job_finish(c, JOB_OK);
}

void
job_follow(struct controller *c)
{
	const struct ha_job *s = &c->job->spec;
	enum pg_role role = s->role;
	bool change = role_change(c, role);
	bool running = postmaster_find(&c->pm);
	struct tree *recovery;

	settings_major(c);
	if (c->major == 0) {
		job_finish(c, JOB_NOTHING);
		return;
	}
	recovery = settings_recovery(c, s);
	if (recovery == NULL) {
		job_fail(c, "recovery settings could not be made");
		return;
	}
	if (s->kind == JOB_RELOAD_RECOVERY && running) {
		follow_reload(c, recovery);
		return;
	}
	prepare_start(c, role, recovery,
	    change	? CALLBACK_NONE :
		running ? CALLBACK_ON_RESTART :
			  CALLBACK_ON_START);
	c->reload_forced = false;
	if (running)
		begin_restart(c);
	else
		start_begin(c, follow_started);
}

void
job_restart(struct controller *c)
{
	enum pg_role role = c->role == ROLE_PROMOTED ? ROLE_PRIMARY : c->role;
	struct tree *recovery = NULL;

	if (role != ROLE_PRIMARY && c->recovery != NULL)
		recovery = tree_copy(c->recovery);
	prepare_start(c, role, recovery, CALLBACK_ON_RESTART);
	/* an attached standby: what it was started with stays */
	c->job->start.keep_recovery = role != ROLE_PRIMARY && recovery == NULL;
	begin_restart(c);
}
