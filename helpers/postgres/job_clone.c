/*
 * job_clone.c: creating a replica (postgres.md 14): pg_basebackup or the
 * configured methods, in order, until one succeeds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job.h"

#define BASEBACKUP_ATTEMPTS 2
#define BASEBACKUP_PAUSE_MS 5000

enum phase { NEXT, BASEBACKUP, BASEBACKUP_PAUSE, CUSTOM, CLEANUP };

static void clone_step(struct controller *);
static void next_method(struct controller *);

static const char *
method_name(const struct job *j)
{
	const struct tree *t = tree_child(j->methods, j->next_method);

	return t != NULL && t->type == TREE_TEXT ? t->u.s : NULL;
}

static void
finish(struct controller *c, enum ha_job_result r)
{
	char trigger[PATH_SIZE];
	struct pgfacts f;
	struct pgerr err;

	controller_set_state(c, STATE_STOPPED);
	c->facts_fresh = false;
	/* kept while a torso is left, so that a restart removes it; that of a
	 * standby cluster's bootstrap until the store knows of the cluster */
	if ((r == JOB_OK && data_marked(c->conf->data_dir) != MARK_BOOTSTRAP) ||
	    data_empty(c->conf->data_dir) == 1)
		data_mark(c->conf->data_dir, MARK_NONE);
	if (r == JOB_OK) {
		settings_major(c);
		f = settings_facts(c, ROLE_REPLICA);
		if (!pgconf_restore(c->conf, c->params, &f, &err))
			log_warn("%s", err.text);
		/* a trigger file in the copy would promote it at once */
		pgconf_trigger_file(c->conf, c->major, trigger);
		if (trigger[0] != '\0')
			unlink(trigger);
	}
	job_finish(c, r);
}

/* Connection string without password, and PGPASSFILE for the program. */
static char *
source(struct controller *c)
{
	struct job *j = c->job;
	struct tree *info;
	struct pgerr err;
	bool written = false;
	char *text;

	j->pgpass[0] = '\0';
	if (!j->spec.has_node)
		return strdup("");
	info = pgconf_member_conninfo(
	    c->conf, &j->spec.node, pgconf_credentials(c->conf, "replication"));
	if (info == NULL)
		return NULL;
	if (!pgconf_write_pgpass(c->conf, info, &written, &err))
		log_error("%s", err.text);
	if (written)
		snprintf(j->pgpass, sizeof j->pgpass, "PGPASSFILE=%s",
		    c->conf->pgpass);
	text = conninfo_format(info, 0, NULL);
	tree_free_wiped(info);
	return text;
}

/* " 1024/4096 kB (25%), 0/1 tablespace": in any language, with the file's name
 * behind it when it is verbose. */
bool
basebackup_progress(const char *line, struct progress *p)
{
	uint64_t done, total;
	unsigned percent;
	char *end;

	line += strspn(line, " ");
	if (*line < '0' || *line > '9')
		return false;
	done = strtoull(line, &end, 10);
	if (*end != '/' || end[1] < '0' || end[1] > '9')
		return false;
	total = strtoull(end + 1, &end, 10);
	line = strchr(end, '(');
	if (*end != ' ' || line == NULL || line - end > 32 ||
	    sscanf(line, "(%3u%%)", &percent) != 1 || percent > 100 ||
	    done > UINT64_MAX / 2048 || total > UINT64_MAX / 2048)
		return false;
	p->known = true;
	p->percent = percent;
	p->received = done * 1024;
	p->total = total * 1024;
	return true;
}

/* Each tenth, and each minute of a long way between. */
static bool
on_progress(const char *line, void *arg)
{
	struct controller *c = arg;
	struct progress *p = &c->progress;
	int64_t now = clock_boot_ns();

	if (!basebackup_progress(line, p))
		return false;
	publish_status(c);
	if (p->percent / 10 == p->logged / 10 &&
	    now - p->logged_at < 60 * NS_PER_SEC)
		return true;
	p->logged = p->percent;
	p->logged_at = now;
	log_info("pg_basebackup has received %llu of about %llu MB (%u%%)",
	    (unsigned long long)(p->received >> 20),
	    (unsigned long long)(p->total >> 20), p->percent);
	return true;
}

static bool
run_basebackup(struct controller *c)
{
	char program[PATH_SIZE], pgdata[PATH_SIZE + 16], *conn, *dbname;
	const char *env[2] = { NULL, NULL };
	struct job *j = c->job;
	struct tree *argv, *options;
	struct pgerr err;
	uint32_t i;
	bool ok = false;

	conn = source(c);
	if (conn == NULL || asprintf(&dbname, "--dbname=%s", conn) == -1) {
		free(conn);
		return false;
	}
	pgconf_program(c->conf, "pg_basebackup", program);
	snprintf(pgdata, sizeof pgdata, "--pgdata=%s", c->conf->data_dir);
	argv = tree_list();
	tree_append(argv, tree_text(program));
	tree_append(argv, tree_text(pgdata));
	tree_append(argv, tree_text("-X"));
	tree_append(argv, tree_text("stream"));
	tree_append(argv, tree_text(dbname));
	tree_append(argv, tree_text("--progress"));
	options = pgoptions(PGTOOL_BASEBACKUP,
	    tree_get(c->conf->pg, "basebackup"), c->binary_version, &err);
	for (i = 0; i < tree_count(options); i++)
		tree_append(argv, tree_copy(tree_child(options, i)));
	tree_free(options);
	if (j->pgpass[0] != '\0')
		env[0] = j->pgpass;
	log_debug("calling: %s %s -X stream %s", program, pgdata, dbname);
	j->phase = BASEBACKUP;
	j->step = clone_step;
	memset(&c->progress, 0, sizeof c->progress);
	c->progress.logged_at = clock_boot_ns();
	j->err_line = on_progress;
	ok = job_program_list(c, argv, env, true);
	j->err_line = NULL;
	tree_free(argv);
	free(dbname);
	free(conn);
	return ok;
}

static bool
run_custom(struct controller *c)
{
	const char *env[2] = { NULL, NULL };
	struct job *j = c->job;
	struct pgmethod m;
	struct pgerr err;
	char *conn;
	bool ok;

	conn = source(c);
	if (conn == NULL)
		return false;
	memset(&m, 0, sizeof m);
	if (!pgconf_replica_method(c->conf, method_name(j), conn, &m, &err)) {
		log_error("Error creating replica using method %s: %s",
		    method_name(j), err.text);
		free(conn);
		return false;
	}
	free(conn);
	if (j->pgpass[0] != '\0')
		env[0] = j->pgpass;
	j->phase = CUSTOM;
	j->step = clone_step;
	ok = job_program_list(c, m.argv, env, false);
	tree_free(m.argv);
	if (!ok && !j->cancelled)
		log_error("Error creating replica using method %s: %s",
		    method_name(j), strerror(j->end.error));
	return ok;
}

static void
method_failed(struct controller *c)
{
	c->job->next_method++;
	c->job->attempt = 0;
	next_method(c);
}

static void
emptied(struct controller *c, enum ha_job_result r)
{
	struct job *j = c->job;
	bool basebackup = strcmp(method_name(j), "basebackup") == 0;

	if (j->cancelled) {
		finish(c, JOB_CANCELLED);
		return;
	}
	if (r != JOB_OK || !(basebackup ? run_basebackup(c) : run_custom(c)))
		method_failed(c);
}

static void
removed_at_end(struct controller *c, enum ha_job_result r)
{
	(void)r;
	finish(c, c->job->cancelled ? JOB_CANCELLED : JOB_FAILED);
}

static bool
method_keeps_data(struct controller *c)
{
	struct pgmethod m;
	struct pgerr err;

	memset(&m, 0, sizeof m);
	if (!pgconf_replica_method(c->conf, method_name(c->job), "", &m, &err))
		return false;
	tree_free(m.argv);
	return m.keep_data;
}

/* The first node of a standby cluster has won the key /initialize. */
static enum data_mark
mark_kind(struct controller *c)
{
	const struct view *v = ha_view(c->ha);

	if (c->job->keep_data)
		return MARK_NONE;
	return c->job->spec.node_remote && v != NULL && v->has_initialize &&
		v->initialize[0] == '\0' ?
	    MARK_BOOTSTRAP :
	    MARK_CLONE;
}

static void
next_method(struct controller *c)
{
	struct job *j = c->job;
	const char *name = method_name(j);

	if (name == NULL || j->cancelled) {
		if (j->keep_data || data_empty(c->conf->data_dir) == 1)
			finish(c, j->cancelled ? JOB_CANCELLED : JOB_FAILED);
		else
			remove_begin(c, removed_at_end);
		return;
	}
	j->keep_data = strcmp(name, "basebackup") != 0 && method_keeps_data(c);
	data_mark(c->conf->data_dir, mark_kind(c));
	if (j->keep_data && data_empty(c->conf->data_dir) != 1) {
		log_info("Leaving data directory uncleaned");
		emptied(c, JOB_OK);
		return;
	}
	if (data_empty(c->conf->data_dir) == 1)
		emptied(c, JOB_OK);
	else
		remove_begin(c, emptied);
}

static void
basebackup_ended(struct controller *c)
{
	struct job *j = c->job;

	c->progress.known = false;
	if (j->end.started && j->end.code == 0) {
		log_info("replica has been created using basebackup");
		finish(c, JOB_OK);
		return;
	}
	if (j->cancelled) {
		next_method(c);
		return;
	}
	if (j->end.started) {
		log_error(
		    "Error when fetching backup: pg_basebackup exited with code=%d",
		    j->end.code);
		log_info(" stderr=%s", j->end.err);
	} else {
		log_error("Error when fetching backup with pg_basebackup: %s",
		    strerror(j->end.error));
	}
	if (++j->attempt >= BASEBACKUP_ATTEMPTS) {
		method_failed(c);
		return;
	}
	log_warn("Trying again in 5 seconds");
	j->phase = BASEBACKUP_PAUSE;
	job_wait(c, BASEBACKUP_PAUSE_MS);
}

static void
clone_step(struct controller *c)
{
	struct job *j = c->job;

	switch ((enum phase)j->phase) {
	case BASEBACKUP:
		basebackup_ended(c);
		return;
	case BASEBACKUP_PAUSE:
		next_method(c);
		return;
	case CUSTOM:
		if (j->end.started && j->end.code == 0) {
			log_info("replica has been created using %s",
			    method_name(j));
			finish(c, JOB_OK);
			return;
		}
		if (j->end.started)
			log_error(
			    "Error creating replica using method %s: %s exited with code=%d",
			    method_name(j), method_name(j), j->end.code);
		method_failed(c);
		return;
	case NEXT:
	case CLEANUP:
		return;
	}
}

static void
begin_clone(struct controller *c)
{
	struct job *j = c->job;

	controller_set_state(c, STATE_CREATING_REPLICA);
	j->methods = pgconf_replica_methods(c->conf, j->spec.node_remote,
	    j->spec.has_node, j->spec.from_leader);
	next_method(c);
}

static void
stopped(struct controller *c, enum ha_job_result r)
{
	if (r == JOB_OK)
		begin_clone(c);
	else
		job_finish(c, r);
}

void
job_clone(struct controller *c)
{
	struct op_stop *o = &c->job->stop;

	if (!postmaster_find(&c->pm)) {
		begin_clone(c);
		return;
	}
	o->mode = STOP_IMMEDIATE;
	o->callbacks = true;
	o->timeout_ns = controller_retry_ns(c);
	stop_begin(c, stopped);
}
