/*
 * etcd_client.h: what the drivers of etcd v2 and v3 share (spec/dcs.md 5):
 * which endpoint, how long, what is repeated, who leads the pack.
 *
 * A request (struct rpc) goes through rounds; a round visits the endpoints,
 * beginning with the selected one; a visit is one or more exchanges on the
 * same endpoint, which the driver makes (struct etcd_kind) and judges: it
 * ends a visit with rpc_good(), rpc_end(), rpc_again() or
 * rpc_visit_failed().
 */
#ifndef DCS_ETCD_CLIENT_H
#define DCS_ETCD_CLIENT_H

#include <sys/queue.h>

#include <jansson.h>

#include "driver.h"
#include "etcd_conf.h"
#include "http.h"

#define MAX_REPLY (16 * 1024 * 1024)

enum rpc_status {
	RPC_OK,
	RPC_ERROR, /* etcd answered with an error */
	RPC_FAILED /* no usable answer within the budget */
};

struct rpc_result {
	enum rpc_status status;
	const json_t *root;  /* RPC_OK */
	int code;	     /* RPC_ERROR: gRPC code, or errorCode of v2 */
	const char *message; /* "" when OK */
	bool maybe_sent;     /* some attempt may have been applied unanswered */
	int64_t sent_ns;     /* start of the attempt that was answered */
	int64_t first_ns;    /* start of the first attempt */
	int64_t index;	     /* v2: X-Etcd-Index, 0 = none */
};
typedef void (*rpc_done_cb)(const struct rpc_result *, void *arg);

struct etcd_client;
struct etcd_srv;
struct rpc;

struct etcd_kind {
	/* Send the next exchange of a visit with rpc_send(). */
	void (*exchange)(struct rpc *);
	/* Another endpoint, or none answers: a watch may be stale. */
	void (*stale)(struct etcd_client *);
	/* Ask for the members; its answer goes to etcd_members().  NULL: no
	 * memory. */
	struct rpc *(*ask_members)(struct etcd_client *, int64_t deadline);
};

struct rpc {
	LIST_ENTRY(rpc) entry;
	struct etcd_client *c;
	const char *method;
	char *path, *body;
	uint32_t flags;
	int64_t deadline;
	rpc_done_cb done;
	void *arg;

	struct event *timer; /* start, back-off */
	struct http_request *http;
	int phase;	  /* the driver's */
	int64_t visit_ns; /* budget of one try */
	int64_t visit_end;
	uint32_t nodes; /* endpoints in this round */
	uint32_t visited;
	int tries, tried; /* on this endpoint */
	int64_t delay;	  /* next back-off */
	bool no_endpoint; /* waits for the names to be looked up */
	bool login_repeated;
	bool maybe_sent;
	int64_t sent_ns, first_ns, index;
	char url[URL_SIZE];
	char error[TEXT_SIZE];
};

struct etcd_client {
	struct dcs *dcs;
	struct event_base *base;
	struct http *http;
	struct etcd_conf conf;
	const struct etcd_kind *kind;

	LIST_HEAD(, rpc) rpcs;
	char endpoints[ETCD_MAX_ENDPOINTS][URL_SIZE];
	uint32_t nendpoints;
	uint32_t current;
	int64_t term; /* highest raft term seen */
	char cluster_id[WORD_SIZE];
	struct rpc *refresh; /* member list under way */
	int64_t refresh_at;  /* when it is due */
	bool refreshed;
	struct etcd_srv *srv; /* lookup of SRV records under way */
	int64_t srv_failed;   /* when the last one found nothing */
	int64_t logged_ns;    /* last line about a failing endpoint */
	char last_error[TEXT_SIZE];
	uint32_t seed;
};

/* Configuration read, HTTP ready; false and err when unusable. */
bool etcd_client_open(struct etcd_client *, struct dcs *,
    const struct etcd_kind *, const struct tree *section, char *err,
    size_t errlen);
/* Requests in flight are forgotten. */
void etcd_client_close(struct etcd_client *);
/* New credentials, certificates and endpoints to start from. */
bool etcd_client_reload(
    struct etcd_client *, const struct tree *section, char *err, size_t n);
/* Times were changed: TCP keepalive. */
void etcd_client_settings(struct etcd_client *);
const char *etcd_endpoint(const struct etcd_client *);
/* Another endpoint, if this one was selected. */
void etcd_next_endpoint(struct etcd_client *, const char *url);
/* Ask for the member list when it is due, or now. */
void etcd_refresh(struct etcd_client *, bool now);
/* What ask_members() brought; n 0 = nothing usable.  Trailing slashes and
 * duplicates are dropped. */
void etcd_members(
    struct etcd_client *, char (*urls)[URL_SIZE], uint32_t n, const char *why);
/* Look up the SRV records, if there is a domain and no lookup is under way:
 * its end is etcd_srv_found(). */
void etcd_srv_start(struct etcd_client *);
void etcd_srv_cancel(struct etcd_srv *); /* NULL allowed */
void etcd_srv_found(struct etcd_client *, char (*urls)[URL_SIZE], uint32_t n);
/* Look at term and cluster id of a reply; false: a stale node. */
bool etcd_check_term(
    struct etcd_client *, const char *cluster_id, int64_t term);
/* Lines about a store in trouble come once a second at most. */
bool etcd_may_log(struct etcd_client *);

#define RPC_RETRY 0x1	/* spec/dcs.md 4.3: all endpoints, until deadline */
#define RPC_NO_AUTH 0x2 /* login is not needed (member list before login) */

/*
 * Start a request: body is taken over; NULL fails unless the method is GET
 * or DELETE.  done runs exactly once, never from inside.  NULL: no memory,
 * done will not run.
 */
struct rpc *rpc_request(struct etcd_client *, const char *method,
    const char *path, char *body, uint32_t flags, int64_t deadline, rpc_done_cb,
    void *arg);
void rpc_cancel(struct rpc *); /* NULL allowed */

/* ---- for exchange() and what it brings ---- */

/* Fills in deadline and limits, and sends. */
void rpc_send(struct rpc *, struct http_spec *, http_done_cb);
/* A good answer: the request is over. */
void rpc_good(struct rpc *, const json_t *root);
void rpc_end(struct rpc *, enum rpc_status, const json_t *root, int code,
    const char *message);
/* This endpoint could not answer (5.5 step 2); connect: it never got it. */
void rpc_visit_failed(struct rpc *, bool connect, const char *text);
/* The store asks to be asked again (7.3): after a pause, from the start. */
void rpc_again(struct rpc *, const char *text);

#endif
