/*
 * clock.h: the one clock that deadlines are made of (design 5).
 */
#ifndef IPC_CLOCK_H
#define IPC_CLOCK_H

#include <stdint.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_SEC INT64_C(1000000000)

/* CLOCK_BOOTTIME in ns: monotonic, counts time in suspend. */
int64_t clock_boot_ns(void);
/* Wall clock, microseconds since the epoch: only for people and the store. */
int64_t clock_wall_us(void);

#endif
