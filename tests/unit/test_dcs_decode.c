/*
 * test_dcs_decode.c: documents of the store -> view (spec/dcs.md 2, 3).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../dcs/decode.h"
#include "../../dcs/etcd3_proto.h"
#include "../../dcs/json.h"
#include "../../dcs/peers.h"

static struct view *
one(enum dcs_key key, const char *member, const char *value)
{
	struct dcs_kv kv = { .key = key,
		.member = member,
		.value = value,
		.len = strlen(value),
		.token = 7,
		.modify = 7 };
	char err[TEXT_SIZE];

	return decode_view(&kv, 1, err, sizeof(err));
}

static void
test_keys(void **state)
{
	enum dcs_key k;
	const char *m;

	(void)state;
	assert_true(dcs_key_parse("members/a", &k, &m));
	assert_int_equal(k, DCS_KEY_MEMBER);
	assert_string_equal(m, "a");
	assert_false(dcs_key_parse("members/", &k, &m));
	assert_false(dcs_key_parse("members/a/b", &k, &m));
	assert_false(dcs_key_parse("leaders", &k, &m));
	assert_true(dcs_key_parse("optime/leader", &k, &m));
	assert_int_equal(k, DCS_KEY_OPTIME);
}

static void
test_member(void **state)
{
	struct view *v = one(DCS_KEY_MEMBER, "n1",
	    "{\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"api_url\":"
	    "\"http://10.0.0.2:8008/patroni\",\"state\":\"running\",\"role\":"
	    "\"replica\",\"version\":\"4.1.4\",\"xlog_location\":67108960,"
	    "\"replay_lsn\":\"67108961\",\"timeline\":2,\"tags\":{\"nofailover"
	    "\":true,\"x\":1},\"pause\":true,\"unknown\":[1]}");
	const struct view_member *m;

	(void)state;
	assert_int_equal(v->nmembers, 1);
	m = view_member(v, "n1");
	assert_non_null(m);
	assert_string_equal(m->role, "replica");
	assert_true(m->has_data && m->has_xlog_location && m->pause);
	assert_int_equal(m->xlog_location, 67108960);
	assert_int_equal(m->replay_lsn, 67108961);
	assert_int_equal(m->timeline, 2);
	assert_int_equal(m->tags.nofailover, 1);
	assert_int_equal(m->token, 7);
	view_free(v);
}

static void
test_member_shapes(void **state)
{
	char big[2 * URL_SIZE];
	struct view *v;

	(void)state;
	v = one(DCS_KEY_MEMBER, "n", "not json");
	assert_int_equal(v->nmembers, 1);
	assert_false(v->members[0].has_data);
	assert_string_equal(v->members[0].state, "unknown");
	view_free(v);
	v = one(DCS_KEY_MEMBER, "n",
	    "postgres://u:p@h:5432/db?x=1&"
	    "application_name=http%3A//h:8008/patroni");
	assert_string_equal(v->members[0].conn_url, "postgres://u:p@h:5432/db");
	assert_string_equal(v->members[0].api_url, "http://h:8008/patroni");
	view_free(v);
	/* never cut: the member is left out */
	snprintf(
	    big, sizeof(big), "{\"api_url\":\"http://%0*d/\"}", URL_SIZE, 1);
	v = one(DCS_KEY_MEMBER, "n", big);
	assert_int_equal(v->nmembers, 0);
	view_free(v);
	v = one(DCS_KEY_MEMBER, "n",
	    "{\"role\":\"primary\",\"version\":\"4.0.1\"}");
	assert_int_equal(v->members[0].checkpoint_after_promote, CAP_DONE);
	view_free(v);
	v = one(DCS_KEY_MEMBER, "n",
	    "{\"role\":\"primary\",\"version\":"
	    "\"4.0.1\",\"checkpoint_after_promote\":false}");
	assert_int_equal(v->members[0].checkpoint_after_promote, CAP_PENDING);
	view_free(v);
	v = one(DCS_KEY_MEMBER, "n",
	    "{\"role\":\"primary\",\"version\":\"1.5.6\"}");
	assert_int_equal(v->members[0].checkpoint_after_promote, CAP_UNKNOWN);
	view_free(v);
}

static void
test_leader(void **state)
{
	char name[NAME_SIZE + 1];
	struct view *v = one(DCS_KEY_LEADER, NULL, "a");

	(void)state;
	assert_string_equal(v->leader, "a");
	assert_false(view_unlocked(v));
	view_free(v);
	v = one(DCS_KEY_LEADER, NULL, "");
	assert_true(v->has_leader && view_unlocked(v));
	view_free(v);
	memset(name, 'x', NAME_SIZE);
	name[NAME_SIZE] = '\0';
	assert_null(one(DCS_KEY_LEADER, NULL, name)); /* never "unlocked" */
}

static void
test_status(void **state)
{
	struct view *v = one(DCS_KEY_STATUS, NULL,
	    "{\"optime\":\"0x10\","
	    "\"slots\":\"{\\\"a\\\":5,\\\"b\\\":\\\"x\\\"}\","
	    "\"retain_slots\":[\"a\",3]}");

	(void)state;
	assert_int_equal(v->optime, 16);
	assert_true(v->slots_known);
	assert_int_equal(v->nslots, 2);
	assert_int_equal(v->slots[0].lsn, 5);
	assert_int_equal(v->slots[1].lsn, 0);
	assert_int_equal(v->nretain, 1);
	view_free(v);
	v = one(DCS_KEY_STATUS, NULL, "12345");
	assert_int_equal(v->optime, 12345);
	assert_false(v->slots_known);
	view_free(v);
	v = one(DCS_KEY_OPTIME, NULL, "77");
	assert_int_equal(v->optime, 77);
	view_free(v);
}

static void
test_sync(void **state)
{
	struct view *v = one(DCS_KEY_SYNC, NULL,
	    "{\"leader\":\"a\","
	    "\"quorum\":1,\"sync_standby\":\" b, ,c\"}");

	(void)state;
	assert_string_equal(v->sync_leader, "a");
	assert_int_equal(v->sync_quorum, 1);
	assert_int_equal(v->nsync_standby, 2);
	assert_string_equal(v->sync_standby[1], "c");
	view_free(v);
	v = one(DCS_KEY_SYNC, NULL,
	    "{\"leader\":\"a\",\"quorum\":\"many\","
	    "\"sync_standby\":\"b\"}");
	assert_true(v->has_sync);
	assert_string_equal(v->sync_leader, "");
	assert_int_equal(v->nsync_standby, 0);
	view_free(v);
	v = one(DCS_KEY_SYNC, NULL, "{\"leader\":null,\"quorum\":3}");
	assert_int_equal(v->sync_quorum, 0);
	view_free(v);
}

static void
test_failover(void **state)
{
	struct view *v = one(DCS_KEY_FAILOVER, NULL,
	    "{\"leader\":\"a\","
	    "\"member\":\"b\",\"scheduled_at\":\"1970-01-01T01:00:01.5+01:00\"}");

	(void)state;
	assert_string_equal(v->failover_leader, "a");
	assert_true(v->failover_scheduled && !v->failover_schedule_bad);
	assert_int_equal(v->failover_at_us, 1500000);
	view_free(v);
	v = one(DCS_KEY_FAILOVER, NULL,
	    "{\"member\":\"b\",\"scheduled_at\":"
	    "\"2030-01-01T00:00:00\"}");
	assert_true(v->failover_schedule_bad);
	view_free(v);
	v = one(DCS_KEY_FAILOVER, NULL,
	    "{\"member\":\"b\",\"scheduled_at\":"
	    "\"soon\"}");
	assert_true(v->failover_scheduled && v->failover_schedule_bad);
	view_free(v);
	v = one(DCS_KEY_FAILOVER, NULL, " a : b ");
	assert_string_equal(v->failover_leader, "a");
	assert_string_equal(v->failover_member, "b");
	view_free(v);
	v = one(DCS_KEY_FAILOVER, NULL, "[1]");
	assert_true(v->has_failover);
	assert_string_equal(v->failover_leader, "");
	view_free(v);
}

static void
test_others(void **state)
{
	struct view *v = one(DCS_KEY_HISTORY, NULL,
	    "[[1,10,\"r\"],"
	    "[2,20,\"r\",\"t\",\"n\"]]");

	(void)state;
	assert_int_equal(v->timeline, 3);
	assert_int_equal(v->history[0].elements, 3);
	assert_string_equal(v->history[1].new_leader, "n");
	view_free(v);
	v = one(DCS_KEY_HISTORY, NULL, "[]");
	assert_int_equal(v->timeline, 1);
	view_free(v);
	v = one(DCS_KEY_HISTORY, NULL, "{}");
	assert_int_equal(v->timeline, 0);
	view_free(v);
	v = one(DCS_KEY_FAILSAFE, NULL, "{\"a\":\"http://x\"}");
	assert_true(v->has_failsafe && v->failsafe_object);
	assert_string_equal(v->failsafe[0].api_url, "http://x");
	view_free(v);
	v = one(DCS_KEY_FAILSAFE, NULL, "{");
	assert_false(v->has_failsafe);
	view_free(v);
	v = one(DCS_KEY_CONFIG, NULL, "[]");
	assert_int_equal(v->config_modify, 0);
	assert_int_equal(tree_count(v->config), 0);
	view_free(v);
	v = one(DCS_KEY_INITIALIZE, NULL, "123");
	assert_true(v->has_initialize && !v->initialize_valid);
	view_free(v);
}

static void
test_peer(void **state)
{
	static const char replica[] =
	    "{\"role\":\"replica\",\"xlog\":{"
	    "\"received_location\":5,\"replayed_location\":9},\"timeline\":3,"
	    "\"tags\":{\"nofailover\":true}}";
	static const char primary[] =
	    "{\"role\":\"master\",\"wal\":{},"
	    "\"xlog\":{\"location\":5},\"watchdog_failed\":true}";
	static const char null[] = "{\"xlog\":{\"location\":null}}";
	struct peer_status p = { 0 };
	char url[URL_SIZE];

	(void)state;
	assert_null(peer_parse(replica, sizeof(replica) - 1, &p));
	assert_true(p.reachable && !p.runs_as_primary);
	assert_int_equal(p.position, 9);
	assert_int_equal(p.timeline, 3);
	assert_int_equal(p.tags.nofailover, 1);
	memset(&p, 0, sizeof(p));
	assert_null(peer_parse(primary, sizeof(primary) - 1, &p));
	assert_true(p.runs_as_primary && p.watchdog_failed);
	assert_int_equal(p.position, 0);
	memset(&p, 0, sizeof(p));
	assert_non_null(peer_parse(null, sizeof(null) - 1, &p));
	assert_non_null(peer_parse("{}", 2, &p));
	assert_non_null(peer_parse("<html>", 6, &p));
	assert_false(p.reachable);
	assert_true(peer_url(
	    "https://[::1]:8008/patroni", "/failsafe", url, sizeof(url)));
	assert_string_equal(url, "https://[::1]:8008/failsafe");
	assert_false(peer_url("h:8008", "/failsafe", url, sizeof(url)));
}

static bool
count(const json_t *j, void *arg)
{
	(void)j;
	++*(int *)arg;
	return true;
}

static void
test_proto(void **state)
{
	static const char text[] = "{\"a\":\"}{\\\"\"}\n{}{\"b\":[{}]}";
	struct etcd_stream s = { 0 };
	size_t i, len;
	char *e, *d;
	int n = 0;

	(void)state;
	for (i = 0; i < sizeof(text) - 1; i++) /* in the smallest chunks */
		assert_true(etcd_stream_feed(&s, text + i, 1, count, &n));
	assert_int_equal(n, 3);
	assert_int_equal(s.len, 0);
	assert_true(etcd_stream_feed(&s, text, sizeof(text) - 1, count, &n));
	assert_int_equal(n, 6);
	assert_false(etcd_stream_feed(&s, "x", 1, count, &n));
	etcd_stream_reset(&s);
	for (i = 0; i < 6; i++) {
		e = base64_encode("\0bc\xff\x01z", i);
		d = base64_decode(e, &len);
		assert_int_equal(len, i);
		assert_memory_equal(d, "\0bc\xff\x01z", i);
		free(e);
		free(d);
	}
	for (i = 0; i < 4; i++) { /* beside it: comparing of secrets */
		char other[4] = "abc";

		assert_true(secret_equal("abc", other, 4));
		other[i] ^= 0x40;
		assert_false(secret_equal("abc", other, 4));
		assert_true(secret_equal("abc", other, i));
	}
	assert_null(base64_decode("a", &len));
	assert_null(base64_decode("ab*=", &len));
}

static void
test_integers(void **state)
{
	int64_t n;

	(void)state;
	assert_true(text_lenient_int("+5", &n) && n == 5);
	assert_true(text_lenient_int("0x1F", &n) && n == 31);
	assert_true(text_lenient_int("010", &n) && n == 8);
	assert_true(text_lenient_int("1.6", &n) && n == 2);
	assert_false(text_lenient_int("", &n));
	assert_false(text_lenient_int("5x", &n));
	assert_false(text_lenient_int("nan", &n));
	assert_false(text_lenient_int("1e300", &n));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_member),
		cmocka_unit_test(test_member_shapes),
		cmocka_unit_test(test_leader),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_sync),
		cmocka_unit_test(test_failover),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_proto),
		cmocka_unit_test(test_integers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
