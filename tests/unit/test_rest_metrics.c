/*
 * test_rest_metrics.c: GET /metrics as text: names, types and order of
 * spec/rest-api.md 12, values in every situation, and the manager's own
 * figures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helpers/json.h"
#include "ipc/clock.h"
#include "rest/document.h"

#define NOW (1000 * NS_PER_SEC)

static struct snapshot snap;
static struct msg_restarts helpers;
static struct msg_dcs_figures dcs;
static struct httpd_stats http;
static struct buf out;

static void
primary(void)
{
	memset(&snap, 0, sizeof(snap));
	snap.have = true;
	snap.s.stamp_ns = NOW - NS_PER_SEC / 4;
	snap.s.ttl_ns = 30 * NS_PER_SEC;
	snap.s.view_until_ns = NOW + NS_PER_SEC;
	snap.s.trusted_until_ns = NOW + 12500 * NS_PER_MS;
	snap.s.role = ROLE_PRIMARY;
	snap.s.state = STATE_RUNNING;
	snap.s.sql_ok = 1;
	snap.s.server_version = 160004;
	snap.s.timeline = 7;
	snap.s.xlog_location = UINT64_C(0x1000000001);
	snap.s.dcs_last_seen = 1724873966;
	snap.s.loop_ns = 3 * NS_PER_MS;
	snap.s.cycles = 42;
	strcpy(
	    snap.s.postmaster_start_time, "2024-08-28 19:39:26.352526+00:00");
}

static const char *
text(const struct view *v, const char *tags_json)
{
	struct document_names names = { .scope = "de\"mo", .name = "n\\1" };
	struct own_metrics own = { .helpers = &helpers,
		.dcs = &dcs,
		.queued = 17,
		.view_latency_ns = 1500000,
		.http = &http };
	struct tree *tags = tags_json == NULL ?
	    NULL :
	    tree_from_json(tags_json, strlen(tags_json), NULL, 0);
	struct facts f;

	health_facts(&snap, NOW, &f);
	buf_reset(&out);
	document_metrics(&out, &snap, &f, v, NOW, &names, tags, &own);
	tree_free(tags);
	assert_false(out.failed);
	return out.s;
}

/* The value behind name (and labels), NULL when there is no such sample. */
static const char *
value(const char *all, const char *name)
{
	static char v[64];
	const char *p = all;
	size_t n = strlen(name);

	for (; p != NULL; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, name, n) != 0 ||
		    (p[n] != '{' && strchr(name, '{') == NULL))
			continue;
		p += strcspn(p, " \n");
		snprintf(
		    v, sizeof(v), "%.*s", (int)strcspn(p + 1, "\n"), p + 1);
		return v;
	}
	return NULL;
}

#define VALUE(name, want)                                      \
	do {                                                   \
		const char *v_ = value(all, name);             \
		if (v_ == NULL || strcmp(v_, want) != 0)       \
			fail_msg("%s: %s, not %s", name,       \
			    v_ == NULL ? "absent" : v_, want); \
	} while (0)

static const struct {
	const char *name, *type, *primary;
} compatible[] = {
	{ "patroni_version", "gauge", "040104" },
	{ "patroni_postgres_running", "gauge", "1" },
	{ "patroni_postmaster_start_time", "gauge", "1724873966.352526" },
	{ "patroni_primary", "gauge", "1" },
	{ "patroni_xlog_location", "counter", "68719476737" },
	{ "patroni_standby_leader", "gauge", "0" },
	{ "patroni_replica", "gauge", "0" },
	{ "patroni_sync_standby", "gauge", "0" },
	{ "patroni_quorum_standby", "gauge", "0" },
	{ "patroni_xlog_received_location", "counter", "0" },
	{ "patroni_xlog_replayed_location", "counter", "0" },
	{ "patroni_xlog_replayed_timestamp", "gauge", "0" },
	{ "patroni_xlog_paused", "gauge", "0" },
	{ "patroni_postgres_streaming", "gauge", "0" },
	{ "patroni_postgres_in_archive_recovery", "gauge", "0" },
	{ "patroni_postgres_server_version", "gauge", "160004" },
	{ "patroni_cluster_unlocked", "gauge", "0" },
	{ "patroni_failsafe_mode_is_active", "gauge", "0" },
	{ "patroni_failsafe_mode_enabled", "gauge", "0" },
	{ "patroni_failsafe_member", "gauge", "0" },
	{ "patroni_postgres_timeline", "gauge", "7" },
	{ "patroni_dcs_last_seen", "gauge", "1724873966" },
	{ "patroni_pending_restart", "gauge", "0" },
	{ "patroni_is_paused", "gauge", "0" },
	{ "patroni_postgres_state", "gauge", "5" },
	{ "patroni_failover_priority", "gauge", "1" },
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* HELP, TYPE and one sample each, in the order of the table. */
static void
test_form(void **state)
{
	const char *p, *line;
	char want[256];
	size_t i;

	(void)state;
	primary();
	p = text(NULL, NULL);
	for (i = 0; i < COUNT(compatible); i++) {
		snprintf(want, sizeof(want), "# HELP %s ", compatible[i].name);
		if (strncmp(p, want, strlen(want)) != 0)
			fail_msg("not %s but %.60s", want, p);
		assert_true(strcspn(p, "\n") > strlen(want) + 4);
		p = strchr(p, '\n') + 1;
		if (strcmp(compatible[i].name, "patroni_postgres_state") == 0) {
			line = "# Values: 0=initdb, 1=initdb_failed, "
			       "2=custom_bootstrap, 3=custom_bootstrap_failed, "
			       "4=creating_replica, 5=running, 6=starting, "
			       "7=bootstrap_starting, 8=start_failed, "
			       "9=restarting, 10=restart_failed, 11=stopping, "
			       "12=stopped, 13=stop_failed, 14=crashed\n";
			assert_memory_equal(p, line, strlen(line));
			p += strlen(line);
		}
		snprintf(want, sizeof(want),
		    "# TYPE %s %s\n%s{scope=\"de\\\"mo\",name=\"n\\\\1\"} %s\n",
		    compatible[i].name, compatible[i].type, compatible[i].name,
		    compatible[i].primary);
		if (strncmp(p, want, strlen(want)) != 0)
			fail_msg("not %s but %.160s", want, p);
		p += strlen(want);
	}
	/* what follows is the manager's, and ends in a line feed */
	assert_memory_equal(p, "# HELP patroni_manager_", 23);
	assert_int_equal(out.s[out.len - 1], '\n');
	while ((p = strchr(p, '\n') + 1)[0] != '\0')
		if (strncmp(p, "# HELP ", 7) == 0)
			assert_memory_equal(p + 7, "patroni_manager_", 16);
}

static void
test_standby(void **state)
{
	struct view *v = view_new();
	const char *all;

	(void)state;
	primary();
	snap.s.trusted_until_ns = 0;
	snap.s.role = ROLE_REPLICA;
	snap.s.in_recovery = 1;
	snap.s.xlog_location = 99; /* of no meaning there */
	snap.s.received_location = 5001;
	snap.s.replayed_location = 5000;
	snap.s.replayed_known = 1;
	snap.s.replay_paused = 1;
	snap.s.synchronous_mode = 1;
	snap.s.sync_standby = 1;
	snap.s.failsafe_mode = 1;
	snap.s.pending_restart = 1;
	snap.s.pause = 1;
	strcpy(snap.s.replication_state, "streaming");
	strcpy(snap.s.replayed_timestamp, "2024-08-28 21:39:26+02:00");
	strcpy(snap.s.postmaster_start_time, "2024-08-28 14:09:26.5-05:30");
	v->has_failsafe = v->failsafe_object = 1;
	v->failsafe = calloc(1, sizeof(*v->failsafe));
	v->nfailsafe = 1;
	strcpy(v->failsafe[0].name, "n\\1");
	all = text(v, "{\"failover_priority\": -3}");
	VALUE("patroni_primary", "0");
	VALUE("patroni_replica", "1");
	VALUE("patroni_xlog_location", "0");
	VALUE("patroni_xlog_received_location", "5001");
	VALUE("patroni_xlog_replayed_location", "5000");
	VALUE("patroni_xlog_replayed_timestamp", "1724873966.0");
	VALUE("patroni_postmaster_start_time", "1724873966.5");
	VALUE("patroni_xlog_paused", "1");
	VALUE("patroni_sync_standby", "1");
	VALUE("patroni_quorum_standby", "0");
	VALUE("patroni_postgres_streaming", "1");
	VALUE("patroni_failsafe_mode_enabled", "1");
	VALUE("patroni_failsafe_member", "1");
	VALUE("patroni_pending_restart", "1");
	VALUE("patroni_is_paused", "1");
	VALUE("patroni_failover_priority", "-3");
	snap.s.synchronous_mode = 2;
	strcpy(snap.s.replication_state, "in archive recovery");
	snap.s.replayed_known = 0;
	snap.s.replayed_timestamp[0] = '\0';
	snap.s.failsafe_until_ns = NOW + 1;
	snap.s.cluster_unlocked = 1;
	all = text(v, "{\"nofailover\": true, \"failover_priority\": 2}");
	VALUE("patroni_sync_standby", "0");
	VALUE("patroni_quorum_standby", "1");
	VALUE("patroni_postgres_streaming", "0");
	VALUE("patroni_postgres_in_archive_recovery", "1");
	VALUE("patroni_xlog_replayed_location", "0");
	VALUE("patroni_xlog_replayed_timestamp", "0");
	VALUE("patroni_failsafe_mode_is_active", "1");
	VALUE("patroni_cluster_unlocked", "1");
	VALUE("patroni_failover_priority", "0");
	snap.s.standby_cluster = 1;
	snap.s.role = ROLE_STANDBY_LEADER;
	all = text(v, NULL);
	VALUE("patroni_standby_leader", "1");
	VALUE("patroni_replica", "0");
	view_free(v);
}

/* Without numbers two metrics go and the others fall back to 0. */
static void
test_no_sql(void **state)
{
	const char *all;

	(void)state;
	primary();
	snap.s.sql_ok = 0;
	all = text(NULL, NULL);
	assert_null(value(all, "patroni_postgres_streaming"));
	assert_null(value(all, "patroni_postgres_in_archive_recovery"));
	VALUE("patroni_postgres_running", "0");
	VALUE("patroni_postmaster_start_time", "0");
	VALUE("patroni_primary", "1"); /* the role in memory */
	VALUE("patroni_xlog_location", "0");
	VALUE("patroni_postgres_server_version", "0");
	VALUE("patroni_postgres_timeline", "0");
	VALUE("patroni_postgres_state", "-1");
	snap.s.state = STATE_CRASHED;
	all = text(NULL, NULL);
	VALUE("patroni_postgres_state", "14");
	primary();
	snap.s.server_version = 90500;
	all = text(NULL, NULL);
	assert_null(value(all, "patroni_postgres_streaming"));
	memset(&snap, 0, sizeof(snap)); /* before the first snapshot */
	all = text(NULL, NULL);
	VALUE("patroni_postgres_running", "0");
	VALUE("patroni_cluster_unlocked", "1");
}

#define LABELS "{scope=\"de\\\"mo\",name=\"n\\\\1\""

static void
test_own(void **state)
{
	const char *all;

	(void)state;
	primary();
	helpers.count[PROC_DCS] = 3;
	helpers.queue_bytes[PROC_POSTGRES] = 4096;
	dcs = (struct msg_dcs_figures){ .requests = 8,
		.failures = 2,
		.total_ns = 12 * NS_PER_MS,
		.last_ns = 1500 * 1000 };
	http.requests = 5;
	http.connections = 6;
	http.refused = 7;
	http.timeouts = 8;
	all = text(NULL, NULL);
	VALUE("patroni_manager_lease_seconds", "12.500000");
	VALUE("patroni_manager_loop_seconds", "0.003000");
	VALUE("patroni_manager_loops_total", "42");
	VALUE("patroni_manager_snapshot_age_seconds", "0.250000");
	VALUE("patroni_manager_dcs_read_seconds", "0.001500");
	VALUE("patroni_manager_dcs_request_seconds_sum", "0.012000");
	VALUE("patroni_manager_dcs_request_seconds_count", "8");
	VALUE("patroni_manager_dcs_request_failures_total", "2");
	VALUE("patroni_manager_dcs_last_request_seconds", "0.001500");
	VALUE("patroni_manager_helper_restarts_total" LABELS
	      ",process=\"dcs\"}",
	    "3");
	VALUE("patroni_manager_helper_restarts_total" LABELS
	      ",process=\"watchdog\"}",
	    "0");
	VALUE("patroni_manager_ipc_queue_bytes" LABELS ",process=\"postgres\"}",
	    "4096");
	VALUE("patroni_manager_ipc_queue_bytes" LABELS ",process=\"rest\"}",
	    "17");
	VALUE("patroni_manager_http_requests_total", "5");
	VALUE("patroni_manager_http_connections", "6");
	VALUE("patroni_manager_http_refused_total", "7");
	VALUE("patroni_manager_http_timeouts_total", "8");
	snap.s.trusted_until_ns = NOW; /* just over */
	all = text(NULL, NULL);
	VALUE("patroni_manager_lease_seconds", "0.000000");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_standby),
		cmocka_unit_test(test_no_sql),
		cmocka_unit_test(test_own),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	buf_free(&out);
	return failed;
}
