/*
 * job_crash.c: single-user crash recovery (postgres.md 8).
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job.h"

static int
worker_clean(void *arg)
{
	const struct controller *c = arg;
	struct pgfeatures f = pgfeatures(c->major);
	char dir[PATH_SIZE + 64], path[PATH_SIZE + 400];
	struct pgerr err;
	struct dirent *d;
	DIR *dp;

	snprintf(dir, sizeof dir, "%s/%s/archive_status", c->conf->data_dir,
	    f.wal_dir);
	dp = opendir(dir);
	if (dp == NULL)
		return errno == ENOENT ? 0 : errno;
	while ((d = readdir(dp)) != NULL) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, d->d_name);
		if (unlink(path) == -1)
			log_error("%s: %s", path, strerror(errno));
	}
	closedir(dp);
	if (!pgconf_remove_recovery(c->conf, &err))
		log_error("%s", err.text);
	return 0;
}

/* --name=value pieces of postmaster.opts (step 3), as a sorted map. */
static struct tree *
server_options(struct controller *c)
{
	char path[PATH_SIZE + 32], *text, *p, *end, *eq;
	struct tree *m = tree_map();
	struct pgerr err;
	size_t len;

	snprintf(path, sizeof path, "%s/postmaster.opts", c->conf->data_dir);
	text = pgfile_read(path, 65536, &len, &err);
	if (text == NULL) {
		log_error("Error when reading postmaster.opts: %s", err.text);
		len = 0;
	}
	for (p = text; p != NULL && *p != '\0'; p = end) {
		end = strstr(p, "\" \"");
		if (end != NULL) {
			*end = '\0';
			end += 3;
		}
		p += strspn(p, "\"");
		p[strcspn(p, "\"\n")] = '\0';
		eq = strchr(p, '=');
		if (strncmp(p, "--", 2) == 0 && eq != NULL) {
			*eq = '\0';
			tree_set(m, p + 2, tree_text(eq + 1));
		}
		if (end == NULL)
			break;
	}
	free(text);
	tree_set(m, "archive_mode", tree_text("on"));
	tree_set(m, "archive_command", tree_text("false"));
	return m;
}

static int
by_key(const void *a, const void *b)
{
	return strcmp(
	    (*(struct tree *const *)a)->key, (*(struct tree *const *)b)->key);
}

static void
crash_step(struct controller *c)
{
	struct job *j = c->job;
	enum ha_job_result r = JOB_NOTHING;

	c->facts_fresh = false;
	if (j->end.started && j->end.code == 0) {
		r = JOB_OK;
	} else if (!j->cancelled) {
		log_error("Crash recovery finished with code=%d", j->end.code);
		log_info(" stdout=%s", j->end.out);
		log_info(" stderr=%s", j->end.err);
	}
	j->start.done(c, j->cancelled ? JOB_CANCELLED : r);
}

static bool
run_single_user(struct controller *c)
{
	struct tree *options = server_options(c), *argv = tree_list();
	char program[PATH_SIZE], pair[8192];
	uint32_t i;
	bool ok;

	if (tree_count(options) > 1)
		qsort(options->u.c.v, options->u.c.n, sizeof *options->u.c.v,
		    by_key);
	pgconf_program(c->conf, "postgres", program);
	tree_append(argv, tree_text(program));
	tree_append(argv, tree_text("--single"));
	tree_append(argv, tree_text("-D"));
	tree_append(argv, tree_text(c->conf->data_dir));
	for (i = 0; i < tree_count(options); i++) {
		const struct tree *t = tree_child(options, i);

		snprintf(pair, sizeof pair, "%s=%s", t->key, t->u.s);
		tree_append(argv, tree_text("-c"));
		tree_append(argv, tree_text(pair));
	}
	tree_append(argv, tree_text("template1"));
	tree_free(options);
	ok = job_program_list(c, argv, NULL, true);
	tree_free(argv);
	return ok;
}

static void
cleaned_step(struct controller *c)
{
	struct job *j = c->job;

	if (j->cancelled) {
		j->start.done(c, JOB_CANCELLED);
		return;
	}
	j->step = crash_step;
	if (!run_single_user(c))
		j->start.done(c, j->cancelled ? JOB_CANCELLED : JOB_NOTHING);
}

static void
crash_archived(struct controller *c, enum ha_job_result r)
{
	struct job *j = c->job;

	j->step = cleaned_step;
	if (r == JOB_CANCELLED)
		j->start.done(c, r);
	else if (!job_worker(c, worker_clean, c))
		j->start.done(c, j->cancelled ? JOB_CANCELLED : JOB_NOTHING);
}

void
crash_begin(struct controller *c, op_done done)
{
	c->job->start.done = done;
	settings_major(c);
	archive_begin(c, crash_archived);
}

static void
crash_done(struct controller *c, enum ha_job_result r)
{
	job_finish(c, r);
}

void
job_crash(struct controller *c)
{
	if (postmaster_find(&c->pm)) {
		job_fail(c, "PostgreSQL is running");
		return;
	}
	if (data_rewind_marked(c->conf->data_dir)) {
		job_fail(c, "a pg_rewind was cut off");
		return;
	}
	crash_begin(c, crash_done);
}
