/*
 * module.h: parts of a helper that are loaded when they are needed, because
 * the libraries behind them cost much memory.
 */
#ifndef HELPERS_MODULE_H
#define HELPERS_MODULE_H

#include <stddef.h>

/* Where the module is: beside the program, or where `make install` puts it. */
void module_path(char *path, size_t size, const char *file);
/*
 * The address of a symbol in it, which takes some milliseconds the first time;
 * NULL: not to be had (logged).  What was loaded stays.
 */
const void *module_load(const char *file, const char *symbol);

#endif
