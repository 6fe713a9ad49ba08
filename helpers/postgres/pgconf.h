/*
 * pgconf.h: the PostgreSQL side of the configuration (spec/config.md 2.4,
 * 6, 10-13; spec/postgres.md 1.1, 14.4, 15, 17.2): effective configuration,
 * server parameters, the files that PostgreSQL reads, recovery settings,
 * connection strings, desired slots.
 *
 * Everything here is a plain function: no event loop, no SQL, no programs.
 * What only the caller can know (versions, pg_settings rows, output of
 * programs) is passed in.  File writes are atomic (temporary file in the same
 * directory, rename) and short; see pgfile_defer_sync() for fsync.
 *
 * Errors: functions that can fail return false and leave in *err one line
 * that names the file or key.  Warnings of the spec are logged from here.
 * A process without memory ends (the master restarts it; PostgreSQL stays).
 * Trees returned as "struct tree *" belong to the caller.
 */
#ifndef HELPERS_POSTGRES_PGCONF_H
#define HELPERS_POSTGRES_PGCONF_H

#include <sys/types.h>

#include "../../ipc/messages.h"
#include "../../ipc/tree.h"
#include "../../ipc/types.h"
#include "../../ipc/view.h"

struct pgerr {
	char text[TEXT_SIZE + PATH_SIZE];
};

/* ---- versions (spec/postgres.md 1.1, 22.1): conf_version.c ---- */

/* "9.6.3" -> 90603, "15.2" -> 150002, "15" -> 150000 (major = true: the
 * content of PG_VERSION).  0 when malformed. */
uint32_t pgversion_parse(const char *text, bool major);
/* Output of `postgres --version`; 0 when not understood. */
uint32_t pgversion_parse_output(const char *text);
/* Major part of a version number: 90603 -> 90600, 150002 -> 150000. */
uint32_t pgversion_major(uint32_t version);
/* <data_dir>/PG_VERSION; 0 (logged when the content is bad) if unknown. */
uint32_t pgversion_read(const char *data_dir);

/* What a version can do and how it names things (22.1). */
struct pgfeatures {
	bool slots;		     /* 9.4 */
	bool wal_log_hints;	     /* 9.4 */
	bool to_char_zone;	     /* 9.4: OF */
	bool cluster_name;	     /* 9.5; track_commit_timestamp too */
	bool pending_restart_column; /* 9.5 */
	bool recovery_target_action; /* 9.5 */
	bool wal_receiver_view;	     /* 9.6 */
	bool control_functions;	     /* 9.6: pg_control_checkpoint() */
	bool flush_function;	     /* 9.6 */
	bool multiple_sync;	     /* 9.6: "n (a, b)" */
	bool wal_names;		     /* 10: wal/lsn instead of xlog/location */
	bool temporary_slots;	     /* 10 */
	bool quorum_sync;	     /* 10: ANY n (...) */
	bool passfile;		     /* 10 */
	bool target_session_attrs;   /* 10 */
	bool slot_advance;	     /* 11 */
	bool rewind_user;	     /* 11: pg_rewind without superuser */
	bool group_access;	     /* 11 */
	bool recovery_guc;     /* 12: standby.signal instead of recovery.conf */
	bool gssencmode;       /* 12 */
	bool log_transactions; /* 12: log_transaction_sample_rate */
	bool conninfo_reload;  /* 13 */
	bool log_samples;      /* 13: log_min_duration_sample */
	bool wal_keep_size;    /* 13 */
	bool written_lsn;      /* 13 */
	bool slot_wal_status;  /* 13 */
	bool rewind_restore_wal;     /* 13 */
	bool channel_binding;	     /* 13; sslpassword too */
	bool restore_command_reload; /* 14 */
	bool replay_pauses;	     /* 14: too small parameters */
	bool sslcrldir;		     /* 14 */
	bool backup_label_valid;     /* 15: no exclusive backup */
	bool server_compression;     /* 15: pg_basebackup --compress=server-* */
	bool rewind_config_file;     /* 15 */
	bool promote_trigger_file;   /* 12 .. 15 */
	bool failover_slots;	     /* 17 */
	bool sslnegotiation;	     /* 17 */
	bool conninfo_dbname;	     /* 17: dbname is compared */
	bool io_workers;	     /* 18 */
	const char *wal_dir;	     /* "pg_wal" / "pg_xlog" */
	const char *waldump;	     /* "pg_waldump" / "pg_xlogdump" */
	const char *wal_switch;	     /* "SWITCH" / "xlog switch" */
	const char *fn_current_lsn, *fn_flush_lsn, *fn_walfile_name,
	    *fn_replay_lsn, *fn_receive_lsn, *fn_replay_paused,
	    *fn_replay_resume, *fn_lsn_diff;
};
/* Never fails; an unknown version (0) gets those of 9.3. */
struct pgfeatures pgfeatures(uint32_t version);

/* ---- effective configuration: conf_effective.c ---- */

#define PGCONF_ADDRESS_SIZE 1024

struct pgconf {
	struct tree *root;     /* effective configuration (2.4) */
	struct tree *dynamic;  /* the dynamic document in use, clamped numbers
				  written into it (6.3) */
	const struct tree *pg; /* root's "postgresql" with role overlay */
	enum pg_role overlay;  /* ROLE_REPLICA, _STANDBY_LEADER, _PRIMARY or
				  ROLE_UNINITIALIZED: which overlay is applied */
	struct msg_dcs_settings settings; /* ttl, loop_wait, retry_timeout */
	char name[NAME_SIZE], scope[NAME_SIZE];
	char data_dir[PATH_SIZE];
	char config_dir[PATH_SIZE];  /* absolute; data_dir by default */
	char base_name[WORD_SIZE];   /* "postgresql" */
	char custom_conf[PATH_SIZE]; /* "" = none */
	char bin_dir[PATH_SIZE];     /* "" = PATH */
	char database[NAME_SIZE];
	char pgpass[PATH_SIZE];
	char listen_addresses[PGCONF_ADDRESS_SIZE];
	char port[16];
	char connect_host[NAME_SIZE * 2], connect_port[16];
	/* local addresses (13.2): those of the running server, until it is
	 * started anew (10.6 step 6) */
	char tcp_host[NAME_SIZE * 2];
	char tcp_port[16];
	bool socket_kept; /* socket_host instead of the parameters' value */
	char socket_host[PATH_SIZE]; /* "" = libpq's default */
	char krbsrvname[NAME_SIZE];
	char conn_url[URL_SIZE], api_url[URL_SIZE], proxy_url[URL_SIZE];
	int32_t pg_ctl_timeout; /* s */
	bool use_slots, use_pg_rewind, use_unix_socket, use_unix_socket_repl;
	bool remove_data_on_diverged, remove_data_on_rewind_failure;
	bool has_bootstrap;
	bool is_standby_cluster; /* 6.1 */
	bool synchronous_mode, synchronous_mode_quorum, synchronous_mode_strict;
	int32_t member_slots_ttl; /* s; 0 = off */
};

/*
 * Build the effective configuration from the local tree (as sent by the
 * master) and the dynamic document (NULL = none: `{}`).  Both are copied.
 * role selects the overlay of 2.5; ROLE_UNINITIALIZED = none.  NULL and *err
 * when something is unusable (then keep the old one, 6.3).
 */
struct pgconf *pgconf_build(const struct tree *local,
    const struct tree *dynamic, enum pg_role role, struct pgerr *err);
void pgconf_free(struct pgconf *); /* wipes secrets; NULL allowed */
/* Keep what is fixed at the start of the process (4.6: data_dir, config_dir,
 * name ...) as `old` has it. */
void pgconf_keep_fixed(struct pgconf *, const struct pgconf *old);
/* The server goes on running with the addresses that `old` and its parameters
 * (may be NULL) say (10.6 step 6). */
void pgconf_keep_address(
    struct pgconf *, const struct pgconf *old, const struct tree *old_params);
/* The start-up choice of 1.3 step 9 / 6.2: the document of the DCS if it is
 * a non-empty map, else the cache if given, else bootstrap.dcs of the local
 * tree, else NULL.  Borrowed from the arguments. */
const struct tree *pgconf_choose(
    const struct tree *dcs, const struct tree *cache, const struct tree *local);

/* Cache file patroni.dynamic.json (6.5).  load: NULL when missing (err "")
 * or bad (err set). */
struct tree *pgconf_cache_load(const char *data_dir, struct pgerr *err);
bool pgconf_cache_save(
    const char *data_dir, const struct tree *dynamic, struct pgerr *err);

/* Path of a program (postgres.md 1.2); a name without '/' is for PATH. */
void pgconf_program(
    const struct pgconf *, const char *command, char out[PATH_SIZE]);
/* Full path of <config_dir>/<base>.conf. */
void pgconf_config_file(const struct pgconf *, char out[PATH_SIZE]);
/* Command line of a callback (on_start ...) or hook (pre_promote,
 * before_stop); NULL when not configured. */
const char *pgconf_callback(const struct pgconf *, const char *name);
const char *pgconf_hook(const struct pgconf *, const char *name);

/* ---- connection settings: conf_conninfo.c, conf_connect.c ---- */

/* A conninfo is a map key -> text in libpq's names (user, host ...). */

enum pgconn_use {
	PGCONN_HEARTBEAT, /* local, superuser */
	PGCONN_RESTAPI,
	PGCONN_LOCAL_REPLICATION, /* local, replication user; replication=1
				     is for the caller to add */
	PGCONN_LEADER,		  /* to a member: rewind or superuser (13.3) */
	PGCONN_LEADER_REPLICATION /* to a member: replication credentials */
};
/*
 * Connection for one use with password included, ready for
 * PQconnectStartParams().  member: for PGCONN_LEADER*, else NULL.  params:
 * server parameters (unix_socket_directories), may be NULL.  major: of
 * PG_VERSION.  NULL when the member has no usable URL.
 */
struct tree *pgconf_connection(const struct pgconf *, enum pgconn_use,
    const struct view_member *member, const struct tree *params,
    uint32_t major);
/* Fill NULL-terminated arrays of libpq from a map; max includes the NULL.
 * Pointers live as long as the map.  False when it does not fit. */
bool pgconf_libpq_arrays(const struct tree *conninfo, const char **keys,
    const char **values, size_t max);
/* One credential record (superuser, replication, rewind) or NULL. */
const struct tree *pgconf_credentials(const struct pgconf *, const char *which);
/* Credentials for pg_rewind and friends: rewind from 11 on, else superuser. */
const struct tree *pgconf_rewind_credentials(
    const struct pgconf *, uint32_t major);
/* Host ("" = libpq's default) of local connections (13.2). */
void pgconf_local_host(const struct pgconf *, const struct tree *params,
    bool replication, char *out, size_t size);

/* Connection string for programs and scripts (12.3): password left out (it
 * goes to the pgpass file), keys gated by version.  0 = no gate.  malloc'd. */
char *conninfo_format(
    const struct tree *conninfo, uint32_t version, const char *passfile);
/* Parse `k = v` text or a postgres:// URI (12.4); NULL when malformed. */
struct tree *conninfo_parse(const char *text);
/* host, port (default 5432), dbname of a member's conn_url. */
struct tree *conninfo_from_url(const char *url);
/* Connection of a member with some credentials for a program: from conn_url
 * + credentials; dbname from the URL or `postgresql.database`.
 * NULL when there is no usable URL. */
struct tree *pgconf_member_conninfo(const struct pgconf *,
    const struct view_member *, const struct tree *credentials);
/* pgpass file for that connection (11.5).  *written = false when it has no
 * password (then nothing was touched). */
bool pgconf_write_pgpass(const struct pgconf *, const struct tree *conninfo,
    bool *written, struct pgerr *);
/* The lines alone; malloc'd, NULL when there is no password. */
char *pgpass_lines(const struct tree *conninfo);

/* ---- server parameters: conf_params.c, conf_argv.c ---- */

/* What the caller knows of the server when parameters are built or files are
 * written.  Zeroed = nothing known. */
struct pgfacts {
	uint32_t major;	  /* PG_VERSION: 90600, 150000; 0 = unknown */
	uint32_t version; /* "current version" (postgres.md 1.1); 0 = major */
	enum pg_role role;
	mode_t umask; /* of the process at start, for files outside PGDATA */
	const struct tree *known;	 /* map of names from --describe-config
					    (guc.h), NULL = not asked */
	bool custom_bootstrap;		 /* a custom bootstrap is in progress */
	bool keep_recovery_conf;	 /* its keep_existing_recovery_conf */
	bool force_hot_standby_feedback; /* postgres.md 17.8 */
	bool ssn_chosen; /* the HA loop manages synchronous_standby_names: */
	const char *ssn; /* ... this value, NULL = remove */
};

/* The set of 10.3: map name -> scalar, written spelling kept.  Recovery
 * parameters are taken out; see pgconf_recovery_conf(). */
struct tree *pgconf_server_params(
    const struct pgconf *, const struct pgfacts *);
/* The `recovery_conf` mapping that counts (10.3 last paragraph); never NULL. */
struct tree *pgconf_recovery_conf(
    const struct pgconf *, const struct pgfacts *);
/*
 * Start rule of 10.8 in place, for every start.  facts->role other than
 * primary: values from pg_controldata (map as control_parse() makes it) win
 * when larger.  recovery: settings that will be in force (for hot_standby of
 * a custom bootstrap), may be NULL.  Adds {name: {old_value, new_value}} to
 * the map reasons.
 */
void pgconf_start_params(struct tree *params, const struct pgfacts *,
    const struct tree *controldata, const struct tree *recovery,
    struct tree *reasons);
/* Command line of the postmaster (postgres.md 4.2), NULL-terminated, one
 * allocation for free(). */
char **pgconf_postmaster_argv(
    const struct pgconf *, const struct tree *params, const struct pgfacts *);
/* Is the parameter controlled through the DCS only (10.1)? */
bool pgparam_is_dcs_only(const char *name);

/* One row of pg_settings; NULL text = SQL null. */
struct pgsetting {
	const char *name, *setting, *unit, *vartype, *context, *sourcefile;
};
/* 10.5: does the running setting differ from the configured value? */
bool pgsetting_differs(const struct pgsetting *, const struct tree *value);
struct pgreload {
	bool conf, hba, ident; /* which files must be rewritten */
	struct tree *pending;  /* {name: {old_value, new_value}} */
};
/* Names whose pg_settings rows pgconf_compare() wants (lower case): list. */
struct tree *pgconf_compare_names(
    const struct tree *before, const struct tree *after);
/* 10.6 steps 1-5.  before (the set written last) and old may be NULL.
 * `after` may lose invalid names.  running = false (PostgreSQL is not in
 * state running, or a custom bootstrap): comparisons are skipped.  The caller
 * frees out->pending. */
void pgconf_compare(const struct pgconf *, const struct pgconf *old,
    const struct tree *before, struct tree *after, const struct pgsetting *rows,
    size_t nrows, bool running, struct pgreload *out);

/* ---- files: conf_render.c, conf_write.c, conf_file.c ---- */

/* Text of <base>.conf (11.1).  recovery: section for >= 12, may be NULL.
 * malloc'd. */
char *pgconf_render(const struct pgconf *, const struct tree *params,
    const struct tree *recovery, const struct pgfacts *);
/* Text of pg_hba.conf / pg_ident.conf (11.3), NULL = not managed. */
char *pgconf_render_hba(
    const struct pgconf *, const struct tree *params, const struct pgfacts *);
char *pgconf_render_ident(const struct pgconf *, const struct tree *params);
/* Trust rules of a custom bootstrap (11.3); addresses: list of texts. */
char *pgconf_render_trust_hba(
    const struct pgconf *, const struct tree *addresses);

/* postgresql.auto.conf (11.2): does it set recovery parameters that are to be
 * deleted after a write of <base>.conf?  And delete them; it blocks. */
bool pgconf_auto_conf_dirty(const struct pgconf *, const struct pgfacts *);
bool pgconf_clean_auto_conf(
    const struct pgconf *, const struct pgfacts *, struct pgerr *);
/* Write <base>.conf (after the rename to base.conf). */
bool pgconf_write_conf(const struct pgconf *, const struct tree *params,
    const struct tree *recovery, const struct pgfacts *, struct pgerr *);
bool pgconf_write_hba(const struct pgconf *, const struct tree *params,
    const struct pgfacts *, struct pgerr *);
bool pgconf_write_ident(const struct pgconf *, const struct tree *params,
    const struct pgfacts *, struct pgerr *);
/* The trust rules of a custom bootstrap instead. */
bool pgconf_write_trust_hba(const struct pgconf *, const struct tree *addresses,
    const struct pgfacts *, struct pgerr *);
bool pgconf_append_hba(const struct pgconf *, const struct tree *lines,
    const struct pgfacts *, struct pgerr *); /* bootstrap.pg_hba */
/*
 * Recovery files (12.3): < 12 recovery.conf with all parameters; >= 12 only
 * the signal file (the parameters go through pgconf_write_conf()).
 * pgconf_remove_recovery: no longer wanted (start as primary).
 */
bool pgconf_write_recovery(const struct pgconf *, const struct tree *recovery,
    const struct pgfacts *, struct pgerr *);
bool pgconf_remove_recovery(const struct pgconf *, struct pgerr *);
/* recovery.conf, or a signal file, is there. */
bool pgconf_has_recovery_files(const struct pgconf *, uint32_t major);
/* Backups beside PGDATA's files and back (11.4). */
bool pgconf_backup(const struct pgconf *, const struct tree *params,
    const struct pgfacts *, struct pgerr *);
bool pgconf_restore(const struct pgconf *, const struct tree *params,
    const struct pgfacts *, struct pgerr *);
/* Directories checked and created before a start (11.7). */
bool pgconf_check_directories(
    const struct pgconf *, const struct tree *params, struct pgerr *);
/* Mode for new files (or directories) at that path (11.6). */
mode_t pgconf_file_mode(const struct pgconf *, const char *path,
    const struct pgfacts *, bool directory);
/* Atomic replacement; follows a symlink at path.  mode as chmod(2).  A file
 * that has that content and mode already is left alone. */
bool pgfile_write(const char *path, const char *data, size_t len, mode_t mode,
    struct pgerr *);
/*
 * The controller's loop must not wait for a disk: with a hook set, a new file
 * is in place when pgfile_write() returns, but maybe not yet on the disk; the
 * hook has it synced (pgfile_sync()) elsewhere.  Everything written this way
 * is made from the configuration anew before each start of the server, so
 * that a power failure in between costs nothing.  NULL: synced at once.
 */
void pgfile_defer_sync(void (*hook)(const char *path, void *arg), void *arg);
/* fsync a file and its directory; a file that is gone is none. */
bool pgfile_sync(const char *path, struct pgerr *);
/* On the disk when it returns: for what cannot be made anew; in workers. */
bool pgfile_write_durable(const char *path, const char *data, size_t len,
    mode_t mode, struct pgerr *);
/* What stands behind the name, before six random characters, until then. */
#define PGFILE_UNFINISHED ".new."
/* Remove unfinished files of the data directory, the configuration directory
 * and beside the password file.  To be called while nobody writes any. */
void pgconf_sweep(const struct pgconf *);
/* Whole text file, NUL-terminated, malloc'd; NULL and *err (errno kept). */
char *pgfile_read(const char *path, size_t max, size_t *len, struct pgerr *);

/* ---- recovery settings: conf_recovery.c, conf_diff.c ---- */

/* What to follow. */
struct pgtarget {
	const struct view_member *node; /* NULL = nobody: archive only */
	bool remote;			/* standby_cluster's remote member */
	bool standby_leader;		/* role we will have */
};
/*
 * Desired settings (12.2) as a map; "primary_conninfo", when wanted, is a
 * map with the password still in it (rendering writes passfile instead from
 * 10 on; write pgpass first with pgconf_write_pgpass()).
 */
struct tree *pgconf_recovery_settings(
    const struct pgconf *, const struct pgfacts *, const struct pgtarget *);
/* Recovery settings of a custom bootstrap section, translated for the
 * version (12.3). */
struct tree *pgconf_bootstrap_recovery(
    const struct tree *recovery_conf, const struct pgfacts *);
/* standby_cluster's remote member as a view member; false when it has no
 * host.  Several hosts stay a comma list in conn_url. */
bool pgconf_remote_member(const struct pgconf *, struct view_member *out);
/* Path of the trigger file (postgres.md 13.4). */
void pgconf_trigger_file(
    const struct pgconf *, uint32_t major, char out[PATH_SIZE]);

/* Current settings: rows of the recovery parameters from pg_settings
 * (>= 12), or a parsed recovery.conf. */
struct pgcurrent {
	bool valid;		      /* false: could not be read -> restart */
	const struct pgsetting *rows; /* >= 12 */
	size_t nrows;
	const struct tree *recovery_conf; /* < 12: recovery_conf_parse() */
	/* live walreceiver (9.6+), NULL when there is none */
	const char *receiver_conninfo;
	bool has_receiver;
	const char *receiver_slot; /* "" = none */
};
enum pgdiff { PGDIFF_NONE = 0, PGDIFF_RELOAD = 1, PGDIFF_RESTART = 2 };
/* 12.4 steps 1 and 3-6 (when to re-read is the caller's business).  why:
 * which parameter, for the log; may be NULL. */
enum pgdiff pgconf_recovery_diff(const struct pgconf *, const struct tree *want,
    const struct pgcurrent *, const struct pgfacts *, char why[WORD_SIZE]);
/* recovery.conf text -> map of texts; NULL when a line is unparsable. */
struct tree *recovery_conf_parse(const char *text);
/* Names of recovery parameters of that major version, NULL-terminated
 * (12.1): for the query of pg_settings. */
const char *const *recovery_param_names(void);
bool recovery_param_is(const char *name); /* any version, any case */
bool recovery_param_known(const char *name, uint32_t major);

/* ---- arguments of programs: conf_options.c (postgres.md 13, 14) ---- */

enum pgtool { PGTOOL_INITDB, PGTOOL_BASEBACKUP, PGTOOL_REWIND };
/* --options from a section of 14.4 as a list of texts.  initdb: NULL and
 * *err on a violation; others log and drop. */
struct tree *pgoptions(
    enum pgtool, const struct tree *section, uint32_t version, struct pgerr *);
/* Shell-like word split without a shell; list of texts, NULL if malformed. */
struct tree *pgwords(const char *command, struct pgerr *);
/* Names of the replica methods to try (14.2), list of texts. */
struct tree *pgconf_replica_methods(
    const struct pgconf *, bool remote, bool have_source, bool from_leader);
struct pgmethod {
	bool no_leader, no_params, keep_data;
	struct tree *argv; /* list of texts: words, arguments */
};
/* argv of a custom replica method.  connstring "" when there is no source. */
bool pgconf_replica_method(const struct pgconf *, const char *method,
    const char *connstring, struct pgmethod *out, struct pgerr *);
/* Some configured method works without a source. */
bool pgconf_can_clone_without_leader(const struct pgconf *);
/* Custom bootstrap (13.2, 13.4): name of the method or NULL = initdb. */
const char *pgconf_bootstrap_method(const struct pgconf *);
bool pgconf_bootstrap_argv(const struct pgconf *, const char *method,
    struct tree **argv, struct pgerr *);

/* ---- slots: conf_slots.c (postgres.md 17.1, 17.2, 17.8) ---- */

struct pgslot {
	char name[64];
	bool logical;
	bool expected_active;
	bool permanent; /* from the configuration, not a member's */
	char database[64], plugin[64];
	uint64_t lsn; /* 0 = unknown */
};
struct pgslots {
	struct pgslot v[MAX_SLOTS];
	uint32_t n;
	uint32_t dropped; /* wanted beyond MAX_SLOTS */
};
struct pgslots_in {
	const struct view *view;
	const struct tree *dynamic; /* document in use */
	const char *name;
	enum pg_role role;
	const struct tags *tags;
	uint32_t major;
};
/* Desired slots of the node; nothing without a `config` key.  quiet: no log
 * lines (for derived questions). */
void pgslots_desired(const struct pgslots_in *, bool quiet, struct pgslots *);
/* Slot that this member uses on the primary; "" = none. */
void pgslots_on_primary(const struct view *, const char *member, char out[64]);
/* Must hot_standby_feedback be forced on (17.8)? */
bool pgslots_need_feedback(const struct pgslots_in *);
/* Some entry of ignore_slots matches (17.5); type "physical" or "logical",
 * database and plugin "" for physical slots. */
bool pgslots_ignored(const struct tree *dynamic, const char *name,
    const char *type, const char *database, const char *plugin);

#endif
