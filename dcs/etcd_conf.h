/*
 * etcd_conf.h: options of the sections `etcd` and `etcd3` (spec/dcs.md 5.1).
 */
#ifndef DCS_ETCD_CONF_H
#define DCS_ETCD_CONF_H

#include "../ipc/tree.h"
#include "../ipc/types.h"
#include "http.h"

#define ETCD_MAX_ENDPOINTS 32

struct etcd_conf {
	char endpoints[ETCD_MAX_ENDPOINTS][URL_SIZE]; /* http://host:port */
	uint32_t nendpoints;
	char srv[NAME_SIZE]; /* domain whose records name them; "" = none */
	char srv_suffix[NAME_SIZE];
	bool use_proxies;      /* the list is fixed, no discovery */
	char *user, *password; /* NULL = none */
	struct http_tls tls;
};

/* Fill from the section; false and err when it cannot be used (*conf is then
 * unchanged).  Frees what *conf held before. */
bool etcd_conf_read(
    struct etcd_conf *, const struct tree *section, char *err, size_t errlen);
void etcd_conf_clear(struct etcd_conf *);

#endif
