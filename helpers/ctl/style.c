/*
 * style.c: comfort for terminals: colours and the line that says what is
 * being waited for.  What goes to a file or a pipe never changes.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

static bool colours, waiting_line;
volatile sig_atomic_t progress_shown;

static bool
capable(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return (no == NULL || no[0] == '\0') && term != NULL &&
	    term[0] != '\0' && strcmp(term, "dumb") != 0;
}

void
style_init(void)
{
	const char *term = getenv("TERM");

	colours = capable() && isatty(STDOUT_FILENO);
	waiting_line = isatty(STDERR_FILENO) && term != NULL &&
	    term[0] != '\0' && strcmp(term, "dumb") != 0;
}

const char *
style_on(FILE *f, enum style style)
{
	if (!colours || f != stdout)
		return "";
	switch (style) {
	case STYLE_NONE:
		break;
	case STYLE_GOOD:
	case STYLE_ADDED:
		return "\033[32m";
	case STYLE_BAD:
	case STYLE_REMOVED:
		return "\033[31m";
	case STYLE_WARN:
	case STYLE_FILE:
		return "\033[33m";
	case STYLE_STRONG:
		return "\033[1m";
	case STYLE_HUNK:
		return "\033[34m";
	}
	return "";
}

const char *
style_off(FILE *f, enum style style)
{
	return style != STYLE_NONE && colours && f == stdout ? "\033[0m" : "";
}

enum style
style_of(const char *column, const char *text)
{
	static const char *const good[] = { "running", "streaming",
		"in archive recovery" };
	static const char *const bad[] = { "crashed", "failed", "stopped" };
	size_t i;

	if (strcmp(column, "Role") == 0)
		return strstr(text, "Leader") != NULL ? STYLE_STRONG :
							STYLE_NONE;
	if (strcmp(column, "Pending restart") == 0)
		return text[0] != '\0' ? STYLE_WARN : STYLE_NONE;
	if (strcmp(column, "Process state") == 0) /* of `local` */
		return strcmp(text, "not running") == 0 ? STYLE_BAD :
		    strcmp(text, "starting") == 0	? STYLE_WARN :
							  STYLE_NONE;
	if (strcmp(column, "State") != 0 || text[0] == '\0')
		return STYLE_NONE;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (strcmp(text, good[i]) == 0)
			return STYLE_GOOD;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (strstr(text, bad[i]) != NULL)
			return STYLE_BAD;
	return STYLE_WARN; /* on its way */
}

void
progress(const char *fmt, ...)
{
	va_list ap;

	(void)fflush(stdout);
	if (!waiting_line)
		return;
	progress_shown = 1;
	fputs("\r\033[K", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fflush(stderr);
}

void
progress_end(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	(void)fflush(stderr);
	progress_shown = 0;
}
