/*
 * generate.c: --generate-sample-config and what it shares with
 * --generate-config (spec/config.md 16).  Reading a live server stands in
 * generate_server.c.
 */
#include <sys/socket.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../ipc/values.h"
#include "generate.h"
#include "probe.h"

#define FIXME "#FIXME"

/* Sections in the order of the output. */
static const char *const sections[] = { "scope", "namespace", "name", "log",
	"restapi", "ctl", "citus", "consul", "etcd", "etcd3", "exhibitor",
	"kubernetes", "raft", "zookeeper", "bootstrap", "postgresql",
	"watchdog", "tags", NULL };

void
generate_text(struct generate *g, const char *path, const char *value)
{
	conf_set_path(g->doc, path, tree_text(value));
}

void
generate_int(struct generate *g, const char *path, int64_t value)
{
	conf_set_path(g->doc, path, tree_int(value));
}

void
generate_bool(struct generate *g, const char *path, bool value)
{
	conf_set_path(g->doc, path, tree_bool(value));
}

/* ---- the template ---- */

/* First address of the host name, IPv4 preferred. */
static void
find_address(struct generate *g, const char *host)
{
	struct addrinfo hints, *list, *ai, *best = NULL;
	int rc;

	snprintf(g->ip, sizeof(g->ip), "%s", FIXME);
	memset(&hints, 0, sizeof(hints));
	hints.ai_socktype = SOCK_STREAM;
	if ((rc = getaddrinfo(host, NULL, &hints, &list)) != 0) {
		log_warn("Failed to resolve %s: %s", host, gai_strerror(rc));
		return;
	}
	for (ai = list; ai != NULL; ai = ai->ai_next) {
		if (best == NULL ||
		    (best->ai_family != AF_INET && ai->ai_family == AF_INET))
			best = ai;
	}
	if (best == NULL ||
	    getnameinfo(best->ai_addr, best->ai_addrlen, g->ip, sizeof(g->ip),
		NULL, 0, NI_NUMERICHOST) != 0)
		snprintf(g->ip, sizeof(g->ip), "%s", FIXME);
	freeaddrinfo(list);
}

static void
set_address(struct generate *g, const char *path, int port)
{
	char text[320];

	if (strcmp(g->ip, FIXME) == 0)
		snprintf(text, sizeof(text), "%s", FIXME);
	else
		snprintf(text, sizeof(text),
		    strchr(g->ip, ':') != NULL ? "[%s]:%d" : "%s:%d", g->ip,
		    port);
	generate_text(g, path, text);
}

static void
template_dcs(struct generate *g)
{
#define PARAM "bootstrap.dcs.postgresql.parameters."
	generate_int(g, "bootstrap.dcs.loop_wait", 10);
	generate_int(g, "bootstrap.dcs.retry_timeout", 10);
	generate_int(g, "bootstrap.dcs.ttl", 30);
	generate_bool(g, "bootstrap.dcs.postgresql.use_slots", true);
	generate_text(g, PARAM "hot_standby", "on");
	generate_int(g, PARAM "max_connections", 100);
	generate_int(g, PARAM "max_wal_senders", 10);
	generate_int(g, PARAM "max_prepared_transactions", 0);
	generate_int(g, PARAM "max_locks_per_transaction", 64);
	generate_text(g, PARAM "track_commit_timestamp", "off");
	generate_int(g, PARAM "max_replication_slots", 10);
	generate_int(g, PARAM "max_worker_processes", 8);
	generate_text(g, PARAM "wal_log_hints", "on");
}

static void
template_node(struct generate *g)
{
#define AUTHENTICATION "postgresql.authentication."
	generate_text(g, "log.type", "plain");
	generate_text(g, "log.level", "INFO");
	generate_text(g, "log.traceback_level", "ERROR");
	generate_text(
	    g, "log.format", "%(asctime)s %(levelname)s: %(message)s");
	generate_int(g, "log.max_queue_size", 1000);
	set_address(g, "restapi.listen", 8008);
	set_address(g, "restapi.connect_address", 8008);
	set_address(g, "postgresql.listen", 5432);
	set_address(g, "postgresql.connect_address", 5432);
	generate_text(g, "postgresql.data_dir", FIXME);
	generate_text(g, "postgresql.bin_dir", "");
	generate_text(g, AUTHENTICATION "superuser.username", "postgres");
	generate_text(g, AUTHENTICATION "superuser.password", FIXME);
	generate_text(g, AUTHENTICATION "replication.username", "replicator");
	generate_text(g, AUTHENTICATION "replication.password", FIXME);
	generate_int(g, "tags.failover_priority", 1);
	generate_int(g, "tags.sync_priority", 1);
	generate_bool(g, "tags.noloadbalance", false);
	generate_bool(g, "tags.clonefrom", true);
	generate_bool(g, "tags.nosync", false);
	generate_bool(g, "tags.nostream", false);
}

static bool
make_template(struct generate *g, const struct conf_env *env)
{
	const struct tree *overlay = conf_env_tree(env);
	char host[256];

	if ((g->doc = tree_map()) == NULL)
		return false;
	if (gethostname(host, sizeof(host)) == -1)
		snprintf(host, sizeof(host), "%s", "localhost");
	host[sizeof(host) - 1] = '\0';
	find_address(g, host);
	generate_text(g, "scope", FIXME);
	generate_text(g, "name", host);
	template_node(g);
	template_dcs(g);
	return overlay == NULL || tree_patch(g->doc, overlay, NULL);
}

/* What depends on the server's version: auth method, WAL parameters, the
 * rewind account.  version as in 90600, 150000. */
static void
for_version(struct generate *g, int version)
{
	const struct tree *hints = tree_path(g->doc, PARAM "wal_log_hints");
	const char *method = version >= 100000 ? "scram-sha-256" : "md5";
	const char *replication = tree_path_text(
	    g->doc, AUTHENTICATION "replication.username", "replicator");
	char line[256];
	struct tree *hba;

	if (version >= 110000 &&
	    tree_path(g->doc, AUTHENTICATION "rewind") == NULL) {
		generate_text(
		    g, AUTHENTICATION "rewind.username", "rewind_user");
		generate_text(g, AUTHENTICATION "rewind.password", FIXME);
	}
	generate_text(g, "postgresql.parameters.password_encryption", method);
	if ((hba = tree_list()) != NULL) {
		snprintf(line, sizeof(line), "host all all all %s", method);
		tree_append(hba, tree_text(line));
		snprintf(line, sizeof(line), "host replication %s all %s",
		    replication, method);
		tree_append(hba, tree_text(line));
		conf_set_path(g->doc, "postgresql.pg_hba", hba);
	}
	if (version < 130000)
		generate_int(g, PARAM "wal_keep_segments", 8);
	else
		generate_text(g, PARAM "wal_keep_size", "128MB");
	generate_text(
	    g, PARAM "wal_level", version < 90600 ? "hot_standby" : "replica");
	generate_bool(g, "bootstrap.dcs.postgresql.use_pg_rewind",
	    hints != NULL && !conf_falsy(hints) &&
		!(hints->type == TREE_TEXT && strcmp(hints->u.s, "off") == 0));
}

/* ---- output ---- */

static void
write_key(const struct tree *map, const char *key, int indent, FILE *f)
{
	const struct tree *t = tree_get(map, key);
	struct tree *one = tree_map();

	if (t != NULL && one != NULL && tree_set(one, key, tree_copy(t)))
		conf_yaml_write(one, indent, true, f);
	tree_free_wiped(one);
}

static void
write_bootstrap(const struct tree *bootstrap, FILE *f)
{
	static const char *const first[] = { "loop_wait", "retry_timeout",
		"ttl" };
	struct tree *dcs = tree_copy(tree_get(bootstrap, "dcs"));

	fputs("bootstrap:\n"
	      "  # This section is written to the store as the dynamic\n"
	      "  # configuration once, after the cluster was initialised.\n"
	      "  # Later changes are made with \"patronictl edit-config\".\n"
	      "  dcs:\n",
	    f);
	if (dcs == NULL)
		return;
	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		write_key(dcs, first[i], 4, f);
		tree_remove(dcs, first[i]);
	}
	if (tree_count(dcs) > 0)
		conf_yaml_write(dcs, 4, true, f);
	tree_free(dcs);
}

static void
write_document(const struct tree *doc, FILE *f)
{
	for (const char *const *s = sections; *s != NULL; s++) {
		const struct tree *t = tree_get(doc, *s);

		if (t == NULL)
			continue;
		if (t->type == TREE_MAP)
			fputc('\n', f);
		if (strcmp(*s, "bootstrap") == 0 && tree_get(t, "dcs") != NULL)
			write_bootstrap(t, f);
		else
			write_key(doc, *s, 0, f);
	}
}

/* Directories above the file. */
static bool
make_parents(const char *path)
{
	char dir[PATH_SIZE];

	if (!text_set(dir, sizeof(dir), path))
		return false;
	for (char *p = strchr(dir + 1, '/'); p != NULL;
	     p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(dir, 0777) == -1 && errno != EEXIST)
			return false;
		*p = '/';
	}
	return true;
}

static bool
emit(const struct generate *g, const char *text, size_t len, FILE *out)
{
	const char *path = g->options->path;
	FILE *f = out;
	bool ok;

	if (path != NULL && *path != '\0') {
		/* it may hold a password */
		int fd = make_parents(path) ?
		    open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) :
		    -1;

		if (fd == -1 || (f = fdopen(fd, "w")) == NULL) {
			fprintf(g->err, "%s: %s\n", path, strerror(errno));
			return false;
		}
	}
	ok = fwrite(text, 1, len, f) == len && fflush(f) == 0;
	if (f != out)
		ok = fclose(f) == 0 && ok;
	if (!ok)
		fprintf(g->err, "%s: %s\n", path != NULL ? path : "stdout",
		    strerror(errno));
	return ok;
}

static bool
sample(struct generate *g)
{
	char program[PATH_SIZE], version[32];
	const char *name =
	    tree_path_text(g->doc, "postgresql.bin_name.postgres", "postgres");
	unsigned at[3];

	if (!probe_program(tree_path_text(g->doc, "postgresql.bin_dir", ""),
		name, program, sizeof(program)) ||
	    !probe_postgres_version(program, version, sizeof(version)) ||
	    version_numbers(version, at) < 1) {
		fprintf(g->err,
		    "Failed to get postgres version: cannot run %s\n", name);
		return false;
	}
	for_version(g, (int)(at[0] * 10000 + at[1] * 100));
	return true;
}

int
conf_generate_main(const struct conf_generate_options *options,
    const struct conf_env *env, FILE *out, FILE *err)
{
	struct generate g = { .options = options, .err = err };
	char *text = NULL;
	size_t len = 0;
	bool ok;
	FILE *f;

	ok = make_template(&g, env) &&
	    (options->sample ? sample(&g) : generate_from_server(&g));
	if (ok && (f = open_memstream(&text, &len)) != NULL) {
		write_document(g.doc, f);
		ok = fclose(f) == 0;
		while (len > 0 && text[len - 1] == '\n')
			len--; /* none after the last line */
		ok = ok && emit(&g, text, len, out);
	} else if (ok) {
		fprintf(err, "Unexpected exception: out of memory\n");
		ok = false;
	}
	if (text != NULL)
		wipe(text, len);
	free(text);
	tree_free_wiped(g.doc);
	return ok ? 0 : 1;
}
