/*
 * files.c: see files.h.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/log.h"
#include "../ipc/types.h"
#include "files.h"

#define MAX_GIVEN 16
#define MAX_SIZE (1024 * 1024)

static struct given {
	char path[PATH_SIZE];
	char *text;
	size_t len;
} given[MAX_GIVEN];
static uint32_t ngiven;

static char *
read_fd(int fd, size_t *len)
{
	struct stat st;
	size_t off = 0;
	char *buf;
	ssize_t n;

	if (fstat(fd, &st) == -1)
		return NULL;
	if (!S_ISREG(st.st_mode) || st.st_size > MAX_SIZE) {
		errno = EINVAL;
		return NULL;
	}
	if ((buf = malloc((size_t)st.st_size + 1)) == NULL)
		return NULL;
	while (off < (size_t)st.st_size) {
		/* the descriptor may share its position with others */
		n = pread(fd, buf + off, (size_t)st.st_size - off, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			wipe(buf, off);
			free(buf);
			return NULL;
		}
		if (n == 0)
			break;
		off += (size_t)n;
	}
	buf[off] = '\0';
	*len = off;
	return buf;
}

static struct given *
find(const char *path)
{
	uint32_t i;

	for (i = 0; i < ngiven; i++)
		if (strcmp(given[i].path, path) == 0)
			return &given[i];
	return NULL;
}

bool
files_given(const char *path)
{
	return find(path) != NULL;
}

void
files_give(const char *path, int fd)
{
	struct given *g = find(path);
	size_t len = 0;
	char *text = read_fd(fd, &len);

	close(fd);
	if (text == NULL || (g == NULL && ngiven == MAX_GIVEN)) {
		log_debug("%s was passed and is not usable", path);
		free(text);
		return;
	}
	if (g == NULL) {
		g = &given[ngiven++];
		(void)text_set(g->path, sizeof(g->path), path);
	} else {
		wipe(g->text, g->len);
		free(g->text);
	}
	g->text = text;
	g->len = len;
}

void
files_forget(void)
{
	while (ngiven > 0) {
		struct given *g = &given[--ngiven];

		wipe(g->text, g->len);
		free(g->text);
		g->text = NULL;
	}
}

char *
files_read(const char *path, size_t *len, char *err, size_t errlen)
{
	const struct given *g = find(path);
	char *text = NULL;
	int fd;

	if (g != NULL) {
		if ((text = malloc(g->len + 1)) != NULL) {
			memcpy(text, g->text, g->len + 1);
			*len = g->len;
			return text;
		}
	} else if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) != -1) {
		text = read_fd(fd, len);
		close(fd);
		if (text != NULL)
			return text;
	}
	snprintf(err, errlen, "cannot read %s: %s", path, strerror(errno));
	return NULL;
}
