/*
 * buf.h: growing text with an upper bound, and the JSON text forms of the
 * answers (spec/rest-api.md 3.4: separators ", " and ": ", non-ASCII as
 * \uXXXX).  Reading JSON is helpers/json.h.
 */
#ifndef REST_BUF_H
#define REST_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../ipc/tree.h"

#define BUF_MAX (8 * 1024 * 1024)

struct buf {
	char *s; /* NUL-terminated when not NULL */
	size_t len, cap;
	bool failed;  /* memory short or over BUF_MAX; contents are useless */
	bool compact; /* JSON without blanks, as documents are stored */
};

void buf_free(struct buf *);
/* Empty it, keep the memory. */
void buf_reset(struct buf *);
void buf_add(struct buf *, const void *, size_t);
void buf_text(struct buf *, const char *);
void buf_printf(struct buf *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Text with & < > escaped, for error pages. */
void buf_html(struct buf *, const char *);

/* JSON string in quotes. */
void buf_json_text(struct buf *, const char *);
/* Any tree; NULL gives null. */
void buf_json_tree(struct buf *, const struct tree *);
/* Members of an object: a separator where one is due, the key, the value.
 * *first starts as true and belongs to the object being written. */
void buf_json_key(struct buf *, bool *first, const char *key);
void buf_json_set_text(
    struct buf *, bool *first, const char *key, const char *);
void buf_json_set_int(struct buf *, bool *first, const char *key, int64_t);
void buf_json_set_uint(struct buf *, bool *first, const char *key, uint64_t);
void buf_json_set_true(struct buf *, bool *first, const char *key);
void buf_json_set_tree(
    struct buf *, bool *first, const char *key, const struct tree *);

#endif
