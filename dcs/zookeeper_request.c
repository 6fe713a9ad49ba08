/*
 * zookeeper_request.c: one asynchronous request of the client library: where
 * its answer goes, and that the answer of a forgotten request goes nowhere.
 *
 * The library ends every request that it took exactly once: with the answer,
 * with a lost connection, or when the handle is closed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "zookeeper_int.h"

struct zk_request {
	LIST_ENTRY(zk_request) entry;
	struct zk *zk;
	zk_cb cb; /* NULL: forgotten */
	void *arg;
	int rc; /* of a request that could not be sent */
	int64_t sent_ns;
	zoo_op_result_t results[ZK_MULTI];
};

bool
zk_trouble(int rc)
{
	switch (rc) {
	case ZCONNECTIONLOSS:
	case ZOPERATIONTIMEOUT:
	case ZSESSIONEXPIRED:
	case ZSESSIONMOVED:
	case ZINVALIDSTATE:
	case ZCLOSING:
	case ZSYSTEMERROR:
	case ZNOTREADONLY:
		return true;
	default:
		return false;
	}
}

const char *
zk_path(const struct zk *zk, const char *path, char buf[ZK_PATH_SIZE])
{
	snprintf(buf, ZK_PATH_SIZE, "%s%s%s", zk->base_path,
	    path[0] == '\0' ? "" : "/", path);
	return buf;
}

static struct zk_request *
request_new(struct zk *zk, zk_cb cb, void *arg)
{
	struct zk_request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->zk = zk;
	r->cb = cb;
	r->arg = arg;
	r->sent_ns = clock_boot_ns();
	LIST_INSERT_HEAD(&zk->requests, r, entry);
	return r;
}

/* What the library says of a request that it is given. */
static struct zk_request *
taken(struct zk_request *r, int rc)
{
	if (rc != ZOK) {
		r->rc = rc;
		LIST_REMOVE(r, entry);
		LIST_INSERT_HEAD(&r->zk->failed, r, entry);
	}
	zk_pump(r->zk);
	return r;
}

static void
end(struct zk_request *r, struct zk_answer *a)
{
	struct zk *zk = r->zk;
	zk_cb cb = r->cb;
	void *arg = r->arg;

	a->sent_ns = r->sent_ns;
	LIST_REMOVE(r, entry);
	free(r);
	if (!zk_trouble(a->rc))
		zk_answered(zk);
	if (cb != NULL)
		cb(zk, a, arg);
}

void
zk_requests_failed(struct zk *zk)
{
	struct zk_request *r;

	while ((r = LIST_FIRST(&zk->failed)) != NULL) {
		struct zk_answer a = { .rc = r->rc };

		end(r, &a);
	}
}

void
zk_cancel(struct zk_request *r)
{
	if (r != NULL)
		r->cb = NULL;
}

/* The library passes back as const what it was given. */
static struct zk_request *
request_of(const void *data)
{
	union {
		const void *in;
		struct zk_request *out;
	} u = { .in = data };

	return u.out;
}

/* ---- answers ---- */

static void
on_data(int rc, const char *value, int len, const struct Stat *stat,
    const void *data)
{
	struct zk_answer a = { .rc = rc, .value = "", .stat = stat };

	if (rc == ZOK && value != NULL && len > 0) {
		a.value = value;
		a.len = (size_t)len;
	}
	end(request_of(data), &a);
}

static void
on_stat(int rc, const struct Stat *stat, const void *data)
{
	struct zk_answer a = { .rc = rc, .stat = stat };

	end(request_of(data), &a);
}

static void
on_names(int rc, const struct String_vector *names, const void *data)
{
	struct zk_answer a = { .rc = rc, .names = names };

	end(request_of(data), &a);
}

static void
on_text(int rc, const char *value, const void *data)
{
	struct zk_answer a = { .rc = rc };

	(void)value;
	end(request_of(data), &a);
}

static void
on_nothing(int rc, const void *data)
{
	struct zk_answer a = { .rc = rc };

	end(request_of(data), &a);
}

static void
on_watch(zhandle_t *h, int type, int state, const char *path, void *arg)
{
	struct zk *zk = arg;

	(void)state;
	if (type != ZOO_SESSION_EVENT && h == zk->handle && path != NULL)
		zk_cache_event(zk, path);
}

/* ---- requests ---- */

struct zk_request *
zk_get(struct zk *zk, const char *path, bool watch, zk_cb cb, void *arg)
{
	struct zk_request *r = request_new(zk, cb, arg);
	char buf[ZK_PATH_SIZE];

	if (r == NULL)
		return NULL;
	return taken(r,
	    zoo_awget(zk->handle, zk_path(zk, path, buf),
		watch ? on_watch : NULL, zk, on_data, r));
}

struct zk_request *
zk_exists(struct zk *zk, const char *path, bool watch, zk_cb cb, void *arg)
{
	struct zk_request *r = request_new(zk, cb, arg);
	char buf[ZK_PATH_SIZE];

	if (r == NULL)
		return NULL;
	return taken(r,
	    zoo_awexists(zk->handle, zk_path(zk, path, buf),
		watch ? on_watch : NULL, zk, on_stat, r));
}

struct zk_request *
zk_children(struct zk *zk, const char *path, bool watch, zk_cb cb, void *arg)
{
	struct zk_request *r = request_new(zk, cb, arg);
	char buf[ZK_PATH_SIZE];

	if (r == NULL)
		return NULL;
	return taken(r,
	    zoo_awget_children(zk->handle, zk_path(zk, path, buf),
		watch ? on_watch : NULL, zk, on_names, r));
}

static const struct ACL_vector *
acls(const struct zk *zk)
{
	return zk->conf.acls.count > 0 ? &zk->conf.acls : &ZOO_OPEN_ACL_UNSAFE;
}

struct zk_request *
zk_create(struct zk *zk, const char *absolute, const char *value, size_t len,
    bool ephemeral, zk_cb cb, void *arg)
{
	struct zk_request *r = request_new(zk, cb, arg);

	if (r == NULL)
		return NULL;
	return taken(r,
	    zoo_acreate(zk->handle, absolute, value, (int)len, acls(zk),
		ephemeral ? ZOO_EPHEMERAL : 0, on_text, r));
}

struct zk_request *
zk_set(struct zk *zk, const char *path, const char *value, size_t len,
    int32_t version, zk_cb cb, void *arg)
{
	struct zk_request *r = request_new(zk, cb, arg);
	char buf[ZK_PATH_SIZE];

	if (r == NULL)
		return NULL;
	return taken(r,
	    zoo_aset(zk->handle, zk_path(zk, path, buf), value, (int)len,
		version, on_stat, r));
}

struct zk_request *
zk_delete(struct zk *zk, const char *path, int32_t version, zk_cb cb, void *arg)
{
	struct zk_request *r = request_new(zk, cb, arg);
	char buf[ZK_PATH_SIZE];

	if (r == NULL)
		return NULL;
	return taken(r,
	    zoo_adelete(
		zk->handle, zk_path(zk, path, buf), version, on_nothing, r));
}

struct zk_request *
zk_sync(struct zk *zk, zk_cb cb, void *arg)
{
	struct zk_request *r = request_new(zk, cb, arg);

	if (r == NULL)
		return NULL;
	return taken(r, zoo_async(zk->handle, zk->base_path, on_text, r));
}

/* ---- transactions ---- */

void
zk_multi_delete(
    struct zk *zk, struct zk_multi *m, const char *path, int32_t version)
{
	zk_path(zk, path, m->path[m->n]);
	zoo_delete_op_init(&m->op[m->n], m->path[m->n], version);
	m->n++;
}

void
zk_multi_check(
    struct zk *zk, struct zk_multi *m, const char *path, int32_t version)
{
	zk_path(zk, path, m->path[m->n]);
	zoo_check_op_init(&m->op[m->n], m->path[m->n], version);
	m->n++;
}

void
zk_multi_create(struct zk *zk, struct zk_multi *m, const char *path,
    const char *value, size_t len)
{
	zk_path(zk, path, m->path[m->n]);
	zoo_create_op_init(&m->op[m->n], m->path[m->n], value, (int)len,
	    acls(zk), dcs_ctl_mode(zk->dcs) ? 0 : ZOO_EPHEMERAL, NULL, 0);
	m->n++;
}

struct zk_request *
zk_multi_start(struct zk *zk, const struct zk_multi *m, zk_cb cb, void *arg)
{
	struct zk_request *r = request_new(zk, cb, arg);

	if (r == NULL)
		return NULL;
	return taken(
	    r, zoo_amulti(zk->handle, m->n, m->op, r->results, on_nothing, r));
}
