/*
 * test_ha_found.c: what the simulator found in the rules, each once, as the
 * smallest story that shows it.
 */
#include "ha_driver.h"

/* ---- failsafe mode ---- */

static struct world *
failsafe_member(void)
{
	struct world *w = w_standby("b", "a");
	struct view *v = w->view;

	w_option(w, "failsafe_mode", tree_bool(true));
	v->has_failsafe = v->failsafe_object = 1;
	v->failsafe = calloc(2, sizeof(*v->failsafe));
	assert_non_null(v->failsafe);
	(void)snprintf(v->failsafe[0].name, NAME_SIZE, "a");
	(void)snprintf(v->failsafe[0].api_url, URL_SIZE, "http://a:8008");
	(void)snprintf(v->failsafe[1].name, NAME_SIZE, "b");
	(void)snprintf(v->failsafe[1].api_url, URL_SIZE, "http://b:8008");
	v->nfailsafe = 2;
	w_tick(w);
	w_clear(w);
	return w;
}

/*
 * Its daemon was restarted after it had told the primary to go on; the
 * primary cannot be asked just now, and the key has run out.
 */
static void
test_restarted_promise(void **state)
{
	struct world *w = failsafe_member();

	(void)state;
	w_leader(w, "");
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	assert_non_null(strstr(w->log, "has not run long enough"));
	/* the promise, if there was one, is over */
	w->now += 30 * NS_PER_SEC;
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* The same for a candidate, who asks nobody otherwise. */
static void
test_restarted_candidate(void **state)
{
	struct world *w = failsafe_member();

	(void)state;
	w_peer(w, "a", 1000);
	w->peers[0].runs_as_primary = 1;
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "b");
	w_leader(w, "");
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	w->peers[0].runs_as_primary = 0;
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* c came during the outage: it may not lead, so its priority is nothing. */
static void
test_excluded_priority(void **state)
{
	struct world *w = failsafe_member();

	(void)state;
	w->now += 40 * NS_PER_SEC;
	w_member(w, "c", "replica", "running");
	w_peer(w, "c", 1000);
	w->peers[0].tags.failover_priority = 5;
	w_leader(w, "");
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* Failsafe mode keeps the candidate out (11.1, 10), so nobody waits for it. */
static void
test_excluded_candidate(void **state)
{
	struct world *w = failsafe_member();

	(void)state;
	w->now += 40 * NS_PER_SEC;
	w_member(w, "c", "replica", "running");
	w_peer(w, "c", 2000);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "c");
	w_leader(w, "");
	w_clear(w);
	w_tick(w);
	assert_non_null(
	    strstr(w->log, "member c is not a member of failsafe mode"));
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* ---- a server that cannot be stopped ---- */

/* Its data are gone, it goes on: key and fence stay until it has ended. */
static void
test_stop_fails_without_data(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->pg.datadir = DATADIR_UNREADABLE;
	w->job_result[JOB_STOP] = JOB_FAILED;
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "stop"));
	assert_null(strstr(w->order, "disarm"));
	assert_null(strstr(w->order, "release"));
	assert_string_equal(w->rule, "demote.stop-failed");
	w->job_result[JOB_STOP] = JOB_OK;
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "release"));
	w_free(w);
}

/*
 * Resumed from pause without the key, so that no keeper was ever armed: what
 * the order to stop cannot do, the fence does soon.
 */
static void
test_fence_of_what_does_not_stop(void **state)
{
	struct world *w = w_primary("a");
	int64_t begin;

	(void)state;
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	w_tick(w);
	assert_false(w->h->s.wd_fence_armed);
	w_leader(w, "b");
	w_option(w, "pause", tree_bool(false));
	w->job_result[JOB_STOP] = JOB_FAILED;
	w_clear(w);
	begin = w->timer;
	w_tick(w);
	assert_non_null(strstr(w->order, " arm grant stop"));
	assert_null(strstr(w->order, "disarm"));
	assert_int_equal(w->grant_end, begin + 10 * NS_PER_SEC);
	assert_true(w->h->s.wd_fence_armed);
	/* it is not put off by the next attempt, and ends with the server */
	w_clear(w);
	w_tick(w);
	assert_null(strstr(w->order, "grant"));
	w->job_result[JOB_STOP] = JOB_OK;
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->order, "disarm"));
	w_free(w);
	/* people's business in pause */
	w = w_primary("a");
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	w_leader(w, "b");
	w->job_result[JOB_STOP] = JOB_FAILED;
	w_clear(w);
	w_tick(w);
	assert_null(strstr(w->order, "arm"));
	w_free(w);
}

/* A reinitialization could not stop it: it is not half-stopped for ever. */
static void
test_stop_failed_is_over(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->pg.state = STATE_STOP_FAILED;
	w_tick(w);
	assert_int_equal(w->h->s.pg_state, STATE_RUNNING);
	/* one that does not answer stays what it is */
	w->pg.state = STATE_STOP_FAILED;
	w->pg.query_ok = false;
	w_tick(w);
	assert_int_equal(w->h->s.pg_state, STATE_STOP_FAILED);
	w_free(w);
}

/* ---- slots ---- */

/*
 * A new term of this leader counts anew for whom /status retains (dcs.md 2.7):
 * another one may have seen the member meanwhile.
 */
static void
test_retained_slots_of_a_new_term(void **state)
{
	struct world *w = w_primary("a");
	struct tree *slots = tree_map();

	(void)state;
	assert_true(tree_set(slots, "c", tree_int(900)));
	w->pg.slots = slots;
	w_option(w, "member_slots_ttl", tree_int(60));
	w_member(w, "c", "replica", "running");
	w_tick(w);
	w->view->nmembers--;
	w->now += 50 * NS_PER_SEC;
	w->view->retain_slots = calloc(1, NAME_SIZE);
	assert_non_null(w->view->retain_slots);
	(void)snprintf(w->view->retain_slots[0], NAME_SIZE, "c");
	w->view->nretain = 1;
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(w->view->leader, "a");
	w->now += 20 * NS_PER_SEC;
	w_tick(w);
	assert_null(strstr(w->log, "is expired after"));
	w->now += 70 * NS_PER_SEC;
	w_tick(w);
	assert_non_null(strstr(w->log, "is expired after"));
	w->pg.slots = NULL;
	tree_free(slots);
	w_free(w);
}

/* ---- synchronous mode ---- */

/* Nobody can be synchronous, and commits wait for what cannot be read. */
static void
test_unreadable_ssn_is_replaced(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_option(w, "synchronous_mode", tree_bool(true));
	w_tick(w);
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "b,");
	w_clear(w);
	w_tick(w);
	assert_non_null(strstr(w->log, "Unparsable"));
	assert_non_null(strstr(w->order, "ssn"));
	assert_string_equal(w->pg.ssn, "");
	w_free(w);
}

/* ---- requests ---- */

/* The candidate may not take over, so nobody may wait for it. */
static void
test_candidate_not_synchronous(void **state)
{
	struct world *w = w_standby("a", "c");
	struct view *v = w->view;

	(void)state;
	w_option(w, "synchronous_mode", tree_text("quorum"));
	v->has_sync = 1;
	v->sync_token = 5;
	(void)snprintf(v->sync_leader, NAME_SIZE, "a");
	w_sync(w, "b");
	v->sync_quorum = 0;
	w_tick(w);
	w_peer(w, "b", 10);
	w_peer(w, "c", 1000);
	v->has_failover = 1;
	(void)snprintf(v->failover_leader, NAME_SIZE, "a");
	(void)snprintf(v->failover_member, NAME_SIZE, "c");
	w_leader(w, "");
	w_clear(w);
	w_tick(w);
	assert_non_null(
	    strstr(w->log, "member c is not a synchronous standby"));
	assert_null(strstr(w->log, "to c, i am a"));
	w_free(w);
}

static void
ask(struct world *w, uint32_t kind)
{
	struct msg_request r;

	memset(&r, 0, sizeof(r));
	r.kind = kind;
	r.timeout = -1;
	w_request(w, &r, NULL);
}

/* A stopped former primary would come up as a primary without the lock. */
static void
test_restart_of_a_stopped_primary(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w_leader(w, "b");
	w->pg.running = w->pg.query_ok = false;
	w->pg.state = STATE_STOPPED;
	w->pg.has_recovery_files = false;
	w_clear(w);
	ask(w, REQUEST_RESTART);
	assert_int_equal(w->reply.code, 503);
	assert_null(strstr(w->order, "restart"));
	w_free(w);
}

/* The answer is known: no time of the lease is spent on the store. */
static void
test_reinitialize_leader_at_once(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->load_outcome = OUTCOME_FAILED;
	w_clear(w);
	ask(w, REQUEST_REINITIALIZE);
	assert_string_equal(
	    w->reply.text, "I am the leader, can not reinitialize");
	assert_null(strstr(w->order, "load"));
	w_free(w);
}

/* ---- the keeper ---- */

/* It says "armed", but was sent before the DISARM of the run it waits for. */
static void
test_old_keeper_state(void **state)
{
	struct world *w = w_primary("a");
	struct ha_ev ev;

	(void)state;
	w_tick(w);
	assert_true(w->h->s.wd_fence_armed);
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	assert_false(w->h->s.wd_fence_armed);
	ev = w_ev(EV_WATCHDOG, 0);
	ev.outcome = OUTCOME_OK;
	ev.watchdog.fence_armed = ev.watchdog.healthy = 1;
	w_event(w, &ev);
	assert_false(w->h->s.wd_fence_armed);
	w_free(w);
}

/* A cluster is demoted: its primary keeps the fence until it has stopped. */
static void
test_fence_of_a_demoted_cluster(void **state)
{
	struct world *w = w_primary("a");
	struct tree *section = tree_map();

	(void)state;
	w_tick(w);
	assert_true(tree_set(section, "host", tree_text("far")));
	w_option(w, "standby_cluster", section);
	w->hold_job[JOB_STOP] = true;
	w_clear(w);
	w_tick(w);
	assert_string_equal(
	    w->result, "cannot be a real primary in standby cluster");
	assert_true(w->h->s.wd_fence_armed);
	w_free(w);
}

/* ---- time ---- */

/* A cycle that came early does not double the gap after it. */
static void
test_gap_after_an_early_cycle(void **state)
{
	struct world *w = w_primary("a");
	struct view *v = w->view;

	(void)state;
	w_tick(w);
	v->has_failover = v->failover_scheduled = 1;
	(void)snprintf(v->failover_leader, NAME_SIZE, "a");
	v->failover_at_us = w->wall + w->timer / 1000 + 2000000;
	(void)snprintf(v->failover_at, WORD_SIZE, "soon");
	w_tick(w);
	assert_true(w->timer - w->now <= 2 * NS_PER_SEC);
	v->failover_at_us += 60000000; /* moved meanwhile */
	w_tick(w);
	assert_true(w->timer - w->now <= 10 * NS_PER_SEC);
	w_free(w);
}

/* ---- synchronous mode ---- */

/* /sync is gone, but the answer to its deletion was lost. */
static void
test_off_with_a_lost_answer(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "ANY 1 (b)");
	w_tick(w);
	assert_non_null(strstr(w->order, "ssn"));
	assert_string_equal(w->pg.ssn, "");
	w_free(w);
}

/* ---- the race ---- */

/* Priority mode was changed to quorum commit before anybody was confirmed. */
static void
test_priority_form_in_quorum_mode(void **state)
{
	struct world *w = w_primary("a");
	struct view *v = w->view;

	(void)state;
	w_option(w, "synchronous_mode", tree_text("quorum"));
	v->has_sync = 1;
	v->sync_token = 5;
	(void)snprintf(v->sync_leader, NAME_SIZE, "a");
	w_member(w, "b", "replica", "running");
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "b");
	w_sender(w, "b", "sync", 5000);
	w_tick(w);
	assert_string_equal(w->pg.ssn, "ANY 1 (b)");
	w_free(w);
}

/* The voters' member keys are gone, and nobody knows what they have. */
static void
test_former_leader_asks_voters(void **state)
{
	struct world *w = w_standby("a", "a");
	struct view *v = w->view;

	(void)state;
	w_option(w, "synchronous_mode", tree_text("quorum"));
	v->has_sync = 1;
	v->sync_token = 5;
	(void)snprintf(v->sync_leader, NAME_SIZE, "a");
	w_sync(w, "b,c");
	v->sync_quorum = 1;
	w_leader(w, "");
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	w->now += 15 * NS_PER_SEC;
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	w->now += 15 * NS_PER_SEC;
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* a led before; b and c may hold what its successor acknowledged. */
static struct world *
former_leader(void)
{
	struct world *w = w_standby("a", "d");
	struct view *v = w->view;

	w_option(w, "synchronous_mode", tree_text("quorum"));
	v->has_sync = 1;
	v->sync_token = 5;
	(void)snprintf(v->sync_leader, NAME_SIZE, "a");
	w_member(w, "b", "replica", "running");
	w_member(w, "c", "replica", "running");
	w_sync(w, "b,c,d");
	v->sync_quorum = 2;
	w_peer(w, "b", 1000);
	w_peer(w, "c", 1000);
	w->peers[0].reachable = w->peers[1].reachable = 0;
	w->now += 120 * NS_PER_SEC;
	w_tick(w);
	w_leader(w, "");
	w_clear(w);
	return w;
}

/*
 * The successor was promoted, ended before it could write /sync, and both
 * that acknowledged its last commits are just restarting.
 */
static void
test_former_leader_waits_for_voters(void **state)
{
	struct world *w = former_leader();

	(void)state;
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	/* they are back, and ahead */
	w->peers[0].reachable = w->peers[1].reachable = 1;
	w->peers[0].position = w->peers[1].position = w->pg.wal_position + 1;
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
	/* they are not coming back */
	w = former_leader();
	w_tick(w);
	w->now += 15 * NS_PER_SEC;
	w_tick(w);
	w->now += 15 * NS_PER_SEC;
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* Between the decision and the key another node has led and gone. */
static void
test_old_decision(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_tick(w);
	w_leader(w, "");
	w->hold_op[OP_ACQUIRE] = true;
	w_clear(w);
	w_tick(w);
	w->view->optime = 5000;
	w->hold_op[OP_ACQUIRE] = false;
	w_let_go(w);
	assert_non_null(strstr(w->order, "release"));
	assert_null(strstr(w->order, "promote"));
	assert_string_equal(w->rule, "race.lost-again");
	w_free(w);
}

/*
 * Armed for a promotion that failed, then restarted by request: the keeper
 * holds a postmaster that is gone, so the next promotion arms it again.
 */
static void
test_fence_of_a_restarted_candidate(void **state)
{
	struct world *w = w_standby("a", "b");
	int i;

	(void)state;
	w->job_result[JOB_PROMOTE] = JOB_FAILED;
	w->hold_job[JOB_RESTART] = true;
	w_leader(w, "a");
	w_tick(w);
	assert_non_null(strstr(w->order, "arm"));
	for (i = 0; i < 2; i++) {
		w_clear(w);
		w_tick(w);
	}
	assert_null(strstr(w->order, "arm")); /* the same postmaster */
	assert_non_null(strstr(w->order, "promote"));
	ask(w, REQUEST_RESTART);
	w_job_progress(w, JOB_RESTART, PROGRESS_SPAWNED);
	w_clear(w);
	w_job_done(w, JOB_RESTART, JOB_OK);
	w_tick(w);
	assert_non_null(strstr(w->order, "arm"));
	assert_true(strstr(w->order, "arm") < strstr(w->order, "promote"));
	w_free(w);
}

/*
 * The store answers slowly, and was wiped: the view has no lock of ours any
 * more, but the keeper counts on.  There must be time left to stop.
 */
static void
test_time_left_after_a_wipe(void **state)
{
	struct world *w = w_primary("a");
	int64_t end;

	(void)state;
	w->wd.fence_armed = 1;
	w_tick(w);
	end = w->grant_end;
	w_leader(w, "");
	w->hold_op[OP_ACQUIRE] = true;
	w->now = end - 18 * NS_PER_SEC;
	w_wake(w);
	assert_non_null(strstr(w->order, "acquire"));
	assert_int_equal(w->held_fx.deadline, end - 10 * NS_PER_SEC);
	w_free(w);
}

/* The first writes of a new cluster may each take retry_timeout. */
static void
test_fence_of_a_bootstrap(void **state)
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
	w->hold_op[OP_INITIALIZE] = w->hold_op[OP_SET_CONFIG] = true;
	w->hold_op[OP_TAKE] = true;
	w_job_done(w, JOB_BOOTSTRAP, JOB_OK);
	assert_int_equal(w->held_fx.dcs.op, OP_INITIALIZE);
	w->now += 10 * NS_PER_SEC;
	w_let_go(w);
	assert_int_equal(w->held_fx.dcs.op, OP_SET_CONFIG);
	w->now += 10 * NS_PER_SEC;
	w_let_go(w);
	assert_int_equal(w->held_fx.dcs.op, OP_TAKE);
	assert_int_equal(w->grant_end, w->now + 30 * NS_PER_SEC);
	/* the answer is lost: the load after it may not take as long */
	w->hold_load = true;
	w->op_set[OP_TAKE] = true;
	w->op_outcome[OP_TAKE] = OUTCOME_UNKNOWN;
	w->now += 10 * NS_PER_SEC;
	w_let_go(w);
	assert_int_equal(w->held_fx.type, FX_LOAD);
	assert_true(w->held_fx.deadline <= w->grant_end - 10 * NS_PER_SEC);
	w_free(w);
}

/* ---- led away ---- */

/* Streams from c, which was promoted by hand and is a standby again. */
static struct world *
led_away(void)
{
	struct world *w = w_standby("b", "a");
	struct ha_divergence *d = &w->divergence;

	(void)snprintf(w->conf.tags.replicatefrom, NAME_SIZE, "c");
	w_member(w, "c", "replica", "running");
	w->conf.remove_data_on_diverged = true;
	ha_free(w->h);
	w->view->members[1].timeline = 2;
	w->divergence_given = true;
	d->local_known = d->local_in_recovery = d->leader_reachable = true;
	d->local_timeline = d->leader_timeline = 2;
	w->pg.received_timeline = 2;
	w_attach(w, ROLE_REPLICA);
	w_tick(w);
	w_tick(w);
	w_clear(w);
	w->pg.received_timeline = d->local_timeline = 3;
	return w;
}

static void
test_led_away(void **state)
{
	struct world *w = led_away();

	(void)state;
	w_tick(w); /* what it received is known from here on */
	w_tick(w);
	assert_non_null(
	    strstr(w->log, "reinitializing due to diverged timelines"));
	w_free(w);
	w = led_away(); /* in pause people may mean it */
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	w_tick(w);
	assert_null(strstr(w->log, "reinitializing"));
	w_option(w, "pause", tree_bool(false));
	w_tick(w);
	assert_non_null(
	    strstr(w->log, "reinitializing due to diverged timelines"));
	w_free(w);
	w = led_away(); /* the leader has been promoted, its key is behind */
	w->divergence.leader_timeline = 3;
	w_tick(w);
	w_tick(w);
	assert_null(strstr(w->log, "reinitializing"));
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restarted_promise),
		cmocka_unit_test(test_restarted_candidate),
		cmocka_unit_test(test_excluded_priority),
		cmocka_unit_test(test_excluded_candidate),
		cmocka_unit_test(test_stop_fails_without_data),
		cmocka_unit_test(test_fence_of_what_does_not_stop),
		cmocka_unit_test(test_stop_failed_is_over),
		cmocka_unit_test(test_unreadable_ssn_is_replaced),
		cmocka_unit_test(test_retained_slots_of_a_new_term),
		cmocka_unit_test(test_candidate_not_synchronous),
		cmocka_unit_test(test_restart_of_a_stopped_primary),
		cmocka_unit_test(test_reinitialize_leader_at_once),
		cmocka_unit_test(test_old_keeper_state),
		cmocka_unit_test(test_fence_of_a_demoted_cluster),
		cmocka_unit_test(test_gap_after_an_early_cycle),
		cmocka_unit_test(test_off_with_a_lost_answer),
		cmocka_unit_test(test_priority_form_in_quorum_mode),
		cmocka_unit_test(test_former_leader_asks_voters),
		cmocka_unit_test(test_former_leader_waits_for_voters),
		cmocka_unit_test(test_old_decision),
		cmocka_unit_test(test_fence_of_a_restarted_candidate),
		cmocka_unit_test(test_time_left_after_a_wipe),
		cmocka_unit_test(test_fence_of_a_bootstrap),
		cmocka_unit_test(test_led_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
