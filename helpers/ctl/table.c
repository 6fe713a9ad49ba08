/*
 * table.c: the output engine: pretty, topology, tsv, json, yaml
 * (patronictl.md 9).  Knows nothing of what the tables are about.
 */
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "../json.h"
#include "ctl.h"

enum table_format
table_format(const char *name)
{
	if (name == NULL || strcmp(name, "pretty") == 0)
		return FMT_PRETTY;
	if (strcmp(name, "tsv") == 0)
		return FMT_TSV;
	if (strcmp(name, "json") == 0)
		return FMT_JSON;
	return FMT_YAML;
}

void
table_init(struct table *t)
{
	memset(t, 0, sizeof(*t));
	if ((t->rows = tree_list()) == NULL)
		ctl_error("out of memory");
}

void
table_column(struct table *t, const char *name, const char *heading, bool right)
{
	struct column *cols =
	    reallocarray(t->cols, t->ncols + 1, sizeof(*cols));

	if (cols == NULL)
		ctl_error("out of memory");
	t->cols = cols;
	t->cols[t->ncols].name = name;
	t->cols[t->ncols].heading = heading != NULL ? heading : name;
	t->cols[t->ncols++].right = right;
}

struct tree *
table_row(struct table *t)
{
	struct tree *row = tree_list();

	if (row == NULL || !tree_append(t->rows, row))
		ctl_error("out of memory");
	return row;
}

void
table_free(struct table *t)
{
	tree_free(t->rows);
	free(t->cols);
	t->rows = NULL;
	t->cols = NULL;
	t->ncols = 0;
}

/* ---- text of a cell ---- */

/* What is plain elsewhere may end a value here. */
static void
flow_text(const struct tree *v, FILE *f)
{
	const char *s = v->u.s;

	if (strpbrk(s, ",[]{}") == NULL || strpbrk(s, "\t\n\r'") != NULL)
		conf_yaml_write_scalar(v, f);
	else
		fprintf(f, "'%s'", s);
}

static void
flow_key(const char *key, FILE *f)
{
	struct tree *t = tree_text(key);

	if (t == NULL)
		ctl_error("out of memory");
	flow_text(t, f);
	fputs(": ", f);
	tree_free(t);
}

static void
flow(const struct tree *v, FILE *f)
{
	uint32_t i, n = tree_count(v);

	if (v->type != TREE_MAP && v->type != TREE_LIST) {
		if (v->type == TREE_TEXT)
			flow_text(v, f);
		else
			conf_yaml_write_scalar(v, f);
		return;
	}
	fputc(v->type == TREE_MAP ? '{' : '[', f);
	for (i = 0; i < n; i++) {
		const struct tree *c = tree_child(v, i);

		if (i > 0)
			fputs(", ", f);
		if (v->type == TREE_MAP)
			flow_key(c->key, f);
		flow(c, f);
	}
	fputc(v->type == TREE_MAP ? '}' : ']', f);
}

static int
by_key(const void *a, const void *b)
{
	const struct tree *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

/* A copy with the keys of every map in order. */
static struct tree *
sorted(const struct tree *v)
{
	struct tree *copy = tree_copy(v);
	uint32_t i;

	if (copy == NULL)
		ctl_error("out of memory");
	if (copy->type == TREE_MAP && copy->u.c.n > 1)
		qsort(copy->u.c.v, copy->u.c.n, sizeof(struct tree *), by_key);
	for (i = 0; i < tree_count(copy); i++) {
		struct tree *child = tree_child(copy, i);

		if (child->type == TREE_MAP && child->u.c.n > 1)
			qsort(child->u.c.v, child->u.c.n, sizeof(struct tree *),
			    by_key);
	}
	return copy;
}

/* Maps: block YAML in boxes, flow YAML on one line elsewhere. */
static void
structured(const struct tree *v, enum table_format fmt, FILE *f)
{
	struct tree *copy;

	if (tree_count(v) == 0)
		return;
	if (fmt == FMT_PRETTY) {
		conf_yaml_write(v, 0, true, f);
		return;
	}
	copy = sorted(v);
	flow(copy, f);
	tree_free(copy);
}

/* New text; the caller frees it. */
static char *
cell_text(const struct tree *v, enum table_format fmt)
{
	char *buf = NULL;
	char scalar[64];
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);

	if (f == NULL)
		ctl_error("out of memory");
	if (v->type == TREE_MAP || v->type == TREE_LIST)
		structured(v, fmt, f);
	else if (v->type == TREE_TEXT)
		fputs(v->u.s, f);
	else {
		(void)tree_scalar_text(v, scalar, sizeof(scalar));
		fputs(scalar, f);
	}
	if (fclose(f) == EOF)
		ctl_error("out of memory");
	while (len > 0 && buf[len - 1] == '\n')
		buf[--len] = '\0';
	return buf;
}

/* ---- the box ---- */

/* Columns of the terminal that the first `len` bytes take. */
static int
text_width(const char *s, size_t len)
{
	mbstate_t state;
	size_t n, at = 0;
	wchar_t wc;
	int width = 0, w;

	memset(&state, 0, sizeof(state));
	while (at < len) {
		n = mbrtowc(&wc, s + at, len - at, &state);
		if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
			memset(&state, 0, sizeof(state));
			n = 1;
			w = 1;
		} else if ((w = wcwidth(wc)) < 0)
			w = 0;
		width += w;
		at += n;
	}
	return width;
}

struct box {
	const struct table *t;
	char **cells; /* nrows × ncols */
	uint32_t nrows;
	int *width;
	bool multiline;
	FILE *f;
};

static void
measure(struct box *b)
{
	uint32_t r, c;

	for (c = 0; c < b->t->ncols; c++) {
		b->width[c] = text_width(
		    b->t->cols[c].heading, strlen(b->t->cols[c].heading));
		for (r = 0; r < b->nrows; r++) {
			const char *p = b->cells[r * b->t->ncols + c];

			for (;;) {
				size_t n = strcspn(p, "\n");
				int w = text_width(p, n);

				if (w > b->width[c])
					b->width[c] = w;
				if (p[n] == '\0')
					break;
				b->multiline = true;
				p += n + 1;
			}
		}
	}
}

/* The rule with the title laid over it; a long title is cut so that the last
 * corner stays. */
static void
rule(const struct box *b, const char *title)
{
	size_t total = 1, used, len, c;
	char *line;

	for (c = 0; c < b->t->ncols; c++)
		total += (size_t)b->width[c] + 3;
	if ((line = malloc(total + 1)) == NULL)
		ctl_error("out of memory");
	memset(line, '-', total);
	line[total] = '\0';
	for (used = 0, c = 0; c < b->t->ncols; c++) {
		line[used] = '+';
		used += (size_t)b->width[c] + 3;
	}
	line[used] = '+';
	len = strlen(title);
	if (total >= 2 && len > total - 2)
		len = total - 2;
	fprintf(b->f, "+%.*s%s\n", (int)len, title, line + 1 + len);
	free(line);
}

static void
cell_line(const struct box *b, uint32_t c, const char *text, size_t len,
    enum style style)
{
	int pad = b->width[c] - text_width(text, len);

	if (b->t->cols[c].right)
		fprintf(b->f, "| %*s%s%.*s%s ", pad, "", style_on(b->f, style),
		    (int)len, text, style_off(b->f, style));
	else
		fprintf(b->f, "| %s%.*s%s%*s ", style_on(b->f, style), (int)len,
		    text, style_off(b->f, style), pad, "");
}

/* The n-th line of a text; empty behind its end. */
static const char *
nth_line(const char *text, uint32_t n, size_t *len)
{
	for (; n > 0; n--) {
		text += strcspn(text, "\n");
		if (*text == '\0')
			break;
		text++;
	}
	/* NOLINTNEXTLINE: every cell of a table has a text */
	*len = n > 0 ? 0 : strcspn(text, "\n");
	return text;
}

static uint32_t
lines_of(const char *text)
{
	uint32_t n = 1;

	/* NOLINTNEXTLINE: every cell of a table has a text */
	for (; *text != '\0'; text++)
		if (*text == '\n')
			n++;
	return n;
}

static void
box_row(const struct box *b, const char *const *cells, bool heading)
{
	uint32_t c, line, most = 1, n;
	const char *text;
	size_t len;

	for (c = 0; c < b->t->ncols; c++)
		if ((n = lines_of(cells[c])) > most)
			most = n;
	for (line = 0; line < most; line++) {
		for (c = 0; c < b->t->ncols; c++) {
			text = nth_line(cells[c], line, &len);
			cell_line(b, c, text, len,
			    heading ? STYLE_NONE :
				      style_of(b->t->cols[c].name, cells[c]));
		}
		fputs("|\n", b->f);
	}
}

static void
print_box(struct box *b)
{
	const char **headings = calloc(b->t->ncols + 1, sizeof(*headings));
	uint32_t r, c;

	b->width = calloc(b->t->ncols + 1, sizeof(*b->width));
	if (headings == NULL || b->width == NULL)
		ctl_error("out of memory");
	measure(b);
	for (c = 0; c < b->t->ncols; c++)
		headings[c] = b->t->cols[c].heading;
	rule(b, b->t->title);
	box_row(b, headings, true);
	rule(b, "");
	for (r = 0; r < b->nrows; r++) {
		box_row(
		    b, (const char *const *)&b->cells[r * b->t->ncols], false);
		if (b->multiline && r + 1 < b->nrows)
			rule(b, "");
	}
	rule(b, "");
	free(headings);
	free(b->width);
}

static void
print_tsv(const struct box *b)
{
	const char *tab = b->t->delimiter != NULL ? b->t->delimiter : "\t";
	uint32_t r, c;

	for (c = 0; !b->t->unnamed && c < b->t->ncols; c++)
		fprintf(b->f, "%s%s", c > 0 ? tab : "", b->t->cols[c].name);
	if (!b->t->unnamed)
		fputc('\n', b->f);
	for (r = 0; r < b->nrows; r++) {
		for (c = 0; c < b->t->ncols; c++)
			fprintf(b->f, "%s%s", c > 0 ? tab : "",
			    b->cells[r * b->t->ncols + c]);
		fputc('\n', b->f);
	}
}

static void
print_cells(const struct table *t, enum table_format fmt, FILE *f)
{
	struct box b;
	uint32_t r, c;
	size_t i, n;

	memset(&b, 0, sizeof(b));
	b.t = t;
	b.f = f;
	b.nrows = tree_count(t->rows);
	n = (size_t)b.nrows * t->ncols;
	if ((b.cells = calloc(n + 1, sizeof(*b.cells))) == NULL)
		ctl_error("out of memory");
	for (r = 0; r < b.nrows; r++)
		for (c = 0; c < t->ncols; c++)
			b.cells[r * t->ncols + c] = cell_text(
			    tree_child(tree_child(t->rows, r), c), fmt);
	if (fmt == FMT_TSV)
		print_tsv(&b);
	else
		print_box(&b);
	for (i = 0; i < n; i++)
		free(b.cells[i]);
	free(b.cells);
}

/* ---- json and yaml ---- */

static bool
is_empty(const struct tree *v)
{
	if (v->type == TREE_TEXT)
		return v->u.s[0] == '\0';
	if (v->type == TREE_MAP || v->type == TREE_LIST)
		return tree_count(v) == 0;
	return false;
}

static struct tree *
as_maps(const struct table *t)
{
	struct tree *list = tree_list(), *map;
	uint32_t r, c;

	if (list == NULL)
		ctl_error("out of memory");
	for (r = 0; r < tree_count(t->rows); r++) {
		if ((map = tree_map()) == NULL)
			ctl_error("out of memory");
		for (c = 0; !t->unnamed && c < t->ncols; c++) {
			const struct tree *v =
			    tree_child(tree_child(t->rows, r), c);

			if (!t->omit_empty || !is_empty(v))
				(void)tree_set(
				    map, t->cols[c].name, tree_copy(v));
		}
		(void)tree_append(list, map);
	}
	return list;
}

static void
print_data(const struct table *t, enum table_format fmt, FILE *f)
{
	struct tree *list = as_maps(t);
	char *json;

	if (fmt == FMT_JSON) {
		if ((json = tree_to_json(list, JSON_FORM_SPACED, NULL)) == NULL)
			ctl_error("the data cannot be written as JSON");
		fprintf(f, "%s\n", json);
		free(json);
	} else {
		conf_yaml_write(list, 0, true, f);
		fputc('\n', f);
	}
	tree_free(list);
}

void
table_print(const struct table *t, enum table_format fmt, FILE *f)
{
	if (fmt == FMT_JSON || fmt == FMT_YAML)
		print_data(t, fmt, f);
	else
		print_cells(t, fmt, f);
}
