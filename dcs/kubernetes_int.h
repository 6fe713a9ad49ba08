/*
 * kubernetes_int.h: what the files of the Kubernetes driver share.
 *
 *	kubernetes_conf.c	options, the way to the API server, credentials
 *	kubernetes_api.c	one request: endpoints, budgets, retries
 *	kubernetes_cache.c	objects and pods by list and watch
 *	kubernetes_view.c	objects -> keys of a view
 *	kubernetes_body.c	annotations, labels, subsets that are written
 *	kubernetes_leader.c	the operations on the leader object
 *	kubernetes.c		the other operations
 */
#ifndef DCS_KUBERNETES_INT_H
#define DCS_KUBERNETES_INT_H

#include <sys/queue.h>

#include <jansson.h>

#include "driver.h"
#include "http.h"

#define K8S_NAME_SIZE 256 /* names of objects, DNS-1123 subdomains */
#define K8S_MAX_ENDPOINTS 16
#define K8S_MAX_CODES 16
#define K8S_MAX_REPLY (32 * 1024 * 1024)
#define K8S_MAX_OBJECTS 4096
#define K8S_SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

/* ---- options ---- */

struct k8s_conf {
	char ns[K8S_NAME_SIZE];
	char scope[NAME_SIZE];	     /* with the group: "batman-0" */
	char group[16];		     /* Citus, "" = none */
	char selector[2 * URL_SIZE]; /* percent-encoded */
	json_t *labels;		     /* that select, the scope's too */
	json_t *written;	     /* of every object: those and the group */
	char role_label[NAME_SIZE];
	char leader_value[NAME_SIZE];
	char follower_value[NAME_SIZE];
	char standby_value[NAME_SIZE];
	char tmp_role_label[NAME_SIZE]; /* "" = none */
	json_t *bootstrap_labels;	/* object or NULL */
	bool endpoints;			/* the kind; else ConfigMaps */
	bool bypass;
	char pod_ip[WORD_SIZE]; /* "" = of our pod */
	json_t *ports;		/* array */
	int codes[K8S_MAX_CODES];
	uint32_t ncodes;
	/* the way there */
	char server[URL_SIZE];
	struct http_tls tls;
	char token_file[PATH_SIZE]; /* "" = the token does not change */
	char *token;		    /* NULL = none */
	char *user, *password;
};

/* Fill from the section; false and err when unusable (*conf unchanged). */
bool k8s_conf_read(struct k8s_conf *, const char *scope,
    const struct tree *section, char *err, size_t errlen);
void k8s_conf_clear(struct k8s_conf *);
/* Read the token file again.  False when the token is the same. */
bool k8s_token_read(struct k8s_conf *);

/* ---- one request ---- */

enum k8s_status {
	K8S_OK,	     /* 200 to 205 */
	K8S_REFUSED, /* the API server said no */
	K8S_FAILED   /* no usable answer within the budget */
};

struct k8s_result {
	enum k8s_status status;
	long code;	     /* HTTP, 0 = none */
	const json_t *root;  /* K8S_OK */
	const char *message; /* "" when OK */
	bool maybe_sent;     /* some attempt may have been applied */
	int64_t sent_ns;     /* of the attempt that was answered */
};
struct k8s;
struct k8s_rpc;
typedef void (*k8s_cb)(const struct k8s_result *, void *arg);

#define K8S_RETRY 0x1	  /* all endpoints, until the deadline */
#define K8S_RETRY_403 0x2 /* permission may be a matter of moments */
#define K8S_PATCH "application/strategic-merge-patch+json"

/*
 * path below /api/v1/namespaces/; body is taken over (GET: NULL).  cb runs
 * exactly once, never from inside.
 */
struct k8s_rpc *k8s_start(struct k8s *, const char *method, const char *path,
    json_t *body, uint32_t flags, int64_t deadline, k8s_cb, void *arg);
void k8s_cancel(struct k8s_rpc *); /* NULL allowed */
/* Headers of this moment; texts live until the next call. */
const char *const *k8s_headers(struct k8s *, const char *content_type);
const char *k8s_endpoint(const struct k8s *);
/* Look for the API servers themselves when that is due (bypass). */
void k8s_discover(struct k8s *);

/* ---- cache ---- */

struct k8s_object {
	TAILQ_ENTRY(k8s_object) entry;
	char name[K8S_NAME_SIZE];
	int64_t version;
	json_t *labels, *annotations; /* objects or NULL */
	json_t *subsets;	      /* Endpoints */
	char uid[WORD_SIZE], ip[WORD_SIZE], node[K8S_NAME_SIZE]; /* pods */
	bool seen;
};
TAILQ_HEAD(k8s_objects, k8s_object);

struct k8s_list {
	struct k8s *k;
	const char *resource;
	bool pods;
	struct k8s_objects objects;
	uint32_t count;
	bool ready;
	int64_t listed_at;
	char version[WORD_SIZE];
	struct k8s_rpc *rpc;
	struct http_request *stream;
	struct event *timer;
	char *line; /* a line of the stream, not whole yet */
	size_t len;
};

/* Of the leader object: what has to change for the lock to live on. */
struct k8s_record {
	char *text; /* canonical; NULL = no object */
	int64_t at; /* when it was seen to change */
};

struct k8s_op;

struct k8s {
	struct dcs *dcs;
	struct event_base *base;
	struct http *http;
	struct k8s_conf conf;

	/* api */
	LIST_HEAD(, k8s_rpc) rpcs;
	char endpoints[K8S_MAX_ENDPOINTS][URL_SIZE];
	uint32_t nendpoints, current;
	bool direct; /* endpoints are addresses: no check of the name */
	struct k8s_rpc *discovery;
	int64_t discovered_at;
	int64_t token_at;
	uint32_t seed;
	int64_t logged_ns;
	char auth[8192];
	char last_error[TEXT_SIZE];

	/* cache */
	struct k8s_list pods, kinds;
	struct k8s_record record;
	struct event *expiry;
	bool started;

	bool service_made;
	struct k8s_rpc *service;
	LIST_HEAD(, k8s_op) ops;
};

bool k8s_cache_init(struct k8s *);
void k8s_cache_start(struct k8s *);
void k8s_cache_restart(struct k8s *); /* it may be stale */
void k8s_cache_close(struct k8s *);
bool k8s_ready(const struct k8s *);
struct k8s_object *k8s_find(const struct k8s_list *, const char *name);
/* An object of a reply to a write: into the cache when newer. */
void k8s_cache_reply(struct k8s *, struct k8s_list *, const json_t *object);
/* Feed a watch with bytes (also for the fuzz target); false: it is over. */
bool k8s_watch_data(const char *, size_t, void *list);
const char *k8s_note(const struct k8s_object *, const char *annotation);
/* Called by the cache when both lists have become whole. */
void k8s_ops_ready(struct k8s *);

/* ---- names ---- */

/* Object of a key: "<scope>-config"...; the leader's has no suffix among
 * Endpoints. */
void k8s_object_name(const struct k8s *, enum dcs_key, char buf[K8S_NAME_SIZE]);
void k8s_object_path(
    const struct k8s *, const char *name, char *buf, size_t size);
void k8s_list_path(
    const struct k8s *, const char *resource, char *buf, size_t size);
const struct k8s_object *k8s_key_object(const struct k8s *, enum dcs_key);

/* ---- view ---- */

/* Canonical text of the five annotations that make a lock live; NULL when no
 * memory.  Caller frees. */
char *k8s_record_text(const struct k8s_object *);
/* Has the lock's owner been silent for longer than its ttl? */
bool k8s_expired(const struct k8s *, const struct k8s_object *leader);
int64_t k8s_record_ttl(const struct k8s *, const struct k8s_object *leader);
void k8s_answer_load(struct k8s *, struct dcs_call *);

/* ---- bodies ---- */

/* metadata with name, namespace, labels; version 0 = none; takes annotations */
json_t *k8s_body(
    const struct k8s *, const char *name, json_t *annotations, int64_t version);
/* A body for POST: no null annotations, with kind and apiVersion. */
json_t *k8s_created(const struct k8s *, json_t *body);
/* leader, acquireTime, renewTime, ttl, transitions of a new or renewed lock */
json_t *k8s_lock_notes(const struct k8s *, bool renew);
/* Add optime, slots, retain_slots of a status document. */
void k8s_status_notes(json_t *notes, const char *status, size_t len);
/* Subsets of the leader Endpoints, or NULL when they are as wanted (or our
 * address is not known). */
json_t *k8s_subsets(const struct k8s *, const struct k8s_object *leader);
/* Labels of our pod for that member document, nulls included. */
json_t *k8s_pod_labels(const struct k8s *, const json_t *member);
/* Fields of failover and sync documents as annotations. */
json_t *k8s_document_notes(enum dcs_key, const char *value, size_t len);

/* ---- operations ---- */

struct k8s_op {
	LIST_ENTRY(k8s_op) entry;
	struct k8s *k;
	struct dcs_call *call;
	struct k8s_rpc *rpc;
	struct event *timer;
	bool waiting; /* for the cache */
	bool first_maybe_sent;
	json_t *notes; /* annotations wanted */
	int64_t version;
	bool created;
	uint32_t repeats;
};

void k8s_op_end(struct k8s_op *, enum outcome, const char *error);
void k8s_op_bad(struct k8s_op *, const struct k8s_result *);
void k8s_op_send(struct k8s_op *, const char *method, const char *path,
    json_t *body, uint32_t flags, k8s_cb);
uint32_t k8s_op_flags(const struct k8s_op *);
void k8s_acquire(struct k8s_op *);
void k8s_update(struct k8s_op *);
void k8s_release(struct k8s_op *);

#endif
