/*
 * runtime.c: start, event loop, links and configuration of a helper.
 *
 * Requests with deadlines are in requests.c.  Nothing here knows what a
 * message between helpers is for.
 */
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "runtime_int.h"
#include "test_acts.h"

#define MASTER_FD 3
#define LINK_QUEUE (8u * 1024 * 1024) /* a few of the largest messages */
#define FLUSH_SECONDS 1 /* for what is queued when the helper ends */
#define ALIVE_SECONDS 1 /* from one sign of life to the next while stopping */

static void on_readable(evutil_socket_t, short, void *);
static void on_writable(evutil_socket_t, short, void *);

/* ---- ends of links ---- */

/* Keep the write event pending exactly while something waits. */
void
peer_update(struct peer *p)
{
	bool want = p->link != NULL && link_wants_write(p->link);

	if (want == p->writing)
		return;
	p->writing = want;
	if (want)
		(void)event_add(p->writable, NULL);
	else
		(void)event_del(p->writable);
}

static void
end_loop(struct helper *h, int code)
{
	if (h->ended)
		return;
	h->ended = true;
	h->exit_code = code;
	(void)event_base_loopbreak(h->base);
}

static void
peer_drop(struct helper *h, struct peer *p)
{
	if (p->link == NULL)
		return;
	event_free(p->readable);
	event_free(p->writable);
	p->readable = p->writable = NULL;
	p->writing = false;
	link_close(p->link);
	p->link = NULL;
	if (p->proc == PROC_MASTER) {
		/* Not an error while the daemon ends. */
		if (!h->stopping)
			log_warn(
			    "%s: lost the master, exiting", proc_name(h->self));
		end_loop(h, h->stopping ? h->exit_code : 1);
		return;
	}
	requests_lost(h, p->proc);
	if (h->configured && h->ops->link != NULL)
		h->ops->link(h, p->proc, false, h->arg);
}

/* Takes fd over. */
static void
peer_open(struct helper *h, enum proc proc, int fd)
{
	struct peer *p = &h->peers[proc];

	peer_drop(h, p); /* a new end replaces the old one */
	if ((p->link = link_open(fd, h->self, proc, LINK_QUEUE)) == NULL)
		fatal("link to %s: out of memory", proc_name(proc));
	p->helper = h;
	p->proc = proc;
	p->readable =
	    event_new(h->base, fd, EV_READ | EV_PERSIST, on_readable, p);
	p->writable =
	    event_new(h->base, fd, EV_WRITE | EV_PERSIST, on_writable, p);
	if (p->readable == NULL || p->writable == NULL)
		fatal("link to %s: out of memory", proc_name(proc));
}

/* From now on messages of that peer are read. */
static void
peer_up(struct helper *h, struct peer *p)
{
	if (event_add(p->readable, NULL) == -1)
		fatal("event_add: %s", strerror(errno));
	if (p->proc != PROC_MASTER && h->ops->link != NULL)
		h->ops->link(h, p->proc, true, h->arg);
}

/*
 * The peer cannot be trusted any more: the link ends, and the master, which
 * alone can, starts the peer anew (design 3).
 */
static void
peer_broke(struct helper *h, struct peer *p)
{
	struct msg_notify m = { .kind = NOTIFY_BROKEN_PEER,
		.value = (int32_t)p->proc };

	log_error("%s: %s", proc_name(h->self), link_error(p->link));
	if (p->proc != PROC_MASTER)
		(void)helper_send(h, PROC_MASTER, MSG_NOTIFY, &m, NULL, 0, -1);
	peer_drop(h, p);
}

/* ---- messages of the master ---- */

static void
send_ready(struct helper *h, uint64_t generation, const char *refused)
{
	struct msg_ready m;

	memset(&m, 0, sizeof(m));
	m.generation = generation;
	m.ok = refused == NULL;
	if (refused != NULL)
		(void)snprintf(m.text, sizeof(m.text), "%s", refused);
	(void)helper_send(h, PROC_MASTER, MSG_READY, &m, NULL, 0, -1);
}

static void
first_configuration(struct helper *h)
{
	h->configured = true;
	if (h->ops->sandbox != NULL && !h->no_sandbox)
		h->ops->sandbox(h, h->arg);
	test_acts_run(h->self);
	for (int i = PROC_DCS; i < PROC_COUNT && !h->ended; i++)
		if (h->peers[i].link != NULL)
			peer_up(h, &h->peers[i]);
}

static void
on_config(struct helper *h, const struct ipc_msg *msg)
{
	const struct msg_config *c = msg->body;
	struct tree *t = NULL;
	const char *refused = "malformed configuration";

	if (msg->var != NULL)
		t = tree_decode(msg->var, msg->hdr.var_len);
	if (t != NULL)
		refused = h->ops->config == NULL ?
		    NULL :
		    h->ops->config(h, t, c, h->arg);
	if (t != NULL && h->ops->config == NULL)
		tree_free_wiped(t);
	if (refused == NULL && !h->configured && !h->ended)
		first_configuration(h);
	if (!h->ended)
		send_ready(h, c->generation, refused);
}

static void
on_link(struct helper *h, struct ipc_msg *msg)
{
	const struct msg_link *m = msg->body;

	if (msg->fd == -1 || m->peer == PROC_MASTER || m->peer == h->self ||
	    m->peer >= PROC_CTL) {
		log_error("%s: unusable LINK message", proc_name(h->self));
		return;
	}
	peer_open(h, (enum proc)m->peer, msg->fd);
	msg->fd = -1;
	if (h->configured)
		peer_up(h, &h->peers[m->peer]);
}

static void
on_log_settings(const struct ipc_msg *msg)
{
	const struct msg_log_settings *m = msg->body;

	log_configure(&m->s);
	if (msg->fd != -1 && dup2(msg->fd, STDERR_FILENO) == -1)
		log_error("new log file: %s", strerror(errno));
}

static void
on_alive(evutil_socket_t fd, short what, void *arg)
{
	struct helper *h = arg;
	struct msg_helper_info info = h->info;

	(void)fd;
	(void)what;
	if (!h->stopping)
		helper_info(h, &info);
}

static void
on_info_ask(struct helper *h)
{
	if (h->ops->info != NULL && h->configured)
		h->ops->info(h, h->arg);
	else
		on_alive(-1, 0, h);
}

/* The master waits for who lives, and kills who hangs. */
static void
on_shutdown(struct helper *h)
{
	struct timeval tv = { .tv_sec = ALIVE_SECONDS };

	if (h->stopping)
		return;
	if (h->alive == NULL)
		h->alive = event_new(h->base, -1, EV_PERSIST, on_alive, h);
	if (h->alive == NULL || event_add(h->alive, &tv) == -1)
		log_warn("out of memory");
	if (h->ops->shutdown != NULL && h->configured)
		h->ops->shutdown(h, h->arg);
	else
		helper_stopped(h, 0);
}

static void
from_master(struct helper *h, struct ipc_msg *msg)
{
	struct ipc_msg given;

	switch (msg->hdr.type) {
	case MSG_LINK:
		on_link(h, msg);
		break;
	case MSG_CONFIG:
		on_config(h, msg);
		break;
	case MSG_LOG_SETTINGS:
		on_log_settings(msg);
		break;
	case MSG_SHUTDOWN:
		on_shutdown(h);
		break;
	case MSG_INFO_ASK:
		on_info_ask(h);
		break;
	default:
		if (h->ops->message == NULL)
			break;
		given = *msg; /* the callee owns the descriptor */
		msg->fd = -1;
		h->ops->message(h, PROC_MASTER, &given, h->arg);
		break;
	}
	if (msg->fd != -1)
		close(msg->fd);
}

/* ---- dispatch ---- */

static void
dispatch(struct helper *h, struct peer *p, struct ipc_msg *msg)
{
	if (msg->hdr.flags & IPC_FLAG_REPLY) {
		if (!requests_answered(h, p->proc, msg) && msg->fd != -1)
			close(msg->fd);
		return;
	}
	if (p->proc == PROC_MASTER) {
		from_master(h, msg);
		return;
	}
	if (h->ops->message != NULL)
		h->ops->message(h, p->proc, msg, h->arg);
	else if (msg->fd != -1)
		close(msg->fd);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;
	struct helper *h = p->helper;
	struct ipc_msg msg;
	int end, rc;

	(void)fd;
	(void)what;
	end = link_read(p->link) == -1;
	while (!h->ended && (rc = link_next(p->link, &msg)) != 0) {
		if (rc == -1) {
			peer_broke(h, p);
			return;
		}
		dispatch(h, p, &msg);
	}
	if (end && !h->ended)
		peer_drop(h, p);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;
	struct helper *h = p->helper;

	(void)fd;
	(void)what;
	if (link_flush(p->link) == -1) {
		/* what it sent before it went is still to be read */
		(void)event_del(p->writable);
		p->writing = false;
		event_active(p->readable, EV_READ, 1);
		return;
	}
	peer_update(p);
	if (h->stopping && p->proc == PROC_MASTER && !p->writing)
		end_loop(h, h->exit_code);
}

/* ---- sending ---- */

/* After a failed or queued send: watch for writability, or for the end. */
int
peer_sent(struct peer *p, int rc)
{
	int error = errno;

	if (p->link == NULL)
		return rc;
	peer_update(p);
	if (rc == -1 && error == EPIPE)
		event_active(p->readable, EV_READ, 1);
	errno = error;
	return rc;
}

struct peer *
peer_find(struct helper *h, enum proc proc)
{
	struct peer *p;

	if ((unsigned int)proc >= PROC_COUNT) {
		errno = EINVAL;
		return NULL;
	}
	p = &h->peers[proc];
	if (p->link == NULL) {
		errno = EPIPE;
		return NULL;
	}
	return p;
}

static int
send_any(struct helper *h, enum proc to, uint16_t type, uint16_t flags,
    uint64_t id, const void *body, const void *var, size_t var_len, int fd)
{
	struct peer *p = peer_find(h, to);

	if (p == NULL)
		return -1;
	return peer_sent(
	    p, link_send(p->link, type, flags, id, 0, body, var, var_len, fd));
}

int
helper_send(struct helper *h, enum proc to, uint16_t type, const void *body,
    const void *var, size_t var_len, int fd)
{
	return send_any(h, to, type, 0, 0, body, var, var_len, fd);
}

int
helper_send_newest(struct helper *h, enum proc to, uint16_t type,
    const void *body, const void *var, size_t var_len)
{
	struct peer *p = peer_find(h, to);

	if (p == NULL)
		return -1;
	return peer_sent(
	    p, link_send_newest(p->link, type, body, var, var_len));
}

int
helper_send_tree(struct helper *h, enum proc to, uint16_t type, uint16_t flags,
    uint64_t id, const void *body, const struct tree *var)
{
	uint8_t *buf = NULL;
	size_t len = 0;
	int rc;

	if (var != NULL && !tree_encode(var, &buf, &len)) {
		errno = EMSGSIZE;
		return -1;
	}
	rc = send_any(h, to, type, flags, id, body, buf, len, -1);
	free(buf);
	return rc;
}

int
helper_reply_id(struct helper *h, enum proc to, uint64_t id, uint16_t type,
    const void *body, const void *var, size_t var_len)
{
	if (id == 0)
		return 0; /* it was not a request: nobody waits */
	return send_any(
	    h, to, type, IPC_FLAG_REPLY, id, body, var, var_len, -1);
}

int
helper_reply(struct helper *h, enum proc to, const struct ipc_msg *msg,
    uint16_t type, const void *body, const void *var, size_t var_len)
{
	return helper_reply_id(h, to, msg->hdr.id, type, body, var, var_len);
}

size_t
helper_queued(const struct helper *h)
{
	size_t n = 0;

	for (int i = 0; i < PROC_COUNT; i++)
		if (h->peers[i].link != NULL)
			n += link_queued(h->peers[i].link);
	return n;
}

/* ---- what the master is told ---- */

void
helper_set_sandbox(struct helper *h, uint32_t bits)
{
	h->sandbox = bits & 3u;
}

/*
 * What a start, a job or a burst of requests took and gave back lies between
 * what is in use.  The kernel gets it now and then: each time costs the faults
 * of what the next loop needs.
 */
#define TRIM_INTERVAL (300 * NS_PER_SEC)

static void
give_back(struct helper *h)
{
	int64_t now = clock_boot_ns();

	if (now < h->trim_at)
		return;
	if (h->trim_at != 0)
		(void)malloc_trim(0);
	h->trim_at =
	    now + (h->trim_at == 0 ? TRIM_INTERVAL / 10 : TRIM_INTERVAL);
}

void
helper_info(struct helper *h, struct msg_helper_info *info)
{
	size_t queued = helper_queued(h);

	give_back(h);

	info->queue_bytes = queued > UINT32_MAX ? UINT32_MAX : (uint32_t)queued;
	info->sandbox = h->sandbox;
	h->info = *info;
	(void)helper_send_newest(
	    h, PROC_MASTER, MSG_HELPER_INFO, info, NULL, 0);
}

/* ---- start and end ---- */

static void
check_master_fd(void)
{
	int domain = 0, type = 0;
	socklen_t len = sizeof(domain);

	if (getsockopt(MASTER_FD, SOL_SOCKET, SO_DOMAIN, &domain, &len) == -1 ||
	    domain != AF_UNIX)
		fatal("this program is started by patroni, not by hand");
	len = sizeof(type);
	if (getsockopt(MASTER_FD, SOL_SOCKET, SO_TYPE, &type, &len) == -1 ||
	    type != SOCK_STREAM)
		fatal("descriptor 3 is not a link to the master");
}

static bool
parse_arguments(int argc, char **argv)
{
	bool no_sandbox = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--no-sandbox") != 0)
			fatal("unknown argument %s", argv[i]);
		no_sandbox = true;
	}
	return no_sandbox;
}

static struct event_base *
new_base(void)
{
	struct event_config *c = event_config_new();
	struct event_base *base;

	if (c == NULL)
		fatal("out of memory");
	/* one thread uses it */
	if (event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK) == -1 ||
	    (base = event_base_new_with_config(c)) == NULL)
		fatal("cannot create an event loop: %s", strerror(errno));
	event_config_free(c);
	return base;
}

struct helper *
helper_start(enum proc self, const struct helper_ops *ops, void *arg, int argc,
    char **argv)
{
	struct helper *h;

	log_init(proc_name(self));
	(void)unsetenv("GNUTLS_NO_IMPLICIT_INIT"); /* not for children */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_DFL);
	check_master_fd();
	if ((h = calloc(1, sizeof(*h))) == NULL)
		fatal("out of memory");
	h->self = self;
	h->ops = ops;
	h->arg = arg;
	h->no_sandbox = parse_arguments(argc, argv);
	h->base = new_base();
	for (int i = 0; i < PROC_COUNT; i++) {
		h->peers[i].helper = h;
		h->peers[i].proc = (enum proc)i;
	}
	if (!requests_init(h))
		fatal("request timer: %s", strerror(errno));
	peer_open(h, PROC_MASTER, MASTER_FD);
	peer_up(h, &h->peers[PROC_MASTER]);
	return h;
}

static void
helper_free(struct helper *h)
{
	for (int i = 0; i < PROC_COUNT; i++) {
		struct peer *p = &h->peers[i];

		if (p->link == NULL)
			continue;
		event_free(p->readable);
		event_free(p->writable);
		link_close(p->link);
	}
	requests_free(h);
	if (h->flush_timer != NULL)
		event_free(h->flush_timer);
	if (h->alive != NULL)
		event_free(h->alive);
	event_base_free(h->base);
	free(h);
}

int
helper_run(struct helper *h)
{
	int code;

	if (!h->ended && event_base_dispatch(h->base) == -1)
		fatal("event loop: %s", strerror(errno));
	code = h->exit_code;
	helper_free(h);
	return code;
}

struct event_base *
helper_base(struct helper *h)
{
	return h->base;
}

bool
helper_no_sandbox(const struct helper *h)
{
	return h->no_sandbox;
}

bool
helper_linked(const struct helper *h, enum proc peer)
{
	return (unsigned int)peer < PROC_COUNT && h->peers[peer].link != NULL;
}

static void
on_flush_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct helper *h = arg;

	(void)fd;
	(void)what;
	end_loop(h, h->exit_code);
}

void
helper_stopped(struct helper *h, int exit_code)
{
	struct msg_stopped m = { .exit_code = exit_code };
	struct timeval tv = { .tv_sec = FLUSH_SECONDS };

	if (h->stopping)
		return;
	h->stopping = true;
	h->exit_code = exit_code;
	(void)helper_send(h, PROC_MASTER, MSG_STOPPED, &m, NULL, 0, -1);
	if (!h->peers[PROC_MASTER].writing) {
		end_loop(h, exit_code);
		return;
	}
	h->flush_timer = evtimer_new(h->base, on_flush_timeout, h);
	if (h->flush_timer == NULL || evtimer_add(h->flush_timer, &tv) == -1)
		end_loop(h, exit_code);
}
