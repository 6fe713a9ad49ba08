/*
 * members.c: see members.h.
 */
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "members.h"

#define RESOLVE_NS (3 * NS_PER_SEC)
#define KNOWN_NS (60 * NS_PER_SEC) /* a known address lets in so long */
#define AGAIN_NS (1 * NS_PER_SEC)  /* between lookups for unknown clients */

struct members_waiter {
	STAILQ_ENTRY(members_waiter) entry;
	struct httpd_request *q;
	void (*handle)(struct rest *, struct httpd_request *);
};

/* Hosts of the members that are names; NULL when there is none. */
static struct tree *
names_of(const struct view *v)
{
	struct tree *list = NULL;
	char host[URL_SIZE];
	struct allow a;
	uint32_t i;

	for (i = 0; v != NULL && i < v->nmembers; i++) {
		if (!access_member_host(&v->members[i], host, sizeof(host)) ||
		    allow_parse(host, &a))
			continue;
		if (list == NULL && (list = tree_list()) == NULL)
			return NULL;
		(void)tree_append(list, tree_text(host));
	}
	return list;
}

/* Names that the last lookup was not about. */
static bool
any_new(const struct tree *asked, const struct tree *names)
{
	uint32_t i, j;

	for (i = 0; i < tree_count(names); i++) {
		for (j = 0; j < tree_count(asked); j++)
			if (strcmp(tree_child(asked, j)->u.s,
				tree_child(names, i)->u.s) == 0)
				break;
		if (j == tree_count(asked))
			return true;
	}
	return false;
}

static void
answered(struct rest *r, const struct ipc_msg *m, int lost, void *arg)
{
	STAILQ_HEAD(, members_waiter) mine = STAILQ_HEAD_INITIALIZER(mine);
	struct members_waiter *w;
	struct tree *map = NULL;

	(void)lost;
	(void)arg;
	r->resolving = false;
	if (m != NULL && m->hdr.type == MSG_DCS_ADDRESSES && m->var != NULL)
		map = tree_decode(m->var, m->hdr.var_len);
	if (map != NULL && map->type == TREE_MAP) {
		tree_free(r->addresses);
		r->addresses = map;
		r->addresses_ns = clock_boot_ns();
	} else
		tree_free(map); /* what is known serves until it is too old */
	STAILQ_CONCAT(&mine, &r->members_waiters);
	while ((w = STAILQ_FIRST(&mine)) != NULL) {
		STAILQ_REMOVE_HEAD(&mine, entry);
		w->handle(r, w->q);
		free(w);
	}
}

/* names is taken over. */
static bool
ask(struct rest *r, struct tree *names, int64_t now)
{
	uint8_t *var = NULL;
	size_t len = 0;

	if (r->resolving) {
		tree_free(names);
		return true;
	}
	tree_free(r->asked_names);
	r->asked_names = names;
	if (!tree_encode(names, &var, &len))
		return false;
	r->resolving =
	    r->ops.request(r->ops.ctx, PROC_DCS, MSG_DCS_RESOLVE, NULL, var,
		len, now + RESOLVE_NS, answered, NULL) != 0;
	r->resolved_ns = now;
	free(var);
	return r->resolving;
}

bool
members_wait(struct rest *r, struct httpd_request *q,
    void (*handle)(struct rest *, struct httpd_request *))
{
	int64_t now = clock_boot_ns();
	const struct view *v = rest_cached_view(r, now);
	struct members_waiter *w = NULL;
	struct tree *names;
	bool recent;

	if (!r->access.include_members)
		return false;
	if (r->addresses != NULL && now - r->addresses_ns > KNOWN_NS) {
		tree_free(r->addresses);
		r->addresses = NULL;
	}
	if (access_address_allowed(&r->access, &q->peer, v, r->addresses) ||
	    (names = names_of(v)) == NULL)
		return false;
	recent = !r->resolving && r->resolved_ns != 0 &&
	    now - r->resolved_ns < AGAIN_NS;
	if ((recent && !any_new(r->asked_names, names)) ||
	    (w = calloc(1, sizeof(*w))) == NULL) {
		tree_free(names);
		return false;
	}
	if (!ask(r, names, now)) {
		free(w);
		return false;
	}
	w->q = q;
	w->handle = handle;
	STAILQ_INSERT_TAIL(&r->members_waiters, w, entry);
	return true;
}

void
members_free(struct rest *r)
{
	struct members_waiter *w;

	while ((w = STAILQ_FIRST(&r->members_waiters)) != NULL) {
		STAILQ_REMOVE_HEAD(&r->members_waiters, entry);
		free(w);
	}
	tree_free(r->addresses);
	tree_free(r->asked_names);
}
