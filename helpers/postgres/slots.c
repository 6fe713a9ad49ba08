/*
 * slots.c: physical replication slots of the members and permanent physical
 * slots (postgres.md 17.3, 17.4): the desired set comes from pgslots_*(), the
 * known set from the status query, the differences become statements on the
 * heartbeat connection, one after the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slots.h"

#define STATEMENT_TIMEOUT (3 * NS_PER_SEC)
#define MAX_WAITING 8

enum statement_kind { CREATE, DROP, ADVANCE };

struct statement {
	struct slotwork *w;
	enum statement_kind kind;
	char position[32]; /* as text */
	char name[64];
};

struct slotwork *
slotwork_new(struct controller *c)
{
	struct slotwork *w = calloc(1, sizeof *w);

	if (w != NULL)
		w->c = c;
	return w;
}

static void
end(struct slotwork *w)
{
	struct ha_ev ev;

	if (w->waiting > 0)
		return;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_JOB_DONE;
	ev.id = w->ask;
	ev.result = w->failed ? JOB_FAILED : JOB_OK;
	w->ask = 0;
	if (ev.id != 0)
		controller_feed(w->c, &ev);
}

static void
dropped(const struct statement *s, const struct sql_answer *a)
{
	if (sql_bool(a->res, 0, 1))
		log_info("Dropped replication slot '%s'", s->name);
	else if (sql_bool(a->res, 0, 0))
		log_warn("Unable to drop replication slot '%s', slot is active",
		    s->name);
	else
		log_error("Failed to drop replication slot '%s'", s->name);
}

static void
failed(const struct statement *s, const char *why)
{
	switch (s->kind) {
	case CREATE:
		log_error("Failed to create physical replication slot '%s': %s",
		    s->name, why);
		return;
	case DROP:
		log_error(
		    "Failed to drop replication slot '%s': %s", s->name, why);
		return;
	case ADVANCE:
		log_error(
		    "Error while advancing replication slot %s to position '%s': %s",
		    s->name, s->position, why);
		return;
	}
}

static void
on_statement(const struct sql_answer *a, void *arg)
{
	struct statement *s = arg;
	struct slotwork *w = s->w;

	w->waiting--;
	if (a->outcome != SQL_OK) {
		w->failed = true;
		failed(s, a->message);
	} else if (s->kind == DROP) {
		dropped(s, a);
	}
	free(s);
	end(w);
}

static void
issue(struct slotwork *w, const char *text, const char *name, uint64_t lsn,
    enum statement_kind kind)
{
	struct statement *s = calloc(1, sizeof *s);
	const char *params[2];

	/* the heartbeat shares this queue: leave it room */
	if (s == NULL || w->waiting >= MAX_WAITING) {
		free(s);
		return;
	}
	s->w = w;
	s->kind = kind;
	text_set(s->name, sizeof s->name, name);
	snprintf(s->position, sizeof s->position, "%X/%X",
	    (unsigned)(lsn >> 32), (unsigned)lsn);
	params[0] = name;
	params[1] = s->position;
	if (sql_query(w->c->heartbeat, text, lsn != 0 ? 2 : 1, params,
		STATEMENT_TIMEOUT, on_statement, s) == 0)
		w->waiting++;
	else
		free(s); /* the queue is full: the next cycle goes on */
}

static void
create(struct slotwork *w, const struct pgslot *slot)
{
	/* from 9.6 on WAL is reserved at once */
	issue(w,
	    w->c->major >= 90600 ?
		"SELECT pg_catalog.pg_create_physical_replication_slot($1, true)"
		" WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_replication_slots"
		" WHERE slot_type = 'physical' AND slot_name = $1)" :
		"SELECT pg_catalog.pg_create_physical_replication_slot($1)"
		" WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_replication_slots"
		" WHERE slot_type = 'physical' AND slot_name = $1)",
	    slot->name, 0, CREATE);
}

static void
drop(struct slotwork *w, const char *name)
{
	issue(w,
	    "WITH slots AS (SELECT slot_name, active"
	    " FROM pg_catalog.pg_replication_slots WHERE slot_name = $1),"
	    " dropped AS (SELECT pg_catalog.pg_drop_replication_slot(slot_name),"
	    " true AS dropped FROM slots WHERE not active)"
	    " SELECT active, COALESCE(dropped, false) FROM slots"
	    " FULL OUTER JOIN dropped ON true",
	    name, 0, DROP);
}

static void
advance(struct slotwork *w, const struct pgslot *slot)
{
	issue(w,
	    "SELECT pg_catalog.pg_replication_slot_advance($1, $2::pg_lsn)",
	    slot->name, slot->lsn, ADVANCE);
}

static const struct pgslot *
wanted(const struct pgslots *d, const char *name)
{
	uint32_t i;

	for (i = 0; i < d->n; i++)
		if (strcmp(d->v[i].name, name) == 0)
			return &d->v[i];
	return NULL;
}

const struct tree *
slots_row(const struct tree *rows, const char *name)
{
	uint32_t i;

	for (i = 0; i < tree_count(rows); i++)
		if (strcmp(tree_path_text(tree_child(rows, i), "name", ""),
			name) == 0)
			return tree_child(rows, i);
	return NULL;
}

bool
slots_row_matches(const struct tree *row, const struct pgslot *s)
{
	bool logical = strcmp(tree_path_text(row, "type", ""), "logical") == 0;

	return logical == s->logical &&
	    (!logical ||
		(strcmp(tree_path_text(row, "database", ""), s->database) ==
			0 &&
		    strcmp(tree_path_text(row, "plugin", ""), s->plugin) == 0));
}

/* Step 5: unknown, lost, or of another type. */
static void
drop_unwanted(
    struct slotwork *w, const struct pgslots *d, const struct tree *rows)
{
	struct controller *c = w->c;
	bool paused = ha_paused(c->ha);
	uint32_t i;

	for (i = 0; i < tree_count(rows); i++) {
		const struct tree *r = tree_child(rows, i);
		const char *name = tree_path_text(r, "name", "");
		const char *type = tree_path_text(r, "type", "");
		bool lost =
		    strcmp(tree_path_text(r, "wal_status", ""), "lost") == 0;
		bool logical = strcmp(type, "logical") == 0;
		const struct pgslot *s = wanted(d, name);

		if (logical && tree_path_bool(r, "failover", false))
			continue;
		if (s == NULL || lost) {
			if (paused ||
			    pgslots_ignored(c->dynamic, name, type,
				tree_path_text(r, "database", ""),
				tree_path_text(r, "plugin", "")))
				continue;
			if (s == NULL)
				log_info(
				    "Trying to drop unknown replication slot '%s'",
				    name);
			else
				log_info(
				    "Trying to drop replication slot '%s' with wal_status=lost",
				    name);
			drop(w, name);
		} else if (!slots_row_matches(r, s)) {
			log_info(
			    "Trying to drop replication slot '%s' because value is changing from %s%s%s to %s%s%s",
			    name, type, logical ? " " : "",
			    tree_path_text(r, "plugin", ""),
			    s->logical ? "logical" : "physical",
			    s->logical ? " " : "", s->plugin);
			drop(w, name);
		}
	}
}

static bool
cleaning_allowed(const struct controller *c)
{
	const struct view *v = ha_view(c->ha);

	return v != NULL && !view_unlocked(v) &&
	    (strcmp(v->leader, c->conf->name) != 0 || c->snap.pg.is_primary);
}

/* Step 6 for one that exists; from 11 on. */
static void
keep(struct slotwork *w, const struct pgslot *s, const struct tree *row)
{
	struct controller *c = w->c;
	const char *xmin = tree_path_text(row, "xmin", "");
	uint64_t restart = (uint64_t)tree_path_int(row, "restart_lsn", 0);

	if (c->major < 110000 || s->expected_active)
		return;
	if (xmin[0] != '\0') {
		if (!cleaning_allowed(c))
			return;
		log_warn(
		    "Dropping physical replication slot %s because of its xmin value %s",
		    s->name, xmin);
		drop(w, s->name);
		create(w, s);
		return;
	}
	if (restart == 0) {
		log_warn(
		    "Dropping physical replication slot %s because it has no restart_lsn. This slot was probably not created by Patroni, but by an external agent.",
		    s->name);
		drop(w, s->name);
		return;
	}
	if (s->lsn > restart && !tree_path_bool(row, "active", false))
		advance(w, s);
}

bool
slots_input(struct controller *c, enum pg_role role, struct pgslots_in *in)
{
	memset(in, 0, sizeof *in);
	in->view = ha_view(c->ha);
	in->dynamic = c->dynamic;
	in->name = c->conf->name;
	in->role = role;
	in->tags = &c->ha_conf.tags;
	in->major = c->major;
	return in->view != NULL && in->view->has_config;
}

/* An ex-primary's own failover slots keep the slotsync worker of 17 from
 * making its copies (step 2). */
static void
drop_failover(struct slotwork *w, const struct tree *rows)
{
	struct controller *c = w->c;
	const struct view *v = ha_view(c->ha);
	uint32_t i;

	if (c->major < 170000 || !c->snap.in_recovery || view_unlocked(v) ||
	    strcmp(v->leader, c->conf->name) == 0)
		return;
	for (i = 0; i < tree_count(rows); i++) {
		const struct tree *r = tree_child(rows, i);
		const char *name = tree_path_text(r, "name", "");

		if (!tree_path_bool(r, "failover", false) ||
		    strcmp(tree_path_text(r, "type", ""), "logical") != 0)
			continue;
		log_info(
		    "Trying to drop logical replication slot '%s' with failover=true and synced=false",
		    name);
		drop(w, name);
	}
}

static void
physical(
    struct slotwork *w, const struct pgslots *desired, const struct tree *rows)
{
	uint32_t i;

	for (i = 0; i < desired->n; i++) {
		const struct pgslot *s = &desired->v[i];
		const struct tree *row = slots_row(rows, s->name);

		if (s->logical)
			continue;
		if (row == NULL)
			create(w, s);
		else if (slots_row_matches(row, s))
			keep(w, s, row);
	}
}

void
slots_sync(struct controller *c, uint64_t ask)
{
	static struct pgslots desired;
	struct slotwork *w = c->slotwork;
	struct pgslots_in in;

	w->failed = false;
	if (w->ask != 0 || w->waiting > 0) {
		struct ha_ev ev;

		memset(&ev, 0, sizeof ev);
		ev.type = EV_JOB_DONE;
		ev.id = ask;
		ev.result = JOB_NOTHING;
		controller_feed(c, &ev);
		return;
	}
	w->ask = ask;
	if (!slots_input(c,
		c->snap.sql_ok && c->snap.pg.is_primary &&
			c->role == ROLE_PRIMARY ?
		    ROLE_PRIMARY :
		    c->role,
		&in) ||
	    !c->snap.sql_ok || c->major < 90400 || c->state != STATE_RUNNING) {
		end(w);
		return;
	}
	slots_feedback(c, &in);
	drop_failover(w, c->snap.slot_rows);
	pgslots_desired(&in, false, &desired);
	drop_unwanted(w, &desired, c->snap.slot_rows);
	physical(w, &desired, c->snap.slot_rows);
	slots_logical(w, &desired, &in);
	end(w);
}
