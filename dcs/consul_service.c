/*
 * consul_service.c: registration of this node as a service at the agent
 * (spec/dcs.md 8.5), seen to whenever the member key is written.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "consul_int.h"
#include "json.h"

#define NAME_MAX_SERVICE 230

void
consul_service_name(const char *scope, char *buf, size_t size)
{
	size_t o = 0;

	for (; *scope != '\0' && o + 6 < size && o < NAME_MAX_SERVICE;
	     scope++) {
		unsigned char ch = (unsigned char)*scope;

		if (isupper(ch))
			buf[o++] = (char)tolower(ch);
		else if (strchr("._ ", ch) != NULL)
			buf[o++] = '-';
		else if (islower(ch) || isdigit(ch) || ch == '-')
			buf[o++] = (char)ch;
		else
			o += (size_t)snprintf(buf + o, size - o, "u%04d", ch);
	}
	buf[o < NAME_MAX_SERVICE ? o : NAME_MAX_SERVICE] = '\0';
}

static void
service_id(const struct consul *c, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s", dcs_scope(c->dcs), dcs_name(c->dcs));
}

static json_t *
tags_of(const struct consul *c, const char *role)
{
	json_t *tags = c->conf.service_tags == NULL ?
	    json_array() :
	    json_from_tree(c->conf.service_tags);
	size_t i, j;

	/* sorted, then the role */
	for (i = 0; i < json_array_size(tags); i++)
		for (j = i + 1; j < json_array_size(tags); j++) {
			const char *a =
			    json_string_value(json_array_get(tags, i));
			const char *b =
			    json_string_value(json_array_get(tags, j));

			if (a != NULL && b != NULL && strcmp(a, b) > 0) {
				json_t *x =
				    json_incref(json_array_get(tags, i));

				json_array_set(
				    tags, i, json_array_get(tags, j));
				json_array_set_new(tags, j, x);
			}
		}
	json_array_append_new(tags, json_string(role));
	if (strcmp(role, "primary") == 0)
		json_array_append_new(tags, json_string("master"));
	return tags;
}

/* "postgres://host:port/db": false when it has no such form. */
static bool
address(const char *url, char *host, size_t size, int64_t *port)
{
	const char *p = strstr(url, "://"), *end;
	char digits[8];
	size_t n;

	if (p == NULL)
		return false;
	p += 3;
	if ((end = strpbrk(p, "@/")) != NULL && *end == '@')
		p = end + 1;
	*port = 5432;
	if (*p == '[') {
		if ((end = strchr(p, ']')) == NULL)
			return false;
		p++;
		n = (size_t)(end - p);
		end++;
	} else {
		n = strcspn(p, ":/?");
		end = p + n;
	}
	if (n == 0 || n >= size)
		return false;
	memcpy(host, p, n);
	host[n] = '\0';
	if (*end != ':')
		return true;
	n = strcspn(++end, "/?");
	if (n == 0 || n >= sizeof(digits))
		return false;
	memcpy(digits, end, n);
	digits[n] = '\0';
	return text_to_int64(digits, 1, 65535, port);
}

/* Scheme and authority of the REST API's address, with the role as path. */
static bool
check_url(const char *api_url, const char *role, char *buf, size_t size)
{
	const char *p = strstr(api_url, "://");
	size_t n;
	int len;

	if (p == NULL)
		return false;
	n = (size_t)(p + 3 - api_url) + strcspn(p + 3, "/?#");
	len = snprintf(buf, size, "%.*s/%s", (int)n, api_url, role);
	return len > 0 && (size_t)len < size;
}

static char *
registration(const struct consul *c, const char *role, const char *conn_url,
    const char *api_url)
{
	char name[NAME_MAX_SERVICE + 8], id[2 * NAME_SIZE + 2];
	char host[URL_SIZE], url[URL_SIZE], after[32];
	json_t *check, *body;
	char *text;
	int64_t port;

	consul_service_name(dcs_scope(c->dcs), name, sizeof(name));
	if (strcmp(name, dcs_scope(c->dcs)) != 0 && c->service == NULL)
		log_warn(
		    "Using %s as consul service name instead of scope name %s",
		    name, dcs_scope(c->dcs));
	service_id(c, id, sizeof(id));
	if (!address(conn_url, host, sizeof(host), &port) ||
	    !check_url(api_url, role, url, sizeof(url)))
		return NULL;
	snprintf(after, sizeof(after), "%.1fs",
	    (double)c->session_ttl * 10 / (double)NS_PER_SEC);
	check = json_pack("{s:s,s:s,s:s}", "http", url, "interval",
	    c->conf.check_interval, "DeregisterCriticalServiceAfter", after);
	if (check != NULL && c->conf.check_server_name[0] != '\0')
		json_object_set_new(check, "TLSServerName",
		    json_string(c->conf.check_server_name));
	body = json_pack("{s:s,s:s,s:s,s:I,s:o,s:b,s:[o]}", "name", name, "id",
	    id, "address", host, "port", (json_int_t)port, "tags",
	    tags_of(c, role), "enabletagoverride", 1, "checks", check);
	text = body == NULL ? NULL : json_compact(body);
	json_decref(body);
	return text;
}

static void
on_service(const struct creq_result *res, void *arg)
{
	struct consul *c = arg;

	c->service_req = NULL;
	free(c->service);
	c->service = c->service_wanted;
	c->service_wanted = NULL;
	if (res->status != CREQ_OK) {
		log_warn("Could not register the service: %s", res->error);
		free(c->service); /* the next write of the key tries again */
		c->service = NULL;
	}
}

/* body NULL: deregister.  wanted is remembered as what was done. */
static void
request(struct consul *c, char *body, const char *wanted)
{
	char path[CONSUL_PATH], escaped[6 * NAME_SIZE + 8];
	char id[2 * NAME_SIZE + 2];
	int64_t deadline = clock_boot_ns() + dcs_retry_ns(c->dcs) / 3;

	service_id(c, id, sizeof(id));
	if (!http_escape(escaped, sizeof(escaped), id, "/")) {
		free(body);
		return;
	}
	if (body == NULL)
		snprintf(path, sizeof(path), "/v1/agent/service/deregister/%s",
		    escaped);
	else
		snprintf(path, sizeof(path), "/v1/agent/service/register");
	free(c->service_wanted);
	c->service_wanted = strdup(wanted);
	c->service_req =
	    creq_start(c, "PUT", path, body, 0, deadline, on_service, c);
}

void
consul_service_update(struct consul *c, const char *value, size_t len)
{
	bool on = c->conf.register_service;
	const char *role, *state, *conn_url, *api_url;
	char shown[WORD_SIZE], *body, *p;
	json_t *doc;

	if ((!on && !c->registered) || c->service_req != NULL)
		return;
	if ((doc = json_loadb(value, len, 0, NULL)) == NULL)
		return;
	role = json_text(doc, "role");
	state = json_text(doc, "state");
	conn_url = json_text(doc, "conn_url");
	api_url = json_text(doc, "api_url");
	if (role == NULL || state == NULL || conn_url == NULL ||
	    api_url == NULL)
		log_warn("Could not register service: the member has not all "
			 "of role, state, conn_url and api_url");
	else if (!on || strcmp(state, "stopped") == 0) {
		if (c->service == NULL || strcmp(c->service, "-") != 0)
			request(c, NULL, "-");
		c->registered = on;
	} else if (strcmp(role, "primary") != 0 &&
	    strcmp(role, "replica") != 0 && strcmp(role, "standby_leader") != 0)
		log_warn(
		    "Could not register service: unknown role type %s", role);
	else if (strcmp(state, "running") == 0) {
		text_set(shown, sizeof(shown), role);
		for (p = shown; *p != '\0'; p++)
			if (*p == '_')
				*p = '-';
		body = registration(c, shown, conn_url, api_url);
		c->registered = true;
		/* unchanged: the token is not part of it, see reload */
		if (body != NULL &&
		    (c->service == NULL || strcmp(c->service, body) != 0)) {
			char *copy = strdup(body);

			if (copy != NULL)
				request(c, body, copy);
			else
				free(body);
			free(copy);
		} else
			free(body);
	}
	json_decref(doc);
}

void
consul_service_close(struct consul *c)
{
	creq_cancel(c->service_req);
	free(c->service);
	free(c->service_wanted);
}
