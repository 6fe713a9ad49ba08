/*
 * etcd3_watch.c: key cache and watch stream (spec/dcs.md 7.6).
 *
 * A range fills the cache; a watch from its revision keeps it fresh; when the
 * watch ends the cache is not ready until the next range has come.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "etcd3_int.h"

static void range_start(struct etcd3 *);

/* ---- own writes ---- */

void
cache_own_put(struct etcd3 *e, const char *path, const char *value, size_t len,
    const char *lease, int64_t revision)
{
	if (!e->ready)
		return;
	cache_own(&e->cache, path, value, len, lease, revision);
	e->ready = !e->cache.broken;
	silence_own(e, revision);
}

void
cache_own_delete(struct etcd3 *e, const char *path, int64_t revision)
{
	if (e->ready)
		cache_own(&e->cache, path, NULL, 0, "", revision);
}

/* ---- loads ---- */

/* "0" stands for no lease. */
static const char *
session_of(const char *lease)
{
	return strcmp(lease, "0") == 0 ? "" : lease;
}

void
watch_load(struct etcd3 *e, struct dcs_call *call)
{
	struct load_waiter *w;

	if (e->ready && e->stream_term >= e->c.term) {
		cache_answer(&e->cache, call);
		return;
	}
	if (e->ready)
		watch_restart(e); /* the stream comes from an old leader */
	if ((w = calloc(1, sizeof(*w))) == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, "out of memory");
		return;
	}
	w->call = call;
	TAILQ_INSERT_TAIL(&e->loads, w, entry);
	if (e->range == NULL && !evtimer_pending(e->watch_timer, NULL))
		range_start(e);
}

/* Answer those that wait; those whose deadline has passed as failed. */
static void
answer_loads(struct etcd3 *e)
{
	TAILQ_HEAD(, load_waiter) list;
	int64_t now = clock_boot_ns();
	struct load_waiter *w;

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

/* The part of a stored key below the base path, or NULL. */
const char *
etcd_below(const struct etcd3 *e, const char *key)
{
	size_t n = strlen(e->base_path);

	return strncmp(key, e->base_path, n) == 0 ? key + n : NULL;
}

void
watch_answer_range(struct etcd3 *e, struct dcs_call *call, const json_t *root)
{
	const json_t *kvs = json_object_get(root, "kvs");
	size_t i, n = 0, total = json_array_size(kvs);
	struct etcd_kv *raw = calloc(total + 1, sizeof(*raw));
	struct dcs_kv *kv = calloc(total + 1, sizeof(*kv));
	const char *path;

	if (raw == NULL || kv == NULL || total > MAX_CACHE) {
		free(raw);
		free(kv);
		dcs_call_done(call, OUTCOME_FAILED, "too many keys");
		return;
	}
	for (i = 0; i < total; i++) {
		if (!etcd_kv_parse(json_array_get(kvs, i), &raw[i]) ||
		    (path = etcd_below(e, raw[i].key)) == NULL)
			continue;
		if (!dcs_key_parse(path, &kv[n].key, &kv[n].member)) {
			dcs_other(call->dcs, path);
			continue;
		}
		kv[n].value = raw[i].value;
		kv[n].len = raw[i].len;
		kv[n].token = kv[n].modify = raw[i].mod_revision;
		text_set(kv[n].session, sizeof(kv[n].session),
		    session_of(raw[i].lease));
		n++;
	}
	dcs_call_loaded(call, kv, n);
	for (i = 0; i < total; i++)
		etcd_kv_clear(&raw[i]);
	free(raw);
	free(kv);
}

/* ---- watch stream ---- */

static void
one_event(struct etcd3 *e, const json_t *event, uint32_t *keys, uint32_t *wake)
{
	const char *type = json_string_value(json_object_get(event, "type"));
	bool gone = type != NULL && strcmp(type, "DELETE") == 0;
	const char *path;
	struct etcd_kv kv;

	if (!etcd_kv_parse(json_object_get(event, "kv"), &kv))
		return;
	if ((path = etcd_below(e, kv.key)) != NULL)
		cache_change(&e->cache, path, gone ? NULL : kv.value, kv.len,
		    session_of(kv.lease), kv.mod_revision, 0, keys, wake);
	etcd_kv_clear(&kv);
}

static bool
on_document(const json_t *j, void *arg)
{
	const json_t *result, *events;
	struct etcd3 *e = arg;
	uint32_t keys = 0, wake = 0;
	char msg[TEXT_SIZE];
	int64_t term;
	size_t i;
	int code;

	if (etcd_error(j, &code, msg, sizeof(msg))) {
		log_info("the watch ended: %s", msg);
		return false;
	}
	result = json_object_get(j, "result");
	if (json_is_true(json_object_get(result, "canceled"))) {
		log_info("Watch request canceled");
		return false;
	}
	if (!rpc_check_header(e, result))
		return false;
	term = etcd_int(json_object_get(result, "header"), "raft_term");
	if (term > 0)
		e->stream_term = term;
	events = json_object_get(result, "events");
	for (i = 0; i < json_array_size(events); i++)
		one_event(e, json_array_get(events, i), &keys, &wake);
	silence_heard(e, result);
	if (keys != 0)
		dcs_watch_changed(e->c.dcs, keys, wake);
	return e->ready && !e->cache.broken;
}

static bool
on_data(const char *data, size_t n, void *arg)
{
	struct etcd3 *e = arg;
	bool ok;

	e->in_stream = true;
	ok = etcd_stream_feed(&e->stream, data, n, on_document, e) && e->ready;
	e->in_stream = false;
	return ok;
}

static void
on_stream_end(const struct http_answer *a, void *arg)
{
	struct etcd3 *e = arg;

	e->watch = NULL;
	log_debug("the watch stream ended: %s", a->text);
	if (e->ready)
		e->ready = false;
	if (e->range == NULL && !evtimer_pending(e->watch_timer, NULL))
		range_start(e);
}

static bool
stream_start(struct etcd3 *e)
{
	char url[URL_SIZE + 32], auth[1024], *body = NULL, *key, *end;
	const char *headers[2] = { NULL, NULL };
	struct http_spec s = { .method = "POST",
		.headers = headers,
		.tls = &e->c.conf.tls,
		.close = true,
		.data = on_data };
	size_t n = strlen(e->base_path);

	etcd_stream_reset(&e->stream);
	key = base64_encode(e->base_path, n);
	e->base_path[n - 1]++; /* "/" -> "0": end of the range */
	end = base64_encode(e->base_path, n);
	e->base_path[n - 1]--;
	if (key == NULL || end == NULL ||
	    asprintf(&body,
		"{\"create_request\":{\"key\":\"%s\",\"range_end\":\"%s\","
		"\"start_revision\":\"%" PRId64 "\",\"filters\":[]}}",
		key, end, e->watch_revision + 1) < 0)
		body = NULL;
	free(key);
	free(end);
	if (body == NULL)
		return false;
	snprintf(
	    url, sizeof(url), "%s%s/watch", etcd_endpoint(&e->c), e->prefix);
	headers[0] = rpc_auth_header(e, auth, sizeof(auth));
	s.url = url;
	s.body = body;
	s.body_len = strlen(body);
	s.deadline = clock_boot_ns() + dcs_retry_ns(e->c.dcs);
	e->watch = http_start(e->c.http, &s, on_stream_end, e);
	free(body);
	wipe(auth, sizeof(auth));
	return e->watch != NULL;
}

char *
etcd_range_body(struct etcd3 *e)
{
	size_t n = strlen(e->base_path);
	char *body = NULL, *key, *end;

	key = base64_encode(e->base_path, n);
	e->base_path[n - 1]++;
	end = base64_encode(e->base_path, n);
	e->base_path[n - 1]--;
	if (key == NULL || end == NULL ||
	    asprintf(&body,
		"{\"key\":\"%s\",\"range_end\":\"%s\",\"serializable\":%s}",
		key, end, dcs_ctl_mode(e->c.dcs) ? "false" : "true") < 0)
		body = NULL;
	free(key);
	free(end);
	return body;
}

static void
retry_later(struct etcd3 *e)
{
	struct timeval tv = { 1, 0 };

	evtimer_add(e->watch_timer, &tv);
}

/* Make the cache what the range says. */
static bool
fill(struct etcd3 *e, const json_t *root, uint32_t *keys, uint32_t *wake)
{
	const json_t *kvs = json_object_get(root, "kvs");
	struct cache_list old;
	struct etcd_kv kv;
	const char *path;
	bool ok = etcd_revision(root) > 0;
	size_t i;

	cache_fill_begin(&e->cache, &old);
	for (i = 0; ok && i < json_array_size(kvs); i++) {
		if (!(ok = etcd_kv_parse(json_array_get(kvs, i), &kv)))
			break;
		if ((path = etcd_below(e, kv.key)) != NULL)
			cache_fill(&e->cache, path, kv.value, kv.len,
			    session_of(kv.lease), kv.mod_revision, 0);
		etcd_kv_clear(&kv);
	}
	return cache_fill_end(&e->cache, &old, keys, wake) && ok;
}

static void
on_range(const struct rpc_result *res, void *arg)
{
	struct etcd3 *e = arg;
	uint32_t keys = 0, wake = 0;

	e->range = NULL;
	if (res->status != RPC_OK) {
		log_debug("the keys cannot be read: %s", res->message);
		retry_later(e);
		answer_loads(e);
		return;
	}
	e->stream_term =
	    etcd_int(json_object_get(res->root, "header"), "raft_term");
	if (!(e->ready = fill(e, res->root, &keys, &wake))) {
		cache_clear(&e->cache);
		retry_later(e);
		answer_loads(e);
		return;
	}
	if (e->watch_revision == 0)
		wake = 0; /* the first fill is no change */
	e->watch_revision = etcd_revision(res->root);
	silence_begin(e, e->watch_revision);
	if (!e->no_watch && !stream_start(e)) {
		e->ready = false;
		retry_later(e);
	}
	if (keys != 0)
		dcs_watch_changed(e->c.dcs, keys, wake);
	answer_loads(e);
}

static void
range_start(struct etcd3 *e)
{
	e->range = rpc_start(e, "/kv/range", etcd_range_body(e), RPC_RETRY,
	    clock_boot_ns() + dcs_retry_ns(e->c.dcs), on_range, e);
	if (e->range == NULL)
		retry_later(e);
}

static void
on_watch_timer(evutil_socket_t fd, short what, void *arg)
{
	struct etcd3 *e = arg;

	(void)fd;
	(void)what;
	if (e->range == NULL && !e->ready)
		range_start(e);
}

void
watch_restart(struct etcd3 *e)
{
	if (dcs_ctl_mode(e->c.dcs) || e->no_watch || !e->ready)
		return;
	e->ready = false;
	if (e->in_stream)
		return; /* on_data() ends the stream */
	http_cancel(e->watch);
	e->watch = NULL;
	if (e->range == NULL) {
		struct timeval now = { 0, 0 };

		evtimer_add(e->watch_timer, &now);
	}
}

void
watch_start(struct etcd3 *e)
{
	cache_init(&e->cache, e->c.dcs);
	TAILQ_INIT(&e->loads);
	if (dcs_ctl_mode(e->c.dcs))
		return;
	e->watch_timer = evtimer_new(e->c.base, on_watch_timer, e);
	if (e->watch_timer != NULL)
		range_start(e);
}

void
watch_close(struct etcd3 *e)
{
	struct load_waiter *w;

	http_cancel(e->watch);
	rpc_cancel(e->look);
	while ((w = TAILQ_FIRST(&e->loads)) != NULL) {
		TAILQ_REMOVE(&e->loads, w, entry);
		free(w);
	}
	cache_clear(&e->cache);
	etcd_stream_reset(&e->stream);
	if (e->watch_timer != NULL)
		event_free(e->watch_timer);
}
