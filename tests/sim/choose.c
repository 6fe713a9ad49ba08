/*
 * choose.c: the options of a seed: sizes, times, which features the cluster
 * uses, and the nodes' tags.
 */
#include "sim.h"

static void
choose_times(struct world *w)
{
	static const int ttls[] = { 30, 30, 20, 20, 45 };
	static const int waits[] = { 10, 10, 5, 3, 10 };
	static const int retries[] = { 10, 5, 5, 8, 15 };
	int64_t k = rnd_range(w, 0, 4);

	w->ttl = ttls[k];
	w->loop_wait = waits[k];
	w->retry_timeout = retries[k];
}

static void
choose_watchdog(struct world *w)
{
	static const int margins[] = { 5, 5, -1, 3 };

	w->watchdog = chance(w, 50) ? WATCHDOG_OFF :
	    chance(w, 50)	    ? WATCHDOG_AUTOMATIC :
				      WATCHDOG_REQUIRED;
	w->safety_margin = margins[rnd_range(w, 0, 3)];
	/* T_w has to be loop_wait at least */
	if (w->safety_margin < 0 && w->ttl / 2 < w->loop_wait)
		w->safety_margin = 5;
}

void
choose_options(struct world *w)
{
	w->nnodes = (int)rnd_range(w, 3, MAX_NODES);
	choose_times(w);
	w->maximum_lag = chance(w, 50) ? 1048576 : 200000;
	w->rate = rnd_range(w, 1, 100) * 1000;
	w->check_timeline = chance(w, 50);
	w->use_rewind = chance(w, 80);
	w->failsafe = chance(w, 30);
	w->sync = chance(w, 50) ? (int)rnd_range(w, 1, 2) : 0;
	w->sync_strict = chance(w, 30);
	w->sync_count = (int)rnd_range(w, 1, 2);
	w->sync_lag = chance(w, 20) ? 300000 : -1;
	w->pg_version = chance(w, 80) ? 150004 : 120010;
	w->primary_start_timeout = chance(w, 60) ? 300 : chance(w, 50) ? 20 : 0;
	w->primary_stop_timeout = chance(w, 25) ? 20 : 0;
	w->race_backoff = chance(w, 15) ? (int)rnd_range(w, 5, 30) : 0;
	w->member_slots_ttl = chance(w, 50) ? 1800 : 60;
	w->pre_promote = chance(w, 20);
	w->archiving = chance(w, 40);
	w->logical_slots = chance(w, 15);
	w->operators = chance(w, 60);
	w->toggles = chance(w, 10);
	w->standby_seed = chance(w, 20);
	w->member_slots = chance(w, 15);
	w->custom_bootstrap = chance(w, 10);
	choose_watchdog(w);
	w->intensity = (int)rnd_range(w, 1, 12);
}

/*
 * The first two nodes may always lead and always stream, so that somebody
 * can.  Who replicates from whom makes no circle.
 */
void
choose_tags(struct node *n)
{
	struct world *w = n->w;
	struct tags *t = &n->tags;

	t->failover_priority = t->sync_priority = 1;
	if (!w->tagged && !chance(w, 35)) {
		n->old = chance(w, 15);
		return;
	}
	t->failover_priority = (int32_t)rnd_range(w, 1, 3);
	t->sync_priority = (int32_t)rnd_range(w, 1, 3);
	t->clonefrom = chance(w, 30);
	t->noloadbalance = chance(w, 20);
	t->nosync = chance(w, 20);
	if (t->nosync)
		t->sync_priority = 0;
	if (n->i < 2)
		return;
	t->nofailover = chance(w, 30);
	if (t->nofailover)
		t->failover_priority = 0;
	t->nostream = chance(w, 10);
	if (chance(w, 40))
		(void)text_set(t->replicatefrom, sizeof(t->replicatefrom),
		    w->node[rnd_range(w, 0, n->i - 1)].name);
}

static void
focus_sync(struct world *w, int mode)
{
	w->sync = mode;
	w->sync_strict = false;
	w->sync_lag = -1;
	w->toggles = w->standby_seed = false;
	if (mode == 2)
		w->nnodes = (int)rnd_range(w, 4, MAX_NODES);
}

/* A broken rule is looked for where its feature is in use. */
void
choose_focus(struct world *w, enum sim_break broken)
{
	switch (broken) {
	case BREAK_NONE:
		return;
	case BREAK_FAILSAFE_ONE:
	case BREAK_FAILSAFE_RECORD:
		w->failsafe = true;
		w->standby_seed = false;
		break;
	case BREAK_SUCCESSOR_ALL:
	case BREAK_QUORUM_VOTES:
	case BREAK_QUORUM_ORDER:
		focus_sync(w, 2);
		break;
	case BREAK_NAMED_VOTES:
		focus_sync(w, 2);
		w->operators = w->name_laggard = true;
		w->standby_seed = false;
		w->intensity = 12;
		break;
	case BREAK_SYNC_ORDER:
	case BREAK_SYNC_RACE:
	case BREAK_NOSYNC:
		focus_sync(w, 1);
		w->tagged = broken == BREAK_NOSYNC;
		break;
	case BREAK_START_PRIMARY:
		w->failsafe = w->standby_seed = false;
		w->primary_start_timeout = 300;
		w->intensity = 12;
		break;
	case BREAK_PAUSE_DEMOTE:
	case BREAK_PAUSE_FENCE:
	case BREAK_CANDIDATE:
	case BREAK_SCHEDULE:
	case BREAK_REQUEST_KEPT:
	case BREAK_RESTART_FILTER:
	case BREAK_RESTART_HAPPENED:
	case BREAK_RESUME:
	case BREAK_REINITIALIZE:
		w->operators = true;
		w->intensity = 12;
		break;
	case BREAK_STANDBY_PROMOTE:
	case BREAK_STANDBY_DISARM:
		w->standby_seed = true;
		break;
	case BREAK_HOOK_ONLY:
		w->standby_seed = true;
		w->archiving = false;
		break;
	case BREAK_PRIORITY:
	case BREAK_NOFAILOVER:
	case BREAK_CASCADE:
		w->tagged = true;
		w->sync = 0;
		w->rate = 20000;
		w->nnodes = MAX_NODES;
		break;
	case BREAK_WATCHDOG_REQUIRED:
	case BREAK_LATE_PING:
	case BREAK_STALE_ARM:
		w->watchdog = WATCHDOG_REQUIRED;
		break;
	case BREAK_PRE_PROMOTE:
		w->pre_promote = true;
		break;
	case BREAK_SLOT_RETENTION:
	case BREAK_SLOT_EXPIRY:
		w->member_slots = true;
		w->member_slots_ttl = 60;
		break;
	case BREAK_COPY_SLOTS:
		w->logical_slots = true;
		w->intensity = 12;
		break;
	case BREAK_SSN_FAILED:
	case BREAK_SSN_BAD:
	case BREAK_STRICT:
		focus_sync(w, (int)(w->seed % 2) + 1);
		w->sync_strict = broken == BREAK_STRICT;
		w->operators = true;
		w->intensity = 12;
		break;
	case BREAK_SYNC_OFF:
		w->toggles = w->operators = true;
		w->standby_seed = false;
		break;
	case BREAK_STOP_FAILED:
	case BREAK_REPLAY:
		w->pg_version = 150004;
		w->intensity = 12;
		break;
	case BREAK_SHUTDOWN_KEY:
		w->intensity = 4;
		break;
	case BREAK_STATE_STUCK:
		w->intensity = 12;
		break;
	case BREAK_BACKOFF:
		w->race_backoff = 20;
		break;
	case BREAK_CHECKPOINT:
		w->use_rewind = true;
		break;
	case BREAK_NOSTREAM:
		w->tagged = true;
		w->nnodes = MAX_NODES;
		break;
	case BREAK_LAG:
		w->sync = 0;
		break;
	case BREAK_TIMELINE:
		w->check_timeline = true;
		break;
	default:
		break;
	}
}
