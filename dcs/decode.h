/*
 * decode.h: keys of the store -> struct view (spec/dcs.md 2, 3).
 *
 * Tolerant where the specification is; a text that does not fit its field
 * drops the member (or the field) with a warning and is never cut.
 */
#ifndef DCS_DECODE_H
#define DCS_DECODE_H

#include "driver.h"

/*
 * Make a view of the keys of one load; NULL and a text in err when the load
 * has to count as failed (a leader name that cannot be held, no memory).
 * Load times are set to now.
 */
struct view *decode_view(
    const struct dcs_kv *, size_t n, char *err, size_t errlen);
/* Loaded now. */
void view_stamp(struct view *);
/* ISO 8601 time; *us since the epoch.  *zone tells whether it names one. */
bool decode_time(const char *, int64_t *us, bool *zone);

#endif
