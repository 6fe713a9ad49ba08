/*
 * consul.c: the operations of spec/dcs.md 8.4 on Consul's key-value store.
 *
 * The lock is a key acquired by our session.  Where a key carries our name
 * but another session (the ttl was changed), it is deleted and locked anew in
 * one transaction on condition of its index: nobody can come in between.
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

struct consul_op {
	LIST_ENTRY(consul_op) entry;
	struct consul *c;
	struct dcs_call *call;
	struct creq *req;
	struct consul_waiter *waiter;
	char path[2 * NAME_SIZE]; /* below the base path */
	bool session_repeated;
	int64_t first_ns; /* of the write that is being verified */
};

static void op_session(struct consul_op *, bool force);

static void
op_end(struct consul_op *op, enum outcome outcome, const char *error)
{
	struct dcs_call *call = op->call;
	struct consul *c = op->c;

	LIST_REMOVE(op, entry);
	creq_cancel(op->req);
	free(op);
	if (outcome == OUTCOME_OK && call->op == DCS_OP_TOUCH)
		consul_service_update(c, call->value, call->len);
	dcs_call_done(call, outcome, error);
}

/* It was written: the cache does not know yet. */
static void
op_written(struct consul_op *op)
{
	consul_watch_stale(op->c);
	op_end(op, OUTCOME_OK, "");
}

static enum outcome
bad_outcome(const struct creq_result *res)
{
	if (res->status != CREQ_FAILED)
		return OUTCOME_REFUSED;
	return res->maybe_sent ? OUTCOME_UNKNOWN : OUTCOME_FAILED;
}

static char *
value_of(const struct consul_op *op)
{
	/* an empty body is a body all the same */
	return strndup(op->call->value, op->call->len);
}

/* query: "acquire=..." or "".  body is taken over. */
static void
op_send(struct consul_op *op, const char *method, const char *query, char *body,
    bool retry, creq_cb cb)
{
	char path[2 * CONSUL_PATH], key[6 * NAME_SIZE], dc[CONSUL_PATH];
	int n;

	consul_dc_query(op->c, dc, sizeof(dc));
	if (!http_escape(key, sizeof(key), op->path, "/")) {
		free(body);
		op_end(op, OUTCOME_FAILED, "the key is too long");
		return;
	}
	n = snprintf(path, sizeof(path), "%s%s%s%s%s%s", op->c->prefix, key,
	    query[0] == '\0' ? "" : "?", query,
	    dc[0] == '\0'	 ? "" :
		query[0] == '\0' ? "?" :
				   "&",
	    dc[0] == '\0' ? "" : dc + 1);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		free(body);
		op_end(op, OUTCOME_FAILED, "the key is too long");
		return;
	}
	op->req = creq_start(op->c, method, path, body, retry ? CREQ_RETRY : 0,
	    op->call->deadline, cb, op);
	if (op->req == NULL)
		op_end(op, OUTCOME_FAILED, "out of memory");
}

static const json_t *
entry_of(const struct creq_result *res)
{
	return json_array_get(res->root, 0);
}

/* Does the entry hold what this call writes? */
static bool
holds_ours(const struct consul_op *op, const json_t *entry)
{
	size_t len;
	char *value = entry == NULL ? NULL : consul_value(entry, &len);
	bool same = value != NULL && len == op->call->len &&
	    memcmp(value, op->call->value, len) == 0;

	free(value);
	return same;
}

/* ---- lock and member key ---- */

static void on_lock(const struct creq_result *, void *);

static void
send_lock(struct consul_op *op)
{
	char query[4 * SESSION_SIZE], id[3 * SESSION_SIZE];

	if (dcs_ctl_mode(op->c->dcs)) {
		op_send(op, "PUT", "", value_of(op), true, on_lock);
		return;
	}
	if (!http_escape(id, sizeof(id), op->c->session, ""))
		id[0] = '\0';
	snprintf(query, sizeof(query), "acquire=%s", id);
	op_send(op, "PUT", query, value_of(op), op->call->op != DCS_OP_TOUCH,
	    on_lock);
}

/* An unknown session: once more with a new one. */
static void
lock_again(struct consul_op *op)
{
	session_forget(op->c);
	if (op->call->op == DCS_OP_TOUCH) {
		op_end(op, OUTCOME_REFUSED, "our session disappeared");
		return;
	}
	if (op->session_repeated || op->call->deadline <= clock_boot_ns()) {
		log_error(
		    "Our session disappeared from Consul. Deadline exceeded, giving up");
		op_end(op, OUTCOME_REFUSED, "our session disappeared");
		return;
	}
	op->session_repeated = true;
	log_error(
	    "Our session disappeared from Consul. Will try to get a new one and retry attempt");
	op_session(op, true);
}

static void
on_takeover(const struct creq_result *res, void *arg)
{
	struct consul_op *op = arg;

	op->req = NULL;
	if (res->status == CREQ_OK &&
	    json_array_size(json_object_get(res->root, "Errors")) == 0)
		op_written(op);
	else if (res->status == CREQ_NO_SESSION)
		lock_again(op);
	else {
		consul_watch_stale(op->c);
		op_end(op, bad_outcome(res),
		    res->error[0] != '\0' ? res->error :
					    "the key was changed meanwhile");
	}
}

/* The key is ours by name: delete and lock it in one step. */
static void
take_over(struct consul_op *op, const json_t *entry)
{
	char path[CONSUL_PATH], dc[CONSUL_PATH], key[6 * NAME_SIZE];
	char *value = base64_encode(op->call->value, op->call->len), *body;
	json_t *txn;

	log_info("Recreating the %s key due to session mismatch",
	    op->call->op == DCS_OP_TOUCH ? "member" : "leader");
	consul_dc_query(op->c, dc, sizeof(dc));
	snprintf(path, sizeof(path), "/v1/txn%.*s", CONSUL_PATH - 16, dc);
	snprintf(key, sizeof(key), "%s%s", op->c->key_prefix, op->path);
	txn = json_pack("[{s:{s:s,s:s,s:I}},{s:{s:s,s:s,s:s,s:s}}]", "KV",
	    "Verb", "delete-cas", "Key", key, "Index",
	    (json_int_t)etcd_int(entry, "ModifyIndex"), "KV", "Verb", "lock",
	    "Key", key, "Value", value == NULL ? "" : value, "Session",
	    op->c->session);
	body = txn == NULL || value == NULL ? NULL : json_compact(txn);
	json_decref(txn);
	free(value);
	op->req = body == NULL ? NULL :
				 creq_start(op->c, "PUT", path, body, 0,
				     op->call->deadline, on_takeover, op);
	if (op->req == NULL)
		op_end(op, OUTCOME_FAILED, "out of memory");
}

/* The agent did not give us the key: who has it? */
static void
on_owner(const struct creq_result *res, void *arg)
{
	struct consul_op *op = arg;
	const json_t *entry = entry_of(res);
	const char *session = json_text(entry, "Session");

	op->req = NULL;
	if (res->status == CREQ_ABSENT && op->call->op != DCS_OP_ACQUIRE &&
	    !op->session_repeated) {
		op->session_repeated = true;
		send_lock(op);
		return;
	}
	if (res->status != CREQ_OK) {
		op_end(op, bad_outcome(res), res->error);
		return;
	}
	if (session != NULL && strcmp(session, op->c->session) == 0 &&
	    holds_ours(op, entry)) {
		op_written(op);
		return;
	}
	if (op->call->op == DCS_OP_TOUCH ||
	    (op->call->op == DCS_OP_UPDATE && holds_ours(op, entry))) {
		take_over(op, entry);
		return;
	}
	consul_watch_stale(op->c);
	op_end(op, OUTCOME_REFUSED, "the lock is not ours");
}

static void
on_lock(const struct creq_result *res, void *arg)
{
	struct consul_op *op = arg;

	op->req = NULL;
	if (res->status == CREQ_NO_SESSION) {
		lock_again(op);
		return;
	}
	if (res->status != CREQ_OK) {
		op_end(op, bad_outcome(res), res->error);
		return;
	}
	/* The key lives as long as its session: count from that. */
	if (!dcs_ctl_mode(op->c->dcs))
		op->call->sent_ns = op->c->session_sent;
	if (json_is_true(res->root)) {
		op_written(op);
		return;
	}
	if (op->call->op == DCS_OP_UPDATE || op->call->op == DCS_OP_TOUCH) {
		op_send(op, "GET", "consistent=1", NULL, true, on_owner);
		return;
	}
	log_info("Could not take out TTL lock");
	consul_watch_stale(op->c);
	op_end(op, OUTCOME_REFUSED, "Could not take out TTL lock");
}

/* The session is there: is a write needed at all? */
static void
with_session(struct consul_op *op)
{
	const struct cache_entry *e = cache_find(&op->c->cache, op->path);
	const struct consul *c = op->c;

	op->call->sent_ns = c->session_sent;
	if (op->call->op != DCS_OP_ACQUIRE && op->call->op != DCS_OP_TAKE &&
	    c->ready && e != NULL && strcmp(e->session, c->session) == 0 &&
	    e->len == op->call->len &&
	    memcmp(e->value, op->call->value, e->len) == 0) {
		op->call->new_token = e->token;
		op_end(op, OUTCOME_OK, "");
		return;
	}
	if (op->call->op != DCS_OP_TOUCH &&
	    op->call->deadline - clock_boot_ns() < NS_PER_SEC) {
		op_end(op, OUTCOME_FAILED,
		    "no time is left after the session request");
		return;
	}
	if (op->call->op == DCS_OP_UPDATE) {
		/* never take what another one has */
		op_send(op, "GET", "consistent=1", NULL, true, on_owner);
		return;
	}
	send_lock(op);
}

static void
on_session(const struct creq_result *res, void *arg)
{
	struct consul_op *op = arg;

	op->waiter = NULL;
	if (res->status != CREQ_OK) {
		/* the key itself was not touched */
		op_end(op,
		    res->status == CREQ_FAILED ? OUTCOME_FAILED :
						 OUTCOME_REFUSED,
		    res->error);
		return;
	}
	with_session(op);
}

static void
op_session(struct consul_op *op, bool force)
{
	struct consul_waiter *w;

	/* What patronictl scaffold writes is to stay. */
	if (dcs_ctl_mode(op->c->dcs)) {
		send_lock(op);
		return;
	}
	/* on_session() may run inside and free the operation: then w is NULL */
	w = session_get(op->c, force, op->call->deadline, on_session, op);
	if (w != NULL)
		op->waiter = w;
}

/* ---- release ---- */

static void
on_released(const struct creq_result *res, void *arg)
{
	struct consul_op *op = arg;

	op->req = NULL;
	op->call->sent_ns = res->sent_ns;
	if (res->status == CREQ_OK && json_is_true(res->root))
		op_written(op);
	else
		op_end(op, bad_outcome(res),
		    res->error[0] != '\0' ? res->error :
					    "the key was changed meanwhile");
}

static void
on_release_index(const struct creq_result *res, void *arg)
{
	struct consul_op *op = arg;
	const char *name = dcs_name(op->c->dcs);
	char query[64], *value;
	size_t len;
	bool ours;

	op->req = NULL;
	if (res->status != CREQ_OK) {
		op_end(op, bad_outcome(res), res->error);
		return;
	}
	value = consul_value(entry_of(res), &len);
	ours = value != NULL && strcmp(value, name) == 0;
	free(value);
	if (!ours) {
		op_end(op, OUTCOME_REFUSED, "the lock is not ours");
		return;
	}
	snprintf(query, sizeof(query), "cas=%" PRId64,
	    etcd_int(entry_of(res), "ModifyIndex"));
	op_send(op, "DELETE", query, NULL, op->call->retry, on_released);
}

/* ---- plain writes and deletes ---- */

/* A sync state was written, or a write met what may be its own effect. */
static void
on_verify(const struct creq_result *res, void *arg)
{
	struct consul_op *op = arg;
	int64_t index;

	op->req = NULL;
	if (res->status != CREQ_OK) {
		op_end(op,
		    res->status == CREQ_FAILED ? OUTCOME_UNKNOWN :
						 OUTCOME_REFUSED,
		    res->error);
		return;
	}
	index = etcd_int(entry_of(res), "ModifyIndex");
	if (!holds_ours(op, entry_of(res)) ||
	    (op->call->cond == DCS_COND_TOKEN && index <= op->call->token)) {
		consul_watch_stale(op->c);
		op_end(op, OUTCOME_REFUSED, "the key was changed meanwhile");
		return;
	}
	op->call->new_token = index;
	op_written(op);
}

static void
on_write(const struct creq_result *res, void *arg)
{
	struct consul_op *op = arg;
	const struct dcs_call *call = op->call;
	bool done = res->status == CREQ_OK && json_is_true(res->root);

	op->req = NULL;
	op->call->sent_ns = res->sent_ns;
	if (res->status != CREQ_OK) {
		op_end(op, bad_outcome(res), res->error);
		return;
	}
	/* the answer has no token: read it; so too when an earlier try may
	 * have been applied */
	if ((done && call->key == DCS_KEY_SYNC) ||
	    (!done && res->maybe_sent && call->cond == DCS_COND_TOKEN)) {
		op_send(op, "GET", "consistent=1", NULL, true, on_verify);
		return;
	}
	if (done) {
		op_written(op);
		return;
	}
	consul_watch_stale(op->c);
	op_end(op, OUTCOME_REFUSED, "the key was changed meanwhile");
}

static void
condition(const struct consul_op *op, char *buf, size_t size)
{
	buf[0] = '\0';
	if (op->call->cond == DCS_COND_CREATE)
		snprintf(buf, size, "cas=0");
	else if (op->call->cond == DCS_COND_TOKEN)
		snprintf(buf, size, "cas=%" PRId64, op->call->token);
}

static void
send_write(struct consul_op *op)
{
	char query[64];

	condition(op, query, sizeof(query));
	op_send(op, "PUT", query, value_of(op), op->call->retry, on_write);
}

static void
on_delete(const struct creq_result *res, void *arg)
{
	struct consul_op *op = arg;

	op->req = NULL;
	op->call->sent_ns = res->sent_ns;
	if (res->status == CREQ_OK && json_is_true(res->root)) {
		op_written(op);
		return;
	}
	if (res->status == CREQ_OK)
		consul_watch_stale(op->c);
	op_end(op, bad_outcome(res),
	    res->error[0] != '\0' ? res->error :
				    "the key was changed meanwhile");
}

static void
send_delete(struct consul_op *op)
{
	char query[64];

	if (op->call->op == DCS_OP_REMOVE_ALL) {
		op->path[0] = '\0';
		snprintf(query, sizeof(query), "recurse=1");
	} else
		condition(op, query, sizeof(query));
	op_send(op, "DELETE", query, NULL, op->call->retry, on_delete);
}

/* ---- load without a cache ---- */

static void
on_load(const struct creq_result *res, void *arg)
{
	struct consul_op *op = arg;
	struct dcs_call *call = op->call;
	struct consul *c = op->c;

	op->req = NULL;
	if (res->status != CREQ_OK && res->status != CREQ_ABSENT) {
		op_end(op, OUTCOME_FAILED, res->error);
		return;
	}
	call->sent_ns = res->sent_ns;
	LIST_REMOVE(op, entry);
	free(op);
	consul_answer_tree(c, call, res->root);
}

/* ---- the driver ---- */

static void
submit(void *arg, struct dcs_call *call)
{
	struct consul *c = arg;
	struct consul_op *op;

	if (call->op == DCS_OP_LOAD && !dcs_ctl_mode(c->dcs)) {
		consul_watch_load(c, call);
		return;
	}
	if ((op = calloc(1, sizeof(*op))) == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, "out of memory");
		return;
	}
	op->c = c;
	op->call = call;
	LIST_INSERT_HEAD(&c->ops, op, entry);
	snprintf(op->path, sizeof(op->path), "%s%s", dcs_key_path(call->key),
	    call->key == DCS_KEY_MEMBER ? dcs_name(c->dcs) : "");
	switch (call->op) {
	case DCS_OP_LOAD:
		op->path[0] = '\0';
		op_send(
		    op, "GET", "recurse=1&consistent=1", NULL, true, on_load);
		break;
	case DCS_OP_ACQUIRE:
	case DCS_OP_TAKE:
	case DCS_OP_TOUCH:
		op_session(op, false);
		break;
	case DCS_OP_UPDATE:
		op_session(op, true);
		break;
	case DCS_OP_RELEASE:
		op_send(op, "GET", "consistent=1", NULL, op->call->retry,
		    on_release_index);
		break;
	case DCS_OP_WRITE:
		send_write(op);
		break;
	case DCS_OP_DELETE:
	case DCS_OP_REMOVE_ALL:
		send_delete(op);
		break;
	}
}

static void
settings(void *arg)
{
	struct consul *c = arg;
	int ttl = (int)(dcs_ttl_ns(c->dcs) / NS_PER_SEC);
	int idle =
	    (int)((dcs_loop_ns(c->dcs) + dcs_retry_ns(c->dcs)) / NS_PER_SEC);
	int interval = (ttl - idle) / 3;

	http_keepalive(c->http, ttl, idle, interval < 1 ? 1 : interval);
	if (c->session[0] != '\0' && c->session_ttl != dcs_ttl_ns(c->dcs) / 2 &&
	    dcs_ttl_ns(c->dcs) / 2 >= c->least_ttl)
		session_forget(c);
}

static void
consul_close(void *arg)
{
	struct consul *c = arg;
	struct consul_op *op;

	if (c == NULL)
		return;
	while ((op = LIST_FIRST(&c->ops)) != NULL) {
		LIST_REMOVE(op, entry);
		session_forget_waiter(c, op->waiter);
		creq_cancel(op->req);
		free(op);
	}
	session_close(c);
	consul_watch_close(c);
	consul_service_close(c);
	c->service_req = NULL;
	while (!LIST_EMPTY(&c->reqs))
		creq_cancel(LIST_FIRST(&c->reqs));
	http_free(c->http);
	consul_conf_clear(&c->conf);
	free(c);
}

static void *
consul_open(
    struct dcs *dcs, const struct tree *section, char *err, size_t errlen)
{
	struct consul *c = calloc(1, sizeof(*c));
	char escaped[6 * NAME_SIZE];

	if (c == NULL) {
		snprintf(err, errlen, "out of memory");
		return NULL;
	}
	if (!consul_conf_read(&c->conf, section, err, errlen)) {
		free(c);
		return NULL;
	}
	c->dcs = dcs;
	c->base = dcs_event_base(dcs);
	c->seed = (uint32_t)clock_wall_us();
	LIST_INIT(&c->reqs);
	LIST_INIT(&c->ops);
	TAILQ_INIT(&c->waiters);
	/* without the slash in front */
	snprintf(c->key_prefix, sizeof(c->key_prefix), "%s/",
	    dcs_base_path(dcs) + 1);
	if (!http_escape(escaped, sizeof(escaped), c->key_prefix, "/") ||
	    (c->http = http_new(c->base)) == NULL) {
		snprintf(err, errlen, "scope or namespace: too long");
		consul_conf_clear(&c->conf);
		free(c);
		return NULL;
	}
	snprintf(c->prefix, sizeof(c->prefix), "/v1/kv/%s", escaped);
	settings(c);
	if (!consul_watch_start(c)) {
		snprintf(err, errlen, "out of memory");
		consul_close(c);
		return NULL;
	}
	return c;
}

static bool
reload(void *arg, const struct tree *section, char *err, size_t errlen)
{
	struct consul *c = arg;

	if (!consul_conf_read(&c->conf, section, err, errlen))
		return false;
	/* with the new token, too, the service has to be known */
	free(c->service);
	c->service = NULL;
	return true;
}

static void
info(const void *arg, char *buf, size_t size)
{
	const struct consul *c = arg;

	snprintf(buf, size, "consul %.200s%s%s%.200s", c->conf.url,
	    dcs_ctl_mode(c->dcs) ? "" :
		c->ready	 ? ", watching" :
				   ", reading the keys",
	    c->last_error[0] == '\0' ? "" : ", ", c->last_error);
}

const struct dcs_driver dcs_consul = {
	.section = "consul",
	.caps = DCS_CAP_LEASE | DCS_CAP_WATCH | DCS_CAP_DELETE,
	.open = consul_open,
	.close = consul_close,
	.reload = reload,
	.settings = settings,
	.info = info,
	.submit = submit,
};
