/*
 * decode.c: keys of the store -> struct view, except the member documents
 * (decode_member.c).
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "decode.h"
#include "decode_member.h"
#include "json.h"

static const char *const key_paths[DCS_KEY_COUNT] = {
	[DCS_KEY_INITIALIZE] = "initialize",
	[DCS_KEY_CONFIG] = "config",
	[DCS_KEY_LEADER] = "leader",
	[DCS_KEY_STATUS] = "status",
	[DCS_KEY_OPTIME] = "optime/leader",
	[DCS_KEY_SYNC] = "sync",
	[DCS_KEY_FAILOVER] = "failover",
	[DCS_KEY_HISTORY] = "history",
	[DCS_KEY_FAILSAFE] = "failsafe",
	[DCS_KEY_MEMBER] = "members/",
};

const char *
dcs_key_path(enum dcs_key key)
{
	return key_paths[key];
}

bool
dcs_key_parse(const char *path, enum dcs_key *key, const char **member)
{
	size_t n = strlen(key_paths[DCS_KEY_MEMBER]);
	int i;

	*member = NULL;
	if (strncmp(path, key_paths[DCS_KEY_MEMBER], n) == 0) {
		if (path[n] == '\0' || strchr(path + n, '/') != NULL)
			return false;
		*key = DCS_KEY_MEMBER;
		*member = path + n;
		return true;
	}
	for (i = 0; i < DCS_KEY_MEMBER; i++)
		if (strcmp(path, key_paths[i]) == 0) {
			*key = (enum dcs_key)i;
			return true;
		}
	return false;
}

/* Value as a C text within a field; false when it does not fit. */
static bool
value_text(const struct dcs_kv *kv, char *dst, size_t size)
{
	dst[0] = '\0';
	if (kv->len >= size || memchr(kv->value, '\0', kv->len) != NULL)
		return false;
	memcpy(dst, kv->value, kv->len);
	dst[kv->len] = '\0';
	return true;
}

static void
decode_initialize(struct view *v, const struct dcs_kv *kv)
{
	size_t i;

	v->has_initialize = 1;
	/* "" would mean a bootstrap in progress, so a text that cannot be held
	 * becomes one that is merely invalid. */
	if (!value_text(kv, v->initialize, sizeof(v->initialize)))
		text_set(v->initialize, sizeof(v->initialize), "invalid");
	v->initialize_valid = kv->len >= 10;
	for (i = 0; v->initialize[i] != '\0'; i++)
		if (!isdigit((unsigned char)v->initialize[i]))
			v->initialize_valid = 0;
}

static bool
decode_config(struct view *v, const struct dcs_kv *kv)
{
	json_t *j = NULL;

	v->has_config = 1;
	v->config_token = kv->token;
	if (kv->len <= MAX_DOCUMENT)
		j = jansson_parse(kv->value, kv->len, NULL, 0);
	if (json_is_object(j))
		v->config = tree_from_jansson(j);
	if (v->config != NULL)
		v->config_modify = kv->modify;
	else
		v->config = tree_map();
	json_decref(j);
	return v->config != NULL;
}

/* An object, also when it is JSON text inside a JSON string; new reference. */
static json_t *
unwrap(json_t *j)
{
	if (json_is_string(j))
		return jansson_parse(
		    json_string_value(j), json_string_length(j), NULL, 0);
	return json_incref(j);
}

static void
decode_status_slots(struct view *v, json_t *j)
{
	const char *key;
	json_t *slots, *item;
	int64_t lsn;

	slots = unwrap(json_object_get(j, "slots"));
	if (json_is_object(slots) &&
	    (v->slots = calloc(
		 json_object_size(slots) + 1, sizeof(*v->slots))) != NULL) {
		v->slots_known = 1;
		json_object_foreach(slots, key, item)
		{
			struct view_slot *s = &v->slots[v->nslots];

			if (v->nslots == MAX_SLOTS ||
			    !text_set(s->name, sizeof(s->name), key)) {
				log_warn(
				    "ignoring slot \"%.64s\" of the status key",
				    key);
				continue;
			}
			lsn = 0;
			if (!json_lenient_int(item, &lsn) || lsn < 0)
				lsn = 0;
			s->lsn = (uint64_t)lsn;
			v->nslots++;
		}
	}
	json_decref(slots);
}

static void
decode_retain_slots(struct view *v, json_t *j)
{
	json_t *list;
	const char *s;
	size_t i;

	list = unwrap(json_object_get(j, "retain_slots"));
	if (json_is_array(list) && json_array_size(list) <= MAX_SLOTS &&
	    (v->retain_slots = calloc(
		 json_array_size(list) + 1, sizeof(*v->retain_slots))) != NULL)
		for (i = 0; i < json_array_size(list); i++) {
			s = json_string_value(json_array_get(list, i));
			if (s != NULL &&
			    text_set(v->retain_slots[v->nretain],
				sizeof(*v->retain_slots), s))
				v->nretain++;
		}
	json_decref(list);
}

static void
decode_status(struct view *v, const struct dcs_kv *kv)
{
	json_t *j;
	int64_t lsn = 0;

	v->has_status = 1;
	j = jansson_parse(kv->value, kv->len, NULL, 0);
	if (json_is_object(j)) {
		if (json_lenient_int(json_object_get(j, "optime"), &lsn) &&
		    lsn > 0)
			v->optime = (uint64_t)lsn;
		decode_status_slots(v, j);
		decode_retain_slots(v, j);
	} else if (json_lenient_int(j, &lsn) && lsn > 0)
		v->optime = (uint64_t)lsn;
	json_decref(j);
}

static void
decode_optime(struct view *v, const struct dcs_kv *kv)
{
	char text[WORD_SIZE];
	int64_t lsn;

	v->has_status = 1;
	if (value_text(kv, text, sizeof(text)) &&
	    text_lenient_int(text, &lsn) && lsn > 0)
		v->optime = (uint64_t)lsn;
}

/* Copy text without the blanks around it. */
static bool
trimmed(char *dst, size_t size, const char *s, size_t n)
{
	while (n > 0 && isspace((unsigned char)s[0]))
		s++, n--;
	while (n > 0 && isspace((unsigned char)s[n - 1]))
		n--;
	if (n >= size) {
		dst[0] = '\0';
		return false;
	}
	memcpy(dst, s, n);
	dst[n] = '\0';
	return true;
}

static bool
decode_voters(struct view *v, const char *s)
{
	size_t cap = 1, n;
	const char *p;

	for (p = s; *p != '\0'; p++)
		cap += *p == ',';
	if (cap > 4096 ||
	    (v->sync_standby = calloc(cap, sizeof(*v->sync_standby))) == NULL)
		return false;
	for (p = s;; p += n + 1) {
		n = strcspn(p, ",");
		if (!trimmed(v->sync_standby[v->nsync_standby],
			sizeof(*v->sync_standby), p, n))
			return false;
		if (v->sync_standby[v->nsync_standby][0] != '\0')
			v->nsync_standby++;
		if (p[n] == '\0')
			return v->nsync_standby <= MAX_MEMBERS;
	}
}

static bool
decode_sync_fields(struct view *v, const json_t *j)
{
	const char *s;
	const json_t *q;
	int64_t quorum = 0;

	s = json_text(j, "leader");
	if (s == NULL || s[0] == '\0')
		return true;
	q = json_object_get(j, "quorum");
	if (q != NULL && !json_is_null(q) &&
	    (!json_lenient_int(q, &quorum) || quorum < 0 ||
		quorum > UINT32_MAX))
		return false;
	if (!text_set(v->sync_leader, sizeof(v->sync_leader), s))
		return false;
	v->sync_quorum = (uint32_t)quorum;
	s = json_text(j, "sync_standby");
	return s == NULL || decode_voters(v, s);
}

static void
decode_sync(struct view *v, const struct dcs_kv *kv)
{
	json_t *j;

	v->has_sync = 1;
	v->sync_token = kv->token;
	j = jansson_parse(kv->value, kv->len, NULL, 0);
	if (json_is_object(j) && !decode_sync_fields(v, j)) {
		/* one bad field makes the whole state empty */
		v->sync_leader[0] = '\0';
		v->sync_quorum = 0;
		v->nsync_standby = 0;
		log_warn("the sync key cannot be used: %.*s",
		    (int)(kv->len < 200 ? kv->len : 200), kv->value);
	}
	json_decref(j);
}

static int
digits(const char **p, int count)
{
	int i, v = 0;

	for (i = 0; i < count; i++) {
		if (!isdigit((unsigned char)**p))
			return -1;
		v = v * 10 + (*(*p)++ - '0');
	}
	return v;
}

/* "Z", "+hh", "+hhmm", "+hh:mm[:ss]" → seconds east; false: malformed. */
static bool
parse_zone(const char *p, bool *zone, int64_t *offset)
{
	int sign, h, m = 0, s = 0;

	*offset = 0;
	*zone = false;
	while (*p == ' ')
		p++;
	if (*p == '\0')
		return true;
	*zone = true;
	if ((*p == 'Z' || *p == 'z') && p[1] == '\0')
		return true;
	if (strcmp(p, "UTC") == 0 || strcmp(p, "GMT") == 0)
		return true;
	if (*p != '+' && *p != '-')
		return false;
	sign = *p++ == '-' ? -1 : 1;
	if ((h = digits(&p, 2)) < 0 || h > 23)
		return false;
	if (*p == ':')
		p++;
	if (*p != '\0' && ((m = digits(&p, 2)) < 0 || m > 59))
		return false;
	if (*p == ':' && (p++, (s = digits(&p, 2)) < 0))
		return false;
	*offset = sign * (h * 3600 + m * 60 + s);
	return *p == '\0';
}

bool
decode_time(const char *p, int64_t *us, bool *zone)
{
	struct tm tm = { 0 };
	int64_t offset, scale = 100000, fraction = 0;
	int v;

	*zone = false;
	if ((v = digits(&p, 4)) < 1)
		return false;
	tm.tm_year = v - 1900;
	if (*p == '-')
		p++;
	if ((v = digits(&p, 2)) < 1 || v > 12)
		return false;
	tm.tm_mon = v - 1;
	if (*p == '-')
		p++;
	if ((v = digits(&p, 2)) < 1 || v > 31)
		return false;
	tm.tm_mday = v;
	if (*p == 'T' || *p == 't' || *p == ' ') {
		p++;
		if ((tm.tm_hour = digits(&p, 2)) < 0 || tm.tm_hour > 23)
			return false;
		if (*p == ':')
			p++;
		if ((tm.tm_min = digits(&p, 2)) < 0 || tm.tm_min > 59)
			return false;
		if (*p == ':')
			p++;
		if (isdigit((unsigned char)*p) &&
		    ((tm.tm_sec = digits(&p, 2)) < 0 || tm.tm_sec > 60))
			return false;
		if (*p == '.' || *p == ',')
			for (p++; isdigit((unsigned char)*p); p++) {
				fraction += scale * (*p - '0');
				scale /= 10;
			}
	} else if (*p != '\0')
		return false;
	if (!parse_zone(p, zone, &offset))
		return false;
	v = tm.tm_mday;
	*us = (timegm(&tm) - offset) * 1000000 + fraction;
	return tm.tm_mday == v; /* 30 February was normalized away */
}

static bool
decode_failover_json(struct view *v, const json_t *j)
{
	const json_t *at;
	const char *s;
	bool zone;

	if ((s = json_text(j, "leader")) != NULL &&
	    !text_set(v->failover_leader, sizeof(v->failover_leader), s))
		return false;
	if ((s = json_text(j, "member")) != NULL &&
	    !text_set(v->failover_member, sizeof(v->failover_member), s))
		return false;
	at = json_object_get(j, "scheduled_at");
	if (!json_truthy(at))
		return true;
	v->failover_scheduled = 1;
	s = json_string_value(at);
	if (s == NULL || !text_set(v->failover_at, sizeof(v->failover_at), s) ||
	    !decode_time(s, &v->failover_at_us, &zone) || !zone)
		v->failover_schedule_bad = 1;
	return true;
}

static bool
decode_failover_plain(struct view *v, const struct dcs_kv *kv)
{
	char text[2 * NAME_SIZE + 16];
	const char *member = "";
	size_t n;

	if (!value_text(kv, text, sizeof(text)))
		return false;
	n = strcspn(text, ":");
	if (text[n] == ':')
		member = text + n + 1;
	return trimmed(
		   v->failover_leader, sizeof(v->failover_leader), text, n) &&
	    trimmed(v->failover_member, sizeof(v->failover_member), member,
		strcspn(member, ":"));
}

static void
decode_failover(struct view *v, const struct dcs_kv *kv)
{
	json_t *j;
	bool ok = true;

	v->has_failover = 1;
	v->failover_token = kv->token;
	j = jansson_parse(kv->value, kv->len, NULL, 0);
	if (json_is_object(j))
		ok = decode_failover_json(v, j);
	else if (j == NULL && kv->len > 0)
		ok = decode_failover_plain(v, kv);
	if (!ok) {
		/* half a request must never be acted on */
		v->failover_leader[0] = v->failover_member[0] = '\0';
		log_warn("ignoring the failover key: a name is too long");
	}
	json_decref(j);
}

static void
decode_history_line(struct view *v, const json_t *line)
{
	struct view_history *h = &v->history[v->nhistory++];
	const char *s;
	int64_t n;

	h->elements = (uint32_t)json_array_size(line);
	if (json_lenient_int(json_array_get(line, 0), &n) && n > 0 &&
	    n < UINT32_MAX)
		h->timeline = (uint32_t)n;
	if (json_lenient_int(json_array_get(line, 1), &n) && n >= 0)
		h->lsn = (uint64_t)n;
	if ((s = json_string_value(json_array_get(line, 2))) != NULL)
		text_set(h->reason, sizeof(h->reason), s);
	if ((s = json_string_value(json_array_get(line, 3))) != NULL)
		text_set(h->timestamp, sizeof(h->timestamp), s);
	if ((s = json_string_value(json_array_get(line, 4))) != NULL)
		text_set(h->new_leader, sizeof(h->new_leader), s);
}

static void
decode_history(struct view *v, const struct dcs_kv *kv)
{
	const struct view_history *last;
	size_t i, n;
	json_t *j;

	v->has_history = 1;
	j = jansson_parse(kv->value, kv->len, NULL, 0);
	if (!json_is_array(j))
		goto out;
	n = json_array_size(j);
	if (n == 0) {
		v->timeline = 1;
		goto out;
	}
	i = n > MAX_HISTORY ? n - MAX_HISTORY : 0;
	if ((v->history = calloc(n - i, sizeof(*v->history))) == NULL)
		goto out;
	for (; i < n; i++)
		decode_history_line(v, json_array_get(j, i));
	last = &v->history[v->nhistory - 1];
	if (last->timeline > 0)
		v->timeline = last->timeline + 1;
	else
		log_error("cannot read the last line of the history key");
out:
	json_decref(j);
}

static void
decode_failsafe(struct view *v, const struct dcs_kv *kv)
{
	const char *key, *url;
	json_t *j, *item;

	if ((j = jansson_parse(kv->value, kv->len, NULL, 0)) == NULL)
		return;
	v->has_failsafe = 1;
	v->failsafe_object = json_is_object(j);
	if (v->failsafe_object &&
	    (v->failsafe = calloc(
		 json_object_size(j) + 1, sizeof(*v->failsafe))) != NULL)
		json_object_foreach(j, key, item)
		{
			struct view_failsafe *f = &v->failsafe[v->nfailsafe];

			url = json_string_value(item);
			/* every name counts in the vote: one that cannot be
			 * held makes the object unusable */
			if (v->nfailsafe == MAX_MEMBERS ||
			    !text_set(f->name, sizeof(f->name), key) ||
			    !text_set(f->api_url, sizeof(f->api_url),
				url == NULL ? "" : url)) {
				v->failsafe_object = 0;
				v->nfailsafe = 0;
				break;
			}
			v->nfailsafe++;
		}
	json_decref(j);
}

static bool
decode_leader(struct view *v, const struct dcs_kv *kv)
{
	v->has_leader = 1;
	v->leader_token = kv->token;
	text_set(v->leader_session, sizeof(v->leader_session), kv->session);
	return value_text(kv, v->leader, sizeof(v->leader));
}

/* False: the load as a whole has failed. */
static bool
decode_key(struct view *v, const struct dcs_kv *kv, char *err, size_t errlen)
{
	switch (kv->key) {
	case DCS_KEY_INITIALIZE:
		decode_initialize(v, kv);
		break;
	case DCS_KEY_CONFIG:
		if (!decode_config(v, kv)) {
			snprintf(err, errlen, "out of memory");
			return false;
		}
		break;
	case DCS_KEY_LEADER:
		if (!decode_leader(v, kv)) {
			/* reading it as unlocked would be a second leader */
			snprintf(err, errlen,
			    "the name in the leader key is too long");
			return false;
		}
		break;
	case DCS_KEY_STATUS:
		decode_status(v, kv);
		break;
	case DCS_KEY_SYNC:
		decode_sync(v, kv);
		break;
	case DCS_KEY_FAILOVER:
		decode_failover(v, kv);
		break;
	case DCS_KEY_HISTORY:
		decode_history(v, kv);
		break;
	case DCS_KEY_FAILSAFE:
		decode_failsafe(v, kv);
		break;
	case DCS_KEY_MEMBER:
		if (v->nmembers == MAX_MEMBERS)
			log_warn("ignoring member %.64s: more than %d members",
			    kv->member, MAX_MEMBERS);
		else if (decode_member(kv, &v->members[v->nmembers]))
			v->nmembers++;
		break;
	case DCS_KEY_OPTIME:
	case DCS_KEY_COUNT:
		break;
	}
	return true;
}

static int
member_cmp(const void *a, const void *b)
{
	return strcmp(((const struct view_member *)a)->name,
	    ((const struct view_member *)b)->name);
}

void
view_stamp(struct view *v)
{
	v->loaded_wall_us = clock_wall_us();
	v->loaded_ns = clock_boot_ns();
}

struct view *
decode_view(const struct dcs_kv *kv, size_t n, char *err, size_t errlen)
{
	const struct dcs_kv *optime = NULL;
	size_t i, members = 0;
	uint32_t seen = 0;
	struct view *v;

	for (i = 0; i < n; i++)
		members += kv[i].key == DCS_KEY_MEMBER;
	if (members > MAX_MEMBERS)
		members = MAX_MEMBERS;
	if ((v = view_new()) == NULL ||
	    (v->members = calloc(members + 1, sizeof(*v->members))) == NULL) {
		view_free(v);
		snprintf(err, errlen, "out of memory");
		return NULL;
	}
	for (i = 0; i < n; i++) {
		if (kv[i].key == DCS_KEY_OPTIME)
			optime = &kv[i];
		if (kv[i].key != DCS_KEY_MEMBER) {
			if (seen & (1u << kv[i].key))
				continue; /* no store has a key twice */
			seen |= 1u << kv[i].key;
		}
		if (!decode_key(v, &kv[i], err, errlen)) {
			view_free(v);
			return NULL;
		}
	}
	if (!v->has_status && optime != NULL)
		decode_optime(v, optime);
	qsort(v->members, v->nmembers, sizeof(*v->members), member_cmp);
	view_stamp(v);
	return v;
}
