/*
 * http_load.c: load for one HTTP endpoint over N connections; prints one line
 *
 *	<requests/s> <p50 us> <p99 us> <max us> <requests> <refused> <late>
 *	    <broken>
 *
 * usage: http_load host port path connections seconds [close]
 *
 * Keep-alive by default; with "close" every request has its own connection,
 * and its time counts from the begin of the connect.  A server whose listen
 * queue is full drops or refuses connections: that one waits or is tried again
 * a little later, the others go on.  refused: connections that were refused or
 * reset before an answer began; late: not answered within ANSWER_TIME; broken:
 * an answer that ended too early.  None of them counts as a request.
 * Single-threaded and bounded: at most 1024 connections and 600 seconds.
 */
#include <sys/epoll.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNS 1024
#define BUCKETS 1000000 /* microseconds; the last is "or more" */
#define MS INT64_C(1000000)
#define ANSWER_TIME (10000 * MS)
#define RETRY_AFTER (5 * MS)
#define TICK (5 * MS)

struct conn {
	int fd; /* -1: waits for retry_at */
	bool connecting;
	int64_t begun; /* ns */
	int64_t retry_at;
	size_t have; /* bytes of the answer so far */
	size_t want; /* 0 = head not complete */
	char buf[65536];
};

static struct conn *conns;
static int count;
static uint32_t *histogram;
static char request[1024];
static struct sockaddr_in addr;
static bool closing;
static uint64_t done, refused, late, broken;
static int ep;

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
conn_close(struct conn *c)
{
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	c->connecting = false;
}

/* This one failed: the next try is a little later. */
static void
conn_failed(struct conn *c, uint64_t *counter)
{
	(*counter)++;
	conn_close(c);
	c->retry_at = now_ns() + RETRY_AFTER;
}

static void
conn_watch(struct conn *c, int how, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data = { .ptr = c } };

	if (epoll_ctl(ep, how, c->fd, &ev) == -1) {
		perror("epoll");
		exit(1);
	}
}

static void
conn_send(struct conn *c)
{
	size_t len = strlen(request);

	c->have = c->want = 0;
	if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
		conn_failed(c, &refused);
}

/* A request: on the connection that is there, or on a new one. */
static void
conn_start(struct conn *c)
{
	int one = 1;

	c->begun = now_ns();
	if (c->fd != -1) {
		conn_send(c);
		return;
	}
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd == -1) {
		perror("socket");
		exit(1);
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) == -1 &&
	    errno != EINPROGRESS) {
		conn_failed(c, &refused);
		return;
	}
	c->connecting = true;
	conn_watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void
conn_connected(struct conn *c)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1 ||
	    error != 0) {
		conn_failed(c, &refused);
		return;
	}
	c->connecting = false;
	conn_watch(c, EPOLL_CTL_MOD, EPOLLIN);
	conn_send(c);
}

static void
conn_done(struct conn *c)
{
	int64_t us = (now_ns() - c->begun) / 1000;

	histogram[us < BUCKETS ? us : BUCKETS - 1]++;
	done++;
	if (closing)
		conn_close(c);
	conn_start(c);
}

/* Whole size of the answer once its head is there; 0 = unknown. */
static size_t
answer_size(struct conn *c)
{
	char *end, *len;

	c->buf[c->have] = '\0';
	if ((end = strstr(c->buf, "\r\n\r\n")) == NULL)
		return 0;
	if ((len = strcasestr(c->buf, "content-length:")) == NULL || len > end)
		return 0;
	return (size_t)(end + 4 - c->buf) + strtoul(len + 15, NULL, 10);
}

static void
conn_read(struct conn *c)
{
	ssize_t n;

	n = recv(c->fd, c->buf + c->have, sizeof(c->buf) - 1 - c->have, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (closing && n == 0 && c->have > 0 && c->have >= c->want)
			conn_done(c);
		else
			conn_failed(c, c->have == 0 ? &refused : &broken);
		return;
	}
	c->have += (size_t)n;
	if (c->want == 0)
		c->want = answer_size(c);
	if (!closing && c->want != 0 && c->have >= c->want)
		conn_done(c);
	else if (c->have >= sizeof(c->buf) - 1)
		c->have = sizeof(c->buf) / 2; /* long body: only count */
}

/* Those that wait too long, and those whose pause is over. */
static void
look_around(int64_t now)
{
	int i;

	for (i = 0; i < count; i++) {
		struct conn *c = &conns[i];

		if (c->fd == -1 && now >= c->retry_at)
			conn_start(c);
		else if (c->fd != -1 && now - c->begun > ANSWER_TIME)
			conn_failed(c, &late);
	}
}

static int64_t
percentile(double p)
{
	uint64_t seen = 0;
	int64_t i;

	for (i = 0; i < BUCKETS; i++)
		if ((double)(seen += histogram[i]) >= p * (double)done)
			return i;
	return BUCKETS;
}

int
main(int argc, char **argv)
{
	struct epoll_event ev[64];
	int64_t start, end, now, looked;
	int i, n, secs;

	if (argc < 6) {
		fprintf(stderr,
		    "usage: http_load host port path connections "
		    "seconds [close]\n");
		return 2;
	}
	count = atoi(argv[4]);
	secs = atoi(argv[5]);
	closing = argc > 6;
	addr.sin_family = AF_INET;
	addr.sin_port = htons((uint16_t)atoi(argv[2]));
	if (count < 1 || count > MAX_CONNS || secs < 1 || secs > 600 ||
	    inet_pton(AF_INET, argv[1], &addr.sin_addr) != 1) {
		fprintf(stderr, "http_load: bad argument\n");
		return 2;
	}
	snprintf(request, sizeof(request),
	    "GET %s HTTP/1.1\r\nHost: %s\r\n"
	    "Connection: %s\r\n\r\n",
	    argv[3], argv[1], closing ? "close" : "keep-alive");
	conns = calloc((size_t)count, sizeof(*conns));
	histogram = calloc(BUCKETS, sizeof(*histogram));
	if (conns == NULL || histogram == NULL ||
	    (ep = epoll_create1(EPOLL_CLOEXEC)) == -1)
		return 1;
	for (i = 0; i < count; i++)
		conns[i].fd = -1;
	start = looked = now_ns();
	end = start + (int64_t)secs * 1000000000;
	look_around(start);
	while ((now = now_ns()) < end) {
		if (now - looked >= TICK) {
			look_around(now);
			looked = now;
		}
		n = epoll_wait(ep, ev, 64, (int)(TICK / MS));
		for (i = 0; i < n; i++) {
			struct conn *c = ev[i].data.ptr;

			if (c->fd == -1)
				continue;
			if (c->connecting)
				conn_connected(c);
			else
				conn_read(c);
		}
	}
	printf("%.0f %lld %lld %lld %llu %llu %llu %llu\n",
	    (double)done / ((double)(now_ns() - start) / 1e9),
	    (long long)percentile(0.5), (long long)percentile(0.99),
	    (long long)percentile(1.0), (unsigned long long)done,
	    (unsigned long long)refused, (unsigned long long)late,
	    (unsigned long long)broken);
	return done > 0 && broken == 0 ? 0 : 1;
}
