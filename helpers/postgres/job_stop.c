/*
 * job_stop.c: stopping PostgreSQL (postgres.md 5.2).
 *
 * The reference waits in one-second steps; here the postmaster's end comes
 * by pidfd and everything between is looked at every few milliseconds.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"

#define LOOK_MS 10
#define MAX_STRAYS 1024
#define STRAYS_LIMIT (5 * NS_PER_SEC)
/* A session list walks /proc: not at every look. */
#define BACKENDS_MS 20

enum phase {
	STRAYS,
	CHECKPOINT,
	HOOK,
	SIGNAL,
	WAITING,
	LOCATIONS,
	ABORTING,
	KILLING
};

static void stop_step(struct controller *);

static void
end(struct controller *c, enum ha_job_result r)
{
	struct op_stop *o = &c->job->stop;

	if (r == JOB_OK) {
		if (o->safepoint && !o->safepoint_done) {
			o->safepoint_done = true;
			job_progress(c, PROGRESS_SAFEPOINT);
		}
		if (o->callbacks) {
			controller_set_state(c, STATE_STOPPED);
			if (o->did_signal)
				callback_run(c, CALLBACK_ON_STOP, c->role);
		}
	} else if (r == JOB_FAILED) {
		log_warn("pg_ctl stop failed");
		controller_set_state(c, STATE_STOP_FAILED);
	}
	o->done(c, r);
}

/*
 * No postmaster, but backends of a killed one may live on and still commit
 * what they are at.  The node counts as stopped only without them.
 */
static void
clear_strays(struct controller *c)
{
	static struct proc_entry v[MAX_STRAYS];
	struct op_stop *o = &c->job->stop;
	size_t i, n;

	n = postmaster_strays(&c->pm, v, MAX_STRAYS);
	if (n == 0) {
		end(c, JOB_OK);
		return;
	}
	if (clock_boot_ns() - o->signalled > STRAYS_LIMIT) {
		end(c, JOB_FAILED);
		return;
	}
	for (i = 0; i < n; i++)
		proc_signal(&v[i], SIGKILL);
	job_wait(c, LOOK_MS);
}

static bool
begin_checkpoint(struct controller *c)
{
	struct op_stop *o = &c->job->stop;
	struct tree *info;

	if (!o->checkpoint || o->mode == STOP_IMMEDIATE ||
	    c->state == STATE_STARTING || c->state == STATE_STARTING_CUSTOM)
		return false;
	info = pgconf_connection(
	    c->conf, PGCONN_HEARTBEAT, NULL, c->params, c->major);
	if (info == NULL)
		return false;
	tree_set(info, "options", tree_text("-c statement_timeout=0"));
	if (!job_connect(c, info))
		return false;
	o->phase = CHECKPOINT;
	return job_query(c, "CHECKPOINT",
	    o->timeout_ns > 0 ? o->timeout_ns : 24 * 3600 * NS_PER_SEC);
}

static bool
begin_hook(struct controller *c)
{
	const char *command = pgconf_hook(c->conf, "before_stop");
	struct tree *argv;
	struct pgerr err;
	bool ok;

	if (command == NULL || command[0] == '\0')
		return false;
	argv = pgwords(command, &err);
	if (argv == NULL) {
		log_error("Exception when calling `%s`: %s", command, err.text);
		return false;
	}
	c->job->stop.phase = HOOK;
	ok = job_program_list(c, argv, NULL, false);
	tree_free(argv);
	if (!ok)
		log_error("Exception when calling `%s`: %s", command,
		    strerror(c->job->end.error));
	return ok;
}

static void
send_signal(struct controller *c)
{
	static const int signals[] = { [STOP_FAST] = SIGINT,
		[STOP_IMMEDIATE] = SIGQUIT,
		[STOP_SMART] = SIGTERM };
	struct op_stop *o = &c->job->stop;

	o->signalled = clock_boot_ns();
	if (postmaster_signal(&c->pm, signals[o->mode]) == -1) {
		if (errno == ESRCH && !postmaster_alive(&c->pm)) {
			o->phase = STRAYS;
			job_wait(c, 0);
			return;
		}
		end(c, JOB_FAILED);
		return;
	}
	o->did_signal = true;
	o->phase = WAITING;
	job_wait(c, o->mode == STOP_IMMEDIATE ? LOOK_MS : 1);
}

static void
on_control(struct controller *c, const struct ha_control *control,
    const struct tree *data, void *arg)
{
	struct op_stop *o;

	(void)arg;
	(void)data;
	if (c->job == NULL || c->job->step != stop_step)
		return;
	o = &c->job->stop;
	o->phase = WAITING;
	if (control->ok && control->state == CONTROL_SHUT_DOWN)
		job_progress_lsn(c, control->checkpoint_lsn, control->prev_lsn);
	if (o->safepoint && !o->safepoint_done) {
		o->safepoint_done = true;
		job_progress(c, PROGRESS_SAFEPOINT);
	}
	job_wait(c, 0);
}

/* Steps 8 and 9: what can be told before the postmaster has ended. */
static bool
watch(struct controller *c)
{
	static struct proc_entry v[MAX_STRAYS];
	struct op_stop *o = &c->job->stop;
	enum ha_control_state state;
	uint64_t sysid;

	if (o->safepoint && !o->safepoint_done &&
	    postmaster_backends(&c->pm, v, MAX_STRAYS) == 0) {
		log_debug("Backends closed");
		o->safepoint_done = true;
		job_progress(c, PROGRESS_SAFEPOINT);
	}
	if (!o->shutdown_lsn || o->lsn_done || o->mode == STOP_IMMEDIATE ||
	    !control_read(c->conf->data_dir, &state, &sysid))
		return true;
	if (state == CONTROL_SHUT_DOWN) {
		o->lsn_done = true;
		o->phase = LOCATIONS;
		facts_control(c, 0, true, on_control, NULL);
		return false;
	}
	if (state == CONTROL_SHUT_DOWN_IN_RECOVERY)
		o->lsn_done = true;
	return true;
}

static void
tell_backends(struct controller *c)
{
	static struct proc_entry v[MAX_STRAYS];
	char list[256] = "";
	int i, n = postmaster_backends(&c->pm, v, MAX_STRAYS);
	size_t len = 0;

	for (i = 0; i < n && len + 16 < sizeof list; i++)
		len += (size_t)snprintf(list + len, sizeof list - len, "%s%d",
		    i > 0 ? ", " : "", (int)v[i].pid);
	if (n > 0)
		log_warn("Backends still alive after %d: [%s]",
		    (int)(c->job->stop.timeout_ns / NS_PER_SEC), list);
}

static void
abort_stop(struct controller *c)
{
	struct op_stop *o = &c->job->stop;

	o->signalled = clock_boot_ns();
	if (o->safepoint && !o->safepoint_done)
		tell_backends(c);
	if (o->phase == WAITING && o->mode != STOP_IMMEDIATE) {
		log_warn("Timeout during postmaster stop, aborting Postgres.");
		(void)postmaster_signal(&c->pm, SIGQUIT);
		o->phase = ABORTING;
	} else {
		log_warn("Sending SIGKILL to Postmaster and its children");
		postmaster_kill(&c->pm);
		o->phase = KILLING;
	}
	job_wait(c, LOOK_MS);
}

static void
waiting(struct controller *c)
{
	struct op_stop *o = &c->job->stop;

	if (!postmaster_alive(&c->pm)) {
		o->phase = STRAYS;
		o->signalled = clock_boot_ns();
		clear_strays(c);
		return;
	}
	if (c->job->cancelled) {
		end(c, JOB_CANCELLED);
		return;
	}
	if (o->phase == WAITING && !watch(c))
		return;
	if (o->phase != KILLING && o->timeout_ns > 0 &&
	    clock_boot_ns() - o->signalled > o->timeout_ns) {
		abort_stop(c);
		return;
	}
	job_wait(c, o->safepoint && !o->safepoint_done ? BACKENDS_MS : LOOK_MS);
}

static void
stop_step(struct controller *c)
{
	struct op_stop *o = &c->job->stop;
	const char *hook = pgconf_hook(c->conf, "before_stop");

	switch ((enum phase)o->phase) {
	case STRAYS:
		clear_strays(c);
		return;
	case CHECKPOINT:
		if (c->job->sql_outcome != SQL_OK && !c->job->cancelled)
			log_warn("Exception during CHECKPOINT: %s",
			    c->job->sql_text);
		sql_free(c->job->sql);
		c->job->sql = NULL;
		if (c->job->cancelled) {
			end(c, JOB_CANCELLED);
			return;
		}
		if (o->callbacks)
			controller_set_state(c, STATE_STOPPING);
		if (begin_hook(c))
			return;
		send_signal(c);
		return;
	case HOOK:
		if (c->job->end.started)
			log_info("before_stop script `%s` exited with %d",
			    hook != NULL ? hook : "", c->job->end.code);
		if (c->job->cancelled) {
			end(c, JOB_CANCELLED);
			return;
		}
		__attribute__((fallthrough));
	case SIGNAL:
		send_signal(c);
		return;
	case LOCATIONS:
		return;
	case WAITING:
	case ABORTING:
	case KILLING:
		waiting(c);
		return;
	}
}

void
stop_begin(struct controller *c, op_done done)
{
	struct op_stop *o = &c->job->stop;

	o->done = done;
	o->safepoint_done = o->lsn_done = o->did_signal = false;
	o->signalled = clock_boot_ns();
	c->job->step = stop_step;
	if (!postmaster_find(&c->pm)) {
		o->phase = STRAYS;
		clear_strays(c);
		return;
	}
	if (begin_checkpoint(c))
		return;
	if (o->callbacks)
		controller_set_state(c, STATE_STOPPING);
	if (begin_hook(c))
		return;
	send_signal(c);
}

static void
stopped(struct controller *c, enum ha_job_result r)
{
	job_finish(c, r);
}

void
job_stop(struct controller *c)
{
	const struct ha_job *s = &c->job->spec;
	struct op_stop *o = &c->job->stop;

	o->mode = s->stop_mode;
	o->checkpoint = s->checkpoint;
	o->callbacks = !s->block_callbacks;
	o->safepoint = s->want_safepoint;
	o->shutdown_lsn = s->want_shutdown_lsn;
	o->timeout_ns = s->timeout_ns;
	stop_begin(c, stopped);
}
