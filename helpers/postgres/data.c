/*
 * data.c: removing and renaming a data directory with its WAL and tablespace
 * links (postgres.md 9).  Runs in forked workers: plain blocking calls.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job.h"

#define MAX_DEPTH 64

int
data_empty(const char *dir)
{
	char path[PATH_SIZE + 32];
	struct dirent *d;
	struct stat st;
	int empty = 1;
	DIR *dp;

	snprintf(path, sizeof path, "%s/global/pg_control", dir);
	if (stat(path, &st) == 0)
		return 0;
	dp = opendir(dir);
	if (dp == NULL)
		return errno == ENOENT ? 1 : -errno;
	errno = 0;
	while (empty && (d = readdir(dp)) != NULL)
		if (d->d_name[0] != '.' && strcmp(d->d_name, "lost+found") != 0)
			empty = 0;
	closedir(dp);
	return empty;
}

/*
 * A directory is PostgreSQL's when it has PG_VERSION, global, or the marks of
 * an initdb or base backup that was cut off.  A typing error in data_dir must
 * not cost anybody a home directory.
 */
static bool
is_data_directory(const char *dir)
{
	static const char *const marks[] = { "PG_VERSION", "global", "base",
		"pg_wal", "pg_xlog", "backup_label", "backup_manifest",
		"pg_tblspc", "postgresql.conf", "patroni.dynamic.json", NULL };
	char path[PATH_SIZE + 32];
	struct stat st;
	int i;

	for (i = 0; marks[i] != NULL; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, marks[i]);
		if (lstat(path, &st) == 0)
			return true;
	}
	return false;
}

/* Never follows links, never leaves the file system that it started on. */
static int
remove_at(int parent, const char *name, dev_t dev, int depth)
{
	struct dirent *d;
	struct stat st;
	int fd, r = 0, one;
	DIR *dp;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : errno;
	if (!S_ISDIR(st.st_mode))
		return unlinkat(parent, name, 0) == 0 || errno == ENOENT ?
		    0 :
		    errno;
	if (dev != 0 && st.st_dev != dev)
		return EBUSY;
	if (depth > MAX_DEPTH)
		return ELOOP;
	fd = openat(
	    parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return errno;
	dp = fdopendir(fd);
	if (dp == NULL) {
		one = errno;
		close(fd);
		return one;
	}
	while ((d = readdir(dp)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		one = remove_at(fd, d->d_name, st.st_dev, depth + 1);
		if (r == 0)
			r = one;
	}
	closedir(dp);
	if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) == -1 &&
	    errno != ENOENT)
		r = errno;
	return r;
}

static int
remove_tree(const char *path)
{
	return remove_at(AT_FDCWD, path, 0, 0);
}

/* Calls act(link, target) for the WAL directory and each tablespace that is
 * a link (9.3). */
static void
each_link(const char *dir, void (*act)(const char *, const char *))
{
	static const char *const wal[] = { "pg_wal", "pg_xlog", NULL };
	char path[PATH_SIZE + NAME_MAX + 16], target[PATH_MAX];
	struct dirent *d;
	struct stat st;
	int64_t oid;
	DIR *dp;
	int i;

	for (i = 0; wal[i] != NULL; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, wal[i]);
		if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) &&
		    realpath(path, target) != NULL)
			act(path, target);
	}
	snprintf(path, sizeof path, "%s/pg_tblspc", dir);
	dp = opendir(path);
	if (dp == NULL)
		return;
	while ((d = readdir(dp)) != NULL) {
		if (!text_to_int64(d->d_name, 1, INT64_MAX, &oid))
			continue;
		snprintf(path, sizeof path, "%s/pg_tblspc/%s", dir, d->d_name);
		if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) &&
		    realpath(path, target) != NULL)
			act(path, target);
	}
	closedir(dp);
}

static void
remove_target(const char *link, const char *target)
{
	log_info("Removing user defined directory: %s", target);
	(void)link;
	(void)remove_tree(target);
}

static void
move_target(const char *link, const char *target)
{
	char to[PATH_MAX + 16];

	snprintf(to, sizeof to, "%s.failed", target);
	log_info("renaming %s directory and updating symlink: %s",
	    strstr(link, "/pg_tblspc/") != NULL ? "user defined tablespace" :
						  "WAL",
	    target);
	(void)remove_tree(to);
	if (rename(target, to) == 0 && unlink(link) == 0)
		(void)!symlink(to, link);
}

int
data_move(const char *dir)
{
	char to[PATH_SIZE + 16];
	struct stat st;
	int r;

	if (stat(dir, &st) == -1 || !S_ISDIR(st.st_mode))
		return 0;
	each_link(dir, move_target);
	snprintf(to, sizeof to, "%s.failed", dir);
	log_info("renaming data directory to %s", to);
	r = remove_tree(to);
	if (r == 0 && rename(dir, to) == -1)
		r = errno;
	if (r != 0)
		log_error(
		    "Could not rename data directory %s: %s", dir, strerror(r));
	return r;
}

/* The contents only, for a directory that itself cannot be removed (mount
 * point, or a parent that is not ours). */
static int
remove_contents(const char *dir)
{
	struct dirent *d;
	struct stat st;
	int fd, r = 0, one;
	DIR *dp;

	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return errno;
	dp = fdopendir(fd);
	if (dp == NULL || fstat(fd, &st) == -1) {
		r = errno;
		close(fd);
		return r;
	}
	while ((d = readdir(dp)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 ||
		    strcmp(d->d_name, "..") == 0 ||
		    strcmp(d->d_name, "lost+found") == 0)
			continue;
		one = remove_at(fd, d->d_name, st.st_dev, 1);
		if (r == 0)
			r = one;
	}
	closedir(dp);
	return r;
}

int
data_remove(const char *dir)
{
	struct stat st;
	int r;

	if (lstat(dir, &st) == -1)
		return errno == ENOENT ? 0 : errno;
	log_info("Removing data directory: %s", dir);
	if (!S_ISDIR(st.st_mode))
		return unlink(dir) == 0 ? 0 : errno;
	if (data_empty(dir) == 1)
		return 0;
	if (!is_data_directory(dir)) {
		log_error(
		    "%s is not a PostgreSQL data directory; it is left alone",
		    dir);
		return ENOTEMPTY;
	}
	each_link(dir, remove_target);
	r = remove_contents(dir);
	if (r == 0)
		(void)rmdir(dir);
	if (r != 0) {
		log_error(
		    "Could not remove data directory %s: %s", dir, strerror(r));
		r = data_move(dir);
	}
	return r;
}

int
data_clean_slots(const char *dir)
{
	char path[PATH_SIZE + 16];
	int r;

	snprintf(path, sizeof path, "%s/pg_replslot", dir);
	r = remove_contents(path);
	if (r == ENOENT)
		return 0;
	if (r != 0)
		log_warn("Unable to clean %s: %s", path, strerror(r));
	return r;
}
