/*
 * test_pgconf.c: effective PostgreSQL configuration, server parameters and
 * the bytes of every written file.
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
#include "helpers/postgres/control.h"
#include "helpers/postgres/guc.h"
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

/* A local tree with `more` merged in. */
static struct tree *
local_tree(const char *more)
{
	char text[1024];
	struct tree *t, *o;

	snprintf(text, sizeof(text),
	    "{\"name\":\"node-1\",\"scope\":\"demo\","
	    "\"restapi\":{\"listen\":\"127.0.0.1:8008\"},"
	    "\"postgresql\":{\"listen\":\"127.0.0.1:5433\",\"data_dir\":\"%s\","
	    "\"pgpass\":\"%s/pgpass\",\"bin_dir\":\"/usr/bin\","
	    "\"authentication\":{\"superuser\":{\"username\":\"postgres\","
	    "\"password\":\"s\"},\"replication\":{\"username\":\"repl\","
	    "\"password\":\"p:w\\\\d\"}}}}",
	    dir, dir);
	t = json(text);
	if (more != NULL) {
		o = json(more);
		assert_true(tree_patch(t, o, NULL));
		tree_free(o);
	}
	return t;
}

static struct pgconf *
build(const char *more, const char *dynamic, enum pg_role role)
{
	struct tree *local = local_tree(more);
	struct tree *d = dynamic == NULL ? NULL : json(dynamic);
	struct pgerr err;
	struct pgconf *c = pgconf_build(local, d, role, &err);

	if (c == NULL)
		fail_msg("%s", err.text);
	tree_free(local);
	tree_free(d);
	return c;
}

static const char *
param(const struct tree *params, const char *name)
{
	static char buf[256];
	const struct tree *t = tree_get_nocase(params, name);

	if (t == NULL)
		return NULL;
	tree_scalar_text(t, buf, sizeof(buf));
	return buf;
}

static void
put_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
expect_file(const char *name, const char *want, mode_t mode)
{
	char path[128], *have;
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	have = pgfile_read(path, 65536, NULL, NULL);
	assert_non_null(have);
	assert_string_equal(have, want);
	free(have);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static bool
present(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static int
setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_pgconf.XXXXXX");
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
test_defaults(void **state)
{
	struct pgconf *c = build(NULL, NULL, ROLE_UNINITIALIZED);
	const struct tree *p = tree_get(c->pg, "parameters");

	(void)state;
	assert_int_equal(c->settings.ttl, 30);
	assert_int_equal(c->settings.loop_wait, 10);
	assert_string_equal(c->conn_url, "postgres://localhost:5433/postgres");
	assert_string_equal(c->api_url, "http://127.0.0.1:8008/patroni");
	assert_string_equal(c->listen_addresses, "127.0.0.1");
	assert_string_equal(c->tcp_host, "localhost");
	assert_true(c->use_slots);
	assert_false(c->use_pg_rewind);
	assert_int_equal(c->pg_ctl_timeout, 60);
	assert_int_equal(c->member_slots_ttl, 1800);
	assert_string_equal(param(p, "max_connections"), "100");
	assert_null(param(p, "wal_keep_size"));
	assert_int_equal(tree_count(c->dynamic), 0);
	pgconf_free(c);
}

static void
test_merge(void **state)
{
	struct pgconf *c = build(
	    "{\"ttl\":99,\"postgresql\":{"
	    "\"use_slots\":false,\"pg_ctl_timeout\":\"x\","
	    "\"connect_address\":\"[::1]:6000\",\"pg_hba\":[\"a\"],"
	    "\"parameters\":{\"work_mem\":\"8MB\",\"max_connections\":7}}}",
	    "{\"ttl\":\"40\",\"loop_wait\":5,\"postgresql\":{"
	    "\"listen\":\"evil:1\",\"use_pg_rewind\":true,"
	    "\"pg_hba\":[\"b\",\"c\"],\"parameters\":{\"Work_mem\":\"4MB\","
	    "\"max_connections\":\"200\",\"max_wal_senders\":1,"
	    "\"wal_level\":\"logical\",\"port\":1}}}",
	    ROLE_UNINITIALIZED);
	const struct tree *p = tree_get(c->pg, "parameters");

	(void)state;
	assert_int_equal(c->settings.ttl, 40);
	assert_int_equal(c->settings.loop_wait, 5);
	assert_true(c->use_slots);
	assert_true(c->use_pg_rewind);
	assert_int_equal(c->pg_ctl_timeout, 60);
	assert_string_equal(c->port, "5433");
	assert_string_equal(c->conn_url, "postgres://[::1]:6000/postgres");
	assert_int_equal(tree_count(tree_get(c->pg, "pg_hba")), 1);
	/* one parameter, the local spelling */
	assert_null(tree_get(p, "Work_mem"));
	assert_string_equal(param(p, "work_mem"), "8MB");
	/* DCS only: local 7 ignored, text number becomes a number */
	assert_int_equal(tree_get(p, "max_connections")->type, TREE_INT);
	assert_string_equal(param(p, "max_connections"), "200");
	/* invalid in the DCS: default */
	assert_string_equal(param(p, "max_wal_senders"), "10");
	assert_string_equal(param(p, "wal_level"), "logical");
	assert_null(param(p, "port"));
	pgconf_free(c);
}

static void
test_clamp_goes_into_document(void **state)
{
	struct pgconf *c = build(NULL,
	    "{\"ttl\":20,\"retry_timeout\":30,"
	    "\"pause\":true}",
	    ROLE_UNINITIALIZED);

	(void)state;
	assert_int_equal(c->settings.loop_wait, 1);
	assert_int_equal(c->settings.retry_timeout, 9);
	assert_int_equal(tree_path_int(c->dynamic, "retry_timeout", 0), 9);
	assert_int_equal(tree_path_int(c->dynamic, "loop_wait", 0), 1);
	assert_true(tree_path_bool(c->dynamic, "pause", false));
	pgconf_free(c);
}

static void
test_refused(void **state)
{
	static const char *const bad[] = { "{\"ttl\":\"30s\"}",
		"{\"postgresql\":{\"parameters\":[1]}}", "{\"ttl\":[]}" };
	struct tree *local = local_tree(NULL);
	struct pgerr err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct tree *d = json(bad[i]);

		assert_null(pgconf_build(local, d, ROLE_REPLICA, &err));
		assert_true(err.text[0] != '\0');
		tree_free(d);
	}
	tree_remove(tree_get(local, "postgresql"), "listen");
	assert_null(pgconf_build(local, NULL, ROLE_REPLICA, &err));
	assert_non_null(strstr(err.text, "postgresql.listen"));
	tree_free(local);
}

static void
test_overlay(void **state)
{
	const char *more =
	    "{\"postgresql\":{\"parameters\":{\"work_mem\":"
	    "\"1MB\"},\"parameters_replica\":{\"work_mem\":\"2MB\","
	    "\"max_connections\":5},\"pg_hba\":[\"a\"],"
	    "\"pg_hba_replica\":[\"r\"]}}";
	struct pgconf *c = build(more, NULL, ROLE_DEMOTED);
	const struct tree *p = tree_get(c->pg, "parameters");

	(void)state;
	assert_string_equal(param(p, "work_mem"), "2MB");
	assert_string_equal(param(p, "max_connections"), "100");
	assert_string_equal(tree_child(tree_get(c->pg, "pg_hba"), 0)->u.s, "r");
	pgconf_free(c);
	c = build(more, NULL, ROLE_PRIMARY);
	assert_string_equal(
	    param(tree_get(c->pg, "parameters"), "work_mem"), "1MB");
	pgconf_free(c);
}

static void
test_choose(void **state)
{
	struct tree *dcs = json("{\"a\":1}"), *empty = json("{}");
	struct tree *cache = json("{\"b\":1}");
	struct tree *local = json("{\"bootstrap\":{\"dcs\":{\"c\":1}}}");

	(void)state;
	assert_ptr_equal(pgconf_choose(dcs, cache, local), dcs);
	assert_ptr_equal(pgconf_choose(empty, cache, local), cache);
	assert_string_equal(
	    tree_child(pgconf_choose(NULL, NULL, local), 0)->key, "c");
	assert_null(pgconf_choose(NULL, NULL, empty));
	tree_free(dcs);
	tree_free(empty);
	tree_free(cache);
	tree_free(local);
}

static void
test_cache_file(void **state)
{
	struct tree *d = json("{\"ttl\":30,\"postgresql\":{\"x\":null}}"), *r;
	struct pgerr err;

	(void)state;
	assert_null(pgconf_cache_load(dir, &err));
	assert_string_equal(err.text, "");
	chmod(dir, 0750);
	assert_true(pgconf_cache_save(dir, d, &err));
	expect_file("patroni.dynamic.json",
	    "{\"ttl\": 30, \"postgresql\": {\"x\": null}}", 0640);
	r = pgconf_cache_load(dir, &err);
	assert_true(tree_equal(d, r));
	tree_free(r);
	tree_free(d);
	put_file("patroni.dynamic.json", "{oops");
	assert_null(pgconf_cache_load(dir, &err));
	assert_non_null(strstr(err.text, "patroni.dynamic.json"));
	d = json("[1]");
	assert_false(pgconf_cache_save("/nonexistent/dir", d, &err));
	assert_non_null(strstr(err.text, "/nonexistent/dir"));
	tree_free(d);
}

static void
test_params_by_version(void **state)
{
	static const struct {
		uint32_t major;
		const char *wal_level, *segments, *size, *cluster, *slots;
	} v[] = {
		{ 90300, "hot_standby", "8", NULL, NULL, NULL },
		{ 90500, "hot_standby", "8", NULL, "demo", "10" },
		{ 90600, "replica", "8", NULL, "demo", "10" },
		{ 120000, "replica", "8", NULL, "demo", "10" },
		{ 130000, "replica", NULL, "128MB", "demo", "10" },
		{ 180000, "replica", NULL, "128MB", "demo", "10" },
		{ 0, "hot_standby", NULL, NULL, "demo", "10" },
	};
	struct pgconf *c = build(NULL, NULL, ROLE_UNINITIALIZED);

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		struct pgfacts f = { .major = v[i].major };
		struct tree *p = pgconf_server_params(c, &f);

#define SAME(name, want)                                           \
	do {                                                       \
		if (want == NULL)                                  \
			assert_null(param(p, name));               \
		else                                               \
			assert_string_equal(param(p, name), want); \
	} while (0)
		SAME("wal_level", v[i].wal_level);
		SAME("wal_keep_segments", v[i].segments);
		SAME("wal_keep_size", v[i].size);
		SAME("cluster_name", v[i].cluster);
		SAME("max_replication_slots", v[i].slots);
		SAME("listen_addresses", "127.0.0.1");
		SAME("port", "5433");
		tree_free(p);
	}
	pgconf_free(c);
	c = build(NULL,
	    "{\"postgresql\":{\"parameters\":{"
	    "\"wal_keep_segments\":100,\"wal_level\":\"replica\"}}}",
	    ROLE_UNINITIALIZED);
	for (int i = 0; i < 2; i++) {
		struct pgfacts f = { .major = i == 0 ? 150000 : 90400 };
		struct tree *p = pgconf_server_params(c, &f);

		SAME("wal_keep_size", (i == 0 ? "1600MB" : NULL));
		SAME("wal_keep_segments", (i == 0 ? NULL : "100"));
		SAME("wal_level", (i == 0 ? "replica" : "hot_standby"));
		tree_free(p);
	}
	pgconf_free(c);
}

static void
test_synchronous_names(void **state)
{
	const char *local = "{\"postgresql\":{\"parameters\":"
			    "{\"synchronous_standby_names\":\"mine\"}}}";
	struct pgfacts f = { .major = 150000, .role = ROLE_PRIMARY };
	struct pgconf *c = build(local,
	    "{\"synchronous_mode\":true,"
	    "\"synchronous_mode_strict\":true}",
	    ROLE_PRIMARY);
	struct tree *p = pgconf_server_params(c, &f);

	(void)state;
	SAME("synchronous_standby_names",
	    "__patroni_strict_sync_replica_placeholder__");
	tree_free(p);
	f.ssn_chosen = true;
	f.ssn = "\"b\"";
	p = pgconf_server_params(c, &f);
	SAME("synchronous_standby_names", "\"b\"");
	tree_free(p);
	f.ssn = NULL;
	p = pgconf_server_params(c, &f);
	SAME("synchronous_standby_names", NULL);
	tree_free(p);
	pgconf_free(c);
	c = build(local, NULL, ROLE_PRIMARY);
	p = pgconf_server_params(c, &f);
	SAME("synchronous_standby_names", "mine");
	tree_free(p);
	pgconf_free(c);
}

static void
test_start_rule(void **state)
{
	struct tree *control = control_parse(
	    "Current max_connections setting:  300\n"
	    "max_worker_processes setting: 4\nmax_wal_senders setting: 10\n"
	    "max_prepared_xacts setting: 0\nmax_locks_per_xact setting: 64\n");
	struct pgconf *c = build(NULL, NULL, ROLE_REPLICA);
	struct pgfacts f = { .major = 150000, .role = ROLE_REPLICA };
	struct tree *p = pgconf_server_params(c, &f), *why = tree_map();

	(void)state;
	pgconf_start_params(p, &f, control, NULL, why);
	SAME("max_connections", "300");
	SAME("max_worker_processes", "8");
	assert_int_equal(tree_count(why), 1);
	assert_string_equal(
	    tree_path_text(why, "max_connections.old_value", ""), "300");
	assert_string_equal(
	    tree_path_text(why, "max_connections.new_value", ""), "100");
	tree_free(p);
	tree_free(why);
	/* a primary starts with what is configured */
	f.role = ROLE_PRIMARY;
	p = pgconf_server_params(c, &f);
	why = tree_map();
	pgconf_start_params(p, &f, control, NULL, why);
	SAME("max_connections", "100");
	assert_int_equal(tree_count(why), 0);
	/* a custom bootstrap that ends in promotion */
	f.custom_bootstrap = true;
	tree_free(control);
	control = json("{\"recovery_target_action\":\"promote\"}");
	pgconf_start_params(p, &f, NULL, control, why);
	SAME("hot_standby", "off");
	tree_free(control);
	tree_free(p);
	tree_free(why);
	pgconf_free(c);
}

static void
test_argv(void **state)
{
	struct pgconf *c =
	    build("{\"postgresql\":{\"config_dir\":\"/etc/pg\"}}", NULL,
		ROLE_REPLICA);
	struct pgfacts f = { .major = 150000 };
	struct tree *p = pgconf_server_params(c, &f);
	char **v = pgconf_postmaster_argv(c, p, &f);
	static const char *const want[] = { "/usr/bin/postgres", "-D", dir,
		"--config-file=/etc/pg/postgresql.conf",
		"--listen_addresses=127.0.0.1", "--port=5433",
		"--cluster_name=demo", "--wal_level=replica",
		"--hot_standby=on", "--max_connections=100",
		"--max_wal_senders=10", "--max_prepared_transactions=0",
		"--max_locks_per_transaction=64",
		"--track_commit_timestamp=off", "--max_replication_slots=10",
		"--max_worker_processes=8", "--wal_log_hints=on" };
	size_t n = sizeof(want) / sizeof(*want);

	(void)state;
	for (size_t i = 0; i < n; i++)
		assert_string_equal(v[i], want[i]);
	assert_null(v[n]);
	free(v);
	f.major = 90300;
	v = pgconf_postmaster_argv(c, p, &f);
	for (size_t i = 0; v[i] != NULL; i++)
		assert_null(strstr(v[i], "wal_log_hints"));
	free(v);
	tree_free(p);
	pgconf_free(c);
}

#define HEAD                                  \
	"# Do not edit this file manually!\n" \
	"# It will be overwritten by Patroni!\n"

static void
test_write_minimal(void **state)
{
	struct pgconf *c = build(NULL, NULL, ROLE_UNINITIALIZED);
	struct pgfacts f = { .major = 150000, .umask = 022 };
	struct tree *p = pgconf_server_params(c, &f);
	struct pgerr err;
	char want[2048];

	(void)state;
	/* neither file there: an error that names it */
	assert_false(pgconf_write_conf(c, p, NULL, &f, &err));
	assert_non_null(strstr(err.text, "postgresql.conf"));
	put_file("postgresql.conf", "# from initdb\n");
	assert_true(pgconf_write_conf(c, p, NULL, &f, &err));
	snprintf(want, sizeof(want),
	    HEAD
	    "include 'postgresql.base.conf'\n\n"
	    "cluster_name = 'demo'\nhot_standby = 'on'\n"
	    "listen_addresses = '127.0.0.1'\nmax_connections = '100'\n"
	    "max_locks_per_transaction = '64'\n"
	    "max_prepared_transactions = '0'\nmax_replication_slots = '10'\n"
	    "max_wal_senders = '10'\nmax_worker_processes = '8'\n"
	    "port = '5433'\ntrack_commit_timestamp = 'off'\n"
	    "wal_keep_size = '128MB'\nwal_level = 'replica'\n"
	    "wal_log_hints = 'on'\nhba_file = '%s/pg_hba.conf'\n"
	    "ident_file = '%s/pg_ident.conf'\n",
	    dir, dir);
	expect_file("postgresql.conf", want, 0600);
	expect_file("postgresql.base.conf", "# from initdb\n", 0644);
	/* not managed: not touched */
	assert_true(pgconf_write_hba(c, p, &f, &err));
	assert_true(pgconf_write_ident(c, p, &f, &err));
	assert_false(present("pg_hba.conf"));
	assert_false(present("pg_ident.conf"));
	tree_free(p);
	pgconf_free(c);
}

static void
test_write_rich(void **state)
{
	struct pgconf *c = build(
	    "{\"postgresql\":{\"custom_conf\":"
	    "\"/etc/o'x.conf\",\"pg_hba\":[\"local all all trust\",null,"
	    "\"host all all 0.0.0.0/0 md5\"],\"pg_ident\":[\"m a b\"],"
	    "\"parameters\":{\"TimeZone\":\"UTC\",\"my.ext\":true,"
	    "\"archive_command\":\"cp '%p' \\\\x\",\"work_mem\":\"1kB\","
	    "\"fsync\":\"maybe\",\"nonsense\":1,\"checkpoint_segments\":3,"
	    "\"ident_file\":\"own_ident\",\"jit\":null}}}",
	    NULL, ROLE_UNINITIALIZED);
	struct pgfacts f = { .major = 150000,
		.version = 150004,
		.force_hot_standby_feedback = true };
	struct tree *p = pgconf_server_params(c, &f);
	struct tree *r = json(
	    "{\"standby_mode\":\"on\","
	    "\"restore_command\":\"cp a 'b'\","
	    "\"recovery_target_timeline\":\"latest\",\"trigger_file\":\"x\","
	    "\"primary_conninfo\":{\"host\":\"h\",\"user\":\"u\","
	    "\"password\":\"pw\",\"application_name\":\"o'n\"}}");
	struct pgerr err;
	char want[4096];

	(void)state;
	assert_true(pgconf_write_conf(c, p, r, &f, &err));
	snprintf(want, sizeof(want),
	    HEAD
	    "include '/etc/o''x.conf'\n\n"
	    "TimeZone = 'UTC'\n"
	    "archive_command = 'cp ''%%p'' \\\\x'\n"
	    "cluster_name = 'demo'\nhot_standby = 'on'\n"
	    "hot_standby_feedback = 'on'\n"
	    "ident_file = '%s/own_ident'\n"
	    "listen_addresses = '127.0.0.1'\nmax_connections = '100'\n"
	    "max_locks_per_transaction = '64'\n"
	    "max_prepared_transactions = '0'\nmax_replication_slots = '10'\n"
	    "max_wal_senders = '10'\nmax_worker_processes = '8'\n"
	    "my.ext = 'True'\n"
	    "port = '5433'\ntrack_commit_timestamp = 'off'\n"
	    "wal_keep_size = '128MB'\nwal_level = 'replica'\n"
	    "wal_log_hints = 'on'\nwork_mem = '64'\n"
	    "hba_file = '%s/pg_hba.conf'\n\n"
	    "# recovery.conf\n"
	    "primary_conninfo = 'user=u passfile=%s/pgpass host=h "
	    "application_name=o\\\\''n'\n"
	    "recovery_target_timeline = 'latest'\n"
	    "restore_command = 'cp a ''b'''\n",
	    dir, dir, dir);
	expect_file("postgresql.conf", want, 0600);
	assert_false(present("postgresql.base.conf"));
	assert_true(pgconf_write_hba(c, p, &f, &err));
	expect_file("pg_hba.conf",
	    HEAD "local all all trust\nhost all all 0.0.0.0/0 md5\n", 0600);
	assert_null(pgconf_render_ident(c, p));
	tree_free(p);
	tree_free(r);
	pgconf_free(c);
}

static void
test_auto_conf(void **state)
{
	struct pgconf *c = build(NULL, NULL, ROLE_UNINITIALIZED);
	struct pgfacts f = { .major = 150000 };
	struct pgerr err;

	(void)state;
	assert_false(pgconf_auto_conf_dirty(c, &f));
	assert_true(pgconf_clean_auto_conf(c, &f, &err));
	put_file("postgresql.auto.conf",
	    "# keep\nwork_mem = '1MB'\n"
	    "  restore_command = 'x'\nprimary_conninfo='y'\n"
	    "recovery_targetx = 'z'\n");
	assert_true(pgconf_auto_conf_dirty(c, &f));
	assert_true(pgconf_clean_auto_conf(c, &f, &err));
	assert_false(pgconf_auto_conf_dirty(c, &f));
	expect_file("postgresql.auto.conf",
	    "# keep\nwork_mem = '1MB'\n"
	    "recovery_targetx = 'z'\n",
	    0600);
	put_file("postgresql.auto.conf", "restore_command = 'x'\n");
	assert_true(pgconf_auto_conf_dirty(c, &f));
	f.custom_bootstrap = f.keep_recovery_conf = true;
	assert_false(pgconf_auto_conf_dirty(c, &f));
	assert_true(pgconf_clean_auto_conf(c, &f, &err));
	f.custom_bootstrap = false;
	f.major = 110000;
	assert_false(pgconf_auto_conf_dirty(c, &f));
	assert_true(pgconf_clean_auto_conf(c, &f, &err));
	expect_file("postgresql.auto.conf", "restore_command = 'x'\n", 0600);
	pgconf_free(c);
}

static void
test_recovery_files(void **state)
{
	struct pgconf *c = build(NULL, NULL, ROLE_UNINITIALIZED);
	struct pgfacts f = { .major = 110000 };
	struct tree *r =
	    json("{\"standby_mode\":\"on\","
		 "\"recovery_target_timeline\":\"latest\",\"primary_conninfo\":"
		 "{\"host\":\"h\",\"password\":\"a b\",\"port\":\"1\"}}");
	struct pgerr err;
	char want[512];

	(void)state;
	assert_false(pgconf_has_recovery_files(c, 110000));
	assert_true(pgconf_write_recovery(c, r, &f, &err));
	snprintf(want, sizeof(want),
	    HEAD "primary_conninfo = 'passfile=%s/pgpass host=h port=1'\n"
		 "recovery_target_timeline = 'latest'\nstandby_mode = 'on'\n",
	    dir);
	expect_file("recovery.conf", want, 0600);
	assert_true(pgconf_has_recovery_files(c, 110000));
	f.major = 90600; /* no passfile there */
	assert_true(pgconf_write_recovery(c, r, &f, &err));
	expect_file("recovery.conf",
	    HEAD "primary_conninfo = 'password=a\\\\ b host=h port=1'\n"
		 "recovery_target_timeline = 'latest'\nstandby_mode = 'on'\n",
	    0600);
	f.major = 150000;
	put_file("recovery.signal", "");
	assert_true(pgconf_write_recovery(c, r, &f, &err));
	expect_file("standby.signal", "", 0600);
	assert_false(present("recovery.signal"));
	tree_remove(r, "standby_mode");
	assert_true(pgconf_write_recovery(c, r, &f, &err));
	assert_false(present("standby.signal"));
	assert_true(present("recovery.signal"));
	assert_true(pgconf_remove_recovery(c, &err));
	assert_false(present("recovery.signal") || present("recovery.conf"));
	assert_true(pgconf_remove_recovery(c, &err));
	tree_free(r);
	pgconf_free(c);
}

static void
test_backup_and_restore(void **state)
{
	struct pgconf *c = build(NULL, NULL, ROLE_UNINITIALIZED);
	struct pgfacts f = { .major = 150000 };
	struct pgerr err;
	char path[128];

	(void)state;
	put_file("postgresql.conf", "a");
	put_file("postgresql.base.conf", "b");
	put_file("pg_hba.conf", "c");
	assert_true(pgconf_backup(c, NULL, &f, &err));
	expect_file("postgresql.conf.backup", "a", 0600);
	expect_file("postgresql.base.conf.backup", "b", 0600);
	assert_false(present("pg_ident.conf.backup"));
	snprintf(path, sizeof(path), "%s/postgresql.conf", dir);
	unlink(path);
	put_file("pg_hba.conf", "changed");
	assert_true(pgconf_restore(c, NULL, &f, &err));
	expect_file("postgresql.conf", "a", 0600);
	assert_true(present("pg_hba.conf"));
	expect_file("pg_ident.conf", "", 0600);
	pgconf_free(c);
}

static void
test_hba_extras(void **state)
{
	struct pgconf *c = build(NULL, NULL, ROLE_UNINITIALIZED);
	struct pgfacts f = { .major = 150000 };
	struct tree *lines = json("[\"host x\",\"host y\"]");
	struct tree *addresses = json("[\"127.0.0.1\"]");
	struct pgerr err;
	char *s;

	(void)state;
	put_file("pg_hba.conf", "local\n");
	assert_true(pgconf_append_hba(c, lines, &f, &err));
	expect_file("pg_hba.conf", "local\n\nhost x\nhost y\n", 0600);
	s = pgconf_render_trust_hba(c, addresses);
	assert_string_equal(s,
	    HEAD "local\treplication\trepl\t\ttrust\n"
		 "local\tall\tpostgres\t\ttrust\n"
		 "host\treplication\trepl\t127.0.0.1/32\ttrust\n"
		 "host\tall\tpostgres\t127.0.0.1/32\ttrust\n");
	free(s);
	tree_free(lines);
	tree_free(addresses);
	pgconf_free(c);
}

/* A link stays a link, and a full or missing directory is told. */
static void
test_atomic_write(void **state)
{
	char target[128], link_path[128];
	struct stat st, again;
	struct pgerr err;

	(void)state;
	put_file("real", "old");
	snprintf(target, sizeof(target), "%s/real", dir);
	snprintf(link_path, sizeof(link_path), "%s/link", dir);
	assert_int_equal(symlink(target, link_path), 0);
	assert_true(pgfile_write(link_path, "new", 3, 0644, &err));
	expect_file("real", "new", 0644);
	assert_int_equal(lstat(link_path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	/* the same content again: the same inode */
	assert_int_equal(stat(target, &st), 0);
	assert_true(pgfile_write(target, "new", 3, 0644, &err));
	assert_int_equal(stat(target, &again), 0);
	assert_true(st.st_ino == again.st_ino);
	assert_true(pgfile_write(target, "new", 3, 0600, &err));
	expect_file("real", "new", 0600);
	assert_false(pgfile_write("/dev/null/x", "", 0, 0600, &err));
	assert_non_null(strstr(err.text, "/dev/null/x"));
}

static void
test_directories(void **state)
{
	struct pgconf *c = build(NULL, NULL, ROLE_UNINITIALIZED);
	struct tree *p;
	struct pgerr err;
	char text[256];

	(void)state;
	snprintf(text, sizeof(text),
	    "{\"unix_socket_directories\":"
	    "\"%s.sock/a, @abstract\"}",
	    dir);
	p = json(text);
	assert_true(pgconf_check_directories(c, p, &err));
	snprintf(text, sizeof(text), "%s.sock/a", dir);
	assert_int_equal(rmdir(text), 0);
	*strrchr(text, '/') = '\0';
	assert_int_equal(rmdir(text), 0);
	tree_free(p);
	p = json("{\"unix_socket_directories\":\"/dev/null\"}");
	assert_false(pgconf_check_directories(c, p, &err));
	assert_string_equal(err.text,
	    "'/dev/null' is defined in "
	    "unix_socket_directories, is not a directory");
	tree_free(p);
	pgconf_free(c);
}

/* Unfinished files of ours go, whatever else is there stays. */
static void
test_sweep(void **state)
{
	static const struct {
		const char *name;
		bool goes;
	} files[] = { { "postgresql.conf.new.a1B2c3", true },
		{ "patroni.dynamic.json.new.ZZZZZZ", true },
		{ "standby.signal.new.000000", true },
		{ "pgpass.new.abcdef", true }, { "postgresql.conf", false },
		{ "postgresql.conf.backup", false },
		{ "postgresql.conf.sample", false },
		{ "notes.txt.new.abcdef", false },
		{ "postgresql.conf.new.abc", false },
		{ "postgresql.conf.new.abc-ef", false },
		{ ".new.abcdef", false } };
	struct pgconf *c = build(NULL, NULL, ROLE_REPLICA);
	char path[256];
	FILE *f;

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i].name);
		assert_non_null(f = fopen(path, "w"));
		assert_int_equal(fclose(f), 0);
	}
	snprintf(path, sizeof(path), "%s/pg_hba.conf.new.linked", dir);
	assert_int_equal(symlink("/dev/null", path), 0);
	pgconf_sweep(c);
	assert_int_equal(unlink(path), 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i].name);
		if ((unlink(path) != 0) != files[i].goes)
			fail_msg("%s: %s", files[i].name,
			    files[i].goes ? "still there" : "gone");
	}
	pgconf_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_clamp_goes_into_document),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_choose),
		cmocka_unit_test_setup_teardown(
		    test_cache_file, setup, teardown),
		cmocka_unit_test(test_params_by_version),
		cmocka_unit_test(test_synchronous_names),
		cmocka_unit_test(test_start_rule),
		cmocka_unit_test(test_argv),
		cmocka_unit_test_setup_teardown(
		    test_write_minimal, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_write_rich, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_auto_conf, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_recovery_files, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_backup_and_restore, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_hba_extras, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_atomic_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_directories, setup, teardown),
	};

	umask(022);
	strcpy(dir, "/tmp/test_pgconf.none");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
