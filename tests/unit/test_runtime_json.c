/*
 * test_runtime_json.c: JSON text to trees and back (helpers/json.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../helpers/json.h"

static void
round_trip(const char *in, enum json_form form, const char *expected)
{
	char why[128] = "";
	struct tree *t = tree_from_json(in, strlen(in), why, sizeof(why));
	char *out;
	size_t len;

	if (t == NULL)
		fail_msg("%s: %s", in, why);
	out = tree_to_json(t, form, &len);
	assert_non_null(out);
	assert_string_equal(out, expected);
	assert_int_equal(len, strlen(out));
	free(out);
	tree_free(t);
}

static void
writes_python_forms(void **state)
{
	const char *in =
	    "{\"b\" :1,\n\"a\":[true,null , -2.50,{}],\"c\":\"x\"}";

	(void)state;
	round_trip(in, JSON_FORM_COMPACT,
	    "{\"b\":1,\"a\":[true,null,-2.5,{}],\"c\":\"x\"}");
	round_trip(in, JSON_FORM_SPACED,
	    "{\"b\": 1, \"a\": [true, null, -2.5, {}], \"c\": \"x\"}");
	round_trip("\"\\u007f\\u001f\xc3\xa9\\ud83d\\ude00\\\"\\\\/\\n\"",
	    JSON_FORM_COMPACT,
	    "\"\\u007f\\u001f\\u00e9\\ud83d\\ude00\\\"\\\\/\\n\"");
}

static void
writes_numbers(void **state)
{
	(void)state;
	round_trip("0.1", JSON_FORM_COMPACT, "0.1");
	round_trip("3.0", JSON_FORM_COMPACT, "3.0");
	round_trip("1e22", JSON_FORM_COMPACT, "1e+22");
	round_trip("123456789012345680.0", JSON_FORM_COMPACT,
	    "1.2345678901234568e+17");
	round_trip(
	    "9223372036854775807", JSON_FORM_COMPACT, "9223372036854775807");
	round_trip(
	    "-9223372036854775808", JSON_FORM_COMPACT, "-9223372036854775808");
}

static void
last_duplicate_wins(void **state)
{
	(void)state;
	round_trip("{\"a\":1,\"b\":2,\"a\":3}", JSON_FORM_COMPACT,
	    "{\"a\":3,\"b\":2}");
}

static void
refused(const char *in, size_t len)
{
	char why[128] = "";
	struct tree *t = tree_from_json(in, len, why, sizeof(why));

	if (t != NULL)
		fail_msg("accepted: %.40s", in);
	assert_string_not_equal(why, "");
}

static void
refuses_what_is_not_json(void **state)
{
	static const char *const bad[] = { "", "{", "{a:1}", "[1,]", "NaN",
		"Infinity", "'x'", "\"\xff\"", "\"\xc0\x80\"",
		"\"\xed\xa0\x80\"", "\"\\u0000\"", "\"\\ud800\"", "{} x",
		"9223372036854775808", "1e999", "\"\n\"" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(bad[i], strlen(bad[i]));
	refused("[1\0]", 4);
}

static void
bounds_depth_and_size(void **state)
{
	char deep[2 * (TREE_MAX_DEPTH + 1) + 1];
	char *big;
	size_t n = TREE_MAX_NODES * 2 + 3;

	(void)state;
	memset(deep, '[', TREE_MAX_DEPTH + 1);
	memset(deep + TREE_MAX_DEPTH + 1, ']', TREE_MAX_DEPTH + 1);
	refused(deep, 2 * (TREE_MAX_DEPTH + 1));
	deep[2 * TREE_MAX_DEPTH + 1] = '\0';
	round_trip(deep + 1, JSON_FORM_COMPACT, deep + 1);
	big = malloc(n + 1);
	assert_non_null(big);
	big[0] = '[';
	for (size_t i = 1; i < n - 1; i++)
		big[i] = i % 2 ? '1' : ',';
	big[n - 2] = '1';
	big[n - 1] = ']';
	refused(big, n);
	free(big);
	big = calloc(1, JSON_MAX_TEXT + 1);
	assert_non_null(big);
	memset(big, ' ', JSON_MAX_TEXT + 1);
	big[0] = '1';
	refused(big, JSON_MAX_TEXT + 1);
	free(big);
}

static void
refuses_to_write_broken_text(void **state)
{
	static const char *const bad[] = { "\xff", "\xc3", "\xc0\x80",
		"\xed\xa0\x80", "\xf4\x90\x80\x80", "ab\xe2\x82" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tree *t = tree_text(bad[i]);

		assert_non_null(t);
		assert_null(tree_to_json(t, JSON_FORM_COMPACT, NULL));
		tree_free(t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_python_forms),
		cmocka_unit_test(writes_numbers),
		cmocka_unit_test(last_duplicate_wins),
		cmocka_unit_test(refuses_what_is_not_json),
		cmocka_unit_test(bounds_depth_and_size),
		cmocka_unit_test(refuses_to_write_broken_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
