/*
 * control.c: parsers for pg_controldata and WAL dumps, the two fixed fields
 * of the control file, LSN text (spec/postgres.md 7, 16.4).  Runs nothing.
 */
#include "control.h"

#include <sys/types.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "conf_util.h"

/* ControlFileData: system_identifier, pg_control_version,
 * catalog_version_no, state. */
#define CONTROL_SYSID_OFFSET 0
#define CONTROL_STATE_OFFSET 16

/* Copy [s, s + n) without blanks at both ends; false when it does not fit. */
static bool
trimmed(char *out, size_t size, const char *s, size_t n)
{
	while (n > 0 && isspace((unsigned char)*s)) {
		s++;
		n--;
	}
	while (n > 0 && isspace((unsigned char)s[n - 1]))
		n--;
	if (n >= size)
		return false;
	memcpy(out, s, n);
	out[n] = '\0';
	return true;
}

static void
control_line(struct tree *map, const char *s, size_t n)
{
	const char *colon = memchr(s, ':', n);
	char key[128], value[256], *current;

	if (colon == NULL ||
	    !trimmed(key, sizeof(key), s, (size_t)(colon - s)) ||
	    !trimmed(
		value, sizeof(value), colon + 1, n - (size_t)(colon + 1 - s)))
		return;
	current = strstr(key, "Current ");
	if (current != NULL)
		memmove(current, current + 8, strlen(current + 8) + 1);
	if (key[0] != '\0')
		put_text(map, key, value);
}

struct tree *
control_parse(const char *output)
{
	struct tree *map = must(tree_map());

	while (*output != '\0' && tree_count(map) < 256) {
		size_t n = strcspn(output, "\n");

		control_line(map, output, n);
		output += n;
		output += *output == '\n';
	}
	return map;
}

const char *
control_value(const struct tree *controldata, const char *key)
{
	const struct tree *t = tree_get(controldata, key);

	return t != NULL && t->type == TREE_TEXT ? t->u.s : NULL;
}

enum ha_control_state
control_state_parse(const char *text)
{
	static const struct {
		const char *text;
		enum ha_control_state state;
	} states[] = {
		{ "starting up", CONTROL_STARTING_UP },
		{ "shut down", CONTROL_SHUT_DOWN },
		{ "shut down in recovery", CONTROL_SHUT_DOWN_IN_RECOVERY },
		{ "shutting down", CONTROL_SHUTTING_DOWN },
		{ "in crash recovery", CONTROL_IN_CRASH_RECOVERY },
		{ "in archive recovery", CONTROL_IN_ARCHIVE_RECOVERY },
		{ "in production", CONTROL_IN_PRODUCTION },
	};

	for (size_t i = 0; text != NULL && i < sizeof(states) / sizeof(*states);
	     i++)
		if (strcmp(states[i].text, text) == 0)
			return states[i].state;
	return CONTROL_UNKNOWN;
}

static uint32_t
control_timeline(const struct tree *c, const char *key)
{
	const char *s = control_value(c, key);
	int64_t v;

	return s != NULL && text_to_int64(s, 0, UINT32_MAX, &v) ? (uint32_t)v :
								  0;
}

static uint64_t
control_lsn(const struct tree *c, const char *key)
{
	const char *s = control_value(c, key);
	uint64_t v;

	return s != NULL && lsn_parse(s, &v) ? v : 0;
}

void
control_fill(const struct tree *c, struct ha_control *out)
{
	const char *sysid = control_value(c, "Database system identifier");

	memset(out, 0, sizeof(*out));
	out->state =
	    control_state_parse(control_value(c, "Database cluster state"));
	out->timeline = control_timeline(c, "Latest checkpoint's TimeLineID");
	out->checkpoint_lsn = control_lsn(c, "Latest checkpoint location");
	out->prev_lsn = out->checkpoint_lsn;
	out->min_recovery_lsn =
	    control_lsn(c, "Minimum recovery ending location");
	out->min_recovery_timeline =
	    control_timeline(c, "Min recovery ending loc's timeline");
	if (sysid != NULL)
		text_set(out->sysid, sizeof(out->sysid), sysid);
	out->ok = out->state != CONTROL_UNKNOWN && out->checkpoint_lsn != 0 &&
	    out->timeline != 0;
}

bool
control_rewind_possible(const struct tree *c)
{
	const char *hints = control_value(c, "wal_log_hints setting");
	const char *sums = control_value(c, "Data page checksum version");

	return (hints != NULL && strcmp(hints, "on") == 0) ||
	    (sums != NULL && strcmp(sums, "0") != 0);
}

bool
control_read(
    const char *data_dir, enum ha_control_state *state, uint64_t *sysid)
{
	static const enum ha_control_state states[] = { CONTROL_STARTING_UP,
		CONTROL_SHUT_DOWN, CONTROL_SHUT_DOWN_IN_RECOVERY,
		CONTROL_SHUTTING_DOWN, CONTROL_IN_CRASH_RECOVERY,
		CONTROL_IN_ARCHIVE_RECOVERY, CONTROL_IN_PRODUCTION };
	char path[PATH_SIZE];
	uint8_t buf[20];
	uint64_t id;
	uint32_t s;
	ssize_t n;
	int fd;

	if (!path_join(path, data_dir, "global/pg_control"))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	do
		n = pread(fd, buf, sizeof(buf), 0);
	while (n < 0 && errno == EINTR);
	close(fd);
	if (n != (ssize_t)sizeof(buf))
		return false;
	memcpy(&id, buf + CONTROL_SYSID_OFFSET, sizeof(id));
	memcpy(&s, buf + CONTROL_STATE_OFFSET, sizeof(s));
	if (id == 0 || s >= sizeof(states) / sizeof(*states))
		return false;
	if (state != NULL)
		*state = states[s];
	if (sysid != NULL)
		*sysid = id;
	return true;
}

/* ---- LSN ---- */

/* Up to eight hex digits at *s. */
static bool
hex32(const char **s, uint32_t *out)
{
	const char *p = *s;
	uint32_t v = 0;

	for (; isxdigit((unsigned char)*p) && p - *s < 9; p++) {
		int d = isdigit((unsigned char)*p) ?
		    *p - '0' :
		    tolower((unsigned char)*p) - 'a' + 10;

		v = v << 4 | (uint32_t)d;
	}
	if (p == *s || p - *s > 8)
		return false;
	*s = p;
	*out = v;
	return true;
}

static bool
lsn_at(const char **s, uint64_t *out)
{
	uint32_t h, l;

	if (!hex32(s, &h) || *(*s)++ != '/' || !hex32(s, &l))
		return false;
	*out = (uint64_t)h << 32 | l;
	return true;
}

bool
lsn_parse(const char *text, uint64_t *out)
{
	uint64_t v;

	if (!lsn_at(&text, &v) || *text != '\0')
		return false;
	*out = v;
	return true;
}

void
lsn_format(uint64_t lsn, char out[32])
{
	snprintf(out, 32, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32),
	    (uint32_t)lsn);
}

void
lsn_format_padded(uint64_t lsn, char out[32])
{
	snprintf(out, 32, "%" PRIX32 "/%08" PRIX32, (uint32_t)(lsn >> 32),
	    (uint32_t)lsn);
}

/* ---- WAL dumps ---- */

static const char *
after(const char *line, const char *mark)
{
	const char *p = strstr(line, mark);

	return p == NULL ? NULL : p + strlen(mark);
}

bool
wal_record_parse(const char *line, struct wal_record *out)
{
	const char *p;
	size_t n;

	memset(out, 0, sizeof(*out));
	if (strncmp(line, "rmgr:", 5) != 0)
		return false;
	p = line + 5 + strspn(line + 5, " ");
	n = strcspn(p, " ");
	if (n == 0 || n >= sizeof(out->rmgr))
		return false;
	memcpy(out->rmgr, p, n);
	p = after(line, ", lsn: ");
	if (p == NULL || !lsn_at(&p, &out->lsn))
		return false;
	p = after(p, ", prev ");
	if (p == NULL || !lsn_at(&p, &out->prev))
		return false;
	p = after(p, "desc: ");
	if (p == NULL)
		return false;
	n = strlen(p);
	if (n >= sizeof(out->desc))
		n = sizeof(out->desc) - 1;
	return trimmed(out->desc, sizeof(out->desc), p, n);
}

/* Next line of *s into buf (cut when longer); false at the end. */
static bool
next_line(const char **s, char *buf, size_t size)
{
	size_t n = strcspn(*s, "\n"), k = n < size - 1 ? n : size - 1;

	if (**s == '\0')
		return false;
	memcpy(buf, *s, k);
	buf[k] = '\0';
	*s += n;
	*s += **s == '\n';
	return true;
}

bool
wal_dump_first(const char *output, struct wal_record *out)
{
	char line[2048];

	while (next_line(&output, line, sizeof(line)))
		if (wal_record_parse(line, out))
			return true;
	return false;
}

bool
wal_is_shutdown_checkpoint(const char *output, uint64_t lsn, uint64_t *prev)
{
	struct wal_record r;
	size_t n;

	if (!wal_dump_first(output, &r) || strcmp(r.rmgr, "XLOG") != 0 ||
	    r.lsn != lsn || strncasecmp(r.desc, "checkpoint", 10) != 0)
		return false;
	n = strlen(r.desc);
	if (n < 8 || strcasecmp(r.desc + n - 8, "shutdown") != 0)
		return false;
	*prev = r.prev;
	return true;
}

bool
wal_is_switch(const char *output, uint32_t version)
{
	struct wal_record r;

	return wal_dump_first(output, &r) &&
	    strcasecmp(r.desc, pgfeatures(version).wal_switch) == 0;
}

/* "... error in WAL record at A: invalid record length at B: wanted ..." */
static uint64_t
end_from_error(const char *line, uint64_t lsn)
{
	const char *p = after(line, "error in WAL record at ");
	uint64_t a, b;

	if (p == NULL || !lsn_at(&p, &a) || a != lsn)
		return 0;
	if (strncmp(p, ": invalid record length at ", 27) != 0)
		return 0;
	p += 27;
	if (!lsn_at(&p, &b) || (*p != '\0' && *p != ':' && *p != '\r'))
		return 0;
	return b;
}

uint64_t
wal_checkpoint_end(const char *out, const char *err, uint64_t lsn)
{
	char line[2048], want[64], text[32];
	uint64_t end = 0;
	int lines = 0;

	lsn_format_padded(lsn, text);
	snprintf(want, sizeof(want), ", lsn: %s, prev ", text);
	while (next_line(&out, line, sizeof(line))) {
		if (line[0] == '\0')
			continue;
		if (++lines > 1 || strstr(line, want) == NULL)
			return 0;
	}
	if (lines != 1)
		return 0;
	while (end == 0 && next_line(&err, line, sizeof(line)))
		end = end_from_error(line, lsn);
	return end;
}
