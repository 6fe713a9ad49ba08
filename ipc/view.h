/*
 * view.h: the cluster view (spec/dcs.md 3) as typed data, and its encoding.
 *
 * Made by the dcs helper (and by patronictl, which links the drivers) from
 * the keys of the store; read by the HA core, the controller and the REST
 * helper.  A view is immutable once made; it is freed as a whole, when the
 * last of its holders gives it up.
 */
#ifndef IPC_VIEW_H
#define IPC_VIEW_H

#include "tree.h"
#include "types.h"

/* Tags with a meaning to the HA rules (spec/ha.md 19). */
struct tags {
	uint8_t nofailover; /* effective: tag true, or priority <= 0 */
	uint8_t noloadbalance;
	uint8_t nosync; /* effective: tag true, or sync_priority <= 0 */
	uint8_t nostream;
	uint8_t clonefrom;
	uint8_t pad[3];
	int32_t failover_priority; /* effective; 1 when unset, 0 = nofailover */
	int32_t sync_priority;	   /* effective; 1 when unset, 0 = nosync */
	char replicatefrom[NAME_SIZE];
};

enum checkpoint_after_promote {
	CAP_UNKNOWN = 0, /* old version or none published */
	CAP_PENDING = 1, /* `false` in the member key */
	CAP_DONE = 2
};

struct view_member {
	char name[NAME_SIZE];
	char conn_url[URL_SIZE];
	char api_url[URL_SIZE];
	char proxy_url[URL_SIZE];
	char state[WORD_SIZE]; /* as published; "unknown" when absent */
	char role[WORD_SIZE];  /* as published; "" when absent */
	char version[WORD_SIZE];
	char replication_state[WORD_SIZE];
	char session[WORD_SIZE];
	int64_t token; /* CAS token of the key */
	uint64_t xlog_location;
	uint64_t receive_lsn;
	uint64_t replay_lsn;
	uint32_t timeline; /* 0 = not published */
	uint8_t has_xlog_location;
	uint8_t has_data;		  /* key held a usable document */
	uint8_t checkpoint_after_promote; /* enum */
	uint8_t pause;
	uint8_t pending_restart;
	uint8_t copied; /* percent of the copy being made, + 1; 0 = none */
	uint8_t pad[6];
	struct tags tags;
	struct tree *tags_doc;		     /* map or NULL */
	struct tree *pending_restart_reason; /* map or NULL */
	struct tree *scheduled_restart;	     /* map or NULL */
};

struct view_slot {
	char name[NAME_SIZE];
	uint64_t lsn;
};

struct view_history {
	uint32_t timeline; /* parent timeline that ended */
	uint32_t elements; /* elements of the stored line: 3, 4, 5 or other */
	uint64_t lsn;
	char reason[TEXT_SIZE];
	char timestamp[WORD_SIZE];
	char new_leader[NAME_SIZE];
};

struct view_failsafe {
	char name[NAME_SIZE];
	char api_url[URL_SIZE];
};

struct view {
	uint32_t shares;	/* further holders, view_share() */
	int64_t loaded_wall_us; /* when it was read from the store */
	int64_t loaded_ns;	/* the same, CLOCK_BOOTTIME */

	uint8_t has_initialize;	  /* key exists (it may be "") */
	uint8_t initialize_valid; /* >= 10 decimal digits */
	char initialize[WORD_SIZE];

	uint8_t has_leader;	/* key exists */
	char leader[NAME_SIZE]; /* "" = unlocked */
	char leader_session[WORD_SIZE];
	int64_t leader_token;

	uint8_t has_config;    /* key exists */
	int64_t config_token;  /* CAS token */
	int64_t config_modify; /* modify_version; 0 = invalid document */
	struct tree *config;   /* map; NULL when absent; {} when invalid */

	uint8_t has_status;	 /* /status or optime/leader exists */
	uint64_t optime;	 /* 0 = unknown */
	struct view_slot *slots; /* status.slots */
	uint32_t nslots;
	uint8_t slots_known; /* slots present as an object */
	char (*retain_slots)[NAME_SIZE];
	uint32_t nretain;

	uint8_t has_sync; /* key exists with a token */
	int64_t sync_token;
	char sync_leader[NAME_SIZE]; /* "" = synchronous mode not active */
	uint32_t sync_quorum;
	char (*sync_standby)[NAME_SIZE];
	uint32_t nsync_standby;

	uint8_t has_failover;
	int64_t failover_token;
	char failover_leader[NAME_SIZE];
	char failover_member[NAME_SIZE];
	uint8_t failover_scheduled;    /* scheduled_at present */
	uint8_t failover_schedule_bad; /* unparsable or without zone */
	int64_t failover_at_us;	       /* wall clock, us since the epoch */
	char failover_at[WORD_SIZE];   /* as stored */

	uint8_t has_history;
	struct view_history *history;
	uint32_t nhistory;
	uint32_t timeline; /* of the cluster, spec/dcs.md 3.2; 0 = unknown */

	uint8_t has_failsafe;	 /* key exists and is readable JSON */
	uint8_t failsafe_object; /* ... and is an object */
	struct view_failsafe *failsafe;
	uint32_t nfailsafe;

	struct view_member *members;
	uint32_t nmembers;
};

struct view *view_new(void);   /* empty view; NULL when memory is short */
void view_free(struct view *); /* NULL allowed */
/* Hold an immutable view as well: the same pointer, to be given to
 * view_free() once more.  Not for one that is still being filled in. */
struct view *view_share(const struct view *);
/* One that the caller may change; NULL when memory is short. */
struct view *view_copy(const struct view *);
/* Binary form for messages; rules as for tree_encode/tree_decode. */
bool view_encode(const struct view *, uint8_t **out, size_t *len);
struct view *view_decode(const uint8_t *, size_t len);
/* NULL when there is no member of that exact name. */
const struct view_member *view_member(const struct view *, const char *name);
/* No leader key, or an empty name in it (spec/ha.md 1.1). */
bool view_unlocked(const struct view *);
/* spec/dcs.md 3.1: nothing stored at all. */
bool view_empty(const struct view *);
/* Equal in everything but load times. */
bool view_equal(const struct view *, const struct view *);

/* Tags from the map of a member key or of the configuration, with the rules
 * of spec/config.md 7 (failover_priority, sync_priority). */
void tags_parse(const struct tree *map, struct tags *);
/* The tags that others are shown (spec/config.md 7): flags only when truthy
 * or beside their priority, all else as it is.  A map of its own; NULL when
 * memory is short. */
struct tree *tags_published(const struct tree *map);

#endif
