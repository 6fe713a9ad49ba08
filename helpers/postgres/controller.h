/*
 * controller.h: the PostgreSQL controller (design 7), shared by its own
 * files only.  One process, one event loop, one `struct controller`.
 *
 *   controller.c  start-up, events to the core
 *   effects.c     effects of the core to dcs, rest, keeper, timers, jobs
 *   status.c      the status query; facts.c  facts without SQL
 *   publish.c     the snapshot for rest
 *   settings.c    what is written to PostgreSQL's files, and reloads
 *   job*.c        long actions, one at a time; background.c the others
 *   disk.c        what must wait for the disk
 *   slots.c, callback.c, journal.c, request.c
 */
#ifndef HELPERS_POSTGRES_CONTROLLER_H
#define HELPERS_POSTGRES_CONTROLLER_H

#include <event2/event.h>

#include "../../ipc/clock.h"
#include "../../ipc/log.h"
#include "../ha/ha.h"
#include "../runtime.h"
#include "child.h"
#include "pgconf.h"
#include "postmaster.h"
#include "sql.h"

struct controller;
struct job;

/* One status query's result, beyond what the core needs (rest-api.md 5). */
struct snapshot {
	struct ha_pg pg;
	int64_t taken_ns; /* when it was complete, CLOCK_BOOTTIME */
	bool sql_ok;
	bool in_recovery;
	char start_time[WORD_SIZE];
	char replay_timestamp[WORD_SIZE];
	char receiver_state[WORD_SIZE];
	char receiver_slot[64];
	char receiver_conninfo[2048];
	bool has_receiver;
	uint64_t latest_end;
	uint64_t written_lsn;
	bool replay_known;
	struct tree *senders;	/* list of maps for REST, or NULL */
	struct tree *slots;	/* {name: lsn} or NULL */
	struct tree *slot_rows; /* list of maps as slots.c reads them */
};

#define REQUEST_TABLE 64
#define DESCRIBE_SIZE 512

/* A request of rest or of the master that the core has not answered yet. */
struct pending_request {
	uint64_t key; /* 0 = free */
	enum proc from;
	uint64_t id;
};

/* How far a copy has come, as pg_basebackup tells. */
struct progress {
	bool known;
	uint32_t percent;
	uint64_t received, total; /* bytes; the total is an estimate */
	uint32_t logged;	  /* last step of the log */
	int64_t logged_at;
};

struct request; /* status.c */

struct controller {
	struct helper *h;
	struct event_base *base;

	/* configuration */
	struct tree *local;   /* as sent by the master */
	struct tree *dynamic; /* document in use; NULL = none */
	struct pgconf *conf;
	struct ha_config ha_conf;
	mode_t umask;
	bool first_start;   /* of the daemon, not of this process */
	bool dynamic_dirty; /* cache file is older than the document */
	bool rewrite;	    /* a file could not be written: again */
	bool sandboxed;

	/* what was last written for the server */
	struct tree *params;	 /* NULL = nothing yet */
	struct tree *recovery;	 /* NULL = none */
	struct tree *reasons;	 /* pending restart; never NULL */
	struct pending *pending; /* pending.c */
	struct pgconf *previous; /* what the files were written from, when
				    it is not conf; else NULL */
	int64_t written_at;	 /* recovery settings, CLOCK_BOOTTIME */
	struct recovery_cache *recovery_cache;
	struct tree *known; /* names of --describe-config, or NULL */
	bool ssn_chosen, ssn_set;
	bool ssn_unwritten; /* the last attempt to write it failed */
	char ssn[4096];
	bool feedback;
	bool custom_bootstrap, keep_recovery_conf;

	/* PostgreSQL */
	struct postmaster pm;
	enum pg_state state;
	int64_t state_since;
	enum pg_role role;
	uint32_t major;
	uint32_t binary_version; /* of the postgres program; 0 unknown */
	bool bootstrapping;	 /* callbacks are suppressed */
	bool callback_seen;
	bool reload_forced; /* attached standby: config.md 12.4 item 7 */
	bool rewind_works;  /* pg_rewind --help exited with 0 */
	bool facts_fresh;   /* sysid, rewind_possible are right */
	bool slots_changed;
	char sysid[WORD_SIZE];
	bool rewind_possible;
	char start_time[WORD_SIZE];
	struct sql *heartbeat;
	struct sql *local_repl;
	uint32_t identified_timeline;
	bool identifying;
	struct snapshot snap;		 /* the last one */
	struct request *status_requests; /* being taken, and waiting */

	struct progress progress; /* of a running pg_basebackup */

	/* core */
	struct ha *ha;
	bool feeding;
	struct posted *posted, **posted_tail;
	struct event *ev_tick;
	struct ask *asks;
	struct pending_request requests[REQUEST_TABLE];
	uint64_t next_request;

	/* start-up */
	int startup; /* enum startup in controller.c */
	struct event *ev_startup;
	struct view *first_view;
	int probes; /* programs asked for their abilities, not ended yet */
	int64_t dcs_last_seen; /* epoch s */
	bool stopping;
	bool cached;	 /* the data directory held a dynamic document */
	bool found_told; /* the keeper knows of what was found running */
	void (*leftover_done)(struct controller *, bool ok); /* leftover.c */
	int leftover_kind; /* enum data_mark */
	bool leftover_stopping;

	/* work */
	struct job *job;       /* running long action, or NULL */
	struct job *job_queue; /* waiting */
	struct background *background;
	struct callbacks *callbacks;
	struct slotwork *slotwork;
	struct journal *journal;
	struct disk *disk;
	uint64_t cycles;
	uint64_t last_status_ns;
	struct msg_helper_info told; /* to the master */
	int64_t told_ns;
	char last_result[TEXT_SIZE];
	char held_line[TEXT_SIZE]; /* chatter.c: may be left out */
	char last_beat[TEXT_SIZE]; /* the last heartbeat line */
};

/* ---- controller.c ---- */

struct controller *controller_new(struct helper *);
void controller_start(struct controller *); /* after the first CONFIG */
const char *controller_config(
    struct controller *, struct tree *, const struct msg_config *);
void controller_message(struct controller *, enum proc, const struct ipc_msg *);
/* The core is told of the configuration in force, when it has changed. */
void controller_configured(struct controller *);
void controller_link(struct controller *, enum proc, bool up);
void controller_shutdown(struct controller *);
/* Feed the core; from inside an effect the event is queued behind it.  All
 * pointers in the event are copied when it must wait. */
void controller_feed(struct controller *, const struct ha_ev *);
void controller_set_state(struct controller *, enum pg_state);
void controller_probed(struct controller *);
struct timeval controller_timeval(int64_t ns);
/* Seconds of retry_timeout as ns. */
int64_t controller_retry_ns(const struct controller *);

/* ---- leftover.c ---- */

/* Put away what was cut off, with the first view at hand; false when there
 * is nothing to do (then done is not called).  ok = false: the store did not
 * answer, to be begun again. */
typedef void (*leftover_cb)(struct controller *, bool ok);
bool leftover_begin(struct controller *, leftover_cb done);
/* The postmaster is gone. */
void leftover_poke(struct controller *);
/* The file that carries the superuser's password to initdb. */
void leftover_password_path(const struct controller *, char *, size_t);
void leftover_password(struct controller *); /* removed if it is there */

/* ---- effects.c ---- */

void effects_run(struct controller *, const struct ha_effects *);
/* Forget asks of the core (at exit). */
void effects_drop(struct controller *);
/* The store helper is back: send what waited for it. */
void effects_store_back(struct controller *);

/* ---- status.c ---- */

typedef void (*status_cb)(struct controller *, void *arg);
/* Take a new snapshot into c->snap; cb runs once, maybe at once. */
void status_take(struct controller *, int64_t deadline_ns, status_cb, void *);
/* The query for a server version; false when it does not fit.  And its one
 * row, into c->snap. */
bool status_text(char *buf, size_t size, uint32_t version);
void status_read(struct controller *, const PGresult *);
void status_reset(struct controller *); /* connection text, cached values */

/* ---- facts.c ---- */

enum ha_datadir facts_datadir(struct controller *, char *err, size_t size);
enum pg_role facts_role(struct controller *);
/* pg_controldata: map key -> text (empty when it failed). */
typedef void (*controldata_cb)(
    struct controller *, const struct tree *, void *);
void facts_controldata(struct controller *, controldata_cb, void *);
/* Fill the fields of c->snap.pg that need no SQL. */
void facts_fill(struct controller *, struct ha_pg *);
/* Refresh sysid and pg_rewind_possible when they are stale, then cb. */
void facts_refresh(
    struct controller *, void (*cb)(struct controller *, void *), void *);
/* Facts of ha_control (7.3: previous LSN needs two WAL dumps). */
typedef void (*control_cb)(struct controller *, const struct ha_control *,
    const struct tree *, void *);
void facts_control(
    struct controller *, uint32_t timeline, bool previous, control_cb, void *);
/* Recovery diff and divergence, answering the ask by id. */
void facts_recovery_diff(
    struct controller *, uint64_t ask, const struct ha_job *);
void facts_divergence(
    struct controller *, uint64_t ask, const struct ha_job *, int64_t deadline);
/* compare.c */
struct recovery_cache *recovery_cache_new(void);
bool facts_timeline_file(struct controller *, uint32_t timeline);
/* WAL dump of some records (postgres.md 7.2). */
bool facts_dump(struct controller *, uint32_t timeline, uint64_t lsn, int count,
    child_cb, void *);

/* ---- settings.c ---- */

struct pgfacts settings_facts(struct controller *, enum pg_role);
/* Rebuild conf from local + dynamic for a role; false when unusable (the old
 * one stays). */
bool settings_build(struct controller *, enum pg_role);
/* PGKRBSRVNAME (config.md 4.6); old may be NULL. */
void settings_environment(const struct pgconf *, const struct pgconf *old);
/* At the end of a cycle: the overlay of another role (config.md 2.5), and
 * what could not be written before. */
void settings_cycle_end(struct controller *);
void settings_major(struct controller *); /* read PG_VERSION if unknown */
/* What to follow according to a job. */
struct pgtarget settings_target(const struct ha_job *);
/* Desired recovery settings of a job's target. */
struct tree *settings_recovery(struct controller *, const struct ha_job *);
/* Write all files for a start or a reload; takes over params and recovery
 * (NULL = no recovery section). */
bool settings_write(struct controller *, struct tree *params,
    struct tree *recovery, enum pg_role, bool signal_files, struct pgerr *);
/* SIGHUP to the postmaster and on_reload; false when it is gone. */
bool settings_signal_reload(struct controller *, bool callback);
/* config.md 10.6 against the running server, asynchronous. */
void settings_reload(struct controller *, bool force);
void settings_attached(
    struct controller *, void (*cb)(struct controller *, void *), void *);
void settings_describe(struct controller *);

/* ---- pending.c ---- */

/* In a second, when the SIGHUP has been acted on: what waits for a restart? */
void pending_look(struct controller *);

/* ---- publish.c ---- */

void publish_status(struct controller *); /* what c->snap holds */
void publish_fresh(struct controller *);  /* with a recent snapshot */
/* To the master; when it did not ask, only what is worth waking it for. */
void publish_info(struct controller *, bool asked);
/* Map percent, received, total; NULL when nothing is being copied. */
struct tree *publish_progress(const struct controller *);

/* ---- callback.c (postgres.md 18.1-18.3) ---- */

struct callbacks *callbacks_new(struct controller *);
void callback_run(struct controller *, enum ha_callback, enum pg_role);

/* ---- journal.c ---- */

struct journal *journal_new(void);
/* Take over the texts of an FX_JOURNAL. */
void journal_add(struct journal *, int64_t now_ns, const struct ha_fx *);
/* Newest `limit` (0 = all), oldest first: list of maps; NULL: no memory. */
struct tree *journal_list(const struct journal *, uint32_t limit);

/* ---- request.c ---- */

void request_message(struct controller *, enum proc, const struct ipc_msg *);
void request_answer(
    struct controller *, uint64_t key, const struct msg_request_reply *);

/* ---- background.c ---- */

void background_run(struct controller *, uint64_t ask, const struct ha_job *);
struct background *background_new(struct controller *);
/* The cache file, when it could not be written before (config.md 6.5). */
void background_cycle_end(struct controller *);

/* ---- chatter.c ---- */

/* Log a line of the core's, unless it is chatter (spec/config.md 14). */
void chatter_log(struct controller *, const struct ha_fx *);

/* ---- found.c ---- */

/* While the store cannot be read: let the keeper end a running primary when
 * its lease is over for sure. */
void found_fence(struct controller *);

/* ---- disk.c ---- */

struct disk *disk_new(struct controller *);
/* Lines in postgresql.auto.conf are to be deleted (config.md 11.2). */
bool disk_auto_conf_dirty(struct controller *);
/* Delete them beside a running server, which is signalled afterwards. */
void disk_clean_running(struct controller *);
int disk_worker_clean(void *controller);

/* ---- slots.c ---- */

struct slotwork *slotwork_new(struct controller *);
void slots_sync(struct controller *, uint64_t ask);
/* About to promote: nothing is advanced any more, unsafe slots are named. */
void slots_promote(struct controller *);
/* The list has been taken over by a copy. */
void slots_copying(struct controller *);
/* Logical slots to be copied from the leader, as "a, b". */
void slots_to_copy(const struct controller *, char *out, size_t size);

#endif
