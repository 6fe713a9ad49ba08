/*
 * scripts.h: do the configured scripts have to be able to gain privileges?
 */
#ifndef HELPERS_SCRIPTS_H
#define HELPERS_SCRIPTS_H

#include <stdbool.h>

#include "../ipc/tree.h"

/*
 * True when no_new_privs must stay off (design 2): `set_uid_scripts` says so,
 * or it is not given and scripts of the operator's are configured
 * (callbacks, hooks, methods), which upstream lets use sudo.
 * conf: the configuration as the master or the controller has it.
 */
bool scripts_need_setuid(const struct tree *conf);

#endif
