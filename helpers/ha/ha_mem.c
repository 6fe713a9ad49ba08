/*
 * ha_mem.c: the memory of the HA core: copies of events, views kept while a
 * state refers to them, trees that live until the next event.  No rules here.
 *
 * Memory that cannot be had ends the process: a controller that decides on
 * half a state is worse than one that is restarted beside its database.
 */
#include <stdlib.h>

#include "ha_int.h"

void *
ha_alloc(size_t size)
{
	void *p = calloc(1, size);

	if (p == NULL)
		abort();
	return p;
}

static void *
dup_bytes(const void *src, size_t size)
{
	void *p = ha_alloc(size);

	memcpy(p, src, size);
	return p;
}

static struct tree *
dup_tree(const struct tree *t)
{
	struct tree *copy;

	if (t == NULL)
		return NULL;
	copy = tree_copy(t);
	if (copy == NULL)
		abort();
	return copy;
}

/* One that is empty most of the time. */
static void
copy_seldom(char *to, size_t size, const char *from)
{
	if (from[0] == '\0')
		to[0] = '\0';
	else
		(void)text_set(to, size, from);
}

/* A member that is none: its texts are long, so they are emptied, not
 * cleared. */
void
job_no_node(struct ha_job *job)
{
	struct view_member *m = &job->node;

	m->name[0] = m->conn_url[0] = m->api_url[0] = m->proxy_url[0] = '\0';
	m->state[0] = m->role[0] = m->version[0] = '\0';
	m->replication_state[0] = m->session[0] = '\0';
	memset(&m->token, 0, sizeof(*m) - offsetof(struct view_member, token));
}

void
ha_job_copy(struct ha_job *to, const struct ha_job *from)
{
	memcpy(to, from, offsetof(struct ha_job, node));
	if (from->has_node)
		to->node = from->node;
	else
		job_no_node(to);
	copy_seldom(to->text, sizeof(to->text), from->text);
}

void
ha_pg_copy(struct ha_pg *to, const struct ha_pg *from)
{
	memcpy(to, from, offsetof(struct ha_pg, datadir_error));
	copy_seldom(
	    to->datadir_error, sizeof(to->datadir_error), from->datadir_error);
	copy_seldom(
	    to->slots_to_copy, sizeof(to->slots_to_copy), from->slots_to_copy);
	copy_seldom(to->ssn, sizeof(to->ssn), from->ssn);
	if (to->nsenders > MAX_MEMBERS)
		to->nsenders = MAX_MEMBERS;
	memcpy(
	    to->senders, from->senders, to->nsenders * sizeof(to->senders[0]));
}

static void
copy_failsafe(struct failsafe_record *to, const struct failsafe_record *from)
{
	/* none is most of the time, and has nothing in it */
	if (to->until == 0 && from->until == 0)
		return;
	memcpy(to, from,
	    offsetof(struct failsafe_record, slots) +
		from->nslots * sizeof(from->slots[0]));
}

static void
copy_restart(struct scheduled_restart *to, const struct scheduled_restart *from)
{
	if (to->set || from->set)
		*to = *from;
}

static void
copy_sync(struct sync_memory *to, const struct sync_memory *from)
{
	memcpy(to, from, offsetof(struct sync_memory, seen));
	copy_seldom(to->seen, sizeof(to->seen), from->seen);
	memcpy(to->ready, from->ready, from->nready * sizeof(from->ready[0]));
}

void
state_copy(struct state *to, const struct state *from)
{
	memcpy(to, from, offsetof(struct state, failsafe));
	copy_failsafe(&to->failsafe, &from->failsafe);
	memcpy(to->failsafe_members, from->failsafe_members,
	    from->nfailsafe_members * sizeof(from->failsafe_members[0]));
	copy_restart(&to->restart, &from->restart);
	copy_sync(&to->sync, &from->sync);
	memcpy(to->retained, from->retained,
	    from->nretained * sizeof(from->retained[0]));
}

void
pass_begin(struct pass *p)
{
	static const struct ha_pg none;

	memset(p, 0, offsetof(struct pass, pg));
	ha_pg_copy(&p->pg, &none);
	p->remote.name[0] = p->msg[0] = p->rule[0] = '\0';
}

static void
copy_pg(struct ha *h, struct event *e)
{
	e->pg = h->spare_pg != NULL ? h->spare_pg : malloc(sizeof(*e->pg));
	h->spare_pg = NULL;
	if (e->pg == NULL)
		abort();
	ha_pg_copy(e->pg, e->ev.pg);
	e->slots = tree_share(e->pg->slots);
	e->reason = dup_tree(e->pg->pending_restart_reason);
	e->pg->slots = e->slots;
	e->pg->pending_restart_reason = e->reason;
	e->ev.pg = e->pg;
}

static void
copy_config(struct event *e)
{
	e->config = dup_bytes(e->ev.config, sizeof(*e->config));
	e->tags = dup_tree(e->config->tags_doc);
	e->dynamic = dup_tree(e->config->dynamic);
	e->config->tags_doc = e->tags;
	e->config->dynamic = e->dynamic;
	e->ev.config = e->config;
}

static struct event *
event_new(struct ha *h)
{
	struct event *e = h->spare;

	if (e == NULL)
		return ha_alloc(sizeof(*e));
	h->spare = e->next;
	h->nspare--;
	memset(e, 0, sizeof(*e));
	return e;
}

struct event *
event_copy(struct ha *h, const struct ha_ev *ev)
{
	struct event *e = event_new(h);

	e->ev = *ev;
	e->at = h->now;
	e->ev.view = e->view = view_share(ev->view);
	if (ev->pg != NULL)
		copy_pg(h, e);
	if (ev->control != NULL)
		e->ev.control = e->control =
		    dup_bytes(ev->control, sizeof(*e->control));
	if (ev->divergence != NULL)
		e->ev.divergence = e->divergence =
		    dup_bytes(ev->divergence, sizeof(*e->divergence));
	if (ev->npeers > MAX_MEMBERS)
		e->ev.npeers = MAX_MEMBERS;
	if (ev->peers != NULL && e->ev.npeers > 0)
		e->ev.peers = e->peers =
		    dup_bytes(ev->peers, e->ev.npeers * sizeof(*e->peers));
	else
		e->ev.npeers = 0;
	if (ev->req != NULL)
		e->ev.req = e->req = dup_bytes(ev->req, sizeof(*e->req));
	if (ev->config != NULL)
		copy_config(e);
	e->ev.doc = e->doc = dup_tree(ev->doc);
	if (ev->error != NULL)
		e->ev.error = e->error =
		    dup_bytes(ev->error, strlen(ev->error) + 1);
	return e;
}

void
ha_event_free(struct ha *h, struct event *e)
{
	if (e == NULL)
		return;
	view_free(e->view);
	tree_free(e->slots);
	tree_free(e->reason);
	tree_free(e->doc);
	tree_free(e->tags);
	tree_free(e->dynamic);
	if (h->spare_pg == NULL)
		h->spare_pg = e->pg;
	else
		free(e->pg);
	free(e->control);
	free(e->divergence);
	free(e->peers);
	free(e->req);
	free(e->config);
	free(e->error);
	if (h->nspare == MAX_SPARE) {
		free(e);
		return;
	}
	e->next = h->spare;
	h->spare = e;
	h->nspare++;
}

static void *
grow(void *v, uint32_t *cap, uint32_t n, size_t size)
{
	uint32_t want;

	if (n < *cap)
		return v;
	want = *cap == 0 ? 16 : *cap * 2;
	v = reallocarray(v, want, size);
	if (v == NULL)
		abort();
	*cap = want;
	return v;
}

const struct view *
keep_view(struct ha *h, struct view *v)
{
	h->views = grow(h->views, &h->views_cap, h->nviews, sizeof(*h->views));
	h->views[h->nviews++] = v;
	return v;
}

/* Free the views that neither the state nor its snapshot refers to. */
void
drop_views(struct ha *h)
{
	uint32_t i, kept = 0;

	for (i = 0; i < h->nviews; i++) {
		struct view *v = h->views[i];

		if (v == h->s.view || v == h->s.old_view)
			h->views[kept++] = v;
		else
			view_free(v);
	}
	h->nviews = kept;
}

struct tree *
keep_tree(struct ha *h, struct tree *t)
{
	if (t == NULL)
		abort();
	h->trees = grow(h->trees, &h->trees_cap, h->ntrees, sizeof(*h->trees));
	h->trees[h->ntrees++] = t;
	return t;
}

void *
keep_bytes(struct ha *h, size_t size)
{
	h->blobs = grow(h->blobs, &h->blobs_cap, h->nblobs, sizeof(*h->blobs));
	return h->blobs[h->nblobs++] = ha_alloc(size);
}

void
drop_trees(struct ha *h)
{
	uint32_t i;

	for (i = 0; i < h->nblobs; i++)
		free(h->blobs[i]);
	h->nblobs = 0;
	for (i = 0; i < h->ntrees; i++)
		tree_free(h->trees[i]);
	h->ntrees = 0;
}

void
map_set(struct tree *map, const char *key, struct tree *value)
{
	if (value == NULL || !tree_set(map, key, value))
		abort();
}

void
list_add(struct tree *list, struct tree *value)
{
	if (value == NULL || !tree_append(list, value))
		abort();
}
