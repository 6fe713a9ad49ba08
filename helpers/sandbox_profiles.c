/*
 * sandbox_profiles.c: which system calls each process may make (design 2).
 *
 * The names are libseccomp's; one that an architecture or libseccomp does not
 * know is left out.  glibc uses old and new forms of a call by version and
 * architecture, so both are listed.
 */
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <unistd.h>

#include "sandbox_int.h"

/* libseccomp's SCMP_A macros leave the second operand out, which is zero */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* clang-format off: words are easier to find in a paragraph than in a column */

/* Loop, memory, time, threads' primitives, and sockets that are there. */
static const char *const base[] = {
	/* memory */
	"brk",
	"munmap",
	"mremap",
	"madvise",
	"membarrier",
	"mlock",
	"munlock",
	"mlockall",
	/* descriptors */
	"read",
	"readv",
	"pread64",
	"preadv",
	"write",
	"writev",
	"close",
	"close_range",
	"lseek",
	"_llseek",
	"dup",
	"dup2",
	"dup3",
	"fcntl",
	"fcntl64",
	"pipe2",
	"fstat",
	"fstat64",
	"fadvise64",
	/* looking at names, which Landlock does not rule; see `open` below */
	"newfstatat",
	"fstatat64",
	"stat",
	"stat64",
	"lstat",
	"statx",
	"access",
	"faccessat",
	"faccessat2",
	"readlink",
	"readlinkat",
	/* loop */
	"poll",
	"ppoll",
	"ppoll_time64",
	"select",
	"pselect6",
	"_newselect",
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"eventfd2",
	"timerfd_create",
	"timerfd_settime",
	"timerfd_settime64",
	"timerfd_gettime",
	/* time */
	"clock_gettime",
	"clock_gettime64",
	"clock_getres",
	"gettimeofday",
	"time",
	"clock_nanosleep",
	"clock_nanosleep_time64",
	"nanosleep",
	/* process and threads */
	"getpid",
	"gettid",
	"getppid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"getpgrp",
	"uname",
	"sysinfo",
	"getrusage",
	"getrlimit",
	"ugetrlimit",
	"exit",
	"exit_group",
	"futex",
	"futex_time64",
	"set_robust_list",
	"get_robust_list",
	"rseq",
	"sched_yield",
	"sched_getaffinity",
	"getcpu",
	"restart_syscall",
	"getrandom",
	/* signals */
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sigreturn",
	"rt_sigpending",
	"sigaltstack",
	/* sockets that are there */
	"recvfrom",
	"recvmsg",
	"recvmmsg",
	"recv",
	"sendto",
	"sendmsg",
	"sendmmsg",
	"send",
	"getsockopt",
	"setsockopt",
	"getsockname",
	"getpeername",
	"shutdown",
};

/* rest: accept only; a new listening socket may come with a reload. */
static const char *const rest_calls[] = { "accept", "accept4", "listen" };

/*
 * dcs: connections out, the resolver (a thread runs getaddrinfo),
 * and reading.  bind is for the resolver's netlink socket; without listen and
 * accept nothing can come in by it.
 */
static const char *const dcs_calls[] = {
	"connect",
	"bind",
	"socketpair",
	"getdents64",
	"getcwd",
	"fstatfs",
	"fstatfs64",
	"statfs",
};

/* What no library of ours tries: whoever does it has been taken over. */
static const char *const deadly[] = {
	"execve",
	"execveat",
	"ptrace",
	"process_vm_readv",
	"process_vm_writev",
	"mount",
	"umount2",
	"pivot_root",
	"chroot",
	"setns",
	"unshare",
	"init_module",
	"finit_module",
	"delete_module",
	"kexec_load",
	"kexec_file_load",
	"reboot",
	"bpf",
	"perf_event_open",
	"userfaultfd",
	"open_by_handle_at",
	"swapon",
	"swapoff",
	"acct",
	"iopl",
	"ioperm",
	"add_key",
	"request_key",
	"keyctl",
};

/* Refused to master, postgres and all below them, PostgreSQL included: acts
 * that neither a database nor a script beside it has a reason for. */
static const char *const inherited[] = {
	"ptrace",
	"process_vm_readv",
	"process_vm_writev",
	"mount",
	"umount2",
	"pivot_root",
	"chroot",
	"init_module",
	"finit_module",
	"delete_module",
	"kexec_load",
	"kexec_file_load",
	"reboot",
	"bpf",
	"userfaultfd",
	"open_by_handle_at",
	"swapon",
	"swapoff",
	"acct",
	"iopl",
	"ioperm",
	"settimeofday",
	"clock_settime",
	"move_mount",
	"fsopen",
	"open_tree",
	"fsmount",
};

#ifdef SANITIZED
/* Leak detection at the end of the process looks into it with a thread of
 * its own; reports read maps and symbols. */
static const char *const sanitizer[] = {
	"open",
	"openat",
	"mmap",
	"mmap2",
	"mprotect",
	"clone",
	"ptrace",
	"wait4",
	"prctl",
	"personality",
	"mincore",
	"kill",
	"tgkill",
	"arch_prctl",
	"getdents64",
	"getcwd",
	"prlimit64",
	"ioctl",
	"process_vm_readv",
	"sched_setaffinity",
	"socketpair",
};
#endif

/* clang-format on */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int
add(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int nr = seccomp_syscall_resolve_name(names[i]), rc;

		if (nr == __NR_SCMP_ERROR)
			continue;
		rc = seccomp_rule_add(ctx, action, nr, 0);
		/* -EDOM: not on this architecture */
		if (rc != 0 && rc != -EDOM && rc != -EEXIST)
			return rc;
	}
	return 0;
}

/* Allow a call under a condition on its arguments; a call that does not exist
 * on this architecture is none. */
static int
when(scmp_filter_ctx ctx, const char *name, unsigned int n,
    const struct scmp_arg_cmp *conditions)
{
	int nr = seccomp_syscall_resolve_name(name), rc;

	if (nr == __NR_SCMP_ERROR)
		return 0;
	rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, n, conditions);
	return rc == -EDOM ? 0 : rc;
}

#define WHEN(rc, ctx, name, ...)                                             \
	do {                                                                 \
		const struct scmp_arg_cmp c_[] = { __VA_ARGS__ };            \
		if ((rc) == 0)                                               \
			(rc) = when(ctx, name, (unsigned int)COUNT(c_), c_); \
	} while (0)

/* No memory that is made executable after it was written. */
static int
allow_memory(scmp_filter_ctx ctx, bool modules)
{
	static const char *const calls[] = { "mmap", "mmap2", "mprotect" };
	int rc = 0;

	for (size_t i = 0; i < COUNT(calls); i++)
		WHEN(rc, ctx, calls[i],
		    SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* modules of nsswitch.conf: text of files, never anonymous memory */
	for (size_t i = 0; modules && i < 2; i++)
		WHEN(rc, ctx, calls[i],
		    SCMP_A2_32(
			SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC),
		    SCMP_A3_32(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0));
	return rc;
}

static int
allow_with_arguments(scmp_filter_ctx ctx)
{
	pid_t self = getpid();
	int rc = 0;

	WHEN(rc, ctx, "ioctl", SCMP_A1_32(SCMP_CMP_EQ, FIONREAD));
	WHEN(rc, ctx, "ioctl", SCMP_A1_32(SCMP_CMP_EQ, FIONBIO));
	WHEN(rc, ctx, "ioctl", SCMP_A1_32(SCMP_CMP_EQ, TCGETS));
	/* reading limits, not setting them */
	WHEN(rc, ctx, "prlimit64", SCMP_A2_64(SCMP_CMP_EQ, 0));
	/* abort(3) */
	WHEN(rc, ctx, "tgkill", SCMP_A0_32(SCMP_CMP_EQ, (unsigned int)self));
	return rc;
}

/* Reading only; which files is Landlock's. */
static int
allow_open_read(scmp_filter_ctx ctx)
{
	const unsigned int write_flags =
	    O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
	int rc = 0;

	WHEN(rc, ctx, "openat", SCMP_A2_32(SCMP_CMP_MASKED_EQ, write_flags, 0));
	WHEN(rc, ctx, "open", SCMP_A1_32(SCMP_CMP_MASKED_EQ, write_flags, 0));
	return rc;
}

static int
allow_outgoing(scmp_filter_ctx ctx)
{
	static const unsigned int families[] = { AF_INET, AF_INET6, AF_UNIX,
		AF_NETLINK };
	int rc = 0;

	for (size_t i = 0; i < COUNT(families); i++)
		WHEN(rc, ctx, "socket", SCMP_A0_32(SCMP_CMP_EQ, families[i]));
	return rc;
}

/* Threads, but no processes.  clone3 hides its flags in memory: glibc falls
 * back to clone when it does not exist. */
static int
allow_threads(scmp_filter_ctx ctx)
{
	const unsigned int thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
	int rc = 0, nr = seccomp_syscall_resolve_name("clone3");

	WHEN(rc, ctx, "clone", SCMP_A0_32(SCMP_CMP_MASKED_EQ, thread, thread));
	if (rc == 0 && nr != __NR_SCMP_ERROR)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
	return rc;
}

static int
profile_dcs(scmp_filter_ctx ctx)
{
	int rc = add(ctx, SCMP_ACT_ALLOW, dcs_calls, COUNT(dcs_calls));

	if (rc == 0)
		rc = allow_open_read(ctx);
	if (rc == 0)
		rc = allow_outgoing(ctx);
	if (rc == 0)
		rc = allow_threads(ctx);
	return rc;
}

int
profile_allow(scmp_filter_ctx ctx, enum proc self)
{
	int rc = add(ctx, SCMP_ACT_ALLOW, base, COUNT(base));

#ifdef SANITIZED
	if (rc == 0)
		rc = add(ctx, SCMP_ACT_ALLOW, sanitizer, COUNT(sanitizer));
#endif
	if (rc == 0)
		rc = allow_memory(ctx, self == PROC_DCS);
	if (rc == 0)
		rc = allow_with_arguments(ctx);
	if (rc == 0 && self == PROC_DCS)
		rc = profile_dcs(ctx);
	if (rc == 0 && self == PROC_REST)
		rc = add(ctx, SCMP_ACT_ALLOW, rest_calls, COUNT(rest_calls));
	if (rc == 0)
		rc = add(ctx, SCMP_ACT_KILL_PROCESS, deadly, COUNT(deadly));
	return rc;
}

int
profile_refuse_inherited(scmp_filter_ctx ctx)
{
	size_t n = COUNT(inherited);

#ifdef SANITIZED
	return add(ctx, SCMP_ACT_ERRNO(EPERM), inherited + 3, n - 3);
#else
	return add(ctx, SCMP_ACT_ERRNO(EPERM), inherited, n);
#endif
}
