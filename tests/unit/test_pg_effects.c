/*
 * test_pg_effects.c: what the core wants becomes messages, and every ask is
 * answered once (helpers/postgres/effects.c).  The links to the other helpers
 * and the core are this file's own; the data directory is a real one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg_jobs.h"

#define MAX_SENT 16

static struct sent {
	enum proc to;
	uint16_t type;
	uint8_t *body, *var;
	size_t body_len, var_len;
	int64_t deadline;
	helper_reply_cb cb; /* NULL: fire and forget, or answered */
	void *arg;
} sent[MAX_SENT];
static uint32_t nsent;
static bool down[PROC_COUNT];

static struct ha_ev got; /* the last event */
static uint32_t nevents;
static char got_error[TEXT_SIZE];
static struct peer_status got_peers[MAX_MEMBERS];

static uint8_t *
copy(const void *p, size_t n)
{
	uint8_t *c = calloc(1, n + 1);

	assert_non_null(c);
	if (n > 0)
		memcpy(c, p, n);
	return c;
}

static struct sent *
record(enum proc to, uint16_t type, const void *body, const void *var,
    size_t var_len)
{
	struct sent *s = &sent[nsent];
	size_t max;
	bool fd;

	assert_true(nsent < MAX_SENT);
	assert_true(msg_sizes(type, &s->body_len, &max, &fd));
	assert_true(var_len <= max);
	assert_true((body != NULL) == (s->body_len > 0));
	s->to = to;
	s->type = type;
	s->body = copy(body, body == NULL ? 0 : s->body_len);
	s->var = copy(var, var_len);
	s->var_len = var_len;
	s->cb = NULL;
	nsent++;
	return s;
}

static uint64_t
link_request(struct helper *h, enum proc to, uint16_t type, const void *body,
    const void *var, size_t var_len, int fd, int64_t deadline,
    helper_reply_cb cb, void *arg)
{
	struct sent *s;

	(void)h;
	(void)fd;
	assert_int_not_equal(deadline, 0);
	if (down[to])
		return 0;
	s = record(to, type, body, var, var_len);
	s->deadline = deadline;
	s->cb = cb;
	s->arg = arg;
	return nsent;
}

static int
link_fire(struct helper *h, enum proc to, uint16_t type, const void *body,
    const void *var, size_t var_len, int fd)
{
	(void)h;
	(void)fd;
	if (down[to])
		return -1;
	(void)record(to, type, body, var, var_len);
	return 0;
}

static void
core_event(struct controller *c, const struct ha_ev *ev)
{
	(void)c;
	got = *ev;
	nevents++;
	(void)text_set(
	    got_error, sizeof got_error, ev->error == NULL ? "" : ev->error);
	if (ev->type == EV_PEERS && ev->npeers > 0)
		memcpy(got_peers, ev->peers, ev->npeers * sizeof *ev->peers);
}

#define helper_request link_request
#define helper_send link_fire
#define controller_feed core_event
/* NOLINTNEXTLINE(bugprone-suspicious-include): its links are those above */
#include "../../helpers/postgres/effects.c"
#undef helper_request
#undef helper_send
#undef controller_feed

/* ---- the scene ---- */

static struct stage *
begin(void)
{
	static struct pg_server none = { .port = "1" };
	void *state = &none;
	struct stage *s = stage_open(&state, "15", NULL);

	memset(down, 0, sizeof down);
	nsent = nevents = 0;
	return s;
}

static void
end(struct stage *s)
{
	effects_drop(&s->c);
	assert_null(s->c.asks);
	while (nsent > 0) {
		free(sent[--nsent].body);
		free(sent[nsent].var);
	}
	stage_close(s);
}

static void
run(struct stage *s, const struct ha_fx *fx)
{
	const struct ha_effects out = { fx, 1 };

	effects_run(&s->c, &out);
}

static void
dcs(struct stage *s, uint64_t id, enum ha_dcs_op op)
{
	struct ha_fx fx = { .type = FX_DCS, .id = id };

	fx.deadline = clock_boot_ns() + 5 * NS_PER_SEC;
	fx.dcs.op = op;
	run(s, &fx);
}

static void
load(struct stage *s, uint64_t id, int ms)
{
	struct ha_fx fx = { .type = FX_LOAD, .id = id };

	fx.deadline = clock_boot_ns() + ms * NS_PER_MS;
	run(s, &fx);
}

/* The peer answers the nth message. */
static void
reply(uint32_t nth, uint16_t type, const void *body, const void *var, size_t n)
{
	struct ipc_msg m = { .body = body, .var = var, .fd = -1 };
	helper_reply_cb cb = sent[nth].cb;

	assert_true(nth < nsent);
	assert_non_null(cb);
	m.hdr.type = type;
	m.hdr.var_len = (uint32_t)n;
	sent[nth].cb = NULL;
	cb(NULL, &m, 0, sent[nth].arg);
}

/* Its link is gone (EPIPE), or the time is over (ETIMEDOUT). */
static void
lose(uint32_t nth, int why)
{
	helper_reply_cb cb = sent[nth].cb;

	assert_non_null(cb);
	sent[nth].cb = NULL;
	cb(NULL, NULL, why, sent[nth].arg);
}

static void
expect_event(enum ha_ev_type type, uint64_t id, enum outcome outcome)
{
	assert_int_equal(nevents, 1);
	assert_int_equal(got.type, type);
	assert_int_equal(got.id, id);
	assert_int_equal(got.outcome, outcome);
	nevents = 0;
}

static void
turn(struct stage *s, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	event_base_loopexit(s->c.base, &tv);
	event_base_dispatch(s->c.base);
}

/* ---- the store ---- */

static void
result_of_a_write(void **state)
{
	struct msg_result r = { .outcome = OUTCOME_OK, .token = 7 };
	struct stage *s = begin();
	int64_t before = clock_boot_ns();

	(void)state;
	dcs(s, 3, OP_UPDATE);
	assert_int_equal(sent[0].to, PROC_DCS);
	assert_int_equal(sent[0].type, MSG_DCS_UPDATE);
	/* a lease counts from our own time, which is the earlier one */
	r.sent_ns = clock_boot_ns() + NS_PER_SEC;
	reply(0, MSG_DCS_RESULT, &r, NULL, 0);
	expect_event(EV_DCS, 3, OUTCOME_OK);
	assert_int_equal(got.token, 7);
	assert_in_range(got.sent, before, clock_boot_ns());
	dcs(s, 4, OP_UPDATE);
	r.sent_ns = before;
	reply(1, MSG_DCS_RESULT, &r, NULL, 0);
	assert_int_equal(got.sent, before);
	end(s);
}

/* What is not known to have failed may have been carried out. */
static void
lost_in_hand(void **state)
{
	struct stage *s = begin();

	(void)state;
	dcs(s, 1, OP_ACQUIRE);
	lose(0, EPIPE);
	expect_event(EV_DCS, 1, OUTCOME_UNKNOWN);
	assert_string_equal(got_error, "store client lost");
	dcs(s, 2, OP_UPDATE);
	lose(1, ETIMEDOUT);
	expect_event(EV_DCS, 2, OUTCOME_UNKNOWN);
	assert_string_equal(got_error, "no answer in time");
	assert_null(s->c.asks);
	end(s);
}

static void
sent_again_in_order(void **state)
{
	struct msg_result r = { .outcome = OUTCOME_OK };
	struct stage *s = begin();
	struct ha_fx fx = { .type = FX_DCS, .id = 1 };

	(void)state;
	fx.deadline = clock_boot_ns() + 5 * NS_PER_SEC;
	fx.dcs.op = OP_UPDATE;
	fx.dcs.u.update.optime = 4711;
	run(s, &fx);
	down[PROC_DCS] = true;
	lose(0, EPIPE); /* twice is the same as once: kept */
	assert_int_equal(nevents, 0);
	dcs(s, 2, OP_ACQUIRE); /* never sent */
	dcs(s, 3, OP_TOUCH);
	assert_int_equal(nsent, 1);
	down[PROC_DCS] = false;
	effects_store_back(&s->c);
	assert_int_equal(nsent, 4);
	assert_int_equal(sent[1].type, MSG_DCS_UPDATE);
	assert_memory_equal(sent[1].body, sent[0].body, sent[0].body_len);
	assert_int_equal(sent[1].deadline, sent[0].deadline);
	assert_int_equal(sent[2].type, MSG_DCS_ACQUIRE);
	assert_int_equal(sent[3].type, MSG_DCS_TOUCH);
	effects_store_back(&s->c); /* nothing waits any more */
	assert_int_equal(nsent, 4);
	reply(2, MSG_DCS_RESULT, &r, NULL, 0);
	expect_event(EV_DCS, 2, OUTCOME_OK);
	end(s);
}

static void
parked_too_long(void **state)
{
	struct stage *s = begin();

	(void)state;
	down[PROC_DCS] = true;
	load(s, 5, 50);
	assert_int_equal(s->c.cycles, 1);
	turn(s, 20);
	assert_int_equal(nevents, 0);
	turn(s, 200);
	expect_event(EV_VIEW, 5, OUTCOME_FAILED);
	assert_string_equal(got_error, "no answer in time");
	down[PROC_DCS] = false;
	effects_store_back(&s->c); /* and is not sent after all */
	assert_int_equal(nsent, 0);
	end(s);
}

static void
views(void **state)
{
	struct msg_view m = { .outcome = OUTCOME_OK };
	struct stage *s = begin();
	struct view *v = view_new();
	uint8_t *buf = NULL;
	size_t len = 0;

	(void)state;
	assert_non_null(v);
	assert_true(view_encode(v, &buf, &len));
	load(s, 1, 1000);
	reply(0, MSG_DCS_VIEW, &m, buf, len);
	expect_event(EV_VIEW, 1, OUTCOME_OK);
	assert_int_not_equal(s->c.dcs_last_seen, 0);
	s->c.dcs_last_seen = 0;
	load(s, 2, 1000);
	reply(1, MSG_DCS_VIEW, &m, buf, len / 2); /* torn */
	expect_event(EV_VIEW, 2, OUTCOME_FAILED);
	assert_null(got.view);
	load(s, 3, 1000);
	m.outcome = OUTCOME_FAILED;
	(void)text_set(m.error, sizeof m.error, "no store");
	reply(2, MSG_DCS_VIEW, &m, NULL, 0);
	expect_event(EV_VIEW, 3, OUTCOME_FAILED);
	assert_string_equal(got_error, "no store");
	assert_int_equal(s->c.dcs_last_seen, 0);
	free(buf);
	view_free(v);
	end(s);
}

/* ---- variable parts, files ---- */

static void
config_is_json(void **state)
{
	struct stage *s = begin();
	struct ha_fx fx = { .type = FX_DCS, .id = 1 };
	struct tree *doc = tree_map();

	(void)state;
	tree_set(doc, "ttl", tree_int(20));
	fx.dcs.op = OP_SET_CONFIG;
	fx.dcs.doc = doc;
	run(s, &fx);
	assert_int_equal(sent[0].type, MSG_DCS_SET_CONFIG);
	assert_string_equal((char *)sent[0].var, "{\"ttl\":20}");
	tree_free(doc);
	end(s);
}

static void
history_of_the_files(void **state)
{
	struct stage *s = begin();
	struct ha_fx fx = { .type = FX_DCS, .id = 1 };
	const struct tree *line;
	struct tree *t;

	(void)state;
	s->c.major = 150000;
	fx.dcs.op = OP_SET_HISTORY;
	fx.dcs.history_of = 2;
	run(s, &fx); /* not there */
	expect_event(EV_DCS, 1, OUTCOME_FAILED);
	assert_int_equal(nsent, 0);
	stage_write(s->data, "pg_wal/00000002.history",
	    "1\t0/3000000\tno recovery target specified\n", 0600);
	run(s, &fx);
	assert_int_equal(sent[0].type, MSG_DCS_SET_HISTORY);
	t = tree_decode(sent[0].var, sent[0].var_len);
	assert_int_equal(tree_count(t), 1);
	line = tree_child(t, 0);
	assert_int_equal(tree_child(line, 0)->u.i, 1);
	assert_int_equal(tree_child(line, 1)->u.i, 0x3000000);
	assert_string_equal(tree_child(line, 4)->u.s, "n");
	tree_free(t);
	fx.dcs.history_of = 1; /* needs no file */
	run(s, &fx);
	t = tree_decode(sent[1].var, sent[1].var_len);
	assert_int_equal(tree_count(t), 0);
	tree_free(t);
	end(s);
}

/* The mark of an unfinished bootstrap goes when the store knows the cluster,
 * not before, and not for the claim alone. */
static void
initialize_ends_the_mark(void **state)
{
	struct msg_result r = { .outcome = OUTCOME_REFUSED };
	struct ha_fx fx = { .type = FX_DCS, .id = 1 };
	struct stage *s = begin();

	(void)state;
	data_mark(s->data, MARK_BOOTSTRAP);
	fx.dcs.op = OP_INITIALIZE;
	run(s, &fx);
	r.outcome = OUTCOME_OK;
	reply(0, MSG_DCS_RESULT, &r, NULL, 0);
	assert_int_equal(data_marked(s->data), MARK_BOOTSTRAP);
	(void)text_set(
	    fx.dcs.u.initialize.sysid, sizeof fx.dcs.u.initialize.sysid, "7");
	run(s, &fx);
	r.outcome = OUTCOME_REFUSED;
	reply(1, MSG_DCS_RESULT, &r, NULL, 0);
	assert_int_equal(data_marked(s->data), MARK_BOOTSTRAP);
	run(s, &fx);
	lose(2, EPIPE);
	assert_int_equal(data_marked(s->data), MARK_BOOTSTRAP);
	run(s, &fx);
	r.outcome = OUTCOME_OK;
	reply(3, MSG_DCS_RESULT, &r, NULL, 0);
	assert_int_equal(data_marked(s->data), MARK_NONE);
	end(s);
}

static void
touch_tells_the_progress(void **state)
{
	struct stage *s = begin();
	struct tree *t;

	(void)state;
	dcs(s, 1, OP_TOUCH);
	assert_int_equal(sent[0].var_len, 0);
	s->c.progress.known = true;
	s->c.progress.percent = 42;
	dcs(s, 2, OP_TOUCH);
	t = tree_decode(sent[1].var, sent[1].var_len);
	assert_int_equal(tree_path_int(t, "progress.percent", 0), 42);
	tree_free(t);
	end(s);
}

/* ---- peers ---- */

static void
peers(void **state)
{
	static const struct view_failsafe members[2] = {
		{ .name = "x", .api_url = "http://x/" },
		{ .name = "y", .api_url = "http://y/" },
	};
	struct ha_fx fx = { .type = FX_POLL, .id = 9, .npeers = 2 };
	struct peer_status v[2] = { { .name = "x", .reachable = 1 },
		{ .name = "y" } };
	struct msg_peers m = { .count = 2 };
	struct stage *s = begin();
	struct tree *t;

	(void)state;
	fx.peers = members;
	fx.deadline = clock_boot_ns() + 2 * NS_PER_SEC;
	run(s, &fx);
	t = tree_decode(sent[0].var, sent[0].var_len);
	assert_string_equal(
	    tree_path_text(tree_child(t, 1), "api_url", ""), "http://y/");
	tree_free(t);
	reply(0, MSG_DCS_PEERS, &m, v, sizeof v);
	expect_event(EV_PEERS, 9, OUTCOME_OK);
	assert_int_equal(got.npeers, 2);
	assert_int_equal(got_peers[0].reachable, 1);
	/* fewer bytes than it says: nobody was reached */
	run(s, &fx);
	reply(1, MSG_DCS_PEERS, &m, v, sizeof v[0]);
	expect_event(EV_PEERS, 9, OUTCOME_FAILED);
	assert_int_equal(got.npeers, 2);
	assert_string_equal(got_peers[1].name, "y");
	assert_int_equal(got_peers[0].reachable, 0);
	fx.type = FX_FAILSAFE_POST;
	run(s, &fx);
	assert_int_equal(sent[2].type, MSG_DCS_FAILSAFE_POST);
	t = tree_decode(sent[2].var, sent[2].var_len);
	assert_string_equal(tree_path_text(t, "name", ""), "n");
	assert_int_equal(tree_count(tree_get(t, "targets")), 2);
	tree_free(t);
	lose(2, ETIMEDOUT);
	expect_event(EV_PEERS, 9, OUTCOME_FAILED);
	end(s);
}

/* ---- keeper, time ---- */

/* Without the keeper's word nothing guards this node. */
static void
arming(void **state)
{
	struct msg_wd_state w = { .fence_armed = 1, .healthy = 1 };
	struct ha_fx fx = { .type = FX_WD_ARM, .id = 4 };
	struct stage *s = begin();

	(void)state;
	fx.deadline = clock_boot_ns() + 2 * NS_PER_SEC;
	down[PROC_WATCHDOG] = true;
	run(s, &fx);
	expect_event(EV_WATCHDOG, 4, OUTCOME_FAILED);
	assert_int_equal(got.watchdog.activation_failed, 1);
	down[PROC_WATCHDOG] = false;
	run(s, &fx);
	lose(0, EPIPE);
	expect_event(EV_WATCHDOG, 4, OUTCOME_FAILED);
	assert_int_equal(got.watchdog.activation_failed, 1);
	run(s, &fx);
	reply(1, MSG_WD_STATE, &w, NULL, 0);
	expect_event(EV_WATCHDOG, 4, OUTCOME_OK);
	assert_int_equal(got.watchdog.fence_armed, 1);
	assert_int_equal(got.watchdog.activation_failed, 0);
	assert_null(s->c.asks);
	end(s);
}

static void
orders(void **state)
{
	struct ha_fx fx = { .type = FX_WD_GRANT };
	struct stage *s = begin();

	(void)state;
	fx.grant.lease_end_ns = 99;
	run(s, &fx);
	assert_int_equal(sent[0].to, PROC_WATCHDOG);
	assert_int_equal(sent[0].type, MSG_WD_GRANT);
	assert_int_equal(
	    ((struct msg_wd_grant *)(void *)sent[0].body)->lease_end_ns, 99);
	fx.type = FX_SETTINGS;
	fx.settings.ttl = 20;
	run(s, &fx);
	assert_int_equal(sent[1].type, MSG_DCS_SETTINGS);
	assert_int_equal(sent[2].type, MSG_WD_SETTINGS);
	assert_int_equal(
	    ((struct msg_wd_settings *)(void *)sent[2].body)->ttl, 20);
	assert_int_equal(nevents, 0);
	end(s);
}

static void
delay(void **state)
{
	struct ha_fx fx = { .type = FX_DELAY, .id = 6 };
	struct stage *s = begin();

	(void)state;
	fx.at = clock_boot_ns() + 100 * NS_PER_MS;
	run(s, &fx);
	turn(s, 20);
	assert_int_equal(nevents, 0);
	turn(s, 300);
	expect_event(EV_DELAY, 6, OUTCOME_OK);
	assert_true(clock_boot_ns() >= fx.at);
	end(s);
}

static void
say(struct stage *s, int level, const char *text)
{
	struct ha_fx fx = { .type = FX_LOG, .level = level };

	(void)text_set(fx.text, sizeof fx.text, text);
	run(s, &fx);
}

static int
said(const struct stage *s, const char *text)
{
	const char *p = stage_read(s, "log");
	int n = 0;

	for (; (p = strstr(p, text)) != NULL; p++)
		n++;
	return n;
}

/* A cycle of which only its result is worth a line. */
static void
beat(struct stage *s, const char *text)
{
	say(s, LOG_LVL_INFO, "Lock owner: n");
	say(s, LOG_LVL_INFO, text);
}

static void
heartbeats(void **state)
{
	struct log_settings info = { .level = LOG_LVL_INFO };
	struct log_settings debug = { .level = LOG_LVL_DEBUG };
	struct stage *s = begin();
	struct tree *log = tree_map();

	(void)state;
	log_configure(&info);
	beat(s, "no action. all");
	say(s, LOG_LVL_DEBUG, "not shown, so nothing between");
	beat(s, "no action. all");
	assert_int_equal(said(s, "no action. all"), 2);
	assert_int_equal(said(s, "Lock owner"), 0);
	beat(s, "promoted self"); /* worth both lines, in order */
	assert_int_equal(said(s, "Lock owner"), 1);
	assert_true(strstr(stage_read(s, "log"), "Lock owner") <
	    strstr(stage_read(s, "log"), "promoted self"));
	say(s, LOG_LVL_WARNING, "no owner before this");
	assert_int_equal(said(s, "Lock owner"), 1);
	tree_set(log, "deduplicate_heartbeat_logs", tree_bool(true));
	tree_set(s->c.local, "log", log);
	beat(s, "no action. once");
	beat(s, "no action. once");
	assert_int_equal(said(s, "no action. once"), 1);
	beat(s, "PAUSE: no action");
	beat(s, "PAUSE: no action");
	assert_int_equal(said(s, "PAUSE: no action"), 1);
	beat(s, "no action. once");
	assert_int_equal(said(s, "no action. once"), 2);
	beat(s, "other words");
	beat(s, "other words");
	assert_int_equal(said(s, "other words"), 2);
	beat(s, "no action. once");
	assert_int_equal(said(s, "no action. once"), 3);
	assert_int_equal(said(s, "Lock owner"), 3);
	log_configure(&debug); /* all is said */
	beat(s, "no action. once");
	beat(s, "no action. once");
	assert_int_equal(said(s, "no action. once"), 5);
	assert_int_equal(said(s, "Lock owner"), 5);
	end(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGE_TEST(result_of_a_write),
		STAGE_TEST(lost_in_hand),
		STAGE_TEST(sent_again_in_order),
		STAGE_TEST(parked_too_long),
		STAGE_TEST(views),
		STAGE_TEST(config_is_json),
		STAGE_TEST(history_of_the_files),
		STAGE_TEST(initialize_ends_the_mark),
		STAGE_TEST(touch_tells_the_progress),
		STAGE_TEST(peers),
		STAGE_TEST(arming),
		STAGE_TEST(orders),
		STAGE_TEST(delay),
		STAGE_TEST(heartbeats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
