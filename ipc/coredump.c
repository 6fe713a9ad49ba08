/*
 * coredump.c: the coredump_filter of this process.  It is inherited by fork
 * and exec, so that the master sets it once for all helpers, and what they
 * start of others' (PostgreSQL, scripts) gets its own back.
 */
#include "coredump.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define FILTER "/proc/self/coredump_filter"
#define VARIABLE "PATRONI_COREDUMP_FILTER"
#define KERNEL_DEFAULT "0x33"

static char saved[24];

static ssize_t
access_filter(int flags, char *buf, size_t n)
{
	int fd = open(FILTER, flags | O_CLOEXEC);
	ssize_t r;

	if (fd == -1)
		return -1;
	r = flags == O_RDONLY ? read(fd, buf, n) : write(fd, buf, n);
	close(fd);
	return r;
}

void
coredump_exclude_memory(void)
{
	char text[sizeof saved - 2];
	char none[] = "0";
	ssize_t n = access_filter(O_RDONLY, text, sizeof text - 1);

	if (n <= 0 || access_filter(O_WRONLY, none, 1) != 1) {
		log_debug("%s is not available", FILTER);
		return;
	}
	text[n] = '\0';
	text[strspn(text, "0123456789abcdef")] = '\0';
	(void)snprintf(saved, sizeof saved, "0x%s", text);
}

void
coredump_pass_on(void)
{
	if (saved[0] != '\0')
		(void)setenv(VARIABLE, saved, 1);
}

void
coredump_restore(void)
{
	char text[sizeof saved] = KERNEL_DEFAULT;
	const char *v = getenv(VARIABLE);

	if (v != NULL && strlen(v) < sizeof text)
		(void)snprintf(text, sizeof text, "%s", v);
	(void)access_filter(O_WRONLY, text, strlen(text));
}
