/*
 * history.h: timeline history files (spec/postgres.md 7.6).
 */
#ifndef HELPERS_POSTGRES_HISTORY_H
#define HELPERS_POSTGRES_HISTORY_H

#include "pgconf.h"

struct history_line {
	uint32_t timeline; /* parent that ended */
	uint64_t lsn;	   /* where */
	char reason[TEXT_SIZE];
};

/* Lines with exactly three tab-separated fields, in file order; others are
 * skipped.  Returns how many were stored (at most max: the newest). */
uint32_t history_parse(
    const char *text, struct history_line *out, uint32_t max);
/*
 * Are these histories of one branch of `timeline`: do all timelines before it
 * end at the same places?  Later lines and reasons do not count.  Where one was
 * cut at MAX_HISTORY lines the newest decide.
 */
bool history_agrees(const struct history_line *a, uint32_t na,
    const struct history_line *b, uint32_t nb, uint32_t timeline);
/* Of the file of a timeline, as history_parse(); -1 and *err when it cannot be
 * read. */
int history_read(const char *data_dir, uint32_t version, uint32_t timeline,
    struct history_line *out, uint32_t max, struct pgerr *err);
/* <data_dir>/<wal dir>/<timeline>.history */
void history_path(const char *data_dir, uint32_t version, uint32_t timeline,
    char out[PATH_SIZE]);
/*
 * The `history` document that a leader publishes: list of lists, two more
 * fields (ISO 8601 local time of the file, member name) on the last line if
 * its timeline is `timeline` - 1.  Timeline 1: an empty list.  NULL and *err
 * when the file cannot be read.
 */
struct tree *history_document(const char *data_dir, uint32_t version,
    uint32_t timeline, const char *member, struct pgerr *err);

#endif
