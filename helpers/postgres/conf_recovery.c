/*
 * conf_recovery.c: recovery parameters: which exist in which version, what a
 * node should have (spec/config.md 12.1, 12.2), and their lines (12.3).
 * Comparison with what is in force: conf_diff.c.
 */
#include "conf_recovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/log.h"
#include "../../ipc/values.h"
#include "../ha/ha.h"

enum kind { TEXT, BOOL, DELAY, TARGET, ACTION };

static const struct {
	const char *name;
	uint32_t from, till;
	enum kind kind;
} recovery_params[] = {
	{ "archive_cleanup_command", 0, 0, TEXT },
	{ "pause_at_recovery_target", 0, 90500, BOOL },
	{ "primary_conninfo", 0, 0, TEXT },
	{ "primary_slot_name", 90400, 0, TEXT },
	{ "promote_trigger_file", 120000, 160000, TEXT },
	{ "recovery_end_command", 0, 0, TEXT },
	{ "recovery_min_apply_delay", 90400, 0, DELAY },
	{ "recovery_target", 90400, 0, TARGET },
	{ "recovery_target_action", 90500, 0, ACTION },
	{ "recovery_target_inclusive", 0, 0, BOOL },
	{ "recovery_target_lsn", 100000, 0, TEXT },
	{ "recovery_target_name", 0, 0, TEXT },
	{ "recovery_target_time", 0, 0, TEXT },
	{ "recovery_target_timeline", 0, 0, TEXT },
	{ "recovery_target_xid", 0, 0, TEXT },
	{ "restore_command", 0, 0, TEXT },
	{ "standby_mode", 0, 120000, BOOL },
	{ "trigger_file", 0, 120000, TEXT },
};
#define NPARAMS (sizeof(recovery_params) / sizeof(*recovery_params))

static int
find(const char *name)
{
	for (size_t i = 0; i < NPARAMS; i++)
		if (strcasecmp(recovery_params[i].name, name) == 0)
			return (int)i;
	return -1;
}

bool
recovery_param_is(const char *name)
{
	return find(name) >= 0;
}

bool
recovery_param_known(const char *name, uint32_t major)
{
	int i = find(name);

	return i >= 0 && major >= recovery_params[i].from &&
	    (recovery_params[i].till == 0 || major < recovery_params[i].till);
}

const char *const *
recovery_param_names(void)
{
	static const char *const names[] = { "archive_cleanup_command",
		"pause_at_recovery_target", "primary_conninfo",
		"primary_slot_name", "promote_trigger_file",
		"recovery_end_command", "recovery_min_apply_delay",
		"recovery_target", "recovery_target_action",
		"recovery_target_inclusive", "recovery_target_lsn",
		"recovery_target_name", "recovery_target_time",
		"recovery_target_timeline", "recovery_target_xid",
		"restore_command", "standby_mode", "trigger_file", NULL };

	return names;
}

static bool
bad_value(const char *kind, const char *name, const char *value)
{
	log_warn("Removing %s parameter=%s from the config due to the invalid "
		 "value=%s",
	    kind, name, value);
	return false;
}

static bool
judge(
    enum kind kind, const char *name, const char *text, char *out, size_t size)
{
	int64_t v;

	switch (kind) {
	case BOOL:
		if (value_bool(text) < 0)
			return bad_value("bool", name, text);
		break;
	case DELAY:
		if (!value_int(text, "ms", &v))
			return bad_value("integer", name, text);
		if (v < 0 || v > INT32_MAX) {
			v = v < 0 ? 0 : INT32_MAX;
			log_warn("Value=%s of parameter=%s is too %s to %lldms",
			    text, name,
			    v == 0 ? "low, increasing" : "big, decreasing",
			    (long long)v);
			snprintf(out, size, "%lld", (long long)v);
			return true;
		}
		break;
	case TARGET:
		if (text[0] != '\0' && strcasecmp(text, "immediate") != 0)
			return bad_value("enum", name, text);
		break;
	case ACTION:
		if (strcasecmp(text, "pause") != 0 &&
		    strcasecmp(text, "promote") != 0 &&
		    strcasecmp(text, "shutdown") != 0)
			return bad_value("enum", name, text);
		break;
	case TEXT:
		break;
	}
	if (text_set(out, size, text))
		return true;
	log_warn("Removing parameter=%s from the config: its value is too "
		 "long",
	    name);
	return false;
}

bool
recovery_judge(const char *name, const struct tree *value, uint32_t major,
    char *out, size_t size)
{
	int i = find(name);
	char *text;
	bool ok;

	if (value->type == TREE_NULL || value->type == TREE_MAP ||
	    value->type == TREE_LIST)
		return false;
	text = scalar_text(value);
	if (recovery_param_known(name, major))
		ok = judge(recovery_params[i].kind, name, text, out, size);
	else if (!pgfeatures(major).recovery_guc)
		ok = text_set(out, size, text);
	else {
		ok = false;
		log_warn("Removing unexpected parameter=%s value=%s from the "
			 "config",
		    name, text);
	}
	free(text);
	return ok;
}

void
recovery_lines(struct text *out, const struct pgconf *c,
    const struct tree *recovery, uint32_t major)
{
	bool guc = pgfeatures(major).recovery_guc;
	char value[16384], *s;
	uint32_t n;
	const struct tree **v = sorted_children(recovery, &n);

	for (uint32_t i = 0; i < n; i++) {
		if (strcasecmp(v[i]->key, "primary_conninfo") == 0 &&
		    v[i]->type == TREE_MAP) {
			s = primary_conninfo_text(c, v[i], major);
			conf_line(out, v[i]->key, s);
			wipe(s, strlen(s));
			free(s);
			continue;
		}
		/* said by the signal file */
		if (guc && strcasecmp(v[i]->key, "standby_mode") == 0)
			continue;
		if (recovery_judge(
			v[i]->key, v[i], major, value, sizeof(value)))
			conf_line(out, v[i]->key, value);
	}
	free(v);
}

/* ---- the recovery_conf mapping (10.3, 12.3) ---- */

static void
rename_trigger(struct tree *map, uint32_t major)
{
	bool guc = pgfeatures(major).recovery_guc;
	const char *right = guc ? "promote_trigger_file" : "trigger_file";
	const char *wrong = guc ? "trigger_file" : "promote_trigger_file";
	const struct tree *t = tree_get_nocase(map, wrong);

	if (t == NULL)
		return;
	if (tree_get_nocase(map, right) == NULL)
		put_copy(map, right, t);
	t = tree_get_nocase(map, wrong);
	tree_remove(map, t->key);
}

static void
translate_pause(struct tree *map, uint32_t major)
{
	const struct tree *pause =
	    tree_get_nocase(map, "pause_at_recovery_target");
	const struct tree *action =
	    tree_get_nocase(map, "recovery_target_action");

	if (pgfeatures(major).recovery_target_action) {
		if (pause == NULL)
			return;
		if (action == NULL)
			put_text(map, "recovery_target_action",
			    tree_boolean(pause, true) ? "pause" : "promote");
		pause = tree_get_nocase(map, "pause_at_recovery_target");
		tree_remove(map, pause->key);
		return;
	}
	if (action == NULL || action->type != TREE_TEXT)
		return;
	if (strcasecmp(action->u.s, "promote") == 0 && pause == NULL)
		put_text(map, "pause_at_recovery_target", "false");
	action = tree_get_nocase(map, "recovery_target_action");
	tree_remove(map, action->key);
}

struct tree *
pgconf_recovery_conf(const struct pgconf *c, const struct pgfacts *f)
{
	const struct tree *params = tree_get(c->pg, "parameters");
	const struct tree *from = tree_get(c->pg, "recovery_conf");
	struct tree *map = must(tree_map());

	for (uint32_t i = 0; i < tree_count(params); i++) {
		const struct tree *t = tree_child(params, i);

		if (recovery_param_is(t->key))
			put_copy(map, t->key, t);
	}
	if (tree_count(map) == 0 && from != NULL && from->type == TREE_MAP)
		for (uint32_t i = 0; i < tree_count(from); i++)
			put_copy(
			    map, tree_child(from, i)->key, tree_child(from, i));
	rename_trigger(map, f->major);
	return map;
}

struct tree *
pgconf_bootstrap_recovery(
    const struct tree *recovery_conf, const struct pgfacts *f)
{
	struct tree *map =
	    must(recovery_conf == NULL || recovery_conf->type != TREE_MAP ?
		    tree_map() :
		    tree_copy(recovery_conf));

	rename_trigger(map, f->major);
	translate_pause(map, f->major);
	return map;
}

void
pgconf_trigger_file(const struct pgconf *c, uint32_t major, char out[PATH_SIZE])
{
	struct pgfacts f = { .major = major };
	struct tree *map = pgconf_recovery_conf(c, &f);
	const struct tree *t = tree_get_nocase(map,
	    pgfeatures(major).recovery_guc ? "promote_trigger_file" :
					     "trigger_file");

	path_join(out, c->data_dir,
	    tree_truthy(t) && t->type == TREE_TEXT ? t->u.s : "promote");
	tree_free(map);
}

/* ---- desired settings (12.2) ---- */

static void
without_targets(struct tree *map)
{
	for (uint32_t i = 0; i < tree_count(map);) {
		const char *key = tree_child(map, i)->key;

		if (strncasecmp(key, "recovery_target", 15) == 0 ||
		    strcasecmp(key, "primary_conninfo") == 0 ||
		    strcasecmp(key, "primary_slot_name") == 0 ||
		    strcasecmp(key, "standby_mode") == 0)
			tree_remove(map, key);
		else
			i++;
	}
}

static void
default_text(struct tree *map, const char *key, const char *value)
{
	if (!tree_truthy(tree_get(map, key)))
		put_text(map, key, value);
}

static struct tree *
primary_conninfo(
    const struct pgconf *c, const struct view_member *node, uint32_t major)
{
	struct tree *map = pgconf_member_conninfo(
	    c, node, pgconf_credentials(c, "replication"));
	struct pgfeatures p = pgfeatures(major);

	if (map == NULL)
		return NULL;
	put_text(map, "application_name", c->name);
	default_text(map, "sslmode", "prefer");
	if (p.gssencmode)
		default_text(map, "gssencmode", "prefer");
	else
		tree_remove(map, "gssencmode");
	if (p.channel_binding)
		default_text(map, "channel_binding", "prefer");
	else
		tree_remove(map, "channel_binding");
	if (p.sslnegotiation)
		default_text(map, "sslnegotiation", "postgres");
	else
		tree_remove(map, "sslnegotiation");
	if (!p.channel_binding)
		tree_remove(map, "sslpassword");
	if (!p.sslcrldir)
		tree_remove(map, "sslcrldir");
	if (c->krbsrvname[0] != '\0')
		put_text(map, "krbsrvname", c->krbsrvname);
	return map;
}

/* Our slot on the followed node; false = none. */
static bool
slot_to_use(const struct pgconf *c, const struct pgtarget *t, uint32_t major,
    char out[64])
{
	const struct tree *name =
	    tree_path(c->root, "standby_cluster.primary_slot_name");

	if (!c->use_slots || !pgfeatures(major).slots)
		return false;
	if (!t->remote) {
		ha_slot_name(c->name, out);
		return true;
	}
	if (!tree_truthy(name) || name->type != TREE_TEXT)
		return false;
	ha_slot_name(name->u.s, out);
	return true;
}

static void
put_node(struct tree *map, const struct pgconf *c, const struct pgtarget *t,
    uint32_t major)
{
	struct tree *conninfo;
	const struct tree *host;
	char slot[64];

	if (t->node == NULL || t->node->conn_url[0] == '\0' ||
	    (!t->remote && strcmp(t->node->name, c->name) == 0))
		return;
	conninfo = primary_conninfo(c, t->node, major);
	if (conninfo == NULL) {
		log_warn(
		    "connection URL of %s cannot be understood", t->node->name);
		return;
	}
	if (slot_to_use(c, t, major, slot)) {
		put_text(map, "primary_slot_name", slot);
		host = tree_get(conninfo, "host");
		if (t->remote && pgfeatures(major).target_session_attrs &&
		    host->type == TREE_TEXT && strchr(host->u.s, ',') != NULL)
			put_text(
			    conninfo, "target_session_attrs", "read-write");
	}
	put(map, "primary_conninfo", conninfo);
}

static void
put_standby_cluster(
    struct tree *map, const struct pgconf *c, const struct pgtarget *t)
{
	static const char *const keys[] = { "restore_command",
		"archive_cleanup_command", "recovery_min_apply_delay" };
	const struct tree *sc = tree_get(c->root, "standby_cluster");

	if (!c->is_standby_cluster)
		return;
	for (size_t i = 0; i < 3; i++) {
		const struct tree *v = tree_get(sc, keys[i]);

		if (tree_truthy(v) && (i < 2 || t->standby_leader))
			put_param(map, keys[i], must(tree_copy(v)));
	}
}

struct tree *
pgconf_recovery_settings(
    const struct pgconf *c, const struct pgfacts *f, const struct pgtarget *t)
{
	static const char *const empty[] = { "recovery_target",
		"recovery_target_name", "recovery_target_time",
		"recovery_target_xid", "recovery_target_lsn" };
	struct tree *map = pgconf_recovery_conf(c, f);

	without_targets(map);
	put_text(map, "standby_mode", "on");
	put_text(map, "recovery_target_timeline", "latest");
	if (pgfeatures(f->major).recovery_guc)
		for (size_t i = 0; i < 5; i++)
			put_text(map, empty[i], "");
	put_node(map, c, t, f->major);
	put_standby_cluster(map, c, t);
	return map;
}
