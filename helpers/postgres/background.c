/*
 * background.c: work of the core's that does not make the node busy: a
 * CHECKPOINT, synchronous_standby_names, small statements, a new dynamic
 * document, the cache file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"

#define SHORT (3 * NS_PER_SEC)
#define CHECKPOINT_LIMIT (24 * 3600 * NS_PER_SEC)

struct background {
	struct controller *c;
	struct sql *checkpoint; /* its own connection: no statement timeout */
	uint64_t checkpoint_ask;
};

struct statement {
	struct controller *c;
	uint64_t ask;
};

struct background *
background_new(struct controller *c)
{
	struct background *b = calloc(1, sizeof *b);

	if (b != NULL)
		b->c = c;
	return b;
}

static void
done(struct controller *c, uint64_t ask, enum ha_job_result r, const char *why)
{
	struct ha_ev ev;

	if (ask == 0)
		return;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_JOB_DONE;
	ev.id = ask;
	ev.result = r;
	ev.error = why;
	controller_feed(c, &ev);
}

static void
on_checkpoint(const struct sql_answer *a, void *arg)
{
	struct background *b = arg;
	uint64_t ask = b->checkpoint_ask;

	b->checkpoint_ask = 0;
	if (a->outcome != SQL_OK)
		log_error("Exception during CHECKPOINT: %s", a->message);
	done(b->c, ask, a->outcome == SQL_OK ? JOB_OK : JOB_FAILED, a->message);
	/* nothing idles around: the next one is a promotion away */
	sql_close(b->checkpoint);
}

static void
checkpoint(struct controller *c, uint64_t ask)
{
	struct background *b = c->background;
	const char *keys[48], *values[48];
	struct tree *info;
	bool ok = false;

	if (b->checkpoint_ask != 0) {
		done(c, ask, JOB_FAILED, "already running");
		return;
	}
	if (b->checkpoint == NULL)
		b->checkpoint = sql_new(c->base, NULL);
	info = pgconf_connection(
	    c->conf, PGCONN_HEARTBEAT, NULL, c->params, c->major);
	if (b->checkpoint != NULL && info != NULL) {
		tree_set(info, "options", tree_text("-c statement_timeout=0"));
		ok = pgconf_libpq_arrays(info, keys, values, 48) &&
		    sql_target(b->checkpoint, keys, values) &&
		    sql_query(b->checkpoint, "CHECKPOINT", 0, NULL,
			CHECKPOINT_LIMIT, on_checkpoint, b) == 0;
	}
	tree_free_wiped(info);
	if (ok)
		b->checkpoint_ask = ask;
	else
		done(c, ask, JOB_FAILED, "no connection");
}

static void
on_statement(const struct sql_answer *a, void *arg)
{
	struct statement *s = arg;

	if (a->outcome != SQL_OK)
		log_error("%s", a->message);
	done(s->c, s->ask, a->outcome == SQL_OK ? JOB_OK : JOB_FAILED,
	    a->message);
	free(s);
}

static void
statement(struct controller *c, uint64_t ask, const char *text)
{
	struct statement *s = calloc(1, sizeof *s);

	if (s != NULL) {
		s->c = c;
		s->ask = ask;
		if (sql_query(c->heartbeat, text, 0, NULL, SHORT, on_statement,
			s) == 0)
			return;
	}
	free(s);
	done(c, ask, JOB_FAILED, "no connection");
}

static void
resume_replay(struct controller *c, uint64_t ask)
{
	struct pgfeatures f = pgfeatures(c->major);
	char text[128];

	snprintf(
	    text, sizeof text, "SELECT pg_catalog.%s()", f.fn_replay_resume);
	statement(c, ask, text);
}

static void
set_ssn(struct controller *c, uint64_t ask, const char *value)
{
	struct pgfacts f;
	struct pgerr err;
	bool changed = c->rewrite || !c->ssn_chosen || c->ssn_unwritten ||
	    c->ssn_set != (value[0] != '\0') || strcmp(c->ssn, value) != 0;
	struct tree *params;

	c->ssn_chosen = true;
	c->ssn_set = value[0] != '\0';
	text_set(c->ssn, sizeof c->ssn, value);
	if (!changed || c->state != STATE_RUNNING) {
		done(c, ask, JOB_OK, NULL);
		return;
	}
	c->ssn_unwritten = true; /* until it is: the next call tries again */
	f = settings_facts(c, c->role);
	params = pgconf_server_params(c->conf, &f);
	/* only this value changes; what waits for a restart goes on waiting */
	if (!settings_write(c, params, NULL, c->role, false, &err)) {
		log_error("%s", err.text);
		done(c, ask, JOB_FAILED, err.text);
		return;
	}
	if (!settings_signal_reload(c, true)) {
		done(c, ask, JOB_FAILED, "the server could not be reloaded");
		return;
	}
	c->ssn_unwritten = false;
	done(c, ask, JOB_OK, NULL);
}

static void
set_config(struct controller *c, uint64_t ask, const struct tree *doc)
{
	struct tree *copy = doc != NULL ? tree_copy(doc) : NULL;
	struct tree *old = c->dynamic;
	struct pgerr err;
	struct pgconf *test;

	err.text[0] = '\0';
	test = pgconf_build(c->local, copy, ROLE_UNINITIALIZED, &err);
	if (test == NULL) {
		log_error("Exception when setting dynamic_configuration: %s",
		    err.text);
		tree_free(copy);
		done(c, ask, JOB_FAILED, err.text);
		return;
	}
	pgconf_free(test);
	c->dynamic = copy;
	c->dynamic_dirty = true;
	tree_free(old);
	(void)settings_build(c, c->role);
	controller_configured(c);
	settings_reload(c, false);
	done(c, ask, JOB_OK, NULL);
}

static bool
cache_write(struct controller *c, struct pgerr *err)
{
	if (c->dynamic == NULL || !c->dynamic_dirty ||
	    data_empty(c->conf->data_dir) != 0)
		return true;
	if (!pgconf_cache_save(c->conf->data_dir, c->dynamic, err)) {
		log_error("Exception when saving file: %s", err->text);
		return false;
	}
	c->dynamic_dirty = false;
	return true;
}

static void
save_cache(struct controller *c, uint64_t ask)
{
	struct pgerr err;

	if (cache_write(c, &err))
		done(c, ask, JOB_OK, NULL);
	else
		done(c, ask, JOB_FAILED, err.text);
}

void
background_cycle_end(struct controller *c)
{
	struct pgerr err;

	/* never into a directory that is just being made */
	if (c->dynamic_dirty && c->role != ROLE_UNINITIALIZED && c->job == NULL)
		(void)cache_write(c, &err);
}

void
background_run(struct controller *c, uint64_t ask, const struct ha_job *j)
{
	switch (j->kind) {
	case JOB_CHECKPOINT:
		checkpoint(c, ask);
		return;
	case JOB_RESUME_REPLAY:
		resume_replay(c, ask);
		return;
	case JOB_ADVANCE_WAL:
		/* One implicit transaction: on an error, as in recovery, the
		 * server ends it itself.  BEGIN would leave the connection in
		 * a failed one, and every status query after it. */
		statement(c, ask,
		    "SET LOCAL synchronous_commit TO off;"
		    " SELECT pg_catalog.txid_current()");
		return;
	case JOB_SET_SSN:
		set_ssn(c, ask, j->text);
		return;
	case JOB_SYNC_SLOTS:
		slots_sync(c, ask);
		return;
	case JOB_SET_CONFIG:
		set_config(c, ask, j->doc);
		return;
	case JOB_SAVE_CACHE:
		save_cache(c, ask);
		return;
	default:
		done(c, ask, JOB_FAILED, "not a background job");
		return;
	}
}
