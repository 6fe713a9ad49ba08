/*
 * driver.h: what a store driver implements, and what the core offers it.
 *
 * One file family per store.  A driver moves opaque values: it never looks
 * into a document.  The core makes sure that a call ends at its deadline
 * even when the driver does not answer; the driver ends every call exactly
 * once with dcs_call_done(), also after that.
 */
#ifndef DCS_DRIVER_H
#define DCS_DRIVER_H

#include "../ipc/version.h"
#include "dcs.h"

#define DCS_CAP_LEASE 0x1      /* lock and member key hang on one lease */
#define DCS_CAP_WATCH 0x2      /* keeps a cache by a watch */
#define DCS_CAP_TAKE 0x4       /* may overwrite the leader key */
#define DCS_CAP_DELETE 0x8     /* a sync key is deleted, not emptied */
#define DCS_CAP_ONE_WRITE 0x10 /* status and failsafe go with the lock */

/* One key as stored. */
struct dcs_kv {
	enum dcs_key key;
	const char *member; /* DCS_KEY_MEMBER: name */
	const char *value;
	size_t len;
	int64_t token;	/* CAS token */
	int64_t modify; /* modify_version (config) */
	char session[WORD_SIZE];
};

enum dcs_op {
	DCS_OP_LOAD,
	DCS_OP_ACQUIRE,
	DCS_OP_UPDATE,
	DCS_OP_TAKE,
	DCS_OP_RELEASE,
	DCS_OP_TOUCH,  /* value → own member key, bound to the lease */
	DCS_OP_WRITE,  /* value → key under cond */
	DCS_OP_DELETE, /* key under cond */
	DCS_OP_REMOVE_ALL
};

enum dcs_cond { DCS_COND_NONE, DCS_COND_TOKEN, DCS_COND_CREATE };

struct dcs_call {
	struct dcs *dcs;
	enum dcs_op op;
	enum dcs_key key;
	enum dcs_cond cond;
	bool retry; /* spec/dcs.md 4.3: RT, else "once" */
	int64_t token;
	const char *value;
	size_t len;
	int64_t deadline; /* absolute, never 0 */
	/* DCS_OP_UPDATE with DCS_CAP_ONE_WRITE: documents to go with it, or
	 * NULL */
	const char *status, *failsafe;
	/* answer, set by the driver before dcs_call_done() */
	int64_t new_token;
	int64_t sent_ns;
};

struct dcs_driver {
	const char *section; /* configuration section and name */
	uint32_t caps;
	void *(*open)(
	    struct dcs *, const struct tree *section, char *err, size_t errlen);
	void (*close)(void *); /* calls in flight are forgotten */
	bool (*reload)(
	    void *, const struct tree *section, char *err, size_t errlen);
	void (*settings)(void *); /* read them by dcs_ttl() … */
	void (*info)(const void *, char *buf, size_t size);
	void (*submit)(void *, struct dcs_call *);
};

/* dcs_etcd3 and so on: one per store of this build (ipc/version.h). */
#define DCS_DECLARE(name) extern const struct dcs_driver dcs_##name;
STORES(DCS_DECLARE, DCS_DECLARE)

/* ---- offered by the core ---- */

struct event_base *dcs_event_base(const struct dcs *);
bool dcs_ctl_mode(const struct dcs *);
const char *dcs_name(const struct dcs *);
const char *dcs_scope(const struct dcs *);
int64_t dcs_ttl_ns(const struct dcs *);
int64_t dcs_loop_ns(const struct dcs *);
int64_t dcs_retry_ns(const struct dcs *);
/* The call is over.  LOAD with OUTCOME_OK goes by dcs_call_loaded(). */
void dcs_call_done(struct dcs_call *, enum outcome, const char *error);
void dcs_call_loaded(struct dcs_call *, const struct dcs_kv *, size_t n);
/* A path below the base (of a key, or of a directory) that dcs_key_parse() does
 * not know, to be told before the load that saw it is answered: it may be of a
 * group of a Citus cluster (spec/dcs.md 2.13), as "1/leader" or "1"; others are
 * ignored. */
void dcs_other(struct dcs *, const char *path);
/* The watch saw changes: mask of keys and wake reason (0 = none). */
void dcs_watch_changed(struct dcs *, uint32_t keys, uint32_t wake);

#endif
