/*
 * fuzz_dcs_http.c: answers of HTTP servers in two pieces, and URLs.
 */
#include <stdlib.h>
#include <string.h>

#include "../../dcs/http_parse.h"
#include "../../dcs/http_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
on_header(const char *line, size_t n, void *arg)
{
	if (n >= HTTP_LINE_SIZE || memchr(line, '\n', n) != NULL)
		abort();
	(void)arg;
}

static bool
on_head(long status, void *arg)
{
	(void)arg;
	if (status < 200 || status > 999)
		abort();
	return true;
}

static bool
on_bytes(const char *data, size_t n, void *arg)
{
	(void)data;
	*(size_t *)arg += n;
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct http_sink sink = { on_header, on_head, on_bytes };
	size_t cut = size == 0 ? 0 : data[0] % size, once = 0, twice = 0;
	const char *text = (const char *)data;
	struct http_parser a, b;
	struct http_url u;
	char *copy = malloc(size + 1);

	http_parse_init(&a, false);
	http_parse_init(&b, false);
	(void)http_parse(&a, text, size, &sink, &once);
	if (http_parse(&b, text, cut, &sink, &twice))
		(void)http_parse(&b, text + cut, size - cut, &sink, &twice);
	/* how it was cut must not matter */
	if (a.state != b.state || a.status != b.status || once != twice)
		abort();
	if (http_parse_end(&a) != http_parse_end(&b))
		abort();
	memcpy(copy, data, size);
	copy[size] = '\0';
	(void)http_url_parse(&u, copy);
	free(copy);
	return 0;
}
