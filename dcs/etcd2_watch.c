/*
 * etcd2_watch.c: key cache and watch stream of etcd v2.
 *
 * First a stream of events is opened, then the tree is read: what the stream
 * brings meanwhile waits, and counts if it is newer than the tree.  (A watch
 * from a given index will not do: when the server has an event of the past it
 * delivers that one alone.)  The server ends a watch every few minutes;
 * whatever ends the stream, both are begun anew.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "etcd2_int.h"
#include "json.h"

#define MAX_DEPTH 8
#define MAX_WAITING 1000

struct etcd2_event {
	TAILQ_ENTRY(etcd2_event) entry;
	json_t *event;
};

static void begin(struct etcd2 *);

void
etcd2_own(struct etcd2 *e, const char *path, const char *value, size_t len,
    int64_t index)
{
	if (!e->ready || index <= 0)
		return;
	cache_own(&e->cache, path, value, len, "", index);
	e->ready = !e->cache.broken;
}

/* The part of a node's key below the base path, or NULL. */
static const char *
below(const struct etcd2 *e, const char *key)
{
	size_t n = strlen(e->base);

	return key != NULL && strncmp(key, e->base, n) == 0 ? key + n : NULL;
}

/* ---- trees ---- */

typedef void (*leaf_cb)(struct etcd2 *, const char *path, const char *value,
    int64_t index, void *arg);

static void
leaves(struct etcd2 *e, const json_t *node, int depth, leaf_cb cb, void *arg)
{
	const json_t *nodes = json_object_get(node, "nodes");
	const char *path, *value = json_text(node, "value");
	size_t i;

	if (json_is_true(json_object_get(node, "dir"))) {
		for (i = 0; depth < MAX_DEPTH && i < json_array_size(nodes);
		     i++)
			leaves(e, json_array_get(nodes, i), depth + 1, cb, arg);
		return;
	}
	if ((path = below(e, json_text(node, "key"))) != NULL && value != NULL)
		cb(e, path, value, etcd_int(node, "modifiedIndex"), arg);
}

static void
fill_leaf(struct etcd2 *e, const char *path, const char *value, int64_t index,
    void *arg)
{
	(void)arg;
	cache_fill(&e->cache, path, value, strlen(value), "", index, 0);
}

bool
etcd2_fill(struct etcd2 *e, const json_t *root, uint32_t *keys, uint32_t *wake)
{
	struct cache_list old;

	cache_fill_begin(&e->cache, &old);
	if (root != NULL)
		leaves(e, json_object_get(root, "node"), 0, fill_leaf, NULL);
	return cache_fill_end(&e->cache, &old, keys, wake);
}

void
etcd2_answer_tree(struct etcd2 *e, struct dcs_call *call, const json_t *root)
{
	uint32_t keys = 0, wake = 0;

	if (etcd2_fill(e, root, &keys, &wake))
		cache_answer(&e->cache, call);
	else
		dcs_call_done(call, OUTCOME_FAILED, "too many keys");
}

/* ---- loads ---- */

static void
answer_loads(struct etcd2 *e)
{
	TAILQ_HEAD(, etcd2_load) list;
	int64_t now = clock_boot_ns();
	struct etcd2_load *w;

	TAILQ_INIT(&list);
	TAILQ_CONCAT(&list, &e->loads, entry);
	while ((w = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, w, entry);
		if (e->ready)
			cache_answer(&e->cache, w->call);
		else if (now >= w->call->deadline)
			dcs_call_done(w->call, OUTCOME_FAILED,
			    e->c.last_error[0] != '\0' ?
				e->c.last_error :
				"Etcd is not responding properly");
		else {
			TAILQ_INSERT_TAIL(&e->loads, w, entry);
			continue;
		}
		free(w);
	}
}

void
etcd2_load(struct etcd2 *e, struct dcs_call *call)
{
	struct etcd2_load *w;

	if (e->ready) {
		cache_answer(&e->cache, call);
		return;
	}
	if ((w = calloc(1, sizeof(*w))) == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, "out of memory");
		return;
	}
	w->call = call;
	TAILQ_INSERT_TAIL(&e->loads, w, entry);
	begin(e);
}

/* ---- watch stream ---- */

bool
etcd2_event(
    struct etcd2 *e, const json_t *event, uint32_t *keys, uint32_t *wake)
{
	const json_t *node = json_object_get(event, "node");
	const char *action = json_text(event, "action");
	const char *value = json_text(node, "value"), *path;
	int64_t index = etcd_int(node, "modifiedIndex");
	bool gone;

	if (action == NULL || index <= 0 ||
	    json_is_true(json_object_get(node, "dir")))
		return false; /* a directory went: read the tree */
	gone = strcmp(action, "delete") == 0 || strcmp(action, "expire") == 0 ||
	    strcmp(action, "compareAndDelete") == 0;
	if (!gone && value == NULL)
		value = "";
	if ((path = below(e, json_text(node, "key"))) != NULL)
		cache_change(&e->cache, path, gone ? NULL : value,
		    gone ? 0 : strlen(value), "", index, 0, keys, wake);
	return !e->cache.broken;
}

static void
forget_events(struct etcd2 *e)
{
	struct etcd2_event *w;

	while ((w = TAILQ_FIRST(&e->events)) != NULL) {
		TAILQ_REMOVE(&e->events, w, entry);
		json_decref(w->event);
		free(w);
	}
	e->nevents = 0;
}

/* The tree is still being read. */
static bool
keep_event(struct etcd2 *e, const json_t *event)
{
	struct etcd2_event *w;

	if (e->nevents >= MAX_WAITING || (w = calloc(1, sizeof(*w))) == NULL)
		return false;
	if ((w->event = json_deep_copy(event)) == NULL) {
		free(w);
		return false;
	}
	TAILQ_INSERT_TAIL(&e->events, w, entry);
	e->nevents++;
	return true;
}

static bool
on_document(const json_t *j, void *arg)
{
	struct etcd2 *e = arg;
	uint32_t keys = 0, wake = 0;

	if (json_object_get(j, "errorCode") != NULL) {
		log_info("the watch ended: %s",
		    json_text(j, "message") != NULL ? json_text(j, "message") :
						      "error");
		return false;
	}
	if (!e->ready)
		return keep_event(e, j);
	if (!etcd2_event(e, j, &keys, &wake)) {
		e->ready = false;
		return false;
	}
	if (keys != 0)
		dcs_watch_changed(e->c.dcs, keys, wake);
	return true;
}

static void
retry_later(struct etcd2 *e)
{
	struct timeval tv = { 1, 0 };

	e->ready = false;
	http_cancel(e->watch);
	e->watch = NULL;
	evtimer_add(e->timer, &tv);
}

/* What happened since the tree was read. */
static bool
catch_up(struct etcd2 *e, uint32_t *keys, uint32_t *wake)
{
	struct etcd2_event *w;
	bool ok = true;

	TAILQ_FOREACH(w, &e->events, entry)
	if (etcd_int(json_object_get(w->event, "node"), "modifiedIndex") >
		e->index &&
	    !etcd2_event(e, w->event, keys, wake))
		ok = false;
	forget_events(e);
	return ok;
}

static void
on_tree(const struct rpc_result *res, void *arg)
{
	struct etcd2 *e = arg;
	uint32_t keys = 0, wake = 0;
	bool none;

	e->tree = NULL;
	none = res->status == RPC_ERROR && res->code == ETCD2_NOT_FOUND;
	/* from another endpoint than the events: they do not fit together */
	if ((res->status != RPC_OK && !none) || res->index <= 0 ||
	    e->watch == NULL || strcmp(e->watched, etcd_endpoint(&e->c)) != 0) {
		log_debug("the keys cannot be read: %s", res->message);
		retry_later(e);
		answer_loads(e);
		return;
	}
	e->index = res->index;
	e->ready = etcd2_fill(e, none ? NULL : res->root, &keys, &wake) &&
	    catch_up(e, &keys, &wake);
	if (!e->ready)
		retry_later(e);
	if (!e->filled)
		wake = 0; /* the first fill is no change */
	e->filled |= e->ready;
	if (keys != 0)
		dcs_watch_changed(e->c.dcs, keys, wake);
	answer_loads(e);
}

static bool
tree_start(struct etcd2 *e)
{
	char path[PATH_MAX_V2 + 64];

	snprintf(
	    path, sizeof(path), "%s/?recursive=true&quorum=false", e->keys);
	e->tree = rpc_request(&e->c, "GET", path, NULL, RPC_RETRY,
	    clock_boot_ns() + dcs_retry_ns(e->c.dcs), on_tree, e);
	return e->tree != NULL;
}

static bool
on_data(const char *data, size_t n, void *arg)
{
	struct etcd2 *e = arg;
	bool ok;

	if (n == 0) { /* the server notes events from now on */
		evtimer_del(e->timer);
		return e->tree != NULL || tree_start(e);
	}
	e->in_stream = true;
	ok = etcd_stream_feed(&e->stream, data, n, on_document, e) &&
	    (e->ready || e->tree != NULL);
	e->in_stream = false;
	return ok;
}

static void
on_stream_end(const struct http_answer *a, void *arg)
{
	struct timeval now = { 0, 0 };
	struct etcd2 *e = arg;
	bool was = e->ready;

	e->watch = NULL;
	log_debug("the watch stream ended: %s", a->text);
	e->ready = false;
	if (e->tree != NULL)
		return; /* its end begins anew */
	evtimer_del(e->timer);
	if (was || a->error == HTTP_ABORTED) {
		evtimer_add(e->timer, &now);
		return;
	}
	if (a->error != HTTP_OK && a->text[0] != '\0')
		text_set(e->c.last_error, sizeof(e->c.last_error), a->text);
	etcd_next_endpoint(&e->c, e->watched);
	retry_later(e);
	answer_loads(e);
}

static bool
stream_start(struct etcd2 *e)
{
	char url[URL_SIZE + PATH_MAX_V2 + 128];
	struct http_spec s = { .method = "GET",
		.url = url,
		.user = e->c.conf.user,
		.password = e->c.conf.password,
		.tls = &e->c.conf.tls,
		.close = true,
		.data = on_data };

	etcd_stream_reset(&e->stream);
	forget_events(e);
	text_set(e->watched, sizeof(e->watched), etcd_endpoint(&e->c));
	if (e->watched[0] == '\0')
		return false; /* none known yet */
	snprintf(url, sizeof(url), "%s%s?wait=true&recursive=true&stream=true",
	    e->watched, e->keys);
	s.deadline = clock_boot_ns() + dcs_retry_ns(e->c.dcs);
	e->watch = http_start(e->c.http, &s, on_stream_end, e);
	return e->watch != NULL;
}

/* Open the stream, unless that is under way. */
static void
begin(struct etcd2 *e)
{
	/* half the time, so that another endpoint gets its turn */
	int64_t half = dcs_retry_ns(e->c.dcs) / 2;
	struct timeval tv;

	if (e->ready || e->watch != NULL || e->tree != NULL ||
	    evtimer_pending(e->timer, NULL))
		return;
	if (!stream_start(e)) {
		retry_later(e);
		return;
	}
	tv.tv_sec = half / NS_PER_SEC;
	tv.tv_usec = half % NS_PER_SEC / 1000;
	evtimer_add(e->timer, &tv);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct etcd2 *e = arg;

	(void)fd;
	(void)what;
	if (e->watch != NULL && e->tree == NULL && !e->ready) {
		/* connected, but no headers came */
		http_cancel(e->watch);
		e->watch = NULL;
		etcd_next_endpoint(&e->c, e->watched);
	}
	begin(e);
}

void
etcd2_watch_restart(struct etcd2 *e)
{
	struct timeval now = { 0, 0 };

	if (!e->ready)
		return;
	e->ready = false;
	if (e->in_stream)
		return; /* on_data() ends the stream */
	http_cancel(e->watch);
	e->watch = NULL;
	evtimer_add(e->timer, &now);
}

bool
etcd2_watch_start(struct etcd2 *e)
{
	cache_init(&e->cache, e->c.dcs);
	TAILQ_INIT(&e->loads);
	TAILQ_INIT(&e->events);
	if (dcs_ctl_mode(e->c.dcs))
		return true;
	if ((e->timer = evtimer_new(e->c.base, on_timer, e)) == NULL)
		return false;
	begin(e);
	return true;
}

void
etcd2_watch_close(struct etcd2 *e)
{
	struct etcd2_load *w;

	http_cancel(e->watch);
	while ((w = TAILQ_FIRST(&e->loads)) != NULL) {
		TAILQ_REMOVE(&e->loads, w, entry);
		free(w);
	}
	forget_events(e);
	cache_clear(&e->cache);
	etcd_stream_reset(&e->stream);
	if (e->timer != NULL)
		event_free(e->timer);
}
