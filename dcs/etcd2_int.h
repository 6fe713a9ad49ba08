/*
 * etcd2_int.h: what the files of the etcd v2 driver share (section `etcd`,
 * spec/dcs.md 6).
 *
 *	etcd_conf.c	options and endpoints of the configuration
 *	etcd_client.c	one request: endpoints, budgets, retries
 *	etcd2_watch.c	key cache and watch stream
 *	etcd2.c		one exchange; the operations
 */
#ifndef DCS_ETCD2_INT_H
#define DCS_ETCD2_INT_H

#include <sys/queue.h>

#include "cache.h"
#include "etcd3_proto.h"
#include "etcd_client.h"

#define PATH_MAX_V2 (6 * NAME_SIZE + 128)

/* errorCode of a reply */
enum etcd2_error {
	ETCD2_NOT_FOUND = 100,
	ETCD2_COMPARE = 101,
	ETCD2_EXISTS = 105,
	ETCD2_UNAUTHORIZED = 110,
	ETCD2_RAFT = 300,
	ETCD2_ELECTION = 301
};

struct etcd2_load {
	TAILQ_ENTRY(etcd2_load) entry;
	struct dcs_call *call;
};

struct etcd2_op;

struct etcd2 {
	struct etcd_client c;
	char keys[PATH_MAX_V2];	      /* "/v2/keys/service/batman" */
	char base[2 * NAME_SIZE + 8]; /* "/service/batman/" as in nodes */
	struct cache cache;
	bool ready;
	bool filled;	  /* at least once: differences are news */
	int64_t index;	  /* of the tree in the cache */
	struct rpc *tree; /* being read */
	struct http_request *watch;
	char watched[URL_SIZE]; /* endpoint of the watch */
	struct etcd_stream stream;
	TAILQ_HEAD(, etcd2_event) events; /* newer than the tree, perhaps */
	uint32_t nevents;
	bool in_stream;
	struct event *timer;
	TAILQ_HEAD(, etcd2_load) loads;
	LIST_HEAD(, etcd2_op) ops;
};

/* Read the tree; watch it unless in ctl mode. */
bool etcd2_watch_start(struct etcd2 *);
void etcd2_watch_restart(struct etcd2 *); /* the cache may be stale */
void etcd2_watch_close(struct etcd2 *);
/* A load: answered from the cache now or when it is ready. */
void etcd2_load(struct etcd2 *, struct dcs_call *);
/* Answer a load with the tree of a reply; not_found: there is none. */
void etcd2_answer_tree(struct etcd2 *, struct dcs_call *, const json_t *root);
/* Make the cache what the tree of a reply says (NULL: nothing, cache.h). */
bool etcd2_fill(
    struct etcd2 *, const json_t *root, uint32_t *keys, uint32_t *wake);
/* One event of a watch.  False: what happened cannot be told from it. */
bool etcd2_event(
    struct etcd2 *, const json_t *event, uint32_t *keys, uint32_t *wake);
/* Own successful write (value NULL: delete), path relative to the base. */
void etcd2_own(struct etcd2 *, const char *path, const char *value, size_t len,
    int64_t index);

#endif
