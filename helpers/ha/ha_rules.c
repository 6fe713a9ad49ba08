/*
 * ha_rules.c: the table of rule ids (ha_rules.def), to be asked what one
 * means.  The rules themselves are everywhere else in this folder.
 */
#include "ha_int.h"

static const struct ha_rule rules[] = {
#define RULE(id, section, text) { id, section, text },
#include "ha_rules.def"
#undef RULE
};

const struct ha_rule *
ha_rule(uint32_t i)
{
	return i < sizeof(rules) / sizeof(rules[0]) ? &rules[i] : NULL;
}

const struct ha_rule *
ha_rule_find(const char *id)
{
	size_t low = 0, high = sizeof(rules) / sizeof(rules[0]);

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int r = strcmp(id, rules[middle].id);

		if (r == 0)
			return &rules[middle];
		if (r < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
