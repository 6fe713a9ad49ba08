/*
 * ha_journal.c: what one cycle saw, why it decided as it did, and what it set
 * going, as text for the decision journal (design 13).  No rule is decided
 * here; the ring and its readers are the controller's.
 *
 * Reasons are the log lines that carry a rule id, and the answers of peers;
 * effects are what changes something.  Both are gathered while a run goes on;
 * a pass adds what the passes before it have not.  What happened between two
 * cycles (an action went on, a request came) is told with the next one.
 */
#include <stdarg.h>

#include "ha_int.h"

static const char *const op_names[] = {
	[OP_ACQUIRE] = "acquire lock",
	[OP_UPDATE] = "update lock",
	[OP_RELEASE] = "release lock",
	[OP_TAKE] = "take lock",
	[OP_INITIALIZE] = "write initialize",
	[OP_CANCEL_INITIALIZE] = "delete initialize",
	[OP_SET_FAILOVER] = "write failover",
	[OP_SET_CONFIG] = "write config",
	[OP_SET_HISTORY] = "write history",
	[OP_SET_SYNC] = "write sync",
	[OP_DELETE_SYNC] = "delete sync",
	[OP_SET_STATUS] = "write status",
};

static const char *const job_names[JOB_KIND_COUNT] = {
	[JOB_BOOTSTRAP] = "bootstrap",
	[JOB_POST_BOOTSTRAP] = "post_bootstrap",
	[JOB_CLONE] = "clone",
	[JOB_START_PRIMARY] = "start as primary",
	[JOB_FOLLOW] = "follow",
	[JOB_RELOAD_RECOVERY] = "reload recovery",
	[JOB_STOP] = "stop",
	[JOB_PROMOTE] = "promote",
	[JOB_RESTART] = "restart",
	[JOB_REWIND] = "rewind",
	[JOB_CRASH_RECOVERY] = "crash recovery",
	[JOB_REMOVE_DATA] = "remove data",
	[JOB_MOVE_DATA] = "move data",
	[JOB_CHECKPOINT] = "checkpoint",
	[JOB_SET_SSN] = "set synchronous_standby_names",
	[JOB_COPY_SLOTS] = "copy slots",
	[JOB_RESUME_REPLAY] = "resume replay",
	[JOB_ARCHIVE_CHECKPOINT] = "archive checkpoint",
	[JOB_ADVANCE_WAL] = "advance wal",
	[JOB_SET_CONFIG] = "take config",
};

/* Whole parts only; a mark tells that some did not fit. */
static void
append(char *list, size_t size, const char *separator, const char *part)
{
	static const char more[] = " ...";
	size_t n = strlen(list), gap = n == 0 ? 0 : strlen(separator);

	if (n >= sizeof(more) - 1 &&
	    strcmp(list + n - (sizeof(more) - 1), more) == 0)
		return;
	if (n + gap + strlen(part) + sizeof(more) <= size) {
		(void)snprintf(
		    list + n, size - n, "%s%s", n == 0 ? "" : separator, part);
		return;
	}
	if (n + sizeof(more) <= size)
		memcpy(list + n, more, sizeof(more));
}

/* A list behind another, part by part. */
static void
join(char *list, size_t size, const char *separator, const char *parts)
{
	char copy[HA_REASONS], *rest = copy, *end;

	(void)snprintf(copy, sizeof(copy), "%s", parts);
	for (; rest[0] != '\0'; rest = end + strlen(separator)) {
		end = strstr(rest, separator);
		if (end == NULL) {
			append(list, size, separator, rest);
			return;
		}
		*end = '\0';
		append(list, size, separator, rest);
	}
}

/* True when nobody wants it noted, or a pass before has noted it. */
static bool
is_noted(struct ha *h)
{
	return h->run == RUN_NONE || h->conf.mute || h->p.notes++ < h->noted;
}

void
journal_reason(struct ha *h, const char *fmt, ...)
{
	char part[TEXT_SIZE];
	va_list ap;

	if (is_noted(h))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(part, sizeof(part), fmt, ap);
	va_end(ap);
	append(h->run_reasons, sizeof(h->run_reasons), "; ", part);
}

static void
effect(struct ha *h, const char *name)
{
	if (name != NULL && !is_noted(h))
		append(h->run_effects, sizeof(h->run_effects), ", ", name);
}

void
journal_operation(struct ha *h, enum ha_dcs_op op)
{
	effect(h, op_names[op]);
}

void
journal_job(struct ha *h, enum ha_job_kind kind)
{
	effect(h, job_names[kind]);
}

void
journal_exit(struct ha *h)
{
	effect(h, "exit");
}

void
journal_role(struct ha *h, enum pg_role role)
{
	char part[WORD_SIZE];

	(void)snprintf(part, sizeof(part), "role %s", pg_role_name(role));
	effect(h, part);
}

void
journal_peer(struct ha *h, const struct peer_status *p)
{
	if (p->reachable)
		journal_reason(h, "%s answered: position %X/%X, timeline %u%s",
		    p->name, (unsigned)(p->position >> 32),
		    (unsigned)p->position, p->timeline,
		    p->runs_as_primary ? ", primary" : "");
	else
		journal_reason(h, "%s did not answer", p->name);
}

/* What every decision depends on. */
static void
inputs(const struct ha *h, char *out, size_t size)
{
	const struct state *s = &h->s;
	const struct ha_pg *pg = &h->p.pg;
	const struct view *v = s->view;
	uint64_t optime = v == NULL ? 0 : v->optime;
	int64_t left = s->trusted > h->p.now ? s->trusted - h->p.now : 0;

	(void)snprintf(out, size,
	    "role=%s state=%s leader=%s lease=%lld.%lld "
	    "lsn=%X/%X timeline=%u optime=%X/%X cluster_timeline=%u "
	    "members=%u action=%s",
	    pg_role_name(s->role),
	    h->p.have_pg ? pg_state_name(pg->state) : "-",
	    v == NULL || v->leader[0] == '\0' ? "-" : v->leader,
	    (long long)(left / NS_PER_SEC),
	    (long long)(left % NS_PER_SEC / (NS_PER_SEC / 10)),
	    (unsigned)(pg->wal_position >> 32), (unsigned)pg->wal_position,
	    pg->is_primary ? pg->timeline : pg->received_timeline,
	    (unsigned)(optime >> 32), (unsigned)optime,
	    v == NULL ? 0 : v->timeline, v == NULL ? 0 : v->nmembers,
	    busy(h) ? s->action.name : "-");
}

/* A run that was no cycle is over: keep what it had to tell. */
void
journal_carry(struct ha *h)
{
	join(h->reasons, sizeof(h->reasons), "; ", h->run_reasons);
	join(h->effects, sizeof(h->effects), ", ", h->run_effects);
}

void
journal_decision(struct ha *h)
{
	struct ha_fx *fx = fx_new(h, FX_JOURNAL);
	const char *prefix = h->s.opt.pause ? "PAUSE: " : "";

	fx->level = LOG_LVL_INFO;
	memcpy(fx->rule, h->p.rule, sizeof(fx->rule));
	if (h->conf.mute)
		return;
	(void)snprintf(fx->text, sizeof(fx->text), "%s%s", prefix, h->p.msg);
	inputs(h, fx->inputs, sizeof(fx->inputs));
	memcpy(fx->reasons, h->reasons, sizeof(fx->reasons));
	memcpy(fx->effects, h->effects, sizeof(fx->effects));
	join(fx->reasons, sizeof(fx->reasons), "; ", h->run_reasons);
	join(fx->effects, sizeof(fx->effects), ", ", h->run_effects);
	h->reasons[0] = h->effects[0] = '\0';
}
