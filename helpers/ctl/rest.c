/*
 * rest.c: requests to members, on the HTTP layer of the store's drivers, with
 * the retries and TLS rules of patronictl.md 6.
 */
#include <event2/event.h>

#include <stdlib.h>
#include <string.h>

#include "../../dcs/http.h"
#include "../../ipc/clock.h"
#include "../../ipc/version.h"
#include "../json.h"
#include "rest.h"

#define MAX_ANSWER (4 * 1024 * 1024)
/* A restart answers when PostgreSQL is up, whenever that is. */
#define LONG_SECONDS 86400
#define RETRIES 3
#define QUIET_SECONDS 2 /* until a terminal is told what is waited for */

struct waiting {
	struct rest_answer *answer;
	struct event_base *base;
	const char *what;
	const char *member;
	int64_t since;
	enum http_error error;
	bool done;
};

static void
answered(const struct http_answer *a, void *arg)
{
	struct waiting *w = arg;

	w->done = true;
	w->error = a->error;
	w->answer->status = a->error == HTTP_OK ? a->status : 0;
	if (a->error == HTTP_OK) {
		w->answer->body = strndup(a->body, a->len);
		w->answer->len = w->answer->body != NULL ? a->len : 0;
	}
	(void)snprintf(w->answer->text, sizeof(w->answer->text), "%s", a->text);
	(void)event_base_loopbreak(w->base);
}

static void
show_waiting(evutil_socket_t fd, short what, void *arg)
{
	struct waiting *w = arg;
	int64_t s = (clock_boot_ns() - w->since) / NS_PER_SEC;

	(void)fd;
	(void)what;
	if (s >= QUIET_SECONDS)
		progress("waiting for %s: %s (%lld s)", w->member, w->what,
		    (long long)s);
}

/* certfile: presented; cacert: what servers are checked against; insecure:
 * not checked, but the chain still is when a certificate is presented. */
static void
load_tls(const struct ctl *ctl, struct http_tls *tls)
{
	const struct tree *c = ctl->conf->effective;
	const char *cert = tree_path_text(c, "ctl.certfile", NULL);
	const char *ca = tree_path_text(
	    c, "ctl.cacert", tree_path_text(c, "restapi.cafile", NULL));
	char err[TEXT_SIZE] = "";

	memset(tls, 0, sizeof(*tls));
	tls->verify_host = !ctl->insecure;
	tls->verify_peer = !ctl->insecure || cert != NULL;
	if (!http_tls_load(tls, ca, cert,
		tree_path_text(c, "ctl.keyfile", NULL),
		tree_path_text(c, "ctl.keyfile_password", NULL), err,
		sizeof(err)))
		ctl_error("%s", err);
}

static void
load_credentials(const struct ctl *ctl, struct http_spec *spec)
{
	const struct tree *c = ctl->conf->effective;

	spec->user = tree_path_text(c, "ctl.authentication.username", NULL);
	spec->password = tree_path_text(c, "ctl.authentication.password", NULL);
	if (spec->user != NULL)
		return;
	spec->user = tree_path_text(c, "restapi.authentication.username", NULL);
	spec->password =
	    tree_path_text(c, "restapi.authentication.password", NULL);
}

/* One attempt; false when it could not even be started. */
static void
attempt(struct http *http, const struct http_spec *spec, struct waiting *w)
{
	static const struct timeval second = { 1, 0 };
	struct event *tick =
	    event_new(w->base, -1, EV_PERSIST, show_waiting, w);

	if (tick == NULL)
		ctl_error("out of memory");
	(void)event_add(tick, &second);
	w->done = false;
	w->error = HTTP_CONNECT;
	if (http_start(http, spec, answered, w) == NULL)
		(void)text_set(w->answer->text, sizeof(w->answer->text),
		    "not a usable URL");
	else
		while (!w->done)
			if (event_base_loop(w->base, EVLOOP_ONCE) != 0)
				break;
	event_free(tick);
	progress_end();
}

/* What may be sent again without being done twice (6.2). */
static bool
again(const struct http_spec *spec, enum http_error error)
{
	if (error == HTTP_CONNECT)
		return true;
	return error == HTTP_BROKEN &&
	    (strcmp(spec->method, "GET") == 0 ||
		strcmp(spec->method, "DELETE") == 0);
}

static void
perform(struct ctl *ctl, struct store *store, struct http_spec *spec,
    const char *member, int seconds, struct rest_answer *answer)
{
	static const char *const headers[] = {
		"User-Agent: Patroni/" PROGRAM_VERSION,
		"Accept-Encoding: identity", NULL
	};
	struct waiting w = { answer, store_base(store), spec->method, member,
		clock_boot_ns(), HTTP_OK, false };
	struct http *http = http_new(w.base);
	struct http_tls tls;
	char what[URL_SIZE + 16];
	int i;

	if (http == NULL)
		ctl_error("out of memory");
	(void)fflush(stdout);
	(void)snprintf(what, sizeof(what), "%s %s", spec->method, spec->url);
	w.what = what;
	load_tls(ctl, &tls);
	load_credentials(ctl, spec);
	spec->tls = &tls;
	spec->headers = headers;
	spec->max_body = MAX_ANSWER;
	spec->close = true;
	for (i = 0; i <= RETRIES; i++) {
		spec->deadline = clock_boot_ns() + seconds * NS_PER_SEC;
		attempt(http, spec, &w);
		if (answer->status != 0 || !again(spec, w.error) ||
		    i == RETRIES)
			break;
		log_warn("Retrying (%d) after connection broken by '%s': %s",
		    RETRIES - i - 1, answer->text, spec->url);
	}
	http_free(http);
	http_tls_clear(&tls);
	if (answer->body == NULL && (answer->body = strdup("")) == NULL)
		ctl_error("out of memory");
}

/* scheme://authority of the api_url with another path */
static bool
url_of(const struct view_member *m, const char *path, char *url, size_t size)
{
	const char *p = strstr(m->api_url, "://");
	size_t len;

	if (m->api_url[0] == '\0')
		return false;
	if (path == NULL)
		return text_set(url, size, m->api_url);
	if (p == NULL)
		return false;
	len = (size_t)(p - m->api_url) + 3 + strcspn(p + 3, "/?#");
	return snprintf(url, size, "%.*s%s", (int)len, m->api_url, path) <
	    (int)size;
}

static void
no_url(struct rest_answer *a)
{
	memset(a, 0, sizeof(*a));
	(void)text_set(a->text, sizeof(a->text), "no api_url in its key");
	if ((a->body = strdup("")) == NULL)
		ctl_error("out of memory");
}

void
rest_call(struct ctl *ctl, struct store *store, const struct view_member *m,
    const char *method, const char *path, const struct tree *body,
    struct rest_answer *answer)
{
	char url[URL_SIZE + WORD_SIZE];
	struct http_spec spec;
	char *json = NULL;

	if (!url_of(m, path, url, sizeof(url))) {
		no_url(answer);
		return;
	}
	memset(answer, 0, sizeof(*answer));
	memset(&spec, 0, sizeof(spec));
	if (body != NULL &&
	    (json = tree_to_json(body, JSON_FORM_SPACED, &spec.body_len)) ==
		NULL)
		ctl_error("the request cannot be written as JSON");
	spec.method = method;
	spec.url = url;
	spec.body = json;
	perform(ctl, store, &spec, m->name, LONG_SECONDS, answer);
	free(json);
}

void
rest_target(struct ctl *ctl, struct store *store, const struct target *t,
    const char *method, const char *path, const struct tree *body,
    struct rest_answer *answer)
{
	if (t->m == NULL)
		no_url(answer);
	else
		rest_call(ctl, store, t->m, method, path, body, answer);
}

void
rest_get(struct ctl *ctl, struct store *store, const struct view_member *m,
    int seconds, struct rest_answer *answer)
{
	struct http_spec spec;

	memset(answer, 0, sizeof(*answer));
	memset(&spec, 0, sizeof(spec));
	spec.method = "GET";
	spec.url = m->api_url;
	perform(ctl, store, &spec, m->name, seconds, answer);
}

void
rest_free(struct rest_answer *answer)
{
	free(answer->body);
	answer->body = NULL;
}
