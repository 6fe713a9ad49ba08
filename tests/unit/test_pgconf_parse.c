/*
 * test_pgconf_parse.c: versions, parameter table, connection strings,
 * control data, WAL dumps, timeline histories, program options.
 */
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/json.h"
#include "helpers/postgres/control.h"
#include "helpers/postgres/guc.h"
#include "helpers/postgres/guc_table.h"
#include "helpers/postgres/history.h"

static struct tree *
json(const char *text)
{
	char why[128];
	struct tree *t = tree_from_json(text, strlen(text), why, sizeof(why));

	if (t == NULL)
		fail_msg("%s: %s", text, why);
	return t;
}

static void
test_versions(void **state)
{
	(void)state;
	assert_int_equal(pgversion_parse("9.6", true), 90600);
	assert_int_equal(pgversion_parse("15", true), 150000);
	assert_int_equal(pgversion_parse("15.1", true), 0);
	assert_int_equal(pgversion_parse("9.6.3", false), 90603);
	assert_int_equal(pgversion_parse("10.1", false), 100001);
	assert_int_equal(pgversion_parse("9.6", false), 0);
	assert_int_equal(pgversion_parse("", true), 0);
	assert_int_equal(pgversion_parse("99999999999", true), 0);
	assert_int_equal(pgversion_parse("15.", false), 0);
	assert_int_equal(pgversion_parse_output(
			     "postgres (PostgreSQL) 15.4 (Debian 15.4-1)\n"),
	    150004);
	assert_int_equal(
	    pgversion_parse_output("postgres (PostgreSQL) 16beta1"), 160000);
	assert_int_equal(
	    pgversion_parse_output("postgres (PostgreSQL) 9.5.3"), 90503);
	assert_int_equal(pgversion_parse_output("nothing"), 0);
	assert_int_equal(pgversion_major(90603), 90600);
	assert_int_equal(pgversion_major(150004), 150000);
}

/* First version in which each thing exists: 0 = 9.3, in the order of the
 * list below. */
static void
test_features(void **state)
{
	static const uint32_t versions[] = { 90300, 90400, 90500, 90600, 100000,
		110000, 120000, 130000, 140000, 150000, 160000, 170000,
		180000 };

	(void)state;
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		uint32_t v = versions[i];
		struct pgfeatures p = pgfeatures(v);

#define FROM(field, first) assert_int_equal(p.field, v >= (first))
		FROM(slots, 90400);
		FROM(wal_log_hints, 90400);
		FROM(cluster_name, 90500);
		FROM(pending_restart_column, 90500);
		FROM(recovery_target_action, 90500);
		FROM(wal_receiver_view, 90600);
		FROM(control_functions, 90600);
		FROM(flush_function, 90600);
		FROM(multiple_sync, 90600);
		FROM(wal_names, 100000);
		FROM(quorum_sync, 100000);
		FROM(passfile, 100000);
		FROM(target_session_attrs, 100000);
		FROM(slot_advance, 110000);
		FROM(rewind_user, 110000);
		FROM(recovery_guc, 120000);
		FROM(gssencmode, 120000);
		FROM(conninfo_reload, 130000);
		FROM(wal_keep_size, 130000);
		FROM(written_lsn, 130000);
		FROM(rewind_restore_wal, 130000);
		FROM(channel_binding, 130000);
		FROM(restore_command_reload, 140000);
		FROM(replay_pauses, 140000);
		FROM(backup_label_valid, 150000);
		FROM(rewind_config_file, 150000);
		FROM(failover_slots, 170000);
		FROM(sslnegotiation, 170000);
		FROM(io_workers, 180000);
		assert_int_equal(
		    p.promote_trigger_file, v >= 120000 && v < 160000);
		assert_string_equal(
		    p.wal_dir, v < 100000 ? "pg_xlog" : "pg_wal");
		assert_string_equal(
		    p.waldump, v < 100000 ? "pg_xlogdump" : "pg_waldump");
	}
	assert_string_equal(
	    pgfeatures(90500).fn_flush_lsn, "pg_current_xlog_location");
	assert_string_equal(
	    pgfeatures(90600).fn_flush_lsn, "pg_current_xlog_flush_location");
	assert_string_equal(
	    pgfeatures(150000).fn_flush_lsn, "pg_current_wal_flush_lsn");
}

/* ---- parameters ---- */

static void
test_guc_table_sorted(void **state)
{
	(void)state;
	for (size_t i = 1; i < guc_table_size; i++) {
		const struct guc *a = &guc_table[i - 1], *b = &guc_table[i];
		int c = strcasecmp(a->name, b->name);

		if (c > 0 || (c == 0 && (a->till == 0 || a->till > b->from)))
			fail_msg("%s is out of order", b->name);
		if (b->type == GUC_ENUM || b->type == GUC_ENUM_BOOL)
			assert_non_null(b->words);
		if (b->type == GUC_INTEGER || b->type == GUC_REAL)
			assert_true(b->min <= b->max);
	}
}

static const char *
judged(const char *name, const char *value, uint32_t version)
{
	static char out[256];
	struct tree *t = tree_text(value);
	bool ok = guc_judge(name, t, version, NULL, out, sizeof(out));

	tree_free(t);
	return ok ? out : "-";
}

static void
test_guc_judge(void **state)
{
	static const struct {
		const char *name, *value;
		uint32_t version;
		const char *want;
	} v[] = {
		{ "work_mem", "4MB", 150004, "4MB" },
		{ "work_mem", "1kB", 150004, "64" },
		{ "Work_Mem", "4 MB", 150004, "4 MB" },
		{ "work_mem", "4mb", 150004, "-" },
		{ "max_connections", "300000", 150004, "262143" },
		{ "max_connections", "300000", 90500, "300000" },
		{ "shared_buffers", "1GB", 150004, "1GB" },
		{ "checkpoint_timeout", "2h", 90500, "3600" },
		{ "checkpoint_timeout", "2h", 90600, "2h" },
		{ "fsync", "True", 150004, "True" },
		{ "fsync", "t", 150004, "-" },
		{ "wal_level", "Replica", 150004, "Replica" },
		{ "wal_level", "hot_standby", 150004, "-" },
		{ "wal_level", "hot_standby", 90500, "hot_standby" },
		{ "wal_compression", "lz4", 140000, "-" },
		{ "wal_compression", "lz4", 150000, "lz4" },
		{ "wal_compression", "on", 150000, "on" },
		{ "synchronous_commit", "remote_apply", 90500, "-" },
		{ "synchronous_commit", "remote_apply", 90600, "remote_apply" },
		{ "checkpoint_segments", "3", 90400, "3" },
		{ "checkpoint_segments", "3", 90500, "-" },
		{ "jit", "off", 100000, "-" },
		{ "jit", "off", 110000, "off" },
		{ "vacuum_cost_delay", "0.5", 120000, "0.5" },
		{ "seq_page_cost", "-1", 150000, "0" },
		{ "ext.setting", "anything", 150000, "anything" },
		{ "nonsense", "1", 150000, "-" },
		{ "default_transaction_isolation", "read committed", 150000,
		    "read committed" },
		{ "ssl_max_protocol_version", "", 150000, "" },
		{ "restrict_nonsystem_relation_kind", "view", 150007, "-" },
		{ "restrict_nonsystem_relation_kind", "view", 150008, "view" },
		{ "io_method", "io_uring", 180000, "io_uring" },
		{ "io_method", "io_uring", 170000, "-" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++)
		if (strcmp(judged(v[i].name, v[i].value, v[i].version),
			v[i].want) != 0)
			fail_msg("%s=%s on %u: %s", v[i].name, v[i].value,
			    v[i].version,
			    judged(v[i].name, v[i].value, v[i].version));
}

static void
test_guc_known_to_server(void **state)
{
	struct tree *known =
	    guc_describe_parse("vendor_thing\tsighup\tx\n"
			       "junk without tab\n\tno name\nwork_mem\tuser\n");
	struct tree *t = tree_int(1);
	char out[16];

	(void)state;
	assert_int_equal(tree_count(known), 2);
	assert_true(
	    guc_judge("vendor_thing", t, 150000, known, out, sizeof(out)));
	assert_false(guc_judge("nonsense", t, 150000, known, out, sizeof(out)));
	/* newer than the table and nobody asked: the server will tell */
	assert_true(guc_judge("nonsense", t, 190000, NULL, out, sizeof(out)));
	tree_free(t);
	tree_free(known);
}

/* Comparison with pg_settings (config.md 10.5). */
static void
test_setting_differs(void **state)
{
	static const struct {
		const char *setting, *unit, *vartype, *value;
		bool differs;
	} v[] = {
		{ "on", NULL, "bool", "True", false },
		{ "off", NULL, "bool", "true", true },
		{ "16384", "8kB", "integer", "128MB", false },
		{ "16384", "8kB", "integer", "16384", false },
		{ "16384", "8kB", "integer", "129MB", true },
		{ "300", "s", "integer", "5min", false },
		{ "100", NULL, "integer", "100MB", true },
		{ "0.5", NULL, "real", "0.50", false },
		{ "2", "ms", "real", "0.002s", false },
		{ "replica", NULL, "enum", "REPLICA", false },
		{ "on", NULL, "enum", "True", true },
		{ "abc", NULL, "string", "abc", false },
		{ "abc", NULL, "string", "ABC", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		struct pgsetting row = { .name = "x",
			.setting = v[i].setting,
			.unit = v[i].unit,
			.vartype = v[i].vartype };
		struct tree *t = tree_text(v[i].value);

		if (pgsetting_differs(&row, t) != v[i].differs)
			fail_msg("%s against %s", v[i].setting, v[i].value);
		tree_free(t);
	}
}

/* ---- connection strings ---- */

static void
test_conninfo_format(void **state)
{
	struct tree *m = json(
	    "{\"sslnegotiation\":\"postgres\","
	    "\"host\":\"a b\",\"user\":\"o'n\\\\e\",\"password\":\"secret\","
	    "\"port\":\"5432\",\"dbname\":\"\",\"gssencmode\":\"prefer\","
	    "\"channel_binding\":\"prefer\",\"unknown\":\"x\"}");
	char *s = conninfo_format(m, 150000, NULL);

	(void)state;
	assert_string_equal(s,
	    "user=o\\'n\\\\e host=a\\ b port=5432 "
	    "gssencmode=prefer channel_binding=prefer");
	free(s);
	s = conninfo_format(m, 90600, NULL);
	assert_string_equal(s, "user=o\\'n\\\\e host=a\\ b port=5432");
	free(s);
	s = conninfo_format(m, 170000, "/p f");
	assert_string_equal(s,
	    "user=o\\'n\\\\e passfile=/p\\ f host=a\\ b "
	    "port=5432 gssencmode=prefer channel_binding=prefer "
	    "sslnegotiation=postgres");
	free(s);
	tree_free(m);
}

static void
same_tree(const char *text, const char *want)
{
	struct tree *t = conninfo_parse(text), *w;

	if (want == NULL) {
		if (t != NULL)
			fail_msg("'%s' was accepted", text);
		return;
	}
	w = json(want);
	if (t == NULL || !tree_equal(t, w))
		fail_msg("'%s' is not %s", text, want);
	tree_free(t);
	tree_free(w);
}

static void
test_conninfo_parse(void **state)
{
	(void)state;
	same_tree("", "{}");
	same_tree(" host = 'a b'  port=1 user=o\\'n ",
	    "{\"host\":\"a b\",\"port\":\"1\",\"user\":\"o'n\"}");
	same_tree("host='a\\'b\\\\c'", "{\"host\":\"a'b\\\\c\"}");
	same_tree("host=", "{\"host\":\"\"}");
	same_tree("requiressl=1", "{\"sslmode\":\"require\"}");
	same_tree("host='a", NULL);
	same_tree("host", NULL);
	same_tree("=x", NULL);
	same_tree("postgres://h/db", "{\"host\":\"h\",\"dbname\":\"db\"}");
	same_tree("postgresql://u%40:p%2f@h1:1,[::1]:2/d%20b?ssl=true&"
		  "application_name=x",
	    "{\"password\":\"p/\",\"user\":\"u@\","
	    "\"host\":\"h1,::1\",\"port\":\"1,2\",\"dbname\":\"d b\","
	    "\"sslmode\":\"require\",\"application_name\":\"x\"}");
	same_tree("postgres://a:5432,b:5432/",
	    "{\"host\":\"a,b\",\"port\":\"5432\"}");
	same_tree("postgres://%2Ftmp/x",
	    "{\"host\":\"/tmp\","
	    "\"dbname\":\"x\"}");
	same_tree("postgres://", "{}");
	same_tree("postgres://h?x", NULL);
	same_tree("postgres://[::1/x", NULL);
	same_tree("postgres://%zz", NULL);
	same_tree("postgres://%4", NULL);
	same_tree("postgres://a%00b", NULL);
}

/* What is formatted is what is parsed. */
static void
test_conninfo_round_trip(void **state)
{
	struct tree
	    *m = json("{\"user\":\"' \\\\ '\",\"host\":\"a=b\","
		      "\"port\":\"1\",\"application_name\":\"\\\\\\\\'x y\"}"),
	    *r;
	char *s = conninfo_format(m, 0, NULL);

	(void)state;
	r = conninfo_parse(s);
	assert_true(tree_equal(m, r));
	tree_free(m);
	tree_free(r);
	free(s);
}

static void
test_pgpass(void **state)
{
	struct tree *m = json("{\"host\":\"/tmp,b\",\"port\":\"1,2\","
			      "\"user\":\"u\",\"password\":\"p:\\\\\"}");
	char *s = pgpass_lines(m);

	(void)state;
	assert_string_equal(s,
	    "/tmp:1:*:u:p\\:\\\\\nb:2:*:u:p\\:\\\\\n"
	    "localhost:1:*:u:p\\:\\\\\n");
	free(s);
	tree_free(m);
	m = json("{\"password\":\"x\",\"host\":\"a,b\",\"port\":\"5\"}");
	s = pgpass_lines(m);
	assert_string_equal(s, "a:5:*:*:x\nb:5:*:*:x\n");
	free(s);
	tree_free(m);
	m = json("{\"password\":\"x\"}");
	s = pgpass_lines(m);
	assert_string_equal(s, "*:*:*:*:x\n");
	free(s);
	tree_free(m);
	m = json("{\"host\":\"x\"}");
	assert_null(pgpass_lines(m));
	tree_free(m);
}

/* ---- control data ---- */

static const char controldata[] =
    "WARNING something odd without the mark\n"
    "pg_control version number:            1300\n"
    "Database system identifier:           7711348039803089934\n"
    "Database cluster state:               in archive recovery\n"
    "pg_control last modified:             Mon Nov 23 12:48:48 2026\n"
    "Latest checkpoint location:           1/1511B00\n"
    "Latest checkpoint's REDO WAL file:    000000010000000000000001\n"
    "Latest checkpoint's TimeLineID:       3\n"
    "Minimum recovery ending location:     2/0\n"
    "Min recovery ending loc's timeline:   2\n"
    "Current wal_log_hints setting:        on\n"
    "max_connections setting:              100\n"
    "Data page checksum version:           0\n";

static void
test_controldata(void **state)
{
	struct tree *t = control_parse(controldata);
	struct ha_control c;

	(void)state;
	assert_string_equal(control_value(t, "wal_log_hints setting"), "on");
	assert_string_equal(control_value(t, "pg_control last modified"),
	    "Mon Nov 23 12:48:48 2026");
	assert_true(control_rewind_possible(t));
	control_fill(t, &c);
	assert_true(c.ok);
	assert_int_equal(c.state, CONTROL_IN_ARCHIVE_RECOVERY);
	assert_int_equal(c.timeline, 3);
	assert_true(c.checkpoint_lsn == 0x101511B00);
	assert_true(c.prev_lsn == c.checkpoint_lsn);
	assert_true(c.min_recovery_lsn == 0x200000000);
	assert_int_equal(c.min_recovery_timeline, 2);
	assert_string_equal(c.sysid, "7711348039803089934");
	tree_free(t);
	t = control_parse("pg_controldata: error: no such file\n");
	control_fill(t, &c);
	assert_false(c.ok);
	assert_false(control_rewind_possible(t));
	tree_free(t);
}

static void
test_control_file(void **state)
{
	char dir[] = "/tmp/test_control.XXXXXX", path[64];
	uint8_t buf[8192] = { 0 };
	enum ha_control_state s;
	uint64_t id = 7711348039803089934, got;
	uint32_t st = 6;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_false(control_read(dir, &s, &got));
	snprintf(path, sizeof(path), "%s/global", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/global/pg_control", dir);
	for (st = 0; st < 8; st++) {
		memcpy(buf, &id, 8);
		memcpy(buf + 16, &st, 4);
		f = fopen(path, "w");
		fwrite(buf, 1, sizeof(buf), f);
		fclose(f);
		assert_int_equal(control_read(dir, &s, &got), st < 7);
		if (st == 6) {
			assert_int_equal(s, CONTROL_IN_PRODUCTION);
			assert_true(got == id);
		}
	}
	f = fopen(path, "w");
	fwrite(buf, 1, 19, f);
	fclose(f);
	assert_false(control_read(dir, &s, &got));
	unlink(path);
	snprintf(path, sizeof(path), "%s/global", dir);
	rmdir(path);
	rmdir(dir);
}

static void
test_lsn(void **state)
{
	char s[32];
	uint64_t v;

	(void)state;
	assert_true(lsn_parse("1/1511B00", &v));
	assert_true(v == 0x101511B00);
	assert_true(lsn_parse("FFFFFFFF/ffffffff", &v));
	assert_true(v == UINT64_MAX);
	assert_false(lsn_parse("", &v));
	assert_false(lsn_parse("1", &v));
	assert_false(lsn_parse("1/", &v));
	assert_false(lsn_parse("/1", &v));
	assert_false(lsn_parse("1/123456789", &v));
	assert_false(lsn_parse("1/2 ", &v));
	assert_false(lsn_parse("-1/2", &v));
	lsn_format(0x101511B00, s);
	assert_string_equal(s, "1/1511B00");
	lsn_format_padded(0x101511B00, s);
	assert_string_equal(s, "1/01511B00");
}

static void
test_wal_dump(void **state)
{
	const char *checkpoint =
	    "rmgr: XLOG        len (rec/tot):    114/   "
	    "114, tx:          0, lsn: 0/04000028, prev 0/030000D8, desc: "
	    "CHECKPOINT_SHUTDOWN redo 0/4000028; tli 1; oldest running xid 0; "
	    "shutdown\n";
	const char *change =
	    "rmgr: XLOG        len (rec/tot):     24/    24, "
	    "tx:          0, lsn: 0/030000D8, prev 0/03000060, desc: SWITCH \n";
	uint64_t prev;

	(void)state;
	assert_true(wal_is_shutdown_checkpoint(checkpoint, 0x4000028, &prev));
	assert_true(prev == 0x30000D8);
	assert_false(wal_is_shutdown_checkpoint(checkpoint, 0x4000029, &prev));
	assert_false(wal_is_shutdown_checkpoint(change, 0x30000D8, &prev));
	assert_false(wal_is_shutdown_checkpoint("", 1, &prev));
	assert_true(wal_is_switch(change, 150000));
	assert_false(wal_is_switch(checkpoint, 150000));
	assert_true(wal_is_switch(
	    "rmgr: XLOG len (rec/tot): 0/ 24, tx: 0, "
	    "lsn: 0/01000028, prev 0/01000000, bkp: 0000, desc: xlog switch",
	    90400));
	assert_true(
	    wal_checkpoint_end(checkpoint,
		"pg_waldump: fatal: error "
		"in WAL record at 0/4000028: invalid record length at 0/40000A0: "
		"wanted 24, got 0\n",
		0x4000028) == 0x40000A0);
	assert_true(
	    wal_checkpoint_end(checkpoint,
		"pg_waldump: error: error "
		"in WAL record at 0/4000028: invalid record length at 0/40000A0\n",
		0x4000028) == 0x40000A0);
	assert_true(
	    wal_checkpoint_end(checkpoint, "something else", 0x4000028) == 0);
	assert_true(
	    wal_checkpoint_end("",
		"pg_waldump: error: error in WAL "
		"record at 0/4000028: invalid record length at 0/40000A0\n",
		0x4000028) == 0);
}

/* ---- histories ---- */

static void
test_history(void **state)
{
	const char *text =
	    "1\t0/3000148\tno recovery target specified\n"
	    "\n# comment\n2\t0/40\n2\t0/40001F8\tbefore 2026\tx\n"
	    "  2\t1/40001F8\tno recovery target specified\nbad\t0/1\tx\n"
	    "3\tzz\tx";
	struct history_line v[8];

	(void)state;
	assert_int_equal(history_parse(text, v, 8), 2);
	assert_int_equal(v[0].timeline, 1);
	assert_true(v[0].lsn == 0x3000148);
	assert_int_equal(v[1].timeline, 2);
	assert_true(v[1].lsn == 0x1040001F8);
	assert_string_equal(v[1].reason, "no recovery target specified");
	/* the newest are kept */
	assert_int_equal(history_parse(text, v, 1), 1);
	assert_int_equal(v[0].timeline, 2);
}

/* One branch of a timeline, or two that have its number alone in common. */
static void
test_history_agrees(void **state)
{
	static const struct history_line a[] = { { 1, 0x100, "x" },
		{ 2, 0x200, "" }, { 4, 0x400, "" } },
					 b[] = { { 1, 0x100, "y" },
						 { 2, 0x208, "" },
						 { 4, 0x400, "" } },
					 c[] = { { 2, 0x200, "" },
						 { 3, 0x400, "" } };
	static struct history_line full[MAX_HISTORY];
	uint32_t i;

	(void)state;
	assert_true(history_agrees(a, 3, a, 3, 5));
	assert_true(history_agrees(a, 2, a, 3, 3));
	assert_true(history_agrees(a, 1, b, 3, 2)); /* reasons, later lines */
	assert_false(history_agrees(a, 2, b, 2, 3));
	assert_false(history_agrees(a, 3, b, 3, 5));
	assert_false(history_agrees(a, 3, c, 2, 5)); /* 3 is not 4 */
	assert_false(history_agrees(a, 2, c, 1, 3)); /* 1 is missing */
	assert_false(history_agrees(c, 1, a, 2, 3));
	assert_false(history_agrees(a, 1, NULL, 0, 2));
	assert_true(history_agrees(NULL, 0, NULL, 0, 2));
	assert_true(history_agrees(NULL, 0, a, 1, 1));
	/* the oldest lines of a full one have been dropped */
	for (i = 0; i < MAX_HISTORY; i++) {
		full[i].timeline = i + 2;
		full[i].lsn = (i + 2) * 0x100;
	}
	assert_true(history_agrees(full, MAX_HISTORY, a, 2, 3));
	assert_false(history_agrees(full, MAX_HISTORY, b, 2, 3));
}

static void
test_history_document(void **state)
{
	char dir[] = "/tmp/test_history.XXXXXX", path[64], *s;
	struct pgerr err;
	struct tree *d;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	d = history_document(dir, 150000, 1, "n", &err);
	assert_int_equal(tree_count(d), 0);
	tree_free(d);
	assert_null(history_document(dir, 150000, 2, "n", &err));
	assert_non_null(strstr(err.text, "pg_wal/00000002.history"));
	snprintf(path, sizeof(path), "%s/pg_wal", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/pg_wal/00000003.history", dir);
	f = fopen(path, "w");
	fputs("1\t0/10\tx\n2\t0/20\ty\n", f);
	fclose(f);
	d = history_document(dir, 150000, 3, "node-1", &err);
	s = tree_to_json(d, JSON_FORM_COMPACT, NULL);
	assert_non_null(strstr(s, "[[1,16,\"x\"],[2,32,\"y\",\"20"));
	assert_non_null(strstr(s, "\",\"node-1\"]]"));
	assert_int_equal(tree_count(tree_child(d, 1)), 5);
	free(s);
	tree_free(d);
	unlink(path);
	snprintf(path, sizeof(path), "%s/pg_wal", dir);
	rmdir(path);
	rmdir(dir);
}

/* ---- options ---- */

static void
options(
    enum pgtool tool, const char *section, uint32_t version, const char *want)
{
	struct tree *s = json(section), *w, *got;
	struct pgerr err = { "" };

	got = pgoptions(tool, s, version, &err);
	if (want == NULL) {
		assert_null(got);
		assert_true(err.text[0] != '\0');
	} else {
		w = json(want);
		if (got == NULL || !tree_equal(got, w))
			fail_msg("%s", section);
		tree_free(w);
	}
	tree_free(got);
	tree_free(s);
}

static void
test_options(void **state)
{
	(void)state;
	options(PGTOOL_INITDB, "[\"data-checksums\",{\"encoding\":\"UTF8\"}]",
	    150000, "[\"--data-checksums\",\"--encoding=UTF8\"]");
	options(PGTOOL_INITDB, "{\"encoding\":\"'a b'\",\"x\":1,\"y\":null}",
	    150000, "[\"--encoding=a b\",\"--x=1\"]");
	options(PGTOOL_INITDB, "[\"pgdata\"]", 150000, NULL);
	options(PGTOOL_INITDB, "[{\"pwfile\":\"x\"}]", 150000, NULL);
	options(PGTOOL_INITDB, "[{\"a\":\"x\",\"b\":\"y\"}]", 150000, NULL);
	options(PGTOOL_INITDB, "[[1]]", 150000, NULL);
	options(PGTOOL_INITDB, "\"text\"", 150000, NULL);
	options(PGTOOL_BASEBACKUP,
	    "[\"verbose\",{\"pgdata\":\"/x\"},"
	    "{\"max-rate\":\"100M\"}]",
	    150000, "[\"--verbose\",\"--max-rate=100M\"]");
	options(PGTOOL_BASEBACKUP, "[{\"compress\":\"server-gzip\"}]", 150000,
	    "[\"--compress=server-gzip\"]");
	options(PGTOOL_BASEBACKUP, "[{\"compress\":\"gzip\"}]", 150000, "[]");
	options(PGTOOL_BASEBACKUP, "[{\"compress\":\"server-gzip\"}]", 140000,
	    "[]");
	options(
	    PGTOOL_REWIND, "[\"debug\",\"dry-run\"]", 150000, "[\"--debug\"]");
}

static void
test_words(void **state)
{
	struct pgerr err;
	struct tree *t, *w;

	(void)state;
	t = pgwords(" /bin/x  'a b' \"c \\\" d\"\\ e '' f\\\\", &err);
	w = json("[\"/bin/x\",\"a b\",\"c \\\" d e\",\"\",\"f\\\\\"]");
	assert_true(tree_equal(t, w));
	tree_free(t);
	tree_free(w);
	assert_null(pgwords("a 'b", &err));
	assert_null(pgwords("a \\", &err));
	assert_null(pgwords("   ", &err));
}

static struct pgconf *
config(const char *pg)
{
	char text[1024];
	struct pgerr err;
	struct tree *local;
	struct pgconf *c;

	snprintf(text, sizeof(text),
	    "{\"name\":\"n\",\"scope\":\"s\","
	    "\"bootstrap\":{\"method\":\"mine\",\"mine\":{\"command\":"
	    "\"/bin/b 1\",\"recovery_conf\":{},\"x\":true}},"
	    "\"postgresql\":{\"listen\":\"h\",\"data_dir\":\"/d\","
	    "\"authentication\":{\"replication\":{}}%s}}",
	    pg);
	local = json(text);
	c = pgconf_build(local, NULL, ROLE_UNINITIALIZED, &err);
	if (c == NULL)
		fail_msg("%s", err.text);
	tree_free(local);
	return c;
}

static void
test_methods(void **state)
{
	struct pgconf *c = config(
	    ",\"create_replica_methods\":[\"walg\","
	    "\"basebackup\"],\"walg\":{\"command\":\"/bin/w 'a b'\","
	    "\"no_leader\":1,\"keep_data\":true,\"role\":\"x\",\"n\":5}");
	struct pgmethod m;
	struct pgerr err;
	struct tree *t, *w;

	(void)state;
	t = pgconf_replica_methods(c, false, true, false);
	w = json("[\"walg\",\"basebackup\"]");
	assert_true(tree_equal(t, w));
	tree_free(t);
	tree_free(w);
	t = pgconf_replica_methods(c, false, false, false);
	assert_int_equal(tree_count(t), 1);
	tree_free(t);
	t = pgconf_replica_methods(c, false, true, true);
	assert_string_equal(tree_child(t, 0)->u.s, "basebackup");
	tree_free(t);
	assert_true(pgconf_can_clone_without_leader(c));
	assert_true(pgconf_replica_method(c, "walg", "host=x", &m, &err));
	assert_true(m.no_leader && m.keep_data && !m.no_params);
	w = json("[\"/bin/w\",\"a b\",\"--no_leader=1\",\"--keep_data=True\","
		 "\"--role=replica\",\"--n=5\",\"--scope=s\",\"--datadir=/d\","
		 "\"--connstring=host=x\"]");
	assert_true(tree_equal(m.argv, w));
	tree_free(m.argv);
	tree_free(w);
	assert_string_equal(pgconf_bootstrap_method(c), "mine");
	assert_true(pgconf_bootstrap_argv(c, "mine", &t, &err));
	w = json("[\"/bin/b\",\"1\",\"--scope=s\",\"--datadir=/d\","
		 "\"--x=True\"]");
	assert_true(tree_equal(t, w));
	tree_free(t);
	tree_free(w);
	pgconf_free(c);
	c = config(",\"create_replica_method\":[\"old\"],\"old\":"
		   "{\"no_master\":true,\"no_params\":true,\"y\":1}");
	t = pgconf_replica_methods(c, false, false, false);
	assert_string_equal(tree_child(t, 0)->u.s, "old");
	tree_free(t);
	assert_true(pgconf_replica_method(c, "old", "", &m, &err));
	w = json("[\"old\",\"--y=1\"]");
	assert_true(tree_equal(m.argv, w));
	tree_free(m.argv);
	tree_free(w);
	pgconf_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_guc_table_sorted),
		cmocka_unit_test(test_guc_judge),
		cmocka_unit_test(test_guc_known_to_server),
		cmocka_unit_test(test_setting_differs),
		cmocka_unit_test(test_conninfo_format),
		cmocka_unit_test(test_conninfo_parse),
		cmocka_unit_test(test_conninfo_round_trip),
		cmocka_unit_test(test_pgpass),
		cmocka_unit_test(test_controldata),
		cmocka_unit_test(test_control_file),
		cmocka_unit_test(test_lsn),
		cmocka_unit_test(test_wal_dump),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_history_agrees),
		cmocka_unit_test(test_history_document),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_methods),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
