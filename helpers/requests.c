/*
 * requests.c: requests in flight: a bounded table, one timer for the nearest
 * deadline, and callbacks that run exactly once.
 *
 * An id carries the slot in its low bits, so a reply finds its request
 * without a search, and a serial number above, so a late reply cannot be
 * taken for the answer to a later request.
 */
#include <sys/mman.h>
#include <sys/timerfd.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "runtime_int.h"

#define SLOTS_SIZE (MAX_REQUESTS * sizeof(struct request))

static void
arm(struct requests *r, int64_t at)
{
	struct itimerspec its;

	if (at == r->armed_ns)
		return;
	memset(&its, 0, sizeof(its));
	its.it_value.tv_sec = at / NS_PER_SEC;
	its.it_value.tv_nsec = at % NS_PER_SEC;
	if (timerfd_settime(r->timer_fd, TFD_TIMER_ABSTIME, &its, NULL) == -1)
		fatal("timerfd_settime: %s", strerror(errno));
	r->armed_ns = at;
}

/* Set the timer to the nearest deadline, or off. */
static void
rearm(struct requests *r)
{
	const struct request *q;
	int64_t nearest = 0;

	TAILQ_FOREACH(q, &r->active, entry)
	if (nearest == 0 || q->deadline_ns < nearest)
		nearest = q->deadline_ns;
	arm(r, nearest);
}

/* Slots that were never used are not touched: they cost no memory. */
static struct request *
unused(struct requests *r)
{
	struct request *q = TAILQ_FIRST(&r->idle);

	if (q == NULL && r->touched < MAX_REQUESTS) {
		q = &r->slots[r->touched++];
		TAILQ_INSERT_HEAD(&r->idle, q, entry);
	}
	return q;
}

static void
release(struct requests *r, struct request *q)
{
	TAILQ_REMOVE(&r->active, q, entry);
	TAILQ_INSERT_HEAD(&r->idle, q, entry);
	q->id = 0;
	/* A timer that is set too early is corrected when it fires. */
	if (TAILQ_EMPTY(&r->active))
		arm(r, 0);
}

/* Free the slot first: the callback may make requests. */
static void
finish(
    struct helper *h, struct request *q, const struct ipc_msg *reply, int lost)
{
	helper_reply_cb cb = q->cb;
	void *arg = q->arg;

	release(&h->requests, q);
	cb(h, reply, lost, arg);
}

static struct request *
find(struct requests *r, uint64_t id)
{
	struct request *q = &r->slots[id % MAX_REQUESTS];

	return id != 0 && q->id == id ? q : NULL;
}

static struct request *
first_due(struct requests *r, int64_t now)
{
	struct request *q;

	TAILQ_FOREACH(q, &r->active, entry)
	if (q->deadline_ns <= now)
		return q;
	return NULL;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct helper *h = arg;
	struct requests *r = &h->requests;
	struct request *q;
	uint64_t count;
	int64_t now = clock_boot_ns();

	(void)what;
	if (read(fd, &count, sizeof(count)) == -1 && errno != EAGAIN)
		log_error("request timer: %s", strerror(errno));
	r->armed_ns = 0;
	/* From the start each time: a callback may change the list.  It ends,
	 * since `now` stands still and new deadlines lie after it. */
	while (!h->ended && (q = first_due(r, now)) != NULL)
		finish(h, q, NULL, ETIMEDOUT);
	rearm(r);
}

bool
requests_init(struct helper *h)
{
	struct requests *r = &h->requests;

	TAILQ_INIT(&r->active);
	TAILQ_INIT(&r->idle);
	/* not of the heap, where it would be cleared, and so be had, at once */
	r->slots = mmap(NULL, SLOTS_SIZE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r->slots == MAP_FAILED)
		return false;
	r->timer_fd =
	    timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (r->timer_fd == -1)
		return false;
	r->timer =
	    event_new(h->base, r->timer_fd, EV_READ | EV_PERSIST, on_timer, h);
	return r->timer != NULL && event_add(r->timer, NULL) == 0;
}

void
requests_free(struct helper *h)
{
	event_free(h->requests.timer);
	close(h->requests.timer_fd);
	(void)munmap(h->requests.slots, SLOTS_SIZE);
}

uint64_t
helper_request(struct helper *h, enum proc to, uint16_t type, const void *body,
    const void *var, size_t var_len, int fd, int64_t deadline_ns,
    helper_reply_cb cb, void *arg)
{
	struct requests *r = &h->requests;
	struct peer *p = peer_find(h, to);
	struct request *q = unused(r);
	int64_t now = clock_boot_ns();
	uint64_t id;

	if (p == NULL)
		return 0;
	if (q == NULL) {
		errno = ENOBUFS;
		return 0;
	}
	/* A deadline in the past is one that passes in the next round. */
	if (deadline_ns <= now)
		deadline_ns = now + 1;
	id = ++r->serial * MAX_REQUESTS + (uint64_t)(q - r->slots);
	if (peer_sent(p,
		link_send(p->link, type, 0, id, deadline_ns, body, var, var_len,
		    fd)) == -1)
		return 0;
	TAILQ_REMOVE(&r->idle, q, entry);
	TAILQ_INSERT_TAIL(&r->active, q, entry);
	q->id = id;
	q->to = to;
	q->deadline_ns = deadline_ns;
	q->cb = cb;
	q->arg = arg;
	if (r->armed_ns == 0 || deadline_ns < r->armed_ns)
		arm(r, deadline_ns);
	return id;
}

void
helper_forget(struct helper *h, uint64_t id)
{
	struct request *q = find(&h->requests, id);

	if (q != NULL)
		release(&h->requests, q);
}

bool
requests_answered(struct helper *h, enum proc from, const struct ipc_msg *msg)
{
	struct request *q = find(&h->requests, msg->hdr.id);

	if (q == NULL || q->to != from)
		return false;
	finish(h, q, msg, 0);
	return true;
}

static struct request *
first_to(struct requests *r, enum proc to, uint64_t before)
{
	struct request *q;

	TAILQ_FOREACH(q, &r->active, entry)
	if (q->to == to && q->id / MAX_REQUESTS <= before)
		return q;
	return NULL;
}

void
requests_lost(struct helper *h, enum proc to)
{
	struct requests *r = &h->requests;
	uint64_t before = r->serial; /* not those that a callback makes */
	struct request *q;

	while (!h->ended && (q = first_to(r, to, before)) != NULL)
		finish(h, q, NULL, EPIPE);
}
