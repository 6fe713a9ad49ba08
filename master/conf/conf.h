/*
 * conf.h: the configuration library of the master and of patronictl.
 *
 * One schema table (schema.def) says which keys exist; the YAML loader, the
 * environment overlay, the checks, --validate-config, the manual page and the
 * example file follow it.  Nothing here opens a connection or speaks SQL,
 * but for the probes of --validate-config and --generate-config.
 *
 * Lines: every node that came from a file carries file number and line in
 * its `line` member (CONF_FILE, CONF_LINE); number 0 is the environment.
 */
#ifndef CONF_H
#define CONF_H

#include <stdarg.h>
#include <stdio.h>

#include "../../ipc/log.h"
#include "../../ipc/tree.h"
#include "../../ipc/types.h"

/* ---- notes: what is wrong with a configuration ---- */

enum conf_severity {
	CONF_INFO = 0,	  /* worth a line in the log */
	CONF_WARNING = 1, /* the value is ignored or replaced */
	CONF_ERROR = 2	  /* the configuration cannot be used */
};

struct conf_note {
	enum conf_severity severity;
	char *text; /* one line, ready for an operator */
};

#define CONF_MAX_NOTES 200 /* later ones are counted only */

struct conf_notes {
	struct conf_note *v;
	uint32_t n, dropped;
	uint32_t errors; /* number of CONF_ERROR, dropped ones included */
};

void conf_note(struct conf_notes *, enum conf_severity, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Write errors to stream as they are (start-up, spec/config.md 1.2). */
void conf_notes_print_errors(const struct conf_notes *, FILE *);
/* Send all notes to the log at their level. */
void conf_notes_log(const struct conf_notes *);
void conf_notes_free(struct conf_notes *); /* leaves it empty and usable */

/* ---- schema ---- */

enum conf_type {
	CONF_SECTION = 0, /* map; its keys have rows of their own */
	CONF_TEXT,
	CONF_INT,
	CONF_NUMBER, /* int; text with digits is as good (validation too) */
	CONF_REAL,
	CONF_BOOL,
	CONF_BYTES,    /* int, text with a memory unit allowed */
	CONF_DURATION, /* seconds, text with a time unit allowed */
	CONF_WORD,     /* one of `words` */
	CONF_LIST,     /* of scalars or maps, kept as it is */
	CONF_STRINGS,  /* list of strings */
	CONF_MAP,      /* map with keys of the user's, kept whole */
	CONF_ANY       /* several forms; `words` says which */
};

/* When a changed value takes effect: spec/config.md 4. */
enum conf_class {
	CONF_RELOADED = 'R',
	CONF_PENDING = 'P', /* PostgreSQL must be restarted */
	CONF_AT_START = 'S',
	CONF_BOOTSTRAP = 'B',
	CONF_DYNAMIC = 'D' /* no effect in the local file */
};

/* What --validate-config looks at (spec/config.md 15.2). */
enum conf_check {
	CHECK_NOT = 0,	  /* not looked at */
	CHECK_TYPE,	  /* type, limits and words of the row */
	CHECK_NAME,	  /* text, not the reserved name */
	CHECK_BIND,	  /* host:port that nobody listens on */
	CHECK_BIND_MANY,  /* the same with several hosts */
	CHECK_CONNECT,	  /* host:port that others can connect to */
	CHECK_REACH,	  /* host:port that answers */
	CHECK_REACH_ANY,  /* comma text or list of those */
	CHECK_REACH_LIST, /* list of those */
	CHECK_IP,	  /* IPv4 or IPv6 address */
	CHECK_DATA_DIR,
	CHECK_BIN_DIR,
	CHECK_BIN_NAME,
	CHECK_OPTIONS,	 /* list of strings or one-pair maps */
	CHECK_FORMAT,	 /* log.format */
	CHECK_SYNC_MODE, /* boolean word or quorum */
	CHECK_WATCHDOG_MODE,
	CHECK_PORTS, /* kubernetes.ports */
	CHECK_CODES, /* integer or list of integers */
	CHECK_TAGS   /* a tag of an exclusive pair */
};

#define CONF_REQUIRED 1u /* --validate-config demands it */
#define CONF_SECRET 2u	 /* never printed in a note */
#define CONF_OLD 4u	 /* accepted form of older versions */
#define CONF_OURS 8u	 /* not known upstream */
#define CONF_LENIENT 16u /* a bad value warns and gives the default */
#define CONF_ONE_OF 32u	 /* the section needs one of the rows so marked */
#define CONF_NOCASE 64u	 /* words in any case */

#define FOR(proc) (1u << PROC_##proc)

struct conf_key {
	const char *path; /* dotted; `*` stands for any one key */
	enum conf_type type;
	const char *dflt;  /* as written in YAML; NULL: none */
	int64_t min, max;  /* of numbers, in the base unit; 0,0: no limits */
	const char *words; /* accepted words, separated by spaces, or NULL */
	enum conf_class class;
	const char *env;  /* without PATRONI_; "-": generic rule of spec 5 */
	unsigned helpers; /* FOR() bits: which process needs it */
	enum conf_check check;
	unsigned flags;
	const char *help; /* one line */
};

/* All keys, in the order of --validate-config; ends with path NULL. */
extern const struct conf_key conf_keys[];
/* The row for a dotted path ("postgresql.authentication.superuser"); an exact
 * row is preferred to one with `*`.  NULL when there is none. */
const struct conf_key *conf_key_find(const char *path);
/* The known sibling nearest to an unknown key's last word, or NULL when none
 * is near enough to be meant. */
const char *conf_key_nearest(const char *path);
/* "integer from 0 to 4096", "one of none optional required", … */
void conf_key_accepted(const struct conf_key *, char *buf, size_t size);

/* ---- YAML ---- */

#define CONF_MAX_FILE TREE_MAX_BYTES
#define CONF_FILE_SHIFT 21
#define CONF_LINE(n) ((n) & ((1u << CONF_FILE_SHIFT) - 1))
#define CONF_FILE(n) ((n) >> CONF_FILE_SHIFT)
#define CONF_MAX_FILES 1000

/*
 * Parse one YAML 1.1 document (spec/config.md 3.1).  `file` is the number put
 * into the nodes.  An empty document gives a null node.  NULL on any error:
 * then err is "line N: what" (or "what").  Bounded in depth, nodes and bytes,
 * aliases included.
 */
struct tree *conf_yaml_parse(
    const char *text, size_t len, uint32_t file, char *err, size_t errsize);
/* What a plain scalar of this text is: the resolver of spec 3.1 alone. */
struct tree *conf_yaml_scalar(const char *text);
/* Block style, keys sorted when asked for, at `indent` columns.  Text is
 * quoted where it would be read back as something else. */
void conf_yaml_write(const struct tree *, int indent, bool sorted, FILE *);
/* A scalar or an empty collection as it stands behind "key: ". */
void conf_yaml_write_scalar(const struct tree *, FILE *);

/* ---- loading ---- */

struct conf_env; /* what PATRONI_* said at process start */

/* Read every PATRONI_* variable and remove it from the environment (the
 * strings are overwritten).  NULL when memory is short.  Bad values are noted
 * and ignored.  spec/config.md 5 */
struct conf_env *conf_env_take(struct conf_notes *);
/* The overlay map and the document of PATRONI_CONFIGURATION (or NULL). */
const struct tree *conf_env_tree(const struct conf_env *);
const struct tree *conf_env_document(const struct conf_env *);
void conf_env_free(struct conf_env *); /* wipes */

struct conf {
	struct tree *local;	/* file and environment merged: what is compared
				 * at a reload and printed by -p */
	struct tree *effective; /* local part of spec 2.4, known values in
				 * their own types, legacy forms translated */
	bool from_file;	      /* false: environment only, nothing to re-read */
	char path[PATH_SIZE]; /* as given; "" without one */
	char dir[PATH_SIZE];  /* absolute directory of the configuration; "" */
	char **files; /* by CONF_FILE() number; [0] is the environment */
	uint32_t nfiles;
};

#define CONF_LOAD_CTL 1u /* patronictl: no check for what only daemons need */
#define CONF_LOAD_VALIDATE 2u /* --validate-config: local only, unchecked */

/*
 * Load (path may be NULL) with the environment taken earlier (may be NULL).
 * NULL when it cannot be used; notes then holds at least one CONF_ERROR.
 */
struct conf *conf_load(const char *path, const struct conf_env *,
    unsigned flags, struct conf_notes *);
/*
 * The same for a reload (NULL without an error: the configuration came from
 * the environment alone, nothing is read again): keys that are read at start
 * only keep the value they have in `old` (noted), and *changed tells whether
 * the local part differs (spec 3.5).  `old` is left alone whatever happens.
 */
struct conf *conf_reload(const struct conf *old, const struct conf_env *,
    bool *changed, struct conf_notes *);
void conf_free(struct conf *); /* wipes; NULL allowed */
/* "file line N" of a node; "environment" when it came from there. */
const char *conf_where(
    const struct conf *, const struct tree *, char *buf, size_t size);

/* First store section in the order of spec 1.3 step 5, or NULL. */
const char *conf_store(const struct conf *);
/*
 * What that helper needs and nothing else; caller frees (tree_free_wiped) .
 * Every helper: name, scope, namespace (the keeper: name), `store` (name of
 * the store section in use).  dcs: that section, citus, and `ctl` with what
 * it needs to call peers (authentication, certfile, keyfile,
 * keyfile_password, cacert; fallbacks of spec 4.8 resolved).  rest: restapi,
 * tags, citus.  postgres: postgresql, bootstrap, tags, watchdog, citus, log,
 * restapi.{listen,connect_address,certfile}.  watchdog: watchdog and `ttl`
 * (of bootstrap.dcs or 30; the controller sends the real one).
 */
struct tree *conf_for(const struct conf *, enum proc);
/* Settings of that process for log_configure() and MSG_LOG_SETTINGS. */
void conf_log_settings(const struct conf *, enum proc, struct log_settings *);

/* Accounts when started as root (design 2).  Text lives as long as conf.
 * database_user: NULL when the option is not set (then the owner of the
 * data directory, else postgres). */
const char *conf_user(const struct conf *);
const char *conf_database_user(const struct conf *);

/*
 * Where the control socket may be, best first: `control_socket` alone when
 * set, else /run/patroni/<scope>-<name>.sock, then
 * <parent of data_dir>/.patroni-<name>.sock.  The daemon takes the first in a
 * directory that it can write (root creates /run/patroni); patronictl the
 * first that exists.  Candidates too long for a Unix socket are left out.
 */
#define CONF_SOCKET_CANDIDATES 2
uint32_t conf_control_sockets(
    const struct conf *, char out[CONF_SOCKET_CANDIDATES][PATH_SIZE]);

/* ---- modes of the command line ---- */

struct conf_validate_options {
	const char *path; /* may be NULL */
	bool ignore_listen_port;
	bool print;
};

/* --validate-config (spec 15): problems to err, -p output to out; returns the
 * exit code. */
int conf_validate_main(const struct conf_validate_options *,
    const struct conf_env *, FILE *out, FILE *err);

struct conf_generate_options {
	const char *path; /* output file; NULL: stdout */
	bool sample;	  /* --generate-sample-config */
	const char *dsn;  /* --dsn or NULL */
};

/* --generate-config, --generate-sample-config (spec 16); the exit code. */
int conf_generate_main(const struct conf_generate_options *,
    const struct conf_env *, FILE *out, FILE *err);

#endif
