/*
 * conf_params.h: the parameters of spec/config.md 10.1, inside this folder.
 */
#ifndef HELPERS_POSTGRES_CONF_PARAMS_H
#define HELPERS_POSTGRES_CONF_PARAMS_H

#include "conf_util.h"

/* Defaults of 10.1 without wal_keep_* and what comes from `listen`. */
struct tree *pgparam_defaults(void);
/* Check a DCS value and put it (or leave the default, with a warning). */
void pgparam_take_dcs(struct tree *params, const struct tree *value);

#endif
