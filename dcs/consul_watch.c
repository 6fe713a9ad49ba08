/*
 * consul_watch.c: key cache and blocking query (spec/dcs.md 8.4).
 *
 * One query of the whole prefix waits at the agent until something changes
 * and then brings everything.  A write of our own, and any trouble, makes the
 * cache stale: the next answer of a query that began before it may be older,
 * so it is dropped and the prefix is read at once.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "consul_int.h"
#include "etcd3_proto.h"
#include "json.h"

#define WAIT_SECONDS 60

static void begin(struct consul *);

/* ---- entries ---- */

static const char *
below(const struct consul *c, const char *key)
{
	size_t n = strlen(c->key_prefix);

	return key != NULL && strncmp(key, c->key_prefix, n) == 0 ? key + n :
								    NULL;
}

bool
consul_fill(
    struct consul *c, const json_t *entries, uint32_t *keys, uint32_t *wake)
{
	struct cache_list old;
	bool ok = true;
	size_t i, len;
	char *value;

	cache_fill_begin(&c->cache, &old);
	for (i = 0; ok && i < json_array_size(entries); i++) {
		const json_t *e = json_array_get(entries, i);
		const char *path = below(c, json_text(e, "Key"));
		const char *session = json_text(e, "Session");

		if (path == NULL)
			continue;
		if (!(ok = (value = consul_value(e, &len)) != NULL))
			break;
		cache_fill(&c->cache, path, value, len,
		    session == NULL ? "" : session, etcd_int(e, "ModifyIndex"),
		    0);
		free(value);
	}
	return cache_fill_end(&c->cache, &old, keys, wake) && ok;
}

void
consul_answer_tree(
    struct consul *c, struct dcs_call *call, const json_t *entries)
{
	uint32_t keys = 0, wake = 0;

	if (consul_fill(c, entries, &keys, &wake))
		cache_answer(&c->cache, call);
	else
		dcs_call_done(call, OUTCOME_FAILED, "malformed keys");
}

/* ---- loads ---- */

static void
answer_loads(struct consul *c)
{
	TAILQ_HEAD(, consul_load) list;
	int64_t now = clock_boot_ns();
	struct consul_load *w;

	TAILQ_INIT(&list);
	TAILQ_CONCAT(&list, &c->loads, entry);
	while ((w = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, w, entry);
		if (c->ready)
			cache_answer(&c->cache, w->call);
		else if (now >= w->call->deadline)
			dcs_call_done(w->call, OUTCOME_FAILED,
			    c->last_error[0] != '\0' ?
				c->last_error :
				"Consul is not responding properly");
		else {
			TAILQ_INSERT_TAIL(&c->loads, w, entry);
			continue;
		}
		free(w);
	}
}

void
consul_watch_load(struct consul *c, struct dcs_call *call)
{
	struct consul_load *w;

	if (c->ready) {
		cache_answer(&c->cache, call);
		return;
	}
	if ((w = calloc(1, sizeof(*w))) == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, "out of memory");
		return;
	}
	w->call = call;
	TAILQ_INSERT_TAIL(&c->loads, w, entry);
	begin(c);
}

/* ---- the query ---- */

static void
begin_in(struct consul *c, int64_t ns)
{
	struct timeval tv = { ns / NS_PER_SEC, ns % NS_PER_SEC / 1000 };

	evtimer_add(c->timer, &tv);
}

static void
on_query(const struct creq_result *res, void *arg)
{
	struct consul *c = arg;
	uint32_t keys = 0, wake = 0;

	c->query = NULL;
	if (res->status != CREQ_OK && res->status != CREQ_ABSENT) {
		log_debug("the keys cannot be read: %s", res->error);
		c->ready = false;
		begin_in(c, NS_PER_SEC);
		answer_loads(c);
		return;
	}
	if (!consul_fill(c, res->root, &keys, &wake)) {
		c->ready = false;
		cache_clear(&c->cache);
		begin_in(c, NS_PER_SEC);
		answer_loads(c);
		return;
	}
	/* an index that goes back, or none: the agent was set up anew */
	c->index = res->index >= c->index ? res->index : 0;
	c->ready = true;
	if (!c->filled)
		wake = 0; /* the first fill is no change */
	c->filled = true;
	if (keys != 0)
		dcs_watch_changed(c->dcs, keys, wake);
	answer_loads(c);
	if (res->index > 0)
		begin(c);
	else if (c->query == NULL)
		begin_in(c, NS_PER_SEC); /* no index to wait from */
}

/* Ask: at once when the cache is stale, else wait for news. */
static void
begin(struct consul *c)
{
	char path[2 * CONSUL_PATH], dc[CONSUL_PATH];
	uint32_t flags = CREQ_LONG;
	int64_t wait = WAIT_SECONDS * NS_PER_SEC, deadline;

	if (c->query != NULL)
		return;
	evtimer_del(c->timer);
	consul_dc_query(c, dc, sizeof(dc));
	c->blocking = c->ready && c->index > 0;
	if (c->blocking) {
		snprintf(path, sizeof(path),
		    "%.*s?recurse=1&index=%" PRId64 "&wait=%ds%s%s",
		    CONSUL_PATH / 2, c->prefix, c->index, WAIT_SECONDS,
		    dc[0] == '\0' ? "" : "&", dc[0] == '\0' ? "" : dc + 1);
		deadline = clock_boot_ns() + wait + wait / 15 + NS_PER_SEC;
	} else {
		snprintf(path, sizeof(path), "%.*s?recurse=1%s%s",
		    CONSUL_PATH / 2, c->prefix, dc[0] == '\0' ? "" : "&",
		    dc[0] == '\0' ? "" : dc + 1);
		deadline = clock_boot_ns() + dcs_retry_ns(c->dcs) / 3;
	}
	if (strcmp(c->conf.consistency, "default") != 0) {
		strncat(path, "&", sizeof(path) - strlen(path) - 1);
		strncat(
		    path, c->conf.consistency, sizeof(path) - strlen(path) - 1);
		strncat(path, "=1", sizeof(path) - strlen(path) - 1);
	}
	c->query =
	    creq_start(c, "GET", path, NULL, flags, deadline, on_query, c);
	if (c->query == NULL)
		begin_in(c, NS_PER_SEC);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	begin(arg);
}

void
consul_watch_stale(struct consul *c)
{
	if (c->timer == NULL)
		return;
	c->ready = false;
	creq_cancel(c->query);
	c->query = NULL;
	begin_in(c, 5 * NS_PER_MS);
}

void
consul_watch_trouble(struct consul *c)
{
	if (c->ready)
		consul_watch_stale(c);
}

bool
consul_watch_start(struct consul *c)
{
	cache_init(&c->cache, c->dcs);
	TAILQ_INIT(&c->loads);
	if (dcs_ctl_mode(c->dcs))
		return true;
	if ((c->timer = evtimer_new(c->base, on_timer, c)) == NULL)
		return false;
	begin(c);
	return true;
}

void
consul_watch_close(struct consul *c)
{
	struct consul_load *w;

	creq_cancel(c->query);
	c->query = NULL;
	while ((w = TAILQ_FIRST(&c->loads)) != NULL) {
		TAILQ_REMOVE(&c->loads, w, entry);
		free(w);
	}
	cache_clear(&c->cache);
	if (c->timer != NULL)
		event_free(c->timer);
}
