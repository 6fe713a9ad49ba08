/*
 * sandbox_landlock.c: which files dcs and rest may still reach: Landlock by
 * its system calls, whatever ABI the kernel has.
 */
#include <sys/stat.h>
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/log.h"
#include "sandbox_int.h"

/* From the kernel's interface; the headers of the build may be older. */
#define FS_EXECUTE (UINT64_C(1) << 0)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_ABI1 ((UINT64_C(1) << 13) - 1)
#define FS_REFER (UINT64_C(1) << 13)	 /* ABI 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14)	 /* ABI 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* ABI 5 */
#define NET_BIND_TCP UINT64_C(1)	 /* ABI 4 */
#define NET_CONNECT_TCP UINT64_C(2)
#define SCOPE_ABSTRACT_UNIX UINT64_C(1) /* ABI 6 */
#define SCOPE_SIGNAL UINT64_C(2)
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

/* What resolving names and checking certificates reads.  The directories of
 * libraries are for modules of nsswitch.conf. */
static const char *const resolver_files[] = {
	"/etc/resolv.conf",
	"/etc/hosts",
	"/etc/nsswitch.conf",
	"/etc/host.conf",
	"/etc/gai.conf",
	"/etc/services",
	"/etc/protocols",
};
static const char *const dcs_paths[] = {
	"/dev/urandom", /* ids of DNS queries */
	"/run/systemd/resolve",
	"/run/resolvconf",
	"/run/NetworkManager",
	"/etc/ssl",
	"/usr/lib/ssl",
	"/usr/share/ca-certificates",
	"/usr/local/share/ca-certificates",
	"/etc/pki",
	"/etc/ca-certificates",
	"/var/run/secrets/kubernetes.io",
	"/etc/localtime",
	"/usr/share/zoneinfo",
	"/etc/ld.so.cache",
	"/lib",
	"/lib64",
	"/usr/lib",
	"/usr/lib64",
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool readable_at_start[COUNT(resolver_files)];

static int
abi_version(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, (size_t)0,
	    CREATE_RULESET_VERSION);
}

static int
create(enum proc self, int abi)
{
	struct ruleset_attr a = { .fs = FS_ABI1 };
	size_t size = sizeof(a.fs);

	if (abi >= 2)
		a.fs |= FS_REFER;
	if (abi >= 3)
		a.fs |= FS_TRUNCATE;
	if (abi >= 5)
		a.fs |= FS_IOCTL_DEV;
	if (abi >= 4) {
		size = 2 * sizeof(uint64_t);
		a.net = NET_BIND_TCP;
		if (self != PROC_DCS)
			a.net |= NET_CONNECT_TCP;
	}
	if (abi >= 6) {
		size = sizeof(a);
		a.scoped = SCOPE_SIGNAL;
		if (self != PROC_DCS)
			a.scoped |= SCOPE_ABSTRACT_UNIX;
	}
	return (int)syscall(SYS_landlock_create_ruleset, &a, size, 0u);
}

/* A path that does not exist needs no rule.  True when it exists. */
static bool
allow_reading(int ruleset, const char *path)
{
	struct path_beneath rule = { .allowed = FS_READ_FILE };
	struct stat st;
	int fd = open(path, O_PATH | O_CLOEXEC), rc = -1;

	if (fd == -1)
		return false;
	if (fstat(fd, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			rule.allowed |= FS_READ_DIR;
		rule.parent_fd = fd;
		rc = (int)syscall(SYS_landlock_add_rule, ruleset,
		    RULE_PATH_BENEATH, &rule, 0u);
	}
	if (rc == -1)
		log_warn("Landlock rule for %s: %s", path, strerror(errno));
	close(fd);
	return rc == 0;
}

/* Not what permissions forbid: a restart would not help then. */
static bool
opens(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd == -1)
		return false;
	close(fd);
	return true;
}

static void
allow_dcs(int ruleset, const char *const *read_paths)
{
	for (size_t i = 0; i < COUNT(resolver_files); i++)
		readable_at_start[i] =
		    allow_reading(ruleset, resolver_files[i]) &&
		    opens(resolver_files[i]);
	for (size_t i = 0; i < COUNT(dcs_paths); i++)
		(void)allow_reading(ruleset, dcs_paths[i]);
	for (; read_paths != NULL && *read_paths != NULL; read_paths++)
		if (!allow_reading(ruleset, *read_paths))
			log_warn("%s does not exist or is not accessible",
			    *read_paths);
}

bool
landlock_enter(enum proc self, const char *const *read_paths)
{
	int abi = abi_version(), ruleset;

	if (abi < 1) {
		log_warn("The kernel has no Landlock (%s): files are protected "
			 "by their permissions only",
		    strerror(errno));
		return false;
	}
	if ((ruleset = create(self, abi)) == -1) {
		log_warn("Landlock is not in force: %s", strerror(errno));
		return false;
	}
	if (self == PROC_DCS)
		allow_dcs(ruleset, read_paths);
	if (syscall(SYS_landlock_restrict_self, ruleset, 0u) == -1) {
		log_warn("Landlock is not in force: %s", strerror(errno));
		close(ruleset);
		return false;
	}
	close(ruleset);
	return true;
}

bool
sandbox_stale(void)
{
	for (size_t i = 0; i < COUNT(resolver_files); i++)
		if (readable_at_start[i] && !opens(resolver_files[i]) &&
		    (errno == EACCES || errno == EPERM))
			return true;
	return false;
}
