/*
 * action.c: unsafe requests: access, bodies, and those that take one step:
 * reload, sigterm, failsafe, reinitialize, citus.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../helpers/json.h"
#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "../ipc/values.h"
#include "action.h"
#include "members.h"

#define FAILSAFE_NS (1800 * NS_PER_MS) /* callers give up after 2 s */
#define REINIT_NS (300 * NS_PER_SEC)
#define WAKE_NS (10 * NS_PER_SEC)

/* ---- access and bodies ---- */

/* True when the request was answered with 401 or 403. */
static bool
refused(struct rest *r, struct httpd_request *q, bool failsafe)
{
	const char *text, *headers;
	int code;

	code = access_check(&r->access, q, rest_cached_view(r, clock_boot_ns()),
	    r->addresses, failsafe, &text, &headers);
	if (code == 0)
		return false;
	httpd_reply(q, code, "text/html", headers, text, strlen(text));
	return true;
}

/* Spec 3.3.  0 and *body (a map), or the status of an error page. */
static int
read_body(
    struct rest *r, struct httpd_request *q, bool mandatory, struct tree **body)
{
	char why[128];

	*body = NULL;
	if (q->head.body == BODY_BAD)
		return 400;
	if (q->head.body == BODY_NONE && mandatory)
		return 411;
	if (q->body_len == 0) {
		if (mandatory)
			return 400;
		return (*body = tree_map()) == NULL ? 500 : 0;
	}
	*body = tree_from_json(q->body, q->body_len, why, sizeof(why));
	if (*body == NULL) {
		if (httpd_log_rate(&r->bad_requests, clock_boot_ns()))
			log_error("Bad request: %s", why);
		return 400;
	}
	if ((*body)->type != TREE_MAP ||
	    (mandatory && tree_count(*body) == 0)) {
		tree_free(*body);
		*body = NULL;
		return 400;
	}
	return 0;
}

/* body is taken over. */
static struct action *
make(struct rest *r, struct httpd_request *q, struct tree *body)
{
	struct action *a;

	if ((a = calloc(1, sizeof(*a))) == NULL) {
		tree_free(body);
		httpd_reply_text(q, 500, "out of memory");
		return NULL;
	}
	a->rest = r;
	a->q = q;
	a->body = body;
	return a;
}

static struct action *
action_with_body(struct rest *r, struct httpd_request *q, bool mandatory)
{
	struct tree *body;
	int code;

	if ((code = read_body(r, q, mandatory, &body)) != 0) {
		httpd_error(q, code, NULL);
		return NULL;
	}
	return make(r, q, body);
}

struct action *
action_new(struct rest *r, struct httpd_request *q, bool mandatory)
{
	if (refused(r, q, false))
		return NULL;
	return action_with_body(r, q, mandatory);
}

struct action *
action_bare(struct rest *r, struct httpd_request *q)
{
	return refused(r, q, false) ? NULL : make(r, q, NULL);
}

const char *
action_member(const struct action *a, const char *key, size_t size, bool *bad)
{
	const struct tree *t = tree_get(a->body, key);

	if (t == NULL || t->type == TREE_NULL)
		return NULL;
	if (t->type != TREE_TEXT || strlen(t->u.s) >= size) {
		*bad = true;
		return NULL;
	}
	return t->u.s[0] == '\0' ? NULL : t->u.s;
}

/* ---- ends ---- */

void
action_free(struct action *a)
{
	if (a->timer != NULL)
		event_free(a->timer);
	tree_free(a->body);
	buf_free(&a->merged);
	free(a);
}

void
action_text(struct action *a, int code, const char *text)
{
	struct rest *r = a->rest;

	if (a->q != NULL)
		httpd_reply_text(a->q, code, text);
	else
		r->ops.answer(r->ops.ctx, a->local_id, code, text);
	action_free(a);
}

void
action_page(struct action *a, int code)
{
	if (a->q == NULL) {
		action_text(a, code, httpd_reason(code));
		return;
	}
	httpd_error(a->q, code, NULL);
	action_free(a);
}

/* ---- steps ---- */

static void
live_ready(struct rest *r, const struct view *v, void *arg)
{
	struct action *a = arg;

	(void)r;
	if (v == NULL)
		action_text(a, 503, "DCS is not accessible");
	else
		a->go(a, v);
}

void
action_live(struct action *a, void (*go)(struct action *, const struct view *))
{
	a->go = go;
	rest_live_view(a->rest, 0, live_ready, a);
}

static void
request_done(struct rest *r, const struct ipc_msg *m, int lost, void *arg)
{
	struct action *a = arg;
	const struct msg_request_reply *reply = m == NULL ? NULL : m->body;
	char header[48];

	(void)r;
	(void)lost;
	if (reply == NULL || m->hdr.type != MSG_REQUEST_REPLY) {
		action_text(a, 503, a->lost);
		return;
	}
	if (a->req.kind != REQUEST_FAILSAFE || reply->code != 200) {
		action_text(a, (int)reply->code, reply->text);
		return;
	}
	snprintf(header, sizeof(header), "lsn: %" PRIu64 "\r\n", reply->lsn);
	httpd_reply(a->q, 200, "text/html", reply->has_lsn ? header : NULL,
	    reply->text, strlen(reply->text));
	action_free(a);
}

void
action_request(struct action *a, const struct tree *var, int64_t within_ns,
    const char *lost)
{
	struct rest *r = a->rest;
	uint8_t *buf = NULL;
	size_t len = 0;
	uint64_t id;

	a->lost = lost;
	if (var != NULL && !tree_encode(var, &buf, &len)) {
		action_text(a, 400, "The body is too long");
		return;
	}
	id = r->ops.request(r->ops.ctx, PROC_POSTGRES, MSG_REQUEST, &a->req,
	    buf, len, clock_boot_ns() + within_ns, request_done, a);
	free(buf);
	if (id == 0)
		action_text(a, 503, lost);
}

static void
wake_done(struct rest *r, const struct ipc_msg *m, int lost, void *arg)
{
	(void)r;
	(void)m;
	(void)lost;
	(void)arg;
}

void
action_wake(struct rest *r)
{
	struct msg_request req;

	memset(&req, 0, sizeof(req));
	req.kind = REQUEST_WAKE;
	req.timeout = -1;
	/* Lost: the watch of the store, or the next cycle, tells the loop. */
	if (r->ops.request(r->ops.ctx, PROC_POSTGRES, MSG_REQUEST, &req, NULL,
		0, clock_boot_ns() + WAKE_NS, wake_done, NULL) == 0)
		log_debug("the HA loop could not be woken");
}

/* ---- the simple ones ---- */

static void
post_reload(struct rest *r, struct httpd_request *q)
{
	if (refused(r, q, false))
		return;
	if (r->ops.notify(r->ops.ctx, NOTIFY_RELOAD) == -1)
		httpd_reply_text(q, 503, "reload could not be passed on");
	else
		httpd_reply_text(q, 202, "reload scheduled");
}

static void
post_sigterm(struct rest *r, struct httpd_request *q)
{
	if (!refused(r, q, false))
		httpd_reply_text(q, 202, "shutdown scheduled");
}

static void
post_failsafe(struct rest *r, struct httpd_request *q)
{
	const char *name, *conn_url, *api_url;
	struct tree *var = NULL, *slots;
	struct action *a;
	bool bad = false;

	if (refused(r, q, true))
		return;
	if (!r->snap.have || !r->snap.s.failsafe_mode) {
		httpd_error(q, 502, NULL);
		return;
	}
	if ((a = action_with_body(r, q, true)) == NULL)
		return;
	name = action_member(a, "name", sizeof(a->req.name), &bad);
	conn_url = action_member(a, "conn_url", sizeof(a->req.conn_url), &bad);
	api_url = action_member(a, "api_url", sizeof(a->req.api_url), &bad);
	if (bad || name == NULL || conn_url == NULL || api_url == NULL) {
		action_page(a, 400);
		return;
	}
	a->req.kind = REQUEST_FAILSAFE;
	a->req.timeout = -1;
	(void)text_set(a->req.name, sizeof(a->req.name), name);
	(void)text_set(a->req.conn_url, sizeof(a->req.conn_url), conn_url);
	(void)text_set(a->req.api_url, sizeof(a->req.api_url), api_url);
	slots = tree_get(a->body, "slots");
	if (slots != NULL && slots->type == TREE_MAP &&
	    (var = tree_map()) != NULL)
		(void)tree_set(var, "slots", tree_copy(slots));
	action_request(a, var, FAILSAFE_NS, "no reply from the HA loop");
	tree_free(var);
}

/* Spec/config.md 3.2 on a member of the body. */
static uint32_t
member_bool(const struct action *a, const char *key)
{
	const struct tree *t = tree_get(a->body, key);
	char text[16];

	if (t == NULL || t->type == TREE_LIST || t->type == TREE_MAP ||
	    tree_scalar_text(t, text, sizeof(text)) >= (int)sizeof(text))
		return 0;
	return value_bool(text) == 1;
}

static void
reinitialize_go(struct action *a, const struct view *v)
{
	if (view_unlocked(v)) {
		action_text(
		    a, 503, "Cluster has no leader, can not reinitialize");
		return;
	}
	if (strcmp(v->leader, a->rest->names.name) == 0) {
		action_text(a, 503, "I am the leader, can not reinitialize");
		return;
	}
	a->req.kind = REQUEST_REINITIALIZE;
	a->req.timeout = -1;
	a->req.force = member_bool(a, "force");
	a->req.from_leader = member_bool(a, "from_leader");
	action_request(a, NULL, REINIT_NS, "no reply from the HA loop");
}

static void
post_reinitialize(struct rest *r, struct httpd_request *q)
{
	struct action *a = action_new(r, q, false);

	if (a != NULL)
		action_live(a, reinitialize_go);
}

/* This node coordinates nothing, so events are accepted and ignored. */
static void
post_citus(struct rest *r, struct httpd_request *q)
{
	struct action *a = action_new(r, q, true);

	if (a != NULL)
		action_text(a, 200, "OK");
}

/* ---- asked over the control socket ---- */

void
rest_local_action(
    struct rest *r, uint64_t id, enum api_action kind, struct tree *body)
{
	struct action *a = calloc(1, sizeof(*a));

	if (a == NULL || body == NULL || body->type != TREE_MAP) {
		free(a);
		tree_free(body);
		r->ops.answer(r->ops.ctx, id, 400, "the body is not usable");
		return;
	}
	a->rest = r;
	a->local_id = id;
	a->body = body;
	switch (kind) {
	case API_SWITCHOVER:
		/* of this node, without saying so */
		if (tree_get(body, "leader") == NULL)
			(void)tree_set(
			    body, "leader", tree_text(r->names.name));
		action_switch_start(a, false);
		break;
	case API_FAILOVER:
		a->failover = true;
		action_switch_start(a, false);
		break;
	case API_CANCEL_SWITCHOVER:
		action_switch_start(a, true);
		break;
	case API_RESTART:
		action_restart_start(a, false);
		break;
	case API_CANCEL_RESTART:
		action_restart_start(a, true);
		break;
	case API_KIND_COUNT:
	default: /* the catalogue lets nothing else pass */
		action_text(a, 400, "no such action");
		break;
	}
}

/* ---- routing ---- */

static void
post_restart(struct rest *r, struct httpd_request *q)
{
	action_restart(r, q);
}

static void
post_switchover(struct rest *r, struct httpd_request *q)
{
	action_switch(r, q, false);
}

static void
post_failover(struct rest *r, struct httpd_request *q)
{
	action_switch(r, q, true);
}

static void
patch_config(struct rest *r, struct httpd_request *q)
{
	action_config(r, q, true);
}

static void
put_config(struct rest *r, struct httpd_request *q)
{
	action_config(r, q, false);
}

static const struct {
	const char *method, *name;
	void (*handle)(struct rest *, struct httpd_request *);
} table[] = {
	{ "PATCH", "config", patch_config },
	{ "PUT", "config", put_config },
	{ "POST", "reload", post_reload },
	{ "POST", "sigterm", post_sigterm },
	{ "POST", "failsafe", post_failsafe },
	{ "POST", "restart", post_restart },
	{ "DELETE", "restart", action_restart_delete },
	{ "POST", "switchover", post_switchover },
	{ "POST", "failover", post_failover },
	{ "DELETE", "switchover", action_switch_delete },
	{ "POST", "reinitialize", post_reinitialize },
	{ "POST", "citus", post_citus },
	{ "POST", "mpp", post_citus },
};

bool
rest_action(
    struct rest *r, struct httpd_request *q, const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strlen(table[i].name) != len ||
		    memcmp(table[i].name, name, len) != 0 ||
		    strcmp(table[i].method, q->head.method) != 0)
			continue;
		/* a failsafe round never waits for names */
		if (table[i].handle == post_failsafe ||
		    !members_wait(r, q, table[i].handle))
			table[i].handle(r, q);
		return true;
	}
	return false;
}
