/*
 * test_master.c: supervision, with this program itself as the four helpers.
 *
 * Executed as "patroni: <name>" it is a fake helper: it answers CONFIG with
 * READY, greets whoever it is linked to, and writes what it sees to the file
 * "events" of the working directory.  Files named <helper>.<act> there make it
 * misbehave.
 */
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#include "../../ipc/clock.h"
#include "../../master/master.h"

/* ---- the fake helper ---- */

static void
event(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int fd, n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fd = open("events", O_WRONLY | O_APPEND | O_CREAT, 0600);
	if (fd == -1 || write(fd, line, (size_t)n) != n)
		_exit(99);
	close(fd);
}

static bool
told_to(const char *name, const char *act)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s.%s", name, act);
	return access(path, F_OK) == 0;
}

static bool
told_once(const char *name, const char *act)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s.%s", name, act);
	return unlink(path) == 0;
}

static int peer_fd[PROC_COUNT];

static void
fake_message(struct link *link, const char *name, const struct ipc_msg *msg)
{
	struct msg_ready ready;
	struct msg_helper_info info = { 0 };
	struct msg_stopped stopped;
	uint32_t peer;
	int n;

	switch (msg->hdr.type) {
	case MSG_CONFIG:
		memset(&ready, 0, sizeof(ready));
		ready.ok = 1;
		ready.generation =
		    ((const struct msg_config *)msg->body)->generation;
		event("%s config %d\n", name, (int)ready.generation);
		if (told_to(name, "die"))
			_exit(3);
		if (told_to(name, "silent"))
			break;
		if (told_to(name, "refuses") ||
		    told_once(name, "refuses-once")) {
			ready.ok = 0;
			(void)text_set(
			    ready.text, sizeof(ready.text), "not this");
		}
		if (link_send(link, MSG_READY, 0, 0, 0, &ready, NULL, 0, -1))
			_exit(98);
		if (told_once(name, "garbage") &&
		    write(3, "0123456789012345678901234567890123456789", 40) !=
			40)
			_exit(97);
		break;
	case MSG_LINK:
		peer = ((const struct msg_link *)msg->body)->peer;
		if (peer_fd[peer] > 0)
			close(peer_fd[peer]);
		peer_fd[peer] = msg->fd;
		if (write(msg->fd, name, strlen(name)) == -1 && errno != EPIPE)
			_exit(96);
		break;
	case MSG_SHUTDOWN:
		event("%s shutdown\n", name);
		if (told_once(name, "die-stopping"))
			_exit(4);
		if (told_to(name, "never-stops"))
			break;
		for (n = told_to(name, "drains") ? 7 : 0; n > 0; n--) {
			(void)usleep(1000000);
			(void)link_send(
			    link, MSG_HELPER_INFO, 0, 0, 0, &info, NULL, 0, -1);
		}
		memset(&stopped, 0, sizeof(stopped));
		stopped.exit_code = told_to(name, "code7") ? 7 : 0;
		(void)link_send(
		    link, MSG_STOPPED, 0, 0, 0, &stopped, NULL, 0, -1);
		_exit(0);
	case MSG_INFO_ASK:
		if (told_to(name, "mute"))
			break;
		info.loops = 4711;
		(void)link_send(
		    link, MSG_HELPER_INFO, 0, 0, 0, &info, NULL, 0, -1);
		break;
	case MSG_ACTION:
	case MSG_REQUEST: {
		uint16_t type = msg->hdr.type == MSG_ACTION ? MSG_ACTION_REPLY :
							      MSG_REQUEST_REPLY;
		struct msg_request_reply reply;

		memset(&reply, 0, sizeof(reply));
		reply.code = 200;
		(void)text_set(reply.text, sizeof(reply.text), "from fake");
		if (told_to(name, "mute"))
			break;
		if (told_to(name, "dies"))
			_exit(1);
		(void)link_send(link, type, IPC_FLAG_REPLY, msg->hdr.id, 0,
		    &reply, NULL, 0, -1);
		break;
	}
	default:
		break;
	}
}

static int
fake_main(const char *name)
{
	struct pollfd pfd[PROC_COUNT + 1];
	struct link *link;
	struct ipc_msg msg;
	enum proc self = PROC_DCS;
	char buf[64];
	ssize_t n;
	int p;

	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		if (strcmp(proc_name((enum proc)p), name) == 0)
			self = (enum proc)p;
	(void)signal(SIGPIPE, SIG_IGN);
	event("%s start fds %d\n", name, fcntl(4, F_GETFD) == -1 ? 0 : 1);
	link = link_open(3, self, PROC_MASTER, 65536);
	for (;;) {
		pfd[0].fd = 3;
		pfd[0].events = POLLIN;
		for (p = 0; p < PROC_COUNT; p++) {
			pfd[p + 1].fd = peer_fd[p] > 0 ? peer_fd[p] : -1;
			pfd[p + 1].events = POLLIN;
			pfd[p + 1].revents = 0;
		}
		if (poll(pfd, PROC_COUNT + 1, -1) == -1)
			continue;
		for (p = 0; p < PROC_COUNT; p++) {
			if (pfd[p + 1].revents == 0)
				continue;
			n = read(peer_fd[p], buf, sizeof(buf) - 1);
			if (n <= 0) {
				close(peer_fd[p]);
				peer_fd[p] = 0;
				continue;
			}
			buf[n] = '\0';
			event("%s hears %s\n", name, buf);
		}
		if (pfd[0].revents == 0)
			continue;
		if (link_read(link) == -1)
			_exit(0);
		while (link_next(link, &msg) == 1)
			fake_message(link, name, &msg);
		if (link_flush(link) == -1)
			_exit(0);
	}
}

/* ---- the tests' side ---- */

static char dir[64];
static struct master m;

static void
touch(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT, 0600);

	assert_true(fd != -1);
	close(fd);
}

static int
count(const char *line)
{
	char buf[256];
	FILE *f = fopen("events", "r");
	int n = 0;

	if (f == NULL)
		return 0;
	while (fgets(buf, sizeof(buf), f) != NULL) {
		buf[strcspn(buf, "\n")] = '\0';
		if (strcmp(buf, line) == 0)
			n++;
	}
	fclose(f);
	return n;
}

static struct conf *
make_conf(void)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	struct tree *wd = tree_map();

	conf->effective = tree_map();
	conf->local = tree_map();
	tree_set(conf->effective, "name", tree_text("node1"));
	tree_set(conf->effective, "scope", tree_text("test"));
	tree_set(conf->effective, "watchdog", wd);
	tree_set(wd, "mode", tree_text("automatic"));
	tree_set(wd, "device", tree_text("device"));
	tree_set(conf->effective, "control_socket", tree_text("control.sock"));
	return conf;
}

static int
setup(void **state)
{
	char self[256], path[512];
	ssize_t n;
	int p;

	(void)state;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n] = '\0';
	(void)snprintf(dir, sizeof(dir), "/tmp/test_master.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++) {
		(void)snprintf(
		    path, sizeof(path), "patroni-%s", proc_name((enum proc)p));
		assert_int_equal(symlink(self, path), 0);
	}
	master_init(&m);
	m.accounts.owner.uid = m.accounts.network.uid = geteuid();
	m.accounts.owner.gid = m.accounts.network.gid = getegid();
	(void)text_set(m.libexec, sizeof(m.libexec), dir);
	m.conf = make_conf();
	master_signals(&m);
	return 0;
}

static int
teardown(void **state)
{
	char cmd[128];
	int p, st;

	(void)state;
	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++) {
		if (m.helpers[p].pid > 0) {
			(void)kill(m.helpers[p].pid, SIGKILL);
			(void)waitpid(m.helpers[p].pid, &st, 0);
		}
		link_close(m.helpers[p].link);
	}
	control_close(&m);
	close(m.signal_fd);
	conf_free(m.accepted);
	conf_free(m.conf);
	assert_int_equal(chdir("/"), 0);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* Run the loop until the condition holds, 10 s at most. */
#define UNTIL(cond)                                                 \
	do {                                                        \
		int64_t until_ = clock_boot_ns() + 10 * NS_PER_SEC; \
		while (!(cond)) {                                   \
			assert_true(clock_boot_ns() < until_);      \
			turn();                                     \
		}                                                   \
	} while (0)

/* One turn that takes 20 ms at most: what the helpers write is not an event
 * of the loop. */
static void
turn(void)
{
	int64_t soon = clock_boot_ns() + 20 * NS_PER_MS;

	m.watchdog_every_ns = 20 * NS_PER_MS; /* a harmless timer */
	m.watchdog_ns = soon;
	master_round(&m);
}

static void
start_all(void)
{
	supervise_start_all(&m);
	UNTIL(m.phase == PHASE_RUNNING);
	UNTIL(count("dcs hears postgres") == 1 &&
	    count("postgres hears dcs") == 1 &&
	    count("rest hears postgres") == 1 &&
	    count("watchdog hears postgres") == 1 &&
	    count("rest hears dcs") == 1 && count("dcs hears rest") == 1);
}

static void
test_start(void **state)
{
	(void)state;
	start_all();
	assert_int_equal(count("dcs start fds 0"), 1);
	assert_int_equal(count("dcs hears watchdog"), 0);
	assert_int_equal(count("watchdog hears rest"), 0);
}

static void
test_restart(void **state)
{
	pid_t old, others[PROC_COUNT];
	int p;

	(void)state;
	start_all();
	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		others[p] = m.helpers[p].pid;
	old = m.helpers[PROC_DCS].pid;
	assert_int_equal(kill(old, SIGKILL), 0);
	UNTIL(count("postgres hears dcs") == 2 &&
	    count("rest hears dcs") == 2 && count("dcs hears postgres") == 2 &&
	    count("dcs hears rest") == 2);
	assert_true(m.helpers[PROC_DCS].pid != old);
	assert_int_equal(m.helpers[PROC_DCS].restarts, 1);
	assert_int_equal(m.helpers[PROC_POSTGRES].pid, others[PROC_POSTGRES]);
	assert_int_equal(m.helpers[PROC_REST].pid, others[PROC_REST]);
	assert_int_equal(m.helpers[PROC_WATCHDOG].pid, others[PROC_WATCHDOG]);
	assert_int_equal(count("watchdog hears postgres"), 1);
	assert_int_equal(m.phase, PHASE_RUNNING);
}

static void
test_backoff(void **state)
{
	int64_t t;

	(void)state;
	start_all();
	touch("rest.die");
	assert_int_equal(kill(m.helpers[PROC_REST].pid, SIGKILL), 0);
	/* at once, then 0.1, 0.2, 0.4 s */
	t = clock_boot_ns();
	UNTIL(count("rest start fds 0") == 2);
	UNTIL(count("rest start fds 0") == 5);
	t = clock_boot_ns() - t;
	assert_true(t >= 690 * NS_PER_MS);
	assert_true(t < 5 * NS_PER_SEC);
	assert_int_equal(unlink("rest.die"), 0);
	UNTIL(supervise_all_ready(&m));
	assert_true(m.helpers[PROC_REST].restarts >= 4);
}

static void
test_garbage(void **state)
{
	pid_t old;

	(void)state;
	start_all();
	old = m.helpers[PROC_WATCHDOG].pid;
	touch("watchdog.garbage");
	master_reload(&m); /* a CONFIG, at which it misbehaves once */
	UNTIL(m.helpers[PROC_WATCHDOG].pid != old &&
	    m.helpers[PROC_WATCHDOG].ready);
	assert_int_equal(m.helpers[PROC_WATCHDOG].restarts, 1);
	UNTIL(count("watchdog hears postgres") == 2);
}

static void
turn_tls_on(void)
{
	struct tree *restapi = tree_map();

	tree_set(restapi, "certfile", tree_text("absent"));
	tree_set(m.conf->effective, "restapi", restapi);
}

/* TLS turned on by a reload: another rest process, if it takes that. */
static void
test_successor(void **state)
{
	static const char *const fails[] = { "rest.die", "rest.refuses",
		"rest.silent" };
	pid_t old;
	int i;

	(void)state;
	start_all();
	old = m.helpers[PROC_REST].pid;
	turn_tls_on();
	for (i = 0; i < 3; i++) {
		touch(fails[i]);
		master_reload(&m);
		assert_true(m.candidate && m.beside.pid > 0);
		assert_int_equal(m.helpers[PROC_REST].pid, old);
		UNTIL(count("rest start fds 0") == i + 2);
		if (i == 2) {
			assert_true(m.reload_until_ns != 0);
			assert_true(supervise_next(&m) <= m.beside.kill_ns);
			m.beside.kill_ns = clock_boot_ns();
		}
		UNTIL(m.beside.pid == 0 && m.reload_until_ns == 0);
		assert_false(m.candidate);
		assert_int_equal(m.helpers[PROC_REST].pid, old);
		assert_int_equal(m.helpers[PROC_REST].restarts, 0);
		assert_int_equal(count("postgres hears rest"), 1);
		assert_int_equal(unlink(fails[i]), 0);
	}
	/* one whose answer is outstanding gives way to a newer configuration */
	touch("rest.silent");
	master_reload(&m);
	UNTIL(count("rest start fds 0") == 5);
	assert_int_equal(unlink("rest.silent"), 0);
	touch("rest.never-stops");
	master_reload(&m);
	UNTIL(m.helpers[PROC_REST].pid != old);
	assert_int_equal(m.beside.pid, old);
	UNTIL(
	    count("postgres hears rest") == 2 && count("dcs hears rest") == 2);
	UNTIL(count("rest shutdown") == 1 && m.reload_until_ns == 0);
	assert_true(m.beside.kill_ns > clock_boot_ns());
	assert_false(m.listener_due);
	m.beside.kill_ns = clock_boot_ns();
	UNTIL(m.beside.pid == 0 && kill(old, 0) == -1);
	/* it has loaded what is needed */
	old = m.helpers[PROC_REST].pid;
	master_reload(&m);
	assert_int_equal(m.beside.pid, 0);
	UNTIL(m.reload_until_ns == 0);
	assert_int_equal(m.helpers[PROC_REST].pid, old);
	assert_int_equal(m.helpers[PROC_REST].restarts, 0);
}

/* A new process refuses what its predecessor had refused. */
static void
test_fall_back(void **state)
{
	(void)state;
	start_all();
	m.accepted = make_conf();
	touch("rest.refuses-once");
	assert_int_equal(kill(m.helpers[PROC_REST].pid, SIGKILL), 0);
	UNTIL(count("rest config 1") == 3);
	UNTIL(m.helpers[PROC_REST].ready && !m.helpers[PROC_REST].fallback);
	assert_non_null(m.accepted); /* it is not the newest */
	/* once only; and nothing old at a new address */
	touch("rest.refuses");
	assert_int_equal(kill(m.helpers[PROC_REST].pid, SIGKILL), 0);
	UNTIL(count("rest config 1") == 5);
	m.listener_due = true;
	assert_int_equal(kill(m.helpers[PROC_REST].pid, SIGKILL), 0);
	UNTIL(count("rest config 1") == 6 && m.helpers[PROC_REST].ready);
	assert_false(m.helpers[PROC_REST].fallback);
	/* what it accepts at last is what is served */
	assert_int_equal(unlink("rest.refuses"), 0);
	master_reload(&m);
	UNTIL(m.accepted == NULL);
	assert_false(m.listener_due);
	assert_int_equal(count("rest config 1"), 6);
}

/* The old process dies, or the daemon stops, while another one is tried. */
static void
test_successor_alone(void **state)
{
	pid_t old, tried;

	(void)state;
	start_all();
	old = m.helpers[PROC_REST].pid;
	turn_tls_on();
	touch("rest.silent");
	master_reload(&m);
	tried = m.beside.pid;
	assert_int_equal(unlink("rest.silent"), 0);
	touch("rest.refuses");
	assert_int_equal(kill(old, SIGKILL), 0);
	UNTIL(m.helpers[PROC_REST].ready && m.helpers[PROC_REST].pid != old);
	assert_true(m.helpers[PROC_REST].pid != tried);
	UNTIL(kill(tried, 0) == -1);
	assert_int_equal(m.beside.pid, 0);
	assert_int_equal(m.helpers[PROC_REST].restarts, 1);
	assert_int_equal(unlink("rest.refuses"), 0);
	m.helpers[PROC_REST].tls = false;
	touch("rest.silent");
	master_reload(&m);
	tried = m.beside.pid;
	assert_true(m.candidate && tried > 0);
	master_stop(&m, 0);
	assert_int_equal(m.beside.pid, 0);
	UNTIL(m.phase == PHASE_DONE);
	UNTIL(kill(tried, 0) == -1);
}

static long
line_of(const char *line)
{
	char buf[256];
	FILE *f = fopen("events", "r");
	long n = 0, found = -1;

	while (fgets(buf, sizeof(buf), f) != NULL) {
		buf[strcspn(buf, "\n")] = '\0';
		if (strcmp(buf, line) == 0)
			found = n;
		n++;
	}
	fclose(f);
	return found;
}

static void
test_stop_order(void **state)
{
	(void)state;
	start_all();
	touch("postgres.code7");
	assert_int_equal(raise(SIGTERM), 0);
	UNTIL(m.phase == PHASE_DONE);
	assert_int_equal(m.exit_code, 7);
	assert_true(line_of("postgres shutdown") >= 0);
	/* the API is closed at once, what the controller needs comes after it
	 */
	assert_int_equal(m.listen_fd, -1);
	assert_true(line_of("rest shutdown") >= 0);
	assert_true(line_of("postgres shutdown") < line_of("dcs shutdown"));
	assert_true(line_of("rest shutdown") < line_of("dcs shutdown"));
	assert_int_equal(count("rest shutdown"), 1);
	assert_true(line_of("dcs shutdown") < line_of("watchdog shutdown"));
	assert_int_equal(count("postgres shutdown"), 1);
}

static void
test_controller_dies_stopping(void **state)
{
	(void)state;
	start_all();
	touch("postgres.die-stopping");
	assert_int_equal(raise(SIGTERM), 0);
	UNTIL(m.phase == PHASE_DONE);
	assert_int_equal(m.exit_code, 0);
	assert_int_equal(count("postgres shutdown"), 2);
	assert_int_equal(count("watchdog shutdown"), 1);
}

static void
test_stop_with_dead_helper(void **state)
{
	(void)state;
	start_all();
	touch("dcs.die");
	touch("rest.die-stopping");
	assert_int_equal(kill(m.helpers[PROC_DCS].pid, SIGKILL), 0);
	UNTIL(count("dcs start fds 0") == 3);
	assert_int_equal(raise(SIGTERM), 0);
	UNTIL(m.phase == PHASE_DONE);
	assert_int_equal(m.exit_code, 0);
}

/* One that ignores the request is killed after a while, not waited for. */
static void
test_stop_hung_helper(void **state)
{
	(void)state;
	start_all();
	touch("dcs.never-stops");
	assert_int_equal(raise(SIGTERM), 0);
	UNTIL(count("dcs shutdown") == 1);
	UNTIL(m.phase == PHASE_DONE);
	assert_int_equal(m.exit_code, 0);
}

/* PostgreSQL is down: a rest helper that hangs holds up the end no longer
 * than others do, one that still answers requests is waited for. */
static void
test_stop_hung_rest(void **state)
{
	(void)state;
	start_all();
	touch("rest.never-stops");
	assert_int_equal(raise(SIGTERM), 0);
	UNTIL(m.phase == PHASE_DONE);
	assert_int_equal(m.exit_code, 0);
}

static void
test_stop_busy_rest(void **state)
{
	int64_t begin = clock_boot_ns();

	(void)state;
	start_all();
	touch("rest.drains");
	assert_int_equal(raise(SIGTERM), 0);
	UNTIL(m.phase == PHASE_DONE);
	assert_true(clock_boot_ns() - begin > 7 * NS_PER_SEC);
	assert_true(m.helpers[PROC_REST].stopped);
}

static void
test_orphans(void **state)
{
	pid_t pid;

	(void)state;
	start_all();
	if ((pid = fork()) == 0)
		_exit(0);
	UNTIL(kill(pid, 0) == -1); /* reaped, not mistaken for a helper */
	assert_int_equal(m.phase, PHASE_RUNNING);
	assert_int_equal(m.helpers[PROC_DCS].restarts, 0);
}

/* ---- control socket ---- */

static struct link *
client(void)
{
	struct sockaddr_un sun;
	int fd;

	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	(void)text_set(sun.sun_path, sizeof(sun.sun_path), m.control_path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return link_open(fd, PROC_CTL, PROC_MASTER, 65536);
}

static void
ask(struct link *link, const struct msg_ctl_query *q, uint64_t id,
    int64_t deadline, struct msg_ctl_reply *reply, struct tree **tree)
{
	struct ipc_msg msg;
	bool got = false;

	assert_int_equal(
	    link_send(link, MSG_CTL_QUERY, 0, id, deadline, q, NULL, 0, -1), 0);
	UNTIL((got = link_read(link) == 1 && link_next(link, &msg) == 1));
	assert_true(got);
	assert_int_equal(msg.hdr.type, MSG_CTL_REPLY);
	assert_int_equal(msg.hdr.id, id);
	memcpy(reply, msg.body, sizeof(*reply));
	if (tree != NULL)
		*tree = msg.var != NULL ?
		    tree_decode(msg.var, msg.hdr.var_len) :
		    NULL;
}

static void
test_control(void **state)
{
	struct msg_ctl_query q;
	struct msg_ctl_reply r;
	struct tree *t = NULL, *list;
	struct link *c;
	uint32_t i;
	pid_t old;

	(void)state;
	control_open(&m);
	assert_int_not_equal(m.control_fd, -1);
	start_all();
	c = client();
	memset(&q, 0, sizeof(q));
	q.kind = CTL_PROCESSES;
	q.request.kind = REQUEST_JOURNAL;
	ask(c, &q, 5, 0, &r, &t);
	assert_int_equal(r.code, 200);
	assert_non_null(t);
	list = tree_get(t, "processes");
	assert_int_equal(tree_count(list), 5);
	assert_string_equal(
	    tree_path_text(tree_child(list, 1), "name", ""), "dcs");
	assert_int_equal(tree_path_int(tree_child(list, 1), "pid", 0),
	    m.helpers[PROC_DCS].pid);
	assert_true(tree_path_int(tree_child(list, 1), "rss_kb", 0) > 0);
	/* asked for, not what they said some time ago */
	for (i = 1; i <= 4; i++)
		assert_int_equal(
		    tree_path_int(tree_child(list, i), "loops", 0), 4711);
	tree_free(t);
	/* one that hangs does not keep the others' from being shown */
	touch("dcs.mute");
	assert_int_equal(m.helpers[PROC_DCS].info.loops, 4711);
	m.helpers[PROC_DCS].info.loops = 1;
	ask(c, &q, 9, 0, &r, &t);
	list = tree_get(t, "processes");
	assert_int_equal(tree_path_int(tree_child(list, 1), "loops", 0), 1);
	assert_int_equal(tree_path_int(tree_child(list, 2), "loops", 0), 4711);
	tree_free(t);

	q.kind = CTL_JOURNAL;
	ask(c, &q, 6, 0, &r, NULL);
	assert_int_equal(r.code, 200);
	assert_string_equal(r.text, "from fake");
	touch("postgres.mute");
	ask(c, &q, 7, clock_boot_ns() + 100 * NS_PER_MS, &r, NULL);
	assert_int_equal(r.code, 504);

	q.kind = CTL_RESTART_HELPER;
	q.proc = PROC_REST;
	old = m.helpers[PROC_REST].pid;
	ask(c, &q, 8, 0, &r, NULL);
	assert_int_equal(r.code, 200);
	UNTIL(m.helpers[PROC_REST].pid != old && m.helpers[PROC_REST].ready);

	link_close(c);
}

/* Actions of the REST API go to rest, and its death is their answer: nobody
 * waits for a helper that cannot answer any more. */
static void
test_control_action(void **state)
{
	struct msg_ctl_query q;
	struct msg_ctl_reply r;
	struct link *c;

	(void)state;
	control_open(&m);
	start_all();
	c = client();
	memset(&q, 0, sizeof(q));
	q.kind = CTL_ACTION;
	q.action.kind = API_SWITCHOVER;
	ask(c, &q, 1, 0, &r, NULL);
	assert_int_equal(r.code, 200);
	assert_string_equal(r.text, "from fake");
	touch("rest.mute");
	ask(c, &q, 2, clock_boot_ns() + 100 * NS_PER_MS, &r, NULL);
	assert_int_equal(r.code, 504);
	assert_int_equal(unlink("rest.mute"), 0);
	touch("rest.dies");
	ask(c, &q, 3, 0, &r, NULL);
	assert_int_equal(r.code, 503);
	assert_string_equal(
	    r.text, "the REST helper was lost, the outcome is unknown");
	assert_int_equal(unlink("rest.dies"), 0);
	UNTIL(m.helpers[PROC_REST].ready);
	ask(c, &q, 4, 0, &r, NULL);
	assert_int_equal(r.code, 200);
	link_close(c);
}

/* What is not in the catalogue costs the client its connection. */
static void
test_control_malformed(void **state)
{
	struct msg_ctl_query q;
	struct ipc_msg msg;
	struct link *c;
	int rc = 0;

	(void)state;
	control_open(&m);
	start_all();
	c = client();
	memset(&q, 0, sizeof(q));
	q.kind = CTL_ACTION; /* of no kind */
	assert_int_equal(
	    link_send(c, MSG_CTL_QUERY, 0, 1, 0, &q, NULL, 0, -1), 0);
	UNTIL((rc = link_read(c)) == -1);
	assert_int_equal(rc, -1);
	assert_int_equal(link_next(c, &msg), 0);
	link_close(c);
	assert_int_equal(m.phase, PHASE_RUNNING);
}

static void
test_control_stale(void **state)
{
	int fd;

	(void)state;
	control_open(&m);
	assert_int_not_equal(m.control_fd, -1);
	fd = m.control_fd;
	/* in use: not taken away from its owner */
	m.control_fd = -1;
	control_open(&m);
	assert_true(m.control_fd == -1 || m.control_fd != fd);
	close(fd);
	if (m.control_fd != -1)
		close(m.control_fd);
	/* left over: replaced */
	control_open(&m);
	assert_int_not_equal(m.control_fd, -1);
}

/* ---- small parts ---- */

static void
test_listen_split(void **state)
{
	char host[64];
	int port = 0;

	(void)state;
	assert_true(listen_split("127.0.0.1:8008", host, sizeof(host), &port));
	assert_string_equal(host, "127.0.0.1");
	assert_int_equal(port, 8008);
	assert_true(listen_split("*:80", host, sizeof(host), &port));
	assert_string_equal(host, "");
	assert_true(listen_split("[::1]:8009", host, sizeof(host), &port));
	assert_string_equal(host, "::1");
	assert_true(listen_split(":8009", host, sizeof(host), &port));
	assert_false(listen_split("8009", host, sizeof(host), &port));
	assert_false(listen_split("a:65536", host, sizeof(host), &port));
	assert_false(listen_split("a:x", host, sizeof(host), &port));
}

static void
test_listen_open(void **state)
{
	int fd, second, error = 0;
	char text[64];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	(void)state;
	fd = listen_open("127.0.0.1:0", 5, &error);
	assert_int_not_equal(fd, -1);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	(void)snprintf(text, sizeof(text), "127.0.0.1:%d",
	    ((((const uint8_t *)&ss)[2] << 8) | ((const uint8_t *)&ss)[3]));
	second = listen_open(text, 5, &error);
	assert_int_equal(second, -1);
	assert_int_equal(error, EADDRINUSE);
	close(fd);
}

static void
test_log_rotation(void **state)
{
	struct log_file lf;
	struct conf *conf = make_conf();
	struct tree *log = tree_map();
	struct stat st;
	bool switched = false;
	int i;

	(void)state;
	memset(&lf, 0, sizeof(lf));
	lf.stderr_fd = -1;
	tree_set(conf->effective, "log", log);
	tree_set(log, "dir", tree_text(dir));
	tree_set(log, "file_size", tree_int(100));
	tree_set(log, "file_num", tree_int(2));
	tree_set(log, "mode", tree_int(0600));
	assert_true(logfile_configure(&lf, conf, &switched));
	assert_true(switched);
	for (i = 0; i < 4; i++) {
		dprintf(STDERR_FILENO, "%0120d\n", i);
		assert_true(logfile_check(
		    &lf, clock_boot_ns() + (i + 1) * 60 * NS_PER_SEC));
	}
	assert_false(logfile_check(&lf, clock_boot_ns() + 3600 * NS_PER_SEC));
	tree_remove(log, "dir");
	assert_true(logfile_configure(&lf, conf, &switched));
	assert_true(switched);
	assert_int_equal(stat("patroni.log", &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat("patroni.log.1", &st), 0);
	assert_int_equal(st.st_size, 121);
	assert_int_equal(stat("patroni.log.2", &st), 0);
	assert_int_equal(stat("patroni.log.3", &st), -1);
	conf_free(conf);
}

static void
test_device(void **state)
{
	struct conf *conf = make_conf();
	int fd, error = 0;

	(void)state;
	assert_int_equal(
	    privileges_open_device(conf, "/etc/passwd", &error), -1);
	assert_int_equal(error, EPERM);
	assert_int_equal(privileges_open_device(conf, "device", &error), -1);
	assert_int_equal(error, ENOENT);
	assert_int_equal(mkfifo("device", 0600), 0);
	fd = privileges_open_device(conf, "device", &error);
	assert_int_not_equal(fd, -1);
	assert_int_equal(error, 0);
	close(fd);
	conf_free(conf);
}

static void
test_notify(void **state)
{
	struct sockaddr_un sun;
	char buf[128];
	ssize_t n;
	int fd;

	(void)state;
	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	(void)snprintf(sun.sun_path + 1, sizeof(sun.sun_path) - 1,
	    "patroni-test-%d", (int)getpid());
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun,
			     (socklen_t)(sizeof(sa_family_t) + 1 +
				 strlen(sun.sun_path + 1))),
	    0);
	(void)snprintf(buf, sizeof(buf), "@%s", sun.sun_path + 1);
	setenv("NOTIFY_SOCKET", buf, 1);
	setenv("WATCHDOG_USEC", "4000000", 1);
	notify_open(&m);
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_true(m.watchdog_every_ns == 2 * NS_PER_SEC);
	start_all();
	n = recv(fd, buf, sizeof(buf) - 1, 0);
	/* beats of the 20 ms timer above come between */
	while (n > 0 && strncmp(buf, "WATCHDOG=1", 10) == 0)
		n = recv(fd, buf, sizeof(buf) - 1, 0);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_non_null(strstr(buf, "READY=1"));
	close(fd);
	close(m.notify_fd);
	m.notify_fd = -1;
}

static void
test_args(void **state)
{
	struct args a;
	char p[] = "/usr/bin/patroni", f[] = "x.yml", v[] = "--validate",
	     ip[] = "-ip", g[] = "--generate-config", d[] = "--dsn=host=x";

	(void)state;
	args_parse(2, (char *[]){ p, f, NULL }, &a);
	assert_int_equal(a.mode, MODE_RUN);
	assert_string_equal(a.configfile, "x.yml");
	assert_string_equal(a.program, "patroni");
	args_parse(4, (char *[]){ p, f, ip, v, NULL }, &a);
	assert_int_equal(a.mode, MODE_VALIDATE);
	assert_true(a.print && a.ignore_listen_port);
	args_parse(3, (char *[]){ p, v, g, NULL }, &a);
	assert_int_equal(a.mode, MODE_EXIT);
	assert_int_equal(a.code, 2);
	args_parse(3, (char *[]){ p, g, d, NULL }, &a);
	assert_int_equal(a.mode, MODE_GENERATE);
	assert_string_equal(a.dsn, "host=x");
	args_parse(3, (char *[]){ p, f, f, NULL }, &a);
	assert_int_equal(a.code, 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_args),
		cmocka_unit_test(test_listen_split),
		cmocka_unit_test(test_listen_open),
		T(test_start),
		T(test_restart),
		T(test_backoff),
		T(test_garbage),
		T(test_successor),
		T(test_successor_alone),
		T(test_fall_back),
		T(test_stop_order),
		T(test_controller_dies_stopping),
		T(test_stop_with_dead_helper),
		T(test_stop_hung_helper),
		T(test_stop_hung_rest),
		T(test_stop_busy_rest),
		T(test_orphans),
		T(test_control),
		T(test_control_action),
		T(test_control_malformed),
		T(test_control_stale),
		T(test_log_rotation),
		T(test_device),
		T(test_notify),
	};

	if (argc > 0 && strncmp(argv[0], "patroni: ", 9) == 0)
		return fake_main(argv[0] + 9);
	log_init("test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
