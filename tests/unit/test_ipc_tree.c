/*
 * test_ipc_tree.c: value trees, their merge, comparison and binary form; the
 * cluster view's binary form; tags.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/messages.h"

static struct tree *
sample(void)
{
	struct tree *t = tree_map(), *l = tree_list(), *m = tree_map();

	tree_append(l, tree_int(-5));
	tree_append(l, tree_real(0.25));
	tree_append(l, tree_null());
	tree_set(m, "on", tree_bool(true));
	tree_set(m, "text", tree_text("x y"));
	tree_set(t, "list", l);
	tree_set(t, "map", m);
	return t;
}

static void
test_build_and_read(void **state)
{
	struct tree *t = sample();

	(void)state;
	assert_int_equal(tree_count(t), 2);
	assert_string_equal(tree_path_text(t, "map.text", "?"), "x y");
	assert_true(tree_path_bool(t, "map.on", false));
	assert_null(tree_path(t, "map.none.deeper"));
	assert_int_equal(tree_path_int(t, "map.text", 9), 9);
	assert_true(tree_set(t, "list", tree_int(1)));
	assert_int_equal(tree_count(t), 2);
	assert_string_equal(tree_child(t, 0)->key, "list");
	tree_remove(t, "list");
	assert_null(tree_get(t, "list"));
	assert_non_null(tree_get_nocase(t, "MAP"));
	tree_free(t);
}

static void
test_codec(void **state)
{
	struct tree *t = sample(), *u;
	uint8_t *buf;
	size_t len;

	(void)state;
	t->line = 7;
	assert_true(tree_encode(t, &buf, &len));
	u = tree_decode(buf, len);
	assert_non_null(u);
	assert_true(tree_equal(t, u));
	assert_int_equal(u->line, 7);
	tree_free(u);
	/* no prefix and no longer input is a tree */
	for (size_t i = 0; i < len; i++)
		assert_null(tree_decode(buf, i));
	assert_non_null(buf = realloc(buf, len + 1));
	buf[len] = 0;
	assert_null(tree_decode(buf, len + 1));
	/* a broken byte gives another tree or none, never a crash */
	for (size_t i = 0; i < len; i++) {
		buf[i] ^= 0xff;
		tree_free(tree_decode(buf, len));
		buf[i] ^= 0xff;
	}
	free(buf);
	tree_free(t);
}

static void
test_depth_is_bounded(void **state)
{
	struct tree *t = tree_list(), *at = t;
	uint8_t *buf;
	size_t len;

	(void)state;
	for (int i = 0; i < TREE_MAX_DEPTH; i++) {
		struct tree *l = tree_list();

		tree_append(at, l);
		at = l;
	}
	assert_false(tree_encode(t, &buf, &len));
	tree_free(t);
}

static void
test_patch(void **state)
{
	struct tree *base = sample(), *over = tree_map(), *m = tree_map();
	bool changed = false;

	(void)state;
	tree_set(m, "on", tree_text("True")); /* same text form: kept */
	tree_set(m, "new", tree_int(1));
	tree_set(over, "map", m);
	assert_true(tree_patch(base, over, &changed));
	assert_true(changed);
	assert_int_equal(tree_path(base, "map.on")->type, TREE_BOOL);
	assert_int_equal(tree_path_int(base, "map.new", 0), 1);
	changed = false;
	assert_true(tree_patch(base, over, &changed));
	assert_false(changed);
	tree_set(over, "list", tree_null()); /* null deletes */
	assert_true(tree_patch(base, over, &changed));
	assert_null(tree_get(base, "list"));
	tree_free(base);
	tree_free(over);
}

static void
test_loose_equality(void **state)
{
	struct tree *a = tree_map(), *b = tree_map();

	(void)state;
	tree_set(a, "n", tree_int(2));
	tree_set(b, "n", tree_text("2"));
	assert_true(tree_equal_loose(a, b));
	assert_false(tree_equal(a, b));
	tree_set(a, "x", tree_null());
	assert_false(tree_equal_loose(a, b)); /* absent is not null */
	tree_free(a);
	tree_free(b);
}

static void
test_real_text(void **state)
{
	const struct {
		double r;
		const char *text;
	} c[] = { { 1.0, "1.0" }, { 0.1, "0.1" }, { 1.5e300, "1.5e+300" },
		{ -2.25, "-2.25" }, { 1.0 / 3, "0.3333333333333333" } };
	char buf[64];

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct tree *t = tree_real(c[i].r);

		tree_scalar_text(t, buf, sizeof(buf));
		assert_string_equal(buf, c[i].text);
		tree_free(t);
	}
}

static struct view *
sample_view(void)
{
	struct view *v = view_new();

	v->has_leader = 1;
	text_set(v->leader, sizeof(v->leader), "a");
	v->has_config = 1;
	v->config = sample();
	v->nslots = 1;
	v->slots = calloc(1, sizeof(*v->slots));
	text_set(v->slots[0].name, NAME_SIZE, "s");
	v->slots[0].lsn = UINT64_MAX;
	v->nhistory = 2;
	v->history = calloc(2, sizeof(*v->history));
	v->history[1].timeline = 3;
	v->nsync_standby = 1;
	v->sync_standby = calloc(1, NAME_SIZE);
	text_set(v->sync_standby[0], NAME_SIZE, "b");
	v->nmembers = 2;
	v->members = calloc(2, sizeof(*v->members));
	text_set(v->members[0].name, NAME_SIZE, "a");
	text_set(v->members[1].name, NAME_SIZE, "b");
	v->members[1].tags_doc = sample();
	v->members[1].tags.failover_priority = -3;
	return v;
}

static void
test_view_codec(void **state)
{
	struct view *v = sample_view(), *w, *c;
	uint8_t *buf;
	size_t len;

	(void)state;
	v->loaded_ns = 5;
	assert_true(view_encode(v, &buf, &len));
	w = view_decode(buf, len);
	assert_non_null(w);
	assert_true(view_equal(v, w));
	assert_int_equal(w->loaded_ns, 5);
	assert_int_equal(w->members[1].tags.failover_priority, -3);
	assert_non_null(view_member(w, "b"));
	assert_null(view_member(w, "B"));
	c = view_copy(w);
	assert_true(view_equal(c, w));
	c->members[0].xlog_location++;
	assert_false(view_equal(c, w));
	for (size_t i = 0; i < len; i++) {
		assert_null(view_decode(buf, i));
		buf[i] ^= 0xff;
		view_free(view_decode(buf, len));
		buf[i] ^= 0xff;
	}
	free(buf);
	view_free(c);
	view_free(v);
	view_free(w);
}

/* The sanitizer build tells when one of them is freed too early or never. */
static void
test_shares(void **state)
{
	struct tree *t = sample(), *also, *copy;
	struct view *v = sample_view(), *held, *own;

	(void)state;
	assert_null(tree_share(NULL));
	assert_null(view_share(NULL));
	also = tree_share(t);
	assert_ptr_equal(also, t);
	copy = tree_copy(also); /* shared by nobody */
	tree_free(t);
	assert_true(tree_equal(also, copy));
	tree_free_wiped(also);
	tree_free(copy);

	held = view_share(v);
	assert_ptr_equal(held, v);
	own = view_copy(held);
	view_free(v);
	assert_true(view_equal(held, own));
	view_free(held);
	assert_int_equal(own->nmembers, 2);
	view_free(own);
}

static void
test_unlocked_and_empty(void **state)
{
	struct view *v = view_new();

	(void)state;
	assert_true(view_unlocked(NULL));
	assert_true(view_unlocked(v));
	assert_true(view_empty(v));
	v->has_leader = 1; /* a key with an empty name */
	assert_true(view_unlocked(v));
	assert_false(view_empty(v));
	text_set(v->leader, sizeof(v->leader), "a");
	assert_false(view_unlocked(v));
	view_free(v);
}

static void
test_tags(void **state)
{
	struct tree *m = tree_map();
	struct tags t;

	(void)state;
	tags_parse(NULL, &t);
	assert_int_equal(t.failover_priority, 1);
	assert_int_equal(t.sync_priority, 1);
	assert_false(t.nofailover || t.nosync || t.nostream || t.clonefrom);
	tree_set(m, "failover_priority", tree_int(0));
	tags_parse(m, &t);
	assert_true(t.nofailover);
	assert_int_equal(t.failover_priority, 0);
	/* the flag, where given, decides */
	tree_set(m, "nofailover", tree_bool(false));
	tags_parse(m, &t);
	assert_false(t.nofailover);
	tree_set(m, "nofailover", tree_bool(true));
	tree_set(m, "failover_priority", tree_int(5));
	tags_parse(m, &t);
	assert_true(t.nofailover);
	assert_int_equal(t.failover_priority, 0);
	/* truthiness for most, boolean reading for nostream */
	tree_set(m, "noloadbalance", tree_text("false"));
	tree_set(m, "nostream", tree_text("false"));
	tree_set(m, "replicatefrom", tree_text("c"));
	tags_parse(m, &t);
	assert_true(t.noloadbalance);
	assert_false(t.nostream);
	assert_string_equal(t.replicatefrom, "c");
	tree_free(m);
}

static void
test_numbers(void **state)
{
	int64_t v = 77;

	(void)state;
	assert_true(text_to_int64("-12", -12, 0, &v));
	assert_int_equal(v, -12);
	assert_false(text_to_int64("13", 0, 12, &v));
	assert_false(text_to_int64("", 0, 12, &v));
	assert_false(text_to_int64(" 1", 0, 12, &v));
	assert_false(text_to_int64("1x", 0, 12, &v));
	assert_false(text_to_int64("99999999999999999999", 0, INT64_MAX, &v));
	assert_int_equal(v, -12);
}

static void
test_text_never_cut(void **state)
{
	char field[4] = "abc";

	(void)state;
	assert_false(text_set(field, sizeof(field), "wxyz"));
	assert_string_equal(field, "");
	assert_true(text_set(field, sizeof(field), "xyz"));
	assert_string_equal(field, "xyz");
}

static void
test_role_names(void **state)
{
	bool known;

	(void)state;
	assert_int_equal(pg_role_parse("master", &known), ROLE_PRIMARY);
	assert_true(known);
	assert_int_equal(pg_role_parse("boss", &known), ROLE_UNINITIALIZED);
	assert_false(known);
	for (unsigned int i = 0; i < STATE_COUNT; i++)
		assert_int_equal(
		    pg_state_parse(pg_state_name((enum pg_state)i), NULL), i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build_and_read),
		cmocka_unit_test(test_codec),
		cmocka_unit_test(test_depth_is_bounded),
		cmocka_unit_test(test_patch),
		cmocka_unit_test(test_loose_equality),
		cmocka_unit_test(test_real_text),
		cmocka_unit_test(test_view_codec),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_unlocked_and_empty),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_text_never_cut),
		cmocka_unit_test(test_role_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
