/*
 * consul_session.c: the one session of this process (spec/dcs.md 8.3).
 *
 * The lock and the member key hang on it and vanish with it.  A process that
 * was restarted finds the session of its predecessor in the keys that carry
 * its name, and goes on with it if the agent still knows it under our name:
 * so the lock does not change hands.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "consul_int.h"
#include "json.h"

#define DEFAULT_LEAST (10 * NS_PER_SEC)

struct consul_waiter {
	TAILQ_ENTRY(consul_waiter) entry;
	creq_cb cb;
	void *arg;
};

static void create(struct consul *);
static void renew(struct consul *);

static void
answer(struct consul *c, const struct creq_result *res)
{
	TAILQ_HEAD(, consul_waiter) list;
	struct consul_waiter *w;

	/* callbacks may wait again: only those of now are answered */
	TAILQ_INIT(&list);
	TAILQ_CONCAT(&list, &c->waiters, entry);
	while ((w = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, w, entry);
		w->cb(res, w->arg);
		free(w);
	}
}

static void
no_memory(struct consul *c)
{
	struct creq_result res = { .status = CREQ_FAILED,
		.error = "out of memory" };

	answer(c, &res);
}

static void
session_name(const struct consul *c, char *buf, size_t size)
{
	snprintf(buf, size, "%s-%s", dcs_scope(c->dcs), dcs_name(c->dcs));
}

/* Session ttl: half of ours, since Consul waits for twice of it. */
static int64_t
wanted_ttl(const struct consul *c)
{
	int64_t half = dcs_ttl_ns(c->dcs) / 2;

	return half < c->least_ttl ? c->least_ttl : half;
}

/* ---- a ttl that the agent does not accept ---- */

static void
on_self(const struct creq_result *res, void *arg)
{
	struct creq_result bad = { .status = CREQ_REFUSED,
		.error = "Invalid Session TTL" };
	struct consul *c = arg;
	const json_t *config;
	int64_t least = 0, old = c->session_ttl;

	c->session_req = NULL;
	if (res->status == CREQ_OK) {
		config = json_object_get(res->root, "Config");
		if (!json_lenient_int(
			json_object_get(config, "SessionTTLMin"), &least) ||
		    least <= 0)
			least = DEFAULT_LEAST;
	} else
		least = DEFAULT_LEAST;
	log_warn("Changing Session TTL from %.1f to %.1f",
	    (double)old / (double)NS_PER_SEC,
	    (double)least / (double)NS_PER_SEC);
	c->least_ttl = least;
	answer(c, &bad);
}

/* ---- create ---- */

static void
on_created(const struct creq_result *res, void *arg)
{
	struct creq_result bad = { .status = CREQ_REFUSED,
		.error = "no session in the answer" };
	struct consul *c = arg;
	const char *id;

	c->session_req = NULL;
	if (res->status == CREQ_BAD_TTL) {
		c->session_req = creq_start(c, "GET", "/v1/agent/self", NULL,
		    CREQ_RETRY, c->session_deadline, on_self, c);
		if (c->session_req == NULL)
			no_memory(c);
		return;
	}
	if (res->status != CREQ_OK) {
		answer(c, res);
		return;
	}
	id = json_text(res->root, "ID");
	if (id == NULL || id[0] == '\0' ||
	    !text_set(c->session, sizeof(c->session), id)) {
		answer(c, &bad);
		return;
	}
	c->session_sent = res->sent_ns;
	answer(c, res);
}

static void
create(struct consul *c)
{
	char name[2 * NAME_SIZE + 2], ttl[32], path[CONSUL_PATH],
	    dc[CONSUL_PATH];
	json_t *checks, *body;

	c->session[0] = '\0';
	c->session_ttl = wanted_ttl(c);
	session_name(c, name, sizeof(name));
	snprintf(ttl, sizeof(ttl), "%.1fs",
	    (double)c->session_ttl / (double)NS_PER_SEC);
	consul_dc_query(c, dc, sizeof(dc));
	snprintf(path, sizeof(path), "/v1/session/create%.*s",
	    (int)sizeof(path) - 32, dc);
	checks = c->conf.checks == NULL ? json_array() :
					  json_from_tree(c->conf.checks);
	body = json_pack("{s:s,s:o,s:s,s:s,s:s}", "name", name, "checks",
	    checks, "lockdelay", "0.001s", "behavior", "delete", "ttl", ttl);
	c->session_req = body == NULL ?
	    NULL :
	    creq_start(c, "PUT", path, json_compact(body), CREQ_RETRY,
		c->session_deadline, on_created, c);
	json_decref(body);
	if (c->session_req == NULL)
		no_memory(c);
}

/* ---- renew, adopt ---- */

static bool
named_ours(const struct consul *c, const json_t *root)
{
	const char *name = json_text(json_array_get(root, 0), "Name");
	char ours[2 * NAME_SIZE + 2];

	session_name(c, ours, sizeof(ours));
	return name != NULL && strcmp(name, ours) == 0;
}

static void
on_renewed(const struct creq_result *res, void *arg)
{
	struct consul *c = arg;

	c->session_req = NULL;
	if (c->adopted[0] != '\0') {
		if (res->status == CREQ_OK && named_ours(c, res->root)) {
			log_info("going on with the session %s of before",
			    c->adopted);
			text_set(c->session, sizeof(c->session), c->adopted);
			c->session_ttl = wanted_ttl(c);
		} else if (res->status != CREQ_FAILED)
			text_set(c->refused, sizeof(c->refused), c->adopted);
		c->adopted[0] = '\0';
		if (res->status != CREQ_FAILED && c->session[0] == '\0') {
			create(c);
			return;
		}
	}
	/* given up meanwhile (other ttl), or unknown to Consul */
	if (res->status == CREQ_ABSENT || res->status == CREQ_NO_SESSION ||
	    (res->status == CREQ_OK && c->session[0] == '\0')) {
		consul_watch_trouble(c);
		create(c);
		return;
	}
	if (res->status == CREQ_OK)
		c->session_sent = res->sent_ns;
	answer(c, res);
}

static void
renew_id(struct consul *c, const char *id)
{
	char path[CONSUL_PATH], escaped[3 * SESSION_SIZE], dc[CONSUL_PATH];

	consul_dc_query(c, dc, sizeof(dc));
	if (!http_escape(escaped, sizeof(escaped), id, ""))
		escaped[0] = '\0';
	snprintf(path, sizeof(path), "/v1/session/renew/%s%.*s", escaped,
	    (int)(sizeof(path) - sizeof(escaped)) - 32, dc);
	c->session_req = creq_start(c, "PUT", path, NULL, CREQ_RETRY,
	    c->session_deadline, on_renewed, c);
	if (c->session_req == NULL)
		no_memory(c);
}

static void
renew(struct consul *c)
{
	renew_id(c, c->session);
}

/* Session of a key that carries our name: of the process before this one. */
static const char *
predecessor(const struct consul *c)
{
	const struct cache_entry *e;
	char path[2 * NAME_SIZE];

	e = cache_find(&c->cache, dcs_key_path(DCS_KEY_LEADER));
	if (e == NULL || e->session[0] == '\0' ||
	    strcmp(e->value, dcs_name(c->dcs)) != 0) {
		snprintf(path, sizeof(path), "%s%s",
		    dcs_key_path(DCS_KEY_MEMBER), dcs_name(c->dcs));
		e = cache_find(&c->cache, path);
	}
	if (e == NULL || e->session[0] == '\0' ||
	    strcmp(e->session, c->refused) == 0)
		return NULL;
	return e->session;
}

static void
begin(struct consul *c)
{
	const char *old;

	if (c->session[0] != '\0')
		renew(c);
	else if ((old = predecessor(c)) != NULL) {
		text_set(c->adopted, sizeof(c->adopted), old);
		renew_id(c, c->adopted);
	} else
		create(c);
}

struct consul_waiter *
session_get(
    struct consul *c, bool force, int64_t deadline, creq_cb cb, void *arg)
{
	struct creq_result res = {
		.status = CREQ_OK, .error = "", .sent_ns = c->session_sent
	};
	struct consul_waiter *w;

	/* Half a loop: one renewal per loop, none for extra wake-ups. */
	if (c->session_req == NULL && c->session[0] != '\0' && !force &&
	    clock_boot_ns() - c->session_sent < dcs_loop_ns(c->dcs) / 2) {
		cb(&res, arg);
		return NULL;
	}
	if ((w = calloc(1, sizeof(*w))) == NULL) {
		res.status = CREQ_FAILED;
		res.error = "out of memory";
		cb(&res, arg);
		return NULL;
	}
	w->cb = cb;
	w->arg = arg;
	TAILQ_INSERT_TAIL(&c->waiters, w, entry);
	if (c->session_req == NULL) {
		c->session_deadline = deadline;
		begin(c);
		if (c->session_req == NULL)
			return NULL; /* it failed at once: answered */
	}
	return w;
}

void
session_forget_waiter(struct consul *c, struct consul_waiter *w)
{
	if (w == NULL)
		return;
	TAILQ_REMOVE(&c->waiters, w, entry);
	free(w);
}

void
session_forget(struct consul *c)
{
	/* nor may it be found again in our keys */
	text_set(c->refused, sizeof(c->refused), c->session);
	c->session[0] = '\0';
}

void
session_close(struct consul *c)
{
	struct consul_waiter *w;

	while ((w = TAILQ_FIRST(&c->waiters)) != NULL)
		session_forget_waiter(c, w);
}
