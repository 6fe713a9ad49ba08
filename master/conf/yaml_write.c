/*
 * yaml_write.c: a tree as block-style YAML, for -p and the generator.
 */
#include <stdlib.h>
#include <string.h>

#include "conf.h"

#define WIDTH 200 /* preferred */

static void write_node(const struct tree *, int, bool, bool, FILE *);

static void
pad(int indent, FILE *f)
{
	fprintf(f, "%*s", indent, "");
}

/* Digits of [min,max] of them at *pp. */
static bool
some_digits(const char **pp, size_t min, size_t max)
{
	size_t n = strspn(*pp, "0123456789");

	*pp += n;
	return n >= min && n <= max;
}

/* A date or a date with a time: YAML has a type for them. */
static bool
looks_like_time(const char *s)
{
	const char *p = s;

	if (!some_digits(&p, 4, 4) || *p++ != '-' || !some_digits(&p, 1, 2) ||
	    *p++ != '-' || !some_digits(&p, 1, 2))
		return false;
	if (*p == '\0')
		return p - s == 10;
	if (*p != 'T' && *p != 't' && *p != ' ' && *p != '\t')
		return false;
	p += *p == 'T' || *p == 't' ? 1 : strspn(p, " \t");
	if (!some_digits(&p, 1, 2) || *p++ != ':' || !some_digits(&p, 2, 2) ||
	    *p++ != ':' || !some_digits(&p, 2, 2))
		return false;
	if (*p == '.') {
		p++;
		p += strspn(p, "0123456789");
	}
	p += strspn(p, " \t");
	if (*p == 'Z')
		p++;
	else if (*p == '+' || *p == '-') {
		p++;
		if (!some_digits(&p, 1, 2))
			return false;
		if (*p == ':' && (p++, !some_digits(&p, 2, 2)))
			return false;
	}
	return *p == '\0';
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
	if (looks_like_time(s) || (t = conf_yaml_scalar(s)) == NULL)
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

/* Columns that the bytes take: one per character. */
static int
columns(const char *s, size_t len)
{
	int n = 0;

	for (; len > 0; len--, s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* Bytes of the character at s. */
static size_t
char_len(const char *s)
{
	size_t n = 1;

	while (((unsigned char)s[n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* Escape of a character in "…"; "" when it needs none. */
static const char *
escape_of(char c, char *buf, size_t size)
{
	static const char plain[] = "\a\b\t\n\v\f\r\033\"\\",
			  letter[] = "abtnvfre\"\\";
	const char *p = c != '\0' ? strchr(plain, c) : NULL;

	buf[0] = '\0';
	if (c == '\0')
		return buf;
	if (p != NULL)
		snprintf(buf, size, "\\%c", letter[p - plain]);
	else if ((unsigned char)c < ' ' || c == 0x7f)
		snprintf(buf, size, "\\x%02X", (unsigned char)c);
	return buf;
}

/*
 * "…" with escapes from column `col` on.  Beyond the preferred width the line
 * ends in a backslash before a blank or behind an escape (indent < 0: never).
 */
static void
write_double_quoted(const char *s, int indent, int col, FILE *f)
{
	size_t start = 0, end = 0, step;
	char esc[8];
	int ahead;

	fputc('"', f);
	for (col++;; end += step) {
		step = s[end] != '\0' ? char_len(s + end) : 0;
		escape_of(s[end], esc, sizeof(esc));
		if (step == 0 || esc[0] != '\0') {
			fwrite(s + start, 1, end - start, f);
			fputs(esc, f);
			col +=
			    columns(s + start, end - start) + (int)strlen(esc);
			start = end + step;
		}
		if (step == 0)
			break;
		if (indent < 0 || end == 0 || s[end + step] == '\0' ||
		    (s[end] != ' ' && start < end))
			continue;
		ahead = start < end ? columns(s + start, end - start) :
				      -(start > end);
		if (col + ahead <= WIDTH)
			continue;
		if (start < end) {
			fwrite(s + start, 1, end - start, f);
			start = end;
		}
		fputs("\\\n", f);
		pad(indent, f);
		col = indent;
		if (s[start] == ' ') {
			fputc('\\', f);
			col++;
		}
	}
	fputc('"', f);
}

/* May every line break be one inside '…'?  Not beside a blank, nor with other
 * control characters. */
static bool
breaks_are_simple(const char *s)
{
	size_t i;

	for (i = 0; s[i] != '\0'; i++) {
		if (s[i] == '\n') {
			if ((i > 0 && s[i - 1] == ' ') || s[i + 1] == ' ')
				return false;
		} else if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			return false;
	}
	return true;
}

/*
 * The words of a text from column `col` on; where a word ends beyond the
 * preferred width, the next single blank becomes a line break.  A line break
 * of the text is one and an empty line.
 */
static void
write_words(const char *s, bool quoted, int indent, int col, FILE *f)
{
	size_t i = 0, n;

	while (s[i] != '\0') {
		if (s[i] == '\n') {
			if (i == 0 || s[i - 1] != '\n')
				fputc('\n', f);
			fputc('\n', f);
			i++;
			if (s[i] != '\n') {
				pad(indent, f);
				col = indent;
			}
			continue;
		}
		if (s[i] == ' ') {
			n = strspn(s + i, " ");
			if (n == 1 && col > WIDTH && i > 0 &&
			    s[i + 1] != '\0') {
				fputc('\n', f);
				pad(indent, f);
				col = indent;
			} else {
				fprintf(f, "%*s", (int)n, "");
				col += (int)n;
			}
			i += n;
			continue;
		}
		n = strcspn(s + i, " \n");
		col += columns(s + i, n);
		for (; n > 0; n--, i++) {
			if (quoted && s[i] == '\'') {
				fputc('\'', f);
				col++;
			}
			fputc(s[i], f);
		}
	}
}

/* indent: of further lines, -1 = there must be none; col: where it begins. */
static void
write_text(const char *s, int indent, int col, FILE *f)
{
	bool plain = !has_control(s) && is_plain(s);

	if (has_control(s) && (indent < 0 || !breaks_are_simple(s))) {
		write_double_quoted(s, indent, col, f);
		return;
	}
	if (indent < 0)
		col = INT32_MIN / 2; /* never beyond the width */
	if (!plain)
		fputc('\'', f);
	write_words(s, !plain, indent, plain ? col : col + 1, f);
	if (!plain)
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

static void
write_scalar(const struct tree *t, int indent, int col, FILE *f)
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
		write_text(t->u.s, indent, col, f);
		return;
	case TREE_LIST:
		fputs("[]", f);
		return;
	case TREE_MAP:
		fputs("{}", f);
		return;
	}
}

void
conf_yaml_write_scalar(const struct tree *t, FILE *f)
{
	write_scalar(t, -1, 0, f);
}

static int
by_key(const void *a, const void *b)
{
	const struct tree *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

/* The key and its colon; returns how many columns they take. */
static int
write_key(const char *key, FILE *f)
{
	int quotes = 0;

	write_text(key, -1, 0, f);
	fputc(':', f);
	if (has_control(key) || !is_plain(key)) {
		quotes = 2;
		for (const char *q = key; *q != '\0'; q++)
			quotes += *q == '\'';
	}
	return columns(key, strlen(key)) + quotes + 1;
}

/* `first`: the cursor already stands where the first key goes. */
static void
write_map(const struct tree *t, int indent, bool sorted, bool first, FILE *f)
{
	uint32_t n = tree_count(t);
	struct tree **v = calloc(n, sizeof(*v));
	int width;

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
		width = write_key(c->key, f);
		if (tree_count(c) == 0) {
			fputc(' ', f);
			write_scalar(c, indent + 2, indent + width + 1, f);
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
		write_scalar(c, indent + 2, indent + 2, f);
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
