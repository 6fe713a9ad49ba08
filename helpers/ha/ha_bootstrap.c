/*
 * ha_bootstrap.c: an empty data directory (spec/ha.md 10): the race for the
 * initialize key, cloning, and the steps after bootstrap.
 */
#include "ha_int.h"

/* ---- a new cluster ---- */

static bool
is_bootstrapping(const struct view_member *m)
{
	enum pg_state s = pg_state_parse(m->state, NULL);

	return s == STATE_INITDB || s == STATE_CUSTOM_BOOTSTRAP ||
	    s == STATE_STARTING_CUSTOM || s == STATE_RUNNING ||
	    s == STATE_STARTING;
}

/*
 * The key was asked for, the answer got lost, and now it is there, empty.  It
 * is ours unless somebody else has begun: who wins publishes so at the end of
 * the same cycle, hence two loops without a sign are proof.
 */
static bool
initialize_is_ours(const struct ha *h)
{
	const struct view *v = h->s.view;
	uint32_t i;

	if (h->s.initialize_unknown == 0 || !v->has_initialize ||
	    v->initialize[0] != '\0' || !unlocked(h) ||
	    h->p.now - h->s.initialize_unknown < 2 * loop_ns(h))
		return false;
	for (i = 0; i < v->nmembers; i++)
		if (!is_me(h, v->members[i].name) &&
		    is_bootstrapping(&v->members[i]))
			return false;
	return true;
}

static enum rc
bootstrap_start(struct ha *h)
{
	struct ha_job job;

	h->s.initialize_unknown = 0;
	h->s.bootstrapping = true;
	h->s.promote_result = VERDICT_NONE;
	job_init(&job, h->s.opt.standby_cluster ? JOB_CLONE : JOB_BOOTSTRAP);
	job.block_callbacks = true;
	if (h->s.opt.standby_cluster) {
		job_node(h, &job, remote_member(h));
		job.role = ROLE_STANDBY_LEADER;
		TRY(action_begin(h, ACTION_BOOTSTRAP_STANDBY, &job,
		    "bootstrap_standby_leader"));
		return say(h, "bootstrap.standby-leader",
		    "trying to bootstrap a new standby leader");
	}
	job.role = ROLE_PRIMARY;
	TRY(action_begin(h, ACTION_BOOTSTRAP, &job, "bootstrap"));
	return say(h, "bootstrap.new", "trying to bootstrap a new cluster");
}

static enum rc
bootstrap_race(struct ha *h)
{
	struct ha_fx *fx = dcs_new(h, OP_INITIALIZE);
	enum outcome outcome;

	fx->dcs.u.initialize.create = 1;
	TRY(dcs_wait(h, fx->id, &outcome, NULL));
	if (outcome == OUTCOME_OK || BROKEN(h, BOOTSTRAP_RACE))
		return bootstrap_start(h);
	if (outcome == OUTCOME_UNKNOWN && h->s.initialize_unknown == 0)
		h->s.initialize_unknown = h->p.now;
	return say(h, "bootstrap.lost", "failed to acquire initialize lock");
}

/* ---- cloning ---- */

/* It was led away, by a promotion that the cluster knows nothing of. */
static bool
past_leader(const struct ha *h, const struct view_member *m)
{
	return h->s.leader_timeline != 0 && m->timeline > h->s.leader_timeline;
}

/*
 * A running member tagged clonefrom, not me and not the leader; which one is
 * spread over the members by our own name.  Else the leader.
 *
 * Only the leader for a synchronous standby that lost its data: as long as
 * /sync names it, it counts in a race for one that has all that was
 * acknowledged, which another standby may lack.
 */
static const struct view_member *
clone_member(struct ha *h)
{
	const struct view *v = h->s.view;
	const struct view_member *found[MAX_MEMBERS];
	uint32_t i, n = 0, hash = 5381;
	const char *p;

	if (sync_active(h) && sync_listed(h, h->conf.name))
		return leader_member(h);
	for (i = 0; i < v->nmembers && n < MAX_MEMBERS; i++) {
		const struct view_member *m = &v->members[i];

		if (m->tags.clonefrom && m->conn_url[0] != '\0' &&
		    pg_state_parse(m->state, NULL) == STATE_RUNNING &&
		    !is_me(h, m->name) && strcmp(m->name, v->leader) != 0 &&
		    !past_leader(h, m))
			found[n++] = m;
	}
	if (n == 0)
		return leader_member(h);
	for (p = h->conf.name; *p != '\0'; p++)
		hash = hash * 33 + (unsigned char)*p;
	return found[hash % n];
}

/* what: "from leader 'a'", "from replica 'b'" */
void
clone_source(struct ha *h, struct ha_job *job, char *what, size_t size)
{
	const struct view_member *m = clone_member(h);

	job_node(h, job, m);
	what[0] = '\0';
	if (m != NULL)
		(void)snprintf(what, size, "from %s '%s'",
		    strcmp(m->name, h->s.view->leader) == 0 ? "leader" :
							      "replica",
		    m->name);
}

static enum rc
clone_begin(struct ha *h, const struct ha_job *job, const char *what)
{
	h->s.rewind = REWIND_INITIAL;
	TRY(action_begin(h, ACTION_CLONE, job, "bootstrap %s", what));
	(void)text_set(h->s.action.source, sizeof(h->s.action.source), what);
	return say(h, "bootstrap.clone", "trying to bootstrap %s", what);
}

/* 10.1 */
enum rc
bootstrap(struct ha *h)
{
	const struct view *v = h->s.view;
	bool standby = h->s.opt.standby_cluster;
	char what[NAME_SIZE * 2];
	struct ha_job job;

	if (unlocked(h) && !h->conf.tags.nofailover && h->conf.has_bootstrap) {
		if (!v->has_initialize)
			return bootstrap_race(h);
		if (initialize_is_ours(h))
			return bootstrap_start(h);
	}
	job_init(&job, JOB_CLONE);
	if (!unlocked(h)) {
		clone_source(h, &job, what, sizeof(what));
		if (job.has_node && job.node.conn_url[0] != '\0')
			return clone_begin(h, &job, what);
	}
	if ((standby ? h->s.opt.remote_clone_without_leader :
		       h->conf.can_clone_without_leader) &&
	    !(v->has_initialize && v->initialize[0] == '\0')) {
		job.has_node = false;
		job.clone_without_leader = true;
		return clone_begin(h, &job, "(without leader)");
	}
	return say(h, "bootstrap.wait", "waiting for %s to bootstrap",
	    standby ? "standby_leader" : "leader");
}

/* The clone is there: follow whoever leads now. */
static enum rc
clone_done(struct ha *h)
{
	const struct view_member *target = NULL;
	struct ha_job job;
	bool remote, ok;

	TRY(load_plain(h, &ok));
	if (ok)
		target = follow_target(h, &remote);
	job_init(&job, JOB_FOLLOW);
	job_node(h, &job, target);
	h->s.action.step = 1;
	h->s.action.job = job_start(h, &job);
	set_role(h, ROLE_REPLICA, false);
	return RC_OK;
}

enum rc
clone_event(struct ha *h, const struct ha_ev *ev)
{
	const char *source = h->s.action.source;
	struct ha_job job;

	if (ev->type != EV_JOB_DONE)
		return RC_OK;
	if (h->s.action.step > 0) {
		/* 1 the start, 2 the removal of a failed clone */
		action_end(h, true);
		return RC_OK;
	}
	if (ev->result == JOB_OK) {
		ha_log(h, LOG_LVL_INFO, "bootstrap.cloned", "bootstrapped %s",
		    source);
		h->s.initialized = true;
		return clone_done(h);
	}
	ha_log(h, LOG_LVL_ERROR, "bootstrap.clone-failed",
	    "failed to bootstrap %s", source);
	job_init(&job, JOB_REMOVE_DATA);
	h->s.action.step = 2;
	h->s.action.job = job_start(h, &job);
	return RC_OK;
}

/* ---- after bootstrap (10.3) ---- */

/*
 * A node with data of its own came up while we bootstrapped: it has written
 * its identifier, or leads.  The key is not ours any more, and our cluster,
 * which nobody has seen yet, must not take the other's place.
 */
static bool
overtaken(const struct ha *h)
{
	const struct view *v = h->s.view;

	return v != NULL &&
	    ((v->initialize_valid &&
		 strcmp(v->initialize, h->p.pg.sysid) != 0) ||
		(!unlocked(h) && !has_lock(h)));
}

/*
 * Half a cluster is nobody's: the key goes, so that another node may begin,
 * and the data are put aside, so that no later start takes them for good.
 */
enum rc
bootstrap_undo(struct ha *h)
{
	enum ha_job_result result;
	enum outcome outcome;
	struct ha_job job;
	struct ha_fx *fx;

	if (!overtaken(h)) {
		ha_log(h, LOG_LVL_INFO, "bootstrap.failed",
		    "removing "
		    "initialize key after failed attempt to bootstrap the "
		    "cluster");
		fx = dcs_new(h, OP_CANCEL_INITIALIZE);
		TRY(dcs_wait(h, fx->id, &outcome, NULL));
	}
	job_init(&job, JOB_STOP);
	job.stop_mode = STOP_IMMEDIATE;
	job.timeout_ns = retry_ns(h);
	TRY(job_run(h, &job, &result));
	h->s.bootstrapping = false;
	if (result != JOB_OK && result != JOB_NOTHING) {
		/* not from under a server; who attaches to it next stops it */
		ha_log(h, LOG_LVL_ERROR, "demote.stop-failed",
		    "PostgreSQL could not be stopped");
		return RC_OK;
	}
	job_init(&job, JOB_MOVE_DATA);
	TRY(job_run(h, &job, &result));
	return RC_OK;
}

static enum rc
bootstrap_failed(struct ha *h)
{
	TRY(bootstrap_undo(h));
	ha_log(h, LOG_LVL_CRITICAL, "bootstrap.failed",
	    "Failed to bootstrap cluster");
	h->s.exit_code = 1;
	return RC_EXIT;
}

static enum rc
bootstrap_wait(struct ha *h)
{
	struct ha_job job;

	/* the server itself must say so: a custom method may end in recovery,
	 * without hot standby, and its last step has no recovery files */
	if (!h->p.pg.query_ok || !is_primary(h))
		return say(h, "bootstrap.recovery",
		    "waiting for end of recovery after bootstrap");
	set_role(h, ROLE_PRIMARY, false);
	job_init(&job, JOB_POST_BOOTSTRAP);
	job.role = ROLE_PRIMARY;
	TRY(action_begin(h, ACTION_POST_BOOTSTRAP, &job, "post_bootstrap"));
	return say(h, "bootstrap.post", "running post_bootstrap");
}

/*
 * Armed already, but there is no leader key that could run out: what the
 * keeper counts begins with each of the writes, up to the one that takes it.
 */
static void
no_lease_yet(struct ha *h)
{
	if (h->s.wd_fence_armed || h->s.wd_device_running)
		watchdog_grant(h, h->p.now);
}

/*
 * The key /initialize is written with the identifier before the leader key
 * is taken; lost in between, row 4 and the race repair the rest.
 */
static enum rc
bootstrap_publish(struct ha *h)
{
	enum outcome outcome;
	struct ha_fx *fx;
	int64_t sent;
	bool ok;

	no_lease_yet(h);
	fx = dcs_new(h, OP_INITIALIZE);
	fx->dcs.u.initialize.create = !h->s.view->has_initialize;
	memcpy(fx->dcs.u.initialize.sysid, h->p.pg.sysid,
	    sizeof(fx->dcs.u.initialize.sysid));
	TRY(dcs_wait(h, fx->id, &outcome, NULL));
	no_lease_yet(h);
	fx = dcs_new(h, OP_SET_CONFIG);
	fx->dcs.doc = keep_tree(h, tree_copy(h->dynamic));
	TRY(dcs_wait(h, fx->id, &outcome, NULL));
	no_lease_yet(h);
	fx = dcs_new(h, OP_TAKE);
	TRY(dcs_wait(h, fx->id, &outcome, &sent));
	if (outcome == OUTCOME_OK)
		lease_renewed(h, sent);
	TRY(sync_after_bootstrap(h));
	fx = fx_new(h, FX_CALLBACK);
	fx->callback = CALLBACK_ON_START;
	fx->role = h->s.role;
	h->s.callbacks_seen = true;
	TRY(load_plain(h, &ok));
	return say(h, "bootstrap.done", "initialized a new cluster");
}

enum rc
bootstrap_after(struct ha *h)
{
	bool ok = true;

	if (overtaken(h)) {
		ha_log(h, LOG_LVL_ERROR, "bootstrap.overtaken",
		    "Cancelling "
		    "bootstrap because another node has initialized the "
		    "cluster meanwhile");
		return bootstrap_failed(h);
	}
	if (h->s.opt.standby_cluster && h->s.promote_result == VERDICT_NONE &&
	    h->p.pg.running)
		h->s.promote_result = VERDICT_TRUE;
	if (!h->p.pg.running || h->s.promote_result == VERDICT_FALSE)
		return bootstrap_failed(h);
	if (h->s.promote_result == VERDICT_NONE)
		return bootstrap_wait(h);
	if (!h->s.opt.standby_cluster)
		TRY(watchdog_activate(h, &ok));
	if (!ok) {
		ha_log(h, LOG_LVL_ERROR, "bootstrap.watchdog",
		    "Cancelling "
		    "bootstrap because watchdog activation failed");
		return bootstrap_failed(h);
	}
	TRY(checkpoint_bookkeeping(h));
	h->s.bootstrapping = false;
	h->s.initialized = true;
	return bootstrap_publish(h);
}
