/*
 * resolve.c: see resolve.h.
 *
 * The resolver of libc blocks, so a thread asks it: one thread for the names
 * of one request.  Loop and thread share a job that the last of the two frees;
 * a thread that hangs in a dead name server is left behind at the deadline.
 */
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "../ipc/view.h"
#include "resolve.h"

#define MAX_ADDRESSES 16
#define ADDRESS_SIZE 64
#define STACK_SIZE (256 * 1024) /* getaddrinfo and the modules of nsswitch */

struct name {
	char host[URL_SIZE];
	bool failed;
	uint32_t count;
	char address[MAX_ADDRESSES][ADDRESS_SIZE];
};

/* Shared with the thread.  The results belong to the thread until it has
 * written to fd, then to the loop. */
struct job {
	atomic_int holders;
	int fd;
	uint32_t count;
	struct name names[];
};

struct lookup {
	LIST_ENTRY(lookup) entry;
	struct resolver *resolver;
	struct job *job;
	struct event *ev;
	resolve_done_cb cb;
	void *arg;
};

struct resolver {
	struct event_base *base;
	LIST_HEAD(, lookup) lookups;
	bool quiet;
};

static atomic_int threads;

static void
job_release(struct job *j)
{
	if (atomic_fetch_sub(&j->holders, 1) != 1)
		return;
	close(j->fd);
	free(j);
}

/* ---- in the thread ---- */

static void
resolve_one(struct name *n)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *ai;

	if (getaddrinfo(n->host, NULL, &hints, &list) != 0) {
		n->failed = true;
		return;
	}
	for (ai = list; ai != NULL && n->count < MAX_ADDRESSES;
	     ai = ai->ai_next)
		if (getnameinfo(ai->ai_addr, ai->ai_addrlen,
			n->address[n->count], ADDRESS_SIZE, NULL, 0,
			NI_NUMERICHOST) == 0)
			n->count++;
	freeaddrinfo(list);
}

static void *
thread_main(void *arg)
{
	const uint64_t one = 1;
	struct job *j = arg;
	uint32_t i;

	for (i = 0; i < j->count; i++)
		resolve_one(&j->names[i]);
	/* a new eventfd takes eight bytes at once, always */
	if (write(j->fd, &one, sizeof(one)) != sizeof(one))
		abort();
	job_release(j);
	atomic_fetch_sub(&threads, 1);
	return NULL;
}

static bool
thread_start(struct job *j)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t id;
	bool ok;

	if (atomic_fetch_add(&threads, 1) >= RESOLVER_THREADS) {
		atomic_fetch_sub(&threads, 1);
		return false;
	}
	atomic_fetch_add(&j->holders, 1);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ok = pthread_attr_init(&attr) == 0;
	if (ok) {
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		pthread_attr_setstacksize(&attr, STACK_SIZE);
		ok = pthread_create(&id, &attr, thread_main, j) == 0;
		pthread_attr_destroy(&attr);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!ok) {
		atomic_fetch_sub(&threads, 1);
		atomic_fetch_sub(&j->holders, 1);
	}
	return ok;
}

/* ---- in the loop ---- */

static struct tree *
to_map(const struct job *j, bool *all)
{
	struct tree *map = tree_map(), *list;
	const struct name *n;
	uint32_t i, a;

	*all = map != NULL;
	for (i = 0; map != NULL && i < j->count; i++) {
		n = &j->names[i];
		if (n->count == 0) {
			*all = false;
			continue;
		}
		if ((list = tree_list()) == NULL)
			continue;
		for (a = 0; a < n->count; a++)
			(void)tree_append(list, tree_text(n->address[a]));
		(void)tree_set(map, n->host, list);
	}
	return map;
}

static void
lookup_free(struct lookup *l)
{
	LIST_REMOVE(l, entry);
	if (l->ev != NULL)
		event_free(l->ev);
	job_release(l->job);
	free(l);
}

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct lookup *l = arg;
	struct tree *map = NULL;
	bool all = false, quiet = l->resolver->quiet;
	uint32_t i;

	(void)fd;
	if (what & EV_READ) {
		map = to_map(l->job, &all);
		for (i = 0; i < l->job->count; i++)
			if (l->job->names[i].failed && !quiet)
				log_warn("Failed to resolve %s",
				    l->job->names[i].host);
	} else if (!quiet)
		log_warn("Failed to resolve the members' names in time");
	l->cb(map, all, l->arg);
	tree_free(map);
	lookup_free(l);
}

static struct job *
job_new(const struct tree *names)
{
	uint32_t n = tree_count(names), i;
	struct job *j;

	if (n > MAX_MEMBERS)
		n = MAX_MEMBERS;
	if ((j = calloc(1, sizeof(*j) + n * sizeof(j->names[0]))) == NULL)
		return NULL;
	if ((j->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) == -1) {
		free(j);
		return NULL;
	}
	atomic_init(&j->holders, 1);
	for (i = 0; i < n; i++) {
		const struct tree *t = tree_child(names, i);

		if (t->type == TREE_TEXT && t->u.s[0] != '\0' &&
		    text_set(j->names[j->count].host, URL_SIZE, t->u.s))
			j->count++;
	}
	return j;
}

bool
resolver_start(struct resolver *r, const struct tree *names, int64_t deadline,
    resolve_done_cb cb, void *arg)
{
	int64_t left = deadline - clock_boot_ns();
	struct timeval tv = { 0, 0 };
	struct lookup *l;

	if (left > 0) {
		tv.tv_sec = left / NS_PER_SEC;
		tv.tv_usec = left % NS_PER_SEC / 1000;
	}
	if ((l = calloc(1, sizeof(*l))) == NULL)
		return false;
	if ((l->job = job_new(names)) == NULL) {
		free(l);
		return false;
	}
	l->resolver = r;
	l->cb = cb;
	l->arg = arg;
	LIST_INSERT_HEAD(&r->lookups, l, entry);
	l->ev = event_new(r->base, l->job->fd, EV_READ, on_event, l);
	if (l->ev == NULL || event_add(l->ev, &tv) == -1 ||
	    !thread_start(l->job)) {
		lookup_free(l);
		return false;
	}
	return true;
}

void
resolver_quiet(struct resolver *r)
{
	r->quiet = true;
}

int
resolver_threads(void)
{
	return atomic_load(&threads);
}

struct resolver *
resolver_new(struct event_base *base)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->base = base;
	LIST_INIT(&r->lookups);
	return r;
}

void
resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	while (!LIST_EMPTY(&r->lookups))
		lookup_free(LIST_FIRST(&r->lookups));
	free(r);
}
