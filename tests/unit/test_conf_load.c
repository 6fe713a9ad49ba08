/*
 * test_conf_load.c: files, directory, environment, merge, legacy forms,
 * notes, reload, and what each process is given.
 */
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/scripts.h"
#include "../../ipc/version.h"
#include "../../master/conf/conf.h"

static char dir[] = "/tmp/test_conf_XXXXXX";

#define BASE                                                            \
	"name: n1\nscope: s1\n"                                         \
	"etcd3: {hosts: '127.0.0.1:2379', password: storesecret}\n"     \
	"restapi:\n  listen: 127.0.0.1:8008\n"                          \
	"  authentication: {username: u, password: restsecret}\n"       \
	"  cafile: /ca\n"                                               \
	"postgresql:\n  listen: 127.0.0.1:5432\n  data_dir: /data/pg\n" \
	"  authentication:\n"                                           \
	"    replication: {username: r, password: replsecret}\n"        \
	"    superuser: {username: p, password: supersecret}\n"

static const char *
file(const char *name, const char *text)
{
	static char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return path;
}

static bool
noted(const struct conf_notes *notes, const char *text)
{
	for (uint32_t i = 0; i < notes->n; i++)
		if (strstr(notes->v[i].text, text) != NULL)
			return true;
	return false;
}

static struct conf *
load(const char *text, struct conf_notes *notes)
{
	return conf_load(file("patroni.yml", text), NULL, 0, notes);
}

static struct conf *
load_ok(const char *text)
{
	struct conf_notes notes = { 0 };
	struct conf *c = load(text, &notes);

	if (c == NULL)
		fail_msg("%s", notes.n > 0 ? notes.v[0].text : "?");
	conf_notes_free(&notes);
	return c;
}

static void
assert_refused(const char *text, const char *why)
{
	struct conf_notes notes = { 0 };
	struct conf *c = load(text, &notes);

	assert_null(c);
	assert_true(notes.errors > 0);
	if (!noted(&notes, why))
		fail_msg("lacks \"%s\": %s", why, notes.v[0].text);
	conf_notes_free(&notes);
}

/* The text of a tree, to look for secrets. */
static bool
mentions(const struct tree *t, const char *word)
{
	if (t->type == TREE_TEXT && strstr(t->u.s, word) != NULL)
		return true;
	for (uint32_t i = 0; i < tree_count(t); i++)
		if (mentions(tree_child(t, i), word))
			return true;
	return false;
}

static void
test_base(void **state)
{
	struct conf *c = load_ok(BASE "    rewind: {username: x, junk: 1}\n");

	(void)state;
	assert_string_equal(
	    tree_path_text(c->effective, "restapi.auth", ""), "u:restsecret");
	assert_null(
	    tree_path(c->effective, "postgresql.authentication.rewind.junk"));
	assert_string_equal(c->dir, dir);
	assert_string_equal(conf_store(c), "etcd3");
	assert_string_equal(conf_user(c), "_patroni");
	assert_null(conf_database_user(c));
	conf_free(c);
}

static void
test_refused(void **state)
{
	(void)state;
	assert_refused("", "does not contain a dict");
	assert_refused("{}", "Config is empty.");
	assert_refused("- 1\n", "invalid config file");
	assert_refused("a: [\n", "line 2");
	assert_refused("scope: s\n", "name is not defined");
	assert_refused("name: __patroni_strict_sync_replica_placeholder__\n",
	    "Node 'name' can't be set to");
	assert_refused(BASE "  parameters: [1]\n",
	    "postgresql.parameters is not a dictionary");
	assert_refused(BASE "    rewind:\n",
	    "postgresql.authentication.rewind: wrong value \"None\"");
	assert_refused(BASE "ctl: {authentication: {username: u}}\n",
	    "ctl.authentication.password is not defined");
	assert_refused(BASE "citus: {group: -1, database: d}\n",
	    "line 14: citus.group: wrong value \"-1\", accepted: an integer, "
	    "0 or more");
	assert_refused("name: n\nscope: s\nrestapi: {listen: 'h:1'}\n"
		       "postgresql: {listen: 'h:1', data_dir: /d}\n",
	    "Available implementations: " STORE_IMPLEMENTATIONS);
	assert_refused("name: n\nscope: s\nrestapi: {listen: 'h:1'}\n"
		       "postgresql: {listen: 'h:1', data_dir: /d}\n"
		       "raft: {self_addr: 'h:2'}\n",
	    "raft: this build has no driver for it");
	assert_refused(BASE "watchdog: 5\n",
	    "line 14: watchdog: wrong value \"5\", accepted: a mapping");
}

static void
test_notes(void **state)
{
	static const struct {
		const char *text, *note;
	} t[] = {
		{ "postgresl: {}\n",
		    "patroni.yml line 14: unknown key postgresl, did you mean "
		    "postgresql?" },
		{ "watchdog:\n  devise: /x\n",
		    "line 15: unknown key watchdog.devise, did you mean "
		    "watchdog.device?" },
		{ "zzzzzzz: 1\n", "unknown key zzzzzzz" },
		{ "ttl: 30\n", "ttl has no effect here" },
		{ "watchdog: {mode: sometimes}\n",
		    "Watchdog mode sometimes not recognized, disabling "
		    "watchdog" },
		{ "log: {level: LOUD}\n",
		    "line 14: log.level: wrong value \"LOUD\", accepted: one "
		    "of: DEBUG INFO" },
		{ "thread_pool_size: x\n",
		    "Failed to parse thread_pool_size value \"x\"" },
		{ "tags: {nofailover: true, failover_priority: 2}\n",
		    "Conflicting configuration between nofailover: True and "
		    "failover_priority: 2. Defaulting to nofailover: True" },
		{ "tags: {nosync: false, sync_priority: 0}\n",
		    "Conflicting configuration between nosync: False and "
		    "sync_priority: 0. Defaulting to nosync: False" },
		{ "bootstrap:\n  dcs:\n    postgresql:\n      use_pg_rewnd: on\n",
		    "unknown key bootstrap.dcs.postgresql.use_pg_rewnd" },
	};
	char text[2048];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct conf_notes notes = { 0 };
		struct conf *c;

		snprintf(text, sizeof(text), "%s%s", BASE, t[i].text);
		c = load(text, &notes);
		assert_non_null(c);
		if (!noted(&notes, t[i].note))
			fail_msg("lacks \"%s\": %s", t[i].note,
			    notes.n > 0 ? notes.v[0].text : "no note");
		conf_notes_free(&notes);
		conf_free(c);
	}
}

static void
test_quiet(void **state)
{
	static const char *const t[] = { "tags: {mine: x, nofailover: true}\n",
		"x-anchors: {a: 1}\n",
		("bootstrap:\n  method: wal\n  wal: {command: c, odd: 1}\n"
		 "  dcs: {postgresql: {wal_e: {command: c}, callbacks: {}}}\n"),
		"log: {level: debug}\n", "thread_stack_size: 512kB\n" };
	char text[2048];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct conf_notes notes = { 0 };
		struct conf *c;

		snprintf(text, sizeof(text), "%s%s", BASE, t[i]);
		c = load(text, &notes);
		assert_non_null(c);
		if (notes.n > 0)
			fail_msg("%s", notes.v[0].text);
		conf_notes_free(&notes);
		conf_free(c);
	}
}

/* Also spec/ha.md 20.1. */
static void
test_types(void **state)
{
	struct conf *c = load_ok(
	    "name: 12\n"
	    "scope: s1\n"
	    "etcd3: {host: h, port: '2379', password: 0123}\n"
	    "restapi: {listen: 'h:1', allowlist_include_members: 'yes',\n"
	    "  verify_client: Required}\n"
	    "watchdog: {mode: off, safety_margin: '-1', fence: 'off'}\n"
	    "log: {mode: 0644, level: warning}\n"
	    "tags:\n"
	    "postgresql: {listen: 'h:1', data_dir: /d, pg_ctl_timeout: x,\n"
	    "  authentication: {replication: {username: r}},\n"
	    "  use_pg_rewind: 'on', pg_hba: }\n");
	const struct tree *e = c->effective;
	struct log_settings s;

	(void)state;
	assert_string_equal(tree_path_text(e, "name", ""), "12");
	assert_int_equal(tree_path_int(e, "etcd3.port", 0), 2379);
	assert_string_equal(tree_path_text(e, "etcd3.password", ""), "83");
	assert_true(
	    tree_path_bool(e, "restapi.allowlist_include_members", false));
	assert_string_equal(
	    tree_path_text(e, "restapi.verify_client", ""), "required");
	assert_string_equal(tree_path_text(e, "watchdog.mode", ""), "off");
	assert_int_equal(tree_path_int(e, "watchdog.safety_margin", 0), -1);
	assert_false(tree_path_bool(e, "watchdog.fence", true));
	assert_int_equal(tree_path_int(e, "log.mode", 0), 420);
	assert_null(tree_path(e, "postgresql.pg_ctl_timeout"));
	assert_null(tree_path(e, "postgresql.pg_hba"));
	assert_true(tree_path_bool(e, "postgresql.use_pg_rewind", false));
	conf_log_settings(c, PROC_MASTER, &s);
	assert_int_equal(s.level, LOG_LVL_WARNING);
	assert_int_equal(s.json, 0);
	conf_free(c);
}

static void
test_legacy(void **state)
{
	struct conf *c = load_ok(
	    "scope: s1\nzookeeper: {exhibitor: {hosts: "
	    "[a], port: 8181}}\nrestapi: {listen: 'h:1', auth: 'u:p:q'}\n"
	    "etcd3: {host: h}\n"
	    "postgresql: {name: old, listen: 'h:1', data_dir: /d,\n"
	    "  replication: {username: r}, pg_rewind: {username: rw},\n"
	    "  create_replica_method: [wal_e]}\n");
	const struct tree *e = c->effective;

	(void)state;
	assert_string_equal(tree_path_text(e, "name", ""), "old");
	assert_string_equal(conf_store(c), "etcd3"); /* the first */
	assert_int_equal(tree_path_int(e, "exhibitor.port", 0), 8181);
	assert_null(tree_get(e, "zookeeper"));
	assert_string_equal(
	    tree_path_text(
		e, "postgresql.authentication.replication.username", ""),
	    "r");
	assert_string_equal(
	    tree_path_text(
		e, "postgresql.authentication.superuser.username", ""),
	    "rw");
	assert_true(tree_path_bool(e, "postgresql.use_pg_rewind", false));
	assert_string_equal(
	    tree_path_text(e, "restapi.authentication.password", ""), "p:q");
	assert_int_equal(
	    tree_count(tree_path(e, "postgresql.create_replica_methods")), 1);
	conf_free(c);
}

static void
test_directory(void **state)
{
	struct conf_notes notes = { 0 };
	struct conf *c;
	char sub[128];

	(void)state;
	snprintf(sub, sizeof(sub), "%s/d", dir);
	assert_int_equal(mkdir(sub, 0700), 0);
	file("d/10.yml", BASE "tags: {a: 1, b: 2}\n");
	file("d/20.yaml", "tags: {b: 3, a: }\npostgrsql: {}\n");
	file("d/30.conf", "name: not-read\n");
	c = conf_load(sub, NULL, 0, &notes);
	assert_non_null(c);
	assert_int_equal(tree_path_int(c->effective, "tags.b", 0), 3);
	assert_null(tree_path(c->effective, "tags.a"));
	assert_string_equal(tree_path_text(c->effective, "name", ""), "n1");
	assert_true(noted(&notes, "d/20.yaml line 2: unknown key postgrsql"));
	assert_string_equal(c->dir, sub);
	conf_free(c);
	conf_notes_free(&notes);
	assert_null(conf_load("/dev/null", NULL, 0, &notes));
	assert_true(noted(&notes, "invalid config path"));
	conf_notes_free(&notes);
	assert_null(conf_load("/does/not/exist", NULL, 0, &notes));
	assert_true(noted(&notes, "Config is empty."));
	conf_notes_free(&notes);
}

static void
test_env(void **state)
{
	static const struct {
		const char *name, *value, *path, *form;
	} t[] = {
		{ "NAME", "n9", "name", "n9" },
		{ "SCOPE", "", "scope", NULL },
		{ "LOG_LEVEL", "DEBUG", "log.level", "DEBUG" },
		{ "LOGLEVEL", "ERROR", "log.level", "DEBUG" },
		{ "LOGFORMAT", "%(message)s", "log.format", "%(message)s" },
		{ "LOG_MODE", "0644", "log.mode", "420" },
		{ "LOG_FILE_NUM", "x", "log.file_num", NULL },
		{ "RESTAPI_USERNAME", "u", "restapi.authentication.username",
		    "u" },
		{ "SUPERUSER_PASSWORD", "p",
		    "postgresql.authentication.superuser.password", "p" },
		{ "POSTGRESQL_BIN_IS_READY", "x",
		    "postgresql.bin_name.pg_isready", "x" },
		{ "ETCD3_HOST", "h:1", "etcd3.host", "h:1" },
		{ "ETCD3_USERNAME", "eu", "etcd3.username", "eu" },
		{ "ETCD_PASSWORD", "x", "etcd", NULL },
		{ "CONSUL_PORT", "8501", "consul.port", "8501" },
		{ "CONSUL_SCHEME", "https", "consul.scheme", "https" },
		{ "CONSUL_VERIFY", "maybe", "consul.verify", NULL },
		{ "ZOOKEEPER_USE_SSL", "false", "zookeeper.use_ssl", "False" },
		{ "KUBERNETES_CACERT", "", "kubernetes.cacert", "" },
		{ "FOO_HOST", "f", "foo.host", "f" },
		{ "CITUS_GROUP", "2", "citus.group", "2" },
		{ "CITUS_HOST", "2", "citus.host", NULL },
		{ "ETCD3_HOSTS", "[::1]:2379", "etcd3.hosts", NULL },
		{ "RAFT_MIN_TIMEOUT", "0.5", "raft.min_timeout", "0.5" },
	};
	struct conf_notes notes = { 0 };
	struct conf_env *env;
	char name[64], form[64];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		snprintf(name, sizeof(name), "PATRONI_%s", t[i].name);
		setenv(name, t[i].value, 1);
	}
	setenv("PATRONI_ZOOKEEPER_HOSTS", "'a:1','b:2'", 1);
	setenv("PATRONI_KUBERNETES_RETRIABLE_HTTP_CODES", "500,503", 1);
	setenv("PATRONI_KUBERNETES_LABELS", "app: x, role: y", 1);
	setenv("PATRONI_KUBERNETES_SET_ACLS", "", 1);
	env = conf_env_take(&notes);
	assert_non_null(env);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const struct tree *v = tree_path(conf_env_tree(env), t[i].path);

		if (t[i].form == NULL) {
			if (v != NULL)
				fail_msg("%s is set", t[i].path);
			continue;
		}
		if (v == NULL)
			fail_msg("%s is not set", t[i].path);
		tree_scalar_text(v, form, sizeof(form));
		assert_string_equal(form, t[i].form);
		snprintf(name, sizeof(name), "PATRONI_%s", t[i].name);
		assert_null(getenv(name));
	}
	assert_int_equal(
	    tree_count(tree_path(conf_env_tree(env), "zookeeper.hosts")), 2);
	assert_int_equal(tree_child(tree_path(conf_env_tree(env),
					"kubernetes.retriable_http_codes"),
			     1)
			     ->u.i,
	    503);
	assert_string_equal(
	    tree_path_text(conf_env_tree(env), "kubernetes.labels.role", ""),
	    "y");
	assert_int_equal(
	    tree_path(conf_env_tree(env), "kubernetes.set_acls")->type,
	    TREE_MAP);
	assert_true(noted(&notes,
	    "Exception when parsing list "
	    "PATRONI_ETCD3_HOSTS"));
	conf_env_free(env);
	conf_notes_free(&notes);
}

static void
test_env_over_file(void **state)
{
	struct conf_notes notes = { 0 };
	struct conf_env *env;
	struct conf *c;

	(void)state;
	setenv("PATRONI_NAME", "other", 1);
	setenv("PATRONI_RESTAPI_LISTEN", "h:9", 1);
	setenv("PATRONI_CONFIGURATION", "{name: doc, scope: x}", 1);
	env = conf_env_take(&notes);
	c = conf_load(file("patroni.yml", BASE), env, 0, &notes);
	assert_non_null(c);
	assert_string_equal(tree_path_text(c->effective, "name", ""), "other");
	assert_string_equal(
	    tree_path_text(c->effective, "restapi.cafile", ""), "/ca");
	conf_free(c);
	c = conf_load(NULL, env, CONF_LOAD_CTL, &notes);
	assert_non_null(c);
	assert_string_equal(tree_path_text(c->effective, "name", ""), "doc");
	assert_null(tree_get(c->effective, "restapi"));
	assert_false(c->from_file);
	conf_free(c);
	conf_env_free(env);
	conf_notes_free(&notes);
}

static void
test_parts(void **state)
{
	static const struct {
		enum proc proc;
		const char *secret;
		bool may;
	} t[] = { { PROC_DCS, "storesecret", true },
		{ PROC_DCS, "restsecret", true },
		{ PROC_DCS, "supersecret", false },
		{ PROC_DCS, "replsecret", false },
		{ PROC_REST, "storesecret", false },
		{ PROC_REST, "restsecret", true },
		{ PROC_REST, "supersecret", false },
		{ PROC_REST, "replsecret", false },
		{ PROC_POSTGRES, "storesecret", false },
		{ PROC_POSTGRES, "restsecret", false },
		{ PROC_POSTGRES, "supersecret", true },
		{ PROC_POSTGRES, "replsecret", true },
		{ PROC_WATCHDOG, "secret", false } };
	struct conf *c = load_ok(
	    BASE "  parameters: {a: 1, x.y: 2}\n"
		 "  wal_e: {command: c}\nbootstrap: {dcs: {ttl: 40, odd: 1}}\n"
		 "consul: {host: h, token: consulsecret}\n"
		 "watchdog: {mode: required}\ntags: {t.x: 1}\n");
	struct tree *p;

	(void)state;
	assert_string_equal(conf_store(c), "consul");
	tree_remove(c->effective, "consul");
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		p = conf_for(c, t[i].proc);
		assert_non_null(p);
		if (mentions(p, t[i].secret) != t[i].may)
			fail_msg("%d %s", (int)t[i].proc, t[i].secret);
		assert_false(mentions(p, "consulsecret"));
		assert_string_equal(tree_path_text(p, "name", ""), "n1");
		tree_free_wiped(p);
	}
	p = conf_for(c, PROC_DCS);
	assert_string_equal(tree_path_text(p, "ctl.auth", ""), "u:restsecret");
	assert_string_equal(tree_path_text(p, "ctl.cacert", ""), "/ca");
	assert_string_equal(tree_path_text(p, "store", ""), "etcd3");
	assert_string_equal(tree_path_text(p, "namespace", ""), "service");
	assert_null(tree_get(p, "postgresql"));
	tree_free_wiped(p);
	p = conf_for(c, PROC_POSTGRES);
	assert_int_equal(tree_count(tree_path(p, "postgresql.parameters")), 2);
	assert_non_null(tree_path(p, "postgresql.wal_e.command"));
	assert_int_equal(tree_path_int(p, "bootstrap.dcs.odd", 0), 1);
	assert_string_equal(
	    tree_path_text(p, "restapi.listen", ""), "127.0.0.1:8008");
	assert_int_equal(tree_count(tree_get(p, "tags")), 1);
	tree_free_wiped(p);
	p = conf_for(c, PROC_WATCHDOG);
	assert_int_equal(tree_path_int(p, "ttl", 0), 40);
	assert_string_equal(tree_path_text(p, "watchdog.mode", ""), "required");
	assert_null(tree_get(p, "scope"));
	tree_free_wiped(p);
	conf_free(c);
}

static void
test_reload(void **state)
{
	struct conf_notes notes = { 0 };
	struct conf *c = load_ok(BASE), *again;
	bool changed;

	(void)state;
	again = conf_reload(c, NULL, &changed, &notes);
	assert_non_null(again);
	assert_false(changed);
	conf_free(again);
	file("patroni.yml",
	    BASE "  bin_dir: /new\ntags: {x: 1}\n"
		 "scope: other\nconsul: {host: h}\n");
	again = conf_reload(c, NULL, &changed, &notes);
	assert_non_null(again);
	assert_true(changed);
	assert_true(noted(&notes, "scope changed"));
	assert_true(noted(&notes, "postgresql.bin_dir changed"));
	assert_true(noted(&notes, "consul was added"));
	assert_string_equal(
	    tree_path_text(again->effective, "scope", ""), "s1");
	assert_string_equal(conf_store(again), "etcd3");
	assert_null(tree_path(again->effective, "postgresql.bin_dir"));
	assert_int_equal(tree_path_int(again->effective, "tags.x", 0), 1);
	conf_free(again);
	conf_notes_free(&notes);
	file("patroni.yml", "name: [\n");
	assert_null(conf_reload(c, NULL, &changed, &notes));
	assert_true(notes.errors > 0);
	assert_string_equal(tree_path_text(c->effective, "scope", ""), "s1");
	conf_notes_free(&notes);
	conf_free(c);
}

static void
test_control_socket(void **state)
{
	char out[CONF_SOCKET_CANDIDATES][PATH_SIZE];
	struct conf *c = load_ok(BASE);

	(void)state;
	assert_int_equal(conf_control_sockets(c, out), 2);
	assert_string_equal(out[0], "/run/patroni/s1-n1.sock");
	assert_string_equal(out[1], "/data/.patroni-n1.sock");
	tree_set(c->effective, "control_socket", tree_text("/x/y"));
	assert_int_equal(conf_control_sockets(c, out), 1);
	assert_string_equal(out[0], "/x/y");
	conf_free(c);
}

static void
test_schema(void **state)
{
	char accepted[TEXT_SIZE];

	(void)state;
	for (const struct conf_key *k = conf_keys; k->path != NULL; k++) {
		assert_ptr_equal(conf_key_find(k->path), k);
		assert_non_null(k->help);
		conf_key_accepted(k, accepted, sizeof(accepted));
		assert_true(*accepted != '\0');
		assert_true(k->type != CONF_WORD || k->words != NULL);
		assert_true(k->min <= k->max);
	}
	assert_string_equal(conf_key_nearest("restapi.lisen"), "listen");
	assert_string_equal(conf_key_nearest("scoep"), "scope");
	assert_null(conf_key_nearest("restapi.zzzz"));
}

/* Accounts, and whether scripts may gain privileges. */
static void
test_accounts(void **state)
{
	static const struct {
		const char *more;
		bool setuid;
	} cases[] = { { "", false }, { "set_uid_scripts: true\n", true },
		{ "tags: {}\nbootstrap: {dcs: {}, post_init: /x}\n", true },
		{ "set_uid_scripts: false\n"
		  "bootstrap: {dcs: {}, post_bootstrap: /x}\n",
		    false },
		{ "bootstrap: {dcs: {}, method: own, own: {command: x}}\n",
		    true } };
	char text[1024];
	struct conf *c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), BASE "%s", cases[i].more);
		c = load_ok(text);
		assert_int_equal(
		    scripts_need_setuid(c->effective), cases[i].setuid);
		assert_null(conf_database_user(c));
		conf_free(c);
	}
	c = load_ok(BASE "user: u\n"
			 "database_user: d\n");
	assert_string_equal(conf_user(c), "u");
	assert_string_equal(conf_database_user(c), "d");
	conf_free(c);
}

static int
setup(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL;
}

static int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_base),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_notes),
		cmocka_unit_test(test_quiet), cmocka_unit_test(test_types),
		cmocka_unit_test(test_legacy), cmocka_unit_test(test_directory),
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_env_over_file),
		cmocka_unit_test(test_parts), cmocka_unit_test(test_reload),
		cmocka_unit_test(test_accounts),
		cmocka_unit_test(test_control_socket),
		cmocka_unit_test(test_schema) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
