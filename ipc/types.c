/*
 * types.c: names of the shared enums, and bounded text and number handling.
 */
#include "types.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const proc_names[PROC_COUNT] = { "master", "dcs", "rest",
	"postgres", "watchdog", "ctl" };

static const char *const outcome_names[OUTCOME_COUNT] = { "ok", "refused",
	"failed", "unknown" };

static const char *const role_names[ROLE_COUNT] = { "uninitialized", "replica",
	"standby_leader", "primary", "promoted", "demoted" };

static const char *const state_names[STATE_COUNT] = { "unknown", "stopped",
	"stopping", "stop failed", "starting",
	"starting after custom bootstrap", "start failed", "running",
	"restarting", "restart failed", "crashed", "initializing new cluster",
	"initdb failed", "running custom bootstrap script",
	"custom bootstrap failed", "creating replica" };

static const char *
name_of(const char *const *names, unsigned int count, unsigned int value)
{
	return value < count ? names[value] : "?";
}

const char *
proc_name(enum proc p)
{
	return name_of(proc_names, PROC_COUNT, (unsigned int)p);
}

const char *
outcome_name(enum outcome o)
{
	return name_of(outcome_names, OUTCOME_COUNT, (unsigned int)o);
}

const char *
pg_role_name(enum pg_role r)
{
	return name_of(role_names, ROLE_COUNT, (unsigned int)r);
}

const char *
pg_state_name(enum pg_state s)
{
	return name_of(state_names, STATE_COUNT, (unsigned int)s);
}

/* Index of text in names, or -1. */
static int
index_of(const char *const *names, int count, const char *text)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], text) == 0)
			return i;
	return -1;
}

enum pg_role
pg_role_parse(const char *text, bool *known)
{
	int i = strcmp(text, "master") == 0 ?
	    (int)ROLE_PRIMARY :
	    index_of(role_names, ROLE_COUNT, text);

	if (known != NULL)
		*known = i >= 0;
	return i >= 0 ? (enum pg_role)i : ROLE_UNINITIALIZED;
}

enum pg_state
pg_state_parse(const char *text, bool *known)
{
	int i = index_of(state_names, STATE_COUNT, text);

	if (known != NULL)
		*known = i >= 0;
	return i >= 0 ? (enum pg_state)i : STATE_UNKNOWN;
}

bool
text_set(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);

	if (len >= size) {
		dst[0] = '\0';
		return false;
	}
	memcpy(dst, src, len + 1);
	return true;
}

bool
text_to_int64(const char *text, int64_t min, int64_t max, int64_t *out)
{
	char *end;
	long long v;

	/* strtoll would skip leading white space */
	if (*text != '-' && *text != '+' && (*text < '0' || *text > '9'))
		return false;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || v < min || v > max)
		return false;
	*out = v;
	return true;
}

void
wipe(void *p, size_t len)
{
	explicit_bzero(p, len);
}

bool
secret_equal(const void *a, const void *b, size_t len)
{
	const volatile unsigned char *p = a, *q = b;
	unsigned char differ = 0;
	size_t i;

	for (i = 0; i < len; i++)
		differ |= p[i] ^ q[i];
	return differ == 0;
}
