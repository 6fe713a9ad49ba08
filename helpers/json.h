/*
 * json.h: JSON text <-> value trees (ipc/tree.h).
 *
 * Reading is strict: UTF-8 checked, no NUL in texts, no NaN, bounded size,
 * depth and number of values; of duplicate keys the last one wins.  Writing
 * keeps the order of the tree.
 */
#ifndef HELPERS_JSON_H
#define HELPERS_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "../ipc/tree.h"

#define JSON_MAX_TEXT (2u * 1024 * 1024)

enum json_form {
	JSON_FORM_COMPACT, /* {"a":1,"b":[2,3]}: what the store gets */
	JSON_FORM_SPACED   /* {"a": 1, "b": [2, 3]}: what people and REST get */
};

/*
 * Parse any JSON value; text need not be NUL-terminated.  NULL when it is not
 * acceptable; why (may be NULL) then gets a short reason.  The caller owns
 * the tree.
 */
struct tree *tree_from_json(
    const char *text, size_t len, char *why, size_t why_size);

/*
 * The two steps of it, for the one who wants to look into jansson's values
 * (json_t) in between: the text checked (size, depth, no NUL) and parsed,
 * the caller drops the reference; and the copy as a tree (NULL of NULL, or
 * when there are too many values), which the caller owns.
 */
struct json_t;
struct json_t *jansson_parse(
    const char *text, size_t len, char *why, size_t why_size);
struct tree *tree_from_jansson(const struct json_t *);

/*
 * New NUL-terminated ASCII text (others as \uXXXX, as Python writes them);
 * the caller frees it.  NULL: no memory, or text that is not UTF-8.
 * len may be NULL.
 */
char *tree_to_json(const struct tree *, enum json_form, size_t *len);

#endif
