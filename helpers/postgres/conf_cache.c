/*
 * conf_cache.c: patroni.dynamic.json, the copy of the dynamic document in
 * PGDATA (spec/config.md 6.5).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../json.h"
#include "conf_util.h"

#define CACHE_FILE "patroni.dynamic.json"

struct tree *
pgconf_cache_load(const char *data_dir, struct pgerr *err)
{
	char path[PATH_SIZE], why[TEXT_SIZE], *text;
	struct tree *t;
	size_t len;

	err->text[0] = '\0';
	if (!path_join(path, data_dir, CACHE_FILE))
		return NULL;
	text = pgfile_read(path, MAX_DOCUMENT, &len, err);
	if (text == NULL) {
		if (errno == ENOENT || errno == ENOTDIR)
			err->text[0] = '\0';
		return NULL;
	}
	t = tree_from_json(text, len, why, sizeof(why));
	free(text);
	if (t == NULL) {
		fail(err, "%s: %s", path, why);
		return NULL;
	}
	if (t->type == TREE_MAP)
		return t;
	tree_free(t);
	fail(err, "%s: not a JSON object", path);
	return NULL;
}

bool
pgconf_cache_save(
    const char *data_dir, const struct tree *dynamic, struct pgerr *err)
{
	char path[PATH_SIZE], *text;
	struct pgconf dir = { 0 };
	size_t len;
	bool ok;

	if (!path_join(path, data_dir, CACHE_FILE) ||
	    !text_set(dir.data_dir, sizeof(dir.data_dir), data_dir))
		return fail(err, "%s: name too long", data_dir);
	text = tree_to_json(dynamic, JSON_FORM_SPACED, &len);
	if (text == NULL)
		return fail(
		    err, "%s: the document cannot be written as JSON", path);
	ok = pgfile_write(
	    path, text, len, pgconf_file_mode(&dir, path, NULL, false), err);
	wipe(text, len);
	free(text);
	return ok;
}
