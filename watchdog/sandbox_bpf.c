/*
 * sandbox_bpf.c: seccomp as a hand-written BPF program, and Landlock.
 *
 * Allowed: what the loop, the log and the links need; ioctls of a watchdog;
 * signals through pidfds; and, since children must be found without a pid
 * being trusted, openat(2) for reading relative to /proc.  The path of an
 * openat cannot be seen by seccomp (an absolute one would ignore the
 * directory): Landlock keeps it below /proc.  No exec, no socket, no kill.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/watchdog.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "../ipc/log.h"
#include "sandbox_bpf.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define RESULT(uc) (uc)->uc_mcontext.gregs[REG_RAX]
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define RESULT(uc) (uc)->uc_mcontext.regs[0]
#else
#define ARCH 0
#endif

#define X32_BIT 0x40000000u

/* clang-format off: names are easier to find in a paragraph */

/* Free of conditions.  Old forms exist on some architectures only. */
static const int allowed[] = {
	SYS_read,
	SYS_write,
	SYS_close,
	SYS_fcntl,
	SYS_dup3,
	SYS_lseek,
	SYS_pread64,
	SYS_getdents64,
	SYS_faccessat,
	SYS_recvmsg,
	SYS_sendmsg,
	SYS_ppoll,
	SYS_clock_gettime,
	SYS_timerfd_settime,
	SYS_pidfd_open,
	SYS_pidfd_send_signal,
	SYS_brk,
	SYS_munmap,
	SYS_mremap,
	SYS_madvise,
	SYS_futex,
	SYS_getpid,
	SYS_geteuid,
	SYS_fstat,
	SYS_newfstatat,
	SYS_gettimeofday,
	SYS_getrandom,
	SYS_rt_sigreturn,
	SYS_rt_sigprocmask,
	SYS_restart_syscall,
	SYS_exit,
	SYS_exit_group,
#ifdef SYS_faccessat2
	SYS_faccessat2,
#endif
#ifdef SYS_poll
	SYS_poll,
#endif
#ifdef SYS_dup2
	SYS_dup2,
#endif
#ifdef SYS_access
	SYS_access,
#endif
#ifdef SANITIZED
	SYS_mmap,
	SYS_mprotect,
	SYS_openat,
	SYS_readlink,
	SYS_clone,
	SYS_ptrace,
	SYS_wait4,
	SYS_prctl,
	SYS_sigaltstack,
	SYS_tgkill,
	SYS_gettid,
	SYS_rt_sigaction,
	SYS_sched_yield,
	SYS_personality,
	SYS_nanosleep,
	SYS_writev,
	SYS_clock_nanosleep,
	SYS_getppid,
	SYS_prlimit64,
	SYS_sched_getaffinity,
#endif
};

/* What nothing here ever tries. */
static const int deadly[] = {
	SYS_execve,
	SYS_execveat,
	SYS_mount,
	SYS_umount2,
	SYS_init_module,
	SYS_finit_module,
	SYS_kexec_load,
	SYS_reboot,
	SYS_bpf,
	SYS_setns,
	SYS_unshare,
	SYS_chroot,
	SYS_pivot_root,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_perf_event_open,
#ifndef SANITIZED
	SYS_ptrace,
#endif
};

/* clang-format on */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MAX_STEPS (2 * (COUNT(allowed) + COUNT(deadly)) + 64)

struct program {
	struct sock_filter f[MAX_STEPS];
	unsigned short n;
};

static void
step(struct program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
	p->f[p->n++] = (struct sock_filter){ code, yes, no, k };
}

static void
load(struct program *p, size_t offset)
{
	step(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void
give(struct program *p, uint32_t what)
{
	step(p, BPF_RET | BPF_K, what, 0, 0);
}

#define NR offsetof(struct seccomp_data, nr)
/* lower half of an argument: little-endian machines */
#define ARG(i) (offsetof(struct seccomp_data, args) + (i) * sizeof(uint64_t))

/* if nr == call, then `what` */
static void
on_call(struct program *p, int call, uint32_t what)
{
	step(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1);
	give(p, what);
}

/* Memory that is never executable. */
static void
on_memory_call(struct program *p, int call)
{
	step(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 4);
	load(p, ARG(2));
	step(p, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0);
	give(p, SECCOMP_RET_ALLOW);
	give(p, SECCOMP_RET_TRAP);
}

static void
on_ioctl(struct program *p)
{
	static const uint32_t codes[] = { WDIOC_GETSUPPORT, WDIOC_SETTIMEOUT,
		WDIOC_GETTIMEOUT };
	uint8_t rest = 2 * COUNT(codes) + 2;

	step(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, rest);
	load(p, ARG(1));
	for (size_t i = 0; i < COUNT(codes); i++) {
		step(p, BPF_JMP | BPF_JEQ | BPF_K, codes[i], 0, 1);
		give(p, SECCOMP_RET_ALLOW);
	}
	give(p, SECCOMP_RET_TRAP);
}

/* The name of the process: how keepers see one another (fence.c). */
static void
on_prctl(struct program *p)
{
	step(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 4);
	load(p, ARG(0));
	step(p, BPF_JMP | BPF_JEQ | BPF_K, PR_SET_NAME, 0, 1);
	give(p, SECCOMP_RET_ALLOW);
	give(p, SECCOMP_RET_TRAP);
}

static void
on_openat(struct program *p, int proc)
{
	step(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 6);
	load(p, ARG(0));
	step(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)proc, 0, 3);
	load(p, ARG(2));
	step(p, BPF_JMP | BPF_JEQ | BPF_K, O_RDONLY | O_CLOEXEC, 0, 1);
	give(p, SECCOMP_RET_ALLOW);
	give(p, SECCOMP_RET_TRAP);
}

static void
write_program(struct program *p, int proc)
{
	p->n = 0;
	load(p, offsetof(struct seccomp_data, arch));
	step(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	give(p, SECCOMP_RET_KILL_PROCESS);
	load(p, NR);
#if defined(__x86_64__)
	step(p, BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 0, 1);
	give(p, SECCOMP_RET_KILL_PROCESS);
#endif
	for (size_t i = 0; i < COUNT(allowed); i++)
		on_call(p, allowed[i], SECCOMP_RET_ALLOW);
	for (size_t i = 0; i < COUNT(deadly); i++)
		on_call(p, deadly[i], SECCOMP_RET_KILL_PROCESS);
	/* each of these ends in a return when it matches */
	on_memory_call(p, SYS_mmap);
	on_memory_call(p, SYS_mprotect);
	on_ioctl(p);
	on_prctl(p);
	on_openat(p, proc);
	give(p, SECCOMP_RET_TRAP);
}

/* ---- the report of a refusal, without locks or allocation ---- */

#if ARCH != 0
static volatile unsigned char reported[512];

static void
on_sigsys(int sig, siginfo_t *info, void *context)
{
	static const char text[] =
	    "WARNING: sandbox: watchdog: refused system call ";
	ucontext_t *uc = context;
	char line[sizeof(text) + 16];
	size_t n = sizeof(text) - 1;
	unsigned int nr = (unsigned int)info->si_syscall, scale = 1;
	int saved = errno;

	(void)sig;
	if (nr < sizeof(reported) && !reported[nr]) {
		reported[nr] = 1;
		memcpy(line, text, n);
		while (scale <= nr / 10)
			scale *= 10;
		for (; scale > 0; scale /= 10)
			line[n++] = (char)('0' + nr / scale % 10);
		line[n++] = '\n';
		if (write(STDERR_FILENO, line, n) == -1)
			errno = saved; /* nothing more can be done here */
	}
	RESULT(uc) = (__typeof__(RESULT(uc)))-EPERM;
	errno = saved;
}

static bool
seccomp_enter(int proc)
{
	static struct program program;
	struct sock_fprog prog;
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = on_sigsys;
	sa.sa_flags = SA_SIGINFO | SA_NODEFER;
	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGSYS, &sa, NULL) == -1)
		return false;
	write_program(&program, proc);
	prog.len = program.n;
	prog.filter = program.f;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &prog) == 0;
}
#else
static bool
seccomp_enter(int proc)
{
	(void)proc;
	errno = ENOSYS;
	return false;
}
#endif

/* ---- Landlock: reading below /proc, nothing else ---- */

static bool
landlock_enter(int proc)
{
	struct {
		uint64_t fs, net;
	} attr = { .fs = (UINT64_C(1) << 13) - 1, .net = 3 };
	struct {
		uint64_t allowed;
		int32_t parent;
	} __attribute__((packed))
	rule = { .allowed = UINT64_C(1) << 2 | UINT64_C(1) << 3,
		.parent = proc };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1u);
	int fd;
	bool ok;

	if (abi < 1)
		return false;
	if (abi >= 2)
		attr.fs |= UINT64_C(1) << 13; /* refer */
	if (abi >= 3)
		attr.fs |= UINT64_C(1) << 14; /* truncate */
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr,
	    abi >= 4 ? sizeof(attr) : sizeof(attr.fs), 0u);
	if (fd == -1)
		return false;
	ok = syscall(SYS_landlock_add_rule, fd, 1, &rule, 0u) == 0 &&
	    syscall(SYS_landlock_restrict_self, fd, 0u) == 0;
	close(fd);
	return ok;
}

uint32_t
keeper_sandbox(int proc)
{
	uint32_t bits = 0;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == -1)
		log_warn("no_new_privs: %s", strerror(errno));
	if (landlock_enter(proc))
		bits |= KEEPER_LANDLOCK;
	else
		log_warn("Landlock is not in force: %s", strerror(errno));
	if (seccomp_enter(proc))
		bits |= KEEPER_SECCOMP;
	else
		log_warn("seccomp is not in force: %s", strerror(errno));
	return bits;
}
