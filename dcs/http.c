/*
 * http.c: see http.h.  Chooses the way by which a request goes (http_int.h).
 */
#include <stdlib.h>
#include <string.h>

#include "../helpers/module.h"
#include "../ipc/log.h"
#include "../ipc/types.h"
#include "files.h"
#include "http_int.h"

#define MODULE "patroni-https.so"

struct http {
	struct event_base *base;
	int user_timeout, idle, interval;
	void *plain, *curl; /* curl NULL: not needed so far */
};

/* ---- the module ---- */

const char *
http_tls_module(void)
{
	static char path[PATH_SIZE];

	if (path[0] == '\0')
		module_path(path, sizeof(path), MODULE);
	return path;
}

static const struct http_way *
curl_way(void)
{
	static const struct http_way *way;

	if (way == NULL && &http_way_curl != NULL)
		way = &http_way_curl;
	if (way == NULL)
		way = module_load(MODULE, HTTP_WAY_SYMBOL);
	if (way != NULL && way->version != HTTP_WAY_VERSION) {
		log_error(
		    "TLS is not available: %s is of another version", MODULE);
		way = NULL;
	}
	return way;
}

bool
http_tls_ready(void)
{
	return curl_way() != NULL;
}

/* ---- certificates ---- */

static bool
given(const char *s)
{
	return s != NULL && s[0] != '\0';
}

bool
http_tls_load(struct http_tls *tls, const char *ca, const char *cert,
    const char *key, const char *key_password, char *err, size_t errlen)
{
	struct http_tls t = *tls;

	t.ca = t.cert = t.key = t.key_password = NULL;
	if (!given(key))
		key = cert;
	if ((given(ca) &&
		(t.ca = files_read(ca, &t.ca_len, err, errlen)) == NULL) ||
	    (given(cert) &&
		((t.cert = files_read(cert, &t.cert_len, err, errlen)) ==
			NULL ||
		    (t.key = files_read(key, &t.key_len, err, errlen)) ==
			NULL))) {
		http_tls_clear(&t);
		return false;
	}
	if (given(key_password))
		t.key_password = strdup(key_password);
	http_tls_clear(tls);
	*tls = t;
	return true;
}

void
http_tls_clear(struct http_tls *tls)
{
	if (tls->key != NULL)
		wipe(tls->key, tls->key_len);
	/* the key may be inside the certificate file */
	if (tls->cert != NULL)
		wipe(tls->cert, tls->cert_len);
	if (tls->key_password != NULL)
		wipe(tls->key_password, strlen(tls->key_password));
	free(tls->ca);
	free(tls->cert);
	free(tls->key);
	free(tls->key_password);
	tls->ca = tls->cert = tls->key = tls->key_password = NULL;
	tls->ca_len = tls->cert_len = tls->key_len = 0;
}

bool
http_escape(char *dst, size_t size, const char *text, const char *keep)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t o = 0;

	if (size == 0)
		return false;
	for (; *text != '\0'; text++) {
		unsigned char ch = (unsigned char)*text;

		if (o + 4 > size) {
			dst[0] = '\0';
			return false;
		}
		if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
		    (ch >= '0' && ch <= '9') || strchr("-._~", ch) != NULL ||
		    strchr(keep, ch) != NULL)
			dst[o++] = *text;
		else {
			dst[o++] = '%';
			dst[o++] = hex[ch >> 4];
			dst[o++] = hex[ch & 15];
		}
	}
	dst[o] = '\0';
	return true;
}

/* ---- requests ---- */

static bool
curl_open(struct http *h)
{
	const struct http_way *way;

	if (h->curl != NULL)
		return true;
	if ((way = curl_way()) == NULL ||
	    (h->curl = way->open(h->base)) == NULL)
		return false;
	way->keepalive(h->curl, h->user_timeout, h->idle, h->interval);
	return true;
}

struct http_request *
http_start(
    struct http *h, const struct http_spec *s, http_done_cb done, void *arg)
{
	if (http_plain_takes(s->url))
		return http_way_plain.start(h->plain, s, done, arg);
	if (!curl_open(h))
		return NULL;
	return curl_way()->start(h->curl, s, done, arg);
}

void
http_cancel(struct http_request *r)
{
	if (r != NULL)
		r->cancel(r);
}

void
http_keepalive(struct http *h, int user_timeout, int idle, int interval)
{
	h->user_timeout = user_timeout;
	h->idle = idle;
	h->interval = interval;
	http_way_plain.keepalive(h->plain, user_timeout, idle, interval);
	if (h->curl != NULL)
		curl_way()->keepalive(h->curl, user_timeout, idle, interval);
}

struct http *
http_new(struct event_base *base)
{
	struct http *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->base = base;
	if ((h->plain = http_way_plain.open(base)) == NULL) {
		free(h);
		return NULL;
	}
	return h;
}

void
http_free(struct http *h)
{
	if (h == NULL)
		return;
	http_way_plain.close(h->plain);
	if (h->curl != NULL)
		curl_way()->close(h->curl);
	free(h);
}
