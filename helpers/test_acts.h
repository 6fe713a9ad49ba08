/*
 * test_acts.h: in a test build (make ACTS=1), attempt what the sandbox of
 * this process forbids; in any other build, nothing.
 */
#ifndef HELPERS_TEST_ACTS_H
#define HELPERS_TEST_ACTS_H

#include "../ipc/types.h"

#ifdef TEST_ACTS
/*
 * Run the acts that TEST_PATRONI_ACTS="<process>:<act>[,<act>...]" names for
 * this process; several processes are separated by blanks.  Logs for each
 * `act <process>/<act>: refused (<errno text>)` or `...: ALLOWED`.
 */
void test_acts_run(enum proc self);
#else
static inline void
test_acts_run(enum proc self)
{
	(void)self;
}
#endif

#endif
