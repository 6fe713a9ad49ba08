/*
 * sandbox.c: entering the sandbox, and the report of what it refused.
 *
 * Which calls are allowed is in sandbox_profiles.c, files in
 * sandbox_landlock.c, filters that children do not feel in sandbox_own.c.
 */
#include <sys/prctl.h>

#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "../ipc/log.h"
#include "sandbox_int.h"

#define MAX_CALLS 512 /* numbers above are reported without a name */
#define NAME_POOL 8192

static bool setuid_allowed;

/* ---- refusals: SIGSYS says which call, it then fails with EPERM ---- */

/* All made before the handler is set: it may neither allocate nor lock. */
static char name_pool[NAME_POOL];
static uint16_t name_at[MAX_CALLS];
static volatile unsigned char reported[MAX_CALLS];
static char line_start[64];

static void
learn_names(enum proc self)
{
	size_t used = 1;

	(void)snprintf(line_start, sizeof(line_start),
	    "WARNING: sandbox: %s: refused system call ", proc_name(self));
	for (int nr = 0; nr < MAX_CALLS; nr++) {
		char *name =
		    seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
		size_t len = name == NULL ? 0 : strlen(name) + 1;

		if (len > 0 && used + len <= sizeof(name_pool)) {
			memcpy(name_pool + used, name, len);
			name_at[nr] = (uint16_t)used;
			used += len;
		}
		free(name);
	}
}

static size_t
append(char *buf, size_t at, size_t size, const char *s)
{
	while (*s != '\0' && at < size)
		buf[at++] = *s++;
	return at;
}

static size_t
append_number(char *buf, size_t at, size_t size, unsigned int n)
{
	char digits[12];
	size_t i = sizeof(digits) - 1;

	digits[i] = '\0';
	do
		digits[--i] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	return append(buf, at, size, digits + i);
}

static void
report(int nr)
{
	char line[160];
	size_t n = 0, size = sizeof(line) - 1;

	if (nr >= 0 && nr < MAX_CALLS) {
		if (reported[nr])
			return;
		reported[nr] = 1;
	}
	n = append(line, n, size, line_start);
	n = append_number(line, n, size, (unsigned int)nr);
	if (nr >= 0 && nr < MAX_CALLS && name_at[nr] != 0) {
		n = append(line, n, size, " (");
		n = append(line, n, size, name_pool + name_at[nr]);
		n = append(line, n, size, ")");
	}
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) == -1)
		return; /* nothing more can be done here */
}

#if defined(__x86_64__) || defined(__aarch64__)
#define REFUSAL SCMP_ACT_TRAP
static void
on_sigsys(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	int saved = errno;

	(void)sig;
	report(info->si_syscall);
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_RAX] = -EPERM;
#else
	uc->uc_mcontext.regs[0] = (unsigned long long)-EPERM;
#endif
	errno = saved;
}

static void
catch_refusals(enum proc self)
{
	struct sigaction sa;
	sigset_t set;

	learn_names(self);
	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = on_sigsys;
	sa.sa_flags = SA_SIGINFO | SA_NODEFER;
	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGSYS, &sa, NULL) == -1)
		fatal("sigaction: %s", strerror(errno));
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}
#else
/* Where the return value of a trapped call cannot be set: EPERM, no report. */
#define REFUSAL SCMP_ACT_ERRNO(EPERM)
static void
catch_refusals(enum proc self)
{
	(void)self;
}
#endif

/* ---- entering ---- */

void
sandbox_allow_setuid(void)
{
	setuid_allowed = true;
}

/* Load and release the filter; rc is that of adding its rules. */
static bool
load(scmp_filter_ctx ctx, int rc, uint32_t other_abi)
{
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, other_abi);
	if (rc == 0) /* search by bisection: libseccomp may be too old for it */
		(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	if (rc != 0)
		log_warn("seccomp is not in force: %s", strerror(-rc));
	return rc == 0;
}

static bool
enter_allow_list(enum proc self)
{
	scmp_filter_ctx ctx = seccomp_init(REFUSAL);

	if (ctx == NULL) {
		log_warn("seccomp is not in force: out of memory");
		return false;
	}
	catch_refusals(self);
	return load(ctx, profile_allow(ctx, self), SCMP_ACT_KILL_PROCESS);
}

static bool
enter_inherited(enum proc self)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (ctx == NULL) {
		log_warn("seccomp is not in force: out of memory");
		return false;
	}
	catch_refusals(self);
	if (!own_code_enter(self))
		log_warn("%s: a part of the sandbox is not in force",
		    proc_name(self));
	/* a script may run a program of 32 bits */
	return load(ctx, profile_refuse_inherited(ctx), SCMP_ACT_ALLOW);
}

static bool
no_new_privileges(void)
{
	if (setuid_allowed)
		return geteuid() == 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0)
		return true;
	log_warn("no_new_privs: %s", strerror(errno));
	return false;
}

/* What libc reads once and keeps, while it still may. */
static void
warm_up(enum proc self)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;

	tzset();
	if (self != PROC_DCS)
		return;
	/* loads the modules of nsswitch.conf that are asked for a known name */
	if (getaddrinfo("localhost", NULL, &hints, &list) == 0)
		freeaddrinfo(list);
}

#ifdef SANITIZED
/* Before the leak check of a sanitized build, which hangs in the sandbox. */
static void
leave_unchecked(int code, void *arg)
{
	(void)arg;
	_exit(code);
}
#endif

uint32_t
sandbox_enter(enum proc self, const char *const *read_paths)
{
	uint32_t bits = 0;

	warm_up(self);
	if (!no_new_privileges()) {
		if (setuid_allowed)
			log_info("%s: no sandbox, since set-uid programs are "
				 "allowed",
			    proc_name(self));
		return 0;
	}
	if (self == PROC_DCS || self == PROC_REST) {
		/* First: the system call filter allows nothing of Landlock. */
		if (landlock_enter(self, read_paths))
			bits |= SANDBOX_LANDLOCK;
		if (enter_allow_list(self))
			bits |= SANDBOX_SECCOMP;
	} else if (enter_inherited(self))
		bits |= SANDBOX_SECCOMP;
#ifdef SANITIZED
	if (bits & SANDBOX_SECCOMP)
		(void)on_exit(leave_unchecked, NULL);
#endif
	/* Building the filters took some hundred kB that nobody needs again. */
	(void)malloc_trim(0);
	log_debug("%s: sandbox: seccomp %s, Landlock %s", proc_name(self),
	    bits & SANDBOX_SECCOMP ? "on" : "off",
	    bits & SANDBOX_LANDLOCK ? "on" : "off");
	return bits;
}
