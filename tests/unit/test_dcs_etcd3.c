/*
 * test_dcs_etcd3.c: conformance of a store driver, run against a real etcd
 * that the test starts on loopback.
 *
 * The cases speak to dcs.h alone, so that another driver needs only another
 * `struct store` (start, stop, kill, configuration) in front of them.  What
 * happens on the way to the store is in test_dcs_etcd3_net.c.
 */
#include "dcs_driver.h"

/* ---- cases ---- */

static void
test_empty(void **state)
{
	struct client *c = client_new("a", "empty", 5);
	struct view *v = load(c);

	(void)state;
	assert_true(view_empty(v));
	assert_true(view_unlocked(v));
	view_free(v);
	client_free(c);
}

static void
test_acquire_race(void **state)
{
	struct client *a = client_new("a", "race", 5);
	struct client *b = client_new("b", "race", 5);
	struct answer ra = { 0 }, rb = { 0 };

	(void)state;
	dcs_acquire(a->dcs, in_ms(3000), on_answer, &ra);
	dcs_acquire(b->dcs, in_ms(3000), on_answer, &rb);
	wait_for(&ra);
	wait_for(&rb);
	assert_int_equal(
	    (ra.outcome == OUTCOME_OK) + (rb.outcome == OUTCOME_OK), 1);
	assert_int_equal(
	    (ra.outcome == OUTCOME_REFUSED) + (rb.outcome == OUTCOME_REFUSED),
	    1);
	expect_leader(a, ra.outcome == OUTCOME_OK ? "a" : "b");
	client_free(a);
	client_free(b);
}

static void
test_refresh_and_loss(void **state)
{
	struct client *a = client_new("a", "ttl", 2);
	struct client *b = client_new("b", "ttl", 2);
	struct answer r;
	int64_t before;
	int i;

	(void)state;
	assert_int_equal(acquire(a), OUTCOME_OK);
	for (i = 0; i < 3; i++) { /* held for longer than its ttl */
		run_for(1000, NULL);
		before = clock_boot_ns();
		assert_int_equal(update_at(a, &r, 3000), OUTCOME_OK);
		assert_true(
		    r.sent_ns >= before && r.sent_ns <= clock_boot_ns());
		assert_int_equal(acquire(b), OUTCOME_REFUSED);
	}
	b->wake = 0;
	run_for(8000, &b->wake); /* nobody refreshes: it goes by itself */
	assert_true(b->wake & (1u << WAKE_LEADER));
	expect_leader(b, "");
	assert_int_equal(acquire(b), OUTCOME_OK);
	assert_int_equal(update(a), OUTCOME_REFUSED);
	client_free(a);
	client_free(b);
}

static void
test_release(void **state)
{
	struct client *a = client_new("a", "release", 5);
	struct client *b = client_new("b", "release", 5);
	struct answer r = { 0 };
	struct view *v;
	int64_t t;

	(void)state;
	expect_leader(b, "");
	assert_int_equal(acquire(a), OUTCOME_OK);
	run_for(2000, &b->wake);
	expect_leader(b, "a");
	b->wake = 0;
	t = clock_boot_ns();
	dcs_release(a->dcs, 4711, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	while (!(b->wake & (1u << WAKE_LEADER)) &&
	    clock_boot_ns() < t + NS_PER_SEC)
		run_for(5, NULL);
	assert_true(
	    clock_boot_ns() - t < NS_PER_SEC / 2); /* a watch, no poll */
	v = load(b);
	assert_string_equal(v->leader, "");
	assert_int_equal(v->optime, 4711);
	view_free(v);
	memset(&r, 0, sizeof(r));
	dcs_release(b->dcs, 0, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_REFUSED); /* not its own */
	client_free(a);
	client_free(b);
}

static void
test_takeover(void **state)
{
	struct client *a = client_new("a", "takeover", 3);
	struct client *b = client_new("b", "takeover", 3);
	struct view *v;
	int64_t token;
	int i;

	(void)state;
	assert_int_equal(touch(a, 1), OUTCOME_OK);
	assert_int_equal(acquire(a), OUTCOME_OK);
	view_free(load(b));
	client_free(a); /* the process is gone, its lease lives on */
	a = client_new("a", "takeover", 3);
	v = load(a);
	token = v->leader_token;
	view_free(v);
	assert_int_equal(update(a), OUTCOME_OK);
	assert_int_equal(touch(a, 1), OUTCOME_OK);
	for (i = 0; i < 5; i++) { /* past the end of the old lease */
		run_for(1000, NULL);
		assert_int_equal(acquire(b), OUTCOME_REFUSED);
		assert_int_equal(update(a), OUTCOME_OK);
		v = load(b);
		assert_string_equal(v->leader, "a");
		assert_non_null(view_member(v, "a"));
		assert_true(v->leader_token > token);
		view_free(v);
	}
	client_free(a);
	client_free(b);
}

static void
test_cas(void **state)
{
	struct client *a = client_new("a", "cas", 5);
	struct msg_dcs_sync m = { .quorum = 0 };
	struct answer r = { 0 };
	struct tree *voters = tree_list();
	struct view *v;

	(void)state;
	text_set(m.leader, sizeof(m.leader), "a");
	tree_append(voters, tree_text("c"));
	tree_append(voters, tree_text("b"));
	dcs_set_sync(a->dcs, &m, voters, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	v = load(a);
	assert_string_equal(v->sync_leader, "a");
	assert_int_equal(v->nsync_standby, 2);
	assert_string_equal(v->sync_standby[0], "b");
	assert_int_equal(v->sync_token, r.token);
	view_free(v);
	m.with_token = 1;
	m.token = r.token - 1;
	memset(&r, 0, sizeof(r));
	dcs_set_sync(a->dcs, &m, voters, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_REFUSED);
	v = load(a);
	m.token = v->sync_token;
	view_free(v);
	memset(&r, 0, sizeof(r));
	dcs_set_sync(a->dcs, &m, voters, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	m.token = r.token; /* the token of the answer, without a load */
	memset(&r, 0, sizeof(r));
	dcs_delete_sync(a->dcs, true, m.token, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	v = load(a);
	assert_false(v->has_sync);
	view_free(v);
	tree_free(voters);
	client_free(a);
}

static void
test_documents(void **state)
{
	static const char config[] = "{\"ttl\":30}";
	struct client *a = client_new("a", "docs", 5);
	struct msg_dcs_update u = {
		.optime = 42, .with_status = 1, .with_failsafe = 1
	};
	struct tree *doc = tree_map(), *t;
	struct answer r = { 0 };
	struct view *v;
	int64_t token;

	(void)state;
	dcs_initialize(a->dcs, true, "", in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	memset(&r, 0, sizeof(r));
	dcs_initialize(a->dcs, true, "", in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_REFUSED);
	memset(&r, 0, sizeof(r));
	dcs_initialize(
	    a->dcs, false, "7301234567890123456", in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	memset(&r, 0, sizeof(r));
	dcs_set_config(a->dcs, config, sizeof(config) - 1, false, 0,
	    in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	assert_int_equal(acquire(a), OUTCOME_OK);
	tree_set(t = tree_map(), "a", tree_int(42));
	tree_set(doc, "slots", t);
	tree_set(t = tree_map(), "a", tree_text("http://h:2/patroni"));
	tree_set(doc, "failsafe", t);
	memset(&r, 0, sizeof(r));
	dcs_update(a->dcs, &u, doc, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	run_for(300, NULL);
	v = load(a);
	assert_string_equal(v->initialize, "7301234567890123456");
	assert_true(v->initialize_valid);
	assert_int_equal(tree_path_int(v->config, "ttl", 0), 30);
	assert_true(v->config_modify > 0);
	assert_int_equal(v->optime, 42);
	assert_int_equal(v->nslots, 1);
	assert_int_equal(v->nfailsafe, 1);
	token = v->config_token;
	view_free(v);
	/* the same again writes nothing: the keys keep still */
	a->keys = 0;
	memset(&r, 0, sizeof(r));
	dcs_update(a->dcs, &u, doc, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	run_for(300, NULL);
	assert_int_equal(a->keys, 0);
	memset(&r, 0, sizeof(r));
	dcs_set_config(
	    a->dcs, "{}", 2, true, token - 1, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_REFUSED);
	memset(&r, 0, sizeof(r));
	dcs_remove_cluster(a->dcs, in_ms(3000), on_answer, &r);
	assert_int_equal(wait_for(&r), OUTCOME_OK);
	tree_free(doc);
	client_free(a);
}

static void
test_touch_suppressed(void **state)
{
	struct client *a = client_new("a", "touch", 5);

	(void)state;
	view_free(load(a));
	assert_int_equal(touch(a, 7), OUTCOME_OK);
	run_for(200, NULL);
	a->keys = 0;
	assert_int_equal(touch(a, 7), OUTCOME_OK);
	run_for(200, NULL);
	assert_int_equal(a->keys, 0);
	assert_int_equal(touch(a, 8), OUTCOME_OK);
	run_for(200, NULL);
	assert_int_equal(a->keys, 1u << DCS_KEY_MEMBER);
	client_free(a);
}

static void
test_ctl(void **state)
{
	struct client *a = client_new("a", "ctl", 5);
	struct client *c = client_of(conf_tree("x", "ctl", 5), true);

	(void)state;
	assert_int_equal(acquire(a), OUTCOME_OK);
	expect_leader(c, "a");
	client_free(a);
	client_free(c);
}

/* The store hangs, comes back; is killed, comes back. */
static void
test_outage(void **state)
{
	struct client *a = client_new("a", "outage", 20);
	struct answer r = { 0 };
	int64_t t;

	(void)state;
	view_free(load(a));
	assert_int_equal(acquire(a), OUTCOME_OK);
	kill(etcd_pid, SIGSTOP);
	assert_int_equal(waitpid(etcd_pid, NULL, WUNTRACED), etcd_pid);
	t = clock_boot_ns();
	assert_int_not_equal(update_at(a, &r, 3000), OUTCOME_OK);
	assert_int_not_equal(r.outcome, OUTCOME_REFUSED);
	assert_true(clock_boot_ns() - t < 3500 * NS_PER_MS);
	memset(&r, 0, sizeof(r));
	dcs_load(a->dcs, in_ms(1500), on_answer, &r); /* no stale answer */
	assert_int_equal(wait_for(&r), OUTCOME_FAILED);
	kill(etcd_pid, SIGCONT);
	expect_leader(a, "a");
	assert_int_equal(update(a), OUTCOME_OK);
	etcd_stop(SIGKILL);
	assert_int_not_equal(update(a), OUTCOME_OK);
	etcd_start(false);
	expect_leader(a, "a");
	assert_int_equal(update_at(a, &r, 8000), OUTCOME_OK);
	/* and the watch works again */
	a->wake = 0;
	{
		struct client *b = client_new("b", "outage", 5);
		struct msg_dcs_failover f = { .member = "b" };

		memset(&r, 0, sizeof(r));
		dcs_set_failover(b->dcs, &f, in_ms(3000), on_answer, &r);
		assert_int_equal(wait_for(&r), OUTCOME_OK);
		run_for(2000, &a->wake);
		assert_int_equal(a->wake, 1u << WAKE_OTHER);
		client_free(b);
	}
	client_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_acquire_race),
		cmocka_unit_test(test_refresh_and_loss),
		cmocka_unit_test(test_release),
		cmocka_unit_test(test_takeover),
		cmocka_unit_test(test_cas),
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_touch_suppressed),
		cmocka_unit_test(test_ctl),
		cmocka_unit_test(test_outage),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
