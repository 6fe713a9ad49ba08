/*
 * coverage.c: which faults were injected and which rules of the core were
 * taken, and how often (--coverage).
 */
#include <stdlib.h>

#include "sim.h"

#define MAX_RULES 256
#define MAX_KINDS 128

struct coverage {
	uint64_t rule[MAX_RULES];
	struct {
		const char *name;
		uint64_t times;
	} fault[MAX_KINDS];
	int nfaults;
};

/* Why a run cannot meet this rule; NULL: it can. */
static const char *
unmet(const char *id)
{
	static const struct {
		const char *id, *why;
	} v[] = {
#define UNMET(id, why) { id, why },
#include "unmet.def"
#undef UNMET
	};
	size_t i;

	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		if (strcmp(v[i].id, id) == 0)
			return v[i].why;
	return NULL;
}

struct coverage *
coverage_new(void)
{
	struct coverage *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	return c;
}

static int
find(const char *id)
{
	const struct ha_rule *r;
	int i;

	for (i = 0; i < MAX_RULES; i++) {
		r = ha_rule((uint32_t)i);
		if (r == NULL)
			break;
		if (strcmp(r->id, id) == 0)
			return i;
	}
	return -1;
}

void
coverage_rule(struct world *w, const char *id)
{
	int i;

	if (w->coverage == NULL || id[0] == '\0')
		return;
	i = find(id);
	if (i < 0)
		violate(w, "the core names a rule that is none: %s", id);
	else if (w->coverage->rule[i]++ == 0 && unmet(id) != NULL)
		violate(w, "a rule that cannot be met is: %s", id);
}

void
coverage_fault(struct world *w, const char *name)
{
	struct coverage *c = w->coverage;
	int i;

	if (c == NULL)
		return;
	for (i = 0; i < c->nfaults; i++)
		if (c->fault[i].name == name)
			break;
	if (i == MAX_KINDS)
		return;
	if (i == c->nfaults)
		c->nfaults++;
	c->fault[i].name = name;
	c->fault[i].times++;
}

/* How many rules were never taken. */
int
coverage_report(struct coverage *c)
{
	const struct ha_rule *r;
	int i, never = 0;

	for (i = 0; i < c->nfaults; i++)
		printf("fault  %10llu  %s\n",
		    (unsigned long long)c->fault[i].times, c->fault[i].name);
	for (i = 0; (r = ha_rule((uint32_t)i)) != NULL; i++) {
		printf("rule   %10llu  %s\n", (unsigned long long)c->rule[i],
		    r->id);
		never += c->rule[i] == 0 && unmet(r->id) == NULL;
	}
	for (i = 0; (r = ha_rule((uint32_t)i)) != NULL; i++)
		if (c->rule[i] == 0 && unmet(r->id) != NULL)
			printf(
			    "cannot be taken: %s: %s\n", r->id, unmet(r->id));
		else if (c->rule[i] == 0)
			printf("never taken: %s (%s)\n", r->id, r->text);
	printf("%d rules, %d never taken\n", i, never);
	return never;
}
