/*
 * fuzz_dcs_kubernetes.c: the watch stream of the Kubernetes driver, cut at any
 * place, into its cache.
 */
#include <stdlib.h>
#include <string.h>

#include "../../dcs/kubernetes_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* {name, scope, kubernetes: {labels, use_endpoints, kubeconfig}} */
static struct tree *
configuration(void)
{
	struct tree *t = tree_map(), *k = tree_map(), *l = tree_map(),
		    *s = tree_map();

	tree_set(l, "application", tree_text("patroni"));
	tree_set(s, "server", tree_text("http://127.0.0.1:1"));
	tree_set(k, "labels", l);
	tree_set(k, "kubeconfig", s);
	tree_set(k, "use_endpoints", tree_bool(true));
	tree_set(t, "name", tree_text("a"));
	tree_set(t, "scope", tree_text("s"));
	tree_set(t, "kubernetes", k);
	return t;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct event_base *base;
	static struct dcs *dcs;
	struct k8s k = { .dcs = NULL };
	struct k8s_list *list;
	struct tree *conf = configuration();
	char err[TEXT_SIZE];
	size_t step, pos, n;

	if (base == NULL) {
		base = event_base_new();
		dcs = dcs_open(base, conf, true, NULL, NULL, err, sizeof(err));
	}
	if (size < 2 || dcs == NULL) {
		tree_free(conf);
		return dcs == NULL ? abort(), 0 : 0;
	}
	k.dcs = dcs;
	k.base = base;
	if (!k8s_conf_read(
		&k.conf, "s", tree_get(conf, "kubernetes"), err, sizeof(err)) ||
	    !k8s_cache_init(&k))
		abort();
	tree_free(conf);
	list = (data[0] & 1) != 0 ? &k.pods : &k.kinds;
	step = (size_t)data[1] + 1; /* size of the chunks */
	for (pos = 2; pos < size; pos += n) {
		n = size - pos < step ? size - pos : step;
		if (!k8s_watch_data((const char *)data + pos, n, list))
			break;
	}
	json_decref(k8s_subsets(&k, k8s_key_object(&k, DCS_KEY_LEADER)));
	json_decref(k8s_lock_notes(&k, false));
	k8s_cache_close(&k);
	k8s_conf_clear(&k.conf);
	return 0;
}
