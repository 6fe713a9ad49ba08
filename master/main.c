/*
 * main.c: the entry point of patroni; everything else is in libmaster.
 */
#include <stdio.h>
#include <string.h>

#include "../ipc/coredump.h"
#include "libexec.h"
#include "master.h"

static int
run_mode(const struct args *args, struct conf_env *env)
{
	struct conf_validate_options v = { args->configfile,
		args->ignore_listen_port, args->print };
	struct conf_generate_options g = { args->configfile,
		args->mode == MODE_SAMPLE, args->dsn };

	if (args->mode == MODE_VALIDATE)
		return conf_validate_main(&v, env, stdout, stderr);
	return conf_generate_main(&g, env, stdout, stderr);
}

int
main(int argc, char **argv)
{
	struct args args;
	struct conf_notes notes;
	struct conf_env *env;
	char libexec[PATH_SIZE];
	int code;

	args_parse(argc, argv, &args);
	if (args.mode == MODE_EXIT)
		return args.code;
	log_init("master");
	coredump_exclude_memory();
	if (args.mode != MODE_RUN) {
		memset(&notes, 0, sizeof(notes));
		if ((env = conf_env_take(&notes)) == NULL)
			fatal("out of memory");
		conf_notes_log(&notes);
		conf_notes_free(&notes);
		code = run_mode(&args, env);
		conf_env_free(env);
		return code;
	}
	if (!master_find_libexec(libexec, sizeof(libexec)))
		fatal("the helper programs are neither beside this program "
		      "nor in " LIBEXECDIR);
	init_if_pid1();
	return master_run(&args, libexec);
}
