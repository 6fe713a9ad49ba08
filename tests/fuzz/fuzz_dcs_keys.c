/*
 * fuzz_dcs_keys.c: keys of the store -> view -> message and back.
 *
 * Input: records of one byte (which key), then text up to the next 0xff.
 */
#include <stdlib.h>
#include <string.h>

#include "../../dcs/decode.h"

#define MAX_KEYS 16

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dcs_kv kv[MAX_KEYS] = { { .key = DCS_KEY_LEADER } };
	char err[TEXT_SIZE], *copy = malloc(size + 1);
	const uint8_t *end;
	struct view *v, *w;
	uint8_t *out;
	size_t n = 0, pos = 0, len;

	memcpy(copy, data, size);
	while (pos < size && n < MAX_KEYS) {
		kv[n].key = data[pos] % DCS_KEY_COUNT;
		kv[n].member = kv[n].key == DCS_KEY_MEMBER ? "m" : NULL;
		kv[n].value = copy + pos + 1;
		end = memchr(data + pos + 1, 0xff, size - pos - 1);
		kv[n].len = end == NULL ? size - pos - 1 :
					  (size_t)(end - data) - pos - 1;
		pos += kv[n].len + 2;
		n++;
	}
	if ((v = decode_view(kv, n, err, sizeof(err))) != NULL) {
		/* what we accept from the store, our peers must accept */
		if (view_encode(v, &out, &len)) {
			if ((w = view_decode(out, len)) == NULL)
				abort();
			if (!view_equal(v, w))
				abort();
			view_free(w);
			free(out);
		}
		view_free(v);
	}
	free(copy);
	return 0;
}
