/*
 * own_ns.h: a world of its own for one test process: an empty /etc, and a
 * loopback that nobody else sees.
 */
#ifndef TESTS_UNIT_OWN_NS_H
#define TESTS_UNIT_OWN_NS_H

#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static inline bool
write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	bool ok =
	    fd != -1 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd != -1)
		close(fd);
	return ok;
}

/* False where the kernel does not let us. */
static inline bool
own_ns(void)
{
	struct ifreq lo = { .ifr_name = "lo" };
	char map[64];
	unsigned uid = geteuid(), gid = getegid();
	int fd;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) == -1)
		return false;
	(void)write_text("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!write_text("/proc/self/uid_map", map))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	if (!write_text("/proc/self/gid_map", map) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("tmpfs", "/etc", "tmpfs", 0, NULL) == -1)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	lo.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &lo) == -1)
		return false;
	close(fd);
	return true;
}

#endif
