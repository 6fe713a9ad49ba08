/*
 * load.c: file or directory, environment, and reload (spec/config.md 2, 8).
 */
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* ---- files ---- */

/* Whole file, NUL-terminated.  fd is a regular file. */
static char *
read_all(int fd, size_t *len, const char **why)
{
	char *buf = malloc(CONF_MAX_FILE + 2);
	size_t n = 0;
	ssize_t got;

	if (buf == NULL) {
		*why = "out of memory";
		return NULL;
	}
	while (n <= CONF_MAX_FILE) {
		got = read(fd, buf + n, CONF_MAX_FILE + 1 - n);
		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1) {
			*why = strerror(errno);
			goto bad;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (n > CONF_MAX_FILE) {
		*why = "too large";
		goto bad;
	}
	buf[n] = '\0';
	*len = n;
	return buf;
bad:
	wipe(buf, n);
	free(buf);
	return NULL;
}

/* Remember a file name; its number, or 0 when that fails. */
static uint32_t
add_file(struct conf *conf, const char *name)
{
	char **v = realloc(conf->files, (conf->nfiles + 1) * sizeof(*v));

	if (v == NULL)
		return 0;
	conf->files = v;
	if ((v[conf->nfiles] = strdup(name)) == NULL)
		return 0;
	return conf->nfiles++;
}

static int
open_regular(const char *path, const char **why)
{
	struct stat st;
	int fd;

	/* a FIFO put there must not block us */
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) == -1) {
		*why = strerror(errno);
		return -1;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	*why = "not a regular file";
	close(fd);
	return -1;
}

/* Merge one file over conf->local. */
static bool
load_file(struct conf *conf, const char *path, struct conf_notes *notes)
{
	const char *why = NULL;
	char *text, err[TEXT_SIZE];
	struct tree *t;
	size_t len = 0;
	bool ok;
	int fd;

	if ((fd = open_regular(path, &why)) == -1) {
		conf_note(notes, CONF_ERROR, "%s: %s", path, why);
		return false;
	}
	text = read_all(fd, &len, &why);
	close(fd);
	if (text == NULL) {
		conf_note(notes, CONF_ERROR, "%s: %s", path, why);
		return false;
	}
	t = conf_yaml_parse(text, len, add_file(conf, path), err, sizeof(err));
	wipe(text, len);
	free(text);
	if (t == NULL) {
		conf_note(notes, CONF_ERROR, "%s %s", path, err);
		return false;
	}
	if (t->type != TREE_MAP) {
		tree_free_wiped(t);
		conf_note(
		    notes, CONF_WARNING, "%s does not contain a dict", path);
		conf_note(notes, CONF_ERROR, "invalid config file %s", path);
		return false;
	}
	ok = tree_patch(conf->local, t, NULL);
	tree_free_wiped(t);
	if (!ok)
		conf_note(notes, CONF_ERROR, "%s: out of memory", path);
	return ok;
}

static bool
is_yaml_name(const char *name)
{
	size_t n = strlen(name);

	return (n > 4 && strcmp(name + n - 4, ".yml") == 0) ||
	    (n > 5 && strcmp(name + n - 5, ".yaml") == 0) ||
	    strcmp(name, ".yml") == 0 || strcmp(name, ".yaml") == 0;
}

static int
by_name(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y); /* bytes of UTF-8 sort as code points */
}

/* Full names of the YAML files, sorted; -1 on an error that was noted. */
static int
list_dir(const char *path, char ***names, struct conf_notes *notes)
{
	struct dirent *de;
	char **v = NULL, **w, *full;
	struct stat st;
	int n = 0;
	DIR *d;

	if ((d = opendir(path)) == NULL) {
		conf_note(notes, CONF_ERROR, "%s: %s", path, strerror(errno));
		return -1;
	}
	while ((de = readdir(d)) != NULL) {
		if (!is_yaml_name(de->d_name))
			continue;
		if (n == CONF_MAX_FILES ||
		    asprintf(&full, "%s/%s", path, de->d_name) < 0)
			goto bad;
		if (stat(full, &st) == -1 || !S_ISREG(st.st_mode)) {
			free(full);
			continue;
		}
		w = realloc(v, ((size_t)n + 1) * sizeof(*v));
		if (w == NULL) {
			free(full);
			goto bad;
		}
		v = w;
		v[n++] = full;
	}
	closedir(d);
	if (n > 0)
		qsort(v, (size_t)n, sizeof(*v), by_name);
	*names = v;
	return n;
bad:
	closedir(d);
	while (n > 0)
		free(v[--n]);
	free(v);
	conf_note(
	    notes, CONF_ERROR, "%s: too many files, or out of memory", path);
	return -1;
}

static bool
load_dir(struct conf *conf, const char *path, struct conf_notes *notes)
{
	char **names = NULL;
	bool ok = true;
	int n = list_dir(path, &names, notes);

	if (n == -1)
		return false;
	for (int i = 0; i < n; i++) {
		if (ok)
			ok = load_file(conf, names[i], notes);
		free(names[i]);
	}
	free(names);
	return ok;
}

/* The absolute directory of the configuration. */
static void
set_dir(struct conf *conf, bool is_dir)
{
	char full[PATH_MAX], *slash;

	if (realpath(conf->path, full) == NULL)
		return;
	if (!is_dir && (slash = strrchr(full, '/')) != NULL)
		*(slash == full ? slash + 1 : slash) = '\0';
	text_set(conf->dir, sizeof(conf->dir), full);
}

/* ---- sources ---- */

static bool
load_path(struct conf *conf, const char *path, const struct conf_env *env,
    const struct stat *st, struct conf_notes *notes)
{
	const struct tree *overlay = conf_env_tree(env);
	bool is_dir = S_ISDIR(st->st_mode), ok;

	if (!text_set(conf->path, sizeof(conf->path), path)) {
		conf_note(notes, CONF_ERROR, "invalid config path");
		return false;
	}
	if (!is_dir && !S_ISREG(st->st_mode)) {
		conf_note(notes, CONF_WARNING,
		    "config path %s is neither directory nor file", path);
		conf_note(notes, CONF_ERROR, "invalid config path");
		return false;
	}
	conf->from_file = true;
	set_dir(conf, is_dir);
	ok =
	    is_dir ? load_dir(conf, path, notes) : load_file(conf, path, notes);
	if (ok && overlay != NULL)
		ok = tree_patch(conf->local, overlay, NULL);
	return ok;
}

static bool
load_sources(struct conf *conf, const char *path, const struct conf_env *env,
    struct conf_notes *notes)
{
	const struct tree *t;
	struct stat st;

	if (path != NULL && *path != '\0' && stat(path, &st) == 0)
		return load_path(conf, path, env, &st, notes);
	t = conf_env_document(env);
	if (t == NULL || tree_count(t) == 0)
		t = conf_env_tree(env);
	return t == NULL || tree_patch(conf->local, t, NULL);
}

struct conf *
conf_load(const char *path, const struct conf_env *env, unsigned flags,
    struct conf_notes *notes)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (conf == NULL || (conf->local = tree_map()) == NULL ||
	    (add_file(conf, "environment"), conf->nfiles != 1)) {
		conf_note(notes, CONF_ERROR, "out of memory");
		goto bad;
	}
	if (!load_sources(conf, path, env, notes))
		goto bad;
	if ((flags & CONF_LOAD_VALIDATE) != 0)
		return conf;
	if ((flags & CONF_LOAD_CTL) == 0 && tree_count(conf->local) == 0) {
		conf_note(notes, CONF_ERROR, "Config is empty.");
		goto bad;
	}
	if (!conf_build(conf, flags, notes))
		goto bad;
	return conf;
bad:
	conf_free(conf);
	return NULL;
}

void
conf_free(struct conf *conf)
{
	if (conf == NULL)
		return;
	tree_free_wiped(conf->local);
	tree_free_wiped(conf->effective);
	for (uint32_t i = 0; i < conf->nfiles; i++)
		free(conf->files[i]);
	free(conf->files);
	free(conf);
}

const char *
conf_where(
    const struct conf *conf, const struct tree *t, char *buf, size_t size)
{
	uint32_t file = CONF_FILE(t->line), line = CONF_LINE(t->line);

	if (line == 0 || file == 0 || file >= conf->nfiles)
		snprintf(buf, size, "environment");
	else
		snprintf(buf, size, "%s line %u", conf->files[file], line);
	return buf;
}

/* ---- reload ---- */

static bool
same(const struct tree *a, const struct tree *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return tree_equal_loose(a, b);
}

/* A store section that was not there at the start cannot be used now. */
static void
drop_new_stores(
    struct conf *conf, const struct conf *old, struct conf_notes *notes)
{
	for (const char *const *s = conf_stores; *s != NULL; s++) {
		if (tree_get(conf->effective, *s) == NULL ||
		    tree_get(old->effective, *s) != NULL)
			continue;
		conf_note(notes, CONF_INFO,
		    "%s was added: it takes effect at the next start", *s);
		tree_remove(conf->effective, *s);
	}
}

/* Keys that are read at start only keep their value. */
static void
keep_start_values(
    struct conf *conf, const struct conf *old, struct conf_notes *notes)
{
	const struct conf_key *k;
	const struct tree *was, *is;

	drop_new_stores(conf, old, notes);
	for (k = conf_keys; k->path != NULL; k++) {
		if (k->class != CONF_AT_START || conf_key_wild(k))
			continue;
		was = tree_path(old->effective, k->path);
		is = tree_path(conf->effective, k->path);
		if (same(was, is))
			continue;
		conf_note(notes, CONF_INFO,
		    "%s changed: it takes effect at the next start", k->path);
		if (was != NULL)
			conf_set_path(conf->effective, k->path, tree_copy(was));
		else
			conf_remove_path(conf->effective, k->path);
	}
}

struct conf *
conf_reload(const struct conf *old, const struct conf_env *env, bool *changed,
    struct conf_notes *notes)
{
	struct conf *conf;
	struct stat st;

	*changed = false;
	if (!old->from_file)
		return NULL;
	if (stat(old->path, &st) == -1) {
		conf_note(
		    notes, CONF_ERROR, "%s: %s", old->path, strerror(errno));
		return NULL;
	}
	if ((conf = conf_load(old->path, env, 0, notes)) == NULL)
		return NULL;
	*changed = !tree_equal_loose(old->local, conf->local);
	keep_start_values(conf, old, notes);
	return conf;
}
