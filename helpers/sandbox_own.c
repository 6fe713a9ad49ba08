/*
 * sandbox_own.c: refusals that only the code of this very process feels.
 *
 * A seccomp filter is inherited by every program that is executed, and those
 * of postgres and master are executed to do what they themselves must not do:
 * PostgreSQL listens.  A filter cannot see which process it runs in, but it
 * sees from where a call comes.  So it looks at the instruction pointer:
 * calls out of the C library *where it lies in this process* are refused.  An
 * executed program has its C library elsewhere, at random; the chance that it
 * overlaps is about one in 200,000, and such a program would fail and be
 * started again.  Without address randomisation it would always overlap: then
 * this filter is left out.
 *
 * It is a guard against mistakes and simple misuse; code that may execute
 * programs cannot be kept from executing one that listens.
 */
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>

#include <errno.h>
#include <gnu/libc-version.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/log.h"
#include "sandbox_int.h"

#define MAX_STEPS 64

/*
 * The programs that the master may execute.  seccomp sees no text, but the
 * address of one: these lie on a page of their own that is read-only once the
 * filter is in force.
 */
#define PROGRAM_SIZE PATH_SIZE
static char *programs; /* SANDBOX_PROGRAMS of PROGRAM_SIZE bytes */
static size_t nprograms;

bool
sandbox_may_execute(const char *path)
{
	char *p;

	if (programs == NULL) {
		p = mmap(NULL, SANDBOX_PROGRAMS * PROGRAM_SIZE,
		    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return false;
		programs = p;
	}
	if (nprograms == SANDBOX_PROGRAMS ||
	    !text_set(programs + nprograms * PROGRAM_SIZE, PROGRAM_SIZE, path))
		return false;
	nprograms++;
	return true;
}

const char *
sandbox_program(const char *path)
{
	for (size_t i = 0; i < nprograms; i++)
		if (strcmp(programs + i * PROGRAM_SIZE, path) == 0)
			return programs + i * PROGRAM_SIZE;
	return path;
}

/* postgres: nothing comes in but by the links. */
static const long postgres_calls[] = { SYS_listen, SYS_accept4,
#ifdef SYS_accept
	SYS_accept,
#endif
	SYS_ptrace, SYS_mount, SYS_process_vm_readv, SYS_process_vm_writev,
	SYS_init_module, SYS_finit_module, SYS_bpf, SYS_reboot, SYS_unshare,
	SYS_setns, SYS_perf_event_open, SYS_chroot };
/* master: opens sockets for rest, speaks to nobody on the network. */
static const long master_calls[] = { SYS_ptrace, SYS_mount,
	SYS_process_vm_readv, SYS_process_vm_writev, SYS_init_module,
	SYS_finit_module, SYS_bpf, SYS_reboot, SYS_unshare, SYS_setns,
	SYS_perf_event_open, SYS_chroot, SYS_execveat };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool
randomised(void)
{
	FILE *f = fopen("/proc/sys/kernel/randomize_va_space", "re");
	int mode = 0, p = personality(0xffffffffu);

	if (f == NULL)
		return false;
	if (fscanf(f, "%d", &mode) != 1)
		mode = 0;
	(void)fclose(f);
	return mode > 0 && p != -1 && !(p & ADDR_NO_RANDOMIZE);
}

/* Where the text of the C library lies. */
static bool
find_libc(uint64_t *from, uint64_t *to)
{
	uint64_t inside = (uint64_t)(uintptr_t)&gnu_get_libc_version;
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long long a, b;
	char line[512];
	bool found = false;

	if (f == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "%llx-%llx", &a, &b) == 2 && inside >= a &&
		    inside < b) {
			*from = a;
			*to = b;
			found = true;
		}
	(void)fclose(f);
	/* within 4 GB of one another and not over such a border, so that the
	 * upper half is one comparison */
	return found && *from >> 32 == (*to - 1) >> 32;
}

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0
#endif

#define LOAD(field)                                             \
	(struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, \
	    (uint32_t)offsetof(struct seccomp_data, field))
#define LOAD_IP(half)                                                      \
	(struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS,            \
	    (uint32_t)offsetof(struct seccomp_data, instruction_pointer) + \
		(half)*4u)
#define IF(op, k, yes, no)                                                   \
	(struct sock_filter) BPF_JUMP(BPF_JMP | (op) | BPF_K, (uint32_t)(k), \
	    (uint8_t)(yes), (uint8_t)(no))
#define LOAD_ARG0(half)                                         \
	(struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, \
	    (uint32_t)offsetof(struct seccomp_data, args) + (half)*4u)
#define RETURN(what) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, (what))

/* execve of one of the programs is allowed, by address; what is no execve, or
 * another program, falls through. */
static unsigned short
programs_only(struct sock_filter *f, unsigned short i)
{
	uint64_t at = (uint64_t)(uintptr_t)programs;
	size_t n = nprograms;

	f[i++] = LOAD(nr);
	f[i++] = IF(BPF_JEQ, SYS_execve, 0, n + 5);
	f[i++] = LOAD_ARG0(1);
	f[i++] = IF(BPF_JEQ, at >> 32, 0, n + 3);
	f[i++] = LOAD_ARG0(0);
	for (size_t k = 0; k < n; k++)
		f[i++] = IF(BPF_JEQ, at + k * PROGRAM_SIZE, n - k, 0);
	f[i++] = IF(BPF_JA, 1, 0, 0);
	f[i++] = RETURN(SECCOMP_RET_ALLOW);
	return i;
}

/* Call numbers first, so that all other calls pass in a constant way and the
 * kernel can skip the filter for them. */
static unsigned short
write_filter(struct sock_filter *f, const long *calls, size_t n, bool exec,
    uint64_t from, uint64_t to)
{
	unsigned short i = 0;

	f[i++] = LOAD(arch);
	f[i++] = IF(BPF_JEQ, ARCH, 1, 0);
	f[i++] = RETURN(SECCOMP_RET_ALLOW);
	f[i++] = LOAD(nr);
	if (exec) /* likewise */
		f[i++] = IF(BPF_JEQ, SYS_execve, n + 1, 0);
	for (size_t k = 0; k < n; k++) /* to the comparison of the address */
		f[i++] = IF(BPF_JEQ, calls[k], n - k, 0);
	f[i++] = RETURN(SECCOMP_RET_ALLOW);
	f[i++] = LOAD_IP(1); /* upper half: both are little-endian */
	f[i++] = IF(BPF_JEQ, from >> 32, 1, 0);
	f[i++] = RETURN(SECCOMP_RET_ALLOW);
	f[i++] = LOAD_IP(0);
	f[i++] = IF(BPF_JGE, from & 0xffffffffu, 0, 1);
	f[i++] = IF(BPF_JGT, (to - 1) & 0xffffffffu, 0, 1);
	f[i++] = RETURN(SECCOMP_RET_ALLOW);
	if (exec)
		i = programs_only(f, i);
	f[i++] = RETURN(SECCOMP_RET_TRAP);
	return i;
}

bool
own_code_enter(enum proc self)
{
	bool pg = self == PROC_POSTGRES;
	const long *calls = pg ? postgres_calls : master_calls;
	size_t n = pg ? COUNT(postgres_calls) : COUNT(master_calls);
	struct sock_filter filter[MAX_STEPS];
	struct sock_fprog prog = { .filter = filter };
	uint64_t from, to;

	_Static_assert(
	    COUNT(postgres_calls) + SANDBOX_PROGRAMS + 24 <= MAX_STEPS,
	    "too long");
	if (ARCH == 0 || !randomised() || !find_libc(&from, &to))
		return false;
	if (programs != NULL &&
	    mprotect(programs, SANDBOX_PROGRAMS * PROGRAM_SIZE, PROT_READ) ==
		-1)
		return false;
	prog.len =
	    write_filter(filter, calls, n, !pg && nprograms > 0, from, to);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &prog) == -1) {
		log_warn("seccomp: %s", strerror(errno));
		return false;
	}
	return true;
}
