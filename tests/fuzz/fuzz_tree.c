/*
 * fuzz_tree.c: the binary decoders of trees and views, directly.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "ipc/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tree *t = tree_decode(data, size);
	struct view *v = view_decode(data, size);

	if (t != NULL) {
		uint8_t *buf;
		size_t len;
		struct tree *u;

		if (!tree_encode(t, &buf, &len))
			abort();
		u = tree_decode(buf, len);
		if (u == NULL || !tree_equal(t, u))
			abort();
		tree_free(u);
		free(buf);
	}
	tree_free(t);
	view_free(v);
	return 0;
}
