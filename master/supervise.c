/*
 * supervise.c: the life of the helpers: start, links, death, restart, stop.
 *
 * A dead helper is started again at once; one that keeps dying, with a
 * growing delay.  Whatever a helper was linked to gets a new end.  Nothing
 * here touches PostgreSQL: orphans that come to the master are reaped, never
 * signalled, and a helper that hangs is left alone (the keeper covers that).
 */
#include <sys/socket.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "master.h"

/* Links between helpers (design 2). */
static const enum proc pairs[][2] = {
	{ PROC_POSTGRES, PROC_DCS },
	{ PROC_POSTGRES, PROC_REST },
	{ PROC_POSTGRES, PROC_WATCHDOG },
	{ PROC_REST, PROC_DCS },
};
#define NPAIRS (sizeof(pairs) / sizeof(pairs[0]))

int
supervise_send(struct master *m, enum proc proc, uint16_t type, uint16_t flags,
    uint64_t id, int64_t deadline_ns, const void *body, const void *var,
    size_t var_len, int fd)
{
	struct helper_proc *h = &m->helpers[proc];

	if (h->link == NULL) {
		errno = EPIPE;
		return -1;
	}
	if (link_send(h->link, type, flags, id, deadline_ns, body, var, var_len,
		fd) == 0)
		return 0;
	/* A lost link is seen by poll(2) and by SIGCHLD. */
	if (errno != EPIPE)
		log_error("message %s to helper %s not sent: %s",
		    msg_name(type), proc_name(proc), strerror(errno));
	return -1;
}

/* ---- what a helper is told ---- */

static void
send_log_settings(struct master *m, enum proc proc, int fd)
{
	struct msg_log_settings msg;

	memset(&msg, 0, sizeof(msg));
	conf_log_settings(m->conf, proc, &msg.s);
	if (m->log_override != 0)
		msg.s.level = m->log_override;
	(void)supervise_send(
	    m, proc, MSG_LOG_SETTINGS, 0, 0, 0, &msg, NULL, 0, fd);
}

static void
send_config(struct master *m, enum proc proc, bool reload)
{
	struct helper_proc *h = &m->helpers[proc];
	struct msg_config msg;
	struct tree *tree;
	uint8_t *buf = NULL;
	size_t len = 0;

	memset(&msg, 0, sizeof(msg));
	msg.generation = m->generation;
	msg.reload = reload ? 1 : 0;
	msg.restarts = h->restarts;
	(void)text_set(msg.config_dir, sizeof(msg.config_dir), m->conf->dir);
	tree = conf_for(m->conf, proc);
	if (proc == PROC_REST && tree != NULL)
		allowlist_resolve(m, tree);
	if (tree == NULL || !tree_encode(tree, &buf, &len))
		log_error("configuration for helper %s: out of memory",
		    proc_name(proc));
	else
		(void)supervise_send(
		    m, proc, MSG_CONFIG, 0, 0, 0, &msg, buf, len, -1);
	tree_free_wiped(tree);
	if (buf != NULL)
		wipe(buf, len);
	free(buf);
}

static void
send_descriptor(struct master *m, enum descriptor_kind kind, const char *what,
    int fd, int error)
{
	struct msg_descriptor msg;

	memset(&msg, 0, sizeof(msg));
	msg.kind = kind;
	msg.error = error;
	(void)text_set(msg.what, sizeof(msg.what), what);
	(void)supervise_send(
	    m, PROC_REST, MSG_DESCRIPTOR, 0, 0, 0, &msg, NULL, 0, fd);
}

static void
send_descriptors(struct master *m, bool listener)
{
	files_send(m, PROC_REST);
	if (listener && m->listen_fd != -1)
		send_descriptor(
		    m, DESCRIPTOR_LISTEN, m->listen_addr, m->listen_fd, 0);
}

static void
send_link(struct master *m, enum proc proc, enum proc peer, int fd)
{
	struct msg_link msg;

	memset(&msg, 0, sizeof(msg));
	msg.peer = peer;
	(void)supervise_send(m, proc, MSG_LINK, 0, 0, 0, &msg, NULL, 0, fd);
}

static void
link_pair(struct master *m, enum proc a, enum proc b)
{
	int sv[2];

	if (m->helpers[a].link == NULL || m->helpers[b].link == NULL)
		return; /* linked when the other one is started */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		sv) == -1) {
		log_error("link between %s and %s: %s", proc_name(a),
		    proc_name(b), strerror(errno));
		return;
	}
	send_link(m, a, b, sv[0]);
	send_link(m, b, a, sv[1]);
	close(sv[0]);
	close(sv[1]);
}

void
supervise_log_settings(struct master *m, int fd)
{
	struct log_settings s;
	int p;

	conf_log_settings(m->conf, PROC_MASTER, &s);
	if (m->log_override != 0)
		s.level = m->log_override;
	log_configure(&s);
	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		send_log_settings(m, (enum proc)p, fd);
}

void
supervise_reconfigure(struct master *m, bool rebound)
{
	bool other = successor_due(m);
	int p;

	/* kept until it is served: rest leaves the sockets of a configuration
	 * that it refuses */
	if (rebound)
		m->listener_due = true;
	if (m->candidate)
		successor_drop(m);
	m->helpers[PROC_REST].fallback = false;
	if (!other)
		send_descriptors(m, m->listener_due);
	files_send(m, PROC_DCS);
	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		if (p != PROC_REST || !other)
			send_config(m, (enum proc)p, true);
	if (other)
		successor_try(m);
}

/* ---- start ---- */

/* A new start may succeed when this one does not: count it as a life. */
static void
start_failed(struct helper_proc *h, const char *what)
{
	log_error(
	    "helper %s: %s: %s", proc_name(h->proc), what, strerror(errno));
	h->backoff_ns = BACKOFF_MOST;
	h->restart_ns = clock_boot_ns() + BACKOFF_MOST;
}

bool
supervise_start(struct master *m, struct helper_proc *h)
{
	int sv[2];

	h->restart_ns = 0;
	h->kill_ns = 0;
	h->stop_ns = 0;
	h->ready = h->stopped = h->has_info = h->fallback = false;
	h->generation = 0;
	memset(&h->info, 0, sizeof(h->info));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == -1) {
		start_failed(h, "socketpair");
		return false;
	}
	h->pid = spawn_helper(m, h->proc, sv[1]);
	close(sv[1]);
	if (h->pid == -1) {
		h->pid = 0;
		close(sv[0]);
		start_failed(h, "fork");
		return false;
	}
	h->started_ns = clock_boot_ns();
	if ((h->link = link_open(sv[0], PROC_MASTER, h->proc, HELPER_QUEUE)) ==
	    NULL) {
		close(sv[0]);
		h->kill_ns = h->started_ns;
		return false;
	}
	log_debug("helper %s started, pid %d", proc_name(h->proc), (int)h->pid);
	return true;
}

void
supervise_introduce(struct master *m, enum proc proc)
{
	send_log_settings(m, proc, -1);
	if (proc == PROC_REST) {
		m->helpers[proc].tls = successor_wants_tls(m);
		send_descriptors(m, true);
	} else
		files_send(m, proc);
	cgroup_send(m, proc);
	send_config(m, proc, false);
}

void
supervise_start_all(struct master *m)
{
	size_t i;
	int p;

	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		if (supervise_start(m, &m->helpers[p]))
			supervise_introduce(m, (enum proc)p);
	for (i = 0; i < NPAIRS; i++)
		link_pair(m, pairs[i][0], pairs[i][1]);
}

void
supervise_link(struct master *m, enum proc proc)
{
	size_t i;

	for (i = 0; i < NPAIRS; i++)
		if (pairs[i][0] == proc || pairs[i][1] == proc)
			link_pair(m, pairs[i][0], pairs[i][1]);
}

static void
tell_restarts(struct master *m)
{
	struct msg_restarts msg;
	int p;

	memset(&msg, 0, sizeof(msg));
	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++) {
		msg.count[p] = m->helpers[p].restarts;
		msg.queue_bytes[p] = m->helpers[p].info.queue_bytes;
	}
	(void)supervise_send(
	    m, PROC_REST, MSG_RESTARTS, 0, 0, 0, &msg, NULL, 0, -1);
}

static void
start_again(struct master *m, enum proc proc)
{
	struct helper_proc *h = &m->helpers[proc];

	/* the one that is started now gets the same configuration */
	if (proc == PROC_REST && m->candidate)
		successor_drop(m);
	h->restarts++;
	h->failures++;
	if (!supervise_start(m, h))
		return;
	supervise_introduce(m, proc);
	supervise_link(m, proc);
	tell_restarts(m);
	master_progress(m);
}

/* ---- messages ---- */

/* Give up on the link; what broke the protocol is ended at once. */
static void
drop_link(struct helper_proc *h, bool kill_now)
{
	link_close(h->link);
	h->link = NULL;
	h->ready = false;
	h->kill_ns = clock_boot_ns() + (kill_now ? 0 : EXIT_GRACE);
}

/*
 * A rest process that was started while the newest configuration is one that
 * its predecessor had refused: what was served until then is served again.
 * Not at an address that came with what is refused.
 */
static bool
fall_back(struct master *m, struct helper_proc *h)
{
	struct conf *newest = m->conf;

	if (h->proc != PROC_REST || m->accepted == NULL || m->listener_due)
		return false;
	h->fallback = true;
	m->conf = m->accepted;
	m->allowlist_generation = 0; /* that one's names */
	send_descriptors(m, true);
	send_config(m, PROC_REST, true);
	m->conf = newest;
	m->allowlist_generation = 0;
	return true;
}

static void
rest_accepted(struct master *m, struct helper_proc *h)
{
	if (h->fallback) {
		h->fallback = false;
		return;
	}
	m->listener_due = false;
	conf_free(m->accepted);
	m->accepted = NULL;
}

void
supervise_ready(
    struct master *m, struct helper_proc *h, const struct msg_ready *msg)
{
	bool first = !h->ready;

	h->ready = true;
	h->generation = msg->generation;
	if (!msg->ok) {
		if (first && m->phase == PHASE_STARTING) {
			log_critical("%s", msg->text);
			master_stop(m, 1);
			return;
		}
		log_error("helper %s %s its old configuration: %s",
		    proc_name(h->proc),
		    first && fall_back(m, h) ? "goes back to" : "keeps",
		    msg->text);
	} else if (h->proc == PROC_REST && msg->generation == m->generation)
		rest_accepted(m, h);
	master_progress(m);
}

static void
on_stopped(
    struct master *m, struct helper_proc *h, const struct msg_stopped *msg)
{
	h->stopped = true;
	h->kill_ns = clock_boot_ns() + STOP_GRACE;
	if (h->proc != PROC_POSTGRES) {
		master_progress(m);
		return;
	}
	/* Unasked, it was its own decision to end (spec/ha.md 2.4). */
	master_stop(m, msg->exit_code);
	master_progress(m);
}

static void
on_device_open(struct master *m, const struct ipc_msg *msg)
{
	const struct msg_device_open *open = msg->body;
	struct msg_descriptor reply;
	int fd, error;

	memset(&reply, 0, sizeof(reply));
	reply.kind = DESCRIPTOR_WATCHDOG;
	fd = privileges_open_device(m->conf, open->path, &error);
	reply.error = error;
	(void)text_set(reply.what, sizeof(reply.what), open->path);
	(void)supervise_send(m, PROC_WATCHDOG, MSG_DESCRIPTOR, IPC_FLAG_REPLY,
	    msg->hdr.id, 0, &reply, NULL, 0, fd);
	if (fd != -1)
		close(fd);
}

/* Its peer will not hear it any more: only a new start helps (design 3). */
static void
on_broken_peer(struct master *m, const struct helper_proc *by, enum proc peer)
{
	size_t i;

	for (i = 0; i < NPAIRS; i++)
		if ((pairs[i][0] == by->proc && pairs[i][1] == peer) ||
		    (pairs[i][1] == by->proc && pairs[i][0] == peer))
			break;
	if (i == NPAIRS || m->helpers[peer].pid == 0)
		return;
	log_error("helper %s broke the protocol towards %s", proc_name(peer),
	    proc_name(by->proc));
	drop_link(&m->helpers[peer], true);
}

static void
on_notify(
    struct master *m, const struct helper_proc *h, const struct msg_notify *msg)
{
	switch ((enum notify_kind)msg->kind) {
	case NOTIFY_READY:
		if (m->phase >= PHASE_RUNNING)
			notify_send(m, "READY=1");
		break;
	case NOTIFY_RELOAD:
		master_reload(m);
		break;
	case NOTIFY_TERMINATE:
		master_stop(m, 0);
		break;
	case NOTIFY_EXIT:
		master_stop(m, msg->value);
		break;
	case NOTIFY_BROKEN_PEER:
		on_broken_peer(m, h, (enum proc)msg->value);
		break;
	case NOTIFY_KIND_COUNT:
		break;
	}
}

/* Requests in progress are answered before the end (spec/rest-api.md 2.6): a
 * rest helper that still speaks is waited for. */
static void
alive(struct helper_proc *h)
{
	int64_t until = clock_boot_ns() + STOP_GRACE;

	if (h->proc != PROC_REST || h->stop_ns == 0 || h->stopped ||
	    h->kill_ns == 0)
		return;
	if (until > h->stop_ns + REST_GRACE)
		until = h->stop_ns + REST_GRACE;
	if (until > h->kill_ns)
		h->kill_ns = until;
}

static void
on_info(
    struct master *m, struct helper_proc *h, const struct msg_helper_info *msg)
{
	bool moved = h->info.queue_bytes != msg->queue_bytes;

	h->info = *msg;
	h->has_info = true;
	alive(h);
	if (moved)
		tell_restarts(m);
	if (h->proc == PROC_POSTGRES)
		notify_status(m);
	control_told(m, h->proc);
}

static void
dispatch(struct master *m, struct helper_proc *h, const struct ipc_msg *msg)
{
	switch (msg->hdr.type) {
	case MSG_READY:
		supervise_ready(m, h, msg->body);
		break;
	case MSG_STOPPED:
		on_stopped(m, h, msg->body);
		break;
	case MSG_HELPER_INFO:
		on_info(m, h, msg->body);
		break;
	case MSG_DEVICE_OPEN:
		on_device_open(m, msg);
		break;
	case MSG_NOTIFY:
		on_notify(m, h, msg->body);
		break;
	case MSG_REQUEST_REPLY:
	case MSG_ACTION_REPLY:
		control_answer(m, h->proc, msg);
		break;
	default: /* the catalogue lets nothing else pass */
		break;
	}
	if (msg->fd != -1)
		close(msg->fd);
}

/* Act upon what has been read.  False when the link is of no use any more. */
static bool
messages(struct master *m, struct helper_proc *h)
{
	struct link *link = h->link;
	struct ipc_msg msg;
	int rc;

	/* A message may cost the helper its link. */
	while (h->link == link && (rc = link_next(link, &msg)) != 0) {
		if (rc == -1) {
			log_error("helper %s broke the protocol: %s",
			    proc_name(h->proc), link_error(link));
			drop_link(h, true);
			return false;
		}
		dispatch(m, h, &msg);
	}
	return h->link == link;
}

void
supervise_readable(struct master *m, enum proc proc, short revents)
{
	struct helper_proc *h = &m->helpers[proc];
	struct link *link = h->link;
	int end = 0;

	if (link == NULL)
		return;
	if ((revents & POLLOUT) != 0 && link_flush(link) == -1)
		end = 1;
	if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
	    link_read(link) == -1)
		end = 1;
	if (messages(m, h) && end)
		drop_link(h, false);
}

/* ---- death ---- */

static void
describe(int status, char *buf, size_t size)
{
	if (WIFEXITED(status))
		(void)snprintf(
		    buf, size, "exited with status %d", WEXITSTATUS(status));
	else
		(void)snprintf(buf, size, "was killed by signal %d (%s)",
		    WTERMSIG(status), strsignal(WTERMSIG(status)));
}

static void
plan_restart(struct helper_proc *h, int64_t now)
{
	if (now - h->started_ns >= RAN_WELL || h->failures == 0) {
		h->backoff_ns = 0;
		h->failures = 0;
	} else if (h->backoff_ns == 0)
		h->backoff_ns = BACKOFF_FIRST;
	else if (h->backoff_ns * 2 < BACKOFF_MOST)
		h->backoff_ns *= 2;
	else
		h->backoff_ns = BACKOFF_MOST;
	h->restart_ns = now + h->backoff_ns;
}

/* While stopping, only what the controller needs to finish is kept up. */
static bool
wanted(const struct master *m, const struct helper_proc *h)
{
	if (m->phase < PHASE_STOPPING)
		return true;
	if (m->phase == PHASE_DONE || m->stop_index > 0 ||
	    m->helpers[PROC_POSTGRES].stopped)
		return false;
	if (h->proc == PROC_POSTGRES && h->failures >= STOP_ATTEMPTS)
		return false;
	return h->proc != PROC_REST;
}

/* What it said before it died counts: STOPPED may be among it. */
static void
last_words(struct master *m, struct helper_proc *h)
{
	struct link *link = h->link;

	if (link == NULL)
		return;
	while (link_read(link) == 1)
		continue;
	(void)messages(m, h);
}

static void
helper_died(struct master *m, struct helper_proc *h, int status)
{
	char how[128];
	int64_t now = clock_boot_ns();
	bool again;

	describe(status, how, sizeof(how));
	last_words(m, h);
	link_close(h->link);
	h->link = NULL;
	again = wanted(m, h);
	if (again) {
		plan_restart(h, now);
		log_warn("helper %s (pid %d) %s, starting it again%s",
		    proc_name(h->proc), (int)h->pid, how,
		    h->restart_ns > now ? " later" : "");
	} else
		log_debug("helper %s (pid %d) %s", proc_name(h->proc),
		    (int)h->pid, how);
	h->pid = 0;
	h->kill_ns = 0;
	h->ready = false;
	control_lost(m, h->proc);
	if (again && h->restart_ns <= now)
		start_again(m, h->proc);
	else
		master_progress(m);
}

static struct helper_proc *
by_pid(struct master *m, pid_t pid)
{
	int p;

	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		if (m->helpers[p].pid == pid)
			return &m->helpers[p];
	return NULL;
}

void
supervise_reap(struct master *m)
{
	struct helper_proc *h;
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if ((h = by_pid(m, pid)) != NULL)
			helper_died(m, h, status);
		else if (!successor_died(m, pid))
			log_debug(
			    "Reaped pid=%d, exit status=%d", (int)pid, status);
	}
}

/* ---- stop, timers ---- */

void
supervise_ask_stop(struct master *m, enum proc proc, int64_t grace_ns)
{
	struct helper_proc *h = &m->helpers[proc];

	if (h->pid == 0)
		return;
	if (h->stop_ns == 0)
		(void)supervise_send(
		    m, proc, MSG_SHUTDOWN, 0, 0, 0, NULL, NULL, 0, -1);
	if (h->stop_ns == 0)
		h->stop_ns = clock_boot_ns();
	if (grace_ns != 0 && h->kill_ns == 0)
		h->kill_ns = clock_boot_ns() + grace_ns;
}

bool
supervise_restart(struct master *m, enum proc proc)
{
	struct helper_proc *h = &m->helpers[proc];

	if (h->pid == 0)
		return false;
	/* Not SHUTDOWN: for the controller that means to stop PostgreSQL.
	 * Every helper must survive being killed anyhow (design 1). */
	log_info("ending helper %s (pid %d) on request", proc_name(proc),
	    (int)h->pid);
	h->failures = 0;
	return kill(h->pid, SIGKILL) == 0;
}

void
supervise_timers(struct master *m, int64_t now)
{
	struct helper_proc *h;
	int p;

	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++) {
		h = &m->helpers[p];
		if (h->pid != 0 && h->kill_ns != 0 && now >= h->kill_ns) {
			log_warn("ending helper %s (pid %d)",
			    proc_name(h->proc), (int)h->pid);
			(void)kill(h->pid, SIGKILL);
			h->kill_ns = 0;
		}
		if (h->pid != 0 || h->restart_ns == 0 || now < h->restart_ns)
			continue;
		h->restart_ns = 0;
		if (wanted(m, h))
			start_again(m, h->proc);
		else
			master_progress(m);
	}
	successor_timers(m, now);
}

int64_t
supervise_next(const struct master *m)
{
	const struct helper_proc *h;
	int64_t next = INT64_MAX;
	int p;

	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++) {
		h = &m->helpers[p];
		if (h->pid != 0 && h->kill_ns != 0 && h->kill_ns < next)
			next = h->kill_ns;
		if (h->pid == 0 && h->restart_ns != 0 && h->restart_ns < next)
			next = h->restart_ns;
	}
	if (m->beside.kill_ns != 0 && m->beside.kill_ns < next)
		next = m->beside.kill_ns;
	return next;
}

bool
supervise_all_ready(const struct master *m)
{
	return supervise_all_at(m, 0);
}

bool
supervise_all_at(const struct master *m, uint64_t generation)
{
	int p;

	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		if (!m->helpers[p].ready ||
		    m->helpers[p].generation < generation)
			return false;
	return true;
}
