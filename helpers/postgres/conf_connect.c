/*
 * conf_connect.c: which connection uses which address and credentials
 * (spec/config.md 13; spec/postgres.md 10), and the pgpass file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/log.h"
#include "conf_recovery.h"

static const char *const credential_keys[] = { "username", "password",
	"sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl",
	"sslcrldir", "gssencmode", "channel_binding", "sslnegotiation" };

static void
put_credentials(struct tree *map, const struct tree *record)
{
	size_t n = sizeof(credential_keys) / sizeof(*credential_keys);

	for (size_t i = 0; i < n; i++) {
		const char *key = credential_keys[i];
		const struct tree *t = tree_get(record, key);
		char *s;

		if (t == NULL || t->type == TREE_NULL || t->type == TREE_LIST ||
		    t->type == TREE_MAP)
			continue;
		s = scalar_text(t);
		put_text(map, i == 0 ? "user" : key, s);
		wipe(s, strlen(s));
		free(s);
	}
}

/* First absolute element of unix_socket_directories. */
static bool
socket_directory(const struct tree *params, bool *set, char *out, size_t size)
{
	const struct tree *t = params == NULL ?
	    NULL :
	    tree_get_nocase(params, "unix_socket_directories");
	const char *s;

	*set = t != NULL && t->type == TREE_TEXT;
	if (!*set)
		return false;
	for (s = t->u.s; *s != '\0';) {
		size_t n;

		s += strspn(s, ", \t\"");
		n = strcspn(s, ",\"");
		while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
			n--;
		if (*s == '/' && n < size) {
			memcpy(out, s, n);
			out[n] = '\0';
			return true;
		}
		s += strcspn(s, ",");
	}
	return false;
}

void
pgconf_keep_address(
    struct pgconf *c, const struct pgconf *old, const struct tree *old_params)
{
	bool set;

	memcpy(c->tcp_host, old->tcp_host, sizeof(c->tcp_host));
	memcpy(c->tcp_port, old->tcp_port, sizeof(c->tcp_port));
	if (!tree_truthy(tree_get(c->pg, "connect_address"))) {
		memcpy(c->connect_host, old->connect_host,
		    sizeof(c->connect_host));
		memcpy(c->connect_port, old->connect_port,
		    sizeof(c->connect_port));
		memcpy(c->conn_url, old->conn_url, sizeof(c->conn_url));
	}
	c->socket_kept = true;
	if (old->socket_kept) {
		memcpy(
		    c->socket_host, old->socket_host, sizeof(c->socket_host));
		return;
	}
	if (!socket_directory(
		old_params, &set, c->socket_host, sizeof(c->socket_host)) &&
	    set)
		text_set(c->socket_host, sizeof(c->socket_host), c->tcp_host);
}

void
pgconf_local_host(const struct pgconf *c, const struct tree *params,
    bool replication, char *out, size_t size)
{
	bool set;

	out[0] = '\0';
	if (replication ? c->use_unix_socket_repl : c->use_unix_socket) {
		if (c->socket_kept) {
			text_set(out, size, c->socket_host);
			return;
		}
		if (socket_directory(params, &set, out, size))
			return;
		if (!set)
			return; /* libpq's own default directory */
	}
	text_set(out, size, c->tcp_host);
}

static void
put_limits(struct tree *map, const char *application)
{
	put_text(map, "connect_timeout", "3");
	put_text(map, "fallback_application_name", "Patroni");
	put_text(map, "application_name", application);
	put_text(map, "options",
	    "-c statement_timeout=2000 "
	    "-c pg_stat_statements.track=none -c search_path=pg_catalog");
}

static struct tree *
local_connection(const struct pgconf *c, bool replication,
    const char *application, const struct tree *params)
{
	struct tree *map = must(tree_map());
	char host[PATH_SIZE];

	pgconf_local_host(c, params, replication, host, sizeof(host));
	if (host[0] != '\0')
		put_text(map, "host", host);
	put_text(map, "port", c->tcp_port);
	put_text(map, "dbname", c->database);
	put_credentials(map,
	    pgconf_credentials(c, replication ? "replication" : "superuser"));
	if (!replication) {
		put_limits(map, application);
		return map;
	}
	put_text(map, "connect_timeout", "3");
	put_text(map, "options", "-c statement_timeout=2000");
	return map;
}

struct tree *
pgconf_member_conninfo(const struct pgconf *c, const struct view_member *m,
    const struct tree *credentials)
{
	struct tree *map = conninfo_from_url(m->conn_url);

	if (map == NULL)
		return NULL;
	if (tree_get(map, "host") == NULL) {
		tree_free(map);
		return NULL;
	}
	if (!tree_truthy(tree_get(map, "dbname")))
		put_text(map, "dbname", c->database);
	put_credentials(map, credentials);
	return map;
}

struct tree *
pgconf_connection(const struct pgconf *c, enum pgconn_use use,
    const struct view_member *member, const struct tree *params, uint32_t major)
{
	struct tree *map;

	switch (use) {
	case PGCONN_HEARTBEAT:
		return local_connection(c, false, "Patroni heartbeat", params);
	case PGCONN_RESTAPI:
		return local_connection(c, false, "Patroni restapi", params);
	case PGCONN_LOCAL_REPLICATION:
		return local_connection(c, true, NULL, params);
	case PGCONN_LEADER:
	case PGCONN_LEADER_REPLICATION:
		break;
	}
	if (member == NULL)
		return NULL;
	map = pgconf_member_conninfo(c, member,
	    use == PGCONN_LEADER ? pgconf_rewind_credentials(c, major) :
				   pgconf_credentials(c, "replication"));
	if (map == NULL)
		return NULL;
	put_text(map, "connect_timeout", "3");
	put_text(map, "options",
	    use == PGCONN_LEADER ?
		"-c statement_timeout=2000 -c search_path=pg_catalog" :
		"-c statement_timeout=2000");
	return map;
}

bool
pgconf_libpq_arrays(const struct tree *conninfo, const char **keys,
    const char **values, size_t max)
{
	uint32_t n = tree_count(conninfo);

	if ((size_t)n + 1 > max)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const struct tree *t = tree_child(conninfo, i);

		if (t->type != TREE_TEXT)
			return false;
		keys[i] = t->key;
		values[i] = t->u.s;
	}
	keys[n] = values[n] = NULL;
	return true;
}

bool
pgconf_write_pgpass(const struct pgconf *c, const struct tree *conninfo,
    bool *written, struct pgerr *err)
{
	char *lines = pgpass_lines(conninfo);
	bool ok;

	*written = false;
	if (lines == NULL)
		return true;
	ok = pgfile_write(c->pgpass, lines, strlen(lines), 0600, err);
	wipe(lines, strlen(lines));
	free(lines);
	*written = ok;
	return ok;
}

char *
primary_conninfo_text(
    const struct pgconf *c, const struct tree *conninfo, uint32_t major)
{
	bool passfile = pgfeatures(major).passfile;

	return conninfo_format_with(
	    conninfo, major, passfile ? c->pgpass : NULL, !passfile);
}

bool
pgconf_remote_member(const struct pgconf *c, struct view_member *out)
{
	const struct tree *sc = tree_get(c->root, "standby_cluster");
	char host[URL_SIZE], port[URL_SIZE], *save = NULL, *h;
	const char *p = port;
	struct text url = { 0 };
	char *s;
	bool ok, first = true;

	memset(out, 0, sizeof(*out));
	path_text(sc, "host", host, sizeof(host));
	path_text(sc, "port", port, sizeof(port));
	if (host[0] == '\0')
		return false;
	text_add(&url, "postgres://");
	for (h = strtok_r(host, ",", &save); h != NULL;
	     h = strtok_r(NULL, ",", &save)) {
		size_t n = strcspn(p, ",");
		bool v6 = strchr(h, ':') != NULL && h[0] != '[';

		text_addf(&url, "%s%s%s%s", first ? "" : ",", v6 ? "[" : "", h,
		    v6 ? "]" : "");
		text_addf(
		    &url, ":%.*s", n > 0 ? (int)n : 4, n > 0 ? p : "5432");
		/* one port serves all hosts */
		if (p[n] == ',')
			p += n + 1;
		first = false;
	}
	text_add(&url, "/");
	s = text_take(&url);
	ok = text_set(out->conn_url, sizeof(out->conn_url), s);
	free(s);
	if (!ok)
		log_warn("standby_cluster: host and port are too long");
	text_set(out->name, sizeof(out->name), "remote_member");
	out->has_data = 1;
	return ok;
}
