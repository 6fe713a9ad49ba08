/*
 * ha_cycle.c: one HA cycle (spec/ha.md 3): load, the ordered list of 3.4, the
 * frame around it and the schedule.  Each row that is more than a line is a
 * function of its own here or in the file of its subject.
 */

#include "ha_int.h"

/* ---- questions about the state ---- */

bool
is_me(const struct ha *h, const char *name)
{
	return text_equal(name, h->conf.name);
}

bool
unlocked(const struct ha *h)
{
	return h->s.view == NULL || view_unlocked(h->s.view);
}

bool
has_lock(const struct ha *h)
{
	return !unlocked(h) &&
	    (is_me(h, h->s.view->leader) || BROKEN(h, LOCK_CHECK));
}

bool
trusted(const struct ha *h)
{
	return h->s.trusted > h->p.now;
}

bool
busy(const struct ha *h)
{
	return h->s.action.kind != ACTION_NONE;
}

bool
starting(const struct ha *h)
{
	return h->p.pg.state == STATE_STARTING ||
	    h->p.pg.state == STATE_STARTING_CUSTOM;
}

const struct view_member *
leader_member(const struct ha *h)
{
	if (unlocked(h))
		return NULL;
	return view_member(h->s.view, h->s.view->leader);
}

/* spec 1.1 */
bool
is_primary(struct ha *h)
{
	const struct ha_pg *pg = &h->p.pg;

	if (pg->query_ok)
		return pg->running && pg->is_primary;
	if (pg->running && !starting(h) && !h->p.role_warned) {
		h->p.role_warned = true;
		ha_log(h, LOG_LVL_WARNING, NULL,
		    "Failed to determine "
		    "PostgreSQL state from the connection, falling back to "
		    "cached role");
	}
	/*
	 * What runs without recovery files is a primary or about to become
	 * one, whatever we remember: a manager that was restarted beside a
	 * server that does not answer must not take it for a standby and give
	 * the key away.
	 */
	return pg->running &&
	    (h->s.role == ROLE_PRIMARY || !pg->has_recovery_files);
}

/*
 * What pg_ctl promote has begun nobody takes back: until the server is seen
 * to be a primary it may become one at any moment, with its first client.  A
 * controller before us may have given that order, if the lock was ours and
 * the server has told nothing since.
 */
bool
may_write(struct ha *h)
{
	return is_primary(h) ||
	    (h->p.pg.running &&
		(h->s.role == ROLE_PROMOTED || h->s.maybe_promoted));
}

/* ---- load (3.3) ---- */

/*
 * The leader's member key may run out before its lock, when its updates get
 * through and their answers do not.  Its address is wanted when the lock is
 * gone.
 */
static bool
tells_less(const struct view *v, const struct view *old)
{
	return old != NULL && strcmp(v->leader, old->leader) == 0 &&
	    view_member(v, v->leader) == NULL &&
	    view_member(old, v->leader) != NULL;
}

static void
take_view(struct ha *h, const struct view *v, int64_t sent)
{
	struct state *s = &h->s;
	int64_t at = sent != 0 ? sent : h->p.now, before = s->view_at;
	const struct view_member *l;

	s->view = v;
	s->view_at = at;
	s->view_until = at + ttl_ns(h);
	s->last_seen_us = wall_now(h);
	if (s->old_view == NULL ||
	    (!view_unlocked(v) && !tells_less(v, s->old_view)) ||
	    (view_unlocked(s->old_view) && view_empty(s->old_view)))
		s->old_view = v;
	failsafe_remember(h, v);
	failsafe_patch(h, true);
	if (!unlocked(h))
		s->backoff_start = s->unlocked_at = 0;
	else if (s->unlocked_at == 0 || at - before >= ttl_ns(h))
		s->unlocked_at = h->p.now; /* or unseen: a lock lasts ttl */
	s->may_own = has_lock(h) ? h->p.now + ttl_ns(h) : 0;
	if (s->silent && has_lock(h))
		s->maybe_promoted = true;
	if (!has_lock(h))
		s->trusted = 0;
	l = leader_member(h);
	s->leader_timeline = l == NULL ? 0 : l->timeline;
}

static enum rc
ask_view(struct ha *h, bool *ok)
{
	const struct ha_ev *ev;
	struct ha_fx *fx = ask_new(h, FX_LOAD, dcs_timeout(h));

	TRY(await(h, fx->id, &ev));
	*ok = ev->outcome == OUTCOME_OK && ev->view != NULL;
	if (*ok)
		take_view(h, ev->view, ev->sent);
	else
		ha_log(h, LOG_LVL_ERROR, "dcs.error",
		    "Error communicating with DCS%s%s",
		    ev->error == NULL ? "" : ": ",
		    ev->error == NULL ? "" : ev->error);
	return RC_OK;
}

enum rc
load_plain(struct ha *h, bool *ok)
{
	return ask_view(h, ok);
}

enum rc
load(struct ha *h)
{
	bool ok;

	TRY(ask_view(h, &ok));
	if (!ok)
		return RC_DCS;
	options_adopt(h);
	return RC_OK;
}

static void
log_lock(struct ha *h)
{
	const char *owner = unlocked(h) ? "None" : h->s.view->leader;

	if (h->p.lock_logged)
		return;
	h->p.lock_logged = true;
	ha_log(h, LOG_LVL_INFO, NULL, "Lock owner: %s; I am %s", owner,
	    h->conf.name);
}

/* ---- the rows of 3.4 ---- */

/* 2, 2b */
static void
row_pause(struct ha *h)
{
	if (h->s.was_paused && BROKEN(h, RESUME))
		h->s.opt.pause = true;
	if (h->s.opt.pause) {
		if (!BROKEN(h, PAUSE_FENCE))
			watchdog_disarm(h, 1);
		h->s.was_paused = true;
		return;
	}
	if (!h->s.was_paused)
		return;
	h->s.rewind = REWIND_INITIAL;
	h->s.was_paused = false;
}

/* 4: a wiped or never written key is restored by the lock holder */
static enum rc
row_initialize(struct ha *h)
{
	const struct view *v = h->s.view;
	enum outcome outcome;
	struct ha_fx *fx;

	if (!has_lock(h) || v->initialize_valid || h->p.pg.sysid[0] == '\0' ||
	    !time_for_more(h) || BROKEN(h, INITIALIZE))
		return RC_OK;
	fx = dcs_new(h, OP_INITIALIZE);
	fx->dcs.u.initialize.create = !v->has_initialize;
	memcpy(fx->dcs.u.initialize.sysid, h->p.pg.sysid,
	    sizeof(fx->dcs.u.initialize.sysid));
	return dcs_wait(h, fx->id, &outcome, NULL);
}

/* 5 */
static enum rc
row_config(struct ha *h)
{
	const struct view *v = h->s.view;
	enum outcome outcome;
	struct ha_fx *fx;
	bool ok;

	if (!has_lock(h) || tree_count(h->dynamic) == 0 || !time_for_more(h))
		return RC_OK;
	if (v->has_config && v->config_modify != 0 && tree_count(v->config) > 0)
		return RC_OK;
	fx = dcs_new(h, OP_SET_CONFIG);
	fx->dcs.doc = keep_tree(h, tree_share(h->dynamic));
	TRY(dcs_wait(h, fx->id, &outcome, NULL));
	TRY(load_plain(h, &ok));
	return ok ? RC_OK : RC_DCS;
}

/* 9: the start that was begun has failed */
static enum rc
row_start_failed(struct ha *h)
{
	bool ok;

	watchdog_disarm(h, 0);
	log_lock(h);
	if (!has_lock(h))
		return say(
		    h, "recover.start-failed", "failed to start postgres");
	if (h->s.role == ROLE_PRIMARY || h->s.role == ROLE_STANDBY_LEADER)
		set_role(h, ROLE_DEMOTED, true);
	TRY(lock_delete(h, 0, &ok));
	return say(h, "recover.key-removed",
	    "removed leader key after trying and failing to start postgres");
}

/* 9, 10 */
static enum rc
row_recovering(struct ha *h)
{
	if (!h->s.recovering)
		return RC_OK;
	h->s.recovering = false;
	if (!rewind_wanted(h) && !h->p.pg.running)
		return row_start_failed(h);
	h->s.crash_recovery_at = 0;
	if (h->s.rewind == REWIND_SUCCESS)
		h->s.rewind = REWIND_INITIAL;
	return RC_OK;
}

/* 12 */
static enum rc
row_datadir(struct ha *h)
{
	bool unreadable = h->p.pg.datadir == DATADIR_UNREADABLE;
	enum ha_job_result result;
	struct ha_job job;

	if (h->p.pg.datadir == DATADIR_OK)
		return RC_OK;
	set_role(h, ROLE_UNINITIALIZED, false);
	if (h->p.pg.running) {
		job_init(&job, JOB_STOP);
		job.stop_mode = STOP_IMMEDIATE;
		job.timeout_ns = retry_ns(h);
		TRY(job_run(h, &job, &result));
		TRY(ask_snapshot_again(h));
		/* it goes on: neither fence nor key may go before it */
		if (result != JOB_OK && result != JOB_NOTHING)
			return say(h, "demote.stop-failed",
			    "PostgreSQL could not be stopped");
	}
	watchdog_disarm(h, 0);
	log_lock(h);
	if (has_lock(h)) {
		TRY(lock_release(h, 0));
		return say(h, "datadir.release",
		    "released leader key "
		    "voluntarily as data dir %s and currently leader",
		    unreadable ? "not accessible" : "empty");
	}
	if (unreadable)
		return say(h, "datadir.unreadable",
		    "data directory is not accessible: %s",
		    h->p.pg.datadir_error);
	if (h->s.opt.pause)
		return say(h, "datadir.empty-paused",
		    "running with empty data directory");
	return bootstrap(h);
}

/* 14, 15 */
static enum rc
row_sysid_differs(struct ha *h)
{
	const struct view *v = h->s.view;

	if (!v->initialize_valid || strcmp(v->initialize, h->p.pg.sysid) == 0 ||
	    BROKEN(h, SYSID))
		return RC_OK;
	if (h->s.opt.pause) {
		ha_log(h, LOG_LVL_WARNING, "sysid.changed",
		    "system ID has "
		    "changed while in paused mode. Patroni will exit when "
		    "resuming unless system ID is reset: %s != %s",
		    v->initialize, h->p.pg.sysid);
		if (!has_lock(h))
			return RC_OK;
		TRY(lock_release(h, 0));
		return say(h, "sysid.release",
		    "released leader key "
		    "voluntarily due to the system ID mismatch");
	}
	ha_log(h, LOG_LVL_CRITICAL, "sysid.mismatch",
	    "system ID mismatch, "
	    "node %s belongs to a different cluster: %s != %s",
	    h->conf.name, v->initialize, h->p.pg.sysid);
	h->s.exit_code = 1;
	return RC_EXIT;
}

/* 16 and 10.4: a node with data and no /initialize, in its first cycles */
static enum rc
row_sysid_missing(struct ha *h)
{
	const struct view *v = h->s.view;
	enum outcome outcome;
	struct ha_fx *fx;

	if (v->initialize_valid)
		h->s.initialized = true;
	if (v->initialize_valid || !unlocked(h) || h->s.opt.pause ||
	    h->s.initialized)
		return RC_OK;
	if (h->p.pg.running && !is_primary(h)) {
		ha_log(h, LOG_LVL_ERROR, "join.abort",
		    "No initialize key in "
		    "DCS and PostgreSQL is running as replica, aborting start");
		ha_log(h, LOG_LVL_ERROR, "join.abort",
		    "Please first start "
		    "Patroni on the node running as primary");
		h->s.join_aborted = true;
		h->s.exit_code = 1;
		return RC_EXIT;
	}
	fx = dcs_new(h, OP_INITIALIZE);
	fx->dcs.u.initialize.create = !v->has_initialize;
	memcpy(fx->dcs.u.initialize.sysid, h->p.pg.sysid,
	    sizeof(fx->dcs.u.initialize.sysid));
	TRY(dcs_wait(h, fx->id, &outcome, NULL));
	h->s.initialized = outcome == OUTCOME_OK;
	return RC_OK;
}

/*
 * 13.  Without an identifier it takes no lock.  A primary that has lost its
 * own would be fenced when what was left of the lease is over, and until then
 * nobody could succeed it: it stops itself.  One that no keeper was armed for,
 * met running by a controller that never held the lock for it, is left alone.
 */
static enum rc
row_sysid_invalid(struct ha *h)
{
	if (may_write(h) && !h->s.opt.pause &&
	    (h->s.wd_fence_armed || h->s.wd_device_running))
		TRY(demote(h, DEMOTE_IMMEDIATE_NOLOCK));
	return say(h, "sysid.invalid",
	    "data dir for the cluster is "
	    "not empty, but system ID is invalid; consider doing "
	    "reinitialize");
}

/*
 * 13-16.  A primary that holds the lock goes on refreshing it when its
 * identifier cannot be read any more, or the lease would run out under it; and
 * beside another one's lock it stops, whatever its data are.
 */
static enum rc
row_sysid(struct ha *h)
{
	if (h->p.pg.sysid[0] == '\0' && is_primary(h) && !unlocked(h))
		return RC_OK;
	if (h->p.pg.sysid[0] == '\0')
		return row_sysid_invalid(h);
	TRY(row_sysid_differs(h));
	return row_sysid_missing(h);
}

/* 17, 18 */
static enum rc
row_not_running(struct ha *h)
{
	bool ok;

	if (h->p.pg.running)
		return RC_OK;
	ha_log(
	    h, LOG_LVL_WARNING, "postgres.down", "Postgresql is not running.");
	log_lock(h);
	if (h->s.opt.pause) {
		set_state(h, STATE_STOPPED);
		if (has_lock(h)) {
			TRY(lock_delete(h, 0, &ok));
			return say(h, "pause.key-removed",
			    "removed leader "
			    "lock because postgres is not running");
		}
		if (h->s.rewind == REWIND_FAILED ||
		    (!rewind_executed(h) &&
			!(rewind_wanted(h) && rewind_allowed(h))))
			return say(h, "pause.down", "postgres is not running");
	}
	if (h->p.pg.state == STATE_RUNNING || starting(h))
		set_state(h, STATE_CRASHED);
	return recover(h);
}

/* 21: replication slots follow the view; errors never fail the cycle */
void
sync_slots(struct ha *h)
{
	struct ha_job job;

	if (busy(h) && h->s.action.kind != ACTION_PROMOTE)
		return;
	if (starting(h) || !h->p.pg.running)
		return;
	job_init(&job, JOB_SYNC_SLOTS);
	job.role = h->s.role;
	(void)job_start(h, &job);
}

/* 21c: slots that exist on the leader alone; the node starts anew for it */
static enum rc
row_copy_slots(struct ha *h)
{
	const struct view_member *l;
	struct ha_job job;

	if (h->p.pg.slots_to_copy[0] == '\0' || busy(h) || is_primary(h) ||
	    starting(h) || has_lock(h) || unlocked(h) || failsafe_active(h) ||
	    BROKEN(h, COPY_SLOTS))
		return RC_OK;
	l = view_member(h->s.view, h->s.view->leader);
	if (l == NULL || l->conn_url[0] == '\0')
		return RC_OK;
	job_init(&job, JOB_COPY_SLOTS);
	job_node(h, &job, l);
	job.role = h->s.role;
	TRY(action_begin(h, ACTION_COPY_SLOTS, &job, "copy_logical_slots"));
	return say(h, "slots.copy", "Copying logical slots %s from the primary",
	    h->p.pg.slots_to_copy);
}

/* 21b */
static void
row_first_callback(struct ha *h)
{
	struct ha_fx *fx;

	if (h->s.callbacks_seen || !h->p.pg.running || starting(h))
		return;
	if (h->s.action.kind != ACTION_PROMOTE && !is_primary(h))
		rewind_trigger(h);
	h->s.callbacks_seen = true;
	/* the start itself has run it, or the controller's former life */
	if (h->p.pg.callback_seen)
		return;
	fx = fx_new(h, FX_CALLBACK);
	fx->callback = CALLBACK_ON_START;
	fx->role = h->s.role;
}

static enum rc
follow_lock_owner(struct ha *h)
{
	char msg[NAME_SIZE * 3] = "";
	bool standby = h->s.opt.standby_cluster;

	if (!h->conf.mute)
		(void)snprintf(msg, sizeof(msg),
		    "no action. I am (%s), a secondary, and following a "
		    "%sleader (%s)",
		    h->conf.name, standby ? "standby " : "", h->s.view->leader);
	if (standby)
		return follow(h, "replica.standby-cluster.demote",
		    "cannot be a real primary in a standby cluster",
		    "replica.no-action", msg, false);
	return follow(h, "replica.demote",
	    "demoting self because I do not "
	    "have the lock and I was a leader",
	    "replica.no-action", msg, false);
}

/* 19, 20 */
static enum rc
row_decide(struct ha *h)
{
	enum rc rc;

	h->p.decided = true;
	log_lock(h);
	if (unlocked(h))
		return race(h);
	rc = has_lock(h) ? lead(h) : follow_lock_owner(h);
	if (rc != RC_MSG)
		return rc;
	return scheduled_restart(h);
}

/* Rows 1 to 20. */
static enum rc
decide(struct ha *h)
{
	TRY(load(h)); /* 1 */
	row_pause(h); /* 2: a server that does not answer keeps no fence */
	TRY(ask_snapshot(h));
	if (view_member(h->s.view, h->conf.name) == NULL)
		publish_member(h); /* 3 */
	TRY(row_initialize(h));	   /* 4 */
	TRY(row_config(h));	   /* 5 */
	if (busy(h) && !BROKEN(h, BUSY))
		return long_action(h); /* 6 */
	TRY(startup_check(h));	       /* 7 */
	if (h->s.bootstrapping)
		return bootstrap_after(h); /* 8 */
	TRY(row_recovering(h));		   /* 9-11 */
	TRY(row_datadir(h));		   /* 12 */
	TRY(row_sysid(h));		   /* 13-16 */
	TRY(row_not_running(h));	   /* 17, 18 */
	TRY(row_decide(h));		   /* 19, 20 */
	return RC_BUG;
}

/* ---- the frame (3.1, 3.2) ---- */

static void
schedule(struct ha *h)
{
	struct state *s = &h->s;
	int64_t at;

	s->next_run += loop_ns(h);
	if (s->next_run <= h->p.now) {
		ha_log(h, LOG_LVL_WARNING, NULL,
		    "Loop time exceeded, rescheduling immediately.");
		s->next_run = h->p.now + NS_PER_MS;
	}
	/* a cycle before its time does not make the gap after it longer */
	if (s->next_run > h->p.now + loop_ns(h))
		s->next_run = h->p.now + loop_ns(h);
	at = s->next_run;
	if (s->earlier != 0 && s->earlier < at)
		at = s->earlier;
	s->earlier = 0;
	fx_new(h, FX_TIMER)->at = at;
}

static void
finish(struct ha *h)
{
	const char *prefix = h->s.opt.pause ? "PAUSE: " : "";

	ha_log(h, LOG_LVL_INFO, h->p.rule, "%s%s", prefix, h->p.msg);
	journal_decision(h);
	h->s.cycles++;
	h->s.loop_ns = h->p.now - h->start;
	schedule(h);
	fx_new(h, FX_PUBLISH);
}

static bool
was_dcs_error(const struct ha *h)
{
	return strncmp(h->p.rule, "dcs.", 4) == 0;
}

enum rc
run_cycle(struct ha *h)
{
	enum rc rc;

	h->s.prev_wal = h->s.last_wal;
	rc = decide(h);
	if (rc == RC_PENDING)
		return rc;
	if (rc == RC_DCS) {
		rc = dcs_error(h);
		if (rc == RC_PENDING)
			return rc;
	}
	if (rc == RC_PG)
		(void)say(h, "postgres.error",
		    "Error communicating with "
		    "PostgreSQL. Will try again later");
	else if (rc == RC_EXIT)
		(void)say(h, "exit", "exiting");
	else if (rc != RC_MSG)
		(void)say(h, "internal.error",
		    "Unexpected exception raised, "
		    "please report it as a BUG");
	if (rc == RC_EXIT)
		h->s.exiting = true;
	if (!was_dcs_error(h)) {
		if (h->p.decided && !h->s.exiting) {
			sync_slots(h);		 /* 21 */
			row_first_callback(h);	 /* 21b */
			(void)row_copy_slots(h); /* 21c: its message stays */
		}
		if (trusted(h))
			failsafe_clear(h);
		publish_member(h);
	}
	finish(h);
	return RC_OK;
}
