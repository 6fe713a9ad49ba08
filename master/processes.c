/*
 * processes.c: the table that `patronictl local` shows.
 *
 * Memory and processor time come from /proc at the moment of asking; PSS is
 * left out where the kernel does not let this user see it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../helpers/sandbox.h"
#include "../ipc/clock.h"
#include "../ipc/version.h"
#include "master.h"

static ssize_t
read_proc(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[64];
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	if ((f = fopen(path, "re")) == NULL)
		return -1;
	n = fread(buf, 1, size - 1, f);
	buf[n] = '\0';
	(void)fclose(f);
	return (ssize_t)n;
}

/* Number behind "key" at the start of a line; -1 when it is not there. */
static int64_t
line_number(const char *text, const char *key)
{
	const char *line;
	size_t len = strlen(key);

	for (line = text; line != NULL; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strncmp(line, key, len) == 0)
			return strtoll(line + len, NULL, 10);
	}
	return -1;
}

/* User and system time in ms: fields 14 and 15, counted behind the name,
 * which may hold blanks and brackets. */
static int64_t
cpu_ms(pid_t pid)
{
	char buf[1024];
	const char *p;
	unsigned long long user, sys;
	long ticks = sysconf(_SC_CLK_TCK);

	if (read_proc(pid, "stat", buf, sizeof(buf)) <= 0 ||
	    (p = strrchr(buf, ')')) == NULL || ticks <= 0)
		return -1;
	if (sscanf(p + 1,
		" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
		&sys) != 2)
		return -1;
	return (int64_t)((user + sys) * 1000 / (unsigned long long)ticks);
}

static void
set_if_known(struct tree *map, const char *key, int64_t n)
{
	if (n >= 0)
		(void)tree_set(map, key, tree_int(n));
}

static void
set_memory(struct tree *map, pid_t pid)
{
	char buf[4096];

	if (read_proc(pid, "status", buf, sizeof(buf)) > 0)
		set_if_known(map, "rss_kb", line_number(buf, "VmRSS:"));
	if (read_proc(pid, "smaps_rollup", buf, sizeof(buf)) > 0)
		set_if_known(map, "pss_kb", line_number(buf, "Pss:"));
	set_if_known(map, "cpu_ms", cpu_ms(pid));
}

static const char *
sandbox_text(uint32_t bits)
{
	static const char *const text[4] = { "none", "seccomp", "landlock",
		"seccomp+landlock" };

	return text[bits & (SANDBOX_SECCOMP | SANDBOX_LANDLOCK)];
}

static struct tree *
process(const char *name, pid_t pid, const char *user, int64_t started_ns)
{
	struct tree *map = tree_map();
	int64_t now = clock_boot_ns();

	if (map == NULL)
		return NULL;
	(void)tree_set(map, "name", tree_text(name));
	(void)tree_set(map, "pid", tree_int(pid));
	(void)tree_set(map, "user", tree_text(user));
	if (pid != 0) {
		(void)tree_set(
		    map, "uptime", tree_int((now - started_ns) / NS_PER_SEC));
		set_memory(map, pid);
	}
	return map;
}

static void
set_lease(struct tree *map, const struct msg_helper_info *info)
{
	int64_t left;

	if (info->lease_end_ns == 0)
		return;
	left = info->lease_end_ns - clock_boot_ns();
	(void)tree_set(map, "lease_left_ms", tree_int(left / NS_PER_MS));
}

static struct tree *
helper(const struct master *m, const struct helper_proc *h)
{
	const struct msg_helper_info *info = &h->info;
	struct tree *map;

	map = process(proc_name(h->proc), h->pid,
	    privileges_for(&m->accounts, h->proc)->name, h->started_ns);
	if (map == NULL)
		return NULL;
	(void)tree_set(map, "restarts", tree_int(h->restarts));
	(void)tree_set(map, "ready", tree_bool(h->ready));
	if (!h->has_info)
		return map;
	(void)tree_set(map, "sandbox", tree_text(sandbox_text(info->sandbox)));
	(void)tree_set(
	    map, "loops", tree_int((int64_t)(info->loops & INT64_MAX)));
	(void)tree_set(map, "queue_bytes", tree_int(info->queue_bytes));
	set_lease(map, info);
	if (h->proc == PROC_WATCHDOG) {
		(void)tree_set(map, "armed", tree_bool(info->armed != 0));
		(void)tree_set(map, "fenced", tree_int(info->fenced));
	}
	if (h->proc == PROC_POSTGRES) {
		(void)tree_set(map, "role",
		    tree_text(pg_role_name((enum pg_role)info->role)));
		(void)tree_set(map, "state",
		    tree_text(pg_state_name((enum pg_state)info->state)));
	}
	if (info->text[0] != '\0')
		(void)tree_set(map, "text", tree_text(info->text));
	return map;
}

static struct tree *
master_process(const struct master *m)
{
	struct tree *map;

	map = process("master", getpid(),
	    geteuid() == 0 ? "root" : m->accounts.owner.name, m->started_ns);
	if (map == NULL)
		return NULL;
	(void)tree_set(map, "restarts", tree_int(0));
	(void)tree_set(map, "ready", tree_bool(m->phase == PHASE_RUNNING));
	(void)tree_set(map, "sandbox", tree_text(sandbox_text(m->sandbox)));
	return map;
}

struct tree *
processes_tree(struct master *m)
{
	struct tree *map = tree_map(), *list = tree_list();
	int p;

	if (map == NULL || list == NULL) {
		tree_free(map);
		tree_free(list);
		return NULL;
	}
	(void)tree_set(map, "version", tree_text(PROGRAM_VERSION));
	(void)tree_set(map, "name",
	    tree_text(tree_path_text(m->conf->effective, "name", "")));
	(void)tree_set(map, "scope",
	    tree_text(tree_path_text(m->conf->effective, "scope", "")));
	(void)tree_set(map, "generation", tree_int((int64_t)m->generation));
	(void)tree_append(list, master_process(m));
	for (p = PROC_DCS; p <= PROC_WATCHDOG; p++)
		(void)tree_append(list, helper(m, &m->helpers[p]));
	(void)tree_set(map, "processes", list);
	return map;
}
