/*
 * facts.c: what is known about the server without SQL (postgres.md 7, 9):
 * data directory, pg_controldata, WAL dumps.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "history.h"
#include "job.h"

#define PROGRAM_TIMEOUT (10 * NS_PER_SEC)

static const char *const c_locale[] = { "LANG=C", "LC_ALL=C", NULL };

enum ha_datadir
facts_datadir(struct controller *c, char *err, size_t size)
{
	int r = data_empty(c->conf->data_dir);

	err[0] = '\0';
	if (r < 0) {
		snprintf(err, size, "%s: %s", c->conf->data_dir, strerror(-r));
		return DATADIR_UNREADABLE;
	}
	return r == 1 ? DATADIR_EMPTY : DATADIR_OK;
}

enum pg_role
facts_role(struct controller *c)
{
	if (data_empty(c->conf->data_dir) != 0 || c->sysid[0] == '\0')
		return ROLE_UNINITIALIZED;
	return pgconf_has_recovery_files(c->conf, c->major) ? ROLE_REPLICA :
							      ROLE_PRIMARY;
}

/* ---- pg_controldata ---- */

struct controldata {
	struct controller *c;
	controldata_cb cb;
	void *arg;
	struct event *soon;
};

static void
controldata_end(struct controldata *d, const struct tree *t)
{
	d->cb(d->c, t, d->arg);
	if (d->soon != NULL)
		event_free(d->soon);
	free(d);
}

static void
on_controldata(const struct child_end *e, void *arg)
{
	struct controldata *d = arg;
	struct tree *t;

	if (!e->started || e->code != 0) {
		log_error("Error when calling pg_controldata: %s",
		    e->started ? e->err : strerror(e->error));
		t = tree_map();
	} else {
		t = control_parse(e->out);
	}
	controldata_end(d, t);
	tree_free(t);
}

static void
on_no_controldata(evutil_socket_t fd, short what, void *arg)
{
	struct tree *t = tree_map();

	(void)fd;
	(void)what;
	controldata_end(arg, t);
	tree_free(t);
}

static bool
run_controldata(struct controldata *d)
{
	struct controller *c = d->c;
	char program[PATH_SIZE];
	const char *argv[3] = { program, c->conf->data_dir, NULL };
	struct child_spec spec;
	char **env;
	bool ok;

	if (c->state == STATE_CREATING_REPLICA ||
	    data_empty(c->conf->data_dir) != 0)
		return false;
	env = child_environment(c_locale, false);
	if (env == NULL)
		return false;
	pgconf_program(c->conf, "pg_controldata", program);
	memset(&spec, 0, sizeof spec);
	spec.argv = argv;
	spec.envp = env;
	spec.capture = true;
	spec.timeout_ns = PROGRAM_TIMEOUT;
	ok = child_run(c->base, &spec, on_controldata, d) != NULL;
	free(env);
	return ok;
}

void
facts_controldata(struct controller *c, controldata_cb cb, void *arg)
{
	struct controldata *d = calloc(1, sizeof *d);
	struct timeval now = { 0, 0 };

	if (d == NULL)
		fatal("out of memory");
	d->c = c;
	d->cb = cb;
	d->arg = arg;
	if (run_controldata(d))
		return;
	/* callers rely on not being called from here */
	d->soon = evtimer_new(c->base, on_no_controldata, d);
	if (d->soon == NULL || evtimer_add(d->soon, &now) == -1)
		fatal("out of memory");
}

/* ---- facts of every snapshot ---- */

struct refresh {
	void (*cb)(struct controller *, void *);
	void *arg;
};

static void
on_refreshed(struct controller *c, const struct tree *t, void *arg)
{
	struct refresh *r = arg;
	const char *id = control_value(t, "Database system identifier");
	int64_t v;

	c->sysid[0] = '\0';
	if (id != NULL && strlen(id) >= 10 &&
	    text_to_int64(id, 1, INT64_MAX, &v))
		text_set(c->sysid, sizeof c->sysid, id);
	c->rewind_possible = control_rewind_possible(t);
	c->facts_fresh = tree_count(t) > 0;
	if (c->facts_fresh && c->conf->use_pg_rewind && !c->rewind_possible)
		log_debug(
		    "pg_rewind is not possible: neither wal_log_hints nor data checksums are on");
	else if (c->facts_fresh && c->conf->use_pg_rewind && !c->rewind_works)
		log_debug(
		    "pg_rewind is not possible: `pg_rewind --help` does not work");
	r->cb(c, r->arg);
	free(r);
}

void
facts_refresh(
    struct controller *c, void (*cb)(struct controller *, void *), void *arg)
{
	struct refresh *r;

	/* while a job is at the directory nothing there is settled */
	if (c->facts_fresh || data_empty(c->conf->data_dir) != 0 ||
	    (c->job != NULL && c->sysid[0] != '\0')) {
		cb(c, arg);
		return;
	}
	r = calloc(1, sizeof *r);
	if (r == NULL)
		fatal("out of memory");
	r->cb = cb;
	r->arg = arg;
	facts_controldata(c, on_refreshed, r);
}

static bool
file_exists(const struct controller *c, const char *name)
{
	char path[PATH_SIZE + 64];

	snprintf(path, sizeof path, "%s/%s", c->conf->data_dir, name);
	return access(path, F_OK) == 0;
}

void
facts_fill(struct controller *c, struct ha_pg *p)
{
	p->running = postmaster_alive(&c->pm);
	p->state = c->state;
	p->state_since = c->state_since;
	p->datadir =
	    facts_datadir(c, p->datadir_error, sizeof p->datadir_error);
	if (p->datadir == DATADIR_EMPTY) {
		c->sysid[0] = '\0';
		c->facts_fresh = false;
		c->major = 0;
	}
	text_set(p->sysid, sizeof p->sysid, c->sysid);
	p->server_version = sql_connected(c->heartbeat) ?
	    (uint32_t)sql_server_version(c->heartbeat) :
	    c->major;
	p->has_recovery_files = p->datadir == DATADIR_OK &&
	    pgconf_has_recovery_files(c->conf, c->major);
	p->has_backup_label = file_exists(c, "backup_label");
	p->pg_rewind_possible =
	    c->conf->use_pg_rewind && c->rewind_works && c->rewind_possible;
	p->callback_seen = c->callback_seen;
	slots_to_copy(c, p->slots_to_copy, sizeof p->slots_to_copy);
	p->pending_restart = tree_count(c->reasons) > 0;
	p->pending_restart_reason = p->pending_restart ? c->reasons : NULL;
}

bool
facts_timeline_file(struct controller *c, uint32_t timeline)
{
	char path[PATH_SIZE];

	history_path(c->conf->data_dir, c->major, timeline, path);
	return access(path, F_OK) == 0;
}

/* ---- FX_CONTROL: the facts, and the previous LSN from two dumps (7.3) ---- */

struct dump {
	struct controller *c;
	uint32_t timeline;
	bool previous;
	struct ha_control control;
	struct tree *data;
	uint64_t prev;
	bool second;
	control_cb cb;
	void *arg;
};

static void
dump_end(struct dump *d)
{
	d->cb(d->c, &d->control, d->data, d->arg);
	tree_free(d->data);
	free(d);
}

static void on_dump(const struct child_end *, void *);

bool
facts_dump(struct controller *c, uint32_t timeline, uint64_t lsn, int count,
    child_cb cb, void *arg)
{
	struct pgfeatures f = pgfeatures(c->major);
	char program[PATH_SIZE], tli[16], start[32], n[16];
	char pgdata[PATH_SIZE + 16];
	const char *argv[] = { program, "-t", tli, "-s", start, "-n", n, NULL };
	const char *extra[] = { "LANG=C", "LC_ALL=C", pgdata, NULL };
	struct child_spec spec;
	char **env;
	bool ok;

	pgconf_program(c->conf, f.waldump, program);
	snprintf(tli, sizeof tli, "%u", timeline);
	snprintf(n, sizeof n, "%d", count);
	snprintf(pgdata, sizeof pgdata, "PGDATA=%s", c->conf->data_dir);
	lsn_format(lsn, start);
	env = child_environment(extra, false);
	if (env == NULL)
		return false;
	memset(&spec, 0, sizeof spec);
	spec.argv = argv;
	spec.envp = env;
	spec.capture = true;
	spec.timeout_ns = PROGRAM_TIMEOUT;
	ok = child_run(c->base, &spec, cb, arg) != NULL;
	free(env);
	return ok;
}

static void
on_dump(const struct child_end *e, void *arg)
{
	struct dump *d = arg;
	uint64_t prev = 0;

	if (d->second) {
		if (e->started && wal_is_switch(e->out, d->c->major))
			d->control.prev_lsn = d->prev;
		dump_end(d);
		return;
	}
	if (!e->started ||
	    !wal_is_shutdown_checkpoint(
		e->out, d->control.checkpoint_lsn, &prev)) {
		dump_end(d);
		return;
	}
	d->prev = prev;
	d->second = true;
	if (!facts_dump(d->c, d->control.timeline, prev, 1, on_dump, d))
		dump_end(d);
}

static void
on_control(struct controller *c, const struct tree *t, void *arg)
{
	struct dump *d = arg;

	control_fill(t, &d->control);
	d->data = tree_copy(t);
	if (d->timeline != 0)
		d->control.has_history_file =
		    facts_timeline_file(c, d->timeline);
	if (!d->previous || !d->control.ok ||
	    d->control.state != CONTROL_SHUT_DOWN ||
	    !facts_dump(c, d->control.timeline, d->control.checkpoint_lsn, 1,
		on_dump, d))
		dump_end(d);
}

void
facts_control(struct controller *c, uint32_t timeline, bool previous,
    control_cb cb, void *arg)
{
	struct dump *d = calloc(1, sizeof *d);

	if (d == NULL)
		fatal("out of memory");
	d->c = c;
	d->timeline = timeline;
	d->previous = previous;
	d->cb = cb;
	d->arg = arg;
	facts_controldata(c, on_control, d);
}
