/*
 * runtime_int.h: what runtime.c and requests.c share; nobody else's business.
 */
#ifndef HELPERS_RUNTIME_INT_H
#define HELPERS_RUNTIME_INT_H

#include <sys/queue.h>

#include "runtime.h"

#define MAX_REQUESTS 1024 /* in flight; a power of two */

struct peer {
	struct helper *helper;
	enum proc proc;
	struct link *link; /* NULL: down */
	struct event *readable, *writable;
	bool writing; /* writable is pending */
};

struct request {
	TAILQ_ENTRY(request) entry;
	uint64_t id; /* 0: free */
	enum proc to;
	int64_t deadline_ns;
	helper_reply_cb cb;
	void *arg;
};

TAILQ_HEAD(request_list, request);

struct requests {
	struct request *slots; /* MAX_REQUESTS */
	struct request_list active, idle;
	unsigned int touched; /* slots before it have been used */
	uint64_t serial;
	int timer_fd; /* CLOCK_BOOTTIME, so that suspend counts */
	struct event *timer;
	int64_t armed_ns; /* what the timer is set to; 0 = not */
};

struct helper {
	enum proc self;
	const struct helper_ops *ops;
	void *arg;
	struct event_base *base;
	struct event *flush_timer;
	struct peer peers[PROC_COUNT];
	struct requests requests;
	bool no_sandbox;
	bool configured; /* first configuration taken, sandbox entered */
	bool stopping;	 /* STOPPED sent */
	bool ended;	 /* the loop is to end */
	int exit_code;
	uint32_t sandbox;
	int64_t trim_at;
	struct event *alive; /* while stopping takes time */
	struct msg_helper_info info;
};

/* The peer when its link is up; else NULL and errno. */
struct peer *peer_find(struct helper *, enum proc);
/* To be called with the result of every link_send; passes it through. */
int peer_sent(struct peer *, int rc);
void peer_update(struct peer *);

bool requests_init(struct helper *);
void requests_free(struct helper *);
/* Give the reply to its request; false when nobody waits for it (any more),
 * then a descriptor in it is still the caller's. */
bool requests_answered(struct helper *, enum proc from, const struct ipc_msg *);
/* The link to that peer is gone. */
void requests_lost(struct helper *, enum proc);

#endif
