/*
 * pgvalue.h: values of a query's result as patronictl prints them
 * (patronictl.md 13.4).
 */
#ifndef CTL_PGVALUE_H
#define CTL_PGVALUE_H

#include "../../ipc/tree.h"

/*
 * Value of a column of that type (pg_type oid); text NULL: null.
 * native: with the types of JSON, for json and yaml; else the text that tsv
 * and boxes show.  The caller frees it; NULL: no memory.
 */
struct tree *pgvalue(unsigned oid, const char *text, bool native);

#endif
