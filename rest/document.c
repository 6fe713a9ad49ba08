/*
 * document.c: status document, /cluster, /history, /failsafe.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../ipc/values.h"
#include "document.h"

/* ---- status document (5.3, 5.4) ---- */

static void
add_xlog(struct buf *b, bool *first, const struct msg_status *s)
{
	bool in = true;

	buf_json_key(b, first, "xlog");
	buf_text(b, "{");
	if (!s->in_recovery) {
		buf_json_set_uint(b, &in, "location", s->xlog_location);
		buf_text(b, "}");
		return;
	}
	buf_json_set_uint(b, &in, "received_location", s->received_location);
	if (s->replayed_known)
		buf_json_set_uint(
		    b, &in, "replayed_location", s->replayed_location);
	else
		buf_json_set_tree(b, &in, "replayed_location", NULL);
	if (s->replayed_timestamp[0] != '\0')
		buf_json_set_text(
		    b, &in, "replayed_timestamp", s->replayed_timestamp);
	else
		buf_json_set_tree(b, &in, "replayed_timestamp", NULL);
	buf_json_key(b, &in, "paused");
	buf_text(b, s->replay_paused ? "true}" : "false}");
}

static void
add_sql_keys(struct buf *b, bool *first, const struct snapshot *snap,
    const struct facts *f)
{
	const struct msg_status *s = &snap->s;
	const struct tree *senders;

	buf_json_set_int(b, first, "server_version", s->server_version);
	add_xlog(b, first, s);
	if (f->sync_standby)
		buf_json_set_true(b, first, "sync_standby");
	if (f->quorum_standby)
		buf_json_set_true(b, first, "quorum_standby");
	if (s->timeline != 0)
		buf_json_set_int(b, first, "timeline", s->timeline);
	else
		buf_json_set_tree(b, first, "timeline", NULL);
	if (s->in_recovery && s->replication_state[0] != '\0')
		buf_json_set_text(
		    b, first, "replication_state", s->replication_state);
	senders = tree_get(snap->doc, "replication");
	if (tree_count(senders) > 0)
		buf_json_set_tree(b, first, "replication", senders);
}

static void
add_patroni(struct buf *b, bool *first, const struct document_names *names)
{
	bool in = true;

	buf_json_key(b, first, "patroni");
	buf_text(b, "{");
	buf_json_set_text(b, &in, "version", COMPAT_VERSION);
	buf_json_set_text(b, &in, "scope", names->scope);
	buf_json_set_text(b, &in, "name", names->name);
	buf_text(b, "}");
}

/* The member key's form, but for the start time that only the key carries. */
static void
add_scheduled_restart(struct buf *b, bool *first, const struct tree *t)
{
	const struct tree *c;
	bool in = true;
	uint32_t i;

	if (tree_count(t) == 0)
		return;
	buf_json_key(b, first, "scheduled_restart");
	buf_text(b, "{");
	for (i = 0; i < tree_count(t); i++) {
		c = tree_child(t, i);
		if (c->key == NULL ||
		    strcmp(c->key, "postmaster_start_time") == 0)
			continue;
		buf_json_set_tree(b, &in, c->key, c);
	}
	buf_text(b, "}");
}

static void
add_common_keys(struct buf *b, bool *first, const struct snapshot *snap,
    const struct facts *f, const struct document_names *names,
    const struct tree *tags)
{
	const struct msg_status *s = &snap->s;
	const struct tree *own = tree_get(snap->doc, "tags");

	if (f->pause)
		buf_json_set_true(b, first, "pause");
	if (f->unlocked)
		buf_json_set_true(b, first, "cluster_unlocked");
	if (f->failsafe)
		buf_json_set_true(b, first, "failsafe_mode_is_active");
	buf_json_set_int(b, first, "dcs_last_seen", s->dcs_last_seen);
	if (own == NULL)
		own = tags;
	if (tree_count(own) > 0)
		buf_json_set_tree(b, first, "tags", own);
	if (s->sysid[0] != '\0')
		buf_json_set_text(
		    b, first, "database_system_identifier", s->sysid);
	if (s->pending_restart) {
		buf_json_set_true(b, first, "pending_restart");
		own = tree_get(snap->doc, "pending_restart_reason");
		if (own != NULL)
			buf_json_set_tree(
			    b, first, "pending_restart_reason", own);
	}
	add_patroni(b, first, names);
	add_scheduled_restart(
	    b, first, tree_get(snap->doc, "scheduled_restart"));
	if (tree_count(tree_get(snap->doc, "progress")) > 0)
		buf_json_set_tree(
		    b, first, "progress", tree_get(snap->doc, "progress"));
	if (s->watchdog_failed)
		buf_json_set_true(b, first, "watchdog_failed");
}

void
document_status(struct buf *b, const struct snapshot *snap,
    const struct facts *f, const struct document_names *names,
    const struct tree *tags)
{
	const struct msg_status *s = &snap->s;
	bool first = true;

	buf_text(b, "{");
	buf_json_set_text(b, &first, "state", pg_state_name(f->state));
	if (f->sql && s->postmaster_start_time[0] != '\0')
		buf_json_set_text(b, &first, "postmaster_start_time",
		    s->postmaster_start_time);
	buf_json_set_text(b, &first, "role", pg_role_name(f->role));
	if (f->sql)
		add_sql_keys(b, &first, snap, f);
	add_common_keys(b, &first, snap, f, names, tags);
	buf_text(b, "}");
}

/* ---- /cluster (9) ---- */

static const char *
member_role(const struct view *v, const struct view_member *m)
{
	static const char *const words[] = {
		[VIEW_ROLE_LEADER] = "leader",
		[VIEW_ROLE_STANDBY_LEADER] = "standby_leader",
		[VIEW_ROLE_SYNC_STANDBY] = "sync_standby",
		[VIEW_ROLE_QUORUM_STANDBY] = "quorum_standby",
		[VIEW_ROLE_REPLICA] = "replica",
	};

	return words[view_role(v, m)];
}

static void
add_host_port(struct buf *b, bool *first, const struct view_member *m)
{
	char host[URL_SIZE];
	int port;

	if (!view_member_address(m, host, sizeof(host), &port))
		return;
	buf_json_set_text(b, first, "host", host);
	buf_json_set_int(b, first, "port", port);
}

static void
add_lsn(struct buf *b, bool *first, const char *lag_key, const char *lsn_key,
    uint64_t optime, uint64_t lsn)
{
	char text[32];

	if (lsn == 0) {
		buf_json_set_text(b, first, lag_key, "unknown");
		buf_json_set_text(b, first, lsn_key, "unknown");
		return;
	}
	buf_json_set_uint(b, first, lag_key, optime > lsn ? optime - lsn : 0);
	snprintf(text, sizeof(text), "%" PRIX64 "/%" PRIX64, lsn >> 32,
	    lsn & 0xffffffff);
	buf_json_set_text(b, first, lsn_key, text);
}

static void
add_member(struct buf *b, const struct view *v, const struct view_member *m)
{
	bool first = true, leader;
	const char *state, *role;

	leader = view_leads(v, m);
	role = member_role(v, m);
	state = m->state;
	if (strcmp(role, "leader") != 0 && m->replication_state[0] != '\0')
		state = m->replication_state;
	buf_text(b, "{");
	buf_json_set_text(b, &first, "name", m->name);
	buf_json_set_text(b, &first, "role", role);
	buf_json_set_text(b, &first, "state", state);
	if (m->api_url[0] != '\0')
		buf_json_set_text(b, &first, "api_url", m->api_url);
	else
		buf_json_set_tree(b, &first, "api_url", NULL);
	add_host_port(b, &first, m);
	if (m->timeline != 0)
		buf_json_set_int(b, &first, "timeline", m->timeline);
	if (m->pending_restart)
		buf_json_set_true(b, &first, "pending_restart");
	if (m->pending_restart_reason != NULL)
		buf_json_set_tree(b, &first, "pending_restart_reason",
		    m->pending_restart_reason);
	if (m->scheduled_restart != NULL)
		buf_json_set_tree(
		    b, &first, "scheduled_restart", m->scheduled_restart);
	if (tree_count(m->tags_doc) > 0)
		buf_json_set_tree(b, &first, "tags", m->tags_doc);
	if (!leader) {
		add_lsn(b, &first, "receive_lag", "receive_lsn", v->optime,
		    m->receive_lsn);
		add_lsn(b, &first, "replay_lag", "replay_lsn", v->optime,
		    m->replay_lsn);
		add_lsn(b, &first, "lag", "lsn", v->optime,
		    m->has_xlog_location ? m->xlog_location : 0);
	}
	buf_text(b, "}");
}

static int
by_name(const void *a, const void *b)
{
	const struct view_member *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void
add_members(struct buf *b, const struct view *v)
{
	const struct view_member *sorted[MAX_MEMBERS];
	uint32_t i, n = v->nmembers < MAX_MEMBERS ? v->nmembers : MAX_MEMBERS;

	for (i = 0; i < n; i++)
		sorted[i] = &v->members[i];
	/* cppcheck-suppress uninitvar; pointers, of which n are set */
	qsort(sorted, n, sizeof(sorted[0]), by_name);
	for (i = 0; i < n; i++) {
		if (i > 0)
			buf_text(b, ", ");
		add_member(b, v, sorted[i]);
	}
}

void
document_cluster(struct buf *b, const struct view *v, const char *scope)
{
	bool first = true, in = true;

	buf_text(b, "{");
	buf_json_key(b, &first, "members");
	buf_text(b, "[");
	add_members(b, v);
	buf_text(b, "]");
	if (view_paused(v))
		buf_json_set_true(b, &first, "pause");
	if (v->has_failover && v->failover_at[0] != '\0' &&
	    (v->failover_leader[0] != '\0' || v->failover_member[0] != '\0')) {
		buf_json_key(b, &first, "scheduled_switchover");
		buf_text(b, "{");
		buf_json_set_text(b, &in, "at", v->failover_at);
		if (v->failover_leader[0] != '\0')
			buf_json_set_text(b, &in, "from", v->failover_leader);
		if (v->failover_member[0] != '\0')
			buf_json_set_text(b, &in, "to", v->failover_member);
		buf_text(b, "}");
	}
	buf_json_set_text(b, &first, "scope", scope);
	buf_text(b, "}");
}

/* ---- /history (10), /failsafe (13.1) ---- */

void
document_history(struct buf *b, const struct view *v)
{
	const struct view_history *h;
	uint32_t i;

	buf_text(b, "[");
	for (i = 0; v != NULL && i < v->nhistory; i++) {
		h = &v->history[i];
		buf_printf(b, "%s[%" PRIu32 ", %" PRIu64 ", ",
		    i > 0 ? ", " : "", h->timeline, h->lsn);
		buf_json_text(b, h->reason);
		if (h->elements > 3) {
			buf_text(b, ", ");
			buf_json_text(b, h->timestamp);
		}
		if (h->elements > 4) {
			buf_text(b, ", ");
			buf_json_text(b, h->new_leader);
		}
		buf_text(b, "]");
	}
	buf_text(b, "]");
}

void
document_failsafe(struct buf *b, const struct view *v)
{
	bool first = true;
	uint32_t i;

	buf_text(b, "{");
	for (i = 0; v != NULL && i < v->nfailsafe; i++)
		buf_json_set_text(
		    b, &first, v->failsafe[i].name, v->failsafe[i].api_url);
	buf_text(b, "}");
}
