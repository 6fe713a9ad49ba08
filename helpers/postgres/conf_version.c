/*
 * conf_version.c: PostgreSQL version numbers and what each version can do
 * (spec/postgres.md 1.1, 22.1).  The one place that compares versions for
 * features; others ask pgfeatures().
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/log.h"
#include "conf_util.h"

/* Up to three numbers separated by dots; how many, 0 = malformed. */
static int
numbers(const char *s, uint32_t v[3])
{
	int n = 0;

	for (;;) {
		uint32_t x = 0;
		int digits = 0;

		for (; isdigit((unsigned char)*s); s++, digits++)
			x = x * 10 + (uint32_t)(*s - '0');
		if (digits == 0 || digits > 4 || n == 3)
			return 0;
		v[n++] = x;
		if (*s == '\0')
			return n;
		if (*s++ != '.')
			return 0;
	}
}

uint32_t
pgversion_parse(const char *text, bool major)
{
	uint32_t v[3] = { 0, 0, 0 };
	int n = numbers(text, v);

	if (n == 0 || v[0] > 200 || v[1] > 99 || v[2] > 99)
		return 0;
	if (major) {
		if (n == 1 && v[0] >= 10)
			return v[0] * 10000;
		if (n == 2 && v[0] < 10)
			return v[0] * 10000 + v[1] * 100;
		return 0;
	}
	if (n == 2 && v[0] >= 10)
		return v[0] * 10000 + v[1];
	if (n == 3 && v[0] < 10)
		return v[0] * 10000 + v[1] * 100 + v[2];
	return 0;
}

uint32_t
pgversion_parse_output(const char *text)
{
	char word[64];
	size_t n = 0, dots = 0;

	/* "postgres (PostgreSQL) 15.4 (Debian ...)" */
	for (int skip = 0; skip < 2; skip++) {
		text += strcspn(text, " ");
		text += strspn(text, " ");
	}
	while (n < sizeof(word) - 3 &&
	    (isdigit((unsigned char)text[n]) ||
		(text[n] == '.' && isdigit((unsigned char)text[n + 1])))) {
		dots += text[n] == '.';
		word[n] = text[n];
		n++;
	}
	word[n] = '\0';
	if (dots == 0 || (dots == 1 && strtol(word, NULL, 10) < 10))
		memcpy(word + n, ".0", 3);
	return pgversion_parse(word, false);
}

uint32_t
pgversion_major(uint32_t v)
{
	return v >= 100000 ? v / 10000 * 10000 : v / 100 * 100;
}

uint32_t
pgversion_read(const char *data_dir)
{
	char path[PATH_SIZE], *s, *end;
	struct pgerr err;
	uint32_t v;

	if (!path_join(path, data_dir, "PG_VERSION"))
		return 0;
	s = pgfile_read(path, 64, NULL, &err);
	if (s == NULL) {
		if (errno != ENOENT && errno != ENOTDIR)
			log_error("Failed to read PG_VERSION from %s: %s",
			    data_dir, err.text);
		return 0;
	}
	for (end = s + strlen(s); end > s && isspace((unsigned char)end[-1]);)
		*--end = '\0';
	v = pgversion_parse(s, true);
	if (v == 0)
		log_error("Failed to read PG_VERSION from %s", data_dir);
	free(s);
	return v;
}

struct pgfeatures
pgfeatures(uint32_t v)
{
	bool v10 = v >= 100000;

	return (struct pgfeatures){
		.slots = v >= 90400,
		.wal_log_hints = v >= 90400,
		.to_char_zone = v >= 90400,
		.cluster_name = v >= 90500,
		.pending_restart_column = v >= 90500,
		.recovery_target_action = v >= 90500,
		.wal_receiver_view = v >= 90600,
		.control_functions = v >= 90600,
		.flush_function = v >= 90600,
		.multiple_sync = v >= 90600,
		.wal_names = v10,
		.temporary_slots = v10,
		.quorum_sync = v10,
		.passfile = v10,
		.target_session_attrs = v10,
		.slot_advance = v >= 110000,
		.rewind_user = v >= 110000,
		.group_access = v >= 110000,
		.recovery_guc = v >= 120000,
		.gssencmode = v >= 120000,
		.log_transactions = v >= 120000,
		.conninfo_reload = v >= 130000,
		.wal_keep_size = v >= 130000,
		.written_lsn = v >= 130000,
		.log_samples = v >= 130000,
		.slot_wal_status = v >= 130000,
		.rewind_restore_wal = v >= 130000,
		.channel_binding = v >= 130000,
		.restore_command_reload = v >= 140000,
		.replay_pauses = v >= 140000,
		.sslcrldir = v >= 140000,
		.backup_label_valid = v >= 150000,
		.server_compression = v >= 150000,
		.rewind_config_file = v >= 150000,
		.promote_trigger_file = v >= 120000 && v < 160000,
		.failover_slots = v >= 170000,
		.sslnegotiation = v >= 170000,
		.conninfo_dbname = v >= 170000,
		.io_workers = v >= 180000,
		.wal_dir = v10 ? "pg_wal" : "pg_xlog",
		.waldump = v10 ? "pg_waldump" : "pg_xlogdump",
		.wal_switch = v >= 90500 ? "SWITCH" : "xlog switch",
		.fn_current_lsn =
		    v10 ? "pg_current_wal_lsn" : "pg_current_xlog_location",
		.fn_flush_lsn = v10 ? "pg_current_wal_flush_lsn" :
		    v >= 90600	    ? "pg_current_xlog_flush_location" :
				      "pg_current_xlog_location",
		.fn_walfile_name = v10 ? "pg_walfile_name" : "pg_xlogfile_name",
		.fn_replay_lsn = v10 ? "pg_last_wal_replay_lsn" :
				       "pg_last_xlog_replay_location",
		.fn_receive_lsn = v10 ? "pg_last_wal_receive_lsn" :
					"pg_last_xlog_receive_location",
		.fn_replay_paused = v10 ? "pg_is_wal_replay_paused" :
					  "pg_is_xlog_replay_paused",
		.fn_replay_resume =
		    v10 ? "pg_wal_replay_resume" : "pg_xlog_replay_resume",
		.fn_lsn_diff =
		    v10 ? "pg_wal_lsn_diff" : "pg_xlog_location_diff",
	};
}
