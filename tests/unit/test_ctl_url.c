/*
 * test_ctl_url.c: which section and namespace -d gives (patronictl.md 4).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../helpers/ctl/ctl.h"
#include "../../helpers/json.h"
#include "../../ipc/log.h"

static const char *const sections[] = { "consul", "etcd", "etcd3", "exhibitor",
	"zookeeper" };

/* Load with that configuration and -d; the section and namespace are as
 * said, and no other section is left. */
static void
gives(const char *conf, const char *url, const char *name, const char *wanted,
    const char *namespace)
{
	static struct ctl ctl;
	size_t i;
	char *json;

	assert_int_equal(setenv("PATRONI_CONFIGURATION", conf, 1), 0);
	memset(&ctl, 0, sizeof(ctl));
	config_load(&ctl, NULL, url);
	for (i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		const struct tree *t =
		    tree_get(ctl.conf->effective, sections[i]);

		if (strcmp(sections[i], name) != 0) {
			assert_null(t);
			continue;
		}
		assert_non_null(t);
		json = tree_to_json(t, JSON_FORM_SPACED, NULL);
		assert_string_equal(json, wanted);
		free(json);
	}
	assert_string_equal(
	    tree_path_text(ctl.conf->effective, "namespace", "service"),
	    namespace);
	conf_free(ctl.conf);
}

static void
is(const char *url, const char *name, const char *wanted)
{
	gives("{scope: a}", url, name, wanted, "service");
}

static void
test_schemes(void **state)
{
	(void)state;
	is("etcd://", "etcd", "{\"host\": \"localhost:2379\"}");
	is("etcd3://", "etcd3", "{\"host\": \"localhost:2379\"}");
	is("consul://", "consul", "{\"host\": \"localhost:8500\"}");
	is("zookeeper://", "zookeeper", "{\"hosts\": [\"localhost:2181\"]}");
	is("exhibitor://", "exhibitor",
	    "{\"hosts\": [\"localhost\"], \"port\": 8181}");
	is("exhibitor://x:99", "exhibitor",
	    "{\"hosts\": [\"x\"], \"port\": 99}");
	is("etcd://:2399", "etcd", "{\"host\": \"localhost:2399\"}");
	is("etcd3://u:p@Db.Example:1?x=1#y", "etcd3",
	    "{\"host\": \"db.example:1\"}");
}

/* Without a scheme the port tells; without both it is etcd. */
static void
test_ports(void **state)
{
	(void)state;
	is("", "etcd", "{\"host\": \"localhost:2379\"}");
	is("db", "etcd", "{\"host\": \"db:2379\"}");
	is("//db", "etcd", "{\"host\": \"db:2379\"}");
	is("db:2379", "etcd", "{\"host\": \"db:2379\"}");
	is("db:2181", "zookeeper", "{\"hosts\": [\"db:2181\"]}");
	is("db:8181", "exhibitor", "{\"hosts\": [\"db\"], \"port\": 8181}");
	is("db:8500", "consul", "{\"host\": \"db:8500\"}");
	is("db:1", "etcd", "{\"host\": \"db:1\"}");
	is("[::1]", "etcd", "{\"host\": \"[::1]:2379\"}");
	is("etcd3://[FE80::1]:7", "etcd3", "{\"host\": \"[fe80::1]:7\"}");
}

static void
test_namespaces(void **state)
{
	(void)state;
	gives("{namespace: /mine/}", "etcd3://db", "etcd3",
	    "{\"host\": \"db:2379\"}", "/mine/");
	gives("{namespace: /mine/}", "etcd3://db/", "etcd3",
	    "{\"host\": \"db:2379\"}", "/mine/");
	gives("{namespace: /mine/}", "etcd3://db/Prod/pg?x", "etcd3",
	    "{\"host\": \"db:2379\"}", "/Prod/pg");
	gives(
	    "{}", "db:2181/x", "zookeeper", "{\"hosts\": [\"db:2181\"]}", "/x");
}

/* What was configured goes, with its certificates. */
static void
test_replaces(void **state)
{
	(void)state;
	gives("{etcd3: {hosts: [a, b], cacert: x, username: u, password: p}, "
	      "consul: {host: c, token: t}}",
	    "etcd3://db", "etcd3", "{\"host\": \"db:2379\"}", "service");
}

/* The file of `configure`: counts where nothing else says. */
static void
test_dcs_api(void **state)
{
	(void)state;
	gives("{dcs_api: 'consul://c', namespace: /n/}", NULL, "consul",
	    "{\"host\": \"c:8500\"}", "/n/");
	gives("{dcs_api: 'consul://c'}", "etcd3://db", "etcd3",
	    "{\"host\": \"db:2379\"}", "service");
	gives("{dcs_api: 'consul://c', etcd3: {host: 'x:1'}}", NULL, "etcd3",
	    "{\"host\": \"x:1\"}", "service");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schemes),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_replaces),
		cmocka_unit_test(test_dcs_api),
	};

	log_init("test");
	if (setenv("HOME", "/nonexistent", 1) != 0 ||
	    unsetenv("XDG_CONFIG_HOME") != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
