/*
 * test_watchdog.c: the lease keeper on a fake clock, with a fake device and
 * fake processes: every ordering of grants, arming, expiry and loss.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../ipc/clock.h"
#include "../../watchdog/keeper.h"

#define S NS_PER_SEC
#define TTL 20
#define PID 4711

/* What the keeper did to its surroundings. */
static struct world {
	int64_t now;
	int quits, kills, opens, closes, exits, exit_code;
	int64_t quit_at, kill_at;
	bool alive, superseded, device_exists;
	bool dies_of_quit, dies_of_kill;
	struct msg_wd_state last; /* newest state told */
	uint64_t last_id;
	int states, fenced;
} w;
static struct keeper k;

static void
op_open(void *arg, const char *path)
{
	(void)arg;
	assert_string_equal(path, "/dev/watchdog");
	w.opens++;
}

static bool
op_exists(void *arg, const char *path)
{
	(void)arg;
	(void)path;
	return w.device_exists;
}

static void
op_close(void *arg, int fd)
{
	(void)arg;
	assert_int_not_equal(fd, -1);
	w.closes++;
}

static void
op_quit(void *arg)
{
	(void)arg;
	w.quits++;
	w.quit_at = w.now;
	if (w.dies_of_quit)
		w.alive = false;
}

static int
op_kill(void *arg)
{
	(void)arg;
	w.kills++;
	w.kill_at = w.now;
	if (w.dies_of_kill)
		w.alive = false;
	return 1;
}

static bool
op_alive(void *arg)
{
	(void)arg;
	return w.alive;
}

static bool
op_superseded(void *arg)
{
	(void)arg;
	return w.superseded;
}

static void
op_state(void *arg, uint64_t id, const struct msg_wd_state *m)
{
	(void)arg;
	w.last = *m;
	w.last_id = id;
	w.states++;
	w.fenced += (int)m->fenced;
	assert_null(msg_check(MSG_WD_STATE, m, NULL, 0));
}

static void
op_changed(void *arg)
{
	(void)arg;
}

static void
op_exit(void *arg, int code)
{
	(void)arg;
	w.exits++;
	w.exit_code = code;
}

static const struct keeper_ops ops = { op_open, op_exists, op_close, op_quit,
	op_kill, op_alive, op_superseded, op_state, op_changed, op_exit };

/* ---- fake device: the real drivers speak to a descriptor ---- */

static struct fake_device {
	bool fails, fixed, magic;
	int timeout, pings, disables, sets;
} dev;

static int
dev_support(int fd, struct device_caps *c)
{
	(void)fd;
	*c = (struct device_caps){ .set_timeout = !dev.fixed,
		.disable = dev.magic,
		.identity = "Fake" };
	errno = ENOTTY;
	return dev.fails ? -1 : 0;
}

static int
dev_set(int fd, int s)
{
	(void)fd;
	dev.sets++;
	dev.timeout = s;
	return 0;
}

static int
dev_get(int fd, int *s)
{
	(void)fd;
	*s = dev.timeout;
	return 0;
}

static int
dev_ping(int fd)
{
	(void)fd;
	dev.pings++;
	return 0;
}

static int
dev_disable(int fd)
{
	(void)fd;
	dev.disables++;
	return 0;
}

static const struct device_driver fake = { dev_support, dev_set, dev_get,
	dev_ping, dev_disable };

/* ---- acts of the surroundings ---- */

static struct keeper_config conf;

static void
configure(void)
{
	assert_null(keeper_configure(&k, &conf, TTL, w.now));
	k.driver = &fake;
}

static int
fresh(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	memset(&dev, 0, sizeof(dev));
	memset(&conf, 0, sizeof(conf));
	w.now = 1000 * S;
	w.alive = w.dies_of_kill = w.device_exists = true;
	dev.magic = true;
	dev.timeout = 60;
	conf.mode = WATCHDOG_AUTOMATIC;
	conf.driver = DRIVER_LINUX;
	conf.safety_margin = 5;
	conf.fence = true;
	strcpy(conf.device, "/dev/watchdog");
	keeper_init(&k, &ops, NULL);
	configure();
	struct msg_wd_settings m = { .ttl = TTL, .loop_wait = 5 };
	keeper_settings(&k, 1, &m, w.now);
	assert_int_equal(w.last_id, 1);
	w.states = 0;
	return 0;
}

static void
grant_at(int64_t sent)
{
	struct msg_wd_grant m = { .sent_ns = sent,
		.lease_end_ns = sent + TTL * S,
		.ttl_ns = TTL * S };

	keeper_grant(&k, 0, &m, w.now);
}

static void
arm_pid(int32_t pid, bool device)
{
	struct msg_wd_arm m = { .postmaster_pid = pid,
		.activate_device = device };

	keeper_arm(&k, 7, &m, w.now + 2 * S, w.now);
}

static void
disarm(uint32_t reason)
{
	struct msg_wd_disarm m = { .reason = reason };

	keeper_disarm(&k, 9, &m, w.now);
}

/* Let time pass, waking the keeper exactly when it wants to be woken. */
static void
pass(int64_t ns)
{
	int64_t until = w.now + ns, next;
	int turns = 0;

	while ((next = keeper_next(&k)) <= until && !w.exits) {
		assert_true(++turns < 10000);
		if (next > w.now)
			w.now = next;
		keeper_tick(&k, w.now);
		if (keeper_next(&k) <= w.now && !w.exits)
			fail_msg("the keeper wants to run again at once");
	}
	w.now = until;
}

/* The whole loop was late: nothing runs until then. */
static void
sleep_until(int64_t at)
{
	w.now = at;
	keeper_tick(&k, w.now);
}

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

#define T(f) cmocka_unit_test_setup(f, fresh)

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
		T(random_orders_keep_the_rule),
	};

	log_configure(&(struct log_settings){ .level = 100 });
	return cmocka_run_group_tests(tests, NULL, NULL);
}
