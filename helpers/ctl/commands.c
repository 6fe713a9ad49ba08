/*
 * commands.c: the table of commands and their options (patronictl.md 2.1).
 */
#include <stddef.h>
#include <string.h>

#include "ctl.h"

#define GROUP                                                     \
	{                                                         \
		"--group", NULL, OPT_INTEGER, NULL, "Citus group" \
	}
#define FORMAT                                                                \
	{                                                                     \
		"--format", "-f", OPT_CHOICE, FORMAT_CHOICES, "Output format" \
	}
#define W2                                                   \
	{                                                    \
		"-W", NULL, OPT_FLAG, NULL,                  \
		    "Auto update the screen every 2 seconds" \
	}
#define WATCH                                                \
	{                                                    \
		"-w", "--watch", OPT_FLOAT, NULL,            \
		    "Auto update the screen every X seconds" \
	}
#define FORCE                                                  \
	{                                                      \
		"--force", NULL, OPT_FLAG, NULL,               \
		    "Do not ask for confirmation at any point" \
	}
#define ROLE(help)                                             \
	{                                                      \
		"--role", "-r", OPT_CHOICE, ROLE_CHOICES, help \
	}
#define MEMBER(help)                                   \
	{                                              \
		"--member", "-m", OPT_TEXT, NULL, help \
	}
#define CANDIDATE                                    \
	{                                            \
		"--candidate", NULL, OPT_TEXT, NULL, \
		    "The name of the candidate"      \
	}
#define END                                      \
	{                                        \
		NULL, NULL, OPT_FLAG, NULL, NULL \
	}

static const struct opt no_opts[] = { END };
static const struct opt configure_opts[] = { { "--config-file", "-c", OPT_TEXT,
						 NULL, "Configuration file" },
	{ "--dcs", "-d", OPT_TEXT, NULL, "The DCS connect url" },
	{ "--namespace", "-n", OPT_TEXT, NULL, "The namespace" }, END };
static const struct opt demote_opts[] = { { "--host", NULL, OPT_TEXT, NULL,
					      "Address of the remote node" },
	{ "--port", NULL, OPT_INTEGER, NULL, "Port of the remote node" },
	{ "--restore-command", NULL, OPT_TEXT, NULL,
	    "Command to restore WAL records from the remote primary" },
	{ "--primary-slot-name", NULL, OPT_TEXT, NULL,
	    "Name of the slot on the remote node to use for replication" },
	FORCE, END };
static const struct opt dsn_opts[] = { GROUP,
	ROLE("Give a dsn of any member with this role"),
	MEMBER("Generate a dsn for this member"), END };
static const struct opt edit_opts[] = { GROUP,
	{ "--quiet", "-q", OPT_FLAG, NULL, "Do not show changes" },
	{ "--set", "-s", OPT_TEXT, NULL,
	    "Set specific configuration value. "
	    "Can be specified multiple times" },
	{ "--pg", "-p", OPT_TEXT, NULL,
	    "Set specific PostgreSQL parameter "
	    "value. Shorthand for -s postgresql.parameters. Can be specified "
	    "multiple times" },
	{ "--apply", NULL, OPT_FILE, NULL,
	    "Apply configuration from file. "
	    "Use - for stdin." },
	{ "--replace", NULL, OPT_FILE, NULL,
	    "Apply configuration from file, "
	    "replacing existing configuration. Use - for stdin." },
	FORCE, END };
static const struct opt failover_opts[] = { GROUP, CANDIDATE, FORCE,
	/* until 3.x: a switchover from there */
	{ "--leader", "--primary", OPT_TEXT, NULL, NULL },
	{ "--master", NULL, OPT_TEXT, NULL, NULL }, END };
static const struct opt switchover_opts[] = { GROUP,
	{ "--leader", "--primary", OPT_TEXT, NULL,
	    "The name of the current leader" },
	CANDIDATE,
	{ "--scheduled", NULL, OPT_TEXT, NULL,
	    "Timestamp of a scheduled "
	    "switchover in unambiguous format (e.g. ISO 8601)" },
	FORCE, { "--master", NULL, OPT_TEXT, NULL, NULL }, END };
static const struct opt flush_opts[] = { GROUP,
	ROLE("Flush only members with this role"), FORCE, END };
static const struct opt history_opts[] = { GROUP, FORMAT, END };
static const struct opt list_opts[] = { GROUP,
	{ "--extended", "-e", OPT_FLAG, NULL, "Show some extra information" },
	{ "--timestamp", "-t", OPT_FLAG, NULL, "Print timestamp" }, FORMAT, W2,
	WATCH, END };
static const struct opt local_opts[] = { { "--socket", NULL, OPT_TEXT, NULL,
					     "Control socket of the daemon" },
	FORMAT,
	{ "--limit", "-n", OPT_INTEGER, NULL, "Newest entries of the journal" },
	W2, WATCH, FORCE,
	{ "--pending", NULL, OPT_FLAG, NULL, "restart: if pending" },
	{ "--timeout", NULL, OPT_INTEGER, NULL,
	    "restart: seconds until PostgreSQL must be up" },
	{ "--from-leader", NULL, OPT_FLAG, NULL,
	    "reinit: get basebackup from leader" },
	{ "--pg-version", NULL, OPT_TEXT, NULL,
	    "restart: if the PostgreSQL version is less than this" },
	{ "--scheduled", NULL, OPT_TEXT, NULL,
	    "restart, switchover: at this time (e.g. ISO 8601)" },
	CANDIDATE, END };
static const struct opt pause_opts[] = { GROUP,
	{ "--wait", NULL, OPT_FLAG, NULL,
	    "Wait until pause is applied on all nodes" },
	END };
static const struct opt resume_opts[] = { GROUP,
	{ "--wait", NULL, OPT_FLAG, NULL,
	    "Wait until pause is cleared on all nodes" },
	END };
static const struct opt promote_opts[] = { FORCE, END };
static const struct opt query_opts[] = { GROUP,
	{ "--format", NULL, OPT_TEXT, NULL,
	    "Output format (pretty, tsv, json, yaml)" },
	{ "--file", "-f", OPT_FILE, NULL,
	    "Execute the SQL commands from this file" },
	{ "--password", NULL, OPT_FLAG, NULL, "force password prompt" },
	{ "-U", "--username", OPT_TEXT, NULL, "database user name" }, W2, WATCH,
	ROLE("The role of the query"), MEMBER("Query a specific member"),
	{ "--delimiter", NULL, OPT_TEXT, NULL, "The column delimiter" },
	{ "--command", "-c", OPT_TEXT, NULL, "The SQL commands to execute" },
	{ "-d", "--dbname", OPT_TEXT, NULL, "database name to connect to" },
	END };
static const struct opt reinit_opts[] = { GROUP, FORCE,
	{ "--from-leader", NULL, OPT_FLAG, NULL, "Get basebackup from leader" },
	{ "--wait", NULL, OPT_FLAG, NULL,
	    "Wait until reinitialization completes" },
	END };
static const struct opt reload_opts[] = { GROUP,
	ROLE("Reload only members with this role"), FORCE, END };
static const struct opt remove_opts[] = { GROUP, FORMAT, END };
static const struct opt restart_opts[] = { GROUP,
	ROLE("Restart only members with this role"),
	{ "--any", NULL, OPT_FLAG, NULL, "Restart a single member only" },
	{ "--scheduled", NULL, OPT_TEXT, NULL,
	    "Timestamp of a scheduled "
	    "restart in unambiguous format (e.g. ISO 8601)" },
	{ "--pg-version", NULL, OPT_TEXT, NULL,
	    "Restart if the PostgreSQL "
	    "version is less than provided (e.g. 9.5.2)" },
	{ "--pending", NULL, OPT_FLAG, NULL, "Restart if pending" },
	{ "--timeout", NULL, OPT_TEXT, NULL,
	    "Return error and fail over if "
	    "necessary when restarting takes longer than this." },
	FORCE, END };
static const struct opt scaffold_opts[] = {
	{ "--sysid", "-s", OPT_TEXT, NULL,
	    "System ID of the cluster to put into the initialize key" },
	END
};
static const struct opt group_opts[] = { GROUP, END };
static const struct opt topology_opts[] = { GROUP, W2, WATCH, END };

static const char *const cluster[] = { "CLUSTER_NAME", NULL };
static const char *const flush_needs[] = { "CLUSTER_NAME",
	"{restart|switchover}", NULL };

#define OPTIONAL "[CLUSTER_NAME]"
#define MEMBERS "CLUSTER_NAME [MEMBER_NAMES]..."

const struct command commands[] = {
	{ "configure", "Create configuration file", "", NULL, 0,
	    COMMAND_HIDDEN | COMMAND_NO_CONFIG, configure_opts, cmd_configure,
	    "  patronictl configure -c ./ctl.yaml -d etcd3://db:2379 "
	    "-n /service/\n" },
	{ "demote-cluster", "Demote cluster to a standby cluster", OPTIONAL,
	    NULL, 1, 0, demote_opts, cmd_demote_cluster,
	    "  patronictl demote-cluster orders --host 10.2.0.5 --port 5432\n" },
	{ "dsn",
	    "Generate a dsn for the provided member, defaults to a dsn "
	    "of the leader",
	    OPTIONAL, NULL, 1, 0, dsn_opts, cmd_dsn,
	    "  psql \"$(patronictl dsn orders -r replica) dbname=shop\"\n" },
	{ "edit-config", "Edit cluster configuration", OPTIONAL, NULL, 1, 0,
	    edit_opts, cmd_edit_config,
	    "  patronictl edit-config orders\n"
	    "  patronictl edit-config orders -s ttl=40 -p work_mem=64MB\n"
	    "  patronictl edit-config orders -s synchronous_mode=null --force\n"
	    "  patronictl edit-config orders --apply changes.yml\n" },
	{ "failover", "Failover to a replica", OPTIONAL, NULL, 1, 0,
	    failover_opts, cmd_failover,
	    "  patronictl failover orders --candidate db2\n" },
	{ "flush", "Discard scheduled events", MEMBERS " {restart|switchover}",
	    flush_needs, MAX_ARGS, 0, flush_opts, cmd_flush,
	    "  patronictl flush orders switchover\n"
	    "  patronictl flush orders db2 db3 restart\n" },
	{ "history", "Show the history of failovers/switchovers", OPTIONAL,
	    NULL, 1, 0, history_opts, cmd_history,
	    "  patronictl history orders -f json\n" },
	{ "list", "List the Patroni members for a given Patroni",
	    "[CLUSTER_NAMES]...", NULL, MAX_ARGS, 0, list_opts, cmd_list,
	    "  patronictl list\n"
	    "  patronictl list orders -e -W\n"
	    "  patronictl list orders -f json\n" },
	{ "local", "Ask the daemon of this node",
	    "[processes|journal|reload|restart-helper NAME|log-level LEVEL|"
	    "restart|reinit|switchover|failover|flush restart|"
	    "flush switchover]",
	    NULL, 2, 0, local_opts, cmd_local,
	    "  patronictl -c /etc/patroni/patroni.yml local\n"
	    "  patronictl -c /etc/patroni/patroni.yml local journal -n 20\n"
	    "  patronictl -c /etc/patroni/patroni.yml local log-level debug\n"
	    "  patronictl -c /etc/patroni/patroni.yml local restart "
	    "--pending\n"
	    "  patronictl -c /etc/patroni/patroni.yml local switchover "
	    "--candidate db2\n" },
	{ "pause", "Disable auto failover", OPTIONAL, NULL, 1, 0, pause_opts,
	    cmd_pause, "  patronictl pause orders --wait\n" },
	{ "promote-cluster", "Promote cluster, make it run standalone",
	    OPTIONAL, NULL, 1, 0, promote_opts, cmd_promote_cluster,
	    "  patronictl promote-cluster orders --force\n" },
	{ "query", "Query a Patroni PostgreSQL member", OPTIONAL, NULL, 1, 0,
	    query_opts, cmd_query,
	    "  patronictl query orders -c 'SELECT version()' -U postgres\n"
	    "  patronictl query orders -r replica -W --format pretty \\\n"
	    "      -c 'SELECT pg_last_wal_replay_lsn()' -d postgres\n" },
	{ "reinit", "Reinitialize cluster member", MEMBERS, cluster, MAX_ARGS,
	    0, reinit_opts, cmd_reinit,
	    "  patronictl reinit orders db3 --wait\n" },
	{ "reload", "Reload cluster member configuration", MEMBERS, cluster,
	    MAX_ARGS, 0, reload_opts, cmd_reload,
	    "  patronictl reload orders --force\n" },
	{ "remove", "Remove cluster from DCS", "CLUSTER_NAME", cluster, 1, 0,
	    remove_opts, cmd_remove, "  patronictl remove orders\n" },
	{ "restart", "Restart cluster member", MEMBERS, cluster, MAX_ARGS, 0,
	    restart_opts, cmd_restart,
	    "  patronictl restart orders db2\n"
	    "  patronictl restart orders --pending --force\n"
	    "  patronictl restart orders -r replica "
	    "--scheduled 2030-01-02T03:00+01:00\n" },
	{ "resume", "Resume auto failover", OPTIONAL, NULL, 1, 0, resume_opts,
	    cmd_resume, "  patronictl resume orders --wait\n" },
	{ "scaffold", "Create a structure for the cluster in DCS",
	    "CLUSTER_NAME", cluster, 1, COMMAND_HIDDEN, scaffold_opts,
	    cmd_scaffold,
	    "  patronictl scaffold orders --sysid 7480031112223334445\n" },
	{ "show-config", "Show cluster configuration", OPTIONAL, NULL, 1, 0,
	    group_opts, cmd_show_config,
	    "  patronictl show-config orders > orders.yml\n" },
	{ "switchover", "Switchover to a replica", OPTIONAL, NULL, 1, 0,
	    switchover_opts, cmd_switchover,
	    "  patronictl switchover orders --candidate db2 --force\n"
	    "  patronictl switchover orders --leader db1 "
	    "--scheduled 2030-01-02T03:00+01:00\n" },
	{ "topology", "Prints ASCII topology for given cluster",
	    "[CLUSTER_NAMES]...", NULL, MAX_ARGS, 0, topology_opts,
	    cmd_topology, "  patronictl topology orders -w 5\n" },
	{ "version",
	    "Output version of patronictl command or a running Patroni "
	    "instance",
	    "[CLUSTER_NAME] [MEMBER_NAMES]...", NULL, MAX_ARGS, 0, group_opts,
	    cmd_version, "  patronictl version orders db1\n" },
	{ NULL, NULL, NULL, NULL, 0, 0, no_opts, NULL, NULL }
};

const struct command *
command_find(const char *name)
{
	const struct command *c;

	for (c = commands; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}
