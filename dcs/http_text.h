/*
 * http_text.h: URLs and requests as http_plain.c sends them.
 */
#ifndef DCS_HTTP_TEXT_H
#define DCS_HTTP_TEXT_H

#include "../ipc/types.h"
#include "http.h"

struct http_url {
	char host[URL_SIZE]; /* without the brackets of an IPv6 address */
	uint16_t port;
	const char *path; /* inside the text that was parsed; "" = "/" */
};

/* False: not http://, or something that is left to libcurl: credentials,
 * scopes of addresses, unusual characters. */
bool http_url_parse(struct http_url *, const char *url);
/* A whole request, allocated; it may hold secrets: wipe it.  NULL: no memory
 * or text that would break the head. */
char *http_text(const struct http_spec *, const struct http_url *, size_t *len);

#endif
