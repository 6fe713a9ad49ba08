/*
 * test_pgconf_recovery.c: recovery settings wanted and in force (per
 * version), comparison of server parameters, desired slots.
 */
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/json.h"
#include "helpers/postgres/pgconf.h"

static char dir[64];

static struct tree *
json(const char *text)
{
	char why[128];
	struct tree *t = tree_from_json(text, strlen(text), why, sizeof(why));

	if (t == NULL)
		fail_msg("%s: %s", text, why);
	return t;
}

static struct pgconf *
config(const char *pg, const char *dynamic)
{
	char text[1024];
	struct tree *local, *d = json(dynamic);
	struct pgerr err;
	struct pgconf *c;

	snprintf(text, sizeof(text),
	    "{\"name\":\"Node-1\",\"scope\":\"s\","
	    "\"postgresql\":{\"listen\":\"h\",\"data_dir\":\"%s\",\"pgpass\":"
	    "\"%s/pgpass\",\"authentication\":{\"replication\":{\"username\":"
	    "\"repl\",\"password\":\"pw\"}}%s}}",
	    dir, dir, pg);
	local = json(text);
	c = pgconf_build(local, d, ROLE_REPLICA, &err);
	if (c == NULL)
		fail_msg("%s", err.text);
	tree_free(local);
	tree_free(d);
	return c;
}

static struct view_member *
member(const char *name, const char *url)
{
	static struct view_member m;

	memset(&m, 0, sizeof(m));
	strcpy(m.name, name);
	strcpy(m.conn_url, url);
	return &m;
}

static void
touch(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int
setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_recovery.XXXXXX");
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command) == 0 ? 0 : -1;
}

static void
same_json(const struct tree *t, const char *want)
{
	struct tree *w = json(want);
	char *s;

	if (!tree_equal(t, w)) {
		s = tree_to_json(t, JSON_FORM_COMPACT, NULL);
		fail_msg("%s\n is not %s", s, want);
	}
	tree_free(w);
}

#define CONNINFO                                                   \
	"\"dbname\":\"postgres\",\"host\":\"10.0.0.1\","           \
	"\"port\":\"5432\",\"user\":\"repl\",\"password\":\"pw\"," \
	"\"application_name\":\"Node-1\",\"sslmode\":\"prefer\""

static void
test_wanted(void **state)
{
	struct pgconf *c = config(
	    ",\"recovery_conf\":{\"restore_command\":"
	    "\"r\",\"recovery_target_xid\":\"5\",\"trigger_file\":\"t\"}",
	    "{}");
	struct pgfacts f = { .major = 150000 };
	struct pgtarget t = { .node = member(
				  "b", "postgres://10.0.0.1:5432/postgres") };
	struct tree *r = pgconf_recovery_settings(c, &f, &t);

	(void)state;
	same_json(r,
	    "{\"restore_command\":\"r\",\"promote_trigger_file\":"
	    "\"t\",\"standby_mode\":\"on\",\"recovery_target_timeline\":"
	    "\"latest\",\"recovery_target\":\"\",\"recovery_target_name\":\"\","
	    "\"recovery_target_time\":\"\",\"recovery_target_xid\":\"\","
	    "\"recovery_target_lsn\":\"\",\"primary_slot_name\":\"node_1\","
	    "\"primary_conninfo\":{" CONNINFO ",\"gssencmode\":\"prefer\","
	    "\"channel_binding\":\"prefer\"}}");
	tree_free(r);
	f.major = 90300; /* no slots, no neutralised targets */
	r = pgconf_recovery_settings(c, &f, &t);
	same_json(r,
	    "{\"restore_command\":\"r\",\"trigger_file\":\"t\","
	    "\"standby_mode\":\"on\",\"recovery_target_timeline\":\"latest\","
	    "\"primary_conninfo\":{" CONNINFO "}}");
	tree_free(r);
	/* nobody, or ourselves: archive only */
	strcpy(member("Node-1", "postgres://x/")->state, "");
	r = pgconf_recovery_settings(c, &f, &t);
	assert_null(tree_get(r, "primary_conninfo"));
	tree_free(r);
	t.node = NULL;
	r = pgconf_recovery_settings(c, &f, &t);
	assert_null(tree_get(r, "primary_conninfo"));
	tree_free(r);
	pgconf_free(c);
	/* recovery parameters among `parameters` replace recovery_conf */
	c = config(",\"recovery_conf\":{\"restore_command\":\"r\"},"
		   "\"parameters\":{\"archive_cleanup_command\":\"a\"}",
	    "{}");
	r = pgconf_recovery_conf(c, &f);
	same_json(r, "{\"archive_cleanup_command\":\"a\"}");
	tree_free(r);
	r = pgconf_server_params(c, &f);
	assert_null(tree_get(r, "archive_cleanup_command"));
	tree_free(r);
	pgconf_free(c);
}

static void
test_standby_cluster(void **state)
{
	struct pgconf *c = config(",\"recovery_conf\":{\"restore_command\":"
				  "\"r\"}",
	    "{\"standby_cluster\":{\"host\":\"a,b\",\"port\":5433,"
	    "\"primary_slot_name\":\"Up-Slot\",\"restore_command\":\"sc\","
	    "\"recovery_min_apply_delay\":\"5min\"}}");
	struct pgfacts f = { .major = 150000 };
	struct view_member remote;
	struct pgtarget t = {
		.node = &remote, .remote = true, .standby_leader = true
	};
	struct tree *r;

	(void)state;
	assert_true(c->is_standby_cluster);
	assert_true(pgconf_remote_member(c, &remote));
	assert_string_equal(remote.conn_url, "postgres://a:5433,b:5433/");
	r = pgconf_recovery_settings(c, &f, &t);
	assert_string_equal(
	    tree_path_text(r, "primary_conninfo.host", ""), "a,b");
	assert_string_equal(
	    tree_path_text(r, "primary_conninfo.port", ""), "5433");
	assert_string_equal(
	    tree_path_text(r, "primary_conninfo.target_session_attrs", ""),
	    "read-write");
	assert_string_equal(
	    tree_path_text(r, "primary_slot_name", ""), "up_slot");
	assert_string_equal(tree_path_text(r, "restore_command", ""), "sc");
	assert_string_equal(
	    tree_path_text(r, "recovery_min_apply_delay", ""), "5min");
	tree_free(r);
	t.standby_leader = t.remote = false;
	t.node = member("b", "postgres://x:1/");
	r = pgconf_recovery_settings(c, &f, &t);
	assert_null(tree_get(r, "recovery_min_apply_delay"));
	assert_string_equal(
	    tree_path_text(r, "primary_slot_name", ""), "node_1");
	tree_free(r);
	pgconf_free(c);
}

static void
test_bootstrap_recovery(void **state)
{
	struct tree
	    *s = json(
		"{\"recovery_target_time\":\"x\","
		"\"pause_at_recovery_target\":false,\"trigger_file\":\"t\"}"),
	    *r;
	struct pgfacts f = { .major = 150000 };

	(void)state;
	r = pgconf_bootstrap_recovery(s, &f);
	same_json(r,
	    "{\"recovery_target_time\":\"x\","
	    "\"recovery_target_action\":\"promote\","
	    "\"promote_trigger_file\":\"t\"}");
	tree_free(r);
	tree_free(s);
	s = json("{\"recovery_target_action\":\"promote\"}");
	f.major = 90400;
	r = pgconf_bootstrap_recovery(s, &f);
	same_json(r, "{\"pause_at_recovery_target\":\"false\"}");
	tree_free(r);
	tree_free(s);
}

static void
test_recovery_conf_parse(void **state)
{
	struct tree *t = recovery_conf_parse(
	    "# c\n\nstandby_mode = 'on'\n"
	    "Primary_conninfo='host=a user=''x'' \\\\ y' # tail\r\n"
	    "recovery_target_inclusive true\n  restore_command   =   'a b'");

	(void)state;
	same_json(t,
	    "{\"standby_mode\":\"on\",\"primary_conninfo\":"
	    "\"host=a user='x' \\\\ y\",\"recovery_target_inclusive\":"
	    "\"true\",\"restore_command\":\"a b\"}");
	tree_free(t);
	assert_null(recovery_conf_parse("a = 'b"));
	assert_null(recovery_conf_parse("= 'b'"));
	assert_null(recovery_conf_parse("a = 'b' c"));
}

/* ---- comparison ---- */

static const char *const restart_12[] = { "primary_conninfo",
	"primary_slot_name", "restore_command", "recovery_target_timeline" };

/* pg_settings of a standby whose context follows the version. */
static size_t
standby_rows(struct pgsetting *rows, uint32_t major, const char *conninfo)
{
	static const char *const names[] = { "archive_cleanup_command",
		"primary_conninfo", "primary_slot_name", "promote_trigger_file",
		"recovery_end_command", "recovery_min_apply_delay",
		"recovery_target", "recovery_target_lsn",
		"recovery_target_name", "recovery_target_time",
		"recovery_target_timeline", "recovery_target_xid",
		"restore_command" };
	size_t n = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct pgsetting *r = &rows[n++];
		bool target = strncmp(names[i], "recovery_target", 15) == 0;
		bool primary = strncmp(names[i], "primary_", 8) == 0;
		bool restore = strcmp(names[i], "restore_command") == 0;

		*r = (struct pgsetting){ .name = names[i],
			.setting = "",
			.vartype = "string",
			.context = "sighup" };
		if (target || (primary && major < 130000) ||
		    (restore && major < 140000))
			r->context = "postmaster";
		if (strcmp(names[i], "primary_conninfo") == 0)
			r->setting = conninfo;
		else if (strcmp(names[i], "primary_slot_name") == 0)
			r->setting = "node_1";
		else if (strcmp(names[i], "recovery_target_timeline") == 0)
			r->setting = "latest";
		else if (restore)
			r->setting = "r";
		else if (strcmp(names[i], "recovery_min_apply_delay") == 0) {
			r->setting = "0";
			r->unit = "ms";
		}
	}
	return n;
}

static void
test_diff_by_version(void **state)
{
	static const uint32_t versions[] = { 120000, 130000, 140000, 170000 };
	/* per version: restart needed for a change of restart_12[i]? */
	static const enum pgdiff want_diff[][4] = {
		{ PGDIFF_RESTART, PGDIFF_RESTART, PGDIFF_RESTART,
		    PGDIFF_RESTART },
		{ PGDIFF_RELOAD, PGDIFF_RELOAD, PGDIFF_RESTART,
		    PGDIFF_RESTART },
		{ PGDIFF_RELOAD, PGDIFF_RELOAD, PGDIFF_RELOAD, PGDIFF_RESTART },
		{ PGDIFF_RELOAD, PGDIFF_RELOAD, PGDIFF_RELOAD, PGDIFF_RESTART },
	};
	struct pgconf *c = config(",\"recovery_conf\":{\"restore_command\":"
				  "\"r\"}",
	    "{}");
	char conninfo[512], why[WORD_SIZE];

	(void)state;
	touch("standby.signal", "");
	touch("pgpass", "10.0.0.1:5432:*:repl:pw\n");
	snprintf(conninfo, sizeof(conninfo),
	    "user=repl passfile=%s/pgpass "
	    "host=10.0.0.1 port=5432 application_name=Node-1 dbname=postgres",
	    dir);
	for (size_t v = 0; v < sizeof(versions) / sizeof(*versions); v++) {
		struct pgfacts f = { .major = versions[v] };
		struct pgtarget t = {
			.node = member("b", "postgres://10.0.0.1:5432/postgres")
		};
		struct tree *want = pgconf_recovery_settings(c, &f, &t);
		struct pgsetting rows[32];
		struct pgcurrent cur = { .valid = true, .rows = rows };

		cur.nrows = standby_rows(rows, f.major, conninfo);
		assert_int_equal(
		    pgconf_recovery_diff(c, want, &cur, &f, why), PGDIFF_NONE);
		for (size_t i = 0; i < 4; i++) {
			standby_rows(rows, f.major, conninfo);
			for (size_t k = 0; k < cur.nrows; k++)
				if (strcmp(rows[k].name, restart_12[i]) == 0)
					rows[k].setting = "host=other";
			assert_int_equal(
			    pgconf_recovery_diff(c, want, &cur, &f, why),
			    want_diff[v][i]);
			assert_string_equal(why, restart_12[i]);
		}
		tree_free(want);
	}
	pgconf_free(c);
}

static void
test_diff_details(void **state)
{
	struct pgconf *c = config("", "{}");
	struct pgfacts f = { .major = 150000 };
	struct pgtarget t = { .node = member(
				  "b", "postgres://10.0.0.1:5432/postgres") };
	struct tree *want = pgconf_recovery_settings(c, &f, &t);
	struct pgsetting rows[32];
	struct pgcurrent cur = { .valid = true, .rows = rows };
	char conninfo[512], live[640];

	(void)state;
	snprintf(conninfo, sizeof(conninfo),
	    "user=repl passfile=%s/pgpass "
	    "host=10.0.0.1 port=5432 application_name=Node-1",
	    dir);
	cur.nrows = standby_rows(rows, f.major, conninfo);
#define DIFF() pgconf_recovery_diff(c, want, &cur, &f, NULL)
	/* no signal file */
	assert_int_equal(DIFF(), PGDIFF_RESTART);
	touch("standby.signal", "");
	/* restore_command is set, by a file of the operator's */
	touch("pgpass", "10.0.0.1:5432:*:repl:pw\n");
	assert_int_equal(DIFF(), PGDIFF_RELOAD);
	for (size_t i = 0; i < cur.nrows; i++)
		rows[i].sourcefile = "/etc/other.conf";
	assert_int_equal(DIFF(), PGDIFF_NONE);
	/* password file differs */
	touch("pgpass", "10.0.0.1:5432:*:repl:old\n");
	assert_int_equal(DIFF(), PGDIFF_RELOAD);
	touch("pgpass", "10.0.0.1:5432:*:repl:pw\n");
	/* the walreceiver runs with something else than the setting says */
	snprintf(live, sizeof(live),
	    "user=repl passfile=%s/pgpass "
	    "host=10.0.0.9 port=5432 application_name=Node-1 "
	    "dbname=replication",
	    dir);
	cur.has_receiver = true;
	cur.receiver_conninfo = live;
	cur.receiver_slot = "node_1";
	assert_int_equal(DIFF(), PGDIFF_RELOAD);
	snprintf(live, sizeof(live), "%s dbname=replication", conninfo);
	assert_int_equal(DIFF(), PGDIFF_NONE);
	cur.receiver_slot = "";
	assert_int_equal(DIFF(), PGDIFF_RELOAD);
	cur.has_receiver = false;
	/* unreadable or malformed */
	cur.nrows = standby_rows(rows, f.major, "host='x");
	assert_int_equal(DIFF(), PGDIFF_RESTART);
	cur.valid = false;
	assert_int_equal(DIFF(), PGDIFF_RESTART);
	tree_free(want);
	pgconf_free(c);
}

/* recovery.conf: the file that we wrote needs no change, any other a
 * restart. */
static void
test_diff_recovery_conf(void **state)
{
	struct pgconf *c = config("", "{}");
	struct pgfacts f = { .major = 110000 };
	struct pgtarget t = { .node = member(
				  "b", "postgres://10.0.0.1:5432/postgres") };
	struct tree *want = pgconf_recovery_settings(c, &f, &t), *have;
	struct pgcurrent cur = { .valid = true };
	char path[128], *text;
	struct pgerr err;
	bool written;

	(void)state;
	assert_true(pgconf_write_recovery(c, want, &f, &err));
	assert_true(pgconf_write_pgpass(
	    c, tree_get(want, "primary_conninfo"), &written, &err));
	assert_true(written);
	snprintf(path, sizeof(path), "%s/recovery.conf", dir);
	text = pgfile_read(path, 65536, NULL, &err);
	have = recovery_conf_parse(text);
	cur.recovery_conf = have;
	assert_int_equal(DIFF(), PGDIFF_NONE);
	assert_true(tree_set(have, "restore_command", tree_text("x")));
	assert_int_equal(DIFF(), PGDIFF_RESTART);
	free(text);
	tree_free(have);
	tree_free(want);
	pgconf_free(c);
}

static void
test_compare(void **state)
{
	struct pgconf *c = config("", "{}");
	struct tree *before = json(
	    "{\"work_mem\":\"4MB\",\"gone\":\"1\","
	    "\"my.x\":\"1\",\"shared_buffers\":\"128MB\",\"jit\":\"off\"}");
	struct tree *after =
	    json("{\"work_mem\":\"8MB\",\"my.x\":\"2\","
		 "\"Shared_buffers\":\"256MB\",\"bogus\":1,\"jit\":\"on\","
		 "\"wal_buffers\":-1,\"hot_standby\":\"off\"}");
	struct pgsetting rows[] = {
		{ "work_mem", "4096", "kB", "integer", "user", NULL },
		{ "shared_buffers", "16384", "8kB", "integer", "postmaster",
		    NULL },
		{ "gone", "1", NULL, "integer", "sighup", NULL },
		{ "jit", "on", NULL, "bool", "user", NULL },
		{ "wal_buffers", "512", "8kB", "integer", "postmaster", NULL },
		{ "wal_segment_size", "16777216", "B", "integer", "internal",
		    NULL },
		{ "wal_block_size", "8192", NULL, "integer", "internal", NULL },
	};
	struct pgreload out;
	struct tree *names = pgconf_compare_names(before, after);

	(void)state;
	same_json(names,
	    "[\"work_mem\",\"my.x\",\"shared_buffers\",\"bogus\","
	    "\"jit\",\"wal_buffers\",\"gone\",\"wal_segment_size\","
	    "\"wal_block_size\"]");
	tree_free(names);
	pgconf_compare(c, NULL, before, after, rows, 7, true, &out);
	assert_true(out.conf);
	same_json(out.pending,
	    "{\"Shared_buffers\":{\"old_value\":\"128MB\","
	    "\"new_value\":\"256MB\"}}");
	assert_null(tree_get(after, "bogus"));
	tree_free(out.pending);
	/* the same again: nothing to do */
	tree_free(before);
	before = json("{\"work_mem\":\"4MB\"}");
	tree_free(after);
	after = json("{\"work_mem\":\"4MB\"}");
	pgconf_compare(c, c, before, after, rows, 7, true, &out);
	assert_false(out.conf || out.hba || out.ident);
	tree_free(out.pending);
	/* a change taken back */
	tree_free(before);
	before = json("{\"work_mem\":\"9MB\"}");
	pgconf_compare(c, c, before, after, rows, 7, true, &out);
	assert_true(out.conf);
	tree_free(out.pending);
	tree_free(before);
	tree_free(after);
	pgconf_free(c);
}

/* ---- slots ---- */

static struct view *
cluster(void)
{
	static const char *const names[] = { "a", "b", "c-1", "d" };
	struct view *v = view_new();

	v->has_config = 1;
	v->has_leader = 1;
	strcpy(v->leader, "a");
	v->nmembers = 4;
	v->members = calloc(4, sizeof(*v->members));
	for (size_t i = 0; i < 4; i++) {
		strcpy(v->members[i].name, names[i]);
		v->members[i].tags.failover_priority = 1;
	}
	/* d hangs on b */
	strcpy(v->members[3].tags.replicatefrom, "b");
	v->members[3].xlog_location = 500;
	v->nslots = 2;
	v->slots = calloc(2, sizeof(*v->slots));
	strcpy(v->slots[0].name, "b");
	v->slots[0].lsn = 100;
	strcpy(v->slots[1].name, "d");
	v->slots[1].lsn = 200;
	v->nretain = 1;
	v->retain_slots = calloc(1, sizeof(*v->retain_slots));
	strcpy(v->retain_slots[0], "old_one");
	return v;
}

static void
slots_are(struct pgslots_in *in, const char *want)
{
	struct pgslots *s = calloc(1, sizeof(*s));
	char have[1024] = "";

	pgslots_desired(in, true, s);
	for (uint32_t i = 0; i < s->n; i++)
		snprintf(have + strlen(have), sizeof(have) - strlen(have),
		    "%s%s%s%s:%llu", i > 0 ? " " : "", s->v[i].name,
		    s->v[i].logical ? "(l)" : "",
		    s->v[i].expected_active ? "*" : "",
		    (unsigned long long)s->v[i].lsn);
	assert_string_equal(have, want);
	free(s);
}

static void
test_member_slots(void **state)
{
	struct view *v = cluster();
	struct tree *dynamic = json("{}");
	struct pgslots_in in = { .view = v,
		.dynamic = dynamic,
		.name = "a",
		.role = ROLE_PRIMARY,
		.tags = &v->members[0].tags,
		.major = 150000 };

	(void)state;
	slots_are(&in, "b*:100 c_1*:0 d:500 old_one:0");
	in.major = 100000; /* cannot advance: only who connects */
	slots_are(&in, "b*:100 c_1*:0 old_one:0");
	in.major = 90300;
	slots_are(&in, "");
	in.major = 150000;
	in.name = "b";
	in.role = ROLE_REPLICA;
	in.tags = &v->members[1].tags;
	slots_are(&in, "a:0 c_1:0 d*:500 old_one:0");
	v->members[1].tags.nofailover = 1;
	slots_are(&in, "d*:500");
	v->members[1].tags.nofailover = 0;
	v->members[3].tags.nostream = 1;
	slots_are(&in, "a:0 c_1:0 old_one:0");
	tree_free(dynamic);
	in.dynamic = dynamic = json("{\"postgresql\":{\"use_slots\":false}}");
	slots_are(&in, "");
	tree_free(dynamic);
	in.dynamic = dynamic = json("{\"member_slots_ttl\":0}");
	v->members[3].tags.nostream = 0;
	slots_are(&in, "d*:500 old_one:0");
	v->has_config = 0;
	slots_are(&in, "");
	tree_free(dynamic);
	view_free(v);
}

static void
test_permanent_slots(void **state)
{
	struct view *v = cluster();
	struct tree *dynamic = json(
	    "{\"slots\":{\"p1\":null,\"a\":{},"
	    "\"Bad\":null,\"l1\":{\"database\":\"x\",\"plugin\":\"y\"},"
	    "\"l2\":{\"type\":\"logical\"},\"b\":{\"type\":\"physical\"},"
	    "\"s1\":{\"type\":\"physical\",\"cluster_type\":\"standby\"}}}");
	struct pgslots_in in = { .view = v,
		.dynamic = dynamic,
		.name = "a",
		.role = ROLE_PRIMARY,
		.tags = &v->members[0].tags,
		.major = 150000 };

	(void)state;
	v->nretain = 0;
	slots_are(&in, "b*:100 c_1*:0 d:500 p1*:0 l1(l):0");
	assert_true(pgslots_need_feedback(&in));
	in.major = 100000;
	slots_are(&in, "b*:100 c_1*:0 p1*:0");
	assert_false(pgslots_need_feedback(&in));
	in.role = ROLE_REPLICA;
	in.name = "c-1";
	in.tags = &v->members[2].tags;
	slots_are(&in, "");
	/* a nofailover node needs feedback for the one that hangs on it */
	in.major = 150000;
	in.name = "b";
	in.tags = &v->members[1].tags;
	v->members[1].tags.nofailover = 1;
	assert_true(pgslots_need_feedback(&in));
	v->members[3].tags.nofailover = 1;
	assert_false(pgslots_need_feedback(&in));
	tree_free(dynamic);
	view_free(v);
}

/* The first of the three names that has something counts (17.2). */
static void
test_names_of_permanent_slots(void **state)
{
	static const struct {
		const char *dynamic, *want;
	} cases[] = { { "{\"permanent_replication_slots\":{\"x\":null}}",
			  "x*:0" },
		{ "{\"permanent_slots\":{\"x\":null}}", "x*:0" },
		{ "{\"slots\":{\"x\":null}}", "x*:0" },
		{ "{\"slots\":{\"x\":null},\"permanent_slots\":{\"y\":null}}",
		    "y*:0" },
		{ "{\"slots\":{\"x\":null},\"permanent_slots\":{},"
		  "\"permanent_replication_slots\":{}}",
		    "x*:0" } };
	struct view *v = cluster();
	size_t i;

	(void)state;
	v->nretain = 0;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct tree *dynamic = json(cases[i].dynamic);
		struct pgslots_in in = { .view = v,
			.dynamic = dynamic,
			.name = "a",
			.role = ROLE_PRIMARY,
			.tags = &v->members[0].tags,
			.major = 150000 };
		char want[64];

		snprintf(want, sizeof(want), "b*:100 c_1*:0 d:500 %s",
		    cases[i].want);
		slots_are(&in, want);
		tree_free(dynamic);
	}
	view_free(v);
}

static void
test_slot_on_primary(void **state)
{
	struct view *v = cluster();
	char slot[64];

	(void)state;
	pgslots_on_primary(v, "d", slot);
	assert_string_equal(slot, "b");
	pgslots_on_primary(v, "c-1", slot);
	assert_string_equal(slot, "c_1");
	strcpy(v->members[1].tags.replicatefrom, "d"); /* a loop */
	pgslots_on_primary(v, "d", slot);
	assert_string_equal(slot, "");
	v->members[2].tags.nostream = 1;
	pgslots_on_primary(v, "c-1", slot);
	assert_string_equal(slot, "");
	view_free(v);
}

static void
test_ignored(void **state)
{
	struct tree *d =
	    json("{\"ignore_slots\":[{\"name\":\"x\",\"type\":"
		 "\"logical\",\"plugin\":\"\"},{\"type\":\"physical\","
		 "\"database\":\"z\"},7]}");

	(void)state;
	assert_true(pgslots_ignored(d, "x", "logical", "db", "p"));
	assert_false(pgslots_ignored(d, "y", "logical", "db", "p"));
	assert_false(pgslots_ignored(d, "x", "physical", "", ""));
	tree_free(d);
	d = json("{\"ignore_slots\":[{}]}");
	assert_true(pgslots_ignored(d, "any", "physical", "", ""));
	tree_free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_standby_cluster),
		cmocka_unit_test(test_bootstrap_recovery),
		cmocka_unit_test(test_recovery_conf_parse),
		cmocka_unit_test_setup_teardown(
		    test_diff_by_version, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_diff_details, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_diff_recovery_conf, setup, teardown),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_member_slots),
		cmocka_unit_test(test_permanent_slots),
		cmocka_unit_test(test_names_of_permanent_slots),
		cmocka_unit_test(test_slot_on_primary),
		cmocka_unit_test(test_ignored),
	};

	strcpy(dir, "/tmp/test_recovery.none");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
