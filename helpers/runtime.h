/*
 * runtime.h: what every helper with an event loop shares: start on fd 3,
 * libevent loop, links to master and peers, requests with deadlines,
 * shutdown.  (The keeper has its own ppoll loop and does not use this.)
 */
#ifndef HELPERS_RUNTIME_H
#define HELPERS_RUNTIME_H

#include <event2/event.h>

#include "../ipc/messages.h"

struct helper;

/* Called with every valid message.  Replies to helper_request() go to the
 * request's own callback instead. msg->fd must be closed or kept by it. */
typedef void (*helper_message_cb)(
    struct helper *, enum proc from, const struct ipc_msg *msg, void *arg);
/* A link came up (new end received) or was lost (outcome of requests in
 * flight on it: unknown, their callbacks ran before this one). */
typedef void (*helper_link_cb)(
    struct helper *, enum proc peer, bool up, void *arg);
/* Answer to a request, or NULL when the deadline passed or the link was
 * lost (then lost tells which: ETIMEDOUT or EPIPE). */
typedef void (*helper_reply_cb)(
    struct helper *, const struct ipc_msg *reply, int lost, void *arg);

struct helper_ops {
	helper_message_cb message;
	helper_link_cb link;
	/* New configuration (owned by the callee).  Return NULL when taken,
	 * or why it was refused (static text). First call: at start. */
	const char *(*config)(struct helper *, struct tree *conf,
	    const struct msg_config *, void *arg);
	/* Enter the sandbox; called once, after the first configuration and
	 * the first descriptors were received.  NULL: no sandbox. */
	void (*sandbox)(struct helper *, void *arg);
	/* The master asked to stop; call helper_stopped() when done. */
	void (*shutdown)(struct helper *, void *arg);
	/* The master wants to know now: call helper_info().  NULL: the last
	 * report is repeated. */
	void (*info)(struct helper *, void *arg);
};

/* Create from the inherited fd 3.  Exits with a message when fd 3 is not a
 * link to the master.  Ignores SIGPIPE, SIGHUP, SIGINT; SIGTERM = default. */
struct helper *helper_start(enum proc self, const struct helper_ops *,
    void *arg, int argc, char **argv);
/* Run until helper_stopped() or loss of the master; returns the exit code. */
int helper_run(struct helper *);
struct event_base *helper_base(struct helper *);
bool helper_no_sandbox(const struct helper *); /* --no-sandbox was given */

/* Is the link to that peer up? */
bool helper_linked(const struct helper *, enum proc peer);
/* Fire and forget; 0 or -1 (errno as link_send). */
int helper_send(struct helper *, enum proc to, uint16_t type, const void *body,
    const void *var, size_t var_len, int fd);
int helper_send_newest(struct helper *, enum proc to, uint16_t type,
    const void *body, const void *var, size_t var_len);
/* The same with a tree as the variable part (NULL: none). */
int helper_send_tree(struct helper *, enum proc to, uint16_t type,
    uint16_t flags, uint64_t id, const void *body, const struct tree *var);
/* Send a request; cb runs exactly once, never from inside this call.
 * deadline_ns: absolute CLOCK_BOOTTIME. Returns the id; 0 when it could not
 * be queued (cb will not run). */
uint64_t helper_request(struct helper *, enum proc to, uint16_t type,
    const void *body, const void *var, size_t var_len, int fd,
    int64_t deadline_ns, helper_reply_cb cb, void *arg);
/* Forget a request: its callback will not run. */
void helper_forget(struct helper *, uint64_t id);
/* Answer the request that msg was. */
int helper_reply(struct helper *, enum proc to, const struct ipc_msg *msg,
    uint16_t type, const void *body, const void *var, size_t var_len);
/* The same when the message is gone: by its id. */
int helper_reply_id(struct helper *, enum proc to, uint64_t id, uint16_t type,
    const void *body, const void *var, size_t var_len);
/* Unsent bytes over all links. */
size_t helper_queued(const struct helper *);
/* Sandbox bits for HELPER_INFO (bit 0 seccomp, bit 1 Landlock). */
void helper_set_sandbox(struct helper *, uint32_t bits);
/* Report HELPER_INFO; queue_bytes and sandbox are filled in here.  While the
 * helper is stopping the last report is repeated every second. */
void helper_info(struct helper *, struct msg_helper_info *);
/* Tell the master that the work is done and end the loop. */
void helper_stopped(struct helper *, int exit_code);

#endif
