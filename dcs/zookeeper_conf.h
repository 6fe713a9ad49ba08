/*
 * zookeeper_conf.h: options of the sections `zookeeper` and `exhibitor`
 * (spec/dcs.md 9.1, 10).
 */
#ifndef DCS_ZOOKEEPER_CONF_H
#define DCS_ZOOKEEPER_CONF_H

#include <zookeeper/zookeeper.h>

#include "../ipc/tree.h"
#include "../ipc/types.h"

#define ZK_MAX_HOSTS 32
#define ZK_MAX_ACL 32
#define ZK_MAX_AUTH 8
#define ZK_HOST_SIZE 256

struct zk_host {
	char host[ZK_HOST_SIZE]; /* name or address, no brackets */
	int port;
};

struct zk_auth {
	char *scheme, *credential;
};

struct zk_conf {
	struct zk_host hosts[ZK_MAX_HOSTS];
	uint32_t nhosts;
	char chroot[PATH_SIZE]; /* "" or "/path" */
	struct ACL acl[ZK_MAX_ACL];
	struct ACL_vector acls; /* of every node that is made */
	struct zk_auth auth[ZK_MAX_AUTH];
	uint32_t nauth;
};

/*
 * Fill from the section; false and err when it cannot be used (*conf is then
 * unchanged).  Frees what *conf held before.  need_hosts: the section names
 * the servers themselves (not Exhibitor's).
 */
bool zk_conf_read(struct zk_conf *, const struct tree *section, bool need_hosts,
    char *err, size_t errlen);
void zk_conf_clear(struct zk_conf *);
/* "a:2181,b:2182/chroot" into hosts and chroot; false when malformed. */
bool zk_conf_hosts(struct zk_conf *, const char *);

#endif
