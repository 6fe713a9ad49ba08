/*
 * control.h: facts from PGDATA without SQL (spec/postgres.md 7): output of
 * pg_controldata, the control file's two fixed fields, WAL dumps, LSN text.
 */
#ifndef HELPERS_POSTGRES_CONTROL_H
#define HELPERS_POSTGRES_CONTROL_H

#include "../ha/ha.h"

/* Output of pg_controldata as a map key -> text ("Current " removed from the
 * keys, 7.1).  Never NULL; empty when nothing was understood. */
struct tree *control_parse(const char *output);
/* The fields that the core asks for.  prev_lsn = checkpoint_lsn and
 * has_history_file = false: for the caller.  ok is false when the state or
 * the checkpoint is missing. */
void control_fill(const struct tree *controldata, struct ha_control *out);
enum ha_control_state control_state_parse(const char *text);
/* pg_rewind possible as far as pg_controldata tells (checksums or
 * wal_log_hints). */
bool control_rewind_possible(const struct tree *controldata);
/* NULL when absent. */
const char *control_value(const struct tree *controldata, const char *key);

/*
 * Read `state` and system identifier directly from global/pg_control (both
 * at fixed offsets in every version): cheap enough to poll during a
 * promotion or a stop.  False when unreadable or implausible.  The file is
 * written in place by PostgreSQL, one sector, so a torn read cannot happen
 * within these fields.
 */
bool control_read(
    const char *data_dir, enum ha_control_state *state, uint64_t *sysid);

/* "H/L" -> bytes; false when malformed.  Output: "%X/%X" and, for comparing
 * with the dump tools, "%X/%08X". */
bool lsn_parse(const char *text, uint64_t *out);
void lsn_format(uint64_t lsn, char out[32]);
void lsn_format_padded(uint64_t lsn, char out[32]);

/* One line of a WAL dump (7.2). */
struct wal_record {
	char rmgr[32];
	uint64_t lsn, prev;
	char desc[256]; /* cut when longer */
};
bool wal_record_parse(const char *line, struct wal_record *out);
/* First record line in the output. */
bool wal_dump_first(const char *output, struct wal_record *out);
/* 7.3: is that the shutdown checkpoint at lsn? *prev: where to look next. */
bool wal_is_shutdown_checkpoint(
    const char *output, uint64_t lsn, uint64_t *prev);
/* 7.3: the record is the WAL switch. */
bool wal_is_switch(const char *output, uint32_t version);
/* 16.4: end of the checkpoint record from a dump of two; 0 = not parsed. */
uint64_t wal_checkpoint_end(const char *out, const char *err, uint64_t lsn);

#endif
