/*
 * test_ha_member.c: what a node publishes and writes (spec/ha.md 7.5, 7.6,
 * 3.4 rows 3-5), who may create or clone (10.1), and the tags (19).
 */
#include "ha_driver.h"

/* ---- the leader's repairs (rows 3, 4, 5) ---- */

static void
test_wiped_store(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w->conf.dynamic = w->view->config;
	ha_free(w->h);
	w_attach(w, ROLE_PRIMARY);
	w->conf.dynamic = NULL;
	w->view->nmembers = 0;
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w->view->has_config = 0;
	w->view->config_modify = 0;
	w_tick(w);
	w_follows(w->order, "touch initialize config", "update");
	assert_string_equal(w->view->initialize, SYSID);
	w_free(w);
}

/* Whoever does not hold the lock repairs nothing. */
static void
test_wiped_store_standby(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_tick(w);
	w->view->has_initialize = w->view->initialize_valid = 0;
	w->view->initialize[0] = '\0';
	w->view->has_config = 0;
	w->view->config_modify = 0;
	w_tick(w);
	assert_null(strstr(w->order, "initialize"));
	assert_null(strstr(w->order, "config"));
	w_free(w);
}

/* ---- member data (7.6) ---- */

static void
test_touch_primary(void **state)
{
	struct world *w = w_primary("a");
	const struct msg_dcs_touch *t = &w->op[OP_TOUCH].dcs.u.touch;

	(void)state;
	w->pg.pending_restart = true;
	w_tick(w);
	assert_int_equal(t->role, ROLE_PRIMARY);
	assert_int_equal(t->state, STATE_RUNNING);
	assert_int_equal(t->has_lsn, 1);
	assert_int_equal(t->xlog_location, 1000);
	assert_int_equal(t->timeline, 1);
	assert_int_equal(t->receive_lsn, 0);
	assert_int_equal(t->pending_restart, 1);
	assert_int_equal(t->pause, 0);
	assert_int_equal(t->checkpoint_pending, 0);
	w_free(w);
}

static void
test_touch_standby(void **state)
{
	struct world *w = w_standby("b", "a");
	const struct msg_dcs_touch *t = &w->op[OP_TOUCH].dcs.u.touch;

	(void)state;
	w->pg.receive_lsn = 1000;
	w->pg.replay_lsn = 990;
	(void)snprintf(w->pg.replication_state, WORD_SIZE, "streaming");
	w_tick(w);
	assert_int_equal(t->role, ROLE_REPLICA);
	assert_int_equal(t->receive_lsn, 1000);
	assert_int_equal(t->replay_lsn, 990);
	assert_string_equal(t->replication_state, "streaming");
	/* nothing is known: nothing is claimed */
	w->pg.query_ok = false;
	w_tick(w);
	assert_int_equal(t->has_lsn, 0);
	w_free(w);
}

/* A failed query costs the status, not the lock. */
static void
test_update_without_status(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	assert_int_equal(w->op[OP_UPDATE].dcs.u.update.with_status, 1);
	assert_int_equal(w->op[OP_UPDATE].dcs.u.update.optime, 1000);
	w->pg.query_ok = false;
	w_tick(w);
	assert_int_equal(w->op[OP_UPDATE].dcs.u.update.with_status, 0);
	assert_string_equal(w->rule, "leader.no-action");
	w_free(w);
}

/* ---- an empty data directory (10.1) ---- */

static struct world *
empty(bool new_cluster)
{
	struct world *w = w_new("b");

	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_EMPTY;
	w->pg.sysid[0] = '\0';
	if (new_cluster) {
		w->view->has_initialize = w->view->initialize_valid = 0;
		w->view->initialize[0] = '\0';
	}
	w->hold_job[JOB_BOOTSTRAP] = w->hold_job[JOB_CLONE] = true;
	return w;
}

static void
said(struct world *w, const char *text)
{
	w_attach(w, ROLE_UNINITIALIZED);
	assert_string_equal(w->result, text);
	w_free(w);
}

static void
test_who_creates(void **state)
{
	struct world *w;

	(void)state;
	said(empty(true), "trying to bootstrap a new cluster");
	w = empty(true);
	w->conf.tags.nofailover = true;
	said(w, "waiting for leader to bootstrap");
	w = empty(true);
	w->conf.has_bootstrap = false;
	said(w, "waiting for leader to bootstrap");
	said(empty(false), "waiting for leader to bootstrap");
}

static void
test_whom_to_clone(void **state)
{
	struct world *w;

	(void)state;
	w = empty(false);
	w->conf.can_clone_without_leader = true;
	said(w, "trying to bootstrap (without leader)");
	w = empty(true); /* another one is at it: its key is empty */
	w->view->has_initialize = 1;
	w->conf.can_clone_without_leader = true;
	said(w, "waiting for leader to bootstrap");
	w = empty(false);
	w_member(w, "a", "primary", "running");
	w_member(w, "c", "replica", "running");
	w_leader(w, "a");
	said(w, "trying to bootstrap from leader 'a'");
	w = empty(false);
	w_member(w, "a", "primary", "running");
	w_member(w, "c", "replica", "running");
	w->view->members[1].tags.clonefrom = true;
	w_leader(w, "a");
	said(w, "trying to bootstrap from replica 'c'");
	w = empty(false); /* what is past the leader's timeline has diverged */
	w_member(w, "a", "primary", "running");
	w_member(w, "c", "replica", "running");
	w->view->members[0].timeline = 3;
	w->view->members[1].timeline = 4;
	w->view->members[1].tags.clonefrom = true;
	w_leader(w, "a");
	said(w, "trying to bootstrap from leader 'a'");
	w = empty(false); /* others count on what a synchronous one has */
	w_option(w, "synchronous_mode", tree_text("quorum"));
	w_member(w, "a", "primary", "running");
	w_member(w, "c", "replica", "running");
	w->view->members[1].tags.clonefrom = true;
	w->view->has_sync = 1;
	(void)snprintf(w->view->sync_leader, NAME_SIZE, "a");
	w_sync(w, "b");
	w_leader(w, "a");
	said(w, "trying to bootstrap from leader 'a'");
	w = empty(false); /* a source has to run */
	w_member(w, "a", "primary", "running");
	w_member(w, "c", "replica", "stopped");
	w->view->members[1].tags.clonefrom = true;
	w_leader(w, "a");
	said(w, "trying to bootstrap from leader 'a'");
}

/* ---- data that do not fit (rows 12, 13) ---- */

static void
test_data_gone_under_leader(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	w->pg.datadir = DATADIR_UNREADABLE;
	(void)snprintf(w->pg.datadir_error, TEXT_SIZE, "Input/output error");
	w_tick(w);
	w_follows(w->order, "stop", "release");
	assert_non_null(strstr(w->log,
	    "released leader key voluntarily as "
	    "data dir not accessible and currently leader"));
	w_free(w);
}

static void
test_data_unreadable(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_tick(w);
	w_postgres(w, false, false);
	w->pg.datadir = DATADIR_UNREADABLE;
	(void)snprintf(w->pg.datadir_error, TEXT_SIZE, "Input/output error");
	w_tick(w);
	assert_string_equal(
	    w->result, "data directory is not accessible: Input/output error");
	w_free(w);
}

static void
test_sysid_invalid(void **state)
{
	struct world *w = w_standby("b", "a");

	(void)state;
	w_tick(w);
	w_postgres(w, false, false);
	w->pg.sysid[0] = '\0';
	w_tick(w);
	assert_string_equal(w->result,
	    "data dir for the cluster is not "
	    "empty, but system ID is invalid; consider doing reinitialize");
	w_free(w);
}

/* A primary that lost its lock too cannot take it again, so it stops. */
static void
test_sysid_invalid_without_lock(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w_tick(w);
	assert_true(w->h->s.wd_fence_armed);
	w->pg.sysid[0] = '\0';
	w_tick(w); /* with the lock it goes on */
	assert_null(strstr(w->order, "stop"));
	w_leader(w, "");
	w_tick(w);
	assert_non_null(strstr(w->order, "stop"));
	assert_string_equal(w->rule, "sysid.invalid");
	w_free(w);
	/* met running, and never led: nobody would fence it */
	w = w_primary("a");
	ha_free(w->h);
	w_leader(w, "");
	w->pg.sysid[0] = '\0';
	w_clear(w);
	w_attach(w, ROLE_PRIMARY);
	w_tick(w);
	assert_null(strstr(w->order, "stop"));
	assert_string_equal(w->rule, "sysid.invalid");
	w_free(w);
	/* in pause it is people's business */
	w = w_primary("a");
	w_tick(w);
	w->pg.sysid[0] = '\0';
	w_leader(w, "");
	w_option(w, "pause", tree_bool(true));
	w_tick(w);
	assert_null(strstr(w->order, "stop"));
	w_free(w);
}

/* ---- tags in the race (19) ---- */

static void
test_nofailover_primary_keeps_lock(void **state)
{
	struct world *w = w_primary("a");

	(void)state;
	w->conf.tags.nofailover = true;
	ha_free(w->h);
	w_attach(w, ROLE_PRIMARY);
	w_leader(w, "");
	w_tick(w);
	assert_string_equal(w->result, "acquired session lock as a leader");
	w_free(w);
}

static void
test_nofailover_peer_not_asked(void **state)
{
	struct world *w = w_standby("b", "a");
	uint32_t i;

	(void)state;
	w_member(w, "c", "replica", "running");
	w->view->members[2].tags.nofailover = true;
	w->hold_job[JOB_PROMOTE] = true;
	w_leader(w, "");
	w_tick(w);
	for (i = 0; i < w->nasked; i++)
		assert_string_not_equal(w->asked[i].name, "c");
	assert_string_equal(w->rule, "race.won");
	w_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wiped_store),
		cmocka_unit_test(test_wiped_store_standby),
		cmocka_unit_test(test_touch_primary),
		cmocka_unit_test(test_touch_standby),
		cmocka_unit_test(test_update_without_status),
		cmocka_unit_test(test_who_creates),
		cmocka_unit_test(test_whom_to_clone),
		cmocka_unit_test(test_data_gone_under_leader),
		cmocka_unit_test(test_data_unreadable),
		cmocka_unit_test(test_sysid_invalid),
		cmocka_unit_test(test_sysid_invalid_without_lock),
		cmocka_unit_test(test_nofailover_primary_keeps_lock),
		cmocka_unit_test(test_nofailover_peer_not_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
