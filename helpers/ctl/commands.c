/*
 * commands.c: the table of commands and their options (patronictl.md 2.1).
 */
#include <stddef.h>

#include "ctl.h"

#define GROUP { "--group", NULL, OPT_INTEGER, NULL, "Citus group" }
#define FORMAT { "--format", "-f", OPT_CHOICE, FORMAT_CHOICES, "Output format" }
#define W2 { "-W", NULL, OPT_FLAG, NULL, \
	"Auto update the screen every 2 seconds" }
#define WATCH { "-w", "--watch", OPT_FLOAT, NULL, \
	"Auto update the screen every X seconds" }
#define END { NULL, NULL, OPT_FLAG, NULL, NULL }

static const struct opt list_opts[] = { GROUP,
	{ "--extended", "-e", OPT_FLAG, NULL, "Show some extra information" },
	{ "--timestamp", "-t", OPT_FLAG, NULL, "Print timestamp" }, FORMAT, W2,
	WATCH, END };
static const struct opt topology_opts[] = { GROUP, W2, WATCH, END };
static const struct opt version_opts[] = { GROUP, END };
static const struct opt local_opts[] = {
	{ "--socket", NULL, OPT_TEXT, NULL, "Control socket of the daemon" },
	FORMAT,
	{ "--limit", "-n", OPT_INTEGER, NULL, "Newest entries of the journal" },
	W2, WATCH, END };

const struct command commands[] = {
	{ "list", "List the Patroni members for a given Patroni",
	    "[CLUSTER_NAMES]...", MAX_ARGS, list_opts, cmd_list },
	{ "local", "Ask the daemon of this node",
	    "[processes|journal|reload|restart-helper NAME|log-level LEVEL]",
	    2, local_opts, cmd_local },
	{ "topology", "Prints ASCII topology for given cluster",
	    "[CLUSTER_NAMES]...", MAX_ARGS, topology_opts, cmd_topology },
	{ "version",
	    "Output version of patronictl command or a running Patroni "
	    "instance", "[CLUSTER_NAME] [MEMBER_NAMES]...", MAX_ARGS,
	    version_opts, cmd_version },
	{ NULL, NULL, NULL, 0, NULL, NULL }
};
