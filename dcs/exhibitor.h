/*
 * exhibitor.h: the list of an ensemble as Exhibitor gives it (spec/dcs.md 10).
 */
#ifndef DCS_EXHIBITOR_H
#define DCS_EXHIBITOR_H

#include "zookeeper_conf.h"

/*
 * {"servers": [...], "port": n} into hosts (sorted; chroot is emptied).
 * False when it is anything else or names no server; *hosts is then undefined.
 */
bool exhibitor_parse(const char *body, size_t len, struct zk_conf *hosts);

#endif
