/*
 * keeper_driver.h: a fake clock, a fake device and fake processes around the
 * lease keeper, for its unit tests.
 */
#ifndef TESTS_UNIT_KEEPER_DRIVER_H
#define TESTS_UNIT_KEEPER_DRIVER_H

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

static inline void
op_open(void *arg, const char *path)
{
	(void)arg;
	assert_string_equal(path, "/dev/watchdog");
	w.opens++;
}

static inline bool
op_exists(void *arg, const char *path)
{
	(void)arg;
	(void)path;
	return w.device_exists;
}

static inline void
op_close(void *arg, int fd)
{
	(void)arg;
	assert_int_not_equal(fd, -1);
	w.closes++;
}

static inline void
op_quit(void *arg)
{
	(void)arg;
	w.quits++;
	w.quit_at = w.now;
	if (w.dies_of_quit)
		w.alive = false;
}

static inline int
op_kill(void *arg)
{
	(void)arg;
	w.kills++;
	w.kill_at = w.now;
	if (w.dies_of_kill)
		w.alive = false;
	return 1;
}

static inline bool
op_alive(void *arg)
{
	(void)arg;
	return w.alive;
}

static inline bool
op_superseded(void *arg)
{
	(void)arg;
	return w.superseded;
}

static inline void
op_state(void *arg, uint64_t id, const struct msg_wd_state *m)
{
	(void)arg;
	w.last = *m;
	w.last_id = id;
	w.states++;
	w.fenced += (int)m->fenced;
	assert_null(msg_check(MSG_WD_STATE, m, NULL, 0));
}

static inline void
op_changed(void *arg)
{
	(void)arg;
}

static inline void
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

static inline int
dev_support(int fd, struct device_caps *c)
{
	(void)fd;
	*c = (struct device_caps){ .set_timeout = !dev.fixed,
		.disable = dev.magic,
		.identity = "Fake" };
	errno = ENOTTY;
	return dev.fails ? -1 : 0;
}

static inline int
dev_set(int fd, int s)
{
	(void)fd;
	dev.sets++;
	dev.timeout = s;
	return 0;
}

static inline int
dev_get(int fd, int *s)
{
	(void)fd;
	*s = dev.timeout;
	return 0;
}

static inline int
dev_ping(int fd)
{
	(void)fd;
	dev.pings++;
	return 0;
}

static inline int
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

static inline void
configure(void)
{
	assert_null(keeper_configure(&k, &conf, TTL, w.now));
	k.driver = &fake;
}

static inline int
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

static inline void
grant_at(int64_t sent)
{
	struct msg_wd_grant m = { .sent_ns = sent,
		.lease_end_ns = sent + TTL * S,
		.ttl_ns = TTL * S };

	keeper_grant(&k, 0, &m, w.now);
}

static inline void
arm_pid(int32_t pid, bool device)
{
	struct msg_wd_arm m = { .postmaster_pid = pid,
		.activate_device = device };

	keeper_arm(&k, 7, &m, w.now + 2 * S, w.now);
}

static inline void
disarm(uint32_t reason)
{
	struct msg_wd_disarm m = { .reason = reason };

	keeper_disarm(&k, 9, &m, w.now);
}

/* Let time pass, waking the keeper exactly when it wants to be woken. */
static inline void
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
static inline void
sleep_until(int64_t at)
{
	w.now = at;
	keeper_tick(&k, w.now);
}

#define T(f) cmocka_unit_test_setup(f, fresh)

#endif
