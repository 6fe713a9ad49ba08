/*
 * kubernetes_conf.c: options of the section `kubernetes` (spec/dcs.md 11.1),
 * and the way to the API server (11.2): the service account of the pod, else
 * what the master read from the kubeconfig into `kubernetes.kubeconfig`.
 */
#include <sys/stat.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/log.h"
#include "etcd3_proto.h"
#include "files.h"
#include "json.h"
#include "kubernetes_int.h"

#define MAX_TOKEN 4096

static const char *
text(const struct tree *t, const char *key)
{
	const char *s = tree_path_text(t, key, NULL);

	return s != NULL && s[0] != '\0' ? s : NULL;
}

/* ---- labels ---- */

static json_t *
labels_of(const struct tree *map)
{
	json_t *j = json_object();
	char value[NAME_SIZE];
	uint32_t i;

	for (i = 0; j != NULL && i < tree_count(map); i++) {
		const struct tree *t = tree_child(map, i);
		int n = tree_scalar_text(t, value, sizeof(value));

		if (t->type == TREE_MAP || t->type == TREE_LIST || n < 0 ||
		    (size_t)n >= sizeof(value) ||
		    json_object_set_new(j, t->key, json_string(value)) != 0) {
			json_decref(j);
			return NULL;
		}
	}
	return j;
}

static bool
make_selector(struct k8s_conf *c)
{
	char plain[URL_SIZE];
	const char *key;
	size_t o = 0;
	json_t *v;
	int n;

	json_object_foreach(c->labels, key, v)
	{
		n = snprintf(plain + o, sizeof(plain) - o, "%s%s=%s",
		    o == 0 ? "" : ",", key, json_string_value(v));
		if (n < 0 || (size_t)n >= sizeof(plain) - o)
			return false;
		o += (size_t)n;
	}
	return http_escape(c->selector, sizeof(c->selector), plain, "");
}

/* ---- ports and codes ---- */

static bool
read_ports(struct k8s_conf *c, const struct tree *list)
{
	uint32_t i;

	if ((c->ports = json_array()) == NULL)
		return false;
	for (i = 0; i < tree_count(list); i++) {
		const struct tree *t = tree_child(list, i);
		int64_t port = tree_path_int(t, "port", 5432);
		json_t *one = json_object();

		if (t->type != TREE_MAP || port < 1 || port > 65535 ||
		    one == NULL) {
			json_decref(one);
			return false;
		}
		if (text(t, "name") != NULL)
			json_object_set_new(
			    one, "name", json_string(text(t, "name")));
		json_object_set_new(one, "port", json_integer(port));
		if (text(t, "protocol") != NULL)
			json_object_set_new(
			    one, "protocol", json_string(text(t, "protocol")));
		json_array_append_new(c->ports, one);
	}
	if (json_array_size(c->ports) == 0)
		json_array_append_new(
		    c->ports, json_pack("{s:i}", "port", 5432));
	return true;
}

static bool
add_code(struct k8s_conf *c, int64_t code)
{
	if (code < 100 || code > 599 || c->ncodes == K8S_MAX_CODES)
		return false;
	c->codes[c->ncodes++] = (int)code;
	return true;
}

static bool
read_codes(struct k8s_conf *c, const struct tree *t)
{
	uint32_t i;
	char *end;
	const char *s;

	if (t == NULL || t->type == TREE_NULL)
		return true;
	if (t->type == TREE_INT)
		return add_code(c, t->u.i);
	if (t->type == TREE_TEXT) {
		for (s = t->u.s; *s != '\0'; s = end) {
			s += strspn(s, ", \t");
			if (*s == '\0')
				break;
			if (!add_code(c, strtol(s, &end, 10)) || end == s)
				return false;
		}
		return true;
	}
	for (i = 0; t->type == TREE_LIST && i < tree_count(t); i++)
		if (!read_codes(c, tree_child(t, i)))
			return false;
	return t->type == TREE_LIST;
}

/* ---- credentials ---- */

static void
wipe_text(char **s)
{
	if (*s != NULL)
		wipe(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

bool
k8s_token_read(struct k8s_conf *c)
{
	char err[TEXT_SIZE], *token;
	size_t len;

	if (c->token_file[0] == '\0')
		return false;
	token = files_read(c->token_file, &len, err, sizeof(err));
	while (token != NULL && len > 0 && (unsigned char)token[len - 1] <= ' ')
		token[--len] = '\0';
	if (token == NULL || len == 0 || len > MAX_TOKEN ||
	    strpbrk(token, "\r\n") != NULL) {
		log_error("Failed to refresh service account token: %s",
		    token == NULL ? err : "it is empty or malformed");
		wipe_text(&token);
		return false;
	}
	if (c->token != NULL && strcmp(c->token, token) == 0) {
		wipe_text(&token);
		return false;
	}
	wipe_text(&c->token);
	c->token = token;
	return true;
}

static bool
load_ca(struct k8s_conf *c, const char *file, char *err, size_t errlen)
{
	c->tls.verify_peer = c->tls.verify_host = true;
	return http_tls_load(&c->tls, file, NULL, NULL, NULL, err, errlen);
}

/* The pod's own account; false with an empty err: there is none. */
static bool
in_cluster(struct k8s_conf *c, const char *cacert, char *err, size_t errlen)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	int n;

	err[0] = '\0';
	if (host == NULL || host[0] == '\0' || port == NULL ||
	    port[0] == '\0' || access(K8S_SERVICE_ACCOUNT "/token", R_OK) != 0)
		return false;
	if (cacert == NULL)
		cacert = K8S_SERVICE_ACCOUNT "/ca.crt";
	n = snprintf(c->server, sizeof(c->server),
	    strchr(host, ':') == NULL ? "https://%s:%s" : "https://[%s]:%s",
	    host, port);
	if (n < 0 || (size_t)n >= sizeof(c->server))
		return false;
	if (!load_ca(c, cacert, err, errlen))
		return false;
	snprintf(
	    c->token_file, sizeof(c->token_file), K8S_SERVICE_ACCOUNT "/token");
	(void)k8s_token_read(c);
	if (c->token == NULL)
		snprintf(err, errlen, "no service account token");
	return c->token != NULL;
}

/* What a file holds, as the master has read it, or base64 in "<key>-data". */
static bool
given(const struct tree *t, const char *key, char **out, size_t *len)
{
	char data[NAME_SIZE];

	if (text(t, key) != NULL) {
		*out = strdup(text(t, key));
		*len = *out == NULL ? 0 : strlen(*out);
		return *out != NULL;
	}
	snprintf(data, sizeof(data), "%s-data", key);
	return text(t, data) == NULL ||
	    (*out = base64_decode(text(t, data), len)) != NULL;
}

static bool
from_kubeconfig(struct k8s_conf *c, const struct tree *t, const char *cacert,
    char *err, size_t errlen)
{
	const char *server = text(t, "server");

	if (server == NULL || !text_set(c->server, sizeof(c->server), server)) {
		snprintf(err, errlen,
		    "kubernetes: neither the service account of a pod nor a "
		    "kubeconfig with the context can be used");
		return false;
	}
	while (c->server[strlen(c->server) - 1] == '/')
		c->server[strlen(c->server) - 1] = '\0';
	if (cacert != NULL && !load_ca(c, cacert, err, errlen))
		return false;
	c->tls.verify_peer = c->tls.verify_host =
	    !tree_truthy(tree_get(t, "insecure-skip-tls-verify"));
	if ((cacert == NULL &&
		!given(
		    t, "certificate-authority", &c->tls.ca, &c->tls.ca_len)) ||
	    !given(t, "client-certificate", &c->tls.cert, &c->tls.cert_len) ||
	    !given(t, "client-key", &c->tls.key, &c->tls.key_len)) {
		snprintf(err, errlen, "kubeconfig: data is not base64");
		return false;
	}
	if (text(t, "tokenFile") != NULL &&
	    text_set(
		c->token_file, sizeof(c->token_file), text(t, "tokenFile")))
		(void)k8s_token_read(c);
	if (c->token == NULL && text(t, "token") != NULL)
		c->token = strdup(text(t, "token"));
	if (text(t, "username") != NULL) {
		c->user = strdup(text(t, "username"));
		c->password = strdup(tree_path_text(t, "password", ""));
	}
	return true;
}

/* ---- the section ---- */

static void
copy(char *dst, const struct tree *section, const char *key, const char *dflt,
    bool *fits)
{
	const char *s = text(section, key);

	if (!text_set(dst, NAME_SIZE, s == NULL ? dflt : s))
		*fits = false;
}

/* "batman/0": a group of a Citus cluster */
static bool
read_scope(struct k8s_conf *c, const char *scope, const char *label)
{
	const char *slash = strchr(scope, '/');
	char plain[NAME_SIZE];
	int n;

	snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(scope, "/"), scope);
	json_object_set_new(c->labels, label, json_string(plain));
	c->written = json_copy(c->labels);
	if (slash != NULL) {
		if (!text_set(c->group, sizeof(c->group), slash + 1))
			return false;
		json_object_set_new(
		    c->written, "citus-group", json_string(c->group));
	}
	n = snprintf(c->scope, sizeof(c->scope), "%s%s%s", plain,
	    slash == NULL ? "" : "-", c->group);
	return c->written != NULL && n >= 0 && (size_t)n < sizeof(c->scope);
}

static bool
read_options(struct k8s_conf *c, const char *scope, const struct tree *section)
{
	const struct tree *labels = tree_get(section, "labels");
	char scope_label[NAME_SIZE];
	bool fits = true;

	copy(c->ns, section, "namespace", "default", &fits);
	copy(scope_label, section, "scope_label", "cluster-name", &fits);
	copy(c->role_label, section, "role_label", "role", &fits);
	copy(c->leader_value, section, "leader_label_value", "primary", &fits);
	copy(c->follower_value, section, "follower_label_value", "replica",
	    &fits);
	copy(c->standby_value, section, "standby_leader_label_value", "primary",
	    &fits);
	copy(c->tmp_role_label, section, "tmp_role_label", "", &fits);
	if (!text_set(c->pod_ip, sizeof(c->pod_ip),
		tree_path_text(section, "pod_ip", "")))
		fits = false;
	if (!fits || labels == NULL || labels->type != TREE_MAP ||
	    (c->labels = labels_of(labels)) == NULL ||
	    !read_scope(c, scope, scope_label))
		return false;
	if (tree_get(section, "bootstrap_labels") != NULL)
		c->bootstrap_labels =
		    labels_of(tree_get(section, "bootstrap_labels"));
	c->endpoints = tree_truthy(tree_get(section, "use_endpoints"));
	c->bypass = tree_truthy(tree_get(section, "bypass_api_service"));
	return make_selector(c) && read_ports(c, tree_get(section, "ports")) &&
	    read_codes(c, tree_get(section, "retriable_http_codes"));
}

void
k8s_conf_clear(struct k8s_conf *c)
{
	json_decref(c->labels);
	json_decref(c->written);
	json_decref(c->bootstrap_labels);
	json_decref(c->ports);
	http_tls_clear(&c->tls);
	wipe_text(&c->token);
	wipe_text(&c->user);
	wipe_text(&c->password);
	memset(c, 0, sizeof(*c));
}

bool
k8s_conf_read(struct k8s_conf *conf, const char *scope,
    const struct tree *section, char *err, size_t errlen)
{
	const char *cacert = getenv("PATRONI_KUBERNETES_CACERT");
	struct k8s_conf c = { .ncodes = 0 };

	if (cacert == NULL || cacert[0] == '\0')
		cacert = text(section, "cacert");
	if (!read_options(&c, scope, section))
		snprintf(err, errlen,
		    "kubernetes: labels (a map) is needed; ports are a list "
		    "of {name, port, protocol}; retriable_http_codes are "
		    "numbers");
	else if (in_cluster(&c, cacert, err, errlen) ||
	    (err[0] == '\0' &&
		from_kubeconfig(&c, tree_get(section, "kubeconfig"), cacert,
		    err, errlen))) {
		k8s_conf_clear(conf);
		*conf = c;
		return true;
	}
	k8s_conf_clear(&c);
	return false;
}
