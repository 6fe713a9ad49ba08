/*
 * health.h: health checks, liveness and readiness as pure functions of the
 * last status snapshot and the time (spec/rest-api.md 6 and 7).
 *
 * No I/O, no clock, no allocation: a load balancer's check costs the same
 * whatever the node does, and a snapshot that nobody renews any more turns
 * into 503 by itself.
 */
#ifndef REST_HEALTH_H
#define REST_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../ipc/messages.h"
#include "../ipc/tree.h"

#define QUERY_MAX 32

/* Decoded query: the first non-empty value of each key. */
struct query {
	uint32_t n;
	struct {
		const char *key, *value;
	} v[QUERY_MAX];
};

/* Last snapshot as received. */
struct snapshot {
	bool have;
	int64_t started_ns; /* start of this process, for /liveness */
	struct msg_status s;
	struct tree *doc; /* tags, replication, ...; NULL when none */
};

/* What a snapshot says at one instant. */
struct facts {
	bool fresh;    /* younger than 2 ttl */
	bool leader;   /* LEADER: trusted lock not yet run out */
	bool view;     /* VIEW: there is a usable cached view */
	bool unlocked; /* cluster_unlocked of the document */
	bool failsafe; /* failsafe record is active */
	bool standby_cluster;
	bool pause;
	bool sql; /* numbers of the status query are there */
	bool sync_standby, quorum_standby; /* flags of the document */
	enum pg_role role;		   /* `role` of the document */
	enum pg_state state; /* `state` of the document, STATE_UNKNOWN too */
};

void health_facts(const struct snapshot *, int64_t now, struct facts *);
/* Facts that change by time alone; equal bits and equal snapshot give an
 * equal document. */
uint32_t facts_bits(const struct facts *);

/* Value of a key, or NULL. */
const char *query_get(const struct query *, const char *key);
/* Split and decode in place (spec 3.2); text must be NUL-terminated. */
void query_parse(char *text, struct query *);

/* Status code of the health check with that path (leading slashes already
 * collapsed to one; spec 6.3).  tags: configured tags or NULL. */
int health_code(const struct snapshot *, const struct facts *, const char *path,
    const struct query *, const struct tree *tags);
int liveness_code(const struct snapshot *, int64_t now);
/* reason gets the text of spec 7.2 when the answer is 503. */
int readiness_code(const struct snapshot *, const struct facts *,
    const struct query *, char *reason, size_t size);

#endif
