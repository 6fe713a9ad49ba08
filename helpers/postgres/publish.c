/*
 * publish.c: the snapshot that rest answers health checks from (design 8),
 * and the figures for `patronictl local`.
 */
#include <stdlib.h>
#include <string.h>

#include "../../ipc/clock.h"
#include "controller.h"

static void
fill_server(struct controller *c, struct msg_status *m)
{
	const struct snapshot *s = &c->snap;
	const struct ha_pg *p = &s->pg;

	m->state = c->state;
	m->sql_ok = s->sql_ok;
	m->in_recovery = s->in_recovery;
	m->postmaster_running = postmaster_alive(&c->pm);
	m->server_version = sql_connected(c->heartbeat) ?
	    (uint32_t)sql_server_version(c->heartbeat) :
	    0;
	m->latest_end = s->latest_end;
	if (s->sql_ok && !s->in_recovery)
		m->xlog_location = p->wal_position;
	m->received_location = s->written_lsn != 0 ? s->written_lsn :
	    p->receive_lsn != 0			   ? p->receive_lsn :
						     p->replay_lsn;
	m->replayed_location = p->replay_lsn;
	m->replayed_known = s->replay_known;
	m->replay_paused = p->replay_paused;
	m->timeline = s->in_recovery ? p->received_timeline : p->timeline;
	m->pending_restart = tree_count(c->reasons) > 0;
	m->dcs_last_seen =
	    m->dcs_last_seen != 0 ? m->dcs_last_seen : c->dcs_last_seen;
	m->cycles = c->cycles;
	text_set(m->replication_state, sizeof m->replication_state,
	    p->replication_state);
	text_set(
	    m->receiver_state, sizeof m->receiver_state, s->receiver_state);
	text_set(m->postmaster_start_time, sizeof m->postmaster_start_time,
	    s->start_time);
	text_set(m->replayed_timestamp, sizeof m->replayed_timestamp,
	    s->replay_timestamp);
	text_set(m->sysid, sizeof m->sysid, c->sysid);
	m->nostream = c->ha_conf.tags.nostream;
	m->noloadbalance = c->ha_conf.tags.noloadbalance;
}

static void
on_taken(struct controller *c, void *arg)
{
	(void)arg;
	publish_status(c);
}

/*
 * After a cycle that took no snapshot of its own (the store failed before
 * it), take one: what is published must not be older than it says.
 */
#define FRESH_NS NS_PER_SEC

/* One from before a start or stop tells of another server. */
static bool
snapshot_serves(const struct controller *c, int64_t now)
{
	if (c->snap.taken_ns == 0 || now - c->snap.taken_ns >= FRESH_NS)
		return false;
	return c->snap.pg.state == c->state &&
	    (c->state != STATE_RUNNING || sql_connected(c->heartbeat));
}

void
publish_fresh(struct controller *c)
{
	int64_t now = clock_boot_ns();

	if (snapshot_serves(c, now))
		publish_status(c);
	else
		status_take(c, now + 2 * NS_PER_SEC, on_taken, NULL);
}

struct tree *
publish_progress(const struct controller *c)
{
	struct tree *m;

	if (!c->progress.known)
		return NULL;
	m = tree_map();
	tree_set(m, "percent", tree_int(c->progress.percent));
	tree_set(m, "received", tree_int((int64_t)c->progress.received));
	tree_set(m, "total", tree_int((int64_t)c->progress.total));
	return m;
}

void
publish_status(struct controller *c)
{
	struct msg_status m;
	struct tree *var = tree_map();
	uint8_t *buf = NULL;
	size_t len = 0;

	memset(&m, 0, sizeof m);
	fill_server(c, &m);
	if (c->ha != NULL) {
		ha_status(c->ha, clock_boot_ns(), &m);
		ha_status_document(c->ha, var);
	}
	m.state = c->state;
	m.stamp_ns = c->snap.taken_ns;
	if (tree_count(c->snap.senders) > 0)
		tree_set(var, "replication", tree_copy(c->snap.senders));
	if (tree_count(c->reasons) > 0)
		tree_set(var, "pending_restart_reason", tree_copy(c->reasons));
	if (c->progress.known)
		tree_set(var, "progress", publish_progress(c));
	if (tree_count(c->snap.slots) > 0)
		tree_set(var, "slots", tree_copy(c->snap.slots));
	if (tree_encode(var, &buf, &len))
		(void)helper_send_newest(
		    c->h, PROC_REST, MSG_STATUS, &m, buf, len);
	free(buf);
	tree_free(var);
	publish_info(c, false);
}

/*
 * The master is woken for what it does not know: a change, a lease of which
 * it would show less than three quarters, or the count of cycles of a while.
 */
#define INFO_INTERVAL (10 * NS_PER_SEC)

static bool
worth_telling(const struct controller *c, const struct msg_helper_info *i)
{
	const struct msg_helper_info *was = &c->told;
	int64_t now = clock_boot_ns();

	if (now - c->told_ns >= INFO_INTERVAL || c->told_ns == 0 ||
	    i->role != was->role || i->state != was->state ||
	    strcmp(i->text, was->text) != 0)
		return true;
	if (i->lease_end_ns == 0 || was->lease_end_ns == 0)
		return i->lease_end_ns != was->lease_end_ns;
	return was->lease_end_ns - now < (i->lease_end_ns - now) / 4 * 3;
}

void
publish_info(struct controller *c, bool asked)
{
	struct msg_helper_info i;

	memset(&i, 0, sizeof i);
	i.loops = c->cycles;
	i.lease_end_ns = c->ha != NULL ? ha_trusted_until(c->ha) : 0;
	i.role = c->ha != NULL ? ha_role(c->ha) : c->role;
	i.state = c->state;
	text_set(i.text, sizeof i.text, c->last_result);
	if (!asked && !worth_telling(c, &i))
		return;
	c->told = i;
	c->told_ns = clock_boot_ns();
	helper_info(c->h, &i);
}
