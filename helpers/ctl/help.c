/*
 * help.c: --help of the program and of its commands (patronictl.md 2.1).
 */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

#define LINE 80

void
help_usage(FILE *f, const struct command *c)
{
	if (c == NULL)
		fputs("Usage: patronictl [OPTIONS] COMMAND [ARGS]...\n", f);
	else
		fprintf(f, "Usage: patronictl %s [OPTIONS]%s%s\n", c->name,
		    c->usage[0] != '\0' ? " " : "", c->usage);
}

/* A text that does not fit ends after a word with dots. */
static void
command_line(FILE *f, const struct command *c, int width)
{
	int room = LINE - 8 - width, n = room - 3;

	if ((int)strlen(c->help) <= room) {
		fprintf(f, "  %-*s  %s\n", width, c->name, c->help);
		return;
	}
	while (n > 0 && c->help[n] != ' ')
		n--;
	fprintf(f, "  %-*s  %.*s...\n", width, c->name, n, c->help);
}

void
help_program(FILE *f)
{
	const struct command *c;
	int width = 0;

	help_usage(f, NULL);
	fputs("\n  Command-line interface for interacting with Patroni.\n\n"
	      "Options:\n"
	      "  -c, --config-file TEXT     Configuration file\n"
	      "  -d, --dcs-url, --dcs TEXT  The DCS connect url\n"
	      "  -k, --insecure             Allow connections to SSL sites "
	      "without certs\n"
	      "  --help                     Show this message and exit.\n\n"
	      "Commands:\n",
	    f);
	for (c = commands; c->name != NULL; c++)
		if ((c->flags & COMMAND_HIDDEN) == 0 &&
		    (int)strlen(c->name) > width)
			width = (int)strlen(c->name);
	for (c = commands; c->name != NULL; c++)
		if ((c->flags & COMMAND_HIDDEN) == 0)
			command_line(f, c, width);
	fputs(
	    "\nExamples:\n"
	    "  patronictl -c /etc/patroni/patroni.yml list\n"
	    "  patronictl -d etcd3://10.0.0.1:2379/service switchover orders\n"
	    "  patronictl edit-config --help\n",
	    f);
}

static const char *
kind_of(const struct opt *o, char *buf, size_t size)
{
	switch (o->type) {
	case OPT_FLAG:
		break;
	case OPT_TEXT:
		return " TEXT";
	case OPT_INTEGER:
		return " INTEGER";
	case OPT_FLOAT:
		return " FLOAT";
	case OPT_FILE:
		return " FILENAME";
	case OPT_CHOICE:
		(void)snprintf(buf, size, " [%s]", o->choices);
		return buf;
	}
	return "";
}

static int
option_words(const struct opt *o, char *buf, size_t size)
{
	char choices[256];
	const char *kind = kind_of(o, choices, sizeof(choices));

	/* the short form stands first */
	if (o->name2 == NULL)
		return snprintf(buf, size, "%s%s", o->name, kind);
	if (o->name2[1] != '-')
		return snprintf(buf, size, "%s, %s%s", o->name2, o->name, kind);
	return snprintf(buf, size, "%s, %s%s", o->name, o->name2, kind);
}

/* The help text beside the words, or on the next line when they are long;
 * broken at blanks. */
static void
option_line(const char *words, int width, const char *help)
{
	int room = LINE - 2 - width - 2, n;

	if ((int)strlen(words) > width)
		printf("  %s\n  %*s  ", words, width, "");
	else
		printf("  %-*s  ", width, words);
	while ((int)strlen(help) > room) {
		for (n = room; n > 0 && help[n] != ' '; n--)
			continue;
		if (n == 0)
			break;
		printf("%.*s\n  %*s  ", n, help, width, "");
		help += n + 1;
	}
	printf("%s\n", help);
}

void
help_command(const struct command *c)
{
	const struct opt *o;
	char words[512];
	int width = (int)strlen("--help"), n;

	help_usage(stdout, c);
	printf("\n  %s\n\nOptions:\n", c->help);
	for (o = c->opts; o->name != NULL; o++) {
		n = option_words(o, words, sizeof(words));
		if (o->help != NULL && n > width && n <= 30)
			width = n;
	}
	for (o = c->opts; o->name != NULL; o++)
		if (o->help != NULL) {
			(void)option_words(o, words, sizeof(words));
			option_line(words, width, o->help);
		}
	option_line("--help", width, "Show this message and exit.");
	if (c->examples != NULL)
		printf("\nExamples:\n%s", c->examples);
	exit(fflush(stdout) == EOF ? 1 : 0);
}
