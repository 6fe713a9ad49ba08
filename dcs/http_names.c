/*
 * http_names.c: see http_names.h.  The threads that ask are resolve.c's.
 */
#include <sys/queue.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../ipc/clock.h"
#include "../ipc/types.h"
#include "http_names.h"
#include "resolve.h"

#define MAX_KNOWN 32
#define KEEP_NS (600 * NS_PER_SEC)

struct known {
	TAILQ_ENTRY(known) entry;
	char host[URL_SIZE];
	struct addresses addresses;
	int64_t until;
};

struct names_query {
	LIST_ENTRY(names_query) entry;
	struct names *names;
	names_cb cb; /* NULL: cancelled */
	void *arg;
	char host[URL_SIZE];
};

struct names {
	struct resolver *resolver;
	TAILQ_HEAD(known_list, known) known; /* newest first */
	LIST_HEAD(, names_query) queries;
	uint32_t nknown;
};

static bool
add_address(struct addresses *list, const char *text)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in in = { .sin_family = AF_INET };

	if (list->count == HTTP_MAX_ADDRESSES)
		return false;
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
		memcpy(&list->a[list->count].sa, &in, sizeof(in));
		list->a[list->count++].len = sizeof(in);
		return true;
	}
	if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
		memcpy(&list->a[list->count].sa, &in6, sizeof(in6));
		list->a[list->count++].len = sizeof(in6);
		return true;
	}
	return false;
}

static void
forget(struct names *n, struct known *k)
{
	TAILQ_REMOVE(&n->known, k, entry);
	n->nknown--;
	free(k);
}

static void
remember(struct names *n, const char *host, const struct addresses *a)
{
	struct known *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return;
	(void)text_set(k->host, sizeof(k->host), host);
	k->addresses = *a;
	k->until = clock_boot_ns() + KEEP_NS;
	TAILQ_INSERT_HEAD(&n->known, k, entry);
	if (++n->nknown > MAX_KNOWN)
		forget(n, TAILQ_LAST(&n->known, known_list));
}

bool
names_known(struct names *n, const char *host, struct addresses *a)
{
	struct known *k, *next;

	a->count = 0;
	if (add_address(a, host))
		return true;
	for (k = TAILQ_FIRST(&n->known); k != NULL; k = next) {
		next = TAILQ_NEXT(k, entry);
		if (k->until < clock_boot_ns())
			forget(n, k);
		else if (strcasecmp(k->host, host) == 0) {
			*a = k->addresses;
			return true;
		}
	}
	return false;
}

static void
on_resolved(const struct tree *map, bool all, void *arg)
{
	struct names_query *q = arg;
	const struct tree *list = map == NULL ? NULL : tree_get(map, q->host);
	struct addresses a = { 0 };
	const struct tree *t;
	uint32_t i;

	(void)all;
	for (i = 0; list != NULL && i < tree_count(list); i++) {
		t = tree_child(list, i);
		if (t->type == TREE_TEXT)
			(void)add_address(&a, t->u.s);
	}
	if (a.count > 0)
		remember(q->names, q->host, &a);
	LIST_REMOVE(q, entry);
	if (q->cb != NULL)
		q->cb(&a, q->arg);
	free(q);
}

struct names_query *
names_ask(
    struct names *n, const char *host, int64_t deadline, names_cb cb, void *arg)
{
	struct names_query *q = calloc(1, sizeof(*q));
	struct tree *list = tree_list();
	bool started = false;

	if (q != NULL && list != NULL && tree_append(list, tree_text(host))) {
		q->names = n;
		q->cb = cb;
		q->arg = arg;
		(void)text_set(q->host, sizeof(q->host), host);
		started =
		    resolver_start(n->resolver, list, deadline, on_resolved, q);
	}
	tree_free(list);
	if (!started) {
		free(q);
		return NULL;
	}
	LIST_INSERT_HEAD(&n->queries, q, entry);
	return q;
}

void
names_cancel(struct names_query *q)
{
	if (q != NULL)
		q->cb = NULL;
}

struct names *
names_new(struct event_base *base)
{
	struct names *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	TAILQ_INIT(&n->known);
	LIST_INIT(&n->queries);
	if ((n->resolver = resolver_new(base)) == NULL) {
		free(n);
		return NULL;
	}
	resolver_quiet(n->resolver);
	return n;
}

void
names_free(struct names *n)
{
	struct names_query *q;
	struct known *k;

	resolver_free(n->resolver);
	while ((q = LIST_FIRST(&n->queries)) != NULL) {
		LIST_REMOVE(q, entry);
		free(q);
	}
	while ((k = TAILQ_FIRST(&n->known)) != NULL)
		forget(n, k);
	free(n);
}
