/*
 * cmd_local.c: `local`: questions to the daemon of this node over its control
 * socket (design 10).  Needs neither the store nor the network.
 */
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "../../ipc/clock.h"
#include "local.h"

#define ANSWER_SECONDS 10
#define QUEUE_BYTES 65536

/* ---- the socket ---- */

static int
connect_to(const char *path)
{
	/* a hung daemon accepts nobody, and its backlog may be full */
	static const struct timeval patience = { ANSWER_SECONDS, 0 };
	struct sockaddr_un sun;
	int fd, e;

	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	if (!text_set(sun.sun_path, sizeof(sun.sun_path), path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
		sizeof(patience)) == 0 &&
	    connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	e = errno == EAGAIN ? ETIMEDOUT : errno;
	close(fd);
	errno = e;
	return -1;
}

static struct link *
daemon_link(const struct ctl *ctl, const struct parsed *p)
{
	char paths[CONF_SOCKET_CANDIDATES][PATH_SIZE];
	struct link *link;
	uint32_t i, n;
	int fd = -1, e = ENOENT;

	if (parsed_flag(p, "--socket")) {
		n = 1;
		if (!text_set(
			paths[0], sizeof(paths[0]), parsed_text(p, "--socket")))
			ctl_error("path too long");
	} else
		n = conf_control_sockets(ctl->conf, paths);
	for (i = 0; i < n && fd == -1; i++)
		if ((fd = connect_to(paths[i])) == -1 && errno != ENOENT)
			e = errno;
	if (fd == -1 && e == EACCES)
		ctl_error("only root, the owner of the database and its group "
			  "may use the control socket %s",
		    paths[i - 1]);
	if (fd == -1)
		ctl_error(
		    "no answer on the control socket %s: %s\n"
		    "Is the daemon running? Name its configuration with -c, or "
		    "the socket with --socket.",
		    n > 0 ? paths[0] : "(no name or scope configured)",
		    strerror(e));
	if ((link = link_open(fd, PROC_CTL, PROC_MASTER, QUEUE_BYTES)) == NULL)
		ctl_error("out of memory");
	return link;
}

/* Until something comes or the time is over. */
static void
wait_link(struct link *link, int64_t until)
{
	struct pollfd pfd = { link_fd(link), POLLIN, 0 };
	int64_t left = until - clock_boot_ns();
	int rc;

	if (link_wants_write(link))
		pfd.events |= POLLOUT;
	if (left <= 0)
		ctl_error("control socket: no answer in time");
	rc = poll(&pfd, 1, (int)(left / NS_PER_MS) + 1);
	if (rc == -1 && errno != EINTR)
		ctl_error("control socket: %s", strerror(errno));
	if (rc > 0 && (pfd.revents & POLLOUT) != 0)
		(void)link_flush(link);
}

struct tree *
local_ask(const struct ctl *ctl, const struct parsed *p,
    const struct msg_ctl_query *query, const struct tree *var, int seconds,
    struct msg_ctl_reply *reply)
{
	struct link *link = daemon_link(ctl, p);
	int64_t until = clock_boot_ns() + seconds * NS_PER_SEC;
	struct ipc_msg msg;
	struct tree *tree = NULL;
	uint8_t *buf = NULL;
	size_t len = 0;
	int rc;

	if (var != NULL && (!tree_encode(var, &buf, &len) || len > MAX_ACTION))
		ctl_error("the request is too long");
	if (link_send(link, MSG_CTL_QUERY, 0, 1, until, query, buf, len, -1) ==
	    -1)
		ctl_error("control socket: %s", strerror(errno));
	free(buf);
	while ((rc = link_next(link, &msg)) == 0) {
		wait_link(link, until);
		if (link_read(link) == -1 && (rc = link_next(link, &msg)) != 1)
			ctl_error("control socket: closed by the daemon");
		if (rc == 1)
			break;
	}
	if (rc == -1)
		ctl_error("control socket: %s", link_error(link));
	if (msg.hdr.type != MSG_CTL_REPLY)
		ctl_error("control socket: unexpected answer");
	memcpy(reply, msg.body, sizeof(*reply));
	if (msg.var != NULL &&
	    (tree = tree_decode(msg.var, msg.hdr.var_len)) == NULL)
		ctl_error("control socket: malformed answer");
	link_close(link);
	return tree;
}

/* The same within a few seconds; anything but success ends the program. */
static struct tree *
ask(const struct ctl *ctl, const struct parsed *p,
    const struct msg_ctl_query *query, struct msg_ctl_reply *reply)
{
	struct tree *tree =
	    local_ask(ctl, p, query, NULL, ANSWER_SECONDS, reply);

	if (reply->code != 200)
		ctl_error("%s (status %u)", reply->text, reply->code);
	return tree;
}

void
local_query(struct msg_ctl_query *q, enum ctl_query_kind kind)
{
	memset(q, 0, sizeof(*q));
	q->kind = kind;
	q->request.timeout = -1;
}

/* ---- processes ---- */

static void
append_int(struct tree *row, const struct tree *map, const char *key)
{
	const struct tree *v = tree_get(map, key);

	(void)tree_append(row, v != NULL ? tree_copy(v) : tree_text(""));
}

/* 3d 4h, 4h 5m, 5m 6s, 6s */
static void
append_uptime(struct tree *row, const struct tree *map)
{
	long long s = (long long)tree_path_int(map, "uptime", -1);
	char text[64] = "";

	if (s >= 86400)
		(void)snprintf(text, sizeof(text), "%lldd %lldh", s / 86400,
		    s / 3600 % 24);
	else if (s >= 3600)
		(void)snprintf(
		    text, sizeof(text), "%lldh %lldm", s / 3600, s / 60 % 60);
	else if (s >= 60)
		(void)snprintf(
		    text, sizeof(text), "%lldm %llds", s / 60, s % 60);
	else if (s >= 0)
		(void)snprintf(text, sizeof(text), "%llds", s);
	(void)tree_append(row, tree_text(text));
}

static void
append_kb(struct tree *row, const struct tree *map, const char *key)
{
	int64_t kb = tree_path_int(map, key, -1);
	char text[32] = "";

	if (kb >= 0)
		(void)snprintf(
		    text, sizeof(text), "%.1f MB", (double)kb / 1024);
	(void)tree_append(row, tree_text(text));
}

static void
append_seconds(struct tree *row, const struct tree *map, const char *key)
{
	const struct tree *v = tree_get(map, key);
	char text[32] = "";

	if (v != NULL && v->type == TREE_INT)
		(void)snprintf(
		    text, sizeof(text), "%.1f s", (double)v->u.i / 1000);
	(void)tree_append(row, tree_text(text));
}

/* What is special to the process: keeper and controller first. */
static void
append_state(struct tree *row, const struct tree *map)
{
	const char *text = tree_path_text(map, "text", "");
	char buf[TEXT_SIZE * 2];

	if (tree_get(map, "armed") != NULL)
		(void)snprintf(buf, sizeof(buf), "%s, fenced %lld%s%s",
		    tree_path_bool(map, "armed", false) ? "armed" : "disarmed",
		    (long long)tree_path_int(map, "fenced", 0),
		    text[0] != '\0' ? "; " : "", text);
	else if (tree_get(map, "role") != NULL)
		(void)snprintf(buf, sizeof(buf), "%s, %s%s%s",
		    tree_path_text(map, "role", ""),
		    tree_path_text(map, "state", ""),
		    text[0] != '\0' ? "; " : "", text);
	else if (tree_path_int(map, "pid", 0) == 0)
		(void)snprintf(buf, sizeof(buf), "not running");
	else if (!tree_path_bool(map, "ready", false))
		(void)snprintf(buf, sizeof(buf), "starting");
	else
		(void)snprintf(buf, sizeof(buf), "%s", text);
	(void)tree_append(row, tree_text(buf));
}

static void
process_row(struct table *t, const struct tree *map)
{
	struct tree *row = table_row(t);

	append_int(row, map, "name");
	append_int(row, map, "pid");
	append_int(row, map, "user");
	append_uptime(row, map);
	append_int(row, map, "restarts");
	append_kb(row, map, "rss_kb");
	append_kb(row, map, "pss_kb");
	append_seconds(row, map, "cpu_ms");
	append_int(row, map, "sandbox");
	append_seconds(row, map, "lease_left_ms");
	append_state(row, map);
}

/* Machine forms give the daemon's values as they are. */
static void
print_data(
    const struct tree *list, enum table_format fmt, const char *const *keys)
{
	struct table t;
	uint32_t i, k;

	table_init(&t);
	t.omit_empty = true;
	for (k = 0; keys[k] != NULL; k++)
		table_column(&t, keys[k], NULL, false);
	for (i = 0; i < tree_count(list); i++) {
		struct tree *row = table_row(&t);

		for (k = 0; keys[k] != NULL; k++)
			append_int(row, tree_child(list, i), keys[k]);
	}
	table_print(&t, fmt, stdout);
	table_free(&t);
}

static void
print_processes(const struct tree *doc)
{
	const struct tree *list = tree_get(doc, "processes");
	struct table t;
	uint32_t i;

	table_init(&t);
	(void)snprintf(t.title, sizeof(t.title), " Node: %s (%s) ",
	    tree_path_text(doc, "name", ""), tree_path_text(doc, "scope", ""));
	table_column(&t, "Process", NULL, false);
	table_column(&t, "PID", NULL, true);
	table_column(&t, "User", NULL, false);
	table_column(&t, "Up", NULL, true);
	table_column(&t, "Restarts", NULL, true);
	table_column(&t, "RSS", NULL, true);
	table_column(&t, "PSS", NULL, true);
	table_column(&t, "CPU", NULL, true);
	table_column(&t, "Sandbox", NULL, false);
	table_column(&t, "Lease", NULL, true);
	table_column(&t, "Process state", "State", false);
	for (i = 0; i < tree_count(list); i++)
		process_row(&t, tree_child(list, i));
	table_print(&t, FMT_PRETTY, stdout);
	table_free(&t);
}

static int
processes_once(struct ctl *ctl, const struct parsed *p)
{
	static const char *const keys[] = { "name", "pid", "user", "uptime",
		"restarts", "ready", "rss_kb", "pss_kb", "cpu_ms", "sandbox",
		"loops", "queue_bytes", "lease_left_ms", "armed", "fenced",
		"role", "state", "text", NULL };
	enum table_format fmt = table_format(parsed_text(p, "--format"));
	struct msg_ctl_query q;
	struct msg_ctl_reply r;
	struct tree *doc;

	local_query(&q, CTL_PROCESSES);
	doc = ask(ctl, p, &q, &r);
	if (fmt == FMT_PRETTY)
		print_processes(doc);
	else
		print_data(tree_get(doc, "processes"), fmt, keys);
	tree_free(doc);
	return 0;
}

/* ---- journal ---- */

static void
local_time(int64_t us, char *buf, size_t size)
{
	time_t sec = (time_t)(us / 1000000);
	struct tm tm;
	char day[32];

	buf[0] = '\0';
	if (localtime_r(&sec, &tm) != NULL &&
	    strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &tm) > 0)
		(void)snprintf(
		    buf, size, "%s.%03d", day, (int)(us / 1000 % 1000));
}

static void
journal_row(struct table *t, const struct tree *e)
{
	struct tree *row = table_row(t);
	char text[64];

	local_time(tree_path_int(e, "time_us", 0), text, sizeof(text));
	(void)tree_append(row, tree_text(text));
	append_int(row, e, "times");
	append_int(row, e, "rule");
	append_int(row, e, "text");
	append_int(row, e, "reasons");
	append_int(row, e, "effects");
}

static int
journal(struct ctl *ctl, const struct parsed *p)
{
	static const char *const keys[] = { "time_us", "last_us", "boot_ns",
		"times", "rule", "text", "inputs", "reasons", "effects", NULL };
	enum table_format fmt = table_format(parsed_text(p, "--format"));
	struct msg_ctl_query q;
	struct msg_ctl_reply r;
	struct tree *list;
	struct table t;
	uint32_t i;

	local_query(&q, CTL_JOURNAL);
	if (parsed_option(p, "--limit")->integer > 0)
		q.limit = (uint32_t)parsed_option(p, "--limit")->integer;
	list = ask(ctl, p, &q, &r);
	if (fmt != FMT_PRETTY) {
		print_data(list, fmt, keys);
		tree_free(list);
		return 0;
	}
	table_init(&t);
	table_column(&t, "Time", NULL, false);
	table_column(&t, "Times", NULL, true);
	table_column(&t, "Rule", NULL, false);
	table_column(&t, "Decision", NULL, false);
	table_column(&t, "Because", NULL, false);
	table_column(&t, "Effects", NULL, false);
	for (i = 0; i < tree_count(list); i++)
		journal_row(&t, tree_child(list, i));
	table_print(&t, FMT_PRETTY, stdout);
	table_free(&t);
	tree_free(list);
	return 0;
}

/* ---- orders ---- */

static int
order(struct ctl *ctl, const struct parsed *p, const struct msg_ctl_query *q)
{
	struct msg_ctl_reply r;

	tree_free(ask(ctl, p, q, &r));
	printf("%s\n", r.text);
	return 0;
}

static int
log_level(struct ctl *ctl, const struct parsed *p)
{
	static const struct {
		const char *name;
		int32_t level;
	} levels[] = { { "default", 0 }, { "debug", LOG_LVL_DEBUG },
		{ "info", LOG_LVL_INFO }, { "warning", LOG_LVL_WARNING },
		{ "error", LOG_LVL_ERROR }, { "critical", LOG_LVL_CRITICAL } };
	struct msg_ctl_query q;
	size_t i;

	if (p->nargs != 2)
		ctl_error("log-level needs one of default, debug, info, "
			  "warning, error, critical");
	local_query(&q, CTL_LOG_LEVEL);
	for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcasecmp(levels[i].name, p->args[1]) == 0) {
			q.log_level = levels[i].level;
			return order(ctl, p, &q);
		}
	ctl_error("no such log level: %s", p->args[1]);
}

static int
restart_helper(struct ctl *ctl, const struct parsed *p)
{
	struct msg_ctl_query q;
	int proc;

	if (p->nargs != 2)
		ctl_error("restart-helper needs one of dcs, rest, postgres, "
			  "watchdog");
	local_query(&q, CTL_RESTART_HELPER);
	for (proc = PROC_DCS; proc <= PROC_WATCHDOG; proc++)
		if (strcmp(proc_name((enum proc)proc), p->args[1]) == 0) {
			q.proc = (uint32_t)proc;
			return order(ctl, p, &q);
		}
	ctl_error("no such helper: %s", p->args[1]);
}

int
cmd_local(struct ctl *ctl, const struct parsed *p)
{
	const char *what = p->nargs > 0 ? p->args[0] : "processes";
	struct msg_ctl_query q;

	if (strcmp(what, "processes") == 0)
		return watch_loop(processes_once, true, ctl, p);
	if (strcmp(what, "journal") == 0)
		return journal(ctl, p);
	if (strcmp(what, "log-level") == 0)
		return log_level(ctl, p);
	if (strcmp(what, "restart-helper") == 0)
		return restart_helper(ctl, p);
	if (strcmp(what, "reload") == 0) {
		local_query(&q, CTL_RELOAD);
		return order(ctl, p, &q);
	}
	if (strcmp(what, "restart") == 0)
		return local_restart(ctl, p);
	if (strcmp(what, "reinit") == 0)
		return local_reinit(ctl, p);
	if (strcmp(what, "switchover") == 0)
		return local_switchover(ctl, p, false);
	if (strcmp(what, "failover") == 0)
		return local_switchover(ctl, p, true);
	if (strcmp(what, "flush") == 0)
		return local_flush(ctl, p);
	ctl_error("local: no such action: %s", what);
}
