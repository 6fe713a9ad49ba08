/*
 * ha.h: the HA core (design 4): a deterministic state machine without I/O,
 * clocks, threads or globals.  In: events and the time.  Out: effects.
 *
 * The production runtime (helpers/postgres) and the simulator (tests/sim)
 * turn effects into work and feed the results back as events.  Every rule of
 * spec/ha.md lives here and nowhere else.
 *
 * Shape.  One HA cycle is one call tree of ordinary functions that reads like
 * the ordered list of spec/ha.md 3.4.  Where it needs an answer from outside
 * it "asks": the first pass emits the effect and the pass ends; when the
 * answer arrives as an event, the cycle is run again from its start on a copy
 * of the state at its start, with all answers so far; effects that were
 * emitted before are not emitted again.  So a cycle may wait anywhere, no
 * second cycle starts meanwhile, and the state changes only when it ends.
 * Long actions (spec/ha.md 21) are small step machines beside the cycle; one
 * at a time.  Events that are not answers are queued until the cycle is over.
 *
 * Times are int64_t nanoseconds of CLOCK_BOOTTIME ("now"); wall-clock times
 * (schedules, published data) are int64_t microseconds since the epoch.
 * LSNs are bytes.
 */
#ifndef HELPERS_HA_HA_H
#define HELPERS_HA_HA_H

#include "../../ipc/messages.h"
#include "../../ipc/tree.h"
#include "../../ipc/types.h"
#include "../../ipc/view.h"

struct ha;

/* Sizes of the texts of a journal entry (FX_JOURNAL). */
#define HA_INPUTS 576
#define HA_REASONS 512
#define HA_EFFECTS 192

/* ---- configuration ---- */

/* Local settings (from patroni.yml and the environment). */
struct ha_config {
	char name[NAME_SIZE];
	char scope[NAME_SIZE];
	char conn_url[URL_SIZE];
	char api_url[URL_SIZE];
	char proxy_url[URL_SIZE];
	char version[WORD_SIZE];     /* published, spec/dcs.md 2.6 */
	struct tags tags;	     /* own tags, parsed */
	const struct tree *tags_doc; /* copied by the core; may be NULL */
	enum watchdog_mode watchdog_mode;
	int32_t watchdog_safety_margin; /* s; -1 = ttl / 2 */
	bool fence;			/* watchdog.fence, default on */
	bool has_bootstrap;		/* `bootstrap` section present */
	bool can_clone_without_leader;	/* some method has no_leader */
	bool use_pg_rewind;		/* effective setting */
	bool remove_data_on_diverged;	/* remove_data_directory_on_… */
	bool remove_data_on_rewind_failure;
	int32_t pg_ctl_timeout; /* s */
	bool has_pre_promote;
	bool mute;	     /* make no texts for log and journal: for who
				throws them away (tests/sim) */
	uint64_t test_break; /* only under HA_TEST_BREAK: rules to break, a bit
				each (tests/sim/rules.def) */
	const struct tree *dynamic; /* dynamic document in use at start (cache
				       or bootstrap.dcs); copied; may be NULL */
};

/* ---- local PostgreSQL as the core sees it ---- */

enum ha_datadir {
	DATADIR_OK = 0,
	DATADIR_EMPTY = 1, /* spec/ha.md 3.4 row 12 */
	DATADIR_UNREADABLE = 2
};

enum ha_isready {
	ISREADY_ACCEPTING,
	ISREADY_REJECTING,
	ISREADY_NO_RESPONSE,
	ISREADY_UNKNOWN
};

enum ha_control_state {
	CONTROL_UNKNOWN = 0, /* unreadable */
	CONTROL_STARTING_UP,
	CONTROL_SHUT_DOWN,
	CONTROL_SHUT_DOWN_IN_RECOVERY,
	CONTROL_SHUTTING_DOWN,
	CONTROL_IN_CRASH_RECOVERY,
	CONTROL_IN_ARCHIVE_RECOVERY,
	CONTROL_IN_PRODUCTION
};

/* One row of pg_stat_replication for synchronous mode (spec/ha.md 13.4). */
struct ha_sender {
	char name[NAME_SIZE]; /* application_name */
	char sync_state[WORD_SIZE];
	uint64_t write_lsn, flush_lsn, replay_lsn; /* 0 = null */
};

/* Answer to FX_PG_STATUS: one snapshot per cycle (spec/ha.md 1.2). */
struct ha_pg {
	bool running;		     /* a postmaster process exists */
	enum pg_state state;	     /* as tracked by the controller */
	int64_t state_since;	     /* when it was entered, ns */
	enum ha_isready isready;     /* asked when state is starting… */
	bool query_ok;		     /* the fields up to `senders` are valid */
	bool query_connection_error; /* ... not because of the connection */
	bool is_primary;	     /* timeline > 0 */
	uint32_t timeline;	     /* primary: of the current WAL file */
	uint32_t received_timeline;  /* standby: spec/ha.md 7.6, 0 unknown */
	uint64_t wal_position;	     /* "last operation" of spec/ha.md 1.2 */
	uint64_t receive_lsn, replay_lsn;
	bool replay_paused;
	bool receiver_streaming;
	char replication_state[WORD_SIZE];
	char synchronous_commit[WORD_SIZE];
	bool archiving; /* archive_mode on, and there is an archive_command */
	uint32_t nsenders;
	/* facts that need no SQL */
	enum ha_datadir datadir;
	char sysid[WORD_SIZE];	 /* "" = invalid */
	uint32_t server_version; /* 150004; 0 unknown */
	bool has_recovery_files; /* standby.signal, recovery.signal, .conf */
	bool has_backup_label;
	bool pg_rewind_possible; /* spec/ha.md 6.4 */
	bool pending_restart;
	bool callback_seen; /* a callback has run since the daemon started */
	char ready_callback_pending; /* controller bookkeeping, opaque */
	/* {name: lsn} for /status, may be NULL; shared by the core: a root,
	 * and not changed any more */
	const struct tree *slots;
	const struct tree *pending_restart_reason; /* may be NULL */
	char postmaster_start_time[WORD_SIZE];
	/* long and seldom filled; ha_pg_copy() takes what is in use */
	char datadir_error[TEXT_SIZE];
	/* logical slots that must be copied from the leader; "" = none */
	char slots_to_copy[TEXT_SIZE];
	char ssn[4096]; /* live synchronous_standby_names */
	struct ha_sender senders[MAX_MEMBERS];
};

/* Answer to FX_CONTROL: pg_controldata. */
struct ha_control {
	bool ok;
	enum ha_control_state state;
	uint32_t timeline; /* of the latest checkpoint */
	uint64_t checkpoint_lsn;
	uint64_t prev_lsn; /* spec/ha.md 2.5; 0 = unknown */
	uint64_t min_recovery_lsn;
	uint32_t min_recovery_timeline;
	char sysid[WORD_SIZE];
	bool has_history_file; /* for the timeline asked about */
};

/* Answer to FX_RECOVERY_DIFF (config.md 12.4). */
enum ha_recovery_diff { DIFF_NONE = 0, DIFF_RELOAD = 1, DIFF_RESTART = 2 };

/* Answer to FX_DIVERGENCE: the facts of spec/postgres.md 16.3. */
struct ha_divergence {
	bool local_known; /* place and timeline; else perhaps the timeline */
	bool local_in_recovery;
	uint32_t local_timeline;
	uint64_t local_lsn;
	uint64_t checkpoint_end; /* end of the shutdown checkpoint, 0 = n/a */
	bool leader_reachable;
	bool leader_in_recovery;
	uint32_t leader_timeline;
	/* they share a timeline by its number, but not where it began */
	bool other_branch;
	/* nor do they share WAL on it, though it began at one place */
	bool other_wal;
	/* that could not be looked at: ask again */
	bool branch_unsure;
	bool history_known; /* needed when leader's is greater */
	uint32_t nhistory;
	struct {
		uint32_t timeline;
		uint64_t lsn;
	} history[MAX_HISTORY];
};

/* ---- jobs: what the controller can be asked to do ---- */

enum ha_job_kind {
	JOB_NONE = 0,
	JOB_BOOTSTRAP,	     /* initdb or custom method, then start */
	JOB_POST_BOOTSTRAP,  /* users, scripts */
	JOB_CLONE,	     /* replica methods from `node` (or none) */
	JOB_START_PRIMARY,   /* start without recovery files */
	JOB_FOLLOW,	     /* write recovery settings, (re)start if needed */
	JOB_RELOAD_RECOVERY, /* write recovery settings and reload */
	JOB_STOP,
	JOB_PROMOTE,
	JOB_RESTART,
	JOB_REWIND,
	JOB_CRASH_RECOVERY, /* single-user mode */
	JOB_REMOVE_DATA,
	JOB_MOVE_DATA,	/* rename aside after failed bootstrap */
	JOB_CHECKPOINT, /* background, does not make the node busy */
	JOB_SET_SSN,	/* synchronous_standby_names := text, reload */
	JOB_SYNC_SLOTS, /* spec/postgres.md 17.4 with the view */
	JOB_COPY_SLOTS,
	JOB_RESUME_REPLAY,
	JOB_ARCHIVE_CHECKPOINT, /* demote-cluster: archive the last WAL file */
	JOB_ADVANCE_WAL,	/* 13.3: write a little WAL, async commit */
	JOB_SET_CONFIG,		/* take a new dynamic document (tree) */
	JOB_SAVE_CACHE,		/* patroni.dynamic.json */
	JOB_KIND_COUNT
};

enum ha_stop_mode { STOP_FAST, STOP_IMMEDIATE, STOP_SMART };

struct ha_job {
	enum ha_job_kind kind;
	/* what to follow, clone or rewind from; "" name = none */
	bool has_node;
	bool node_remote; /* standby_cluster's remote member */
	bool clone_without_leader;
	bool from_leader;   /* reinitialize: basebackup only */
	enum pg_role role;  /* to publish/run callbacks with */
	int64_t timeout_ns; /* 0 = none: result "still starting" allowed */
	enum ha_stop_mode stop_mode;
	bool checkpoint;	/* STOP: CHECKPOINT first */
	bool want_safepoint;	/* STOP: report PROGRESS_SAFEPOINT */
	bool want_shutdown_lsn; /* STOP: report PROGRESS_SHUT_DOWN */
	bool block_callbacks;
	const struct tree *doc; /* SET_CONFIG: document */
	struct view_member node;
	char text[4096]; /* SET_SSN: value, "" = remove */
};

enum ha_job_result {
	JOB_OK = 0,	 /* true */
	JOB_FAILED = 1,	 /* false */
	JOB_NOTHING = 2, /* "nothing": no verdict, do not wake the loop */
	JOB_CANCELLED = 3,
	JOB_UNREACHABLE = 4 /* rewind: leader went away; stays NEED */
};

enum ha_progress {
	PROGRESS_SPAWNED,   /* a postmaster process exists now */
	PROGRESS_SAFEPOINT, /* no client can commit any more */
	PROGRESS_SHUT_DOWN, /* pg_control says shut down; lsn fields set */
	PROGRESS_PRE_PROMOTE_OK,
	PROGRESS_PRE_PROMOTE_FAILED,
	PROGRESS_PROMOTED /* pg_ctl promote was issued */
};

/* ---- effects ---- */

enum ha_fx_type {
	/* asks: answered by an event with the same id */
	FX_LOAD = 1,	  /* EV_VIEW */
	FX_DCS,		  /* EV_DCS: op in .dcs */
	FX_PG_STATUS,	  /* EV_PG_STATUS */
	FX_CONTROL,	  /* EV_CONTROL (.timeline: history file asked for) */
	FX_RECOVERY_DIFF, /* EV_RECOVERY_DIFF (.job: node, role) */
	FX_DIVERGENCE,	  /* EV_DIVERGENCE (.job.node: the leader) */
	FX_POLL,	  /* EV_PEERS */
	FX_FAILSAFE_POST, /* EV_PEERS */
	FX_JOB,		  /* EV_JOB_PROGRESS*, EV_JOB_DONE */
	FX_WD_ARM,	  /* EV_WATCHDOG; pass the postmaster's pidfd */
	FX_DELAY,	  /* EV_DELAY at .at (in-cycle pause) */
	/* no answer */
	FX_JOB_CANCEL, /* .cancel_id; kill its children after .grace */
	FX_WD_GRANT,   /* after every confirmed update, at once */
	FX_WD_DISARM,
	FX_SET_STATE, /* controller's state := .state */
	FX_ROLE,      /* role changed to .role (callback if .callback) */
	FX_CALLBACK,  /* .callback for role .role */
	FX_TIMER,     /* EV_TICK at .at; replaces the timer before */
	FX_PUBLISH,   /* REST snapshot changed (ha_status()) */
	FX_REPLY,     /* answer an operator's request */
	FX_SETTINGS,  /* ttl, loop_wait, retry_timeout changed */
	FX_LOG,
	FX_JOURNAL, /* one decision, for the ring (design 13) */
	FX_EXIT	    /* shutdown is done; .code */
};

enum ha_callback {
	CALLBACK_NONE,
	CALLBACK_ON_START,
	CALLBACK_ON_STOP,
	CALLBACK_ON_RESTART,
	CALLBACK_ON_ROLE_CHANGE,
	CALLBACK_ON_RELOAD
};

enum ha_dcs_op {
	OP_ACQUIRE = 1,
	OP_UPDATE,
	OP_RELEASE,
	OP_TAKE,
	OP_INITIALIZE,
	OP_CANCEL_INITIALIZE,
	OP_TOUCH,
	OP_SET_FAILOVER,
	OP_SET_CONFIG,
	OP_SET_HISTORY,
	OP_SET_SYNC,
	OP_DELETE_SYNC,
	OP_SET_STATUS
};

struct ha_dcs {
	enum ha_dcs_op op;
	union {
		struct msg_dcs_update update;
		struct msg_dcs_status status; /* RELEASE, SET_STATUS */
		struct msg_dcs_initialize initialize;
		struct msg_dcs_touch touch;
		struct msg_dcs_failover failover;
		struct msg_dcs_document document;
		struct msg_dcs_sync sync;
		struct msg_dcs_token token;
	} u;
	const struct tree *doc; /* variable part of the message, or NULL;
				   SET_HISTORY: timeline is in .history_of */
	uint32_t history_of;	/* SET_HISTORY: controller reads the history
				   file of this timeline; 0 = write [] */
};

struct ha_fx {
	enum ha_fx_type type;
	uint64_t id;	  /* of an ask */
	int64_t deadline; /* asks: give up (outcome failed/unknown) then */
	int64_t at;	  /* DELAY, TIMER */
	uint32_t timeline;
	uint32_t npeers;		   /* POLL, FAILSAFE_POST */
	const struct view_failsafe *peers; /* npeers of them */
	uint64_t cancel_id;
	int64_t grace; /* ns */
	struct msg_wd_arm arm;
	struct msg_wd_grant grant;
	struct msg_wd_disarm disarm;
	enum pg_state state;
	enum pg_role role;
	enum ha_callback callback;
	uint64_t request; /* REPLY: id given with EV_REQUEST */
	struct msg_dcs_settings settings;
	int code;
	int level;		   /* LOG: enum log_level */
	char rule[WORD_SIZE];	   /* LOG, JOURNAL: rule id */
	union {			   /* by type; of the others nothing is set */
		struct ha_dcs dcs; /* DCS */
		struct ha_job job; /* JOB, RECOVERY_DIFF, DIVERGENCE */
		struct msg_request_reply reply; /* REPLY */
		struct {
			char text[2048]; /* LOG, JOURNAL result text */
			/* JOURNAL: what the decision was made of, why, what it
			 * set going; "" = nothing to tell */
			char inputs[HA_INPUTS];
			char reasons[HA_REASONS]; /* "; " between them */
			char effects[HA_EFFECTS]; /* ", " between them */
		};
	};
};

/* Effects of one ha_event() call, in order.  Owned by the core, valid until
 * the next call. */
struct ha_effects {
	const struct ha_fx *v;
	uint32_t n;
};

/* ---- events ---- */

enum ha_ev_type {
	EV_TICK = 1, /* timer */
	EV_WAKE,     /* something changed: cycle now (.wake) */
	EV_VIEW,     /* answer to FX_LOAD */
	EV_DCS,	     /* answer to FX_DCS */
	EV_PG_STATUS,
	EV_CONTROL,
	EV_RECOVERY_DIFF,
	EV_DIVERGENCE,
	EV_PEERS,
	EV_JOB_PROGRESS,
	EV_JOB_DONE,
	EV_WATCHDOG, /* answer to FX_WD_ARM (id), or unasked (id 0) */
	EV_DELAY,
	EV_POSTMASTER_GONE,
	EV_ATTACHED, /* first event: what was found at start (.pg, .role) */
	EV_CONFIG,   /* local configuration changed (.config) */
	EV_REQUEST,  /* operator */
	EV_HELPER,   /* dcs/rest/watchdog helper lost or restored */
	EV_SHUTDOWN  /* SIGTERM */
};

struct ha_ev {
	enum ha_ev_type type;
	uint64_t id; /* of the ask that this answers */
	enum wake_reason wake;
	enum outcome outcome;	 /* VIEW, DCS */
	int64_t sent;		 /* VIEW, DCS: when the request went out */
	int64_t token;		 /* DCS: new token */
	const struct view *view; /* VIEW; shared by the core: immutable */
	const struct ha_pg *pg;
	const struct ha_control *control;
	enum ha_recovery_diff diff;
	const struct ha_divergence *divergence;
	const struct peer_status *peers;
	uint32_t npeers;
	enum ha_job_result result;
	enum ha_progress progress;
	uint64_t lsn, prev_lsn; /* PROGRESS_SHUT_DOWN */
	struct msg_wd_state watchdog;
	enum pg_role role; /* ATTACHED */
	const struct ha_config *config;
	uint64_t request; /* id for FX_REPLY */
	const struct msg_request *req;
	const struct tree *doc; /* REQUEST: variable part */
	enum proc helper;
	bool up;
	const char *error; /* VIEW, DCS, JOB_DONE: text for logs, or NULL */
};

/* ---- the machine ---- */

/* NULL when memory is short.  wall_us is only the seed for wall-clock texts;
 * the current wall time comes with each event. */
struct ha *ha_new(const struct ha_config *);
void ha_free(struct ha *);
/*
 * Feed one event.  Never blocks, never fails.  All pointers in the event are
 * copied, shared (the view) or used up before it returns.  now: CLOCK_BOOTTIME
 * ns, must not go back; wall_us: wall clock.  *out lists the effects to carry
 * out in order.
 */
void ha_event(struct ha *, const struct ha_ev *, int64_t now, int64_t wall_us,
    struct ha_effects *out);

/* ---- what others may read ---- */

/* Fill the fields of the REST snapshot that the core knows (role, trusted
 * lock, pause, sync flags, next_run, …); the controller adds the rest. */
void ha_status(const struct ha *, int64_t now, struct msg_status *);
/* Its variable part, added to the map: tags as they are published now, the
 * scheduled restart (spec/rest-api.md 5.4). */
void ha_status_document(const struct ha *, struct tree *doc);
enum pg_role ha_role(const struct ha *);
/* Trusted lock (spec/ha.md 1.1): expiry in ns, 0 = not leader. */
int64_t ha_trusted_until(const struct ha *);
/* Name of the running action or NULL. */
const char *ha_action(const struct ha *);
bool ha_paused(const struct ha *);
/* Last view, or NULL.  Valid until the next ha_event(). */
const struct view *ha_view(const struct ha *);

/* Pure functions shared with the REST helper and patronictl. */

/* The rule ids of log lines and journal entries (ha_rules.def). */
struct ha_rule {
	const char *id;
	const char *section; /* of spec/ha.md */
	const char *text;    /* what it means, a few words */
};
/* In order of their ids; NULL beyond the last. */
const struct ha_rule *ha_rule(uint32_t);
/* NULL: no such rule. */
const struct ha_rule *ha_rule_find(const char *id);

/* Copies of what is in use; trees are not copied. */
void ha_job_copy(struct ha_job *to, const struct ha_job *from);
void ha_pg_copy(struct ha_pg *to, const struct ha_pg *from);

/* ttl, loop_wait, retry_timeout after the clamping of config.md 6.4. */
void ha_clamp(int64_t ttl, int64_t loop_wait, int64_t retry_timeout,
    struct msg_dcs_settings *out);
/*
 * spec/postgres.md 16.3 as a function: 1 rewind needed, 0 not, -1 not
 * decidable yet.  Departs from its table, where equal timelines need nothing:
 * two nodes that were promoted without knowing of each other have given their
 * branches the same number.
 */
int ha_rewind_needed(const struct ha_divergence *);
/* Diverged, and pg_rewind would take both branches for one: it compares where
 * timelines began, and that only when the numbers of the last ones differ. */
bool ha_rewind_blind(const struct ha_divergence *);
/* Slot name of a member (spec/dcs.md 2.6); out has 64 bytes. */
void ha_slot_name(const char *member, char out[64]);

#endif
