/*
 * members.c: the member table of a cluster (patronictl.md 10), from a view.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/values.h"
#include "ctl.h"

#define PG_PORT 5432
#define LONG_REASON 50

enum extra { PENDING, REASON, SCHEDULED, TAGS, NEXTRA };
static const char *const extra_names[NEXTRA] = { "Pending restart",
	"Pending restart reason", "Scheduled restart", "Tags" };

struct member {
	const struct view *v;
	int group; /* Citus */
	const struct view_member *m;
	const char *role;
	const char *state;
	char host[URL_SIZE]; /* "" = unknown */
	int port;
	bool leader;
	uint32_t depth; /* topology */
	bool placed;
	struct tree *extra[NEXTRA];
};

struct listing {
	bool citus;
	bool whole; /* Citus: all groups */
	enum table_format fmt;
	struct member *list;
	uint32_t n;
	bool ports;
	bool has[NEXTRA];
};

/* ---- what the view says of a member ---- */

static const char *
role_of(const struct view *v, const struct view_member *m)
{
	static const char *const words[] = {
		[VIEW_ROLE_LEADER] = "Leader",
		[VIEW_ROLE_STANDBY_LEADER] = "Standby Leader",
		[VIEW_ROLE_SYNC_STANDBY] = "Sync Standby",
		[VIEW_ROLE_QUORUM_STANDBY] = "Quorum Standby",
		[VIEW_ROLE_REPLICA] = "Replica",
	};

	return words[view_role(v, m)];
}

static void
reason_text(const struct tree *reason, bool shorten, FILE *f)
{
	char line[TEXT_SIZE], old[128] = "", new[128] = "";
	const struct tree *p, *v;
	uint32_t i;

	for (i = 0; i < tree_count(reason); i++) {
		p = tree_child(reason, i);
		if ((v = tree_get(p, "old_value")) != NULL)
			(void)tree_scalar_text(v, old, sizeof(old));
		if ((v = tree_get(p, "new_value")) != NULL)
			(void)tree_scalar_text(v, new, sizeof(new));
		(void)snprintf(
		    line, sizeof(line), "%s: %s->%s", p->key, old, new);
		if (shorten && strlen(line) > LONG_REASON)
			(void)snprintf(line, sizeof(line),
			    "%s: [hidden - too long]", p->key);
		fprintf(f, "%s%s", i > 0 ? "\n" : "", line);
		old[0] = new[0] = '\0';
	}
}

static struct tree *
reason_cell(const struct tree *reason, enum table_format fmt)
{
	struct tree *cell;
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);

	if (f == NULL)
		ctl_error("out of memory");
	if (reason != NULL)
		reason_text(
		    reason, fmt == FMT_PRETTY || fmt == FMT_TOPOLOGY, f);
	if (fclose(f) == EOF)
		ctl_error("out of memory");
	cell = tree_text(buf);
	free(buf);
	return cell;
}

static struct tree *
scheduled_cell(const struct tree *s)
{
	const char *at = tree_path_text(s, "schedule", "");
	const char *version = tree_path_text(s, "postgres_version", "");
	char text[TEXT_SIZE];

	if (s == NULL || at[0] == '\0')
		return tree_text("");
	(void)snprintf(text, sizeof(text), "%s%s%s", at,
	    version[0] != '\0' ? " if version < " : "", version);
	return tree_text(text);
}

static bool
empty_cell(const struct tree *t)
{
	return t == NULL || (t->type == TREE_TEXT && t->u.s[0] == '\0');
}

static void
add_extras(struct listing *l, struct member *e)
{
	int i;

	e->extra[PENDING] = tree_text(e->m->pending_restart ? "*" : "");
	e->extra[REASON] = reason_cell(e->m->pending_restart_reason, l->fmt);
	e->extra[SCHEDULED] = scheduled_cell(e->m->scheduled_restart);
	e->extra[TAGS] = tree_count(e->m->tags_doc) > 0 ?
	    tree_copy(e->m->tags_doc) :
	    tree_text("");
	for (i = 0; i < NEXTRA; i++)
		if (e->host[0] != '\0' && !empty_cell(e->extra[i]))
			l->has[i] = true;
}

static int
by_name(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return strcmp(x->m->name, y->m->name);
}

static bool
ports_needed(const struct listing *l)
{
	uint32_t i, j;

	for (i = 0; i < l->n; i++) {
		if (l->list[i].host[0] == '\0')
			continue;
		if (l->list[i].port != PG_PORT)
			return true;
		for (j = 0; j < i; j++)
			if (strcmp(l->list[i].host, l->list[j].host) == 0)
				return true;
	}
	return false;
}

static void
collect(struct listing *l, const struct view *v, int group)
{
	struct member *e;
	uint32_t i;

	l->list =
	    reallocarray(l->list, (size_t)l->n + v->nmembers + 1, sizeof(*e));
	if (l->list == NULL)
		ctl_error("out of memory");
	for (i = 0; i < v->nmembers; i++) {
		e = &l->list[l->n++];
		memset(e, 0, sizeof(*e));
		e->v = v;
		e->group = group;
		e->m = &v->members[i];
		e->leader =
		    v->leader[0] != '\0' && strcmp(v->leader, e->m->name) == 0;
		e->role = role_of(v, e->m);
		e->state = strcmp(e->role, "Leader") != 0 &&
			e->m->replication_state[0] != '\0' ?
		    e->m->replication_state :
		    e->m->state;
		if (strcmp(e->state, "unknown") == 0)
			e->state = ""; /* no state in the key */
		(void)view_member_address(
		    e->m, e->host, sizeof(e->host), &e->port);
		add_extras(l, e);
	}
}

/* ---- topology: depth first below the leader (10.5) ---- */

static int
parent_of(const struct listing *l, uint32_t i, int root)
{
	const char *from = l->list[i].m->tags.replicatefrom;
	uint32_t j;

	for (j = 0; from[0] != '\0' && j < l->n; j++)
		if (j != i && (int)j != root &&
		    l->list[j].group == l->list[i].group &&
		    strcmp(l->list[j].m->name, from) == 0)
			return (int)j;
	return root;
}

static void
place(struct listing *l, struct member *out, uint32_t *nout, int group,
    int root, int at, uint32_t depth)
{
	uint32_t i;

	if (at >= 0) {
		if (l->list[at].placed)
			return;
		l->list[at].placed = true;
		l->list[at].depth = depth;
		out[(*nout)++] = l->list[at];
	}
	for (i = 0; i < l->n; i++)
		if (l->list[i].group == group && (int)i != root &&
		    parent_of(l, i, root) == at)
			place(l, out, nout, group, root, (int)i, depth + 1);
}

static void
arrange_group(struct listing *l, struct member *out, uint32_t *n, int group)
{
	int root = -1;
	uint32_t i;

	for (i = 0; i < l->n && root == -1; i++)
		if (l->list[i].group == group && l->list[i].leader)
			root = (int)i;
	place(l, out, n, group, root, root, 0);
	/* Members that replicate from each other in a circle. */
	for (i = 0; i < l->n; i++)
		if (l->list[i].group == group && !l->list[i].placed) {
			l->list[i].placed = true;
			l->list[i].depth = 1;
			out[(*n)++] = l->list[i];
		}
}

static void
arrange(struct listing *l)
{
	struct member *out;
	uint32_t n = 0, i;

	if ((out = calloc((size_t)l->n + 1, sizeof(*out))) == NULL)
		ctl_error("out of memory");
	for (i = 0; i < l->n; i++) /* the list is in order of groups */
		if (i == 0 || l->list[i].group != l->list[i - 1].group)
			arrange_group(l, out, &n, l->list[i].group);
	free(l->list);
	l->list = out;
	l->n = n;
}

/* ---- rows ---- */

static void
append_text(struct tree *row, const char *text)
{
	if (!tree_append(row, tree_text(text)))
		ctl_error("out of memory");
}

/* Bytes to MB, rounded half to even. */
static int64_t
megabytes(uint64_t bytes)
{
	uint64_t whole = bytes >> 20, part = bytes & 0xfffff;

	if (part > 0x80000 || (part == 0x80000 && (whole & 1) != 0))
		whole++;
	return (int64_t)whole;
}

static void
append_lsn(struct tree *row, uint64_t optime, uint64_t lsn, bool leader)
{
	char text[40];

	if (leader || lsn == 0) {
		append_text(row, leader ? "" : "unknown");
		append_text(row, "");
		return;
	}
	(void)snprintf(text, sizeof(text), "%" PRIX64 "/%" PRIX64, lsn >> 32,
	    lsn & UINT32_MAX);
	append_text(row, text);
	(void)tree_append(
	    row, tree_int(megabytes(optime > lsn ? optime - lsn : 0)));
}

static void
append_positions(struct tree *row, const struct view *v, const struct member *e)
{
	uint64_t receive = e->m->receive_lsn, replay = e->m->replay_lsn;

	/* Older members publish one position only. */
	if (receive == 0 && replay == 0 && e->m->has_xlog_location) {
		if (strcmp(e->state, "streaming") == 0)
			receive = e->m->xlog_location;
		else
			replay = e->m->xlog_location;
	}
	append_lsn(row, v->optime, receive, e->leader);
	append_lsn(row, v->optime, replay, e->leader);
}

/* How far a copy has come is for people: programs read "creating replica". */
static void
append_state(struct tree *row, const struct listing *l, const struct member *e)
{
	char text[WORD_SIZE + 16];

	if (e->m->copied == 0 || e->state != e->m->state ||
	    (l->fmt != FMT_PRETTY && l->fmt != FMT_TOPOLOGY)) {
		append_text(row, e->state);
		return;
	}
	(void)snprintf(
	    text, sizeof(text), "%s (%d%%)", e->state, e->m->copied - 1);
	append_text(row, text);
}

static void
append_name(struct tree *row, const struct listing *l, const struct member *e)
{
	char text[NAME_SIZE + MAX_MEMBERS * 2 + 8];

	if (l->fmt != FMT_TOPOLOGY || e->depth == 0) {
		append_text(row, e->m->name);
		return;
	}
	(void)snprintf(text, sizeof(text), "%*s+ %s", (int)(2 * (e->depth - 1)),
	    "", e->m->name);
	append_text(row, text);
}

/* In a box the title names a single group. */
static bool
group_column(const struct listing *l)
{
	return l->citus &&
	    (l->whole || (l->fmt != FMT_PRETTY && l->fmt != FMT_TOPOLOGY));
}

static void
add_row(
    struct listing *l, struct table *t, struct member *e, const char *cluster)
{
	struct tree *row = table_row(t);
	char host[URL_SIZE + 16];
	int i;

	if (l->fmt != FMT_PRETTY && l->fmt != FMT_TOPOLOGY)
		append_text(row, cluster);
	if (group_column(l))
		(void)tree_append(row, tree_int(e->group));
	append_name(row, l, e);
	if (l->ports && e->host[0] != '\0')
		(void)snprintf(host, sizeof(host), "%s:%d", e->host, e->port);
	else
		(void)snprintf(host, sizeof(host), "%s", e->host);
	append_text(row, host);
	append_text(row, e->role);
	append_state(row, l, e);
	if (e->m->timeline != 0)
		(void)tree_append(row, tree_int(e->m->timeline));
	else
		append_text(row, "");
	append_positions(row, e->v, e);
	for (i = 0; i < NEXTRA; i++) {
		if (l->has[i])
			(void)tree_append(row, e->extra[i]);
		else
			tree_free(e->extra[i]);
		e->extra[i] = NULL;
	}
}

static void
columns(const struct listing *l, struct table *t)
{
	int i;

	if (l->fmt != FMT_PRETTY && l->fmt != FMT_TOPOLOGY)
		table_column(t, "Cluster", NULL, false);
	if (group_column(l))
		table_column(t, "Group", NULL, true);
	table_column(t, "Member", NULL, false);
	table_column(t, "Host", NULL, false);
	table_column(t, "Role", NULL, false);
	table_column(t, "State", NULL, false);
	table_column(t, "TL", NULL, true);
	table_column(t, "Receive LSN", NULL, true);
	table_column(t, "Receive Lag", "Lag", true);
	table_column(t, "Replay LSN", NULL, true);
	table_column(t, "Replay Lag", "Lag", true);
	for (i = 0; i < NEXTRA; i++)
		if (l->has[i])
			table_column(t, extra_names[i], NULL, false);
}

static void
set_title(const struct listing *l, const struct view *v, int group,
    const char *cluster, struct table *t)
{
	const char *id = v->initialize;

	if (!v->has_initialize)
		id = "uninitialized";
	else if (id[0] == '\0')
		id = "initializing";
	if (l->whole)
		(void)snprintf(
		    t->title, sizeof(t->title), " Citus cluster: %s ", cluster);
	else if (l->citus)
		(void)snprintf(t->title, sizeof(t->title),
		    " Citus cluster: %s (group: %d, %s) ", cluster, group, id);
	else
		(void)snprintf(t->title, sizeof(t->title), " Cluster: %s (%s) ",
		    cluster, id);
}

static bool
scheduled(const struct view *v)
{
	return v->failover_scheduled &&
	    (v->failover_leader[0] != '\0' || v->failover_member[0] != '\0');
}

/* group -1: not said which. */
static void
footer(const struct view *v, int group, FILE *f)
{
	if (group != -1 && (view_paused(v) || scheduled(v)))
		fprintf(f, "Citus group: %d\n", group);
	if (view_paused(v))
		fputs(" Maintenance mode: on\n", f);
	if (!scheduled(v))
		return;
	fprintf(f, " Switchover scheduled at: %s\n", v->failover_at);
	if (v->failover_leader[0] != '\0')
		fprintf(f, "%24s: %s\n", "from", v->failover_leader);
	if (v->failover_member[0] != '\0')
		fprintf(f, "%24s: %s\n", "to", v->failover_member);
}

static void
footers(const struct ctl *ctl, const struct view *v, FILE *f)
{
	uint32_t i;

	footer(v, ctl->whole ? 0 : -1, f);
	for (i = 0; i < ctl->nworkers; i++)
		footer(ctl->workers[i].view, ctl->workers[i].group, f);
}

void
members_print(const struct ctl *ctl, const struct view *v, const char *cluster,
    enum table_format fmt, bool extended, FILE *f)
{
	int group = ctl->whole ? 0 : ctl->group;
	struct listing l;
	struct table t;
	uint32_t i;

	memset(&l, 0, sizeof(l));
	l.fmt = fmt;
	l.whole = ctl->whole;
	l.citus = group >= 0;
	for (i = 0; i < NEXTRA; i++)
		l.has[i] = extended;
	collect(&l, v, group);
	for (i = 0; i < ctl->nworkers; i++)
		collect(&l, ctl->workers[i].view, ctl->workers[i].group);
	qsort(l.list, l.n, sizeof(*l.list), by_name);
	l.ports = ports_needed(&l);
	if (fmt == FMT_TOPOLOGY)
		arrange(&l);
	table_init(&t);
	t.omit_empty = true;
	set_title(&l, v, group, cluster, &t);
	columns(&l, &t);
	for (i = 0; i < l.n; i++)
		add_row(&l, &t, &l.list[i], cluster);
	table_print(&t, fmt, f);
	table_free(&t);
	free(l.list);
	if (fmt == FMT_PRETTY || fmt == FMT_TOPOLOGY)
		footers(ctl, v, f);
}

void
members_table(const struct ctl *ctl, const struct view *v, const char *cluster)
{
	members_print(ctl, v, cluster, FMT_PRETTY, false, stdout);
}
