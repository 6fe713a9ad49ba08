/*
 * consul_request.c: one request to the Consul agent (spec/dcs.md 8.2): how
 * long, what is repeated, what an answer means.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "consul_int.h"
#include "etcd3_proto.h"
#include "json.h"

#define MAX_ANSWER (16 * 1024 * 1024)

struct creq {
	LIST_ENTRY(creq) entry;
	struct consul *c;
	const char *method;
	char *path, *body;
	uint32_t flags;
	int64_t deadline;
	creq_cb cb;
	void *arg;
	struct event *timer;
	struct http_request *http;
	int64_t delay;
	bool maybe_sent;
	int64_t sent_ns, first_ns;
};

static const char *const wanted[] = { "X-Consul-Index", NULL };

static void
creq_free(struct creq *r)
{
	LIST_REMOVE(r, entry);
	http_cancel(r->http);
	if (r->timer != NULL)
		event_free(r->timer);
	free(r->path);
	free(r->body);
	free(r);
}

void
creq_cancel(struct creq *r)
{
	if (r != NULL)
		creq_free(r);
}

static void
finish(struct creq *r, struct creq_result *res)
{
	creq_cb cb = r->cb;
	void *arg = r->arg;

	res->maybe_sent = r->maybe_sent;
	res->sent_ns = r->sent_ns;
	res->first_ns = r->first_ns;
	if (res->status == CREQ_FAILED)
		text_set(
		    r->c->last_error, sizeof(r->c->last_error), res->error);
	else
		r->c->last_error[0] = '\0';
	creq_free(r);
	cb(res, arg);
}

/* The agent could not answer: again, if there is time. */
static void
failed(struct creq *r, const char *text)
{
	struct creq_result res = { .status = CREQ_FAILED };
	int64_t now = clock_boot_ns(), sleep;
	struct timeval tv;
	char error[TEXT_SIZE];

	if (now - r->c->logged_ns >= NS_PER_SEC) {
		log_error("Request to Consul agent %s failed: %s",
		    r->c->conf.url, text);
		r->c->logged_ns = now;
	}
	if (r != r->c->query)
		consul_watch_trouble(r->c);
	sleep = r->delay + (rand_r(&r->c->seed) % 81) * 10 * NS_PER_MS;
	r->delay = r->delay * 2 < NS_PER_SEC ? r->delay * 2 : NS_PER_SEC;
	if ((r->flags & CREQ_RETRY) && now + sleep < r->deadline) {
		tv.tv_sec = sleep / NS_PER_SEC;
		tv.tv_usec = sleep % NS_PER_SEC / 1000;
		evtimer_add(r->timer, &tv);
		return;
	}
	snprintf(error, sizeof(error), "%s", text);
	res.error = error;
	finish(r, &res);
}

/* What Consul says in plain text when it does not do it. */
static void
refused(struct creq *r, const struct http_answer *a)
{
	struct creq_result res = { .status = CREQ_REFUSED };
	char text[TEXT_SIZE];

	snprintf(
	    text, sizeof(text), "HTTP status %ld: %.300s", a->status, a->body);
	text[strcspn(text, "\r\n")] = '\0';
	res.error = text;
	if (a->status >= 500 &&
	    strcasestr(a->body, "invalid session ttl") != NULL)
		res.status = CREQ_BAD_TTL;
	else if (a->status >= 500 &&
	    strcasestr(a->body, "invalid session") != NULL)
		res.status = CREQ_NO_SESSION;
	else if (a->status >= 500 || a->status < 400) {
		/* no leader, or whatever stands before the agent */
		r->maybe_sent = true;
		failed(r, text);
		return;
	} else if (a->status == 404)
		res.status = CREQ_ABSENT;
	else if (a->status == 409)
		res.status = CREQ_CONFLICT;
	finish(r, &res);
}

static void
on_answer(const struct http_answer *a, void *arg)
{
	struct creq_result res = { .status = CREQ_OK, .error = "" };
	struct creq *r = arg;
	json_t *root = NULL;

	r->http = NULL;
	if (a->resent || a->error == HTTP_BROKEN)
		r->maybe_sent = true;
	if (a->error != HTTP_OK) {
		failed(r, a->text);
		return;
	}
	if (!text_to_int64(a->got[0], 0, INT64_MAX, &res.index))
		res.index = 0;
	if (a->status < 200 || a->status > 299) {
		/* 404 of a blocking query carries the index, too */
		if (a->status == 404 && res.index > 0) {
			res.status = CREQ_ABSENT;
			res.error = "not found";
			finish(r, &res);
		} else
			refused(r, a);
		return;
	}
	if (a->len > 0 &&
	    (root = json_loadb(a->body, a->len, JSON_DECODE_ANY, NULL)) ==
		NULL) {
		r->maybe_sent = true;
		failed(r, "not an answer of Consul");
		return;
	}
	res.root = root;
	finish(r, &res);
	json_decref(root);
}

static void
send_request(struct creq *r)
{
	char url[URL_SIZE + 2 * CONSUL_PATH], token[NAME_SIZE + 32];
	const char *headers[2] = { NULL, NULL };
	int64_t third = dcs_retry_ns(r->c->dcs) / 3;
	struct http_spec s = { .method = r->method,
		.url = url,
		.body = r->body,
		.body_len = r->body == NULL ? 0 : strlen(r->body),
		.headers = headers,
		.want = wanted,
		.tls = &r->c->conf.tls,
		.deadline = r->deadline,
		.max_body = MAX_ANSWER };

	snprintf(url, sizeof(url), "%s%s", r->c->conf.url, r->path);
	if (r->c->conf.token != NULL) {
		snprintf(token, sizeof(token), "X-Consul-Token: %s",
		    r->c->conf.token);
		headers[0] = token;
	}
	if (third < NS_PER_SEC)
		third = NS_PER_SEC;
	r->sent_ns = clock_boot_ns();
	if (r->first_ns == 0)
		r->first_ns = r->sent_ns;
	if (!(r->flags & CREQ_LONG) && r->sent_ns + third < r->deadline)
		s.deadline = r->sent_ns + third;
	s.connect_ns = third;
	r->http = http_start(r->c->http, &s, on_answer, r);
	wipe(token, sizeof(token));
	if (r->http == NULL)
		failed(r, "out of memory");
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct creq *r = arg;

	(void)fd;
	(void)what;
	send_request(r);
}

struct creq *
creq_start(struct consul *c, const char *method, const char *path, char *body,
    uint32_t flags, int64_t deadline, creq_cb cb, void *arg)
{
	struct timeval now = { 0, 0 };
	struct creq *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		free(body);
		return NULL;
	}
	r->c = c;
	r->method = method;
	r->body = body;
	r->flags = flags;
	r->deadline = deadline;
	r->cb = cb;
	r->arg = arg;
	r->delay = 100 * NS_PER_MS;
	LIST_INSERT_HEAD(&c->reqs, r, entry);
	if ((r->path = strdup(path)) == NULL ||
	    (r->timer = evtimer_new(c->base, on_timer, r)) == NULL) {
		creq_free(r);
		return NULL;
	}
	evtimer_add(r->timer, &now);
	return r;
}

char *
consul_value(const json_t *entry, size_t *len)
{
	const char *value = json_text(entry, "Value");

	*len = 0;
	/* an empty value is null */
	return value == NULL ? strdup("") : base64_decode(value, len);
}

void
consul_dc_query(const struct consul *c, char *buf, size_t size)
{
	char dc[3 * NAME_SIZE];

	buf[0] = '\0';
	if (c->conf.dc[0] != '\0' &&
	    http_escape(dc, sizeof(dc), c->conf.dc, ""))
		snprintf(buf, size, "?dc=%s", dc);
}
