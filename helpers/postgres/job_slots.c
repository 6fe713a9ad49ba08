/*
 * job_slots.c: copying logical slots from the primary (postgres.md 17.6).
 * Their state files are read over SQL; PostgreSQL reads them when it starts,
 * so it is stopped, the files are put in their place, and it is started.
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

#include "../../ipc/values.h"
#include "job.h"
#include "slots.h"

#define QUERY_TIMEOUT (10 * NS_PER_SEC)
#define STATE_MAX 4096

/* ---- files, in a worker ---- */

/* bytea's text form; bytes, or 0 when it is not one. */
static size_t
decode(const char *text, uint8_t *out, size_t size)
{
	size_t n = 0;

	if (text[0] != '\\' || text[1] != 'x')
		return 0;
	for (text += 2; *text != '\0'; text += 2) {
		int a = hex_digit(text[0]), b = a < 0 ? -1 : hex_digit(text[1]);

		if (b < 0 || n >= size)
			return 0;
		out[n++] = (uint8_t)(a << 4 | b);
	}
	return n;
}

static int
sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd == -1)
		return errno;
	r = fsync(fd) == -1 && errno != EINVAL ? errno : 0;
	close(fd);
	return r;
}

static int
write_state(const char *path, mode_t mode, const uint8_t *data, size_t len)
{
	int fd, r = 0;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1)
		return errno;
	errno = 0;
	if (fchmod(fd, mode) == -1 || write(fd, data, len) != (ssize_t)len ||
	    fsync(fd) == -1)
		r = errno != 0 ? errno : ENOSPC;
	close(fd);
	return r;
}

/* A slot's directory holds files alone (state, spilled changes). */
static int
remove_slot(const char *dir)
{
	char path[PATH_SIZE + NAME_MAX + 128];
	struct dirent *d;
	DIR *dp = opendir(dir);

	if (dp == NULL)
		return errno == ENOENT ? 0 : errno;
	while ((d = readdir(dp)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, d->d_name);
		(void)unlink(path);
	}
	closedir(dp);
	return rmdir(dir) == 0 ? 0 : errno;
}

static int
install(struct controller *c, const struct pgfacts *f, const char *name,
    const char *text)
{
	char dir[PATH_SIZE + 96], tmp[PATH_SIZE + 104], state[PATH_SIZE + 112];
	uint8_t data[STATE_MAX];
	size_t len = decode(text, data, sizeof data);
	int r;

	if (len == 0)
		return EINVAL;
	snprintf(dir, sizeof dir, "%s/pg_replslot/%s", c->conf->data_dir, name);
	snprintf(tmp, sizeof tmp, "%s.tmp", dir);
	snprintf(state, sizeof state, "%s/state", tmp);
	if ((r = remove_slot(tmp)) != 0)
		return r;
	if (mkdir(tmp, 0700) == -1 ||
	    chmod(tmp, pgconf_file_mode(c->conf, tmp, f, true)) == -1)
		return errno;
	if ((r = write_state(state, pgconf_file_mode(c->conf, state, f, false),
		 data, len)) != 0 ||
	    (r = sync_directory(tmp)) != 0 || (r = remove_slot(dir)) != 0)
		return r;
	if (rename(tmp, dir) == -1)
		return errno;
	return sync_directory(dir);
}

static int
worker_install(void *arg)
{
	struct controller *c = arg;
	struct pgfacts f = settings_facts(c, ROLE_REPLICA);
	char parent[PATH_SIZE + 32];
	uint32_t i;
	int r = 0;

	for (i = 0; i < tree_count(c->job->list) && r == 0; i++) {
		const struct tree *s = tree_child(c->job->list, i);

		r = install(c, &f, tree_path_text(s, "name", ""),
		    tree_path_text(s, "state", ""));
		if (r != 0)
			log_error("Failed to copy logical slot %s: %s",
			    tree_path_text(s, "name", ""), strerror(r));
	}
	snprintf(parent, sizeof parent, "%s/pg_replslot", c->conf->data_dir);
	return r != 0 ? r : sync_directory(parent);
}

/* ---- the job ---- */

static void
started(struct controller *c, enum ha_job_result r)
{
	job_finish(c, c->job->phase == 0 ? JOB_NOTHING : r);
}

static void
start_again(struct controller *c)
{
	struct op_start *o = &c->job->start;

	o->role = c->role;
	o->recovery = c->recovery != NULL ? tree_copy(c->recovery) : NULL;
	o->keep_recovery = o->recovery == NULL;
	o->timeout_ns = 0;
	o->callback = CALLBACK_ON_START;
	start_begin(c, started);
}

static void
installed(struct controller *c)
{
	struct job *j = c->job;

	j->phase = j->end.started && j->end.code == 0;
	/* whatever came of it, the server comes back */
	start_again(c);
}

static void
stopped(struct controller *c, enum ha_job_result r)
{
	struct job *j = c->job;

	if (r != JOB_OK || j->cancelled) {
		job_finish(c, j->cancelled ? JOB_CANCELLED : JOB_FAILED);
		return;
	}
	j->step = installed;
	if (!job_worker(c, worker_install, c))
		installed(c);
}

static const struct pgslot *
wanted(const struct pgslots *d, const struct tree *row)
{
	uint32_t i;

	for (i = 0; i < d->n; i++)
		if (strcmp(d->v[i].name, tree_path_text(row, "name", "")) == 0)
			return &d->v[i];
	return NULL;
}

/* Position in the WAL of a segment's name, whatever its timeline; 0: it is
 * no such name. */
static uint64_t
segment(const char *name)
{
	if (strspn(name, "0123456789ABCDEF") != 24 || name[24] != '\0')
		return 0;
	return strtoull(name + 8, NULL, 16);
}

static uint64_t
oldest_segment(struct controller *c)
{
	char path[PATH_SIZE + 16];
	uint64_t oldest = UINT64_MAX, s;
	struct dirent *d;
	DIR *dp;

	snprintf(path, sizeof path, "%s/pg_wal", c->conf->data_dir);
	dp = opendir(path);
	if (dp == NULL)
		return 0;
	while ((d = readdir(dp)) != NULL)
		if ((s = segment(d->d_name)) != 0 && s < oldest)
			oldest = s;
	closedir(dp);
	return oldest;
}

/* Only what is configured just so comes over.  A slot that needs WAL from
 * before this node's time could not be advanced: to stop the server for it
 * again and again would help nobody.  Once the consumer has come far enough
 * on the primary, it is copied. */
static void
take(struct controller *c, const PGresult *res)
{
	uint64_t oldest = oldest_segment(c);
	static struct pgslots desired;
	struct pgslots_in in;
	int i;

	c->job->list = tree_list();
	if (!slots_input(c, ROLE_REPLICA, &in))
		return;
	pgslots_desired(&in, true, &desired);
	for (i = 0; i < PQntuples(res); i++) {
		struct tree *row = tree_map();
		const struct pgslot *s;

		tree_set(row, "name", tree_text(sql_text(res, i, 0)));
		tree_set(row, "type", tree_text(sql_text(res, i, 1)));
		tree_set(row, "database", tree_text(sql_text(res, i, 2)));
		tree_set(row, "plugin", tree_text(sql_text(res, i, 3)));
		tree_set(row, "state", tree_text(sql_text(res, i, 4)));
		s = wanted(&desired, row);
		if (s != NULL && slots_row_matches(row, s)) {
			if (segment(sql_text(res, i, 5)) >= oldest) {
				tree_append(c->job->list, row);
				continue;
			}
			log_info(
			    "Logical slot %s is not copied yet: it needs %s of the primary, which is older than the WAL of this node",
			    sql_text(res, i, 0), sql_text(res, i, 5));
			tree_free(row);
			continue;
		}
		log_warn(
		    "Will not copy the logical slot \"%s\" due to the configuration mismatch: database=%s plugin=%s on the primary",
		    sql_text(res, i, 0), sql_text(res, i, 2),
		    sql_text(res, i, 3));
		tree_free(row);
	}
}

static void
on_states(const struct sql_answer *a, void *arg)
{
	struct controller *c = arg;
	struct job *j = c->job;

	if (j->cancelled) {
		job_finish(c, JOB_CANCELLED);
		return;
	}
	if (a->outcome != SQL_OK) {
		log_error(
		    "Failed to copy logical slots from the %s via postgresql connection: %s",
		    j->spec.node.name, a->message);
		job_finish(c, JOB_NOTHING);
		return;
	}
	take(c, a->res);
	if (tree_count(j->list) == 0) {
		job_finish(c, JOB_NOTHING);
		return;
	}
	slots_copying(c);
	j->stop.mode = STOP_FAST;
	j->stop.callbacks = true;
	stop_begin(c, stopped);
}

/* A cancelled query has no answer: the timer brings us here. */
static void
copy_step(struct controller *c)
{
	job_finish(c, JOB_CANCELLED);
}

/* Array literal: slot names need no quotes (17.1). */
static void
names_array(struct controller *c, char *out, size_t size)
{
	const struct slot_names *l = &c->slotwork->copy;
	size_t n = (size_t)snprintf(out, size, "{");
	uint32_t i;

	for (i = 0; i < l->n && n < size; i++)
		n += (size_t)snprintf(
		    out + n, size - n, "%s%s", i > 0 ? "," : "", l->v[i]);
	if (n + 1 < size)
		snprintf(out + n, size - n, "}");
}

void
job_copy_slots(struct controller *c)
{
	static char names[MAX_SLOTS * 65 + 8];
	struct job *j = c->job;
	const char *params[1] = { names };
	char query[1024];

	j->step = copy_step;
	names_array(c, names, sizeof names);
	slots_copying(c);
	snprintf(query, sizeof query,
	    "SELECT s.slot_name, s.slot_type, d.datname, s.plugin,"
	    " pg_catalog.pg_read_binary_file('pg_replslot/' || s.slot_name || '/state'),"
	    " pg_catalog.pg_walfile_name(s.restart_lsn)"
	    " FROM pg_catalog.pg_get_replication_slots() AS s"
	    " JOIN pg_catalog.pg_database AS d ON d.oid = s.datoid"
	    " WHERE NOT pg_catalog.pg_is_in_recovery()"
	    " AND s.slot_type = 'logical' AND s.slot_name = ANY($1)%s",
	    c->major >= 170000 ? " AND NOT s.failover" : "");
	if (!job_connect(c,
		pgconf_connection(c->conf, PGCONN_LEADER, &j->spec.node,
		    c->params, c->major)) ||
	    sql_query(j->sql, query, 1, params, QUERY_TIMEOUT, on_states, c) ==
		-1) {
		log_error(
		    "Failed to copy logical slots from the %s via postgresql connection: no connection",
		    j->spec.node.name);
		job_finish(c, JOB_NOTHING);
	}
}
