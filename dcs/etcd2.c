/*
 * etcd2.c: the operations of spec/dcs.md 6 on the keys API of etcd v2.
 *
 * Keys with a TTL, and writes under conditions on existence, value or index.
 * There is no lease: the lock is ours when it carries our name.  A write that
 * is repeated after a lost answer may meet its own effect: then the key is
 * read, and counts as ours if it holds what we wrote.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "etcd2_int.h"
#include "json.h"

struct etcd2_op {
	LIST_ENTRY(etcd2_op) entry;
	struct etcd2 *e;
	struct dcs_call *call;
	struct rpc *rpc;
	char path[2 * NAME_SIZE]; /* below the base path */
	int64_t first_ns;	  /* of the write that is being verified */
};

static struct etcd2 *
driver(struct etcd_client *c)
{
	return (struct etcd2 *)((char *)c - offsetof(struct etcd2, c));
}

/* ---- one exchange ---- */

static const char *const headers_wanted[] = { "X-Etcd-Index", "X-Raft-Term",
	"X-Etcd-Cluster-Id", NULL };

static int64_t
number(const char *s)
{
	int64_t v;

	return text_to_int64(s, 0, INT64_MAX, &v) ? v : 0;
}

/* /v2/machines answers with text: URLs and commas. */
static json_t *
parse(const struct rpc *r, const struct http_answer *a)
{
	if (a->status == 200 && strcmp(r->path, "/v2/machines") == 0)
		return json_stringn(a->body, a->len);
	return etcd_parse(a->body, a->len);
}

static void
on_error(struct rpc *r, const json_t *root, long status)
{
	int code = (int)etcd_int(root, "errorCode");
	const char *message = json_text(root, "message");
	const char *cause = json_text(root, "cause");
	char text[TEXT_SIZE];

	if (status == 401)
		code = ETCD2_UNAUTHORIZED;
	if (code == 0) {
		/* whatever stands before etcd, or etcd without the v2 API */
		snprintf(text, sizeof(text),
		    "HTTP status %ld, not an answer of etcd's v2 API", status);
		r->maybe_sent = true;
		rpc_visit_failed(r, false, text);
		return;
	}
	snprintf(text, sizeof(text), "%.200s%s%.200s",
	    message == NULL ? "error" : message,
	    cause == NULL || cause[0] == '\0' ? "" : ": ",
	    cause == NULL ? "" : cause);
	if (code == ETCD2_RAFT || code == ETCD2_ELECTION) {
		r->maybe_sent = true;
		rpc_again(r, text);
	} else
		rpc_end(r, RPC_ERROR, NULL, code, text);
}

static void
on_answer(const struct http_answer *a, void *arg)
{
	struct rpc *r = arg;
	json_t *root;

	r->http = NULL;
	if (a->resent || a->error == HTTP_BROKEN)
		r->maybe_sent = true;
	if (a->error != HTTP_OK) {
		rpc_visit_failed(r, a->error == HTTP_CONNECT, a->text);
		return;
	}
	r->index = number(a->got[0]);
	if (!etcd_check_term(r->c, a->got[2], number(a->got[1]))) {
		r->maybe_sent = true;
		rpc_visit_failed(r, false, "its raft term is old");
		return;
	}
	root = parse(r, a);
	if (root == NULL || a->status < 200 || a->status > 299 ||
	    (!json_is_string(root) &&
		(!json_is_object(json_object_get(root, "node")) ||
		    json_object_get(root, "errorCode") != NULL)))
		on_error(r, root, a->status);
	else
		rpc_good(r, root);
	json_decref(root);
}

static void
exchange(struct rpc *r)
{
	static const char *const form[] = {
		"Content-Type: application/x-www-form-urlencoded", NULL
	};
	char url[URL_SIZE + 4 * PATH_MAX_V2];
	struct http_spec s = { .method = r->method,
		.url = url,
		.body = r->body,
		.body_len = r->body == NULL ? 0 : strlen(r->body),
		.headers = r->body == NULL ? NULL : form,
		.want = headers_wanted,
		.user = r->c->conf.user,
		.password = r->c->conf.password };

	snprintf(url, sizeof(url), "%s%s", r->url, r->path);
	rpc_send(r, &s, on_answer);
}

static uint32_t
list_urls(const char *text, char (*list)[URL_SIZE])
{
	uint32_t n = 0;
	size_t len;

	while (text != NULL && *text != '\0' && n < ETCD_MAX_ENDPOINTS) {
		text += strspn(text, ", \t\r\n");
		len = strcspn(text, ", \t\r\n");
		if (len > 0 && len < URL_SIZE &&
		    strncmp(text, "http", 4) == 0) {
			memcpy(list[n], text, len);
			list[n++][len] = '\0';
		}
		text += len;
	}
	return n;
}

static void
on_machines(const struct rpc_result *res, void *arg)
{
	char list[ETCD_MAX_ENDPOINTS][URL_SIZE];
	struct etcd_client *c = arg;
	uint32_t n = 0;

	if (res->status == RPC_OK)
		n = list_urls(json_string_value(res->root), list);
	etcd_members(c, list, n, res->message);
}

static struct rpc *
ask_members(struct etcd_client *c, int64_t deadline)
{
	return rpc_request(
	    c, "GET", "/v2/machines", NULL, 0, deadline, on_machines, c);
}

static void
stale(struct etcd_client *c)
{
	etcd2_watch_restart(driver(c));
}

static const struct etcd_kind kind = {
	.exchange = exchange,
	.stale = stale,
	.ask_members = ask_members,
};

/* ---- operations ---- */

static void
op_end(struct etcd2_op *op, enum outcome outcome, const char *error)
{
	struct dcs_call *call = op->call;

	LIST_REMOVE(op, entry);
	rpc_cancel(op->rpc);
	free(op);
	dcs_call_done(call, outcome, error);
}

static enum outcome
bad_outcome(const struct rpc_result *res)
{
	if (res->status == RPC_ERROR)
		return OUTCOME_REFUSED;
	return res->maybe_sent ? OUTCOME_UNKNOWN : OUTCOME_FAILED;
}

/* query: without the "?", may be "". */
static void
op_send(struct etcd2_op *op, const char *method, const char *query, char *body,
    bool retry, rpc_done_cb done)
{
	char path[4 * PATH_MAX_V2], key[PATH_MAX_V2];

	if (!http_escape(key, sizeof(key), op->path, "/")) {
		free(body);
		op_end(op, OUTCOME_FAILED, "the key is too long");
		return;
	}
	snprintf(path, sizeof(path), "%s/%s%s%.*s", op->e->keys, key,
	    query[0] == '\0' ? "" : "?", PATH_MAX_V2, query);
	op->rpc = rpc_request(&op->e->c, method, path, body,
	    retry ? RPC_RETRY : 0, op->call->deadline, done, op);
	if (op->rpc == NULL)
		op_end(op, OUTCOME_FAILED, "out of memory");
}

/* "value=...&ttl=...&condition"; NULL: no memory. */
static char *
form_body(const struct etcd2_op *op, bool ttl, const char *condition)
{
	size_t size = op->call->len * 3 + 1;
	char *escaped = malloc(size), *body = NULL, life[40] = "";

	if (escaped == NULL)
		return NULL;
	/* what patronictl scaffold writes is to stay */
	if (ttl && !dcs_ctl_mode(op->e->c.dcs))
		snprintf(life, sizeof(life), "&ttl=%lld",
		    (long long)(dcs_ttl_ns(op->e->c.dcs) / NS_PER_SEC));
	if (http_escape(escaped, size, op->call->value, "") &&
	    asprintf(&body, "value=%s%s%s%s", escaped, life,
		condition[0] == '\0' ? "" : "&", condition) < 0)
		body = NULL;
	free(escaped);
	return body;
}

static int64_t
modified(const json_t *root)
{
	return etcd_int(json_object_get(root, "node"), "modifiedIndex");
}

static void
put_done(struct etcd2_op *op, int64_t index)
{
	op->call->new_token = index;
	etcd2_own(op->e, op->path, op->call->value, op->call->len, index);
	op_end(op, OUTCOME_OK, "");
}

/* The write was refused; was it its own effect that refused it? */
static void
on_verify(const struct rpc_result *res, void *arg)
{
	struct etcd2_op *op = arg;
	const struct dcs_call *call = op->call;
	const char *value;

	op->rpc = NULL;
	if (res->status != RPC_OK &&
	    !(res->status == RPC_ERROR && res->code == ETCD2_NOT_FOUND)) {
		op_end(op, OUTCOME_UNKNOWN, res->message);
		return;
	}
	value = json_text(json_object_get(res->root, "node"), "value");
	if (value != NULL && strcmp(value, call->value) == 0 &&
	    (call->cond != DCS_COND_TOKEN ||
		modified(res->root) > call->token)) {
		/* from then on its life is counted */
		op->call->sent_ns = op->first_ns;
		put_done(op, modified(res->root));
		return;
	}
	etcd2_watch_restart(op->e);
	op_end(op, OUTCOME_REFUSED, "the key was changed meanwhile");
}

/* ---- lock ---- */

static void on_lock(const struct rpc_result *, void *);

static void
send_acquire(struct etcd2_op *op)
{
	op_send(op, "PUT", "", form_body(op, true, "prevExist=false"), true,
	    on_lock);
}

static void
on_lock(const struct rpc_result *res, void *arg)
{
	struct etcd2_op *op = arg;

	op->rpc = NULL;
	if (res->status == RPC_OK) {
		op->call->sent_ns = res->sent_ns;
		put_done(op, modified(res->root));
		return;
	}
	if (res->status == RPC_ERROR && res->code == ETCD2_EXISTS) {
		if (res->maybe_sent) {
			op->first_ns = res->first_ns;
			op_send(
			    op, "GET", "quorum=true", NULL, true, on_verify);
			return;
		}
		log_info("Could not take out TTL lock");
		etcd2_watch_restart(op->e);
	} else if (res->status == RPC_ERROR && op->call->op == DCS_OP_UPDATE &&
	    res->code == ETCD2_NOT_FOUND) {
		op->call->op = DCS_OP_ACQUIRE;
		send_acquire(op);
		return;
	}
	op_end(op, bad_outcome(res), res->message);
}

/* The name is ours, the lock was not lost: prolong what carries it. */
static void
send_update(struct etcd2_op *op)
{
	char name[3 * NAME_SIZE], condition[3 * NAME_SIZE + 16];

	if (!http_escape(name, sizeof(name), dcs_name(op->e->c.dcs), "")) {
		op_end(op, OUTCOME_FAILED, "the name is too long");
		return;
	}
	snprintf(condition, sizeof(condition), "prevValue=%s", name);
	op_send(op, "PUT", "", form_body(op, true, condition), true, on_lock);
}

static void
on_release(const struct rpc_result *res, void *arg)
{
	struct etcd2_op *op = arg;

	op->rpc = NULL;
	op->call->sent_ns = res->sent_ns;
	/* gone after a copy whose answer was lost: that copy did it */
	if (res->status == RPC_OK ||
	    (res->status == RPC_ERROR && res->maybe_sent &&
		res->code == ETCD2_NOT_FOUND)) {
		etcd2_own(op->e, op->path, NULL, 0,
		    res->status == RPC_OK ? modified(res->root) : res->index);
		op_end(op, OUTCOME_OK, "");
		return;
	}
	op_end(op, bad_outcome(res), res->message);
}

static void
send_release(struct etcd2_op *op)
{
	char name[3 * NAME_SIZE], query[3 * NAME_SIZE + 16];

	if (!http_escape(name, sizeof(name), dcs_name(op->e->c.dcs), "")) {
		op_end(op, OUTCOME_FAILED, "the name is too long");
		return;
	}
	snprintf(query, sizeof(query), "prevValue=%s", name);
	op_send(op, "DELETE", query, NULL, op->call->retry, on_release);
}

/* ---- plain writes and deletes ---- */

static void
on_write(const struct rpc_result *res, void *arg)
{
	struct etcd2_op *op = arg;

	op->rpc = NULL;
	op->call->sent_ns = res->sent_ns;
	if (res->status == RPC_OK) {
		put_done(op, modified(res->root));
		return;
	}
	if (res->status == RPC_ERROR && res->maybe_sent &&
	    (res->code == ETCD2_COMPARE || res->code == ETCD2_EXISTS) &&
	    op->call->cond == DCS_COND_TOKEN) {
		op->first_ns = res->first_ns;
		op_send(op, "GET", "quorum=true", NULL, true, on_verify);
		return;
	}
	if (res->status == RPC_ERROR)
		etcd2_watch_restart(op->e);
	op_end(op, bad_outcome(res), res->message);
}

static void
send_write(struct etcd2_op *op)
{
	char condition[64] = "";

	/* the token of a key that is not there is 0, which the server would
	 * take for no condition */
	if (op->call->cond == DCS_COND_CREATE ||
	    (op->call->cond == DCS_COND_TOKEN && op->call->token == 0))
		snprintf(condition, sizeof(condition), "prevExist=false");
	else if (op->call->cond == DCS_COND_TOKEN)
		snprintf(condition, sizeof(condition), "prevIndex=%" PRId64,
		    op->call->token);
	else if (op->call->key == DCS_KEY_INITIALIZE)
		snprintf(condition, sizeof(condition), "prevExist=true");
	op_send(op, "PUT", "",
	    form_body(op, op->call->op == DCS_OP_TOUCH, condition),
	    op->call->retry, on_write);
}

static void
on_delete(const struct rpc_result *res, void *arg)
{
	struct etcd2_op *op = arg;
	bool none;

	op->rpc = NULL;
	op->call->sent_ns = res->sent_ns;
	none = res->status == RPC_ERROR && res->code == ETCD2_NOT_FOUND &&
	    (op->call->cond != DCS_COND_TOKEN || res->maybe_sent);
	if (res->status != RPC_OK && !none) {
		if (res->status == RPC_ERROR)
			etcd2_watch_restart(op->e);
		op_end(op, bad_outcome(res), res->message);
		return;
	}
	if (op->call->op == DCS_OP_REMOVE_ALL)
		etcd2_watch_restart(op->e);
	else
		etcd2_own(op->e, op->path, NULL, 0,
		    res->status == RPC_OK ? modified(res->root) : res->index);
	op_end(op, OUTCOME_OK, "");
}

static void
send_delete(struct etcd2_op *op)
{
	char query[64] = "";

	if (op->call->op == DCS_OP_REMOVE_ALL) {
		op->path[0] = '\0';
		snprintf(query, sizeof(query), "recursive=true");
	} else if (op->call->cond == DCS_COND_TOKEN)
		snprintf(query, sizeof(query), "prevIndex=%" PRId64,
		    op->call->token);
	op_send(op, "DELETE", query, NULL, op->call->retry, on_delete);
}

/* ---- load without a cache ---- */

static void
on_load(const struct rpc_result *res, void *arg)
{
	struct etcd2_op *op = arg;
	struct dcs_call *call = op->call;
	struct etcd2 *e = op->e;

	op->rpc = NULL;
	if (res->status != RPC_OK &&
	    !(res->status == RPC_ERROR && res->code == ETCD2_NOT_FOUND)) {
		op_end(op, OUTCOME_FAILED, res->message);
		return;
	}
	call->sent_ns = res->sent_ns;
	LIST_REMOVE(op, entry);
	free(op);
	etcd2_answer_tree(e, call, res->root);
}

/* ---- the driver ---- */

static void
submit(void *arg, struct dcs_call *call)
{
	struct etcd2 *e = arg;
	struct etcd2_op *op;

	if (call->op == DCS_OP_LOAD && !dcs_ctl_mode(e->c.dcs)) {
		etcd2_load(e, call);
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
		op->path[0] = '\0';
		op_send(op, "GET", "recursive=true&quorum=true", NULL, true,
		    on_load);
		break;
	case DCS_OP_ACQUIRE:
		send_acquire(op);
		break;
	case DCS_OP_UPDATE:
		send_update(op);
		break;
	case DCS_OP_TAKE:
		op_send(op, "PUT", "", form_body(op, true, ""), true, on_lock);
		break;
	case DCS_OP_RELEASE:
		send_release(op);
		break;
	case DCS_OP_TOUCH:
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
	struct etcd2 *e = arg;

	/* a ttl goes with every write: the next one brings it */
	etcd_client_settings(&e->c);
}

static void
etcd2_close(void *arg)
{
	struct etcd2 *e = arg;
	struct etcd2_op *op;

	if (e == NULL)
		return;
	while ((op = LIST_FIRST(&e->ops)) != NULL) {
		LIST_REMOVE(op, entry);
		rpc_cancel(op->rpc);
		free(op);
	}
	etcd2_watch_close(e);
	etcd_client_close(&e->c);
	free(e);
}

static void *
etcd2_open(
    struct dcs *dcs, const struct tree *section, char *err, size_t errlen)
{
	struct etcd2 *e;
	int n;

	if ((e = calloc(1, sizeof(*e))) == NULL) {
		snprintf(err, errlen, "out of memory");
		return NULL;
	}
	if (!etcd_client_open(&e->c, dcs, &kind, section, err, errlen)) {
		free(e);
		return NULL;
	}
	LIST_INIT(&e->ops);
	n = snprintf(e->keys, sizeof(e->keys), "/v2/keys");
	snprintf(e->base, sizeof(e->base), "%s/", dcs_base_path(dcs));
	if (!http_escape(e->keys + n, sizeof(e->keys) - (size_t)n,
		dcs_base_path(dcs), "/") ||
	    !etcd2_watch_start(e)) {
		snprintf(err, errlen, "scope or namespace: too long");
		etcd2_close(e);
		return NULL;
	}
	return e;
}

static bool
reload(void *arg, const struct tree *section, char *err, size_t errlen)
{
	struct etcd2 *e = arg;

	return etcd_client_reload(&e->c, section, err, errlen);
}

static void
info(const void *arg, char *buf, size_t size)
{
	const struct etcd2 *e = arg;

	snprintf(buf, size, "etcd %.200s%s%s%.200s", etcd_endpoint(&e->c),
	    dcs_ctl_mode(e->c.dcs) ? "" :
		e->ready	   ? ", watching" :
				     ", reading the keys",
	    e->c.last_error[0] == '\0' ? "" : ", ", e->c.last_error);
}

const struct dcs_driver dcs_etcd = {
	.section = "etcd",
	.caps = DCS_CAP_WATCH | DCS_CAP_TAKE | DCS_CAP_DELETE,
	.open = etcd2_open,
	.close = etcd2_close,
	.reload = reload,
	.settings = settings,
	.info = info,
	.submit = submit,
};
