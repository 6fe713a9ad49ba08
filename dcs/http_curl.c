/*
 * http_curl.c: requests by libcurl: those with TLS (http_int.h).
 *
 * curl calls back with the sockets it wants watched and the timer it wants
 * set; both become libevent events.  Finished requests are collected after
 * every step.
 */
#include <sys/queue.h>
#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "../ipc/types.h"
#include "../ipc/version.h"
#include "http_int.h"

struct request {
	struct http_request base;
	LIST_ENTRY(request) entry;
	struct client *http;
	CURL *easy;
	struct curl_slist *headers;
	char error[CURL_ERROR_SIZE];
	struct gathered answer;
	http_done_cb done;
	void *arg;
	int sends; /* curl repeats by itself when a kept connection breaks */
	bool added;
};

struct client {
	struct event_base *base;
	struct event *timer;
	CURLM *multi;
	LIST_HEAD(, request) requests;
	int user_timeout, idle, interval;
	bool in_step;
	bool *freed; /* set when freed inside a callback */
};

static void
request_free(struct request *r)
{
	LIST_REMOVE(r, entry);
	if (r->easy != NULL) {
		if (r->added)
			curl_multi_remove_handle(r->http->multi, r->easy);
		curl_easy_cleanup(r->easy);
	}
	curl_slist_free_all(r->headers);
	gathered_clear(&r->answer);
	free(r);
}

static void
cancel(struct http_request *r)
{
	request_free((struct request *)r);
}

static enum http_error
classify(const struct request *r, CURLcode code)
{
	if (r->answer.aborted)
		return HTTP_ABORTED;
	switch (code) {
	case CURLE_OK:
		return r->answer.too_long ? HTTP_BROKEN : HTTP_OK;
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_OUT_OF_MEMORY:
	case CURLE_FAILED_INIT:
		return HTTP_CONNECT;
	default:
		break;
	}
	return HTTP_BROKEN;
}

/* A timeout may have struck before or after the request was sent. */
static bool
never_connected(CURL *easy)
{
	curl_off_t t = 0;

	return curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &t) ==
	    CURLE_OK &&
	    t == 0;
}

static void
finish(struct request *r, CURLcode code)
{
	struct http_answer a = { .resent = r->sends > 1 };
	http_done_cb done = r->done;
	void *arg = r->arg;

	a.error = classify(r, code);
	if (code == CURLE_OPERATION_TIMEDOUT && never_connected(r->easy))
		a.error = HTTP_CONNECT;
	gathered_answer(&r->answer, &a);
	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &a.status);
	a.text = "";
	if (r->answer.too_long)
		a.text = "answer too long";
	else if (code != CURLE_OK)
		a.text =
		    r->error[0] != '\0' ? r->error : curl_easy_strerror(code);
	/* Out of curl's and our lists first: done() may start or cancel
	 * requests or free everything; the answer's bytes live until then. */
	curl_multi_remove_handle(r->http->multi, r->easy);
	r->added = false;
	LIST_REMOVE(r, entry);
	done(&a, arg);
	curl_easy_cleanup(r->easy);
	curl_slist_free_all(r->headers);
	gathered_clear(&r->answer);
	free(r);
}

static void
collect(struct client *h)
{
	struct request *r;
	bool freed = false;
	CURLMsg *m;
	int left;

	if (h->in_step)
		return;
	h->in_step = true;
	h->freed = &freed;
	while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
		if (m->msg != CURLMSG_DONE)
			continue;
		r = NULL;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r);
		finish(r, m->data.result);
		if (freed)
			return;
	}
	h->freed = NULL;
	h->in_step = false;
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct client *h = arg;
	int running, act = 0;

	if (what & EV_READ)
		act |= CURL_CSELECT_IN;
	if (what & EV_WRITE)
		act |= CURL_CSELECT_OUT;
	curl_multi_socket_action(h->multi, fd, act, &running);
	collect(h);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct client *h = arg;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(h);
}

static int
socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg, void *sock)
{
	struct event *ev = sock;
	struct client *h = arg;
	short flags = EV_PERSIST;

	(void)easy;
	if (ev != NULL)
		event_free(ev);
	if (what == CURL_POLL_REMOVE) {
		curl_multi_assign(h->multi, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		flags |= EV_READ;
	if (what & CURL_POLL_OUT)
		flags |= EV_WRITE;
	ev = event_new(h->base, fd, flags, on_socket, h);
	if (ev != NULL)
		event_add(ev, NULL);
	curl_multi_assign(h->multi, fd, ev);
	return 0;
}

static int
timer_cb(CURLM *multi, long ms, void *arg)
{
	struct client *h = arg;
	struct timeval tv;

	(void)multi;
	if (ms < 0) {
		event_del(h->timer);
		return 0;
	}
	tv.tv_sec = ms / 1000;
	tv.tv_usec = ms % 1000 * 1000;
	event_add(h->timer, &tv);
	return 0;
}

static size_t
write_cb(char *data, size_t one, size_t n, void *arg)
{
	struct request *r = arg;

	return gathered_bytes(&r->answer, data, n * one) ? n * one : 0;
}

static size_t
header_cb(char *data, size_t one, size_t n, void *arg)
{
	struct request *r = arg;
	long status = 0;

	n *= one;
	gathered_header(&r->answer, data, n);
	if (n != 2 || data[0] != '\r')
		return n;
	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	return gathered_head(&r->answer, status) ? n : 0;
}

static int
sockopt_cb(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	struct client *h = arg;
	unsigned int ms = (unsigned int)h->user_timeout * 1000;
	int count = 3;

	(void)purpose;
	if (h->user_timeout > 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	}
	return CURL_SOCKOPT_OK;
}

static int
prereq_cb(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct request *r = arg;

	(void)ip;
	(void)local_ip;
	(void)port;
	(void)local_port;
	r->sends++;
	return CURL_PREREQFUNC_OK;
}

static void
set_blob(CURL *e, CURLoption opt, char *data, size_t len)
{
	struct curl_blob b = { data, len, CURL_BLOB_COPY };

	if (data != NULL)
		curl_easy_setopt(e, opt, &b);
}

static void
set_tls(CURL *e, const struct http_tls *t)
{
	if (t == NULL)
		return;
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, t->verify_peer ? 1L : 0L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, t->verify_host ? 2L : 0L);
	set_blob(e, CURLOPT_CAINFO_BLOB, t->ca, t->ca_len);
	set_blob(e, CURLOPT_SSLCERT_BLOB, t->cert, t->cert_len);
	set_blob(e, CURLOPT_SSLKEY_BLOB, t->key, t->key_len);
	if (t->key_password != NULL)
		curl_easy_setopt(e, CURLOPT_KEYPASSWD, t->key_password);
}

static void
set_limits(struct client *h, CURL *e, const struct http_spec *s)
{
	int64_t left = s->deadline - clock_boot_ns(), conn;

	if (left < NS_PER_MS)
		left = NS_PER_MS;
	conn = s->connect_ns > 0 && s->connect_ns < left ? s->connect_ns : left;
	if (conn < NS_PER_MS)
		conn = NS_PER_MS;
	if (s->data == NULL)
		curl_easy_setopt(
		    e, CURLOPT_TIMEOUT_MS, (long)(left / NS_PER_MS));
	curl_easy_setopt(
	    e, CURLOPT_CONNECTTIMEOUT_MS, (long)(conn / NS_PER_MS));
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	/* a name server that hangs must not be waited for at the end */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(e, CURLOPT_DNS_CACHE_TIMEOUT, 600L);
	if (h->user_timeout > 0) {
		curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
		curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, (long)h->idle);
		curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, (long)h->interval);
	}
	curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, sockopt_cb);
	curl_easy_setopt(e, CURLOPT_SOCKOPTDATA, h);
}

static bool
add_header(struct request *r, const char *line)
{
	struct curl_slist *l = curl_slist_append(r->headers, line);

	if (l == NULL)
		return false;
	r->headers = l;
	return true;
}

static bool
set_request(struct request *r, const struct http_spec *s)
{
	CURL *e = r->easy;
	size_t i;

	if (curl_easy_setopt(e, CURLOPT_URL, s->url) != CURLE_OK ||
	    curl_easy_setopt(e, CURLOPT_USERAGENT, "Patroni/" COMPAT_VERSION) !=
		CURLE_OK)
		return false;
	if (s->body != NULL) {
		curl_easy_setopt(
		    e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->body_len);
		if (curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, s->body) !=
			CURLE_OK ||
		    !add_header(r, "Expect:") ||
		    !add_header(r, "Content-Type:"))
			return false;
	}
	curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, s->method);
	for (i = 0; s->headers != NULL && s->headers[i] != NULL; i++)
		if (!add_header(r, s->headers[i]))
			return false;
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, r->headers);
	if (s->user != NULL) {
		curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(e, CURLOPT_USERNAME, s->user);
		curl_easy_setopt(e, CURLOPT_PASSWORD,
		    s->password == NULL ? "" : s->password);
	}
	if (s->close) {
		curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
		curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
	}
	return true;
}

static struct http_request *
start(void *arg, const struct http_spec *s, http_done_cb done, void *done_arg)
{
	struct client *h = arg;
	struct request *r;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		return NULL;
	r->base.cancel = cancel;
	r->http = h;
	r->done = done;
	r->arg = done_arg;
	gathered_init(&r->answer, s, done_arg);
	LIST_INSERT_HEAD(&h->requests, r, entry);
	if ((r->easy = curl_easy_init()) == NULL)
		goto fail;
	curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
	curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->error);
	curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, write_cb);
	curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(r->easy, CURLOPT_HEADERFUNCTION, header_cb);
	curl_easy_setopt(r->easy, CURLOPT_HEADERDATA, r);
	curl_easy_setopt(r->easy, CURLOPT_PREREQFUNCTION, prereq_cb);
	curl_easy_setopt(r->easy, CURLOPT_PREREQDATA, r);
	curl_easy_setopt(r->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(r->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(
	    r->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	set_limits(h, r->easy, s);
	set_tls(r->easy, s->tls);
	if (!set_request(r, s) ||
	    curl_multi_add_handle(h->multi, r->easy) != CURLM_OK)
		goto fail;
	r->added = true;
	return &r->base;
fail:
	request_free(r);
	return NULL;
}

static void
keepalive(void *arg, int user_timeout, int idle, int interval)
{
	struct client *h = arg;

	h->user_timeout = user_timeout;
	h->idle = idle;
	h->interval = interval;
}

static void
client_close(void *arg)
{
	struct client *h = arg;

	while (!LIST_EMPTY(&h->requests))
		request_free(LIST_FIRST(&h->requests));
	if (h->freed != NULL)
		*h->freed = true;
	if (h->multi != NULL)
		curl_multi_cleanup(h->multi); /* ends all sockets' events */
	if (h->timer != NULL)
		event_free(h->timer);
	free(h);
}

static void *
client_open(struct event_base *base)
{
	struct client *h;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
	    (h = calloc(1, sizeof(*h))) == NULL)
		return NULL;
	LIST_INIT(&h->requests);
	h->base = base;
	h->multi = curl_multi_init();
	h->timer = evtimer_new(base, on_timer, h);
	if (h->multi == NULL || h->timer == NULL) {
		client_close(h);
		return NULL;
	}
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, timer_cb);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	curl_multi_setopt(
	    h->multi, CURLMOPT_MAXCONNECTS, (long)HTTP_MAX_CONNECTIONS);
	return h;
}

const struct http_way http_way_curl = { .version = HTTP_WAY_VERSION,
	.open = client_open,
	.close = client_close,
	.keepalive = keepalive,
	.start = start };
