/*
 * master.h: the state of the supervising process and the parts it is made of.
 *
 * The master is one ppoll loop over signals, the links to the four helpers
 * and the control socket (design 2, 10).  It speaks to no network, parses
 * nothing but its configuration, and takes no decision about the cluster.
 */
#ifndef MASTER_H
#define MASTER_H

#include <sys/types.h>

#include <poll.h>

#include "../ipc/messages.h"
#include "conf/conf.h"

#define CTL_MAX_CLIENTS 16
#define CTL_MAX_PENDING 16
#define HELPER_QUEUE (4 * 1024 * 1024) /* unsent bytes to one helper */
#define CLIENT_QUEUE (2 * 1024 * 1024) /* unsent bytes to one client */

/* Times, ns. */
#define BACKOFF_FIRST (100 * NS_PER_MS)
#define BACKOFF_MOST (5 * NS_PER_SEC)
#define RAN_WELL (2 * NS_PER_SEC)	 /* a life that resets the back-off */
#define STOP_GRACE (5 * NS_PER_SEC)	 /* from "stop" to SIGKILL */
#define REST_GRACE (30 * NS_PER_SEC)	 /* of rest, as long as it lives */
#define EXIT_GRACE (5 * NS_PER_SEC)	 /* from a closed link to SIGKILL */
#define SUCCESSOR_GRACE (8 * NS_PER_SEC) /* for its answer */
#define RELOAD_GRACE (10 * NS_PER_SEC)	 /* for the answers to a reload */
#define STOP_ATTEMPTS 10 /* restarts of the controller while stopping */

struct account {
	uid_t uid;
	gid_t gid;
	char name[NAME_SIZE];
	char home[PATH_SIZE];
};

struct accounts {
	bool switching;		/* started as root: helpers change user */
	struct account owner;	/* of the database: postgres, watchdog */
	struct account network; /* dcs, rest */
};

struct helper_proc {
	enum proc proc;
	pid_t pid;	   /* 0 = not running */
	struct link *link; /* NULL while not running or after a break */
	int64_t started_ns;
	int64_t restart_ns; /* when to start it again; 0 = not planned */
	int64_t stop_ns;    /* when it was told to stop; 0 = not */
	int64_t kill_ns;    /* when to SIGKILL it; 0 = never */
	int64_t backoff_ns; /* delay that the last restart had */
	uint32_t restarts;
	uint32_t failures; /* restarts without a life of RAN_WELL between */
	bool ready;	   /* answered its first CONFIG */
	bool stopped;	   /* said STOPPED */
	bool fallback;	   /* rest: was sent `accepted`, has not answered yet */
	bool tls; /* rest: has loaded TLS, or failed with its first certificate
		   */
	uint64_t generation; /* newest configuration that it answered for */
	bool has_info;
	struct msg_helper_info info;
};

struct ctl_client {
	struct link *link; /* NULL = free place */
	bool allowed;
	uint32_t serial; /* tells a re-used place from the old client */
	int64_t expires_ns;
	uint32_t waiting; /* of its queries, how many are forwarded */
};

struct ctl_pending {	/* a query forwarded to a helper */
	uint64_t id;	/* of our request; 0 = free place */
	enum proc to;	/* PROC_MASTER: the process table, see `asked` */
	uint32_t asked; /* helpers (bits) that have not told their state yet */
	uint64_t query_id;
	uint32_t place;
	uint32_t serial;
	int64_t deadline_ns;
	uint32_t limit; /* journal: newest n */
};

struct log_file {
	char dir[PATH_SIZE]; /* "" = stderr */
	mode_t mode;
	bool has_mode;
	int64_t size, num;
	int64_t check_ns; /* when to look at the size again */
	int stderr_fd;	  /* where lines went before there was a file */
};

enum phase {
	PHASE_STARTING = 0, /* not every helper answered yet */
	PHASE_RUNNING = 1,
	PHASE_STOPPING = 2,
	PHASE_DONE = 3
};

/* A file that only root may read, opened before root is given up. */
struct kept_file {
	char path[PATH_SIZE];
	int fd;
};
#define MAX_KEPT 12

struct master {
	/* start */
	struct conf *conf;
	struct conf_env *env;
	char libexec[PATH_SIZE];
	bool no_sandbox;
	uint32_t sandbox; /* SANDBOX_ bits of the master itself */
	struct accounts accounts;
	int64_t started_ns;

	/* loop */
	enum phase phase;
	int signal_fd;
	int exit_code;
	uint32_t stop_index;	 /* into the order of stopping */
	uint64_t generation;	 /* of the configuration */
	uint64_t next_id;	 /* of requests to helpers */
	int64_t reload_until_ns; /* answers are awaited until; 0 = none */

	struct helper_proc helpers[PROC_COUNT]; /* index: enum proc */
	/* a second rest process (successor.c): one that is tried, or the old
	 * one that ends; pid 0 = none */
	struct helper_proc beside;
	bool candidate;	       /* it is one that is tried */
	struct conf *accepted; /* what rest serves, or NULL: that is `conf` */

	/* REST listener: kept open so that a new rest helper gets it too */
	int listen_fd;
	bool listener_due; /* not served by rest so far */
	char listen_addr[NAME_SIZE + URL_SIZE];

	int cgroup_procs, cgroup_kill; /* of PostgreSQL's own group; -1 */
	struct kept_file kept[MAX_KEPT];
	uint32_t nkept;

	struct log_file log;
	int32_t log_override; /* level from the control socket; 0 = none */

	struct tree *allowlist; /* of restapi, its names resolved; or NULL */
	uint64_t allowlist_generation;

	/* systemd */
	int notify_fd;
	char notify_path[PATH_SIZE];
	int64_t watchdog_every_ns; /* 0 = no watchdog of the service manager */
	int64_t watchdog_ns;	   /* when to notify it again */
	char status[TEXT_SIZE];

	/* control socket */
	int control_fd;
	char control_path[PATH_SIZE];
	uint32_t client_serial;
	struct ctl_client clients[CTL_MAX_CLIENTS];
	struct ctl_pending pending[CTL_MAX_PENDING];
};

/* ---- args.c ---- */

enum mode {
	MODE_RUN = 0,
	MODE_VALIDATE,
	MODE_SAMPLE,
	MODE_GENERATE,
	MODE_EXIT /* --help, --version or an error: leave with `code` */
};

struct args {
	enum mode mode;
	int code;
	const char *program;	/* base name of argv[0] */
	const char *configfile; /* NULL: not given */
	const char *dsn;
	bool ignore_listen_port;
	bool print;
	bool no_sandbox;
};

/* spec/config.md 1.1; prints help, version and usage errors itself. */
void args_parse(int argc, char **argv, struct args *);

/* ---- master.c: start, loop, signals, reload, stop ---- */

/* The daemon proper; returns the exit code.  A NULL configfile is allowed. */
int master_run(const struct args *, const char *libexec);
/* Find the directory of the helper executables: beside the own binary, or the
 * directory given at compile time.  False when none has all of them. */
bool master_find_libexec(char *out, size_t size);

/* Re-read the configuration and hand it out (spec/config.md 8). */
void master_reload(struct master *);
/* Begin the orderly stop; later calls only raise the exit code. */
void master_stop(struct master *, int exit_code);
/* To be called when a helper answered, died or was started. */
void master_progress(struct master *);
/* Loop until PHASE_DONE.  Prepared fields: everything of "start". */
void master_loop(struct master *);
/* One turn of it: wait for the next event or deadline and act. */
void master_round(struct master *);
/* Block the signals that the loop handles and open the descriptor for them. */
void master_signals(struct master *);
/* Zero, with every descriptor field at -1 and the helper table named. */
void master_init(struct master *);

/* ---- supervise.c: life and links of the helpers ---- */

void supervise_start_all(struct master *);
/* Reap every dead child, helper or orphan. */
void supervise_reap(struct master *);
/* Restarts and kills that are due. */
void supervise_timers(struct master *, int64_t now);
int64_t supervise_next(const struct master *); /* INT64_MAX = nothing due */
void supervise_readable(struct master *, enum proc, short revents);
/* Send one message; 0 or -1 (helper not there, queue full). */
int supervise_send(struct master *, enum proc, uint16_t type, uint16_t flags,
    uint64_t id, int64_t deadline_ns, const void *body, const void *var,
    size_t var_len, int fd);
/* Configuration and descriptors after a reload; the listener only when it is
 * another one. */
void supervise_reconfigure(struct master *, bool rebound);
void supervise_log_settings(struct master *, int fd);
/* Tell a helper to stop; it is killed after grace_ns (0: never). */
void supervise_ask_stop(struct master *, enum proc, int64_t grace_ns);
/* Stop and start again (control socket). */
bool supervise_restart(struct master *, enum proc);
bool supervise_all_ready(const struct master *);
bool supervise_all_at(const struct master *, uint64_t generation);

/* For successor.c: a process for that entry (false: none, a later start is
 * planned), what it is told first, its links, its answer. */
bool supervise_start(struct master *, struct helper_proc *);
void supervise_introduce(struct master *, enum proc);
void supervise_link(struct master *, enum proc);
void supervise_ready(
    struct master *, struct helper_proc *, const struct msg_ready *);

/* ---- successor.c: TLS of the REST API turned on by a reload ---- */

bool successor_wants_tls(const struct master *);
/* Does the configuration need another rest process than the one there is? */
bool successor_due(const struct master *);
/* Start one with the configuration as it is; it takes over when it accepts
 * it, else the old one stays as it is (logged). */
void successor_try(struct master *);
/* Kill the process beside, if there is one. */
void successor_drop(struct master *);
void successor_readable(struct master *, short revents);
void successor_timers(struct master *, int64_t now);
/* True when that child was the process beside. */
bool successor_died(struct master *, pid_t);

/* ---- spawn.c: a child process of its own user ---- */

/* Path of the executable of that helper. */
bool spawn_path(const char *libexec, enum proc, char *out, size_t size);
/* Before the sandbox: from then on these alone may be executed. */
void spawn_allow(const struct master *);
/* Fork and execute; the child gets `fd` as descriptor 3, our stdio and
 * nothing else.  -1 when there could be no child. */
pid_t spawn_helper(const struct master *, enum proc, int fd);

/* ---- privileges.c: accounts and what only the master may open ---- */

/* Who runs what.  False with a message when an account is missing. */
bool privileges_resolve(const struct conf *, struct accounts *);
/* Give up root where nothing needs it.  False with a message. */
bool privileges_drop(const struct conf *, const struct accounts *);
const struct account *privileges_for(const struct accounts *, enum proc);
/* Open the configured watchdog device for the keeper: fd or -1, *error. */
int privileges_open_device(const struct conf *, const char *path, int *error);

/* ---- listen.c: the REST listener ---- */

/* Split restapi.listen at its last colon; brackets are taken off.  "" =
 * wildcard.  False when it is not <HOST>:<PORT>. */
bool listen_split(const char *text, char *host, size_t size, int *port);
/* Bound and listening, non-blocking, close-on-exec; -1 with *error filled
 * (errno, or 0 when the name did not resolve). spec/rest-api.md 2.2 */
int listen_open(const char *text, int backlog, int *error);

/* ---- allowlist.c ---- */

/* Replace the host names of restapi.allowlist in rest's configuration by
 * their addresses.  Takes at most three seconds, once per configuration. */
void allowlist_resolve(struct master *, struct tree *conf);

/* ---- files.c: certificates and keys ---- */

/* Before root is given up: open what may be needed again. */
void files_keep(struct master *);
/* Pass dcs or rest its files, before the configuration that names them. */
void files_send(struct master *, enum proc);
void files_close(struct master *);

/* ---- cgroup.c: a control group for PostgreSQL ---- */

/* Before root is given up; where nothing was delegated nothing is done. */
void cgroup_open(struct master *);
void cgroup_send(struct master *, enum proc); /* to postgres, the keeper */
void cgroup_close(struct master *);

/* ---- logfile.c: log.dir, rotation ---- */

/* Take over the settings; switches descriptor 2.  False: cannot open. */
bool logfile_configure(struct log_file *, const struct conf *, bool *switched);
/* Rotate when due; true when descriptor 2 is a new file now. */
bool logfile_check(struct log_file *, int64_t now);

/* ---- notify.c: the service manager ---- */

void notify_open(struct master *);
void notify_send(struct master *, const char *text);
void notify_reloading(struct master *);
void notify_status(struct master *); /* sends STATUS= when it changed */
void notify_timers(struct master *, int64_t now);

/* ---- control.c: the control socket ---- */

void control_open(struct master *);
void control_close(struct master *);
/* Fill poll entries for listener and clients; the number of them. */
uint32_t control_poll(struct master *, struct pollfd *);
/* Act upon the same entries. */
void control_events(struct master *, const struct pollfd *, uint32_t n);
/* Answer from the controller or rest to a forwarded query. */
void control_answer(struct master *, enum proc from, const struct ipc_msg *);
/* That helper is gone: the outcome of what was forwarded to it is unknown. */
void control_lost(struct master *, enum proc);
/* That helper has reported. */
void control_told(struct master *, enum proc);
void control_timers(struct master *, int64_t now);
int64_t control_next(const struct master *);

/* ---- processes.c: the table for `patronictl local` ---- */

struct tree *processes_tree(struct master *);

/* ---- init.c: being pid 1 ---- */

/* Run the daemon in a child and reap for it; returns in the child, exits in
 * the parent with the daemon's code (spec/config.md 9). */
void init_if_pid1(void);

#endif
