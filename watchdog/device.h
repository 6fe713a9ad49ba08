/*
 * device.h: a watchdog device that the master has opened for us
 * (spec/ha.md 20.2).  A driver only speaks the protocol; when to speak is
 * keeper.c's.
 */
#ifndef WATCHDOG_DEVICE_H
#define WATCHDOG_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

struct device_caps {
	bool set_timeout;
	bool disable; /* magic close */
	uint32_t firmware;
	char identity[33];
};

/* Every call: 0, or -1 and errno; none waits. */
struct device_driver {
	int (*support)(int fd, struct device_caps *);
	int (*set_timeout)(int fd, int seconds);
	int (*get_timeout)(int fd, int *seconds);
	int (*ping)(int fd);
	int (*disable)(int fd); /* before closing it */
};

extern const struct device_driver device_linux;
/* A named pipe or file on which a test harness reads what a device would be
 * told: "T<seconds>\n" for the timeout, "1" a ping, "V" the magic close. */
extern const struct device_driver device_testing;

#endif
