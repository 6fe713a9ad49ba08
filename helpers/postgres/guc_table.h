/* guc_table.h: the table of guc_table.c, for guc.c and its test. */
#ifndef HELPERS_POSTGRES_GUC_TABLE_H
#define HELPERS_POSTGRES_GUC_TABLE_H

#include "guc.h"

extern const struct guc guc_table[];
extern const size_t guc_table_size;

#endif
