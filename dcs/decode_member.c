/*
 * decode_member.c: member documents, spec/dcs.md 2.6, the old URL form
 * included.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/values.h"
#include "../ipc/log.h"
#include "decode_member.h"
#include "json.h"

static bool
field(const json_t *j, const char *key, char *dst, size_t size)
{
	const char *s = json_text(j, key);

	return s == NULL || text_set(dst, size, s);
}

static uint64_t
lsn_of(const json_t *j, const char *key, uint8_t *has)
{
	int64_t n;

	if (!json_lenient_int(json_object_get(j, key), &n) || n < 0)
		return 0;
	if (has != NULL)
		*has = 1;
	return (uint64_t)n;
}

static struct tree *
map_of(const json_t *j, const char *key)
{
	const json_t *v = json_object_get(j, key);

	return json_is_object(v) ? tree_from_jansson(v) : NULL;
}

/* Compare a dotted version with 1.5.6; unknown counts as not newer. */
static bool
newer_than_1_5_6(const char *s)
{
	static const long old[3] = { 1, 5, 6 };
	char *end;
	long v;
	int i, order = 0;

	for (i = 0; *s != '\0'; i++) {
		v = strtol(s, &end, 10);
		if (end == s || v < 0 || (*end != '.' && *end != '\0'))
			return false;
		if (order == 0)
			order = i < 3 ? (v > old[i]) - (v < old[i]) : v > 0;
		s = *end == '.' ? end + 1 : end;
	}
	/* a longer version with the same beginning is newer */
	return order > 0 || (order == 0 && i > 3);
}

static void
checkpoint_state(const json_t *j, struct view_member *m)
{
	const json_t *c = json_object_get(j, "checkpoint_after_promote");

	if (!newer_than_1_5_6(m->version))
		m->checkpoint_after_promote = CAP_UNKNOWN;
	else if (c != NULL)
		m->checkpoint_after_promote =
		    json_is_true(c) ? CAP_DONE : CAP_PENDING;
	else if (strcmp(m->role, "primary") == 0 ||
	    strcmp(m->role, "master") == 0)
		m->checkpoint_after_promote = CAP_DONE;
}

static bool
member_json(const json_t *j, struct view_member *m)
{
	int64_t n;

	if (!field(j, "conn_url", m->conn_url, sizeof(m->conn_url)) ||
	    !field(j, "api_url", m->api_url, sizeof(m->api_url)) ||
	    !field(j, "proxy_url", m->proxy_url, sizeof(m->proxy_url)) ||
	    !field(j, "state", m->state, sizeof(m->state)) ||
	    !field(j, "role", m->role, sizeof(m->role)) ||
	    !field(j, "version", m->version, sizeof(m->version)) ||
	    !field(j, "replication_state", m->replication_state,
		sizeof(m->replication_state)))
		return false;
	m->has_data = 1;
	m->xlog_location = lsn_of(j, "xlog_location", &m->has_xlog_location);
	m->receive_lsn = lsn_of(j, "receive_lsn", NULL);
	m->replay_lsn = lsn_of(j, "replay_lsn", NULL);
	if (json_lenient_int(json_object_get(j, "timeline"), &n) && n > 0 &&
	    n <= UINT32_MAX)
		m->timeline = (uint32_t)n;
	/* of a copy being made; other programs do not publish it */
	if (json_lenient_int(
		json_object_get(json_object_get(j, "progress"), "percent"),
		&n) &&
	    n >= 0 && n <= 100)
		m->copied = (uint8_t)(n + 1);
	checkpoint_state(j, m);
	m->pause = json_truthy(json_object_get(j, "pause"));
	m->pending_restart = json_truthy(json_object_get(j, "pending_restart"));
	m->tags_doc = map_of(j, "tags");
	tags_parse(m->tags_doc, &m->tags);
	m->pending_restart_reason = map_of(j, "pending_restart_reason");
	m->scheduled_restart = map_of(j, "scheduled_restart");
	return true;
}

/* Percent-decode n bytes into dst. */
static bool
unescape(char *dst, size_t size, const char *s, size_t n)
{
	size_t i, o = 0;
	char c;

	for (i = 0; i < n; i++) {
		c = s[i] == '+' ? ' ' : s[i];
		if (c == '%' && i + 2 < n && hex_digit(s[i + 1]) >= 0 &&
		    hex_digit(s[i + 2]) >= 0) {
			c = (char)(hex_digit(s[i + 1]) * 16 +
			    hex_digit(s[i + 2]));
			i += 2;
		}
		if (o + 1 >= size || c == '\0')
			return false;
		dst[o++] = c;
	}
	dst[o] = '\0';
	return true;
}

/* postgres://user:pw@host:port/db?application_name=<api_url> */
static bool
member_url(const char *s, size_t len, struct view_member *m)
{
	static const char key[] = "application_name=";
	const char *q, *end = s + len, *amp;

	q = memchr(s, '?', len);
	if ((size_t)((q == NULL ? end : q) - s) >= sizeof(m->conn_url))
		return false;
	memcpy(m->conn_url, s, (size_t)((q == NULL ? end : q) - s));
	m->has_data = 1;
	while (q != NULL && ++q < end) {
		amp = memchr(q, '&', (size_t)(end - q));
		if (amp == NULL)
			amp = end;
		if ((size_t)(amp - q) >= sizeof(key) - 1 &&
		    memcmp(q, key, sizeof(key) - 1) == 0)
			return unescape(m->api_url, sizeof(m->api_url),
			    q + sizeof(key) - 1,
			    (size_t)(amp - q) - (sizeof(key) - 1));
		q = amp == end ? NULL : amp;
	}
	return true;
}

bool
decode_member(const struct dcs_kv *kv, struct view_member *m)
{
	json_t *j = NULL;
	bool ok = true;

	memset(m, 0, sizeof(*m));
	tags_parse(NULL, &m->tags);
	m->token = kv->token;
	text_set(m->state, sizeof(m->state), "unknown");
	text_set(m->session, sizeof(m->session), kv->session);
	if (!text_set(m->name, sizeof(m->name), kv->member))
		ok = false;
	else if (kv->len >= 8 && memcmp(kv->value, "postgres", 8) == 0)
		ok = memchr(kv->value, '\0', kv->len) == NULL &&
		    member_url(kv->value, kv->len, m);
	else {
		j = jansson_parse(kv->value, kv->len, NULL, 0);
		if (json_is_object(j))
			ok = member_json(j, m);
	}
	json_decref(j);
	if (!ok)
		log_warn("ignoring member \"%.200s\": a field is too long",
		    kv->member);
	return ok;
}
