/*
 * http_load.c: load for one HTTP endpoint over N connections; prints one line
 *
 *	<requests/s> <p50 us> <p99 us> <max us> <requests> <errors>
 *
 * usage: http_load host port path connections seconds [close]
 *
 * Keep-alive by default; with "close" every request has its own connection.
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
#define BUCKETS 1000000 /* microseconds */

struct conn {
	int fd;
	int64_t sent; /* ns */
	size_t have;  /* bytes of the answer so far */
	size_t want;  /* 0 = head not complete */
	char buf[65536];
};

static struct conn *conns;
static uint32_t *histogram;
static char request[1024];
static struct sockaddr_in addr;
static bool closing;
static uint64_t done, errors;

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
conn_start(int ep, struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data = { .ptr = c } };
	int one = 1;

	if (c->fd == -1) {
		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd == -1 ||
		    connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) ==
			-1) {
			perror("connect");
			exit(1);
		}
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (fcntl(c->fd, F_SETFL, O_NONBLOCK) == -1 ||
		    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) == -1) {
			perror("epoll");
			exit(1);
		}
	}
	c->have = c->want = 0;
	c->sent = now_ns();
	if (send(c->fd, request, strlen(request), MSG_NOSIGNAL) !=
	    (ssize_t)strlen(request))
		errors++;
}

static void
conn_done(int ep, struct conn *c)
{
	int64_t us = (now_ns() - c->sent) / 1000;

	histogram[us < BUCKETS ? us : BUCKETS - 1]++;
	done++;
	if (closing) {
		close(c->fd);
		c->fd = -1;
	}
	conn_start(ep, c);
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
conn_read(int ep, struct conn *c)
{
	ssize_t n;

	n = recv(c->fd, c->buf + c->have, sizeof(c->buf) - 1 - c->have, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (closing && n == 0 && c->have > 0) {
			conn_done(ep, c);
			return;
		}
		errors++;
		close(c->fd);
		c->fd = -1;
		conn_start(ep, c);
		return;
	}
	c->have += (size_t)n;
	if (c->want == 0)
		c->want = answer_size(c);
	if (!closing && c->want != 0 && c->have >= c->want)
		conn_done(ep, c);
	else if (c->have >= sizeof(c->buf) - 1)
		c->have = sizeof(c->buf) / 2; /* long body: only count */
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
	int64_t start, end;
	int ep, i, n, count, secs;

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
	for (i = 0; i < count; i++) {
		conns[i].fd = -1;
		conn_start(ep, &conns[i]);
	}
	start = now_ns();
	end = start + (int64_t)secs * 1000000000;
	while (now_ns() < end) {
		n = epoll_wait(ep, ev, 64, 1000);
		for (i = 0; i < n; i++)
			conn_read(ep, ev[i].data.ptr);
	}
	printf("%.0f %lld %lld %lld %llu %llu\n",
	    (double)done / ((double)(now_ns() - start) / 1e9),
	    (long long)percentile(0.5), (long long)percentile(0.99),
	    (long long)percentile(1.0), (unsigned long long)done,
	    (unsigned long long)errors);
	return errors == 0 ? 0 : 1;
}
