/*
 * job_archive.c: WAL to the archive and back by the commands of the server:
 * handing over what waits for archive_command, and fetching what pg_rewind
 * misses through restore_command (postgres.md 16.6, 16.7).
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf_util.h"
#include "job.h"

#define MAX_READY 10000
#define WAL_NAME 24

/* ---- commands ---- */

bool
wal_command(const char *command, const char *dir, const char *file, char *out,
    size_t size)
{
	size_t n = 0;

	for (; *command != '\0'; command++) {
		char path[PATH_SIZE + 64];
		const char *add;
		char one[3] = { *command, '\0', '\0' };

		add = one;
		if (*command == '%' && command[1] != '\0') {
			switch (*++command) {
			case 'p':
				snprintf(path, sizeof path, "%s/%s", dir, file);
				add = path;
				break;
			case 'f':
				add = file;
				break;
			case 'r':
				add = "000000010000000000000001";
				break;
			case '%':
				break;
			default:
				one[1] = *command;
				break;
			}
		}
		if (n + strlen(add) + 1 > size)
			return false;
		n += (size_t)snprintf(out + n, size - n, "%s", add);
	}
	out[n] = '\0';
	return true;
}

/* ---- archiving ready WAL ---- */

enum archive_phase { MODE, COMMAND, ARCHIVING };

static void archive_step(struct controller *);

static void
archive_end(struct controller *c, enum ha_job_result r)
{
	tree_free(c->job->list);
	c->job->list = NULL;
	c->job->stop.done(c, r);
}

/* `postgres -C name` (7.5). */
static bool
ask_setting(struct controller *c, const char *name)
{
	char program[PATH_SIZE], conf[PATH_SIZE], arg[PATH_SIZE + 16];
	const char *argv[] = { program, "-D", c->conf->data_dir, "-C", name,
		arg, NULL };

	pgconf_program(c->conf, "postgres", program);
	pgconf_config_file(c->conf, conf);
	snprintf(arg, sizeof arg, "--config-file=%s", conf);
	return job_program(c, argv, NULL, true);
}

/* It begins with the name of a WAL file. */
static bool
is_wal_name(const char *name)
{
	size_t i;

	for (i = 0; i < WAL_NAME; i++)
		if (!isdigit((unsigned char)name[i]) &&
		    (name[i] < 'A' || name[i] > 'F'))
			return false;
	return true;
}

static bool
is_ready_name(const char *name)
{
	return is_wal_name(name) &&
	    (strcmp(name + WAL_NAME, ".ready") == 0 ||
		strcmp(name + WAL_NAME, ".partial.ready") == 0);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(
	    (*(struct tree *const *)a)->u.s, (*(struct tree *const *)b)->u.s);
}

static struct tree *
ready_files(struct controller *c)
{
	struct pgfeatures f = pgfeatures(c->major);
	char path[PATH_SIZE + 64];
	struct tree *list = tree_list();
	struct dirent *d;
	DIR *dp;

	snprintf(path, sizeof path, "%s/%s/archive_status", c->conf->data_dir,
	    f.wal_dir);
	dp = opendir(path);
	if (dp == NULL) {
		log_error("Unable to list %s: %s", path, strerror(errno));
		return list;
	}
	while ((d = readdir(dp)) != NULL && tree_count(list) < MAX_READY)
		if (strlen(d->d_name) >= 30 && is_ready_name(d->d_name))
			tree_append(list, tree_text(d->d_name));
	closedir(dp);
	if (tree_count(list) > 1)
		qsort(list->u.c.v, list->u.c.n, sizeof *list->u.c.v, by_name);
	return list;
}

/* Name of the WAL file of a marker: without ".ready". */
static void
wal_name(const char *marker, char out[64])
{
	snprintf(out, 64, "%.*s", (int)(strlen(marker) - 6), marker);
}

static bool
archive_one(struct controller *c, const char *file)
{
	struct pgfeatures f = pgfeatures(c->major);
	char dir[PATH_SIZE + 16], command[8192];
	const char *argv[] = { "/bin/sh", "-c", command, NULL };

	snprintf(dir, sizeof dir, "%s/%s", c->conf->data_dir, f.wal_dir);
	if (!wal_command(c->job->text, dir, file, command, sizeof command))
		return false;
	log_info("Trying to archive %s: %s", file, command);
	return job_program(c, argv, NULL, false);
}

static void
mark_done(struct controller *c, const char *marker)
{
	struct pgfeatures f = pgfeatures(c->major);
	char from[PATH_SIZE + 128], to[PATH_SIZE + 128], file[64];

	wal_name(marker, file);
	snprintf(from, sizeof from, "%s/%s/archive_status/%s",
	    c->conf->data_dir, f.wal_dir, marker);
	snprintf(to, sizeof to, "%s/%s/archive_status/%s.done",
	    c->conf->data_dir, f.wal_dir, file);
	if (rename(from, to) == -1)
		log_error(
		    "Unable to rename %s to %s: %s", from, to, strerror(errno));
}

static void
archive_next(struct controller *c)
{
	struct job *j = c->job;
	struct pgfeatures f = pgfeatures(c->major);
	char path[PATH_SIZE + 128], file[64];

	for (; j->at < tree_count(j->list); j->at++) {
		wal_name(tree_child(j->list, j->at)->u.s, file);
		snprintf(path, sizeof path, "%s/%s/%s", c->conf->data_dir,
		    f.wal_dir, file);
		if (access(path, F_OK) == 0 && archive_one(c, file))
			return;
		if (j->cancelled)
			break;
	}
	archive_end(c, j->cancelled ? JOB_CANCELLED : JOB_OK);
}

static const char *
first_line(const char *out, char *buf, size_t size)
{
	snprintf(buf, size, "%.*s", (int)strcspn(out, "\n"), out);
	return buf;
}

static void
archive_step(struct controller *c)
{
	struct job *j = c->job;
	char line[PATH_SIZE], file[64];
	bool ok = j->end.started && j->end.code == 0;

	if (j->cancelled) {
		archive_end(c, JOB_CANCELLED);
		return;
	}
	switch ((enum archive_phase)j->attempt) {
	case MODE:
		first_line(j->end.out, line, sizeof line);
		j->attempt = COMMAND;
		if (!ok ||
		    (strcmp(line, "on") != 0 && strcmp(line, "always") != 0) ||
		    !ask_setting(c, "archive_command"))
			archive_end(c, JOB_OK);
		return;
	case COMMAND:
		first_line(j->end.out, j->text, sizeof j->text);
		if (!ok || j->text[0] == '\0') {
			archive_end(c, JOB_OK);
			return;
		}
		j->attempt = ARCHIVING;
		if (j->spec.kind == JOB_ARCHIVE_CHECKPOINT) {
			if (!archive_one(c, j->pgpass))
				archive_end(c, JOB_FAILED);
			return;
		}
		j->list = ready_files(c);
		j->at = 0;
		archive_next(c);
		return;
	case ARCHIVING:
		if (j->spec.kind == JOB_ARCHIVE_CHECKPOINT) {
			if (!ok)
				log_error(
				    "Failed to archive WAL file with the shutdown checkpoint");
			archive_end(c, ok ? JOB_OK : JOB_FAILED);
			return;
		}
		wal_name(tree_child(j->list, j->at)->u.s, file);
		if (ok)
			mark_done(c, tree_child(j->list, j->at)->u.s);
		else
			log_info("Failed to archive WAL segment %s", file);
		j->at++;
		archive_next(c);
		return;
	}
}

/* Uses stop.done, attempt, text and list of the job. */
void
archive_begin(struct controller *c, op_done done)
{
	struct job *j = c->job;

	j->stop.done = done;
	j->step = archive_step;
	j->attempt = MODE;
	if (!ask_setting(c, "archive_mode"))
		archive_end(c, j->cancelled ? JOB_CANCELLED : JOB_OK);
}

static void
archived_checkpoint(struct controller *c, enum ha_job_result r)
{
	job_finish(c, r);
}

static void
on_redo(struct controller *c, const struct tree *data, void *arg)
{
	const char *file =
	    control_value(data, "Latest checkpoint's REDO WAL file");

	(void)arg;
	if (c->job == NULL || c->job->spec.kind != JOB_ARCHIVE_CHECKPOINT)
		return;
	if (file == NULL || c->job->cancelled) {
		log_error("Cannot extract latest checkpoint's WAL file name");
		job_finish(c, JOB_FAILED);
		return;
	}
	text_set(c->job->pgpass, sizeof c->job->pgpass, file);
	archive_begin(c, archived_checkpoint);
}

void
job_archive_checkpoint(struct controller *c)
{
	settings_major(c);
	facts_controldata(c, on_redo, NULL);
}

/* ---- fetching missing WAL ---- */

bool
wal_missing(const char *output, const char *wal_dir, char name[25])
{
	static const char before[] = "could not open file \"";
	size_t n = strlen(wal_dir);
	const char *p, *end, *slash;

	for (p = output; (p = strstr(p, before)) != NULL;) {
		p += sizeof before - 1;
		end = strstr(p, "\": ");
		if (end == NULL)
			return false;
		slash = memrchr(p, '/', (size_t)(end - p));
		if (slash == NULL || end - slash - 1 != WAL_NAME ||
		    (size_t)(slash - p) <= n ||
		    slash[-(ptrdiff_t)n - 1] != '/' ||
		    strncmp(slash - n, wal_dir, n) != 0 ||
		    !is_wal_name(slash + 1))
			continue;
		memcpy(name, slash + 1, WAL_NAME);
		name[WAL_NAME] = '\0';
		return true;
	}
	return false;
}

bool
wal_fetch(struct controller *c, const char *command, const char *file)
{
	struct pgfeatures f = pgfeatures(c->major);
	char dir[PATH_SIZE + 16], word[PATH_SIZE * 2];
	struct tree *words, *argv = tree_list();
	struct text shown = { 0 };
	struct pgerr err;
	uint32_t i;
	bool ok = true;

	snprintf(dir, sizeof dir, "%s/%s", c->conf->data_dir, f.wal_dir);
	words = pgwords(command, &err);
	for (i = 0; ok && i < tree_count(words); i++) {
		/* expanded word by word: a blank in a path stays in its word */
		ok = wal_command(
		    tree_child(words, i)->u.s, dir, file, word, sizeof word);
		tree_append(argv, tree_text(word));
		text_addf(&shown, "%s%s", i > 0 ? " " : "", word);
	}
	if (words == NULL)
		log_error("restore_command: %s", err.text);
	ok = ok && tree_count(argv) > 0;
	if (ok) {
		log_info("Trying to fetch the missing wal: %s", shown.s);
		ok = job_program_list(c, argv, NULL, false);
	}
	tree_free(words);
	tree_free(argv);
	free(shown.s);
	return ok;
}
