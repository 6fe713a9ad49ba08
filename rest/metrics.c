/*
 * metrics.c: GET /metrics (spec/rest-api.md 12), and the manager's own
 * figures behind the compatible ones.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../ipc/values.h"
#include "document.h"

struct out {
	struct buf *b;
	char labels[4 * NAME_SIZE + 64];
};

static void
escape_label(char *dst, size_t size, const char *src)
{
	size_t n = 0;

	for (; *src != '\0' && n + 3 < size; src++) {
		if (*src == '\\' || *src == '"')
			dst[n++] = '\\';
		dst[n++] = *src;
	}
	dst[n] = '\0';
}

static void
head(struct out *o, const char *name, const char *type, const char *help,
    const char *comment)
{
	buf_printf(o->b, "# HELP %s %s\n%s# TYPE %s %s\n%s%s ", name, help,
	    comment, name, type, name, o->labels);
}

static void
gauge(struct out *o, const char *name, const char *help, int64_t v)
{
	head(o, name, "gauge", help, "");
	buf_printf(o->b, "%" PRId64 "\n", v);
}

static void
counter(struct out *o, const char *name, const char *help, uint64_t v)
{
	head(o, name, "counter", help, "");
	buf_printf(o->b, "%" PRIu64 "\n", v);
}

static void
seconds(struct out *o, const char *name, const char *help, int64_t ns)
{
	head(o, name, "gauge", help, "");
	buf_printf(o->b, "%.6f\n", (double)ns / 1e9);
}

/* One line for each helper: the common labels and its name. */
static void
by_helper(struct out *o, const char *name, const char *type, const char *help,
    const uint32_t *value)
{
	int labels = (int)strlen(o->labels) - 1; /* without the brace */

	buf_printf(
	    o->b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
	for (int p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		buf_printf(o->b, "%s%.*s,process=\"%s\"} %" PRIu32 "\n", name,
		    labels, o->labels, proc_name((enum proc)p), value[p]);
}

static void
helpers(struct out *o, const struct own_metrics *own)
{
	struct msg_restarts h = *own->helpers;

	/* its own is known here better than by the last report */
	h.queue_bytes[PROC_REST] = (uint32_t)own->queued;
	by_helper(o, "patroni_manager_helper_restarts_total", "counter",
	    "Restarts of the helper.", h.count);
	by_helper(o, "patroni_manager_ipc_queue_bytes", "gauge",
	    "Unsent bytes on the links of the helper.", h.queue_bytes);
}

/* A summary without quantiles: rates and means come from sum and count. */
static void
dcs_requests(struct out *o, const struct msg_dcs_figures *f)
{
	static const char name[] = "patroni_manager_dcs_request_seconds";

	buf_printf(o->b,
	    "# HELP %s Requests of the HA loop to the DCS and their "
	    "duration.\n# TYPE %s summary\n%s_sum%s %.6f\n%s_count%s %" PRIu64
	    "\n",
	    name, name, name, o->labels, (double)f->total_ns / 1e9, name,
	    o->labels, f->requests);
	counter(o, "patroni_manager_dcs_request_failures_total",
	    "Requests of the HA loop that the DCS did not answer.",
	    f->failures);
	seconds(o, "patroni_manager_dcs_last_request_seconds",
	    "Duration of the last request of the HA loop to the DCS.",
	    f->last_ns);
}

/*
 * "YYYY-MM-DD HH:MM:SS[.ffffff]+HH:MM" to epoch seconds in its shortest
 * decimal form; "0" when there is none.
 */
static void
epoch_text(const char *t, char *out, size_t size)
{
	int y, mo, d, h, mi, s, n = 0, zh, zm = 0, us = 0, digits = 0;
	struct tm tm;
	int64_t at;
	char frac[8];

	snprintf(out, size, "0");
	if (sscanf(t, "%4d-%2d-%2d %2d:%2d:%2d%n", &y, &mo, &d, &h, &mi, &s,
		&n) != 6)
		return;
	t += n;
	if (*t == '.') {
		for (t++; *t >= '0' && *t <= '9'; t++)
			if (digits < 6) {
				us = us * 10 + (*t - '0');
				digits++;
			}
		while (digits++ < 6)
			us *= 10;
	}
	if (sscanf(t, "%3d:%2d", &zh, &zm) < 1)
		return;
	memset(&tm, 0, sizeof(tm));
	tm.tm_year = y - 1900;
	tm.tm_mon = mo - 1;
	tm.tm_mday = d;
	tm.tm_hour = h;
	tm.tm_min = mi;
	tm.tm_sec = s;
	at = (int64_t)timegm(&tm) - zh * 3600 - (*t == '-' ? -zm : zm) * 60;
	snprintf(frac, sizeof(frac), "%06d", us % 1000000);
	for (n = 5; n > 0 && frac[n] == '0'; n--)
		frac[n] = '\0';
	snprintf(out, size, "%" PRId64 ".%s", at, frac);
}

static void
timestamp(struct out *o, const char *name, const char *help, const char *t)
{
	char text[48];

	epoch_text(t, text, sizeof(text));
	head(o, name, "gauge", help, "");
	buf_printf(o->b, "%s\n", text);
}

/* Spec 21: index of a state; the order is fixed for ever. */
static int
state_index(enum pg_state st)
{
	static const int8_t index[STATE_COUNT] = {
		[STATE_UNKNOWN] = -1,
		[STATE_INITDB] = 0,
		[STATE_INITDB_FAILED] = 1,
		[STATE_CUSTOM_BOOTSTRAP] = 2,
		[STATE_CUSTOM_BOOTSTRAP_FAILED] = 3,
		[STATE_CREATING_REPLICA] = 4,
		[STATE_RUNNING] = 5,
		[STATE_STARTING] = 6,
		[STATE_STARTING_CUSTOM] = 7,
		[STATE_START_FAILED] = 8,
		[STATE_RESTARTING] = 9,
		[STATE_RESTART_FAILED] = 10,
		[STATE_STOPPING] = 11,
		[STATE_STOPPED] = 12,
		[STATE_STOP_FAILED] = 13,
		[STATE_CRASHED] = 14,
	};

	return (unsigned)st < STATE_COUNT ? index[st] : -1;
}

static void
version_metric(struct out *o)
{
	unsigned v[3];

	(void)version_numbers(COMPAT_VERSION, v);
	head(o, "patroni_version", "gauge", "Patroni semver without periods.",
	    "");
	buf_printf(o->b, "%02u%02u%02u\n", v[0], v[1], v[2]);
}

static void
postgres_metrics(
    struct out *o, const struct snapshot *snap, const struct facts *f)
{
	const struct msg_status *s = &snap->s;
	bool rec = f->sql && s->in_recovery;

	gauge(o, "patroni_postgres_running",
	    "Value is 1 if Postgres is running, 0 otherwise.",
	    f->state == STATE_RUNNING);
	timestamp(o, "patroni_postmaster_start_time",
	    "Epoch seconds since Postgres started.",
	    f->sql ? s->postmaster_start_time : "");
	gauge(o, "patroni_primary",
	    "Value is 1 if this node is the leader, 0 otherwise.",
	    f->role == ROLE_PRIMARY);
	counter(o, "patroni_xlog_location",
	    "Current location of the Postgres transaction log, 0 if this node "
	    "is not the leader.",
	    f->sql && !rec ? s->xlog_location : 0);
	gauge(o, "patroni_standby_leader",
	    "Value is 1 if this node is the standby_leader, 0 otherwise.",
	    f->role == ROLE_STANDBY_LEADER);
	gauge(o, "patroni_replica",
	    "Value is 1 if this node is a replica, 0 otherwise.",
	    f->role == ROLE_REPLICA);
	gauge(o, "patroni_sync_standby",
	    "Value is 1 if this node is a sync standby, 0 otherwise.",
	    f->sync_standby);
	gauge(o, "patroni_quorum_standby",
	    "Value is 1 if this node is a quorum standby, 0 otherwise.",
	    f->quorum_standby);
	counter(o, "patroni_xlog_received_location",
	    "Current location of the received Postgres transaction log, 0 if "
	    "this node is not a replica.",
	    rec ? s->received_location : 0);
	counter(o, "patroni_xlog_replayed_location",
	    "Current location of the replayed Postgres transaction log, 0 if "
	    "this node is not a replica.",
	    rec && s->replayed_known ? s->replayed_location : 0);
	timestamp(o, "patroni_xlog_replayed_timestamp",
	    "Current timestamp of the replayed Postgres transaction log, 0 if "
	    "null.",
	    rec ? s->replayed_timestamp : "");
	gauge(o, "patroni_xlog_paused",
	    "Value is 1 if the Postgres xlog is paused, 0 otherwise.",
	    rec && s->replay_paused);
	if (f->sql && s->server_version >= 90600) {
		gauge(o, "patroni_postgres_streaming",
		    "Value is 1 if Postgres is streaming, 0 otherwise.",
		    rec && strcmp(s->replication_state, "streaming") == 0);
		gauge(o, "patroni_postgres_in_archive_recovery",
		    "Value is 1 if Postgres is replicating from archive, 0 "
		    "otherwise.",
		    rec &&
			strcmp(s->replication_state, "in archive recovery") ==
			    0);
	}
	gauge(o, "patroni_postgres_server_version",
	    "Version of Postgres (if running), 0 otherwise.",
	    f->sql ? s->server_version : 0);
}

static int64_t
failover_priority(const struct tree *tags)
{
	struct tags t;

	memset(&t, 0, sizeof(t));
	tags_parse(tags, &t);
	return t.failover_priority; /* 0 when nofailover is truthy */
}

static void
cluster_metrics(struct out *o, const struct snapshot *snap,
    const struct facts *f, const struct view *v,
    const struct document_names *names, const struct tree *tags)
{
	const struct msg_status *s = &snap->s;
	bool member = false;
	uint32_t i;

	for (i = 0; v != NULL && i < v->nfailsafe; i++)
		if (strcmp(v->failsafe[i].name, names->name) == 0)
			member = true;
	gauge(o, "patroni_cluster_unlocked",
	    "Value is 1 if the cluster is unlocked, 0 if locked.", f->unlocked);
	gauge(o, "patroni_failsafe_mode_is_active",
	    "Value is 1 if failsafe mode is active, 0 if inactive.",
	    f->failsafe);
	gauge(o, "patroni_failsafe_mode_enabled",
	    "Value is 1 if failsafe mode is enabled, 0 otherwise.",
	    s->failsafe_mode != 0);
	gauge(o, "patroni_failsafe_member",
	    "Value is 1 if this node is a member of the failsafe topology, 0 "
	    "otherwise.",
	    member);
	gauge(o, "patroni_postgres_timeline",
	    "Postgres timeline of this node (if running), 0 otherwise.",
	    f->sql ? s->timeline : 0);
	gauge(o, "patroni_dcs_last_seen",
	    "Epoch timestamp when DCS was last contacted successfully.",
	    s->dcs_last_seen);
	gauge(o, "patroni_pending_restart",
	    "Value is 1 if the node needs a restart, 0 otherwise.",
	    s->pending_restart != 0);
	gauge(o, "patroni_is_paused",
	    "Value is 1 if auto failover is disabled, 0 otherwise.", f->pause);
	head(o, "patroni_postgres_state", "gauge",
	    "Numeric representation of "
	    "Postgres state.",
	    "# Values: 0=initdb, 1=initdb_failed, "
	    "2=custom_bootstrap, 3=custom_bootstrap_failed, "
	    "4=creating_replica, 5=running, 6=starting, 7=bootstrap_starting, "
	    "8=start_failed, 9=restarting, 10=restart_failed, 11=stopping, "
	    "12=stopped, 13=stop_failed, 14=crashed\n");
	buf_printf(o->b, "%d\n", state_index(f->state));
	gauge(o, "patroni_failover_priority", "Failover priority of this node.",
	    failover_priority(tags));
}

static void
manager_metrics(struct out *o, const struct snapshot *snap,
    const struct facts *f, int64_t now, const struct own_metrics *own)
{
	const struct msg_status *s = &snap->s;

	seconds(o, "patroni_manager_lease_seconds",
	    "Seconds until the trusted leader lock runs out, 0 without it.",
	    f->leader ? s->trusted_until_ns - now : 0);
	seconds(o, "patroni_manager_loop_seconds",
	    "Duration of the last HA cycle.", s->loop_ns);
	counter(o, "patroni_manager_loops_total", "HA cycles.", s->cycles);
	seconds(o, "patroni_manager_snapshot_age_seconds",
	    "Age of the status snapshot that answers are made from.",
	    snap->have ? now - s->stamp_ns : 0);
	seconds(o, "patroni_manager_dcs_read_seconds",
	    "Duration of the last live read of the store.",
	    own->view_latency_ns);
	dcs_requests(o, own->dcs);
	helpers(o, own);
	if (own->http == NULL)
		return;
	counter(o, "patroni_manager_http_requests_total", "Requests served.",
	    own->http->requests);
	gauge(o, "patroni_manager_http_connections", "Open connections.",
	    own->http->connections);
	counter(o, "patroni_manager_http_refused_total",
	    "Connections closed or refused because of a limit.",
	    own->http->refused);
	counter(o, "patroni_manager_http_timeouts_total",
	    "Connections closed because of a deadline.", own->http->timeouts);
}

void
document_metrics(struct buf *b, const struct snapshot *snap,
    const struct facts *f, const struct view *v, int64_t now,
    const struct document_names *names, const struct tree *tags,
    const struct own_metrics *own)
{
	char scope[2 * NAME_SIZE], name[2 * NAME_SIZE];
	struct out o = { .b = b };

	escape_label(scope, sizeof(scope), names->scope);
	escape_label(name, sizeof(name), names->name);
	snprintf(o.labels, sizeof(o.labels), "{scope=\"%s\",name=\"%s\"}",
	    scope, name);
	version_metric(&o);
	postgres_metrics(&o, snap, f);
	cluster_metrics(&o, snap, f, v, names, tags);
	manager_metrics(&o, snap, f, now, own);
}
