/*
 * test_ha_sync.c: synchronous replication: the resolver's table, SSN text,
 * the priority procedure and its order of writes.
 */
#include "ha_driver.h"

#include "../../helpers/ha/ha_sync.h"

static void
set(struct names *n, const char *list)
{
	char name[2] = "";

	memset(n, 0, sizeof(*n));
	for (; *list != '\0'; list++) {
		name[0] = *list;
		names_add(n, name);
	}
}

struct row {
	int line;
	const char *leader;
	int q;
	const char *voters;
	int n;
	const char *sync;
	int confirmed;
	const char *active;
	int wanted;
	const char *out;
};

/* spec/ha.md 14.4; the wanted leader is a unless leader differs (b) */
static const struct row rows[] = {
	{ __LINE__, "a", 0, "", 0, "", 0, "bcd", 1, "sync 1 bcd;restart" },
	{ __LINE__, "a", 0, "", 1, "bcd", 0, "bcd", 1, "restart" },
	{ __LINE__, "a", 0, "", 1, "bcd", 1, "bcd", 1, "quorum a 2 bcd" },
	{ __LINE__, "a", 0, "", 2, "bcd", 1, "bcd", 2, "quorum a 2 bcd" },
	{ __LINE__, "a", 2, "bcd", 2, "bcd", 2, "bcd", 2, "quorum a 1 bcd" },
	{ __LINE__, "a", 1, "bcd", 2, "bcd", 2, "bcd", 2, "" },
	{ __LINE__, "a", 1, "bcd", 2, "bcd", 2, "bcde", 2,
	    "quorum a 2 bcde;sync 2 bcde" },
	{ __LINE__, "a", 1, "bcd", 2, "bcd", 2, "bc", 2,
	    "sync 2 bc;quorum a 0 bc" },
	{ __LINE__, "a", 1, "bcd", 2, "bcd", 1, "b", 2,
	    "sync 2 bc;quorum a 0 b;sync 1 b" },
	{ __LINE__, "a", 1, "bcd", 2, "bcd", 0, "", 2, "quorum a 0 ;sync 0 " },
	{ __LINE__, "a", 1, "bcd", 2, "bcd", 2, "bcd", 3, "sync 3 bcd" },
	{ __LINE__, "a", 1, "bcd", 3, "bcd", 3, "bcd", 3, "quorum a 0 bcd" },
	{ __LINE__, "a", 1, "bcd", 2, "bcd", 2, "bcd", 1,
	    "quorum a 2 bcd;sync 1 bcd" },
	{ __LINE__, "b", 1, "bcd", 2, "acd", 0, "", 2, "quorum b 1 acd" },
	{ __LINE__, "b", 1, "bcd", 2, "acd", 0, "cd", 2,
	    "quorum b 1 acd;sync 2 cd;quorum b 0 cd" },
	/* 14.4 has "sync 2 acd": see change_leader() */
	{ __LINE__, "b", 1, "bcd", 0, "", 0, "cd", 2,
	    "sync 3 acd;quorum b 1 acd;sync 2 cd;quorum b 0 cd" },
	{ __LINE__, "a", 1, "bcde", 2, "bcd", 2, "bcde", 2,
	    "quorum a 2 bcde;sync 2 bcde" },
	{ __LINE__, "b", 1, "bcd", 3, "acd", 0, "", 2,
	    "quorum b 1 acd;sync 2 acd" },
	{ __LINE__, "b", 2, "bcd", 3, "acd", 0, "", 1,
	    "quorum b 2 acd;sync 1 acd" },
	{ __LINE__, "b", 1, "bcd", 3, "acd", 0, "cd", 2,
	    "quorum b 1 acd;sync 2 cd;quorum b 0 cd" },
	/* /sync was changed by the leader before as it lost the key */
	{ __LINE__, "b", 2, "bcde", 3, "acd", 0, "", 2,
	    "quorum b 2 acde;sync 2 acd" },
	{ __LINE__, "a", 0, "bc", 2, "bcd", 2, "bcd", 2, "quorum a 1 bcd" },
};

static void
resolve(const struct row *row, char *out, size_t size)
{
	struct resolver r;
	char names[256];
	size_t used = 0;
	uint32_t i;

	memset(&r, 0, sizeof(r));
	(void)snprintf(r.leader, sizeof(r.leader), "a");
	(void)snprintf(
	    r.wanted_leader, sizeof(r.wanted_leader), "%s", row->leader);
	r.q = row->q;
	r.n = row->n;
	r.confirmed = row->confirmed;
	r.wanted = row->wanted;
	set(&r.voters, row->voters);
	set(&r.sync, row->sync);
	set(&r.active, row->active);
	quorum_resolve(&r);
	out[0] = '\0';
	for (i = 0; i < r.ntransitions; i++) {
		const struct transition *t = &r.transitions[i];

		names_text(&t->names, "", names, sizeof(names));
		used += (size_t)snprintf(
		    out + used, size - used, "%s", i == 0 ? "" : ";");
		if (t->kind == TRANSITION_RESTART)
			used += (size_t)snprintf(
			    out + used, size - used, "restart");
		else if (t->kind == TRANSITION_SYNC)
			used += (size_t)snprintf(out + used, size - used,
			    "sync %d %s", (int)t->n, names);
		else
			used += (size_t)snprintf(out + used, size - used,
			    "quorum %s %d %s", t->leader, (int)t->n, names);
	}
}

static void
test_resolver_table(void **state)
{
	char out[512];
	uint32_t i, bad = 0;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		resolve(&rows[i], out, sizeof(out));
		if (strcmp(out, rows[i].out) != 0) {
			print_error("line %d: \"%s\" != \"%s\"\n", rows[i].line,
			    out, rows[i].out);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

static void
test_ssn_build(void **state)
{
	struct names n;
	char out[256];

	(void)state;
	set(&n, "");
	ssn_build(&n, 0, false, 150000, out, sizeof(out));
	assert_string_equal(out, "");
	ssn_build(&n, 1, false, 150000, out, sizeof(out));
	assert_string_equal(out, SSN_PLACEHOLDER);
	ssn_build(&n, 1, true, 150000, out, sizeof(out));
	assert_string_equal(out, "ANY 1 (" SSN_PLACEHOLDER ")");
	set(&n, "b");
	ssn_build(&n, -1, false, 150000, out, sizeof(out));
	assert_string_equal(out, "b");
	set(&n, "cb");
	ssn_build(&n, -1, false, 150000, out, sizeof(out));
	assert_string_equal(out, "2 (b,c)");
	ssn_build(&n, 1, true, 150000, out, sizeof(out));
	assert_string_equal(out, "ANY 1 (b,c)");
	ssn_build(&n, 1, true, 90600, out, sizeof(out));
	assert_string_equal(out, "1 (b,c)");
	ssn_build(&n, 2, false, 90500, out, sizeof(out));
	assert_string_equal(out, "b");
	memset(&n, 0, sizeof(n));
	names_add(&n, "a-\"1");
	names_add(&n, "Any");
	ssn_build(&n, 2, false, 150000, out, sizeof(out));
	assert_string_equal(out, "2 (\"Any\",\"a-\"\"1\")");
}

static void
test_ssn_parse(void **state)
{
	struct ssn s;

	(void)state;
	ssn_parse("", &s);
	assert_int_equal(s.type, SSN_OFF);
	ssn_parse("ANY 2 (b, \"c-1\" ,d)", &s);
	assert_int_equal(s.type, SSN_QUORUM);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.names.n, 3);
	assert_true(names_has(&s.names, "C-1"));
	ssn_parse("first 1 (b)", &s);
	assert_int_equal(s.type, SSN_PRIORITY);
	ssn_parse("any", &s);
	assert_int_equal(s.type, SSN_PRIORITY);
	assert_true(names_has(&s.names, "any"));
	ssn_parse("2 (b,c)", &s);
	assert_int_equal(s.n, 2);
	ssn_parse("*", &s);
	assert_true(s.star);
	ssn_parse(SSN_PLACEHOLDER, &s);
	assert_int_equal(s.names.n, 0);
	assert_int_equal(s.n, 1);
	ssn_parse("a,", &s);
	assert_true(s.bad);
	ssn_parse("a b", &s);
	assert_true(s.bad);
	ssn_parse("2 (a", &s);
	assert_true(s.bad);
	ssn_parse("\"a", &s);
	assert_true(s.bad);
}

static void
sender(struct world *w, const char *name, const char *state, uint64_t lsn)
{
	struct ha_sender *s = &w->pg.senders[w->pg.nsenders++];

	memset(s, 0, sizeof(*s));
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	(void)snprintf(s->sync_state, sizeof(s->sync_state), "%s", state);
	s->write_lsn = s->flush_lsn = s->replay_lsn = lsn;
}

/*
 * SSN first, /sync only when the standby is synchronous and caught up.
 * (spec/ha.md 13.1, 13.3)
 */
static void
test_priority_order(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_option(w, "synchronous_mode", tree_bool(true));
	w_member(w, "b", "replica", "running");
	sender(w, "b", "async", 1000);
	w_tick(w);
	assert_non_null(strstr(w->log, "Enabled synchronous replication"));
	assert_string_equal(w->last_job[JOB_SET_SSN].job.text, "b");
	assert_string_equal(w->view->sync_leader, "a");
	/* not yet confirmed: the one write has no voters */
	assert_string_equal(w->voters, "");
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "b");
	(void)snprintf(w->pg.senders[0].sync_state, WORD_SIZE, "sync");
	w_tick(w);
	assert_non_null(
	    strstr(w->log, "Synchronous standby status assigned to b"));
	assert_string_equal(w->voters, "b");
	assert_string_equal(
	    w->result, "no action. I am (a), the leader with the lock");
	w_free(w);
}

/* The standby is gone: out of /sync before SSN is emptied. */
static void
test_priority_leaves(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_option(w, "synchronous_mode", tree_bool(true));
	w_member(w, "b", "replica", "running");
	(void)snprintf(w->view->sync_leader, NAME_SIZE, "a");
	w->view->has_sync = 1;
	w->view->nsync_standby = 1;
	w->view->sync_standby = calloc(1, NAME_SIZE);
	(void)snprintf(w->view->sync_standby[0], NAME_SIZE, "b");
	(void)snprintf(w->pg.ssn, sizeof(w->pg.ssn), "b");
	w_tick(w);
	assert_non_null(
	    strstr(w->log, "Updating /sync key temporarily from b to "));
	assert_non_null(strstr(w->order, "sync ssn"));
	assert_string_equal(w->last_job[JOB_SET_SSN].job.text, "");
	w_free(w);
}

static void
test_strict(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_option(w, "synchronous_mode", tree_bool(true));
	w_option(w, "synchronous_mode_strict", tree_bool(true));
	w_tick(w);
	assert_string_equal(w->last_job[JOB_SET_SSN].job.text, SSN_PLACEHOLDER);
	assert_non_null(strstr(w->log,
	    "No active replication connections "
	    "from Patroni members and synchronous_mode_strict is requested. "
	    "Commits will be delayed."));
	w_free(w);
}

static void
test_conflict_ends(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_option(w, "synchronous_mode", tree_bool(true));
	w->op_set[OP_SET_SYNC] = true;
	w->op_outcome[OP_SET_SYNC] = OUTCOME_REFUSED;
	sender(w, "b", "async", 1000);
	w_member(w, "b", "replica", "running");
	w_tick(w);
	assert_non_null(strstr(w->log, "Updating sync state failed"));
	assert_null(strstr(w->order, "ssn"));
	w_free(w);
}

/* Only a name in /sync may promote. */
static void
test_race_needs_sync(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_option(w, "synchronous_mode", tree_bool(true));
	(void)snprintf(w->view->sync_leader, NAME_SIZE, "a");
	w->view->has_sync = 1;
	w_leader(w, "");
	w_tick(w);
	assert_null(strstr(w->order, "acquire"));
	w->view->nsync_standby = 1;
	w->view->sync_standby = calloc(1, NAME_SIZE);
	(void)snprintf(w->view->sync_standby[0], NAME_SIZE, "B");
	w->hold_job[JOB_PROMOTE] = true;
	w_wake(w);
	assert_non_null(strstr(w->order, "acquire"));
	/* /sync names us before the promotion is ordered */
	assert_non_null(strstr(w->order, "sync promote"));
	w_free(w);
}

static void
test_promotion_postponed(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_option(w, "synchronous_mode", tree_bool(true));
	(void)snprintf(w->view->sync_leader, NAME_SIZE, "b");
	w->view->has_sync = 1;
	w_leader(w, "");
	w->op_set[OP_SET_SYNC] = true;
	w->op_outcome[OP_SET_SYNC] = OUTCOME_REFUSED;
	w_tick(w);
	assert_string_equal(w->result,
	    "Postponing promotion because "
	    "synchronous replication state was updated by somebody else");
	assert_null(strstr(w->order, "promote"));
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resolver_table),
		cmocka_unit_test(test_ssn_build),
		cmocka_unit_test(test_ssn_parse),
		cmocka_unit_test(test_priority_order),
		cmocka_unit_test(test_priority_leaves),
		cmocka_unit_test(test_strict),
		cmocka_unit_test(test_conflict_ends),
		cmocka_unit_test(test_race_needs_sync),
		cmocka_unit_test(test_promotion_postponed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
