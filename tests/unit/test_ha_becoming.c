/*
 * test_ha_becoming.c: nodes on their way to lead: told to promote and not
 * yet seen as a primary, bound by what they have told another, named by a
 * request that they may not follow.  Found by the simulator.
 */
#include "ha_driver.h"

/* ---- pg_ctl promote was issued, the server takes its time ---- */

static struct world *
promoted(void)
{
	struct world *w = w_standby("b", "a");

	w->hold_job[JOB_PROMOTE] = true;
	w_leader(w, "");
	w_tick(w);
	w_job_progress(w, JOB_PROMOTE, PROGRESS_PRE_PROMOTE_OK);
	w_job_progress(w, JOB_PROMOTE, PROGRESS_PROMOTED);
	w_job_done(w, JOB_PROMOTE, JOB_NOTHING);
	assert_int_equal(ha_role(w->h), ROLE_PROMOTED);
	w_tick(w);
	assert_string_equal(w->rule, "leader.no-action");
	w_clear(w);
	return w;
}

static void
keeper_lost(struct world *w)
{
	struct ha_ev ev = w_ev(EV_HELPER, 0);

	ev.helper = PROC_WATCHDOG;
	ev.up = false;
	w_event(w, &ev);
	w_clear(w);
}

/* The keeper was restarted meanwhile: as for a primary, no reason to stop. */
static void
test_promoted_without_keeper(void **state)
{
	struct world *w = promoted();

	(void)state;
	w->wd_no_answer = true;
	keeper_lost(w);
	w_tick(w);
	assert_non_null(strstr(w->log, "did not acknowledge the fence"));
	assert_null(strstr(w->order, "release"));
	assert_string_equal(w->rule, "leader.no-action");
	w_free(w);
}

/*
 * A controller before us gave the order, perhaps, and the server tells nothing
 * (seed 9900074): it is stopped before the lock goes to anybody else.
 */
static void
silent_since_attached(const char *leader, bool stops)
{
	struct world *w = w_new("b");

	w_option(w, "synchronous_mode", tree_text("quorum"));
	w_leader(w, leader);
	w_member(w, "a", "replica", "running");
	w_member(w, "b", "replica", "running");
	(void)snprintf(w->view->sync_leader, NAME_SIZE, "a");
	w->view->sync_quorum = 0;
	w_postgres(w, true, false);
	w->pg.query_ok = false;
	w->pg.has_recovery_files = true;
	w->job_result[JOB_SET_SSN] = JOB_FAILED;
	w_attach(w, ROLE_REPLICA);
	assert_null(strstr(w->order, "promote"));
	if (stops) {
		assert_non_null(strstr(w->log,
		    "Promotion cancelled because "
		    "synchronous_standby_names could not be set"));
		w_follows(w->order, "stop", "release");
	} else
		assert_null(strstr(w->order, "stop"));
	w_free(w);
}

static void
test_silent_since_attached(void **state)
{
	(void)state;
	silent_since_attached("b", true);
	silent_since_attached("a", false); /* a standby that is only slow */
}

/* It may not lead: nobody else may before this server has stopped. */
static void
test_promoted_unfit(void **state)
{
	struct world *w = promoted();

	(void)state;
	w->wd.activation_failed = 1;
	keeper_lost(w);
	w_tick(w);
	w_follows(w->order, "stop", "release");
	assert_int_equal(w->last_job[JOB_STOP].job.stop_mode, STOP_IMMEDIATE);
	w_free(w);
}

static void
test_promoted_refused(void **state)
{
	struct world *w = promoted();

	(void)state;
	w->op_set[OP_UPDATE] = true;
	w->op_outcome[OP_UPDATE] = OUTCOME_REFUSED;
	w_tick(w);
	assert_non_null(strstr(w->order, "stop"));
	assert_non_null(
	    strstr(w->log, "demoted self because failed to update"));
	w_free(w);
}

static void
test_promoted_overtaken(void **state)
{
	struct world *w = promoted();

	(void)state;
	w_member(w, "c", "primary", "running");
	w_leader(w, "c");
	w_tick(w);
	assert_non_null(strstr(w->order, "stop"));
	assert_non_null(strstr(w->log, "demoting self because I do not have"));
	w_free(w);
}

/* Another one has led between the decision to take the key and its having. */
static void
test_promoted_on_an_old_decision(void **state)
{
	struct world *w = promoted();

	(void)state;
	w_leader(w, "");
	w->hold_op[OP_ACQUIRE] = true;
	w_tick(w);
	w->view->optime = 5000;
	w->hold_op[OP_ACQUIRE] = false;
	w_let_go(w);
	w_follows(w->order, "stop", "release");
	assert_non_null(strstr(w->log, "another node has led since"));
	w_free(w);
}

/* Paused at this moment: the key stays with the one that becomes primary. */
static void
test_promoted_in_pause(void **state)
{
	struct world *w = promoted();

	(void)state;
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	assert_null(strstr(w->order, "release"));
	assert_non_null(strstr(w->order, "update"));
	w_free(w);
}

/* Restarted by request, the new server knows nothing of the order. */
static void
test_promoted_and_restarted(void **state)
{
	struct world *w = promoted();
	struct msg_request r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w->hold_job[JOB_RESTART] = true;
	w_request(w, &r, NULL);
	w_job_progress(w, JOB_RESTART, PROGRESS_SPAWNED);
	assert_non_null(strstr(w->order, "arm"));
	w_clear(w);
	w_job_done(w, JOB_RESTART, JOB_OK);
	assert_non_null(strstr(w->order, "promote"));
	w_free(w);
}

/* ---- failsafe mode ---- */

/* b: /failsafe names a alone, which leads no more. */
static struct world *
outsider(void)
{
	struct world *w = w_standby("b", "a");
	struct view *v = w->view;

	w_option(w, "failsafe_mode", tree_bool(true));
	v->has_failsafe = v->failsafe_object = 1;
	v->failsafe = calloc(1, sizeof(*v->failsafe));
	assert_non_null(v->failsafe);
	(void)snprintf(v->failsafe[0].name, NAME_SIZE, "a");
	(void)snprintf(v->failsafe[0].api_url, URL_SIZE, "http://a:8008");
	v->nfailsafe = 1;
	w_tick(w);
	w->now += 40 * NS_PER_SEC;
	w_tick(w);
	w_leader(w, "");
	w_tick(w);
	return w;
}

static void
role_of(struct world *w, const char *name, const char *role)
{
	struct view_member *m =
	    (struct view_member *)(uintptr_t)view_member(w->view, name);

	assert_non_null(m);
	(void)snprintf(m->role, sizeof(m->role), "%s", role);
}

static void
ticks(struct world *w, int n)
{
	w_clear(w);
	while (n-- > 0) {
		w->now += 10 * NS_PER_SEC;
		w_tick(w);
	}
}

/*
 * a lost its data and gave its lock up.  It goes on telling the store that it
 * is no primary, so nobody can be one, and b need not stay out for ever.
 */
static void
test_list_of_the_past(void **state)
{
	struct world *w = outsider();

	(void)state;
	role_of(w, "a", "uninitialized");
	ticks(w, 2);
	assert_null(strstr(w->order, "acquire")); /* may be from before */
	ticks(w, 1);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
	w = outsider(); /* it said so last, before it lost the store */
	role_of(w, "a", "primary");
	ticks(w, 9);
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
	w = outsider(); /* gone, and perhaps alone with its clients */
	w->view->nmembers = 1;
	assert_null(view_member(w->view, "a"));
	ticks(w, 9);
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* It did not look for longer than a lock lasts: it knows nothing of before. */
static void
test_list_of_an_unseen_time(void **state)
{
	struct world *w = outsider();

	(void)state;
	role_of(w, "a", "uninitialized");
	w->now += 60 * NS_PER_SEC;
	w_clear(w);
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	ticks(w, 3);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/*
 * b took the key, the answer was lost, and then it agreed that a, which has
 * no store, goes on: a writes until that is over.
 */
static void
test_lock_after_a_promise(void **state)
{
	struct world *w = outsider();
	struct msg_request r;

	(void)state;
	(void)snprintf(w->view->failsafe[0].name, NAME_SIZE, "b");
	w->op_set[OP_ACQUIRE] = true;
	w->op_outcome[OP_ACQUIRE] = OUTCOME_UNKNOWN;
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_FAILSAFE;
	(void)snprintf(r.name, sizeof(r.name), "a");
	w_request(w, &r, NULL);
	assert_int_equal(w->reply.code, 200);
	w_leader(w, "b");
	w_clear(w);
	w_tick(w);
	assert_null(strstr(w->order, "promote"));
	w_follows(w->order, "load", "release");
	assert_string_equal(w->rule, "leader.promised");
	ticks(w, 3);
	w_leader(w, "b");
	w_tick(w);
	assert_non_null(strstr(w->order, "promote"));
	w_free(w);
}

/* A former leader asks whether another could take over: not that one. */
static void
test_successor_outside_failsafe(void **state)
{
	struct world *w = outsider();
	struct view *v = w->view;

	(void)state;
	w_member(w, "c", "replica", "running");
	w_peer(w, "c", 5000);
	(void)snprintf(v->failsafe[0].name, NAME_SIZE, "b");
	v->has_failover = 1;
	(void)snprintf(v->failover_leader, NAME_SIZE, "b");
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* ---- a decision and the time ---- */

/* The controller hung between the polls and the lock. */
static void
test_decision_of_before_a_hang(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_member(w, "c", "replica", "running");
	w_peer(w, "c", 1000);
	w_tick(w);
	w_leader(w, "");
	w->hold_poll = true;
	w_tick(w);
	w->hold_poll = false;
	w->now += 40 * NS_PER_SEC;
	w_clear(w);
	w_let_go(w);
	assert_null(strstr(w->order, "acquire"));
	assert_string_equal(w->rule, "race.stale");
	assert_int_equal(w->timer, w->now);
	w_clear(w);
	w_tick(w);
	w_follows(w->order, "load", "acquire");
	w_free(w);
}

/* The request may be under way as long as the view holds, and no longer. */
static void
test_lock_within_the_view(void **state)
{
	struct world *w = w_standby("b", "a");
	int64_t seen;

	(void)state;
	w_member(w, "c", "replica", "running");
	w_peer(w, "c", 1000);
	w_tick(w);
	w_leader(w, "");
	w->hold_poll = w->hold_op[OP_ACQUIRE] = true;
	w_tick(w);
	seen = w->now;
	w->now = seen + 25 * NS_PER_SEC;
	w_let_go(w);
	assert_int_equal(w->held_fx.dcs.op, OP_ACQUIRE);
	assert_int_equal(w->held_fx.deadline, seen + 30 * NS_PER_SEC);
	w_free(w);
}

/* The leader's member key runs out before its lock: it is asked all the same.
 */
static void
test_address_of_a_leader_without_key(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_peer(w, "a", 5000);
	w_tick(w);
	w->view->nmembers = 1;
	assert_null(view_member(w->view, "a"));
	w_tick(w);
	w_leader(w, "");
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->log, "Wal position of a is ahead"));
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* WAL arrives all the time: what counts is what the others had when asked. */
static void
test_moving_positions(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_member(w, "c", "replica", "running");
	w_peer(w, "c", 1200);
	w_tick(w);
	w_leader(w, "");
	w->pg.wal_position = 1000;
	w->pg.receiver_streaming = true;
	w->hold_poll = true;
	w_tick(w);
	w->hold_poll = false;
	w->pg.wal_position = 1199;
	w_clear(w);
	w_let_go(w);
	assert_null(strstr(w->order, "acquire"));
	w->pg.wal_position = 1000;
	w->hold_poll = true;
	w_tick(w);
	w->hold_poll = false;
	w->pg.wal_position = 1200;
	w_clear(w);
	w_let_go(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* An older member's poll tells no tags; the store does. */
static void
test_candidate_tagged(void **state)
{
	struct world *w = w_standby("b", "a");
	struct view_member *m;

	(void)state;
	w_member(w, "c", "replica", "running");
	m = (struct view_member *)(uintptr_t)view_member(w->view, "c");
	m->tags.nofailover = true;
	w_peer(w, "c", 1000);
	w->peers[0].has_tags = 0;
	w_tick(w);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "c");
	w_leader(w, "");
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->log, "member c is not allowed to promote"));
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* ---- pre_promote ---- */

/* Its failure, then the data directory is gone: the lock goes for that. */
static void
test_pre_promote_failed_and_more(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->conf.has_pre_promote = true;
	ha_free(w->h);
	w_attach(w, ROLE_REPLICA);
	w->hold_job[JOB_PROMOTE] = true;
	w_leader(w, "");
	w_tick(w);
	w_job_progress(w, JOB_PROMOTE, PROGRESS_PRE_PROMOTE_FAILED);
	w->pg.datadir = DATADIR_UNREADABLE;
	w_job_done(w, JOB_PROMOTE, JOB_FAILED);
	assert_non_null(strstr(w->log, "data dir not accessible"));
	w->pg.datadir = DATADIR_OK;
	w_postgres(w, true, false);
	w_leader(w, "");
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->log, "backoff: skip leader race"));
	assert_null(strstr(w->order, "acquire"));
	w->now += 30 * NS_PER_SEC; /* and the failure is forgotten then */
	w_clear(w);
	w_tick(w);
	w_follows(w->order, "acquire", "promote");
	w_free(w);
}

/* ---- a restarted primary ---- */

/* The cycle waits for the store: the new server has its fence all the same. */
static void
test_fence_during_a_cycle(void **state)
{
	struct world *w = w_primary("a");
	struct msg_request r;

	(void)state;
	w_tick(w);
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w->hold_job[JOB_RESTART] = true;
	w_request(w, &r, NULL);
	w->hold_op[OP_UPDATE] = true;
	w_tick(w);
	w_clear(w);
	w_job_progress(w, JOB_RESTART, PROGRESS_SPAWNED);
	assert_non_null(strstr(w->order, "arm"));
	assert_non_null(strstr(w->order, "grant"));
	w->hold_op[OP_UPDATE] = false;
	w_clear(w);
	w_let_go(w);
	assert_non_null(strstr(w->order, "arm")); /* and is known to have it */
	assert_true(w->h->s.wd_fence_armed);
	w_free(w);
}

/* The machine slept in the cycle that carries the restart out. */
static void
test_restart_on_an_old_lease(void **state)
{
	struct world *w = w_primary("a");
	struct msg_request r;

	(void)state;
	w_tick(w);
	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_RESTART;
	r.timeout = -1;
	w->hold_pg = true;
	w_clear(w);
	w_request(w, &r, NULL);
	w->now += 60 * NS_PER_SEC;
	w->hold_pg = false;
	w_let_go(w);
	assert_int_equal(w->reply.code, 503);
	assert_null(strstr(w->order, "restart"));
	w_free(w);
}

/* ---- the keeper ---- */

/* It hung when it was to arm, and does so when it goes on: not in pause. */
static void
test_pause_after_an_unanswered_arm(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_option(w, "pause", tree_bool(true));
	w_tick(w); /* what an earlier controller may have armed is disarmed */
	w_option(w, "pause", tree_bool(false));
	w->wd_no_answer = true;
	w_tick(w);
	assert_non_null(strstr(w->order, "arm"));
	assert_null(strstr(w->order, "disarm"));
	w_option(w, "pause", tree_bool(true));
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "disarm"));
	w_free(w);
}

/* ---- the lease ---- */

/* What can wait leaves time for the refresh, and for a stop. */
static void
test_refresh_behind_lost_keys(void **state)
{
	struct world *w = w_primary("a");
	int64_t began;

	(void)state;
	w_tick(w);
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->hold_op[OP_INITIALIZE] = true;
	w_tick(w);
	began = w->now;
	assert_int_equal(w->held_fx.dcs.op, OP_INITIALIZE);
	assert_true(w->held_fx.deadline <= began + 5 * NS_PER_SEC);
	w_free(w);
}

/* The store crawls: what the lease still allows is its refresh. */
static void
test_refresh_before_sync(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_option(w, "synchronous_mode", tree_bool(true));
	w_member(w, "b", "replica", "running");
	w->hold_op[OP_UPDATE] = true;
	w_tick(w);
	w->hold_op[OP_UPDATE] = false;
	w->ask_takes = 20 * NS_PER_SEC;
	w_let_go(w);
	w->ask_takes = 0;
	assert_null(strstr(w->order, "sync"));
	w_free(w);
}

/* A slow load took what the lease had: the members are asked at once. */
static void
test_members_before_a_late_refresh(void **state)
{
	struct world *w = w_primary("a");
	struct view *v = w->view;
	int64_t began;

	(void)state;
	w_option(w, "failsafe_mode", tree_bool(true));
	v->has_failsafe = v->failsafe_object = 1;
	v->failsafe = calloc(2, sizeof(*v->failsafe));
	assert_non_null(v->failsafe);
	(void)snprintf(v->failsafe[0].name, NAME_SIZE, "a");
	(void)snprintf(v->failsafe[1].name, NAME_SIZE, "b");
	(void)snprintf(v->failsafe[1].api_url, URL_SIZE, "http://b:8008");
	v->nfailsafe = 2;
	w_tick(w);
	began = w->grant_end;
	w->hold_load = w->hold_poll = true;
	w_tick(w);
	w->hold_load = false;
	w->now = began - 10 * NS_PER_SEC;
	w->hold_op[OP_UPDATE] = true;
	w_clear(w);
	w_let_go(w);
	assert_non_null(strstr(w->order, "update"));
	assert_int_equal(w->held_fx.deadline, w->now + 250 * NS_PER_MS);
	w->now += 250 * NS_PER_MS;
	w->hold_op[OP_UPDATE] = false;
	w->op_set[OP_UPDATE] = true;
	w->op_outcome[OP_UPDATE] = OUTCOME_UNKNOWN;
	w_let_go(w);
	assert_int_equal(w->held_fx.type, FX_FAILSAFE_POST);
	/* the keeper fences 7.5 s before the end */
	assert_int_equal(w->held_fx.deadline, w->now + 1125 * NS_PER_MS);
	w_free(w);
}

/* The controller was stopped for a while, and the store is well. */
static void
test_late_refresh_with_failsafe(void **state)
{
	struct world *w = w_primary("a");
	struct view *v = w->view;

	(void)state;
	w_option(w, "failsafe_mode", tree_bool(true));
	v->has_failsafe = v->failsafe_object = 1;
	v->failsafe = calloc(2, sizeof(*v->failsafe));
	assert_non_null(v->failsafe);
	(void)snprintf(v->failsafe[0].name, NAME_SIZE, "a");
	(void)snprintf(v->failsafe[1].name, NAME_SIZE, "b");
	(void)snprintf(v->failsafe[1].api_url, URL_SIZE, "http://b:8008");
	v->nfailsafe = 2;
	w_tick(w);
	w->now = w->grant_end - 10 * NS_PER_SEC;
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "update"));
	assert_true(w->grant_end >= w->now + 29 * NS_PER_SEC);
	assert_null(strstr(w->order, "stop"));
	w_free(w);
}

/* What cannot be stopped keeps its data where they are. */
static void
test_bootstrap_that_cannot_be_stopped(void **state)
{
	struct world *w = w_new("a");

	(void)state;
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w->hold_job[JOB_BOOTSTRAP] = true;
	w_attach(w, ROLE_UNINITIALIZED);
	w_postgres(w, true, true);
	w->pg.datadir = DATADIR_OK;
	w->job_result[JOB_POST_BOOTSTRAP] = JOB_FAILED;
	w->job_result[JOB_STOP] = JOB_FAILED;
	w_job_done(w, JOB_BOOTSTRAP, JOB_OK);
	assert_non_null(strstr(w->log, "Failed to bootstrap cluster"));
	assert_null(strstr(w->order, "move"));
	w_free(w);
}

/* It cannot be stopped just now: it is tried again while the lease lasts. */
static void
test_stop_tried_again(void **state)
{
	struct world *w = w_primary("a");
	int64_t began;

	(void)state;
	w_tick(w);
	w->load_outcome = OUTCOME_FAILED;
	w->job_result[JOB_STOP] = JOB_FAILED;
	w->hold_delay = true;
	w_tick(w);
	assert_non_null(strstr(w->log, "could not be stopped"));
	began = w->now;
	assert_int_equal(w->held_fx.type, FX_DELAY);
	assert_int_equal(w->held_fx.at, began + NS_PER_SEC);
	w->job_result[JOB_STOP] = JOB_OK;
	w->hold_delay = false;
	w_clear(w);
	w_let_go(w);
	w_follows(w->order, "stop", "follow");
	w_free(w);
	w = w_primary("a"); /* and in the next cycle, which is soon */
	w_tick(w);
	w->load_outcome = OUTCOME_FAILED;
	w->job_result[JOB_STOP] = JOB_FAILED;
	w_tick(w);
	assert_true(w->timer <= w->now + NS_PER_SEC);
	w_free(w);
}

/* pg_controldata cannot be read: no reason to let the lease run out. */
static void
test_primary_without_identifier(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w->pg.sysid[0] = '\0';
	w_tick(w);
	assert_non_null(strstr(w->order, "update"));
	assert_string_equal(w->rule, "leader.no-action");
	w_member(w, "b", "primary", "running");
	w_leader(w, "b"); /* nor to write beside another one */
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "stop"));
	w_free(w);
}

/* Nobody is in /sync yet, and the candidate does not exist. */
static void
test_ghost_before_sync(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_option(w, "synchronous_mode", tree_bool(true));
	w_tick(w);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "ghost");
	w_leader(w, "");
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* ---- pause ---- */

/* It is not for the server to say that its fence may rest. */
static void
test_pause_with_a_hung_server(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w_option(w, "pause", tree_bool(true));
	w->hold_pg = true;
	w_tick(w);
	assert_non_null(strstr(w->order, "disarm"));
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_promoted_without_keeper),
		cmocka_unit_test(test_silent_since_attached),
		cmocka_unit_test(test_promoted_unfit),
		cmocka_unit_test(test_promoted_refused),
		cmocka_unit_test(test_promoted_overtaken),
		cmocka_unit_test(test_promoted_on_an_old_decision),
		cmocka_unit_test(test_promoted_in_pause),
		cmocka_unit_test(test_promoted_and_restarted),
		cmocka_unit_test(test_list_of_the_past),
		cmocka_unit_test(test_list_of_an_unseen_time),
		cmocka_unit_test(test_lock_after_a_promise),
		cmocka_unit_test(test_successor_outside_failsafe),
		cmocka_unit_test(test_decision_of_before_a_hang),
		cmocka_unit_test(test_lock_within_the_view),
		cmocka_unit_test(test_address_of_a_leader_without_key),
		cmocka_unit_test(test_moving_positions),
		cmocka_unit_test(test_candidate_tagged),
		cmocka_unit_test(test_pre_promote_failed_and_more),
		cmocka_unit_test(test_refresh_behind_lost_keys),
		cmocka_unit_test(test_refresh_before_sync),
		cmocka_unit_test(test_bootstrap_that_cannot_be_stopped),
		cmocka_unit_test(test_stop_tried_again),
		cmocka_unit_test(test_primary_without_identifier),
		cmocka_unit_test(test_ghost_before_sync),
		cmocka_unit_test(test_fence_during_a_cycle),
		cmocka_unit_test(test_members_before_a_late_refresh),
		cmocka_unit_test(test_late_refresh_with_failsafe),
		cmocka_unit_test(test_restart_on_an_old_lease),
		cmocka_unit_test(test_pause_after_an_unanswered_arm),
		cmocka_unit_test(test_pause_with_a_hung_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
