/*
 * effects.c: carries out what the core wants, and brings every answer back
 * as an event.  An ask is always answered: by the peer, by its deadline, or
 * by the loss of the link.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../json.h"
#include "control.h"
#include "history.h"
#include "job.h"

#define POLL_TIMEOUT_MS 2000

/* One question of the core that is not answered yet. */
struct ask {
	struct ask *next, **prev;
	struct controller *c;
	uint64_t id;
	int64_t sent;
	enum ha_fx_type type;
	struct event *timer; /* DELAY; parked: the deadline */
	/* the request to the store helper, kept while it may be sent again */
	uint16_t msg_type;
	bool parked;	 /* waits for the helper to come back */
	bool repeatable; /* may be sent again although it was sent */
	int64_t deadline;
	void *body;
	size_t body_len;
	uint8_t *var;
	size_t var_len;
	helper_reply_cb answered;
	bool initialize; /* the new cluster's identifier goes to the store */
	uint32_t npeers;
	char (*peers)[NAME_SIZE];
};

static struct ask *
ask_new(struct controller *c, const struct ha_fx *fx)
{
	struct ask *a = calloc(1, sizeof *a);

	if (a == NULL)
		fatal("out of memory");
	a->c = c;
	a->id = fx->id;
	a->type = fx->type;
	a->deadline = fx->deadline;
	a->sent = clock_boot_ns();
	a->next = c->asks;
	a->prev = &c->asks;
	if (a->next != NULL)
		a->next->prev = &a->next;
	c->asks = a;
	return a;
}

static void
ask_free(struct ask *a)
{
	*a->prev = a->next;
	if (a->next != NULL)
		a->next->prev = a->prev;
	if (a->timer != NULL)
		event_free(a->timer);
	free(a->body);
	free(a->var);
	free(a->peers);
	free(a);
}

void
effects_drop(struct controller *c)
{
	while (c->asks != NULL)
		ask_free(c->asks);
}

/* ---- the store ---- */

/*
 * A store helper that died is back within milliseconds, so a request waits
 * for its successor as long as its deadline allows: the death of a helper is
 * not an outage of the store (design 2).  What was already handed over is
 * sent again only where doing it twice is the same as once.
 */
#define NO_DEADLINE_NS (10 * NS_PER_SEC)

static void
on_parked_too_long(evutil_socket_t fd, short what, void *arg)
{
	struct ask *a = arg;

	(void)fd;
	(void)what;
	a->parked = false;
	a->repeatable = false;
	a->answered(a->c->h, NULL, ETIMEDOUT, a);
}

static void
park(struct ask *a)
{
	int64_t now = clock_boot_ns(), left;
	struct timeval tv;

	a->parked = true;
	left =
	    (a->deadline != 0 ? a->deadline : a->sent + NO_DEADLINE_NS) - now;
	if (left < 0)
		left = 0;
	tv.tv_sec = left / NS_PER_SEC;
	tv.tv_usec = left % NS_PER_SEC / 1000;
	if (a->timer == NULL)
		a->timer = evtimer_new(a->c->base, on_parked_too_long, a);
	if (a->timer == NULL || evtimer_add(a->timer, &tv) == -1)
		fatal("out of memory");
}

static void
store_send(struct ask *a)
{
	struct controller *c = a->c;
	int64_t deadline = a->deadline;

	if (deadline == 0)
		deadline = a->sent + NO_DEADLINE_NS;
	a->parked = false;
	if (a->timer != NULL)
		evtimer_del(a->timer);
	if (helper_request(c->h, PROC_DCS, a->msg_type, a->body, a->var,
		a->var_len, -1, deadline, a->answered, a) == 0)
		park(a);
}

/* Take over var; body is copied. */
static void
store_ask(struct ask *a, uint16_t type, const void *body, uint8_t *var,
    size_t var_len, bool repeatable, helper_reply_cb answered)
{
	bool fd;
	size_t max;

	a->msg_type = type;
	a->repeatable = repeatable;
	a->answered = answered;
	a->var = var;
	a->var_len = var_len;
	if (!msg_sizes(type, &a->body_len, &max, &fd))
		fatal("message %u is unknown", type);
	if (body != NULL && a->body_len > 0) {
		if ((a->body = malloc(a->body_len)) == NULL)
			fatal("out of memory");
		memcpy(a->body, body, a->body_len);
	}
	store_send(a);
}

/* The helper died with the request in its hands: true when it is kept. */
static bool
kept(struct ask *a, const struct ipc_msg *msg, int lost)
{
	if (msg != NULL || lost != EPIPE || !a->repeatable)
		return false;
	park(a);
	return true;
}

void
effects_store_back(struct controller *c)
{
	struct ask *a, *last = NULL;

	/* in the order in which they were asked: the list has newest first */
	for (a = c->asks; a != NULL; a = a->next)
		last = a;
	for (a = last; a != NULL;) {
		struct ask *newer = a == c->asks ?
		    NULL :
		    (struct ask *)(void *)((char *)a->prev -
			offsetof(struct ask, next));

		if (a->parked)
			store_send(a);
		a = newer;
	}
}

static void
on_view(struct helper *h, const struct ipc_msg *msg, int lost, void *arg)
{
	struct ask *a = arg;
	struct controller *c = a->c;
	const struct msg_view *m;
	struct view *v = NULL;
	struct ha_ev ev;

	(void)h;
	if (kept(a, msg, lost))
		return;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_VIEW;
	ev.id = a->id;
	ev.sent = a->sent;
	ev.outcome = OUTCOME_FAILED;
	if (msg == NULL) {
		ev.error = lost == ETIMEDOUT ? "no answer in time" :
					       "store client lost";
	} else if (msg->hdr.type == MSG_DCS_VIEW) {
		m = msg->body;
		ev.outcome = m->outcome;
		ev.error = m->error;
		if (m->outcome == OUTCOME_OK &&
		    (msg->var == NULL ||
			(v = view_decode(msg->var, msg->hdr.var_len)) ==
			    NULL)) {
			ev.outcome = OUTCOME_FAILED;
			ev.error = "view could not be decoded";
		}
	}
	ev.view = v;
	if (ev.outcome == OUTCOME_OK)
		c->dcs_last_seen = clock_wall_us() / 1000000;
	ask_free(a);
	controller_feed(c, &ev);
	view_free(v);
}

static void
on_result(struct helper *h, const struct ipc_msg *msg, int lost, void *arg)
{
	struct ask *a = arg;
	struct controller *c = a->c;
	const struct msg_result *m;
	struct ha_ev ev;

	(void)h;
	if (kept(a, msg, lost))
		return;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_DCS;
	ev.id = a->id;
	ev.sent = a->sent;
	/* it was handed over: whether it was carried out is not known */
	ev.outcome = OUTCOME_UNKNOWN;
	if (msg == NULL) {
		ev.error = lost == ETIMEDOUT ? "no answer in time" :
					       "store client lost";
	} else if (msg->hdr.type == MSG_DCS_RESULT) {
		m = msg->body;
		ev.outcome = m->outcome;
		ev.token = m->token;
		ev.error = m->error;
		/* our own time is the earlier one: never trust a later one */
		if (m->sent_ns != 0 && m->sent_ns < ev.sent)
			ev.sent = m->sent_ns;
	}
	if (a->initialize && ev.outcome == OUTCOME_OK)
		data_mark(c->conf->data_dir, MARK_NONE);
	ask_free(a);
	controller_feed(c, &ev);
}

static void
refuse(struct ask *a, enum ha_ev_type type, const char *why)
{
	struct controller *c = a->c;
	struct ha_ev ev;

	memset(&ev, 0, sizeof ev);
	ev.type = type;
	ev.id = a->id;
	ev.sent = a->sent;
	ev.outcome = OUTCOME_FAILED;
	ev.error = why;
	ask_free(a);
	controller_feed(c, &ev);
}

struct dcs_call {
	uint16_t type;
	const void *body;
};

static struct dcs_call
dcs_call(const struct ha_dcs *d)
{
	switch (d->op) {
	case OP_ACQUIRE:
		return (struct dcs_call){ MSG_DCS_ACQUIRE, NULL };
	case OP_UPDATE:
		return (struct dcs_call){ MSG_DCS_UPDATE, &d->u.update };
	case OP_RELEASE:
		return (struct dcs_call){ MSG_DCS_RELEASE, &d->u.status };
	case OP_TAKE:
		return (struct dcs_call){ MSG_DCS_TAKE, NULL };
	case OP_INITIALIZE:
		return (
		    struct dcs_call){ MSG_DCS_INITIALIZE, &d->u.initialize };
	case OP_CANCEL_INITIALIZE:
		return (struct dcs_call){ MSG_DCS_CANCEL_INITIALIZE, NULL };
	case OP_TOUCH:
		return (struct dcs_call){ MSG_DCS_TOUCH, &d->u.touch };
	case OP_SET_FAILOVER:
		return (
		    struct dcs_call){ MSG_DCS_SET_FAILOVER, &d->u.failover };
	case OP_SET_CONFIG:
		return (struct dcs_call){ MSG_DCS_SET_CONFIG, &d->u.document };
	case OP_SET_HISTORY:
		return (struct dcs_call){ MSG_DCS_SET_HISTORY, NULL };
	case OP_SET_SYNC:
		return (struct dcs_call){ MSG_DCS_SET_SYNC, &d->u.sync };
	case OP_DELETE_SYNC:
		return (struct dcs_call){ MSG_DCS_DELETE_SYNC, &d->u.token };
	case OP_SET_STATUS:
		return (struct dcs_call){ MSG_DCS_SET_STATUS, &d->u.status };
	}
	return (struct dcs_call){ 0, NULL };
}

/* The variable part: an encoded tree, or JSON text for /config. */
static bool
dcs_var(
    struct controller *c, const struct ha_dcs *d, uint8_t **buf, size_t *len)
{
	struct tree *history;
	struct pgerr err;
	bool ok;

	*buf = NULL;
	*len = 0;
	if (d->op == OP_SET_CONFIG) {
		char *text = tree_to_json(d->doc, JSON_FORM_COMPACT, NULL);

		*buf = (uint8_t *)text;
		*len = text != NULL ? strlen(text) : 0;
		return text != NULL;
	}
	if (d->op == OP_SET_HISTORY) {
		if (d->history_of <= 1)
			history = tree_list();
		else
			history = history_document(c->conf->data_dir, c->major,
			    d->history_of, c->conf->name, &err);
		if (history == NULL) {
			log_error("%s", err.text);
			return false;
		}
		ok = tree_encode(history, buf, len);
		tree_free(history);
		return ok;
	}
	if (d->op == OP_TOUCH && c->progress.known) {
		struct tree *doc =
		    d->doc != NULL ? tree_copy(d->doc) : tree_map();

		tree_set(doc, "progress", publish_progress(c));
		ok = tree_encode(doc, buf, len);
		tree_free(doc);
		return ok;
	}
	return d->doc == NULL || tree_encode(d->doc, buf, len);
}

static void
run_dcs(struct controller *c, const struct ha_fx *fx)
{
	struct dcs_call call = dcs_call(&fx->dcs);
	struct ask *a = ask_new(c, fx);
	uint8_t *buf;
	size_t len;

	a->initialize = fx->dcs.op == OP_INITIALIZE &&
	    fx->dcs.u.initialize.sysid[0] != '\0';
	if (call.type == 0 || !dcs_var(c, &fx->dcs, &buf, &len)) {
		refuse(a, EV_DCS, "request could not be made");
		return;
	}
	store_ask(a, call.type, call.body, buf, len,
	    fx->dcs.op == OP_UPDATE || fx->dcs.op == OP_TOUCH ||
		fx->dcs.op == OP_RELEASE,
	    on_result);
}

static void
run_load(struct controller *c, const struct ha_fx *fx)
{
	store_ask(ask_new(c, fx), MSG_DCS_LOAD, NULL, NULL, 0, true, on_view);
}

/* ---- peers ---- */

static void
peers_answer(struct ask *a, enum outcome outcome, const struct peer_status *v,
    uint32_t n)
{
	struct controller *c = a->c;
	struct ha_ev ev;

	memset(&ev, 0, sizeof ev);
	ev.type = EV_PEERS;
	ev.id = a->id;
	ev.outcome = outcome;
	ev.peers = v;
	ev.npeers = n;
	ask_free(a);
	controller_feed(c, &ev);
}

static void
peers_unreachable(struct ask *a)
{
	static struct peer_status v[MAX_MEMBERS];
	uint32_t i, n = a->npeers;

	memset(v, 0, sizeof v);
	for (i = 0; i < n; i++) {
		text_set(v[i].name, sizeof v[i].name, a->peers[i]);
		text_set(v[i].text, sizeof v[i].text, "store client lost");
	}
	peers_answer(a, OUTCOME_FAILED, v, n);
}

static void
on_peers(struct helper *h, const struct ipc_msg *msg, int lost, void *arg)
{
	static struct peer_status v[MAX_MEMBERS];
	struct ask *a = arg;
	const struct msg_peers *m;

	(void)h;
	if (kept(a, msg, lost))
		return;
	if (msg == NULL || msg->hdr.type != MSG_DCS_PEERS) {
		peers_unreachable(a);
		return;
	}
	m = msg->body;
	if (m->count > MAX_MEMBERS ||
	    msg->hdr.var_len != m->count * sizeof v[0]) {
		peers_unreachable(a);
		return;
	}
	/* the bytes of a message are not aligned for us */
	if (m->count > 0)
		memcpy(v, msg->var, m->count * sizeof v[0]);
	peers_answer(a, OUTCOME_OK, v, m->count);
}

static struct tree *
targets(struct ask *a, const struct ha_fx *fx)
{
	struct tree *list = tree_list(), *m;
	uint32_t i;

	a->npeers = fx->npeers < MAX_MEMBERS ? fx->npeers : MAX_MEMBERS;
	a->peers = calloc(a->npeers + 1, sizeof *a->peers);
	if (a->peers == NULL)
		fatal("out of memory");
	for (i = 0; i < a->npeers; i++) {
		text_set(a->peers[i], NAME_SIZE, fx->peers[i].name);
		m = tree_map();
		tree_set(m, "name", tree_text(fx->peers[i].name));
		tree_set(m, "api_url", tree_text(fx->peers[i].api_url));
		tree_append(list, m);
	}
	return list;
}

static void
run_poll(struct controller *c, const struct ha_fx *fx)
{
	struct msg_poll m = { .connect_timeout_ms = POLL_TIMEOUT_MS,
		.read_timeout_ms = POLL_TIMEOUT_MS };
	struct ask *a = ask_new(c, fx);
	struct tree *var = targets(a, fx), *map;
	uint16_t type = MSG_DCS_POLL;
	uint8_t *buf = NULL;
	size_t len = 0;

	if (fx->type == FX_FAILSAFE_POST) {
		type = MSG_DCS_FAILSAFE_POST;
		map = tree_map();
		tree_set(map, "targets", var);
		tree_set(map, "name", tree_text(c->conf->name));
		tree_set(map, "conn_url", tree_text(c->conf->conn_url));
		tree_set(map, "api_url", tree_text(c->conf->api_url));
		tree_set(map, "slots",
		    c->snap.slots != NULL ? tree_copy(c->snap.slots) :
					    tree_map());
		var = map;
	}
	if (tree_encode(var, &buf, &len))
		store_ask(a, type, &m, buf, len, true, on_peers);
	else
		peers_unreachable(a);
	tree_free(var);
}

/* ---- PostgreSQL ---- */

static void
on_status(struct controller *c, void *arg)
{
	struct ask *a = arg;
	struct ha_ev ev;

	memset(&ev, 0, sizeof ev);
	ev.type = EV_PG_STATUS;
	ev.id = a->id;
	ev.pg = &c->snap.pg;
	ask_free(a);
	controller_feed(c, &ev);
}

static void
on_control(struct controller *c, const struct ha_control *control,
    const struct tree *data, void *arg)
{
	struct ask *a = arg;
	struct ha_ev ev;

	(void)data;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_CONTROL;
	ev.id = a->id;
	ev.control = control;
	ask_free(a);
	controller_feed(c, &ev);
}

static bool
is_background(enum ha_job_kind k)
{
	return k == JOB_CHECKPOINT || k == JOB_SET_SSN || k == JOB_SYNC_SLOTS ||
	    k == JOB_RESUME_REPLAY || k == JOB_ADVANCE_WAL ||
	    k == JOB_SET_CONFIG || k == JOB_SAVE_CACHE;
}

/* ---- keeper ---- */

static void
on_armed(struct helper *h, const struct ipc_msg *msg, int lost, void *arg)
{
	struct ask *a = arg;
	struct controller *c = a->c;
	struct ha_ev ev;

	(void)h;
	(void)lost;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_WATCHDOG;
	ev.id = a->id;
	ev.outcome = OUTCOME_FAILED;
	/* no answer: nothing guards this node */
	ev.watchdog.activation_failed = 1;
	if (msg != NULL && msg->hdr.type == MSG_WD_STATE) {
		ev.outcome = OUTCOME_OK;
		ev.watchdog = *(const struct msg_wd_state *)msg->body;
	}
	ask_free(a);
	controller_feed(c, &ev);
}

static void
run_arm(struct controller *c, const struct ha_fx *fx)
{
	struct msg_wd_arm m = fx->arm;
	struct ask *a = ask_new(c, fx);

	(void)postmaster_find(&c->pm);
	m.postmaster_pid = c->pm.proc.pid;
	if (helper_request(c->h, PROC_WATCHDOG, MSG_WD_ARM, &m, NULL, 0,
		c->pm.pidfd, fx->deadline, on_armed, a) == 0) {
		struct ha_ev ev;

		memset(&ev, 0, sizeof ev);
		ev.type = EV_WATCHDOG;
		ev.id = a->id;
		ev.outcome = OUTCOME_FAILED;
		ev.watchdog.activation_failed = 1;
		ask_free(a);
		controller_feed(c, &ev);
	}
}

static void
run_settings(struct controller *c, const struct ha_fx *fx)
{
	struct msg_wd_settings w = { .ttl = fx->settings.ttl,
		.loop_wait = fx->settings.loop_wait };

	(void)helper_send(
	    c->h, PROC_DCS, MSG_DCS_SETTINGS, &fx->settings, NULL, 0, -1);
	(void)helper_send(
	    c->h, PROC_WATCHDOG, MSG_WD_SETTINGS, &w, NULL, 0, -1);
}

/* ---- time ---- */

static void
on_delay(evutil_socket_t fd, short what, void *arg)
{
	struct ask *a = arg;
	struct controller *c = a->c;
	struct ha_ev ev;

	(void)fd;
	(void)what;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_DELAY;
	ev.id = a->id;
	ask_free(a);
	controller_feed(c, &ev);
}

static struct timeval
until(int64_t at)
{
	int64_t left = at - clock_boot_ns();

	return controller_timeval(left > 0 ? left : 0);
}

static void
run_delay(struct controller *c, const struct ha_fx *fx)
{
	struct ask *a = ask_new(c, fx);
	struct timeval tv = until(fx->at);

	a->timer = evtimer_new(c->base, on_delay, a);
	if (a->timer == NULL || evtimer_add(a->timer, &tv) == -1)
		fatal("out of memory");
}

static void
run_exit(struct controller *c, int code)
{
	log_debug("controller ends with code %d", code);
	job_abandon(c);
	helper_stopped(c->h, code);
}

static void
run_one(struct controller *c, const struct ha_fx *fx)
{
	struct timeval tv;

	switch (fx->type) {
	case FX_LOAD:
		c->cycles++;
		run_load(c, fx);
		break;
	case FX_DCS:
		run_dcs(c, fx);
		break;
	case FX_PG_STATUS:
		status_take(c, fx->deadline, on_status, ask_new(c, fx));
		break;
	case FX_CONTROL:
		facts_control(
		    c, fx->timeline, true, on_control, ask_new(c, fx));
		break;
	case FX_RECOVERY_DIFF:
		facts_recovery_diff(c, fx->id, &fx->job);
		break;
	case FX_DIVERGENCE:
		facts_divergence(c, fx->id, &fx->job, fx->deadline);
		break;
	case FX_POLL:
	case FX_FAILSAFE_POST:
		run_poll(c, fx);
		break;
	case FX_JOB:
		if (is_background(fx->job.kind))
			background_run(c, fx->id, &fx->job);
		else
			job_submit(c, fx->id, &fx->job);
		break;
	case FX_WD_ARM:
		run_arm(c, fx);
		break;
	case FX_DELAY:
		run_delay(c, fx);
		break;
	case FX_JOB_CANCEL:
		job_cancel(c, fx->cancel_id, fx->grace);
		break;
	case FX_WD_GRANT:
		(void)helper_send(
		    c->h, PROC_WATCHDOG, MSG_WD_GRANT, &fx->grant, NULL, 0, -1);
		break;
	case FX_WD_DISARM:
		(void)helper_send(c->h, PROC_WATCHDOG, MSG_WD_DISARM,
		    &fx->disarm, NULL, 0, -1);
		break;
	case FX_SET_STATE:
		controller_set_state(c, fx->state);
		break;
	case FX_ROLE:
		c->role = fx->role;
		callback_run(c, fx->callback, fx->role);
		break;
	case FX_CALLBACK:
		callback_run(c, fx->callback, fx->role);
		break;
	case FX_TIMER:
		tv = until(fx->at);
		evtimer_add(c->ev_tick, &tv);
		break;
	case FX_PUBLISH:
		publish_fresh(c);
		break;
	case FX_REPLY:
		request_answer(c, fx->request, &fx->reply);
		break;
	case FX_SETTINGS:
		run_settings(c, fx);
		break;
	case FX_LOG:
		chatter_log(c, fx);
		break;
	case FX_JOURNAL:
		journal_add(c->journal, clock_boot_ns(), fx);
		text_set(c->last_result, sizeof c->last_result, fx->text);
		settings_cycle_end(c);
		background_cycle_end(c);
		break;
	case FX_EXIT:
		run_exit(c, fx->code);
		break;
	}
}

void
effects_run(struct controller *c, const struct ha_effects *out)
{
	uint32_t i;

	for (i = 0; i < out->n; i++)
		run_one(c, &out->v[i]);
}
