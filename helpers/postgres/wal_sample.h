/*
 * wal_sample.h: some bytes of the WAL, to tell two branches apart that have
 * the number and the beginning of their timeline in common.
 */
#ifndef HELPERS_POSTGRES_WAL_SAMPLE_H
#define HELPERS_POSTGRES_WAL_SAMPLE_H

#include "pgconf.h"

#define WAL_SAMPLE_MAX 64

struct wal_sample {
	uint64_t lsn;
	uint32_t size;
	unsigned char bytes[WAL_SAMPLE_MAX];
};

/*
 * Own WAL at lsn, where a checkpoint or the first record of the timeline
 * starts: as many bytes as each of these has, its checksum among them where no
 * segment ends in between.  segment_size as pg_controldata tells it.  False and
 * *err when the segment is not there or too short.
 */
bool wal_sample_read(const char *data_dir, uint32_t version, uint32_t timeline,
    uint64_t lsn, uint64_t segment_size, struct wal_sample *out,
    struct pgerr *err);
/* Is that the beginning of this message of a walsender (n bytes of CopyData)?
 * 1 yes, 0 no, -1 when it is no WAL from that place or too short. */
int wal_sample_compare(
    const struct wal_sample *, const char *message, size_t n);

#endif
