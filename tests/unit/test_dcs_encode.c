/*
 * test_dcs_encode.c: the documents that this node writes, to the byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../dcs/encode.h"

static void
expect(char *got, const char *want)
{
	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
}

static void
test_member(void **state)
{
	struct msg_dcs_touch m = { .state = STATE_RUNNING,
		.role = ROLE_REPLICA,
		.has_lsn = 1,
		.xlog_location = 67108960,
		.replay_lsn = 67108960,
		.receive_lsn = 67108960,
		.timeline = 2 };
	struct tree *doc = tree_map(), *tags = tree_map();

	(void)state;
	text_set(m.conn_url, URL_SIZE, "postgres://10.0.0.2:5432/postgres");
	text_set(m.api_url, URL_SIZE, "http://10.0.0.2:8008/patroni");
	text_set(m.replication_state, WORD_SIZE, "streaming");
	expect(encode_member(&m, NULL),
	    "{\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"api_url\":"
	    "\"http://10.0.0.2:8008/patroni\",\"state\":\"running\",\"role\":"
	    "\"replica\",\"version\":\"4.1.4\",\"xlog_location\":67108960,"
	    "\"replay_lsn\":67108960,\"receive_lsn\":67108960,"
	    "\"replication_state\":\"streaming\",\"timeline\":2}");
	memset(&m, 0, sizeof(m));
	m.state = STATE_STOPPED;
	m.role = ROLE_DEMOTED;
	m.pause = m.checkpoint_pending = m.pending_restart = 1;
	tree_set(tags, "n\xc3\xa4", tree_bool(true));
	tree_set(doc, "tags", tags);
	tree_set(doc, "scheduled_restart", tree_map());
	expect(encode_member(&m, doc),
	    "{\"conn_url\":\"\",\"api_url\":\"\",\"state\":\"stopped\",\"role\":"
	    "\"demoted\",\"version\":\"4.1.4\",\"checkpoint_after_promote\":"
	    "false,\"tags\":{\"n\\u00E4\":true},\"pending_restart\":true,"
	    "\"pause\":true}");
	tree_free(doc);
}

static void
test_status(void **state)
{
	struct tree *doc = tree_map(), *slots = tree_map();
	struct view *v = view_new();

	(void)state;
	expect(encode_status(5, NULL, NULL), "{\"optime\":5}");
	v->nslots = 1;
	v->slots = calloc(1, sizeof(*v->slots));
	text_set(v->slots[0].name, NAME_SIZE, "a");
	v->slots[0].lsn = 9;
	v->nretain = 1;
	v->retain_slots = calloc(1, sizeof(*v->retain_slots));
	text_set(v->retain_slots[0], NAME_SIZE, "a");
	/* not supplied: carried over; null: dropped */
	expect(encode_status(5, NULL, v),
	    "{\"optime\":5,\"slots\":{\"a\":9},"
	    "\"retain_slots\":[\"a\"]}");
	tree_set(doc, "retain_slots", tree_null());
	tree_set(slots, "b", tree_int(3));
	tree_set(doc, "slots", slots);
	expect(encode_status(5, doc, v), "{\"optime\":5,\"slots\":{\"b\":3}}");
	tree_free(doc);
	view_free(v);
}

static void
test_others(void **state)
{
	struct msg_dcs_failover f = { .leader = "a", .member = "b" };
	struct msg_dcs_failover none = { .leader = "" };
	struct tree *voters = tree_list();

	(void)state;
	expect(encode_sync("a", 0, NULL),
	    "{\"leader\":\"a\",\"quorum\":0,\"sync_standby\":null}");
	tree_append(voters, tree_text("c"));
	tree_append(voters, tree_text("b"));
	expect(encode_sync("a", 1, voters),
	    "{\"leader\":\"a\",\"quorum\":1,\"sync_standby\":\"b,c\"}");
	tree_free(voters);
	expect(encode_failover(&f), "{\"leader\":\"a\",\"member\":\"b\"}");
	expect(encode_failover(&none), "{}");
}

static bool
same(const char *a, const char *b)
{
	return documents_equal(a, strlen(a), b, strlen(b));
}

static void
test_equal(void **state)
{
	(void)state;
	assert_true(same("{\"a\":2,\"b\":{}}", "{\"b\":{}, \"a\":\"2\"}"));
	assert_false(same("{\"a\":2}", "{\"a\":3}"));
	assert_false(same("{\"a\":null}", "{}"));
	assert_true(same("{\"a\":1,\"retain_slots\":[]}", "{\"a\":1}"));
	assert_false(same("{", "{}"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_member),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
