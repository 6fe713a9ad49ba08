/*
 * ha_names.c: sets of member names; reading and writing the value of
 * synchronous_standby_names (spec/ha.md 13.2).
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../ipc/types.h"
#include "ha_names.h"

void
names_copy(struct names *to, const struct names *from)
{
	to->n = from->n;
	memmove(to->v, from->v, from->n * sizeof(from->v[0]));
}

bool
names_has(const struct names *a, const char *name)
{
	uint32_t i;

	for (i = 0; i < a->n; i++)
		if (strcasecmp(a->v[i], name) == 0)
			return true;
	return false;
}

void
names_add(struct names *a, const char *name)
{
	uint32_t i;

	if (names_has(a, name) || a->n == MAX_MEMBERS ||
	    strlen(name) >= NAME_SIZE)
		return;
	for (i = a->n; i > 0 && strcmp(a->v[i - 1], name) > 0; i--)
		memcpy(a->v[i], a->v[i - 1], NAME_SIZE);
	(void)text_set(a->v[i], NAME_SIZE, name);
	a->n++;
}

void
names_remove(struct names *a, const char *name)
{
	uint32_t i, k = 0;

	for (i = 0; i < a->n; i++)
		if (strcasecmp(a->v[i], name) != 0) {
			if (k != i)
				memcpy(a->v[k], a->v[i], NAME_SIZE);
			k++;
		}
	a->n = k;
}

void
names_union(struct names *a, const struct names *b)
{
	uint32_t i;

	for (i = 0; i < b->n; i++)
		names_add(a, b->v[i]);
}

void
names_minus(struct names *a, const struct names *b)
{
	uint32_t i;

	for (i = 0; i < b->n; i++)
		names_remove(a, b->v[i]);
}

void
names_intersect(struct names *a, const struct names *b)
{
	uint32_t i, k = 0;

	for (i = 0; i < a->n; i++)
		if (names_has(b, a->v[i])) {
			if (k != i)
				memcpy(a->v[k], a->v[i], NAME_SIZE);
			k++;
		}
	a->n = k;
}

bool
names_subset(const struct names *a, const struct names *b)
{
	uint32_t i;

	for (i = 0; i < a->n; i++)
		if (!names_has(b, a->v[i]))
			return false;
	return true;
}

bool
names_equal(const struct names *a, const struct names *b)
{
	return a->n == b->n && names_subset(a, b);
}

bool
names_disjoint(const struct names *a, const struct names *b)
{
	uint32_t i;

	for (i = 0; i < a->n; i++)
		if (names_has(b, a->v[i]))
			return false;
	return true;
}

void
names_text(const struct names *a, const char *separator, char *buf, size_t size)
{
	size_t used = 0;
	uint32_t i;

	buf[0] = '\0';
	for (i = 0; i < a->n && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s",
		    i == 0 ? "" : separator, a->v[i]);
}

/* ---- reading ---- */

enum token {
	T_END,
	T_NAME,
	T_QUOTED,
	T_STAR,
	T_NUMBER,
	T_OPEN,
	T_CLOSE,
	T_COMMA,
	T_BAD
};

static enum token
quoted(const char **p, char text[NAME_SIZE])
{
	size_t n = 0;

	for (;;) {
		if (**p == '\0' || n == NAME_SIZE - 1)
			return T_BAD;
		if (**p == '"') {
			if ((*p)[1] != '"')
				break;
			(*p)++;
		}
		text[n++] = *(*p)++;
	}
	(*p)++;
	text[n] = '\0';
	return T_QUOTED;
}

static enum token
next_token(const char **p, char text[NAME_SIZE])
{
	size_t n = 0;
	enum token t;

	while (isspace((unsigned char)**p))
		(*p)++;
	switch (**p) {
	case '\0':
		return T_END;
	case '*':
		(*p)++;
		return T_STAR;
	case '(':
		(*p)++;
		return T_OPEN;
	case ')':
		(*p)++;
		return T_CLOSE;
	case ',':
		(*p)++;
		return T_COMMA;
	case '"':
		(*p)++;
		return quoted(p, text);
	default:
		break;
	}
	if (isdigit((unsigned char)**p))
		t = T_NUMBER;
	else if (isalpha((unsigned char)**p) || **p == '_' ||
	    (unsigned char)**p >= 0x80)
		t = T_NAME;
	else
		return T_BAD;
	while (**p != '\0' &&
	    (isalnum((unsigned char)**p) || **p == '_' || **p == '$' ||
		(unsigned char)**p >= 0x80)) {
		if (n == NAME_SIZE - 1 ||
		    (t == T_NUMBER && !isdigit((unsigned char)**p)))
			return T_BAD;
		text[n++] = *(*p)++;
	}
	text[n] = '\0';
	return t;
}

/* name {, name}, up to `last`; a trailing or missing comma is an error. */
static bool
parse_list(const char **p, enum token last, struct ssn *s)
{
	char text[NAME_SIZE];
	enum token t;

	for (;;) {
		t = next_token(p, text);
		if (t == T_STAR) {
			s->star = true;
			names_add(&s->names, SSN_PLACEHOLDER);
		} else if (t == T_NAME || t == T_QUOTED || t == T_NUMBER)
			names_add(&s->names, text);
		else
			return false;
		t = next_token(p, text);
		if (t == last)
			break;
		if (t != T_COMMA)
			return false;
	}
	return last == T_END || next_token(p, text) == T_END;
}

/* [ANY|FIRST] n ( */
static bool
parse_head(const char **p, struct ssn *s)
{
	char text[NAME_SIZE];
	const char *at = *p;
	enum token t = next_token(&at, text);
	int64_t n;

	s->type = SSN_PRIORITY;
	if (t == T_NAME &&
	    (strcasecmp(text, "any") == 0 || strcasecmp(text, "first") == 0)) {
		if (strcasecmp(text, "any") == 0)
			s->type = SSN_QUORUM;
		t = next_token(&at, text);
	}
	if (t == T_NUMBER && text_to_int64(text, 0, INT32_MAX, &n) &&
	    next_token(&at, text) == T_OPEN) {
		s->n = (uint32_t)n;
		*p = at;
		return true;
	}
	s->type = SSN_PRIORITY;
	s->n = 1;
	return false;
}

static void
ssn_clear(struct ssn *s)
{
	s->type = SSN_OFF;
	s->n = s->names.n = 0;
	s->star = s->bad = false;
}

void
ssn_parse(const char *value, struct ssn *s)
{
	char text[NAME_SIZE];
	const char *p = value;
	bool group;

	ssn_clear(s);
	if (next_token(&p, text) == T_END)
		return;
	p = value;
	group = parse_head(&p, s);
	if (!parse_list(&p, group ? T_CLOSE : T_END, s)) {
		ssn_clear(s);
		s->bad = true;
		return;
	}
	if (!s->star && s->names.n == 1 &&
	    names_has(&s->names, SSN_PLACEHOLDER))
		s->names.n = 0;
}

/* ---- writing ---- */

static bool
plain_name(const char *name)
{
	const char *p;

	if (strcasecmp(name, "first") == 0 || strcasecmp(name, "any") == 0 ||
	    (name[0] >= '0' && name[0] <= '9') || name[0] == '$')
		return false;
	for (p = name; *p != '\0'; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			(*p >= '0' && *p <= '9') || *p == '_' || *p == '$'))
			return false;
	return name[0] != '\0';
}

static size_t
put_name(char *buf, size_t size, const char *name)
{
	size_t n = 0;
	const char *p;

	if (plain_name(name))
		return (size_t)snprintf(buf, size, "%s", name);
	if (size < 2 * NAME_SIZE + 3)
		return size;
	buf[n++] = '"';
	for (p = name; *p != '\0'; p++) {
		if (*p == '"')
			buf[n++] = '"';
		buf[n++] = *p;
	}
	buf[n++] = '"';
	buf[n] = '\0';
	return n;
}

static void
put_list(const struct names *names, char *buf, size_t size)
{
	size_t used = 0;
	uint32_t i;

	buf[0] = '\0';
	for (i = 0; i < names->n; i++) {
		if (i > 0 && used + 1 < size)
			buf[used++] = ',';
		used += put_name(buf + used, size - used, names->v[i]);
		if (used >= size) {
			buf[0] = '\0'; /* never a cut list */
			return;
		}
	}
}

void
ssn_build(const struct names *names, int64_t n, bool quorum,
    uint32_t server_version, char *buf, size_t size)
{
	struct names placeholder;
	char list[4096];

	if (n < 0)
		n = names->n;
	if (names_has(names, SSN_PLACEHOLDER) || (names->n == 0 && n >= 1)) {
		placeholder.n = 0;
		names_add(&placeholder, SSN_PLACEHOLDER);
		names = &placeholder;
		n = 1;
		if (!quorum) {
			(void)snprintf(buf, size, "%s", SSN_PLACEHOLDER);
			return;
		}
	}
	buf[0] = '\0';
	if (names->n == 0)
		return;
	put_list(names, list, sizeof(list));
	if (list[0] == '\0')
		return;
	if (quorum && server_version >= 90600)
		(void)snprintf(buf, size, "%s%lld (%s)",
		    server_version >= 100000 ? "ANY " : "", (long long)n, list);
	else if (names->n == 1 || server_version < 90600)
		(void)snprintf(
		    buf, size, "%s", names->n == 1 ? list : names->v[0]);
	else
		(void)snprintf(buf, size, "%lld (%s)", (long long)n, list);
}
