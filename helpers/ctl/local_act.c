/*
 * local_act.c: `local restart`, `local reinit` and `local switchover`: what
 * the REST API does for others, for those who may use the control socket.
 */
#include <stdlib.h>
#include <string.h>

#include "local.h"

#define SHORT_SECONDS 10
#define ACTION_SECONDS 3600
#define POLL_SECONDS 1
#define POLL_ROUNDS 120

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
		ctl_error("Aborted %s", action);
}

/* Send the request and say how it ended: 0, or 1 when it was refused. */
static int
perform(const struct ctl *ctl, const struct parsed *p,
    const struct msg_ctl_query *q, const char *what, int seconds)
{
	struct msg_ctl_reply r;

	progress("waiting for %s of %s", what, node_name(ctl));
	tree_free(local_ask(ctl, p, q, seconds, &r));
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

int
local_restart(struct ctl *ctl, const struct parsed *p)
{
	const struct opt_value *timeout = parsed_option(p, "--timeout");
	struct msg_ctl_query q;

	if (timeout->set && timeout->integer < 1)
		ctl_error("--timeout must be a positive number of seconds");
	confirm(ctl, p, "restart");
	local_query(&q, CTL_REQUEST);
	q.request.kind = REQUEST_RESTART;
	q.request.restart_pending = parsed_flag(p, "--pending");
	if (timeout->set)
		q.request.timeout = (int32_t)timeout->integer;
	return perform(ctl, p, &q, "restart", ACTION_SECONDS);
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
	return perform(ctl, p, &q, "reinitialize", SHORT_SECONDS);
}

/* ---- switchover ---- */

/* The key that nodes act on, and a cycle of this one at once.  Whether the
 * candidate is fit is for the nodes to judge. */
static void
request_switchover(const struct ctl *ctl, const struct parsed *p,
    struct store *store, const char *candidate)
{
	struct msg_dcs_failover f;
	struct msg_ctl_query q;
	struct msg_ctl_reply r;

	memset(&f, 0, sizeof(f));
	(void)text_set(f.leader, sizeof(f.leader), node_name(ctl));
	if (!text_set(f.member, sizeof(f.member), candidate))
		ctl_error("candidate name too long");
	if (store_set_failover(store, &f) != OUTCOME_OK)
		ctl_error("The failover key could not be written: %s",
		    store_error(store));
	local_query(&q, CTL_REQUEST);
	q.request.kind = REQUEST_WAKE;
	tree_free(local_ask(ctl, p, &q, SHORT_SECONDS, &r));
}

/* Until another node leads, or the key is gone without it. */
static int
wait_switchover(const struct ctl *ctl, struct store *store)
{
	const char *me = node_name(ctl);
	struct view *v;
	int i;

	for (i = 0; i < POLL_ROUNDS; i++) {
		progress("waiting for another leader than %s (%d s)", me,
		    i * POLL_SECONDS);
		wait_seconds(POLL_SECONDS);
		progress_end();
		v = store_view(store);
		if (v->leader[0] != '\0' && strcmp(v->leader, me) != 0) {
			printf("Success: %s leads now\n", v->leader);
			view_free(v);
			return 0;
		}
		if (v->leader[0] != '\0' && v->failover_leader[0] == '\0') {
			printf("Failed: %s goes on leading; see the log and "
			       "`patronictl local journal`\n",
			    me);
			view_free(v);
			return 1;
		}
		view_free(v);
	}
	printf("Failed: no other node leads after %d seconds\n",
	    POLL_ROUNDS * POLL_SECONDS);
	return 1;
}

int
local_switchover(struct ctl *ctl, const struct parsed *p)
{
	const char *candidate = parsed_text(p, "--candidate");
	const char *scope = config_scope(ctl);
	struct msg_ctl_query q;
	struct msg_ctl_reply r;
	struct store *store;
	struct view *v;

	/* who may not use the socket may not do this either */
	local_query(&q, CTL_PROCESSES);
	tree_free(local_ask(ctl, p, &q, SHORT_SECONDS, &r));
	if (r.code != 200)
		ctl_error("%s (status %u)", r.text, r.code);
	if (scope == NULL || scope[0] == '\0')
		ctl_error("cluster name is required");
	store = store_open(ctl, scope);
	v = store_view(store);
	if (strcmp(v->leader, node_name(ctl)) != 0)
		ctl_error("Member %s is not the leader of cluster %s",
		    node_name(ctl), scope);
	view_free(v);
	confirm(ctl, p, "switchover");
	request_switchover(ctl, p, store, candidate != NULL ? candidate : "");
	return wait_switchover(ctl, store);
}
