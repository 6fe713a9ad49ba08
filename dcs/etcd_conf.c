/*
 * etcd_conf.c: see etcd_conf.h.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/values.h"
#include "etcd_conf.h"

#define ETCD_PORT 2379

static const char *
text(const struct tree *section, const char *key)
{
	const char *s = tree_path_text(section, key, NULL);

	return s != NULL && s[0] != '\0' ? s : NULL;
}

static bool
add_endpoint(
    struct etcd_conf *c, const char *protocol, const char *host, int port)
{
	char *url;
	bool v6 = strchr(host, ':') != NULL;
	int n;

	if (c->nendpoints == ETCD_MAX_ENDPOINTS || host[0] == '\0')
		return false;
	url = c->endpoints[c->nendpoints];
	n = snprintf(url, URL_SIZE, "%s://%s%s%s:%d", protocol, v6 ? "[" : "",
	    host, v6 ? "]" : "", port);
	if (n < 0 || n >= URL_SIZE)
		return false;
	c->nendpoints++;
	return true;
}

static bool
add_host(struct etcd_conf *c, const char *protocol, const char *s, int port)
{
	char host[URL_SIZE];
	int p;

	if (!value_host_port(s, port, host, sizeof(host), &p))
		return false;
	return add_endpoint(c, protocol, host, p);
}

static bool
add_host_list(
    struct etcd_conf *c, const char *protocol, const char *s, int port)
{
	char one[URL_SIZE];
	size_t n;

	for (;; s += n + 1) {
		while (isspace((unsigned char)*s))
			s++;
		n = strcspn(s, ",");
		if (n >= sizeof(one))
			return false;
		memcpy(one, s, n);
		one[n] = '\0';
		while (n > 0 && isspace((unsigned char)one[n - 1]))
			one[--n] = '\0';
		if (n > 0 && !add_host(c, protocol, one, port))
			return false;
		n = strcspn(s, ",");
		if (s[n] == '\0')
			return c->nendpoints > 0;
	}
}

static bool
add_hosts(struct etcd_conf *c, const char *protocol, const struct tree *hosts,
    int port)
{
	uint32_t i;

	if (hosts->type == TREE_TEXT)
		return add_host_list(c, protocol, hosts->u.s, port);
	if (hosts->type != TREE_LIST)
		return false;
	for (i = 0; i < tree_count(hosts); i++) {
		const struct tree *h = tree_child(hosts, i);

		if (h->type != TREE_TEXT ||
		    !add_host_list(c, protocol, h->u.s, port))
			return false;
	}
	return c->nendpoints > 0;
}

/* Percent-decoded copy of n bytes. */
static char *
credential(const char *s, size_t n)
{
	char *out = malloc(n + 1), hex[3] = "";
	size_t i, o = 0;

	if (out == NULL)
		return NULL;
	for (i = 0; i < n; i++) {
		if (s[i] == '%' && i + 2 < n &&
		    isxdigit((unsigned char)s[i + 1]) &&
		    isxdigit((unsigned char)s[i + 2])) {
			hex[0] = s[i + 1];
			hex[1] = s[i + 2];
			out[o++] = (char)strtol(hex, NULL, 16);
			i += 2;
		} else
			out[o++] = s[i];
	}
	out[o] = '\0';
	return out;
}

/* http[s]://[user:pw@]host[:port][/...] */
static bool
add_url(struct etcd_conf *c, const char *url)
{
	const char *protocol, *p, *at, *colon;
	char authority[URL_SIZE];
	size_t n;

	if (strncasecmp(url, "https://", 8) == 0)
		protocol = "https";
	else if (strncasecmp(url, "http://", 7) == 0)
		protocol = "http";
	else
		return false;
	p = url + strlen(protocol) + 3;
	n = strcspn(p, "/?#");
	if ((at = memrchr(p, '@', n)) != NULL) {
		colon = memchr(p, ':', (size_t)(at - p));
		c->user =
		    credential(p, (size_t)((colon == NULL ? at : colon) - p));
		c->password = colon == NULL ?
		    NULL :
		    credential(colon + 1, (size_t)(at - colon - 1));
		n -= (size_t)(at + 1 - p);
		p = at + 1;
	}
	if (n == 0 || n >= sizeof(authority))
		return false;
	memcpy(authority, p, n);
	authority[n] = '\0';
	/* a bare [v6] has no port for value_host_port() to find */
	if (authority[0] == '[' && authority[n - 1] == ']') {
		authority[n - 1] = '\0';
		return add_endpoint(c, protocol, authority + 1, ETCD_PORT);
	}
	return add_host(c, protocol, authority, ETCD_PORT);
}

static bool
read_endpoints(
    struct etcd_conf *c, const struct tree *s, char *err, size_t errlen)
{
	const char *protocol = tree_path_text(s, "protocol", "http");
	const struct tree *hosts = tree_get(s, "hosts");
	int64_t port = tree_path_int(s, "port", 0);
	const char *what, *t;
	char host[URL_SIZE];
	bool ok;
	int p;

	if (strcasecmp(protocol, "http") != 0 &&
	    strcasecmp(protocol, "https") != 0) {
		snprintf(err, errlen,
		    "protocol: \"%.32s\" is neither http nor https", protocol);
		return false;
	}
	if ((t = text(s, "port")) != NULL)
		text_to_int64(t, 1, 65535, &port);
	if (port < 0 || port > 65535)
		port = 0;
	if ((t = text(s, "proxy")) != NULL) {
		what = "proxy";
		ok = add_url(c, t);
		c->use_proxies = true;
	} else if ((t = text(s, "srv")) != NULL ||
	    (t = text(s, "discovery_srv")) != NULL ||
	    (t = text(s, "srv_domain")) != NULL) {
		what = "srv";
		ok = text_set(c->srv, sizeof(c->srv), t) &&
		    text_set(c->srv_suffix, sizeof(c->srv_suffix),
			tree_path_text(s, "srv_suffix", ""));
	} else if (hosts != NULL && hosts->type != TREE_NULL) {
		what = "hosts";
		ok = add_hosts(
		    c, protocol, hosts, port > 0 ? (int)port : ETCD_PORT);
	} else if ((t = text(s, "url")) != NULL) {
		what = "url";
		ok = add_url(c, t);
	} else if ((t = text(s, "host")) != NULL) {
		what = "host";
		/* an explicit port wins over the one inside host */
		ok = value_host_port(t, ETCD_PORT, host, sizeof(host), &p) &&
		    add_endpoint(c, protocol, host, port > 0 ? (int)port : p);
	} else {
		snprintf(err, errlen,
		    "Neither srv, hosts, host nor url are defined in etcd section of config");
		return false;
	}
	if (!ok)
		snprintf(err, errlen, "%s: not a usable address", what);
	return ok;
}

bool
etcd_conf_read(
    struct etcd_conf *conf, const struct tree *s, char *err, size_t errlen)
{
	struct etcd_conf *c;
	const char *ca;

	if ((c = calloc(1, sizeof(*c))) == NULL) {
		snprintf(err, errlen, "out of memory");
		return false;
	}
	c->use_proxies = tree_path_bool(s, "use_proxies", false);
	if (!read_endpoints(c, s, err, errlen))
		goto fail;
	if (c->user == NULL && text(s, "username") != NULL) {
		c->user = strdup(text(s, "username"));
		if (text(s, "password") != NULL)
			c->password = strdup(text(s, "password"));
	}
	ca = text(s, "cacert") != NULL ? text(s, "cacert") : text(s, "ca_cert");
	c->tls.verify_peer = c->tls.verify_host = ca != NULL;
	if (!http_tls_load(&c->tls, ca, text(s, "cert"), text(s, "key"), NULL,
		err, errlen))
		goto fail;
	etcd_conf_clear(conf);
	*conf = *c;
	free(c);
	return true;
fail:
	etcd_conf_clear(c);
	free(c);
	return false;
}

void
etcd_conf_clear(struct etcd_conf *c)
{
	if (c->password != NULL)
		wipe(c->password, strlen(c->password));
	free(c->user);
	free(c->password);
	http_tls_clear(&c->tls);
	memset(c, 0, sizeof(*c));
}
