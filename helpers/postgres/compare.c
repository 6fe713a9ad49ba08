/*
 * compare.c: two questions of the core that need more than a snapshot: do
 * the recovery settings in force differ from the wanted ones (config.md
 * 12.4), and has this node diverged from the leader (postgres.md 16.3).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control.h"
#include "history.h"
#include "job.h"
#include "wal_sample.h"

#define QUERY_TIMEOUT (3 * NS_PER_SEC)
#define MAX_ROWS 64
/* A SIGHUP needs a moment: until then our own write counts as current. */
#define SETTLE (2 * NS_PER_SEC)

/* ---- recovery settings ---- */

struct recovery_cache {
	bool valid;
	int64_t stamp; /* of the files that were read */
	char start_time[WORD_SIZE];
	struct pgsetting rows[MAX_ROWS];
	size_t nrows;
};

struct diff {
	struct controller *c;
	uint64_t ask;
	struct tree *want;
	enum pg_role role;
};

static int64_t
mtime(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ?
	    st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec :
	    0;
}

static int64_t
files_stamp(struct controller *c)
{
	char path[PATH_SIZE + 32];
	int64_t sum;

	pgconf_config_file(c->conf, path);
	sum = mtime(path);
	snprintf(
	    path, sizeof path, "%s/postgresql.auto.conf", c->conf->data_dir);
	return sum ^ (mtime(path) << 1) ^ (mtime(c->conf->pgpass) << 2);
}

static void
cache_clear(struct recovery_cache *k)
{
	size_t i;

	for (i = 0; i < k->nrows; i++) {
		free((void *)(uintptr_t)k->rows[i].name);
		free((void *)(uintptr_t)k->rows[i].setting);
		free((void *)(uintptr_t)k->rows[i].unit);
		free((void *)(uintptr_t)k->rows[i].vartype);
		free((void *)(uintptr_t)k->rows[i].context);
		free((void *)(uintptr_t)k->rows[i].sourcefile);
	}
	k->nrows = 0;
	k->valid = false;
}

static char *
copy(const PGresult *res, int row, int col)
{
	return PQgetisnull(res, row, col) ? NULL :
					    strdup(PQgetvalue(res, row, col));
}

static void
cache_fill(struct recovery_cache *k, const PGresult *res)
{
	int i;

	cache_clear(k);
	for (i = 0; i < PQntuples(res) && k->nrows < MAX_ROWS; i++) {
		struct pgsetting *s = &k->rows[k->nrows++];

		s->name = copy(res, i, 0);
		s->setting = copy(res, i, 1);
		s->unit = copy(res, i, 2);
		s->vartype = copy(res, i, 3);
		s->context = copy(res, i, 4);
		s->sourcefile = copy(res, i, 5);
	}
	k->valid = true;
}

static void
diff_end(struct diff *d, enum ha_recovery_diff r)
{
	struct controller *c = d->c;
	struct ha_ev ev;

	if (r == DIFF_NONE && c->reload_forced)
		r = DIFF_RELOAD;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_RECOVERY_DIFF;
	ev.id = d->ask;
	ev.diff = r;
	tree_free_wiped(d->want);
	free(d);
	controller_feed(c, &ev);
}

static void
diff_compare(struct diff *d, const struct tree *recovery_conf)
{
	struct controller *c = d->c;
	struct recovery_cache *k = c->recovery_cache;
	const struct snapshot *s = &c->snap;
	struct pgfacts f = settings_facts(c, d->role);
	struct pgcurrent cur;
	char why[WORD_SIZE] = "";
	enum pgdiff r;

	memset(&cur, 0, sizeof cur);
	cur.valid = recovery_conf != NULL || k->valid;
	cur.rows = k->rows;
	cur.nrows = k->nrows;
	cur.recovery_conf = recovery_conf;
	cur.has_receiver = s->has_receiver;
	cur.receiver_conninfo =
	    s->has_receiver && s->receiver_conninfo[0] != '\0' ?
	    s->receiver_conninfo :
	    NULL;
	cur.receiver_slot = s->receiver_slot;
	r = pgconf_recovery_diff(c->conf, d->want, &cur, &f, why);
	if (r != PGDIFF_NONE)
		log_debug("recovery setting %s differs", why);
	diff_end(d,
	    r == PGDIFF_RESTART	   ? DIFF_RESTART :
		r == PGDIFF_RELOAD ? DIFF_RELOAD :
				     DIFF_NONE);
}

static void
on_rows(const struct sql_answer *a, void *arg)
{
	struct diff *d = arg;
	struct controller *c = d->c;
	struct recovery_cache *k = c->recovery_cache;

	if (a->outcome == SQL_OK) {
		cache_fill(k, a->res);
	} else if (a->outcome == SQL_LOST && k->nrows > 0) {
		/* crash recovery of the server: unchanged until it answers */
		diff_end(d, DIFF_NONE);
		return;
	} else {
		cache_clear(k);
	}
	diff_compare(d, NULL);
}

static void
diff_old(struct diff *d)
{
	char path[PATH_SIZE + 32];
	struct pgerr err;
	struct tree *t;
	size_t len;
	char *text;

	snprintf(path, sizeof path, "%s/recovery.conf", d->c->conf->data_dir);
	text = pgfile_read(path, 65536, &len, &err);
	t = text != NULL ? recovery_conf_parse(text) : NULL;
	free(text);
	diff_compare(d, t);
	tree_free(t);
}

static void
diff_read(struct diff *d)
{
	static const char query[] =
	    "SELECT name, setting, unit, vartype, context, sourcefile"
	    " FROM pg_catalog.pg_settings WHERE name = ANY($1)";
	const char *const *names = recovery_param_names();
	struct controller *c = d->c;
	struct recovery_cache *k = c->recovery_cache;
	char array[2048] = "{";
	const char *param[1] = { array };
	size_t i, n = 1;

	for (i = 0; names[i] != NULL; i++)
		n += (size_t)snprintf(array + n, sizeof array - n, "%s%s",
		    i > 0 ? "," : "", names[i]);
	snprintf(array + n, sizeof array - n, "}");
	k->stamp = files_stamp(c);
	text_set(k->start_time, sizeof k->start_time, c->snap.start_time);
	if (sql_query(
		c->heartbeat, query, 1, param, QUERY_TIMEOUT, on_rows, d) == -1)
		diff_end(d, DIFF_NONE);
}

void
facts_recovery_diff(struct controller *c, uint64_t ask, const struct ha_job *j)
{
	struct diff *d = calloc(1, sizeof *d);
	struct recovery_cache *k = c->recovery_cache;

	if (d == NULL)
		fatal("out of memory");
	d->c = c;
	d->ask = ask;
	d->role = j->role;
	settings_major(c);
	d->want = settings_recovery(c, j);
	if (d->want == NULL || c->major == 0) {
		diff_end(d, DIFF_NONE);
		return;
	}
	/* our own write is current until the server had time to read it, and
	 * all that can be compared while it starts */
	if (c->recovery != NULL && tree_equal_loose(c->recovery, d->want) &&
	    (c->state != STATE_RUNNING ||
		clock_boot_ns() - c->written_at < SETTLE)) {
		diff_end(d, DIFF_NONE);
		return;
	}
	if (c->state != STATE_RUNNING) {
		diff_end(d, c->recovery == NULL ? DIFF_NONE : DIFF_RESTART);
		return;
	}
	if (c->major < 120000)
		diff_old(d);
	else if (k->valid && k->stamp == files_stamp(c) &&
	    strcmp(k->start_time, c->snap.start_time) == 0)
		diff_compare(d, NULL);
	else
		diff_read(d);
}

struct recovery_cache *
recovery_cache_new(void)
{
	return calloc(1, sizeof(struct recovery_cache));
}

/* ---- divergence ---- */

enum phase { LOCAL, IN_RECOVERY, IDENTIFY, HISTORY, WAL };

struct divergence {
	struct controller *c;
	uint64_t ask;
	int64_t deadline;
	struct ha_job job;
	struct ha_divergence d;
	uint32_t crashed_on;   /* timeline of a server without a place */
	uint64_t leader_lsn;   /* how far it has written its timeline */
	uint64_t begin;	       /* of our timeline */
	struct wal_sample own; /* WAL of it */
	struct sql *sql;
	enum phase phase;
};

static void run(struct divergence *);

static void
divergence_end(struct divergence *v)
{
	struct controller *c = v->c;
	struct ha_ev ev;

	memset(&ev, 0, sizeof ev);
	ev.type = EV_DIVERGENCE;
	ev.id = v->ask;
	ev.divergence = &v->d;
	controller_feed(c, &ev);
	sql_free(v->sql);
	free(v);
}

static void on_answer(const struct sql_answer *a, void *arg);

static int64_t
left(const struct divergence *v)
{
	int64_t n = v->deadline - clock_boot_ns();

	return n > QUERY_TIMEOUT ? QUERY_TIMEOUT : n;
}

/* A new connection for the next question. */
static bool
connect_to(struct divergence *v, enum pgconn_use use)
{
	struct controller *c = v->c;
	const char *keys[48], *values[48];
	struct tree *info;
	bool ok;

	sql_forget(v->sql);
	info = pgconf_connection(c->conf, use,
	    use == PGCONN_LOCAL_REPLICATION ? NULL : &v->job.node, c->params,
	    c->major);
	if (info == NULL)
		return false;
	if (use != PGCONN_LEADER)
		tree_set(info, "replication", tree_text("1"));
	ok = pgconf_libpq_arrays(info, keys, values, 48) &&
	    sql_target(v->sql, keys, values);
	tree_free_wiped(info);
	return ok;
}

static bool
query(struct divergence *v, const char *text)
{
	return left(v) > 0 &&
	    sql_query(v->sql, text, 0, NULL, left(v), on_answer, v) == 0;
}

/* Where the timeline began that this history ends before. */
static void
say_branch(const char *whose, uint32_t timeline, const struct history_line *v,
    uint32_t n)
{
	char lsn[32] = "an unknown place";
	uint32_t parent = 0;

	while (n > 0 && v[n - 1].timeline >= timeline)
		n--;
	if (n > 0) {
		lsn_format(v[n - 1].lsn, lsn);
		parent = v[n - 1].timeline;
	}
	log_warn("Timeline %u of %s branched off timeline %u at %s", timeline,
	    whose, parent, lsn);
}

/*
 * Two nodes that were promoted without knowing of each other give their
 * branches one number: is the leader's branch of our timeline ours?  Without
 * our own history there is nothing to compare, as before.
 */
static void
compare_branches(struct divergence *v, const struct history_line *leader)
{
	static struct history_line own[MAX_HISTORY];
	const struct controller *c = v->c;
	uint32_t timeline = v->d.local_timeline;
	struct pgerr err;
	int n;

	if (timeline <= 1)
		return;
	n = history_read(
	    c->conf->data_dir, c->major, timeline, own, MAX_HISTORY, &err);
	if (n < 0) {
		log_info("Timeline %u cannot be compared with the leader's: %s",
		    timeline, err.text);
		return;
	}
	v->d.other_branch =
	    !history_agrees(own, (uint32_t)n, leader, v->d.nhistory, timeline);
	while (n > 0 && own[n - 1].timeline >= timeline)
		n--;
	v->begin = n > 0 ? own[n - 1].lsn : 0;
	if (!v->d.other_branch)
		return;
	say_branch(c->conf->name, timeline, own, (uint32_t)n);
	say_branch(v->job.node.name, timeline, leader, v->d.nhistory);
}

static void
take_history(struct divergence *v, const char *text)
{
	static struct history_line lines[MAX_HISTORY];
	uint32_t i;

	v->d.nhistory = history_parse(text, lines, MAX_HISTORY);
	for (i = 0; i < v->d.nhistory; i++) {
		v->d.history[i].timeline = lines[i].timeline;
		v->d.history[i].lsn = lines[i].lsn;
	}
	v->d.history_known = true;
	v->d.branch_unsure = false;
	compare_branches(v, lines);
}

/* ---- the same, where it began at one place ---- */

/* Where the leader's last timeline is not ours, ours has an end there. */
static uint64_t
leader_end(const struct divergence *v)
{
	uint32_t i;

	if (v->d.leader_timeline == v->d.local_timeline)
		return UINT64_MAX;
	for (i = 0; i < v->d.nhistory; i++)
		if (v->d.history[i].timeline == v->d.local_timeline)
			return v->d.history[i].lsn;
	return 0;
}

/* All that a standby has was the leader's before.  lsn: where we have a record
 * or have replayed everything, as of before the leader was asked. */
static bool
ahead_of_leader(struct divergence *v, uint64_t lsn)
{
	char own[32], leader[32];

	if (v->d.leader_timeline != v->d.local_timeline || v->leader_lsn == 0 ||
	    lsn <= v->leader_lsn)
		return false;
	lsn_format(lsn, own);
	lsn_format(v->leader_lsn, leader);
	log_warn(
	    "Timeline %u ends at %s on the leader, and there is WAL up to %s here",
	    v->d.local_timeline, leader, own);
	v->d.other_wal = true;
	return true;
}

static void
say_incomparable(const struct divergence *v, const char *why)
{
	log_info("WAL of timeline %u cannot be compared with the leader's: %s",
	    v->d.local_timeline, why);
}

/*
 * The checkpoint that this server would start from is surely there; where it
 * is older than the timeline, the first record of the timeline is.  Both carry
 * the time at which they were made.
 */
static bool
take_sample(struct divergence *v, const struct ha_control *k,
    const struct tree *data, uint64_t *lsn)
{
	const char *text = control_value(data, "Bytes per WAL segment");
	struct controller *c = v->c;
	int64_t segment = 0;
	struct pgerr err;

	*lsn = k->checkpoint_lsn > v->begin ? k->checkpoint_lsn : v->begin;
	if (!k->ok || text == NULL ||
	    !text_to_int64(text, 1, UINT32_MAX, &segment)) {
		say_incomparable(v, "pg_controldata does not tell enough");
		return false;
	}
	/* nothing on it yet, or the end of it is looked at by its place */
	if ((v->d.local_in_recovery && v->d.local_lsn <= v->begin) ||
	    k->timeline > v->d.local_timeline ||
	    *lsn + WAL_SAMPLE_MAX > leader_end(v))
		return false;
	if (wal_sample_read(c->conf->data_dir, c->major, v->d.local_timeline,
		*lsn, (uint64_t)segment, &v->own, &err))
		return true;
	say_incomparable(v, err.text);
	return false;
}

static void
on_wal_control(struct controller *c, const struct ha_control *k,
    const struct tree *data, void *arg)
{
	struct divergence *v = arg;
	char text[96], place[32];
	uint64_t lsn;

	if (!take_sample(v, k, data, &lsn) ||
	    (!postmaster_alive(&c->pm) &&
		ahead_of_leader(v, lsn + v->own.size))) {
		divergence_end(v);
		return;
	}
	lsn_format(lsn, place);
	snprintf(text, sizeof text, "START_REPLICATION PHYSICAL %s TIMELINE %u",
	    place, v->d.local_timeline);
	if (query(v, text))
		return;
	v->d.branch_unsure = true;
	divergence_end(v);
}

/*
 * Two nodes that were promoted at the same place have equal histories, and
 * nothing in common behind it.
 */
static void
compare_wal(struct divergence *v)
{
	if (v->begin == 0 || v->d.other_branch ||
	    (v->d.local_known && ahead_of_leader(v, v->d.local_lsn))) {
		divergence_end(v);
		return;
	}
	v->phase = WAL;
	facts_control(v->c, 0, false, on_wal_control, v);
}

static void
wal_compared(struct divergence *v, const struct sql_answer *a)
{
	int same =
	    a->wal == NULL ? -1 : wal_sample_compare(&v->own, a->wal, a->nwal);
	char lsn[32];

	if (same < 0) {
		say_incomparable(v, "it sent something else");
		return;
	}
	v->d.other_wal = same == 0;
	lsn_format(v->own.lsn, lsn);
	if (v->d.other_wal)
		log_warn("WAL of timeline %u at %s is not the leader's",
		    v->d.local_timeline, lsn);
}

/* A refusal is an answer: it has removed that WAL, or not come to it. */
static void
wal_not_sent(struct divergence *v, const struct sql_answer *a)
{
	say_incomparable(v, a->message);
	v->d.branch_unsure = a->outcome != SQL_ERROR;
}

/* Equal timelines, and the leader has no history of it to show. */
static bool
no_history(struct divergence *v, const struct sql_answer *a)
{
	if (v->phase != HISTORY || a->outcome != SQL_ERROR ||
	    v->d.leader_timeline != v->d.local_timeline)
		return false;
	log_info("Timeline %u cannot be compared with the leader's: %s",
	    v->d.local_timeline, a->message);
	v->d.branch_unsure = false;
	return true;
}

static void
on_answer(const struct sql_answer *a, void *arg)
{
	struct divergence *v = arg;
	char text[64];

	if (a->outcome != SQL_OK) {
		if (v->phase == LOCAL || no_history(v, a)) {
			divergence_end(v);
			return;
		}
		if (v->phase == WAL) {
			wal_not_sent(v, a);
			divergence_end(v);
			return;
		}
		log_error("Exception when working with %s: %s",
		    v->phase == IN_RECOVERY ?
			"leader" :
			"primary via replication connection",
		    a->message);
		divergence_end(v);
		return;
	}
	switch (v->phase) {
	case LOCAL:
		v->d.local_timeline = (uint32_t)sql_int(a->res, 0, 1);
		v->d.local_known =
		    v->d.local_timeline != 0 && v->d.local_lsn != 0;
		v->phase = IN_RECOVERY;
		break;
	case IN_RECOVERY:
		v->d.leader_in_recovery = sql_bool(a->res, 0, 0);
		if (v->d.leader_in_recovery) {
			v->d.leader_reachable = true;
			log_info(
			    "Leader is still in_recovery and therefore can't be used for rewind");
			divergence_end(v);
			return;
		}
		v->phase = IDENTIFY;
		break;
	case IDENTIFY:
		v->d.leader_timeline = (uint32_t)sql_int(a->res, 0, 1);
		v->d.leader_reachable = v->d.leader_timeline != 0;
		if (!lsn_parse(sql_text(a->res, 0, 2), &v->leader_lsn))
			v->leader_lsn = 0;
		log_info("primary_timeline=%u", v->d.leader_timeline);
		if (v->d.leader_timeline < v->d.local_timeline ||
		    v->d.leader_timeline <= 1) {
			divergence_end(v);
			return;
		}
		v->d.branch_unsure =
		    v->d.leader_timeline == v->d.local_timeline;
		v->phase = HISTORY;
		snprintf(text, sizeof text, "TIMELINE_HISTORY %u",
		    v->d.leader_timeline);
		if (!query(v, text))
			divergence_end(v);
		return;
	case HISTORY:
		take_history(v, sql_text(a->res, 0, 1));
		compare_wal(v);
		return;
	case WAL:
		wal_compared(v, a);
		divergence_end(v);
		return;
	}
	run(v);
}

/* The local position is known: go on with the leader. */
static void
run(struct divergence *v)
{
	char lsn[32];

	if (v->phase == IN_RECOVERY) {
		lsn_format(v->d.local_lsn, lsn);
		log_info("Local timeline=%u lsn=%s", v->d.local_timeline, lsn);
		if (!v->d.local_known)
			v->d.local_timeline = v->crashed_on;
		if (v->d.local_timeline == 0 || !connect_to(v, PGCONN_LEADER) ||
		    !query(v, "SELECT pg_catalog.pg_is_in_recovery()"))
			divergence_end(v);
		return;
	}
	if (!connect_to(v, PGCONN_LEADER_REPLICATION) ||
	    !query(v, "IDENTIFY_SYSTEM"))
		divergence_end(v);
}

static void
on_dump(const struct child_end *e, void *arg)
{
	struct divergence *v = arg;

	if (e->started)
		v->d.checkpoint_end =
		    wal_checkpoint_end(e->out, e->err, v->d.local_lsn);
	if (v->d.checkpoint_end == 0)
		log_error(
		    "Failed to parse pg_waldump output: stdout=%s stderr=%s",
		    e->out, e->err);
	run(v);
}

static void
on_control(struct controller *c, const struct ha_control *k,
    const struct tree *data, void *arg)
{
	struct divergence *v = arg;
	bool recovery = k->state == CONTROL_SHUT_DOWN_IN_RECOVERY ||
	    k->state == CONTROL_IN_ARCHIVE_RECOVERY;

	(void)data;
	v->phase = IN_RECOVERY;
	/* a crashed primary that began archive recovery has no minimum */
	if (recovery && k->min_recovery_lsn != 0 &&
	    k->min_recovery_timeline != 0) {
		v->d.local_in_recovery = true;
		v->d.local_lsn = k->min_recovery_lsn;
		v->d.local_timeline = k->min_recovery_timeline;
	} else if (recovery || k->state == CONTROL_SHUT_DOWN) {
		v->d.local_lsn = k->checkpoint_lsn;
		v->d.local_timeline = k->timeline;
	}
	v->d.local_known =
	    k->ok && v->d.local_timeline != 0 && v->d.local_lsn != 0;
	/* promoted without a checkpoint since, it says so in another place */
	if (k->ok && !v->d.local_known)
		v->crashed_on = k->min_recovery_timeline > k->timeline ?
		    k->min_recovery_timeline :
		    k->timeline;
	if (v->d.local_known && !v->d.local_in_recovery &&
	    facts_dump(c, v->d.local_timeline, v->d.local_lsn, 2, on_dump, v))
		return;
	run(v);
}

void
facts_divergence(struct controller *c, uint64_t ask, const struct ha_job *j,
    int64_t deadline)
{
	struct divergence *v = calloc(1, sizeof *v);

	if (v == NULL || (v->sql = sql_new(c->base, NULL)) == NULL)
		fatal("out of memory");
	v->c = c;
	v->ask = ask;
	v->job = *j;
	v->deadline = deadline;
	v->phase = LOCAL;
	if (postmaster_alive(&c->pm) && c->snap.sql_ok) {
		v->d.local_in_recovery = true;
		v->d.local_lsn = c->snap.pg.replay_lsn;
		if (connect_to(v, PGCONN_LOCAL_REPLICATION) &&
		    query(v, "IDENTIFY_SYSTEM"))
			return;
	} else if (postmaster_alive(&c->pm)) {
		log_info(
		    "PostgreSQL is still starting, will use pg_controldata as a fallback");
	}
	facts_control(c, 0, false, on_control, v);
}
