/*
 * scripts.c: which configurations run scripts of the operator's.
 */
#include "scripts.h"

#include <string.h>

static bool
any_method(const struct tree *methods)
{
	for (uint32_t i = 0; i < tree_count(methods); i++) {
		const struct tree *m = tree_child(methods, i);

		if (m->type == TREE_TEXT && strcmp(m->u.s, "basebackup") != 0)
			return true;
	}
	return false;
}

static bool
given(const struct tree *conf, const char *path)
{
	const struct tree *t = tree_path(conf, path);

	return t != NULL && t->type != TREE_NULL &&
	    (t->type == TREE_TEXT || tree_count(t) > 0);
}

bool
scripts_need_setuid(const struct tree *conf)
{
	static const char *const scripts[] = { "postgresql.callbacks",
		"postgresql.pre_promote", "postgresql.before_stop",
		"bootstrap.post_bootstrap", "bootstrap.post_init" };
	const struct tree *said = tree_get(conf, "set_uid_scripts");

	if (said != NULL && said->type == TREE_BOOL)
		return said->u.b;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		if (given(conf, scripts[i]))
			return true;
	return any_method(
		   tree_path(conf, "postgresql.create_replica_methods")) ||
	    strcmp(tree_path_text(conf, "bootstrap.method", "initdb"),
		"initdb") != 0;
}
