/*
 * disk.c: what must wait for the disk, kept out of the loop (design 7): files
 * that were written are synced by a worker, and postgresql.auto.conf, which
 * nobody could make anew, is cleaned by one.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "controller.h"

/* Far more than there are files; a path beyond is synced by the system's own
 * writeback. */
#define MAX_PATHS 32

struct disk {
	struct controller *c;
	char *paths[MAX_PATHS]; /* written since the worker began */
	size_t n;
	char *busy[MAX_PATHS]; /* the worker's */
	size_t nbusy;
	struct child *sync;
	struct child *clean;
	bool clean_again;
};

static void begin_sync(struct disk *);
static void begin_clean(struct disk *);

/* ---- syncing ---- */

static int
worker_sync(void *arg)
{
	const struct disk *d = arg;
	struct pgerr err;
	size_t i;
	int r = 0;

	for (i = 0; i < d->nbusy; i++) {
		if (pgfile_sync(d->busy[i], &err))
			continue;
		log_warn("%s", err.text);
		r = 1;
	}
	return r;
}

static void
on_synced(const struct child_end *e, void *arg)
{
	struct disk *d = arg;
	size_t i;

	(void)e; /* the worker has said what went wrong */
	d->sync = NULL;
	for (i = 0; i < d->nbusy; i++)
		free(d->busy[i]);
	d->nbusy = 0;
	begin_sync(d);
}

static void
begin_sync(struct disk *d)
{
	struct child_spec spec;

	if (d->sync != NULL || d->n == 0)
		return;
	memcpy(d->busy, d->paths, d->n * sizeof *d->paths);
	d->nbusy = d->n;
	d->n = 0;
	memset(&spec, 0, sizeof spec);
	spec.worker = worker_sync;
	spec.worker_arg = d;
	d->sync = child_run(d->c->base, &spec, on_synced, d);
	if (d->sync != NULL)
		return;
	log_warn("no process to sync files: %s", strerror(errno));
	while (d->nbusy > 0)
		free(d->busy[--d->nbusy]);
}

static void
on_written(const char *path, void *arg)
{
	struct disk *d = arg;
	size_t i;

	for (i = 0; i < d->n; i++)
		if (strcmp(d->paths[i], path) == 0)
			return;
	if (d->n < MAX_PATHS && (d->paths[d->n] = strdup(path)) != NULL)
		d->n++;
	begin_sync(d);
}

/* ---- cleaning ---- */

int
disk_worker_clean(void *arg)
{
	struct controller *c = arg;
	struct pgfacts f = settings_facts(c, c->role);
	struct pgerr err;

	if (pgconf_clean_auto_conf(c->conf, &f, &err))
		return 0;
	log_error("%s", err.text);
	return 1;
}

static void
on_cleaned(const struct child_end *e, void *arg)
{
	struct disk *d = arg;

	d->clean = NULL;
	if (e->started && e->code == 0)
		(void)postmaster_signal(&d->c->pm, SIGHUP);
	if (d->clean_again)
		begin_clean(d);
}

static void
begin_clean(struct disk *d)
{
	struct child_spec spec;

	d->clean_again = d->clean != NULL;
	if (d->clean_again)
		return;
	memset(&spec, 0, sizeof spec);
	spec.worker = disk_worker_clean;
	spec.worker_arg = d->c;
	d->clean = child_run(d->c->base, &spec, on_cleaned, d);
	if (d->clean == NULL)
		log_error(
		    "postgresql.auto.conf is not cleaned: %s", strerror(errno));
}

bool
disk_auto_conf_dirty(struct controller *c)
{
	struct pgfacts f = settings_facts(c, c->role);

	return pgconf_auto_conf_dirty(c->conf, &f);
}

void
disk_clean_running(struct controller *c)
{
	if (disk_auto_conf_dirty(c))
		begin_clean(c->disk);
}

struct disk *
disk_new(struct controller *c)
{
	struct disk *d = calloc(1, sizeof *d);

	if (d == NULL)
		fatal("out of memory");
	d->c = c;
	pgfile_defer_sync(on_written, d);
	return d;
}
