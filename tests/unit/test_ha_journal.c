/*
 * test_ha_journal.c: the decision journal (design 13): inputs, reasons and
 * effects of each decision; and the table of rule ids against the code.
 */
#include <ctype.h>
#include <dirent.h>

#include "ha_driver.h"

#define SOURCES "helpers/ha" /* tests run in the project's root */

static void
test_leader(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w_tick(w);
	assert_string_equal(w->effects, "update lock");
	assert_string_equal(w->reasons, "");
	assert_string_equal(w->inputs,
	    "role=primary state=running leader=a "
	    "lease=30.0 lsn=0/3E8 timeline=1 optime=0/0 cluster_timeline=0 "
	    "members=1 action=-");
	w_free(w);
}

/* Why did it not fail over? */
static void
test_not_healthiest(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_member(w, "c", "replica", "running");
	w_peer(w, "c", 1001);
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(w->rule, "race.unhealthy");
	assert_non_null(strstr(w->reasons,
	    "a did not answer; "
	    "c answered: position 0/3E9, timeline 1; "
	    "Wal position of c is ahead of my wal position"));
	assert_null(strstr(w->effects, "acquire"));
	w_free(w);
}

static void
test_lagging(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->view->optime = 1000 + 1048576 + 1;
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(
	    w->reasons, "My wal position exceeds maximum replication lag");
	w->view->optime--;
	w_tick(w);
	assert_null(strstr(w->reasons, "exceeds"));
	w_free(w);
}

/* Why did it fail over? */
static void
test_won(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w->hold_job[JOB_PROMOTE] = true;
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(w->rule, "race.won");
	assert_string_equal(w->reasons, "a did not answer");
	assert_string_equal(w->effects, "acquire lock, promote");
	w_free(w);
}

static void
test_demoted(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->load_outcome = OUTCOME_FAILED;
	w->hold_job[JOB_FOLLOW] = true;
	w_tick(w);
	assert_string_equal(w->rule, "dcs.demote");
	assert_non_null(strstr(w->reasons,
	    "Error communicating with DCS; "
	    "demoting self because DCS is not accessible and I was a leader; "
	    "Demoting self (offline)"));
	assert_string_equal(w->effects, "stop, role demoted, follow");
	w_free(w);
}

/* What an action did between two cycles stands in the next entry. */
static void
test_between_cycles(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_member(w, "b", "replica", "running");
	w_peer(w, "b", 1000);
	w_tick(w);
	w->hold_job[JOB_STOP] = w->hold_job[JOB_FOLLOW] = true;
	w->hold_delay = true;
	w->view->has_failover = 1;
	(void)snprintf(w->view->failover_leader, NAME_SIZE, "a");
	w_tick(w);
	assert_non_null(strstr(w->effects, "stop"));
	w_job_progress(w, JOB_STOP, PROGRESS_SHUT_DOWN);
	w_postgres(w, false, false);
	w_job_done(w, JOB_STOP, JOB_OK);
	w_leader(w, "b");
	w_tick(w);
	assert_non_null(strstr(w->reasons, "b answered"));
	assert_non_null(strstr(w->reasons, "Leader key released"));
	assert_int_equal(
	    strncmp(w->effects, "release lock, role demoted", 26), 0);
	w_tick(w); /* told once */
	assert_null(strstr(w->effects, "release"));
	w_free(w);
}

/* However much there is to tell: whole parts, and a mark at the end. */
static void
test_bounded(void **state)
{
	struct world *w = w_standby("b", "a");
	char name[16];
	size_t n;
	int i;

	(void)state;
	for (i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "m%d", i);
		w_member(w, name, "replica", "running");
	}
	w->hold_job[JOB_PROMOTE] = true;
	w_leader(w, "");
	w_tick(w);
	n = strlen(w->reasons);
	assert_in_range(n, 400, HA_REASONS - 1);
	assert_string_equal(w->reasons + n - 4, " ...");
	assert_null(strstr(w->reasons, "answ ..."));
	w_free(w);
}

/* ---- the table of rule ids ---- */

static void
test_table(void **state)
{
	const struct ha_rule *r;
	uint32_t i;

	(void)state;
	for (i = 0; (r = ha_rule(i)) != NULL; i++) {
		if (i > 0 && strcmp(ha_rule(i - 1)->id, r->id) >= 0)
			fail_msg("%s is out of order or there twice", r->id);
		if (strlen(r->id) >= WORD_SIZE || strlen(r->text) < 5 ||
		    !isdigit((unsigned char)r->section[0]))
			fail_msg("%s is not described", r->id);
		assert_ptr_equal(ha_rule_find(r->id), r);
	}
	assert_true(i > 100);
	assert_null(ha_rule_find("no.such-rule"));
	assert_null(ha_rule_find(""));
}

/* A literal of the form word.word-word: a rule id. */
static size_t
id_length(const char *p)
{
	size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789.-");

	if (p[n] != '"' || n == 0 || !islower((unsigned char)p[0]) ||
	    p[n - 1] == '.' || memchr(p, '.', n) == NULL)
		return 0;
	return n;
}

static void
check_source(const char *path, bool *used)
{
	static char text[200000];
	const struct ha_rule *r;
	char id[WORD_SIZE];
	uint32_t i;
	size_t n;
	char *p;
	FILE *f = fopen(path, "r");

	if (f == NULL)
		fail_msg("%s: cannot be read", path);
	n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	text[n] = '\0';
	for (p = text; (p = strchr(p, '"')) != NULL; p++) {
		n = id_length(p + 1);
		if (n == 0 || n >= sizeof(id) || strstr(p, "#include") == p)
			continue;
		memcpy(id, p + 1, n);
		id[n] = '\0';
		if (strcmp(id + n - 2, ".h") == 0 || strstr(id, ".def") != NULL)
			continue;
		r = ha_rule_find(id);
		if (r == NULL)
			fail_msg(
			    "%s: rule %s is not in ha_rules.def", path, id);
		for (i = 0; ha_rule(i) != r; i++)
			;
		used[i] = true;
	}
}

static void
test_code(void **state)
{
	DIR *d = opendir(SOURCES);
	bool used[1024] = { false };
	const struct ha_rule *r;
	struct dirent *e;
	char path[512];
	size_t n;
	uint32_t i;

	(void)state;
	if (d == NULL)
		fail_msg("%s: not in the project's root", SOURCES);
	while ((e = readdir(d)) != NULL) {
		n = strlen(e->d_name);
		if (n < 3 || strcmp(e->d_name + n - 2, ".c") != 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", SOURCES, e->d_name);
		check_source(path, used);
	}
	(void)closedir(d);
	for (i = 0; (r = ha_rule(i)) != NULL && i < 1024; i++)
		if (!used[i] && strchr(r->id, '.') != NULL)
			fail_msg("%s is in ha_rules.def, but not in the code",
			    r->id);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leader),
		cmocka_unit_test(test_not_healthiest),
		cmocka_unit_test(test_lagging),
		cmocka_unit_test(test_won),
		cmocka_unit_test(test_demoted),
		cmocka_unit_test(test_between_cycles),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
