/*
 * files.c: certificates and keys for the processes on the network.
 *
 * rest sees no file system, and dcs runs as a user who need not be able to
 * read a private key.  So the master opens the files and passes them as
 * descriptors, at every start of a helper and at every reload.
 *
 * A master that has given up root cannot open a file of root's again.  What
 * only root may read is therefore kept open from the start; a reload then
 * finds the file as it was, unless it was written in place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master.h"

/* Keys of the store's section, then those of calls to other members. */
static const char *const store_keys[] = { "cacert", "ca_cert", "cert", "key" };
static const char *const peer_keys[] = { "ctl.cacert", "ctl.certfile",
	"ctl.keyfile", "restapi.cafile" };
static const struct {
	enum descriptor_kind kind;
	const char *key;
} rest_keys[] = {
	{ DESCRIPTOR_TLS_CERT, "restapi.certfile" },
	{ DESCRIPTOR_TLS_KEY, "restapi.keyfile" },
	{ DESCRIPTOR_TLS_CA, "restapi.cafile" },
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int
open_path(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static struct kept_file *
kept(struct master *m, const char *path)
{
	uint32_t i;

	for (i = 0; i < m->nkept; i++)
		if (strcmp(m->kept[i].path, path) == 0)
			return &m->kept[i];
	return NULL;
}

/* Descriptor (the caller's) or -1 with errno. */
static int
open_file(struct master *m, const char *path)
{
	struct kept_file *k;
	int fd, error;

	if ((fd = open_path(path)) != -1)
		return fd;
	error = errno;
	if ((error == EACCES || error == EPERM) &&
	    (k = kept(m, path)) != NULL) {
		log_info("%s can be read by root only: the file that was "
			 "opened at the start is used",
		    path);
		return fcntl(k->fd, F_DUPFD_CLOEXEC, 3);
	}
	errno = error;
	return -1;
}

static void
send(struct master *m, enum proc to, enum descriptor_kind kind,
    const char *path, int fd, int error)
{
	struct msg_descriptor msg;

	memset(&msg, 0, sizeof(msg));
	msg.kind = kind;
	msg.error = error;
	(void)text_set(msg.what, sizeof(msg.what), path);
	(void)supervise_send(m, to, MSG_DESCRIPTOR, 0, 0, 0, &msg, NULL, 0, fd);
	if (fd != -1)
		close(fd);
}

/* One that cannot be opened here is left to dcs, which says what is wrong. */
static void
send_dcs(struct master *m, const char *path)
{
	int fd;

	if (path[0] == '\0' || strlen(path) >= PATH_SIZE)
		return;
	if ((fd = open_file(m, path)) != -1)
		send(m, PROC_DCS, DESCRIPTOR_FILE, path, fd, 0);
}

static const char *
store_path(const struct master *m, const char *key)
{
	const char *store = conf_store(m->conf);

	if (store == NULL)
		return "";
	return tree_path_text(tree_get(m->conf->effective, store), key, "");
}

void
files_send(struct master *m, enum proc to)
{
	const struct tree *conf = m->conf->effective;
	const char *path;
	size_t i;
	int fd;

	for (i = 0; to == PROC_REST && i < COUNT(rest_keys); i++) {
		path = tree_path_text(conf, rest_keys[i].key, "");
		if (path[0] == '\0')
			continue;
		fd = open_file(m, path);
		send(m, to, rest_keys[i].kind, path, fd, fd == -1 ? errno : 0);
	}
	if (to != PROC_DCS)
		return;
	for (i = 0; i < COUNT(store_keys); i++)
		send_dcs(m, store_path(m, store_keys[i]));
	for (i = 0; i < COUNT(peer_keys); i++)
		send_dcs(m, tree_path_text(conf, peer_keys[i], ""));
}

static void
keep(struct master *m, const char *path)
{
	struct kept_file *k;
	int fd;

	if (path[0] == '\0' || m->nkept == MAX_KEPT || kept(m, path) != NULL)
		return;
	k = &m->kept[m->nkept];
	if (!text_set(k->path, sizeof(k->path), path) ||
	    (fd = open_path(path)) == -1)
		return;
	k->fd = fd;
	m->nkept++;
}

void
files_keep(struct master *m)
{
	const struct tree *conf = m->conf->effective;
	size_t i;

	if (!m->accounts.switching)
		return;
	for (i = 0; i < COUNT(rest_keys); i++)
		keep(m, tree_path_text(conf, rest_keys[i].key, ""));
	for (i = 0; i < COUNT(store_keys); i++)
		keep(m, store_path(m, store_keys[i]));
	for (i = 0; i < COUNT(peer_keys); i++)
		keep(m, tree_path_text(conf, peer_keys[i], ""));
}

void
files_close(struct master *m)
{
	while (m->nkept > 0)
		close(m->kept[--m->nkept].fd);
}
