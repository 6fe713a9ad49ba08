/*
 * sandbox_int.h: what the files of the sandbox share.
 */
#ifndef HELPERS_SANDBOX_INT_H
#define HELPERS_SANDBOX_INT_H

#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>

#include "sandbox.h"

/*
 * Add the rules of a profile.  0, or a negative errno of libseccomp.  Allow
 * lists are for dcs and rest, the list of inherited refusals for all that
 * may execute programs.
 */
int profile_allow(scmp_filter_ctx, enum proc self);
int profile_refuse_inherited(scmp_filter_ctx);

/* Landlock for dcs and rest.  True when in force. */
bool landlock_enter(enum proc self, const char *const *read_paths);

/* Refusals for this process's own code only; after all other filters, with
 * no_new_privs or the capability in place.  True when in force. */
bool own_code_enter(enum proc self);

#endif
