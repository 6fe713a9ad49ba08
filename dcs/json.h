/*
 * json.h: values of jansson for the store's documents and peers' answers:
 * from trees, to compact text, lenient scalars.  Knows no key and no driver.
 * Reading (text to jansson to tree) is helpers/json.h.
 */
#ifndef DCS_JSON_H
#define DCS_JSON_H

#include <jansson.h>

#include "../helpers/json.h"

/* New value; NULL: no memory. */
json_t *json_from_tree(const struct tree *);
/* Compact ASCII text of spec/dcs.md 2.2; caller frees; NULL: no memory. */
char *json_compact(const json_t *);
/*
 * Integer of spec/dcs.md 2.2: numbers, and texts with sign, 0x, leading 0,
 * decimal or fraction.  False: "unknown".
 */
bool json_lenient_int(const json_t *, int64_t *out);
/* The same for a plain text. */
bool text_lenient_int(const char *, int64_t *out);
/* Text member of an object, or NULL. */
const char *json_text(const json_t *object, const char *key);
/* Truth of a value as Python sees it. */
bool json_truthy(const json_t *);

#endif
