/*
 * cmd_switch.c: `switchover` and `failover` (patronictl.md 11.4).
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "rest.h"

struct plan {
	struct ctl *ctl;
	const struct parsed *p;
	const char *cluster;
	bool failover;
	bool force;
	struct store *store;
	struct view *view;
	const char *leader;    /* S */
	const char *candidate; /* NULL: not given, "": none */
	char at[DATE_SIZE];    /* "" = now */
};

static const char *
action(const struct plan *pl)
{
	return pl->failover ? "failover" : "switchover";
}

/* ---- questions ---- */

static void
choose_group(struct plan *pl)
{
	if (pl->ctl->group >= 0 || !config_citus(pl->ctl))
		return;
	if (pl->force)
		ctl_error("For Citus clusters the --group must me specified");
	pl->ctl->group = prompt_integer("Citus group");
	view_free(pl->view);
	pl->store = store_open(pl->ctl, pl->cluster);
	pl->view = store_view(pl->store);
}

static void
choose_leader(struct plan *pl, const char *given)
{
	const char *now = pl->view->leader;

	if (now[0] == '\0')
		ctl_error("This cluster has no leader");
	pl->leader = given;
	if (given == NULL && pl->force)
		pl->leader = now;
	else if (given == NULL)
		pl->leader = prompt_text(now, "%s",
		    view_standby_cluster(pl->view) ? "Standby Leader" :
						     "Primary");
	if (strcmp(pl->leader, now) != 0)
		ctl_error("Member %s is not the leader of cluster %s",
		    pl->leader, pl->cluster);
}

static int
by_name(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void
find_candidates(const struct plan *pl, struct targets *t)
{
	uint32_t i, n = 0;

	select_role(pl->ctl, pl->view, "replica", t);
	for (i = 0; i < t->n; i++)
		if (!t->v[i].m->tags.nofailover)
			t->v[n++] = t->v[i];
	t->n = n;
	qsort(t->v, t->n, sizeof(t->v[0]), by_name);
	if (n == 0)
		ctl_error("No candidates found to %s to", action(pl));
}

/* Candidate ['db2', 'db3'] []: */
static const char *
ask_candidate(const struct targets *t)
{
	char list[NAMES_SIZE];
	size_t used = 0;
	uint32_t i;

	for (i = 0; i < t->n && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used,
		    "%s'%s'", i > 0 ? ", " : "", t->v[i].name);
	return prompt_text("", "Candidate [%s]", list);
}

static void
choose_candidate(struct plan *pl)
{
	struct targets t;

	find_candidates(pl, &t);
	pl->candidate = parsed_text(pl->p, "--candidate");
	if (pl->candidate == NULL && !pl->force)
		pl->candidate = ask_candidate(&t);
	if (pl->candidate == NULL || pl->candidate[0] == '\0') {
		if (pl->failover)
			ctl_error("Failover could be performed only to a "
				  "specific candidate");
		return;
	}
	if (strcmp(pl->candidate, pl->view->leader) == 0)
		ctl_error("Member %s is already the leader of cluster %s",
		    pl->candidate, pl->cluster);
	if (select_has(&t, pl->candidate) == NULL)
		ctl_error("Member %s does not exist in cluster %s or is "
			  "tagged as nofailover",
		    pl->candidate, pl->cluster);
}

/* Failover to a node that may lack commits needs a word of its own. */
static void
confirm_asynchronous(const struct plan *pl)
{
	const struct view *v = pl->view;
	bool quorum;
	uint32_t i;

	if (pl->force || !view_synchronous(v, &quorum) ||
	    v->sync_leader[0] == '\0' ||
	    strcasecmp(v->sync_leader, pl->candidate) == 0)
		return;
	for (i = 0; i < v->nsync_standby; i++)
		if (strcasecmp(v->sync_standby[i], pl->candidate) == 0)
			return;
	if (!prompt_confirm("Are you sure you want to failover to the "
			    "asynchronous node %s?",
		pl->candidate))
		ctl_error("Aborting failover");
}

static void
choose_time(struct plan *pl)
{
	const char *text = parsed_text(pl->p, "--scheduled");
	char example[DATE_SIZE];

	if (text == NULL && pl->force)
		return;
	if (text == NULL) {
		date_example(example, sizeof(example));
		text = prompt_text("now",
		    "When should the switchover "
		    "take place (e.g. %s ) ",
		    example);
	}
	if (!date_parse(text, pl->at, sizeof(pl->at)))
		ctl_error("Unable to parse scheduled timestamp (%s). It should "
			  "be in an unambiguous format (e.g. ISO 8601)",
		    text);
	if (pl->at[0] != '\0' && view_paused(pl->view))
		ctl_error("Can't schedule switchover in the paused state");
}

static void
confirm(const struct plan *pl)
{
	const char *leader = pl->view->leader;
	const char *demoting =
	    leader[0] != '\0' ? ", demoting current leader " : "";

	if (pl->force)
		return;
	if (pl->at[0] != '\0') {
		if (!prompt_confirm("Are you sure you want to schedule "
				    "switchover of cluster %s at %s%s%s?",
			pl->cluster, pl->at, demoting, leader))
			ctl_error("Aborting scheduled switchover");
	} else if (!prompt_confirm("Are you sure you want to %s cluster "
				   "%s%s%s?",
		       action(pl), pl->cluster, demoting, leader))
		ctl_error("Aborting %s", action(pl));
}

/* ---- doing it ---- */

static void
through_store(struct plan *pl)
{
	struct msg_dcs_failover f;
	char now[DATE_SIZE];

	log_warn("Failing over to DCS");
	date_now5(now, sizeof(now));
	printf("%s Could not %s using Patroni api, falling back to DCS\n", now,
	    action(pl));
	memset(&f, 0, sizeof(f));
	if (!pl->failover)
		(void)text_set(f.leader, sizeof(f.leader), pl->leader);
	if (pl->candidate != NULL)
		(void)text_set(f.member, sizeof(f.member), pl->candidate);
	(void)text_set(f.scheduled_at, sizeof(f.scheduled_at), pl->at);
	if (store_set_failover(pl->store, &f) != OUTCOME_OK)
		log_error("Failed to write the failover key: %s",
		    store_error(pl->store));
	members_table(pl->ctl, pl->view, pl->cluster);
}

static bool
contains(const char *text, const char *word)
{
	return strcasestr(text, word) != NULL;
}

static void
report(struct plan *pl, const struct rest_answer *a)
{
	const char *name = pl->failover ? "Failover" : "Switchover";
	char now[DATE_SIZE];
	struct view *v;

	if (a->status != 200 && a->status != 202) {
		printf("%s %s, details: %ld, %s\n", name,
		    contains(a->body, "status unknown") ? "result unknown" :
							  "failed",
		    a->status, a->body);
		return;
	}
	date_now5(now, sizeof(now));
	printf("%s %s\n", now, a->body);
	v = store_view(pl->store);
	members_table(pl->ctl, v, pl->cluster);
	view_free(v);
}

static void
request(struct plan *pl)
{
	const char *to =
	    pl->view->leader[0] != '\0' ? pl->view->leader : pl->candidate;
	struct target t = { to, view_member(pl->view, to) };
	struct tree *body = tree_map();
	struct rest_answer a;

	(void)tree_set(body, "candidate",
	    pl->candidate != NULL ? tree_text(pl->candidate) : tree_null());
	if (!pl->failover) {
		(void)tree_set(body, "leader", tree_text(pl->leader));
		if (pl->at[0] != '\0')
			(void)tree_set(body, "scheduled_at", tree_text(pl->at));
	}
	rest_target(pl->ctl, pl->store, &t, "POST",
	    pl->failover ? "/failover" : "/switchover", body, &a);
	if (!pl->failover && a.status == 501 &&
	    contains(a.body, "Server does not support this operation")) {
		rest_free(&a);
		rest_target(
		    pl->ctl, pl->store, &t, "POST", "/failover", body, &a);
	}
	if (a.status == 0) {
		log_error("%s: %s", to, a.text);
		through_store(pl);
	} else
		report(pl, &a);
	rest_free(&a);
	tree_free(body);
}

static int
run(struct ctl *ctl, const struct parsed *p, bool failover, const char *leader)
{
	struct plan pl;

	memset(&pl, 0, sizeof(pl));
	pl.ctl = ctl;
	pl.p = p;
	pl.cluster = config_cluster(ctl, p);
	pl.failover = failover;
	pl.force = parsed_flag(p, "--force");
	config_group(ctl, p, false);
	pl.store = store_open(ctl, pl.cluster);
	pl.view = store_view(pl.store);
	printf("Current cluster topology\n");
	members_table(ctl, pl.view, pl.cluster);
	choose_group(&pl);
	if (!failover)
		choose_leader(&pl, leader);
	choose_candidate(&pl);
	if (failover)
		confirm_asynchronous(&pl);
	else if (p->command->run == cmd_switchover)
		choose_time(&pl);
	confirm(&pl);
	request(&pl);
	view_free(pl.view);
	return 0;
}

static const char *
old_leader(const struct parsed *p)
{
	const char *name = parsed_text(p, "--leader");

	return name != NULL ? name : parsed_text(p, "--master");
}

int
cmd_switchover(struct ctl *ctl, const struct parsed *p)
{
	return run(ctl, p, false, old_leader(p));
}

int
cmd_failover(struct ctl *ctl, const struct parsed *p)
{
	const char *leader = old_leader(p);

	if (leader == NULL)
		return run(ctl, p, true, NULL);
	/* until 3.x that was a switchover */
	log_warn("failover with the name of the leader is a switchover: use "
		 "the switchover command");
	return run(ctl, p, false, leader);
}
