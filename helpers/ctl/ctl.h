/*
 * ctl.h: patronictl: commands, their options, and what they share.
 *
 * A one-shot program: errors end it through ctl_error() and usage_error(),
 * and the kernel takes back what it held.
 */
#ifndef CTL_H
#define CTL_H

#include <signal.h>
#include <stdio.h>

#include "../../ipc/messages.h"
#include "../../ipc/view_rules.h"
#include "../../master/conf/conf.h"

/* ---- options.c: command lines (spec/patronictl.md 2) ---- */

enum opt_type {
	OPT_FLAG,
	OPT_TEXT,
	OPT_INTEGER,
	OPT_FLOAT,
	OPT_CHOICE,
	OPT_FILE /* TEXT that the help calls FILENAME */
};

struct opt {
	const char *name;  /* "--format"; messages name both in this order */
	const char *name2; /* "-f", another long one, or NULL */
	enum opt_type type;
	const char *choices; /* OPT_CHOICE: separated by '|' */
	const char *help;    /* NULL: accepted, not shown */
};

struct opt_value {
	bool set;
	const char *text;
	int64_t integer;
	double real;
};

#define MAX_OPTS 16
#define MAX_ARGS 256
#define MAX_GIVEN 256 /* options of one command line */

struct ctl;
struct command;
struct parsed {
	const struct command *command;
	struct opt_value v[MAX_OPTS]; /* as in the command's table; last wins */
	/* every option with its value in the order of the command line, for
	 * those that accumulate */
	struct {
		const struct opt *opt;
		const char *text;
	} given[MAX_GIVEN];
	int ngiven;
	const char *args[MAX_ARGS];
	int nargs;
};

#define COMMAND_NO_CONFIG 1u /* runs without a configuration */
#define COMMAND_HIDDEN 2u    /* not in the list of --help */

struct command {
	const char *name;
	const char *help;
	const char *usage;	  /* arguments: "[CLUSTER_NAMES]..." */
	const char *const *needs; /* mandatory ones, then NULL; or NULL */
	int max_args;		  /* MAX_ARGS: any number */
	unsigned flags;		  /* COMMAND_* */
	const struct opt *opts;	  /* ends with name NULL */
	int (*run)(struct ctl *, const struct parsed *); /* exit code */
	const char *examples;				 /* lines for --help */
};

#define ROLE_CHOICES "leader|primary|standby-leader|replica|standby|any"

extern const struct command commands[]; /* by name; ends with name NULL */

/* The command of that name, or NULL. */
const struct command *command_find(const char *name);
/* `Error: text` on stderr, exit 1. */
void ctl_error(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));
/* Usage block of the command (NULL: the program's), exit 2. */
void usage_error(const struct command *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));
/* Parse argv[0..argc) of a command; exits on --help and on errors. */
void options_parse(
    const struct command *, int argc, char **argv, struct parsed *);
/* Value of the option with that first name, which the command must have. */
const struct opt_value *parsed_option(const struct parsed *, const char *name);
bool parsed_flag(const struct parsed *, const char *name);
/* Its text, NULL when not given. */
const char *parsed_text(const struct parsed *, const char *name);
/* ---- help.c ---- */

void help_usage(FILE *, const struct command *);
void help_program(FILE *);
void help_command(const struct command *) __attribute__((noreturn));

/* ---- config.c ---- */

/* A group of a Citus cluster beside group 0. */
struct worker {
	int group;
	struct view *view;
};

struct ctl {
	struct conf *conf;
	bool insecure;
	struct store *store; /* last one used */
	int group;	     /* --group or its default; -1 = not known */
	/* Citus without a group (5.2): the last view read was that of group 0,
	 * these are the others, ascending */
	bool whole;
	struct worker *workers;
	uint32_t nworkers;
};

/* Find and load the configuration (3.1), lay -d over it (4).  Exits on
 * errors. */
void config_load(struct ctl *, const char *file, const char *url);
/* Path of the per-user file of 3.1; "" when it would be too long. */
void config_default_path(char *out, size_t size);
/* Default cluster name or NULL. */
const char *config_scope(const struct ctl *);
/* First argument, else the scope; exits when there is neither. */
const char *config_cluster(const struct ctl *, const struct parsed *);
/* Take --group; from_config: default is citus.group of the configuration. */
void config_group(struct ctl *, const struct parsed *, bool from_config);
/* A Citus session: section citus, or --group (5.2). */
bool config_citus(const struct ctl *);

/* ---- store.c: the store, synchronously ---- */

struct store;
/* Open (or reuse) the store of a cluster; exits when it cannot be. */
struct store *store_open(struct ctl *, const char *cluster);
/* A fresh view; the caller frees it, but not the workers that come with it.
 * Exits with an error after the retry timeout. */
struct view *store_view(struct store *);
/* The same, NULL and a text for store_error() instead of the exit. */
struct view *store_try_view(struct store *);
struct event_base *store_base(struct store *);
/* Writes; why they failed: store_error(). */
enum outcome store_set_config(struct store *, const char *json, int64_t token);
enum outcome store_set_failover(
    struct store *, const struct msg_dcs_failover *);
enum outcome store_remove(struct store *);
enum outcome store_initialize(struct store *, const char *sysid);
enum outcome store_touch(struct store *, const struct msg_dcs_touch *);
enum outcome store_acquire(struct store *);
const char *store_error(const struct store *);

/* ---- table.c: the output engine (9) ---- */

enum table_format { FMT_PRETTY, FMT_TOPOLOGY, FMT_TSV, FMT_JSON, FMT_YAML };

struct column {
	const char *name;    /* key of json, yaml, tsv */
	const char *heading; /* pretty; NULL = name */
	bool right;
};

struct table {
	char title[TEXT_SIZE + NAME_SIZE];
	struct column *cols;
	uint32_t ncols;
	bool omit_empty;       /* json, yaml: keys without text are left out */
	bool unnamed;	       /* names are unknown: "Field 1" in boxes only */
	const char *delimiter; /* tsv; NULL = tab */
	/* list of lists of values, one per column */
	struct tree *rows;
};

/* pretty, tsv, json, yaml, yml. */
enum table_format table_format(const char *);
#define FORMAT_CHOICES "pretty|tsv|json|yaml|yml"
void table_init(struct table *);
void table_column(
    struct table *, const char *name, const char *heading, bool right);
/* A new row; values are appended with tree_append. */
struct tree *table_row(struct table *);
void table_print(const struct table *, enum table_format, FILE *);
void table_free(struct table *);

/* ---- members.c: the member table (10) ---- */

void members_print(const struct ctl *, const struct view *, const char *cluster,
    enum table_format, bool extended, FILE *);
/* The pretty one on stdout. */
void members_table(
    const struct ctl *, const struct view *, const char *cluster);

/* ---- facts.c: numbers of the dynamic configuration ---- */

/* loop_wait in seconds, 10 when there is none. */
int fact_loop_wait(const struct view *);

/* ---- select.c: roles and the members meant (7) ---- */

struct target {
	const char *name;
	const struct view_member *m; /* NULL: leader key without a member */
};
#define MAX_TARGETS (4 * MAX_MEMBERS) /* all groups of a Citus cluster */
#define NAMES_SIZE (MAX_TARGETS * (NAME_SIZE + 4))
struct targets {
	struct target v[MAX_TARGETS];
	uint32_t n;
};

/* Without a group in a Citus session: of all groups. */
void select_role(const struct ctl *, const struct view *, const char *role,
    struct targets *);

struct selection {
	const char *cluster;
	const char *action; /* "restart", "flush" … */
	const char *role;
	bool reinit; /* role fixed, one member asked for (7.2) */
	bool force;
	bool confirm;
	const char *const *names;
	int nnames;
};
/* Prints the table, asks, and exits when nothing fits. */
void select_members(const struct ctl *, const struct view *,
    const struct selection *, struct targets *);
/* "a, b" */
void select_names(const struct targets *, char *buf, size_t size);
/* Members with an api_url, the leader first (7.3). */
void select_leader_first(const struct view *, struct targets *);
const struct target *select_has(const struct targets *, const char *name);

/* ---- prompt.c (8) ---- */

bool prompt_confirm(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Line typed; with a default (may be "") that one for an empty line.  It lives
 * until the program ends. */
const char *prompt_text(const char *dflt, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int prompt_integer(const char *text);
/* The caller wipes and frees it. */
char *prompt_password(const char *text);
/* From now on Ctrl-C leaves the terminal clean, says so, exit 1. */
void prompt_catch_interrupt(void);
/* "Aborted!" and exit 1. */
void prompt_abort(void) __attribute__((noreturn));

/* ---- dates.c (14) ---- */

#define DATE_SIZE 48
/*
 * Text of --scheduled to ISO 8601 with an offset; "now" and "" give "".
 * False when it cannot be understood.
 */
bool date_parse(const char *text, char *iso, size_t size);
/* Local now + 1 hour, YYYY-MM-DDTHH:MM. */
void date_example(char *buf, size_t size);
/* YYYY-MM-DD HH:MM:SS, and with five digits of the fraction. */
void date_now(char *buf, size_t size);
void date_now5(char *buf, size_t size);

/* ---- style.c: terminals ---- */

void style_init(void);
/* Escape sequence of a style when f is stdout on a terminal that may have
 * colours, else "". */
enum style {
	STYLE_NONE,
	STYLE_GOOD,
	STYLE_BAD,
	STYLE_WARN,
	STYLE_STRONG,
	STYLE_ADDED,
	STYLE_REMOVED,
	STYLE_HUNK,
	STYLE_FILE
};
const char *style_on(FILE *f, enum style);
const char *style_off(FILE *f, enum style);
/* Role or state of the member table. */
enum style style_of(const char *column, const char *text);
/* What is being waited for, on a line of its own of a terminal's stderr. */
void progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void progress_end(void);
extern volatile sig_atomic_t progress_shown; /* for a signal's handler */

/* ---- cmd_cluster.c ---- */

void history_print(const struct view *, enum table_format, FILE *);
/* The member that --role or --member means (13.1); NULL: there is none. */
const struct view_member *dsn_member(
    const struct ctl *, const struct parsed *, const struct view *);

/* ---- watch.c ---- */

/* Call once, or again and again: -w and -W of the command (11.7). */
int watch_loop(int (*once)(struct ctl *, const struct parsed *), bool clear,
    struct ctl *, const struct parsed *);
/* Let that many seconds go by; Ctrl-C ends the program. */
void wait_seconds(double seconds);

/* ---- commands ---- */

int cmd_configure(struct ctl *, const struct parsed *);
int cmd_demote_cluster(struct ctl *, const struct parsed *);
int cmd_dsn(struct ctl *, const struct parsed *);
int cmd_edit_config(struct ctl *, const struct parsed *);
int cmd_failover(struct ctl *, const struct parsed *);
int cmd_flush(struct ctl *, const struct parsed *);
int cmd_history(struct ctl *, const struct parsed *);
int cmd_list(struct ctl *, const struct parsed *);
int cmd_local(struct ctl *, const struct parsed *);
int cmd_pause(struct ctl *, const struct parsed *);
int cmd_promote_cluster(struct ctl *, const struct parsed *);
int cmd_query(struct ctl *, const struct parsed *);
int cmd_reinit(struct ctl *, const struct parsed *);
int cmd_reload(struct ctl *, const struct parsed *);
int cmd_remove(struct ctl *, const struct parsed *);
int cmd_restart(struct ctl *, const struct parsed *);
int cmd_resume(struct ctl *, const struct parsed *);
int cmd_scaffold(struct ctl *, const struct parsed *);
int cmd_show_config(struct ctl *, const struct parsed *);
int cmd_switchover(struct ctl *, const struct parsed *);
int cmd_topology(struct ctl *, const struct parsed *);
int cmd_version(struct ctl *, const struct parsed *);

#endif
