/*
 * controller.c: start-up of the PostgreSQL controller (config.md 1.3,
 * postgres.md 3) and the way of events to the core.
 *
 * Start-up: configuration -> first view of the store -> is the name free ->
 * look at PostgreSQL (attach to a running one) -> EV_ATTACHED; from there on
 * the core says what happens.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../ipc/version.h"
#include "job.h"

#define STORE_RETRY (5 * NS_PER_SEC)
#define STORE_TIMEOUT (10 * NS_PER_SEC)
#define LIVENESS_TIMEOUT (4 * NS_PER_SEC)
#define STATUS_TIMEOUT (10 * NS_PER_SEC)

enum startup {
	WAIT_CONFIG,
	WAIT_STORE,
	LOADING,
	CHECKING_NAME,
	PROBING,
	ATTACHING,
	RUNNING
};

/* An event that came while the core was busy with another one. */
struct posted {
	struct posted *next;
	struct ha_ev ev;
	struct view *view;
	struct ha_pg *pg;
	struct ha_control *control;
	struct ha_divergence *divergence;
	struct peer_status *peers;
	struct msg_request *req;
	struct tree *doc;
	char error[TEXT_SIZE];
};

static void load_store(struct controller *);
static void attach(struct controller *);

struct timeval
controller_timeval(int64_t ns)
{
	struct timeval tv;

	tv.tv_sec = ns / NS_PER_SEC;
	tv.tv_usec = (ns % NS_PER_SEC + 999) / 1000;
	return tv;
}

int64_t
controller_retry_ns(const struct controller *c)
{
	return c->conf->settings.retry_timeout * NS_PER_SEC;
}

void
controller_set_state(struct controller *c, enum pg_state state)
{
	if (c->state == state)
		return;
	log_debug(
	    "state: %s -> %s", pg_state_name(c->state), pg_state_name(state));
	c->state = state;
	c->state_since = clock_boot_ns();
	/* 4.4: what was good enough to start with is worth a copy */
	if (state == STATE_RUNNING && c->params != NULL &&
	    !c->custom_bootstrap) {
		struct pgfacts f = settings_facts(c, c->role);
		struct pgerr err;

		if (!pgconf_backup(c->conf, c->params, &f, &err))
			log_warn("%s", err.text);
	}
}

/* ---- events ---- */

static void *
duplicate(const void *p, size_t n)
{
	void *q;

	if (p == NULL || n == 0)
		return NULL;
	q = malloc(n);
	if (q == NULL)
		fatal("out of memory");
	return memcpy(q, p, n);
}

static void
post(struct controller *c, const struct ha_ev *ev)
{
	struct posted *p = calloc(1, sizeof *p);

	if (p == NULL)
		fatal("out of memory");
	p->ev = *ev;
	if (ev->view != NULL)
		p->ev.view = p->view = view_copy(ev->view);
	p->ev.pg = p->pg = duplicate(ev->pg, sizeof *ev->pg);
	p->ev.control = p->control =
	    duplicate(ev->control, sizeof *ev->control);
	p->ev.divergence = p->divergence =
	    duplicate(ev->divergence, sizeof *ev->divergence);
	p->ev.peers = p->peers =
	    duplicate(ev->peers, ev->npeers * sizeof *ev->peers);
	p->ev.req = p->req = duplicate(ev->req, sizeof *ev->req);
	if (ev->doc != NULL)
		p->ev.doc = p->doc = tree_copy(ev->doc);
	if (ev->error != NULL) {
		snprintf(p->error, sizeof p->error, "%s", ev->error);
		p->ev.error = p->error;
	}
	*c->posted_tail = p;
	c->posted_tail = &p->next;
}

static void
posted_free(struct posted *p)
{
	view_free(p->view);
	free(p->pg);
	free(p->control);
	free(p->divergence);
	free(p->peers);
	free(p->req);
	tree_free(p->doc);
	free(p);
}

static void
feed_one(struct controller *c, const struct ha_ev *ev)
{
	struct ha_effects out;

	memset(&out, 0, sizeof out);
	ha_event(c->ha, ev, clock_boot_ns(), clock_wall_us(), &out);
	effects_run(c, &out);
}

void
controller_feed(struct controller *c, const struct ha_ev *ev)
{
	struct posted *p;

	if (c->ha == NULL)
		return;
	if (c->feeding) {
		post(c, ev);
		return;
	}
	c->feeding = true;
	feed_one(c, ev);
	while ((p = c->posted) != NULL) {
		c->posted = p->next;
		if (c->posted == NULL)
			c->posted_tail = &c->posted;
		feed_one(c, &p->ev);
		posted_free(p);
	}
	c->feeding = false;
}

static void
feed_type(struct controller *c, enum ha_ev_type type)
{
	struct ha_ev ev;

	memset(&ev, 0, sizeof ev);
	ev.type = type;
	controller_feed(c, &ev);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	feed_type(arg, EV_TICK);
}

static void
on_postmaster_gone(void *arg)
{
	struct controller *c = arg;

	log_debug("postmaster is gone");
	c->facts_fresh = false;
	sql_close(c->heartbeat);
	sql_close(c->local_repl);
	job_poke(c);
	leftover_poke(c);
	/* an expected end belongs to the job that asked for it */
	if (c->startup == RUNNING)
		feed_type(c, EV_POSTMASTER_GONE);
}

/* ---- configuration ---- */

static void
fill_ha_config(struct controller *c)
{
	struct ha_config *h = &c->ha_conf;
	const struct tree *w = tree_get(c->local, "watchdog");
	const struct tree *margin = tree_get(w, "safety_margin");
	const char *mode = tree_path_text(w, "mode", "automatic");
	const char *hook = pgconf_hook(c->conf, "pre_promote");

	memset(h, 0, sizeof *h);
	text_set(h->name, sizeof h->name, c->conf->name);
	text_set(h->scope, sizeof h->scope, c->conf->scope);
	text_set(h->conn_url, sizeof h->conn_url, c->conf->conn_url);
	text_set(h->api_url, sizeof h->api_url, c->conf->api_url);
	text_set(h->proxy_url, sizeof h->proxy_url, c->conf->proxy_url);
	text_set(h->version, sizeof h->version, COMPAT_VERSION);
	h->tags_doc = tree_get(c->local, "tags");
	tags_parse(h->tags_doc, &h->tags);
	h->watchdog_mode = WATCHDOG_AUTOMATIC;
	if (strcmp(mode, "off") == 0 ||
	    (tree_get(w, "mode") != NULL &&
		tree_get(w, "mode")->type == TREE_BOOL &&
		!tree_get(w, "mode")->u.b))
		h->watchdog_mode = WATCHDOG_OFF;
	else if (strcmp(mode, "required") == 0)
		h->watchdog_mode = WATCHDOG_REQUIRED;
	h->watchdog_safety_margin = margin != NULL && margin->type == TREE_INT ?
	    (int32_t)margin->u.i :
	    5;
	h->fence = tree_path_bool(w, "fence", true) &&
	    strcmp(tree_path_text(w, "fence", "on"), "off") != 0;
	h->has_bootstrap = c->conf->has_bootstrap;
	h->can_clone_without_leader = pgconf_can_clone_without_leader(c->conf);
	h->use_pg_rewind = c->conf->use_pg_rewind;
	h->remove_data_on_diverged = c->conf->remove_data_on_diverged;
	h->remove_data_on_rewind_failure =
	    c->conf->remove_data_on_rewind_failure;
	h->pg_ctl_timeout = c->conf->pg_ctl_timeout;
	h->has_pre_promote = hook != NULL && hook[0] != '\0';
	h->dynamic = c->dynamic;
}

void
controller_configured(struct controller *c)
{
	struct ha_ev ev;

	fill_ha_config(c);
	if (c->startup != RUNNING)
		return;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_CONFIG;
	ev.config = &c->ha_conf;
	controller_feed(c, &ev);
}

static const char *
reload(struct controller *c, struct tree *conf)
{
	static struct pgerr err;
	struct pgconf *test;
	struct tree *old = c->local;

	test = pgconf_build(conf, c->dynamic, ROLE_UNINITIALIZED, &err);
	if (test == NULL) {
		tree_free_wiped(conf);
		return err.text;
	}
	pgconf_free(test);
	c->local = conf;
	(void)settings_build(c, c->role);
	tree_free_wiped(old);
	controller_configured(c);
	if (c->startup == RUNNING)
		settings_reload(c, true);
	return NULL;
}

const char *
controller_config(
    struct controller *c, struct tree *conf, const struct msg_config *m)
{
	static struct pgerr err;
	struct pgerr ignored;
	struct tree *cache;
	const struct tree *chosen;
	char data_dir[PATH_SIZE];

	if (c->local != NULL)
		return reload(c, conf);
	c->local = conf;
	c->first_start = m->restarts == 0;
	err.text[0] = '\0';
	/* provisional: the store's document comes later (1.3 step 9) */
	text_set(data_dir, sizeof data_dir,
	    tree_path_text(conf, "postgresql.data_dir", ""));
	cache = pgconf_cache_load(data_dir, &ignored);
	if (cache == NULL && ignored.text[0] != '\0')
		log_error("Exception when loading file: %s", ignored.text);
	chosen = pgconf_choose(NULL, cache, conf);
	c->dynamic = chosen != NULL ? tree_copy(chosen) : NULL;
	c->cached = cache != NULL;
	tree_free(cache);
	c->conf = pgconf_build(conf, c->dynamic, ROLE_UNINITIALIZED, &err);
	if (c->conf == NULL)
		return err.text;
	settings_environment(c->conf, NULL);
	fill_ha_config(c);
	return NULL;
}

/* ---- start-up ---- */

static void
on_startup_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	load_store(arg);
}

static void
retry_store(struct controller *c)
{
	struct timeval tv = controller_timeval(STORE_RETRY);

	c->startup = WAIT_STORE;
	evtimer_add(c->ev_startup, &tv);
}

static void
attached(struct controller *c)
{
	struct ha_ev ev;

	c->startup = RUNNING;
	c->ha = ha_new(&c->ha_conf);
	if (c->ha == NULL)
		fatal("out of memory");
	memset(&ev, 0, sizeof ev);
	ev.type = EV_ATTACHED;
	ev.pg = &c->snap.pg;
	ev.role = c->role;
	controller_feed(c, &ev);
	if (c->stopping)
		feed_type(c, EV_SHUTDOWN);
}

static void
attach_done(struct controller *c, void *arg)
{
	(void)arg;
	attached(c);
}

/* The first look at PostgreSQL has been taken. */
static void
on_first_status(struct controller *c, void *arg)
{
	struct ha_pg *p = &c->snap.pg;

	(void)arg;
	if (!p->running) {
		c->role = facts_role(c);
		if (c->role == ROLE_PRIMARY)
			c->role = ROLE_DEMOTED;
		p->state = c->state;
		attached(c);
		return;
	}
	/* a death of this process alone is no event of PostgreSQL's */
	c->callback_seen = p->callback_seen = !c->first_start;
	if (p->isready == ISREADY_ACCEPTING || p->query_ok) {
		controller_set_state(c, STATE_RUNNING);
		p->state = STATE_RUNNING;
	}
	c->role = facts_role(c);
	if (p->query_ok)
		c->role = p->is_primary ? ROLE_PRIMARY : ROLE_REPLICA;
	if (!p->query_ok) {
		attached(c);
		return;
	}
	settings_attached(c, attach_done, NULL);
}

static void
look(struct controller *c)
{
	settings_major(c);
	status_take(c, clock_boot_ns() + STATUS_TIMEOUT, on_first_status, NULL);
}

static void
on_leftover(struct controller *c, bool ok)
{
	view_free(c->first_view);
	c->first_view = NULL;
	if (ok)
		look(c);
	else
		retry_store(c);
}

static void
attach(struct controller *c)
{
	const struct tree *doc;

	/* what the programs can do decides about the first cycle already */
	c->startup = PROBING;
	if (c->probes > 0)
		return;
	c->startup = ATTACHING;
	doc = pgconf_choose(c->first_view->config, c->dynamic, c->local);
	if (doc != NULL && doc != c->dynamic) {
		struct tree *copy = tree_copy(doc);

		tree_free(c->dynamic);
		c->dynamic = copy;
		c->dynamic_dirty = true;
		(void)settings_build(c, ROLE_UNINITIALIZED);
	}
	fill_ha_config(c);
	/* of an unfinished data directory nothing is to be attached to */
	if (leftover_begin(c, on_leftover))
		return;
	view_free(c->first_view);
	c->first_view = NULL;
	if (postmaster_find(&c->pm))
		controller_set_state(c, STATE_STARTING);
	look(c);
}

static void
on_liveness(struct helper *h, const struct ipc_msg *msg, int lost, void *arg)
{
	struct controller *c = arg;
	const struct msg_result *m;

	(void)h;
	(void)lost;
	if (msg == NULL) {
		retry_store(c);
		return;
	}
	m = msg->body;
	if (msg->hdr.type == MSG_DCS_RESULT && m->code != 0) {
		log_critical(
		    "Can't start; there is already a node named '%s' running",
		    c->conf->name);
		helper_stopped(c->h, 1);
		return;
	}
	attach(c);
}

/*
 * A second node of this name.  Asked only when the daemon starts: later our
 * own REST helper answers there.  It does so at the start as well when the
 * key is our own from before, so our own address is never asked: its listen
 * socket is ours, nobody else can answer on it.
 */
static void
check_name(struct controller *c)
{
	const struct view_member *m = view_member(c->first_view, c->conf->name);
	struct msg_url url;
	char *slash;
	size_t len;

	if (!c->first_start || m == NULL || m->api_url[0] == '\0' ||
	    strcmp(m->api_url, c->conf->api_url) == 0) {
		attach(c);
		return;
	}
	memset(&url, 0, sizeof url);
	text_set(url.url, sizeof url.url, m->api_url);
	slash = strstr(url.url, "://");
	slash = slash != NULL ? strchr(slash + 3, '/') : NULL;
	if (slash != NULL)
		*slash = '\0';
	len = strlen(url.url);
	if (len + sizeof "/liveness" > sizeof url.url) {
		attach(c);
		return;
	}
	memcpy(url.url + len, "/liveness", sizeof "/liveness");
	c->startup = CHECKING_NAME;
	if (helper_request(c->h, PROC_DCS, MSG_DCS_LIVENESS, &url, NULL, 0, -1,
		clock_boot_ns() + LIVENESS_TIMEOUT, on_liveness, c) == 0)
		retry_store(c);
}

static void
on_first_view(struct helper *h, const struct ipc_msg *msg, int lost, void *arg)
{
	struct controller *c = arg;
	const struct msg_view *m;

	(void)h;
	(void)lost;
	if (c->stopping) {
		helper_stopped(c->h, 0);
		return;
	}
	view_free(c->first_view);
	c->first_view = NULL;
	if (msg != NULL && msg->hdr.type == MSG_DCS_VIEW) {
		m = msg->body;
		if (m->outcome == OUTCOME_OK && msg->var != NULL)
			c->first_view = view_decode(msg->var, msg->hdr.var_len);
	}
	if (c->first_view == NULL) {
		log_warn("Can not get cluster from dcs");
		retry_store(c);
		return;
	}
	c->dcs_last_seen = clock_wall_us() / 1000000;
	check_name(c);
}

static void
load_store(struct controller *c)
{
	if (c->startup != WAIT_STORE)
		return;
	evtimer_del(c->ev_startup);
	found_fence(c);
	if (!helper_linked(c->h, PROC_DCS)) {
		retry_store(c);
		return;
	}
	c->startup = LOADING;
	(void)helper_send(
	    c->h, PROC_DCS, MSG_DCS_SETTINGS, &c->conf->settings, NULL, 0, -1);
	if (helper_request(c->h, PROC_DCS, MSG_DCS_LOAD, NULL, NULL, 0, -1,
		clock_boot_ns() + STORE_TIMEOUT, on_first_view, c) == 0)
		retry_store(c);
}

void
controller_probed(struct controller *c)
{
	c->probes--;
	if (c->startup == PROBING)
		attach(c);
}

/* What the programs of this installation can do. */
static void
on_version(const struct child_end *e, void *arg)
{
	struct controller *c = arg;

	if (e->started && e->code == 0)
		c->binary_version = pgversion_parse_output(e->out);
	else
		log_error("Could not run postgres --version: %s",
		    e->started ? e->err : strerror(e->error));
	controller_probed(c);
}

static void
on_rewind_help(const struct child_end *e, void *arg)
{
	struct controller *c = arg;

	c->rewind_works = e->started && e->code == 0;
	controller_probed(c);
}

static void
probe(
    struct controller *c, const char *program, const char *option, child_cb cb)
{
	char path[PATH_SIZE];
	const char *argv[3] = { path, option, NULL };
	struct child_spec spec;

	pgconf_program(c->conf, program, path);
	memset(&spec, 0, sizeof spec);
	spec.argv = argv;
	spec.capture = true;
	spec.timeout_ns = 10 * NS_PER_SEC;
	if (child_run(c->base, &spec, cb, c) != NULL)
		c->probes++;
}

struct controller *
controller_new(struct helper *h)
{
	struct controller *c = calloc(1, sizeof *c);

	if (c == NULL)
		fatal("out of memory");
	c->h = h;
	c->posted_tail = &c->posted;
	c->state = STATE_STOPPED;
	c->state_since = clock_boot_ns();
	c->role = ROLE_UNINITIALIZED;
	c->umask = umask(077);
	c->reasons = tree_map();
	c->journal = journal_new();
	c->disk = disk_new(c);
	c->callbacks = callbacks_new(c);
	c->background = background_new(c);
	c->slotwork = slotwork_new(c);
	c->recovery_cache = recovery_cache_new();
	if (c->reasons == NULL || c->journal == NULL || c->callbacks == NULL ||
	    c->background == NULL || c->slotwork == NULL ||
	    c->recovery_cache == NULL)
		fatal("out of memory");
	return c;
}

void
controller_start(struct controller *c)
{
	char postgres[PATH_SIZE];
	struct timeval now = { 0, 0 };

	c->base = helper_base(c->h);
	pgconf_program(c->conf, "postgres", postgres);
	postmaster_init(&c->pm, c->base, c->conf->data_dir, postgres,
	    on_postmaster_gone, c);
	c->heartbeat = sql_new(c->base, "heartbeat");
	c->local_repl = sql_new(c->base, NULL);
	c->ev_tick = evtimer_new(c->base, on_tick, c);
	c->ev_startup = evtimer_new(c->base, on_startup_timer, c);
	if (c->heartbeat == NULL || c->local_repl == NULL ||
	    c->ev_tick == NULL || c->ev_startup == NULL)
		fatal("out of memory");
	probe(c, "postgres", "--version", on_version);
	probe(c, "pg_rewind", "--help", on_rewind_help);
	settings_describe(c);
	leftover_password(c);
	pgconf_sweep(c->conf);
	c->startup = WAIT_STORE;
	evtimer_add(c->ev_startup, &now);
}

/* ---- messages ---- */

static void
on_wake(struct controller *c, const struct msg_wake *m)
{
	struct ha_ev ev;

	if (c->startup != RUNNING) {
		load_store(c);
		return;
	}
	memset(&ev, 0, sizeof ev);
	ev.type = EV_WAKE;
	ev.wake = m->reason;
	controller_feed(c, &ev);
}

static void
on_keeper(struct controller *c, const struct msg_wd_state *m)
{
	struct ha_ev ev;

	memset(&ev, 0, sizeof ev);
	ev.type = EV_WATCHDOG;
	ev.outcome = OUTCOME_OK;
	ev.watchdog = *m;
	controller_feed(c, &ev);
}

void
controller_message(
    struct controller *c, enum proc from, const struct ipc_msg *msg)
{
	switch (msg->hdr.type) {
	case MSG_DESCRIPTOR:
		if (msg->fd != -1)
			postmaster_cgroup(msg->fd);
		return;
	case MSG_DCS_WAKE:
		on_wake(c, msg->body);
		break;
	case MSG_DCS_VIEW:
		/* pushed views serve rest; the core loads its own */
		load_store(c);
		break;
	case MSG_REQUEST:
		request_message(c, from, msg);
		break;
	case MSG_WD_STATE:
		on_keeper(c, msg->body);
		break;
	default:
		break;
	}
	if (msg->fd != -1)
		close(msg->fd);
}

void
controller_link(struct controller *c, enum proc peer, bool up)
{
	struct ha_ev ev;

	if (peer == PROC_DCS && up)
		load_store(c);
	if (peer == PROC_WATCHDOG && !up)
		c->found_told = false; /* nor would the next one know */
	if (c->startup != RUNNING)
		return;
	if (peer == PROC_DCS && up) {
		/* before the requests: their times depend on it */
		(void)helper_send(c->h, PROC_DCS, MSG_DCS_SETTINGS,
		    &c->conf->settings, NULL, 0, -1);
		effects_store_back(c);
	}
	memset(&ev, 0, sizeof ev);
	ev.type = EV_HELPER;
	ev.helper = peer;
	ev.up = up;
	controller_feed(c, &ev);
	if (peer == PROC_REST && up)
		publish_fresh(c);
}

void
controller_shutdown(struct controller *c)
{
	c->stopping = true;
	/* before the core exists there is nothing of ours to be stopped */
	if (c->startup < ATTACHING) {
		helper_stopped(c->h, 0);
		return;
	}
	if (c->startup == RUNNING)
		feed_type(c, EV_SHUTDOWN);
}
