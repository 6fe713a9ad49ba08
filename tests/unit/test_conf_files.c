/*
 * test_conf_files.c: the example loads without a remark, the manual page
 * documents every key, and the generator writes what the loader reads.
 * Run from the top of the tree, as make does.
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

#include "../../master/conf/conf.h"
#include "../../master/conf/dsn.h"

static char *
slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	if (f == NULL)
		fail_msg("%s: not there", path);
	assert_true(getdelim(&text, &size, '\0', f) > 0);
	fclose(f);
	return text;
}

/* With and without the commented-out options. */
static void
test_example(void **state)
{
	struct conf_notes notes = { 0 };
	struct conf *c = conf_load("patroni.conf.example", NULL, 0, &notes);

	(void)state;
	if (c == NULL || notes.n > 0)
		fail_msg("%s", notes.n > 0 ? notes.v[0].text : "?");
	assert_string_equal(conf_store(c), "etcd3");
	conf_free(c);
}

static void
test_example_options(void **state)
{
	char *text = slurp("patroni.conf.example"), *p,
	     path[64] = "/tmp/test_conff_XXXXXX";
	struct conf_notes notes = { 0 };
	struct conf *c;
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");
	char *save = NULL;

	(void)state;
	assert_non_null(f);
	for (p = strtok_r(text, "\n", &save); p != NULL;
	     p = strtok_r(NULL, "\n", &save)) {
		size_t n = strspn(p, "#");

		/* "#key" and "#  key" are options, "# Text" is a comment */
		if (n == 1 && (p[1] != ' ' || strncmp(p, "#  ", 3) == 0))
			p++;
		fprintf(f, "%s\n", p);
	}
	fclose(f);
	c = conf_load(path, NULL, 0, &notes);
	unlink(path);
	free(text);
	if (c == NULL || notes.n > 0)
		fail_msg("%s", notes.n > 0 ? notes.v[0].text : "?");
	assert_string_equal(conf_store(c), "consul");
	conf_free(c);
}

static void
test_manual(void **state)
{
	char *text = slurp("master/patroni.conf.5"), item[256];

	(void)state;
	for (const struct conf_key *k = conf_keys; k->path != NULL; k++) {
		snprintf(item, sizeof(item), "\n.It Ic %s\n", k->path);
		if (strstr(text, item) == NULL)
			fail_msg("%s is not documented", k->path);
		if (k->env == NULL || strcmp(k->env, "-") == 0)
			continue;
		snprintf(item, sizeof(item), ".Ev PATRONI_%s", k->env);
		if (strstr(text, item) == NULL)
			fail_msg("PATRONI_%s is not documented", k->env);
	}
	free(text);
}

static void
test_generate_sample(void **state)
{
	char bin[64] = "/tmp/test_confg_XXXXXX", path[128], *out, *err;
	struct conf_generate_options o = { .sample = true };
	struct conf_notes notes = { 0 };
	struct conf_env *env;
	struct tree *t;
	size_t len, elen;
	char why[256];
	FILE *f, *e;

	(void)state;
	assert_non_null(mkdtemp(bin));
	snprintf(path, sizeof(path), "%s/postgres", bin);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("#!/bin/sh\necho 'postgres (PostgreSQL) 15.4 (X 1)'\n", f);
	fclose(f);
	assert_int_equal(chmod(path, 0700), 0);
	setenv("PATRONI_POSTGRESQL_BIN_DIR", bin, 1);
	setenv("PATRONI_ETCD3_HOST", "h:2379", 1);
	env = conf_env_take(&notes);
	f = open_memstream(&out, &len);
	e = open_memstream(&err, &elen);
	assert_int_equal(conf_generate_main(&o, env, f, e), 0);
	fclose(f);
	fclose(e);
	assert_string_equal(err, "");
	assert_int_equal(out[len - 1] == '\n', 0);
	t = conf_yaml_parse(out, len, 1, why, sizeof(why));
	assert_non_null(t);
	assert_string_equal(tree_path_text(t, "scope", ""), "#FIXME");
	assert_string_equal(tree_path_text(t, "etcd3.host", ""), "h:2379");
	assert_string_equal(
	    tree_path_text(
		t, "bootstrap.dcs.postgresql.parameters.wal_keep_size", ""),
	    "128MB");
	assert_true(
	    tree_path_bool(t, "bootstrap.dcs.postgresql.use_pg_rewind", false));
	assert_string_equal(
	    tree_child(tree_path(t, "postgresql.pg_hba"), 0)->u.s,
	    "host all all all scram-sha-256");
	assert_non_null(strstr(out,
	    "    loop_wait: 10\n    retry_timeout: 10\n"
	    "    ttl: 30\n    postgresql:\n"));
	tree_free(t);
	unlink(path);
	free(out);
	free(err);
	f = open_memstream(&out, &len);
	e = open_memstream(&err, &elen);
	assert_int_equal(conf_generate_main(&o, env, f, e), 1);
	fclose(f);
	fclose(e);
	assert_memory_equal(err, "Failed to get postgres version", 30);
	free(out);
	free(err);
	conf_env_free(env);
	conf_notes_free(&notes);
	rmdir(bin);
}

static void
test_dsn(void **state)
{
	static const struct {
		const char *dsn, *key, *want; /* want NULL: refused */
	} t[] = { { "host=a user='b c' password=d\\'e", "user", "b c" },
		{ "host=a user='b c' password=d\\'e", "password", "d'e" },
		{ "host = a", "host", "a" },
		{ "postgres://u:p%40@h:5433/db?sslmode=require", "password",
		    "p@" },
		{ "postgres://u:p@h:5433/db?sslmode=require", "port", "5433" },
		{ "postgres://u:p@h:5433/db?sslmode=require", "dbname", "db" },
		{ "postgres://u:p@h:5433/db?sslmode=require", "sslmode",
		    "require" },
		{ "postgresql://[::1]:1,b/", "host", "::1,b" },
		{ "postgresql://[::1]:1,b/", "port", "1," },
		{ "postgresql:///db?ssl=true", "sslmode", "require" },
		{ "nonsense", NULL, NULL }, { "a='b", NULL, NULL },
		{ "postgres://%zz@h", NULL, NULL },
		{ "postgres://[::1", NULL, NULL } };

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct tree *d = dsn_parse(t[i].dsn);

		if ((d != NULL) != (t[i].want != NULL))
			fail_msg("%s", t[i].dsn);
		if (d != NULL)
			assert_string_equal(
			    tree_path_text(d, t[i].key, ""), t[i].want);
		tree_free(d);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_example),
		cmocka_unit_test(test_example_options),
		cmocka_unit_test(test_manual),
		cmocka_unit_test(test_generate_sample),
		cmocka_unit_test(test_dsn) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
