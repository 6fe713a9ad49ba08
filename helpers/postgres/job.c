/*
 * job.c: the slot for long actions: queue, cancelling, and what an operation
 * can wait for (a time, a program, a query, the postmaster's end).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"

#define MAX_WAITING 8
#define PREEMPT_GRACE NS_PER_MS

static void (*const begin[JOB_KIND_COUNT])(
    struct controller *) = { [JOB_BOOTSTRAP] = job_bootstrap,
	[JOB_POST_BOOTSTRAP] = job_post_bootstrap,
	[JOB_CLONE] = job_clone,
	[JOB_START_PRIMARY] = job_start_primary,
	[JOB_FOLLOW] = job_follow,
	[JOB_RELOAD_RECOVERY] = job_follow,
	[JOB_STOP] = job_stop,
	[JOB_PROMOTE] = job_promote,
	[JOB_RESTART] = job_restart,
	[JOB_REWIND] = job_rewind,
	[JOB_CRASH_RECOVERY] = job_crash,
	[JOB_REMOVE_DATA] = job_remove_data,
	[JOB_MOVE_DATA] = job_move_data,
	[JOB_ARCHIVE_CHECKPOINT] = job_archive_checkpoint,
	[JOB_COPY_SLOTS] = job_copy_slots };

static void run_next(struct controller *);

static void
job_free(struct job *j)
{
	if (j->timer != NULL)
		event_free(j->timer);
	child_drop(j->child);
	sql_free(j->sql);
	free(j->out);
	free(j->err);
	tree_free(j->start.recovery);
	tree_free(j->start.controldata);
	tree_free(j->methods);
	tree_free_wiped(j->list);
	tree_free(j->controldata);
	tree_free(j->doc);
	free(j);
}

static void
step(struct controller *c)
{
	if (c->job != NULL && c->job->step != NULL)
		c->job->step(c);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	step(arg);
}

static void
on_next(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run_next(arg);
}

static void
answer(
    struct controller *c, uint64_t id, enum ha_job_result r, const char *error)
{
	struct ha_ev ev;

	if (id == 0)
		return;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_JOB_DONE;
	ev.id = id;
	ev.result = r;
	ev.error = error;
	controller_feed(c, &ev);
}

static void
run_next(struct controller *c)
{
	struct job *j;

	if (c->job != NULL || c->job_queue == NULL)
		return;
	j = c->job_queue;
	c->job_queue = j->next;
	j->next = NULL;
	c->job = j;
	begin[j->spec.kind](c);
}

static void
schedule_next(struct controller *c)
{
	struct timeval now = { 0, 0 };

	event_base_once(c->base, -1, EV_TIMEOUT, on_next, c, &now);
}

static void
end_job(struct controller *c, enum ha_job_result r, const char *error)
{
	struct job *j = c->job;

	c->job = NULL;
	if (j->cancelled && r != JOB_OK)
		r = JOB_CANCELLED;
	log_debug("job %d ended: %d", (int)j->spec.kind, (int)r);
	answer(c, j->id, r, error);
	job_free(j);
	schedule_next(c);
}

void
job_finish(struct controller *c, enum ha_job_result r)
{
	end_job(c, r, NULL);
}

void
job_fail(struct controller *c, const char *error)
{
	end_job(c, JOB_FAILED, error);
}

void
job_progress_lsn(struct controller *c, uint64_t lsn, uint64_t prev)
{
	struct ha_ev ev;

	if (c->job->id == 0)
		return;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_JOB_PROGRESS;
	ev.id = c->job->id;
	ev.progress = PROGRESS_SHUT_DOWN;
	ev.lsn = lsn;
	ev.prev_lsn = prev;
	controller_feed(c, &ev);
}

void
job_progress(struct controller *c, enum ha_progress p)
{
	struct ha_ev ev;

	if (c->job->id == 0)
		return;
	memset(&ev, 0, sizeof ev);
	ev.type = EV_JOB_PROGRESS;
	ev.id = c->job->id;
	ev.progress = p;
	controller_feed(c, &ev);
}

static void
cancel_running(struct controller *c, int64_t grace)
{
	struct job *j = c->job;

	if (j->cancelled && grace >= j->grace)
		return;
	j->cancelled = true;
	j->grace = grace;
	if (j->child != NULL) {
		log_info("Terminating %d", (int)child_pid(j->child));
		child_cancel(j->child, grace);
		return;
	}
	if (j->sql != NULL)
		sql_forget(j->sql);
	j->sql_outcome = SQL_LOST;
	job_wait(c, 0);
}

void
job_submit(struct controller *c, uint64_t id, const struct ha_job *spec)
{
	struct job *j, **p;
	int n = 0;

	j = calloc(1, sizeof *j);
	if (j != NULL)
		j->timer = evtimer_new(c->base, on_timer, c);
	for (p = &c->job_queue; *p != NULL; p = &(*p)->next)
		n++;
	if (j == NULL || j->timer == NULL || n >= MAX_WAITING ||
	    begin[spec->kind] == NULL) {
		log_error("job %d refused", (int)spec->kind);
		if (j != NULL)
			job_free(j);
		answer(c, id, JOB_FAILED, "job refused");
		return;
	}
	j->id = id;
	j->spec = *spec;
	/* the trees of the member belong to the core's view */
	j->spec.node.tags_doc = NULL;
	j->spec.node.pending_restart_reason = NULL;
	j->spec.node.scheduled_restart = NULL;
	j->spec.doc = NULL;
	if (spec->kind == JOB_STOP) {
		/* a stop never waits for what it is about to end */
		if (c->job != NULL)
			cancel_running(c, PREEMPT_GRACE);
		j->next = c->job_queue;
		c->job_queue = j;
	} else {
		*p = j;
	}
	schedule_next(c);
}

void
job_cancel(struct controller *c, uint64_t id, int64_t grace)
{
	struct job **p, *j;

	if (c->job != NULL && c->job->id == id) {
		cancel_running(c, grace);
		return;
	}
	for (p = &c->job_queue; (j = *p) != NULL; p = &j->next) {
		if (j->id != id)
			continue;
		*p = j->next;
		answer(c, id, JOB_CANCELLED, NULL);
		job_free(j);
		return;
	}
}

void
job_abandon(struct controller *c)
{
	struct job *j;

	if (c->job != NULL)
		job_free(c->job);
	c->job = NULL;
	while ((j = c->job_queue) != NULL) {
		c->job_queue = j->next;
		job_free(j);
	}
}

void
job_poke(struct controller *c)
{
	/* a program decides by its own end, a query by its own */
	if (c->job != NULL && c->job->child == NULL &&
	    evtimer_pending(c->job->timer, NULL))
		job_wait(c, 0);
}

void
job_wait(struct controller *c, int ms)
{
	struct timeval tv = controller_timeval(ms * NS_PER_MS);

	evtimer_add(c->job->timer, &tv);
}

bool
job_busy(const struct job *j)
{
	return j->child != NULL;
}

static void
on_child(const struct child_end *e, void *arg)
{
	struct controller *c = arg;
	struct job *j = c->job;

	j->child = NULL;
	j->end = *e;
	free(j->out);
	free(j->err);
	j->out = strdup(e->out);
	j->err = strdup(e->err);
	j->end.out = j->out != NULL ? j->out : "";
	j->end.err = j->err != NULL ? j->err : "";
	step(c);
}

static bool
run_child(struct controller *c, const struct child_spec *spec)
{
	struct job *j = c->job;

	memset(&j->end, 0, sizeof j->end);
	j->end.out = j->end.err = "";
	if (j->cancelled) {
		j->end.error = ECANCELED;
		return false;
	}
	j->child = child_run(c->base, spec, on_child, c);
	if (j->child == NULL)
		j->end.error = errno != 0 ? errno : ENOMEM;
	return j->child != NULL;
}

bool
job_program(struct controller *c, const char *const *argv,
    const char *const *extra_env, bool capture)
{
	struct child_spec spec;
	char **env;
	bool ok;

	env = child_environment(extra_env, false);
	if (env == NULL)
		return false;
	memset(&spec, 0, sizeof spec);
	spec.argv = argv;
	spec.envp = env;
	spec.capture = capture;
	spec.err_line = c->job->err_line;
	ok = run_child(c, &spec);
	free(env);
	return ok;
}

bool
job_program_list(struct controller *c, const struct tree *list,
    const char *const *extra_env, bool capture)
{
	const char **argv;
	uint32_t i, n = tree_count(list);
	bool ok;

	argv = calloc(n + 1, sizeof *argv);
	if (argv == NULL || n == 0) {
		free(argv);
		c->job->end.error = n == 0 ? EINVAL : ENOMEM;
		return false;
	}
	for (i = 0; i < n; i++) {
		const struct tree *t = tree_child(list, i);

		argv[i] = t->type == TREE_TEXT ? t->u.s : "";
	}
	ok = job_program(c, argv, extra_env, capture);
	free(argv);
	return ok;
}

bool
job_worker(struct controller *c, int (*worker)(void *), void *arg)
{
	struct child_spec spec;

	memset(&spec, 0, sizeof spec);
	spec.worker = worker;
	spec.worker_arg = arg;
	return run_child(c, &spec);
}

bool
job_connect(struct controller *c, struct tree *conninfo)
{
	const char *keys[48], *values[48];
	struct job *j = c->job;
	bool ok;

	sql_free(j->sql);
	j->sql = NULL;
	if (conninfo == NULL)
		return false;
	if (pgconf_libpq_arrays(conninfo, keys, values, 48))
		j->sql = sql_new(c->base, NULL);
	ok = j->sql != NULL && sql_target(j->sql, keys, values);
	tree_free_wiped(conninfo);
	return ok;
}

static void
on_query(const struct sql_answer *a, void *arg)
{
	struct controller *c = arg;
	struct job *j = c->job;

	j->sql_outcome = a->outcome;
	j->sql_true = a->outcome == SQL_OK && sql_bool(a->res, 0, 0);
	j->sql_text[0] = '\0';
	if (a->outcome != SQL_OK)
		text_set(j->sql_text, sizeof j->sql_text, a->message);
	else if (PQntuples(a->res) > 0)
		text_set(
		    j->sql_text, sizeof j->sql_text, sql_text(a->res, 0, 0));
	step(c);
}

bool
job_query(struct controller *c, const char *text, int64_t timeout_ns)
{
	struct job *j = c->job;

	return !j->cancelled && j->sql != NULL &&
	    sql_query(j->sql, text, 0, NULL, timeout_ns, on_query, c) == 0;
}
