/*
 * settings.c: what the controller writes for the server: which parameters and
 * recovery settings are in force, and reloads (config.md 10.6, 10.7).  The
 * texts themselves are made by the pgconf library.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller.h"
#include "guc.h"

#define QUERY_TIMEOUT (3 * NS_PER_SEC)
#define MAX_ROWS 512

struct pgfacts
settings_facts(struct controller *c, enum pg_role role)
{
	struct pgfacts f;

	memset(&f, 0, sizeof f);
	f.major = c->major;
	f.version = c->major;
	if (c->state == STATE_RUNNING && c->heartbeat != NULL &&
	    sql_server_version(c->heartbeat) > 0)
		f.version = (uint32_t)sql_server_version(c->heartbeat);
	else if (c->binary_version != 0 &&
	    (c->major == 0 || pgversion_major(c->binary_version) == c->major))
		f.version = c->binary_version;
	f.role = role;
	f.umask = c->umask;
	f.known = c->known;
	f.custom_bootstrap = c->custom_bootstrap;
	f.keep_recovery_conf = c->keep_recovery_conf;
	f.force_hot_standby_feedback = c->feedback;
	f.ssn_chosen = c->ssn_chosen;
	f.ssn = c->ssn_set ? c->ssn : NULL;
	return f;
}

static enum pg_role
overlay(enum pg_role role)
{
	switch (role) {
	case ROLE_PRIMARY:
	case ROLE_PROMOTED:
		return ROLE_PRIMARY;
	case ROLE_STANDBY_LEADER:
		return ROLE_STANDBY_LEADER;
	case ROLE_REPLICA:
	case ROLE_DEMOTED:
		return ROLE_REPLICA;
	case ROLE_UNINITIALIZED:
	case ROLE_COUNT:
		break;
	}
	return ROLE_UNINITIALIZED;
}

/* For libpq here, and for the programs that are started. */
void
settings_environment(const struct pgconf *conf, const struct pgconf *old)
{
	if (conf->krbsrvname[0] != '\0')
		(void)setenv("PGKRBSRVNAME", conf->krbsrvname, 1);
	else if (old != NULL && old->krbsrvname[0] != '\0')
		(void)unsetenv("PGKRBSRVNAME");
}

bool
settings_build(struct controller *c, enum pg_role role)
{
	struct pgconf *conf;
	struct pgerr err;

	err.text[0] = '\0';
	conf = pgconf_build(c->local, c->dynamic, overlay(role), &err);
	if (conf == NULL) {
		log_error("Configuration is not usable: %s", err.text);
		return c->conf != NULL;
	}
	if (c->conf != NULL)
		pgconf_keep_fixed(conf, c->conf);
	/* a new address is one of the next start */
	if (c->conf != NULL && c->state == STATE_RUNNING)
		pgconf_keep_address(conf, c->conf, c->params);
	settings_environment(conf, c->conf);
	if (c->previous == NULL)
		c->previous = c->conf;
	else
		pgconf_free(c->conf);
	c->conf = conf;
	return true;
}

void
settings_cycle_end(struct controller *c)
{
	enum pg_role want = overlay(c->role);

	if (c->state != STATE_RUNNING || c->job != NULL)
		return;
	if (want == ROLE_UNINITIALIZED || want == c->conf->overlay) {
		if (c->rewrite)
			settings_reload(c, true);
		return;
	}
	if (!settings_build(c, c->role))
		return;
	controller_configured(c);
	if (!tree_equal(c->previous->pg, c->conf->pg))
		settings_reload(c, false);
}

/* The files say what c->conf says. */
static void
written(struct controller *c)
{
	pgconf_free(c->previous);
	c->previous = NULL;
}

void
settings_major(struct controller *c)
{
	if (c->major == 0)
		c->major = pgversion_read(c->conf->data_dir);
}

struct pgtarget
settings_target(const struct ha_job *j)
{
	struct pgtarget t;

	t.node = j->has_node ? &j->node : NULL;
	t.remote = j->node_remote;
	t.standby_leader = j->role == ROLE_STANDBY_LEADER;
	return t;
}

struct tree *
settings_recovery(struct controller *c, const struct ha_job *j)
{
	struct pgfacts f = settings_facts(c, j->role);
	struct pgtarget t = settings_target(j);

	return pgconf_recovery_settings(c->conf, &f, &t);
}

static bool
write_recovery(struct controller *c, const struct tree *recovery,
    const struct pgfacts *f, struct pgerr *err)
{
	const struct tree *info;
	bool written;

	if (recovery == NULL)
		return pgconf_remove_recovery(c->conf, err);
	info = tree_get(recovery, "primary_conninfo");
	if (f->major >= 100000 && info != NULL && info->type == TREE_MAP &&
	    !pgconf_write_pgpass(c->conf, info, &written, err))
		return false;
	return pgconf_write_recovery(c->conf, recovery, f, err);
}

bool
settings_write(struct controller *c, struct tree *params, struct tree *recovery,
    enum pg_role role, bool signal_files, struct pgerr *err)
{
	struct pgfacts f = settings_facts(c, role);
	bool ok;

	err->text[0] = '\0';
	if (params != c->params)
		tree_free(c->params);
	c->params = params;
	if (signal_files || recovery != NULL) {
		tree_free_wiped(c->recovery);
		c->recovery = recovery;
		c->written_at = clock_boot_ns();
	}
	ok = !signal_files || write_recovery(c, recovery, &f, err);
	ok = ok &&
	    pgconf_write_conf(c->conf, c->params, c->recovery, &f, err) &&
	    pgconf_write_hba(c->conf, c->params, &f, err) &&
	    pgconf_write_ident(c->conf, c->params, &f, err);
	c->rewrite = !ok;
	if (ok)
		written(c);
	return ok;
}

bool
settings_signal_reload(struct controller *c, bool callback)
{
	if (postmaster_signal(&c->pm, SIGHUP) == -1)
		return false;
	disk_clean_running(c);
	if (callback)
		callback_run(c, CALLBACK_ON_RELOAD, c->role);
	return true;
}

/* ---- comparing with the running server ---- */

struct reload {
	struct controller *c;
	struct tree *after;
	bool force;
	void (*cb)(struct controller *, void *);
	void *arg;
};

static void
reload_end(struct reload *r)
{
	struct controller *c = r->c;

	tree_free(r->after);
	if (r->cb != NULL)
		r->cb(c, r->arg);
	free(r);
}

static const char *
nullable(const PGresult *res, int row, int col)
{
	return PQgetisnull(res, row, col) ? NULL : PQgetvalue(res, row, col);
}

static size_t
read_rows(const PGresult *res, struct pgsetting *rows, size_t max)
{
	int i, n = PQntuples(res);

	if (n > (int)max)
		n = (int)max;
	for (i = 0; i < n; i++) {
		rows[i].name = nullable(res, i, 0);
		rows[i].setting = nullable(res, i, 1);
		rows[i].unit = nullable(res, i, 2);
		rows[i].vartype = nullable(res, i, 3);
		rows[i].context = nullable(res, i, 4);
		rows[i].sourcefile = nullable(res, i, 5);
	}
	return (size_t)n;
}

/* Step 8 of 10.6: write what changed, and signal. */
static void
reload_apply(struct reload *r, const struct pgreload *d)
{
	struct controller *c = r->c;
	struct pgfacts f = settings_facts(c, c->role);
	struct pgerr err;
	bool ok = true;

	err.text[0] = '\0';
	tree_free(c->params);
	c->params = r->after;
	r->after = NULL;
	if (c->custom_bootstrap) {
		log_info(
		    "Skipping PostgreSQL configuration update while in custom bootstrap.");
		return;
	}
	if (d->conf || r->force)
		ok = pgconf_write_conf(
		    c->conf, c->params, c->recovery, &f, &err);
	if (ok && (d->hba || r->force))
		ok = pgconf_write_hba(c->conf, c->params, &f, &err);
	if (ok && (d->ident || r->force))
		ok = pgconf_write_ident(c->conf, c->params, &f, &err);
	/* a full disk, say: old files stay whole, the next cycle tries again */
	c->rewrite = !ok;
	if (!ok) {
		log_error("%s", err.text);
		return;
	}
	written(c);
	if (d->conf || d->hba || d->ident || r->force) {
		log_info("Reloading PostgreSQL configuration.");
		if (settings_signal_reload(c, true))
			pending_look(c);
	} else {
		log_info(
		    "No PostgreSQL configuration items changed, nothing to reload.");
	}
}

static void
on_rows(const struct sql_answer *a, void *arg)
{
	static struct pgsetting rows[MAX_ROWS];
	struct reload *r = arg;
	struct controller *c = r->c;
	struct pgreload d;
	size_t n = 0;

	memset(&d, 0, sizeof d);
	if (a->outcome != SQL_OK) {
		log_warn("Exception when reading pg_settings: %s", a->message);
		reload_end(r);
		return;
	}
	n = read_rows(a->res, rows, MAX_ROWS);
	pgconf_compare(c->conf, c->previous, c->params, r->after, rows, n,
	    c->state == STATE_RUNNING, &d);
	tree_free(c->reasons);
	c->reasons = d.pending != NULL ? d.pending : tree_map();
	reload_apply(r, &d);
	reload_end(r);
}

/* The array literal of the names to be read. */
static char *
names_array(const struct tree *names)
{
	size_t size = 3, n = 1;
	uint32_t i;
	char *s;

	for (i = 0; i < tree_count(names); i++)
		size += strlen(tree_child(names, i)->u.s) * 2 + 3;
	s = malloc(size);
	if (s == NULL)
		return NULL;
	s[0] = '{';
	for (i = 0; i < tree_count(names); i++) {
		const char *p = tree_child(names, i)->u.s;

		if (i > 0)
			s[n++] = ',';
		s[n++] = '"';
		for (; *p != '\0'; p++) {
			if (*p == '"' || *p == '\\')
				s[n++] = '\\';
			s[n++] = *p;
		}
		s[n++] = '"';
	}
	s[n++] = '}';
	s[n] = '\0';
	return s;
}

static void
reload_not_running(struct reload *r)
{
	struct controller *c = r->c;

	tree_free(c->reasons);
	c->reasons = tree_map();
	/* files are written anew at the next start */
	tree_free(c->params);
	c->params = r->after;
	r->after = NULL;
	reload_end(r);
}

static void
reload_begin(struct controller *c, bool force,
    void (*cb)(struct controller *, void *), void *arg)
{
	static const char query[] =
	    "SELECT name, setting, unit, vartype, context, sourcefile"
	    " FROM pg_catalog.pg_settings"
	    " WHERE pg_catalog.lower(name) = ANY($1)";
	struct pgfacts f = settings_facts(c, c->role);
	struct reload *r = calloc(1, sizeof *r);
	const char *param[1];
	struct tree *names;
	char *array;
	int sent = -1;

	if (r == NULL)
		return;
	r->c = c;
	r->force = force;
	r->cb = cb;
	r->arg = arg;
	r->after = pgconf_server_params(c->conf, &f);
	if (c->state != STATE_RUNNING) {
		reload_not_running(r);
		return;
	}
	names = pgconf_compare_names(c->params, r->after);
	array = names_array(names);
	tree_free(names);
	param[0] = array;
	if (array != NULL)
		sent = sql_query(
		    c->heartbeat, query, 1, param, QUERY_TIMEOUT, on_rows, r);
	free(array);
	if (sent == -1)
		reload_end(r);
}

/*
 * settings_build() has already put the new configuration in force; c->previous
 * is the one that the files were written from, also when a reload in between
 * has failed.
 */
void
settings_reload(struct controller *c, bool force)
{
	reload_begin(c, force, NULL, NULL);
}

/* ---- attaching (10.7) ---- */

struct attach {
	struct controller *c;
	void (*cb)(struct controller *, void *);
	void *arg;
};

static void
attach_end(struct attach *a)
{
	a->cb(a->c, a->arg);
	free(a);
}

static bool
is_fixed(const char *name)
{
	return strcmp(name, "listen_addresses") == 0 ||
	    strcmp(name, "port") == 0 || strcmp(name, "cluster_name") == 0;
}

/* The running values become the "previous set"; the recovery parameters among
 * them stay in the file: on a standby until the first follow, on a primary
 * because the server would complain of targets that it cannot reset. */
static void
take_current(struct controller *c, const PGresult *res, bool standby)
{
	struct pgfacts f = settings_facts(c, c->role);
	struct tree *configured = pgconf_server_params(c->conf, &f);
	int i;

	tree_free(c->params);
	c->params = tree_map();
	tree_free_wiped(c->recovery);
	c->recovery = c->major >= 120000 ? tree_map() : NULL;
	for (i = 0; i < PQntuples(res); i++) {
		const char *name = sql_text(res, i, 0);
		const char *value = sql_text(res, i, 1);
		struct tree *info;

		if (recovery_param_is(name)) {
			if (c->recovery == NULL)
				continue;
			info = strcmp(name, "primary_conninfo") == 0 &&
				value[0] != '\0' ?
			    conninfo_parse(value) :
			    NULL;
			tree_set(c->recovery, name,
			    info != NULL ? info : tree_text(value));
		} else if (is_fixed(name)) {
			const struct tree *t =
			    tree_get_nocase(configured, name);

			if (t != NULL)
				tree_set(c->params, name, tree_copy(t));
		} else {
			tree_set(c->params, name, tree_text(value));
		}
	}
	if (c->recovery != NULL && standby)
		tree_set(c->recovery, "standby_mode", tree_text("on"));
	tree_free(configured);
}

/*
 * What commits wait for was chosen by the manager before us, and /sync relies
 * on it: it stays until the HA loop chooses anew.  Were it taken away first,
 * commits would be acknowledged that nobody else has.
 */
static void
keep_ssn(struct controller *c)
{
	const struct tree *t =
	    tree_get_nocase(c->params, "synchronous_standby_names");

	if (!c->conf->synchronous_mode || c->ssn_chosen || t == NULL ||
	    t->type != TREE_TEXT || t->u.s[0] == '\0' ||
	    !text_set(c->ssn, sizeof c->ssn, t->u.s))
		return;
	c->ssn_chosen = c->ssn_set = true;
}

static void
attach_reloaded(struct controller *c, void *arg)
{
	(void)c;
	attach_end(arg);
}

static void
on_current(const struct sql_answer *a, void *arg)
{
	struct attach *at = arg;
	struct controller *c = at->c;
	struct pgfacts f;
	struct pgerr err;
	bool standby = c->role != ROLE_PRIMARY;

	if (a->outcome != SQL_OK) {
		log_warn("Exception when reading pg_settings: %s", a->message);
		attach_end(at);
		return;
	}
	take_current(c, a->res, standby);
	keep_ssn(c);
	/* what the files were written from is not known */
	written(c);
	f = settings_facts(c, c->role);
	if (standby && c->major >= 120000) {
		/* its postgresql.conf is rewritten by the first follow */
		c->reload_forced = true;
		if (!pgconf_write_hba(c->conf, c->params, &f, &err) ||
		    !pgconf_write_ident(c->conf, c->params, &f, &err))
			log_error("%s", err.text);
		(void)settings_signal_reload(c, true);
		attach_end(at);
		return;
	}
	/* after a crash of this process alone the files are its own */
	reload_begin(c, c->first_start, attach_reloaded, at);
}

void
settings_attached(
    struct controller *c, void (*cb)(struct controller *, void *), void *arg)
{
	static const char query[] =
	    "SELECT name, pg_catalog.current_setting(name)"
	    " FROM pg_catalog.pg_settings"
	    " WHERE source IN ('command line', 'environment variable')"
	    " OR sourcefile = $1 OR name = ANY($2)";
	struct attach *a = calloc(1, sizeof *a);
	char file[PATH_SIZE];
	const char *params[2] = { file,
		"{max_connections,max_locks_per_transaction,max_worker_processes,"
		"max_prepared_transactions,wal_level,track_commit_timestamp,"
		"max_wal_senders,max_replication_slots,wal_log_hints,"
		"wal_keep_segments,wal_keep_size,hot_standby,listen_addresses,"
		"port,cluster_name}" };

	if (a == NULL) {
		cb(c, arg);
		return;
	}
	a->c = c;
	a->cb = cb;
	a->arg = arg;
	pgconf_config_file(c->conf, file);
	if (sql_query(c->heartbeat, query, 2, params, QUERY_TIMEOUT, on_current,
		a) == -1)
		attach_end(a);
}

/* ---- names that the server knows ---- */

static void
on_described(const struct child_end *e, void *arg)
{
	struct controller *c = arg;
	struct tree *t;

	t = e->started && e->code == 0 ? guc_describe_parse(e->out) : NULL;
	if (tree_count(t) > 0) {
		tree_free(c->known);
		c->known = t;
	} else {
		tree_free(t);
	}
	controller_probed(c);
}

void
settings_describe(struct controller *c)
{
	char program[PATH_SIZE];
	const char *argv[3] = { program, "--describe-config", NULL };
	struct child_spec spec;

	pgconf_program(c->conf, "postgres", program);
	memset(&spec, 0, sizeof spec);
	spec.argv = argv;
	spec.capture = true;
	spec.timeout_ns = 10 * NS_PER_SEC;
	if (child_run(c->base, &spec, on_described, c) != NULL)
		c->probes++;
}
