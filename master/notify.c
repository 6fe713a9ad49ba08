/*
 * notify.c: the service manager's datagram socket (spec/config.md 9).
 *
 * An own implementation of sd_notify(3): one AF_UNIX datagram a state, path
 * or abstract name.  The socket is opened once, before the sandbox.  What
 * concerns the service manager is removed from the environment, so that
 * neither helpers nor PostgreSQL speak for the unit.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "master.h"

static void
open_watchdog(struct master *m)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	int64_t n;

	if (usec == NULL || !text_to_int64(usec, 1, INT64_MAX / 1000, &n))
		return;
	/* Without a pid, or with ours: it is us who must beat. */
	if (pid != NULL) {
		int64_t p;

		if (!text_to_int64(pid, 1, INT32_MAX, &p) || p != getpid())
			return;
	}
	m->watchdog_every_ns = n * 1000 / 2;
	m->watchdog_ns = clock_boot_ns() + m->watchdog_every_ns;
}

void
notify_open(struct master *m)
{
	const char *path = getenv("NOTIFY_SOCKET");

	if (path != NULL && (path[0] == '/' || path[0] == '@') &&
	    strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path) &&
	    text_set(m->notify_path, sizeof(m->notify_path), path)) {
		m->notify_fd = socket(
		    AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (m->notify_fd == -1)
			log_warn("Could not reach the service manager: %s",
			    strerror(errno));
		open_watchdog(m);
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void
notify_send(struct master *m, const char *text)
{
	struct sockaddr_un sun;
	size_t len;

	if (m->notify_fd == -1)
		return;
	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	len = strlen(m->notify_path);
	memcpy(sun.sun_path, m->notify_path, len);
	if (sun.sun_path[0] == '@')
		sun.sun_path[0] = '\0';
	if (sendto(m->notify_fd, text, strlen(text), MSG_NOSIGNAL,
		(struct sockaddr *)&sun,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) ==
	    -1)
		log_debug("notification of the service manager failed: %s",
		    strerror(errno));
}

void
notify_reloading(struct master *m)
{
	struct timespec ts;
	char text[128];

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
	notify_send(m, text);
}

static void
status_text(const struct master *m, char *buf, size_t size)
{
	const struct helper_proc *pg = &m->helpers[PROC_POSTGRES];

	if (m->phase >= PHASE_STOPPING)
		(void)snprintf(buf, size, "stopping");
	else if (!pg->has_info)
		(void)snprintf(buf, size, "starting");
	else
		(void)snprintf(buf, size, "PostgreSQL %s, %s",
		    pg_role_name((enum pg_role)pg->info.role),
		    pg_state_name((enum pg_state)pg->info.state));
}

void
notify_status(struct master *m)
{
	char text[sizeof(m->status)], line[sizeof(m->status) + 16];

	if (m->notify_fd == -1)
		return;
	status_text(m, text, sizeof(text));
	if (strcmp(text, m->status) == 0)
		return;
	memcpy(m->status, text, sizeof(text));
	(void)snprintf(line, sizeof(line), "STATUS=%s", text);
	notify_send(m, line);
}

void
notify_timers(struct master *m, int64_t now)
{
	if (m->watchdog_every_ns == 0 || now < m->watchdog_ns)
		return;
	notify_send(m, "WATCHDOG=1");
	m->watchdog_ns = now + m->watchdog_every_ns;
}
