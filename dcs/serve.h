/*
 * serve.h: the dcs helper between its links and the store client.
 */
#ifndef DCS_SERVE_H
#define DCS_SERVE_H

#include "../helpers/runtime.h"

struct serve;

struct serve *serve_new(void);
extern const struct helper_ops serve_ops; /* arg: struct serve */
void serve_free(struct serve *);

#endif
