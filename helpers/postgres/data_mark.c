/*
 * data_mark.c: marks of work on a data directory that leaves a torso when it
 * is cut off: its creation (initdb, base backup) and pg_rewind.
 *
 * The marks lie beside the data directory: inside it pg_basebackup and initdb
 * would refuse to work, and pg_rewind removes what its source does not have.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job.h"

#define MARK_SIZE (PATH_SIZE + 16)
#define BOOTSTRAP_TEXT "bootstrap\n"

static void
mark_path(const char *dir, const char *suffix, char out[MARK_SIZE])
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	snprintf(out, MARK_SIZE, "%.*s.%s", (int)n, dir, suffix);
}

void
data_mark(const char *dir, enum data_mark kind)
{
	const char *text = kind == MARK_BOOTSTRAP ? BOOTSTRAP_TEXT : "";
	char path[MARK_SIZE];
	int fd;

	mark_path(dir, "creating", path);
	if (kind == MARK_NONE) {
		unlink(path);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1 || write(fd, text, strlen(text)) == -1)
		log_warn(
		    "%s: %s; a copy that is cut off by a crash will have to be removed by hand",
		    path, strerror(errno));
	if (fd != -1)
		close(fd);
}

enum data_mark
data_marked(const char *dir)
{
	char path[MARK_SIZE], text[sizeof BOOTSTRAP_TEXT];
	ssize_t n;
	int fd;

	mark_path(dir, "creating", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return MARK_NONE;
	n = read(fd, text, sizeof text);
	close(fd);
	return n == (ssize_t)strlen(BOOTSTRAP_TEXT) &&
		memcmp(text, BOOTSTRAP_TEXT, (size_t)n) == 0 ?
	    MARK_BOOTSTRAP :
	    MARK_CLONE;
}

bool
data_sysid(const char *dir, char *out, size_t size)
{
	char path[PATH_SIZE + 32];
	uint64_t id;
	int fd;
	bool ok;

	snprintf(path, sizeof path, "%s/global/pg_control", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	/* the first field of every version's file, in the host's order */
	ok = read(fd, &id, sizeof id) == (ssize_t)sizeof id;
	close(fd);
	if (ok)
		snprintf(out, size, "%llu", (unsigned long long)id);
	return ok;
}

/* Which directory this is: one that an operator has put in its place since
 * (a restored backup, say) is not what the mark speaks of. */
static bool
identity(const char *dir, char *out, size_t size)
{
	struct stat st;

	if (stat(dir, &st) == -1)
		return false;
	snprintf(out, size, "%llu:%llu\n", (unsigned long long)st.st_dev,
	    (unsigned long long)st.st_ino);
	return true;
}

static int
sync_parent(const char *path)
{
	char parent[MARK_SIZE], *slash;
	int fd, r;

	text_set(parent, sizeof parent, path);
	slash = strrchr(parent, '/');
	if (slash == NULL)
		return 0;
	slash[slash == parent ? 1 : 0] = '\0';
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return errno;
	r = fsync(fd) == -1 && errno != EINVAL ? errno : 0;
	close(fd);
	return r;
}

int
data_rewind_mark(const char *dir)
{
	char path[MARK_SIZE], text[64];
	size_t n;
	int fd, r = 0;

	if (!identity(dir, text, sizeof text))
		return errno;
	mark_path(dir, "rewinding", path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1)
		return errno;
	n = strlen(text);
	if (write(fd, text, n) != (ssize_t)n || fsync(fd) == -1)
		r = errno != 0 ? errno : EIO;
	close(fd);
	if (r == 0)
		r = sync_parent(path);
	if (r != 0)
		unlink(path);
	return r;
}

void
data_rewind_unmark(const char *dir)
{
	char path[MARK_SIZE];

	mark_path(dir, "rewinding", path);
	unlink(path);
}

bool
data_rewind_marked(const char *dir)
{
	char path[MARK_SIZE], have[64], want[64];
	ssize_t n;
	int fd;

	mark_path(dir, "rewinding", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	n = read(fd, have, sizeof have - 1);
	close(fd);
	have[n > 0 ? n : 0] = '\0';
	/* an empty mark is one whose writing was cut off: pg_rewind had not
	 * been started yet */
	if (n <= 0 || !identity(dir, want, sizeof want) ||
	    strcmp(have, want) != 0) {
		log_warn(
		    "%s does not belong to the present data directory, it is removed",
		    path);
		unlink(path);
		return false;
	}
	return true;
}
