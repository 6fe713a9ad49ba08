/*
 * job_data.c: the jobs and the operation around data.c's workers.
 */
#include <string.h>

#include "job.h"

static int
worker_remove(void *arg)
{
	return data_remove(arg);
}

static int
worker_move(void *arg)
{
	return data_move(arg);
}

static void
remove_step(struct controller *c)
{
	struct job *j = c->job;

	j->stop.done(
	    c, j->end.started && j->end.code == 0 ? JOB_OK : JOB_FAILED);
}

/* Uses stop.done: never part of a running stop. */
void
remove_begin(struct controller *c, op_done done)
{
	struct job *j = c->job;

	j->stop.done = done;
	j->step = remove_step;
	c->major = 0;
	c->facts_fresh = false;
	c->sysid[0] = '\0';
	if (!job_worker(c, worker_remove, c->conf->data_dir))
		done(c, JOB_FAILED);
}

static void
torso_removed(struct controller *c, enum ha_job_result r)
{
	struct job *j = c->job;

	if (r == JOB_OK) {
		data_rewind_unmark(c->conf->data_dir);
		c->role = ROLE_UNINITIALIZED;
	}
	j->torso_done(c, r);
}

void
torso_begin(struct controller *c, op_done done)
{
	log_warn(
	    "pg_rewind of %s was cut off: it can neither be started nor rewound again, it is removed and will be created anew",
	    c->conf->data_dir);
	c->job->torso_done = done;
	remove_begin(c, torso_removed);
}

static void
finished(struct controller *c, enum ha_job_result r)
{
	if (r == JOB_OK) {
		data_rewind_unmark(c->conf->data_dir);
		data_mark(c->conf->data_dir, MARK_NONE);
	}
	c->role = ROLE_UNINITIALIZED;
	c->facts_fresh = false;
	job_finish(c, r);
}

void
job_remove_data(struct controller *c)
{
	if (postmaster_find(&c->pm)) {
		job_fail(c, "PostgreSQL is running");
		return;
	}
	remove_begin(c, finished);
}

void
job_move_data(struct controller *c)
{
	struct job *j = c->job;

	if (postmaster_find(&c->pm)) {
		job_fail(c, "PostgreSQL is running");
		return;
	}
	j->stop.done = finished;
	j->step = remove_step;
	c->major = 0;
	c->facts_fresh = false;
	c->sysid[0] = '\0';
	if (!job_worker(c, worker_move, c->conf->data_dir))
		finished(c, JOB_FAILED);
}
