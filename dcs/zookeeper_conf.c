/*
 * zookeeper_conf.c: see zookeeper_conf.h.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../ipc/log.h"
#include "../ipc/values.h"
#include "zookeeper_conf.h"

#define ZK_PORT 2181

/* ---- servers ---- */

static bool
add_host(struct zk_conf *c, const char *s, size_t n)
{
	struct zk_host *h = &c->hosts[c->nhosts];
	char one[ZK_HOST_SIZE + 16], *host;
	size_t len;

	while (n > 0 && isspace((unsigned char)s[n - 1]))
		n--;
	if (n == 0)
		return true;
	if (n >= sizeof(one) || c->nhosts == ZK_MAX_HOSTS)
		return false;
	memcpy(one, s, n);
	one[n] = '\0';
	if (!value_host_port(one, ZK_PORT, h->host, sizeof(h->host), &h->port))
		return false;
	host = h->host;
	len = strlen(host);
	if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
		memmove(host, host + 1, len - 2);
		host[len - 2] = '\0';
	}
	if (host[0] == '\0' || strpbrk(host, " ,/") != NULL)
		return false;
	c->nhosts++;
	return true;
}

bool
zk_conf_hosts(struct zk_conf *c, const char *s)
{
	const char *slash = strchr(s, '/');
	size_t n, len;

	c->nhosts = 0;
	c->chroot[0] = '\0';
	if (slash != NULL) {
		len = strlen(slash);
		while (len > 1 && slash[len - 1] == '/')
			len--;
		if (len >= sizeof(c->chroot) || memchr(slash, ',', len) != NULL)
			return false;
		memcpy(c->chroot, slash, len > 1 ? len : 0);
		c->chroot[len > 1 ? len : 0] = '\0';
	}
	for (;;) {
		while (isspace((unsigned char)*s))
			s++;
		n = strcspn(s, ",/");
		if (!add_host(c, s, n))
			return false;
		s += n;
		if (*s != ',')
			return c->nhosts > 0;
		s++;
	}
}

static bool
read_hosts(struct zk_conf *c, const struct tree *hosts)
{
	char all[ZK_MAX_HOSTS * (ZK_HOST_SIZE + 8)] = "";
	size_t o = 0;
	uint32_t i;
	int n;

	if (hosts == NULL)
		return false;
	if (hosts->type == TREE_TEXT)
		return zk_conf_hosts(c, hosts->u.s);
	if (hosts->type != TREE_LIST)
		return false;
	for (i = 0; i < tree_count(hosts); i++) {
		const struct tree *h = tree_child(hosts, i);

		if (h->type != TREE_TEXT)
			return false;
		n = snprintf(all + o, sizeof(all) - o, "%s%s",
		    i == 0 ? "" : ",", h->u.s);
		if (n < 0 || (size_t)n >= sizeof(all) - o)
			return false;
		o += (size_t)n;
	}
	return zk_conf_hosts(c, all);
}

/* ---- access ---- */

static int
permission(const char *word)
{
	static const struct {
		const char *word;
		int bit;
	} table[] = { { "CREATE", 1 << 2 }, { "READ", 1 << 0 },
		{ "WRITE", 1 << 1 }, { "DELETE", 1 << 3 }, { "ADMIN", 1 << 4 },
		{ "ALL", 0x1f } };
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcasecmp(word, table[i].word) == 0)
			return table[i].bit;
	return 0;
}

static bool
read_permissions(const struct tree *list, int *bits)
{
	uint32_t i;
	int bit;

	*bits = 0;
	if (list->type == TREE_TEXT)
		return (*bits = permission(list->u.s)) != 0;
	for (i = 0; i < tree_count(list); i++) {
		const struct tree *word = tree_child(list, i);

		if (word->type != TREE_TEXT ||
		    (bit = permission(word->u.s)) == 0)
			return false;
		*bits |= bit;
	}
	return *bits != 0;
}

static bool
add_acl(struct zk_conf *c, const struct tree *entry)
{
	const char *principal = entry->key, *colon = strchr(principal, ':');
	struct ACL *a = &c->acl[c->acls.count];
	int bits;

	if (c->acls.count == ZK_MAX_ACL || !read_permissions(entry, &bits))
		return false;
	a->perms = bits;
	a->id.scheme = colon == NULL ?
	    strdup("x509") :
	    strndup(principal, (size_t)(colon - principal));
	a->id.id = strdup(colon == NULL ? principal : colon + 1);
	c->acls.count++;
	return a->id.scheme != NULL && a->id.id != NULL;
}

static bool
read_acls(struct zk_conf *c, const struct tree *map)
{
	uint32_t i;

	c->acls.data = c->acl;
	for (i = 0; i < tree_count(map); i++)
		if (!add_acl(c, tree_child(map, i)))
			return false;
	return true;
}

static bool
read_auth(struct zk_conf *c, const struct tree *map)
{
	uint32_t i;

	for (i = 0; i < tree_count(map); i++) {
		const struct tree *t = tree_child(map, i);
		struct zk_auth *a = &c->auth[c->nauth];

		if (t->type != TREE_TEXT || c->nauth == ZK_MAX_AUTH)
			return false;
		a->scheme = strdup(t->key);
		a->credential = strdup(t->u.s);
		c->nauth++;
		if (a->scheme == NULL || a->credential == NULL)
			return false;
	}
	return true;
}

void
zk_conf_clear(struct zk_conf *c)
{
	int32_t i;

	for (i = 0; i < c->acls.count; i++) {
		free(c->acl[i].id.scheme);
		free(c->acl[i].id.id);
	}
	for (i = 0; i < (int32_t)c->nauth; i++) {
		free(c->auth[i].scheme);
		if (c->auth[i].credential != NULL)
			wipe(c->auth[i].credential,
			    strlen(c->auth[i].credential));
		free(c->auth[i].credential);
	}
	memset(c, 0, sizeof(*c));
}

static bool
map_or_none(const struct tree *t)
{
	return t == NULL || t->type == TREE_MAP || t->type == TREE_NULL;
}

bool
zk_conf_read(struct zk_conf *conf, const struct tree *section, bool need_hosts,
    char *err, size_t errlen)
{
	const struct tree *acls = tree_get(section, "set_acls");
	const struct tree *auth = tree_get(section, "auth_data");
	struct zk_conf c = { .nhosts = 0 };

	if (tree_truthy(tree_get(section, "use_ssl")))
		snprintf(err, errlen,
		    "use_ssl: the ZooKeeper client library that this program "
		    "is built with has no TLS");
	else if (need_hosts && !read_hosts(&c, tree_get(section, "hosts")))
		snprintf(err, errlen,
		    "hosts: a list of host:port is needed, with an optional "
		    "/path after the last one");
	else if (!map_or_none(acls) || !read_acls(&c, acls))
		snprintf(err, errlen,
		    "set_acls: a map of scheme:id to a list of CREATE READ "
		    "WRITE DELETE ADMIN ALL is needed");
	else if (!map_or_none(auth) || !read_auth(&c, auth))
		snprintf(err, errlen,
		    "auth_data: a map of scheme to credential is needed");
	else {
		zk_conf_clear(conf);
		*conf = c;
		conf->acls.data = conf->acl; /* not into the copy */
		return true;
	}
	zk_conf_clear(&c);
	return false;
}
