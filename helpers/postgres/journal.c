/*
 * journal.c: the last 1,000 decisions of the core (design 13).
 */
#include <stdlib.h>
#include <string.h>

#include "controller.h"

#define JOURNAL_SIZE 1000
#define JOURNAL_TEXT 256

struct entry {
	int64_t wall_us;
	int64_t boot_ns;
	uint64_t repeats; /* the same decision again and again is one entry */
	int64_t last_us;
	char rule[WORD_SIZE];
	char text[JOURNAL_TEXT];
};

struct journal {
	uint32_t n, next;
	struct entry v[JOURNAL_SIZE];
};

struct journal *
journal_new(void)
{
	return calloc(1, sizeof(struct journal));
}

void
journal_add(struct journal *j, int64_t now, const char *rule, const char *text)
{
	struct entry *e;

	if (j->n > 0) {
		e = &j->v[(j->next + JOURNAL_SIZE - 1) % JOURNAL_SIZE];
		if (strcmp(e->rule, rule) == 0 &&
		    strncmp(e->text, text, JOURNAL_TEXT - 1) == 0) {
			e->repeats++;
			e->last_us = clock_wall_us();
			return;
		}
	}
	e = &j->v[j->next];
	j->next = (j->next + 1) % JOURNAL_SIZE;
	if (j->n < JOURNAL_SIZE)
		j->n++;
	memset(e, 0, sizeof *e);
	e->boot_ns = now;
	e->wall_us = e->last_us = clock_wall_us();
	e->repeats = 1;
	strncpy(e->rule, rule, sizeof e->rule - 1);
	strncpy(e->text, text, sizeof e->text - 1);
}

struct tree *
journal_list(const struct journal *j, uint32_t limit)
{
	uint32_t n = limit == 0 || limit > j->n ? j->n : limit;
	uint32_t i = (j->next + JOURNAL_SIZE - n) % JOURNAL_SIZE;
	struct tree *list = tree_list(), *m;

	for (; n > 0; n--, i = (i + 1) % JOURNAL_SIZE) {
		const struct entry *e = &j->v[i];

		m = tree_map();
		tree_set(m, "time_us", tree_int(e->wall_us));
		tree_set(m, "last_us", tree_int(e->last_us));
		tree_set(m, "boot_ns", tree_int(e->boot_ns));
		tree_set(m, "times", tree_int((int64_t)e->repeats));
		tree_set(m, "rule", tree_text(e->rule));
		tree_set(m, "text", tree_text(e->text));
		tree_append(list, m);
	}
	return list;
}
