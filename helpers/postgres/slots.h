/*
 * slots.h: state of the replication slots' upkeep (postgres.md 17), shared by
 * slots.c, slots_logical.c and job_slots.c.
 */
#ifndef HELPERS_POSTGRES_SLOTS_H
#define HELPERS_POSTGRES_SLOTS_H

#include "controller.h"

/* A statement that must run in the slot's own database. */
struct slot_task {
	bool create; /* else advance */
	char name[64], database[64], plugin[64];
	uint64_t lsn;
};

/* A logical slot that may still need catalog rows which the primary has
 * vacuumed (17.7). */
struct slot_unverified {
	char name[64];
	bool known; /* the primary's slot had this catalog_xmin: */
	uint32_t catalog_xmin;
};

struct slot_names {
	char v[MAX_SLOTS][64];
	uint32_t n;
};

struct slotwork {
	struct controller *c;
	uint64_t ask;	  /* of the core, 0 = none */
	uint32_t waiting; /* statements not answered yet */
	bool failed;
	/* statements in databases, one after the other */
	struct sql *db;
	char database[64]; /* that db is connected to */
	bool running;	   /* tasks[0] is at work */
	struct slot_task tasks[MAX_SLOTS];
	uint32_t ntasks;
	/* logical slots to be copied from the leader */
	struct slot_names copy;
	struct slot_names broken; /* could not be advanced any more */
	/* readiness */
	struct sql *leader;
	bool asking;
	pid_t postmaster;  /* whose slots are in the queue */
	char physical[64]; /* the slot that connects us to the primary */
	struct slot_unverified queue[MAX_SLOTS];
	uint32_t nqueue;
};

/* ---- slots.c ---- */

/* False while the view or the configuration is not known. */
bool slots_input(struct controller *, enum pg_role, struct pgslots_in *);
const struct tree *slots_row(const struct tree *rows, const char *name);
bool slots_row_matches(const struct tree *row, const struct pgslot *);

/* ---- slots_logical.c ---- */

void slots_logical(
    struct slotwork *, const struct pgslots *, const struct pgslots_in *);
/* Force hot_standby_feedback as the slots need it (17.8). */
void slots_feedback(struct controller *, const struct pgslots_in *);

#endif
