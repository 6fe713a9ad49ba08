/*
 * rest.h: the REST server's state, shared by its routes and actions.
 *
 * Knows the HTTP layer below and the messages to postgres and dcs, but not
 * the helper runtime: main.c supplies the functions that send, so that tests
 * can serve without a master.
 */
#ifndef REST_REST_H
#define REST_REST_H

#include <sys/queue.h>

#include "../ipc/messages.h"
#include "access.h"
#include "document.h"
#include "health.h"
#include "httpd.h"

struct rest;

/* Answer to a request, or NULL with the reason (ETIMEDOUT, EPIPE). */
typedef void (*rest_reply_cb)(
    struct rest *, const struct ipc_msg *, int lost, void *arg);

struct rest_ops {
	/* As helper_request(): cb runs exactly once, later; 0 = not queued. */
	uint64_t (*request)(void *ctx, enum proc to, uint16_t type,
	    const void *body, const void *var, size_t var_len,
	    int64_t deadline_ns, rest_reply_cb cb, void *arg);
	/* NOTIFY to the master. */
	int (*notify)(void *ctx, enum notify_kind kind);
	size_t (*queued)(void *ctx);
	/* The end of an action of the control socket. */
	void (*answer)(void *ctx, uint64_t id, int code, const char *text);
	void *ctx;
};

/* Outcome of a live read: the view (valid during the call) or NULL. */
typedef void (*rest_view_cb)(struct rest *, const struct view *, void *arg);

struct view_waiter {
	STAILQ_ENTRY(view_waiter) entry;
	rest_view_cb cb;
	void *arg;
};

struct status_waiter {
	STAILQ_ENTRY(status_waiter) entry;
	struct httpd_request *q;
};

struct rest {
	struct event_base *base;
	struct httpd_server *http;
	struct rest_ops ops;

	/* configuration */
	struct document_names names;
	struct access access;
	struct tree *tags; /* configured tags, filtered; NULL = none */
	struct tls_pem pem[TLS_FILE_COUNT];
	bool sealed; /* nothing can be loaded any more */
	struct msg_restarts helpers;
	struct msg_dcs_figures dcs;
	struct httpd_log_rate bad_requests;

	/* what postgres and dcs told last */
	struct snapshot snap;
	struct view *view;
	int64_t view_ns;      /* when it was received */
	int64_t view_latency; /* of the last live read */

	/* live read in flight and those who wait for it */
	STAILQ_HEAD(, view_waiter) waiters;
	bool loading;
	int64_t load_sent;

	/* GET /patroni that wait for numbers read just now */
	STAILQ_HEAD(, status_waiter) status_waiters;
	bool asking;
	bool cannot_ask; /* the controller does not know the request */

	/* host names of members and their addresses (members.c) */
	STAILQ_HEAD(, members_waiter) members_waiters;
	struct tree *addresses, *asked_names;
	int64_t addresses_ns, resolved_ns;
	bool resolving;

	/* rendered answers */
	struct buf doc;
	uint32_t doc_bits;
	bool doc_valid;
	struct buf metrics;
	uint32_t metrics_bits;
	int64_t metrics_ns; /* 0 = none */
	struct buf cluster;
	bool cluster_valid;
};

/* NULL when memory is short. */
struct rest *rest_open(struct event_base *, const struct rest_ops *);
void rest_close(struct rest *);
/* Take a configuration (not kept).  NULL, or why it was refused: the old one
 * then stays in force. */
const char *rest_configure(struct rest *, const struct tree *conf);
/* PEM text of a file (taken over; NULL = none); in force with the next
 * rest_configure(). */
void rest_set_pem(struct rest *, enum tls_file, char *text, size_t len);
/* New snapshots; doc and view are taken over. */
void rest_status(struct rest *, const struct msg_status *, struct tree *doc);
void rest_view(struct rest *, struct view *);

/* ---- between the files of this folder ---- */

void rest_handle(struct httpd_request *, void *rest);
/* Live read of the store, shared by all who ask meanwhile; a result younger
 * than max_age_ns serves at once (cb then runs inside the call). */
void rest_live_view(struct rest *, int64_t max_age_ns, rest_view_cb, void *arg);
/* View that may be used as the cached one of spec 6.1, or NULL. */
const struct view *rest_cached_view(const struct rest *, int64_t now);
/* Short text for a store that did not answer. */
void rest_no_dcs(struct httpd_request *);
void rest_reply_json(struct httpd_request *, int code, const struct buf *);

/* GET /patroni (patroni.c). */
void rest_patroni(struct rest *, struct httpd_request *);
void rest_patroni_free(struct rest *);
/* The status document at this instant, rendered anew only when it changed. */
const struct buf *rest_document(struct rest *, const struct facts *);

/* Unsafe requests (action*.c).  False when nothing handles method + name. */
bool rest_action(
    struct rest *, struct httpd_request *, const char *name, size_t len);

/* The same of the control socket: the body (taken over) is a map with the
 * members that the request would have; ends in ops.answer(id). */
void rest_local_action(
    struct rest *, uint64_t id, enum api_action, struct tree *body);

#endif
