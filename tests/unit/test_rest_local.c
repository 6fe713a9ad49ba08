/*
 * test_rest_local.c: actions that come over the control socket: whatever is
 * asked, and whatever is out of order, there is exactly one answer.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <event2/event.h>

#include "../../ipc/log.h"
#include "../../rest/rest.h"

static struct {
	struct event_base *base;
	struct rest *rest;
	int asked;  /* requests to other helpers */
	bool takes; /* and whether they can be sent */
	rest_reply_cb cb;
	void *arg;
	int answers;
	uint64_t id;
	int code;
	char text[256];
} t;

static uint64_t
request(void *ctx, enum proc to, uint16_t type, const void *body,
    const void *var, size_t var_len, int64_t deadline_ns, rest_reply_cb cb,
    void *arg)
{
	(void)ctx;
	(void)to;
	(void)type;
	(void)body;
	(void)var;
	(void)var_len;
	(void)deadline_ns;
	t.asked++;
	t.cb = cb;
	t.arg = arg;
	return t.takes ? 1 : 0;
}

static void
answer(void *ctx, uint64_t id, int code, const char *text)
{
	(void)ctx;
	t.answers++;
	t.id = id;
	t.code = code;
	snprintf(t.text, sizeof(t.text), "%s", text);
}

static int
setup(void **state)
{
	static const struct rest_ops ops = { .request = request,
		.answer = answer };

	(void)state;
	memset(&t, 0, sizeof(t));
	t.base = event_base_new();
	t.rest = rest_open(t.base, &ops);
	return t.rest == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	rest_close(t.rest);
	event_base_free(t.base);
	return 0;
}

static void
answered(uint64_t id, int code, const char *text)
{
	assert_int_equal(t.answers, 1);
	assert_int_equal(t.id, id);
	assert_int_equal(t.code, code);
	assert_string_equal(t.text, text);
	t.answers = 0;
}

/* What could not be decoded, and what is no map. */
static void
test_unusable_body(void **state)
{
	(void)state;
	rest_local_action(t.rest, 7, API_SWITCHOVER, NULL);
	answered(7, 400, "the body is not usable");
	rest_local_action(t.rest, 8, API_RESTART, tree_list());
	answered(8, 400, "the body is not usable");
	rest_local_action(t.rest, 9, API_KIND_COUNT, tree_map());
	answered(9, 400, "no such action");
	assert_int_equal(t.asked, 0);
}

/* Neither the store's helper nor the controller can be asked. */
static void
test_nobody_there(void **state)
{
	static const enum api_action live[] = { API_SWITCHOVER, API_FAILOVER,
		API_CANCEL_SWITCHOVER, API_RESTART };
	uint64_t i;

	(void)state;
	for (i = 0; i < sizeof(live) / sizeof(live[0]); i++) {
		rest_local_action(t.rest, i + 1, live[i], tree_map());
		event_base_loop(t.base, EVLOOP_NONBLOCK);
		answered(i + 1, 503, "DCS is not accessible");
	}
	rest_local_action(t.rest, 20, API_CANCEL_RESTART, tree_map());
	answered(20, 503, "no reply from the HA loop");
}

/* They were asked and are lost meanwhile. */
static void
test_lost_meanwhile(void **state)
{
	(void)state;
	t.takes = true;
	rest_local_action(t.rest, 1, API_SWITCHOVER, tree_map());
	assert_int_equal(t.answers, 0);
	t.cb(t.rest, NULL, EPIPE, t.arg);
	answered(1, 503, "DCS is not accessible");
	rest_local_action(t.rest, 2, API_CANCEL_RESTART, tree_map());
	assert_int_equal(t.answers, 0);
	t.cb(t.rest, NULL, ETIMEDOUT, t.arg);
	answered(2, 503, "no reply from the HA loop");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_unusable_body, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_nobody_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_lost_meanwhile, setup, teardown),
	};

	log_init("test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
