/*
 * peers.c: see peers.h.  A round is a set of requests that are made at once
 * and answered together.
 */
#include <sys/queue.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "http.h"
#include "json.h"
#include "peers.h"

#define MAX_ROUNDS 16
#define MAX_ANSWER (1024 * 1024)
#define LIVENESS_TRY (3 * NS_PER_SEC)
#define LIVENESS_TRIES 4

struct target {
	struct round *round;
	struct http_request *http;
	const char *url;
	char asked[URL_SIZE];
	int tries;
};

struct round {
	LIST_ENTRY(round) entry;
	struct peers *peers;
	struct event *timer; /* deadline; at once when all have answered */
	bool post;
	char *body;
	int64_t deadline;
	int64_t connect_ns, read_ns;
	uint32_t count, open;
	struct target *targets;
	struct peer_status *status;
	peers_done_cb done;
	void *arg;
};

struct liveness {
	LIST_ENTRY(liveness) entry;
	struct peers *peers;
	struct http_request *http;
	char url[URL_SIZE];
	int tries;
	int64_t deadline;
	struct event *timer;
	uint32_t code;
	peers_liveness_cb done;
	void *arg;
};

struct peers {
	struct event_base *base;
	struct http *http;
	struct http_tls tls;
	char *user, *password;
	LIST_HEAD(, round) rounds;
	LIST_HEAD(, liveness) checks;
	uint32_t nrounds;
};

static bool target_start(struct target *);

static void
round_free(struct round *r)
{
	uint32_t i;

	LIST_REMOVE(r, entry);
	r->peers->nrounds--;
	for (i = 0; i < r->count; i++)
		http_cancel(r->targets[i].http);
	if (r->timer != NULL)
		event_free(r->timer);
	free(r->body);
	free(r->targets);
	free(r->status);
	free(r);
}

static void
failed(struct target *t, const char *error)
{
	struct peer_status *p = &t->round->status[t - t->round->targets];

	log_warn("Request failed to %s: %s %s (%s)", p->name,
	    t->round->post ? "POST" : "GET", t->asked, error);
	snprintf(p->text, sizeof(p->text), "%.400s", error);
}

/* The round ends: at once when all have answered, else at its deadline. */
static void
on_round_timer(evutil_socket_t fd, short what, void *arg)
{
	struct round *r = arg;
	uint32_t i;

	(void)fd;
	(void)what;
	for (i = 0; i < r->count; i++)
		if (r->targets[i].http != NULL)
			failed(&r->targets[i], "no answer before the deadline");
	r->done(r->status, r->count, r->arg);
	round_free(r);
}

static void
wake_at(struct event *timer, int64_t ns)
{
	struct timeval tv = { 0, 0 };

	if (ns > 0) {
		tv.tv_sec = ns / NS_PER_SEC;
		tv.tv_usec = ns % NS_PER_SEC / 1000;
	}
	evtimer_add(timer, &tv);
}

static void
target_over(struct target *t)
{
	if (--t->round->open == 0)
		wake_at(t->round->timer, 0);
}

static void
failsafe_answer(
    struct target *t, const struct http_answer *a, struct peer_status *p)
{
	p->reachable = 1;
	p->accepted = a->status == 200 && strcmp(a->body, "Accepted") == 0;
	if (a->lsn >= 0) {
		p->has_lsn = 1;
		p->lsn = (uint64_t)a->lsn;
	}
	(void)t;
}

static void
on_answer(const struct http_answer *a, void *arg)
{
	struct target *t = arg;
	struct round *r = t->round;
	struct peer_status *p = &r->status[t - r->targets];
	const char *error = NULL;

	t->http = NULL;
	if (a->error == HTTP_CONNECT && r->post && t->tries == 1 &&
	    clock_boot_ns() < r->deadline && target_start(t))
		return;
	if (a->error != HTTP_OK)
		error = a->text;
	else if (r->post)
		failsafe_answer(t, a, p);
	else
		error = peer_parse(a->body, a->len, p);
	if (error != NULL)
		failed(t, error);
	else {
		log_info(
		    "Got response from %s %s: %s", p->name, t->asked, a->body);
		snprintf(p->text, sizeof(p->text), "%.400s", a->body);
	}
	target_over(t);
}

static void
limits(struct peers *peers, struct http_spec *s)
{
	s->tls = &peers->tls;
	s->user = peers->user;
	s->password = peers->password;
	s->max_body = MAX_ANSWER;
	s->close = true;
}

static bool
target_start(struct target *t)
{
	struct round *r = t->round;
	struct http_spec s = { .url = t->asked };
	int64_t end = clock_boot_ns() + r->connect_ns + r->read_ns;

	t->tries++;
	limits(r->peers, &s);
	s.method = r->post ? "POST" : "GET";
	s.body = r->post ? r->body : NULL;
	s.body_len = r->post ? strlen(r->body) : 0;
	s.connect_ns = r->connect_ns;
	s.deadline = end < r->deadline ? end : r->deadline;
	t->http = http_start(r->peers->http, &s, on_answer, t);
	return t->http != NULL;
}

static int64_t
clamp_ms(int32_t ms)
{
	return (ms < 1 ? 2000 : ms > 60000 ? 60000 : ms) * NS_PER_MS;
}

static struct round *
round_new(struct peers *peers, const struct tree *targets,
    const struct msg_poll *m, int64_t deadline, peers_done_cb done, void *arg)
{
	uint32_t n = tree_count(targets), i;
	struct round *r;

	if (n > MAX_MEMBERS)
		n = MAX_MEMBERS;
	if (peers->nrounds >= MAX_ROUNDS || (r = calloc(1, sizeof(*r))) == NULL)
		return NULL;
	r->peers = peers;
	r->done = done;
	r->arg = arg;
	r->connect_ns = clamp_ms(m->connect_timeout_ms);
	r->read_ns = clamp_ms(m->read_timeout_ms);
	r->deadline = clock_boot_ns() + 2 * r->connect_ns + r->read_ns;
	if (deadline > 0 && deadline < r->deadline)
		r->deadline = deadline;
	LIST_INSERT_HEAD(&peers->rounds, r, entry);
	peers->nrounds++;
	r->targets = calloc(n + 1, sizeof(*r->targets));
	r->status = calloc(n + 1, sizeof(*r->status));
	r->timer = evtimer_new(peers->base, on_round_timer, r);
	if (r->targets == NULL || r->status == NULL || r->timer == NULL) {
		round_free(r);
		return NULL;
	}
	for (i = 0; i < n; i++) {
		const struct tree *t = tree_child(targets, i);

		r->targets[i].round = r;
		r->targets[i].url = tree_path_text(t, "api_url", "");
		text_set(r->status[i].name, NAME_SIZE,
		    tree_path_text(t, "name", ""));
		tags_parse(NULL, &r->status[i].tags);
	}
	r->count = n;
	return r;
}

static void
round_start(struct round *r)
{
	struct target *t;
	uint32_t i;
	bool ok;

	wake_at(r->timer, r->deadline - clock_boot_ns());
	r->open = r->count;
	for (i = 0; i < r->count; i++) {
		t = &r->targets[i];
		ok = r->post ?
		    peer_url(t->url, "/failsafe", t->asked, sizeof(t->asked)) :
		    text_set(t->asked, sizeof(t->asked), t->url) &&
			t->asked[0] != '\0';
		if (!ok || !target_start(t)) {
			failed(t, ok ? "out of memory" : "no usable api_url");
			r->open--;
		}
	}
	if (r->open == 0)
		wake_at(r->timer, 0);
}

bool
peers_poll(struct peers *peers, const struct tree *targets,
    const struct msg_poll *m, int64_t deadline, peers_done_cb done, void *arg)
{
	struct round *r = round_new(peers, targets, m, deadline, done, arg);

	if (r == NULL)
		return false;
	round_start(r);
	return true;
}

bool
peers_failsafe(struct peers *peers, const struct tree *doc,
    const struct msg_poll *m, int64_t deadline, peers_done_cb done, void *arg)
{
	struct round *r =
	    round_new(peers, tree_get(doc, "targets"), m, deadline, done, arg);
	struct tree *body;
	json_t *j;

	if (r == NULL)
		return false;
	r->post = true;
	if ((body = tree_copy(doc)) != NULL)
		tree_remove(body, "targets");
	j = body == NULL ? NULL : json_from_tree(body);
	r->body = j == NULL ? NULL : json_compact(j);
	json_decref(j);
	tree_free(body);
	if (r->body == NULL) {
		round_free(r);
		return false;
	}
	round_start(r);
	return true;
}

/* ---- liveness ---- */

static void
liveness_free(struct liveness *l)
{
	LIST_REMOVE(l, entry);
	http_cancel(l->http);
	if (l->timer != NULL)
		event_free(l->timer);
	free(l);
}

static void
on_liveness_timer(evutil_socket_t fd, short what, void *arg)
{
	struct liveness *l = arg;

	(void)fd;
	(void)what;
	l->done(l->code, l->arg);
	liveness_free(l);
}

static void on_liveness(const struct http_answer *, void *);

static bool
liveness_try(struct liveness *l)
{
	struct http_spec s = { .method = "GET", .url = l->url };
	int64_t now = clock_boot_ns();

	if (l->tries++ == LIVENESS_TRIES || now >= l->deadline)
		return false;
	limits(l->peers, &s);
	s.deadline =
	    now + LIVENESS_TRY < l->deadline ? now + LIVENESS_TRY : l->deadline;
	l->http = http_start(l->peers->http, &s, on_liveness, l);
	return l->http != NULL;
}

static void
on_liveness(const struct http_answer *a, void *arg)
{
	struct liveness *l = arg;

	l->http = NULL;
	if (a->error == HTTP_OK)
		l->code = (uint32_t)a->status;
	else if (liveness_try(l))
		return;
	wake_at(l->timer, 0);
}

bool
peers_liveness(struct peers *peers, const char *api_url, int64_t deadline,
    peers_liveness_cb done, void *arg)
{
	struct liveness *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return false;
	l->peers = peers;
	l->done = done;
	l->arg = arg;
	l->deadline = deadline > 0 ?
	    deadline :
	    clock_boot_ns() + LIVENESS_TRIES * LIVENESS_TRY;
	LIST_INSERT_HEAD(&peers->checks, l, entry);
	l->timer = evtimer_new(peers->base, on_liveness_timer, l);
	if (l->timer == NULL) {
		liveness_free(l);
		return false;
	}
	if (!peer_url(api_url, "/liveness", l->url, sizeof(l->url)) ||
	    !liveness_try(l))
		wake_at(l->timer, 0);
	return true;
}

/* ---- life ---- */

static void
forget_credentials(struct peers *p)
{
	if (p->password != NULL)
		wipe(p->password, strlen(p->password));
	free(p->user);
	free(p->password);
	p->user = p->password = NULL;
}

/* `auth: user:password` or `authentication: {username, password}`. */
static bool
read_credentials(struct peers *p, const struct tree *section)
{
	const char *s = tree_path_text(section, "auth", NULL), *colon;
	const char *user, *password;

	if (s != NULL && (colon = strchr(s, ':')) != NULL) {
		p->user = strndup(s, (size_t)(colon - s));
		p->password = strdup(colon + 1);
		return true;
	}
	user = tree_path_text(section, "authentication.username", NULL);
	password = tree_path_text(section, "authentication.password", NULL);
	if (user == NULL || password == NULL)
		return false;
	p->user = strdup(user);
	p->password = strdup(password);
	return true;
}

bool
peers_reload(struct peers *p, const struct tree *conf, char *err, size_t errlen)
{
	const char *ca = tree_path_text(conf, "ctl.cacert", NULL);
	const char *cert = tree_path_text(conf, "ctl.certfile", NULL);

	if (ca == NULL)
		ca = tree_path_text(conf, "restapi.cafile", NULL);
	if (!http_tls_load(&p->tls, ca, cert,
		tree_path_text(conf, "ctl.keyfile", NULL),
		tree_path_text(conf, "ctl.keyfile_password", NULL), err,
		errlen))
		return false;
	/* spec/rest-api.md 20.1: the chain, only with a client certificate */
	p->tls.verify_peer = cert != NULL && cert[0] != '\0';
	p->tls.verify_host = false;
	forget_credentials(p);
	if (!read_credentials(p, tree_get(conf, "ctl")))
		read_credentials(p, tree_get(conf, "restapi"));
	return true;
}

struct peers *
peers_open(
    struct event_base *base, const struct tree *conf, char *err, size_t errlen)
{
	struct peers *p = calloc(1, sizeof(*p));

	if (p == NULL || (p->http = http_new(base)) == NULL) {
		snprintf(err, errlen, "out of memory");
		free(p);
		return NULL;
	}
	p->base = base;
	LIST_INIT(&p->rounds);
	LIST_INIT(&p->checks);
	if (!peers_reload(p, conf, err, errlen)) {
		peers_close(p);
		return NULL;
	}
	return p;
}

void
peers_close(struct peers *p)
{
	if (p == NULL)
		return;
	while (!LIST_EMPTY(&p->rounds))
		round_free(LIST_FIRST(&p->rounds));
	while (!LIST_EMPTY(&p->checks))
		liveness_free(LIST_FIRST(&p->checks));
	http_free(p->http);
	http_tls_clear(&p->tls);
	forget_credentials(p);
	free(p);
}
