/*
 * conf_write.c: which configuration file is written, cleaned, backed up and
 * restored when (spec/config.md 6.5, 11, 12.3).  Every replacement is atomic;
 * a process killed half-way leaves the old file or the new one, and at worst
 * an unfinished file beside it, which the next start removes.
 */
#include <sys/stat.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../ipc/log.h"
#include "conf_recovery.h"

#define MAX_CONF_FILE (16 * 1024 * 1024)

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static bool
data_path(const struct pgconf *c, const char *name, char out[PATH_SIZE])
{
	return path_join(out, c->data_dir, name);
}

static bool
write_text(const struct pgconf *c, const char *path, const char *text,
    const struct pgfacts *f, struct pgerr *err)
{
	return pgfile_write(
	    path, text, strlen(text), pgconf_file_mode(c, path, f, false), err);
}

/* ---- postgresql.conf ---- */

/* The user's own file becomes the included one, once. */
static bool
save_base(const struct pgconf *c, struct pgerr *err)
{
	char conf[PATH_SIZE], base[PATH_SIZE], name[WORD_SIZE + 16];

	if (c->custom_conf[0] != '\0')
		return true;
	snprintf(name, sizeof(name), "%s.base.conf", c->base_name);
	path_join(base, c->config_dir, name);
	pgconf_config_file(c, conf);
	if (exists(base))
		return true;
	if (rename(conf, base) == 0)
		return true;
	return fail(err, "%s: %s", conf, strerror(errno));
}

/* Length of the line at s that sets a recovery parameter, else 0. */
static bool
sets_recovery(const char *s, size_t n)
{
	char name[64];
	size_t i = 0, len = 0;

	while (i < n && isspace((unsigned char)s[i]))
		i++;
	while (i < n && len < sizeof(name) - 1 &&
	    (islower((unsigned char)s[i]) || s[i] == '_'))
		name[len++] = s[i++];
	name[len] = '\0';
	while (i < n && (s[i] == ' ' || s[i] == '\t'))
		i++;
	return len > 0 && i < n && s[i] == '=' && recovery_param_is(name);
}

/* Without the lines that set recovery parameters; NULL when there is none, or
 * the file cannot be read (err). */
static char *
cleaned_auto_conf(const char *path, struct pgerr *err)
{
	struct text out = { 0 };
	bool found = false;
	char *text;

	err->text[0] = '\0';
	if (!exists(path))
		return NULL;
	text = pgfile_read(path, MAX_CONF_FILE, NULL, err);
	if (text == NULL)
		return NULL;
	for (const char *s = text; *s != '\0';) {
		size_t n = strcspn(s, "\n");

		n += s[n] == '\n';
		if (sets_recovery(s, n))
			found = true;
		else
			text_add_n(&out, s, n);
		s += n;
	}
	free(text);
	if (found)
		return text_take(&out);
	free(out.s);
	return NULL;
}

static bool
cleans_auto_conf(const struct pgfacts *f)
{
	return pgfeatures(f->major).recovery_guc &&
	    !(f->custom_bootstrap && f->keep_recovery_conf);
}

bool
pgconf_auto_conf_dirty(const struct pgconf *c, const struct pgfacts *f)
{
	char path[PATH_SIZE], *text;
	struct pgerr err;

	if (!cleans_auto_conf(f) || !data_path(c, "postgresql.auto.conf", path))
		return false;
	text = cleaned_auto_conf(path, &err);
	free(text);
	/* what cannot be read is complained of by the cleaning */
	return text != NULL || err.text[0] != '\0';
}

bool
pgconf_clean_auto_conf(
    const struct pgconf *c, const struct pgfacts *f, struct pgerr *err)
{
	char path[PATH_SIZE], *text;
	bool ok;

	err->text[0] = '\0';
	if (!cleans_auto_conf(f) || !data_path(c, "postgresql.auto.conf", path))
		return true;
	text = cleaned_auto_conf(path, err);
	if (text == NULL)
		return err->text[0] == '\0';
	ok = pgfile_write_durable(
	    path, text, strlen(text), pgconf_file_mode(c, path, f, false), err);
	free(text);
	return ok;
}

bool
pgconf_write_conf(const struct pgconf *c, const struct tree *params,
    const struct tree *recovery, const struct pgfacts *f, struct pgerr *err)
{
	char path[PATH_SIZE], *text;
	bool ok;

	if (!save_base(c, err))
		return false;
	pgconf_config_file(c, path);
	text = pgconf_render(c, params, recovery, f);
	ok = write_text(c, path, text, f, err);
	free(text);
	return ok;
}

/* ---- pg_hba.conf, pg_ident.conf ---- */

static bool
write_in_config_dir(const struct pgconf *c, const char *name, char *text,
    const struct pgfacts *f, struct pgerr *err)
{
	char path[PATH_SIZE];
	bool ok = true;

	if (text != NULL && path_join(path, c->config_dir, name))
		ok = write_text(c, path, text, f, err);
	free(text);
	return ok;
}

bool
pgconf_write_hba(const struct pgconf *c, const struct tree *params,
    const struct pgfacts *f, struct pgerr *err)
{
	return write_in_config_dir(
	    c, "pg_hba.conf", pgconf_render_hba(c, params, f), f, err);
}

bool
pgconf_write_ident(const struct pgconf *c, const struct tree *params,
    const struct pgfacts *f, struct pgerr *err)
{
	return write_in_config_dir(
	    c, "pg_ident.conf", pgconf_render_ident(c, params), f, err);
}

bool
pgconf_write_trust_hba(const struct pgconf *c, const struct tree *addresses,
    const struct pgfacts *f, struct pgerr *err)
{
	return write_in_config_dir(
	    c, "pg_hba.conf", pgconf_render_trust_hba(c, addresses), f, err);
}

bool
pgconf_append_hba(const struct pgconf *c, const struct tree *lines,
    const struct pgfacts *f, struct pgerr *err)
{
	char path[PATH_SIZE], *old;
	struct text out = { 0 };
	bool ok;

	if (lines == NULL || lines->type != TREE_LIST || tree_count(lines) == 0)
		return true;
	if (!path_join(path, c->config_dir, "pg_hba.conf"))
		return fail(err, "pg_hba.conf: name too long");
	old = pgfile_read(path, MAX_CONF_FILE, NULL, err);
	if (old == NULL)
		return false;
	text_addf(&out, "%s\n", old);
	free(old);
	for (uint32_t i = 0, n = 0; i < tree_count(lines); i++) {
		const struct tree *t = tree_child(lines, i);

		if (t->type == TREE_TEXT)
			text_addf(&out, "%s%s", n++ == 0 ? "" : "\n", t->u.s);
	}
	text_add(&out, "\n");
	ok = write_text(c, path, out.s, f, err);
	free(out.s);
	return ok;
}

/* ---- recovery files (12.3) ---- */

static bool
remove_file(const struct pgconf *c, const char *name, struct pgerr *err)
{
	char path[PATH_SIZE];

	if (!data_path(c, name, path))
		return fail(err, "%s: name too long", name);
	if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR)
		return true;
	return fail(err, "%s: %s", path, strerror(errno));
}

bool
pgconf_remove_recovery(const struct pgconf *c, struct pgerr *err)
{
	return remove_file(c, "recovery.conf", err) &&
	    remove_file(c, "standby.signal", err) &&
	    remove_file(c, "recovery.signal", err);
}

bool
pgconf_write_recovery(const struct pgconf *c, const struct tree *recovery,
    const struct pgfacts *f, struct pgerr *err)
{
	char path[PATH_SIZE];
	struct text out = { 0 };
	bool standby, ok;

	if (!pgfeatures(f->major).recovery_guc) {
		if (!data_path(c, "recovery.conf", path))
			return fail(err, "recovery.conf: name too long");
		text_add(&out, GENERATED_HEADER);
		recovery_lines(&out, c, recovery, f->major);
		ok = write_text(c, path, out.s, f, err);
		wipe(out.s, out.len);
		free(out.s);
		return ok;
	}
	standby =
	    tree_boolean(tree_get_nocase(recovery, "standby_mode"), false);
	if (!data_path(c, standby ? "standby.signal" : "recovery.signal", path))
		return fail(err, "standby.signal: name too long");
	/* both present means standby; never leave the other one */
	if (!exists(path) && !write_text(c, path, "", f, err))
		return false;
	return remove_file(
	    c, standby ? "recovery.signal" : "standby.signal", err);
}

bool
pgconf_has_recovery_files(const struct pgconf *c, uint32_t major)
{
	char path[PATH_SIZE];

	if (!pgfeatures(major).recovery_guc)
		return data_path(c, "recovery.conf", path) && exists(path);
	return (data_path(c, "standby.signal", path) && exists(path)) ||
	    (data_path(c, "recovery.signal", path) && exists(path));
}

/* ---- backups (11.4) ---- */

/* File names (in config_dir) that are backed up; how many. */
static size_t
backup_names(const struct pgconf *c, const struct tree *params,
    char names[4][WORD_SIZE + 16])
{
	char value[PATH_SIZE];
	size_t n = 0;

	snprintf(names[n++], sizeof(names[0]), "%s.conf", c->base_name);
	if (c->custom_conf[0] == '\0')
		snprintf(
		    names[n++], sizeof(names[0]), "%s.base.conf", c->base_name);
	if (!file_customised(c, params, "hba_file", "pg_hba.conf", value))
		snprintf(names[n++], sizeof(names[0]), "pg_hba.conf");
	if (!file_customised(c, params, "ident_file", "pg_ident.conf", value))
		snprintf(names[n++], sizeof(names[0]), "pg_ident.conf");
	return n;
}

static bool
copy_file(const struct pgconf *c, const char *from, const char *to,
    const struct pgfacts *f, struct pgerr *err)
{
	size_t len;
	char *text = pgfile_read(from, MAX_CONF_FILE, &len, err);
	bool ok;

	if (text == NULL)
		return false;
	ok =
	    pgfile_write(to, text, len, pgconf_file_mode(c, to, f, false), err);
	free(text);
	return ok;
}

static bool
backup_paths(const struct pgconf *c, const char *name, char file[PATH_SIZE],
    char backup[PATH_SIZE])
{
	char saved[WORD_SIZE + 32];

	snprintf(saved, sizeof(saved), "%s.backup", name);
	return path_join(file, c->config_dir, name) &&
	    path_join(backup, c->data_dir, saved);
}

bool
pgconf_backup(const struct pgconf *c, const struct tree *params,
    const struct pgfacts *f, struct pgerr *err)
{
	char names[4][WORD_SIZE + 16], file[PATH_SIZE], backup[PATH_SIZE];
	size_t n = backup_names(c, params, names);

	for (size_t i = 0; i < n; i++)
		if (backup_paths(c, names[i], file, backup) && exists(file) &&
		    !copy_file(c, file, backup, f, err))
			return false;
	return true;
}

bool
pgconf_restore(const struct pgconf *c, const struct tree *params,
    const struct pgfacts *f, struct pgerr *err)
{
	char names[4][WORD_SIZE + 16], file[PATH_SIZE], backup[PATH_SIZE];
	size_t n = backup_names(c, params, names);

	for (size_t i = 0; i < n; i++) {
		if (!backup_paths(c, names[i], file, backup) || exists(file))
			continue;
		if (exists(backup)) {
			if (!copy_file(c, backup, file, f, err))
				return false;
		} else if (strcmp(names[i], "pg_ident.conf") == 0 &&
		    !write_text(c, file, "", f, err))
			return false;
	}
	return true;
}

/* ---- directories (11.7) ---- */

static bool
make_directories(const char *path, mode_t mode)
{
	char copy[PATH_SIZE];

	if (!text_set(copy, sizeof(copy), path))
		return false;
	for (char *p = copy + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) != 0 && errno != EEXIST)
			return false;
		*p = '/';
	}
	return mkdir(copy, mode) == 0 || errno == EEXIST;
}

static bool
check_directory(const struct pgconf *c, const char *name, const char *option,
    struct pgerr *err)
{
	char path[PATH_SIZE], control[PATH_SIZE];
	size_t n = strlen(c->data_dir);
	struct stat st;

	if (!path_join(path, c->data_dir, name))
		return fail(
		    err, "'%s' is defined in %s, name too long", name, option);
	if (strncmp(path, c->data_dir, n) == 0 && path[n] == '/' &&
	    data_path(c, "global/pg_control", control) && !exists(control))
		return true; /* initdb wants an empty directory */
	if (stat(path, &st) != 0) {
		if (make_directories(path, 0700))
			return true;
		return fail(err,
		    "'%s' is defined in %s, couldn't create the "
		    "directory",
		    path, option);
	}
	if (!S_ISDIR(st.st_mode))
		return fail(err, "'%s' is defined in %s, is not a directory",
		    path, option);
	if (access(path, W_OK) != 0)
		return fail(err,
		    "'%s' is defined in %s, the directory is not "
		    "writable",
		    path, option);
	return true;
}

static bool
check_list(const struct pgconf *c, const struct tree *params,
    const char *option, struct pgerr *err)
{
	const struct tree *t =
	    params == NULL ? NULL : tree_get_nocase(params, option);
	char *copy, *save = NULL, *p;
	bool ok = true;

	if (t == NULL || t->type != TREE_TEXT)
		return true;
	copy = must(strdup(t->u.s));
	for (p = strtok_r(copy, ",", &save); ok && p != NULL;
	     p = strtok_r(NULL, ",", &save)) {
		size_t n;

		p += strspn(p, " \t\"");
		n = strcspn(p, "\"");
		while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
			n--;
		p[n] = '\0';
		if (n > 0 && p[0] != '@')
			ok = check_directory(c, p, option, err);
	}
	free(copy);
	return ok;
}

bool
pgconf_check_directories(
    const struct pgconf *c, const struct tree *params, struct pgerr *err)
{
	char copy[PATH_SIZE];
	struct stat st;

	if (!check_list(c, params, "unix_socket_directories", err) ||
	    !check_list(c, params, "stats_temp_directory", err))
		return false;
	if (stat(c->pgpass, &st) == 0 && !S_ISREG(st.st_mode))
		return fail(err,
		    "'%s' exists and it's not a file, check your "
		    "`postgresql.pgpass` configuration",
		    c->pgpass);
	if (c->krbsrvname[0] != '\0')
		return true;
	memcpy(copy, c->pgpass, sizeof(copy));
	return check_directory(c, dirname(copy), "`postgresql.pgpass`", err);
}
