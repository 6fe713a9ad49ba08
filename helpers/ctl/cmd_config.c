/*
 * cmd_config.c: `show-config` and `edit-config` (patronictl.md 11.16, 12).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../json.h"
#include "diff.h"
#include "edit.h"

int
cmd_show_config(struct ctl *ctl, const struct parsed *p)
{
	const char *cluster = config_cluster(ctl, p);
	struct view *v;

	config_group(ctl, p, true);
	v = store_view(store_open(ctl, cluster));
	if (v->has_config && v->config != NULL) {
		conf_yaml_write(v->config, 0, true, stdout);
		putchar('\n');
	}
	view_free(v);
	return 0;
}

/* ---- edit-config ---- */

static void
patch(struct tree *base, const char *path)
{
	struct tree *t = edit_read(path);

	if (!tree_patch(base, t, NULL))
		ctl_error("out of memory");
	tree_free(t);
}

/* --replace, --apply, -s and -p, in this order; false when none was given. */
static bool
apply_options(const struct parsed *p, struct tree **config)
{
	static const char *const names[] = { "--set", "--pg" };
	const char *replace = parsed_text(p, "--replace");
	const char *apply = parsed_text(p, "--apply");
	bool any = replace != NULL || apply != NULL;
	size_t k;
	int i;

	if (replace != NULL) {
		tree_free(*config);
		if ((*config = tree_map()) == NULL)
			ctl_error("out of memory");
		patch(*config, replace);
	}
	if (apply != NULL)
		patch(*config, apply);
	for (k = 0; k < 2; k++)
		for (i = 0; i < p->ngiven; i++)
			if (strcmp(p->given[i].opt->name, names[k]) == 0) {
				edit_set(*config, p->given[i].text, k == 1);
				any = true;
			}
	return any;
}

static void
show_diff(const char *before, const char *after)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	if (!isatty(STDOUT_FILENO)) {
		diff_print(before, after, false, stdout);
		return;
	}
	if ((f = open_memstream(&text, &len)) == NULL)
		ctl_error("out of memory");
	diff_print(before, after, style_on(stdout, STYLE_ADDED)[0] != '\0', f);
	if (fclose(f) == EOF)
		ctl_error("out of memory");
	pager_show(text);
	free(text);
}

static void
store_config(struct store *store, const struct tree *config, int64_t token)
{
	char *json = tree_to_json(config, JSON_FORM_COMPACT, NULL);
	enum outcome rc;

	if (json == NULL)
		ctl_error("the configuration cannot be written as JSON");
	rc = store_set_config(store, json, token);
	if (rc == OUTCOME_REFUSED)
		ctl_error("Config modification aborted due to concurrent "
			  "changes");
	if (rc == OUTCOME_UNKNOWN)
		ctl_error("The store did not answer; the configuration may "
			  "have been changed: %s",
		    store_error(store));
	if (rc != OUTCOME_OK)
		ctl_error("The configuration could not be written: %s",
		    store_error(store));
	printf("Configuration changed\n");
	free(json);
}

static bool
from_stdin(const struct parsed *p, const char *name)
{
	const char *path = parsed_text(p, name);

	return path != NULL && strcmp(path, "-") == 0;
}

/* Shows the change and asks; true when it is wanted. */
static bool
confirmed(const struct parsed *p, const char *before, const char *after)
{
	bool force = parsed_flag(p, "--force");

	if (!parsed_flag(p, "--quiet"))
		show_diff(before, after);
	if (force)
		return true;
	if (from_stdin(p, "--apply") || from_stdin(p, "--replace")) {
		printf("Use --force option to apply changes\n");
		return false;
	}
	return prompt_confirm("Apply these changes?");
}

int
cmd_edit_config(struct ctl *ctl, const struct parsed *p)
{
	const char *cluster = config_cluster(ctl, p);
	struct store *store;
	struct tree *config;
	struct view *v;
	char *before, *after;

	config_group(ctl, p, true);
	store = store_open(ctl, cluster);
	v = store_view(store);
	if (!v->has_config || v->config == NULL)
		ctl_error(
		    "The config key does not exist in the cluster %s", cluster);
	before = edit_text(v->config);
	if ((config = tree_copy(v->config)) == NULL)
		ctl_error("out of memory");
	if (apply_options(p, &config))
		after = edit_text(config);
	else {
		tree_free(config);
		after = editor_run(cluster, before);
		config = edit_parse(after, strlen(after), "edited text");
	}
	if (edit_equal(v->config, config)) {
		if (!parsed_flag(p, "--quiet"))
			printf("Not changed\n");
	} else if (confirmed(p, before, after))
		store_config(store, config, v->config_token);
	free(before);
	free(after);
	tree_free(config);
	view_free(v);
	return 0;
}
