/*
 * ctl.h: patronictl: commands, their options, and what they share.
 *
 * A one-shot program: errors end it through ctl_error() and usage_error(),
 * and the kernel takes back what it held.
 */
#ifndef CTL_H
#define CTL_H

#include <stdio.h>

#include "../../ipc/messages.h"
#include "../../master/conf/conf.h"

/* ---- options.c: command lines (spec/patronictl.md 2) ---- */

enum opt_type { OPT_FLAG, OPT_TEXT, OPT_INTEGER, OPT_FLOAT, OPT_CHOICE };

struct opt {
	const char *name;  /* "--format"; messages name both in this order */
	const char *name2; /* "-f", another long one, or NULL */
	enum opt_type type;
	const char *choices; /* OPT_CHOICE: separated by '|' */
	const char *help;
};

struct opt_value {
	bool set;
	const char *text;
	int64_t integer;
	double real;
};

#define MAX_OPTS 12
#define MAX_ARGS 256

struct ctl;
struct parsed {
	struct opt_value v[MAX_OPTS]; /* as in the command's table */
	const char *args[MAX_ARGS];
	int nargs;
};

struct command {
	const char *name;
	const char *help;
	const char *usage; /* arguments: "[CLUSTER_NAMES]..." */
	int max_args;	   /* MAX_ARGS: any number */
	const struct opt *opts; /* ends with name NULL */
	int (*run)(struct ctl *, const struct parsed *); /* exit code */
};

extern const struct command commands[]; /* by name; ends with name NULL */

/* `Error: text` on stderr, exit 1. */
void ctl_error(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));
/* Usage block of the command (NULL: the program's), exit 2. */
void usage_error(const struct command *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));
/* Parse argv[0..argc) of a command; exits on --help and on errors. */
void options_parse(const struct command *, int argc, char **argv,
    struct parsed *);
void help_program(FILE *);
/* ---- config.c ---- */

struct ctl {
	struct conf *conf;
	bool insecure;
	struct store *store; /* last one used */
	int group;	     /* --group; -1 = not given */
};

/* Find and load the configuration (3.1), lay -d over it (4).  Exits on
 * errors. */
void config_load(struct ctl *, const char *file, const char *url);
/* Default cluster name or NULL. */
const char *config_scope(const struct ctl *);

/* ---- store.c: the store, synchronously ---- */

struct store;
/* Open (or reuse) the store of a cluster; exits when it cannot be. */
struct store *store_open(struct ctl *, const char *cluster);
/* A fresh view; the caller frees it.  Exits with an error after the retry
 * timeout. */
struct view *store_view(struct store *);
struct event_base *store_base(struct store *);

/* ---- table.c: the output engine (9) ---- */

enum table_format { FMT_PRETTY, FMT_TOPOLOGY, FMT_TSV, FMT_JSON, FMT_YAML };

#define TABLE_COLUMNS 24
struct column {
	const char *name;    /* key of json, yaml, tsv */
	const char *heading; /* pretty; NULL = name */
	bool right;
};

struct table {
	char title[TEXT_SIZE + NAME_SIZE];
	struct column cols[TABLE_COLUMNS];
	uint32_t ncols;
	bool omit_empty; /* json, yaml: keys without text are left out */
	/* list of lists of values, one per column */
	struct tree *rows;
};

/* pretty, tsv, json, yaml, yml. */
enum table_format table_format(const char *);
#define FORMAT_CHOICES "pretty|tsv|json|yaml|yml"
void table_init(struct table *);
void table_column(struct table *, const char *name, const char *heading,
    bool right);
/* A new row; values are appended with tree_append. */
struct tree *table_row(struct table *);
void table_print(const struct table *, enum table_format, FILE *);
void table_free(struct table *);

/* ---- members.c: the member table (10) ---- */

void members_print(const struct view *, const char *cluster,
    enum table_format, bool extended, FILE *);

/* ---- watch.c ---- */

/* Call once, or again and again: -w SECONDS (11.7). */
int watch_loop(const struct opt_value *every, bool two_seconds,
    int (*once)(struct ctl *, const struct parsed *), struct ctl *,
    const struct parsed *);

/* ---- commands ---- */

int cmd_list(struct ctl *, const struct parsed *);
int cmd_topology(struct ctl *, const struct parsed *);
int cmd_version(struct ctl *, const struct parsed *);
int cmd_local(struct ctl *, const struct parsed *);

#endif
