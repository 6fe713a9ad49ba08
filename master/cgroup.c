/*
 * cgroup.c: a control group for the processes of PostgreSQL below our own,
 * where that was delegated to us (Delegate=yes of systemd): the keeper ends
 * all of them by one write, programs that PostgreSQL runs included (design 5).
 *
 * A subtree that nobody has given us is left alone: who wrote it may remove
 * it, or count on nobody else being there.
 */
#include <sys/stat.h>
#include <sys/xattr.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master.h"

/* The first line of the file that starts with prefix, without it. */
static bool
find_line(const char *file, const char *prefix, char *out, size_t size)
{
	char line[2 * PATH_SIZE];
	bool found = false;
	FILE *f = fopen(file, "re");

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		found = strncmp(line, prefix, strlen(prefix)) == 0 &&
		    text_set(out, size, line + strlen(prefix));
	}
	if (f != NULL)
		fclose(f);
	return found;
}

/* Where the hierarchy of version 2 is mounted. */
static bool
mount_point(char *out, size_t size)
{
	char line[2 * PATH_SIZE], type[64], path[512];
	bool found = false;
	FILE *f = fopen("/proc/self/mounts", "re");

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
		found = sscanf(line, "%*s %511s %63s", path, type) == 2 &&
		    strcmp(type, "cgroup2") == 0 && text_set(out, size, path);
	if (f != NULL)
		fclose(f);
	return found;
}

/* systemd marks what it delegates; to another user it is given as his. */
static bool
delegated(const char *dir)
{
	static const char *const marks[] = { "trusted.delegate",
		"user.delegate" };
	char value[8];
	struct stat st;
	size_t i;

	for (i = 0; i < 2; i++)
		if (getxattr(dir, marks[i], value, sizeof(value)) == 1 &&
		    value[0] == '1')
			return true;
	return geteuid() != 0 && stat(dir, &st) == 0 &&
	    st.st_uid == geteuid() && access(dir, W_OK) == 0;
}

/* A name of its own for every node: daemons may share what they run in. */
static void
group_name(const struct conf *conf, char *out, size_t size)
{
	char *p;

	snprintf(out, size, "postgresql-%s-%s",
	    tree_path_text(conf->effective, "scope", ""),
	    tree_path_text(conf->effective, "name", ""));
	for (p = out; *p != '\0'; p++)
		if (*p == '/' || (unsigned char)*p <= ' ')
			*p = '_';
}

static int
open_in(const char *dir, const char *name)
{
	char path[4 * PATH_SIZE];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, O_WRONLY | O_CLOEXEC);
}

void
cgroup_open(struct master *m)
{
	char root[PATH_SIZE], own[PATH_SIZE], name[256], dir[3 * PATH_SIZE];

	if (!mount_point(root, sizeof(root)) ||
	    !find_line("/proc/self/cgroup", "0::", own, sizeof(own)) ||
	    strcmp(own, "/") == 0)
		return;
	snprintf(dir, sizeof(dir), "%s%s", root, own);
	if (!delegated(dir))
		return;
	group_name(m->conf, name, sizeof(name));
	snprintf(dir, sizeof(dir), "%s%s/%.255s", root, own, name);
	if (mkdir(dir, 0755) == -1 && errno != EEXIST) {
		log_warn("no control group for PostgreSQL: %s: %s", dir,
		    strerror(errno));
		return;
	}
	m->cgroup_procs = open_in(dir, "cgroup.procs");
	m->cgroup_kill = open_in(dir, "cgroup.kill"); /* Linux 5.14 */
	if (m->cgroup_procs == -1 || m->cgroup_kill == -1) {
		log_info("the control group %s cannot be used: %s", dir,
		    strerror(errno));
		cgroup_close(m);
		return;
	}
	log_info("PostgreSQL is started in the control group %s", dir);
}

void
cgroup_close(struct master *m)
{
	if (m->cgroup_procs != -1)
		close(m->cgroup_procs);
	if (m->cgroup_kill != -1)
		close(m->cgroup_kill);
	m->cgroup_procs = m->cgroup_kill = -1;
}

void
cgroup_send(struct master *m, enum proc to)
{
	struct msg_descriptor msg;

	if (m->cgroup_kill == -1 ||
	    (to != PROC_POSTGRES && to != PROC_WATCHDOG))
		return;
	memset(&msg, 0, sizeof(msg));
	msg.kind = to == PROC_POSTGRES ? DESCRIPTOR_CGROUP_PROCS :
					 DESCRIPTOR_CGROUP_KILL;
	(void)supervise_send(m, to, MSG_DESCRIPTOR, 0, 0, 0, &msg, NULL, 0,
	    to == PROC_POSTGRES ? m->cgroup_procs : m->cgroup_kill);
}
