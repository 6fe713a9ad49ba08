/*
 * consul_conf.c: options of the section `consul` (spec/dcs.md 8.1).
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/values.h"
#include "consul_int.h"

#define AGENT_PORT 8500

static const char *
text(const struct tree *section, const char *key)
{
	const char *s = tree_path_text(section, key, NULL);

	return s != NULL && s[0] != '\0' ? s : NULL;
}

static const char *
from_env(const char *name)
{
	const char *s = getenv(name);

	return s != NULL && s[0] != '\0' ? s : NULL;
}

static bool
truthy(const char *s)
{
	return strcasecmp(s, "true") == 0 || strcmp(s, "1") == 0 ||
	    strcasecmp(s, "on") == 0 || strcasecmp(s, "yes") == 0;
}

/* [scheme://]host[:port][/...] into the parts. */
static bool
split(const char *s, const char **scheme, char *host, size_t size, int *port)
{
	char authority[URL_SIZE];
	size_t n;

	if (strncasecmp(s, "https://", 8) == 0) {
		*scheme = "https";
		s += 8;
	} else if (strncasecmp(s, "http://", 7) == 0) {
		*scheme = "http";
		s += 7;
	}
	n = strcspn(s, "/?#");
	if (n == 0 || n >= sizeof(authority))
		return false;
	memcpy(authority, s, n);
	authority[n] = '\0';
	if (authority[0] == '[' && authority[n - 1] == ']') {
		authority[n - 1] = '\0';
		return text_set(host, size, authority + 1);
	}
	return value_host_port(authority, *port, host, size, port);
}

static bool
read_address(
    struct consul_conf *c, const struct tree *s, char *err, size_t errlen)
{
	const char *scheme = text(s, "scheme"), *from;
	int64_t given = tree_path_int(s, "port", 0);
	char host[URL_SIZE] = "127.0.0.1";
	int port = AGENT_PORT, n;
	bool v6;

	if (text(s, "port") != NULL)
		text_to_int64(text(s, "port"), 1, 65535, &given);
	if (scheme == NULL)
		scheme = from_env("CONSUL_HTTP_SSL") != NULL &&
			truthy(from_env("CONSUL_HTTP_SSL")) ?
		    "https" :
		    "http";
	if ((from = text(s, "url")) == NULL && (from = text(s, "host")) == NULL)
		from = from_env("CONSUL_HTTP_ADDR");
	if (from != NULL && !split(from, &scheme, host, sizeof(host), &port)) {
		snprintf(
		    err, errlen, "consul: \"%.100s\" is not an address", from);
		return false;
	}
	/* an explicit port wins over the one inside host, not inside url */
	if (given > 0 && given <= 65535 && text(s, "url") == NULL)
		port = (int)given;
	v6 = strchr(host, ':') != NULL;
	n = snprintf(c->url, sizeof(c->url), "%s://%s%s%s:%d", scheme,
	    v6 ? "[" : "", host, v6 ? "]" : "", port);
	if (n < 0 || (size_t)n >= sizeof(c->url)) {
		snprintf(err, errlen, "consul: address too long");
		return false;
	}
	return true;
}

/* A list, or a text with commas; NULL when there is nothing. */
static struct tree *
list_of(const struct tree *s, const char *key)
{
	const struct tree *t = tree_get(s, key);
	struct tree *list;
	char word[NAME_SIZE];
	const char *p;
	size_t n;

	if (t == NULL || t->type == TREE_NULL)
		return NULL;
	if (t->type == TREE_LIST)
		return tree_copy(t);
	if (t->type != TREE_TEXT || (list = tree_list()) == NULL)
		return NULL;
	for (p = t->u.s; *p != '\0'; p += n) {
		p += strspn(p, ", ");
		n = strcspn(p, ",");
		if (n > 0 && n < sizeof(word)) {
			memcpy(word, p, n);
			word[n] = '\0';
			(void)tree_append(list, tree_text(word));
		}
	}
	return list;
}

static bool
read_tls(struct consul_conf *c, const struct tree *s, char *err, size_t errlen)
{
	bool verify = tree_path_bool(s, "verify", true);

	if (tree_get(s, "verify") == NULL &&
	    from_env("CONSUL_HTTP_SSL_VERIFY") != NULL)
		verify = truthy(from_env("CONSUL_HTTP_SSL_VERIFY"));
	c->tls.verify_peer = c->tls.verify_host =
	    verify || text(s, "cacert") != NULL;
	return http_tls_load(&c->tls, text(s, "cacert"), text(s, "cert"),
	    text(s, "key"), NULL, err, errlen);
}

bool
consul_conf_read(
    struct consul_conf *conf, const struct tree *s, char *err, size_t errlen)
{
	struct consul_conf *c = calloc(1, sizeof(*c));
	const char *token;

	if (c == NULL) {
		snprintf(err, errlen, "out of memory");
		return false;
	}
	if (!read_address(c, s, err, errlen) || !read_tls(c, s, err, errlen)) {
		consul_conf_clear(c);
		free(c);
		return false;
	}
	if ((token = text(s, "token")) == NULL)
		token = from_env("CONSUL_HTTP_TOKEN");
	c->token = token == NULL ? NULL : strdup(token);
	text_set(c->dc, sizeof(c->dc), tree_path_text(s, "dc", ""));
	text_set(c->consistency, sizeof(c->consistency),
	    tree_path_text(s, "consistency", "default"));
	c->checks = list_of(s, "checks");
	c->service_tags = list_of(s, "service_tags");
	c->register_service = tree_path_bool(s, "register_service", false);
	text_set(c->check_interval, sizeof(c->check_interval),
	    tree_path_text(s, "service_check_interval", "5s"));
	text_set(c->check_server_name, sizeof(c->check_server_name),
	    tree_path_text(s, "service_check_tls_server_name", ""));
	consul_conf_clear(conf);
	*conf = *c;
	free(c);
	return true;
}

void
consul_conf_clear(struct consul_conf *c)
{
	if (c->token != NULL)
		wipe(c->token, strlen(c->token));
	free(c->token);
	tree_free(c->checks);
	tree_free(c->service_tags);
	http_tls_clear(&c->tls);
	memset(c, 0, sizeof(*c));
}
