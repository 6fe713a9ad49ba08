/*
 * control.c: the control socket (design 10).
 *
 * Clients speak the framing of the helpers' links (CTL_QUERY, CTL_REPLY).
 * Root, our own user, the owner of the database and members of its group may
 * ask; others get one polite refusal.  What concerns the node's PostgreSQL is
 * forwarded to the controller, what the REST API does through the store to
 * rest; both are answered when the helper answers, or when the query's
 * deadline passes.  Clients, forwarded queries and bytes are bounded.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "master.h"

#define CLIENT_IDLE (60 * NS_PER_SEC)
#define FORWARD_DEFAULT (10 * NS_PER_SEC)
#define FORWARD_MOST (3600 * NS_PER_SEC)
#define TOLD_MOST (500 * NS_PER_MS) /* for the answers of helpers */
#define MAX_GROUPS 64
#define RUN_DIR "/run/patroni"

/* ---- the socket ---- */

static bool
address(const char *path, struct sockaddr_un *sun)
{
	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	return text_set(sun->sun_path, sizeof(sun->sun_path), path);
}

/* A socket file that nobody listens on is left over from a crash. */
static bool
is_stale(const struct sockaddr_un *sun)
{
	int fd, rc, e;

	if ((fd = socket(
		 AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) == -1)
		return false;
	rc = connect(fd, (const struct sockaddr *)sun, sizeof(*sun));
	e = errno;
	close(fd);
	return rc == -1 && e == ECONNREFUSED;
}

/* The directory of the default place is root's to make; its owner is who
 * will have to remove the socket. */
static void
make_directory(const struct master *m, const char *path)
{
	if (geteuid() != 0 ||
	    strncmp(path, RUN_DIR "/", sizeof(RUN_DIR)) != 0 ||
	    mkdir(RUN_DIR, 0755) == -1)
		return;
	if (chown(RUN_DIR, m->accounts.owner.uid, m->accounts.owner.gid) == -1)
		log_debug("chown " RUN_DIR ": %s", strerror(errno));
}

static int
bind_path(const struct master *m, const char *path)
{
	struct sockaddr_un sun;
	mode_t old;
	int fd, rc, e;

	if (!address(path, &sun)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	make_directory(m, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	old = umask(0117);
	rc = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
	if (rc == -1 && errno == EADDRINUSE && is_stale(&sun) &&
	    unlink(path) == 0)
		rc = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
	e = errno;
	(void)umask(old);
	if (rc == 0 && m->accounts.switching &&
	    chown(path, m->accounts.owner.uid, m->accounts.owner.gid) == -1) {
		e = errno;
		(void)unlink(path);
		rc = -1;
	}
	if (rc == 0 && listen(fd, CTL_MAX_CLIENTS) == -1) {
		e = errno;
		rc = -1;
	}
	if (rc == 0)
		return fd;
	close(fd);
	errno = e;
	return -1;
}

void
control_open(struct master *m)
{
	char paths[CONF_SOCKET_CANDIDATES][PATH_SIZE];
	uint32_t i, n = conf_control_sockets(m->conf, paths);
	int e = ENAMETOOLONG;

	for (i = 0; i < n; i++) {
		if ((m->control_fd = bind_path(m, paths[i])) != -1) {
			(void)text_set(
			    m->control_path, sizeof(m->control_path), paths[i]);
			return;
		}
		e = errno;
		log_debug("control socket %s: %s", paths[i], strerror(e));
	}
	/* The node does its work without it. */
	log_warn("No control socket, patronictl local will not work: %s",
	    strerror(e));
}

static void
drop_client(struct ctl_client *c)
{
	link_close(c->link);
	c->link = NULL;
}

void
control_close(struct master *m)
{
	uint32_t i;

	for (i = 0; i < CTL_MAX_CLIENTS; i++)
		if (m->clients[i].link != NULL)
			drop_client(&m->clients[i]);
	if (m->control_fd == -1)
		return;
	close(m->control_fd);
	m->control_fd = -1;
	(void)unlink(m->control_path);
}

/* ---- who may ask ---- */

static bool
in_group(int fd, gid_t primary, gid_t wanted)
{
	gid_t groups[MAX_GROUPS];
	socklen_t len = sizeof(groups);
	size_t i;

	if (primary == wanted)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == -1)
		return false;
	for (i = 0; i < len / sizeof(groups[0]); i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static bool
may_ask(const struct master *m, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1)
		return false;
	return cred.uid == 0 || cred.uid == geteuid() ||
	    cred.uid == m->accounts.owner.uid ||
	    in_group(fd, cred.gid, m->accounts.owner.gid);
}

static void
accept_client(struct master *m)
{
	struct ctl_client *c = NULL;
	uint32_t i;
	int fd;

	fd = accept4(m->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd == -1)
		return;
	for (i = 0; i < CTL_MAX_CLIENTS && c == NULL; i++)
		if (m->clients[i].link == NULL)
			c = &m->clients[i];
	if (c == NULL) { /* not polled when full: only a race comes here */
		close(fd);
		return;
	}
	memset(c, 0, sizeof(*c));
	c->allowed = may_ask(m, fd);
	c->serial = ++m->client_serial;
	c->expires_ns = clock_boot_ns() + CLIENT_IDLE;
	if ((c->link = link_open(fd, PROC_MASTER, PROC_CTL, CLIENT_QUEUE)) ==
	    NULL)
		close(fd);
}

/* ---- answers ---- */

static void
answer_bytes(struct ctl_client *c, uint64_t query_id, uint32_t code,
    const char *text, const void *var, size_t var_len)
{
	struct msg_ctl_reply reply;

	memset(&reply, 0, sizeof(reply));
	reply.code = code;
	(void)text_set(reply.text, sizeof(reply.text), text);
	if (link_send(c->link, MSG_CTL_REPLY, IPC_FLAG_REPLY, query_id, 0,
		&reply, var, var_len, -1) == -1)
		drop_client(c);
}

static void
answer(struct ctl_client *c, uint64_t query_id, uint32_t code, const char *text)
{
	answer_bytes(c, query_id, code, text, NULL, 0);
}

static void
answer_tree(struct ctl_client *c, uint64_t query_id, struct tree *tree)
{
	uint8_t *buf = NULL;
	size_t len = 0;

	if (tree != NULL && tree_encode(tree, &buf, &len))
		answer_bytes(c, query_id, 200, "", buf, len);
	else
		answer(c, query_id, 500, "out of memory");
	free(buf);
	tree_free(tree);
}

/* ---- forwarding ---- */

static struct ctl_client *
pending_client(struct master *m, const struct ctl_pending *p)
{
	struct ctl_client *c = &m->clients[p->place];

	return c->link != NULL && c->serial == p->serial ? c : NULL;
}

static void
pending_done(struct master *m, struct ctl_pending *p, uint32_t code,
    const char *text, const void *var, size_t var_len)
{
	struct ctl_client *c = pending_client(m, p);

	p->id = 0;
	if (c == NULL)
		return;
	c->waiting--;
	c->expires_ns = clock_boot_ns() + CLIENT_IDLE;
	answer_bytes(c, p->query_id, code, text, var, var_len);
}

static int64_t
bounded_deadline(int64_t asked)
{
	int64_t now = clock_boot_ns();

	if (asked == 0)
		return now + FORWARD_DEFAULT;
	if (asked > now + FORWARD_MOST)
		return now + FORWARD_MOST;
	return asked;
}

static const char *
absent(enum proc to)
{
	return to == PROC_REST ? "the REST helper is not there" :
				 "the PostgreSQL controller is not there";
}

static struct ctl_pending *
free_pending(struct master *m)
{
	uint32_t i;

	for (i = 0; i < CTL_MAX_PENDING; i++)
		if (m->pending[i].id == 0)
			return &m->pending[i];
	return NULL;
}

/* The query's variable part goes along. */
static void
forward(struct master *m, uint32_t place, const struct ipc_msg *msg,
    enum proc to, uint16_t type, const void *body)
{
	const struct msg_ctl_query *query = msg->body;
	struct ctl_client *c = &m->clients[place];
	struct ctl_pending *p = free_pending(m);

	if (p == NULL) {
		answer(c, msg->hdr.id, 503, "too many requests");
		return;
	}
	p->deadline_ns = bounded_deadline(msg->hdr.deadline_ns);
	if (supervise_send(m, to, type, 0, m->next_id, p->deadline_ns, body,
		msg->var, msg->hdr.var_len, -1) == -1) {
		answer(c, msg->hdr.id, 503, absent(to));
		return;
	}
	p->id = m->next_id++;
	p->to = to;
	p->query_id = msg->hdr.id;
	p->place = place;
	p->serial = c->serial;
	p->limit = query->limit;
	c->waiting++;
}

/* The newest `limit` entries of an encoded list; NULL when it stays whole. */
static uint8_t *
newest(const struct ipc_msg *msg, uint32_t limit, size_t *len)
{
	struct tree *all, *some = NULL;
	uint8_t *buf = NULL;
	uint32_t i, n;

	if (limit == 0 || msg->hdr.var_len == 0 ||
	    (all = tree_decode(msg->var, msg->hdr.var_len)) == NULL)
		return NULL;
	n = tree_count(all);
	if (all->type == TREE_LIST && n > limit &&
	    (some = tree_list()) != NULL) {
		for (i = n - limit; i < n; i++)
			(void)tree_append(some, tree_copy(tree_child(all, i)));
		if (!tree_encode(some, &buf, len))
			buf = NULL;
	}
	tree_free(some);
	tree_free(all);
	return buf;
}

void
control_answer(struct master *m, enum proc from, const struct ipc_msg *msg)
{
	const struct msg_request_reply *reply = msg->body;
	struct ctl_pending *p = NULL;
	uint8_t *buf;
	size_t len = 0;
	uint32_t i;

	for (i = 0; i < CTL_MAX_PENDING && p == NULL; i++)
		if (m->pending[i].id != 0 && m->pending[i].id == msg->hdr.id &&
		    m->pending[i].to == from)
			p = &m->pending[i];
	if (p == NULL)
		return; /* late: the deadline has answered */
	if ((buf = newest(msg, p->limit, &len)) != NULL)
		pending_done(m, p, reply->code, reply->text, buf, len);
	else
		pending_done(
		    m, p, reply->code, reply->text, msg->var, msg->hdr.var_len);
	free(buf);
}

/* ---- the process table ---- */

static void
processes_done(struct master *m, struct ctl_pending *p)
{
	struct ctl_client *c = pending_client(m, p);

	p->id = 0;
	if (c == NULL)
		return;
	c->waiting--;
	answer_tree(c, p->query_id, processes_tree(m));
}

void
control_told(struct master *m, enum proc proc)
{
	struct ctl_pending *p;

	for (p = m->pending; p < m->pending + CTL_MAX_PENDING; p++) {
		if (p->id == 0 || p->to != PROC_MASTER)
			continue;
		p->asked &= ~(1u << proc);
		if (p->asked == 0)
			processes_done(m, p);
	}
}

/* Helpers report when it is worth waking the master; a table is to show what
 * is.  One that hangs is shown as it was last. */
static void
query_processes(struct master *m, uint32_t place, uint64_t query_id)
{
	struct ctl_client *c = &m->clients[place];
	struct ctl_pending *p = free_pending(m);
	int proc;

	if (p == NULL) {
		answer(c, query_id, 503, "too many requests");
		return;
	}
	memset(p, 0, sizeof(*p));
	for (proc = PROC_DCS; proc <= PROC_WATCHDOG; proc++)
		if (m->helpers[proc].ready &&
		    supervise_send(m, (enum proc)proc, MSG_INFO_ASK, 0, 0, 0,
			NULL, NULL, 0, -1) == 0)
			p->asked |= 1u << proc;
	if (p->asked == 0) {
		answer_tree(c, query_id, processes_tree(m));
		return;
	}
	p->id = m->next_id++;
	p->to = PROC_MASTER;
	p->query_id = query_id;
	p->place = place;
	p->serial = c->serial;
	p->deadline_ns = clock_boot_ns() + TOLD_MOST;
	c->waiting++;
}

void
control_lost(struct master *m, enum proc proc)
{
	uint32_t i;

	control_told(m, proc);
	for (i = 0; i < CTL_MAX_PENDING; i++)
		if (m->pending[i].id != 0 && m->pending[i].to == proc)
			pending_done(m, &m->pending[i], 503,
			    proc == PROC_REST ?
				"the REST helper was lost, the outcome is "
				"unknown" :
				"the PostgreSQL controller was lost, the "
				"outcome is unknown",
			    NULL, 0);
}

/* ---- queries ---- */

static void
query_log_level(
    struct master *m, struct ctl_client *c, uint64_t id, int32_t level)
{
	/* 0: back to what the configuration says. */
	if (level != 0 && (level < LOG_LVL_DEBUG || level > LOG_LVL_CRITICAL)) {
		answer(c, id, 400, "no such log level");
		return;
	}
	m->log_override = level;
	supervise_log_settings(m, -1);
	answer(c, id, 200, "log level changed");
}

static void
query_restart(
    struct master *m, struct ctl_client *c, uint64_t id, uint32_t proc)
{
	if (proc < PROC_DCS || proc > PROC_WATCHDOG)
		answer(c, id, 400, "no such helper");
	else if (supervise_restart(m, (enum proc)proc))
		answer(c, id, 200, "helper is being restarted");
	else
		answer(c, id, 503, "helper is not running");
}

static void
query_journal(struct master *m, uint32_t place, const struct ipc_msg *msg)
{
	struct msg_request request;

	memset(&request, 0, sizeof(request));
	request.kind = REQUEST_JOURNAL;
	request.timeout = -1;
	forward(m, place, msg, PROC_POSTGRES, MSG_REQUEST, &request);
}

static void
query(struct master *m, uint32_t place, const struct ipc_msg *msg)
{
	struct ctl_client *c = &m->clients[place];
	const struct msg_ctl_query *q = msg->body;

	if (!c->allowed) {
		answer(c, msg->hdr.id, 403,
		    "only root, the owner of the database and its group may "
		    "use the control socket");
		return;
	}
	switch ((enum ctl_query_kind)q->kind) {
	case CTL_PROCESSES:
		query_processes(m, place, msg->hdr.id);
		break;
	case CTL_JOURNAL:
		query_journal(m, place, msg);
		break;
	case CTL_LOG_LEVEL:
		query_log_level(m, c, msg->hdr.id, q->log_level);
		break;
	case CTL_RELOAD:
		master_reload(m);
		answer(c, msg->hdr.id, 200, "reload scheduled");
		break;
	case CTL_RESTART_HELPER:
		query_restart(m, c, msg->hdr.id, q->proc);
		break;
	case CTL_REQUEST:
		forward(m, place, msg, PROC_POSTGRES, MSG_REQUEST, &q->request);
		break;
	case CTL_ACTION:
		forward(m, place, msg, PROC_REST, MSG_ACTION, &q->action);
		break;
	case CTL_QUERY_KIND_COUNT:
		break;
	}
}

static void
client_events(struct master *m, uint32_t place, short revents)
{
	struct ctl_client *c = &m->clients[place];
	struct ipc_msg msg;
	int rc = 0, end = 0;

	if ((revents & POLLOUT) != 0 && link_flush(c->link) == -1)
		end = 1;
	if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
	    link_read(c->link) == -1)
		end = 1;
	while (c->link != NULL && (rc = link_next(c->link, &msg)) == 1) {
		c->expires_ns = clock_boot_ns() + CLIENT_IDLE;
		if (msg.fd != -1)
			close(msg.fd);
		query(m, place, &msg);
	}
	if (c->link != NULL && (rc == -1 || end))
		drop_client(c);
}

/* ---- the loop's side ---- */

uint32_t
control_poll(struct master *m, struct pollfd *pfd)
{
	uint32_t i, n = 0, busy = 0;

	for (i = 0; i < CTL_MAX_CLIENTS; i++) {
		struct link *link = m->clients[i].link;

		if (link == NULL)
			continue;
		busy++;
		pfd[n].fd = link_fd(link);
		pfd[n].events = POLLIN;
		if (link_wants_write(link))
			pfd[n].events |= POLLOUT;
		n++;
	}
	/* When full, newcomers wait in the backlog. */
	if (m->control_fd != -1 && busy < CTL_MAX_CLIENTS) {
		pfd[n].fd = m->control_fd;
		pfd[n].events = POLLIN;
		n++;
	}
	return n;
}

static void
one_event(struct master *m, const struct pollfd *pfd)
{
	uint32_t i;

	if (pfd->fd == m->control_fd) {
		accept_client(m);
		return;
	}
	for (i = 0; i < CTL_MAX_CLIENTS; i++)
		if (m->clients[i].link != NULL &&
		    link_fd(m->clients[i].link) == pfd->fd) {
			client_events(m, i, pfd->revents);
			return;
		}
}

void
control_events(struct master *m, const struct pollfd *pfd, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (pfd[i].revents != 0)
			one_event(m, &pfd[i]);
}

void
control_timers(struct master *m, int64_t now)
{
	struct ctl_pending *p;
	uint32_t i;

	for (i = 0; i < CTL_MAX_PENDING; i++) {
		p = &m->pending[i];
		if (p->id == 0 || now < p->deadline_ns)
			continue;
		if (p->to == PROC_MASTER)
			processes_done(m, p);
		else
			pending_done(m, p, 504, "no answer in time", NULL, 0);
	}
	for (i = 0; i < CTL_MAX_CLIENTS; i++)
		if (m->clients[i].link != NULL && m->clients[i].waiting == 0 &&
		    now >= m->clients[i].expires_ns)
			drop_client(&m->clients[i]);
}

int64_t
control_next(const struct master *m)
{
	int64_t next = INT64_MAX;
	uint32_t i;

	for (i = 0; i < CTL_MAX_PENDING; i++)
		if (m->pending[i].id != 0 && m->pending[i].deadline_ns < next)
			next = m->pending[i].deadline_ns;
	for (i = 0; i < CTL_MAX_CLIENTS; i++)
		if (m->clients[i].link != NULL && m->clients[i].waiting == 0 &&
		    m->clients[i].expires_ns < next)
			next = m->clients[i].expires_ns;
	return next;
}
