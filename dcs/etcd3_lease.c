/*
 * etcd3_lease.c: the one lease of this process (spec/dcs.md 7.4).
 *
 * Whoever needs the lease waits here; one request at a time serves all.
 * Nothing revokes a lease: one that is given up expires by itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "etcd3_int.h"

struct etcd_lease_waiter {
	TAILQ_ENTRY(etcd_lease_waiter) entry;
	lease_cb cb;
	void *arg;
};

static void grant(struct etcd3 *, int64_t deadline);

static void
answer(struct etcd3 *e, const struct rpc_result *res)
{
	TAILQ_HEAD(, etcd_lease_waiter) list;
	struct etcd_lease_waiter *w;

	/* callbacks may wait again: only those of now are answered */
	TAILQ_INIT(&list);
	TAILQ_CONCAT(&list, &e->lease_waiters, entry);
	while ((w = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, w, entry);
		w->cb(res, w->arg);
		free(w);
	}
}

static void
no_memory(struct etcd3 *e)
{
	struct rpc_result res = { .status = RPC_FAILED,
		.message = "out of memory" };

	answer(e, &res);
}

static void
on_grant(const struct rpc_result *res, void *arg)
{
	struct rpc_result bad = { .status = RPC_ERROR,
		.code = GRPC_UNKNOWN,
		.message = "no lease in the reply" };
	struct etcd3 *e = arg;
	int64_t id;

	e->lease_rpc = NULL;
	if (res->status != RPC_OK) {
		answer(e, res);
		return;
	}
	if ((id = etcd_int(res->root, "ID")) == 0) {
		answer(e, &bad);
		return;
	}
	snprintf(e->lease, sizeof(e->lease), "%lld", (long long)id);
	e->lease_sent = res->sent_ns;
	answer(e, res);
}

static void
grant(struct etcd3 *e, int64_t deadline)
{
	char *body = NULL;

	e->lease[0] = '\0';
	e->lease_ttl = dcs_ttl_ns(e->c.dcs);
	if (asprintf(&body, "{\"TTL\":%lld}",
		(long long)(e->lease_ttl / NS_PER_SEC)) < 0)
		body = NULL;
	e->lease_rpc = rpc_start(
	    e, "/lease/grant", body, RPC_RETRY, deadline, on_grant, e);
	if (e->lease_rpc == NULL)
		no_memory(e);
}

static void
on_keepalive(const struct rpc_result *res, void *arg)
{
	struct etcd3 *e = arg;

	e->lease_rpc = NULL;
	/* given up meanwhile (other ttl), unknown to the store, or expired */
	if (e->lease[0] == '\0' ||
	    (res->status == RPC_ERROR && res->code == GRPC_NOT_FOUND) ||
	    (res->status == RPC_OK &&
		etcd_int(json_object_get(res->root, "result"), "TTL") <= 0)) {
		grant(e, e->lease_deadline);
		return;
	}
	if (res->status == RPC_OK)
		e->lease_sent = res->sent_ns;
	answer(e, res);
}

static void
keepalive(struct etcd3 *e, int64_t deadline)
{
	char *body = NULL;

	if (asprintf(&body, "{\"ID\":\"%s\"}", e->lease) < 0)
		body = NULL;
	e->lease_deadline = deadline;
	e->lease_rpc = rpc_start(
	    e, "/lease/keepalive", body, RPC_RETRY, deadline, on_keepalive, e);
	if (e->lease_rpc == NULL)
		no_memory(e);
}

struct etcd_lease_waiter *
lease_get(struct etcd3 *e, bool force, int64_t deadline, lease_cb cb, void *arg)
{
	struct rpc_result res = {
		.status = RPC_OK, .message = "", .sent_ns = e->lease_sent
	};
	int64_t now = clock_boot_ns();
	struct etcd_lease_waiter *w;

	/* Half a loop: one prolongation per loop, none for extra wake-ups. */
	if (e->lease_rpc == NULL && e->lease[0] != '\0' && !force &&
	    now - e->lease_sent < dcs_loop_ns(e->c.dcs) / 2) {
		cb(&res, arg);
		return NULL;
	}
	if ((w = calloc(1, sizeof(*w))) == NULL) {
		res.status = RPC_FAILED;
		res.message = "out of memory";
		cb(&res, arg);
		return NULL;
	}
	w->cb = cb;
	w->arg = arg;
	TAILQ_INSERT_TAIL(&e->lease_waiters, w, entry);
	if (e->lease_rpc == NULL) {
		if (e->lease[0] == '\0')
			grant(e, deadline);
		else
			keepalive(e, deadline);
		if (e->lease_rpc == NULL)
			return NULL; /* it failed at once: answered */
	}
	return w;
}

void
lease_forget_waiter(struct etcd3 *e, struct etcd_lease_waiter *w)
{
	if (w == NULL)
		return;
	TAILQ_REMOVE(&e->lease_waiters, w, entry);
	free(w);
}

void
lease_forget(struct etcd3 *e)
{
	e->lease[0] = '\0';
}

void
lease_close(struct etcd3 *e)
{
	struct etcd_lease_waiter *w;

	while ((w = TAILQ_FIRST(&e->lease_waiters)) != NULL)
		lease_forget_waiter(e, w);
}
