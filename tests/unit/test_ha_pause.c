/*
 * test_ha_pause.c: pause (spec/ha.md 16), row by row: what a paused cluster
 * leaves alone, and what happens when it is resumed.
 */
#include "ha_driver.h"

static struct world *
paused_primary(void)
{
	struct world *w = w_primary("a");

	w_tick(w);
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	return w;
}

static struct world *
paused_standby(void)
{
	struct world *w = w_standby("b", "a");

	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	return w;
}

static void
resume(struct world *w)
{
	w_option(w, "pause", tree_bool(false));
	w_tick(w);
}

static void
test_primary(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	assert_string_equal(
	    w->result, "PAUSE: no action. I am (a), the leader with the lock");
	assert_non_null(strstr(w->order, "disarm"));
	assert_int_equal(w->op[OP_TOUCH].dcs.u.touch.pause, 1);
	w_tick(w); /* no activation of the watchdog */
	assert_null(strstr(w->order, "arm"));
	w_free(w);
}

static void
test_resume_arms(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	resume(w);
	assert_string_equal(
	    w->result, "no action. I am (a), the leader with the lock");
	assert_non_null(strstr(w->order, "arm"));
	w_free(w);
}

static void
test_lock_refused(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	w->op_set[OP_UPDATE] = true;
	w->op_outcome[OP_UPDATE] = OUTCOME_REFUSED;
	w_tick(w);
	assert_string_equal(w->result,
	    "PAUSE: continue to run as primary "
	    "after failing to update leader lock in DCS");
	assert_null(strstr(w->order, "stop"));
	w_free(w);
}

static void
test_store_down(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_string_equal(w->result, "PAUSE: DCS is not accessible");
	assert_null(strstr(w->order, "stop"));
	w_free(w);
}

static void
test_primary_down(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	w_postgres(w, false, false);
	w_tick(w);
	assert_string_equal(w->result,
	    "PAUSE: removed leader lock because "
	    "postgres is not running");
	assert_null(strstr(w->order, "start"));
	w_tick(w);
	assert_string_equal(w->result, "PAUSE: postgres is not running");
	w_free(w);
}

static void
test_standby_down(void **state)
{
	struct world *w = paused_standby();

	(void)state;
	w_postgres(w, false, false);
	w_tick(w);
	assert_string_equal(w->result, "PAUSE: postgres is not running");
	assert_int_equal(w->pg.state, STATE_STOPPED);
	w->hold_job[JOB_FOLLOW] = true;
	resume(w);
	assert_string_equal(w->result, "starting as a secondary");
	w_free(w);
}

static void
test_empty_datadir(void **state)
{
	struct world *w = paused_standby();

	(void)state;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->pg.sysid[0] = '\0';
	w_tick(w);
	assert_string_equal(
	    w->result, "PAUSE: running with empty data directory");
	assert_null(strstr(w->order, "clone"));
	w_leader(w, "b");
	w_tick(w);
	assert_string_equal(w->result,
	    "PAUSE: released leader key "
	    "voluntarily as data dir empty and currently leader");
	w_free(w);
}

static void
test_sysid_differs(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	(void)snprintf(w->pg.sysid, sizeof(w->pg.sysid), "7999999999999999999");
	w_tick(w);
	assert_string_equal(w->result,
	    "PAUSE: released leader key "
	    "voluntarily due to the system ID mismatch");
	assert_non_null(strstr(w->log,
	    "system ID has changed while in paused "
	    "mode. Patroni will exit when resuming unless system ID is reset"));
	assert_false(w->exited);
	w_tick(w); /* and it does not take it again */
	assert_string_equal(
	    w->result, "PAUSE: continue to run as primary without lock");
	resume(w);
	assert_true(w->exited);
	assert_int_equal(w->exit_code, 1);
	w_free(w);
}

static void
test_initialize_not_written(void **state)
{
	struct world *w = w_new("a");

	(void)state;
	w_postgres(w, true, true);
	w_option(w, "pause", tree_bool(true));
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w_attach(w, ROLE_PRIMARY);
	w_follows(w->order, "load", "acquire"); /* first come */
	assert_null(strstr(w->order, "initialize acquire"));
	w_tick(w); /* row 4: the lock holder does */
	assert_non_null(strstr(w->order, "initialize"));
	w_free(w);
}

static void
test_primary_takes_lock(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	w_leader(w, "");
	w->pg.timeline = 1;
	w->view->timeline = 7; /* not compared */
	w_tick(w);
	assert_string_equal(
	    w->result, "PAUSE: acquired session lock as a leader");
	w_free(w);
}

static void
test_second_primary(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	w_member(w, "b", "primary", "running");
	w_leader(w, "b");
	w_tick(w);
	assert_string_equal(
	    w->result, "PAUSE: continue to run as primary without lock");
	assert_null(strstr(w->order, "stop"));
	w->hold_job[JOB_FOLLOW] = true;
	resume(w);
	assert_string_equal(w->result,
	    "demoting self because I do not have "
	    "the lock and I was a leader");
	w_free(w);
}

static void
test_standby_does_not_race(void **state)
{
	struct world *w = paused_standby();

	(void)state;
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(w->result, "PAUSE: no action. I am (b)");
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

static void
test_candidate_races(void **state)
{
	struct world *w = paused_standby();

	(void)state;
	w_leader(w, "");
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	(void)snprintf(w->view->failover_member, NAME_SIZE, "b");
	w->hold_job[JOB_PROMOTE] = true;
	w_tick(w);
	w_follows(w->order, "acquire", "failover");
	/* the candidate stays in the request until it is primary */
	assert_string_equal(w->view->failover_member, "b");
	assert_string_equal(w->view->failover_leader, "");
	assert_non_null(strstr(
	    w->log, "Updating failover key after acquiring leader lock..."));
	w_free(w);
}

/* A request with a schedule does not count in pause. */
static void
test_scheduled_candidate(void **state)
{
	struct world *w = paused_standby();

	(void)state;
	w_leader(w, "");
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "b");
	w->view->failover_scheduled = 1;
	w->view->failover_at_us = w->wall + w->now / 1000;
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

static void
test_waiting_to_promote(void **state)
{
	struct world *w = paused_standby();

	(void)state;
	w_leader(w, "b");
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "b");
	w_tick(w);
	assert_string_equal(
	    w->result, "PAUSE: waiting to become primary after promote...");
	assert_null(strstr(w->order, "update"));
	w->view->failover_member[0] = '\0';
	w->view->has_failover = 0;
	w_tick(w);
	assert_string_equal(w->result,
	    "PAUSE: removed leader lock because "
	    "postgres is not running as primary");
	w_free(w);
}

static void
test_switchover_needs_candidate(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w_tick(w);
	assert_non_null(strstr(w->log,
	    "Switchover is possible only to a "
	    "specific candidate in a paused state"));
	assert_string_equal(w->view->failover_leader, "");
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	(void)snprintf(w->view->failover_member, NAME_SIZE, "b");
	w->hold_job[JOB_STOP] = true;
	w_tick(w);
	assert_string_equal(w->result, "PAUSE: switchover: demoting myself");
	w_free(w);
}

static void
test_schedule_untouched(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w->view->failover_scheduled = 1;
	w->view->failover_at_us = w->wall; /* long ago */
	w_tick(w);
	assert_null(strstr(w->order, "failover"));
	assert_string_equal(w->view->failover_leader, "a");
	w_free(w);
}

/* Standbys still follow a new leader; replay is not resumed. */
static void
test_repointed(void **state)
{
	struct world *w = paused_standby();

	(void)state;
	w_member(w, "c", "primary", "running");
	w_leader(w, "c");
	w->diff = DIFF_RELOAD;
	w->pg.replay_paused = true;
	w_tick(w);
	assert_non_null(strstr(w->order, "reload"));
	assert_null(strstr(w->order, "resume"));
	w->diff = DIFF_NONE;
	resume(w);
	assert_non_null(strstr(w->order, "resume"));
	w_free(w);
}

static void
test_long_action_goes_on(void **state)
{
	struct world *w = w_primary("a");
	struct msg_request r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w_tick(w);
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	w->hold_job[JOB_RESTART] = true;
	w_request(w, &r, NULL);
	w_leader(w, "b");
	w_member(w, "b", "primary", "running");
	w_tick(w);
	assert_string_equal(w->result, "PAUSE: restart in progress");
	assert_null(strstr(w->order, "job-cancel"));
	w_free(w);
}

static void
test_starting(void **state)
{
	struct world *w = paused_primary();

	(void)state;
	w->pg.state = STATE_STARTING;
	w->pg.state_since = w->now - 1000 * NS_PER_SEC;
	w->pg.isready = ISREADY_REJECTING;
	w_tick(w);
	assert_null(strstr(w->order, "stop"));
	assert_int_equal(w->pg.state, STATE_RUNNING);
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_primary),
		cmocka_unit_test(test_resume_arms),
		cmocka_unit_test(test_lock_refused),
		cmocka_unit_test(test_store_down),
		cmocka_unit_test(test_primary_down),
		cmocka_unit_test(test_standby_down),
		cmocka_unit_test(test_empty_datadir),
		cmocka_unit_test(test_sysid_differs),
		cmocka_unit_test(test_initialize_not_written),
		cmocka_unit_test(test_primary_takes_lock),
		cmocka_unit_test(test_second_primary),
		cmocka_unit_test(test_standby_does_not_race),
		cmocka_unit_test(test_candidate_races),
		cmocka_unit_test(test_scheduled_candidate),
		cmocka_unit_test(test_waiting_to_promote),
		cmocka_unit_test(test_switchover_needs_candidate),
		cmocka_unit_test(test_schedule_untouched),
		cmocka_unit_test(test_repointed),
		cmocka_unit_test(test_long_action_goes_on),
		cmocka_unit_test(test_starting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
