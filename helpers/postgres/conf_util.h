/*
 * conf_util.h: small helpers of the PostgreSQL configuration files: growing
 * text, tree building that ends the process when memory is short.
 */
#ifndef HELPERS_POSTGRES_CONF_UTIL_H
#define HELPERS_POSTGRES_CONF_UTIL_H

#include <stdarg.h>

#include "pgconf.h"

/* Growing text; always NUL-terminated once something was added. */
struct text {
	char *s;
	size_t len, cap;
};
void text_add(struct text *, const char *);
void text_add_n(struct text *, const char *, size_t);
void text_addf(struct text *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
char *text_take(struct text *); /* never NULL; the text is empty after */

void *must(void *); /* ends the process on NULL */
void put(struct tree *map, const char *key, struct tree *value);
void put_text(struct tree *map, const char *key, const char *value);
void put_copy(struct tree *map, const char *key, const struct tree *value);
void add_text(struct tree *list, const char *value);
void add_textf(struct tree *list, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Set a parameter: an entry with the same name in other letter case goes. */
void put_param(struct tree *map, const char *name, struct tree *value);
/* Text form (spec 3.4) of any scalar; malloc'd. */
char *scalar_text(const struct tree *);
/* Boolean of spec 3.2 from bool or text; dflt when absent or not one. */
bool tree_boolean(const struct tree *, bool dflt);
/* Scalar text at a path into a buffer, "" when absent or null.  False when
 * it does not fit. */
bool path_text(const struct tree *, const char *path, char *out, size_t size);
/* fails with one line */
bool fail(struct pgerr *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* dir + "/" + name; false when too long. */
bool path_join(char out[PATH_SIZE], const char *dir, const char *name);
/* Names of a map sorted by code point; malloc'd array of *n pointers. */
const struct tree **sorted_children(const struct tree *, uint32_t *n);
/* Word of the overlay of 2.5 ("primary" ...), NULL = none. */
const char *overlay_word(enum pg_role);
/* Is this parameter set in params to something else than the default path
 * (10.3 step 7)?  value: its absolute form. */
bool file_customised(const struct pgconf *, const struct tree *params,
    const char *param, const char *file, char value[PATH_SIZE]);

#endif
