/*
 * rules.c: names of the rules that can be broken on purpose (rules.def), and
 * which rules of the core a run has met, for tests/tools/rules.py.
 */
#include <stdlib.h>

#include "sim.h"

static const char *const names[BREAK_COUNT] = {
	"none",
#define RULE(name, text, sections) text,
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

static bool met[1024];
static bool noting;

static void rules_write(void);

void
rules_note(void)
{
	noting = getenv("RULES_LOG") != NULL;
	if (noting)
		(void)atexit(rules_write);
}

void
rule_met(const char *id)
{
	const struct ha_rule *r = noting ? ha_rule_find(id) : NULL;

	if (r != NULL && (size_t)(r - ha_rule(0)) < sizeof(met))
		met[r - ha_rule(0)] = true;
}

/* One line "rule sim" each, in the file that RULES_LOG names. */
static void
rules_write(void)
{
	const char *path = getenv("RULES_LOG");
	const struct ha_rule *r;
	uint32_t i;
	FILE *f;

	if (path == NULL || (f = fopen(path, "a")) == NULL)
		return;
	for (i = 0; i < sizeof(met) && (r = ha_rule(i)) != NULL; i++)
		if (met[i])
			(void)fprintf(f, "%s sim\n", r->id);
	(void)fclose(f);
}
