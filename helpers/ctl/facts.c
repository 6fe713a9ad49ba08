/*
 * facts.c: what the dynamic configuration of a view says, as the nodes read
 * it.
 */
#include <string.h>
#include <strings.h>

#include "../../ipc/values.h"
#include "ctl.h"

#define DEFAULT_LOOP_WAIT 10

/* A boolean in any spelling. */
static bool
truth(const struct tree *t)
{
	if (t == NULL)
		return false;
	return (t->type == TREE_BOOL && t->u.b) ||
	    (t->type == TREE_TEXT && value_bool(t->u.s) == 1) ||
	    (t->type == TREE_INT && t->u.i == 1);
}

bool
fact_paused(const struct view *v)
{
	return truth(tree_path(v->config, "pause"));
}

bool
fact_standby_cluster(const struct view *v)
{
	static const char *const keys[] = { "host", "port", "restore_command" };
	const struct tree *s = tree_path(v->config, "standby_cluster"), *k;
	size_t i;

	for (i = 0; s != NULL && i < sizeof(keys) / sizeof(keys[0]); i++) {
		k = tree_get(s, keys[i]);
		if (k != NULL && k->type != TREE_NULL &&
		    !(k->type == TREE_TEXT && k->u.s[0] == '\0') &&
		    !(k->type == TREE_INT && k->u.i == 0))
			return true;
	}
	return false;
}

bool
fact_synchronous(const struct view *v, bool *quorum)
{
	const struct tree *s = tree_path(v->config, "synchronous_mode");

	*quorum = s != NULL && s->type == TREE_TEXT &&
	    strcasecmp(s->u.s, "quorum") == 0;
	return (*quorum || truth(s)) && !fact_standby_cluster(v);
}

int
fact_loop_wait(const struct view *v)
{
	int64_t n = tree_path_int(v->config, "loop_wait", DEFAULT_LOOP_WAIT);

	return n < 1 || n > 86400 ? DEFAULT_LOOP_WAIT : (int)n;
}
