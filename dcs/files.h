/*
 * files.h: certificates and keys as bytes: those that the master has opened
 * for us, else read by their names.
 */
#ifndef DCS_FILES_H
#define DCS_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* Take the contents of a file that the master has opened; fd is closed. */
void files_give(const char *path, int fd);
/* Was that file given since files_forget()? */
bool files_given(const char *path);
/* Wipe what was given: it has been taken over by those who need it. */
void files_forget(void);
/* The whole file, NUL-terminated, to be wiped and freed; NULL with err when
 * it is unreadable, no ordinary file or longer than a megabyte. */
char *files_read(const char *path, size_t *len, char *err, size_t errlen);

#endif
