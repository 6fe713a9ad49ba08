/*
 * rules.c: names of the rules that can be broken on purpose (rules.def).
 */
#include "sim.h"

static const char *const names[BREAK_COUNT] = {
	"none",
#define RULE(name, text) text,
#include "rules.def"
#undef RULE
};

int
rule_count(void)
{
	return BREAK_COUNT - 1;
}

const char *
rule_name(int i)
{
	return names[i];
}

enum sim_break
rule_find(const char *name)
{
	int i;

	for (i = 1; i < BREAK_COUNT; i++)
		if (strcmp(names[i], name) == 0)
			return (enum sim_break)i;
	return BREAK_NONE;
}
