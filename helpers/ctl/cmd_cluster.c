/*
 * cmd_cluster.c: `pause`, `resume`, `demote-cluster`, `promote-cluster`,
 * `remove`, `history` and `dsn`: what concerns a cluster as a whole
 * (patronictl.md 11.1, 11.2, 11.6, 11.8, 11.9, 11.13).
 */
#include <stdlib.h>
#include <string.h>

#include "../../ipc/clock.h"
#include "rest.h"

/* ---- pause and resume ---- */

struct pause {
	struct ctl *ctl;
	struct store *store;
	const char *cluster;
	bool on;
	bool wait;
};

static const char *
state_word(const struct pause *q)
{
	return q->on ? "pause" : "resume";
}

static bool
waits_for(const struct view *before, const struct view_member *m,
    const struct pause *q)
{
	const struct view_member *old = view_member(before, m->name);

	return old != NULL && old->api_url[0] != '\0' &&
	    (m->pause != 0) != q->on;
}

static bool
recognized(
    const struct view *before, const struct view *now, const struct pause *q)
{
	uint32_t i;

	for (i = 0; i < now->nmembers; i++)
		if (waits_for(before, &now->members[i], q))
			return false;
	return true;
}

/* Nodes that refreshed their key since and still have the old flag. */
static bool
print_stubborn(
    const struct view *before, const struct view *now, const struct pause *q)
{
	uint32_t i, n = 0;

	for (i = 0; i < now->nmembers; i++) {
		const struct view_member *m = &now->members[i];

		if (waits_for(before, m, q) &&
		    view_member(before, m->name)->token != m->token)
			printf("%s%s", n++ > 0 ? ", " : "", m->name);
	}
	if (n > 0)
		printf(" members didn't recognized pause state after %d "
		       "seconds\n",
		    fact_loop_wait(before));
	return n > 0;
}

/* False when it was said who did not follow. */
static bool
wait_recognized(const struct view *before, const struct pause *q)
{
	int64_t end =
	    clock_boot_ns() + (fact_loop_wait(before) + 1) * NS_PER_SEC;
	struct view *now = NULL;
	bool done = false, ok;

	printf("'%s' request sent, waiting until it is recognized by all "
	       "nodes\n",
	    state_word(q));
	while (!done && clock_boot_ns() < end) {
		progress("waiting for the members' keys");
		wait_seconds(1);
		progress_end();
		view_free(now);
		now = store_view(q->store);
		done = recognized(before, now, q);
	}
	ok = done || now == NULL || !print_stubborn(before, now, q);
	view_free(now);
	return ok;
}

/* True when the member gave the final answer. */
static bool
pause_at(const struct pause *q, const struct view *v, const struct target *t)
{
	struct tree *body = tree_map();
	struct rest_answer a;

	(void)tree_set(body, "pause", q->on ? tree_bool(true) : tree_null());
	rest_target(q->ctl, q->store, t, "PATCH", "/config", body, &a);
	tree_free(body);
	if (a.status == 0) {
		log_warn("%s", a.text);
		log_warn("Member %s is not accessible", t->name);
	} else if (a.status != 200)
		printf("Failed: %s cluster management status code=%ld, (%s)\n",
		    state_word(q), a.status, a.body);
	else if (!q->wait || wait_recognized(v, q))
		printf("Success: cluster management is %s\n",
		    q->on ? "paused" : "resumed");
	rest_free(&a);
	return a.status != 0;
}

static int
set_pause(struct ctl *ctl, const struct parsed *p, bool on)
{
	struct pause q = { ctl, NULL, config_cluster(ctl, p), on,
		parsed_flag(p, "--wait") };
	struct targets t;
	struct view *v;
	uint32_t i;

	config_group(ctl, p, true);
	q.store = store_open(ctl, q.cluster);
	v = store_view(q.store);
	if (view_paused(v) == on)
		ctl_error("Cluster is %s paused", on ? "already" : "not");
	select_leader_first(v, &t);
	for (i = 0; i < t.n; i++)
		if (pause_at(&q, v, &t.v[i])) {
			view_free(v);
			return 0;
		}
	ctl_error("Can not find accessible cluster member");
}

int
cmd_pause(struct ctl *ctl, const struct parsed *p)
{
	return set_pause(ctl, p, true);
}

int
cmd_resume(struct ctl *ctl, const struct parsed *p)
{
	return set_pause(ctl, p, false);
}

/* ---- demote-cluster and promote-cluster ---- */

struct role_change {
	struct ctl *ctl;
	struct store *store;
	const char *cluster;
	bool demote;
	char leader[NAME_SIZE]; /* at the start */
};

static bool
is_primary(const char *role)
{
	return strcmp(role, "primary") == 0 || strcmp(role, "master") == 0;
}

static const char *
or_none(const char *text)
{
	return text[0] != '\0' ? text : "None";
}

static bool
changed(const struct role_change *c, const struct view *v)
{
	const struct view_member *m = view_member(v, v->leader);
	const struct view_member *old = view_member(v, c->leader);
	const char *role = m != NULL ? m->role : "";
	const char *state = m != NULL ? m->state : "";
	char now[DATE_SIZE];

	if (v->leader[0] != '\0' && strcmp(state, "running") == 0 &&
	    (c->demote ? strcmp(role, "standby_leader") == 0 && old != NULL &&
			strcmp(old->state, "running") == 0 :
			 is_primary(role)))
		return true;
	date_now(now, sizeof(now));
	printf("%s cluster is unlocked: %s, leader role: %s, leader state: %s",
	    now, v->leader[0] == '\0' ? "True" : "False", or_none(role),
	    or_none(state));
	if (c->demote && old != NULL && old->state[0] != '\0' &&
	    strcmp(v->leader, c->leader) != 0)
		printf(", previous leader state: '%s'", old->state);
	putchar('\n');
	return false;
}

static void
wait_changed(const struct role_change *c)
{
	struct view *v = store_view(c->store);
	char now[DATE_SIZE];

	while (!changed(c, v)) {
		progress("waiting for the new role of the cluster");
		wait_seconds(1);
		progress_end();
		view_free(v);
		v = store_view(c->store);
	}
	date_now(now, sizeof(now));
	printf("%s cluster is successfully %s\n", now,
	    c->demote ? "demoted" : "promoted");
	members_table(c->ctl, v, c->cluster);
	view_free(v);
}

static void
patch_config(
    const struct role_change *c, const struct view *v, struct tree *standby)
{
	struct target t = { v->leader, view_member(v, v->leader) };
	struct tree *body = tree_map();
	const char *verb = c->demote ? "demote" : "promote";
	struct rest_answer a;

	(void)tree_set(body, "standby_cluster", standby);
	rest_target(c->ctl, c->store, &t, "PATCH", "/config", body, &a);
	tree_free(body);
	if (a.status == 0)
		ctl_error(
		    "Failed to %s %s cluster: %s", verb, c->cluster, a.text);
	if (a.status != 200)
		ctl_error("Failed to %s %s cluster: Failed to %s %s cluster: "
			  "/config PATCH status code=%ld, (%s)",
		    verb, c->cluster, verb, c->cluster, a.status, a.body);
	rest_free(&a);
}

static int
change_role(
    struct ctl *ctl, const struct parsed *p, bool demote, struct tree *standby)
{
	struct role_change c = { ctl, NULL, config_cluster(ctl, p), demote,
		"" };
	const char *noun = demote ? "demotion" : "promotion";
	const struct view_member *leader;
	struct view *v;

	c.store = store_open(ctl, c.cluster);
	v = store_view(c.store);
	if (v->leader[0] == '\0')
		ctl_error("Cluster has no leader, %s is not possible", noun);
	leader = view_member(v, v->leader);
	if (leader != NULL &&
	    (demote ? strcmp(leader->role, "standby_leader") == 0 :
		      is_primary(leader->role)))
		ctl_error("Cluster is already in the required state");
	(void)text_set(c.leader, sizeof(c.leader), v->leader);
	printf("Current cluster topology\n");
	members_table(ctl, v, c.cluster);
	if (!parsed_flag(p, "--force") &&
	    !prompt_confirm("Are you sure you want to %s %s cluster?",
		demote ? "demote" : "promote", c.cluster))
		ctl_error("Aborted cluster %s", noun);
	patch_config(&c, v, standby);
	view_free(v);
	wait_changed(&c);
	return 0;
}

int
cmd_demote_cluster(struct ctl *ctl, const struct parsed *p)
{
	const char *host = parsed_text(p, "--host");
	const char *slot = parsed_text(p, "--primary-slot-name");
	const char *command = parsed_text(p, "--restore-command");
	int64_t port = parsed_option(p, "--port")->integer;
	struct tree *s = tree_map();

	if ((host == NULL || host[0] == '\0') && port == 0 &&
	    (command == NULL || command[0] == '\0'))
		ctl_error("At least --host, --port or --restore-command should "
			  "be specified");
	if (host != NULL && host[0] != '\0')
		(void)tree_set(s, "host", tree_text(host));
	if (port != 0)
		(void)tree_set(s, "port", tree_int(port));
	if (slot != NULL && slot[0] != '\0')
		(void)tree_set(s, "primary_slot_name", tree_text(slot));
	if (command != NULL && command[0] != '\0')
		(void)tree_set(s, "restore_command", tree_text(command));
	return change_role(ctl, p, true, s);
}

int
cmd_promote_cluster(struct ctl *ctl, const struct parsed *p)
{
	return change_role(ctl, p, false, tree_null());
}

/* ---- remove ---- */

int
cmd_remove(struct ctl *ctl, const struct parsed *p)
{
	const char *cluster = p->args[0];
	struct store *store;
	struct view *v;
	const char *answer;

	config_group(ctl, p, false);
	if (config_citus(ctl) && ctl->group < 0)
		ctl_error("For Citus clusters the --group must me specified");
	store = store_open(ctl, cluster);
	v = store_view(store);
	members_print(ctl, v, cluster, table_format(parsed_text(p, "--format")),
	    false, stdout);
	answer = prompt_text(NULL, "Please confirm the cluster name to remove");
	if (strcmp(answer, cluster) != 0)
		ctl_error("Cluster names specified do not match");
	answer = prompt_text(NULL,
	    "You are about to remove all information "
	    "in DCS for %s, please type: \"Yes I am aware\"",
	    cluster);
	if (strcmp(answer, "Yes I am aware") != 0)
		ctl_error("You did not exactly type \"Yes I am aware\"");
	if (v->leader[0] != '\0') {
		answer = prompt_text(NULL,
		    "This cluster currently is healthy. "
		    "Please specify the leader name to continue");
		if (strcmp(answer, v->leader) != 0)
			ctl_error("You did not specify the current leader of "
				  "the cluster");
	}
	if (store_remove(store) != OUTCOME_OK)
		log_error("Failed to remove cluster %s: %s", cluster,
		    store_error(store));
	view_free(v);
	return 0;
}

/* ---- history ---- */

void
history_print(const struct view *v, enum table_format fmt, FILE *f)
{
	struct table t;
	uint32_t i;

	table_init(&t);
	table_column(&t, "TL", NULL, true);
	table_column(&t, "LSN", NULL, true);
	table_column(&t, "Reason", NULL, false);
	table_column(&t, "Timestamp", NULL, false);
	table_column(&t, "New Leader", NULL, false);
	for (i = 0; i < v->nhistory; i++) {
		const struct view_history *h = &v->history[i];
		struct tree *row;

		if (h->elements == 0)
			continue; /* not a line of a history */
		row = table_row(&t);
		(void)tree_append(row, tree_int(h->timeline));
		(void)tree_append(row,
		    h->elements > 1 ? tree_int((int64_t)h->lsn) :
				      tree_text(""));
		(void)tree_append(row, tree_text(h->reason));
		(void)tree_append(row, tree_text(h->timestamp));
		(void)tree_append(row, tree_text(h->new_leader));
	}
	table_print(&t, fmt, f);
	table_free(&t);
}

int
cmd_history(struct ctl *ctl, const struct parsed *p)
{
	const char *cluster = config_cluster(ctl, p);
	struct view *v;

	config_group(ctl, p, true);
	v = store_view(store_open(ctl, cluster));
	history_print(v, table_format(parsed_text(p, "--format")), stdout);
	view_free(v);
	return 0;
}

/* ---- dsn ---- */

const struct view_member *
dsn_member(const struct ctl *ctl, const struct parsed *p, const struct view *v)
{
	const char *role = parsed_text(p, "--role");
	const char *member = parsed_text(p, "--member");
	const struct target *one;
	struct targets t;

	if (role != NULL && member != NULL)
		ctl_error("--role and --member are mutually exclusive options");
	if (member != NULL) {
		select_role(ctl, v, "any", &t);
		one = select_has(&t, member);
		return one != NULL ? one->m : NULL;
	}
	select_role(ctl, v, role != NULL ? role : "leader", &t);
	return t.n > 0 ? t.v[0].m : NULL;
}

int
cmd_dsn(struct ctl *ctl, const struct parsed *p)
{
	const char *cluster = config_cluster(ctl, p);
	const struct view_member *m;
	char host[URL_SIZE];
	struct view *v;
	int port;

	config_group(ctl, p, false);
	v = store_view(store_open(ctl, cluster));
	if ((m = dsn_member(ctl, p, v)) == NULL)
		ctl_error("Can not find a suitable member");
	(void)view_member_address(m, host, sizeof(host), &port);
	if (host[0] == '\0')
		ctl_error("Can not find a suitable member");
	printf("host=%s port=%d\n", host, port);
	view_free(v);
	return 0;
}
