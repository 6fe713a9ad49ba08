/*
 * leftover.c: what a run that was cut off has left behind, put away before
 * the core exists: a data directory that was being created, the key of a
 * bootstrap that nobody goes on with, the password file of initdb.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job.h"

#define STOP_LIMIT (30 * NS_PER_SEC)
#define STORE_LIMIT (10 * NS_PER_SEC)

void
leftover_password_path(const struct controller *c, char *out, size_t size)
{
	snprintf(out, size, "%s.initdb", c->conf->pgpass);
}

void
leftover_password(struct controller *c)
{
	char path[PATH_SIZE + 16];

	leftover_password_path(c, path, sizeof path);
	if (unlink(path) == 0)
		log_warn("%s was left over, it is removed", path);
}

static void
finish(struct controller *c, bool ok)
{
	leftover_cb cb = c->leftover_done;

	c->leftover_done = NULL;
	if (cb != NULL)
		cb(c, ok);
}

static void
on_cancelled(struct helper *h, const struct ipc_msg *msg, int lost, void *arg)
{
	struct controller *c = arg;
	const struct msg_result *m;
	bool ok = false;

	(void)h;
	(void)lost;
	if (msg != NULL && msg->hdr.type == MSG_DCS_RESULT) {
		m = msg->body;
		ok = m->outcome == OUTCOME_OK || m->outcome == OUTCOME_REFUSED;
	}
	if (ok)
		data_mark(c->conf->data_dir, MARK_NONE);
	finish(c, ok);
}

/* The empty key that the bootstrap has won: the others wait for its end. */
static void
cancel_initialize(struct controller *c)
{
	log_info(
	    "removing initialize key after failed attempt to bootstrap the cluster");
	if (helper_request(c->h, PROC_DCS, MSG_DCS_CANCEL_INITIALIZE, NULL,
		NULL, 0, -1, clock_boot_ns() + STORE_LIMIT, on_cancelled,
		c) == 0)
		finish(c, false);
}

static void
on_away(const struct child_end *e, void *arg)
{
	struct controller *c = arg;
	const struct view *v = c->first_view;

	if (e->code != 0 || !e->started) {
		log_error("Could not remove the unfinished data directory %s",
		    c->conf->data_dir);
		finish(c, true);
		return;
	}
	c->major = 0;
	if (c->leftover_kind == MARK_BOOTSTRAP && v != NULL &&
	    v->has_initialize && v->initialize[0] == '\0') {
		cancel_initialize(c);
		return;
	}
	data_mark(c->conf->data_dir, MARK_NONE);
	finish(c, true);
}

static int
worker_remove(void *arg)
{
	return data_remove(arg);
}

static int
worker_move(void *arg)
{
	return data_move(arg);
}

/*
 * A copy that looks whole, of another cluster or with nobody there to make a
 * new one from: an operator may have put a backup where a copy was once cut
 * off.  It is not ours to delete.
 */
static bool
precious(struct controller *c)
{
	const struct view *v = c->first_view;
	char sysid[WORD_SIZE];

	if (!data_sysid(c->conf->data_dir, sysid, sizeof sysid))
		return false;
	return v == NULL || v->leader[0] == '\0' ||
	    strcmp(v->initialize, sysid) != 0;
}

static void
put_away(struct controller *c)
{
	struct child_spec spec;

	memset(&spec, 0, sizeof spec);
	spec.worker = c->leftover_kind == MARK_BOOTSTRAP || precious(c) ?
	    worker_move :
	    worker_remove;
	spec.worker_arg = c->conf->data_dir;
	if (child_run(c->base, &spec, on_away, c) == NULL)
		finish(c, false);
}

static void
on_stop_limit(evutil_socket_t fd, short what, void *arg)
{
	struct controller *c = arg;

	(void)fd;
	(void)what;
	leftover_poke(c);
	if (c->leftover_stopping)
		(void)postmaster_signal(&c->pm, SIGKILL);
}

/* The server of an unfinished bootstrap: nobody has written to it yet. */
static void
stop(struct controller *c)
{
	struct timeval limit = controller_timeval(STOP_LIMIT);

	c->leftover_stopping = true;
	(void)postmaster_signal(&c->pm, SIGQUIT);
	event_base_once(c->base, -1, EV_TIMEOUT, on_stop_limit, c, &limit);
}

void
leftover_poke(struct controller *c)
{
	if (!c->leftover_stopping || postmaster_find(&c->pm))
		return;
	c->leftover_stopping = false;
	put_away(c);
}

/* It was finished but for the removal of its mark. */
static bool
was_finished(struct controller *c)
{
	const struct view *v = c->first_view;
	char sysid[WORD_SIZE];

	return v != NULL && v->has_initialize &&
	    data_sysid(c->conf->data_dir, sysid, sizeof sysid) &&
	    strcmp(v->initialize, sysid) == 0;
}

bool
leftover_begin(struct controller *c, leftover_cb done)
{
	bool running = postmaster_find(&c->pm);

	c->leftover_kind = data_marked(c->conf->data_dir);
	if (c->leftover_kind == MARK_NONE ||
	    (running && c->leftover_kind == MARK_CLONE))
		return false;
	if (c->leftover_kind == MARK_BOOTSTRAP && was_finished(c)) {
		data_mark(c->conf->data_dir, MARK_NONE);
		return false;
	}
	log_warn(
	    "The creation of %s was cut off, it is removed", c->conf->data_dir);
	c->leftover_done = done;
	if (running)
		stop(c);
	else
		put_away(c);
	return true;
}
