/*
 * conf_sweep.c: remove the unfinished files that a kill in the middle of
 * pgfile_write() (conf_file.c) leaves beside the real ones.
 */
#include <sys/stat.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <unistd.h>

#include "conf_util.h"

/* Length of the real file's name, when this is an unfinished one; else 0. */
static size_t
stem_length(const char *name)
{
	const size_t random = 6;
	size_t len = strlen(name), mark = strlen(PGFILE_UNFINISHED);

	if (len <= mark + random)
		return 0;
	for (size_t i = len - random; i < len; i++)
		if (!isalnum((unsigned char)name[i]))
			return 0;
	len -= mark + random;
	return strncmp(name + len, PGFILE_UNFINISHED, mark) == 0 ? len : 0;
}

/* Does pgfile_write() write a file of this name into a data directory? */
static bool
is_ours(const char *name, size_t len)
{
	static const char *const ends[] = { ".conf", ".backup", ".signal",
		".json" };
	size_t n;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		n = strlen(ends[i]);
		if (len > n && memcmp(name + len - n, ends[i], n) == 0)
			return true;
	}
	return false;
}

/* only: the one file that is ours there; NULL: by its ending. */
static void
sweep(const char *path, const char *only)
{
	struct dirent *d;
	struct stat st;
	size_t len;
	DIR *dir;

	if ((dir = opendir(path)) == NULL)
		return; /* not created yet */
	while ((d = readdir(dir)) != NULL) {
		if ((len = stem_length(d->d_name)) == 0)
			continue;
		if (only == NULL ? !is_ours(d->d_name, len) :
				   strlen(only) != len ||
			    strncmp(only, d->d_name, len) != 0)
			continue;
		if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) !=
			0 ||
		    !S_ISREG(st.st_mode) || st.st_uid != geteuid())
			continue;
		if (unlinkat(dirfd(dir), d->d_name, 0) == 0)
			log_info("removed %s/%s, which was never finished",
			    path, d->d_name);
		else
			log_warn("%s/%s is left over and cannot be removed: %s",
			    path, d->d_name, strerror(errno));
	}
	closedir(dir);
}

void
pgconf_sweep(const struct pgconf *c)
{
	char dir[PATH_SIZE], base[PATH_SIZE];

	sweep(c->data_dir, NULL);
	if (strcmp(c->config_dir, c->data_dir) != 0)
		sweep(c->config_dir, NULL);
	if (c->pgpass[0] == '\0' || !text_set(dir, sizeof(dir), c->pgpass) ||
	    !text_set(base, sizeof(base), c->pgpass))
		return;
	sweep(dirname(dir), basename(base));
}
