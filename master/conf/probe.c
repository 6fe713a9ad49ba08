/*
 * probe.c: see probe.h.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../ipc/values.h"
#include "probe.h"

extern char **environ;

static bool
connects(const struct addrinfo *ai)
{
	int fd, err = 0;
	socklen_t len = sizeof(err);
	struct pollfd p;
	bool ok;

	fd = socket(
	    ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return false;
	ok = connect(fd, ai->ai_addr, ai->ai_addrlen) == 0;
	if (!ok && errno == EINPROGRESS) {
		p.fd = fd;
		p.events = POLLOUT;
		ok = poll(&p, 1, PROBE_MS) == 1 &&
		    getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 &&
		    err == 0;
	}
	close(fd);
	return ok;
}

int
probe_connect(const char *host, int port, const char **why)
{
	struct addrinfo hints, *list, *ai;
	char service[16];
	int rc, ok = 0;

	memset(&hints, 0, sizeof(hints));
	hints.ai_socktype = SOCK_STREAM;
	snprintf(service, sizeof(service), "%d", port);
	rc = getaddrinfo(
	    strcmp(host, "*") == 0 ? NULL : host, service, &hints, &list);
	if (rc != 0) {
		*why = gai_strerror(rc);
		return -1;
	}
	for (ai = list; ai != NULL && !ok; ai = ai->ai_next)
		ok = connects(ai) ? 1 : 0;
	freeaddrinfo(list);
	return ok;
}

bool
probe_is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool
probe_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

bool
probe_dir_empty(const char *path)
{
	struct dirent *de;
	bool empty = true;
	DIR *d = opendir(path);

	if (d == NULL)
		return errno == ENOENT;
	while (empty && (de = readdir(d)) != NULL)
		empty = de->d_name[0] == '.' ||
		    strcmp(de->d_name, "lost+found") == 0;
	closedir(d);
	return empty;
}

static bool
is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	    access(path, X_OK) == 0;
}

bool
probe_program(const char *dir, const char *name, char *path, size_t size)
{
	const char *p, *all;
	size_t len;
	int n;

	if (*dir != '\0' || *name == '/') {
		n = *name == '/' ? snprintf(path, size, "%s", name) :
				   snprintf(path, size, "%s/%s", dir, name);
		return n > 0 && (size_t)n < size && is_program(path);
	}
	if ((all = getenv("PATH")) == NULL)
		return false;
	for (p = all;; p += len + 1) {
		len = strcspn(p, ":");
		n = snprintf(path, size, "%.*s/%s", (int)len, p, name);
		if (len > 0 && n > 0 && (size_t)n < size && is_program(path))
			return true;
		if (p[len] == '\0')
			return false;
	}
}

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Read until end of file or the deadline; what does not fit is dropped. */
static bool
drain(int fd, int64_t end, char *out, size_t size)
{
	char skip[512];
	size_t used = 0;
	ssize_t n;
	struct pollfd p = { fd, POLLIN, 0 };
	int64_t left;

	out[0] = '\0';
	while ((left = end - now_ms()) > 0) {
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		if (used + 1 < size)
			n = read(fd, out + used, size - used - 1);
		else
			n = read(fd, skip, sizeof(skip));
		if (n <= 0)
			return n == 0;
		if (used + 1 < size) {
			used += (size_t)n;
			out[used] = '\0';
		}
	}
	return false;
}

int
probe_run(char *const argv[], int ms, char *out, size_t size)
{
	posix_spawn_file_actions_t acts;
	int fds[2], status = -1, rc;
	int64_t end = now_ms() + ms;
	bool ended;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) == -1)
		return -1;
	posix_spawn_file_actions_init(&acts);
	posix_spawn_file_actions_addopen(&acts, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&acts, fds[1], 1);
	rc = posix_spawn(&pid, argv[0], &acts, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&acts);
	close(fds[1]);
	if (rc != 0) {
		close(fds[0]);
		return -1;
	}
	ended = drain(fds[0], end, out, size);
	close(fds[0]);
	if (!ended)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool
probe_postgres_version(const char *program, char *out, size_t size)
{
	char *argv[] = { strdup(program), strdup("--version"), NULL };
	char text[256], *p;
	unsigned at[3];
	bool ok = false;

	if (argv[0] != NULL && argv[1] != NULL &&
	    probe_run(argv, PROBE_MS, text, sizeof(text)) == 0 &&
	    (p = strpbrk(text, "0123456789")) != NULL &&
	    version_numbers(p, at) >= 1) {
		if (at[0] >= 10)
			snprintf(out, size, "%u", at[0]);
		else
			snprintf(out, size, "%u.%u", at[0], at[1]);
		ok = true;
	}
	free(argv[0]);
	free(argv[1]);
	return ok;
}
