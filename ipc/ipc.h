/*
 * ipc.h: one end of a link between two processes (design 3).
 *
 * Framing, queues, descriptors and the checks against the catalogue.  Knows
 * no event loop: the caller polls link_fd() and calls link_read()/link_flush().
 * libc only, so that the keeper can use it.
 */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "types.h"

#define IPC_MAGIC UINT32_C(0x50475202) /* "PGR", protocol version 2 */
#define IPC_MAX_BODY 32768
#define IPC_MAX_VAR (2 * 1024 * 1024)
#define IPC_FLAG_REPLY 0x0001 /* answers the request with the same id */
#define IPC_FLAG_FD 0x0002 /* a descriptor came with it; set by link_send() */

struct ipc_header {
	uint32_t magic;
	uint16_t type;
	uint16_t flags;
	uint32_t body_len; /* always the size of the type's struct */
	uint32_t var_len;
	uint64_t id;	     /* request id; 0 = not a request */
	int64_t deadline_ns; /* absolute CLOCK_BOOTTIME; 0 = none */
};

/* One received message.  Pointers are valid until the next link_next(). */
struct ipc_msg {
	struct ipc_header hdr;
	const void *body;
	const uint8_t *var; /* NULL when var_len is 0 */
	int fd;		    /* -1 or a descriptor that the receiver owns */
};

struct link;

/*
 * Take over a connected SOCK_STREAM Unix socket; it is made non-blocking and
 * close-on-exec.  max_queue bounds the bytes waiting to be sent.  NULL when
 * memory is short.
 */
struct link *link_open(
    int fd, enum proc self, enum proc peer, size_t max_queue);
void link_close(struct link *); /* closes the descriptor; NULL allowed */
int link_fd(const struct link *);
enum proc link_peer(const struct link *);
/* Bytes waiting to be sent (gauge of /metrics). */
size_t link_queued(const struct link *);
bool link_wants_write(const struct link *);

/*
 * Queue one message and try to send at once.  body must have the size that
 * the catalogue states (NULL only for types without a body); fd (-1 = none)
 * is duplicated, the caller keeps its own.  flags: 0 or IPC_FLAG_REPLY. Returns
 * 0, or -1 with errno: EINVAL not allowed on this link or wrong size, ENOBUFS
 * queue full (nothing queued), EPIPE link lost, ENOMEM.
 */
int link_send(struct link *, uint16_t type, uint16_t flags, uint64_t id,
    int64_t deadline_ns, const void *body, const void *var, size_t var_len,
    int fd);
/*
 * The same for snapshots: an unsent queued message of the same type is
 * replaced (unless its first bytes are already on the wire).
 */
int link_send_newest(struct link *, uint16_t type, const void *body,
    const void *var, size_t var_len);
/* Send what is queued.  0, or -1 when the link is lost. */
int link_flush(struct link *);
/* Read what is there.  1 something read, 0 nothing now, -1 end or error. */
int link_read(struct link *);
/*
 * Next complete and valid message: 1 and *msg filled, 0 none, -1 the peer
 * broke the protocol (error() text tells how); the link must be closed.
 */
int link_next(struct link *, struct ipc_msg *msg);
const char *link_error(const struct link *);

#endif
