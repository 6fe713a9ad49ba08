/*
 * test_pgconf_keys.c: what single keys of the postgresql section do, each in a
 * table: credentials, names of programs and files, overlays by role, local
 * sockets (spec/config.md 2.5, 4.6, 12.3, 13).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helpers/json.h"
#include "helpers/postgres/pgconf.h"

static struct tree *
json(const char *text)
{
	char why[128];
	struct tree *t = tree_from_json(text, strlen(text), why, sizeof why);

	if (t == NULL)
		fail_msg("%s: %s", text, why);
	return t;
}

/* postgresql: JSON of the section, merged into a minimal one. */
static struct pgconf *
build(const char *postgresql, enum pg_role role)
{
	struct tree *t = json(
	    "{\"name\":\"n\",\"scope\":\"s\",\"restapi\":{\"listen\":\"127.0.0.1:1\"},"
	    "\"postgresql\":{\"listen\":\"127.0.0.1:5433\",\"data_dir\":\"/d\","
	    "\"pgpass\":\"/p\",\"bin_dir\":\"/bin/dir\",\"authentication\":{"
	    "\"superuser\":{\"username\":\"su\",\"password\":\"sp\"},"
	    "\"replication\":{\"username\":\"re\",\"password\":\"rp\"},"
	    "\"rewind\":{\"username\":\"rw\",\"password\":\"wp\"}}}}");
	struct tree *o = json(postgresql), *w = tree_map();
	struct pgerr err;
	struct pgconf *c;

	tree_set(w, "postgresql", o);
	assert_true(tree_patch(t, w, NULL));
	tree_free(w);
	c = pgconf_build(t, NULL, role, &err);
	if (c == NULL)
		fail_msg("%s", err.text);
	tree_free(t);
	return c;
}

/* Every credential key of every account reaches its connection under libpq's
 * name, and what is none of them does not. */
static void
test_credentials(void **state)
{
	static const char *const keys[][2] = { { "username", "user" },
		{ "password", "password" }, { "sslmode", "sslmode" },
		{ "sslcert", "sslcert" }, { "sslkey", "sslkey" },
		{ "sslpassword", "sslpassword" },
		{ "sslrootcert", "sslrootcert" }, { "sslcrl", "sslcrl" },
		{ "sslcrldir", "sslcrldir" }, { "gssencmode", "gssencmode" },
		{ "channel_binding", "channel_binding" },
		{ "sslnegotiation", "sslnegotiation" } };
	static const struct {
		const char *account;
		enum pgconn_use use;
	} accounts[] = { { "superuser", PGCONN_HEARTBEAT },
		{ "superuser", PGCONN_RESTAPI },
		{ "replication", PGCONN_LOCAL_REPLICATION },
		{ "replication", PGCONN_LEADER_REPLICATION },
		{ "rewind", PGCONN_LEADER } };
	struct view_member m = { .conn_url = "postgres://10.0.0.9:5999/db" };
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof accounts / sizeof *accounts; i++)
		for (k = 0; k < sizeof keys / sizeof *keys; k++) {
			char text[256];
			struct pgconf *c;
			struct tree *t;

			snprintf(text, sizeof text,
			    "{\"authentication\":{\"%s\":{\"%s\":\"x y\","
			    "\"options\":\"-c evil=1\",\"connect_timeout\":99}}}",
			    accounts[i].account, keys[k][0]);
			c = build(text, ROLE_UNINITIALIZED);
			t = pgconf_connection(
			    c, accounts[i].use, &m, NULL, 170000);
			if (strcmp(tree_path_text(t, keys[k][1], ""), "x y") !=
			    0)
				fail_msg(
				    "%s.%s", accounts[i].account, keys[k][0]);
			assert_string_equal(
			    tree_path_text(t, "connect_timeout", ""), "3");
			assert_null(
			    strstr(tree_path_text(t, "options", ""), "evil"));
			tree_free(t);
			pgconf_free(c);
		}
}

/* Keys that a version does not know are not given to its programs. */
static void
test_credentials_by_version(void **state)
{
	static const struct {
		const char *key;
		uint32_t from;
	} gates[] = { { "target_session_attrs", 100000 },
		{ "gssencmode", 120000 }, { "channel_binding", 130000 },
		{ "sslpassword", 130000 }, { "sslcrldir", 140000 },
		{ "sslnegotiation", 170000 }, { "sslmode", 0 },
		{ "sslcert", 0 }, { "krbsrvname", 0 } };
	static const uint32_t versions[] = { 90300, 90400, 90500, 90600, 100000,
		110000, 120000, 130000, 140000, 150000, 160000, 170000,
		180000 };
	size_t i, k;

	(void)state;
	for (k = 0; k < sizeof gates / sizeof *gates; k++)
		for (i = 0; i < sizeof versions / sizeof *versions; i++) {
			struct tree *t = tree_map();
			char *s, want[64];

			tree_set(t, "host", tree_text("h"));
			tree_set(t, gates[k].key, tree_text("v"));
			s = conninfo_format(t, versions[i], NULL);
			snprintf(want, sizeof want, "%s=v", gates[k].key);
			if ((strstr(s, want) != NULL) !=
			    (versions[i] >= gates[k].from))
				fail_msg("%s in %u: %s", gates[k].key,
				    versions[i], s);
			free(s);
			tree_free(t);
		}
}

static void
test_programs(void **state)
{
	static const char *const programs[] = { "pg_ctl", "initdb",
		"pg_controldata", "pg_basebackup", "postgres", "pg_isready",
		"pg_rewind", NULL };
	char path[PATH_SIZE], text[128], want[64];
	struct pgconf *c;

	(void)state;
	for (int i = 0; programs[i] != NULL; i++) {
		snprintf(text, sizeof text, "{\"bin_name\":{\"%s\":\"mine\"}}",
		    programs[i]);
		c = build(text, ROLE_UNINITIALIZED);
		for (int k = 0; programs[k] != NULL; k++) {
			pgconf_program(c, programs[k], path);
			snprintf(want, sizeof want, "/bin/dir/%s",
			    k == i ? "mine" : programs[k]);
			assert_string_equal(path, want);
		}
		pgconf_free(c);
	}
	c = build(
	    "{\"bin_dir\":\"\",\"bin_name\":{\"initdb\":\"/abs/initdb\"}}",
	    ROLE_UNINITIALIZED);
	pgconf_program(c, "initdb", path);
	assert_string_equal(path, "/abs/initdb");
	pgconf_program(c, "postgres", path);
	assert_string_equal(path, "postgres");
	pgconf_free(c);
	c = build(
	    "{\"bin_name\":{\"initdb\":\"/abs/initdb\"}}", ROLE_UNINITIALIZED);
	pgconf_program(c, "initdb", path);
	assert_string_equal(path, "/abs/initdb");
	pgconf_free(c);
}

static void
test_files(void **state)
{
	char path[PATH_SIZE];
	struct pgfacts f = { .major = 150000 };
	struct pgconf *c;
	struct tree *p;
	char *text;

	(void)state;
	c = build("{\"config_base_name\":\"main\",\"config_dir\":\"/c\"}",
	    ROLE_UNINITIALIZED);
	pgconf_config_file(c, path);
	assert_string_equal(path, "/c/main.conf");
	p = pgconf_server_params(c, &f);
	text = pgconf_render(c, p, NULL, &f);
	assert_non_null(strstr(text, "include 'main.base.conf'\n"));
	assert_non_null(strstr(text, "hba_file = '/c/pg_hba.conf'\n"));
	assert_non_null(strstr(text, "ident_file = '/c/pg_ident.conf'\n"));
	free(text);
	tree_free(p);
	pgconf_free(c);
}

/* parameters_, pg_hba_ and pg_ident_ of each role in that role alone. */
static void
test_overlays(void **state)
{
	static const struct {
		enum pg_role role;
		const char *word;
	} roles[] = { { ROLE_PRIMARY, "primary" }, { ROLE_REPLICA, "replica" },
		{ ROLE_STANDBY_LEADER, "standby_leader" },
		{ ROLE_UNINITIALIZED, NULL } };
	static const char *const keys[3][3] = {
		{ "parameters_primary", "pg_hba_primary", "pg_ident_primary" },
		{ "parameters_replica", "pg_hba_replica", "pg_ident_replica" },
		{ "parameters_standby_leader", "pg_hba_standby_leader",
		    "pg_ident_standby_leader" }
	};
	struct pgfacts f = { .major = 150000 };
	size_t i, k;

	(void)state;
	for (i = 0; i < 3; i++)
		for (k = 0; k < 4; k++) {
			bool mine = roles[k].word == roles[i].word;
			char text[512], *hba, *ident;
			struct pgconf *c;
			struct tree *p;

			snprintf(text, sizeof text,
			    "{\"pg_hba\":[\"local all all peer\"],\"pg_ident\":[\"m a b\"],"
			    "\"%s\":{\"work_mem\":\"7MB\",\"port\":1},"
			    "\"%s\":[\"local all all trust\"],"
			    "\"%s\":[\"m c d\"]}",
			    keys[i][0], keys[i][1], keys[i][2]);
			c = build(text, roles[k].role);
			p = pgconf_server_params(c, &f);
			hba = pgconf_render_hba(c, p, &f);
			ident = pgconf_render_ident(c, p);
			assert_string_equal(
			    tree_path_text(p, "work_mem", "none"),
			    mine ? "7MB" : "none");
			assert_string_equal(
			    tree_path_text(p, "port", ""), "5433");
			assert_int_equal(strstr(hba, "trust") != NULL, mine);
			assert_int_equal(strstr(hba, "peer") != NULL, !mine);
			assert_int_equal(strstr(ident, "m c d") != NULL, mine);
			free(hba);
			free(ident);
			tree_free(p);
			pgconf_free(c);
		}
}

/* use_unix_socket for superuser connections, use_unix_socket_repl for those of
 * replication; without unix_socket_directories libpq knows where (13.2). */
static void
test_sockets(void **state)
{
	static const struct {
		const char *conf, *directories, *super, *repl;
	} cases[] = { { "{}", "/run/pg", "localhost", "localhost" },
		{ "{\"use_unix_socket\":true}", "/run/pg", "/run/pg",
		    "localhost" },
		{ "{\"use_unix_socket_repl\":true}", "/run/pg", "localhost",
		    "/run/pg" },
		{ "{\"use_unix_socket\":\"on\",\"use_unix_socket_repl\":\"on\"}",
		    "rel, /a/b ,/c", "/a/b", "/a/b" },
		{ "{\"use_unix_socket\":true}", "rel,other", "localhost",
		    "localhost" },
		{ "{\"use_unix_socket\":true}", NULL, "", "localhost" } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pgconf *c = build(cases[i].conf, ROLE_UNINITIALIZED);
		struct tree *p = tree_map();
		struct tree *t;

		if (cases[i].directories != NULL)
			tree_set(p, "unix_socket_directories",
			    tree_text(cases[i].directories));
		t = pgconf_connection(c, PGCONN_HEARTBEAT, NULL, p, 150000);
		assert_string_equal(
		    tree_path_text(t, "host", ""), cases[i].super);
		assert_string_equal(tree_path_text(t, "port", ""), "5433");
		tree_free(t);
		t = pgconf_connection(
		    c, PGCONN_LOCAL_REPLICATION, NULL, p, 150000);
		assert_string_equal(
		    tree_path_text(t, "host", ""), cases[i].repl);
		tree_free(t);
		tree_free(p);
		pgconf_free(c);
	}
}

/* A running server is spoken to where it listens (10.6 step 6). */
static void
test_address_in_force(void **state)
{
	struct pgconf *old =
	    build("{\"listen\":\"10.1.1.1:5001\",\"use_unix_socket\":true}",
		ROLE_UNINITIALIZED);
	struct pgconf *c =
	    build("{\"listen\":\"10.2.2.2:5002\",\"use_unix_socket\":true}",
		ROLE_UNINITIALIZED);
	struct tree *was = tree_map(), *now = tree_map(), *t;

	(void)state;
	tree_set(was, "unix_socket_directories", tree_text("/old"));
	tree_set(now, "unix_socket_directories", tree_text("/new"));
	assert_string_equal(c->conn_url, "postgres://10.2.2.2:5002/postgres");
	pgconf_keep_address(c, old, was);
	assert_string_equal(c->conn_url, "postgres://10.1.1.1:5001/postgres");
	assert_string_equal(c->port, "5002");
	t = pgconf_connection(c, PGCONN_HEARTBEAT, NULL, now, 150000);
	assert_string_equal(tree_path_text(t, "host", ""), "/old");
	assert_string_equal(tree_path_text(t, "port", ""), "5001");
	tree_free(t);
	t = pgconf_connection(c, PGCONN_LOCAL_REPLICATION, NULL, now, 150000);
	assert_string_equal(tree_path_text(t, "host", ""), "10.1.1.1");
	tree_free(t);
	pgconf_free(old);
	/* once more, with another new one: still the first */
	old = c;
	c = build("{\"listen\":\"*:5003\",\"connect_address\":\"pub:6\","
		  "\"use_unix_socket\":true}",
	    ROLE_UNINITIALIZED);
	pgconf_keep_address(c, old, now);
	t = pgconf_connection(c, PGCONN_HEARTBEAT, NULL, now, 150000);
	assert_string_equal(tree_path_text(t, "host", ""), "/old");
	assert_string_equal(tree_path_text(t, "port", ""), "5001");
	tree_free(t);
	/* what the operator says is public needs no restart */
	assert_string_equal(c->conn_url, "postgres://pub:6/postgres");
	pgconf_free(old);
	pgconf_free(c);
	tree_free(was);
	tree_free(now);
}

static void
test_kerberos(void **state)
{
	struct pgconf *c =
	    build("{\"krbsrvname\":\"pgsvc\"}", ROLE_UNINITIALIZED);
	struct pgfacts f = { .major = 150000, .version = 150000 };
	struct view_member m = { .conn_url = "postgres://h:1/db", .name = "l" };
	struct pgtarget target = { .node = &m };
	struct tree *r = pgconf_recovery_settings(c, &f, &target);

	(void)state;
	assert_string_equal(
	    tree_path_text(r, "primary_conninfo.krbsrvname", ""), "pgsvc");
	tree_free(r);
	pgconf_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_credentials_by_version),
		cmocka_unit_test(test_programs), cmocka_unit_test(test_files),
		cmocka_unit_test(test_overlays), cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_address_in_force),
		cmocka_unit_test(test_kerberos) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
