/*
 * watch.c: repeating a command: -w SECONDS and -W (patronictl.md 11.7).
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../../ipc/clock.h"
#include "ctl.h"

#define TWO_SECONDS 2.0
#define MOST_SECONDS 31536000.0

/* Wait until that moment; Ctrl-C ends the program. */
static void
wait_until(int64_t when)
{
	struct timespec ts = { when / NS_PER_SEC, when % NS_PER_SEC };

	while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &ts, NULL) ==
	    EINTR)
		continue;
}

static void
clear_screen(void)
{
	if (isatty(STDOUT_FILENO))
		fputs("\033[2J\033[1;1H", stdout);
}

int
watch_loop(const struct opt_value *every, bool two_seconds,
    int (*once)(struct ctl *, const struct parsed *), struct ctl *ctl,
    const struct parsed *p)
{
	double seconds = every->set ? every->real : two_seconds ? TWO_SECONDS :
	    0;
	int64_t step, next;
	int code;

	if (seconds == 0)
		return once(ctl, p);
	if (seconds > MOST_SECONDS)
		seconds = MOST_SECONDS;
	step = seconds < 0 ? 0 : (int64_t)(seconds * (double)NS_PER_SEC);
	clear_screen();
	code = once(ctl, p);
	for (next = clock_boot_ns() + step;; next += step) {
		if (fflush(stdout) == EOF)
			return 1;
		if (next < clock_boot_ns())
			next = clock_boot_ns();
		wait_until(next);
		clear_screen();
		code = once(ctl, p);
	}
	return code;
}
