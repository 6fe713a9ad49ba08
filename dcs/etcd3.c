/*
 * etcd3.c: the operations of spec/dcs.md 7.2 on the etcd v3 JSON gateway.
 *
 * Lock operations can be repeated after a lost answer: the transaction that
 * failed to create the leader key also reads it, and a key with our name and
 * our lease means that an earlier try had won.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "etcd3_int.h"

struct etcd_op {
	LIST_ENTRY(etcd_op) entry;
	struct etcd3 *e;
	struct dcs_call *call;
	struct rpc *rpc;
	struct etcd_lease_waiter *waiter;
	char path[2 * NAME_SIZE];  /* below the base path */
	char lease[LEASE_ID_SIZE]; /* that the request names */
	bool lease_repeated;
};

static void op_lease(struct etcd_op *, bool force);

static void
op_end(struct etcd_op *op, enum outcome outcome, const char *error)
{
	struct dcs_call *call = op->call;

	LIST_REMOVE(op, entry);
	rpc_cancel(op->rpc);
	free(op);
	dcs_call_done(call, outcome, error);
}

/* Outcome of a request that did not get a good answer. */
static enum outcome
bad_outcome(const struct rpc_result *res)
{
	if (res->status == RPC_ERROR)
		return OUTCOME_REFUSED;
	return res->maybe_sent ? OUTCOME_UNKNOWN : OUTCOME_FAILED;
}

static void
op_send(struct etcd_op *op, const char *path, char *body, rpc_done_cb done)
{
	op->rpc = rpc_start(op->e, path, body, op->call->retry ? RPC_RETRY : 0,
	    op->call->deadline, done, op);
	if (op->rpc == NULL)
		op_end(op, OUTCOME_FAILED, "out of memory");
}

/* printf into a new text; NULL: no memory. */
static char *text_of(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
static char *
text_of(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return s;
}

static char *
key64(const struct etcd_op *op)
{
	char *path = text_of("%s%s", op->e->base_path, op->path), *k;

	if (path == NULL)
		return NULL;
	k = base64_encode(path, strlen(path));
	free(path);
	return k;
}

static json_t *
txn_response(const json_t *root, const char *kind)
{
	return json_object_get(
	    json_array_get(json_object_get(root, "responses"), 0), kind);
}

static bool
succeeded(const json_t *root)
{
	return json_is_true(json_object_get(root, "succeeded"));
}

/* Does the range in a txn's reply show this value (and lease)? */
static bool
range_shows(const json_t *range, const char *value, size_t len,
    const char *lease, int64_t *revision)
{
	struct etcd_kv kv;
	bool same;

	if (!etcd_kv_parse(
		json_array_get(json_object_get(range, "kvs"), 0), &kv))
		return false;
	same = kv.len == len && memcmp(kv.value, value, len) == 0 &&
	    (lease == NULL || strcmp(kv.lease, lease) == 0);
	*revision = kv.mod_revision;
	etcd_kv_clear(&kv);
	return same;
}

static void
put_done(struct etcd_op *op, int64_t revision)
{
	op->call->new_token = revision;
	cache_own_put(op->e, op->path, op->call->value, op->call->len,
	    op->lease, revision);
	op_end(op, OUTCOME_OK, "");
}

/* ---- lock ---- */

static bool
lease_lost(const struct rpc_result *res)
{
	return res->status == RPC_ERROR && res->code == GRPC_NOT_FOUND &&
	    strstr(res->message, "lease not found") != NULL;
}

/* A lock operation met an unknown lease: once more with a new one. */
static void
lock_again(struct etcd_op *op)
{
	lease_forget(op->e);
	if (op->lease_repeated || op->call->deadline <= clock_boot_ns()) {
		log_error(
		    "Our lease disappeared from Etcd. Deadline exceeded, giving up");
		op_end(op, OUTCOME_REFUSED, "our lease disappeared");
		return;
	}
	op->lease_repeated = true;
	log_error(
	    "Our lease disappeared from Etcd. Will try to get a new one and retry attempt");
	op_lease(op, true);
}

static void
on_lock(const struct rpc_result *res, void *arg)
{
	struct etcd_op *op = arg;
	const json_t *r;
	int64_t revision = 0;

	op->rpc = NULL;
	if (lease_lost(res)) {
		lock_again(op);
		return;
	}
	if (res->status != RPC_OK) {
		op_end(op, bad_outcome(res), res->message);
		return;
	}
	/* The lock lives as long as its lease: count from that. */
	op->call->sent_ns = op->e->lease_sent;
	revision = etcd_revision(res->root);
	if (op->call->op == DCS_OP_TAKE || succeeded(res->root)) {
		put_done(op, revision);
		return;
	}
	if (op->call->op == DCS_OP_UPDATE) {
		r = txn_response(res->root, "response_txn");
		if (succeeded(r)) {
			put_done(op, revision);
			return;
		}
		r = txn_response(r, "response_range");
	} else
		r = txn_response(res->root, "response_range");
	if (range_shows(
		r, op->call->value, op->call->len, op->lease, &revision)) {
		put_done(op, revision); /* an earlier try had won */
		return;
	}
	if (op->call->op == DCS_OP_ACQUIRE) {
		log_info("Could not take out TTL lock");
		watch_restart(op->e);
	}
	op_end(op, OUTCOME_REFUSED,
	    op->call->op == DCS_OP_ACQUIRE ? "Could not take out TTL lock" :
					     "the lock is not ours");
}

static char *
lock_body(const struct etcd_op *op)
{
	char *k = key64(op), *put = NULL, *body = NULL, *v;

	v = base64_encode(op->call->value, op->call->len);
	if (k == NULL || v == NULL ||
	    (put = text_of("{\"key\":\"%s\",\"value\":\"%s\",\"lease\":\"%s\"}",
		 k, v, op->lease[0] != '\0' ? op->lease : "0")) == NULL)
		goto out;
	if (op->call->op == DCS_OP_TAKE) {
		body = strdup(put);
		goto out;
	}
	body = text_of(
	    "{\"compare\":[{\"key\":\"%s\",\"target\":\"CREATE\","
	    "\"create_revision\":\"0\"}],\"success\":[{\"request_put\":%s}],"
	    "\"failure\":[{\"request_range\":{\"key\":\"%s\"}}]}",
	    k, put, k);
	if (op->call->op == DCS_OP_UPDATE && body != NULL) {
		char *create = body;

		body = text_of(
		    "{\"compare\":[{\"key\":\"%s\",\"target\":"
		    "\"VALUE\",\"value\":\"%s\"}],\"success\":["
		    "{\"request_put\":%s}],\"failure\":[{\"request_txn\":%s}]}",
		    k, v, put, create);
		free(create);
	}
out:
	free(k);
	free(v);
	free(put);
	return body;
}

/* The lease is there: is a write needed at all? */
static void
lock_with_lease(struct etcd_op *op)
{
	const struct cache_entry *c = cache_find(&op->e->cache, op->path);
	struct etcd3 *e = op->e;

	text_set(op->lease, sizeof(op->lease), e->lease);
	op->call->sent_ns = e->lease_sent;
	if (op->call->op == DCS_OP_UPDATE && e->ready && c != NULL &&
	    strcmp(c->value, dcs_name(e->c.dcs)) == 0) {
		if (strcmp(c->session, op->lease) == 0) {
			op->call->new_token = c->token;
			op_end(op, OUTCOME_OK, "");
			return;
		}
		log_warn("I am the leader but not owner of the lease");
	}
	if (op->call->deadline - clock_boot_ns() < NS_PER_SEC) {
		op_end(op, OUTCOME_FAILED,
		    "no time is left after the lease request");
		return;
	}
	op_send(op, op->call->op == DCS_OP_TAKE ? "/kv/put" : "/kv/txn",
	    lock_body(op), on_lock);
}

/* ---- own member key ---- */

static void
on_touch(const struct rpc_result *res, void *arg)
{
	struct etcd_op *op = arg;

	op->rpc = NULL;
	if (lease_lost(res)) {
		lease_forget(op->e);
		op_end(op, OUTCOME_REFUSED, res->message);
		return;
	}
	if (res->status != RPC_OK) {
		op_end(op, bad_outcome(res), res->message);
		return;
	}
	op->call->sent_ns = res->sent_ns;
	put_done(op, etcd_revision(res->root));
}

static char *
put_body(const struct etcd_op *op)
{
	char *k = key64(op), *v, *body = NULL;

	v = base64_encode(op->call->value, op->call->len);
	if (k != NULL && v != NULL)
		body = op->lease[0] == '\0' ?
		    text_of("{\"key\":\"%s\",\"value\":\"%s\"}", k, v) :
		    text_of(
			"{\"key\":\"%s\",\"value\":\"%s\",\"lease\":\"%s\"}", k,
			v, op->lease);
	free(k);
	free(v);
	return body;
}

static void
touch_with_lease(struct etcd_op *op)
{
	const struct cache_entry *c = cache_find(&op->e->cache, op->path);

	text_set(op->lease, sizeof(op->lease), op->e->lease);
	if (op->e->ready && c != NULL && strcmp(c->session, op->lease) == 0 &&
	    c->len == op->call->len &&
	    memcmp(c->value, op->call->value, c->len) == 0) {
		op->call->new_token = c->token;
		op->call->sent_ns = op->e->lease_sent;
		op_end(op, OUTCOME_OK, "");
		return;
	}
	op_send(op, "/kv/put", put_body(op), on_touch);
}

static void
on_lease(const struct rpc_result *res, void *arg)
{
	struct etcd_op *op = arg;

	op->waiter = NULL;
	if (res->status != RPC_OK) {
		/* the key itself was not touched */
		op_end(op,
		    res->status == RPC_ERROR ? OUTCOME_REFUSED : OUTCOME_FAILED,
		    res->message);
		return;
	}
	if (op->call->op == DCS_OP_TOUCH)
		touch_with_lease(op);
	else
		lock_with_lease(op);
}

static void
op_lease(struct etcd_op *op, bool force)
{
	struct etcd_lease_waiter *w;

	/* What patronictl scaffold writes is to stay. */
	if (dcs_ctl_mode(op->e->c.dcs)) {
		if (op->call->op == DCS_OP_TOUCH)
			touch_with_lease(op);
		else
			lock_with_lease(op);
		return;
	}
	/* on_lease() may run inside and free the operation: then w is NULL */
	w = lease_get(op->e, force, op->call->deadline, on_lease, op);
	if (w != NULL)
		op->waiter = w;
}

/* ---- plain writes and deletes ---- */

static void
on_write(const struct rpc_result *res, void *arg)
{
	struct etcd_op *op = arg;
	const struct dcs_call *call = op->call;
	int64_t revision = 0;

	op->rpc = NULL;
	if (res->status != RPC_OK) {
		op_end(op, bad_outcome(res), res->message);
		return;
	}
	op->call->sent_ns = res->sent_ns;
	if (call->cond == DCS_COND_NONE || succeeded(res->root)) {
		put_done(op, etcd_revision(res->root));
		return;
	}
	/* An earlier try may have been applied without an answer; only then
	 * is an equal value that is newer than our token our own. */
	if (res->maybe_sent && call->cond == DCS_COND_TOKEN &&
	    range_shows(txn_response(res->root, "response_range"), call->value,
		call->len, NULL, &revision) &&
	    revision > call->token) {
		put_done(op, revision);
		return;
	}
	watch_restart(op->e);
	op_end(op, OUTCOME_REFUSED, "the key was changed meanwhile");
}

static char *
compare_text(const struct etcd_op *op, const char *k)
{
	if (op->call->cond == DCS_COND_CREATE)
		return text_of("{\"key\":\"%s\",\"target\":\"CREATE\","
			       "\"create_revision\":\"0\"}",
		    k);
	return text_of("{\"key\":\"%s\",\"target\":\"MOD\","
		       "\"mod_revision\":\"%" PRId64 "\"}",
	    k, op->call->token);
}

static void
op_write(struct etcd_op *op)
{
	char *put = put_body(op), *k = key64(op), *cmp, *body = NULL;

	if (op->call->cond == DCS_COND_NONE) {
		free(k);
		op_send(op, "/kv/put", put, on_write);
		return;
	}
	cmp = k == NULL ? NULL : compare_text(op, k);
	if (put != NULL && cmp != NULL)
		body = text_of(
		    "{\"compare\":[%s],\"success\":["
		    "{\"request_put\":%s}],\"failure\":[{\"request_range\":"
		    "{\"key\":\"%s\"}}]}",
		    cmp, put, k);
	free(put);
	free(k);
	free(cmp);
	op_send(op, "/kv/txn", body, on_write);
}

static void
on_delete(const struct rpc_result *res, void *arg)
{
	struct etcd_op *op = arg;

	op->rpc = NULL;
	if (res->status != RPC_OK) {
		op_end(op, bad_outcome(res), res->message);
		return;
	}
	op->call->sent_ns = res->sent_ns;
	if ((op->call->op == DCS_OP_RELEASE ||
		op->call->cond == DCS_COND_TOKEN) &&
	    !succeeded(res->root)) {
		watch_restart(op->e);
		op_end(op, OUTCOME_REFUSED, "the key was changed meanwhile");
		return;
	}
	cache_own_delete(op->e, op->path, etcd_revision(res->root));
	op_end(op, OUTCOME_OK, "");
}

static void
op_delete(struct etcd_op *op)
{
	char *k = key64(op), *cmp = NULL, *body = NULL, *v = NULL;

	if (op->call->op == DCS_OP_RELEASE) {
		v = base64_encode(
		    dcs_name(op->e->c.dcs), strlen(dcs_name(op->e->c.dcs)));
		if (k != NULL && v != NULL)
			cmp = text_of("{\"key\":\"%s\",\"target\":\"VALUE\","
				      "\"value\":\"%s\"}",
			    k, v);
		free(v);
	} else if (op->call->cond == DCS_COND_TOKEN && k != NULL)
		cmp = compare_text(op, k);
	else if (k != NULL) {
		body = text_of("{\"key\":\"%s\"}", k);
		free(k);
		op_send(op, "/kv/deleterange", body, on_delete);
		return;
	}
	if (cmp != NULL)
		body = text_of("{\"compare\":[%s],\"success\":["
			       "{\"request_delete_range\":{\"key\":\"%s\"}}]}",
		    cmp, k);
	free(cmp);
	free(k);
	op_send(op, "/kv/txn", body, on_delete);
}

static void
op_remove_all(struct etcd_op *op)
{
	struct etcd3 *e = op->e;
	size_t n = strlen(e->base_path);
	char *k, *end, *body = NULL;

	k = base64_encode(e->base_path, n);
	e->base_path[n - 1]++;
	end = base64_encode(e->base_path, n);
	e->base_path[n - 1]--;
	if (k != NULL && end != NULL)
		body = text_of("{\"key\":\"%s\",\"range_end\":\"%s\"}", k, end);
	free(k);
	free(end);
	op_send(op, "/kv/deleterange", body, on_delete);
}

/* ---- load without a cache ---- */

static void
on_load(const struct rpc_result *res, void *arg)
{
	struct etcd_op *op = arg;
	struct dcs_call *call = op->call;
	struct etcd3 *e = op->e;

	op->rpc = NULL;
	if (res->status != RPC_OK) {
		op_end(op, OUTCOME_FAILED, res->message);
		return;
	}
	call->sent_ns = res->sent_ns;
	LIST_REMOVE(op, entry);
	free(op);
	watch_answer_range(e, call, res->root);
}

/* ---- the driver ---- */

static void
submit(void *arg, struct dcs_call *call)
{
	struct etcd3 *e = arg;
	struct etcd_op *op;

	if (call->op == DCS_OP_LOAD && !dcs_ctl_mode(e->c.dcs) &&
	    !e->no_watch) {
		watch_load(e, call);
		return;
	}
	if ((op = calloc(1, sizeof(*op))) == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, "out of memory");
		return;
	}
	op->e = e;
	op->call = call;
	LIST_INSERT_HEAD(&e->ops, op, entry);
	snprintf(op->path, sizeof(op->path), "%s%s", dcs_key_path(call->key),
	    call->key == DCS_KEY_MEMBER ? dcs_name(e->c.dcs) : "");
	switch (call->op) {
	case DCS_OP_LOAD:
		op_send(op, "/kv/range", etcd_range_body(e), on_load);
		break;
	case DCS_OP_ACQUIRE:
	case DCS_OP_TAKE:
	case DCS_OP_TOUCH:
		op_lease(op, false);
		break;
	case DCS_OP_UPDATE:
		op_lease(op, true);
		break;
	case DCS_OP_WRITE:
		op_write(op);
		break;
	case DCS_OP_DELETE:
	case DCS_OP_RELEASE:
		op_delete(op);
		break;
	case DCS_OP_REMOVE_ALL:
		op_remove_all(op);
		break;
	}
}

static void
settings(void *arg)
{
	struct etcd3 *e = arg;

	etcd_client_settings(&e->c);
	if (e->lease[0] != '\0' && e->lease_ttl != dcs_ttl_ns(e->c.dcs))
		lease_forget(e);
}

static void
etcd3_close(void *arg)
{
	struct etcd3 *e = arg;
	struct etcd_op *op;

	if (e == NULL)
		return;
	while ((op = LIST_FIRST(&e->ops)) != NULL) {
		LIST_REMOVE(op, entry);
		lease_forget_waiter(e, op->waiter);
		rpc_cancel(op->rpc);
		free(op);
	}
	lease_close(e);
	watch_close(e);
	etcd_client_close(&e->c);
	rpc_drop_token(e);
	free(e);
}

static void *
etcd3_open(
    struct dcs *dcs, const struct tree *section, char *err, size_t errlen)
{
	struct etcd3 *e;

	if ((e = calloc(1, sizeof(*e))) == NULL) {
		snprintf(err, errlen, "out of memory");
		return NULL;
	}
	if (!etcd_client_open(&e->c, dcs, &etcd3_kind, section, err, errlen)) {
		free(e);
		return NULL;
	}
	LIST_INIT(&e->ops);
	TAILQ_INIT(&e->lease_waiters);
	snprintf(e->base_path, sizeof(e->base_path), "%s/", dcs_base_path(dcs));
	watch_start(e);
	return e;
}

static bool
reload(void *arg, const struct tree *section, char *err, size_t errlen)
{
	struct etcd3 *e = arg;

	if (!etcd_client_reload(&e->c, section, err, errlen))
		return false;
	/* log in with the new credentials at the next request */
	rpc_drop_token(e);
	e->no_auth = false;
	return true;
}

static void
info(const void *arg, char *buf, size_t size)
{
	const struct etcd3 *e = arg;

	snprintf(buf, size, "etcd3 %.200s%s%s%.200s", etcd_endpoint(&e->c),
	    dcs_ctl_mode(e->c.dcs) ? "" :
		e->ready	   ? ", watching" :
				     ", reading the keys",
	    e->c.last_error[0] == '\0' ? "" : ", ", e->c.last_error);
}

const struct dcs_driver dcs_etcd3 = {
	.section = "etcd3",
	.caps = DCS_CAP_LEASE | DCS_CAP_WATCH | DCS_CAP_TAKE | DCS_CAP_DELETE,
	.open = etcd3_open,
	.close = etcd3_close,
	.reload = reload,
	.settings = settings,
	.info = info,
	.submit = submit,
};
