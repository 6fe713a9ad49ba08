/*
 * job_start.c: starting PostgreSQL (postgres.md 4): files, launch, waiting
 * until it accepts connections or is gone.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"

/* How often a fresh server is looked at; its end is seen by pidfd. */
#define LOOK_MS 10
#define STRAYS_LIMIT (5 * NS_PER_SEC)
#define MAX_STRAYS 1024

enum phase { CLEAR, CONTROL, WRITE, CLEAN, OPENING };

static void start_step(struct controller *);

static void
end(struct controller *c, enum ha_job_result r)
{
	struct op_start *o = &c->job->start;

	tree_free(o->controldata);
	o->controldata = NULL;
	tree_free(o->recovery);
	o->recovery = NULL;
	o->done(c, r);
}

static int64_t
limit(struct controller *c)
{
	const struct op_start *o = &c->job->start;

	return o->timeout_ns > 0 ? o->timeout_ns :
				   c->conf->pg_ctl_timeout * NS_PER_SEC;
}

/*
 * A postmaster killed with SIGKILL leaves backends behind that hold the
 * shared memory: nobody can commit through them for long, and the new server
 * refuses to start beside them.  True when none is left.
 */
static bool
strays_gone(struct controller *c)
{
	static struct proc_entry v[MAX_STRAYS];
	size_t i, n;

	n = postmaster_strays(&c->pm, v, MAX_STRAYS);
	for (i = 0; i < n; i++)
		proc_signal(&v[i], SIGKILL);
	return n == 0;
}

static void
on_controldata(struct controller *c, const struct tree *data, void *arg)
{
	(void)arg;
	if (c->job == NULL || c->job->step != start_step)
		return;
	c->job->start.controldata = tree_copy(data);
	c->job->start.phase = WRITE;
	start_step(c);
}

static bool
launch(struct controller *c, const struct tree *params)
{
	struct pgfacts f = settings_facts(c, c->job->start.role);
	char **argv;
	int r;

	argv = pgconf_postmaster_argv(c->conf, params, &f);
	if (argv == NULL)
		return false;
	r = postmaster_start(&c->pm, (const char *const *)argv);
	if (r == -1)
		log_error("Could not start %s: %s", argv[0], strerror(errno));
	free(argv);
	return r == 0;
}

/*
 * A primary that is restarted comes up to write at once.  Its stop may have
 * taken the lease, or this process or the machine hung meanwhile: then the
 * keeper has fenced, another node may lead, and what to do is for the next
 * cycle to say.
 */
static bool
lease_over(const struct controller *c)
{
	return c->job->spec.kind == JOB_RESTART &&
	    c->job->start.role == ROLE_PRIMARY && c->ha != NULL &&
	    !ha_paused(c->ha) && ha_trusted_until(c->ha) <= clock_boot_ns();
}

static void
begin_launch(struct controller *c)
{
	struct op_start *o = &c->job->start;

	if (c->job->cancelled) {
		log_info("PostgreSQL start cancelled.");
		end(c, JOB_FAILED);
		return;
	}
	if (lease_over(c)) {
		log_warn("PostgreSQL is not started again: the leader "
			 "lock is not held any more.");
		controller_set_state(c, STATE_START_FAILED);
		end(c, JOB_FAILED);
		return;
	}
	(void)postmaster_find(&c->pm);
	if (!launch(c, c->params)) {
		controller_set_state(c, STATE_START_FAILED);
		end(c, JOB_FAILED);
		return;
	}
	job_progress(c, PROGRESS_SPAWNED);
	o->phase = OPENING;
	job_wait(c, LOOK_MS);
}

/* Steps 6-8 of 4.1. */
static void
write_and_launch(struct controller *c)
{
	struct op_start *o = &c->job->start;
	struct pgfacts f;
	struct tree *params, *recovery;
	struct pgerr err;

	if (!settings_build(c, o->role)) {
		end(c, JOB_NOTHING);
		return;
	}
	/* where it will listen, what the role's overlay says */
	controller_configured(c);
	f = settings_facts(c, o->role);
	params = pgconf_server_params(c->conf, &f);
	recovery = o->recovery;
	o->recovery = NULL;
	tree_free(c->reasons);
	c->reasons = tree_map();
	if (o->role != ROLE_PRIMARY)
		pgconf_start_params(
		    params, &f, o->controldata, recovery, c->reasons);
	err.text[0] = '\0';
	if (!pgconf_check_directories(c->conf, params, &err)) {
		log_error("%s", err.text);
		tree_free(params);
		tree_free_wiped(recovery);
		end(c, JOB_NOTHING);
		return;
	}
	/* takes over both trees */
	if (!settings_write(
		c, params, recovery, o->role, !o->keep_recovery, &err)) {
		log_error("%s", err.text);
		end(c, JOB_NOTHING);
		return;
	}
	o->phase = CLEAN;
	if (disk_auto_conf_dirty(c) && job_worker(c, disk_worker_clean, c))
		return;
	begin_launch(c);
}

static void
ready(struct controller *c)
{
	struct op_start *o = &c->job->start;

	controller_set_state(c, STATE_RUNNING);
	status_reset(c);
	if (o->callback != CALLBACK_NONE)
		callback_run(c, o->callback, o->role);
	end(c, JOB_OK);
}

static void
give_up(struct controller *c)
{
	struct op_start *o = &c->job->start;

	if (!o->port_open) {
		log_warn("Timed out waiting for PostgreSQL to start");
		end(c, JOB_FAILED);
		return;
	}
	end(c, o->timeout_ns > 0 ? JOB_FAILED : JOB_NOTHING);
}

/* 4.3 and 4.4 in one: both only look at what the server says of itself. */
static void
look(struct controller *c)
{
	struct op_start *o = &c->job->start;

	if (!postmaster_alive(&c->pm)) {
		log_error("postmaster is not running");
		controller_set_state(c, STATE_START_FAILED);
		end(c, JOB_FAILED);
		return;
	}
	switch (postmaster_isready(&c->pm)) {
	case ISREADY_ACCEPTING:
		ready(c);
		return;
	case ISREADY_UNKNOWN:
		/* below 10 the file does not say; ask the server itself */
		if (c->major != 0 && c->major < 100000)
			ready(c);
		else
			job_wait(c, LOOK_MS);
		return;
	case ISREADY_REJECTING:
		o->port_open = true;
		break;
	case ISREADY_NO_RESPONSE:
		break;
	}
	if (c->job->cancelled) {
		end(c, JOB_FAILED);
		return;
	}
	if (clock_boot_ns() - o->began > limit(c)) {
		give_up(c);
		return;
	}
	job_wait(c, LOOK_MS);
}

static void
start_step(struct controller *c)
{
	struct op_start *o = &c->job->start;

	switch ((enum phase)o->phase) {
	case CLEAR:
		if (!strays_gone(c)) {
			if (clock_boot_ns() - o->began < STRAYS_LIMIT) {
				job_wait(c, LOOK_MS);
				return;
			}
			log_warn(
			    "server processes without a postmaster do not end");
		}
		if (o->role != ROLE_PRIMARY) {
			o->phase = CONTROL;
			facts_controldata(c, on_controldata, NULL);
			return;
		}
		o->phase = WRITE;
		__attribute__((fallthrough));
	case WRITE:
		write_and_launch(c);
		return;
	case CONTROL:
		return;
	case CLEAN:
		if (!c->job->end.started || c->job->end.code != 0)
			end(c, JOB_NOTHING);
		else
			begin_launch(c);
		return;
	case OPENING:
		look(c);
		return;
	}
}

static void
end_torso(struct controller *c, enum ha_job_result r)
{
	(void)r;
	end(c, JOB_FAILED);
}

/* Removed only when there is somebody to copy from: until then an operator
 * may still find something in it. */
static void
refuse_torso(struct controller *c)
{
	if (c->job->spec.has_node) {
		torso_begin(c, end_torso);
		return;
	}
	log_error(
	    "%s cannot be started: a pg_rewind was cut off in it; it will be created anew when there is a leader",
	    c->conf->data_dir);
	end(c, JOB_FAILED);
}

void
start_begin(struct controller *c, op_done done)
{
	struct op_start *o = &c->job->start;

	o->done = done;
	o->phase = CLEAR;
	o->began = clock_boot_ns();
	o->port_open = false;
	sql_close(c->heartbeat);
	sql_close(c->local_repl);
	c->facts_fresh = false;
	if (postmaster_find(&c->pm)) {
		log_error(
		    "Cannot start PostgreSQL because one is already running.");
		controller_set_state(c,
		    c->custom_bootstrap ? STATE_STARTING_CUSTOM :
					  STATE_STARTING);
		end(c, JOB_OK);
		return;
	}
	if (data_rewind_marked(c->conf->data_dir)) {
		refuse_torso(c);
		return;
	}
	controller_set_state(
	    c, c->custom_bootstrap ? STATE_STARTING_CUSTOM : STATE_STARTING);
	c->role = o->role;
	settings_major(c);
	if (c->major == 0) {
		end(c, JOB_NOTHING);
		return;
	}
	c->job->step = start_step;
	start_step(c);
}
