/*
 * sync.c: synchronous replication of the PostgreSQL model: what
 * synchronous_standby_names asks for, which standbys count, and up to where
 * commits are acknowledged to clients.
 */
#include <stdlib.h>

#include "sim.h"

struct ssn {
	bool on, any;
	uint32_t need, n;
	char name[MAX_NODES + 1][NAME_SIZE];
	int node[MAX_NODES + 1]; /* of that name, or -1 */
};

/* The forms that spec/ha.md 13.2 writes, names unquoted. */
static void
parse_text(struct world *w, const char *text, struct ssn *s)
{
	char copy[512], *p = copy, *save = NULL, *word, *list;

	memset(s, 0, sizeof(*s));
	if (text[0] == '\0' || !text_set(copy, sizeof(copy), text))
		return;
	s->on = true;
	s->need = 1;
	if (strncmp(p, "ANY ", 4) == 0) {
		s->any = true;
		p += 4;
	}
	list = strchr(p, '(');
	if (list != NULL) {
		s->need = (uint32_t)strtoul(p, NULL, 10);
		p = list + 1;
	}
	for (word = strtok_r(p, ",() ", &save);
	     word != NULL && s->n <= MAX_NODES;
	     word = strtok_r(NULL, ",() ", &save)) {
		const struct node *m = node_named(w, word);

		s->node[s->n] = m == NULL ? -1 : m->i;
		(void)text_set(s->name[s->n++], NAME_SIZE, word);
	}
}

/* It is asked for at every tick, and seldom another. */
static const struct ssn *
parse(const struct node *n)
{
	static char known[512];
	static int nodes;
	static struct ssn parsed;

	if (nodes != n->w->nnodes || strcmp(n->pg.ssn, known) != 0) {
		parse_text(n->w, n->pg.ssn, &parsed);
		(void)text_set(known, sizeof(known), n->pg.ssn);
		nodes = n->w->nnodes;
	}
	return &parsed;
}

static bool
streams_from(const struct node *s, const struct node *t)
{
	return s != t && s->pg.streaming && s->pg.follow == t->i &&
	    s->pg.run == PG_UP;
}

/* A listed standby that is connected, in the order of the list. */
static struct node *
listed(struct node *n, const struct ssn *s, uint32_t i)
{
	struct node *m = pg_place(n->w, s->node[i]);

	return m != NULL && streams_from(m, n) ? m : NULL;
}

/* The largest first. */
static void
insert(uint64_t *lsn, uint32_t n, uint64_t value)
{
	for (; n > 0 && lsn[n - 1] < value; n--)
		lsn[n] = lsn[n - 1];
	lsn[n] = value;
}

/* Commits up to here have been answered. */
uint64_t
sync_acknowledged(struct node *n)
{
	const struct ssn *s = parse(n);
	uint64_t lsn[MAX_NODES + 1];
	uint32_t i, count = 0;

	if (!s->on)
		return n->pg.wal.end;
	for (i = 0; i < s->n && (s->any || count < s->need); i++) {
		const struct node *m = listed(n, s, i);

		if (m != NULL)
			insert(lsn, count++, m->pg.wal.end);
	}
	if (s->need == 0)
		return n->pg.wal.end;
	if (count < s->need)
		return 0;
	return lsn[s->any ? s->need - 1 : count - 1];
}

void
sync_names(const struct node *n, uint32_t *need, char (*names)[NAME_SIZE],
    uint32_t *count)
{
	const struct ssn *s = parse(n);
	uint32_t i;

	*need = s->on ? s->need : 0;
	*count = 0;
	for (i = 0; i < s->n; i++)
		if (strncmp(s->name[i], "__patroni", 9) != 0)
			(void)text_set(
			    names[(*count)++], NAME_SIZE, s->name[i]);
}

static const char *
state_of(struct node *n, const struct ssn *s, const struct node *m)
{
	uint32_t i, before = 0;

	for (i = 0; i < s->n; i++) {
		const struct node *l = listed(n, s, i);

		if (l == m)
			return s->any	     ? "quorum" :
			    before < s->need ? "sync" :
					       "potential";
		before += l != NULL;
	}
	return "async";
}

void
sync_facts(struct node *n, struct ha_pg *p)
{
	const struct ssn *s = parse(n);
	int i;

	(void)text_set(
	    p->synchronous_commit, sizeof(p->synchronous_commit), "on");
	for (i = 0; i < n->w->nnodes; i++) {
		const struct node *m = &n->w->node[i];
		struct ha_sender *r = &p->senders[p->nsenders];

		if (!streams_from(m, n))
			continue;
		(void)text_set(r->name, sizeof(r->name), m->name);
		(void)text_set(
		    r->sync_state, sizeof(r->sync_state), state_of(n, s, m));
		r->write_lsn = r->flush_lsn = r->replay_lsn = m->pg.wal.end;
		p->nsenders++;
	}
}
