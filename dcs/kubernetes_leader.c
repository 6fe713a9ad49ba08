/*
 * kubernetes_leader.c: the lock: annotations of the leader object, changed
 * under its resourceVersion (spec/dcs.md 11.5).
 *
 * Every renewal writes another renewTime, to the microsecond: annotations that
 * are all as we wanted them were written by us, also when the answer was lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "json.h"
#include "kubernetes_int.h"

#define MAX_REPEATS 4

static void update_run(struct k8s_op *);

static bool
names_us(const struct k8s_op *op, const struct k8s_object *o)
{
	const char *name = k8s_note(o, "leader");

	return name != NULL && strcmp(name, dcs_name(op->k->dcs)) == 0;
}

static bool
time_left(const struct k8s_op *op, int64_t ns)
{
	return op->call->deadline - clock_boot_ns() >= ns;
}

static void
refuse(struct k8s_op *op, const char *why)
{
	if (op->call->op == DCS_OP_ACQUIRE || op->call->op == DCS_OP_TAKE)
		log_info("Could not take out TTL lock");
	k8s_op_end(op, OUTCOME_REFUSED, why);
}

static void
held(struct k8s_op *op, const struct k8s_object *o, int64_t sent_ns)
{
	op->call->sent_ns = sent_ns;
	op->call->new_token = o == NULL ? 0 : o->version;
	k8s_op_end(op, OUTCOME_OK, "");
}

/* Does the object carry all that we wanted to write? */
static bool
as_wanted(const struct k8s_op *op, const struct k8s_object *o)
{
	const char *key, *have;
	json_t *value;

	json_object_foreach(op->notes, key, value)
	{
		have = k8s_note(o, key);
		if (json_is_null(value) ? have != NULL :
					  have == NULL ||
			    strcmp(have, json_string_value(value)) != 0)
			return false;
	}
	return true;
}

/* ---- sending ---- */

static const struct k8s_object *
leader_object(const struct k8s_op *op)
{
	return k8s_key_object(op->k, DCS_KEY_LEADER);
}

static void
send_notes(struct k8s_op *op, json_t *subsets, uint32_t flags, k8s_cb cb)
{
	const struct k8s_object *o = leader_object(op);
	char name[K8S_NAME_SIZE], path[4 * URL_SIZE];
	json_t *body;

	k8s_object_name(op->k, DCS_KEY_LEADER, name);
	op->created = o == NULL;
	op->version = o == NULL ? 0 : o->version;
	body = k8s_body(op->k, name, json_deep_copy(op->notes), op->version);
	if (body != NULL && subsets != NULL)
		json_object_set(body, "subsets", subsets);
	json_decref(subsets);
	if (op->created)
		snprintf(path, sizeof(path), "%s/%s", op->k->conf.ns,
		    op->k->kinds.resource);
	else
		k8s_object_path(op->k, name, path, sizeof(path));
	if (op->call->sent_ns == 0)
		op->call->sent_ns = clock_boot_ns();
	k8s_op_send(op, op->created ? "POST" : "PATCH", path,
	    op->created ? k8s_created(op->k, body) : body, flags, cb);
}

static void
get_leader(struct k8s_op *op, k8s_cb cb)
{
	char name[K8S_NAME_SIZE], path[4 * URL_SIZE];

	k8s_object_name(op->k, DCS_KEY_LEADER, name);
	k8s_object_path(op->k, name, path, sizeof(path));
	k8s_op_send(op, "GET", path, NULL, k8s_op_flags(op), cb);
}

/* What a GET has shown is in the cache then; NULL: it is not there. */
static const struct k8s_object *
seen(struct k8s_op *op, const struct k8s_result *res)
{
	if (res->status != K8S_OK)
		return NULL;
	k8s_cache_reply(op->k, &op->k->kinds, res->root);
	return leader_object(op);
}

/* ---- acquire ---- */

static void
on_acquire_conflict(const struct k8s_result *res, void *arg)
{
	struct k8s_op *op = arg;
	const struct k8s_object *o;

	op->rpc = NULL;
	if (res->status == K8S_FAILED) {
		k8s_op_bad(op, res);
		return;
	}
	o = seen(op, res);
	if (o != NULL && o->version > op->version && as_wanted(op, o))
		held(op, o, op->call->sent_ns); /* an earlier try had won */
	else
		refuse(op, "Could not take out TTL lock");
}

static void
on_acquired(const struct k8s_result *res, void *arg)
{
	struct k8s_op *op = arg;

	op->rpc = NULL;
	if (res->status == K8S_OK) {
		k8s_cache_reply(op->k, &op->k->kinds, res->root);
		held(op, leader_object(op), res->sent_ns);
	} else if (res->status == K8S_FAILED)
		k8s_op_bad(op, res);
	else if (res->code != 409)
		refuse(op, res->message);
	else {
		k8s_cache_restart(op->k);
		if (res->maybe_sent && time_left(op, NS_PER_SEC))
			get_leader(op, on_acquire_conflict);
		else
			refuse(op, "Could not take out TTL lock");
	}
}

static bool
held_by_other(const struct k8s_op *op)
{
	const struct k8s_object *o = leader_object(op);
	const char *name = k8s_note(o, "leader");

	return name != NULL && name[0] != '\0' && !names_us(op, o) &&
	    !k8s_expired(op->k, o);
}

static void
on_asked(const struct k8s_result *res, void *arg)
{
	struct k8s_op *op = arg;

	op->rpc = NULL;
	if (res->status == K8S_FAILED) {
		k8s_op_bad(op, res);
		return;
	}
	(void)seen(op, res);
	if (held_by_other(op) || ++op->repeats >= MAX_REPEATS)
		refuse(op, "Could not take out TTL lock");
	else
		k8s_acquire(op);
}

void
k8s_acquire(struct k8s_op *op)
{
	const struct k8s_object *o = leader_object(op);

	/* "no" is said by the store, not by what we remember of it */
	if (held_by_other(op)) {
		get_leader(op, on_asked);
		return;
	}
	op->notes = k8s_lock_notes(op->k, false);
	send_notes(op, k8s_subsets(op->k, o), k8s_op_flags(op), on_acquired);
}

/* ---- update ---- */

static void
on_update_conflict(const struct k8s_result *res, void *arg)
{
	struct k8s_op *op = arg;
	const struct k8s_object *o;

	op->rpc = NULL;
	if (res->status == K8S_FAILED) {
		k8s_op_bad(op, res);
		return;
	}
	o = seen(op, res);
	if (o == NULL || !names_us(op, o) ||
	    (o->version == op->version && !op->created))
		refuse(op, "the lock is not ours");
	else if (as_wanted(op, o))
		held(op, o, op->call->sent_ns);
	else if (!time_left(op, NS_PER_SEC / 2) || ++op->repeats >= MAX_REPEATS)
		refuse(op, "the leader object keeps changing");
	else
		update_run(op);
}

static void
on_updated(const struct k8s_result *res, void *arg)
{
	struct k8s_op *op = arg;
	char name[K8S_NAME_SIZE];

	op->rpc = NULL;
	if (res->status == K8S_OK) {
		k8s_cache_reply(op->k, &op->k->kinds, res->root);
		held(op, leader_object(op), res->sent_ns);
	} else if (res->status == K8S_FAILED)
		k8s_op_bad(op, res);
	else if (res->code == 409 || res->code == 404) {
		k8s_object_name(op->k, DCS_KEY_LEADER, name);
		log_warn("Concurrent update of %s", name);
		if (time_left(op, NS_PER_SEC))
			get_leader(op, on_update_conflict);
		else
			refuse(op, res->message);
	} else
		refuse(op, res->message);
}

static void
update_run(struct k8s_op *op)
{
	/* the time of the renewal stays that of the first try */
	op->call->sent_ns = clock_boot_ns();
	send_notes(op, k8s_subsets(op->k, leader_object(op)),
	    k8s_op_flags(op) | (op->repeats == 0 ? K8S_RETRY_403 : 0),
	    on_updated);
}

void
k8s_update(struct k8s_op *op)
{
	const struct k8s_object *o = leader_object(op);
	const struct dcs_call *call = op->call;

	if (o != NULL && !names_us(op, o)) {
		refuse(op, "the lock is not ours");
		return;
	}
	op->notes = k8s_lock_notes(op->k, true);
	if (op->notes != NULL && call->status != NULL)
		k8s_status_notes(op->notes, call->status, strlen(call->status));
	if (op->notes != NULL && call->failsafe != NULL)
		json_object_set_new(
		    op->notes, "failsafe", json_string(call->failsafe));
	update_run(op);
}

/* ---- release ---- */

static void release_run(struct k8s_op *);

static void
on_release_conflict(const struct k8s_result *res, void *arg)
{
	struct k8s_op *op = arg;
	const struct k8s_object *o;

	op->rpc = NULL;
	if (res->status == K8S_FAILED) {
		k8s_op_bad(op, res);
		return;
	}
	o = seen(op, res);
	if (o != NULL && k8s_note(o, "leader") == NULL)
		k8s_op_end(op, OUTCOME_OK, "");
	else if (o == NULL || !names_us(op, o) || ++op->repeats >= MAX_REPEATS)
		refuse(op, "the lock is not ours");
	else
		release_run(op);
}

static void
on_released(const struct k8s_result *res, void *arg)
{
	struct k8s_op *op = arg;

	op->rpc = NULL;
	if (res->status == K8S_OK) {
		k8s_cache_reply(op->k, &op->k->kinds, res->root);
		k8s_op_end(op, OUTCOME_OK, "");
	} else if (res->status == K8S_REFUSED && res->code == 409)
		get_leader(op, on_release_conflict);
	else
		k8s_op_bad(op, res);
}

static void
release_run(struct k8s_op *op)
{
	send_notes(op, op->k->conf.endpoints ? json_array() : NULL,
	    k8s_op_flags(op), on_released);
}

void
k8s_release(struct k8s_op *op)
{
	if (!names_us(op, leader_object(op))) {
		refuse(op, "the lock is not ours");
		return;
	}
	op->notes = json_pack("{s:n}", "leader");
	release_run(op);
}
