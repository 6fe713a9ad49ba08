/*
 * dcs.h: the store client that the dcs helper and patronictl share.
 *
 * The core (dcs.c) knows what the keys mean: documents, write suppression,
 * order of writes, the view.  A driver (driver.h) knows how its store keeps
 * keys, locks and watches.  Nothing here depends on helpers/runtime: only an
 * event base is passed in.
 *
 * Every operation is asynchronous: `done` runs exactly once, never from
 * inside the call that started it, and not later than the deadline (absolute
 * CLOCK_BOOTTIME ns; 0 = retry_timeout from now).  dcs_close() drops all
 * operations in flight without running their callbacks.
 */
#ifndef DCS_DCS_H
#define DCS_DCS_H

#include <event2/event.h>

#include "../ipc/messages.h"
#include "../ipc/tree.h"
#include "../ipc/view.h"

struct dcs;

/* Keys below the base path, spec/dcs.md 2.1. */
enum dcs_key {
	DCS_KEY_INITIALIZE = 0,
	DCS_KEY_CONFIG,
	DCS_KEY_LEADER,
	DCS_KEY_STATUS,
	DCS_KEY_OPTIME, /* optime/leader */
	DCS_KEY_SYNC,
	DCS_KEY_FAILOVER,
	DCS_KEY_HISTORY,
	DCS_KEY_FAILSAFE,
	DCS_KEY_MEMBER, /* members/<name> */
	DCS_KEY_COUNT
};

/* Path relative to the base; for DCS_KEY_MEMBER the prefix "members/". */
const char *dcs_key_path(enum dcs_key);
/* Classify a relative path; *member points into it.  False: not ours. */
bool dcs_key_parse(const char *path, enum dcs_key *, const char **member);

struct dcs_reply {
	enum outcome outcome;
	int64_t token; /* new CAS token of what was written, 0 = unknown */
	int64_t
	    sent_ns; /* when the lock-prolonging (else: last) request left */
	const struct view *view; /* load: valid during the callback */
	const char *error;	 /* never NULL; "" when OK */
	/* load in ctl mode: groups of a Citus cluster seen below the base path,
	 * ascending */
	const int32_t *groups;
	uint32_t ngroups;
};
#define DCS_MAX_GROUPS 1024
typedef void (*dcs_done_cb)(const struct dcs_reply *, void *arg);

struct dcs_callbacks {
	/* Keys changed in the store by anyone but this client's own writes of
	 * the same content; mask of (1 << enum dcs_key).  wake: reason of
	 * spec/dcs.md 7.6, or 0.  Not in ctl mode. */
	void (*changed)(uint32_t keys, uint32_t wake, void *arg);
};

/*
 * Create a client from the configuration tree: name, scope, namespace, ttl,
 * loop_wait, retry_timeout and the section of the store (order of spec/dcs.md
 * 1).  ctl: no lease, linearizable reads, no watch.  Certificates are read
 * here (and in dcs_reload), so do it before entering a sandbox.  NULL and a
 * text in err when the configuration cannot be used.
 */
struct dcs *dcs_open(struct event_base *, const struct tree *conf, bool ctl,
    const struct dcs_callbacks *, void *arg, char *err, size_t errlen);
void dcs_close(struct dcs *); /* NULL allowed */
/* New credentials and certificates; false and err when unusable. */
bool dcs_reload(struct dcs *, const struct tree *conf, char *err, size_t n);
/* Seconds, already clamped. */
void dcs_settings(
    struct dcs *, int32_t ttl, int32_t loop_wait, int32_t retry_timeout);
/* One line: endpoint in use and last error. */
void dcs_info(const struct dcs *, char *buf, size_t size);
/* "etcd3" … */
const char *dcs_driver_name(const struct dcs *);
/* Base path of the cluster, "/service/batman". */
const char *dcs_base_path(const struct dcs *);

/* spec/dcs.md 4.1.  Trees and texts are copied. */
void dcs_load(struct dcs *, int64_t deadline, dcs_done_cb, void *arg);
void dcs_acquire(struct dcs *, int64_t deadline, dcs_done_cb, void *arg);
void dcs_update(struct dcs *, const struct msg_dcs_update *,
    const struct tree *doc, int64_t deadline, dcs_done_cb, void *arg);
void dcs_take(struct dcs *, int64_t deadline, dcs_done_cb, void *arg);
void dcs_release(
    struct dcs *, uint64_t optime, int64_t deadline, dcs_done_cb, void *arg);
void dcs_initialize(struct dcs *, bool create, const char *sysid,
    int64_t deadline, dcs_done_cb, void *arg);
void dcs_cancel_initialize(
    struct dcs *, int64_t deadline, dcs_done_cb, void *arg);
void dcs_touch(struct dcs *, const struct msg_dcs_touch *,
    const struct tree *doc, int64_t deadline, dcs_done_cb, void *arg);
void dcs_set_failover(struct dcs *, const struct msg_dcs_failover *,
    int64_t deadline, dcs_done_cb, void *arg);
/* json: text of the document, length len, no NUL inside. */
void dcs_set_config(struct dcs *, const char *json, size_t len, bool with_token,
    int64_t token, int64_t deadline, dcs_done_cb, void *arg);
void dcs_set_history(struct dcs *, const struct tree *lines, int64_t deadline,
    dcs_done_cb, void *arg);
void dcs_set_sync(struct dcs *, const struct msg_dcs_sync *,
    const struct tree *voters, int64_t deadline, dcs_done_cb, void *arg);
void dcs_delete_sync(struct dcs *, bool with_token, int64_t token,
    int64_t deadline, dcs_done_cb, void *arg);
void dcs_set_status(struct dcs *, uint64_t optime, const struct tree *doc,
    int64_t deadline, dcs_done_cb, void *arg);
/* Delete everything below the base path (patronictl remove). */
void dcs_remove_cluster(struct dcs *, int64_t deadline, dcs_done_cb, void *arg);

#endif
