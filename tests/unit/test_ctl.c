/*
 * test_ctl.c: the member table against the examples of spec/patronictl.md
 * 10.6, and the output engine's edges.
 */
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

#include "../../helpers/ctl/ctl.h"

static const struct ctl no_ctl = { .group = -1 };

static struct view_member *
member(struct view *v, const char *name, const char *url, const char *state)
{
	struct view_member *m;

	v->members = realloc(v->members, (v->nmembers + 1) * sizeof(*m));
	m = &v->members[v->nmembers++];
	memset(m, 0, sizeof(*m));
	(void)text_set(m->name, sizeof(m->name), name);
	(void)text_set(m->conn_url, sizeof(m->conn_url), url);
	(void)text_set(m->state, sizeof(m->state), state);
	m->has_data = 1;
	return m;
}

static struct view *
orders(void)
{
	struct view *v = view_new();
	struct view_member *m;

	/* not in the order of their names */
	m = member(v, "db3", "postgres://10.1.0.13:5432/postgres", "running");
	(void)text_set(
	    m->replication_state, sizeof(m->replication_state), "streaming");
	m->timeline = 7;
	m->receive_lsn = 0x36000000;
	m->replay_lsn = 0x35000000;
	m = member(v, "db1", "postgres://10.1.0.11:5432/postgres", "running");
	m->timeline = 7;
	m->xlog_location = 0x36000000;
	m->has_xlog_location = 1;
	m = member(v, "db2", "postgres://10.1.0.12/postgres", "running");
	(void)text_set(
	    m->replication_state, sizeof(m->replication_state), "streaming");
	m->timeline = 7;
	m->receive_lsn = m->replay_lsn = 0x36000000;
	v->has_initialize = 1;
	(void)text_set(
	    v->initialize, sizeof(v->initialize), "7480031112223334445");
	v->has_leader = 1;
	(void)text_set(v->leader, sizeof(v->leader), "db1");
	v->optime = 0x36000000;
	v->has_status = 1;
	v->has_config = 1;
	v->config = tree_map();
	tree_set(v->config, "synchronous_mode", tree_bool(true));
	v->has_sync = 1;
	(void)text_set(v->sync_leader, sizeof(v->sync_leader), "db1");
	v->sync_standby = calloc(1, sizeof(*v->sync_standby));
	(void)text_set(v->sync_standby[0], NAME_SIZE, "DB2");
	v->nsync_standby = 1;
	return v;
}

static void
check(const struct view *v, const char *cluster, enum table_format fmt,
    bool extended, const char *wanted)
{
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);

	members_print(&no_ctl, v, cluster, fmt, extended, f);
	fclose(f);
	assert_string_equal(buf, wanted);
	free(buf);
}

static void
test_pretty(void **state)
{
	struct view *v = orders();

	(void)state;
	check(v, "orders", FMT_PRETTY, false,
	    "+ Cluster: orders (7480031112223334445) --------+----+-------------+-----+------------+-----+\n"
	    "| Member | Host      | Role         | State     | TL | Receive LSN | Lag | Replay LSN | Lag |\n"
	    "+--------+-----------+--------------+-----------+----+-------------+-----+------------+-----+\n"
	    "| db1    | 10.1.0.11 | Leader       | running   |  7 |             |     |            |     |\n"
	    "| db2    | 10.1.0.12 | Sync Standby | streaming |  7 |  0/36000000 |   0 | 0/36000000 |   0 |\n"
	    "| db3    | 10.1.0.13 | Replica      | streaming |  7 |  0/36000000 |   0 | 0/35000000 |  16 |\n"
	    "+--------+-----------+--------------+-----------+----+-------------+-----+------------+-----+\n");
	view_free(v);
}

static void
test_tsv(void **state)
{
	struct view *v = orders();

	(void)state;
	check(v, "orders", FMT_TSV, false,
	    "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay LSN\tReplay Lag\n"
	    "orders\tdb1\t10.1.0.11\tLeader\trunning\t7\t\t\t\t\n"
	    "orders\tdb2\t10.1.0.12\tSync Standby\tstreaming\t7\t0/36000000\t0\t0/36000000\t0\n"
	    "orders\tdb3\t10.1.0.13\tReplica\tstreaming\t7\t0/36000000\t0\t0/35000000\t16\n");
	view_free(v);
}

static void
test_json(void **state)
{
	struct view *v = orders();

	(void)state;
	check(v, "orders", FMT_JSON, false,
	    "[{\"Cluster\": \"orders\", \"Member\": \"db1\", \"Host\": \"10.1.0.11\", \"Role\": \"Leader\", \"State\": \"running\", \"TL\": 7}, "
	    "{\"Cluster\": \"orders\", \"Member\": \"db2\", \"Host\": \"10.1.0.12\", \"Role\": \"Sync Standby\", \"State\": \"streaming\", \"TL\": 7, \"Receive LSN\": \"0/36000000\", \"Receive Lag\": 0, \"Replay LSN\": \"0/36000000\", \"Replay Lag\": 0}, "
	    "{\"Cluster\": \"orders\", \"Member\": \"db3\", \"Host\": \"10.1.0.13\", \"Role\": \"Replica\", \"State\": \"streaming\", \"TL\": 7, \"Receive LSN\": \"0/36000000\", \"Receive Lag\": 0, \"Replay LSN\": \"0/35000000\", \"Replay Lag\": 16}]\n");
	view_free(v);
}

static void
test_yaml(void **state)
{
	struct view *v = orders();

	(void)state;
	v->nmembers = 1; /* db3 is the first stored one */
	v->optime = 0x35000000;
	check(v, "orders", FMT_YAML, false,
	    "- Cluster: orders\n  Host: 10.1.0.13\n  Member: db3\n"
	    "  Receive LSN: 0/36000000\n  Receive Lag: 0\n"
	    "  Replay LSN: 0/35000000\n  Replay Lag: 0\n  Role: Replica\n"
	    "  State: streaming\n  TL: 7\n\n");
	v->nmembers = 3;
	view_free(v);
}

static struct view *
busy(void)
{
	struct view *v = orders();
	struct view_member *m = &v->members[0];
	struct tree *p = tree_map();

	tree_set(v->config, "pause", tree_bool(true));
	m->pending_restart = 1;
	m->pending_restart_reason = tree_map();
	tree_set(m->pending_restart_reason, "max_connections", p);
	tree_set(p, "old_value", tree_text("100"));
	tree_set(p, "new_value", tree_text("200"));
	m->tags_doc = tree_map();
	tree_set(m->tags_doc, "zone", tree_text("b"));
	tree_set(m->tags_doc, "nofailover", tree_bool(true));
	v->has_failover = v->failover_scheduled = 1;
	(void)text_set(v->failover_at, sizeof(v->failover_at),
	    "2026-12-01T03:00:00+00:00");
	(void)text_set(v->failover_leader, NAME_SIZE, "db1");
	(void)text_set(v->failover_member, NAME_SIZE, "db2");
	return v;
}

#define RULE \
	"+--------+-----------+--------------+-----------+----+-------------+-----+------------+-----+-----------------+---------------------------+------------------+\n"

static void
test_multiline(void **state)
{
	struct view *v = busy();

	(void)state;
	check(v, "orders", FMT_PRETTY, false,
	    "+ Cluster: orders (7480031112223334445) --------+----+-------------+-----+------------+-----+-----------------+---------------------------+------------------+\n"
	    "| Member | Host      | Role         | State     | TL | Receive LSN | Lag | Replay LSN | Lag | Pending restart | Pending restart reason    | Tags             |\n" RULE
	    "| db1    | 10.1.0.11 | Leader       | running   |  7 |             |     |            |     |                 |                           |                  |\n" RULE
	    "| db2    | 10.1.0.12 | Sync Standby | streaming |  7 |  0/36000000 |   0 | 0/36000000 |   0 |                 |                           |                  |\n" RULE
	    "| db3    | 10.1.0.13 | Replica      | streaming |  7 |  0/36000000 |   0 | 0/35000000 |  16 | *               | max_connections: 100->200 | nofailover: true |\n"
	    "|        |           |              |           |    |             |     |            |     |                 |                           | zone: b          |\n" RULE
	    " Maintenance mode: on\n"
	    " Switchover scheduled at: 2026-12-01T03:00:00+00:00\n"
	    "                    from: db1\n"
	    "                      to: db2\n");
	view_free(v);
}

static void
test_topology(void **state)
{
	struct view *v = orders();
	struct view_member *m = &v->members[0];

	(void)state;
	m->tags_doc = tree_map();
	tree_set(m->tags_doc, "replicatefrom", tree_text("db2"));
	tags_parse(m->tags_doc, &m->tags);
	check(v, "orders", FMT_TOPOLOGY, false,
	    "+ Cluster: orders (7480031112223334445) ---------+----+-------------+-----+------------+-----+----------------------+\n"
	    "| Member  | Host      | Role         | State     | TL | Receive LSN | Lag | Replay LSN | Lag | Tags                 |\n"
	    "+---------+-----------+--------------+-----------+----+-------------+-----+------------+-----+----------------------+\n"
	    "| db1     | 10.1.0.11 | Leader       | running   |  7 |             |     |            |     |                      |\n"
	    "| + db2   | 10.1.0.12 | Sync Standby | streaming |  7 |  0/36000000 |   0 | 0/36000000 |   0 |                      |\n"
	    "|   + db3 | 10.1.0.13 | Replica      | streaming |  7 |  0/36000000 |   0 | 0/35000000 |  16 | {replicatefrom: db2} |\n"
	    "+---------+-----------+--------------+-----------+----+-------------+-----+------------+-----+----------------------+\n");
	view_free(v);
}

/* Members that replicate from each other are shown, and the end is reached. */
static void
test_circle(void **state)
{
	struct view *v = orders();
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);

	(void)state;
	(void)text_set(v->members[0].tags.replicatefrom, NAME_SIZE, "db2");
	(void)text_set(v->members[2].tags.replicatefrom, NAME_SIZE, "db3");
	members_print(&no_ctl, v, "orders", FMT_TOPOLOGY, false, f);
	fclose(f);
	assert_non_null(strstr(buf, "| + db2 "));
	assert_non_null(strstr(buf, "| + db3 "));
	free(buf);
	view_free(v);
}

/* What a box hides because it is long, and a scheduled restart. */
static void
test_extras(void **state)
{
	struct view *v = busy();
	struct view_member *m = &v->members[0];
	struct tree *p = tree_map();
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);

	(void)state;
	tree_set(m->pending_restart_reason, "shared_preload_libraries", p);
	tree_set(p, "old_value", tree_text(""));
	tree_set(p, "new_value", tree_text("pg_stat_statements,auto_explain"));
	m->scheduled_restart = tree_map();
	tree_set(m->scheduled_restart, "schedule",
	    tree_text("2026-12-01T03:00:00+00:00"));
	tree_set(m->scheduled_restart, "postgres_version", tree_text("15.9"));
	members_print(&no_ctl, v, "orders", FMT_PRETTY, false, f);
	members_print(&no_ctl, v, "orders", FMT_TSV, false, f);
	members_print(&no_ctl, v, "orders", FMT_JSON, true, f);
	members_print(&no_ctl, v, "orders", FMT_YAML, false, f);
	fclose(f);
	assert_non_null(
	    strstr(buf, "| shared_preload_libraries: [hidden - too long] |"));
	assert_non_null(strstr(buf,
	    "\t*\tmax_connections: 100->200\nshared_preload_libraries: "
	    "->pg_stat_statements,auto_explain\t"
	    "2026-12-01T03:00:00+00:00 if version < 15.9\t"
	    "{nofailover: true, zone: b}\n"));
	assert_non_null(strstr(buf,
	    "\"Pending restart\": \"*\", "
	    "\"Pending restart reason\": \"max_connections: 100->200\\n"
	    "shared_preload_libraries: ->pg_stat_statements,auto_explain\", "
	    "\"Scheduled restart\": "
	    "\"2026-12-01T03:00:00+00:00 if version < 15.9\", "
	    "\"Tags\": {"));
	assert_non_null(strstr(buf,
	    "  Pending restart: '*'\n"
	    "  Pending restart reason: 'max_connections: 100->200\n\n"
	    "    shared_preload_libraries: "
	    "->pg_stat_statements,auto_explain'\n"));
	assert_non_null(strstr(buf,
	    "  Tags:\n    nofailover: true\n"
	    "    zone: b\n"));
	free(buf);
	view_free(v);
}

/* A group of a Citus cluster: in the title of boxes, a column elsewhere. */
static void
test_citus(void **state)
{
	const struct ctl group = { .group = 1 };
	struct view *v = orders();
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);

	(void)state;
	members_print(&group, v, "orders", FMT_PRETTY, false, f);
	members_print(&group, v, "orders", FMT_JSON, false, f);
	fclose(f);
	assert_non_null(strstr(
	    buf, "+ Citus cluster: orders (group: 1, 7480031112223334445) "));
	assert_null(strstr(buf, "Group |"));
	assert_non_null(strstr(buf,
	    "{\"Cluster\": \"orders\", \"Group\": 1, \"Member\": \"db1\", "));
	free(buf);
	view_free(v);
}

/* In one line of text a value must not look like the end of another. */
static void
test_flow(void **state)
{
	struct view *v = orders();
	struct view_member *m = &v->members[0];
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);

	(void)state;
	m->tags_doc = tree_map();
	tree_set(m->tags_doc, "b", tree_text("x, y"));
	tree_set(m->tags_doc, "a", tree_text("on"));
	tree_set(m->tags_doc, "c", tree_list());
	members_print(&no_ctl, v, "orders", FMT_TSV, false, f);
	fclose(f);
	assert_non_null(strstr(buf, "\t{a: 'on', b: 'x, y', c: []}\n"));
	free(buf);
	view_free(v);
}

static void
test_unknown(void **state)
{
	struct view *v = view_new();

	(void)state;
	check(v, "nosuch", FMT_PRETTY, false,
	    "+ Cluster: nosuch (uninitialized) --+-------------+-----+------------+-----+\n"
	    "| Member | Host | Role | State | TL | Receive LSN | Lag | Replay LSN | Lag |\n"
	    "+--------+------+------+-------+----+-------------+-----+------------+-----+\n"
	    "+--------+------+------+-------+----+-------------+-----+------------+-----+\n");
	view_free(v);
}

static void
test_ports_and_lag(void **state)
{
	struct view *v = view_new();
	struct view_member *m;

	(void)state;
	v->has_leader = 1;
	v->has_initialize = 1;
	v->optime = 0x1000000;
	m = member(v, "a", "postgres://[::1]:5433/postgres", "running");
	m->xlog_location = 0x1000000 - 1572864; /* 1.5 MB: to the even 2 */
	m->has_xlog_location = 1;
	check(v, "x", FMT_TSV, false,
	    "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay LSN\tReplay Lag\n"
	    "x\ta\t::1:5433\tReplica\trunning\t\tunknown\t\t0/E80000\t2\n");
	m = &v->members[0];
	m->xlog_location = 0x1000000 - 524288; /* 0.5 MB: to the even 0 */
	(void)text_set(
	    m->replication_state, sizeof(m->replication_state), "streaming");
	check(v, "x", FMT_TSV, false,
	    "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay LSN\tReplay Lag\n"
	    "x\ta\t::1:5433\tReplica\tstreaming\t\t0/F80000\t0\tunknown\t\n");
	view_free(v);
}

static void
test_wide(void **state)
{
	struct table t;
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);

	(void)state;
	if (setlocale(LC_CTYPE, "C.UTF-8") == NULL)
		skip();
	table_init(&t);
	(void)text_set(t.title, sizeof(t.title), " much too long a title ");
	table_column(&t, "A", NULL, false);
	tree_append(table_row(&t), tree_text("\xe6\x9d\xb1"));
	tree_append(table_row(&t), tree_null());
	table_print(&t, FMT_PRETTY, f);
	fclose(f);
	assert_string_equal(buf,
	    "+ much +\n| A    |\n+------+\n| \xe6\x9d\xb1   |\n"
	    "| None |\n+------+\n");
	free(buf);
	table_free(&t);
}

static void
test_options(void **state)
{
	static struct parsed p;
	const struct command *c = command_find("list");
	char a[] = "-te", f[] = "-fjson", n[] = "one", w[] = "--watch=1.5",
	     dd[] = "--", x[] = "-x";

	(void)state;
	options_parse(c, 6, (char *[]){ a, n, f, w, dd, x, NULL }, &p);
	assert_int_equal(p.nargs, 2);
	assert_string_equal(p.args[0], "one");
	assert_string_equal(p.args[1], "-x");
	assert_true(p.v[1].set && p.v[2].set);
	assert_string_equal(p.v[3].text, "json");
	assert_true(p.v[5].set && p.v[5].real > 1.4 && p.v[5].real < 1.6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pretty),
		cmocka_unit_test(test_tsv),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_yaml),
		cmocka_unit_test(test_multiline),
		cmocka_unit_test(test_topology),
		cmocka_unit_test(test_circle),
		cmocka_unit_test(test_extras),
		cmocka_unit_test(test_citus),
		cmocka_unit_test(test_flow),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_ports_and_lag),
		cmocka_unit_test(test_wide),
		cmocka_unit_test(test_options),
	};

	log_init("test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
