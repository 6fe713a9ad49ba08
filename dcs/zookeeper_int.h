/*
 * zookeeper_int.h: what the files of the ZooKeeper driver share.
 *
 *	zookeeper_conf.c	options
 *	zookeeper_session.c	connection, session, the client in the loop
 *	zookeeper_request.c	one request of the client library
 *	zookeeper_cache.c	the keys as read, kept fresh by watches
 *	zookeeper_lock.c	lock and member key: what hangs on the session
 *	zookeeper.c		the operations
 *	exhibitor.c		servers of the ensemble by HTTP
 */
#ifndef DCS_ZOOKEEPER_INT_H
#define DCS_ZOOKEEPER_INT_H

#include <sys/queue.h>

#include "driver.h"
#include "zookeeper_conf.h"

#define ZK_PATH_SIZE (PATH_SIZE + 4 * NAME_SIZE)
#define ZK_MAX_NODES 4096
#define ZK_MULTI 4

struct zk;
struct zk_op;

/* ---- one request ---- */

struct zk_answer {
	int rc;		   /* ZOK, ZNONODE, ... */
	const char *value; /* get */
	size_t len;
	const struct Stat *stat;	   /* get, exists, set */
	const struct String_vector *names; /* children */
	int64_t sent_ns;
};
typedef void (*zk_cb)(struct zk *, const struct zk_answer *, void *arg);
struct zk_request;

/*
 * Paths are relative to the base path ("" = the base itself).  cb runs exactly
 * once, never from inside.  NULL: no memory, cb will not run.  watch: leave a
 * watch behind, whose event goes to zk_cache_event().
 */
struct zk_request *zk_get(
    struct zk *, const char *path, bool watch, zk_cb, void *arg);
struct zk_request *zk_exists(
    struct zk *, const char *path, bool watch, zk_cb, void *arg);
struct zk_request *zk_children(
    struct zk *, const char *path, bool watch, zk_cb, void *arg);
/* path absolute here: an ancestor of the base may be made */
struct zk_request *zk_create(struct zk *, const char *absolute,
    const char *value, size_t len, bool ephemeral, zk_cb, void *arg);
struct zk_request *zk_set(struct zk *, const char *path, const char *value,
    size_t len, int32_t version, zk_cb, void *arg);
struct zk_request *zk_delete(
    struct zk *, const char *path, int32_t version, zk_cb, void *arg);
/* Wait until the server that answers has seen all that its leader has. */
struct zk_request *zk_sync(struct zk *, zk_cb, void *arg);

/* A transaction of at most ZK_MULTI steps. */
struct zk_multi {
	zoo_op_t op[ZK_MULTI];
	char path[ZK_MULTI][ZK_PATH_SIZE];
	int n;
};
void zk_multi_delete(
    struct zk *, struct zk_multi *, const char *path, int32_t version);
void zk_multi_check(
    struct zk *, struct zk_multi *, const char *path, int32_t version);
void zk_multi_create(struct zk *, struct zk_multi *, const char *path,
    const char *value, size_t len);
struct zk_request *zk_multi_start(
    struct zk *, const struct zk_multi *, zk_cb, void *arg);

void zk_cancel(struct zk_request *); /* cb will not run; NULL allowed */
/* Run the callbacks of requests that could not be sent. */
void zk_requests_failed(struct zk *);
/* Is this the connection's or the session's trouble, not the request's? */
bool zk_trouble(int rc);
const char *zk_path(
    const struct zk *, const char *path, char buf[ZK_PATH_SIZE]);

/* ---- cache ---- */

struct zk_node {
	TAILQ_ENTRY(zk_node) entry;
	char *path;    /* relative */
	bool children; /* a directory: its names are asked for */
	bool asked;    /* a request is under way */
	bool stale;    /* to be asked (again) */
	bool there;
	bool seen; /* was read at least once */
	enum dcs_key key;
	char *value;
	size_t len;
	struct Stat stat;
	struct zk_request *request;
};

TAILQ_HEAD(zk_nodes, zk_node);

/* ---- the driver's state ---- */

struct zk {
	struct dcs *dcs;
	struct event_base *base;
	const char *section;
	struct zk_conf conf;
	char base_path[2 * NAME_SIZE + 8]; /* no final slash */

	/* session */
	zhandle_t *handle;
	struct evdns_base *dns;
	struct zk_lookup *lookup; /* names being resolved */
	char *servers;		  /* "1.2.3.4:2181,..." last resolved */
	bool told;		  /* the client knows these */
	int64_t resolved_at;
	struct event *io;
	struct event *pump;  /* runs zookeeper_interest() */
	struct event *tick;  /* liveness */
	struct event *retry; /* of the resolution */
	int fd;
	bool connected; /* the server took the session */
	bool confirmed; /* and the watches are known to be in force */
	bool reopen;	/* the session is of no use any more */
	int64_t session;
	int64_t attempt_at; /* when this connection was begun */
	int64_t answer_at;  /* last answer */
	int64_t lost_at;    /* end of the last connection */
	int64_t ttl_asked;
	int64_t lock_sent;  /* last renewal of the lock we hold; 0 = none */
	int64_t touched_at; /* last call for the member key; 0 = none */
	uint32_t failures;  /* in a row */
	uint32_t stuck;
	struct zk_request *probe;
	char last_error[TEXT_SIZE];
	LIST_HEAD(, zk_request) requests;
	LIST_HEAD(, zk_request) failed;

	/* cache */
	struct zk_nodes nodes;
	uint32_t nnodes;
	bool filled; /* was complete once in this session */
	uint32_t changed, wake;

	LIST_HEAD(, zk_op) ops;
	void (*before_load)(void *arg); /* Exhibitor */
	void *before_arg;
};

/* ---- session ---- */

bool zk_session_start(struct zk *);
void zk_session_close(struct zk *);
/* New names of servers (Exhibitor): used at the next connection. */
void zk_session_hosts(struct zk *);
void zk_session_settings(struct zk *);
void zk_pump(struct zk *);
void zk_answered(struct zk *);
/* When the lock that hangs on our session was last known to be prolonged, if
 * the server answered a request sent then: in terms of the ttl. */
int64_t zk_lease_sent(const struct zk *, int64_t sent_ns);

/* ---- cache ---- */

void zk_cache_reset(struct zk *);
void zk_cache_start(struct zk *); /* confirmed: ask what is stale */
void zk_cache_event(struct zk *, const char *absolute);
/* True when everything is known: then answers the load. */
bool zk_cache_answer(struct zk *, struct dcs_call *);
const struct zk_node *zk_cache_find(const struct zk *, const char *path);
/* Own successful writes. */
void zk_cache_own(struct zk *, const char *path, const char *value, size_t len);
void zk_cache_own_delete(struct zk *, const char *path);

/* ---- operations ---- */

struct zk_op {
	LIST_ENTRY(zk_op) entry;
	struct zk *zk;
	struct dcs_call *call;
	struct zk_request *request;
	struct event *timer;
	char path[2 * NAME_SIZE]; /* below the base path */
	bool waiting;		  /* for a session, or for the cache */
	bool writing;		  /* the request under way changes something */
	bool maybe_sent;	  /* an earlier write may have been applied */
	uint32_t tries;		  /* after conflicts */
	int64_t sent_ns;
	/* lock: what was read */
	int64_t owner;
	int32_t version;
	/* parents being made */
	char parent[ZK_PATH_SIZE];
	void (*then)(struct zk_op *);
	/* remove: directories and leaves still to be deleted, deepest last */
	char **paths;
	uint32_t npaths;
};

void zk_op_end(struct zk_op *, enum outcome, const char *error);
/* The request of an operation is over: true when the caller goes on, false
 * when the operation ended or waits for another session. */
bool zk_op_answer(struct zk_op *, const struct zk_answer *);
/* NULL request: the operation ends. */
void zk_op_send(struct zk_op *, struct zk_request *, bool writing);
/* Make the ancestors of op->path, then call `then`. */
void zk_op_parents(struct zk_op *, void (*then)(struct zk_op *));
void zk_ops_ready(struct zk *); /* a session is there, or the cache is whole */
/* A key cannot be read: what waits for the whole will not get it. */
void zk_loads_failed(struct zk *, const char *why);
/* Token of a version: one more, because the first version is 0 and the token
 * 0 means none. */
int64_t zk_token(int32_t version);
const char *zk_member_path(const struct zk *, char buf[2 * NAME_SIZE]);

void zk_lock_acquire(struct zk_op *);
void zk_lock_update(struct zk_op *);
void zk_lock_release(struct zk_op *);
void zk_lock_touch(struct zk_op *);

/* ---- for Exhibitor ---- */

struct zk *zk_open(
    struct dcs *, const char *section, const struct zk_conf *, char *, size_t);
void zk_close(void *);
void zk_submit(void *, struct dcs_call *);
void zk_settings(void *);
void zk_info(const void *, char *buf, size_t size);

#endif
