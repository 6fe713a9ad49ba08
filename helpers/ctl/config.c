/*
 * config.c: which configuration patronictl uses, and -d (patronictl.md 3, 4).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

struct scheme {
	const char *name;
	int port;
};

/* Order: the one in which a port without a scheme is looked up. */
static const struct scheme schemes[] = {
	{ "zookeeper", 2181 },
	{ "exhibitor", 8181 },
	{ "consul", 8500 },
	{ "etcd", 2379 },
	{ "etcd3", 2379 },
};
#define NSCHEMES (sizeof(schemes) / sizeof(schemes[0]))

void
config_default_path(char *out, size_t size)
{
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n;

	if (xdg != NULL && xdg[0] != '\0')
		n = snprintf(out, size, "%s/patroni/patronictl.yaml", xdg);
	else
		n = snprintf(out, size, "%s/.config/patroni/patronictl.yaml",
		    home != NULL ? home : "");
	if (n < 0 || (size_t)n >= size)
		out[0] = '\0';
}

/* ---- -d ---- */

static const struct scheme *
scheme_by_port(int port)
{
	size_t i;

	for (i = 0; i < NSCHEMES; i++)
		if (schemes[i].port == port)
			return &schemes[i];
	return &schemes[3]; /* etcd */
}

static const struct scheme *
scheme_by_name(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < NSCHEMES; i++)
		if (strlen(schemes[i].name) == len &&
		    strncmp(schemes[i].name, name, len) == 0)
			return &schemes[i];
	ctl_error("Unknown dcs scheme: %.*s", (int)len, name);
}

struct address {
	char host[NAME_SIZE * 2]; /* lower case, IPv6 in brackets */
	int port;		  /* 0 = not given */
	const char *path;
};

/* What follows the "//". */
static void
parse_address(const char *text, struct address *a)
{
	size_t len = strcspn(text, "/?#"), i, hostlen;
	const char *at, *colon = NULL;
	int64_t port;
	char digits[16];

	a->path = text[len] == '/' ? text + len : "";
	at = memrchr(text, '@', len);
	if (at != NULL) {
		len -= (size_t)(at + 1 - text);
		text = at + 1;
	}
	if (len > 0 && text[len - 1] != ']')
		colon = memrchr(text, ':', len);
	hostlen = colon != NULL ? (size_t)(colon - text) : len;
	if (hostlen >= sizeof(a->host))
		ctl_error("host name too long");
	for (i = 0; i < hostlen; i++)
		a->host[i] = text[i] >= 'A' && text[i] <= 'Z' ?
		    (char)(text[i] + 32) :
		    text[i];
	a->host[hostlen] = '\0';
	if (hostlen == 0)
		(void)text_set(a->host, sizeof(a->host), "localhost");
	a->port = 0;
	if (colon == NULL || colon + 1 == text + len)
		return;
	len -= hostlen + 1;
	if (len >= sizeof(digits))
		usage_error(NULL, "Invalid port in the DCS url");
	memcpy(digits, colon + 1, len);
	digits[len] = '\0';
	if (!text_to_int64(digits, 0, 65535, &port))
		usage_error(NULL, "Invalid port in the DCS url: %s", digits);
	a->port = (int)port;
}

static struct tree *
section(const struct scheme *s, const struct address *a)
{
	struct tree *map = tree_map(), *hosts;
	char both[sizeof(a->host) + 16];
	int port = a->port != 0 ? a->port : s->port;

	(void)snprintf(both, sizeof(both), "%s:%d", a->host, port);
	if (strcmp(s->name, "zookeeper") == 0) {
		hosts = tree_list();
		(void)tree_append(hosts, tree_text(both));
		(void)tree_set(map, "hosts", hosts);
	} else if (strcmp(s->name, "exhibitor") == 0) {
		hosts = tree_list();
		(void)tree_append(hosts, tree_text(a->host));
		(void)tree_set(map, "hosts", hosts);
		(void)tree_set(map, "port", tree_int(port));
	} else
		(void)tree_set(map, "host", tree_text(both));
	return map;
}

static void
apply_url(struct conf *conf, const char *url)
{
	const struct scheme *s = NULL;
	const char *rest = strstr(url, "//");
	struct address a;
	size_t i;

	if (rest == NULL)
		rest = url;
	else {
		if (rest > url && rest[-1] == ':')
			s = scheme_by_name(url, (size_t)(rest - 1 - url));
		rest += 2;
	}
	parse_address(rest, &a);
	if (s == NULL)
		s = scheme_by_port(a.port);
	for (i = 0; i < NSCHEMES; i++)
		tree_remove(conf->effective, schemes[i].name);
	(void)tree_set(conf->effective, s->name, section(s, &a));
	if (a.path[0] != '\0' && strcmp(a.path, "/") != 0) {
		char path[PATH_SIZE];
		size_t len = strcspn(a.path, "?#");

		if (len >= sizeof(path))
			ctl_error("namespace too long");
		memcpy(path, a.path, len);
		path[len] = '\0';
		(void)tree_set(conf->effective, "namespace", tree_text(path));
	}
}

/* ---- the file ---- */

static bool
credentials_whole(const struct conf *conf, const char *path)
{
	char user[64], pass[64];

	(void)snprintf(user, sizeof(user), "%s.username", path);
	(void)snprintf(pass, sizeof(pass), "%s.password", path);
	return (tree_path(conf->effective, user) == NULL) ==
	    (tree_path(conf->effective, pass) == NULL);
}

/* The whole configuration in one variable: of no use when it is unreadable. */
static void
check_document(const struct conf_notes *notes)
{
	static const char name[] = "PATRONI_CONFIGURATION";
	uint32_t i;

	for (i = 0; i < notes->n; i++)
		if (strncmp(notes->v[i].text, name, sizeof(name) - 1) == 0)
			ctl_error("%s", notes->v[i].text);
}

void
config_load(struct ctl *ctl, const char *file, const char *url)
{
	char dflt[PATH_SIZE];
	struct conf_notes notes;
	struct conf_env *env;
	bool given = file != NULL;

	memset(&notes, 0, sizeof(notes));
	config_default_path(dflt, sizeof(dflt));
	if (!given)
		file = dflt;
	if (access(file, R_OK) == -1) {
		if (given && strcmp(file, dflt) != 0)
			ctl_error(
			    "Provided config file %s not existing or no "
			    "read rights. Check the -c/--config-file parameter",
			    file);
		log_debug("Ignoring configuration file \"%s\". It does not "
			  "exists or is not readable.",
		    file);
		file = NULL;
	}
	if ((env = conf_env_take(&notes)) == NULL)
		ctl_error("out of memory");
	if (file == NULL)
		check_document(&notes);
	ctl->conf = conf_load(file, env, CONF_LOAD_CTL, &notes);
	conf_env_free(env);
	if (ctl->conf == NULL) {
		uint32_t i;

		for (i = 0; i < notes.n; i++)
			if (notes.v[i].severity == CONF_ERROR)
				ctl_error("%s", notes.v[i].text);
		ctl_error("the configuration cannot be used");
	}
	conf_notes_free(&notes);
	if (!credentials_whole(ctl->conf, "ctl.authentication") ||
	    !credentials_whole(ctl->conf, "restapi.authentication"))
		ctl_error("authentication needs both username and password");
	/* what `configure` of older versions wrote */
	if (url == NULL && conf_store(ctl->conf) == NULL)
		url = tree_path_text(ctl->conf->local, "dcs_api", NULL);
	if (url != NULL)
		apply_url(ctl->conf, url);
	if (tree_path_bool(ctl->conf->effective, "ctl.insecure", false))
		ctl->insecure = true;
}

const char *
config_scope(const struct ctl *ctl)
{
	return tree_path_text(ctl->conf->effective, "scope", NULL);
}

const char *
config_cluster(const struct ctl *ctl, const struct parsed *p)
{
	const char *name = p->nargs > 0 ? p->args[0] : config_scope(ctl);

	if (name == NULL || name[0] == '\0')
		ctl_error("cluster name is required");
	return name;
}

/* citus.group of a valid section (both keys), or -1. */
static int
citus_group(const struct ctl *ctl)
{
	const struct tree *c = ctl->conf->effective;
	int64_t group = tree_path_int(c, "citus.group", -1);

	if (tree_path_text(c, "citus.database", NULL) == NULL || group < 0 ||
	    group > INT32_MAX)
		return -1;
	return (int)group;
}

bool
config_citus(const struct ctl *ctl)
{
	return ctl->group >= 0 || (ctl->conf != NULL && citus_group(ctl) >= 0);
}

void
config_group(struct ctl *ctl, const struct parsed *p, bool from_config)
{
	const struct opt_value *v = parsed_option(p, "--group");

	if (v->set && v->integer < 0)
		ctl_error("--group must not be negative");
	if (v->set)
		ctl->group = (int)v->integer;
	else if (from_config)
		ctl->group = citus_group(ctl);
}
