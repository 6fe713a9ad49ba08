/*
 * ha_manual.c: manual failover and switchover (spec/ha.md 12).
 */
#include "ha_int.h"

/* A schedule alone is no request (12.1). */
bool
failover_requested(const struct ha *h)
{
	const struct view *v = h->s.view;

	return v != NULL && v->has_failover &&
	    (v->failover_leader[0] != '\0' || v->failover_member[0] != '\0');
}

/* Write {}.  Lost or refused: the next cycle sees the key and tries again. */
enum rc
failover_clear(struct ha *h, bool cas)
{
	struct ha_fx *fx = dcs_new(h, OP_SET_FAILOVER);
	enum outcome outcome;

	fx->dcs.u.failover.token = h->s.view->failover_token;
	fx->dcs.u.failover.with_token = cas;
	return dcs_wait(h, fx->id, &outcome, NULL);
}

/* ---- scheduled actions (12.4) ---- */

/*
 * The reference sleeps in the cycle until the time has come; here a timer
 * brings the next cycle at that moment, so that no refresh is delayed.
 */
enum rc
due(struct ha *h, const char *name, int64_t at_us, const char *text, bool bad,
    bool *is_due, bool *clean)
{
	int64_t delta = at_us - wall_now(h); /* us */
	int64_t lw = loop_ns(h) / 1000;

	*is_due = *clean = false;
	if (h->s.opt.pause)
		return RC_OK;
	if (BROKEN(h, SCHEDULE)) {
		*is_due = true;
		return RC_OK;
	}
	if (bad) {
		ha_log(h, LOG_LVL_WARNING, "schedule.bad",
		    "Incorrect value of scheduled_at: %s", text);
		*clean = true;
		return RC_OK;
	}
	if (delta > 0) {
		ha_log(h, LOG_LVL_INFO, "schedule.wait",
		    "Awaiting %s at %s (in %.0f seconds)", name, text,
		    (double)delta / 1e6);
		if (delta <= lw)
			h->s.earlier = h->p.now + delta * 1000;
		return RC_OK;
	}
	if (-delta > lw * 3 / 2) {
		ha_log(h, LOG_LVL_WARNING, "schedule.stale",
		    "Found a stale %s value, cleaning up: %s", name, text);
		*clean = true;
		return RC_OK;
	}
	ha_log(h, LOG_LVL_INFO, "schedule.due", "Manual scheduled %s at %s",
	    name, text);
	*is_due = true;
	return RC_OK;
}

/* ---- on the lock holder (12.2) ---- */

static enum rc
schedule_of_request(struct ha *h, const char *bare, bool *go, bool *clean)
{
	const struct view *v = h->s.view;

	*go = true;
	*clean = false;
	if (!v->failover_scheduled)
		return RC_OK;
	return due(h, bare, v->failover_at_us, v->failover_at,
	    v->failover_schedule_bad != 0, go, clean);
}

/* Why not, or NULL when the demotion was begun (then a message was said). */
static enum rc
execute_request(struct ha *h, const char *bare)
{
	const struct view *v = h->s.view;
	const char *action = failover_action(h, false);
	char name[WORD_SIZE];
	bool yes;

	if (v->failover_leader[0] != '\0' && !is_me(h, v->failover_leader)) {
		ha_log(h, LOG_LVL_WARNING, "manual.leader-mismatch",
		    "%s: leader name does not match: %s != %s", action,
		    v->failover_leader, h->conf.name);
		return RC_OK;
	}
	if (is_me(h, v->failover_member)) {
		ha_log(h, LOG_LVL_WARNING, "manual.already-leader",
		    "%s: I am already the leader, no need to %s", action, bare);
		return RC_OK;
	}
	if (v->failover_member[0] == '\0' && h->s.opt.pause) {
		ha_log(h, LOG_LVL_WARNING, "manual.paused",
		    "%s is possible "
		    "only to a specific candidate in a paused state",
		    failover_action(h, true));
		return RC_OK;
	}
	TRY(failover_possible(h, 0, false, &yes));
	if (!yes) {
		ha_log(h, LOG_LVL_WARNING, "manual.nobody",
		    "%s: no healthy "
		    "members found, %s is not possible",
		    action, bare);
		return RC_OK;
	}
	(void)snprintf(name, sizeof(name), "%s: demote", action);
	TRY(demote_begin(h, DEMOTE_GRACEFUL, name));
	return say(h, "manual.demote", "%s: demoting myself", action);
}

enum rc
manual_lead(struct ha *h)
{
	const char *bare;
	bool go, clean;

	if (!failover_requested(h) || (h->s.opt.pause && !is_primary(h)))
		return RC_OK;
	bare =
	    h->s.view->failover_leader[0] != '\0' ? "switchover" : "failover";
	TRY(schedule_of_request(h, bare, &go, &clean));
	if (!go && !clean)
		return RC_OK;
	if (go)
		TRY(execute_request(h, bare));
	if (BROKEN(h, REQUEST_KEPT))
		return RC_OK;
	ha_log(h, LOG_LVL_INFO, "manual.cleanup", "Cleaning up failover key");
	return failover_clear(h, true);
}

/* ---- without a leader (12.3) ---- */

static enum rc
poll_candidate(struct ha *h, const struct view_member *m, const char **why)
{
	const struct peer_status *answers;
	struct view_failsafe ask;
	uint32_t n;

	*why = "not reachable";
	if (m->api_url[0] == '\0')
		return RC_OK;
	memset(&ask, 0, sizeof(ask));
	(void)text_set(ask.name, sizeof(ask.name), m->name);
	(void)text_set(ask.api_url, sizeof(ask.api_url), m->api_url);
	TRY(ask_peers(h, &ask, 1, &answers, &n));
	if (n == 1)
		*why = limitation(&answers[0]);
	return RC_OK;
}

/* Rows 2-4.  *answer: 0 no, -1 undecided, 2 go on with row 6. */
static enum rc
race_candidate(struct ha *h, int *answer)
{
	const struct view *v = h->s.view;
	const struct view_member *m = view_member(v, v->failover_member);
	const char *action = failover_action(h, false), *why;

	*answer = 0;
	if (h->s.opt.pause) {
		if (m != NULL || !is_primary(h))
			return RC_OK;
		ha_log(h, LOG_LVL_WARNING, "manual.candidate-gone",
		    "%s: "
		    "removing failover key because failover candidate is not "
		    "running",
		    action);
		TRY(failover_clear(h, true));
		*answer = -1;
		return RC_OK;
	}
	/* before /sync names anybody, this would keep all of them waiting for
	 * a candidate that never comes */
	if (h->s.opt.sync_mode == SYNC_PRIORITY && sync_active(h) &&
	    !sync_listed(h, h->conf.name))
		return RC_OK;
	*answer = 2;
	if (m == NULL)
		return RC_OK;
	TRY(poll_candidate(h, m, &why));
	/*
	 * It would not take over itself (11.1 rows 8, 10): nobody may wait for
	 * it, or nobody ever leads.
	 */
	if (why == NULL && v->failover_leader[0] != '\0' && sync_active(h) &&
	    !sync_listed(h, m->name))
		why = "not a synchronous standby";
	if (why == NULL && m->tags.nofailover) /* polled, it may not tell */
		why = "not allowed to promote";
	if (why == NULL && failsafe_excludes(h, m->name))
		why = "not a member of failsafe mode";
	if (why != NULL) {
		ha_log(h, LOG_LVL_WARNING, "manual.candidate-unfit",
		    "%s: member %s is %s", action, m->name, why);
		return RC_OK;
	}
	ha_log(h, LOG_LVL_INFO, "manual.other-candidate", "%s: to %s, i am %s",
	    action, m->name, h->conf.name);
	*answer = 0;
	return RC_OK;
}

static enum rc
race_others(struct ha *h, int *answer)
{
	struct view_failsafe peers[MAX_MEMBERS];
	const struct view *v = h->s.view;
	uint32_t i, n, kept = 0;
	bool yes;

	/*
	 * Also those whose member keys are gone: after an outage of the store
	 * one of them may run as a primary (failsafe mode).
	 */
	n = race_peers(h, peers);
	for (i = 0; i < n; i++)
		if (strcmp(peers[i].name, v->failover_leader) != 0)
			peers[kept++] = peers[i];
	n = kept;
	TRY(healthiest(h, false, peers, n, NULL, &yes));
	*answer = yes;
	return RC_OK;
}

/*
 * Row 1.  The reference lets the candidate lead without a question.  With
 * quorum commit that could cost acknowledged commits, when the old leader did
 * not hand over in order: any standby is a voter, also one that lags.  So a
 * switchover's candidate needs the votes of section 14.5 here.  Without them
 * it gives the request up, or the others would wait for it for ever.  A manual
 * failover, which names no leader, is for those who know what they lose.
 */
static enum rc
race_named(struct ha *h, int *answer)
{
	struct view_failsafe peers[MAX_MEMBERS];
	const struct view *v = h->s.view;
	bool yes;

	*answer = 1;
	if (v->failover_leader[0] == '\0' || !sync_active(h) ||
	    h->s.opt.sync_mode != SYNC_QUORUM || BROKEN(h, NAMED_VOTES))
		return RC_OK;
	TRY(healthiest(h, false, peers, race_peers(h, peers), NULL, &yes));
	if (yes || h->p.poll_failed) {
		*answer = yes;
		return RC_OK;
	}
	ha_log(h, LOG_LVL_WARNING, "manual.no-votes",
	    "%s: removing failover key because i may miss commits that were "
	    "acknowledged",
	    failover_action(h, true));
	*answer = 0;
	return failover_clear(h, true);
}

enum rc
manual_race(struct ha *h, int *answer)
{
	const struct view *v = h->s.view;
	bool yes;

	if (is_me(h, v->failover_member)) /* 1 */
		return race_named(h, answer);
	*answer = 1;
	if (v->failover_member[0] != '\0') { /* 2-4 */
		TRY(race_candidate(h, answer));
		if (*answer != 2)
			return RC_OK;
	} else if (h->s.opt.pause) { /* 5 */
		*answer = 0;
		return RC_OK;
	}
	if (is_me(h, v->failover_leader)) { /* 6 */
		TRY(failover_possible(
		    h, 0, v->failover_member[0] != '\0', &yes));
		*answer = !yes;
		return RC_OK;
	}
	return race_others(h, answer); /* 7 */
}
