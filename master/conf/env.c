/*
 * env.c: the overlay that PATRONI_* variables make (spec/config.md 5).
 *
 * Variables of single keys come from the schema table; what is left over is
 * sorted into store sections by its last words.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/values.h"
#include "internal.h"

#define PREFIX "PATRONI_"
#define MAX_VARS 1000

extern char **environ;

struct conf_env {
	struct tree *overlay;
	struct tree *document;
};

struct var {
	char *name; /* without the prefix */
	char *value;
	bool used;
};

struct vars {
	struct var v[MAX_VARS];
	uint32_t n;
};

/* Older and misprinted names; the proper one wins. */
static const struct {
	const char *env, *path;
} old_names[] = {
	{ "LOGLEVEL", "log.level" },
	{ "LOGFORMAT", "log.format" },
	{ "LOG_DATEFMT", "log.dateformat" },
	{ "POSTGRESQL_BIN_IS_READY", "postgresql.bin_name.pg_isready" },
	{ "RETRIABLE_HTTP_CODES", "kubernetes.retriable_http_codes" },
};

enum form { FORM_TEXT, FORM_INT, FORM_LIST, FORM_MAP, FORM_BOOL };

/* Last words of the generic rule. */
static const struct {
	const char *suffix;
	enum form form;
} suffixes[] = {
	{ "HOST", FORM_TEXT },
	{ "URL", FORM_TEXT },
	{ "PROXY", FORM_TEXT },
	{ "SRV", FORM_TEXT },
	{ "SRV_SUFFIX", FORM_TEXT },
	{ "PROTOCOL", FORM_TEXT },
	{ "CACERT", FORM_TEXT },
	{ "CERT", FORM_TEXT },
	{ "KEY", FORM_TEXT },
	{ "KEY_PASSWORD", FORM_TEXT },
	{ "TOKEN", FORM_TEXT },
	{ "DC", FORM_TEXT },
	{ "CONSISTENCY", FORM_TEXT },
	{ "SERVICE_CHECK_INTERVAL", FORM_TEXT },
	{ "SERVICE_CHECK_TLS_SERVER_NAME", FORM_TEXT },
	{ "NAMESPACE", FORM_TEXT },
	{ "CONTEXT", FORM_TEXT },
	{ "SCOPE_LABEL", FORM_TEXT },
	{ "ROLE_LABEL", FORM_TEXT },
	{ "POD_IP", FORM_TEXT },
	{ "LEADER_LABEL_VALUE", FORM_TEXT },
	{ "FOLLOWER_LABEL_VALUE", FORM_TEXT },
	{ "STANDBY_LEADER_LABEL_VALUE", FORM_TEXT },
	{ "TMP_ROLE_LABEL", FORM_TEXT },
	{ "GROUP", FORM_TEXT },
	{ "DATABASE", FORM_TEXT },
	{ "PORT", FORM_INT },
	{ "HOSTS", FORM_LIST },
	{ "PORTS", FORM_LIST },
	{ "CHECKS", FORM_LIST },
	{ "SERVICE_TAGS", FORM_LIST },
	{ "RETRIABLE_HTTP_CODES", FORM_LIST },
	{ "LABELS", FORM_MAP },
	{ "SET_ACLS", FORM_MAP },
	{ "AUTH_DATA", FORM_MAP },
	{ "BOOTSTRAP_LABELS", FORM_MAP },
	{ "USE_SSL", FORM_BOOL },
	{ "USE_PROXIES", FORM_BOOL },
	{ "REGISTER_SERVICE", FORM_BOOL },
	{ "USE_ENDPOINTS", FORM_BOOL },
	{ "BYPASS_API_SERVICE", FORM_BOOL },
	{ "VERIFY", FORM_BOOL },
};

/* Copy PATRONI_* away, overwrite the originals and unset them. */
static bool
collect(struct vars *vars, struct conf_notes *notes)
{
	struct var *v;
	char *eq;

	for (char **e = environ; e != NULL && *e != NULL; e++) {
		if (strncmp(*e, PREFIX, sizeof(PREFIX) - 1) != 0 ||
		    (eq = strchr(*e, '=')) == NULL)
			continue;
		if (vars->n == MAX_VARS) {
			conf_note(notes, CONF_WARNING,
			    "too many PATRONI_ variables, the rest is ignored");
			break;
		}
		v = &vars->v[vars->n];
		v->name = strndup(*e + sizeof(PREFIX) - 1,
		    (size_t)(eq - *e) - (sizeof(PREFIX) - 1));
		v->value = strdup(eq + 1);
		vars->n++;
		if (v->name == NULL || v->value == NULL)
			return false;
		/* /proc/self/environ shows this memory */
		wipe(eq + 1, strlen(eq + 1));
	}
	for (uint32_t i = 0; i < vars->n; i++) {
		char *name;

		if (asprintf(&name, PREFIX "%s", vars->v[i].name) < 0)
			return false;
		unsetenv(name);
		free(name);
	}
	return true;
}

static void
vars_free(struct vars *vars)
{
	for (uint32_t i = 0; i < vars->n; i++) {
		if (vars->v[i].value != NULL)
			wipe(vars->v[i].value, strlen(vars->v[i].value));
		free(vars->v[i].name);
		free(vars->v[i].value);
	}
	free(vars);
}

static struct var *
find(struct vars *vars, const char *name)
{
	for (uint32_t i = 0; i < vars->n; i++)
		if (strcmp(vars->v[i].name, name) == 0)
			return &vars->v[i];
	return NULL;
}

/* Lines of such nodes would mislead: they come from a variable. */
static void
forget_lines(struct tree *t)
{
	t->line = 0;
	for (uint32_t i = 0; i < tree_count(t); i++)
		forget_lines(tree_child(t, i));
}

struct tree *
conf_env_collection(const char *text, bool map, char *err, size_t errsize)
{
	enum tree_type want = map ? TREE_MAP : TREE_LIST;
	const char *open = map ? "{" : "[", *close = map ? "}" : "]";
	bool as_is;
	struct tree *t;
	char *doc;
	int n;

	while (isspace((unsigned char)*text))
		text++;
	as_is = map ? *text == '{' : *text == '-' || strchr(text, '[') != NULL;
	n = asprintf(
	    &doc, "%s%s%s", as_is ? "" : open, text, as_is ? "" : close);
	if (n < 0) {
		snprintf(err, errsize, "out of memory");
		return NULL;
	}
	t = conf_yaml_parse(doc, (size_t)n, 0, err, errsize);
	wipe(doc, (size_t)n);
	free(doc);
	if (t != NULL && t->type != want) {
		tree_free_wiped(t);
		snprintf(err, errsize, "not a %s", map ? "mapping" : "list");
		return NULL;
	}
	if (t != NULL)
		forget_lines(t);
	return t;
}

static struct tree *
parse_collection(const struct var *v, bool map, struct conf_notes *notes)
{
	char err[TEXT_SIZE];
	struct tree *t = conf_env_collection(v->value, map, err, sizeof(err));

	if (t == NULL)
		conf_note(notes, CONF_WARNING,
		    "Exception when parsing %s " PREFIX "%s: %s",
		    map ? "dict" : "list", v->name, err);
	return t;
}

static struct tree *
parse_int(const struct var *v, struct conf_notes *notes)
{
	int64_t i;

	if (value_int(v->value, NULL, &i))
		return tree_int(i);
	conf_note(notes, CONF_WARNING,
	    PREFIX "%s: \"%s\" is not an integer, ignored", v->name, v->value);
	return NULL;
}

static struct tree *
parse_bool(const struct var *v, struct conf_notes *notes)
{
	int b = value_bool(v->value);

	if (b >= 0)
		return tree_bool(b == 1);
	conf_note(notes, CONF_WARNING,
	    PREFIX "%s: \"%s\" is not a boolean, ignored", v->name, v->value);
	return NULL;
}

/* A log format is a list of fields unless it holds a %(word). */
static struct tree *
parse_format(const struct var *v, struct conf_notes *notes)
{
	const char *p = v->value;
	size_t n;

	while ((p = strstr(p, "%(")) != NULL) {
		for (n = 0; isalnum((unsigned char)p[2 + n]) || p[2 + n] == '_';
		     n++)
			;
		if (n > 0 && p[2 + n] == ')')
			return tree_text(v->value);
		p += 2;
	}
	return parse_collection(v, false, notes);
}

/* The value of a variable that belongs to one key.  NULL: not set. */
static struct tree *
parse_for_key(
    const struct conf_key *k, const struct var *v, struct conf_notes *notes)
{
	double r;
	int64_t i;

	if (*v->value == '\0')
		return NULL;
	switch (k->type) {
	case CONF_TEXT:
	case CONF_WORD:
	case CONF_DURATION:
		return tree_text(v->value);
	case CONF_BYTES:
		return value_int(v->value, NULL, &i) ? tree_int(i) :
						       tree_text(v->value);
	case CONF_INT:
	case CONF_NUMBER:
		return parse_int(v, notes);
	case CONF_REAL:
		if (value_real(v->value, NULL, &r))
			return tree_real(r);
		conf_note(notes, CONF_WARNING,
		    PREFIX "%s: \"%s\" is not a number, ignored", v->name,
		    v->value);
		return NULL;
	case CONF_BOOL:
		return parse_bool(v, notes);
	case CONF_MAP:
	case CONF_SECTION:
		return parse_collection(v, true, notes);
	case CONF_LIST:
	case CONF_STRINGS:
		return parse_collection(v, false, notes);
	case CONF_ANY:
		break;
	}
	if (strcmp(k->path, "log.format") == 0)
		return parse_format(v, notes);
	return parse_collection(v, false, notes);
}

/* ---- single keys ---- */

static void
apply_keys(struct tree *overlay, struct vars *vars, struct conf_notes *notes)
{
	const struct conf_key *k;
	struct var *v;
	struct tree *t;

	for (k = conf_keys; k->path != NULL; k++) {
		if (k->env == NULL || strcmp(k->env, "-") == 0 ||
		    (v = find(vars, k->env)) == NULL)
			continue;
		v->used = true;
		if ((t = parse_for_key(k, v, notes)) != NULL)
			conf_set_path(overlay, k->path, t);
	}
	for (size_t i = 0; i < sizeof(old_names) / sizeof(old_names[0]); i++) {
		if ((v = find(vars, old_names[i].env)) == NULL)
			continue;
		v->used = true;
		k = conf_key_find(old_names[i].path);
		if (k == NULL || tree_path(overlay, k->path) != NULL)
			continue;
		if ((t = parse_for_key(k, v, notes)) != NULL)
			conf_set_path(overlay, k->path, t);
	}
}

/* ---- the generic rule ---- */

static struct tree *
parse_form(enum form form, const struct var *v, struct conf_notes *notes)
{
	switch (form) {
	case FORM_TEXT: /* empty text is kept */
		return tree_text(v->value);
	case FORM_INT:
		return *v->value != '\0' ? parse_int(v, notes) : NULL;
	case FORM_LIST:
		return *v->value != '\0' ? parse_collection(v, false, notes) :
					   NULL;
	case FORM_MAP:
		return *v->value != '\0' ? parse_collection(v, true, notes) :
					   tree_map();
	case FORM_BOOL:
		return *v->value != '\0' ? parse_bool(v, notes) : NULL;
	}
	return NULL;
}

static void
lower_path(
    const char *word, size_t len, const char *suffix, char *path, size_t size)
{
	snprintf(path, size, "%.*s.%s", (int)len, word, suffix);
	for (char *p = path; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
}

static void
apply_generic(
    struct tree *overlay, const struct var *v, struct conf_notes *notes)
{
	const char *mark = strchr(v->name, '_');
	char path[CONF_PATH_SIZE];
	struct tree *t;
	size_t len;

	if (mark == NULL || mark == v->name)
		return;
	len = (size_t)(mark - v->name);
	/* a word with a dot would reach into another section */
	if (len >= 64 || memchr(v->name, '.', len) != NULL ||
	    (len == 5 && strncmp(v->name, "CITUS", 5) == 0))
		return;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		if (strcmp(mark + 1, suffixes[i].suffix) != 0)
			continue;
		lower_path(
		    v->name, len, suffixes[i].suffix, path, sizeof(path));
		if ((t = parse_form(suffixes[i].form, v, notes)) != NULL)
			conf_set_path(overlay, path, t);
		return;
	}
}

/* etcd credentials count only beside another variable of the section. */
static void
apply_etcd_accounts(struct tree *overlay, struct vars *vars)
{
	static const struct {
		const char *section, *env, *path;
	} accounts[] = {
		{ "etcd", "ETCD_USERNAME", "etcd.username" },
		{ "etcd", "ETCD_PASSWORD", "etcd.password" },
		{ "etcd3", "ETCD3_USERNAME", "etcd3.username" },
		{ "etcd3", "ETCD3_PASSWORD", "etcd3.password" },
	};
	struct var *v;

	for (size_t i = 0; i < sizeof(accounts) / sizeof(accounts[0]); i++) {
		if (tree_get(overlay, accounts[i].section) == NULL ||
		    (v = find(vars, accounts[i].env)) == NULL ||
		    *v->value == '\0')
			continue;
		conf_set_path(overlay, accounts[i].path, tree_text(v->value));
	}
}

static struct tree *
parse_document(struct vars *vars, struct conf_notes *notes)
{
	struct var *v = find(vars, "CONFIGURATION");
	char err[TEXT_SIZE];
	struct tree *t;

	if (v == NULL || *v->value == '\0')
		return NULL;
	v->used = true;
	t = conf_yaml_parse(v->value, strlen(v->value), 0, err, sizeof(err));
	if (t == NULL) {
		conf_note(notes, CONF_WARNING, PREFIX "CONFIGURATION: %s", err);
		return NULL;
	}
	if (t->type == TREE_MAP) {
		forget_lines(t);
		return t;
	}
	if (!conf_falsy(t))
		conf_note(notes, CONF_WARNING,
		    PREFIX "CONFIGURATION does not contain a dict");
	tree_free_wiped(t);
	return NULL;
}

struct conf_env *
conf_env_take(struct conf_notes *notes)
{
	struct vars *vars = calloc(1, sizeof(*vars));
	struct conf_env *env = calloc(1, sizeof(*env));

	if (vars == NULL || env == NULL ||
	    (env->overlay = tree_map()) == NULL || !collect(vars, notes)) {
		if (vars != NULL)
			vars_free(vars);
		conf_env_free(env);
		return NULL;
	}
	env->document = parse_document(vars, notes);
	apply_keys(env->overlay, vars, notes);
	for (uint32_t i = 0; i < vars->n; i++)
		if (!vars->v[i].used)
			apply_generic(env->overlay, &vars->v[i], notes);
	apply_etcd_accounts(env->overlay, vars);
	vars_free(vars);
	return env;
}

const struct tree *
conf_env_tree(const struct conf_env *env)
{
	return env != NULL ? env->overlay : NULL;
}

const struct tree *
conf_env_document(const struct conf_env *env)
{
	return env != NULL ? env->document : NULL;
}

void
conf_env_free(struct conf_env *env)
{
	if (env == NULL)
		return;
	tree_free_wiped(env->overlay);
	tree_free_wiped(env->document);
	free(env);
}
