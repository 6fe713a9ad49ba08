/*
 * log.h: log lines of every process (spec/config.md 14).
 *
 * A line is written with one write(2) to fd 2 after a zero-time poll, so a
 * stuck reader of the log can delay no process; lines that do not fit are
 * counted and reported with the next line that does.
 */
#ifndef IPC_LOG_H
#define IPC_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LVL_DEBUG = 10,
	LOG_LVL_INFO = 20,
	LOG_LVL_WARNING = 30,
	LOG_LVL_ERROR = 40,
	LOG_LVL_CRITICAL = 50
};

struct log_settings {
	int32_t level;	     /* enum log_level; below it nothing is written */
	int32_t json;	     /* 1: one JSON object a line */
	char format[256];    /* upstream `log.format`, "" = default */
	char dateformat[64]; /* strftime, "" = default with ,milliseconds */
	/* json: "name=shown\n" of each field, "" = default; and what is added
	 * to every line, ready: "\"a\":1" */
	char fields[1024];
	char statics[1024];
};

/* Name of the process as it appears in JSON lines and debug output. */
void log_init(const char *process);
void log_configure(const struct log_settings *);
bool log_enabled(int level);
/* Rule id, or NULL: structured part of the line (design 13). */
void log_rule(int level, const char *rule, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void log_vline(int level, const char *rule, const char *fmt, va_list)
    __attribute__((format(printf, 3, 0)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_critical(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* CRITICAL, then exit(1).  Only for start-up and broken invariants. */
void fatal(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));

#endif
