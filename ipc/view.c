/*
 * view.c: cluster views in memory; reading tags.
 * The binary form and the comparison are in view_codec.c.
 */
#include "view.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct view *
view_new(void)
{
	return calloc(1, sizeof(struct view));
}

void
view_free(struct view *v)
{
	if (v == NULL)
		return;
	if (v->shares > 0) {
		v->shares--;
		return;
	}
	for (uint32_t i = 0; i < v->nmembers; i++) {
		tree_free(v->members[i].tags_doc);
		tree_free(v->members[i].pending_restart_reason);
		tree_free(v->members[i].scheduled_restart);
	}
	tree_free(v->config);
	free(v->slots);
	free(v->retain_slots);
	free(v->sync_standby);
	free(v->history);
	free(v->failsafe);
	free(v->members);
	free(v);
}

struct view *
view_share(const struct view *v)
{
	struct view *held = (struct view *)(uintptr_t)v;

	if (held != NULL)
		held->shares++;
	return held;
}

/* Copy an array; true for an empty one. */
static bool
copy_array(void *dst, const void *src, uint32_t n, size_t size)
{
	void *p = NULL;

	if (n > 0) {
		if ((p = reallocarray(NULL, n, size)) == NULL)
			return false;
		memcpy(p, src, n * size);
	}
	memcpy(dst, &p, sizeof(p));
	return true;
}

static bool
copy_tree(struct tree **dst, const struct tree *src)
{
	*dst = tree_copy(src);
	return src == NULL || *dst != NULL;
}

static bool
copy_members(struct view *c, const struct view *v)
{
	bool ok = true;

	c->nmembers = 0;
	if (!copy_array(
		&c->members, v->members, v->nmembers, sizeof(*v->members)))
		return false;
	c->nmembers = v->nmembers;
	for (uint32_t i = 0; i < v->nmembers; i++) {
		const struct view_member *m = &v->members[i];
		struct view_member *n = &c->members[i];

		/* all three pointers must be ours before any failure */
		ok = copy_tree(&n->tags_doc, m->tags_doc) && ok;
		ok = copy_tree(&n->pending_restart_reason,
			 m->pending_restart_reason) &&
		    ok;
		ok = copy_tree(&n->scheduled_restart, m->scheduled_restart) &&
		    ok;
	}
	return ok;
}

struct view *
view_copy(const struct view *v)
{
	struct view *c;
	bool ok;

	if (v == NULL || (c = malloc(sizeof(*c))) == NULL)
		return NULL;
	*c = *v;
	c->shares = 0;
	c->members = NULL;
	ok = copy_tree(&c->config, v->config);
	ok =
	    copy_array(&c->slots, v->slots, v->nslots, sizeof(*v->slots)) && ok;
	ok = copy_array(&c->retain_slots, v->retain_slots, v->nretain,
		 sizeof(*v->retain_slots)) &&
	    ok;
	ok = copy_array(&c->sync_standby, v->sync_standby, v->nsync_standby,
		 sizeof(*v->sync_standby)) &&
	    ok;
	ok = copy_array(
		 &c->history, v->history, v->nhistory, sizeof(*v->history)) &&
	    ok;
	ok = copy_array(&c->failsafe, v->failsafe, v->nfailsafe,
		 sizeof(*v->failsafe)) &&
	    ok;
	ok = copy_members(c, v) && ok;
	if (!ok) {
		view_free(c);
		return NULL;
	}
	return c;
}

const struct view_member *
view_member(const struct view *v, const char *name)
{
	if (v == NULL || name[0] == '\0')
		return NULL;
	for (uint32_t i = 0; i < v->nmembers; i++)
		if (text_equal(v->members[i].name, name))
			return &v->members[i];
	return NULL;
}

bool
view_unlocked(const struct view *v)
{
	return v == NULL || !v->has_leader || v->leader[0] == '\0';
}

bool
view_empty(const struct view *v)
{
	return v == NULL ||
	    (!v->has_initialize && !v->has_leader && !v->has_config &&
		!v->has_status && !v->has_sync && !v->has_failover &&
		!v->has_history && !v->has_failsafe && v->nmembers == 0);
}

/* Boolean of spec/config.md 3.2; anything that is none is false. */
static bool
boolean(const struct tree *t)
{
	static const char *const yes[] = { "on", "true", "yes", "1" };

	if (t == NULL || t->type == TREE_NULL)
		return false;
	if (t->type == TREE_BOOL)
		return t->u.b;
	if (t->type == TREE_INT)
		return t->u.i == 1;
	if (t->type != TREE_TEXT)
		return false;
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		if (strcasecmp(t->u.s, yes[i]) == 0)
			return true;
	return false;
}

/* Integer of a tag; false when it is not there or not a number. */
static bool
integer(const struct tree *t, int32_t *out)
{
	int64_t v;

	if (t == NULL)
		return false;
	if (t->type == TREE_INT)
		v = t->u.i;
	else if (t->type == TREE_REAL && t->u.r > -2e9 && t->u.r < 2e9)
		v = (int64_t)t->u.r;
	else if (t->type != TREE_TEXT ||
	    !text_to_int64(t->u.s, INT32_MIN, INT32_MAX, &v))
		return false;
	if (v < INT32_MIN || v > INT32_MAX)
		return false;
	*out = (int32_t)v;
	return true;
}

/*
 * A flag with a companion priority (spec/config.md 7): the priority is 0 when
 * the flag is truthy, else the integer, 1 when absent or invalid; the flag,
 * where it is given, alone decides whether the act is forbidden.
 */
static int32_t
priority(const struct tree *map, const char *flag_key, const char *prio_key,
    uint8_t *forbidden)
{
	const struct tree *flag = tree_get(map, flag_key);
	bool given = flag != NULL && flag->type != TREE_NULL;
	int32_t prio = 1;

	if (tree_truthy(flag)) {
		*forbidden = 1;
		return 0;
	}
	if (!integer(tree_get(map, prio_key), &prio))
		prio = 1;
	*forbidden = !given && prio <= 0;
	return prio;
}

void
tags_parse(const struct tree *map, struct tags *tags)
{
	const struct tree *from = tree_get(map, "replicatefrom");

	memset(tags, 0, sizeof(*tags));
	tags->failover_priority =
	    priority(map, "nofailover", "failover_priority", &tags->nofailover);
	tags->sync_priority =
	    priority(map, "nosync", "sync_priority", &tags->nosync);
	tags->noloadbalance = tree_truthy(tree_get(map, "noloadbalance"));
	tags->nostream = boolean(tree_get(map, "nostream"));
	tags->clonefrom = tree_truthy(tree_get(map, "clonefrom"));
	if (from != NULL && from->type == TREE_TEXT)
		text_set(tags->replicatefrom, sizeof(tags->replicatefrom),
		    from->u.s);
}

struct tree *
tags_published(const struct tree *map)
{
	static const struct {
		const char *flag, *companion;
	} flags[] = { { "clonefrom", NULL },
		{ "nofailover", "failover_priority" },
		{ "noloadbalance", NULL }, { "nosync", "sync_priority" },
		{ "nostream", NULL } };
	struct tree *copy;
	size_t i;

	if (map == NULL || map->type != TREE_MAP)
		return tree_map();
	if ((copy = tree_copy(map)) == NULL)
		return NULL;
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (tree_truthy(tree_get(copy, flags[i].flag)) ||
		    (flags[i].companion != NULL &&
			tree_get(copy, flags[i].companion) != NULL))
			continue;
		tree_remove(copy, flags[i].flag);
	}
	return copy;
}
