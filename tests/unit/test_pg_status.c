/*
 * test_pg_status.c: the status query of every version 9.3 - 18: it asks for
 * nothing that the version does not have, and rows such as the versions answer
 * are read right (helpers/postgres/status.c; postgres.md 11, 22.1).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg_jobs.h"

static const uint32_t versions[] = { 90300, 90400, 90500, 90600, 100000, 110000,
	120000, 130000, 140000, 150000, 160000, 170000, 180000 };
#define NVERSIONS (sizeof versions / sizeof *versions)

struct known {
	const char *name;
	uint32_t from, till;
};

/* Functions as the release notes and pg_proc of the versions have them. */
static const struct known functions[] = { { "chr", 0, 0 },
	{ "concat_ws", 0, 0 }, { "current_setting", 0, 0 }, { "host", 0, 0 },
	{ "pg_control_checkpoint", 90600, 0 },
	{ "pg_current_wal_flush_lsn", 100000, 0 },
	{ "pg_current_wal_lsn", 100000, 0 },
	{ "pg_current_xlog_flush_location", 90600, 100000 },
	{ "pg_current_xlog_location", 0, 100000 },
	{ "pg_get_replication_slots", 90400, 0 }, { "pg_get_userbyid", 0, 0 },
	{ "pg_is_in_recovery", 0, 0 }, { "pg_is_wal_replay_paused", 100000, 0 },
	{ "pg_is_xlog_replay_paused", 0, 100000 },
	{ "pg_last_wal_receive_lsn", 100000, 0 },
	{ "pg_last_wal_replay_lsn", 100000, 0 },
	{ "pg_last_xact_replay_timestamp", 0, 0 },
	{ "pg_last_xlog_receive_location", 0, 100000 },
	{ "pg_last_xlog_replay_location", 0, 100000 },
	{ "pg_postmaster_start_time", 0, 0 }, { "pg_stat_get_activity", 0, 0 },
	{ "pg_stat_get_wal_receiver", 90600, 0 },
	{ "pg_stat_get_wal_senders", 0, 0 }, { "pg_wal_lsn_diff", 100000, 0 },
	{ "pg_walfile_name", 100000, 0 },
	{ "pg_xlog_location_diff", 0, 100000 },
	{ "pg_xlogfile_name", 0, 100000 }, { "string_agg", 0, 0 },
	{ "substr", 0, 0 }, { "to_char", 0, 0 } };

/* Columns and format words. */
static const struct known words[] = { { "USOF", 90400, 0 },
	{ "w.write_location", 0, 100000 }, { "w.write_lsn", 100000, 0 },
	{ "w.flush_location", 0, 100000 }, { "w.flush_lsn", 100000, 0 },
	{ "w.replay_location", 0, 100000 }, { "w.replay_lsn", 100000, 0 },
	{ "v.received_tli", 90600, 0 }, { "v.latest_end_lsn", 90600, 0 },
	{ "v.slot_name", 90600, 0 }, { "v.conninfo", 90600, 0 },
	{ "v.status", 90600, 0 }, { "v.written_lsn", 130000, 0 },
	{ "'restore_command'", 120000, 0 }, { "s.restart_lsn", 90400, 0 },
	{ "s.catalog_xmin", 90400, 0 }, { "s.confirmed_flush_lsn", 100000, 0 },
	{ "s.temporary", 100000, 0 }, { "s.wal_status", 130000, 0 },
	{ "s.failover", 170000, 0 }, { "s.synced", 170000, 0 } };

static void
check(const struct known *k, uint32_t v)
{
	if (v < k->from || (k->till != 0 && v >= k->till))
		fail_msg("%s is not in version %u", k->name, v);
}

static void
test_texts(void **state)
{
	static char text[16384];
	size_t i, k;

	(void)state;
	for (i = 0; i < NVERSIONS; i++) {
		const char *p;

		assert_true(status_text(text, sizeof text, versions[i]));
		for (p = text; (p = strstr(p, "pg_catalog.")) != NULL;) {
			size_t n;

			p += 11;
			n = strcspn(p, " ().,:");
			if (p[n] != '(')
				continue; /* a table */
			for (k = 0; k < sizeof functions / sizeof *functions;
			     k++)
				if (strlen(functions[k].name) == n &&
				    strncmp(functions[k].name, p, n) == 0)
					break;
			if (k == sizeof functions / sizeof *functions)
				fail_msg("unknown function %.*s", (int)n, p);
			check(&functions[k], versions[i]);
		}
		for (k = 0; k < sizeof words / sizeof *words; k++)
			if (strstr(text, words[k].name) != NULL)
				check(&words[k], versions[i]);
			else if (versions[i] >= words[k].from &&
			    (words[k].till == 0 || versions[i] < words[k].till))
				fail_msg("%s is not asked for in version %u",
				    words[k].name, versions[i]);
		/* qualified: a superuser's session must not be fooled */
		assert_null(strstr(text, " now("));
	}
	assert_false(status_text(text, 100, 150000));
}

/* In the order of the query. */
#define NCOLUMNS 21

static PGresult *
row(const char *const *v)
{
	PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc d[NCOLUMNS];
	char name[] = "c";
	int i;

	memset(d, 0, sizeof d);
	for (i = 0; i < NCOLUMNS; i++)
		d[i].name = name;
	assert_true(PQsetResultAttrs(res, NCOLUMNS, d));
	for (i = 0; i < NCOLUMNS; i++)
		assert_true(PQsetvalue(res, 0, i, (char *)(uintptr_t)v[i],
		    v[i] == NULL ? -1 : (int)strlen(v[i])));
	return res;
}

static struct stage *
read_into(
    void **state, const char *version, const char *more, const char *const *v)
{
	struct stage *s = stage_open(state, version, more);
	PGresult *res = row(v);

	settings_major(&s->c);
	s->c.snap.pg.nsenders = 0;
	status_read(&s->c, res);
	PQclear(res);
	return s;
}

static void
done(struct stage *s)
{
	tree_free(s->c.snap.senders);
	tree_free(s->c.snap.slots);
	tree_free(s->c.snap.slot_rows);
	stage_close(s);
}

#define START "2024-08-28 19:39:26.352526+00"
#define F "\x1f"
#define R "\x1e"

/* 9.3: no slots, no walreceiver columns. */
static void
test_primary_9_3(void **state)
{
	const char *v[NCOLUMNS] = { START, "3", "50331648", NULL, "0", "f",
		NULL, "0", NULL, NULL, NULL, NULL, NULL, NULL, NULL, "on", "",
		"4711" F "repl" F "b" F "10.0.0.2" F "streaming" F "async" F
		"0" F "50331600" F "50331500" F "50331400",
		NULL, "f", "f" };
	struct stage *s = read_into(state, "9.3", NULL, v);
	struct ha_pg *p = &s->c.snap.pg;

	assert_true(p->is_primary && p->query_ok);
	assert_int_equal(p->timeline, 3);
	assert_int_equal(p->wal_position, 50331648);
	assert_string_equal(
	    p->postmaster_start_time, "2024-08-28 19:39:26.352526+00:00");
	assert_int_equal(p->nsenders, 1);
	assert_string_equal(p->senders[0].name, "b");
	assert_int_equal(p->senders[0].write_lsn, 50331600);
	assert_int_equal(p->senders[0].flush_lsn, 50331500);
	assert_int_equal(p->senders[0].replay_lsn, 50331400);
	assert_int_equal(tree_count(s->c.snap.slots), 0);
	assert_string_equal(p->replication_state, "");
	done(s);
}

/* A standby without a walreceiver: only from 9.6 on it says what it does, and
 * below 12 restore_command is known from the configuration alone. */
static void
test_archive_recovery(void **state)
{
	static const char conf[] =
	    "{\"postgresql\":{\"recovery_conf\":{\"restore_command\":\"x\"}}}";
	static const struct {
		const char *version, *more, *setting, *state;
	} cases[] = { { "9.5", conf, NULL, "" },
		{ "9.6", conf, NULL, "in archive recovery" },
		{ "9.6", NULL, NULL, "" },
		{ "11", conf, NULL, "in archive recovery" },
		{ "12", conf, "", "" },
		{ "12", NULL, "cp %f %p", "in archive recovery" },
		{ "18", NULL, "cp %f %p", "in archive recovery" } };
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *v[NCOLUMNS] = { START, "0", "0", "100", "0", "t",
			NULL, "7", NULL, NULL, NULL, NULL, NULL, NULL,
			cases[i].setting, "on", "", NULL, NULL, "f", "t" };
		struct stage *s =
		    read_into(state, cases[i].version, cases[i].more, v);

		assert_false(s->c.snap.pg.is_primary);
		assert_true(s->c.snap.pg.replay_paused);
		assert_int_equal(s->c.snap.pg.wal_position, 100);
		assert_string_equal(
		    s->c.snap.pg.replication_state, cases[i].state);
		done(s);
	}
}

/* The receiver's written position, where it is known, is ahead of what the
 * server calls received. */
static void
test_streaming_standby(void **state)
{
	const char *v[NCOLUMNS] = { START, "0", "0", "1000", "2000", "f",
		"2024-08-28 19:40:00.000000+02:30", "4", "5", "3000", "2900",
		"b", "host=a password=******** dbname=replication", "streaming",
		"x", "on", "", NULL, NULL, "f", "t" };
	struct stage *s = read_into(state, "13", NULL, v);
	const struct snapshot *n = &s->c.snap;

	assert_string_equal(n->pg.replication_state, "streaming");
	assert_int_equal(n->pg.receive_lsn, 3000);
	assert_int_equal(n->pg.replay_lsn, 1000);
	assert_int_equal(n->pg.wal_position, 3000);
	assert_int_equal(n->pg.received_timeline, 5);
	assert_string_equal(n->receiver_slot, "b");
	assert_string_equal(n->replay_timestamp, "2024-08-28 19:40:00+02:30");
	assert_true(n->has_receiver);
	done(s);
}

/* Nothing received yet: the timeline is not that of the receiver. */
static void
test_standby_leader(void **state)
{
	const char *v[NCOLUMNS] = { START, "0", "0", "1000", "0", "f", NULL,
		"4", NULL, NULL, NULL, NULL, NULL, "starting", "", "on", "",
		NULL, NULL, "f", "t" };
	struct stage *s = stage_open(state, "9.6", NULL);
	PGresult *res = row(v);

	settings_major(&s->c);
	s->c.role = ROLE_STANDBY_LEADER;
	status_read(&s->c, res);
	PQclear(res);
	assert_int_equal(s->c.snap.pg.received_timeline, 4);
	assert_int_equal(s->c.snap.pg.wal_position, 1000);
	assert_string_equal(s->c.snap.pg.replication_state, "");
	done(s);
}

static const struct tree *
slot(const struct stage *s, uint32_t i)
{
	const struct tree *t = tree_child(s->c.snap.slot_rows, i);

	assert_non_null(t);
	return t;
}

/* 17: a failover slot of this node's own (the synced ones do not come). */
static void
test_slots_17(void **state)
{
	const char *v[NCOLUMNS] = { START, "1", "9000", NULL, "0", "f", NULL,
		"1", NULL, NULL, NULL, NULL, NULL, NULL, "", "on", "", NULL,
		"b" F "physical" F "t" F "745" F "5000" F "" F "" F "" F "0" F
		"reserved" F "f" R "cdc" F "logical" F "f" F "" F "4000" F
		"pgoutput" F "postgres" F "740" F "4500" F "extended" F "t" R
		"gone" F "physical" F "f" F "" F "0" F "" F "" F "" F "0" F
		"lost" F "f",
		"t", "f" };
	struct stage *s = read_into(state, "17", NULL, v);

	assert_int_equal(tree_count(s->c.snap.slot_rows), 3);
	assert_true(tree_path_bool(slot(s, 0), "active", false));
	assert_string_equal(tree_path_text(slot(s, 0), "xmin", ""), "745");
	assert_false(tree_path_bool(slot(s, 0), "failover", true));
	assert_true(tree_path_bool(slot(s, 1), "failover", false));
	assert_string_equal(
	    tree_path_text(slot(s, 1), "database", ""), "postgres");
	assert_string_equal(
	    tree_path_text(slot(s, 1), "catalog_xmin", ""), "740");
	assert_string_equal(
	    tree_path_text(slot(s, 2), "wal_status", ""), "lost");
	/* published: what the consumer has confirmed, or where it restarts */
	assert_int_equal(tree_get(s->c.snap.slots, "b")->u.i, 5000);
	assert_int_equal(tree_get(s->c.snap.slots, "cdc")->u.i, 4500);
	assert_true(s->c.snap.pg.archiving);
	done(s);
}

/* A sender that is not streaming is shown, but confirms nothing; a name that
 * is too long is nobody's; a line that is cut short is none. */
static void
test_odd_senders(void **state)
{
	char list[4096], name[512];
	const char *v[NCOLUMNS] = { START, "1", "9000", NULL, "0", "f", NULL,
		"1", NULL, NULL, NULL, NULL, NULL, NULL, "", "on", "*", list,
		"x" F "physical", "t", "f" };
	struct stage *s;

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	stage_text(list, sizeof list,
	    "1" F "r" F "c" F "" F "catchup" F "async" F "0" F "1" F "1" F "1" R
	    "2" F "r" F "%s" F "" F "streaming" F "sync" F "1" F "1" F "1" F
	    "1" R "3" F "r" F "short" R "4" F "r" F "d" F "" F "streaming" F
	    "quorum" F "1" F "-5" F "x" F "7",
	    name);
	s = read_into(state, "15", NULL, v);
	assert_int_equal(tree_count(s->c.snap.senders), 3);
	assert_int_equal(s->c.snap.pg.nsenders, 1);
	assert_string_equal(s->c.snap.pg.senders[0].name, "d");
	assert_int_equal(s->c.snap.pg.senders[0].write_lsn, 0);
	assert_int_equal(s->c.snap.pg.senders[0].replay_lsn, 7);
	assert_int_equal(tree_count(s->c.snap.slot_rows), 0);
	assert_string_equal(s->c.snap.pg.ssn, "*");
	done(s);
}

/* And the real one: every column is there and has its type. */
static void
test_real_server(void **state)
{
	static char text[16384];
	struct pg_server *srv = *state;
	struct stage *s;
	PGconn *conn;
	PGresult *res;
	char info[256];

	stage_text(info, sizeof info,
	    "host=127.0.0.1 port=%s user=postgres dbname=postgres", srv->port);
	conn = PQconnectdb(info);
	assert_int_equal(PQstatus(conn), CONNECTION_OK);
	PQclear(PQexec(
	    conn, "SELECT pg_create_physical_replication_slot('one', true)"));
	assert_true(status_text(text, sizeof text, 150000));
	res = PQexec(conn, text);
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		fail_msg("%s", PQerrorMessage(conn));
	assert_int_equal(PQntuples(res), 1);
	assert_int_equal(PQnfields(res), NCOLUMNS);
	s = stage_open(state, "15", NULL);
	settings_major(&s->c);
	status_read(&s->c, res);
	assert_true(s->c.snap.pg.is_primary);
	assert_int_equal(s->c.snap.pg.timeline, 1);
	assert_true(s->c.snap.pg.wal_position > 0);
	assert_string_equal(tree_path_text(slot(s, 0), "name", ""), "one");
	assert_true(strlen(s->c.snap.start_time) > 20);
	PQclear(res);
	PQclear(PQexec(conn, "SELECT pg_drop_replication_slot('one')"));
	PQfinish(conn);
	done(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { STAGE_TEST(test_texts),
		STAGE_TEST(test_primary_9_3), STAGE_TEST(test_archive_recovery),
		STAGE_TEST(test_streaming_standby),
		STAGE_TEST(test_standby_leader), STAGE_TEST(test_slots_17),
		STAGE_TEST(test_odd_senders), STAGE_TEST(test_real_server) };

	return cmocka_run_group_tests(tests, pg_server_start, pg_server_stop);
}
