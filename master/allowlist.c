/*
 * allowlist.c: host names of restapi.allowlist become addresses
 * (spec/rest-api.md 4).
 *
 * rest may open no connection and read no file, so it cannot resolve.  A slow
 * name server must not hold up the master either: a child asks, and what it
 * has not answered within RESOLVE_NS is left as a name, which rest reports
 * and does not accept.  Done once per configuration; a restarted rest gets
 * the same addresses.
 */
#include <sys/socket.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "master.h"

#define RESOLVE_NS (3 * NS_PER_SEC)
#define MAX_NAMES 64
#define MAX_ADDRESSES 16 /* of one name */
#define MAX_ANSWER (MAX_NAMES * MAX_ADDRESSES * 64)

/* An entry that is neither an address nor a network. */
static bool
is_name(const struct tree *t)
{
	struct addrinfo hints, *list = NULL;

	if (t->type != TREE_TEXT || t->u.s[0] == '\0' ||
	    strlen(t->u.s) >= URL_SIZE || strpbrk(t->u.s, "/[] \t\n") != NULL)
		return false;
	memset(&hints, 0, sizeof(hints));
	hints.ai_flags = AI_NUMERICHOST;
	if (getaddrinfo(t->u.s, NULL, &hints, &list) != 0)
		return true;
	freeaddrinfo(list);
	return false;
}

/* ---- in the child ---- */

static bool
put(int fd, const char *text, size_t len)
{
	ssize_t n;

	while (len > 0) {
		if ((n = write(fd, text, len)) == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

/* One line per address: the entry's index and the address. */
static void
resolve_one(int fd, uint32_t index, const char *name)
{
	struct addrinfo hints, *list = NULL, *ai;
	char host[128], line[160];
	int n, count = 0;

	memset(&hints, 0, sizeof(hints));
	hints.ai_socktype = SOCK_STREAM;
	if (getaddrinfo(name, NULL, &hints, &list) != 0)
		return;
	for (ai = list; ai != NULL && count < MAX_ADDRESSES; ai = ai->ai_next) {
		if (getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof(host),
			NULL, 0, NI_NUMERICHOST) != 0)
			continue;
		n = snprintf(line, sizeof(line), "%u %s\n", index, host);
		if (n > 0 && (size_t)n < sizeof(line) &&
		    !put(fd, line, (size_t)n))
			break;
		count++;
	}
	freeaddrinfo(list);
}

static _Noreturn void
child(int fd, const struct tree *list)
{
	uint32_t i, names = 0;

	(void)signal(SIGPIPE, SIG_DFL);
	for (i = 0; i < tree_count(list); i++)
		if (is_name(tree_child(list, i)) && names++ < MAX_NAMES)
			resolve_one(fd, i, tree_child(list, i)->u.s);
	_exit(0);
}

/* ---- in the master ---- */

/* What the child says until it is done or the time is over. */
static size_t
listen_to(int fd, char *buf, size_t size)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t end = clock_boot_ns() + RESOLVE_NS, left;
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (left = end - clock_boot_ns()) > 0) {
		if (poll(&p, 1, (int)(left / NS_PER_MS) + 1) <= 0)
			continue;
		n = read(fd, buf + len, size - 1 - len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	return len;
}

static bool
ask(const struct tree *list, char *buf, size_t size)
{
	int fds[2], status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) == -1)
		return false;
	if ((pid = fork()) == 0) {
		close(fds[0]);
		child(fds[1], list);
	}
	close(fds[1]);
	if (pid != -1) {
		(void)listen_to(fds[0], buf, size);
		(void)kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
			;
	}
	close(fds[0]);
	return pid != -1;
}

/* Addresses of one entry from the child's lines, or the entry itself. */
static bool
add_entry(struct tree *out, const struct tree *entry, uint32_t index,
    const char *answer)
{
	char host[128];
	bool found = false;
	unsigned which;

	for (; *answer != '\0'; answer += strcspn(answer, "\n") + 1) {
		if (strchr(answer, '\n') == NULL)
			break; /* cut off in the middle */
		if (sscanf(answer, "%u %127s", &which, host) != 2 ||
		    which != index)
			continue;
		if (!tree_append(out, tree_text(host)))
			return false;
		found = true;
	}
	return found || tree_append(out, tree_copy(entry));
}

static struct tree *
resolved(const struct tree *list)
{
	struct tree *out = tree_list();
	char *answer = calloc(1, MAX_ANSWER);
	bool ok = out != NULL && answer != NULL;
	uint32_t i;

	if (ok && !ask(list, answer, MAX_ANSWER))
		log_error("the names of restapi.allowlist cannot be resolved: "
			  "%s",
		    strerror(errno));
	for (i = 0; ok && i < tree_count(list); i++)
		ok = add_entry(out, tree_child(list, i), i, answer);
	free(answer);
	if (ok)
		return out;
	tree_free(out);
	return NULL;
}

void
allowlist_resolve(struct master *m, struct tree *conf)
{
	struct tree *restapi = tree_get(conf, "restapi"), *copy;
	const struct tree *list = tree_get(restapi, "allowlist");
	bool names = false;
	uint32_t i;

	if (list == NULL || list->type != TREE_LIST)
		return;
	for (i = 0; i < tree_count(list) && !names; i++)
		names = is_name(tree_child(list, i));
	if (!names)
		return;
	if (m->allowlist == NULL || m->allowlist_generation != m->generation) {
		tree_free(m->allowlist);
		m->allowlist = resolved(list);
		m->allowlist_generation = m->generation;
	}
	/* without memory rest gets the names and refuses them */
	if (m->allowlist != NULL && (copy = tree_copy(m->allowlist)) != NULL)
		(void)tree_set(restapi, "allowlist", copy);
}
