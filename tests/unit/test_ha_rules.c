/*
 * test_ha_rules.c: rules of the core that the scenarios of the other
 * test_ha_*.c do not come by, each in the situation that it is for.
 */
#include "ha_driver.h"

/* The last decision followed from this rule, and said this. */
static void
decided(const struct world *w, const char *rule, const char *result)
{
	assert_string_equal(w->rule, rule);
	assert_string_equal(w->result, result);
}

static void
logged(const struct world *w, const char *line)
{
	if (strstr(w->log, line) == NULL)
		fail_msg("not \"%s\" in: %s", line, w->log);
}

/* A leaderless cluster of standby b, which has been through a cycle. */
static struct world *
orphan(void)
{
	struct world *w = w_standby("b", "a");

	w_tick(w);
	w_leader(w, "");
	w->hold_job[JOB_PROMOTE] = true;
	return w;
}

/* ---- race ---- */

static void
test_race_own_query_fails(void **state)
{
	struct world *w = orphan();

	(void)state;
	w->pg.query_ok = false;
	w_tick(w);
	decided(w, "postgres.error",
	    "Error communicating with PostgreSQL. Will try again later");
	assert_null(strstr(w->order, "acquire"));
	w->pg.query_ok = true;
	w_tick(w);
	assert_string_equal(w->rule, "race.won");
	w_free(w);
}

static void
test_race_own_timeline(void **state)
{
	struct world *w = orphan();

	(void)state;
	w_option(w, "check_timeline", tree_bool(true));
	w->pg.received_timeline = 0;
	w_tick(w);
	assert_string_equal(w->rule, "race.unhealthy");
	logged(w, "Can not figure out my timeline");
	w->pg.received_timeline = 1;
	w_tick(w);
	assert_string_equal(w->rule, "race.won");
	w_free(w);
}

static void
test_race_watchdog(void **state)
{
	struct world *w = w_new("b");
	struct ha_ev ev = w_ev(EV_WATCHDOG, 0);

	(void)state;
	w_postgres(w, true, false);
	w->conf.watchdog_mode = WATCHDOG_REQUIRED;
	w_leader(w, "a");
	w_member(w, "a", "primary", "running");
	w_attach(w, ROLE_REPLICA);
	w->wd.healthy = 0;
	ev.watchdog = w->wd;
	w_event(w, &ev);
	w_leader(w, "");
	w_tick(w);
	logged(w, "Watchdog device is not usable");
	assert_null(strstr(w->order, "acquire"));
	w->wd.healthy = 1;
	ev.watchdog = w->wd;
	w_event(w, &ev);
	w->hold_job[JOB_PROMOTE] = true;
	w_tick(w);
	assert_string_equal(w->rule, "race.won");
	w_free(w);
}

/* Usable by its looks, but it cannot be set: one attempt per loop. */
static void
test_race_watchdog_refuses(void **state)
{
	struct world *w = orphan();

	(void)state;
	w->conf.watchdog_mode = WATCHDOG_REQUIRED;
	ha_free(w->h);
	w_leader(w, "a");
	w_attach(w, ROLE_REPLICA);
	w_leader(w, "");
	w->wd.activation_failed = 1;
	w_tick(w);
	decided(w, "leader.watchdog.release",
	    "Not promoting self because watchdog could not be activated");
	w_wake(w); /* the key is gone: everybody is woken, so are we */
	logged(w, "Watchdog device is not usable");
	assert_null(strstr(w->order, "acquire"));
	w_tick(w);
	w_follows(w->order, "acquire", "release");
	/* what the answer said of the device counts from then on */
	w->wd.healthy = 0;
	w_tick(w);
	w_tick(w);
	logged(w, "Watchdog device is not usable");
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

static void
test_race_peers_not_asked(void **state)
{
	struct world *w = orphan();
	struct ha_ev ev;

	(void)state;
	w->hold_poll = true;
	w_tick(w);
	ev = w_ev(EV_PEERS, w->held);
	ev.outcome = OUTCOME_FAILED;
	w_clear(w);
	w->hold_poll = false;
	w_event(w, &ev);
	assert_string_equal(w->rule, "race.unhealthy");
	logged(w, "Could not ask the other members for their state");
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* Tagged nofailover it stands back, and follows whoever leads then. */
static void
test_race_nofailover(void **state)
{
	struct world *w = w_new("b");

	(void)state;
	w_postgres(w, true, false);
	w->conf.tags.nofailover = 1;
	w_leader(w, "a");
	w_member(w, "a", "primary", "running");
	w_member(w, "c", "replica", "running");
	w_attach(w, ROLE_REPLICA);
	w_tick(w);
	w_leader(w, "");
	w_tick(w);
	decided(w, "replica.race.wait",
	    "following a different leader because I am not allowed to promote");
	assert_null(strstr(w->order, "acquire"));
	/* the second look of the same cycle finds the new leader */
	w->hold_load = true;
	w_tick(w);
	w_let_go(w);
	w_leader(w, "c");
	w->hold_load = false;
	w_let_go(w);
	decided(w, "race.nofailover",
	    "following a different leader because I am not allowed to promote");
	w_free(w);
}

/* A primary that may not lead, on a timeline that the cluster has left. */
static void
test_race_nofailover_primary(void **state)
{
	struct world *w = w_new("a");

	(void)state;
	w_postgres(w, true, true);
	w->conf.tags.nofailover = 1;
	w_leader(w, "a");
	w_attach(w, ROLE_PRIMARY);
	w_tick(w);
	w_leader(w, "");
	w->view->timeline = 2;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	decided(w, "race.nofailover.demote",
	    "demoting self because I am not allowed to become primary");
	assert_null(strstr(w->order, "acquire"));
	assert_non_null(strstr(w->order, "stop"));
	w_free(w);
}

/* The lock went to another between our attempt and the look after it. */
static void
test_race_lost_again(void **state)
{
	struct world *w = orphan();

	(void)state;
	w->op_set[OP_ACQUIRE] = true;
	w->op_outcome[OP_ACQUIRE] = OUTCOME_OK;
	w_tick(w);
	decided(w, "race.lost-again",
	    "not promoting because failed to update leader lock in DCS");
	assert_null(strstr(w->order, "promote"));
	w_free(w);
}

/* A primary without its key, and another was faster. */
static void
test_race_lost_by_primary(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w_leader(w, "");
	w->op_set[OP_ACQUIRE] = true;
	w->op_outcome[OP_ACQUIRE] = OUTCOME_REFUSED;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	decided(w, "race.lost.demote",
	    "demoted self after trying and failing to obtain lock");
	w_follows(w->order, "acquire", "stop");
	w_free(w);
}

/* It has won the lock of a cluster that is to follow another one. */
static void
test_race_won_by_primary_of_standby_cluster(void **state)
{
	struct world *w = w_primary("a");
	struct tree *remote = tree_map();

	(void)state;
	w_tick(w);
	tree_set(remote, "host", tree_text("other"));
	w_option(w, "standby_cluster", remote);
	w_leader(w, "");
	w->hold_job[JOB_STOP] = true;
	w_tick(w);
	decided(w, "race.won.standby-cluster",
	    "cannot be a real primary in standby cluster");
	w_follows(w->order, "acquire", "stop");
	w_free(w);
}

/* ---- requests ---- */

static void
test_candidate_on_old_timeline(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w_option(w, "check_timeline", tree_bool(true));
	w->pg.timeline = 2;
	w->view->timeline = 2;
	w_tick(w);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w_tick(w);
	logged(w, "Timeline 1 of member b is behind the cluster timeline 2");
	logged(w, "no healthy members found, switchover is not possible");
	assert_null(strstr(w->order, "stop"));
	w->peers[0].timeline = 2;
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w->hold_job[JOB_STOP] = true;
	w_tick(w);
	assert_string_equal(w->rule, "manual.demote");
	w_free(w);
}

static void
test_paused_candidate_is_gone(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	w_leader(w, "");
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_member, NAME_SIZE, "x");
	w_tick(w);
	logged(w,
	    "removing failover key because failover candidate is not "
	    "running");
	assert_string_equal(w->view->failover_member, "");
	assert_string_equal(w->view->leader, "a");
	w_free(w);
}

/* ---- long actions ---- */

static void
test_promotion_cancelled(void **state)
{
	struct world *w = orphan();

	(void)state;
	w_tick(w);
	assert_string_equal(w->rule, "race.won");
	w_clear(w);
	w_shutdown(w);
	assert_non_null(strstr(w->order, "job-cancel"));
	assert_null(strstr(w->order, "stop"));
	w_job_done(w, JOB_PROMOTE, JOB_CANCELLED);
	logged(w, "PostgreSQL promote cancelled.");
	w_follows(w->order, "job-cancel", "stop");
	assert_true(w->exited);
	assert_int_equal(ha_role(w->h), ROLE_REPLICA);
	w_free(w);
}

/* A failed rewind: the data go when the configuration says so. */
static void
rewind_fails(bool remove)
{
	struct world *w = w_new("b");

	w->conf.remove_data_on_rewind_failure = remove;
	w_postgres(w, false, false);
	w->control.state = CONTROL_SHUT_DOWN;
	w_leader(w, "a");
	w_member(w, "a", "primary", "running");
	w->pg.pg_rewind_possible = true;
	w->divergence_given = true;
	w->divergence.local_known = w->divergence.leader_reachable = true;
	w->divergence.local_timeline = 2;
	w->divergence.leader_timeline = 1;
	w->divergence.local_lsn = 1000;
	w->hold_job[JOB_REWIND] = w->hold_job[JOB_REMOVE_DATA] = true;
	w->hold_job[JOB_FOLLOW] = true;
	w_attach(w, ROLE_DEMOTED);
	decided(w, "rewind.run", "running pg_rewind from a");
	w_clear(w);
	w_job_done(w, JOB_REWIND, JOB_FAILED);
	if (remove)
		logged(w,
		    "remove_data_directory_on_rewind_failure is set. "
		    "removing...");
	else
		assert_null(strstr(w->log, "removing"));
	assert_int_equal(remove, w->held_job[JOB_REMOVE_DATA] != 0);
	w_free(w);
}

static void
test_rewind_fails(void **state)
{
	(void)state;
	rewind_fails(false);
	rewind_fails(true);
}

/* ---- two branches with one number ---- */

#define NOT_FOLLOWING                                                     \
	"not following a: it is on another timeline of the same number, " \
	"please reinitialize this node (patronictl reinit)"

/* b was promoted and died, a was promoted after it to the same timeline. */
static struct world *
twin(bool running)
{
	struct world *w = w_new("b");
	struct ha_divergence *d = &w->divergence;

	w_postgres(w, running, false);
	w->control.state = CONTROL_SHUT_DOWN;
	w_leader(w, "a");
	w_member(w, "a", "primary", "running");
	w->pg.pg_rewind_possible = true;
	w->divergence_given = true;
	d->local_known = d->leader_reachable = d->other_branch = true;
	d->local_timeline = d->leader_timeline = 2;
	d->local_lsn = 1000;
	w->hold_job[JOB_REWIND] = w->hold_job[JOB_REMOVE_DATA] = true;
	w->hold_job[JOB_FOLLOW] = true;
	return w;
}

static void
test_twin_stays_down(void **state)
{
	struct world *w = twin(false);

	(void)state;
	w_attach(w, ROLE_DEMOTED);
	decided(w, "rewind.same-number", NOT_FOLLOWING);
	w_tick(w);
	decided(w, "rewind.same-number", NOT_FOLLOWING);
	/* the leader cannot be asked: what was seen was seen */
	w->divergence.leader_reachable = false;
	w_tick(w);
	decided(w, "rewind.same-number", NOT_FOLLOWING);
	assert_int_equal(w->held_job[JOB_FOLLOW], 0);
	assert_int_equal(w->held_job[JOB_REWIND], 0);
	assert_int_equal(w->held_job[JOB_REMOVE_DATA], 0);
	/* of another leader nothing is known */
	w_member(w, "c", "primary", "running");
	w_leader(w, "c");
	w_tick(w);
	decided(w, "recover.standby", "starting as a secondary");
	w_free(w);
}

/* It is asked again: the leader came back with our branch. */
static void
test_twin_no_more(void **state)
{
	struct world *w = twin(false);

	(void)state;
	w_attach(w, ROLE_DEMOTED);
	decided(w, "rewind.same-number", NOT_FOLLOWING);
	w->divergence.other_branch = false;
	w_tick(w);
	decided(w, "recover.standby", "starting as a secondary");
	w_free(w);
}

static void
test_twin_stops(void **state)
{
	struct world *w = twin(true);

	(void)state;
	w->hold_job[JOB_STOP] = true;
	w_attach(w, ROLE_REPLICA);
	w->diff = DIFF_RELOAD; /* its target changed */
	w_tick(w);
	w->diff = DIFF_NONE;
	w_tick(w);
	decided(w, "rewind.same-number.stop",
	    "stopping: a is on another timeline of the same number");
	assert_int_equal(w->last_job[JOB_STOP].job.stop_mode, STOP_FAST);
	w_postgres(w, false, false);
	w_job_done(w, JOB_STOP, JOB_OK);
	w_tick(w);
	decided(w, "rewind.same-number", NOT_FOLLOWING);
	w_free(w);
}

/* Data are replaced where a setting allows it, and only if it is certain. */
static void
twin_replaced(bool rewind, bool on_diverged, bool on_failure, bool standby)
{
	struct world *w = twin(false);
	bool may = !standby && (on_diverged || (rewind && on_failure));
	struct tree *remote = tree_map();

	w->conf.remove_data_on_diverged = on_diverged;
	w->conf.remove_data_on_rewind_failure = on_failure;
	w->pg.pg_rewind_possible = rewind;
	if (standby) {
		tree_set(remote, "host", tree_text("remote"));
		w_option(w, "standby_cluster", remote);
	} else {
		tree_free(remote);
	}
	w->hold_job[JOB_STOP] = true;
	w_attach(w, ROLE_DEMOTED);
	if (may)
		decided(w, "rewind.reinitialize",
		    "reinitializing due to diverged timelines");
	else
		assert_string_equal(w->rule, "rewind.same-number");
	assert_int_equal(w->held_job[JOB_STOP] != 0, may);
	assert_int_equal(w->held_job[JOB_REMOVE_DATA], 0);
	w_free(w);
}

static void
test_twin_replaced(void **state)
{
	(void)state;
	twin_replaced(true, false, false, false);
	twin_replaced(true, true, false, false);
	twin_replaced(false, true, false, false);
	twin_replaced(true, false, true, false);
	twin_replaced(true, true, true, true);
}

/* ---- starting ---- */

/* A lock holder whose server was stopped, not crashed: read-only first. */
static void
test_start_read_only(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w_postgres(w, false, false);
	w->pg.has_recovery_files = true;
	w->control.state = CONTROL_SHUT_DOWN_IN_RECOVERY;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	decided(w, "recover.read-only",
	    "starting as readonly because i had the session lock");
	assert_int_equal(w->last_job[JOB_FOLLOW].job.role, ROLE_REPLICA);
	w_free(w);
}

/* ---- bootstrap ---- */

static struct world *
bootstrapping(bool required)
{
	struct world *w = w_new("a");

	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->pg.sysid[0] = '\0';
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w->hold_job[JOB_BOOTSTRAP] = w->hold_job[JOB_POST_BOOTSTRAP] = true;
	if (required) {
		w->conf.watchdog_mode = WATCHDOG_REQUIRED;
		w->wd.activation_failed = 1;
	}
	w_attach(w, ROLE_UNINITIALIZED);
	w->pg.datadir = DATADIR_OK;
	(void)snprintf(w->pg.sysid, sizeof(w->pg.sysid), SYSID);
	w_clear(w);
	return w;
}

static void
test_bootstrap_in_recovery(void **state)
{
	struct world *w = bootstrapping(false);

	(void)state;
	w_postgres(w, true, false);
	w_job_done(w, JOB_BOOTSTRAP, JOB_OK);
	decided(w, "bootstrap.recovery",
	    "waiting for end of recovery after bootstrap");
	w_postgres(w, true, true);
	w_tick(w);
	assert_string_equal(w->rule, "bootstrap.post");
	w_free(w);
}

static void
test_bootstrap_without_watchdog(void **state)
{
	struct world *w = bootstrapping(true);

	(void)state;
	w_postgres(w, true, true);
	w_job_done(w, JOB_BOOTSTRAP, JOB_OK);
	w_clear(w);
	w_job_done(w, JOB_POST_BOOTSTRAP, JOB_OK);
	logged(w, "Cancelling bootstrap because watchdog activation failed");
	assert_non_null(strstr(w->order, "cancel stop move"));
	assert_null(strstr(w->order, "take"));
	assert_true(w->exited);
	w_free(w);
}

/* ---- synchronous mode ---- */

static struct world *
synchronous(const char *leader, const char *voters, const char *ssn)
{
	struct world *w = w_primary("a");

	w_option(w, "synchronous_mode", tree_bool(true));
	w_member(w, "b", "replica", "running");
	w_sender(w, "b", "sync", 1000);
	w->view->has_sync = 1;
	(void)snprintf(w->view->sync_leader, NAME_SIZE, "%s", leader);
	w_sync(w, voters);
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "%s", ssn);
	return w;
}

static void
test_sync_names_another_leader(void **state)
{
	struct world *w = synchronous("c", "a", "b");

	(void)state;
	w_tick(w);
	logged(w,
	    "Inconsistent state of /sync key detected, leader = c "
	    "doesn't match a");
	assert_string_equal(w->view->sync_leader, "a");
	w_free(w);
}

/* Listed in the store, but not synchronous for the server. */
static void
test_sync_inconsistent(void **state)
{
	struct world *w = synchronous("a", "b", "b");

	(void)state;
	(void)snprintf(w->pg.senders[0].sync_state,
	    sizeof(w->pg.senders[0].sync_state), "async");
	w_tick(w);
	logged(w, "Inconsistent state between synchronous_standby_names");
	assert_string_equal(w->voters, "");
	w_free(w);
}

static void
test_sync_unparsable(void **state)
{
	struct world *w = synchronous("a", "b", "2 (b");

	(void)state;
	w_tick(w);
	logged(w, "Unparsable synchronous_standby_names value \"2 (b\"");
	assert_string_equal(w->last_job[JOB_SET_SSN].job.text, "b");
	w_free(w);
}

static void
test_sync_disabled(void **state)
{
	struct world *w = synchronous("a", "b", "b");

	(void)state;
	w_tick(w);
	w_option(w, "synchronous_mode", tree_bool(false));
	w_tick(w);
	logged(w, "Disabled synchronous replication");
	w_follows(w->order, "delete-sync", "ssn");
	assert_string_equal(w->last_job[JOB_SET_SSN].job.text, "");
	w_free(w);
}

/* ---- slots ---- */

static void
test_slot_of_absent_member_expires(void **state)
{
	struct world *w = w_primary("a");
	struct tree *slots = tree_map();

	(void)state;
	assert_true(tree_set(slots, "c", tree_int(100)));
	w->pg.slots = slots;
	w_option(w, "member_slots_ttl", tree_int(60));
	w_member(w, "c", "replica", "running");
	w_tick(w);
	w->view->nmembers--;
	w->now += 40 * NS_PER_SEC;
	w_tick(w);
	assert_null(strstr(w->log, "is expired"));
	w->now += 40 * NS_PER_SEC;
	w_tick(w);
	logged(w,
	    "Replication slot 'c' for absent cluster member is expired "
	    "after 60 sec.");
	tree_free(slots);
	w_free(w);
}

/* ---- the end ---- */

static void
test_stop_fails(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->job_result[JOB_STOP] = JOB_FAILED;
	w_clear(w);
	w_shutdown(w);
	logged(w, "PostgreSQL shutdown failed, leader key not removed.");
	assert_null(strstr(w->order, "release"));
	assert_string_equal(w->view->leader, "a");
	assert_true(w->exited);
	w_free(w);
}

/* The journal tells of a stop while it lasts, and of its end. */
static void
test_stop_in_journal(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->hold_job[JOB_STOP] = true;
	w_shutdown(w);
	decided(w, "shutdown", "shutting down");
	assert_non_null(strstr(w->inputs, "role=primary state="));
	assert_false(w->exited);
	w_postgres(w, false, false);
	w->control.state = CONTROL_SHUT_DOWN;
	w_job_done(w, JOB_STOP, JOB_OK);
	assert_true(w->exited);
	decided(w, "exit", "exiting with code 0");
	w_follows(w->effects, "stop", "release lock");
	w_follows(w->effects, "release lock", "exit");
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_race_own_query_fails),
		cmocka_unit_test(test_race_own_timeline),
		cmocka_unit_test(test_race_watchdog),
		cmocka_unit_test(test_race_watchdog_refuses),
		cmocka_unit_test(test_race_peers_not_asked),
		cmocka_unit_test(test_race_nofailover),
		cmocka_unit_test(test_race_nofailover_primary),
		cmocka_unit_test(test_race_lost_again),
		cmocka_unit_test(test_race_lost_by_primary),
		cmocka_unit_test(test_race_won_by_primary_of_standby_cluster),
		cmocka_unit_test(test_candidate_on_old_timeline),
		cmocka_unit_test(test_paused_candidate_is_gone),
		cmocka_unit_test(test_promotion_cancelled),
		cmocka_unit_test(test_rewind_fails),
		cmocka_unit_test(test_twin_stays_down),
		cmocka_unit_test(test_twin_no_more),
		cmocka_unit_test(test_twin_stops),
		cmocka_unit_test(test_twin_replaced),
		cmocka_unit_test(test_start_read_only),
		cmocka_unit_test(test_bootstrap_in_recovery),
		cmocka_unit_test(test_bootstrap_without_watchdog),
		cmocka_unit_test(test_sync_names_another_leader),
		cmocka_unit_test(test_sync_inconsistent),
		cmocka_unit_test(test_sync_unparsable),
		cmocka_unit_test(test_sync_disabled),
		cmocka_unit_test(test_slot_of_absent_member_expires),
		cmocka_unit_test(test_stop_fails),
		cmocka_unit_test(test_stop_in_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
