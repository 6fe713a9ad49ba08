/*
 * ha_sync.h: what the files of synchronous replication share (ha_sync.c,
 * ha_standby.c, ha_quorum.c).
 */
#ifndef HELPERS_HA_HA_SYNC_H
#define HELPERS_HA_HA_SYNC_H

#include "ha_int.h"
#include "ha_names.h"

/* /sync as it is after our own writes of this cycle. */
struct sync_key {
	char leader[NAME_SIZE];
	uint32_t quorum;
	int64_t token;
	bool exists;
	struct names voters;
};

/* What PostgreSQL says about the standbys (13.3, 13.4). */
struct standbys {
	struct ssn ssn;		/* the live value */
	struct names active;	/* picked */
	struct names confirmed; /* picked, synchronous, caught up */
};

void sync_read(struct ha *, struct sync_key *);
enum rc sync_write(struct ha *, struct sync_key *, const char *leader,
    const struct names *voters, uint32_t quorum, bool *ok);
/* *ok as in set_ssn(). */
enum rc sync_assign(
    struct ha *, const struct names *, int64_t n, bool quorum, bool *ok);
enum rc sync_strict(struct ha *, const struct sync_key *,
    const struct standbys *, bool *in_force);

/* ha_standby.c */
enum rc standbys_evaluate(
    struct ha *, const struct sync_key *, struct standbys *);

/* ha_quorum.c */
enum rc quorum_process(struct ha *, struct sync_key *);

/* One change that the resolver wants (14.3). */
enum transition_kind { TRANSITION_QUORUM, TRANSITION_SYNC, TRANSITION_RESTART };

struct transition {
	enum transition_kind kind;
	char leader[NAME_SIZE]; /* QUORUM */
	int64_t n;		/* Q or N */
	struct names names;
};

#define MAX_TRANSITIONS 32

struct resolver {
	/* in */
	char leader[NAME_SIZE]; /* of /sync */
	int64_t q;
	struct names voters;
	int64_t n; /* SSN */
	struct names sync;
	int64_t confirmed; /* count */
	struct names active;
	int64_t wanted; /* synchronous_node_count */
	char wanted_leader[NAME_SIZE];
	/* out */
	uint32_t ntransitions;
	struct transition transitions[MAX_TRANSITIONS];
	char warning[1024]; /* "" = none */
};

/*
 * Every state leads on: one without a way by small steps starts over.
 *
 * Another departure from 14.3, step 0a, and from 14.6: while /sync names
 * another leader, which may lead without votes, SSN is to demand all that
 * /sync names.  Upstream has n of them, so that commits of a new primary that
 * ended before it wrote /sync could be lost.  A peer that is Python still does;
 * the wait of voters_answered() in ha_race.c is for those.
 */
void quorum_resolve(struct resolver *);

#endif
