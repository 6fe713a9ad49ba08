/*
 * httpd_reply.c: the forms of answers (spec/rest-api.md 3.4, 3.5, 3.6).
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "httpd_conn.h"

static const struct {
	int code;
	const char *reason, *explain;
} codes[] = {
	{ 200, "OK", "Request fulfilled, document follows" },
	{ 202, "Accepted", "Request accepted, processing continues off-line" },
	{ 400, "Bad Request", "Bad request syntax or unsupported method" },
	{ 401, "Unauthorized", "No permission -- see authorization schemes" },
	{ 403, "Forbidden",
	    "Request forbidden -- authorization will not help" },
	{ 404, "Not Found", "Nothing matches the given URI" },
	{ 409, "Conflict", "Request conflict" },
	{ 411, "Length Required", "Client must specify Content-Length" },
	{ 412, "Precondition Failed", "Precondition in headers is false" },
	{ 413, "Request Entity Too Large", "Entity is too large" },
	{ 414, "Request-URI Too Long", "URI is too long" },
	{ 422, "Unprocessable Entity", "" },
	{ 431, "Request Header Fields Too Large",
	    "The server is unwilling to process the request because its header "
	    "fields are too large" },
	{ 500, "Internal Server Error", "Server got itself in trouble" },
	{ 501, "Not Implemented", "Server does not support this operation" },
	{ 502, "Bad Gateway", "Invalid responses from another server/proxy" },
	{ 503, "Service Unavailable",
	    "The server cannot process the request due to a high load" },
	{ 504, "Gateway Timeout",
	    "The gateway server did not receive a timely response" },
	{ 505, "HTTP Version Not Supported", "Cannot fulfill request" },
};

static size_t
code_index(int code)
{
	size_t i;

	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return i;
	return 13; /* 500 */
}

const char *
httpd_reason(int code)
{
	return codes[code_index(code)].reason;
}

void
httpd_set_headers(struct httpd_server *s, const char *server, const char *extra)
{
	char *a = strdup(server), *b = strdup(extra);

	if (a == NULL || b == NULL) {
		free(a);
		free(b);
		return; /* the old ones stay */
	}
	free(s->server_header);
	free(s->extra_headers);
	s->server_header = a;
	s->extra_headers = b;
}

void
httpd_peer_text(const struct httpd_request *r, char *buf, size_t size)
{
	const void *addr;

	if (r->peer.ss_family == AF_INET)
		addr = &((const struct sockaddr_in *)&r->peer)->sin_addr;
	else
		addr = &((const struct sockaddr_in6 *)&r->peer)->sin6_addr;
	if (inet_ntop(r->peer.ss_family, addr, buf, (socklen_t)size) == NULL)
		snprintf(buf, size, "?");
}

static void
log_answer(struct httpd_conn *c, int code, const char *page)
{
	char peer[64];
	double ms;

	if (!log_enabled(LOG_LVL_DEBUG))
		return;
	httpd_peer_text(&c->req, peer, sizeof(peer));
	ms = (double)(clock_boot_ns() - c->since) / 1e6;
	if (page != NULL)
		log_debug("API thread: %s - - code %d, message %s latency: "
			  "%.3f ms",
		    peer, code, page, ms);
	log_debug("API thread: %s - - \"%s\" %d - latency: %.3f ms", peer,
	    c->req.head.line, code, ms);
}

static const char *
date_text(struct httpd_server *s)
{
	static const char day[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu",
		"Fri", "Sat" };
	static const char month[12][4] = { "Jan", "Feb", "Mar", "Apr", "May",
		"Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t now = (time_t)(clock_wall_us() / 1000000);
	struct tm tm;

	if (now == s->date_at || gmtime_r(&now, &tm) == NULL)
		return s->date;
	snprintf(s->date, sizeof(s->date), "%s, %02d %s %d %02d:%02d:%02d GMT",
	    day[tm.tm_wday % 7], tm.tm_mday, month[tm.tm_mon % 12],
	    tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	s->date_at = now;
	return s->date;
}

static struct httpd_conn *
begin(struct httpd_request *r, int code, const char *reason)
{
	struct httpd_conn *c = (struct httpd_conn *)r;
	struct buf *b = &c->server->reply;
	size_t start;
	char num[16];

	if (b->cap > 65536)
		buf_free(b); /* one big answer is no reason to stay big */
	buf_reset(b);
	buf_text(b, c->close_after ? "HTTP/1.0 " : "HTTP/1.1 ");
	snprintf(num, sizeof(num), "%d ", code);
	buf_text(b, num);
	start = b->len;
	buf_text(b, reason);
	/* A reason may quote the request: nothing may pass as a new line. */
	for (; !b->failed && start < b->len; start++)
		if ((uint8_t)b->s[start] < 0x20 || b->s[start] == 0x7f)
			b->s[start] = '?';
	buf_add(b, "\r\n", 2);
	return c;
}

void
httpd_reply_bare(struct httpd_request *r, int code)
{
	struct httpd_conn *c = begin(r, code, httpd_reason(code));
	struct buf *b = &c->server->reply;

	if (!c->close_after)
		buf_text(b, "Content-Length: 0\r\nConnection: keep-alive\r\n");
	buf_add(b, "\r\n", 2);
	log_answer(c, code, NULL);
	conn_answer(c, b);
}

static void
standard_headers(struct httpd_conn *c, struct buf *b)
{
	buf_text(b, "Server: ");
	buf_text(b, c->server->server_header);
	buf_text(b, "\r\nDate: ");
	buf_text(b, date_text(c->server));
	buf_add(b, "\r\n", 2);
}

static void
length_header(struct buf *b, size_t len)
{
	char text[48];
	int n = snprintf(text, sizeof(text), "Content-Length: %zu\r\n", len);

	buf_add(b, text, (size_t)n);
}

void
httpd_reply(struct httpd_request *r, int code, const char *type,
    const char *headers, const void *body, size_t len)
{
	struct httpd_conn *c = begin(r, code, httpd_reason(code));
	struct buf *b = &c->server->reply;

	standard_headers(c, b);
	if (headers != NULL)
		buf_text(b, headers);
	buf_text(b, "Content-Type: ");
	buf_text(b, type);
	buf_add(b, "\r\n", 2);
	buf_text(b, c->server->extra_headers);
	length_header(b, len);
	if (!c->close_after)
		buf_text(b, "Connection: keep-alive\r\n");
	buf_add(b, "\r\n", 2);
	buf_add(b, body, len);
	log_answer(c, code, NULL);
	conn_answer(c, b);
}

void
httpd_reply_text(struct httpd_request *r, int code, const char *text)
{
	httpd_reply(r, code, "text/html", NULL, text, strlen(text));
}

void
httpd_error(struct httpd_request *r, int code, const char *message)
{
	struct buf page = { 0 };
	struct httpd_conn *c;
	struct buf *b;
	size_t i = code_index(code);

	if (message == NULL)
		message = codes[i].reason;
	buf_text(&page,
	    "<!DOCTYPE HTML>\n<html lang=\"en\">\n<head><meta "
	    "charset=\"utf-8\"><title>Error response</title></head>\n<body>\n"
	    "<h1>Error response</h1>\n");
	buf_printf(&page, "<p>Error code: %d</p>\n<p>Message: ", code);
	buf_html(&page, message);
	buf_printf(&page,
	    ".</p>\n<p>Error code explanation: %d - %s.</p>\n"
	    "</body>\n</html>\n",
	    code, codes[i].explain);
	/* Pages always close: the client is out of step more often than not. */
	((struct httpd_conn *)r)->close_after = true;
	c = begin(r, code, message);
	b = &c->server->reply;
	standard_headers(c, b);
	buf_text(b,
	    "Connection: close\r\n"
	    "Content-Type: text/html;charset=utf-8\r\n");
	length_header(b, page.len);
	buf_add(b, "\r\n", 2);
	buf_add(b, page.s, page.len);
	if (page.failed)
		b->failed = true;
	buf_free(&page);
	log_answer(c, code, message);
	conn_answer(c, b);
}
