/*
 * proc.h: what /proc tells about processes, and signals that cannot hit a
 * stranger.  No state, no event loop; nothing here knows PostgreSQL.
 */
#ifndef HELPERS_POSTGRES_PROC_H
#define HELPERS_POSTGRES_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_MAX_CHILDREN 4096

struct proc_entry {
	pid_t pid;
	pid_t ppid;
	uint64_t start_ticks; /* clock ticks after boot: identity with pid */
};

/* One process; false when it does not exist or is a zombie. */
bool proc_read(pid_t, struct proc_entry *);
/* Creation time, seconds since the epoch; 0 = unknown. */
int64_t proc_start_time(const struct proc_entry *);
/*
 * Living descendants (all: recursively) of a process, at most max of them.
 * Returns how many were stored.  One pass over /proc.
 */
size_t proc_children(pid_t, bool all, struct proc_entry *, size_t max);
/* First string of the command line; false when empty or unreadable. */
bool proc_title(pid_t, char *buf, size_t size);
/* Executable (without " (deleted)") and working directory. */
bool proc_exe(pid_t, char *buf, size_t size);
bool proc_cwd(pid_t, char *buf, size_t size);
/*
 * Server processes whose working directory is dir and whose executable has
 * the base name exe: backends that outlived a killed postmaster.
 */
size_t proc_strays(
    const char *dir, const char *exe, struct proc_entry *, size_t max);
/* Signal a process only if it is still the one described. 0 or -1/errno. */
int proc_signal(const struct proc_entry *, int sig);
/* pidfd of it, or -1 when it is gone; checked against reuse of the pid. */
int proc_pidfd(const struct proc_entry *);
int proc_pidfd_signal(int pidfd, int sig);

#endif
