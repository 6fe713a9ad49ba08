/*
 * schedule.c: lenient reading of a date, a time and a zone.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "schedule.h"

struct stamp {
	int year, month, day; /* year 0: no date was given */
	int hour, minute, second, us;
	bool zone;
	int offset; /* minutes east of UTC */
};

/* Count of digits at p. */
static size_t
digits(const char *p)
{
	return strspn(p, "0123456789");
}

static int
number(const char **p, int n)
{
	int v = 0;

	while (n-- > 0)
		v = v * 10 + (*(*p)++ - '0');
	return v;
}

static bool
parse_date(const char **pp, struct stamp *t)
{
	const char *p = *pp;
	size_t n = digits(p);

	if (n == 4 && p[4] == '-' && digits(p + 5) == 2 && p[7] == '-' &&
	    digits(p + 8) == 2) {
		t->year = number(&p, 4);
		p++;
		t->month = number(&p, 2);
		p++;
		t->day = number(&p, 2);
	} else if (n == 8 || n == 14) {
		t->year = number(&p, 4);
		t->month = number(&p, 2);
		t->day = number(&p, 2);
	} else if ((n == 1 || n == 2) && p[n] == '/') {
		t->month = number(&p, (int)n);
		p++;
		n = digits(p);
		if ((n != 1 && n != 2) || p[n] != '/')
			return false;
		t->day = number(&p, (int)n);
		p++;
		if (digits(p) != 4)
			return false;
		t->year = number(&p, 4);
	} else if ((n == 1 || n == 2) && p[n] == ':')
		return true; /* a time alone: today */
	else
		return false;
	*pp = p;
	return t->year > 0;
}

static void
parse_fraction(const char **pp, struct stamp *t)
{
	const char *p = *pp;
	int n;

	if ((*p != '.' && *p != ',') || digits(p + 1) == 0)
		return;
	for (n = 0, p++; digits(p) > 0; p++, n++)
		if (n < 6)
			t->us = t->us * 10 + (*p - '0');
	for (; n < 6; n++)
		t->us *= 10;
	*pp = p;
}

static bool
parse_time(const char **pp, struct stamp *t)
{
	const char *p = *pp;
	size_t n = digits(p);

	if (n == 4 || n == 6) {
		t->hour = number(&p, 2);
		t->minute = number(&p, 2);
		if (n == 6)
			t->second = number(&p, 2);
	} else if (n == 1 || n == 2) {
		t->hour = number(&p, (int)n);
		if (*p++ != ':' || digits(p) != 2)
			return false;
		t->minute = number(&p, 2);
		if (*p == ':') {
			p++;
			if (digits(p) != 2)
				return false;
			t->second = number(&p, 2);
		}
	} else
		return false;
	parse_fraction(&p, t);
	*pp = p;
	return true;
}

/* +HH, +H, +HHMM, +HH:MM; an offset with seconds is an error. */
static bool
parse_offset(const char *p, struct stamp *t, int sign)
{
	int h, m = 0;
	size_t n;

	if (*p == '-')
		sign = -sign;
	n = digits(++p);
	if (n == 1 || n == 2) {
		h = number(&p, (int)n);
		if (*p == ':') {
			p++;
			if (digits(p) != 2)
				return false;
			m = number(&p, 2);
		}
	} else if (n == 4) {
		h = number(&p, 2);
		m = number(&p, 2);
	} else
		return false;
	if (*p != '\0' || h > 23 || m > 59)
		return false;
	t->zone = true;
	t->offset = sign * (h * 60 + m);
	return true;
}

static bool
parse_zone(const char *p, struct stamp *t)
{
	size_t n;

	p += strspn(p, " ");
	if (*p == '\0')
		return true;
	if (*p == '+' || *p == '-')
		return parse_offset(p, t, 1);
	for (n = 0; (p[n] | 0x20) >= 'a' && (p[n] | 0x20) <= 'z'; n++)
		;
	if (n == 0 || n > 5)
		return false;
	if ((n == 1 && (*p | 0x20) == 'z') ||
	    (n == 3 &&
		(strncasecmp(p, "utc", 3) == 0 ||
		    strncasecmp(p, "gmt", 3) == 0))) {
		t->zone = true;
		p += n;
		/* "UTC+3" is read the POSIX way, west of Greenwich */
		if (*p == '+' || *p == '-')
			return parse_offset(p, t, -1);
		return *p == '\0';
	}
	/* another abbreviation: a time without a usable zone */
	return p[n] == '\0' && n >= 3;
}

static bool
valid(const struct stamp *t)
{
	static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31,
		30, 31 };
	bool leap;

	if (t->month < 1 || t->month > 12 || t->day < 1)
		return false;
	leap = (t->year % 4 == 0 && t->year % 100 != 0) || t->year % 400 == 0;
	if (t->day > days[t->month - 1] + (t->month == 2 && leap ? 1 : 0))
		return false;
	return t->hour < 24 && t->minute < 60 && t->second < 60;
}

static bool
parse(const char *p, struct stamp *t)
{
	memset(t, 0, sizeof(*t));
	p += strspn(p, " ");
	if (!parse_date(&p, t))
		return false;
	if (*p == 'T' || *p == 't')
		p++;
	else
		p += strspn(p, " ");
	if (digits(p) > 0 && !parse_time(&p, t))
		return false;
	return parse_zone(p, t);
}

/* The day that it is now, at the offset that was given. */
static void
today(struct stamp *t, int64_t now_us)
{
	time_t at = (time_t)(now_us / 1000000) + (time_t)t->offset * 60;
	struct tm tm;

	if (gmtime_r(&at, &tm) == NULL)
		return;
	t->year = tm.tm_year + 1900;
	t->month = tm.tm_mon + 1;
	t->day = tm.tm_mday;
}

static void
format(const struct stamp *t, char iso[WORD_SIZE])
{
	int off = t->offset < 0 ? -t->offset : t->offset;
	char frac[16] = "";

	if (t->us != 0)
		snprintf(frac, sizeof(frac), ".%06d", t->us % 1000000);
	snprintf(iso, WORD_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d%s%c%02d:%02d",
	    t->year % 10000, t->month % 100, t->day % 100, t->hour % 100,
	    t->minute % 100, t->second % 100, frac, t->offset < 0 ? '-' : '+',
	    off / 60 % 100, off % 60);
}

int
schedule_parse(const char *text, int64_t now_us, const char *action,
    int64_t *at_us, char iso[WORD_SIZE], char *error, size_t size)
{
	struct stamp t;
	struct tm tm;

	if (text == NULL || !parse(text, &t)) {
		t.month = 0;
		t.year = 1;
	} else if (t.year == 0)
		today(&t, now_us);
	if (!valid(&t)) {
		snprintf(error, size,
		    "Unable to parse scheduled timestamp. It "
		    "should be in an unambiguous format, e.g. ISO 8601");
		return 422;
	}
	if (!t.zone) {
		snprintf(error, size,
		    "Timezone information is mandatory for the "
		    "scheduled %s",
		    action);
		return 400;
	}
	memset(&tm, 0, sizeof(tm));
	tm.tm_year = t.year - 1900;
	tm.tm_mon = t.month - 1;
	tm.tm_mday = t.day;
	tm.tm_hour = t.hour;
	tm.tm_min = t.minute;
	tm.tm_sec = t.second;
	*at_us =
	    ((int64_t)timegm(&tm) - (int64_t)t.offset * 60) * 1000000 + t.us;
	if (*at_us < now_us) {
		snprintf(error, size, "Cannot schedule %s in the past", action);
		return 422;
	}
	format(&t, iso);
	return 0;
}
