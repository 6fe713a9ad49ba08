/*
 * generate.h: parts of the configuration generator (spec/config.md 16).
 */
#ifndef CONF_GENERATE_H
#define CONF_GENERATE_H

#include "internal.h"

struct generate {
	const struct conf_generate_options *options;
	struct tree *doc; /* template, overlaid by the environment */
	char ip[256];	  /* first address of this host, "#FIXME" if none */
	FILE *err;
};

/* Fill doc from a running server; false: the reason was printed. */
bool generate_from_server(struct generate *);

/* Set a value at a dotted path of doc, for short. */
void generate_text(struct generate *, const char *path, const char *value);
void generate_int(struct generate *, const char *path, int64_t value);
void generate_bool(struct generate *, const char *path, bool value);

#endif
