/*
 * kubernetes_view.c: objects and pods -> keys of a view (spec/dcs.md 11.3).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "json.h"
#include "kubernetes_int.h"

#define MAX_KEYS 16

const char *
k8s_note(const struct k8s_object *o, const char *annotation)
{
	return o == NULL ? NULL : json_text(o->annotations, annotation);
}

void
k8s_object_name(const struct k8s *k, enum dcs_key key, char buf[K8S_NAME_SIZE])
{
	const char *suffix;

	switch (key) {
	case DCS_KEY_LEADER:
	case DCS_KEY_STATUS:
	case DCS_KEY_OPTIME:
	case DCS_KEY_FAILSAFE:
		suffix = k->conf.endpoints ? "" : "-leader";
		break;
	case DCS_KEY_FAILOVER:
		suffix = "-failover";
		break;
	case DCS_KEY_SYNC:
		suffix = "-sync";
		break;
	default:
		suffix = "-config";
		break;
	}
	snprintf(buf, K8S_NAME_SIZE, "%s%s", k->conf.scope, suffix);
}

const struct k8s_object *
k8s_key_object(const struct k8s *k, enum dcs_key key)
{
	char name[K8S_NAME_SIZE];

	k8s_object_name(k, key, name);
	return k8s_find(&k->kinds, name);
}

/* ---- the lock's life ---- */

char *
k8s_record_text(const struct k8s_object *o)
{
	static const char *const notes[] = { "leader", "acquireTime", "ttl",
		"renewTime", "transitions" };
	char *text, *more;
	size_t i;

	if ((text = strdup("")) == NULL)
		return NULL;
	for (i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
		const char *s = k8s_note(o, notes[i]);

		if (asprintf(&more, "%s%s\n", text, s == NULL ? "" : s) < 0)
			more = NULL;
		free(text);
		if ((text = more) == NULL)
			return NULL;
	}
	return text;
}

int64_t
k8s_record_ttl(const struct k8s *k, const struct k8s_object *leader)
{
	const char *s = k8s_note(leader, "ttl");
	int64_t ttl = 0;

	if (s == NULL || !text_lenient_int(s, &ttl) || ttl <= 0 || ttl > 86400)
		return dcs_ttl_ns(k->dcs);
	return ttl * NS_PER_SEC;
}

bool
k8s_expired(const struct k8s *k, const struct k8s_object *leader)
{
	return clock_boot_ns() - k->record.at > k8s_record_ttl(k, leader);
}

/* ---- keys ---- */

struct keys {
	struct dcs_kv *kv;
	size_t n;
	char *texts[MAX_KEYS]; /* made here */
	size_t ntexts;
};

static void
add(struct keys *keys, enum dcs_key key, const char *value, int64_t token)
{
	struct dcs_kv *kv = &keys->kv[keys->n++];

	memset(kv, 0, sizeof(*kv));
	kv->key = key;
	kv->value = value;
	kv->len = strlen(value);
	kv->token = kv->modify = token;
}

static void
add_made(struct keys *keys, enum dcs_key key, json_t *value, int64_t token)
{
	char *s = json_compact(value);

	json_decref(value);
	if (s == NULL)
		return;
	keys->texts[keys->ntexts++] = s;
	add(keys, key, s, token);
}

static void
add_config(struct keys *keys, const struct k8s *k)
{
	const struct k8s_object *o = k8s_key_object(k, DCS_KEY_CONFIG);
	const char *config = k8s_note(o, "config");
	const char *initialize = k8s_note(o, "initialize");
	const char *history = k8s_note(o, "history");

	if (o == NULL)
		return;
	add(keys, DCS_KEY_CONFIG, config == NULL ? "{}" : config, o->version);
	if (config == NULL)
		keys->kv[keys->n - 1].modify = 0;
	if (initialize != NULL)
		add(keys, DCS_KEY_INITIALIZE, initialize, o->version);
	add(keys, DCS_KEY_HISTORY, history == NULL ? "[]" : history,
	    o->version);
}

/* An annotation that holds JSON. */
static void
set_parsed(json_t *to, const char *key, const char *text)
{
	json_t *j;

	if (text == NULL)
		return;
	j = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	if (j != NULL)
		json_object_set_new(to, key, j);
}

static void
add_leader(struct keys *keys, const struct k8s *k)
{
	const struct k8s_object *o = k8s_key_object(k, DCS_KEY_LEADER);
	const char *name = k8s_note(o, "leader"), *optime;
	json_t *status;
	int64_t lsn = 0;

	if (o == NULL)
		return;
	if (name == NULL || k8s_expired(k, o))
		name = "";
	add(keys, DCS_KEY_LEADER, name, o->version);
	optime = k8s_note(o, "optime");
	if (optime != NULL && (status = json_object()) != NULL) {
		(void)text_lenient_int(optime, &lsn);
		json_object_set_new(status, "optime", json_integer(lsn));
		set_parsed(status, "slots", k8s_note(o, "slots"));
		set_parsed(status, "retain_slots", k8s_note(o, "retain_slots"));
		add_made(keys, DCS_KEY_STATUS, status, o->version);
	}
	if (k8s_note(o, "failsafe") != NULL)
		add(keys, DCS_KEY_FAILSAFE, k8s_note(o, "failsafe"),
		    o->version);
}

static void
add_document(struct keys *keys, const struct k8s *k, enum dcs_key key,
    const char *const *notes)
{
	const struct k8s_object *o = k8s_key_object(k, key);
	json_t *j;

	if (o == NULL || (j = json_object()) == NULL)
		return;
	for (; *notes != NULL; notes++)
		if (k8s_note(o, *notes) != NULL)
			json_object_set_new(
			    j, *notes, json_string(k8s_note(o, *notes)));
	add_made(keys, key, j, o->version);
}

static void
add_members(struct keys *keys, const struct k8s *k)
{
	const struct k8s_object *o;
	const char *status;

	TAILQ_FOREACH(o, &k->pods.objects, entry)
	{
		status = k8s_note(o, "status");
		add(keys, DCS_KEY_MEMBER, status == NULL ? "" : status,
		    o->version);
		keys->kv[keys->n - 1].member = o->name;
	}
}

void
k8s_answer_load(struct k8s *k, struct dcs_call *call)
{
	static const char *const failover[] = { "leader", "member",
		"scheduled_at", NULL };
	static const char *const sync[] = { "leader", "sync_standby", "quorum",
		NULL };
	struct keys keys = { .n = 0 };

	keys.kv = calloc(k->pods.count + MAX_KEYS, sizeof(*keys.kv));
	if (keys.kv == NULL) {
		dcs_call_done(call, OUTCOME_FAILED, "out of memory");
		return;
	}
	add_config(&keys, k);
	add_leader(&keys, k);
	add_document(&keys, k, DCS_KEY_FAILOVER, failover);
	add_document(&keys, k, DCS_KEY_SYNC, sync);
	add_members(&keys, k);
	dcs_call_loaded(call, keys.kv, keys.n);
	while (keys.ntexts > 0)
		free(keys.texts[--keys.ntexts]);
	free(keys.kv);
}
