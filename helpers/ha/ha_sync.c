/*
 * ha_sync.c: synchronous mode in the cycle (spec/ha.md 13): the record /sync,
 * the priority procedure, strict mode, promotion and leaving.  Names are
 * chosen in ha_standby.c; quorum commit is in ha_quorum.c.
 */
#include <strings.h>

#include "ha_sync.h"

#define SSN_LOOK (100 * NS_PER_MS)
#define SSN_FIRST_LOOK (10 * NS_PER_MS) /* of a standby */
#define SSN_WAIT NS_PER_SEC
#define SSN_WAIT_STANDBY (3 * NS_PER_SEC)

/* ---- the two records ---- */

void
sync_read(struct ha *h, struct sync_key *k)
{
	const struct view *v = h->s.view;
	uint32_t i;

	k->voters.n = 0;
	memcpy(k->leader, v->sync_leader, sizeof(k->leader));
	k->quorum = v->sync_quorum;
	k->token = v->sync_token;
	k->exists = v->has_sync != 0;
	for (i = 0; i < v->nsync_standby; i++)
		names_add(&k->voters, v->sync_standby[i]);
}

/*
 * Compare-and-set with the token of what the decision was based on.  Any
 * outcome but OK ends the work on synchronous replication in this cycle: an
 * answer that got lost shows itself in the next view.
 */
enum rc
sync_write(struct ha *h, struct sync_key *k, const char *leader,
    const struct names *voters, uint32_t quorum, bool *ok)
{
	const struct ha_ev *ev;
	struct tree *list;
	struct ha_fx *fx;
	uint32_t i;

	*ok = false;
	if (!time_for_more(h)) {
		ha_log(h, LOG_LVL_WARNING, "sync.no-time",
		    "Leaving synchronous replication for the next cycle: the "
		    "leader lock has to be refreshed first");
		return RC_OK;
	}
	list = keep_tree(h, tree_list());
	for (i = 0; i < voters->n; i++)
		list_add(list, tree_text(voters->v[i]));
	fx = dcs_new(h, OP_SET_SYNC);
	(void)text_set(
	    fx->dcs.u.sync.leader, sizeof(fx->dcs.u.sync.leader), leader);
	fx->dcs.u.sync.quorum = quorum;
	fx->dcs.u.sync.token = k->token;
	fx->dcs.u.sync.with_token = 1;
	fx->dcs.doc = list;
	TRY(await(h, fx->id, &ev));
	*ok = ev->outcome == OUTCOME_OK;
	if (!*ok)
		return RC_OK;
	(void)text_set(k->leader, sizeof(k->leader), leader);
	names_copy(&k->voters, voters);
	k->quorum = quorum;
	k->token = ev->token;
	return RC_OK;
}

/*
 * Wait for the server to use the value: it is reloaded a moment after the
 * file was written, and what follows may rely on it.  A standby is looked at
 * sooner and for longer: it is about to be promoted, everybody waits for it,
 * and its first commit must not slip through.
 */
static enum rc
ssn_in_force(struct ha *h, const char *value, bool *ok)
{
	bool standby = !is_primary(h);
	int64_t look = standby ? SSN_FIRST_LOOK : SSN_LOOK;
	int64_t limit = h->p.now + (standby ? SSN_WAIT_STANDBY : SSN_WAIT);

	do {
		TRY(ask_delay(h, look));
		TRY(ask_snapshot_again(h));
		*ok = h->p.pg.query_ok &&
		    (value[0] == '\0' || strcmp(h->p.pg.ssn, value) == 0);
		look = look < SSN_LOOK / 2 ? 2 * look : SSN_LOOK;
	} while (!*ok && h->p.pg.running && h->p.now < limit);
	return RC_OK;
}

/*
 * *ok false: commits may still wait for other standbys than those named.
 * Who goes on to write /sync then would let a node without the last commits
 * be promoted.  "" = back to what the user configured.
 */
enum rc
set_ssn(struct ha *h, const char *value, bool *ok)
{
	enum ha_job_result result;
	struct ha_job job;

	*ok = true;
	if (strcmp(h->p.pg.ssn, value) == 0 && h->p.pg.query_ok)
		return RC_OK;
	job_init(&job, JOB_SET_SSN);
	if (!text_set(job.text, sizeof(job.text), value))
		return RC_BUG;
	if (value[0] != '\0')
		ha_log(h, LOG_LVL_INFO, "sync.ssn",
		    "Assigning synchronous_standby_names to %s", value);
	TRY(job_run(h, &job, &result));
	*ok = result == JOB_OK;
	if (BROKEN(h, SSN_FAILED)) {
		*ok = true;
		return RC_OK;
	}
	/* a standby without names has nothing to wait for */
	if (*ok && h->p.pg.running && (is_primary(h) || value[0] != '\0'))
		TRY(ssn_in_force(h, value, ok));
	if (!*ok)
		ha_log(h, LOG_LVL_WARNING, "sync.ssn.failed",
		    "Could not set synchronous_standby_names to \"%s\"", value);
	return RC_OK;
}

/* Removed from the configuration, whatever the server uses just now. */
static enum rc
unset_ssn(struct ha *h)
{
	enum ha_job_result result;
	struct ha_job job;

	job_init(&job, JOB_SET_SSN);
	return job_run(h, &job, &result);
}

enum rc
sync_assign(
    struct ha *h, const struct names *names, int64_t n, bool quorum, bool *ok)
{
	char value[4096];

	ssn_build(
	    names, n, quorum, h->p.pg.server_version, value, sizeof(value));
	return set_ssn(h, value, ok);
}

/* ---- mode off (13.9) ---- */

static enum rc
sync_off(struct ha *h)
{
	const struct view *v = h->s.view;
	enum outcome outcome;
	struct ha_fx *fx;

	if (BROKEN(h, SYNC_OFF))
		return RC_OK;
	/* the answer to the deletion may have been lost */
	if (v->sync_leader[0] == '\0')
		return h->p.pg.query_ok && h->p.pg.ssn[0] != '\0' ?
		    unset_ssn(h) :
		    RC_OK;
	fx = dcs_new(h, OP_DELETE_SYNC);
	fx->dcs.u.token.token = v->sync_token;
	fx->dcs.u.token.with_token = 1;
	TRY(dcs_wait(h, fx->id, &outcome, NULL));
	if (outcome != OUTCOME_OK)
		return RC_OK;
	TRY(unset_ssn(h));
	ha_log(h, LOG_LVL_INFO, "sync.disabled",
	    "Disabled synchronous replication");
	return RC_OK;
}

/* ---- strict mode (13.6) ---- */

enum rc
sync_strict(struct ha *h, const struct sync_key *k, const struct standbys *st,
    bool *in_force)
{
	uint32_t m = h->s.opt.sync_strict ? 1 : 0, n;
	bool quorum = h->s.opt.sync_mode == SYNC_QUORUM;
	enum ssn_type type = quorum ? SSN_QUORUM : SSN_PRIORITY;
	static const struct names none;
	char keep[4096 + 80] = "";
	bool ok;

	*in_force = st->active.n < m;
	if (BROKEN(h, STRICT)) {
		*in_force = false;
		m = 0;
	}
	if (!*in_force) {
		h->s.sync.warned = false;
		if (m == 0 && st->active.n == 0 && k->voters.n == 0 &&
		    (st->ssn.names.n > 0 || st->ssn.n > 0 ||
			(st->ssn.bad && !BROKEN(h, SSN_BAD))))
			return sync_assign(h, &none, 0, quorum, &ok);
		return RC_OK;
	}
	n = k->voters.n > (quorum ? k->quorum : 0) ?
	    k->voters.n - (quorum ? k->quorum : 0) :
	    0;
	if (n < m)
		n = m;
	if (!names_equal(&st->ssn.names, &k->voters) || st->ssn.n != n ||
	    st->ssn.star || (st->ssn.type != type && st->ssn.names.n > 1))
		TRY(sync_assign(h, &k->voters, n, quorum, &ok));
	else if (k->voters.n > 0)
		(void)snprintf(keep, sizeof(keep),
		    "Continue using old value "
		    "of synchronous_standby_names=\"%s\". ",
		    h->p.pg.ssn);
	if (!h->s.sync.warned)
		ha_log(h, LOG_LVL_WARNING, "sync.strict",
		    "No active "
		    "replication connections from Patroni members and "
		    "synchronous_mode_strict is requested. %sCommits will be "
		    "delayed.",
		    keep);
	h->s.sync.warned = true;
	return RC_OK;
}

/* ---- the priority procedure (13.5) ---- */

/* Steps 1-3: a /sync that can be built upon. */
static enum rc
sync_repair(
    struct ha *h, struct sync_key *k, const struct standbys *st, bool *go)
{
	static const struct names none;
	char c[TEXT_SIZE], v[TEXT_SIZE];

	*go = true;
	if (strcasecmp(k->leader, h->conf.name) != 0) {
		ha_log(h, LOG_LVL_WARNING, "sync.leader",
		    "Inconsistent state "
		    "of /sync key detected, leader = %s doesn't match %s, "
		    "updating synchronous replication key",
		    k->leader, h->conf.name);
		TRY(sync_write(h, k, h->conf.name, &none, 0, go));
	}
	if (*go && names_equal(&st->active, &k->voters) &&
	    !names_equal(&k->voters, &st->confirmed)) {
		names_text(&st->confirmed, ", ", c, sizeof(c));
		names_text(&k->voters, ", ", v, sizeof(v));
		ha_log(h, LOG_LVL_WARNING, "sync.inconsistent",
		    "Inconsistent "
		    "state between synchronous_standby_names = %s and /sync = "
		    "%s key detected, updating synchronous replication key...",
		    c, v);
		TRY(sync_write(h, k, h->conf.name, &st->confirmed, 0, go));
	}
	if (!*go)
		ha_log(h, LOG_LVL_WARNING, "sync.refused",
		    "Updating sync state failed");
	return RC_OK;
}

/* Steps 6-8: leave /sync before SSN, enter SSN before /sync. */
static enum rc
sync_change(struct ha *h, struct sync_key *k, struct standbys *st)
{
	struct names keep, active;
	char from[TEXT_SIZE], to[TEXT_SIZE];
	bool ok;

	names_copy(&keep, &k->voters);
	names_copy(&active, &st->active);
	names_intersect(&keep, &st->confirmed);
	if (!names_equal(&keep, &k->voters) && !BROKEN(h, SYNC_ORDER)) {
		names_text(&k->voters, ", ", from, sizeof(from));
		names_text(&keep, ", ", to, sizeof(to));
		ha_log(h, LOG_LVL_INFO, "sync.remove",
		    "Updating /sync key temporarily from %s to %s", from, to);
		TRY(sync_write(h, k, h->conf.name, &keep, 0, &ok));
		if (!ok) {
			ha_log(h, LOG_LVL_INFO, "sync.conflict",
			    "Synchronous "
			    "replication key updated by someone else.");
			return RC_OK;
		}
	}
	TRY(sync_assign(h, &active, active.n, false, &ok));
	if (!ok)
		return RC_OK;
	if (active.n > 0 && !names_equal(&st->confirmed, &active)) {
		TRY(ask_delay(h, 2 * NS_PER_SEC));
		TRY(ask_snapshot_again(h));
		TRY(standbys_evaluate(h, k, st));
	}
	names_intersect(&st->confirmed, &active);
	if (st->confirmed.n == 0 || names_equal(&st->confirmed, &keep))
		return RC_OK;
	TRY(sync_write(h, k, h->conf.name, &st->confirmed, 0, &ok));
	names_text(&st->confirmed, ", ", to, sizeof(to));
	if (ok)
		ha_log(h, LOG_LVL_INFO, "sync.assigned",
		    "Synchronous standby status assigned to %s", to);
	else
		ha_log(h, LOG_LVL_INFO, "sync.conflict",
		    "Synchronous replication key updated by someone else");
	return RC_OK;
}

static enum rc
sync_priority(struct ha *h, struct sync_key *k)
{
	struct standbys st;
	bool go, strict, ok;

	TRY(standbys_evaluate(h, k, &st));
	TRY(sync_repair(h, k, &st, &go));
	if (!go)
		return RC_OK;
	TRY(sync_strict(h, k, &st, &strict));
	if (strict)
		return RC_OK;
	if (!st.ssn.star && names_equal(&st.active, &k->voters) &&
	    names_equal(&st.active, &st.ssn.names) && st.ssn.n == st.active.n) {
		if (st.ssn.type == SSN_QUORUM)
			return sync_assign(
			    h, &st.active, st.active.n, false, &ok);
		return RC_OK;
	}
	return sync_change(h, k, &st);
}

enum rc
sync_process(struct ha *h)
{
	static const struct names none;
	struct sync_key k;
	bool ok;

	if (h->s.opt.sync_mode == SYNC_OFF)
		return sync_off(h);
	if (!h->p.pg.query_ok)
		return RC_OK;
	sync_read(h, &k);
	if (k.leader[0] == '\0') {
		TRY(sync_write(h, &k, h->conf.name, &none, 0, &ok));
		if (!ok) {
			ha_log(h, LOG_LVL_WARNING, "sync.refused",
			    "Updating sync state failed");
			return RC_OK;
		}
		ha_log(h, LOG_LVL_INFO, "sync.enabled",
		    "Enabled synchronous replication");
	}
	if (h->s.opt.sync_mode == SYNC_QUORUM &&
	    h->p.pg.server_version >= 90600)
		return quorum_process(h, &k);
	return sync_priority(h, &k);
}

/* ---- before promotion (13.7, 14.6) ---- */

/*
 * The key is given back: somebody else may be able to, and has the votes that
 * /sync still names.
 */
static enum rc
promote_without_ssn(struct ha *h)
{
	h->s.released_at = h->p.now;
	TRY(give_up(h));
	return say(h, "sync.promote-failed",
	    "Promotion cancelled because synchronous_standby_names could not "
	    "be set");
}

/*
 * SSN before /sync: it means nothing on a standby, and if it cannot be set,
 * /sync still names those that can take over.
 */
static enum rc
promote_priority(struct ha *h, struct sync_key *k)
{
	struct names wait;
	bool ok;

	wait.n = 0;
	if (h->s.opt.sync_strict) {
		names_copy(&wait, &k->voters);
		if (k->leader[0] != '\0')
			names_add(&wait, k->leader);
		names_remove(&wait, h->conf.name);
	}
	TRY(sync_assign(h, &wait,
	    h->s.opt.sync_strict && wait.n == 0 ? 1 : (int64_t)wait.n, false,
	    &ok));
	if (!ok)
		return promote_without_ssn(h);
	TRY(sync_write(h, k, h->conf.name, &wait, 0, &ok));
	if (!ok)
		return say(h, "sync.promote-conflict",
		    "Postponing promotion "
		    "because synchronous replication state was updated by "
		    "somebody else");
	return RC_OK;
}

/*
 * /sync is not written before this node is primary (14.6), and whom it names
 * as leader may lead without votes (11.2, 8).  So that this one has all that
 * is acknowledged here until then, commits wait for everybody that is named:
 * any N of them, as upstream has it, may be N without it.  The resolver goes
 * back to N as soon as /sync has taken our name (change_leader()).
 */
static enum rc
promote_quorum(struct ha *h, const struct sync_key *k)
{
	bool other = sync_active(h) &&
	    strcasecmp(k->leader, h->conf.name) != 0 &&
	    !BROKEN(h, SUCCESSOR_ALL);
	struct names wait;
	int64_t n;
	bool ok;

	names_copy(&wait, &k->voters);
	if (k->leader[0] != '\0')
		names_add(&wait, k->leader);
	n = (int64_t)wait.n - (sync_active(h) ? k->quorum : 0) - 1;
	if (names_has(&wait, h->conf.name))
		names_remove(&wait, h->conf.name);
	else
		n++;
	if (other)
		n = wait.n;
	if (n < (h->s.opt.sync_strict ? 1 : 0))
		n = h->s.opt.sync_strict ? 1 : 0;
	if (n == 0)
		wait.n = 0;
	TRY(sync_assign(h, &wait, n, true, &ok));
	return ok ? RC_OK : promote_without_ssn(h);
}

enum rc
sync_before_promote(struct ha *h)
{
	struct sync_key k;

	if (h->s.opt.sync_mode == SYNC_OFF)
		return sync_off(h);
	sync_read(h, &k);
	if (h->s.opt.sync_mode == SYNC_QUORUM)
		return promote_quorum(h, &k);
	return promote_priority(h, &k);
}

/* 10.3: nobody to wait for, or strict: no commit before there is somebody. */
enum rc
sync_after_bootstrap(struct ha *h)
{
	static const struct names none;
	bool ok;

	if (h->s.opt.sync_mode == SYNC_OFF)
		return RC_OK;
	if (!h->s.opt.sync_strict)
		return unset_ssn(h);
	return sync_assign(h, &none, 1, h->s.opt.sync_mode == SYNC_QUORUM, &ok);
}

/* A node that is not primary must not wait for standbys. */
enum rc
sync_clear_ssn(struct ha *h)
{
	if (h->s.opt.sync_mode == SYNC_OFF)
		return RC_OK;
	return unset_ssn(h);
}

/* ---- leaving the synchronous set (13.8) ---- */

void
sync_stay(struct ha *h)
{
	if (h->s.disable_sync > 0)
		h->s.disable_sync--;
}

enum rc
sync_leave(struct ha *h, bool *begun)
{
	enum outcome outcome;

	*begun = false;
	if (h->s.opt.sync_mode == SYNC_OFF || h->conf.tags.nosync ||
	    h->s.view == NULL || trusted(h))
		return RC_OK;
	h->s.disable_sync++;
	fx_new(h, FX_PUBLISH);
	TRY(publish_member_wait(h, &outcome));
	if (outcome != OUTCOME_OK) {
		ha_log(h, LOG_LVL_WARNING, "sync.leave",
		    "Updating member "
		    "state failed, skipping synchronous standby disable");
		sync_stay(h);
		return RC_OK;
	}
	*begun = true;
	return RC_OK;
}

/* One look; also true when it cannot be known. */
enum rc
sync_left(struct ha *h, bool *left)
{
	bool ok;

	*left = true;
	TRY(load_plain(h, &ok));
	if (!ok) {
		ha_log(h, LOG_LVL_WARNING, "sync.leave",
		    "Could not get "
		    "cluster state, skipping synchronous standby disable");
		return RC_OK;
	}
	if (!sync_active(h) || !sync_listed(h, h->conf.name) ||
	    strcasecmp(h->s.view->sync_leader, h->s.view->leader) != 0)
		return RC_OK;
	*left = false;
	ha_log(h, LOG_LVL_INFO, "sync.leave",
	    "Waiting for primary to release us from synchronous standby");
	return RC_OK;
}
