/*
 * test_conf_values.c: spec/config.md 3.2, 3.3, 13.1 as tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../ipc/values.h"

static void
test_bool(void **state)
{
	static const struct {
		const char *text;
		int want;
	} t[] = { { "on", 1 }, { "True", 1 }, { "YES", 1 }, { "1", 1 },
		{ "off", 0 }, { "false", 0 }, { "No", 0 }, { "0", 0 },
		{ "t", -1 }, { "of", -1 }, { "", -1 }, { "2", -1 },
		{ " on", -1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(value_bool(t[i].text), t[i].want);
}

#define BAD INT64_MIN

static void
test_int(void **state)
{
	static const struct {
		const char *text, *unit;
		int64_t want;
	} t[] = { { "10", NULL, 10 }, { " 10 ", NULL, 10 },
		{ "0x1F", NULL, 31 }, { "0644", NULL, 420 },
		{ "08", NULL, BAD }, { "-5", NULL, -5 }, { "+5", NULL, 5 },
		{ "1.5", NULL, 2 }, { "2.5", NULL, 2 }, { "3.5", NULL, 4 },
		{ ".5", NULL, 0 }, { "1e3", NULL, 1000 }, { "1kB", NULL, BAD },
		{ "", NULL, BAD }, { "x", NULL, BAD },
		{ "4097.5kB", "kB", 4098 }, { "1TB", "16MB", 65536 },
		{ "1GB", "8kB", 131072 }, { "1MB", "kB", 1024 },
		{ "1 MB", "kB", 1024 }, { "1mb", "kB", BAD },
		{ "1min", "kB", BAD }, { "30min", "s", 1800 },
		{ "1h", "min", 60 }, { "1d", "s", 86400 }, { "500ms", "s", 0 },
		{ "1500ms", "s", 2 }, { "1us", "ms", 0 }, { "1B", "MB", 0 },
		{ "9223372036854775807", NULL, INT64_MAX },
		{ "9223372036854775808", NULL, BAD }, { "1e30", NULL, BAD },
		{ "5.", NULL, BAD }, { "1 0", NULL, BAD },
		{ "16384kB", "16384kB", 1 } };
	int64_t out;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		out = BAD;
		if (value_int(t[i].text, t[i].unit, &out) !=
			(t[i].want != BAD) ||
		    out != t[i].want)
			fail_msg("\"%s\" in %s gave %lld", t[i].text,
			    t[i].unit != NULL ? t[i].unit : "-",
			    (long long)out);
	}
}

static void
test_real(void **state)
{
	double out;

	(void)state;
	assert_true(value_real("0.1", NULL, &out) && out == 0.1);
	assert_true(value_real("5", NULL, &out) && out == 5.0);
	assert_true(value_real("0.0005ms", "ms", &out) && out == 0.0);
	assert_true(value_real("1.5s", "ms", &out) && out == 1500.0);
	assert_true(value_real("-1", "ms", &out) && out == -1.0);
	assert_false(value_real("1ms", NULL, &out));
	assert_false(value_real("nan", NULL, &out));
	assert_false(value_real("1e999", NULL, &out));
}

static void
test_human(void **state)
{
	static const struct {
		const char *text;
		bool real;
		const char *unit, *want;
	} t[] = { { "1025", false, "kB", "1025kB" },
		{ "131072", false, "8kB", "1GB" },
		{ "-1", false, "ms", "-1ms" }, { "0", false, "kB", "0" },
		{ "x", false, "kB", "x" }, { "100", false, NULL, "100" },
		{ "60000", false, "ms", "1min" }, { "2", true, "ms", "2ms" },
		{ "0.5", true, "ms", "500us" }, { "64", false, "16MB", "1GB" },
		{ "3600", false, "s", "1h" } };
	char buf[64];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_string_equal(value_human(t[i].text, t[i].real, t[i].unit,
					buf, sizeof(buf)),
		    t[i].want);
}

static void
test_host_port(void **state)
{
	static const struct {
		const char *text;
		int dflt;
		const char *host; /* NULL: refused */
		int port;
	} t[] = { { "10.0.0.1:5433", 5432, "10.0.0.1", 5433 },
		{ "localhost", 5432, "localhost", 5432 },
		{ "localhost", 0, NULL, 0 }, { "a,b:5432", 5432, "a,b", 5432 },
		{ "[::1]:8008", 0, "::1", 8008 },
		{ "::1:8008", 0, "::1", 8008 },
		{ "[::1], [fe80::1]:5432", 0, "::1,fe80::1", 5432 },
		{ "[::1]", 5432, NULL, 0 }, { "h:0", 1, NULL, 0 },
		{ "h:65536", 1, NULL, 0 }, { "h:x", 1, NULL, 0 },
		{ "h:", 1, NULL, 0 }, { "h: 80 ", 1, "h", 80 },
		{ "*:5432", 1, "*", 5432 } };
	char host[64];
	int port;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (value_host_port(t[i].text, t[i].dflt, host, sizeof(host),
			&port) != (t[i].host != NULL))
			fail_msg("%s", t[i].text);
		if (t[i].host == NULL)
			continue;
		assert_string_equal(host, t[i].host);
		assert_int_equal(port, t[i].port);
	}
	assert_false(value_host_port("abcdef:1", 1, host, 4, &port));
}

static void
test_percent(void **state)
{
	char out[16];

	(void)state;
	assert_true(percent_decode("a%20b%2Fc", 9, out));
	assert_string_equal(out, "a b/c");
	assert_true(percent_decode("", 0, out));
	assert_string_equal(out, "");
	assert_false(percent_decode("a%2", 3, out));
	assert_false(percent_decode("a%zz", 4, out));
	assert_false(percent_decode("a%00", 4, out));
	/* the escape ends with the length, not with the text */
	assert_false(percent_decode("%20", 2, out));
}

static void
test_version_numbers(void **state)
{
	static const struct {
		const char *text;
		int n;
		unsigned v[3];
	} cases[] = { { "4.1.4", 3, { 4, 1, 4 } },
		{ "15.3 (Debian 15.3-0)", 2, { 15, 3, 0 } },
		{ "16beta1", 1, { 16, 0, 0 } }, { "3.5.x", 2, { 3, 5, 0 } },
		{ "", 0, { 0, 0, 0 } }, { "not_decided", 0, { 0, 0, 0 } },
		{ "1.2.3.4", 3, { 1, 2, 3 } },
		{ "1.99999999999999999999.3", 1, { 1, 0, 0 } },
		{ "-1.2", 0, { 0, 0, 0 } } };
	unsigned v[3];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(version_numbers(cases[i].text, v), cases[i].n);
		assert_memory_equal(v, cases[i].v, sizeof(v));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_percent),
		cmocka_unit_test(test_version_numbers),
		cmocka_unit_test(test_bool), cmocka_unit_test(test_int),
		cmocka_unit_test(test_real), cmocka_unit_test(test_human),
		cmocka_unit_test(test_host_port) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
