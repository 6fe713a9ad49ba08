/*
 * types.h: sizes and plain types that every process shares.
 *
 * Nothing here knows about messages, events or I/O.  All text fields are
 * NUL-terminated char arrays of the sizes below; text from outside that does
 * not fit is refused by the process that parsed it, never cut.
 */
#ifndef IPC_TYPES_H
#define IPC_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_SIZE 128	    /* member, scope, slot and process names */
#define URL_SIZE 512	    /* conn_url, api_url, proxy_url */
#define WORD_SIZE 64	    /* states, roles, sysid, versions, short words */
#define PATH_SIZE 1024	    /* file names */
#define TEXT_SIZE 512	    /* one line for a log or an operator */
#define MAX_MEMBERS 64	    /* members of one cluster */
#define MAX_SLOTS 512	    /* replication slots of one node */
#define MAX_HISTORY 1024    /* timeline history lines kept */
#define MAX_DOCUMENT 524288 /* bytes of a /config document */

/* What synchronous_standby_names holds in strict mode without a standby
 * (spec/ha.md 13.2); no member may have that name. */
#define SSN_PLACEHOLDER "__patroni_strict_sync_replica_placeholder__"

/* The processes.  The order is part of the message protocol. */
enum proc {
	PROC_MASTER = 0,
	PROC_DCS = 1,
	PROC_REST = 2,
	PROC_POSTGRES = 3,
	PROC_WATCHDOG = 4,
	PROC_CTL = 5, /* patronictl on the control socket */
	PROC_COUNT = 6
};

/* Outcome of an operation on the store or on a peer process (design 6). */
enum outcome {
	OUTCOME_OK = 0,
	OUTCOME_REFUSED = 1, /* the store said no: NO of spec/dcs.md 1 */
	OUTCOME_FAILED = 2,  /* not applied, e.g. never sent: ERR */
	OUTCOME_UNKNOWN = 3, /* sent, answer lost: ERR, may have been applied */
	OUTCOME_COUNT = 4
};

/* spec/postgres.md 1.3 */
enum pg_role {
	ROLE_UNINITIALIZED = 0,
	ROLE_REPLICA = 1,
	ROLE_STANDBY_LEADER = 2,
	ROLE_PRIMARY = 3,
	ROLE_PROMOTED = 4, /* pg_ctl promote issued, not yet confirmed */
	ROLE_DEMOTED = 5,
	ROLE_COUNT = 6
};

/* spec/postgres.md 1.4 */
enum pg_state {
	STATE_UNKNOWN = 0,
	STATE_STOPPED = 1,
	STATE_STOPPING = 2,
	STATE_STOP_FAILED = 3,
	STATE_STARTING = 4,
	STATE_STARTING_CUSTOM = 5, /* "starting after custom bootstrap" */
	STATE_START_FAILED = 6,
	STATE_RUNNING = 7,
	STATE_RESTARTING = 8,
	STATE_RESTART_FAILED = 9,
	STATE_CRASHED = 10,
	STATE_INITDB = 11, /* "initializing new cluster" */
	STATE_INITDB_FAILED = 12,
	STATE_CUSTOM_BOOTSTRAP = 13, /* "running custom bootstrap script" */
	STATE_CUSTOM_BOOTSTRAP_FAILED = 14,
	STATE_CREATING_REPLICA = 15,
	STATE_COUNT = 16
};

/* Exact interface strings for the enums above; never NULL. */
const char *proc_name(enum proc);
const char *outcome_name(enum outcome);
const char *pg_role_name(enum pg_role);
const char *pg_state_name(enum pg_state);
/* Parse foreign text ("master" counts as primary).  Unknown text gives
 * ROLE_UNINITIALIZED / STATE_UNKNOWN and *known = false (known may be NULL). */
enum pg_role pg_role_parse(const char *, bool *known);
enum pg_state pg_state_parse(const char *, bool *known);

/*
 * Copy text into a fixed field.  True when it fitted; when not, the field is
 * set to "" and false is returned, so a cut name can never be mistaken for
 * another.
 */
bool text_set(char *dst, size_t size, const char *src);

/* strcmp() == 0 without a call, for names and keys: they are short, and most
 * differ early. */
static inline bool
text_equal(const char *a, const char *b)
{
	while (*a == *b && *a != '\0') {
		a++;
		b++;
	}
	return *a == *b;
}
/* Decimal integer within [min,max]; the whole text must be consumed. */
bool text_to_int64(const char *, int64_t min, int64_t max, int64_t *out);
/* Overwrite memory that held a secret; never optimised away. */
void wipe(void *, size_t);
/* Takes as long for different bytes as for equal ones. */
bool secret_equal(const void *, const void *, size_t);

#endif
