/*
 * dsn.h: parse a libpq connection string without libpq.
 */
#ifndef CONF_DSN_H
#define CONF_DSN_H

#include "conf.h"

/* Map of its keys, all text; NULL when it cannot be parsed. */
struct tree *dsn_parse(const char *dsn);

#endif
