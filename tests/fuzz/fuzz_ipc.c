/*
 * fuzz_ipc.c: what a broken helper could send, on every link.
 *
 * The first byte of the input chooses receiver and sender; the rest is fed
 * to the link as it would arrive.  Accepted messages go through the decoders
 * of their variable parts, as their receivers would do.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
consume(const struct ipc_msg *m)
{
	if (m->fd != -1)
		close(m->fd);
	if (m->var == NULL)
		return;
	if (m->hdr.type == MSG_DCS_VIEW) {
		struct view *v = view_decode(m->var, m->hdr.var_len);
		struct view *c = view_copy(v);

		if (v != NULL && !view_equal(v, c))
			abort();
		view_free(v);
		view_free(c);
	} else if (m->hdr.type != MSG_DCS_PEERS)
		tree_free(tree_decode(m->var, m->hdr.var_len));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ipc_msg m;
	struct link *l;
	int sv[2];
	size_t sent = 0;

	if (size < 1)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == -1)
		abort();
	l = link_open(sv[0], (enum proc)(data[0] % PROC_COUNT),
	    (enum proc)(data[0] / PROC_COUNT % PROC_COUNT), 4096);
	if (l == NULL)
		abort();
	data++;
	size--;
	while (sent < size) {
		ssize_t n = send(sv[1], data + sent, size - sent, MSG_DONTWAIT);
		int rc;

		if (n > 0)
			sent += (size_t)n;
		if (link_read(l) == -1)
			break;
		while ((rc = link_next(l, &m)) == 1)
			consume(&m);
		if (rc == -1)
			break;
	}
	link_close(l);
	close(sv[1]);
	return 0;
}
