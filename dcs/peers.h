/*
 * peers.h: requests to the REST API of other members, made on behalf of the
 * controller (spec/ha.md 11.3, 15.3; spec/rest-api.md 20).
 */
#ifndef DCS_PEERS_H
#define DCS_PEERS_H

#include <event2/event.h>

#include "../ipc/messages.h"

struct peers;

/* conf: sections ctl and restapi; NULL and err when a certificate cannot be
 * read.  Certificates are read here, before the sandbox. */
struct peers *peers_open(
    struct event_base *, const struct tree *conf, char *err, size_t errlen);
bool peers_reload(
    struct peers *, const struct tree *conf, char *err, size_t errlen);
void peers_close(struct peers *); /* callbacks do not run */

typedef void (*peers_done_cb)(
    const struct peer_status *, uint32_t count, void *arg);
/*
 * Ask all targets (list of maps {name, api_url}, at most MAX_MEMBERS are
 * asked) at once.  done runs once, never from inside, at the latest at the
 * deadline; what has not answered by then is unreachable.  False: no memory
 * or too many rounds in flight, done will not run.
 */
bool peers_poll(struct peers *, const struct tree *targets,
    const struct msg_poll *, int64_t deadline, peers_done_cb, void *arg);
/* doc: map {targets, name, conn_url, api_url, slots}. */
bool peers_failsafe(struct peers *, const struct tree *doc,
    const struct msg_poll *, int64_t deadline, peers_done_cb, void *arg);

typedef void (*peers_liveness_cb)(uint32_t http_status, void *arg);
/* GET /liveness beside this api_url; 0 = no answer. */
bool peers_liveness(struct peers *, const char *api_url, int64_t deadline,
    peers_liveness_cb, void *arg);

/* Read one answer of GET /patroni into *p (name is kept).  NULL, or what is
 * wrong with it.  Pure. */
const char *peer_parse(const char *body, size_t len, struct peer_status *p);
/* scheme://authority of url + path.  False when it is no such URL. */
bool peer_url(const char *url, const char *path, char *out, size_t size);

#endif
