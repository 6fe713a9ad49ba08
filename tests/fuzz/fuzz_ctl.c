/*
 * fuzz_ctl.c: dates that an operator types after --scheduled.  A date that is
 * understood is understood again in the form that is sent to the member.
 */
#include <stdlib.h>
#include <string.h>

#include "helpers/ctl/ctl.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text, iso[DATE_SIZE], again[DATE_SIZE];

	if ((text = malloc(size + 1)) == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (date_parse(text, iso, sizeof(iso)) && iso[0] != '\0' &&
	    (!date_parse(iso, again, sizeof(again)) || strcmp(iso, again) != 0))
		abort();
	free(text);
	return 0;
}
