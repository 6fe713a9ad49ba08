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
	progress_end();
	fputs("Error: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

void
usage_error(const struct command *c, const char *fmt, ...)
{
	va_list ap;

	(void)fflush(stdout);
	help_usage(stderr, c);
	fprintf(stderr, "Try 'patronictl%s%s --help' for help.\n\nError: ",
	    c != NULL ? " " : "", c != NULL ? c->name : "");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/* ---- parsing ---- */

static void __attribute__((noreturn)) bad_value(const struct command *c,
    const struct opt *o, const char *text, const char *what)
{
	if (o->name2 == NULL)
		usage_error(
		    c, "Invalid value for '%s': '%s' %s.", o->name, text, what);
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

	/* the name that roles had before */
	if (o->type == OPT_CHOICE && strcmp(text, "master") == 0 &&
	    is_choice(o->choices, "primary"))
		text = "primary";
	v->set = true;
	v->text = text;
	switch (o->type) {
	case OPT_FLAG:
	case OPT_TEXT:
	case OPT_FILE:
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

static void
give(const struct command *c, int n, const char *text, struct parsed *p)
{
	if (p->ngiven == MAX_GIVEN)
		usage_error(c, "Too many options");
	set_value(c, &c->opts[n], &p->v[n], text);
	p->given[p->ngiven].opt = &c->opts[n];
	p->given[p->ngiven++].text = text;
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

/* Names an option that begins with the word, as people abbreviate. */
static void __attribute__((noreturn))
no_such_option(const struct command *c, const char *word, size_t len)
{
	const struct opt *o;

	for (o = c->opts; len > 3 && o->name != NULL; o++)
		if (o->help != NULL && strncmp(o->name, word, len) == 0)
			usage_error(c, "No such option: %.*s Did you mean %s?",
			    (int)len, word, o->name);
	usage_error(c, "No such option: %.*s", (int)len, word);
}

static void
long_option(
    const struct command *c, int *i, int argc, char **argv, struct parsed *p)
{
	const char *word = argv[*i];
	size_t len = strcspn(word, "=");
	int n = find_option(c, word, len);
	const char *value;

	if (strcmp(word, "--help") == 0)
		help_command(c);
	if (n == -1)
		no_such_option(c, word, len);
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
		usage_error(
		    c, "Option '%.*s' requires an argument.", (int)len, word);
	give(c, n, value, p);
}

/* -te, -fjson, -f json */
static void
short_options(
    const struct command *c, int *i, int argc, char **argv, struct parsed *p)
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
			give(c, n, at + 1, p);
		else if (*i + 1 < argc)
			give(c, n, argv[++*i], p);
		else
			usage_error(
			    c, "Option '%s' requires an argument.", name);
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

static void
check_arguments(const struct command *c, const struct parsed *p)
{
	int i;

	for (i = 0; c->needs != NULL && c->needs[i] != NULL; i++)
		if (p->nargs <= i)
			usage_error(c, "Missing argument '%s'.%s", c->needs[i],
			    c->needs[i][0] != '{' ?
				"" :
				" Choose from:\n\trestart,\n\tswitchover");
	if (p->nargs > c->max_args)
		extra_arguments(c, p);
}

void
options_parse(const struct command *c, int argc, char **argv, struct parsed *p)
{
	bool only_args = false;
	int i;

	memset(p, 0, sizeof(*p));
	p->command = c;
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
	check_arguments(c, p);
}

/* ---- what was given ---- */

const struct opt_value *
parsed_option(const struct parsed *p, const char *name)
{
	int n = find_option(p->command, name, strlen(name));

	if (n == -1)
		abort(); /* not in the command's table */
	return &p->v[n];
}

bool
parsed_flag(const struct parsed *p, const char *name)
{
	return parsed_option(p, name)->set;
}

const char *
parsed_text(const struct parsed *p, const char *name)
{
	return parsed_option(p, name)->text;
}
