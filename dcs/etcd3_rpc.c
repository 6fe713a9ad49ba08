/*
 * etcd3_rpc.c: one exchange with etcd v3 (spec/dcs.md 7.1, 7.3, 7.5).
 *
 * A visit is up to three exchanges on the same endpoint: /version (once per
 * process), login (when needed), the request itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/values.h"
#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "etcd3_int.h"
#include "json.h"

enum phase { PHASE_VERSION, PHASE_LOGIN, PHASE_CALL };

static void exchange(struct rpc *);

static struct etcd3 *
driver(struct etcd_client *c)
{
	return (struct etcd3 *)((char *)c - offsetof(struct etcd3, c));
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

/* ---- replies ---- */

bool
rpc_check_header(struct etcd3 *e, const json_t *root)
{
	const json_t *h = json_object_get(root, "header");

	return h == NULL ||
	    etcd_check_term(
		&e->c, json_text(h, "cluster_id"), etcd_int(h, "raft_term"));
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

void
rpc_drop_token(struct etcd3 *e)
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
	struct etcd3 *e = driver(r->c);

	if (code == GRPC_UNAVAILABLE ||
	    (code == GRPC_UNKNOWN &&
		strstr(msg, "not a primary lessor") != NULL)) {
		r->maybe_sent = true;
		rpc_visit_failed(r, false, msg);
		return;
	}
	if (auth_error(code, msg)) {
		if (r->c->conf.user == NULL) {
			if (etcd_may_log(r->c))
				log_error(
				    "Username or password not set, authentication is not possible");
		} else if (!r->login_repeated) {
			r->login_repeated = true;
			e->no_auth = false;
			rpc_drop_token(e);
			exchange(r);
			return;
		}
	}
	if (code == GRPC_DEADLINE)
		r->maybe_sent = true;
	if (code == GRPC_DEADLINE || code == GRPC_PRECONDITION) {
		rpc_again(r, msg);
		return;
	}
	rpc_end(r, RPC_ERROR, NULL, code, msg);
}

static void
call_ok(struct rpc *r, const json_t *root)
{
	if (strncmp(r->path, "/kv/", 4) == 0 &&
	    json_object_get(root, "header") == NULL) {
		r->maybe_sent = true;
		rpc_visit_failed(r, false, "not an answer of etcd");
	} else if (!rpc_check_header(driver(r->c), root))
		rpc_visit_failed(r, false, "its raft term is old");
	else {
		silence_check(driver(r->c), root);
		rpc_good(r, root);
	}
}

static void
version_reply(struct rpc *r, const json_t *root)
{
	struct etcd3 *e = driver(r->c);
	const char *cluster = json_text(root, "etcdcluster");
	const char *server = json_text(root, "etcdserver");
	unsigned c[3] = { 0 }, v[3] = { 0 };

	if (server != NULL)
		(void)version_numbers(server, v);
	if (cluster == NULL || version_numbers(cluster, c) < 2) {
		/* "not_decided" while the cluster forms */
		rpc_visit_failed(
		    r, false, "no cluster version in its /version");
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
	if (c[0] == 3 && c[1] < 3 && e->c.conf.user != NULL) {
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
	struct etcd3 *e = driver(r->c);

	rpc_drop_token(e);
	if (token == NULL || (e->token = strdup(token)) == NULL) {
		rpc_visit_failed(
		    r, false, "no token in the answer to the login");
		return;
	}
	exchange(r);
}

static void
login_error(struct rpc *r, int code, const char *msg)
{
	if (code == GRPC_PRECONDITION &&
	    strstr(msg, "authentication is not enabled") != NULL) {
		driver(r->c)->no_auth = true;
		exchange(r);
		return;
	}
	if (code == GRPC_UNAVAILABLE || code == GRPC_DEADLINE) {
		rpc_visit_failed(r, false, msg);
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
		rpc_visit_failed(r, a->error == HTTP_CONNECT, a->text);
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
			rpc_visit_failed(r, false, msg);
		} else if (r->phase == PHASE_CALL)
			call_error(r, code, msg);
		else if (r->phase == PHASE_LOGIN)
			login_error(r, code, msg);
		else
			rpc_visit_failed(r, false, msg);
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
	json_t *j = json_pack("{s:s,s:s}", "name", e->c.conf.user, "password",
	    e->c.conf.password == NULL ? "" : e->c.conf.password);
	char *s = j == NULL ? NULL : json_compact(j);

	json_decref(j);
	return s;
}

/* The next exchange of a visit. */
static void
exchange(struct rpc *r)
{
	struct etcd3 *e = driver(r->c);
	char url[URL_SIZE + 64], auth[1024], *body = NULL;
	const char *headers[2] = { NULL, NULL };
	struct http_spec s = { .method = "POST", .headers = headers };

	if (e->prefix[0] == '\0')
		r->phase = PHASE_VERSION;
	else if (e->c.conf.user != NULL && e->token == NULL && !e->no_auth &&
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
	}
	s.body_len = s.body == NULL ? 0 : strlen(s.body);
	s.url = url;
	rpc_send(r, &s, on_reply);
	if (body != NULL)
		wipe(body, strlen(body));
	free(body);
	wipe(auth, sizeof(auth));
}

struct rpc *
rpc_start(struct etcd3 *e, const char *path, char *body, uint32_t flags,
    int64_t deadline, rpc_done_cb done, void *arg)
{
	return rpc_request(
	    &e->c, "POST", path, body, flags, deadline, done, arg);
}

/* ---- member list ---- */

static uint32_t
list_urls(const json_t *root, char (*list)[URL_SIZE])
{
	const json_t *members = json_object_get(root, "members"), *urls;
	uint32_t n = 0;
	size_t i, j;
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
			n++;
		}
	}
	return n;
}

static void
on_members(const struct rpc_result *res, void *arg)
{
	char list[ETCD_MAX_ENDPOINTS][URL_SIZE];
	struct etcd_client *c = arg;
	uint32_t n = res->status == RPC_OK ? list_urls(res->root, list) : 0;

	etcd_members(c, list, n, res->message);
}

static struct rpc *
ask_members(struct etcd_client *c, int64_t deadline)
{
	return rpc_request(c, "POST", "/cluster/member/list", strdup("{}"), 0,
	    deadline, on_members, c);
}

static void
stale(struct etcd_client *c)
{
	watch_restart(driver(c));
}

const struct etcd_kind etcd3_kind = {
	.exchange = exchange,
	.stale = stale,
	.ask_members = ask_members,
};
