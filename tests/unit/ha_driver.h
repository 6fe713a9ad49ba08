/*
 * ha_driver.h: a scripted world around one HA core for its unit tests.  It
 * answers asks from what the test has set, applies lock operations to the
 * view, and records what was ordered.  A test holds back what it wants to
 * answer itself.
 */
#ifndef TESTS_UNIT_HA_DRIVER_H
#define TESTS_UNIT_HA_DRIVER_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../helpers/ha/ha_int.h"

#define SYSID "7123456789012345678"
#define W_PENDING 64
#define W_RECORD 4096

struct world {
	struct ha *h;
	int64_t now, wall;
	struct ha_config conf;
	struct view *view;
	struct ha_pg pg;
	struct ha_control control;
	struct ha_divergence divergence;
	bool divergence_given;
	enum ha_recovery_diff diff;
	struct peer_status peers[MAX_MEMBERS]; /* answers by name */
	uint32_t npeers;
	enum outcome load_outcome;
	bool op_set[OP_SET_STATUS + 1]; /* outcome below is forced */
	enum outcome op_outcome[OP_SET_STATUS + 1];
	bool hold_op[OP_SET_STATUS + 1];
	bool hold_load, hold_poll, hold_delay, hold_pg;
	enum ha_job_result job_result[JOB_KIND_COUNT];
	bool ssn_ignored; /* a reload that the server does not take up */
	bool hold_job[JOB_KIND_COUNT];
	uint64_t held_job[JOB_KIND_COUNT]; /* id of the held one */
	uint64_t held;			   /* id of another held ask */
	struct ha_fx held_fx;
	struct ha_fx held_all[W_PENDING]; /* all that were not jobs */
	uint32_t nheld;
	struct ha_fx last_job[JOB_KIND_COUNT];
	struct msg_wd_state wd;
	bool wd_no_answer;
	/* record */
	char result[2048], rule[WORD_SIZE];
	char inputs[HA_INPUTS], reasons[HA_REASONS], effects[HA_EFFECTS];
	char log[65536];      /* all log lines */
	char order[W_RECORD]; /* "load update follow ..." */
	uint32_t polls;
	int64_t timer, grant_end;
	int exit_code;
	bool exited;
	struct ha_fx touch, op[OP_SET_STATUS + 1];
	bool bad_promotion; /* ordered without a live lease */
	char voters[512];   /* of the last /sync write */
	struct msg_request_reply reply;
	uint64_t replied;
	/* asks to be answered */
	struct ha_fx pending[W_PENDING];
	struct view_failsafe asked[MAX_MEMBERS];
	uint32_t nasked;
	uint32_t npending;
	int64_t ask_takes; /* ns per answered ask */
};

static const char *const w_ops[] = { "", "acquire", "update", "release", "take",
	"initialize", "cancel", "touch", "failover", "config", "history",
	"sync", "delete-sync", "status" };
static const char *const w_jobs[] = { "", "bootstrap", "post", "clone",
	"start-primary", "follow", "reload", "stop", "promote", "restart",
	"rewind", "crash", "remove", "move", "checkpoint", "ssn", "slots",
	"copy", "resume", "archive", "advance", "set-config", "save" };

static void w_event(struct world *, const struct ha_ev *);

/* ---- which test meets which rule: for tests/tools/rules.py ---- */

static const char *w_test = "";

static int
w_name_test(void **state)
{
	w_test = *state;
	*state = NULL;
	return 0;
}

#undef cmocka_unit_test
#define cmocka_unit_test(f)                       \
	cmocka_unit_test_prestate_setup_teardown( \
	    f, w_name_test, NULL, (void *)(uintptr_t) #f)

/* One line "rule program test" in the file that RULES_LOG names. */
static void
w_met(const char *rule)
{
	static const struct ha_rule *met[1024];
	static const char *test;
	const struct ha_rule *r = ha_rule_find(rule);
	const char *path = getenv("RULES_LOG");
	uint32_t i;
	FILE *f;

	if (r == NULL || path == NULL)
		return;
	if (test != w_test)
		memset(met, 0, sizeof(met));
	test = w_test;
	for (i = 0; met[i] != NULL; i++)
		if (met[i] == r)
			return;
	met[i] = r;
	f = fopen(path, "a");
	if (f == NULL)
		return;
	(void)fprintf(
	    f, "%s %s %s\n", rule, program_invocation_short_name, w_test);
	(void)fclose(f);
}

static void
w_note(struct world *w, const char *word)
{
	size_t n = strlen(w->order);

	(void)snprintf(w->order + n, sizeof(w->order) - n, "%s%s",
	    n == 0 ? "" : " ", word);
}

static void
w_member(struct world *w, const char *name, const char *role, const char *state)
{
	struct view *v = w->view;
	struct view_member *m;

	v->members =
	    realloc(v->members, (v->nmembers + 1) * sizeof(*v->members));
	m = &v->members[v->nmembers++];
	memset(m, 0, sizeof(*m));
	(void)snprintf(m->name, sizeof(m->name), "%s", name);
	(void)snprintf(m->role, sizeof(m->role), "%s", role);
	(void)snprintf(m->state, sizeof(m->state), "%s", state);
	(void)snprintf(m->conn_url, sizeof(m->conn_url),
	    "postgres://%s:5432/postgres", name);
	(void)snprintf(
	    m->api_url, sizeof(m->api_url), "http://%s:8008/patroni", name);
	m->has_data = 1;
	m->tags.failover_priority = 1;
	m->tags.sync_priority = 1;
}

__attribute__((unused)) static void
w_peer(struct world *w, const char *name, uint64_t position)
{
	struct peer_status *p = &w->peers[w->npeers++];

	memset(p, 0, sizeof(*p));
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	p->reachable = 1;
	p->position = position;
	p->has_tags = 1;
	p->timeline = 1;
	p->tags.failover_priority = 1;
	p->tags.sync_priority = 1;
	p->accepted = 1;
}

static void
w_leader(struct world *w, const char *name)
{
	w->view->has_leader = name[0] != '\0';
	(void)snprintf(w->view->leader, sizeof(w->view->leader), "%s", name);
}

__attribute__((unused)) static void
w_option(struct world *w, const char *key, struct tree *value)
{
	assert_true(tree_set(w->view->config, key, value));
	w->view->config_modify++;
}

static struct world *
w_new(const char *name)
{
	struct world *w = calloc(1, sizeof(*w));

	w->now = 1000 * NS_PER_SEC;
	w->wall = INT64_C(1700000000000000);
	(void)snprintf(w->conf.name, sizeof(w->conf.name), "%s", name);
	(void)snprintf(w->conf.api_url, sizeof(w->conf.api_url),
	    "http://%s:8008/patroni", name);
	w->conf.fence = true;
	w->conf.has_bootstrap = true;
	w->conf.tags.failover_priority = 1;
	w->conf.tags.sync_priority = 1;
	w->view = view_new();
	w->view->has_initialize = 1;
	w->view->initialize_valid = 1;
	(void)snprintf(w->view->initialize, sizeof(w->view->initialize), SYSID);
	w->view->has_config = 1;
	w->view->config_modify = 1;
	w->view->config = tree_map();
	w_option(w, "ttl", tree_int(30));
	w->pg.running = true;
	w->pg.state = STATE_RUNNING;
	w->pg.query_ok = true;
	w->pg.timeline = 1;
	w->pg.received_timeline = 1;
	w->pg.wal_position = 1000;
	w->pg.server_version = 150004;
	(void)snprintf(w->pg.sysid, sizeof(w->pg.sysid), SYSID);
	w->control.ok = true;
	w->control.timeline = 1;
	w->control.state = CONTROL_IN_PRODUCTION;
	w->wd.fence_armed = 1;
	w->wd.healthy = 1;
	w->load_outcome = OUTCOME_OK;
	return w;
}

static void
w_free(struct world *w)
{
	ha_free(w->h);
	view_free(w->view);
	free(w);
}

static struct ha_ev
w_ev(enum ha_ev_type type, uint64_t id)
{
	struct ha_ev ev;

	memset(&ev, 0, sizeof(ev));
	ev.type = type;
	ev.id = id;
	return ev;
}

/* The voters of /sync: "b,c". */
static void
w_sync(struct world *w, const char *voters)
{
	struct view *v = w->view;
	char list[512], *rest = list, *name;

	(void)snprintf(list, sizeof(list), "%s", voters);
	v->nsync_standby = 0;
	while ((name = strsep(&rest, ",")) != NULL) {
		if (name[0] == '\0')
			continue;
		v->sync_standby = realloc(v->sync_standby,
		    (v->nsync_standby + 1) * sizeof(*v->sync_standby));
		(void)snprintf(
		    v->sync_standby[v->nsync_standby++], NAME_SIZE, "%s", name);
	}
}

/* Apply an operation of the store to the view, as a store would. */
static enum outcome
w_apply(struct world *w, const struct ha_dcs *d)
{
	struct view *v = w->view;
	const char *me = w->conf.name;

	if (w->op_set[d->op])
		return w->op_outcome[d->op];
	switch (d->op) {
	case OP_ACQUIRE:
		if (v->leader[0] != '\0')
			return OUTCOME_REFUSED;
		w_leader(w, me);
		break;
	case OP_UPDATE:
		if (strcmp(v->leader, me) != 0)
			return OUTCOME_REFUSED;
		break;
	case OP_TAKE:
		w_leader(w, me);
		break;
	case OP_RELEASE:
		if (strcmp(v->leader, me) == 0)
			w_leader(w, "");
		break;
	case OP_INITIALIZE:
		if (d->u.initialize.create && v->has_initialize)
			return OUTCOME_REFUSED;
		v->has_initialize = 1;
		memcpy(v->initialize, d->u.initialize.sysid, WORD_SIZE);
		v->initialize_valid = v->initialize[0] != '\0';
		break;
	case OP_CANCEL_INITIALIZE:
		v->has_initialize = v->initialize_valid = 0;
		v->initialize[0] = '\0';
		break;
	case OP_SET_FAILOVER:
		v->has_failover = 1;
		memcpy(v->failover_leader, d->u.failover.leader, NAME_SIZE);
		memcpy(v->failover_member, d->u.failover.member, NAME_SIZE);
		break;
	case OP_SET_SYNC:
		memcpy(v->sync_leader, d->u.sync.leader, NAME_SIZE);
		v->sync_quorum = d->u.sync.quorum;
		v->has_sync = 1;
		v->sync_token++;
		w_sync(w, w->voters);
		break;
	case OP_DELETE_SYNC:
		v->sync_leader[0] = '\0';
		v->nsync_standby = 0;
		break;
	case OP_TOUCH:
		if (view_member(v, me) == NULL)
			w_member(w, me, "replica", "running");
		break;
	default:
		break;
	}
	return OUTCOME_OK;
}

static void
w_answer_poll(struct world *w, const struct ha_fx *fx)
{
	struct peer_status out[MAX_MEMBERS];
	struct ha_ev ev = w_ev(EV_PEERS, fx->id);
	uint32_t i, k;

	for (i = 0; i < w->nasked; i++) {
		memset(&out[i], 0, sizeof(out[i]));
		memcpy(out[i].name, w->asked[i].name, NAME_SIZE);
		for (k = 0; k < w->npeers; k++)
			if (strcmp(w->peers[k].name, out[i].name) == 0)
				out[i] = w->peers[k];
	}
	ev.peers = out;
	ev.npeers = w->nasked;
	w_event(w, &ev);
}

static void
w_answer(struct world *w, const struct ha_fx *fx)
{
	struct view *shown = NULL;
	struct ha_ev ev;

	w->now += w->ask_takes;
	switch (fx->type) {
	case FX_LOAD:
		ev = w_ev(EV_VIEW, fx->id);
		ev.outcome = w->load_outcome;
		ev.sent = w->now - w->ask_takes;
		/* the core keeps what it is shown; ours goes on changing */
		if (ev.outcome == OUTCOME_OK)
			ev.view = shown = view_copy(w->view);
		break;
	case FX_DCS:
		ev = w_ev(EV_DCS, fx->id);
		ev.outcome = w_apply(w, &fx->dcs);
		ev.sent = w->now - w->ask_takes;
		ev.token = w->view->sync_token;
		break;
	case FX_PG_STATUS:
		ev = w_ev(EV_PG_STATUS, fx->id);
		ev.pg = &w->pg;
		break;
	case FX_CONTROL:
		ev = w_ev(EV_CONTROL, fx->id);
		ev.control = &w->control;
		break;
	case FX_RECOVERY_DIFF:
		ev = w_ev(EV_RECOVERY_DIFF, fx->id);
		ev.diff = w->diff;
		break;
	case FX_DIVERGENCE:
		ev = w_ev(EV_DIVERGENCE, fx->id);
		ev.divergence = w->divergence_given ? &w->divergence : NULL;
		break;
	case FX_POLL:
	case FX_FAILSAFE_POST:
		w_answer_poll(w, fx);
		return;
	case FX_WD_ARM:
		if (w->wd_no_answer) { /* as the controller tells it */
			ev = w_ev(EV_WATCHDOG, fx->id);
			ev.outcome = OUTCOME_FAILED;
			ev.watchdog.activation_failed = 1;
			break;
		}
		ev = w_ev(EV_WATCHDOG, fx->id);
		ev.watchdog = w->wd;
		break;
	case FX_DELAY:
		if (fx->at > w->now)
			w->now = fx->at;
		ev = w_ev(EV_DELAY, fx->id);
		break;
	case FX_JOB:
		ev = w_ev(EV_JOB_DONE, fx->id);
		ev.result = w->job_result[fx->job.kind];
		if (fx->job.kind == JOB_STOP && ev.result == JOB_OK) {
			w->pg.running = false;
			w->pg.query_ok = false;
			w->pg.state = STATE_STOPPED;
		}
		if (fx->job.kind == JOB_SET_SSN && ev.result == JOB_OK &&
		    !w->ssn_ignored)
			(void)snprintf(
			    w->pg.ssn, sizeof(w->pg.ssn), "%s", fx->job.text);
		break;
	default:
		return;
	}
	w_event(w, &ev);
	view_free(shown);
}

static void
w_voters(struct world *w, const struct tree *list)
{
	uint32_t i;

	w->voters[0] = '\0';
	for (i = 0; i < tree_count(list); i++) {
		size_t n = strlen(w->voters);

		(void)snprintf(w->voters + n, sizeof(w->voters) - n, "%s%s",
		    i == 0 ? "" : ",", tree_child(list, i)->u.s);
	}
}

static void
w_take(struct world *w, const struct ha_fx *fx)
{
	bool hold = false;

	switch (fx->type) {
	case FX_LOG: {
		size_t n = strlen(w->log);

		w_met(fx->rule);
		(void)snprintf(
		    w->log + n, sizeof(w->log) - n, "%s\n", fx->text);
		return;
	}
	case FX_JOURNAL:
		w_met(fx->rule);
		(void)snprintf(w->result, sizeof(w->result), "%s", fx->text);
		(void)snprintf(w->rule, sizeof(w->rule), "%s", fx->rule);
		memcpy(w->inputs, fx->inputs, sizeof(w->inputs));
		memcpy(w->reasons, fx->reasons, sizeof(w->reasons));
		memcpy(w->effects, fx->effects, sizeof(w->effects));
		return;
	case FX_TIMER:
		w->timer = fx->at;
		return;
	case FX_WD_GRANT:
		w->grant_end = fx->grant.lease_end_ns;
		w_note(w, "grant");
		return;
	case FX_WD_DISARM:
		w_note(w, "disarm");
		return;
	case FX_JOB_CANCEL:
		w_note(w, "job-cancel");
		return;
	case FX_SET_STATE:
		w->pg.state = fx->state;
		return;
	case FX_EXIT:
		w->exited = true;
		w->exit_code = fx->code;
		return;
	case FX_REPLY:
		w->reply = fx->reply;
		w->replied = fx->request;
		return;
	case FX_LOAD:
		w_note(w, "load");
		hold = w->hold_load;
		break;
	case FX_DCS:
		w_note(w, w_ops[fx->dcs.op]);
		w->op[fx->dcs.op] = *fx;
		w->op[fx->dcs.op].dcs.doc = NULL; /* not ours to keep */
		if (fx->dcs.op == OP_SET_SYNC)
			w_voters(w, fx->dcs.doc);
		hold = w->hold_op[fx->dcs.op];
		break;
	case FX_POLL:
	case FX_FAILSAFE_POST:
		w_note(w, fx->type == FX_POLL ? "poll" : "failsafe");
		w->polls++;
		w->nasked = fx->npeers;
		memcpy(w->asked, fx->peers, fx->npeers * sizeof(*fx->peers));
		hold = w->hold_poll;
		break;
	case FX_JOB:
		w_note(w, w_jobs[fx->job.kind]);
		if (fx->job.kind == JOB_PROMOTE && !ha_paused(w->h) &&
		    ha_trusted_until(w->h) <= w->now)
			w->bad_promotion = true;
		w->last_job[fx->job.kind] = *fx;
		hold = w->hold_job[fx->job.kind];
		if (hold)
			w->held_job[fx->job.kind] = fx->id;
		break;
	case FX_WD_ARM:
		w_note(w, "arm");
		break;
	case FX_PG_STATUS:
		hold = w->hold_pg;
		break;
	case FX_CONTROL:
	case FX_RECOVERY_DIFF:
	case FX_DIVERGENCE:
		break;
	case FX_DELAY:
		hold = w->hold_delay;
		break;
	default:
		return;
	}
	if (hold) {
		w->held = fx->id;
		w->held_fx = *fx;
		if (fx->type != FX_JOB && w->nheld < W_PENDING)
			w->held_all[w->nheld++] = *fx;
		return;
	}
	assert_true(w->npending < W_PENDING);
	w->pending[w->npending++] = *fx;
}

/* Feed one event and answer all that follows from it. */
static void
w_event(struct world *w, const struct ha_ev *ev)
{
	struct ha_effects out;
	uint32_t i, answers = 0;
	static int depth;

	ha_event(w->h, ev, w->now, w->wall + w->now / 1000, &out);
	for (i = 0; i < out.n; i++)
		w_take(w, &out.v[i]);
	if (depth++ == 0)
		while (w->npending > 0) {
			struct ha_fx fx = w->pending[0];

			if (++answers > 2000)
				fail_msg("no rest: ... %s",
				    w->order + strlen(w->order) / 2);
			w->npending--;
			memmove(&w->pending[0], &w->pending[1],
			    w->npending * sizeof(w->pending[0]));
			w_answer(w, &fx);
		}
	depth--;
}

static void
w_clear(struct world *w)
{
	w->order[0] = w->result[0] = w->log[0] = w->rule[0] = '\0';
	w->polls = 0;
}

static void
w_attach(struct world *w, enum pg_role role)
{
	struct ha_ev ev = w_ev(EV_ATTACHED, 0);

	w->h = ha_new(&w->conf);
	ev.pg = &w->pg;
	ev.role = role;
	w_event(w, &ev);
}

/* One cycle loop_wait later. */
static void
w_tick(struct world *w)
{
	struct ha_ev ev = w_ev(EV_TICK, 0);

	w_clear(w);
	if (w->timer > w->now)
		w->now = w->timer;
	w_event(w, &ev);
}

__attribute__((unused)) static void
w_wake(struct world *w)
{
	struct ha_ev ev = w_ev(EV_WAKE, 0);

	w_clear(w);
	w_event(w, &ev);
}

__attribute__((unused)) static void
w_job_done(struct world *w, enum ha_job_kind kind, enum ha_job_result result)
{
	struct ha_ev ev = w_ev(EV_JOB_DONE, w->held_job[kind]);

	ev.result = result;
	w_event(w, &ev);
}

__attribute__((unused)) static void
w_job_progress(
    struct world *w, enum ha_job_kind kind, enum ha_progress progress)
{
	struct ha_ev ev = w_ev(EV_JOB_PROGRESS, w->held_job[kind]);

	ev.progress = progress;
	ev.lsn = 900;
	ev.prev_lsn = 890;
	w_event(w, &ev);
}

__attribute__((unused)) static void
w_shutdown(struct world *w)
{
	struct ha_ev ev = w_ev(EV_SHUTDOWN, 0);

	w_event(w, &ev);
}

/* Answer what was held back; the caller has taken the hold away. */
__attribute__((unused)) static void
w_let_go(struct world *w)
{
	struct ha_fx fx = w->held_fx;

	w_answer(w, &fx);
}

/* All that was ever held back, in order; late answers must not matter. */
__attribute__((unused)) static void
w_let_all_go(struct world *w)
{
	static struct ha_fx all[W_PENDING];
	uint32_t i, n = w->nheld;

	memcpy(all, w->held_all, n * sizeof(all[0]));
	w->nheld = 0;
	for (i = 0; i < n; i++)
		w_answer(w, &all[i]);
}

/* An operator's request. */
__attribute__((unused)) static void
w_request(struct world *w, const struct msg_request *r, const struct tree *doc)
{
	struct ha_ev ev = w_ev(EV_REQUEST, 0);
	static uint64_t number;

	ev.request = ++number;
	ev.req = r;
	ev.doc = doc;
	w->reply.code = 0;
	w_event(w, &ev);
}

/* A walsender of the primary. */
__attribute__((unused)) static void
w_sender(struct world *w, const char *name, const char *state, uint64_t lsn)
{
	struct ha_sender *s = &w->pg.senders[w->pg.nsenders++];

	memset(s, 0, sizeof(*s));
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	(void)snprintf(s->sync_state, sizeof(s->sync_state), "%s", state);
	s->write_lsn = s->flush_lsn = s->replay_lsn = lsn;
}

/* Strings that must follow one another in a text. */
__attribute__((unused)) static void
w_follows(const char *text, const char *first, const char *second)
{
	const char *p = strstr(text, first);

	if (p == NULL || strstr(p + strlen(first), second) == NULL)
		fail_msg(
		    "not \"%s\" before \"%s\" in: %s", first, second, text);
}

__attribute__((unused)) static void
w_postgres(struct world *w, bool running, bool primary)
{
	w->pg.running = running;
	w->pg.query_ok = running;
	w->pg.is_primary = running && primary;
	w->pg.state = running ? STATE_RUNNING : STATE_STOPPED;
}

/* A primary that holds the lock and has done its first cycle. */
__attribute__((unused)) static struct world *
w_primary(const char *name)
{
	struct world *w = w_new(name);

	w_postgres(w, true, true);
	w_leader(w, name);
	w_member(w, name, "primary", "running");
	w_attach(w, ROLE_PRIMARY);
	w_clear(w);
	return w;
}

/* A standby of `leader`. */
__attribute__((unused)) static struct world *
w_standby(const char *name, const char *leader)
{
	struct world *w = w_new(name);

	w_postgres(w, true, false);
	w->pg.has_recovery_files = true;
	w->pg.receive_lsn = w->pg.replay_lsn = 1000;
	w_leader(w, leader);
	w_member(w, name, "replica", "running");
	w_member(w, leader, "primary", "running");
	w_attach(w, ROLE_REPLICA);
	w_clear(w);
	return w;
}

#endif
