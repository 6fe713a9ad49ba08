/*
 * srv.c: see srv.h.
 *
 * c-ares says which sockets it watches and when it wants to be called; both
 * become libevent events.  A lookup has a channel of its own, so that it sees
 * the resolver configuration of its time.
 */
#include <sys/select.h>

#include <arpa/nameser.h>
#include <ares.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "srv.h"

#define MAX_SOCKETS 16
#define TRY_MS 1000
#define TRIES 3

struct watched {
	struct event *event;
	ares_socket_t fd;
};

struct srv_lookup {
	struct event_base *base;
	ares_channel channel;
	bool open;
	bool over; /* the answer is here, to be handed on by the timer */
	struct event *timer;
	struct watched sockets[MAX_SOCKETS];
	int64_t deadline;
	srv_done_cb cb;
	void *arg;
	struct srv_target targets[SRV_MAX_TARGETS];
	uint32_t n;
};

static void
lookup_free(struct srv_lookup *l)
{
	size_t i;

	l->cb = NULL; /* the channel's end runs the callback */
	if (l->open)
		ares_destroy(l->channel);
	for (i = 0; i < MAX_SOCKETS; i++)
		if (l->sockets[i].event != NULL)
			event_free(l->sockets[i].event);
	if (l->timer != NULL)
		event_free(l->timer);
	free(l);
}

/* When to be called again: c-ares' own time-out, or the deadline. */
static void
arm(struct srv_lookup *l)
{
	int64_t left = l->deadline - clock_boot_ns();
	struct timeval most, tv = { 0, 0 }, *next = &tv;

	if (left < 0)
		left = 0;
	most.tv_sec = left / NS_PER_SEC;
	most.tv_usec = left % NS_PER_SEC / 1000;
	if (!l->over)
		next = ares_timeout(l->channel, &most, &tv);
	evtimer_add(l->timer, next == NULL ? &most : next);
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct srv_lookup *l = arg;

	ares_process_fd(l->channel, (what & EV_READ) ? fd : ARES_SOCKET_BAD,
	    (what & EV_WRITE) ? fd : ARES_SOCKET_BAD);
	arm(l);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct srv_lookup *l = arg;
	struct srv_target targets[SRV_MAX_TARGETS];
	srv_done_cb cb = l->cb;
	void *cb_arg = l->arg;
	uint32_t n = l->n;

	(void)fd;
	(void)what;
	if (!l->over && clock_boot_ns() < l->deadline) {
		ares_process_fd(l->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
		arm(l);
		return;
	}
	memcpy(targets, l->targets, sizeof(targets));
	lookup_free(l);
	cb(targets, n, cb_arg);
}

static void
on_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct srv_lookup *l = arg;
	struct watched *w = NULL;
	short flags = EV_PERSIST;
	size_t i;

	for (i = 0; i < MAX_SOCKETS; i++) {
		if (l->sockets[i].event != NULL && l->sockets[i].fd == fd) {
			event_free(l->sockets[i].event);
			l->sockets[i].event = NULL;
		}
		if (l->sockets[i].event == NULL && w == NULL)
			w = &l->sockets[i];
	}
	if ((!readable && !writable) || w == NULL)
		return; /* without an event the time-out ends it */
	if (readable)
		flags |= EV_READ;
	if (writable)
		flags |= EV_WRITE;
	w->fd = fd;
	if ((w->event = event_new(l->base, fd, flags, on_socket, l)) != NULL)
		event_add(w->event, NULL);
}

static void
on_reply(void *arg, int status, int timeouts, unsigned char *reply, int len)
{
	struct ares_srv_reply *list = NULL, *r;
	struct srv_lookup *l = arg;

	(void)timeouts;
	if (l->cb == NULL)
		return; /* being freed */
	l->over = true;
	if (status != ARES_SUCCESS ||
	    ares_parse_srv_reply(reply, len, &list) != ARES_SUCCESS)
		return;
	for (r = list; r != NULL && l->n < SRV_MAX_TARGETS; r = r->next) {
		/* "." says that there is no such service */
		if (r->host == NULL || r->host[0] == '\0' ||
		    strcmp(r->host, ".") == 0 || r->port == 0 ||
		    !text_set(l->targets[l->n].host,
			sizeof(l->targets[l->n].host), r->host))
			continue;
		l->targets[l->n++].port = r->port;
	}
	ares_free_data(list);
}

struct srv_lookup *
srv_start(struct event_base *base, const char *name, int64_t deadline,
    srv_done_cb cb, void *arg)
{
	struct ares_options options = {
		.timeout = TRY_MS, .tries = TRIES, .sock_state_cb = on_state
	};
	struct srv_lookup *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->base = base;
	l->deadline = deadline;
	l->cb = cb;
	l->arg = arg;
	options.sock_state_cb_data = l;
	if ((l->timer = evtimer_new(base, on_timer, l)) == NULL ||
	    ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
	    ares_init_options(&l->channel, &options,
		ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB) !=
		ARES_SUCCESS) {
		lookup_free(l);
		return NULL;
	}
	l->open = true;
	ares_query(l->channel, name, ns_c_in, ns_t_srv, on_reply, l);
	arm(l);
	return l;
}

void
srv_cancel(struct srv_lookup *l)
{
	if (l != NULL)
		lookup_free(l);
}
