/*
 * test_ctl_text.c: what patronictl reads and writes without a cluster: dates,
 * -s and -p, differences, values of queries, history, prompts.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#include "../../helpers/ctl/diff.h"
#include "../../helpers/ctl/edit.h"
#include "../../helpers/ctl/pgvalue.h"
#include "../../helpers/json.h"

/* ---- dates ---- */

static void
date_is(const char *text, const char *wanted)
{
	char iso[DATE_SIZE];

	if (!date_parse(text, iso, sizeof(iso)))
		fail_msg("not understood: %s", text);
	if (strcmp(iso, wanted) != 0)
		fail_msg("%s: %s, not %s", text, iso, wanted);
}

static void
test_dates(void **state)
{
	static const char *const same[] = { "2030-01-02T10:00",
		"2030-01-02 10:00", "20300102T1000", "20300102100000",
		"2030/01/02 10:00", "2030.01.02 10:00",
		"Wed Jan 2 10:00:00 2030", "2 January 2030 10:00",
		"Jan 2 2030 10:00", "2030-01-02 at 10:00", "2030-01-02T10",
		"2030-01-02 10am", "01/02/2030 10:00" };
	size_t i;

	(void)state;
	setenv("TZ", "XXX3", 1);
	tzset();
	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		date_is(same[i], "2030-01-02T10:00:00-03:00");
	date_is("now", "");
	date_is("", "");
	date_is("2030-01-02", "2030-01-02T00:00:00-03:00");
	date_is("20300102", "2030-01-02T00:00:00-03:00");
	date_is("2030-01-02T10:00:30.5", "2030-01-02T10:00:30.500000-03:00");
	date_is("2030-01-02T10:00:30,25", "2030-01-02T10:00:30.250000-03:00");
	date_is(
	    "2030-01-02T10:00:30.12345678", "2030-01-02T10:00:30.123456-03:00");
	date_is("2030-01-02T10:00Z", "2030-01-02T10:00:00+00:00");
	date_is("2030-01-02T10:00z", "2030-01-02T10:00:00+00:00");
	date_is("2030-01-02 10:00 UTC", "2030-01-02T10:00:00+00:00");
	date_is("2030-01-02 10:00 GMT", "2030-01-02T10:00:00+00:00");
	date_is("2030-01-02T10:00+03", "2030-01-02T10:00:00+03:00");
	date_is("2030-01-02T10:00-3", "2030-01-02T10:00:00-03:00");
	date_is("2030-01-02T10:00 +0330", "2030-01-02T10:00:00+03:30");
	date_is("2030-01-02T10:00+03:30", "2030-01-02T10:00:00+03:30");
	date_is("20300102T1000+0330", "2030-01-02T10:00:00+03:30");
	date_is("2030-01-02 10:00 UTC+3", "2030-01-02T10:00:00-03:00");
	date_is("2030-01-02 10:00 GMT-3", "2030-01-02T10:00:00+03:00");
	date_is("2030-01-02 10:00 CET", "2030-01-02T10:00:00-03:00");
	date_is("13/02/2030", "2030-02-13T00:00:00-03:00");
	date_is("01/02/03", "2003-01-02T00:00:00-03:00");
	date_is("2030-02-28T10:30 pm", "2030-02-28T22:30:00-03:00");
}

static void
test_dates_of_summer(void **state)
{
	(void)state;
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	date_is("2030-01-02T10:00", "2030-01-02T10:00:00+01:00");
	date_is("2030-07-02T10:00", "2030-07-02T10:00:00+02:00");
	setenv("TZ", "UTC", 1);
	tzset();
}

static void
test_dates_wrong(void **state)
{
	static const char *const wrong[] = { "NOW", " now ", "tomorrow",
		"in 5 minutes", "1700000000", "2030-W01-1", "2030-001",
		"2030-01-02 24:00", "2030-02-30", "2030-13-01", "x",
		"2030-01-02 10:00 Europe/Berlin",
		"2030-01-02 10:00[Europe/Paris]", "2030-01-02T10:61",
		"2030-01-02T10:00+24:00", "2030-01-02T10:00 10:00", "99999",
		"2030-01-02T", "--", "2030-01-02T10:00+", "Jan Jan 2030" };
	char iso[DATE_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (date_parse(wrong[i], iso, sizeof(iso)))
			fail_msg("%s: taken as %s", wrong[i], iso);
}

static void
test_dates_of_today(void **state)
{
	char day[DATE_SIZE], wanted[DATE_SIZE + 16];

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	do { /* midnight may lie between the two */
		date_now(day, sizeof(day));
		day[10] = '\0';
		(void)snprintf(
		    wanted, sizeof(wanted), "%sT10:30:00+00:00", day);
		date_is("10h30m", wanted);
		date_is("10:30", wanted);
		date_now(wanted, sizeof(wanted));
	} while (strncmp(day, wanted, 10) != 0);
}

/* ---- -s and -p ---- */

static struct tree *
json(const char *text)
{
	struct tree *t = tree_from_json(text, strlen(text), NULL, 0);

	assert_non_null(t);
	return t;
}

static void
sets(const char *before, const char *setting, bool pg, const char *wanted)
{
	struct tree *t = json(before);
	char *after;

	edit_set(t, setting, pg);
	after = tree_to_json(t, JSON_FORM_COMPACT, NULL);
	assert_string_equal(after, wanted);
	free(after);
	tree_free(t);
}

static void
test_set(void **state)
{
	(void)state;
	sets("{\"ttl\":30}", "loop_wait=15", false,
	    "{\"ttl\":30,\"loop_wait\":15}");
	sets("{\"ttl\":30,\"a\":1}", "a=null", false, "{\"ttl\":30}");
	sets("{\"a\":1}", "a=", false, "{}");
	sets("{\"a\":1}", "a=~", false, "{}");
	sets("{}", "a.b.c=null", false, "{}");
	sets("{\"ttl\":30}", "ttl.x=1", false, "{\"ttl\":{\"x\":1}}");
	sets("{\"a\":{\"b\":1}}", "a.b=null", false, "{}");
	sets("{}", "a={}", false, "{\"a\":{}}");
	sets("{}", "max_connections=150", true,
	    "{\"postgresql\":{\"parameters\":{\"max_connections\":150}}}");
	sets("{}", " plpgsql.variable_conflict=error", true,
	    "{\"postgresql\":{\"parameters\":"
	    "{\"plpgsql.variable_conflict\":\"error\"}}}");
	sets("{\"postgresql\":{\"parameters\":{\"a.b\":1}}}",
	    "postgresql.parameters.a.b=null", false, "{}");
	sets("{}", "shared_preload_libraries=a, b", true,
	    "{\"postgresql\":{\"parameters\":"
	    "{\"shared_preload_libraries\":\"a, b\"}}}");
	sets("{}", "synchronous_mode=on", false, "{\"synchronous_mode\":true}");
	sets("{}", "x=\"on\"", false, "{\"x\":\"on\"}");
	sets("{}", "x=1:30", false, "{\"x\":90}");
	sets("{}", "x=foo # c", false, "{\"x\":\"foo\"}");
	sets("{}", "x=[a, b]", false, "{\"x\":[\"a\",\"b\"]}");
	sets("{}", "x=a: b", false, "{\"x\":{\"a\":\"b\"}}");
	sets("{}", " k =a=b", false, "{\"k\":\"a=b\"}");
	sets("{\"postgresql\":{\"parameters\":{\"a\":1},\"x\":1}}",
	    "postgresql.parameters=null", false, "{\"postgresql\":{\"x\":1}}");
}

static void
test_equal(void **state)
{
	struct tree *a = json("{\"a\":1,\"b\":[1,\"x\"],\"c\":true}");
	struct tree *b = json("{\"c\":1,\"b\":[1.0,\"x\"],\"a\":true}");
	struct tree *c = json("{\"a\":\"1\",\"b\":[1,\"x\"],\"c\":true}");

	(void)state;
	assert_true(edit_equal(a, b));
	assert_false(edit_equal(a, c));
	tree_free(a);
	tree_free(b);
	tree_free(c);
}

/* ---- differences ---- */

static void
differ_in(
    bool colour, const char *before, const char *after, const char *wanted)
{
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);

	diff_print(before, after, colour, f);
	fclose(f);
	assert_string_equal(buf, wanted);
	free(buf);
}

static void
differ(const char *before, const char *after, const char *wanted)
{
	differ_in(false, before, after, wanted);
}

#define HEAD(hunk) \
	"\033[33m--- \033[0m\n\033[33m+++ \033[0m\n\033[34m" hunk "\033[0m\n"

/* What of a line changed is shown in reverse, by whole characters. */
static void
test_diff_in_colour(void **state)
{
	(void)state;
	differ_in(true, "a: 1\nttl: 30\n", "a: 1\nttl: 40\n",
	    HEAD("@@ -1,2 +1,2 @@") " a: 1\n"
				    "\033[31m-ttl: \033[7m3\033[27m0\033[0m\n"
				    "\033[32m+ttl: \033[7m4\033[27m0\033[0m\n");
	/* longer, shorter, and of other characters with a common byte */
	differ_in(true, "x: ab\n", "x: aab\n",
	    HEAD("@@ -1 +1 @@") "\033[31m-x: ab\033[0m\n"
				"\033[32m+x: a\033[7ma\033[27mb\033[0m\n");
	differ_in(true, "x: \xc3\xa4y\n", "x: \xc3\xb6y\n",
	    HEAD(
		"@@ -1 +1 @@") "\033[31m-x: \033[7m\xc3\xa4\033[27my\033[0m\n"
			       "\033[32m+x: \033[7m\xc3\xb6\033[27my\033[0m\n");
	/* nothing in common, or not one for one */
	differ_in(true, "a\n", "b\n",
	    HEAD("@@ -1 +1 @@") "\033[31m-a\033[0m\n\033[32m+b\033[0m\n");
	differ_in(true, "aa\n", "ab\nac\n",
	    HEAD("@@ -1 +1,2 @@") "\033[31m-aa\033[0m\n"
				  "\033[32m+ab\033[0m\n\033[32m+ac\033[0m\n");
}

static void
test_diff(void **state)
{
	(void)state;
	differ("a\nb\n", "a\nb\n\n", "");
	differ("loop_wait: 10\npause: true\npostgresql:\n  parameters:\n"
	       "    max_connections: 200\n  use_pg_rewind: true\n"
	       "retry_timeout: 10\nsynchronous_mode: true\nttl: 30\n",
	    "loop_wait: 10\npostgresql:\n  parameters:\n"
	    "    max_connections: 200\n    work_mem: 64MB\n"
	    "  use_pg_rewind: true\nretry_timeout: 10\n"
	    "synchronous_mode: true\nttl: 40\n",
	    "--- \n+++ \n@@ -1,9 +1,9 @@\n loop_wait: 10\n-pause: true\n"
	    " postgresql:\n   parameters:\n     max_connections: 200\n"
	    "+    work_mem: 64MB\n   use_pg_rewind: true\n retry_timeout: 10\n"
	    " synchronous_mode: true\n-ttl: 30\n+ttl: 40\n");
	differ("a", "b", "--- \n+++ \n@@ -1 +1 @@\n-a\n+b\n");
	differ("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n",
	    "x\n2\n3\n4\n5\n6\n7\n8\n9\n10\ny\n",
	    "--- \n+++ \n@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n 4\n"
	    "@@ -8,4 +8,4 @@\n 8\n 9\n 10\n-11\n+y\n");
	differ("1\n2\n3\n4\n5\n6\n7\n8\n", "x\n2\n3\n4\n5\n6\n7\ny\n",
	    "--- \n+++ \n@@ -1,8 +1,8 @@\n-1\n+x\n 2\n 3\n 4\n 5\n 6\n 7\n"
	    "-8\n+y\n");
}

/* ---- values ---- */

static void
value_is(unsigned oid, const char *text, const char *shown, const char *as_json)
{
	struct tree *t = pgvalue(oid, text, false);
	char buf[256];
	char *j;

	assert_non_null(t);
	if (t->type == TREE_TEXT)
		assert_string_equal(t->u.s, shown);
	else {
		tree_scalar_text(t, buf, sizeof(buf));
		assert_string_equal(buf, shown);
	}
	tree_free(t);
	t = pgvalue(oid, text, true);
	j = tree_to_json(t, JSON_FORM_SPACED, NULL);
	assert_string_equal(j, as_json);
	free(j);
	tree_free(t);
}

static void
test_values(void **state)
{
	(void)state;
	value_is(25, NULL, "None", "null");
	value_is(16, "t", "True", "true");
	value_is(16, "f", "False", "false");
	value_is(20, "-9223372036854775808", "-9223372036854775808",
	    "-9223372036854775808");
	value_is(701, "1.5", "1.5", "1.5");
	value_is(701, "1", "1", "1.0");
	value_is(701, "NaN", "NaN", "\"NaN\"");
	value_is(1700, "1.50", "1.50", "\"1.50\"");
	value_is(25, "a\tb", "a\tb", "\"a\\tb\"");
	value_is(1184, "2026-01-02 03:04:05+00", "2026-01-02 03:04:05+00:00",
	    "\"2026-01-02 03:04:05+00:00\"");
	value_is(1184, "2026-01-02 03:04:05.5-03:30",
	    "2026-01-02 03:04:05.500000-03:30",
	    "\"2026-01-02 03:04:05.500000-03:30\"");
	value_is(1114, "infinity", "infinity", "\"infinity\"");
	value_is(1082, "2026-01-02", "2026-01-02", "\"2026-01-02\"");
	value_is(
	    1186, "1 day 02:00:00", "1 day, 2:00:00", "\"1 day, 2:00:00\"");
	value_is(1186, "1 year 2 mons 3 days 00:00:00.5",
	    "428 days, 0:00:00.500000", "\"428 days, 0:00:00.500000\"");
	value_is(1186, "-00:00:01", "-1 day, 23:59:59", "\"-1 day, 23:59:59\"");
	value_is(1186, "00:00:00", "0:00:00", "\"0:00:00\"");
	value_is(1007, "{1,2,NULL}", "[1, 2, None]", "[1, 2, null]");
	value_is(1009, "{p,\"q,\\\"r\",\"NULL\"}", "['p', 'q,\"r', 'NULL']",
	    "[\"p\", \"q,\\\"r\", \"NULL\"]");
	value_is(1007, "{{1,2},{3,4}}", "[[1, 2], [3, 4]]", "[[1, 2], [3, 4]]");
	value_is(1007, "[2:3]={1,2}", "[1, 2]", "[1, 2]");
	value_is(1007, "{}", "[]", "[]");
	value_is(1000, "{t,f}", "[True, False]", "[true, false]");
	value_is(3802, "{\"k\": [1, null], \"it's\": \"a\"}",
	    "{'k': [1, None], \"it's\": 'a'}",
	    "{\"k\": [1, null], \"it's\": \"a\"}");
	value_is(869, "10.0.0.1", "10.0.0.1", "\"10.0.0.1\"");
	/* never trusted to be well formed */
	value_is(1007, "{1,2", "[1, 2]", "[1, 2]");
	value_is(1009, "{\"a", "['a']", "[\"a\"]");
}

/* ---- history ---- */

static void
history_is(enum table_format fmt, const char *wanted)
{
	struct view *v = view_new();
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);

	v->history = calloc(2, sizeof(*v->history));
	v->nhistory = 2;
	v->history[0].elements = 5;
	v->history[0].timeline = 5;
	v->history[0].lsn = 67108960;
	(void)text_set(
	    v->history[0].reason, TEXT_SIZE, "no recovery target specified");
	(void)text_set(v->history[0].timestamp, WORD_SIZE,
	    "2026-03-01T08:15:02.123456+00:00");
	(void)text_set(v->history[0].new_leader, NAME_SIZE, "db2");
	v->history[1] = v->history[0];
	v->history[1].elements = 3;
	v->history[1].timeline = 6;
	v->history[1].lsn = 134217888;
	v->history[1].timestamp[0] = v->history[1].new_leader[0] = '\0';
	history_print(v, fmt, f);
	fclose(f);
	assert_string_equal(buf, wanted);
	free(buf);
	view_free(v);
}

static void
test_history(void **state)
{
	(void)state;
	history_is(FMT_PRETTY,
	    "+----+-----------+------------------------------+----------------------------------+------------+\n"
	    "| TL |       LSN | Reason                       | Timestamp                        | New Leader |\n"
	    "+----+-----------+------------------------------+----------------------------------+------------+\n"
	    "|  5 |  67108960 | no recovery target specified | 2026-03-01T08:15:02.123456+00:00 | db2        |\n"
	    "|  6 | 134217888 | no recovery target specified |                                  |            |\n"
	    "+----+-----------+------------------------------+----------------------------------+------------+\n");
	history_is(FMT_TSV,
	    "TL\tLSN\tReason\tTimestamp\tNew Leader\n"
	    "5\t67108960\tno recovery target specified\t"
	    "2026-03-01T08:15:02.123456+00:00\tdb2\n"
	    "6\t134217888\tno recovery target specified\t\t\n");
	history_is(FMT_JSON,
	    "[{\"TL\": 5, \"LSN\": 67108960, \"Reason\": "
	    "\"no recovery target specified\", \"Timestamp\": "
	    "\"2026-03-01T08:15:02.123456+00:00\", \"New Leader\": \"db2\"}, "
	    "{\"TL\": 6, \"LSN\": 134217888, \"Reason\": "
	    "\"no recovery target specified\", \"Timestamp\": \"\", "
	    "\"New Leader\": \"\"}]\n");
	history_is(FMT_YAML,
	    "- LSN: 67108960\n  New Leader: db2\n"
	    "  Reason: no recovery target specified\n  TL: 5\n"
	    "  Timestamp: '2026-03-01T08:15:02.123456+00:00'\n"
	    "- LSN: 134217888\n  New Leader: ''\n"
	    "  Reason: no recovery target specified\n  TL: 6\n"
	    "  Timestamp: ''\n\n");
}

/* A table without names of columns: rows alone. */
static void
test_unnamed(void **state)
{
	static const struct {
		enum table_format fmt;
		const char *wanted;
	} cases[] = { { FMT_TSV, "x;y\n" },
		{ FMT_PRETTY,
		    "+---------+---------+\n"
		    "| Field 1 | Field 2 |\n+---------+---------+\n"
		    "| x       | y       |\n+---------+---------+\n" },
		{ FMT_JSON, "[{}]\n" }, { FMT_YAML, "- {}\n\n" } };
	size_t i, len;
	struct table t;
	struct tree *row;
	char *buf;
	FILE *f;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf = NULL;
		f = open_memstream(&buf, &len);
		table_init(&t);
		t.unnamed = true;
		t.delimiter = ";";
		table_column(&t, "Field 1", NULL, false);
		table_column(&t, "Field 2", NULL, false);
		row = table_row(&t);
		tree_append(row, tree_text("x"));
		tree_append(row, tree_text("y"));
		table_print(&t, cases[i].fmt, f);
		table_free(&t);
		fclose(f);
		assert_string_equal(buf, cases[i].wanted);
		free(buf);
	}
}

/* ---- roles ---- */

static void
role_gives(const struct view *v, const char *role, const char *wanted)
{
	static const struct ctl whole = { .group = -1 };
	struct targets t;
	char names[256];

	select_role(&whole, v, role, &t);
	select_names(&t, names, sizeof(names));
	assert_string_equal(names, wanted);
}

static void
test_roles(void **state)
{
	struct view *v = view_new();
	size_t i;

	(void)state;
	v->members = calloc(3, sizeof(*v->members));
	v->nmembers = 3;
	for (i = 0; i < 3; i++)
		v->members[i].name[0] = (char)('a' + i);
	role_gives(v, "leader", "");
	role_gives(v, "replica", "a, b, c");
	(void)text_set(v->leader, NAME_SIZE, "b");
	(void)text_set(v->members[1].role, WORD_SIZE, "primary");
	role_gives(v, "leader", "b");
	role_gives(v, "primary", "b");
	role_gives(v, "standby-leader", "");
	role_gives(v, "replica", "a, c");
	role_gives(v, "standby", "a, c");
	role_gives(v, "any", "a, b, c");
	(void)text_set(v->members[1].role, WORD_SIZE, "standby_leader");
	role_gives(v, "primary", "");
	role_gives(v, "standby-leader", "b");
	v->members[1].role[0] = '\0';
	role_gives(v, "primary", "b");
	role_gives(v, "standby-leader", "b");
	(void)text_set(v->leader, NAME_SIZE, "gone");
	role_gives(v, "leader", "gone");
	role_gives(v, "any", "a, b, c");
	view_free(v);
}

/* ---- prompts, each in a process of its own ---- */

/* What the child wrote to stdout and stderr, and its exit code. */
static int
answer(const char *input, void (*ask)(void), char *out, size_t size)
{
	int in[2], res[2], status = 0;
	ssize_t n;
	size_t used = 0;
	pid_t pid;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(res), 0);
	assert_int_equal(write(in[1], input, strlen(input)), strlen(input));
	close(in[1]);
	if ((pid = fork()) == 0) {
		dup2(in[0], 0);
		dup2(res[1], 1);
		dup2(res[1], 2);
		ask();
		fflush(stdout);
		_exit(0);
	}
	close(in[0]);
	close(res[1]);
	while ((n = read(res[0], out + used, size - used - 1)) > 0)
		used += (size_t)n;
	out[used] = '\0';
	close(res[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
ask_confirm(void)
{
	puts(prompt_confirm("Go %d?", 1) ? "<yes>" : "<no>");
}

static void
ask_text(void)
{
	printf("<%s>", prompt_text("dflt", "Name"));
	printf("<%s>", prompt_text("", "Other"));
	printf("<%s>", prompt_text(NULL, "Must"));
}

static void
ask_integer(void)
{
	printf("<%d>", prompt_integer("Citus group"));
}

static void
test_prompts(void **state)
{
	static const struct {
		const char *input, *out;
		int code;
	} confirms[] = { { "y\n", "Go 1? [y/N]: <yes>\n", 0 },
		{ " YES \n", "Go 1? [y/N]: <yes>\n", 0 },
		{ "y", "Go 1? [y/N]: <yes>\n", 0 },
		{ "n\n", "Go 1? [y/N]: <no>\n", 0 },
		{ "No\n", "Go 1? [y/N]: <no>\n", 0 },
		{ "\n", "Go 1? [y/N]: <no>\n", 0 },
		{ "x\ny\n",
		    "Go 1? [y/N]: Error: invalid input\n"
		    "Go 1? [y/N]: <yes>\n",
		    0 },
		{ "", "Go 1? [y/N]: Aborted!\n", 1 },
		{ "what",
		    "Go 1? [y/N]: Error: invalid input\n"
		    "Go 1? [y/N]: Aborted!\n",
		    1 } };
	char out[512];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(confirms) / sizeof(confirms[0]); i++) {
		assert_int_equal(
		    answer(confirms[i].input, ask_confirm, out, sizeof(out)),
		    confirms[i].code);
		assert_string_equal(out, confirms[i].out);
	}
	assert_int_equal(
	    answer("\n x \n\n\nv\n", ask_text, out, sizeof(out)), 0);
	assert_string_equal(out,
	    "Name [dflt]: <dflt>Other []: < x >"
	    "Must: Must: Must: <v>");
	assert_int_equal(
	    answer("abc\n-1\n7\n", ask_integer, out, sizeof(out)), 0);
	assert_string_equal(out,
	    "Citus group: Error: 'abc' is not a valid "
	    "integer.\nCitus group: Error: '-1' is not a valid integer.\n"
	    "Citus group: <7>");
}

/* ---- command lines ---- */

static void
parse_master(void)
{
	static struct parsed p;
	char r[] = "-r", m[] = "master", c[] = "orders", s[] = "-s",
	     x[] = "a=1", y[] = "b=2";

	options_parse(command_find("dsn"), 3, (char *[]){ c, r, m, NULL }, &p);
	printf("%s ", parsed_text(&p, "--role"));
	options_parse(
	    command_find("edit-config"), 4, (char *[]){ s, x, s, y, NULL }, &p);
	printf("%d %s %s", p.ngiven, p.given[0].text, p.given[1].text);
}

static void
parse_abbreviation(void)
{
	static struct parsed p;
	char f[] = "--forc";

	options_parse(command_find("pause"), 1, (char *[]){ f, NULL }, &p);
}

static void
parse_missing(void)
{
	static struct parsed p;

	options_parse(command_find("restart"), 0, (char *[]){ NULL }, &p);
}

static void
test_command_lines(void **state)
{
	char out[1024];
	const struct command *c;

	(void)state;
	assert_int_equal(answer("", parse_master, out, sizeof(out)), 0);
	assert_string_equal(out, "primary 2 a=1 b=2");
	assert_int_equal(answer("", parse_abbreviation, out, sizeof(out)), 2);
	assert_non_null(strstr(out, "Error: No such option: --forc"));
	assert_int_equal(answer("", parse_missing, out, sizeof(out)), 2);
	assert_string_equal(out,
	    "Usage: patronictl restart [OPTIONS] "
	    "CLUSTER_NAME [MEMBER_NAMES]...\n"
	    "Try 'patronictl restart --help' for help.\n\n"
	    "Error: Missing argument 'CLUSTER_NAME'.\n");
	for (c = commands; c[1].name != NULL; c++)
		assert_true(strcmp(c->name, c[1].name) < 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_dates_of_summer),
		cmocka_unit_test(test_dates_wrong),
		cmocka_unit_test(test_dates_of_today),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_diff),
		cmocka_unit_test(test_diff_in_colour),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_unnamed),
		cmocka_unit_test(test_roles),
		cmocka_unit_test(test_prompts),
		cmocka_unit_test(test_command_lines),
	};

	log_init("test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
