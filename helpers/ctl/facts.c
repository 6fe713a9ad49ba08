/*
 * facts.c: numbers of the dynamic configuration, as the nodes read them; the
 * rest is ipc/view_rules.c.
 */
#include "ctl.h"

#define DEFAULT_LOOP_WAIT 10

int
fact_loop_wait(const struct view *v)
{
	int64_t n = tree_path_int(v->config, "loop_wait", DEFAULT_LOOP_WAIT);

	return n < 1 || n > 86400 ? DEFAULT_LOOP_WAIT : (int)n;
}
