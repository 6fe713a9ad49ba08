/*
 * json.h: JSON text <-> value trees and lenient scalars, for the store's
 * documents and peers' answers.  Knows no key and no driver.
 */
#ifndef DCS_JSON_H
#define DCS_JSON_H

#include <jansson.h>

#include "../ipc/tree.h"

/* NULL for NaN-like values, too deep or too large documents, no memory. */
struct tree *json_to_tree(const json_t *);
json_t *json_from_tree(const struct tree *);
/* Parse any JSON value; the text need not be NUL-terminated.  NULL when it is
 * not JSON, is deeper than TREE_MAX_DEPTH or has a NUL in a text. */
json_t *json_parse(const char *, size_t len);
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
