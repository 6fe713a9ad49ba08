/*
 * sim.h: a simulated cluster around the HA core (design 16).
 *
 * Discrete events on a virtual clock, one seed, no real time, no I/O: the
 * same seed gives the same run.  Each node has a core (the code that runs in
 * production) and models of what stands around it: controller and its jobs,
 * PostgreSQL, keeper, dcs helper, REST answers.  One store, linearizable.
 *
 * Model limits.  Timeline numbers are never used twice, as in a cluster with
 * a WAL archive.  A frozen machine's keeper wakes before its clients do; in
 * reality only a hardware watchdog promises that.  Clocks drift by at most
 * MAX_DRIFT; wall clocks also step.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../../helpers/ha/ha.h"
#include "../../ipc/clock.h"
#include "../../ipc/log.h"

#define MAX_NODES 5
#define MAX_BRANCHES 256
#define MAX_HELD 512
#define MAX_FAULTS 16
#define MS NS_PER_MS
#define SEC NS_PER_SEC
#define STORE (-1) /* the store's place in a link */
#define REMOTE 90  /* the remote primary's, beside the nodes' */
#define CHECKPOINT_RECORD 112
#define NO_TIME (-1)
#define NAIVE "2026-01-31T12:00:00"    /* a time without a zone */
#define GHOST "n9"		       /* a member that never was */
#define MAX_DRIFT 200		       /* ppm */
#define WALL INT64_C(1700000000000000) /* us, at virtual time 0 */

struct world;
struct node;

/* ---- events ---- */

struct ev {
	int64_t at;
	void (*fn)(struct world *, struct ev *);
	struct node *n;
	enum proc proc; /* whose work this is; PROC_COUNT: nature's */
	uint32_t gen;	/* of that process */
	uint64_t id;
	int64_t arg;
};

/* ---- PostgreSQL ---- */

/* WAL by content: a branch is born by a promotion and never reused. */
struct segment {
	uint32_t branch, tli;
	uint64_t begin;
};

struct wal {
	uint32_t n;
	uint64_t end;
	struct segment seg[MAX_BRANCHES];
};

enum pg_run { PG_DOWN, PG_STARTING, PG_UP, PG_STOPPING };

struct pg {
	enum pg_run run;
	bool primary, hung, quit_pending;
	bool data, standby_files;
	uint64_t sysid;
	struct wal wal;
	uint64_t before; /* end at the last replication tick */
	int64_t grew;	 /* last tick that saw another end than that */
	enum ha_control_state control;
	uint64_t checkpoint;
	uint32_t checkpoint_tli;
	int follow; /* node, REMOTE or -1 */
	bool streaming;
	bool replay_paused; /* by a setting raised on the primary */
	bool backup_label;  /* cloned, not started yet */
	char ssn[512];	    /* synchronous_standby_names */
	bool safepoint;	    /* stopping: no session is left */
	bool shut;	    /* stopping: shutdown checkpoint is written */
	uint32_t gen;	    /* of the postmaster */
	int64_t up_since;
};

/* ---- a node ---- */

struct process {
	bool up, hung;
	uint32_t gen;
	uint32_t nheld;
	struct ev *held; /* for a hung process, MAX_HELD when there were any */
};

struct job {
	bool on, cancelled;
	uint64_t id;
	struct ha_job spec;
	int phase;
	int64_t began, until;
	bool safepoint, shut;
	uint32_t seq;
};

/* The hardware: it ticks by itself and goes on without its keeper. */
struct device {
	bool running, given_up;
	int64_t ends; /* true time */
	uint64_t version;
};

struct keeper {
	int64_t since; /* works without a break */
	enum { KEEPER_IDLE, KEEPER_ARMED, KEEPER_QUIT } stage;
	uint32_t pg_gen;   /* postmaster armed for */
	int64_t sent, end; /* this node's clock */
	uint64_t version;
};

struct node {
	int i;
	char name[16];
	struct world *w;
	struct ha *h;
	struct process proc[PROC_COUNT];
	struct pg pg;
	struct keeper keeper;
	struct job job;
	enum pg_state state;
	int64_t state_since;
	enum pg_role role;
	bool machine_up;
	bool odd;	 /* started with data of its own */
	bool bootstraps; /* a new cluster, not yet published */
	bool stopping;	 /* asked to end by SIGTERM */
	int64_t timer_version;
	uint64_t arm_answered; /* newest ARM that the core got an answer to */
	/* clock: now = offset + t * (1 + drift) */
	int64_t offset, drift_ppm, wall_step;
	int64_t last_arrival; /* at the store: one connection keeps order */
	/* faults in force */
	bool slow_stop, slow_start, jobs_fail, repl_stall, disk_full;
	bool pre_promote_fails, device_bad, unreadable, no_sysid, slots_wanted;
	int64_t device_mended;
	bool stop_fails;     /* no stop job can end the server */
	int64_t stop_failed; /* ... when one could not last */
	bool login_fails;    /* no replication connection to itself */
	bool sysid_known;    /* to its controller */
	uint64_t sysid_told; /* whose text this is: */
	char sysid_text[WORD_SIZE];
	int64_t robbed_until; /* its key was deleted, its lease is not over */
	int64_t granted;      /* end of the lease last granted, own clock */
	int64_t well_since;   /* the controller runs without a break */
	int64_t paused_until; /* it may still act as in pause */
	int64_t withheld;     /* its pre_promote failed */
	int64_t operated;     /* an operator asked for work on this node */
	int64_t holds;	      /* until then the key may be its own, it knows */
	int64_t gave_back;    /* it last asked for the key's release */
	int64_t leaves_since; /* it restarts, not yet released; 0: does not */
	struct msg_dcs_settings settings;
	struct device device;
	/* whose addresses its views have told it (11.1 row 12): the last that
	 * had a leader, and the last */
	bool known_old[MAX_NODES], known[MAX_NODES];
	int known_leader;
	int64_t seen[MAX_NODES]; /* last view with this member */
	int64_t stepped_at;	 /* its wall clock */
	uint32_t slots;		 /* physical ones of members, a bit each */
	int64_t slots_since;	 /* it writes retain_slots in this term */
	struct tree *slots_told; /* the same for the core */
	bool dies_polling;	 /* its dcs helper, with its next poll */
	/* for good */
	struct tags tags;
	bool old; /* an earlier version beside ours */
	/* an operator's request under way: its id, 0 none */
	uint64_t request;
	int64_t request_at;
	bool request_unfit; /* its conditions do not hold */
	bool request_leads; /* ... because it leads */
	bool schedules;	    /* ... for or against a restart at some time */
	/* a restart is scheduled, of this postmaster, 0: of one not known */
	bool scheduled, schedule_ends;
	uint32_t scheduled_gen;
	int64_t unled_since; /* no view since then had a leader, 0: the last */
};

/* ---- the store ---- */

struct store_member {
	bool there;
	int64_t expires;
	struct view_member seen; /* as it is loaded */
};

struct store {
	bool down, read_only;
	bool sync_stuck; /* /sync cannot be written */
	int leader;	 /* -1 none */
	int64_t leader_expires;
	int initializer; /* who created /initialize */
	int64_t ttl;
	int64_t revision;
	bool has_initialize;
	char initialize[WORD_SIZE];
	uint64_t sysid; /* the same as a number, 0: none */
	struct tree *config;
	int64_t config_revision;
	bool has_status;
	uint64_t optime;
	bool has_failover;
	char failover_leader[NAME_SIZE], failover_member[NAME_SIZE];
	int64_t failover_at; /* wall clock us, 0: at once, NO_TIME: garbage */
	int64_t failover_revision;
	bool has_failsafe, failsafe[MAX_NODES]; /* by whom it names */
	int64_t sync_revision;			/* 0: no key */
	char sync_leader[NAME_SIZE];
	uint32_t sync_quorum, nsync;
	char sync_standby[MAX_NODES][NAME_SIZE];
	bool has_history;
	uint32_t nhistory;
	struct view_history history[MAX_BRANCHES];
	struct store_member members[MAX_NODES];
	uint32_t retained; /* retain_slots of /status, a bit each */
};

/* ---- an ask on its way ---- */

struct ask {
	struct ask *next;
	uint64_t id;
	struct node *n;
	uint32_t gen; /* of the controller that asked */
	enum ha_fx_type type;
	enum ha_dcs_op op;
	int64_t deadline;	 /* true time, 0 none */
	unsigned __int128 limit; /* the same in the queue, 0 none */
	int64_t sent;		 /* node's clock */
	bool flying;		 /* between node and store */
	bool applied, answered;
	enum outcome outcome;
	struct view *view;
	struct tree *doc;
	uint64_t optime;
	int64_t token, at;
	uint32_t quorum;
	bool flag; /* with_status, create, with_token */
	bool nosync;
	bool failsafe, with_members; /* UPDATE: /failsafe, and whom it names */
	bool members[MAX_NODES];
	uint32_t history_of;
	bool with_slots;
	uint32_t slots; /* retained */
	char text[2][NAME_SIZE];
	uint32_t timeline;
	uint32_t npeers;
	struct peer_status *peers;
	uint32_t waiting; /* peers that have not answered */
	/* set by those that use them */
	struct msg_dcs_touch touch;
	int other; /* whom a local question is about: node, REMOTE or -1 */
};

/* ---- the world ---- */

enum sim_break {
	BREAK_NONE = 0,
#define RULE(name, text, sections) BREAK_##name,
#include "rules.def"
#undef RULE
	BREAK_COUNT
};

/* What goes wrong: faults.def. */
enum fault_kind {
#define FAULT(kind, name, sections) kind,
#include "faults.def"
#undef FAULT
	FAULT_KINDS
};

struct fault {
	int kind;
	struct node *n;
	int other; /* node or STORE */
	int way;   /* 0 both, 1 to, 2 from */
	bool on;
};

struct world {
	uint64_t seed, rng;
	int64_t now, end;
	unsigned __int128 *heap; /* what comes when; earliest first */
	uint32_t nheap, heap_cap;
	struct ev *slots; /* the events themselves, as many as heap_cap */
	uint32_t *spare;  /* free ones of them */
	struct ev *line;  /* what is to happen at once, in this order */
	uint32_t line_at, nline, line_cap;
	uint64_t seq;
	unsigned __int128 limit; /* no limit is before */
	unsigned __int128 beat;	 /* what comes again and again, and when */
	void (*beat_fn)(struct world *);
	int nnodes;
	struct node node[MAX_NODES];
	struct node remote; /* of a standby cluster: its PostgreSQL alone */
	struct store store;
	struct ask *asks, *spare_asks;
	uint32_t branches, tlis;
	uint32_t lineage; /* last branch that accepted a commit */
	struct wal acked; /* all that was acknowledged last */
	int64_t lead_since, last_commit;
	int64_t term_at, forgot_at; /* the key was taken; the store wiped */
	int64_t uninitialized_at;   /* /initialize removed by people */
	int64_t led_at, moved_at, handed_at; /* in health, see health.c */
	/* options of this seed */
	int ttl, loop_wait, retry_timeout;
	int64_t maximum_lag, rate;
	bool check_timeline, use_rewind, failsafe;
	int sync; /* 0 off, 1 priority, 2 quorum */
	bool sync_strict;
	int sync_count;
	bool synced;	   /* /sync has been written: nothing may be lost now */
	int64_t synced_at; /* ... then */
	uint64_t acked_before; /* end of what was acknowledged until then */
	uint32_t pg_version;
	int primary_start_timeout, primary_stop_timeout;
	int race_backoff, member_slots_ttl;
	int64_t sync_lag;
	enum watchdog_mode watchdog;
	int safety_margin;
	bool pre_promote, archiving, logical_slots, operators, toggles;
	bool member_slots;     /* slots of members are modelled */
	bool custom_bootstrap; /* a new cluster comes out of a recovery */
	bool name_laggard;     /* in its story it is asked for as well */
	bool tagged;	       /* all nodes have tags */
	bool standby_seed;     /* may become a standby cluster */
	bool paused, standby;  /* as /config says */
	int64_t standby_since, standby_until, paused_at, resumed_at;
	bool data_lost; /* in this phase of trouble */
	bool data_hurt, wiped_now;
	bool lost_before, rescued;
	bool wiped;	 /* nobody has written /status since */
	int last_writer; /* node */
	int former;	 /* the leader before */
	int former_before;
	int given; /* to whom a slip gave the key, -1 */
	int named; /* whom a request made leader, -1 */
	int64_t requested, requested_before; /* operators' last writes */
	int64_t scheduled_before;	     /* what the last one replaced */
	uint64_t requests;
	int64_t store_delay_max;
	bool store_crawls; /* each answer takes nearly retry_timeout */
	bool sync_by_hand; /* /sync, and no leader has put it right */
	bool ssn_by_hand;  /* by people, who broke the order of writes */
	int ambushed;	   /* its key goes as its next refresh arrives, -1 */
	int loss_percent, answer_loss;
	bool cut[MAX_NODES + 1][MAX_NODES + 1]; /* [from][to], last = store */
	struct fault faults[MAX_FAULTS];
	bool quiet;
	int64_t quiet_since, disturbed; /* last begin or end of a fault */
	int64_t eased;			/* last end of a store's trouble */
	int64_t relinked;		/* last end of a cut */
	int intensity;			/* 0: no faults */
	bool tracing;
	enum sim_break broken;
	bool violated;
	char violation[512];
	/* statistics */
	uint64_t promotions, fences, resets, faults_begun, cycles;
	uint64_t rejoins;
	struct coverage *coverage; /* NULL: not wanted */
};

/* ---- engine.c ---- */

uint64_t rnd(struct world *);
int64_t rnd_range(struct world *, int64_t low, int64_t high); /* inclusive */
bool chance(struct world *, int percent);
struct ev *at(struct world *, int64_t when,
    void (*fn)(struct world *, struct ev *), struct node *, enum proc);
/* As at(), for the one event that comes again and again: it has to ask for
 * its next time before it returns. */
void beat(struct world *, int64_t when, void (*fn)(struct world *));
/*
 * A limit takes its place in the order of events now; the event is made when
 * it is near, by asks_near(), should it still be wanted then.
 */
#define NO_LIMIT (~(unsigned __int128)0)
unsigned __int128 limit(struct world *, int64_t when);
struct ev *at_limit(struct world *, unsigned __int128 limit,
    void (*fn)(struct world *, struct ev *), struct node *, enum proc);
bool engine_alone(const struct world *);     /* nothing else is due now */
void engine_step(struct world *);	     /* carry out the next event */
void process_stop(struct node *, enum proc); /* crash: work is lost */
void process_resume(struct node *, enum proc);
bool process_ok(const struct node *, enum proc);
void trace(struct world *, const struct node *, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void violate(struct world *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool linked(const struct world *, int from, int to);
int64_t local_time(const struct node *);
int64_t true_time(const struct node *, int64_t local);
int64_t wall_time(const struct node *);

/*
 * All texts of the model are short, their places are long: copies what there
 * can be of one.
 */
#define SHORT 64
static inline void
short_copy(char *to, const char *from)
{
	memcpy(to, from, SHORT);
}

/* ---- choose.c: the options of a seed ---- */

void choose_options(struct world *);
void choose_tags(struct node *);
void choose_focus(struct world *, enum sim_break);

/* ---- coverage.c ---- */

struct coverage *coverage_new(void);
void coverage_rule(struct world *, const char *id);
void coverage_fault(struct world *, const char *name);
int coverage_report(struct coverage *);

/* ---- store.c ---- */

void store_init(struct world *);
void store_free(struct world *);
void store_apply(struct world *, struct ask *); /* sets outcome, view */
int store_leader(const struct world *);
void store_wake(struct world *, enum wake_reason);
void store_wipe(struct world *);

/* ---- net.c: asks to the store and to peers ---- */

struct ask *ask_open(struct node *, const struct ha_fx *);
void ask_close(struct world *, struct ask *);
void ask_store(struct node *, const struct ha_fx *);
void ask_poll(struct node *, const struct ha_fx *);
void ask_reply(struct node *, const struct ha_fx *); /* to a peer */
void asks_near(struct world *); /* a limit may have been reached */
void asks_lost(struct node *);	/* the dcs helper died */
void asks_drop(struct node *);	/* the controller died */
void ask_local(struct node *, const struct ha_fx *, int64_t delay);

/* ---- postgres.c ---- */

bool pg_writable(const struct node *);
bool pg_running(const struct node *);
/* Its data belong to another cluster than the store says. */
bool pg_foreign(const struct node *);
uint32_t pg_tli(const struct pg *);
void pg_start(struct node *, bool primary);
void pg_stop(struct node *, enum ha_stop_mode);
void pg_kill(struct node *);
void pg_promote(struct node *);
void pg_resume(struct node *);
void pg_recovers(struct node *); /* a restored copy, to the end of its WAL */
void pg_new_cluster(struct node *);
void pg_new_sysid(struct node *);
void pg_tick(struct world *);
/* Node or remote primary; NULL for none. */
struct node *pg_place(struct world *, int follow);
void wal_copy(struct wal *to, const struct wal *from);
void wal_branch(struct world *, struct wal *);
/* Length of the common beginning. */
uint64_t wal_common(const struct wal *, const struct wal *);
void wal_cut(struct wal *, uint64_t end);

/* ---- sync.c ---- */

uint64_t sync_acknowledged(struct node *);
void sync_facts(struct node *, struct ha_pg *);
/* What synchronous_standby_names asks for; names without the placeholder. */
void sync_names(
    const struct node *, uint32_t *need, char (*)[NAME_SIZE], uint32_t *count);

/* ---- slots.c: slots of members ---- */

const struct tree *slots_facts(struct node *);
void slots_sync(struct node *);
uint32_t slots_named(const struct tree *list);
void slots_retain(struct world *, struct ask *);
void slots_view(const struct world *, struct view *);

/* ---- remote.c: the primary that a standby cluster follows ---- */

void remote_init(struct world *);
void remote_tick(struct world *);

/* ---- operator.c: what people ask for ---- */

void operator_config(struct world *, const char *key, struct tree *value);
void operator_pause(struct world *, bool on);
void operator_standby(struct world *, bool on);
void operator_sync(struct world *, int mode);
void operator_switchover(struct world *, bool scheduled);
void operator_failover(struct world *);
void operator_asks(struct world *, const char *leader, const char *member);
/* An operator's slip; given: to somebody else. */
void operator_deletes_key(struct world *, bool given);
void operator_ssn(struct world *);
void operator_sync_key(struct world *);
void operator_names(struct world *, const struct node *);
void operator_restart(struct node *, bool scheduled);
void operator_reinitialize(struct node *);
void operator_promotes(struct node *); /* by hand, in pause */
void operator_replied(struct node *, const struct ha_fx *);
void operator_insists(struct world *); /* health: what must be is so */

/* ---- job.c ---- */

void job_begin(struct node *, const struct ha_fx *);
void job_cancel(struct node *, uint64_t id);
void job_drop(struct node *);

/* ---- keeper.c ---- */

void keeper_arm(struct node *, uint64_t id);
void keeper_grant(struct node *, const struct msg_wd_grant *);
void keeper_disarm(struct node *);
void keeper_restart(struct node *);
int64_t keeper_safety(const struct node *);
bool keeper_healthy(const struct node *); /* spec/ha.md 20.5 */
void keeper_tell(struct node *);	  /* its state, unasked */

/* ---- facts.c: what the controller tells the core ---- */

void facts_status(struct node *, struct ha_pg *);
void facts_control(struct node *, uint32_t timeline, struct ha_control *);
void facts_divergence(struct node *, int other, struct ha_divergence *);
enum ha_recovery_diff facts_diff(const struct node *, int target);

/* ---- node.c ---- */

void node_init(struct world *, int i);
void node_free(struct node *);
void node_feed(struct node *, const struct ha_ev *);
void node_attach(struct node *, int64_t delay);
void node_detach(struct node *); /* the controller ends */
void node_stays_paused(struct node *);
void node_crash_controller(struct node *);
void node_power_off(struct node *);
void node_power_on(struct node *);
struct node *node_named(struct world *, const char *);
/* /config, or what the configuration files say. */
struct tree *node_document(const struct world *);

/* ---- faults.c ---- */

void faults_init(struct world *);
void node_crash_helper(struct node *, enum proc);

/* ---- stories.c: faults of several steps ---- */

/* False: there is no place for this story now. */
bool story_victim(struct world *, struct fault *, int64_t lasts);
void story_begin(struct world *, struct fault *, int64_t lasts);
void story_end(struct world *);

/* ---- check.c ---- */

void check_step(struct world *);
void check_promotion(struct world *, struct node *);
void check_acquired(struct world *, struct node *);
void check_quiet(struct world *); /* health.c */
/* check_rules.c */
void check_fit(struct node *); /* it took the key */
/* Something is wrong that may keep nodes from seeing what others see. */
bool in_trouble(const struct world *);
bool sync_listed_in(const struct world *, const struct node *);
void check_grant(struct node *, int64_t lease_end);
void check_fence(struct node *);
void check_disarm(struct node *);
void check_job(struct node *, const struct ha_job *);
void check_sync(struct world *);
void check_order(struct node *); /* pg_ctl promote */
void check_exit(struct node *);	 /* the daemon has ended by itself */

/* ---- rules.c ---- */

int rule_count(void);
const char *rule_name(int);
enum sim_break rule_find(const char *);
/* Which rules of the core the run meets, for the file in RULES_LOG. */
void rules_note(void);
void rule_met(const char *id);

/* ---- main.c ---- */

#endif
