/*
 * kubernetes_cache.c: pods and objects of the cluster, by a list and a watch
 * each (spec/dcs.md 11.6), and who is told of what changes.
 *
 * A watch that ends, or that may have gone stale, is begun anew with a list;
 * until that has come nothing is answered.  A control tool lists only.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "json.h"
#include "kubernetes_int.h"

#define LIST_INTERVAL NS_PER_SEC
#define MAX_LINE (4 * 1024 * 1024)

static void list_start(struct k8s_list *);

struct k8s_object *
k8s_find(const struct k8s_list *l, const char *name)
{
	struct k8s_object *o;

	TAILQ_FOREACH(o, &l->objects, entry)
	if (strcmp(o->name, name) == 0)
		return o;
	return NULL;
}

bool
k8s_ready(const struct k8s *k)
{
	return k->pods.ready && k->kinds.ready;
}

static void
object_free(struct k8s_list *l, struct k8s_object *o)
{
	TAILQ_REMOVE(&l->objects, o, entry);
	l->count--;
	json_decref(o->labels);
	json_decref(o->annotations);
	json_decref(o->subsets);
	free(o);
}

static void
list_clear(struct k8s_list *l)
{
	while (!TAILQ_EMPTY(&l->objects))
		object_free(l, TAILQ_FIRST(&l->objects));
}

/* ---- what changed ---- */

static bool
we_lead(const struct k8s *k)
{
	const char *name =
	    k8s_note(k8s_key_object(k, DCS_KEY_LEADER), "leader");

	return name != NULL && strcmp(name, dcs_name(k->dcs)) == 0;
}

/* Do these annotations differ?  NULL objects have none. */
static bool
differ(const json_t *a, const json_t *b, const char *key)
{
	const char *x = json_text(a, key), *y = json_text(b, key);

	if (x == NULL || y == NULL)
		return x != y;
	return strcmp(x, y) != 0;
}

/* The lock's record is watched with our own clock. */
static void
note_record(struct k8s *k, const struct k8s_object *o)
{
	char *text = o == NULL ? NULL : k8s_record_text(o);
	struct timeval tv;
	int64_t left;

	if (text == NULL || k->record.text == NULL ||
	    strcmp(text, k->record.text) != 0)
		k->record.at = clock_boot_ns();
	free(k->record.text);
	k->record.text = text;
	if (text == NULL || k8s_note(o, "leader") == NULL) {
		event_del(k->expiry);
		return;
	}
	left = k->record.at + k8s_record_ttl(k, o) - clock_boot_ns();
	if (left < 0)
		return;
	left += 10 * NS_PER_MS;
	tv.tv_sec = left / NS_PER_SEC;
	tv.tv_usec = left % NS_PER_SEC / 1000;
	evtimer_add(k->expiry, &tv);
}

static void
on_expiry(evutil_socket_t fd, short what, void *arg)
{
	struct k8s *k = arg;

	(void)fd;
	(void)what;
	if (k8s_ready(k))
		dcs_watch_changed(k->dcs, 1u << DCS_KEY_LEADER, WAKE_LEADER);
}

static void
leader_changed(struct k8s *k, const json_t *old, const struct k8s_object *o)
{
	const json_t *notes = o == NULL ? NULL : o->annotations;
	uint32_t keys = 0, wake = 0;

	note_record(k, o);
	if (differ(old, notes, "optime") || differ(old, notes, "slots") ||
	    differ(old, notes, "retain_slots"))
		keys |= 1u << DCS_KEY_STATUS;
	if (differ(old, notes, "failsafe"))
		keys |= 1u << DCS_KEY_FAILSAFE;
	if (differ(old, notes, "leader")) {
		keys |= 1u << DCS_KEY_LEADER;
		wake = WAKE_LEADER;
	} else if (!we_lead(k))
		wake = WAKE_STATUS; /* also a mere renewal (11.6) */
	if (keys != 0 || wake != 0)
		dcs_watch_changed(k->dcs, keys, wake);
}

static void
config_changed(struct k8s *k, const json_t *old, const json_t *notes)
{
	uint32_t keys = 0, wake = 0;

	if (differ(old, notes, "history"))
		keys |= 1u << DCS_KEY_HISTORY;
	if (differ(old, notes, "initialize")) {
		keys |= 1u << DCS_KEY_INITIALIZE;
		wake = WAKE_OTHER;
	}
	if (differ(old, notes, "config")) {
		keys |= 1u << DCS_KEY_CONFIG;
		if (json_text(old, "config") != NULL &&
		    json_text(notes, "config") != NULL)
			wake = WAKE_CONFIG;
	}
	if (keys != 0)
		dcs_watch_changed(k->dcs, keys, wake);
}

/* old: annotations before; o NULL: the object is gone.  own: by our write. */
static void
changed(struct k8s_list *l, const char *name, bool existed, const json_t *old,
    const struct k8s_object *o, bool own)
{
	const json_t *notes = o == NULL ? NULL : o->annotations;
	static const enum dcs_key keys[] = { DCS_KEY_FAILOVER, DCS_KEY_SYNC };
	struct k8s *k = l->k;
	char other[K8S_NAME_SIZE];
	size_t i;

	if (l->pods) {
		if (!own &&
		    (existed != (o != NULL) || differ(old, notes, "status")))
			dcs_watch_changed(k->dcs, 1u << DCS_KEY_MEMBER,
			    existed != (o != NULL) && we_lead(k) ? WAKE_OTHER :
								   0);
		return;
	}
	k8s_object_name(k, DCS_KEY_LEADER, other);
	if (strcmp(name, other) == 0) {
		if (own)
			note_record(k, o);
		else
			leader_changed(k, old, o);
		return;
	}
	if (own)
		return;
	k8s_object_name(k, DCS_KEY_CONFIG, other);
	if (strcmp(name, other) == 0)
		config_changed(k, old, notes);
	for (i = 0; i < 2; i++) {
		k8s_object_name(k, keys[i], other);
		if (strcmp(name, other) == 0 &&
		    (existed != (o != NULL) || !json_equal(old, notes)))
			dcs_watch_changed(k->dcs, 1u << keys[i], WAKE_OTHER);
	}
}

/* ---- applying objects ---- */

static json_t *
part(const json_t *object, const char *outer, const char *inner)
{
	return json_object_get(json_object_get(object, outer), inner);
}

static void
replace(json_t **to, json_t *with)
{
	json_decref(*to);
	*to = json_incref(with);
}

static void
fill(struct k8s_list *l, struct k8s_object *o, const json_t *j)
{
	const char *s;

	replace(&o->labels, part(j, "metadata", "labels"));
	replace(&o->annotations, part(j, "metadata", "annotations"));
	if (!l->pods) {
		replace(&o->subsets, json_object_get(j, "subsets"));
		return;
	}
	if ((s = json_string_value(part(j, "metadata", "uid"))) != NULL)
		(void)text_set(o->uid, sizeof(o->uid), s);
	if ((s = json_string_value(part(j, "status", "podIP"))) != NULL)
		(void)text_set(o->ip, sizeof(o->ip), s);
	if ((s = json_string_value(part(j, "spec", "nodeName"))) != NULL)
		(void)text_set(o->node, sizeof(o->node), s);
}

static bool
name_of(const json_t *j, char name[K8S_NAME_SIZE], int64_t *version)
{
	const char *s = json_string_value(part(j, "metadata", "name"));
	const char *v =
	    json_string_value(part(j, "metadata", "resourceVersion"));
	char *end;

	if (s == NULL || v == NULL || !text_set(name, K8S_NAME_SIZE, s))
		return false;
	*version = strtoll(v, &end, 10);
	return *version > 0 && *end == '\0';
}

/* The selection holds the pods of all groups of a Citus cluster. */
static bool
of_group(const struct k8s_list *l, const json_t *j)
{
	const char *own = l->k->conf.group;
	const char *group =
	    json_text(part(j, "metadata", "labels"), "citus-group");

	return !l->pods || own[0] == '\0' ||
	    (group != NULL && strcmp(group, own) == 0);
}

static struct k8s_object *
apply(struct k8s_list *l, const json_t *j, bool own)
{
	char name[K8S_NAME_SIZE];
	struct k8s_object *o;
	json_t *old = NULL;
	int64_t version;
	bool existed;

	if (!name_of(j, name, &version) || !of_group(l, j))
		return NULL;
	o = k8s_find(l, name);
	if ((existed = o != NULL)) {
		if (version <= o->version)
			return o;
		old = json_incref(o->annotations);
	} else {
		if (l->count == K8S_MAX_OBJECTS) {
			log_warn("too many %s: %s is passed over", l->resource,
			    name);
			return NULL;
		}
		if ((o = calloc(1, sizeof(*o))) == NULL)
			fatal("out of memory");
		memcpy(o->name, name, sizeof(o->name));
		TAILQ_INSERT_TAIL(&l->objects, o, entry);
		l->count++;
	}
	o->version = version;
	fill(l, o, j);
	changed(l, name, existed, old, o, own);
	json_decref(old);
	return o;
}

static void
delete_object(struct k8s_list *l, struct k8s_object *o)
{
	char name[K8S_NAME_SIZE];
	json_t *old = json_incref(o->annotations);

	memcpy(name, o->name, sizeof(name));
	object_free(l, o);
	changed(l, name, true, old, NULL, false);
	json_decref(old);
}

void
k8s_cache_reply(struct k8s *k, struct k8s_list *l, const json_t *object)
{
	(void)k;
	/* before the first list nothing is known of the others */
	if (l->listed_at != 0)
		(void)apply(l, object, true);
}

/* ---- watch ---- */

static void
list_again(struct k8s_list *l, bool now)
{
	int64_t left = l->listed_at + LIST_INTERVAL - clock_boot_ns();
	struct timeval tv;

	l->ready = false;
	k8s_cancel(l->rpc);
	l->rpc = NULL;
	http_cancel(l->stream);
	l->stream = NULL;
	free(l->line);
	l->line = NULL;
	l->len = 0;
	if (now || left < 0)
		left = 0;
	tv.tv_sec = left / NS_PER_SEC;
	tv.tv_usec = left % NS_PER_SEC / 1000;
	evtimer_add(l->timer, &tv);
}

static bool
event_error(struct k8s_list *l, const json_t *object)
{
	int64_t code = json_integer_value(json_object_get(object, "code"));
	const char *message = json_text(object, "message");

	if (code != 410)
		log_warn("watch of %s: %s", l->resource,
		    message == NULL ? "an error without words" : message);
	return false;
}

/* One event; false: the watch is over. */
static bool
event(struct k8s_list *l, const char *line, size_t len)
{
	json_t *j = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *type = json_text(j, "type");
	const json_t *object = json_object_get(j, "object");
	char name[K8S_NAME_SIZE];
	struct k8s_object *o;
	int64_t version;
	bool go_on = true;

	if (type == NULL || !json_is_object(object))
		go_on = false;
	else if (strcmp(type, "ERROR") == 0)
		go_on = event_error(l, object);
	else if (strcmp(type, "BOOKMARK") == 0)
		;
	else if (strcmp(type, "DELETED") == 0) {
		if (name_of(object, name, &version) &&
		    (o = k8s_find(l, name)) != NULL && version > o->version)
			delete_object(l, o);
	} else if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
		(void)apply(l, object, false);
	json_decref(j);
	return go_on;
}

bool
k8s_watch_data(const char *data, size_t n, void *arg)
{
	struct k8s_list *l = arg;
	char *p, *nl, *line;

	if (n == 0)
		return true;
	if (l->len + n > MAX_LINE || (p = realloc(l->line, l->len + n)) == NULL)
		return false;
	memcpy(p + l->len, data, n);
	l->line = p;
	l->len += n;
	line = l->line;
	while ((nl = memchr(line, '\n', l->len)) != NULL) {
		size_t len = (size_t)(nl - line);

		if (len > 0 && !event(l, line, len))
			return false;
		line = nl + 1;
		l->len -= len + 1;
	}
	memmove(l->line, line, l->len);
	return true;
}

static void
on_stream_end(const struct http_answer *a, void *arg)
{
	struct k8s_list *l = arg;

	l->stream = NULL;
	if (a->error != HTTP_OK && a->error != HTTP_ABORTED)
		log_debug("watch of %s: %s", l->resource, a->text);
	list_again(l, a->error == HTTP_ABORTED);
}

static void
watch_start(struct k8s_list *l)
{
	struct k8s *k = l->k;
	char url[6 * URL_SIZE];
	struct http_spec spec = { .method = "GET",
		.url = url,
		.headers = k8s_headers(k, NULL),
		.user = k->conf.user,
		.password = k->conf.password,
		.tls = &k->conf.tls,
		.deadline = clock_boot_ns() + dcs_retry_ns(k->dcs),
		.connect_ns = dcs_retry_ns(k->dcs),
		.data = k8s_watch_data };

	snprintf(url, sizeof(url),
	    "%s/api/v1/namespaces/%s/%s?labelSelector=%s&watch=true"
	    "&allowWatchBookmarks=true&resourceVersion=%s",
	    k8s_endpoint(k), k->conf.ns, l->resource, k->conf.selector,
	    l->version);
	l->stream = http_start(k->http, &spec, on_stream_end, l);
	if (l->stream == NULL)
		list_again(l, false);
}

/* ---- list ---- */

static void
apply_list(struct k8s_list *l, const json_t *root)
{
	struct k8s_object *o, *next;
	const json_t *j;
	size_t i;

	TAILQ_FOREACH(o, &l->objects, entry)
	o->seen = false;
	json_array_foreach(json_object_get(root, "items"), i,
	    j) if ((o = apply(l, j, false)) != NULL) o->seen = true;
	for (o = TAILQ_FIRST(&l->objects); o != NULL; o = next) {
		next = TAILQ_NEXT(o, entry);
		if (!o->seen)
			delete_object(l, o);
	}
}

static void
on_list(const struct k8s_result *res, void *arg)
{
	struct k8s_list *l = arg;
	const char *version;

	l->rpc = NULL;
	if (res->status != K8S_OK) {
		log_debug("list of %s: %s", l->resource, res->message);
		list_again(l, false);
		return;
	}
	version =
	    json_string_value(part(res->root, "metadata", "resourceVersion"));
	if (version == NULL || version[strspn(version, "0123456789")] != '\0' ||
	    !text_set(l->version, sizeof(l->version), version)) {
		log_warn("list of %s: no resourceVersion", l->resource);
		list_again(l, false);
		return;
	}
	apply_list(l, res->root);
	l->ready = true;
	if (!dcs_ctl_mode(l->k->dcs))
		watch_start(l);
	if (k8s_ready(l->k))
		k8s_ops_ready(l->k);
}

void
k8s_list_path(const struct k8s *k, const char *resource, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s?labelSelector=%s", k->conf.ns, resource,
	    k->conf.selector);
}

static void
list_start(struct k8s_list *l)
{
	struct k8s *k = l->k;
	char path[4 * URL_SIZE];

	l->listed_at = clock_boot_ns();
	k8s_list_path(k, l->resource, path, sizeof(path));
	l->rpc = k8s_start(k, "GET", path, NULL, K8S_RETRY,
	    l->listed_at + dcs_retry_ns(k->dcs), on_list, l);
	if (l->rpc == NULL)
		list_again(l, false);
}

static void
on_list_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	list_start(arg);
}

/* ---- life ---- */

static bool
list_init(struct k8s_list *l, struct k8s *k, const char *resource, bool pods)
{
	l->k = k;
	l->resource = resource;
	l->pods = pods;
	TAILQ_INIT(&l->objects);
	l->timer = evtimer_new(k->base, on_list_timer, l);
	return l->timer != NULL;
}

bool
k8s_cache_init(struct k8s *k)
{
	k->expiry = evtimer_new(k->base, on_expiry, k);
	return list_init(&k->pods, k, "pods", true) &&
	    list_init(&k->kinds, k,
		k->conf.endpoints ? "endpoints" : "configmaps", false) &&
	    k->expiry != NULL;
}

void
k8s_cache_start(struct k8s *k)
{
	k->started = true;
	list_again(&k->pods, true);
	list_again(&k->kinds, true);
}

void
k8s_cache_restart(struct k8s *k)
{
	struct k8s_list *both[] = { &k->pods, &k->kinds };
	size_t i;

	for (i = 0; k->started && !dcs_ctl_mode(k->dcs) && i < 2; i++)
		if (both[i]->stream != NULL || both[i]->ready)
			list_again(both[i], false);
}

void
k8s_cache_close(struct k8s *k)
{
	struct k8s_list *both[] = { &k->pods, &k->kinds };
	size_t i;

	for (i = 0; i < 2; i++) {
		if (both[i]->timer == NULL)
			continue;
		k8s_cancel(both[i]->rpc);
		http_cancel(both[i]->stream);
		list_clear(both[i]);
		free(both[i]->line);
		event_free(both[i]->timer);
	}
	free(k->record.text);
	if (k->expiry != NULL)
		event_free(k->expiry);
}
