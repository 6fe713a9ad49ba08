/*
 * etcd3_silence.c: a watch that a proxy or a half-dead server keeps open and
 * says nothing on.  TCP does not notice, and requests may well be answered.
 *
 * Every answer carries the revision of the store, so that nothing has to be
 * asked for: a write of ours that the stream does not tell within LATE proves
 * it silent.  A store that is further than what was told may be so by the keys
 * of others: then the keys are read, once a minute at most, and compared.
 */
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "etcd3_int.h"

#define LATE (5 * NS_PER_SEC)
#define LOOK_AGAIN (60 * NS_PER_SEC)

static void
all_heard(struct etcd3 *e, int64_t revision)
{
	if (revision > e->heard)
		e->heard = revision;
	e->moved = 0;
	if (e->heard >= e->own)
		e->owned = 0;
}

void
silence_begin(struct etcd3 *e, int64_t revision)
{
	rpc_cancel(e->look);
	e->look = NULL;
	e->heard = e->own = 0;
	e->owned = 0;
	all_heard(e, revision);
}

/* The first document tells where the store is, not what was told. */
void
silence_heard(struct etcd3 *e, const json_t *result)
{
	if (!json_is_true(json_object_get(result, "created")))
		all_heard(e, etcd_revision(result));
}

void
silence_own(struct etcd3 *e, int64_t revision)
{
	if (revision <= e->own)
		return;
	e->own = revision;
	if (e->owned == 0 && revision > e->heard)
		e->owned = clock_boot_ns();
}

/* How the cache stands to a key as read: as new or newer? */
static bool
as_new(const struct etcd3 *e, const char *path, int64_t mod_revision)
{
	const struct cache_entry *c;

	TAILQ_FOREACH(c, &e->cache.list, entry)
	if (strcmp(c->path, path) == 0)
		return c->token >= mod_revision;
	return false;
}

/* Is what the cache holds of that revision still among the keys? */
static bool
still_there(const struct etcd3 *e, const json_t *root, const char *wanted)
{
	const json_t *kvs = json_object_get(root, "kvs");
	const char *path;
	struct etcd_kv kv;
	bool found = false;
	size_t i;

	for (i = 0; !found && i < json_array_size(kvs); i++) {
		if (!etcd_kv_parse(json_array_get(kvs, i), &kv))
			continue;
		path = etcd_below(e, kv.key);
		found = path != NULL && strcmp(path, wanted) == 0;
		etcd_kv_clear(&kv);
	}
	return found;
}

/* Does the cache hold what was read, or newer? */
static bool
as_cached(const struct etcd3 *e, const json_t *root)
{
	const json_t *kvs = json_object_get(root, "kvs");
	const struct cache_entry *c;
	const char *path, *member;
	enum dcs_key key;
	struct etcd_kv kv;
	bool same = true;
	size_t i;

	for (i = 0; same && i < json_array_size(kvs); i++) {
		if (!etcd_kv_parse(json_array_get(kvs, i), &kv))
			return false;
		path = etcd_below(e, kv.key);
		same = path == NULL || !dcs_key_parse(path, &key, &member) ||
		    as_new(e, path, kv.mod_revision);
		etcd_kv_clear(&kv);
	}
	TAILQ_FOREACH(c, &e->cache.list, entry)
	if (same && !c->deleted && c->token <= etcd_revision(root))
		same = still_there(e, root, c->path);
	return same;
}

static void
restart(struct etcd3 *e)
{
	log_warn("The watch has not told of changes, it is begun anew");
	watch_restart(e);
}

static void
on_look(const struct rpc_result *res, void *arg)
{
	struct etcd3 *e = arg;

	e->look = NULL;
	e->looked = clock_boot_ns();
	if (res->status != RPC_OK || !e->ready)
		return;
	if (as_cached(e, res->root))
		all_heard(e, etcd_revision(res->root));
	else
		restart(e);
}

void
silence_check(struct etcd3 *e, const json_t *root)
{
	int64_t now = clock_boot_ns(), revision = etcd_revision(root);

	if (revision <= 0)
		revision = etcd_revision(json_object_get(root, "result"));
	if (e->watch == NULL || !e->ready || e->in_stream || revision <= 0)
		return;
	if (e->owned != 0 && now - e->owned > LATE) {
		restart(e);
		return;
	}
	if (revision <= e->heard)
		return;
	if (e->moved == 0)
		e->moved = now;
	if (now - e->moved <= LATE || e->look != NULL ||
	    (e->looked != 0 && now - e->looked < LOOK_AGAIN))
		return;
	e->look = rpc_start(e, "/kv/range", etcd_range_body(e), 0,
	    now + dcs_retry_ns(e->c.dcs), on_look, e);
}
