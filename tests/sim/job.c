/*
 * job.c: the controller's jobs as a model: each takes its time, may fail,
 * and dies with its controller.  PostgreSQL goes on without it.
 */
#include "sim.h"

#define LOOK (20 * MS)

static void step(struct world *, struct ev *);

static void
set_state(struct node *n, enum pg_state s)
{
	n->state = s;
	n->state_since = local_time(n);
}

static struct node *
source(struct node *n)
{
	const struct ha_job *j = &n->job.spec;

	return j->has_node ? node_named(n->w, j->node.name) : NULL;
}

static bool
source_up(struct node *n)
{
	struct node *s = source(n);

	return s != NULL && s->pg.run == PG_UP && !s->pg.hung &&
	    linked(n->w, n->i, s->i) && linked(n->w, s->i, n->i);
}

static bool
fails(struct node *n)
{
	return n->disk_full || (n->jobs_fail && chance(n->w, 50));
}

/* ---- events to the core ---- */

static void
progress(struct node *n, enum ha_progress p)
{
	struct ha_ev ev;

	memset(&ev, 0, sizeof(ev));
	ev.type = EV_JOB_PROGRESS;
	ev.id = n->job.id;
	ev.progress = p;
	if (p == PROGRESS_SHUT_DOWN)
		ev.lsn = ev.prev_lsn = n->pg.checkpoint;
	node_feed(n, &ev);
}

static void
done_id(struct node *n, uint64_t id, enum ha_job_result r)
{
	struct ha_ev ev;

	memset(&ev, 0, sizeof(ev));
	ev.type = EV_JOB_DONE;
	ev.id = id;
	ev.result = r;
	node_feed(n, &ev);
}

static void
done(struct node *n, enum ha_job_result r)
{
	uint64_t id = n->job.id;

	n->job.on = false;
	trace(n->w, n, "  job %d ends: %d", (int)n->job.spec.kind, (int)r);
	done_id(n, id, r);
}

static void
again(struct node *n, int64_t delay)
{
	at(n->w, n->w->now + delay, step, n, PROC_POSTGRES)->id = n->job.seq;
}

static void
takes(struct node *n, int64_t low, int64_t high)
{
	n->job.phase++;
	again(n, rnd_range(n->w, low, high));
}

/* The signal is refused, or a backend outlives its postmaster. */
static bool
stop_fails(struct node *n)
{
	if (!pg_running(n) || !n->stop_fails)
		return false;
	set_state(n, STATE_STOP_FAILED);
	n->stop_failed = n->w->now;
	return true;
}

/* ---- starting ---- */

static void spawn(struct node *, bool primary);

static void
start(struct node *n, bool primary)
{
	struct job *j = &n->job;

	set_state(n, STATE_STARTING);
	n->role = j->spec.role;
	n->pg.standby_files = !primary;
	if (!primary) {
		struct node *s = source(n);

		n->pg.follow = s == NULL ? -1 : s->i;
	}
	spawn(n, primary);
}

static void
spawn(struct node *n, bool primary)
{
	struct job *j = &n->job;

	pg_start(n, primary);
	progress(n, PROGRESS_SPAWNED);
	j->phase = 100;
	j->began = n->w->now;
	if (j->on)
		again(n, LOOK);
}

static void
wait_start(struct node *n)
{
	struct job *j = &n->job;
	int64_t most = j->spec.timeout_ns > 0 ? j->spec.timeout_ns : 60 * SEC;

	if (n->pg.run == PG_DOWN) {
		set_state(n, STATE_START_FAILED);
		done(n,
		    j->cancelled || j->spec.timeout_ns > 0 ? JOB_FAILED :
							     JOB_NOTHING);
		return;
	}
	if (n->pg.run == PG_UP && !n->pg.hung) {
		set_state(n, STATE_RUNNING);
		done(n, JOB_OK);
		return;
	}
	if (j->cancelled) {
		done(n, JOB_FAILED);
		return;
	}
	if (n->w->now - j->began > most) {
		done(n, j->spec.timeout_ns > 0 ? JOB_FAILED : JOB_NOTHING);
		return;
	}
	again(n, LOOK);
}

static void
start_fails(struct node *n)
{
	set_state(n, STATE_START_FAILED);
	done(n, n->job.spec.timeout_ns > 0 ? JOB_FAILED : JOB_NOTHING);
}

static void
follow_start(struct node *n)
{
	if (n->job.cancelled)
		done(n, JOB_FAILED);
	else if (fails(n))
		start_fails(n);
	else
		start(n, n->job.spec.kind == JOB_START_PRIMARY);
}

static void
job_follow(struct node *n)
{
	switch (n->job.phase) {
	case 0:
		if (!n->pg.data) {
			done(n, JOB_NOTHING);
			return;
		}
		if (stop_fails(n)) {
			done(n, JOB_FAILED);
			return;
		}
		if (pg_running(n)) {
			set_state(n, STATE_RESTARTING);
			pg_stop(n, STOP_FAST);
			n->job.phase = 1;
			n->job.began = n->w->now;
			again(n, LOOK);
			return;
		}
		takes(n, 5 * MS, 100 * MS);
		n->job.phase = 2;
		return;
	case 1:
		if (pg_running(n)) {
			again(n, LOOK);
			return;
		}
		follow_start(n);
		return;
	case 2:
		follow_start(n);
		return;
	default:
		wait_start(n);
	}
}

/* As the controller's job: what comes up to write does so on a lease. */
static bool
lease_over(const struct node *n)
{
	return n->job.spec.kind == JOB_RESTART && !n->pg.standby_files &&
	    !ha_paused(n->h) && ha_trusted_until(n->h) <= local_time(n);
}

/* A restart, and the copy of slots, which needs one: as it was before. */
static void
job_restart(struct node *n)
{
	struct job *j = &n->job;

	switch (j->phase) {
	case 0:
		if (stop_fails(n)) {
			done(n, JOB_FAILED);
			return;
		}
		set_state(n,
		    j->spec.kind == JOB_RESTART ? STATE_RESTARTING :
						  STATE_STOPPING);
		if (pg_running(n))
			pg_stop(n, STOP_FAST);
		j->phase = 1;
		again(n, LOOK);
		return;
	case 1:
		if (pg_running(n)) {
			again(n, LOOK);
			return;
		}
		n->slots_wanted = false;
		if (j->cancelled || fails(n) || !n->pg.data || lease_over(n)) {
			set_state(n,
			    j->spec.kind == JOB_RESTART ? STATE_RESTART_FAILED :
							  STATE_START_FAILED);
			done(n, JOB_FAILED);
			return;
		}
		set_state(n, STATE_STARTING);
		spawn(n, !n->pg.standby_files);
		return;
	default:
		wait_start(n);
	}
}

/* ---- stopping ---- */

static void
job_stop(struct node *n)
{
	struct job *j = &n->job;
	struct pg *p = &n->pg;

	if (j->phase == 0) {
		j->phase = 1;
		j->began = n->w->now;
		if (stop_fails(n)) {
			done(n, JOB_FAILED);
			return;
		}
		if (pg_running(n)) {
			set_state(n, STATE_STOPPING);
			pg_stop(n, j->spec.stop_mode);
		}
	}
	if (p->run == PG_DOWN || p->safepoint) {
		if (j->spec.want_safepoint && !j->safepoint) {
			j->safepoint = true;
			progress(n, PROGRESS_SAFEPOINT);
		}
	}
	if (p->run != PG_DOWN && p->shut && p->control == CONTROL_SHUT_DOWN &&
	    j->spec.want_shutdown_lsn && !j->shut) {
		j->shut = true;
		progress(n, PROGRESS_SHUT_DOWN);
	}
	if (!j->on)
		return;
	if (p->run == PG_DOWN) {
		set_state(n, STATE_STOPPED);
		done(n, JOB_OK);
		return;
	}
	if (j->spec.timeout_ns > 0 && j->phase == 1 &&
	    n->w->now - j->began > j->spec.timeout_ns) {
		j->phase = 2;
		j->began = n->w->now;
		pg_stop(n, STOP_IMMEDIATE);
	} else if (j->phase == 2 && n->w->now - j->began > 5 * SEC)
		pg_kill(n);
	again(n, LOOK);
}

/* ---- promotion ---- */

/* The script, if any, has ended. */
static void
promote_begin(struct node *n)
{
	struct job *j = &n->job;

	if (j->cancelled) {
		done(n, JOB_CANCELLED);
		return;
	}
	if (n->pre_promote_fails) {
		trace(n->w, n, "  pre_promote fails");
		n->withheld = n->w->now;
		progress(n, PROGRESS_PRE_PROMOTE_FAILED);
		done(n, JOB_FAILED);
		return;
	}
	progress(n, PROGRESS_PRE_PROMOTE_OK);
	if (j->cancelled) {
		done(n, JOB_CANCELLED);
		return;
	}
	if (n->pg.run != PG_UP || n->pg.hung || fails(n)) {
		done(n, JOB_FAILED);
		return;
	}
	if (n->pg.primary) {
		progress(n, PROGRESS_PROMOTED);
		done(n, JOB_OK);
		return;
	}
	check_order(n);
	pg_promote(n);
	n->role = ROLE_PROMOTED;
	j->began = n->w->now;
	j->phase = 2;
	progress(n, PROGRESS_PROMOTED);
	if (j->on)
		again(n, LOOK);
}

static void
job_promote(struct node *n)
{
	struct job *j = &n->job;

	if (j->phase == 0 && n->w->pre_promote) {
		takes(n, 50 * MS, 6 * SEC);
		return;
	}
	if (j->phase < 2) {
		promote_begin(n);
		return;
	}
	if (n->pg.run == PG_UP && n->pg.primary) {
		n->role = ROLE_PRIMARY;
		done(n, JOB_OK);
		return;
	}
	if (j->cancelled || n->pg.run == PG_DOWN ||
	    n->w->now - j->began > n->w->loop_wait * SEC) {
		done(n, JOB_NOTHING);
		return;
	}
	again(n, LOOK);
}

/* ---- data directories ---- */

static void
job_bootstrap(struct node *n)
{
	switch (n->job.phase) {
	case 0:
		set_state(n, STATE_INITDB);
		takes(n, SEC, 4 * SEC);
		return;
	case 1:
		if (n->job.cancelled || fails(n)) {
			set_state(n, STATE_INITDB_FAILED);
			done(n, JOB_FAILED);
			return;
		}
		pg_new_cluster(n);
		n->bootstraps = true;
		start(n, !n->w->custom_bootstrap);
		if (n->w->custom_bootstrap)
			pg_recovers(n);
		return;
	default:
		wait_start(n);
	}
}

static void
job_clone(struct node *n)
{
	struct node *s = source(n);

	if (n->job.phase == 0) {
		set_state(n, STATE_CREATING_REPLICA);
		n->pg.data = n->sysid_known = false;
		takes(n, SEC, 12 * SEC);
		return;
	}
	if (n->job.cancelled || fails(n) || !source_up(n)) {
		set_state(n, STATE_STOPPED);
		done(n, n->job.cancelled ? JOB_CANCELLED : JOB_FAILED);
		return;
	}
	n->pg.data = true;
	n->pg.sysid = s->pg.sysid;
	n->pg.wal = s->pg.wal;
	/*
	 * The control file is the source's.  Before 15 a backup_label keeps
	 * nobody from a single-user recovery (8.1), which would end the copy
	 * at a place of its own: not modelled.
	 */
	n->pg.control = s->pg.primary && n->w->pg_version >= 150000 ?
	    CONTROL_IN_PRODUCTION :
	    CONTROL_IN_ARCHIVE_RECOVERY;
	n->pg.checkpoint = s->pg.checkpoint;
	n->pg.checkpoint_tli = s->pg.checkpoint_tli;
	n->pg.primary = false;
	n->pg.backup_label = true;
	n->pg.follow = -1;
	set_state(n, STATE_STOPPED);
	done(n, JOB_OK);
}

static void
job_rewind(struct node *n)
{
	struct job *j = &n->job;
	struct node *s = source(n);
	uint64_t common;

	if (j->phase == 0) {
		if (!source_up(n) || !s->pg.primary ||
		    j->spec.node.checkpoint_after_promote == CAP_PENDING) {
			done(n, JOB_NOTHING);
			return;
		}
		if (stop_fails(n)) {
			done(n, JOB_NOTHING);
			return;
		}
		if (pg_running(n))
			pg_stop(n, STOP_FAST);
		j->phase = 1;
	}
	if (j->phase == 1) {
		if (pg_running(n)) {
			again(n, LOOK);
			return;
		}
		set_state(n, STATE_STOPPED);
		takes(n, SEC, 8 * SEC);
		return;
	}
	if (!source_up(n) || !s->pg.primary) {
		done(n, JOB_UNREACHABLE);
		return;
	}
	if (j->cancelled || fails(n)) {
		done(n, j->cancelled ? JOB_CANCELLED : JOB_FAILED);
		return;
	}
	common = wal_common(&n->pg.wal, &s->pg.wal);
	if (common == 0) {
		done(n, JOB_FAILED);
		return;
	}
	trace(n->w, n, "  rewound to %llu", (unsigned long long)common);
	n->pg.wal = s->pg.wal;
	n->pg.control = CONTROL_IN_ARCHIVE_RECOVERY;
	n->pg.checkpoint = s->pg.checkpoint;
	n->pg.checkpoint_tli = s->pg.checkpoint_tli;
	n->pg.primary = false;
	n->w->rejoins++;
	done(n, JOB_OK);
}

static void
job_crash_recovery(struct node *n)
{
	if (n->job.phase == 0) {
		takes(n, 500 * MS, (n->slow_start ? 90 : 4) * SEC);
		return;
	}
	if (n->job.cancelled || fails(n) || pg_running(n)) {
		done(n, n->job.cancelled ? JOB_CANCELLED : JOB_FAILED);
		return;
	}
	if (!n->pg.standby_files) {
		n->pg.checkpoint = n->pg.wal.end;
		n->pg.checkpoint_tli = pg_tli(&n->pg);
		n->pg.wal.end += CHECKPOINT_RECORD;
		n->pg.control = CONTROL_SHUT_DOWN;
	}
	done(n, JOB_OK);
}

static void
job_remove(struct node *n)
{
	if (n->job.phase == 0) {
		takes(n, 100 * MS, 2 * SEC);
		return;
	}
	n->pg.data = false;
	n->pg.wal.n = 0;
	n->pg.wal.end = 0;
	n->bootstraps = false;
	done(n, JOB_OK);
}

static void
job_short(struct node *n)
{
	if (n->job.phase == 0)
		takes(n, 100 * MS, SEC);
	else
		done(n, n->job.cancelled || fails(n) ? JOB_FAILED : JOB_OK);
}

static void
run(struct node *n)
{
	switch (n->job.spec.kind) {
	case JOB_BOOTSTRAP:
		job_bootstrap(n);
		return;
	case JOB_CLONE:
		job_clone(n);
		return;
	case JOB_FOLLOW:
	case JOB_START_PRIMARY:
		job_follow(n);
		return;
	case JOB_STOP:
		job_stop(n);
		return;
	case JOB_PROMOTE:
		job_promote(n);
		return;
	case JOB_RESTART:
	case JOB_COPY_SLOTS:
		job_restart(n);
		return;
	case JOB_REWIND:
		job_rewind(n);
		return;
	case JOB_CRASH_RECOVERY:
		job_crash_recovery(n);
		return;
	case JOB_REMOVE_DATA:
	case JOB_MOVE_DATA:
		job_remove(n);
		return;
	default:
		job_short(n);
	}
}

static void
step(struct world *w, struct ev *e)
{
	(void)w;
	if (e->n->job.on && e->id == e->n->job.seq)
		run(e->n);
}

/* ---- work beside the long action ---- */

#define BACKGROUND_FAILS (1LL << 32) /* beside the kind in ev.arg */

static void
on_background(struct world *w, struct ev *e)
{
	struct node *n = e->n;
	int64_t kind = e->arg & ~BACKGROUND_FAILS;
	bool fail = (e->arg & BACKGROUND_FAILS) != 0;

	(void)w;
	if (kind == JOB_ADVANCE_WAL && pg_writable(n) && !n->disk_full)
		n->pg.wal.end += 100;
	if (kind == JOB_SYNC_SLOTS)
		slots_sync(n);
	if (kind == JOB_RESUME_REPLAY)
		n->pg.replay_paused = false;
	if (kind == JOB_CHECKPOINT) {
		fail = fail || n->pg.run != PG_UP || n->pg.hung;
		if (!fail) {
			n->pg.checkpoint = n->pg.wal.end;
			n->pg.checkpoint_tli = pg_tli(&n->pg);
		}
	}
	done_id(n, e->id, fail ? JOB_FAILED : JOB_OK);
}

static bool
background(struct node *n, const struct ha_fx *fx)
{
	struct world *w = n->w;
	bool fail = n->disk_full || (n->jobs_fail && chance(w, 30));
	struct node *t;
	struct ev *e;

	switch (fx->job.kind) {
	case JOB_RELOAD_RECOVERY:
		t = fx->job.has_node ? node_named(w, fx->job.node.name) : NULL;
		n->pg.follow = t == NULL ? -1 : t->i;
		break;
	case JOB_SET_SSN:
		if (fail && chance(w, 80)) {
			trace(
			    w, n, "  synchronous_standby_names cannot be set");
			break; /* else applied, and the answer is a failure */
		}
		trace(w, n, "  synchronous_standby_names = '%s'", fx->job.text);
		if (pg_writable(n))
			w->ssn_by_hand = false;
		if (!text_set(n->pg.ssn, sizeof(n->pg.ssn), fx->job.text))
			violate(w, "%s: a very long SSN", n->name);
		check_sync(w);
		break;
	case JOB_CHECKPOINT:
	case JOB_SYNC_SLOTS:
	case JOB_RESUME_REPLAY:
	case JOB_SET_CONFIG:
	case JOB_SAVE_CACHE:
	case JOB_ADVANCE_WAL:
		break;
	default:
		return false;
	}
	e = at(w,
	    w->now +
		(fx->job.kind == JOB_CHECKPOINT ?
			rnd_range(w, 100 * MS, 3 * SEC) :
			2 * MS),
	    on_background, n, PROC_POSTGRES);
	e->id = fx->id;
	e->arg = (int64_t)fx->job.kind | (fail ? BACKGROUND_FAILS : 0);
	return true;
}

void
job_begin(struct node *n, const struct ha_fx *fx)
{
	struct job *j = &n->job;
	uint32_t seq = j->seq + 1;

	if (background(n, fx))
		return;
	if (j->on) {
		violate(n->w, "%s: job %d begins while job %d runs", n->name,
		    (int)fx->job.kind, (int)j->spec.kind);
		return;
	}
	trace(n->w, n, "  job %d begins%s%s", (int)fx->job.kind,
	    fx->job.has_node ? " with " : "",
	    fx->job.has_node ? fx->job.node.name : "");
	memset(j, 0, sizeof(*j));
	j->on = true;
	j->seq = seq;
	j->id = fx->id;
	j->spec = fx->job;
	/* not from within the core's own call */
	again(n, 0);
}

void
job_cancel(struct node *n, uint64_t id)
{
	struct job *j = &n->job;

	if (!j->on || j->id != id)
		return;
	trace(n->w, n, "  job %d is cancelled", (int)j->spec.kind);
	j->cancelled = true;
	/* programs that it waits for are killed */
	if (j->spec.kind == JOB_CLONE || j->spec.kind == JOB_REWIND ||
	    j->spec.kind == JOB_CRASH_RECOVERY ||
	    j->spec.kind == JOB_BOOTSTRAP ||
	    (j->spec.kind == JOB_PROMOTE && j->phase < 2)) {
		j->seq++;
		again(n, rnd_range(n->w, MS, SEC));
	}
}

void
job_drop(struct node *n)
{
	n->job.on = false;
	n->job.seq++;
}
