/*
 * test_ha_busy.c: a server that starts (spec/ha.md 8.5), long actions under
 * way (8.6), recovery (8.1, 8.2), required watchdog (20), history and the
 * checkpoint after a promotion (7.3, 7.4), following (6).
 */
#include "ha_driver.h"

static struct world *
starting_leader(void)
{
	struct world *w = w_primary("a");

	w_tick(w);
	w->pg.state = STATE_STARTING;
	w->pg.isready = ISREADY_REJECTING;
	w->pg.query_ok = false;
	w->pg.state_since = w->now + 10 * NS_PER_SEC;
	return w;
}

/* ---- startup check (8.5) ---- */

static void
test_starting_waits(void **state)
{
	struct world *w = starting_leader();

	(void)state;
	w_tick(w);
	assert_string_equal(w->result,
	    "PostgreSQL is still starting up, 300 seconds until timeout");
	assert_int_equal(w->op[OP_UPDATE].dcs.u.update.with_status, 0);
	assert_null(strstr(w->order, "stop"));
	w_free(w);
}

/* spec/ha.md 8.3 */
static void
test_starting_times_out(void **state)
{
	struct world *w = starting_leader();

	(void)state;
	w->pg.state_since = w->now + 10 * NS_PER_SEC - 300 * NS_PER_SEC + 1;
	w_tick(w);
	assert_string_equal(w->result,
	    "PostgreSQL is still starting up, 0 seconds until timeout");
	w->pg.state_since = w->now + 10 * NS_PER_SEC - 300 * NS_PER_SEC;
	w_tick(w);
	assert_string_equal(w->result,
	    "primary start has timed out, but "
	    "continuing to wait because failover is not possible");
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(
	    w->result, "stopped PostgreSQL because of startup timeout");
	w_follows(w->order, "stop", "release");
	assert_int_equal(w->last_job[JOB_STOP].job.stop_mode, STOP_IMMEDIATE);
	w_free(w);
}

static void
test_starting_loses_lock(void **state)
{
	struct world *w = starting_leader();

	(void)state;
	w->op_set[OP_UPDATE] = true;
	w->op_outcome[OP_UPDATE] = OUTCOME_REFUSED;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(w->result,
	    "stopped PostgreSQL while starting up "
	    "because leader key was lost");
	assert_null(strstr(w->order, "release"));
	w_free(w);
}

static void
test_starting_standby(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->pg.state = STATE_STARTING;
	w->pg.isready = ISREADY_REJECTING;
	w->pg.query_ok = false;
	w_tick(w);
	assert_non_null(strstr(w->log, "Still starting up as a standby."));
	assert_string_equal(w->rule, "replica.no-action");
	/* the process is gone: not starting any more */
	w->pg.isready = ISREADY_NO_RESPONSE;
	w->pg.running = false;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(w->result, "starting as a secondary");
	w_free(w);
}

static void
test_starting_is_up(void **state)
{
	struct world *w = starting_leader();

	(void)state;
	w_tick(w);
	w->pg.isready = ISREADY_ACCEPTING;
	w->pg.query_ok = true;
	w_tick(w);
	assert_int_equal(w->pg.state, STATE_RUNNING);
	assert_string_equal(w->rule, "leader.no-action");
	w_free(w);
}

/* ---- long actions (8.6) ---- */

static struct world *
promoting(void)
{
	struct world *w = w_standby("b", "a");

	w->conf.has_pre_promote = true;
	ha_free(w->h);
	w_attach(w, ROLE_REPLICA);
	w->hold_job[JOB_PROMOTE] = w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(w->rule, "race.won");
	return w;
}

static void
lose_lock(struct world *w)
{
	w_member(w, "c", "primary", "running");
	w_leader(w, "c");
	w_tick(w);
}

static void
test_promotion_refreshes(void **state)
{
	struct world *w = promoting();

	(void)state;
	w_tick(w);
	assert_string_equal(w->result, "updated leader lock during promote");
	assert_non_null(strstr(w->order, "grant"));
	w_free(w);
}

/* spec/ha.md 21.3 */
static void
test_lost_before_promote(void **state)
{
	struct world *w = promoting();

	(void)state;
	lose_lock(w);
	assert_non_null(strstr(w->order, "job-cancel"));
	w_job_done(w, JOB_PROMOTE, JOB_CANCELLED);
	assert_string_equal(w->result, "lost leader before promote");
	assert_null(strstr(w->order, "stop"));
	w_free(w);
}

/* The order went out before the cancellation arrived: undo it. */
static void
test_lost_too_late(void **state)
{
	struct world *w = promoting();

	(void)state;
	lose_lock(w);
	w_job_progress(w, JOB_PROMOTE, PROGRESS_PROMOTED);
	w_job_done(w, JOB_PROMOTE, JOB_OK);
	assert_string_equal(w->result, "lost leader before promote");
	assert_non_null(strstr(w->order, "stop"));
	assert_int_equal(w->last_job[JOB_STOP].job.stop_mode, STOP_IMMEDIATE);
	w_free(w);
}

static void
test_lost_after_promote(void **state)
{
	struct world *w = promoting();

	(void)state;
	w_job_progress(w, JOB_PROMOTE, PROGRESS_PRE_PROMOTE_OK);
	w_job_progress(w, JOB_PROMOTE, PROGRESS_PROMOTED);
	assert_int_equal(ha_role(w->h), ROLE_PROMOTED);
	lose_lock(w);
	w_job_done(w, JOB_PROMOTE, JOB_CANCELLED);
	assert_string_equal(w->result, "lost leader lock during promote");
	assert_non_null(strstr(w->order, "stop"));
	w_free(w);
}

static void
test_busy_does_not_race(void **state)
{
	struct world *w = w_standby("b", "a");
	struct msg_request r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w_tick(w);
	w->hold_job[JOB_RESTART] = true;
	w_request(w, &r, NULL);
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(w->result, "restart in progress");
	assert_non_null(strstr(w->log, "not healthy enough for leader race"));
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* Crash recovery of the lock holder: bounded by primary_start_timeout. */
static void
test_crash_recovery_times_out(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w->pg.pg_rewind_possible = true;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w_tick(w);
	w_postgres(w, false, false);
	w->pg.has_recovery_files = true; /* so it is not started as primary */
	w->hold_job[JOB_CRASH_RECOVERY] = w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(
	    w->result, "doing crash recovery in a single user mode");
	w_tick(w);
	assert_string_equal(w->result,
	    "updated leader lock during doing "
	    "crash recovery in a single user mode");
	w->now += 300 * NS_PER_SEC;
	w_wake(w);
	w_job_done(w, JOB_CRASH_RECOVERY, JOB_CANCELLED);
	assert_string_equal(
	    w->result, "terminated crash recovery because of startup timeout");
	w_follows(w->order, "job-cancel", "stop");
	assert_non_null(strstr(w->order, "release"));
	w_free(w);
}

static void
test_crash_recovery_once(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->pg.pg_rewind_possible = true;
	w_tick(w);
	w_postgres(w, false, false);
	w->hold_job[JOB_CRASH_RECOVERY] = w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(
	    w->result, "doing crash recovery in a single user mode");
	w_clear(w);
	w_job_done(w, JOB_CRASH_RECOVERY, JOB_FAILED);
	assert_string_equal(w->result, "starting as a secondary");
	w_free(w);
}

static void
test_backup_label(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->pg.pg_rewind_possible = true;
	w_tick(w);
	w_postgres(w, false, false);
	w->pg.has_backup_label = true;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_null(strstr(w->order, "crash"));
	assert_non_null(strstr(w->log,
	    "Skipping single-user crash recovery because backup_label exists"));
	w_free(w);
}

/* ---- the watchdog (20) ---- */

static void
test_watchdog_required_standby(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->conf.watchdog_mode = WATCHDOG_REQUIRED;
	ha_free(w->h);
	w_attach(w, ROLE_REPLICA);
	w->wd.activation_failed = 1;
	w->wd.fence_armed = 0;
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(w->result,
	    "Not promoting self because watchdog could not be activated");
	assert_string_equal(w->view->leader, "");
	assert_null(strstr(w->order, "promote"));
	w_free(w);
}

static void
test_watchdog_required_primary(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w->conf.watchdog_mode = WATCHDOG_REQUIRED;
	ha_free(w->h);
	w->wd.activation_failed = 1;
	w->wd.fence_armed = 0;
	w->hold_job[JOB_FOLLOW] = true;
	w_attach(w, ROLE_PRIMARY);
	assert_string_equal(
	    w->result, "Demoting self because watchdog could not be activated");
	w_follows(w->order, "arm grant stop", "release");
	w_free(w);
}

/* ---- history and checkpoint (7.3, 7.4) ---- */

static void
history_of(struct world *w, uint32_t timeline, uint32_t elements)
{
	struct view *v = w->view;

	free(v->history);
	v->history = calloc(1, sizeof(*v->history));
	v->nhistory = 1;
	v->history[0].timeline = timeline;
	v->history[0].elements = elements;
}

/* spec/ha.md 7.3 */
static void
test_history(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	assert_null(strstr(w->order, "history"));
	w->pg.timeline = w->control.timeline = 3;
	w_tick(w);
	assert_int_equal(w->op[OP_SET_HISTORY].dcs.history_of, 3);
	history_of(w, 2, 5);
	w_tick(w);
	assert_null(strstr(w->order, "history"));
	history_of(w, 2, 3); /* of an older version: written anew */
	w_tick(w);
	assert_non_null(strstr(w->order, "history"));
	history_of(w, 1, 5);
	w_tick(w);
	assert_non_null(strstr(w->order, "history"));
	w->pg.timeline = w->control.timeline = 1; /* of another cluster */
	w_tick(w);
	assert_int_equal(w->op[OP_SET_HISTORY].dcs.history_of, 0);
	w_free(w);
}

/* spec/ha.md 7.4 */
static void
test_checkpoint(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w->pg.timeline = 2; /* pg_control still says 1 */
	w->hold_job[JOB_CHECKPOINT] = true;
	ha_free(w->h);
	w_attach(w, ROLE_PRIMARY);
	assert_non_null(strstr(w->order, "checkpoint"));
	assert_int_equal(w->op[OP_TOUCH].dcs.u.touch.checkpoint_pending, 1);
	w_tick(w); /* not twice */
	assert_null(strstr(w->order, "checkpoint"));
	w_clear(w);
	w_job_done(w, JOB_CHECKPOINT, JOB_OK); /* wakes the loop */
	assert_int_equal(w->op[OP_TOUCH].dcs.u.touch.checkpoint_pending, 0);
	assert_string_equal(w->rule, "leader.no-action");
	w_free(w);
}

/* ---- following (6) ---- */

static void
target(struct world *w, const char *name)
{
	w->diff = DIFF_RELOAD;
	w_tick(w);
	if (name == NULL)
		assert_false(w->last_job[JOB_RELOAD_RECOVERY].job.has_node);
	else
		assert_string_equal(
		    w->last_job[JOB_RELOAD_RECOVERY].job.node.name, name);
	w_free(w);
}

static struct world *
tagged(const char *replicatefrom, bool nostream)
{
	struct world *w = w_standby("b", "a");

	w_member(w, "c", "replica", "running");
	(void)snprintf(
	    w->conf.tags.replicatefrom, NAME_SIZE, "%s", replicatefrom);
	w->conf.tags.nostream = nostream;
	ha_free(w->h);
	w_attach(w, ROLE_REPLICA);
	return w;
}

static void
test_targets(void **state)
{
	(void)state;
	target(tagged("", false), "a");
	target(tagged("c", false), "c");
	target(tagged("gone", false), "a"); /* falls back */
	target(tagged("b", false), "a");    /* me */
	target(tagged("", true), NULL);
	target(tagged("c", true), NULL);
}

/* spec/ha.md 6.3 */
static void
test_restart_to_follow(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_tick(w);
	w->diff = DIFF_RESTART;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(w->rule, "replica.no-action");
	w_tick(w);
	assert_string_equal(
	    w->result, "changing primary_conninfo and restarting in progress");
	w_free(w);
}

/* The leader's key stayed, its timeline rose: check for divergence. */
static void
test_timeline_rises(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->pg.pg_rewind_possible = true;
	w->view->members[1].timeline = 1;
	w_tick(w);
	w->view->members[1].timeline = 2;
	w->divergence_given = true;
	w->divergence.local_known = true;
	w->divergence.local_timeline = 1;
	w->divergence.local_in_recovery = true;
	w->divergence.local_lsn = 1000;
	w->divergence.leader_reachable = true;
	w->divergence.leader_timeline = 2;
	w->divergence.history_known = true;
	w->divergence.nhistory = 1;
	w->divergence.history[0].timeline = 1;
	w->divergence.history[0].lsn = 999;
	w->hold_job[JOB_REWIND] = true;
	w_tick(w);
	assert_string_equal(w->result, "running pg_rewind from a");
	w_free(w);
}

static void
test_diverged_reinitializes(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->conf.remove_data_on_diverged = true;
	ha_free(w->h);
	w->view->members[1].timeline = 1;
	w_attach(w, ROLE_REPLICA);
	w->view->members[1].timeline = 2;
	w->divergence_given = true;
	w->divergence.local_known = true;
	w->divergence.local_timeline = 3;
	w->divergence.leader_reachable = true;
	w->divergence.leader_timeline = 2;
	w->hold_job[JOB_STOP] = true;
	w_tick(w);
	assert_string_equal(
	    w->result, "reinitializing due to diverged timelines");
	w_free(w);
}

/* primary_race_backoff (4 step 1) */
static void
test_backoff(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_option(w, "primary_race_backoff", tree_int(25));
	w->hold_job[JOB_PROMOTE] = true;
	w_tick(w);
	w_leader(w, "");
	w->pg.receiver_streaming = true;
	w->pg.wal_position = 1001;
	w_tick(w);
	assert_string_equal(w->result,
	    "My (b) wal position moved since last "
	    "heart beat loop, 25 seconds until leader race");
	w->pg.wal_position = 1002;
	w_tick(w);
	assert_string_equal(w->result,
	    "My (b) wal position moved since last "
	    "heart beat loop, 15 seconds until leader race");
	/* the old primary went silent: no need to wait for all of it */
	w_tick(w);
	assert_string_equal(w->rule, "race.won");
	w_free(w);
}

static void
test_backoff_ends(void **state)
{
	struct world *w = w_standby("b", "a");
	int64_t begin;
	int i;

	(void)state;
	w_option(w, "primary_race_backoff", tree_int(25));
	w->hold_job[JOB_PROMOTE] = true;
	w_tick(w);
	w_leader(w, "");
	w->pg.receiver_streaming = true;
	begin = w->now + 10 * NS_PER_SEC;
	for (i = 0; i < 5; i++) {
		w->pg.wal_position++;
		w_tick(w);
		if (strcmp(w->rule, "race.won") == 0)
			break;
	}
	/* at that moment, not at the next loop */
	assert_int_equal(w->now - begin, 25 * NS_PER_SEC);
	assert_string_equal(w->rule, "race.won");
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starting_waits),
		cmocka_unit_test(test_starting_times_out),
		cmocka_unit_test(test_starting_loses_lock),
		cmocka_unit_test(test_starting_standby),
		cmocka_unit_test(test_starting_is_up),
		cmocka_unit_test(test_promotion_refreshes),
		cmocka_unit_test(test_lost_before_promote),
		cmocka_unit_test(test_lost_too_late),
		cmocka_unit_test(test_lost_after_promote),
		cmocka_unit_test(test_busy_does_not_race),
		cmocka_unit_test(test_crash_recovery_times_out),
		cmocka_unit_test(test_crash_recovery_once),
		cmocka_unit_test(test_backup_label),
		cmocka_unit_test(test_watchdog_required_standby),
		cmocka_unit_test(test_watchdog_required_primary),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_checkpoint),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_restart_to_follow),
		cmocka_unit_test(test_timeline_rises),
		cmocka_unit_test(test_diverged_reinitializes),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_backoff_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
