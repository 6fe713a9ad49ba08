/*
 * logfile.c: lines to <log.dir>/patroni.log, and its rotation (spec/config.md
 * 14).
 *
 * All processes share the descriptor and append whole lines with one write
 * each, so nobody has to collect them and a stopped process delays no other.
 * The price is that the size is looked at between lines, not before each: a
 * file may grow a little over log.file_size.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "master.h"

#define FILE_NAME "patroni.log"
#define CHECK_SOON (1 * NS_PER_SEC)
#define CHECK_LATER (10 * NS_PER_SEC)
#define MAX_FILES 1000

static bool
file_path(const struct log_file *lf, int64_t number, char *out, size_t size)
{
	int n;

	if (number == 0)
		n = snprintf(out, size, "%s/" FILE_NAME, lf->dir);
	else
		n = snprintf(out, size, "%s/" FILE_NAME ".%lld", lf->dir,
		    (long long)number);
	return n > 0 && (size_t)n < size;
}

/* Make the file descriptor 2 of this process. */
static bool
switch_to_file(struct log_file *lf)
{
	char path[PATH_SIZE];
	int fd;
	bool ok;

	if (!file_path(lf, 0, path, sizeof(path))) {
		errno = ENAMETOOLONG;
		return false;
	}
	fd = open(
	    path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
	if (fd == -1)
		return false;
	if (lf->has_mode)
		(void)fchmod(fd, lf->mode); /* not ours: keep its mode */
	if (lf->stderr_fd == -1)
		lf->stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	ok = dup2(fd, STDERR_FILENO) != -1;
	close(fd);
	return ok;
}

static void
switch_back(struct log_file *lf)
{
	lf->dir[0] = '\0';
	if (lf->stderr_fd == -1)
		return;
	(void)dup2(lf->stderr_fd, STDERR_FILENO);
	close(lf->stderr_fd);
	lf->stderr_fd = -1;
}

bool
logfile_configure(struct log_file *lf, const struct conf *conf, bool *switched)
{
	const char *dir = tree_path_text(conf->effective, "log.dir", "");
	struct tree *mode = tree_path(conf->effective, "log.mode");

	*switched = false;
	lf->size = tree_path_int(conf->effective, "log.file_size", 25000000);
	lf->num = tree_path_int(conf->effective, "log.file_num", 4);
	if (lf->num > MAX_FILES)
		lf->num = MAX_FILES;
	lf->has_mode = mode != NULL && mode->type == TREE_INT;
	if (lf->has_mode)
		lf->mode = (mode_t)(mode->u.i & 0777);
	if (dir[0] == '\0') {
		*switched = lf->dir[0] != '\0';
		switch_back(lf);
		return true;
	}
	/* While writing to a file already, another log.dir is not taken. */
	if (lf->dir[0] != '\0')
		return true;
	if (!text_set(lf->dir, sizeof(lf->dir), dir))
		return false;
	if (!switch_to_file(lf)) {
		lf->dir[0] = '\0';
		return false;
	}
	lf->check_ns = clock_boot_ns() + CHECK_SOON;
	*switched = true;
	return true;
}

static void
rename_older(const struct log_file *lf)
{
	char from[PATH_SIZE], to[PATH_SIZE];
	int64_t i;

	for (i = lf->num; i > 0; i--)
		if (file_path(lf, i - 1, from, sizeof(from)) &&
		    file_path(lf, i, to, sizeof(to)) &&
		    rename(from, to) == -1 && errno != ENOENT)
			log_warn(
			    "Could not rename %s: %s", from, strerror(errno));
}

bool
logfile_check(struct log_file *lf, int64_t now)
{
	struct stat st;

	if (lf->dir[0] == '\0' || lf->size <= 0 || lf->num <= 0 ||
	    now < lf->check_ns)
		return false;
	lf->check_ns = now + CHECK_SOON;
	if (fstat(STDERR_FILENO, &st) == -1)
		return false;
	if (st.st_size < lf->size) {
		if (st.st_size < lf->size / 2)
			lf->check_ns = now + CHECK_LATER;
		return false;
	}
	rename_older(lf);
	if (!switch_to_file(lf)) {
		log_error("Could not open a new log file in %s: %s", lf->dir,
		    strerror(errno));
		return false;
	}
	return true;
}
