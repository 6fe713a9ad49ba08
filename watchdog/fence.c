/*
 * fence.c: see fence.h.
 */
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/log.h"
#include "fence.h"

#define NAME_LEN 16 /* of a process, with its NUL */

struct dirent64 { /* as getdents64(2) writes it */
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

static int
send_signal(int pidfd, int sig)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0u);
}

/* A pidfd is readable once its process has ended. */
static bool
ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents != 0;
}

/* Read a small file below /proc; its length, -1 when that fails. */
static ssize_t
read_file(int proc, const char *path, char *buf, size_t size)
{
	int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd == -1)
		return -1;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

/* Parent of a living process; 0 when there is none. */
static pid_t
parent_of(int proc, pid_t pid)
{
	char path[32], buf[512];
	const char *p;
	char state;
	int parent;

	(void)snprintf(path, sizeof(path), "%d/stat", (int)pid);
	if (read_file(proc, path, buf, sizeof(buf)) <= 0)
		return 0;
	/* the name may hold blanks and parentheses: behind its last one */
	if ((p = strrchr(buf, ')')) == NULL ||
	    sscanf(p + 1, " %c %d", &state, &parent) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : parent;
}

/* "Pid:" of a pidfd's fdinfo; 0 when it is none. */
static pid_t
pidfd_target(int proc, const char *process, int fd)
{
	char path[64], buf[512];
	const char *p;

	(void)snprintf(path, sizeof(path), "%s/fdinfo/%d", process, fd);
	if (read_file(proc, path, buf, sizeof(buf)) <= 0 ||
	    (p = strstr(buf, "\nPid:")) == NULL)
		return 0;
	return (pid_t)strtol(p + 5, NULL, 10);
}

/* Call fn for each process until it returns false. */
static void
each_process(int proc, bool (*fn)(void *, pid_t), void *arg)
{
	static char buf[8192] __attribute__((aligned(8)));
	long n;

	if (lseek(proc, 0, SEEK_SET) == -1)
		return;
	while ((n = syscall(SYS_getdents64, proc, buf, sizeof(buf))) > 0)
		for (long at = 0; at < n;) {
			const struct dirent64 *d = (const void *)(buf + at);
			char *end;
			long pid = strtol(d->name, &end, 10);

			at += d->reclen;
			if (*end == '\0' && pid > 0 && !fn(arg, (pid_t)pid))
				return;
		}
}

bool
fence_init(struct fence *f)
{
	f->pid = 0;
	f->pidfd = -1;
	f->nchildren = 0;
	f->cgroup_kill = -1;
	f->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return f->proc != -1;
}

void
fence_forget(struct fence *f)
{
	if (f->pidfd != -1)
		close(f->pidfd);
	for (int i = 0; i < f->nchildren; i++)
		close(f->children[i].pidfd);
	f->pidfd = -1;
	f->pid = 0;
	f->nchildren = 0;
}

bool
fence_target(struct fence *f, pid_t pid, int pidfd)
{
	fence_forget(f);
	if (pidfd_target(f->proc, "self", pidfd) != pid) {
		close(pidfd);
		return false;
	}
	f->pid = pid;
	f->pidfd = pidfd;
	return true;
}

bool
fence_postmaster_gone(const struct fence *f)
{
	return f->pidfd == -1 || ended(f->pidfd);
}

/* Let go of children that have ended. */
static void
sweep(struct fence *f)
{
	int n = 0;

	for (int i = 0; i < f->nchildren; i++)
		if (ended(f->children[i].pidfd))
			close(f->children[i].pidfd);
		else
			f->children[n++] = f->children[i];
	f->nchildren = n;
}

bool
fence_alive(struct fence *f)
{
	sweep(f);
	return f->nchildren > 0 || !fence_postmaster_gone(f);
}

static bool
known(const struct fence *f, pid_t pid)
{
	for (int i = 0; i < f->nchildren; i++)
		if (f->children[i].pid == pid)
			return true;
	return false;
}

/*
 * Between reading the parent and opening the pidfd the pid may have gone to
 * another process; so the parent is read again while the pidfd pins it.
 */
static bool
note_child(void *arg, pid_t pid)
{
	struct fence *f = arg;
	int pidfd;

	if (parent_of(f->proc, pid) != f->pid || known(f, pid))
		return true;
	if ((pidfd = (int)syscall(SYS_pidfd_open, pid, 0u)) == -1)
		return true;
	if (parent_of(f->proc, pid) != f->pid || ended(pidfd))
		close(pidfd);
	else if (f->nchildren < FENCE_MAX_CHILDREN) {
		f->children[f->nchildren].pid = pid;
		f->children[f->nchildren++].pidfd = pidfd;
	} else
		close(pidfd);
	return true;
}

static void
note_children(struct fence *f)
{
	sweep(f);
	if (!fence_postmaster_gone(f))
		each_process(f->proc, note_child, f);
}

void
fence_quit(struct fence *f)
{
	note_children(f);
	if (f->pidfd != -1 && send_signal(f->pidfd, SIGQUIT) == -1 &&
	    errno != ESRCH)
		log_error("fence: SIGQUIT: %s", strerror(errno));
}

static int
kill_children(struct fence *f)
{
	int n = 0;

	for (int i = 0; i < f->nchildren; i++)
		if (send_signal(f->children[i].pidfd, SIGKILL) == 0)
			n++;
	return n;
}

int
fence_kill(struct fence *f)
{
	int n = 0, round, full;

	/* It must not fork while its children are noted. */
	if (f->pidfd != -1)
		(void)send_signal(f->pidfd, SIGSTOP);
	/* Children beyond the table are found when those in it are dead. */
	for (round = 0; round < 8; round++) {
		note_children(f);
		full = f->nchildren == FENCE_MAX_CHILDREN;
		n += kill_children(f);
		if (!full)
			break;
	}
	if (f->pidfd != -1 && send_signal(f->pidfd, SIGKILL) == 0)
		n++;
	else if (f->pidfd != -1 && errno != ESRCH)
		log_error("fence: SIGKILL: %s", strerror(errno));
	/* What they have started in their turn, if the group is ours. */
	if (f->cgroup_kill != -1 && write(f->cgroup_kill, "1", 1) == -1)
		log_error("fence: cgroup.kill: %s", strerror(errno));
	return n;
}

/* ---- is another keeper there? ---- */

/*
 * Keepers know of one another by the name of the process, which everybody may
 * read in /proc: there is no other channel out of the sandbox.
 */
static void
armed_name(pid_t pid, char name[NAME_LEN])
{
	(void)snprintf(name, NAME_LEN, "keeper:%d", (int)pid);
}

void
fence_announce(enum fence_role role, pid_t pid)
{
	char name[NAME_LEN] = "keeper:idle";

	if (role == FENCE_ROLE_ARMED)
		armed_name(pid, name);
	else if (role == FENCE_ROLE_ORPHAN)
		(void)snprintf(name, sizeof(name), "keeper:orphan");
	(void)prctl(PR_SET_NAME, name, 0L, 0L, 0L);
}

struct search {
	int proc;
	char name[NAME_LEN];
	bool found;
};

static bool
look_for_keeper(void *arg, pid_t pid)
{
	struct search *s = arg;
	char path[32], comm[32];
	struct stat st;
	ssize_t n = -1;
	int fd;

	if (pid == getpid())
		return true;
	(void)snprintf(path, sizeof(path), "%d/comm", (int)pid);
	if ((fd = openat(s->proc, path, O_RDONLY | O_CLOEXEC)) == -1)
		return true;
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid())
		n = read(fd, comm, sizeof(comm) - 1);
	close(fd);
	if (n <= 0)
		return true;
	comm[n] = '\0';
	comm[strcspn(comm, "\n")] = '\0';
	s->found = strcmp(comm, s->name) == 0;
	return !s->found;
}

bool
fence_superseded(const struct fence *f)
{
	struct search s = { .proc = f->proc };

	if (f->pid == 0)
		return false;
	armed_name(f->pid, s.name);
	each_process(f->proc, look_for_keeper, &s);
	return s.found;
}
