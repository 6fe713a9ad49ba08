/*
 * cmd_list.c: `list` and `topology` (patronictl.md 11.7, 11.18).
 */
#include <time.h>

#include "ctl.h"

/* Places in the option tables of commands.c. */
enum { LIST_GROUP, LIST_EXTENDED, LIST_TIMESTAMP, LIST_FORMAT, LIST_W2,
	LIST_WATCH };
enum { TOPO_GROUP, TOPO_W2, TOPO_WATCH };

static void
print_time(void)
{
	char text[64];
	struct tm tm;
	time_t now = time(NULL);

	if (localtime_r(&now, &tm) != NULL &&
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) > 0)
		printf("%s\n", text);
}

static void
print_cluster(struct ctl *ctl, const char *cluster, enum table_format fmt,
    bool extended)
{
	struct view *v = store_view(store_open(ctl, cluster));

	members_print(v, cluster, fmt, extended, stdout);
	view_free(v);
}

static int
print_clusters(struct ctl *ctl, const struct parsed *p, enum table_format fmt,
    bool extended)
{
	const char *scope = config_scope(ctl);
	int i;

	for (i = 0; i < p->nargs; i++)
		print_cluster(ctl, p->args[i], fmt, extended);
	if (p->nargs > 0)
		return 0;
	if (scope == NULL || scope[0] == '\0')
		log_warn("Listing members: No cluster names were provided");
	else
		print_cluster(ctl, scope, fmt, extended);
	return 0;
}

static void
set_group(struct ctl *ctl, const struct opt_value *v)
{
	if (!v->set)
		return;
	if (v->integer < 0)
		ctl_error("--group must not be negative");
	ctl->group = (int)v->integer;
}

static int
list_once(struct ctl *ctl, const struct parsed *p)
{
	if (p->v[LIST_TIMESTAMP].set)
		print_time();
	return print_clusters(ctl, p, table_format(p->v[LIST_FORMAT].text),
	    p->v[LIST_EXTENDED].set);
}

int
cmd_list(struct ctl *ctl, const struct parsed *p)
{
	set_group(ctl, &p->v[LIST_GROUP]);
	return watch_loop(&p->v[LIST_WATCH], p->v[LIST_W2].set, list_once, ctl,
	    p);
}

static int
topology_once(struct ctl *ctl, const struct parsed *p)
{
	return print_clusters(ctl, p, FMT_TOPOLOGY, false);
}

int
cmd_topology(struct ctl *ctl, const struct parsed *p)
{
	set_group(ctl, &p->v[TOPO_GROUP]);
	return watch_loop(&p->v[TOPO_WATCH], p->v[TOPO_W2].set, topology_once,
	    ctl, p);
}
