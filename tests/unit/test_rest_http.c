/*
 * test_rest_http.c: the REST server's wire forms, limits and access, and its
 * safe requests.
 */
#include "rest_driver.h"

#include <ctype.h>

#include "rest/openapi.h"

static void
test_wire(void **state)
{
	(void)state;
	assert_string_equal(
	    talk("HEAD /replica HTTP/1.1\r\n\r\n"), "HTTP/1.0 200 OK\r\n\r\n");
	assert_string_equal(talk("OPTIONS / HTTP/1.0\r\n\r\n"),
	    "HTTP/1.0 503 Service Unavailable\r\n\r\n");
	assert_string_equal(
	    talk("GET /liveness HTTP/1.0\r\n\r\n"), "HTTP/1.0 200 OK\r\n\r\n");
	assert_string_equal(talk("OPTIONS * HTTP/1.0\r\n\r\n"),
	    "HTTP/1.0 503 Service Unavailable\r\n\r\n");
	assert_string_equal(
	    talk("HEAD /patroni HTTP/1.0\r\n\r\n"), "HTTP/1.0 200 OK\r\n\r\n");
	assert_string_equal(talk("HEAD /config HTTP/1.0\r\n\r\n"),
	    "HTTP/1.0 503 Service Unavailable\r\n\r\n");
	assert_string_equal(talk("\r\n"), "");
	assert_memory_equal(
	    talk("GET //replica HTTP/1.0\n\n"), "HTTP/1.0 200", 12);
	assert_memory_equal(
	    talk("GET http://h:1/replica?lag=1 HTTP/1.0\r\n\r\n"),
	    "HTTP/1.0 200", 12);
	assert_non_null(
	    strstr(reply, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(reply, "\r\n\r\n{\"state\": \"running\", "));
	assert_memory_equal(talk("GET\r\n\r\n"), "HTTP/1.0 400", 12);
	assert_non_null(strstr(reply, "Bad request syntax ('GET')"));
	assert_memory_equal(talk("GET / HTTP/x\r\n\r\n"), "HTTP/1.0 400", 12);
	assert_memory_equal(talk("GET / HTTP/2.0\r\n\r\n"), "HTTP/1.0 505", 12);
	assert_memory_equal(
	    talk("GET / HTTP/1.1\r\nno colon\r\n\r\n"), "HTTP/1.0 400", 12);
	assert_memory_equal(talk("BREW /pot HTTP/1.1\r\n\r\n"),
	    "HTTP/1.0 501 Unsupported method ('BREW')\r\n", 42);
	assert_non_null(
	    strstr(reply, "Server does not support this operation"));
	CODE(501, "DELETE", "/failover", NULL);
	CODE(501, "POST", "/", "{}");
}

static void
test_keep_alive(void **state)
{
	const char *two =
	    "GET /liveness HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"
	    "GET /cluster HTTP/1.1\r\nConnection: Keep-Alive\r\n\r\n"
	    "POST /failsafe HTTP/1.1\r\nConnection: keep-alive\r\n"
	    "Content-Length: 2\r\n\r\n{}"
	    "HEAD /health HTTP/1.1\r\n\r\n";
	const char *first = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
			    "Connection: keep-alive\r\n\r\nHTTP/1.1 200 OK\r\n";

	(void)state;
	talk(two);
	assert_memory_equal(reply, first, strlen(first));
	/* the error page in the middle closes */
	assert_non_null(strstr(reply, "\"scope\": \"demo\"}HTTP/1.0 400"));
	assert_null(strstr(reply, "HTTP/1.0 200"));
}

static void
test_slices(void **state)
{
	const char *raw = "PATCH /config HTTP/1.1\r\nContent-Length: 14\r\n"
			  "\r\n{\"a\": {\"c\":2}";
	int fd = dial();
	size_t i;

	(void)state;
	/* one byte short: nothing may be answered yet */
	for (i = 0; i < strlen(raw); i++) {
		assert_int_equal(send(fd, raw + i, 1, MSG_NOSIGNAL), 1);
		event_base_loop(t.base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(recv(fd, reply, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	assert_int_equal(httpd_stats(t.rest->http)->connections, 0);
	assert_int_equal(httpd_stats(t.rest->http)->buffered, 0);
}

static void
test_limits(void **state)
{
	static char raw[300000];
	int fd[200], i;

	(void)state;
	memset(raw, 'a', sizeof(raw) - 1);
	memcpy(raw, "GET /", 5);
	raw[90000] = '\0';
	assert_memory_equal(talk(raw), "HTTP/1.0 414", 12);
	strcpy(raw, "GET / HTTP/1.1\r\n");
	for (i = 0; i < 101; i++)
		strcat(raw, "A: b\r\n");
	strcat(raw, "\r\n");
	assert_memory_equal(talk(raw), "HTTP/1.0 431", 12);
	memset(raw, 'a', sizeof(raw) - 1);
	memcpy(raw, "GET / HTTP/1.1\r\nA: ", 19);
	raw[150000] = '\0';
	assert_memory_equal(talk(raw), "HTTP/1.0 431", 12);
	assert_memory_equal(talk("POST /restart HTTP/1.1\r\n"
				 "Content-Length: 99999999\r\n\r\n"),
	    "HTTP/1.0 413", 12);
	assert_memory_equal(talk("POST /restart HTTP/1.1\r\n"
				 "Content-Length: -1\r\n\r\n"),
	    "HTTP/1.0 400", 12);
	for (i = 0; i < 200; i++)
		fd[i] = dial();
	assert_string_equal(
	    talk("HEAD /health HTTP/1.1\r\n\r\n"), "HTTP/1.0 200 OK\r\n\r\n");
	for (i = 0; i < 200; i++)
		close(fd[i]);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	event_base_loop(t.base, EVLOOP_NONBLOCK);
	assert_int_equal(httpd_stats(t.rest->http)->buffered, 0);
}

static void
test_access(void **state)
{
	(void)state;
	configure(
	    "\"authentication\": {\"username\": \"u\", \"password\": \"p\"}");
	CALL(401, "POST", "/reload", NULL, "no auth header received");
	assert_non_null(
	    strstr(reply, "WWW-Authenticate: Basic realm=\"Patroni\""));
	talk("POST /reload HTTP/1.1\r\nAuthorization: Basic dTpq\r\n\r\n");
	assert_non_null(strstr(reply, "not authenticated"));
	talk("POST /reload HTTP/1.1\r\nAuthorization: basic dTpw\r\n\r\n");
	assert_non_null(strstr(reply, "not authenticated"));
	assert_int_equal(t.reloads, 0);
	talk("POST /reload HTTP/1.1\r\nAuthorization: Basic dTpw\r\n\r\n");
	assert_non_null(strstr(reply, "HTTP/1.0 202 Accepted"));
	assert_non_null(strstr(reply, "reload scheduled"));
	assert_int_equal(t.reloads, 1);
	CODE(200, "GET", "/config", NULL);
	configure("\"auth\": \"u:p\"");
	talk("POST /reload HTTP/1.1\r\nAuthorization: Basic dTpw\r\n\r\n");
	assert_int_equal(t.reloads, 2);
	configure("\"allowlist\": [\"10.0.0.0/8\"]");
	CALL(403, "POST", "/reload", NULL, "Access is denied");
	configure("\"allowlist\": [\"10.0.0.0/8\", \"127.0.0.3/8\"]");
	CODE(202, "POST", "/reload", NULL);
	configure("\"allowlist\": [\"no such name\"]"); /* fail closed */
	CODE(403, "POST", "/reload", NULL);
	configure("\"allowlist_include_members\": true");
	rest_view(t.rest, NULL);
	CODE(403, "POST", "/reload", NULL); /* no view yet */
	rest_view(t.rest, view_copy(t.view));
	CODE(202, "POST", "/reload", NULL);
	configure(
	    "\"http_extra_headers\": {\"X-A\": \"b\", \"X-C\": \"d\\r\\ne\"}");
	talk("GET /health HTTP/1.0\r\n\r\n");
	assert_non_null(strstr(reply, "\r\nX-A: b\r\n"));
	assert_null(strstr(reply, "X-C"));
}

static void
test_networks(void **state)
{
	struct sockaddr_storage peer;
	struct sockaddr_in6 *p = (struct sockaddr_in6 *)&peer;
	struct allow a;

	(void)state;
	memset(&peer, 0, sizeof(peer));
	p->sin6_family = AF_INET6;
	inet_pton(AF_INET6, "::ffff:10.1.2.3", &p->sin6_addr);
	assert_true(allow_parse("10.0.0.1/8", &a) && allow_match(&a, &peer));
	assert_true(
	    allow_parse("10.1.2.3/255.255.0.0", &a) && allow_match(&a, &peer));
	assert_true(allow_parse("10.1.2.2/31", &a) && allow_match(&a, &peer));
	assert_true(allow_parse("10.1.2.4/31", &a) && !allow_match(&a, &peer));
	assert_true(allow_parse("::/0", &a) && !allow_match(&a, &peer));
	assert_true(allow_parse("0.0.0.0/0", &a) && allow_match(&a, &peer));
	assert_false(allow_parse("10.0.0.0/33", &a));
	assert_false(allow_parse("10.0.0.0/255.0.255.0", &a));
	assert_false(allow_parse("host", &a));
	assert_false(allow_parse("", &a));
}

static void
test_cluster(void **state)
{
	const char *b;

	(void)state;
	assert_int_equal(call("GET", "/cluster", NULL, &b), 200);
	assert_string_equal(b,
	    "{\"members\": [{\"name\": \"n1\", \"role\": "
	    "\"replica\", \"state\": \"running\", \"api_url\": "
	    "\"http://127.0.0.1:8008/patroni\", \"host\": \"127.0.0.1\", "
	    "\"port\": 5432, \"receive_lag\": \"unknown\", \"receive_lsn\": "
	    "\"unknown\", \"replay_lag\": \"unknown\", \"replay_lsn\": "
	    "\"unknown\", \"lag\": 160, \"lsn\": \"0/3000060\"}, {\"name\": "
	    "\"n2\", \"role\": \"leader\", \"state\": \"running\", \"api_url\": "
	    "\"http://127.0.0.1:8008/patroni\", \"host\": \"127.0.0.1\", "
	    "\"port\": 5432}], \"scope\": \"demo\"}");
	CALL(200, "GET", "/history", NULL, "[]");
	t.store_down = true;
	t.rest->view_ns = 0;
	CALL(503, "GET", "/cluster", NULL, "DCS is not accessible");
	CODE(502, "GET", "/failsafe", NULL); /* seen: there is none */
	t.rest->view->has_failsafe = t.rest->view->failsafe_object = 1;
	CALL(200, "GET", "/failsafe", NULL, "{}");
}

/* Peers must never read numbers that nobody has just read. */
static void
test_patroni(void **state)
{
	(void)state;
	CODE(200, "GET", "/patroni", NULL);
	assert_non_null(strstr(reply, "\"xlog\": {"));
	assert_int_equal(t.request.kind, 0); /* new enough, nobody was asked */
	t.rest->snap.s.stamp_ns -= NS_PER_SEC;
	CODE(200, "GET", "/patroni", NULL);
	assert_int_equal(t.request.kind, REQUEST_STATUS);
	assert_non_null(strstr(reply, "\"xlog\": {"));
	t.nobody_home = true;
	CODE(200, "GET", "/patroni", NULL);
	assert_null(strstr(reply, "xlog"));
	assert_non_null(strstr(reply, "\"state\": \"unknown\""));
	CODE(200, "GET", "/replica", NULL); /* health checks ask nobody */
	assert_non_null(strstr(reply, "\"xlog\": {"));
	t.nobody_home = false;
	t.request_code = 501;
	CODE(200, "GET", "/patroni", NULL);
	assert_non_null(strstr(reply, "\"xlog\": {"));
	t.rest->snap.s.stamp_ns -= 60 * NS_PER_SEC;
	CODE(503, "GET", "/patroni", NULL);
	assert_null(strstr(reply, "xlog"));
}

/* What the server says to a method that the description does not name: HEAD
 * and OPTIONS are health checks, and so is GET; nothing else is known. */
static void
undescribed(const char *path, const struct tree *operations)
{
	static const char *const all[] = { "get", "head", "options", "post",
		"put", "patch", "delete", "trace" };
	char method[16];
	size_t i, k;
	int code;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (tree_get(operations, all[i]) != NULL)
			continue;
		for (k = 0; k <= strlen(all[i]); k++)
			method[k] = (char)toupper(all[i][k]);
		code = call(method, path, NULL, NULL);
		if (code != (i < 3 ? 503 : 501))
			fail_msg(
			    "%s %s is not described: %d", method, path, code);
	}
}

/* Every path and method of the description is answered as it says. */
static void
test_openapi(void **state)
{
	struct tree *doc, *paths, *p;
	char method[16];
	uint32_t i, j, k;
	int code;

	(void)state;
	doc = tree_from_json(openapi_json, strlen(openapi_json), NULL, 0);
	paths = tree_get(doc, "paths");
	assert_true(tree_count(paths) > 30);
	for (i = 0; i < tree_count(paths); i++) {
		p = tree_child(paths, i);
		undescribed(p->key, p);
		for (j = 0; j < tree_count(p); j++) {
			snprintf(method, sizeof(method), "%s",
			    tree_child(p, j)->key);
			for (k = 0; method[k] != '\0'; k++)
				method[k] = (char)(method[k] - 'a' + 'A');
			code = call(method, p->key, NULL, NULL);
			if (code == 0 || code == 501)
				fail_msg("%s %s: %d", method, p->key, code);
			snprintf(method, sizeof(method), "%d", code);
			if (tree_get(tree_get(tree_child(p, j), "responses"),
				method) == NULL)
				fail_msg("%s %s: %d is not described",
				    tree_child(p, j)->key, p->key, code);
		}
	}
	tree_free(doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_wire),
		T(test_keep_alive),
		T(test_slices),
		T(test_limits),
		T(test_access),
		T(test_networks),
		T(test_cluster),
		T(test_patroni),
		T(test_openapi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
