/*
 * exhibitor.c: ZooKeeper whose servers are told by Exhibitor (spec/dcs.md 10).
 *
 * The list is asked for when a load finds it due, beside that load, which goes
 * on with the servers that are known.  All else is the ZooKeeper driver's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "../ipc/values.h"
#include "exhibitor.h"
#include "http.h"
#include "json.h"
#include "zookeeper_int.h"

#define POLL_TIMEOUT (3100 * NS_PER_MS)
#define START_AGAIN (5 * NS_PER_SEC)
#define MAX_LIST (64 * 1024)
#define MAX_CANDIDATES (2 * ZK_MAX_HOSTS)

struct exhibitor {
	struct zk *zk;
	struct http *http;
	struct http_request *request;
	struct event *again; /* until the first list came */
	struct zk_host configured[ZK_MAX_HOSTS];
	uint32_t nconfigured;
	int port;
	int64_t interval, due;
	char servers[ZK_MAX_HOSTS * (ZK_HOST_SIZE + 8)]; /* "" = none yet */
	/* of the poll under way: known hosts first, then the configured */
	const char *candidate[MAX_CANDIDATES];
	uint32_t ncandidates, next;
	uint32_t seed;
	struct zk_conf found;
};

static void poll_next(struct exhibitor *);

/* ---- the list ---- */

static bool
host_name(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_:";

	return s[0] != '\0' && s[strspn(s, allowed)] == '\0';
}

static int
by_name(const void *a, const void *b)
{
	const struct zk_host *x = a, *y = b;

	return strcmp(x->host, y->host);
}

bool
exhibitor_parse(const char *body, size_t len, struct zk_conf *hosts)
{
	json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *servers = json_object_get(root, "servers");
	const json_t *port = json_object_get(root, "port");
	json_int_t number = json_integer_value(port);
	bool good = json_is_array(servers) && json_is_integer(port) &&
	    number > 0 && number <= 65535 &&
	    json_array_size(servers) <= ZK_MAX_HOSTS;
	size_t i;

	hosts->nhosts = 0;
	hosts->chroot[0] = '\0';
	for (i = 0; good && i < json_array_size(servers); i++) {
		const char *s = json_string_value(json_array_get(servers, i));
		struct zk_host *h = &hosts->hosts[hosts->nhosts];

		good = s != NULL && host_name(s) &&
		    text_set(h->host, sizeof(h->host), s);
		h->port = (int)number;
		hosts->nhosts++;
	}
	json_decref(root);
	if (!good || hosts->nhosts == 0)
		return false;
	qsort(hosts->hosts, hosts->nhosts, sizeof(hosts->hosts[0]), by_name);
	return true;
}

static void
servers_text(const struct zk_conf *c, char *buf, size_t size)
{
	size_t o = 0;
	uint32_t i;
	int n;

	buf[0] = '\0';
	for (i = 0; i < c->nhosts; i++) {
		n = snprintf(buf + o, size - o, "%s%s:%d", i == 0 ? "" : ",",
		    c->hosts[i].host, c->hosts[i].port);
		if (n < 0 || (size_t)n >= size - o)
			return;
		o += (size_t)n;
	}
}

static void
take_over(struct exhibitor *e)
{
	char text[sizeof(e->servers)];
	struct zk_conf *c = &e->zk->conf;

	e->due = clock_boot_ns() + e->interval;
	servers_text(&e->found, text, sizeof(text));
	if (strcmp(text, e->servers) == 0)
		return;
	log_info("ZooKeeper connection string has changed: %.1000s => %.1000s",
	    e->servers, text);
	memcpy(e->servers, text, sizeof(text));
	memcpy(c->hosts, e->found.hosts, sizeof(c->hosts));
	c->nhosts = e->found.nhosts;
	zk_session_hosts(e->zk);
}

/* ---- polls ---- */

static void
poll_failed(struct exhibitor *e)
{
	struct timeval tv = { START_AGAIN / NS_PER_SEC, 0 };

	e->due = 0; /* the next load asks again */
	if (e->servers[0] != '\0')
		return;
	log_info("waiting on exhibitor");
	evtimer_add(e->again, &tv);
}

static void
on_list(const struct http_answer *a, void *arg)
{
	struct exhibitor *e = arg;

	e->request = NULL;
	if (a->error == HTTP_OK && a->status == 200 &&
	    exhibitor_parse(a->body, a->len, &e->found)) {
		take_over(e);
		return;
	}
	log_warn("Exhibitor %s: %s", e->candidate[e->next - 1],
	    a->error != HTTP_OK	 ? a->text :
		a->status != 200 ? "refused" :
				   "not a list of servers");
	poll_next(e);
}

static void
poll_next(struct exhibitor *e)
{
	char url[ZK_HOST_SIZE + 64];
	struct http_spec spec = { .method = "GET",
		.url = url,
		.deadline = clock_boot_ns() + POLL_TIMEOUT,
		.max_body = MAX_LIST,
		.close = true };
	const char *host;

	while (e->next < e->ncandidates) {
		host = e->candidate[e->next++];
		snprintf(url, sizeof(url),
		    strchr(host, ':') == NULL ?
			"http://%s:%d/exhibitor/v1/cluster/list" :
			"http://[%s]:%d/exhibitor/v1/cluster/list",
		    host, e->port);
		e->request = http_start(e->http, &spec, on_list, e);
		if (e->request != NULL)
			return;
	}
	poll_failed(e);
}

/* n candidates from here on in random order */
static void
shuffle(struct exhibitor *e, const struct zk_host *hosts, uint32_t n)
{
	const char **first = &e->candidate[e->ncandidates], *swap;
	uint32_t i, j;

	for (i = 0; i < n && e->ncandidates < MAX_CANDIDATES; i++) {
		first[i] = hosts[i].host;
		e->ncandidates++;
		e->seed = e->seed * 1103515245 + 12345;
		j = (e->seed >> 16) % (i + 1);
		swap = first[i];
		first[i] = first[j];
		first[j] = swap;
	}
}

static void
poll_start(struct exhibitor *e)
{
	if (e->request != NULL)
		return;
	e->ncandidates = e->next = 0;
	/* the servers of the list are Exhibitor's hosts, too */
	shuffle(e, e->zk->conf.hosts, e->zk->conf.nhosts);
	shuffle(e, e->configured, e->nconfigured);
	poll_next(e);
}

static void
before_load(void *arg)
{
	struct exhibitor *e = arg;

	if (e->servers[0] != '\0' && clock_boot_ns() >= e->due)
		poll_start(e);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	poll_start(arg);
}

/* ---- the driver ---- */

static void
exhibitor_close(void *arg)
{
	struct exhibitor *e = arg;

	if (e == NULL)
		return;
	zk_close(e->zk);
	http_free(e->http);
	if (e->again != NULL)
		event_free(e->again);
	free(e);
}

static bool
add_configured(struct exhibitor *e, const char *s)
{
	size_t n;

	for (;; s += n + (s[n] != '\0')) {
		s += strspn(s, ", \t");
		n = strcspn(s, ", \t");
		if (n == 0)
			return true;
		if (e->nconfigured == ZK_MAX_HOSTS || n >= ZK_HOST_SIZE)
			return false;
		memcpy(e->configured[e->nconfigured].host, s, n);
		e->configured[e->nconfigured].host[n] = '\0';
		if (!host_name(e->configured[e->nconfigured].host))
			return false;
		e->nconfigured++;
	}
}

static bool
read_section(struct exhibitor *e, const struct tree *section)
{
	const struct tree *hosts = tree_get(section, "hosts");
	int64_t port = tree_path_int(section, "port", 0);
	int64_t interval = tree_path_int(section, "poll_interval", 300);
	uint32_t i;

	if (port < 1 || port > 65535 || interval < 1 || interval > 86400 ||
	    hosts == NULL)
		return false;
	e->port = (int)port;
	e->interval = interval * NS_PER_SEC;
	e->nconfigured = 0;
	if (hosts->type == TREE_TEXT && !add_configured(e, hosts->u.s))
		return false;
	for (i = 0; hosts->type == TREE_LIST && i < tree_count(hosts); i++) {
		const struct tree *h = tree_child(hosts, i);

		if (h->type != TREE_TEXT || !add_configured(e, h->u.s))
			return false;
	}
	return e->nconfigured > 0;
}

static void *
exhibitor_open(
    struct dcs *dcs, const struct tree *section, char *err, size_t errlen)
{
	struct zk_conf conf = { .nhosts = 0 };
	struct timeval now = { 0, 0 };
	struct exhibitor *e;

	if (!zk_conf_read(&conf, section, false, err, errlen))
		return NULL;
	if ((e = calloc(1, sizeof(*e))) == NULL || !read_section(e, section)) {
		snprintf(err, errlen,
		    "exhibitor: hosts (a list) and port are needed, "
		    "poll_interval is 1 to 86400 s");
		free(e);
		zk_conf_clear(&conf);
		return NULL;
	}
	e->seed = (uint32_t)clock_wall_us();
	e->http = http_new(dcs_event_base(dcs));
	e->again = evtimer_new(dcs_event_base(dcs), on_again, e);
	e->zk = zk_open(dcs, "exhibitor", &conf, err, errlen);
	if (e->zk == NULL || e->http == NULL || e->again == NULL) {
		exhibitor_close(e);
		snprintf(err, errlen, "out of memory");
		return NULL;
	}
	e->zk->before_load = before_load;
	e->zk->before_arg = e;
	evtimer_add(e->again, &now);
	return e;
}

static bool
exhibitor_reload(void *arg, const struct tree *section, char *err, size_t n)
{
	struct zk_conf conf = { .nhosts = 0 };

	(void)arg;
	if (!zk_conf_read(&conf, section, false, err, n))
		return false;
	zk_conf_clear(&conf);
	return true;
}

static void
exhibitor_settings(void *arg)
{
	struct exhibitor *e = arg;

	zk_settings(e->zk);
}

static void
exhibitor_info(const void *arg, char *buf, size_t size)
{
	const struct exhibitor *e = arg;

	zk_info(e->zk, buf, size);
}

static void
exhibitor_submit(void *arg, struct dcs_call *call)
{
	struct exhibitor *e = arg;

	zk_submit(e->zk, call);
}

const struct dcs_driver dcs_exhibitor = {
	.section = "exhibitor",
	.caps = DCS_CAP_LEASE | DCS_CAP_WATCH,
	.open = exhibitor_open,
	.close = exhibitor_close,
	.reload = exhibitor_reload,
	.settings = exhibitor_settings,
	.info = exhibitor_info,
	.submit = exhibitor_submit,
};
