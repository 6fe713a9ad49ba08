/*
 * action_restart.c: POST and DELETE /restart (spec/rest-api.md 16).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/values.h"
#include "action.h"
#include "schedule.h"

#define DEFAULT_TIMEOUT 300
/* Stopping has no limit of its own; an answer is due some day all the same. */
#define STOP_ALLOWANCE_NS (3600 * NS_PER_SEC)
#define SHORT_NS (30 * NS_PER_SEC)

/* Text form of a scalar member; false for anything else. */
static bool
scalar(const struct tree *t, char *buf, size_t size)
{
	if (t->type == TREE_LIST || t->type == TREE_MAP || t->type == TREE_NULL)
		return false;
	return tree_scalar_text(t, buf, size) < (int)size;
}

static int
check_schedule(struct action *a, const struct tree *t, char *text, size_t size)
{
	return schedule_parse(t->type == TREE_TEXT ? t->u.s : NULL,
	    clock_wall_us(), "restart", &a->req.schedule_us, a->req.schedule,
	    text, size);
}

static int
check_role(struct action *a, const struct tree *t, char *text, size_t size)
{
	enum pg_role role = ROLE_UNINITIALIZED;

	if (t->type == TREE_TEXT)
		role = pg_role_parse(t->u.s, NULL);
	if (role != ROLE_PRIMARY && role != ROLE_STANDBY_LEADER &&
	    role != ROLE_REPLICA) {
		snprintf(text, size,
		    "PostgreSQL role should be either primary, "
		    "standby_leader, or replica");
		return 400;
	}
	a->req.has_role = 1;
	a->req.role = role;
	return 0;
}

static int
bad_version(const char *v, bool format, char *text, size_t size)
{
	snprintf(text, size,
	    format ? "Invalid PostgreSQL version format: X.Y or "
		     "X.Y.Z is accepted: %.100s" :
		     "Invalid PostgreSQL version: %.100s",
	    v);
	return 400;
}

static int
check_version(struct action *a, const struct tree *t, char *text, size_t size)
{
	char buf[WORD_SIZE], v[WORD_SIZE], *part, *save = NULL, *p;
	int64_t n[3] = { 0, 0, 0 }, one;
	int parts = 0;

	if (t->type != TREE_TEXT || !text_set(v, sizeof(v), t->u.s))
		return bad_version(
		    t->type == TREE_TEXT ? t->u.s : "", false, text, size);
	(void)text_set(buf, sizeof(buf), v);
	/* an empty part is not a number either */
	if (v[0] == '\0' || v[0] == '.' || v[strlen(v) - 1] == '.' ||
	    strstr(v, "..") != NULL)
		return bad_version(v, false, text, size);
	for (p = buf; (part = strtok_r(p, ".", &save)) != NULL; p = NULL) {
		if (!text_to_int64(part, 0, 9999, &one))
			return bad_version(v, false, text, size);
		if (parts < 3)
			n[parts] = one;
		parts++;
	}
	if (parts < 2 || parts > 3 || (parts == 2 && n[0] < 10))
		return bad_version(v, true, text, size);
	a->req.postgres_version = parts == 2 ?
	    (int32_t)(n[0] * 10000 + n[1]) :
	    (int32_t)(n[0] * 10000 + n[1] * 100 + n[2]);
	(void)text_set(a->req.postgres_version_text,
	    sizeof(a->req.postgres_version_text), v);
	return 0;
}

static int
check_timeout(struct action *a, const struct tree *t, char *text, size_t size)
{
	char v[64];
	int64_t n;

	if (!scalar(t, v, sizeof(v)) || !value_int(v, "s", &n) || n <= 0 ||
	    n > INT32_MAX) {
		snprintf(text, size,
		    "Timeout should be a positive number of seconds");
		return 400;
	}
	a->req.timeout = (int32_t)n;
	return 0;
}

/* Keys in the order of the body, first error wins. */
static int
check_body(struct action *a, char *text, size_t size)
{
	const struct tree *t;
	int code = 0;
	uint32_t i;

	for (i = 0; code == 0 && i < tree_count(a->body); i++) {
		t = tree_child(a->body, i);
		if (strcmp(t->key, "schedule") == 0)
			code = check_schedule(a, t, text, size);
		else if (strcmp(t->key, "role") == 0)
			code = check_role(a, t, text, size);
		else if (strcmp(t->key, "postgres_version") == 0)
			code = check_version(a, t, text, size);
		else if (strcmp(t->key, "timeout") == 0)
			code = check_timeout(a, t, text, size);
		else if (strcmp(t->key, "restart_pending") == 0)
			a->req.restart_pending = 1; /* presence counts */
		else {
			snprintf(text, size,
			    "Unknown filter for the scheduled "
			    "restart: %.100s",
			    t->key);
			code = 400;
		}
	}
	return code;
}

static void
restart_go(struct action *a, const struct view *v)
{
	char text[TEXT_SIZE];
	bool scheduled;
	int64_t within;
	int code;

	scheduled = tree_get(a->body, "schedule") != NULL;
	if (scheduled && view_paused(v)) {
		action_text(
		    a, 500, "Can't schedule restart in the paused state");
		return;
	}
	a->req.timeout = -1;
	if ((code = check_body(a, text, sizeof(text))) != 0) {
		action_text(a, code, text);
		return;
	}
	a->req.kind = scheduled ? REQUEST_SCHEDULE_RESTART : REQUEST_RESTART;
	within = SHORT_NS;
	if (!scheduled)
		within = (int64_t)(a->req.timeout > 0 ? a->req.timeout :
							DEFAULT_TIMEOUT) *
			NS_PER_SEC +
		    STOP_ALLOWANCE_NS;
	/* The filters go along in the body's order, as they are published. */
	action_request(a, scheduled ? a->body : NULL, within,
	    "postgres is still starting");
}

void
action_restart_start(struct action *a, bool cancel)
{
	if (!cancel) {
		action_live(a, restart_go);
		return;
	}
	a->req.kind = REQUEST_CANCEL_RESTART;
	a->req.timeout = -1;
	action_request(a, NULL, SHORT_NS, "no reply from the HA loop");
}

void
action_restart(struct rest *r, struct httpd_request *q)
{
	struct action *a = action_new(r, q, false);

	if (a != NULL)
		action_restart_start(a, false);
}

void
action_restart_delete(struct rest *r, struct httpd_request *q)
{
	struct action *a = action_bare(r, q);

	if (a != NULL)
		action_restart_start(a, true);
}
