/*
 * conf_params.c: the server parameters (spec/config.md 10.1-10.3, 10.8):
 * those controlled through the DCS, the set for one server, and the command
 * line of the postmaster.  Comparison with pg_settings: conf_compare.c.
 */
#include "conf_params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/log.h"
#include "../../ipc/values.h"
#include "../ha/ha_names.h"

enum check { CHECK_REFUSE, CHECK_WAL_LEVEL, CHECK_TRUE, CHECK_BOOL, CHECK_INT };

struct dcs_param {
	const char *name;
	const char *dflt; /* NULL: none ("None") */
	enum check check;
	int64_t min;
	const char *unit;
	uint32_t from;
	bool on_command_line;
};

/* In the order of the command line. */
static const struct dcs_param dcs_params[] = {
	{ "listen_addresses", NULL, CHECK_REFUSE, 0, NULL, 90100, true },
	{ "port", NULL, CHECK_REFUSE, 0, NULL, 90100, true },
	{ "cluster_name", NULL, CHECK_REFUSE, 0, NULL, 90500, true },
	{ "wal_level", "hot_standby", CHECK_WAL_LEVEL, 0, NULL, 90100, true },
	{ "hot_standby", "on", CHECK_TRUE, 0, NULL, 90100, true },
	{ "max_connections", "100", CHECK_INT, 25, NULL, 90100, true },
	{ "max_wal_senders", "10", CHECK_INT, 3, NULL, 90100, true },
	{ "wal_keep_segments", "8", CHECK_INT, 1, NULL, 90100, false },
	{ "wal_keep_size", "128MB", CHECK_INT, 16, "MB", 130000, false },
	{ "max_prepared_transactions", "0", CHECK_INT, 0, NULL, 90100, true },
	{ "max_locks_per_transaction", "64", CHECK_INT, 32, NULL, 90100, true },
	{ "track_commit_timestamp", "off", CHECK_BOOL, 0, NULL, 90500, true },
	{ "max_replication_slots", "10", CHECK_INT, 4, NULL, 90400, true },
	{ "max_worker_processes", "8", CHECK_INT, 2, NULL, 90400, true },
	{ "wal_log_hints", "on", CHECK_BOOL, 0, NULL, 90400, true },
};
#define NPARAMS (sizeof(dcs_params) / sizeof(*dcs_params))

static const struct dcs_param *
find(const char *name)
{
	for (size_t i = 0; i < NPARAMS; i++)
		if (strcasecmp(dcs_params[i].name, name) == 0)
			return &dcs_params[i];
	return NULL;
}

bool
pgparam_is_dcs_only(const char *name)
{
	return find(name) != NULL;
}

/* Text defaults that are numbers become numbers, as valid DCS values do. */
static struct tree *
number_or_text(const char *text)
{
	int64_t v;

	return must(value_int(text, NULL, &v) ? tree_int(v) : tree_text(text));
}

struct tree *
pgparam_defaults(void)
{
	struct tree *map = must(tree_map());

	for (size_t i = 0; i < NPARAMS; i++)
		if (dcs_params[i].dflt != NULL &&
		    strncmp(dcs_params[i].name, "wal_keep_", 9) != 0)
			put(map, dcs_params[i].name,
			    number_or_text(dcs_params[i].dflt));
	return map;
}

static bool
valid(const struct dcs_param *p, const struct tree *t, const char *text)
{
	int64_t v;

	switch (p->check) {
	case CHECK_REFUSE:
		return false;
	case CHECK_WAL_LEVEL:
		return t->type == TREE_TEXT &&
		    (strcasecmp(text, "hot_standby") == 0 ||
			strcasecmp(text, "replica") == 0 ||
			strcasecmp(text, "logical") == 0);
	case CHECK_TRUE:
		return value_bool(text) == 1;
	case CHECK_BOOL:
		return value_bool(text) >= 0;
	case CHECK_INT:
		return value_int(text, p->unit, &v) && v >= p->min;
	}
	return false;
}

void
pgparam_take_dcs(struct tree *params, const struct tree *t)
{
	const struct dcs_param *p = find(t->key);
	char *text = scalar_text(t);
	int64_t v;

	if (t->type == TREE_LIST || t->type == TREE_MAP || !valid(p, t, text))
		log_warn("postgresql parameter %s=%s failed validation, "
			 "defaulting to %s",
		    t->key, text, p->dflt == NULL ? "None" : p->dflt);
	else if (p->check == CHECK_INT && value_int(text, NULL, &v))
		put_param(params, t->key, must(tree_int(v)));
	else
		put_param(params, t->key, must(tree_copy(t)));
	free(text);
}

static void
remove_param(struct tree *params, const char *name)
{
	const struct tree *t = tree_get_nocase(params, name);

	if (t != NULL)
		tree_remove(params, t->key);
}

/* Integer value of a parameter, dflt when absent or malformed. */
static int64_t
param_int(
    const struct tree *params, const char *name, const char *unit, int64_t dflt)
{
	const struct tree *t = tree_get_nocase(params, name);
	int64_t v = dflt;
	char *s;

	if (t == NULL || t->type == TREE_LIST || t->type == TREE_MAP)
		return dflt;
	s = scalar_text(t);
	if (!value_int(s, unit, &v))
		v = dflt;
	free(s);
	return v;
}

/* 10.3 step 2 */
static void
set_synchronous(
    struct tree *params, const struct pgconf *c, const struct pgfacts *f)
{
	if (!c->synchronous_mode)
		return;
	remove_param(params, "synchronous_standby_names");
	if (f->ssn_chosen) {
		if (f->ssn != NULL)
			put_text(params, "synchronous_standby_names", f->ssn);
		return;
	}
	if (c->synchronous_mode_strict &&
	    (f->role == ROLE_PRIMARY || f->role == ROLE_PROMOTED))
		put_text(params, "synchronous_standby_names", SSN_PLACEHOLDER);
}

/* 10.3 step 3 */
static void
set_wal_level(struct tree *params, uint32_t major)
{
	const struct tree *t = tree_get_nocase(params, "wal_level");

	if (t == NULL || t->type != TREE_TEXT || major == 0)
		return;
	if (major >= 90600 && strcmp(t->u.s, "hot_standby") == 0)
		put_text(params, t->key, "replica");
	else if (major < 90600 && strcmp(t->u.s, "replica") == 0)
		put_text(params, t->key, "hot_standby");
}

/* 10.3 step 4 */
static void
set_wal_keep(struct tree *params, uint32_t major)
{
	int64_t segments, megabytes;
	char buf[32];

	if (major == 0)
		return;
	segments = param_int(params, "wal_keep_segments", NULL, 8);
	megabytes = param_int(params, "wal_keep_size", "MB", 128);
	if (pgfeatures(major).wal_keep_size) {
		remove_param(params, "wal_keep_segments");
		if (tree_get_nocase(params, "wal_keep_size") != NULL)
			return;
		snprintf(buf, sizeof(buf), "%lldMB",
		    (long long)(segments > INT32_MAX ? INT32_MAX : segments) *
			16);
		put_text(params, "wal_keep_size", buf);
		return;
	}
	remove_param(params, "wal_keep_size");
	if (tree_get_nocase(params, "wal_keep_segments") == NULL)
		put(params, "wal_keep_segments",
		    tree_int((megabytes + 8) / 16));
}

/* `citus` must be loaded first. */
static void
preload_citus(struct tree *params)
{
	const struct tree *t =
	    tree_get_nocase(params, "shared_preload_libraries");
	struct text out = { 0 };
	char *copy, *save = NULL, *p, *s;

	text_add(&out, "citus");
	copy = t != NULL && t->type == TREE_TEXT ? must(strdup(t->u.s)) :
						   must(strdup(""));
	for (p = strtok_r(copy, ",", &save); p != NULL;
	     p = strtok_r(NULL, ",", &save)) {
		size_t n;

		p += strspn(p, " \t");
		for (n = strlen(p); n > 0 && strchr(" \t", p[n - 1]); n--)
			;
		p[n] = '\0';
		if (n > 0 && strcmp(p, "citus") != 0)
			text_addf(&out, ",%s", p);
	}
	free(copy);
	s = text_take(&out);
	put_param(params, "shared_preload_libraries", must(tree_text(s)));
	free(s);
}

/* 10.3 step 5 */
static void
set_citus(struct tree *params, const struct pgconf *c)
{
	const struct tree *group = tree_path(c->root, "citus.group");
	char host[PATH_SIZE];

	if (group == NULL || group->type != TREE_INT)
		return;
	preload_citus(params);
	if (param_int(params, "max_prepared_transactions", NULL, 0) == 0)
		put(params, "max_prepared_transactions",
		    tree_int(
			2 * param_int(params, "max_connections", NULL, 100)));
	put_text(params, "wal_level", "logical");
	pgconf_local_host(c, params, false, host, sizeof(host));
	put_param(params, "citus.local_hostname",
	    must(tree_text(host[0] == '\0' ? "localhost" : host)));
}

/* 10.3 step 7 */
static void
absolute_path(struct tree *params, const struct pgconf *c, const char *name)
{
	const struct tree *t = tree_get_nocase(params, name);
	char path[PATH_SIZE];

	if (t != NULL && t->type == TREE_TEXT && t->u.s[0] != '\0' &&
	    path_join(path, c->config_dir, t->u.s))
		put_text(params, t->key, path);
}

struct tree *
pgconf_server_params(const struct pgconf *c, const struct pgfacts *f)
{
	const struct tree *from = tree_get(c->pg, "parameters");
	struct tree *params = must(tree_map());

	for (uint32_t i = 0; i < tree_count(from); i++) {
		const struct tree *v = tree_child(from, i);

		if (!recovery_param_is(v->key))
			put_copy(params, v->key, v);
	}
	put_param(params, "cluster_name", must(tree_text(c->scope)));
	put_param(
	    params, "listen_addresses", must(tree_text(c->listen_addresses)));
	put_param(params, "port", must(tree_text(c->port)));
	set_synchronous(params, c, f);
	set_wal_level(params, f->major);
	set_wal_keep(params, f->major);
	set_citus(params, c);
	for (size_t i = 0; i < NPARAMS; i++)
		if (f->major != 0 && dcs_params[i].from > f->major)
			remove_param(params, dcs_params[i].name);
	absolute_path(params, c, "hba_file");
	absolute_path(params, c, "ident_file");
	return params;
}

/* ---- start (10.8) ---- */

static const struct {
	const char *name, *key;
	uint32_t from;
} hot_standby_params[] = {
	{ "max_connections", "max_connections setting", 0 },
	{ "max_prepared_transactions", "max_prepared_xacts setting", 0 },
	{ "max_locks_per_transaction", "max_locks_per_xact setting", 0 },
	{ "max_worker_processes", "max_worker_processes setting", 90400 },
	{ "max_wal_senders", "max_wal_senders setting", 120000 },
};

static void
raise_one(struct tree *params, const char *name, const char *key,
    const struct tree *controldata, struct tree *reasons)
{
	const struct tree *now = tree_get_nocase(params, name);
	const struct tree *t = tree_get(controldata, key);
	struct tree *reason;
	int64_t control, configured;
	char *old;

	if (now == NULL)
		return;
	if (t == NULL || t->type != TREE_TEXT ||
	    !text_to_int64(t->u.s, 0, INT32_MAX, &control)) {
		log_warn("%s is missing from pg_controldata output", key);
		return;
	}
	configured = param_int(params, name, NULL, 0);
	if (control <= configured)
		return;
	old = scalar_text(now);
	log_info(
	    "%s value in pg_controldata: %lld, in the global "
	    "configuration: %s. pg_controldata value will be used. Setting "
	    "'Pending restart' flag",
	    name, (long long)control, old);
	reason = must(tree_map());
	put_text(reason, "old_value", t->u.s);
	put_text(reason, "new_value", old);
	put(reasons, name, reason);
	put_param(params, name, must(tree_int(control)));
	free(old);
}

/* Does recovery end in promotion by itself? */
static bool
recovery_promotes(const struct tree *recovery)
{
	const struct tree *action =
	    tree_get(recovery, "recovery_target_action");

	if (action != NULL)
		return action->type == TREE_TEXT &&
		    strcasecmp(action->u.s, "promote") == 0;
	return !tree_boolean(
	    tree_get(recovery, "pause_at_recovery_target"), true);
}

void
pgconf_start_params(struct tree *params, const struct pgfacts *f,
    const struct tree *controldata, const struct tree *recovery,
    struct tree *reasons)
{
	size_t n = sizeof(hot_standby_params) / sizeof(*hot_standby_params);

	if (f->custom_bootstrap &&
	    (f->keep_recovery_conf ||
		(f->major >= 90500 && recovery_promotes(recovery))))
		put_param(params, "hot_standby", must(tree_text("off")));
	if (f->role == ROLE_PRIMARY)
		return;
	for (size_t i = 0; i < n; i++)
		if (f->major >= hot_standby_params[i].from)
			raise_one(params, hot_standby_params[i].name,
			    hot_standby_params[i].key, controldata, reasons);
}

/* ---- command line (postgres.md 4.2) ---- */

/* Strings of a list as an argv in one allocation. */
static char **
pack(const struct tree *list)
{
	uint32_t n = tree_count(list);
	size_t size = (n + 1) * sizeof(char *);
	char **argv, *p;

	for (uint32_t i = 0; i < n; i++)
		size += strlen(tree_child(list, i)->u.s) + 1;
	argv = must(malloc(size));
	p = (char *)(argv + n + 1);
	for (uint32_t i = 0; i < n; i++) {
		size_t len = strlen(tree_child(list, i)->u.s) + 1;

		argv[i] = memcpy(p, tree_child(list, i)->u.s, len);
		p += len;
	}
	argv[n] = NULL;
	return argv;
}

char **
pgconf_postmaster_argv(
    const struct pgconf *c, const struct tree *params, const struct pgfacts *f)
{
	struct tree *list = must(tree_list());
	char path[PATH_SIZE], **argv;

	pgconf_program(c, "postgres", path);
	add_text(list, path);
	add_text(list, "-D");
	add_text(list, c->data_dir);
	pgconf_config_file(c, path);
	add_textf(list, "--config-file=%s", path);
	for (size_t i = 0; i < NPARAMS; i++) {
		const struct tree *t =
		    tree_get_nocase(params, dcs_params[i].name);
		char *s;

		if (!dcs_params[i].on_command_line || t == NULL ||
		    t->type == TREE_NULL ||
		    (f->major != 0 && dcs_params[i].from > f->major))
			continue;
		s = scalar_text(t);
		add_textf(list, "--%s=%s", dcs_params[i].name, s);
		free(s);
	}
	argv = pack(list);
	tree_free(list);
	return argv;
}
