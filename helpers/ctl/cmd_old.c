/*
 * cmd_old.c: `scaffold` and `configure`, commands of older versions
 * (patronictl.md 16.1, 16.2).
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

/* ---- configure ---- */

static void
make_parents(const char *path)
{
	char dir[PATH_SIZE], *slash;

	if (!text_set(dir, sizeof(dir), path))
		ctl_error("%s: name too long", path);
	for (slash = strchr(dir + 1, '/'); slash != NULL;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(dir, 0755) == -1 && errno != EEXIST)
			ctl_error("%s: %s", dir, strerror(errno));
		*slash = '/';
	}
}

/* The new file takes the place of the old one when it is whole. */
static void
write_file(const char *path, const struct tree *t)
{
	char new[PATH_SIZE];
	FILE *f;
	int fd;

	if (snprintf(new, sizeof(new), "%s.new", path) >= (int)sizeof(new))
		ctl_error("%s: name too long", path);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd == -1 || (f = fdopen(fd, "w")) == NULL)
		ctl_error("%s: %s", new, strerror(errno));
	conf_yaml_write(t, 0, true, f);
	if (fflush(f) == EOF || fsync(fd) == -1 || fclose(f) == EOF ||
	    rename(new, path) == -1) {
		int e = errno;

		(void)unlink(new);
		ctl_error("%s: %s", path, strerror(e));
	}
}

static const char *
given_or_asked(const struct parsed *p, const char *option, const char *dflt,
    const char *question)
{
	const char *v = parsed_text(p, option);

	return v != NULL ? v : prompt_text(dflt, "%s", question);
}

int
cmd_configure(struct ctl *ctl, const struct parsed *p)
{
	const char *path, *dcs, *ns;
	char dflt[PATH_SIZE];
	struct tree *t = tree_map();

	(void)ctl;
	config_default_path(dflt, sizeof(dflt));
	path = given_or_asked(p, "--config-file", dflt, "Configuration file");
	dcs = given_or_asked(
	    p, "--dcs", "etcd://localhost:2379", "DCS connect url");
	ns = given_or_asked(p, "--namespace", "/service/", "Namespace");
	(void)tree_set(t, "dcs_api", tree_text(dcs));
	(void)tree_set(t, "namespace", tree_text(ns));
	make_parents(path);
	write_file(path, t);
	tree_free(t);
	return 0;
}

/* ---- scaffold ---- */

/* connect_address, else listen; with a port. */
static void
address(const struct ctl *ctl, const char *section, const char *dflt,
    const char *port, char *out, size_t size)
{
	const struct tree *c = ctl->conf->effective;
	char path[NAME_SIZE];
	const char *a;

	(void)snprintf(path, sizeof(path), "%s.connect_address", section);
	a = tree_path_text(c, path, NULL);
	(void)snprintf(path, sizeof(path), "%s.listen", section);
	if (a == NULL)
		a = tree_path_text(c, path, dflt);
	if (snprintf(out, size, "%s%s", a,
		strchr(a, ':') == NULL ? port : "") >= (int)size)
		ctl_error("%s: address too long", section);
}

static void
fill_member(const struct ctl *ctl, struct msg_dcs_touch *m)
{
	const struct tree *c = ctl->conf->effective;
	char addr[NAME_SIZE * 2];

	memset(m, 0, sizeof(*m));
	m->state = STATE_RUNNING;
	m->role = ROLE_PRIMARY;
	address(ctl, "postgresql", "127.0.0.1", ":5432", addr, sizeof(addr));
	(void)snprintf(
	    m->conn_url, sizeof(m->conn_url), "postgres://%s/postgres", addr);
	address(ctl, "restapi", "127.0.0.1:8008", ":8008", addr, sizeof(addr));
	(void)snprintf(m->api_url, sizeof(m->api_url), "%s://%s/patroni",
	    tree_path_text(c, "restapi.certfile", NULL) != NULL ? "https" :
								  "http",
	    addr);
}

static void
undo(struct store *store, const char *cluster)
{
	char why[TEXT_SIZE];

	(void)snprintf(why, sizeof(why), "%s", store_error(store));
	log_error("%s", why);
	if (store_remove(store) != OUTCOME_OK)
		log_error("What was written could not be removed: %s",
		    store_error(store));
	ctl_error("Unable to install permanent leader for cluster %s", cluster);
}

int
cmd_scaffold(struct ctl *ctl, const struct parsed *p)
{
	const char *cluster = p->args[0], *sysid = parsed_text(p, "--sysid");
	struct tree *c = ctl->conf->effective;
	struct msg_dcs_touch m;
	struct store *store;
	enum outcome rc;
	struct view *v;

	if (tree_get(c, "postgresql") == NULL || tree_get(c, "restapi") == NULL)
		ctl_error("scaffold needs the sections postgresql and restapi "
			  "in the configuration");
	if (tree_path_text(c, "name", "")[0] == '\0')
		(void)tree_set(c, "name", tree_text(cluster));
	store = store_open(ctl, cluster);
	v = store_view(store);
	if (v->has_initialize)
		ctl_error("This cluster is already initialized");
	view_free(v);
	rc = store_initialize(store, sysid != NULL ? sysid : "");
	if (rc == OUTCOME_REFUSED)
		ctl_error(
		    "Initialize key for cluster %s already exists", cluster);
	if (rc != OUTCOME_OK)
		ctl_error("%s", store_error(store));
	fill_member(ctl, &m);
	if (store_touch(store, &m) != OUTCOME_OK ||
	    store_acquire(store) != OUTCOME_OK)
		undo(store, cluster);
	printf("Cluster %s has been created successfully\n", cluster);
	return 0;
}
