/*
 * base64.h: base64 with padding (RFC 4648 4).
 */
#ifndef HELPERS_BASE64_H
#define HELPERS_BASE64_H

#include <stddef.h>

char *base64_encode(const char *, size_t); /* caller frees */
/* Caller frees; NUL-terminated; NULL when malformed. */
char *base64_decode(const char *, size_t *len);

#endif
