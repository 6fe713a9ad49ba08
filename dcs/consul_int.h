/*
 * consul_int.h: what the files of the Consul driver share (spec/dcs.md 8).
 *
 *	consul_conf.c		options of the section
 *	consul_request.c	one request to the agent: budget, repetition
 *	consul_session.c	the one session of this process
 *	consul_watch.c		key cache and blocking query
 *	consul_service.c	registration of the service
 *	consul.c		the operations
 */
#ifndef DCS_CONSUL_INT_H
#define DCS_CONSUL_INT_H

#include <sys/queue.h>

#include <jansson.h>

#include "cache.h"
#include "driver.h"
#include "http.h"

#define SESSION_SIZE WORD_SIZE
#define CONSUL_PATH (8 * NAME_SIZE)

struct consul_conf {
	char url[URL_SIZE]; /* of the agent, no final slash */
	char dc[NAME_SIZE]; /* "" = the agent's own */
	char consistency[WORD_SIZE];
	char *token;	     /* NULL = none */
	struct tree *checks; /* list or NULL */
	bool register_service;
	struct tree *service_tags; /* list or NULL */
	char check_interval[WORD_SIZE];
	char check_server_name[NAME_SIZE];
	struct http_tls tls;
};

/* Fill from the section (and CONSUL_HTTP_*); false and err when it cannot be
 * used, *conf is then unchanged.  Frees what *conf held. */
bool consul_conf_read(
    struct consul_conf *, const struct tree *section, char *err, size_t errlen);
void consul_conf_clear(struct consul_conf *);

/* ---- one request ---- */

enum creq_status {
	CREQ_OK,	 /* 2xx; root (may be NULL when the body is empty) */
	CREQ_ABSENT,	 /* 404 */
	CREQ_NO_SESSION, /* "invalid session" */
	CREQ_BAD_TTL,	 /* "Invalid Session TTL" */
	CREQ_CONFLICT,	 /* 409 of a transaction */
	CREQ_REFUSED,	 /* any other answer of Consul */
	CREQ_FAILED	 /* no usable answer within the budget */
};

struct creq_result {
	enum creq_status status;
	const json_t *root;
	const char *error; /* "" when OK */
	bool maybe_sent;   /* some attempt may have been applied unanswered */
	int64_t sent_ns;   /* start of the attempt that was answered */
	int64_t first_ns;  /* start of the first one */
	int64_t index;	   /* X-Consul-Index, 0 = none */
};
typedef void (*creq_cb)(const struct creq_result *, void *arg);

struct creq;
struct consul_waiter;
struct consul_op;

struct consul_load {
	TAILQ_ENTRY(consul_load) entry;
	struct dcs_call *call;
};

struct consul {
	struct dcs *dcs;
	struct event_base *base;
	struct http *http;
	struct consul_conf conf;
	char prefix[CONSUL_PATH];	    /* "/v1/kv/service/batman/" */
	char key_prefix[2 * NAME_SIZE + 8]; /* "service/batman/" */
	uint32_t seed;
	int64_t logged_ns;
	char last_error[TEXT_SIZE];
	LIST_HEAD(, creq) reqs;
	LIST_HEAD(, consul_op) ops;

	/* session */
	char session[SESSION_SIZE]; /* "" = none */
	int64_t session_sent;	    /* when it was last renewed */
	int64_t session_ttl;	    /* ns, of its creation: half of ttl */
	int64_t least_ttl;	    /* ns, that the agent accepts */
	char adopted[SESSION_SIZE]; /* a dead process's, being tried */
	char refused[SESSION_SIZE]; /* that turned out not to be ours */
	struct creq *session_req;
	int64_t session_deadline;
	TAILQ_HEAD(, consul_waiter) waiters;

	/* cache */
	struct cache cache;
	bool ready;
	bool filled;
	int64_t index;
	struct creq *query;
	bool blocking; /* the query waits for news */
	struct event *timer;
	TAILQ_HEAD(, consul_load) loads;

	/* service */
	bool registered; /* the switch was on at the last attempt */
	char *service;	 /* what was registered last, NULL = nothing */
	struct creq *service_req;
	char *service_wanted;
};

/* Repeat until the deadline; else one try of a third of retry_timeout. */
#define CREQ_RETRY 0x1
#define CREQ_LONG 0x2 /* a blocking query: the deadline alone counts */

/*
 * Ask the agent; body is taken over (NULL: none).  path: from "/v1" on, with
 * its query.  cb runs exactly once, never from inside.  NULL: no memory, cb
 * will not run.
 */
struct creq *creq_start(struct consul *, const char *method, const char *path,
    char *body, uint32_t flags, int64_t deadline, creq_cb, void *arg);
void creq_cancel(struct creq *); /* NULL allowed */
/* Value of a KV entry, decoded; caller frees; NULL: malformed. */
char *consul_value(const json_t *entry, size_t *len);
/* "?dc=..." for sessions and keys, or "". */
void consul_dc_query(const struct consul *, char *buf, size_t size);

/* ---- session ---- */

/* Make sure of a session; force: renew it now.  cb may run from inside, then
 * NULL is returned. */
struct consul_waiter *session_get(
    struct consul *, bool force, int64_t deadline, creq_cb, void *arg);
void session_forget_waiter(struct consul *, struct consul_waiter *);
void session_forget(struct consul *); /* it is of no use any more */
void session_close(struct consul *);

/* ---- cache ---- */

bool consul_watch_start(struct consul *);
/* Our own write: what is known, or on its way, may be older. */
void consul_watch_stale(struct consul *);
/* A request failed: what is known may be stale. */
void consul_watch_trouble(struct consul *);
void consul_watch_close(struct consul *);
void consul_watch_load(struct consul *, struct dcs_call *);
/* Answer a load with the entries of a reply, NULL = none. */
void consul_answer_tree(
    struct consul *, struct dcs_call *, const json_t *entries);

/* Make the cache what the entries say (cache.h); false: malformed. */
bool consul_fill(
    struct consul *, const json_t *entries, uint32_t *keys, uint32_t *wake);

/* ---- service ---- */

/* The member key was written with this value: see to the registration. */
void consul_service_update(struct consul *, const char *value, size_t len);
/* Name of the service for a scope (spec/dcs.md 8.5). */
void consul_service_name(const char *scope, char *buf, size_t size);
void consul_service_close(struct consul *);

#endif
