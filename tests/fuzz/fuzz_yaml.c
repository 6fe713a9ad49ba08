/*
 * fuzz_yaml.c: the YAML loader, its writer and the values on arbitrary bytes.
 *
 * clang -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_yaml.c
 *     with libconf, libipc and -lyaml; seeds in tests/fuzz/corpus/yaml.
 * What was read must write, read back, and be the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/values.h"
#include "../../master/conf/conf.h"
#include "../../master/conf/dsn.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
leaf_parsers(const char *text)
{
	char host[64], human[64];
	struct tree *t;
	int64_t i;
	double r;
	int port;

	(void)value_bool(text);
	(void)value_int(text, "8kB", &i);
	(void)value_real(text, "ms", &r);
	(void)value_human(text, true, "ms", human, sizeof(human));
	(void)value_host_port(text, 5432, host, sizeof(host), &port);
	if ((t = dsn_parse(text)) != NULL)
		tree_free(t);
}

/* NaN differs from itself; such a document is not compared. */
static bool
has_nan(const struct tree *t)
{
	if (t->type == TREE_REAL && t->u.r != t->u.r)
		return true;
	for (uint32_t i = 0; i < tree_count(t); i++)
		if (has_nan(tree_child(t, i)))
			return true;
	return false;
}

static void
round_trip(const struct tree *t)
{
	char *out = NULL, err[256];
	size_t len = 0;
	struct tree *again;
	FILE *f = open_memstream(&out, &len);

	if (f == NULL)
		return;
	conf_yaml_write(t, 0, false, f);
	fclose(f);
	again = conf_yaml_parse(out, len, 1, err, sizeof(err));
	/* quoting can make it larger than a file may be */
	if (again == NULL && strstr(err, "large") == NULL) {
		fprintf(stderr, "not read back: %s\n%s", err, out);
		abort();
	}
	if (again != NULL && !has_nan(t) && !tree_equal(t, again)) {
		fprintf(stderr, "differs:\n%s", out);
		abort();
	}
	tree_free(again);
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char err[256], *text = malloc(size + 1);
	struct tree *t;

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	leaf_parsers(text);
	t = conf_yaml_parse(text, size, 1, err, sizeof(err));
	if (t != NULL) {
		round_trip(t);
		tree_free_wiped(t);
	}
	free(text);
	return 0;
}
