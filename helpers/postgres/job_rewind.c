/*
 * job_rewind.c: bringing a diverged former primary back with pg_rewind
 * (postgres.md 16.5-16.7).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/values.h"
#include "job.h"

#define LEADER_TIMEOUT (3 * NS_PER_SEC)
#define CHECKPOINT_LIMIT (3600 * NS_PER_SEC)
#define MARK_IMPOSSIBLE 255 /* exit code beyond every errno */

enum phase {
	CHECK_LEADER,
	REMOTE_RECOVERY,
	REMOTE_CHECKPOINT,
	LOCAL_CONTROL,
	RESTORE_COMMAND,
	MARK,
	REWIND,
	FETCH,
	CLEAN_SLOTS,
	AFTERWARDS
};

static void rewind_step(struct controller *);

static bool
connect_leader(struct controller *c, bool no_timeout)
{
	struct tree *info;

	info = pgconf_connection(
	    c->conf, PGCONN_LEADER, &c->job->spec.node, c->params, c->major);
	if (info != NULL && no_timeout)
		tree_set(info, "options", tree_text("-c statement_timeout=0"));
	return job_connect(c, info);
}

static void
source_unusable(struct controller *c, const char *why)
{
	log_warn("Can not use %s for rewind: %s", c->job->spec.node.name, why);
	job_finish(c, JOB_NOTHING);
}

static bool
is_primary_role(const char *role)
{
	return strcmp(role, "primary") == 0 || strcmp(role, "master") == 0;
}

/* Members from before 1.5.7 do not tell whether they have checkpointed. */
static bool
tells_checkpoint(const struct ha_job *s)
{
	unsigned v[3];

	if (s->node_remote || s->node.version[0] == '\0' ||
	    version_numbers(s->node.version, v) < 2)
		return false;
	return v[0] > 1 || (v[0] == 1 && (v[1] > 5 || (v[1] == 5 && v[2] > 6)));
}

static void
begin_check(struct controller *c)
{
	const struct ha_job *s = &c->job->spec;

	c->job->step = rewind_step;
	if (tells_checkpoint(s)) {
		if (!is_primary_role(s->node.role) ||
		    s->node.checkpoint_after_promote == CAP_PENDING) {
			log_info("Waiting for checkpoint on %s before rewind",
			    s->node.name);
			job_finish(c, JOB_NOTHING);
			return;
		}
		c->job->phase = CHECK_LEADER;
	} else {
		c->job->phase = REMOTE_RECOVERY;
	}
	if (!connect_leader(c, c->job->phase == REMOTE_RECOVERY) ||
	    !job_query(
		c, "SELECT pg_catalog.pg_is_in_recovery()", LEADER_TIMEOUT))
		source_unusable(c, "no connection");
}

static void
begin_remote_checkpoint(struct controller *c)
{
	const struct tree *rewind =
	    pgconf_rewind_credentials(c->conf, c->major);
	const struct tree *super = pgconf_credentials(c->conf, "superuser");
	bool same = rewind == super || tree_equal_loose(rewind, super);

	c->job->phase = REMOTE_CHECKPOINT;
	/* a rewind user may not checkpoint: it can only look */
	if (!job_query(c,
		same ?
		    "CHECKPOINT" :
		    "SELECT timeline_id = ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int"
		    " FROM pg_catalog.pg_control_checkpoint()",
		same ? CHECKPOINT_LIMIT : LEADER_TIMEOUT))
		source_unusable(c, "no connection");
	c->job->keep_data = same; /* CHECKPOINT has no result row */
}

/* pg_rewind runs restore_command itself; with configuration files elsewhere
 * only when it can be told of them. */
static bool
restores_itself(const struct controller *c)
{
	struct pgfeatures f = pgfeatures(c->major);

	return c->job->text[0] != '\0' &&
	    (f.rewind_config_file ||
		(f.rewind_restore_wal &&
		    strcmp(c->conf->config_dir, c->conf->data_dir) == 0));
}

/* Environment and connection string. */
static struct tree *
rewind_argv(struct controller *c)
{
	struct job *j = c->job;
	const struct ha_job *s = &j->spec;
	char program[PATH_SIZE], conf[PATH_SIZE], arg[PATH_SIZE + 32];
	struct tree *argv, *info, *options;
	struct pgerr err;
	bool written = false, separate;
	uint32_t i;
	char *conn;

	info = pgconf_member_conninfo(
	    c->conf, &s->node, pgconf_rewind_credentials(c->conf, c->major));
	if (info == NULL)
		return NULL;
	if (c->major >= 100000)
		tree_set(info, "target_session_attrs", tree_text("read-write"));
	if (!pgconf_write_pgpass(c->conf, info, &written, &err))
		log_error("%s", err.text);
	snprintf(j->pgpass, sizeof j->pgpass, "PGPASSFILE=%s",
	    written ? c->conf->pgpass : "/dev/null");
	conn = conninfo_format(info, c->major, NULL);
	tree_free_wiped(info);
	if (conn == NULL)
		return NULL;
	log_info("running pg_rewind from %s", conn);
	argv = tree_list();
	pgconf_program(c->conf, "pg_rewind", program);
	tree_append(argv, tree_text(program));
	separate = strcmp(c->conf->config_dir, c->conf->data_dir) != 0;
	if (restores_itself(c)) {
		tree_append(argv, tree_text("--restore-target-wal"));
		if (separate) {
			pgconf_config_file(c->conf, conf);
			snprintf(arg, sizeof arg, "--config-file=%s", conf);
			tree_append(argv, tree_text(arg));
		}
	}
	tree_append(argv, tree_text("-D"));
	tree_append(argv, tree_text(c->conf->data_dir));
	tree_append(argv, tree_text("--source-server"));
	tree_append(argv, tree_text(conn));
	/* tells when the first change is about to be made */
	tree_append(argv, tree_text("--progress"));
	free(conn);
	options = pgoptions(
	    PGTOOL_REWIND, tree_get(c->conf->pg, "rewind"), c->major, &err);
	for (i = 0; i < tree_count(options); i++)
		tree_append(argv, tree_copy(tree_child(options, i)));
	tree_free(options);
	return argv;
}

static int
worker_mark(void *arg)
{
	int r = data_rewind_mark(arg);

	/* a parent directory that is not ours: as without marks */
	return r == EACCES || r == EPERM || r == EROFS ? MARK_IMPOSSIBLE : r;
}

static void
torso_gone(struct controller *c, enum ha_job_result r)
{
	(void)r;
	job_finish(c, c->job->cancelled ? JOB_CANCELLED : JOB_FAILED);
}

static void
begin_mark(struct controller *c)
{
	c->job->phase = MARK;
	if (data_rewind_marked(c->conf->data_dir))
		torso_begin(c, torso_gone);
	else if (!job_worker(c, worker_mark, c->conf->data_dir))
		job_fail(c, "pg_rewind could not be run");
}

static void
begin_rewind(struct controller *c)
{
	struct job *j = c->job;
	const char *env[] = { j->pgpass, "LANG=C", "LC_ALL=C",
		"PGOPTIONS=-c statement_timeout=0", NULL };
	struct tree *argv = rewind_argv(c);
	bool ok;

	j->phase = REWIND;
	ok = argv != NULL && job_program_list(c, argv, env, true);
	tree_free(argv);
	if (!ok) {
		data_rewind_unmark(c->conf->data_dir);
		job_fail(c, "pg_rewind could not be run");
	}
}

static void
marked(struct controller *c)
{
	const struct child_end *e = &c->job->end;

	if (e->started && e->code == MARK_IMPOSSIBLE) {
		log_warn(
		    "The directory of %s cannot be written to: a pg_rewind that is cut off would not be recognised",
		    c->conf->data_dir);
	} else if (!e->started || e->code != 0) {
		log_warn("Can not run pg_rewind: %s.rewinding: %s",
		    c->conf->data_dir,
		    strerror(!e->started ? e->error :
			    e->code > 0	 ? e->code :
					   EINTR));
		job_finish(c, JOB_NOTHING);
		return;
	}
	begin_rewind(c);
}

/* Below 12 it is a setting of recovery.conf, which a server that was a primary
 * does not have. */
static void
configured_restore_command(struct controller *c)
{
	struct pgfacts f = settings_facts(c, ROLE_REPLICA);
	struct tree *conf = pgconf_recovery_conf(c->conf, &f);

	if (!text_set(c->job->text, sizeof c->job->text,
		tree_path_text(conf, "restore_command", "")))
		c->job->text[0] = '\0';
	tree_free(conf);
}

static void
ask_restore_command(struct controller *c)
{
	char program[PATH_SIZE], conf[PATH_SIZE], arg[PATH_SIZE + 16];
	const char *argv[] = { program, "-D", c->conf->data_dir, "-C",
		"restore_command", arg, NULL };

	c->job->step = rewind_step;
	c->job->phase = RESTORE_COMMAND;
	c->job->text[0] = '\0';
	if (!pgfeatures(c->major).recovery_guc) {
		configured_restore_command(c);
		begin_mark(c);
		return;
	}
	pgconf_program(c->conf, "postgres", program);
	pgconf_config_file(c->conf, conf);
	snprintf(arg, sizeof arg, "--config-file=%s", conf);
	if (!job_program(c, argv, NULL, true))
		begin_mark(c);
}

static void
recovered(struct controller *c, enum ha_job_result r)
{
	if (r == JOB_OK)
		ask_restore_command(c);
	else
		job_finish(c, r == JOB_CANCELLED ? r : JOB_FAILED);
}

/*
 * Before 16, pg_rewind takes the timeline of the last checkpoint for that of
 * the data.  A node that was promoted, or that followed a promotion, and has
 * not made a checkpoint since holds changes of a newer timeline: pg_rewind
 * would find nothing to do, or would not see those changes.  Crash recovery
 * ends with a checkpoint on the newest timeline.
 */
static void
control_read_out(struct controller *c)
{
	const struct child_end *e = &c->job->end;
	struct ha_control k;
	struct tree *t;

	memset(&k, 0, sizeof k);
	if (e->started && e->code == 0) {
		t = control_parse(e->out);
		control_fill(t, &k);
		tree_free(t);
	}
	if (k.ok && k.min_recovery_timeline > k.timeline)
		crash_begin(c, recovered);
	else
		ask_restore_command(c);
}

static void
ask_control_file(struct controller *c)
{
	const char *env[] = { "LANG=C", "LC_ALL=C", NULL };
	char program[PATH_SIZE];
	const char *argv[] = { program, c->conf->data_dir, NULL };

	if (c->major >= 160000) {
		ask_restore_command(c);
		return;
	}
	c->job->phase = LOCAL_CONTROL;
	pgconf_program(c->conf, "pg_controldata", program);
	if (!job_program(c, argv, env, true))
		ask_restore_command(c);
}

static void
rewind_failed(struct controller *c)
{
	struct job *j = c->job;

	j->phase = AFTERWARDS;
	/* whose fault was it? */
	if (!connect_leader(c, false) ||
	    !job_query(
		c, "SELECT pg_catalog.pg_is_in_recovery()", LEADER_TIMEOUT)) {
		log_warn(
		    "Failed to rewind because primary %s become unreachable",
		    j->spec.node.name);
		job_finish(c, JOB_UNREACHABLE);
	}
}

/* It says how much it is going to copy before it touches the first file. */
static bool
changed_something(const struct child_end *e)
{
	return e->started && e->code != 0 &&
	    (strstr(e->err, "need to copy") != NULL ||
		strlen(e->err) >= CHILD_CAPTURE_MAX - 1);
}

static int
worker_clean_slots(void *arg)
{
	const struct controller *c = arg;

	return data_clean_slots(c->conf->data_dir);
}

/* It stopped because of WAL that the archive may have. */
static bool
fetch_missing(struct controller *c)
{
	struct pgfeatures f = pgfeatures(c->major);
	struct job *j = c->job;
	char last[sizeof j->missing];

	if (j->text[0] == '\0' || j->torso || restores_itself(c) ||
	    !j->end.started)
		return false;
	memcpy(last, j->missing, sizeof last);
	if (!wal_missing(j->end.err, f.wal_dir, j->missing) &&
	    !wal_missing(j->end.out, f.wal_dir, j->missing))
		return false;
	if (strcmp(last, j->missing) == 0) {
		log_error("%s was fetched, but pg_rewind does not find it",
		    j->missing);
		return false;
	}
	j->phase = FETCH;
	if (wal_fetch(c, j->text, j->missing))
		return true;
	log_info("Failed to fetch WAL segment %s required for pg_rewind",
	    j->missing);
	return false;
}

static void
rewind_ended(struct controller *c)
{
	struct job *j = c->job;

	c->facts_fresh = false;
	log_info("pg_rewind exit code=%d", j->end.code);
	log_info(" stdout=%s", j->end.out);
	log_info(" stderr=%s", j->end.err);
	j->torso = changed_something(&j->end);
	if (!j->torso)
		data_rewind_unmark(c->conf->data_dir);
	if (j->cancelled) {
		job_finish(c, JOB_CANCELLED);
		return;
	}
	if (j->end.started && j->end.code == 0) {
		/* below 11 the source's slots have been copied along */
		j->phase = CLEAN_SLOTS;
		if (pgfeatures(c->major).slot_advance ||
		    !job_worker(c, worker_clean_slots, c))
			job_finish(c, JOB_OK);
		return;
	}
	if (!fetch_missing(c))
		rewind_failed(c);
}

/* Fetched: again, until nothing is missing any more. */
static void
fetched(struct controller *c)
{
	struct job *j = c->job;

	if (j->cancelled) {
		job_finish(c, JOB_CANCELLED);
		return;
	}
	if (j->end.started && j->end.code == 0) {
		begin_mark(c);
		return;
	}
	log_info("Failed to fetch WAL segment %s required for pg_rewind",
	    j->missing);
	rewind_failed(c);
}

static void
afterwards(struct controller *c)
{
	struct job *j = c->job;

	if (j->sql_outcome != SQL_OK || j->sql_true) {
		log_warn(
		    "Failed to rewind because primary %s become unreachable",
		    j->spec.node.name);
		job_finish(c, JOB_UNREACHABLE);
		return;
	}
	log_error(
	    "Failed to rewind from healthy primary: %s", j->spec.node.name);
	if (j->torso)
		torso_begin(c, torso_gone);
	else
		job_finish(c, JOB_FAILED);
}

static void
rewind_step(struct controller *c)
{
	struct job *j = c->job;

	if (j->cancelled && j->phase != REWIND && j->phase != CLEAN_SLOTS) {
		/* nothing has run since the mark was set */
		if (j->phase == MARK)
			data_rewind_unmark(c->conf->data_dir);
		job_finish(c, JOB_CANCELLED);
		return;
	}
	switch ((enum phase)j->phase) {
	case CHECK_LEADER:
		if (j->sql_outcome != SQL_OK)
			source_unusable(c, j->sql_text);
		else if (j->sql_true)
			source_unusable(c, "is_in_recovery=true");
		else
			ask_control_file(c);
		return;
	case REMOTE_RECOVERY:
		if (j->sql_outcome != SQL_OK)
			source_unusable(c, j->sql_text);
		else if (j->sql_true)
			source_unusable(c, "is_in_recovery=true");
		else
			begin_remote_checkpoint(c);
		return;
	case REMOTE_CHECKPOINT:
		if (j->sql_outcome != SQL_OK)
			source_unusable(c, j->sql_text);
		else if (!j->keep_data && !j->sql_true)
			source_unusable(
			    c, "leader has not run a checkpoint yet");
		else
			ask_control_file(c);
		return;
	case LOCAL_CONTROL:
		control_read_out(c);
		return;
	case RESTORE_COMMAND:
		if (j->end.started && j->end.code == 0)
			snprintf(j->text, sizeof j->text, "%.*s",
			    (int)strcspn(j->end.out, "\n"), j->end.out);
		begin_mark(c);
		return;
	case MARK:
		marked(c);
		return;
	case REWIND:
		rewind_ended(c);
		return;
	case FETCH:
		fetched(c);
		return;
	case CLEAN_SLOTS:
		/* the worker has said what it could not remove */
		job_finish(c, JOB_OK);
		return;
	case AFTERWARDS:
		afterwards(c);
		return;
	}
}

static void
archived(struct controller *c, enum ha_job_result r)
{
	if (r == JOB_CANCELLED)
		job_finish(c, r);
	else
		begin_check(c);
}

static void
stopped(struct controller *c, enum ha_job_result r)
{
	if (r == JOB_FAILED) {
		log_warn(
		    "Can not run pg_rewind because postgres is still running");
		job_finish(c, JOB_NOTHING);
		return;
	}
	if (r != JOB_OK) {
		job_finish(c, r);
		return;
	}
	archive_begin(c, archived);
}

void
job_rewind(struct controller *c)
{
	struct op_stop *o = &c->job->stop;

	settings_major(c);
	o->mode = STOP_FAST;
	o->callbacks = true;
	stop_begin(c, stopped);
}
