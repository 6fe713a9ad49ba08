/*
 * ha_sync.c: synchronous replication in the cycle (spec/ha.md 13, 14): the
 * entry points that the other files call.
 */
#include "ha_int.h"

enum rc
set_ssn(struct ha *h, const char *value)
{
	enum ha_job_result result;
	struct ha_job job;

	if (!h->p.pg.query_ok || strcmp(h->p.pg.ssn, value) == 0)
		return RC_OK;
	job_init(&job, JOB_SET_SSN);
	if (!text_set(job.text, sizeof(job.text), value))
		return RC_BUG;
	if (value[0] != '\0')
		ha_log(h, LOG_LVL_INFO, "sync.ssn",
		    "Assigning synchronous_standby_names to %s", value);
	return job_run(h, &job, &result);
}

/* 13.9 */
static enum rc
sync_off(struct ha *h)
{
	const struct view *v = h->s.view;
	enum ha_job_result result;
	enum outcome outcome;
	struct ha_job job;
	struct ha_fx *fx;

	if (v->sync_leader[0] == '\0')
		return RC_OK;
	fx = dcs_new(h, OP_DELETE_SYNC);
	fx->dcs.u.token.token = v->sync_token;
	fx->dcs.u.token.with_token = 1;
	TRY(dcs_wait(h, fx->id, &outcome, NULL));
	if (outcome != OUTCOME_OK)
		return RC_OK;
	job_init(&job, JOB_SET_SSN);
	TRY(job_run(h, &job, &result));
	ha_log(h, LOG_LVL_INFO, "sync.disabled",
	    "Disabled synchronous replication");
	return RC_OK;
}

enum rc
sync_process(struct ha *h)
{
	if (h->s.opt.sync_mode == SYNC_OFF)
		return sync_off(h);
	return RC_OK;
}

enum rc
sync_before_promote(struct ha *h)
{
	if (h->s.opt.sync_mode == SYNC_OFF)
		return sync_off(h);
	return RC_OK;
}

/* A node that is not primary must not wait for standbys. */
enum rc
sync_clear_ssn(struct ha *h)
{
	enum ha_job_result result;
	struct ha_job job;

	if (h->s.opt.sync_mode == SYNC_OFF)
		return RC_OK;
	job_init(&job, JOB_SET_SSN);
	return job_run(h, &job, &result);
}

enum rc
sync_leave(struct ha *h, bool *gone)
{
	*gone = true;
	(void)h;
	return RC_OK;
}
