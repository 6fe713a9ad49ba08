/*
 * main.c: patronictl: global options and choice of the command.
 */
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../ipc/coredump.h"
#include "ctl.h"

struct globals {
	const char *config_file;
	const char *dcs_url;
	bool insecure;
};

static const char *
environment(const char *name)
{
	const char *v = getenv(name);

	return v != NULL && v[0] != '\0' ? v : NULL;
}

/* The value of an option that stands in argv[*i]; NULL when it is not it. */
static const char *
value_of(
    const char *shortname, const char *longname, int *i, int argc, char **argv)
{
	const char *word = argv[*i];
	size_t len = strlen(longname);

	if (strncmp(word, longname, len) == 0 && word[len] == '=')
		return word + len + 1;
	if (shortname != NULL && strncmp(word, shortname, 2) == 0 &&
	    word[2] != '\0')
		return word + 2;
	if (strcmp(word, longname) != 0 &&
	    (shortname == NULL || strcmp(word, shortname) != 0))
		return NULL;
	if (*i + 1 >= argc || argv[*i + 1] == NULL)
		usage_error(NULL, "Option '%s' requires an argument.", word);
	return argv[++*i];
}

static int
parse_globals(int argc, char **argv, struct globals *g)
{
	const char *v;
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			help_program(stdout);
			exit(0);
		}
		if (strcmp(argv[i], "-k") == 0 ||
		    strcmp(argv[i], "--insecure") == 0)
			g->insecure = true;
		else if ((v = value_of(
			      "-c", "--config-file", &i, argc, argv)) != NULL)
			g->config_file = v;
		else if ((v = value_of("-d", "--dcs-url", &i, argc, argv)) !=
			NULL ||
		    (v = value_of(NULL, "--dcs", &i, argc, argv)) != NULL)
			g->dcs_url = v;
		else
			usage_error(NULL, "No such option: %.*s",
			    (int)strcspn(argv[i], "="), argv[i]);
	}
	return i;
}

static int
level_of(const char *name)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = { { "DEBUG", LOG_LVL_DEBUG }, { "INFO", LOG_LVL_INFO },
		{ "WARNING", LOG_LVL_WARNING }, { "ERROR", LOG_LVL_ERROR },
		{ "CRITICAL", LOG_LVL_CRITICAL } };
	size_t i;

	for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(levels[i].name, name) == 0)
			return levels[i].level;
	ctl_error("Unknown level: '%s'", name);
}

static void
open_log(void)
{
	static const char *const names[] = { "PATRONI_LOG_LEVEL",
		"PATRONI_LOGLEVEL", "LOGLEVEL" };
	struct log_settings s;
	const char *v;
	size_t i;

	memset(&s, 0, sizeof(s));
	s.level = LOG_LVL_WARNING;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if ((v = environment(names[i])) != NULL) {
			s.level = level_of(v);
			break;
		}
	(void)text_set(s.format, sizeof(s.format),
	    "%(asctime)s - %(levelname)s - %(message)s");
	log_init("patronictl");
	log_configure(&s);
}

int
main(int argc, char **argv)
{
	static struct ctl ctl;
	static struct parsed parsed;
	struct globals g;
	const struct command *c;
	int i, code;

	coredump_exclude_memory();
	(void)setlocale(LC_CTYPE, "");
	prompt_catch_interrupt();
	(void)signal(SIGPIPE, SIG_IGN);
	memset(&g, 0, sizeof(g));
	g.config_file = environment("PATRONICTL_CONFIG_FILE");
	g.dcs_url = environment("DCS_URL");
	if (g.dcs_url == NULL)
		g.dcs_url = environment("DCS");
	i = parse_globals(argc, argv, &g);
	if (i >= argc) {
		help_program(stderr);
		return 2;
	}
	if ((c = command_find(argv[i])) == NULL)
		usage_error(NULL, "No such command '%s'.", argv[i]);
	open_log();
	style_init();
	ctl.group = -1;
	ctl.insecure = g.insecure;
	if ((c->flags & COMMAND_NO_CONFIG) == 0)
		config_load(&ctl, g.config_file, g.dcs_url);
	options_parse(c, argc - i - 1, argv + i + 1, &parsed);
	code = c->run(&ctl, &parsed);
	if (fflush(stdout) == EOF)
		return 1;
	return code;
}
