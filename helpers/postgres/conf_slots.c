/*
 * conf_slots.c: which replication slots a node should have
 * (spec/postgres.md 17.1, 17.2, 17.5, 17.8).  Pure functions of view,
 * dynamic document and role; creating and advancing is the controller's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/view_rules.h"
#include "../../ipc/log.h"
#include "../../ipc/values.h"
#include "../ha/ha.h"
#include "conf_util.h"

struct work {
	const struct pgslots_in *in;
	bool quiet;
	bool leader_like;
	bool can_advance;
	bool standby_cluster;
	struct pgslots *out;
};

static bool
use_slots(const struct pgslots_in *in)
{
	return tree_boolean(
	    tree_path(in->dynamic, "postgresql.use_slots"), true);
}

static int64_t
slots_ttl(const struct tree *dynamic)
{
	const struct tree *t = tree_get(dynamic, "member_slots_ttl");
	int64_t v = 1800;
	char *s;

	if (t == NULL || t->type == TREE_MAP || t->type == TREE_LIST)
		return v;
	s = scalar_text(t);
	if (!value_int(s, "s", &v))
		v = 1800;
	free(s);
	return v;
}

static struct pgslot *
find(struct pgslots *s, const char *name)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].name, name) == 0)
			return &s->v[i];
	return NULL;
}

static struct pgslot *
add(struct pgslots *s, const char *name)
{
	struct pgslot *slot;

	if (s->n == MAX_SLOTS) {
		s->dropped++;
		return NULL;
	}
	slot = &s->v[s->n];
	memset(slot, 0, sizeof(*slot));
	if (!text_set(slot->name, sizeof(slot->name), name))
		return NULL;
	s->n++;
	return slot;
}

static uint64_t
status_lsn(const struct view *v, const char *name)
{
	for (uint32_t i = 0; i < v->nslots; i++)
		if (strcmp(v->slots[i].name, name) == 0)
			return v->slots[i].lsn;
	return 0;
}

/* ---- member slots ---- */

static bool
should_connect(const struct work *w, const struct view_member *m)
{
	const char *from = m->tags.replicatefrom;
	const struct view *v = w->in->view;

	if (w->leader_like)
		return from[0] == '\0' || strcmp(from, w->in->name) == 0 ||
		    view_member(v, from) == NULL;
	return strcmp(from, w->in->name) == 0 &&
	    strcmp(m->name, v->leader) != 0;
}

/* A leader before 4.0.0 does not keep the slots of cascading members. */
static bool
old_leader(const struct view *v)
{
	const struct view_member *m =
	    v->leader[0] == '\0' ? NULL : view_member(v, v->leader);
	char *end;
	long major;

	if (m == NULL || m->version[0] == '\0')
		return false;
	major = strtol(m->version, &end, 10);
	return end != m->version && major < 4;
}

static void
member_slot(struct work *w, const struct view_member *m, bool connects)
{
	const struct view *v = w->in->view;
	struct pgslot *slot;
	char name[64];

	ha_slot_name(m->name, name);
	slot = find(w->out, name);
	if (slot != NULL && !w->quiet)
		log_error("Following cluster members share a replication slot "
			  "name: %s and another map to %s",
		    m->name, name);
	if (slot == NULL)
		slot = add(w->out, name);
	if (slot == NULL)
		return;
	slot->expected_active |= connects;
	if (slot->lsn == 0)
		slot->lsn = status_lsn(v, name);
	if ((m->tags.replicatefrom[0] != '\0' || old_leader(v)) &&
	    m->xlog_location > slot->lsn)
		slot->lsn = m->xlog_location;
}

static void
member_slots(struct work *w)
{
	const struct view *v = w->in->view;
	bool all = w->can_advance && slots_ttl(w->in->dynamic) > 0;
	char own[64];

	for (uint32_t i = 0; i < v->nmembers; i++) {
		const struct view_member *m = &v->members[i];
		bool connects;

		if (strcmp(m->name, w->in->name) == 0 || m->tags.nostream)
			continue;
		connects = should_connect(w, m);
		if (!connects &&
		    (!all ||
			(w->in->tags->nofailover &&
			    strcmp(m->tags.replicatefrom, w->in->name) != 0)))
			continue;
		member_slot(w, m, connects);
	}
	if (w->in->tags->nofailover)
		return;
	ha_slot_name(w->in->name, own);
	for (uint32_t i = 0; i < v->nretain; i++)
		if (strcmp(v->retain_slots[i], own) != 0 &&
		    find(w->out, v->retain_slots[i]) == NULL)
			add(w->out, v->retain_slots[i]);
}

/* ---- permanent slots ---- */

static const struct tree *
permanent_map(const struct tree *dynamic)
{
	static const char *const keys[] = { "permanent_replication_slots",
		"permanent_slots", "slots" };

	for (size_t i = 0; i < 3; i++) {
		const struct tree *t = tree_get(dynamic, keys[i]);

		if (tree_truthy(t) && t->type == TREE_MAP)
			return t;
	}
	return NULL;
}

static bool
valid_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n >= 1 && n <= 63 && s[n] == '\0';
}

static const char *
text_of(const struct tree *map, const char *key)
{
	const struct tree *t = tree_get(map, key);

	return t != NULL && t->type == TREE_TEXT ? t->u.s : "";
}

/* 1 logical, 0 physical, -1 neither */
static int
slot_type(const struct tree *t)
{
	const char *type = text_of(t, "type");
	bool both = text_of(t, "database")[0] != '\0' &&
	    text_of(t, "plugin")[0] != '\0';

	if (t->type == TREE_NULL || !tree_truthy(t))
		return 0;
	if (t->type != TREE_MAP)
		return -1;
	if (tree_get(t, "type") == NULL)
		return both;
	if (strcmp(type, "physical") == 0)
		return 0;
	return strcmp(type, "logical") == 0 && both ? 1 : -1;
}

/* cluster_type: primary or standby; absent or foreign text = both. */
static bool
in_this_cluster(const struct work *w, const struct tree *t)
{
	const char *type = text_of(t, "cluster_type");

	if (strcmp(type, "primary") == 0)
		return !w->standby_cluster;
	if (strcmp(type, "standby") == 0)
		return w->standby_cluster;
	return true;
}

/* The cascading member (with replicatefrom) that uses this slot name. */
static const struct view_member *
cascading(const struct view *v, const char *slot)
{
	char name[64];

	for (uint32_t i = 0; i < v->nmembers; i++) {
		if (v->members[i].tags.replicatefrom[0] == '\0')
			continue;
		ha_slot_name(v->members[i].name, name);
		if (strcmp(name, slot) == 0)
			return &v->members[i];
	}
	return NULL;
}

static void
permanent_physical(struct work *w, const struct tree *t)
{
	const struct view_member *m = cascading(w->in->view, t->key);
	struct pgslot *slot;
	char own[64];

	ha_slot_name(w->in->name, own);
	slot = find(w->out, t->key);
	if (slot != NULL) {
		slot->permanent = true;
		return;
	}
	if (strcmp(t->key, own) == 0)
		return;
	slot = add(w->out, t->key);
	if (slot == NULL)
		return;
	slot->permanent = true;
	slot->expected_active = w->leader_like && m == NULL;
	slot->lsn = status_lsn(w->in->view, t->key);
	if (m != NULL && m->xlog_location > slot->lsn)
		slot->lsn = m->xlog_location;
}

static void
permanent_logical(struct work *w, const struct tree *t)
{
	struct pgslot *slot;

	if (find(w->out, t->key) != NULL) {
		if (!w->quiet)
			log_error(
			    "Permanent logical replication slot {'%s': "
			    "{'database': '%s', 'plugin': '%s'}} is "
			    "conflicting with physical replication slot for "
			    "cluster member",
			    t->key, text_of(t, "database"),
			    text_of(t, "plugin"));
		return;
	}
	slot = add(w->out, t->key);
	if (slot == NULL)
		return;
	slot->permanent = true;
	slot->logical = true;
	slot->lsn = status_lsn(w->in->view, t->key);
	if (text_set(slot->database, sizeof(slot->database),
		text_of(t, "database")) &&
	    text_set(slot->plugin, sizeof(slot->plugin), text_of(t, "plugin")))
		return;
	w->out->n--;
	if (!w->quiet)
		log_error("Bad value for slot '%s' in permanent_slots: name "
			  "too long",
		    t->key);
}

static void
permanent_one(struct work *w, const struct tree *t, bool physical, bool logical,
    struct text *too_old)
{
	int type = slot_type(t);

	if (!valid_name(t->key)) {
		if (w->quiet)
			return;
		log_error(
		    "Invalid permanent replication slot name '%s'", t->key);
		log_error("Slot name may only contain lower case letters, "
			  "numbers, and the underscore chars");
		return;
	}
	if (type < 0) {
		if (!w->quiet)
			log_error("Bad value for slot '%s' in "
				  "permanent_slots: type, database or plugin",
			    t->key);
		return;
	}
	if (type == 0) {
		if (physical && in_this_cluster(w, t))
			permanent_physical(w, t);
		return;
	}
	if (!logical)
		return;
	if (w->can_advance)
		permanent_logical(w, t);
	else
		text_addf(
		    too_old, "%s%s", too_old->len > 0 ? ", " : "", t->key);
}

static bool
has_path_to_primary(const struct work *w)
{
	char slot[64];

	if (w->in->tags->nostream)
		return false;
	if (w->in->tags->replicatefrom[0] == '\0' ||
	    strcmp(w->in->tags->replicatefrom, w->in->name) == 0 ||
	    view_member(w->in->view, w->in->tags->replicatefrom) == NULL)
		return true;
	pgslots_on_primary(w->in->view, w->in->tags->replicatefrom, slot);
	return slot[0] != '\0';
}

static void
permanent_slots(struct work *w)
{
	const struct tree *map = permanent_map(w->in->dynamic);
	bool physical = true, logical = true;
	struct text too_old = { 0 };

	if (w->in->tags->nofailover || map == NULL)
		return;
	if (w->standby_cluster || !has_path_to_primary(w)) {
		logical = false;
		physical = w->can_advance || w->in->role == ROLE_STANDBY_LEADER;
	} else if (!w->can_advance && w->in->role != ROLE_PRIMARY)
		physical = false;
	for (uint32_t i = 0; i < tree_count(map); i++)
		permanent_one(
		    w, tree_child(map, i), physical, logical, &too_old);
	if (too_old.len > 0 && !w->quiet)
		log_error("Permanent logical replication slots supported by "
			  "Patroni only starting from PostgreSQL 11. Following "
			  "slots will not be created: %s.",
		    too_old.s);
	free(too_old.s);
}

void
pgslots_desired(const struct pgslots_in *in, bool quiet, struct pgslots *out)
{
	struct work w = { .in = in, .quiet = quiet, .out = out };
	struct pgfeatures p = pgfeatures(in->major);

	out->n = out->dropped = 0;
	if (!in->view->has_config || !p.slots || !use_slots(in))
		return;
	w.leader_like =
	    in->role == ROLE_PRIMARY || in->role == ROLE_STANDBY_LEADER;
	w.can_advance = p.slot_advance;
	w.standby_cluster =
	    standby_cluster_valid(tree_get(in->dynamic, "standby_cluster"));
	member_slots(&w);
	permanent_slots(&w);
	if (out->dropped > 0 && !quiet)
		log_error("%u replication slots more than %d are wanted and "
			  "will not be created",
		    out->dropped, MAX_SLOTS);
}

/* ---- 17.8 ---- */

void
pgslots_on_primary(const struct view *v, const char *member, char out[64])
{
	const struct view_member *m = view_member(v, member), *next;

	out[0] = '\0';
	/* longer than there are members: a loop */
	for (uint32_t i = 0; m != NULL && i <= v->nmembers; i++) {
		if (m->tags.nostream)
			return;
		next = m->tags.replicatefrom[0] == '\0' ||
			strcmp(m->tags.replicatefrom, m->name) == 0 ?
		    NULL :
		    view_member(v, m->tags.replicatefrom);
		if (next == NULL) {
			ha_slot_name(m->name, out);
			return;
		}
		m = next;
	}
}

static bool
need_feedback(const struct pgslots_in *in, struct pgslots *s, uint32_t depth)
{
	const struct view *v = in->view;
	struct work w = { .in = in };

	pgslots_desired(in, true, s);
	for (uint32_t i = 0; i < s->n; i++)
		if (s->v[i].logical)
			return true;
	if (!use_slots(in) || !has_path_to_primary(&w) || depth >= v->nmembers)
		return false;
	for (uint32_t i = 0; i < v->nmembers; i++) {
		const struct view_member *m = &v->members[i];
		struct pgslots_in child = *in;

		if (strcmp(m->tags.replicatefrom, in->name) != 0 ||
		    strcmp(m->name, v->leader) == 0 ||
		    strcmp(m->name, in->name) == 0)
			continue;
		child.name = m->name;
		child.tags = &m->tags;
		if (need_feedback(&child, s, depth + 1))
			return true;
	}
	return false;
}

bool
pgslots_need_feedback(const struct pgslots_in *in)
{
	struct pgslots_in replica = *in;
	struct pgslots *s;
	bool need;

	if (standby_cluster_valid(tree_get(in->dynamic, "standby_cluster")) ||
	    !pgfeatures(in->major).slot_advance)
		return false;
	replica.role = ROLE_REPLICA;
	s = must(malloc(sizeof(*s)));
	need = need_feedback(&replica, s, 0);
	free(s);
	return need;
}

/* ---- ignore_slots (17.5) ---- */

static bool
key_matches(const struct tree *t, const char *key, const char *value)
{
	const struct tree *want = tree_get(t, key);

	return !tree_truthy(want) ||
	    (want->type == TREE_TEXT && strcmp(want->u.s, value) == 0);
}

bool
pgslots_ignored(const struct tree *dynamic, const char *name, const char *type,
    const char *database, const char *plugin)
{
	const struct tree *list = tree_get(dynamic, "ignore_slots");

	if (list == NULL || list->type != TREE_LIST)
		return false;
	for (uint32_t i = 0; i < tree_count(list); i++) {
		const struct tree *t = tree_child(list, i);

		if (t->type == TREE_MAP && key_matches(t, "name", name) &&
		    key_matches(t, "type", type) &&
		    key_matches(t, "database", database) &&
		    key_matches(t, "plugin", plugin))
			return true;
	}
	return false;
}
