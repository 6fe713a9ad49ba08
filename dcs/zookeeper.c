/*
 * zookeeper.c: the ZooKeeper driver (spec/dcs.md 9): its operations, and how
 * one that meets a lost connection waits for the next and is tried again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "zookeeper_int.h"

#define ONCE_NS NS_PER_SEC /* most for a call that is not retried */
#define MAX_TREE 4096	   /* nodes that remove deletes */

static void op_run(struct zk_op *);

const char *
zk_member_path(const struct zk *zk, char buf[2 * NAME_SIZE])
{
	snprintf(buf, 2 * NAME_SIZE, "%s%s", dcs_key_path(DCS_KEY_MEMBER),
	    dcs_name(zk->dcs));
	return buf;
}

int64_t
zk_token(int32_t version)
{
	return (int64_t)version + 1;
}

/* ---- life of an operation ---- */

static void
op_free(struct zk_op *op)
{
	LIST_REMOVE(op, entry);
	zk_cancel(op->request);
	if (op->timer != NULL)
		event_free(op->timer);
	while (op->npaths > 0)
		free(op->paths[--op->npaths]);
	free(op->paths);
	free(op);
}

void
zk_op_end(struct zk_op *op, enum outcome outcome, const char *error)
{
	struct dcs_call *call = op->call;
	char text[TEXT_SIZE];

	snprintf(text, sizeof(text), "%s", error);
	op_free(op);
	dcs_call_done(call, outcome, text);
}

/* What an operation that has no answer amounts to. */
static enum outcome
no_answer(const struct zk_op *op)
{
	return op->maybe_sent || (op->writing && op->request != NULL) ?
	    OUTCOME_UNKNOWN :
	    OUTCOME_FAILED;
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct zk_op *op = arg;

	(void)fd;
	(void)what;
	zk_op_end(op, no_answer(op), "no answer from ZooKeeper in time");
}

/* A call that is not retried waits ONCE_NS for each answer; giving the lock
 * back is worth the whole time. */
static void
arm_deadline(struct zk_op *op)
{
	int64_t ns = op->call->deadline - clock_boot_ns();
	struct timeval tv;

	if (!op->call->retry && op->call->op != DCS_OP_RELEASE && ns > ONCE_NS)
		ns = ONCE_NS;
	if (ns < 0)
		ns = 0;
	tv.tv_sec = ns / NS_PER_SEC;
	tv.tv_usec = ns % NS_PER_SEC / 1000;
	evtimer_add(op->timer, &tv);
}

void
zk_op_send(struct zk_op *op, struct zk_request *request, bool writing)
{
	if (request == NULL) {
		zk_op_end(op, OUTCOME_FAILED, "out of memory");
		return;
	}
	op->request = request;
	op->writing = writing;
	arm_deadline(op);
}

bool
zk_op_answer(struct zk_op *op, const struct zk_answer *a)
{
	op->request = NULL;
	if (!zk_trouble(a->rc)) {
		if (op->call->sent_ns < a->sent_ns)
			op->call->sent_ns = a->sent_ns;
		return true;
	}
	/* a session that had ended when the request came did not write */
	if (op->writing && a->rc != ZSESSIONEXPIRED && a->rc != ZINVALIDSTATE)
		op->maybe_sent = true;
	op->writing = false;
	if (op->call->retry)
		op->waiting = true;
	else
		zk_op_end(op, no_answer(op), zerror(a->rc));
	return false;
}

void
zk_ops_ready(struct zk *zk)
{
	struct zk_op *op;

	/* an operation that runs may end others or itself: from the start */
	for (;;) {
		LIST_FOREACH(op, &zk->ops, entry)
		if (op->waiting && op->call->op != DCS_OP_LOAD)
			break;
		if (op == NULL || !zk->confirmed)
			break;
		op->waiting = false;
		op_run(op);
	}
	LIST_FOREACH(op, &zk->ops, entry)
	if (op->call->op == DCS_OP_LOAD && op->request == NULL)
		break;
	while (op != NULL && zk->confirmed) {
		struct dcs_call *call = op->call;

		op->call->sent_ns = zk->answer_at;
		if (!zk_cache_answer(zk, call))
			return;
		op_free(op);
		LIST_FOREACH(op, &zk->ops, entry)
		if (op->call->op == DCS_OP_LOAD && op->request == NULL)
			break;
	}
}

void
zk_loads_failed(struct zk *zk, const char *why)
{
	struct zk_op *op, *next;

	for (op = LIST_FIRST(&zk->ops); op != NULL; op = next) {
		next = LIST_NEXT(op, entry);
		if (op->call->op == DCS_OP_LOAD)
			zk_op_end(op, OUTCOME_FAILED, why);
	}
}

/* ---- ancestors ---- */

static void parent_next(struct zk_op *);

static void
on_parent(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	(void)zk;
	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZOK || a->rc == ZNODEEXISTS)
		parent_next(op);
	else
		zk_op_end(op, OUTCOME_REFUSED, zerror(a->rc));
}

/* op->parent is the last one made; the next is one component longer. */
static void
parent_next(struct zk_op *op)
{
	char full[ZK_PATH_SIZE];
	const char *slash;
	size_t done = strlen(op->parent);

	zk_path(op->zk, op->path, full);
	slash = strchr(full + done + 1, '/');
	if (slash == NULL) {
		op->then(op);
		return;
	}
	memcpy(op->parent, full, (size_t)(slash - full));
	op->parent[slash - full] = '\0';
	zk_op_send(op,
	    zk_create(op->zk, op->parent, "", 0, false, on_parent, op), false);
}

void
zk_op_parents(struct zk_op *op, void (*then)(struct zk_op *))
{
	if (++op->tries > 3) {
		zk_op_end(op, OUTCOME_REFUSED, "the parents keep vanishing");
		return;
	}
	op->then = then;
	op->parent[0] = '\0';
	parent_next(op);
}

/* ---- plain writes and deletes ---- */

static void write_create(struct zk_op *);
static void write_set(struct zk_op *);

static void
written(struct zk_op *op, int32_t version)
{
	op->call->new_token = zk_token(version);
	zk_cache_own(op->zk, op->path, op->call->value, op->call->len);
	zk_op_end(op, OUTCOME_OK, "");
}

/* A write under a condition failed after one whose answer was lost: was that
 * one applied?  Then the version is the next and the value ours. */
static void
on_check(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;
	const struct dcs_call *call = op->call;

	(void)zk;
	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZOK && a->len == call->len &&
	    memcmp(a->value, call->value, a->len) == 0 &&
	    zk_token(a->stat->version) == call->token + 1)
		written(op, a->stat->version);
	else
		zk_op_end(op, OUTCOME_REFUSED, "the key was changed meanwhile");
}

static void
conflict(struct zk_op *op)
{
	if (op->maybe_sent && op->call->cond == DCS_COND_TOKEN)
		zk_op_send(
		    op, zk_get(op->zk, op->path, false, on_check, op), false);
	else
		zk_op_end(op, OUTCOME_REFUSED, "the key was changed meanwhile");
}

static void
on_set(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	(void)zk;
	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZOK)
		written(op, a->stat->version);
	else if (a->rc == ZBADVERSION)
		conflict(op);
	else if (a->rc == ZNONODE && op->call->cond == DCS_COND_NONE)
		write_create(op);
	else if (a->rc == ZNONODE)
		zk_op_end(op, OUTCOME_REFUSED, "the key is gone");
	else
		zk_op_end(op, OUTCOME_REFUSED, zerror(a->rc));
}

static void
on_create(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	(void)zk;
	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZOK)
		written(op, 0);
	else if (a->rc == ZNONODE)
		zk_op_parents(op, write_create);
	else if (a->rc == ZNODEEXISTS && op->call->cond == DCS_COND_NONE &&
	    ++op->tries <= 3)
		write_set(op);
	else
		zk_op_end(op, OUTCOME_REFUSED,
		    a->rc == ZNODEEXISTS ? "the key exists already" :
					   zerror(a->rc));
}

static void
write_create(struct zk_op *op)
{
	char buf[ZK_PATH_SIZE];

	zk_op_send(op,
	    zk_create(op->zk, zk_path(op->zk, op->path, buf), op->call->value,
		op->call->len, false, on_create, op),
	    true);
}

/* A version is an int32 to the store; another number was never one. */
static bool
version_of(const struct dcs_call *call, int32_t *version)
{
	*version = -1;
	if (call->cond != DCS_COND_TOKEN)
		return true;
	if (call->token < 1 || call->token > INT32_MAX)
		return false;
	*version = (int32_t)(call->token - 1);
	return true;
}

static void
write_set(struct zk_op *op)
{
	int32_t version;

	if (!version_of(op->call, &version)) {
		zk_op_end(op, OUTCOME_REFUSED, "the key was changed meanwhile");
		return;
	}
	zk_op_send(op,
	    zk_set(op->zk, op->path, op->call->value, op->call->len, version,
		on_set, op),
	    true);
}

static void
on_deleted(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZOK ||
	    (a->rc == ZNONODE &&
		(op->maybe_sent || op->call->cond != DCS_COND_TOKEN))) {
		zk_cache_own_delete(zk, op->path);
		zk_op_end(op, OUTCOME_OK, "");
	} else
		zk_op_end(op, OUTCOME_REFUSED, zerror(a->rc));
}

static void
op_delete(struct zk_op *op)
{
	int32_t version;

	if (!version_of(op->call, &version)) {
		zk_op_end(op, OUTCOME_REFUSED, "the key was changed meanwhile");
		return;
	}
	zk_op_send(
	    op, zk_delete(op->zk, op->path, version, on_deleted, op), true);
}

/* ---- remove: the whole tree, deepest first ---- */

static void remove_next(struct zk_op *);

static bool
remove_push(struct zk_op *op, const char *parent, const char *name)
{
	char **p, *path;

	if (op->npaths == MAX_TREE ||
	    asprintf(&path, "%s%s%s", parent, parent[0] == '\0' ? "" : "/",
		name) < 0)
		return false;
	if ((p = realloc(op->paths, (op->npaths + 1) * sizeof(*p))) == NULL) {
		free(path);
		return false;
	}
	op->paths = p;
	op->paths[op->npaths++] = path;
	return true;
}

static void
on_removed(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	(void)zk;
	if (!zk_op_answer(op, a))
		return;
	if (a->rc == ZOK || a->rc == ZNONODE)
		free(op->paths[--op->npaths]);
	else if (a->rc != ZNOTEMPTY || ++op->tries > MAX_TREE) {
		zk_op_end(op, OUTCOME_REFUSED, zerror(a->rc));
		return;
	}
	remove_next(op);
}

static void
on_remove_names(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;
	const char *parent = op->paths[op->npaths - 1];
	int32_t i;

	if (!zk_op_answer(op, a))
		return;
	if (a->rc != ZOK && a->rc != ZNONODE) {
		zk_op_end(op, OUTCOME_REFUSED, zerror(a->rc));
		return;
	}
	for (i = 0; a->rc == ZOK && i < a->names->count; i++)
		if (!remove_push(op, parent, a->names->data[i])) {
			zk_op_end(op, OUTCOME_FAILED, "too many keys");
			return;
		}
	if (a->rc == ZOK && a->names->count > 0)
		remove_next(op);
	else
		zk_op_send(op, zk_delete(zk, parent, -1, on_removed, op), true);
}

static void
remove_next(struct zk_op *op)
{
	if (op->npaths == 0) {
		zk_op_end(op, OUTCOME_OK, "");
		return;
	}
	zk_op_send(op,
	    zk_children(
		op->zk, op->paths[op->npaths - 1], false, on_remove_names, op),
	    false);
}

static void
op_remove_all(struct zk_op *op)
{
	if (op->npaths == 0 && !remove_push(op, "", "")) {
		zk_op_end(op, OUTCOME_FAILED, "out of memory");
		return;
	}
	remove_next(op);
}

/* ---- loads ---- */

static void
on_load_synced(struct zk *zk, const struct zk_answer *a, void *arg)
{
	struct zk_op *op = arg;

	if (!zk_op_answer(op, a))
		return;
	op->waiting = true;
	zk_cache_start(zk);
	zk_ops_ready(zk);
}

static void
op_load(struct zk_op *op)
{
	struct zk *zk = op->zk;

	/* a control tool is to see what was there when it asked */
	if (dcs_ctl_mode(zk->dcs)) {
		zk_op_send(op, zk_sync(zk, on_load_synced, op), false);
		return;
	}
	op->waiting = true;
	/* both may answer, and free, the operation */
	zk_cache_start(zk);
	zk_ops_ready(zk);
}

/* ---- the driver ---- */

static void
op_run(struct zk_op *op)
{
	switch (op->call->op) {
	case DCS_OP_LOAD:
		op_load(op);
		break;
	case DCS_OP_ACQUIRE:
	case DCS_OP_TAKE:
		zk_lock_acquire(op);
		break;
	case DCS_OP_UPDATE:
		zk_lock_update(op);
		break;
	case DCS_OP_RELEASE:
		zk_lock_release(op);
		break;
	case DCS_OP_TOUCH:
		zk_lock_touch(op);
		break;
	case DCS_OP_WRITE:
		/* the token of a key that is not there is 0 */
		if (op->call->cond == DCS_COND_CREATE ||
		    (op->call->cond == DCS_COND_TOKEN && op->call->token == 0))
			write_create(op);
		else
			write_set(op);
		break;
	case DCS_OP_DELETE:
		op_delete(op);
		break;
	case DCS_OP_REMOVE_ALL:
		op_remove_all(op);
		break;
	}
}

void
zk_submit(void *arg, struct dcs_call *call)
{
	struct zk *zk = arg;
	struct zk_op *op;

	if ((op = calloc(1, sizeof(*op))) == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, "out of memory");
		return;
	}
	op->zk = zk;
	op->call = call;
	LIST_INSERT_HEAD(&zk->ops, op, entry);
	if (call->key == DCS_KEY_MEMBER)
		zk_member_path(zk, op->path);
	else
		snprintf(
		    op->path, sizeof(op->path), "%s", dcs_key_path(call->key));
	if ((op->timer = evtimer_new(zk->base, on_deadline, op)) == NULL) {
		zk_op_end(op, OUTCOME_FAILED, "out of memory");
		return;
	}
	arm_deadline(op);
	if (zk->before_load != NULL && call->op == DCS_OP_LOAD)
		zk->before_load(zk->before_arg);
	if (zk->confirmed)
		op_run(op);
	else
		op->waiting = true;
}

struct zk *
zk_open(struct dcs *dcs, const char *section, const struct zk_conf *conf,
    char *err, size_t errlen)
{
	struct zk *zk = calloc(1, sizeof(*zk));

	if (zk == NULL) {
		snprintf(err, errlen, "out of memory");
		return NULL;
	}
	zk->dcs = dcs;
	zk->base = dcs_event_base(dcs);
	zk->section = section;
	zk->conf = *conf;
	zk->conf.acls.data = zk->conf.acl;
	TAILQ_INIT(&zk->nodes);
	snprintf(
	    zk->base_path, sizeof(zk->base_path), "%s", dcs_base_path(dcs));
	if (!zk_session_start(zk)) {
		snprintf(err, errlen, "out of memory");
		zk_close(zk);
		return NULL;
	}
	return zk;
}

void
zk_close(void *arg)
{
	struct zk *zk = arg;

	if (zk == NULL)
		return;
	while (!LIST_EMPTY(&zk->ops))
		op_free(LIST_FIRST(&zk->ops));
	zk_cache_reset(zk);
	zk_session_close(zk);
	zk_conf_clear(&zk->conf);
	free(zk);
}

static void *
zookeeper_open(
    struct dcs *dcs, const struct tree *section, char *err, size_t errlen)
{
	struct zk_conf conf = { .nhosts = 0 };

	if (!zk_conf_read(&conf, section, true, err, errlen))
		return NULL;
	return zk_open(dcs, "zookeeper", &conf, err, errlen);
}

/* The session keeps what it was made with: servers, ACLs and credentials are
 * read at the start (spec/config.md), but must stay readable. */
static bool
zookeeper_reload(void *arg, const struct tree *section, char *err, size_t n)
{
	struct zk_conf conf = { .nhosts = 0 };

	(void)arg;
	if (!zk_conf_read(&conf, section, true, err, n))
		return false;
	zk_conf_clear(&conf);
	return true;
}

void
zk_settings(void *arg)
{
	zk_session_settings(arg);
}

void
zk_info(const void *arg, char *buf, size_t size)
{
	const struct zk *zk = arg;

	snprintf(buf, size, "%s %.200s%s%s%.200s", zk->section,
	    zk->connected ? zoo_get_current_server(zk->handle) :
			    "not connected",
	    zk->confirmed && zk->filled ? ", watching" : "",
	    zk->last_error[0] == '\0' ? "" : ", ", zk->last_error);
}

const struct dcs_driver dcs_zookeeper = {
	.section = "zookeeper",
	.caps = DCS_CAP_LEASE | DCS_CAP_WATCH,
	.open = zookeeper_open,
	.close = zk_close,
	.reload = zookeeper_reload,
	.settings = zk_settings,
	.info = zk_info,
	.submit = zk_submit,
};
