/*
 * kubernetes_api.c: one request to the API server: which endpoint, how long,
 * what is tried again (spec/dcs.md 11.2, 11.4).  Knows no object.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "../ipc/version.h"
#include "json.h"
#include "kubernetes_int.h"

#define TOKEN_AGE (60 * NS_PER_SEC)
#define FIRST_DELAY (100 * NS_PER_MS)
#define MAX_DELAY NS_PER_SEC
#define LOG_INTERVAL (10 * NS_PER_SEC)

struct k8s_rpc {
	LIST_ENTRY(k8s_rpc) entry;
	struct k8s *k;
	const char *method;
	char *path; /* after the server's address */
	char *body;
	uint32_t flags;
	int64_t deadline;
	k8s_cb cb;
	void *arg;
	struct http_request *request;
	struct event *timer; /* pause before the next try */
	uint32_t tried;	     /* endpoints of this round */
	int64_t delay;
	int64_t sent_ns;
	bool maybe_sent;
	bool new_token; /* tried once more with another token */
	bool same_again;
};

static const char *const want[] = { "retry-after", NULL };

static void attempt(struct k8s_rpc *);

static void
rpc_free(struct k8s_rpc *r)
{
	LIST_REMOVE(r, entry);
	http_cancel(r->request);
	if (r->timer != NULL)
		event_free(r->timer);
	free(r->path);
	free(r->body);
	free(r);
}

void
k8s_cancel(struct k8s_rpc *r)
{
	if (r != NULL)
		rpc_free(r);
}

static void
end(struct k8s_rpc *r, const struct k8s_result *res)
{
	k8s_cb cb = r->cb;
	void *arg = r->arg;

	rpc_free(r);
	cb(res, arg);
}

static void
fail(struct k8s_rpc *r, const char *why)
{
	struct k8s_result res = { .status = K8S_FAILED,
		.message = why,
		.maybe_sent = r->maybe_sent,
		.sent_ns = r->sent_ns };
	char text[TEXT_SIZE];

	snprintf(text, sizeof(text), "%s", why);
	res.message = text;
	end(r, &res);
}

const char *
k8s_endpoint(const struct k8s *k)
{
	return k->endpoints[k->current];
}

/* ---- headers ---- */

const char *const *
k8s_headers(struct k8s *k, const char *content_type)
{
	static const char *list[5];
	static char type[96];
	int64_t now = clock_boot_ns();
	int n = 0;

	if (k->conf.token_file[0] != '\0' && now - k->token_at > TOKEN_AGE) {
		k->token_at = now;
		(void)k8s_token_read(&k->conf);
	}
	list[n++] = "Accept: application/json";
	if (content_type != NULL) {
		snprintf(type, sizeof(type), "Content-Type: %s", content_type);
		list[n++] = type;
	}
	if (k->conf.token != NULL) {
		snprintf(k->auth, sizeof(k->auth), "Authorization: Bearer %s",
		    k->conf.token);
		list[n++] = k->auth;
	}
	list[n] = NULL;
	return list;
}

/* ---- tries ---- */

static void
note_failure(struct k8s_rpc *r, const char *why)
{
	struct k8s *k = r->k;
	int64_t now = clock_boot_ns();

	snprintf(k->last_error, sizeof(k->last_error), "%s", why);
	if (now - k->logged_ns > LOG_INTERVAL) {
		k->logged_ns = now;
		log_warn(
		    "Request to server %s failed: %s", k8s_endpoint(k), why);
	}
}

/* 5.4: what one try may take, of what is left. */
static int64_t
try_ns(const struct k8s_rpc *r)
{
	uint32_t nodes = r->k->nendpoints;
	int64_t left = r->deadline - clock_boot_ns();
	int64_t total = dcs_retry_ns(r->k->dcs), one;

	if (!(r->flags & K8S_RETRY) || total > left)
		total = left;
	one = total / nodes / (nodes == 1 ? 2 : 1);
	if (one < NS_PER_SEC)
		one = NS_PER_SEC;
	return one < left ? one : left;
}

static bool
retriable(const struct k8s_rpc *r, long code, const char *retry_after)
{
	const struct k8s_conf *c = &r->k->conf;
	uint32_t i;

	if (code == 500 || code == 503 || code == 504 || retry_after[0] != '\0')
		return true;
	if (code == 403 && (r->flags & K8S_RETRY_403))
		return true;
	for (i = 0; i < c->ncodes; i++)
		if (code == c->codes[i])
			return true;
	return false;
}

static void
on_pause(evutil_socket_t fd, short what, void *arg)
{
	struct k8s_rpc *r = arg;

	(void)fd;
	(void)what;
	r->tried = 0;
	attempt(r);
}

/* Once more after a pause, if that leaves time for it. */
static void
pause_then(struct k8s_rpc *r, int64_t ns, const char *why)
{
	struct timeval tv;

	if (ns == 0) {
		r->k->seed = r->k->seed * 1103515245 + 12345;
		ns = r->delay + (r->k->seed >> 16) % 81 * 10 * NS_PER_MS;
		r->delay = 2 * r->delay < MAX_DELAY ? 2 * r->delay : MAX_DELAY;
	}
	if (clock_boot_ns() + ns >= r->deadline ||
	    (r->timer == NULL &&
		(r->timer = evtimer_new(r->k->base, on_pause, r)) == NULL)) {
		fail(r, why);
		return;
	}
	tv.tv_sec = ns / NS_PER_SEC;
	tv.tv_usec = ns % NS_PER_SEC / 1000;
	evtimer_add(r->timer, &tv);
}

static void
next_endpoint(struct k8s *k)
{
	k->current = (k->current + 1) % k->nendpoints;
}

/* No usable answer from this endpoint. */
static void
try_failed(struct k8s_rpc *r, enum http_error error, const char *why)
{
	struct k8s *k = r->k;
	char text[TEXT_SIZE];

	snprintf(text, sizeof(text), "%s", why);
	note_failure(r, text);
	if (error != HTTP_CONNECT)
		r->maybe_sent = true;
	/* a watch on that connection may be as dead */
	k8s_cache_restart(k);
	if (error == HTTP_CONNECT && k->nendpoints == 1 && !r->same_again &&
	    r->deadline > clock_boot_ns()) {
		r->same_again = true;
		pause_then(r, FIRST_DELAY, text);
		return;
	}
	next_endpoint(k);
	if (!(r->flags & K8S_RETRY)) {
		fail(r, text);
		return;
	}
	if (++r->tried < k->nendpoints && r->deadline > clock_boot_ns()) {
		attempt(r);
		return;
	}
	k->discovered_at = 0;
	k8s_discover(k);
	pause_then(r, 0, text);
}

static void
refused(struct k8s_rpc *r, const struct http_answer *a)
{
	json_t *root =
	    json_loadb(a->body, a->len, JSON_REJECT_DUPLICATES, NULL);
	const char *message = json_text(root, "message");
	struct k8s_result res = { .status = K8S_REFUSED,
		.code = a->status,
		.maybe_sent = r->maybe_sent,
		.sent_ns = r->sent_ns };
	char text[TEXT_SIZE];

	snprintf(text, sizeof(text), "%ld %s", a->status,
	    message == NULL ? "" : message);
	json_decref(root);
	res.message = text;
	if (a->status == 403)
		log_error("Permission denied: %s", text);
	else if (a->status != 409 && a->status != 404)
		log_error("Unexpected error from Kubernetes API: %s", text);
	end(r, &res);
}

/* An error that may pass: true when it was dealt with. */
static bool
may_pass(struct k8s_rpc *r, const struct http_answer *a)
{
	const char *after = a->got[0];
	char text[TEXT_SIZE];
	long seconds;

	if (a->status == 401 && !r->new_token) {
		r->new_token = true;
		if (k8s_token_read(&r->k->conf)) {
			attempt(r);
			return true;
		}
	}
	if (!retriable(r, a->status, after))
		return false;
	/* carried out in spite of that, perhaps */
	if (a->status >= 500)
		r->maybe_sent = true;
	if (!(r->flags & K8S_RETRY))
		return false;
	snprintf(text, sizeof(text), "HTTP status %ld", a->status);
	note_failure(r, text);
	seconds = strtol(after, NULL, 10);
	if (seconds < 0 || seconds > 3600)
		seconds = 0;
	pause_then(r, seconds * NS_PER_SEC, text);
	return true;
}

static void
on_answer(const struct http_answer *a, void *arg)
{
	struct k8s_rpc *r = arg;
	struct k8s_result res = { .status = K8S_OK,
		.code = a->status,
		.message = "",
		.maybe_sent = r->maybe_sent,
		.sent_ns = r->sent_ns };
	json_t *root;

	r->request = NULL;
	if (a->resent)
		r->maybe_sent = true;
	if (a->error != HTTP_OK) {
		try_failed(r, a->error, a->text);
		return;
	}
	if (a->status < 200 || a->status > 205) {
		if (!may_pass(r, a))
			refused(r, a);
		return;
	}
	root = json_loadb(a->body, a->len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(root)) {
		json_decref(root);
		try_failed(r, HTTP_BROKEN, "the answer is no JSON object");
		return;
	}
	r->k->last_error[0] = '\0';
	res.root = root;
	end(r, &res);
	json_decref(root);
}

static void
attempt(struct k8s_rpc *r)
{
	struct k8s *k = r->k;
	char url[4 * URL_SIZE];
	int64_t ns = try_ns(r);
	struct http_spec spec = { .method = r->method,
		.url = url,
		.body = r->body,
		.body_len = r->body == NULL ? 0 : strlen(r->body),
		.headers = k8s_headers(k,
		    r->body == NULL			? NULL :
			strcmp(r->method, "PATCH") == 0 ? K8S_PATCH :
							  "application/json"),
		.want = want,
		.user = k->conf.user,
		.password = k->conf.password,
		.tls = &k->conf.tls,
		.deadline = clock_boot_ns() + ns,
		.connect_ns = ns / 2 < NS_PER_SEC ? NS_PER_SEC : ns / 2,
		.max_body = K8S_MAX_REPLY };

	if (ns <= 0) {
		fail(r, "Exceeded retry deadline");
		return;
	}
	snprintf(url, sizeof(url), "%s%s", k8s_endpoint(k), r->path);
	r->sent_ns = clock_boot_ns();
	r->request = http_start(k->http, &spec, on_answer, r);
	if (r->request == NULL)
		fail(r, "the request cannot be started");
}

static void
on_first(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	attempt(arg);
}

struct k8s_rpc *
k8s_start(struct k8s *k, const char *method, const char *path, json_t *body,
    uint32_t flags, int64_t deadline, k8s_cb cb, void *arg)
{
	struct k8s_rpc *r = calloc(1, sizeof(*r));
	struct timeval now = { 0, 0 };

	if (r == NULL ||
	    asprintf(&r->path, "/api/v1/namespaces/%s", path) < 0) {
		json_decref(body);
		free(r);
		return NULL;
	}
	if (body != NULL)
		r->body = json_compact(body);
	r->k = k;
	r->method = method;
	r->flags = flags;
	r->deadline = deadline;
	r->cb = cb;
	r->arg = arg;
	r->delay = FIRST_DELAY;
	LIST_INSERT_HEAD(&k->rpcs, r, entry);
	r->timer = evtimer_new(k->base, on_first, r);
	if (r->timer == NULL || (body != NULL && r->body == NULL)) {
		json_decref(body);
		rpc_free(r);
		return NULL;
	}
	json_decref(body);
	/* from the loop: an attempt that cannot start ends at once */
	evtimer_add(r->timer, &now);
	return r;
}

/* ---- the API servers themselves (bypass_api_service) ---- */

static const json_t *
https_port(const json_t *subset)
{
	const json_t *port;
	size_t i;

	json_array_foreach(json_object_get(subset, "ports"), i, port)
	{
		const char *name = json_text(port, "name");
		const char *protocol = json_text(port, "protocol");

		if (name != NULL && strcmp(name, "https") == 0 &&
		    (protocol == NULL || strcmp(protocol, "TCP") == 0))
			return json_object_get(port, "port");
	}
	return NULL;
}

static uint32_t
read_subset(
    struct k8s *k, const json_t *subset, char list[K8S_MAX_ENDPOINTS][URL_SIZE])
{
	const json_t *port = https_port(subset), *address;
	const char *scheme =
	    strncmp(k->conf.server, "http:", 5) == 0 ? "http" : "https";
	uint32_t n = 0, j;
	char swap[URL_SIZE];
	size_t i;

	json_array_foreach(json_object_get(subset, "addresses"), i, address)
	{
		const char *ip = json_text(address, "ip");

		if (ip == NULL || !json_is_integer(port) ||
		    n == K8S_MAX_ENDPOINTS || strlen(ip) > 64)
			continue;
		snprintf(list[n], URL_SIZE,
		    strchr(ip, ':') == NULL ? "%s://%s:%d" : "%s://[%s]:%d",
		    scheme, ip, (int)json_integer_value(port));
		k->seed = k->seed * 1103515245 + 12345;
		j = (k->seed >> 16) % (n + 1);
		memcpy(swap, list[n], URL_SIZE);
		memcpy(list[n], list[j], URL_SIZE);
		memcpy(list[j], swap, URL_SIZE);
		n++;
	}
	return n;
}

static void
use_endpoints(struct k8s *k, char list[K8S_MAX_ENDPOINTS][URL_SIZE], uint32_t n)
{
	char now[URL_SIZE];
	uint32_t i;

	memcpy(now, k8s_endpoint(k), sizeof(now));
	memcpy(k->endpoints, list, sizeof(k->endpoints));
	k->nendpoints = n;
	k->current = 0;
	k->direct = true;
	for (i = 0; i < n; i++)
		if (strcmp(k->endpoints[i], now) == 0)
			k->current = i;
	/* by address: who it is cannot be told by a name */
	k->conf.tls.verify_host = false;
	if (strcmp(now, k8s_endpoint(k)) != 0)
		k8s_cache_restart(k);
}

static void
on_discovered(const struct k8s_result *res, void *arg)
{
	char list[K8S_MAX_ENDPOINTS][URL_SIZE];
	struct k8s *k = arg;
	const json_t *subset;
	uint32_t n = 0;
	size_t i;

	k->discovery = NULL;
	if (res->code == 403) {
		log_warn("bypass_api_service is switched off: endpoints "
			 "'kubernetes' cannot be read");
		k->conf.bypass = false;
		return;
	}
	if (res->status != K8S_OK)
		return;
	k->discovered_at = clock_boot_ns();
	json_array_foreach(json_object_get(res->root, "subsets"), i,
	    subset) if (n == 0) n = read_subset(k, subset, list);
	if (n > 0)
		use_endpoints(k, list, n);
}

void
k8s_discover(struct k8s *k)
{
	int64_t now = clock_boot_ns();
	int64_t age = dcs_loop_ns(k->dcs) - 500 * NS_PER_MS;

	if (!k->conf.bypass || dcs_ctl_mode(k->dcs) || k->discovery != NULL ||
	    (k->discovered_at != 0 && now - k->discovered_at < age))
		return;
	/* nobody of the list may be left: ask the service again */
	if (k->discovered_at == 0) {
		memcpy(k->endpoints[0], k->conf.server, URL_SIZE);
		k->nendpoints = 1;
		k->current = 0;
		k->conf.tls.verify_host = k->conf.tls.verify_peer;
	}
	k->discovery = k8s_start(k, "GET", "default/endpoints/kubernetes", NULL,
	    0, now + dcs_retry_ns(k->dcs), on_discovered, k);
}
