/*
 * device_testing.c: `driver: testing`: writes to a named pipe what a device
 * would be told (device.h).
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "device.h"

static int timeout_set; /* the pipe cannot be asked */

static int
put(int fd, const char *buf, size_t len)
{
	ssize_t n = write(fd, buf, len);

	if (n >= 0 && (size_t)n != len)
		errno = EIO;
	return n == (ssize_t)len ? 0 : -1;
}

static int
support(int fd, struct device_caps *caps)
{
	(void)fd;
	*caps = (struct device_caps){ .set_timeout = true,
		.disable = true,
		.identity = "Testing watchdog" };
	return 0;
}

static int
set_timeout(int fd, int seconds)
{
	char buf[24];
	int n = snprintf(buf, sizeof(buf), "T%d\n", seconds);

	if (put(fd, buf, (size_t)n) == -1)
		return -1;
	timeout_set = seconds;
	return 0;
}

static int
get_timeout(int fd, int *seconds)
{
	(void)fd;
	*seconds = timeout_set;
	return 0;
}

static int
ping(int fd)
{
	return put(fd, "1", 1);
}

static int
disable(int fd)
{
	return put(fd, "V", 1);
}

const struct device_driver device_testing = { support, set_timeout, get_timeout,
	ping, disable };
