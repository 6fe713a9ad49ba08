/*
 * history.c: timeline history files (spec/postgres.md 7.6).
 */
#include "history.h"

#include <sys/stat.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf_util.h"
#include "control.h"

#define MAX_HISTORY_FILE (1024 * 1024)

/* One line of n bytes: parent, LSN, reason between tabs. */
static bool
parse_line(const char *s, size_t n, struct history_line *out)
{
	const char *t1 = memchr(s, '\t', n), *t2, *end = s + n;
	char number[32], lsn[32];
	int64_t v;
	size_t len;

	if (t1 == NULL)
		return false;
	t2 = memchr(t1 + 1, '\t', (size_t)(end - t1 - 1));
	if (t2 == NULL || memchr(t2 + 1, '\t', (size_t)(end - t2 - 1)) != NULL)
		return false;
	while (s < t1 && *s == ' ')
		s++;
	len = (size_t)(t1 - s);
	if (len >= sizeof(number) || (size_t)(t2 - t1 - 1) >= sizeof(lsn))
		return false;
	memcpy(number, s, len);
	number[len] = '\0';
	len = (size_t)(t2 - t1 - 1);
	memcpy(lsn, t1 + 1, len);
	lsn[len] = '\0';
	if (!text_to_int64(number, 1, UINT32_MAX, &v) ||
	    !lsn_parse(lsn, &out->lsn))
		return false;
	out->timeline = (uint32_t)v;
	len = (size_t)(end - t2 - 1);
	if (len >= sizeof(out->reason))
		len = sizeof(out->reason) - 1;
	memcpy(out->reason, t2 + 1, len);
	out->reason[len] = '\0';
	return true;
}

uint32_t
history_parse(const char *text, struct history_line *out, uint32_t max)
{
	struct history_line line;
	uint32_t n = 0;

	while (*text != '\0') {
		size_t len = strcspn(text, "\n");

		if (max > 0 && parse_line(text, len, &line)) {
			if (n == max) {
				memmove(out, out + 1, (max - 1) * sizeof(*out));
				n--;
			}
			out[n++] = line;
		}
		text += len;
		text += *text == '\n';
	}
	return n;
}

/* Lines about timelines before this one. */
static uint32_t
older(const struct history_line *v, uint32_t n, uint32_t timeline)
{
	while (n > 0 && v[n - 1].timeline >= timeline)
		n--;
	return n;
}

bool
history_agrees(const struct history_line *a, uint32_t na,
    const struct history_line *b, uint32_t nb, uint32_t timeline)
{
	bool cut = na >= MAX_HISTORY || nb >= MAX_HISTORY;

	na = older(a, na, timeline);
	nb = older(b, nb, timeline);
	for (; na > 0 && nb > 0; na--, nb--)
		if (a[na - 1].timeline != b[nb - 1].timeline ||
		    a[na - 1].lsn != b[nb - 1].lsn)
			return false;
	return na == nb || cut;
}

void
history_path(const char *data_dir, uint32_t version, uint32_t timeline,
    char out[PATH_SIZE])
{
	char name[64];

	snprintf(name, sizeof(name), "%s/%08" PRIX32 ".history",
	    pgfeatures(version).wal_dir, timeline);
	path_join(out, data_dir, name);
}

int
history_read(const char *data_dir, uint32_t version, uint32_t timeline,
    struct history_line *out, uint32_t max, struct pgerr *err)
{
	char path[PATH_SIZE], *text;
	uint32_t n;

	history_path(data_dir, version, timeline, path);
	text = pgfile_read(path, MAX_HISTORY_FILE, NULL, err);
	if (text == NULL)
		return -1;
	n = history_parse(text, out, max);
	free(text);
	return (int)n;
}

/* Local time with offset: 2026-01-31T12:00:00.123456+01:00 */
static void
iso_time(const struct timespec *ts, char out[64])
{
	struct tm tm;
	char zone[8];
	size_t n;

	localtime_r(&ts->tv_sec, &tm);
	n = strftime(out, 64, "%Y-%m-%dT%H:%M:%S", &tm);
	if (ts->tv_nsec / 1000 != 0)
		n += (size_t)snprintf(
		    out + n, 64 - n, ".%06ld", ts->tv_nsec / 1000);
	strftime(zone, sizeof(zone), "%z", &tm); /* +hhmm */
	snprintf(out + n, 64 - n, "%.3s:%s", zone, zone + 3);
}

struct tree *
history_document(const char *data_dir, uint32_t version, uint32_t timeline,
    const char *member, struct pgerr *err)
{
	char path[PATH_SIZE], when[64], *text;
	struct history_line *v;
	struct tree *doc = must(tree_list());
	struct stat st;
	uint32_t n;

	err->text[0] = '\0';
	if (timeline <= 1)
		return doc;
	history_path(data_dir, version, timeline, path);
	text = pgfile_read(path, MAX_HISTORY_FILE, NULL, err);
	if (text == NULL || stat(path, &st) != 0) {
		if (text != NULL)
			fail(err, "%s: %s", path, strerror(errno));
		free(text);
		tree_free(doc);
		return NULL;
	}
	v = must(calloc(MAX_HISTORY, sizeof(*v)));
	n = history_parse(text, v, MAX_HISTORY);
	for (uint32_t i = 0; i < n; i++) {
		struct tree *line = must(tree_list());

		if (!tree_append(line, must(tree_int(v[i].timeline))) ||
		    !tree_append(line, must(tree_int((int64_t)v[i].lsn))))
			must(NULL);
		add_text(line, v[i].reason);
		if (i == n - 1 && v[i].timeline == timeline - 1) {
			iso_time(&st.st_mtim, when);
			add_text(line, when);
			add_text(line, member);
		}
		if (!tree_append(doc, line))
			must(NULL);
	}
	free(v);
	free(text);
	return doc;
}
