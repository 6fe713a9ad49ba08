/*
 * request.c: requests of operators (through rest, or the control socket and
 * the master) to the core, and its answers back.
 */
#include <stdlib.h>
#include <string.h>

#include "controller.h"

static void
reply(struct controller *c, enum proc to, uint64_t id, uint32_t code,
    const char *text, const struct tree *var)
{
	struct msg_request_reply m;
	uint8_t *buf = NULL;
	size_t len = 0;

	memset(&m, 0, sizeof m);
	m.code = code;
	text_set(m.text, sizeof m.text, text);
	if (var != NULL && !tree_encode(var, &buf, &len)) {
		m.code = 500;
		text_set(m.text, sizeof m.text, "answer too large");
	}
	(void)helper_reply_id(c->h, to, id, MSG_REQUEST_REPLY, &m, buf, len);
	free(buf);
}

static void
reply_journal(struct controller *c, enum proc from, uint64_t id,
    const struct msg_request *m)
{
	struct tree *list;

	/* without its own field the limit travels as the timeout */
	list =
	    journal_list(c->journal, m->timeout > 0 ? (uint32_t)m->timeout : 0);
	reply(c, from, id, 200, "", list);
	tree_free(list);
}

/*
 * A peer in a leader race compares its position with ours: it must be told
 * the one of now, not that of the last cycle (spec/rest-api.md 5.1).
 */
#define LIVE_STATUS_NS (1500 * NS_PER_MS)

struct live {
	enum proc from;
	uint64_t id;
};

static void
on_live_status(struct controller *c, void *arg)
{
	struct live *l = arg;

	publish_status(c);
	reply(c, l->from, l->id, 200, "", NULL);
	free(l);
}

static void
live_status(struct controller *c, enum proc from, const struct ipc_msg *msg)
{
	int64_t deadline = clock_boot_ns() + LIVE_STATUS_NS;
	struct live *l = malloc(sizeof *l);

	if (l == NULL)
		fatal("out of memory");
	if (msg->hdr.deadline_ns != 0 && msg->hdr.deadline_ns < deadline)
		deadline = msg->hdr.deadline_ns;
	l->from = from;
	l->id = msg->hdr.id;
	status_take(c, deadline, on_live_status, l);
}

static struct pending_request *
free_slot(struct controller *c)
{
	int i;

	for (i = 0; i < REQUEST_TABLE; i++)
		if (c->requests[i].key == 0)
			return &c->requests[i];
	return NULL;
}

void
request_message(struct controller *c, enum proc from, const struct ipc_msg *msg)
{
	const struct msg_request *m = msg->body;
	struct pending_request *p;
	struct ha_ev ev;
	struct tree *doc = NULL;

	if (m->kind == REQUEST_JOURNAL) {
		reply_journal(c, from, msg->hdr.id, m);
		return;
	}
	if (m->kind == REQUEST_RELOAD) {
		struct msg_notify n = { .kind = NOTIFY_RELOAD };

		(void)helper_send(
		    c->h, PROC_MASTER, MSG_NOTIFY, &n, NULL, 0, -1);
		reply(c, from, msg->hdr.id, 202, "reload scheduled", NULL);
		return;
	}
	if (m->kind == REQUEST_STATUS && c->ha != NULL && !c->stopping) {
		live_status(c, from, msg);
		return;
	}
	p = free_slot(c);
	if (p == NULL || c->ha == NULL || c->stopping) {
		reply(c, from, msg->hdr.id, 503,
		    p == NULL ? "too many requests" : "not running", NULL);
		return;
	}
	if (msg->var != NULL)
		doc = tree_decode(msg->var, msg->hdr.var_len);
	memset(&ev, 0, sizeof ev);
	ev.type = EV_REQUEST;
	ev.req = m;
	ev.doc = doc;
	if (msg->hdr.id != 0) {
		p->key = ++c->next_request;
		p->from = from;
		p->id = msg->hdr.id;
		ev.request = p->key;
	}
	controller_feed(c, &ev);
	tree_free(doc);
}

void
request_answer(
    struct controller *c, uint64_t key, const struct msg_request_reply *r)
{
	int i;

	for (i = 0; i < REQUEST_TABLE; i++) {
		struct pending_request *p = &c->requests[i];

		if (p->key != key || key == 0)
			continue;
		(void)helper_reply_id(
		    c->h, p->from, p->id, MSG_REQUEST_REPLY, r, NULL, 0);
		memset(p, 0, sizeof *p);
		return;
	}
}
