/*
 * child.c: programs and forked workers, seen by pidfd, cut off by a timer.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../ipc/clock.h"
#include "../../ipc/coredump.h"
#include "../../ipc/log.h"
#include "child.h"
#include "proc.h"

extern char **environ;

#define MAX_DESCENDANTS 512

struct capture {
	int fd;
	struct event *ev;
	char *buf;
	size_t len;
	size_t line; /* where the last line begins */
	bool (*filter)(const char *, void *);
	void *arg;
};

struct child {
	struct event_base *base;
	pid_t pid;
	int pidfd;
	int error_fd; /* errno of a failed exec comes through here */
	struct event *ev_end;
	struct event *ev_timer;
	struct capture out, err;
	bool timed_out, cancelled, killed;
	struct proc_entry *brood; /* descendants at the time of a cancel */
	size_t nbrood;
	child_cb cb;
	void *arg;
};

static void
capture_close(struct capture *c)
{
	if (c->ev != NULL)
		event_free(c->ev);
	if (c->fd != -1)
		close(c->fd);
	c->ev = NULL;
	c->fd = -1;
}

/* Offer the complete lines to the filter. */
static void
capture_filter(struct capture *c)
{
	size_t i, next;
	char end;

	for (i = c->line; i < c->len; i++) {
		if (c->buf[i] != '\n' && c->buf[i] != '\r')
			continue;
		next = i + 1;
		end = c->buf[i];
		c->buf[i] = '\0';
		if (c->filter(c->buf + c->line, c->arg)) {
			memmove(c->buf + c->line, c->buf + next, c->len - next);
			c->len -= next - c->line;
			i = c->line - 1;
			continue;
		}
		c->buf[i] = end;
		c->line = next;
	}
}

static void
capture_read(struct capture *c)
{
	char drain[4096];
	ssize_t n;

	for (;;) {
		size_t room = CHILD_CAPTURE_MAX - c->len;

		/* beyond the bound read on, or the child would block */
		if (room > 0)
			n = read(c->fd, c->buf + c->len, room);
		else
			n = read(c->fd, drain, sizeof drain);
		if (n > 0) {
			if (room > 0)
				c->len += (size_t)n;
			if (room > 0 && c->filter != NULL)
				capture_filter(c);
			continue;
		}
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == EAGAIN)
			return;
		capture_close(c);
		return;
	}
}

static void
on_output(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	capture_read(arg);
}

static void
child_free(struct child *c)
{
	capture_close(&c->out);
	capture_close(&c->err);
	free(c->out.buf);
	free(c->err.buf);
	if (c->ev_end != NULL)
		event_free(c->ev_end);
	if (c->ev_timer != NULL)
		event_free(c->ev_timer);
	if (c->pidfd != -1)
		close(c->pidfd);
	if (c->error_fd != -1)
		close(c->error_fd);
	free(c->brood);
	free(c);
}

/* Once it has ended, nobody can say any more which processes were its. */
static void
note_brood(struct child *c)
{
	if (c->brood == NULL)
		c->brood = calloc(MAX_DESCENDANTS, sizeof *c->brood);
	c->nbrood = c->brood != NULL ?
	    proc_children(c->pid, true, c->brood, MAX_DESCENDANTS) :
	    0;
}

static void
kill_brood(struct child *c)
{
	size_t i;

	for (i = 0; i < c->nbrood; i++)
		proc_signal(&c->brood[i], SIGKILL);
	c->nbrood = 0;
}

static void
kill_tree(struct child *c)
{
	proc_pidfd_signal(c->pidfd, SIGSTOP);
	note_brood(c);
	proc_pidfd_signal(c->pidfd, SIGKILL);
	kill_brood(c);
}

static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;
	struct child_end end;
	siginfo_t si;
	int e;

	(void)fd;
	(void)what;
	memset(&si, 0, sizeof si);
	if (waitid(P_PID, (id_t)c->pid, &si, WEXITED | WNOHANG) == -1 ||
	    si.si_pid == 0)
		return;
	kill_brood(c);
	if (c->out.fd != -1)
		capture_read(&c->out);
	if (c->err.fd != -1)
		capture_read(&c->err);
	memset(&end, 0, sizeof end);
	end.started = true;
	if (read(c->error_fd, &e, sizeof e) == (ssize_t)sizeof e) {
		end.started = false;
		end.error = e;
	}
	end.code = si.si_code == CLD_EXITED ? si.si_status : -si.si_status;
	end.timed_out = c->timed_out;
	end.cancelled = c->cancelled;
	if (c->out.buf != NULL)
		c->out.buf[c->out.len] = '\0';
	if (c->err.buf != NULL)
		c->err.buf[c->err.len] = '\0';
	end.out = c->out.buf != NULL ? c->out.buf : "";
	end.err = c->err.buf != NULL ? c->err.buf : "";
	event_free(c->ev_end);
	c->ev_end = NULL;
	c->cb(&end, c->arg);
	child_free(c);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;

	(void)fd;
	(void)what;
	if (!c->cancelled)
		c->timed_out = true;
	c->killed = true;
	kill_tree(c);
}

static void
arm_timer(struct child *c, int64_t ns)
{
	struct timeval tv = { .tv_sec = ns / NS_PER_SEC,
		.tv_usec = (ns % NS_PER_SEC) / 1000 };

	evtimer_add(c->ev_timer, &tv);
}

void
child_sanitize(void)
{
	struct sigaction sa;
	sigset_t none;
	int sig;

	memset(&sa, 0, sizeof sa);
	sa.sa_handler = SIG_DFL;
	for (sig = 1; sig < 32; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			sigaction(sig, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
child_exec(const struct child_spec *s, char *const *envp, int error_fd, int out,
    int err, pid_t parent)
{
	int e, null;

	setpgid(0, 0);
	if (!s->survives) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
	}
	child_sanitize();
	if (s->capture) {
		null = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (null != -1)
			dup2(null, 0);
		dup2(out, 1);
		dup2(err, 2);
	}
	if (s->worker != NULL)
		_exit(s->worker(s->worker_arg));
	/* the error pipe is close-on-exec, so are the links and all else;
	 * what a library opened without the flag ends here */
	if (error_fd != 3) {
		dup3(error_fd, 3, O_CLOEXEC);
		error_fd = 3;
	}
	coredump_restore();
	syscall(SYS_close_range, 4U, ~0U, 0);
	execvpe(s->argv[0], (char *const *)s->argv, envp);
	e = errno;
	(void)!write(error_fd, &e, sizeof e);
	_exit(127);
}

static bool
capture_open(struct capture *c, struct event_base *base, int *theirs)
{
	int p[2];

	c->buf = malloc(CHILD_CAPTURE_MAX + 1);
	if (c->buf == NULL || pipe2(p, O_CLOEXEC) == -1)
		return false;
	c->fd = p[0];
	*theirs = p[1];
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	c->ev = event_new(base, p[0], EV_READ | EV_PERSIST, on_output, c);
	return c->ev != NULL && event_add(c->ev, NULL) == 0;
}

static bool
child_start(
    struct child *c, const struct child_spec *s, char *const *envp, int *ends)
{
	int p[2];
	pid_t parent = getpid();

	if (pipe2(p, O_CLOEXEC) == -1)
		return false;
	c->error_fd = p[0];
	ends[2] = p[1];
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	if (s->capture &&
	    (!capture_open(&c->out, c->base, &ends[0]) ||
		!capture_open(&c->err, c->base, &ends[1])))
		return false;
	c->ev_timer = evtimer_new(c->base, on_timer, c);
	if (c->ev_timer == NULL)
		return false;
	c->pid = fork();
	if (c->pid == -1)
		return false;
	if (c->pid == 0)
		child_exec(s, envp, ends[2], ends[0], ends[1], parent);
	setpgid(c->pid, c->pid);
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pidfd != -1)
		c->ev_end = event_new(
		    c->base, c->pidfd, EV_READ | EV_PERSIST, on_end, c);
	if (c->ev_end == NULL || event_add(c->ev_end, NULL) == -1) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		return false;
	}
	return true;
}

struct child *
child_run(
    struct event_base *base, const struct child_spec *s, child_cb cb, void *arg)
{
	struct child *c;
	char **env = NULL;
	int ends[3] = { -1, -1, -1 }, i, saved;
	bool ok = false;

	c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	c->base = base;
	c->pidfd = c->error_fd = c->out.fd = c->err.fd = -1;
	c->cb = cb;
	c->arg = arg;
	c->err.filter = s->err_line;
	c->err.arg = arg;
	if (s->envp == NULL)
		env = child_environment(NULL, false);
	if (s->envp != NULL || env != NULL)
		ok = child_start(c, s, s->envp != NULL ? s->envp : env, ends);
	saved = errno;
	for (i = 0; i < 3; i++)
		if (ends[i] != -1)
			close(ends[i]);
	free(env);
	if (!ok) {
		child_free(c);
		errno = saved;
		return NULL;
	}
	if (s->timeout_ns > 0)
		arm_timer(c, s->timeout_ns);
	return c;
}

void
child_cancel(struct child *c, int64_t grace_ns)
{
	c->cancelled = true;
	if (c->killed)
		return;
	note_brood(c);
	proc_pidfd_signal(c->pidfd, SIGTERM);
	arm_timer(c, grace_ns > 0 ? grace_ns : 1);
}

void
child_kill(struct child *c)
{
	c->cancelled = c->killed = true;
	kill_tree(c);
}

void
child_drop(struct child *c)
{
	if (c == NULL)
		return;
	kill_tree(c);
	waitpid(c->pid, NULL, 0);
	child_free(c);
}

pid_t
child_pid(const struct child *c)
{
	return c->pid;
}

static bool
hidden(const char *e)
{
	return strncmp(e, "NOTIFY_SOCKET=", 14) == 0 ||
	    strncmp(e, "PATRONI_", 8) == 0 ||
	    strncmp(e, "KUBERNETES_", 11) == 0;
}

static bool
overridden(const char *e, const char *const *extra)
{
	size_t n = strcspn(e, "=") + 1;
	size_t i;

	for (i = 0; extra != NULL && extra[i] != NULL; i++)
		if (strncmp(e, extra[i], n) == 0)
			return true;
	return false;
}

char **
child_environment(const char *const *extra, bool server)
{
	static const char arena[] = "PG_MALLOC_ARENA_MAX=";
	size_t n = 1, bytes = 0, i, k = 0;
	char **v, *p;

	for (i = 0; environ != NULL && environ[i] != NULL; i++, n++)
		bytes += strlen(environ[i]) + 1;
	for (i = 0; extra != NULL && extra[i] != NULL; i++, n++)
		bytes += strlen(extra[i]) + 1;
	v = malloc(n * sizeof *v + bytes);
	if (v == NULL)
		return NULL;
	p = (char *)(v + n);
	for (i = 0; environ != NULL && environ[i] != NULL; i++) {
		const char *e = environ[i];

		if (hidden(e) || overridden(e, extra))
			continue;
		if (server && strncmp(e, arena, sizeof arena - 1) == 0)
			e += 3;
		else if (server && getenv("PG_MALLOC_ARENA_MAX") != NULL &&
		    strncmp(e, "MALLOC_ARENA_MAX=", 17) == 0)
			continue;
		v[k++] = p;
		p = stpcpy(p, e) + 1;
	}
	for (i = 0; extra != NULL && extra[i] != NULL; i++) {
		v[k++] = p;
		p = stpcpy(p, extra[i]) + 1;
	}
	v[k] = NULL;
	return v;
}

/* Copies one word to *out (advanced past its NUL); returns the rest of the
 * text, or NULL for an open quote. */
static const char *
one_word(const char *s, char **out)
{
	char quote = '\0', *o = *out;

	for (; *s != '\0'; s++) {
		if (quote == '\0' && strchr(" \t\r\n", *s) != NULL)
			break;
		if (quote == '\0' && (*s == '\'' || *s == '"')) {
			quote = *s;
		} else if (quote != '\0' && *s == quote) {
			quote = '\0';
		} else if (*s == '\\' && quote != '\'') {
			if (s[1] == '\0')
				return NULL;
			/* inside double quotes only \" and \\ are special */
			if (quote == '"' && s[1] != '"' && s[1] != '\\')
				*o++ = *s;
			*o++ = *++s;
		} else {
			*o++ = *s;
		}
	}
	if (quote != '\0')
		return NULL;
	*o++ = '\0';
	*out = o;
	return s;
}

char **
child_words(const char *text, size_t *count)
{
	size_t len = strlen(text), n = 0;
	char **v, *p;

	/* at most one word for every two characters */
	v = malloc((len / 2 + 2) * sizeof *v + len + 2);
	if (v == NULL)
		return NULL;
	p = (char *)(v + len / 2 + 2);
	for (;;) {
		text += strspn(text, " \t\r\n");
		if (*text == '\0')
			break;
		v[n++] = p;
		text = one_word(text, &p);
		if (text == NULL) {
			free(v);
			return NULL;
		}
	}
	v[n] = NULL;
	if (count != NULL)
		*count = n;
	return v;
}
