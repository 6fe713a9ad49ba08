/*
 * etcd_srv.c: endpoints of etcd from DNS SRV records (spec/dcs.md 5.2).
 *
 * The services are tried in turn; the first with records wins.  Records of
 * the peers' service name peers: one of those is asked for the clients' URLs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "etcd3_proto.h"
#include "etcd_client.h"
#include "srv.h"

#define MAX_MEMBERS_REPLY (1024 * 1024)

static const char *const services[] = { "-client-ssl", "-client", "-ssl", "",
	"-server-ssl", "-server" };
#define NSERVICES (sizeof(services) / sizeof(services[0]))

struct etcd_srv {
	struct etcd_client *c;
	struct srv_lookup *lookup;
	struct http_request *http;
	size_t service; /* being tried */
	int64_t deadline;
	struct srv_target peers[SRV_MAX_TARGETS];
	uint32_t npeers, peer;
	char found[ETCD_MAX_ENDPOINTS][URL_SIZE];
	uint32_t n;
};

static void next_service(struct etcd_srv *);
static void ask_peer(struct etcd_srv *);

static const char *
protocol(const struct etcd_srv *s)
{
	return strstr(services[s->service], "-ssl") != NULL ? "https" : "http";
}

static void
srv_free(struct etcd_srv *s)
{
	srv_cancel(s->lookup);
	http_cancel(s->http);
	free(s);
}

void
etcd_srv_cancel(struct etcd_srv *s)
{
	if (s != NULL)
		srv_free(s);
}

static void
over(struct etcd_srv *s)
{
	struct etcd_client *c = s->c;
	char found[ETCD_MAX_ENDPOINTS][URL_SIZE];
	uint32_t n = s->n;

	memcpy(found, s->found, sizeof(found));
	srv_free(s);
	c->srv = NULL;
	if (n == 0)
		log_warn("Can not resolve SRV for %s", c->conf.srv);
	etcd_srv_found(c, found, n);
}

static bool
add(struct etcd_srv *s, const char *url)
{
	if (s->n == ETCD_MAX_ENDPOINTS || strncmp(url, "http", 4) != 0 ||
	    !text_set(s->found[s->n], URL_SIZE, url))
		return false;
	s->n++;
	return true;
}

/* [{"clientURLs": [...]}, ...] */
static void
on_peer(const struct http_answer *a, void *arg)
{
	struct etcd_srv *s = arg;
	json_t *root = NULL;
	const json_t *urls;
	size_t i, j;

	s->http = NULL;
	if (a->error == HTTP_OK && a->status == 200)
		/* their ids are unsigned 64-bit numbers */
		root =
		    json_loadb(a->body, a->len, JSON_DECODE_INT_AS_REAL, NULL);
	for (i = 0; i < json_array_size(root); i++) {
		urls = json_object_get(json_array_get(root, i), "clientURLs");
		for (j = 0; j < json_array_size(urls); j++)
			if (json_is_string(json_array_get(urls, j)))
				(void)add(s,
				    json_string_value(json_array_get(urls, j)));
	}
	json_decref(root);
	if (s->n > 0) {
		over(s);
		return;
	}
	s->peer++;
	ask_peer(s);
}

static void
ask_peer(struct etcd_srv *s)
{
	/* a peer shows its own certificate: it is not verified */
	static const struct http_tls anyone;
	char url[URL_SIZE + NAME_SIZE];
	struct http_spec spec = { .method = "GET",
		.url = url,
		.tls = &anyone,
		.deadline = s->deadline,
		.max_body = MAX_MEMBERS_REPLY,
		.close = true };

	for (; s->peer < s->npeers && clock_boot_ns() < s->deadline;
	     s->peer++) {
		snprintf(url, sizeof(url), "%s://%s:%d/members", protocol(s),
		    s->peers[s->peer].host, s->peers[s->peer].port);
		s->http = http_start(s->c->http, &spec, on_peer, s);
		if (s->http != NULL)
			return;
	}
	s->service++;
	next_service(s);
}

static void
on_targets(const struct srv_target *targets, uint32_t n, void *arg)
{
	struct etcd_srv *s = arg;
	char url[URL_SIZE + NAME_SIZE];
	uint32_t i;

	s->lookup = NULL;
	if (n > 0 && strstr(services[s->service], "-server") != NULL) {
		memcpy(s->peers, targets, n * sizeof(*targets));
		s->npeers = n;
		s->peer = 0;
		ask_peer(s);
		return;
	}
	for (i = 0; i < n; i++) {
		snprintf(url, sizeof(url), "%s://%s:%d", protocol(s),
		    targets[i].host, targets[i].port);
		(void)add(s, url);
	}
	if (s->n > 0) {
		over(s);
		return;
	}
	s->service++;
	next_service(s);
}

static void
next_service(struct etcd_srv *s)
{
	const struct etcd_conf *conf = &s->c->conf;
	char name[4 * NAME_SIZE];

	for (; s->service < NSERVICES && clock_boot_ns() < s->deadline;
	     s->service++) {
		snprintf(name, sizeof(name), "_etcd%s%s%s._tcp.%s",
		    services[s->service],
		    conf->srv_suffix[0] == '\0' ? "" : "-", conf->srv_suffix,
		    conf->srv);
		s->lookup =
		    srv_start(s->c->base, name, s->deadline, on_targets, s);
		if (s->lookup != NULL)
			return;
	}
	over(s);
}

void
etcd_srv_start(struct etcd_client *c)
{
	struct etcd_srv *s;

	if (c->srv != NULL || c->conf.srv[0] == '\0' ||
	    (s = calloc(1, sizeof(*s))) == NULL)
		return;
	s->c = c;
	s->deadline = clock_boot_ns() + dcs_retry_ns(c->dcs);
	c->srv = s;
	next_service(s);
}
