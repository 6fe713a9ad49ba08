/*
 * test_ha_race.c: the rules of the leader race and of "failover possible" at
 * their boundaries, and the pure functions of the core.
 */
#include "ha_driver.h"

#define MIB 1048576

/* A leaderless cluster seen by standby b, with peer c. */
static struct world *
race_world(uint64_t own, uint64_t peer)
{
	struct world *w = w_standby("b", "a");

	w_member(w, "c", "replica", "running");
	w->pg.wal_position = own;
	w_peer(w, "c", peer);
	w_tick(w);
	w->hold_job[JOB_PROMOTE] = true;
	w_leader(w, "");
	w->view->has_status = 1;
	return w;
}

static bool
won(struct world *w)
{
	w_wake(w);
	if (strcmp(w->result,
		"promoted self to leader by acquiring session lock") == 0)
		return true;
	assert_string_equal(w->result,
	    "following a different leader because "
	    "i am not the healthiest node");
	assert_null(strstr(w->order, "acquire"));
	return false;
}

static void
test_lag(void **state)
{
	struct world *w = race_world(1000, 0);

	(void)state;
	w->view->optime = 1000 + MIB; /* exactly the maximum is allowed */
	assert_true(won(w));
	w_free(w);
	w = race_world(1000, 0);
	w->view->optime = 1000 + MIB + 1;
	assert_false(won(w));
	assert_non_null(
	    strstr(w->log, "My wal position exceeds maximum replication lag"));
	assert_int_equal(w->polls, 0);
	w_free(w);
}

static void
test_peer_ahead(void **state)
{
	struct world *w = race_world(1000, 1000);

	(void)state;
	assert_true(won(w));
	w_free(w);
	w = race_world(1000, 1001);
	assert_false(won(w));
	assert_non_null(
	    strstr(w->log, "Wal position of c is ahead of my wal position"));
	w_free(w);
}

/* spec/ha.md 11.4 */
static void
test_peer_ahead_but_limited(void **state)
{
	struct world *w = race_world(1000, 2000);

	(void)state;
	w->peers[0].tags.nofailover = 1;
	assert_true(won(w));
	w_free(w);
	w = race_world(1000, 2000);
	w->peers[0].watchdog_failed = 1;
	assert_true(won(w));
	w_free(w);
	w = race_world(1000, 2000);
	w->peers[0].reachable = 0;
	assert_true(won(w));
	w_free(w);
}

static void
test_primary_alive(void **state)
{
	struct world *w = race_world(1000, 0);

	(void)state;
	w->peers[0].runs_as_primary = 1;
	assert_false(won(w));
	assert_non_null(strstr(w->log, "Primary (c) is still alive"));
	w_free(w);
}

static void
test_priority(void **state)
{
	struct world *w = race_world(1000, 1000);

	(void)state;
	w->peers[0].tags.failover_priority = 2;
	assert_false(won(w));
	assert_non_null(strstr(w->log,
	    "c has equally tolerable WAL position "
	    "and priority 2, while this node has priority 1"));
	w_free(w);
	w = race_world(1001, 1000); /* priority decides only ties */
	w->peers[0].tags.failover_priority = 2;
	assert_true(won(w));
	w_free(w);
}

static void
test_former_priority(void **state)
{
	struct world *w = race_world(1000, 0);

	(void)state;
	w_peer(w, "a", 1000);
	w->peers[1].tags.failover_priority = 9;
	assert_true(won(w));
	assert_non_null(strstr(w->log,
	    "Ignoring former leader a having "
	    "priority 9 higher than this nodes 1 priority"));
	w_free(w);
}

static void
test_check_timeline(void **state)
{
	struct world *w = race_world(1000, 0);

	(void)state;
	w_option(w, "check_timeline", tree_bool(true));
	w->view->timeline = 1;
	assert_true(won(w));
	w_free(w);
	w = race_world(1000, 0);
	w_option(w, "check_timeline", tree_bool(true));
	w->view->timeline = 2; /* one behind */
	assert_false(won(w));
	assert_non_null(strstr(
	    w->log, "My timeline 1 is behind last known cluster timeline 2"));
	w_free(w);
	/* a peer that stands back itself for its timeline holds back nobody */
	w = race_world(1000, 2000);
	w_option(w, "check_timeline", tree_bool(true));
	w->pg.received_timeline = w->view->timeline = 2;
	w->peers[0].timeline = 1;
	assert_true(won(w));
	w_free(w);
	w = race_world(1000, 2000);
	w_option(w, "check_timeline", tree_bool(true));
	w->pg.received_timeline = w->view->timeline = 2;
	w->peers[0].timeline = 2;
	assert_false(won(w));
	w_free(w);
	/* ... nor does one that failsafe mode keeps out */
	w = race_world(1000, 2000);
	w_option(w, "failsafe_mode", tree_bool(true));
	w->view->has_failsafe = w->view->failsafe_object = 1;
	w->view->failsafe = calloc(1, sizeof(*w->view->failsafe));
	w->view->nfailsafe = 1;
	(void)snprintf(w->view->failsafe[0].name, NAME_SIZE, "b");
	assert_true(won(w));
	w_free(w);
	/* no request makes up for not having been asked by the primary */
	w = race_world(1000, 1000);
	w_option(w, "failsafe_mode", tree_bool(true));
	w->view->has_failsafe = w->view->failsafe_object = 1;
	w->view->failsafe = calloc(1, sizeof(*w->view->failsafe));
	w->view->nfailsafe = 1;
	(void)snprintf(w->view->failsafe[0].name, NAME_SIZE, "c");
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "b");
	assert_false(won(w));
	w_free(w);
	w = race_world(1000, 0); /* not asked for: not looked at */
	w->view->timeline = 2;
	assert_true(won(w));
	w_free(w);
}

static void
test_nofailover(void **state)
{
	struct world *w = w_new("b");

	(void)state;
	w->conf.tags.nofailover = 1;
	w->conf.tags.failover_priority = 0;
	w_postgres(w, true, false);
	w_member(w, "b", "replica", "running");
	w_attach(w, ROLE_REPLICA);
	assert_string_equal(w->result,
	    "following a different leader because "
	    "I am not allowed to promote");
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

static void
test_starting_does_not_race(void **state)
{
	struct world *w = race_world(1000, 0);

	(void)state;
	w->pg.state = STATE_STARTING;
	w->pg.isready = ISREADY_REJECTING;
	assert_false(won(w));
	w_free(w);
}

static void
test_position_unknown(void **state)
{
	struct world *w = race_world(1000, 0);

	(void)state;
	w->pg.query_ok = false;
	w->pg.has_recovery_files = true;
	w_wake(w);
	assert_string_equal(w->result,
	    "Error communicating with PostgreSQL. Will try again later");
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* A server that is silent and has no recovery files is a primary, although
 * the role that we remember is another: with the lock it is not promoted, and
 * the key is not given away from under it. */
static void
test_silent_primary_keeps_key(void **state)
{
	struct world *w = race_world(1000, 0);

	(void)state;
	w_leader(w, "b");
	w->pg.query_ok = false;
	w->pg.has_recovery_files = false;
	w_wake(w);
	assert_string_equal(
	    w->result, "no action. I am (b), the leader with the lock");
	assert_null(strstr(w->order, "promote"));
	assert_null(strstr(w->order, "release"));
	w_free(w);
}

static void
test_primary_retakes(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w_leader(w, "");
	w_wake(w);
	assert_string_equal(w->result, "acquired session lock as a leader");
	assert_int_equal(w->polls, 0);
	w_free(w);
}

/* A stalled former primary may not take the lock back. */
static void
test_primary_old_timeline(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w_leader(w, "");
	w->view->timeline = 2;
	w->hold_job[JOB_FOLLOW] = true;
	w_wake(w);
	assert_string_equal(
	    w->result, "demoting self because i am not the healthiest node");
	assert_non_null(strstr(
	    w->log, "My timeline 1 is behind last known cluster timeline 2"));
	w_free(w);
}

static void
test_acquire_unknown(void **state)
{
	struct world *w = race_world(1000, 0);

	(void)state;
	w->op_set[OP_ACQUIRE] = true;
	w->op_outcome[OP_ACQUIRE] = OUTCOME_UNKNOWN;
	w_wake(w);
	assert_string_equal(w->result, "DCS is not accessible");
	assert_null(strstr(w->order, "promote"));
	/* it had been applied: the next cycle goes on from there */
	w_leader(w, "b");
	w_tick(w);
	assert_string_equal(w->result,
	    "promoted self to leader because I had the session lock");
	w_free(w);
}

/* spec/ha.md 20.5 */
static void
test_watchdog_refuses(void **state)
{
	struct world *w = race_world(1000, 0);

	(void)state;
	w->wd.activation_failed = 1;
	w->wd.fence_armed = 0;
	w_wake(w);
	assert_non_null(strstr(w->log,
	    "Not promoting self because watchdog "
	    "could not be activated"));
	assert_null(strstr(w->order, "promote"));
	assert_non_null(strstr(w->order, "release"));
	w_free(w);
}

/* The keeper is gone: no promotion, but a running primary goes on. */
static void
test_keeper_gone(void **state)
{
	struct world *w = w_primary("a");
	struct ha_ev ev = w_ev(EV_HELPER, 0);

	(void)state;
	w_tick(w);
	ev.helper = PROC_WATCHDOG;
	ev.up = false;
	w_event(w, &ev);
	w->wd_no_answer = true;
	w_tick(w);
	assert_string_equal(
	    w->result, "no action. I am (a), the leader with the lock");
	w_free(w);
}

/* The answer to the acquisition came so late that the lease is over. */
static void
test_lease_over_before_promotion(void **state)
{
	struct world *w = race_world(1000, 0);
	struct ha_ev ev;

	(void)state;
	w->hold_op[OP_ACQUIRE] = true;
	w_wake(w);
	ev = w_ev(EV_DCS, w->held);
	ev.outcome = OUTCOME_OK;
	ev.sent = w->now;
	w_leader(w, "b");
	w->now += 30 * NS_PER_SEC;
	w_event(w, &ev);
	assert_string_equal(w->result,
	    "not promoting because failed to update leader lock in DCS");
	assert_null(strstr(w->order, "promote"));
	w_free(w);
}

/* spec/ha.md 23.2 */
static void
test_lease_one_ns_left(void **state)
{
	struct world *w = race_world(1000, 0);
	struct ha_ev ev;

	(void)state;
	w->hold_op[OP_ACQUIRE] = true;
	w_wake(w);
	ev = w_ev(EV_DCS, w->held);
	ev.outcome = OUTCOME_OK;
	ev.sent = w->now;
	w_leader(w, "b");
	w->now += 30 * NS_PER_SEC - 1;
	w_event(w, &ev);
	assert_non_null(strstr(w->order, "promote"));
	w_free(w);
}

static void
test_pre_promote_fails(void **state)
{
	struct world *w = race_world(1000, 0);

	(void)state;
	w_wake(w);
	w_job_progress(w, JOB_PROMOTE, PROGRESS_PRE_PROMOTE_FAILED);
	w_clear(w);
	w_job_done(w, JOB_PROMOTE, JOB_FAILED);
	assert_string_equal(w->result,
	    "Promotion cancelled because the "
	    "pre-promote script failed");
	w_tick(w);
	assert_non_null(strstr(w->log, "backoff: skip leader race"));
	w->now += 31 * NS_PER_SEC;
	w_wake(w);
	assert_string_equal(
	    w->result, "promoted self to leader by acquiring session lock");
	w_free(w);
}

/* The store goes away while pre_promote runs: no promotion without lease. */
static void
test_dcs_lost_before_promote(void **state)
{
	struct world *w = race_world(1000, 0);
	struct ha_ev ev = w_ev(EV_TICK, 0);

	(void)state;
	w_wake(w);
	w->load_outcome = OUTCOME_FAILED;
	w_clear(w);
	w_event(w, &ev);
	assert_string_equal(w->order, "load job-cancel");
	w_job_done(w, JOB_PROMOTE, JOB_CANCELLED);
	assert_string_equal(w->result, "DCS is not accessible");
	assert_null(ha_action(w->h));
	w_free(w);
}

/* spec/ha.md 12.1 */
static void
test_candidate(void **state)
{
	struct world *w = race_world(1000, 5000); /* c is ahead */

	(void)state;
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "b");
	w_wake(w);
	assert_string_equal(
	    w->result, "promoted self to leader by acquiring session lock");
	assert_string_equal(w->view->failover_member, "");
	w_free(w);
	w = race_world(1000, 1000);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "c");
	assert_false(won(w));
	assert_non_null(strstr(w->log, "manual failover: to c, i am b"));
	w_free(w);
	w = race_world(1000, 1000); /* the candidate is unfit */
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "c");
	w->peers[0].reachable = 0;
	assert_true(won(w));
	w_free(w);
}

/* spec/ha.md 12.5 */
static void
test_switchover_refused(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w->peers[0].tags.nofailover = 1;
	w_tick(w);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w_wake(w);
	assert_non_null(strstr(w->log, "Member b is not allowed to promote"));
	assert_non_null(strstr(w->log,
	    "switchover: no healthy members "
	    "found, switchover is not possible"));
	assert_string_equal(
	    w->result, "no action. I am (a), the leader with the lock");
	assert_string_equal(w->view->failover_leader, "");
	w_free(w);
}

static void
test_scheduled(void **state)
{
	struct world *w = w_primary("a");
	int64_t wall;

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w_tick(w);
	wall = w->wall + w->now / 1000;
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w->view->failover_scheduled = 1;
	w->view->failover_at_us = wall + 5000000;
	w->hold_job[JOB_STOP] = true;
	w_wake(w);
	assert_string_equal(
	    w->result, "no action. I am (a), the leader with the lock");
	/* the next cycle comes at the second, not at the next loop */
	assert_int_equal(w->timer, w->now + 5 * NS_PER_SEC);
	w_tick(w);
	assert_string_equal(w->result, "switchover: demoting myself");
	w_free(w);
	w = w_primary("a");
	w_tick(w);
	wall = w->wall + w->now / 1000;
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w->view->failover_scheduled = 1;
	w->view->failover_at_us = wall - 15000001;
	w_wake(w);
	assert_non_null(strstr(w->log, "Found a stale switchover value"));
	assert_string_equal(w->view->failover_leader, "");
	w_free(w);
}

static struct ha_divergence
diverged(uint64_t lsn, uint64_t point, bool in_recovery, uint64_t end)
{
	struct ha_divergence d;

	memset(&d, 0, sizeof(d));
	d.local_known = d.leader_reachable = d.history_known = true;
	d.local_timeline = 1;
	d.leader_timeline = 2;
	d.local_lsn = lsn;
	d.local_in_recovery = in_recovery;
	d.checkpoint_end = end;
	d.nhistory = 1;
	d.history[0].timeline = 1;
	d.history[0].lsn = point;
	return d;
}

/* spec/ha.md 6.4 */
static void
test_rewind_needed(void **state)
{
	struct ha_divergence d = diverged(100, 100, true, 0);

	(void)state;
	assert_int_equal(ha_rewind_needed(&d), 0);
	d = diverged(101, 100, true, 0);
	assert_int_equal(ha_rewind_needed(&d), 1);
	d = diverged(100, 100, false, 100);
	assert_int_equal(ha_rewind_needed(&d), 1);
	d = diverged(99, 100, false, 100);
	assert_int_equal(ha_rewind_needed(&d), 0);
	d = diverged(99, 100, false, 101);
	assert_int_equal(ha_rewind_needed(&d), 1);
	d.local_timeline = 2;
	assert_int_equal(ha_rewind_needed(&d), 0);
	d.other_branch = true; /* of the same number */
	assert_int_equal(ha_rewind_needed(&d), 1);
	d.local_timeline = 1;
	assert_int_equal(ha_rewind_needed(&d), 1);
	d.other_branch = false;
	d.local_timeline = 3;
	assert_int_equal(ha_rewind_needed(&d), 1);
	d.leader_in_recovery = true;
	assert_int_equal(ha_rewind_needed(&d), -1);
	d = diverged(99, 100, true, 0); /* by its place it could follow */
	d.other_branch = true;
	assert_int_equal(ha_rewind_needed(&d), 1);
	assert_false(ha_rewind_blind(&d)); /* the numbers tell pg_rewind */
	d.local_timeline = 2;
	assert_int_equal(ha_rewind_needed(&d), 1);
	assert_true(ha_rewind_blind(&d));
	d.local_known = false; /* it crashed: its place is not known */
	assert_int_equal(ha_rewind_needed(&d), 1);
	d.local_known = true;
	d.other_branch = false;
	assert_int_equal(ha_rewind_needed(&d), 0);
	assert_false(ha_rewind_blind(&d));
	d.other_wal = true; /* promoted at one place */
	assert_int_equal(ha_rewind_needed(&d), 1);
	assert_true(ha_rewind_blind(&d));
	d.local_timeline = 1;
	assert_true(ha_rewind_blind(&d));
	d.leader_in_recovery = true;
	assert_int_equal(ha_rewind_needed(&d), -1);
	d.leader_in_recovery = d.other_wal = false;
	d.local_timeline = 2;
	d.branch_unsure = true;
	assert_int_equal(ha_rewind_needed(&d), -1);
	d = diverged(99, 100, true, 0);
	d.nhistory = 0;
	assert_int_equal(ha_rewind_needed(&d), 1);
	d.history_known = false;
	assert_int_equal(ha_rewind_needed(&d), -1);
}

static void
test_clamp(void **state)
{
	struct msg_dcs_settings s;

	(void)state;
	ha_clamp(30, 10, 10, &s);
	assert_int_equal(s.loop_wait, 10);
	ha_clamp(30, 11, 10, &s);
	assert_int_equal(s.loop_wait, 10);
	ha_clamp(20, 10, 10, &s);
	assert_int_equal(s.loop_wait, 1);
	assert_int_equal(s.retry_timeout, 9);
	ha_clamp(1, 0, 0, &s);
	assert_int_equal(s.ttl, 20);
	assert_int_equal(s.loop_wait, 1);
	assert_int_equal(s.retry_timeout, 3);
	assert_true(s.loop_wait + 2 * s.retry_timeout <= s.ttl);
	ha_clamp(INT64_MAX, INT64_MIN, INT64_MAX, &s);
	assert_true(s.loop_wait + 2 * s.retry_timeout <= s.ttl);
}

static void
test_slot_name(void **state)
{
	char out[64];

	(void)state;
	ha_slot_name("Node-1.Example", out);
	assert_string_equal(out, "node_1_example");
	ha_slot_name("a b", out);
	assert_string_equal(out, "au0032b");
	ha_slot_name("\xc3\xa9", out);
	assert_string_equal(out, "u0233");
	ha_slot_name(
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaa",
	    out);
	assert_int_equal(strlen(out), 63);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lag),
		cmocka_unit_test(test_peer_ahead),
		cmocka_unit_test(test_peer_ahead_but_limited),
		cmocka_unit_test(test_primary_alive),
		cmocka_unit_test(test_priority),
		cmocka_unit_test(test_former_priority),
		cmocka_unit_test(test_check_timeline),
		cmocka_unit_test(test_nofailover),
		cmocka_unit_test(test_starting_does_not_race),
		cmocka_unit_test(test_position_unknown),
		cmocka_unit_test(test_silent_primary_keeps_key),
		cmocka_unit_test(test_primary_retakes),
		cmocka_unit_test(test_primary_old_timeline),
		cmocka_unit_test(test_acquire_unknown),
		cmocka_unit_test(test_watchdog_refuses),
		cmocka_unit_test(test_keeper_gone),
		cmocka_unit_test(test_lease_over_before_promotion),
		cmocka_unit_test(test_lease_one_ns_left),
		cmocka_unit_test(test_pre_promote_fails),
		cmocka_unit_test(test_dcs_lost_before_promote),
		cmocka_unit_test(test_candidate),
		cmocka_unit_test(test_switchover_refused),
		cmocka_unit_test(test_scheduled),
		cmocka_unit_test(test_rewind_needed),
		cmocka_unit_test(test_clamp),
		cmocka_unit_test(test_slot_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
