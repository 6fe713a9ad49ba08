/*
 * test_ha_request.c: restart with its conditions, scheduled restart,
 * reinitialize (spec/ha.md 18), schedules at their boundaries (12.4), the
 * copying of logical slots (3.4 row 21c).
 */
#include "ha_driver.h"

static struct msg_request
request(uint32_t kind)
{
	struct msg_request r;

	memset(&r, 0, sizeof(r));
	r.kind = kind;
	r.timeout = -1;
	return r;
}

static int64_t
wall(const struct world *w)
{
	return w->wall + w->now / 1000;
}

/* ---- restart ---- */

static void
test_restart_primary(void **state)
{
	struct world *w = w_primary("a");
	struct msg_request r = request(REQUEST_RESTART);

	(void)state;
	w_tick(w);
	w->hold_job[JOB_RESTART] = true;
	r.timeout = 7;
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 0); /* the caller waits */
	assert_int_equal(
	    w->last_job[JOB_RESTART].job.timeout_ns, 7 * NS_PER_SEC);
	w_tick(w);
	assert_string_equal(w->result, "updated leader lock during restart");
	assert_int_equal(w->op[OP_UPDATE].dcs.u.update.with_status, 0);
	w_job_done(w, JOB_RESTART, JOB_OK);
	assert_int_equal(w->reply.code, 200);
	w_free(w);
}

static void
test_restart_verdicts(void **state)
{
	struct world *w = w_standby("b", "a");
	struct msg_request r = request(REQUEST_RESTART);

	(void)state;
	w_tick(w);
	w->job_result[JOB_RESTART] = JOB_FAILED;
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 503);
	assert_string_equal(w->reply.text, "restart failed");
	w->job_result[JOB_RESTART] = JOB_NOTHING;
	w_request(w, &r, NULL);
	assert_string_equal(w->reply.text, "postgres is still starting");
	w_free(w);
}

static void
refused(struct world *w, const struct msg_request *r, const char *why)
{
	w_clear(w);
	w_request(w, r, NULL);
	assert_int_equal(w->reply.code, 503);
	assert_string_equal(
	    w->reply.text, "restart conditions are not satisfied");
	w_follows(w->log, "not proceeding with the restart: ", why);
	assert_null(strstr(w->order, "restart"));
}

static void
test_restart_conditions(void **state)
{
	struct world *w = w_standby("b", "a");
	struct msg_request r;

	(void)state;
	w_tick(w);
	r = request(REQUEST_RESTART);
	r.has_role = 1;
	r.role = ROLE_PRIMARY;
	refused(w, &r, "host role mismatch");
	r = request(REQUEST_RESTART);
	r.postgres_version = 150004; /* the running one: not older */
	refused(w, &r, "postgres version mismatch");
	r.restart_pending = 1; /* the last failing one is named */
	refused(w, &r, "pending restart flag is not set");
	r = request(REQUEST_RESTART);
	r.has_role = 1;
	r.role = ROLE_REPLICA;
	r.postgres_version = 150005;
	r.restart_pending = 1;
	w->pg.pending_restart = true;
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 200);
	w_free(w);
}

/* spec/ha.md 21.1 */
static void
test_restart_busy(void **state)
{
	struct world *w = w_standby("b", "a");
	struct msg_request r = request(REQUEST_RESTART);

	(void)state;
	w_tick(w);
	w->hold_job[JOB_RESTART] = true;
	w_request(w, &r, NULL);
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 503);
	assert_string_equal(w->reply.text, "restart already in progress");
	w_free(w);
}

/* The lock goes while the primary restarts: what comes up must not write. */
static void
test_restart_loses_lock(void **state)
{
	struct world *w = w_primary("a");
	struct msg_request r = request(REQUEST_RESTART);

	(void)state;
	w_tick(w);
	w->hold_job[JOB_RESTART] = w->hold_job[JOB_FOLLOW] = true;
	w_request(w, &r, NULL);
	w_member(w, "b", "primary", "running");
	w_leader(w, "b");
	w_tick(w);
	assert_non_null(strstr(w->order, "job-cancel"));
	w_job_done(w, JOB_RESTART, JOB_CANCELLED);
	assert_string_equal(w->result, "lost leader lock during restart");
	w_follows(w->order, "job-cancel", "stop");
	assert_int_equal(w->last_job[JOB_STOP].job.stop_mode, STOP_IMMEDIATE);
	assert_int_equal(w->reply.code, 503);
	w_free(w);
}

/* ---- scheduled restart ---- */

static struct world *
scheduled(int64_t in_us)
{
	struct world *w = w_standby("b", "a");
	struct msg_request r = request(REQUEST_SCHEDULE_RESTART);

	w_tick(w);
	(void)snprintf(w->pg.postmaster_start_time, WORD_SIZE, "then");
	(void)snprintf(r.schedule, sizeof(r.schedule), "soon");
	r.schedule_us = wall(w) + in_us;
	w_clear(w);
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 202);
	assert_string_equal(w->order, "touch");
	w_request(w, &r, NULL); /* one at a time */
	assert_int_equal(w->reply.code, 409);
	return w;
}

static bool
has_schedule(const struct world *w)
{
	struct tree *doc = tree_map();
	bool yes;

	ha_status_document(w->h, doc);
	yes = tree_get(doc, "scheduled_restart") != NULL;
	tree_free(doc);
	return yes;
}

static void
test_scheduled(void **state)
{
	struct world *w = scheduled(25000000);
	int64_t begin = wall(w);

	(void)state;
	assert_true(has_schedule(w));
	w_tick(w);
	assert_non_null(strstr(w->log, "Awaiting restart at soon"));
	w_tick(w);
	assert_null(strstr(w->order, "restart"));
	w->hold_job[JOB_RESTART] = true;
	w_tick(w); /* at the moment itself, not at the next loop */
	assert_string_equal(w->result, "restart initiated");
	assert_int_equal(wall(w), begin + 25000000);
	assert_false(has_schedule(w));
	w_free(w);
}

static void
test_scheduled_happened(void **state)
{
	struct world *w = scheduled(5000000);

	(void)state;
	(void)snprintf(w->pg.postmaster_start_time, WORD_SIZE, "now");
	w_wake(w);
	assert_non_null(strstr(w->log,
	    "Cancelling scheduled restart: "
	    "postgres restart has already happened at now"));
	assert_false(has_schedule(w));
	w_free(w);
}

static void
test_scheduled_cancelled(void **state)
{
	struct world *w = scheduled(5000000);
	struct msg_request r = request(REQUEST_CANCEL_RESTART);

	(void)state;
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 200);
	assert_false(has_schedule(w));
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 404);
	w_tick(w);
	assert_null(strstr(w->order, "restart"));
	w_free(w);
}

/* Without a leader it waits; in pause it is neither run nor removed. */
static void
test_scheduled_waits(void **state)
{
	struct world *w = scheduled(1000000);

	(void)state;
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	assert_null(strstr(w->order, "restart"));
	assert_true(has_schedule(w));
	w_free(w);
}

/* 12.4: half a loop too late is in time, 1.5 loops are stale. */
static void
test_schedule_stale(void **state)
{
	struct world *w = scheduled(-15000000);

	(void)state;
	w->hold_job[JOB_RESTART] = true;
	w_wake(w);
	assert_string_equal(w->result, "restart initiated");
	w_free(w);
	w = scheduled(-15000001);
	w_wake(w);
	assert_non_null(
	    strstr(w->log, "Found a stale restart value, cleaning up: soon"));
	assert_null(strstr(w->order, "restart"));
	assert_false(has_schedule(w));
	w_free(w);
}

static void
test_switchover_schedule_bad(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w->view->failover_scheduled = w->view->failover_schedule_bad = 1;
	(void)snprintf(w->view->failover_at, WORD_SIZE, "2030-01-01 00:00");
	w_tick(w);
	assert_non_null(strstr(
	    w->log, "Incorrect value of scheduled_at: 2030-01-01 00:00"));
	assert_string_equal(w->view->failover_leader, "");
	assert_string_equal(w->rule, "leader.no-action");
	w_free(w);
}

/* ---- 12.2 ---- */

static void
cleaned(const char *leader, const char *member, const char *log)
{
	struct world *w = w_primary("a");

	w_member(w, "b", "replica", "running");
	w_tick(w);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "%s", leader);
	(void)snprintf(w->view->failover_member, NAME_SIZE, "%s", member);
	w_tick(w);
	w_follows(w->log, log, "Cleaning up failover key");
	assert_string_equal(w->rule, "leader.no-action");
	assert_string_equal(w->view->failover_leader, "");
	assert_string_equal(w->view->failover_member, "");
	assert_int_equal(w->op[OP_SET_FAILOVER].dcs.u.failover.with_token, 1);
	w_free(w);
}

static void
test_requests_refused(void **state)
{
	(void)state;
	cleaned("x", "b", "switchover: leader name does not match: x != a");
	cleaned("a", "a",
	    "switchover: I am already the leader, no need to switchover");
	cleaned("", "a",
	    "manual failover: I am already the leader, no need to failover");
	cleaned("a", "b",
	    "switchover: no healthy members found, switchover "
	    "is not possible");
	cleaned("", "b",
	    "manual failover: no healthy members found, failover "
	    "is not possible");
	cleaned("a", "gone", "Switchover: candidates list is empty");
}

/* ---- reinitialize ---- */

static void
test_reinitialize(void **state)
{
	struct world *w = w_standby("b", "a");
	struct msg_request r = request(REQUEST_REINITIALIZE);

	(void)state;
	w_member(w, "c", "replica", "running");
	w->view->members[2].tags.clonefrom = true;
	w_tick(w);
	w_clear(w);
	w->hold_job[JOB_CLONE] = true;
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 200);
	w_follows(w->order, "stop", "clone");
	assert_string_equal(w->last_job[JOB_CLONE].job.node.name, "c");
	w_tick(w);
	assert_string_equal(w->result, "reinitialize in progress");
	w_free(w);
}

static void
test_reinitialize_from_leader(void **state)
{
	struct world *w = w_standby("b", "a");
	struct msg_request r = request(REQUEST_REINITIALIZE);

	(void)state;
	w_member(w, "c", "replica", "running");
	w->view->members[2].tags.clonefrom = true;
	w_tick(w);
	r.from_leader = 1;
	w->hold_job[JOB_CLONE] = true;
	w_request(w, &r, NULL);
	assert_string_equal(w->last_job[JOB_CLONE].job.node.name, "a");
	assert_true(w->last_job[JOB_CLONE].job.from_leader);
	w_free(w);
}

static void
test_reinitialize_refused(void **state)
{
	struct world *w = w_standby("b", "a");
	struct msg_request r = request(REQUEST_REINITIALIZE);

	(void)state;
	w_tick(w);
	w->hold_job[JOB_STOP] = true;
	w_request(w, &r, NULL);
	w_request(w, &r, NULL);
	assert_string_equal(w->reply.text, "reinitialize already in progress");
	r.force = 1;
	w_request(w, &r, NULL);
	assert_non_null(strstr(w->order, "job-cancel"));
	w_job_done(w, JOB_STOP, JOB_CANCELLED);
	assert_int_equal(w->reply.code, 200);
	w_free(w);

	w = w_standby("b", "a");
	w_tick(w);
	w_leader(w, "");
	r.force = 0;
	w_request(w, &r, NULL);
	assert_string_equal(
	    w->reply.text, "Cluster has no leader, can not reinitialize");
	w_free(w);

	w = w_primary("a");
	w_tick(w);
	w_request(w, &r, NULL);
	assert_string_equal(
	    w->reply.text, "I am the leader, can not reinitialize");
	assert_null(strstr(w->order, "stop"));
	w_free(w);
}

/* ---- logical slots ---- */

/* spec/ha.md 18.4 */
static void
test_copy_slots(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	(void)snprintf(w->pg.slots_to_copy, TEXT_SIZE, "['x', 'y']");
	w->hold_job[JOB_COPY_SLOTS] = true;
	w_tick(w);
	assert_string_equal(
	    w->result, "Copying logical slots ['x', 'y'] from the primary");
	assert_string_equal(w->last_job[JOB_COPY_SLOTS].job.node.name, "a");
	w_tick(w);
	assert_string_equal(w->result, "copy_logical_slots in progress");
	w->pg.slots_to_copy[0] = '\0';
	w_job_done(w, JOB_COPY_SLOTS, JOB_OK);
	w_tick(w);
	assert_string_equal(w->rule, "replica.no-action");
	w_free(w);
}

static void
test_copy_slots_not_now(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	(void)snprintf(w->pg.slots_to_copy, TEXT_SIZE, "['x']");
	w_tick(w); /* a primary has its own */
	assert_null(strstr(w->order, "copy"));
	w_free(w);
	w = w_standby("b", "a");
	w_tick(w);
	(void)snprintf(w->pg.slots_to_copy, TEXT_SIZE, "['x']");
	w->peers[0].reachable = 0;
	w->hold_job[JOB_PROMOTE] = true;
	w_leader(w, "");
	w_tick(w); /* nobody to copy from */
	assert_null(strstr(w->order, "copy"));
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restart_primary),
		cmocka_unit_test(test_restart_verdicts),
		cmocka_unit_test(test_restart_conditions),
		cmocka_unit_test(test_restart_busy),
		cmocka_unit_test(test_restart_loses_lock),
		cmocka_unit_test(test_scheduled),
		cmocka_unit_test(test_scheduled_happened),
		cmocka_unit_test(test_scheduled_cancelled),
		cmocka_unit_test(test_scheduled_waits),
		cmocka_unit_test(test_schedule_stale),
		cmocka_unit_test(test_switchover_schedule_bad),
		cmocka_unit_test(test_requests_refused),
		cmocka_unit_test(test_reinitialize),
		cmocka_unit_test(test_reinitialize_from_leader),
		cmocka_unit_test(test_reinitialize_refused),
		cmocka_unit_test(test_copy_slots),
		cmocka_unit_test(test_copy_slots_not_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
