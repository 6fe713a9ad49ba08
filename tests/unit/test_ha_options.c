/*
 * test_ha_options.c: the dynamic document as the HA core reads it: defaults,
 * older names, values that are none (spec/config.md 6.1).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "helpers/ha/ha_int.h"
#include "helpers/json.h"

static struct options
options(const char *text)
{
	char why[128];
	struct tree *t = tree_from_json(text, strlen(text), why, sizeof why);
	struct options o;

	assert_non_null(t);
	options_read(t, &o);
	tree_free(t);
	return o;
}

static void
test_defaults(void **state)
{
	struct options o = options("{}");

	(void)state;
	assert_int_equal(o.maximum_lag, 1048576);
	assert_int_equal(o.maximum_lag_on_syncnode, -1);
	assert_int_equal(o.max_timelines_history, 0);
	assert_int_equal(o.primary_start_timeout, 300);
	assert_int_equal(o.primary_stop_timeout, 0);
	assert_int_equal(o.race_backoff, 0);
	assert_int_equal(o.sync_node_count, 1);
	assert_int_equal(o.member_slots_ttl, 1800);
	assert_false(o.pause || o.failsafe || o.check_timeline ||
	    o.sync_strict || o.standby_cluster);
	assert_int_equal(o.sync_mode, SYNC_OFF);
}

static void
test_values(void **state)
{
	struct options o = options(
	    "{\"max_timelines_history\":5,\"maximum_lag_on_syncnode\":7,"
	    "\"primary_race_backoff\":3,\"member_slots_ttl\":\"30min\","
	    "\"check_timeline\":\"yes\",\"failsafe_mode\":1,\"pause\":\"on\","
	    "\"synchronous_mode\":\"Quorum\",\"synchronous_mode_strict\":true,"
	    "\"synchronous_node_count\":0}");

	(void)state;
	assert_int_equal(o.max_timelines_history, 5);
	assert_int_equal(o.maximum_lag_on_syncnode, 7);
	assert_int_equal(o.race_backoff, 3);
	assert_int_equal(o.member_slots_ttl, 1800);
	assert_true(o.check_timeline && o.failsafe && o.pause);
	assert_int_equal(o.sync_mode, SYNC_QUORUM);
	assert_int_equal(o.sync_node_count, 1);
	/* a text that is no boolean is false */
	o = options("{\"pause\":\"maybe\",\"synchronous_mode\":\"t\"}");
	assert_false(o.pause);
	assert_int_equal(o.sync_mode, SYNC_OFF);
}

/* The new name counts as soon as it is there, even with a bad value. */
static void
test_older_names(void **state)
{
	struct options o =
	    options("{\"master_start_timeout\":11,\"master_stop_timeout\":12}");

	(void)state;
	assert_int_equal(o.primary_start_timeout, 11);
	assert_int_equal(o.primary_stop_timeout, 12);
	o = options("{\"master_start_timeout\":11,\"primary_start_timeout\":13,"
		    "\"master_stop_timeout\":12,\"primary_stop_timeout\":14}");
	assert_int_equal(o.primary_start_timeout, 13);
	assert_int_equal(o.primary_stop_timeout, 14);
	o = options("{\"master_start_timeout\":11,"
		    "\"primary_start_timeout\":\"soon\"}");
	assert_int_equal(o.primary_start_timeout, 300);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_older_names) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
