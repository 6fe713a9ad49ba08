/*
 * coredump.h: keeps memory, and with it passwords and keys, out of core dumps.
 */
#ifndef IPC_COREDUMP_H
#define IPC_COREDUMP_H

/* From now on a core of this process and of what it starts holds registers
 * and no memory (core(5), coredump_filter).  Says so at DEBUG when the kernel
 * does not offer it. */
void coredump_exclude_memory(void);
/* In a forked process that is about to execute a helper: tell it what was in
 * force before, through its environment. */
void coredump_pass_on(void);
/* In a forked process that is about to execute somebody else's program:
 * back to what was in force before. */
void coredump_restore(void);

#endif
