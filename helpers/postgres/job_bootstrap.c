/*
 * job_bootstrap.c: a new cluster (postgres.md 13): initdb or the custom
 * method, then the first start; afterwards users and the operator's script.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job.h"

#define ROLE_SQL 8192

enum phase { INITDB, CUSTOM };

/* The password for initdb; removed when the job ends. */
static bool
write_password(struct controller *c, const char *password)
{
	struct job *j = c->job;
	size_t n = strlen(password);
	int fd;

	leftover_password_path(c, j->text, sizeof j->text);
	unlink(j->text);
	fd = open(j->text, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    0600);
	if (fd == -1) {
		log_error("%s: %s", j->text, strerror(errno));
		j->text[0] = '\0';
		return false;
	}
	if (fchmod(fd, 0600) == -1 || write(fd, password, n) != (ssize_t)n ||
	    write(fd, "\n", 1) != 1) {
		close(fd);
		unlink(j->text);
		j->text[0] = '\0';
		return false;
	}
	close(fd);
	return true;
}

static void
remove_password(struct job *j)
{
	if (j->text[0] != '\0')
		unlink(j->text);
	j->text[0] = '\0';
}

static void
bootstrap_started(struct controller *c, enum ha_job_result r)
{
	job_finish(c, r);
}

static void
fail(struct controller *c, enum pg_state state, const char *why)
{
	/* the mark stays until the directory has been put away */
	controller_set_state(c, state);
	job_fail(c, why);
}

/* bootstrap.pg_hba counts only when nothing else manages the file. */
static void
append_hba(struct controller *c, const struct pgfacts *f)
{
	const struct tree *lines = tree_path(c->conf->root, "bootstrap.pg_hba");
	struct pgerr err;

	if (tree_count(lines) == 0 ||
	    tree_count(tree_get(c->conf->pg, "pg_hba")) > 0 ||
	    tree_get_nocase(tree_get(c->conf->pg, "parameters"), "hba_file") !=
		NULL)
		return;
	if (!pgconf_append_hba(c->conf, lines, f, &err))
		log_error("%s", err.text);
}

static void
start_new_cluster(struct controller *c, struct tree *recovery, bool keep)
{
	struct op_start *o = &c->job->start;
	struct pgfacts f;
	struct pgerr err;

	settings_major(c);
	f = settings_facts(c, ROLE_PRIMARY);
	append_hba(c, &f);
	if (!pgconf_backup(c->conf, c->params, &f, &err))
		log_warn("%s", err.text);
	o->role = recovery != NULL || keep ? ROLE_REPLICA : ROLE_PRIMARY;
	o->recovery = recovery;
	o->keep_recovery = keep;
	o->timeout_ns = 0;
	o->callback = CALLBACK_NONE; /* suppressed until the HA loop is done */
	start_begin(c, bootstrap_started);
}

static void
custom_ended(struct controller *c)
{
	const char *method = pgconf_bootstrap_method(c->conf);
	const struct tree *root = tree_get(c->conf->root, "bootstrap");
	const struct tree *section, *conf;
	struct tree *recovery = NULL;
	char trigger[PATH_SIZE];
	struct pgfacts f;
	struct pgerr err;
	bool keep;

	section = method != NULL ? tree_get(root, method) : NULL;
	keep = tree_path_bool(section, "keep_existing_recovery_conf", false);
	settings_major(c);
	f = settings_facts(c, ROLE_REPLICA);
	if (!pgconf_restore(c->conf, c->params, &f, &err))
		log_warn("%s", err.text);
	pgconf_trigger_file(c->conf, c->major, trigger);
	if (trigger[0] != '\0')
		unlink(trigger);
	c->custom_bootstrap = true;
	c->keep_recovery_conf = keep;
	conf = tree_get(section, "recovery_conf");
	if (tree_count(conf) > 0)
		recovery = pgconf_bootstrap_recovery(conf, &f);
	start_new_cluster(c, recovery, keep && recovery == NULL);
}

static void
bootstrap_step(struct controller *c)
{
	struct job *j = c->job;
	bool ok = j->end.started && j->end.code == 0;

	if (j->phase == INITDB) {
		remove_password(j);
		if (!ok) {
			log_error("initdb exited with code %d: %s", j->end.code,
			    j->end.started ? j->end.err :
					     strerror(j->end.error));
			fail(c, STATE_INITDB_FAILED, "initdb failed");
			return;
		}
		start_new_cluster(c, NULL, false);
		return;
	}
	if (!ok) {
		fail(c, STATE_CUSTOM_BOOTSTRAP_FAILED,
		    "custom bootstrap failed");
		return;
	}
	custom_ended(c);
}

static void
begin_initdb(struct controller *c)
{
	const struct tree *super = pgconf_credentials(c->conf, "superuser");
	const char *user = tree_path_text(super, "username", NULL);
	const char *password = tree_path_text(super, "password", NULL);
	struct job *j = c->job;
	char program[PATH_SIZE], arg[PATH_SIZE + 32];
	struct tree *argv, *options;
	struct pgerr err;
	uint32_t i;
	bool ok;

	controller_set_state(c, STATE_INITDB);
	err.text[0] = '\0';
	options = pgoptions(PGTOOL_INITDB,
	    tree_path(c->conf->root, "bootstrap.initdb"), c->binary_version,
	    &err);
	if (options == NULL) {
		log_error("%s", err.text);
		fail(c, STATE_INITDB_FAILED, err.text);
		return;
	}
	pgconf_program(c->conf, "initdb", program);
	argv = tree_list();
	tree_append(argv, tree_text(program));
	for (i = 0; i < tree_count(options); i++)
		tree_append(argv, tree_copy(tree_child(options, i)));
	tree_free(options);
	if (user == NULL)
		user = tree_path_text(super, "user", NULL);
	if (user != NULL && user[0] != '\0') {
		snprintf(arg, sizeof arg, "--username=%s", user);
		tree_append(argv, tree_text(arg));
	}
	if (password != NULL && password[0] != '\0' &&
	    write_password(c, password)) {
		snprintf(arg, sizeof arg, "--pwfile=%s", j->text);
		tree_append(argv, tree_text(arg));
	}
	tree_append(argv, tree_text(c->conf->data_dir));
	j->phase = INITDB;
	ok = job_program_list(c, argv, NULL, true);
	tree_free(argv);
	if (!ok) {
		remove_password(j);
		fail(c, STATE_INITDB_FAILED, strerror(j->end.error));
	}
}

static void
begin_custom(struct controller *c, const char *method)
{
	struct tree *argv = NULL;
	struct pgerr err;
	bool ok;

	controller_set_state(c, STATE_CUSTOM_BOOTSTRAP);
	c->job->phase = CUSTOM;
	ok = pgconf_bootstrap_argv(c->conf, method, &argv, &err);
	if (ok) {
		log_info("Running custom bootstrap script: %s", method);
		ok = job_program_list(c, argv, NULL, false);
		if (!ok)
			snprintf(err.text, sizeof err.text, "%s",
			    strerror(c->job->end.error));
		tree_free(argv);
	}
	if (!ok) {
		log_error("Exception during custom bootstrap: %s", err.text);
		fail(c, STATE_CUSTOM_BOOTSTRAP_FAILED, err.text);
	}
}

void
job_bootstrap(struct controller *c)
{
	const char *method = pgconf_bootstrap_method(c->conf);

	c->job->step = bootstrap_step;
	data_mark(c->conf->data_dir, MARK_BOOTSTRAP);
	if (method == NULL)
		begin_initdb(c);
	else
		begin_custom(c, method);
}

/* ---- after the first start (13.5) ---- */

enum post_phase { SUPERUSER, SCRIPT, ROLES, RESTARTED };

static bool
text_append(char *buf, size_t size, const char *text)
{
	size_t n = strlen(buf), len = strlen(text);

	if (n + len + 1 > size)
		return false;
	memcpy(buf + n, text, len + 1);
	return true;
}

/* One DO block that creates or changes a role. */
static bool
role_sql(char *buf, size_t size, const char *user, const char *password,
    const char *options)
{
	char name[NAME_SIZE * 2 + 8], literal[NAME_SIZE * 2 + 8];
	char secret[1024], what[1400];

	if (!sql_quote_name(user, name, sizeof name) ||
	    !sql_quote(user, literal, sizeof literal))
		return false;
	secret[0] = '\0';
	if (password != NULL && password[0] != '\0' &&
	    (!sql_quote(password, secret, sizeof secret) ||
		strstr(secret, "$patroni$") != NULL))
		return false;
	snprintf(what, sizeof what, "%s WITH %s%s%s;\n", name, options,
	    secret[0] != '\0' ? " PASSWORD " : "", secret);
	wipe(secret, sizeof secret);
	return text_append(buf, size,
		   "DO $patroni$\nBEGIN\n"
		   "SET LOCAL synchronous_commit = 'local';\n"
		   "PERFORM * FROM pg_catalog.pg_authid WHERE rolname = ") &&
	    text_append(buf, size, literal) &&
	    text_append(buf, size, ";\nIF FOUND THEN\nALTER ROLE ") &&
	    text_append(buf, size, what) &&
	    text_append(buf, size, "ELSE\nCREATE ROLE ") &&
	    text_append(buf, size, what) &&
	    text_append(buf, size, "END IF;\nEND;\n$patroni$;\n");
}

static const char *
credential(const struct tree *record, const char *key)
{
	const char *v = tree_path_text(record, key, NULL);

	if (v == NULL && strcmp(key, "username") == 0)
		v = tree_path_text(record, "user", NULL);
	return v != NULL && v[0] != '\0' ? v : NULL;
}

static bool
rewind_grants(char *buf, size_t size, const char *user)
{
	static const char *const functions[] = {
		"pg_ls_dir(text, boolean, boolean)",
		"pg_stat_file(text, boolean)", "pg_read_binary_file(text)",
		"pg_read_binary_file(text, bigint, bigint, boolean)", NULL
	};
	char name[NAME_SIZE * 2 + 8], line[512];
	int i;

	if (!sql_quote_name(user, name, sizeof name))
		return false;
	for (i = 0; functions[i] != NULL; i++) {
		snprintf(line, sizeof line,
		    "GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %s;\n",
		    functions[i], name);
		if (!text_append(buf, size, line))
			return false;
	}
	return true;
}

static bool
users_sql(struct controller *c, char *buf, size_t size)
{
	const struct tree *repl = pgconf_credentials(c->conf, "replication");
	const struct tree *rew = pgconf_credentials(c->conf, "rewind");
	const struct tree *super = pgconf_credentials(c->conf, "superuser");
	const char *user = credential(repl, "username");

	if (user != NULL &&
	    !role_sql(buf, size, user, credential(repl, "password"),
		"REPLICATION LOGIN"))
		return false;
	user = credential(rew, "username");
	if (c->major < 110000 || user == NULL || tree_equal_loose(rew, super))
		return true;
	return role_sql(
		   buf, size, user, credential(rew, "password"), "LOGIN") &&
	    rewind_grants(buf, size, user);
}

/* The password must reach neither the server's log nor an extension.  Set with
 * the connection: the server logs the text of several statements in one
 * before it runs the first of them. */
static const char quiet[] =
    "-c statement_timeout=0 -c search_path=pg_catalog"
    " -c log_statement=none -c log_min_duration_statement=-1"
    " -c log_min_error_statement=log"
    " -c pg_stat_statements.track_utility=off -c pgaudit.log=none"
    " -c synchronous_commit=local";

static bool
run_sql(struct controller *c, const char *body)
{
	struct pgfeatures f = pgfeatures(c->major);
	char options[sizeof quiet + 128];
	struct tree *info;

	info = pgconf_connection(
	    c->conf, PGCONN_HEARTBEAT, NULL, c->params, c->major);
	if (info == NULL)
		return false;
	snprintf(options, sizeof options, "%s%s%s", quiet,
	    f.log_transactions ? " -c log_transaction_sample_rate=0" : "",
	    f.log_samples ? " -c log_min_duration_sample=-1" : "");
	tree_set(info, "options", tree_text(options));
	return job_connect(c, info) && job_query(c, body, 60 * NS_PER_SEC);
}

static void
post_failed(struct controller *c, const char *why)
{
	log_error("post_bootstrap: %s", why);
	job_fail(c, why);
}

static void
begin_roles(struct controller *c)
{
	char *buf = calloc(1, ROLE_SQL);
	bool ok;

	c->job->phase = ROLES;
	ok = buf != NULL && users_sql(c, buf, ROLE_SQL) && run_sql(c, buf);
	if (buf != NULL)
		wipe(buf, ROLE_SQL);
	free(buf);
	if (!ok)
		post_failed(c, "could not create the users");
}

static const char *
script_command(const struct controller *c)
{
	const char *s =
	    tree_path_text(c->conf->root, "bootstrap.post_bootstrap", NULL);

	return s != NULL ?
	    s :
	    tree_path_text(c->conf->root, "bootstrap.post_init", NULL);
}

static bool
begin_script(struct controller *c)
{
	static const char options[] =
	    "PGOPTIONS=-c synchronous_commit=local -c statement_timeout=0";
	const char *command, *env[3] = { options, NULL, NULL };
	struct job *j = c->job;
	struct tree *argv, *info;
	struct pgerr err;
	bool written = false, ok;
	char *conn;

	command = script_command(c);
	if (command == NULL)
		return false;
	j->phase = SCRIPT;
	argv = pgwords(command, &err);
	info = pgconf_connection(
	    c->conf, PGCONN_HEARTBEAT, NULL, c->params, c->major);
	if (argv == NULL || info == NULL) {
		tree_free(argv);
		tree_free_wiped(info);
		log_error("post_init script %s failed", command);
		return false;
	}
	tree_remove(info, "options");
	tree_remove(info, "application_name");
	tree_remove(info, "fallback_application_name");
	tree_remove(info, "connect_timeout");
	if (!pgconf_write_pgpass(c->conf, info, &written, &err))
		log_error("%s", err.text);
	if (written) {
		snprintf(j->pgpass, sizeof j->pgpass, "PGPASSFILE=%s",
		    c->conf->pgpass);
		env[1] = j->pgpass;
	}
	conn = conninfo_format(info, 0, NULL);
	tree_append(argv, tree_text(conn != NULL ? conn : ""));
	free(conn);
	tree_free_wiped(info);
	ok = job_program_list(c, argv, env, false);
	tree_free(argv);
	return ok;
}

static void
script_or_roles(struct controller *c)
{
	if (script_command(c) == NULL)
		begin_roles(c);
	else if (!begin_script(c))
		post_failed(c, "post_init script could not be run");
}

static void
post_restarted(struct controller *c, enum ha_job_result r)
{
	job_finish(c, r == JOB_OK ? JOB_OK : JOB_FAILED);
}

static void
post_stopped(struct controller *c, enum ha_job_result r)
{
	if (r != JOB_OK) {
		job_finish(c, JOB_FAILED);
		return;
	}
	c->job->start.role = ROLE_PRIMARY;
	c->job->start.callback = CALLBACK_NONE;
	start_begin(c, post_restarted);
}

/* Custom bootstrap: back to the configured files (13.5 step 6). */
static void
end_custom(struct controller *c)
{
	struct pgfacts f;
	struct pgerr err;

	c->custom_bootstrap = c->keep_recovery_conf = false;
	f = settings_facts(c, ROLE_PRIMARY);
	if (!pgconf_restore(c->conf, c->params, &f, &err))
		log_warn("%s", err.text);
	if (!settings_write(c, pgconf_server_params(c->conf, &f), NULL,
		ROLE_PRIMARY, true, &err)) {
		post_failed(c, err.text);
		return;
	}
	if (tree_count(c->reasons) == 0 &&
	    tree_get_nocase(c->params, "hba_file") == NULL) {
		(void)settings_signal_reload(c, false);
		sql_close(c->heartbeat);
		job_finish(c, JOB_OK);
		return;
	}
	c->job->stop.mode = STOP_FAST;
	c->job->stop.checkpoint = true;
	stop_begin(c, post_stopped);
}

static void
post_step(struct controller *c)
{
	struct job *j = c->job;

	if (j->cancelled) {
		job_finish(c, JOB_CANCELLED);
		return;
	}
	switch ((enum post_phase)j->phase) {
	case SUPERUSER:
		if (j->sql_outcome != SQL_OK) {
			post_failed(c, j->sql_text);
			return;
		}
		script_or_roles(c);
		return;
	case SCRIPT:
		if (!j->end.started || j->end.code != 0) {
			log_error(
			    "post_init script %s returned non-zero code %d",
			    script_command(c), j->end.code);
			job_fail(c, "post_init script failed");
			return;
		}
		begin_roles(c);
		return;
	case ROLES:
		if (j->sql_outcome != SQL_OK)
			post_failed(c, j->sql_text);
		else if (c->custom_bootstrap)
			end_custom(c);
		else
			job_finish(c, JOB_OK);
		return;
	case RESTARTED:
		return;
	}
}

void
job_post_bootstrap(struct controller *c)
{
	const struct tree *super = pgconf_credentials(c->conf, "superuser");
	const char *user = credential(super, "username");
	const char *password = credential(super, "password");
	char *buf;
	bool ok;

	c->job->step = post_step;
	if (tree_count(tree_path(c->conf->root, "bootstrap.users")) > 0)
		log_error(
		    "User creation is not be supported starting from v4.0.0. Please use \"bootstrap.post_bootstrap\" script to create users.");
	if (user == NULL || password == NULL) {
		script_or_roles(c);
		return;
	}
	c->job->phase = SUPERUSER;
	buf = calloc(1, ROLE_SQL);
	ok = buf != NULL &&
	    role_sql(buf, ROLE_SQL, user, password, "SUPERUSER LOGIN") &&
	    run_sql(c, buf);
	if (buf != NULL)
		wipe(buf, ROLE_SQL);
	free(buf);
	if (!ok)
		post_failed(c, "could not change the superuser");
}
