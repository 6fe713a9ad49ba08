/*
 * routes.c: which request is answered by what (spec/rest-api.md 1, 3.2), and
 * the safe requests.
 */
#include <stdio.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "openapi.h"
#include "rest.h"

#define METRICS_AGE_NS (100 * NS_PER_MS)
#define CLUSTER_AGE_NS (50 * NS_PER_MS)

static const char json_type[] = "application/json";

void
rest_reply_json(struct httpd_request *q, int code, const struct buf *b)
{
	if (b->failed) {
		httpd_reply_text(q, 500, "out of memory");
		return;
	}
	httpd_reply(q, code, json_type, NULL, b->s, b->len);
}

void
rest_no_dcs(struct httpd_request *q)
{
	httpd_reply_text(q, 503, "DCS is not accessible");
}

static void
get_metrics(struct rest *r, struct httpd_request *q)
{
	int64_t now = clock_boot_ns();
	struct own_metrics own = { .helpers = &r->helpers, .dcs = &r->dcs };
	struct facts f;

	health_facts(&r->snap, now, &f);
	if (r->metrics_ns == 0 || now - r->metrics_ns > METRICS_AGE_NS ||
	    r->metrics_bits != facts_bits(&f)) {
		own.queued =
		    r->ops.queued == NULL ? 0 : r->ops.queued(r->ops.ctx);
		own.view_latency_ns = r->view_latency;
		own.http = httpd_stats(r->http);
		buf_reset(&r->metrics);
		document_metrics(&r->metrics, &r->snap, &f, r->view, now,
		    &r->names, r->tags, &own);
		r->metrics_ns = now;
		r->metrics_bits = facts_bits(&f);
	}
	if (r->metrics.failed) {
		httpd_reply_text(q, 500, "out of memory");
		return;
	}
	httpd_reply(q, 200, "text/plain", NULL, r->metrics.s, r->metrics.len);
}

static void
cluster_ready(struct rest *r, const struct view *v, void *arg)
{
	struct httpd_request *q = arg;

	if (v == NULL) {
		rest_no_dcs(q);
		return;
	}
	if (!r->cluster_valid) {
		buf_reset(&r->cluster);
		document_cluster(&r->cluster, v, r->names.scope);
		r->cluster_valid = !r->cluster.failed;
	}
	rest_reply_json(q, 200, &r->cluster);
}

static void
history_ready(struct rest *r, const struct view *v, void *arg)
{
	struct buf b = { 0 };

	(void)r;
	if (v == NULL) {
		rest_no_dcs(arg);
		return;
	}
	document_history(&b, v);
	rest_reply_json(arg, 200, &b);
	buf_free(&b);
}

static void
config_ready(struct rest *r, const struct view *v, void *arg)
{
	struct buf b = { 0 };

	(void)r;
	if (v == NULL) {
		rest_no_dcs(arg);
		return;
	}
	/* config_modify 0: the key holds something that is no object */
	if (!v->has_config || v->config == NULL || v->config_modify == 0) {
		httpd_error(arg, 502, NULL);
		return;
	}
	buf_json_tree(&b, v->config);
	rest_reply_json(arg, 200, &b);
	buf_free(&b);
}

static void
cached_or_live(struct rest *r, struct httpd_request *q, rest_view_cb cb)
{
	const struct view *v = rest_cached_view(r, clock_boot_ns());

	if (v != NULL)
		cb(r, v, q);
	else
		rest_live_view(r, 0, cb, q);
}

static void
get_failsafe(struct rest *r, struct httpd_request *q)
{
	struct buf b = { 0 };

	/* The last seen object, also when the store is gone now. */
	if (r->view != NULL &&
	    (!r->view->has_failsafe || !r->view->failsafe_object)) {
		httpd_error(q, 502, NULL);
		return;
	}
	document_failsafe(&b, r->view);
	rest_reply_json(q, 200, &b);
	buf_free(&b);
}

static void
get_readiness(struct rest *r, struct httpd_request *q)
{
	struct query query;
	struct facts f;
	char reason[160];
	int code;

	health_facts(&r->snap, clock_boot_ns(), &f);
	query_parse(q->head.query, &query);
	code = readiness_code(&r->snap, &f, &query, reason, sizeof(reason));
	if (code != 200)
		log_debug("Readiness check failure: %s", reason);
	httpd_reply_bare(q, code);
}

static int
health_of(struct rest *r, struct httpd_request *q, struct facts *f)
{
	struct query query;

	health_facts(&r->snap, clock_boot_ns(), f);
	query_parse(q->head.query, &query);
	return health_code(&r->snap, f, q->head.path, &query, r->tags);
}

static void
get_health(struct rest *r, struct httpd_request *q)
{
	struct facts f;
	int code = health_of(r, q, &f);

	rest_reply_json(q, code, rest_document(r, &f));
}

/* First path segment. */
static const char *
segment(const char *path, size_t *len)
{
	while (*path == '/')
		path++;
	*len = strcspn(path, "/");
	return path;
}

static bool
is(const char *name, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(name, want, len) == 0;
}

static void
handle_get(struct rest *r, struct httpd_request *q)
{
	const char *name;
	size_t len;

	name = segment(q->head.path, &len);
	if (is(name, len, "liveness"))
		httpd_reply_bare(q, liveness_code(&r->snap, clock_boot_ns()));
	else if (is(name, len, "readiness"))
		get_readiness(r, q);
	else if (is(name, len, "patroni"))
		rest_patroni(r, q);
	else if (is(name, len, "cluster"))
		rest_live_view(r, CLUSTER_AGE_NS, cluster_ready, q);
	else if (is(name, len, "history"))
		cached_or_live(r, q, history_ready);
	else if (is(name, len, "config"))
		cached_or_live(r, q, config_ready);
	else if (is(name, len, "metrics"))
		get_metrics(r, q);
	else if (is(name, len, "failsafe"))
		get_failsafe(r, q);
	else if (is(name, len, "openapi.json"))
		httpd_reply(q, 200, json_type, NULL, openapi_json,
		    strlen(openapi_json));
	else
		get_health(r, q);
}

/* Bare forms of the GET answers.  liveness, readiness and patroni are answered
 * like GET, which is safer for probes than upstream's 503 (spec 24 row 1). */
static void
handle_bare(struct rest *r, struct httpd_request *q)
{
	const char *name;
	struct facts f;
	size_t len;

	name = segment(q->head.path, &len);
	if (is(name, len, "liveness"))
		httpd_reply_bare(q, liveness_code(&r->snap, clock_boot_ns()));
	else if (is(name, len, "readiness"))
		get_readiness(r, q);
	else if (is(name, len, "patroni")) {
		health_facts(&r->snap, clock_boot_ns(), &f);
		httpd_reply_bare(q, f.fresh ? 200 : 503);
	} else
		httpd_reply_bare(q, health_of(r, q, &f));
}

void
rest_handle(struct httpd_request *q, void *arg)
{
	struct rest *r = arg;
	char text[128];
	const char *name;
	size_t len;

	if (strcmp(q->head.method, "GET") == 0) {
		handle_get(r, q);
		return;
	}
	if (strcmp(q->head.method, "HEAD") == 0 ||
	    strcmp(q->head.method, "OPTIONS") == 0) {
		handle_bare(r, q);
		return;
	}
	name = segment(q->head.path, &len);
	if (rest_action(r, q, name, len))
		return;
	snprintf(
	    text, sizeof(text), "Unsupported method ('%.64s')", q->head.method);
	httpd_error(q, 501, text);
}
