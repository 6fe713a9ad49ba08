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
 * Confine this process as the table of design 2 says for `self`; once, before
 * the first text from outside is read and while there is one thread.
 *
 * dcs and rest: a list of the system calls that they may make.  Another call
 * fails with EPERM and is logged the first time; acts that no library tries
 * (exec, ptrace, mount …) kill the process.  Landlock leaves to dcs the
 * resolver's files, the certificate directories and read_paths
 * (NULL-terminated, may be NULL) for reading, and to rest nothing.
 *
 * master and postgres execute programs, and PostgreSQL and scripts inherit
 * whatever they are confined by.  So they get no_new_privs (not after
 * sandbox_allow_setuid()), a list of acts that nobody below them may do
 * (ptrace, mount, modules …: EPERM), and, for their own code alone, the
 * refusals of sandbox_own.c: postgres may neither listen nor accept, master
 * may execute the helpers only.
 *
 * Returns the SANDBOX_ bits in force.  What the kernel lacks is one warning.
 */
uint32_t sandbox_enter(enum proc self, const char *const *read_paths);

/*
 * master: before sandbox_enter(), name a program that it may still execute
 * afterwards (at most SANDBOX_PROGRAMS; false when there is no room).  Its own
 * code is then refused any other.
 */
#define SANDBOX_PROGRAMS 4
bool sandbox_may_execute(const char *path);
/* The text to pass to execve(2) for that program: the filter knows it by its
 * address.  path itself when it was not named. */
const char *sandbox_program(const char *path);

/*
 * To be called before sandbox_enter() of master and postgres when a configured
 * script needs a set-uid program (sudo): no no_new_privs, and seccomp only
 * where that works without (root).
 */
void sandbox_allow_setuid(void);

/*
 * dcs: true when a resolver file that could be read at start can no longer be
 * opened, because it was replaced and Landlock knows the old file only.  The
 * helper should then exit, to be started with new rules.
 */
bool sandbox_stale(void);

#endif
