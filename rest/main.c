/*
 * main.c: the REST helper: fd 3, messages, sandbox.  What is served lives in
 * the other files of this folder.
 */
#include <sys/resource.h>
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../helpers/runtime.h"
#include "../helpers/sandbox.h"
#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "rest.h"

#define MAX_FILES 4352 /* connections and everything else */
#define MAX_PEM (1024 * 1024)
#define MAX_PENDING_LISTEN 16
#define INFO_INTERVAL (10 * NS_PER_SEC)
#define INFO_QUIET 60 /* seconds without a status */

struct app {
	struct helper *helper;
	struct rest *rest;
	struct event *info; /* when no status comes */
	int64_t told_ns;
	int listen[MAX_PENDING_LISTEN]; /* came, not yet in force */
	uint32_t nlisten;
};

/* ---- requests: the REST side's form over the runtime's ---- */

struct call {
	struct rest *rest;
	rest_reply_cb cb;
	void *arg;
};

static void
call_done(struct helper *h, const struct ipc_msg *reply, int lost, void *arg)
{
	struct call *c = arg;

	(void)h;
	c->cb(c->rest, reply, lost, c->arg);
	free(c);
}

static uint64_t
app_request(void *ctx, enum proc to, uint16_t type, const void *body,
    const void *var, size_t var_len, int64_t deadline, rest_reply_cb cb,
    void *arg)
{
	struct app *a = ctx;
	struct call *c;
	uint64_t id;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return 0;
	c->rest = a->rest;
	c->cb = cb;
	c->arg = arg;
	id = helper_request(a->helper, to, type, body, var, var_len, -1,
	    deadline, call_done, c);
	if (id == 0)
		free(c);
	return id;
}

static int
app_notify(void *ctx, enum notify_kind kind)
{
	struct app *a = ctx;
	struct msg_notify n = { .kind = (uint32_t)kind, .value = 0 };

	return helper_send(a->helper, PROC_MASTER, MSG_NOTIFY, &n, NULL, 0, -1);
}

static size_t
app_queued(void *ctx)
{
	struct app *a = ctx;

	return helper_queued(a->helper);
}

/* ---- descriptors ---- */

static void
serve_pending(struct app *a)
{
	uint32_t i;

	if (a->nlisten == 0)
		return;
	/* A new set of addresses replaces the old one as a whole. */
	httpd_unlisten(a->rest->http);
	for (i = 0; i < a->nlisten; i++) {
		if (httpd_listen(a->rest->http, a->listen[i]) == 0)
			continue;
		log_error(
		    "REST API cannot serve a socket: %s", strerror(errno));
		close(a->listen[i]);
	}
	a->nlisten = 0;
}

static void
drop_pending(struct app *a)
{
	while (a->nlisten > 0)
		close(a->listen[--a->nlisten]);
}

static void
take_listen(struct app *a, const struct msg_descriptor *d, int fd)
{
	if (fd == -1) {
		log_error("REST API has no socket for %s: %s", d->what,
		    strerror(d->error));
		return;
	}
	if (a->nlisten == MAX_PENDING_LISTEN) {
		log_error(
		    "REST API got more than %d sockets", MAX_PENDING_LISTEN);
		close(fd);
		return;
	}
	a->listen[a->nlisten++] = fd;
	/*
	 * Before the first configuration they wait for it; a later set is
	 * complete when the configuration that goes with it came, see
	 * app_config(), so that nothing is closed before its successor works.
	 */
}

/* The whole of a small file; NULL with errno. */
static char *
read_file(int fd, size_t *len)
{
	struct stat st;
	char *text;
	ssize_t n;

	*len = 0;
	if (fstat(fd, &st) == -1)
		return NULL;
	if (!S_ISREG(st.st_mode) || st.st_size > MAX_PEM) {
		errno = EFBIG;
		return NULL;
	}
	if ((text = malloc((size_t)st.st_size + 1)) == NULL)
		return NULL;
	while (*len < (size_t)st.st_size) {
		n = pread(
		    fd, text + *len, (size_t)st.st_size - *len, (off_t)*len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			free(text);
			return NULL;
		}
		if (n == 0)
			break;
		*len += (size_t)n;
	}
	text[*len] = '\0';
	return text;
}

static void
take_pem(
    struct app *a, const struct msg_descriptor *d, int fd, enum tls_file which)
{
	char *text = NULL;
	size_t len = 0;

	if (fd == -1)
		log_error("%s: %s", d->what, strerror(d->error));
	else {
		if ((text = read_file(fd, &len)) == NULL)
			log_error("%s: %s", d->what, strerror(errno));
		close(fd);
	}
	rest_set_pem(a->rest, which, text, len);
}

static void
take_descriptor(struct app *a, const struct ipc_msg *m)
{
	const struct msg_descriptor *d = m->body;

	switch (d->kind) {
	case DESCRIPTOR_LISTEN:
		take_listen(a, d, m->fd);
		break;
	case DESCRIPTOR_TLS_CERT:
		take_pem(a, d, m->fd, TLS_CERT);
		break;
	case DESCRIPTOR_TLS_KEY:
		take_pem(a, d, m->fd, TLS_KEY);
		break;
	case DESCRIPTOR_TLS_CA:
		take_pem(a, d, m->fd, TLS_CA);
		break;
	default:
		if (m->fd != -1)
			close(m->fd);
	}
}

/* ---- messages ---- */

static void
take_status(struct app *a, const struct ipc_msg *m)
{
	struct tree *doc = NULL;

	if (m->hdr.var_len > 0 &&
	    (doc = tree_decode(m->var, m->hdr.var_len)) == NULL) {
		log_error("REST API got an unreadable status");
		return;
	}
	rest_status(a->rest, m->body, doc);
}

static void
take_view(struct app *a, const struct ipc_msg *m)
{
	const struct msg_view *body = m->body;
	struct view *v;

	if (body->outcome != OUTCOME_OK || m->hdr.var_len == 0)
		return;
	if ((v = view_decode(m->var, m->hdr.var_len)) == NULL) {
		log_error("REST API got an unreadable cluster view");
		return;
	}
	rest_view(a->rest, v);
}

/* Of the control socket, by way of the master. */
static void
take_action(struct app *a, const struct ipc_msg *m)
{
	const struct msg_action *body = m->body;
	struct tree *doc = m->hdr.var_len == 0 ?
	    tree_map() :
	    tree_decode(m->var, m->hdr.var_len);

	rest_local_action(a->rest, m->hdr.id, (enum api_action)body->kind, doc);
}

static void send_info(evutil_socket_t, short, void *);

static void
app_answer(void *ctx, uint64_t id, int code, const char *text)
{
	struct app *a = ctx;
	struct msg_request_reply r;

	memset(&r, 0, sizeof(r));
	r.code = (uint32_t)code;
	(void)text_set(r.text, sizeof(r.text), text);
	(void)helper_reply_id(
	    a->helper, PROC_MASTER, id, MSG_ACTION_REPLY, &r, NULL, 0);
}

static void
app_message(
    struct helper *h, enum proc from, const struct ipc_msg *m, void *arg)
{
	struct app *a = arg;

	(void)h;
	(void)from;
	switch (m->hdr.type) {
	case MSG_DESCRIPTOR:
		take_descriptor(a, m);
		return;
	case MSG_STATUS:
		take_status(a, m);
		/* awake anyway: tell the master as well, now and then */
		if (clock_boot_ns() - a->told_ns >= INFO_INTERVAL)
			send_info(-1, 0, a);
		break;
	case MSG_DCS_VIEW:
		take_view(a, m);
		break;
	case MSG_ACTION:
		take_action(a, m);
		break;
	case MSG_RESTARTS:
		memcpy(&a->rest->helpers, m->body, sizeof(a->rest->helpers));
		break;
	case MSG_DCS_FIGURES:
		memcpy(&a->rest->dcs, m->body, sizeof(a->rest->dcs));
		break;
	}
	if (m->fd != -1)
		close(m->fd);
}

static const char *
app_config(
    struct helper *h, struct tree *conf, const struct msg_config *m, void *arg)
{
	struct app *a = arg;
	const char *error;

	(void)h;
	(void)m;
	error = rest_configure(a->rest, conf);
	tree_free_wiped(conf);
	if (error != NULL) {
		/* what is served stays; the new sockets were for the new one */
		drop_pending(a);
		return error;
	}
	serve_pending(a);
	return NULL;
}

static void
app_sandbox(struct helper *h, void *arg)
{
	struct app *a = arg;

	a->rest->sealed = true;
	helper_set_sandbox(h, sandbox_enter(PROC_REST, NULL));
}

static void
app_drained(void *arg)
{
	struct app *a = arg;

	helper_stopped(a->helper, 0);
}

static void
app_shutdown(struct helper *h, void *arg)
{
	/* a switchover is watched for 20 s, unless loop_wait is long */
	static const struct timeval most = { 25, 0 };
	struct app *a = arg;

	(void)h;
	/* Closed, not just unserved: peers fail fast (spec 2.6). */
	drop_pending(a);
	httpd_drain(a->rest->http, &most, app_drained, a);
}

static void
send_info(evutil_socket_t fd, short what, void *arg)
{
	struct app *a = arg;
	struct msg_helper_info info;

	(void)fd;
	(void)what;
	memset(&info, 0, sizeof(info));
	a->told_ns = clock_boot_ns();
	info.loops = httpd_stats(a->rest->http)->requests;
	helper_info(a->helper, &info);
}

static void
app_info(struct helper *h, void *arg)
{
	(void)h;
	send_info(-1, 0, arg);
}

static void
raise_file_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == -1 || rl.rlim_cur >= MAX_FILES)
		return;
	rl.rlim_cur = rl.rlim_max < MAX_FILES ? rl.rlim_max : MAX_FILES;
	if (setrlimit(RLIMIT_NOFILE, &rl) == -1)
		log_warn("REST API cannot raise its limit of open files: %s",
		    strerror(errno));
}

int
main(int argc, char **argv)
{
	static const struct helper_ops ops = {
		.message = app_message,
		.config = app_config,
		.sandbox = app_sandbox,
		.shutdown = app_shutdown,
		.info = app_info,
	};
	static const struct timeval period = { INFO_QUIET, 0 };
	static struct app app;
	struct rest_ops rest_ops = {
		.request = app_request,
		.notify = app_notify,
		.queued = app_queued,
		.answer = app_answer,
		.ctx = &app,
	};

	raise_file_limit();
	app.helper = helper_start(PROC_REST, &ops, &app, argc, argv);
	app.rest = rest_open(helper_base(app.helper), &rest_ops);
	app.info =
	    event_new(helper_base(app.helper), -1, EV_PERSIST, send_info, &app);
	if (app.rest == NULL || app.info == NULL ||
	    event_add(app.info, &period) == -1)
		fatal("memory is short");
	return helper_run(app.helper);
}
