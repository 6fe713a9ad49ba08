/*
 * test_rest_texts.c: every validation of the unsafe requests, in its order:
 * requests that break a rule and others behind it are told of the first one
 * (spec/rest-api.md 4, 16.2, 17.2, 17.3, 18, 19).
 */
#include "rest_driver.h"

#define WHEN                                                       \
	"Unable to parse scheduled timestamp. It should be in an " \
	"unambiguous format, e.g. ISO 8601"
#define ZONE "Timezone information is mandatory for the scheduled "
#define ROLE                                         \
	"PostgreSQL role should be either primary, " \
	"standby_leader, or replica"
#define TIMEOUT "Timeout should be a positive number of seconds"
#define FORMAT "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: "
#define UNKNOWN "Unknown filter for the scheduled restart: "

/* The situation of a row; the cluster has leader n2 and replica n1. */
enum {
	PAUSED = 1 << 0,
	SYNC = 1 << 1,	  /* synchronous mode, nobody is synchronous */
	SYNC_N1 = 1 << 2, /* ... and n1 is, in other letters */
	QUORUM = 1 << 3,
	STANDBY = 1 << 4, /* standby cluster */
	NO_OWNER = 1 << 5,
	ALONE = 1 << 6,	 /* n2 is the only member */
	NO_URL = 1 << 7, /* n1 has no api_url */
	SILENT = 1 << 8, /* n1 does not answer */
	NOFAILOVER = 1 << 9,
	NO_WATCHDOG = 1 << 10,
	REFUSED = 1 << 11, /* the store refuses the write */
	LOST = 1 << 12,	   /* nobody knows what came of the write */
	N1_LEADS = 1 << 13,
};

struct row {
	const char *path, *body;
	unsigned situation;
	int code;
	const char *text;
};

static void
arrange(unsigned s)
{
	struct view *v = t.view;
	struct tree *map;

	if (s & PAUSED)
		tree_set(v->config, "pause", tree_bool(true));
	if (s & (SYNC | SYNC_N1 | QUORUM)) {
		tree_set(v->config, "synchronous_mode",
		    s & QUORUM ? tree_text("quorum") : tree_bool(true));
		v->has_sync = 1;
		strcpy(v->sync_leader, "n2");
	}
	if (s & SYNC_N1) {
		v->sync_standby = calloc(1, sizeof(*v->sync_standby));
		v->nsync_standby = 1;
		strcpy(v->sync_standby[0], "N1");
	}
	if (s & STANDBY) {
		map = tree_map();
		tree_set(map, "host", tree_text("h"));
		tree_set(v->config, "standby_cluster", map);
	}
	if (s & NO_OWNER)
		v->leader[0] = '\0';
	if (s & N1_LEADS)
		strcpy(v->leader, "n1");
	if (s & ALONE)
		v->nmembers = 1;
	if (s & NO_URL)
		v->members[1].api_url[0] = '\0';
	t.reachable = !(s & SILENT);
	t.nofailover = s & NOFAILOVER;
	t.watchdog_failed = s & NO_WATCHDOG;
	t.outcome = s & REFUSED ? OUTCOME_REFUSED :
	    s & LOST		? OUTCOME_UNKNOWN :
				  OUTCOME_OK;
}

static void
check(const struct row *r)
{
	const char *body;
	int code;

	assert_int_equal(setup(NULL), 0);
	arrange(r->situation);
	code = call("POST", r->path, r->body, &body);
	if (code != r->code || strcmp(body, r->text) != 0)
		fail_msg("POST %s %s (%x): %d \"%s\", not %d \"%s\"", r->path,
		    r->body, r->situation, code, body, r->code, r->text);
	teardown(NULL);
}

static void
check_all(const struct row *rows, size_t n)
{
	while (n-- > 0)
		check(rows++);
}
#define CHECK(rows) check_all(rows, sizeof(rows) / sizeof((rows)[0]))

#define S "/switchover"
#define F "/failover"
#define L "\"leader\": \"n2\""
#define C "\"candidate\": \"n1\""
#define BAD "\"scheduled_at\": \"soon\""
#define GOOD "\"scheduled_at\": \"2999-01-01T10:00:00Z\""

/* 17.2, rows 1 to 7; each breaks as many of the later ones as it can. */
static void
test_switch_order(void **state)
{
	static const char row1[] =
	    "Failover could be performed only to a specific candidate";
	static const char row2[] =
	    "Switchover could be performed only from a specific leader";
	static const char row6[] =
	    "Switchover is possible only to a specific candidate in a paused "
	    "state";
	static const char same[] = "Switchover target and source are the same";
	static const struct row rows[] = {
		{ F, "{" L ", " BAD "}", PAUSED, 400, row1 },
		{ F, "{\"candidate\": \"\", \"member\": null, " BAD "}", PAUSED,
		    400, row1 },
		{ S, "{" C ", " BAD "}", PAUSED, 400, row2 },
		{ S, "{\"leader\": \"\", " BAD "}", PAUSED, 400, row2 },
		{ S, "{\"leader\": null}", NO_OWNER, 400, row2 },
		{ S, "{\"other\": 1}", 0, 400, row2 },
		{ F, "{" C ", " BAD "}", PAUSED, 400,
		    "Failover can't be scheduled" },
		{ F, "{" L ", \"candidate\": \"n2\", " GOOD "}", 0, 400,
		    "Failover can't be scheduled" },
		{ S, "{" L ", " BAD "}", PAUSED, 400,
		    "Can't schedule switchover in the paused state" },
		{ S, "{" L ", \"candidate\": \"n2\", " BAD "}", PAUSED, 400,
		    "Can't schedule switchover in the paused state" },
		{ S, "{" L ", \"candidate\": \"n2\", " BAD "}", 0, 422, WHEN },
		{ S, "{" L ", \"scheduled_at\": 5}", 0, 422, WHEN },
		{ S, "{" L ", \"scheduled_at\": [\"x\"]}", 0, 422, WHEN },
		{ S,
		    "{" L ", \"candidate\": \"n2\", \"scheduled_at\": "
		    "\"2999-01-01 10:00\"}",
		    0, 400, ZONE "switchover" },
		{ S,
		    "{" L ", \"candidate\": \"n2\", \"scheduled_at\": "
		    "\"1999-01-01 10:00Z\"}",
		    0, 422, "Cannot schedule switchover in the past" },
		{ S, "{\"leader\": \"n9\"}", PAUSED | NO_OWNER, 400, row6 },
		{ S, "{\"leader\": \"n9\", \"candidate\": \"n9\"}", SYNC, 400,
		    same },
		{ F, "{\"leader\": \"n9\", \"candidate\": \"n9\"}",
		    SYNC | PAUSED, 400, same },
		/* with a good schedule, too */
		{ S, "{" L ", \"candidate\": \"n2\", " GOOD "}", 0, 400, same },
		/* what is no name at all */
		{ S, "{\"leader\": 5, " BAD "}", PAUSED, 400,
		    "leader and candidate must be member names" },
		{ S, "{" L ", \"candidate\": [\"n1\"]}", 0, 400,
		    "leader and candidate must be member names" },
		{ F, "{" L ", \"member\": {}}", 0, 400,
		    "leader and candidate must be member names" },
	};

	(void)state;
	CHECK(rows);
}

/* 17.3 for both actions; a failover with a leader is a switchover. */
static void
test_feasibility_order(void **state)
{
	static const char leader[] = "leader name does not match";
	static const char sync[] =
	    "candidate name does not match with sync_standby";
	static const char unknown[] = "candidate does not exists";
	static const char none[] =
	    "switchover is not possible: can not find sync_standby";
	static const char alone[] = "switchover is not possible: cluster does "
				    "not have members except leader";
	static const char bad[] = "switchover is not possible: no good "
				  "candidates have been found";
	static const char fbad[] = "failover is not possible: no good "
				   "candidates have been found";
	static const char unwritten[] = "failed to write failover key into DCS";
	static const struct row rows[] = {
		{ S, "{\"leader\": \"n9\", \"candidate\": \"n8\"}", SYNC, 412,
		    leader },
		{ S, "{\"leader\": \"N2\"}", 0, 412, leader },
		{ S, "{" L "}", NO_OWNER | SYNC, 412, leader },
		{ F, "{\"leader\": \"n9\", \"candidate\": \"n8\"}", SYNC, 412,
		    leader },
		{ S, "{" L ", \"candidate\": \"n9\"}", SYNC, 412, sync },
		{ S, "{" L ", " C "}", SYNC | SILENT, 412, sync },
		{ F, "{" L ", " C "}", SYNC | SILENT, 412, sync },
		{ F, "{" L ", \"member\": \"n1\"}", SYNC | SILENT, 412, sync },
		{ S, "{" L ", " C "}", SYNC_N1 | SILENT, 412, bad },
		{ S, "{" L ", " C "}", QUORUM | SILENT, 412, bad },
		{ S, "{" L ", " C "}", SYNC | STANDBY | SILENT, 412, bad },
		{ S, "{" L ", \"candidate\": \"n9\"}", SILENT, 412, unknown },
		{ S, "{" L ", \"candidate\": \"N1\"}", SYNC_N1 | SILENT, 412,
		    unknown },
		/* a failover does not mind who is synchronous */
		{ F, "{\"candidate\": \"n9\"}", SYNC, 412, unknown },
		{ F, "{" C "}", SYNC | SILENT, 412, fbad },
		{ F, "{" C "}", NO_OWNER | SILENT, 412, fbad },
		{ F, "{\"candidate\": \"n2\"}", SILENT, 412, fbad },
		{ S, "{" L "}", SYNC | ALONE, 412, none },
		{ S, "{" L "}", SYNC, 412, none },
		{ S, "{" L "}", SYNC_N1 | ALONE, 412, none },
		{ S, "{" L "}", SYNC_N1 | SILENT, 412, bad },
		{ S, "{" L "}", ALONE, 412, alone },
		{ S, "{" L "}", NO_URL, 412, alone },
		{ S, "{" L "}", QUORUM | ALONE, 412, alone },
		{ S, "{" L "}", SILENT, 412, bad },
		{ S, "{" L "}", NOFAILOVER, 412, bad },
		{ S, "{" L "}", NO_WATCHDOG, 412, bad },
		{ F, "{" C "}", NOFAILOVER, 412, fbad },
		{ F, "{" C "}", NO_WATCHDOG, 412, fbad },
		/* feasible: then the store has its say */
		{ S, "{" L "}", REFUSED, 503, unwritten },
		{ S, "{" L ", " C "}", SYNC_N1 | REFUSED, 503, unwritten },
		{ F, "{" C "}", SYNC | REFUSED, 503, unwritten },
		{ F, "{" C "}", PAUSED | LOST, 503, unwritten },
		{ S, "{" L ", " GOOD "}", REFUSED, 503, unwritten },
		/* nothing is checked of a scheduled one */
		{ S, "{\"leader\": \"n9\", \"candidate\": \"n8\", " GOOD "}",
		    SYNC | SILENT, 202, "Switchover scheduled" },
		/* the key is empty again one round later */
		{ S, "{" L "}", 0, 503, "Switchover failed" },
		{ F, "{" C "}", 0, 503, "Failover failed" },
		{ F, "{" L ", " C "}", 0, 503, "Switchover failed" },
	};

	(void)state;
	CHECK(rows);
}

/* 16.2: the first key of the body that is wrong answers. */
static void
test_restart_order(void **state)
{
	static const char paused[] =
	    "Can't schedule restart in the paused state";
	static const struct row rows[] = {
		{ "/restart", "{\"role\": \"x\", \"schedule\": \"x\"}", PAUSED,
		    500, paused },
		{ "/restart", "{\"y\": 1, \"schedule\": null}", PAUSED, 500,
		    paused },
		{ "/restart", "{\"role\": \"x\"}", PAUSED, 400, ROLE },
		{ "/restart", "{\"schedule\": \"x\", \"role\": \"x\"}", 0, 422,
		    WHEN },
		{ "/restart", "{\"role\": \"x\", \"schedule\": \"x\"}", 0, 400,
		    ROLE },
		{ "/restart", "{\"y\": 1, \"timeout\": 0}", 0, 400,
		    UNKNOWN "y" },
		{ "/restart", "{\"timeout\": 0, \"y\": 1}", 0, 400, TIMEOUT },
		{ "/restart", "{\"postgres_version\": \"x\", \"role\": 1}", 0,
		    400, "Invalid PostgreSQL version: x" },
		{ "/restart", "{\"restart_pending\": 0, \"role\": \"\"}", 0,
		    400, ROLE },
		{ "/restart", "{\"schedule\": 20300101}", 0, 422, WHEN },
		{ "/restart", "{\"schedule\": \"2999-01-01\"}", 0, 400,
		    ZONE "restart" },
		{ "/restart", "{\"schedule\": \"2019-01-01Z\"}", 0, 422,
		    "Cannot schedule restart in the past" },
		{ "/restart", "{\"role\": \"promoted\"}", 0, 400, ROLE },
		{ "/restart", "{\"role\": null}", 0, 400, ROLE },
		{ "/restart", "{\"postgres_version\": \"16\"}", 0, 400,
		    FORMAT "16" },
		{ "/restart", "{\"postgres_version\": \"9.6\"}", 0, 400,
		    FORMAT "9.6" },
		{ "/restart", "{\"postgres_version\": \"1.2.3.4\"}", 0, 400,
		    FORMAT "1.2.3.4" },
		{ "/restart", "{\"postgres_version\": \"16.-1\"}", 0, 400,
		    "Invalid PostgreSQL version: 16.-1" },
		{ "/restart", "{\"postgres_version\": \"\"}", 0, 400,
		    "Invalid PostgreSQL version: " },
		{ "/restart", "{\"postgres_version\": 16}", 0, 400,
		    "Invalid PostgreSQL version: " },
		{ "/restart", "{\"timeout\": \"1h x\"}", 0, 400, TIMEOUT },
		{ "/restart", "{\"timeout\": null}", 0, 400, TIMEOUT },
		{ "/restart", "{\"timeout\": -1}", 0, 400, TIMEOUT },
		{ "/restart", "{\"timeout\": 1e300}", 0, 400, TIMEOUT },
		{ "/restart", "{\"timeout\": {}}", 0, 400, TIMEOUT },
		{ "/restart", "{\"force\": true}", 0, 400, UNKNOWN "force" },
		/* nothing wrong: the loop's own answer */
		{ "/restart", "{\"role\": \"master\", \"timeout\": \"2min\"}",
		    PAUSED, 200, "done" },
		{ "/reinitialize", "{\"force\": 1, \"x\": 2}", NO_OWNER, 503,
		    "Cluster has no leader, can not reinitialize" },
		{ "/reinitialize", "{}", N1_LEADS, 503,
		    "I am the leader, can not reinitialize" },
		{ "/reinitialize", "{\"from_leader\": \"on\"}", PAUSED, 200,
		    "done" },
	};

	(void)state;
	CHECK(rows);
}

/* Section 4: the order of the four checks, and before the body. */
static void
test_access_order(void **state)
{
	static const struct {
		bool allowed, cert;
		const char *authorization;
		int code;
		const char *text;
	} row[] = {
		{ false, false, NULL, 403, "Access is denied" },
		{ false, true, "Basic dTpw", 403, "Access is denied" },
		{ true, false, NULL, 403, "client certificate required" },
		{ true, false, "Basic dTpw", 403,
		    "client certificate required" },
		{ true, true, NULL, 401, "no auth header received" },
		{ true, true, "", 401, "not authenticated" },
		{ true, true, "Basic dTpx", 401, "not authenticated" },
		{ true, true, "Basic dTpw ", 401, "not authenticated" },
		{ true, true, "Basic dTpw", 0, NULL },
	};
	struct httpd_request q = { .tls = true };
	struct sockaddr_in *peer = (struct sockaddr_in *)&q.peer;
	const char *text, *headers;
	size_t i;
	int code;

	(void)state;
	setup(NULL);
	configure("\"allowlist\": [\"10.0.0.0/8\"], \"auth\": \"u:p\", "
		  "\"verify_client\": \"optional\"");
	peer->sin_family = AF_INET;
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		peer->sin_addr.s_addr =
		    htonl(row[i].allowed ? 0x0a000001 : INADDR_LOOPBACK);
		q.client_cert = row[i].cert;
		q.head.authorization = (char *)(uintptr_t)row[i].authorization;
		code = access_check(
		    &t.rest->access, &q, t.view, NULL, false, &text, &headers);
		if (code != row[i].code ||
		    (code != 0 && strcmp(text, row[i].text) != 0))
			fail_msg("row %zu: %d %s", i, code, text);
		if (code == 401)
			assert_string_equal(headers,
			    "WWW-Authenticate: Basic realm=\"Patroni\"\r\n");
	}
	/* without TLS no certificate is asked for */
	q.tls = q.client_cert = false;
	assert_int_equal(access_check(&t.rest->access, &q, t.view, NULL, false,
			     &text, &headers),
	    0);
	/* a body that is no JSON does not come before the credentials */
	configure("\"auth\": \"u:p\"");
	CALL(401, "POST", "/restart", "{", "no auth header received");
	CALL(401, "PATCH", "/config", "", "no auth header received");
	CALL(401, "POST", "/failsafe", "[", "no auth header received");
	teardown(NULL);
}

/* 17.4: rounds used up; in the long run only, since it takes its time. */
static void
test_rounds_used_up(void **state)
{
	const char *body;
	int64_t start;
	int i, fd;

	(void)state;
	if (getenv("LONG") == NULL)
		skip();
	setup(NULL);
	t.reachable = 1;
	t.view->has_failover = 1;
	strcpy(t.view->failover_leader, "n2");
	start = clock_boot_ns();
	fd = dial();
	static const char post[] = "POST /switchover HTTP/1.0\r\n"
				   "Content-Length: 16\r\n\r\n{" L "}";
	assert_int_equal(send(fd, post, strlen(post), 0), strlen(post));
	for (i = 0; i < 15 && collect(fd, reply, sizeof(reply), 1) == 0; i++)
		;
	collect(fd, reply + strlen(reply), sizeof(reply) - strlen(reply),
	    sizeof(reply));
	assert_non_null(body = strstr(reply, "\r\n\r\n"));
	assert_string_equal(body + 4,
	    "Switchover status unknown after 20 seconds; operation may still "
	    "be in progress");
	assert_true(clock_boot_ns() - start > 19 * NS_PER_SEC);
	close(fd);
	teardown(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_switch_order),
		cmocka_unit_test(test_feasibility_order),
		cmocka_unit_test(test_restart_order),
		cmocka_unit_test(test_access_order),
		cmocka_unit_test(test_rounds_used_up),
	};

	log_configure(&(struct log_settings){ .level = 100 });
	return cmocka_run_group_tests(tests, NULL, NULL);
}
