/*
 * parts.c: what of the configuration goes to which process (design 12).
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/values.h"
#include "internal.h"

const char *
conf_store(const struct conf *conf)
{
	for (const char *const *s = conf_built_stores; *s != NULL; s++)
		if (tree_get(conf->effective, *s) != NULL)
			return *s;
	return NULL;
}

static bool
is_store(const char *word)
{
	for (const char *const *s = conf_stores; *s != NULL; s++)
		if (strcmp(*s, word) == 0)
			return true;
	return false;
}

static bool
give(struct tree *out, const char *path, const struct tree *value)
{
	return value == NULL || conf_set_path(out, path, tree_copy(value));
}

/*
 * Copy the keys of a section whose rows name the process.  Sections that are
 * the user's own (no row below them) come whole with their row.
 */
static bool
give_section(
    struct tree *out, const struct tree *map, const char *path, unsigned who)
{
	const struct conf_key *k;
	char sub[CONF_PATH_SIZE];

	if (tree_path(out, path) == NULL &&
	    !conf_set_path(out, path, tree_map()))
		return false;
	for (uint32_t i = 0; i < tree_count(map); i++) {
		const struct tree *t = tree_child(map, i);

		/* a dot in a key of the user's: the path would lie */
		if (!conf_path_join(sub, sizeof(sub), path, t->key) ||
		    strchr(t->key, '.') != NULL)
			continue;
		if ((k = conf_key_find(sub)) == NULL || (k->helpers & who) == 0)
			continue;
		if (k->type == CONF_SECTION && t->type == TREE_MAP &&
		    strcmp(sub, "bootstrap.dcs") != 0) {
			if (!give_section(out, t, sub, who))
				return false;
		} else if (!give(out, sub, t))
			return false;
	}
	return true;
}

static bool
give_top(
    struct tree *out, const struct conf *conf, unsigned who, const char *store)
{
	for (const struct conf_key *k = conf_keys; k->path != NULL; k++) {
		const struct tree *t;
		bool sub = strchr(k->path, '.') != NULL;

		if (sub || (is_store(k->path) && strcmp(k->path, store) != 0))
			continue;
		if ((t = tree_get(conf->effective, k->path)) == NULL)
			continue;
		if (k->type == CONF_SECTION) {
			if (strcmp(k->path, "tags") == 0) {
				if ((k->helpers & who) != 0 &&
				    !give(out, k->path, t))
					return false;
			} else if ((k->helpers & who) != 0 &&
			    !give_section(out, t, k->path, who))
				return false;
		} else if ((k->helpers & who) != 0 && !give(out, k->path, t))
			return false;
	}
	return true;
}

/* What calls to peers need, fallbacks of spec 4.8 resolved. */
static bool
give_peer_access(struct tree *out, const struct conf *conf)
{
	const struct tree *root = conf->effective;
	bool ok = true;

	if (tree_path(out, "ctl.authentication.username") == NULL) {
		tree_remove(tree_get(out, "ctl"), "authentication");
		ok = give(out, "ctl.authentication",
			 tree_path(root, "restapi.authentication")) &&
		    give(out, "ctl.auth", tree_path(root, "restapi.auth"));
	}
	if (ok && tree_path(out, "ctl.cacert") == NULL)
		ok = give(out, "ctl.cacert", tree_path(root, "restapi.cafile"));
	return ok;
}

static bool
give_kubeconfig(struct tree *out, const struct conf *conf, const char *store)
{
	struct tree *t;

	if (strcmp(store, "kubernetes") != 0)
		return true;
	t = conf_kubeconfig(conf->effective);
	return t == NULL || conf_set_path(out, "kubernetes.kubeconfig", t);
}

/* The controller publishes the address of the REST interface. */
static bool
give_api_address(struct tree *out, const struct conf *conf)
{
	static const char *const keys[] = { "restapi.listen",
		"restapi.connect_address", "restapi.certfile" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!give(out, keys[i], tree_path(conf->effective, keys[i])))
			return false;
	return true;
}

static bool
give_ttl(struct tree *out, const struct conf *conf)
{
	const struct tree *t = tree_path(conf->effective, "bootstrap.dcs.ttl");
	int64_t ttl = 30;
	char text[64];

	if (t != NULL) {
		tree_scalar_text(t, text, sizeof(text));
		if (!value_int(text, NULL, &ttl) || ttl < 20 || ttl > 86400)
			ttl = 30;
	}
	return tree_set(out, "ttl", tree_int(ttl));
}

struct tree *
conf_for(const struct conf *conf, enum proc proc)
{
	const char *store = conf_store(conf);
	struct tree *out = tree_map();
	bool ok;

	if (out == NULL)
		return NULL;
	if (store == NULL)
		store = "";
	ok = give_top(out, conf, 1u << proc, store);
	if (ok && proc != PROC_WATCHDOG)
		ok = tree_set(out, "store", tree_text(store)) &&
		    (tree_get(out, "namespace") != NULL ||
			tree_set(out, "namespace", tree_text("service")));
	if (ok && proc == PROC_DCS)
		ok = give_peer_access(out, conf) &&
		    give_kubeconfig(out, conf, store);
	if (ok && proc == PROC_POSTGRES)
		ok = give_api_address(out, conf);
	if (ok && proc == PROC_WATCHDOG)
		ok = give_ttl(out, conf);
	if (ok)
		return out;
	tree_free_wiped(out);
	return NULL;
}

const char *
conf_user(const struct conf *conf)
{
	return tree_path_text(conf->effective, "user", "_patroni");
}

const char *
conf_database_user(const struct conf *conf)
{
	return tree_path_text(conf->effective, "database_user", NULL);
}

/* A name as part of a file name. */
static void
safe_name(const char *name, char *buf, size_t size)
{
	size_t i;

	for (i = 0; name[i] != '\0' && i + 1 < size; i++)
		buf[i] = name[i] == '/' ? '_' : name[i];
	buf[i] = '\0';
}

static uint32_t
add_socket(char out[][PATH_SIZE], uint32_t n, const char *path)
{
	/* sun_path holds 108 bytes */
	if (strlen(path) >= 108 || !text_set(out[n], PATH_SIZE, path))
		return n;
	return n + 1;
}

uint32_t
conf_control_sockets(
    const struct conf *conf, char out[CONF_SOCKET_CANDIDATES][PATH_SIZE])
{
	const char *set =
	    tree_path_text(conf->effective, "control_socket", NULL);
	const char *data =
	    tree_path_text(conf->effective, "postgresql.data_dir", "");
	char scope[NAME_SIZE], name[NAME_SIZE], path[PATH_SIZE];
	size_t len = strlen(data);
	uint32_t n = 0;
	int got;

	if (set != NULL && *set != '\0')
		return add_socket(out, 0, set);
	safe_name(
	    tree_path_text(conf->effective, "scope", ""), scope, sizeof(scope));
	safe_name(
	    tree_path_text(conf->effective, "name", ""), name, sizeof(name));
	snprintf(path, sizeof(path), "/run/patroni/%s-%s.sock", scope, name);
	n = add_socket(out, n, path);
	while (len > 1 && data[len - 1] == '/')
		len--;
	while (len > 0 && data[len - 1] != '/')
		len--;
	if (len == 0)
		return n;
	got = snprintf(
	    path, sizeof(path), "%.*s.patroni-%s.sock", (int)len, data, name);
	if (got > 0 && (size_t)got < sizeof(path))
		n = add_socket(out, n, path);
	return n;
}
