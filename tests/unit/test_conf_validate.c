/*
 * test_conf_validate.c: lines and exit codes of --validate-config
 * (spec/config.md 15).
 */
#include <sys/socket.h>
#include <sys/stat.h>

#include <netinet/in.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../master/conf/conf.h"

static char dir[] = "/tmp/test_confv_XXXXXX";
static char bin[128];
static int busy = -1, busy_port;

/* A configuration without problems; etcd3 is our own listener. */
static void
base(char *buf, size_t size)
{
	snprintf(buf, size,
	    "name: n1\nscope: s1\n"
	    "etcd3: {host: '127.0.0.1:%d'}\n"
	    "restapi: {listen: '127.0.0.1:1', connect_address: 'h:1'}\n"
	    "postgresql:\n  listen: 127.0.0.1:1\n  connect_address: h:1\n"
	    "  bin_dir: %s\n  data_dir: %s/none\n  authentication:\n"
	    "    replication: {username: r}\n"
	    "    superuser: {username: s}\n",
	    busy_port, bin, dir);
}

static int
validate(const char *text, bool ignore, bool print, char **out, char **err)
{
	char path[256];
	struct conf_validate_options o = { path, ignore, print };
	size_t len;
	FILE *f, *e;
	int rc;

	snprintf(path, sizeof(path), "%s/c.yml", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	f = open_memstream(out, &len);
	e = open_memstream(err, &len);
	rc = conf_validate_main(&o, NULL, f, e);
	fclose(f);
	fclose(e);
	return rc;
}

static void
test_good(void **state)
{
	char text[1024], *out, *err;

	(void)state;
	base(text, sizeof(text));
	assert_int_equal(validate(text, false, false, &out, &err), 0);
	assert_string_equal(out, "");
	assert_string_equal(err, "");
	free(out);
	free(err);
	assert_int_equal(validate("b: 1\n", false, true, &out, &err), 1);
	assert_string_equal(out, "");
	free(out);
	free(err);
	base(text, sizeof(text));
	assert_int_equal(validate(text, false, true, &out, &err), 0);
	assert_memory_equal(out, "etcd3:\n  host: 127.0.0.1:", 24);
	assert_non_null(strstr(out, "\nname: n1\npostgresql:\n  authen"));
	free(out);
	free(err);
}

static void
test_empty(void **state)
{
	char *out, *err;

	(void)state;
	assert_int_equal(validate("{}\n", false, false, &out, &err), 1);
	assert_string_equal(err,
	    "name  is not defined.\nscope  is not defined.\n"
	    "restapi  is not defined.\nconsul  is not defined.\n"
	    "etcd  is not defined.\netcd3  is not defined.\n"
	    "exhibitor  is not defined.\nkubernetes  is not defined.\n"
	    "raft  is not defined.\nzookeeper  is not defined.\n"
	    "postgresql  is not defined.\n");
	free(out);
	free(err);
}

static void
test_lines(void **state)
{
	static const struct {
		const char *add, *line;
	} t[] = {
		{ "thread_pool_size: 4\n",
		    "thread_pool_size 4 didn't pass validation: Wrong value\n" },
		{ "thread_pool_size: '5'\n",
		    "thread_pool_size 5 is not an integer\n" },
		{ "log: {level: info}\n",
		    "log.level info didn't pass validation: Wrong value\n" },
		{ "log: {mode: 01000}\n",
		    "log.mode 512 didn't pass validation: Wrong value\n" },
		{ "log: {format: 5}\n",
		    "log.format 5 didn't pass validation: "
		    "Should be a string or a list\n" },
		{ "log: {deduplicate_heartbeat_logs: 1}\n",
		    "log.deduplicate_heartbeat_logs 1 is not a boolean\n" },
		{ "ctl: {cacert: [a, 1]}\n",
		    "ctl.cacert ['a', 1] is not a string\n" },
		{ "bootstrap: {initdb: [a]}\n",
		    "bootstrap.dcs  is not defined.\n" },
		{ "bootstrap: {dcs: {ttl: '19'}}\n",
		    "bootstrap.dcs.ttl 19 "
		    "didn't pass validation: Wrong value\n" },
		{ "bootstrap: {dcs: {ttl: '20', synchronous_mode: maybe}}\n",
		    "bootstrap.dcs.synchronous_mode maybe didn't pass "
		    "validation: invalid value for synchronous_mode\n" },
		{ "bootstrap: {dcs: {standby_cluster: {}}}\n",
		    "bootstrap.dcs.standby_cluster.host  is not defined.\n"
		    "bootstrap.dcs.standby_cluster.port  is not defined.\n"
		    "bootstrap.dcs.standby_cluster.restore_command  is not "
		    "defined.\n" },
		{ "bootstrap: {dcs: {postgresql: {parameters: {max_wal_senders: "
		  "-1}}}}\n",
		    "bootstrap.dcs.postgresql.parameters."
		    "max_wal_senders -1 didn't pass validation: Wrong value\n" },
		{ "bootstrap: {dcs: {}, initdb: [a, 5]}\n",
		    "bootstrap.initdb.1 5 is not a string\n"
		    "bootstrap.initdb.1 5 is not a dictionary\n" },
		{ "tags: {nofailover: true, failover_priority: 1}\n",
		    "tags  Multiple of ('nofailover', 'failover_priority') "
		    "provided\n" },
		{ "tags: {nostream: x}\n",
		    "tags.nostream x is not a boolean\n" },
		{ "watchdog: {mode: auto}\n",
		    "watchdog.mode auto didn't pass "
		    "validation: Wrong value\n" },
		{ "citus: {group: 0}\n", "citus.database  is not defined.\n" },
		{ "raft: {self_addr: 'localhost:1', partner_addrs: []}\n",
		    "raft.self_addr localhost:1 didn't pass validation: must not "
		    "contain \"127.0.0.1\", \"0.0.0.0\", \"*\", \"::1\", "
		    "\"localhost\"\nraft.partner_addrs [] is an empty list\n" },
		{ "consul: {}\n",
		    "consul.host  is not defined.\n"
		    "consul.url  is not defined.\n" },
		{ "zookeeper: {hosts: 5}\n",
		    "zookeeper.hosts 5 is not a string\n"
		    "zookeeper.hosts 5 is not a list\n" },
		{ "zookeeper: {hosts: ['127.0.0.1:2']}\n",
		    "zookeeper.hosts.0 127.0.0.1:2 didn't pass validation: "
		    "127.0.0.1:2 is not reachable\n" },
		{ "kubernetes: {labels: 5, pod_ip: x}\n",
		    "kubernetes.labels 5 is not a dictionary\n"
		    "kubernetes.pod_ip x didn't pass validation: Is not a valid "
		    "ipv4 address\nkubernetes.pod_ip x didn't pass validation: "
		    "Is not a valid ipv6 address\n" },
		{ "  pg_hba: []\n", "postgresql.pg_hba [] is an empty list\n" },
		{ "  bin_name: {pg_ctl: nope}\n",
		    "postgresql.bin_name.pg_ctl nope didn't pass validation: does "
		    "not contain 'nope' in '" },
	};
	char text[2048], *out, *err;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		base(text, sizeof(text));
		strncat(text, t[i].add, sizeof(text) - strlen(text) - 1);
		assert_int_equal(validate(text, false, false, &out, &err), 1);
		if (strncmp(err, t[i].line, strlen(t[i].line)) != 0)
			fail_msg("%s gave %s", t[i].add, err);
		free(out);
		free(err);
	}
}

static void
test_ports(void **state)
{
	char text[2048], line[128], *out, *err;
	size_t n;

	(void)state;
	base(text, sizeof(text));
	n = strlen(text);
	snprintf(text + n, sizeof(text) - n,
	    "  proxy_address: '127.0.0.1:%d'\n", busy_port);
	assert_int_equal(validate(text, false, false, &out, &err), 1);
	assert_non_null(strstr(err, "postgresql.proxy_address"));
	free(out);
	free(err);
	snprintf(text, sizeof(text),
	    "name: n\nscope: s\n"
	    "etcd3: {host: '127.0.0.1:%d'}\n"
	    "restapi: {listen: '127.0.0.1:%d', connect_address: 'h:1'}\n"
	    "postgresql: {listen: '127.0.0.1,*:1', connect_address: 'h:1',\n"
	    "  authentication: {replication: {username: r}, superuser:\n"
	    "  {username: s}}, data_dir: %s, bin_dir: /nowhere}\n",
	    busy_port, busy_port, bin);
	snprintf(line, sizeof(line), "Port %d is already in use.", busy_port);
	assert_int_equal(validate(text, false, false, &out, &err), 1);
	assert_non_null(strstr(err, line));
	assert_non_null(strstr(err, "expecting '*' alone"));
	assert_non_null(strstr(err,
	    "postgresql.bin_dir  Directory "
	    "'/nowhere' does not exist."));
	assert_non_null(
	    strstr(err, "doesn't look like a valid data directory"));
	free(out);
	free(err);
	assert_int_equal(validate(text, true, false, &out, &err), 1);
	assert_null(strstr(err, line));
	free(out);
	free(err);
}

/* A directory with executables of the right names. */
static void
make_programs(void)
{
	static const char *const words[] = { "pg_ctl", "initdb",
		"pg_controldata", "pg_basebackup", "postgres", "pg_isready" };
	char path[256];
	FILE *f;

	snprintf(bin, sizeof(bin), "%s/bin", dir);
	assert_int_equal(mkdir(bin, 0700), 0);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", bin, words[i]);
		f = fopen(path, "w");
		assert_non_null(f);
		fputs("#!/bin/sh\necho 'postgres (PostgreSQL) 15.4'\n", f);
		fclose(f);
		assert_int_equal(chmod(path, 0700), 0);
	}
}

static int
setup(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);

	(void)state;
	if (mkdtemp(dir) == NULL)
		return 1;
	busy = socket(AF_INET, SOCK_STREAM, 0);
	if (busy == -1 || bind(busy, (struct sockaddr *)&sin, len) == -1 ||
	    listen(busy, 64) == -1 ||
	    getsockname(busy, (struct sockaddr *)&sin, &len) == -1)
		return 1;
	busy_port = ntohs(sin.sin_port);
	make_programs();
	return 0;
}

static int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	close(busy);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_good),
		cmocka_unit_test(test_empty), cmocka_unit_test(test_lines),
		cmocka_unit_test(test_ports) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
