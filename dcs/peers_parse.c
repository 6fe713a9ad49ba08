/*
 * peers_parse.c: answers and addresses of peers as text; no I/O.
 */
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "peers.h"

/* Missing counts as 0; null and foreign types are errors. */
static bool
lsn_field(const json_t *wal, const char *key, uint64_t *out)
{
	const json_t *v = json_object_get(wal, key);
	int64_t n;

	*out = 0;
	if (v == NULL)
		return true;
	if (!json_is_number(v) || !json_lenient_int(v, &n) || n < 0)
		return false;
	*out = (uint64_t)n;
	return true;
}

static const char *
parse_wal(const json_t *j, const json_t *wal, struct peer_status *p)
{
	uint64_t location, received, replayed;
	const char *role = json_text(j, "role");

	if (!lsn_field(wal, "location", &location) ||
	    !lsn_field(wal, "received_location", &received) ||
	    !lsn_field(wal, "replayed_location", &replayed))
		return "an LSN in it is not a number";
	p->runs_as_primary = location != 0 ||
	    (role != NULL &&
		(strcmp(role, "primary") == 0 || strcmp(role, "master") == 0));
	if (!p->runs_as_primary)
		p->position = received > replayed ? received : replayed;
	return NULL;
}

static const char *
parse_object(const json_t *j, struct peer_status *p)
{
	const json_t *wal, *tags;
	const char *error;
	struct tree *map;
	int64_t n;

	wal = json_object_get(j, "wal");
	if (!json_is_object(wal) || json_object_size(wal) == 0)
		wal = json_object_get(j, "xlog");
	if (!json_is_object(wal) || json_object_size(wal) == 0)
		return "neither wal nor xlog in the answer";
	if ((error = parse_wal(j, wal, p)) != NULL)
		return error;
	if (json_lenient_int(json_object_get(j, "timeline"), &n) && n > 0 &&
	    n <= UINT32_MAX)
		p->timeline = (uint32_t)n;
	p->watchdog_failed = json_truthy(json_object_get(j, "watchdog_failed"));
	tags = json_object_get(j, "tags");
	p->has_tags = json_is_object(tags);
	map = p->has_tags ? tree_from_jansson(tags) : NULL;
	tags_parse(map, &p->tags);
	tree_free(map);
	p->reachable = 1;
	return NULL;
}

const char *
peer_parse(const char *body, size_t len, struct peer_status *p)
{
	json_t *j = jansson_parse(body, len, NULL, 0);
	const char *error = "the answer is not a JSON object";

	if (json_is_object(j))
		error = parse_object(j, p);
	json_decref(j);
	return error;
}

bool
peer_url(const char *url, const char *path, char *out, size_t size)
{
	const char *p = strstr(url, "://");
	size_t n;
	int len;

	if (p == NULL ||
	    (strncmp(url, "http://", 7) != 0 &&
		strncmp(url, "https://", 8) != 0))
		return false;
	n = strcspn(p + 3, "/?#");
	if (n == 0)
		return false;
	len = snprintf(
	    out, size, "%.*s%s", (int)((size_t)(p - url) + 3 + n), url, path);
	return len > 0 && (size_t)len < size;
}
