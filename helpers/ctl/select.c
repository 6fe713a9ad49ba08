/*
 * select.c: roles, and which members a command means (patronictl.md 7).
 */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static void
add(struct targets *t, const char *name, const struct view_member *m)
{
	if (t->n == sizeof(t->v) / sizeof(t->v[0]))
		ctl_error("too many members");
	t->v[t->n].name = name;
	t->v[t->n++].m = m;
}

static bool
is_leader(const struct view *v, const char *name)
{
	return v->leader[0] != '\0' && strcmp(v->leader, name) == 0;
}

/* The owner of the leader key, with or without a member of that name. */
static void
add_leader(const struct view *v, const char *role, struct targets *t)
{
	const struct view_member *m = view_member(v, v->leader);
	const char *is = m != NULL ? m->role : "";

	if (v->leader[0] == '\0')
		return;
	if (strcmp(role, "primary") == 0 && strcmp(is, "standby_leader") == 0)
		return;
	if (strcmp(role, "standby-leader") == 0 &&
	    (strcmp(is, "primary") == 0 || strcmp(is, "master") == 0))
		return;
	add(t, v->leader, m);
}

static void
add_role(const struct view *v, const char *role, struct targets *t)
{
	bool any = strcmp(role, "any") == 0;
	uint32_t i;

	if (!any && strcmp(role, "replica") != 0 &&
	    strcmp(role, "standby") != 0) {
		add_leader(v, role, t);
		return;
	}
	for (i = 0; i < v->nmembers; i++)
		if (any || !is_leader(v, v->members[i].name))
			add(t, v->members[i].name, &v->members[i]);
}

void
select_role(const struct ctl *ctl, const struct view *v, const char *role,
    struct targets *t)
{
	uint32_t i;

	t->n = 0;
	add_role(v, role, t);
	for (i = 0; i < ctl->nworkers; i++)
		add_role(ctl->workers[i].view, role, t);
}

const struct target *
select_has(const struct targets *t, const char *name)
{
	uint32_t i;

	for (i = 0; i < t->n; i++)
		if (strcmp(t->v[i].name, name) == 0)
			return &t->v[i];
	return NULL;
}

void
select_names(const struct targets *t, char *buf, size_t size)
{
	size_t used = 0;
	uint32_t i;

	buf[0] = '\0';
	for (i = 0; i < t->n && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s",
		    i > 0 ? ", " : "", t->v[i].name);
}

void
select_leader_first(const struct view *v, struct targets *t)
{
	const struct view_member *leader = view_member(v, v->leader);
	uint32_t i;

	t->n = 0;
	if (leader != NULL && leader->api_url[0] != '\0')
		add(t, leader->name, leader);
	for (i = 0; i < v->nmembers; i++)
		if (&v->members[i] != leader &&
		    v->members[i].api_url[0] != '\0')
			add(t, v->members[i].name, &v->members[i]);
}

/* ---- the members that a command is for (7.2) ---- */

static bool
named(const struct selection *s, const char *name)
{
	int i;

	for (i = 0; i < s->nnames; i++)
		if (strcmp(s->names[i], name) == 0)
			return true;
	return false;
}

static void
keep_named(const struct selection *s, struct targets *t)
{
	uint32_t i, n = 0;

	for (i = 0; i < t->n; i++)
		if (named(s, t->v[i].name))
			t->v[n++] = t->v[i];
	t->n = n;
	if (n > 0)
		return;
	if (s->reinit)
		ctl_error("No %s among provided members", s->role);
	ctl_error("No '%s' among provided members", s->role);
}

static void
ask_for_one(const struct selection *s, struct targets *t)
{
	char names[NAMES_SIZE];
	const struct target *one;
	const char *name;

	if (s->force) {
		t->n = 0; /* without names nothing is forced */
		return;
	}
	select_names(t, names, sizeof(names));
	name = prompt_text(
	    "", "Which member do you want to %s [%s]?", s->action, names);
	if ((one = select_has(t, name)) == NULL)
		ctl_error("%s is not a member of cluster", name);
	t->v[0] = *one;
	t->n = 1;
}

void
select_members(const struct ctl *ctl, const struct view *v,
    const struct selection *s, struct targets *t)
{
	char names[NAMES_SIZE];

	select_role(ctl, v, s->role, t);
	if (s->nnames == 0 && t->n == 0)
		ctl_error("%s cluster doesn't have any members", s->cluster);
	members_table(ctl, v, s->cluster);
	if (s->nnames > 0)
		keep_named(s, t);
	else if (s->reinit)
		ask_for_one(s, t);
	if (!s->confirm || s->force)
		return;
	select_names(t, names, sizeof(names));
	if (!prompt_confirm(
		"Are you sure you want to %s members %s?", s->action, names))
		ctl_error("Aborted %s", s->action);
}
