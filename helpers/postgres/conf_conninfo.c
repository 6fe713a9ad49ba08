/*
 * conf_conninfo.c: connection strings as text: parsing both forms of libpq,
 * formatting for files and programs, pgpass lines (spec/config.md 11.5,
 * 12.3, 12.4).  Which connection uses which credentials: conf_connect.c.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/values.h"
#include "conf_recovery.h"

static const struct {
	const char *key;
	uint32_t from;
} order[] = {
	{ "dbname", 0 },
	{ "user", 0 },
	{ "passfile", 0 },
	{ "password", 0 },
	{ "host", 0 },
	{ "port", 0 },
	{ "sslmode", 0 },
	{ "sslcompression", 0 },
	{ "sslcert", 0 },
	{ "sslkey", 0 },
	{ "sslpassword", 130000 },
	{ "sslrootcert", 0 },
	{ "sslcrl", 0 },
	{ "sslcrldir", 140000 },
	{ "application_name", 0 },
	{ "krbsrvname", 0 },
	{ "gssencmode", 120000 },
	{ "channel_binding", 130000 },
	{ "target_session_attrs", 100000 },
	{ "sslnegotiation", 170000 },
};

static void
add_pair(struct text *out, const char *key, const char *value)
{
	if (out->len > 0)
		text_add(out, " ");
	text_addf(out, "%s=", key);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\' ||
		    isspace((unsigned char)*value))
			text_add(out, "\\");
		text_add_n(out, value, 1);
	}
}

char *
conninfo_format_with(const struct tree *conninfo, uint32_t version,
    const char *passfile, bool inline_password)
{
	bool has_password = tree_truthy(tree_get(conninfo, "password"));
	struct text out = { 0 };

	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
		const char *key = order[i].key;
		const struct tree *t = tree_get(conninfo, key);
		char *s;

		if (version != 0 && version < order[i].from)
			continue;
		if (strcmp(key, "passfile") == 0 && passfile != NULL &&
		    has_password)
			add_pair(&out, key, passfile);
		if (strcmp(key, "passfile") == 0 ||
		    (strcmp(key, "password") == 0 && !inline_password))
			continue;
		/* an empty value would swallow the next pair */
		if (t == NULL || t->type == TREE_NULL || t->type == TREE_MAP ||
		    t->type == TREE_LIST)
			continue;
		s = scalar_text(t);
		if (s[0] != '\0')
			add_pair(&out, key, s);
		free(s);
	}
	return text_take(&out);
}

char *
conninfo_format(
    const struct tree *conninfo, uint32_t version, const char *passfile)
{
	return conninfo_format_with(conninfo, version, passfile, false);
}

/* ---- key = value text ---- */

static void
put_pair(struct tree *map, const char *key, const char *value)
{
	if (strcmp(key, "requiressl") == 0)
		put_text(map, "sslmode",
		    strcmp(value, "1") == 0 ? "require" : "prefer");
	else
		put_text(map, key, value);
}

static const char *
blanks(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/* Value at s into out; NULL when a quote is not closed. */
static const char *
read_value(const char *s, struct text *out)
{
	bool quoted = *s == '\'';

	if (quoted)
		s++;
	for (;; s++) {
		if (*s == '\0')
			return quoted ? NULL : s;
		if (quoted ? *s == '\'' : isspace((unsigned char)*s) != 0)
			return s + quoted;
		if (*s == '\\' && *++s == '\0')
			return quoted ? NULL : s;
		text_add_n(out, s, 1);
	}
}

static struct tree *
parse_pairs(const char *s)
{
	struct tree *map = must(tree_map());

	for (s = blanks(s); *s != '\0'; s = blanks(s)) {
		struct text value = { 0 };
		char key[64], *v;
		size_t n = 0;

		while (*s != '\0' && *s != '=' && !isspace((unsigned char)*s) &&
		    n < sizeof(key) - 1)
			key[n++] = *s++;
		key[n] = '\0';
		s = blanks(s);
		if (n == 0 || *s != '=')
			goto bad;
		s = read_value(blanks(s + 1), &value);
		v = text_take(&value);
		if (s != NULL)
			put_pair(map, key, v);
		free(v);
		if (s == NULL)
			goto bad;
	}
	return map;
bad:
	tree_free_wiped(map);
	return NULL;
}

/* ---- URI ---- */

/* Percent-decode n bytes; NULL when malformed (or a NUL would appear). */
static char *
decode(const char *s, size_t n)
{
	char *out = must(malloc(n + 1));

	if (percent_decode(s, n, out))
		return out;
	free(out);
	return NULL;
}

static bool
put_decoded(struct tree *map, const char *key, const char *s, size_t n)
{
	char *v = decode(s, n);

	if (v == NULL)
		return false;
	if (v[0] != '\0')
		put_text(map, key, v);
	free(v);
	return true;
}

/* One host[:port] of n bytes, appended to the comma lists. */
static bool
add_host(
    const char *s, size_t n, bool first, struct text *hosts, struct text *ports)
{
	const char *end = s + n, *h = s, *p;
	char *v;

	if (n > 0 && *s == '[') {
		p = memchr(s, ']', n);
		if (p == NULL)
			return false;
		h = s + 1;
		n = (size_t)(p - h);
		p++;
	} else {
		p = memchr(s, ':', n);
		if (p == NULL)
			p = end;
		n = (size_t)(p - h);
	}
	if (p < end && *p != ':')
		return false;
	v = decode(h, n);
	if (v == NULL)
		return false;
	text_addf(hosts, "%s%s", first ? "" : ",", v);
	free(v);
	if (!first)
		text_add(ports, ",");
	if (p < end)
		text_add_n(ports, p + 1, (size_t)(end - p - 1));
	return true;
}

/* "5432,5432" is "5432" for libpq, and easier on pgpass. */
static void
put_ports(struct tree *map, char *ports)
{
	size_t n = strcspn(ports, ",");
	char *p = ports + n;

	for (; *p == ','; p += n + 1)
		if (strncmp(p + 1, ports, n) != 0 || strcspn(p + 1, ",") != n)
			break;
	if (*p == '\0')
		ports[n] = '\0';
	if (ports[0] != '\0' && strspn(ports, ",") != strlen(ports))
		put_text(map, "port", ports);
}

static bool
parse_hosts(struct tree *map, const char *s, size_t n)
{
	struct text hosts = { 0 }, ports = { 0 };
	const char *end = s + n;
	bool ok = true, first = true;
	char *h, *p;

	while (ok) {
		const char *comma =
		    s < end ? memchr(s, ',', (size_t)(end - s)) : NULL;
		const char *stop = comma == NULL ? end : comma;

		ok = add_host(s, (size_t)(stop - s), first, &hosts, &ports);
		first = false;
		if (comma == NULL)
			break;
		s = comma + 1;
	}
	h = text_take(&hosts);
	p = text_take(&ports);
	if (ok && h[0] != '\0')
		put_text(map, "host", h);
	if (ok)
		put_ports(map, p);
	free(h);
	free(p);
	return ok;
}

static bool
parse_query(struct tree *map, const char *s)
{
	while (*s != '\0') {
		size_t n = strcspn(s, "&"), eq = strcspn(s, "=&");
		char *key, *value;

		if (eq >= n || eq == 0)
			return false;
		key = decode(s, eq);
		value = decode(s + eq + 1, n - eq - 1);
		if (key != NULL && value != NULL) {
			if (strcmp(key, "ssl") == 0 &&
			    strcmp(value, "true") == 0)
				put_text(map, "sslmode", "require");
			else
				put_pair(map, key, value);
		}
		free(key);
		free(value);
		if (key == NULL || value == NULL)
			return false;
		s += n;
		s += *s == '&';
	}
	return true;
}

static bool
parse_authority(struct tree *map, const char *s, size_t n)
{
	const char *at = memchr(s, '@', n);
	const char *colon;
	size_t user;

	if (at == NULL)
		return parse_hosts(map, s, n);
	user = (size_t)(at - s);
	colon = memchr(s, ':', user);
	if (colon != NULL) {
		if (!put_decoded(
			map, "password", colon + 1, (size_t)(at - colon - 1)))
			return false;
		user = (size_t)(colon - s);
	}
	return put_decoded(map, "user", s, user) &&
	    parse_hosts(map, at + 1, n - (size_t)(at + 1 - s));
}

static struct tree *
parse_uri(const char *s)
{
	struct tree *map = must(tree_map());
	size_t n = strcspn(s, "/?");

	if (!parse_authority(map, s, n))
		goto bad;
	s += n;
	if (*s == '/') {
		n = strcspn(++s, "?");
		if (!put_decoded(map, "dbname", s, n))
			goto bad;
		s += n;
	}
	if (*s == '?' && !parse_query(map, s + 1))
		goto bad;
	return map;
bad:
	tree_free_wiped(map);
	return NULL;
}

struct tree *
conninfo_parse(const char *text)
{
	if (strncmp(text, "postgres://", 11) == 0)
		return parse_uri(text + 11);
	if (strncmp(text, "postgresql://", 13) == 0)
		return parse_uri(text + 13);
	return parse_pairs(text);
}

struct tree *
conninfo_from_url(const char *url)
{
	struct tree *map, *out;
	const struct tree *t;

	if (strncmp(url, "postgres", 8) != 0)
		return NULL;
	map = conninfo_parse(url);
	if (map == NULL)
		return NULL;
	/* credentials of old versions in the URL are not used */
	out = must(tree_map());
	t = tree_get(map, "dbname");
	if (t != NULL)
		put_copy(out, "dbname", t);
	t = tree_get(map, "host");
	if (t != NULL)
		put_copy(out, "host", t);
	t = tree_get(map, "port");
	if (t != NULL)
		put_copy(out, "port", t);
	else
		put_text(out, "port", "5432");
	tree_free_wiped(map);
	return out;
}

/* ---- pgpass (11.5) ---- */

static void
pgpass_word(struct text *out, const char *s, size_t n)
{
	if (n == 0)
		text_add(out, "*");
	for (size_t i = 0; i < n; i++) {
		if (s[i] == ':' || s[i] == '\\')
			text_add(out, "\\");
		text_add_n(out, s + i, 1);
	}
}

/* The i-th of a comma list; all of it when there are not that many. */
static const char *
list_item(const char *list, size_t i, size_t *n)
{
	const char *s = list;

	for (; i > 0 && *s != '\0'; i--) {
		s += strcspn(s, ",");
		s += *s == ',';
	}
	if (*s == '\0' || strchr(list, ',') == NULL)
		s = list;
	*n = strcspn(s, ",");
	return s;
}

static void
pgpass_line(struct text *out, const char *host, size_t n, const char *port,
    size_t port_len, const char *user, const char *password)
{
	pgpass_word(out, host, n);
	text_add(out, ":");
	pgpass_word(out, port, port_len);
	text_add(out, ":*:");
	pgpass_word(out, user, strlen(user));
	text_add(out, ":");
	pgpass_word(out, password, strlen(password));
	text_add(out, "\n");
}

static char *
text_or_empty(const struct tree *map, const char *key)
{
	const struct tree *t = tree_get(map, key);

	return t == NULL || t->type == TREE_NULL ? must(strdup("")) :
						   scalar_text(t);
}

char *
pgpass_lines(const struct tree *conninfo)
{
	char *host, *port, *user, *password;
	struct text out = { 0 };
	bool sockets = false;
	const char *p, *h;
	size_t i = 0, pn;

	password = text_or_empty(conninfo, "password");
	if (password[0] == '\0') {
		free(password);
		return NULL;
	}
	host = text_or_empty(conninfo, "host");
	port = text_or_empty(conninfo, "port");
	user = text_or_empty(conninfo, "user");
	/* libpq looks a host up with its own port, so each gets its own */
	for (h = host;; i++) {
		size_t n = strcspn(h, ",");

		sockets |= *h == '/';
		p = list_item(port, i, &pn);
		pgpass_line(&out, h, n, p, pn, user, password);
		if (h[n] == '\0')
			break;
		h += n + 1;
	}
	if (sockets) {
		p = list_item(port, 0, &pn);
		pgpass_line(&out, "localhost", 9, p, pn, user, password);
	}
	wipe(password, strlen(password));
	free(password);
	free(host);
	free(port);
	free(user);
	return text_take(&out);
}
