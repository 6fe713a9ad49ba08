/*
 * cmd_restart.c: `restart` (patronictl.md 11.14).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "rest.h"

struct plan {
	struct ctl *ctl;
	const struct parsed *p;
	const char *cluster;
	bool force;
	struct store *store;
	struct view *view;
	struct targets t;
	char at[DATE_SIZE];  /* "" = now */
	const char *version; /* "" = any */
};

/* ---- questions ---- */

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
		    "When should the restart take place "
		    "(e.g. %s) ",
		    example);
	}
	if (!date_parse(text, pl->at, sizeof(pl->at)))
		ctl_error("Unable to parse scheduled timestamp (%s). It should "
			  "be in an unambiguous format (e.g. ISO 8601)",
		    text);
}

static void
keep_pending(struct targets *t)
{
	uint32_t i, n = 0;

	for (i = 0; i < t->n; i++)
		if (t->v[i].m != NULL && t->v[i].m->pending_restart)
			t->v[n++] = t->v[i];
	t->n = n;
}

static void
keep_any(struct targets *t)
{
	uint32_t n = 0;

	if (t->n < 2)
		return;
	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
		n = 0; /* any one will do */
	t->v[0] = t->v[n % t->n];
	t->n = 1;
}

static void
confirm_scheduled(const struct plan *pl, const char *names)
{
	char at[DATE_SIZE];
	bool yes;

	(void)text_set(at, sizeof(at), pl->at);
	at[10] = ' '; /* instead of the T */
	if (parsed_flag(pl->p, "--pending"))
		yes = prompt_confirm(
		    "The nodes needing a restart will be "
		    "identified at the scheduled time, and might be different "
		    "from the ones showing pending restart right now. Is this "
		    "fine?");
	else
		yes = prompt_confirm("Are you sure you want to schedule "
				     "restart of members %s at %s?",
		    names, at);
	if (!yes)
		ctl_error("Aborted scheduled restart");
}

static void
confirm(const struct plan *pl)
{
	char names[NAMES_SIZE];

	if (pl->force)
		return;
	select_names(&pl->t, names, sizeof(names));
	if (pl->at[0] != '\0')
		confirm_scheduled(pl, names);
	else if (!prompt_confirm("Are you sure you want to restart members "
				 "%s?",
		     names))
		ctl_error("Aborted restart");
}

/* X.Y.Z, or X.Y from 10 on */
static void
check_version(const char *text)
{
	int64_t part[4];
	char buf[WORD_SIZE], *at = buf, *word;
	int n = 0;

	if (!text_set(buf, sizeof(buf), text))
		ctl_error("Invalid PostgreSQL version: %s", text);
	while ((word = strsep(&at, ".")) != NULL) {
		if (!text_to_int64(word, 0, INT32_MAX, &part[n < 3 ? n : 3]))
			ctl_error("Invalid PostgreSQL version: %s", text);
		n++;
	}
	if (n != 3 && (n != 2 || part[0] < 10))
		ctl_error("Invalid PostgreSQL version format: X.Y or X.Y.Z is "
			  "accepted: %s",
		    text);
}

static void
choose_version(struct plan *pl)
{
	pl->version = parsed_text(pl->p, "--pg-version");
	if (pl->version == NULL && !pl->force)
		pl->version = prompt_text("",
		    "Restart if the PostgreSQL "
		    "version is less than provided (e.g. 9.5.2) ");
	if (pl->version == NULL)
		pl->version = "";
	if (pl->version[0] != '\0')
		check_version(pl->version);
}

/* ---- doing it ---- */

static struct tree *
body_of(const struct plan *pl)
{
	const char *timeout = parsed_text(pl->p, "--timeout");
	struct tree *body = tree_map();

	if (body == NULL)
		ctl_error("out of memory");
	if (parsed_flag(pl->p, "--pending"))
		(void)tree_set(body, "restart_pending", tree_bool(true));
	if (pl->version[0] != '\0')
		(void)tree_set(
		    body, "postgres_version", tree_text(pl->version));
	if (pl->at[0] != '\0')
		(void)tree_set(body, "schedule", tree_text(pl->at));
	if (timeout != NULL)
		(void)tree_set(body, "timeout", tree_text(timeout));
	return body;
}

static void
call(const struct plan *pl, const struct target *t, const char *method,
    const struct tree *body, struct rest_answer *a)
{
	rest_target(pl->ctl, pl->store, t, method, "/restart", body, a);
	if (a->status == 0)
		ctl_error("%s: %s", t->name, a->text);
}

static void
flush_first(const struct plan *pl, const struct target *t)
{
	struct rest_answer a;

	if (pl->at[0] == '\0' || !pl->force || t->m == NULL ||
	    t->m->scheduled_restart == NULL)
		return;
	call(pl, t, "DELETE", NULL, &a);
	if (a.status >= 400)
		printf("Failed: flush scheduled restart for member %s, "
		       "status code=%ld, (%s)\n",
		    t->name, a.status, a.body);
	rest_free(&a);
}

static void
restart_one(
    const struct plan *pl, const struct target *t, const struct tree *body)
{
	struct rest_answer a;

	flush_first(pl, t);
	call(pl, t, "POST", body, &a);
	if (a.status == 200)
		printf("Success: restart on member %s\n", t->name);
	else if (a.status == 202)
		printf("Success: restart scheduled on member %s\n", t->name);
	else if (a.status == 409)
		printf("Failed: another restart is already scheduled on "
		       "member %s\n",
		    t->name);
	else
		printf("Failed: restart for member %s, status code=%ld, "
		       "(%s)\n",
		    t->name, a.status, a.body);
	rest_free(&a);
}

int
cmd_restart(struct ctl *ctl, const struct parsed *p)
{
	const char *role = parsed_text(p, "--role");
	struct selection s = { .cluster = p->args[0],
		.action = "restart",
		.role = role != NULL ? role : "any",
		.force = parsed_flag(p, "--force"),
		.names = p->args + 1,
		.nnames = p->nargs - 1 };
	struct tree *body;
	struct plan pl;
	uint32_t i;

	memset(&pl, 0, sizeof(pl));
	pl.ctl = ctl;
	pl.p = p;
	pl.cluster = s.cluster;
	pl.force = s.force;
	config_group(ctl, p, false);
	pl.store = store_open(ctl, s.cluster);
	pl.view = store_view(pl.store);
	select_members(ctl, pl.view, &s, &pl.t);
	choose_time(&pl);
	if (parsed_flag(p, "--pending") && pl.at[0] == '\0')
		keep_pending(&pl.t);
	if (parsed_flag(p, "--any"))
		keep_any(&pl.t);
	confirm(&pl);
	choose_version(&pl);
	if (pl.at[0] != '\0' && view_paused(pl.view))
		ctl_error("Can't schedule restart in the paused state");
	body = body_of(&pl);
	for (i = 0; i < pl.t.n; i++)
		restart_one(&pl, &pl.t.v[i], body);
	tree_free(body);
	view_free(pl.view);
	return 0;
}
