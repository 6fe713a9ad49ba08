/*
 * postmaster.h: the server process: finding, watching, launching, signalling
 * it (postgres.md 2, 4.2, 5.3).  Knows nothing of jobs, SQL or settings.
 */
#ifndef HELPERS_POSTGRES_POSTMASTER_H
#define HELPERS_POSTGRES_POSTMASTER_H

#include <event2/event.h>

#include "../ha/ha.h"
#include "proc.h"

/* Seen by pidfd, once per postmaster. */
typedef void (*postmaster_gone_cb)(void *arg);

struct postmaster {
	struct event_base *base;
	char data_dir[PATH_SIZE]; /* real path where it could be resolved */
	char exe[NAME_SIZE];	  /* base name of the postgres binary */
	struct proc_entry proc;	  /* pid 0 = none */
	int pidfd;
	bool single_user;
	struct event *ev;
	postmaster_gone_cb gone;
	void *arg;
	pid_t stale_pid; /* postmaster.pid names this stranger; 0 = none */
};

/* Contents of postmaster.pid (2.1). */
struct postmaster_file {
	pid_t pid; /* 0 = none; absolute value for a single-user backend */
	bool single_user;
	int64_t start_time;
	char status[16]; /* 10+: ready, standby, starting, stopping; "" none */
};

void postmaster_init(struct postmaster *, struct event_base *,
    const char *data_dir, const char *postgres, postmaster_gone_cb, void *arg);
void postmaster_free(struct postmaster *);
/* Running?  Keeps a cached process (2.3), else looks at postmaster.pid and
 * adopts what it names when it passes 2.2. */
bool postmaster_find(struct postmaster *);
/* The cached process only; no file is read. */
bool postmaster_alive(struct postmaster *);
bool postmaster_read_file(const char *data_dir, struct postmaster_file *);
/* From the status line; UNKNOWN below 10, where only a connection tells. */
enum ha_isready postmaster_isready(struct postmaster *);
/*
 * Launch (4.2): own session, no descriptors but stdio, parent = the master,
 * so that it survives this process; the pid is known on return.  0 or -1
 * (errno; a failed exec shows as a process that is gone at once).
 */
int postmaster_start(struct postmaster *, const char *const *argv);
/* Start postmasters in the control group of this cgroup.procs (taken over). */
void postmaster_cgroup(int fd);
/* 0, or -1: ESRCH gone, EPERM not allowed or single user. */
int postmaster_signal(struct postmaster *, int sig);
/* Client backends among the children (5.3).  -1 when they cannot be listed */
int postmaster_backends(struct postmaster *, struct proc_entry *, size_t max);
/* Is this process title that of a client backend? */
bool postmaster_client_title(const char *title);
/* Server processes of this directory that have no postmaster any more. */
size_t postmaster_strays(struct postmaster *, struct proc_entry *, size_t max);
/* SIGKILL to the postmaster and all its descendants (5.2 step 10). */
void postmaster_kill(struct postmaster *);

#endif
