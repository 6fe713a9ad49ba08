/*
 * test_ha_cycle.c: whole paths of the HA core: bootstrap, join, lead, follow,
 * fail over, demote, recover, shut down.
 */
#include "ha_driver.h"

/* spec/ha.md 3.1 */
static void
test_leader_no_action(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	assert_string_equal(
	    w->result, "no action. I am (a), the leader with the lock");
	assert_string_equal(w->rule, "leader.no-action");
	assert_string_equal(w->order, "load update grant slots touch");
	assert_int_equal(w->grant_end, w->now + 30 * NS_PER_SEC);
	w_free(w);
}

static void
test_replica_no_action(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_tick(w);
	assert_string_equal(w->result,
	    "no action. I am (b), a secondary, and following a leader (a)");
	assert_string_equal(w->order, "load slots touch");
	w_free(w);
}

static void
test_bootstrap(void **state)
{
	struct world *w = w_new("a");

	(void)state;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->pg.sysid[0] = '\0';
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w->hold_job[JOB_BOOTSTRAP] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	assert_string_equal(w->result, "trying to bootstrap a new cluster");
	w_tick(w);
	assert_string_equal(w->result, "bootstrap in progress");
	w_postgres(w, true, true);
	w->pg.datadir = DATADIR_OK;
	(void)snprintf(w->pg.sysid, sizeof(w->pg.sysid), SYSID);
	w->hold_job[JOB_POST_BOOTSTRAP] = true;
	w_clear(w);
	w_job_done(w, JOB_BOOTSTRAP, JOB_OK);
	assert_string_equal(w->result, "running post_bootstrap");
	w_clear(w);
	w_job_done(w, JOB_POST_BOOTSTRAP, JOB_OK);
	assert_string_equal(w->result, "initialized a new cluster");
	assert_non_null(strstr(w->order, "arm"));
	/* nothing that the keeper counts runs out before the key is there */
	assert_non_null(
	    strstr(w->order, "grant initialize grant config grant take grant"));
	assert_string_equal(w->view->initialize, SYSID);
	assert_int_equal(ha_role(w->h), ROLE_PRIMARY);
	w_tick(w);
	assert_string_equal(
	    w->result, "no action. I am (a), the leader with the lock");
	w_free(w);
}

static void
test_bootstrap_fails(void **state)
{
	struct world *w = w_new("a");

	(void)state;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->hold_job[JOB_BOOTSTRAP] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	w_clear(w);
	w_job_done(w, JOB_BOOTSTRAP, JOB_FAILED);
	assert_non_null(strstr(w->order, "cancel stop move"));
	assert_true(w->exited);
	assert_int_equal(w->exit_code, 1);
	w_free(w);
}

/* Somebody with data of its own came up meanwhile: ours must not win. */
static void
test_bootstrap_overtaken(void **state)
{
	struct world *w = w_new("a");

	(void)state;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->pg.sysid[0] = '\0';
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w->hold_job[JOB_BOOTSTRAP] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	w_postgres(w, true, true);
	w->pg.datadir = DATADIR_OK;
	(void)snprintf(w->pg.sysid, sizeof(w->pg.sysid), SYSID);
	w->hold_job[JOB_POST_BOOTSTRAP] = true;
	w_job_done(w, JOB_BOOTSTRAP, JOB_OK);
	(void)snprintf(w->view->initialize, sizeof(w->view->initialize),
	    "7000000000000000001");
	w->view->initialize_valid = 1;
	w_clear(w);
	w_job_done(w, JOB_POST_BOOTSTRAP, JOB_OK);
	assert_non_null(strstr(w->order, "stop move"));
	assert_null(strstr(w->order, "cancel"));
	assert_null(strstr(w->order, "take"));
	assert_true(w->exited);
	assert_string_equal(w->view->initialize, "7000000000000000001");
	w_free(w);
}

static void
test_initialize_lost(void **state)
{
	struct world *w = w_new("a");

	(void)state;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->op_set[OP_INITIALIZE] = true;
	w->op_outcome[OP_INITIALIZE] = OUTCOME_REFUSED;
	w_attach(w, ROLE_UNINITIALIZED);
	assert_string_equal(w->result, "failed to acquire initialize lock");
	w->view->has_initialize = 1;
	w->view->initialize[0] = '\0';
	w_tick(w);
	assert_string_equal(w->result, "waiting for leader to bootstrap");
	w_tick(w);
	w_tick(w);
	assert_string_equal(w->result, "waiting for leader to bootstrap");
	w_free(w);
}

/* The answer was lost, the write was not: the key is ours after two loops. */
static void
test_initialize_unknown(void **state)
{
	struct world *w = w_new("a");

	(void)state;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->op_set[OP_INITIALIZE] = true;
	w->op_outcome[OP_INITIALIZE] = OUTCOME_UNKNOWN;
	w->hold_job[JOB_BOOTSTRAP] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	w->view->has_initialize = 1;
	w->view->initialize[0] = '\0';
	w_tick(w);
	assert_string_equal(w->result, "waiting for leader to bootstrap");
	w_tick(w);
	assert_string_equal(w->result, "trying to bootstrap a new cluster");
	w_free(w);
}

static void
test_clone(void **state)
{
	struct world *w = w_new("b");

	(void)state;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w_leader(w, "a");
	w_member(w, "a", "primary", "running");
	w->hold_job[JOB_CLONE] = true;
	w->hold_job[JOB_FOLLOW] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	assert_string_equal(w->result, "trying to bootstrap from leader 'a'");
	w_tick(w);
	assert_string_equal(w->result, "bootstrap from leader 'a' in progress");
	w->pg.datadir = DATADIR_OK;
	w_job_done(w, JOB_CLONE, JOB_OK);
	assert_non_null(strstr(w->log, "bootstrapped from leader 'a'"));
	w_postgres(w, true, false);
	w_job_done(w, JOB_FOLLOW, JOB_OK);
	assert_string_equal(w->result,
	    "no action. I am (b), a secondary, and following a leader (a)");
	assert_int_equal(ha_role(w->h), ROLE_REPLICA);
	w_free(w);
}

static void
test_clone_fails(void **state)
{
	struct world *w = w_new("b");

	(void)state;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w_leader(w, "a");
	w_member(w, "a", "primary", "running");
	w->hold_job[JOB_CLONE] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	w_clear(w);
	w_job_done(w, JOB_CLONE, JOB_FAILED);
	assert_non_null(strstr(w->log, "failed to bootstrap from leader 'a'"));
	assert_string_equal(w->result, "trying to bootstrap from leader 'a'");
	assert_non_null(strstr(w->order, "remove"));
	w_free(w);
}

static void
test_failover(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_member(w, "c", "replica", "running");
	w_peer(w, "c", 1000);
	w_tick(w);
	w->hold_job[JOB_PROMOTE] = true;
	w_leader(w, "");
	w_wake(w);
	assert_string_equal(
	    w->result, "promoted self to leader by acquiring session lock");
	/* the keeper is armed before the promotion is ordered */
	assert_string_equal(w->order,
	    "load poll acquire grant load arm "
	    "grant promote slots touch");
	w_tick(w);
	assert_string_equal(w->result, "updated leader lock during promote");
	w_job_progress(w, JOB_PROMOTE, PROGRESS_PROMOTED);
	assert_int_equal(ha_role(w->h), ROLE_PROMOTED);
	w->pg.is_primary = true;
	w->pg.timeline = 2;
	w_job_done(w, JOB_PROMOTE, JOB_OK);
	assert_int_equal(ha_role(w->h), ROLE_PRIMARY);
	assert_string_equal(
	    w->result, "no action. I am (b), the leader with the lock");
	assert_int_equal(w->op[OP_SET_HISTORY].dcs.history_of, 2);
	w_free(w);
}

static void
test_race_lost(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_tick(w);
	w_leader(w, "");
	w->op_set[OP_ACQUIRE] = true;
	w->op_outcome[OP_ACQUIRE] = OUTCOME_REFUSED;
	w_wake(w);
	assert_string_equal(w->result,
	    "following new leader after trying "
	    "and failing to obtain lock");
	w_free(w);
}

static void
test_lock_refused(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->op_set[OP_UPDATE] = true;
	w->op_outcome[OP_UPDATE] = OUTCOME_REFUSED;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(w->result,
	    "demoted self because failed to update leader lock in DCS");
	assert_int_equal(w->last_job[JOB_STOP].job.stop_mode, STOP_IMMEDIATE);
	assert_null(strstr(w->order, "release"));
	assert_int_equal(ha_trusted_until(w->h), 0);
	assert_int_equal(ha_role(w->h), ROLE_DEMOTED);
	w_tick(w);
	assert_string_equal(w->result, "starting after demotion in progress");
	w_free(w);
}

/* spec/ha.md 3.3 */
static void
test_other_leader(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w_member(w, "b", "primary", "running");
	w_leader(w, "b");
	w->hold_job[JOB_FOLLOW] = true;
	w_wake(w);
	assert_string_equal(w->result,
	    "demoting self because I do not have "
	    "the lock and I was a leader");
	assert_string_equal(w->last_job[JOB_FOLLOW].job.node.name, "b");
	w_free(w);
}

/* spec/ha.md 9.1 */
static void
test_dcs_down(void **state)
{
	struct world *w = w_primary("a");
	int64_t lease;

	(void)state;
	w_tick(w);
	lease = ha_trusted_until(w->h);
	w->load_outcome = OUTCOME_FAILED;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(w->result,
	    "demoted self because DCS is not "
	    "accessible and I was a leader");
	assert_int_equal(w->last_job[JOB_STOP].job.stop_mode, STOP_FAST);
	/* the fast stop may not outlast the lease */
	assert_true(w->last_job[JOB_STOP].job.timeout_ns > 0);
	assert_true(w->now + w->last_job[JOB_STOP].job.timeout_ns < lease);
	assert_false(w->last_job[JOB_FOLLOW].job.has_node);
	w_tick(w);
	assert_string_equal(w->result, "DCS is not accessible");
	w_free(w);
}

static void
test_dcs_down_standby(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_tick(w);
	w->load_outcome = OUTCOME_UNKNOWN;
	w_tick(w);
	assert_string_equal(w->result, "DCS is not accessible");
	assert_null(strstr(w->order, "touch"));
	w_free(w);
}

static void
test_crash_restart(void **state)
{
	struct world *w = w_primary("a");
	struct ha_ev gone = w_ev(EV_POSTMASTER_GONE, 0);

	(void)state;
	w_tick(w);
	w_postgres(w, false, false);
	w->pg.state = STATE_RUNNING;
	w->hold_job[JOB_START_PRIMARY] = true;
	w_clear(w);
	w_event(w, &gone);
	assert_string_equal(w->result, "starting primary after failure");
	w_tick(w);
	assert_string_equal(w->result,
	    "updated leader lock during starting primary after failure");
	w_clear(w);
	w_job_progress(w, JOB_START_PRIMARY, PROGRESS_SPAWNED);
	assert_string_equal(w->order, "arm grant");
	w_postgres(w, true, true);
	w_job_done(w, JOB_START_PRIMARY, JOB_OK);
	assert_string_equal(
	    w->result, "no action. I am (a), the leader with the lock");
	w_free(w);
}

/* spec/ha.md 8.4 */
static void
test_crash_start_fails(void **state)
{
	struct world *w = w_primary("a");
	struct ha_ev gone = w_ev(EV_POSTMASTER_GONE, 0);

	(void)state;
	w_tick(w);
	w_postgres(w, false, false);
	w->pg.state = STATE_RUNNING;
	w->hold_job[JOB_START_PRIMARY] = true;
	w_event(w, &gone);
	w_clear(w);
	w->pg.state = STATE_START_FAILED;
	w_job_done(w, JOB_START_PRIMARY, JOB_FAILED);
	assert_string_equal(w->result,
	    "removed leader key after trying and "
	    "failing to start postgres");
	assert_non_null(strstr(w->order, "release"));
	w_free(w);
}

static void
test_crash_failover(void **state)
{
	struct world *w = w_primary("a");
	struct ha_ev gone = w_ev(EV_POSTMASTER_GONE, 0);
	int64_t before;

	(void)state;
	w_option(w, "primary_start_timeout", tree_int(0));
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w_tick(w);
	w_postgres(w, false, false);
	w->pg.state = STATE_RUNNING;
	w->hold_job[JOB_FOLLOW] = true;
	before = w->now;
	w_clear(w);
	w_event(w, &gone);
	assert_string_equal(
	    w->result, "stopped PostgreSQL to fail over after a crash");
	assert_non_null(strstr(w->order, "update grant poll disarm stop"));
	assert_non_null(strstr(w->order, "release"));
	assert_int_equal(w->now, before); /* no delay of our own */
	w_free(w);
}

static void
test_stop_fails_keeps_key(void **state)
{
	struct world *w = w_primary("a");
	struct ha_ev gone = w_ev(EV_POSTMASTER_GONE, 0);

	(void)state;
	w_option(w, "primary_start_timeout", tree_int(0));
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w_tick(w);
	w_postgres(w, false, false);
	w->job_result[JOB_STOP] = JOB_FAILED;
	w_clear(w);
	w_event(w, &gone);
	assert_null(strstr(w->order, "release"));
	w_free(w);
}

static void
test_switchover(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w_tick(w);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	(void)snprintf(w->view->failover_member, NAME_SIZE, "b");
	w->hold_job[JOB_STOP] = true;
	w_wake(w);
	assert_string_equal(w->result, "switchover: demoting myself");
	assert_true(w->last_job[JOB_STOP].job.checkpoint);
	w_tick(w);
	assert_string_equal(
	    w->result, "updated leader lock during switchover: demote");
	w_clear(w);
	w_job_progress(w, JOB_STOP, PROGRESS_SAFEPOINT);
	assert_string_equal(w->order, "disarm");
	w_clear(w);
	w_job_progress(w, JOB_STOP, PROGRESS_SHUT_DOWN);
	assert_string_equal(w->order, "poll release");
	assert_int_equal(w->op[OP_RELEASE].dcs.u.status.optime, 890);
	w_postgres(w, false, false);
	w_member(w, "x", "replica", "running");
	w_leader(w, "b");
	w->hold_job[JOB_FOLLOW] = true;
	w_clear(w);
	w_job_done(w, JOB_STOP, JOB_OK);
	assert_null(strstr(w->order, "release"));
	assert_string_equal(w->last_job[JOB_FOLLOW].job.node.name, "b");
	w_postgres(w, true, false);
	w_job_done(w, JOB_FOLLOW, JOB_OK);
	assert_string_equal(w->result,
	    "no action. I am (a), a secondary, and following a leader (b)");
	w_free(w);
}

/* No standby has the checkpoint: the key goes only after the stop. */
static void
test_switchover_late_release(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 899);
	w_option(w, "maximum_lag_on_failover", tree_int(1000000));
	w_tick(w);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w->hold_job[JOB_STOP] = true;
	w_wake(w);
	assert_string_equal(w->result, "switchover: demoting myself");
	w_clear(w);
	w_job_progress(w, JOB_STOP, PROGRESS_SHUT_DOWN);
	assert_null(strstr(w->order, "release"));
	assert_true(w->polls > 1);
	w->control.state = CONTROL_SHUT_DOWN;
	w->control.checkpoint_lsn = 900;
	w_postgres(w, false, false);
	w_job_done(w, JOB_STOP, JOB_OK);
	assert_non_null(strstr(w->order, "release"));
	assert_int_equal(w->op[OP_RELEASE].dcs.u.status.optime, 900);
	w_free(w);
}

/* The answer to the release is lost: it is repeated, never refreshed. */
static void
test_release_lost(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w_tick(w);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w->hold_job[JOB_STOP] = true;
	w_wake(w);
	w->op_set[OP_RELEASE] = true;
	w->op_outcome[OP_RELEASE] = OUTCOME_UNKNOWN;
	w_job_progress(w, JOB_STOP, PROGRESS_SHUT_DOWN);
	w_postgres(w, false, false);
	w->hold_delay = true;
	w_clear(w);
	w_job_done(w, JOB_STOP, JOB_OK);
	assert_non_null(strstr(w->order, "release"));
	w->op_set[OP_RELEASE] = false;
	w_tick(w);
	assert_string_equal(w->order, "load release touch");
	assert_string_equal(w->result, "switchover: demote in progress");
	assert_string_equal(w->view->leader, "");
	w_free(w);
}

static void
test_former_primary_rewinds(void **state)
{
	struct world *w = w_new("a");

	(void)state;
	w_postgres(w, false, false);
	w->pg.pg_rewind_possible = true;
	w->conf.use_pg_rewind = true;
	w->control.state = CONTROL_SHUT_DOWN;
	w_leader(w, "b");
	w_member(w, "a", "replica", "stopped");
	w_member(w, "b", "primary", "running");
	w->divergence_given = true;
	w->divergence.local_known = true;
	w->divergence.local_timeline = 1;
	w->divergence.local_lsn = 1001;
	w->divergence.leader_reachable = true;
	w->divergence.leader_timeline = 2;
	w->divergence.history_known = true;
	w->divergence.nhistory = 1;
	w->divergence.history[0].timeline = 1;
	w->divergence.history[0].lsn = 1000;
	w->hold_job[JOB_REWIND] = true;
	w_attach(w, ROLE_DEMOTED);
	assert_string_equal(w->result, "running pg_rewind from b");
	w->hold_job[JOB_FOLLOW] = true;
	w_job_done(w, JOB_REWIND, JOB_OK);
	assert_string_equal(w->result, "starting as a secondary");
	w_postgres(w, true, false);
	w_job_done(w, JOB_FOLLOW, JOB_OK);
	assert_string_equal(w->result,
	    "no action. I am (a), a secondary, and following a leader (b)");
	w_free(w);
}

/*
 * Promoted both, without knowing of each other: pg_rewind and the walreceiver
 * would take the leader's timeline for ours.
 */
static struct world *
former_primary_of_same_number(bool remove)
{
	struct world *w = w_new("a");

	w_postgres(w, false, false);
	w->pg.pg_rewind_possible = true;
	w->conf.use_pg_rewind = true;
	w->conf.remove_data_on_rewind_failure = remove;
	w->control.state = CONTROL_SHUT_DOWN;
	w_leader(w, "b");
	w_member(w, "a", "replica", "stopped");
	w_member(w, "b", "primary", "running");
	w->divergence_given = true;
	w->divergence.local_known = true;
	w->divergence.local_timeline = 2;
	w->divergence.local_lsn = 1001;
	w->divergence.leader_reachable = true;
	w->divergence.leader_timeline = 2;
	w->divergence.history_known = true;
	w->divergence.other_branch = true;
	w->hold_job[JOB_REWIND] = true;
	w->hold_job[JOB_STOP] = true;
	w->hold_job[JOB_FOLLOW] = true;
	w_attach(w, ROLE_DEMOTED);
	return w;
}

static void
test_same_number(void **state)
{
	struct world *w = former_primary_of_same_number(false);
	const char *text =
	    "not following b: it is on another timeline of the same number, "
	    "please reinitialize this node (patronictl reinit)";

	(void)state;
	assert_string_equal(w->result, text);
	w_clear(w);
	w_tick(w);
	assert_string_equal(w->result, text);
	assert_null(strstr(w->order, "follow"));
	assert_null(strstr(w->order, "rewind"));
	/* the next leader's can be told apart */
	w->divergence.leader_timeline = 3;
	w_tick(w);
	assert_string_equal(w->result, "running pg_rewind from b");
	w_free(w);
}

static void
test_same_number_removed(void **state)
{
	struct world *w = former_primary_of_same_number(true);

	(void)state;
	assert_string_equal(
	    w->result, "reinitializing due to diverged timelines");
	w_free(w);
}

static void
test_shutdown_releases_early(void **state)
{
	struct world *w = w_primary("a");
	struct ha_ev ev = w_ev(EV_SHUTDOWN, 0);

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 900);
	w_tick(w);
	w->hold_job[JOB_STOP] = true;
	w_clear(w);
	w_event(w, &ev);
	w_job_progress(w, JOB_STOP, PROGRESS_SHUT_DOWN);
	assert_string_equal(w->order, "stop poll release");
	w_postgres(w, false, false);
	w_job_done(w, JOB_STOP, JOB_OK);
	assert_true(w->exited);
	assert_int_equal(w->exit_code, 0);
	assert_int_equal(w->op[OP_TOUCH].dcs.u.touch.state, STATE_STOPPED);
	w_free(w);
}

/* Its answer is lost: the key must not stay until the ttl is over. */
static void
test_shutdown_release_lost(void **state)
{
	struct world *w = w_primary("a");
	struct ha_ev ev = w_ev(EV_SHUTDOWN, 0);

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 900);
	w_tick(w);
	w->hold_job[JOB_STOP] = true;
	w_event(w, &ev);
	w->op_set[OP_RELEASE] = true;
	w->op_outcome[OP_RELEASE] = OUTCOME_UNKNOWN;
	w_job_progress(w, JOB_STOP, PROGRESS_SHUT_DOWN);
	w_postgres(w, false, false);
	w->control.state = CONTROL_SHUT_DOWN;
	w->op_set[OP_RELEASE] = false;
	w_clear(w);
	w_job_done(w, JOB_STOP, JOB_OK);
	assert_non_null(strstr(w->order, "release"));
	assert_string_equal(w->view->leader, "");
	assert_true(w->exited);
	w_free(w);
}

static void
test_shutdown_paused(void **state)
{
	struct world *w = w_primary("a");
	struct ha_ev ev = w_ev(EV_SHUTDOWN, 0);

	(void)state;
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	assert_string_equal(
	    w->result, "PAUSE: no action. I am (a), the leader with the lock");
	w_clear(w);
	w_event(w, &ev);
	assert_true(w->exited);
	assert_null(strstr(w->order, "stop"));
	assert_null(strstr(w->order, "release"));
	w_free(w);
}

static void
test_sysid_mismatch(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	(void)snprintf(w->view->initialize, WORD_SIZE, "7000000000000000000");
	w_tick(w);
	assert_true(w->exited);
	assert_int_equal(w->exit_code, 1);
	assert_non_null(strstr(w->log,
	    "system ID mismatch, node a belongs "
	    "to a different cluster: 7000000000000000000 != " SYSID));
	w_free(w);
}

static void
test_replica_without_initialize(void **state)
{
	struct world *w = w_new("b");

	(void)state;
	w_postgres(w, true, false);
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w_attach(w, ROLE_REPLICA);
	assert_true(w->exited);
	assert_int_equal(w->exit_code, 1);
	assert_null(strstr(w->order, "stop"));
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* spec/ha.md 2.3, 21.2 */
static void
test_wake_during_cycle(void **state)
{
	struct world *w = w_standby("b", "a");
	struct ha_ev ev = w_ev(EV_TICK, 0), wake = w_ev(EV_WAKE, 0);

	(void)state;
	w_tick(w);
	w->hold_load = true;
	w_clear(w);
	w_event(w, &ev);
	w_event(w, &wake);
	w_event(w, &wake);
	assert_string_equal(w->order, "load");
	w->hold_load = false;
	ev = w_ev(EV_VIEW, w->held);
	ev.view = w->view;
	w_event(w, &ev);
	/* exactly one more cycle, right after */
	assert_string_equal(w->order, "load slots touch load slots touch");
	w_free(w);
}

static void
test_late_answer_dropped(void **state)
{
	struct world *w = w_standby("b", "a");
	struct ha_ev ev = w_ev(EV_VIEW, 7);

	(void)state;
	w_tick(w);
	w_clear(w);
	ev.view = w->view;
	w_event(w, &ev);
	assert_string_equal(w->order, "");
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leader_no_action),
		cmocka_unit_test(test_replica_no_action),
		cmocka_unit_test(test_bootstrap),
		cmocka_unit_test(test_bootstrap_fails),
		cmocka_unit_test(test_bootstrap_overtaken),
		cmocka_unit_test(test_initialize_lost),
		cmocka_unit_test(test_initialize_unknown),
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_clone_fails),
		cmocka_unit_test(test_failover),
		cmocka_unit_test(test_race_lost),
		cmocka_unit_test(test_lock_refused),
		cmocka_unit_test(test_other_leader),
		cmocka_unit_test(test_dcs_down),
		cmocka_unit_test(test_dcs_down_standby),
		cmocka_unit_test(test_crash_restart),
		cmocka_unit_test(test_crash_start_fails),
		cmocka_unit_test(test_crash_failover),
		cmocka_unit_test(test_stop_fails_keeps_key),
		cmocka_unit_test(test_switchover),
		cmocka_unit_test(test_switchover_late_release),
		cmocka_unit_test(test_release_lost),
		cmocka_unit_test(test_former_primary_rewinds),
		cmocka_unit_test(test_same_number),
		cmocka_unit_test(test_same_number_removed),
		cmocka_unit_test(test_shutdown_releases_early),
		cmocka_unit_test(test_shutdown_release_lost),
		cmocka_unit_test(test_shutdown_paused),
		cmocka_unit_test(test_sysid_mismatch),
		cmocka_unit_test(test_replica_without_initialize),
		cmocka_unit_test(test_wake_during_cycle),
		cmocka_unit_test(test_late_answer_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
