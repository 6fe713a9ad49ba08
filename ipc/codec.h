/*
 * codec.h: growing output and checked input buffers for binary forms.
 * Little-endian is not needed: both ends are on one machine.
 */
#ifndef IPC_CODEC_H
#define IPC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct writer {
	uint8_t *buf;
	size_t len, cap;
	bool failed; /* memory short or over max */
	size_t max;
};

struct reader {
	const uint8_t *p, *end;
	bool failed; /* short or malformed input; reads give zeros */
};

void writer_init(struct writer *, size_t max);
void write_bytes(struct writer *, const void *, size_t);
void write_u8(struct writer *, uint8_t);
void write_u32(struct writer *, uint32_t);
void write_u64(struct writer *, uint64_t);
/* Length and bytes, without a NUL. */
void write_text(struct writer *, const char *);
/* Hand the buffer over; false (and nothing) when anything failed. */
bool writer_finish(struct writer *, uint8_t **out, size_t *len);

void read_bytes(struct reader *, void *, size_t);
uint8_t read_u8(struct reader *);
uint32_t read_u32(struct reader *);
uint64_t read_u64(struct reader *);
/* New NUL-terminated text (caller frees); NULL and failed on bad input. */
char *read_text(struct reader *);
/* The same into a fixed field. */
void read_text_into(struct reader *, char *dst, size_t size);
size_t reader_left(const struct reader *);

#endif
