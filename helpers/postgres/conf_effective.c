/*
 * conf_effective.c: the effective configuration (spec/config.md 2.4, 2.5,
 * 6.1-6.4): defaults <- dynamic document <- local tree, role overlay, and
 * the fields that are read from it once.  Parameter rules are in
 * conf_params.c, the cache file in conf_cache.c.
 */
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../ipc/view_rules.h"
#include "../../ipc/log.h"
#include "../../ipc/values.h"
#include "../ha/ha.h"
#include "conf_params.h"

static const char *const standby_keys[] = { "host", "port", "primary_slot_name",
	"create_replica_methods", "restore_command", "archive_cleanup_command",
	"recovery_min_apply_delay" };
static const char *const local_only[] = { "connect_address", "proxy_address",
	"listen", "config_dir", "data_dir", "pgpass", "authentication" };

static bool
is_in(const char *key, const char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(key, v[i]) == 0)
			return true;
	return false;
}

/* Integer of 6.4: numbers (truncated) and their text, no units. */
static bool
plain_int(const struct tree *t, int64_t *out)
{
	if (t->type == TREE_INT) {
		*out = t->u.i;
		return true;
	}
	if (t->type == TREE_REAL) {
		if (!isfinite(t->u.r) || fabs(t->u.r) > 1e15)
			return false;
		*out = (int64_t)t->u.r;
		return true;
	}
	if (t->type == TREE_BOOL) {
		*out = t->u.b;
		return true;
	}
	return t->type == TREE_TEXT &&
	    text_to_int64(t->u.s, INT64_MIN, INT64_MAX, out);
}

static bool
timeout_value(const struct tree *dynamic, const char *key, int64_t dflt,
    int64_t *out, struct pgerr *err)
{
	const struct tree *t = tree_get(dynamic, key);

	*out = dflt;
	if (t == NULL || plain_int(t, out))
		return true;
	return fail(err, "dynamic configuration: %s is not an integer", key);
}

static void
write_back(struct tree *dynamic, const char *key, int64_t was, int64_t is)
{
	if (was != is)
		put(dynamic, key, tree_int(is));
}

static int64_t
at_least(const char *key, int64_t v, int64_t min)
{
	if (v >= min)
		return v;
	log_warn("%s=%lld can't be smaller than %lld, adjusting...", key,
	    (long long)v, (long long)min);
	return min;
}

/* 6.4: the rule is the core's ha_clamp(); here its result is told and put
 * into the document. */
static bool
clamp_timeouts(struct pgconf *c, struct pgerr *err)
{
	struct msg_dcs_settings *s = &c->settings;
	int64_t ttl, loop, retry, min_ttl, min_loop, min_retry;

	if (!timeout_value(c->dynamic, "ttl", 30, &ttl, err) ||
	    !timeout_value(c->dynamic, "loop_wait", 10, &loop, err) ||
	    !timeout_value(c->dynamic, "retry_timeout", 10, &retry, err))
		return false;
	ha_clamp(ttl, loop, retry, s);
	min_loop = at_least("loop_wait", loop, 1);
	min_retry = at_least("retry_timeout", retry, 3);
	min_ttl = at_least("ttl", ttl, 20);
	if (s->retry_timeout != min_retry)
		log_warn(
		    "Violated the rule \"loop_wait + 2*retry_timeout <= "
		    "ttl\", where ttl=%lld. Adjusting loop_wait from %lld to "
		    "%lld and retry_timeout from %lld to %lld",
		    (long long)min_ttl, (long long)min_loop,
		    (long long)s->loop_wait, (long long)min_retry,
		    (long long)s->retry_timeout);
	else if (s->loop_wait != min_loop)
		log_warn(
		    "Violated the rule \"loop_wait + 2*retry_timeout <= "
		    "ttl\", where ttl=%lld and retry_timeout=%lld. Adjusting "
		    "loop_wait from %lld to %lld",
		    (long long)min_ttl, (long long)min_retry,
		    (long long)min_loop, (long long)s->loop_wait);
	write_back(c->dynamic, "ttl", ttl, s->ttl);
	write_back(c->dynamic, "loop_wait", loop, s->loop_wait);
	write_back(c->dynamic, "retry_timeout", retry, s->retry_timeout);
	put(c->root, "ttl", tree_int(s->ttl));
	put(c->root, "loop_wait", tree_int(s->loop_wait));
	put(c->root, "retry_timeout", tree_int(s->retry_timeout));
	return true;
}

static void
take_standby_cluster(struct pgconf *c)
{
	const struct tree *from = tree_get(c->dynamic, "standby_cluster");
	struct tree *sc = must(tree_map());

	for (size_t i = 0; i < sizeof(standby_keys) / sizeof(*standby_keys);
	     i++) {
		const struct tree *v = tree_get(from, standby_keys[i]);

		if (v == NULL)
			put_text(sc, standby_keys[i], "");
		else
			put_copy(sc, standby_keys[i], v);
	}
	c->is_standby_cluster = standby_cluster_valid(sc);
	put(c->root, "standby_cluster", sc);
}

/* Merge one `parameters` mapping; dcs: with the checks of 10.1, else names
 * of 10.1 are dropped. */
static bool
take_parameters(
    struct tree *params, const struct tree *from, bool dcs, struct pgerr *err)
{
	if (from == NULL || from->type == TREE_NULL)
		return true;
	if (from->type != TREE_MAP)
		return fail(err, "postgresql.parameters is not a dictionary");
	for (uint32_t i = 0; i < tree_count(from); i++) {
		const struct tree *v = tree_child(from, i);

		if (!pgparam_is_dcs_only(v->key))
			put_param(params, v->key, must(tree_copy(v)));
		else if (dcs)
			pgparam_take_dcs(params, v);
	}
	return true;
}

static bool
take_dynamic(
    struct pgconf *c, struct tree *pg, struct tree *params, struct pgerr *err)
{
	const struct tree *from = tree_get(c->dynamic, "postgresql");

	if (from != NULL && from->type != TREE_MAP && from->type != TREE_NULL)
		return fail(err,
		    "dynamic configuration: postgresql is not a "
		    "dictionary");
	for (uint32_t i = 0; i < tree_count(from); i++) {
		const struct tree *v = tree_child(from, i);

		if (strcmp(v->key, "parameters") != 0 &&
		    !is_in(v->key, local_only,
			sizeof(local_only) / sizeof(*local_only)))
			put_copy(pg, v->key, v);
	}
	return take_parameters(params, tree_get(from, "parameters"), true, err);
}

static bool
take_local(struct pgconf *c, const struct tree *local, struct tree *pg,
    struct tree *params, struct pgerr *err)
{
	const struct tree *from = tree_get(local, "postgresql");

	for (uint32_t i = 0; i < tree_count(local); i++) {
		const struct tree *v = tree_child(local, i);

		if (tree_get(c->root, v->key) != NULL ||
		    strcmp(v->key, "postgresql") == 0)
			continue;
		if (tree_truthy(v))
			put_copy(c->root, v->key, v);
		else
			put(c->root, v->key, tree_map());
	}
	if (from == NULL || from->type != TREE_MAP)
		return fail(
		    err, "configuration: section postgresql is missing");
	for (uint32_t i = 0; i < tree_count(from); i++) {
		const struct tree *v = tree_child(from, i);

		if (strcmp(v->key, "parameters") != 0 &&
		    strcmp(v->key, "use_slots") != 0)
			put_copy(pg, v->key, v);
	}
	return take_parameters(
	    params, tree_get(from, "parameters"), false, err);
}

/* 2.5 */
static void
apply_overlay(struct tree *pg, struct tree *params, const char *word)
{
	static const char *const lists[] = { "pg_hba", "pg_ident" };
	const struct tree *o;
	char key[64];

	snprintf(key, sizeof(key), "parameters_%s", word);
	o = tree_get(pg, key);
	for (uint32_t i = 0;
	     o != NULL && o->type == TREE_MAP && i < tree_count(o); i++) {
		const struct tree *v = tree_child(o, i);

		if (pgparam_is_dcs_only(v->key))
			log_warn("Role-based config attempted to override "
				 "protected parameter '%s', ignoring",
			    v->key);
		else
			put_param(params, v->key, must(tree_copy(v)));
	}
	for (size_t i = 0; i < 2; i++) {
		snprintf(key, sizeof(key), "%s_%s", lists[i], word);
		o = tree_get(pg, key);
		if (o != NULL)
			put_copy(pg, lists[i], o);
	}
}

static void
home_file(char *out, const char *name)
{
	const char *home = getenv("HOME");
	const struct passwd *pw;

	if (home == NULL || home[0] != '/') {
		pw = getpwuid(geteuid());
		home = pw == NULL ? "/" : pw->pw_dir;
	}
	if (!path_join(out, home, name))
		snprintf(out, PATH_SIZE, "/%s", name);
}

/* host:port/db with brackets around an IPv6 address (13.1). */
static bool
build_url(char *out, size_t size, const char *scheme, const char *host,
    int port, const char *path)
{
	bool v6 = strchr(host, ':') != NULL && strchr(host, ',') == NULL;
	int n;

	if (port > 0)
		n = snprintf(out, size, "%s://%s%s%s:%d/%s", scheme,
		    v6 ? "[" : "", host, v6 ? "]" : "", port, path);
	else
		n = snprintf(out, size, "%s://%s%s%s/%s", scheme, v6 ? "[" : "",
		    host, v6 ? "]" : "", path);
	return n >= 0 && (size_t)n < size;
}

static void
local_tcp_host(struct pgconf *c)
{
	static const char *const any[] = { "*", "localhost", "0.0.0.0",
		"127.0.0.1" };
	char copy[PGCONF_ADDRESS_SIZE], *save = NULL, *p, *first = NULL;

	memcpy(copy, c->listen_addresses, sizeof(copy));
	for (p = strtok_r(copy, ", ", &save); p != NULL;
	     p = strtok_r(NULL, ", ", &save)) {
		if (first == NULL)
			first = p;
		if (is_in(p, any, 4)) {
			first = NULL;
			break;
		}
	}
	if (first == NULL || !text_set(c->tcp_host, sizeof(c->tcp_host), first))
		text_set(c->tcp_host, sizeof(c->tcp_host), "localhost");
}

static bool
read_addresses(struct pgconf *c, struct pgerr *err)
{
	char text[PGCONF_ADDRESS_SIZE], host[PGCONF_ADDRESS_SIZE];
	int port;

	if (!path_text(c->pg, "listen", text, sizeof(text)) || text[0] == '\0')
		return fail(err,
		    "configuration: postgresql.listen is missing "
		    "or too long");
	if (!value_host_port(text, 5432, c->listen_addresses,
		sizeof(c->listen_addresses), &port))
		return fail(err,
		    "configuration: postgresql.listen: "
		    "expected <HOST>:<PORT>, but got \"%s\"",
		    text);
	snprintf(c->port, sizeof(c->port), "%d", port);
	memcpy(c->tcp_port, c->port, sizeof(c->tcp_port));
	local_tcp_host(c);
	memcpy(c->connect_host, c->tcp_host, sizeof(c->connect_host));
	memcpy(c->connect_port, c->port, sizeof(c->connect_port));
	if (!path_text(c->pg, "connect_address", text, sizeof(text)))
		return fail(err,
		    "configuration: postgresql.connect_address is "
		    "too long");
	if (text[0] != '\0') {
		if (!value_host_port(text, 5432, c->connect_host,
			sizeof(c->connect_host), &port))
			return fail(err,
			    "configuration: postgresql."
			    "connect_address: expected <HOST>:<PORT>, but got "
			    "\"%s\"",
			    text);
		snprintf(c->connect_port, sizeof(c->connect_port), "%d", port);
	}
	if (!build_url(c->conn_url, sizeof(c->conn_url), "postgres",
		c->connect_host, port, c->database))
		return fail(err,
		    "configuration: postgresql.connect_address is "
		    "too long");
	path_text(c->pg, "proxy_address", text, sizeof(text));
	if (text[0] != '\0' &&
	    (!value_host_port(text, 5432, host, sizeof(host), &port) ||
		!build_url(c->proxy_url, sizeof(c->proxy_url), "postgres", host,
		    port, c->database)))
		return fail(err,
		    "configuration: postgresql.proxy_address: "
		    "expected <HOST>:<PORT>, but got \"%s\"",
		    text);
	return true;
}

static bool
read_api_url(struct pgconf *c, struct pgerr *err)
{
	char text[PGCONF_ADDRESS_SIZE];
	bool tls = tree_truthy(tree_path(c->root, "restapi.certfile"));
	int n;

	path_text(c->root, "restapi.connect_address", text, sizeof(text));
	if (text[0] == '\0')
		path_text(c->root, "restapi.listen", text, sizeof(text));
	if (text[0] == '\0')
		return true;
	n = snprintf(c->api_url, sizeof(c->api_url), "%s://%s/patroni",
	    tls ? "https" : "http", text);
	if (n < 0 || (size_t)n >= sizeof(c->api_url))
		return fail(err,
		    "configuration: restapi.connect_address is "
		    "too long");
	return true;
}

static bool
read_paths(struct pgconf *c, struct pgerr *err)
{
	char text[PATH_SIZE];

	if (!path_text(c->pg, "data_dir", c->data_dir, PATH_SIZE - 128) ||
	    c->data_dir[0] == '\0')
		return fail(err,
		    "configuration: postgresql.data_dir is "
		    "missing or too long");
	/* "/data/" and "/data" are one directory */
	for (size_t n = strlen(c->data_dir); n > 1 && c->data_dir[n - 1] == '/';
	     n--)
		c->data_dir[n - 1] = '\0';
	if (!path_text(c->pg, "config_dir", text, PATH_SIZE - 128))
		return fail(err,
		    "configuration: postgresql.config_dir is too "
		    "long");
	if (text[0] == '\0')
		memcpy(text, c->data_dir, sizeof(text));
	if (text[0] == '/')
		memcpy(c->config_dir, text, sizeof(text));
	else {
		char cwd[PATH_SIZE];

		if (getcwd(cwd, sizeof(cwd)) == NULL ||
		    !path_join(c->config_dir, cwd, text))
			return fail(err,
			    "configuration: postgresql.config_dir "
			    "cannot be made absolute");
	}
	for (size_t n = strlen(c->config_dir);
	     n > 1 && c->config_dir[n - 1] == '/'; n--)
		c->config_dir[n - 1] = '\0';
	if (!path_text(c->pg, "config_base_name", c->base_name,
		sizeof(c->base_name)) ||
	    !path_text(c->pg, "custom_conf", c->custom_conf, PATH_SIZE) ||
	    !path_text(c->pg, "bin_dir", c->bin_dir, PATH_SIZE - 128) ||
	    !path_text(c->pg, "pgpass", c->pgpass, PATH_SIZE) ||
	    !path_text(
		c->pg, "krbsrvname", c->krbsrvname, sizeof(c->krbsrvname)))
		return fail(err,
		    "configuration: a value of postgresql."
		    "config_base_name, custom_conf, bin_dir, pgpass or "
		    "krbsrvname is too long");
	if (c->base_name[0] == '\0')
		text_set(c->base_name, sizeof(c->base_name), "postgresql");
	if (c->pgpass[0] == '\0')
		home_file(c->pgpass, "pgpass");
	return true;
}

static int32_t
ctl_timeout(const struct pgconf *c)
{
	const struct tree *t = tree_get(c->pg, "pg_ctl_timeout");
	int64_t v;

	if (t == NULL || !plain_int(t, &v) || v < 0 || v > 86400 * 365)
		return 60;
	return (int32_t)v;
}

static int32_t
slots_ttl(const struct pgconf *c)
{
	const struct tree *t = tree_get(c->dynamic, "member_slots_ttl");
	int64_t v = 1800;
	char *s;

	if (t == NULL || t->type == TREE_MAP || t->type == TREE_LIST)
		return 1800;
	s = scalar_text(t);
	if (!value_int(s, "s", &v))
		v = 1800;
	free(s);
	return v < 0 ? 0 : v > INT32_MAX ? INT32_MAX : (int32_t)v;
}

static void
read_modes(struct pgconf *c)
{
	const struct tree *sm = tree_get(c->dynamic, "synchronous_mode");

	c->synchronous_mode_quorum = sm != NULL && sm->type == TREE_TEXT &&
	    strcasecmp(sm->u.s, "quorum") == 0;
	c->synchronous_mode =
	    c->synchronous_mode_quorum || tree_boolean(sm, false);
	c->synchronous_mode_strict = tree_boolean(
	    tree_get(c->dynamic, "synchronous_mode_strict"), false);
	if (c->is_standby_cluster)
		c->synchronous_mode = c->synchronous_mode_quorum = false;
	c->use_slots = tree_boolean(tree_get(c->pg, "use_slots"), true);
	c->use_pg_rewind =
	    tree_boolean(tree_get(c->pg, "use_pg_rewind"), false);
	c->use_unix_socket =
	    tree_boolean(tree_get(c->pg, "use_unix_socket"), false);
	c->use_unix_socket_repl =
	    tree_boolean(tree_get(c->pg, "use_unix_socket_repl"), false);
	c->remove_data_on_diverged = tree_boolean(
	    tree_get(c->pg, "remove_data_directory_on_diverged_timelines"),
	    false);
	c->remove_data_on_rewind_failure = tree_boolean(
	    tree_get(c->pg, "remove_data_directory_on_rewind_failure"), false);
	c->has_bootstrap = tree_get(c->root, "bootstrap") != NULL;
	c->pg_ctl_timeout = ctl_timeout(c);
	c->member_slots_ttl = slots_ttl(c);
}

static bool
read_fields(struct pgconf *c, struct pgerr *err)
{
	if (!path_text(c->root, "name", c->name, sizeof(c->name)) ||
	    c->name[0] == '\0')
		return fail(err, "configuration: name is missing or too long");
	if (!path_text(c->root, "scope", c->scope, sizeof(c->scope)) ||
	    c->scope[0] == '\0')
		return fail(err, "configuration: scope is missing or too long");
	if (!path_text(c->pg, "database", c->database, sizeof(c->database)))
		return fail(err,
		    "configuration: postgresql.database is too "
		    "long");
	if (c->database[0] == '\0')
		text_set(c->database, sizeof(c->database), "postgres");
	if (pgconf_credentials(c, "replication") == NULL)
		return fail(err,
		    "configuration: postgresql.authentication."
		    "replication is missing");
	if (!read_paths(c, err) || !read_addresses(c, err) ||
	    !read_api_url(c, err))
		return false;
	read_modes(c);
	return true;
}

struct pgconf *
pgconf_build(const struct tree *local, const struct tree *dynamic,
    enum pg_role role, struct pgerr *err)
{
	struct pgconf *c = must(calloc(1, sizeof(*c)));
	struct tree *pg, *params;
	const char *word = overlay_word(role);

	err->text[0] = '\0';
	c->root = must(tree_map());
	c->dynamic = must(dynamic == NULL || dynamic->type != TREE_MAP ?
		tree_map() :
		tree_copy(dynamic));
	pg = must(tree_map());
	put(pg, "use_slots", tree_bool(true));
	params = pgparam_defaults();
	if (!clamp_timeouts(c, err))
		goto bad;
	take_standby_cluster(c);
	if (!take_dynamic(c, pg, params, err) ||
	    !take_local(c, local, pg, params, err))
		goto bad;
	if (word != NULL) {
		apply_overlay(pg, params, word);
		c->overlay = strcmp(word, "primary") == 0 ? ROLE_PRIMARY :
		    strcmp(word, "replica") == 0	  ? ROLE_REPLICA :
							    ROLE_STANDBY_LEADER;
	}
	put(pg, "parameters", params);
	put(c->root, "postgresql", pg);
	c->pg = pg;
	if (read_fields(c, err))
		return c;
	pgconf_free(c);
	return NULL;
bad:
	tree_free_wiped(params);
	tree_free_wiped(pg);
	pgconf_free(c);
	return NULL;
}

void
pgconf_keep_fixed(struct pgconf *c, const struct pgconf *old)
{
	memcpy(c->name, old->name, sizeof(c->name));
	memcpy(c->scope, old->scope, sizeof(c->scope));
	memcpy(c->data_dir, old->data_dir, sizeof(c->data_dir));
	memcpy(c->config_dir, old->config_dir, sizeof(c->config_dir));
	memcpy(c->base_name, old->base_name, sizeof(c->base_name));
	memcpy(c->bin_dir, old->bin_dir, sizeof(c->bin_dir));
	memcpy(c->database, old->database, sizeof(c->database));
	memcpy(c->pgpass, old->pgpass, sizeof(c->pgpass));
}

void
pgconf_free(struct pgconf *c)
{
	if (c == NULL)
		return;
	tree_free_wiped(c->root);
	tree_free_wiped(c->dynamic);
	wipe(c, sizeof(*c));
	free(c);
}

const struct tree *
pgconf_choose(
    const struct tree *dcs, const struct tree *cache, const struct tree *local)
{
	if (dcs != NULL && dcs->type == TREE_MAP && tree_count(dcs) > 0)
		return dcs;
	if (cache != NULL && cache->type == TREE_MAP)
		return cache;
	return tree_path(local, "bootstrap.dcs");
}

void
pgconf_program(const struct pgconf *c, const char *command, char out[PATH_SIZE])
{
	const struct tree *names = tree_get(c->pg, "bin_name");
	const struct tree *name = tree_get(names, command);

	if (tree_truthy(name) && name->type == TREE_TEXT)
		command = name->u.s;
	if (c->bin_dir[0] != '\0' && path_join(out, c->bin_dir, command))
		return;
	if (!text_set(out, PATH_SIZE, command))
		out[0] = '\0';
}

void
pgconf_config_file(const struct pgconf *c, char out[PATH_SIZE])
{
	char name[WORD_SIZE + 8];

	snprintf(name, sizeof(name), "%s.conf", c->base_name);
	path_join(out, c->config_dir, name);
}

const char *
pgconf_callback(const struct pgconf *c, const char *name)
{
	const struct tree *t = tree_get(tree_get(c->pg, "callbacks"), name);

	return tree_truthy(t) && t->type == TREE_TEXT ? t->u.s : NULL;
}

const char *
pgconf_hook(const struct pgconf *c, const char *name)
{
	const struct tree *t = tree_get(c->pg, name);

	return tree_truthy(t) && t->type == TREE_TEXT ? t->u.s : NULL;
}

const struct tree *
pgconf_credentials(const struct pgconf *c, const char *which)
{
	const struct tree *a =
	    tree_get(tree_get(c->pg, "authentication"), which);

	return a != NULL && a->type == TREE_MAP ? a : NULL;
}

const struct tree *
pgconf_rewind_credentials(const struct pgconf *c, uint32_t major)
{
	const struct tree *a = pgconf_credentials(c, "rewind");

	if (a != NULL && tree_count(a) > 0 && pgfeatures(major).rewind_user)
		return a;
	return pgconf_credentials(c, "superuser");
}
