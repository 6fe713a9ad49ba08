/*
 * job.h: long actions of the controller (ha.md 21, postgres.md 19): one at a
 * time, each a chain of operations; each operation is a step function that is
 * called again whenever what it waits for has happened.
 */
#ifndef HELPERS_POSTGRES_JOB_H
#define HELPERS_POSTGRES_JOB_H

#include "controller.h"
#include "control.h"

typedef void (*op_done)(struct controller *, enum ha_job_result);

struct op_start {
	enum pg_role role;
	struct tree *recovery; /* owned; NULL: no recovery files */
	bool keep_recovery;    /* leave recovery files as they are */
	int64_t timeout_ns;    /* 0 = none given by the caller */
	enum ha_callback callback;
	int phase;
	int64_t began;
	bool port_open;
	struct tree *controldata;
	op_done done;
};

struct op_stop {
	enum ha_stop_mode mode;
	bool checkpoint;
	bool callbacks;
	bool safepoint, shutdown_lsn;
	int64_t timeout_ns; /* 0 = none */
	int phase;
	int64_t signalled; /* when the last signal went out */
	bool safepoint_done, lsn_done, did_signal;
	enum ha_job_result result;
	op_done done;
};

struct job {
	struct job *next;
	uint64_t id; /* of the ask; 0 = the controller's own */
	struct ha_job spec;
	struct tree *doc;
	bool cancelled;
	int64_t grace;
	/* what the running operation waits for */
	void (*step)(struct controller *);
	struct event *timer;
	struct child *child;
	struct child_end end; /* of the last child; texts are copies */
	char *out, *err;
	struct sql *sql;
	enum sql_outcome sql_outcome;
	char sql_text[TEXT_SIZE];
	bool sql_true; /* first column of the first row is `t` */
	/* operations */
	struct op_start start;
	struct op_stop stop;
	int phase; /* of the job itself */
	int attempt;
	uint32_t next_method;
	struct tree *methods; /* replica methods still to be tried */
	struct tree *list;    /* job's own list (archive, users …) */
	uint32_t at;
	bool keep_data;
	op_done torso_done;
	char missing[25]; /* WAL file that pg_rewind asked for last */
	bool (*err_line)(const char *, void *); /* for the next program */
	bool torso; /* pg_rewind has left the directory half-way */
	uint64_t lsn;
	struct ha_control control;
	struct tree *controldata;
	char text[PATH_SIZE];
	char pgpass[PATH_SIZE + 16];
};

/* ---- job.c: the slot ---- */

/* Take an FX_JOB.  A stop pre-empts what runs; others wait their turn. */
void job_submit(struct controller *, uint64_t id, const struct ha_job *);
void job_cancel(struct controller *, uint64_t id, int64_t grace);
/* Kill everything that belongs to jobs (exit of the process). */
void job_abandon(struct controller *);
/* End of the running job. */
void job_finish(struct controller *, enum ha_job_result);
void job_fail(struct controller *, const char *error);
void job_progress(struct controller *, enum ha_progress);
void job_progress_lsn(struct controller *, uint64_t lsn, uint64_t prev);
/* Called by the controller when the postmaster is gone. */
void job_poke(struct controller *);

/* Waiting: the step runs again after ms (pre-empts a running wait). */
void job_wait(struct controller *, int ms);
/* Run a program (or a worker); the step runs again at its end, job->end is
 * set.  False when it could not be started: then job->end says so. */
bool job_program(struct controller *, const char *const *argv,
    const char *const *extra_env, bool capture);
bool job_program_list(struct controller *, const struct tree *argv,
    const char *const *extra_env, bool capture);
bool job_worker(struct controller *, int (*worker)(void *), void *arg);
/* Run a query on the job's own connection; the step runs again.  The
 * connection must have been opened with job_connect(). */
bool job_connect(struct controller *, struct tree *conninfo);
bool job_query(struct controller *, const char *text, int64_t timeout_ns);
/* A child is still running. */
bool job_busy(const struct job *);

/* A line of pg_basebackup --progress; false: it is something else. */
bool basebackup_progress(const char *line, struct progress *);

/* ---- operations ---- */

void start_begin(struct controller *, op_done); /* job->start is filled in */
void stop_begin(struct controller *, op_done);	/* job->stop is filled in */
void remove_begin(struct controller *, op_done);
/* What a pg_rewind that was cut off has left: removed, with a warning. */
void torso_begin(struct controller *, op_done);
void archive_begin(struct controller *, op_done); /* 16.6 */
/* An archive_command or restore_command (or a word of one) with %p, %f, %r
 * and %% replaced; false when it does not fit. */
bool wal_command(const char *command, const char *wal_dir, const char *file,
    char *out, size_t size);
/* The WAL file that pg_rewind says it could not open below wal_dir
 * ("pg_wal" or "pg_xlog"); false when its output names none. */
bool wal_missing(const char *output, const char *wal_dir, char name[25]);
/* Run restore_command for a file (16.7); the step runs at its end. */
bool wal_fetch(struct controller *, const char *command, const char *file);
void crash_begin(struct controller *, op_done); /* 8 */

/* ---- jobs; each is called once to begin ---- */

void job_bootstrap(struct controller *);
void job_post_bootstrap(struct controller *);
void job_clone(struct controller *);
void job_start_primary(struct controller *);
void job_follow(struct controller *);
void job_stop(struct controller *);
void job_promote(struct controller *);
void job_restart(struct controller *);
void job_rewind(struct controller *);
void job_crash(struct controller *);
void job_remove_data(struct controller *);
void job_move_data(struct controller *);
void job_archive_checkpoint(struct controller *);
void job_copy_slots(struct controller *);

/* ---- data.c: file work for workers and jobs ---- */

/* Remove or rename a data directory with its links; 0 or an errno.  Refuses
 * anything that does not look like PostgreSQL's. */
int data_remove(const char *data_dir);
int data_move(const char *data_dir);
/* Remove what lies in pg_replslot (16.5 step 4); 0 or an errno. */
int data_clean_slots(const char *data_dir);
/* Empty in the sense of postgres.md 9.1: 1 yes, 0 no, -1 errno. */
int data_empty(const char *data_dir);

/* ---- data_mark.c ---- */

/* A new directory is being made (and was, when this process starts and the
 * mark is there: what lies in it is a torso).  That of a bootstrap stays
 * until the store knows the new cluster. */
enum data_mark { MARK_NONE = 0, MARK_CLONE, MARK_BOOTSTRAP };
void data_mark(const char *data_dir, enum data_mark);
enum data_mark data_marked(const char *data_dir);
/* System identifier from pg_control, read without a program. */
bool data_sysid(const char *data_dir, char *out, size_t size);
/* pg_rewind is about to change the directory.  Set durably (it blocks: for
 * workers; 0 or an errno), and only taken back when pg_rewind has changed
 * nothing or has succeeded.  A marked directory can neither be started nor be
 * rewound again.  A mark of another directory is removed when found. */
int data_rewind_mark(const char *data_dir);
void data_rewind_unmark(const char *data_dir);
bool data_rewind_marked(const char *data_dir);

#endif
