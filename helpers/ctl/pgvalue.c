/*
 * pgvalue.c: PostgreSQL's text of a value to what patronictl prints: Python's
 * words for truth, nothing, lists and times (patronictl.md 13.4).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/types.h"
#include "../json.h"
#include "pgvalue.h"

/* pg_type.dat */
enum {
	BOOL = 16,
	INT8 = 20,
	INT2 = 21,
	INT4 = 23,
	OID = 26,
	JSON = 114,
	FLOAT4 = 700,
	FLOAT8 = 701,
	TIMESTAMP = 1114,
	TIMESTAMPTZ = 1184,
	INTERVAL = 1186,
	NUMERIC = 1700,
	JSONB = 3802,
	TEXT = 25
};

#define DAY_US (86400LL * 1000000)

/* ---- plain values ---- */

static struct tree *
real_of(const char *text)
{
	char *end;
	double d = strtod(text, &end);

	/* what JSON has no word for stays text */
	if (*end != '\0' || end == text || !(d - d < 1))
		return tree_text(text);
	return tree_real(d);
}

static struct tree *
int_of(const char *text)
{
	int64_t v;

	return text_to_int64(text, INT64_MIN, INT64_MAX, &v) ? tree_int(v) :
							       tree_text(text);
}

/* 2026-01-02 03:04:05.5+00 -> 2026-01-02 03:04:05.500000+00:00 */
static struct tree *
time_of(const char *text)
{
	const char *dot = strchr(text, '.'), *zone;
	char out[80];
	int frac = dot != NULL ? (int)strspn(dot + 1, "0123456789") : 0;
	size_t head;

	if (strlen(text) < 19 || strlen(text) > 40 || text[4] != '-' ||
	    text[13] != ':')
		return tree_text(text);
	zone = dot != NULL ? dot + 1 + frac : text + 19;
	head = dot != NULL ? (size_t)(dot - text) : 19;
	if (dot != NULL && frac <= 6)
		(void)snprintf(out, sizeof(out), "%.*s.%.*s%.*s%s%s", (int)head,
		    text, frac, dot + 1, 6 - frac, "000000", zone,
		    strlen(zone) == 3 ? ":00" : "");
	else
		(void)snprintf(out, sizeof(out), "%s%s", text,
		    strlen(zone) == 3 ? ":00" : "");
	return tree_text(out);
}

/* [-]HH:MM:SS[.f] in microseconds */
static bool
clock_part(const char *p, long long *us)
{
	bool negative = *p == '-';
	int h, m;
	double s;

	if (*p == '-' || *p == '+')
		p++;
	if (sscanf(p, "%d:%d:%lf", &h, &m, &s) != 3)
		return false;
	*us =
	    (h * 3600LL + m * 60LL) * 1000000 + (long long)(s * 1000000 + 0.5);
	if (negative)
		*us = -*us;
	return true;
}

/* 1 year 2 mons 3 days -04:05:06.7 in microseconds, with years of 365 and
 * months of 30 days */
static bool
interval_us(const char *p, long long *us)
{
	static const struct {
		const char *word;
		int days;
	} units[] = { { "year", 365 }, { "mon", 30 }, { "day", 1 } };
	long long n, part;
	char *end;
	size_t i;

	for (*us = 0;; p = end + 1 + strcspn(end + 1, " ")) {
		p += strspn(p, " ");
		if (*p == '\0')
			return true;
		n = strtoll(p, &end, 10);
		if (end == p || n < -INT32_MAX || n > INT32_MAX)
			return false;
		if (*end == ':') {
			if (!clock_part(p, &part))
				return false;
			*us += part;
			return true;
		}
		for (i = 0; i < 3; i++)
			if (*end == ' ' &&
			    strncmp(end + 1, units[i].word,
				strlen(units[i].word)) == 0)
				break;
		if (i == 3)
			return false;
		*us += n * units[i].days * DAY_US;
	}
}

/* As Python prints a timedelta. */
static struct tree *
interval_of(const char *text)
{
	char out[80], fraction[16] = "";
	long long us, days, s;
	int used = 0;

	if (!interval_us(text, &us))
		return tree_text(text);
	days = us / DAY_US - (us % DAY_US < 0);
	us -= days * DAY_US;
	s = us / 1000000;
	if (us % 1000000 != 0)
		(void)snprintf(
		    fraction, sizeof(fraction), ".%06lld", us % 1000000);
	if (days != 0)
		used = snprintf(out, sizeof(out), "%lld day%s, ", days,
		    days == 1 || days == -1 ? "" : "s");
	(void)snprintf(out + used, sizeof(out) - (size_t)used,
	    "%lld:%02lld:%02lld%s", s / 3600, s / 60 % 60, s % 60, fraction);
	return tree_text(out);
}

/* ---- arrays ---- */

static unsigned
element_of(unsigned array)
{
	static const struct {
		unsigned array, element;
	} types[] = { { 1000, BOOL }, { 1016, INT8 }, { 1005, INT2 },
		{ 1007, INT4 }, { 1028, OID }, { 1021, FLOAT4 },
		{ 1022, FLOAT8 }, { 1231, NUMERIC }, { 1009, TEXT },
		{ 1015, TEXT }, { 1014, TEXT }, { 1002, TEXT }, { 1003, TEXT },
		{ 199, JSON }, { 3807, JSONB } };
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].array == array)
			return types[i].element;
	return 0;
}

static struct tree *typed(unsigned oid, const char *text);

/* One element at *pp, unquoted; NULL: wrong or no memory. */
static struct tree *
element(unsigned oid, const char **pp)
{
	const char *p = *pp;
	bool quoted = *p == '"';
	char *buf = malloc(strlen(p) + 1);
	struct tree *t;
	size_t n = 0;

	if (buf == NULL)
		return NULL;
	if (quoted)
		p++;
	while (*p != '\0' && (quoted ? *p != '"' : *p != ',' && *p != '}')) {
		if (*p == '\\' && p[1] != '\0')
			p++;
		buf[n++] = *p++;
	}
	buf[n] = '\0';
	if (quoted && *p == '"')
		p++;
	*pp = p;
	t = !quoted && strcmp(buf, "NULL") == 0 ? tree_null() : typed(oid, buf);
	free(buf);
	return t;
}

static struct tree *
array_of(unsigned oid, const char **pp, int depth)
{
	struct tree *list = tree_list(), *t;
	const char *p = *pp + 1; /* behind the { */

	while (
	    list != NULL && depth < TREE_MAX_DEPTH && *p != '}' && *p != '\0') {
		t = *p == '{' ? array_of(oid, &p, depth + 1) : element(oid, &p);
		if (!tree_append(list, t)) {
			tree_free(list);
			return NULL;
		}
		if (*p == ',')
			p++;
	}
	if (*p == '}')
		p++;
	*pp = p;
	return list;
}

/* ---- types ---- */

static struct tree *
json_of(const char *text)
{
	struct tree *t = tree_from_json(text, strlen(text), NULL, 0);

	return t != NULL ? t : tree_text(text);
}

static struct tree *
typed(unsigned oid, const char *text)
{
	const char *p;

	switch (oid) {
	case BOOL:
		return tree_bool(text[0] == 't');
	case INT2:
	case INT4:
	case INT8:
	case OID:
		return int_of(text);
	case FLOAT4:
	case FLOAT8:
		return real_of(text);
	case JSON:
	case JSONB:
		return json_of(text);
	case TIMESTAMP:
	case TIMESTAMPTZ:
		return time_of(text);
	case INTERVAL:
		return interval_of(text);
	default:
		break;
	}
	if (element_of(oid) == 0 || text[0] == '\0')
		return tree_text(text);
	p = strchr(text, '{'); /* bounds may stand before it */
	return p != NULL ? array_of(element_of(oid), &p, 0) : tree_text(text);
}

/* ---- Python's text of lists and maps ---- */

static void
write_quoted(const char *s, FILE *f)
{
	char q = strchr(s, '\'') != NULL && strchr(s, '"') == NULL ? '"' : '\'';

	fputc(q, f);
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == (unsigned char)q || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c == '\n')
			fputs("\\n", f);
		else if (c == '\r')
			fputs("\\r", f);
		else if (c == '\t')
			fputs("\\t", f);
		else if (c < ' ' || c == 0x7f)
			fprintf(f, "\\x%02x", c);
		else
			fputc(c, f);
	}
	fputc(q, f);
}

static void
write_python(const struct tree *t, FILE *f)
{
	char buf[64];
	uint32_t i;

	if (t->type == TREE_TEXT) {
		write_quoted(t->u.s, f);
		return;
	}
	if (t->type != TREE_LIST && t->type != TREE_MAP) {
		(void)tree_scalar_text(t, buf, sizeof(buf));
		fputs(buf, f);
		return;
	}
	fputc(t->type == TREE_MAP ? '{' : '[', f);
	for (i = 0; i < tree_count(t); i++) {
		if (i > 0)
			fputs(", ", f);
		if (t->type == TREE_MAP) {
			write_quoted(tree_child(t, i)->key, f);
			fputs(": ", f);
		}
		write_python(tree_child(t, i), f);
	}
	fputc(t->type == TREE_MAP ? '}' : ']', f);
}

static struct tree *
as_text(const struct tree *t)
{
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);
	struct tree *text;

	if (f == NULL)
		return NULL;
	write_python(t, f);
	text = fclose(f) != EOF ? tree_text(buf) : NULL;
	free(buf);
	return text;
}

struct tree *
pgvalue(unsigned oid, const char *text, bool native)
{
	struct tree *t, *shown;

	if (text == NULL)
		return tree_null();
	/* numbers are shown as PostgreSQL prints them */
	if (!native && (oid == FLOAT4 || oid == FLOAT8))
		return tree_text(text);
	t = typed(oid, text);
	if (native || t == NULL ||
	    (t->type != TREE_LIST && t->type != TREE_MAP))
		return t;
	shown = as_text(t);
	tree_free(t);
	return shown;
}
