/*
 * cmd_query.c: `query` (patronictl.md 13): one text to one member through
 * libpq, whose environment (PGUSER, PGPASSWORD, pgpass …) counts.
 */
#include <libpq-fe.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pgvalue.h"
#include "ctl.h"

#define MAX_SQL (64 * 1024 * 1024)
#define CONNECT_TIMEOUT "5"

/* Read once, also when the query is repeated. */
static struct {
	char *sql;
	char *password;
	struct view *view;
	const struct view_member *member;
} job;

/* ---- the text ---- */

static char *
read_sql(const struct command *c, const char *path)
{
	bool standard = strcmp(path, "-") == 0;
	FILE *f = standard ? stdin : fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	ssize_t n;

	if (f == NULL)
		usage_error(c, "Invalid value for '--file' / '-f': '%s': %s",
		    path, strerror(errno));
	/* up to a NUL, which SQL cannot hold */
	n = getdelim(&text, &size, '\0', f);
	if (ferror(f))
		usage_error(c, "Invalid value for '--file' / '-f': '%s': %s",
		    path, strerror(errno));
	if (n > MAX_SQL)
		ctl_error("%s: too long", path);
	if (!standard)
		(void)fclose(f);
	if (n <= 0) {
		free(text);
		text = strdup("");
	}
	return text;
}

static void
load_sql(const struct parsed *p)
{
	const char *file = parsed_text(p, "--file");
	const char *command = parsed_text(p, "--command");

	if (file != NULL && command != NULL)
		ctl_error("--file and --command are mutually exclusive "
			  "options");
	if (file == NULL && command == NULL)
		ctl_error("You need to specify either --command or --file");
	job.sql =
	    command != NULL ? strdup(command) : read_sql(p->command, file);
	if (job.sql == NULL)
		ctl_error("out of memory");
}

/* ---- output ---- */

static enum table_format
format_of(const struct parsed *p, bool *known)
{
	const char *name = parsed_text(p, "--format");
	static const char *const names[] = { "pretty", "topology", "tsv",
		"json", "yaml", "yml" };
	size_t i;

	*known = name == NULL;
	for (i = 0; name != NULL && i < sizeof(names) / sizeof(names[0]); i++)
		*known = *known || strcmp(name, names[i]) == 0;
	if (name == NULL)
		return FMT_TSV;
	return strcmp(name, "topology") == 0 ? FMT_PRETTY : table_format(name);
}

static void
print_table(const struct parsed *p, struct table *t)
{
	bool known;
	enum table_format fmt = format_of(p, &known);

	t->delimiter = parsed_text(p, "--delimiter");
	if (known)
		table_print(t, fmt, stdout);
	table_free(t);
}

/* A row without names: when, and what went wrong. */
static void
print_problem(const struct parsed *p, const char *text)
{
	char now[DATE_SIZE];
	struct tree *row;
	struct table t;

	table_init(&t);
	t.unnamed = true;
	table_column(&t, "Field 1", NULL, false);
	table_column(&t, "Field 2", NULL, false);
	date_now(now, sizeof(now));
	row = table_row(&t);
	(void)tree_append(row, tree_text(now));
	(void)tree_append(row, tree_text(text));
	print_table(p, &t);
}

static void
print_result(const struct parsed *p, const PGresult *r)
{
	bool known;
	enum table_format fmt = format_of(p, &known);
	bool native = fmt == FMT_JSON || fmt == FMT_YAML;
	struct tree *row;
	struct table t;
	int i, c;

	table_init(&t);
	for (c = 0; c < PQnfields(r); c++)
		table_column(&t, PQfname(r, c), NULL, false);
	for (i = 0; i < PQntuples(r); i++) {
		row = table_row(&t);
		for (c = 0; c < PQnfields(r); c++)
			if (!tree_append(row,
				pgvalue(PQftype(r, c),
				    PQgetisnull(r, i, c) ? NULL :
							   PQgetvalue(r, i, c),
				    native)))
				ctl_error("out of memory");
	}
	print_table(p, &t);
}

/* The SQLSTATE, or the words without it when the server gave none. */
static void
print_error(const struct parsed *p, const char *state, const char *words)
{
	char text[TEXT_SIZE * 4];
	char *c;

	if (state != NULL && state[0] != '\0')
		(void)snprintf(
		    text, sizeof(text), "ERROR, SQLSTATE: %s", state);
	else
		(void)snprintf(text, sizeof(text), "%s", words);
	for (c = text; *c != '\0'; c++)
		if (*c == '\n')
			*c = ' ';
	print_problem(p, text);
}

/* ---- the connection ---- */

static PGconn *
connect_to(const struct parsed *p, const struct view_member *m)
{
	char host[URL_SIZE], port[16];
	const char *names[] = { "host", "port", "connect_timeout",
		"fallback_application_name", "user", "password", "dbname",
		NULL };
	const char *values[] = { host, port, CONNECT_TIMEOUT, "Patroni ctl",
		parsed_text(p, "-U"), job.password, parsed_text(p, "-d"),
		NULL };
	int number;

	(void)view_member_address(m, host, sizeof(host), &number);
	(void)snprintf(port, sizeof(port), "%d", number);
	/* A value that is NULL is one that was not given. */
	return PQconnectdbParams(names, values, 0);
}

/* Roles that are more than a key in the store (13.3). */
static bool
role_fits(PGconn *c, const char *role)
{
	bool standby, fits = false;
	PGresult *r;

	if (role == NULL || strcmp(role, "leader") == 0 ||
	    strcmp(role, "any") == 0)
		return true;
	standby = strcmp(role, "primary") != 0;
	r = PQexec(c, "SELECT pg_catalog.pg_is_in_recovery()");
	if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1)
		fits = (PQgetvalue(r, 0, 0)[0] == 't') == standby;
	PQclear(r);
	return fits;
}

static void
no_connection(const struct parsed *p)
{
	const char *role = parsed_text(p, "--role");
	const char *member = parsed_text(p, "--member");
	char text[TEXT_SIZE] = "No connection is available";

	if (member != NULL)
		(void)snprintf(text, sizeof(text),
		    "No connection to member %s is available", member);
	else if (role != NULL)
		(void)snprintf(text, sizeof(text),
		    "No connection to role '%s' is available", role);
	print_problem(p, text);
}

static void
execute(const struct parsed *p, PGconn *c)
{
	PGresult *r = PQexec(c, job.sql);

	switch (PQresultStatus(r)) {
	case PGRES_TUPLES_OK:
		print_result(p, r);
		break;
	case PGRES_COMMAND_OK:
		print_error(p, "no results to fetch", "");
		break;
	case PGRES_EMPTY_QUERY:
		print_error(p, "can't execute an empty query", "");
		break;
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
		print_error(p, "can't execute COPY FROM/TO", "");
		break;
	case PGRES_BAD_RESPONSE:
	case PGRES_NONFATAL_ERROR:
	case PGRES_FATAL_ERROR:
	default:
		print_error(p, PQresultErrorField(r, PG_DIAG_SQLSTATE),
		    PQerrorMessage(c));
		break;
	}
	PQclear(r);
}

static int
query_once(struct ctl *ctl, const struct parsed *p)
{
	PGconn *c;

	(void)ctl;
	if (job.member == NULL) {
		no_connection(p);
		return 0;
	}
	progress("connecting to %s", job.member->name);
	c = connect_to(p, job.member);
	progress_end();
	if (PQstatus(c) != CONNECTION_OK)
		print_error(p, NULL, PQerrorMessage(c));
	else if (!role_fits(c, parsed_text(p, "--role")))
		no_connection(p);
	else
		execute(p, c);
	PQfinish(c);
	return 0;
}

int
cmd_query(struct ctl *ctl, const struct parsed *p)
{
	const char *cluster = config_cluster(ctl, p);
	int code;

	if (parsed_text(p, "--role") != NULL &&
	    parsed_text(p, "--member") != NULL)
		ctl_error("--role and --member are mutually exclusive options");
	load_sql(p);
	config_group(ctl, p, false);
	if (parsed_flag(p, "--password"))
		job.password = prompt_password("Password");
	job.view = store_view(store_open(ctl, cluster));
	job.member = dsn_member(ctl, p, job.view);
	if (job.member != NULL && job.member->conn_url[0] == '\0')
		job.member = NULL;
	code = watch_loop(query_once, false, ctl, p);
	if (job.password != NULL)
		wipe(job.password, strlen(job.password));
	free(job.password);
	free(job.sql);
	view_free(job.view);
	return code;
}
