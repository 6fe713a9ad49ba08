/*
 * ipc.c: one end of a link: framing, bounded queue, descriptors.
 *
 * A message is header, body, variable part, contiguous on the stream.  A
 * descriptor rides on the first byte of its message; the header says that
 * there is one (IPC_FLAG_FD), so descriptors, which arrive in order and never
 * later than their message, are matched by counting.
 */
#include "ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "messages.h"

#define READ_CHUNK 16384
#define MAX_FDS 16 /* received and not yet taken */

struct packet {
	TAILQ_ENTRY(packet) entry;
	uint16_t type;
	int fd; /* -1 none, or not yet sent */
	size_t len, sent;
	uint8_t data[];
};

struct link {
	int fd;
	enum proc self, peer;
	size_t max_queue, queued;
	TAILQ_HEAD(, packet) out;
	uint8_t *in; /* bytes received and not yet consumed */
	size_t in_len, in_cap, in_pos;
	uint8_t *body;	  /* aligned copy of the last message's body */
	int fds[MAX_FDS]; /* descriptors that came and are not yet taken */
	unsigned int nfds;
	bool lost;
	char error[TEXT_SIZE];
};

struct link *
link_open(int fd, enum proc self, enum proc peer, size_t max_queue)
{
	struct link *l = calloc(1, sizeof(*l));
	int flags = fcntl(fd, F_GETFL);

	if (l == NULL || (l->body = malloc(IPC_MAX_BODY)) == NULL) {
		free(l);
		return NULL;
	}
	if (flags != -1)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	l->fd = fd;
	l->self = self;
	l->peer = peer;
	l->max_queue = max_queue;
	TAILQ_INIT(&l->out);
	return l;
}

static void
packet_free(struct link *l, struct packet *p)
{
	TAILQ_REMOVE(&l->out, p, entry);
	l->queued -= p->len - p->sent;
	if (p->fd != -1)
		close(p->fd);
	wipe(p->data, p->len);
	free(p);
}

void
link_close(struct link *l)
{
	struct packet *p;

	if (l == NULL)
		return;
	while ((p = TAILQ_FIRST(&l->out)) != NULL)
		packet_free(l, p);
	for (unsigned int i = 0; i < l->nfds; i++)
		close(l->fds[i]);
	close(l->fd);
	if (l->in != NULL)
		wipe(l->in, l->in_cap);
	free(l->in);
	wipe(l->body, IPC_MAX_BODY);
	free(l->body);
	free(l);
}

int
link_fd(const struct link *l)
{
	return l->fd;
}

enum proc
link_peer(const struct link *l)
{
	return l->peer;
}

size_t
link_queued(const struct link *l)
{
	return l->queued;
}

bool
link_wants_write(const struct link *l)
{
	return !TAILQ_EMPTY(&l->out);
}

const char *
link_error(const struct link *l)
{
	return l->error;
}

static int
refuse(int err)
{
	errno = err;
	return -1;
}

static bool
send_allowed(const struct link *l, uint16_t type, const void *body,
    size_t *body_len, size_t var_len, int fd)
{
	size_t max_var;
	bool may_fd;

	return msg_sizes(type, body_len, &max_var, &may_fd) &&
	    msg_allowed(type, l->self, l->peer) &&
	    (body != NULL) == (*body_len > 0) && var_len <= max_var &&
	    (fd == -1 || may_fd);
}

/* Drop an unsent packet of the type (link_send_newest). */
static void
drop_unsent(struct link *l, uint16_t type)
{
	struct packet *p, *next;

	for (p = TAILQ_FIRST(&l->out); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (p->type == type && p->sent == 0 && p->fd == -1)
			packet_free(l, p);
	}
}

static struct packet *
packet_new(uint16_t type, uint16_t flags, uint64_t id, int64_t deadline,
    const void *body, size_t body_len, const void *var, size_t var_len)
{
	struct ipc_header h = { .magic = IPC_MAGIC,
		.type = type,
		.flags = flags,
		.body_len = (uint32_t)body_len,
		.var_len = (uint32_t)var_len,
		.id = id,
		.deadline_ns = deadline };
	struct packet *p = malloc(sizeof(*p) + sizeof(h) + body_len + var_len);

	if (p == NULL)
		return NULL;
	p->type = type;
	p->fd = -1;
	p->sent = 0;
	p->len = sizeof(h) + body_len + var_len;
	memcpy(p->data, &h, sizeof(h));
	if (body_len > 0)
		memcpy(p->data + sizeof(h), body, body_len);
	if (var_len > 0)
		memcpy(p->data + sizeof(h) + body_len, var, var_len);
	return p;
}

static int
enqueue(struct link *l, struct packet *p, int fd)
{
	if (p == NULL)
		return refuse(ENOMEM);
	if (p->len > l->max_queue - l->queued || l->queued > l->max_queue) {
		free(p);
		return refuse(ENOBUFS);
	}
	if (fd != -1 && (p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) == -1) {
		free(p);
		return -1;
	}
	TAILQ_INSERT_TAIL(&l->out, p, entry);
	l->queued += p->len;
	return link_flush(l) == -1 ? refuse(EPIPE) : 0;
}

int
link_send(struct link *l, uint16_t type, uint16_t flags, uint64_t id,
    int64_t deadline_ns, const void *body, const void *var, size_t var_len,
    int fd)
{
	size_t body_len;

	if (!send_allowed(l, type, body, &body_len, var_len, fd))
		return refuse(EINVAL);
	if (l->lost)
		return refuse(EPIPE);
	return enqueue(l,
	    packet_new(type, (uint16_t)(fd != -1 ? flags | IPC_FLAG_FD : flags),
		id, deadline_ns, body, body_len, var, var_len),
	    fd);
}

int
link_send_newest(struct link *l, uint16_t type, const void *body,
    const void *var, size_t var_len)
{
	drop_unsent(l, type);
	return link_send(l, type, 0, 0, 0, body, var, var_len, -1);
}

static ssize_t
send_packet(struct link *l, struct packet *p)
{
	struct iovec iov = { .iov_base = p->data + p->sent,
		.iov_len = p->len - p->sent };
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (p->fd != -1) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		m.msg_control = control.buf;
		m.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &p->fd, sizeof(int));
	}
	return sendmsg(l->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int
link_flush(struct link *l)
{
	struct packet *p;

	if (l->lost)
		return -1;
	while ((p = TAILQ_FIRST(&l->out)) != NULL) {
		ssize_t n = send_packet(l, p);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && (errno == EAGAIN || errno == ENOBUFS))
			return 0;
		if (n == -1) {
			snprintf(
			    l->error, sizeof(l->error), "%s", strerror(errno));
			l->lost = true;
			return -1;
		}
		if (p->fd != -1) { /* it went with the first byte */
			close(p->fd);
			p->fd = -1;
		}
		p->sent += (size_t)n;
		l->queued -= (size_t)n;
		if (p->sent == p->len)
			packet_free(l, p);
	}
	return 0;
}

/* Make room for READ_CHUNK more bytes; forget what was consumed. */
static bool
make_room(struct link *l)
{
	size_t cap = l->in_cap;
	uint8_t *buf;

	if (l->in_pos > 0) {
		memmove(l->in, l->in + l->in_pos, l->in_len - l->in_pos);
		l->in_len -= l->in_pos;
		l->in_pos = 0;
	}
	if (cap - l->in_len >= READ_CHUNK)
		return true;
	cap = l->in_len + READ_CHUNK;
	if (cap < l->in_cap * 2)
		cap = l->in_cap * 2;
	/* not realloc: an old copy may hold a secret */
	if ((buf = malloc(cap)) == NULL)
		return false;
	if (l->in != NULL) {
		memcpy(buf, l->in, l->in_len);
		wipe(l->in, l->in_cap);
		free(l->in);
	}
	l->in = buf;
	l->in_cap = cap;
	return true;
}

static bool
take_fds(struct link *l, struct msghdr *m)
{
	bool ok = !(m->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL;
	     c = CMSG_NXTHDR(m, c)) {
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		if (l->nfds == MAX_FDS ||
		    c->cmsg_len != CMSG_LEN(sizeof(int))) {
			close(fd);
			ok = false;
		} else
			l->fds[l->nfds++] = fd;
	}
	if (!ok)
		snprintf(
		    l->error, sizeof(l->error), "unexpected file descriptors");
	return ok;
}

int
link_read(struct link *l)
{
	struct iovec iov;
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	ssize_t n;

	if (!make_room(l)) {
		snprintf(l->error, sizeof(l->error), "out of memory");
		return -1;
	}
	iov.iov_base = l->in + l->in_len;
	iov.iov_len = l->in_cap - l->in_len;
	do
		n = recvmsg(l->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n == -1 && errno == EINTR);
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n == -1) {
		snprintf(l->error, sizeof(l->error), "%s", strerror(errno));
		return -1;
	}
	if (n == 0) {
		snprintf(l->error, sizeof(l->error), "closed by peer");
		return -1;
	}
	if (!take_fds(l, &m))
		return -1;
	l->in_len += (size_t)n;
	return 1;
}

static int
broken(struct link *l, const char *type, const char *what)
{
	snprintf(l->error, sizeof(l->error), "protocol violation by %s: %s: %s",
	    proc_name(l->peer), type, what);
	return -1;
}

int
link_next(struct link *l, struct ipc_msg *msg)
{
	size_t have = l->in_len - l->in_pos, body_len, max_var;
	const uint8_t *p = l->in + l->in_pos;
	struct ipc_header h;
	const char *wrong;
	bool may_fd;

	if (have < sizeof(h))
		return 0;
	memcpy(&h, p, sizeof(h));
	if (h.magic != IPC_MAGIC)
		return broken(l, "header", "wrong magic");
	if (!msg_sizes(h.type, &body_len, &max_var, &may_fd))
		return broken(l, "header", "unknown type");
	if (!msg_allowed(h.type, l->peer, l->self))
		return broken(l, msg_name(h.type), "not allowed on this link");
	if ((h.flags & ~(IPC_FLAG_REPLY | IPC_FLAG_FD)) != 0)
		return broken(l, msg_name(h.type), "unknown flags");
	if (h.body_len != body_len || h.var_len > max_var)
		return broken(l, msg_name(h.type), "wrong size");
	if (have < sizeof(h) + body_len + h.var_len)
		return 0;
	if (body_len > 0)
		memcpy(l->body, p + sizeof(h), body_len);
	memset(msg, 0, sizeof(*msg));
	msg->hdr = h;
	msg->body = body_len > 0 ? l->body : NULL;
	msg->var = h.var_len > 0 ? p + sizeof(h) + body_len : NULL;
	msg->fd = -1;
	if ((wrong = msg_check(h.type, msg->body, msg->var, h.var_len)) != NULL)
		return broken(l, msg_name(h.type), wrong);
	if (h.flags & IPC_FLAG_FD) {
		if (!may_fd || l->nfds == 0)
			return broken(l, msg_name(h.type), "no descriptor");
		msg->fd = l->fds[0];
		l->nfds--;
		memmove(l->fds, l->fds + 1, l->nfds * sizeof(l->fds[0]));
	}
	l->in_pos += sizeof(h) + body_len + h.var_len;
	return 1;
}
