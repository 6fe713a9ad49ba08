/*
 * rest.c: requests to members, on the HTTP layer of the store's drivers, with
 * the TLS rules of patronictl.md 6.3.
 */
#include <event2/event.h>

#include <stdlib.h>
#include <string.h>

#include "../../dcs/http.h"
#include "../../ipc/clock.h"
#include "rest.h"

#define MAX_ANSWER (4 * 1024 * 1024)

struct waiting {
	struct rest_answer *answer;
	struct event_base *base;
	bool done;
};

static void
answered(const struct http_answer *a, void *arg)
{
	struct waiting *w = arg;

	w->done = true;
	w->answer->status = a->error == HTTP_OK ? a->status : 0;
	if (a->error == HTTP_OK) {
		w->answer->body = strndup(a->body, a->len);
		w->answer->len = w->answer->body != NULL ? a->len : 0;
	}
	(void)snprintf(w->answer->text, sizeof(w->answer->text), "%s", a->text);
	(void)event_base_loopbreak(w->base);
}

/* certfile alone: presented; cacert: what servers are checked against;
 * insecure: not checked. */
static void
load_tls(const struct ctl *ctl, struct http_tls *tls)
{
	const struct tree *c = ctl->conf->effective;
	char err[TEXT_SIZE] = "";
	const char *ca = tree_path_text(c, "ctl.cacert",
	    tree_path_text(c, "restapi.cafile", NULL));

	memset(tls, 0, sizeof(*tls));
	tls->verify_peer = tls->verify_host = !ctl->insecure;
	if (!http_tls_load(tls, ca, tree_path_text(c, "ctl.certfile", NULL),
		tree_path_text(c, "ctl.keyfile", NULL),
		tree_path_text(c, "ctl.keyfile_password", NULL), err,
		sizeof(err)))
		ctl_error("%s", err);
}

void
rest_get(struct ctl *ctl, struct store *store, const char *url, int timeout,
    struct rest_answer *answer)
{
	struct waiting w = { answer, store_base(store), false };
	struct http *http = http_new(w.base);
	struct http_spec spec;
	struct http_tls tls;

	memset(answer, 0, sizeof(*answer));
	if (http == NULL)
		ctl_error("out of memory");
	load_tls(ctl, &tls);
	memset(&spec, 0, sizeof(spec));
	spec.method = "GET";
	spec.url = url;
	spec.tls = &tls;
	spec.deadline = clock_boot_ns() + timeout * NS_PER_SEC;
	spec.max_body = MAX_ANSWER;
	spec.close = true;
	if (http_start(http, &spec, answered, &w) == NULL)
		(void)text_set(answer->text, sizeof(answer->text),
		    "not a usable URL");
	else
		while (!w.done)
			if (event_base_loop(w.base, EVLOOP_ONCE) != 0)
				break;
	http_free(http);
	http_tls_clear(&tls);
	if (answer->body == NULL && (answer->body = strdup("")) == NULL)
		ctl_error("out of memory");
}

void
rest_free(struct rest_answer *answer)
{
	free(answer->body);
	answer->body = NULL;
}
