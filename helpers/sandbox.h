/*
 * sandbox.h: seccomp and Landlock for the helpers and the master (design 2).
 */
#ifndef HELPERS_SANDBOX_H
#define HELPERS_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../ipc/types.h"

#define SANDBOX_SECCOMP 1u
#define SANDBOX_LANDLOCK 2u

/*
 * Confine this process as the table of design 2 says for `self`.
 * read_paths (NULL-terminated, may be NULL): files and directories that stay
 * readable (dcs: resolver files, CA directories).  Forbidden system calls
 * fail with EPERM and are logged (first time per call) through a user
 * notification-free path: SECCOMP_RET_ERRNO for acts that a library may try,
 * SECCOMP_RET_KILL_PROCESS for exec.  Returns the SANDBOX_ bits in force; a
 * kernel that lacks one gets one warning.
 */
uint32_t sandbox_enter(enum proc self, const char *const *read_paths);

#endif
