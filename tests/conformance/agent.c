/*
 * agent.c: one client of a store under the command of a test.
 *
 * Links the drivers and does what lines on standard input say, one JSON
 * object each; answers and events go to standard output in the same form.
 * The test (tests/system/test_conformance.py) starts as many as it needs,
 * kills them at any moment and looks at what their stores then hold.
 *
 *	agent CONFIG [ctl]	CONFIG: file with the configuration as JSON
 *
 *	{"id": 1, "op": "acquire", "ms": 3000}
 *	-> {"id": 1, "op": "acquire", "outcome": "ok", "token": 7,
 *	    "took_ms": 1.5, "sent_ms": 12345.6, "error": ""}
 *	-> {"changed": 4, "wake": 1, "at_ms": 12345.6}
 *
 * Times are CLOCK_BOOTTIME in milliseconds.  EOF on standard input ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "../../dcs/dcs.h"
#include "../../helpers/json.h"
#include "../../ipc/clock.h"
#include "../../ipc/log.h"

#define MAX_CONFIG (1024 * 1024)

static struct event_base *base;
static struct dcs *dcs;

/* One command; kept to the end, so that a second answer is noticed. */
struct command {
	struct command *next;
	struct tree *line;
	int64_t started;
	int delivered;
};

static struct command *commands;

static double
ms_of(int64_t ns)
{
	return (double)ns / (double)NS_PER_MS;
}

/* Write a map as one line; frees it. */
static void
say(struct tree *t)
{
	char *s = tree_to_json(t, JSON_FORM_SPACED, NULL);

	if (s == NULL || printf("%s\n", s) < 0 || fflush(stdout) != 0)
		exit(3);
	free(s);
	tree_free(t);
}

static void
changed(uint32_t keys, uint32_t wake, void *arg)
{
	struct tree *t = tree_map();

	(void)arg;
	tree_set(t, "changed", tree_int(keys));
	tree_set(t, "wake", tree_int(wake));
	tree_set(t, "at_ms", tree_real(ms_of(clock_boot_ns())));
	say(t);
}

/* ---- answers ---- */

static struct tree *
member_tree(const struct view_member *m)
{
	struct tree *t = tree_map();

	tree_set(t, "name", tree_text(m->name));
	tree_set(t, "token", tree_int(m->token));
	tree_set(t, "session", tree_text(m->session));
	tree_set(t, "state", tree_text(m->state));
	tree_set(t, "role", tree_text(m->role));
	tree_set(t, "xlog_location", tree_int((int64_t)m->xlog_location));
	return t;
}

static struct tree *
view_tree(const struct view *v)
{
	struct tree *t = tree_map(), *list;
	uint32_t i;

	tree_set(t, "empty", tree_bool(view_empty(v)));
	tree_set(t, "unlocked", tree_bool(view_unlocked(v)));
	tree_set(t, "leader", tree_text(v->leader));
	tree_set(t, "leader_token", tree_int(v->leader_token));
	tree_set(t, "leader_session", tree_text(v->leader_session));
	tree_set(t, "has_initialize", tree_bool(v->has_initialize));
	tree_set(t, "initialize", tree_text(v->initialize));
	tree_set(t, "has_config", tree_bool(v->has_config));
	tree_set(t, "config_token", tree_int(v->config_token));
	tree_set(t, "config_modify", tree_int(v->config_modify));
	tree_set(t, "config",
	    v->config == NULL ? tree_null() : tree_copy(v->config));
	tree_set(t, "optime", tree_int((int64_t)v->optime));
	tree_set(t, "slots", tree_int(v->nslots));
	tree_set(t, "has_sync", tree_bool(v->has_sync));
	tree_set(t, "sync_leader", tree_text(v->sync_leader));
	tree_set(t, "sync_quorum", tree_int(v->sync_quorum));
	tree_set(t, "sync_token", tree_int(v->sync_token));
	list = tree_list();
	for (i = 0; i < v->nsync_standby; i++)
		tree_append(list, tree_text(v->sync_standby[i]));
	tree_set(t, "sync_standby", list);
	tree_set(t, "has_failover", tree_bool(v->has_failover));
	tree_set(t, "failover_member", tree_text(v->failover_member));
	tree_set(t, "failover_leader", tree_text(v->failover_leader));
	tree_set(t, "failover_token", tree_int(v->failover_token));
	tree_set(t, "history", tree_int(v->nhistory));
	tree_set(t, "failsafe", tree_int(v->nfailsafe));
	list = tree_list();
	for (i = 0; i < v->nmembers; i++)
		tree_append(list, member_tree(&v->members[i]));
	tree_set(t, "members", list);
	return t;
}

static void
done(const struct dcs_reply *r, void *arg)
{
	struct command *c = arg;
	struct tree *t = tree_map();

	if (c->delivered++ != 0) {
		fprintf(stderr, "answered twice\n");
		abort();
	}
	tree_set(t, "id", tree_int(tree_path_int(c->line, "id", 0)));
	tree_set(t, "op", tree_text(tree_path_text(c->line, "op", "")));
	tree_set(t, "outcome", tree_text(outcome_name(r->outcome)));
	tree_set(t, "token", tree_int(r->token));
	tree_set(t, "took_ms", tree_real(ms_of(clock_boot_ns() - c->started)));
	tree_set(t, "sent_ms", tree_real(ms_of(r->sent_ns)));
	tree_set(t, "error", tree_text(r->error));
	if (r->view != NULL)
		tree_set(t, "view", view_tree(r->view));
	say(t);
}

/* ---- commands ---- */

static bool
has_token(const struct tree *l, int64_t *token)
{
	*token = tree_path_int(l, "token", 0);
	return tree_get(l, "token") != NULL;
}

static void
do_update(const struct tree *l, int64_t deadline, struct command *c)
{
	struct msg_dcs_update m = { 0 };

	m.optime = (uint64_t)tree_path_int(l, "optime", 0);
	m.with_status = m.optime != 0;
	m.with_failsafe = tree_path(l, "doc.failsafe") != NULL;
	dcs_update(dcs, &m, tree_get(l, "doc"), deadline, done, c);
}

static void
do_touch(const struct tree *l, int64_t deadline, struct command *c)
{
	struct msg_dcs_touch m = { .has_lsn = 1 };

	text_set(m.conn_url, sizeof(m.conn_url),
	    tree_path_text(
		l, "conn_url", "postgres://127.0.0.1:5432/postgres"));
	text_set(m.api_url, sizeof(m.api_url),
	    tree_path_text(l, "api_url", "http://127.0.0.1:8008/patroni"));
	m.state = pg_state_parse(tree_path_text(l, "state", "running"), NULL);
	m.role = pg_role_parse(tree_path_text(l, "role", "replica"), NULL);
	m.xlog_location = (uint64_t)tree_path_int(l, "lsn", 1);
	dcs_touch(dcs, &m, NULL, deadline, done, c);
}

static void
do_failover(const struct tree *l, int64_t deadline, struct command *c)
{
	struct msg_dcs_failover m = { 0 };

	text_set(m.leader, sizeof(m.leader), tree_path_text(l, "leader", ""));
	text_set(m.member, sizeof(m.member), tree_path_text(l, "member", ""));
	m.with_token = has_token(l, &m.token);
	dcs_set_failover(dcs, &m, deadline, done, c);
}

static void
do_config(const struct tree *l, int64_t deadline, struct command *c)
{
	const char *json = tree_path_text(l, "value", "{}");
	int64_t token;
	bool with = has_token(l, &token);

	dcs_set_config(dcs, json, strlen(json), with, token, deadline, done, c);
}

static void
do_sync(const struct tree *l, int64_t deadline, struct command *c)
{
	struct msg_dcs_sync m = { 0 };

	text_set(m.leader, sizeof(m.leader), tree_path_text(l, "leader", ""));
	m.quorum = (uint32_t)tree_path_int(l, "quorum", 0);
	m.with_token = has_token(l, &m.token);
	dcs_set_sync(dcs, &m, tree_get(l, "voters"), deadline, done, c);
}

static void
do_delete_sync(const struct tree *l, int64_t deadline, struct command *c)
{
	int64_t token;
	bool with = has_token(l, &token);

	dcs_delete_sync(dcs, with, token, deadline, done, c);
}

static void
do_settings(const struct tree *l, struct command *c)
{
	struct dcs_reply r = { .outcome = OUTCOME_OK, .error = "" };

	dcs_settings(dcs, (int32_t)tree_path_int(l, "ttl", 30),
	    (int32_t)tree_path_int(l, "loop_wait", 10),
	    (int32_t)tree_path_int(l, "retry_timeout", 10));
	done(&r, c);
}

static void
do_reload(const struct tree *l, struct command *c)
{
	char err[TEXT_SIZE] = "";
	struct dcs_reply r = { .outcome = OUTCOME_OK, .error = err };

	if (!dcs_reload(dcs, tree_get(l, "config"), err, sizeof(err)))
		r.outcome = OUTCOME_FAILED;
	done(&r, c);
}

static void
do_info(struct command *c)
{
	char text[TEXT_SIZE] = "";
	struct dcs_reply r = { .outcome = OUTCOME_OK, .error = text };

	dcs_info(dcs, text, sizeof(text));
	done(&r, c);
}

static void
run(struct command *c)
{
	const struct tree *l = c->line;
	const char *op = tree_path_text(l, "op", "");
	int64_t deadline =
	    c->started + tree_path_int(l, "ms", 3000) * NS_PER_MS;

#define IS(name) (strcmp(op, name) == 0)
	if (IS("load"))
		dcs_load(dcs, deadline, done, c);
	else if (IS("acquire"))
		dcs_acquire(dcs, deadline, done, c);
	else if (IS("take"))
		dcs_take(dcs, deadline, done, c);
	else if (IS("update"))
		do_update(l, deadline, c);
	else if (IS("release"))
		dcs_release(dcs, (uint64_t)tree_path_int(l, "optime", 0),
		    deadline, done, c);
	else if (IS("initialize"))
		dcs_initialize(dcs, tree_path_bool(l, "create", true),
		    tree_path_text(l, "sysid", ""), deadline, done, c);
	else if (IS("cancel_initialize"))
		dcs_cancel_initialize(dcs, deadline, done, c);
	else if (IS("touch"))
		do_touch(l, deadline, c);
	else if (IS("failover"))
		do_failover(l, deadline, c);
	else if (IS("config"))
		do_config(l, deadline, c);
	else if (IS("history"))
		dcs_set_history(dcs, tree_get(l, "lines"), deadline, done, c);
	else if (IS("sync"))
		do_sync(l, deadline, c);
	else if (IS("delete_sync"))
		do_delete_sync(l, deadline, c);
	else if (IS("status"))
		dcs_set_status(dcs, (uint64_t)tree_path_int(l, "optime", 0),
		    tree_get(l, "doc"), deadline, done, c);
	else if (IS("remove"))
		dcs_remove_cluster(dcs, deadline, done, c);
	else if (IS("settings"))
		do_settings(l, c);
	else if (IS("reload"))
		do_reload(l, c);
	else if (IS("info"))
		do_info(c);
	else {
		fprintf(stderr, "unknown command %s\n", op);
		exit(2);
	}
#undef IS
}

static void
on_input(evutil_socket_t fd, short what, void *arg)
{
	struct evbuffer *in = arg;
	struct command *c;
	char why[128];
	size_t len;
	char *line;

	(void)what;
	if (evbuffer_read(in, fd, -1) <= 0) {
		event_base_loopbreak(base);
		return;
	}
	while ((line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) != NULL) {
		if ((c = calloc(1, sizeof(*c))) == NULL)
			exit(3);
		c->line = tree_from_json(line, len, why, sizeof(why));
		if (c->line == NULL) {
			fprintf(stderr, "bad line: %s\n", why);
			exit(2);
		}
		c->started = clock_boot_ns();
		c->next = commands;
		commands = c;
		free(line);
		run(c);
	}
}

static struct tree *
read_config(const char *path)
{
	char *text = malloc(MAX_CONFIG), why[128] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 || text == NULL ? -1 : read(fd, text, MAX_CONFIG);
	struct tree *t =
	    n < 0 ? NULL : tree_from_json(text, (size_t)n, why, sizeof(why));

	if (t == NULL) {
		fprintf(
		    stderr, "%s: %s\n", path, n < 0 ? strerror(errno) : why);
		exit(2);
	}
	close(fd);
	free(text);
	return t;
}

int
main(int argc, char *argv[])
{
	static const struct dcs_callbacks callbacks = { changed };
	struct evbuffer *in = evbuffer_new();
	struct event *input;
	char err[TEXT_SIZE] = "";
	struct tree *conf, *t;
	struct command *c;

	if (argc < 2) {
		fprintf(stderr, "usage: agent CONFIG [ctl]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	conf = read_config(argv[1]);
	base = event_base_new();
	dcs = dcs_open(base, conf, argc > 2 && strcmp(argv[2], "ctl") == 0,
	    &callbacks, NULL, err, sizeof(err));
	tree_free(conf);
	t = tree_map();
	tree_set(t, "opened", tree_bool(dcs != NULL));
	tree_set(t, "error", tree_text(err));
	say(t);
	if (dcs == NULL)
		return 1;
	input = event_new(base, 0, EV_READ | EV_PERSIST, on_input, in);
	event_add(input, NULL);
	event_base_dispatch(base);
	dcs_close(dcs);
	event_free(input);
	evbuffer_free(in);
	event_base_free(base);
	while ((c = commands) != NULL) {
		commands = c->next;
		tree_free(c->line);
		free(c);
	}
	return 0;
}
