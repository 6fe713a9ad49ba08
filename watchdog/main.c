/*
 * main.c: process of the lease keeper: its loop, links and what the state
 * machine (keeper.c) asks for.  libc and ipc only; memory locked; nothing
 * here waits but ppoll(2).
 */
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../ipc/clock.h"
#include "../ipc/messages.h"
#include "acts.h"
#include "fence.h"
#include "keeper.h"
#include "sandbox_bpf.h"

#define MASTER_FD 3
#define LINK_QUEUE (256 * 1024)
#define HEAP_RESERVE (32 * 1024)
#define LOCK_ALL_FROM (16u * 1024 * 1024) /* RLIMIT_MEMLOCK, bytes */
#define NICE (-15)

struct process {
	struct keeper keeper;
	struct fence fence;
	struct link *master, *postgres;
	int timer;
	int64_t timer_at;
	bool no_sandbox, configured, ending, info_due;
	struct msg_helper_info told; /* to the master */
	int64_t told_ns;
	bool postmaster_watched; /* its pidfd has not fired yet */
	int exit_code;
	uint32_t sandbox;
	uint64_t serial;
	enum fence_role role;
	pid_t role_pid;
};

static struct process proc;

/* ---- what keeper.c asks for ---- */

static void
to_master(uint16_t type, uint64_t id, const void *body)
{
	if (proc.master != NULL)
		(void)link_send(proc.master, type, 0, id, 0, body, NULL, 0, -1);
}

static void
op_open_device(void *arg, const char *path)
{
	struct msg_device_open m;

	(void)arg;
	memset(&m, 0, sizeof(m));
	(void)text_set(m.path, sizeof(m.path), path);
	to_master(MSG_DEVICE_OPEN, ++proc.serial, &m);
}

static bool
op_device_exists(void *arg, const char *path)
{
	(void)arg;
	return access(path, F_OK) == 0;
}

static void
op_close_fd(void *arg, int fd)
{
	(void)arg;
	close(fd);
}

static void
op_quit(void *arg)
{
	(void)arg;
	fence_quit(&proc.fence);
}

static int
op_kill(void *arg)
{
	(void)arg;
	return fence_kill(&proc.fence);
}

static bool
op_alive(void *arg)
{
	(void)arg;
	return fence_alive(&proc.fence);
}

static bool
op_superseded(void *arg)
{
	(void)arg;
	return fence_superseded(&proc.fence);
}

static void
op_state(void *arg, uint64_t id, const struct msg_wd_state *m)
{
	(void)arg;
	if (proc.postgres != NULL)
		(void)link_send(proc.postgres, MSG_WD_STATE,
		    id != 0 ? IPC_FLAG_REPLY : 0, id, 0, m, NULL, 0, -1);
}

static void
op_changed(void *arg)
{
	(void)arg;
	proc.info_due = true;
}

static void
op_exit(void *arg, int code)
{
	struct msg_stopped m = { .exit_code = code };

	(void)arg;
	to_master(MSG_STOPPED, 0, &m);
	proc.ending = true;
	proc.exit_code = code;
}

static const struct keeper_ops keeper_ops = {
	.open_device = op_open_device,
	.device_exists = op_device_exists,
	.close_fd = op_close_fd,
	.fence_quit = op_quit,
	.fence_kill = op_kill,
	.fence_alive = op_alive,
	.superseded = op_superseded,
	.state = op_state,
	.changed = op_changed,
	.exit = op_exit,
};

/* ---- what the master is told ---- */

/*
 * The master is woken for what it does not know: a change, a lease of which
 * it would show less than three quarters, or the count of grants of a while.
 */
#define INFO_INTERVAL (10 * NS_PER_SEC)

static bool
worth_telling(const struct msg_helper_info *m)
{
	const struct msg_helper_info *was = &proc.told;
	int64_t now = clock_boot_ns();

	if (now - proc.told_ns >= INFO_INTERVAL || proc.told_ns == 0 ||
	    m->armed != was->armed || m->fenced != was->fenced ||
	    m->sandbox != was->sandbox || strcmp(m->text, was->text) != 0)
		return true;
	if (m->lease_end_ns == 0 || was->lease_end_ns == 0)
		return m->lease_end_ns != was->lease_end_ns;
	return was->lease_end_ns - now < (m->lease_end_ns - now) / 4 * 3;
}

/* What is not told now stays due: the next wake-up looks again. */
static void
send_info(bool asked)
{
	const struct keeper *k = &proc.keeper;
	struct msg_helper_info m;

	if (proc.master == NULL || !proc.configured)
		return;
	memset(&m, 0, sizeof(m));
	m.loops = k->grants;
	m.lease_end_ns = k->lease_end;
	m.queue_bytes =
	    proc.postgres == NULL ? 0 : (uint32_t)link_queued(proc.postgres);
	m.sandbox = proc.sandbox;
	m.armed = k->stage != FENCE_IDLE;
	m.fenced = k->fences;
	(void)snprintf(m.text, sizeof(m.text), "%s", k->text);
	if (!asked && !worth_telling(&m))
		return;
	proc.info_due = false;
	proc.told = m;
	proc.told_ns = clock_boot_ns();
	(void)link_send_newest(proc.master, MSG_HELPER_INFO, &m, NULL, 0);
}

/* ---- configuration ---- */

static enum watchdog_mode
read_mode(const struct tree *t)
{
	const char *mode = tree_path_text(t, "watchdog.mode", NULL);

	if (mode == NULL)
		return tree_path_bool(t, "watchdog.mode", true) ?
		    WATCHDOG_AUTOMATIC :
		    WATCHDOG_OFF;
	if (strcmp(mode, "required") == 0)
		return WATCHDOG_REQUIRED;
	return strcmp(mode, "automatic") == 0 ? WATCHDOG_AUTOMATIC :
						WATCHDOG_OFF;
}

static const char *
read_config(const struct tree *t, struct keeper_config *c)
{
	const char *driver = tree_path_text(t, "watchdog.driver", "default");
	int64_t margin = tree_path_int(t, "watchdog.safety_margin", 5);

	memset(c, 0, sizeof(*c));
	c->mode = read_mode(t);
	c->driver = strcmp(driver, "default") == 0 ? DRIVER_LINUX :
	    strcmp(driver, "testing") == 0	   ? DRIVER_TESTING :
						     DRIVER_NONE;
	c->fence = tree_path_bool(t, "watchdog.fence", true);
	if (margin < -1 || margin > 86400)
		return "watchdog.safety_margin is out of range";
	c->safety_margin = (int32_t)margin;
	if (!text_set(c->device, sizeof(c->device),
		tree_path_text(t, "watchdog.device", "/dev/watchdog")))
		return "watchdog.device is too long";
	return NULL;
}

static const char *
configure(const struct ipc_msg *msg)
{
	struct keeper_config c;
	struct tree *t =
	    msg->var == NULL ? NULL : tree_decode(msg->var, msg->hdr.var_len);
	const char *refused;
	int64_t ttl;

	if (t == NULL)
		return "malformed configuration";
	refused = read_config(t, &c);
	ttl = tree_path_int(t, "ttl", 30);
	tree_free(t);
	if (refused != NULL)
		return refused;
	if (ttl < 1 || ttl > 86400)
		ttl = 30;
	return keeper_configure(
	    &proc.keeper, &c, (int32_t)ttl, clock_boot_ns());
}

static void
on_config(const struct ipc_msg *msg)
{
	const struct msg_config *c = msg->body;
	const char *refused = configure(msg);
	struct msg_ready ready;

	if (refused == NULL && !proc.configured) {
		proc.configured = true;
		if (proc.no_sandbox)
			log_debug("no sandbox");
		else
			proc.sandbox = keeper_sandbox(proc.fence.proc);
		keeper_acts();
	}
	memset(&ready, 0, sizeof(ready));
	ready.generation = c->generation;
	ready.ok = refused == NULL;
	if (refused != NULL)
		(void)snprintf(ready.text, sizeof(ready.text), "%s", refused);
	to_master(MSG_READY, 0, &ready);
	proc.info_due = true;
}

/* ---- messages ---- */

static void
on_link(struct ipc_msg *msg)
{
	const struct msg_link *m = msg->body;
	struct link *link;

	if (msg->fd == -1 || m->peer != PROC_POSTGRES) {
		log_error("watchdog: unusable LINK message");
		return;
	}
	link = link_open(msg->fd, PROC_WATCHDOG, PROC_POSTGRES, LINK_QUEUE);
	if (link == NULL) {
		log_error("watchdog: link to postgres: out of memory");
		return;
	}
	msg->fd = -1;
	link_close(proc.postgres);
	proc.postgres = link;
}

static void
on_log_settings(const struct ipc_msg *msg)
{
	const struct msg_log_settings *m = msg->body;

	log_configure(&m->s);
	if (msg->fd != -1 && dup2(msg->fd, STDERR_FILENO) == -1)
		log_error("new log file: %s", strerror(errno));
}

static void
on_descriptor(struct ipc_msg *msg)
{
	const struct msg_descriptor *m = msg->body;
	int fd = msg->fd;

	if (m->kind == DESCRIPTOR_CGROUP_KILL && fd != -1) {
		if (proc.fence.cgroup_kill != -1)
			close(proc.fence.cgroup_kill);
		proc.fence.cgroup_kill = fd;
		msg->fd = -1;
		return;
	}
	if (m->kind != DESCRIPTOR_WATCHDOG)
		return;
	msg->fd = -1;
	keeper_device_opened(&proc.keeper, fd,
	    m->error != 0 || fd != -1 ? m->error : EIO, clock_boot_ns());
}

static void
from_master(struct ipc_msg *msg)
{
	switch (msg->hdr.type) {
	case MSG_LINK:
		on_link(msg);
		break;
	case MSG_CONFIG:
		on_config(msg);
		break;
	case MSG_LOG_SETTINGS:
		on_log_settings(msg);
		break;
	case MSG_SHUTDOWN:
		keeper_shutdown(&proc.keeper, clock_boot_ns());
		break;
	case MSG_INFO_ASK:
		send_info(true);
		break;
	case MSG_DESCRIPTOR:
		if (proc.configured)
			on_descriptor(msg);
		break;
	default: /* the catalogue lets nothing else pass */
		break;
	}
}

static void
on_arm(struct ipc_msg *msg)
{
	const struct msg_wd_arm *m = msg->body;
	struct msg_wd_state refusal;
	int64_t now = clock_boot_ns();

	/* The processes of a fence under way are kept until they are gone; if
	 * there is a new postmaster already, what is left of the old goes now.
	 */
	if (proc.keeper.stage >= FENCE_QUIT &&
	    proc.keeper.pid != m->postmaster_pid)
		(void)fence_kill(&proc.fence);
	if (!keeper_fencing(&proc.keeper, m->postmaster_pid)) {
		if (msg->fd == -1 ||
		    !fence_target(&proc.fence, m->postmaster_pid, msg->fd)) {
			log_error("fence: no valid pidfd of postmaster %d",
			    (int)m->postmaster_pid);
			if (msg->fd == -1)
				fence_forget(&proc.fence);
			msg->fd = -1;
			keeper_postmaster_gone(&proc.keeper, now);
			keeper_state(&proc.keeper, &refusal);
			op_state(NULL, msg->hdr.id, &refusal);
			return;
		}
		msg->fd = -1;
		proc.postmaster_watched = true;
	}
	keeper_arm(&proc.keeper, msg->hdr.id, m, msg->hdr.deadline_ns, now);
}

static void
from_postgres(struct ipc_msg *msg)
{
	int64_t now = clock_boot_ns();

	switch (msg->hdr.type) {
	case MSG_WD_SETTINGS:
		keeper_settings(&proc.keeper, msg->hdr.id, msg->body, now);
		break;
	case MSG_WD_ARM:
		on_arm(msg);
		break;
	case MSG_WD_GRANT:
		keeper_grant(&proc.keeper, msg->hdr.id, msg->body, now);
		break;
	case MSG_WD_DISARM:
		keeper_disarm(&proc.keeper, msg->hdr.id, msg->body, now);
		break;
	default: /* the catalogue lets nothing else pass */
		break;
	}
}

/* ---- loop ---- */

/* All that has arrived.  False when the link is of no use any more. */
static bool
receive(struct link *l, void (*take)(struct ipc_msg *))
{
	struct ipc_msg msg;
	int got, rc;

	do {
		got = link_read(l);
		while ((rc = link_next(l, &msg)) == 1) {
			take(&msg);
			if (msg.fd != -1)
				close(msg.fd);
		}
		if (rc == -1) {
			log_error("watchdog: %s", link_error(l));
			return false;
		}
	} while (got == 1);
	return got == 0 && link_flush(l) == 0;
}

static void
lost_master(void)
{
	link_close(proc.master);
	proc.master = NULL;
	keeper_master_lost(&proc.keeper, clock_boot_ns());
}

static void
lost_postgres(bool broke)
{
	struct msg_notify m = { .kind = NOTIFY_BROKEN_PEER,
		.value = PROC_POSTGRES };

	/* Lease and fence stay: a new controller will arm again. */
	link_close(proc.postgres);
	proc.postgres = NULL;
	if (broke)
		to_master(MSG_NOTIFY, 0, &m);
}

static void
serve_links(short master, short postgres)
{
	struct link *before = proc.postgres;

	if (master != 0 && proc.master != NULL &&
	    !receive(proc.master, from_master))
		lost_master();
	/* from the link that was polled, and not before the configuration */
	if (postgres != 0 && proc.postgres != NULL && proc.postgres == before &&
	    !receive(proc.postgres, from_postgres))
		lost_postgres(strstr(link_error(before), "protocol") != NULL);
}

static void
set_timer(void)
{
	struct itimerspec its;
	int64_t at = keeper_next(&proc.keeper);

	if (at == INT64_MAX)
		at = 0;
	else if (at <= 0)
		at = 1;
	if (at == proc.timer_at)
		return;
	memset(&its, 0, sizeof(its));
	its.it_value.tv_sec = at / NS_PER_SEC;
	its.it_value.tv_nsec = at % NS_PER_SEC;
	if (timerfd_settime(proc.timer, TFD_TIMER_ABSTIME, &its, NULL) == -1)
		fatal("timerfd_settime: %s", strerror(errno));
	proc.timer_at = at;
}

static void
announce(void)
{
	const struct keeper *k = &proc.keeper;
	enum fence_role role = k->orphan ? FENCE_ROLE_ORPHAN :
	    k->stage != FENCE_IDLE	 ? FENCE_ROLE_ARMED :
					   FENCE_ROLE_IDLE;

	if (role == proc.role && k->pid == proc.role_pid)
		return;
	proc.role = role;
	proc.role_pid = k->pid;
	fence_announce(role, k->pid);
}

static struct pollfd
poll_link(const struct link *l, bool readable)
{
	struct pollfd p = { .fd = -1 };

	if (l == NULL)
		return p;
	p.fd = link_fd(l);
	p.events = (short)((readable ? POLLIN : 0) |
	    (link_wants_write(l) ? POLLOUT : 0));
	return p;
}

/* Everything that arrived is handed in before time is looked at: a grant in
 * the queue counts, however late this process was woken. */
static void
turn(void)
{
	struct pollfd p[4] = { poll_link(proc.master, true),
		poll_link(proc.postgres, proc.configured),
		{ .fd = proc.timer, .events = POLLIN },
		{ .fd = proc.postmaster_watched ? proc.fence.pidfd : -1,
		    .events = POLLIN } };
	uint64_t count;

	if (ppoll(p, 4, NULL, NULL) == -1) {
		if (errno != EINTR)
			fatal("ppoll: %s", strerror(errno));
		return;
	}
	serve_links(p[0].revents, p[1].revents);
	if (p[2].revents != 0 && read(proc.timer, &count, sizeof(count)) > 0)
		proc.timer_at = 0;
	if (proc.postmaster_watched && fence_postmaster_gone(&proc.fence)) {
		proc.postmaster_watched = false;
		keeper_postmaster_gone(&proc.keeper, clock_boot_ns());
	}
	keeper_tick(&proc.keeper, clock_boot_ns());
	announce();
	if (proc.info_due)
		send_info(false);
	set_timer();
}

/* ---- start ---- */

/* Run on when the host is starving; without the right to, as it is. */
static void
claim_resources(void)
{
	struct sched_param sp = { .sched_priority = 1 };
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max; /* a pidfd for each child */
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &sp) == -1 &&
	    setpriority(PRIO_PROCESS, 0, NICE) == -1)
		log_debug("watchdog: no raised priority: %s", strerror(errno));
#ifndef SANITIZED
	/* With a small limit, memory that comes later could not be had. */
	if (getrlimit(RLIMIT_MEMLOCK, &rl) == -1 ||
	    mlockall(rl.rlim_cur >= LOCK_ALL_FROM ? MCL_CURRENT | MCL_FUTURE :
						    MCL_CURRENT) == -1)
		log_debug("watchdog: memory not locked: %s", strerror(errno));
#endif
}

static void
ignore_signals(void)
{
	/* Only the master ends the keeper; a signal to the whole control group
	 * must not take the fence away from a primary that still runs. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
}

static void
start(int argc, char **argv)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	/* locked as a whole: a reserve for what comes, but a small one */
	(void)mallopt(M_TOP_PAD, HEAP_RESERVE);
	log_init("watchdog");
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--no-sandbox") != 0)
			fatal("unknown argument %s", argv[i]);
		proc.no_sandbox = true;
	}
	ignore_signals();
	if (getsockopt(MASTER_FD, SOL_SOCKET, SO_DOMAIN, &domain, &len) == -1 ||
	    domain != AF_UNIX)
		fatal("this program is started by patroni, not by hand");
	if (!fence_init(&proc.fence))
		fatal("/proc: %s", strerror(errno));
	proc.timer = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	proc.master =
	    link_open(MASTER_FD, PROC_WATCHDOG, PROC_MASTER, LINK_QUEUE);
	if (proc.timer == -1 || proc.master == NULL)
		fatal("start: %s", strerror(errno));
	keeper_init(&proc.keeper, &keeper_ops, NULL);
	tzset(); /* libc reads the zone once, while it still may */
	claim_resources();
}

int
main(int argc, char **argv)
{
	start(argc, argv);
	while (!proc.ending)
		turn();
	if (proc.master != NULL)
		(void)link_flush(proc.master);
	link_close(proc.postgres);
	link_close(proc.master);
	/* not exit(3): a leak check of the sanitizers hangs in the sandbox */
	_exit(proc.exit_code);
}
