/*
 * dsn.c: the connection string of --dsn: `key = value` words or a URI.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/values.h"
#include "dsn.h"

/* Set a key to percent-encoded text of that length. */
static bool
set_encoded(struct tree *out, const char *key, const char *s, size_t len)
{
	char *buf = malloc(len + 1);
	bool ok;

	if (buf == NULL)
		return false;
	ok = percent_decode(s, len, buf) && tree_set(out, key, tree_text(buf));
	wipe(buf, len);
	free(buf);
	return ok;
}

/* key=value&key=value */
static bool
uri_query(struct tree *out, const char *s)
{
	char key[64];

	while (*s != '\0') {
		size_t len = strcspn(s, "&"), k = strcspn(s, "=");

		if (k == 0 || k >= len || k >= sizeof(key))
			return false;
		memcpy(key, s, k);
		key[k] = '\0';
		if (strcmp(key, "ssl") == 0 && len - k - 1 == 4 &&
		    strncmp(s + k + 1, "true", 4) == 0) {
			if (!tree_set(out, "sslmode", tree_text("require")))
				return false;
		} else if (!set_encoded(out, key, s + k + 1, len - k - 1))
			return false;
		s += len;
		if (*s == '&')
			s++;
	}
	return true;
}

/* host[:port][,host[:port]] into the comma lists host and port. */
static bool
uri_hosts(struct tree *out, const char *s, size_t len)
{
	char hosts[1024] = "", ports[256] = "";
	size_t h = 0, p = 0;
	bool any_port = false;

	if (len >= sizeof(ports))
		return false;
	while (len > 0) {
		size_t one = 0, name, skip = 0;

		while (one < len && s[one] != ',')
			one++;
		if (*s == '[') {
			const char *end = memchr(s, ']', one);

			if (end == NULL)
				return false;
			name = (size_t)(end - s) - 1;
			skip = 1;
		} else {
			const char *colon = memchr(s, ':', one);

			name = colon != NULL ? (size_t)(colon - s) : one;
		}
		h += (size_t)snprintf(hosts + h, sizeof(hosts) - h, "%s%.*s",
		    h > 0 ? "," : "", (int)name, s + skip);
		name += 2 * skip;
		if (name < one && s[name] != ':')
			return false;
		any_port = any_port || name < one;
		p += (size_t)snprintf(ports + p, sizeof(ports) - p, "%s%.*s",
		    p > 0 ? "," : "", name < one ? (int)(one - name - 1) : 0,
		    name < one ? s + name + 1 : "");
		s += one;
		len -= one;
		if (len > 0) {
			s++;
			len--;
		}
	}
	if (*hosts != '\0' && !set_encoded(out, "host", hosts, strlen(hosts)))
		return false;
	return !any_port || tree_set(out, "port", tree_text(ports));
}

static bool
parse_uri(struct tree *out, const char *s)
{
	size_t authority = strcspn(s, "/?"), path;
	const char *at = NULL, *colon;

	for (size_t i = 0; i < authority; i++)
		if (s[i] == '@')
			at = s + i;
	if (at != NULL) {
		size_t n = (size_t)(at - s);

		colon = memchr(s, ':', n);
		if (colon != NULL &&
		    !set_encoded(
			out, "password", colon + 1, (size_t)(at - colon) - 1))
			return false;
		if (colon != NULL)
			n = (size_t)(colon - s);
		if (n > 0 && !set_encoded(out, "user", s, n))
			return false;
		authority -= (size_t)(at + 1 - s);
		s = at + 1;
	}
	if (!uri_hosts(out, s, authority))
		return false;
	s += authority;
	if (*s == '/') {
		s++;
		path = strcspn(s, "?");
		if (path > 0 && !set_encoded(out, "dbname", s, path))
			return false;
		s += path;
	}
	return *s != '?' || uri_query(out, s + 1);
}

/* One value: quoted or bare, with backslashes.  Returns what follows. */
static const char *
word_value(const char *s, char *buf)
{
	bool quoted = *s == '\'';
	size_t n = 0;

	if (quoted)
		s++;
	while (
	    *s != '\0' && (quoted ? *s != '\'' : !isspace((unsigned char)*s))) {
		if (*s == '\\' && s[1] != '\0')
			s++;
		buf[n++] = *s++;
	}
	buf[n] = '\0';
	if (quoted && *s++ != '\'')
		return NULL;
	return s;
}

static bool
parse_words(struct tree *out, const char *s, char *buf)
{
	char key[64];

	for (;;) {
		size_t n;

		while (isspace((unsigned char)*s))
			s++;
		if (*s == '\0')
			return true;
		for (n = 0; isalnum((unsigned char)s[n]) || s[n] == '_'; n++)
			;
		if (n == 0 || n >= sizeof(key))
			return false;
		memcpy(key, s, n);
		key[n] = '\0';
		s += n;
		while (isspace((unsigned char)*s))
			s++;
		if (*s++ != '=')
			return false;
		while (isspace((unsigned char)*s))
			s++;
		if ((s = word_value(s, buf)) == NULL ||
		    !tree_set(out, key, tree_text(buf)))
			return false;
	}
}

struct tree *
dsn_parse(const char *dsn)
{
	struct tree *out = tree_map();
	char *buf = malloc(strlen(dsn) + 1);
	bool ok = false;

	if (out != NULL && buf != NULL) {
		if (strncmp(dsn, "postgres://", 11) == 0)
			ok = parse_uri(out, dsn + 11);
		else if (strncmp(dsn, "postgresql://", 13) == 0)
			ok = parse_uri(out, dsn + 13);
		else
			ok = parse_words(out, dsn, buf);
	}
	free(buf);
	if (ok)
		return out;
	tree_free_wiped(out);
	return NULL;
}
