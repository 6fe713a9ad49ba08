/*
 * acts.h: in a test build, attempt what the keeper's sandbox forbids
 * (helpers/test_acts.h); in any other build, nothing.
 */
#ifndef WATCHDOG_ACTS_H
#define WATCHDOG_ACTS_H

#include "../helpers/test_acts.h"

static inline void
keeper_acts(void)
{
	test_acts_run(PROC_WATCHDOG);
}

#endif
