/*
 * test_ha_shutdown.c: the end of the daemon (spec/ha.md 2.5): the stop begins
 * at once whatever the core waits for, nothing is left half-way; and leaving
 * the synchronous set before a shutdown or a restart (13.8).
 */
#include "ha_driver.h"

static struct world *
sync_standby(void)
{
	struct world *w = w_standby("b", "a");

	w_option(w, "synchronous_mode", tree_bool(true));
	(void)snprintf(w->view->sync_leader, NAME_SIZE, "a");
	w->view->has_sync = 1;
	w_sync(w, "b");
	w_tick(w);
	w_clear(w);
	return w;
}

static void
test_load_is_cut(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->hold_load = true;
	w_tick(w);
	assert_string_equal(w->order, "load");
	w_shutdown(w);
	w_follows(w->order, "load", "stop");
	assert_true(w->exited);
	assert_string_equal(w->view->leader, "");
	/* the late answer finds nobody */
	w_clear(w);
	w->hold_load = false;
	w_let_go(w);
	assert_string_equal(w->order, "");
	w_free(w);
}

/* A status query that hangs holds up neither the cycle's end nor the stop. */
static void
test_status_is_cut(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->hold_pg = true;
	w_tick(w);
	w_shutdown(w);
	w_follows(w->order, "load", "stop");
	assert_true(w->exited);
	w_free(w);
}

static void
test_update_is_cut(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->hold_op[OP_UPDATE] = true;
	w_tick(w);
	w_shutdown(w);
	w_follows(w->order, "update", "stop");
	w_follows(w->order, "stop", "release");
	assert_string_equal(w->view->leader, "");
	assert_true(w->exited);
	w_free(w);
}

/* The key may have been won: it is given back to be sure. */
static void
test_acquire_is_cut(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_leader(w, "");
	w->hold_op[OP_ACQUIRE] = true;
	w_tick(w);
	w_leader(w, "b");
	w_shutdown(w);
	w_follows(w->order, "acquire", "stop");
	w_follows(w->order, "stop", "release");
	assert_string_equal(w->view->leader, "");
	assert_true(w->exited);
	w_free(w);
}

/*
 * Demoted because the store did not answer, it trusts the lock no more; but
 * the key is there for the rest of ttl, and its server is stopped.
 */
static void
test_release_after_dcs_error(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	w->load_outcome = OUTCOME_OK;
	w_clear(w);
	w_shutdown(w);
	w_follows(w->order, "", "release");
	assert_string_equal(w->view->leader, "");
	assert_true(w->exited);
	w_free(w);
}

/* A key that was its own ttl ago is nobody's: no time is lost on it. */
static void
test_no_release_after_ttl(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	w->now += 31 * NS_PER_SEC;
	w_tick(w);
	w_clear(w);
	w_shutdown(w);
	assert_null(strstr(w->order, "release"));
	assert_true(w->exited);
	w_free(w);
}

static void
test_poll_is_cut(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_leader(w, "");
	w->hold_poll = true;
	w_tick(w);
	w_shutdown(w);
	w_follows(w->order, "poll", "stop");
	assert_null(strstr(w->order, "acquire"));
	assert_true(w->exited);
	w_free(w);
}

/* An empty /initialize of nobody would keep the cluster from starting. */
static void
test_initialize_is_awaited(void **state)
{
	struct world *w = w_new("a");

	(void)state;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->pg.sysid[0] = '\0';
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w->hold_op[OP_INITIALIZE] = true;
	w->hold_job[JOB_BOOTSTRAP] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	w_shutdown(w);
	assert_false(w->exited);
	w->hold_op[OP_INITIALIZE] = false;
	w_let_go(w);
	w_follows(w->order, "bootstrap", "job-cancel");
	w_job_done(w, JOB_BOOTSTRAP, JOB_CANCELLED);
	w_follows(w->order, "job-cancel", "cancel stop move");
	assert_true(w->exited);
	assert_int_equal(w->view->has_initialize, 0);
	w_free(w);
}

/* The old primary waits for a successor: nothing has to be cancelled. */
static void
test_during_wait_for_successor(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w_tick(w);
	w->hold_delay = true;
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w_tick(w);
	assert_string_equal(w->result, "switchover: demoting myself");
	w_shutdown(w);
	assert_true(w->exited);
	assert_null(strstr(w->order, "job-cancel"));
	w_free(w);
}

/* ... and it loads the view to see whom to follow. (spec/ha.md 21.4) */
static void
test_action_is_cut(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w_tick(w);
	w->hold_delay = true;
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w_tick(w);
	w->hold_delay = false;
	w->hold_load = true;
	w_clear(w);
	w_let_go(w);
	assert_string_equal(w->order, "load");
	w_shutdown(w);
	assert_true(w->exited);
	assert_null(strstr(w->order, "follow"));
	w_free(w);
}

static void
test_request_is_cut(void **state)
{
	struct world *w = w_standby("b", "a");
	struct msg_request r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_REINITIALIZE;
	w_tick(w);
	w->hold_load = true;
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 0);
	w_shutdown(w);
	assert_int_equal(w->reply.code, 503);
	assert_string_equal(w->reply.text, "shutting down");
	assert_true(w->exited);
	w_free(w);
}

/* A demotion's stop is a stop: it is awaited, not begun twice. */
static void
test_stop_is_awaited(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w_leader(w, "b");
	w->hold_job[JOB_STOP] = true;
	w_tick(w);
	w_shutdown(w);
	assert_false(w->exited);
	w_postgres(w, false, false);
	w->hold_job[JOB_STOP] = false;
	w_job_done(w, JOB_STOP, JOB_OK);
	assert_true(w->exited);
	w_free(w);
}

static void
test_twice(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->hold_job[JOB_STOP] = true;
	w_shutdown(w);
	w_clear(w);
	w_shutdown(w);
	assert_string_equal(w->order, "");
	w->hold_job[JOB_STOP] = false;
	w_job_done(w, JOB_STOP, JOB_OK);
	assert_true(w->exited);
	w_shutdown(w);
	w_tick(w);
	assert_null(strstr(w->order, "load"));
	w_free(w);
}

/* ---- leaving the synchronous set ---- */

static bool
published_nosync(struct world *w)
{
	struct tree *doc = tree_map();
	const struct tree *t;
	bool yes;

	ha_status_document(w->h, doc);
	t = tree_get(tree_get(doc, "tags"), "nosync");
	yes = t != NULL && t->type == TREE_BOOL && t->u.b;
	tree_free(doc);
	return yes;
}

static void
test_shutdown_leaves(void **state)
{
	struct world *w = sync_standby();

	(void)state;
	w->hold_delay = true;
	w_shutdown(w);
	assert_true(published_nosync(w));
	assert_string_equal(w->order, "touch load");
	assert_non_null(strstr(w->log,
	    "Waiting for primary to release us from synchronous standby"));
	w_sync(w, "");
	w->hold_delay = false;
	w_let_go(w);
	w_follows(w->order, "load", "stop");
	assert_true(w->exited);
	assert_true(published_nosync(w));
	w_free(w);
}

/* Twice loop_wait, then the node goes anyway. */
static void
test_shutdown_leaves_bounded(void **state)
{
	struct world *w = sync_standby();
	int64_t begin = w->now;

	(void)state;
	w_shutdown(w);
	assert_true(w->exited);
	assert_in_range(w->now - begin, 18 * NS_PER_SEC, 22 * NS_PER_SEC);
	w_free(w);
}

static void
test_shutdown_leaves_store_down(void **state)
{
	struct world *w = sync_standby();
	int64_t begin = w->now;

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w_shutdown(w);
	assert_true(w->exited);
	assert_int_equal(w->now, begin);
	assert_non_null(strstr(w->log,
	    "Could not get cluster state, "
	    "skipping synchronous standby disable"));
	w_free(w);
}

static void
test_restart_leaves(void **state)
{
	struct world *w = sync_standby();
	struct msg_request r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w->hold_delay = true;
	w->hold_job[JOB_RESTART] = true;
	w_request(w, &r, NULL);
	assert_null(strstr(w->order, "restart"));
	assert_true(published_nosync(w));
	w_let_go(w); /* first look: still listed */
	assert_null(strstr(w->order, "restart"));
	/* cycles go on meanwhile */
	w_tick(w);
	assert_string_equal(w->result, "restart in progress");
	w_sync(w, "");
	w_let_go(w);
	assert_non_null(strstr(w->order, "restart"));
	assert_true(published_nosync(w));
	w->hold_delay = false;
	w_job_done(w, JOB_RESTART, JOB_OK);
	assert_int_equal(w->reply.code, 200);
	assert_string_equal(w->reply.text, "restarted successfully");
	assert_false(published_nosync(w));
	w_free(w);
}

/* The primary never releases us: restarted all the same, in time. */
static void
test_restart_leaves_bounded(void **state)
{
	struct world *w = sync_standby();
	int64_t begin = w->now;
	struct msg_request r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 200);
	assert_in_range(w->now - begin, 18 * NS_PER_SEC, 22 * NS_PER_SEC);
	w_free(w);
}

static void
test_restart_leaves_publish_fails(void **state)
{
	struct world *w = sync_standby();
	struct msg_request r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w->op_set[OP_TOUCH] = true;
	w->op_outcome[OP_TOUCH] = OUTCOME_FAILED;
	w->hold_job[JOB_RESTART] = true;
	w_request(w, &r, NULL);
	assert_non_null(strstr(w->log,
	    "Updating member state failed, "
	    "skipping synchronous standby disable"));
	assert_false(published_nosync(w));
	assert_non_null(strstr(w->order, "restart"));
	w_free(w);
}

static void
test_restart_stays(void **state)
{
	struct world *w = w_standby("b", "a");
	struct msg_request r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w->hold_job[JOB_RESTART] = true;
	w_tick(w);
	w_clear(w);
	w_request(w, &r, NULL); /* no synchronous mode: at once */
	assert_string_equal(w->order, "restart");
	w_free(w);
}

/* ... or one that was claimed, but has not begun. */
static void
test_shutdown_during_claim(void **state)
{
	struct world *w = sync_standby();
	struct msg_request r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w->hold_op[OP_TOUCH] = true;
	w_request(w, &r, NULL);
	w->hold_op[OP_TOUCH] = false;
	w_sync(w, "");
	w_shutdown(w);
	assert_true(w->exited);
	assert_int_equal(w->reply.code, 503);
	assert_string_equal(w->reply.text, "shutting down");
	assert_null(strstr(w->order, "restart"));
	w_free(w);
}

/* The shutdown finds a restart that still waits to leave. */
static void
test_shutdown_during_leave(void **state)
{
	struct world *w = sync_standby();
	struct msg_request r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w->hold_delay = true;
	w_request(w, &r, NULL);
	w->hold_delay = false;
	w_sync(w, "");
	w_shutdown(w);
	assert_true(w->exited);
	assert_null(strstr(w->order, "job-cancel"));
	assert_int_equal(w->reply.code, 503);
	w_free(w);
}

/* ---- 10.3: what a new cluster waits for ---- */

static const char *
bootstrap_ssn(bool strict, const char *mode)
{
	struct world *w = w_new("a");
	struct tree *doc = tree_map();
	static char text[4096];

	assert_true(tree_set(doc, "synchronous_mode", tree_text(mode)));
	assert_true(
	    tree_set(doc, "synchronous_mode_strict", tree_bool(strict)));
	w->conf.dynamic = doc;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->pg.sysid[0] = '\0';
	w->view->has_config = 0;
	w->view->config_modify = 0;
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w->hold_job[JOB_BOOTSTRAP] = true;
	w->hold_job[JOB_POST_BOOTSTRAP] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	w_postgres(w, true, true);
	w->pg.datadir = DATADIR_OK;
	(void)snprintf(w->pg.sysid, sizeof(w->pg.sysid), SYSID);
	w_job_done(w, JOB_BOOTSTRAP, JOB_OK);
	w_job_done(w, JOB_POST_BOOTSTRAP, JOB_OK);
	assert_string_equal(w->result, "initialized a new cluster");
	(void)snprintf(
	    text, sizeof(text), "%s", w->last_job[JOB_SET_SSN].job.text);
	tree_free(doc);
	w_free(w);
	return text;
}

static void
test_bootstrap_strict(void **state)
{
	(void)state;
	assert_string_equal(bootstrap_ssn(true, "on"),
	    "__patroni_strict_sync_replica_placeholder__");
	assert_string_equal(bootstrap_ssn(true, "quorum"),
	    "ANY 1 (__patroni_strict_sync_replica_placeholder__)");
	assert_string_equal(bootstrap_ssn(false, "on"), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_is_cut),
		cmocka_unit_test(test_status_is_cut),
		cmocka_unit_test(test_update_is_cut),
		cmocka_unit_test(test_acquire_is_cut),
		cmocka_unit_test(test_release_after_dcs_error),
		cmocka_unit_test(test_no_release_after_ttl),
		cmocka_unit_test(test_poll_is_cut),
		cmocka_unit_test(test_initialize_is_awaited),
		cmocka_unit_test(test_during_wait_for_successor),
		cmocka_unit_test(test_action_is_cut),
		cmocka_unit_test(test_request_is_cut),
		cmocka_unit_test(test_stop_is_awaited),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_shutdown_leaves),
		cmocka_unit_test(test_shutdown_leaves_bounded),
		cmocka_unit_test(test_shutdown_leaves_store_down),
		cmocka_unit_test(test_restart_leaves),
		cmocka_unit_test(test_restart_leaves_bounded),
		cmocka_unit_test(test_restart_leaves_publish_fails),
		cmocka_unit_test(test_restart_stays),
		cmocka_unit_test(test_shutdown_during_claim),
		cmocka_unit_test(test_shutdown_during_leave),
		cmocka_unit_test(test_bootstrap_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
