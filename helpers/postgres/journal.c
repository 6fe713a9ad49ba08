/*
 * journal.c: the last 1,000 decisions of the core (design 13): when, by which
 * rule, made of what and why, what was set going.  A decision that repeats
 * itself is one entry that counts.
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
	char inputs[HA_INPUTS]; /* of the newest repetition */
	char reasons[HA_REASONS];
	char effects[HA_EFFECTS];
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

/* Bytes of text that fit without cutting a UTF-8 character. */
static size_t
text_fit(const char *text, size_t most)
{
	size_t n = strlen(text);

	if (n <= most)
		return n;
	for (n = most; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
		;
	return n;
}

/* Results are short; a longer one is cut, its rule tells the rest. */
static bool
same(const struct entry *e, const struct ha_fx *fx)
{
	return strcmp(e->rule, fx->rule) == 0 &&
	    text_fit(fx->text, JOURNAL_TEXT - 1) == strlen(e->text) &&
	    memcmp(e->text, fx->text, strlen(e->text)) == 0 &&
	    strcmp(e->reasons, fx->reasons) == 0 &&
	    strcmp(e->effects, fx->effects) == 0;
}

void
journal_add(struct journal *j, int64_t now, const struct ha_fx *fx)
{
	struct entry *e;

	if (j->n > 0) {
		e = &j->v[(j->next + JOURNAL_SIZE - 1) % JOURNAL_SIZE];
		if (same(e, fx)) {
			e->repeats++;
			e->last_us = clock_wall_us();
			memcpy(e->inputs, fx->inputs, sizeof e->inputs);
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
	memcpy(e->rule, fx->rule, sizeof e->rule);
	memcpy(e->text, fx->text, text_fit(fx->text, sizeof e->text - 1));
	memcpy(e->inputs, fx->inputs, sizeof e->inputs);
	memcpy(e->reasons, fx->reasons, sizeof e->reasons);
	memcpy(e->effects, fx->effects, sizeof e->effects);
}

/* Bytes of an entry in a message, keys and numbers included. */
static size_t
weight(const struct entry *e)
{
	return 256 + strlen(e->rule) + strlen(e->text) + strlen(e->inputs) +
	    strlen(e->reasons) + strlen(e->effects);
}

/* How many of the newest n fit into one message. */
static uint32_t
fitting(const struct journal *j, uint32_t n)
{
	size_t left = TREE_MAX_BYTES - 4096;
	uint32_t k;

	for (k = 0; k < n; k++) {
		const struct entry *e =
		    &j->v[(j->next + JOURNAL_SIZE - 1 - k) % JOURNAL_SIZE];

		if (weight(e) > left)
			break;
		left -= weight(e);
	}
	return k;
}

struct tree *
journal_list(const struct journal *j, uint32_t limit)
{
	uint32_t n = fitting(j, limit == 0 || limit > j->n ? j->n : limit);
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
		tree_set(m, "inputs", tree_text(e->inputs));
		tree_set(m, "reasons", tree_text(e->reasons));
		tree_set(m, "effects", tree_text(e->effects));
		tree_append(list, m);
	}
	return list;
}
