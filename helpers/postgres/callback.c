/*
 * callback.c: the operator's callbacks (postgres.md 18.1-18.3): one executor
 * for on_reload, one for all others; a new call ends the running one, and
 * only the newest waiting call is kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controller.h"

/* on_reload must not interrupt the handling of a virtual address. */
enum lane { LANE_MAIN, LANE_RELOAD, LANE_COUNT };

struct lane_state {
	struct controller *c;
	struct child *child;
	bool waiting;
	enum ha_callback next;
	enum pg_role next_role;
};

struct callbacks {
	struct lane_state lane[LANE_COUNT];
};

static const char *const names[] = { [CALLBACK_NONE] = "",
	[CALLBACK_ON_START] = "on_start",
	[CALLBACK_ON_STOP] = "on_stop",
	[CALLBACK_ON_RESTART] = "on_restart",
	[CALLBACK_ON_ROLE_CHANGE] = "on_role_change",
	[CALLBACK_ON_RELOAD] = "on_reload" };

static void start(struct lane_state *, enum ha_callback, enum pg_role);

struct callbacks *
callbacks_new(struct controller *c)
{
	struct callbacks *k = calloc(1, sizeof *k);
	int i;

	for (i = 0; k != NULL && i < LANE_COUNT; i++)
		k->lane[i].c = c;
	return k;
}

static void
on_end(const struct child_end *e, void *arg)
{
	struct lane_state *l = arg;

	l->child = NULL;
	if (!e->started)
		log_error("callback could not be run: %s", strerror(e->error));
	if (!l->waiting)
		return;
	l->waiting = false;
	start(l, l->next, l->next_role);
}

static void
start(struct lane_state *l, enum ha_callback what, enum pg_role role)
{
	struct controller *c = l->c;
	const char *command = pgconf_callback(c->conf, names[what]);
	struct child_spec spec;
	const char **argv;
	char **words;
	size_t n;

	if (command == NULL || command[0] == '\0')
		return;
	words = child_words(command, &n);
	argv = calloc(n + 4, sizeof *argv);
	if (words == NULL || argv == NULL || n == 0) {
		log_error("callback %s %s %s %s failed", command, names[what],
		    pg_role_name(role), c->conf->scope);
		free(words);
		free(argv);
		return;
	}
	memcpy(argv, words, n * sizeof *argv);
	argv[n++] = names[what];
	argv[n++] = role == ROLE_PROMOTED ? pg_role_name(ROLE_PRIMARY) :
					    pg_role_name(role);
	argv[n++] = c->conf->scope;
	memset(&spec, 0, sizeof spec);
	spec.argv = argv;
	/* on_stop runs while the daemon ends: it has to finish its work */
	spec.survives = true;
	l->child = child_run(c->base, &spec, on_end, l);
	if (l->child == NULL)
		log_error("Failed to execute %s: %s", command, strerror(errno));
	free(argv);
	free(words);
}

void
callback_run(struct controller *c, enum ha_callback what, enum pg_role role)
{
	struct lane_state *l;

	if (what == CALLBACK_NONE)
		return;
	if (what != CALLBACK_ON_RELOAD)
		c->callback_seen = true;
	l = &c->callbacks
		 ->lane[what == CALLBACK_ON_RELOAD ? LANE_RELOAD : LANE_MAIN];
	if (l->child == NULL) {
		start(l, what, role);
		return;
	}
	if (!l->waiting)
		log_warn("Killed %d because it was still running",
		    (int)child_pid(l->child));
	l->waiting = true;
	l->next = what;
	l->next_role = role;
	child_kill(l->child);
}
