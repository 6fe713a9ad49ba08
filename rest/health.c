/*
 * health.c: rules of spec/rest-api.md 6 and 7.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/values.h"
#include "health.h"

#define OK 200
#define NO 503

/* ttl before the first snapshot came: upstream's default. */
#define DEFAULT_TTL_NS (30 * NS_PER_SEC)

static enum pg_role
document_role(const struct msg_status *s, bool sql)
{
	if (!sql)
		return s->role;
	if (!s->in_recovery)
		return ROLE_PRIMARY;
	return s->standby_cluster ? s->role : ROLE_REPLICA;
}

/* Spec 5.1: the query is tried in these states alone. */
static bool
state_has_sql(enum pg_state st)
{
	return st == STATE_RUNNING || st == STATE_RESTARTING ||
	    st == STATE_STARTING;
}

void
health_facts(const struct snapshot *snap, int64_t now, struct facts *f)
{
	const struct msg_status *s = &snap->s;
	int64_t ttl;

	memset(f, 0, sizeof(*f));
	f->unlocked = true;
	f->state = STATE_UNKNOWN;
	f->role = ROLE_UNINITIALIZED;
	if (!snap->have)
		return;
	ttl = s->ttl_ns > 0 ? s->ttl_ns : DEFAULT_TTL_NS;
	f->fresh = now - s->stamp_ns <= 2 * ttl;
	f->leader = s->trusted_until_ns > now;
	f->failsafe = s->failsafe_until_ns > now;
	f->standby_cluster = s->standby_cluster != 0;
	f->pause = s->pause != 0;
	f->role = s->role;
	if (!f->fresh)
		return; /* nobody knows any more what PostgreSQL does */
	f->view = s->view_until_ns > now;
	f->unlocked = !f->view || s->cluster_unlocked;
	f->sql = s->sql_ok && state_has_sql(s->state);
	f->state = s->state;
	if (s->state == STATE_RUNNING && !f->sql)
		f->state = STATE_UNKNOWN;
	f->role = document_role(s, f->sql);
	if (f->sql && f->view && f->role == ROLE_REPLICA &&
	    !s->standby_cluster && s->sync_standby) {
		f->sync_standby = s->synchronous_mode == 1;
		f->quorum_standby = s->synchronous_mode == 2;
	}
}

uint32_t
facts_bits(const struct facts *f)
{
	return (uint32_t)f->fresh | (uint32_t)f->view << 1 |
	    (uint32_t)f->failsafe << 2;
}

const char *
query_get(const struct query *q, const char *key)
{
	uint32_t i;

	for (i = 0; i < q->n; i++)
		if (strcmp(q->v[i].key, key) == 0)
			return q->v[i].value;
	return NULL;
}

/* Percent and plus, in place.  False when a NUL would come out. */
static bool
decode(char *s)
{
	char *d = s;
	int hi, lo;

	for (; *s != '\0'; s++) {
		if (*s == '+') {
			*d++ = ' ';
			continue;
		}
		if (*s == '%' && (hi = hex_digit(s[1])) >= 0 &&
		    (lo = hex_digit(s[2])) >= 0) {
			if (hi == 0 && lo == 0)
				return false;
			*d++ = (char)(hi << 4 | lo);
			s += 2;
			continue;
		}
		*d++ = *s;
	}
	*d = '\0';
	return true;
}

void
query_parse(char *text, struct query *q)
{
	char *pair, *value, *save = NULL;

	q->n = 0;
	if (text == NULL)
		return;
	for (pair = strtok_r(text, "&", &save); pair != NULL;
	     pair = strtok_r(NULL, "&", &save)) {
		if (q->n == QUERY_MAX)
			return;
		if ((value = strchr(pair, '=')) == NULL)
			continue;
		*value++ = '\0';
		if (*value == '\0' || !decode(pair) || !decode(value))
			continue;
		if (query_get(q, pair) != NULL)
			continue;
		q->v[q->n].key = pair;
		q->v[q->n].value = value;
		q->n++;
	}
}

static uint64_t
leader_lsn(const struct snapshot *snap, const struct facts *f)
{
	uint64_t lsn = f->view ? snap->s.optime : 0;

	if (f->sql && snap->s.latest_end > lsn)
		lsn = snap->s.latest_end;
	return lsn;
}

static bool
lagging(const struct snapshot *snap, const struct facts *f, const char *lag)
{
	uint64_t replayed = 0, lsn = leader_lsn(snap, f);
	int64_t limit;

	if (lag == NULL || !value_int(lag, "B", &limit))
		return false;
	if (f->sql && snap->s.in_recovery && snap->s.replayed_known)
		replayed = snap->s.replayed_location;
	if (lsn == 0 || lsn <= replayed)
		return lsn != 0 && limit < 0 &&
		    replayed - lsn < (uint64_t)0 - (uint64_t)limit;
	if (limit < 0)
		return true;
	return lsn - replayed > (uint64_t)limit;
}

static int
replica_code(
    const struct snapshot *snap, const struct facts *f, const struct query *q)
{
	const char *want;

	if (f->leader && f->standby_cluster)
		return NO;
	if (snap->s.noloadbalance || f->role != ROLE_REPLICA ||
	    f->state != STATE_RUNNING)
		return NO;
	if (q->n == 0)
		return OK;
	want = query_get(q, "replication_state");
	if (want != NULL &&
	    strcmp(want, f->sql ? snap->s.replication_state : "") != 0)
		return NO;
	return lagging(snap, f, query_get(q, "lag")) ? NO : OK;
}

/* Spec 6.2, first matching case. */
static int
primary_code(const struct facts *f)
{
	if (!f->view && f->pause)
		return f->fresh && f->role == ROLE_PRIMARY ? OK : NO;
	return f->leader && !f->standby_cluster ? OK : NO;
}

static int
standby_leader_code(const struct facts *f)
{
	if (!f->view && f->pause)
		return f->fresh && f->role == ROLE_STANDBY_LEADER ? OK : NO;
	if (!f->leader || !f->standby_cluster || !f->fresh)
		return NO;
	return f->role == ROLE_REPLICA || f->role == ROLE_STANDBY_LEADER ? OK :
									   NO;
}

static int
leader_code(const struct facts *f)
{
	if (!f->view && f->pause)
		return f->fresh &&
			(f->role == ROLE_PRIMARY ||
			    f->role == ROLE_STANDBY_LEADER) ?
		    OK :
		    NO;
	return f->leader ? OK : NO;
}

static bool
any_leader(const struct facts *f)
{
	return primary_code(f) == OK || standby_leader_code(f) == OK;
}

/* Spec 6.4.  The value of a tag as text equals the query's. */
static bool
tag_equals(const struct tree *tag, const char *want)
{
	char text[256];
	size_t i;

	if (tag == NULL || tag->type == TREE_NULL)
		return false;
	if (tag->type == TREE_TEXT)
		return strcmp(tag->u.s, want) == 0;
	if (tag->type == TREE_LIST || tag->type == TREE_MAP)
		return false;
	if (tree_scalar_text(tag, text, sizeof(text)) >= (int)sizeof(text))
		return false;
	for (i = 0; text[i] != '\0'; i++)
		if (text[i] >= 'A' && text[i] <= 'Z')
			text[i] = (char)(text[i] - 'A' + 'a');
	return strcmp(text, want) == 0;
}

static int
tag_filter(int code, const struct query *q, const struct tree *tags)
{
	uint32_t i;

	for (i = 0; code == OK && i < q->n; i++) {
		if (strncmp(q->v[i].key, "tag_", 4) != 0)
			continue;
		if (!tag_equals(tree_get(tags, q->v[i].key + 4), q->v[i].value))
			return NO;
	}
	return code;
}

/* Rows 8 to 13: exact names. */
static int
exact_code(const struct snapshot *snap, const struct facts *f, const char *path,
    const struct query *q)
{
	bool ro;

	if (!f->view)
		return NO;
	if (strcmp(path, "/sync") == 0 || strcmp(path, "/synchronous") == 0)
		return f->sync_standby ? replica_code(snap, f, q) : NO;
	if (strcmp(path, "/quorum") == 0)
		return f->quorum_standby ? replica_code(snap, f, q) : NO;
	if (strcmp(path, "/async") == 0 || strcmp(path, "/asynchronous") == 0)
		return f->sync_standby || f->quorum_standby ?
		    NO :
		    replica_code(snap, f, q);
	ro = strcmp(path, "/read-only-quorum") == 0;
	if (!ro && strcmp(path, "/read-only-sync") != 0 &&
	    strcmp(path, "/read-only-synchronous") != 0)
		return NO;
	if (any_leader(f))
		return OK;
	if (!(ro ? f->quorum_standby : f->sync_standby))
		return NO;
	return replica_code(snap, f, q);
}

int
health_code(const struct snapshot *snap, const struct facts *f,
    const char *path, const struct query *q, const struct tree *tags)
{
	int code;

	if (strcmp(path, "/") == 0)
		return primary_code(f);
	if (strstr(path, "standby_leader") != NULL ||
	    strstr(path, "standby-leader") != NULL)
		return standby_leader_code(f);
	if (strstr(path, "leader") != NULL)
		return leader_code(f);
	if (strstr(path, "master") != NULL || strstr(path, "primary") != NULL ||
	    strstr(path, "read-write") != NULL)
		return primary_code(f);
	if (strstr(path, "replica") != NULL)
		code = replica_code(snap, f, q);
	else if (strstr(path, "read-only") != NULL &&
	    strstr(path, "sync") == NULL && strstr(path, "quorum") == NULL)
		code = any_leader(f) ? OK : replica_code(snap, f, q);
	else if (strstr(path, "health") != NULL)
		code = f->state == STATE_RUNNING ? OK : NO;
	else
		code = exact_code(snap, f, path, q);
	return tag_filter(code, q, tags);
}

int
liveness_code(const struct snapshot *snap, int64_t now)
{
	const struct msg_status *s = &snap->s;
	int64_t k = 2, ttl;

	if (!snap->have)
		return snap->started_ns + k * DEFAULT_TTL_NS > now ? OK : NO;
	if (s->pause)
		return OK;
	if (s->role == ROLE_PRIMARY && s->postmaster_running)
		k = 1;
	ttl = s->ttl_ns > 0 ? s->ttl_ns : DEFAULT_TTL_NS;
	return s->next_run_ns + k * ttl > now ? OK : NO;
}

int
readiness_code(const struct snapshot *snap, const struct facts *f,
    const struct query *q, char *reason, size_t size)
{
	const struct msg_status *s = &snap->s;
	const char *mode = query_get(q, "mode"), *text = query_get(q, "lag");
	uint64_t lsn, location;
	int64_t limit, lag;
	bool written;

	reason[0] = '\0';
	if (f->leader)
		return OK;
	if (!f->fresh || s->state != STATE_RUNNING) {
		snprintf(reason, size, "PostgreSQL is not running");
		return NO;
	}
	if (!f->sql || strcmp(s->replication_state, "streaming") != 0) {
		snprintf(reason, size,
		    "PostgreSQL replication state is not streaming");
		return NO;
	}
	if (!f->view && s->latest_end == 0) {
		if (f->failsafe)
			return OK;
		snprintf(reason, size, "DCS is not accessible");
		return NO;
	}
	written = mode != NULL && strcmp(mode, "write") == 0;
	location = written    ? s->received_location :
	    s->replayed_known ? s->replayed_location :
				0;
	if (text == NULL || !value_int(text, "B", &limit))
		limit = s->maximum_lag_on_failover;
	lsn = leader_lsn(snap, f);
	lag = (int64_t)(lsn - location);
	if (lag <= limit)
		return OK;
	snprintf(reason, size,
	    "Replication %s lag %" PRId64 " exceeds maximum allowable %" PRId64,
	    written ? "write" : "apply", lag, limit);
	return NO;
}
