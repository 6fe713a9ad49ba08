/*
 * conf_render.c: the text of the files that PostgreSQL reads (spec/config.md
 * 11.1, 11.3, 12.3).  Writing them is in conf_write.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf_recovery.h"
#include "guc.h"

void
conf_line(struct text *out, const char *name, const char *value)
{
	text_addf(out, "%s = '", name);
	for (; *value != '\0'; value++) {
		/* a line break would end the line inside the quotes */
		if (*value == '\n') {
			text_add(out, "\\n");
			continue;
		}
		if (*value == '\'' || *value == '\\')
			text_add_n(out, value, 1);
		text_add_n(out, value, 1);
	}
	text_add(out, "'\n");
}

static void
include_line(struct text *out, const struct pgconf *c)
{
	char base[WORD_SIZE + 16];

	snprintf(base, sizeof(base), "%s.base.conf", c->base_name);
	text_add(out, "include '");
	for (const char *s = c->custom_conf[0] != '\0' ? c->custom_conf : base;
	     *s != '\0'; s++) {
		if (*s == '\'' || *s == '\\')
			text_add_n(out, s, 1);
		text_add_n(out, s, 1);
	}
	text_add(out, "'\n\n");
}

/* The parameters as they are written: feedback forced, the two file names
 * apart (they come last unless customised). */
static struct tree *
written_params(const struct pgconf *c, const struct tree *params,
    const struct pgfacts *f, bool *own_hba, bool *own_ident)
{
	struct tree *p = must(tree_copy(params));
	const struct tree *t;
	char value[PATH_SIZE];

	*own_hba =
	    file_customised(c, params, "hba_file", "pg_hba.conf", value) &&
	    !f->custom_bootstrap;
	*own_ident =
	    file_customised(c, params, "ident_file", "pg_ident.conf", value);
	t = tree_get_nocase(p, "hba_file");
	if (t != NULL && !*own_hba)
		tree_remove(p, t->key);
	t = tree_get_nocase(p, "ident_file");
	if (t != NULL && !*own_ident)
		tree_remove(p, t->key);
	if (f->force_hot_standby_feedback)
		put_param(p, "hot_standby_feedback", must(tree_text("on")));
	return p;
}

char *
pgconf_render(const struct pgconf *c, const struct tree *params,
    const struct tree *recovery, const struct pgfacts *f)
{
	uint32_t version = f->version != 0 ? f->version : f->major, n;
	struct text out = { 0 }, section = { 0 };
	bool own_hba, own_ident;
	struct tree *p = written_params(c, params, f, &own_hba, &own_ident);
	const struct tree **v = sorted_children(p, &n);
	char value[16384], path[PATH_SIZE];

	text_add(&out, GENERATED_HEADER);
	include_line(&out, c);
	for (uint32_t i = 0; i < n; i++)
		if (guc_judge(v[i]->key, v[i], version, f->known, value,
			sizeof(value)))
			conf_line(&out, v[i]->key, value);
	free(v);
	tree_free(p);
	if (!own_hba && path_join(path, c->config_dir, "pg_hba.conf"))
		conf_line(&out, "hba_file", path);
	if (!own_ident && path_join(path, c->config_dir, "pg_ident.conf"))
		conf_line(&out, "ident_file", path);
	if (pgfeatures(f->major).recovery_guc && tree_count(recovery) > 0) {
		recovery_lines(&section, c, recovery, f->major);
		if (section.len > 0)
			text_addf(&out, "\n# recovery.conf\n%s", section.s);
		free(section.s);
	}
	return text_take(&out);
}

static char *
render_lines(const struct tree *list)
{
	struct text out = { 0 };

	if (list == NULL || list->type != TREE_LIST || tree_count(list) == 0)
		return NULL;
	text_add(&out, GENERATED_HEADER);
	for (uint32_t i = 0; i < tree_count(list); i++) {
		const struct tree *t = tree_child(list, i);

		if (t->type == TREE_TEXT)
			text_addf(&out, "%s\n", t->u.s);
	}
	return text_take(&out);
}

char *
pgconf_render_hba(
    const struct pgconf *c, const struct tree *params, const struct pgfacts *f)
{
	char value[PATH_SIZE];

	if (file_customised(c, params, "hba_file", "pg_hba.conf", value) &&
	    (f == NULL || !f->custom_bootstrap))
		return NULL;
	return render_lines(tree_get(c->pg, "pg_hba"));
}

char *
pgconf_render_ident(const struct pgconf *c, const struct tree *params)
{
	char value[PATH_SIZE];

	if (file_customised(c, params, "ident_file", "pg_ident.conf", value))
		return NULL;
	return render_lines(tree_get(c->pg, "pg_ident"));
}

/* User name as pg_hba.conf takes it: in quotes when it is not one plain
 * word, or one with a meaning. */
static void
hba_word(struct text *out, const char *s)
{
	bool plain = *s != '\0' && strcmp(s, "all") != 0;

	for (const char *p = s; *p != '\0'; p++)
		if (strchr(" \t,\"#+@/", *p) != NULL)
			plain = false;
	if (plain) {
		text_add(out, s);
		return;
	}
	text_add(out, "\"");
	for (; *s != '\0'; s++) {
		if (*s == '"')
			text_add(out, "\"");
		text_add_n(out, s, 1);
	}
	text_add(out, "\"");
}

static void
trust(struct text *out, const char *type, const char *address,
    const char *replication, const char *superuser)
{
	text_addf(out, "%s\treplication\t", type);
	hba_word(out, replication);
	text_addf(out, "\t%s\ttrust\n%s\tall\t", address, type);
	if (superuser[0] == '\0')
		text_add(out, "all");
	else
		hba_word(out, superuser);
	text_addf(out, "\t%s\ttrust\n", address);
}

char *
pgconf_render_trust_hba(const struct pgconf *c, const struct tree *addresses)
{
	char replication[NAME_SIZE], superuser[NAME_SIZE];
	struct text out = { 0 };

	path_text(pgconf_credentials(c, "replication"), "username", replication,
	    sizeof(replication));
	superuser[0] = '\0';
	if (pgconf_credentials(c, "superuser") != NULL)
		path_text(pgconf_credentials(c, "superuser"), "username",
		    superuser, sizeof(superuser));
	text_add(&out, GENERATED_HEADER);
	trust(&out, "local", "", replication, superuser);
	for (uint32_t i = 0; i < tree_count(addresses); i++) {
		const struct tree *t = tree_child(addresses, i);
		char address[128];

		if (t->type != TREE_TEXT)
			continue;
		snprintf(address, sizeof(address), "%s/%s", t->u.s,
		    strchr(t->u.s, ':') != NULL ? "128" : "32");
		trust(&out, "host", address, replication, superuser);
	}
	return text_take(&out);
}
