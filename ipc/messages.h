/*
 * messages.h: the structs of the catalogue (messages.def), and its tables.
 *
 * Fixed layout: fixed-width integers, explicit padding, NUL-terminated char
 * arrays.  Every struct has a size assertion in messages.c and a content
 * check there (terminated strings, enums and flags in range) that runs on
 * receipt before any receiver sees the message.  Variable parts are encoded
 * trees (tree.h) unless stated.
 */
#ifndef IPC_MESSAGES_H
#define IPC_MESSAGES_H

#include "ipc.h"
#include "log.h"
#include "tree.h"
#include "types.h"
#include "view.h"

enum msg_type {
#define P(x) 0
#define MSG(name, number, from, to, body, var, fd) MSG_##name = (number),
#include "messages.def"
#undef MSG
#undef P
};

/* "DCS_LOAD"; "?" for an unknown number. */
const char *msg_name(uint16_t type);
/* May `from` send this type to `to`? (replies are types of their own) */
bool msg_allowed(uint16_t type, enum proc from, enum proc to);
/* Size of the fixed body (0 = none); most bytes of the variable part. */
bool msg_sizes(uint16_t type, size_t *body, size_t *max_var, bool *fd);
/* Content check of a body of the right size.  NULL or what is wrong. */
const char *msg_check(
    uint16_t type, const void *body, const uint8_t *var, size_t var_len);

/* ---- master <-> helpers ---- */

struct msg_link {      /* + fd: our end of a link to that peer */
	uint32_t peer; /* enum proc */
	uint32_t pad;
};

struct msg_config {	     /* var: tree, only the sections for that helper */
	uint64_t generation; /* grows with every reload */
	uint32_t reload;     /* 0 at start, 1 for a reload */
	uint32_t restarts;   /* of this helper since the daemon started; 0 =
				first start: the unique-name check is due */
	char config_dir[PATH_SIZE]; /* directory of the configuration file */
};

struct msg_log_settings { /* + fd (optional): new fd 2 */
	struct log_settings s;
};

enum descriptor_kind {
	DESCRIPTOR_LISTEN = 1,	 /* rest: a listening TCP socket */
	DESCRIPTOR_WATCHDOG = 2, /* keeper: opened device (reply to open) */
	DESCRIPTOR_TLS_CERT = 3, /* rest: opened files, read and closed */
	DESCRIPTOR_TLS_KEY = 4,
	DESCRIPTOR_TLS_CA = 5,
	DESCRIPTOR_FILE = 6,	     /* dcs: an opened file, by its name */
	DESCRIPTOR_CGROUP_PROCS = 7, /* postgres: to put the postmaster in */
	DESCRIPTOR_CGROUP_KILL = 8,  /* keeper: to end all that is in it */
	DESCRIPTOR_KIND_COUNT = 9
};

struct msg_descriptor { /* + fd, or none with an errno */
	uint32_t kind;	/* enum descriptor_kind */
	int32_t error;	/* errno when the file could not be opened, else 0 */
	char what[PATH_SIZE]; /* address or file name, for messages */
};

struct msg_ready {
	uint64_t generation; /* of the CONFIG that this answers */
	int32_t ok;	     /* 0: refused, text says why; the old one stays */
	uint32_t pad;
	char text[TEXT_SIZE];
};

struct msg_stopped {
	int32_t
	    exit_code; /* what the master should exit with; rules ha.md 2.4 */
	uint32_t pad;
};

/* Periodic and on change; shown by `patronictl local`. */
struct msg_helper_info {
	uint64_t loops;	      /* HA cycles, requests served, grants … */
	int64_t lease_end_ns; /* postgres, watchdog: CLOCK_BOOTTIME, 0 = none */
	uint32_t queue_bytes; /* unsent bytes on its links */
	uint32_t sandbox;     /* bit 0 seccomp, bit 1 Landlock in force */
	uint32_t armed;	      /* watchdog: fence armed */
	uint32_t fenced;      /* watchdog: fences carried out since start */
	uint32_t role;	      /* postgres: enum pg_role */
	uint32_t state;	      /* postgres: enum pg_state */
	char text[TEXT_SIZE]; /* last HA result, device state, endpoint … */
};

struct msg_device_open {
	char path[PATH_SIZE];
};

/* What the master knows of each helper, by enum proc; for /metrics. */
struct msg_restarts {
	uint32_t count[PROC_COUNT];
	uint32_t queue_bytes[PROC_COUNT]; /* unsent, as last reported */
};

enum notify_kind {
	NOTIFY_READY = 1,	/* READY=1 again (spec/config.md 9) */
	NOTIFY_RELOAD = 2,	/* REST: reload as for SIGHUP */
	NOTIFY_TERMINATE = 3,	/* REST: as for SIGTERM */
	NOTIFY_EXIT = 4,	/* HA decided to exit, code in value */
	NOTIFY_BROKEN_PEER = 5, /* a linked helper broke the protocol; value =
				   enum proc: to be started anew */
	NOTIFY_KIND_COUNT = 6
};

struct msg_notify {
	uint32_t kind; /* enum notify_kind */
	int32_t value;
};

/* ---- postgres, rest -> dcs ---- */

struct msg_dcs_settings { /* seconds, after clamping (config.md 6.4) */
	int32_t ttl;
	int32_t loop_wait;
	int32_t retry_timeout;
	int32_t pad;
};

/* spec/dcs.md 4.1 update_leader.  var: map with any of
 * slots {name: lsn}, retain_slots [name], failsafe {name: api_url} */
struct msg_dcs_update {
	uint64_t optime;      /* bytes; used when with_status */
	uint32_t with_status; /* write /status after the lock */
	uint32_t with_failsafe;
};

struct msg_dcs_status { /* RELEASE: optime 0 = do not write /status */
	uint64_t optime;
};

struct msg_dcs_initialize {
	uint32_t create; /* 1: only if absent */
	uint32_t pad;
	char sysid[WORD_SIZE]; /* "" while bootstrapping */
};

/* Own member key.  var: map {tags, pending_restart_reason,
 * scheduled_restart}, each optional.  spec/dcs.md 2.6 */
struct msg_dcs_touch {
	char conn_url[URL_SIZE];
	char api_url[URL_SIZE];
	char proxy_url[URL_SIZE]; /* "" = leave out */
	uint32_t state;		  /* enum pg_state */
	uint32_t role;		  /* enum pg_role */
	uint32_t
	    checkpoint_pending; /* publish checkpoint_after_promote:false */
	uint32_t pending_restart;
	uint32_t pause;
	uint32_t has_lsn; /* the LSN block is valid */
	uint64_t xlog_location;
	uint64_t receive_lsn; /* 0 = leave out */
	uint64_t replay_lsn;  /* 0 = leave out */
	uint32_t timeline;    /* 0 = leave out */
	uint32_t pad;
	char replication_state[WORD_SIZE]; /* "" = leave out */
};

struct msg_dcs_failover { /* all empty: write {} */
	char leader[NAME_SIZE];
	char member[NAME_SIZE];
	char scheduled_at[WORD_SIZE]; /* ISO 8601 with zone, "" = none */
	int64_t token;
	uint32_t with_token; /* CAS */
	uint32_t pad;
};

struct msg_dcs_document { /* var: JSON text, checked by the sender */
	int64_t token;
	uint32_t with_token;
	uint32_t pad;
};

struct msg_dcs_sync { /* var: list of voter names (sorted by the writer) */
	char leader[NAME_SIZE];
	uint32_t quorum;
	uint32_t with_token;
	int64_t token;
};

struct msg_dcs_token {
	int64_t token;
	uint32_t with_token;
	uint32_t pad;
};

/* POLL, var: list of maps {name, api_url}: GET /patroni of each.
 * FAILSAFE_POST, var: map {targets: [{name, api_url}], name, conn_url,
 * api_url, slots {name: lsn}}: POST /failsafe to each target. */
struct msg_poll {
	int32_t connect_timeout_ms;
	int32_t read_timeout_ms;
};

struct msg_url {
	char url[URL_SIZE];
};

/* ---- dcs -> postgres, rest ---- */

struct msg_view {	  /* var: encoded view when outcome is OK */
	uint32_t outcome; /* enum outcome */
	uint32_t pad;
	char error[TEXT_SIZE];
};

struct msg_result {
	uint32_t outcome; /* enum outcome */
	uint32_t code;	  /* LIVENESS: HTTP status, 0 = no answer */
	int64_t token;	  /* SET_SYNC, SET_CONFIG: new CAS token */
	int64_t sent_ns;  /* when the request went out (design 5) */
	char error[TEXT_SIZE];
};

/* Answer of one polled peer (spec/ha.md 11.3). */
struct peer_status {
	char name[NAME_SIZE];
	uint32_t reachable;
	uint32_t runs_as_primary;
	uint64_t position;
	uint32_t timeline;
	uint32_t watchdog_failed;
	uint32_t has_tags;
	uint32_t accepted; /* FAILSAFE_POST: 200 and "Accepted" */
	uint64_t lsn;	   /* FAILSAFE_POST: lsn header */
	uint32_t has_lsn;
	uint32_t pad;
	struct tags tags;
	char text[TEXT_SIZE]; /* body or error, shortened, for the log */
};

/* Requests of postgres to the store since the helper started; for /metrics. */
struct msg_dcs_figures {
	uint64_t requests, failures;
	int64_t total_ns, last_ns; /* from the request to its answer */
};

struct msg_peers { /* var: count × struct peer_status, one per target */
	uint32_t count;
	uint32_t pad;
};

enum wake_reason {
	WAKE_LEADER = 1, /* leader key changed or went */
	WAKE_CONFIG = 2,
	WAKE_STATUS = 3,
	WAKE_OTHER = 4,
	WAKE_REASON_COUNT = 5
};

struct msg_wake {	 /* a watched key changed: start a cycle now */
	uint32_t reason; /* enum wake_reason */
	uint32_t pad;
};

/* ---- postgres -> rest: everything that answers need (rest-api.md 5) ---- */

/* var: map {tags, replication [..], pending_restart_reason,
 * scheduled_restart, slots}, each optional */
struct msg_status {
	int64_t stamp_ns;	   /* when it was made, CLOCK_BOOTTIME */
	int64_t trusted_until_ns;  /* trusted lock; 0 = not leader */
	int64_t failsafe_until_ns; /* failsafe record; 0 = inactive */
	int64_t next_run_ns;	   /* of the HA loop (rest-api.md 7.1) */
	int64_t view_until_ns;	   /* cached view usable until; 0 = no view */
	int64_t dcs_last_seen;	   /* epoch seconds, 0 = never */
	int64_t ttl_ns;
	int64_t loop_ns; /* duration of the last cycle */
	uint64_t cycles;
	uint64_t optime;	/* /status optime of the view */
	uint64_t latest_end;	/* receiver's latest end, 0 = unknown */
	uint64_t xlog_location; /* primary */
	uint64_t received_location;
	uint64_t replayed_location;
	int64_t maximum_lag_on_failover;
	uint32_t role;	      /* enum pg_role, in memory */
	uint32_t state;	      /* enum pg_state, in memory */
	uint32_t sql_ok;      /* status query succeeded */
	uint32_t in_recovery; /* from the query */
	uint32_t replayed_known;
	uint32_t replay_paused;
	uint32_t postmaster_running;
	uint32_t server_version;
	uint32_t timeline; /* 0 = null */
	uint32_t pause;
	uint32_t cluster_unlocked;
	uint32_t standby_cluster;
	uint32_t synchronous_mode; /* 0 off, 1 priority, 2 quorum */
	uint32_t sync_standby;	   /* listed in /sync */
	uint32_t failsafe_mode;
	uint32_t watchdog_failed;
	uint32_t pending_restart;
	uint32_t nostream;
	uint32_t noloadbalance;
	uint32_t pad;
	char replication_state[WORD_SIZE]; /* "" = absent */
	char receiver_state[WORD_SIZE];
	char postmaster_start_time[WORD_SIZE];
	char replayed_timestamp[WORD_SIZE]; /* "" = null */
	char sysid[WORD_SIZE];
	char leader[NAME_SIZE];
};

enum request_kind {
	REQUEST_RESTART = 1,
	REQUEST_SCHEDULE_RESTART = 2,
	REQUEST_CANCEL_RESTART = 3, /* delete the scheduled one */
	REQUEST_REINITIALIZE = 4,
	REQUEST_FAILSAFE = 5, /* POST /failsafe of a primary */
	REQUEST_RELOAD = 6,
	REQUEST_WAKE = 7, /* a key was written, start a cycle */
	REQUEST_JOURNAL = 8,
	REQUEST_STATUS = 9, /* query PostgreSQL now, send STATUS, then reply */
	REQUEST_KIND_COUNT = 10
};

/* FAILSAFE, var: map {slots}. JOURNAL reply, var: list of maps. */
struct msg_request {
	uint32_t kind; /* enum request_kind */
	uint32_t force;
	uint32_t from_leader;
	uint32_t restart_pending;
	uint32_t has_role;
	uint32_t role;		  /* enum pg_role filter */
	int32_t timeout;	  /* s, -1 = not given */
	int32_t postgres_version; /* number form, 0 = not given */
	int64_t schedule_us;	  /* wall clock us, 0 = now */
	char schedule[WORD_SIZE]; /* as given */
	char postgres_version_text[WORD_SIZE];
	char name[NAME_SIZE]; /* FAILSAFE: of the primary */
	char conn_url[URL_SIZE];
	char api_url[URL_SIZE];
};

struct msg_request_reply {
	uint32_t code; /* HTTP status of spec/rest-api.md */
	uint32_t has_lsn;
	uint64_t lsn; /* FAILSAFE */
	char text[TEXT_SIZE];
};

/* ---- actions of the REST API without HTTP (design 10) ---- */

enum api_action {
	API_SWITCHOVER = 1,
	API_FAILOVER = 2,
	API_CANCEL_SWITCHOVER = 3, /* delete the scheduled one */
	API_RESTART = 4,
	API_CANCEL_RESTART = 5,
	API_KIND_COUNT = 6
};

/* var: map with the members that the body of the REST request would have;
 * the names there are the API's (spec/rest-api.md 16, 17). */
struct msg_action {
	uint32_t kind; /* enum api_action */
	uint32_t pad;
};
#define MAX_ACTION 4096

/* ---- postgres <-> watchdog (design 5, ha.md 20) ---- */

enum watchdog_mode {
	WATCHDOG_OFF = 0,
	WATCHDOG_AUTOMATIC = 1,
	WATCHDOG_REQUIRED = 2,
	WATCHDOG_MODE_COUNT = 3
};

struct msg_wd_settings {
	int32_t ttl;	   /* seconds */
	int32_t loop_wait; /* seconds */
};

struct msg_wd_arm { /* + fd: pidfd of the postmaster; answered by WD_STATE */
	int32_t postmaster_pid;
	uint32_t activate_device; /* 0: fence only */
	char cgroup[PATH_SIZE];	  /* delegated cgroup, "" = none */
};

struct msg_wd_grant {
	int64_t sent_ns;      /* when the confirmed update was sent */
	int64_t lease_end_ns; /* sent + ttl */
	int64_t ttl_ns;
};

struct msg_wd_disarm {
	uint32_t reason; /* 0 demotion, 1 pause, 2 not primary, 3 shutdown */
	uint32_t pad;
};

/* Reply to SETTINGS, ARM, GRANT, DISARM; also unasked after a fence. */
struct msg_wd_state {
	uint32_t fence_armed;
	uint32_t fenced; /* this state follows a fence */
	uint32_t mode;	 /* enum watchdog_mode */
	uint32_t device_running;
	uint32_t healthy;	   /* ha.md 20.5 */
	int32_t device_timeout;	   /* s, 0 = no device */
	int32_t activation_failed; /* ARM in mode required failed */
	uint32_t pad;
	int64_t lease_end_ns;
	char text[TEXT_SIZE];
};

/* ---- control socket ---- */

enum ctl_query_kind {
	CTL_PROCESSES = 1, /* table of processes, restarts, memory, lease */
	CTL_JOURNAL = 2,
	CTL_LOG_LEVEL = 3,
	CTL_RELOAD = 4,
	CTL_RESTART_HELPER = 5,
	CTL_REQUEST = 6, /* forwarded to postgres as REQUEST */
	CTL_ACTION = 7,	 /* forwarded to rest as ACTION, with the var */
	CTL_QUERY_KIND_COUNT = 8
};

struct msg_ctl_query { /* var: ACTION only */
	uint32_t kind; /* enum ctl_query_kind */
	uint32_t proc; /* RESTART_HELPER: enum proc */
	int32_t log_level;
	uint32_t limit;		    /* JOURNAL: newest n, 0 = all */
	struct msg_request request; /* CTL_REQUEST */
	struct msg_action action;   /* CTL_ACTION */
};

struct msg_ctl_reply { /* var: tree with the answer */
	uint32_t code; /* 200, or an HTTP-like status */
	uint32_t pad;
	char text[TEXT_SIZE];
};

#endif
