/*
 * test_ha_standby.c: standby clusters (spec/ha.md 17): the standby leader and
 * its replicas, demoting and promoting a cluster, divergence, bootstrap.
 */
#include "ha_driver.h"

static void
standby_cluster(struct world *w, const char *host, int port)
{
	struct tree *s = tree_map();

	assert_true(tree_set(s, "host", tree_text(host)));
	if (port != 0)
		assert_true(tree_set(s, "port", tree_int(port)));
	w_option(w, "standby_cluster", s);
}

static struct world *
standby_leader(void)
{
	struct world *w = w_standby("a", "a");

	w->view->nmembers = 1;
	standby_cluster(w, "remote", 6432);
	w_tick(w);
	return w;
}

/* spec/ha.md 17.1 */
static void
test_leader_no_action(void **state)
{
	struct world *w = standby_leader();

	(void)state;
	assert_int_equal(ha_role(w->h), ROLE_STANDBY_LEADER);
	w_tick(w);
	assert_string_equal(
	    w->result, "no action. I am (a), the standby leader with the lock");
	assert_string_equal(w->order, "load update grant load slots touch");
	assert_null(strstr(w->order, "arm"));
	w_free(w);
}

/* The lock won by the role only: a first cycle promotes to standby leader. */
static void
test_becomes_leader(void **state)
{
	struct world *w = w_standby("a", "b");

	(void)state;
	standby_cluster(w, "remote", 0);
	w_tick(w);
	assert_string_equal(w->result,
	    "no action. I am (a), a secondary, and "
	    "following a standby leader (b)");
	w->diff = DIFF_RELOAD;
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(w->result,
	    "promoted self to a standby leader by "
	    "acquiring session lock");
	assert_null(strstr(w->order, "promote"));
	assert_int_equal(ha_role(w->h), ROLE_STANDBY_LEADER);
	assert_true(w->last_job[JOB_RELOAD_RECOVERY].job.node_remote);
	assert_string_equal(w->last_job[JOB_RELOAD_RECOVERY].job.node.conn_url,
	    "postgres://remote:5432/postgres");
	w_free(w);
}

/* spec/ha.md 17.2 */
static void
test_remote_port(void **state)
{
	struct world *w = standby_leader();

	(void)state;
	w->diff = DIFF_RESTART;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(w->last_job[JOB_FOLLOW].job.node.conn_url,
	    "postgres://remote:6432/postgres");
	assert_int_equal(strncmp(w->last_job[JOB_FOLLOW].job.node.name,
			     "remote_member:", 14),
	    0);
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_STANDBY_LEADER);
	w_free(w);
}

/* No synchronous mode, no history, no checkpoint, no race backoff. */
static void
test_off_in_standby_cluster(void **state)
{
	struct world *w = standby_leader();

	(void)state;
	w_option(w, "synchronous_mode", tree_bool(true));
	w_option(w, "primary_race_backoff", tree_int(60));
	w->pg.timeline = 3;
	w_tick(w);
	assert_null(strstr(w->order, "sync"));
	assert_null(strstr(w->order, "history"));
	assert_null(strstr(w->order, "checkpoint"));
	w_leader(w, "");
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

static void
test_timeline_not_compared(void **state)
{
	struct world *w = w_standby("a", "b");

	(void)state;
	standby_cluster(w, "remote", 0);
	w_option(w, "check_timeline", tree_bool(true));
	w->view->timeline = 5;
	w_leader(w, "");
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

static void
test_lock_refused(void **state)
{
	struct world *w = standby_leader();

	(void)state;
	w->op_set[OP_UPDATE] = true;
	w->op_outcome[OP_UPDATE] = OUTCOME_REFUSED;
	w_tick(w);
	assert_string_equal(w->result,
	    "not promoting because failed to "
	    "update leader lock in DCS");
	assert_null(strstr(w->order, "stop"));
	w_free(w);
}

static void
test_store_down(void **state)
{
	struct world *w = standby_leader();

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_string_equal(w->result, "DCS is not accessible");
	assert_null(strstr(w->order, "stop"));
	w_free(w);
}

static void
test_pause_keeps_lock(void **state)
{
	struct world *w = standby_leader();

	(void)state;
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	assert_null(strstr(w->order, "release"));
	assert_string_equal(w->view->leader, "a");
	w_free(w);
}

static void
test_old_leader_followed(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	standby_cluster(w, "remote", 0);
	w->view->members[1].conn_url[0] = '\0';
	w->diff = DIFF_RESTART;
	w_tick(w);
	assert_string_equal(
	    w->result, "continue following the old known standby leader");
	assert_null(strstr(w->order, "follow"));
	w_free(w);
}

static void
test_switchover(void **state)
{
	struct world *w = standby_leader();

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w->hold_job[JOB_STOP] = true;
	w_tick(w);
	assert_string_equal(w->result, "switchover: demoting myself");
	w_free(w);
}

/* ---- recovery (8.1) ---- */

static void
test_recovers_as_leader(void **state)
{
	struct world *w = standby_leader();

	(void)state;
	w_postgres(w, false, false);
	w->control.state = CONTROL_SHUT_DOWN_IN_RECOVERY;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(w->result,
	    "starting as a standby leader because "
	    "i had the session lock");
	assert_int_equal(
	    w->last_job[JOB_FOLLOW].job.timeout_ns, 300 * NS_PER_SEC);
	assert_true(w->last_job[JOB_FOLLOW].job.node_remote);
	w_postgres(w, false, false);
	w_clear(w);
	w_job_done(w, JOB_FOLLOW, JOB_FAILED);
	assert_string_equal(w->result,
	    "removed leader key after trying and "
	    "failing to start postgres");
	w_free(w);
}

static void
test_recovers_without_leader(void **state)
{
	struct world *w = standby_leader();

	(void)state;
	w_postgres(w, false, false);
	w->control.state = CONTROL_SHUT_DOWN_IN_RECOVERY;
	w_leader(w, "");
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(w->result,
	    "trying to follow a remote member "
	    "because standby cluster is unhealthy");
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_REPLICA);
	w_free(w);
}

/* ---- demote-cluster (17.3) ---- */

static struct world *
demoting(bool archiving)
{
	struct world *w = w_primary("a");

	w->pg.archiving = archiving;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 900);
	w_tick(w);
	standby_cluster(w, "remote", 0);
	w->hold_job[JOB_STOP] = true;
	w->hold_job[JOB_FOLLOW] = true;
	w->hold_job[JOB_ARCHIVE_CHECKPOINT] = true;
	w_tick(w);
	assert_string_equal(
	    w->result, "cannot be a real primary in standby cluster");
	assert_int_equal(w->last_job[JOB_STOP].job.stop_mode, STOP_FAST);
	assert_false(w->last_job[JOB_STOP].job.checkpoint);
	return w;
}

static void
stopped(struct world *w)
{
	w_postgres(w, false, false);
	w->control.state = CONTROL_SHUT_DOWN;
	w_clear(w);
	w_job_done(w, JOB_STOP, JOB_OK);
}

static void
test_demote_archiving(void **state)
{
	struct world *w = demoting(true);

	(void)state;
	w_tick(w);
	assert_string_equal(w->result,
	    "updated leader lock during demoting to a standby cluster");
	w_clear(w);
	w_job_progress(w, JOB_STOP, PROGRESS_SHUT_DOWN);
	assert_null(strstr(w->order, "poll")); /* no early release */
	stopped(w);
	assert_non_null(strstr(w->order, "update"));
	assert_non_null(strstr(w->order, "archive"));
	w_tick(w); /* the key is kept meanwhile */
	assert_string_equal(w->result,
	    "updated leader lock during demoting to a standby cluster");
	w_clear(w);
	w_job_done(w, JOB_ARCHIVE_CHECKPOINT, JOB_OK);
	assert_non_null(strstr(w->order, "follow"));
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_STANDBY_LEADER);
	assert_true(w->last_job[JOB_FOLLOW].job.node_remote);
	w_postgres(w, true, false);
	w_clear(w);
	w_job_done(w, JOB_FOLLOW, JOB_OK);
	assert_string_equal(
	    w->result, "no action. I am (a), the standby leader with the lock");
	w_free(w);
}

/* A failing archive_command costs the archive, not the standby cluster. */
static void
test_demote_archive_fails(void **state)
{
	struct world *w = demoting(true);

	(void)state;
	stopped(w);
	w_job_done(w, JOB_ARCHIVE_CHECKPOINT, JOB_FAILED);
	assert_non_null(strstr(w->order, "follow"));
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_STANDBY_LEADER);
	w_free(w);
}

/* A standby has the shutdown checkpoint (900): it gets the key early. */
static void
test_demote_early_release(void **state)
{
	struct world *w = demoting(false);

	(void)state;
	w_clear(w);
	w_job_progress(w, JOB_STOP, PROGRESS_SHUT_DOWN);
	assert_non_null(strstr(w->order, "poll release"));
	assert_int_equal(w->op[OP_RELEASE].dcs.u.status.optime, 900);
	w_leader(w, "b");
	stopped(w);
	assert_null(strstr(w->order, "update"));
	assert_non_null(strstr(w->order, "follow"));
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_REPLICA);
	assert_string_equal(w->last_job[JOB_FOLLOW].job.node.name, "b");
	w_free(w);
}

/*
 * The postmaster ended before anybody saw "shut down" in pg_control: who has
 * the checkpoint gets the key all the same.
 */
static void
test_demote_quick_stop(void **state)
{
	struct world *w = demoting(false);

	(void)state;
	w->control.checkpoint_lsn = 900;
	w->op_set[OP_RELEASE] = true;
	w->op_outcome[OP_RELEASE] = OUTCOME_OK;
	stopped(w);
	assert_non_null(strstr(w->order, "poll release"));
	assert_int_equal(w->op[OP_RELEASE].dcs.u.status.optime, 900);
	assert_null(strstr(w->order, "update"));
	assert_non_null(strstr(w->log, "Leader key released"));
	assert_null(strstr(w->log, "not released early"));
	assert_non_null(strstr(w->order, "follow"));
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_REPLICA);
	w_free(w);
}

static void
test_demote_quick_stop_nobody(void **state)
{
	struct world *w = demoting(false);

	(void)state;
	w->control.checkpoint_lsn = 901;
	stopped(w);
	assert_true(w->polls > 1);
	assert_null(strstr(w->order, "release"));
	assert_non_null(strstr(w->log,
	    "Leader key not released early: "
	    "no member has the shutdown checkpoint"));
	w_follows(w->order, "update", "follow");
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_STANDBY_LEADER);
	w_free(w);
}

/* Not the end of an orderly stop: there is no checkpoint to hand over. */
static void
test_demote_unclean(void **state)
{
	struct world *w = demoting(false);

	(void)state;
	w_postgres(w, false, false);
	w->control.state = CONTROL_IN_PRODUCTION;
	w->control.checkpoint_lsn = 800;
	w_clear(w);
	w_job_done(w, JOB_STOP, JOB_OK);
	assert_null(strstr(w->order, "poll"));
	assert_null(strstr(w->order, "release"));
	assert_non_null(strstr(w->log,
	    "Leader key not released early: "
	    "the server was not shut down cleanly"));
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_STANDBY_LEADER);
	w_free(w);
}

/* The answer to the early release is lost: it is repeated after the stop. */
static void
test_demote_release_lost(void **state)
{
	struct world *w = demoting(false);

	(void)state;
	w->control.checkpoint_lsn = 900;
	w->op_set[OP_RELEASE] = true;
	w->op_outcome[OP_RELEASE] = OUTCOME_UNKNOWN;
	w_job_progress(w, JOB_STOP, PROGRESS_SHUT_DOWN);
	assert_non_null(strstr(w->log,
	    "Leader key not released early: the store did not confirm it"));
	w->op_outcome[OP_RELEASE] = OUTCOME_OK;
	stopped(w);
	assert_non_null(strstr(w->order, "poll release"));
	assert_null(strstr(w->order, "update"));
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_REPLICA);
	w_free(w);
}

/* Nobody has it: the key is kept and this node leads the standby cluster. */
static void
test_demote_keeps_key(void **state)
{
	struct world *w = demoting(false);

	(void)state;
	w->peers[0].position = 899;
	w_job_progress(w, JOB_STOP, PROGRESS_SHUT_DOWN);
	assert_null(strstr(w->order, "release"));
	assert_non_null(strstr(w->log,
	    "Leader key not released early: "
	    "no member has the shutdown checkpoint"));
	stopped(w);
	assert_null(strstr(w->order, "poll")); /* asked once */
	assert_non_null(strstr(w->log,
	    "Not archiving latest checkpoint WAL "
	    "file. Archiving is not configured."));
	w_follows(w->order, "update", "follow");
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_STANDBY_LEADER);
	assert_string_equal(w->view->leader, "a");
	w_free(w);
}

/* With archiving the stop may take as long as it takes. */
static void
test_demote_stop_timeout(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w_option(w, "primary_stop_timeout", tree_int(7));
	w_option(w, "synchronous_mode", tree_bool(true));
	w_tick(w);
	w->pg.archiving = true;
	standby_cluster(w, "remote", 0);
	w->hold_job[JOB_STOP] = true;
	w_tick(w);
	assert_int_equal(w->last_job[JOB_STOP].job.timeout_ns, 0);
	w_free(w);
}

static void
test_demote_stop_fails(void **state)
{
	struct world *w = demoting(true);

	(void)state;
	w_clear(w);
	w_job_done(w, JOB_STOP, JOB_FAILED);
	/* tried again, with the lock */
	assert_string_equal(
	    w->result, "cannot be a real primary in standby cluster");
	w_follows(w->order, "update", "stop");
	w_free(w);
}

static void
test_demote_store_down(void **state)
{
	struct world *w = demoting(true);

	(void)state;
	w->op_set[OP_UPDATE] = true;
	w->op_outcome[OP_UPDATE] = OUTCOME_UNKNOWN;
	stopped(w);
	assert_non_null(strstr(w->order, "archive"));
	w_job_done(w, JOB_ARCHIVE_CHECKPOINT, JOB_OK);
	assert_non_null(strstr(w->order, "follow"));
	w_free(w);
}

static void
test_demote_without_lock(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	standby_cluster(w, "remote", 0);
	w_member(w, "b", "standby_leader", "running");
	w_leader(w, "b");
	w->hold_job[JOB_STOP] = true;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(
	    w->result, "cannot be a real primary in a standby cluster");
	stopped(w);
	assert_null(strstr(w->order, "update"));
	assert_null(strstr(w->order, "release"));
	assert_string_equal(w->last_job[JOB_FOLLOW].job.node.name, "b");
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_REPLICA);
	w_free(w);
}

/* ---- promote-cluster (17.4) ---- */

/* spec/ha.md 17.4 */
static void
test_promote_cluster(void **state)
{
	struct world *w = standby_leader();

	(void)state;
	w_tick(w);
	tree_remove(w->view->config, "standby_cluster");
	w->view->config_modify++;
	w->hold_job[JOB_PROMOTE] = true;
	w_tick(w);
	assert_string_equal(w->result,
	    "promoted self to leader because I had the session lock");
	w_follows(w->order, "arm", "promote");
	assert_false(w->bad_promotion);
	w_free(w);
}

/* ---- divergence (17.5) ---- */

/* spec/ha.md 17.5 */
static void
test_past_leader_rewinds(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	standby_cluster(w, "remote", 0);
	w->view->members[1].timeline = 1;
	w->pg.pg_rewind_possible = true;
	w->control.has_history_file = true;
	w->divergence_given = true;
	w->divergence.local_known = true;
	w->divergence.local_timeline = 2;
	w->divergence.leader_reachable = true;
	w->divergence.leader_timeline = 1;
	w->hold_job[JOB_REWIND] = true;
	w_tick(w);
	assert_int_equal(strncmp(w->result,
			     "running pg_rewind from "
			     "remote_member:",
			     37),
	    0);
	assert_true(w->last_job[JOB_REWIND].job.node_remote);
	w_free(w);
}

static void
test_diverged_is_not_removed(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->conf.remove_data_on_diverged = true;
	ha_free(w->h);
	w_attach(w, ROLE_REPLICA);
	standby_cluster(w, "remote", 0);
	w->view->members[1].timeline = 1;
	w->control.has_history_file = true;
	w->divergence_given = true;
	w->divergence.local_known = true;
	w->divergence.local_timeline = 2;
	w->divergence.leader_reachable = true;
	w->divergence.leader_timeline = 1;
	w_tick(w);
	assert_string_equal(w->rule, "replica.no-action");
	assert_null(strstr(w->order, "stop"));
	w_free(w);
}

/* ---- bootstrap (10.1, 10.2) ---- */

static struct world *
empty(void)
{
	struct world *w = w_new("a");

	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->pg.sysid[0] = '\0';
	standby_cluster(w, "remote", 0);
	return w;
}

static void
test_bootstrap(void **state)
{
	struct world *w = empty();

	(void)state;
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w->hold_job[JOB_CLONE] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	assert_string_equal(
	    w->result, "trying to bootstrap a new standby leader");
	assert_true(w->last_job[JOB_CLONE].job.node_remote);
	w_tick(w);
	assert_string_equal(w->result, "bootstrap_standby_leader in progress");
	w_postgres(w, true, false);
	w->pg.datadir = DATADIR_OK;
	(void)snprintf(w->pg.sysid, sizeof(w->pg.sysid), SYSID);
	w_clear(w);
	w_job_done(w, JOB_CLONE, JOB_OK);
	assert_string_equal(w->result, "initialized a new cluster");
	assert_null(strstr(w->order, "post"));
	assert_null(strstr(w->order, "arm"));
	assert_int_equal(ha_role(w->h), ROLE_STANDBY_LEADER);
	assert_string_equal(w->view->initialize, SYSID);
	w_tick(w);
	assert_string_equal(
	    w->result, "no action. I am (a), the standby leader with the lock");
	w_free(w);
}

static void
test_bootstrap_fails(void **state)
{
	struct world *w = empty();

	(void)state;
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w->hold_job[JOB_CLONE] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	w_clear(w);
	w_job_done(w, JOB_CLONE, JOB_FAILED);
	assert_non_null(strstr(w->order, "cancel stop move"));
	assert_true(w->exited);
	assert_int_equal(w->exit_code, 1);
	w_free(w);
}

static void
test_bootstrap_waits(void **state)
{
	struct world *w = empty();

	(void)state;
	w_attach(w, ROLE_UNINITIALIZED);
	assert_string_equal(
	    w->result, "waiting for standby_leader to bootstrap");
	w_free(w);
}

static void
test_clone_from_standby_leader(void **state)
{
	struct world *w = empty();

	(void)state;
	w_member(w, "b", "standby_leader", "running");
	w_leader(w, "b");
	w->hold_job[JOB_CLONE] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	assert_string_equal(w->result, "trying to bootstrap from leader 'b'");
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leader_no_action),
		cmocka_unit_test(test_becomes_leader),
		cmocka_unit_test(test_remote_port),
		cmocka_unit_test(test_off_in_standby_cluster),
		cmocka_unit_test(test_timeline_not_compared),
		cmocka_unit_test(test_lock_refused),
		cmocka_unit_test(test_store_down),
		cmocka_unit_test(test_pause_keeps_lock),
		cmocka_unit_test(test_old_leader_followed),
		cmocka_unit_test(test_switchover),
		cmocka_unit_test(test_recovers_as_leader),
		cmocka_unit_test(test_recovers_without_leader),
		cmocka_unit_test(test_demote_archiving),
		cmocka_unit_test(test_demote_archive_fails),
		cmocka_unit_test(test_demote_early_release),
		cmocka_unit_test(test_demote_quick_stop),
		cmocka_unit_test(test_demote_quick_stop_nobody),
		cmocka_unit_test(test_demote_unclean),
		cmocka_unit_test(test_demote_release_lost),
		cmocka_unit_test(test_demote_keeps_key),
		cmocka_unit_test(test_demote_stop_timeout),
		cmocka_unit_test(test_demote_stop_fails),
		cmocka_unit_test(test_demote_store_down),
		cmocka_unit_test(test_demote_without_lock),
		cmocka_unit_test(test_promote_cluster),
		cmocka_unit_test(test_past_leader_rewinds),
		cmocka_unit_test(test_diverged_is_not_removed),
		cmocka_unit_test(test_bootstrap),
		cmocka_unit_test(test_bootstrap_fails),
		cmocka_unit_test(test_bootstrap_waits),
		cmocka_unit_test(test_clone_from_standby_leader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
