/*
 * options.c: command lines as patronictl.md 2 wants them: no abbreviations,
 * options and arguments of a command in any order, the usual usage errors.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

void
ctl_error(const char *fmt, ...)
{
	va_list ap;

	(void)fflush(stdout);
	fputs("Error: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void
usage_line(FILE *f, const struct command *c)
{
	if (c == NULL)
		fputs("Usage: patronictl [OPTIONS] COMMAND [ARGS]...\n", f);
	else
		fprintf(f, "Usage: patronictl %s [OPTIONS]%s%s\n", c->name,
		    c->usage[0] != '\0' ? " " : "", c->usage);
}

void
usage_error(const struct command *c, const char *fmt, ...)
{
	va_list ap;

	(void)fflush(stdout);
	usage_line(stderr, c);
	fprintf(stderr, "Try 'patronictl%s%s --help' for help.\n\nError: ",
	    c != NULL ? " " : "", c != NULL ? c->name : "");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/* ---- help ---- */


void
help_program(FILE *f)
{
	const struct command *c;
	int width = 0;

	usage_line(f, NULL);
	fputs("\n  Command-line interface for interacting with Patroni.\n\n"
	    "Options:\n"
	    "  -c, --config-file TEXT     Configuration file\n"
	    "  -d, --dcs-url, --dcs TEXT  The DCS connect url\n"
	    "  -k, --insecure             Allow connections to SSL sites "
	    "without certs\n"
	    "  --help                     Show this message and exit.\n\n"
	    "Commands:\n", f);
	for (c = commands; c->name != NULL; c++)
		if ((int)strlen(c->name) > width)
			width = (int)strlen(c->name);
	for (c = commands; c->name != NULL; c++) {
		int room = 80 - 2 - width - 2;

		/* A text that does not fit ends after a word with dots. */
		if ((int)strlen(c->help) <= room)
			fprintf(f, "  %-*s  %s\n", width, c->name, c->help);
		else {
			int n = room - 3;

			while (n > 0 && c->help[n] != ' ')
				n--;
			fprintf(f, "  %-*s  %.*s...\n", width, c->name, n,
			    c->help);
		}
	}
}

static void
option_words(const struct opt *o, char *buf, size_t size)
{
	const char *kind = "";
	char choices[256];

	switch (o->type) {
	case OPT_FLAG:
		break;
	case OPT_TEXT:
		kind = " TEXT";
		break;
	case OPT_INTEGER:
		kind = " INTEGER";
		break;
	case OPT_FLOAT:
		kind = " FLOAT";
		break;
	case OPT_CHOICE:
		(void)snprintf(choices, sizeof(choices), " [%s]", o->choices);
		kind = choices;
		break;
	}
	/* the short form stands first */
	if (o->name2 == NULL)
		(void)snprintf(buf, size, "%s%s", o->name, kind);
	else if (o->name2[1] != '-')
		(void)snprintf(buf, size, "%s, %s%s", o->name2, o->name, kind);
	else
		(void)snprintf(buf, size, "%s, %s%s", o->name, o->name2, kind);
}

static void __attribute__((noreturn))
help_command(const struct command *c)
{
	const struct opt *o;
	char words[512];
	int width = (int)strlen("--help");

	usage_line(stdout, c);
	printf("\n  %s\n\nOptions:\n", c->help);
	for (o = c->opts; o->name != NULL; o++) {
		option_words(o, words, sizeof(words));
		if ((int)strlen(words) > width)
			width = (int)strlen(words);
	}
	for (o = c->opts; o->name != NULL; o++) {
		option_words(o, words, sizeof(words));
		printf("  %-*s  %s\n", width, words, o->help);
	}
	printf("  %-*s  Show this message and exit.\n", width, "--help");
	exit(0);
}

/* ---- parsing ---- */

static void __attribute__((noreturn))
bad_value(const struct command *c, const struct opt *o, const char *text,
    const char *what)
{
	if (o->name2 == NULL)
		usage_error(c, "Invalid value for '%s': '%s' %s.", o->name,
		    text, what);
	usage_error(c, "Invalid value for '%s' / '%s': '%s' %s.", o->name,
	    o->name2, text, what);
}

static bool
is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);
	const char *p = choices;

	while (p != NULL) {
		size_t n = strcspn(p, "|");

		if (n == len && strncmp(p, text, n) == 0)
			return true;
		p = p[n] == '|' ? p + n + 1 : NULL;
	}
	return false;
}

/* is not one of 'pretty', 'tsv' */
static void __attribute__((noreturn))
bad_choice(const struct command *c, const struct opt *o, const char *text)
{
	char buf[512];
	size_t used = 0;
	const char *p = o->choices;

	used = (size_t)snprintf(buf, sizeof(buf), "is not one of ");
	while (p != NULL && used < sizeof(buf)) {
		int n = (int)strcspn(p, "|");
		const char *next = p[n] == '|' ? p + n + 1 : NULL;

		used += (size_t)snprintf(buf + used, sizeof(buf) - used,
		    "'%.*s'%s", n, p, next != NULL ? ", " : "");
		p = next;
	}
	bad_value(c, o, text, buf);
}

static void
set_value(const struct command *c, const struct opt *o, struct opt_value *v,
    const char *text)
{
	char *end;

	v->set = true;
	v->text = text;
	switch (o->type) {
	case OPT_FLAG:
	case OPT_TEXT:
		break;
	case OPT_INTEGER:
		if (!text_to_int64(text[0] == '+' ? text + 1 : text, INT32_MIN,
			INT32_MAX, &v->integer))
			bad_value(c, o, text, "is not a valid integer");
		break;
	case OPT_FLOAT:
		errno = 0;
		v->real = strtod(text, &end);
		if (end == text || *end != '\0')
			bad_value(c, o, text, "is not a valid float");
		break;
	case OPT_CHOICE:
		if (!is_choice(o->choices, text))
			bad_choice(c, o, text);
		break;
	}
}

/* Index of the option with that name of `len` characters, or -1. */
static int
find_option(const struct command *c, const char *name, size_t len)
{
	int i;

	for (i = 0; c->opts[i].name != NULL; i++) {
		const struct opt *o = &c->opts[i];

		if ((strlen(o->name) == len &&
			strncmp(o->name, name, len) == 0) ||
		    (o->name2 != NULL && strlen(o->name2) == len &&
			strncmp(o->name2, name, len) == 0))
			return i;
	}
	return -1;
}

static void
long_option(const struct command *c, int *i, int argc, char **argv,
    struct parsed *p)
{
	const char *word = argv[*i];
	size_t len = strcspn(word, "=");
	int n = find_option(c, word, len);
	const char *value;

	if (strcmp(word, "--help") == 0)
		help_command(c);
	if (n == -1)
		usage_error(c, "No such option: %.*s", (int)len, word);
	if (c->opts[n].type == OPT_FLAG) {
		if (word[len] == '=')
			usage_error(c, "Option '%s' does not take a value.",
			    c->opts[n].name);
		p->v[n].set = true;
		return;
	}
	if (word[len] == '=')
		value = word + len + 1;
	else if (*i + 1 < argc)
		value = argv[++*i];
	else
		usage_error(c, "Option '%.*s' requires an argument.", (int)len,
		    word);
	set_value(c, &c->opts[n], &p->v[n], value);
}

/* -te, -fjson, -f json */
static void
short_options(const struct command *c, int *i, int argc, char **argv,
    struct parsed *p)
{
	const char *at;
	char name[3] = { '-', '\0', '\0' };
	int n;

	for (at = argv[*i] + 1; *at != '\0'; at++) {
		name[1] = *at;
		if ((n = find_option(c, name, 2)) == -1)
			usage_error(c, "No such option: %s", name);
		if (c->opts[n].type == OPT_FLAG) {
			p->v[n].set = true;
			continue;
		}
		if (at[1] != '\0')
			set_value(c, &c->opts[n], &p->v[n], at + 1);
		else if (*i + 1 < argc)
			set_value(c, &c->opts[n], &p->v[n], argv[++*i]);
		else
			usage_error(c, "Option '%s' requires an argument.",
			    name);
		return;
	}
}

static void
add_argument(const struct command *c, const char *text, struct parsed *p)
{
	if (p->nargs == MAX_ARGS)
		usage_error(c, "Too many arguments");
	p->args[p->nargs++] = text;
}

static void __attribute__((noreturn))
extra_arguments(const struct command *c, const struct parsed *p)
{
	char buf[1024];
	size_t used = 0;
	int i;

	for (i = c->max_args; i < p->nargs && used < sizeof(buf); i++)
		used += (size_t)snprintf(buf + used, sizeof(buf) - used, "%s%s",
		    i > c->max_args ? " " : "", p->args[i]);
	usage_error(c, "Got unexpected extra argument%s (%s)",
	    p->nargs - c->max_args > 1 ? "s" : "", buf);
}

void
options_parse(const struct command *c, int argc, char **argv,
    struct parsed *p)
{
	bool only_args = false;
	int i;

	memset(p, 0, sizeof(*p));
	for (i = 0; i < argc; i++) {
		if (only_args || argv[i][0] != '-' || argv[i][1] == '\0')
			add_argument(c, argv[i], p);
		else if (strcmp(argv[i], "--") == 0)
			only_args = true;
		else if (argv[i][1] == '-')
			long_option(c, &i, argc, argv, p);
		else
			short_options(c, &i, argc, argv, p);
	}
	if (p->nargs > c->max_args)
		extra_arguments(c, p);
}
