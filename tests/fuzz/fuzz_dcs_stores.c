/*
 * fuzz_dcs_stores.c: what etcd v2 and Consul answer, into the key cache.
 */
#include <stdlib.h>
#include <string.h>

#include "../../dcs/consul_int.h"
#include "../../dcs/etcd2_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* A core for the caches: in ctl mode it sends nothing by itself. */
static struct dcs *
core(void)
{
	static struct dcs *dcs;
	struct tree *conf, *section;
	char err[TEXT_SIZE];

	if (dcs != NULL)
		return dcs;
	conf = tree_map();
	section = tree_map();
	tree_set(conf, "name", tree_text("a"));
	tree_set(conf, "scope", tree_text("s"));
	tree_set(section, "host", tree_text("127.0.0.1:1"));
	tree_set(conf, "consul", section);
	dcs = dcs_open(
	    event_base_new(), conf, true, NULL, NULL, err, sizeof(err));
	tree_free(conf);
	if (dcs == NULL)
		abort();
	return dcs;
}

static bool
event(const json_t *j, void *arg)
{
	uint32_t keys = 0, wake = 0;

	return etcd2_event(arg, j, &keys, &wake);
}

static void
etcd2(const char *data, size_t size)
{
	struct etcd_stream stream = { 0 };
	struct etcd2 e = { .base = "/service/s/" };
	uint32_t keys = 0, wake = 0;
	json_t *root = etcd_parse(data, size);

	cache_init(&e.cache, core());
	(void)etcd2_fill(&e, root, &keys, &wake);
	(void)etcd_stream_feed(&stream, data, size, event, &e);
	(void)etcd2_fill(&e, root, &keys, &wake);
	json_decref(root);
	etcd_stream_reset(&stream);
	cache_clear(&e.cache);
}

static void
consul(const char *data, size_t size)
{
	struct consul c = { .key_prefix = "service/s/" };
	uint32_t keys = 0, wake = 0;
	json_t *root = json_loadb(data, size, JSON_DECODE_ANY, NULL);

	cache_init(&c.cache, core());
	(void)consul_fill(&c, root, &keys, &wake);
	(void)consul_fill(&c, root, &keys, &wake);
	(void)consul_fill(&c, NULL, &keys, &wake);
	json_decref(root);
	cache_clear(&c.cache);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		etcd2((const char *)data + 1, size - 1);
	else
		consul((const char *)data + 1, size - 1);
	return 0;
}
