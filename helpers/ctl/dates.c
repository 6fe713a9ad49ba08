/*
 * dates.c: --scheduled and the times that are printed (patronictl.md 14).
 *
 * A text is cut into numbers, words and marks; a date, a time and a zone are
 * looked for among them.  What is left over makes it wrong.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "ctl.h"

#define UNSET (-1)

struct when {
	int year, month, day;
	int hour, minute, second, us;
	int weekday;
	bool zone;
	int offset; /* seconds east of UTC */
	const char *p;
};

static const char *const months[] = { "january", "february", "march", "april",
	"may", "june", "july", "august", "september", "october", "november",
	"december" };
static const char *const weekdays[] = { "sunday", "monday", "tuesday",
	"wednesday", "thursday", "friday", "saturday" };

static size_t
digits(const char *p)
{
	return strspn(p, "0123456789");
}

static int
take(const char **p, size_t n)
{
	int v = 0;

	while (n-- > 0)
		v = v * 10 + (*(*p)++ - '0');
	return v;
}

/* A name or its first three letters. */
static int
name_of(const char *const *names, int n, const char *word, size_t len)
{
	int i;

	for (i = 0; len >= 3 && i < n; i++)
		if ((len == 3 || len == strlen(names[i])) &&
		    strncasecmp(names[i], word, len) == 0)
			return i;
	return -1;
}

/* ---- zones ---- */

/* [+-]HH[[:]MM] at p; false when it is none. */
static bool
parse_offset(struct when *w)
{
	const char *p = w->p;
	int sign = *p == '-' ? -1 : 1, h, m = 0;
	size_t n;

	if (*p != '+' && *p != '-')
		return false;
	n = digits(++p);
	if (n == 4) {
		h = take(&p, 2);
		m = take(&p, 2);
	} else if (n == 1 || n == 2) {
		h = take(&p, n);
		if (*p == ':' && digits(p + 1) == 2) {
			p++;
			m = take(&p, 2);
		}
	} else
		return false;
	if (h > 23 || m > 59)
		return false;
	w->zone = true;
	w->offset = sign * (h * 3600 + m * 60);
	w->p = p;
	return true;
}

static bool
parse_zone(struct when *w)
{
	size_t len = strspn(w->p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
	const char *p = w->p;

	if (w->zone || w->hour == UNSET)
		return false;
	if (*p == '+' || *p == '-')
		return parse_offset(w);
	if ((*p == 'z' || *p == 'Z') && !isalpha((unsigned char)p[1])) {
		w->zone = true;
		w->offset = 0;
		w->p = p + 1;
		return true;
	}
	if (len != 3 && len != 4)
		return false;
	w->p += len;
	if (strncmp(p, "UTC", 3) == 0 || strncmp(p, "GMT", 3) == 0) {
		w->zone = true;
		w->offset = 0;
		/* UTC+3 is what POSIX means by it: west */
		if (parse_offset(w))
			w->offset = -w->offset;
		return true;
	}
	tzset();
	if ((strlen(tzname[0]) != len || strncmp(p, tzname[0], len) != 0) &&
	    (strlen(tzname[1]) != len || strncmp(p, tzname[1], len) != 0))
		log_warn(
		    "tzname %.*s identified but not understood", (int)len, p);
	return isalpha((unsigned char)*w->p) == 0 && *w->p != '/';
}

/* ---- times ---- */

static void
parse_fraction(struct when *w)
{
	const char *p = w->p;
	int n;

	if ((*p != '.' && *p != ',') || digits(p + 1) == 0)
		return;
	for (w->us = 0, n = 0, p++; digits(p) > 0; p++, n++)
		if (n < 6)
			w->us = w->us * 10 + (*p - '0');
	for (; n < 6; n++)
		w->us *= 10;
	w->p = p;
}

static bool
am_pm(struct when *w)
{
	const char *p = w->p + strspn(w->p, " ");

	if (strncasecmp(p, "am", 2) != 0 && strncasecmp(p, "pm", 2) != 0)
		return false;
	if (isalpha((unsigned char)p[2]) || w->hour < 1 || w->hour > 12)
		return false;
	w->hour = w->hour % 12 + (tolower((unsigned char)*p) == 'p' ? 12 : 0);
	w->p = p + 2;
	return true;
}

/* HH:MM[:SS[.f]], 10am, 10h30m */
static bool
parse_time(struct when *w)
{
	const char *p = w->p, *start = p;
	size_t n = digits(p);

	if (w->hour != UNSET || (n != 1 && n != 2))
		return false;
	w->hour = take(&p, n);
	w->minute = w->second = w->us = 0;
	w->p = p;
	if (am_pm(w))
		return true;
	if (*p == 'h') {
		if (digits(++p) > 0 && digits(p) <= 2) {
			w->minute = take(&p, digits(p));
			if (*p == 'm')
				p++;
		}
		w->p = p;
		if (!isalpha((unsigned char)*p))
			return true;
		w->hour = UNSET;
		w->p = start;
		return false;
	}
	if (*p != ':' || digits(p + 1) != 2) {
		w->hour = UNSET;
		w->p = start;
		return false;
	}
	p++;
	w->minute = take(&p, 2);
	if (*p == ':' && digits(p + 1) == 2) {
		p++;
		w->second = take(&p, 2);
	}
	w->p = p;
	parse_fraction(w);
	(void)am_pm(w);
	return true;
}

/* Behind the T of ISO 8601: HH, HHMM, HHMMSS as well. */
static bool
parse_iso_time(struct when *w)
{
	size_t n = digits(w->p);

	if (n != 2 && n != 4 && n != 6)
		return parse_time(w);
	if (n == 2 && w->p[2] == ':')
		return parse_time(w);
	w->hour = take(&w->p, 2);
	w->minute = n > 2 ? take(&w->p, 2) : 0;
	w->second = n > 4 ? take(&w->p, 2) : 0;
	w->us = 0;
	if (n > 4)
		parse_fraction(w);
	return true;
}

/* ---- dates ---- */

static bool
parse_compact(struct when *w, size_t n)
{
	w->year = take(&w->p, 4);
	w->month = take(&w->p, 2);
	w->day = take(&w->p, 2);
	if (n == 8)
		return true;
	w->hour = take(&w->p, 2);
	w->minute = take(&w->p, 2);
	w->second = n == 14 ? take(&w->p, 2) : 0;
	w->us = 0;
	return true;
}

/* Three numbers with a mark between them. */
static bool
parse_marked(struct when *w, char mark)
{
	const char *p = w->p;
	size_t len[3];
	int v[3] = { 0, 0, 0 }, i, n = 0;

	for (i = 0; i < 3; i++) {
		len[i] = digits(p);
		if (len[i] == 0 || len[i] > 4)
			return false;
		v[i] = take(&p, len[i]);
		n = i + 1;
		if (*p != mark || digits(p + 1) == 0)
			break;
		p++;
	}
	w->p = p;
	if (n > 1 && (len[1] > 2 || (n == 3 && len[0] == 4 && len[2] > 2)))
		return false;
	if (len[0] == 4) {
		w->year = v[0];
		w->month = v[1];
		w->day = n == 3 ? v[2] : UNSET;
		return n >= 2;
	}
	if (n != 3)
		return false;
	/* month first, unless it cannot be one */
	w->month = v[0] > 12 ? v[1] : v[0];
	w->day = v[0] > 12 ? v[0] : v[1];
	w->year = len[2] <= 2 ? v[2] + 2000 : v[2];
	return len[2] == 2 || len[2] == 4;
}

static bool
parse_number(struct when *w)
{
	size_t n = digits(w->p);
	char mark = w->p[n];

	if (w->year == UNSET && w->month == UNSET && w->day == UNSET) {
		if (n == 8 || n == 12 || n == 14)
			return parse_compact(w, n);
		if ((mark == '-' || mark == '/' || mark == '.') &&
		    digits(w->p + n + 1) > 0)
			return parse_marked(w, mark);
	}
	if (parse_time(w))
		return true;
	if (n == 4 && w->year == UNSET) {
		w->year = take(&w->p, 4);
		return true;
	}
	if ((n == 1 || n == 2) && w->day == UNSET) {
		w->day = take(&w->p, n);
		return true;
	}
	return false;
}

static bool
parse_word(struct when *w)
{
	size_t len = 0;
	int i;

	while (isalpha((unsigned char)w->p[len]))
		len++;
	if (len == 1 && (*w->p == 'T' || *w->p == 't') && w->day != UNSET &&
	    w->hour == UNSET && digits(w->p + 1) > 0) {
		w->p++;
		return parse_iso_time(w);
	}
	if ((i = name_of(months, 12, w->p, len)) != -1 && w->month == UNSET) {
		w->month = i + 1;
		w->p += len;
		return true;
	}
	if ((i = name_of(weekdays, 7, w->p, len)) != -1 &&
	    w->weekday == UNSET) {
		w->weekday = i;
		w->p += len;
		return true;
	}
	if (len == 2 && strncasecmp(w->p, "at", 2) == 0 && w->day != UNSET) {
		w->p += len;
		return true;
	}
	return parse_zone(w);
}

static bool
parse_all(struct when *w)
{
	bool any = false;

	for (;;) {
		w->p += strspn(w->p, " ,");
		if (*w->p == '\0')
			return any;
		if (digits(w->p) > 0) {
			if (!parse_number(w))
				return false;
		} else if (*w->p == '+' || *w->p == '-') {
			if (!parse_zone(w))
				return false;
		} else if (!isalpha((unsigned char)*w->p) || !parse_word(w))
			return false;
		any = true;
	}
}

/* ---- putting it together ---- */

static int
days_in(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* Parts that were not given come from today. */
static bool
complete(struct when *w)
{
	time_t now = time(NULL);
	bool day = w->day != UNSET || w->month != UNSET || w->year != UNSET;
	struct tm tm;

	if (localtime_r(&now, &tm) == NULL)
		return false;
	if (w->year == UNSET)
		w->year = tm.tm_year + 1900;
	if (w->month == UNSET)
		w->month = tm.tm_mon + 1;
	if (w->month < 1 || w->month > 12)
		return false;
	if (w->day == UNSET) {
		w->day = tm.tm_mday;
		if (day && w->day > days_in(w->year, w->month))
			w->day = days_in(w->year, w->month);
		if (w->weekday != UNSET && !day)
			w->day += (w->weekday - tm.tm_wday + 7) % 7;
	}
	if (w->hour == UNSET)
		w->hour = w->minute = w->second = w->us = 0;
	return w->year >= 1970 && w->year <= 9999 && w->day >= 1 &&
	    w->hour <= 23 && w->minute <= 59 && w->second <= 59 &&
	    (w->day <= days_in(w->year, w->month) ||
		(!day && w->weekday != UNSET));
}

bool
date_parse(const char *text, char *iso, size_t size)
{
	struct when w = { UNSET, UNSET, UNSET, UNSET, 0, 0, 0, UNSET, false, 0,
		text };
	char fraction[16] = "";
	struct tm tm;
	int at;

	iso[0] = '\0';
	if (text[0] == '\0' || strcmp(text, "now") == 0)
		return true;
	if (!parse_all(&w) || !complete(&w))
		return false;
	memset(&tm, 0, sizeof(tm));
	tm.tm_year = w.year - 1900;
	tm.tm_mon = w.month - 1;
	tm.tm_mday = w.day;
	tm.tm_hour = w.hour;
	tm.tm_min = w.minute;
	tm.tm_sec = w.second;
	tm.tm_isdst = -1;
	if (w.zone)
		(void)timegm(&tm); /* brings a day beyond the month in order */
	else if (mktime(&tm) == (time_t)-1)
		return false;
	else
		w.offset = (int)tm.tm_gmtoff;
	if (w.us != 0)
		(void)snprintf(
		    fraction, sizeof(fraction), ".%06d", w.us % 1000000);
	at = abs(w.offset);
	return snprintf(iso, size, "%04d-%02d-%02dT%02d:%02d:%02d%s%c%02d:%02d",
		   tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		   tm.tm_min, tm.tm_sec, fraction, w.offset < 0 ? '-' : '+',
		   at / 3600, at / 60 % 60) < (int)size;
}

/* ---- printed times ---- */

static void
print(time_t t, const char *fmt, char *buf, size_t size)
{
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL || strftime(buf, size, fmt, &tm) == 0)
		buf[0] = '\0';
}

void
date_example(char *buf, size_t size)
{
	print(time(NULL) + 3600, "%Y-%m-%dT%H:%M", buf, size);
}

void
date_now(char *buf, size_t size)
{
	print(time(NULL), "%Y-%m-%d %H:%M:%S", buf, size);
}

void
date_now5(char *buf, size_t size)
{
	struct timespec ts;
	char second[DATE_SIZE];

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	print(ts.tv_sec, "%Y-%m-%d %H:%M:%S", second, sizeof(second));
	(void)snprintf(buf, size, "%s.%05d", second, (int)(ts.tv_nsec / 10000));
}
