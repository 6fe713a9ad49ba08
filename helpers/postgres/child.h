/*
 * child.h: running programs and workers without blocking (postgres.md 19.1).
 *
 * A child dies with this process (PR_SET_PDEATHSIG); the one exception, the
 * postmaster, is started by postmaster.c.  Its end is seen by pidfd.  Output
 * is captured up to a bound or inherited.
 */
#ifndef HELPERS_POSTGRES_CHILD_H
#define HELPERS_POSTGRES_CHILD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHILD_CAPTURE_MAX (256 * 1024) /* bytes kept of each stream */

struct child;

struct child_end {
	bool started; /* false: error tells why (errno) */
	int error;
	int code;	 /* exit code, or -signal */
	bool timed_out;	 /* killed by us at the deadline */
	bool cancelled;	 /* child_cancel() was called */
	const char *out; /* NUL-terminated, valid in the callback only */
	const char *err;
};

/* Runs once, never from inside child_run(); the child is freed afterwards. */
typedef void (*child_cb)(const struct child_end *, void *arg);

struct child_spec {
	const char *const *argv; /* NULL-terminated; PATH is searched */
	char *const *envp;	 /* NULL: own environment, cleaned (below) */
	bool capture;		 /* stdin is /dev/null then */
	/* With capture: called for each line of stderr (ended by newline or
	 * carriage return) with cb's arg; true: it is not kept.  For programs
	 * that tell of their progress for hours. */
	bool (*err_line)(const char *line, void *arg);
	int64_t timeout_ns; /* 0 = none */
	bool survives;	    /* goes on when the controller ends */
	/* Instead of a program: run this in the forked process and exit with
	 * its result.  For file operations that may take long. */
	int (*worker)(void *worker_arg);
	void *worker_arg;
};

/* NULL when memory or processes are short (errno). */
struct child *child_run(
    struct event_base *, const struct child_spec *, child_cb, void *arg);
/* TERM now; after grace_ns STOP and KILL.  The callback runs when it has
 * ended; the descendants that it had do not outlive it. */
void child_cancel(struct child *, int64_t grace_ns);
/* STOP and KILL at once with all descendants; the callback runs. */
void child_kill(struct child *);
/* Kill at once and forget: the callback does not run. */
void child_drop(struct child *);
pid_t child_pid(const struct child *);

/*
 * Environment for children: ours without NOTIFY_SOCKET, PATRONI_*,
 * KUBERNETES_*, plus the given NAME=value texts (NULL-terminated list, may
 * be NULL).  PG_MALLOC_ARENA_MAX becomes MALLOC_ARENA_MAX when server is set.
 * One allocation to be released with free(). NULL when memory is short.
 */
char **child_environment(const char *const *extra, bool server);
/* In a fresh child process: default signals, no inherited descriptors. */
void child_sanitize(void);
/*
 * POSIX shell word split: quotes and backslash, no expansion.  Returns a
 * NULL-terminated vector in one allocation (free()), NULL for unbalanced
 * quotes or no memory.
 */
char **child_words(const char *text, size_t *n);

#endif
