/*
 * scalar.c: what a plain YAML 1.1 scalar is (spec/config.md 3.1).
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"

#define DIGITS "0123456789"

/* The word in lower, Title or UPPER case. */
static bool
is_word(const char *s, const char *lower)
{
	size_t n = strlen(lower);
	bool low = true, title = true, upper = true;

	if (strlen(s) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		char big = (char)(lower[i] - 'a' + 'A');

		low = low && s[i] == lower[i];
		upper = upper && s[i] == big;
		title = title && s[i] == (i == 0 ? big : lower[i]);
	}
	return low || title || upper;
}

static int
is_bool(const char *s)
{
	static const char *const yes[] = { "yes", "on", "true" };
	static const char *const no[] = { "no", "off", "false" };

	for (size_t i = 0; i < 3; i++) {
		if (is_word(s, yes[i]))
			return 1;
		if (is_word(s, no[i]))
			return 0;
	}
	return -1;
}

/* Digits of a base with `_` between them; false: others or out of range. */
static bool
digits(const char *s, unsigned base, uint64_t *out)
{
	uint64_t n = 0, v;
	bool any = false;

	for (; *s != '\0'; s++) {
		if (*s == '_')
			continue;
		if (*s >= '0' && *s <= '9')
			v = (uint64_t)(*s - '0');
		else if (*s >= 'a' && *s <= 'f')
			v = (uint64_t)(*s - 'a') + 10;
		else if (*s >= 'A' && *s <= 'F')
			v = (uint64_t)(*s - 'A') + 10;
		else
			return false;
		if (v >= base || __builtin_mul_overflow(n, base, &n) ||
		    __builtin_add_overflow(n, v, &n))
			return false;
		any = true;
	}
	*out = n;
	return any;
}

/* One part of a base-60 number behind a colon: [0-5]?[0-9]. */
static size_t
sixty(const char *s, uint64_t *v)
{
	size_t n = strspn(s, DIGITS);

	if (n == 0 || n > 2 || (n == 2 && s[0] > '5'))
		return 0;
	*v = 0;
	for (size_t i = 0; i < n; i++)
		*v = *v * 10 + (uint64_t)(s[i] - '0');
	return n;
}

/* [0-9][0-9_]*(:[0-5]?[0-9])+ ; *rest is what follows. */
static bool
base_sixty(const char *s, uint64_t *out, const char **rest)
{
	size_t n = strspn(s, DIGITS "_"), len;
	uint64_t total, v;
	char head[32];

	if (n == 0 || n >= sizeof(head) || s[n] != ':')
		return false;
	memcpy(head, s, n);
	head[n] = '\0';
	if (!digits(head, 10, &total))
		return false;
	for (s += n; *s == ':'; s += len) {
		s++;
		if ((len = sixty(s, &v)) == 0 ||
		    __builtin_mul_overflow(total, 60, &total) ||
		    __builtin_add_overflow(total, v, &total))
			return false;
	}
	*out = total;
	*rest = s;
	return true;
}

static bool
is_int(const char *s, int64_t *out)
{
	bool negative = *s == '-', ok;
	uint64_t n = 0;
	const char *rest;

	if (*s == '-' || *s == '+')
		s++;
	if (*s < '0' || *s > '9')
		return false;
	if (s[0] == '0' && s[1] == 'b')
		ok = digits(s + 2, 2, &n);
	else if (s[0] == '0' && s[1] == 'x')
		ok = digits(s + 2, 16, &n);
	else if (s[0] == '0' && s[1] != '\0')
		ok = digits(s + 1, 8, &n);
	else
		ok = digits(s, 10, &n) ||
		    (s[0] != '0' && base_sixty(s, &n, &rest) && *rest == '\0');
	/* beyond 64 bits the text is kept: its text form is the same */
	if (!ok || n > (uint64_t)INT64_MAX)
		return false;
	*out = negative ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool
is_special_real(const char *s, double *out)
{
	double sign = *s == '-' ? -1.0 : 1.0;

	if (strcmp(s, ".nan") == 0 || strcmp(s, ".NaN") == 0 ||
	    strcmp(s, ".NAN") == 0) {
		*out = (double)NAN;
		return true;
	}
	if (*s == '-' || *s == '+')
		s++;
	if (strcmp(s, ".inf") != 0 && strcmp(s, ".Inf") != 0 &&
	    strcmp(s, ".INF") != 0)
		return false;
	*out = sign * (double)INFINITY;
	return true;
}

/* strtod() of s without its underscores. */
static bool
to_double(const char *s, double *out)
{
	char buf[128];
	size_t n = 0;

	for (; *s != '\0'; s++) {
		if (*s == '_')
			continue;
		if (n + 1 >= sizeof(buf))
			return false;
		buf[n++] = *s;
	}
	buf[n] = '\0';
	*out = strtod(buf, NULL);
	return true;
}

/* A dot is a must; an exponent must have its sign. */
static bool
is_real(const char *s, double *out)
{
	const char *p = s, *rest;
	size_t whole, fraction;
	uint64_t n;
	double f;

	if (is_special_real(s, out))
		return true;
	if (*p == '-' || *p == '+')
		p++;
	if (*p >= '0' && *p <= '9' && base_sixty(p, &n, &rest)) {
		if (*rest != '.' ||
		    rest[1 + strspn(rest + 1, DIGITS "_")] != '\0' ||
		    !to_double(rest, &f))
			return false;
		*out = ((double)n + (rest[1] != '\0' ? f : 0.0)) *
		    (*s == '-' ? -1.0 : 1.0);
		return true;
	}
	whole = strspn(p, DIGITS "_");
	if (p[whole] != '.' || (whole > 0 && *p == '_'))
		return false;
	p += whole + 1;
	fraction = strspn(p, DIGITS "_");
	if (whole == 0 && (fraction == 0 || *p == '_' || p - 1 != s))
		return false;
	p += fraction;
	if (*p == 'e' || *p == 'E') {
		if (p[1] != '-' && p[1] != '+')
			return false;
		p += 2;
		if (*p == '\0' || p[strspn(p, DIGITS)] != '\0')
			return false;
	} else if (*p != '\0')
		return false;
	return to_double(s, out);
}

struct tree *
conf_yaml_scalar(const char *s)
{
	int64_t i;
	double r;
	int b;

	if (*s == '\0' || strcmp(s, "~") == 0 || is_word(s, "null"))
		return tree_null();
	if ((b = is_bool(s)) >= 0)
		return tree_bool(b == 1);
	if (is_int(s, &i))
		return tree_int(i);
	if (is_real(s, &r))
		return tree_real(r);
	return tree_text(s);
}
