/*
 * fuzz_dcs_etcd.c: etcd's replies and its watch stream, cut at any place.
 */
#include <stdlib.h>

#include "../../dcs/etcd3_proto.h"
#include "../../ipc/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static bool
document(const json_t *j, void *arg)
{
	const json_t *events =
	    json_object_get(json_object_get(j, "result"), "events");
	char msg[TEXT_SIZE];
	struct etcd_kv kv;
	size_t i;
	int code;

	(void)arg;
	etcd_error(j, &code, msg, sizeof(msg));
	etcd_revision(j);
	for (i = 0; i < json_array_size(events); i++)
		if (etcd_kv_parse(
			json_object_get(json_array_get(events, i), "kv"), &kv))
			etcd_kv_clear(&kv);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct etcd_stream s = { 0 };
	size_t step, pos, n;
	json_t *root;

	if (size == 0)
		return 0;
	step = (size_t)data[0] + 1; /* first byte: size of the chunks */
	for (pos = 1; pos < size; pos += n) {
		n = size - pos < step ? size - pos : step;
		if (!etcd_stream_feed(
			&s, (const char *)data + pos, n, document, NULL))
			break;
	}
	etcd_stream_reset(&s);
	root = etcd_parse((const char *)data + 1, size - 1);
	if (root != NULL)
		document(root, NULL);
	json_decref(root);
	return 0;
}
