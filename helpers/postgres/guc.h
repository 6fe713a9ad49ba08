/*
 * guc.h: what is known about PostgreSQL's parameters (spec/config.md 10.4,
 * 18): types, limits, units, words and versions, and the judgement of one
 * value before it is written to a file.
 */
#ifndef HELPERS_POSTGRES_GUC_H
#define HELPERS_POSTGRES_GUC_H

#include "../../ipc/tree.h"
#include "../../ipc/types.h"

enum guc_type {
	GUC_BOOL,
	GUC_INTEGER,
	GUC_REAL,
	GUC_ENUM,
	GUC_ENUM_BOOL,
	GUC_STRING
};

struct guc {
	const char *name;
	uint32_t from, till; /* versions; till exclusive, 0 = no limit */
	enum guc_type type;
	double min, max; /* numbers, in the base unit */
	const char *unit;
	const char *words; /* enum: separated by '|' */
};

/* Entry that covers this version, NULL when none; known: some entry of that
 * name exists (for whatever version); may be NULL. */
const struct guc *guc_find(const char *name, uint32_t version, bool *known);
/* `postgres --describe-config` -> map of lower-case names. */
struct tree *guc_describe_parse(const char *output);
/*
 * Judge a value for postgresql.conf (10.4).  True: write out[] (value text,
 * clamped when needed).  False: leave the line out (a warning was logged).
 * known: map of names that the server knows, NULL = not asked (then a name
 * without an entry is left out for the versions that the table covers).
 */
bool guc_judge(const char *name, const struct tree *value, uint32_t version,
    const struct tree *known, char *out, size_t size);

#endif
