/*
 * cache.c: see cache.h.
 */
#include <stdlib.h>
#include <string.h>

#include "cache.h"

#define MAX_KEYS 4096

static struct cache_entry *
find(const struct cache *c, const char *path)
{
	struct cache_entry *e;

	TAILQ_FOREACH(e, &c->list, entry)
	if (strcmp(e->path, path) == 0)
		return e;
	return NULL;
}

const struct cache_entry *
cache_find(const struct cache *c, const char *path)
{
	const struct cache_entry *e = find(c, path);

	return e == NULL || e->deleted ? NULL : e;
}

static void
entry_free(struct cache_entry *e)
{
	free(e->path);
	free(e->value);
	free(e);
}

static void
drop(struct cache *c, struct cache_entry *e)
{
	TAILQ_REMOVE(&c->list, e, entry);
	c->n--;
	entry_free(e);
}

void
cache_init(struct cache *c, struct dcs *dcs)
{
	memset(c, 0, sizeof(*c));
	c->dcs = dcs;
	TAILQ_INIT(&c->list);
}

void
cache_clear(struct cache *c)
{
	struct cache_entry *e;

	while ((e = TAILQ_FIRST(&c->list)) != NULL)
		drop(c, e);
}

/* NULL: not one of our keys, or no room (then the cache is broken). */
static struct cache_entry *
entry_get(struct cache *c, const char *path)
{
	struct cache_entry *e = find(c, path), *next;
	enum dcs_key key;
	const char *member;

	if (e != NULL)
		return e;
	if (!dcs_key_parse(path, &key, &member)) {
		dcs_other(c->dcs, path);
		return NULL;
	}
	if (c->n >= MAX_KEYS) /* drop marks of deleted keys first */
		for (e = TAILQ_FIRST(&c->list); e != NULL; e = next) {
			next = TAILQ_NEXT(e, entry);
			if (e->deleted)
				drop(c, e);
		}
	if (c->n >= MAX_KEYS || (e = calloc(1, sizeof(*e))) == NULL) {
		c->broken = true;
		return NULL;
	}
	if ((e->path = strdup(path)) == NULL) {
		free(e);
		c->broken = true;
		return NULL;
	}
	dcs_key_parse(e->path, &e->key, &e->member);
	e->deleted = true;
	TAILQ_INSERT_TAIL(&c->list, e, entry);
	c->n++;
	return e;
}

/* The entry when it was newer; *differs: the value is another one. */
static struct cache_entry *
apply(struct cache *c, const char *path, const char *value, size_t len,
    const char *session, int64_t token, int64_t modify, bool *differs)
{
	struct cache_entry *e = entry_get(c, path);
	char *copy = NULL;

	if (e == NULL || token <= e->token)
		return NULL;
	if (value != NULL) {
		if ((copy = malloc(len + 1)) == NULL) {
			c->broken = true;
			return NULL;
		}
		memcpy(copy, value, len);
		copy[len] = '\0';
	}
	*differs = e->deleted != (value == NULL) ||
	    (value != NULL &&
		(e->len != len || memcmp(e->value, value, len) != 0));
	free(e->value);
	e->value = copy;
	e->len = value == NULL ? 0 : len;
	e->deleted = value == NULL;
	e->token = token;
	e->modify = modify != 0 ? modify : token;
	text_set(e->session, sizeof(e->session), session);
	return e;
}

static bool
leading(const struct cache *c)
{
	const struct cache_entry *leader =
	    cache_find(c, dcs_key_path(DCS_KEY_LEADER));

	return leader != NULL && strcmp(leader->value, dcs_name(c->dcs)) == 0;
}

/* spec/dcs.md 7.6 and design 6: which changes start a cycle. */
static uint32_t
wake_of(const struct cache *c, const struct cache_entry *e, bool existed)
{
	switch (e->key) {
	case DCS_KEY_LEADER:
		return WAKE_LEADER;
	case DCS_KEY_CONFIG:
		return existed && !e->deleted ? WAKE_CONFIG : 0;
	case DCS_KEY_STATUS:
	case DCS_KEY_OPTIME:
		return e->deleted || leading(c) ? 0 : WAKE_STATUS;
	case DCS_KEY_INITIALIZE:
	case DCS_KEY_FAILOVER:
	case DCS_KEY_SYNC:
		return WAKE_OTHER;
	case DCS_KEY_MEMBER:
		/* the leader makes a slot for a new member before it streams */
		return (!existed || e->deleted) && leading(c) ? WAKE_OTHER : 0;
	case DCS_KEY_HISTORY:
	case DCS_KEY_FAILSAFE:
	case DCS_KEY_COUNT:
		break;
	}
	return 0;
}

static void
note(const struct cache *c, const struct cache_entry *e, bool existed,
    uint32_t *keys, uint32_t *wake)
{
	uint32_t w = wake_of(c, e, existed);

	*keys |= 1u << e->key;
	if (w != 0 && (*wake == 0 || w < *wake))
		*wake = w;
}

void
cache_change(struct cache *c, const char *path, const char *value, size_t len,
    const char *session, int64_t token, int64_t modify, uint32_t *keys,
    uint32_t *wake)
{
	bool existed = cache_find(c, path) != NULL, differs = false;
	struct cache_entry *e;

	e = apply(c, path, value, len, session, token, modify, &differs);
	if (e == NULL)
		return;
	if (differs)
		note(c, e, existed, keys, wake);
	*keys |= 1u << e->key;
}

void
cache_own(struct cache *c, const char *path, const char *value, size_t len,
    const char *session, int64_t token)
{
	const struct cache_entry *e;
	bool differs;

	e = apply(c, path, value, len, session, token, 0, &differs);
	if (e != NULL)
		dcs_watch_changed(c->dcs, 1u << e->key, 0);
}

void
cache_fill_begin(struct cache *c, struct cache_list *old)
{
	TAILQ_INIT(old);
	TAILQ_CONCAT(old, &c->list, entry);
	c->n = 0;
	c->broken = false;
}

void
cache_fill(struct cache *c, const char *path, const char *value, size_t len,
    const char *session, int64_t token, int64_t modify)
{
	bool differs;

	apply(c, path, value, len, session, token, modify, &differs);
}

bool
cache_fill_end(
    struct cache *c, struct cache_list *old, uint32_t *keys, uint32_t *wake)
{
	struct cache_entry *e, *o;

	TAILQ_FOREACH(e, &c->list, entry)
	{
		TAILQ_FOREACH(o, old, entry)
		if (strcmp(o->path, e->path) == 0)
			break;
		if (o == NULL || o->deleted || o->len != e->len ||
		    memcmp(o->value, e->value, e->len) != 0)
			note(c, e, o != NULL && !o->deleted, keys, wake);
		else if (o->token != e->token ||
		    strcmp(o->session, e->session) != 0)
			*keys |= 1u << e->key;
	}
	while ((o = TAILQ_FIRST(old)) != NULL) {
		if (!o->deleted && find(c, o->path) == NULL) {
			o->deleted = true;
			note(c, o, true, keys, wake);
		}
		TAILQ_REMOVE(old, o, entry);
		entry_free(o);
	}
	if (c->broken)
		cache_clear(c);
	return !c->broken;
}

void
cache_answer(struct cache *c, struct dcs_call *call)
{
	struct dcs_kv *kv = calloc(c->n + 1, sizeof(*kv));
	struct cache_entry *e;
	size_t n = 0;

	if (kv == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, "out of memory");
		return;
	}
	TAILQ_FOREACH(e, &c->list, entry)
	{
		if (e->deleted)
			continue;
		kv[n].key = e->key;
		kv[n].member = e->member;
		kv[n].value = e->value;
		kv[n].len = e->len;
		kv[n].token = e->token;
		kv[n].modify = e->modify;
		text_set(kv[n].session, sizeof(kv[n].session), e->session);
		n++;
	}
	dcs_call_loaded(call, kv, n);
	free(kv);
}
