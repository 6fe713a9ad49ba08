/*
 * local_act.c: `local restart`, `reinit`, `switchover`, `failover` and
 * `flush`: what the REST API does for others, for those who may use the
 * control socket.
 */
#include <stdlib.h>
#include <string.h>

#include "local.h"

#define SHORT_SECONDS 10
#define ACTION_SECONDS 3600

static const char *
node_name(const struct ctl *ctl)
{
	const char *name = tree_path_text(ctl->conf->effective, "name", "");

	return name[0] != '\0' ? name : "this node";
}

static void
confirm(const struct ctl *ctl, const struct parsed *p, const char *action)
{
	if (!parsed_flag(p, "--force") &&
	    !prompt_confirm(
		"Are you sure you want to %s %s?", action, node_name(ctl)))
		ctl_error("Aborted %s", p->args[0]);
}

/* Send the request and say how it ended: 0, or 1 when it was refused. */
static int
perform(const struct ctl *ctl, const struct parsed *p,
    const struct msg_ctl_query *q, struct tree *body, const char *what,
    int seconds)
{
	struct msg_ctl_reply r;

	progress("waiting for %s of %s", what, node_name(ctl));
	tree_free(local_ask(ctl, p, q, body, seconds, &r));
	tree_free(body);
	progress_end();
	if (r.code < 400) {
		printf("Success: %s on member %s%s%s\n", what, node_name(ctl),
		    r.text[0] != '\0' ? ": " : "", r.text);
		return 0;
	}
	printf("Failed: %s for member %s, status code=%u, (%s)\n", what,
	    node_name(ctl), r.code, r.text);
	return 1;
}

/* What the REST API does, with the body that the request would have. */
static int
act(const struct ctl *ctl, const struct parsed *p, enum api_action kind,
    struct tree *body, const char *what)
{
	struct msg_ctl_query q;

	local_query(&q, CTL_ACTION);
	q.action.kind = kind;
	return perform(ctl, p, &q, body, what, ACTION_SECONDS);
}

static struct tree *
new_body(void)
{
	struct tree *body = tree_map();

	if (body == NULL)
		ctl_error("out of memory");
	return body;
}

static void
put(struct tree *body, const char *key, const char *text)
{
	if (text != NULL && !tree_set(body, key, tree_text(text)))
		ctl_error("out of memory");
}

/* --scheduled as the API wants it; NULL: now. */
static const char *
when(const struct parsed *p, char *iso, size_t size)
{
	const char *text = parsed_text(p, "--scheduled");

	if (text == NULL)
		return NULL;
	if (!date_parse(text, iso, size))
		ctl_error("Unable to parse scheduled timestamp (%s). It should "
			  "be in an unambiguous format (e.g. ISO 8601)",
		    text);
	return iso[0] != '\0' ? iso : NULL;
}

/* ---- restart ---- */

static int
conditional_restart(
    const struct ctl *ctl, const struct parsed *p, const char *at)
{
	const struct opt_value *timeout = parsed_option(p, "--timeout");
	struct tree *body = new_body();

	if (parsed_flag(p, "--pending"))
		(void)tree_set(body, "restart_pending", tree_bool(true));
	put(body, "postgres_version", parsed_text(p, "--pg-version"));
	put(body, "schedule", at);
	if (timeout->set)
		(void)tree_set(body, "timeout", tree_int(timeout->integer));
	return act(ctl, p, API_RESTART, body,
	    at != NULL ? "scheduled restart" : "restart");
}

/* A plain restart goes to the controller at once: it needs no store. */
int
local_restart(struct ctl *ctl, const struct parsed *p)
{
	const struct opt_value *timeout = parsed_option(p, "--timeout");
	char iso[DATE_SIZE];
	const char *at = when(p, iso, sizeof(iso));
	struct msg_ctl_query q;

	if (timeout->set &&
	    (timeout->integer < 1 || timeout->integer > INT32_MAX))
		ctl_error("--timeout must be a positive number of seconds");
	confirm(ctl, p, at != NULL ? "schedule a restart of" : "restart");
	if (at != NULL || parsed_text(p, "--pg-version") != NULL)
		return conditional_restart(ctl, p, at);
	local_query(&q, CTL_REQUEST);
	q.request.kind = REQUEST_RESTART;
	q.request.restart_pending = parsed_flag(p, "--pending");
	if (timeout->set)
		q.request.timeout = (int32_t)timeout->integer;
	return perform(ctl, p, &q, NULL, "restart", ACTION_SECONDS);
}

int
local_reinit(struct ctl *ctl, const struct parsed *p)
{
	struct msg_ctl_query q;

	confirm(ctl, p, "reinitialize");
	local_query(&q, CTL_REQUEST);
	q.request.kind = REQUEST_REINITIALIZE;
	q.request.force = parsed_flag(p, "--force");
	q.request.from_leader = parsed_flag(p, "--from-leader");
	return perform(ctl, p, &q, NULL, "reinitialize", SHORT_SECONDS);
}

/* ---- switchover, failover, flush ---- */

/* The daemon judges and waits; it says which node leads then. */
int
local_switchover(struct ctl *ctl, const struct parsed *p, bool failover)
{
	const char *what = failover ? "failover" : "switchover";
	const char *candidate = parsed_text(p, "--candidate");
	struct tree *body = new_body();
	char iso[DATE_SIZE];
	const char *at = when(p, iso, sizeof(iso));

	if (failover && candidate == NULL)
		ctl_error("Failover could be performed only to a specific "
			  "candidate");
	confirm(ctl, p, failover ? "fail over from" : "switch over from");
	put(body, "candidate", candidate);
	put(body, "scheduled_at", at);
	return act(
	    ctl, p, failover ? API_FAILOVER : API_SWITCHOVER, body, what);
}

int
local_flush(struct ctl *ctl, const struct parsed *p)
{
	const char *what = p->nargs == 2 ? p->args[1] : "";

	if (strcmp(what, "restart") == 0) {
		confirm(ctl, p, "flush the scheduled restart of");
		return act(ctl, p, API_CANCEL_RESTART, NULL,
		    "flush scheduled restart");
	}
	if (strcmp(what, "switchover") != 0)
		ctl_error("flush needs one of restart, switchover");
	return act(
	    ctl, p, API_CANCEL_SWITCHOVER, NULL, "flush scheduled switchover");
}
