/*
 * resolve.h: host names of a connection without blocking the loop.
 *
 * libpq looks names up while it is asked to begin a connection, and a dead
 * name server holds it for many seconds.  Here a forked worker does it, and
 * libpq is given the addresses (hostaddr) beside the names, which TLS and
 * the password file still go by.
 */
#ifndef HELPERS_POSTGRES_RESOLVE_H
#define HELPERS_POSTGRES_RESOLVE_H

#include <event2/event.h>
#include <stdbool.h>

struct resolve;

struct resolve_answer {
	bool ok;
	const char *error; /* one line, when !ok */
	/* comma lists of equal length, for libpq */
	const char *host, *hostaddr, *port;
};

/* Runs once, never from inside resolve_run(); texts live during the call. */
typedef void (*resolve_cb)(const struct resolve_answer *, void *arg);

/* Does this comma list hold a name (not only addresses and directories)? */
bool resolve_needed(const char *hosts);
/* ports: comma list as libpq takes it, "" = default.  NULL: no worker could
 * be started (errno).  The caller's deadline counts: resolve_drop() ends it. */
struct resolve *resolve_run(struct event_base *, const char *hosts,
    const char *ports, resolve_cb, void *arg);
void resolve_drop(struct resolve *); /* NULL allowed; cb does not run */

#endif
