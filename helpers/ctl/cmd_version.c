/*
 * cmd_version.c: `version` (patronictl.md 11.19).
 */
#include <stdlib.h>
#include <string.h>

#include "../../ipc/version.h"
#include "../json.h"
#include "rest.h"

#define VERSION_TIMEOUT 10

static void
server_version(int64_t v, char *buf, size_t size)
{
	buf[0] = '\0';
	if (v <= 0)
		return;
	if (v < 100000)
		(void)snprintf(buf, size, " PostgreSQL %lld.%lld.%lld",
		    (long long)(v / 10000), (long long)(v / 100 % 100),
		    (long long)(v % 100));
	else
		(void)snprintf(buf, size, " PostgreSQL %lld.%lld",
		    (long long)(v / 10000), (long long)(v % 100));
}

static void
ask_member(struct ctl *ctl, struct store *store, const struct view_member *m)
{
	struct rest_answer a;
	struct tree *doc = NULL;
	char why[TEXT_SIZE] = "", server[64];

	rest_get(ctl, store, m, VERSION_TIMEOUT, &a);
	if (a.status == 0)
		(void)text_set(why, sizeof(why), a.text);
	else
		doc = tree_from_json(a.body, a.len, why, sizeof(why));
	if (doc == NULL)
		printf("%s: failed to get version: %s\n", m->name, why);
	else {
		server_version(tree_path_int(doc, "server_version", 0), server,
		    sizeof(server));
		printf("%s: Patroni %s%s\n", m->name,
		    tree_path_text(doc, "patroni.version", "None"), server);
	}
	tree_free(doc);
	rest_free(&a);
}

static bool
wanted(const struct parsed *p, const char *name)
{
	int i;

	for (i = 1; i < p->nargs; i++)
		if (strcmp(p->args[i], name) == 0)
			return true;
	return p->nargs <= 1;
}

int
cmd_version(struct ctl *ctl, const struct parsed *p)
{
	struct store *store;
	struct targets t;
	struct view *v;
	uint32_t i;

	printf("patronictl version %s\n", PROGRAM_VERSION);
	if (p->nargs == 0)
		return 0;
	config_group(ctl, p, false);
	printf("\n");
	store = store_open(ctl, p->args[0]);
	v = store_view(store);
	select_role(ctl, v, "any", &t);
	for (i = 0; i < t.n; i++)
		if (t.v[i].m->api_url[0] != '\0' && wanted(p, t.v[i].name))
			ask_member(ctl, store, t.v[i].m);
	view_free(v);
	return 0;
}
