/*
 * pending.c: which parameters wait for a restart, as the server itself says
 * after a reload (config.md 10.6, "Pending restart").
 *
 * The server applies a SIGHUP when it gets to it: a second later pg_settings
 * is asked for the rows with pending_restart, and `postgres -C` for each of
 * their new values.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/values.h"
#include "conf_util.h"
#include "controller.h"

#define QUERY_TIMEOUT (3 * NS_PER_SEC)
#define PROGRAM_TIMEOUT (10 * NS_PER_SEC)
#define APPLY_TIME NS_PER_SEC

struct pending {
	struct controller *c;
	struct event *timer;
	bool busy;
	pid_t postmaster;   /* whose answer this is */
	struct tree *rows;  /* {name: {old_value, unit, real}} */
	struct tree *found; /* {name: {old_value, new_value}} */
	uint32_t at;
};

static void next_value(struct pending *);

static void
finish(struct pending *p)
{
	tree_free(p->rows);
	tree_free(p->found);
	p->rows = p->found = NULL;
	p->busy = false;
}

/* What the configuration did not ask for came from ALTER SYSTEM or an
 * included file. */
static void
tell_foreign(struct pending *p)
{
	struct text names = { 0 };
	uint32_t i;

	for (i = 0; i < tree_count(p->found); i++) {
		const char *name = tree_child(p->found, i)->key;

		if (tree_get_nocase(p->c->reasons, name) == NULL)
			text_addf(
			    &names, "%s%s", names.len > 0 ? ", " : "", name);
	}
	if (names.len > 0)
		log_info(
		    "PostgreSQL configuration parameters requiring restart (%s) seem to be changed bypassing Patroni config. Setting 'Pending restart' flag",
		    names.s);
	free(names.s);
}

static void
store(struct pending *p)
{
	struct controller *c = p->c;

	/* started anew in the meantime: nothing waits any more */
	if (c->pm.proc.pid == p->postmaster) {
		tell_foreign(p);
		tree_free(c->reasons);
		c->reasons = p->found;
		p->found = NULL;
		publish_fresh(c);
	}
	finish(p);
}

static void
add_value(struct pending *p, const char *value)
{
	const struct tree *row = tree_child(p->rows, p->at);
	const char *unit = tree_path_text(row, "unit", NULL);
	char human[TEXT_SIZE];
	struct tree *reason = must(tree_map());

	if (tree_path_bool(row, "number", false))
		value_human(value, tree_path_bool(row, "real", false), unit,
		    human, sizeof human);
	else
		snprintf(human, sizeof human, "%s", value);
	put_text(reason, "old_value", tree_path_text(row, "old", ""));
	put_text(reason, "new_value", human);
	put(p->found, row->key, reason);
	p->at++;
}

static void
on_value(const struct child_end *e, void *arg)
{
	struct pending *p = arg;
	char value[TEXT_SIZE];

	if (e->started && e->code == 0)
		snprintf(value, sizeof value, "%.*s",
		    (int)strcspn(e->out, "\n"), e->out);
	else
		snprintf(value, sizeof value, "?");
	add_value(p, value);
	next_value(p);
}

static void
next_value(struct pending *p)
{
	char program[PATH_SIZE], conf[PATH_SIZE], arg[PATH_SIZE + 16];
	struct controller *c = p->c;
	struct child_spec spec;
	const char *argv[] = { program, "-D", c->conf->data_dir, "-C", NULL,
		arg, NULL };

	pgconf_program(c->conf, "postgres", program);
	pgconf_config_file(c->conf, conf);
	snprintf(arg, sizeof arg, "--config-file=%s", conf);
	while (p->at < tree_count(p->rows)) {
		argv[4] = tree_child(p->rows, p->at)->key;
		memset(&spec, 0, sizeof spec);
		spec.argv = argv;
		spec.capture = true;
		spec.timeout_ns = PROGRAM_TIMEOUT;
		if (child_run(c->base, &spec, on_value, p) != NULL)
			return;
		add_value(p, "?");
	}
	store(p);
}

static void
on_rows(const struct sql_answer *a, void *arg)
{
	struct pending *p = arg;
	struct tree *row;
	int i;

	if (a->outcome != SQL_OK) {
		log_warn("Exception %s when running query", a->message);
		finish(p);
		return;
	}
	p->rows = must(tree_map());
	p->found = must(tree_map());
	p->at = 0;
	for (i = 0; i < PQntuples(a->res); i++) {
		const char *name = sql_text(a->res, i, 0);
		const char *type = sql_text(a->res, i, 3);

		if (recovery_param_is(name) || strcmp(name, "hot_standby") == 0)
			continue;
		row = must(tree_map());
		put_text(row, "old", sql_text(a->res, i, 1));
		if (!PQgetisnull(a->res, i, 2))
			put_text(row, "unit", sql_text(a->res, i, 2));
		put(row, "real", must(tree_bool(strcmp(type, "real") == 0)));
		put(row, "number",
		    must(tree_bool(strcmp(type, "real") == 0 ||
			strcmp(type, "integer") == 0)));
		put(p->rows, name, row);
	}
	next_value(p);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	static const char query[] =
	    "SELECT name, pg_catalog.current_setting(name), unit, vartype"
	    " FROM pg_catalog.pg_settings WHERE pending_restart";
	struct pending *p = arg;
	struct controller *c = p->c;

	(void)fd;
	(void)what;
	if (p->busy) {
		pending_look(c); /* after the one that is being made */
		return;
	}
	if (c->state != STATE_RUNNING || c->major < 90500)
		return;
	p->postmaster = c->pm.proc.pid;
	p->busy = sql_query(c->heartbeat, query, 0, NULL, QUERY_TIMEOUT,
		      on_rows, p) == 0;
}

void
pending_look(struct controller *c)
{
	struct timeval tv = controller_timeval(APPLY_TIME);
	struct pending *p = c->pending;

	if (p == NULL) {
		p = c->pending = must(calloc(1, sizeof *p));
		p->c = c;
		p->timer = must(evtimer_new(c->base, on_timer, p));
	}
	evtimer_add(p->timer, &tv);
}
