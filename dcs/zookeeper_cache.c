/*
 * zookeeper_cache.c: the keys of the cluster as last read, kept fresh by the
 * store's one-shot watches: an event makes one node stale, and only that is
 * read again.
 *
 * The server sends an event before any answer that shows the change, and all
 * answers in order: when nothing is stale, the whole is a state that the
 * store was in.  Loads wait for that moment.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/log.h"
#include "zookeeper_int.h"

static void on_node(struct zk *, const struct zk_answer *, void *);

static struct zk_node *
find(const struct zk *zk, const char *path)
{
	struct zk_node *n;

	TAILQ_FOREACH(n, &zk->nodes, entry)
	if (strcmp(n->path, path) == 0)
		return n;
	return NULL;
}

const struct zk_node *
zk_cache_find(const struct zk *zk, const char *path)
{
	const struct zk_node *n = find(zk, path);

	return n != NULL && n->there ? n : NULL;
}

static void
node_free(struct zk *zk, struct zk_node *n)
{
	TAILQ_REMOVE(&zk->nodes, n, entry);
	zk->nnodes--;
	zk_cancel(n->request);
	free(n->path);
	free(n->value);
	free(n);
}

void
zk_cache_reset(struct zk *zk)
{
	while (!TAILQ_EMPTY(&zk->nodes))
		node_free(zk, TAILQ_FIRST(&zk->nodes));
	zk->filled = false;
	zk->changed = zk->wake = 0;
}

/* A node of the tree that means something to us; it is to be read. */
static struct zk_node *
add(struct zk *zk, const char *path, bool children, enum dcs_key key)
{
	struct zk_node *n = find(zk, path);

	if (n != NULL)
		return n;
	if (zk->nnodes == ZK_MAX_NODES) {
		log_warn("too many keys in the store: %s is passed over", path);
		return NULL;
	}
	if ((n = calloc(1, sizeof(*n))) == NULL ||
	    (n->path = strdup(path)) == NULL)
		fatal("out of memory");
	n->children = children;
	n->key = key;
	n->stale = true;
	TAILQ_INSERT_TAIL(&zk->nodes, n, entry);
	zk->nnodes++;
	return n;
}

/* ---- what changed ---- */

static bool
we_lead(const struct zk *zk)
{
	const struct zk_node *n = zk_cache_find(zk, "leader");

	return n != NULL && strcmp(n->value, dcs_name(zk->dcs)) == 0;
}

/* spec/dcs.md 9.2 and design 6: which changes start a cycle. */
static uint32_t
wake_of(const struct zk *zk, const struct zk_node *n, bool existed)
{
	switch (n->key) {
	case DCS_KEY_LEADER:
		return WAKE_LEADER;
	case DCS_KEY_CONFIG:
		return existed && n->there ? WAKE_CONFIG : 0;
	case DCS_KEY_STATUS:
	case DCS_KEY_OPTIME:
		return n->there && !we_lead(zk) ? WAKE_STATUS : 0;
	case DCS_KEY_INITIALIZE:
	case DCS_KEY_FAILOVER:
	case DCS_KEY_SYNC:
		return WAKE_OTHER;
	case DCS_KEY_MEMBER:
		/* the leader makes a slot for a new member before it streams */
		return existed != n->there && we_lead(zk) ? WAKE_OTHER : 0;
	case DCS_KEY_HISTORY:
	case DCS_KEY_FAILSAFE:
	case DCS_KEY_COUNT:
		break;
	}
	return 0;
}

static void
note(struct zk *zk, const struct zk_node *n, bool existed)
{
	uint32_t wake = wake_of(zk, n, existed);

	zk->changed |= 1u << n->key;
	/* the lowest number matters most */
	if (wake != 0 && (zk->wake == 0 || wake < zk->wake))
		zk->wake = wake;
}

/* Set what a node holds; value NULL: it is not there.  True when that is
 * another content than before. */
static bool
hold(struct zk_node *n, const char *value, size_t len)
{
	bool differs = n->there != (value != NULL) ||
	    (value != NULL &&
		(n->len != len || memcmp(n->value, value, len) != 0));

	if (!differs)
		return false;
	free(n->value);
	n->value = NULL;
	n->len = 0;
	n->there = value != NULL;
	if (value != NULL) {
		if ((n->value = malloc(len + 1)) == NULL)
			fatal("out of memory");
		memcpy(n->value, value, len);
		n->value[len] = '\0';
		n->len = len;
	}
	return true;
}

/* ---- reading ---- */

static void
ask(struct zk *zk, struct zk_node *n)
{
	n->asked = true;
	n->stale = false;
	if (n->children && n->path[0] == '\0' && n->seen && !n->there)
		n->request = zk_exists(zk, n->path, true, on_node, n);
	else if (n->children)
		n->request = zk_children(zk, n->path, true, on_node, n);
	else
		n->request = zk_get(zk, n->path, true, on_node, n);
	if (n->request == NULL)
		fatal("out of memory");
}

static bool
whole(const struct zk *zk)
{
	const struct zk_node *n;

	if (!zk->confirmed || TAILQ_EMPTY(&zk->nodes))
		return false;
	TAILQ_FOREACH(n, &zk->nodes, entry)
	if (n->asked || n->stale)
		return false;
	return true;
}

/* Ask for what is stale; when nothing is, say what changed meanwhile. */
static void
step(struct zk *zk)
{
	uint32_t changed = zk->changed, wake = zk->wake;
	bool first = !zk->filled;
	struct zk_node *n;

	if (!zk->confirmed)
		return;
	TAILQ_FOREACH(n, &zk->nodes, entry)
	if (n->stale && !n->asked)
		ask(zk, n);
	if (!whole(zk))
		return;
	zk->filled = true;
	zk->changed = zk->wake = 0;
	if (first)
		dcs_watch_changed(
		    zk->dcs, (1u << DCS_KEY_COUNT) - 1, WAKE_OTHER);
	else if (changed != 0)
		dcs_watch_changed(zk->dcs, changed, wake);
	zk_ops_ready(zk);
}

void
zk_cache_start(struct zk *zk)
{
	if (TAILQ_EMPTY(&zk->nodes))
		add(zk, "", true, DCS_KEY_COUNT);
	step(zk);
}

/* One name below a directory. */
static void
child(struct zk *zk, const struct zk_node *parent, const char *name)
{
	char path[2 * NAME_SIZE];
	const char *member;
	enum dcs_key key;
	int n;

	n = snprintf(path, sizeof(path), "%s%s%s", parent->path,
	    parent->path[0] == '\0' ? "" : "/", name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return;
	if (strcmp(path, "members") == 0 || strcmp(path, "optime") == 0)
		add(zk, path, true, DCS_KEY_COUNT);
	else if (dcs_key_parse(path, &key, &member))
		add(zk, path, false, key);
	else
		dcs_other(zk->dcs, path);
}

static void
on_names(struct zk *zk, struct zk_node *n, const struct zk_answer *a)
{
	int32_t i;

	if (a->rc == ZNONODE) {
		if (n->path[0] != '\0') {
			node_free(zk, n); /* its parent's list adds it again */
			return;
		}
		/* the base: wait for its creation by another watch */
		n->stale = !n->seen || n->there;
		n->seen = true;
		n->there = false;
		return;
	}
	n->seen = true;
	if (a->names == NULL) { /* exists: it is there by now */
		n->stale = true;
		n->there = true;
		return;
	}
	n->there = true;
	for (i = 0; i < a->names->count; i++)
		child(zk, n, a->names->data[i]);
}

static void
on_value(struct zk *zk, struct zk_node *n, const struct zk_answer *a)
{
	bool existed = n->there;
	bool none = a->rc == ZNONODE;

	if (a->stat != NULL)
		n->stat = *a->stat;
	if (hold(n, none ? NULL : a->value, a->len))
		note(zk, n, existed);
	/* no watch lies on what is not there: the parent's tells of it */
	if (none)
		node_free(zk, n);
}

static void
on_node(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_node *n = arg;

	n->asked = false;
	n->request = NULL;
	if (zk_trouble(a->rc)) {
		n->stale = true; /* asked again by the next connection */
		return;
	}
	if (a->rc != ZOK && a->rc != ZNONODE) {
		snprintf(zk->last_error, sizeof(zk->last_error), "%s: %s",
		    n->path, zerror(a->rc));
		log_warn("ZooKeeper: %s/%s cannot be read: %s", zk->base_path,
		    n->path, zerror(a->rc));
		n->stale = true;
		zk_loads_failed(zk, zerror(a->rc));
		return;
	}
	if (n->children)
		on_names(zk, n, a);
	else
		on_value(zk, n, a);
	step(zk);
}

void
zk_cache_event(struct zk *zk, const char *absolute)
{
	size_t len = strlen(zk->base_path);
	struct zk_node *n;

	if (strncmp(absolute, zk->base_path, len) != 0)
		return;
	absolute += len;
	if (*absolute == '/')
		absolute++;
	if ((n = find(zk, absolute)) == NULL)
		return;
	n->stale = true;
	step(zk);
}

/* ---- own writes ---- */

void
zk_cache_own(struct zk *zk, const char *path, const char *value, size_t len)
{
	struct zk_node *n = find(zk, path);
	const char *member;
	enum dcs_key key;

	if (!zk->filled)
		return;
	if (n == NULL) {
		if (!dcs_key_parse(path, &key, &member) ||
		    (n = add(zk, path, false, key)) == NULL)
			return;
	}
	(void)hold(n, value, len);
	n->stale = true; /* for its version, and for a watch */
	step(zk);
}

void
zk_cache_own_delete(struct zk *zk, const char *path)
{
	struct zk_node *n = find(zk, path);

	if (n == NULL)
		return;
	(void)hold(n, NULL, 0);
	n->stale = true;
	step(zk);
}

/* ---- loads ---- */

bool
zk_cache_answer(struct zk *zk, struct dcs_call *call)
{
	struct dcs_kv *kv;
	struct zk_node *n;
	size_t count = 0;
	const char *member;
	enum dcs_key key;

	if (!whole(zk))
		return false;
	if ((kv = calloc(zk->nnodes, sizeof(*kv))) == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, "out of memory");
		return true;
	}
	TAILQ_FOREACH(n, &zk->nodes, entry)
	{
		struct dcs_kv *k = &kv[count];

		if (n->children || !n->there ||
		    !dcs_key_parse(n->path, &key, &member))
			continue;
		k->key = key;
		k->member = member;
		k->value = n->value;
		k->len = n->len;
		/* spec/dcs.md 3.4: re-creation starts the version again */
		k->token = key == DCS_KEY_HISTORY ? n->stat.mzxid :
						    zk_token(n->stat.version);
		k->modify = n->stat.mzxid;
		if (n->stat.ephemeralOwner != 0)
			snprintf(k->session, sizeof(k->session), "%lld",
			    (long long)n->stat.ephemeralOwner);
		count++;
	}
	dcs_call_loaded(call, kv, count);
	free(kv);
	return true;
}
