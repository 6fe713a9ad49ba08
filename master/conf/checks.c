/*
 * checks.c: see checks.h.  Error texts are those of spec/config.md 15.1.
 */
#include <arpa/inet.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/values.h"
#include "checks.h"
#include "probe.h"

/* ---- lines ---- */

/* Text form; collections and what is in them as upstream prints them. */
static void
print_value(const struct tree *t, bool nested, FILE *f)
{
	char buf[64];

	switch (t->type) {
	case TREE_TEXT:
		fprintf(f, nested ? "'%s'" : "%s", t->u.s);
		return;
	case TREE_LIST:
	case TREE_MAP:
		fputc(t->type == TREE_MAP ? '{' : '[', f);
		for (uint32_t i = 0; i < tree_count(t); i++) {
			const struct tree *c = tree_child(t, i);

			if (i > 0)
				fputs(", ", f);
			if (t->type == TREE_MAP)
				fprintf(f, "'%s': ", c->key);
			print_value(c, true, f);
		}
		fputc(t->type == TREE_MAP ? '}' : ']', f);
		return;
	default:
		tree_scalar_text(t, buf, sizeof(buf));
		fputs(buf, f);
	}
}

void
check_problem(
    struct check *c, const char *path, const struct tree *t, const char *error)
{
	c->problems++;
	fprintf(c->err, "%s ", path);
	if (t != NULL)
		print_value(t, false, c->err);
	fprintf(c->err, " %s\n", error);
}

void
check_missing(struct check *c, const char *path)
{
	check_problem(c, path, NULL, "is not defined.");
}

static void
failed(struct check *c, const char *path, const struct tree *t, const char *why)
{
	char text[URL_SIZE + 128];

	snprintf(text, sizeof(text), "didn't pass validation: %s", why);
	check_problem(c, path, t, text);
}

static bool
need_text(struct check *c, const char *path, const struct tree *t)
{
	if (t->type == TREE_TEXT)
		return true;
	check_problem(c, path, t, "is not a string");
	return false;
}

/* ---- plain types ---- */

static bool
in_limits(const struct conf_key *k, int64_t i)
{
	return (k->min == 0 && k->max == 0) || (i >= k->min && i <= k->max);
}

static void
check_int(struct check *c, const struct conf_key *k, const struct tree *t)
{
	int64_t i;

	if (t->type != TREE_INT && t->type != TREE_BOOL) {
		check_problem(c, k->path, t, "is not an integer");
		return;
	}
	i = t->type == TREE_INT ? t->u.i : t->u.b ? 1 : 0;
	if (!in_limits(k, i))
		failed(c, k->path, t, "Wrong value");
}

static void
check_number(struct check *c, const struct conf_key *k, const struct tree *t,
    const char *unit)
{
	char buf[64];
	const char *text = buf;
	int64_t i;

	if (t->type == TREE_TEXT)
		text = t->u.s;
	else if (t->type == TREE_BOOL)
		text = t->u.b ? "1" : "0";
	else
		tree_scalar_text(t, buf, sizeof(buf));
	if (!value_int(text, unit, &i) || !in_limits(k, i))
		failed(c, k->path, t, "Wrong value");
}

static void
check_real(struct check *c, const struct conf_key *k, const struct tree *t)
{
	bool zero = strcmp(k->path, "raft.connection_retry_time") == 0;
	char buf[64];
	const char *text = buf;
	double r;

	if (t->type == TREE_TEXT)
		text = t->u.s;
	else
		tree_scalar_text(t, buf, sizeof(buf));
	if (!value_real(text, NULL, &r) || r < 0 || (!zero && !(r > 0)))
		failed(c, k->path, t, "Wrong value");
}

static void
check_word(struct check *c, const struct conf_key *k, const struct tree *t)
{
	const char *p = k->words;
	size_t len;

	if (!need_text(c, k->path, t))
		return;
	for (; *p != '\0'; p += len, p += strspn(p, " ")) {
		len = strcspn(p, " ");
		if (strlen(t->u.s) != len)
			continue;
		if ((k->flags & CONF_NOCASE) != 0 &&
			    strcmp(k->path, "restapi.verify_client") != 0 ?
			strncasecmp(p, t->u.s, len) == 0 :
			strncmp(p, t->u.s, len) == 0)
			return;
	}
	failed(c, k->path, t, "Wrong value");
}

/* A list that is not empty; NULL error when it is one. */
static bool
need_list(struct check *c, const char *path, const struct tree *t)
{
	if (t->type != TREE_LIST)
		check_problem(c, path, t, "is not a list");
	else if (tree_count(t) == 0)
		check_problem(c, path, t, "is an empty list");
	else
		return true;
	return false;
}

static void
item_path(char *buf, size_t size, const char *path, uint32_t i)
{
	snprintf(buf, size, "%s.%u", path, i);
}

static void
check_strings(struct check *c, const struct conf_key *k, const struct tree *t)
{
	char path[CONF_PATH_SIZE];

	if (!need_list(c, k->path, t))
		return;
	for (uint32_t i = 0; i < tree_count(t); i++) {
		item_path(path, sizeof(path), k->path, i);
		need_text(c, path, tree_child(t, i));
	}
}

static void
check_type(struct check *c, const struct conf_key *k, const struct tree *t)
{
	switch (k->type) {
	case CONF_TEXT:
		need_text(c, k->path, t);
		return;
	case CONF_INT:
	case CONF_BYTES:
		check_int(c, k, t);
		return;
	case CONF_NUMBER:
		check_number(c, k, t, NULL);
		return;
	case CONF_DURATION:
		check_number(c, k, t, "s");
		return;
	case CONF_REAL:
		check_real(c, k, t);
		return;
	case CONF_BOOL:
		if (t->type != TREE_BOOL)
			check_problem(c, k->path, t, "is not a boolean");
		return;
	case CONF_WORD:
		check_word(c, k, t);
		return;
	case CONF_LIST:
		need_list(c, k->path, t);
		return;
	case CONF_STRINGS:
		check_strings(c, k, t);
		return;
	case CONF_MAP:
	case CONF_SECTION:
		if (t->type != TREE_MAP)
			check_problem(c, k->path, t, "is not a dictionary");
		return;
	case CONF_ANY:
		return;
	}
}

/* ---- addresses ---- */

static bool
is_loopback(const char *host)
{
	static const char *const hosts[] = { "127.0.0.1", "0.0.0.0", "*", "::1",
		"localhost" };

	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		if (strcmp(host, hosts[i]) == 0)
			return true;
	return false;
}

/* host:port of a value; its problems are printed. */
static bool
split(struct check *c, const char *path, const struct tree *t, int dflt,
    char *host, size_t size, int *port)
{
	if (!need_text(c, path, t))
		return false;
	if (*t->u.s == '\0')
		failed(c, path, t, "is an empty string");
	else if (!value_host_port(t->u.s, dflt, host, size, port))
		failed(c, path, t, "contains a wrong value");
	else
		return true;
	return false;
}

static void
check_connect(struct check *c, const char *path, const struct tree *t)
{
	char host[URL_SIZE];
	int port;

	if (split(c, path, t, 1, host, sizeof(host), &port) &&
	    is_loopback(host))
		failed(c, path, t,
		    "must not contain \"127.0.0.1\", "
		    "\"0.0.0.0\", \"*\", \"::1\", \"localhost\"");
}

static void
check_free_port(struct check *c, const char *path, const struct tree *t,
    const char *host, int port)
{
	const char *why = NULL;
	char text[64];
	int rc = probe_connect(host, port, &why);

	if (rc == -1) {
		failed(c, path, t, why);
	} else if (rc == 1 && !c->ignore_listen_port) {
		snprintf(
		    text, sizeof(text), "Port %d is already in use.", port);
		failed(c, path, t, text);
	}
}

static void
check_bind(struct check *c, const struct conf_key *k, const struct tree *t)
{
	bool many = k->check == CHECK_BIND_MANY;
	char hosts[URL_SIZE], *p, *save = NULL;
	int port;

	if (!split(c, k->path, t, many ? 5432 : 0, hosts, sizeof(hosts), &port))
		return;
	if (many && strchr(hosts, ',') != NULL && strchr(hosts, '*') != NULL) {
		failed(c, k->path, t, "expecting '*' alone");
		return;
	}
	if (!many) {
		check_free_port(c, k->path, t, hosts, port);
		return;
	}
	for (p = strtok_r(hosts, ", ", &save); p != NULL;
	     p = strtok_r(NULL, ", ", &save))
		check_free_port(c, k->path, t, p, port);
}

static int
default_port(const char *path)
{
	if (strncmp(path, "consul", 6) == 0)
		return 8500;
	return strncmp(path, "zookeeper", 9) == 0 ? 2181 : 2379;
}

static void
check_reach_text(struct check *c, const char *path, const struct tree *t,
    const char *address)
{
	char host[URL_SIZE], text[URL_SIZE + 64];
	const char *why = NULL;
	int port, rc;

	if (*address == '\0') {
		failed(c, path, t, "is an empty string");
		return;
	}
	if (!value_host_port(
		address, default_port(path), host, sizeof(host), &port)) {
		failed(c, path, t, "contains a wrong value");
		return;
	}
	if ((rc = probe_connect(host, port, &why)) == -1) {
		failed(c, path, t, why);
	} else if (rc == 0) {
		snprintf(
		    text, sizeof(text), "%s:%d is not reachable", host, port);
		failed(c, path, t, text);
	}
}

static void
check_reach_list(struct check *c, const char *path, const struct tree *t)
{
	char item[CONF_PATH_SIZE];

	if (!need_list(c, path, t))
		return;
	for (uint32_t i = 0; i < tree_count(t); i++) {
		const struct tree *e = tree_child(t, i);

		item_path(item, sizeof(item), path, i);
		if (need_text(c, item, e))
			check_reach_text(c, item, e, e->u.s);
	}
}

/* Text with commas, or a list. */
static void
check_reach_any(struct check *c, const char *path, const struct tree *t)
{
	char *copy, *p, *save = NULL;

	if (t->type == TREE_LIST) {
		check_reach_list(c, path, t);
		return;
	}
	if (!need_text(c, path, t)) {
		check_problem(c, path, t, "is not a list");
		return;
	}
	if ((copy = strdup(t->u.s)) == NULL)
		return;
	if (strspn(copy, ", ") == strlen(copy))
		failed(c, path, t, "is an empty string");
	for (p = strtok_r(copy, ", ", &save); p != NULL;
	     p = strtok_r(NULL, ", ", &save))
		check_reach_text(c, path, t, p);
	free(copy);
}

static void
check_ip(struct check *c, const char *path, const struct tree *t)
{
	unsigned char addr[16];

	if (!need_text(c, path, t) || inet_pton(AF_INET, t->u.s, addr) == 1 ||
	    inet_pton(AF_INET6, t->u.s, addr) == 1)
		return;
	failed(c, path, t, "Is not a valid ipv4 address");
	failed(c, path, t, "Is not a valid ipv6 address");
}

/* ---- lists and words with rules of their own ---- */

static void
check_options(struct check *c, const char *path, const struct tree *t)
{
	char item[CONF_PATH_SIZE];

	if (!need_list(c, path, t))
		return;
	for (uint32_t i = 0; i < tree_count(t); i++) {
		const struct tree *e = tree_child(t, i);

		if (e->type == TREE_TEXT || e->type == TREE_MAP)
			continue;
		item_path(item, sizeof(item), path, i);
		check_problem(c, item, e, "is not a string");
		check_problem(c, item, e, "is not a dictionary");
	}
}

static void
check_format(struct check *c, const char *path, const struct tree *t)
{
	if (t->type == TREE_TEXT)
		return;
	if (t->type != TREE_LIST) {
		failed(c, path, t, "Should be a string or a list");
		return;
	}
	if (tree_count(t) == 0)
		failed(c, path, t, "should contain at least one item");
	for (uint32_t i = 0; i < tree_count(t); i++) {
		const struct tree *e = tree_child(t, i);

		if (e->type == TREE_TEXT ||
		    (e->type == TREE_MAP && tree_count(e) == 1 &&
			tree_child(e, 0)->type == TREE_TEXT))
			continue;
		failed(c, path, t,
		    "each item should be a string or a "
		    "dictionary with string values");
		return;
	}
}

static void
check_sync_mode(struct check *c, const char *path, const struct tree *t)
{
	char text[64];

	tree_scalar_text(t, text, sizeof(text));
	if (tree_count(t) > 0 ||
	    (value_bool(text) < 0 && strcasecmp(text, "quorum") != 0))
		failed(c, path, t, "invalid value for synchronous_mode");
}

static void
check_watchdog_mode(struct check *c, const char *path, const struct tree *t)
{
	if (t->type == TREE_BOOL && !t->u.b)
		return;
	if (t->type == TREE_TEXT &&
	    (strcmp(t->u.s, "off") == 0 || strcmp(t->u.s, "automatic") == 0 ||
		strcmp(t->u.s, "required") == 0))
		return;
	failed(c, path, t, "Wrong value");
}

static void
check_port_item(struct check *c, const char *path, const struct tree *t)
{
	char sub[CONF_PATH_SIZE + 8];
	const struct tree *v;

	if (t->type != TREE_MAP) {
		check_problem(c, path, t, "is not a dictionary");
		return;
	}
	snprintf(sub, sizeof(sub), "%s.name", path);
	if ((v = tree_get(t, "name")) == NULL)
		check_missing(c, sub);
	else
		need_text(c, sub, v);
	snprintf(sub, sizeof(sub), "%s.port", path);
	if ((v = tree_get(t, "port")) == NULL)
		check_missing(c, sub);
	else if (v->type != TREE_INT)
		check_problem(c, sub, v, "is not an integer");
	else if (v->u.i > 65535)
		failed(c, sub, v, "Wrong value");
}

static void
check_ports(struct check *c, const char *path, const struct tree *t)
{
	char item[CONF_PATH_SIZE];

	if (!need_list(c, path, t))
		return;
	for (uint32_t i = 0; i < tree_count(t); i++) {
		item_path(item, sizeof(item), path, i);
		check_port_item(c, item, tree_child(t, i));
	}
}

static void
check_codes(struct check *c, const char *path, const struct tree *t)
{
	char item[CONF_PATH_SIZE];

	if (t->type == TREE_INT)
		return;
	if (t->type != TREE_LIST) {
		check_problem(c, path, t, "is not an integer");
		check_problem(c, path, t, "is not a list");
		return;
	}
	for (uint32_t i = 0; i < tree_count(t); i++) {
		if (tree_child(t, i)->type == TREE_INT)
			continue;
		item_path(item, sizeof(item), path, i);
		check_problem(c, item, tree_child(t, i), "is not an integer");
	}
}

/* ---- programs and the data directory ---- */

static const char *
bin_dir(const struct check *c)
{
	return tree_path_text(c->root, "postgresql.bin_dir", "");
}

static const char *
program_name(const struct check *c, const char *word)
{
	char path[CONF_PATH_SIZE];

	snprintf(path, sizeof(path), "postgresql.bin_name.%s", word);
	return tree_path_text(c->root, path, word);
}

static void
lacks(char *text, size_t size, const char *dir, const char *name)
{
	snprintf(text, size, "does not contain '%s' in '%s'", name,
	    *dir != '\0' ? dir : "$PATH");
}

static void
check_bin_name(struct check *c, const char *path, const struct tree *t)
{
	char text[TEXT_SIZE], program[PATH_SIZE];

	if (!need_text(c, path, t) ||
	    probe_program(bin_dir(c), t->u.s, program, sizeof(program)))
		return;
	lacks(text, sizeof(text), bin_dir(c), t->u.s);
	failed(c, path, t, text);
}

void
check_programs(struct check *c, const struct conf_key *k, const struct tree *t)
{
	static const char *const words[] = { "pg_ctl", "initdb",
		"pg_controldata", "pg_basebackup", "postgres", "pg_isready" };
	char text[TEXT_SIZE], program[PATH_SIZE];
	const char *dir;

	if (t != NULL && !need_text(c, k->path, t))
		return;
	dir = t != NULL ? t->u.s : "";
	if (*dir != '\0' && !probe_exists(dir)) {
		snprintf(
		    text, sizeof(text), "Directory '%s' does not exist.", dir);
		check_problem(c, k->path, NULL, text);
		return;
	}
	if (*dir != '\0' && !probe_is_dir(dir)) {
		snprintf(text, sizeof(text), "'%s' is not a directory.", dir);
		check_problem(c, k->path, NULL, text);
		return;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const char *name = program_name(c, words[i]);

		if (probe_program(dir, name, program, sizeof(program)))
			continue;
		lacks(text, sizeof(text), dir, name);
		check_problem(c, k->path, NULL, text);
	}
}

/* First line of <dir>/PG_VERSION. */
static bool
data_version(const char *dir, char *out, size_t size)
{
	char path[PATH_SIZE];
	FILE *f;
	bool ok;
	int n = snprintf(path, sizeof(path), "%s/PG_VERSION", dir);

	if (n < 0 || (size_t)n >= sizeof(path) ||
	    (f = fopen(path, "re")) == NULL)
		return false;
	ok = fgets(out, (int)size, f) != NULL;
	fclose(f);
	if (ok)
		out[strcspn(out, " \r\n")] = '\0';
	return ok;
}

static void
check_data_dir(struct check *c, const char *path, const struct tree *t)
{
	char version[32], program[PATH_SIZE], mine[32], sub[PATH_SIZE];
	char text[TEXT_SIZE];
	const char *wal;
	int n;

	if (!need_text(c, path, t))
		return;
	if (*t->u.s == '\0') {
		failed(c, path, t, "is an empty string");
		return;
	}
	if (!probe_exists(t->u.s))
		return;
	if (!probe_is_dir(t->u.s)) {
		failed(c, path, t, "is not a directory");
		return;
	}
	if (probe_dir_empty(t->u.s))
		return;
	if (!data_version(t->u.s, version, sizeof(version))) {
		failed(c, path, t, "doesn't look like a valid data directory");
		return;
	}
	wal = strtod(version, NULL) >= 10 ? "pg_wal" : "pg_xlog";
	n = snprintf(sub, sizeof(sub), "%s/%s", t->u.s, wal);
	if (n < 0 || (size_t)n >= sizeof(sub) || !probe_is_dir(sub)) {
		snprintf(text, sizeof(text),
		    "data dir for the cluster is not "
		    "empty, but doesn't contain \"%s\" directory",
		    wal);
		failed(c, path, t, text);
		return;
	}
	if (!probe_program(bin_dir(c), program_name(c, "postgres"), program,
		sizeof(program)) ||
	    !probe_postgres_version(program, mine, sizeof(mine)) ||
	    strcmp(version, mine) == 0)
		return;
	snprintf(text, sizeof(text),
	    "data_dir directory postgresql version "
	    "(%s) doesn't match with 'postgres --version' output (%s)",
	    version, mine);
	failed(c, path, t, text);
}

static void
check_name(struct check *c, const char *path, const struct tree *t)
{
	char text[TEXT_SIZE];

	if (!need_text(c, path, t) || strcmp(t->u.s, SSN_PLACEHOLDER) != 0)
		return;
	snprintf(text, sizeof(text), "Node 'name' can't be set to '%s'",
	    SSN_PLACEHOLDER);
	failed(c, path, t, text);
}

void
check_value(struct check *c, const struct conf_key *k, const struct tree *t)
{
	switch (k->check) {
	case CHECK_NOT:
	case CHECK_BIN_DIR:
		return;
	case CHECK_TYPE:
	case CHECK_TAGS:
		check_type(c, k, t);
		return;
	case CHECK_NAME:
		check_name(c, k->path, t);
		return;
	case CHECK_BIND:
	case CHECK_BIND_MANY:
		check_bind(c, k, t);
		return;
	case CHECK_CONNECT:
		check_connect(c, k->path, t);
		return;
	case CHECK_REACH:
		if (need_text(c, k->path, t))
			check_reach_text(c, k->path, t, t->u.s);
		return;
	case CHECK_REACH_ANY:
		check_reach_any(c, k->path, t);
		return;
	case CHECK_REACH_LIST:
		check_reach_list(c, k->path, t);
		return;
	case CHECK_IP:
		check_ip(c, k->path, t);
		return;
	case CHECK_DATA_DIR:
		check_data_dir(c, k->path, t);
		return;
	case CHECK_BIN_NAME:
		check_bin_name(c, k->path, t);
		return;
	case CHECK_OPTIONS:
		check_options(c, k->path, t);
		return;
	case CHECK_FORMAT:
		check_format(c, k->path, t);
		return;
	case CHECK_SYNC_MODE:
		check_sync_mode(c, k->path, t);
		return;
	case CHECK_WATCHDOG_MODE:
		check_watchdog_mode(c, k->path, t);
		return;
	case CHECK_PORTS:
		check_ports(c, k->path, t);
		return;
	case CHECK_CODES:
		check_codes(c, k->path, t);
		return;
	}
}
