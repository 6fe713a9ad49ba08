/*
 * etcd3_rpc.c: one request to the etcd cluster (spec/dcs.md 5.2 to 5.5, 7.1,
 * 7.3, 7.5): which endpoint, how long, login first, what is repeated.
 *
 * A request goes through rounds; a round visits the endpoints, beginning with
 * the selected one; a visit is up to three exchanges on the same endpoint:
 * /version (once per process), login (when needed), the request itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/values.h"
#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "etcd3_int.h"
#include "json.h"

#define MIN_VISIT NS_PER_SEC
#define FIRST_REFRESH (300 * NS_PER_SEC)

enum phase { PHASE_VERSION, PHASE_LOGIN, PHASE_CALL };

struct rpc {
	LIST_ENTRY(rpc) entry;
	struct etcd3 *e;
	char *path, *body;
	uint32_t flags;
	int64_t deadline;
	rpc_done_cb done;
	void *arg;

	struct event *timer; /* start, back-off */
	struct http_request *http;
	enum phase phase;
	int64_t visit_ns; /* budget of one try */
	int64_t visit_end;
	uint32_t nodes; /* endpoints in this round */
	uint32_t visited;
	int tries, tried; /* on this endpoint */
	int64_t delay;	  /* next back-off */
	bool login_repeated;
	bool maybe_sent;
	int64_t sent_ns;
	char url[URL_SIZE];
	char error[TEXT_SIZE];
};

static void visit(struct rpc *);
static void exchange(struct rpc *);

const char *
rpc_endpoint(const struct etcd3 *e)
{
	return e->nendpoints == 0 ? "" :
				    e->endpoints[e->current % e->nendpoints];
}

const char *
rpc_auth_header(const struct etcd3 *e, char *buf, size_t size)
{
	int n;

	if (e->token == NULL)
		return NULL;
	n = snprintf(buf, size, "authorization: %s", e->token);
	return n < 0 || (size_t)n >= size ? NULL : buf;
}

static void
rpc_free(struct rpc *r)
{
	LIST_REMOVE(r, entry);
	http_cancel(r->http);
	if (r->timer != NULL)
		event_free(r->timer);
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

static void
rpc_end(struct rpc *r, enum rpc_status status, const json_t *root, int code,
    const char *message)
{
	struct rpc_result res = { status, root, code, message, r->maybe_sent,
		r->sent_ns };
	char text[TEXT_SIZE];
	rpc_done_cb done = r->done;
	void *arg = r->arg;

	if (status != RPC_OK) {
		text_set(r->e->last_error, sizeof(r->e->last_error), message);
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
	uint32_t n = r->e->nendpoints;
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
widen_endpoints(struct etcd3 *e)
{
	uint32_t i, j;

	for (i = 0; i < e->conf.nendpoints; i++) {
		for (j = 0; j < e->nendpoints; j++)
			if (strcmp(e->endpoints[j], e->conf.endpoints[i]) == 0)
				break;
		if (j == e->nendpoints && j < ETCD_MAX_ENDPOINTS)
			memcpy(e->endpoints[e->nendpoints++],
			    e->conf.endpoints[i], URL_SIZE);
	}
}

static int64_t
backoff(struct rpc *r)
{
	int64_t ns = r->delay + (rand_r(&r->e->seed) % 81) * 10 * NS_PER_MS;

	r->delay = r->delay * 2 < NS_PER_SEC ? r->delay * 2 : NS_PER_SEC;
	return ns;
}

/* Everything failed: another round, or the end. */
static void
next_round(struct rpc *r)
{
	int64_t now = clock_boot_ns(), sleep = backoff(r);

	watch_restart(r->e);
	widen_endpoints(r->e);
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
select_endpoint(struct etcd3 *e, uint32_t index)
{
	if (e->nendpoints == 0 || index % e->nendpoints == e->current)
		return;
	e->current = index % e->nendpoints;
	log_info("Selected new etcd server %s", rpc_endpoint(e));
	watch_restart(e);
}

static uint32_t
index_of(const struct etcd3 *e, const char *url)
{
	uint32_t i;

	for (i = 0; i < e->nendpoints; i++)
		if (strcmp(e->endpoints[i], url) == 0)
			return i;
	return e->current;
}

/* Lines about a store in trouble come once a second at most. */
static bool
may_log(struct etcd3 *e)
{
	int64_t now = clock_boot_ns();

	if (now - e->logged_ns < NS_PER_SEC)
		return false;
	e->logged_ns = now;
	return true;
}

/* This endpoint could not answer (5.5 step 2). */
static void
visit_failed(struct rpc *r, bool connect, const char *text)
{
	struct etcd3 *e = r->e;
	int64_t now = clock_boot_ns();

	snprintf(r->error, sizeof(r->error), "%.200s%.40s: %.250s", r->url,
	    r->path, text);
	if (may_log(e))
		log_error("Request to server %s failed: %s", r->url, text);
	if (connect && ++r->tried < r->tries && now < r->deadline) {
		visit(r);
		return;
	}
	r->tried = 0;
	if (!(r->flags & RPC_RETRY)) {
		if (e->nendpoints > 1)
			select_endpoint(e, index_of(e, r->url) + 1);
		else
			watch_restart(e);
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

/* ---- replies ---- */

bool
rpc_check_header(struct etcd3 *e, const json_t *root)
{
	const json_t *h = json_object_get(root, "header");
	int64_t term = etcd_int(h, "raft_term");
	char id[WORD_SIZE];
	const char *s;

	if (h == NULL || term == 0)
		return true;
	/* cluster_id is an unsigned 64-bit number: compared as text */
	s = json_text(h, "cluster_id");
	if (s == NULL || !text_set(id, sizeof(id), s))
		id[0] = '\0';
	if (id[0] != '\0' && strcmp(id, e->cluster_id) != 0) {
		if (e->cluster_id[0] != '\0')
			log_warn("Etcd Cluster ID changed from %s to %s",
			    e->cluster_id, id);
		text_set(e->cluster_id, sizeof(e->cluster_id), id);
		e->term = 0;
	}
	if (term < e->term) {
		log_warn(
		    "Connected to Etcd node with term %lld. Old known term %lld. Switching to another node.",
		    (long long)term, (long long)e->term);
		return false;
	}
	e->term = term;
	return true;
}

static bool
auth_error(int code, const char *m)
{
	return (code == GRPC_INVALID_ARGUMENT &&
		   (strstr(m, "user name is empty") != NULL ||
		       strstr(m, "revision of auth store is old") != NULL)) ||
	    (code == GRPC_PERMISSION &&
		strstr(m, "permission denied") != NULL) ||
	    (code == GRPC_UNAUTHENTICATED &&
		strstr(m, "invalid auth token") != NULL);
}

static void
drop_token(struct etcd3 *e)
{
	if (e->token != NULL)
		wipe(e->token, strlen(e->token));
	free(e->token);
	e->token = NULL;
}

/* An error reply to the request itself. */
static void
call_error(struct rpc *r, int code, const char *msg)
{
	int64_t sleep;

	if (code == GRPC_UNAVAILABLE ||
	    (code == GRPC_UNKNOWN &&
		strstr(msg, "not a primary lessor") != NULL)) {
		r->maybe_sent = true;
		visit_failed(r, false, msg);
		return;
	}
	if (auth_error(code, msg)) {
		if (r->e->conf.user == NULL) {
			if (may_log(r->e))
				log_error(
				    "Username or password not set, authentication is not possible");
		} else if (!r->login_repeated) {
			r->login_repeated = true;
			r->e->no_auth = false;
			drop_token(r->e);
			exchange(r);
			return;
		}
	}
	if (code == GRPC_DEADLINE)
		r->maybe_sent = true;
	if ((code == GRPC_DEADLINE || code == GRPC_PRECONDITION) &&
	    (r->flags & RPC_RETRY)) {
		sleep = backoff(r);
		if (clock_boot_ns() + sleep < r->deadline &&
		    plan(r, r->deadline - clock_boot_ns() - sleep, false)) {
			wait_for(r, sleep);
			return;
		}
		snprintf(r->error, sizeof(r->error),
		    "Exceeded retry deadline: %.300s", msg);
		rpc_end(r, RPC_FAILED, NULL, 0, r->error);
		return;
	}
	rpc_end(r, RPC_ERROR, NULL, code, msg);
}

static void
call_ok(struct rpc *r, const json_t *root)
{
	struct etcd3 *e = r->e;

	if (!rpc_check_header(e, root)) {
		visit_failed(r, false, "its raft term is old");
		return;
	}
	e->last_error[0] = '\0';
	if (index_of(e, r->url) != e->current) {
		select_endpoint(e, index_of(e, r->url));
		rpc_refresh(e, true);
	} else
		rpc_refresh(e, false);
	rpc_end(r, RPC_OK, root, 0, "");
}

static void
version_reply(struct rpc *r, const json_t *root)
{
	struct etcd3 *e = r->e;
	const char *cluster = json_text(root, "etcdcluster");
	const char *server = json_text(root, "etcdserver");
	unsigned c[3] = { 0 }, v[3] = { 0 };

	if (server != NULL)
		(void)version_numbers(server, v);
	if (cluster == NULL || version_numbers(cluster, c) < 2) {
		/* "not_decided" while the cluster forms */
		visit_failed(r, false, "no cluster version in its /version");
		return;
	}
	if (c[0] < 3 || (v[0] == 3 && v[1] == 0 && v[2] < 4)) {
		snprintf(r->error, sizeof(r->error),
		    "Detected Etcd version %.40s is lower than 3.0.4",
		    server == NULL ? cluster : server);
		log_error("%s", r->error);
		rpc_end(r, RPC_FAILED, NULL, 0, r->error);
		return;
	}
	text_set(e->prefix, sizeof(e->prefix),
	    c[0] > 3 || c[1] >= 4 ? "/v3" :
		c[1] == 3	  ? "/v3beta" :
				    "/v3alpha");
	e->no_watch = c[0] == 3 && c[1] == 0;
	if (e->no_watch)
		log_warn(
		    "Detected Etcd version %s is lower than 3.1.0, watches are not supported",
		    cluster);
	if (c[0] == 3 && c[1] < 3 && e->conf.user != NULL) {
		log_warn(
		    "Detected Etcd version %s is lower than 3.3.0, authentication is not supported",
		    cluster);
		e->no_auth = true;
	}
	exchange(r);
}

static void
login_reply(struct rpc *r, const json_t *root)
{
	const char *token = json_text(root, "token");

	drop_token(r->e);
	if (token == NULL || (r->e->token = strdup(token)) == NULL) {
		visit_failed(r, false, "no token in the answer to the login");
		return;
	}
	exchange(r);
}

static void
login_error(struct rpc *r, int code, const char *msg)
{
	if (code == GRPC_PRECONDITION &&
	    strstr(msg, "authentication is not enabled") != NULL) {
		r->e->no_auth = true;
		exchange(r);
		return;
	}
	if (code == GRPC_UNAVAILABLE || code == GRPC_DEADLINE) {
		visit_failed(r, false, msg);
		return;
	}
	log_error("Etcd3 authentication failed: %s", msg);
	rpc_end(r, RPC_ERROR, NULL, code, msg);
}

static void
on_reply(const struct http_answer *a, void *arg)
{
	struct rpc *r = arg;
	char msg[TEXT_SIZE] = "";
	int code = GRPC_UNKNOWN;
	json_t *root;

	r->http = NULL;
	if (r->phase == PHASE_CALL && (a->resent || a->error == HTTP_BROKEN))
		r->maybe_sent = true;
	if (a->error != HTTP_OK) {
		visit_failed(r, a->error == HTTP_CONNECT, a->text);
		return;
	}
	root = etcd_parse(a->body, a->len);
	if (etcd_error(root, &code, msg, sizeof(msg)) || a->status >= 400 ||
	    !json_is_object(root)) {
		if (msg[0] == '\0') {
			/* whatever stands before etcd: it says nothing about
			 * the lock, which must not be taken for lost */
			snprintf(msg, sizeof(msg),
			    "HTTP status %ld, not an answer of etcd",
			    a->status);
			if (r->phase == PHASE_CALL)
				r->maybe_sent = true;
			visit_failed(r, false, msg);
		} else if (r->phase == PHASE_CALL)
			call_error(r, code, msg);
		else if (r->phase == PHASE_LOGIN)
			login_error(r, code, msg);
		else
			visit_failed(r, false, msg);
	} else if (r->phase == PHASE_CALL)
		call_ok(r, root);
	else if (r->phase == PHASE_LOGIN)
		login_reply(r, root);
	else
		version_reply(r, root);
	json_decref(root);
}

/* ---- requests ---- */

static char *
login_body(const struct etcd3 *e)
{
	json_t *j = json_pack("{s:s,s:s}", "name", e->conf.user, "password",
	    e->conf.password == NULL ? "" : e->conf.password);
	char *s = j == NULL ? NULL : json_compact(j);

	json_decref(j);
	return s;
}

/* The next exchange of a visit. */
static void
exchange(struct rpc *r)
{
	struct etcd3 *e = r->e;
	char url[URL_SIZE + 64], auth[1024], *body = NULL;
	const char *headers[2] = { NULL, NULL };
	struct http_spec s = { .method = "POST",
		.headers = headers,
		.tls = &e->conf.tls,
		.max_body = MAX_REPLY };

	if (e->prefix[0] == '\0')
		r->phase = PHASE_VERSION;
	else if (e->conf.user != NULL && e->token == NULL && !e->no_auth &&
	    !(r->flags & RPC_NO_AUTH))
		r->phase = PHASE_LOGIN;
	else
		r->phase = PHASE_CALL;
	if (r->phase == PHASE_VERSION) {
		s.method = "GET";
		snprintf(url, sizeof(url), "%s/version", r->url);
	} else if (r->phase == PHASE_LOGIN) {
		log_info("Trying to authenticate on Etcd...");
		snprintf(url, sizeof(url), "%s%s/auth/authenticate", r->url,
		    e->prefix);
		s.body = body = login_body(e);
	} else {
		snprintf(
		    url, sizeof(url), "%s%s%s", r->url, e->prefix, r->path);
		s.body = r->body;
		headers[0] = rpc_auth_header(e, auth, sizeof(auth));
		r->sent_ns = clock_boot_ns();
	}
	s.body_len = s.body == NULL ? 0 : strlen(s.body);
	s.url = url;
	s.deadline = r->visit_end;
	s.connect_ns =
	    r->visit_ns / 2 > NS_PER_SEC ? r->visit_ns / 2 : NS_PER_SEC;
	r->http = http_start(e->http, &s, on_reply, r);
	if (body != NULL)
		wipe(body, strlen(body));
	free(body);
	wipe(auth, sizeof(auth));
	if (r->http == NULL) {
		snprintf(r->error, sizeof(r->error), "out of memory");
		rpc_end(r, RPC_FAILED, NULL, 0, r->error);
	}
}

static void
visit(struct rpc *r)
{
	struct etcd3 *e = r->e;

	text_set(r->url, sizeof(r->url),
	    e->endpoints[(e->current + r->visited) % e->nendpoints]);
	r->visit_end = clock_boot_ns() + r->visit_ns;
	if (r->visit_end > r->deadline)
		r->visit_end = r->deadline;
	exchange(r);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct rpc *r = arg;
	int64_t left = r->deadline - clock_boot_ns();

	(void)fd;
	(void)what;
	if (left <= 0 || (r->nodes == 0 && !plan(r, left, true))) {
		rpc_end(r, RPC_FAILED, NULL, 0,
		    r->error[0] != '\0' ? r->error :
					  "No more machines in the cluster");
		return;
	}
	visit(r);
}

struct rpc *
rpc_start(struct etcd3 *e, const char *path, char *body, uint32_t flags,
    int64_t deadline, rpc_done_cb done, void *arg)
{
	struct rpc *r;

	if (body == NULL || (r = calloc(1, sizeof(*r))) == NULL) {
		free(body);
		return NULL;
	}
	r->e = e;
	r->body = body;
	r->flags = flags;
	r->deadline = deadline;
	r->done = done;
	r->arg = arg;
	r->delay = 100 * NS_PER_MS;
	LIST_INSERT_HEAD(&e->rpcs, r, entry);
	if ((r->path = strdup(path)) == NULL ||
	    (r->timer = evtimer_new(e->base, on_timer, r)) == NULL) {
		rpc_free(r);
		return NULL;
	}
	wait_for(r, 0);
	return r;
}

/* ---- member list ---- */

static void
shuffle(struct etcd3 *e, char (*list)[URL_SIZE], uint32_t n)
{
	char tmp[URL_SIZE];
	uint32_t i, j;

	for (i = n; i > 1; i--) {
		j = (uint32_t)rand_r(&e->seed) % i;
		memcpy(tmp, list[i - 1], URL_SIZE);
		memcpy(list[i - 1], list[j], URL_SIZE);
		memcpy(list[j], tmp, URL_SIZE);
	}
}

static uint32_t
list_urls(const json_t *root, char (*list)[URL_SIZE])
{
	const json_t *members = json_object_get(root, "members"), *urls;
	uint32_t n = 0, k;
	size_t i, j, len;
	const char *s;

	for (i = 0; i < json_array_size(members); i++) {
		urls =
		    json_object_get(json_array_get(members, i), "clientURLs");
		for (j = 0; j < json_array_size(urls); j++) {
			s = json_string_value(json_array_get(urls, j));
			if (s == NULL || strncmp(s, "http", 4) != 0 ||
			    n == ETCD_MAX_ENDPOINTS ||
			    !text_set(list[n], URL_SIZE, s))
				continue;
			len = strlen(list[n]);
			while (len > 0 && list[n][len - 1] == '/')
				list[n][--len] = '\0';
			for (k = 0; k < n; k++)
				if (strcmp(list[k], list[n]) == 0)
					break;
			n += k == n;
		}
	}
	return n;
}

static void
on_members(const struct rpc_result *res, void *arg)
{
	char list[ETCD_MAX_ENDPOINTS][URL_SIZE], current[URL_SIZE];
	struct etcd3 *e = arg;
	uint32_t n, i;

	e->refresh = NULL;
	if (res->status != RPC_OK || (n = list_urls(res->root, list)) == 0) {
		log_debug("the list of etcd members cannot be read: %s",
		    res->message);
		return;
	}
	shuffle(e, list, n);
	text_set(current, sizeof(current), rpc_endpoint(e));
	memcpy(e->endpoints, list, (size_t)n * URL_SIZE);
	e->nendpoints = n;
	for (i = 0; i < n; i++)
		if (strcmp(list[i], current) == 0) {
			e->current = i;
			return;
		}
	e->current = 0;
	log_info("Selected new etcd server %s", rpc_endpoint(e));
	watch_restart(e);
}

void
rpc_refresh(struct etcd3 *e, bool at_once)
{
	int64_t now = clock_boot_ns(), every = 10 * dcs_ttl_ns(e->dcs);

	if (e->conf.use_proxies || e->refresh != NULL ||
	    (!at_once && e->refreshed && now < e->refresh_at))
		return;
	e->refresh_at = now + (e->refreshed ? every : FIRST_REFRESH);
	e->refreshed = true;
	e->refresh = rpc_start(e, "/cluster/member/list", strdup("{}"), 0,
	    now + dcs_retry_ns(e->dcs), on_members, e);
}
