/*
 * ha_publish.c: what this node tells about itself: the member key (spec
 * 7.6, dcs.md 2.6), /status with its slots, and the REST snapshot.
 */
#include <stdlib.h>
#include <strings.h>

#include "ha_int.h"

/* ---- member key ---- */

static bool
lsn_block_allowed(const struct ha *h)
{
	enum pg_state s = h->p.pg.state;

	if (busy(h) && h->s.action.kind != ACTION_PROMOTE)
		return false;
	return s == STATE_RUNNING || s == STATE_RESTARTING ||
	    s == STATE_STARTING;
}

static void
fill_lsn_block(struct ha *h, struct msg_dcs_touch *t)
{
	const struct ha_pg *pg = &h->p.pg;

	if (!pg->query_ok || !lsn_block_allowed(h))
		return;
	t->has_lsn = 1;
	t->xlog_location = pg->wal_position;
	if (pg->is_primary) {
		t->timeline = pg->timeline;
	} else {
		t->receive_lsn = pg->receive_lsn;
		t->replay_lsn = pg->replay_lsn;
		t->timeline = pg->received_timeline;
		memcpy(t->replication_state, pg->replication_state,
		    sizeof(t->replication_state));
		h->s.last_timeline = pg->received_timeline;
	}
	h->s.last_wal = pg->wal_position;
}

static void
schedule_key(struct tree *t, const struct msg_request *r, enum restart_key key)
{
	switch (key) {
	case RESTART_KEY_SCHEDULE:
		map_set(t, "schedule", tree_text(r->schedule));
		break;
	case RESTART_KEY_ROLE:
		if (r->has_role)
			map_set(t, "role", tree_text(pg_role_name(r->role)));
		break;
	case RESTART_KEY_VERSION:
		if (r->postgres_version_text[0] != '\0')
			map_set(t, "postgres_version",
			    tree_text(r->postgres_version_text));
		break;
	case RESTART_KEY_TIMEOUT:
		if (r->timeout >= 0)
			map_set(t, "timeout", tree_int(r->timeout));
		break;
	case RESTART_KEY_PENDING:
		if (r->restart_pending)
			map_set(t, "restart_pending", tree_bool(true));
		break;
	case RESTART_KEY_COUNT:
		break;
	}
}

/* In the order of the request (rest-api.md 5.4). */
static struct tree *
schedule_tree(const struct ha *h)
{
	const struct scheduled_restart *s = &h->s.restart;
	struct tree *t = tree_map();
	int i;

	if (t == NULL)
		abort();
	for (i = 0; i < RESTART_KEY_COUNT; i++)
		schedule_key(t, &s->req, s->order[i]);
	if (s->postmaster_start[0] != '\0')
		map_set(
		    t, "postmaster_start_time", tree_text(s->postmaster_start));
	return t;
}

/* The configured ones, adjusted while this node leaves the sync set. */
static struct tree *
member_tags(const struct ha *h)
{
	struct tree *tags;

	tags = h->tags_doc == NULL ? tree_map() : tree_copy(h->tags_doc);
	if (tags == NULL)
		abort();
	if (h->s.disable_sync > 0) {
		map_set(tags, "nosync", tree_bool(true));
		map_set(tags, "sync_priority", tree_int(0));
	}
	return tags;
}

/* Nothing but the tags is what there is to tell most of the time. */
static struct tree *
plain_document(struct ha *h)
{
	if (h->plain_doc == NULL) {
		h->plain_doc = tree_map();
		map_set(h->plain_doc, "tags", member_tags(h));
	}
	return h->plain_doc;
}

static struct tree *
member_document(struct ha *h)
{
	struct tree *doc;

	if (h->s.disable_sync == 0 && !h->s.restart.set &&
	    h->p.pg.pending_restart_reason == NULL)
		return plain_document(h);
	doc = keep_tree(h, tree_map());
	map_set(doc, "tags", member_tags(h));
	if (h->p.pg.pending_restart_reason != NULL)
		map_set(doc, "pending_restart_reason",
		    tree_copy(h->p.pg.pending_restart_reason));
	if (h->s.restart.set)
		map_set(doc, "scheduled_restart", schedule_tree(h));
	return doc;
}

static uint64_t
publish(struct ha *h)
{
	struct ha_fx *fx = dcs_new(h, OP_TOUCH);
	struct msg_dcs_touch *t = &fx->dcs.u.touch;
	uint64_t id = fx->id;

	(void)text_set(t->conn_url, sizeof(t->conn_url), h->conf.conn_url);
	(void)text_set(t->api_url, sizeof(t->api_url), h->conf.api_url);
	(void)text_set(t->proxy_url, sizeof(t->proxy_url), h->conf.proxy_url);
	t->state = (uint32_t)h->p.pg.state;
	t->role = (uint32_t)h->s.role;
	t->checkpoint_pending = trusted(h) && h->s.rewind != REWIND_CHECKPOINT;
	t->pending_restart = h->p.pg.pending_restart;
	t->pause = h->s.opt.pause;
	fill_lsn_block(h, t);
	if (fx != &h->scratch)
		fx->dcs.doc = member_document(h);
	return id;
}

void
publish_member(struct ha *h)
{
	(void)publish(h);
}

enum rc
publish_member_wait(struct ha *h, enum outcome *outcome)
{
	return dcs_wait(h, publish(h), outcome, NULL);
}

/* ---- /status and /failsafe beside the lock (7.5) ---- */

static void
retain(struct ha *h, const char *slot)
{
	uint32_t i;

	for (i = 0; i < h->s.nretained; i++)
		if (strcmp(h->s.retained[i].slot, slot) == 0)
			break;
	if (i == sizeof(h->s.retained) / sizeof(h->s.retained[0]))
		return;
	if (i == h->s.nretained)
		h->s.nretained++;
	(void)text_set(
	    h->s.retained[i].slot, sizeof(h->s.retained[i].slot), slot);
	h->s.retained[i].seen = h->p.now;
}

static int
by_slot(const void *a, const void *b)
{
	const struct retained *x = a, *y = b;

	return strcmp(x->slot, y->slot);
}

/*
 * dcs.md 2.7: slots of members, kept for a while after they went.
 */
static struct tree *
retained_slots(struct ha *h, const struct tree *slots)
{
	const struct view *v = h->s.view;
	int64_t keep = h->s.opt.member_slots_ttl * NS_PER_SEC;
	struct tree *list = tree_list();
	char slot[64];
	uint32_t i, n = 0;

	if (h->s.nretained == 0)
		for (i = 0; i < v->nretain; i++)
			if (strlen(v->retain_slots[i]) < sizeof(slot))
				retain(h, v->retain_slots[i]);
	for (i = 0; i < v->nmembers; i++) {
		ha_slot_name(v->members[i].name, slot);
		if (tree_get(slots, slot) != NULL &&
		    (is_me(h, v->members[i].name) ||
			!v->members[i].tags.nostream))
			retain(h, slot);
	}
	if (BROKEN(h, SLOT_RETENTION))
		h->s.nretained = 0;
	for (i = 0; i < h->s.nretained; i++) {
		if (h->s.retained[i].seen + keep <= h->p.now &&
		    !BROKEN(h, SLOT_EXPIRY)) {
			ha_log(h, LOG_LVL_INFO, "slots.expired",
			    "Replication slot '%s' for absent cluster member "
			    "is expired after %lld sec.",
			    h->s.retained[i].slot,
			    (long long)h->s.opt.member_slots_ttl);
			continue;
		}
		h->s.retained[n++] = h->s.retained[i];
	}
	h->s.nretained = n;
	qsort(h->s.retained, n, sizeof(h->s.retained[0]), by_slot);
	for (i = 0; i < n; i++)
		list_add(list, tree_text(h->s.retained[i].slot));
	return list;
}

static struct tree *
failsafe_document(struct ha *h)
{
	const struct view *v = h->s.view;
	struct tree *map = tree_map();
	uint32_t i;

	for (i = 0; i < v->nmembers; i++)
		if (v->members[i].api_url[0] != '\0')
			map_set(map, v->members[i].name,
			    tree_text(v->members[i].api_url));
	map_set(map, h->conf.name, tree_text(h->conf.api_url));
	return map;
}

/* Variable part of an update: slots, retain_slots, failsafe. */
struct tree *
status_document(struct ha *h, bool with_status)
{
	struct tree *doc = keep_tree(h, tree_map()), *slots;
	char own[64];

	if (h->s.opt.failsafe)
		map_set(doc, "failsafe", failsafe_document(h));
	if (!with_status || h->p.pg.server_version < 110000 ||
	    h->p.pg.slots == NULL)
		return doc;
	slots = tree_copy(h->p.pg.slots);
	if (h->s.opt.member_slots_ttl > 0) {
		ha_slot_name(h->conf.name, own);
		map_set(slots, own, tree_int((int64_t)h->p.pg.wal_position));
		map_set(doc, "retain_slots", retained_slots(h, slots));
	}
	map_set(doc, "slots", slots);
	return doc;
}

/* ---- what others may read ---- */

enum pg_role
ha_role(const struct ha *h)
{
	return h->s.role;
}

int64_t
ha_trusted_until(const struct ha *h)
{
	return h->s.trusted;
}

bool
ha_paused(const struct ha *h)
{
	return h->s.opt.pause;
}

const struct view *
ha_view(const struct ha *h)
{
	return h->s.view;
}

void
ha_status(const struct ha *h, int64_t now, struct msg_status *m)
{
	const struct state *s = &h->s;
	const struct view *v = s->view;

	m->stamp_ns = now;
	m->trusted_until_ns = s->trusted > now ? s->trusted : 0;
	m->failsafe_until_ns = s->failsafe.until > now ? s->failsafe.until : 0;
	m->next_run_ns = s->next_run;
	m->view_until_ns = v == NULL ? 0 : s->view_until;
	m->dcs_last_seen = s->last_seen_us / 1000000;
	m->ttl_ns = ttl_ns(h);
	m->loop_ns = s->loop_ns;
	m->cycles = s->cycles;
	m->optime = v == NULL ? 0 : v->optime;
	m->maximum_lag_on_failover = s->opt.maximum_lag;
	m->role = (uint32_t)s->role;
	m->state = (uint32_t)s->pg_state;
	m->pause = s->opt.pause;
	m->cluster_unlocked =
	    v == NULL || s->view_until <= now || view_unlocked(v);
	m->standby_cluster = s->opt.standby_cluster;
	m->synchronous_mode = (uint32_t)s->opt.sync_mode;
	m->sync_standby = v != NULL && sync_active(h) &&
	    strcasecmp(v->sync_leader, h->conf.name) != 0 &&
	    sync_listed(h, h->conf.name);
	m->failsafe_mode = s->opt.failsafe;
	m->watchdog_failed =
	    s->wd_unhealthy && h->conf.watchdog_mode == WATCHDOG_REQUIRED;
	m->nostream = h->conf.tags.nostream;
	m->noloadbalance = h->conf.tags.noloadbalance;
	m->leader[0] = '\0';
	if (v != NULL && s->view_until > now)
		memcpy(m->leader, v->leader, sizeof(m->leader));
}

void
ha_status_document(const struct ha *h, struct tree *doc)
{
	map_set(doc, "tags", member_tags(h));
	if (h->s.restart.set)
		map_set(doc, "scheduled_restart", schedule_tree(h));
}
