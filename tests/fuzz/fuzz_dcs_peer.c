/*
 * fuzz_dcs_peer.c: a peer's answer to GET /patroni, and its address.
 */
#include <stdlib.h>
#include <string.h>

#include "../../dcs/peers.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct peer_status p = { .name = "m" };
	char url[URL_SIZE], *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	if (peer_parse(text, size, &p) == NULL && !p.reachable)
		abort();
	peer_url(text, "/failsafe", url, sizeof(url));
	free(text);
	return 0;
}
