/*
 * test_ha_random.c: random worlds.  Whatever comes, the core must neither
 * say that it has a bug nor order a promotion without a live lease.
 */
#include "ha_driver.h"

static uint32_t seed;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static struct tree *
remote(void)
{
	struct tree *t = tree_map();

	assert_true(tree_set(t, "host", tree_text("remote")));
	return t;
}

static void
shake(struct world *w)
{
	static const char *const leaders[] = { "a", "b", "" };
	uint32_t i;

	w->load_outcome = rnd(6) == 0 ? OUTCOME_UNKNOWN : OUTCOME_OK;
	for (i = 1; i <= OP_SET_STATUS; i++) {
		w->op_set[i] = rnd(5) == 0;
		w->op_outcome[i] = 1 + rnd(3);
	}
	for (i = 0; i < JOB_KIND_COUNT; i++) {
		w->hold_job[i] = rnd(3) == 0;
		w->job_result[i] = rnd(4) == 0 ? rnd(5) : JOB_OK;
	}
	w->hold_delay = true; /* time passes between the steps only */
	w->hold_load = rnd(8) == 0;
	w->hold_poll = rnd(8) == 0;
	w->hold_pg = rnd(12) == 0;
	for (i = 1; i <= OP_SET_STATUS; i++)
		w->hold_op[i] = rnd(16) == 0;
	w_leader(w, leaders[rnd(3)]);
	w_postgres(w, rnd(4) != 0, rnd(2) == 0);
	w->pg.datadir = rnd(20) == 0 ? DATADIR_EMPTY : DATADIR_OK;
	w->pg.pg_rewind_possible = rnd(2) == 0;
	w->pg.isready = rnd(4);
	if (rnd(6) == 0)
		w->pg.state = STATE_STARTING;
	w->pg.timeline = 1 + rnd(2);
	w->control.state = rnd(CONTROL_IN_PRODUCTION + 1);
	w->diff = rnd(3);
	w->divergence_given = rnd(2) == 0;
	w->divergence.local_known = rnd(2) == 0;
	w->divergence.leader_reachable = true;
	w->divergence.leader_timeline = 1;
	w->divergence.local_timeline = 1 + rnd(2);
	w->divergence.other_branch = rnd(3) == 0;
	w->wd.activation_failed = rnd(8) == 0;
	w->wd_no_answer = rnd(8) == 0;
	w->peers[0].reachable = rnd(4) != 0;
	w->peers[0].position = 999 + rnd(3);
	w->view->has_failover = rnd(8) == 0;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "%s",
	    w->view->has_failover ? "a" : "");
	w_option(w, "pause", tree_bool(rnd(10) == 0));
	w_option(w, "synchronous_mode",
	    rnd(3) == 0 ? tree_text("quorum") : tree_bool(rnd(2) == 0));
	w_option(w, "failsafe_mode", tree_bool(rnd(3) == 0));
	w_option(w, "primary_start_timeout", tree_int(rnd(2) * 300));
	w_option(w, "standby_cluster", rnd(6) == 0 ? remote() : tree_null());
	w->pg.archiving = rnd(2) == 0;
	(void)snprintf(
	    w->pg.slots_to_copy, TEXT_SIZE, "%s", rnd(4) == 0 ? "['x']" : "");
}

static void
ask(struct world *w)
{
	struct msg_request r;

	memset(&r, 0, sizeof(r));
	r.kind = 1 + rnd(6);
	r.timeout = -1;
	r.force = rnd(2);
	r.schedule_us = w->wall + w->now / 1000;
	(void)snprintf(r.schedule, sizeof(r.schedule), "now");
	(void)snprintf(r.name, sizeof(r.name), "b");
	w_request(w, &r, NULL);
}

/*
 * Whatever was going on, the daemon ends once everything that was asked has
 * been answered: with an error, or by its deadline.
 */
static void
end(struct world *w, uint32_t run)
{
	uint32_t i, k;

	w_clear(w);
	w_shutdown(w);
	for (i = 0; i < 40 && !w->exited; i++) {
		w->hold_load = w->hold_poll = w->hold_pg = false;
		memset(w->hold_op, 0, sizeof(w->hold_op));
		memset(w->hold_job, 0, sizeof(w->hold_job));
		w_let_all_go(w);
		for (k = 0; k < JOB_KIND_COUNT; k++)
			if (w->held_job[k] != 0)
				w_job_done(w, k, JOB_CANCELLED);
		w->now += NS_PER_SEC;
	}
	if (!w->exited)
		fail_msg("run %u does not end: %s", run, w->order);
}

static void
act(struct world *w)
{
	struct ha_ev ev = w_ev(EV_POSTMASTER_GONE, 0);
	uint32_t k = rnd(JOB_KIND_COUNT);

	switch (rnd(8)) {
	case 6:
		w_let_all_go(w);
		return;
	case 7:
		ask(w);
		return;
	case 0:
		w_wake(w);
		return;
	case 1:
		w_event(w, &ev);
		return;
	case 2:
		if (w->held_job[k] != 0)
			w_job_progress(w, k, rnd(PROGRESS_PROMOTED + 1));
		return;
	case 3:
	case 4:
		for (k = 0; k < JOB_KIND_COUNT; k++)
			if (w->held_job[k] != 0)
				w_job_done(w, k, rnd(5));
		return;
	default:
		w_tick(w);
	}
}

static void
test_random(void **state)
{
	uint32_t run, step;

	(void)state;
	for (run = 1; run <= 300; run++) {
		struct world *w = w_new("a");

		seed = run * 7919;
		w_member(w, "b", "replica", "running");
		w_peer(w, "b", 1000);
		w->conf.remove_data_on_rewind_failure = rnd(2) == 0;
		shake(w);
		w_attach(w, rnd(2) == 0 ? ROLE_PRIMARY : ROLE_REPLICA);
		for (step = 0; step < 60 && !w->exited; step++) {
			w_clear(w);
			w->now += rnd(12) * NS_PER_SEC;
			shake(w);
			act(w);
			if (strstr(w->log, "BUG") != NULL ||
			    strstr(w->log, "Exception") != NULL ||
			    strstr(w->log, "Unexpected") != NULL)
				fail_msg(
				    "run %u step %u: %s", run, step, w->log);
			assert_false(w->bad_promotion);
		}
		if (!w->exited)
			end(w, run);
		w_free(w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
