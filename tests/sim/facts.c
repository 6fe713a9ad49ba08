/*
 * facts.c: what the modelled controller tells its core about PostgreSQL.
 */
#include "sim.h"

static void
standby_facts(struct node *n, struct ha_pg *p)
{
	const struct pg *pg = &n->pg;

	/* of the receiver, else by IDENTIFY_SYSTEM (7.6) */
	if (pg->streaming || !n->login_fails)
		p->received_timeline = pg_tli(pg);
	p->wal_position = p->replay_lsn = pg->wal.end;
	p->receive_lsn = pg->follow >= 0 ? pg->wal.end : 0;
	p->receiver_streaming = pg->streaming;
	p->replay_paused = pg->replay_paused;
	if (n->slots_wanted && pg->streaming)
		(void)text_set(
		    p->slots_to_copy, sizeof(p->slots_to_copy), "['logical']");
	if (pg->streaming)
		(void)text_set(p->replication_state,
		    sizeof(p->replication_state), "streaming");
}

/* printf() would take longer than all else here. */
static void
number(char *out, uint64_t value)
{
	char digits[24], *p = &digits[sizeof(digits) - 1];

	*p = '\0';
	do
		*--p = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	memcpy(out, p, (size_t)(&digits[sizeof(digits)] - p));
}

static const char *
sysid_text(struct node *n)
{
	if (n->sysid_told != n->pg.sysid || n->sysid_text[0] == '\0') {
		number(n->sysid_text, n->pg.sysid);
		n->sysid_told = n->pg.sysid;
	}
	return n->sysid_text;
}

void
facts_status(struct node *n, struct ha_pg *p)
{
	const struct pg *pg = &n->pg;

	p->running = pg_running(n);
	p->state = n->state;
	p->state_since = n->state_since;
	p->datadir = n->unreadable ? DATADIR_UNREADABLE :
	    pg->data		   ? DATADIR_OK :
				     DATADIR_EMPTY;
	p->isready = pg->run == PG_DOWN ? ISREADY_NO_RESPONSE :
	    pg->run == PG_UP		? ISREADY_ACCEPTING :
					  ISREADY_REJECTING;
	p->has_recovery_files = pg->standby_files;
	p->pg_rewind_possible = n->w->use_rewind;
	p->server_version = n->w->pg_version;
	p->has_backup_label = pg->backup_label;
	p->archiving = n->w->archiving;
	if (n->w->operators && pg->run != PG_DOWN)
		number(p->postmaster_start_time, pg->gen);
	/* read once, as the controller does */
	if (pg->data && !n->no_sysid)
		n->sysid_known = true;
	if (pg->data && n->sysid_known)
		short_copy(p->sysid, sysid_text(n));
	if (pg->run != PG_UP || pg->hung) {
		p->query_connection_error = true;
		return;
	}
	p->query_ok = true;
	p->is_primary = pg->primary;
	(void)text_set(p->ssn, sizeof(p->ssn), pg->ssn);
	if (!pg->primary) {
		standby_facts(n, p);
		return;
	}
	p->timeline = pg_tli(pg);
	p->wal_position = pg->wal.end;
	sync_facts(n, p);
	p->slots = slots_facts(n);
}

void
facts_control(struct node *n, uint32_t timeline, struct ha_control *c)
{
	const struct pg *pg = &n->pg;
	uint32_t i;

	memset(c, 0, sizeof(*c));
	if (!pg->data)
		return;
	c->ok = true;
	c->state = pg->control;
	c->timeline = pg->checkpoint_tli;
	c->checkpoint_lsn = pg->checkpoint;
	if (pg->control == CONTROL_SHUT_DOWN)
		c->prev_lsn = pg->checkpoint;
	if (!pg->primary || pg->control == CONTROL_SHUT_DOWN_IN_RECOVERY ||
	    pg->control == CONTROL_IN_ARCHIVE_RECOVERY) {
		c->min_recovery_lsn = pg->wal.end;
		c->min_recovery_timeline = pg_tli(pg);
	}
	short_copy(c->sysid, sysid_text(n));
	for (i = 0; i < pg->wal.n; i++)
		if (pg->wal.seg[i].tli == timeline)
			c->has_history_file = true;
}

static void
local_position(struct node *n, struct ha_divergence *d)
{
	struct ha_control c;

	if (n->pg.run == PG_UP && !n->pg.hung) {
		d->local_known = true;
		d->local_in_recovery = true;
		d->local_timeline = pg_tli(&n->pg);
		d->local_lsn = n->pg.wal.end;
		return;
	}
	facts_control(n, 0, &c);
	if (c.state == CONTROL_SHUT_DOWN_IN_RECOVERY ||
	    c.state == CONTROL_IN_ARCHIVE_RECOVERY) {
		d->local_in_recovery = true;
		d->local_lsn = c.min_recovery_lsn;
		d->local_timeline = c.min_recovery_timeline;
	} else if (c.state == CONTROL_SHUT_DOWN) {
		d->local_lsn = c.checkpoint_lsn;
		d->local_timeline = c.timeline;
		d->checkpoint_end = c.checkpoint_lsn + CHECKPOINT_RECORD;
	}
	d->local_known = c.ok && d->local_timeline != 0;
}

void
facts_divergence(struct node *n, int other, struct ha_divergence *d)
{
	const struct pg *q;
	uint32_t i;

	local_position(n, d);
	if (other < 0 || !linked(n->w, n->i, other) ||
	    !linked(n->w, other, n->i))
		return;
	q = &pg_place(n->w, other)->pg;
	if (q->run != PG_UP || q->hung)
		return;
	d->leader_reachable = true;
	d->leader_in_recovery = !q->primary;
	d->leader_timeline = pg_tli(q);
	d->history_known = true;
	for (i = 0; i + 1 < q->wal.n; i++) {
		d->history[i].timeline = q->wal.seg[i].tli;
		d->history[i].lsn = q->wal.seg[i + 1].begin;
		d->nhistory++;
	}
}

enum ha_recovery_diff
facts_diff(const struct node *n, int target)
{
	if (n->pg.follow == target)
		return DIFF_NONE;
	return n->w->pg_version >= 130000 ? DIFF_RELOAD : DIFF_RESTART;
}
