/*
 * keeper.h: the lease keeper as a state machine (design 5, 9; spec/ha.md 20).
 *
 * No clock and no I/O but through struct keeper_ops and the device driver, so
 * that tests drive it with a fake clock.  All times are CLOCK_BOOTTIME ns.
 *
 * The fence.  ARM names a postmaster, GRANT moves the end of the lease.  At
 * lease_end - safety an armed keeper has the postmaster quit (immediate
 * shutdown), at lease_end it kills it and its children, until none is left.
 *
 *	safety = min(watchdog.safety_margin (-1: ttl/2), ttl/4,
 *	    (ttl - loop_wait)/2), at least 0.5 s
 *
 * The second and third bound keep the fence behind the controller's own
 * demotion: its requests to the store end a third of the ttl before the lease
 * does (dcs_timeout() of the core).  Once it has begun a fence is carried
 * through: a later grant cannot call the SIGQUIT back.
 */
#ifndef WATCHDOG_KEEPER_H
#define WATCHDOG_KEEPER_H

#include "../ipc/messages.h"
#include "device.h"

enum device_driver_kind {
	DRIVER_NONE = 0, /* `driver` names none that exists here */
	DRIVER_LINUX = 1,
	DRIVER_TESTING = 2
};

struct keeper_config {
	enum watchdog_mode mode;
	enum device_driver_kind driver;
	int32_t safety_margin; /* s, -1 = ttl / 2 */
	bool fence;
	char device[PATH_SIZE];
};

struct keeper_ops {
	/* Ask the master for the device; keeper_device_opened() follows. */
	void (*open_device)(void *arg, const char *path);
	/* May the device be there?  (path exists) */
	bool (*device_exists)(void *arg, const char *path);
	void (*close_fd)(void *arg, int fd);
	/* The postmaster of the last ARM.  `kill` returns how many processes
	 * it signalled.  `alive`: the postmaster or a child that was seen. */
	void (*fence_quit)(void *arg);
	int (*fence_kill)(void *arg);
	bool (*fence_alive)(void *arg);
	/* Another keeper holds this postmaster now (after loss of the master).
	 */
	bool (*superseded)(void *arg);
	/* To the controller; id 0: unasked. */
	void (*state)(void *arg, uint64_t id, const struct msg_wd_state *);
	/* The moment to tell the master how things are. */
	void (*changed)(void *arg);
	/* The process is to end. */
	void (*exit)(void *arg, int code);
};

enum fence_stage { FENCE_IDLE, FENCE_ARMED, FENCE_QUIT, FENCE_KILL };
enum device_stage {
	DEVICE_NONE,
	DEVICE_CLOSED,
	DEVICE_OPENING,
	DEVICE_RUNNING
};

#define KEEPER_WAITERS 4

struct keeper {
	const struct keeper_ops *ops;
	void *arg;
	struct keeper_config conf, next_conf;
	bool next_pending; /* next_conf waits for the next grant */
	bool configured;
	int32_t ttl, loop_wait; /* s */

	/* lease and fence */
	enum fence_stage stage;
	int32_t pid;
	int64_t sent, lease_end, lease_ttl; /* of the newest grant; 0 = none;
					       lease_end is set when armed */
	int64_t kill_at, check_at;
	uint32_t fences;
	uint64_t grants;
	bool orphan; /* the master is gone */
	bool done;

	/* device */
	enum device_stage device;
	const struct device_driver *driver;
	struct device_caps caps;
	int fd;
	int timeout;	    /* s, as the device has it */
	int want;	    /* T_w that was asked of it */
	bool device_failed; /* the last activation */
	int64_t open_deadline;
	uint64_t waiters[KEEPER_WAITERS]; /* ARMs to answer when opened */
	int nwaiters;
	char text[TEXT_SIZE];
};

void keeper_init(struct keeper *, const struct keeper_ops *, void *arg);
/* First configuration and reloads. ttl, loop_wait: s, when not yet known by
 * WD_SETTINGS.  NULL, or why it is refused (spec/config.md 1.3). */
const char *keeper_configure(
    struct keeper *, const struct keeper_config *, int32_t ttl, int64_t now);
void keeper_settings(
    struct keeper *, uint64_t id, const struct msg_wd_settings *, int64_t now);
/* The caller has made pid the target of the fence_ calls. deadline: of the
 * request, 0 = none. */
void keeper_arm(struct keeper *, uint64_t id, const struct msg_wd_arm *,
    int64_t deadline, int64_t now);
void keeper_grant(
    struct keeper *, uint64_t id, const struct msg_wd_grant *, int64_t now);
void keeper_disarm(
    struct keeper *, uint64_t id, const struct msg_wd_disarm *, int64_t now);
/* Answer to open_device: fd, or -1 and an errno.  Takes fd over. */
void keeper_device_opened(struct keeper *, int fd, int error, int64_t now);
/* The postmaster has ended (pidfd). */
void keeper_postmaster_gone(struct keeper *, int64_t now);
/* Would an ARM for that pid continue a fence that is under way? */
bool keeper_fencing(const struct keeper *, int32_t pid);
void keeper_master_lost(struct keeper *, int64_t now);
/* An orderly end was asked for. */
void keeper_shutdown(struct keeper *, int64_t now);
/* Do what is due.  Call after all messages that have arrived were handed in,
 * so that a grant in the queue counts although this process was late. */
void keeper_tick(struct keeper *, int64_t now);
/* When keeper_tick() has to be called next; INT64_MAX: never. */
int64_t keeper_next(const struct keeper *);
void keeper_state(const struct keeper *, struct msg_wd_state *);
/* Lead of the SIGQUIT over the end of the lease, ns. */
int64_t keeper_safety(const struct keeper *);

/* keeper_device.c: the device half, called by keeper.c only. */
void device_reset(struct keeper *);
/* Start activation for an ARM; true when the answer must wait. */
bool device_activate(struct keeper *, int64_t deadline, int64_t now);
void device_opened(struct keeper *, int fd, int error);
void device_granted(struct keeper *, int64_t sent, int64_t now);
void device_disarm(struct keeper *);
/* Closed without disabling it: it fires unless another keeper takes over. */
void device_abandon(struct keeper *);
void device_expired(struct keeper *, int64_t now);
bool device_healthy(const struct keeper *);
int device_wanted_timeout(const struct keeper *);

#endif
