/*
 * encode.c: see encode.h.
 */
#include <stdlib.h>
#include <string.h>

#include "../ipc/version.h"
#include "encode.h"
#include "json.h"

/* Each helper adds a field to the document and remembers a failure. */
struct document {
	json_t *j;
	bool ok;
};

static void
add(struct document *d, const char *key, json_t *v)
{
	if (v == NULL || json_object_set_new(d->j, key, v) != 0)
		d->ok = false;
}

static void
add_text(struct document *d, const char *key, const char *s)
{
	if (s[0] != '\0')
		add(d, key, json_string(s));
}

static void
add_lsn(struct document *d, const char *key, uint64_t lsn)
{
	if (lsn != 0)
		add(d, key, json_integer((json_int_t)lsn));
}

static void
add_tree(struct document *d, const char *key, const struct tree *doc)
{
	const struct tree *t = tree_get(doc, key);

	if (t != NULL && tree_count(t) > 0)
		add(d, key, json_from_tree(t));
}

static char *
finish(struct document *d)
{
	char *s = d->j != NULL && d->ok ? json_compact(d->j) : NULL;

	json_decref(d->j);
	return s;
}

char *
encode_member(const struct msg_dcs_touch *m, const struct tree *doc)
{
	struct document d = { json_object(), true };

	add(&d, "conn_url", json_string(m->conn_url));
	add(&d, "api_url", json_string(m->api_url));
	add(&d, "state", json_string(pg_state_name((enum pg_state)m->state)));
	add(&d, "role", json_string(pg_role_name((enum pg_role)m->role)));
	add(&d, "version", json_string(COMPAT_VERSION));
	add_text(&d, "proxy_url", m->proxy_url);
	if (m->checkpoint_pending)
		add(&d, "checkpoint_after_promote", json_false());
	add_tree(&d, "tags", doc);
	if (m->pending_restart) {
		add(&d, "pending_restart", json_true());
		add_tree(&d, "pending_restart_reason", doc);
	}
	if (m->has_lsn) {
		add(&d, "xlog_location",
		    json_integer((json_int_t)m->xlog_location));
		add_lsn(&d, "replay_lsn", m->replay_lsn);
		add_lsn(&d, "receive_lsn", m->receive_lsn);
		add_text(&d, "replication_state", m->replication_state);
		add_lsn(&d, "timeline", m->timeline);
	}
	add_tree(&d, "scheduled_restart", doc);
	add_tree(&d, "progress", doc);
	if (m->pause)
		add(&d, "pause", json_true());
	return finish(&d);
}

static void
status_slots(
    struct document *d, const struct tree *doc, const struct view *last)
{
	const struct tree *t = tree_get(doc, "slots");
	uint32_t i;
	json_t *j;

	if (t != NULL) {
		if (tree_count(t) > 0)
			add(d, "slots", json_from_tree(t));
		return;
	}
	if (last == NULL || last->nslots == 0)
		return;
	if ((j = json_object()) == NULL) {
		d->ok = false;
		return;
	}
	for (i = 0; i < last->nslots; i++)
		if (json_object_set_new(j, last->slots[i].name,
			json_integer((json_int_t)last->slots[i].lsn)) != 0)
			d->ok = false;
	add(d, "slots", j);
}

static void
status_retain(
    struct document *d, const struct tree *doc, const struct view *last)
{
	const struct tree *t = tree_get(doc, "retain_slots");
	uint32_t i;
	json_t *j;

	if (t != NULL) {
		if (tree_count(t) > 0)
			add(d, "retain_slots", json_from_tree(t));
		return;
	}
	if (last == NULL || last->nretain == 0)
		return;
	if ((j = json_array()) == NULL) {
		d->ok = false;
		return;
	}
	for (i = 0; i < last->nretain; i++)
		if (json_array_append_new(
			j, json_string(last->retain_slots[i])) != 0)
			d->ok = false;
	add(d, "retain_slots", j);
}

char *
encode_status(uint64_t optime, const struct tree *doc, const struct view *last)
{
	struct document d = { json_object(), true };

	add(&d, "optime", json_integer((json_int_t)optime));
	status_slots(&d, doc, last);
	status_retain(&d, doc, last);
	return finish(&d);
}

static int
name_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "a,b" sorted; NULL: no memory. */
static char *
voters_text(const struct tree *voters)
{
	uint32_t i, n = tree_count(voters), used = 0;
	const char **names;
	size_t size = 1;
	char *s, *p;

	if ((names = calloc(n + 1, sizeof(*names))) == NULL)
		return NULL;
	for (i = 0; i < n; i++) {
		const struct tree *t = tree_child(voters, i);

		if (t->type != TREE_TEXT || t->u.s[0] == '\0')
			continue;
		names[used++] = t->u.s;
		size += strlen(t->u.s) + 1;
	}
	qsort(names, used, sizeof(*names), name_cmp);
	if ((s = p = malloc(size)) != NULL) {
		for (i = 0; i < used; i++) {
			if (i > 0)
				*p++ = ',';
			p = stpcpy(p, names[i]);
		}
		*p = '\0';
	}
	free(names);
	return s;
}

char *
encode_sync(const char *leader, uint32_t quorum, const struct tree *voters)
{
	struct document d = { json_object(), true };
	char *s = voters_text(voters);

	add(&d, "leader",
	    leader[0] == '\0' ? json_null() : json_string(leader));
	add(&d, "quorum", json_integer(quorum));
	if (s == NULL)
		d.ok = false;
	else
		add(&d, "sync_standby",
		    s[0] == '\0' ? json_null() : json_string(s));
	free(s);
	return finish(&d);
}

char *
encode_failover(const struct msg_dcs_failover *f)
{
	struct document d = { json_object(), true };

	add_text(&d, "leader", f->leader);
	add_text(&d, "member", f->member);
	add_text(&d, "scheduled_at", f->scheduled_at);
	return finish(&d);
}

char *
encode_tree(const struct tree *t)
{
	json_t *j = json_from_tree(t);
	char *s = j == NULL ? NULL : json_compact(j);

	json_decref(j);
	return s;
}

static void
drop_empty_retain(json_t *j)
{
	const json_t *r = json_object_get(j, "retain_slots");

	if (r != NULL && !json_truthy(r))
		json_object_del(j, "retain_slots");
}

bool
documents_equal(const char *a, size_t alen, const char *b, size_t blen)
{
	struct tree *ta = NULL, *tb = NULL;
	json_t *ja, *jb;
	bool same = false;

	if (a == NULL || b == NULL)
		return false;
	if (alen == blen && memcmp(a, b, alen) == 0)
		return true;
	ja = jansson_parse(a, alen, NULL, 0);
	jb = jansson_parse(b, blen, NULL, 0);
	if (json_is_object(ja) && json_is_object(jb)) {
		drop_empty_retain(ja);
		drop_empty_retain(jb);
		ta = tree_from_jansson(ja);
		tb = tree_from_jansson(jb);
		same = ta != NULL && tb != NULL && tree_equal_loose(ta, tb);
	}
	json_decref(ja);
	json_decref(jb);
	tree_free(ta);
	tree_free(tb);
	return same;
}
