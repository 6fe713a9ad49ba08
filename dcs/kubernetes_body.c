/*
 * kubernetes_body.c: what is written: annotations, labels and subsets
 * (spec/dcs.md 11.3 to 11.5).  All functions return new values, or NULL when
 * memory is short.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../ipc/clock.h"
#include "json.h"
#include "kubernetes_int.h"

/* ---- objects ---- */

json_t *
k8s_body(
    const struct k8s *k, const char *name, json_t *annotations, int64_t version)
{
	json_t *meta = json_pack("{s:s,s:s,s:O,s:o}", "name", name, "namespace",
	    k->conf.ns, "labels", k->conf.labels, "annotations", annotations);
	char text[32];

	if (meta == NULL)
		return NULL;
	if (version != 0) {
		snprintf(text, sizeof(text), "%lld", (long long)version);
		json_object_set_new(meta, "resourceVersion", json_string(text));
	}
	return json_pack("{s:o}", "metadata", meta);
}

json_t *
k8s_created(const struct k8s *k, json_t *body)
{
	json_t *notes =
	    json_object_get(json_object_get(body, "metadata"), "annotations");
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(notes, next, key,
	    value) if (json_is_null(value)) json_object_del(notes, key);
	if (body == NULL)
		return NULL;
	json_object_set_new(body, "apiVersion", json_string("v1"));
	json_object_set_new(body, "kind",
	    json_string(k->conf.endpoints ? "Endpoints" : "ConfigMap"));
	return body;
}

/* ---- annotations ---- */

/* 2026-01-02T03:04:05.123456+00:00 */
static json_t *
now_text(void)
{
	int64_t us = clock_wall_us();
	time_t t = (time_t)(us / 1000000);
	char day[32], all[64];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(all, sizeof(all), "%s.%06d+00:00", day, (int)(us % 1000000));
	return json_string(all);
}

static json_t *
number_text(int64_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)n);
	return json_string(text);
}

json_t *
k8s_lock_notes(const struct k8s *k, bool renew)
{
	const struct k8s_object *o = k8s_key_object(k, DCS_KEY_LEADER);
	const char *leader = k8s_note(o, "leader");
	const char *acquired = k8s_note(o, "acquireTime");
	const char *count = k8s_note(o, "transitions");
	bool same =
	    renew || (leader != NULL && strcmp(leader, dcs_name(k->dcs)) == 0);
	int64_t transitions = 0;
	json_t *notes, *now = now_text();

	if (count != NULL && !text_lenient_int(count, &transitions))
		transitions = 0;
	if (!same && count != NULL)
		transitions++;
	notes = json_pack("{s:s,s:o,s:O,s:o,s:o}", "leader", dcs_name(k->dcs),
	    "ttl", number_text(dcs_ttl_ns(k->dcs) / NS_PER_SEC), "renewTime",
	    now, "acquireTime",
	    same && acquired != NULL ? json_string(acquired) : json_incref(now),
	    "transitions", number_text(transitions));
	json_decref(now);
	return notes;
}

/* A part of a document as text; absent or empty: null. */
static void
set_compact(json_t *notes, const char *key, const json_t *value)
{
	char *s = NULL;

	if ((json_is_object(value) && json_object_size(value) > 0) ||
	    (json_is_array(value) && json_array_size(value) > 0))
		s = json_compact(value);
	json_object_set_new(
	    notes, key, s == NULL ? json_null() : json_string(s));
	free(s);
}

void
k8s_status_notes(json_t *notes, const char *status, size_t len)
{
	json_t *j = json_loadb(status, len, 0, NULL);
	int64_t lsn = 0;

	(void)json_lenient_int(json_object_get(j, "optime"), &lsn);
	json_object_set_new(notes, "optime", number_text(lsn));
	set_compact(notes, "slots", json_object_get(j, "slots"));
	set_compact(notes, "retain_slots", json_object_get(j, "retain_slots"));
	json_decref(j);
}

json_t *
k8s_document_notes(enum dcs_key key, const char *value, size_t len)
{
	static const char *const failover[] = { "leader", "member",
		"scheduled_at", NULL };
	static const char *const sync[] = { "leader", "sync_standby", "quorum",
		NULL };
	const char *const *field = key == DCS_KEY_SYNC ? sync : failover;
	json_t *j = json_loadb(value, len, 0, NULL), *notes = json_object();

	for (; notes != NULL && *field != NULL; field++) {
		const json_t *v = json_object_get(j, *field);

		if (json_is_integer(v))
			json_object_set_new(
			    notes, *field, number_text(json_integer_value(v)));
		else
			json_object_set_new(notes, *field,
			    json_is_string(v) ?
				json_string(json_string_value(v)) :
				json_null());
	}
	json_decref(j);
	return notes;
}

/* ---- the leader's address among Endpoints ---- */

static const char *
protocol_of(const json_t *port)
{
	const char *s = json_text(port, "protocol");

	return s == NULL ? "TCP" : s;
}

static bool
same_port(const json_t *a, const json_t *b)
{
	const char *x = json_text(a, "name"), *y = json_text(b, "name");

	return json_equal(
		   json_object_get(a, "port"), json_object_get(b, "port")) &&
	    strcmp(protocol_of(a), protocol_of(b)) == 0 &&
	    (x == NULL || y == NULL ? x == y : strcmp(x, y) == 0);
}

static bool
same_ports(const json_t *have, const json_t *want)
{
	const json_t *a, *b;
	size_t i, j;

	if (json_array_size(have) != json_array_size(want))
		return false;
	json_array_foreach(want, i, a)
	{
		bool found = false;

		json_array_foreach(have, j, b) found |= same_port(a, b);
		if (!found)
			return false;
	}
	return true;
}

static json_t *
target_of(const struct k8s *k, const struct k8s_object *pod)
{
	json_t *t = json_pack("{s:s,s:s,s:s}", "kind", "Pod", "name",
	    dcs_name(k->dcs), "namespace", k->conf.ns);

	if (pod != NULL && pod->uid[0] != '\0')
		json_object_set_new(t, "uid", json_string(pod->uid));
	return t;
}

json_t *
k8s_subsets(const struct k8s *k, const struct k8s_object *leader)
{
	const struct k8s_object *pod = k8s_find(&k->pods, dcs_name(k->dcs));
	const char *ip = k->conf.pod_ip[0] != '\0' ? k->conf.pod_ip :
	    pod != NULL				   ? pod->ip :
						     "";
	const json_t *have = leader == NULL ? NULL : leader->subsets;
	const json_t *one = json_array_get(have, 0);
	const json_t *addresses = json_object_get(one, "addresses");
	const char *now = json_text(json_array_get(addresses, 0), "ip");
	json_t *address;

	if (!k->conf.endpoints || ip[0] == '\0')
		return NULL;
	if (json_array_size(have) == 1 && json_array_size(addresses) == 1 &&
	    now != NULL && strcmp(now, ip) == 0 &&
	    same_ports(json_object_get(one, "ports"), k->conf.ports))
		return NULL;
	address = json_pack("{s:s,s:s,s:o}", "ip", ip, "hostname",
	    dcs_name(k->dcs), "targetRef", target_of(k, pod));
	if (pod != NULL && pod->node[0] != '\0')
		json_object_set_new(
		    address, "nodeName", json_string(pod->node));
	return json_pack(
	    "[{s:[o],s:O}]", "addresses", address, "ports", k->conf.ports);
}

/* ---- labels of our pod ---- */

static bool
bootstrapping(const char *state)
{
	static const char *const states[] = { "initializing new cluster",
		"running custom bootstrap script",
		"starting after custom bootstrap", "creating replica" };
	size_t i;

	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(state, states[i]) == 0)
			return true;
	return false;
}

static void
role_labels(
    const struct k8s *k, json_t *labels, const char *role, const char *state)
{
	const char *leader =
	    k8s_note(k8s_key_object(k, DCS_KEY_LEADER), "leader");
	const char *value = "", *tmp = ""; /* "": no label */

	if (leader != NULL && strcmp(leader, dcs_name(k->dcs)) == 0) {
		value = strcmp(role, "standby_leader") == 0 ?
		    k->conf.standby_value :
		    k->conf.leader_value;
		tmp = "primary";
	} else if (strcmp(state, "running") == 0 &&
	    strcmp(role, "primary") != 0) {
		value = strcmp(role, "replica") == 0 ? k->conf.follower_value :
						       role;
		tmp = role;
	}
	json_object_set_new(labels, k->conf.role_label,
	    value[0] == '\0' ? json_null() : json_string(value));
	if (k->conf.tmp_role_label[0] != '\0')
		json_object_set_new(labels, k->conf.tmp_role_label,
		    tmp[0] == '\0' ? json_null() : json_string(tmp));
}

json_t *
k8s_pod_labels(const struct k8s *k, const json_t *member)
{
	const char *role = json_text(member, "role");
	const char *state = json_text(member, "state"), *key;
	json_t *labels = json_object(), *value;

	if (labels == NULL || role == NULL || state == NULL)
		return labels;
	role_labels(k, labels, role, state);
	json_object_foreach(k->conf.bootstrap_labels, key, value)
	    json_object_set_new(labels, key,
		bootstrapping(state) ? json_incref(value) : json_null());
	return labels;
}
