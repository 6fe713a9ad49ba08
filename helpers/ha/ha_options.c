/*
 * ha_options.c: the global options of spec/ha.md 1.3 from the dynamic
 * document, their clamping, and the pure functions of ha.h on names.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../ipc/values.h"
#include "ha_int.h"

/* An integer option, also when written as text or with a unit ("5min"). */
static int64_t
get_int(const struct tree *doc, const char *key, const char *unit, int64_t dflt)
{
	const struct tree *t = tree_get(doc, key);
	char text[WORD_SIZE];
	int64_t v;

	if (t == NULL)
		return dflt;
	if (t->type == TREE_INT)
		return t->u.i;
	if (t->type == TREE_REAL && t->u.r > -1e15 && t->u.r < 1e15)
		return (int64_t)t->u.r;
	if (t->type != TREE_TEXT ||
	    tree_scalar_text(t, text, sizeof(text)) >= (int)sizeof(text))
		return dflt;
	return value_int(text, unit, &v) ? v : dflt;
}

static bool
get_bool(const struct tree *doc, const char *key)
{
	const struct tree *t = tree_get(doc, key);

	if (t == NULL)
		return false;
	if (t->type == TREE_BOOL)
		return t->u.b;
	if (t->type == TREE_INT)
		return t->u.i != 0;
	if (t->type == TREE_TEXT)
		return value_bool(t->u.s) == 1;
	return false;
}

/* New name first, then the one before 4.0. */
static int64_t
get_renamed(
    const struct tree *doc, const char *key, const char *old, int64_t dflt)
{
	if (tree_get(doc, key) != NULL)
		return get_int(doc, key, "s", dflt);
	return get_int(doc, old, "s", dflt);
}

static enum sync_mode
get_sync_mode(const struct tree *doc)
{
	const struct tree *t = tree_get(doc, "synchronous_mode");

	if (t != NULL && t->type == TREE_TEXT &&
	    strcasecmp(t->u.s, "quorum") == 0)
		return SYNC_QUORUM;
	return get_bool(doc, "synchronous_mode") ? SYNC_PRIORITY : SYNC_OFF;
}

static bool
has_text(const struct tree *map, const char *key, char *out, size_t size)
{
	const struct tree *t = tree_get(map, key);
	char text[URL_SIZE];

	if (t == NULL || t->type == TREE_LIST || t->type == TREE_MAP ||
	    t->type == TREE_NULL)
		return false;
	if (tree_scalar_text(t, text, sizeof(text)) >= (int)sizeof(text))
		return false;
	if (out != NULL && !text_set(out, size, text))
		return false;
	return text[0] != '\0';
}

static void
read_standby_cluster(const struct tree *doc, struct options *o)
{
	const struct tree *s = tree_get(doc, "standby_cluster");
	const struct tree *methods, *m;
	uint32_t i;

	if (s == NULL || s->type != TREE_MAP)
		return;
	o->standby_cluster =
	    has_text(s, "host", o->remote_host, sizeof(o->remote_host));
	if (has_text(s, "port", o->remote_port, sizeof(o->remote_port)))
		o->standby_cluster = true;
	if (has_text(s, "restore_command", NULL, 0))
		o->standby_cluster = true;
	methods = tree_get(s, "create_replica_methods");
	for (i = 0; i < tree_count(methods); i++) {
		m = tree_child(methods, i);
		if (m->type == TREE_TEXT && strcmp(m->u.s, "basebackup") != 0)
			o->remote_clone_without_leader = true;
	}
}

void
ha_clamp(int64_t ttl, int64_t loop_wait, int64_t retry_timeout,
    struct msg_dcs_settings *out)
{
	const int64_t most = 1000000;

	loop_wait = loop_wait < 1 ? 1 : loop_wait > most ? most : loop_wait;
	retry_timeout = retry_timeout < 3 ? 3 :
	    retry_timeout > most	  ? most :
					    retry_timeout;
	ttl = ttl < 20 ? 20 : ttl > most * 3 ? most * 3 : ttl;
	if (1 + 2 * retry_timeout > ttl) {
		loop_wait = 1;
		retry_timeout = (ttl - 1) / 2;
	} else if (loop_wait + 2 * retry_timeout > ttl)
		loop_wait = ttl - 2 * retry_timeout;
	memset(out, 0, sizeof(*out));
	out->ttl = (int32_t)ttl;
	out->loop_wait = (int32_t)loop_wait;
	out->retry_timeout = (int32_t)retry_timeout;
}

void
options_read(const struct tree *doc, struct options *o)
{
	memset(o, 0, sizeof(*o));
	ha_clamp(get_int(doc, "ttl", "s", 30),
	    get_int(doc, "loop_wait", "s", 10),
	    get_int(doc, "retry_timeout", "s", 10), &o->time);
	o->pause = get_bool(doc, "pause");
	o->maximum_lag = get_int(doc, "maximum_lag_on_failover", "B", 1048576);
	o->check_timeline = get_bool(doc, "check_timeline");
	o->primary_start_timeout = get_renamed(
	    doc, "primary_start_timeout", "master_start_timeout", 300);
	o->primary_stop_timeout =
	    get_renamed(doc, "primary_stop_timeout", "master_stop_timeout", 0);
	o->race_backoff = get_int(doc, "primary_race_backoff", "s", 0);
	o->sync_strict = get_bool(doc, "synchronous_mode_strict");
	o->sync_node_count = get_int(doc, "synchronous_node_count", NULL, 1);
	if (o->sync_node_count < (o->sync_strict ? 1 : 0))
		o->sync_node_count = 1;
	o->maximum_lag_on_syncnode =
	    get_int(doc, "maximum_lag_on_syncnode", "B", -1);
	o->failsafe = get_bool(doc, "failsafe_mode");
	o->max_timelines_history =
	    get_int(doc, "max_timelines_history", NULL, 0);
	o->member_slots_ttl = get_int(doc, "member_slots_ttl", "s", 1800);
	read_standby_cluster(doc, o);
	if (!o->standby_cluster)
		o->sync_mode = get_sync_mode(doc);
}

/* The same document is read in every pass of every cycle: remember it. */
static const struct options *
options_of(struct ha *h, const struct view *v)
{
	if (h->read_view == v)
		return &h->read_options;
	if (h->read_doc == NULL ||
	    (h->read_doc != v->config && !tree_equal(h->read_doc, v->config))) {
		options_read(v->config, &h->read_options);
		h->read_version++;
		tree_free(h->read_doc);
		h->read_doc = tree_share(v->config);
	}
	h->read_view = v;
	return &h->read_options;
}

/*
 * Take /config of the view just loaded (spec 3.3): kept when it is missing
 * or invalid.  The controller gets the document once per change.
 */
void
options_adopt(struct ha *h)
{
	const struct view *v = h->s.view;
	struct msg_dcs_settings was = h->s.opt.time;
	const struct options *o;
	struct ha_job job;

	if (v == NULL || v->config == NULL || v->config_modify == 0 ||
	    tree_count(v->config) == 0)
		return;
	o = options_of(h, v);
	if (h->s.opt_version != h->read_version)
		h->s.opt = *o;
	h->s.opt_version = h->read_version;
	if (memcmp(&was, &h->s.opt.time, sizeof(was)) != 0)
		fx_new(h, FX_SETTINGS)->settings = h->s.opt.time;
	if (h->s.config_modify == v->config_modify)
		return;
	h->s.config_modify = v->config_modify;
	/* outside the snapshot: it is the same document in every pass */
	tree_free(h->dynamic);
	h->dynamic = tree_share(v->config);
	job_init(&job, JOB_SET_CONFIG);
	job.doc = keep_tree(h, tree_share(v->config));
	(void)job_start(h, &job);
	if (h->s.role != ROLE_UNINITIALIZED) {
		job_init(&job, JOB_SAVE_CACHE);
		(void)job_start(h, &job);
	}
}

/* spec/postgres.md 17.1; one code point of UTF-8 at a time. */
void
ha_slot_name(const char *member, char out[64])
{
	const unsigned char *p = (const unsigned char *)member;
	size_t n = 0;
	char piece[16];

	while (*p != '\0' && n < 63) {
		uint32_t c = *p++;
		size_t len, extra = 0;

		if (c >= 0xf0) {
			extra = 3;
			c &= 0x07;
		} else if (c >= 0xe0) {
			extra = 2;
			c &= 0x0f;
		} else if (c >= 0xc0) {
			extra = 1;
			c &= 0x1f;
		}
		for (; extra > 0 && (*p & 0xc0) == 0x80; extra--)
			c = c << 6 | (*p++ & 0x3f);
		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (c == '-' || c == '.')
			c = '_';
		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		    c == '_')
			(void)snprintf(piece, sizeof(piece), "%c", (int)c);
		else
			(void)snprintf(piece, sizeof(piece), "u%04u", c);
		len = strlen(piece);
		if (len > 63 - n)
			len = 63 - n;
		memcpy(out + n, piece, len);
		n += len;
	}
	out[n] = '\0';
}
