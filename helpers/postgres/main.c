/*
 * main.c: entry of patroni-postgres.
 */
#include "../sandbox.h"
#include "../scripts.h"
#include "controller.h"

static struct controller *controller;
static bool started;

static void
on_message(
    struct helper *h, enum proc from, const struct ipc_msg *msg, void *arg)
{
	(void)h;
	(void)arg;
	controller_message(controller, from, msg);
}

static void
on_link(struct helper *h, enum proc peer, bool up, void *arg)
{
	(void)h;
	(void)arg;
	if (started)
		controller_link(controller, peer, up);
}

static const char *
on_config(
    struct helper *h, struct tree *conf, const struct msg_config *m, void *arg)
{
	const char *why;

	(void)arg;
	if (controller == NULL)
		controller = controller_new(h);
	why = controller_config(controller, conf, m);
	if (why == NULL && !started) {
		started = true;
		controller_start(controller);
	}
	return why;
}

static void
on_sandbox(struct helper *h, void *arg)
{
	(void)arg;
	if (controller != NULL && scripts_need_setuid(controller->local))
		sandbox_allow_setuid();
	helper_set_sandbox(h, sandbox_enter(PROC_POSTGRES, NULL));
}

static void
on_shutdown(struct helper *h, void *arg)
{
	(void)arg;
	if (controller == NULL)
		helper_stopped(h, 0);
	else
		controller_shutdown(controller);
}

static void
on_info(struct helper *h, void *arg)
{
	struct msg_helper_info none = { 0 };

	(void)arg;
	if (controller == NULL)
		helper_info(h, &none);
	else
		publish_info(controller, true);
}

int
main(int argc, char **argv)
{
	static const struct helper_ops ops = { .message = on_message,
		.link = on_link,
		.config = on_config,
		.sandbox = on_sandbox,
		.shutdown = on_shutdown,
		.info = on_info };
	struct helper *h;

	h = helper_start(PROC_POSTGRES, &ops, NULL, argc, argv);
	return helper_run(h);
}
