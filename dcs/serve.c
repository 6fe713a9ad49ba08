/*
 * serve.c: requests of postgres and rest -> the store client, and its answers,
 * views and wake-ups back.  Knows no key format and no store.
 */
#include <sys/queue.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../helpers/sandbox.h"
#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "dcs.h"
#include "files.h"
#include "http.h"
#include "peers.h"
#include "resolve.h"
#include "serve.h"

#define MAX_PENDING 128
#define DEFAULT_DEADLINE (10 * NS_PER_SEC)
/* The master is told when this process is awake anyway, in seconds; at the
 * latest after the second. */
#define INFO_INTERVAL 10
#define INFO_QUIET 60
#define MAX_READABLE 9

/* A request that waits for the store or a peer. */
struct pending {
	LIST_ENTRY(pending) entry;
	struct serve *serve;
	enum proc from;
	uint64_t id;
	uint16_t type;
	int64_t started;
	bool lost; /* the link is gone: nobody to answer to */
};

struct serve {
	struct helper *helper;
	struct dcs *dcs;
	struct peers *peers;
	struct resolver *resolver;
	char readable[MAX_READABLE][PATH_SIZE]; /* kept open to a reload */
	uint32_t nreadable;
	LIST_HEAD(, pending) pending;
	uint32_t npending;
	struct event *push_timer;
	struct event *info_timer;
	bool pushing; /* a load for a push is under way */
	bool push_again;
	struct view *pushed; /* what rest has */
	uint64_t served;
	struct msg_dcs_figures figures;
	int64_t looked;	      /* for files that the sandbox hides */
	char told[TEXT_SIZE]; /* text of the last HELPER_INFO */
	int64_t told_ns;
	bool stopping;
};

static void schedule_push(struct serve *);
static void send_info(struct serve *);

/* ---- answers ---- */

static struct pending *
pending_new(struct serve *s, enum proc from, const struct ipc_msg *m)
{
	struct pending *p;

	if (s->npending >= MAX_PENDING || (p = calloc(1, sizeof(*p))) == NULL)
		return NULL;
	p->serve = s;
	p->from = from;
	p->id = m->hdr.id;
	p->type = m->hdr.type;
	p->started = clock_boot_ns();
	LIST_INSERT_HEAD(&s->pending, p, entry);
	s->npending++;
	return p;
}

static void
pending_free(struct pending *p)
{
	struct serve *s = p->serve;

	LIST_REMOVE(p, entry);
	s->npending--;
	s->served++;
	free(p);
	if (s->stopping && s->npending == 0)
		helper_stopped(s->helper, 0);
}

/*
 * Something could not be reached.  When that is because a resolver file was
 * replaced, of which Landlock knows the old one only, a new process helps.
 * Requests in flight count as of unknown outcome, and the lock is kept.
 */
static void
look_for_hidden_files(struct serve *s)
{
	int64_t now = clock_boot_ns();

	if (s->looked != 0 && now - s->looked < NS_PER_SEC)
		return;
	s->looked = now;
	if (!sandbox_stale())
		return;
	log_warn("a file of the resolver was replaced: the helper ends, to be "
		 "started with access to the new one");
	exit(0);
}

static void
send_figures(struct serve *s)
{
	if (helper_linked(s->helper, PROC_REST))
		(void)helper_send_newest(s->helper, PROC_REST, MSG_DCS_FIGURES,
		    &s->figures, NULL, 0);
}

/* Figures of the store for /metrics; those of rest itself are its own. */
static void
count(struct pending *p, bool ok)
{
	struct serve *s = p->serve;
	struct msg_dcs_figures *f = &s->figures;

	if (!ok)
		look_for_hidden_files(s);
	if (p->from != PROC_POSTGRES)
		return;
	f->requests++;
	f->failures += !ok;
	f->last_ns = clock_boot_ns() - p->started;
	f->total_ns += f->last_ns;
	/* once a loop: the member's key is what it writes last */
	if (p->type == MSG_DCS_TOUCH || !ok)
		send_figures(s);
	if (clock_boot_ns() - s->told_ns >= INFO_INTERVAL * NS_PER_SEC)
		send_info(s);
}

static void
reply_result(
    struct serve *s, enum proc to, uint64_t id, const struct msg_result *r)
{
	if (helper_reply_id(s->helper, to, id, MSG_DCS_RESULT, r, NULL, 0) != 0)
		log_debug("an answer to %s could not be sent", proc_name(to));
}

static void
reply_view(
    struct serve *s, enum proc to, uint64_t id, const struct dcs_reply *r)
{
	struct msg_view m = { .outcome = r->outcome };
	uint8_t *var = NULL;
	size_t len = 0;

	snprintf(m.error, sizeof(m.error), "%s", r->error);
	if (r->outcome == OUTCOME_OK && !view_encode(r->view, &var, &len)) {
		m.outcome = OUTCOME_FAILED;
		snprintf(m.error, sizeof(m.error), "out of memory");
	}
	helper_reply_id(s->helper, to, id, MSG_DCS_VIEW, &m, var, len);
	free(var);
}

static void
on_view(const struct dcs_reply *r, void *arg)
{
	struct pending *p = arg;

	if (!p->lost)
		reply_view(p->serve, p->from, p->id, r);
	count(p, r->outcome == OUTCOME_OK);
	pending_free(p);
}

static void
on_done(const struct dcs_reply *r, void *arg)
{
	struct pending *p = arg;
	struct msg_result m = { .outcome = r->outcome, .token = r->token };
	struct msg_wake wake = { .reason = p->type == MSG_DCS_SET_CONFIG ?
		    WAKE_CONFIG :
		    WAKE_OTHER };

	m.sent_ns = r->sent_ns != 0 ? r->sent_ns : p->started;
	snprintf(m.error, sizeof(m.error), "%s", r->error);
	if (!p->lost)
		reply_result(p->serve, p->from, p->id, &m);
	/* our own write is no news to the watch, but it is to the HA loop */
	if (p->from == PROC_REST && r->outcome == OUTCOME_OK &&
	    helper_linked(p->serve->helper, PROC_POSTGRES))
		helper_send_newest(p->serve->helper, PROC_POSTGRES,
		    MSG_DCS_WAKE, &wake, NULL, 0);
	count(p, r->outcome == OUTCOME_OK || r->outcome == OUTCOME_REFUSED);
	pending_free(p);
}

static void
on_peers(const struct peer_status *status, uint32_t n, void *arg)
{
	struct pending *p = arg;
	struct msg_peers m = { .count = n };
	uint32_t i, silent = 0;

	if (!p->lost)
		helper_reply_id(p->serve->helper, p->from, p->id, MSG_DCS_PEERS,
		    &m, status, n * sizeof(*status));
	for (i = 0; i < n; i++)
		silent += !status[i].reachable;
	if (silent > 0)
		look_for_hidden_files(p->serve);
	pending_free(p);
}

static void
on_liveness(uint32_t code, void *arg)
{
	struct pending *p = arg;
	struct msg_result m = { .outcome =
				    code != 0 ? OUTCOME_OK : OUTCOME_FAILED,
		.code = code,
		.sent_ns = p->started };

	if (!p->lost)
		reply_result(p->serve, p->from, p->id, &m);
	pending_free(p);
}

static void
reply_addresses(
    struct serve *s, enum proc to, uint64_t id, const struct tree *addresses)
{
	uint8_t *var = NULL;
	size_t len = 0;

	if (addresses != NULL && !tree_encode(addresses, &var, &len))
		len = 0;
	helper_reply_id(s->helper, to, id, MSG_DCS_ADDRESSES, NULL, var, len);
	free(var);
}

static void
on_addresses(const struct tree *addresses, bool all, void *arg)
{
	struct pending *p = arg;

	if (!p->lost)
		reply_addresses(p->serve, p->from, p->id, addresses);
	if (!all)
		look_for_hidden_files(p->serve);
	pending_free(p);
}

static void
refuse(
    struct serve *s, enum proc from, const struct ipc_msg *m, const char *why)
{
	struct msg_result r = { .outcome = OUTCOME_FAILED };
	struct msg_view v = { .outcome = OUTCOME_FAILED };
	struct msg_peers none = { .count = 0 };

	snprintf(r.error, sizeof(r.error), "%s", why);
	snprintf(v.error, sizeof(v.error), "%s", why);
	switch (m->hdr.type) {
	case MSG_DCS_LOAD:
		helper_reply(s->helper, from, m, MSG_DCS_VIEW, &v, NULL, 0);
		break;
	case MSG_DCS_POLL:
	case MSG_DCS_FAILSAFE_POST:
		helper_reply(s->helper, from, m, MSG_DCS_PEERS, &none, NULL, 0);
		break;
	case MSG_DCS_RESOLVE:
		reply_addresses(s, from, m->hdr.id, NULL);
		break;
	default:
		helper_reply(s->helper, from, m, MSG_DCS_RESULT, &r, NULL, 0);
	}
}

/* ---- requests ---- */

static bool
to_peers(struct serve *s, const struct ipc_msg *m, const struct tree *doc,
    int64_t deadline, struct pending *p)
{
	switch (m->hdr.type) {
	case MSG_DCS_POLL:
		return peers_poll(
		    s->peers, doc, m->body, deadline, on_peers, p);
	case MSG_DCS_FAILSAFE_POST:
		return peers_failsafe(
		    s->peers, doc, m->body, deadline, on_peers, p);
	case MSG_DCS_RESOLVE:
		return resolver_start(
		    s->resolver, doc, deadline, on_addresses, p);
	default:
		return peers_liveness(s->peers,
		    ((const struct msg_url *)m->body)->url, deadline,
		    on_liveness, p);
	}
}

static void
to_store(struct serve *s, const struct ipc_msg *m, const struct tree *doc,
    int64_t deadline, struct pending *p)
{
	const struct msg_dcs_initialize *init = m->body;
	const struct msg_dcs_document *document = m->body;
	const struct msg_dcs_token *token = m->body;
	const struct msg_dcs_status *status = m->body;
	struct dcs *d = s->dcs;

	switch (m->hdr.type) {
	case MSG_DCS_LOAD:
		dcs_load(d, deadline, on_view, p);
		break;
	case MSG_DCS_ACQUIRE:
		dcs_acquire(d, deadline, on_done, p);
		break;
	case MSG_DCS_UPDATE:
		dcs_update(d, m->body, doc, deadline, on_done, p);
		break;
	case MSG_DCS_RELEASE:
		dcs_release(d, status->optime, deadline, on_done, p);
		break;
	case MSG_DCS_TAKE:
		dcs_take(d, deadline, on_done, p);
		break;
	case MSG_DCS_INITIALIZE:
		dcs_initialize(
		    d, init->create != 0, init->sysid, deadline, on_done, p);
		break;
	case MSG_DCS_CANCEL_INITIALIZE:
		dcs_cancel_initialize(d, deadline, on_done, p);
		break;
	case MSG_DCS_TOUCH:
		dcs_touch(d, m->body, doc, deadline, on_done, p);
		break;
	case MSG_DCS_SET_FAILOVER:
		dcs_set_failover(d, m->body, deadline, on_done, p);
		break;
	case MSG_DCS_SET_CONFIG:
		dcs_set_config(d, (const char *)m->var, m->hdr.var_len,
		    document->with_token != 0, document->token, deadline,
		    on_done, p);
		break;
	case MSG_DCS_SET_HISTORY:
		dcs_set_history(d, doc, deadline, on_done, p);
		break;
	case MSG_DCS_SET_SYNC:
		dcs_set_sync(d, m->body, doc, deadline, on_done, p);
		break;
	case MSG_DCS_DELETE_SYNC:
		dcs_delete_sync(d, token->with_token != 0, token->token,
		    deadline, on_done, p);
		break;
	default:
		dcs_set_status(d, status->optime, doc, deadline, on_done, p);
		break;
	}
}

static bool
has_tree(uint16_t type)
{
	return type != MSG_DCS_SET_CONFIG;
}

static void
request(struct serve *s, enum proc from, const struct ipc_msg *m)
{
	int64_t deadline = m->hdr.deadline_ns;
	struct tree *doc = NULL;
	struct pending *p;

	if (deadline == 0)
		deadline = clock_boot_ns() + DEFAULT_DEADLINE;
	if (s->dcs == NULL || s->peers == NULL) {
		refuse(s, from, m, "not configured yet");
		return;
	}
	if (m->hdr.type == MSG_DCS_SET_CONFIG &&
	    (m->var == NULL || memchr(m->var, '\0', m->hdr.var_len) != NULL)) {
		refuse(s, from, m, "no document");
		return;
	}
	if (m->var != NULL && has_tree(m->hdr.type) &&
	    (doc = tree_decode(m->var, m->hdr.var_len)) == NULL) {
		refuse(s, from, m, "malformed document");
		return;
	}
	if ((p = pending_new(s, from, m)) == NULL)
		refuse(s, from, m, "too many requests in flight");
	else if (m->hdr.type == MSG_DCS_POLL ||
	    m->hdr.type == MSG_DCS_FAILSAFE_POST ||
	    m->hdr.type == MSG_DCS_LIVENESS || m->hdr.type == MSG_DCS_RESOLVE) {
		if (!to_peers(s, m, doc, deadline, p)) {
			refuse(s, from, m, "too many requests in flight");
			pending_free(p);
		}
	} else
		to_store(s, m, doc, deadline, p);
	tree_free(doc);
}

static void
on_message(struct helper *h, enum proc from, const struct ipc_msg *m, void *arg)
{
	const struct msg_dcs_settings *set;
	struct serve *s = arg;

	(void)h;
	if (m->hdr.type == MSG_DESCRIPTOR) {
		if (m->fd != -1)
			files_give(
			    ((const struct msg_descriptor *)m->body)->what,
			    m->fd);
		return;
	}
	if (m->hdr.type == MSG_DCS_SETTINGS) {
		set = m->body;
		if (s->dcs != NULL)
			dcs_settings(s->dcs, set->ttl, set->loop_wait,
			    set->retry_timeout);
		return;
	}
	if (m->hdr.type >= MSG_DCS_LOAD && m->hdr.type <= MSG_DCS_RESOLVE)
		request(s, from, m);
	else
		log_warn("unexpected message %s from %s", msg_name(m->hdr.type),
		    proc_name(from));
}

/* ---- views to rest ---- */

static void
on_push_view(const struct dcs_reply *r, void *arg)
{
	struct msg_view m = { .outcome = OUTCOME_OK };
	struct serve *s = arg;
	struct view *copy;
	uint8_t *var;
	size_t len;

	s->pushing = false;
	if (r->outcome == OUTCOME_OK && helper_linked(s->helper, PROC_REST) &&
	    (s->pushed == NULL || !view_equal(s->pushed, r->view)) &&
	    view_encode(r->view, &var, &len)) {
		if (helper_send_newest(s->helper, PROC_REST, MSG_DCS_VIEW, &m,
			var, len) == 0 &&
		    (copy = view_copy(r->view)) != NULL) {
			view_free(s->pushed);
			s->pushed = copy;
		}
		free(var);
	}
	if (s->push_again)
		schedule_push(s);
}

static void
on_push_timer(evutil_socket_t fd, short what, void *arg)
{
	struct serve *s = arg;

	(void)fd;
	(void)what;
	if (s->dcs == NULL || !helper_linked(s->helper, PROC_REST))
		return;
	s->pushing = true;
	s->push_again = false;
	dcs_load(s->dcs, 0, on_push_view, s);
}

/* Changes of one moment go out as one view. */
static void
schedule_push(struct serve *s)
{
	struct timeval tv = { 0, 20000 };

	s->push_again = s->pushing;
	if (!s->pushing && !evtimer_pending(s->push_timer, NULL))
		evtimer_add(s->push_timer, &tv);
}

static void
send_info(struct serve *s)
{
	struct msg_helper_info info = { .loops = s->served };
	struct timeval tv = { INFO_QUIET, 0 };

	s->told_ns = clock_boot_ns();
	dcs_info(s->dcs, info.text, sizeof(info.text));
	memcpy(s->told, info.text, sizeof(s->told));
	helper_info(s->helper, &info);
	evtimer_add(s->info_timer, &tv);
}

/* The process table need not wait for the timer to say what changed. */
static void
send_changed_info(struct serve *s)
{
	char text[TEXT_SIZE];

	if (s->dcs == NULL)
		return; /* still opening the store */
	dcs_info(s->dcs, text, sizeof(text));
	if (strcmp(text, s->told) != 0)
		send_info(s);
}

static void
on_changed(uint32_t keys, uint32_t reason, void *arg)
{
	struct msg_wake wake = { .reason = reason };
	struct serve *s = arg;

	(void)keys;
	if (reason != 0 && helper_linked(s->helper, PROC_POSTGRES))
		helper_send_newest(
		    s->helper, PROC_POSTGRES, MSG_DCS_WAKE, &wake, NULL, 0);
	schedule_push(s);
	send_changed_info(s);
}

static void
on_link(struct helper *h, enum proc peer, bool up, void *arg)
{
	struct serve *s = arg;
	struct pending *p;

	(void)h;
	if (!up)
		LIST_FOREACH(p, &s->pending, entry)
	if (p->from == peer)
		p->lost = true;
	if (peer == PROC_REST) {
		if (up)
			send_figures(s);
		view_free(s->pushed);
		s->pushed = NULL;
		if (up && s->push_timer != NULL)
			schedule_push(s);
	}
}

/* ---- life ---- */

static void
on_info_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_info(arg);
}

static const char *
first_config(struct serve *s, struct helper *h, const struct tree *conf)
{
	static const struct dcs_callbacks callbacks = { on_changed };
	static char err[TEXT_SIZE];

	s->helper = h;
	s->push_timer = evtimer_new(helper_base(h), on_push_timer, s);
	s->info_timer = evtimer_new(helper_base(h), on_info_timer, s);
	s->resolver = resolver_new(helper_base(h));
	if (s->push_timer == NULL || s->info_timer == NULL ||
	    s->resolver == NULL)
		return "out of memory";
	if ((s->peers = peers_open(helper_base(h), conf, err, sizeof(err))) ==
	    NULL)
		return err;
	if ((s->dcs = dcs_open(helper_base(h), conf, false, &callbacks, s, err,
		 sizeof(err))) == NULL)
		return err;
	send_info(s);
	return NULL;
}

/* Directories of the certificates: a reload may find new files there. */
static void
note_readable(struct serve *s, const struct tree *conf)
{
	static const char *const keys[] = { "cacert", "ca_cert", "cert", "key",
		"kubeconfig.tokenFile" };
	static const char *const peer_keys[] = { "ctl.cacert", "ctl.certfile",
		"ctl.keyfile", "restapi.cafile" };
	const struct tree *section = tree_get(conf, dcs_driver_name(s->dcs));
	const char *file, *slash;
	uint32_t i;
	size_t n;

	for (i = 0; i < MAX_READABLE; i++) {
		file = i < 5 ? tree_path_text(section, keys[i], NULL) :
			       tree_path_text(conf, peer_keys[i - 5], NULL);
		if (file == NULL || files_given(file) ||
		    (slash = strrchr(file, '/')) == NULL)
			continue;
		n = slash == file ? 1 : (size_t)(slash - file);
		if (n >= PATH_SIZE)
			continue;
		memcpy(s->readable[s->nreadable], file, n);
		s->readable[s->nreadable++][n] = '\0';
	}
}

/* TLS is loaded at once where the configuration speaks of it, later when
 * another member asks for it. */
static bool
speaks_of_tls(const struct serve *s, const struct tree *conf)
{
	static const char *const keys[] = { "protocol", "scheme", "url",
		"proxy", "host" };
	const char *driver = dcs_driver_name(s->dcs);
	const struct tree *section = tree_get(conf, driver);
	uint32_t i;

	if (s->nreadable > 0 || strcmp(driver, "kubernetes") == 0)
		return true;
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strncasecmp(tree_path_text(section, keys[i], ""), "https",
			strlen("https")) == 0)
			return true;
	return false;
}

static const char *
on_config(
    struct helper *h, struct tree *conf, const struct msg_config *m, void *arg)
{
	static char err[TEXT_SIZE];
	struct serve *s = arg;
	const char *wrong;

	(void)m;
	if (s->dcs == NULL)
		wrong = first_config(s, h, conf);
	else if (!peers_reload(s->peers, conf, err, sizeof(err)) ||
	    !dcs_reload(s->dcs, conf, err, sizeof(err)))
		wrong = err;
	else
		wrong = NULL;
	if (wrong == NULL && s->nreadable == 0)
		note_readable(s, conf);
	if (wrong == NULL && speaks_of_tls(s, conf))
		(void)http_tls_ready();
	files_forget();
	/* the credentials were taken over: they need not lie here twice */
	tree_free_wiped(conf);
	return wrong;
}

static void
on_sandbox(struct helper *h, void *arg)
{
	const char *paths[MAX_READABLE + 2] = { http_tls_module(), NULL };
	struct serve *s = arg;
	uint32_t i, n = 1;

	for (i = 0; i < s->nreadable; i++)
		paths[n++] = s->readable[i];
	helper_set_sandbox(h, sandbox_enter(PROC_DCS, paths));
}

static void
on_shutdown(struct helper *h, void *arg)
{
	struct serve *s = arg;

	s->stopping = true;
	if (s->npending == 0)
		helper_stopped(h, 0);
}

static void
on_info(struct helper *h, void *arg)
{
	struct msg_helper_info none = { 0 };
	struct serve *s = arg;

	if (s->dcs == NULL) /* still opening the store */
		helper_info(h, &none);
	else
		send_info(s);
}

const struct helper_ops serve_ops = {
	.message = on_message,
	.link = on_link,
	.config = on_config,
	.sandbox = on_sandbox,
	.shutdown = on_shutdown,
	.info = on_info,
};

struct serve *
serve_new(void)
{
	struct serve *s = calloc(1, sizeof(*s));

	if (s != NULL)
		LIST_INIT(&s->pending);
	return s;
}

void
serve_free(struct serve *s)
{
	struct pending *p;

	if (s == NULL)
		return;
	dcs_close(s->dcs);
	peers_close(s->peers);
	resolver_free(s->resolver);
	while ((p = LIST_FIRST(&s->pending)) != NULL) {
		LIST_REMOVE(p, entry);
		free(p);
	}
	if (s->push_timer != NULL)
		event_free(s->push_timer);
	if (s->info_timer != NULL)
		event_free(s->info_timer);
	view_free(s->pushed);
	free(s);
}
