/*
 * test_dcs_zookeeper.c: the driver of ZooKeeper before a server that takes
 * the session and then reads no more: closing must not wait for it.
 */
#include "dcs_driver.h"

#define OP_CREATE 1
#define OP_SYNC 9
#define CONNECT_ANSWER 37
#define NO_NODE (-101)
#define BIG (400 * 1024)

static pid_t server_pid;
static int server_port;

/* ---- a server that goes deaf at the first create ---- */

static void
put32(unsigned char *p, int32_t v)
{
	uint32_t n = htonl((uint32_t)v);

	memcpy(p, &n, sizeof(n));
}

static int32_t
get32(const unsigned char *p)
{
	uint32_t n;

	memcpy(&n, p, sizeof(n));
	return (int32_t)ntohl(n);
}

static void
read_all(int fd, void *buf, size_t n)
{
	char *p = buf;
	ssize_t r;

	for (; n > 0; n -= (size_t)r, p += r)
		if ((r = read(fd, p, n)) <= 0)
			_exit(0);
}

static void
send_packet(int fd, unsigned char *packet, int32_t len)
{
	put32(packet, len);
	if (write(fd, packet, (size_t)len + 4) != len + 4)
		_exit(1);
}

static void
greet(int fd)
{
	unsigned char request[64], answer[CONNECT_ANSWER + 4] = { 0 };

	read_all(fd, request, 4);
	if (get32(request) < 0 || get32(request) > (int32_t)sizeof(request))
		_exit(1);
	read_all(fd, request, (size_t)get32(request));
	put32(answer + 8, 30000); /* time of the session, ms */
	answer[19] = 7;		  /* its id */
	put32(answer + 20, 16);	  /* length of its password */
	send_packet(fd, answer, CONNECT_ANSWER);
}

/* The bodies asked for here are all shorter than 1 kB but that of create. */
static void
serve(int fd)
{
	unsigned char head[12], body[1024], answer[1024 + 20];
	int32_t len, rest;

	greet(fd);
	for (;;) {
		read_all(fd, head, sizeof(head));
		len = get32(head) - 8;
		if (get32(head + 8) == OP_CREATE)
			for (;;)
				pause();
		if (len < 0 || len > (int32_t)sizeof(body))
			_exit(1);
		read_all(fd, body, (size_t)len);
		memset(answer, 0, sizeof(answer));
		memcpy(answer + 4, head + 4, 4); /* xid */
		rest = 0;
		if (get32(head + 8) == OP_SYNC)
			memcpy(answer + 20, body, (size_t)(rest = len));
		else
			put32(answer + 16, NO_NODE);
		send_packet(fd, answer, 16 + rest);
	}
}

static void
server_start(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0), small = 2048;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	server_port = ntohs(a.sin_port);
	assert_int_equal(listen(fd, 4), 0);
	server_pid = fork();
	assert_true(server_pid >= 0);
	if (server_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(accept(fd, NULL, NULL));
	}
	close(fd);
}

/* ---- the client ---- */

static struct client *
client_of_server(bool ctl)
{
	struct tree *t = tree_map(), *s = tree_map();
	char hosts[64];

	snprintf(hosts, sizeof(hosts), "127.0.0.1:%d", server_port);
	tree_set(t, "name", tree_text("a"));
	tree_set(t, "scope", tree_text("deaf"));
	tree_set(t, "ttl", tree_int(30));
	tree_set(t, "loop_wait", tree_int(1));
	tree_set(t, "retry_timeout", tree_int(3));
	tree_set(s, "hosts", tree_text(hosts));
	tree_set(t, "zookeeper", s);
	return client_of(t, ctl);
}

static enum outcome
write_big(struct client *c)
{
	char *json = malloc(BIG);
	struct answer a = { 0 };

	assert_non_null(json);
	memset(json, ' ', BIG);
	json[0] = '{';
	json[BIG - 1] = '}';
	/* token 0: there must be none yet, so it is one create */
	dcs_set_config(c->dcs, json, BIG, true, 0, in_ms(50), on_answer, &a);
	free(json);
	return wait_for(&a);
}

/*
 * More waits to be sent than both sockets hold.  A control tool ends its
 * session, which the library does by a word that it waits for; a daemon's
 * must live on.
 */
static void
close_full(bool ctl)
{
	struct client *c;
	int64_t begin;
	int i;

	server_start();
	c = client_of_server(ctl);
	run_for(500, NULL);
	for (i = 0; i < 24; i++)
		assert_int_not_equal(write_big(c), OUTCOME_OK);
	begin = clock_boot_ns();
	client_free(c);
	assert_true(clock_boot_ns() - begin < NS_PER_SEC);
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
}

static void
close_full_of_tool(void **state)
{
	(void)state;
	close_full(true);
}

static void
close_full_of_daemon(void **state)
{
	(void)state;
	close_full(false);
}

static int
start(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	return base == NULL ? -1 : 0;
}

static int
stop(void **state)
{
	(void)state;
	event_base_free(base);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(close_full_of_tool),
		cmocka_unit_test(close_full_of_daemon),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
