/*
 * node.c: a node: the core's effects become work of the model, and the life
 * of its processes.
 */
#include <stdlib.h>

#include "sim.h"

struct node *
node_named(struct world *w, const char *name)
{
	/* n1, n2, ...: see node_init() */
	if (name[0] == 'n' && name[1] > '0' && name[1] <= '0' + w->nnodes &&
	    name[2] == '\0')
		return &w->node[name[1] - '1'];
	if (strncmp(name, "remote_member:", 14) == 0)
		return &w->remote;
	return NULL;
}

/* ---- effects ---- */

static void
on_tick(struct world *w, struct ev *e)
{
	struct ha_ev ev;

	(void)w;
	if ((int64_t)e->id != e->n->timer_version || e->n->h == NULL)
		return;
	memset(&ev, 0, sizeof(ev));
	ev.type = EV_TICK;
	node_feed(e->n, &ev);
}

static void
on_restart(struct world *w, struct ev *e)
{
	struct node *n = e->n;

	(void)w;
	if (n->machine_up && !n->stopping && n->h == NULL)
		node_power_on(n);
}

/* The daemon ends; its unit is started again after a while. */
static void
leave(struct node *n, int code)
{
	struct world *w = n->w;

	trace(w, n, "daemon exits with %d", code);
	check_exit(n);
	node_detach(n);
	process_stop(n, PROC_DCS);
	process_stop(n, PROC_REST);
	at(w, w->now + (code != 0 ? 30 : 5) * SEC, on_restart, n, PROC_COUNT);
}

static void
carry_out(struct node *n, const struct ha_fx *fx)
{
	struct world *w = n->w;

	switch (fx->type) {
	case FX_LOAD:
	case FX_DCS:
		ask_store(n, fx);
		break;
	case FX_PG_STATUS:
		ask_local(
		    n, fx, n->pg.hung ? 5 * SEC : rnd_range(w, MS, 10 * MS));
		break;
	case FX_CONTROL:
	case FX_RECOVERY_DIFF:
		ask_local(n, fx, rnd_range(w, MS, 20 * MS));
		break;
	case FX_DIVERGENCE:
		ask_local(n, fx, rnd_range(w, 5 * MS, 100 * MS));
		break;
	case FX_DELAY:
		ask_local(n, fx, true_time(n, fx->at) - w->now);
		break;
	case FX_POLL:
	case FX_FAILSAFE_POST:
		ask_poll(n, fx);
		break;
	case FX_JOB:
		check_job(n, &fx->job);
		job_begin(n, fx);
		break;
	case FX_JOB_CANCEL:
		job_cancel(n, fx->cancel_id);
		break;
	case FX_WD_ARM:
		keeper_arm(n, fx->id);
		break;
	case FX_WD_GRANT:
		check_grant(n, fx->grant.lease_end_ns);
		keeper_grant(n, &fx->grant);
		break;
	case FX_WD_DISARM:
		check_disarm(n);
		keeper_disarm(n);
		break;
	case FX_SET_STATE:
		if (n->state != fx->state)
			n->state_since = local_time(n);
		n->state = fx->state;
		break;
	case FX_ROLE:
		trace(w, n, "  role: %s", pg_role_name(fx->role));
		/* asked within a cycle, judged at its end (18.1) */
		n->request_unfit = false;
		n->role = fx->role;
		break;
	case FX_TIMER:
		at(w, true_time(n, fx->at), on_tick, n, PROC_POSTGRES)->id =
		    (uint64_t)++n->timer_version;
		break;
	case FX_LOG:
		rule_met(fx->rule);
		coverage_rule(w, fx->rule);
		trace(w, n, "%s%s%s%s", fx->text,
		    fx->rule[0] != '\0' ? " [" : "", fx->rule,
		    fx->rule[0] != '\0' ? "]" : "");
		break;
	case FX_JOURNAL:
		rule_met(fx->rule);
		coverage_rule(w, fx->rule);
		w->cycles++;
		break;
	case FX_SETTINGS:
		n->settings = fx->settings;
		if (w->watchdog == WATCHDOG_REQUIRED)
			keeper_tell(n);
		break;
	case FX_REPLY:
		ask_reply(n, fx);
		break;
	case FX_CALLBACK:
	case FX_PUBLISH:
	case FX_EXIT:
		break;
	}
}

void
node_feed(struct node *n, const struct ha_ev *ev)
{
	struct ha_effects out;
	uint32_t i;

	if (n->h == NULL)
		return;
	ha_event(n->h, ev, local_time(n), wall_time(n), &out);
	/* how long the knowledge of a pause outlives the pause */
	if (ha_paused(n->h))
		n->paused_until = INT64_MAX;
	else if (n->paused_until == INT64_MAX)
		n->paused_until = n->w->now + 2 * n->w->ttl * SEC;
	for (i = 0; i < out.n; i++) {
		if (out.v[i].type == FX_EXIT) {
			leave(n, out.v[i].code);
			return;
		}
		carry_out(n, &out.v[i]);
	}
}

/*
 * Resumed, but not yet with its keeper armed: who stands still now stays as
 * it was in pause.
 */
void
node_stays_paused(struct node *n)
{
	if (n->paused_until > n->w->now)
		n->paused_until = INT64_MAX;
}

/* ---- life of the controller ---- */

static void
configure(struct node *n, struct ha_config *c)
{
	struct world *w = n->w;

	memset(c, 0, sizeof(*c));
	(void)text_set(c->name, sizeof(c->name), n->name);
	(void)text_set(c->scope, sizeof(c->scope), "sim");
	(void)snprintf(c->conn_url, sizeof(c->conn_url),
	    "postgres://%s:5432/postgres", n->name);
	(void)snprintf(
	    c->api_url, sizeof(c->api_url), "http://%s:8008/patroni", n->name);
	c->tags = n->tags;
	c->watchdog_mode = w->watchdog;
	c->watchdog_safety_margin = w->safety_margin;
	c->has_pre_promote = w->pre_promote;
	c->fence = true;
	c->has_bootstrap = true;
	c->use_pg_rewind = w->use_rewind;
	c->remove_data_on_diverged = !w->use_rewind;
	c->remove_data_on_rewind_failure = true;
	c->pg_ctl_timeout = 60;
	c->mute = !w->tracing;
#ifdef HA_TEST_BREAK
	c->test_break = w->broken == BREAK_NONE ? 0 : UINT64_C(1) << w->broken;
#endif
}

struct tree *
node_document(const struct world *w)
{
	struct tree *t;

	if (w->store.config != NULL)
		return tree_copy(w->store.config);
	t = tree_map();
	tree_set(t, "ttl", tree_int(w->ttl));
	tree_set(t, "loop_wait", tree_int(w->loop_wait));
	tree_set(t, "retry_timeout", tree_int(w->retry_timeout));
	tree_set(t, "maximum_lag_on_failover", tree_int(w->maximum_lag));
	tree_set(t, "check_timeline", tree_bool(w->check_timeline));
	tree_set(t, "failsafe_mode", tree_bool(w->failsafe));
	if (w->sync != 0) {
		tree_set(t, "synchronous_mode",
		    w->sync == 2 ? tree_text("quorum") : tree_bool(true));
		tree_set(
		    t, "synchronous_mode_strict", tree_bool(w->sync_strict));
		tree_set(t, "synchronous_node_count", tree_int(w->sync_count));
		tree_set(t, "maximum_lag_on_syncnode", tree_int(w->sync_lag));
	}
	if (w->primary_stop_timeout > 0)
		tree_set(t, "primary_stop_timeout",
		    tree_int(w->primary_stop_timeout));
	if (w->race_backoff > 0)
		tree_set(t, "primary_race_backoff", tree_int(w->race_backoff));
	tree_set(t, "member_slots_ttl", tree_int(w->member_slots_ttl));
	if (w->standby) {
		struct tree *section = tree_map();

		tree_set(section, "host", tree_text("remote"));
		tree_set(t, "standby_cluster", section);
	}
	tree_set(
	    t, "primary_start_timeout", tree_int(w->primary_start_timeout));
	return t;
}

static enum pg_role
found_role(const struct node *n)
{
	if (!n->pg.data)
		return ROLE_UNINITIALIZED;
	if (n->pg.run == PG_UP && !n->pg.hung)
		return n->pg.primary ? ROLE_PRIMARY : ROLE_REPLICA;
	return n->pg.standby_files ? ROLE_REPLICA : ROLE_DEMOTED;
}

static void
on_attach(struct world *w, struct ev *e)
{
	struct node *n = e->n;
	struct ha_config conf;
	struct tree *doc;
	struct ha_pg *pg;
	struct ha_ev ev;

	if (n->h != NULL)
		return;
	/* the store has to be seen once (spec/config.md 1.3) */
	if (w->store.down || !linked(w, n->i, STORE) ||
	    !linked(w, STORE, n->i) || !process_ok(n, PROC_DCS)) {
		at(w, w->now + SEC, on_attach, n, PROC_POSTGRES);
		return;
	}
	configure(n, &conf);
	doc = node_document(w);
	conf.dynamic = doc;
	n->h = ha_new(&conf);
	pg = calloc(1, sizeof(*pg));
	if (n->h == NULL || pg == NULL)
		abort();
	tree_free(doc);
	n->state = n->pg.run == PG_DOWN ? STATE_STOPPED :
	    n->pg.run == PG_UP		? STATE_RUNNING :
					  STATE_STARTING;
	n->state_since = local_time(n);
	n->role = found_role(n);
	n->arm_answered = 0;
	memset(n->known, 0, sizeof(n->known));
	memset(n->known_old, 0, sizeof(n->known_old));
	n->known_leader = -1;
	n->well_since = w->now;
	facts_status(n, pg);
	memset(&ev, 0, sizeof(ev));
	ev.type = EV_ATTACHED;
	ev.pg = pg;
	ev.role = n->role;
	trace(w, n, "controller attaches as %s", pg_role_name(n->role));
	node_feed(n, &ev);
	free(pg);
	keeper_tell(n);
}

void
node_attach(struct node *n, int64_t delay)
{
	struct process *p = &n->proc[PROC_POSTGRES];

	if (!n->machine_up || p->up)
		return;
	p->up = true;
	p->gen++;
	at(n->w, n->w->now + delay, on_attach, n, PROC_POSTGRES);
}

void
node_detach(struct node *n)
{
	node_stays_paused(n);
	job_drop(n);
	asks_drop(n);
	process_stop(n, PROC_POSTGRES);
	ha_free(n->h);
	n->h = NULL;
	n->timer_version++;
	n->request = 0;
	n->schedules = n->scheduled = false;
	n->unled_since = 0;
	n->sysid_known = false;
}

void
node_crash_controller(struct node *n)
{
	if (!n->proc[PROC_POSTGRES].up)
		return;
	node_detach(n);
	node_attach(n, rnd_range(n->w, 10 * MS, 3 * SEC));
}

void
node_power_off(struct node *n)
{
	trace(n->w, n, "machine is lost");
	n->machine_up = false;
	pg_kill(n);
	node_detach(n);
	process_stop(n, PROC_DCS);
	process_stop(n, PROC_REST);
	process_stop(n, PROC_WATCHDOG);
	keeper_restart(n);
	n->device.running = n->device.given_up = false;
	n->device.version++;
}

/* The unit starts: whatever of it is missing. */
void
node_power_on(struct node *n)
{
	enum proc p;

	n->machine_up = true;
	n->stopping = false;
	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++) {
		if (p == PROC_POSTGRES || n->proc[p].up)
			continue;
		n->proc[p].up = true;
		n->proc[p].gen++;
		if (p == PROC_WATCHDOG)
			n->keeper.since = n->w->now;
	}
	node_attach(n, rnd_range(n->w, 50 * MS, 500 * MS));
}

void
node_init(struct world *w, int i)
{
	struct node *n = &w->node[i];

	n->i = i;
	n->w = w;
	(void)snprintf(n->name, sizeof(n->name), "n%d", i + 1);
	n->pg.follow = -1;
	n->offset = rnd_range(w, 1000, 100000) * SEC;
	n->drift_ppm = rnd_range(w, -MAX_DRIFT, MAX_DRIFT);
	choose_tags(n);
}

void
node_free(struct node *n)
{
	int i;

	ha_free(n->h);
	n->h = NULL;
	for (i = 0; i < PROC_COUNT; i++)
		free(n->proc[i].held);
	tree_free(n->slots_told);
	n->slots_told = NULL;
}
