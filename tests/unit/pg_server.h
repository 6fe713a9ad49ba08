/*
 * pg_server.h: a real PostgreSQL for unit tests of the controller, started in
 * a temporary directory on a Unix socket, run as `postgres` when the test
 * runs as root.  Without server programs the tests are skipped.
 */
#ifndef TESTS_UNIT_PG_SERVER_H
#define TESTS_UNIT_PG_SERVER_H

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PG_BIN "/usr/lib/postgresql/15/bin"

struct pg_server {
	char dir[64];
	char data[96];
	char port[16];
};

/* Become the database owner for good; PostgreSQL refuses root. */
static inline int
pg_become_owner(void)
{
	struct passwd *pw;

	if (geteuid() != 0)
		return 0;
	pw = getpwnam("postgres");
	if (pw == NULL || setgid(pw->pw_gid) == -1 || setuid(pw->pw_uid) == -1)
		return -1;
	return 0;
}

static inline int
pg_server_start(void **state)
{
	static struct pg_server srv;
	char cmd[1024];

	if (access(PG_BIN "/initdb", X_OK) == -1 || pg_become_owner() == -1) {
		fprintf(stderr, "no PostgreSQL server programs: skipped\n");
		exit(0);
	}
	umask(077);
	strcpy(srv.dir, "/tmp/pgunit-XXXXXX");
	if (mkdtemp(srv.dir) == NULL)
		return -1;
	snprintf(srv.data, sizeof srv.data, "%s/data", srv.dir);
	snprintf(srv.port, sizeof srv.port, "%d", 28800 + getpid() % 100);
	snprintf(cmd, sizeof cmd,
	    "cd /tmp && " PG_BIN
	    "/initdb -D %s -U postgres -A trust -N -k >%s/initdb.log 2>&1 && " PG_BIN
	    "/pg_ctl -D %s -w -l %s/log -o '-p %s -k %s -c listen_addresses=127.0.0.1 -c fsync=off' start >/dev/null",
	    srv.data, srv.dir, srv.data, srv.dir, srv.port, srv.dir);
	*state = &srv;
	return system(cmd) == 0 ? 0 : -1;
}

static inline int
pg_server_stop(void **state)
{
	struct pg_server *srv = *state;
	char cmd[512];

	snprintf(cmd, sizeof cmd,
	    "cd /tmp; " PG_BIN
	    "/pg_ctl -D %s -m immediate stop >/dev/null 2>&1; rm -rf %s",
	    srv->data, srv->dir);
	return system(cmd) == -1 ? -1 : 0;
}

#endif
