/*
 * cmd_list.c: `list` and `topology` (patronictl.md 11.7, 11.18).
 */
#include "ctl.h"

static void
print_cluster(
    struct ctl *ctl, const char *cluster, enum table_format fmt, bool extended)
{
	struct view *v = store_view(store_open(ctl, cluster));

	members_print(ctl, v, cluster, fmt, extended, stdout);
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

static int
list_once(struct ctl *ctl, const struct parsed *p)
{
	char now[DATE_SIZE];

	if (parsed_flag(p, "--timestamp")) {
		date_now(now, sizeof(now));
		printf("%s\n", now);
	}
	return print_clusters(ctl, p, table_format(parsed_text(p, "--format")),
	    parsed_flag(p, "--extended"));
}

int
cmd_list(struct ctl *ctl, const struct parsed *p)
{
	config_group(ctl, p, false);
	return watch_loop(list_once, true, ctl, p);
}

static int
topology_once(struct ctl *ctl, const struct parsed *p)
{
	return print_clusters(ctl, p, FMT_TOPOLOGY, false);
}

int
cmd_topology(struct ctl *ctl, const struct parsed *p)
{
	config_group(ctl, p, false);
	return watch_loop(topology_once, true, ctl, p);
}
