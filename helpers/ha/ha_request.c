/*
 * ha_request.c: operators' requests: restart, scheduled restart, reinitialize
 * (spec/ha.md 18), and POST /failsafe.  They run between cycles.
 */
#include <stdarg.h>
#include <string.h>

#include "ha_int.h"

void
reply(struct ha *h, uint64_t request, uint32_t code, const char *fmt, ...)
{
	struct ha_fx *fx;
	va_list ap;

	if (request == 0)
		return;
	fx = fx_new(h, FX_REPLY);
	fx->request = request;
	fx->reply.code = code;
	va_start(ap, fmt);
	(void)vsnprintf(fx->reply.text, sizeof(fx->reply.text), fmt, ap);
	va_end(ap);
}

/* ---- restart (18.1) ---- */

/* The last condition that does not hold, NULL = proceed. */
static const char *
restart_obstacle(const struct ha *h, const struct msg_request *r)
{
	const struct ha_pg *pg = &h->p.pg;
	const char *why = NULL;

	if (r->has_role && r->role != (uint32_t)h->s.role)
		why = "host role mismatch";
	if (r->postgres_version != 0 &&
	    (int64_t)pg->server_version >= r->postgres_version)
		why = "postgres version mismatch";
	if (r->restart_pending && !pg->pending_restart)
		why = "pending restart flag is not set";
	/*
	 * What is down and without recovery files would come up as a primary,
	 * lock or not (23.1, 5): that start is recovery's business.
	 */
	if (!pg->running && !pg->has_recovery_files && !h->s.opt.pause &&
	    !busy(h))
		why = "PostgreSQL is not running";
	/* it waited for something, or the machine slept: what comes up again
	 * would write on a lease that is over (21.6) */
	if ((h->s.role == ROLE_PRIMARY || h->s.role == ROLE_PROMOTED) &&
	    !h->s.opt.pause && !trusted(h))
		why = "the leader lock is not held";
	return why;
}

static void
restart_now(struct ha *h)
{
	struct action *a = &h->s.action;
	struct ha_job job;

	job_init(&job, JOB_RESTART);
	job.role = a->role;
	job.checkpoint = true;
	job.stop_mode = STOP_FAST;
	job.timeout_ns = a->job_timeout;
	a->delayed = false;
	a->job = job_start(h, &job);
}

/* text: what the caller is told when it does not start. */
static enum rc
restart_begin(struct ha *h, const struct msg_request *r, uint64_t request,
    char *text, size_t size)
{
	const char *why = restart_obstacle(h, r);
	int64_t timeout;
	bool begun;

	if (why != NULL && !BROKEN(h, RESTART_FILTER)) {
		ha_log(h, LOG_LVL_INFO, "restart.refused",
		    "not proceeding with the restart: %s", why);
		(void)snprintf(
		    text, size, "restart conditions are not satisfied");
		return RC_OK;
	}
	if (busy(h)) {
		(void)snprintf(
		    text, size, "%s already in progress", h->s.action.name);
		return RC_OK;
	}
	text[0] = '\0';
	timeout =
	    (r->timeout >= 0 ? r->timeout : h->s.opt.primary_start_timeout) *
	    NS_PER_SEC;
	TRY(action_claim(h, ACTION_RESTART, "restart"));
	h->s.action.role = h->s.role;
	h->s.action.job_timeout = timeout;
	h->s.action.request = request;
	h->s.recovering = true;
	h->s.start_timeout = timeout;
	TRY(sync_leave(h, &begun));
	if (begun) {
		h->s.action.sync_counted = true;
		h->s.action.limit = h->p.now + 2 * loop_ns(h);
		action_delay(h, 0);
		return RC_OK;
	}
	restart_now(h);
	return RC_OK;
}

/* One look after the other, until the primary waits for others (13.8). */
enum rc
restart_leave(struct ha *h, const struct ha_ev *ev)
{
	bool left;

	if (ev->type != EV_DELAY)
		return RC_OK;
	TRY(sync_left(h, &left));
	if (left || h->p.now >= h->s.action.limit)
		restart_now(h);
	else
		action_delay(h, SYNC_LEAVE_LOOK);
	return RC_OK;
}

static enum rc
request_restart(struct ha *h, const struct msg_request *r, uint64_t request)
{
	char text[TEXT_SIZE];

	TRY(ask_snapshot(h));
	TRY(restart_begin(h, r, request, text, sizeof(text)));
	if (text[0] != '\0')
		reply(h, request, 503, "%s", text);
	return RC_OK;
}

/* The keys of the request first, then those that it did not name. */
static void
schedule_order(struct scheduled_restart *s, const struct tree *doc)
{
	static const char *const names[RESTART_KEY_COUNT] = {
		[RESTART_KEY_SCHEDULE] = "schedule",
		[RESTART_KEY_ROLE] = "role",
		[RESTART_KEY_VERSION] = "postgres_version",
		[RESTART_KEY_TIMEOUT] = "timeout",
		[RESTART_KEY_PENDING] = "restart_pending",
	};
	bool used[RESTART_KEY_COUNT] = { false };
	uint32_t i, n = 0;
	int k;

	for (i = 0; i < tree_count(doc); i++) {
		const char *key = tree_child(doc, i)->key;

		for (k = 0; k < RESTART_KEY_COUNT; k++) {
			if (used[k] || key == NULL ||
			    strcmp(key, names[k]) != 0)
				continue;
			used[k] = true;
			s->order[n++] = (enum restart_key)k;
		}
	}
	for (k = 0; k < RESTART_KEY_COUNT; k++)
		if (!used[k])
			s->order[n++] = (enum restart_key)k;
}

static enum rc
request_schedule(struct ha *h, const struct msg_request *r,
    const struct tree *doc, uint64_t request)
{
	if (h->s.restart.set) {
		reply(h, request, 409, "Another restart is already scheduled");
		return RC_OK;
	}
	TRY(ask_snapshot(h));
	h->s.restart.set = true;
	h->s.restart.req = *r;
	schedule_order(&h->s.restart, doc);
	memcpy(h->s.restart.postmaster_start, h->p.pg.postmaster_start_time,
	    sizeof(h->s.restart.postmaster_start));
	publish_member(h);
	fx_new(h, FX_PUBLISH);
	reply(h, request, 202, "Restart scheduled");
	return RC_OK;
}

static enum rc
request_unschedule(struct ha *h, uint64_t request)
{
	if (!h->s.restart.set) {
		reply(h, request, 404, "no restarts are scheduled");
		return RC_OK;
	}
	TRY(ask_snapshot(h));
	memset(&h->s.restart, 0, sizeof(h->s.restart));
	publish_member(h);
	fx_new(h, FX_PUBLISH);
	reply(h, request, 200, "scheduled restart deleted");
	return RC_OK;
}

/*
 * 18.2, at the end of a cycle with a leader.  RC_MSG: the message of the
 * cycle stands, or was replaced.
 */
enum rc
scheduled_restart(struct ha *h)
{
	struct scheduled_restart *s = &h->s.restart;
	const char *started = h->p.pg.postmaster_start_time;
	struct msg_request req;
	char text[TEXT_SIZE];
	bool is_due, clean;

	if (!s->set || busy(h))
		return RC_MSG;
	req = s->req;
	if (s->postmaster_start[0] != '\0' && started[0] != '\0' &&
	    strcmp(s->postmaster_start, started) != 0 &&
	    !BROKEN(h, RESTART_HAPPENED)) {
		ha_log(h, LOG_LVL_INFO, "restart.happened",
		    "Cancelling "
		    "scheduled restart: postgres restart has already "
		    "happened at %s",
		    started);
		memset(s, 0, sizeof(*s));
		return RC_MSG;
	}
	TRY(due(h, "restart", req.schedule_us, req.schedule, false, &is_due,
	    &clean));
	if (!is_due && !clean)
		return RC_MSG;
	memset(s, 0, sizeof(*s));
	if (clean)
		return RC_MSG;
	TRY(restart_begin(h, &req, 0, text, sizeof(text)));
	if (text[0] == '\0')
		return say(h, "restart.scheduled", "restart initiated");
	ha_log(h, LOG_LVL_WARNING, "restart.refused", "Scheduled restart: %s",
	    text);
	return RC_MSG;
}

/* ---- reinitialize (18.3) ---- */

static enum rc
request_reinitialize(
    struct ha *h, const struct msg_request *r, uint64_t request)
{
	struct ha_job job;
	bool ok;

	/* known without the store, which may cost time that the lease has not
	 */
	if (trusted(h) && !BROKEN(h, REINITIALIZE)) {
		reply(h, request, 503, "I am the leader, can not reinitialize");
		return RC_OK;
	}
	TRY(load_plain(h, &ok));
	if (!ok || unlocked(h)) {
		reply(h, request, 503,
		    "Cluster has no leader, can not reinitialize");
		return RC_OK;
	}
	if (has_lock(h) && !BROKEN(h, REINITIALIZE)) {
		reply(h, request, 503, "I am the leader, can not reinitialize");
		return RC_OK;
	}
	if (busy(h) && r->force) {
		ha_log(h, LOG_LVL_WARNING, "reinitialize.cancel",
		    "Cancelling long running task %s", h->s.action.name);
		TRY(action_cancel(h, 10 * NS_PER_SEC));
	}
	if (busy(h)) {
		reply(h, request, 503, "%s already in progress",
		    h->s.action.name);
		return RC_OK;
	}
	job_init(&job, JOB_STOP);
	job.stop_mode = STOP_IMMEDIATE;
	job.timeout_ns = retry_ns(h);
	TRY(action_begin(h, ACTION_REINITIALIZE, &job, "reinitialize"));
	h->s.action.from_leader = r->from_leader != 0;
	reply(h, request, 200, "reinitialize started");
	return RC_OK;
}

enum rc
request_event(struct ha *h, const struct event *e)
{
	const struct msg_request *r = e->req;
	uint64_t request = e->ev.request;

	if (r == NULL)
		return RC_OK;
	switch (r->kind) {
	case REQUEST_RESTART:
		return request_restart(h, r, request);
	case REQUEST_SCHEDULE_RESTART:
		return request_schedule(h, r, e->doc, request);
	case REQUEST_CANCEL_RESTART:
		return request_unschedule(h, request);
	case REQUEST_REINITIALIZE:
		return request_reinitialize(h, r, request);
	case REQUEST_FAILSAFE:
		failsafe_receive(h, e);
		return RC_OK;
	case REQUEST_WAKE:
		h->s.wake = true;
		reply(h, request, 200, "OK");
		return RC_OK;
	default:
		reply(h, request, 501, "not handled here");
		return RC_OK;
	}
}
