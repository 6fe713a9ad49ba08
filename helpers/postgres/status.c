/*
 * status.c: the one status query of a cycle (postgres.md 11) and what it
 * tells the core and the REST helper (rest-api.md 5.2).
 *
 * Lists inside the row (senders, slots) come as text with the separators
 * chr(31) and chr(30): neither can occur in a name that PostgreSQL accepts
 * over the protocol, and no parser is needed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller.h"

#define FIELD '\x1f'
#define RECORD '\x1e'
#define MAX_FIELDS 16
#define ATTEMPT_TIMEOUT (2500 * NS_PER_MS)

enum column {
	START_TIME,
	TIMELINE,
	WAL_POSITION,
	REPLAY,
	RECEIVE,
	PAUSED,
	REPLAY_TIME,
	CONTROL_TIMELINE,
	RECEIVED_TLI,
	WRITTEN,
	LATEST_END,
	SLOT_NAME,
	CONNINFO,
	RECEIVER_STATE,
	RESTORE_COMMAND,
	SYNC_COMMIT,
	SSN,
	SENDERS,
	SLOTS,
	ARCHIVING,
	IN_RECOVERY
};

struct request {
	struct request *next; /* waiting behind this one */
	struct controller *c;
	int64_t deadline;
	int attempt;
	status_cb cb;
	void *arg;
};

/* ---- the text ---- */

static size_t
senders_sql(char *buf, size_t size, const struct pgfeatures *f)
{
	const char *lsn = f->wal_names ? "lsn" : "location";

	return (size_t)snprintf(buf, size,
	    "(SELECT pg_catalog.string_agg(pg_catalog.concat_ws(pg_catalog.chr(31),"
	    "w.pid, COALESCE(pg_catalog.pg_get_userbyid(a.usesysid)::text, ''),"
	    "COALESCE(a.application_name, ''), COALESCE(pg_catalog.host(a.client_addr), ''),"
	    "COALESCE(w.state, ''), COALESCE(w.sync_state, ''),"
	    "COALESCE(w.sync_priority, 0),"
	    "COALESCE(pg_catalog.%s(w.write_%s, '0/0')::bigint, 0),"
	    "COALESCE(pg_catalog.%s(w.flush_%s, '0/0')::bigint, 0),"
	    "COALESCE(pg_catalog.%s(w.replay_%s, '0/0')::bigint, 0)),"
	    " pg_catalog.chr(30))"
	    " FROM pg_catalog.pg_stat_get_wal_senders() AS w,"
	    " pg_catalog.pg_stat_get_activity(w.pid) AS a)",
	    f->fn_lsn_diff, lsn, f->fn_lsn_diff, lsn, f->fn_lsn_diff, lsn);
}

static size_t
slots_sql(char *buf, size_t size, const struct pgfeatures *f)
{
	if (!f->slots)
		return (size_t)snprintf(buf, size, "NULL");
	return (size_t)snprintf(buf, size,
	    "(SELECT pg_catalog.string_agg(pg_catalog.concat_ws(pg_catalog.chr(31),"
	    "s.slot_name, s.slot_type, s.active, COALESCE(s.xmin::text, ''),"
	    "COALESCE(pg_catalog.%s(s.restart_lsn, '0/0')::bigint, 0),"
	    "COALESCE(s.plugin::text, ''), COALESCE(d.datname::text, ''),"
	    "COALESCE(s.catalog_xmin::text, ''), %s, %s, %s),"
	    " pg_catalog.chr(30))"
	    " FROM pg_catalog.pg_get_replication_slots() AS s"
	    " LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.datoid"
	    " WHERE %s AND %s)",
	    f->fn_lsn_diff,
	    f->wal_names ?
		"COALESCE(pg_catalog.pg_wal_lsn_diff(s.confirmed_flush_lsn, '0/0')::bigint, 0)" :
		"0",
	    f->slot_wal_status ? "COALESCE(s.wal_status, '')" : "''",
	    f->failover_slots ? "s.failover" : "false",
	    f->temporary_slots ? "NOT s.temporary" : "true",
	    f->failover_slots ? "NOT (s.failover AND s.synced)" : "true");
}

bool
status_text(char *buf, size_t size, uint32_t version)
{
	struct pgfeatures f = pgfeatures(version);
	/* before 9.4 to_char() knows no zone; the text form has it */
	const char *when[2] = { "pg_catalog.to_char(pg_catalog.",
		"(), 'YYYY-MM-DD HH24:MI:SS.USOF')" };
	char senders[2048], slots[2048];
	size_t n;

	if (!f.to_char_zone) {
		when[0] = "(pg_catalog.";
		when[1] = "())::text";
	}

	senders_sql(senders, sizeof senders, &f);
	slots_sql(slots, sizeof slots, &f);
	n = (size_t)snprintf(buf, size,
	    "SELECT %spg_postmaster_start_time%s,"
	    " CASE WHEN r THEN 0 ELSE ('x' || pg_catalog.substr(pg_catalog.%s(pg_catalog.%s()), 1, 8))::bit(32)::int END,"
	    " CASE WHEN r THEN 0 ELSE pg_catalog.%s(pg_catalog.%s(), '0/0')::bigint END,"
	    " pg_catalog.%s(pg_catalog.%s(), '0/0')::bigint,"
	    " pg_catalog.%s(COALESCE(pg_catalog.%s(), '0/0'), '0/0')::bigint,"
	    " CASE WHEN r THEN pg_catalog.%s() ELSE false END,"
	    " %spg_last_xact_replay_timestamp%s,"
	    " %s, %s, %s, %s, %s, %s, %s, %s,"
	    " pg_catalog.current_setting('synchronous_commit'),"
	    " pg_catalog.current_setting('synchronous_standby_names'),"
	    " %s, %s, pg_catalog.current_setting('archive_mode') <> 'off' AND"
	    " pg_catalog.current_setting('archive_command') NOT IN ('', '(disabled)'), r"
	    " FROM (SELECT pg_catalog.pg_is_in_recovery() AS r) AS q%s",
	    when[0], when[1], f.fn_walfile_name, f.fn_current_lsn,
	    f.fn_lsn_diff, f.fn_flush_lsn, f.fn_lsn_diff, f.fn_replay_lsn,
	    f.fn_lsn_diff, f.fn_receive_lsn, f.fn_replay_paused, when[0],
	    when[1],
	    f.control_functions ?
		"(SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())" :
		"0",
	    f.wal_receiver_view ?
		"CASE WHEN v.latest_end_lsn IS NULL THEN NULL ELSE v.received_tli END" :
		"NULL",
	    f.written_lsn ?
		"pg_catalog.pg_wal_lsn_diff(v.written_lsn, '0/0')::bigint" :
		"NULL",
	    f.wal_receiver_view ?
		(f.wal_names ?
			"pg_catalog.pg_wal_lsn_diff(v.latest_end_lsn, '0/0')::bigint" :
			"pg_catalog.pg_xlog_location_diff(v.latest_end_lsn, '0/0')::bigint") :
		"NULL",
	    f.wal_receiver_view ? "v.slot_name" : "NULL",
	    f.wal_receiver_view ? "v.conninfo" : "NULL",
	    f.wal_receiver_view ? "v.status" : "NULL",
	    f.recovery_guc ? "pg_catalog.current_setting('restore_command')" :
			     "NULL",
	    senders, slots,
	    f.wal_receiver_view ?
		", pg_catalog.pg_stat_get_wal_receiver() AS v" :
		"");
	return n < size;
}

/* ---- reading the row ---- */

/* Cuts text into fields in place; returns how many. */
static int
split(char *text, char sep, char **v, int max)
{
	int n = 0;

	while (n < max) {
		v[n++] = text;
		text = strchr(text, sep);
		if (text == NULL)
			break;
		*text++ = '\0';
	}
	return n;
}

static uint64_t
number(const char *text)
{
	int64_t v;

	return text_to_int64(text, 0, INT64_MAX, &v) ? (uint64_t)v : 0;
}

static void
add_sender(struct snapshot *s, char **f)
{
	struct ha_sender *h;
	struct tree *m = tree_map();

	tree_set(m, "usename", tree_text(f[1]));
	tree_set(m, "application_name", tree_text(f[2]));
	tree_set(
	    m, "client_addr", f[3][0] != '\0' ? tree_text(f[3]) : tree_null());
	tree_set(m, "state", tree_text(f[4]));
	tree_set(m, "sync_state", tree_text(f[5]));
	tree_set(m, "sync_priority", tree_int((int64_t)number(f[6])));
	tree_append(s->senders, m);
	if (strcmp(f[4], "streaming") != 0 || s->pg.nsenders >= MAX_MEMBERS)
		return;
	h = &s->pg.senders[s->pg.nsenders];
	memset(h, 0, sizeof *h);
	if (!text_set(h->name, sizeof h->name, f[2]))
		return;
	text_set(h->sync_state, sizeof h->sync_state, f[5]);
	h->write_lsn = number(f[7]);
	h->flush_lsn = number(f[8]);
	h->replay_lsn = number(f[9]);
	s->pg.nsenders++;
}

static void
add_slot(struct snapshot *s, char **f)
{
	bool logical = strcmp(f[1], "logical") == 0;
	struct tree *m = tree_map();

	tree_set(m, "name", tree_text(f[0]));
	tree_set(m, "type", tree_text(f[1]));
	tree_set(m, "active", tree_bool(f[2][0] == 't'));
	tree_set(m, "xmin", tree_text(f[3]));
	tree_set(m, "restart_lsn", tree_int((int64_t)number(f[4])));
	tree_set(m, "plugin", tree_text(f[5]));
	tree_set(m, "database", tree_text(f[6]));
	tree_set(m, "catalog_xmin", tree_text(f[7]));
	tree_set(m, "confirmed_flush_lsn", tree_int((int64_t)number(f[8])));
	tree_set(m, "wal_status", tree_text(f[9]));
	tree_set(m, "failover", tree_bool(f[10][0] == 't'));
	tree_append(s->slot_rows, m);
	tree_set(
	    s->slots, f[0], tree_int((int64_t)number(logical ? f[8] : f[4])));
}

static void
read_list(const PGresult *res, int col, int fields, struct snapshot *s,
    void (*add)(struct snapshot *, char **))
{
	char *text, *v[MAX_FIELDS], *rest, *end;

	if (PQgetisnull(res, 0, col))
		return;
	text = strdup(PQgetvalue(res, 0, col));
	for (rest = text; rest != NULL && *rest != '\0'; rest = end) {
		end = strchr(rest, RECORD);
		if (end != NULL)
			*end++ = '\0';
		if (split(rest, FIELD, v, MAX_FIELDS) == fields)
			add(s, v);
	}
	free(text);
}

/* "2024-08-28 19:39:26.352526+00" -> Python's form: no empty fraction,
 * offset with minutes. */
static void
timestamp(const char *text, char *out, size_t size)
{
	const char *dot = strchr(text, '.');
	const char *zone;
	int head;

	out[0] = '\0';
	if (dot == NULL || (zone = strpbrk(dot, "+-")) == NULL)
		return;
	head = strncmp(dot, ".000000", 7) == 0 ? (int)(dot - text) :
						 (int)(zone - text);
	snprintf(out, size, "%.*s%s%s", head, text, zone,
	    strchr(zone, ':') == NULL ? ":00" : "");
}

static uint64_t
max_lsn(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Below 12 it is no setting of the server. */
static bool
restores(struct controller *c, const PGresult *res)
{
	struct pgfacts f;
	struct tree *conf;
	bool set;

	if (pgfeatures(c->major).recovery_guc)
		return sql_text(res, 0, RESTORE_COMMAND)[0] != '\0';
	f = settings_facts(c, c->role);
	conf = pgconf_recovery_conf(c->conf, &f);
	set = tree_path_text(conf, "restore_command", "")[0] != '\0';
	tree_free(conf);
	return set;
}

void
status_read(struct controller *c, const PGresult *res)
{
	struct snapshot *s = &c->snap;
	struct ha_pg *p = &s->pg;

	s->in_recovery = sql_bool(res, 0, IN_RECOVERY);
	p->timeline = (uint32_t)sql_int(res, 0, TIMELINE);
	p->is_primary = !s->in_recovery;
	p->archiving = sql_bool(res, 0, ARCHIVING);
	timestamp(
	    sql_text(res, 0, START_TIME), s->start_time, sizeof s->start_time);
	text_set(p->postmaster_start_time, sizeof p->postmaster_start_time,
	    s->start_time);
	timestamp(sql_text(res, 0, REPLAY_TIME), s->replay_timestamp,
	    sizeof s->replay_timestamp);
	p->replay_lsn = sql_lsn(res, 0, REPLAY);
	s->replay_known = !PQgetisnull(res, 0, REPLAY);
	s->written_lsn = sql_lsn(res, 0, WRITTEN);
	s->latest_end = sql_lsn(res, 0, LATEST_END);
	p->receive_lsn = max_lsn(sql_lsn(res, 0, RECEIVE), s->written_lsn);
	p->replay_paused = sql_bool(res, 0, PAUSED);
	p->wal_position = p->is_primary ?
	    sql_lsn(res, 0, WAL_POSITION) :
	    max_lsn(p->receive_lsn, p->replay_lsn);
	text_set(s->receiver_state, sizeof s->receiver_state,
	    sql_text(res, 0, RECEIVER_STATE));
	s->has_receiver = s->receiver_state[0] != '\0';
	text_set(s->receiver_slot, sizeof s->receiver_slot,
	    sql_text(res, 0, SLOT_NAME));
	text_set(s->receiver_conninfo, sizeof s->receiver_conninfo,
	    sql_text(res, 0, CONNINFO));
	p->receiver_streaming = strcmp(s->receiver_state, "streaming") == 0;
	p->replication_state[0] = '\0';
	if (s->in_recovery && p->receiver_streaming)
		text_set(p->replication_state, sizeof p->replication_state,
		    "streaming");
	else if (s->in_recovery && pgfeatures(c->major).wal_receiver_view &&
	    restores(c, res))
		text_set(p->replication_state, sizeof p->replication_state,
		    "in archive recovery");
	if (s->in_recovery) {
		p->received_timeline = (uint32_t)sql_int(res, 0, RECEIVED_TLI);
		if (p->received_timeline != 0)
			c->identified_timeline = p->received_timeline;
		else if (c->role == ROLE_STANDBY_LEADER)
			p->received_timeline =
			    (uint32_t)sql_int(res, 0, CONTROL_TIMELINE);
		else
			p->received_timeline = c->identified_timeline;
	} else {
		c->identified_timeline = 0;
	}
	text_set(p->synchronous_commit, sizeof p->synchronous_commit,
	    sql_text(res, 0, SYNC_COMMIT));
	text_set(p->ssn, sizeof p->ssn, sql_text(res, 0, SSN));
	s->senders = tree_list();
	s->slots = tree_map();
	s->slot_rows = tree_list();
	read_list(res, SENDERS, 10, s, add_sender);
	read_list(res, SLOTS, 11, s, add_slot);
	p->slots = s->slots;
	p->query_ok = s->sql_ok = true;
}

/* ---- taking a snapshot ---- */

static void
clear(struct snapshot *s)
{
	tree_free(s->senders);
	tree_free(s->slots);
	tree_free(s->slot_rows);
	memset(s, 0, sizeof *s);
}

static void take(struct controller *, void *);

static void
finish(struct request *r)
{
	struct controller *c = r->c;

	c->snap.taken_ns = clock_boot_ns();
	facts_fill(c, &c->snap.pg);
	r->cb(c, r->arg);
	c->status_requests = r->next;
	free(r);
	if (c->status_requests != NULL)
		facts_refresh(c, take, c->status_requests);
}

static void on_row(const struct sql_answer *, void *);

static bool
ask(struct request *r)
{
	static char text[16384];
	struct controller *c = r->c;
	int64_t left = r->deadline - clock_boot_ns();
	uint32_t version = (uint32_t)sql_server_version(c->heartbeat);

	if (left <= 0)
		return false;
	if (left > ATTEMPT_TIMEOUT)
		left = ATTEMPT_TIMEOUT;
	/* the major version decides about the text, and it cannot change
	 * while this data directory lives */
	return status_text(
		   text, sizeof text, version != 0 ? version : c->major) &&
	    sql_query(c->heartbeat, text, 0, NULL, left, on_row, r) == 0;
}

/* A standby whose walreceiver is not there: the walsender protocol tells the
 * timeline that it replays (column 2 of IDENTIFY_SYSTEM). */
static void
on_identified(const struct sql_answer *a, void *arg)
{
	struct request *r = arg;
	struct controller *c = r->c;

	if (a->outcome == SQL_OK) {
		c->identified_timeline = (uint32_t)sql_int(a->res, 0, 1);
		c->snap.pg.received_timeline = c->identified_timeline;
	}
	sql_close(c->local_repl);
	finish(r);
}

static bool
must_identify(struct controller *c)
{
	const struct view *v = c->ha != NULL ? ha_view(c->ha) : NULL;
	const struct view_member *leader;

	if (!c->snap.in_recovery || c->snap.has_receiver ||
	    c->role == ROLE_STANDBY_LEADER || sql_connected(c->local_repl))
		return false;
	if (c->identified_timeline == 0)
		return true;
	if (v == NULL || !v->has_leader)
		return false;
	leader = view_member(v, v->leader);
	return leader != NULL && leader->timeline != 0 &&
	    leader->timeline != c->identified_timeline;
}

static bool
identify(struct request *r)
{
	struct controller *c = r->c;
	const char *keys[48], *values[48];
	struct tree *info;
	bool ok;

	info = pgconf_connection(
	    c->conf, PGCONN_LOCAL_REPLICATION, NULL, c->params, c->major);
	if (info == NULL)
		return false;
	tree_set(info, "replication", tree_text("1"));
	ok = pgconf_libpq_arrays(info, keys, values, 48) &&
	    sql_target(c->local_repl, keys, values) &&
	    sql_query(c->local_repl, "IDENTIFY_SYSTEM", 0, NULL,
		ATTEMPT_TIMEOUT, on_identified, r) == 0;
	tree_free_wiped(info);
	return ok;
}

static void
on_row(const struct sql_answer *a, void *arg)
{
	struct request *r = arg;
	struct controller *c = r->c;

	if (a->outcome == SQL_OK && PQntuples(a->res) == 1) {
		status_read(c, a->res);
		if (must_identify(c) && identify(r))
			return;
		finish(r);
		return;
	}
	log_debug("status query: %s", a->message);
	/* once more when the connection was the problem: an idle one may have
	 * been cut by a restart */
	if (a->outcome == SQL_LOST && r->attempt++ == 0 &&
	    postmaster_alive(&c->pm) && ask(r))
		return;
	c->snap.pg.query_connection_error = a->outcome == SQL_LOST;
	finish(r);
}

static bool
set_target(struct controller *c)
{
	const char *keys[48], *values[48];
	struct tree *info;
	bool ok;

	if (sql_connected(c->heartbeat))
		return true;
	info = pgconf_connection(
	    c->conf, PGCONN_HEARTBEAT, NULL, c->params, c->major);
	if (info == NULL)
		return false;
	ok = pgconf_libpq_arrays(info, keys, values, 48) &&
	    sql_target(c->heartbeat, keys, values);
	tree_free_wiped(info);
	return ok;
}

static void
take(struct controller *c, void *arg)
{
	struct request *r = arg;
	struct ha_pg *p = &c->snap.pg;

	clear(&c->snap);
	if (!postmaster_find(&c->pm)) {
		finish(r);
		return;
	}
	settings_major(c);
	/* who answers us needs no look at postmaster.pid */
	p->isready = c->state == STATE_RUNNING && sql_connected(c->heartbeat) ?
	    ISREADY_ACCEPTING :
	    postmaster_isready(&c->pm);
	/* a server that refuses connections costs nothing to ask again */
	if (p->isready == ISREADY_REJECTING ||
	    p->isready == ISREADY_NO_RESPONSE || !set_target(c) || !ask(r)) {
		p->query_connection_error = true;
		finish(r);
	}
}

void
status_take(struct controller *c, int64_t deadline, status_cb cb, void *arg)
{
	struct request *r = calloc(1, sizeof *r), **last;

	if (r == NULL)
		fatal("out of memory");
	r->c = c;
	r->deadline = deadline;
	r->cb = cb;
	r->arg = arg;
	/* one at a time, each with a query of its own: the answer must not be
	 * older than the question */
	for (last = &c->status_requests; *last != NULL; last = &(*last)->next)
		;
	*last = r;
	if (c->status_requests == r)
		facts_refresh(c, take, r);
}

void
status_reset(struct controller *c)
{
	sql_close(c->heartbeat);
	sql_close(c->local_repl);
	c->identified_timeline = 0;
	c->facts_fresh = false;
}
