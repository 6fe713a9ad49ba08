/*
 * fuzz_dcs_exhibitor.c: the list of servers, and hosts as an operator writes
 * them.
 */
#include <stdlib.h>
#include <string.h>

#include "../../dcs/exhibitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct zk_conf conf = { .nhosts = 0 };
	char *text;
	uint32_t i;

	if (exhibitor_parse((const char *)data, size, &conf))
		for (i = 0; i < conf.nhosts; i++)
			if (conf.hosts[i].host[0] == '\0' ||
			    conf.hosts[i].port < 1 ||
			    conf.hosts[i].port > 65535)
				abort();
	if ((text = malloc(size + 1)) == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	(void)zk_conf_hosts(&conf, text);
	free(text);
	return 0;
}
