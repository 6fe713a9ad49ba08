/*
 * conf_file.c: reading and atomically replacing files, and the modes that
 * files get (spec/config.md 11.6).  What stands in the files is made in
 * conf_render.c; which file is written when, in conf_write.c.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf_util.h"

static bool
write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* The file that path names after following links: a link stays a link. */
static bool
resolve(const char *path, char out[PATH_SIZE], struct pgerr *err)
{
	char real[PATH_MAX];

	if (realpath(path, real) != NULL) {
		if (strlen(real) >= PATH_SIZE)
			return fail(err, "%s: name too long", path);
		memcpy(out, real, strlen(real) + 1);
		return true;
	}
	if (errno != ENOENT)
		return fail(err, "%s: %s", path, strerror(errno));
	if (strlen(path) >= PATH_SIZE)
		return fail(err, "%s: name too long", path);
	memcpy(out, path, strlen(path) + 1);
	return true;
}

/* The rename is only safe on disk when the directory is. */
static bool
sync_directory(const char *path, struct pgerr *err)
{
	char copy[PATH_SIZE];
	const char *dir;
	int fd, rc;

	memcpy(copy, path, strlen(path) + 1);
	dir = dirname(copy);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(err, "%s: %s", dir, strerror(errno));
	rc = fsync(fd);
	if (rc != 0)
		fail(err, "%s: fsync: %s", dir, strerror(errno));
	close(fd);
	return rc == 0;
}

static void (*written_hook)(const char *path, void *arg);
static void *written_arg;

void
pgfile_defer_sync(void (*hook)(const char *path, void *arg), void *arg)
{
	written_hook = hook;
	written_arg = arg;
}

bool
pgfile_sync(const char *path, struct pgerr *err)
{
	int fd, rc;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) /* replaced or removed since: nothing to keep */
		return errno == ENOENT ||
		    fail(err, "%s: %s", path, strerror(errno));
	rc = fsync(fd);
	if (rc != 0)
		fail(err, "%s: fsync: %s", path, strerror(errno));
	close(fd);
	return rc == 0 && sync_directory(path, err);
}

/* The file has this content and mode already: nothing to write, and no wait
 * for the disk at a moment (promotion, following) that must be short. */
static bool
is_current(const char *path, const char *data, size_t len, mode_t mode)
{
	struct stat st;
	size_t have;
	char *text;
	bool same;

	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
	    (st.st_mode & 07777) != mode || (size_t)st.st_size != len)
		return false;
	text = pgfile_read(path, len, &have, NULL);
	if (text == NULL)
		return false;
	same = have == len && memcmp(text, data, len) == 0;
	wipe(text, have);
	free(text);
	return same;
}

static bool
replace(const char *path, const char *data, size_t len, mode_t mode,
    bool durable, struct pgerr *err)
{
	char target[PATH_SIZE], tmp[PATH_SIZE + 32];
	int fd, saved;

	if (is_current(path, data, len, mode))
		return true;
	if (!resolve(path, target, err))
		return false;
	snprintf(tmp, sizeof(tmp), "%s" PGFILE_UNFINISHED "XXXXXX", target);
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return fail(err, "%s: %s", tmp, strerror(errno));
	if (write_all(fd, data, len) && fchmod(fd, mode) == 0 &&
	    (!durable || fsync(fd) == 0)) {
		if (close(fd) == 0 && rename(tmp, target) == 0) {
			if (durable)
				return sync_directory(target, err);
			written_hook(target, written_arg);
			return true;
		}
		saved = errno;
	} else {
		saved = errno;
		close(fd);
	}
	unlink(tmp);
	return fail(err, "%s: %s", path, strerror(saved));
}

bool
pgfile_write(const char *path, const char *data, size_t len, mode_t mode,
    struct pgerr *err)
{
	return replace(path, data, len, mode, written_hook == NULL, err);
}

bool
pgfile_write_durable(const char *path, const char *data, size_t len,
    mode_t mode, struct pgerr *err)
{
	return replace(path, data, len, mode, true, err);
}

char *
pgfile_read(const char *path, size_t max, size_t *len, struct pgerr *err)
{
	struct text t = { 0 };
	char buf[8192];
	ssize_t n;
	int fd, saved;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		saved = errno;
		fail(err, "%s: %s", path, strerror(saved));
		errno = saved;
		return NULL;
	}
	while ((n = read(fd, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0 && t.len + (size_t)n <= max) {
			text_add_n(&t, buf, (size_t)n);
			continue;
		}
		saved = n < 0 ? errno : EFBIG;
		close(fd);
		free(t.s);
		fail(err, "%s: %s", path, strerror(saved));
		errno = saved;
		return NULL;
	}
	close(fd);
	if (len != NULL)
		*len = t.len;
	return text_take(&t);
}

static bool
is_below(const char *path, const char *dir)
{
	char a[PATH_MAX], b[PATH_MAX], copy[PATH_SIZE];
	size_t n;

	if (realpath(dir, b) == NULL)
		return false;
	if (realpath(path, a) == NULL) {
		/* not there yet: its directory decides */
		if (strlen(path) >= sizeof(copy))
			return false;
		memcpy(copy, path, strlen(path) + 1);
		if (realpath(dirname(copy), a) == NULL)
			return false;
	}
	n = strlen(b);
	return strncmp(a, b, n) == 0 && (a[n] == '/' || a[n] == '\0');
}

mode_t
pgconf_file_mode(const struct pgconf *c, const char *path,
    const struct pgfacts *f, bool directory)
{
	struct stat st;
	bool group;

	if (!is_below(path, c->data_dir)) {
		mode_t mask = f == NULL ? 077 : f->umask;

		return (directory ? 0777 : 0666) & ~mask;
	}
	group = stat(c->data_dir, &st) == 0 && (st.st_mode & 0750) == 0750;
	if (directory)
		return group ? 0750 : 0700;
	return group ? 0640 : 0600;
}
