/*
 * test_rest_health.c: the scenario table of spec/rest-api.md 6.5, lag and tag
 * filters, liveness and readiness, and how answers change by time alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ipc/clock.h"
#include "rest/buf.h"
#include "rest/document.h"
#include "rest/health.h"

#define NOW (1000 * NS_PER_SEC)
#define TTL (30 * NS_PER_SEC)

static const struct query no_query;

/* A running standby with a view, freshly told. */
static void
standby(struct snapshot *s)
{
	memset(s, 0, sizeof(*s));
	s->have = true;
	s->s.stamp_ns = NOW;
	s->s.ttl_ns = TTL;
	s->s.view_until_ns = NOW + TTL;
	s->s.next_run_ns = NOW + 10 * NS_PER_SEC;
	s->s.role = ROLE_REPLICA;
	s->s.state = STATE_RUNNING;
	s->s.sql_ok = 1;
	s->s.in_recovery = 1;
	s->s.replayed_known = 1;
	s->s.replayed_location = 1000;
	s->s.received_location = 2000;
	s->s.postmaster_running = 1;
	s->s.maximum_lag_on_failover = 1048576;
	strcpy(s->s.replication_state, "streaming");
}

static void
leader(struct snapshot *s)
{
	standby(s);
	s->s.role = ROLE_PRIMARY;
	s->s.in_recovery = 0;
	s->s.trusted_until_ns = NOW + TTL;
	s->s.replication_state[0] = '\0';
}

static int
code_at(const struct snapshot *s, int64_t now, const char *path)
{
	struct facts f;

	health_facts(s, now, &f);
	return health_code(s, &f, path, &no_query, NULL);
}

/* Expected 200s as a string of the columns p l sl r ro s q a rs rq h. */
struct row {
	const char *what;
	const char *yes;
	void (*set)(struct snapshot *);
};

static const struct {
	const char *column, *paths[4];
} columns[] = {
	{ "p", { "/", "/primary", "/master", "/read-write" } },
	{ "l", { "/leader" } },
	{ "sl", { "/standby-leader", "/standby_leader" } },
	{ "r", { "/replica" } },
	{ "ro", { "/read-only" } },
	{ "s", { "/sync", "/synchronous" } },
	{ "q", { "/quorum" } },
	{ "a", { "/async", "/asynchronous" } },
	{ "rs", { "/read-only-sync", "/read-only-synchronous" } },
	{ "rq", { "/read-only-quorum" } },
	{ "h", { "/health" } },
};

static void
set_promoting(struct snapshot *s)
{
	leader(s);
	s->s.in_recovery = 1;
	s->s.role = ROLE_REPLICA;
}
static void
set_starting(struct snapshot *s)
{
	leader(s);
	s->s.state = STATE_STARTING;
	s->s.sql_ok = 0;
}
static void
set_stopping(struct snapshot *s)
{
	leader(s);
	s->s.state = STATE_STOPPING;
	s->s.sql_ok = 0;
}
static void
set_untrusted(struct snapshot *s)
{
	leader(s);
	s->s.trusted_until_ns = 0;
}
static void
set_sync(struct snapshot *s)
{
	standby(s);
	s->s.synchronous_mode = 1;
	s->s.sync_standby = 1;
}
static void
set_quorum(struct snapshot *s)
{
	standby(s);
	s->s.synchronous_mode = 2;
	s->s.sync_standby = 1;
}
static void
set_noloadbalance(struct snapshot *s)
{
	standby(s);
	s->s.noloadbalance = 1;
}
static void
set_standby_leader(struct snapshot *s)
{
	standby(s);
	s->s.standby_cluster = 1;
	s->s.role = ROLE_STANDBY_LEADER;
	s->s.trusted_until_ns = NOW + TTL;
}
static void
set_standby_leader_no_store(struct snapshot *s)
{
	set_standby_leader(s);
	s->s.view_until_ns = 0;
}
static void
set_standby_leader_over(struct snapshot *s)
{
	set_standby_leader_no_store(s);
	s->s.trusted_until_ns = 0;
}
static void
set_pause_standby_leader(struct snapshot *s)
{
	set_standby_leader_over(s);
	s->s.pause = 1;
}
static void
set_standby_member(struct snapshot *s)
{
	standby(s);
	s->s.standby_cluster = 1;
}
static void
set_unlocked(struct snapshot *s)
{
	standby(s);
	s->s.cluster_unlocked = 1;
}
static void
set_standby_no_view(struct snapshot *s)
{
	set_sync(s);
	s->s.view_until_ns = 0;
}
static void
set_failsafe(struct snapshot *s)
{
	leader(s);
	s->s.view_until_ns = 0;
	s->s.failsafe_until_ns = NOW + TTL;
}
static void
set_no_store(struct snapshot *s)
{
	leader(s);
	s->s.view_until_ns = 0;
}
static void
set_start_failed(struct snapshot *s)
{
	standby(s);
	s->s.sql_ok = 0;
	s->s.state = STATE_START_FAILED;
}
static void
set_nostream(struct snapshot *s)
{
	standby(s);
	strcpy(s->s.replication_state, "in archive recovery");
	s->s.nostream = 1;
}
static void
set_pause_primary(struct snapshot *s)
{
	leader(s);
	s->s.trusted_until_ns = 0;
	s->s.view_until_ns = 0;
	s->s.pause = 1;
}
static void
set_pause_standby(struct snapshot *s)
{
	standby(s);
	s->s.view_until_ns = 0;
	s->s.pause = 1;
}
static void
set_pause_view(struct snapshot *s)
{
	set_untrusted(s);
	s->s.pause = 1;
}
static void
set_cloning(struct snapshot *s)
{
	standby(s);
	s->s.sql_ok = 0;
	s->s.state = STATE_CREATING_REPLICA;
}
static void
set_crashed(struct snapshot *s)
{
	standby(s);
	s->s.sql_ok = 0;
	s->s.state = STATE_CRASHED;
}
static void
set_unreachable(struct snapshot *s)
{
	leader(s);
	s->s.sql_ok = 0;
}

static const struct row table[] = {
	{ "leader, running primary", "p l ro rs rq h", leader },
	{ "lock acquired, promotion not finished", "p l r ro a rs rq h",
	    set_promoting },
	{ "lock holder, starting", "p l ro rs rq", set_starting },
	{ "lock holder, stopping", "p l ro rs rq", set_stopping },
	{ "former leader as standby", "r ro a h", standby },
	{ "primary without trusted lock", "h", set_untrusted },
	{ "healthy standby in /sync", "r ro s rs h", set_sync },
	{ "healthy standby in /sync, quorum", "r ro q rq h", set_quorum },
	{ "noloadbalance", "h", set_noloadbalance },
	{ "standby leader with lock", "l sl ro rs rq h", set_standby_leader },
	{ "standby leader, store down", "l sl ro h",
	    set_standby_leader_no_store },
	{ "standby leader, its lease over", "h", set_standby_leader_over },
	{ "pause, no view, standby leader", "l sl ro h",
	    set_pause_standby_leader },
	{ "standby-cluster member", "r ro a h", set_standby_member },
	{ "standby, no leader", "r ro a h", set_unlocked },
	{ "standby, store down", "r ro h", set_standby_no_view },
	{ "leader, store down, failsafe", "p l ro h", set_failsafe },
	{ "leader, store down, not yet demoted", "p l ro h", set_no_store },
	{ "start failed", "", set_start_failed },
	{ "nostream", "r ro a h", set_nostream },
	{ "pause, no view, primary", "p l ro h", set_pause_primary },
	{ "pause, no view, standby", "r ro h", set_pause_standby },
	{ "pause, view, primary without lock", "h", set_pause_view },
	{ "cloning", "", set_cloning },
	{ "crashed without lock", "", set_crashed },
	{ "unreachable by SQL on the leader", "p l ro rs rq", set_unreachable },
};

static bool
listed(const char *yes, const char *column)
{
	char padded[64], want[8];

	snprintf(padded, sizeof(padded), " %s ", yes);
	snprintf(want, sizeof(want), " %s ", column);
	return strstr(padded, want) != NULL;
}

static void
test_table(void **state)
{
	struct snapshot s;
	size_t i, c, p;
	int want, got;

	(void)state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		table[i].set(&s);
		for (c = 0; c < sizeof(columns) / sizeof(columns[0]); c++) {
			want =
			    listed(table[i].yes, columns[c].column) ? 200 : 503;
			for (p = 0; p < 4 && columns[c].paths[p] != NULL; p++) {
				got = code_at(&s, NOW, columns[c].paths[p]);
				if (got != want)
					fail_msg("%s: %s gives %d, not %d",
					    table[i].what, columns[c].paths[p],
					    got, want);
			}
		}
	}
}

static void
test_paths(void **state)
{
	struct snapshot s;

	(void)state;
	leader(&s);
	assert_int_equal(code_at(&s, NOW, "/my-primary"), 200);
	assert_int_equal(code_at(&s, NOW, "/healthz"), 200);
	assert_int_equal(code_at(&s, NOW, "/nothing"), 503);
	assert_int_equal(code_at(&s, NOW, "*"), 503);
	assert_int_equal(code_at(&s, NOW, "/Primary"), 503);
	set_sync(&s);
	assert_int_equal(code_at(&s, NOW, "/my-replica"), 200);
	assert_int_equal(code_at(&s, NOW, "/sync/"), 503);
	assert_int_equal(code_at(&s, NOW, "/async"), 503);
}

/* A lease that ran out is no lease, whoever else is dead. */
static void
test_by_time(void **state)
{
	struct snapshot s;

	(void)state;
	leader(&s);
	assert_int_equal(code_at(&s, NOW + TTL - 1, "/primary"), 200);
	assert_int_equal(code_at(&s, NOW + TTL, "/primary"), 503);
	assert_int_equal(code_at(&s, NOW + TTL, "/leader"), 503);
	assert_int_equal(code_at(&s, NOW + 2 * TTL, "/health"), 200);
	assert_int_equal(code_at(&s, NOW + 2 * TTL + 1, "/health"), 503);
	standby(&s);
	assert_int_equal(code_at(&s, NOW + 2 * TTL, "/replica"), 200);
	assert_int_equal(code_at(&s, NOW + 2 * TTL + 1, "/replica"), 503);
	assert_int_equal(code_at(&s, NOW + TTL, "/async"), 503); /* view gone */
	set_pause_primary(&s);
	assert_int_equal(code_at(&s, NOW + 2 * TTL + 1, "/primary"), 503);
	set_standby_leader(&s);
	assert_int_equal(code_at(&s, NOW + TTL - 1, "/standby-leader"), 200);
	assert_int_equal(code_at(&s, NOW + TTL, "/standby-leader"), 503);
	assert_int_equal(code_at(&s, NOW + TTL, "/leader"), 503);
	assert_int_equal(code_at(&s, NOW + TTL, "/replica"), 503);
	assert_int_equal(code_at(&s, NOW + 2 * TTL, "/health"), 200);
	/* a lease longer than what is known of PostgreSQL */
	s.s.trusted_until_ns = NOW + 3 * TTL;
	assert_int_equal(code_at(&s, NOW + 2 * TTL + 1, "/leader"), 200);
	assert_int_equal(
	    code_at(&s, NOW + 2 * TTL + 1, "/standby-leader"), 503);
	set_no_store(&s);
	assert_int_equal(code_at(&s, NOW + TTL - 1, "/primary"), 200);
	assert_int_equal(code_at(&s, NOW + TTL, "/primary"), 503);
	memset(&s, 0, sizeof(s));
	assert_int_equal(code_at(&s, NOW, "/health"), 503);
	assert_int_equal(code_at(&s, NOW, "/primary"), 503);
}

static int
code_query(const struct snapshot *s, const char *path, const char *query,
    const struct tree *tags)
{
	struct facts f;
	struct query q;
	char text[256];

	snprintf(text, sizeof(text), "%s", query);
	query_parse(text, &q);
	health_facts(s, NOW, &f);
	return health_code(s, &f, path, &q, tags);
}

static void
test_lag(void **state)
{
	struct snapshot s;

	(void)state;
	standby(&s);
	s.s.optime = 1000 + 2 * 1048576;
	assert_int_equal(code_query(&s, "/replica", "lag=1MB", NULL), 503);
	assert_int_equal(code_query(&s, "/replica", "lag=2MB", NULL), 200);
	assert_int_equal(code_query(&s, "/replica", "lag=2097151", NULL), 503);
	assert_int_equal(code_query(&s, "/replica", "lag=16KB", NULL), 200);
	assert_int_equal(code_query(&s, "/replica", "lag=", NULL), 200);
	assert_int_equal(code_query(&s, "/read-only", "lag=1MB", NULL), 503);
	assert_int_equal(code_query(&s, "/async", "lag=1MB", NULL), 503);
	assert_int_equal(code_query(&s, "/health", "lag=1MB", NULL), 200);
	/* the first value counts, empty pairs are dropped */
	assert_int_equal(
	    code_query(&s, "/replica", "lag=&lag=1MB&lag=9GB", NULL), 503);
	s.s.view_until_ns = 0; /* then only the receiver's position counts */
	assert_int_equal(code_query(&s, "/replica", "lag=1MB", NULL), 200);
	s.s.latest_end = 1000 + 2 * 1048576;
	assert_int_equal(code_query(&s, "/replica", "lag=1MB", NULL), 503);
	s.s.replayed_known = 0;
	assert_int_equal(code_query(&s, "/replica", "lag=0", NULL), 503);
	assert_int_equal(
	    code_query(&s, "/replica", "replication_state=streaming", NULL),
	    200);
	assert_int_equal(code_query(&s, "/replica",
			     "replication_state=in+archive%20recovery", NULL),
	    503);
}

static void
test_tags(void **state)
{
	struct tree *tags = tree_map();
	struct snapshot s;

	(void)state;
	tree_set(tags, "zone", tree_text("East 1"));
	tree_set(tags, "fast", tree_bool(true));
	tree_set(tags, "weight", tree_int(5));
	tree_set(tags, "none", tree_null());
	standby(&s);
	assert_int_equal(
	    code_query(&s, "/replica", "tag_zone=East+1", tags), 200);
	assert_int_equal(
	    code_query(&s, "/replica", "tag_zone=East%201", tags), 200);
	assert_int_equal(
	    code_query(&s, "/replica", "tag_zone=east+1", tags), 503);
	assert_int_equal(
	    code_query(&s, "/replica", "tag_fast=true", tags), 200);
	assert_int_equal(
	    code_query(&s, "/replica", "tag_fast=True", tags), 503);
	assert_int_equal(code_query(&s, "/replica", "tag_weight=5", tags), 200);
	assert_int_equal(
	    code_query(&s, "/replica", "tag_none=none", tags), 503);
	assert_int_equal(code_query(&s, "/replica", "tag_x=1", tags), 503);
	assert_int_equal(
	    code_query(&s, "/replica", "tag_fast=true&tag_weight=6", tags),
	    503);
	assert_int_equal(code_query(&s, "/health", "tag_x=1", tags), 503);
	assert_int_equal(code_query(&s, "/replica", "tag_x=1", NULL), 503);
	assert_int_equal(
	    code_query(&s, "/replica", "tag_zone=East+1%00x", tags),
	    200); /* a pair with a NUL does not exist */
	leader(&s);
	assert_int_equal(code_query(&s, "/primary", "tag_x=1", tags), 200);
	assert_int_equal(code_query(&s, "/", "tag_x=1", tags), 200);
	tree_free(tags);
}

static void
test_liveness(void **state)
{
	struct snapshot s;

	(void)state;
	leader(&s);
	assert_int_equal(liveness_code(&s, NOW + 39 * NS_PER_SEC), 200);
	assert_int_equal(liveness_code(&s, NOW + 40 * NS_PER_SEC), 503);
	s.s.postmaster_running = 0;
	assert_int_equal(liveness_code(&s, NOW + 69 * NS_PER_SEC), 200);
	assert_int_equal(liveness_code(&s, NOW + 70 * NS_PER_SEC), 503);
	s.s.pause = 1;
	assert_int_equal(liveness_code(&s, NOW + 999 * NS_PER_SEC), 200);
	memset(&s, 0, sizeof(s));
	s.started_ns = NOW;
	assert_int_equal(liveness_code(&s, NOW + 59 * NS_PER_SEC), 200);
	assert_int_equal(liveness_code(&s, NOW + 60 * NS_PER_SEC), 503);
}

static int
ready(const struct snapshot *s, const char *query, char *reason)
{
	struct facts f;
	struct query q;
	char text[128];

	snprintf(text, sizeof(text), "%s", query);
	query_parse(text, &q);
	health_facts(s, NOW, &f);
	return readiness_code(s, &f, &q, reason, 160);
}

static void
test_readiness(void **state)
{
	struct snapshot s;
	char why[160];

	(void)state;
	set_stopping(&s);
	assert_int_equal(ready(&s, "", why), 200);
	set_cloning(&s);
	assert_int_equal(ready(&s, "", why), 503);
	assert_string_equal(why, "PostgreSQL is not running");
	set_untrusted(&s);
	assert_int_equal(ready(&s, "", why), 503);
	assert_string_equal(
	    why, "PostgreSQL replication state is not streaming");
	standby(&s);
	assert_int_equal(ready(&s, "", why), 200);
	s.s.optime = 1000 + 1048576;
	assert_int_equal(ready(&s, "", why), 200);
	s.s.optime++;
	assert_int_equal(ready(&s, "", why), 503);
	assert_string_equal(why,
	    "Replication apply lag 1048577 exceeds maximum "
	    "allowable 1048576");
	assert_int_equal(ready(&s, "mode=write", why), 200);
	assert_int_equal(ready(&s, "mode=write&lag=1kB", why), 503);
	assert_int_equal(ready(&s, "lag=2MB", why), 200);
	s.s.view_until_ns = 0;
	assert_int_equal(ready(&s, "", why), 503);
	assert_string_equal(why, "DCS is not accessible");
	s.s.failsafe_until_ns = NOW + 1;
	assert_int_equal(ready(&s, "", why), 200);
}

static void
test_document(void **state)
{
	static const struct document_names names = { "demo", "n\"1" };
	struct buf b = { 0 };
	struct snapshot s;
	struct facts f;

	(void)state;
	set_sync(&s);
	s.s.server_version = 160004;
	s.s.timeline = 3;
	s.doc = tree_map();
	tree_set(s.doc, "tags", tree_map());
	tree_set(tree_get(s.doc, "tags"), "z",
	    tree_text("\xc3\xa4\xf0\x9f\x98\x80"));
	health_facts(&s, NOW, &f);
	document_status(&b, &s, &f, &names, NULL);
	assert_string_equal(b.s,
	    "{\"state\": \"running\", \"role\": \"replica\", "
	    "\"server_version\": 160004, \"xlog\": {\"received_location\": 2000, "
	    "\"replayed_location\": 1000, \"replayed_timestamp\": null, "
	    "\"paused\": false}, \"sync_standby\": true, \"timeline\": 3, "
	    "\"replication_state\": \"streaming\", \"dcs_last_seen\": 0, "
	    "\"tags\": {\"z\": \"\\u00e4\\ud83d\\ude00\"}, \"patroni\": "
	    "{\"version\": \"4.1.4\", \"scope\": \"demo\", \"name\": "
	    "\"n\\\"1\"}}");
	/* old numbers must not be taken for new ones by a peer */
	buf_reset(&b);
	health_facts(&s, NOW + 2 * TTL + 1, &f);
	document_status(&b, &s, &f, &names, NULL);
	assert_null(strstr(b.s, "xlog"));
	assert_non_null(strstr(b.s, "\"state\": \"unknown\""));
	assert_non_null(strstr(b.s, "\"cluster_unlocked\": true"));
	buf_free(&b);
	tree_free(s.doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_by_time),
		cmocka_unit_test(test_lag),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_liveness),
		cmocka_unit_test(test_readiness),
		cmocka_unit_test(test_document),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
