/*
 * resolve.h: host names to addresses without blocking the loop, on behalf of
 * rest, which may not resolve (spec/rest-api.md 4), and of http_names.c.
 */
#ifndef DCS_RESOLVE_H
#define DCS_RESOLVE_H

#include <event2/event.h>

#include "../ipc/tree.h"

/* Lookups at once, those that hang included. */
#define RESOLVER_THREADS 8

struct resolver;

/* addresses: map of each name that has any to the list of its addresses as
 * text; valid during the call.  all: every name was answered in time. */
typedef void (*resolve_done_cb)(
    const struct tree *addresses, bool all, void *arg);

struct resolver *resolver_new(struct event_base *); /* NULL: no memory */
/* Callbacks do not run; lookups that hang are left to end by themselves. */
void resolver_free(struct resolver *);
/* From now on failures are the caller's to log. */
void resolver_quiet(struct resolver *);
/*
 * Look up the names (list of texts; others and those beyond MAX_MEMBERS are
 * left out).  cb runs once, never from inside this call, at the latest at the
 * deadline (CLOCK_BOOTTIME).  False: too many lookups hang already, or no
 * memory; cb will not run.
 */
bool resolver_start(struct resolver *, const struct tree *names,
    int64_t deadline, resolve_done_cb cb, void *arg);
/* Threads that have not ended yet, those left behind included. */
int resolver_threads(void);

#endif
