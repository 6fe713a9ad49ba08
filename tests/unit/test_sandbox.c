/*
 * test_sandbox.c: each profile from inside: a child enters it, tries one act,
 * and tells by its exit status what came of it.
 */
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../dcs/srv.h"
#include "../../helpers/sandbox.h"
#include "../../ipc/clock.h"
#include "own_ns.h"

#define DONE 0	  /* the act succeeded */
#define REFUSED 2 /* EPERM: by seccomp, which is logged */
#define OTHER 3	  /* another error */
#define NO_SECCOMP 4
#define DENIED 5 /* EACCES: by Landlock, which the kernel logs */

#ifdef SANITIZED
#define IN_SANITIZER true
#else
#define IN_SANITIZER false
#endif

typedef int (*act)(void); /* 0, or -1 and errno */

static char log_text[4096]; /* what the last child wrote to its log */

static int
verdict(int rc)
{
	if (rc != -1)
		return DONE;
	if (errno == EACCES)
		return DENIED;
	return errno == EPERM ? REFUSED : OTHER;
}

static void __attribute__((noreturn)) child(enum proc self, act a, int log)
{
	uint32_t bits;

	(void)dup2(log, STDERR_FILENO);
	close(log);
	bits = sandbox_enter(self, NULL);
	if (!(bits & SANDBOX_SECCOMP))
		_exit(NO_SECCOMP);
	_exit(verdict(a()));
}

static int
attempt(enum proc self, act a)
{
	int log[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(log), 0);
	if ((pid = fork()) == 0)
		child(self, a, log[1]);
	assert_true(pid > 0);
	close(log[1]);
	while (n < sizeof(log_text) - 1 &&
	    (got = read(log[0], log_text + n, sizeof(log_text) - 1 - n)) > 0)
		n += (size_t)got;
	log_text[n] = '\0';
	close(log[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
				     WEXITSTATUS(status);
}

/* ---- acts ---- */

static int
act_exec(void)
{
	char *argv[] = { (char[]){ "true" }, NULL };

	return execv("/bin/true", argv);
}

static int
act_spawn(void)
{
	char *argv[] = { (char[]){ "true" }, NULL };
	int status;
	pid_t pid;
	int rc = posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ);

	if (rc != 0) {
		errno = rc;
		return -1;
	}
	if (waitpid(pid, &status, 0) != pid || status != 0) {
		errno = EIO;
		return -1;
	}
	return 0;
}

static int
act_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid == -1 ? -1 : 0;
}

static int
act_open_write(void)
{
	return open(
	    "/tmp/test_sandbox.tmp", O_WRONLY | O_CREAT | O_TRUNC, 0600);
}

static int
act_open_read(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static int
act_open_hosts(void)
{
	return open("/etc/hosts", O_RDONLY);
}

static struct sockaddr_in
loopback(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return a;
}

static int
act_connect(void)
{
	struct sockaddr_in a = loopback(1);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd == -1)
		return -1;
	/* nobody listens there: refused by the other end, not by us */
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == -1 &&
	    errno != ECONNREFUSED)
		return -1;
	return 0;
}

static int
act_listen(void)
{
	struct sockaddr_in a = loopback(0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd == -1)
		return -1;
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == -1)
		return -1;
	return listen(fd, 1);
}

static int
act_raw_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static int
act_ptrace(void)
{
	return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int
act_mount(void)
{
	return mount("none", "/tmp", "tmpfs", 0, NULL);
}

static int
act_setuid(void)
{
	return setuid(getuid());
}

static int
act_kill(void)
{
	return kill(getppid(), 0);
}

static int
act_exec_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ?
	    -1 :
	    0;
}

static void *
nothing(void *arg)
{
	return arg;
}

static int
act_thread(void)
{
	pthread_t t;
	int rc = pthread_create(&t, NULL, nothing, NULL);

	if (rc == 0)
		rc = pthread_join(t, NULL);
	errno = rc;
	return rc == 0 ? 0 : -1;
}

static int
act_resolve(void)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;

	if (getaddrinfo("localhost", "80", &hints, &list) != 0) {
		errno = EIO;
		return -1;
	}
	freeaddrinfo(list);
	return 0;
}

static void
on_srv(const struct srv_target *targets, uint32_t n, void *arg)
{
	(void)targets;
	(void)n;
	*(bool *)arg = true;
}

/* An answer or none: it must end by itself. */
static int
act_srv(void)
{
	struct event_base *base = event_base_new();
	bool done = false;

	if (base == NULL ||
	    srv_start(base, "_etcd._tcp.invalid", clock_boot_ns() + NS_PER_SEC,
		on_srv, &done) == NULL) {
		errno = EIO;
		return -1;
	}
	while (!done && event_base_loop(base, EVLOOP_ONCE) == 0)
		;
	event_base_free(base);
	errno = EIO;
	return done ? 0 : -1;
}

static int
act_abort(void)
{
	abort();
}

static int
act_log_of_children(void)
{
	/* a program that listens, as PostgreSQL does */
	char *argv[] = { (char[]){ "python3" }, (char[]){ "-c" },
		(char[]){ "import socket\ns = socket.socket()\n"
			  "s.bind(('127.0.0.1', 0))\ns.listen()" },
		NULL };
	int status, rc;
	pid_t pid;

	rc = posix_spawn(&pid, "/usr/bin/python3", NULL, NULL, argv, environ);
	if (rc != 0 || waitpid(pid, &status, 0) != pid || status != 0) {
		errno = EIO;
		return -1;
	}
	return 0;
}

/* ---- the rows of design 2's table ---- */

struct row {
	act act;
	const char *name;
	int expected;
	bool freed; /* the sanitizers' runtime may do it in their build */
};

static void
check_rows(enum proc self, const struct row *rows, size_t n)
{
	if (attempt(self, act_thread) == NO_SECCOMP)
		skip();
	for (size_t i = 0; i < n; i++) {
		int got;

		if (rows[i].freed && IN_SANITIZER)
			continue;
		got = attempt(self, rows[i].act);
		if (got == DENIED && rows[i].expected == REFUSED)
			continue;
		if (got != rows[i].expected)
			fail_msg("%s: %s: %d instead of %d: %s",
			    proc_name(self), rows[i].name, got,
			    rows[i].expected, log_text);
		if (got == REFUSED &&
		    strstr(log_text, "refused system call") == NULL)
			fail_msg("%s: %s: refused without a word: %s",
			    proc_name(self), rows[i].name, log_text);
	}
}
#define CHECK(self, rows) \
	check_rows(self, rows, sizeof(rows) / sizeof((rows)[0]))
#define KILLED (128 + SIGSYS)
#define ROW(a, expected)               \
	{                              \
		a, #a, expected, false \
	}
#define FREE_ROW(a, expected)         \
	{                             \
		a, #a, expected, true \
	}

static bool
landlock_there(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1u) > 0;
}

static void
dcs_may_connect_and_read_only(void **state)
{
	static const struct row rows[] = {
		ROW(act_exec, KILLED),
		ROW(act_mount, KILLED),
		FREE_ROW(act_ptrace, KILLED),
		FREE_ROW(act_fork, REFUSED),
		FREE_ROW(act_open_write, REFUSED),
		FREE_ROW(act_exec_memory, REFUSED),
		FREE_ROW(act_kill, REFUSED),
		ROW(act_listen, REFUSED),
		ROW(act_raw_socket, REFUSED),
		ROW(act_setuid, REFUSED),
		ROW(act_connect, DONE),
		ROW(act_open_hosts, DONE),
		ROW(act_resolve, DONE),
		ROW(act_srv, DONE),
		ROW(act_thread, DONE),
		ROW(act_abort, 128 + SIGABRT),
	};

	(void)state;
	CHECK(PROC_DCS, rows);
	if (landlock_there())
		assert_int_equal(attempt(PROC_DCS, act_open_read), DENIED);
}

static void
rest_may_neither_connect_nor_open(void **state)
{
	static const struct row rows[] = {
		ROW(act_exec, KILLED),
		ROW(act_mount, KILLED),
		FREE_ROW(act_ptrace, KILLED),
		FREE_ROW(act_fork, REFUSED),
		FREE_ROW(act_open_write, REFUSED),
		FREE_ROW(act_open_read, REFUSED),
		FREE_ROW(act_exec_memory, REFUSED),
		FREE_ROW(act_kill, REFUSED),
		ROW(act_connect, REFUSED),
		ROW(act_listen, REFUSED),
		ROW(act_setuid, REFUSED),
		ROW(act_abort, 128 + SIGABRT),
	};

	(void)state;
	CHECK(PROC_REST, rows);
}

static void
postgres_may_execute_but_not_listen(void **state)
{
	static const struct row rows[] = {
		ROW(act_listen, REFUSED),
		ROW(act_mount, REFUSED),
		FREE_ROW(act_ptrace, REFUSED),
		ROW(act_spawn, DONE),
		ROW(act_log_of_children, DONE),
		ROW(act_fork, DONE),
		ROW(act_open_read, DONE),
		ROW(act_connect, DONE),
	};

	(void)state;
	CHECK(PROC_POSTGRES, rows);
}

static void
master_may_listen_for_rest(void **state)
{
	static const struct row rows[] = {
		ROW(act_mount, REFUSED),
		FREE_ROW(act_ptrace, REFUSED),
		ROW(act_listen, DONE),
		ROW(act_spawn, DONE),
		ROW(act_log_of_children, DONE),
	};

	(void)state;
	CHECK(PROC_MASTER, rows);
}

static int
act_exec_named(void)
{
	char *argv[] = { (char[]){ "true" }, NULL };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)execv(sandbox_program("/bin/true"), argv);
		_exit(errno == EPERM ? 100 : 101);
	}
	if (pid == -1 || waitpid(pid, &status, 0) != pid ||
	    !WIFEXITED(status)) {
		errno = EIO;
		return -1;
	}
	errno = WEXITSTATUS(status) == 100 ? EPERM : EIO;
	return WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int
act_enter_again(void)
{
	/* a helper that is started by a confined master confines itself */
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(sandbox_enter(PROC_REST, NULL) & SANDBOX_SECCOMP ?
			verdict(act_open_read()) :
			NO_SECCOMP);
	if (pid == -1 || waitpid(pid, &status, 0) != pid ||
	    !WIFEXITED(status)) {
		errno = EIO;
		return -1;
	}
	errno = WEXITSTATUS(status) == NO_SECCOMP ? EINVAL : EPERM;
	return WEXITSTATUS(status) == DONE ? 0 : -1;
}

static void
helpers_can_be_confined_below_the_master(void **state)
{
	(void)state;
	if (attempt(PROC_MASTER, act_fork) == NO_SECCOMP)
		skip();
	assert_int_equal(attempt(PROC_MASTER, act_enter_again), REFUSED);
}

static void
the_master_may_execute_the_helpers_only(void **state)
{
	static const struct row rows[] = {
		ROW(act_exec_named, DONE),
		ROW(act_exec, REFUSED),
		ROW(act_listen, DONE),
		FREE_ROW(act_ptrace, REFUSED),
	};

	(void)state;
	assert_string_equal(sandbox_program("/bin/true"), "/bin/true");
	assert_true(sandbox_may_execute("/bin/false"));
	assert_true(sandbox_may_execute("/bin/true"));
	CHECK(PROC_MASTER, rows);
}

#define SKIPPED 77

/* Inside the sandbox: stale before the other end says so? and after? */
static int
stale_child(int fd)
{
	char c;

	sandbox_enter(PROC_DCS, NULL);
	if (sandbox_stale())
		return 1;
	if (write(fd, "r", 1) != 1 || read(fd, &c, 1) != 1)
		return 2;
	return sandbox_stale() ? 0 : 3;
}

static int
replace_resolver_file(void)
{
	int sv[2], status;
	char c;
	pid_t pid;

	if (!own_ns() || !write_text("/etc/resolv.conf", "# old\n") ||
	    !write_text("/etc/hosts", "127.0.0.1 localhost\n"))
		return SKIPPED;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == -1)
		return 10;
	if ((pid = fork()) == 0)
		_exit(stale_child(sv[1]));
	close(sv[1]);
	if (read(sv[0], &c, 1) == 1 &&
	    (!write_text("/etc/new", "# new\n") ||
		rename("/etc/new", "/etc/resolv.conf") == -1 ||
		write(sv[0], "g", 1) != 1))
		return 11;
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 12;
	return WEXITSTATUS(status);
}

static void
a_replaced_resolver_file_is_noticed(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (!landlock_there())
		skip();
	if ((pid = fork()) == 0)
		_exit(replace_resolver_file());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dcs_may_connect_and_read_only),
		cmocka_unit_test(rest_may_neither_connect_nor_open),
		cmocka_unit_test(postgres_may_execute_but_not_listen),
		cmocka_unit_test(master_may_listen_for_rest),
		cmocka_unit_test(a_replaced_resolver_file_is_noticed),
		cmocka_unit_test(helpers_can_be_confined_below_the_master),
		/* last: what it names stays named */
		cmocka_unit_test(the_master_may_execute_the_helpers_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
