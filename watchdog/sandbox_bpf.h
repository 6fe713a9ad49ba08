/*
 * sandbox_bpf.h: the keeper's own sandbox, without a library (design 2).
 */
#ifndef WATCHDOG_SANDBOX_BPF_H
#define WATCHDOG_SANDBOX_BPF_H

#include <stdint.h>

#define KEEPER_SECCOMP 1u
#define KEEPER_LANDLOCK 2u

/* proc: descriptor of /proc, below which alone may be opened, for reading.
 * Returns the bits in force; what the kernel lacks is one warning. */
uint32_t keeper_sandbox(int proc);

#endif
