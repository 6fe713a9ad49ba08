/*
 * resolve.c: see resolve.h.  The worker writes one line per host: its
 * addresses with a blank behind each, or "! reason".
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../ipc/types.h"
#include "child.h"
#include "resolve.h"

#define MAX_HOSTS 16
#define MAX_ADDRESSES 4 /* of one name */
#define LIST_SIZE (MAX_HOSTS * MAX_ADDRESSES * 64)
#define HOSTS_SIZE 4096

struct resolve {
	struct child *child;
	char hosts[HOSTS_SIZE], ports[HOSTS_SIZE];
	resolve_cb cb;
	void *arg;
};

struct list {
	char text[LIST_SIZE];
	size_t len;
	bool full;
};

static bool
is_directory(const char *host)
{
	return host[0] == '/' || host[0] == '@' || host[0] == '\0';
}

static bool
is_address(const char *host)
{
	unsigned char buf[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, buf) == 1 ||
	    inet_pton(AF_INET6, host, buf) == 1;
}

/* Cuts a comma list in place. */
static int
cut(char *text, char **v)
{
	int n = 0;

	while (n < MAX_HOSTS) {
		v[n++] = text;
		text = strchr(text, ',');
		if (text == NULL)
			return n;
		*text++ = '\0';
	}
	return n;
}

bool
resolve_needed(const char *hosts)
{
	char copy[HOSTS_SIZE], *v[MAX_HOSTS];
	int i, n;

	if (hosts == NULL || !text_set(copy, sizeof copy, hosts))
		return false;
	n = cut(copy, v);
	for (i = 0; i < n; i++)
		if (!is_directory(v[i]) && !is_address(v[i]))
			return true;
	return false;
}

/* ---- the worker ---- */

static void
look_up(const char *host)
{
	struct addrinfo hints, *res, *a;
	char text[128];
	int e, n = 0;

	if (is_directory(host) || is_address(host)) {
		dprintf(1, "%s\n", is_directory(host) ? "" : host);
		return;
	}
	memset(&hints, 0, sizeof hints);
	hints.ai_socktype = SOCK_STREAM;
	e = getaddrinfo(host, NULL, &hints, &res);
	if (e != 0) {
		dprintf(1,
		    "! could not translate host name \"%s\" to address: %s\n",
		    host, gai_strerror(e));
		return;
	}
	for (a = res; a != NULL && n < MAX_ADDRESSES; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text,
			NULL, 0, NI_NUMERICHOST) == 0 &&
		    is_address(text)) {
			dprintf(1, "%s ", text);
			n++;
		}
	dprintf(1, "%s\n", n > 0 ? "" : "! no usable address");
	freeaddrinfo(res);
}

static int
worker(void *arg)
{
	struct resolve *r = arg;
	char *v[MAX_HOSTS];
	int i, n = cut(r->hosts, v);

	for (i = 0; i < n; i++)
		look_up(v[i]);
	return 0;
}

/* ---- the answer ---- */

static void
add(struct list *l, const char *text)
{
	int n = snprintf(l->text + l->len, sizeof l->text - l->len, "%s%s",
	    l->len > 0 || l->full ? "," : "", text);

	if (n < 0 || (size_t)n >= sizeof l->text - l->len)
		return;
	l->len += (size_t)n;
	l->full = true; /* an empty first element is one too */
}

static void
answer(struct resolve *r, char *lines)
{
	static struct list host, hostaddr, port;
	struct resolve_answer a;
	char *hosts[MAX_HOSTS], *ports[MAX_HOSTS], *line, *next, *word, *save;
	const char *error = "the name could not be looked up";
	int i, n = cut(r->hosts, hosts), np = cut(r->ports, ports), found = 0;

	memset(&host, 0, sizeof host);
	memset(&hostaddr, 0, sizeof hostaddr);
	memset(&port, 0, sizeof port);
	for (i = 0, line = lines; i < n && line != NULL; i++, line = next) {
		const char *p = np == 1 ? ports[0] : i < np ? ports[i] : "";

		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		if (strncmp(line, "! ", 2) == 0) {
			error = line + 2;
			continue;
		}
		word = strtok_r(line, " ", &save);
		do {
			add(&host, hosts[i]);
			add(&hostaddr, word != NULL ? word : "");
			add(&port, p);
			found++;
		} while (word != NULL &&
		    (word = strtok_r(NULL, " ", &save)) != NULL);
	}
	memset(&a, 0, sizeof a);
	a.ok = found > 0;
	a.error = error;
	a.host = host.text;
	a.hostaddr = hostaddr.text;
	a.port = port.text;
	r->cb(&a, r->arg);
}

static void
on_end(const struct child_end *e, void *arg)
{
	struct resolve *r = arg;
	char *copy = strdup(e->started && e->code == 0 ? e->out : "");

	r->child = NULL;
	if (copy == NULL || copy[0] == '\0') {
		struct resolve_answer a = { .ok = false,
			.error = "the name could not be looked up" };

		r->cb(&a, r->arg);
	} else {
		answer(r, copy);
	}
	free(copy);
	free(r);
}

struct resolve *
resolve_run(struct event_base *base, const char *hosts, const char *ports,
    resolve_cb cb, void *arg)
{
	struct resolve *r = calloc(1, sizeof *r);
	struct child_spec spec;

	if (r == NULL)
		return NULL;
	r->cb = cb;
	r->arg = arg;
	memset(&spec, 0, sizeof spec);
	spec.worker = worker;
	spec.worker_arg = r;
	spec.capture = true;
	if (text_set(r->hosts, sizeof r->hosts, hosts) &&
	    text_set(r->ports, sizeof r->ports, ports))
		r->child = child_run(base, &spec, on_end, r);
	if (r->child == NULL) {
		free(r);
		return NULL;
	}
	return r;
}

void
resolve_drop(struct resolve *r)
{
	if (r == NULL)
		return;
	child_drop(r->child);
	free(r);
}
