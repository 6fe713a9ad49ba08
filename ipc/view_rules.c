/*
 * view_rules.c: see view_rules.h.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "values.h"
#include "view_rules.h"

#define PG_PORT 5432

/* Boolean of a dynamic document, spec/config.md 3.2. */
static bool
config_bool(const struct view *v, const char *key)
{
	const struct tree *t;
	char text[32];

	if (v == NULL || (t = tree_get(v->config, key)) == NULL)
		return false;
	if (t->type == TREE_LIST || t->type == TREE_MAP ||
	    tree_scalar_text(t, text, sizeof(text)) >= (int)sizeof(text))
		return false;
	return value_bool(text) == 1;
}

bool
view_paused(const struct view *v)
{
	return config_bool(v, "pause");
}

bool
standby_cluster_valid(const struct tree *section)
{
	return section != NULL && section->type == TREE_MAP &&
	    (tree_truthy(tree_get(section, "host")) ||
		tree_truthy(tree_get(section, "port")) ||
		tree_truthy(tree_get(section, "restore_command")));
}

bool
view_standby_cluster(const struct view *v)
{
	return v != NULL &&
	    standby_cluster_valid(tree_get(v->config, "standby_cluster"));
}

bool
view_synchronous(const struct view *v, bool *quorum)
{
	const struct tree *t;
	bool q;

	t = v == NULL ? NULL : tree_get(v->config, "synchronous_mode");
	q = t != NULL && t->type == TREE_TEXT &&
	    strcasecmp(t->u.s, "quorum") == 0;
	if (quorum != NULL)
		*quorum = q;
	return (q || config_bool(v, "synchronous_mode")) &&
	    !view_standby_cluster(v);
}

bool
view_sync_standby(const struct view *v, const char *name)
{
	if (v == NULL || v->sync_leader[0] == '\0' ||
	    strcasecmp(v->sync_leader, name) == 0)
		return false;
	for (uint32_t i = 0; i < v->nsync_standby; i++)
		if (strcasecmp(v->sync_standby[i], name) == 0)
			return true;
	return false;
}

bool
view_leads(const struct view *v, const struct view_member *m)
{
	return v != NULL && v->leader[0] != '\0' &&
	    strcmp(v->leader, m->name) == 0;
}

enum view_role
view_role(const struct view *v, const struct view_member *m)
{
	bool quorum;

	if (view_leads(v, m))
		return view_standby_cluster(v) ? VIEW_ROLE_STANDBY_LEADER :
						 VIEW_ROLE_LEADER;
	if (!view_synchronous(v, &quorum) || !view_sync_standby(v, m->name))
		return VIEW_ROLE_REPLICA;
	return quorum ? VIEW_ROLE_QUORUM_STANDBY : VIEW_ROLE_SYNC_STANDBY;
}

bool
view_member_address(
    const struct view_member *m, char *host, size_t size, int *port)
{
	char authority[URL_SIZE];
	const char *p = strstr(m->conn_url, "://"), *at;
	size_t len;

	host[0] = '\0';
	*port = PG_PORT;
	if (p == NULL)
		return false;
	p += 3;
	len = strcspn(p, "/?#");
	if (len == 0 || len >= sizeof(authority))
		return false;
	memcpy(authority, p, len);
	authority[len] = '\0';
	if ((at = strrchr(authority, '@')) != NULL)
		memmove(authority, at + 1, strlen(at + 1) + 1);
	/* a bare IPv6 address in brackets has colons but perhaps no port */
	len = strlen(authority);
	if (len > 2 && authority[0] == '[' && authority[len - 1] == ']') {
		authority[len - 1] = '\0';
		if (!text_set(host, size, authority + 1))
			host[0] = '\0';
	} else if (!value_host_port(authority, PG_PORT, host, size, port))
		host[0] = '\0';
	for (char *c = host; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	return host[0] != '\0';
}
