/*
 * test_acts.c: attempts at what design 2's table forbids, from inside each
 * process; only in a test build (make ACTS=1).
 *
 * The variable is not called PATRONI_..., for the master reads and removes
 * those. libc and the log only, since the keeper compiles this too
 * (watchdog/acts.c).
 */
#ifdef TEST_ACTS

#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/log.h"
#include "test_acts.h"

/* Each: -1 and errno when refused, anything else when it could be done. */

static int
act_exec(void)
{
	return execl("/bin/sh", "sh", "-c", "echo 'act exec: ALLOWED' >&2",
	    (char *)NULL);
}

static int
act_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return (int)pid;
}

static int
close_it(int fd)
{
	if (fd != -1)
		close(fd);
	return fd;
}

static int
act_open_write(void)
{
	return close_it(open("/tmp/patroni_act", O_WRONLY | O_CREAT, 0600));
}

static int
act_open_read(void)
{
	return close_it(open("/etc/passwd", O_RDONLY));
}

static struct sockaddr_in
loopback(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return a;
}

/* Nobody listens there: a refusal of the other end is not ours. */
static int
act_connect(void)
{
	struct sockaddr_in a = loopback(1);
	int rc, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd == -1)
		return -1;
	rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
	if (rc == -1 && errno == ECONNREFUSED)
		rc = 0;
	close(fd);
	return rc;
}

static int
act_listen(void)
{
	struct sockaddr_in a = loopback(0);
	int rc, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd == -1)
		return -1;
	rc = bind(fd, (struct sockaddr *)&a, sizeof(a));
	if (rc == 0)
		rc = listen(fd, 1);
	close(fd);
	return rc;
}

static int
act_ptrace(void)
{
	return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int
act_mount(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static int
act_setuid(void)
{
	return setuid(0);
}

static int
act_kill(void)
{
	return kill(getppid(), 0);
}

static const struct {
	const char *name;
	int (*run)(void);
} acts[] = {
	{ "exec", act_exec },
	{ "fork", act_fork },
	{ "open_write", act_open_write },
	{ "open_read", act_open_read },
	{ "connect", act_connect },
	{ "listen", act_listen },
	{ "ptrace", act_ptrace },
	{ "mount", act_mount },
	{ "setuid", act_setuid },
	{ "kill", act_kill },
};

static void
attempt(const char *me, const char *name)
{
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		if (strcmp(acts[i].name, name) != 0)
			continue;
		log_info("act %s/%s: attempted", me, name);
		errno = 0;
		if (acts[i].run() == -1)
			log_info("act %s/%s: refused (%s)", me, name,
			    strerror(errno));
		else
			log_info("act %s/%s: ALLOWED", me, name);
		return;
	}
	log_error("act %s/%s: unknown", me, name);
}

void
test_acts_run(enum proc self)
{
	const char *wanted = getenv("TEST_PATRONI_ACTS");
	const char *me = proc_name(self);
	char *copy, *word, *act, *words, *names;

	if (wanted == NULL || (copy = strdup(wanted)) == NULL)
		return;
	for (word = strtok_r(copy, " ", &words); word != NULL;
	     word = strtok_r(NULL, " ", &words)) {
		act = strchr(word, ':');
		if (act == NULL || strlen(me) != (size_t)(act - word) ||
		    memcmp(word, me, strlen(me)) != 0)
			continue;
		for (act = strtok_r(act + 1, ",", &names); act != NULL;
		     act = strtok_r(NULL, ",", &names))
			attempt(me, act);
	}
	free(copy);
}

#endif
