/*
 * job_promote.c: promotion (postgres.md 6).  What pg_ctl promote does is done
 * here without a program: signal file, SIGUSR1; the end of recovery is read
 * from pg_control.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "job.h"

#define LOOK_MS 5

enum phase { PRE_PROMOTE, CONFIRM };

static bool
promote_signal(struct controller *c)
{
	char path[PATH_SIZE + 16];
	int fd;

	snprintf(path, sizeof path, "%s/promote", c->conf->data_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1) {
		log_error("could not create promote signal file \"%s\": %s",
		    path, strerror(errno));
		return false;
	}
	close(fd);
	if (postmaster_signal(&c->pm, SIGUSR1) == -1) {
		log_error("could not send promote signal (PID: %d): %s",
		    (int)c->pm.proc.pid, strerror(errno));
		unlink(path);
		return false;
	}
	return true;
}

static void
promote(struct controller *c)
{
	enum ha_control_state state;
	uint64_t sysid;
	int64_t now;

	if (c->job->cancelled) {
		log_info("PostgreSQL promote cancelled.");
		job_finish(c, JOB_FAILED);
		return;
	}
	if (!postmaster_alive(&c->pm) ||
	    !control_read(c->conf->data_dir, &state, &sysid)) {
		job_finish(c, JOB_FAILED);
		return;
	}
	if (state == CONTROL_IN_PRODUCTION) {
		job_progress(c, PROGRESS_PROMOTED);
		job_finish(c, JOB_OK);
		return;
	}
	slots_promote(c);
	/* the clock of the fence, so that the two can be compared */
	now = clock_boot_ns();
	log_info("promotion of PostgreSQL begins at %lld.%03lld",
	    (long long)(now / NS_PER_SEC),
	    (long long)(now % NS_PER_SEC / NS_PER_MS));
	if (!promote_signal(c)) {
		job_finish(c, JOB_FAILED);
		return;
	}
	c->role = ROLE_PROMOTED;
	c->job->phase = CONFIRM;
	job_progress(c, PROGRESS_PROMOTED);
	job_wait(c, LOOK_MS);
}

static void
confirm(struct controller *c)
{
	enum ha_control_state state;
	uint64_t sysid;
	int64_t most = c->job->spec.timeout_ns > 0 ?
	    c->job->spec.timeout_ns :
	    c->conf->settings.loop_wait * NS_PER_SEC;

	if (control_read(c->conf->data_dir, &state, &sysid) &&
	    state == CONTROL_IN_PRODUCTION) {
		c->role = ROLE_PRIMARY;
		job_finish(c, JOB_OK);
		return;
	}
	if (c->job->cancelled || !postmaster_alive(&c->pm) ||
	    clock_boot_ns() - c->job->start.began > most) {
		job_finish(c, JOB_NOTHING);
		return;
	}
	job_wait(c, LOOK_MS);
}

static void
promote_step(struct controller *c)
{
	const char *hook = pgconf_hook(c->conf, "pre_promote");

	if (c->job->phase == CONFIRM) {
		confirm(c);
		return;
	}
	if (c->job->end.started)
		log_info("pre_promote script `%s` exited with %d",
		    hook != NULL ? hook : "", c->job->end.code);
	if (!c->job->end.started || c->job->end.code != 0) {
		if (!c->job->cancelled)
			job_progress(c, PROGRESS_PRE_PROMOTE_FAILED);
		job_finish(c, JOB_FAILED);
		return;
	}
	if (!c->job->cancelled)
		job_progress(c, PROGRESS_PRE_PROMOTE_OK);
	promote(c);
}

void
job_promote(struct controller *c)
{
	const char *hook = pgconf_hook(c->conf, "pre_promote");
	struct tree *argv;
	struct pgerr err;

	c->job->step = promote_step;
	c->job->phase = PRE_PROMOTE;
	c->job->start.began = clock_boot_ns();
	if (hook == NULL || hook[0] == '\0') {
		job_progress(c, PROGRESS_PRE_PROMOTE_OK);
		promote(c);
		return;
	}
	argv = pgwords(hook, &err);
	if (argv == NULL || !job_program_list(c, argv, NULL, false)) {
		log_error("Could not run pre_promote script `%s`: %s", hook,
		    argv == NULL ? err.text : strerror(c->job->end.error));
		if (!c->job->cancelled)
			job_progress(c, PROGRESS_PRE_PROMOTE_FAILED);
		job_finish(c, JOB_FAILED);
	}
	tree_free(argv);
}
