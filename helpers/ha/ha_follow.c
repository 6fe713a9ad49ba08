/*
 * ha_follow.c: following another node (spec/ha.md 6): whom, the follow list,
 * and the rewind state in the cycle.
 */
#include "ha_int.h"

/* ---- target (6.1) ---- */

/* The remote member of a standby cluster, made anew in every pass. */
const struct view_member *
remote_member(struct ha *h)
{
	const struct options *o = &h->s.opt;
	struct view_member *m = &h->p.remote;
	const char *port = o->remote_port[0] != '\0' ? o->remote_port : "5432";

	memset(m, 0, sizeof(*m));
	(void)snprintf(m->name, sizeof(m->name), "remote_member:%016llx",
	    (unsigned long long)h->s.next_id);
	if (o->remote_host[0] != '\0' || o->remote_port[0] != '\0')
		if (snprintf(m->conn_url, sizeof(m->conn_url),
			"postgres://%s:%s/postgres", o->remote_host,
			port) >= (int)sizeof(m->conn_url))
			m->conn_url[0] = '\0';
	return m;
}

/* The node to follow, NULL = none.  *remote: the remote member. */
const struct view_member *
follow_target(struct ha *h, bool *remote)
{
	const struct tags *tags = &h->conf.tags;
	const struct view_member *m = NULL;
	const struct view *v = h->s.view;

	*remote = false;
	if (tags->nostream && !BROKEN(h, NOSTREAM))
		return NULL;
	if (h->s.opt.standby_cluster &&
	    (has_lock(h) || (unlocked(h) && !h->s.opt.pause))) {
		*remote = true;
		return remote_member(h);
	}
	if (v != NULL && tags->replicatefrom[0] != '\0' &&
	    !BROKEN(h, CASCADE) && !is_me(h, tags->replicatefrom))
		m = view_member(v, tags->replicatefrom);
	if (m == NULL)
		m = leader_member(h);
	if (m != NULL && is_me(h, m->name))
		return NULL;
	return m;
}

/* ---- rewind (6.4, 6.5) ---- */

bool
rewind_allowed(const struct ha *h)
{
	return h->conf.remove_data_on_diverged || h->p.pg.pg_rewind_possible;
}

bool
rewind_wanted(const struct ha *h)
{
	return h->s.rewind == REWIND_CHECK || h->s.rewind == REWIND_NEED;
}

bool
rewind_executed(const struct ha *h)
{
	return h->s.rewind == REWIND_SUCCESS || h->s.rewind == REWIND_FAILED;
}

void
rewind_trigger(struct ha *h)
{
	h->s.checkpoint_job = 0;
	if (!rewind_allowed(h) || h->s.rewind == REWIND_NEED)
		return;
	/* what was found out about other data says nothing about these */
	if (h->s.rewind != REWIND_CHECK)
		h->s.other_branch[0] = '\0';
	h->s.rewind = REWIND_CHECK;
}

/*
 * spec/postgres.md 16.3 step 5 (and the table before it).  A node that ended
 * where the leader's timeline branched off can follow; one byte more cannot.
 *
 * Departs from the table, where equal timelines need nothing, and from step 5,
 * which looks at numbers alone: a node that is promoted takes the number after
 * the newest timeline that it knows.  Who was promoted before it and died at
 * once may have taken the same, and the branches have nothing in common but
 * that.  PostgreSQL would stream from one to the other, at the end of its own.
 */
int
ha_rewind_needed(const struct ha_divergence *d)
{
	uint32_t i;

	if (!d->leader_reachable || d->leader_in_recovery ||
	    d->leader_timeline == 0)
		return -1;
	/* known of a crashed server too, whose place is not */
	if (d->other_branch || d->other_wal)
		return 1;
	if (!d->local_known)
		return -1;
	if (d->local_timeline > d->leader_timeline)
		return 1;
	if (d->branch_unsure)
		return -1;
	if (d->local_timeline == d->leader_timeline)
		return 0;
	if (!d->history_known || d->nhistory > MAX_HISTORY)
		return -1;
	for (i = 0; i < d->nhistory; i++) {
		if (d->history[i].timeline < d->local_timeline)
			continue;
		if (d->history[i].timeline > d->local_timeline)
			return 1;
		if (d->local_in_recovery)
			return d->local_lsn > d->history[i].lsn;
		if (d->local_lsn >= d->history[i].lsn)
			return 1;
		return d->history[i].lsn != d->checkpoint_end;
	}
	return 1;
}

bool
ha_rewind_blind(const struct ha_divergence *d)
{
	return ha_rewind_needed(d) == 1 &&
	    (d->other_wal ||
		(d->other_branch && d->local_timeline == d->leader_timeline));
}

static const struct view_member *
rewind_source(struct ha *h)
{
	if (h->s.opt.standby_cluster)
		return remote_member(h);
	return leader_member(h);
}

/* Members publish `primary`, those before 4.0 `master`. */
static bool
published_primary(const struct view_member *m)
{
	return pg_role_parse(m->role, NULL) == ROLE_PRIMARY;
}

/* The remote member has another name in every pass. */
static const char *
source_name(const struct ha *h, const struct view_member *l)
{
	return l == &h->p.remote ? "remote_member" : l->name;
}

static bool
on_other_branch(const struct ha *h, const struct view_member *l)
{
	return h->s.other_branch[0] != '\0' &&
	    strcmp(h->s.other_branch, source_name(h, l)) == 0;
}

static void
rewind_conclude(
    struct ha *h, const struct view_member *l, const struct ha_divergence *d)
{
	int needed = BROKEN(h, REWIND) ? 0 : ha_rewind_needed(d);

	if (needed < 0)
		return;
	h->s.rewind = needed ? REWIND_NEED : REWIND_NOT_NEED;
	h->s.other_branch[0] = '\0';
	if (needed && ha_rewind_blind(d))
		(void)text_set(h->s.other_branch, sizeof(h->s.other_branch),
		    source_name(h, l));
}

static enum rc
rewind_compare(struct ha *h, const struct view_member *l)
{
	const struct ha_ev *ev;
	struct ha_fx *fx;

	if (l != &h->p.remote && !published_primary(l))
		return RC_OK;
	fx = ask_new(h, FX_DIVERGENCE, retry_ns(h));
	job_node(h, &fx->job, l);
	TRY(await(h, fx->id, &ev));
	if (ev->divergence != NULL)
		rewind_conclude(h, l, ev->divergence);
	return RC_OK;
}

enum rc
rewind_check(struct ha *h, bool *needed)
{
	const struct view_member *l = rewind_source(h);

	*needed = false;
	if (l == NULL || l->conn_url[0] == '\0')
		return RC_OK;
	/* another leader may well have our branch */
	if (h->s.rewind == REWIND_NEED && h->s.other_branch[0] != '\0' &&
	    !on_other_branch(h, l))
		h->s.rewind = REWIND_CHECK;
	if (h->s.rewind == REWIND_CHECK && !is_me(h, l->name))
		TRY(rewind_compare(h, l));
	/* what was found out holds while the leader cannot be asked again */
	*needed = h->s.rewind == REWIND_NEED ||
	    (h->s.rewind == REWIND_CHECK && on_other_branch(h, l));
	return RC_OK;
}

static enum rc
rewind_start(struct ha *h, const struct view_member *l)
{
	struct ha_control control;
	struct ha_job job;

	if (!h->p.pg.running) {
		TRY(ask_control(h, 0, &control));
		if (control.ok && control.state == CONTROL_IN_ARCHIVE_RECOVERY)
			TRY(crash_recovery(h));
	}
	job_init(&job, JOB_REWIND);
	job_node(h, &job, l);
	TRY(action_begin(
	    h, ACTION_REWIND, &job, "running pg_rewind from %s", l->name));
	return say(h, "rewind.run", "%s", h->s.action.name);
}

static enum rc
reinitialize_start(struct ha *h)
{
	struct ha_job job;

	job_init(&job, JOB_STOP);
	job.stop_mode = STOP_IMMEDIATE;
	job.timeout_ns = retry_ns(h);
	TRY(action_begin(h, ACTION_REINITIALIZE, &job,
	    "reinitializing due to diverged timelines"));
	return say(h, "rewind.reinitialize", "%s", h->s.action.name);
}

/*
 * Nothing brings the leader's branch into these data, so they are replaced
 * where the configuration allows it.  Elsewhere they stay as they are, for
 * whoever may want what is in them: as a standby they would get changes that
 * were made to other data.  Looked at again in each pass, because another
 * leader may come.
 */
static enum rc
leave_branch(struct ha *h, const struct view_member *l)
{
	bool sure = h->s.rewind == REWIND_NEED;
	bool may_replace = h->conf.remove_data_on_diverged ||
	    (h->conf.remove_data_on_rewind_failure &&
		h->p.pg.pg_rewind_possible);
	struct ha_job job;

	if (sure && may_replace && !h->s.opt.standby_cluster)
		return reinitialize_start(h);
	h->s.rewind = REWIND_CHECK;
	if (h->p.pg.running || starting(h)) {
		job_init(&job, JOB_STOP);
		job.stop_mode = STOP_FAST;
		job.timeout_ns = stop_timeout_ns(h);
		TRY(action_begin(h, ACTION_LEAVE_BRANCH, &job,
		    "stopping: %s is on another timeline of the same number",
		    source_name(h, l)));
		return say(
		    h, "rewind.same-number.stop", "%s", h->s.action.name);
	}
	return say(h, "rewind.same-number",
	    "not following %s: it is on another timeline of the same number, "
	    "please reinitialize this node (patronictl reinit)",
	    source_name(h, l));
}

/* spec 6.5: a message when something was begun. */
enum rc
rewind_step(struct ha *h)
{
	const struct view_member *l;
	bool needed;

	TRY(rewind_check(h, &needed));
	if (!needed)
		return RC_OK;
	l = rewind_source(h);
	if (on_other_branch(h, l))
		return leave_branch(h, l);
	if (h->p.pg.pg_rewind_possible)
		return rewind_start(h, l);
	if (!h->conf.remove_data_on_diverged || h->s.opt.standby_cluster)
		return RC_OK;
	return reinitialize_start(h);
}

/* ---- follow (6.2) ---- */

static enum rc
follow_primary(struct ha *h, const char *rule, const char *msg)
{
	if (h->s.opt.standby_cluster && is_primary(h)) {
		TRY(demote_begin(
		    h, DEMOTE_CLUSTER, "demoting to a standby cluster"));
		return say(h, rule, "%s", msg);
	}
	if (!BROKEN(h, NO_DEMOTE_REFUSED))
		TRY(demote(h, DEMOTE_IMMEDIATE_NOLOCK));
	return say(h, rule, "%s", msg);
}

static enum rc
follow_paused(struct ha *h, bool primary, const struct view_member *target)
{
	if (rewind_wanted(h) && rewind_allowed(h) && !unlocked(h) && !primary)
		return RC_OK;
	if (primary) {
		set_role(h, ROLE_PRIMARY, false);
		return say(h, "pause.primary-without-lock",
		    "continue to run as primary without lock");
	}
	if (h->s.role != ROLE_STANDBY_LEADER)
		set_role(h, ROLE_REPLICA, false);
	if (target == NULL)
		return say(
		    h, "pause.no-action", "no action. I am (%s)", h->conf.name);
	return RC_OK;
}

/* 6.2 step 5: past the standby leader's timeline? */
static enum rc
check_past_leader(struct ha *h)
{
	struct ha_control control;

	if (!h->s.opt.standby_cluster || h->s.leader_timeline == 0)
		return RC_OK;
	TRY(ask_control(h, h->s.leader_timeline + 1, &control));
	if (control.has_history_file)
		rewind_trigger(h);
	return RC_OK;
}

static void
resume_replay(struct ha *h)
{
	struct ha_job job;

	if (h->s.opt.pause || h->p.pg.server_version < 140000 || starting(h) ||
	    !h->p.pg.replay_paused || BROKEN(h, REPLAY))
		return;
	ha_log(h, LOG_LVL_INFO, "replica.resume-replay",
	    "Resuming paused WAL replay for PostgreSQL 14+");
	job_init(&job, JOB_RESUME_REPLAY);
	(void)job_start(h, &job);
}

/*
 * Its timeline is not the leader's: the key stayed on a node that changed
 * timeline (6.2 step 10), or this one was led away.  That befalls who streams
 * from a standby that is promoted by hand: it goes along, keeps its target
 * when that one comes back, and nothing else would ever look at its data.
 * What people do in pause they may have meant, and what a rewind did not mend
 * the next will not.
 */
static bool
off_timeline(const struct ha *h)
{
	uint32_t own = h->s.last_timeline, leader = h->s.leader_timeline;

	if (own == 0 || leader == 0 || own == leader)
		return false;
	return own < leader || (!h->s.opt.pause && !rewind_executed(h));
}

static void
follow_job(struct ha *h, struct ha_job *job, const struct view_member *target,
    enum pg_role new_role)
{
	job_init(job, JOB_FOLLOW);
	job_node(h, job, target);
	job->role = new_role;
}

/* 6.2 step 10 */
static enum rc
apply_target(
    struct ha *h, const struct view_member *target, enum pg_role new_role)
{
	const struct ha_ev *ev;
	struct ha_job job;
	struct ha_fx *fx;

	fx = ask_new(h, FX_RECOVERY_DIFF, retry_ns(h));
	if (fx != &h->scratch)
		follow_job(h, &fx->job, target, new_role);
	TRY(await(h, fx->id, &ev));
	if (ev->diff == DIFF_RESTART) {
		rewind_trigger(h);
		follow_job(h, &job, target, new_role);
		return action_begin(h, ACTION_FOLLOW, &job,
		    "changing primary_conninfo and restarting");
	}
	if (ev->diff == DIFF_RELOAD) {
		rewind_trigger(h);
		follow_job(h, &job, target, new_role);
		job.kind = JOB_RELOAD_RECOVERY;
		(void)job_start(h, &job);
		set_role_standby(h, new_role);
		return RC_OK;
	}
	set_role_standby(h, new_role);
	if (off_timeline(h)) {
		rewind_trigger(h);
		return rewind_step(h);
	}
	return RC_OK;
}

enum rc
follow(struct ha *h, const char *demote_rule, const char *demote_msg,
    const char *follow_rule, const char *follow_msg, bool reload)
{
	const struct view_member *target;
	enum pg_role new_role;
	bool remote, primary, ok;

	if (reload) {
		TRY(load_plain(h, &ok));
		if (!ok)
			return RC_DCS;
	}
	primary = is_primary(h);
	target = follow_target(h, &remote);
	if (h->s.opt.pause)
		TRY(follow_paused(h, primary, target));
	else if (may_write(h))
		return follow_primary(h, demote_rule, demote_msg);
	watchdog_disarm(h, 2);
	TRY(check_past_leader(h));
	TRY(rewind_step(h));
	resume_replay(h);
	new_role = remote && has_lock(h) ? ROLE_STANDBY_LEADER : ROLE_REPLICA;
	if (h->s.opt.standby_cluster && new_role == ROLE_REPLICA &&
	    (target == NULL || target->conn_url[0] == '\0'))
		return say(h, "replica.old-standby-leader",
		    "continue following the old known standby leader");
	TRY(apply_target(h, target, new_role));
	return say(h, follow_rule, "%s", follow_msg);
}
