/*
 * found.c: a primary that runs already when this controller starts, before
 * the store can be read (spec/ha.md 2.1 waits for that without limit).
 *
 * The one who kept its lease may have died together with the keeper.  Whoever
 * did, no lease is longer than ttl: the keeper is told of the postmaster, and
 * unless it knows better ends it a ttl from now, as it would have been ended
 * had nothing been restarted.  When the store answers, the core takes over.
 *
 * Not so in pause, nor where nothing says that the server was ever managed:
 * the copy of the dynamic document in the data directory tells both.
 */
#include "controller.h"

#define ANSWER (5 * NS_PER_SEC)

static void
on_armed(struct helper *h, const struct ipc_msg *msg, int lost, void *arg)
{
	struct controller *c = arg;
	const struct msg_wd_state *m;

	(void)h;
	(void)lost;
	if (msg == NULL || msg->hdr.type != MSG_WD_STATE)
		return; /* asked again with the next try to read the store */
	m = msg->body;
	c->found_told = true;
	if (m->fence_armed)
		log_debug("the running primary is fenced until the store can "
			  "be read");
}

void
found_fence(struct controller *c)
{
	struct msg_wd_settings w = { .ttl = c->conf->settings.ttl,
		.loop_wait = c->conf->settings.loop_wait };
	struct msg_wd_arm m = { 0 };

	if (c->found_told || !c->cached ||
	    tree_path_bool(c->dynamic, "pause", false) ||
	    !helper_linked(c->h, PROC_WATCHDOG))
		return;
	settings_major(c);
	if (!postmaster_find(&c->pm) ||
	    pgconf_has_recovery_files(c->conf, c->major))
		return;
	m.postmaster_pid = c->pm.proc.pid;
	(void)helper_send(
	    c->h, PROC_WATCHDOG, MSG_WD_SETTINGS, &w, NULL, 0, -1);
	/* not queued: as if not answered */
	(void)helper_request(c->h, PROC_WATCHDOG, MSG_WD_ARM, &m, NULL, 0,
	    c->pm.pidfd, clock_boot_ns() + ANSWER, on_armed, c);
}
