/*
 * test_conf_yaml.c: the YAML dialect (spec/config.md 3.1), its limits, and
 * that what is written reads back as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../master/conf/conf.h"

static struct tree *
parse(const char *text)
{
	char err[256];
	struct tree *t =
	    conf_yaml_parse(text, strlen(text), 1, err, sizeof(err));

	if (t == NULL)
		fail_msg("%s: %s", text, err);
	return t;
}

static void
refused(const char *text, const char *why)
{
	char err[256];
	struct tree *t =
	    conf_yaml_parse(text, strlen(text), 1, err, sizeof(err));

	if (t != NULL) {
		tree_free(t);
		fail_msg("accepted: %s", text);
	}
	if (strstr(err, why) == NULL)
		fail_msg("%s: \"%s\" lacks \"%s\"", text, err, why);
}

static void
test_scalars(void **state)
{
	static const struct {
		const char *text;
		enum tree_type type;
		const char *form; /* text form */
	} t[] = { { "yes", TREE_BOOL, "True" }, { "Off", TREE_BOOL, "False" },
		{ "TRUE", TREE_BOOL, "True" }, { "oN", TREE_TEXT, "oN" },
		{ "y", TREE_TEXT, "y" }, { "n", TREE_TEXT, "n" },
		{ "~", TREE_NULL, "None" }, { "Null", TREE_NULL, "None" },
		{ "", TREE_NULL, "None" }, { "0644", TREE_INT, "420" },
		{ "0b11", TREE_INT, "3" }, { "0x1f", TREE_INT, "31" },
		{ "1_000", TREE_INT, "1000" }, { "1:30", TREE_INT, "90" },
		{ "-5", TREE_INT, "-5" }, { "0", TREE_INT, "0" },
		{ "08", TREE_TEXT, "08" }, { "1.5", TREE_REAL, "1.5" },
		{ "1.", TREE_REAL, "1.0" }, { ".5", TREE_REAL, "0.5" },
		{ "1.5e+3", TREE_REAL, "1500.0" }, { "1e3", TREE_TEXT, "1e3" },
		{ "1.5e3", TREE_TEXT, "1.5e3" }, { ".inf", TREE_REAL, "inf" },
		{ "-.inf", TREE_REAL, "-inf" }, { ".nan", TREE_REAL, "nan" },
		{ "2001-12-14", TREE_TEXT, "2001-12-14" },
		{ "10.0.0.1:2379", TREE_TEXT, "10.0.0.1:2379" },
		{ "10.0.0.1", TREE_TEXT, "10.0.0.1" },
		{ "1:60", TREE_TEXT, "1:60" },
		{ "127.0.0.1:8008", TREE_TEXT, "127.0.0.1:8008" },
		{ "node1:5432", TREE_TEXT, "node1:5432" },
		{ "99999999999999999999", TREE_TEXT, "99999999999999999999" },
		{ "1:30.5", TREE_REAL, "90.5" }, { ".", TREE_TEXT, "." },
		{ "-", TREE_TEXT, "-" }, { "+", TREE_TEXT, "+" },
		{ "_1", TREE_TEXT, "_1" } };
	char form[64];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct tree *s = conf_yaml_scalar(t[i].text);

		assert_non_null(s);
		tree_scalar_text(s, form, sizeof(form));
		if (s->type != t[i].type || strcmp(form, t[i].form) != 0)
			fail_msg(
			    "%s: type %d, %s", t[i].text, (int)s->type, form);
		tree_free(s);
	}
}

static void
test_documents(void **state)
{
	struct tree *t = parse("a: &x {k: 1, l: 2}\n"
			       "b:\n  <<: *x\n  l: 3\n"
			       "c: 'yes'\n"
			       "d: 1\nd: 2\n"
			       "e: [a, \"b\", 0644]\n"
			       "f: !!str 12\n"
			       "g: |\n  two\n  lines\n"
			       "h: *x\n");

	(void)state;
	assert_int_equal(tree_path_int(t, "b.k", 0), 1);
	assert_int_equal(tree_path_int(t, "b.l", 0), 3);
	assert_string_equal(tree_path_text(t, "c", ""), "yes");
	assert_int_equal(tree_path_int(t, "d", 0), 2);
	assert_int_equal(tree_child(tree_get(t, "e"), 2)->u.i, 420);
	assert_string_equal(tree_path_text(t, "f", ""), "12");
	assert_string_equal(tree_path_text(t, "g", ""), "two\nlines\n");
	assert_int_equal(tree_path_int(t, "h.l", 0), 2);
	assert_int_equal(CONF_LINE(tree_path(t, "b.l")->line), 4);
	assert_int_equal(CONF_LINE(tree_get(t, "b")->line), 2);
	assert_int_equal(CONF_FILE(tree_get(t, "b")->line), 1);
	tree_free(t);
	t = parse("a: {<<: [{x: 1}, {x: 2, y: 3}]}");
	assert_int_equal(tree_path_int(t, "a.x", 0), 1);
	assert_int_equal(tree_path_int(t, "a.y", 0), 3);
	tree_free(t);
	t = parse("# nothing\n");
	assert_int_equal(t->type, TREE_NULL);
	tree_free(t);
}

static void
test_refused(void **state)
{
	(void)state;
	refused("a: [1", "line");
	refused("a: 1\n---\nb: 2\n", "more than one document");
	refused("a: *x\n", "alias *x without an anchor");
	refused("a: &x [*x]\n", "alias *x without an anchor");
	refused("? [1, 2]\n: 3\n", "a key must be a scalar");
	refused("a: !python/object:os.system x\n", "unknown tag");
	refused("a: !!binary aGVsbG8=\n", "unknown tag");
	refused("a: \"x\\0y\"\n", "NUL");
	refused("a:\n\tb: 1\n", "line 2");
	refused("<<: 1\n", "<<");
	refused("a: 1\nb: c: d\n", "line 2");
}

static void
test_limits(void **state)
{
	char deep[512], err[256], bomb[2048], *big;
	size_t n = 0;

	(void)state;
	memset(deep, '[', 100);
	memset(deep + 100, ']', 100);
	assert_null(conf_yaml_parse(deep, 200, 1, err, sizeof(err)));
	assert_non_null(strstr(err, "too deep"));
	n += (size_t)sprintf(bomb, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 10; i++)
		n += (size_t)sprintf(bomb + n,
		    "a%d: &a%d [*a%d,*a%d,*a%d,"
		    "*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n",
		    i, i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1,
		    i - 1, i - 1);
	assert_null(conf_yaml_parse(bomb, n, 1, err, sizeof(err)));
	assert_non_null(strstr(err, "too large"));
	big = malloc(CONF_MAX_FILE + 1);
	assert_non_null(big);
	memset(big, ' ', CONF_MAX_FILE + 1);
	assert_null(
	    conf_yaml_parse(big, CONF_MAX_FILE + 1, 1, err, sizeof(err)));
	free(big);
}

static void
test_write(void **state)
{
	static const char *const texts[] = {
		"a: 1\nb: 'yes'\nc:\n- x\n- 'y: z'\n"
		"d: {}\ne: []\nf: null\n",
		"a:\n- b: 1\n  c: 2\n- - 1\n  - 2\n- it's\n",
		"a: ''\nb: '- x'\nc: -x\nd: \"tab\\there\"\ne: 1.0e-06\n"
		"f: '#FIXME'\ng: 'a #b'\nh: '%(message)s'\n"
	};
	char *out;
	size_t len;
	FILE *f;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct tree *t = parse(texts[i]), *again;

		f = open_memstream(&out, &len);
		assert_non_null(f);
		conf_yaml_write(t, 0, true, f);
		fclose(f);
		assert_string_equal(out, texts[i]);
		again = parse(out);
		assert_true(tree_equal(t, again));
		tree_free(again);
		tree_free(t);
		free(out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_scalars),
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_write) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
