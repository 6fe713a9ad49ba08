/*
 * fuzz_json.c: JSON texts to trees and back, and the leading numbers of a
 * version.
 */
#include <stdlib.h>
#include <string.h>

#include "helpers/json.h"
#include "ipc/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* What was read must write, read back, and write the same. */
static void
round_trip(const struct tree *t, enum json_form form)
{
	size_t len, len2;
	char *text, *text2, why[128];
	struct tree *again;

	if ((text = tree_to_json(t, form, &len)) == NULL)
		return; /* not a number, and nothing else, cannot be written */
	if ((again = tree_from_json(text, len, why, sizeof(why))) == NULL)
		abort();
	if ((text2 = tree_to_json(again, form, &len2)) == NULL || len != len2 ||
	    memcmp(text, text2, len) != 0)
		abort();
	tree_free(again);
	free(text2);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[128] = "", version[64];
	struct tree *t;
	unsigned v[3];

	t = tree_from_json((const char *)data, size, why, sizeof(why));
	if (t == NULL && why[0] == '\0')
		abort();
	if (t != NULL) {
		round_trip(t, JSON_FORM_COMPACT);
		round_trip(t, JSON_FORM_SPACED);
	}
	tree_free(t);
	if (size < sizeof(version)) {
		memcpy(version, data, size);
		version[size] = '\0';
		if (version_numbers(version, v) > 3 || v[0] > 9999 ||
		    v[1] > 9999 || v[2] > 9999)
			abort();
	}
	return 0;
}
