/*
 * generate_server.c: --generate-config, the configuration of a running
 * server (spec/config.md 16).  The server is asked through psql, so that the
 * master needs no PostgreSQL library.
 */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "dsn.h"
#include "generate.h"
#include "probe.h"

#define QUERY_MS 15000
#define ANSWER_SIZE (512 * 1024)
#define FIELD "\x1f"
#define RECORD "\x1e"

static const char query[] =
    "SELECT ':version', current_setting('server_version_num') "
    "UNION ALL SELECT ':super', (SELECT rolsuper::text FROM "
    "pg_catalog.pg_roles WHERE rolname = current_user) "
    "UNION ALL SELECT name, pg_catalog.current_setting(name) "
    "FROM pg_catalog.pg_settings WHERE (context <> 'internal' "
    "AND source IN ('configuration file', 'command line', "
    "'environment variable') "
    "AND category <> 'Write-Ahead Log / Recovery Target' "
    "AND setting <> '(disabled)') OR name IN ('hba_file', 'ident_file', "
    "'config_file', 'data_directory', 'listen_addresses', 'port', "
    "'cluster_name', 'wal_level', 'hot_standby', 'max_connections', "
    "'max_wal_senders', 'wal_keep_segments', 'wal_keep_size', "
    "'max_prepared_transactions', 'max_locks_per_transaction', "
    "'track_commit_timestamp', 'max_replication_slots', "
    "'max_worker_processes', 'wal_log_hints')";

static const char *const local_parameters[] = { "archive_command",
	"restore_command", "archive_cleanup_command", "recovery_end_command",
	"ssl_passphrase_command", "hba_file", "ident_file", "config_file",
	NULL };

/* Keys of the superuser account; `since`: first version that knows them. */
static const struct {
	const char *key, *dsn, *env, *dflt;
	int since;
} account[] = {
	{ "username", "user", "PGUSER", NULL, 0 },
	{ "password", "password", "PGPASSWORD", NULL, 0 },
	{ "sslmode", "sslmode", "PGSSLMODE", "prefer", 0 },
	{ "sslcert", "sslcert", "PGSSLCERT", NULL, 0 },
	{ "sslkey", "sslkey", "PGSSLKEY", NULL, 0 },
	{ "sslpassword", "sslpassword", NULL, NULL, 130000 },
	{ "sslrootcert", "sslrootcert", "PGSSLROOTCERT", NULL, 0 },
	{ "sslcrl", "sslcrl", "PGSSLCRL", NULL, 0 },
	{ "sslcrldir", "sslcrldir", "PGSSLCRLDIR", NULL, 140000 },
	{ "gssencmode", "gssencmode", "PGGSSENCMODE", "prefer", 120000 },
	{ "channel_binding", "channel_binding", "PGCHANNELBINDING", "prefer",
	    130000 },
	{ "sslnegotiation", "sslnegotiation", "PGSSLNEGOTIATION", "postgres",
	    170000 },
};
#define NACCOUNT (sizeof(account) / sizeof(account[0]))

/* What the server said: names to text. */
struct server {
	struct tree *dsn; /* map; empty without --dsn */
	struct tree *settings;
	int version;
};

static const char *
setting(const struct server *s, const char *name)
{
	return tree_path_text(s->settings, name, "");
}

/* ---- the question ---- */

/* A password from the terminal, not shown while it is typed. */
static bool
ask_password(char *buf, size_t size)
{
	struct termios was, quiet;
	FILE *tty = fopen("/dev/tty", "r+e");
	bool ok;

	if (tty == NULL)
		return false;
	if (tcgetattr(fileno(tty), &was) == -1) {
		fclose(tty);
		return false;
	}
	quiet = was;
	quiet.c_lflag &= (tcflag_t)~ECHO;
	fputs("Please enter the user password:", tty);
	fflush(tty);
	tcsetattr(fileno(tty), TCSAFLUSH, &quiet);
	ok = fgets(buf, (int)size, tty) != NULL;
	tcsetattr(fileno(tty), TCSAFLUSH, &was);
	fputc('\n', tty);
	fclose(tty);
	if (ok)
		buf[strcspn(buf, "\r\n")] = '\0';
	return ok;
}

static void
need_password(const struct server *s)
{
	char password[512];

	if (getenv("PGPASSWORD") != NULL || getenv("PGPASSFILE") != NULL ||
	    tree_get(s->dsn, "password") != NULL)
		return;
	if (ask_password(password, sizeof(password)) && *password != '\0')
		setenv("PGPASSWORD", password, 1);
	wipe(password, sizeof(password));
}

/* name FIELD value RECORD name FIELD value ... */
static bool
parse_answer(struct server *s, char *answer)
{
	char *save = NULL, *mark, *end;
	size_t len = strlen(answer);

	if (len > 0 && answer[len - 1] == '\n')
		answer[len - 1] = '\0';
	for (char *r = strtok_r(answer, RECORD, &save); r != NULL;
	     r = strtok_r(NULL, RECORD, &save)) {
		if ((mark = strstr(r, FIELD)) == NULL)
			return false;
		*mark = '\0';
		if (!tree_set(s->settings, r, tree_text(mark + 1)))
			return false;
	}
	s->version = (int)strtol(setting(s, ":version"), &end, 10);
	return s->version >= 90300 && *end == '\0';
}

static bool
ask_server(struct generate *g, struct server *s)
{
	char psql[PATH_SIZE], *answer = malloc(ANSWER_SIZE);
	const char *words[] = { psql, "-X", "-A", "-t", "-w", "-q", "-F", FIELD,
		"-R", RECORD, "-v", "ON_ERROR_STOP=1", "-c", query, "-d",
		g->options->dsn != NULL ? g->options->dsn : "dbname=postgres",
		NULL };
	char *argv[sizeof(words) / sizeof(words[0])];
	bool ok;

	if (answer == NULL)
		return false;
	/* the child does not write to its arguments */
	memcpy(argv, words, sizeof(argv));
	if (g->options->dsn == NULL && getenv("PGDATABASE") != NULL)
		argv[14] = NULL;
	ok = probe_program(tree_path_text(g->doc, "postgresql.bin_dir", ""),
		 "psql", psql, sizeof(psql)) &&
	    probe_run(argv, QUERY_MS, answer, ANSWER_SIZE) == 0 &&
	    parse_answer(s, answer);
	free(answer);
	if (!ok)
		fprintf(g->err,
		    "Failed to establish PostgreSQL connection: "
		    "see the message of psql above, if any\n");
	return ok;
}

/* ---- the document ---- */

static void
put_account(struct generate *g, const struct server *s)
{
	const struct passwd *pw = getpwuid(geteuid());
	bool from_dsn = g->options->dsn != NULL;
	char path[CONF_PATH_SIZE];
	const char *v;

	conf_set_path(
	    g->doc, "postgresql.authentication.superuser", tree_map());
	for (size_t i = 0; i < NACCOUNT; i++) {
		if (s->version < account[i].since)
			continue;
		v = tree_path_text(s->dsn, account[i].dsn, NULL);
		if (v == NULL && account[i].env != NULL && (!from_dsn || i < 2))
			v = getenv(account[i].env);
		if (v == NULL && from_dsn)
			v = account[i].dflt;
		if (v == NULL && i == 0 && pw != NULL)
			v = pw->pw_name;
		if (v == NULL)
			continue;
		snprintf(path, sizeof(path),
		    "postgresql.authentication.superuser.%s", account[i].key);
		generate_text(g, path, v);
	}
	generate_text(
	    g, "postgresql.authentication.replication.username", "#FIXME");
	generate_text(
	    g, "postgresql.authentication.replication.password", "#FIXME");
}

/* Plain decimal numbers become numbers. */
static struct tree *
as_value(const char *text)
{
	int64_t i;

	if ((text[0] != '0' || text[1] == '\0') && text[0] != '+' &&
	    text_to_int64(text, INT64_MIN, INT64_MAX, &i))
		return tree_int(i);
	return tree_text(text);
}

static bool
is_local(const char *name)
{
	for (const char *const *p = local_parameters; *p != NULL; p++)
		if (strcmp(*p, name) == 0)
			return true;
	return false;
}

/* Names with dots belong to extensions: no dotted paths for those. */
static void
put_parameter(struct generate *g, const char *section, const char *name,
    const char *value)
{
	struct tree *map = tree_path(g->doc, section);

	if (map == NULL || map->type != TREE_MAP) {
		conf_set_path(g->doc, section, tree_map());
		map = tree_path(g->doc, section);
	}
	if (map != NULL)
		tree_set(map, name, as_value(value));
}

static void
put_parameters(struct generate *g, const struct server *s)
{
	static const char *const special[] = { "data_directory", "cluster_name",
		"listen_addresses", "port", NULL };
	bool skip;

	for (uint32_t i = 0; i < tree_count(s->settings); i++) {
		const struct tree *t = tree_child(s->settings, i);

		skip = t->key[0] == ':';
		for (const char *const *p = special; *p != NULL; p++)
			skip = skip || strcmp(*p, t->key) == 0;
		if (skip)
			continue;
		put_parameter(g,
		    is_local(t->key) ? "postgresql.parameters" :
				       "bootstrap.dcs.postgresql.parameters",
		    t->key, t->u.s);
	}
}

static void
put_addresses(struct generate *g, const struct server *s)
{
	char text[512];
	const char *port = tree_path_text(s->dsn, "port", NULL);

	if (port == NULL)
		port = getenv("PGPORT");
	if (port == NULL)
		port = setting(s, "port");
	snprintf(text, sizeof(text),
	    strchr(g->ip, ':') != NULL ? "[%s]:%s" : "%s:%s", g->ip, port);
	generate_text(g, "postgresql.connect_address", text);
	snprintf(text, sizeof(text), "%s:%s", setting(s, "listen_addresses"),
	    setting(s, "port"));
	generate_text(g, "postgresql.listen", text);
	generate_text(g, "postgresql.data_dir", setting(s, "data_directory"));
	if (*setting(s, "cluster_name") != '\0')
		generate_text(g, "scope", setting(s, "cluster_name"));
}

/* ---- files of the server ---- */

static bool
is_hba_line(const char *line, int version)
{
	static const char *const words[] = { "local", "host", "hostssl",
		"hostnossl", "hostgssenc", "hostnogssenc", "include",
		"include_if_exists", "include_dir" };
	size_t count = version >= 160000 ? 9 : 6;
	size_t len = strcspn(line, " \t");

	for (size_t i = 0; i < count; i++)
		if (strlen(words[i]) == len &&
		    strncmp(words[i], line, len) == 0)
			return true;
	return false;
}

/* Lines of <data>/<base> when that is the file in use. */
static bool
put_lines(struct generate *g, const struct server *s, const char *name,
    const char *base, bool hba)
{
	char path[PATH_SIZE], key[64], *line = NULL;
	struct tree *list;
	size_t size = 0;
	ssize_t n;
	FILE *f;
	int got = snprintf(
	    path, sizeof(path), "%s/%s", setting(s, "data_directory"), base);

	if (got < 0 || (size_t)got >= sizeof(path) ||
	    strcmp(setting(s, name), path) != 0)
		return true;
	if ((f = fopen(path, "re")) == NULL) {
		fprintf(g->err, "Failed to read %s: %m\n", base);
		return false;
	}
	list = tree_list();
	while (list != NULL && (n = getline(&line, &size, f)) != -1) {
		while (n > 0 && strchr(" \t\r\n", line[n - 1]) != NULL)
			line[--n] = '\0';
		if (n == 0 ||
		    (hba ? !is_hba_line(line, s->version) : *line == '#'))
			continue;
		tree_append(list, tree_text(line));
	}
	free(line);
	fclose(f);
	snprintf(
	    key, sizeof(key), "postgresql.%s", hba ? "pg_hba" : "pg_ident");
	if (tree_count(list) > 0)
		conf_set_path(g->doc, key, list);
	else
		tree_free(list);
	return true;
}

static bool
put_bin_dir(struct generate *g, const struct server *s)
{
	char path[PATH_SIZE], exe[PATH_SIZE], *slash;
	long pid = 0;
	ssize_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%.900s/postmaster.pid",
	    setting(s, "data_directory"));
	if ((f = fopen(path, "re")) == NULL) {
		fprintf(
		    g->err, "Error while reading postmaster.pid file: %m\n");
		return false;
	}
	if (fscanf(f, "%ld", &pid) != 1 || pid <= 0) {
		fclose(f);
		fprintf(g->err,
		    "Failed to obtain postmaster pid from "
		    "postmaster.pid file\n");
		return false;
	}
	fclose(f);
	snprintf(path, sizeof(path), "/proc/%ld/exe", pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	if (n <= 0) {
		fprintf(g->err, "Obtained postmaster pid doesn't exist.\n");
		return false;
	}
	exe[n] = '\0';
	if ((slash = strrchr(exe, '/')) != NULL)
		*slash = '\0';
	generate_text(g, "postgresql.bin_dir", exe);
	return true;
}

static bool
fill(struct generate *g, struct server *s)
{
	need_password(s);
	if (!ask_server(g, s))
		return false;
	if (strcmp(setting(s, ":super"), "true") != 0) {
		fprintf(g->err,
		    "The provided user does not have superuser "
		    "privilege\n");
		return false;
	}
	put_account(g, s);
	put_parameters(g, s);
	put_addresses(g, s);
	return put_lines(g, s, "hba_file", "pg_hba.conf", true) &&
	    put_lines(g, s, "ident_file", "pg_ident.conf", false) &&
	    put_bin_dir(g, s);
}

bool
generate_from_server(struct generate *g)
{
	struct server s = { .settings = tree_map() };
	bool ok;

	s.dsn =
	    g->options->dsn != NULL ? dsn_parse(g->options->dsn) : tree_map();
	if (s.dsn == NULL)
		fprintf(g->err, "Failed to parse DSN string\n");
	ok = s.dsn != NULL && s.settings != NULL && fill(g, &s);
	tree_free_wiped(s.dsn);
	tree_free(s.settings);
	return ok;
}
