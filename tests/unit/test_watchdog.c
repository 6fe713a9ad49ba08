/*
 * test_watchdog.c: the fence of the lease keeper on a fake clock: every
 * ordering of grants, arming, expiry and loss.
 */
#include "keeper_driver.h"

/* ---- fence ---- */

static void
fences_at_the_lead_and_kills_at_the_end(void **state)
{
	int64_t sent = w.now;

	(void)state;
	grant_at(sent);
	arm_pid(PID, false);
	assert_true(w.last.fence_armed && w.last_id == 7);
	pass(15 * S - 1);
	assert_int_equal(w.quits, 0);
	pass(1);
	assert_int_equal(w.quits, 1);
	assert_int_equal(w.quit_at, sent + 15 * S);
	pass(5 * S);
	assert_int_equal(w.kills, 1);
	assert_int_equal(w.kill_at, sent + 20 * S);
	pass(S);
	assert_int_equal(w.fenced, 1);
	assert_int_equal(w.kills, 1);
	assert_false(w.last.fence_armed);
	assert_int_equal(w.last_id, 0);
	assert_true(keeper_next(&k) == INT64_MAX);
}

static void
no_kill_when_it_quits(void **state)
{
	(void)state;
	w.dies_of_quit = true;
	grant_at(w.now);
	arm_pid(PID, false);
	pass(30 * S);
	assert_int_equal(w.quits, 1);
	assert_int_equal(w.kills, 0);
	assert_int_equal(w.fenced, 1);
}

static void
kills_again_what_does_not_die(void **state)
{
	(void)state;
	w.dies_of_kill = false;
	grant_at(w.now);
	arm_pid(PID, false);
	pass(25 * S);
	assert_in_range(w.kills, 5, 6);
	assert_int_equal(w.fenced, 0);
	w.alive = false;
	pass(S);
	assert_int_equal(w.fenced, 1);
}

static void
grants_put_it_off(void **state)
{
	(void)state;
	arm_pid(PID, false);
	for (int i = 0; i < 100; i++) {
		grant_at(w.now);
		pass(10 * S);
	}
	assert_int_equal(w.quits, 0);
	pass(5 * S);
	assert_int_equal(w.quits, 1);
}

static void
a_grant_counts_from_when_it_was_sent(void **state)
{
	int64_t sent = w.now;

	(void)state;
	arm_pid(PID, false);
	pass(8 * S);
	grant_at(sent);
	pass(7 * S - 1);
	assert_int_equal(w.quits, 0);
	pass(1);
	assert_int_equal(w.quits, 1);
}

static void
an_old_grant_takes_nothing_back(void **state)
{
	int64_t start = w.now;

	(void)state;
	arm_pid(PID, false);
	pass(4 * S);
	grant_at(w.now);
	grant_at(start);
	assert_true(k.lease_end == start + 24 * S);
	grant_at(w.now + 3600 * S); /* from the future: refused */
	assert_true(k.lease_end == start + 24 * S);
}

static void
a_late_grant_does_not_call_a_fence_back(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	pass(16 * S);
	assert_int_equal(w.quits, 1);
	grant_at(w.now);
	pass(10 * S);
	assert_int_equal(w.kills, 1);
	assert_int_equal(w.fenced, 1);
	pass(100 * S);
	assert_int_equal(w.quits, 1);
}

static void
a_grant_in_the_queue_counts_when_woken_late(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	w.now += 100 * S; /* stopped meanwhile; the grant came at 95 */
	grant_at(w.now - 5 * S);
	keeper_tick(&k, w.now);
	assert_int_equal(w.quits, 0);
}

static void
woken_after_the_end_it_kills_at_once(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	sleep_until(w.now + 3600 * S);
	assert_int_equal(w.quits, 1);
	assert_int_equal(w.kills, 1);
}

static void
disarmed_it_stays_quiet(void **state)
{
	(void)state;
	for (uint32_t reason = 0; reason < 4; reason++) {
		grant_at(w.now);
		arm_pid(PID, false);
		pass(14 * S);
		disarm(reason);
		assert_false(w.last.fence_armed);
		assert_int_equal(w.last_id, 9);
		pass(100 * S);
		grant_at(w.now); /* in pause the lock is still refreshed */
		pass(100 * S);
	}
	assert_int_equal(w.quits, 0);
}

static void
disarm_does_not_stop_a_fence(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	pass(16 * S);
	disarm(0);
	pass(5 * S);
	assert_int_equal(w.kills, 1);
}

static void
a_new_postmaster_is_not_fenced_by_an_old_lease(void **state)
{
	(void)state;
	grant_at(w.now);
	pass(100 * S);
	arm_pid(PID, false);
	pass(S);
	assert_int_equal(w.quits, 0);
	grant_at(w.now);
	pass(14 * S);
	assert_int_equal(w.quits, 0);
	pass(S);
	assert_int_equal(w.quits, 1);
}

static void
armed_without_any_grant_ends_after_ttl(void **state)
{
	(void)state;
	arm_pid(PID, false);
	pass(15 * S - 1);
	assert_int_equal(w.quits, 0);
	pass(1);
	assert_int_equal(w.quits, 1);
}

static void
rearming_moves_the_target_not_the_lease(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	pass(10 * S);
	arm_pid(PID + 1, false);
	assert_int_equal(k.pid, PID + 1);
	pass(5 * S);
	assert_int_equal(w.quits, 1);
}

static void
arming_a_dying_postmaster_goes_on_with_it(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	pass(16 * S);
	assert_true(keeper_fencing(&k, PID));
	assert_false(keeper_fencing(&k, PID + 1));
	grant_at(w.now);
	arm_pid(PID, false);
	pass(5 * S);
	assert_int_equal(w.kills, 1);
	/* a new one after it is armed as any */
	w.alive = true;
	grant_at(w.now);
	arm_pid(PID + 1, false);
	assert_true(w.last.fence_armed);
	pass(14 * S);
	assert_int_equal(w.quits, 1);
	pass(S);
	assert_int_equal(w.quits, 2);
}

static void
its_own_end_disarms(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	w.states = 0;
	keeper_postmaster_gone(&k, w.now);
	assert_int_equal(w.states, 1);
	assert_false(w.last.fence_armed);
	assert_false(w.last.fenced);
	pass(100 * S);
	assert_int_equal(w.quits, 0);
}

static void
its_end_during_the_fence_completes_it(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	pass(15 * S);
	w.alive = false;
	keeper_postmaster_gone(&k, w.now);
	assert_int_equal(w.fenced, 1);
}

static void
fence_off_never_fences(void **state)
{
	(void)state;
	conf.fence = false;
	configure();
	grant_at(w.now);
	arm_pid(PID, false);
	assert_false(w.last.fence_armed);
	pass(100 * S);
	assert_int_equal(w.quits, 0);
	conf.fence = true;
	configure();
	grant_at(w.now);
	arm_pid(PID, false);
	conf.fence = false;
	configure();
	pass(100 * S);
	assert_int_equal(w.quits, 0);
}

static void
lead_suits_the_ttl(void **state)
{
	static const struct {
		int ttl, loop_wait, margin;
		int64_t lead_ms;
	} cases[] = { { 30, 10, 5, 5000 }, { 20, 5, 5, 5000 },
		{ 20, 14, 5, 3000 }, { 60, 10, -1, 15000 }, { 8, 2, 5, 2000 },
		{ 4, 4, 5, 500 }, { 30, 10, 0, 500 }, { 3600, 10, 60, 60000 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct msg_wd_settings m = { .ttl = cases[i].ttl,
			.loop_wait = cases[i].loop_wait };

		k.conf.safety_margin = cases[i].margin;
		keeper_settings(&k, 0, &m, w.now);
		assert_true(keeper_safety(&k) == cases[i].lead_ms * NS_PER_MS);
	}
}

/* ---- the master goes ---- */

static void
without_the_master_it_stays_until_the_lease_ends(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	pass(3 * S);
	keeper_master_lost(&k, w.now);
	assert_int_equal(w.exits, 0);
	pass(12 * S - 1);
	assert_int_equal(w.exits, 0);
	assert_int_equal(w.quits, 0);
	pass(10 * S);
	assert_int_equal(w.quits, 1);
	assert_int_equal(w.kills, 1);
	assert_int_equal(w.exits, 1);
}

static void
without_the_master_and_unarmed_it_goes(void **state)
{
	(void)state;
	grant_at(w.now);
	keeper_master_lost(&k, w.now);
	assert_int_equal(w.exits, 1);
	assert_int_equal(w.quits, 0);
}

static void
a_new_keeper_relieves_an_orphan(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	keeper_master_lost(&k, w.now);
	pass(5 * S);
	assert_int_equal(w.exits, 0);
	w.superseded = true;
	pass(S + 1);
	assert_int_equal(w.exits, 1);
	assert_int_equal(w.quits, 0);
}

static void
looks_for_a_new_keeper_before_it_fences(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	keeper_master_lost(&k, w.now);
	w.superseded = true;
	sleep_until(w.now + 100 * S);
	assert_int_equal(w.exits, 1);
	assert_int_equal(w.quits, 0);
}

static void
an_orphan_goes_with_the_postmaster(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	keeper_master_lost(&k, w.now);
	keeper_postmaster_gone(&k, w.now);
	assert_int_equal(w.exits, 1);
}

static void
losing_the_master_during_a_fence_completes_it(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	pass(16 * S);
	keeper_master_lost(&k, w.now);
	w.superseded = true; /* too late: the postmaster was told to quit */
	pass(10 * S);
	assert_int_equal(w.kills, 1);
	assert_int_equal(w.exits, 1);
}

static void
stops_on_request_only_when_disarmed(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, false);
	keeper_shutdown(&k, w.now);
	assert_int_equal(w.exits, 0);
	pass(30 * S);
	assert_int_equal(w.quits, 1);
	assert_int_equal(w.exits, 1);
	fresh(NULL);
	keeper_shutdown(&k, w.now);
	assert_int_equal(w.exits, 1);
	assert_int_equal(w.exit_code, 0);
}

/*
 * Random walks against the one rule that matters: whatever happens in
 * whatever order, an armed postmaster does not outlive its lease, and one
 * whose lease is fresh, or that is disarmed, is never touched.
 */
static void
random_orders_keep_the_rule(void **state)
{
	(void)state;
	srandom(1);
	for (int run = 0; run < 3000; run++) {
		bool armed = false;
		int64_t end = 0;

		fresh(NULL);
		for (int i = 0; i < 60; i++) {
			int64_t sent = w.now - random() % (8 * S);
			bool fencing = k.stage >= FENCE_QUIT;
			int quits = w.quits;

			switch (random() % 6) {
			case 0:
				if (sent + TTL * S > end && k.sent <= sent)
					end = sent + TTL * S;
				grant_at(sent);
				break;
			case 1:
				if (!fencing) {
					w.alive = true;
					arm_pid(PID, false);
					armed = true;
					end = k.lease_end;
				}
				break;
			case 2:
				if (!fencing) {
					disarm(1);
					armed = false;
					end = 0;
				}
				break;
			default:
				pass(random() % (6 * S));
				break;
			}
			if (w.quits > quits &&
			    (!armed || w.quit_at < end - 5 * S))
				fail_msg(
				    "run %d: fenced without a reason", run);
			if (armed && w.alive && w.now > end + S &&
			    k.stage < FENCE_KILL)
				fail_msg("run %d: outlived its lease", run);
			if (k.stage == FENCE_IDLE)
				armed = false;
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(fences_at_the_lead_and_kills_at_the_end),
		T(no_kill_when_it_quits),
		T(kills_again_what_does_not_die),
		T(grants_put_it_off),
		T(a_grant_counts_from_when_it_was_sent),
		T(an_old_grant_takes_nothing_back),
		T(a_late_grant_does_not_call_a_fence_back),
		T(a_grant_in_the_queue_counts_when_woken_late),
		T(woken_after_the_end_it_kills_at_once),
		T(disarmed_it_stays_quiet),
		T(disarm_does_not_stop_a_fence),
		T(a_new_postmaster_is_not_fenced_by_an_old_lease),
		T(armed_without_any_grant_ends_after_ttl),
		T(rearming_moves_the_target_not_the_lease),
		T(arming_a_dying_postmaster_goes_on_with_it),
		T(its_own_end_disarms),
		T(its_end_during_the_fence_completes_it),
		T(fence_off_never_fences),
		T(lead_suits_the_ttl),
		T(without_the_master_it_stays_until_the_lease_ends),
		T(without_the_master_and_unarmed_it_goes),
		T(a_new_keeper_relieves_an_orphan),
		T(looks_for_a_new_keeper_before_it_fences),
		T(an_orphan_goes_with_the_postmaster),
		T(losing_the_master_during_a_fence_completes_it),
		T(stops_on_request_only_when_disarmed),
		T(random_orders_keep_the_rule),
	};

	log_configure(&(struct log_settings){ .level = 100 });
	return cmocka_run_group_tests(tests, NULL, NULL);
}
