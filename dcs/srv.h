/*
 * srv.h: DNS SRV lookups without blocking the loop, with c-ares.
 */
#ifndef DCS_SRV_H
#define DCS_SRV_H

#include <event2/event.h>
#include <stdint.h>

#include "../ipc/types.h"

#define SRV_MAX_TARGETS 32

struct srv_target {
	char host[NAME_SIZE];
	int port;
};

struct srv_lookup;

/* The targets, or n 0; valid during the call. */
typedef void (*srv_done_cb)(const struct srv_target *, uint32_t n, void *arg);

/*
 * Look up the SRV records of name with the system's resolvers.  cb runs
 * exactly once, never from inside, at the latest at the deadline (absolute
 * CLOCK_BOOTTIME).  NULL: no memory or no resolver, cb will not run.
 */
struct srv_lookup *srv_start(struct event_base *, const char *name,
    int64_t deadline, srv_done_cb cb, void *arg);
void srv_cancel(struct srv_lookup *); /* NULL allowed; cb will not run */

#endif
