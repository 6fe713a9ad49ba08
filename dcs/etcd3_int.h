/*
 * etcd3_int.h: what the files of the etcd v3 driver share.
 *
 *	etcd_conf.c	options and endpoints of the configuration
 *	etcd3_proto.c	bodies and replies as text
 *	etcd_client.c	one request: endpoints, budgets, retries
 *	etcd3_rpc.c	one exchange of it: version, login, errors
 *	etcd3_lease.c	the one lease of this process
 *	etcd3_watch.c	key cache and watch stream
 *	etcd3_silence.c	a stream that says nothing on a living connection
 *	etcd3.c		the operations
 */
#ifndef DCS_ETCD3_INT_H
#define DCS_ETCD3_INT_H

#include <sys/queue.h>

#include "cache.h"
#include "driver.h"
#include "etcd3_proto.h"
#include "etcd_client.h"

#define MAX_CACHE 4096

struct etcd_lease_waiter;
typedef void (*lease_cb)(const struct rpc_result *, void *arg);

struct load_waiter {
	TAILQ_ENTRY(load_waiter) entry;
	struct dcs_call *call;
};

struct etcd_op;

struct etcd3 {
	struct etcd_client c;		   /* what v2 has, too */
	char base_path[2 * NAME_SIZE + 8]; /* with the final slash */

	/* rpc */
	char prefix[16]; /* "/v3"; "" = not asked yet */
	bool no_watch;
	bool no_auth; /* the cluster does not ask for it */
	char *token;  /* of the login */

	/* lease */
	char lease[LEASE_ID_SIZE]; /* "" = none */
	int64_t lease_sent;	   /* when it was last prolonged */
	int64_t lease_ttl;	   /* ns, of the grant */
	struct rpc *lease_rpc;
	int64_t lease_deadline; /* of lease_rpc */
	TAILQ_HEAD(, etcd_lease_waiter) lease_waiters;

	/* watch */
	struct cache cache;
	bool ready;
	int64_t watch_revision;
	struct rpc *range;
	struct http_request *watch;
	struct etcd_stream stream;
	bool in_stream;
	int64_t stream_term;
	struct event *watch_timer;
	/* silence */
	int64_t heard;	/* revision up to which the stream has told all */
	int64_t own;	/* of our last write, which it has to tell */
	int64_t moved;	/* the store is past `heard` since then; 0 = no */
	int64_t owned;	/* and `own` is since then; 0 = no */
	int64_t looked; /* when the keys were last compared */
	struct rpc *look;
	TAILQ_HEAD(, load_waiter) loads;

	LIST_HEAD(, etcd_op) ops;
};

extern const struct etcd_kind etcd3_kind;

/* POST body (taken over; NULL fails) to <prefix><path>: rpc_request(). */
struct rpc *rpc_start(struct etcd3 *, const char *path, char *body,
    uint32_t flags, int64_t deadline, rpc_done_cb, void *arg);
void rpc_drop_token(struct etcd3 *);
/* Look at term and cluster id of a reply; false: a stale node. */
bool rpc_check_header(struct etcd3 *, const json_t *root);
/* "Authorization" header of this moment in buf, or NULL. */
const char *rpc_auth_header(const struct etcd3 *, char *buf, size_t size);

/* ---- lease ---- */

/* Make sure of a lease; force: prolong it now.  cb may run from inside. */
struct etcd_lease_waiter *lease_get(
    struct etcd3 *, bool force, int64_t deadline, lease_cb, void *arg);
void lease_forget_waiter(struct etcd3 *, struct etcd_lease_waiter *);
void lease_forget(struct etcd3 *); /* the id is of no use any more */
void lease_close(struct etcd3 *);

/* ---- cache and watch ---- */

void watch_start(struct etcd3 *);
void watch_restart(struct etcd3 *); /* the cache may be stale */
void watch_close(struct etcd3 *);
/* The part of a stored key below the base path, or NULL. */
const char *etcd_below(const struct etcd3 *, const char *key);
/* A load: answered from the cache now or when it is ready. */
void watch_load(struct etcd3 *, struct dcs_call *);
/* Answer a load with the kvs of a range reply (no cache). */
void watch_answer_range(struct etcd3 *, struct dcs_call *, const json_t *root);
/* Own successful writes. */
void cache_own_put(struct etcd3 *, const char *path, const char *value,
    size_t len, const char *lease, int64_t revision);
void cache_own_delete(struct etcd3 *, const char *path, int64_t revision);
/* Body of a range over the whole prefix; caller frees. */
char *etcd_range_body(struct etcd3 *);

/* ---- silence ---- */

/* A stream begins that tells all after that revision. */
void silence_begin(struct etcd3 *, int64_t revision);
/* A document of the stream. */
void silence_heard(struct etcd3 *, const json_t *result);
/* A write of ours has got that revision. */
void silence_own(struct etcd3 *, int64_t revision);
/* An answer to any request: looks for silence, may restart the watch. */
void silence_check(struct etcd3 *, const json_t *root);

#endif
