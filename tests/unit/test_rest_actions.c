/*
 * test_rest_actions.c: the whole course of unsafe requests: every check in
 * its order, what is sent to the other helpers, and every answer.
 */
#include "rest_driver.h"

#include "rest/schedule.h"

static void
test_config(void **state)
{
	const char *b;

	(void)state;
	CALL(200, "GET", "/config", NULL, "{\"ttl\": 30, \"a\": {\"b\": 1}}");
	CALL(200, "PATCH", "/config", "{\"ttl\": null, \"a\": {\"c\": \"x\"}}",
	    "{\"a\": {\"b\": 1, \"c\": \"x\"}}");
	assert_string_equal(t.document, "{\"a\":{\"b\":1,\"c\":\"x\"}}");
	assert_int_equal(t.wakes, 1);
	t.document[0] = '\0';
	CALL(200, "PATCH", "/config", "{\"ttl\": \"30\"}",
	    "{\"ttl\": 30, \"a\": {\"b\": 1}}");
	assert_string_equal(t.document, ""); /* no change, no write */
	CALL(200, "PUT", "/config", "{\"x\": 1}", "{\"x\": 1}");
	assert_string_equal(t.document, "{\"x\":1}");
	CODE(411, "PATCH", "/config", NULL);
	CODE(400, "PATCH", "/config", "");
	CODE(400, "PATCH", "/config", "{}");
	CODE(400, "PATCH", "/config", "[1]");
	CODE(400, "PATCH", "/config", "{\"a\": NaN}");
	CODE(400, "PATCH", "/config", "{\"a\": ");
	t.outcome = OUTCOME_REFUSED;
	CODE(409, "PATCH", "/config", "{\"ttl\": 20}");
	CODE(502, "PUT", "/config", "{\"ttl\": 20}");
	t.outcome = OUTCOME_UNKNOWN;
	CODE(503, "PATCH", "/config", "{\"ttl\": 20}");
	t.outcome = OUTCOME_OK;
	t.view->config_modify = 0;
	CODE(503, "PATCH", "/config", "{\"ttl\": 20}");
	CODE(502, "GET", "/config", NULL);
	t.store_down = true;
	assert_int_equal(call("PATCH", "/config", "{\"a\": 1}", &b), 503);
}

static void
test_restart(void **state)
{
	static const char role[] = "PostgreSQL role should be either primary, "
				   "standby_leader, or replica";
	static const char when[] =
	    "Unable to parse scheduled timestamp. It should "
	    "be in an unambiguous format, e.g. ISO 8601";

	(void)state;
	CALL(200, "POST", "/restart", NULL, "done");
	assert_int_equal(t.request.kind, REQUEST_RESTART);
	assert_int_equal(t.request.timeout, -1);
	CALL(200, "POST", "/restart",
	    "{\"role\": \"master\", \"timeout\": \"1min\", "
	    "\"postgres_version\": \"9.6.24\", \"restart_pending\": false}",
	    "done");
	assert_int_equal(t.request.role, ROLE_PRIMARY);
	assert_int_equal(t.request.timeout, 60);
	assert_int_equal(t.request.postgres_version, 90624);
	assert_int_equal(t.request.restart_pending, 1);
	CALL(
	    400, "POST", "/restart", "{\"role\": \"x\", \"timeout\": 0}", role);
	CALL(400, "POST", "/restart", "{\"timeout\": 0, \"role\": \"x\"}",
	    "Timeout should be a positive number of seconds");
	CALL(400, "POST", "/restart", "{\"postgres_version\": \"9.6\"}",
	    "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 9.6");
	CALL(400, "POST", "/restart", "{\"postgres_version\": \"16.x\"}",
	    "Invalid PostgreSQL version: 16.x");
	CALL(400, "POST", "/restart", "{\"y\": 1}",
	    "Unknown filter for the scheduled restart: y");
	CALL(422, "POST", "/restart", "{\"schedule\": null}", when);
	CALL(400, "POST", "/restart", "{\"schedule\": \"2999-01-01 10:00\"}",
	    "Timezone information is mandatory for the scheduled restart");
	CALL(422, "POST", "/restart", "{\"schedule\": \"1999-01-01T10:00Z\"}",
	    "Cannot schedule restart in the past");
	t.request_code = 202;
	CALL(202, "POST", "/restart", "{\"schedule\": \"2999-01-01T10:00Z\"}",
	    "done");
	assert_int_equal(t.request.kind, REQUEST_SCHEDULE_RESTART);
	assert_string_equal(t.request.schedule, "2999-01-01T10:00:00+00:00");
	tree_set(t.view->config, "pause", tree_bool(true));
	CALL(500, "POST", "/restart", "{\"schedule\": \"x\"}",
	    "Can't schedule restart in the paused state");
	CODE(400, "POST", "/restart", "{");
	t.request_code = 404;
	CODE(404, "DELETE", "/restart", NULL);
	assert_int_equal(t.request.kind, REQUEST_CANCEL_RESTART);
	t.nobody_home = true;
	CALL(503, "POST", "/restart", NULL, "postgres is still starting");
}

static void
test_switchover(void **state)
{
	(void)state;
	CALL(400, "POST", "/failover", "{\"leader\": \"n2\"}",
	    "Failover could be performed only to a specific candidate");
	CALL(400, "POST", "/switchover", "{\"candidate\": \"n1\"}",
	    "Switchover could be performed only from a specific leader");
	CALL(400, "POST", "/failover",
	    "{\"candidate\": \"n1\", \"scheduled_at\": "
	    "\"x\"}",
	    "Failover can't be scheduled");
	CALL(400, "POST", "/switchover",
	    "{\"leader\": \"n2\", \"candidate\": "
	    "\"n2\"}",
	    "Switchover target and source are the same");
	CALL(412, "POST", "/switchover", "{\"leader\": \"n1\"}",
	    "leader name does not match");
	CALL(412, "POST", "/switchover",
	    "{\"leader\": \"n2\", \"candidate\": "
	    "\"n9\"}",
	    "candidate does not exists");
	CALL(412, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "switchover is not possible: no good candidates have been found");
	CODE(400, "POST", "/switchover", "{\"leader\": 5}");
	t.reachable = 1;
	t.outcome = OUTCOME_REFUSED;
	CALL(503, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "failed to write failover key into DCS");
	t.outcome = OUTCOME_OK;
	CALL(202, "POST", "/switchover",
	    "{\"leader\": \"n2\", \"scheduled_at\": "
	    "\"2999-01-01T10:00+02\"}",
	    "Switchover scheduled");
	assert_string_equal(
	    t.failover.scheduled_at, "2999-01-01T10:00:00+02:00");
	/* the key is there and empty again: it failed, one round later */
	CALL(503, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "Switchover failed");
	assert_string_equal(t.failover.leader, "n2");
	tree_set(t.view->config, "synchronous_mode", tree_bool(true));
	CALL(412, "POST", "/switchover",
	    "{\"leader\": \"n2\", \"candidate\": "
	    "\"n1\"}",
	    "candidate name does not match with sync_standby");
	CALL(412, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "switchover is not possible: can not find sync_standby");
	tree_set(t.view->config, "pause", tree_bool(true));
	CALL(400, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "Switchover is possible only to a specific candidate in a paused "
	    "state");
	CALL(404, "DELETE", "/switchover", NULL, "no switchover is scheduled");
	t.view->has_failover = t.view->failover_scheduled = 1;
	strcpy(t.view->failover_leader, "n2");
	CALL(
	    200, "DELETE", "/switchover", NULL, "scheduled switchover deleted");
	t.outcome = OUTCOME_REFUSED;
	CODE(409, "DELETE", "/switchover", NULL);
}

static void
other_leads(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	strcpy(t.view->leader, "n1");
}

static void
test_switchover_done(void **state)
{
	static const struct timeval soon = { 0, 200000 };

	(void)state;
	t.reachable = 1;
	t.view->has_failover = 1;
	strcpy(t.view->failover_leader, "n2");
	event_base_once(t.base, -1, EV_TIMEOUT, other_leads, NULL, &soon);
	CALL(200, "POST", "/switchover", "{\"leader\": \"n2\"}",
	    "Successfully switched over to \"n1\"");
}

static void
count_call(void *arg)
{
	(*(int *)arg)++;
}

static void
send_text(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
	event_base_loop(t.base, EVLOOP_NONBLOCK);
}

/* 2.6: nobody new comes in, those who wait for an answer get it. */
static void
test_drain(void **state)
{
	static const struct timeval soon = { 0, 200000 }, most = { 20, 0 };
	static const char post[] = "POST /switchover HTTP/1.1\r\n"
				   "Connection: keep-alive\r\n"
				   "Content-Length: 16\r\n\r\n"
				   "{\"leader\": \"n2\"}";
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(t.port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int idle, half, waiting, late, done = 0;
	char c;

	(void)state;
	t.reachable = 1;
	t.view->has_failover = 1;
	strcpy(t.view->failover_leader, "n2");
	idle = dial();
	half = dial();
	waiting = dial();
	send_text(half, "GET / HT");
	send_text(waiting, post);
	while (t.failover.leader[0] == '\0')
		event_base_loop(t.base, EVLOOP_ONCE);
	httpd_drain(t.rest->http, &most, count_call, &done);
	assert_int_equal(done, 0);
	late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(late, (struct sockaddr *)&a, sizeof(a)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(recv(idle, &c, 1, 0), 0);
	assert_int_equal(recv(half, &c, 1, 0), 0);
	event_base_once(t.base, -1, EV_TIMEOUT, other_leads, NULL, &soon);
	collect(waiting, reply, sizeof(reply), sizeof(reply));
	assert_non_null(strstr(reply, "Successfully switched over to \"n1\""));
	while (done == 0)
		event_base_loop(t.base, EVLOOP_ONCE);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	assert_int_equal(done, 1);
	assert_int_equal(httpd_stats(t.rest->http)->connections, 0);
	close(idle);
	close(half);
	close(waiting);
	close(late);
}

/* Nobody waits for ever: not the daemon for a request, either. */
static void
test_drain_is_bounded(void **state)
{
	static const struct timeval most = { 0, 100000 }, soon = { 0, 1000 };
	int done = 0, fd;

	(void)state;
	/* with nothing to wait for it is over at once, though not inside */
	httpd_drain(t.rest->http, &most, count_call, &done);
	assert_int_equal(done, 0);
	event_base_loop(t.base, EVLOOP_ONCE);
	assert_int_equal(done, 1);
	teardown(NULL);
	setup(NULL);
	t.reachable = 1;
	t.view->has_failover = 1;
	strcpy(t.view->failover_leader, "n2");
	fd = dial();
	send_text(fd,
	    "POST /switchover HTTP/1.0\r\nContent-Length: 16\r\n\r\n"
	    "{\"leader\": \"n2\"}");
	while (t.failover.leader[0] == '\0')
		event_base_loop(t.base, EVLOOP_ONCE);
	httpd_drain(t.rest->http, &most, count_call, &done);
	while (done == 1)
		event_base_loop(t.base, EVLOOP_ONCE);
	assert_int_equal(httpd_stats(t.rest->http)->connections, 1);
	event_base_once(t.base, -1, EV_TIMEOUT, other_leads, NULL, &soon);
	collect(fd, reply, sizeof(reply), sizeof(reply));
	assert_non_null(strstr(reply, "Successfully switched over to \"n1\""));
	close(fd);
}

static void
test_others(void **state)
{
	(void)state;
	strcpy(t.request_text, "Accepted");
	CALL(200, "POST", "/failsafe",
	    "{\"name\": \"n2\", \"conn_url\": \"c\", "
	    "\"api_url\": \"a\", \"slots\": {\"n1\": 5}}",
	    "Accepted");
	assert_non_null(strstr(reply, "\r\nlsn: 4711\r\n"));
	assert_string_equal(t.request.name, "n2");
	CODE(400, "POST", "/failsafe", "{\"name\": \"n2\"}");
	CODE(411, "POST", "/failsafe", NULL);
	t.rest->snap.s.failsafe_mode = 0;
	CODE(502, "POST", "/failsafe", NULL);
	CALL(200, "POST", "/reinitialize", "{\"force\": \"on\"}", "Accepted");
	assert_int_equal(t.request.force, 1);
	assert_int_equal(t.request.from_leader, 0);
	strcpy(t.view->leader, "n1");
	CALL(503, "POST", "/reinitialize", NULL,
	    "I am the leader, can not reinitialize");
	t.view->leader[0] = '\0';
	CALL(503, "POST", "/reinitialize", NULL,
	    "Cluster has no leader, can not reinitialize");
	CALL(202, "POST", "/sigterm", NULL, "shutdown scheduled");
	CALL(200, "POST", "/citus", "{\"type\": \"x\"}", "OK");
}

static void
test_schedule(void **state)
{
	static const struct {
		const char *text, *iso;
		int code;
	} row[] = {
		{ "2030-01-02T03:04:05.6+02:30",
		    "2030-01-02T03:04:05.600000+02:30", 0 },
		{ "2030-01-02 03:04:05,1234567 Z",
		    "2030-01-02T03:04:05.123456+00:00", 0 },
		{ "20300102T030405-5", "2030-01-02T03:04:05-05:00", 0 },
		{ "2030-01-02 UTC", "2030-01-02T00:00:00+00:00", 0 },
		{ "2030-01-02 10:00 GMT+3", "2030-01-02T10:00:00-03:00", 0 },
		{ "09/10/2030 10:00 +0530", "2030-09-10T10:00:00+05:30", 0 },
		{ "2028-02-29T00:00Z", "2028-02-29T00:00:00+00:00", 0 },
		{ "2030-02-29T00:00Z", "", 422 },
		{ "2030-01-02 24:00Z", "", 422 },
		{ "2030-13-02 10:00Z", "", 422 },
		{ "2030-001", "", 422 },
		{ "2030-W01-1", "", 422 },
		{ "2030-01-02T10:00+01:00:30", "", 422 },
		{ "now", "", 422 },
		{ "", "", 422 },
		{ "2030-01-02T10:00", "", 400 },
		{ "2030-01-02 10:00 CET", "", 400 },
		{ "2020-01-02T10:00Z", "", 422 },
	};
	char iso[WORD_SIZE], error[256];
	int64_t at;
	size_t i;
	int code;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		code = schedule_parse(row[i].text, INT64_C(1790000000000000),
		    "restart", &at, iso, error, sizeof(error));
		if (code != row[i].code ||
		    (code == 0 && strcmp(iso, row[i].iso) != 0))
			fail_msg("%s: %d %s", row[i].text, code,
			    code == 0 ? iso : error);
	}
	assert_int_equal(schedule_parse("2030-01-02T03:04:05+01:00", 0, "x",
			     &at, iso, error, sizeof(error)),
	    0);
	assert_true(at == INT64_C(1893549845000000));
	/* a time alone is today */
	assert_int_equal(schedule_parse("23:00Z", INT64_C(1790000000000000),
			     "x", &at, iso, error, sizeof(error)),
	    0);
	assert_string_equal(iso, "2026-09-21T23:00:00+00:00");
}

/* Members whose api_url holds a name are let in by what dcs finds (4). */
static void
test_members_by_name(void **state)
{
	struct tree **a = &t.rest->addresses;

	(void)state;
	configure("\"allowlist_include_members\": true");
	strcpy(t.view->members[0].api_url, "https://db1.example:8008/patroni");
	strcpy(t.view->members[1].api_url, "http://[2001:db8::7]:8008/patroni");
	rest_view(t.rest, view_copy(t.view));
	t.addresses = "{\"db1.example\": [\"10.0.0.9\", \"127.0.0.1\"]}";
	CODE(202, "POST", "/reload", NULL);
	assert_int_equal(t.lookups, 1);
	CODE(202, "POST", "/reload", NULL); /* known: nobody is asked */
	assert_int_equal(t.lookups, 1);
	/* never for a failsafe round, which members are not let in for */
	CODE(200, "POST", "/failsafe",
	    "{\"name\":\"n2\",\"conn_url\":\"c\",\"api_url\":\"a\"}");
	/* a stranger makes one lookup a second at most */
	t.addresses = "{\"db1.example\": [\"10.0.0.9\"]}";
	t.rest->resolved_ns -= 2 * NS_PER_SEC;
	tree_free(*a);
	*a = tree_from_json(t.addresses, strlen(t.addresses), NULL, 0);
	CALL(403, "POST", "/reload", NULL, "Access is denied");
	assert_int_equal(t.lookups, 2);
	CALL(403, "POST", "/reload", NULL, "Access is denied");
	assert_int_equal(t.lookups, 2);
	/* nor do names that nobody knows */
	t.addresses = NULL;
	t.rest->resolved_ns -= 2 * NS_PER_SEC;
	CODE(403, "POST", "/reload", NULL);
	CODE(403, "POST", "/reload", NULL);
	assert_int_equal(t.lookups, 3);
	/* a new name is asked for at once */
	strcpy(t.view->members[1].api_url, "http://db2.example/patroni");
	rest_view(t.rest, view_copy(t.view));
	t.addresses = "{\"db2.example\": [\"::ffff:127.0.0.1\"]}";
	CODE(202, "POST", "/reload", NULL);
	assert_int_equal(t.lookups, 4);
	/* without an answer what is known serves for a minute */
	t.store_down = true;
	CODE(202, "POST", "/reload", NULL);
	t.rest->addresses_ns -= 61 * NS_PER_SEC;
	t.rest->resolved_ns -= 61 * NS_PER_SEC;
	CODE(403, "POST", "/reload", NULL);
	assert_int_equal(t.lookups, 5);
	/* no view, no members */
	t.store_down = false;
	rest_view(t.rest, NULL);
	CODE(403, "POST", "/reload", NULL);
	assert_int_equal(t.lookups, 5);
	/* the static list needs no lookup */
	rest_view(t.rest, view_copy(t.view));
	configure("\"allowlist_include_members\": true, "
		  "\"allowlist\": [\"127.0.0.0/8\"]");
	CODE(202, "POST", "/reload", NULL);
	assert_int_equal(t.lookups, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_config),
		T(test_restart),
		T(test_switchover),
		T(test_switchover_done),
		T(test_drain),
		T(test_drain_is_bounded),
		T(test_others),
		T(test_schedule),
		T(test_members_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
