/*
 * values.c: text to booleans, numbers with units and addresses.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h> /* isfinite alone: libm is not linked */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "values.h"

struct unit {
	const char *name;
	int family;  /* 1 memory, 2 time */
	double size; /* in bytes or microseconds */
};

/* Ascending within a family. */
static const struct unit units[] = {
	{ "B", 1, 1.0 },
	{ "kB", 1, 1024.0 },
	{ "MB", 1, 1024.0 * 1024 },
	{ "GB", 1, 1024.0 * 1024 * 1024 },
	{ "TB", 1, 1024.0 * 1024 * 1024 * 1024 },
	{ "us", 2, 1.0 },
	{ "ms", 2, 1000.0 },
	{ "s", 2, 1000000.0 },
	{ "min", 2, 60000000.0 },
	{ "h", 2, 3600000000.0 },
	{ "d", 2, 86400000000.0 },
};
#define NUNITS (sizeof(units) / sizeof(units[0]))

/* A base unit as pg_settings writes it: "8kB" is 8 times kB. */
struct base {
	const struct unit *unit;
	double multiplier;
};

/* rint() without libm: half to even by the default rounding mode. */
static double
half_even(double v)
{
	volatile double r = v; /* no folding of the two additions */
	const double big = 4503599627370496.0; /* 2^52: no fraction beyond */

	if (!(v < big && v > -big))
		return v;
	if (v >= 0) {
		r += big;
		r -= big;
	} else {
		r -= big;
		r += big;
	}
	return r;
}

int
value_bool(const char *s)
{
	static const char *const yes[] = { "on", "true", "yes", "1" };
	static const char *const no[] = { "off", "false", "no", "0" };

	for (size_t i = 0; i < 4; i++) {
		if (strcasecmp(s, yes[i]) == 0)
			return 1;
		if (strcasecmp(s, no[i]) == 0)
			return 0;
	}
	return -1;
}

static const struct unit *
find_unit(const char *name, size_t len)
{
	for (size_t i = 0; i < NUNITS; i++)
		if (strlen(units[i].name) == len &&
		    strncmp(units[i].name, name, len) == 0)
			return &units[i];
	return NULL;
}

static bool
parse_base(const char *text, struct base *b)
{
	char *end;
	unsigned long m = 1;

	if (isdigit((unsigned char)*text)) {
		errno = 0;
		m = strtoul(text, &end, 10);
		if (errno != 0 || m == 0 || m > 1u << 30)
			return false;
		text = end;
	}
	b->unit = find_unit(text, strlen(text));
	b->multiplier = (double)m;
	return b->unit != NULL;
}

static const char *
skip_blank(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/* Length without trailing blanks. */
static size_t
trimmed_len(const char *s)
{
	size_t n = strlen(s);

	while (n > 0 && isspace((unsigned char)s[n - 1]))
		n--;
	return n;
}

/* value in that unit -> base unit, rounded as PostgreSQL rounds: to a
 * multiple of the next smaller unit. */
static bool
convert(double value, const char *unit, size_t len, const char *base_unit,
    double *out)
{
	const struct unit *u = find_unit(unit, len);
	struct base b;
	double v, smaller;

	if (u == NULL || base_unit == NULL || *base_unit == '\0' ||
	    !parse_base(base_unit, &b) || b.unit->family != u->family)
		return false;
	v = value * u->size / (b.unit->size * b.multiplier);
	if (u != units && (u - 1)->family == u->family) {
		smaller = (u - 1)->size / b.unit->size;
		v = half_even(v / smaller) * smaller;
	}
	*out = v;
	return true;
}

/* Length of [-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)? at s, 0 if none. */
static size_t
real_prefix(const char *s)
{
	const char *p = s, *q;
	size_t whole, fraction = 0;

	if (*p == '-' || *p == '+')
		p++;
	whole = strspn(p, "0123456789");
	p += whole;
	if (*p == '.')
		fraction = strspn(p + 1, "0123456789");
	if (fraction > 0)
		p += 1 + fraction;
	else if (whole == 0)
		return 0;
	if (*p == 'e' || *p == 'E') {
		q = p + 1;
		if (*q == '-' || *q == '+')
			q++;
		if (isdigit((unsigned char)*q))
			p = q + strspn(q, "0123456789");
	}
	return (size_t)(p - s);
}

static bool
real_text(const char *s, size_t len, double *out)
{
	char buf[64];

	if (len == 0 || len >= sizeof(buf))
		return false;
	memcpy(buf, s, len);
	buf[len] = '\0';
	*out = strtod(buf, NULL);
	return isfinite(*out);
}

/* Length of an integer (hex, octal, decimal; first match wins) at s. */
static size_t
int_prefix(const char *s, int *base)
{
	const char *p = s;

	if (*p == '-' || *p == '+')
		p++;
	if (p[0] == '0' && p[1] == 'x' && isxdigit((unsigned char)p[2])) {
		*base = 16;
		p += 2;
		return (size_t)(p - s) + strspn(p, "0123456789abcdefABCDEF");
	}
	if (p[0] == '0') {
		*base = 8;
		return (size_t)(p - s) + strspn(p, "01234567");
	}
	*base = 10;
	if (!isdigit((unsigned char)*p))
		return 0;
	return (size_t)(p - s) + strspn(p, "0123456789");
}

static bool
to_int64(double v, int64_t *out)
{
	v = half_even(v); /* half to even in the default rounding mode */
	if (!isfinite(v) || v < -9223372036854775808.0 ||
	    v >= 9223372036854775808.0)
		return false;
	*out = (int64_t)v;
	return true;
}

bool
value_int(const char *text, const char *base_unit, int64_t *out)
{
	const char *s = skip_blank(text), *rest;
	size_t len, unit;
	bool is_real = false;
	double v;
	char buf[64];
	long long whole = 0;
	int base;

	len = int_prefix(s, &base);
	rest = s + len;
	if ((len > 0 && (*rest == '.' || *rest == 'e' || *rest == 'E')) ||
	    (len == 0 &&
		(*s == '.' || ((*s == '-' || *s == '+') && s[1] == '.')))) {
		is_real = true;
		len = real_prefix(s);
	}
	if (len == 0 || len >= sizeof(buf))
		return false;
	if (is_real) {
		if (!real_text(s, len, &v))
			return false;
	} else {
		memcpy(buf, s, len);
		buf[len] = '\0';
		errno = 0;
		whole = strtoll(buf, NULL, base);
		if (errno != 0)
			return false;
		v = (double)whole;
	}
	rest = skip_blank(s + len);
	unit = trimmed_len(rest);
	if (unit == 0 && !is_real) {
		*out = whole;
		return true;
	}
	if (unit > 0 && !convert(v, rest, unit, base_unit, &v))
		return false;
	return to_int64(v, out);
}

bool
value_real(const char *text, const char *base_unit, double *out)
{
	const char *s = skip_blank(text), *rest;
	size_t len = real_prefix(s), unit;
	double v;

	if (!real_text(s, len, &v))
		return false;
	rest = skip_blank(s + len);
	unit = trimmed_len(rest);
	if (unit > 0 && !convert(v, rest, unit, base_unit, &v))
		return false;
	if (!isfinite(v))
		return false;
	*out = v;
	return true;
}

/* Is v, given in sizes of bytes or microseconds, whole in that unit? */
static bool
is_whole(double v, double unit, bool real)
{
	double n = v / unit;

	return real ? __builtin_fabs(half_even(n) / n - 1.0) <= 1e-8 :
		      n == half_even(n);
}

const char *
value_human(
    const char *text, bool real, const char *base_unit, char *buf, size_t size)
{
	struct base b;
	const struct unit *best = NULL;
	double v = 0;
	int64_t i;

	if (base_unit == NULL || *base_unit == '\0' ||
	    !parse_base(base_unit, &b))
		goto verbatim;
	if (real) {
		if (!value_real(text, base_unit, &v))
			goto verbatim;
	} else {
		if (!value_int(text, base_unit, &i))
			goto verbatim;
		v = (double)i;
	}
	if (v == 0)
		goto verbatim;
	v *= b.multiplier * b.unit->size;
	for (size_t n = 0; n < NUNITS; n++) {
		if (units[n].family != b.unit->family)
			continue;
		if (best == NULL || is_whole(v, units[n].size, real))
			best = &units[n];
	}
	if (real)
		snprintf(buf, size, "%g%s", v / best->size, best->name);
	else
		snprintf(buf, size, "%.0f%s", v / best->size, best->name);
	return buf;
verbatim:
	snprintf(buf, size, "%s", text);
	return buf;
}

/* Comma list without blanks and brackets around its entries. */
static bool
strip_hosts(char *host, size_t size)
{
	char *out = host, *p = host, *comma, *end, *entry;
	size_t len;

	if (strlen(host) >= size)
		return false;
	for (;;) {
		comma = strchr(p, ',');
		end = comma != NULL ? comma : p + strlen(p);
		entry = p;
		while (entry < end &&
		    (isspace((unsigned char)*entry) || *entry == '[' ||
			*entry == ']'))
			entry++;
		while (end > entry &&
		    (isspace((unsigned char)end[-1]) || end[-1] == '[' ||
			end[-1] == ']'))
			end--;
		len = (size_t)(end - entry);
		memmove(out, entry, len);
		out += len;
		if (comma == NULL)
			break;
		*out++ = ',';
		p = comma + 1;
	}
	*out = '\0';
	return true;
}

bool
value_host_port(
    const char *text, int dflt_port, char *host, size_t size, int *port)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
	char *end;
	long n = dflt_port;

	if (colon != NULL) {
		if (!isdigit((unsigned char)*skip_blank(colon + 1)))
			return false;
		errno = 0;
		n = strtol(colon + 1, &end, 10);
		if (errno != 0 || *skip_blank(end) != '\0')
			return false;
	}
	if (n < 1 || n > 65535 || len >= size)
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	if (strchr(host, ':') != NULL && !strip_hosts(host, size))
		return false;
	*port = (int)n;
	return true;
}

int
version_numbers(const char *s, unsigned v[3])
{
	int n = 0;

	v[0] = v[1] = v[2] = 0;
	while (n < 3 && *s >= '0' && *s <= '9') {
		unsigned number = 0;

		for (; *s >= '0' && *s <= '9'; s++)
			if ((number = number * 10 + (unsigned)(*s - '0')) >
			    9999)
				return n;
		v[n++] = number;
		if (*s++ != '.')
			break;
	}
	return n;
}

int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
percent_decode(const char *s, size_t n, char *out)
{
	int high, low;

	for (size_t i = 0; i < n; i++) {
		if (s[i] != '%') {
			*out++ = s[i];
			continue;
		}
		if (n - i < 3 || (high = hex_digit(s[i + 1])) < 0 ||
		    (low = hex_digit(s[i + 2])) < 0 || high + low == 0)
			return false;
		*out++ = (char)(high * 16 + low);
		i += 2;
	}
	*out = '\0';
	return true;
}
