/*
 * successor.c: a second rest process, which takes over when it works.
 *
 * OpenSSL is loaded before the sandbox closes (rest/tls.h), so TLS that is
 * turned on by a reload needs a process of its own.  The old one goes on
 * serving until the new one has accepted the configuration, and stays if that
 * is refused: a bad certificate must not silence the API, or every load
 * balancer would take the node out.
 *
 * A candidate has the listener but no links to other helpers: they know one
 * rest process at a time.  After the exchange the old one, which then is the
 * one beside, has a moment to finish what it is answering.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "master.h"

bool
successor_wants_tls(const struct master *m)
{
	return tree_path_text(m->conf->effective, "restapi.certfile", "")[0] !=
	    '\0';
}

bool
successor_due(const struct master *m)
{
	const struct helper_proc *h = &m->helpers[PROC_REST];

	return h->link != NULL && !h->tls && successor_wants_tls(m);
}

/* End it whatever it does; a death that nobody waits for is just reaped. */
void
successor_drop(struct master *m)
{
	if (m->beside.pid != 0)
		(void)kill(m->beside.pid, SIGKILL);
	link_close(m->beside.link);
	memset(&m->beside, 0, sizeof(m->beside));
	m->beside.proc = PROC_REST;
	m->candidate = false;
}

/* The functions that speak to a helper find the other one in the table. */
static void
exchange(struct master *m)
{
	struct helper_proc h = m->helpers[PROC_REST];

	m->helpers[PROC_REST] = m->beside;
	m->beside = h;
}

static void
refused(struct master *m, const char *why)
{
	log_error("helper %s keeps its old configuration: %s",
	    proc_name(PROC_REST), why);
	successor_drop(m);
	m->helpers[PROC_REST].generation = m->generation;
	master_progress(m);
}

void
successor_try(struct master *m)
{
	bool started;

	successor_drop(m);
	m->beside.restarts = m->helpers[PROC_REST].restarts;
	exchange(m);
	if ((started = supervise_start(m, &m->helpers[PROC_REST])))
		supervise_introduce(m, PROC_REST);
	exchange(m);
	if (!started) {
		refused(m, "no process could be started");
		return;
	}
	m->candidate = true;
	m->beside.kill_ns = m->beside.started_ns + SUCCESSOR_GRACE;
}

static void
accepted(struct master *m)
{
	struct helper_proc *old = &m->beside;

	log_info("TLS was turned on: the REST API goes over to a new process");
	m->candidate = false;
	m->beside.kill_ns = 0;
	exchange(m);
	supervise_link(m, PROC_REST);
	/* it stops to listen and ends when its last answer is out */
	if (old->link == NULL ||
	    link_send(old->link, MSG_SHUTDOWN, 0, 0, 0, NULL, NULL, 0, -1) ==
		-1)
		successor_drop(m);
	else
		old->kill_ns = clock_boot_ns() + STOP_GRACE;
}

/* The verdict on a candidate. */
static void
on_ready(struct master *m, const struct msg_ready *msg)
{
	if (!m->candidate)
		return;
	if (!msg->ok) {
		refused(m, msg->text);
		return;
	}
	accepted(m);
	supervise_ready(m, &m->helpers[PROC_REST], msg);
	supervise_readable(m, PROC_REST, 0); /* what else it said */
}

static void
dispatch(struct master *m, const struct ipc_msg *msg)
{
	const struct msg_notify *notify = msg->body;

	switch (msg->hdr.type) {
	case MSG_READY:
		on_ready(m, msg->body);
		break;
	case MSG_ACTION_REPLY:
		control_answer(m, PROC_REST, msg);
		break;
	case MSG_NOTIFY: /* what it was asked for before it was replaced */
		if (notify->kind == NOTIFY_RELOAD)
			master_reload(m);
		else if (notify->kind == NOTIFY_TERMINATE)
			master_stop(m, 0);
		break;
	default: /* its state is of no interest any more */
		break;
	}
	if (msg->fd != -1)
		close(msg->fd);
}

/* Gone or of no use: one that was tried has failed. */
static void
lost(struct master *m, const char *how)
{
	if (m->candidate)
		refused(m, how);
	else
		successor_drop(m);
}

void
successor_readable(struct master *m, short revents)
{
	struct link *link = m->beside.link;
	pid_t pid = m->beside.pid;
	struct ipc_msg msg;
	bool end = false;
	int rc = 0;

	if (link == NULL)
		return;
	if ((revents & POLLOUT) != 0 && link_flush(link) == -1)
		end = true;
	if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
	    link_read(link) == -1)
		end = true;
	/* a message may end it, or make it the one in the table */
	while (m->beside.pid == pid && (rc = link_next(link, &msg)) == 1)
		dispatch(m, &msg);
	if (m->beside.pid != pid)
		return;
	if (rc == -1)
		lost(m, "the new process broke the protocol");
	else if (end)
		lost(m, "the new process ended");
}

bool
successor_died(struct master *m, pid_t pid)
{
	if (pid != m->beside.pid)
		return false;
	m->beside.pid = 0;
	lost(m, "the new process died");
	return true;
}

void
successor_timers(struct master *m, int64_t now)
{
	if (m->beside.kill_ns != 0 && now >= m->beside.kill_ns)
		lost(m, "the new process did not answer");
}
