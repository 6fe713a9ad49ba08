/*
 * action_switch.c: POST /switchover, POST /failover and DELETE /switchover
 * (spec/rest-api.md 17).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "action.h"
#include "schedule.h"

#define WRITE_NS (10 * NS_PER_SEC)
#define POLL_MS 2000
#define POLL_NS (6 * NS_PER_SEC)

static const char *
action_name(const struct action *a)
{
	return a->failover ? "failover" : "switchover";
}

static const char *
action_title(const struct action *a)
{
	return a->failover ? "Failover" : "Switchover";
}

/* ---- waiting for the result (17.4) ---- */

static void
wait_round(struct rest *r, const struct view *v, void *arg)
{
	static const struct timeval second = { 1, 0 };
	struct action *a = arg;
	char text[TEXT_SIZE];
	const char *done = a->failover ? "ailed over" : "witched over";
	char s = a->failover ? 'F' : 'S';

	(void)r;
	if (v != NULL && v->leader[0] != '\0' &&
	    strcmp(v->leader, a->owner) != 0) {
		if (a->candidate[0] == '\0' ||
		    strcmp(a->candidate, v->leader) == 0)
			snprintf(text, sizeof(text),
			    "Successfully %c%s to \"%s\"",
			    a->failover ? 'f' : 's', done, v->leader);
		else
			snprintf(text, sizeof(text),
			    "%c%s to \"%s\" instead of "
			    "\"%s\"",
			    s, done, v->leader, a->candidate);
		action_text(a, 200, text);
		return;
	}
	if (v != NULL && v->failover_leader[0] == '\0' &&
	    v->failover_member[0] == '\0') {
		snprintf(text, sizeof(text), "%s failed", action_title(a));
		action_text(a, 503, text);
		return;
	}
	if (v == NULL)
		log_debug("%s: the store could not be read in this round",
		    action_name(a));
	if (--a->rounds_left <= 0 || event_add(a->timer, &second) == -1) {
		snprintf(text, sizeof(text),
		    "%s status unknown after %d seconds; "
		    "operation may still be in progress",
		    action_title(a), a->rounds);
		action_text(a, 503, text);
	}
}

static void
wait_tick(evutil_socket_t fd, short what, void *arg)
{
	struct action *a = arg;

	(void)fd;
	(void)what;
	rest_live_view(a->rest, 0, wait_round, a);
}

static void
wait_start(struct action *a)
{
	static const struct timeval second = { 1, 0 };
	struct rest *r = a->rest;
	int64_t loop_wait = 10;
	const struct tree *t;

	t = r->view == NULL ? NULL : tree_get(r->view->config, "loop_wait");
	if (t != NULL && t->type == TREE_INT && t->u.i > 10 && t->u.i < 3600)
		loop_wait = t->u.i;
	a->rounds = a->rounds_left = (int)(2 * loop_wait);
	a->timer = evtimer_new(r->base, wait_tick, a);
	if (a->timer == NULL || event_add(a->timer, &second) == -1)
		action_text(a, 503,
		    "operation status unknown; operation may "
		    "still be in progress");
}

/* ---- writing the key ---- */

static void
key_written(struct rest *r, const struct ipc_msg *m, int lost, void *arg)
{
	struct action *a = arg;
	const struct msg_result *res = m == NULL ? NULL : m->body;

	(void)lost;
	if (res == NULL || res->outcome != OUTCOME_OK) {
		action_text(a, 503, "failed to write failover key into DCS");
		return;
	}
	action_wake(r);
	if (a->scheduled_at[0] != '\0')
		action_text(a, 202, "Switchover scheduled");
	else
		wait_start(a);
}

static void
write_key(struct action *a)
{
	struct rest *r = a->rest;
	struct msg_dcs_failover body;

	memset(&body, 0, sizeof(body));
	memcpy(body.leader, a->leader, sizeof(body.leader));
	memcpy(body.member, a->candidate, sizeof(body.member));
	memcpy(body.scheduled_at, a->scheduled_at, sizeof(body.scheduled_at));
	if (r->ops.request(r->ops.ctx, PROC_DCS, MSG_DCS_SET_FAILOVER, &body,
		NULL, 0, clock_boot_ns() + WRITE_NS, key_written, a) == 0)
		action_text(a, 503, "failed to write failover key into DCS");
}

/* ---- feasibility (17.3) ---- */

static void
polled(struct rest *r, const struct ipc_msg *m, int lost, void *arg)
{
	struct action *a = arg;
	const struct msg_peers *body = m == NULL ? NULL : m->body;
	struct peer_status p;
	char text[TEXT_SIZE];
	uint32_t i;

	(void)r;
	(void)lost;
	for (i = 0; body != NULL && i < body->count && i < MAX_MEMBERS &&
	     (i + 1) * sizeof(p) <= m->hdr.var_len;
	     i++) {
		memcpy(&p, m->var + i * sizeof(p), sizeof(p));
		if (p.reachable && !p.watchdog_failed && !p.tags.nofailover) {
			write_key(a);
			return;
		}
	}
	snprintf(text, sizeof(text),
	    "%s is not possible: no good candidates have "
	    "been found",
	    action_name(a));
	action_text(a, 412, text);
}

static bool
add_target(struct tree *list, const struct view_member *m)
{
	struct tree *t = tree_map();

	if (t == NULL)
		return false;
	if (!tree_set(t, "name", tree_text(m->name)) ||
	    !tree_set(t, "api_url", tree_text(m->api_url))) {
		tree_free(t);
		return false;
	}
	return tree_append(list, t);
}

/* Members that the request may mean. */
static bool
is_candidate(const struct action *a, const struct view *v,
    const struct view_member *m, bool sync)
{
	if (a->candidate[0] != '\0')
		return strcmp(m->name, a->candidate) == 0;
	if (strcmp(m->name, v->leader) == 0)
		return false;
	return sync ? view_sync_standby(v, m->name) : m->api_url[0] != '\0';
}

static void
poll_candidates(struct action *a, const struct view *v, bool sync)
{
	struct rest *r = a->rest;
	struct msg_poll body = { POLL_MS, POLL_MS };
	struct tree *list = tree_list();
	uint8_t *var = NULL;
	uint64_t id = 0;
	size_t len = 0;
	uint32_t i;

	for (i = 0; list != NULL && i < v->nmembers; i++)
		if (is_candidate(a, v, &v->members[i], sync))
			(void)add_target(list, &v->members[i]);
	if (list != NULL && tree_encode(list, &var, &len))
		id = r->ops.request(r->ops.ctx, PROC_DCS, MSG_DCS_POLL, &body,
		    var, len, clock_boot_ns() + POLL_NS, polled, a);
	tree_free(list);
	free(var);
	if (id == 0)
		polled(r, NULL, 0, a);
}

static const char *
infeasible(const struct action *a, const struct view *v, bool sync, char *text,
    size_t size)
{
	uint32_t i;

	if (a->leader[0] != '\0' && strcmp(v->leader, a->leader) != 0)
		return "leader name does not match";
	if (a->candidate[0] != '\0') {
		if (!a->failover && sync && !view_sync_standby(v, a->candidate))
			return "candidate name does not match with sync_standby";
		if (view_member(v, a->candidate) == NULL)
			return "candidate does not exists";
		return NULL;
	}
	for (i = 0; i < v->nmembers; i++)
		if (is_candidate(a, v, &v->members[i], sync))
			return NULL;
	snprintf(text, size, "%s is not possible: %s", action_name(a),
	    sync ? "can not find sync_standby" :
		   "cluster does not have members except leader");
	return text;
}

static void
check_feasible(struct action *a, const struct view *v)
{
	char text[TEXT_SIZE];
	const char *reason;
	bool quorum, sync;

	sync =
	    view_synchronous(v, &quorum) && !quorum && !view_standby_cluster(v);
	if ((reason = infeasible(a, v, sync, text, sizeof(text))) != NULL)
		action_text(a, 412, reason);
	else
		poll_candidates(a, v, sync);
}

/* ---- the request (17.2) ---- */

/* Rows 1 to 7; 0 or the status with its text. */
static int
check_request(struct action *a, const struct view *v, const struct tree *at,
    char *text, size_t size)
{
	bool scheduled = at != NULL && at->type != TREE_NULL &&
	    (at->type != TREE_TEXT || at->u.s[0] != '\0');
	const char *what = NULL;
	int64_t when;
	int code = 0;

	if (a->failover && a->candidate[0] == '\0')
		what =
		    "Failover could be performed only to a specific candidate";
	else if (!a->failover && a->leader[0] == '\0')
		what =
		    "Switchover could be performed only from a specific leader";
	else if (scheduled && a->failover)
		what = "Failover can't be scheduled";
	else if (scheduled && view_paused(v))
		what = "Can't schedule switchover in the paused state";
	else if (scheduled)
		code = schedule_parse(at->type == TREE_TEXT ? at->u.s : NULL,
		    clock_wall_us(), "switchover", &when, a->scheduled_at, text,
		    size);
	if (what == NULL && code == 0 && view_paused(v) &&
	    a->candidate[0] == '\0')
		what =
		    "Switchover is possible only to a specific candidate in a "
		    "paused state";
	if (a->failover && a->leader[0] != '\0') {
		log_warn("received failover request with leader specified - "
			 "performing switchover instead");
		a->failover = false;
	}
	if (what == NULL && code == 0 && a->leader[0] != '\0' &&
	    strcmp(a->leader, a->candidate) == 0)
		what = "Switchover target and source are the same";
	if (what == NULL)
		return code;
	snprintf(text, size, "%s", what);
	return 400;
}

static void
switch_go(struct action *a, const struct view *v)
{
	const struct tree *at = tree_get(a->body, "scheduled_at");
	const char *leader, *candidate;
	char text[TEXT_SIZE];
	bool bad = false;
	int code;

	leader = action_member(a, "leader", NAME_SIZE, &bad);
	candidate = action_member(a, "candidate", NAME_SIZE, &bad);
	if (candidate == NULL)
		candidate = action_member(a, "member", NAME_SIZE, &bad);
	if (bad) {
		action_text(
		    a, 400, "leader and candidate must be member names");
		return;
	}
	log_info("received %s request with leader=%s candidate=%s "
		 "scheduled_at=%s",
	    action_name(a), leader == NULL ? "None" : leader,
	    candidate == NULL ? "None" : candidate,
	    at != NULL && at->type == TREE_TEXT ? at->u.s : "None");
	(void)text_set(
	    a->leader, sizeof(a->leader), leader == NULL ? "" : leader);
	(void)text_set(a->candidate, sizeof(a->candidate),
	    candidate == NULL ? "" : candidate);
	memcpy(a->owner, v->leader, sizeof(a->owner));
	if ((code = check_request(a, v, at, text, sizeof(text))) != 0)
		action_text(a, code, text);
	else if (a->scheduled_at[0] != '\0')
		write_key(a);
	else
		check_feasible(a, v);
}

void
action_switch(struct rest *r, struct httpd_request *q, bool failover)
{
	struct action *a = action_new(r, q, true);

	if (a == NULL)
		return;
	a->failover = failover;
	action_switch_start(a, false);
}

/* ---- DELETE /switchover (17.5) ---- */

static void
deleted(struct rest *r, const struct ipc_msg *m, int lost, void *arg)
{
	struct action *a = arg;
	const struct msg_result *res = m == NULL ? NULL : m->body;

	(void)r;
	(void)lost;
	if (res == NULL ||
	    (res->outcome != OUTCOME_OK && res->outcome != OUTCOME_REFUSED))
		action_text(a, 503, "DCS is not accessible");
	else if (res->outcome == OUTCOME_REFUSED)
		action_page(a, 409);
	else
		action_text(a, 200, "scheduled switchover deleted");
}

static void
delete_go(struct action *a, const struct view *v)
{
	struct rest *r = a->rest;
	struct msg_dcs_failover body;

	if (!v->has_failover || !v->failover_scheduled ||
	    (v->failover_leader[0] == '\0' && v->failover_member[0] == '\0')) {
		action_text(a, 404, "no switchover is scheduled");
		return;
	}
	memset(&body, 0, sizeof(body));
	body.with_token = 1;
	body.token = v->failover_token;
	if (r->ops.request(r->ops.ctx, PROC_DCS, MSG_DCS_SET_FAILOVER, &body,
		NULL, 0, clock_boot_ns() + WRITE_NS, deleted, a) == 0)
		action_text(a, 503, "DCS is not accessible");
}

void
action_switch_delete(struct rest *r, struct httpd_request *q)
{
	struct action *a = action_bare(r, q);

	if (a != NULL)
		action_switch_start(a, true);
}

void
action_switch_start(struct action *a, bool cancel)
{
	action_live(a, cancel ? delete_go : switch_go);
}
