/*
 * postmaster.c: the server process.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../ipc/coredump.h"
#include "../../ipc/log.h"
#include "child.h"
#include "postmaster.h"

static const char *
base_name(const char *path)
{
	const char *p = strrchr(path, '/');

	return p != NULL ? p + 1 : path;
}

void
postmaster_init(struct postmaster *pm, struct event_base *base,
    const char *data_dir, const char *postgres, postmaster_gone_cb gone,
    void *arg)
{
	memset(pm, 0, sizeof *pm);
	pm->base = base;
	pm->pidfd = -1;
	text_set(pm->data_dir, sizeof pm->data_dir, data_dir);
	text_set(pm->exe, sizeof pm->exe, base_name(postgres));
	pm->gone = gone;
	pm->arg = arg;
}

static void
forget(struct postmaster *pm)
{
	if (pm->ev != NULL)
		event_free(pm->ev);
	pm->ev = NULL;
	if (pm->pidfd != -1)
		close(pm->pidfd);
	pm->pidfd = -1;
	memset(&pm->proc, 0, sizeof pm->proc);
	pm->single_user = false;
}

void
postmaster_free(struct postmaster *pm)
{
	forget(pm);
}

static void
on_gone(evutil_socket_t fd, short what, void *arg)
{
	struct postmaster *pm = arg;

	(void)fd;
	(void)what;
	forget(pm);
	pm->gone(pm->arg);
}

/* Takes over pidfd. */
static bool
adopt(struct postmaster *pm, const struct proc_entry *e, int pidfd,
    bool single_user)
{
	forget(pm);
	pm->ev = event_new(pm->base, pidfd, EV_READ | EV_PERSIST, on_gone, pm);
	if (pm->ev == NULL || event_add(pm->ev, NULL) == -1) {
		if (pm->ev != NULL)
			event_free(pm->ev);
		pm->ev = NULL;
		close(pidfd);
		return false;
	}
	pm->pidfd = pidfd;
	pm->proc = *e;
	pm->single_user = single_user;
	return true;
}

bool
postmaster_read_file(const char *data_dir, struct postmaster_file *f)
{
	char path[PATH_SIZE + 32], line[PATH_SIZE + 16];
	int64_t v;
	FILE *fp;
	int i;

	memset(f, 0, sizeof *f);
	snprintf(path, sizeof path, "%s/postmaster.pid", data_dir);
	fp = fopen(path, "re");
	if (fp == NULL)
		return false;
	for (i = 1; i <= 8 && fgets(line, (int)sizeof line, fp) != NULL; i++) {
		line[strcspn(line, "\n")] = '\0';
		if (i == 1 && text_to_int64(line, -INT_MAX, INT_MAX, &v)) {
			f->single_user = v < 0;
			f->pid = (pid_t)(v < 0 ? -v : v);
		} else if (i == 3) {
			if (text_to_int64(line, 0, INT64_MAX, &v))
				f->start_time = v;
			else
				log_warn(
				    "Garbage start time value in pid file: '%s'",
				    line);
		} else if (i == 8) {
			line[strcspn(line, " ")] = '\0';
			text_set(f->status, sizeof f->status, line);
		}
	}
	fclose(fp);
	return f->pid != 0;
}

/* 2.2 steps 4-7, when the creation time does not settle it. */
static bool
looks_like_ours(struct postmaster *pm, const struct proc_entry *e)
{
	char exe[PATH_MAX], cwd[PATH_MAX], real[PATH_MAX];

	if (!proc_exe(e->pid, exe, sizeof exe))
		return false;
	if (strcmp(base_name(exe), pm->exe) != 0 &&
	    strcmp(base_name(exe), "postmaster") != 0) {
		log_info(
		    "Process %d from postmaster.pid with executable file \"%s\" does not look like postgres",
		    (int)e->pid, exe);
		return false;
	}
	if (!proc_cwd(e->pid, cwd, sizeof cwd)) {
		log_warn(
		    "Could not determine if process %d from postmaster.pid is correct postgres instance. Assuming it is",
		    (int)e->pid);
		return true;
	}
	if (realpath(pm->data_dir, real) == NULL)
		text_set(real, sizeof real, pm->data_dir);
	if (strcmp(cwd, real) == 0)
		return true;
	log_info(
	    "Process %d from postmaster.pid does not look like postgres because CWD=\"%s\" is not PGDATA=\"%s\"",
	    (int)e->pid, cwd, real);
	return false;
}

/*
 * Upstream also excludes children of the daemon; here the postmaster is a
 * child of the master, so only our own children are impossible.
 */
static bool
is_ours(struct postmaster *pm, const struct postmaster_file *f,
    const struct proc_entry *e)
{
	int64_t created, gap;

	if (e->pid == getpid() || e->pid == getppid() || e->ppid == getpid()) {
		log_info(
		    "Patroni (pid=%d, ppid=%d), \"fake postmaster\" (pid=%d, ppid=%d)",
		    (int)getpid(), (int)getppid(), (int)e->pid, (int)e->ppid);
		return false;
	}
	created = proc_start_time(e);
	if (f->start_time != 0 && created != 0) {
		gap = created - f->start_time;
		if (gap > -3 && gap < 3)
			return true;
	}
	return looks_like_ours(pm, e);
}

bool
postmaster_alive(struct postmaster *pm)
{
	struct pollfd p = { .fd = pm->pidfd, .events = POLLIN };

	/* readable as soon as it is a zombie; the pid cannot be another's */
	return pm->proc.pid != 0 && pm->pidfd != -1 && poll(&p, 1, 0) == 0;
}

bool
postmaster_find(struct postmaster *pm)
{
	struct postmaster_file f;
	struct proc_entry e;
	int fd;

	pm->stale_pid = 0;
	/* a cached process that is gone is forgotten when its pidfd says so,
	 * never here: the callback must run exactly once */
	if (postmaster_alive(pm))
		return true;
	if (!postmaster_read_file(pm->data_dir, &f))
		return false;
	if (!proc_read(f.pid, &e)) {
		/* dead, but its parent has not collected it yet: PostgreSQL
		 * would take it for alive */
		if (kill(f.pid, 0) == 0)
			pm->stale_pid = f.pid;
		return false;
	}
	if (pm->proc.pid != 0)
		return false;
	if (!is_ours(pm, &f, &e)) {
		pm->stale_pid = e.pid;
		return false;
	}
	fd = proc_pidfd(&e);
	return fd != -1 && adopt(pm, &e, fd, f.single_user);
}

enum ha_isready
postmaster_isready(struct postmaster *pm)
{
	struct postmaster_file f;

	if (!postmaster_read_file(pm->data_dir, &f) || pm->proc.pid == 0 ||
	    f.pid != pm->proc.pid)
		return ISREADY_NO_RESPONSE;
	if (strcmp(f.status, "ready") == 0 || strcmp(f.status, "standby") == 0)
		return ISREADY_ACCEPTING;
	if (strcmp(f.status, "starting") == 0 ||
	    strcmp(f.status, "stopping") == 0)
		return ISREADY_REJECTING;
	return ISREADY_UNKNOWN;
}

static int cgroup_procs = -1;

void
postmaster_cgroup(int fd)
{
	if (cgroup_procs != -1)
		close(cgroup_procs);
	cgroup_procs = fd;
}

static void
launch(const char *const *argv, char *const *envp)
{
	setsid();
	/* "0" is the writer itself: its children are born there */
	if (cgroup_procs != -1 && write(cgroup_procs, "0", 1) == -1)
		log_warn("cgroup.procs: %s", strerror(errno));
	child_sanitize();
	coredump_restore();
	syscall(SYS_close_range, 3U, ~0U, 0);
	execvpe(argv[0], (char *const *)argv, envp);
	_exit(127);
}

int
postmaster_start(struct postmaster *pm, const char *const *argv)
{
	struct proc_entry e;
	char grandparent[64];
	const char *extra[2] = { NULL, NULL };
	char **env;
	int pidfd = -1;
	long pid;

	if (pm->stale_pid != 0) {
		log_info(
		    "Telling pg_ctl that it is safe to ignore postmaster.pid for process %d",
		    (int)pm->stale_pid);
		snprintf(grandparent, sizeof grandparent,
		    "PG_GRANDPARENT_PID=%d", (int)pm->stale_pid);
		extra[0] = grandparent;
	}
	env = child_environment(extra, true);
	if (env == NULL)
		return -1;
	/* CLONE_PARENT: the master becomes its parent, as if it had been
	 * orphaned, and there is no process in between to wait for */
	pid = syscall(SYS_clone, CLONE_PARENT | CLONE_PIDFD | SIGCHLD, NULL,
	    &pidfd, NULL, NULL);
	if (pid == 0)
		launch(argv, env);
	free(env);
	if (pid == -1)
		return -1;
	log_info("postmaster pid=%ld", pid);
	fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	if (!proc_read((pid_t)pid, &e)) {
		/* already gone; the pidfd will say so at once */
		memset(&e, 0, sizeof e);
		e.pid = (pid_t)pid;
	}
	return adopt(pm, &e, pidfd, false) ? 0 : -1;
}

int
postmaster_signal(struct postmaster *pm, int sig)
{
	if (pm->pidfd == -1) {
		errno = ESRCH;
		return -1;
	}
	if (pm->single_user) {
		log_warn(
		    "Cannot stop server; single-user server is running (PID: %d)",
		    (int)pm->proc.pid);
		errno = EPERM;
		return -1;
	}
	return proc_pidfd_signal(pm->pidfd, sig);
}

/* Words that end in a blank in the title of an auxiliary process. */
static const char *const auxiliary[] = { "archiver", "startup",
	"autovacuum launcher", "autovacuum worker", "checkpointer", "logger",
	"stats collector", "wal receiver", "wal writer", "writer", "syslogger",
	"walreceiver", "wal sender process", "walsender", "walwriter",
	"background writer", "logical replication launcher",
	"logical replication worker for subscription",
	"logical replication tablesync worker for subscription",
	"logical replication parallel apply worker for subscription",
	"logical replication apply worker for subscription",
	"datachecksums launcher", "datachecksums worker", "slotsync worker",
	"walsummarizer", "io worker", "bgworker:", NULL };

static bool
auxiliary_at(const char *text)
{
	size_t i, n;

	for (i = 0; auxiliary[i] != NULL; i++) {
		n = strlen(auxiliary[i]);
		if (strncmp(text, auxiliary[i], n) == 0 && text[n] == ' ')
			return true;
	}
	return false;
}

bool
postmaster_client_title(const char *title)
{
	const char *p;

	if (strncmp(title, "postgres:", 9) != 0)
		return true;
	title += 9;
	if (title[0] == ' ' && auxiliary_at(title + 1))
		return false;
	/* cluster_name may hold anything and ends in a colon */
	for (p = strstr(title, ": "); p != NULL; p = strstr(p + 1, ": "))
		if (auxiliary_at(p + 2))
			return false;
	return true;
}

int
postmaster_backends(struct postmaster *pm, struct proc_entry *out, size_t max)
{
	struct proc_entry *v;
	char title[1024];
	size_t i, n, found = 0;

	if (pm->proc.pid == 0)
		return 0;
	v = calloc(PROC_MAX_CHILDREN, sizeof *v);
	if (v == NULL)
		return -1;
	n = proc_children(pm->proc.pid, false, v, PROC_MAX_CHILDREN);
	for (i = 0; i < n && found < max; i++)
		if (proc_title(v[i].pid, title, sizeof title) &&
		    postmaster_client_title(title))
			out[found++] = v[i];
	free(v);
	return (int)found;
}

size_t
postmaster_strays(struct postmaster *pm, struct proc_entry *out, size_t max)
{
	char real[PATH_MAX];

	if (realpath(pm->data_dir, real) == NULL)
		return 0;
	return proc_strays(real, pm->exe, out, max);
}

void
postmaster_kill(struct postmaster *pm)
{
	struct proc_entry *v;
	size_t i, n;

	if (pm->pidfd == -1)
		return;
	v = calloc(PROC_MAX_CHILDREN, sizeof *v);
	proc_pidfd_signal(pm->pidfd, SIGSTOP);
	n = v != NULL ?
	    proc_children(pm->proc.pid, true, v, PROC_MAX_CHILDREN) :
	    0;
	proc_pidfd_signal(pm->pidfd, SIGKILL);
	for (i = 0; i < n; i++)
		proc_signal(&v[i], SIGKILL);
	free(v);
}
