/*
 * listen.c: the REST listener (spec/rest-api.md 2.2).
 *
 * The master binds it, because rest may neither listen nor bind and the port
 * may need root; rest gets the descriptor.
 */
#include <sys/socket.h>

#include <netinet/in.h>

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master.h"

/*
 * request_queue_size is meant for a server with few threads and is 5 unless
 * set.  Connections are taken at once here, and a burst that overflows so
 * short a queue would cost a health check a second.
 */
#define LEAST_BACKLOG 128

bool
listen_split(const char *text, char *host, size_t size, int *port)
{
	const char *colon = strrchr(text, ':');
	size_t len;
	int64_t n;

	if (colon == NULL || !text_to_int64(colon + 1, 0, 65535, &n))
		return false;
	len = (size_t)(colon - text);
	if (memchr(text, ':', len) != NULL && len >= 2 && text[0] == '[' &&
	    text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len == 1 && text[0] == '*')
		len = 0;
	if (len >= size)
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	*port = (int)n;
	return true;
}

static bool
dual_stack(void)
{
	int off = 0, fd;
	bool ok;

	if ((fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)) == -1)
		return false;
	ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0;
	close(fd);
	return ok;
}

static const struct addrinfo *
choose(const struct addrinfo *list)
{
	const struct addrinfo *ai;
	int family = dual_stack() ? AF_INET6 : AF_INET;

	for (ai = list; ai != NULL; ai = ai->ai_next)
		if (ai->ai_family == family)
			return ai;
	return list;
}

static int
bind_to(const struct addrinfo *ai, bool wildcard, int backlog, int *error)
{
	int fd, on = 1, off = 0;

	fd = socket(
	    ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1) {
		*error = errno;
		return -1;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    (wildcard && ai->ai_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) ==
		    -1) ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) == -1 ||
	    listen(fd, backlog < LEAST_BACKLOG ? LEAST_BACKLOG : backlog) ==
		-1) {
		*error = errno;
		close(fd);
		return -1;
	}
	return fd;
}

int
listen_open(const char *text, int backlog, int *error)
{
	struct addrinfo hints, *list = NULL;
	char host[URL_SIZE], service[16];
	int fd, port, rc;

	*error = 0;
	if (!listen_split(text, host, sizeof(host), &port)) {
		*error = EINVAL;
		return -1;
	}
	memset(&hints, 0, sizeof(hints));
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_flags = AI_PASSIVE;
	(void)snprintf(service, sizeof(service), "%d", port);
	rc = getaddrinfo(host[0] != '\0' ? host : NULL, service, &hints, &list);
	if (rc != 0) {
		*error = rc == EAI_SYSTEM ? errno : 0;
		return -1;
	}
	fd = bind_to(choose(list), host[0] == '\0', backlog, error);
	freeaddrinfo(list);
	return fd;
}
