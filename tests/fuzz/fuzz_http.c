/*
 * fuzz_http.c: request path of the REST server: head, query, health rules,
 * timestamps and allowlist entries.  The input arrives in slices whose size
 * its first byte chooses, as it would from a slow client.
 */
#include <stdlib.h>
#include <string.h>

#include "ipc/clock.h"
#include "rest/access.h"
#include "rest/health.h"
#include "rest/httpd_parse.h"
#include "rest/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
use_head(struct httpd_head *head, size_t len)
{
	struct snapshot snap;
	struct facts facts;
	struct query query;
	struct allow allow;
	char iso[WORD_SIZE], text[256];
	int64_t at;
	int code;

	if (head->size > len || head->path == NULL || head->method == NULL)
		abort();
	memset(&snap, 0, sizeof(snap));
	snap.have = true;
	snap.s.ttl_ns = 30 * NS_PER_SEC;
	snap.s.view_until_ns = NS_PER_SEC;
	snap.s.state = STATE_RUNNING;
	snap.s.role = ROLE_REPLICA;
	snap.s.sql_ok = snap.s.in_recovery = 1;
	snap.s.optime = 1 << 30;
	query_parse(head->query, &query);
	health_facts(&snap, 1, &facts);
	code = health_code(&snap, &facts, head->path, &query, NULL);
	if (code != 200 && code != 503)
		abort();
	code = readiness_code(&snap, &facts, &query, text, sizeof(text));
	if (code != 200 && code != 503)
		abort();
	code = schedule_parse(
	    head->path + 1, 0, "restart", &at, iso, text, sizeof(text));
	if (code == 0 && strlen(iso) < 25)
		abort();
	(void)allow_parse(head->path + 1, &allow);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct httpd_head head;
	size_t slice, have = 0, scanned = 0;
	char text[256], *buf;
	int n = 0;

	if (size < 2 || size > 200000)
		return 0;
	slice = data[0] == 0 ? size : data[0];
	data++;
	size--;
	if ((buf = malloc(size + 1)) == NULL)
		return 0;
	while (have < size && n == 0) {
		if (slice > size - have)
			slice = size - have;
		memcpy(buf + have, data + have, slice);
		have += slice;
		n = httpd_parse(buf, have, &scanned, &head, text, sizeof(text));
	}
	if (n == 1)
		use_head(&head, have);
	else if (n != 0 && n != -1 && (n > -400 || n < -599))
		abort();
	free(buf);
	return 0;
}
