/*
 * values.h: text to booleans, numbers with units and addresses, as the
 * configuration and PostgreSQL's parameters use them (spec/config.md 3.2, 3.3,
 * 13.1).  libc only; no allocation.
 */
#ifndef IPC_VALUES_H
#define IPC_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest base unit text ("16384kB") that is understood. */
#define VALUE_UNIT_SIZE 16

/* on true yes 1 -> 1, off false no 0 -> 0 (any case), anything else -> -1. */
int value_bool(const char *);

/*
 * Integer or real with an optional unit, in the base unit given (NULL or "":
 * none, a unit in the text is then wrong).  Base units are B kB MB, or ms s
 * min, optionally with a multiplier ("8kB").  False when the text is not such
 * a value or is out of range; *out is then untouched.
 */
bool value_int(const char *, const char *base_unit, int64_t *out);
bool value_real(const char *, const char *base_unit, double *out);

/* Human form of a pg_settings value ("131072" in 8kB -> "1GB"): the text as it
 * is when it does not parse or is 0.  Returns buf. */
const char *value_human(
    const char *text, bool real, const char *base_unit, char *buf, size_t size);

/*
 * host[:port] (spec 13.1).  Splits at the last colon; without one the port is
 * dflt_port (0: then a missing port is an error).  A host part that still
 * holds a colon is a comma list whose entries lose blanks and brackets.
 * False when the port is not 1..65535, or the host does not fit.
 */
bool value_host_port(
    const char *, int dflt_port, char *host, size_t size, int *port);

/*
 * The leading numbers of "4.1.4", "15.3 (Debian)", "3.5": up to three, joined
 * by dots, none above 9999; what follows is passed over.  How many; the rest
 * of v[] is 0.
 */
int version_numbers(const char *, unsigned v[3]);

int hex_digit(char); /* its value, -1 when it is none */
/*
 * Percent-decode n bytes into out (room for n + 1), NUL-terminated.  False
 * when an escape is malformed or stands for NUL.
 */
bool percent_decode(const char *, size_t n, char *out);

#endif
