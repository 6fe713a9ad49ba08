/*
 * http_names.h: addresses of hosts for http_plain.c, kept for ten minutes.
 */
#ifndef DCS_HTTP_NAMES_H
#define DCS_HTTP_NAMES_H

#include <sys/socket.h>

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#define HTTP_MAX_ADDRESSES 8

struct addresses {
	uint32_t count;
	struct {
		struct sockaddr_storage sa; /* without port */
		socklen_t len;
	} a[HTTP_MAX_ADDRESSES];
};

struct names;
struct names_query;

/* None: the name is unknown, or the deadline has come. */
typedef void (*names_cb)(const struct addresses *, void *arg);

struct names *names_new(struct event_base *); /* NULL: no memory */
void names_free(struct names *);	      /* callbacks do not run */
/* An address itself, or a name that was looked up not long ago. */
bool names_known(struct names *, const char *host, struct addresses *);
/* cb runs once, never from inside this call, at the latest at the deadline.
 * NULL: too many lookups hang already, or no memory. */
struct names_query *names_ask(
    struct names *, const char *host, int64_t deadline, names_cb cb, void *arg);
void names_cancel(struct names_query *);

#endif
