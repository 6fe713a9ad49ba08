/*
 * schedule.h: timestamps of scheduled restarts and switchovers
 * (spec/rest-api.md 19).
 */
#ifndef REST_SCHEDULE_H
#define REST_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

#include "../ipc/types.h"

/*
 * Parse text (NULL: not a string) as a time after now_us.  0 and the time in
 * microseconds since the epoch and its ISO 8601 form with the given offset;
 * or the status of spec 19 with its text, where action is "restart" or
 * "switchover".
 */
int schedule_parse(const char *text, int64_t now_us, const char *action,
    int64_t *at_us, char iso[WORD_SIZE], char *error, size_t size);

#endif
