/*
 * proc.c: reading /proc, and signalling by pidfd so that a reused pid can
 * never be hit.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.h"

static ssize_t
read_file(const char *path, char *buf, size_t size)
{
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	do {
		n = read(fd, buf, size - 1);
	} while (n == -1 && errno == EINTR);
	close(fd);
	if (n < 0)
		return -1;
	buf[n] = '\0';
	return n;
}

bool
proc_read(pid_t pid, struct proc_entry *e)
{
	char path[64], buf[1024], state;
	unsigned long long ticks;
	const char *p;
	int ppid;

	if (pid <= 0)
		return false;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (read_file(path, buf, sizeof buf) <= 0)
		return false;
	/* the command name may hold anything, also parentheses */
	p = strrchr(buf, ')');
	if (p == NULL)
		return false;
	if (sscanf(p + 1,
		" %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		&state, &ppid, &ticks) != 3)
		return false;
	if (state == 'Z' || state == 'X')
		return false;
	e->pid = pid;
	e->ppid = ppid;
	e->start_ticks = ticks;
	return true;
}

int64_t
proc_start_time(const struct proc_entry *e)
{
	static int64_t btime;
	char buf[65536];
	const char *p;
	long hz = sysconf(_SC_CLK_TCK);

	if (hz <= 0)
		return 0;
	/* re-read each time: the kernel adjusts it when the clock is set */
	if (read_file("/proc/stat", buf, sizeof buf) <= 0)
		return 0;
	p = strstr(buf, "\nbtime ");
	if (p != NULL)
		btime = strtoll(p + 7, NULL, 10);
	if (btime <= 0)
		return 0;
	return btime + (int64_t)(e->start_ticks / (uint64_t)hz);
}

static size_t
all_processes(struct proc_entry *v, size_t max)
{
	struct dirent *d;
	size_t n = 0;
	DIR *dir;

	dir = opendir("/proc");
	if (dir == NULL)
		return 0;
	while (n < max && (d = readdir(dir)) != NULL)
		if (isdigit((unsigned char)d->d_name[0]) &&
		    proc_read((pid_t)strtol(d->d_name, NULL, 10), &v[n]))
			n++;
	closedir(dir);
	return n;
}

size_t
proc_children(pid_t root, bool all, struct proc_entry *out, size_t max)
{
	struct proc_entry *v;
	size_t n, i, found = 0, done;

	v = calloc(PROC_MAX_CHILDREN * 4, sizeof *v);
	if (v == NULL)
		return 0;
	n = all_processes(v, PROC_MAX_CHILDREN * 4);
	for (i = 0; i < n && found < max; i++)
		if (v[i].ppid == root)
			out[found++] = v[i];
	for (done = 0; all && done < found; done++)
		for (i = 0; i < n && found < max; i++)
			if (v[i].ppid == out[done].pid)
				out[found++] = v[i];
	free(v);
	return found;
}

bool
proc_title(pid_t pid, char *buf, size_t size)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	return read_file(path, buf, size) > 0 && buf[0] != '\0';
}

static bool
proc_link(pid_t pid, const char *what, char *buf, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
	n = readlink(path, buf, size - 1);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	return true;
}

bool
proc_exe(pid_t pid, char *buf, size_t size)
{
	static const char gone[] = " (deleted)";
	size_t n;

	if (!proc_link(pid, "exe", buf, size))
		return false;
	n = strlen(buf);
	if (n > sizeof gone - 1 &&
	    strcmp(buf + n - (sizeof gone - 1), gone) == 0)
		buf[n - (sizeof gone - 1)] = '\0';
	return true;
}

bool
proc_cwd(pid_t pid, char *buf, size_t size)
{
	return proc_link(pid, "cwd", buf, size);
}

size_t
proc_strays(
    const char *dir, const char *exe, struct proc_entry *out, size_t max)
{
	struct proc_entry *v;
	char path[4096];
	const char *base;
	size_t n, i, found = 0;

	v = calloc(PROC_MAX_CHILDREN * 4, sizeof *v);
	if (v == NULL)
		return 0;
	n = all_processes(v, PROC_MAX_CHILDREN * 4);
	for (i = 0; i < n && found < max; i++) {
		if (!proc_cwd(v[i].pid, path, sizeof path) ||
		    strcmp(path, dir) != 0)
			continue;
		if (!proc_exe(v[i].pid, path, sizeof path))
			continue;
		base = strrchr(path, '/');
		base = base != NULL ? base + 1 : path;
		if (strcmp(base, exe) == 0)
			out[found++] = v[i];
	}
	free(v);
	return found;
}

int
proc_pidfd(const struct proc_entry *e)
{
	struct proc_entry now;
	int fd;

	fd = (int)syscall(SYS_pidfd_open, e->pid, 0);
	if (fd == -1)
		return -1;
	/* the descriptor pins the process: check that it is the right one */
	if (!proc_read(e->pid, &now) || now.start_ticks != e->start_ticks) {
		close(fd);
		errno = ESRCH;
		return -1;
	}
	return fd;
}

int
proc_pidfd_signal(int pidfd, int sig)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

int
proc_signal(const struct proc_entry *e, int sig)
{
	int fd, r, saved;

	fd = proc_pidfd(e);
	if (fd == -1)
		return -1;
	r = proc_pidfd_signal(fd, sig);
	saved = errno;
	close(fd);
	errno = saved;
	return r;
}
