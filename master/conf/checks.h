/*
 * checks.h: checks of single values for --validate-config.
 */
#ifndef CONF_CHECKS_H
#define CONF_CHECKS_H

#include "internal.h"

struct check {
	const struct tree *root;
	bool ignore_listen_port;
	FILE *err;
	uint32_t problems;
};

/* "<path> <value> <error>"; t NULL: empty value. */
void check_problem(
    struct check *, const char *path, const struct tree *t, const char *error);
void check_missing(struct check *, const char *path);
/* A value against its row. */
void check_value(struct check *, const struct conf_key *, const struct tree *);
/* postgresql.bin_dir (t may be NULL) and the programs in it. */
void check_programs(
    struct check *, const struct conf_key *, const struct tree *t);

#endif
