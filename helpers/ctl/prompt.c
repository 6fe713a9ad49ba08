/*
 * prompt.c: questions to the operator (patronictl.md 8).  Asked on stdout,
 * answered on stdin, terminal or not.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

#include "ctl.h"

void
prompt_abort(void)
{
	(void)fflush(stdout);
	if (isatty(STDIN_FILENO))
		fputc('\n', stderr);
	fputs("Aborted!\n", stderr);
	exit(1);
}

/* A line without its end; at the end of the input the program ends. */
static char *
read_line(FILE *f)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	(void)fflush(stdout);
	if ((n = getline(&line, &size, f)) <= 0) {
		free(line);
		prompt_abort();
	}
	if (line[n - 1] == '\n')
		line[--n] = '\0';
	return line;
}

static char *
trim(char *s)
{
	size_t n;

	s += strspn(s, " \t\r\f\v");
	for (n = strlen(s); n > 0 && strchr(" \t\r\f\v", s[n - 1]) != NULL;)
		s[--n] = '\0';
	return s;
}

/* 1 yes, 0 no, -1 neither */
static int
yes_or_no(char *line)
{
	const char *s = trim(line);

	if (strcasecmp(s, "y") == 0 || strcasecmp(s, "yes") == 0)
		return 1;
	if (strcasecmp(s, "n") == 0 || strcasecmp(s, "no") == 0 || s[0] == '\0')
		return 0;
	return -1;
}

bool
prompt_confirm(const char *fmt, ...)
{
	va_list ap;
	char *line;
	int answer;

	for (;;) {
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		fputs(" [y/N]: ", stdout);
		line = read_line(stdin);
		answer = yes_or_no(line);
		free(line);
		if (answer != -1)
			return answer == 1;
		puts("Error: invalid input");
	}
}

/* Answers stay: what is asked for is used until the program ends. */
struct answer {
	struct answer *next;
	char text[];
};
static struct answer *answers;

static const char *
keep(const char *text)
{
	size_t size = strlen(text) + 1;
	struct answer *a = malloc(sizeof(*a) + size);

	if (a == NULL)
		ctl_error("out of memory");
	memcpy(a->text, text, size);
	a->next = answers;
	answers = a;
	return a->text;
}

const char *
prompt_text(const char *dflt, const char *fmt, ...)
{
	const char *text;
	va_list ap;
	char *line;

	for (;;) {
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		if (dflt != NULL)
			printf(" [%s]: ", dflt);
		else
			fputs(": ", stdout);
		line = read_line(stdin);
		text = line[0] != '\0' ? keep(line) :
		    dflt != NULL       ? keep(dflt) :
					 NULL;
		free(line);
		if (text != NULL)
			return text;
	}
}

int
prompt_integer(const char *text)
{
	char digits[WORD_SIZE];
	const char *line, *s;
	int64_t value;

	for (;;) {
		line = prompt_text(NULL, "%s", text);
		s = text_set(digits, sizeof(digits), line) ? trim(digits) : "";
		if (text_to_int64(
			s[0] == '+' ? s + 1 : s, 0, INT32_MAX, &value))
			return (int)value;
		printf("Error: '%s' is not a valid integer.\n", line);
	}
}

/* ---- without echo ---- */

static struct termios saved_mode;
static volatile sig_atomic_t saved_fd = -1;

static void
restore_mode(void)
{
	if (saved_fd != -1)
		(void)tcsetattr((int)saved_fd, TCSAFLUSH, &saved_mode);
	saved_fd = -1;
}

static void
interrupted(int sig)
{
	static const char line[] = "\r\033[K", text[] = "\nAborted!\n";

	(void)sig;
	restore_mode();
	if (progress_shown &&
	    write(STDERR_FILENO, line, sizeof(line) - 1) == -1)
		_exit(1);
	if (write(STDERR_FILENO, text, sizeof(text) - 1) == -1)
		_exit(1);
	_exit(1);
}

void
prompt_catch_interrupt(void)
{
	(void)signal(SIGINT, interrupted);
}

static char *
read_hidden(FILE *in)
{
	struct termios mode;
	char *line;

	if (tcgetattr(fileno(in), &saved_mode) == -1)
		return read_line(in);
	mode = saved_mode;
	mode.c_lflag &= (tcflag_t)~ECHO;
	saved_fd = fileno(in);
	(void)atexit(restore_mode); /* end of file ends the program */
	(void)tcsetattr(fileno(in), TCSAFLUSH, &mode);
	line = read_line(in);
	restore_mode();
	putchar('\n');
	return line;
}

char *
prompt_password(const char *text)
{
	FILE *in = fopen("/dev/tty", "re"), *from = in != NULL ? in : stdin;
	char *line;

	for (;;) {
		printf("%s: ", text);
		line = read_hidden(from);
		if (line[0] != '\0')
			break;
		free(line);
	}
	if (in != NULL)
		(void)fclose(in);
	return line;
}
