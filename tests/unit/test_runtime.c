/*
 * test_runtime.c: the helpers' runtime against a fake master and a fake peer
 * at the other ends of its socketpairs, in one process and one loop.
 */
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../helpers/runtime.h"
#include "../../ipc/clock.h"

#define MS NS_PER_MS

/* What the helper (as dcs, the peer is postgres) saw. */
static struct seen {
	int configs, sandboxes, shutdowns, messages, up, down;
	int replies, timeouts, losses;
	uint32_t last_token;
	const char *refuse;
	uint64_t generation;
	uint64_t reply_to; /* id of the last request that came in */
	int last_fd;
	bool ask_again; /* from the callback of a lost request */
} seen;

static struct helper *helper;
static struct link *master, *peer;

static int64_t
soon(int64_t ms)
{
	return clock_boot_ns() + ms * MS;
}

static void
on_reply(struct helper *h, const struct ipc_msg *reply, int lost, void *arg)
{
	(void)arg;
	assert_ptr_equal(h, helper);
	if (reply != NULL) {
		assert_int_equal(lost, 0);
		seen.replies++;
		if (reply->fd != -1)
			close(reply->fd);
	} else if (lost == ETIMEDOUT)
		seen.timeouts++;
	else {
		assert_int_equal(lost, EPIPE);
		seen.losses++;
	}
	if (seen.ask_again) {
		seen.ask_again = false;
		(void)helper_request(h, PROC_POSTGRES, MSG_DCS_VIEW,
		    &(struct msg_view){ .outcome = OUTCOME_FAILED }, NULL, 0,
		    -1, soon(50), on_reply, NULL);
	}
}

static void
on_message(
    struct helper *h, enum proc from, const struct ipc_msg *msg, void *arg)
{
	(void)arg;
	assert_ptr_equal(h, helper);
	seen.messages++;
	seen.reply_to = msg->hdr.id;
	if (from == PROC_MASTER) {
		assert_int_equal(msg->hdr.type, MSG_DESCRIPTOR);
		seen.last_fd = msg->fd;
	}
}

static void
on_link(struct helper *h, enum proc p, bool up, void *arg)
{
	(void)h;
	(void)arg;
	assert_int_equal(p, PROC_POSTGRES);
	if (up)
		seen.up++;
	else
		seen.down++;
}

static const char *
on_config(
    struct helper *h, struct tree *t, const struct msg_config *c, void *arg)
{
	(void)h;
	(void)arg;
	seen.configs++;
	seen.generation = c->generation;
	assert_string_equal(tree_path_text(t, "a", ""), "b");
	tree_free(t);
	return seen.refuse;
}

static void
on_sandbox(struct helper *h, void *arg)
{
	(void)arg;
	assert_int_equal(seen.configs, 1);
	(void)h;
	seen.sandboxes++;
}

static void
on_info(struct helper *h, void *arg)
{
	struct msg_helper_info info = { .loops = 8 };

	(void)arg;
	helper_info(h, &info);
}

static void
on_shutdown(struct helper *h, void *arg)
{
	(void)h;
	(void)arg;
	seen.shutdowns++;
}

static const struct helper_ops ops = { on_message, on_link, on_config,
	on_sandbox, on_shutdown, on_info };

/* ---- the fixture ---- */

static int
start(void **state)
{
	char *argv[] = { (char[]){ "test" }, NULL };
	int sv[2];

	(void)state;
	memset(&seen, 0, sizeof(seen));
	seen.last_fd = -1;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	if (sv[1] != 3) {
		/* the runtime wants its end as descriptor 3 */
		if (sv[0] == 3) {
			sv[0] = dup(3);
			assert_true(sv[0] > 3);
		}
		assert_int_equal(dup2(sv[1], 3), 3);
		close(sv[1]);
	}
	master = link_open(sv[0], PROC_MASTER, PROC_DCS, 1 << 24);
	assert_non_null(master);
	helper = helper_start(PROC_DCS, &ops, NULL, 1, argv);
	peer = NULL;
	return 0;
}

static int
end(void **state)
{
	(void)state;
	link_close(master); /* the helper ends by that, if not before */
	master = NULL;
	if (helper != NULL)
		(void)helper_run(helper);
	helper = NULL;
	link_close(peer);
	return 0;
}

/* Run the helper's loop for a while. */
static void
turn(int ms)
{
	struct timeval tv = { .tv_usec = ms * 1000 };

	assert_int_equal(event_base_loopexit(helper_base(helper), &tv), 0);
	(void)event_base_dispatch(helper_base(helper));
}

/* Next message at that end, or false. */
static bool
receive(struct link *l, struct ipc_msg *m)
{
	int rc;

	while ((rc = link_next(l, m)) == 0)
		if (link_read(l) != 1)
			return false;
	assert_int_equal(rc, 1);
	return true;
}

static void
expect(struct link *l, uint16_t type, struct ipc_msg *m)
{
	if (!receive(l, m))
		fail_msg("no %s", msg_name(type));
	assert_string_equal(msg_name(m->hdr.type), msg_name(type));
}

static void
expect_nothing(struct link *l)
{
	struct ipc_msg m;

	if (receive(l, &m))
		fail_msg("unexpected %s", msg_name(m.hdr.type));
}

static void
send_config(uint64_t generation)
{
	struct msg_config c = { .generation = generation };
	struct tree *t = tree_map();
	uint8_t *buf;
	size_t len;

	assert_true(tree_set(t, "a", tree_text("b")));
	assert_true(tree_encode(t, &buf, &len));
	tree_free(t);
	assert_int_equal(
	    link_send(master, MSG_CONFIG, 0, 0, 0, &c, buf, len, -1), 0);
	free(buf);
}

static void
send_link(void)
{
	struct msg_link m = { .peer = PROC_POSTGRES };
	int sv[2];

	link_close(peer);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(
	    link_send(master, MSG_LINK, 0, 0, 0, &m, NULL, 0, sv[1]), 0);
	close(sv[1]);
	peer = link_open(sv[0], PROC_POSTGRES, PROC_DCS, 1 << 24);
	assert_non_null(peer);
}

/* Configured and linked, READY taken from the master's end. */
static void
make_ready(void)
{
	struct ipc_msg m;
	const struct msg_ready *r;

	send_config(1);
	send_link();
	turn(5);
	expect(master, MSG_READY, &m);
	r = m.body;
	assert_true(r->ok);
	assert_int_equal(seen.up, 1);
}

static uint64_t
request(int64_t deadline)
{
	struct msg_view v = { .outcome = OUTCOME_FAILED };

	return helper_request(helper, PROC_POSTGRES, MSG_DCS_VIEW, &v, NULL, 0,
	    -1, deadline, on_reply, NULL);
}

static void
answer(uint64_t id)
{
	assert_int_equal(link_send(peer, MSG_DCS_LOAD, IPC_FLAG_REPLY, id, 0,
			     NULL, NULL, 0, -1),
	    0);
}

/* ---- tests ---- */

static void
configuration_then_sandbox_then_ready(void **state)
{
	struct ipc_msg m;
	const struct msg_ready *r;

	(void)state;
	send_config(5);
	turn(5);
	assert_int_equal(seen.configs, 1);
	assert_int_equal(seen.sandboxes, 1);
	expect(master, MSG_READY, &m);
	r = m.body;
	assert_int_equal(r->generation, 5);
	assert_true(r->ok);
	send_config(6);
	turn(5);
	expect(master, MSG_READY, &m);
	assert_int_equal(seen.configs, 2);
	assert_int_equal(seen.sandboxes, 1);
	expect_nothing(master);
}

static void
a_refused_configuration_leaves_no_peer_heard(void **state)
{
	struct ipc_msg m;
	const struct msg_ready *r;

	(void)state;
	seen.refuse = "no such thing";
	send_config(5);
	send_link();
	turn(5);
	expect(master, MSG_READY, &m);
	r = m.body;
	assert_false(r->ok);
	assert_string_equal(r->text, "no such thing");
	assert_int_equal(seen.sandboxes, 0);
	assert_int_equal(seen.up, 0);
	answer(0);
	turn(5);
	assert_int_equal(seen.messages, 0);
}

static void
broken_configuration_is_refused(void **state)
{
	struct msg_config c = { .generation = 5 };
	struct ipc_msg m;
	const struct msg_ready *r;

	(void)state;
	assert_int_equal(
	    link_send(master, MSG_CONFIG, 0, 0, 0, &c, "x", 1, -1), 0);
	turn(5);
	assert_int_equal(seen.configs, 0);
	expect(master, MSG_READY, &m);
	r = m.body;
	assert_false(r->ok);
}

static void
requests_are_answered_once(void **state)
{
	struct ipc_msg m;
	uint64_t a, b;

	(void)state;
	make_ready();
	a = request(soon(1000));
	b = request(soon(1000));
	assert_true(a != 0 && b != 0 && a != b);
	assert_int_equal(seen.replies, 0);
	expect(peer, MSG_DCS_VIEW, &m);
	assert_true(m.hdr.id == a);
	assert_true(m.hdr.deadline_ns > clock_boot_ns());
	answer(b);
	answer(b);
	turn(5);
	assert_int_equal(seen.replies, 1);
	answer(a);
	turn(5);
	assert_int_equal(seen.replies, 2);
	assert_int_equal(seen.messages, 0);
	/* without the flag it is no reply */
	(void)link_send(peer, MSG_DCS_LOAD, 0, 0, 0, NULL, NULL, 0, -1);
	turn(5);
	assert_int_equal(seen.replies, 2);
	assert_int_equal(seen.messages, 1);
}

static void
late_and_double_replies_are_dropped(void **state)
{
	uint64_t id;

	(void)state;
	make_ready();
	id = request(soon(20));
	turn(60);
	assert_int_equal(seen.timeouts, 1);
	answer(id);
	answer(id + 1);
	answer(0);
	turn(5);
	assert_int_equal(seen.replies, 0);
	assert_int_equal(seen.messages, 0);
}

static void
deadlines_fire_in_order_and_only_once(void **state)
{
	(void)state;
	make_ready();
	assert_true(request(soon(150)) != 0);
	assert_true(request(soon(30)) != 0);
	assert_true(request(0) != 0); /* already over: in the next round */
	assert_int_equal(seen.timeouts, 0);
	turn(10);
	assert_int_equal(seen.timeouts, 1);
	turn(60);
	assert_int_equal(seen.timeouts, 2);
	turn(150);
	assert_int_equal(seen.timeouts, 3);
	turn(60);
	assert_int_equal(seen.timeouts, 3);
}

static void
a_lost_link_fails_its_requests_and_comes_back(void **state)
{
	struct ipc_msg m;

	(void)state;
	make_ready();
	assert_true(request(soon(5000)) != 0);
	assert_true(request(soon(5000)) != 0);
	link_close(peer);
	peer = NULL;
	turn(5);
	assert_int_equal(seen.losses, 2);
	assert_int_equal(seen.down, 1);
	assert_false(helper_linked(helper, PROC_POSTGRES));
	assert_int_equal(request(soon(1000)), 0);
	assert_int_equal(errno, EPIPE);
	send_link();
	turn(5);
	assert_int_equal(seen.up, 2);
	assert_true(request(soon(20)) != 0);
	expect(peer, MSG_DCS_VIEW, &m);
	turn(60);
	assert_int_equal(seen.timeouts, 1);
	assert_int_equal(seen.losses, 2);
	expect_nothing(master);
}

static void
a_new_end_replaces_the_old_one(void **state)
{
	(void)state;
	make_ready();
	seen.ask_again = true; /* inside the callback: refused, link is gone */
	assert_true(request(soon(5000)) != 0);
	send_link();
	turn(5);
	assert_int_equal(seen.losses, 1);
	assert_int_equal(seen.down, 1);
	assert_int_equal(seen.up, 2);
	turn(100);
	assert_int_equal(seen.losses + seen.timeouts, 1);
}

static void
a_callback_may_ask_again(void **state)
{
	(void)state;
	make_ready();
	seen.ask_again = true;
	assert_true(request(soon(10)) != 0);
	turn(200);
	assert_int_equal(seen.timeouts, 2);
}

static void
a_forgotten_request_stays_silent(void **state)
{
	uint64_t id;

	(void)state;
	make_ready();
	id = request(soon(20));
	helper_forget(helper, id);
	helper_forget(helper, id);
	helper_forget(helper, 0);
	turn(60);
	assert_int_equal(seen.timeouts + seen.losses + seen.replies, 0);
}

static void
the_table_of_requests_is_bounded(void **state)
{
	int n = 0;

	(void)state;
	make_ready();
	while (n < 5000 && request(soon(50)) != 0)
		n++;
	assert_int_equal(errno, ENOBUFS);
	assert_in_range(n, 512, 4999);
	turn(150);
	assert_int_equal(seen.timeouts, n);
	assert_true(request(soon(50)) != 0);
}

static void
a_queue_is_bounded(void **state)
{
	static char blob[1024 * 1024];
	struct msg_view v = { .outcome = OUTCOME_OK };
	int n = 0;

	(void)state;
	make_ready();
	while (n < 1000 &&
	    helper_send(helper, PROC_POSTGRES, MSG_DCS_VIEW, &v, blob,
		sizeof(blob), -1) == 0)
		n++;
	assert_int_equal(errno, ENOBUFS);
	assert_true(helper_queued(helper) > 0);
	/* newest only: replaces what is unsent */
	for (int i = 0; i < 3; i++)
		(void)helper_send_newest(helper, PROC_POSTGRES, MSG_DCS_VIEW,
		    &v, blob, sizeof(blob));
	assert_true(helper_queued(helper) < 3 * sizeof(blob));
}

static void
a_big_message_goes_out_bit_by_bit(void **state)
{
	static char blob[1024 * 1024];
	struct msg_view v = { .outcome = OUTCOME_OK };
	struct ipc_msg m;

	(void)state;
	make_ready();
	memset(blob, 'x', sizeof(blob));
	assert_int_equal(helper_send(helper, PROC_POSTGRES, MSG_DCS_VIEW, &v,
			     blob, sizeof(blob), -1),
	    0);
	assert_true(helper_queued(helper) > 0);
	for (int i = 0; i < 1000 && helper_queued(helper) > 0; i++) {
		while (link_read(peer) == 1)
			continue;
		turn(1);
	}
	assert_int_equal(helper_queued(helper), 0);
	expect(peer, MSG_DCS_VIEW, &m);
	assert_int_equal(m.hdr.var_len, sizeof(blob));
}

static void
a_peer_that_breaks_the_protocol_is_reported(void **state)
{
	struct ipc_msg m;
	const struct msg_notify *n;

	(void)state;
	make_ready();
	assert_true(request(soon(5000)) != 0);
	assert_int_equal(
	    write(link_fd(peer), "rubbish rubbish rubbish rubbish ", 32), 32);
	turn(5);
	assert_int_equal(seen.losses, 1);
	assert_int_equal(seen.down, 1);
	assert_false(helper_linked(helper, PROC_POSTGRES));
	expect(master, MSG_NOTIFY, &m);
	n = m.body;
	assert_int_equal(n->kind, NOTIFY_BROKEN_PEER);
	assert_int_equal(n->value, PROC_POSTGRES);
	send_link();
	turn(5);
	assert_int_equal(seen.up, 2);
}

static void
incoming_requests_are_answered_by_id(void **state)
{
	struct msg_result r = { .outcome = OUTCOME_OK };
	struct ipc_msg m, was = { 0 };

	(void)state;
	make_ready();
	(void)link_send(peer, MSG_DCS_LOAD, 0, 77, 0, NULL, NULL, 0, -1);
	turn(5);
	assert_int_equal(seen.reply_to, 77);
	was.hdr.id = seen.reply_to;
	assert_int_equal(helper_reply(helper, PROC_POSTGRES, &was,
			     MSG_DCS_RESULT, &r, NULL, 0),
	    0);
	expect(peer, MSG_DCS_RESULT, &m);
	assert_int_equal(m.hdr.id, 77);
	assert_true(m.hdr.flags & IPC_FLAG_REPLY);
	was.hdr.id = 0; /* it was no request: nothing is sent */
	assert_int_equal(helper_reply(helper, PROC_POSTGRES, &was,
			     MSG_DCS_RESULT, &r, NULL, 0),
	    0);
	expect_nothing(peer);
}

static void
the_masters_descriptors_reach_the_helper(void **state)
{
	struct msg_descriptor d = { .kind = DESCRIPTOR_TLS_CA };

	(void)state;
	assert_int_equal(link_send(master, MSG_DESCRIPTOR, 0, 0, 0, &d, NULL, 0,
			     STDIN_FILENO),
	    0);
	turn(5);
	assert_int_equal(seen.messages, 1);
	assert_int_not_equal(seen.last_fd, -1);
	close(seen.last_fd);
}

static void
info_carries_the_sandbox(void **state)
{
	struct msg_helper_info info = { .loops = 3 };
	const struct msg_helper_info *got;
	struct ipc_msg m;

	(void)state;
	make_ready();
	helper_set_sandbox(helper, 1);
	helper_info(helper, &info);
	helper_set_sandbox(helper, 0); /* this test is not confined */
	expect(master, MSG_HELPER_INFO, &m);
	got = m.body;
	assert_int_equal(got->loops, 3);
	assert_int_equal(got->sandbox, 1);
	(void)link_send(master, MSG_INFO_ASK, 0, 0, 0, NULL, NULL, 0, -1);
	turn(5);
	expect(master, MSG_HELPER_INFO, &m);
	got = m.body;
	assert_int_equal(got->loops, 8);
}

static void
shutdown_is_asked_and_ends_with_the_code(void **state)
{
	const struct msg_stopped *s;
	struct ipc_msg m;
	int64_t until;

	(void)state;
	make_ready();
	(void)link_send(master, MSG_SHUTDOWN, 0, 0, 0, NULL, NULL, 0, -1);
	turn(5);
	assert_int_equal(seen.shutdowns, 1);
	expect_nothing(master);
	/* that takes time: it shows that it lives */
	until = clock_boot_ns() + 1500 * NS_PER_MS;
	while (clock_boot_ns() < until)
		turn(5);
	expect(master, MSG_HELPER_INFO, &m);
	helper_stopped(helper, 4);
	assert_int_equal(helper_run(helper), 4);
	helper = NULL;
	expect(master, MSG_STOPPED, &m);
	s = m.body;
	assert_int_equal(s->exit_code, 4);
}

static void
the_end_of_the_master_is_the_end(void **state)
{
	(void)state;
	make_ready();
	link_close(master);
	master = NULL;
	assert_int_equal(helper_run(helper), 1);
	helper = NULL;
}

#define T(f) cmocka_unit_test_setup_teardown(f, start, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(configuration_then_sandbox_then_ready),
		T(a_refused_configuration_leaves_no_peer_heard),
		T(broken_configuration_is_refused),
		T(requests_are_answered_once),
		T(late_and_double_replies_are_dropped),
		T(deadlines_fire_in_order_and_only_once),
		T(a_lost_link_fails_its_requests_and_comes_back),
		T(a_new_end_replaces_the_old_one),
		T(a_callback_may_ask_again),
		T(a_forgotten_request_stays_silent),
		T(the_table_of_requests_is_bounded),
		T(a_queue_is_bounded),
		T(a_big_message_goes_out_bit_by_bit),
		T(a_peer_that_breaks_the_protocol_is_reported),
		T(incoming_requests_are_answered_by_id),
		T(the_masters_descriptors_reach_the_helper),
		T(info_carries_the_sandbox),
		T(shutdown_is_asked_and_ends_with_the_code),
		T(the_end_of_the_master_is_the_end),
	};

	log_configure(&(struct log_settings){ .level = 100 });
	return cmocka_run_group_tests(tests, NULL, NULL);
}
