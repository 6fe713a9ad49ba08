/*
 * rest.c: state of the REST server: configuration, snapshots, live reads.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "../ipc/version.h"
#include "members.h"
#include "rest.h"

#define LOAD_DEADLINE_NS (5 * NS_PER_SEC)

struct rest *
rest_open(struct event_base *base, const struct rest_ops *ops)
{
	struct rest *r;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		return NULL;
	r->base = base;
	r->ops = *ops;
	r->snap.started_ns = clock_boot_ns();
	STAILQ_INIT(&r->waiters);
	STAILQ_INIT(&r->status_waiters);
	STAILQ_INIT(&r->members_waiters);
	if ((r->http = httpd_new(base, rest_handle, r)) == NULL) {
		free(r);
		return NULL;
	}
	return r;
}

void
rest_close(struct rest *r)
{
	struct view_waiter *w;
	int i;

	if (r == NULL)
		return;
	httpd_free(r->http);
	while ((w = STAILQ_FIRST(&r->waiters)) != NULL) {
		STAILQ_REMOVE_HEAD(&r->waiters, entry);
		free(w);
	}
	rest_patroni_free(r);
	members_free(r);
	for (i = 0; i < TLS_FILE_COUNT; i++)
		rest_set_pem(r, (enum tls_file)i, NULL, 0);
	access_free(&r->access);
	tree_free(r->tags);
	tree_free(r->snap.doc);
	view_free(r->view);
	buf_free(&r->doc);
	buf_free(&r->metrics);
	buf_free(&r->cluster);
	free(r);
}

/* ---- configuration ---- */

/* Header names and values from the configuration must not break the head. */
static bool
header_safe(const char *s)
{
	for (; *s != '\0'; s++)
		if ((uint8_t)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static void
add_headers(struct buf *b, const struct tree *map, const struct tree *override)
{
	const struct tree *t;
	char value[1024];
	uint32_t i;

	for (i = 0; map != NULL && map->type == TREE_MAP && i < tree_count(map);
	     i++) {
		t = tree_child(map, i);
		if (override != NULL && tree_get(override, t->key) != NULL)
			t = tree_get(override, t->key);
		if (t->type == TREE_LIST || t->type == TREE_MAP ||
		    tree_scalar_text(t, value, sizeof(value)) >=
			(int)sizeof(value) ||
		    !header_safe(t->key) || !header_safe(value) ||
		    strchr(t->key, ':') != NULL) {
			log_error(
			    "Invalid extra header \"%s\" in restapi is left "
			    "out",
			    t->key);
			continue;
		}
		buf_printf(b, "%s: %s\r\n", t->key, value);
	}
}

/* Those of https that override nothing. */
static void
add_new_headers(
    struct buf *b, const struct tree *https, const struct tree *http)
{
	struct tree *rest_of = https == NULL ? NULL : tree_copy(https);
	uint32_t i;

	for (i = 0; rest_of != NULL && i < tree_count(http); i++)
		tree_remove(rest_of, tree_child(http, i)->key);
	add_headers(b, rest_of, NULL);
	tree_free(rest_of);
}

static void
set_headers(struct rest *r, const struct tree *restapi, bool tls)
{
	const struct tree *http = tree_get(restapi, "http_extra_headers");
	const struct tree *https = tree_get(restapi, "https_extra_headers");
	const char *tokens =
	    tree_path_text(restapi, "server_tokens", "original");
	const char *server = "Patroni/" COMPAT_VERSION;
	struct buf extra = { 0 };

	if (strcasecmp(tokens, "productonly") == 0)
		server = "Patroni";
	else if (strcasecmp(tokens, "minimal") != 0 &&
	    strcasecmp(tokens, "original") != 0)
		log_warn(
		    "restapi.server_tokens is set to unknown value \"%s\", "
		    "\"Original\" is used",
		    tokens);
	if (https != NULL && https->type != TREE_MAP)
		https = NULL;
	add_headers(&extra, http, tls ? https : NULL);
	if (tls)
		add_new_headers(&extra, https, http);
	if (!extra.failed)
		httpd_set_headers(
		    r->http, server, extra.s == NULL ? "" : extra.s);
	buf_free(&extra);
}

static const char *const pem_keys[TLS_FILE_COUNT] = {
	[TLS_CERT] = "certfile", [TLS_KEY] = "keyfile", [TLS_CA] = "cafile"
};

/* Files that the configuration does not name any more. */
static void
drop_unused_pem(struct rest *r, const struct tree *restapi)
{
	int i;

	for (i = 0; i < TLS_FILE_COUNT; i++)
		if (tree_path_text(restapi, pem_keys[i], "")[0] == '\0')
			rest_set_pem(r, (enum tls_file)i, NULL, 0);
}

/* One that is named and did not come: nothing else may stand in for it. */
static const char *
missing_pem(const struct rest *r, const struct tree *restapi)
{
	static const char *const errors[TLS_FILE_COUNT] = {
		[TLS_CERT] = "restapi.certfile could not be read",
		[TLS_KEY] = "restapi.keyfile could not be read",
		[TLS_CA] = "restapi.cafile could not be read"
	};
	int i;

	for (i = 0; i < TLS_FILE_COUNT; i++)
		if (r->pem[i].text == NULL &&
		    tree_path_text(restapi, pem_keys[i], "")[0] != '\0')
			return errors[i];
	return NULL;
}

/* The error begins with the key that is at fault. */
static void
log_tls_error(const struct tree *restapi, const char *error, const char *reason)
{
	const char *file = "", *key = error + strlen("restapi.");
	int i;

	for (i = 0; i < TLS_FILE_COUNT; i++)
		if (strncmp(error, "restapi.", strlen("restapi.")) == 0 &&
		    strncmp(key, pem_keys[i], strlen(pem_keys[i])) == 0)
			file = tree_path_text(restapi, pem_keys[i], "");
	log_error("REST API TLS: %s%s%s%s%s%s", error,
	    file[0] != '\0' ? " (" : "", file, file[0] != '\0' ? ")" : "",
	    reason != NULL ? ": " : "", reason != NULL ? reason : "");
}

static struct tls_context *
tls_context(const struct rest *r, const struct tree *restapi,
    enum verify_client verify, const char **error)
{
	struct tls_settings s = { .pem = r->pem,
		.ciphers = tree_path_text(restapi, "ciphers", ""),
		.key_password =
		    tree_path_text(restapi, "keyfile_password", NULL),
		.verify = verify == VERIFY_REQUIRED ? TLS_VERIFY_REQUIRED :
		    verify == VERIFY_OPTIONAL	    ? TLS_VERIFY_OPTIONAL :
						      TLS_VERIFY_NONE };
	const struct tls_module *tls;
	struct tls_context *ctx;

	/* the master tries it in a new process, see master/successor.c */
	*error = "TLS cannot be loaded any more by this process";
	if (r->sealed && !tls_loaded())
		return NULL;
	*error = "TLS is not available";
	if ((tls = tls_module()) == NULL)
		return NULL;
	if ((*error = missing_pem(r, restapi)) != NULL) {
		log_tls_error(restapi, *error, NULL);
		return NULL;
	}
	if ((ctx = tls->context_new(&s, error)) != NULL)
		return ctx;
	log_tls_error(restapi, *error, tls->reason());
	tls->clear();
	return NULL;
}

static bool
wants_tls(const struct tree *restapi)
{
	return tree_path_text(restapi, "certfile", "")[0] != '\0';
}

const char *
rest_configure(struct rest *r, const struct tree *conf)
{
	const struct tree *restapi = tree_get(conf, "restapi");
	const char *scope, *name, *error = NULL;
	struct document_names names;
	struct access access;
	struct tls_context *tls = NULL;
	bool https;

	memset(&names, 0, sizeof(names));
	scope = tree_path_text(conf, "scope", "");
	name = tree_path_text(conf, "name", "");
	if (!text_set(names.scope, sizeof(names.scope), scope) ||
	    !text_set(names.name, sizeof(names.name), name))
		return "scope or name is too long";
	if (!access_load(&access, restapi))
		return "memory is short";
	drop_unused_pem(r, restapi);
	https = wants_tls(restapi);
	if (https &&
	    (tls = tls_context(r, restapi, access.verify_client, &error)) ==
		NULL) {
		access_free(&access);
		return error;
	}
	access_free(&r->access);
	r->access = access;
	r->names = names;
	tree_free(r->tags);
	r->tags = tags_published(tree_get(conf, "tags"));
	httpd_set_tls(r->http, https ? tls_module() : NULL, tls);
	set_headers(r, restapi, https);
	r->doc_valid = false;
	r->cluster_valid = false;
	r->metrics_ns = 0;
	return NULL;
}

void
rest_set_pem(struct rest *r, enum tls_file which, char *text, size_t len)
{
	if (r->pem[which].text != NULL)
		wipe(r->pem[which].text, r->pem[which].len);
	free(r->pem[which].text);
	r->pem[which].text = text;
	r->pem[which].len = len;
}

/* ---- snapshots ---- */

void
rest_status(struct rest *r, const struct msg_status *s, struct tree *doc)
{
	r->snap.s = *s;
	r->snap.have = true;
	tree_free(r->snap.doc);
	r->snap.doc = doc;
	r->doc_valid = false;
	r->metrics_ns = 0;
}

void
rest_view(struct rest *r, struct view *v)
{
	view_free(r->view);
	r->view = v;
	r->view_ns = clock_boot_ns();
	r->cluster_valid = false;
}

const struct view *
rest_cached_view(const struct rest *r, int64_t now)
{
	if (r->view == NULL || !r->snap.have || r->snap.s.view_until_ns <= now)
		return NULL;
	return r->view;
}

/* ---- live reads ---- */

static void
load_done(struct rest *r, const struct ipc_msg *m, int lost, void *arg)
{
	const struct msg_view *body;
	const struct view *v = NULL;
	struct view_waiter *w;
	STAILQ_HEAD(, view_waiter) mine = STAILQ_HEAD_INITIALIZER(mine);
	struct view *fresh;

	(void)lost;
	(void)arg;
	r->loading = false;
	r->view_latency = clock_boot_ns() - r->load_sent;
	body = m == NULL ? NULL : m->body;
	if (body != NULL && m->hdr.type == MSG_DCS_VIEW &&
	    body->outcome == OUTCOME_OK && m->var != NULL &&
	    (fresh = view_decode(m->var, m->hdr.var_len)) != NULL) {
		rest_view(r, fresh);
		v = fresh;
	}
	/* A waiter may ask again: it then waits for the next read. */
	STAILQ_CONCAT(&mine, &r->waiters);
	while ((w = STAILQ_FIRST(&mine)) != NULL) {
		STAILQ_REMOVE_HEAD(&mine, entry);
		/* a callback may have taken in a newer view */
		w->cb(r, v == NULL ? NULL : r->view, w->arg);
		free(w);
	}
}

void
rest_live_view(struct rest *r, int64_t max_age_ns, rest_view_cb cb, void *arg)
{
	int64_t now = clock_boot_ns();
	struct view_waiter *w;

	if (r->view != NULL && max_age_ns > 0 &&
	    now - r->view_ns < max_age_ns) {
		cb(r, r->view, arg);
		return;
	}
	if ((w = calloc(1, sizeof(*w))) == NULL) {
		cb(r, NULL, arg);
		return;
	}
	w->cb = cb;
	w->arg = arg;
	if (!r->loading) {
		r->load_sent = now;
		if (r->ops.request(r->ops.ctx, PROC_DCS, MSG_DCS_LOAD, NULL,
			NULL, 0, now + LOAD_DEADLINE_NS, load_done,
			NULL) == 0) {
			free(w);
			cb(r, NULL, arg);
			return;
		}
		r->loading = true;
	}
	STAILQ_INSERT_TAIL(&r->waiters, w, entry);
}
