/*
 * yaml_write.c: a tree as block-style YAML, for -p and the generator.
 */
#include <stdlib.h>
#include <string.h>

#include "conf.h"

static void write_node(const struct tree *, int, bool, bool, FILE *);

static void
pad(int indent, FILE *f)
{
	fprintf(f, "%*s", indent, "");
}

/* Would a reader take the bare text for this very text? */
static bool
is_plain(const char *s)
{
	struct tree *t;
	bool text;
	size_t len = strlen(s);

	if (len == 0 || s[0] == ' ' || s[len - 1] == ' ' || s[len - 1] == ':' ||
	    strcmp(s, "=") == 0 || strcmp(s, "<<") == 0 ||
	    strncmp(s, "---", 3) == 0 || strncmp(s, "...", 3) == 0)
		return false;
	if (strchr(",[]{}#&*!|>'\"%@`", s[0]) != NULL)
		return false;
	if (strchr("-?:", s[0]) != NULL && (s[1] == ' ' || s[1] == '\0'))
		return false;
	if (strstr(s, ": ") != NULL || strstr(s, " #") != NULL)
		return false;
	if ((t = conf_yaml_scalar(s)) == NULL)
		return false;
	text = t->type == TREE_TEXT;
	tree_free(t);
	return text;
}

static bool
has_control(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return true;
	return false;
}

static void
write_double_quoted(const char *s, FILE *f)
{
	fputc('"', f);
	for (; *s != '\0'; s++) {
		if (*s == '\n')
			fputs("\\n", f);
		else if (*s == '\t')
			fputs("\\t", f);
		else if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < ' ' || *s == 0x7f)
			fprintf(f, "\\x%02x", (unsigned char)*s);
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

static void
write_text(const char *s, FILE *f)
{
	if (has_control(s)) {
		write_double_quoted(s, f);
		return;
	}
	if (is_plain(s)) {
		fputs(s, f);
		return;
	}
	fputc('\'', f);
	for (; *s != '\0'; s++) {
		if (*s == '\'')
			fputc('\'', f);
		fputc(*s, f);
	}
	fputc('\'', f);
}

static void
write_real(const struct tree *t, FILE *f)
{
	char buf[64];
	const char *e;

	if (t->u.r != t->u.r) {
		fputs(".nan", f);
		return;
	}
	if (__builtin_isinf(t->u.r)) {
		fputs(t->u.r < 0 ? "-.inf" : ".inf", f);
		return;
	}
	tree_scalar_text(t, buf, sizeof(buf));
	/* without a dot 1e-06 would be read as text */
	e = strchr(buf, 'e');
	if (e != NULL && strchr(buf, '.') == NULL)
		fprintf(f, "%.*s.0%s", (int)(e - buf), buf, e);
	else
		fputs(buf, f);
}

void
conf_yaml_write_scalar(const struct tree *t, FILE *f)
{
	char buf[64];

	switch (t->type) {
	case TREE_NULL:
		fputs("null", f);
		return;
	case TREE_BOOL:
		fputs(t->u.b ? "true" : "false", f);
		return;
	case TREE_INT:
		tree_scalar_text(t, buf, sizeof(buf));
		fputs(buf, f);
		return;
	case TREE_REAL:
		write_real(t, f);
		return;
	case TREE_TEXT:
		write_text(t->u.s, f);
		return;
	case TREE_LIST:
		fputs("[]", f);
		return;
	case TREE_MAP:
		fputs("{}", f);
		return;
	}
}

static int
by_key(const void *a, const void *b)
{
	const struct tree *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

/* `first`: the cursor already stands where the first key goes. */
static void
write_map(const struct tree *t, int indent, bool sorted, bool first, FILE *f)
{
	uint32_t n = tree_count(t);
	struct tree **v = calloc(n, sizeof(*v));

	for (uint32_t i = 0; v != NULL && i < n; i++)
		v[i] = tree_child(t, i);
	if (sorted && v != NULL)
		qsort(v, n, sizeof(*v), by_key);
	for (uint32_t i = 0; i < n; i++) {
		/* short of memory: unsorted rather than not at all */
		const struct tree *c = v != NULL ? v[i] : tree_child(t, i);

		if (!first)
			pad(indent, f);
		first = false;
		write_text(c->key, f);
		fputc(':', f);
		if (tree_count(c) == 0) {
			fputc(' ', f);
			conf_yaml_write_scalar(c, f);
			fputc('\n', f);
			continue;
		}
		fputc('\n', f);
		write_node(c, c->type == TREE_MAP ? indent + 2 : indent, sorted,
		    false, f);
	}
	free(v);
}

static void
write_list(const struct tree *t, int indent, bool sorted, bool first, FILE *f)
{
	for (uint32_t i = 0; i < tree_count(t); i++) {
		const struct tree *c = tree_child(t, i);

		if (!first)
			pad(indent, f);
		first = false;
		fputs("- ", f);
		if (tree_count(c) > 0) {
			write_node(c, indent + 2, sorted, true, f);
			continue;
		}
		conf_yaml_write_scalar(c, f);
		fputc('\n', f);
	}
}

static void
write_node(const struct tree *t, int indent, bool sorted, bool first, FILE *f)
{
	if (t->type == TREE_MAP)
		write_map(t, indent, sorted, first, f);
	else
		write_list(t, indent, sorted, first, f);
}

void
conf_yaml_write(const struct tree *t, int indent, bool sorted, FILE *f)
{
	if (tree_count(t) > 0) {
		write_node(t, indent, sorted, false, f);
		return;
	}
	pad(indent, f);
	conf_yaml_write_scalar(t, f);
	fputc('\n', f);
}
