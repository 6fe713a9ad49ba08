/*
 * kubeconfig.c: the way to the API server outside a pod: one context of a
 * kubeconfig (spec/dcs.md 11.2), for the dcs helper and patronictl, which
 * read no YAML.
 */
#include <sys/stat.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../ipc/log.h"
#include "internal.h"

#define MAX_FILE (1024 * 1024)

static char *
read_file(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *text = NULL;
	ssize_t n = -1;

	if (fd == -1)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size <= MAX_FILE &&
	    (text = malloc((size_t)st.st_size + 1)) != NULL)
		n = read(fd, text, (size_t)st.st_size);
	close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	*len = (size_t)n;
	return text;
}

/* $KUBECONFIG may be a list: the first that exists.  Else ~/.kube/config. */
static bool
find_file(char *path, size_t size)
{
	const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
	size_t n;

	for (; list != NULL && *list != '\0'; list += n + (list[n] == ':')) {
		n = strcspn(list, ":");
		if (n == 0 || n >= size)
			continue;
		memcpy(path, list, n);
		path[n] = '\0';
		if (access(path, R_OK) == 0)
			return true;
	}
	return home != NULL &&
	    (size_t)snprintf(path, size, "%s/.kube/config", home) < size &&
	    access(path, R_OK) == 0;
}

/* The element of that name in a list of {name: ..., <what>: {...}}. */
static const struct tree *
named(const struct tree *root, const char *list, const char *name,
    const char *what)
{
	const struct tree *all = tree_get(root, list);
	uint32_t i;

	for (i = 0; name != NULL && i < tree_count(all); i++) {
		const struct tree *t = tree_child(all, i);

		if (strcmp(tree_path_text(t, "name", ""), name) == 0)
			return tree_get(t, what);
	}
	return NULL;
}

/* Values are taken as they are; a file's name becomes what is in it. */
static void
take(struct tree *out, const struct tree *from, const char *dir,
    const char *const *keys)
{
	char path[PATH_SIZE];
	const struct tree *t;
	size_t len;
	char *text;

	for (; *keys != NULL; keys++)
		if ((t = tree_get(from, *keys)) != NULL)
			(void)tree_set(out, *keys, tree_copy(t));
	for (keys++; *keys != NULL; keys++) {
		const char *file = tree_path_text(from, *keys, NULL);

		if (file == NULL)
			continue;
		snprintf(path, sizeof(path), "%s%s", file[0] == '/' ? "" : dir,
		    file);
		if (strcmp(*keys, "tokenFile") == 0) { /* it is rotated */
			(void)tree_set(out, *keys, tree_text(path));
			continue;
		}
		if ((text = read_file(path, &len)) == NULL)
			log_warn("kubeconfig: %s cannot be read", path);
		else
			(void)tree_set(out, *keys, tree_text(text));
		if (text != NULL)
			wipe(text, len);
		free(text);
	}
}

static struct tree *
context(const struct tree *root, const char *name, const char *path)
{
	static const char *const cluster_keys[] = { "server",
		"certificate-authority-data", "insecure-skip-tls-verify", NULL,
		"certificate-authority", NULL };
	static const char *const user_keys[] = { "client-certificate-data",
		"client-key-data", "token", "username", "password", NULL,
		"client-certificate", "client-key", "tokenFile", NULL };
	const struct tree *chosen = named(root, "contexts", name, "context");
	const char *slash = strrchr(path, '/');
	struct tree *out;
	char dir[PATH_SIZE];

	if (chosen == NULL) {
		log_error("kubeconfig %s has no context \"%s\"", path, name);
		return NULL;
	}
	snprintf(dir, sizeof(dir), "%.*s",
	    slash == NULL ? 0 : (int)(slash + 1 - path), path);
	if ((out = tree_map()) == NULL)
		return NULL;
	take(out,
	    named(root, "clusters", tree_path_text(chosen, "cluster", NULL),
		"cluster"),
	    dir, cluster_keys);
	take(out,
	    named(root, "users", tree_path_text(chosen, "user", NULL), "user"),
	    dir, user_keys);
	return out;
}

struct tree *
conf_kubeconfig(const struct tree *root)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const struct tree *section = tree_get(root, "kubernetes");
	char path[PATH_SIZE], err[TEXT_SIZE], *text;
	struct tree *document, *out = NULL;
	size_t len;

	if (section == NULL || (host != NULL && host[0] != '\0') ||
	    !find_file(path, sizeof(path)) ||
	    (text = read_file(path, &len)) == NULL)
		return NULL;
	document = conf_yaml_parse(text, len, 0, err, sizeof(err));
	wipe(text, len);
	free(text);
	if (document == NULL)
		log_error("kubeconfig %s: %s", path, err);
	else
		out = context(document,
		    tree_path_text(section, "context", "kind-kind"), path);
	tree_free_wiped(document);
	return out;
}
