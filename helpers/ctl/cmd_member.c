/*
 * cmd_member.c: `reinit`, `reload` and `flush` (patronictl.md 11.5, 11.11,
 * 11.12).
 */
#include <stdlib.h>
#include <string.h>

#include "../json.h"
#include "rest.h"

#define POLL_SECONDS 2
#define POLL_TIMEOUT 5

static void
failed(const char *what, const char *member, const struct rest_answer *a)
{
	printf("Failed: %s for member %s, status code=%ld, (%s)\n", what,
	    member, a->status, a->body);
}

static void
unreachable(const char *member, const struct rest_answer *a)
{
	ctl_error("%s: %s", member, a->text);
}

/* ---- reload ---- */

static void
reload_one(struct ctl *ctl, struct store *store, const struct view *v,
    const struct target *t)
{
	struct rest_answer a;

	rest_target(ctl, store, t, "POST", "/reload", NULL, &a);
	if (a.status == 0)
		unreachable(t->name, &a);
	if (a.status == 200)
		printf("No changes to apply on member %s\n", t->name);
	else if (a.status == 202)
		printf("Reload request received for member %s and will be "
		       "processed within %d seconds\n",
		    t->name, fact_loop_wait(v));
	else
		failed("reload", t->name, &a);
	rest_free(&a);
}

int
cmd_reload(struct ctl *ctl, const struct parsed *p)
{
	const char *role = parsed_text(p, "--role");
	struct selection s = { .cluster = p->args[0],
		.action = "reload",
		.role = role != NULL ? role : "any",
		.confirm = true,
		.force = parsed_flag(p, "--force"),
		.names = p->args + 1,
		.nnames = p->nargs - 1 };
	struct targets t;
	struct store *store;
	struct view *v;
	uint32_t i;

	config_group(ctl, p, false);
	store = store_open(ctl, s.cluster);
	v = store_view(store);
	select_members(ctl, v, &s, &t);
	for (i = 0; i < t.n; i++)
		reload_one(ctl, store, v, &t.v[i]);
	view_free(v);
	return 0;
}

/* ---- reinit ---- */

static bool
in_progress(const char *body)
{
	static const char end[] = " already in progress";
	size_t len = strlen(body);

	return len >= sizeof(end) - 1 &&
	    strcmp(body + len - (sizeof(end) - 1), end) == 0;
}

/* True when the member began. */
static bool
reinit_one(struct ctl *ctl, struct store *store, const struct target *t,
    bool force, bool from_leader)
{
	struct rest_answer a;
	struct tree *body;
	bool again, ok, forced = force;

	do {
		if ((body = tree_map()) == NULL)
			ctl_error("out of memory");
		(void)tree_set(body, "force", tree_bool(forced));
		(void)tree_set(body, "from_leader", tree_bool(from_leader));
		rest_target(ctl, store, t, "POST", "/reinitialize", body, &a);
		tree_free(body);
		if (a.status == 0)
			unreachable(t->name, &a);
		ok = a.status < 400;
		if (ok)
			printf(
			    "Success: reinitialize for member %s\n", t->name);
		else
			failed("reinitialize", t->name, &a);
		again = !ok && !force && in_progress(a.body) &&
		    prompt_confirm("Do you want to cancel it and "
				   "reinitialize anyway?");
		forced = forced || again;
		rest_free(&a);
	} while (again);
	return ok;
}

/* An unreachable member is asked again: it may be restarting. */
static bool
is_complete(struct ctl *ctl, struct store *store, const struct target *t)
{
	struct rest_answer a;
	struct tree *doc = NULL;
	bool done = false;

	rest_get(ctl, store, t->m, POLL_TIMEOUT, &a);
	if (a.status != 0)
		doc = tree_from_json(a.body, a.len, NULL, 0);
	if (doc == NULL)
		log_warn("%s: %s", t->name,
		    a.status == 0 ? a.text : "not an answer of a member");
	else
		done = strcmp(tree_path_text(doc, "state", ""),
			   "creating replica") != 0;
	tree_free(doc);
	rest_free(&a);
	return done;
}

static void
wait_complete(struct ctl *ctl, struct store *store, struct targets *t)
{
	char names[NAMES_SIZE];
	uint32_t i, n, shown = 0;

	while (t->n > 0) {
		select_names(t, names, sizeof(names));
		if (t->n != shown)
			printf("Waiting for reinitialize to complete on: %s\n",
			    names);
		shown = t->n;
		progress("waiting for a copy of the leader on %s", names);
		wait_seconds(POLL_SECONDS);
		progress_end();
		for (i = n = 0; i < t->n; i++)
			if (is_complete(ctl, store, &t->v[i]))
				printf("Reinitialize is completed on: %s\n",
				    t->v[i].name);
			else
				t->v[n++] = t->v[i];
		t->n = n;
	}
}

int
cmd_reinit(struct ctl *ctl, const struct parsed *p)
{
	struct selection s = { .cluster = p->args[0],
		.action = "reinitialize",
		.role = "replica",
		.reinit = true,
		.confirm = true,
		.force = parsed_flag(p, "--force"),
		.names = p->args + 1,
		.nnames = p->nargs - 1 };
	struct targets t, begun;
	struct store *store;
	struct view *v;
	uint32_t i;

	config_group(ctl, p, false);
	store = store_open(ctl, s.cluster);
	v = store_view(store);
	select_members(ctl, v, &s, &t);
	begun.n = 0;
	for (i = 0; i < t.n; i++)
		if (reinit_one(ctl, store, &t.v[i], s.force,
			parsed_flag(p, "--from-leader")))
			begun.v[begun.n++] = t.v[i];
	if (parsed_flag(p, "--wait"))
		wait_complete(ctl, store, &begun);
	view_free(v);
	return 0;
}

/* ---- flush ---- */

static void
flush_restart(struct ctl *ctl, struct store *store, const struct target *t)
{
	struct rest_answer a;

	if (t->m == NULL || t->m->scheduled_restart == NULL) {
		printf("No scheduled restart for member %s\n", t->name);
		return;
	}
	rest_target(ctl, store, t, "DELETE", "/restart", NULL, &a);
	if (a.status == 0)
		unreachable(t->name, &a);
	if (a.status < 400)
		printf("Success: flush scheduled restart for member %s\n",
		    t->name);
	else
		failed("flush scheduled restart", t->name, &a);
	rest_free(&a);
}

static void
flush_restarts(struct ctl *ctl, struct store *store, const struct view *v,
    const struct parsed *p)
{
	const char *role = parsed_text(p, "--role");
	struct selection s = { .cluster = p->args[0],
		.action = "flush",
		.role = role != NULL ? role : "any",
		.confirm = true,
		.force = parsed_flag(p, "--force"),
		.names = p->args + 1,
		.nnames = p->nargs - 2 };
	struct targets t;
	uint32_t i;

	select_members(ctl, v, &s, &t);
	for (i = 0; i < t.n; i++)
		flush_restart(ctl, store, &t.v[i]);
}

/* The answer of one member; true when it is the final one. */
static bool
flush_at(struct ctl *ctl, struct store *store, const struct target *t)
{
	struct rest_answer a;
	bool final;

	rest_target(ctl, store, t, "DELETE", "/switchover", NULL, &a);
	final = a.status == 200 || a.status == 404;
	if (a.status == 0) {
		log_warn("%s", a.text);
		log_warn("Member %s is not accessible", t->name);
	} else if (a.status == 200)
		printf("Success: %s\n", a.body);
	else if (a.status == 404)
		printf("Failed: %s\n", a.body);
	else
		printf("Failed: member=%s, status_code=%ld, (%s)\n", t->name,
		    a.status, a.body);
	rest_free(&a);
	return final;
}

static void
flush_switchover(struct ctl *ctl, struct store *store, const struct view *v,
    const char *cluster)
{
	struct msg_dcs_failover f;
	struct targets t;
	char now[DATE_SIZE];
	uint32_t i;

	if (!v->failover_scheduled ||
	    (v->failover_leader[0] == '\0' && v->failover_member[0] == '\0')) {
		printf("No pending scheduled switchover\n");
		return;
	}
	select_leader_first(v, &t);
	for (i = 0; i < t.n; i++)
		if (flush_at(ctl, store, &t.v[i]))
			return;
	log_warn("Failing over to DCS");
	date_now5(now, sizeof(now));
	printf("%s Could not find any accessible member of cluster %s\n", now,
	    cluster);
	memset(&f, 0, sizeof(f));
	f.with_token = 1;
	f.token = v->failover_token;
	if (store_set_failover(store, &f) != OUTCOME_OK)
		log_warn("The failover key could not be emptied: %s",
		    store_error(store));
}

int
cmd_flush(struct ctl *ctl, const struct parsed *p)
{
	const char *what = p->args[p->nargs - 1];
	struct store *store;
	struct view *v;

	if (strcmp(what, "restart") != 0 && strcmp(what, "switchover") != 0)
		usage_error(p->command,
		    "Invalid value for "
		    "'{restart|switchover}': '%s' is not one of 'restart', "
		    "'switchover'.",
		    what);
	config_group(ctl, p, false);
	store = store_open(ctl, p->args[0]);
	v = store_view(store);
	if (strcmp(what, "restart") == 0)
		flush_restarts(ctl, store, v, p);
	else
		flush_switchover(ctl, store, v, p->args[0]);
	view_free(v);
	return 0;
}
