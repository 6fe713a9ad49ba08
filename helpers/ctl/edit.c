/*
 * edit.c: changes to a configuration tree: -s, -p, files (patronictl.md 12).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "edit.h"

#define MAX_STEPS 64

static void
must(bool ok)
{
	if (!ok)
		ctl_error("out of memory");
}

/* ---- -s and -p ---- */

struct path {
	char *step[MAX_STEPS];
	int n;
};

static bool
parameters(const struct path *p, int at)
{
	return at == 2 && strcmp(p->step[0], "postgresql") == 0 &&
	    strcmp(p->step[1], "parameters") == 0;
}

/* Below postgresql.parameters the dots belong to the name. */
static void
join_rest(struct path *p, int at)
{
	char *all = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&all, &len);
	int i;

	must(f != NULL);
	for (i = at; i < p->n; i++)
		fprintf(f, "%s%s", i > at ? "." : "", p->step[i]);
	must(fclose(f) != EOF);
	for (i = at; i < p->n; i++)
		free(p->step[i]);
	p->step[at] = all;
	p->n = at + 1;
}

static void
set_value(struct tree *map, struct path *p, int at, const struct tree *value)
{
	struct tree *child;
	const char *key;

	if (parameters(p, at))
		join_rest(p, at);
	key = p->step[at];
	if (at == p->n - 1) {
		if (value->type == TREE_NULL)
			tree_remove(map, key);
		else
			must(tree_set(map, key, tree_copy(value)));
		return;
	}
	child = tree_get(map, key);
	if (child == NULL || child->type != TREE_MAP) {
		must(tree_set(map, key, tree_map()));
		child = tree_get(map, key);
	}
	set_value(child, p, at + 1, value);
	if (tree_count(child) == 0)
		tree_remove(map, key);
}

static void
add_step(struct path *p, const char *s, size_t len)
{
	if (p->n == MAX_STEPS)
		ctl_error("too many parts in a key");
	must((p->step[p->n++] = strndup(s, len)) != NULL);
}

static void
split_key(struct path *p, const char *key, size_t len)
{
	const char *dot;

	for (;;) {
		dot = memchr(key, '.', len);
		if (dot == NULL)
			break;
		add_step(p, key, (size_t)(dot - key));
		len -= (size_t)(dot - key) + 1;
		key = dot + 1;
	}
	add_step(p, key, len);
}

void
edit_set(struct tree *config, const char *setting, bool pg)
{
	const char *eq = strchr(setting, '='), *key = setting;
	char err[TEXT_SIZE];
	struct tree *value;
	struct path p;
	size_t len;
	int i;

	if (eq == NULL)
		ctl_error("Invalid parameter setting %s", setting);
	p.n = 0;
	if (pg) {
		add_step(&p, "postgresql", strlen("postgresql"));
		add_step(&p, "parameters", strlen("parameters"));
	}
	len = (size_t)(eq - key);
	for (; len > 0 && strchr(" \t\n", key[0]) != NULL; key++)
		len--;
	while (len > 0 && strchr(" \t\n", key[len - 1]) != NULL)
		len--;
	split_key(&p, key, len);
	value = conf_yaml_parse(eq + 1, strlen(eq + 1), 0, err, sizeof(err));
	if (value == NULL)
		ctl_error("%s: %s", setting, err);
	set_value(config, &p, 0, value);
	tree_free(value);
	for (i = 0; i < p.n; i++)
		free(p.step[i]);
}

/* ---- files ---- */

struct tree *
edit_parse(const char *text, size_t len, const char *what)
{
	char err[TEXT_SIZE];
	struct tree *t = conf_yaml_parse(text, len, 0, err, sizeof(err));

	if (t == NULL)
		ctl_error("%s: %s", what, err);
	if (t->type != TREE_MAP)
		ctl_error("%s: not a mapping of keys to values", what);
	return t;
}

struct tree *
edit_read(const char *path)
{
	bool standard = strcmp(path, "-") == 0;
	FILE *f = standard ? stdin : fopen(path, "re");
	char *text = malloc(CONF_MAX_FILE + 1);
	struct tree *t;
	size_t len;

	if (f == NULL)
		ctl_error("%s: %s", path, strerror(errno));
	must(text != NULL);
	len = fread(text, 1, CONF_MAX_FILE + 1, f);
	if (ferror(f))
		ctl_error("%s: %s", path, strerror(errno));
	if (len > CONF_MAX_FILE)
		ctl_error("%s: larger than a configuration may be", path);
	if (!standard)
		(void)fclose(f);
	t = edit_parse(text, len, standard ? "standard input" : path);
	free(text);
	return t;
}

char *
edit_text(const struct tree *t)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	must(f != NULL);
	conf_yaml_write(t, 0, true, f);
	must(fclose(f) != EOF);
	return text;
}

/* ---- comparison ---- */

static bool
is_number(const struct tree *t)
{
	return t->type == TREE_BOOL || t->type == TREE_INT ||
	    t->type == TREE_REAL;
}

static double
number(const struct tree *t)
{
	if (t->type == TREE_REAL)
		return t->u.r;
	return t->type == TREE_BOOL ? t->u.b : (double)t->u.i;
}

static bool
equal_numbers(const struct tree *a, const struct tree *b)
{
	if (a->type == TREE_INT && b->type == TREE_INT)
		return a->u.i == b->u.i;
	return !(number(a) < number(b)) && !(number(a) > number(b));
}

bool
edit_equal(const struct tree *a, const struct tree *b)
{
	const struct tree *x, *y;
	uint32_t i;

	if (is_number(a) && is_number(b))
		return equal_numbers(a, b);
	if (a->type != b->type || tree_count(a) != tree_count(b))
		return false;
	if (a->type == TREE_TEXT)
		return strcmp(a->u.s, b->u.s) == 0;
	for (i = 0; i < tree_count(a); i++) {
		x = tree_child(a, i);
		y = a->type == TREE_MAP ? tree_get(b, x->key) :
					  tree_child(b, i);
		if (y == NULL || !edit_equal(x, y))
			return false;
	}
	return true;
}
