/*
 * wal_sample.c: some bytes of the WAL, ours and those of a walsender.
 */
#include "wal_sample.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf_util.h"

#define PAGE 8192
/*
 * Header of a record (24 bytes, the checksum last) and the least that records
 * of these kinds have after it; a page that starts there, or that it runs into,
 * puts its own header of 24 bytes before or between, of 40 in a new segment.
 */
#define SAMPLE 48
#define SAMPLE_OF_PAGE 64
#define MESSAGE_HEADER 25 /* 'w', start, end, time */

bool
wal_sample_read(const char *data_dir, uint32_t version, uint32_t timeline,
    uint64_t lsn, uint64_t segment_size, struct wal_sample *out,
    struct pgerr *err)
{
	char name[64], path[PATH_SIZE];
	uint64_t segment, offset, per_id;
	ssize_t n;
	int fd;

	if (segment_size < PAGE || segment_size > (1U << 30) ||
	    (segment_size & (segment_size - 1)) != 0)
		return fail(err, "implausible WAL segment size");
	segment = lsn / segment_size;
	offset = lsn % segment_size;
	per_id = (UINT64_C(1) << 32) / segment_size;
	out->lsn = lsn;
	out->size = lsn % PAGE == 0 ? SAMPLE_OF_PAGE : SAMPLE;
	if (out->size > segment_size - offset)
		out->size = (uint32_t)(segment_size - offset);
	snprintf(name, sizeof(name), "%s/%08" PRIX32 "%08" PRIX64 "%08" PRIX64,
	    pgfeatures(version).wal_dir, timeline, segment / per_id,
	    segment % per_id);
	path_join(path, data_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd == -1)
		return fail(err, "%s: %s", path, strerror(errno));
	n = pread(fd, out->bytes, out->size, (off_t)offset);
	close(fd);
	if (n != (ssize_t)out->size)
		return fail(err, "%s: cannot be read", path);
	return true;
}

static uint64_t
big_endian(const char *s)
{
	uint64_t v = 0;
	int i;

	for (i = 0; i < 8; i++)
		v = v << 8 | (unsigned char)s[i];
	return v;
}

int
wal_sample_compare(const struct wal_sample *s, const char *message, size_t n)
{
	if (n < MESSAGE_HEADER + (size_t)s->size || message[0] != 'w' ||
	    big_endian(message + 1) != s->lsn)
		return -1;
	return memcmp(message + MESSAGE_HEADER, s->bytes, s->size) == 0;
}
