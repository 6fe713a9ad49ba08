/*
 * test_ha_quorum.c: which standbys are chosen (spec/ha.md 13.4), quorum commit
 * in the cycle, in the race and before a promotion (14, 11.2, 11.6), manual
 * failover without a leader (12.3).
 */
#include "ha_driver.h"

static void
sync_key(struct world *w, const char *leader, const char *voters, uint32_t q)
{
	(void)snprintf(w->view->sync_leader, NAME_SIZE, "%s", leader);
	w->view->has_sync = 1;
	w->view->sync_quorum = q;
	w_sync(w, voters);
}

static void
mode(struct world *w, const char *value, int count)
{
	w_option(w, "synchronous_mode", tree_text(value));
	w_option(w, "synchronous_node_count", tree_int(count));
}

/* ---- the choice (13.4), seen in the SSN that is set ---- */

static struct world *
candidates(int count)
{
	struct world *w = w_primary("a");

	mode(w, "on", count);
	w_member(w, "b", "replica", "running");
	w_member(w, "c", "replica", "running");
	w_member(w, "d", "replica", "running");
	w_sender(w, "b", "async", 1000);
	w_sender(w, "c", "async", 1000);
	w_sender(w, "d", "async", 1000);
	return w;
}

static void
chosen(struct world *w, const char *ssn)
{
	w_tick(w);
	assert_string_equal(w->last_job[JOB_SET_SSN].job.text, ssn);
	w_free(w);
}

static void
test_choice(void **state)
{
	struct world *w;

	(void)state;
	chosen(candidates(1), "b");
	chosen(candidates(2), "2 (b,c)");
	w = candidates(1);
	w->view->members[1].tags.nosync = true;
	chosen(w, "c");
	w = candidates(1);
	w->view->members[3].tags.sync_priority = 2;
	chosen(w, "d");
	w = candidates(1);
	w->pg.senders[2].flush_lsn = 1001;
	chosen(w, "d");
	w = candidates(1);
	w->view->members[1].tags.nofailover = true;
	chosen(w, "c");
	w = candidates(1);
	(void)snprintf(w->view->members[1].state, WORD_SIZE, "starting");
	chosen(w, "c");
	w = candidates(1);
	w->pg.senders[0].flush_lsn = 0; /* null */
	chosen(w, "c");
	w = candidates(1);
	(void)snprintf(w->pg.senders[0].name, NAME_SIZE, "stranger");
	chosen(w, "c");
	w = candidates(1);
	(void)snprintf(w->pg.senders[2].name, NAME_SIZE, "D");
	(void)snprintf(w->pg.senders[2].sync_state, WORD_SIZE, "potential");
	chosen(w, "d");
}

/* maximum_lag_on_syncnode: against the best of them, equal is in. */
static void
test_choice_lag(void **state)
{
	struct world *w = candidates(3);

	(void)state;
	w_option(w, "maximum_lag_on_syncnode", tree_int(100));
	w->pg.senders[0].flush_lsn = 1100;
	w->pg.senders[2].flush_lsn = 999;
	chosen(w, "2 (b,c)");
}

/* A cascading member counts only while its source cannot. */
static void
test_choice_cascade(void **state)
{
	struct world *w = candidates(3);

	(void)state;
	(void)snprintf(w->view->members[2].tags.replicatefrom, NAME_SIZE, "b");
	chosen(w, "2 (b,d)");
	w = candidates(3);
	(void)snprintf(w->view->members[2].tags.replicatefrom, NAME_SIZE, "b");
	w->view->members[1].tags.nosync = true;
	chosen(w, "2 (c,d)");
	w = candidates(3); /* a loop ends */
	(void)snprintf(w->view->members[1].tags.replicatefrom, NAME_SIZE, "c");
	(void)snprintf(w->view->members[2].tags.replicatefrom, NAME_SIZE, "b");
	chosen(w, "3 (b,c,d)");
}

/* ---- quorum in the cycle (14.2) ---- */

static void
test_quorum_starts(void **state)
{
	struct world *w = candidates(1);

	(void)state;
	mode(w, "quorum", 1);
	w->hold_delay = true;
	w_tick(w);
	assert_non_null(strstr(w->log, "Enabled synchronous replication"));
	assert_string_equal(w->last_job[JOB_SET_SSN].job.text, "ANY 1 (b,c,d)");
	assert_string_equal(w->voters, ""); /* nobody is confirmed yet */
	w->hold_delay = false;
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "ANY 1 (b,c,d)");
	(void)snprintf(w->pg.senders[0].sync_state, WORD_SIZE, "quorum");
	(void)snprintf(w->pg.senders[1].sync_state, WORD_SIZE, "quorum");
	(void)snprintf(w->pg.senders[2].sync_state, WORD_SIZE, "quorum");
	w_let_go(w);
	assert_string_equal(w->voters, "b,c,d");
	assert_int_equal(w->view->sync_quorum, 2);
	assert_non_null(
	    strstr(w->log, "Setting leader to a, quorum to 2 of (b, c, d)"));
	w_tick(w); /* steady */
	assert_null(strstr(w->order, "sync"));
	assert_null(strstr(w->order, "ssn"));
	w_free(w);
}

/* One goes: SSN first, then /sync (others leaving, 14.3). */
static void
test_quorum_leaves(void **state)
{
	struct world *w = candidates(1);

	(void)state;
	mode(w, "quorum", 1);
	sync_key(w, "a", "b,c,d", 2);
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "ANY 1 (b,c,d)");
	(void)snprintf(w->pg.senders[0].sync_state, WORD_SIZE, "quorum");
	(void)snprintf(w->pg.senders[1].sync_state, WORD_SIZE, "quorum");
	w->pg.nsenders = 2;
	w_tick(w);
	assert_int_equal(w->view->sync_quorum, 1);
	assert_string_equal(w->voters, "b,c");
	assert_string_equal(w->last_job[JOB_SET_SSN].job.text, "ANY 1 (b,c)");
	w_free(w);
}

static void
test_quorum_conflict(void **state)
{
	struct world *w = candidates(1);

	(void)state;
	mode(w, "quorum", 1);
	sync_key(w, "a", "b,c,d", 2);
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "ANY 1 (b,c,d)");
	(void)snprintf(w->pg.senders[0].sync_state, WORD_SIZE, "quorum");
	w->pg.nsenders = 1;
	w->op_set[OP_SET_SYNC] = true;
	w->op_outcome[OP_SET_SYNC] = OUTCOME_REFUSED;
	w_tick(w);
	assert_non_null(strstr(
	    w->log, "Synchronous replication key updated by someone else."));
	assert_string_equal(w->rule, "leader.no-action");
	w_free(w);
}

/*
 * A voter must not be named before commits wait for it, nor may one of them be
 * dropped while they may still wait for it alone.
 */
static void
test_quorum_ssn_fails(void **state)
{
	struct world *w = candidates(1);

	(void)state;
	mode(w, "quorum", 1);
	sync_key(w, "a", "b,c,d", 2);
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "ANY 1 (b,c,d)");
	(void)snprintf(w->pg.senders[0].sync_state, WORD_SIZE, "quorum");
	(void)snprintf(w->pg.senders[1].sync_state, WORD_SIZE, "quorum");
	w->pg.nsenders = 2;
	w->job_result[JOB_SET_SSN] = JOB_FAILED;
	w_tick(w);
	assert_string_equal(w->voters, ""); /* not written */
	assert_non_null(
	    strstr(w->log, "Could not set synchronous_standby_names"));
	assert_string_equal(w->rule, "leader.no-action");
	/* written, but the server goes on with the old value */
	w->job_result[JOB_SET_SSN] = JOB_OK;
	w->ssn_ignored = true;
	w_tick(w);
	assert_string_equal(w->voters, ""); /* not written */
	w->ssn_ignored = false;
	w_tick(w);
	assert_string_equal(w->voters, "b,c");
	w_free(w);
}

/* ---- the race ---- */

static struct world *
racer(const char *me, const char *voters, uint32_t q)
{
	struct world *w = w_standby(me, "a");

	w_member(w, "c", "replica", "running");
	w_member(w, "d", "replica", "running");
	mode(w, "quorum", 1);
	sync_key(w, "a", voters, q);
	w->hold_job[JOB_PROMOTE] = true;
	w_tick(w);
	w_leader(w, "");
	return w;
}

static bool
wins(struct world *w)
{
	bool yes;

	w_tick(w);
	yes = strcmp(w->rule, "race.won") == 0;
	assert_int_equal(yes, strstr(w->order, "acquire") != NULL);
	w_free(w);
	return yes;
}

static void
test_votes(void **state)
{
	struct world *w;

	(void)state;
	w = racer("b", "b,c,d", 2); /* two of {a, c, d} must agree */
	w_peer(w, "c", 1000);
	assert_false(wins(w));
	w = racer("b", "b,c,d", 2);
	w_peer(w, "c", 1000);
	w_peer(w, "d", 999);
	assert_true(wins(w));
	w = racer("b", "b,c,d", 2);
	w_peer(w, "c", 1000);
	w_peer(w, "d", 1001);
	assert_false(wins(w));
	w = racer("b", "b,c,d", 2); /* who does not run does not vote */
	w_peer(w, "c", 1000);
	w_peer(w, "d", 0);
	assert_false(wins(w));
	w = racer("b", "b,c,d", 2); /* nor one that may not promote */
	w_peer(w, "c", 1000);
	w_peer(w, "d", 1000);
	w->peers[1].tags.nofailover = true;
	assert_false(wins(w));
	w = racer("b", "b,c,d", 0);
	assert_true(wins(w));
}

/*
 * Positions compare on one timeline only: a former leader with a surplus on a
 * dead branch has nothing that a voter of the living one lacks.
 */
static void
test_votes_of_branches(void **state)
{
	struct world *w;

	(void)state;
	w = racer("b", "b,c,d", 1); /* c is on a newer branch */
	w->pg.received_timeline = 2;
	w_peer(w, "c", 900);
	w_peer(w, "d", 900);
	w->peers[0].timeline = 3;
	w->peers[1].timeline = 2;
	assert_false(wins(w));
	w = racer("b", "b,c,d", 1); /* c wrote more on an older one */
	w->pg.received_timeline = 3;
	w_peer(w, "c", 1100);
	w->peers[0].timeline = 2;
	assert_true(wins(w));
	w = racer("b", "b,c,d", 1); /* the leader of /sync is no exception */
	w->pg.received_timeline = 2;
	w_peer(w, "c", 900);
	w->peers[0].timeline = 3;
	(void)snprintf(w->view->sync_leader, NAME_SIZE, "b");
	assert_false(wins(w));
}

/* Outside of the voters one more vote is needed. */
static void
test_votes_outsider(void **state)
{
	struct world *w;

	(void)state;
	w = racer("b", "c,d", 1);
	w_peer(w, "c", 1000);
	assert_false(wins(w));
	w = racer("b", "c,d", 1);
	w_peer(w, "c", 1000);
	w_peer(w, "d", 1000);
	assert_true(wins(w));
}

/* The leader of /sync ahead of us is no obstacle: it waited for voters. */
static void
test_former_leader_ahead(void **state)
{
	struct world *w;

	(void)state;
	w = racer("b", "b,c,d", 1);
	w_peer(w, "a", 5000);
	w_peer(w, "c", 1000);
	assert_true(wins(w));
}

/* ---- promotion (14.6): /sync goes on naming the leader before ---- */

static void
before_promotion(const char *me, const char *leader, const char *voters,
    uint32_t q, const char *ssn)
{
	struct world *w = racer(me, voters, q);

	(void)snprintf(w->view->sync_leader, NAME_SIZE, "%s", leader);
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "other");
	w_peer(w, "c", 1000);
	w_peer(w, "d", 1000);
	w_tick(w);
	assert_string_equal(w->rule, "race.won");
	assert_string_equal(w->last_job[JOB_SET_SSN].job.text, ssn);
	w_follows(w->order, "ssn", "promote");
	assert_null(strstr(w->order, "sync"));
	w_free(w);
}

/*
 * The leader that /sync names may lead without votes: all that is acknowledged
 * before /sync has another name has to be there as well.
 */
static void
test_before_promotion(void **state)
{
	(void)state;
	before_promotion("b", "a", "b,c,d", 1, "ANY 3 (a,c,d)");
	before_promotion("b", "a", "b,c,d", 2, "ANY 3 (a,c,d)");
	before_promotion("b", "a", "b", 0, "ANY 1 (a)");
	before_promotion("b", "a", "c,d", 1, "ANY 3 (a,c,d)"); /* outsider */
	/* our own name is there already: any N overlap with the votes */
	before_promotion("b", "b", "c,d", 1, "ANY 1 (c,d)");
	before_promotion("b", "B", "c,d", 1, "ANY 1 (c,d)");
	before_promotion("b", "b", "", 0, "");
	/* the mode is not active: nobody was promised anything */
	before_promotion("b", "", "", 0, "");
}

/* The reload takes a moment; a commit that comes before it would not wait. */
static void
test_before_promotion_in_force(void **state)
{
	struct world *w = racer("b", "b,c,d", 1);

	(void)state;
	w_peer(w, "c", 1000);
	w->ssn_ignored = true;
	w_tick(w);
	assert_string_equal(w->rule, "sync.promote-failed");
	assert_null(strstr(w->order, "promote"));
	w_follows(w->order, "acquire", "release");
	w_free(w);
}

/* b was promoted; the leader before is gone, c and d have not come over yet */
static struct world *
successor(void)
{
	struct world *w = w_primary("b");

	mode(w, "quorum", 1);
	w_member(w, "c", "replica", "running");
	w_member(w, "d", "replica", "running");
	sync_key(w, "a", "b,c,d", 1);
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "ANY 3 (a,c,d)");
	return w;
}

/* Commits wait for all until /sync has our name, and then no longer. */
static void
test_after_promotion(void **state)
{
	struct world *w = successor();

	(void)state;
	w_tick(w);
	assert_string_equal(w->view->sync_leader, "b");
	assert_string_equal(w->voters, "a,c,d");
	assert_int_equal(w->view->sync_quorum, 1);
	assert_string_equal(w->pg.ssn, "ANY 2 (a,c,d)");
	w_follows(w->order, "sync", "ssn");
	w_free(w);
}

/* Refused, or the answer is lost: nothing changes, but for a second only. */
static void
test_after_promotion_refused(void **state)
{
	static const enum outcome outcomes[] = { OUTCOME_REFUSED,
		OUTCOME_FAILED, OUTCOME_UNKNOWN };
	struct world *w;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
		w = successor();
		w->op_set[OP_SET_SYNC] = true;
		w->op_outcome[OP_SET_SYNC] = outcomes[i];
		w_tick(w);
		assert_string_equal(w->view->sync_leader, "a");
		assert_string_equal(w->pg.ssn, "ANY 3 (a,c,d)");
		assert_null(strstr(w->order, "ssn"));
		assert_in_range(w->timer, w->now, w->now + NS_PER_SEC);
		w->op_set[OP_SET_SYNC] = false;
		w_tick(w);
		assert_string_equal(w->view->sync_leader, "b");
		assert_string_equal(w->pg.ssn, "ANY 2 (a,c,d)");
		w_free(w);
	}
}

/* Promoted by hand, or the value was lost: first all, then /sync. */
static void
test_after_promotion_by_hand(void **state)
{
	struct world *w = successor();

	(void)state;
	w->pg.ssn[0] = '\0';
	w->op_set[OP_SET_SYNC] = true;
	w->op_outcome[OP_SET_SYNC] = OUTCOME_REFUSED;
	w_tick(w);
	assert_string_equal(w->pg.ssn, "ANY 3 (a,c,d)");
	w_follows(w->order, "ssn", "sync");
	w_free(w);
}

/*
 * Priority mode has no such gap: /sync names the new leader alone, or with
 * those that every commit waits for, before the promotion (13.7).
 */
static void
test_before_promotion_priority(void **state)
{
	struct world *w = racer("b", "b,c", 0);
	int strict;

	(void)state;
	w_free(w);
	for (strict = 0; strict < 2; strict++) {
		w = racer("b", "b,c", 0);
		mode(w, "on", 1);
		w_option(w, "synchronous_mode_strict", tree_bool(strict));
		(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "other");
		w_peer(w, "c", 1000);
		w_tick(w);
		assert_string_equal(w->rule, "race.won");
		assert_string_equal(w->view->sync_leader, "b");
		assert_string_equal(w->voters, strict ? "a,c" : "");
		assert_string_equal(
		    w->last_job[JOB_SET_SSN].job.text, strict ? "2 (a,c)" : "");
		w_follows(w->order, "ssn", "sync");
		w_follows(w->order, "sync", "promote");
		w_free(w);
	}
}

/* Without it commits would not wait: the key is for somebody else. */
static void
test_before_promotion_fails(void **state)
{
	struct world *w = racer("b", "b,c,d", 1);

	(void)state;
	w_peer(w, "c", 1000);
	w->job_result[JOB_SET_SSN] = JOB_FAILED;
	w_tick(w);
	assert_string_equal(w->rule, "sync.promote-failed");
	assert_null(strstr(w->order, "promote"));
	w_follows(w->order, "acquire", "release");
	assert_string_equal(w->voters, ""); /* not written */
	w_leader(w, "");
	w_tick(w); /* not again at once */
	assert_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* 11.6: a switchover needs Q + 1 healthy voters, or a named candidate. */
static struct world *
switchover(const char *candidate)
{
	struct world *w = w_primary("a");

	mode(w, "quorum", 1);
	w_member(w, "b", "replica", "running");
	w_member(w, "c", "replica", "running");
	w_tick(w);
	sync_key(w, "a", "b,c", 1);
	w_peer(w, "b", 1000);
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	(void)snprintf(w->view->failover_member, NAME_SIZE, "%s", candidate);
	w->hold_job[JOB_STOP] = true;
	return w;
}

static void
test_switchover_quorum(void **state)
{
	struct world *w = switchover("");

	(void)state;
	w_tick(w);
	assert_non_null(
	    strstr(w->log, "Quorum requirement 1 can not be reached"));
	assert_string_equal(w->rule, "leader.no-action");
	w_free(w);
	w = switchover("");
	w_peer(w, "c", 1000);
	w_tick(w);
	assert_string_equal(w->result, "switchover: demoting myself");
	w_free(w);
	w = switchover("b");
	w_tick(w);
	assert_string_equal(w->result, "switchover: demoting myself");
	w_free(w);
}

/* ---- manual failover without a leader (12.3) ---- */

static struct world *
requested(const char *leader, const char *member)
{
	struct world *w = w_standby("b", "a");

	w_member(w, "c", "replica", "running");
	w->hold_job[JOB_PROMOTE] = true;
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "%s", leader);
	(void)snprintf(w->view->failover_member, NAME_SIZE, "%s", member);
	w_tick(w);
	w_leader(w, "");
	return w;
}

static void
test_manual_race(void **state)
{
	struct world *w;

	(void)state;
	assert_true(wins(requested("a", "b"))); /* I am it */
	w = requested("a", "c");
	w_peer(w, "c", 1000);
	assert_false(wins(w)); /* the candidate is well */
	w = requested("a", "c");
	assert_true(wins(w)); /* the candidate is gone */
	w = requested("a", "");
	w_peer(w, "c", 1001);
	assert_false(wins(w)); /* c is ahead */
	w = requested("a", "");
	w_peer(w, "c", 1000);
	w_peer(w, "a", 5000); /* the former leader is not asked */
	assert_true(wins(w));
	w = requested("a", ""); /* lag is not looked at */
	w->view->optime = 1000 + 10 * 1048576;
	assert_true(wins(w));
	w = requested("b", ""); /* I led: only when nobody else can */
	w_peer(w, "c", 1000);
	assert_false(wins(w));
	assert_true(wins(requested("b", "")));
}

/* In priority mode only names in /sync, except for the candidate itself. */
static void
test_manual_race_sync(void **state)
{
	struct world *w = requested("a", "b");

	(void)state;
	mode(w, "on", 1);
	sync_key(w, "a", "c", 0);
	assert_false(wins(w));
	w = requested("", "b"); /* a manual failover loses data knowingly */
	mode(w, "on", 1);
	sync_key(w, "a", "c", 0);
	assert_true(wins(w));
}

/* With quorum commit a switchover's candidate needs the votes, too. */
static void
test_candidate_votes(void **state)
{
	struct world *w;

	(void)state;
	w = requested("a", "b");
	mode(w, "quorum", 1);
	sync_key(w, "a", "b,c", 1);
	w_peer(w, "c", 1000);
	assert_true(wins(w));
	w = requested("a", "b"); /* the former leader, back as a standby */
	mode(w, "quorum", 1);
	sync_key(w, "a", "b,c", 1);
	w_peer(w, "a", 1000);
	assert_true(wins(w));
	w = requested("", "b"); /* a failover loses data knowingly */
	mode(w, "quorum", 1);
	sync_key(w, "a", "b,c", 1);
	w_peer(w, "c", 1001);
	assert_true(wins(w));
	w = requested("a", "b");
	mode(w, "quorum", 1);
	sync_key(w, "a", "b,c", 1);
	w_peer(w, "c", 1001); /* has what b lacks: nobody waits for b */
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	assert_non_null(strstr(w->log, "removing failover key"));
	assert_non_null(strstr(w->order, "failover"));
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_choice_lag),
		cmocka_unit_test(test_choice_cascade),
		cmocka_unit_test(test_quorum_starts),
		cmocka_unit_test(test_quorum_leaves),
		cmocka_unit_test(test_quorum_conflict),
		cmocka_unit_test(test_quorum_ssn_fails),
		cmocka_unit_test(test_before_promotion_fails),
		cmocka_unit_test(test_votes),
		cmocka_unit_test(test_votes_of_branches),
		cmocka_unit_test(test_votes_outsider),
		cmocka_unit_test(test_former_leader_ahead),
		cmocka_unit_test(test_before_promotion),
		cmocka_unit_test(test_before_promotion_in_force),
		cmocka_unit_test(test_after_promotion),
		cmocka_unit_test(test_after_promotion_refused),
		cmocka_unit_test(test_after_promotion_by_hand),
		cmocka_unit_test(test_before_promotion_priority),
		cmocka_unit_test(test_switchover_quorum),
		cmocka_unit_test(test_manual_race),
		cmocka_unit_test(test_manual_race_sync),
		cmocka_unit_test(test_candidate_votes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
