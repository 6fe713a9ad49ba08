/*
 * watch.c: repeating a command: -w SECONDS and -W (patronictl.md 11.7).
 *
 * On a terminal the first output clears the screen and the later ones are
 * written over it line by line, so that it does not flicker.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
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

	while (
	    clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &ts, NULL) == EINTR)
		continue;
}

void
wait_seconds(double seconds)
{
	(void)fflush(stdout);
	wait_until(clock_boot_ns() + (int64_t)(seconds * (double)NS_PER_SEC));
}

/* The text over what the screen shows; what is left of it is cleared. */
static void
redraw(const char *text, FILE *out)
{
	const char *end;

	fputs("\033[1;1H", out);
	for (; *text != '\0'; text = *end != '\0' ? end + 1 : end) {
		end = text + strcspn(text, "\n");
		fprintf(out, "%.*s\033[K\n", (int)(end - text), text);
	}
	fputs("\033[J", out);
}

/* The output is collected first: the screen never shows half of it. */
static int
screen(int (*once)(struct ctl *, const struct parsed *), struct ctl *ctl,
    const struct parsed *p)
{
	FILE *out = stdout, *memory;
	char *text = NULL;
	size_t len = 0;
	int code;

	if ((memory = open_memstream(&text, &len)) == NULL)
		ctl_error("out of memory");
	stdout = memory;
	code = once(ctl, p);
	stdout = out;
	if (fclose(memory) == EOF)
		ctl_error("out of memory");
	redraw(text, out);
	free(text);
	return code;
}

static double
interval(const struct parsed *p)
{
	const struct opt_value *every = parsed_option(p, "-w");
	double s = every->set	 ? every->real :
	    parsed_flag(p, "-W") ? TWO_SECONDS :
				   0;

	if (!(s < MOST_SECONDS)) /* NaN, too */
		return MOST_SECONDS;
	return s;
}

int
watch_loop(int (*once)(struct ctl *, const struct parsed *), bool clear,
    struct ctl *ctl, const struct parsed *p)
{
	double seconds = interval(p);
	int64_t step, next;
	bool tty = clear && isatty(STDOUT_FILENO);

	if (seconds == 0)
		return once(ctl, p);
	step = seconds < 0 ? 0 : (int64_t)(seconds * (double)NS_PER_SEC);
	if (tty)
		fputs("\033[2J\033[1;1H", stdout);
	for (next = 0;; next += step) {
		if (next != 0) {
			if (next < clock_boot_ns())
				next = clock_boot_ns();
			wait_until(next);
		}
		(void)(tty ? screen(once, ctl, p) : once(ctl, p));
		if (fflush(stdout) == EOF)
			return 1;
		if (next == 0)
			next = clock_boot_ns();
	}
}
