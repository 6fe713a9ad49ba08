/*
 * master.c: start of the daemon, its loop, signals, reload, orderly stop.
 */
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../helpers/sandbox.h"
#include "../helpers/scripts.h"
#include "../helpers/test_acts.h"
#include "../ipc/clock.h"
#include "../ipc/version.h"
#include "libexec.h"
#include "master.h"

#define LISTEN_WAIT (5 * NS_PER_SEC) /* for a predecessor to let go of it */
#define LISTEN_RETRY (100 * NS_PER_MS)

/* The controller first, with everything it needs still up: it stops
 * PostgreSQL and releases the lock.  The keeper last. */
static const enum proc stop_order[] = { PROC_POSTGRES, PROC_REST, PROC_DCS,
	PROC_WATCHDOG };
#define NSTOP (sizeof(stop_order) / sizeof(stop_order[0]))

/* ---- helper executables ---- */

static bool
has_helpers(const char *dir)
{
	char path[PATH_SIZE];
	int p;

	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		if (!spawn_path(dir, (enum proc)p, path, sizeof(path)) ||
		    access(path, X_OK) == -1)
			return false;
	return true;
}

bool
master_find_libexec(char *out, size_t size)
{
	char self[PATH_SIZE], *slash;
	ssize_t n;

	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		if ((slash = strrchr(self, '/')) != NULL) {
			*slash = '\0';
			if (has_helpers(self))
				return text_set(out, size, self);
		}
	}
	return has_helpers(LIBEXECDIR) && text_set(out, size, LIBEXECDIR);
}

/* ---- progress of start, reload and stop ---- */

static void
stop_finished(struct master *m)
{
	m->phase = PHASE_DONE;
	log_debug("all helpers have ended");
}

/* Is that helper gone for good? */
static bool
stop_one(struct master *m, enum proc proc)
{
	struct helper_proc *h = &m->helpers[proc];
	/* How long PostgreSQL may take to stop is the controller's matter. */
	int64_t grace = proc == PROC_POSTGRES ? 0 : STOP_GRACE;

	if (h->pid == 0 && h->restart_ns == 0) {
		if (proc == PROC_POSTGRES && !h->stopped) {
			log_error("the PostgreSQL controller cannot be "
				  "started, PostgreSQL is left as it is");
			if (m->exit_code == 0)
				m->exit_code = 1;
		}
		return true;
	}
	if (h->link != NULL)
		supervise_ask_stop(m, proc, grace);
	return false;
}

static void
stop_progress(struct master *m)
{
	/* A link lost on the way must not be handled inside this loop. */
	while (
	    m->stop_index < NSTOP && stop_one(m, stop_order[m->stop_index])) {
		m->helpers[stop_order[m->stop_index]].restart_ns = 0;
		m->stop_index++;
		/* The rest is not started again from here on. */
		for (uint32_t i = m->stop_index; i < NSTOP; i++)
			m->helpers[stop_order[i]].restart_ns = 0;
	}
	if (m->stop_index == NSTOP)
		stop_finished(m);
}

void
master_progress(struct master *m)
{
	char text[64];

	if (m->phase == PHASE_STOPPING) {
		stop_progress(m);
		return;
	}
	if (m->phase == PHASE_STARTING && supervise_all_ready(m)) {
		m->phase = PHASE_RUNNING;
		(void)snprintf(
		    text, sizeof(text), "READY=1\nMAINPID=%d", (int)getpid());
		notify_send(m, text);
		notify_status(m);
	}
	if (m->reload_until_ns != 0 && m->phase == PHASE_RUNNING &&
	    supervise_all_at(m, m->generation)) {
		m->reload_until_ns = 0;
		notify_send(m, "READY=1");
	}
}

void
master_stop(struct master *m, int exit_code)
{
	if (exit_code != 0 && m->exit_code == 0)
		m->exit_code = exit_code;
	if (m->phase >= PHASE_STOPPING)
		return;
	m->phase = PHASE_STOPPING;
	m->reload_until_ns = 0;
	if (m->candidate)
		successor_drop(m);
	notify_send(m, "STOPPING=1");
	notify_status(m);
	/*
	 * The API is closed before PostgreSQL is stopped (spec/rest-api.md
	 * 2.6), here as well, or the kernel would go on accepting.  Requests
	 * in progress are answered while the controller works.
	 */
	if (m->listen_fd != -1) {
		close(m->listen_fd);
		m->listen_fd = -1;
	}
	supervise_ask_stop(m, PROC_REST, 0);
	stop_progress(m);
}

/* ---- reload ---- */

/* True when there is a new listener. */
static bool
rebind(struct master *m)
{
	const char *text =
	    tree_path_text(m->conf->effective, "restapi.listen", "");
	int backlog = (int)tree_path_int(
	    m->conf->effective, "restapi.request_queue_size", 5);
	int fd, error;

	if (strcmp(text, m->listen_addr) == 0)
		return false;
	/* A host name is resolved here; the master may wait for that, nobody
	 * waits for the master. */
	if ((fd = listen_open(text, backlog, &error)) == -1) {
		log_error("Couldn't start a service on '%s', please check your "
			  "`restapi.listen` configuration: %s",
		    text, error != 0 ? strerror(error) : "unknown host");
		return false; /* the old listener stays */
	}
	close(m->listen_fd);
	m->listen_fd = fd;
	return text_set(m->listen_addr, sizeof(m->listen_addr), text);
}

static void
reload_log(struct master *m)
{
	bool switched;

	if (!logfile_configure(&m->log, m->conf, &switched))
		log_error("Could not write to log.dir: %s", strerror(errno));
	supervise_log_settings(m, switched ? STDERR_FILENO : -1);
}

void
master_reload(struct master *m)
{
	struct conf_notes notes;
	struct conf *conf;
	bool changed = false, failed;

	if (m->phase >= PHASE_STOPPING)
		return;
	notify_reloading(m);
	memset(&notes, 0, sizeof(notes));
	conf = conf_reload(m->conf, m->env, &changed, &notes);
	failed = conf == NULL && notes.errors > 0;
	conf_notes_log(&notes);
	conf_notes_free(&notes);
	if (failed)
		log_error("Exception when reloading local configuration from "
			  "%s",
		    m->conf->path);
	else if (conf != NULL) { /* NULL: environment alone, never read again */
		if (!changed)
			log_info("No local configuration items changed.");
		if (m->accepted == NULL)
			m->accepted = m->conf;
		else
			conf_free(m->conf);
		m->conf = conf;
	}
	/* Handed out also when it is the same: PostgreSQL's files are written
	 * anew at every SIGHUP (spec/config.md 8). */
	m->generation++;
	m->reload_until_ns = clock_boot_ns() + RELOAD_GRACE;
	reload_log(m);
	supervise_reconfigure(m, rebind(m));
}

/* ---- signals, timers, loop ---- */

static void
on_signal(struct master *m, int sig)
{
	switch (sig) {
	case SIGCHLD:
		supervise_reap(m);
		break;
	case SIGHUP:
		master_reload(m);
		break;
	case SIGTERM:
	case SIGINT:
		master_stop(m, 0);
		break;
	}
}

static void
on_signals(struct master *m)
{
	struct signalfd_siginfo si;

	while (read(m->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		on_signal(m, (int)si.ssi_signo);
}

static int64_t
earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
next_deadline(const struct master *m)
{
	int64_t next = earliest(supervise_next(m), control_next(m));

	if (m->reload_until_ns != 0)
		next = earliest(next, m->reload_until_ns);
	if (m->watchdog_every_ns != 0)
		next = earliest(next, m->watchdog_ns);
	if (m->log.dir[0] != '\0' && m->log.size > 0 && m->log.num > 0)
		next = earliest(next, m->log.check_ns);
	return next;
}

static void
timers(struct master *m, int64_t now)
{
	supervise_timers(m, now);
	control_timers(m, now);
	notify_timers(m, now);
	if (logfile_check(&m->log, now))
		supervise_log_settings(m, STDERR_FILENO);
	if (m->reload_until_ns != 0 && now >= m->reload_until_ns) {
		log_warn("Not every helper has answered to the reload");
		m->reload_until_ns = 0;
		if (m->phase == PHASE_RUNNING)
			notify_send(m, "READY=1");
	}
}

/* Stands for the second rest process; the master has no entry of its own. */
#define BESIDE PROC_MASTER

static uint32_t
poll_helpers(struct master *m, struct pollfd *pfd, enum proc *who)
{
	uint32_t n = 0;
	int p;

	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++) {
		struct link *link = m->helpers[p].link;

		if (link == NULL)
			continue;
		pfd[n].fd = link_fd(link);
		pfd[n].events = POLLIN;
		if (link_wants_write(link))
			pfd[n].events |= POLLOUT;
		who[n++] = (enum proc)p;
	}
	if (m->beside.link != NULL) {
		pfd[n].fd = link_fd(m->beside.link);
		pfd[n].events = POLLIN;
		if (link_wants_write(m->beside.link))
			pfd[n].events |= POLLOUT;
		who[n++] = BESIDE;
	}
	return n;
}

/* An entry whose link was replaced meanwhile is looked at again next time. */
static void
helper_event(struct master *m, const struct pollfd *pfd, enum proc who)
{
	const struct helper_proc *h =
	    who == BESIDE ? &m->beside : &m->helpers[who];

	if (pfd->revents == 0 || h->link == NULL || link_fd(h->link) != pfd->fd)
		return;
	if (who == BESIDE)
		successor_readable(m, pfd->revents);
	else
		supervise_readable(m, who, pfd->revents);
}

void
master_round(struct master *m)
{
	struct pollfd pfd[1 + PROC_COUNT + 1 + CTL_MAX_CLIENTS];
	enum proc who[PROC_COUNT];
	struct timespec ts = { 0, 0 }, *timeout = NULL;
	int64_t next = next_deadline(m), wait;
	uint32_t i, nhelpers, nctl;

	pfd[0].fd = m->signal_fd;
	pfd[0].events = POLLIN;
	nhelpers = poll_helpers(m, pfd + 1, who);
	nctl = control_poll(m, pfd + 1 + nhelpers);
	if (next != INT64_MAX) {
		wait = next - clock_boot_ns();
		if (wait > 0) {
			ts.tv_sec = wait / NS_PER_SEC;
			ts.tv_nsec = wait % NS_PER_SEC;
		}
		timeout = &ts;
	}
	if (ppoll(pfd, 1 + nhelpers + nctl, timeout, NULL) == -1) {
		if (errno != EINTR)
			fatal("ppoll: %m");
		return;
	}
	/* Links before deaths: what a helper said last still counts. */
	for (i = 0; i < nhelpers; i++)
		helper_event(m, &pfd[1 + i], who[i]);
	if (pfd[0].revents != 0)
		on_signals(m);
	control_events(m, pfd + 1 + nhelpers, nctl);
	timers(m, clock_boot_ns());
}

void
master_loop(struct master *m)
{
	while (m->phase != PHASE_DONE)
		master_round(m);
}

/* ---- start ---- */

void
master_init(struct master *m)
{
	int p;

	memset(m, 0, sizeof(*m));
	m->signal_fd = m->listen_fd = m->notify_fd = m->control_fd = -1;
	m->cgroup_procs = m->cgroup_kill = -1;
	m->log.stderr_fd = -1;
	m->generation = 1;
	m->next_id = 1;
	m->started_ns = clock_boot_ns();
	for (p = 0; p < PROC_COUNT; p++)
		m->helpers[p].proc = (enum proc)p;
	m->beside.proc = PROC_REST;
}

void
master_signals(struct master *m)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1 ||
	    signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		fatal("signals: %m");
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signal_fd == -1)
		fatal("signalfd: %m");
}

/* Did somebody ask us to stop within `ns`? */
static bool
asked_to_stop(struct master *m, int64_t ns)
{
	struct pollfd pfd = { m->signal_fd, POLLIN, 0 };
	struct timespec ts = { ns / NS_PER_SEC, ns % NS_PER_SEC };
	struct signalfd_siginfo si;

	(void)ppoll(&pfd, 1, &ts, NULL);
	while (read(m->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
			return true;
	return false;
}

/*
 * After the death of a master its rest helper may hold the port for a moment
 * longer: wait for that, but answer to signals.
 */
static bool
bind_rest(struct master *m)
{
	const char *text =
	    tree_path_text(m->conf->effective, "restapi.listen", "");
	int backlog = (int)tree_path_int(
	    m->conf->effective, "restapi.request_queue_size", 5);
	int64_t until = clock_boot_ns() + LISTEN_WAIT;
	int error;

	for (;;) {
		m->listen_fd = listen_open(text, backlog, &error);
		if (m->listen_fd != -1)
			return text_set(
			    m->listen_addr, sizeof(m->listen_addr), text);
		if (error != EADDRINUSE || clock_boot_ns() >= until)
			break;
		if (asked_to_stop(m, LISTEN_RETRY))
			return false;
	}
	log_critical("Couldn't start a service on '%s', please check your "
		     "`restapi.listen` configuration: %s",
	    text, error != 0 ? strerror(error) : "unknown host");
	return false;
}

static struct conf *
load(struct master *m, const char *configfile)
{
	struct conf_notes notes;
	struct log_settings settings;
	struct conf *conf = NULL;

	memset(&notes, 0, sizeof(notes));
	if ((m->env = conf_env_take(&notes)) != NULL)
		conf = conf_load(configfile, m->env, 0, &notes);
	if (conf != NULL) {
		conf_log_settings(conf, PROC_MASTER, &settings);
		log_configure(&settings);
		conf_notes_log(&notes);
	} else
		conf_notes_print_errors(&notes, stderr);
	conf_notes_free(&notes);
	if (conf != NULL && conf_store(conf) == NULL) {
		fprintf(stderr, "%s\n", STORE_MISSING);
		conf_free(conf);
		conf = NULL;
	}
	return conf;
}

static bool
open_log(struct master *m)
{
	bool switched;

	if (logfile_configure(&m->log, m->conf, &switched))
		return true;
	log_critical("cannot write to log.dir %s: %s",
	    tree_path_text(m->conf->effective, "log.dir", ""), strerror(errno));
	return false;
}

static void
confine(struct master *m)
{
	if (m->no_sandbox)
		log_warn("--no-sandbox: the processes of this daemon are not "
			 "confined");
	else {
		spawn_allow(m);
		if (scripts_need_setuid(m->conf->effective))
			sandbox_allow_setuid();
		m->sandbox = sandbox_enter(PROC_MASTER, NULL);
		test_acts_run(PROC_MASTER);
	}
}

static void
clean_up(struct master *m)
{
	control_close(m);
	if (m->listen_fd != -1)
		close(m->listen_fd);
	files_close(m);
	cgroup_close(m);
	tree_free(m->allowlist);
	conf_free(m->accepted);
	conf_free(m->conf);
	conf_env_free(m->env);
}

int
master_run(const struct args *args, const char *libexec)
{
	static struct master m;

	master_init(&m);
	m.no_sandbox = args->no_sandbox;
	if (!text_set(m.libexec, sizeof(m.libexec), libexec))
		fatal("path too long: %s", libexec);
	if ((m.conf = load(&m, args->configfile)) == NULL) {
		conf_env_free(m.env);
		return 1;
	}
	master_signals(&m);
	/* An orphaned postmaster stays below us (design 2). */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L) == -1)
		log_warn("PR_SET_CHILD_SUBREAPER: %s", strerror(errno));
	notify_open(&m);
	m.exit_code = 1;
	if (privileges_resolve(m.conf, &m.accounts) && bind_rest(&m)) {
		control_open(&m);
		files_keep(&m);
		cgroup_open(&m);
		if (privileges_drop(m.conf, &m.accounts) && open_log(&m)) {
			m.exit_code = 0;
			confine(&m);
			log_info("patroni %s is starting as node %s",
			    PROGRAM_VERSION,
			    tree_path_text(m.conf->effective, "name", ""));
			supervise_start_all(&m);
			master_loop(&m);
		}
	}
	clean_up(&m);
	return m.exit_code;
}
