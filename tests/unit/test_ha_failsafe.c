/*
 * test_ha_failsafe.c: DCS failsafe mode (spec/ha.md 15) on the primary that
 * asks, on the members that answer, and in the race.
 */
#include "ha_driver.h"

/* /failsafe: names of one letter; NULL = the key is absent. */
static void
set_failsafe(struct world *w, const char *names)
{
	struct view *v = w->view;
	uint32_t n = 0;

	v->has_failsafe = v->failsafe_object = names != NULL;
	free(v->failsafe);
	v->failsafe = calloc(MAX_MEMBERS, sizeof(*v->failsafe));
	for (; names != NULL && *names != '\0'; names++) {
		struct view_failsafe *f = &v->failsafe[n++];

		(void)snprintf(f->name, sizeof(f->name), "%c", *names);
		(void)snprintf(f->api_url, sizeof(f->api_url),
		    "http://%c:8008/patroni", *names);
	}
	v->nfailsafe = n;
}

/* Primary a with members b and c that accept, one cycle done. */
static struct world *
primary(const char *names)
{
	struct world *w = w_primary("a");

	w_option(w, "failsafe_mode", tree_bool(true));
	w_member(w, "b", "replica", "running");
	w_member(w, "c", "replica", "running");
	w_peer(w, "b", 900);
	w_peer(w, "c", 900);
	set_failsafe(w, names);
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(w->rule, "leader.no-action");
	return w;
}

static void
assert_demoted(struct world *w)
{
	assert_string_equal(w->result,
	    "demoted self because DCS is not "
	    "accessible and I was a leader");
	assert_non_null(strstr(w->order, "stop"));
	assert_int_equal(w->last_job[JOB_STOP].job.stop_mode, STOP_FAST);
}

static void
assert_continues(struct world *w)
{
	assert_string_equal(w->result,
	    "continue to run as a leader because "
	    "failsafe mode is enabled and all members are accessible");
	assert_null(strstr(w->order, "stop"));
	assert_true(ha_trusted_until(w->h) > w->now);
}

/* spec/ha.md 15.3 */
static void
test_all_accept(void **state)
{
	struct world *w = primary("abc");
	struct msg_status m;
	int round;

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	for (round = 0; round < 20; round++) { /* far beyond the ttl */
		w_tick(w);
		assert_continues(w);
		assert_int_equal(w->nasked, 2);
		assert_int_equal(w->grant_end, w->now + 30 * NS_PER_SEC);
		assert_null(strstr(w->order, "touch"));
		assert_non_null(strstr(w->order, "slots"));
	}
	memset(&m, 0, sizeof(m));
	ha_status(w->h, w->now, &m);
	assert_true(m.failsafe_until_ns > w->now);
	/* back again: the record goes with the first good update */
	w->load_outcome = OUTCOME_OK;
	w_tick(w);
	assert_string_equal(w->rule, "leader.no-action");
	ha_status(w->h, w->now, &m);
	assert_int_equal(m.failsafe_until_ns, 0);
	w_free(w);
}

/* The lease counts from before the questions, not from the answers. */
static void
test_lease_from_the_start(void **state)
{
	struct world *w = primary("abc");
	int64_t asked;

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w->hold_poll = true;
	w_tick(w);
	asked = w->now;
	w->hold_poll = false;
	w->now += 3 * NS_PER_SEC;
	w_let_go(w);
	assert_continues(w);
	assert_int_equal(w->grant_end, asked + 30 * NS_PER_SEC);
	assert_int_equal(ha_trusted_until(w->h), asked + 30 * NS_PER_SEC);
	w_free(w);
}

static void
test_update_error_also_asks(void **state)
{
	struct world *w = primary("abc");

	(void)state;
	w->op_set[OP_UPDATE] = true;
	w->op_outcome[OP_UPDATE] = OUTCOME_UNKNOWN;
	w_tick(w);
	assert_continues(w);
	w_free(w);
}

static void
test_one_refuses(void **state)
{
	struct world *w = primary("abc");

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w->peers[1].accepted = 0;
	w_tick(w);
	assert_demoted(w);
	w_free(w);
}

static void
test_one_missing(void **state)
{
	struct world *w = primary("abc");

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w->npeers = 1;
	w_tick(w);
	assert_demoted(w);
	w_free(w);
}

/* Fewer answers than questions is not agreement. */
static void
test_answer_short(void **state)
{
	struct world *w = primary("abc");
	struct ha_ev ev;

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w->hold_poll = true;
	w_tick(w);
	ev = w_ev(EV_PEERS, w->held);
	ev.peers = w->peers;
	ev.npeers = 1;
	w_event(w, &ev);
	assert_demoted(w);
	w_free(w);
}

/* The same answer twice is one answer. */
static void
test_answer_doubled(void **state)
{
	struct world *w = primary("abc");
	struct peer_status twice[2];
	struct ha_ev ev;

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w->hold_poll = true;
	w_tick(w);
	twice[0] = twice[1] = w->peers[0];
	ev = w_ev(EV_PEERS, w->held);
	ev.peers = twice;
	ev.npeers = 2;
	w_event(w, &ev);
	assert_demoted(w);
	w_free(w);
}

static void
test_agreement_ends(void **state)
{
	struct world *w = primary("abc");

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_continues(w);
	w->peers[0].accepted = 0;
	w_tick(w);
	assert_demoted(w);
	w_free(w);
}

static void
test_name_without_member(void **state)
{
	struct world *w = primary("abcd");

	(void)state;
	/* d is in /failsafe, but nobody answers there */
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_int_equal(w->nasked, 3);
	assert_demoted(w);
	w_free(w);
}

static void
test_not_listed(void **state)
{
	struct world *w = primary("bc");

	(void)state;
	/* the names of the update just made count, ours included */
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_continues(w);
	w_free(w);
}

static void
test_key_absent(void **state)
{
	struct world *w = primary(NULL);

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_int_equal(w->polls, 0);
	assert_demoted(w);
	w_free(w);
}

static void
test_alone(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_option(w, "failsafe_mode", tree_bool(true));
	set_failsafe(w, "a");
	w_tick(w);
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_int_equal(w->polls, 0);
	assert_continues(w);
	w_free(w);
}

/* A member that joined in the last cycle was written and must agree. */
static void
test_new_member_counts_at_once(void **state)
{
	struct world *w = primary("ab");

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_int_equal(w->nasked, 2);
	assert_continues(w);
	w->peers[1].accepted = 0; /* c */
	w_tick(w);
	assert_demoted(w);
	w_free(w);
}

/*
 * A name that an update dropped counts until the key was read again.
 * (spec/ha.md 15.1)
 */
static void
test_dropped_name_counts(void **state)
{
	struct world *w = primary("abcx");

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_int_equal(w->nasked, 3);
	assert_demoted(w);
	w_free(w);
}

/* spec/ha.md 15.2 */
static void
test_refused_update_demotes(void **state)
{
	struct world *w = primary("abc");

	(void)state;
	w->op_set[OP_UPDATE] = true;
	w->op_outcome[OP_UPDATE] = OUTCOME_REFUSED;
	w_tick(w);
	assert_string_equal(w->rule, "leader.lock-lost.demote");
	assert_int_equal(w->polls, 0);
	w_free(w);
}

static void
test_mode_off(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	set_failsafe(w, "a");
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_demoted(w);
	w_free(w);
}

static void
test_pause_does_not_ask(void **state)
{
	struct world *w = primary("abc");

	(void)state;
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_string_equal(w->result, "PAUSE: DCS is not accessible");
	assert_int_equal(w->polls, 0);
	w_free(w);
}

/* Standbys' positions come back and serve the slots of cascading members. */
static void
test_feedback(void **state)
{
	struct world *w = primary("abc");
	const struct view *v;

	(void)state;
	(void)snprintf(w->view->members[2].tags.replicatefrom, NAME_SIZE, "b");
	w_tick(w);
	w->load_outcome = OUTCOME_FAILED;
	w->peers[0].has_lsn = w->peers[1].has_lsn = 1;
	w->peers[0].lsn = 901;
	w->peers[1].lsn = 902;
	w_tick(w);
	v = ha_view(w->h);
	assert_int_equal(view_member(v, "c")->xlog_location, 902);
	assert_int_equal(view_member(v, "b")->xlog_location, 0);
	w_free(w);
}

/* ---- members ---- */

static void
post(struct world *w, const char *name, const char *slots)
{
	struct tree *doc = tree_map(), *map = tree_map();
	struct msg_request r;

	memset(&r, 0, sizeof(r));
	r.kind = REQUEST_FAILSAFE;
	(void)snprintf(r.name, sizeof(r.name), "%s", name);
	(void)snprintf(r.conn_url, sizeof(r.conn_url),
	    "postgres://new-%s:5432/postgres", name);
	(void)snprintf(
	    r.api_url, sizeof(r.api_url), "http://new-%s:8008", name);
	if (slots != NULL)
		assert_true(tree_set(map, slots, tree_int(777)));
	assert_true(tree_set(doc, "slots", map));
	w_request(w, &r, doc);
	tree_free(doc);
}

static struct world *
member(void)
{
	struct world *w = w_standby("b", "a");

	w_option(w, "failsafe_mode", tree_bool(true));
	set_failsafe(w, "ab");
	w_peer(w, "a", 1000);
	w->peers[0].reachable = 0; /* the outage cuts us off */
	w_tick(w);
	return w;
}

static void
test_receive(void **state)
{
	struct world *w = member();

	(void)state;
	post(w, "a", NULL);
	assert_int_equal(w->reply.code, 200);
	assert_string_equal(w->reply.text, "Accepted");
	assert_int_equal(w->reply.has_lsn, 1);
	assert_int_equal(w->reply.lsn, 1000);
	w_free(w);
}

static void
test_receive_off(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_tick(w);
	post(w, "a", NULL);
	assert_int_equal(w->reply.code, 502);
	w_free(w);
}

static void
test_receive_on_primary(void **state)
{
	struct world *w = primary("abc");
	struct msg_status m;

	(void)state;
	post(w, "b", NULL);
	assert_int_equal(w->reply.code, 500);
	assert_string_equal(w->reply.text, "Running as a leader");
	memset(&m, 0, sizeof(m));
	ha_status(w->h, w->now, &m);
	assert_int_equal(m.failsafe_until_ns, 0);
	w_free(w);
}

/* The lock is won, the promotion not done: the old primary must not go on. */
static void
test_receive_while_promoting(void **state)
{
	struct world *w = member();

	(void)state;
	w->now += 40 * NS_PER_SEC; /* no promise of a former life holds */
	w_leader(w, "");
	w->hold_job[JOB_PROMOTE] = true;
	w_tick(w);
	assert_non_null(strstr(w->order, "promote"));
	post(w, "a", NULL);
	assert_int_equal(w->reply.code, 500);
	w_job_progress(w, JOB_PROMOTE, PROGRESS_PROMOTED);
	post(w, "a", NULL);
	assert_int_equal(w->reply.code, 500);
	w_free(w);
}

/* A daemon that has just started may have agreed in its former life: it takes
 * the key only when all members can be asked, or when that is over. */
static void
test_race_after_restart(void **state)
{
	struct world *w = member();

	(void)state;
	w->hold_job[JOB_PROMOTE] = true;
	w_leader(w, "");
	w_tick(w);
	assert_non_null(
	    strstr(w->log, "Not every member of failsafe mode can be asked"));
	assert_null(strstr(w->order, "acquire"));
	w->now += 40 * NS_PER_SEC;
	w_tick(w);
	assert_null(strstr(w->log, "Not every member of failsafe mode"));
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

static int64_t
failsafe_until(struct world *w)
{
	struct msg_status m;

	memset(&m, 0, sizeof(m));
	ha_status(w->h, w->now, &m);
	return m.failsafe_until_ns;
}

/* The run waits for the store: the primary gives us two seconds only. */
static void
test_receive_at_once(void **state)
{
	struct world *w = member();

	(void)state;
	w->hold_load = true;
	w_tick(w);
	w->now += 1500 * NS_PER_MS;
	post(w, "a", "b");
	assert_int_equal(w->reply.code, 200);
	assert_string_equal(w->reply.text, "Accepted");
	assert_int_equal(w->reply.lsn, 1000);
	assert_int_equal(failsafe_until(w), w->now + 30 * NS_PER_SEC);
	/* a second one, of the same or another, replaces it */
	w->now += NS_PER_SEC;
	post(w, "c", NULL);
	assert_int_equal(w->reply.code, 200);
	assert_int_equal(failsafe_until(w), w->now + 30 * NS_PER_SEC);
	/* the store answers after all, without a leader: who has said yes in
	 * the meantime holds still */
	w_leader(w, "");
	w->hold_load = false;
	w_let_go(w);
	assert_null(strstr(w->order, "acquire"));
	assert_null(strstr(w->order, "promote"));
	assert_true(failsafe_until(w) > w->now);
	w_free(w);
}

/* The same when the store stays silent: the record outlives the run. */
static void
test_receive_at_once_in_an_outage(void **state)
{
	struct world *w = member();

	(void)state;
	w->hold_load = true;
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	post(w, "a", NULL);
	assert_int_equal(w->reply.code, 200);
	w->hold_load = false;
	w_let_go(w);
	assert_true(failsafe_until(w) > w->now);
	w_tick(w);
	assert_true(failsafe_until(w) > w->now);
	w_free(w);
}

/* With a view taken the run may race: the answer is for after it. */
static void
test_receive_waits_for_a_race(void **state)
{
	struct world *w = member();

	(void)state;
	w->now += 40 * NS_PER_SEC; /* no promise of a former life holds */
	w_leader(w, "");
	w->hold_poll = true;
	w_tick(w); /* asks the others in its race */
	post(w, "a", NULL);
	assert_int_equal(w->reply.code, 0);
	assert_int_equal(failsafe_until(w), 0);
	w->hold_poll = false;
	w->hold_job[JOB_PROMOTE] = true;
	w_let_go(w);
	assert_non_null(strstr(w->order, "acquire"));
	/* it has won: the old primary is told no */
	assert_int_equal(w->reply.code, 500);
	assert_int_equal(failsafe_until(w), 0);
	w_free(w);
}

/* A primary that waits for the store says no at once, too. */
static void
test_receive_at_once_on_primary(void **state)
{
	struct world *w = primary("abc");

	(void)state;
	w->hold_load = true;
	w_tick(w);
	post(w, "b", NULL);
	assert_int_equal(w->reply.code, 500);
	assert_int_equal(failsafe_until(w), 0);
	w->hold_load = false;
	w_let_go(w);
	assert_string_equal(w->rule, "leader.no-action");
	w_free(w);
}

static void
test_receive_without_name(void **state)
{
	struct world *w = member();

	(void)state;
	post(w, "", NULL);
	assert_int_equal(w->reply.code, 400);
	w->now += 40 * NS_PER_SEC;
	w_leader(w, "");
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

static void
test_no_race_while_active(void **state)
{
	struct world *w = member();

	(void)state;
	post(w, "a", NULL);
	w_leader(w, "");
	w->view->nmembers = 1; /* the primary's member key is gone too */
	w_tick(w);
	assert_string_equal(w->result,
	    "no action. I am (b), a secondary, and following a leader (a)");
	assert_null(strstr(w->order, "acquire"));
	/* it is followed at the addresses that it gave */
	assert_string_equal(view_member(ha_view(w->h), "a")->conn_url,
	    "postgres://new-a:5432/postgres");
	w_free(w);
}

static void
test_record_expires(void **state)
{
	struct world *w = member();
	int64_t until;

	(void)state;
	post(w, "a", NULL);
	until = w->now + 30 * NS_PER_SEC;
	w_leader(w, "");
	w->now = until - 1;
	w->timer = 0;
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	w->now = until;
	w_wake(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/* A leader in the store is the leader, whatever the record says. */
static void
test_stored_leader_wins(void **state)
{
	struct world *w = member();

	(void)state;
	post(w, "a", NULL);
	w_member(w, "c", "primary", "running");
	w_leader(w, "c");
	w_tick(w);
	assert_string_equal(w->result,
	    "no action. I am (b), a secondary, and following a leader (c)");
	w_free(w);
}

static void
test_patched_slots(void **state)
{
	struct world *w = member();
	const struct view *v;

	(void)state;
	w_member(w, "d-1", "replica", "running");
	(void)snprintf(w->view->members[2].tags.replicatefrom, NAME_SIZE, "b");
	post(w, "a", "d_1");
	w_leader(w, "");
	w_tick(w);
	v = ha_view(w->h);
	assert_int_equal(v->nslots, 1);
	assert_string_equal(v->slots[0].name, "d_1");
	assert_int_equal(v->slots[0].lsn, 777);
	assert_int_equal(view_member(v, "d-1")->xlog_location, 777);
	w_free(w);
}

/* In the outage a standby goes on, its slots follow the record. */
static void
test_outage_on_standby(void **state)
{
	struct world *w = member();
	const struct view *v;

	(void)state;
	post(w, "a", "d");
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_string_equal(w->result, "DCS is not accessible");
	assert_string_equal(w->order, "load slots");
	v = ha_view(w->h);
	assert_string_equal(v->leader, "a");
	assert_int_equal(v->nslots, 1);
	w_free(w);
}

/* The answer carries the position also when only the outage tells it. */
static void
test_position_in_outage(void **state)
{
	struct world *w = member();

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w->pg.wal_position = 1234;
	w_tick(w);
	post(w, "a", NULL);
	assert_int_equal(w->reply.lsn, 1234);
	w_free(w);
}

/*
 * 15.6: unknown to the running primary, so it must not promote. (spec/ha.md
 * 15.6)
 */
static void
test_race_restriction(void **state)
{
	struct world *w = member();

	(void)state;
	set_failsafe(w, "ac");
	w_leader(w, "");
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	set_failsafe(w, ""); /* an empty object restricts nobody */
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

static void
test_race_restriction_off(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	set_failsafe(w, "ac");
	w_leader(w, "");
	w_tick(w);
	assert_non_null(strstr(w->order, "acquire"));
	w_free(w);
}

/*
 * 15.5: the key has expired, the primary takes it back, others hold still.
 * (spec/ha.md 15.5)
 */
static void
test_after_the_outage(void **state)
{
	struct world *w = primary("abc");

	(void)state;
	w->load_outcome = OUTCOME_FAILED;
	w_tick(w);
	assert_continues(w);
	w->load_outcome = OUTCOME_OK;
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(w->result, "acquired session lock as a leader");
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_accept),
		cmocka_unit_test(test_lease_from_the_start),
		cmocka_unit_test(test_update_error_also_asks),
		cmocka_unit_test(test_one_refuses),
		cmocka_unit_test(test_one_missing),
		cmocka_unit_test(test_answer_short),
		cmocka_unit_test(test_answer_doubled),
		cmocka_unit_test(test_agreement_ends),
		cmocka_unit_test(test_name_without_member),
		cmocka_unit_test(test_not_listed),
		cmocka_unit_test(test_key_absent),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_new_member_counts_at_once),
		cmocka_unit_test(test_dropped_name_counts),
		cmocka_unit_test(test_refused_update_demotes),
		cmocka_unit_test(test_mode_off),
		cmocka_unit_test(test_pause_does_not_ask),
		cmocka_unit_test(test_feedback),
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_receive_off),
		cmocka_unit_test(test_receive_on_primary),
		cmocka_unit_test(test_receive_while_promoting),
		cmocka_unit_test(test_race_after_restart),
		cmocka_unit_test(test_receive_at_once),
		cmocka_unit_test(test_receive_at_once_in_an_outage),
		cmocka_unit_test(test_receive_waits_for_a_race),
		cmocka_unit_test(test_receive_at_once_on_primary),
		cmocka_unit_test(test_receive_without_name),
		cmocka_unit_test(test_no_race_while_active),
		cmocka_unit_test(test_record_expires),
		cmocka_unit_test(test_stored_leader_wins),
		cmocka_unit_test(test_patched_slots),
		cmocka_unit_test(test_outage_on_standby),
		cmocka_unit_test(test_position_in_outage),
		cmocka_unit_test(test_race_restriction),
		cmocka_unit_test(test_race_restriction_off),
		cmocka_unit_test(test_after_the_outage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
