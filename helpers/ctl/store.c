/*
 * store.c: the store's drivers, waited for (design 6, patronictl.md 1, 5.1).
 */
#include <event2/event.h>

#include <stdlib.h>
#include <string.h>

#include "../../ipc/version.h"
#include "../../dcs/dcs.h"
#include "../../ipc/clock.h"
#include "ctl.h"

#define CTL_TTL 30
#define CTL_LOOP_WAIT 10
#define CTL_RETRY 10

struct store {
	struct ctl *ctl;
	struct event_base *base;
	struct dcs *dcs;
	struct dcs *all; /* Citus without a group: above the groups */
	char cluster[NAME_SIZE];
	int group;
	/* of the operation in progress */
	bool done;
	enum outcome outcome;
	struct view *view;
	int32_t *groups;
	uint32_t ngroups;
	char error[TEXT_SIZE];
};

static void
changed(uint32_t keys, uint32_t wake, void *arg)
{
	(void)keys;
	(void)wake;
	(void)arg; /* no watches in ctl mode */
}

static void
forget_workers(struct ctl *ctl)
{
	uint32_t i;

	for (i = 0; i < ctl->nworkers; i++)
		view_free(ctl->workers[i].view);
	free(ctl->workers);
	ctl->workers = NULL;
	ctl->nworkers = 0;
}

static void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	forget_workers(s->ctl);
	dcs_close(s->dcs);
	dcs_close(s->all);
	free(s->groups);
	event_base_free(s->base);
	free(s);
}

/* The file's ttl, loop_wait and retry_timeout belong to the daemon.  group -1:
 * not of a Citus cluster, or what is above its groups. */
static struct tree *
settings(const struct ctl *ctl, const char *cluster, int group)
{
	struct tree *t = conf_for(ctl->conf, PROC_DCS);
	struct tree *citus;
	char scope[NAME_SIZE + 16];

	if (t == NULL)
		ctl_error("out of memory");
	(void)tree_set(t, "scope", tree_text(cluster));
	if (tree_path_text(t, "name", "")[0] == '\0')
		(void)tree_set(t, "name", tree_text(cluster));
	(void)tree_set(t, "ttl", tree_int(CTL_TTL));
	(void)tree_set(t, "loop_wait", tree_int(CTL_LOOP_WAIT));
	(void)tree_set(t, "retry_timeout", tree_int(CTL_RETRY));
	if (group >= 0 && (citus = tree_map()) != NULL) {
		(void)tree_set(citus, "group", tree_int(group));
		(void)tree_set(citus, "database", tree_text("postgres"));
		(void)tree_set(t, "citus", citus);
		/* the group's keys are one level below the cluster's */
		(void)snprintf(scope, sizeof(scope), "%s/%d", cluster, group);
		(void)tree_set(t, "scope", tree_text(scope));
	}
	return t;
}

static struct dcs *
open_group(struct store *s, int group)
{
	static const struct dcs_callbacks callbacks = { changed };
	struct tree *t = settings(s->ctl, s->cluster, group);
	struct dcs *d;

	d = dcs_open(
	    s->base, t, true, &callbacks, s, s->error, sizeof(s->error));
	tree_free_wiped(t);
	if (d == NULL)
		ctl_error("%s", s->error);
	/* its groups are told by labels, which the driver does not read */
	if (group >= 0 && strcmp(dcs_driver_name(d), "kubernetes") == 0)
		ctl_error("Groups of a Citus cluster cannot be read from "
			  "Kubernetes");
	return d;
}

struct store *
store_open(struct ctl *ctl, const char *cluster)
{
	struct store *s = ctl->store;

	if (s != NULL && strcmp(s->cluster, cluster) == 0 &&
	    s->group == ctl->group)
		return s;
	store_close(s);
	ctl->store = NULL;
	if (conf_store(ctl->conf) == NULL)
		ctl_error("%s", STORE_MISSING);
	if ((s = calloc(1, sizeof(*s))) == NULL ||
	    (s->base = event_base_new()) == NULL)
		ctl_error("out of memory");
	if (!text_set(s->cluster, sizeof(s->cluster), cluster))
		ctl_error("cluster name too long");
	s->ctl = ctl;
	s->group = ctl->group;
	ctl->whole = ctl->group < 0 && config_citus(ctl);
	if (ctl->whole)
		s->all = open_group(s, -1);
	s->dcs = open_group(s, ctl->whole ? 0 : ctl->group);
	ctl->store = s;
	return s;
}

struct event_base *
store_base(struct store *s)
{
	return s->base;
}

static void
loaded(const struct dcs_reply *reply, void *arg)
{
	struct store *s = arg;

	s->done = true;
	s->outcome = reply->outcome;
	if (reply->outcome == OUTCOME_OK && reply->view != NULL)
		s->view = view_copy(reply->view);
	if (reply->ngroups > 0 &&
	    (s->groups = calloc(reply->ngroups, sizeof(*s->groups))) != NULL) {
		memcpy(s->groups, reply->groups,
		    reply->ngroups * sizeof(*s->groups));
		s->ngroups = reply->ngroups;
	}
	(void)snprintf(s->error, sizeof(s->error), "%s", reply->error);
	(void)event_base_loopbreak(s->base);
}

/* Wait for the operation that was started. */
static enum outcome
wait_for(struct store *s)
{
	while (!s->done)
		if (event_base_loop(s->base, EVLOOP_ONCE) != 0)
			break;
	if (s->done)
		return s->outcome;
	(void)text_set(s->error, sizeof(s->error), "the event loop failed");
	return OUTCOME_UNKNOWN;
}

static int64_t
begin(struct store *s)
{
	s->done = false;
	s->view = NULL;
	free(s->groups);
	s->groups = NULL;
	s->ngroups = 0;
	s->error[0] = '\0';
	return clock_boot_ns() + CTL_RETRY * NS_PER_SEC;
}

static struct view *
load(struct store *s, struct dcs *d)
{
	dcs_load(d, begin(s), loaded, s);
	if (wait_for(s) == OUTCOME_OK && s->view == NULL)
		ctl_error("out of memory");
	return s->view;
}

/* The groups beside group 0, each by a load of its own. */
static bool
load_workers(struct store *s)
{
	struct ctl *ctl = s->ctl;
	struct view *v = load(s, s->all);
	uint32_t i, n = s->ngroups;
	int32_t *groups = s->groups;
	bool ok = v != NULL;
	struct dcs *d;

	view_free(v);
	s->groups = NULL; /* kept over the loads */
	ctl->workers = calloc((size_t)n + 1, sizeof(*ctl->workers));
	if (ctl->workers == NULL)
		ctl_error("out of memory");
	for (i = 0; ok && i < n; i++) {
		if (groups[i] == 0)
			continue;
		d = open_group(s, groups[i]);
		v = load(s, d);
		dcs_close(d);
		ok = v != NULL;
		ctl->workers[ctl->nworkers].group = groups[i];
		ctl->workers[ctl->nworkers].view = v;
		ctl->nworkers += ok;
	}
	free(groups);
	return ok;
}

struct view *
store_try_view(struct store *s)
{
	forget_workers(s->ctl);
	if (s->all != NULL && !load_workers(s))
		return NULL;
	return load(s, s->dcs);
}

struct view *
store_view(struct store *s)
{
	struct view *view = store_try_view(s);

	if (view == NULL)
		ctl_error("Can not get cluster from dcs: %s", store_error(s));
	return view;
}

const char *
store_error(const struct store *s)
{
	return s->error[0] != '\0' ? s->error : "no answer";
}

/* ---- writes ---- */

enum outcome
store_set_config(struct store *s, const char *json, int64_t token)
{
	dcs_set_config(
	    s->dcs, json, strlen(json), true, token, begin(s), loaded, s);
	return wait_for(s);
}

enum outcome
store_set_failover(struct store *s, const struct msg_dcs_failover *f)
{
	dcs_set_failover(s->dcs, f, begin(s), loaded, s);
	return wait_for(s);
}

enum outcome
store_remove(struct store *s)
{
	dcs_remove_cluster(s->dcs, begin(s), loaded, s);
	return wait_for(s);
}

enum outcome
store_initialize(struct store *s, const char *sysid)
{
	dcs_initialize(s->dcs, true, sysid, begin(s), loaded, s);
	return wait_for(s);
}

enum outcome
store_touch(struct store *s, const struct msg_dcs_touch *m)
{
	dcs_touch(s->dcs, m, NULL, begin(s), loaded, s);
	return wait_for(s);
}

enum outcome
store_acquire(struct store *s)
{
	dcs_acquire(s->dcs, begin(s), loaded, s);
	return wait_for(s);
}
