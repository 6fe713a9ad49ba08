/*
 * ha_int.h: what the files of the HA core share: the state, the replay
 * engine's interface, and one prototype block per file.  Private to this
 * folder and its unit tests; the contract with the outside is ha.h.
 */
#ifndef HELPERS_HA_HA_INT_H
#define HELPERS_HA_HA_INT_H

#include <stdio.h>
#include <string.h>

#include "../../ipc/clock.h"
#include "ha.h"

/*
 * The simulator proves that it would notice a broken rule by breaking it
 * (tests/sim/rules.def).  Production builds know nothing of it.
 */
#ifdef HA_TEST_BREAK
enum {
	BROKEN_NONE = 0,
#define RULE(name, text, sections) BROKEN_##name,
#include "../../tests/sim/rules.def"
#undef RULE
};
#define BROKEN(h, name) (((h)->conf.test_break >> BROKEN_##name & 1) != 0)
#else
#define BROKEN(h, name) false
#endif

#define MAX_ANSWERS 192 /* asks of one run; more is a broken loop */
#define MAX_QUEUE 64	/* events waiting for the run to end */
#define MAX_REQUESTS 24 /* of them, operators' requests */
#define MAX_EFFECTS 1024
#define MAX_SPARE 8 /* events kept for the next */

/*
 * How a piece of the cycle ended.  Everything but RC_OK unwinds to the frame;
 * TRY passes it up, so that the rules read as straight lists.
 */
enum rc {
	RC_OK = 0,  /* go on with the next row */
	RC_PENDING, /* an answer is missing: this pass is over */
	RC_MSG,	    /* a message was said: the list ends */
	RC_DCS,	    /* DCS error (spec 3.2) */
	RC_PG,	    /* PostgreSQL error */
	RC_EXIT,    /* the daemon must exit with state.exit_code */
	RC_BUG	    /* internal inconsistency */
};

#define TRY(call)                     \
	do {                          \
		enum rc rc_ = (call); \
		if (rc_ != RC_OK)     \
			return rc_;   \
	} while (0)

enum rewind_state {
	REWIND_INITIAL = 0,
	REWIND_CHECKPOINT,
	REWIND_CHECK,
	REWIND_NEED,
	REWIND_NOT_NEED,
	REWIND_SUCCESS,
	REWIND_FAILED
};

/* Result shared by pre_promote and the bootstrap's last steps (spec 1.4). */
enum verdict { VERDICT_NONE = 0, VERDICT_TRUE, VERDICT_FALSE };

enum demote_mode {
	DEMOTE_OFFLINE,
	DEMOTE_GRACEFUL,
	DEMOTE_IMMEDIATE,
	DEMOTE_IMMEDIATE_NOLOCK,
	DEMOTE_CLUSTER
};

enum sync_mode { SYNC_OFF = 0, SYNC_PRIORITY = 1, SYNC_QUORUM = 2 };

/* Global options (spec 1.3), from the dynamic document. */
struct options {
	struct msg_dcs_settings time; /* clamped seconds */
	bool pause;
	int64_t maximum_lag; /* bytes */
	bool check_timeline;
	int64_t primary_start_timeout; /* s */
	int64_t primary_stop_timeout;
	int64_t race_backoff;	  /* s */
	enum sync_mode sync_mode; /* as requested; off in a standby cluster */
	bool sync_strict;
	int64_t sync_node_count;
	int64_t maximum_lag_on_syncnode;
	bool failsafe;
	bool standby_cluster;
	char remote_host[URL_SIZE];
	char remote_port[WORD_SIZE];
	bool remote_clone_without_leader;
	int64_t max_timelines_history;
	int64_t member_slots_ttl;
};

/* The long actions of spec 21.1. */
enum action_kind {
	ACTION_NONE = 0,
	ACTION_BOOTSTRAP,
	ACTION_BOOTSTRAP_STANDBY,
	ACTION_POST_BOOTSTRAP,
	ACTION_CLONE,
	ACTION_CRASH_RECOVERY,
	ACTION_REWIND,
	ACTION_START_PRIMARY,
	ACTION_FOLLOW, /* three names: restart, repoint, after demotion */
	ACTION_PROMOTE,
	ACTION_DEMOTE, /* graceful, demote-cluster */
	ACTION_RESTART,
	ACTION_REINITIALIZE,
	ACTION_COPY_SLOTS,
	ACTION_LEAVE_BRANCH /* stop what follows another branch */
};

/* The early release of the key (9.3). */
enum early {
	EARLY_UNTRIED = 0, /* nobody was asked */
	EARLY_NOBODY,	   /* nobody can take over: the key stays */
	EARLY_UNSURE,	   /* the store did not confirm the release */
	EARLY_RELEASED
};

struct action {
	enum action_kind kind;
	uint32_t step;
	uint64_t job; /* id whose events drive it */
	int64_t started;
	int64_t job_timeout; /* FOLLOW, RESTART: start timeout, ns */
	uint64_t request;    /* caller to be told the end */
	bool spawned;
	bool pre_promote_done;
	bool cancelled;
	bool archiving;	   /* DEMOTE: the cluster's; WAL goes to an archive */
	enum early early;  /* DEMOTE: what became of the early release */
	bool sync_counted; /* RESTART: left the synchronous set */
	bool delayed;	   /* `job` is the id of an FX_DELAY, not of a job */
	int64_t limit;	   /* RESTART: leave the synchronous set until then */
	bool from_leader;  /* REINITIALIZE */
	enum demote_mode mode;
	enum pg_role role;
	char name[NAME_SIZE * 2];
	char source[NAME_SIZE * 2]; /* CLONE: text of the log lines */
};

struct failsafe_record {
	int64_t until; /* stamp + ttl; 0 = none */
	uint32_t nslots;
	char name[NAME_SIZE]; /* "" on the primary itself */
	char conn_url[URL_SIZE];
	char api_url[URL_SIZE];
	struct view_slot slots[MAX_MEMBERS];
};

enum restart_key {
	RESTART_KEY_SCHEDULE,
	RESTART_KEY_ROLE,
	RESTART_KEY_VERSION,
	RESTART_KEY_TIMEOUT,
	RESTART_KEY_PENDING,
	RESTART_KEY_COUNT
};

struct scheduled_restart {
	bool set;
	struct msg_request req;
	enum restart_key order[RESTART_KEY_COUNT]; /* as they were asked for */
	char postmaster_start[WORD_SIZE];
};

/* What sync.c remembers of SSN (spec 13.3). */
struct sync_memory {
	bool known;
	uint64_t reference; /* LSN a new standby has to reach */
	bool warned;	    /* strict warning shown */
	uint32_t nready;
	char seen[4096];		    /* live SSN last parsed */
	char ready[MAX_MEMBERS][NAME_SIZE]; /* lower case */
};

struct retained { /* dcs.md 2.7 */
	char slot[64];
	int64_t seen;
};

/*
 * Everything that outlives a cycle.  Plain data: a snapshot is a copy of the
 * part up to `failsafe` and of what is in use of the tables behind it
 * (state_copy()).  The views pointed to are kept by the engine until no state
 * refers to them.
 */
struct state {
	struct options opt;
	uint64_t opt_version; /* as read_version was when they were taken */
	bool attached;	      /* EV_ATTACHED was seen */
	int64_t attached_at;
	const struct view *view;     /* last loaded, failsafe-patched */
	const struct view *old_view; /* last that had a leader */
	int64_t view_at;	     /* the last one: it was asked for then */
	int64_t view_until;
	int64_t config_modify; /* of the /config in use */
	int64_t last_seen_us;
	enum pg_role role;
	enum pg_state pg_state; /* last known */
	int64_t trusted;	/* expiry of the trusted lock, 0 = none */
	uint32_t leader_timeline;
	uint64_t last_wal, prev_wal;
	uint32_t last_timeline;
	bool recovering;
	int64_t crash_recovery_at; /* 0 = not started */
	int64_t start_timeout;	   /* ns, 0 = none */
	bool was_paused;
	uint32_t disable_sync;
	int64_t backoff_start;
	int64_t unlocked_at; /* nobody leads since, as far as was seen */
	int64_t released_at; /* after a failed pre_promote */
	bool join_aborted;
	bool bootstrapping;
	int64_t initialize_unknown; /* create sent, answer lost, at */
	int64_t may_own;   /* until then the key may be ours, trusted or not */
	bool lock_unknown; /* a lock operation was cut off by the shutdown */
	enum verdict promote_result;
	enum rewind_state rewind;
	/* leader with another branch of our timeline's number, "" none */
	char other_branch[NAME_SIZE];
	uint64_t checkpoint_job;
	bool callbacks_seen;
	bool found_replica; /* running as replica when we attached */
	bool initialized;   /* row 16 was decided for this process */
	struct action action;
	uint32_t nfailsafe_members; /* last read or written /failsafe */
	bool failsafe_usable;	    /* ... it is an object */
	uint32_t nretained;
	/* the keeper */
	bool wd_fence_armed, wd_device_running, wd_tried, wd_unhealthy;
	int64_t wd_granted;    /* end of the lease last told to it */
	int64_t wd_refused_at; /* the lock was given back for want of it */
	bool wd_maybe;	       /* armed by a controller before us? */
	/* found running as a standby, and silent since; ... with our lock */
	bool silent, maybe_promoted;
	uint64_t wd_disarmed; /* ids up to here are from before */
	bool wd_up;	      /* the helper is there */
	bool dcs_up;
	/* schedule */
	int64_t next_run;
	int64_t last_end;    /* when an action ended */
	uint32_t quick_ends; /* of them, in quick succession */
	int64_t earlier;     /* next cycle not later than this, 0 = no wish */
	bool wake;	     /* something wants the next cycle at once */
	uint64_t cycles;
	int64_t loop_ns;
	bool published_running_primary;
	/* shutdown */
	bool exiting;
	int exit_code;
	uint64_t next_id;
	/* copied as far as they are in use */
	struct failsafe_record failsafe;
	struct view_failsafe failsafe_members[MAX_MEMBERS];
	struct scheduled_restart restart;
	struct sync_memory sync;
	struct retained retained[2 * MAX_MEMBERS];
};

/* Facts of one pass of one run; rebuilt by every pass.  What stands from `pg`
 * on is emptied, not cleared (pass_begin()). */
struct pass {
	int64_t now;
	uint32_t ordinal; /* effects so far */
	uint32_t used;	  /* answers so far */
	uint32_t notes;	  /* for the journal so far */
	bool have_pg;
	bool decided; /* rows 19/20 were reached */
	bool role_warned, lock_logged;
	bool poll_failed; /* the last poll was not made, or its answer lost */
	enum ha_fx_type asked; /* the newest ask: what, id, which */
	uint64_t asked_id;
	enum ha_dcs_op asked_op;
	enum ha_job_kind asked_job;
	struct ha_pg pg;
	struct view_member remote; /* the standby cluster's remote member */
	char msg[1024];
	char rule[WORD_SIZE];
};

enum run_kind {
	RUN_NONE = 0,
	RUN_CYCLE,
	RUN_ACTION,
	RUN_REQUEST,
	RUN_SHUTDOWN
};

/* An event with its own copies of all it points to. */
struct event {
	struct event *next; /* spare */
	struct ha_ev ev;
	int64_t at;
	struct view *view;
	struct ha_pg *pg;
	struct tree *slots, *reason;
	struct ha_control *control;
	struct ha_divergence *divergence;
	struct peer_status *peers;
	struct msg_request *req;
	struct ha_config *config;
	struct tree *doc, *tags, *dynamic;
	char *error;
};

struct ha {
	struct ha_config conf;
	struct tree *tags_doc;
	struct tree *plain_doc; /* published with them, when made */
	struct tree *dynamic;	/* document in use */

	struct state s;	   /* now; of the last pass while a run is going on */
	struct state base; /* at the start of the run */
	struct pass p;
	/* the run */
	enum run_kind run;
	const struct event *input; /* RUN_ACTION, RUN_REQUEST */
	int64_t start, wall, wall_start;
	uint64_t waiting;
	bool fresh;	  /* no pass has been made: `s` is as `base` */
	uint32_t emitted; /* effects of the passes before */
	uint32_t noted;	  /* their notes for the journal: */
	char run_reasons[HA_REASONS];
	char run_effects[HA_EFFECTS];
	uint32_t nanswers;
	struct event *answers[MAX_ANSWERS];
	/* events that wait */
	uint32_t nqueue;
	struct event *queue[MAX_QUEUE + 1];
	bool tick, wake, gone, shutdown;
	bool finished;
	int64_t now;
	char reasons[HA_REASONS]; /* from between the cycles, for the journal */
	char effects[HA_EFFECTS];
	/* what options_read() made of the document read last */
	struct tree *read_doc;
	const struct view *read_view; /* ... of this one, in this run */
	struct options read_options;
	uint64_t read_version; /* how many of them there were */
	/* memory */
	struct event *spare; /* used up; a cycle has half a dozen */
	uint32_t nspare;
	struct ha_pg *spare_pg;
	struct ha_fx *fx;
	uint32_t nfx, fx_cap;
	struct ha_fx scratch; /* of an effect that was emitted before */
	uint32_t nviews, views_cap;
	struct view **views;
	uint32_t ntrees, trees_cap;
	struct tree **trees;
	uint32_t nblobs, blobs_cap;
	void **blobs;
};

/* ---- ha_mem.c: memory ---- */

void *ha_alloc(size_t); /* zeroed; aborts when memory is short */
void state_copy(struct state *to, const struct state *from);
void pass_begin(struct pass *);
struct event *event_copy(struct ha *, const struct ha_ev *);
void ha_event_free(struct ha *, struct event *);
/* Keep a view until no state refers to it; a tree until the next event. */
const struct view *keep_view(struct ha *, struct view *);
struct tree *keep_tree(struct ha *, struct tree *);
/* Bytes that live until the next event. */
void *keep_bytes(struct ha *, size_t);
void drop_trees(struct ha *); /* and bytes */
void drop_views(struct ha *);
/* tree_set/tree_append that abort when memory is short. */
void map_set(struct tree *, const char *key, struct tree *);
void list_add(struct tree *, struct tree *);

/* ---- ha_ask.c: effects and answers ---- */

/*
 * A new effect, its head and what belongs to its type cleared.  fx_new() gives
 * a scratch place when an earlier pass of the run has emitted it: write what
 * you like, it goes nowhere, and is not cleared.
 */
struct ha_fx *fx_append(struct ha *, enum ha_fx_type);
struct ha_fx *fx_new(struct ha *, enum ha_fx_type);
struct ha_fx *ask_new(struct ha *, enum ha_fx_type, int64_t timeout_ns);
enum rc await(struct ha *, uint64_t id, const struct ha_ev **);
void ha_log(struct ha *, int level, const char *rule, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* End the list with this message. */
enum rc say(struct ha *, const char *rule, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
enum rc ask_delay(struct ha *, int64_t ns);
enum rc ask_snapshot(struct ha *); /* once per cycle */
enum rc ask_snapshot_again(struct ha *);
enum rc ask_control(struct ha *, uint32_t timeline, struct ha_control *);
enum rc ask_peers(struct ha *, const struct view_failsafe *, uint32_t n,
    const struct peer_status **, uint32_t *count);
/* A DCS operation; REFUSED and OK are answers, the rest is in *outcome. */
struct ha_fx *dcs_new(struct ha *, enum ha_dcs_op);
enum rc dcs_wait(struct ha *, uint64_t id, enum outcome *, int64_t *sent);
/* A job awaited inside the run (safepoint: keeper disarmed as it passes). */
enum rc job_run(struct ha *, const struct ha_job *, enum ha_job_result *);
uint64_t job_start(struct ha *, const struct ha_job *);
void job_init(struct ha_job *, enum ha_job_kind);
void job_no_node(struct ha_job *); /* ha_mem.c */
void job_node(struct ha *, struct ha_job *, const struct view_member *);
void set_role(struct ha *, enum pg_role, bool callback);
void set_role_standby(struct ha *, enum pg_role);
void set_state(struct ha *, enum pg_state);
int64_t dcs_timeout(const struct ha *);
int64_t failsafe_timeout(const struct ha *);
/* Else the lease leaves none for what is not its refresh. */
bool time_for_more(const struct ha *);
int64_t ttl_ns(const struct ha *);
int64_t retry_ns(const struct ha *);
int64_t loop_ns(const struct ha *);
int64_t stop_timeout_ns(const struct ha *);

/* ---- ha_cycle.c ---- */

enum rc run_cycle(struct ha *);
enum rc load(struct ha *);		   /* spec 3.3 */
enum rc load_plain(struct ha *, bool *ok); /* fresh view, errors folded */
bool has_lock(const struct ha *);
bool unlocked(const struct ha *);
bool is_primary(struct ha *);
bool may_write(struct ha *); /* ... or about to be one */
bool trusted(const struct ha *);
bool busy(const struct ha *);
bool starting(const struct ha *);
const struct view_member *leader_member(const struct ha *);
/* Member of that name, or a stand-in made of the leader key's name alone. */
bool is_me(const struct ha *, const char *name);
void sync_slots(struct ha *); /* row 21 */

/* ---- ha_options.c ---- */

void options_read(const struct tree *doc, struct options *);
void options_adopt(struct ha *);

/* ---- ha_leader.c ---- */

enum rc lead(struct ha *); /* spec 5.1 */
enum rc enforce_leader(struct ha *, const char *rule, const char *msg,
    const char *promote_rule, const char *promote_msg);
void watchdog_grant(struct ha *, int64_t sent);
void lease_renewed(struct ha *, int64_t sent);
/*
 * Take the lock, on the strength of this cycle's view and polls.  They say
 * that nobody led when the view was asked for, and how far the others were.
 * That holds until another one leads, commits and is gone; a lock that
 * somebody takes after the view does not run out before the ttl is over.  So
 * the request must reach the store within ttl of the view, and must not be
 * sent at all when a second is not left (a controller that hung decides
 * anew: RC_MSG).  One that gave the lock up earlier is seen by what it wrote
 * (race_won()).
 */
enum rc lock_acquire(struct ha *, bool *ok);
enum rc lock_update(struct ha *, bool with_status, bool *ok);
enum rc lock_delete(struct ha *, uint64_t lsn, bool *ok);
enum rc lock_release(struct ha *, uint64_t lsn); /* delete, publish, log */
enum rc give_up(struct ha *);
enum rc checkpoint_bookkeeping(struct ha *);
enum rc watchdog_activate(struct ha *, bool *ok);
void watchdog_disarm(struct ha *, uint32_t reason);
/* The keeper is to watch the postmaster that runs now; not awaited. */
void arm_new_postmaster(struct ha *);
/* ... from outside the runs. */
void arm_at_once(struct ha *, const struct ha_ev *);

/* ---- ha_follow.c ---- */

enum rc follow(struct ha *, const char *demote_rule, const char *demote_msg,
    const char *follow_rule, const char *follow_msg, bool reload);
const struct view_member *follow_target(struct ha *, bool *remote);
const struct view_member *remote_member(struct ha *);
void rewind_trigger(struct ha *);
bool rewind_allowed(const struct ha *); /* rewind or reinitialize */
bool rewind_wanted(const struct ha *);	/* CHECK or NEED */
bool rewind_executed(const struct ha *);
enum rc rewind_check(struct ha *, bool *needed); /* "needed and possible" */
enum rc rewind_step(struct ha *);		 /* spec 6.5 */

/* ---- ha_race.c ---- */

enum rc race(struct ha *); /* spec 4 */
/* All that are known, now or before: at most MAX_MEMBERS. */
uint32_t race_peers(struct ha *, struct view_failsafe *);
enum rc healthiest(struct ha *, bool lag_check, const struct view_failsafe *,
    uint32_t n, const char *former, bool *yes);
enum rc failover_possible(
    struct ha *, uint64_t reference, bool skip_candidate, bool *yes);
const char *limitation(const struct peer_status *);
bool failsafe_excludes(const struct ha *, const char *name); /* 11.1, 10 */
bool sync_active(const struct ha *);
bool sync_listed(const struct ha *, const char *name); /* leader or voter */
const char *failover_action(const struct ha *, bool title);

/* ---- ha_manual.c ---- */

bool failover_requested(const struct ha *);
enum rc manual_lead(struct ha *);	       /* spec 12.2 */
enum rc manual_race(struct ha *, int *answer); /* 12.3: 1, 0, -1 undecided */
enum rc due(struct ha *, const char *name, int64_t at_us, const char *text,
    bool bad, bool *is_due, bool *clean);
enum rc failover_clear(struct ha *, bool cas);

/* ---- ha_recover.c ---- */

enum rc recover(struct ha *);	     /* 8.1 */
enum rc crash_recovery(struct ha *); /* 8.2 */
enum rc startup_check(struct ha *);  /* 8.5 */
enum rc long_action(struct ha *);    /* 8.6 */
enum rc dcs_error(struct ha *);	     /* 8.7 */

/* ---- ha_demote.c ---- */

enum rc demote(struct ha *, enum demote_mode);
enum rc demote_begin(struct ha *, enum demote_mode, const char *name);
enum rc demote_event(struct ha *, const struct ha_ev *);
enum rc early_release(
    struct ha *, uint64_t lsn, uint64_t prev, enum early *early);
void demote_look(struct ha *); /* busy cycle: may the wait end early? */

/* ---- ha_bootstrap.c ---- */

enum rc bootstrap(struct ha *);	      /* 10.1 */
enum rc bootstrap_after(struct ha *); /* 10.3 */
enum rc bootstrap_undo(struct ha *);  /* key and data of a cut-off one */
enum rc clone_event(struct ha *, const struct ha_ev *);
void clone_source(struct ha *, struct ha_job *, char *what, size_t);

/* ---- ha_action.c ---- */

enum rc action_begin(struct ha *, enum action_kind, const struct ha_job *,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The slot alone; the caller starts what drives it.  RC_MSG: refused. */
enum rc action_claim(struct ha *, enum action_kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The action goes on with an EV_DELAY after ns. */
void action_delay(struct ha *, int64_t ns);
void action_end(struct ha *, bool wake);
enum rc action_cancel(struct ha *, int64_t grace);
enum rc action_event(struct ha *, const struct ha_ev *);

/* ---- ha_request.c ---- */

enum rc request_event(struct ha *, const struct event *);
enum rc restart_leave(struct ha *, const struct ha_ev *); /* 13.8 first */
enum rc scheduled_restart(struct ha *);
void reply(struct ha *, uint64_t request, uint32_t code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- ha_publish.c ---- */

void publish_member(struct ha *); /* not awaited */
enum rc publish_member_wait(struct ha *, enum outcome *);
struct tree *status_document(struct ha *, bool with_status);

/* ---- ha_journal.c ---- */

void journal_reason(struct ha *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void journal_operation(struct ha *, enum ha_dcs_op);
void journal_job(struct ha *, enum ha_job_kind);
void journal_role(struct ha *, enum pg_role);
void journal_peer(struct ha *, const struct peer_status *);
void journal_exit(struct ha *);
void journal_carry(struct ha *);
void journal_decision(struct ha *); /* the cycle's FX_JOURNAL */

/* ---- ha_shutdown.c ---- */

enum rc run_shutdown(struct ha *);
void run_exit(struct ha *); /* FX_EXIT, and its journal entry */

/* ---- ha_sync.c ---- */

enum rc sync_process(struct ha *);
enum rc sync_before_promote(struct ha *);
enum rc sync_clear_ssn(struct ha *);
enum rc sync_after_bootstrap(struct ha *);
/*
 * Leaving the synchronous set (13.8).  begin: false = there is nothing to
 * wait for; true = the tags say so, sync_left() tells when it is done, and
 * sync_stay() takes them back.
 */
enum rc sync_leave(struct ha *, bool *begun);
enum rc sync_left(struct ha *, bool *left);
void sync_stay(struct ha *);
#define SYNC_LEAVE_LOOK (2 * NS_PER_SEC)
enum rc set_ssn(struct ha *, const char *value, bool *ok);

/* ---- ha_failsafe.c ---- */

enum rc failsafe_check(struct ha *, bool *yes);
void failsafe_patch(struct ha *, bool at_load);
void failsafe_remember(struct ha *, const struct view *);
void failsafe_written(struct ha *);
bool failsafe_active(const struct ha *);
void failsafe_receive(struct ha *, const struct event *);
/* True: the event was a POST /failsafe, answered in the middle of a run. */
bool failsafe_at_once(struct ha *, const struct ha_ev *);
void failsafe_clear(struct ha *);
enum rc failsafe_rival(struct ha *, bool *possible);

/* ---- the runs, for ha.c ---- */

int64_t wall_now(const struct ha *);

#endif
