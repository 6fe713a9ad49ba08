/*
 * test_conf_keys.c: tests made from the schema, one of each kind for every
 * key: it loads, goes to the processes that need it and to no other, comes by
 * its environment variable, is refused when it is of a wrong type, is kept or
 * taken over at a reload as its class says, and stands in the example file.
 * A key that is added to the schema is tested here without further ado.
 * What a key does is tested elsewhere: tests/tools/conf_keys.py says where.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/conf/conf.h"

extern char **environ;

static const char *const stores[] = { "consul", "etcd", "etcd3", "exhibitor",
	"kubernetes", "raft", "zookeeper", NULL };

static const char *
store_of(const char *path)
{
	size_t n = strcspn(path, ".");

	for (int i = 0; stores[i] != NULL; i++)
		if (strlen(stores[i]) == n && strncmp(stores[i], path, n) == 0)
			return stores[i];
	return NULL;
}

static struct tree *
yaml(const char *text)
{
	char err[256];
	struct tree *t =
	    conf_yaml_parse(text, strlen(text), 0, err, sizeof err);

	if (t == NULL)
		fail_msg("%s: %s", text, err);
	return t;
}

/* A good value, one of two different ones, as YAML. */
static const char *
sample(const struct conf_key *k, int which)
{
	static char text[256];
	const char *p;

	switch (k->check) {
	case CHECK_BIND:
	case CHECK_BIND_MANY:
	case CHECK_CONNECT:
	case CHECK_REACH:
	case CHECK_REACH_ANY:
		return which ? "'10.0.0.8:5555'" : "'10.0.0.7:5555'";
	case CHECK_REACH_LIST:
		return which ? "['10.0.0.8:1']" : "['10.0.0.7:1']";
	case CHECK_IP:
		return which ? "'10.0.0.8'" : "'10.0.0.7'";
	case CHECK_OPTIONS:
		return which ? "[verbose]" : "[verbose, {a: b}]";
	case CHECK_FORMAT:
		return which ? "'%(message)s'" : "'%(levelname)s %(message)s'";
	case CHECK_SYNC_MODE:
		return which ? "'on'" : "quorum";
	case CHECK_WATCHDOG_MODE:
		return which ? "automatic" : "required";
	case CHECK_PORTS:
		return which ? "[{name: p, port: 1}]" : "[{name: p, port: 2}]";
	case CHECK_CODES:
		return which ? "[500]" : "[503]";
	default:
		break;
	}
	switch (k->type) {
	case CONF_TEXT:
	case CONF_ANY:
		return which ? "text-two" : "text-one";
	case CONF_INT:
	case CONF_NUMBER:
		snprintf(text, sizeof text, "%lld",
		    (long long)(k->min != 0 || k->max != 0 ? k->min : 7) +
			(which ? 1 : 0));
		return text;
	case CONF_REAL:
		return which ? "1.5" : "2.5";
	case CONF_BOOL:
		return (k->dflt != NULL && strcmp(k->dflt, "true") == 0) ==
			(which != 0) ?
		    "true" :
		    "false";
	case CONF_BYTES:
		return which ? "1000000" : "2000000";
	case CONF_DURATION:
		return which ? "60" : "90";
	case CONF_WORD:
		p = which ? strrchr(k->words, ' ') : NULL;
		snprintf(text, sizeof text, "'%.*s'",
		    p != NULL ? (int)strlen(p + 1) :
				(int)strcspn(k->words, " "),
		    p != NULL ? p + 1 : k->words);
		return text;
	case CONF_LIST:
	case CONF_STRINGS:
		return which ? "[two]" : "[one, three]";
	case CONF_MAP:
		return which ? "{two: a}" : "{one: b}";
	case CONF_SECTION:
		return "{}";
	}
	return "";
}

/* A value that no key of the type can have. */
static const char *
nonsense(const struct conf_key *k)
{
	switch (k->type) {
	case CONF_MAP:
	case CONF_SECTION:
		return "text";
	case CONF_LIST:
	case CONF_STRINGS:
		return "5";
	default:
		return "{no: value}";
	}
}

/* Paths with `*` with some name in its place. */
static const char *
real_path(const struct conf_key *k)
{
	static char path[256];
	const char *star = strchr(k->path, '*');

	if (star == NULL)
		return k->path;
	snprintf(path, sizeof path, "%.*smine%s", (int)(star - k->path),
	    k->path, star + 1);
	return path;
}

/* YAML text of a minimal configuration with a value at a path. */
static void
document(FILE *f, const char *path, const char *value)
{
	struct tree *t = yaml(
	    "{name: n, scope: s, restapi: {listen: '127.0.0.1:1'},"
	    " postgresql: {listen: '127.0.0.1:1', data_dir: /nonexistent,"
	    " bin_dir: /nonexistent, authentication: {replication: {username: r},"
	    " superuser: {username: s}}}}");
	const char *store = path != NULL ? store_of(path) : NULL, *p;
	struct tree *at = t, *sub;
	char word[128];

	if (store == NULL)
		tree_set(t, "etcd3", yaml("{host: '127.0.0.1:1'}"));
	for (p = path; p != NULL && strchr(p, '.') != NULL;
	     p = strchr(p, '.') + 1) {
		snprintf(word, sizeof word, "%.*s", (int)strcspn(p, "."), p);
		sub = (struct tree *)(uintptr_t)tree_get(at, word);
		if (sub == NULL) {
			sub = tree_map();
			tree_set(at, word, sub);
			sub = (struct tree *)(uintptr_t)tree_get(at, word);
		}
		at = sub;
	}
	if (p != NULL && value != NULL)
		tree_set(at, p, yaml(value));
	conf_yaml_write(t, 0, false, f);
	tree_free(t);
}

static char *
file_with(const char *path, const char *value)
{
	static char name[64];
	FILE *f;
	int fd;

	strcpy(name, "/tmp/test_conf_keys_XXXXXX");
	fd = mkstemp(name);
	f = fdopen(fd, "w");
	assert_non_null(f);
	document(f, path, value);
	fclose(f);
	return name;
}

static struct conf *
load(const char *path, const char *value, const struct conf_env *env)
{
	struct conf_notes notes = { 0 };
	char *name = file_with(path, value);
	struct conf *c = conf_load(name, env, 0, &notes);

	unlink(name);
	for (uint32_t i = 0; i < notes.n; i++)
		if (c == NULL || notes.v[i].severity != CONF_INFO)
			fail_msg("%s: %s: %s", path, value, notes.v[i].text);
	conf_notes_free(&notes);
	assert_non_null(c);
	return c;
}

/* Built into another form, or left out of what the helpers get. */
static bool
is_translated(const struct conf_key *k)
{
	return (k->flags & CONF_OLD) != 0 || k->class == CONF_DYNAMIC ||
	    strcmp(k->path, "zookeeper.exhibitor") == 0;
}

#define EACH_KEY(k)                                                      \
	for (const struct conf_key *k = conf_keys; k->path != NULL; k++) \
		if (k->type != CONF_SECTION)

static void
test_loads(void **state)
{
	size_t n = 0;

	(void)state;
	EACH_KEY(k)
	{
		const char *path = real_path(k);
		const char *value = strchr(k->path, '*') != NULL ?
		    "{command: x}" :
		    sample(k, 0);
		struct conf *c;
		struct tree *want = yaml(value);
		const struct tree *got;

		if (strcmp(k->path, "ctl.authentication.username") == 0 ||
		    strcmp(k->path, "ctl.authentication.password") == 0 ||
		    strcmp(k->path, "restapi.authentication.username") == 0 ||
		    strcmp(k->path, "restapi.authentication.password") == 0 ||
		    store_of(k->path) != NULL)
			goto next; /* in company only: test_env_and_company */
		c = load(path, value, NULL);
		got = tree_path(c->local, path);
		if (got == NULL || !tree_equal(got, want))
			fail_msg("%s does not arrive", path);
		conf_free(c);
		n++;
	next:
		tree_free(want);
	}
	assert_true(n > 150);
}

/* Design 12: each process gets what it needs; a secret nothing else. */
static void
test_goes_where_it_is_needed(void **state)
{
	static const enum proc procs[] = { PROC_DCS, PROC_REST, PROC_POSTGRES,
		PROC_WATCHDOG };

	(void)state;
	EACH_KEY(k)
	{
		const char *secret = "sEcReT-value";
		struct conf *c;

		if ((k->flags & CONF_SECRET) == 0 ||
		    (k->type != CONF_TEXT && k->type != CONF_ANY) ||
		    strchr(k->path, '*') != NULL || is_translated(k) ||
		    strstr(k->path, ".authentication.password") != NULL ||
		    store_of(k->path) != NULL)
			continue;
		c = load(k->path, secret, NULL);
		for (size_t i = 0; i < sizeof procs / sizeof *procs; i++) {
			struct tree *t = conf_for(c, procs[i]);
			const char *got = tree_path_text(t, k->path, "");
			bool has = strcmp(got, secret) == 0;

			if (has != ((k->helpers & (1u << procs[i])) != 0))
				fail_msg("%s and process %d", k->path,
				    (int)procs[i]);
			tree_free_wiped(t);
		}
		conf_free(c);
	}
}

static void
variable(const struct conf_key *k, char *out, size_t size)
{
	size_t n;

	if (strcmp(k->env, "-") != 0) {
		snprintf(out, size, "PATRONI_%s", k->env);
		return;
	}
	snprintf(out, size, "PATRONI_%s", k->path);
	for (n = 8; out[n] != '\0'; n++)
		out[n] = out[n] == '.' ? '_' :
		    out[n] >= 'a' && out[n] <= 'z' ?
					 (char)(out[n] - 'a' + 'A') :
					 out[n];
}

static const char *
env_sample(const struct conf_key *k)
{
	const char *s = sample(k, 0);
	static char text[256];
	size_t n = strlen(s);

	switch (k->type) {
	case CONF_TEXT:
	case CONF_WORD:
	case CONF_ANY:
		snprintf(text, sizeof text, "%.*s",
		    s[0] == '\'' ? (int)n - 2 : (int)n,
		    s[0] == '\'' ? s + 1 : s);
		return text;
	default:
		return s;
	}
}

static void
test_environment(void **state)
{
	size_t n = 0;

	(void)state;
	EACH_KEY(k)
	{
		struct conf_notes notes = { 0 };
		struct conf_env *env;
		char name[128];

		if (k->env == NULL)
			continue;
		variable(k, name, sizeof name);
		setenv(name, env_sample(k), 1);
		/* accounts are made of two */
		if (strstr(k->path, "authentication.username") != NULL ||
		    strcmp(k->env, "-") == 0)
			setenv("PATRONI_ETCD3_HOST", "h:1", 0);
		if (strcmp(k->path, "etcd.username") == 0 ||
		    strcmp(k->path, "etcd.password") == 0)
			setenv("PATRONI_ETCD_HOST", "h:1", 1);
		env = conf_env_take(&notes);
		assert_non_null(env);
		if (notes.n > 0)
			fail_msg("%s: %s", name, notes.v[0].text);
		if (tree_path(conf_env_tree(env), k->path) == NULL)
			fail_msg("%s does not set %s", name, k->path);
		assert_null(getenv(name));
		for (char **e = environ; *e != NULL; e++)
			assert_int_not_equal(strncmp(*e, "PATRONI_", 8), 0);
		conf_env_free(env);
		conf_notes_free(&notes);
		n++;
	}
	assert_true(n > 100);
}

/* A value of a wrong type is named in a line of its own. */
static void
test_validation(void **state)
{
	size_t n = 0;

	(void)state;
	EACH_KEY(k)
	{
		const char *path = real_path(k);
		struct conf_validate_options o = { NULL, false, false };
		char *name, *out = NULL, *line, want[300];
		size_t len;
		FILE *f;
		int code;

		if (k->check == CHECK_NOT || k->type == CONF_ANY ||
		    strchr(k->path, '*') != NULL)
			continue;
		name = file_with(path, nonsense(k));
		o.path = name;
		f = open_memstream(&out, &len);
		code = conf_validate_main(&o, NULL, f, f);
		fclose(f);
		unlink(name);
		assert_int_equal(code, 1);
		/* an exclusive pair is complained of at its section */
		snprintf(want, sizeof want, "%s ", path);
		line = strstr(out, want);
		while (line != NULL && line != out && line[-1] != '\n')
			line = strstr(line + 1, want);
		if (line == NULL)
			fail_msg("%s: no complaint of %s:\n%s", path,
			    nonsense(k), out);
		free(out);
		n++;
	}
	assert_true(n > 120);
}

static void
test_reload_class(void **state)
{
	(void)state;
	EACH_KEY(k)
	{
		const char *path = real_path(k);
		struct conf_notes notes = { 0 };
		struct conf *old, *new;
		struct tree *want;
		const struct tree *got;
		bool changed = false;
		char *name;
		FILE *f;

		if (strchr(k->path, '*') != NULL || is_translated(k) ||
		    store_of(k->path) != NULL ||
		    strncmp(k->path, "citus.", 6) == 0 || /* both or none */
		    strstr(k->path, "ctl.authentication.") != NULL ||
		    strstr(k->path, "restapi.authentication.") != NULL)
			continue;
		name = file_with(path, sample(k, 0));
		old = conf_load(name, NULL, 0, &notes);
		assert_non_null(old);
		f = fopen(name, "w");
		document(f, path, sample(k, 1));
		fclose(f);
		new = conf_reload(old, NULL, &changed, &notes);
		unlink(name);
		if (new == NULL) {
			fail_msg("%s: %s", path,
			    notes.n > 0 ? notes.v[0].text : "?");
			return;
		}
		want = yaml(sample(k, k->class != CONF_AT_START));
		got = tree_path(new->effective, path);
		if (got == NULL || !tree_equal_loose(got, want))
			fail_msg("%s is of class %c", path, (int)k->class);
		tree_free(want);
		conf_free(old);
		conf_free(new);
		conf_notes_free(&notes);
	}
}

/* Where several sections have the same keys the example shows one of them and
 * says so. */
static const char *
shown_as(const char *path)
{
	static const char *const same[][2] = {
		{ "postgresql.authentication.replication.",
		    "postgresql.authentication.superuser." },
		{ "postgresql.authentication.rewind.",
		    "postgresql.authentication.superuser." },
		{ "etcd.", "etcd3." },
		{ "exhibitor.use_ssl", "zookeeper.use_ssl" },
		{ "exhibitor.verify", "zookeeper.verify" },
		{ "exhibitor.c", "zookeeper.c" },
		{ "exhibitor.key", "zookeeper.key" },
		{ "exhibitor.set_acls", "zookeeper.set_acls" },
		{ "exhibitor.auth_data", "zookeeper.auth_data" }
	};
	static char text[256];

	for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
		size_t n = strlen(same[i][0]);

		if (strncmp(path, same[i][0], n) != 0)
			continue;
		snprintf(text, sizeof text, "%s%s", same[i][1], path + n);
		return text;
	}
	return path;
}

/* Every key of today's stands in the example, most of them behind a `#`. */
static void
test_example_is_complete(void **state)
{
	struct conf_notes notes = { 0 };
	char line[512], name[64] = "/tmp/test_conf_keys_XXXXXX";
	FILE *in = fopen("patroni.conf.example", "r");
	int fd = mkstemp(name), missing = 0;
	FILE *out = fdopen(fd, "w");
	struct conf *c;

	(void)state;
	assert_non_null(in);
	while (fgets(line, sizeof line, in) != NULL) {
		bool option = line[0] == '#' && line[1] != '#' &&
		    (line[1] != ' ' || strncmp(line, "#  ", 3) == 0);

		fputs(option ? line + 1 : line, out);
	}
	fclose(in);
	fclose(out);
	c = conf_load(name, NULL, CONF_LOAD_VALIDATE, &notes);
	unlink(name);
	assert_non_null(c);
	EACH_KEY(k)
	{
		if ((k->flags & CONF_OLD) != 0 ||
		    strchr(k->path, '*') != NULL || k->class == CONF_DYNAMIC)
			continue;
		if (tree_path(c->local, shown_as(k->path)) == NULL) {
			fprintf(stderr, "not in patroni.conf.example: %s\n",
			    k->path);
			missing++;
		}
	}
	assert_int_equal(missing, 0);
	conf_free(c);
	conf_notes_free(&notes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_loads),
		cmocka_unit_test(test_goes_where_it_is_needed),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_validation),
		cmocka_unit_test(test_reload_class),
		cmocka_unit_test(test_example_is_complete) };

	/* what the tests themselves were started with */
	for (char **e = environ; *e != NULL;)
		if (strncmp(*e, "PATRONI_", 8) == 0) {
			char name[128];

			snprintf(name, sizeof name, "%.*s",
			    (int)strcspn(*e, "="), *e);
			unsetenv(name);
		} else
			e++;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
