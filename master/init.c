/*
 * init.c: being pid 1, as in a container (spec/config.md 9).
 *
 * The real daemon is a child; pid 1 does nothing but reap, forward signals
 * and leave with the daemon's exit code.
 */
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "master.h"

static const int forwarded[] = { SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGINT,
	SIGABRT, SIGTERM };

/* Reap what is dead.  True when the daemon was among it: *status is its. */
static bool
reap(pid_t daemon, int *status)
{
	pid_t pid;
	int st;
	bool gone = false;

	while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
		if (pid == daemon) {
			*status = st;
			gone = true;
		} else
			log_info("Reaped pid=%d, exit status=%d", (int)pid, st);
	}
	return gone;
}

static void __attribute__((noreturn)) leave(int status)
{
	if (WIFEXITED(status))
		exit(WEXITSTATUS(status));
	exit(128 + WTERMSIG(status));
}

static void __attribute__((noreturn)) serve(pid_t daemon, const sigset_t *set)
{
	int sig, status = 0;

	for (;;) {
		if ((sig = sigwaitinfo(set, NULL)) == -1) {
			if (errno == EINTR)
				continue;
			fatal("sigwaitinfo: %m");
		}
		if (sig != SIGCHLD)
			(void)kill(daemon, sig);
		else if (reap(daemon, &status))
			leave(status);
	}
}

void
init_if_pid1(void)
{
	sigset_t set, old;
	pid_t pid;
	size_t i;

	if (getpid() != 1)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(&set, forwarded[i]);
	/* Blocked before the fork: a signal that comes between is not lost. */
	if (sigprocmask(SIG_BLOCK, &set, &old) == -1)
		fatal("sigprocmask: %m");
	if ((pid = fork()) == -1)
		fatal("fork: %m");
	if (pid == 0) {
		if (sigprocmask(SIG_SETMASK, &old, NULL) == -1)
			fatal("sigprocmask: %m");
		return;
	}
	serve(pid, &set);
}
