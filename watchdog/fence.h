/*
 * fence.h: the processes that a fence ends: one postmaster and its children,
 * held by pidfds so that no reuse of a pid can make us hit a stranger.
 *
 * Works inside the keeper's sandbox: the one way to open something is
 * openat(2) below the descriptor of /proc that fence_init() takes.
 */
#ifndef WATCHDOG_FENCE_H
#define WATCHDOG_FENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FENCE_MAX_CHILDREN 4096

struct fence_child {
	pid_t pid;
	int pidfd;
};

struct fence {
	int proc; /* directory /proc */
	pid_t pid;
	int pidfd;	 /* -1: no postmaster */
	int cgroup_kill; /* cgroup.kill of PostgreSQL's own group; -1 */
	int nchildren;
	struct fence_child children[FENCE_MAX_CHILDREN];
};

/* False (errno) when /proc cannot be opened. */
bool fence_init(struct fence *);
/* New target; takes pidfd over.  False when it is not a pidfd of pid: then
 * the target is none.  Children of a target before are let go. */
bool fence_target(struct fence *, pid_t pid, int pidfd);
void fence_forget(struct fence *);
/* Has the postmaster (not: a child) ended? */
bool fence_postmaster_gone(const struct fence *);
/* The postmaster, or a child that was seen, is alive. */
bool fence_alive(struct fence *);
/* Note the children, then SIGQUIT to the postmaster. */
void fence_quit(struct fence *);
/* SIGKILL to all of them, and to all others in their control group; how many
 * were signalled. */
int fence_kill(struct fence *);

enum fence_role { FENCE_ROLE_IDLE, FENCE_ROLE_ARMED, FENCE_ROLE_ORPHAN };
/* Let other keepers see which postmaster this one watches. */
void fence_announce(enum fence_role, pid_t pid);
/* Has another keeper of this user announced the same postmaster? */
bool fence_superseded(const struct fence *);

#endif
