/*
 * effective.c: the local part of the effective configuration
 * (spec/config.md 2.4): legacy forms, filters, derived values, and what a
 * daemon cannot start without (1.2).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/version.h"
#include "../../ipc/values.h"
#include "internal.h"

/* spec 2.4.6 */
static const char *const auth_keys[] = { "username", "password", "sslmode",
	"sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl",
	"sslcrldir", "gssencmode", "channel_binding", "sslnegotiation" };

/* ---- older forms ---- */

/* Move a value to another path; an existing target stays. */
static void
move_to(struct tree *root, const char *from, const char *to)
{
	struct tree *t = tree_path(root, from);

	if (t == NULL)
		return;
	if (tree_path(root, to) == NULL)
		conf_set_path(root, to, tree_copy(t));
	conf_remove_path(root, from);
}

static void
old_accounts(struct tree *root)
{
	struct tree *pg = tree_get(root, "postgresql"), *rewind;
	static const char *const names[] = { "replication", "superuser" };
	char path[CONF_PATH_SIZE];

	if (pg == NULL || pg->type != TREE_MAP)
		return;
	rewind = tree_get(pg, "pg_rewind");
	if (tree_get(pg, "authentication") == NULL) {
		conf_set_path(root, "postgresql.authentication", tree_map());
		for (size_t i = 0; i < 2; i++) {
			const struct tree *t = tree_get(pg, names[i]);

			snprintf(path, sizeof(path),
			    "postgresql.authentication.%s", names[i]);
			if (t != NULL && t->type == TREE_MAP)
				conf_set_path(root, path, tree_copy(t));
		}
		conf_set_path(root, "postgresql.use_pg_rewind",
		    tree_bool(rewind != NULL));
	}
	if (rewind != NULL && rewind->type == TREE_MAP &&
	    tree_path(root, "postgresql.authentication.superuser") == NULL)
		conf_set_path(root, "postgresql.authentication.superuser",
		    tree_copy(rewind));
	tree_remove(pg, "replication");
	tree_remove(pg, "superuser");
	tree_remove(pg, "pg_rewind");
}

static void
old_forms(struct tree *root)
{
	static const char *const srv[] = { "discovery_srv", "srv_domain" };
	char from[CONF_PATH_SIZE], to[CONF_PATH_SIZE];
	struct tree *t;

	if ((t = tree_path(root, "zookeeper.exhibitor")) != NULL) {
		conf_set_path(root, "exhibitor", tree_copy(t));
		tree_remove(root, "zookeeper");
	}
	old_accounts(root);
	move_to(root, "postgresql.name", "name");
	t = tree_path(root, "postgresql.create_replica_methods");
	if (conf_falsy(t))
		conf_remove_path(root, "postgresql.create_replica_methods");
	move_to(root, "postgresql.create_replica_method",
	    "postgresql.create_replica_methods");
	for (int i = 0; i < 2; i++) {
		for (int e = 0; e < 2; e++) {
			snprintf(from, sizeof(from), "etcd%s.%s",
			    e == 1 ? "3" : "", srv[i]);
			snprintf(
			    to, sizeof(to), "etcd%s.srv", e == 1 ? "3" : "");
			move_to(root, from, to);
		}
	}
}

/* ---- filters and derived values ---- */

static bool
is_auth_key(const char *key)
{
	for (size_t i = 0; i < sizeof(auth_keys) / sizeof(auth_keys[0]); i++)
		if (strcmp(key, auth_keys[i]) == 0)
			return true;
	return false;
}

static void
filter_accounts(struct tree *root)
{
	struct tree *auth = tree_path(root, "postgresql.authentication");

	for (uint32_t i = 0; i < tree_count(auth); i++) {
		struct tree *account = tree_child(auth, i);
		uint32_t n = 0;

		while (n < tree_count(account)) {
			struct tree *t = tree_child(account, n);

			if (account->type == TREE_MAP && !is_auth_key(t->key))
				tree_remove(account, t->key);
			else
				n++;
		}
	}
}

/* `auth` from `authentication` and, in the oldest form, the other way. */
static void
derive_auth(struct tree *root, const char *section)
{
	char path[CONF_PATH_SIZE], *both;
	struct tree *s = tree_get(root, section), *t;
	const char *user, *password, *colon;
	int n;

	if (s == NULL || s->type != TREE_MAP)
		return;
	user = tree_path_text(s, "authentication.username", NULL);
	password = tree_path_text(s, "authentication.password", NULL);
	if (user != NULL && password != NULL) {
		if ((n = asprintf(&both, "%s:%s", user, password)) < 0)
			return;
		tree_set(s, "auth", tree_text(both));
		wipe(both, (size_t)n);
		free(both);
		return;
	}
	t = tree_get(s, "auth");
	if (t == NULL || t->type != TREE_TEXT ||
	    (colon = strchr(t->u.s, ':')) == NULL)
		return;
	if ((both = strndup(t->u.s, (size_t)(colon - t->u.s))) == NULL)
		return;
	snprintf(path, sizeof(path), "%s.authentication.username", section);
	conf_set_path(root, path, tree_text(both));
	snprintf(path, sizeof(path), "%s.authentication.password", section);
	conf_set_path(root, path, tree_text(colon + 1));
	free(both);
}

static void
check_citus(struct tree *root)
{
	const struct tree *group = tree_path(root, "citus.group");
	const struct tree *db = tree_path(root, "citus.database");
	int64_t n;

	if (tree_get(root, "citus") == NULL)
		return;
	if (group == NULL || db == NULL || db->type != TREE_TEXT ||
	    !(group->type == TREE_INT ||
		(group->type == TREE_TEXT &&
		    value_int(group->u.s, NULL, &n)))) {
		tree_remove(root, "citus");
		return;
	}
	if (tree_path(root, "bootstrap.dcs") != NULL &&
	    tree_path(root, "bootstrap.dcs.synchronous_mode") == NULL)
		conf_set_path(root, "bootstrap.dcs.synchronous_mode",
		    tree_text("quorum"));
}

/* off, automatic or required (spec 4.9). */
static void
watchdog_mode(struct tree *root, struct conf_notes *notes)
{
	struct tree *t = tree_path(root, "watchdog.mode");
	const char *mode = NULL;
	char text[128];

	if (t == NULL || t->type == TREE_NULL)
		return;
	tree_scalar_text(t, text, sizeof(text));
	if (t->type == TREE_BOOL && !t->u.b)
		mode = "off";
	else if (strcasecmp(text, "required") == 0 ||
	    strcasecmp(text, "require") == 0)
		mode = "required";
	else if (strcasecmp(text, "automatic") == 0 ||
	    strcasecmp(text, "auto") == 0)
		mode = "automatic";
	else if (strcasecmp(text, "off") == 0 ||
	    strcasecmp(text, "disable") == 0 ||
	    strcasecmp(text, "disabled") == 0)
		mode = "off";
	if (mode == NULL) {
		conf_note(notes, CONF_WARNING,
		    "Watchdog mode %s not recognized, disabling watchdog",
		    text);
		mode = "off";
	}
	conf_set_path(root, "watchdog.mode", tree_text(mode));
}

/* Keys of the dynamic configuration have no effect in the local file. */
static void
drop_dynamic(struct tree *root)
{
	char path[CONF_PATH_SIZE];
	uint32_t i = 0;

	while (i < tree_count(root)) {
		const struct tree *t = tree_child(root, i);

		if (conf_path_join(
			path, sizeof(path), "bootstrap.dcs", t->key) &&
		    conf_key_find(path) != NULL &&
		    conf_key_find(t->key) == NULL)
			tree_remove(root, t->key);
		else
			i++;
	}
	conf_remove_path(root, "postgresql.use_slots");
}

/* ---- tags ---- */

static void
tag_conflict(const struct tree *tags, const char *flag, const char *priority,
    struct conf_notes *notes)
{
	const struct tree *f = tree_get(tags, flag);
	const struct tree *p = tree_get(tags, priority);
	char text[128], ftext[128];
	int64_t n;

	if (f == NULL || p == NULL || f->type == TREE_NULL ||
	    p->type == TREE_NULL)
		return;
	tree_scalar_text(p, text, sizeof(text));
	tree_scalar_text(f, ftext, sizeof(ftext));
	if (!value_int(text, NULL, &n))
		return;
	if (conf_falsy(f) != (n <= 0))
		return;
	conf_note(notes, CONF_WARNING,
	    "Conflicting configuration between %s: %s and %s: %s. "
	    "Defaulting to %s: %s",
	    flag, ftext, priority, text, flag, ftext);
}

/* ---- what a daemon cannot do without ---- */

static void
missing(struct conf_notes *notes, bool *ok, const char *path)
{
	conf_note(notes, CONF_ERROR, "%s is not defined", path);
	*ok = false;
}

static void
need_text(const struct tree *root, const char *path, struct conf_notes *notes,
    bool *ok)
{
	const struct tree *t = tree_path(root, path);

	if (t == NULL || t->type != TREE_TEXT || *t->u.s == '\0')
		missing(notes, ok, path);
}

/* Names are fields of fixed size in messages. */
static void
need_short(const struct tree *root, const char *path, struct conf_notes *notes,
    bool *ok)
{
	if (strlen(tree_path_text(root, path, "")) < NAME_SIZE)
		return;
	conf_note(notes, CONF_ERROR, "%s is longer than %d bytes", path,
	    NAME_SIZE - 1);
	*ok = false;
}

static void
need_pair(const struct tree *root, const char *section,
    struct conf_notes *notes, bool *ok)
{
	static const char *const keys[] = { "username", "password" };
	char path[CONF_PATH_SIZE];

	if (!conf_path_join(path, sizeof(path), section, "authentication") ||
	    tree_path(root, path) == NULL)
		return;
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s.authentication.%s", section,
		    keys[i]);
		if (tree_path_text(root, path, NULL) == NULL)
			missing(notes, ok, path);
	}
}

static bool
check_needed(struct conf *conf, struct conf_notes *notes)
{
	const struct tree *root = conf->effective;
	bool ok = true;

	if (strcmp(tree_path_text(root, "name", ""), SSN_PLACEHOLDER) == 0) {
		conf_note(notes, CONF_ERROR, "Node 'name' can't be set to '%s'",
		    SSN_PLACEHOLDER);
		return false;
	}
	need_text(root, "name", notes, &ok);
	need_text(root, "scope", notes, &ok);
	need_short(root, "name", notes, &ok);
	need_short(root, "scope", notes, &ok);
	need_text(root, "restapi.listen", notes, &ok);
	need_text(root, "postgresql.data_dir", notes, &ok);
	need_text(root, "postgresql.listen", notes, &ok);
	need_pair(root, "restapi", notes, &ok);
	need_pair(root, "ctl", notes, &ok);
	if (tree_path(root, "postgresql.authentication.replication") == NULL)
		conf_note(notes, CONF_WARNING,
		    "postgresql.authentication.replication is not defined");
	if (ok && conf_store(conf) == NULL) {
		for (const char *const *s = conf_stores; *s != NULL; s++)
			if (tree_get(root, *s) != NULL)
				conf_note(notes, CONF_ERROR,
				    "%s: this build has no driver for it", *s);
		conf_note(notes, CONF_ERROR, "%s", STORE_MISSING);
		ok = false;
	}
	return ok;
}

bool
conf_build(struct conf *conf, unsigned flags, struct conf_notes *notes)
{
	const struct tree *tags;

	if ((conf->effective = tree_copy(conf->local)) == NULL) {
		conf_note(notes, CONF_ERROR, "out of memory");
		return false;
	}
	drop_dynamic(conf->effective);
	old_forms(conf->effective);
	filter_accounts(conf->effective);
	watchdog_mode(conf->effective, notes);
	check_citus(conf->effective);
	if (!conf_normalise(conf, notes))
		return false;
	derive_auth(conf->effective, "restapi");
	derive_auth(conf->effective, "ctl");
	if ((flags & CONF_LOAD_CTL) != 0)
		return true;
	tags = tree_get(conf->effective, "tags");
	tag_conflict(tags, "nofailover", "failover_priority", notes);
	tag_conflict(tags, "nosync", "sync_priority", notes);
	return check_needed(conf, notes);
}
