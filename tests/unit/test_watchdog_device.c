/*
 * test_watchdog_device.c: the lease keeper and its device on a fake clock.
 *
 * The device itself and when it is fed: spec/ha.md 20.2, 20.4.
 */
#include "keeper_driver.h"

/* ---- device ---- */

static void
open_device(int fd, int error)
{
	keeper_device_opened(&k, fd, error, w.now);
}

static void
the_answer_waits_for_the_device(void **state)
{
	(void)state;
	arm_pid(PID, true);
	assert_int_equal(w.opens, 1);
	assert_int_equal(w.states, 0);
	assert_true(k.stage == FENCE_ARMED); /* the fence does not wait */
	arm_pid(PID, true);
	assert_int_equal(w.opens, 1);
	open_device(50, 0);
	assert_int_equal(w.states, 2);
	assert_true(w.last.device_running && !w.last.activation_failed);
	assert_int_equal(w.last.device_timeout, TTL - 5);
	arm_pid(PID, true);
	assert_int_equal(w.opens, 1);
	assert_int_equal(w.states, 3);
}

static void
pinged_once_a_grant_and_only_when_fresh(void **state)
{
	(void)state;
	arm_pid(PID, true);
	open_device(50, 0);
	assert_int_equal(dev.pings, 0);
	grant_at(w.now);
	assert_int_equal(dev.pings, 1);
	pass(5 * S);
	assert_int_equal(dev.pings, 1);
	grant_at(w.now - 5 * S);
	assert_int_equal(dev.pings, 2);
	pass(S);
	grant_at(w.now - 5 * S - 1);
	assert_int_equal(dev.pings, 2);
}

static void
a_missing_device_is_no_matter_unless_required(void **state)
{
	(void)state;
	arm_pid(PID, true);
	open_device(-1, ENOENT);
	assert_false(w.last.device_running || w.last.activation_failed);
	assert_true(w.last.healthy);
	arm_pid(PID, true); /* none: no further attempt */
	assert_int_equal(w.opens, 1);
	assert_false(w.last.activation_failed);
}

static void
required_and_missing_fails(void **state)
{
	(void)state;
	conf.mode = WATCHDOG_REQUIRED;
	configure();
	assert_true(device_healthy(&k));
	arm_pid(PID, true);
	open_device(-1, ENOENT);
	assert_true(w.last.activation_failed);
	assert_false(w.last.healthy);
	arm_pid(PID, true);
	assert_true(w.last.activation_failed);
	fresh(NULL);
	conf.mode = WATCHDOG_REQUIRED;
	conf.driver = DRIVER_NONE;
	assert_non_null(keeper_configure(&k, &conf, TTL, w.now));
}

static void
required_and_too_slow_fails(void **state)
{
	(void)state;
	conf.mode = WATCHDOG_REQUIRED;
	configure();
	dev.fixed = true;
	arm_pid(PID, true);
	open_device(50, 0);
	assert_true(w.last.activation_failed);
}

static void
a_device_that_is_too_fast_is_closed(void **state)
{
	(void)state;
	dev.fixed = true;
	dev.timeout = 4; /* loop_wait is 5 */
	arm_pid(PID, true);
	open_device(50, 0);
	assert_false(w.last.device_running);
	assert_int_equal(dev.disables, 1);
	assert_int_equal(w.closes, 1);
}

static void
no_device_when_loops_are_too_long(void **state)
{
	struct msg_wd_settings m = { .ttl = TTL, .loop_wait = 16 };

	(void)state;
	keeper_settings(&k, 0, &m, w.now);
	arm_pid(PID, true);
	assert_int_equal(w.opens, 0);
	assert_false(w.last.device_running);
}

static void
disarming_disables_the_device(void **state)
{
	(void)state;
	arm_pid(PID, true);
	open_device(50, 0);
	disarm(1);
	assert_int_equal(dev.disables, 1);
	assert_int_equal(w.closes, 1);
	assert_false(w.last.device_running);
	arm_pid(PID, true);
	assert_int_equal(w.opens, 2);
}

static void
disarmed_while_opening_it_is_disabled_when_it_comes(void **state)
{
	(void)state;
	arm_pid(PID, true);
	disarm(1);
	assert_int_equal(w.states, 2); /* both are answered */
	open_device(50, 0);
	assert_int_equal(dev.disables, 1);
	assert_int_equal(w.closes, 1);
	assert_int_equal(dev.sets, 0);
}

static void
a_master_that_hangs_does_not_hold_the_answer(void **state)
{
	(void)state;
	arm_pid(PID, true);
	pass(2 * S);
	assert_int_equal(w.states, 1);
	assert_true(w.last.fence_armed);
	assert_false(w.last.device_running || w.last.activation_failed);
	arm_pid(PID, true); /* it says nothing about the device: try again */
	assert_int_equal(w.opens, 2);
}

static void
a_device_without_magic_close_is_pinged_and_left(void **state)
{
	(void)state;
	dev.magic = false;
	arm_pid(PID, true);
	open_device(50, 0);
	disarm(0);
	assert_int_equal(dev.pings, 1);
	assert_int_equal(dev.disables, 0);
	assert_int_equal(w.closes, 1);
}

static void
a_successful_fence_stops_the_device(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, true);
	open_device(50, 0);
	pass(20 * S);
	assert_int_equal(dev.disables, 0);
	pass(S);
	assert_int_equal(dev.disables, 1);
}

static void
an_orphan_leaves_the_device_running(void **state)
{
	(void)state;
	grant_at(w.now);
	arm_pid(PID, true);
	open_device(50, 0);
	keeper_master_lost(&k, w.now);
	assert_int_equal(w.closes, 1);
	assert_int_equal(dev.disables, 0);
}

static void
a_new_ttl_is_told_at_the_next_grant(void **state)
{
	struct msg_wd_settings m = { .ttl = 40, .loop_wait = 10 };

	(void)state;
	arm_pid(PID, true);
	open_device(50, 0);
	keeper_settings(&k, 0, &m, w.now);
	assert_int_equal(dev.timeout, 15);
	grant_at(w.now);
	assert_int_equal(dev.timeout, 35);
	grant_at(w.now);
	assert_int_equal(dev.sets, 2);
}

static void
switching_off_is_at_once_other_changes_wait(void **state)
{
	(void)state;
	arm_pid(PID, true);
	open_device(50, 0);
	conf.mode = WATCHDOG_REQUIRED;
	configure();
	assert_int_equal(k.conf.mode, WATCHDOG_AUTOMATIC);
	grant_at(w.now);
	assert_int_equal(k.conf.mode, WATCHDOG_REQUIRED);
	conf.mode = WATCHDOG_OFF;
	configure();
	assert_int_equal(dev.disables, 1);
	arm_pid(PID, true);
	assert_int_equal(w.opens, 1);
	assert_false(w.last.activation_failed);
	conf.mode = WATCHDOG_AUTOMATIC;
	configure();
	arm_pid(PID, true);
	assert_int_equal(w.opens, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_answer_waits_for_the_device),
		T(pinged_once_a_grant_and_only_when_fresh),
		T(a_missing_device_is_no_matter_unless_required),
		T(required_and_missing_fails),
		T(required_and_too_slow_fails),
		T(a_device_that_is_too_fast_is_closed),
		T(no_device_when_loops_are_too_long),
		T(disarming_disables_the_device),
		T(disarmed_while_opening_it_is_disabled_when_it_comes),
		T(a_master_that_hangs_does_not_hold_the_answer),
		T(a_device_without_magic_close_is_pinged_and_left),
		T(a_successful_fence_stops_the_device),
		T(an_orphan_leaves_the_device_running),
		T(a_new_ttl_is_told_at_the_next_grant),
		T(switching_off_is_at_once_other_changes_wait),
	};

	log_configure(&(struct log_settings){ .level = 100 });
	return cmocka_run_group_tests(tests, NULL, NULL);
}
