/*
 * dcs.c: the core of the store client (see dcs.h): what is written where and
 * when, independent of the store.
 */
#include <sys/queue.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/codec.h"
#include "../ipc/log.h"
#include "../ipc/values.h"
#include "decode.h"
#include "driver.h"
#include "encode.h"

#define MAX_OPERATIONS 256

struct operation;
typedef void (*next_step)(struct operation *, enum outcome);

struct operation {
	struct dcs_call call; /* first: drivers know only this */
	LIST_ENTRY(operation) entry;
	struct event *timer; /* deadline, then delivery */
	dcs_done_cb done;
	void *arg;
	next_step next; /* run when the step ends well or not */
	char *value;
	char *status; /* UPDATE: to be written after the lock */
	char *failsafe;
	uint64_t optime;
	bool delivered; /* `done` has run */
	bool finished;	/* the driver is through with it */
	enum outcome outcome;
	struct view *view;
	char error[TEXT_SIZE];
};

struct dcs {
	struct event_base *base;
	const struct dcs_driver *driver;
	void *state;
	bool ctl;
	struct dcs_callbacks callbacks;
	void *arg;
	char name[NAME_SIZE];
	char path[2 * NAME_SIZE + 4];
	char scope[NAME_SIZE];
	int64_t ttl, loop, retry; /* ns */
	LIST_HEAD(, operation) operations;
	uint32_t noperations;
	struct view *last; /* last view loaded */
	uint8_t *raw;	   /* ... from these keys, keys_text() */
	size_t raw_len;
	char *last_status; /* last known content, for suppression */
	char *last_failsafe;
	uint64_t last_optime; /* written to optime/leader */
	int32_t *groups;      /* ctl: of a Citus cluster, ascending */
	uint32_t ngroups;
};

/* In the order in which a section is looked for (spec/dcs.md 1). */
#define DRIVER(name) &dcs_##name,
static const struct dcs_driver *const drivers[] = { STORES(DRIVER, DRIVER) };

static void on_timer(evutil_socket_t, short, void *);

/* ---- for drivers ---- */

struct event_base *
dcs_event_base(const struct dcs *d)
{
	return d->base;
}

bool
dcs_ctl_mode(const struct dcs *d)
{
	return d->ctl;
}

const char *
dcs_name(const struct dcs *d)
{
	return d->name;
}

const char *
dcs_base_path(const struct dcs *d)
{
	return d->path;
}

const char *
dcs_scope(const struct dcs *d)
{
	return d->scope;
}

const char *
dcs_driver_name(const struct dcs *d)
{
	return d->driver->section;
}

int64_t
dcs_ttl_ns(const struct dcs *d)
{
	return d->ttl;
}

int64_t
dcs_loop_ns(const struct dcs *d)
{
	return d->loop;
}

int64_t
dcs_retry_ns(const struct dcs *d)
{
	return d->retry;
}

void
dcs_watch_changed(struct dcs *d, uint32_t keys, uint32_t wake)
{
	if (d->callbacks.changed != NULL)
		d->callbacks.changed(keys, wake, d->arg);
}

/* ---- operations ---- */

static void
operation_free(struct operation *o)
{
	LIST_REMOVE(o, entry);
	o->call.dcs->noperations--;
	if (o->timer != NULL)
		event_free(o->timer);
	view_free(o->view);
	free(o->value);
	free(o->status);
	free(o->failsafe);
	free(o);
}

static struct operation *
operation_new(struct dcs *d, enum dcs_op op, enum dcs_key key, bool retry,
    int64_t deadline, dcs_done_cb done, void *arg)
{
	struct operation *o = calloc(1, sizeof(*o));

	if (o == NULL)
		fatal("out of memory");
	o->call.dcs = d;
	o->call.op = op;
	o->call.key = key;
	o->call.retry = retry;
	o->call.deadline = deadline > 0 ? deadline : clock_boot_ns() + d->retry;
	o->call.value = "";
	o->done = done;
	o->arg = arg;
	if ((o->timer = evtimer_new(d->base, on_timer, o)) == NULL)
		fatal("out of memory");
	LIST_INSERT_HEAD(&d->operations, o, entry);
	d->noperations++;
	return o;
}

static void
set_value(struct operation *o, char *value)
{
	free(o->value);
	o->value = value;
	o->call.value = value;
	o->call.len = strlen(value);
}

/* Let the loop deliver: never from inside the caller's call. */
static void
schedule(struct operation *o, int64_t ns)
{
	struct timeval tv;

	if (ns < 0)
		ns = 0;
	tv.tv_sec = ns / NS_PER_SEC;
	tv.tv_usec = ns % NS_PER_SEC / 1000;
	evtimer_add(o->timer, &tv);
}

static void
deliver(struct operation *o)
{
	struct dcs_reply r = { o->outcome, o->call.new_token, o->call.sent_ns,
		o->view, o->error, o->call.dcs->groups, o->call.dcs->ngroups };

	if (o->delivered)
		return;
	o->delivered = true;
	if (o->done != NULL)
		o->done(&r, o->arg);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct operation *o = arg;
	bool finished = o->finished;

	(void)fd;
	(void)what;
	if (!finished && !o->delivered) {
		o->outcome = o->call.op == DCS_OP_LOAD ? OUTCOME_FAILED :
							 OUTCOME_UNKNOWN;
		snprintf(o->error, sizeof(o->error),
		    "no answer from the store before the deadline");
	}
	deliver(o);
	if (finished)
		operation_free(o);
}

static void
start(struct operation *o)
{
	struct dcs *d = o->call.dcs;

	if (d->noperations > MAX_OPERATIONS) {
		dcs_call_done(
		    &o->call, OUTCOME_FAILED, "too many operations in flight");
		return;
	}
	schedule(o, o->call.deadline - clock_boot_ns());
	d->driver->submit(d->state, &o->call);
}

void
dcs_call_done(struct dcs_call *call, enum outcome outcome, const char *error)
{
	struct operation *o = (struct operation *)call;
	next_step next = o->next;

	if (!o->delivered && error != o->error)
		snprintf(o->error, sizeof(o->error), "%s", error);
	if (next != NULL) {
		o->next = NULL;
		next(o, outcome);
		return;
	}
	if (!o->delivered) {
		o->outcome = outcome;
		if (outcome == OUTCOME_OK)
			o->error[0] = '\0';
	}
	o->finished = true;
	schedule(o, 0);
}

static void
replace(char **p, const char *value, size_t len)
{
	free(*p);
	*p = value == NULL ? NULL : strndup(value, len);
}

/* All that a view is made of, as bytes to compare. */
static bool
keys_text(const struct dcs_kv *kv, size_t n, uint8_t **buf, size_t *len)
{
	struct writer w;
	size_t i;

	writer_init(&w, SIZE_MAX);
	for (i = 0; i < n; i++) {
		write_u32(&w, (uint32_t)kv[i].key);
		write_u64(&w, (uint64_t)kv[i].token);
		write_u64(&w, (uint64_t)kv[i].modify);
		write_text(&w, kv[i].member != NULL ? kv[i].member : "");
		write_text(&w, kv[i].session);
		write_u64(&w, kv[i].len);
		write_bytes(&w, kv[i].value, kv[i].len);
	}
	return writer_finish(&w, buf, len);
}

/* An idle cluster is loaded again and again: what did not change is not
 * parsed again. */
static struct view *
view_of(
    struct dcs *d, const struct dcs_kv *kv, size_t n, char *err, size_t errlen)
{
	uint8_t *raw = NULL;
	struct view *v;
	size_t len = 0;

	if (!keys_text(kv, n, &raw, &len))
		return decode_view(kv, n, err, errlen);
	if (d->raw != NULL && len == d->raw_len &&
	    memcmp(raw, d->raw, len) == 0 && (v = view_copy(d->last)) != NULL) {
		free(raw);
		view_stamp(v);
		return v;
	}
	free(d->raw);
	d->raw = NULL;
	if ((v = decode_view(kv, n, err, errlen)) == NULL) {
		free(raw);
		return NULL;
	}
	d->raw = raw;
	d->raw_len = len;
	return v;
}

void
dcs_call_loaded(struct dcs_call *call, const struct dcs_kv *kv, size_t n)
{
	struct operation *o = (struct operation *)call;
	struct dcs *d = call->dcs;
	char err[TEXT_SIZE] = "";
	struct view *v;
	size_t i;

	if ((v = view_of(d, kv, n, err, sizeof(err))) == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, err);
		return;
	}
	replace(&d->last_status, NULL, 0);
	replace(&d->last_failsafe, NULL, 0);
	for (i = 0; i < n; i++) {
		if (kv[i].key == DCS_KEY_STATUS)
			replace(&d->last_status, kv[i].value, kv[i].len);
		else if (kv[i].key == DCS_KEY_FAILSAFE)
			replace(&d->last_failsafe, kv[i].value, kv[i].len);
	}
	view_free(d->last);
	d->last = v;
	if (!o->delivered)
		o->view = view_share(v);
	dcs_call_done(call,
	    o->view != NULL || o->delivered ? OUTCOME_OK : OUTCOME_FAILED,
	    "out of memory");
}

/* Number of the group that a path is in; -1: it is in none.  "0", or a decimal
 * without a leading zero. */
static int32_t
group_of(const char *path)
{
	size_t len = strcspn(path, "/");
	char digits[12];
	int64_t n;

	if (len == 0 || len >= sizeof(digits) ||
	    strspn(path, "0123456789") != len || (path[0] == '0' && len > 1))
		return -1;
	memcpy(digits, path, len);
	digits[len] = '\0';
	return text_to_int64(digits, 0, INT32_MAX, &n) ? (int32_t)n : -1;
}

void
dcs_other(struct dcs *d, const char *path)
{
	int32_t group = d->ctl ? group_of(path) : -1;
	uint32_t i;

	if (group == -1)
		return;
	for (i = d->ngroups; i > 0 && d->groups[i - 1] >= group; i--)
		if (d->groups[i - 1] == group)
			return;
	if (d->ngroups == DCS_MAX_GROUPS)
		return;
	if (d->groups == NULL &&
	    (d->groups = calloc(DCS_MAX_GROUPS, sizeof(*d->groups))) == NULL)
		fatal("out of memory");
	memmove(d->groups + i + 1, d->groups + i,
	    (d->ngroups - i) * sizeof(*d->groups));
	d->groups[i] = group;
	d->ngroups++;
}

static void
fail_early(struct operation *o, const char *why)
{
	dcs_call_done(&o->call, OUTCOME_FAILED, why);
}

/* ---- status, failsafe (spec/dcs.md 2.7, 2.11) ---- */

/* Does some member run a version below 2.1.0? */
static bool
old_member(const struct view *v)
{
	unsigned at[3];
	uint32_t i;

	for (i = 0; v != NULL && i < v->nmembers; i++)
		if (version_numbers(v->members[i].version, at) >= 2 &&
		    (at[0] < 2 || (at[0] == 2 && at[1] < 1)))
			return true;
	return false;
}

static void
write_optime(struct dcs *d, uint64_t optime, int64_t deadline)
{
	struct operation *o;
	char text[32];

	if (!old_member(d->last) || optime == d->last_optime)
		return;
	o = operation_new(
	    d, DCS_OP_WRITE, DCS_KEY_OPTIME, false, deadline, NULL, NULL);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)optime);
	set_value(o, strdup(text));
	d->last_optime = optime;
	start(o);
}

static void
status_written(struct operation *o, enum outcome outcome)
{
	if (outcome == OUTCOME_OK)
		replace(&o->call.dcs->last_status, o->value, strlen(o->value));
	dcs_call_done(&o->call, outcome, o->error);
}

static void
failsafe_written(struct operation *o, enum outcome outcome)
{
	if (outcome == OUTCOME_OK)
		replace(
		    &o->call.dcs->last_failsafe, o->value, strlen(o->value));
	dcs_call_done(&o->call, outcome, o->error);
}

static bool
unchanged(const char *a, const char *b)
{
	return a != NULL && b != NULL &&
	    documents_equal(a, strlen(a), b, strlen(b));
}

/* Write status; done may be NULL.  Takes value over. */
static void
write_status(struct dcs *d, char *value, uint64_t optime, int64_t deadline,
    dcs_done_cb done, void *arg)
{
	struct operation *o;

	o = operation_new(
	    d, DCS_OP_WRITE, DCS_KEY_STATUS, false, deadline, done, arg);
	if (value == NULL) {
		fail_early(o, "out of memory");
		return;
	}
	set_value(o, value);
	if (unchanged(value, d->last_status))
		dcs_call_done(&o->call, OUTCOME_OK, "");
	else {
		o->next = status_written;
		start(o);
	}
	write_optime(d, optime, deadline);
}

static void
write_failsafe(struct dcs *d, char *value, int64_t deadline)
{
	struct operation *o;

	if (unchanged(value, d->last_failsafe)) {
		free(value);
		return;
	}
	o = operation_new(
	    d, DCS_OP_WRITE, DCS_KEY_FAILSAFE, false, deadline, NULL, NULL);
	set_value(o, value);
	o->next = failsafe_written;
	start(o);
}

/* ---- the interface ---- */

void
dcs_load(struct dcs *d, int64_t deadline, dcs_done_cb done, void *arg)
{
	start(operation_new(
	    d, DCS_OP_LOAD, DCS_KEY_COUNT - 1, true, deadline, done, arg));
}

static void
lock_operation(struct dcs *d, enum dcs_op op, int64_t deadline,
    dcs_done_cb done, void *arg)
{
	struct operation *o;

	o = operation_new(d, op, DCS_KEY_LEADER, true, deadline, done, arg);
	set_value(o, strdup(d->name));
	start(o);
}

void
dcs_acquire(struct dcs *d, int64_t deadline, dcs_done_cb done, void *arg)
{
	lock_operation(d, DCS_OP_ACQUIRE, deadline, done, arg);
}

void
dcs_take(struct dcs *d, int64_t deadline, dcs_done_cb done, void *arg)
{
	lock_operation(d,
	    (d->driver->caps & DCS_CAP_TAKE) ? DCS_OP_TAKE : DCS_OP_ACQUIRE,
	    deadline, done, arg);
}

/* The lock is prolonged: its result goes out at once; what else is to be
 * written follows on its own. */
static void
update_locked(struct operation *o, enum outcome outcome)
{
	struct dcs *d = o->call.dcs;
	char *status = o->status, *failsafe = o->failsafe;
	int64_t deadline = o->call.deadline;
	uint64_t optime = o->optime;

	o->status = o->failsafe = NULL;
	o->call.status = o->call.failsafe = NULL;
	dcs_call_done(&o->call, outcome, o->error);
	if (d->driver->caps & DCS_CAP_ONE_WRITE) {
		/* they went with the lock */
		if (outcome == OUTCOME_OK && status != NULL)
			replace(&d->last_status, status, strlen(status));
		if (outcome == OUTCOME_OK && failsafe != NULL)
			replace(&d->last_failsafe, failsafe, strlen(failsafe));
		free(status);
		free(failsafe);
		return;
	}
	if (outcome == OUTCOME_OK && status != NULL)
		write_status(d, status, optime, deadline, NULL, NULL);
	else
		free(status);
	if (outcome == OUTCOME_OK && failsafe != NULL)
		write_failsafe(d, failsafe, deadline);
	else
		free(failsafe);
}

void
dcs_update(struct dcs *d, const struct msg_dcs_update *m,
    const struct tree *doc, int64_t deadline, dcs_done_cb done, void *arg)
{
	const struct tree *fs = tree_get(doc, "failsafe");
	struct operation *o;

	o = operation_new(
	    d, DCS_OP_UPDATE, DCS_KEY_LEADER, true, deadline, done, arg);
	set_value(o, strdup(d->name));
	if (m->with_status && m->optime > 0) {
		o->status = encode_status(m->optime, doc, d->last);
		o->optime = m->optime;
	}
	if (m->with_failsafe && fs != NULL)
		o->failsafe = encode_tree(fs);
	o->call.status = o->status;
	o->call.failsafe = o->failsafe;
	o->next = update_locked;
	start(o);
}

/* Status is written (or not): now give the lock back. */
static void
release_lock(struct operation *o, enum outcome outcome)
{
	struct dcs *d = o->call.dcs;

	(void)outcome; /* spec/dcs.md 2.7 rule 4 */
	o->call.op = DCS_OP_RELEASE;
	o->call.key = DCS_KEY_LEADER;
	d->driver->submit(d->state, &o->call);
}

void
dcs_release(struct dcs *d, uint64_t optime, int64_t deadline, dcs_done_cb done,
    void *arg)
{
	struct operation *o;
	char *status;

	o = operation_new(
	    d, DCS_OP_RELEASE, DCS_KEY_LEADER, false, deadline, done, arg);
	status = optime == 0 ? NULL : encode_status(optime, NULL, d->last);
	if (status != NULL && !unchanged(status, d->last_status)) {
		o->call.op = DCS_OP_WRITE;
		o->call.key = DCS_KEY_STATUS;
		set_value(o, status);
		o->next = release_lock;
	} else
		free(status);
	start(o);
}

void
dcs_initialize(struct dcs *d, bool create, const char *sysid, int64_t deadline,
    dcs_done_cb done, void *arg)
{
	struct operation *o;

	o = operation_new(
	    d, DCS_OP_WRITE, DCS_KEY_INITIALIZE, true, deadline, done, arg);
	set_value(o, strdup(sysid));
	o->call.cond = create ? DCS_COND_CREATE : DCS_COND_NONE;
	start(o);
}

void
dcs_cancel_initialize(
    struct dcs *d, int64_t deadline, dcs_done_cb done, void *arg)
{
	start(operation_new(
	    d, DCS_OP_DELETE, DCS_KEY_INITIALIZE, true, deadline, done, arg));
}

static void
write_value(struct dcs *d, enum dcs_op op, enum dcs_key key, char *value,
    bool retry, bool with_token, int64_t token, int64_t deadline,
    dcs_done_cb done, void *arg)
{
	struct operation *o;

	o = operation_new(d, op, key, retry, deadline, done, arg);
	if (value == NULL) {
		fail_early(o, "the document cannot be written");
		return;
	}
	set_value(o, value);
	o->call.cond = with_token ? DCS_COND_TOKEN : DCS_COND_NONE;
	o->call.token = token;
	start(o);
}

void
dcs_touch(struct dcs *d, const struct msg_dcs_touch *m, const struct tree *doc,
    int64_t deadline, dcs_done_cb done, void *arg)
{
	write_value(d, DCS_OP_TOUCH, DCS_KEY_MEMBER, encode_member(m, doc),
	    false, false, 0, deadline, done, arg);
}

void
dcs_set_failover(struct dcs *d, const struct msg_dcs_failover *m,
    int64_t deadline, dcs_done_cb done, void *arg)
{
	write_value(d, DCS_OP_WRITE, DCS_KEY_FAILOVER, encode_failover(m),
	    false, m->with_token, m->token, deadline, done, arg);
}

void
dcs_set_config(struct dcs *d, const char *json, size_t len, bool with_token,
    int64_t token, int64_t deadline, dcs_done_cb done, void *arg)
{
	write_value(d, DCS_OP_WRITE, DCS_KEY_CONFIG, strndup(json, len), false,
	    with_token, token, deadline, done, arg);
}

/* What the stored history says of that line: its time and leader. */
static const struct view_history *
stored_line(const struct view *v, const struct tree *line)
{
	const struct tree *timeline = tree_child(line, 0);
	const struct tree *lsn = tree_child(line, 1);
	uint32_t i;

	if (v == NULL || tree_count(line) != 3 || timeline->type != TREE_INT ||
	    lsn->type != TREE_INT)
		return NULL;
	for (i = 0; i < v->nhistory; i++)
		if (v->history[i].elements == 5 &&
		    v->history[i].timeline == timeline->u.i &&
		    v->history[i].lsn == (uint64_t)lsn->u.i)
			return &v->history[i];
	return NULL;
}

/* Only the newest line is known to its writer: the older ones keep the time
 * and the leader that are stored (spec/dcs.md 2.10).  New text or NULL. */
static char *
encode_history(const struct tree *lines, const struct view *stored)
{
	struct tree *all = tree_copy(lines);
	const struct view_history *h;
	char *text = NULL;
	uint32_t i;

	for (i = 0; i < tree_count(all); i++) {
		struct tree *line = tree_child(all, i);

		if ((h = stored_line(stored, line)) != NULL &&
		    (!tree_append(line, tree_text(h->timestamp)) ||
			!tree_append(line, tree_text(h->new_leader))))
			goto out;
	}
	if (all != NULL)
		text = encode_tree(all);
out:
	tree_free(all);
	return text;
}

void
dcs_set_history(struct dcs *d, const struct tree *lines, int64_t deadline,
    dcs_done_cb done, void *arg)
{
	write_value(d, DCS_OP_WRITE, DCS_KEY_HISTORY,
	    lines == NULL ? strdup("[]") : encode_history(lines, d->last),
	    false, false, 0, deadline, done, arg);
}

void
dcs_set_sync(struct dcs *d, const struct msg_dcs_sync *m,
    const struct tree *voters, int64_t deadline, dcs_done_cb done, void *arg)
{
	write_value(d, DCS_OP_WRITE, DCS_KEY_SYNC,
	    encode_sync(m->leader, m->quorum, voters), true, m->with_token,
	    m->token, deadline, done, arg);
}

void
dcs_delete_sync(struct dcs *d, bool with_token, int64_t token, int64_t deadline,
    dcs_done_cb done, void *arg)
{
	write_value(d,
	    (d->driver->caps & DCS_CAP_DELETE) ? DCS_OP_DELETE : DCS_OP_WRITE,
	    DCS_KEY_SYNC, strdup("{}"), true, with_token, token, deadline, done,
	    arg);
}

void
dcs_set_status(struct dcs *d, uint64_t optime, const struct tree *doc,
    int64_t deadline, dcs_done_cb done, void *arg)
{
	write_status(d, encode_status(optime, doc, d->last), optime, deadline,
	    done, arg);
}

void
dcs_remove_cluster(struct dcs *d, int64_t deadline, dcs_done_cb done, void *arg)
{
	start(operation_new(
	    d, DCS_OP_REMOVE_ALL, DCS_KEY_LEADER, true, deadline, done, arg));
}

/* ---- life ---- */

/* "/" namespace "/" scope, runs of "/" collapsed. */
static bool
base_path(struct dcs *d, const struct tree *conf)
{
	const char *ns = tree_path_text(conf, "namespace", "service");
	const char *scope = tree_path_text(conf, "scope", "");
	char raw[2 * NAME_SIZE + 4];
	size_t i, o = 0;
	int n;

	n = snprintf(raw, sizeof(raw), "/%s/%s", ns, scope);
	if (n < 0 || (size_t)n >= sizeof(raw) || scope[0] == '\0' ||
	    !text_set(d->scope, sizeof(d->scope), scope))
		return false;
	for (i = 0; raw[i] != '\0'; i++)
		if (raw[i] != '/' || o == 0 || d->path[o - 1] != '/')
			d->path[o++] = raw[i];
	while (o > 1 && d->path[o - 1] == '/')
		o--;
	d->path[o] = '\0';
	return true;
}

static int64_t
seconds(const struct tree *conf, const char *key, int64_t dflt, int64_t min)
{
	int64_t v = tree_path_int(conf, key, dflt);

	return (v < min || v > 86400 ? dflt : v) * NS_PER_SEC;
}

struct dcs *
dcs_open(struct event_base *base, const struct tree *conf, bool ctl,
    const struct dcs_callbacks *callbacks, void *arg, char *err, size_t errlen)
{
	const struct tree *section = NULL;
	struct dcs *d;
	size_t i;

	if ((d = calloc(1, sizeof(*d))) == NULL) {
		snprintf(err, errlen, "out of memory");
		return NULL;
	}
	LIST_INIT(&d->operations);
	d->base = base;
	d->ctl = ctl;
	if (callbacks != NULL)
		d->callbacks = *callbacks;
	d->arg = arg;
	d->ttl = seconds(conf, "ttl", 30, 1);
	d->loop = seconds(conf, "loop_wait", 10, 1);
	d->retry = seconds(conf, "retry_timeout", 10, 1);
	for (i = 0; section == NULL && i < sizeof(drivers) / sizeof(drivers[0]);
	     i++) {
		d->driver = drivers[i];
		section = tree_get(conf, d->driver->section);
	}
	if (section == NULL)
		snprintf(err, errlen, "%s", STORE_MISSING);
	else if (!text_set(d->name, sizeof(d->name),
		     tree_path_text(conf, "name", "")) ||
	    (d->name[0] == '\0' && !ctl))
		snprintf(err, errlen, "name: missing or too long");
	else if (!base_path(d, conf))
		snprintf(
		    err, errlen, "scope or namespace: missing or too long");
	else
		d->state = d->driver->open(d, section, err, errlen);
	if (d->state == NULL) {
		free(d);
		return NULL;
	}
	return d;
}

void
dcs_close(struct dcs *d)
{
	if (d == NULL)
		return;
	d->driver->close(d->state);
	while (!LIST_EMPTY(&d->operations))
		operation_free(LIST_FIRST(&d->operations));
	view_free(d->last);
	free(d->raw);
	free(d->last_status);
	free(d->groups);
	free(d->last_failsafe);
	free(d);
}

bool
dcs_reload(struct dcs *d, const struct tree *conf, char *err, size_t errlen)
{
	const struct tree *section = tree_get(conf, d->driver->section);

	if (section == NULL) {
		snprintf(err, errlen, "section %s is gone", d->driver->section);
		return false;
	}
	return d->driver->reload(d->state, section, err, errlen);
}

void
dcs_settings(
    struct dcs *d, int32_t ttl, int32_t loop_wait, int32_t retry_timeout)
{
	if (ttl < 1 || loop_wait < 1 || retry_timeout < 1)
		return;
	d->ttl = ttl * NS_PER_SEC;
	d->loop = loop_wait * NS_PER_SEC;
	d->retry = retry_timeout * NS_PER_SEC;
	d->driver->settings(d->state);
}

void
dcs_info(const struct dcs *d, char *buf, size_t size)
{
	d->driver->info(d->state, buf, size);
}
