/*
 * etcd_client.c: see etcd_client.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "etcd_client.h"

#define MIN_VISIT NS_PER_SEC
#define FIRST_REFRESH (300 * NS_PER_SEC)

static void visit(struct rpc *);

const char *
etcd_endpoint(const struct etcd_client *c)
{
	return c->nendpoints == 0 ? "" :
				    c->endpoints[c->current % c->nendpoints];
}

bool
etcd_may_log(struct etcd_client *c)
{
	int64_t now = clock_boot_ns();

	if (now - c->logged_ns < NS_PER_SEC)
		return false;
	c->logged_ns = now;
	return true;
}

static void
rpc_free(struct rpc *r)
{
	LIST_REMOVE(r, entry);
	http_cancel(r->http);
	if (r->timer != NULL)
		event_free(r->timer);
	if (r->c->refresh == r)
		r->c->refresh = NULL;
	if (r->body != NULL)
		wipe(r->body, strlen(r->body)); /* it may be a login */
	free(r->path);
	free(r->body);
	free(r);
}

void
rpc_cancel(struct rpc *r)
{
	if (r != NULL)
		rpc_free(r);
}

void
rpc_end(struct rpc *r, enum rpc_status status, const json_t *root, int code,
    const char *message)
{
	struct rpc_result res = { status, root, code, message, r->maybe_sent,
		r->sent_ns, r->first_ns, r->index };
	char text[TEXT_SIZE];
	rpc_done_cb done = r->done;
	void *arg = r->arg;

	if (status != RPC_OK) {
		text_set(r->c->last_error, sizeof(r->c->last_error), message);
		/* the text may live in the request */
		snprintf(text, sizeof(text), "%s", message);
		res.message = text;
	}
	rpc_free(r);
	done(&res, arg);
}

/* ---- budgets ---- */

/* spec/dcs.md 5.4.  False: no endpoint fits. */
static bool
plan(struct rpc *r, int64_t total, bool first)
{
	uint32_t n = r->c->nendpoints;
	bool dropped = false;
	int64_t per;

	if (n == 0)
		return false;
	for (per = total / n; per < MIN_VISIT && n > 1; per = total / n) {
		n--;
		dropped = true;
	}
	if (per < MIN_VISIT && !first)
		return false;
	r->tries = dropped ? 1 : 4 - (int)(n < 3 ? n : 3);
	while (r->tries > 1 && per / r->tries < MIN_VISIT)
		r->tries--;
	r->visit_ns = per / r->tries;
	r->nodes = n;
	r->visited = 0;
	r->tried = 0;
	return true;
}

static void
wait_for(struct rpc *r, int64_t ns)
{
	struct timeval tv = { ns / NS_PER_SEC, ns % NS_PER_SEC / 1000 };

	event_add(r->timer, &tv);
}

/* Known endpoints united with the configured ones (all have failed). */
static void
widen_endpoints(struct etcd_client *c)
{
	uint32_t i, j;

	for (i = 0; i < c->conf.nendpoints; i++) {
		for (j = 0; j < c->nendpoints; j++)
			if (strcmp(c->endpoints[j], c->conf.endpoints[i]) == 0)
				break;
		if (j == c->nendpoints && j < ETCD_MAX_ENDPOINTS)
			memcpy(c->endpoints[c->nendpoints++],
			    c->conf.endpoints[i], URL_SIZE);
	}
}

static int64_t
backoff(struct rpc *r)
{
	int64_t ns = r->delay + (rand_r(&r->c->seed) % 81) * 10 * NS_PER_MS;

	r->delay = r->delay * 2 < NS_PER_SEC ? r->delay * 2 : NS_PER_SEC;
	return ns;
}

/* Everything failed: another round, or the end. */
static void
next_round(struct rpc *r)
{
	int64_t now = clock_boot_ns(), sleep = backoff(r);

	r->c->kind->stale(r->c);
	etcd_srv_start(r->c);
	widen_endpoints(r->c);
	if (now + sleep >= r->deadline ||
	    !plan(r, r->deadline - now - sleep, false)) {
		rpc_end(r, RPC_FAILED, NULL, 0,
		    r->error[0] != '\0' ? r->error :
					  "No more machines in the cluster");
		return;
	}
	wait_for(r, sleep);
}

static void
select_endpoint(struct etcd_client *c, uint32_t index)
{
	if (c->nendpoints == 0 || index % c->nendpoints == c->current)
		return;
	c->current = index % c->nendpoints;
	log_info("Selected new etcd server %s", etcd_endpoint(c));
	c->kind->stale(c);
}

static uint32_t
index_of(const struct etcd_client *c, const char *url)
{
	uint32_t i;

	for (i = 0; i < c->nendpoints; i++)
		if (strcmp(c->endpoints[i], url) == 0)
			return i;
	return c->current;
}

/* This endpoint could not answer (5.5 step 2). */
void
rpc_visit_failed(struct rpc *r, bool connect, const char *text)
{
	struct etcd_client *c = r->c;
	int64_t now = clock_boot_ns();

	snprintf(r->error, sizeof(r->error), "%.200s%.40s: %.250s", r->url,
	    r->path, text);
	if (etcd_may_log(c))
		log_error("Request to server %s failed: %s", r->url, text);
	if (connect && ++r->tried < r->tries && now < r->deadline) {
		visit(r);
		return;
	}
	r->tried = 0;
	if (!(r->flags & RPC_RETRY)) {
		if (c->nendpoints > 1)
			select_endpoint(c, index_of(c, r->url) + 1);
		else
			c->kind->stale(c);
		rpc_end(r, RPC_FAILED, NULL, 0, r->error);
		return;
	}
	if (++r->visited < r->nodes && now < r->deadline) {
		log_debug("Reconnection allowed, looking for another server.");
		visit(r);
		return;
	}
	next_round(r);
}

static void
visit(struct rpc *r)
{
	struct etcd_client *c = r->c;

	text_set(r->url, sizeof(r->url),
	    c->endpoints[(c->current + r->visited) % c->nendpoints]);
	r->visit_end = clock_boot_ns() + r->visit_ns;
	if (r->visit_end > r->deadline)
		r->visit_end = r->deadline;
	c->kind->exchange(r);
}

/* No endpoint is known yet: wait for the lookup to bring some. */
static void
await_names(struct rpc *r, int64_t left)
{
	struct etcd_client *c = r->c;
	int64_t pause = c->srv_failed + NS_PER_SEC - clock_boot_ns();

	r->no_endpoint = true;
	if (c->srv == NULL && c->srv_failed != 0 && pause > 0)
		left = pause < left ? pause : left;
	else
		etcd_srv_start(c);
	if (r->no_endpoint) /* it may have ended at once */
		wait_for(r, left);
}

void
etcd_srv_found(struct etcd_client *c, char (*urls)[URL_SIZE], uint32_t n)
{
	struct rpc *r;

	c->srv_failed = n == 0 ? clock_boot_ns() : 0;
	if (n > 0) {
		memcpy(c->conf.endpoints, urls, (size_t)n * URL_SIZE);
		c->conf.nendpoints = n;
		widen_endpoints(c);
	}
	LIST_FOREACH(r, &c->rpcs, entry)
	if (r->no_endpoint) {
		r->no_endpoint = false;
		wait_for(r, 0);
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct rpc *r = arg;
	int64_t left = r->deadline - clock_boot_ns();

	(void)fd;
	(void)what;
	if (left > 0 && r->c->nendpoints == 0 && r->c->conf.srv[0] != '\0') {
		await_names(r, left);
		return;
	}
	if (left <= 0 || r->c->nendpoints == 0 ||
	    (r->nodes == 0 && !plan(r, left, true))) {
		rpc_end(r, RPC_FAILED, NULL, 0,
		    r->error[0] != '\0' ? r->error :
					  "No more machines in the cluster");
		return;
	}
	visit(r);
}

static void
shuffle(struct etcd_client *c, char (*list)[URL_SIZE], uint32_t n)
{
	char tmp[URL_SIZE];
	uint32_t i, j;

	for (i = n; i > 1; i--) {
		j = (uint32_t)rand_r(&c->seed) % i;
		memcpy(tmp, list[i - 1], URL_SIZE);
		memcpy(list[i - 1], list[j], URL_SIZE);
		memcpy(list[j], tmp, URL_SIZE);
	}
}

/* ---- one request ---- */

void
rpc_again(struct rpc *r, const char *text)
{
	int64_t sleep = backoff(r), now = clock_boot_ns();

	if ((r->flags & RPC_RETRY) && now + sleep < r->deadline &&
	    plan(r, r->deadline - now - sleep, false)) {
		wait_for(r, sleep);
		return;
	}
	snprintf(r->error, sizeof(r->error), "Exceeded retry deadline: %.300s",
	    text);
	rpc_end(r, RPC_FAILED, NULL, 0, r->error);
}

void
rpc_good(struct rpc *r, const json_t *root)
{
	struct etcd_client *c = r->c;
	uint32_t index = index_of(c, r->url);

	c->last_error[0] = '\0';
	if (index != c->current) {
		select_endpoint(c, index);
		etcd_refresh(c, true);
	} else
		etcd_refresh(c, false);
	rpc_end(r, RPC_OK, root, 0, "");
}

void
rpc_send(struct rpc *r, struct http_spec *s, http_done_cb done)
{
	s->tls = &r->c->conf.tls;
	s->max_body = MAX_REPLY;
	s->deadline = r->visit_end;
	s->connect_ns =
	    r->visit_ns / 2 > NS_PER_SEC ? r->visit_ns / 2 : NS_PER_SEC;
	r->sent_ns = clock_boot_ns();
	if (r->first_ns == 0)
		r->first_ns = r->sent_ns;
	r->http = http_start(r->c->http, s, done, r);
	if (r->http == NULL) {
		snprintf(r->error, sizeof(r->error), "out of memory");
		rpc_end(r, RPC_FAILED, NULL, 0, r->error);
	}
}

struct rpc *
rpc_request(struct etcd_client *c, const char *method, const char *path,
    char *body, uint32_t flags, int64_t deadline, rpc_done_cb done, void *arg)
{
	bool needs_body =
	    strcmp(method, "GET") != 0 && strcmp(method, "DELETE") != 0;
	struct rpc *r;

	if ((body == NULL && needs_body) ||
	    (r = calloc(1, sizeof(*r))) == NULL) {
		free(body);
		return NULL;
	}
	r->c = c;
	r->method = method;
	r->body = body;
	r->flags = flags;
	r->deadline = deadline;
	r->done = done;
	r->arg = arg;
	r->delay = 100 * NS_PER_MS;
	LIST_INSERT_HEAD(&c->rpcs, r, entry);
	if ((r->path = strdup(path)) == NULL ||
	    (r->timer = evtimer_new(c->base, on_timer, r)) == NULL) {
		rpc_free(r);
		return NULL;
	}
	wait_for(r, 0);
	return r;
}

/* ---- the cluster ---- */

bool
etcd_check_term(struct etcd_client *c, const char *cluster_id, int64_t term)
{
	char id[WORD_SIZE];

	if (term == 0)
		return true;
	/* an unsigned 64-bit number: compared as text */
	if (cluster_id == NULL || !text_set(id, sizeof(id), cluster_id))
		id[0] = '\0';
	if (id[0] != '\0' && strcmp(id, c->cluster_id) != 0) {
		if (c->cluster_id[0] != '\0')
			log_warn("Etcd Cluster ID changed from %s to %s",
			    c->cluster_id, id);
		text_set(c->cluster_id, sizeof(c->cluster_id), id);
		c->term = 0;
	}
	if (term < c->term) {
		log_warn(
		    "Connected to Etcd node with term %lld. Old known term %lld. Switching to another node.",
		    (long long)term, (long long)c->term);
		return false;
	}
	c->term = term;
	return true;
}

void
etcd_next_endpoint(struct etcd_client *c, const char *url)
{
	if (strcmp(etcd_endpoint(c), url) == 0)
		select_endpoint(c, c->current + 1);
}

static uint32_t
tidy(char (*list)[URL_SIZE], uint32_t n)
{
	uint32_t i, k, kept = 0;
	size_t len;

	for (i = 0; i < n; i++) {
		len = strlen(list[i]);
		while (len > 0 && list[i][len - 1] == '/')
			list[i][--len] = '\0';
		for (k = 0; k < kept; k++)
			if (strcmp(list[k], list[i]) == 0)
				break;
		if (k == kept && kept++ != i)
			memcpy(list[k], list[i], URL_SIZE);
	}
	return kept;
}

void
etcd_members(
    struct etcd_client *c, char (*list)[URL_SIZE], uint32_t n, const char *why)
{
	char current[URL_SIZE];
	uint32_t i;

	if (n == 0) {
		log_debug("the list of etcd members cannot be read: %s", why);
		return;
	}
	n = tidy(list, n);
	shuffle(c, list, n);
	text_set(current, sizeof(current), etcd_endpoint(c));
	memcpy(c->endpoints, list, (size_t)n * URL_SIZE);
	c->nendpoints = n;
	for (i = 0; i < n; i++)
		if (strcmp(list[i], current) == 0) {
			c->current = i;
			return;
		}
	c->current = 0;
	log_info("Selected new etcd server %s", etcd_endpoint(c));
	c->kind->stale(c);
}

void
etcd_refresh(struct etcd_client *c, bool at_once)
{
	int64_t now = clock_boot_ns(), every = 10 * dcs_ttl_ns(c->dcs);

	if (c->conf.use_proxies || c->refresh != NULL ||
	    (!at_once && c->refreshed && now < c->refresh_at))
		return;
	c->refresh_at = now + (c->refreshed ? every : FIRST_REFRESH);
	c->refreshed = true;
	c->refresh = c->kind->ask_members(c, now + dcs_retry_ns(c->dcs));
}

/* ---- life ---- */

void
etcd_client_settings(struct etcd_client *c)
{
	int ttl = (int)(dcs_ttl_ns(c->dcs) / NS_PER_SEC);
	int idle =
	    (int)((dcs_loop_ns(c->dcs) + dcs_retry_ns(c->dcs)) / NS_PER_SEC);
	int interval = (ttl - idle) / 3;

	http_keepalive(c->http, ttl, idle, interval < 1 ? 1 : interval);
}

bool
etcd_client_open(struct etcd_client *c, struct dcs *dcs,
    const struct etcd_kind *kind, const struct tree *section, char *err,
    size_t errlen)
{
	memset(c, 0, sizeof(*c));
	if (!etcd_conf_read(&c->conf, section, err, errlen))
		return false;
	c->dcs = dcs;
	c->kind = kind;
	c->base = dcs_event_base(dcs);
	c->seed = (uint32_t)clock_wall_us();
	LIST_INIT(&c->rpcs);
	memcpy(c->endpoints, c->conf.endpoints, sizeof(c->endpoints));
	c->nendpoints = c->conf.nendpoints;
	if ((c->http = http_new(c->base)) == NULL) {
		etcd_conf_clear(&c->conf);
		snprintf(err, errlen, "out of memory");
		return false;
	}
	etcd_srv_start(c);
	etcd_client_settings(c);
	return true;
}

bool
etcd_client_reload(
    struct etcd_client *c, const struct tree *section, char *err, size_t errlen)
{
	if (!etcd_conf_read(&c->conf, section, err, errlen))
		return false;
	etcd_srv_start(c);
	etcd_refresh(c, true);
	return true;
}

void
etcd_client_close(struct etcd_client *c)
{
	while (!LIST_EMPTY(&c->rpcs))
		rpc_cancel(LIST_FIRST(&c->rpcs));
	etcd_srv_cancel(c->srv);
	http_free(c->http);
	etcd_conf_clear(&c->conf);
}
