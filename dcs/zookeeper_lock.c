/*
 * zookeeper_lock.c: the keys that hang on the session: the lock and the own
 * member key (spec/dcs.md 9.2).
 *
 * Both may belong to an older session of this name: of a dcs helper that was
 * killed, or of one with another ttl.  They are taken over in one transaction
 * that deletes and creates, so that nobody sees the lock free.  The version of
 * the lock cannot guard that: a lock that another node made meanwhile has
 * version 0, too.  The own member key can: the store removes both in the same
 * instant when their session ends, and nobody else writes it.  As long as it
 * is there unchanged, so is the lock.  So no lock is made without it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "zookeeper_int.h"

#define LEADER "leader"
#define MAX_TRIES 5
#define EMPTY_DATA "{}" /* of a member key that guards a lock, no more */

static void touch_run(struct zk_op *);

static bool
ours(const struct zk_op *op, const char *value, size_t len)
{
	const char *name = dcs_name(op->zk->dcs);

	return len == strlen(name) && memcmp(value, name, len) == 0;
}

/* The lock hangs on our session, which was alive when this was sent. */
static void
lock_held(struct zk_op *op, int64_t sent_ns)
{
	op->call->sent_ns = zk_lease_sent(op->zk, sent_ns);
	op->zk->lock_sent = op->call->sent_ns;
	zk_op_end(op, OUTCOME_OK, "");
}

static void
refuse_lock(struct zk_op *op, const char *why)
{
	if (op->call->op == DCS_OP_ACQUIRE || op->call->op == DCS_OP_TAKE)
		log_info("Could not take out TTL lock");
	zk_op_end(op, OUTCOME_REFUSED, why);
}

/* What was read is not what is there any more: from the start. */
static void
again(struct zk_op *op, void (*from)(struct zk_op *))
{
	if (++op->tries >= MAX_TRIES) {
		zk_op_end(op, OUTCOME_REFUSED, "the key keeps changing");
		return;
	}
	from(op);
}

/* ---- acquire ---- */

static void lock_create(struct zk_op *);

static void
on_existing(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZOK && ours(op, a->value, a->len) &&
	    a->stat->ephemeralOwner == zk->session)
		lock_held(op, a->sent_ns); /* an earlier try had won */
	else if (a->rc == ZNONODE)
		again(op, lock_create);
	else
		refuse_lock(op, "Could not take out TTL lock");
}

static void
on_created(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	if (!zk_op_answer(op, a))
		return;
	switch (a->rc) {
	case ZOK:
		zk_cache_own(zk, LEADER, op->call->value, op->call->len);
		lock_held(op, a->sent_ns);
		break;
	case ZNONODE:
		zk_op_parents(op, lock_create);
		break;
	case ZNODEEXISTS:
		zk_op_send(
		    op, zk_get(zk, LEADER, false, on_existing, op), false);
		break;
	default:
		refuse_lock(op, zerror(a->rc));
	}
}

/* The lock together with the member key that guards it: as it stands under an
 * older session, or without data, which means the same as no key. */
static void
on_own_member(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;
	struct zk_multi m = { .n = 0 };
	const char *value = EMPTY_DATA;
	size_t len = strlen(value);

	if (!zk_op_answer(op, a))
		return;
	if (a->rc != ZOK && a->rc != ZNONODE) {
		refuse_lock(op, zerror(a->rc));
		return;
	}
	zk_multi_create(zk, &m, LEADER, op->call->value, op->call->len);
	if (a->rc == ZOK && a->stat->ephemeralOwner != zk->session)
		zk_multi_delete(zk, &m, op->path, a->stat->version);
	if (a->rc == ZOK) {
		value = a->value;
		len = a->len;
	}
	if (a->rc != ZOK || m.n == 2)
		zk_multi_create(zk, &m, op->path, value, len);
	zk_op_send(op, zk_multi_start(zk, &m, on_created, op), true);
}

static void
lock_create(struct zk_op *op)
{
	const struct zk_node *member;
	char buf[ZK_PATH_SIZE];
	bool ctl = dcs_ctl_mode(op->zk->dcs);

	zk_member_path(op->zk, op->path);
	member = zk_cache_find(op->zk, op->path);
	if (ctl ||
	    (member != NULL && !member->asked && !member->stale &&
		member->stat.ephemeralOwner == op->zk->session))
		zk_op_send(op,
		    zk_create(op->zk, zk_path(op->zk, LEADER, buf),
			op->call->value, op->call->len, !ctl, on_created, op),
		    true);
	else
		zk_op_send(op,
		    zk_get(op->zk, op->path, false, on_own_member, op), false);
}

void
zk_lock_acquire(struct zk_op *op)
{
	lock_create(op);
}

/* ---- taking over what an older session of ours left ---- */

static void
on_taken_over(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;
	char member[2 * NAME_SIZE];
	bool touch = op->call->op == DCS_OP_TOUCH;

	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZOK) {
		zk_cache_event(zk, zk_path(zk, LEADER, op->parent));
		zk_cache_event(
		    zk, zk_path(zk, zk_member_path(zk, member), op->parent));
		if (touch)
			again(op, touch_run);
		else
			lock_held(op, a->sent_ns);
	} else if (a->rc == ZNONODE || a->rc == ZBADVERSION ||
	    a->rc == ZNODEEXISTS)
		again(op, touch ? touch_run : zk_lock_update);
	else
		zk_op_end(op, OUTCOME_REFUSED, zerror(a->rc));
}

/* Both keys, or the lock alone when nothing can end it (owner 0). */
static void
take_over(struct zk_op *op, const struct zk_answer *member, int32_t version)
{
	const char *name = dcs_name(op->zk->dcs);
	struct zk_multi m = { .n = 0 };
	char path[2 * NAME_SIZE];
	struct zk *zk = op->zk;

	log_info("Recreating the leader ZNode due to ownership mismatch");
	zk_multi_delete(zk, &m, LEADER, version);
	zk_multi_create(zk, &m, LEADER, name, strlen(name));
	if (member != NULL) {
		zk_member_path(zk, path);
		zk_multi_delete(zk, &m, path, member->stat->version);
		zk_multi_create(zk, &m, path, member->value, member->len);
	}
	zk_op_send(op, zk_multi_start(zk, &m, on_taken_over, op), true);
}

static void
on_guard(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	(void)zk;
	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZOK && a->stat->ephemeralOwner == op->owner)
		take_over(op, a, op->version);
	else
		zk_op_end(op, OUTCOME_REFUSED,
		    "the lock belongs to another session of this name, which "
		    "cannot be shown to live");
}

/* ---- update ---- */

static void
on_lock(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;
	char path[2 * NAME_SIZE];

	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZNONODE) {
		lock_create(op);
		return;
	}
	if (a->rc != ZOK) {
		zk_op_end(op, OUTCOME_REFUSED, zerror(a->rc));
		return;
	}
	if (!ours(op, a->value, a->len)) {
		zk->lock_sent = 0;
		zk_op_end(op, OUTCOME_REFUSED, "the lock is not ours");
		return;
	}
	op->owner = a->stat->ephemeralOwner;
	op->version = a->stat->version;
	if (op->owner == zk->session)
		lock_held(op, op->sent_ns);
	else if (op->owner == 0)
		take_over(op, NULL, op->version);
	else
		zk_op_send(op,
		    zk_get(zk, zk_member_path(zk, path), false, on_guard, op),
		    false);
}

static void
on_synced(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	if (!zk_op_answer(op, a))
		return;
	op->sent_ns = a->sent_ns;
	zk_op_send(op, zk_get(zk, LEADER, false, on_lock, op), false);
}

/*
 * The session is what prolongs the lock, by any request that the ensemble
 * answers.  A server that lost its leader would still answer a read: asking
 * it to catch up first shows that it has one.
 */
void
zk_lock_update(struct zk_op *op)
{
	zk_op_send(op, zk_sync(op->zk, on_synced, op), false);
}

/* ---- release ---- */

static void
on_released(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZOK) {
		zk->lock_sent = 0;
		zk_cache_own_delete(zk, LEADER);
		zk_op_end(op, OUTCOME_OK, "");
	} else if (a->rc == ZNONODE || a->rc == ZBADVERSION)
		again(op, zk_lock_release);
	else
		zk_op_end(op, OUTCOME_REFUSED, zerror(a->rc));
}

/* The lock of an older session of ours: given back under the same guard. */
static void
on_release_guard(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;
	struct zk_multi m = { .n = 0 };
	char path[2 * NAME_SIZE];

	if (!zk_op_answer(op, a))
		return;
	if (a->rc != ZOK || a->stat->ephemeralOwner != op->owner) {
		zk_op_end(op, OUTCOME_REFUSED, "the lock is not ours");
		return;
	}
	zk_multi_check(zk, &m, zk_member_path(zk, path), a->stat->version);
	zk_multi_delete(zk, &m, LEADER, op->version);
	zk_op_send(op, zk_multi_start(zk, &m, on_released, op), true);
}

/* With the lock goes a member key that was made for it alone. */
static void
release_own(struct zk_op *op)
{
	struct zk *zk = op->zk;
	struct zk_multi m = { .n = 0 };
	const struct zk_node *n;
	char path[2 * NAME_SIZE];

	n = zk_cache_find(zk, zk_member_path(zk, path));
	zk_multi_delete(zk, &m, LEADER, op->version);
	if (n != NULL && n->stat.ephemeralOwner == zk->session &&
	    strcmp(n->value, EMPTY_DATA) == 0)
		zk_multi_delete(zk, &m, path, n->stat.version);
	zk_op_send(op, zk_multi_start(zk, &m, on_released, op), true);
}

static void
on_release(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;
	char path[2 * NAME_SIZE];

	if (!zk_op_answer(op, a))
		return;
	if (a->rc != ZOK || !ours(op, a->value, a->len)) {
		if (op->maybe_sent)
			zk_op_end(op, OUTCOME_OK, "");
		else
			zk_op_end(op, OUTCOME_REFUSED, "the lock is not ours");
		return;
	}
	op->owner = a->stat->ephemeralOwner;
	op->version = a->stat->version;
	if (op->owner == zk->session || op->owner == 0)
		release_own(op);
	else
		zk_op_send(op,
		    zk_get(zk, zk_member_path(zk, path), false,
			on_release_guard, op),
		    false);
}

void
zk_lock_release(struct zk_op *op)
{
	zk_op_send(op, zk_get(op->zk, LEADER, false, on_release, op), false);
}

/* ---- own member key ---- */

static void
on_touched(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	if (!zk_op_answer(op, a))
		return;
	switch (a->rc) {
	case ZOK:
		op->call->sent_ns = zk_lease_sent(zk, a->sent_ns);
		op->call->new_token =
		    zk_token(a->stat == NULL ? 0 : a->stat->version);
		zk_cache_own(zk, op->path, op->call->value, op->call->len);
		zk_op_end(op, OUTCOME_OK, "");
		break;
	case ZNONODE:
		zk_op_parents(op, touch_run);
		break;
	case ZNODEEXISTS:
	case ZBADVERSION:
		again(op, touch_run);
		break;
	default:
		zk_op_end(op, OUTCOME_REFUSED, zerror(a->rc));
	}
}

/* The lock beside a member key of an older session: both or neither. */
static void
on_touch_lock(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;
	struct zk_multi m = { .n = 0 };

	if (!zk_op_answer(op, a))
		return;
	zk_multi_delete(zk, &m, op->path, op->version);
	zk_multi_create(zk, &m, op->path, op->call->value, op->call->len);
	if (a->rc == ZOK && ours(op, a->value, a->len) &&
	    a->stat->ephemeralOwner == op->owner && op->owner != 0) {
		log_info(
		    "Recreating the leader ZNode due to ownership mismatch");
		zk_multi_delete(zk, &m, LEADER, a->stat->version);
		zk_multi_create(zk, &m, LEADER, a->value, a->len);
	} else
		log_info(
		    "Recreating the member ZNode due to ownership mismatch");
	zk_op_send(op, zk_multi_start(zk, &m, on_taken_over, op), true);
}

static void
on_member(struct zk *zk, const struct zk_answer *a, void *arg)
{
	const struct dcs_call *call = ((struct zk_op *)arg)->call;
	struct zk_op *op = arg;
	char buf[ZK_PATH_SIZE];
	bool ctl = dcs_ctl_mode(zk->dcs);

	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZNONODE) {
		zk_op_send(op,
		    zk_create(zk, zk_path(zk, op->path, buf), call->value,
			call->len, !ctl, on_touched, op),
		    true);
		return;
	}
	if (a->rc != ZOK) {
		zk_op_end(op, OUTCOME_REFUSED, zerror(a->rc));
		return;
	}
	op->owner = a->stat->ephemeralOwner;
	op->version = a->stat->version;
	if (op->owner != zk->session && !ctl)
		zk_op_send(
		    op, zk_get(zk, LEADER, false, on_touch_lock, op), false);
	else if (a->len == call->len &&
	    memcmp(a->value, call->value, a->len) == 0) {
		op->call->sent_ns = zk_lease_sent(zk, a->sent_ns);
		op->call->new_token = zk_token(op->version);
		zk_op_end(op, OUTCOME_OK, "");
	} else
		zk_op_send(op,
		    zk_set(zk, op->path, call->value, call->len, op->version,
			on_touched, op),
		    true);
}

static void
touch_run(struct zk_op *op)
{
	zk_op_send(op, zk_get(op->zk, op->path, false, on_member, op), false);
}

void
zk_lock_touch(struct zk_op *op)
{
	const struct zk_node *n = zk_cache_find(op->zk, op->path);
	const struct dcs_call *call = op->call;

	op->zk->touched_at = clock_boot_ns();
	if (n != NULL && !n->asked && !n->stale &&
	    n->stat.ephemeralOwner == op->zk->session && n->len == call->len &&
	    memcmp(n->value, call->value, n->len) == 0) {
		op->call->sent_ns = zk_lease_sent(op->zk, op->zk->answer_at);
		op->call->new_token = zk_token(n->stat.version);
		zk_op_end(op, OUTCOME_OK, "");
		return;
	}
	/* known to be ours: it only has to be written */
	if (n != NULL && !n->asked && !n->stale &&
	    n->stat.ephemeralOwner == op->zk->session)
		zk_op_send(op,
		    zk_set(op->zk, op->path, call->value, call->len,
			n->stat.version, on_touched, op),
		    true);
	else
		touch_run(op);
}
