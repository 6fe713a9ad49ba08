/*
 * test_dcs_stores.c: what the drivers of ZooKeeper, Exhibitor and Kubernetes
 * read as text: hosts, ACLs, lists of servers, kubeconfigs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../dcs/exhibitor.h"
#include "../../master/conf/internal.h"

static struct zk_conf conf;

static void
hosts(void **state)
{
	(void)state;
	assert_true(zk_conf_hosts(&conf, "a, b:1 ,[::1]:2181,fe80::1/x/y/"));
	assert_int_equal(conf.nhosts, 4);
	assert_string_equal(conf.hosts[0].host, "a");
	assert_int_equal(conf.hosts[0].port, 2181);
	assert_int_equal(conf.hosts[1].port, 1);
	assert_string_equal(conf.hosts[2].host, "::1");
	assert_string_equal(conf.chroot, "/x/y");
	assert_true(zk_conf_hosts(&conf, "a/"));
	assert_string_equal(conf.chroot, "");
	assert_false(zk_conf_hosts(&conf, ""));
	assert_false(zk_conf_hosts(&conf, "/x"));
	assert_false(zk_conf_hosts(&conf, "a:0"));
	assert_false(zk_conf_hosts(&conf, "a:65536"));
	assert_false(zk_conf_hosts(&conf, "a/x,b"));
	assert_false(zk_conf_hosts(&conf, "a b:1"));
}

static bool
read_text(const char *yaml)
{
	char err[TEXT_SIZE];
	struct tree *t =
	    conf_yaml_parse(yaml, strlen(yaml), 0, err, sizeof(err));
	bool good;

	assert_non_null(t);
	good = zk_conf_read(&conf, t, true, err, sizeof(err));
	tree_free(t);
	return good;
}

static void
access_rights(void **state)
{
	(void)state;
	assert_true(read_text("hosts: [a, b]\n"
			      "set_acls: {'digest:u:h': [Create, read], "
			      "'CN=x': ALL}\n"
			      "auth_data: {digest: 'u:p'}\n"));
	assert_int_equal(conf.acls.count, 2);
	assert_string_equal(conf.acl[0].id.scheme, "digest");
	assert_string_equal(conf.acl[0].id.id, "u:h");
	assert_int_equal(conf.acl[0].perms, 5);
	assert_string_equal(conf.acl[1].id.scheme, "x509");
	assert_int_equal(conf.acl[1].perms, 31);
	assert_ptr_equal(conf.acls.data, conf.acl);
	/* what cannot be used leaves what there was */
	assert_false(read_text("hosts: [a]\nset_acls: {x: [FLY]}\n"));
	assert_false(read_text("hosts: [a]\nuse_ssl: true\n"));
	assert_false(read_text("hosts: [1]\n"));
	assert_int_equal(conf.acls.count, 2);
	assert_string_equal(conf.auth[0].credential, "u:p");
	zk_conf_clear(&conf);
}

static bool
list(const char *s)
{
	return exhibitor_parse(s, strlen(s), &conf);
}

static void
servers(void **state)
{
	(void)state;
	assert_true(list("{\"servers\": [\"b\", \"a\"], \"port\": 2181}"));
	assert_int_equal(conf.nhosts, 2);
	assert_string_equal(conf.hosts[0].host, "a");
	assert_int_equal(conf.hosts[1].port, 2181);
	assert_false(list(""));
	assert_false(list("[]"));
	assert_false(list("{\"servers\": [], \"port\": 2181}"));
	assert_false(list("{\"servers\": [\"a\"]}"));
	assert_false(list("{\"servers\": [\"a\"], \"port\": 0}"));
	assert_false(list("{\"servers\": [\"a\"], \"port\": \"1\"}"));
	assert_false(list("{\"servers\": [\"a/b\"], \"port\": 1}"));
	assert_false(list("{\"servers\": [\"a\", 1], \"port\": 1}"));
	assert_false(list("{\"servers\": \"a\", \"port\": 1}"));
}

static const char kubeconfig[] =
    "apiVersion: v1\n"
    "kind: Config\n"
    "current-context: other\n"
    "contexts:\n"
    "- {name: other, context: {cluster: none, user: none}}\n"
    "- {name: chosen, context: {cluster: c, user: u}}\n"
    "clusters:\n"
    "- name: c\n"
    "  cluster:\n"
    "    server: https://10.0.0.1:6443\n"
    "    certificate-authority: ca.pem\n"
    "    insecure-skip-tls-verify: true\n"
    "users:\n"
    "- name: u\n"
    "  user: {token: secret, tokenFile: dir/token, client-key-data: a2V5}\n";

static void
write_file(const char *dir, const char *name, const char *text)
{
	char path[PATH_SIZE];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_non_null(f = fopen(path, "w"));
	fputs(text, f);
	fclose(f);
}

static struct tree *
chosen(const char *context)
{
	struct tree *root = tree_map(), *section = tree_map(), *t;

	tree_set(section, "context", tree_text(context));
	tree_set(root, "kubernetes", section);
	t = conf_kubeconfig(root);
	tree_free(root);
	return t;
}

static void
contexts(void **state)
{
	char dir[] = "/tmp/test_kubeconfig.XXXXXX", path[2 * PATH_SIZE];
	struct tree *t;

	(void)state;
	assert_non_null(mkdtemp(dir));
	write_file(dir, "config", kubeconfig);
	write_file(dir, "ca.pem", "a certificate");
	/* the first of the list that exists */
	snprintf(path, sizeof(path), "%s/none::%s/config", dir, dir);
	setenv("KUBECONFIG", path, 1);
	unsetenv("KUBERNETES_SERVICE_HOST");
	assert_non_null(t = chosen("chosen"));
	assert_string_equal(
	    tree_path_text(t, "server", ""), "https://10.0.0.1:6443");
	assert_string_equal(
	    tree_path_text(t, "certificate-authority", ""), "a certificate");
	assert_true(tree_path_bool(t, "insecure-skip-tls-verify", false));
	assert_string_equal(tree_path_text(t, "token", ""), "secret");
	assert_string_equal(tree_path_text(t, "client-key-data", ""), "a2V5");
	snprintf(path, sizeof(path), "%s/dir/token", dir);
	assert_string_equal(tree_path_text(t, "tokenFile", ""), path);
	tree_free(t);
	assert_null(chosen("missing"));
	/* a pod has an account of its own */
	setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
	assert_null(chosen("chosen"));
	unsetenv("KUBERNETES_SERVICE_HOST");
	write_file(dir, "config", "contexts: [");
	assert_null(chosen("chosen"));
	snprintf(path, sizeof(path), "%s/config", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/ca.pem", dir);
	unlink(path);
	rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts),
		cmocka_unit_test(access_rights),
		cmocka_unit_test(servers),
		cmocka_unit_test(contexts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
