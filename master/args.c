/*
 * args.c: the command line of patroni (spec/config.md 1.1).
 *
 * GNU conventions, with the error texts of the usual Python tools: usage and
 * one line on stderr, exit code 2.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "../ipc/version.h"
#include "master.h"

enum {
	OPT_VERSION = 256,
	OPT_VALIDATE,
	OPT_SAMPLE,
	OPT_GENERATE,
	OPT_DSN,
	OPT_NO_SANDBOX
};

static const struct option longopts[] = { { "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "validate-config", no_argument, NULL, OPT_VALIDATE },
	{ "generate-sample-config", no_argument, NULL, OPT_SAMPLE },
	{ "generate-config", no_argument, NULL, OPT_GENERATE },
	{ "dsn", required_argument, NULL, OPT_DSN },
	{ "ignore-listen-port", no_argument, NULL, 'i' },
	{ "print", no_argument, NULL, 'p' },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ NULL, 0, NULL, 0 } };

static void
usage(FILE *f, const char *program)
{
	fprintf(f,
	    "usage: %s [-h] [--version]\n"
	    "       [--validate-config | --generate-sample-config | "
	    "--generate-config]\n"
	    "       [--dsn DSN] [-i] [-p] [--no-sandbox]\n"
	    "       [configfile]\n",
	    program);
}

static void
help(const char *program)
{
	usage(stdout, program);
	printf(
	    "\n"
	    "Keeps a PostgreSQL cluster available.\n"
	    "\n"
	    "  configfile            YAML file or directory of such files; for "
	    "the generate\n"
	    "                        modes the file to write\n"
	    "  -h, --help            show this text and exit\n"
	    "  --version             show the version and exit\n"
	    "  --validate-config     check the configuration and exit\n"
	    "  --generate-sample-config\n"
	    "                        write an example configuration and exit\n"
	    "  --generate-config     write a configuration for a running "
	    "server and exit\n"
	    "  --dsn DSN             connection string for --generate-config\n"
	    "  -i, --ignore-listen-port\n"
	    "                        with --validate-config: ports may be in "
	    "use\n"
	    "  -p, --print           with --validate-config: print the "
	    "configuration\n"
	    "  --no-sandbox          debugging only: do not confine the "
	    "processes\n");
}

static void __attribute__((format(printf, 2, 3)))
usage_error(struct args *args, const char *fmt, ...)
{
	va_list ap;

	usage(stderr, args->program);
	fprintf(stderr, "%s: error: ", args->program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	args->mode = MODE_EXIT;
	args->code = 2;
}

static const char *
mode_option(enum mode mode)
{
	switch (mode) {
	case MODE_VALIDATE:
		return "--validate-config";
	case MODE_SAMPLE:
		return "--generate-sample-config";
	default:
		return "--generate-config";
	}
}

static bool
set_mode(struct args *args, enum mode mode)
{
	if (args->mode != MODE_RUN && args->mode != mode) {
		enum mode before = args->mode;

		usage_error(args, "argument %s: not allowed with argument %s",
		    mode_option(mode), mode_option(before));
		return false;
	}
	args->mode = mode;
	return true;
}

/* What getopt could not use: a long option stands in argv[optind - 1]. */
static void
bad_option(struct args *args, char **argv, int opt)
{
	char word[3] = { '-', (char)optopt, '\0' };
	const char *text = argv[optind - 1];

	if (opt == ':')
		usage_error(args, "argument --dsn: expected one argument");
	else if (optopt != 0 && optopt < 256)
		usage_error(args, "unrecognized arguments: %s", word);
	else
		usage_error(args, "unrecognized arguments: %s", text);
}

/* False: nothing more to parse. */
static bool
one_option(struct args *args, char **argv, int opt)
{
	switch (opt) {
	case 'h':
		help(args->program);
		args->mode = MODE_EXIT;
		args->code = 0;
		return false;
	case OPT_VERSION:
		printf("%s %s\n", args->program, PROGRAM_VERSION);
		args->mode = MODE_EXIT;
		args->code = 0;
		return false;
	case OPT_VALIDATE:
		return set_mode(args, MODE_VALIDATE);
	case OPT_SAMPLE:
		return set_mode(args, MODE_SAMPLE);
	case OPT_GENERATE:
		return set_mode(args, MODE_GENERATE);
	case OPT_DSN:
		args->dsn = optarg;
		return true;
	case 'i':
		args->ignore_listen_port = true;
		return true;
	case 'p':
		args->print = true;
		return true;
	case OPT_NO_SANDBOX:
		args->no_sandbox = true;
		return true;
	default:
		bad_option(args, argv, opt);
		return false;
	}
}

void
args_parse(int argc, char **argv, struct args *args)
{
	const char *slash;
	int opt;

	memset(args, 0, sizeof(*args));
	args->program = argc > 0 ? argv[0] : "patroni";
	if ((slash = strrchr(args->program, '/')) != NULL)
		args->program = slash + 1;
	optind = 0; /* glibc: start afresh (tests parse more than once) */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":hip", longopts, NULL)) != -1)
		if (!one_option(args, argv, opt))
			return;
	if (optind < argc)
		args->configfile = argv[optind++];
	if (optind < argc)
		usage_error(args, "unrecognized arguments: %s", argv[optind]);
}
