/*
 * privileges.c: which process runs as whom, and giving up root (design 2).
 *
 * Started as an ordinary user everything runs as that user.  Started as root,
 * dcs and rest run as the option `user`, postgres and the keeper as the owner
 * of the database, and the master itself becomes the owner too unless it must
 * be root later: for a port below 1024 or for the watchdog device.
 */
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <linux/capability.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "master.h"

static bool
account_set(struct account *a, const struct passwd *pw)
{
	a->uid = pw->pw_uid;
	a->gid = pw->pw_gid;
	(void)text_set(a->home, sizeof(a->home), pw->pw_dir);
	return text_set(a->name, sizeof(a->name), pw->pw_name);
}

static bool
find_owner(const struct conf *conf, struct account *owner)
{
	const char *name = conf_database_user(conf);
	const char *dir;
	struct passwd *pw = NULL;
	struct stat st;

	if (name != NULL) {
		if ((pw = getpwnam(name)) == NULL) {
			log_critical(
			    "database_user: there is no account \"%s\"", name);
			return false;
		}
	} else {
		dir =
		    tree_path_text(conf->effective, "postgresql.data_dir", "");
		if (dir[0] != '\0' && stat(dir, &st) == 0 && st.st_uid != 0)
			pw = getpwuid(st.st_uid);
		if (pw == NULL && (pw = getpwnam("postgres")) == NULL) {
			log_critical("started as root, but there is no account "
				     "\"postgres\"; set database_user");
			return false;
		}
	}
	if (pw->pw_uid == 0) {
		log_critical(
		    "PostgreSQL cannot run as root; set database_user");
		return false;
	}
	return account_set(owner, pw);
}

/* The account of dcs and rest.  Without one they still have their sandboxes,
 * as when the whole daemon is started by an ordinary user. */
static bool
find_network(const struct conf *conf, struct accounts *a)
{
	const char *name = conf_user(conf);
	struct passwd *pw;

	if (name == NULL)
		name = "_patroni";
	if ((pw = getpwnam(name)) == NULL) {
		log_warn("There is no account \"%s\" (option user): processes "
			 "on the network run as %s",
		    name, a->owner.name);
		a->network = a->owner;
		return true;
	}
	if (pw->pw_uid == 0) {
		log_critical("user: must not be root");
		return false;
	}
	return account_set(&a->network, pw);
}

bool
privileges_resolve(const struct conf *conf, struct accounts *a)
{
	struct passwd *pw;

	memset(a, 0, sizeof(*a));
	if (geteuid() != 0) {
		a->owner.uid = geteuid();
		a->owner.gid = getegid();
		if ((pw = getpwuid(a->owner.uid)) != NULL)
			(void)text_set(
			    a->owner.name, sizeof(a->owner.name), pw->pw_name);
		a->network = a->owner;
		return true;
	}
	a->switching = true;
	return find_owner(conf, &a->owner) && find_network(conf, a);
}

const struct account *
privileges_for(const struct accounts *a, enum proc proc)
{
	if (proc == PROC_DCS || proc == PROC_REST)
		return &a->network;
	return &a->owner;
}

static bool
watchdog_off(const struct conf *conf)
{
	const char *mode;
	struct tree *node;

	node = tree_path(conf->effective, "watchdog.mode");
	if (node != NULL && node->type == TREE_BOOL)
		return !node->u.b;
	mode = tree_path_text(conf->effective, "watchdog.mode", "automatic");
	return strcasecmp(mode, "off") == 0 ||
	    strcasecmp(mode, "disable") == 0 ||
	    strcasecmp(mode, "disabled") == 0;
}

static const char *
watchdog_device(const struct conf *conf)
{
	return tree_path_text(
	    conf->effective, "watchdog.device", "/dev/watchdog");
}

/* Would the owner be refused?  Groups beside the primary one are not looked
 * at: then root is kept, which is the safe mistake for opening it. */
static bool
device_needs_root(const struct conf *conf, const struct account *owner)
{
	struct stat st;

	if (watchdog_off(conf) || stat(watchdog_device(conf), &st) == -1)
		return false;
	if (st.st_uid == owner->uid)
		return (st.st_mode & S_IWUSR) == 0;
	if (st.st_gid == owner->gid)
		return (st.st_mode & S_IWGRP) == 0;
	return (st.st_mode & S_IWOTH) == 0;
}

static bool
port_needs_root(const struct conf *conf)
{
	char host[URL_SIZE];
	int port;

	return listen_split(
		   tree_path_text(conf->effective, "restapi.listen", ""), host,
		   sizeof(host), &port) &&
	    port < 1024;
}

/* Keep only what starting and ending helpers of two accounts takes. */
static bool
keep_capabilities(void)
{
	struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3,
		0 };
	struct __user_cap_data_struct data[2];

	memset(data, 0, sizeof(data));
	data[0].permitted =
	    (1u << CAP_SETUID) | (1u << CAP_SETGID) | (1u << CAP_KILL);
	data[0].effective = data[0].permitted;
	return syscall(SYS_capset, &hdr, data) == 0;
}

bool
privileges_drop(const struct conf *conf, const struct accounts *a)
{
	bool two = a->network.uid != a->owner.uid;

	if (!a->switching)
		return true;
	if (port_needs_root(conf) || device_needs_root(conf, &a->owner)) {
		log_info("staying root for %s",
		    port_needs_root(conf) ? "restapi.listen" :
					    watchdog_device(conf));
		return true;
	}
	if (initgroups(a->owner.name, a->owner.gid) == -1 ||
	    setresgid(a->owner.gid, a->owner.gid, a->owner.gid) == -1 ||
	    prctl(PR_SET_KEEPCAPS, two ? 1L : 0L, 0L, 0L, 0L) == -1 ||
	    setresuid(a->owner.uid, a->owner.uid, a->owner.uid) == -1 ||
	    (two && !keep_capabilities()) ||
	    prctl(PR_SET_KEEPCAPS, 0L, 0L, 0L, 0L) == -1) {
		log_critical(
		    "cannot become %s: %s", a->owner.name, strerror(errno));
		return false;
	}
	return true;
}

int
privileges_open_device(const struct conf *conf, const char *path, int *error)
{
	struct stat st;
	int fd, flags = O_WRONLY;

	/* The keeper may only name what the operator configured. */
	if (watchdog_off(conf) || strcmp(path, watchdog_device(conf)) != 0) {
		*error = EPERM;
		return -1;
	}
	/* A named pipe (driver "testing") opened for writing alone would need
	 * its reader first.  Nothing here may wait. */
	if (stat(path, &st) == 0 && S_ISFIFO(st.st_mode))
		flags = O_RDWR;
	fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	*error = fd == -1 ? errno : 0;
	return fd;
}
