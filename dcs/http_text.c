/*
 * http_text.c: see http_text.h.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../helpers/base64.h"
#include "../ipc/version.h"
#include "http_text.h"

#define SCHEME "http://"
#define HEAD_ROOM 512 /* what stands in every head */

/* Characters of a host; an IPv6 address has its own. */
static bool
host_parse(struct http_url *u, const char *text, size_t n, bool brackets)
{
	size_t i;

	if (n == 0 || n >= sizeof(u->host))
		return false;
	for (i = 0; i < n; i++)
		if (brackets ? !isxdigit((unsigned char)text[i]) &&
			    strchr(":.", text[i]) == NULL :
			       !isalnum((unsigned char)text[i]) &&
			    strchr("._-", text[i]) == NULL)
			return false;
	memcpy(u->host, text, n);
	u->host[n] = '\0';
	return true;
}

bool
http_url_parse(struct http_url *u, const char *url)
{
	const char *c, *end;
	char number[8];
	int64_t port = 80;
	size_t n;

	if (strncasecmp(url, SCHEME, strlen(SCHEME)) != 0)
		return false;
	url += strlen(SCHEME);
	if (url[0] == '[') {
		if ((end = strchr(url, ']')) == NULL ||
		    !host_parse(u, url + 1, (size_t)(end - url) - 1, true))
			return false;
		url = end + 1;
	} else {
		n = strcspn(url, ":/?#");
		if (!host_parse(u, url, n, false))
			return false;
		url += n;
	}
	if (url[0] == ':') {
		n = strspn(++url, "0123456789");
		if (n >= sizeof(number))
			return false;
		memcpy(number, url, n);
		number[n] = '\0';
		if (!text_to_int64(number, 1, UINT16_MAX, &port))
			return false;
		url += n;
	}
	if (url[0] != '\0' && url[0] != '/' && url[0] != '?')
		return false;
	for (c = url; *c != '\0'; c++)
		if (*c <= ' ' || *c >= 0x7f || *c == '#')
			return false;
	u->port = (uint16_t)port;
	u->path = url;
	return true;
}

/* ---- requests ---- */

struct out {
	char *text;
	size_t len, size;
};

static void __attribute__((format(printf, 2, 3)))
put(struct out *o, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(o->text + o->len, o->size - o->len, format, ap);
	va_end(ap);
	if (n > 0)
		o->len += (size_t)n;
	if (o->len >= o->size)
		o->len = o->size - 1; /* cannot be: see the size */
}

static bool
has_header(const struct http_spec *s, const char *name)
{
	size_t n = strlen(name), i;

	for (i = 0; s->headers != NULL && s->headers[i] != NULL; i++)
		if (strncasecmp(s->headers[i], name, n) == 0 &&
		    s->headers[i][n] == ':')
			return true;
	return false;
}

static size_t
head_size(const struct http_spec *s, const struct http_url *u)
{
	size_t n = HEAD_ROOM + strlen(s->method) + strlen(u->path) +
	    strlen(u->host),
	       i;

	for (i = 0; s->headers != NULL && s->headers[i] != NULL; i++)
		n += strlen(s->headers[i]) + 2;
	if (s->user != NULL)
		n += 4 *
		    (strlen(s->user) +
			(s->password == NULL ? 0 : strlen(s->password)));
	return n;
}

/* A line that ends early would begin another header. */
static bool
lines_clean(const struct http_spec *s)
{
	size_t i;

	for (i = 0; s->headers != NULL && s->headers[i] != NULL; i++)
		if (strpbrk(s->headers[i], "\r\n") != NULL)
			return false;
	return strpbrk(s->method, " \r\n") == NULL;
}

static bool
put_credentials(struct out *o, const struct http_spec *s)
{
	const char *password = s->password == NULL ? "" : s->password;
	char *both, *coded;

	if (asprintf(&both, "%s:%s", s->user, password) == -1)
		return false;
	coded = base64_encode(both, strlen(both));
	wipe(both, strlen(both));
	free(both);
	if (coded == NULL)
		return false;
	put(o, "Authorization: Basic %s\r\n", coded);
	wipe(coded, strlen(coded));
	free(coded);
	return true;
}

char *
http_text(const struct http_spec *s, const struct http_url *u, size_t *len)
{
	struct out o = { .size = head_size(s, u) };
	bool v6 = strchr(u->host, ':') != NULL;
	size_t i;

	if (!lines_clean(s) || (o.text = malloc(o.size + s->body_len)) == NULL)
		return NULL;
	put(&o, "%s %s%s HTTP/1.1\r\nHost: %s%s%s", s->method,
	    u->path[0] == '/' ? "" : "/", u->path, v6 ? "[" : "", u->host,
	    v6 ? "]" : "");
	if (u->port != 80)
		put(&o, ":%u", (unsigned)u->port);
	put(&o, "\r\nUser-Agent: Patroni/%s\r\n", COMPAT_VERSION);
	if (!has_header(s, "Accept"))
		put(&o, "Accept: */*\r\n");
	for (i = 0; s->headers != NULL && s->headers[i] != NULL; i++)
		put(&o, "%s\r\n", s->headers[i]);
	if (s->user != NULL && !put_credentials(&o, s)) {
		free(o.text);
		return NULL;
	}
	if (s->body != NULL)
		put(&o, "Content-Length: %zu\r\n", s->body_len);
	put(&o, "\r\n");
	if (s->body != NULL)
		memcpy(o.text + o.len, s->body, s->body_len);
	*len = o.len + (s->body != NULL ? s->body_len : 0);
	return o.text;
}
