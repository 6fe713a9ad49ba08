/*
 * ha_race.c: a cluster without a leader (spec/ha.md 4), who is healthy enough
 * (11), and the leader's question whether anybody could take over (11.6).
 */
#include <strings.h>

#include "ha_int.h"

/* ---- synchronous mode and requests, as the race sees them ---- */

/* Requested, and /sync names a leader (11.1). */
bool
sync_active(const struct ha *h)
{
	return h->s.opt.sync_mode != SYNC_OFF && h->s.view != NULL &&
	    h->s.view->sync_leader[0] != '\0';
}

static bool
sync_voter(const struct ha *h, const char *name)
{
	const struct view *v = h->s.view;
	uint32_t i;

	for (i = 0; i < v->nsync_standby; i++)
		if (strcasecmp(v->sync_standby[i], name) == 0)
			return true;
	return false;
}

/* Leader or voter in /sync; names there are compared without case. */
bool
sync_listed(const struct ha *h, const char *name)
{
	return strcasecmp(h->s.view->sync_leader, name) == 0 ||
	    sync_voter(h, name);
}

/* failover, switchover or manual failover (11.6). */
const char *
failover_action(const struct ha *h, bool title)
{
	if (!failover_requested(h))
		return title ? "Failover" : "failover";
	if (h->s.view->failover_leader[0] != '\0')
		return title ? "Switchover" : "switchover";
	return title ? "Manual failover" : "manual failover";
}

/* ---- polls ---- */

const char *
limitation(const struct peer_status *p)
{
	if (!p->reachable)
		return "not reachable";
	if (p->has_tags &&
	    (p->tags.nofailover || p->tags.failover_priority <= 0))
		return "not allowed to promote";
	if (p->watchdog_failed)
		return "not watchdog capable";
	return NULL;
}

static int32_t
peer_priority(const struct peer_status *p)
{
	return p->has_tags ? p->tags.failover_priority : 1;
}

/* ---- the comparison (11.2) ---- */

static uint64_t
own_position(const struct ha *h)
{
	return h->p.pg.query_ok ? h->p.pg.wal_position : 0;
}

static bool
behind_cluster(struct ha *h, bool lag_check)
{
	const struct view *v = h->s.view;
	uint64_t w = own_position(h);

	if (lag_check && !BROKEN(h, LAG) && v->optime > w &&
	    v->optime - w > (uint64_t)h->s.opt.maximum_lag) {
		ha_log(h, LOG_LVL_INFO, "replica.race.lagging",
		    "My wal position exceeds maximum replication lag");
		return true;
	}
	if (!h->s.opt.check_timeline || h->s.opt.standby_cluster ||
	    BROKEN(h, TIMELINE))
		return false;
	if (h->p.pg.received_timeline == 0) {
		ha_log(h, LOG_LVL_INFO, "replica.race.no-timeline",
		    "Can not figure out my timeline");
		return true;
	}
	if (h->p.pg.received_timeline >= v->timeline)
		return false;
	ha_log(h, LOG_LVL_INFO, "replica.race.timeline",
	    "My timeline %u is "
	    "behind last known cluster timeline %u",
	    h->p.pg.received_timeline, v->timeline);
	return true;
}

struct comparison {
	uint64_t position;
	int32_t priority;
	const char *former; /* the leader before, NULL = nobody */
	bool quorum;
	uint32_t need; /* Q of /sync */
	int64_t votes;
	uint32_t ahead;
};

/*
 * With check_timeline a node on an old timeline stands back itself.  Were its
 * position (it may have written more on the branch that was given up) to hold
 * back the others too, nobody could ever lead.
 */
static bool
outdated_peer(struct ha *h, const struct peer_status *p, const char *what)
{
	const struct view *v = h->s.view;

	if (!h->s.opt.check_timeline || h->s.opt.standby_cluster ||
	    p->timeline == 0 || p->timeline >= v->timeline)
		return false;
	ha_log(h, LOG_LVL_INFO, "replica.race.peer-timeline",
	    "Ignoring %s "
	    "%s: its timeline %u is behind last known cluster "
	    "timeline %u",
	    p->name, what, p->timeline, v->timeline);
	return true;
}

/*
 * Failsafe mode's members have all been heard of through the store since
 * nobody leads, and none is primary: so none goes on without the store, and
 * the list is of the past.  A leader that was alone for a while and then lost
 * its data would keep all others out for good.
 */
static bool
failsafe_over(const struct ha *h)
{
	const struct view *v = h->s.view;
	uint32_t i;

	/* a member key lives for ttl: it was written after the lock was gone */
	if (!unlocked(h) || h->p.now - h->s.unlocked_at < ttl_ns(h))
		return false;
	for (i = 0; i < v->nfailsafe; i++) {
		const struct view_member *m =
		    view_member(v, v->failsafe[i].name);
		enum pg_role role;
		bool known;

		if (m == NULL)
			return false;
		role = pg_role_parse(m->role, &known);
		if (!known || role == ROLE_PRIMARY || role == ROLE_PROMOTED)
			return false;
	}
	return true;
}

/* Failsafe mode lets none lead but its members (11.1 row 10). */
bool
failsafe_excludes(const struct ha *h, const char *name)
{
	const struct view *v = h->s.view;
	uint32_t i;

	if (!h->s.opt.failsafe || !v->failsafe_object || v->nfailsafe == 0 ||
	    failsafe_over(h))
		return false;
	for (i = 0; i < v->nfailsafe; i++)
		if (strcmp(v->failsafe[i].name, name) == 0)
			return false;
	return true;
}

/*
 * The same for a peer that failsafe mode keeps out: it was not there when the
 * last leader led, so what it has more is not of that term.
 */
static bool
excluded_peer(struct ha *h, const struct peer_status *p, const char *what)
{
	if (!failsafe_excludes(h, p->name))
		return false;
	ha_log(h, LOG_LVL_INFO, "replica.race.peer-failsafe",
	    "Ignoring %s "
	    "%s: it is not a member of failsafe mode",
	    p->name, what);
	return true;
}

/*
 * Quorum commit needs a vote to mean that the voter has nothing that we lack.
 * Positions tell that on one timeline only: what a former leader wrote beyond
 * what was acknowledged is no claim against a timeline that was promoted
 * later, by a quorum's votes.
 */
static int
older_branch(
    const struct ha *h, const struct comparison *c, const struct peer_status *p)
{
	uint32_t own = h->p.pg.received_timeline;

	if (!c->quorum || own == 0 || p->timeline == 0)
		return 0;
	return p->timeline < own ? -1 : p->timeline > own;
}

/* False: this peer says that we must not take the lock. */
static bool
compare_peer(struct ha *h, struct comparison *c, const struct peer_status *p)
{
	bool former = c->former != NULL && strcasecmp(p->name, c->former) == 0;
	int32_t priority = peer_priority(p);
	int branch = older_branch(h, c, p);

	if (limitation(p) != NULL)
		return true;
	if (p->runs_as_primary) {
		ha_log(h, LOG_LVL_WARNING, "replica.race.primary-alive",
		    "Primary (%s) is still alive", p->name);
		return false;
	}
	/* who may not lead itself holds nobody back */
	if (p->position > c->position &&
	    (outdated_peer(h, p, "being ahead of us") ||
		excluded_peer(h, p, "being ahead of us")))
		return true;
	if ((branch > 0 || (branch == 0 && p->position > c->position)) &&
	    !BROKEN(h, PEER_AHEAD)) {
		c->ahead++;
		ha_log(h, LOG_LVL_INFO, "replica.race.peer-ahead",
		    "Wal position of %s is ahead of my wal position", p->name);
		if (!sync_active(h) ||
		    strcasecmp(p->name, h->s.view->sync_leader) != 0)
			return false;
		ha_log(h, LOG_LVL_INFO, "replica.race.former-ahead",
		    "Ignoring the former leader being ahead of us");
		return true;
	}
	if (p->position == 0)
		return true;
	if (p->position == c->position && c->priority < priority &&
	    !BROKEN(h, PRIORITY)) {
		if (former)
			ha_log(h, LOG_LVL_INFO, "replica.race.former-priority",
			    "Ignoring former leader %s having priority %d "
			    "higher than this nodes %d priority",
			    p->name, priority, c->priority);
		else if ((!c->quorum || sync_listed(h, p->name)) &&
		    !outdated_peer(h, p, "having higher priority") &&
		    !excluded_peer(h, p, "having higher priority")) {
			ha_log(h, LOG_LVL_INFO, "replica.race.priority",
			    "%s has equally tolerable WAL position and "
			    "priority %d, while this node has priority %d",
			    p->name, priority, c->priority);
			return false;
		}
	}
	if (c->quorum && sync_listed(h, p->name)) {
		ha_log(h, LOG_LVL_INFO, "replica.race.vote",
		    "Got quorum vote from %s", p->name);
		c->votes++;
	}
	return true;
}

/* Is this peer to be asked? Those that may not promote only as voters. */
static bool
worth_polling(const struct ha *h, const char *name, bool quorum)
{
	const struct view_member *m = view_member(h->s.view, name);

	if (is_me(h, name))
		return false;
	if (quorum && sync_listed(h, name))
		return true;
	return m == NULL || !m->tags.nofailover;
}

/*
 * The leader named in /sync needs no votes (11.2, 8), for it has all that it
 * acknowledged itself.  But a successor may have been promoted and have ended
 * before the store took its name.  One of ours waited for all of them in that
 * time (promote_quorum()); a Python peer does not, and then the voters tell,
 * all of them, for they may be fewer than a quorum that hold what it
 * acknowledged.  One that is restarting, or whose member key is missing, gets
 * the time to come.
 */
static bool
voters_answered(
    const struct ha *h, const struct peer_status *answers, uint32_t n)
{
	const struct view *v = h->s.view;
	uint32_t i, k;

	if (h->p.now - h->s.unlocked_at >= ttl_ns(h))
		return true;
	for (i = 0; i < v->nsync_standby; i++) {
		if (is_me(h, v->sync_standby[i]))
			continue;
		for (k = 0; k < n; k++)
			if (strcasecmp(answers[k].name, v->sync_standby[i]) ==
				0 &&
			    answers[k].reachable)
				break;
		if (k == n)
			return false;
	}
	return true;
}

/*
 * WAL that goes on arriving (from the remote member of a standby cluster, or
 * from a leader whose lock is gone) is more with every look: who looked at
 * itself before it asked the others would find all of them ahead, and so would
 * they.  What counts is to have what they had when they were asked.
 */
static enum rc
look_again(struct ha *h, struct comparison *c,
    const struct peer_status *answers, uint32_t n)
{
	uint32_t i;

	if (!h->p.pg.receiver_streaming)
		return RC_OK;
	for (i = 0; i < n; i++)
		if (limitation(&answers[i]) == NULL &&
		    answers[i].position > c->position)
			break;
	if (i == n)
		return RC_OK;
	TRY(ask_snapshot_again(h));
	c->position = own_position(h);
	return RC_OK;
}

enum rc
healthiest(struct ha *h, bool lag_check, const struct view_failsafe *peers,
    uint32_t n, const char *former, bool *yes)
{
	struct view_failsafe ask[MAX_MEMBERS];
	const struct peer_status *answers;
	struct comparison c;
	uint32_t i, count, asked = 0;

	*yes = false;
	if (behind_cluster(h, lag_check))
		return RC_OK;
	memset(&c, 0, sizeof(c));
	c.position = own_position(h);
	c.priority = h->conf.tags.failover_priority;
	c.former = former;
	c.quorum = sync_active(h) && h->s.opt.sync_mode == SYNC_QUORUM;
	if (c.quorum) {
		c.need = h->s.view->sync_quorum;
		c.votes = sync_listed(h, h->conf.name) ? 0 : -1;
	}
	for (i = 0; i < n && asked < MAX_MEMBERS; i++)
		if (peers[i].api_url[0] != '\0' &&
		    worth_polling(h, peers[i].name, c.quorum))
			ask[asked++] = peers[i];
	TRY(ask_peers(h, ask, asked, &answers, &count));
	/* nobody was asked: that is not the same as nobody being there */
	if (h->p.poll_failed) {
		ha_log(h, LOG_LVL_INFO, "replica.race.poll-failed",
		    "Could not ask the other members for their state");
		*yes = false;
		return RC_OK;
	}
	TRY(look_again(h, &c, answers, count));
	for (i = 0; i < count; i++)
		if (!compare_peer(h, &c, &answers[i]))
			return RC_OK;
	*yes = !c.quorum || c.votes >= (int64_t)c.need ||
	    BROKEN(h, QUORUM_VOTES) ||
	    (c.ahead == 0 &&
		strcasecmp(h->s.view->sync_leader, h->conf.name) == 0 &&
		voters_answered(h, answers, count));
	return RC_OK;
}

/* ---- peers of the race (11.1 row 12) ---- */

static void
add_peer(struct view_failsafe *peers, uint32_t *n, const char *name,
    const char *api_url)
{
	uint32_t i;

	for (i = 0; i < *n; i++)
		if (strcmp(peers[i].name, name) == 0)
			break;
	if (i == MAX_MEMBERS)
		return;
	if (i == *n)
		(*n)++;
	(void)text_set(peers[i].name, sizeof(peers[i].name), name);
	(void)text_set(peers[i].api_url, sizeof(peers[i].api_url), api_url);
}

static void
add_members(struct view_failsafe *peers, uint32_t *n, const struct view *v)
{
	uint32_t i;

	for (i = 0; v != NULL && i < v->nmembers; i++)
		add_peer(peers, n, v->members[i].name, v->members[i].api_url);
}

uint32_t
race_peers(struct ha *h, struct view_failsafe *peers)
{
	const struct view *v = h->s.view;
	uint32_t i, n = 0, kept = 0;

	add_members(peers, &n, h->s.old_view);
	for (i = 0; i < v->nfailsafe; i++)
		add_peer(
		    peers, &n, v->failsafe[i].name, v->failsafe[i].api_url);
	add_members(peers, &n, v);
	for (i = 0; i < n; i++)
		if (!sync_active(h) || sync_listed(h, peers[i].name) ||
		    BROKEN(h, SYNC_RACE))
			peers[kept++] = peers[i];
	return kept;
}

/* ---- healthy enough? (11.1) ---- */

/* Rows 4, 5: a running primary asks neither its peers nor its tags. */
static bool
primary_may_lead(struct ha *h)
{
	const struct view *v = h->s.view;
	uint32_t timeline = h->p.pg.timeline;

	if (h->s.opt.pause)
		return v->initialize[0] == '\0' ||
		    strcmp(v->initialize, h->p.pg.sysid) == 0;
	if (!h->p.pg.query_ok || timeline >= v->timeline)
		return h->p.pg.query_ok;
	ha_log(h, LOG_LVL_WARNING, "primary.race.timeline",
	    "My timeline %u is behind last known cluster timeline %u", timeline,
	    v->timeline);
	return false;
}

static enum rc
healthy_requested(struct ha *h, bool *yes)
{
	int answer;

	*yes = false;
	if (h->s.view->failover_leader[0] != '\0' && sync_active(h) &&
	    !sync_listed(h, h->conf.name))
		return RC_OK;
	TRY(manual_race(h, &answer));
	*yes = answer == 1;
	return RC_OK;
}

static const char *
former_leader(const struct ha *h)
{
	if (sync_active(h))
		return h->s.view->sync_leader;
	if (h->s.old_view == NULL || view_unlocked(h->s.old_view))
		return NULL;
	return h->s.old_view->leader;
}

/*
 * 20.5.  The keeper answers settings with the state of its device, which may
 * be usable again.  One that is there but cannot be activated costs the lock
 * once per loop, not once per change of the key.
 */
static bool
watchdog_unusable(struct ha *h)
{
	if (h->conf.watchdog_mode != WATCHDOG_REQUIRED)
		return false;
	if (h->s.wd_unhealthy)
		fx_new(h, FX_SETTINGS)->settings = h->s.opt.time;
	else if (h->s.wd_refused_at == 0 ||
	    h->p.now - h->s.wd_refused_at >= loop_ns(h))
		return false;
	ha_log(h, LOG_LVL_WARNING, "replica.race.watchdog",
	    "Watchdog device is not usable");
	return true;
}

static enum rc
healthy_standby(struct ha *h, bool *yes)
{
	struct view_failsafe peers[MAX_MEMBERS];
	uint32_t n;

	*yes = false;
	if (h->s.opt.pause ||
	    (h->conf.tags.nofailover && !BROKEN(h, NOFAILOVER))) /* 6, 7 */
		return RC_OK;
	/*
	 * 10, before 8: a primary that goes on in failsafe mode has not asked
	 * this node, so that no request may let it lead beside that one.
	 */
	if (failsafe_excludes(h, h->conf.name))
		return RC_OK;
	if (failover_requested(h) && !BROKEN(h, CANDIDATE)) /* 8 */
		return healthy_requested(h, yes);
	if (watchdog_unusable(h)) /* 9 */
		return RC_OK;
	if (sync_active(h) && h->s.opt.sync_mode == SYNC_PRIORITY &&
	    !sync_listed(h, h->conf.name) && !BROKEN(h, SYNC_RACE)) /* 11 */
		return RC_OK;
	n = race_peers(h, peers); /* 12 */
	return healthiest(h, true, peers, n, former_leader(h), yes);
}

static enum rc
healthy_enough(struct ha *h, bool *yes)
{
	bool rival;
	int answer;

	*yes = false;
	if (h->s.released_at != 0 && h->p.now - h->s.released_at < ttl_ns(h) &&
	    !BROKEN(h, PRE_PROMOTE)) { /* 1 */
		ha_log(h, LOG_LVL_INFO, "replica.race.pre-promote-backoff",
		    "backoff: skip leader race after pre_promote script "
		    "failure and releasing the lock voluntarily");
		return RC_OK;
	}
	if (h->s.opt.pause && !h->conf.tags.nofailover &&
	    failover_requested(h) && !h->s.view->failover_scheduled) { /* 2 */
		TRY(manual_race(h, &answer));
		*yes = answer == 1;
		if (answer >= 0)
			return RC_OK;
	}
	if (starting(h)) /* 3 */
		return RC_OK;
	if (is_primary(h)) { /* 4, 5 */
		*yes = primary_may_lead(h);
		return RC_OK;
	}
	if (!h->p.pg.query_ok) /* position unknown: nothing to compare */
		return RC_PG;
	TRY(healthy_standby(h, yes));
	if (!*yes)
		return RC_OK;
	TRY(failsafe_rival(h, &rival));
	*yes = !rival;
	return RC_OK;
}

/* ---- failover possible? (11.6) ---- */

static bool
is_candidate(
    const struct ha *h, const struct view_member *m, bool skip_candidate)
{
	const struct view *v = h->s.view;
	const char *wanted = v->failover_member;
	bool manual = failover_requested(h) && v->failover_leader[0] == '\0';

	if (is_me(h, m->name) || m->tags.nofailover || m->api_url[0] == '\0')
		return false;
	/* a leader's members are all on its list */
	if (unlocked(h) && !h->s.opt.pause && failsafe_excludes(h, m->name))
		return false;
	if (wanted[0] != '\0') {
		bool same = strcmp(m->name, wanted) == 0;

		if (same == skip_candidate)
			return false;
	}
	return manual || !sync_active(h) || sync_voter(h, m->name);
}

static void
log_no_candidates(struct ha *h)
{
	const struct view *v = h->s.view;
	const char *action = failover_action(h, true);
	char list[TEXT_SIZE] = "";
	size_t used = 0;
	uint32_t i;

	if (h->s.opt.sync_mode == SYNC_OFF || v->failover_member[0] == '\0') {
		ha_log(h, LOG_LVL_WARNING, "failover.no-candidates",
		    "%s: candidates list is empty", action);
		return;
	}
	for (i = 0; i < v->nsync_standby && used < sizeof(list) - 1; i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used,
		    "%s%s", i == 0 ? "" : ",", v->sync_standby[i]);
	ha_log(h, LOG_LVL_WARNING, "failover.no-candidates",
	    "%s candidate=%s does not match with sync_standbys=%s", action,
	    v->failover_member, list);
}

static bool
candidate_healthy(struct ha *h, const struct peer_status *p, uint64_t reference)
{
	const struct view *v = h->s.view;
	const char *why = limitation(p);
	bool lagging;

	if (why != NULL) {
		ha_log(h, LOG_LVL_INFO, "failover.limitation",
		    "Member %s is %s", p->name, why);
		return false;
	}
	if (reference != 0)
		lagging = p->position < reference;
	else
		lagging = v->optime > p->position &&
		    v->optime - p->position > (uint64_t)h->s.opt.maximum_lag;
	if (lagging) {
		ha_log(h, LOG_LVL_INFO, "failover.lagging",
		    "Member %s exceeds maximum replication lag", p->name);
		return false;
	}
	if (h->s.opt.check_timeline &&
	    (p->timeline == 0 || p->timeline < v->timeline)) {
		ha_log(h, LOG_LVL_INFO, "failover.timeline",
		    "Timeline %u of "
		    "member %s is behind the cluster timeline %u",
		    p->timeline, p->name, v->timeline);
		return false;
	}
	return true;
}

enum rc
failover_possible(
    struct ha *h, uint64_t reference, bool skip_candidate, bool *yes)
{
	const struct view *v = h->s.view;
	const struct peer_status *answers;
	struct view_failsafe ask[MAX_MEMBERS];
	uint32_t i, count, healthy = 0, n = 0;

	*yes = false;
	for (i = 0; i < v->nmembers && n < MAX_MEMBERS; i++)
		if (is_candidate(h, &v->members[i], skip_candidate))
			add_peer(
			    ask, &n, v->members[i].name, v->members[i].api_url);
	if (n == 0) {
		log_no_candidates(h);
		return RC_OK;
	}
	TRY(ask_peers(h, ask, n, &answers, &count));
	for (i = 0; i < count; i++)
		if (candidate_healthy(h, &answers[i], reference))
			healthy++;
	if (sync_active(h) && h->s.opt.sync_mode == SYNC_QUORUM &&
	    (v->failover_member[0] == '\0' || skip_candidate) &&
	    (int64_t)healthy - 1 < (int64_t)v->sync_quorum) {
		ha_log(h, LOG_LVL_INFO, "failover.quorum",
		    "Quorum requirement %u can not be reached", v->sync_quorum);
		return RC_OK;
	}
	*yes = healthy >= 1;
	return RC_OK;
}

/* ---- the leaderless branch (4) ---- */

/* Step 1: hold back while the old primary still seems to be there. */
static enum rc
backoff(struct ha *h)
{
	const struct options *o = &h->s.opt;
	int64_t left, until;

	if (o->pause || o->standby_cluster || o->race_backoff <= 0 ||
	    h->s.view->failover_member[0] != '\0' || h->s.prev_wal == 0 ||
	    BROKEN(h, BACKOFF))
		return RC_OK;
	/* it is the one that others wait for, and its keeper will not */
	if (h->s.wd_fence_armed && is_primary(h))
		return RC_OK;
	if (h->s.backoff_start == 0)
		h->s.backoff_start = h->p.now;
	left = h->s.backoff_start + o->race_backoff * NS_PER_SEC - h->p.now;
	if (!(left > 0 && h->p.pg.receiver_streaming &&
		own_position(h) > h->s.prev_wal) &&
	    left <= o->race_backoff * NS_PER_SEC - loop_ns(h))
		return RC_OK;
	/* look again at the moment at which the answer may be another */
	until = h->s.backoff_start + loop_ns(h);
	if (until <= h->p.now)
		until = h->p.now + left;
	h->s.earlier = until;
	return say(h, "replica.race.backoff",
	    "My (%s) wal position moved "
	    "since last heart beat loop, %lld seconds until leader race",
	    h->conf.name, (long long)(left / NS_PER_SEC));
}

/* Step 4: the request is done, or in pause waits for us to be primary. */
static enum rc
won_failover_key(struct ha *h)
{
	const struct view *v = h->s.view;
	enum outcome outcome;
	struct ha_fx *fx;

	if (v->failover_leader[0] == '\0' && v->failover_member[0] == '\0')
		return RC_OK;
	if (!h->s.opt.pause || v->failover_leader[0] == '\0' ||
	    v->failover_member[0] == '\0') {
		ha_log(h, LOG_LVL_INFO, "failover.cleanup",
		    "Cleaning up "
		    "failover key after acquiring leader lock...");
		return failover_clear(h, false);
	}
	ha_log(h, LOG_LVL_INFO, "failover.update",
	    "Updating failover key after acquiring leader lock...");
	fx = dcs_new(h, OP_SET_FAILOVER);
	memcpy(fx->dcs.u.failover.member, v->failover_member,
	    sizeof(fx->dcs.u.failover.member));
	memcpy(fx->dcs.u.failover.scheduled_at, v->failover_at,
	    sizeof(fx->dcs.u.failover.scheduled_at));
	fx->dcs.u.failover.token = v->failover_token;
	fx->dcs.u.failover.with_token = 1;
	return dcs_wait(h, fx->id, &outcome, NULL);
}

/*
 * The request for the key may have been under way for a while: another node
 * can have led and gone in that time.  Then what this node decided upon is
 * old, and its WAL may lack what that leader acknowledged.
 */
struct basis {
	uint32_t timeline;
	int64_t sync_token;
	uint64_t optime;
};

static struct basis
race_basis(const struct ha *h)
{
	const struct view *v = h->s.view;
	struct basis b = { v->timeline, v->sync_token, v->optime };

	return b;
}

static bool
basis_holds(const struct ha *h, const struct basis *was)
{
	struct basis is = race_basis(h);

	return is.timeline <= was->timeline && is.optime <= was->optime &&
	    is.sync_token == was->sync_token;
}

static enum rc
race_won(struct ha *h)
{
	struct basis basis = race_basis(h);
	bool ok;

	TRY(won_failover_key(h));
	TRY(load_plain(h, &ok));
	if (!ok)
		return RC_DCS;
	if (has_lock(h) && !is_primary(h) && !h->s.opt.pause &&
	    !basis_holds(h, &basis)) {
		TRY(give_up(h));
		return say(h, "race.lost-again",
		    "released leader key because another node has led since "
		    "the race was decided");
	}
	if (!has_lock(h) && !BROKEN(h, PROMOTE_NO_LOCK))
		return say(h, "race.lost-again",
		    "not promoting because "
		    "failed to update leader lock in DCS");
	if (h->s.opt.standby_cluster && !BROKEN(h, STANDBY_PROMOTE))
		return follow(h, "race.won.standby-cluster",
		    "cannot be a real primary in standby cluster",
		    "race.won.standby-leader",
		    "promoted self to a standby "
		    "leader by acquiring session lock",
		    false);
	return enforce_leader(h, "race.won.primary",
	    "acquired session lock as a leader", "race.won",
	    "promoted self to leader by acquiring session lock");
}

static enum rc
race_unfit(struct ha *h)
{
	bool nofailover = h->conf.tags.nofailover;
	bool ok;

	if (h->s.view->failover_member[0] != '\0' ||
	    (nofailover && !h->s.opt.pause)) {
		rewind_trigger(h);
		TRY(load_plain(h, &ok));
		if (!ok)
			return RC_DCS;
		/*
		 * Somebody else is about to lead: keep the old target until
		 * then instead of disconnecting and connecting again.
		 */
		if (unlocked(h) && !may_write(h) && !h->s.opt.pause) {
			h->s.earlier = h->p.now + 2 * NS_PER_SEC;
			return say(h, "replica.race.wait", "%s",
			    nofailover ?
				"following a different leader because I am not "
				"allowed to promote" :
				"following a different "
				"leader because i am not the healthiest node");
		}
	}
	if (nofailover)
		return follow(h, "race.nofailover.demote",
		    "demoting self "
		    "because I am not allowed to become primary",
		    "race.nofailover",
		    "following a different leader because "
		    "I am not allowed to promote",
		    true);
	return follow(h, "race.unhealthy.demote",
	    "demoting self because i "
	    "am not the healthiest node",
	    "race.unhealthy",
	    "following a "
	    "different leader because i am not the healthiest node",
	    true);
}

enum rc
race(struct ha *h)
{
	bool yes, won;

	TRY(backoff(h));
	TRY(healthy_enough(h, &yes));
	if (!yes || BROKEN(h, NO_RACE))
		return race_unfit(h);
	TRY(lock_acquire(h, &won));
	if (won || BROKEN(h, PROMOTE_NO_LOCK))
		return race_won(h);
	return follow(h, "race.lost.demote",
	    "demoted self after trying and "
	    "failing to obtain lock",
	    "race.lost",
	    "following new leader "
	    "after trying and failing to obtain lock",
	    true);
}
