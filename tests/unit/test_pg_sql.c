/*
 * test_pg_sql.c: helpers/postgres/sql.c against a real server, and without
 * one (refused, silent, cut off).
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/postgres/sql.h"
#include "ipc/clock.h"
#include "helpers/postgres/wal_sample.h"
#include "pg_server.h"

static struct event_base *base;

struct seen {
	int calls;
	enum sql_outcome outcome;
	char state[8];
	char value[64];
	char message[256];
	struct sql *free_me;
	struct sql *then; /* query issued from the callback */
	const struct wal_sample *sample;
	int same;
};

static void
on_answer(const struct sql_answer *a, void *arg)
{
	struct seen *s = arg;

	s->calls++;
	s->outcome = a->outcome;
	snprintf(s->message, sizeof s->message, "%s", a->message);
	snprintf(s->state, sizeof s->state, "%s", a->sqlstate);
	s->value[0] = '\0';
	if (a->res != NULL)
		snprintf(
		    s->value, sizeof s->value, "%s", sql_text(a->res, 0, 0));
	if (a->wal != NULL && s->sample != NULL)
		s->same = wal_sample_compare(s->sample, a->wal, a->nwal);
	if (s->free_me != NULL) {
		struct sql *next = s->then;

		sql_free(s->free_me);
		s->free_me = NULL;
		s->then = NULL;
		if (next != NULL)
			assert_int_equal(
			    sql_query(next, "SELECT 'second'", 0, NULL,
				3 * NS_PER_SEC, on_answer, s),
			    0);
	}
}

static void
run_until(struct seen *s, int calls)
{
	int64_t limit = clock_boot_ns() + 10 * NS_PER_SEC;

	while (s->calls < calls && clock_boot_ns() < limit) {
		struct timeval tv = { 0, 50000 };

		event_base_loopexit(base, &tv);
		event_base_dispatch(base);
	}
	assert_int_equal(s->calls, calls);
}

static struct sql *
open_sql(const char *host, const char *port)
{
	const char *keys[] = { "host", "port", "user", "dbname", NULL };
	const char *values[] = { host, port, "postgres", "postgres", NULL };
	struct sql *s = sql_new(base, NULL);

	assert_non_null(s);
	assert_true(sql_target(s, keys, values));
	return s;
}

static void
test_query(void **state)
{
	struct pg_server *srv = *state;
	struct sql *s = open_sql(srv->dir, srv->port);
	const char *params[] = { "41" };
	struct seen seen = { 0 };

	assert_int_equal(sql_query(s, "SELECT $1::int + 1", 1, params,
			     3 * NS_PER_SEC, on_answer, &seen),
	    0);
	assert_int_equal(seen.calls, 0);
	run_until(&seen, 1);
	assert_int_equal(seen.outcome, SQL_OK);
	assert_string_equal(seen.value, "42");
	assert_true(sql_server_version(s) >= 90300);
	sql_free(s);
}

static void
test_order_and_queue(void **state)
{
	struct pg_server *srv = *state;
	struct sql *s = open_sql(srv->dir, srv->port);
	struct seen seen[SQL_QUEUE];
	int i;

	memset(seen, 0, sizeof seen);
	for (i = 0; i < SQL_QUEUE; i++)
		assert_int_equal(sql_query(s, "SELECT 1", 0, NULL,
				     5 * NS_PER_SEC, on_answer, &seen[i]),
		    0);
	assert_int_equal(
	    sql_query(s, "SELECT 1", 0, NULL, NS_PER_SEC, on_answer, &seen[0]),
	    -1);
	run_until(&seen[SQL_QUEUE - 1], 1);
	for (i = 0; i < SQL_QUEUE; i++)
		assert_int_equal(seen[i].calls, 1);
	sql_free(s);
}

static void
test_error_keeps_connection(void **state)
{
	struct pg_server *srv = *state;
	struct sql *s = open_sql(srv->dir, srv->port);
	struct seen seen = { 0 };

	sql_query(s, "SELECT 1/0", 0, NULL, 3 * NS_PER_SEC, on_answer, &seen);
	run_until(&seen, 1);
	assert_int_equal(seen.outcome, SQL_ERROR);
	assert_string_equal(seen.state, "22012");
	assert_true(sql_connected(s));
	sql_free(s);
}

static void
test_several_statements(void **state)
{
	struct pg_server *srv = *state;
	struct sql *s = open_sql(srv->dir, srv->port);
	struct seen seen = { 0 };

	sql_query(s,
	    "SET log_statement TO none; SET pgaudit.log TO none;"
	    " DO $$ BEGIN PERFORM 1; END; $$; SELECT 'last'",
	    0, NULL, 3 * NS_PER_SEC, on_answer, &seen);
	run_until(&seen, 1);
	assert_int_equal(seen.outcome, SQL_OK);
	assert_string_equal(seen.value, "last");
	sql_query(s, "SELECT 1/0; SELECT 'last'", 0, NULL, 3 * NS_PER_SEC,
	    on_answer, &seen);
	run_until(&seen, 2);
	assert_int_equal(seen.outcome, SQL_ERROR);
	sql_free(s);
}

static void
test_timeout(void **state)
{
	struct pg_server *srv = *state;
	struct sql *s = open_sql(srv->dir, srv->port);
	struct seen seen = { 0 };
	int64_t began = clock_boot_ns();

	sql_query(s, "SELECT pg_sleep(20)", 0, NULL, 200 * NS_PER_MS, on_answer,
	    &seen);
	run_until(&seen, 1);
	assert_int_equal(seen.outcome, SQL_LOST);
	assert_true(clock_boot_ns() - began < 3 * NS_PER_SEC);
	assert_false(sql_connected(s));
	/* usable again */
	sql_query(
	    s, "SELECT 'again'", 0, NULL, 3 * NS_PER_SEC, on_answer, &seen);
	run_until(&seen, 2);
	assert_string_equal(seen.value, "again");
	sql_free(s);
}

static void
test_lost(void **state)
{
	struct pg_server *srv = *state;
	struct sql *s = open_sql(srv->dir, srv->port);
	struct seen seen = { 0 };

	sql_query(s, "SELECT pg_terminate_backend(pg_backend_pid())", 0, NULL,
	    3 * NS_PER_SEC, on_answer, &seen);
	run_until(&seen, 1);
	assert_int_equal(seen.outcome, SQL_LOST);
	sql_query(s, "SELECT 'new'", 0, NULL, 3 * NS_PER_SEC, on_answer, &seen);
	run_until(&seen, 2);
	assert_string_equal(seen.value, "new");
	sql_free(s);
}

static void
test_free_in_callback(void **state)
{
	struct pg_server *srv = *state;
	struct sql *s = open_sql(srv->dir, srv->port);
	struct sql *next = open_sql(srv->dir, srv->port);
	struct seen seen = { .free_me = s, .then = next };

	sql_query(
	    s, "SELECT 'first'", 0, NULL, 3 * NS_PER_SEC, on_answer, &seen);
	run_until(&seen, 2);
	assert_string_equal(seen.value, "second");
	sql_free(next);
}

static void
test_refused(void **state)
{
	struct sql *s = open_sql("127.0.0.1", "1");
	struct seen seen = { 0 };

	(void)state;
	sql_query(s, "SELECT 1", 0, NULL, 3 * NS_PER_SEC, on_answer, &seen);
	run_until(&seen, 1);
	assert_int_equal(seen.outcome, SQL_LOST);
	sql_free(s);
}

/* Names are looked up beside the loop; every address of a name and every
 * name of a list is tried. */
static void
test_names(void **state)
{
	static const char *const hosts[] = { "localhost",
		"no-such-name.invalid,localhost", "127.0.0.9,localhost", NULL };
	struct pg_server *srv = *state;
	struct seen seen = { 0 };
	struct sql *s;
	int i;

	for (i = 0; hosts[i] != NULL; i++) {
		s = open_sql(hosts[i], srv->port);
		assert_int_equal(sql_query(s, "SELECT 7", 0, NULL,
				     5 * NS_PER_SEC, on_answer, &seen),
		    0);
		run_until(&seen, i + 1);
		assert_string_equal(seen.message, "");
		assert_string_equal(seen.value, "7");
		sql_free(s);
	}
	memset(&seen, 0, sizeof seen);
	s = open_sql("no-such-name.invalid", "1,2");
	sql_query(s, "SELECT 7", 0, NULL, 5 * NS_PER_SEC, on_answer, &seen);
	run_until(&seen, 1);
	assert_int_equal(seen.outcome, SQL_LOST);
	assert_non_null(strstr(seen.message, "no-such-name.invalid"));
	/* freed while the worker is at it */
	sql_query(s, "SELECT 7", 0, NULL, 5 * NS_PER_SEC, on_answer, &seen);
	event_base_loop(base, EVLOOP_NONBLOCK);
	sql_free(s);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(seen.calls, 1);
}

/* Somebody who accepts and says nothing must cost the deadline, not more. */
static void
test_silent(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof a;
	struct seen seen = { 0 };
	struct sql *s;
	char port[16];
	int fd;

	(void)state;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 4), 0);
	getsockname(fd, (struct sockaddr *)&a, &len);
	snprintf(port, sizeof port, "%d", ntohs(a.sin_port));
	s = open_sql("127.0.0.1", port);
	sql_query(s, "SELECT 1", 0, NULL, 300 * NS_PER_MS, on_answer, &seen);
	run_until(&seen, 1);
	assert_int_equal(seen.outcome, SQL_LOST);
	sql_free(s);
	close(fd);
}

static struct sql *
open_replication(const struct pg_server *srv)
{
	const char *keys[] = { "host", "port", "user", "replication", NULL };
	const char *values[] = { srv->dir, srv->port, "postgres", "1", NULL };
	struct sql *s = sql_new(base, NULL);

	assert_non_null(s);
	assert_true(sql_target(s, keys, values));
	return s;
}

static void
stream(struct sql *s, const char *from, int64_t timeout, struct seen *seen)
{
	char text[80];

	snprintf(text, sizeof text, "START_REPLICATION PHYSICAL %s TIMELINE 1",
	    from);
	assert_int_equal(
	    sql_query(s, text, 0, NULL, timeout, on_answer, seen), 0);
	run_until(seen, seen->calls + 1);
}

/* The first of what the server streams is ours to read in its files, too. */
static void
test_wal(void **state)
{
	struct pg_server *srv = *state;
	struct sql *s = open_replication(srv);
	struct wal_sample sample;
	struct seen seen = { .sample = &sample, .same = -2 };
	struct pgerr err;

	assert_true(wal_sample_read(
	    srv->data, 150000, 1, 0x1000000, 16 << 20, &sample, &err));
	assert_int_equal(sample.size, 64);
	stream(s, "0/1000000", 5 * NS_PER_SEC, &seen);
	assert_int_equal(seen.outcome, SQL_OK);
	assert_int_equal(seen.same, 1);
	assert_false(sql_connected(s));
	/* the next statement has a connection of its own */
	assert_true(wal_sample_read(
	    srv->data, 150000, 1, 0x1000028, 16 << 20, &sample, &err));
	assert_int_equal(sample.size, 48);
	sample.bytes[20] ^= 1;
	stream(s, "0/1000028", 5 * NS_PER_SEC, &seen);
	assert_int_equal(seen.outcome, SQL_OK);
	assert_int_equal(seen.same, 0);
	sql_free(s);
}

static void
test_no_wal(void **state)
{
	struct pg_server *srv = *state;
	struct sql *s = open_replication(srv);
	struct sql *t = open_sql(srv->dir, srv->port);
	struct seen seen = { 0 };
	char end[64];

	/* refused at once, and after the stream has begun */
	stream(s, "FF/0", 5 * NS_PER_SEC, &seen);
	assert_int_equal(seen.outcome, SQL_ERROR);
	assert_non_null(strstr(seen.message, "is ahead of the WAL flush"));
	stream(s, "0/100", 5 * NS_PER_SEC, &seen);
	assert_int_equal(seen.outcome, SQL_ERROR);
	assert_non_null(strstr(seen.message, "has already been removed"));
	/* nothing comes */
	assert_int_equal(sql_query(t, "SELECT pg_switch_wal(), pg_sleep(0)", 0,
			     NULL, 5 * NS_PER_SEC, on_answer, &seen),
	    0);
	run_until(&seen, 3);
	assert_int_equal(sql_query(t, "SELECT pg_current_wal_flush_lsn()", 0,
			     NULL, 5 * NS_PER_SEC, on_answer, &seen),
	    0);
	run_until(&seen, 4);
	assert_int_equal(seen.outcome, SQL_OK);
	memcpy(end, seen.value, sizeof end);
	stream(s, end, NS_PER_SEC, &seen);
	assert_int_equal(seen.outcome, SQL_LOST);
	assert_string_equal(seen.message, "query timed out");
	sql_free(t);
	sql_free(s);
}

static void
test_quote(void **state)
{
	char buf[64];

	(void)state;
	assert_true(sql_quote("it's", buf, sizeof buf));
	assert_string_equal(buf, "'it''s'");
	assert_true(sql_quote("a\\b", buf, sizeof buf));
	assert_string_equal(buf, " E'a\\\\b'");
	assert_true(sql_quote_name("a\"b", buf, sizeof buf));
	assert_string_equal(buf, "\"a\"\"b\"");
	assert_false(sql_quote("0123456789", buf, 10));
	assert_string_equal(buf, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_query),
		cmocka_unit_test(test_order_and_queue),
		cmocka_unit_test(test_error_keeps_connection),
		cmocka_unit_test(test_several_statements),
		cmocka_unit_test(test_timeout), cmocka_unit_test(test_lost),
		cmocka_unit_test(test_free_in_callback),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_silent),
		cmocka_unit_test(test_names), cmocka_unit_test(test_wal),
		cmocka_unit_test(test_no_wal), cmocka_unit_test(test_quote) };

	base = event_base_new();
	return cmocka_run_group_tests(tests, pg_server_start, pg_server_stop);
}
