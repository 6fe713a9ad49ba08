/*
 * action_config.c: PATCH and PUT /config (spec/rest-api.md 11).
 */
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "action.h"

#define WRITE_NS (10 * NS_PER_SEC)

static bool
usable(const struct view *v)
{
	return v->has_config && v->config != NULL && v->config_modify != 0;
}

static void
finish(struct action *a, bool wake)
{
	struct rest *r = a->rest;

	if (wake)
		action_wake(r);
	rest_reply_json(a->q, 200, &a->merged);
	action_free(a);
}

static void
written(struct rest *r, const struct ipc_msg *m, int lost, void *arg)
{
	struct action *a = arg;
	const struct msg_result *res = m == NULL ? NULL : m->body;
	bool patch = strcmp(a->q->head.method, "PATCH") == 0;

	(void)r;
	(void)lost;
	if (res != NULL && res->outcome == OUTCOME_OK) {
		finish(a, patch);
		return;
	}
	if (res != NULL && res->outcome == OUTCOME_REFUSED)
		action_page(a, patch ? 409 : 502);
	else
		action_text(a, 503, "DCS is not accessible");
}

static void
write_document(struct action *a, const struct tree *doc, const int64_t *token)
{
	struct rest *r = a->rest;
	struct msg_dcs_document body;
	struct buf compact = { .compact = true };
	uint64_t id;

	memset(&body, 0, sizeof(body));
	if (token != NULL) {
		body.with_token = 1;
		body.token = *token;
	}
	buf_json_tree(&compact, doc);
	if (compact.failed || compact.len > MAX_DOCUMENT) {
		buf_free(&compact);
		action_text(a, 400, "The configuration is too long");
		return;
	}
	id = r->ops.request(r->ops.ctx, PROC_DCS, MSG_DCS_SET_CONFIG, &body,
	    compact.s, compact.len, clock_boot_ns() + WRITE_NS, written, a);
	buf_free(&compact);
	if (id == 0)
		action_text(a, 503, "DCS is not accessible");
}

static void
patch_go(struct action *a, const struct view *v)
{
	struct tree *doc;
	bool changed = false;
	int64_t token;

	if (!usable(v)) {
		action_page(a, 503);
		return;
	}
	token = v->config_token;
	if ((doc = tree_copy(v->config)) == NULL ||
	    !tree_patch(doc, a->body, &changed)) {
		tree_free(doc);
		action_text(a, 500, "out of memory");
		return;
	}
	buf_json_tree(&a->merged, doc);
	if (changed)
		write_document(a, doc, &token);
	else
		finish(a, true);
	tree_free(doc);
}

static void
put_go(struct action *a, const struct view *v)
{
	buf_json_tree(&a->merged, a->body);
	if (usable(v) && tree_equal_loose(v->config, a->body))
		finish(a, false);
	else
		write_document(a, a->body, NULL);
}

void
action_config(struct rest *r, struct httpd_request *q, bool patch)
{
	struct action *a = action_new(r, q, true);

	if (a != NULL)
		action_live(a, patch ? patch_go : put_go);
}
