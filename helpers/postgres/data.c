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

/* Is this the name of something that PostgreSQL or this program puts into a
 * data directory? */
static bool
is_postgres_name(const char *name)
{
	static const char *const prefixes[] = { "pg_", "postgresql.",
		"postmaster.", "backup_label", "backup_manifest",
		"tablespace_map", "patroni.dynamic.json", "recovery.",
		"standby.signal", NULL };
	static const char *const names[] = { "PG_VERSION", "global", "base",
		"log", "current_logfiles", "lost+found", NULL };
	int i;

	if (name[0] == '.')
		return true;
	for (i = 0; names[i] != NULL; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	for (i = 0; prefixes[i] != NULL; i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/*
 * A directory is PostgreSQL's when it has PG_VERSION, or what a base backup
 * begins with; of an initdb or base backup that was cut off before it has
 * nothing but what they make.  A typing error in data_dir must not cost
 * anybody a home directory.
 */
static bool
is_data_directory(const char *dir)
{
	static const char *const marks[] = { "PG_VERSION", "backup_label",
		"global/pg_control", NULL };
	char path[PATH_SIZE + 32];
	struct dirent *d;
	struct stat st;
	bool ours = true;
	DIR *dp;
	int i;

	for (i = 0; marks[i] != NULL; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, marks[i]);
		if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
			return true;
	}
	dp = opendir(dir);
	if (dp == NULL)
		return false;
	while (ours && (d = readdir(dp)) != NULL)
		ours = is_postgres_name(d->d_name);
	closedir(dp);
	return ours;
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

/* Entries of a directory for which `which` is true; returns whether none else
 * is left. */
static bool
remove_entries(
    const char *dir, bool (*which)(const char *, const char *), const char *arg)
{
	struct dirent *d;
	struct stat st;
	bool all = true;
	DIR *dp = opendir(dir);

	if (dp == NULL || fstat(dirfd(dp), &st) == -1) {
		if (dp != NULL)
			closedir(dp);
		return false;
	}
	while ((d = readdir(dp)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 ||
		    strcmp(d->d_name, "..") == 0 ||
		    strcmp(d->d_name, "lost+found") == 0)
			continue;
		if (!which(d->d_name, arg) ||
		    remove_at(dirfd(dp), d->d_name, st.st_dev, 1) != 0)
			all = false;
	}
	closedir(dp);
	return all;
}

/* "PG_15_202209061": of this major version; another one's, which may share
 * the place, is another cluster's. */
static bool
is_tablespace_of(const char *name, const char *major)
{
	size_t n = strlen(major);

	return strncmp(name, "PG_", 3) == 0 &&
	    (n == 0 ||
		(strncmp(name + 3, major, n) == 0 && name[3 + n] == '_'));
}

static bool
any_name(const char *name, const char *arg)
{
	(void)name;
	(void)arg;
	return true;
}

/* "000000010000000000000001", ".partial", "00000002.history" */
static bool
is_wal_name(const char *name)
{
	size_t n = strspn(name, "0123456789ABCDEF");

	return (n == 24 &&
		   (name[n] == '\0' || strcmp(name + n, ".partial") == 0)) ||
	    (n == 8 && strcmp(name + n, ".history") == 0);
}

/* PostgreSQL's own directory stands in it, or nothing but WAL, or nothing. */
static bool
is_wal_directory(const char *dir)
{
	char path[PATH_MAX + 32];
	struct dirent *d;
	struct stat st;
	bool ours = true;
	DIR *dp;

	snprintf(path, sizeof path, "%s/archive_status", dir);
	if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return true;
	dp = opendir(dir);
	if (dp == NULL)
		return false;
	while (ours && (d = readdir(dp)) != NULL)
		ours = d->d_name[0] == '.' || is_wal_name(d->d_name) ||
		    strcmp(d->d_name, "lost+found") == 0;
	closedir(dp);
	return ours;
}

static void
major_text(const char *link, char out[16])
{
	char path[PATH_SIZE + NAME_MAX + 32];
	const char *p = strstr(link, "/pg_tblspc/");
	FILE *f;

	out[0] = '\0';
	snprintf(path, sizeof path, "%.*s/PG_VERSION",
	    p != NULL ? (int)(p - link) : 0, link);
	f = fopen(path, "re");
	if (f == NULL)
		return;
	if (fgets(out, 16, f) == NULL)
		out[0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	fclose(f);
}

static void
remove_target(const char *link, const char *target)
{
	bool space = strstr(link, "/pg_tblspc/") != NULL, all;
	char major[16];

	if (!space && !is_wal_directory(target)) {
		log_error(
		    "%s is not a WAL directory; it is left alone", target);
		return;
	}
	log_info("Removing user defined directory: %s", target);
	major_text(link, major);
	all =
	    remove_entries(target, space ? is_tablespace_of : any_name, major);
	if (!all)
		log_error(
		    "%s holds more than this cluster's data; the rest is left alone",
		    target);
	else if (rmdir(target) == -1)
		log_debug("%s: %s", target, strerror(errno));
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
