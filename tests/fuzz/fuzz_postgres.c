/*
 * fuzz_postgres.c: the parsers of what PostgreSQL's files and programs say.
 * The first byte of the input selects one, the rest is its text.
 *
 * What these parsers read is written by a server that may be of another
 * version, damaged, or another cluster's: nothing in it is believed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "helpers/postgres/control.h"
#include "helpers/postgres/guc.h"
#include "helpers/postgres/history.h"
#include "helpers/postgres/pgconf.h"
#include "helpers/postgres/postmaster.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* Parsed, written and parsed again, it is the same. */
static void
conninfo(const char *text)
{
	struct tree *t = conninfo_parse(text), *again;
	char *back;

	if (t == NULL)
		return;
	back = conninfo_format(t, 0, NULL);
	again = back != NULL ? conninfo_parse(back) : NULL;
	if (back != NULL && again == NULL)
		abort();
	tree_free(again);
	free(back);
	tree_free(t);
}

static void
history(const char *text)
{
	static struct history_line lines[64];
	uint32_t n = history_parse(text, lines, 64);

	if (n > 64)
		abort();
	for (uint32_t i = 0; i < n; i++)
		if (memchr(lines[i].reason, '\0', sizeof(lines[i].reason)) ==
		    NULL)
			abort();
}

static void
words(const char *text)
{
	struct pgerr error;
	struct tree *t = pgwords(text, &error);

	for (uint32_t i = 0; i < tree_count(t); i++)
		if (tree_child(t, i)->type != TREE_TEXT)
			abort();
	tree_free(t);
}

static void
wal(const char *text)
{
	const char *half = text + strlen(text) / 2;
	struct wal_record record;
	uint64_t lsn = 0, prev;

	(void)lsn_parse(text, &lsn);
	(void)wal_record_parse(text, &record);
	if (wal_dump_first(text, &record))
		lsn = record.lsn;
	(void)wal_is_shutdown_checkpoint(text, lsn, &prev);
	(void)wal_is_switch(text, 90600);
	(void)wal_is_switch(text, 150000);
	(void)wal_checkpoint_end(text, half, lsn);
}

/* The file is read by name. */
static void
postmaster_pid(const char *text)
{
	static char dir[] = "/tmp/fuzz-postmaster-XXXXXX";
	static char path[64];
	struct postmaster_file file;
	FILE *f;

	if (path[0] == '\0') {
		if (mkdtemp(dir) == NULL)
			abort();
		(void)snprintf(path, sizeof(path), "%s/postmaster.pid", dir);
	}
	if ((f = fopen(path, "w")) == NULL || fputs(text, f) == EOF ||
	    fclose(f) != 0)
		abort();
	if (postmaster_read_file(dir, &file) && file.pid <= 0)
		abort();
	(void)unlink(path);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size == 0 || (text = malloc(size)) == NULL)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0]) {
	case 'c':
		conninfo(text);
		tree_free(conninfo_from_url(text));
		break;
	case 'r':
		tree_free(recovery_conf_parse(text));
		break;
	case 'd':
		tree_free(control_parse(text));
		(void)control_state_parse(text);
		break;
	case 'w':
		wal(text);
		break;
	case 'h':
		history(text);
		break;
	case 's':
		words(text);
		break;
	case 'p':
		postmaster_pid(text);
		break;
	case 'v':
		(void)pgversion_parse(text, false);
		(void)pgversion_parse(text, true);
		break;
	case 'g':
		tree_free(guc_describe_parse(text));
		break;
	default:
		break;
	}
	free(text);
	return 0;
}
