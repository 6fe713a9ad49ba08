/*
 * spawn.c: one helper process: fork, change of user, execute.
 *
 * The child has the link as descriptor 3, our stdio, default signals and
 * nothing else of ours.
 */
#include <sys/prctl.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../helpers/sandbox.h"
#include "../ipc/coredump.h"
#include "master.h"

#define LINK_FD 3

bool
spawn_path(const char *libexec, enum proc proc, char *out, size_t size)
{
	int n;

	n = snprintf(out, size, "%s/patroni-%s", libexec, proc_name(proc));
	return n > 0 && (size_t)n < size;
}

void
spawn_allow(const struct master *m)
{
	char path[PATH_SIZE];

	for (int p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		if (!spawn_path(m->libexec, (enum proc)p, path, sizeof(path)) ||
		    !sandbox_may_execute(path))
			log_error("helper %s cannot be named to the sandbox",
			    proc_name((enum proc)p));
}

/* The child cannot use the log: say it on stderr in one write. */
static void __attribute__((noreturn)) child_fails(const char *what)
{
	char line[256];
	int n;

	n = snprintf(line, sizeof(line), "patroni: new process: %s: %s\n", what,
	    strerror(errno));
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) == -1)
		_exit(126);
	_exit(127);
}

static void
child_user(const struct accounts *a, enum proc proc)
{
	const struct account *who = privileges_for(a, proc);

	if (!a->switching)
		return;
	/* A master that gave up root is the owner already, groups included. */
	if (geteuid() != who->uid &&
	    (initgroups(who->name, who->gid) == -1 ||
		setresgid(who->gid, who->gid, who->gid) == -1 ||
		setresuid(who->uid, who->uid, who->uid) == -1))
		child_fails("change of user");
	/* What the programs of the server look for must be the new user's. */
	if (setenv("HOME", who->home[0] != '\0' ? who->home : "/", 1) == -1 ||
	    setenv("USER", who->name, 1) == -1 ||
	    setenv("LOGNAME", who->name, 1) == -1)
		child_fails("setenv");
	/* Executing as an ordinary user clears what capabilities are left. */
}

static void
child_signals(void)
{
	sigset_t none;
	int i;

	for (i = 1; i < NSIG; i++)
		(void)signal(i, SIG_DFL);
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) == -1)
		child_fails("sigprocmask");
}

static void
child_descriptors(int fd)
{
	if (fd == LINK_FD) {
		if (fcntl(fd, F_SETFD, 0) == -1)
			child_fails("fcntl");
	} else if (dup2(fd, LINK_FD) == -1)
		child_fails("dup2");
	if (close_range(LINK_FD + 1, ~0u, 0) == -1)
		child_fails("close_range");
}

/*
 * No two controllers, stores' clients or listeners of one node may live at
 * once: those die with the master even when they hang.  The keeper stays, it
 * is what watches the lease then.
 */
static void
child_parent(enum proc proc, pid_t master)
{
	if (proc == PROC_WATCHDOG)
		return;
	if (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0L, 0L, 0L) == -1)
		child_fails("prctl");
	if (getppid() != master) /* it died before the call above */
		_exit(127);
}

pid_t
spawn_helper(const struct master *m, enum proc proc, int fd)
{
	char path[PATH_SIZE], name[NAME_SIZE];
	char *argv[3] = { name, NULL, NULL };
	char option[] = "--no-sandbox";
	pid_t self = getpid(), pid;

	if (!spawn_path(m->libexec, proc, path, sizeof(path))) {
		errno = ENAMETOOLONG;
		return -1;
	}
	(void)snprintf(name, sizeof(name), "patroni: %s", proc_name(proc));
	if (m->no_sandbox)
		argv[1] = option;
	if ((pid = fork()) != 0)
		return pid;
	child_signals();
	child_descriptors(fd);
	child_user(&m->accounts, proc);
	child_parent(proc, self);
	coredump_pass_on();
	/* Comes with libcurl and libpq, is used by neither, and would make
	 * itself ready with 130 kB.  helper_start() takes it out again. */
	if (setenv("GNUTLS_NO_IMPLICIT_INIT", "1", 1) == -1)
		child_fails("setenv");
	(void)execv(sandbox_program(path), argv);
	child_fails(path);
}
