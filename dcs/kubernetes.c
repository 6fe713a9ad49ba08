/*
 * kubernetes.c: the Kubernetes driver (spec/dcs.md 11): the operations but
 * those on the lock (kubernetes_leader.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "json.h"
#include "kubernetes_int.h"

static void op_run(struct k8s_op *);

/* ---- life of an operation ---- */

static void
op_free(struct k8s_op *op)
{
	LIST_REMOVE(op, entry);
	k8s_cancel(op->rpc);
	if (op->timer != NULL)
		event_free(op->timer);
	json_decref(op->notes);
	free(op);
}

void
k8s_op_end(struct k8s_op *op, enum outcome outcome, const char *error)
{
	struct dcs_call *call = op->call;
	char text[TEXT_SIZE];

	snprintf(text, sizeof(text), "%s", error);
	op_free(op);
	dcs_call_done(call, outcome, text);
}

/* A request that did not get a good answer. */
void
k8s_op_bad(struct k8s_op *op, const struct k8s_result *res)
{
	k8s_op_end(op,
	    res->status == K8S_REFUSED && !res->maybe_sent ? OUTCOME_REFUSED :
		res->maybe_sent				   ? OUTCOME_UNKNOWN :
							     OUTCOME_FAILED,
	    res->message);
}

uint32_t
k8s_op_flags(const struct k8s_op *op)
{
	return op->call->retry ? K8S_RETRY : 0;
}

void
k8s_op_send(struct k8s_op *op, const char *method, const char *path,
    json_t *body, uint32_t flags, k8s_cb cb)
{
	if (strcmp(method, "GET") != 0 && strcmp(method, "DELETE") != 0 &&
	    body == NULL) {
		k8s_op_end(op, OUTCOME_FAILED, "out of memory");
		return;
	}
	op->rpc = k8s_start(
	    op->k, method, path, body, flags, op->call->deadline, cb, op);
	if (op->rpc == NULL)
		k8s_op_end(op, OUTCOME_FAILED, "out of memory");
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct k8s_op *op = arg;

	(void)fd;
	(void)what;
	k8s_op_end(op,
	    op->rpc != NULL && op->call->op != DCS_OP_LOAD ? OUTCOME_UNKNOWN :
							     OUTCOME_FAILED,
	    "no answer from Kubernetes in time");
}

void
k8s_ops_ready(struct k8s *k)
{
	struct k8s_op *op;

	/* an operation that runs may end others: from the start */
	do {
		LIST_FOREACH(op, &k->ops, entry)
		if (op->waiting)
			break;
		if (op != NULL) {
			op->waiting = false;
			op_run(op);
		}
	} while (op != NULL && k8s_ready(k));
}

/* ---- writes ---- */

void
k8s_object_path(const struct k8s *k, const char *name, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s/%s", k->conf.ns, k->kinds.resource, name);
}

static void
on_verified(const struct k8s_result *res, void *arg)
{
	const struct k8s_object *o;
	struct k8s_op *op = arg;
	const char *key, *have;
	bool same = true;
	json_t *value;

	op->rpc = NULL;
	if (res->status == K8S_FAILED) {
		k8s_op_end(op, OUTCOME_UNKNOWN, res->message);
		return;
	}
	if (res->status == K8S_OK)
		k8s_cache_reply(op->k, &op->k->kinds, res->root);
	o = k8s_key_object(op->k, op->call->key);
	json_object_foreach(op->notes, key, value)
	{
		have = k8s_note(o, key);
		if (json_is_null(value) ? have != NULL :
					  have == NULL ||
			    strcmp(have, json_string_value(value)) != 0)
			same = false;
	}
	if (!same || o == NULL || o->version <= op->version) {
		k8s_op_end(
		    op, OUTCOME_REFUSED, "the key was changed meanwhile");
		return;
	}
	op->call->new_token = o->version;
	k8s_op_end(op, OUTCOME_OK, "");
}

static void
on_written(const struct k8s_result *res, void *arg)
{
	struct k8s_op *op = arg;
	const struct dcs_call *call = op->call;
	char name[K8S_NAME_SIZE], path[4 * URL_SIZE];
	const struct k8s_object *o;

	op->rpc = NULL;
	op->call->sent_ns = res->sent_ns;
	if (res->status == K8S_OK) {
		k8s_cache_reply(op->k, &op->k->kinds, res->root);
		o = k8s_key_object(op->k, call->key);
		op->call->new_token = o == NULL ? 0 : o->version;
		k8s_op_end(op, OUTCOME_OK, "");
		return;
	}
	if (res->status == K8S_FAILED ||
	    (res->code != 409 && res->code != 404)) {
		k8s_op_bad(op, res);
		return;
	}
	k8s_cache_restart(op->k);
	/* An answer may have been lost.  A new cluster's mark is no proof: the
	 * others write the same. */
	if (res->maybe_sent && call->key != DCS_KEY_INITIALIZE) {
		k8s_object_name(op->k, call->key, name);
		k8s_object_path(op->k, name, path, sizeof(path));
		k8s_op_send(
		    op, "GET", path, NULL, k8s_op_flags(op), on_verified);
	} else
		k8s_op_end(
		    op, OUTCOME_REFUSED, "the key was changed meanwhile");
}

/* Patch the key's object, or create it. */
static void
send_key(struct k8s_op *op, bool create, int64_t version)
{
	char name[K8S_NAME_SIZE], path[4 * URL_SIZE];
	json_t *body;

	if (op->notes == NULL) {
		k8s_op_end(op, OUTCOME_FAILED, "out of memory");
		return;
	}
	k8s_object_name(op->k, op->call->key, name);
	op->version = version;
	body = k8s_body(op->k, name, json_deep_copy(op->notes), version);
	if (create)
		snprintf(path, sizeof(path), "%s/%s", op->k->conf.ns,
		    op->k->kinds.resource);
	else
		k8s_object_path(op->k, name, path, sizeof(path));
	k8s_op_send(op, create ? "POST" : "PATCH", path,
	    create ? k8s_created(op->k, body) : body, k8s_op_flags(op),
	    on_written);
}

static json_t *
one_note(const char *key, const char *value)
{
	return json_pack("{s:s?}", key, value);
}

static json_t *
notes_of(const struct dcs_call *call)
{
	json_t *notes;

	switch (call->key) {
	case DCS_KEY_INITIALIZE:
		return one_note("initialize", call->value);
	case DCS_KEY_CONFIG:
		return one_note("config", call->value);
	case DCS_KEY_HISTORY:
		return one_note("history", call->value);
	case DCS_KEY_FAILSAFE:
		return one_note("failsafe", call->value);
	case DCS_KEY_FAILOVER:
	case DCS_KEY_SYNC:
		return k8s_document_notes(call->key, call->value, call->len);
	default:
		notes = json_object();
		k8s_status_notes(notes, call->value, call->len);
		return notes;
	}
}

static void op_service(struct k8s *);

static void
op_write(struct k8s_op *op)
{
	const struct dcs_call *call = op->call;
	const struct k8s_object *o = k8s_key_object(op->k, call->key);

	if (call->key == DCS_KEY_OPTIME) {
		/* the old key has no place here */
		k8s_op_end(op, OUTCOME_OK, "");
		return;
	}
	op->notes = notes_of(call);
	if (o == NULL)
		op_service(op->k);
	/* the token of an object that is not there is 0 */
	if (call->cond == DCS_COND_TOKEN)
		send_key(op, call->token == 0, call->token);
	else if (call->cond == DCS_COND_CREATE) {
		if (k8s_note(o, "initialize") != NULL)
			k8s_op_end(
			    op, OUTCOME_REFUSED, "the key exists already");
		else
			send_key(op, o == NULL, o == NULL ? 0 : o->version);
	} else if (call->key == DCS_KEY_SYNC)
		send_key(op, true, 0);
	else
		send_key(op, o == NULL, 0);
}

static void
op_delete(struct k8s_op *op)
{
	if (k8s_note(k8s_key_object(op->k, op->call->key), "initialize") ==
	    NULL) {
		k8s_op_end(op, OUTCOME_OK, "");
		return;
	}
	op->notes = one_note("initialize", NULL);
	send_key(op, false, 0);
}

static void
on_removed(const struct k8s_result *res, void *arg)
{
	struct k8s_op *op = arg;

	op->rpc = NULL;
	if (res->status == K8S_OK)
		k8s_op_end(op, OUTCOME_OK, "");
	else
		k8s_op_bad(op, res);
}

static void
op_remove_all(struct k8s_op *op)
{
	char path[4 * URL_SIZE];

	k8s_list_path(op->k, op->k->kinds.resource, path, sizeof(path));
	k8s_op_send(op, "DELETE", path, NULL, k8s_op_flags(op), on_removed);
}

/* ---- the pod ---- */

static void
on_service(const struct k8s_result *res, void *arg)
{
	struct k8s *k = arg;

	k->service = NULL;
	k->service_made = res->status == K8S_OK ||
	    (res->status == K8S_REFUSED &&
		(res->code == 409 || res->code == 403));
}

/* Keeps the control plane from cleaning the config Endpoints away. */
static void
op_service(struct k8s *k)
{
	char name[K8S_NAME_SIZE], path[2 * URL_SIZE];
	json_t *body;

	if (!k->conf.endpoints || k->service_made || k->service != NULL ||
	    dcs_ctl_mode(k->dcs))
		return;
	k8s_object_name(k, DCS_KEY_CONFIG, name);
	body = json_pack("{s:s,s:s,s:{s:s,s:s,s:O},s:{s:s}}", "apiVersion",
	    "v1", "kind", "Service", "metadata", "name", name, "namespace",
	    k->conf.ns, "labels", k->conf.written, "spec", "clusterIP", "None");
	if (body == NULL)
		return;
	snprintf(path, sizeof(path), "%s/services", k->conf.ns);
	k->service = k8s_start(k, "POST", path, body, 0,
	    clock_boot_ns() + dcs_retry_ns(k->dcs), on_service, k);
}

static void
on_touched(const struct k8s_result *res, void *arg)
{
	const struct k8s_object *pod;
	struct k8s_op *op = arg;

	op->rpc = NULL;
	op->call->sent_ns = res->sent_ns;
	if (res->status != K8S_OK) {
		k8s_op_bad(op, res);
		return;
	}
	k8s_cache_reply(op->k, &op->k->pods, res->root);
	pod = k8s_find(&op->k->pods, dcs_name(op->k->dcs));
	op->call->new_token = pod == NULL ? 0 : pod->version;
	k8s_op_end(op, OUTCOME_OK, "");
}

static bool
labels_differ(const struct k8s_object *pod, const json_t *labels)
{
	const char *key, *have;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)labels, key, value)
	{
		have = json_text(pod->labels, key);
		if (json_is_null(value) ? have != NULL :
					  have == NULL ||
			    strcmp(have, json_string_value(value)) != 0)
			return true;
	}
	return false;
}

static bool
status_differs(const struct k8s_object *pod, const json_t *member)
{
	const char *have = k8s_note(pod, "status");
	json_t *j;
	bool same;

	if (have == NULL)
		return true;
	j = json_loads(have, 0, NULL);
	same = json_equal(j, member);
	json_decref(j);
	return !same;
}

static void
op_touch(struct k8s_op *op)
{
	const struct dcs_call *call = op->call;
	const char *name = dcs_name(op->k->dcs);
	const struct k8s_object *pod = k8s_find(&op->k->pods, name);
	json_t *member = json_loadb(call->value, call->len, 0, NULL);
	json_t *labels = k8s_pod_labels(op->k, member), *body;
	char path[2 * URL_SIZE];

	op_service(op->k);
	if (pod != NULL && !labels_differ(pod, labels) &&
	    !status_differs(pod, member)) {
		json_decref(labels);
		json_decref(member);
		op->call->sent_ns = clock_boot_ns();
		op->call->new_token = pod->version;
		k8s_op_end(op, OUTCOME_OK, "");
		return;
	}
	json_decref(member);
	body = json_pack("{s:{s:s,s:s,s:o,s:{s:s}}}", "metadata", "name", name,
	    "namespace", op->k->conf.ns, "labels", labels, "annotations",
	    "status", call->value);
	snprintf(path, sizeof(path), "%s/pods/%s", op->k->conf.ns, name);
	k8s_op_send(op, "PATCH", path, body, k8s_op_flags(op), on_touched);
}

/* ---- the driver ---- */

static void
op_run(struct k8s_op *op)
{
	struct dcs_call *call = op->call;
	struct k8s *k = op->k;

	switch (call->op) {
	case DCS_OP_LOAD:
		op_free(op);
		k8s_answer_load(k, call);
		break;
	case DCS_OP_ACQUIRE:
	case DCS_OP_TAKE:
		k8s_acquire(op);
		break;
	case DCS_OP_UPDATE:
		k8s_update(op);
		break;
	case DCS_OP_RELEASE:
		k8s_release(op);
		break;
	case DCS_OP_TOUCH:
		op_touch(op);
		break;
	case DCS_OP_WRITE:
		op_write(op);
		break;
	case DCS_OP_DELETE:
		op_delete(op);
		break;
	case DCS_OP_REMOVE_ALL:
		op_remove_all(op);
		break;
	}
}

static void
submit(void *arg, struct dcs_call *call)
{
	int64_t ns = call->deadline - clock_boot_ns();
	struct k8s *k = arg;
	bool ctl = dcs_ctl_mode(k->dcs);
	struct timeval tv;
	struct k8s_op *op;

	if ((op = calloc(1, sizeof(*op))) == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, "out of memory");
		return;
	}
	op->k = k;
	op->call = call;
	LIST_INSERT_HEAD(&k->ops, op, entry);
	if (ns < 0)
		ns = 0;
	tv.tv_sec = ns / NS_PER_SEC;
	tv.tv_usec = ns % NS_PER_SEC / 1000;
	if ((op->timer = evtimer_new(k->base, on_deadline, op)) == NULL) {
		k8s_op_end(op, OUTCOME_FAILED, "out of memory");
		return;
	}
	evtimer_add(op->timer, &tv);
	if (call->op == DCS_OP_LOAD)
		k8s_discover(k);
	/* a control tool has no watch: what it loads, it loads anew */
	if (ctl && (call->op == DCS_OP_LOAD || !k->started) &&
	    (!k->started || k8s_ready(k)))
		k8s_cache_start(k);
	if (k8s_ready(k))
		op_run(op);
	else
		op->waiting = true;
}

static void
apply_settings(struct k8s *k)
{
	int ttl = (int)(dcs_ttl_ns(k->dcs) / NS_PER_SEC);
	int idle =
	    (int)((dcs_loop_ns(k->dcs) + dcs_retry_ns(k->dcs)) / NS_PER_SEC);
	int interval = (ttl - idle) / 3;

	http_keepalive(k->http, ttl, idle, interval < 1 ? 1 : interval);
}

static void
k8s_close(void *arg)
{
	struct k8s *k = arg;

	if (k == NULL)
		return;
	while (!LIST_EMPTY(&k->ops))
		op_free(LIST_FIRST(&k->ops));
	k8s_cache_close(k);
	while (!LIST_EMPTY(&k->rpcs))
		k8s_cancel(LIST_FIRST(&k->rpcs));
	if (k->http != NULL)
		http_free(k->http);
	wipe(k->auth, sizeof(k->auth));
	k8s_conf_clear(&k->conf);
	free(k);
}

static void *
k8s_open(struct dcs *dcs, const struct tree *section, char *err, size_t errlen)
{
	struct k8s *k;

	if ((k = calloc(1, sizeof(*k))) == NULL) {
		snprintf(err, errlen, "out of memory");
		return NULL;
	}
	LIST_INIT(&k->ops);
	LIST_INIT(&k->rpcs);
	k->dcs = dcs;
	k->base = dcs_event_base(dcs);
	k->seed = (uint32_t)clock_wall_us();
	if (!k8s_conf_read(&k->conf, dcs_scope(dcs), section, err, errlen)) {
		free(k);
		return NULL;
	}
	memcpy(k->endpoints[0], k->conf.server, URL_SIZE);
	k->nendpoints = 1;
	if ((k->http = http_new(k->base)) == NULL || !k8s_cache_init(k)) {
		snprintf(err, errlen, "out of memory");
		k8s_close(k);
		return NULL;
	}
	apply_settings(k);
	if (!dcs_ctl_mode(dcs))
		k8s_cache_start(k);
	return k;
}

static bool
reload(void *arg, const struct tree *section, char *err, size_t errlen)
{
	struct k8s *k = arg;

	if (!k8s_conf_read(&k->conf, dcs_scope(k->dcs), section, err, errlen))
		return false;
	k->kinds.resource = k->conf.endpoints ? "endpoints" : "configmaps";
	memcpy(k->endpoints[0], k->conf.server, URL_SIZE);
	k->nendpoints = 1;
	k->current = 0;
	k->discovered_at = 0;
	k8s_cache_restart(k);
	return true;
}

static void
settings(void *arg)
{
	apply_settings(arg);
}

static void
info(const void *arg, char *buf, size_t size)
{
	const struct k8s *k = arg;

	snprintf(buf, size, "kubernetes %.200s%s%s%.200s", k8s_endpoint(k),
	    dcs_ctl_mode(k->dcs) ? "" :
		k8s_ready(k)	 ? ", watching" :
				   ", reading the objects",
	    k->last_error[0] == '\0' ? "" : ", ", k->last_error);
}

const struct dcs_driver dcs_kubernetes = {
	.section = "kubernetes",
	.caps = DCS_CAP_WATCH | DCS_CAP_ONE_WRITE,
	.open = k8s_open,
	.close = k8s_close,
	.reload = reload,
	.settings = settings,
	.info = info,
	.submit = submit,
};
