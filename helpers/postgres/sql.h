/*
 * sql.h: one libpq connection that never blocks (design 7, postgres.md 10).
 *
 * Opened at the first query, kept, opened again when found lost.  Queries
 * wait in a bounded queue; each has a deadline that counts from the call, so
 * it covers connecting too.  When it passes the connection is dropped: that
 * is the only cancellation that cannot block (the server side is bounded by
 * its own statement_timeout).
 */
#ifndef HELPERS_POSTGRES_SQL_H
#define HELPERS_POSTGRES_SQL_H

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#define SQL_QUEUE 16

struct sql;

enum sql_outcome {
	SQL_OK = 0,
	SQL_ERROR = 1, /* the server refused the statement; connection kept */
	SQL_LOST = 2   /* cannot connect, broken, or deadline passed */
};

struct sql_answer {
	enum sql_outcome outcome;
	const PGresult *res; /* SQL_OK only; valid in the callback */
	/* Of a statement that streams (START_REPLICATION), instead of res: the
	 * first message that carries WAL; the connection is dropped after it.
	 */
	const char *wal;
	size_t nwal;
	char sqlstate[8];    /* SQL_ERROR */
	const char *message; /* "" when OK; no trailing newline */
	int server_version;  /* 150004; 0 not connected */
};

/* Runs exactly once per query, never from inside sql_query(). */
typedef void (*sql_cb)(const struct sql_answer *, void *arg);

/* name is for the log ("heartbeat"); NULL: nothing is logged. */
struct sql *sql_new(struct event_base *, const char *name);
/* Pending callbacks do not run. NULL allowed. */
void sql_free(struct sql *);
/* Keywords and values as for PQconnectStartParams, copied; false when memory
 * is short.  An open connection stays as it is until sql_close(). */
bool sql_target(
    struct sql *, const char *const *keys, const char *const *values);
/* Simple query when nparams is 0 (works on replication connections), else
 * text parameters.  0, or -1 when the queue is full or memory short. */
int sql_query(struct sql *, const char *text, int nparams,
    const char *const *params, int64_t timeout_ns, sql_cb, void *arg);
/* Drop the connection; pending queries end as SQL_LOST. */
void sql_close(struct sql *);
/* Drop the connection and forget the pending queries. */
void sql_forget(struct sql *);
bool sql_connected(const struct sql *);
int sql_server_version(const struct sql *); /* of the last connection, or 0 */
/* Column readers: "" / 0 / false for NULL. */
const char *sql_text(const PGresult *, int row, int col);
int64_t sql_int(const PGresult *, int row, int col);
uint64_t sql_lsn(const PGresult *, int row, int col); /* decimal bytes */
bool sql_bool(const PGresult *, int row, int col);
/* 'text' as a literal; "" when it does not fit. Safe for any server setting
 * of standard_conforming_strings. */
bool sql_quote(const char *text, char *buf, size_t size);
bool sql_quote_name(const char *text, char *buf, size_t size);

#endif
