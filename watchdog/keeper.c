/*
 * keeper.c: lease, fence and answers; the device is in keeper_device.c.
 */
#include <stdio.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "keeper.h"

#define LEAST_SAFETY (NS_PER_SEC / 2)
#define CHECK_EVERY (100 * NS_PER_MS) /* is the postmaster gone? */
#define KILL_EVERY NS_PER_SEC	      /* again, for what hangs in the kernel */
#define ORPHAN_EVERY NS_PER_SEC	      /* has a new keeper taken over? */
#define FUTURE_SLACK NS_PER_SEC

/* Seconds with milliseconds, for people and tests that compare logs. */
struct stamp {
	char text[32];
};

static struct stamp
stamp(int64_t ns)
{
	struct stamp s;

	(void)snprintf(s.text, sizeof(s.text), "%lld.%03d",
	    (long long)(ns / NS_PER_SEC), (int)(ns % NS_PER_SEC / NS_PER_MS));
	return s;
}

void
keeper_init(struct keeper *k, const struct keeper_ops *ops, void *arg)
{
	memset(k, 0, sizeof(*k));
	k->ops = ops;
	k->arg = arg;
	k->fd = -1;
	k->ttl = 30;
	k->loop_wait = 10;
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t
keeper_safety(const struct keeper *k)
{
	int64_t ttl = k->lease_ttl > 0 ? k->lease_ttl : k->ttl * NS_PER_SEC;
	int64_t safety = k->conf.safety_margin < 0 ?
	    ttl / 2 :
	    k->conf.safety_margin * NS_PER_SEC;

	safety = least(safety, ttl / 4);
	safety = least(safety, (ttl - k->loop_wait * NS_PER_SEC) / 2);
	return safety > LEAST_SAFETY ? safety : LEAST_SAFETY;
}

void
keeper_state(const struct keeper *k, struct msg_wd_state *m)
{
	memset(m, 0, sizeof(*m));
	m->fence_armed = k->stage != FENCE_IDLE;
	m->mode = k->conf.mode;
	m->device_running = k->device == DEVICE_RUNNING;
	m->healthy = device_healthy(k);
	m->device_timeout = k->device == DEVICE_RUNNING ? k->timeout : 0;
	m->activation_failed = k->device_failed;
	m->lease_end_ns = k->lease_end;
	(void)snprintf(m->text, sizeof(m->text), "%s", k->text);
}

/* Unasked, and the answer to a request (id 0: to a message that is none). */
static void
tell(struct keeper *k, uint64_t id)
{
	struct msg_wd_state m;

	keeper_state(k, &m);
	k->ops->state(k->arg, id, &m);
	k->ops->changed(k->arg);
}

static void
answer(struct keeper *k, uint64_t id)
{
	if (id != 0)
		tell(k, id);
	else
		k->ops->changed(k->arg);
}

static void
answer_waiters(struct keeper *k)
{
	for (int i = 0; i < k->nwaiters; i++)
		answer(k, k->waiters[i]);
	k->nwaiters = 0;
}

static void
finish(struct keeper *k, int code)
{
	if (k->done)
		return;
	k->done = true;
	k->ops->exit(k->arg, code);
}

/* ---- messages ---- */

const char *
keeper_configure(
    struct keeper *k, const struct keeper_config *c, int32_t ttl, int64_t now)
{
	bool other = !k->configured || c->driver != k->conf.driver ||
	    strcmp(c->device, k->conf.device) != 0;

	(void)now;
	if (c->mode == WATCHDOG_REQUIRED && c->driver == DRIVER_NONE)
		return "Configuration requires a watchdog, but watchdog is not "
		       "supported on this platform.";
	if (!k->configured && ttl > 0)
		k->ttl = ttl;
	k->conf.fence = c->fence;
	k->conf.safety_margin = c->safety_margin;
	if (!c->fence && k->stage == FENCE_ARMED)
		k->stage = FENCE_IDLE;
	if (c->mode == WATCHDOG_OFF) {
		device_disarm(k); /* at once, also when active */
		k->conf = *c;
		k->device = DEVICE_NONE;
		k->next_pending = false;
	} else if (k->device == DEVICE_RUNNING || k->device == DEVICE_OPENING) {
		k->next_conf = *c;
		k->next_pending = true;
	} else {
		bool was_off = k->conf.mode == WATCHDOG_OFF;

		k->conf = *c;
		if (other || was_off)
			device_reset(k);
	}
	if (k->configured)
		tell(k, 0);
	k->configured = true;
	return NULL;
}

void
keeper_settings(
    struct keeper *k, uint64_t id, const struct msg_wd_settings *m, int64_t now)
{
	(void)now;
	k->ttl = m->ttl;
	k->loop_wait = m->loop_wait;
	/* also unasked: whether the node may race depends on it */
	if (k->conf.mode == WATCHDOG_REQUIRED)
		tell(k, id);
	else
		answer(k, id);
}

bool
keeper_fencing(const struct keeper *k, int32_t pid)
{
	return k->pid == pid && k->stage >= FENCE_QUIT;
}

/*
 * ARM comes from a controller that holds the lock, and the grant that says so
 * may be right behind it.  So a lease that is over does not fence a postmaster
 * that was just named; but if no grant ever comes, the longest lease that
 * there can be does.
 */
static void
provisional_lease(struct keeper *k, int64_t now)
{
	if (k->lease_end - keeper_safety(k) > now)
		return;
	k->lease_end = now + k->ttl * NS_PER_SEC;
	k->lease_ttl = k->ttl * NS_PER_SEC;
}

void
keeper_arm(struct keeper *k, uint64_t id, const struct msg_wd_arm *m,
    int64_t deadline, int64_t now)
{
	if (k->orphan || k->done)
		return;
	if (!keeper_fencing(k, m->postmaster_pid)) {
		k->pid = m->postmaster_pid;
		k->stage = k->conf.fence ? FENCE_ARMED : FENCE_IDLE;
		provisional_lease(k, now);
	}
	if (k->stage == FENCE_ARMED)
		log_debug("fence: armed for postmaster %d", (int)k->pid);
	k->device_failed = false;
	if (m->activate_device && device_activate(k, deadline, now)) {
		if (k->nwaiters < KEEPER_WAITERS) {
			k->waiters[k->nwaiters++] = id;
			return;
		}
		k->device_failed = k->conf.mode == WATCHDOG_REQUIRED;
	}
	answer(k, id);
}

void
keeper_grant(
    struct keeper *k, uint64_t id, const struct msg_wd_grant *m, int64_t now)
{
	if (m->sent_ns > now + FUTURE_SLACK)
		log_error("ignoring a lease that starts in the future");
	else if (m->sent_ns >= k->sent) {
		k->sent = m->sent_ns;
		k->lease_end = m->lease_end_ns;
		k->lease_ttl = m->ttl_ns;
		k->grants++;
		device_granted(k, m->sent_ns, now);
	}
	answer(k, id);
}

void
keeper_disarm(
    struct keeper *k, uint64_t id, const struct msg_wd_disarm *m, int64_t now)
{
	static const char *const reasons[] = { "demotion", "pause",
		"not primary", "shutdown" };

	(void)now;
	if (k->stage == FENCE_ARMED)
		log_debug("fence: disarmed: %s",
		    m->reason < 4 ? reasons[m->reason] : "?");
	/* What has begun goes on: the postmaster was told to quit. */
	if (k->stage == FENCE_ARMED)
		k->stage = FENCE_IDLE;
	k->sent = k->lease_end = k->lease_ttl = 0;
	k->device_failed = false;
	device_disarm(k);
	answer_waiters(k);
	answer(k, id);
}

void
keeper_device_opened(struct keeper *k, int fd, int error, int64_t now)
{
	(void)now;
	device_opened(k, fd, error);
	answer_waiters(k);
}

/* ---- the fence ---- */

static void
fence_over(struct keeper *k, int64_t now)
{
	struct msg_wd_state m;

	log_warn("fence: postmaster %d and its children have ended at %s",
	    (int)k->pid, stamp(now).text);
	k->stage = FENCE_IDLE;
	k->fences++;
	/* Nothing can commit here any more: no reason to reset the machine. */
	device_disarm(k);
	answer_waiters(k);
	k->sent = k->lease_end = k->lease_ttl = 0;
	keeper_state(k, &m);
	m.fenced = 1;
	k->ops->state(k->arg, 0, &m);
	k->ops->changed(k->arg);
	if (k->orphan)
		finish(k, 0);
}

static void
fence_kill(struct keeper *k, int64_t now)
{
	int n = k->ops->fence_kill(k->arg);

	if (k->stage != FENCE_KILL)
		log_warn("fence: SIGKILL sent to postmaster %d and its "
			 "children (%d processes) at %s",
		    (int)k->pid, n, stamp(now).text);
	k->stage = FENCE_KILL;
	k->kill_at = now + KILL_EVERY;
}

static void
fence_quit(struct keeper *k, int64_t now)
{
	k->ops->fence_quit(k->arg);
	log_warn("fence: lease ended (due at %s, safety %s s); SIGQUIT sent to "
		 "postmaster %d at %s",
	    stamp(k->lease_end).text, stamp(keeper_safety(k)).text, (int)k->pid,
	    stamp(now).text);
	k->stage = FENCE_QUIT;
	k->kill_at = k->lease_end;
}

static int64_t
quit_at(const struct keeper *k)
{
	return k->lease_end - keeper_safety(k);
}

static void
fence_tick(struct keeper *k, int64_t now)
{
	if (k->stage == FENCE_ARMED) {
		if (now < quit_at(k))
			return;
		fence_quit(k, now);
		k->check_at = now + CHECK_EVERY;
		if (now < k->kill_at)
			return;
	}
	if (k->stage == FENCE_IDLE)
		return;
	if (!k->ops->fence_alive(k->arg)) {
		fence_over(k, now);
		return;
	}
	if (now >= k->kill_at)
		fence_kill(k, now);
	k->check_at = now + CHECK_EVERY;
}

void
keeper_postmaster_gone(struct keeper *k, int64_t now)
{
	if (k->stage == FENCE_ARMED) {
		log_debug(
		    "fence: postmaster %d has ended by itself", (int)k->pid);
		k->stage = FENCE_IDLE;
		tell(k, 0);
		if (k->orphan)
			finish(k, 0);
	} else if (k->stage >= FENCE_QUIT)
		fence_tick(k, now);
}

/* ---- the end ---- */

void
keeper_master_lost(struct keeper *k, int64_t now)
{
	(void)now;
	if (k->orphan || k->done)
		return;
	k->orphan = true;
	/* A new keeper must be able to open it; until then it runs out. */
	device_abandon(k);
	if (k->stage == FENCE_IDLE) {
		finish(k, 0);
		return;
	}
	log_warn(
	    "fence: without a master now, staying until the lease ends at %s",
	    stamp(k->lease_end).text);
	k->check_at = now + ORPHAN_EVERY;
}

void
keeper_shutdown(struct keeper *k, int64_t now)
{
	if (k->stage != FENCE_IDLE) {
		log_warn("fence: asked to stop while armed");
		keeper_master_lost(k, now);
		return;
	}
	device_disarm(k);
	finish(k, 0);
}

static void
orphan_tick(struct keeper *k, int64_t now)
{
	if (k->stage != FENCE_ARMED || (now < k->check_at && now < quit_at(k)))
		return;
	k->check_at = now + ORPHAN_EVERY;
	if (!k->ops->superseded(k->arg))
		return;
	log_info("fence: a new keeper watches postmaster %d", (int)k->pid);
	k->stage = FENCE_IDLE;
	finish(k, 0);
}

void
keeper_tick(struct keeper *k, int64_t now)
{
	if (k->done)
		return;
	if (k->device == DEVICE_OPENING && now >= k->open_deadline) {
		device_expired(k, now);
		answer_waiters(k);
	}
	if (k->orphan)
		orphan_tick(k, now);
	if (!k->done)
		fence_tick(k, now);
}

int64_t
keeper_next(const struct keeper *k)
{
	int64_t next = INT64_MAX;

	if (k->device == DEVICE_OPENING)
		next = k->open_deadline;
	if (k->stage == FENCE_ARMED)
		next = least(next, quit_at(k));
	if (k->stage >= FENCE_QUIT)
		next = least(next, least(k->check_at, k->kill_at));
	if (k->stage == FENCE_ARMED && k->orphan)
		next = least(next, k->check_at);
	return next;
}
