/*
 * device_linux.c: the kernel's watchdog interface.
 */
#include <sys/ioctl.h>

#include <errno.h>
#include <linux/watchdog.h>
#include <string.h>
#include <unistd.h>

#include "device.h"

static int
support(int fd, struct device_caps *caps)
{
	struct watchdog_info info;

	memset(&info, 0, sizeof(info));
	if (ioctl(fd, WDIOC_GETSUPPORT, &info) == -1)
		return -1;
	memset(caps, 0, sizeof(*caps));
	caps->set_timeout = (info.options & WDIOF_SETTIMEOUT) != 0;
	caps->disable = (info.options & WDIOF_MAGICCLOSE) != 0;
	caps->firmware = info.firmware_version;
	_Static_assert(sizeof(info.identity) + 1 == sizeof(caps->identity),
	    "identity differs");
	memcpy(caps->identity, info.identity, sizeof(info.identity));
	return 0;
}

static int
set_timeout(int fd, int seconds)
{
	return ioctl(fd, WDIOC_SETTIMEOUT, &seconds) == -1 ? -1 : 0;
}

static int
get_timeout(int fd, int *seconds)
{
	return ioctl(fd, WDIOC_GETTIMEOUT, seconds) == -1 ? -1 : 0;
}

static int
write_byte(int fd, char c)
{
	ssize_t n = write(fd, &c, 1);

	if (n == 0)
		errno = EIO;
	return n == 1 ? 0 : -1;
}

static int
ping(int fd)
{
	return write_byte(fd, '1');
}

static int
disable(int fd)
{
	return write_byte(fd, 'V');
}

const struct device_driver device_linux = { support, set_timeout, get_timeout,
	ping, disable };
