/*
 * ha.c: the machine: events in, runs, effects out.  No rule is decided here.
 *
 * One run at a time: a cycle, the handling of one event of the long action or
 * of one request, or the shutdown.  Events that answer the run feed it (see
 * ha_ask.c); all others wait until it is over.
 */
#include <stdlib.h>

#include "ha_int.h"

static void copy_config(struct ha *, const struct ha_config *);

struct ha *
ha_new(const struct ha_config *conf)
{
	struct ha *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->s.rewind = REWIND_INITIAL;
	h->s.role = ROLE_UNINITIALIZED;
	h->s.wd_up = true;
	h->s.dcs_up = true;
	copy_config(h, conf);
	options_read(h->dynamic, &h->s.opt);
	return h;
}

void
ha_free(struct ha *h)
{
	uint32_t i;

	if (h == NULL)
		return;
	for (i = 0; i < h->nanswers; i++)
		ha_event_free(h, h->answers[i]);
	for (i = 0; i < h->nqueue; i++)
		ha_event_free(h, h->queue[i]);
	ha_event_free(h, (struct event *)(uintptr_t)h->input);
	while (h->spare != NULL) {
		struct event *e = h->spare;

		h->spare = e->next;
		free(e);
	}
	free(h->spare_pg);
	drop_trees(h);
	for (i = 0; i < h->nviews; i++)
		view_free(h->views[i]);
	tree_free(h->tags_doc);
	tree_free(h->plain_doc);
	tree_free(h->dynamic);
	tree_free(h->read_doc);
	free(h->views);
	free(h->trees);
	free(h->blobs);
	free(h->fx);
	free(h);
}

static void
copy_config(struct ha *h, const struct ha_config *conf)
{
	tree_free(h->tags_doc);
	if (h->plain_doc != NULL) /* an effect may hold it */
		keep_tree(h, h->plain_doc);
	h->plain_doc = NULL;
	h->conf = *conf;
	h->tags_doc = tags_published(conf->tags_doc);
	if (h->tags_doc == NULL)
		abort();
	h->conf.tags_doc = h->tags_doc;
	h->conf.dynamic = NULL;
	if (h->dynamic == NULL) {
		h->dynamic = conf->dynamic != NULL ? tree_copy(conf->dynamic) :
						     tree_map();
		if (h->dynamic == NULL)
			abort();
	}
}

/* ---- runs ---- */

static void
run_begin(struct ha *h, enum run_kind kind, const struct event *input)
{
	h->run = kind;
	h->input = input;
	h->start = h->now;
	h->wall_start = h->wall;
	h->emitted = h->noted = 0;
	h->read_view = NULL;
	h->run_reasons[0] = h->run_effects[0] = '\0';
	h->nanswers = 0;
	h->waiting = 0;
	h->fresh = true;
	state_copy(&h->base, &h->s);
}

static void
run_end(struct ha *h)
{
	uint32_t i;

	/* claimed, but the run broke off before anything was begun */
	if (busy(h) && h->s.action.job == 0)
		action_end(h, false);
	for (i = 0; i < h->nanswers; i++) {
		struct event *e = h->answers[i];

		if (e->view != NULL)
			keep_view(h, e->view);
		e->view = NULL;
		ha_event_free(h, e);
	}
	h->nanswers = 0;
	h->waiting = 0;
	ha_event_free(h, (struct event *)(uintptr_t)h->input);
	h->input = NULL;
	h->run = RUN_NONE;
	drop_views(h);
	if (h->s.wake)
		h->wake = true;
	h->s.wake = false;
}

static enum rc
run_once(struct ha *h)
{
	switch (h->run) {
	case RUN_CYCLE:
		return run_cycle(h);
	case RUN_ACTION:
		return action_event(h, &h->input->ev);
	case RUN_REQUEST:
		return request_event(h, h->input);
	case RUN_SHUTDOWN:
		return run_shutdown(h);
	case RUN_NONE:
		break;
	}
	return RC_BUG;
}

/* Nothing may be left half-way: no action without an end, no end unsaid. */
static void
run_failed(struct ha *h)
{
	if (h->run == RUN_ACTION && busy(h)) {
		ha_log(h, LOG_LVL_ERROR, "action.error",
		    "Exception during "
		    "execution of long running task %s",
		    h->s.action.name);
		action_end(h, true);
	} else
		ha_log(
		    h, LOG_LVL_ERROR, "internal.error", "Unexpected exception");
	if (h->run == RUN_REQUEST)
		reply(h, h->input->ev.request, 503, "internal error");
	if (h->run == RUN_SHUTDOWN)
		run_exit(h);
}

/* One pass, on the state as it was when the run began. */
static void
run_pass(struct ha *h)
{
	enum rc rc;

	if (!h->fresh)
		state_copy(&h->s, &h->base);
	h->fresh = false;
	pass_begin(&h->p);
	h->p.now = h->start;
	rc = run_once(h);
	if (rc == RC_PENDING) {
		if (h->p.ordinal > h->emitted)
			h->emitted = h->p.ordinal;
		if (h->p.notes > h->noted)
			h->noted = h->p.notes;
		return;
	}
	if (rc != RC_OK)
		run_failed(h);
	if (h->run == RUN_SHUTDOWN)
		h->finished = true;
	if (h->run != RUN_CYCLE)
		journal_carry(h);
	run_end(h);
}

/* ---- the daemon is to end ---- */

/*
 * What a run waits for when SIGTERM comes is given up where nothing is left
 * half-way by it.  Jobs of the run's own, and the key that says that somebody
 * bootstraps, are waited for.
 */
static bool
run_may_be_cut(const struct ha *h)
{
	const struct pass *p = &h->p;

	if (h->run == RUN_NONE || h->run == RUN_SHUTDOWN ||
	    h->base.bootstrapping || p->asked_id != h->waiting)
		return false;
	if (p->asked == FX_JOB)
		return p->asked_job == JOB_SET_SSN ||
		    p->asked_job == JOB_ADVANCE_WAL;
	return p->asked != FX_DCS ||
	    (p->asked_op != OP_INITIALIZE &&
		p->asked_op != OP_CANCEL_INITIALIZE);
}

static void
run_cut(struct ha *h)
{
	struct action *a = &h->s.action;

	if (!run_may_be_cut(h))
		return;
	/* won, kept or given up: the shutdown releases it to be sure */
	if (h->p.asked == FX_DCS)
		h->s.lock_unknown = true;
	h->emitted = 0; /* what follows is no repetition of a pass */
	h->p.now = h->now;
	if (h->run == RUN_REQUEST) {
		reply(h, h->input->ev.request, 503, "shutting down");
		if (a->request == h->input->ev.request)
			a->request = 0;
	}
	/* its job has ended, and what was to follow was not begun */
	if (h->run == RUN_ACTION && busy(h) && a->job == h->input->ev.id &&
	    h->input->ev.type != EV_JOB_PROGRESS)
		action_end(h, false);
	run_end(h);
}

/* ---- events that need no run ---- */

static void
on_attached(struct ha *h, const struct ha_ev *ev)
{
	h->s.attached = true;
	h->s.attached_at = h->now;
	h->s.role = ev->role;
	h->s.next_run = h->now;
	if (ev->pg != NULL) {
		h->s.pg_state = ev->pg->state;
		h->s.found_replica =
		    ev->pg->running && ev->role != ROLE_PRIMARY;
		h->s.silent = h->s.found_replica;
		/* the controller has issued on_start then (spec 2.1) */
		h->s.callbacks_seen =
		    ev->pg->running && ev->pg->state == STATE_RUNNING;
	}
	/* what an earlier controller armed is not known: disarm once if need be
	 */
	h->s.wd_maybe = true;
	h->wake = true;
	fx_new(h, FX_SETTINGS)->settings = h->s.opt.time;
}

static void
on_config(struct ha *h, const struct ha_ev *ev)
{
	if (ev->config == NULL)
		return;
	copy_config(h, ev->config);
	h->s.wd_tried = false;
	fx_new(h, FX_PUBLISH);
}

static void
on_helper(struct ha *h, const struct ha_ev *ev)
{
	if (ev->helper == PROC_WATCHDOG) {
		h->s.wd_up = ev->up;
		/* a new keeper has to be armed anew */
		h->s.wd_fence_armed = false;
		h->s.wd_device_running = false;
		h->s.wd_tried = false;
		/* until it has answered the settings */
		h->s.wd_unhealthy = h->conf.watchdog_mode == WATCHDOG_REQUIRED;
		h->wake = h->wake || ev->up;
		if (ev->up)
			fx_new(h, FX_SETTINGS)->settings = h->s.opt.time;
	} else if (ev->helper == PROC_DCS) {
		h->s.dcs_up = ev->up;
		h->wake = h->wake || ev->up;
		if (ev->up)
			fx_new(h, FX_SETTINGS)->settings = h->s.opt.time;
	}
}

/*
 * A state may have waited behind a run that disarmed the keeper meanwhile:
 * only the answer to an ARM sent after that says that it is armed.
 */
static void
on_watchdog(struct ha *h, const struct ha_ev *ev)
{
	bool answer = ev->id > h->s.wd_disarmed || BROKEN(h, STALE_ARM);

	if (ev->watchdog.fence_armed == 0 || answer)
		h->s.wd_fence_armed = ev->watchdog.fence_armed != 0;
	if (ev->watchdog.device_running == 0 || answer)
		h->s.wd_device_running = ev->watchdog.device_running != 0;
	if (ev->outcome != OUTCOME_OK)
		return;
	h->s.wd_unhealthy = ev->watchdog.healthy == 0;
	if (ev->watchdog.fenced)
		h->wake = true;
}

/* A job outside runs: the checkpoint after promotion (spec 7.4). */
static void
on_checkpoint(struct ha *h, const struct ha_ev *ev)
{
	if (ev->type != EV_JOB_DONE)
		return;
	h->s.checkpoint_job = 0;
	if (ev->result != JOB_OK)
		return;
	h->s.rewind = REWIND_CHECKPOINT;
	h->wake = true;
}

/* True when the event was used up here. */
static bool
event_simple(struct ha *h, const struct event *e)
{
	const struct ha_ev *ev = &e->ev;

	switch (ev->type) {
	case EV_ATTACHED:
		on_attached(h, ev);
		return true;
	case EV_CONFIG:
		on_config(h, ev);
		return true;
	case EV_HELPER:
		on_helper(h, ev);
		return true;
	case EV_WATCHDOG:
		on_watchdog(h, ev);
		return true;
	case EV_REQUEST:
		return false;
	default:
		break;
	}
	if (ev->id != 0 && ev->id == h->s.checkpoint_job) {
		on_checkpoint(h, ev);
		return true;
	}
	return ev->id == 0 || ev->id != h->s.action.job;
}

static bool
next_queued(struct ha *h)
{
	struct event *e = h->queue[0];

	h->nqueue--;
	memmove(&h->queue[0], &h->queue[1], h->nqueue * sizeof(h->queue[0]));
	if (event_simple(h, e)) {
		ha_event_free(h, e);
		return false;
	}
	run_begin(h, e->ev.type == EV_REQUEST ? RUN_REQUEST : RUN_ACTION, e);
	return true;
}

static bool
next_run(struct ha *h)
{
	while (h->nqueue > 0)
		if (next_queued(h))
			return true;
	if (h->finished || !h->s.attached)
		return false;
	if (h->shutdown || h->s.exiting) {
		run_begin(h, RUN_SHUTDOWN, NULL);
		return true;
	}
	if (!h->tick && !h->wake && !h->gone)
		return false;
	if (h->wake || h->gone)
		h->s.next_run = h->now;
	h->tick = h->wake = h->gone = false;
	run_begin(h, RUN_CYCLE, NULL);
	return true;
}

/* ---- events ---- */

static bool
may_queue(struct ha *h, const struct ha_ev *ev)
{
	uint32_t i, requests = 0;

	/* the one answer that the run waits for is used up at once */
	if (ev->id != 0 && ev->id == h->waiting)
		return h->nqueue <= MAX_QUEUE;
	for (i = 0; i < h->nqueue; i++)
		if (h->queue[i]->ev.type == EV_REQUEST)
			requests++;
	if (ev->type == EV_REQUEST)
		return requests < MAX_REQUESTS && h->nqueue < MAX_QUEUE;
	return h->nqueue < MAX_QUEUE;
}

static void
enqueue(struct ha *h, const struct ha_ev *ev)
{
	struct ha_fx *fx;

	if (may_queue(h, ev)) {
		h->queue[h->nqueue++] = event_copy(h, ev);
		return;
	}
	if (ev->type != EV_REQUEST)
		return;
	fx = fx_append(h, FX_REPLY);
	fx->request = ev->request;
	fx->reply.code = 503;
	(void)text_set(fx->reply.text, sizeof(fx->reply.text),
	    "too many requests are waiting");
}

/* An id that nobody can be waiting for any more is dropped. */
static bool
is_awaited(const struct ha *h, const struct ha_ev *ev)
{
	uint64_t id = ev->id;

	if (id == 0 || ev->type == EV_WATCHDOG || ev->type == EV_REQUEST)
		return true;
	if (id == h->s.action.job || id == h->s.checkpoint_job)
		return true;
	/* of a run: what it has asked itself, or the action's at its start */
	return h->run != RUN_NONE &&
	    (id > h->base.next_id || id == h->base.action.job);
}

void
ha_event(struct ha *h, const struct ha_ev *ev, int64_t now, int64_t wall_us,
    struct ha_effects *out)
{
	h->nfx = 0;
	drop_trees(h);
	if (now > h->now)
		h->now = now;
	h->wall = wall_us;
	switch (ev->type) {
	case EV_TICK:
		h->tick = true;
		break;
	case EV_WAKE:
		h->wake = true;
		break;
	case EV_POSTMASTER_GONE:
		h->gone = true;
		break;
	case EV_SHUTDOWN:
		h->shutdown = true;
		run_cut(h);
		break;
	default:
		arm_at_once(h, ev);
		if (is_awaited(h, ev) && !failsafe_at_once(h, ev))
			enqueue(h, ev);
		break;
	}
	if (h->run != RUN_NONE && ev->id != 0 && ev->id == h->waiting)
		run_pass(h);
	while (h->run == RUN_NONE && next_run(h))
		run_pass(h);
	out->v = h->fx;
	out->n = h->nfx;
}
