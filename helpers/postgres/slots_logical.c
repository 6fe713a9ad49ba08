/*
 * slots_logical.c: permanent logical slots (postgres.md 17.4 steps 7 and 8,
 * 17.6-17.8): created on the primary, advanced on standbys, watched until a
 * copied one is safe to be used after a promotion.  The copying itself is
 * job_slots.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slots.h"

#define DATABASE_TIMEOUT (600 * NS_PER_SEC)
#define LEADER_TIMEOUT (3 * NS_PER_SEC)
#define LOCAL_TIMEOUT (3 * NS_PER_SEC)

static void next_task(struct slotwork *);

/* ---- names ---- */

static bool
names_have(const struct slot_names *l, const char *name)
{
	uint32_t i;

	for (i = 0; i < l->n; i++)
		if (strcmp(l->v[i], name) == 0)
			return true;
	return false;
}

static void
names_add(struct slot_names *l, const char *name)
{
	if (l->n < MAX_SLOTS && !names_have(l, name))
		(void)text_set(l->v[l->n++], sizeof l->v[0], name);
}

/* ---- statements in a database ---- */

static void
task_drop(struct slotwork *w, uint32_t i)
{
	w->ntasks--;
	memmove(&w->tasks[i], &w->tasks[i + 1],
	    (w->ntasks - i) * sizeof w->tasks[0]);
}

static void
task_failed(
    struct slotwork *w, const struct slot_task *t, const struct sql_answer *a)
{
	if (t->create) {
		log_error(
		    "Failed to create logical replication slot '%s' plugin='%s': %s",
		    t->name, t->plugin, a->message);
		return;
	}
	log_error("Failed to advance logical replication slot '%s': %s",
	    t->name, a->message);
	/* its WAL is gone or it was invalidated: only a copy helps */
	if (strcmp(a->sqlstate, "58P01") == 0 ||
	    strcmp(a->sqlstate, "55000") == 0)
		names_add(&w->broken, t->name);
}

static void
on_task(const struct sql_answer *a, void *arg)
{
	struct slotwork *w = arg;
	struct slot_task t = w->tasks[0];

	w->running = false;
	task_drop(w, 0);
	if (a->outcome == SQL_LOST) {
		log_error(
		    "Failed to advance replication slots in database %s: %s",
		    t.database, a->message);
		/* the next cycle asks again for what is still wanted */
		w->ntasks = 0;
	} else if (a->outcome != SQL_OK) {
		task_failed(w, &t, a);
	}
	next_task(w);
}

static bool
connect_database(struct slotwork *w, const char *database)
{
	const char *keys[48], *values[48];
	struct controller *c = w->c;
	struct tree *info;
	bool ok;

	if (strcmp(w->database, database) == 0 && sql_connected(w->db))
		return true;
	if (w->db == NULL)
		w->db = sql_new(c->base, NULL);
	info = pgconf_connection(
	    c->conf, PGCONN_HEARTBEAT, NULL, c->params, c->major);
	if (w->db == NULL || info == NULL) {
		tree_free_wiped(info);
		return false;
	}
	sql_close(w->db);
	tree_set(info, "dbname", tree_text(database));
	tree_set(info, "options", tree_text("-c statement_timeout=600000"));
	ok = pgconf_libpq_arrays(info, keys, values, 48) &&
	    sql_target(w->db, keys, values);
	tree_free_wiped(info);
	(void)text_set(w->database, sizeof w->database, database);
	return ok;
}

static void
next_task(struct slotwork *w)
{
	static const char create[] =
	    "SELECT pg_catalog.pg_create_logical_replication_slot($1, $2)"
	    " WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_replication_slots"
	    " WHERE slot_type = 'logical' AND slot_name = $1)";
	static const char advance[] =
	    "SELECT pg_catalog.pg_replication_slot_advance($1, $2::pg_lsn)";
	const char *params[2];
	struct slot_task *t;
	char lsn[32];

	if (w->running)
		return;
	if (w->ntasks == 0) {
		/* an idle connection would keep its database from being
		 * dropped */
		if (w->db != NULL)
			sql_close(w->db);
		w->database[0] = '\0';
		return;
	}
	t = &w->tasks[0];
	snprintf(lsn, sizeof lsn, "%X/%X", (unsigned)(t->lsn >> 32),
	    (unsigned)t->lsn);
	params[0] = t->name;
	params[1] = t->create ? t->plugin : lsn;
	w->running = connect_database(w, t->database) &&
	    sql_query(w->db, t->create ? create : advance, 2, params,
		DATABASE_TIMEOUT, on_task, w) == 0;
	if (!w->running)
		w->ntasks = 0;
}

static void
task_add(struct slotwork *w, const struct pgslot *s, bool create, uint64_t lsn)
{
	struct slot_task *t = NULL;
	uint32_t i;

	/* one that waits takes the new target; the running one is left alone:
	 * the next cycle comes */
	for (i = 0; i < w->ntasks && t == NULL; i++)
		if (strcmp(w->tasks[i].name, s->name) == 0)
			t = &w->tasks[i];
	if (t != NULL && t == &w->tasks[0] && w->running)
		return;
	if (t == NULL) {
		if (w->ntasks >= MAX_SLOTS)
			return;
		t = &w->tasks[w->ntasks++];
	}
	t->create = create;
	t->lsn = lsn;
	(void)text_set(t->name, sizeof t->name, s->name);
	(void)text_set(t->database, sizeof t->database, s->database);
	(void)text_set(t->plugin, sizeof t->plugin, s->plugin);
}

static void
forget_tasks(struct slotwork *w)
{
	if (w->db != NULL)
		sql_forget(w->db);
	w->database[0] = '\0';
	w->ntasks = 0;
	w->running = false;
}

/* ---- readiness (17.7) ---- */

/* Transaction ids are numbers on a circle. */
static bool
xid_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}

static bool
xid_parse(const char *text, uint32_t *out)
{
	int64_t v;

	if (!text_to_int64(text, 0, UINT32_MAX, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

static int
find_row(const PGresult *res, const char *name)
{
	int i;

	for (i = 0; i < PQntuples(res); i++)
		if (strcmp(sql_text(res, i, 0), name) == 0)
			return i;
	return -1;
}

static void
on_feedback(const struct sql_answer *a, void *arg)
{
	(void)arg;
	if (a->outcome == SQL_OK && strcmp(sql_text(a->res, 0, 0), "on") != 0)
		log_error(
		    "Logical slot failover requires \"hot_standby_feedback\". Please check postgresql.auto.conf");
}

/* True: nothing more to be waited for. */
static bool
verified(struct slotwork *w, struct slot_unverified *u, const PGresult *res,
    uint32_t physical)
{
	const struct tree *row = slots_row(w->c->snap.slot_rows, u->name);
	int i = find_row(res, u->name);
	uint32_t xmin;

	if (row == NULL)
		return true;
	if (!u->known && i != -1 && xid_parse(sql_text(res, i, 1), &xmin)) {
		u->known = true;
		u->catalog_xmin = xmin;
	}
	if (!u->known ||
	    !xid_parse(tree_path_text(row, "catalog_xmin", ""), &xmin) ||
	    !xid_le(u->catalog_xmin, physical) || !xid_le(physical, xmin))
		return false;
	log_info(
	    "Logical slot %s is safe to be used after a failover", u->name);
	return true;
}

static void
on_leader(const struct sql_answer *a, void *arg)
{
	struct slotwork *w = arg;
	struct controller *c = w->c;
	uint32_t physical, i, n = 0;
	int row;

	w->asking = false;
	if (a->outcome != SQL_OK) {
		log_error("Failed to check %s physical slot on the primary: %s",
		    w->physical, a->message);
		sql_close(w->leader);
		return;
	}
	row = find_row(a->res, w->physical);
	if (row == -1) {
		log_warn("Physical slot %s does not exist on the primary",
		    w->physical);
	} else if (!xid_parse(sql_text(a->res, row, 1), &physical)) {
		(void)sql_query(c->heartbeat,
		    "SELECT pg_catalog.current_setting('hot_standby_feedback')",
		    0, NULL, LOCAL_TIMEOUT, on_feedback, w);
	} else if (c->snap.sql_ok) {
		for (i = 0; i < w->nqueue; i++)
			if (!verified(w, &w->queue[i], a->res, physical))
				w->queue[n++] = w->queue[i];
		w->nqueue = n;
	}
	sql_close(w->leader);
}

static void
ask_leader(struct slotwork *w, const struct pgslots_in *in)
{
	static const char query[] =
	    "SELECT slot_name, catalog_xmin"
	    " FROM pg_catalog.pg_get_replication_slots()"
	    " WHERE NOT pg_catalog.pg_is_in_recovery()";
	const struct view_member *m = view_member(in->view, in->view->leader);
	const char *keys[48], *values[48];
	struct controller *c = w->c;
	struct tree *info;

	if (w->asking || w->nqueue == 0 || m == NULL ||
	    strcmp(m->name, in->name) == 0)
		return;
	pgslots_on_primary(in->view, in->name, w->physical);
	if (w->physical[0] == '\0')
		return;
	if (w->leader == NULL)
		w->leader = sql_new(c->base, NULL);
	info =
	    pgconf_connection(c->conf, PGCONN_LEADER, m, c->params, c->major);
	w->asking = w->leader != NULL && info != NULL &&
	    pgconf_libpq_arrays(info, keys, values, 48) &&
	    sql_target(w->leader, keys, values) &&
	    sql_query(
		w->leader, query, 0, NULL, LEADER_TIMEOUT, on_leader, w) == 0;
	tree_free_wiped(info);
}

/* A new server: which of its slots are safe is not known. */
static void
fill_queue(struct slotwork *w, const struct tree *rows)
{
	struct controller *c = w->c;
	uint32_t i;

	if (w->postmaster == c->pm.proc.pid)
		return;
	w->postmaster = c->pm.proc.pid;
	w->nqueue = 0;
	for (i = 0; i < tree_count(rows) && w->nqueue < MAX_SLOTS; i++) {
		const struct tree *r = tree_child(rows, i);
		const char *name = tree_path_text(r, "name", "");

		if (strcmp(tree_path_text(r, "type", ""), "logical") != 0 ||
		    tree_path_bool(r, "failover", false) ||
		    pgslots_ignored(c->dynamic, name, "logical",
			tree_path_text(r, "database", ""),
			tree_path_text(r, "plugin", "")))
			continue;
		memset(&w->queue[w->nqueue], 0, sizeof w->queue[0]);
		(void)text_set(
		    w->queue[w->nqueue++].name, sizeof w->queue[0].name, name);
	}
}

/* ---- the sync ---- */

static void
on_primary(
    struct slotwork *w, const struct pgslots *desired, const struct tree *rows)
{
	uint32_t i;

	w->nqueue = w->copy.n = w->broken.n = 0;
	w->postmaster = w->c->pm.proc.pid;
	for (i = 0; i < desired->n; i++)
		if (desired->v[i].logical &&
		    slots_row(rows, desired->v[i].name) == NULL)
			task_add(w, &desired->v[i], true, 0);
}

static void
on_standby(struct slotwork *w, const struct pgslots *desired,
    const struct pgslots_in *in, const struct tree *rows)
{
	uint64_t replayed = w->c->snap.pg.replay_lsn;
	uint32_t i;

	fill_queue(w, rows);
	ask_leader(w, in);
	w->copy.n = 0;
	for (i = 0; i < desired->n; i++) {
		const struct pgslot *s = &desired->v[i];
		const struct tree *row = slots_row(rows, s->name);
		uint64_t target = s->lsn < replayed ? s->lsn : replayed;

		if (!s->logical || s->lsn == 0)
			continue;
		if (row == NULL || names_have(&w->broken, s->name))
			names_add(&w->copy, s->name);
		else if (slots_row_matches(row, s) &&
		    (uint64_t)tree_path_int(row, "confirmed_flush_lsn", 0) <
			target)
			task_add(w, s, false, target);
	}
	w->broken.n = 0;
}

void
slots_logical(struct slotwork *w, const struct pgslots *desired,
    const struct pgslots_in *in)
{
	const struct tree *rows = w->c->snap.slot_rows;

	if (in->major < 110000)
		return;
	if (!w->c->snap.in_recovery)
		on_primary(w, desired, rows);
	else
		on_standby(w, desired, in, rows);
	next_task(w);
}

void
slots_feedback(struct controller *c, const struct pgslots_in *in)
{
	bool need = pgslots_need_feedback(in);
	struct pgerr err;

	if (need == c->feedback || c->params == NULL || c->custom_bootstrap)
		return;
	c->feedback = need;
	if (!settings_write(c, c->params, NULL, c->role, false, &err)) {
		log_error("%s", err.text);
		c->feedback = !need;
		return;
	}
	(void)settings_signal_reload(c, true);
}

/* ---- for others ---- */

void
slots_promote(struct controller *c)
{
	struct slotwork *w = c->slotwork;
	char names[TEXT_SIZE];
	size_t n = 0;
	uint32_t i;

	forget_tasks(w);
	names[0] = '\0';
	for (i = 0; i < w->nqueue && n < sizeof names; i++)
		n += (size_t)snprintf(names + n, sizeof names - n, "%s%s",
		    i > 0 ? ", " : "", w->queue[i].name);
	if (w->nqueue > 0)
		log_warn(
		    "Logical replication slots that might be unsafe to use after promote: %s",
		    names);
	w->nqueue = 0;
}

void
slots_copying(struct controller *c)
{
	forget_tasks(c->slotwork);
	c->slotwork->copy.n = 0;
}

void
slots_to_copy(const struct controller *c, char *out, size_t size)
{
	const struct slot_names *l = &c->slotwork->copy;
	size_t n = 0;
	uint32_t i;

	out[0] = '\0';
	for (i = 0; i < l->n && n < size; i++)
		n += (size_t)snprintf(
		    out + n, size - n, "%s%s", i > 0 ? ", " : "", l->v[i]);
}
