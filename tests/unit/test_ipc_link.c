/*
 * test_ipc_link.c: framing, bounds, descriptors and protocol checks of links.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/messages.h"

struct pair {
	struct link *a, *b;
};

static struct pair
pair_open(enum proc a, enum proc b, size_t max)
{
	struct pair p;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	p.a = link_open(sv[0], a, b, max);
	p.b = link_open(sv[1], b, a, max);
	assert_non_null(p.a);
	assert_non_null(p.b);
	return p;
}

static void
pair_close(struct pair *p)
{
	link_close(p->a);
	link_close(p->b);
}

static void
test_round_trip(void **state)
{
	struct pair p = pair_open(PROC_POSTGRES, PROC_DCS, 1 << 20);
	struct msg_dcs_failover f = { .token = 42, .with_token = 1 };
	struct ipc_msg m;

	(void)state;
	text_set(f.leader, sizeof(f.leader), "a");
	assert_int_equal(
	    link_send(p.a, MSG_DCS_SET_FAILOVER, 0, 7, 99, &f, NULL, 0, -1), 0);
	assert_int_equal(link_next(p.b, &m), 0);
	assert_int_equal(link_read(p.b), 1);
	assert_int_equal(link_next(p.b, &m), 1);
	assert_int_equal(m.hdr.type, MSG_DCS_SET_FAILOVER);
	assert_int_equal(m.hdr.id, 7);
	assert_int_equal(m.hdr.deadline_ns, 99);
	assert_memory_equal(m.body, &f, sizeof(f));
	assert_null(m.var);
	assert_int_equal(m.fd, -1);
	assert_int_equal(link_next(p.b, &m), 0);
	pair_close(&p);
}

static void
test_sender_is_checked(void **state)
{
	struct pair p = pair_open(PROC_REST, PROC_DCS, 1 << 20);
	struct msg_wake w = { .reason = WAKE_LEADER };

	(void)state;
	/* rest may not acquire the lock, nor send with a wrong body */
	assert_int_equal(
	    link_send(p.a, MSG_DCS_ACQUIRE, 0, 1, 0, NULL, NULL, 0, -1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(
	    link_send(p.a, MSG_DCS_LOAD, 0, 1, 0, &w, NULL, 0, -1), -1);
	assert_int_equal(
	    link_send(p.a, MSG_DCS_LOAD, 0, 1, 0, NULL, NULL, 0, 0), -1);
	assert_int_equal(
	    link_send(p.a, MSG_DCS_LOAD, 0, 1, 0, NULL, "x", 1, -1), -1);
	pair_close(&p);
}

/* Raw bytes to a receiving link; what link_next() says of them. */
static int
feed(enum proc self, enum proc peer, const void *data, size_t len, char *why)
{
	int sv[2], rc;
	struct ipc_msg m;
	struct link *l;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	l = link_open(sv[0], self, peer, 4096);
	assert_int_equal(write(sv[1], data, len), (ssize_t)len);
	assert_int_equal(link_read(l), 1);
	rc = link_next(l, &m);
	snprintf(why, TEXT_SIZE, "%s", link_error(l));
	link_close(l);
	close(sv[1]);
	return rc;
}

static void
test_receiver_refuses(void **state)
{
	struct {
		struct ipc_header h;
		struct msg_wake w;
	} msg,
	    good = { .h = { .magic = IPC_MAGIC,
			 .type = MSG_DCS_WAKE,
			 .body_len = sizeof(struct msg_wake) },
		    .w = { .reason = WAKE_CONFIG } };
	char why[TEXT_SIZE];

	(void)state;
	assert_int_equal(
	    feed(PROC_POSTGRES, PROC_DCS, &good, sizeof(good), why), 1);
	assert_int_equal(
	    feed(PROC_POSTGRES, PROC_DCS, &good, sizeof(good) - 1, why), 0);
	assert_int_equal(
	    feed(PROC_POSTGRES, PROC_REST, &good, sizeof(good), why), -1);
	assert_non_null(strstr(why, "not allowed on this link"));
	msg = good;
	msg.h.magic ^= 1;
	assert_int_equal(
	    feed(PROC_POSTGRES, PROC_DCS, &msg, sizeof(msg), why), -1);
	msg = good;
	msg.h.type = 9999;
	assert_int_equal(
	    feed(PROC_POSTGRES, PROC_DCS, &msg, sizeof(msg), why), -1);
	msg = good;
	msg.h.body_len++;
	assert_int_equal(
	    feed(PROC_POSTGRES, PROC_DCS, &msg, sizeof(msg), why), -1);
	msg = good;
	msg.h.var_len = 1;
	assert_int_equal(
	    feed(PROC_POSTGRES, PROC_DCS, &msg, sizeof(msg), why), -1);
	msg = good;
	msg.h.flags = 0x80;
	assert_int_equal(
	    feed(PROC_POSTGRES, PROC_DCS, &msg, sizeof(msg), why), -1);
	msg = good;
	msg.h.flags = IPC_FLAG_FD;
	assert_int_equal(
	    feed(PROC_POSTGRES, PROC_DCS, &msg, sizeof(msg), why), -1);
	msg = good;
	msg.w.reason = WAKE_REASON_COUNT;
	assert_int_equal(
	    feed(PROC_POSTGRES, PROC_DCS, &msg, sizeof(msg), why), -1);
	assert_non_null(strstr(why, "reason out of range"));
}

static void
test_unterminated_text(void **state)
{
	struct {
		struct ipc_header h;
		struct msg_device_open d;
	} msg = { .h = { .magic = IPC_MAGIC,
		      .type = MSG_DEVICE_OPEN,
		      .body_len = sizeof(struct msg_device_open) } };
	char why[TEXT_SIZE];

	(void)state;
	memset(msg.d.path, 'x', sizeof(msg.d.path));
	assert_int_equal(
	    feed(PROC_MASTER, PROC_WATCHDOG, &msg, sizeof(msg), why), -1);
	assert_non_null(strstr(why, "unterminated path"));
}

static void
test_queue_is_bounded(void **state)
{
	struct pair p = pair_open(PROC_DCS, PROC_POSTGRES, 64 * 1024);
	struct msg_result r = { .outcome = OUTCOME_OK };
	struct ipc_msg m;
	unsigned int sent = 0, got = 0;

	(void)state;
	while (link_send(p.a, MSG_DCS_RESULT, IPC_FLAG_REPLY, ++sent, 0, &r,
		   NULL, 0, -1) == 0)
		assert_true(sent < 100000);
	assert_int_equal(errno, ENOBUFS);
	sent--;
	assert_true(link_queued(p.a) <= 64 * 1024);
	/* nothing of what was accepted is lost or reordered */
	for (int idle = 0; idle < 2;) {
		assert_int_equal(link_flush(p.a), 0);
		idle = link_read(p.b) == 1 ? 0 : idle + 1;
		while (link_next(p.b, &m) == 1)
			assert_int_equal(m.hdr.id, ++got);
	}
	assert_int_equal(got, sent);
	assert_false(link_wants_write(p.a));
	pair_close(&p);
}

static void
test_newest_replaces(void **state)
{
	struct pair p = pair_open(PROC_POSTGRES, PROC_REST, 1 << 20);
	struct msg_status s;
	struct ipc_msg m;
	uint64_t last = 0;
	unsigned int got = 0;

	(void)state;
	memset(&s, 0, sizeof(s));
	for (uint64_t i = 1; i <= 1000; i++) {
		s.cycles = i;
		assert_int_equal(
		    link_send_newest(p.a, MSG_STATUS, &s, NULL, 0), 0);
	}
	for (int idle = 0; idle < 2;) {
		assert_int_equal(link_flush(p.a), 0);
		idle = link_read(p.b) == 1 ? 0 : idle + 1;
		while (link_next(p.b, &m) == 1) {
			const struct msg_status *t = m.body;

			assert_true(t->cycles > last);
			last = t->cycles;
			got++;
		}
	}
	assert_int_equal(last, 1000);
	assert_true(got < 1000);
	pair_close(&p);
}

/* Messages without a descriptor before and after one with: it must go to
 * the right one, although all of them may arrive in one read. */
static void
test_descriptors_match(void **state)
{
	struct pair p = pair_open(PROC_MASTER, PROC_REST, 1 << 20);
	struct msg_log_settings s = { .s = { .level = LOG_LVL_INFO } };
	struct msg_link k = { .peer = PROC_DCS };
	struct ipc_msg m;
	struct stat want, have;
	int fds[2], got = 0;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(
		    link_send(p.a, MSG_LOG_SETTINGS, 0, 0, 0, &s, NULL, 0, -1),
		    0);
		assert_int_equal(
		    link_send(p.a, MSG_LINK, 0, 0, 0, &k, NULL, 0, fds[i % 2]),
		    0);
	}
	while (got < 8) {
		assert_int_equal(link_read(p.b), 1);
		while (link_next(p.b, &m) == 1) {
			if (got % 2 == 0) {
				assert_int_equal(m.hdr.type, MSG_LOG_SETTINGS);
				assert_int_equal(m.fd, -1);
			} else {
				assert_int_equal(m.hdr.type, MSG_LINK);
				assert_true(m.fd >= 0);
				fstat(m.fd, &have);
				fstat(fds[got / 2 % 2], &want);
				assert_int_equal(have.st_ino, want.st_ino);
				close(m.fd);
			}
			got++;
		}
	}
	close(fds[0]);
	close(fds[1]);
	pair_close(&p);
}

static void
test_lost_peer(void **state)
{
	struct pair p = pair_open(PROC_POSTGRES, PROC_DCS, 1 << 20);

	(void)state;
	link_close(p.b);
	assert_int_equal(link_read(p.a), -1);
	assert_int_equal(
	    link_send(p.a, MSG_DCS_LOAD, 0, 1, 0, NULL, NULL, 0, -1), -1);
	assert_int_equal(errno, EPIPE);
	link_close(p.a);
}

static void
test_big_variable_part(void **state)
{
	struct pair p = pair_open(PROC_POSTGRES, PROC_DCS, 4 << 20);
	struct msg_dcs_document d = { .with_token = 0 };
	uint8_t *doc = malloc(MAX_DOCUMENT);
	struct ipc_msg m;
	int rc;

	(void)state;
	for (size_t i = 0; i < MAX_DOCUMENT; i++)
		doc[i] = (uint8_t)(i * 31);
	assert_int_equal(link_send(p.a, MSG_DCS_SET_CONFIG, 0, 5, 0, &d, doc,
			     MAX_DOCUMENT, -1),
	    0);
	while ((rc = link_next(p.b, &m)) == 0) {
		assert_int_equal(link_flush(p.a), 0);
		assert_true(link_read(p.b) >= 0);
	}
	assert_int_equal(rc, 1);
	assert_int_equal(m.hdr.var_len, MAX_DOCUMENT);
	assert_memory_equal(m.var, doc, MAX_DOCUMENT);
	free(doc);
	pair_close(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_sender_is_checked),
		cmocka_unit_test(test_receiver_refuses),
		cmocka_unit_test(test_unterminated_text),
		cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test(test_newest_replaces),
		cmocka_unit_test(test_descriptors_match),
		cmocka_unit_test(test_lost_peer),
		cmocka_unit_test(test_big_variable_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
