/*
 * store.c: the store's drivers, waited for (design 6, patronictl.md 1, 5.1).
 */
#include <event2/event.h>

#include <stdlib.h>
#include <string.h>

#include "../../dcs/dcs.h"
#include "../../ipc/clock.h"
#include "ctl.h"

#define CTL_TTL 30
#define CTL_LOOP_WAIT 10
#define CTL_RETRY 10

struct store {
	struct event_base *base;
	struct dcs *dcs;
	char cluster[NAME_SIZE];
	int group;
	/* of the operation in progress */
	bool done;
	enum outcome outcome;
	struct view *view;
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
store_close(struct store *s)
{
	if (s == NULL)
		return;
	dcs_close(s->dcs);
	event_base_free(s->base);
	free(s);
}

/* The file's ttl, loop_wait and retry_timeout belong to the daemon. */
static struct tree *
settings(const struct ctl *ctl, const char *cluster)
{
	struct tree *t = conf_for(ctl->conf, PROC_DCS);
	struct tree *citus;

	if (t == NULL)
		ctl_error("out of memory");
	(void)tree_set(t, "scope", tree_text(cluster));
	if (tree_path_text(t, "name", "")[0] == '\0')
		(void)tree_set(t, "name", tree_text(cluster));
	(void)tree_set(t, "ttl", tree_int(CTL_TTL));
	(void)tree_set(t, "loop_wait", tree_int(CTL_LOOP_WAIT));
	(void)tree_set(t, "retry_timeout", tree_int(CTL_RETRY));
	if (ctl->group >= 0 && (citus = tree_map()) != NULL) {
		(void)tree_set(citus, "group", tree_int(ctl->group));
		(void)tree_set(citus, "database", tree_text("postgres"));
		(void)tree_set(t, "citus", citus);
	}
	return t;
}

struct store *
store_open(struct ctl *ctl, const char *cluster)
{
	static const struct dcs_callbacks callbacks = { changed };
	struct store *s = ctl->store;
	struct tree *t;

	if (s != NULL && strcmp(s->cluster, cluster) == 0 &&
	    s->group == ctl->group)
		return s;
	store_close(s);
	ctl->store = NULL;
	if (conf_store(ctl->conf) == NULL)
		ctl_error("Can not find suitable configuration of distributed "
		    "configuration store\nAvailable implementations: consul, "
		    "etcd, etcd3, exhibitor, kubernetes, zookeeper");
	if ((s = calloc(1, sizeof(*s))) == NULL ||
	    (s->base = event_base_new()) == NULL)
		ctl_error("out of memory");
	if (!text_set(s->cluster, sizeof(s->cluster), cluster))
		ctl_error("cluster name too long");
	s->group = ctl->group;
	t = settings(ctl, cluster);
	s->dcs = dcs_open(s->base, t, true, &callbacks, s, s->error,
	    sizeof(s->error));
	tree_free_wiped(t);
	if (s->dcs == NULL)
		ctl_error("%s", s->error);
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
	(void)snprintf(s->error, sizeof(s->error), "%s", reply->error);
	(void)event_base_loopbreak(s->base);
}

struct view *
store_view(struct store *s)
{
	struct view *view;

	s->done = false;
	s->view = NULL;
	dcs_load(s->dcs, clock_boot_ns() + CTL_RETRY * NS_PER_SEC, loaded, s);
	while (!s->done)
		if (event_base_loop(s->base, EVLOOP_ONCE) != 0)
			break;
	if (!s->done || s->outcome != OUTCOME_OK)
		ctl_error("Can not get cluster from dcs: %s",
		    s->error[0] != '\0' ? s->error : "no answer");
	if ((view = s->view) == NULL)
		ctl_error("out of memory");
	return view;
}
