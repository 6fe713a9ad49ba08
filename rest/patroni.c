/*
 * patroni.c: the status document and GET /patroni (spec/rest-api.md 5, 8).
 *
 * Peers decide promotions by the numbers in it, so unlike the health checks
 * it does not live on the last snapshot alone: when that is not quite new the
 * controller is asked to query PostgreSQL now, one question for all who ask
 * meanwhile.  Without an answer the document comes without numbers, which
 * peers read as "not reachable".
 */
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "rest.h"

#define NEW_ENOUGH_NS (100 * NS_PER_MS)
#define ASK_NS (1500 * NS_PER_MS) /* peers give up after 2 s */

const struct buf *
rest_document(struct rest *r, const struct facts *f)
{
	uint32_t bits = facts_bits(f) | (uint32_t)f->sql << 8;

	if (r->doc_valid && r->doc_bits == bits)
		return &r->doc;
	buf_reset(&r->doc);
	document_status(&r->doc, &r->snap, f, &r->names, r->tags);
	r->doc_bits = bits;
	r->doc_valid = !r->doc.failed;
	return &r->doc;
}

static void
reply_document(struct rest *r, struct httpd_request *q, bool numbers)
{
	struct facts f;

	health_facts(&r->snap, clock_boot_ns(), &f);
	if (!numbers && f.sql) {
		f.sql = f.sync_standby = f.quorum_standby = false;
		if (f.state == STATE_RUNNING)
			f.state = STATE_UNKNOWN;
		f.role = r->snap.s.role;
	}
	/* Stale: nothing is known; a document without xlog says so to peers. */
	rest_reply_json(q, f.fresh ? 200 : 503, rest_document(r, &f));
}

static void
answered(struct rest *r, const struct ipc_msg *m, int lost, void *arg)
{
	const struct msg_request_reply *reply = m == NULL ? NULL : m->body;
	STAILQ_HEAD(, status_waiter) mine = STAILQ_HEAD_INITIALIZER(mine);
	struct status_waiter *w;
	bool numbers;

	(void)lost;
	(void)arg;
	r->asking = false;
	if (reply != NULL && reply->code == 501)
		r->cannot_ask = true; /* then the snapshot must do */
	numbers = r->cannot_ask || (reply != NULL && reply->code == 200);
	STAILQ_CONCAT(&mine, &r->status_waiters);
	while ((w = STAILQ_FIRST(&mine)) != NULL) {
		STAILQ_REMOVE_HEAD(&mine, entry);
		reply_document(r, w->q, numbers);
		free(w);
	}
}

static bool
ask(struct rest *r, int64_t now)
{
	struct msg_request req;

	if (r->asking)
		return true;
	memset(&req, 0, sizeof(req));
	req.kind = REQUEST_STATUS;
	req.timeout = -1;
	if (r->ops.request(r->ops.ctx, PROC_POSTGRES, MSG_REQUEST, &req, NULL,
		0, now + ASK_NS, answered, NULL) == 0)
		return false;
	r->asking = true;
	return true;
}

/*
 * Is the snapshot as good as a question now?  Where the server cannot be
 * asked (5.1) nothing is to be gained; one without numbers is asked again,
 * since it may be from the moment before the server was up.
 */
static bool
snapshot_serves(const struct rest *r, int64_t now)
{
	const struct msg_status *s = &r->snap.s;

	if (!r->snap.have || r->cannot_ask)
		return true;
	if (s->state != STATE_RUNNING && s->state != STATE_RESTARTING &&
	    s->state != STATE_STARTING)
		return true;
	return s->sql_ok && now - s->stamp_ns < NEW_ENOUGH_NS;
}

void
rest_patroni(struct rest *r, struct httpd_request *q)
{
	int64_t now = clock_boot_ns();
	struct status_waiter *w;

	if (snapshot_serves(r, now)) {
		reply_document(r, q, true);
		return;
	}
	if ((w = calloc(1, sizeof(*w))) == NULL || !ask(r, now)) {
		free(w);
		reply_document(r, q, false);
		return;
	}
	w->q = q;
	STAILQ_INSERT_TAIL(&r->status_waiters, w, entry);
}

void
rest_patroni_free(struct rest *r)
{
	struct status_waiter *w;

	while ((w = STAILQ_FIRST(&r->status_waiters)) != NULL) {
		STAILQ_REMOVE_HEAD(&r->status_waiters, entry);
		free(w);
	}
}
