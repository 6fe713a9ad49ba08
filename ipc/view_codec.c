/*
 * view_codec.c: binary form of the cluster view, and comparison.
 *
 * Text is sent with its length, not its field size: a view of three members
 * is about a kilobyte.
 */
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "ipc.h"
#include "view.h"

static void
put_tree(struct writer *w, const struct tree *t)
{
	uint8_t *buf;
	size_t len;

	if (t == NULL) {
		write_u32(w, 0);
		return;
	}
	if (!tree_encode(t, &buf, &len)) {
		w->failed = true;
		return;
	}
	write_u32(w, (uint32_t)len);
	write_bytes(w, buf, len);
	free(buf);
}

static struct tree *
get_tree(struct reader *r)
{
	uint32_t len = read_u32(r);
	struct tree *t;

	if (r->failed || len == 0)
		return NULL;
	if (len > reader_left(r) || (t = tree_decode(r->p, len)) == NULL) {
		r->failed = true;
		return NULL;
	}
	r->p += len;
	return t;
}

static void
put_tags(struct writer *w, const struct tags *t)
{
	write_u8(w, t->nofailover);
	write_u8(w, t->noloadbalance);
	write_u8(w, t->nosync);
	write_u8(w, t->nostream);
	write_u8(w, t->clonefrom);
	write_u32(w, (uint32_t)t->failover_priority);
	write_u32(w, (uint32_t)t->sync_priority);
	write_text(w, t->replicatefrom);
}

/* A flag: 0 or 1 and nothing else. */
static uint8_t
get_flag(struct reader *r)
{
	uint8_t v = read_u8(r);

	if (v > 1)
		r->failed = true;
	return v;
}

static void
get_tags(struct reader *r, struct tags *t)
{
	t->nofailover = get_flag(r);
	t->noloadbalance = get_flag(r);
	t->nosync = get_flag(r);
	t->nostream = get_flag(r);
	t->clonefrom = get_flag(r);
	t->failover_priority = (int32_t)read_u32(r);
	t->sync_priority = (int32_t)read_u32(r);
	read_text_into(r, t->replicatefrom, sizeof(t->replicatefrom));
}

static void
put_member(struct writer *w, const struct view_member *m)
{
	write_text(w, m->name);
	write_text(w, m->conn_url);
	write_text(w, m->api_url);
	write_text(w, m->proxy_url);
	write_text(w, m->state);
	write_text(w, m->role);
	write_text(w, m->version);
	write_text(w, m->replication_state);
	write_text(w, m->session);
	write_u64(w, (uint64_t)m->token);
	write_u64(w, m->xlog_location);
	write_u64(w, m->receive_lsn);
	write_u64(w, m->replay_lsn);
	write_u32(w, m->timeline);
	write_u8(w, m->has_xlog_location);
	write_u8(w, m->has_data);
	write_u8(w, m->checkpoint_after_promote);
	write_u8(w, m->pause);
	write_u8(w, m->pending_restart);
	write_u8(w, m->copied);
	put_tags(w, &m->tags);
	put_tree(w, m->tags_doc);
	put_tree(w, m->pending_restart_reason);
	put_tree(w, m->scheduled_restart);
}

static void
get_member(struct reader *r, struct view_member *m)
{
	read_text_into(r, m->name, sizeof(m->name));
	read_text_into(r, m->conn_url, sizeof(m->conn_url));
	read_text_into(r, m->api_url, sizeof(m->api_url));
	read_text_into(r, m->proxy_url, sizeof(m->proxy_url));
	read_text_into(r, m->state, sizeof(m->state));
	read_text_into(r, m->role, sizeof(m->role));
	read_text_into(r, m->version, sizeof(m->version));
	read_text_into(r, m->replication_state, sizeof(m->replication_state));
	read_text_into(r, m->session, sizeof(m->session));
	m->token = (int64_t)read_u64(r);
	m->xlog_location = read_u64(r);
	m->receive_lsn = read_u64(r);
	m->replay_lsn = read_u64(r);
	m->timeline = read_u32(r);
	m->has_xlog_location = get_flag(r);
	m->has_data = get_flag(r);
	m->checkpoint_after_promote = read_u8(r);
	if (m->checkpoint_after_promote > CAP_DONE)
		r->failed = true;
	m->pause = get_flag(r);
	m->pending_restart = get_flag(r);
	m->copied = read_u8(r);
	if (m->copied > 101)
		r->failed = true;
	get_tags(r, &m->tags);
	m->tags_doc = get_tree(r);
	m->pending_restart_reason = get_tree(r);
	m->scheduled_restart = get_tree(r);
}

static void
put_head(struct writer *w, const struct view *v)
{
	write_u8(w, v->has_initialize);
	write_u8(w, v->initialize_valid);
	write_text(w, v->initialize);
	write_u8(w, v->has_leader);
	write_text(w, v->leader);
	write_text(w, v->leader_session);
	write_u64(w, (uint64_t)v->leader_token);
	write_u8(w, v->has_config);
	write_u64(w, (uint64_t)v->config_token);
	write_u64(w, (uint64_t)v->config_modify);
	put_tree(w, v->config);
	write_u8(w, v->has_status);
	write_u64(w, v->optime);
	write_u8(w, v->slots_known);
	write_u8(w, v->has_sync);
	write_u64(w, (uint64_t)v->sync_token);
	write_text(w, v->sync_leader);
	write_u32(w, v->sync_quorum);
	write_u8(w, v->has_failover);
	write_u64(w, (uint64_t)v->failover_token);
	write_text(w, v->failover_leader);
	write_text(w, v->failover_member);
	write_u8(w, v->failover_scheduled);
	write_u8(w, v->failover_schedule_bad);
	write_u64(w, (uint64_t)v->failover_at_us);
	write_text(w, v->failover_at);
	write_u8(w, v->has_history);
	write_u32(w, v->timeline);
	write_u8(w, v->has_failsafe);
	write_u8(w, v->failsafe_object);
}

static void
get_head(struct reader *r, struct view *v)
{
	v->has_initialize = get_flag(r);
	v->initialize_valid = get_flag(r);
	read_text_into(r, v->initialize, sizeof(v->initialize));
	v->has_leader = get_flag(r);
	read_text_into(r, v->leader, sizeof(v->leader));
	read_text_into(r, v->leader_session, sizeof(v->leader_session));
	v->leader_token = (int64_t)read_u64(r);
	v->has_config = get_flag(r);
	v->config_token = (int64_t)read_u64(r);
	v->config_modify = (int64_t)read_u64(r);
	v->config = get_tree(r);
	v->has_status = get_flag(r);
	v->optime = read_u64(r);
	v->slots_known = get_flag(r);
	v->has_sync = get_flag(r);
	v->sync_token = (int64_t)read_u64(r);
	read_text_into(r, v->sync_leader, sizeof(v->sync_leader));
	v->sync_quorum = read_u32(r);
	v->has_failover = get_flag(r);
	v->failover_token = (int64_t)read_u64(r);
	read_text_into(r, v->failover_leader, sizeof(v->failover_leader));
	read_text_into(r, v->failover_member, sizeof(v->failover_member));
	v->failover_scheduled = get_flag(r);
	v->failover_schedule_bad = get_flag(r);
	v->failover_at_us = (int64_t)read_u64(r);
	read_text_into(r, v->failover_at, sizeof(v->failover_at));
	v->has_history = get_flag(r);
	v->timeline = read_u32(r);
	v->has_failsafe = get_flag(r);
	v->failsafe_object = get_flag(r);
}

static void
put_body(struct writer *w, const struct view *v)
{
	put_head(w, v);
	write_u32(w, v->nslots);
	for (uint32_t i = 0; i < v->nslots; i++) {
		write_text(w, v->slots[i].name);
		write_u64(w, v->slots[i].lsn);
	}
	write_u32(w, v->nretain);
	for (uint32_t i = 0; i < v->nretain; i++)
		write_text(w, v->retain_slots[i]);
	write_u32(w, v->nsync_standby);
	for (uint32_t i = 0; i < v->nsync_standby; i++)
		write_text(w, v->sync_standby[i]);
	write_u32(w, v->nhistory);
	for (uint32_t i = 0; i < v->nhistory; i++) {
		const struct view_history *h = &v->history[i];

		write_u32(w, h->timeline);
		write_u32(w, h->elements);
		write_u64(w, h->lsn);
		write_text(w, h->reason);
		write_text(w, h->timestamp);
		write_text(w, h->new_leader);
	}
	write_u32(w, v->nfailsafe);
	for (uint32_t i = 0; i < v->nfailsafe; i++) {
		write_text(w, v->failsafe[i].name);
		write_text(w, v->failsafe[i].api_url);
	}
	write_u32(w, v->nmembers);
	for (uint32_t i = 0; i < v->nmembers; i++)
		put_member(w, &v->members[i]);
}

/* Count of an array and memory for it; 0 when anything is wrong. */
static uint32_t
get_array(struct reader *r, uint32_t max, size_t size, void *array)
{
	uint32_t n = read_u32(r);
	void *p;

	/* every element takes at least four bytes of input */
	if (r->failed || n > max || n > reader_left(r) / 4) {
		r->failed = true;
		return 0;
	}
	if (n == 0)
		return 0;
	if ((p = calloc(n, size)) == NULL) {
		r->failed = true;
		return 0;
	}
	memcpy(array, &p, sizeof(p));
	/* cppcheck-suppress memleak; the array has it */
	return n;
}

static void
get_arrays(struct reader *r, struct view *v)
{
	v->nslots = get_array(r, MAX_SLOTS, sizeof(*v->slots), &v->slots);
	for (uint32_t i = 0; i < v->nslots && !r->failed; i++) {
		read_text_into(r, v->slots[i].name, NAME_SIZE);
		v->slots[i].lsn = read_u64(r);
	}
	v->nretain = get_array(r, MAX_SLOTS, NAME_SIZE, &v->retain_slots);
	for (uint32_t i = 0; i < v->nretain && !r->failed; i++)
		read_text_into(r, v->retain_slots[i], NAME_SIZE);
	v->nsync_standby =
	    get_array(r, MAX_MEMBERS, NAME_SIZE, &v->sync_standby);
	for (uint32_t i = 0; i < v->nsync_standby && !r->failed; i++)
		read_text_into(r, v->sync_standby[i], NAME_SIZE);
	v->nhistory =
	    get_array(r, MAX_HISTORY, sizeof(*v->history), &v->history);
	for (uint32_t i = 0; i < v->nhistory && !r->failed; i++) {
		struct view_history *h = &v->history[i];

		h->timeline = read_u32(r);
		h->elements = read_u32(r);
		h->lsn = read_u64(r);
		read_text_into(r, h->reason, sizeof(h->reason));
		read_text_into(r, h->timestamp, sizeof(h->timestamp));
		read_text_into(r, h->new_leader, sizeof(h->new_leader));
	}
	v->nfailsafe =
	    get_array(r, MAX_MEMBERS, sizeof(*v->failsafe), &v->failsafe);
	for (uint32_t i = 0; i < v->nfailsafe && !r->failed; i++) {
		read_text_into(r, v->failsafe[i].name, NAME_SIZE);
		read_text_into(r, v->failsafe[i].api_url, URL_SIZE);
	}
	v->nmembers =
	    get_array(r, MAX_MEMBERS, sizeof(*v->members), &v->members);
	for (uint32_t i = 0; i < v->nmembers && !r->failed; i++)
		get_member(r, &v->members[i]);
}

bool
view_encode(const struct view *v, uint8_t **out, size_t *len)
{
	struct writer w;

	writer_init(&w, IPC_MAX_VAR);
	write_u64(&w, (uint64_t)v->loaded_wall_us);
	write_u64(&w, (uint64_t)v->loaded_ns);
	put_body(&w, v);
	return writer_finish(&w, out, len);
}

struct view *
view_decode(const uint8_t *buf, size_t len)
{
	struct reader r;
	struct view *v;

	if (buf == NULL || (v = view_new()) == NULL)
		return NULL;
	r = (struct reader){ .p = buf, .end = buf + len };
	v->loaded_wall_us = (int64_t)read_u64(&r);
	v->loaded_ns = (int64_t)read_u64(&r);
	get_head(&r, v);
	if (!r.failed)
		get_arrays(&r, v);
	if (r.failed || r.p != r.end) {
		view_free(v);
		return NULL;
	}
	return v;
}

bool
view_equal(const struct view *a, const struct view *b)
{
	struct writer wa, wb;
	uint8_t *ba, *bb;
	size_t la, lb;
	bool same;

	if (a == NULL || b == NULL)
		return a == b;
	writer_init(&wa, IPC_MAX_VAR);
	writer_init(&wb, IPC_MAX_VAR);
	put_body(&wa, a);
	put_body(&wb, b);
	if (!writer_finish(&wa, &ba, &la)) {
		free(wb.buf);
		return false;
	}
	if (!writer_finish(&wb, &bb, &lb)) {
		free(ba);
		return false;
	}
	same = la == lb && memcmp(ba, bb, la) == 0;
	free(ba);
	free(bb);
	return same;
}
