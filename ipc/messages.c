/*
 * messages.c: the catalogue as tables, and the content checks on receipt.
 */
#include "messages.h"

#include <string.h>

/* Layout is the protocol: a change of size is a change of IPC_MAGIC. */
#define SIZE(type, size) \
	_Static_assert(sizeof(struct type) == (size), #type " changed size")
SIZE(ipc_header, 32);
SIZE(msg_link, 8);
SIZE(msg_descriptor, 8 + PATH_SIZE);
SIZE(msg_ready, 16 + TEXT_SIZE);
SIZE(msg_stopped, 8);
SIZE(msg_notify, 8);
SIZE(msg_restarts, 8 * PROC_COUNT);
SIZE(msg_dcs_figures, 32);
SIZE(msg_dcs_settings, 16);
SIZE(msg_dcs_update, 16);
SIZE(msg_dcs_initialize, 8 + WORD_SIZE);
SIZE(msg_dcs_failover, 2 * NAME_SIZE + WORD_SIZE + 16);
SIZE(msg_dcs_sync, NAME_SIZE + 16);
SIZE(msg_result, 24 + TEXT_SIZE);
SIZE(msg_view, 8 + TEXT_SIZE);
SIZE(msg_wd_grant, 24);
SIZE(msg_request_reply, 16 + TEXT_SIZE);
SIZE(msg_action, 8);
#undef SIZE

struct no_body {
	char nothing[0];
};

struct entry {
	uint16_t type;
	uint8_t from, to; /* bit sets of enum proc */
	bool fd;
	uint32_t body, var;
	const char *name;
};

static const struct entry entries[] = {
#define P(x) (1u << PROC_##x)
#define MSG(name, number, from, to, type, var, fd)                     \
	{ (number), (from), (to), (fd), (uint32_t)sizeof(struct type), \
		(uint32_t)(var), #name },
#include "messages.def"
#undef MSG
#undef P
};

#define NENTRIES (sizeof(entries) / sizeof(entries[0]))
#define MAX_TYPE 128

/* Every number fits the index, and every body fits a link's buffer. */
#define P(x) 0
#define MSG(name, number, from, to, type, var, fd)                           \
	_Static_assert((number) < MAX_TYPE &&                                \
		sizeof(struct type) <= IPC_MAX_BODY && (var) <= IPC_MAX_VAR, \
	    #name " is out of bounds");
#include "messages.def"
#undef MSG
#undef P

static const struct entry *
lookup(uint16_t type)
{
	/* few entries, asked twice a message: a scan of 40 words is cheap */
	for (size_t i = 0; i < NENTRIES; i++)
		if (entries[i].type == type)
			return &entries[i];
	return NULL;
}

const char *
msg_name(uint16_t type)
{
	const struct entry *e = lookup(type);

	return e != NULL ? e->name : "?";
}

bool
msg_allowed(uint16_t type, enum proc from, enum proc to)
{
	const struct entry *e = lookup(type);

	return e != NULL && (e->from & (1u << from)) && (e->to & (1u << to));
}

bool
msg_sizes(uint16_t type, size_t *body, size_t *max_var, bool *fd)
{
	const struct entry *e = lookup(type);

	if (e == NULL)
		return false;
	*body = e->body;
	*max_var = e->var;
	*fd = e->fd;
	return true;
}

/*
 * The checks.  TEXT(field): a terminated array.  BELOW(field, n): an enum or
 * a flag.  Numbers that any value is legal for are not listed.
 */
#define TEXT(field)                                                   \
	do {                                                          \
		if (memchr(m->field, '\0', sizeof(m->field)) == NULL) \
			return "unterminated " #field;                \
	} while (0)
#define BELOW(field, n)                                  \
	do {                                             \
		if ((uint64_t)m->field >= (uint64_t)(n)) \
			return #field " out of range";   \
	} while (0)
#define FLAG(field) BELOW(field, 2)
#define NOT_NEGATIVE(field)                        \
	do {                                       \
		if (m->field < 0)                  \
			return "negative " #field; \
	} while (0)

static const char *
check_link(const struct msg_link *m)
{
	BELOW(peer, PROC_CTL);
	return NULL;
}

static const char *
check_config(const struct msg_config *m)
{
	FLAG(reload);
	TEXT(config_dir);
	return NULL;
}

static const char *
check_log_settings(const struct msg_log_settings *m)
{
	TEXT(s.format);
	TEXT(s.dateformat);
	TEXT(s.fields);
	TEXT(s.statics);
	FLAG(s.json);
	return NULL;
}

static const char *
check_descriptor(const struct msg_descriptor *m)
{
	BELOW(kind, DESCRIPTOR_KIND_COUNT);
	TEXT(what);
	return NULL;
}

static const char *
check_ready(const struct msg_ready *m)
{
	FLAG(ok);
	TEXT(text);
	return NULL;
}

static const char *
check_helper_info(const struct msg_helper_info *m)
{
	BELOW(sandbox, 4);
	FLAG(armed);
	BELOW(role, ROLE_COUNT);
	BELOW(state, STATE_COUNT);
	TEXT(text);
	return NULL;
}

static const char *
check_device_open(const struct msg_device_open *m)
{
	TEXT(path);
	return NULL;
}

static const char *
check_notify(const struct msg_notify *m)
{
	BELOW(kind, NOTIFY_KIND_COUNT);
	return NULL;
}

static const char *
check_dcs_settings(const struct msg_dcs_settings *m)
{
	if (m->ttl < 1 || m->loop_wait < 1 || m->retry_timeout < 1)
		return "times must be positive";
	return NULL;
}

static const char *
check_dcs_update(const struct msg_dcs_update *m)
{
	FLAG(with_status);
	FLAG(with_failsafe);
	return NULL;
}

static const char *
check_dcs_initialize(const struct msg_dcs_initialize *m)
{
	FLAG(create);
	TEXT(sysid);
	return NULL;
}

static const char *
check_dcs_touch(const struct msg_dcs_touch *m)
{
	TEXT(conn_url);
	TEXT(api_url);
	TEXT(proxy_url);
	TEXT(replication_state);
	BELOW(state, STATE_COUNT);
	BELOW(role, ROLE_COUNT);
	FLAG(checkpoint_pending);
	FLAG(pending_restart);
	FLAG(pause);
	FLAG(has_lsn);
	return NULL;
}

static const char *
check_dcs_failover(const struct msg_dcs_failover *m)
{
	TEXT(leader);
	TEXT(member);
	TEXT(scheduled_at);
	FLAG(with_token);
	return NULL;
}

static const char *
check_dcs_document(const struct msg_dcs_document *m, size_t var_len)
{
	FLAG(with_token);
	return var_len == 0 ? "no document" : NULL;
}

static const char *
check_dcs_sync(const struct msg_dcs_sync *m)
{
	TEXT(leader);
	FLAG(with_token);
	return NULL;
}

static const char *
check_dcs_token(const struct msg_dcs_token *m)
{
	FLAG(with_token);
	return NULL;
}

static const char *
check_poll(const struct msg_poll *m)
{
	if (m->connect_timeout_ms < 1 || m->read_timeout_ms < 1)
		return "timeouts must be positive";
	return NULL;
}

static const char *
check_url(const struct msg_url *m)
{
	TEXT(url);
	return NULL;
}

static const char *
check_view(const struct msg_view *m, size_t var_len)
{
	BELOW(outcome, OUTCOME_COUNT);
	TEXT(error);
	if ((m->outcome == OUTCOME_OK) != (var_len > 0))
		return "view and outcome do not match";
	return NULL;
}

static const char *
check_result(const struct msg_result *m)
{
	BELOW(outcome, OUTCOME_COUNT);
	NOT_NEGATIVE(sent_ns);
	TEXT(error);
	return NULL;
}

static const char *
check_peer(const struct peer_status *m)
{
	TEXT(name);
	TEXT(text);
	TEXT(tags.replicatefrom);
	FLAG(reachable);
	FLAG(runs_as_primary);
	FLAG(watchdog_failed);
	FLAG(has_tags);
	FLAG(accepted);
	FLAG(has_lsn);
	FLAG(tags.nofailover);
	FLAG(tags.noloadbalance);
	FLAG(tags.nosync);
	FLAG(tags.nostream);
	FLAG(tags.clonefrom);
	return NULL;
}

static const char *
check_peers(const struct msg_peers *m, const uint8_t *var, size_t var_len)
{
	BELOW(count, MAX_MEMBERS + 1);
	if (var_len != m->count * sizeof(struct peer_status))
		return "count and size do not match";
	for (uint32_t i = 0; i < m->count; i++) {
		struct peer_status p;
		const char *wrong;

		memcpy(&p, var + i * sizeof(p), sizeof(p));
		if ((wrong = check_peer(&p)) != NULL)
			return wrong;
	}
	return NULL;
}

static const char *
check_wake(const struct msg_wake *m)
{
	BELOW(reason, WAKE_REASON_COUNT);
	return NULL;
}

static const char *
check_status(const struct msg_status *m)
{
	BELOW(role, ROLE_COUNT);
	BELOW(state, STATE_COUNT);
	FLAG(sql_ok);
	FLAG(in_recovery);
	FLAG(replayed_known);
	FLAG(replay_paused);
	FLAG(postmaster_running);
	FLAG(pause);
	FLAG(cluster_unlocked);
	FLAG(standby_cluster);
	BELOW(synchronous_mode, 3);
	FLAG(sync_standby);
	FLAG(failsafe_mode);
	FLAG(watchdog_failed);
	FLAG(pending_restart);
	FLAG(nostream);
	FLAG(noloadbalance);
	TEXT(replication_state);
	TEXT(receiver_state);
	TEXT(postmaster_start_time);
	TEXT(replayed_timestamp);
	TEXT(sysid);
	TEXT(leader);
	return NULL;
}

static const char *
check_request(const struct msg_request *m)
{
	BELOW(kind, REQUEST_KIND_COUNT);
	FLAG(force);
	FLAG(from_leader);
	FLAG(restart_pending);
	FLAG(has_role);
	BELOW(role, ROLE_COUNT);
	TEXT(schedule);
	TEXT(postgres_version_text);
	TEXT(name);
	TEXT(conn_url);
	TEXT(api_url);
	return NULL;
}

static const char *
check_request_reply(const struct msg_request_reply *m)
{
	if (m->code < 100 || m->code > 599)
		return "code out of range";
	FLAG(has_lsn);
	TEXT(text);
	return NULL;
}

static const char *
check_wd_settings(const struct msg_wd_settings *m)
{
	if (m->ttl < 1 || m->loop_wait < 1)
		return "times must be positive";
	return NULL;
}

static const char *
check_wd_arm(const struct msg_wd_arm *m)
{
	if (m->postmaster_pid < 2)
		return "impossible postmaster pid";
	FLAG(activate_device);
	TEXT(cgroup);
	return NULL;
}

static const char *
check_wd_grant(const struct msg_wd_grant *m)
{
	/* at most a day, so that sums of these cannot overflow */
	if (m->sent_ns <= 0 || m->ttl_ns <= 0 ||
	    m->ttl_ns > INT64_C(86400000000000) ||
	    m->lease_end_ns < m->sent_ns ||
	    m->lease_end_ns - m->sent_ns > m->ttl_ns)
		return "impossible lease";
	return NULL;
}

static const char *
check_wd_disarm(const struct msg_wd_disarm *m)
{
	BELOW(reason, 4);
	return NULL;
}

static const char *
check_wd_state(const struct msg_wd_state *m)
{
	FLAG(fence_armed);
	FLAG(fenced);
	BELOW(mode, WATCHDOG_MODE_COUNT);
	FLAG(device_running);
	FLAG(healthy);
	FLAG(activation_failed);
	TEXT(text);
	return NULL;
}

static const char *
check_action(const struct msg_action *m)
{
	BELOW(kind, API_KIND_COUNT);
	return m->kind == 0 ? "kind out of range" : NULL;
}

static const char *
check_ctl_query(const struct msg_ctl_query *m, size_t var_len)
{
	BELOW(kind, CTL_QUERY_KIND_COUNT);
	BELOW(proc, PROC_COUNT);
	if (m->kind == CTL_ACTION)
		return check_action(&m->action);
	if (var_len > 0)
		return "variable part without an action";
	return m->kind == CTL_REQUEST ? check_request(&m->request) : NULL;
}

static const char *
check_ctl_reply(const struct msg_ctl_reply *m)
{
	TEXT(text);
	return NULL;
}

const char *
msg_check(uint16_t type, const void *body, const uint8_t *var, size_t var_len)
{
	switch (type) {
	case MSG_LINK:
		return check_link(body);
	case MSG_CONFIG:
		return check_config(body);
	case MSG_LOG_SETTINGS:
		return check_log_settings(body);
	case MSG_DESCRIPTOR:
		return check_descriptor(body);
	case MSG_READY:
		return check_ready(body);
	case MSG_HELPER_INFO:
		return check_helper_info(body);
	case MSG_DEVICE_OPEN:
		return check_device_open(body);
	case MSG_NOTIFY:
		return check_notify(body);
	case MSG_DCS_SETTINGS:
		return check_dcs_settings(body);
	case MSG_DCS_UPDATE:
		return check_dcs_update(body);
	case MSG_DCS_INITIALIZE:
		return check_dcs_initialize(body);
	case MSG_DCS_TOUCH:
		return check_dcs_touch(body);
	case MSG_DCS_SET_FAILOVER:
		return check_dcs_failover(body);
	case MSG_DCS_SET_CONFIG:
		return check_dcs_document(body, var_len);
	case MSG_DCS_SET_SYNC:
		return check_dcs_sync(body);
	case MSG_DCS_DELETE_SYNC:
		return check_dcs_token(body);
	case MSG_DCS_POLL:
	case MSG_DCS_FAILSAFE_POST:
		return check_poll(body);
	case MSG_DCS_LIVENESS:
		return check_url(body);
	case MSG_DCS_VIEW:
		return check_view(body, var_len);
	case MSG_DCS_RESULT:
		return check_result(body);
	case MSG_DCS_PEERS:
		return check_peers(body, var, var_len);
	case MSG_DCS_WAKE:
		return check_wake(body);
	case MSG_STATUS:
		return check_status(body);
	case MSG_REQUEST:
		return check_request(body);
	case MSG_REQUEST_REPLY:
	case MSG_ACTION_REPLY:
		return check_request_reply(body);
	case MSG_ACTION:
		return check_action(body);
	case MSG_WD_SETTINGS:
		return check_wd_settings(body);
	case MSG_WD_ARM:
		return check_wd_arm(body);
	case MSG_WD_GRANT:
		return check_wd_grant(body);
	case MSG_WD_DISARM:
		return check_wd_disarm(body);
	case MSG_WD_STATE:
		return check_wd_state(body);
	case MSG_CTL_QUERY:
		return check_ctl_query(body, var_len);
	case MSG_CTL_REPLY:
		return check_ctl_reply(body);
	default: /* no body, or numbers that may have any value */
		return NULL;
	}
}
