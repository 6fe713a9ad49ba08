/*
 * pg_jobs.h: a controller for unit tests of its jobs: configuration, a data
 * directory that only looks like one, and programs that are shell scripts of
 * the test.  They stand for servers of versions that cannot be installed and
 * write down how they were called; the leader is a real server.
 */
#ifndef TESTS_UNIT_PG_JOBS_H
#define TESTS_UNIT_PG_JOBS_H

#include <fcntl.h>

#include "helpers/json.h"
#include "helpers/postgres/job.h"
#include "pg_server.h"

struct stage {
	struct pg_server *srv;
	char dir[64], data[96], bin[96], log[96];
	int log_fd, stderr_fd;
	struct controller c;
	struct ha_job spec;
};

/* Must fit. */
__attribute__((format(printf, 3, 4), noinline)) static void
stage_text(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, size, fmt, ap);
	va_end(ap);
	assert_in_range(n, 0, size - 1);
}

static inline void
stage_write(const char *dir, const char *name, const char *text, mode_t mode)
{
	char path[512];
	FILE *f;

	stage_text(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

/* Text of a file of the stage, "" when it is not there; valid until the next
 * call. */
static inline const char *
stage_read(const struct stage *s, const char *name)
{
	static char text[65536];
	char path[512];
	size_t n;
	FILE *f;

	stage_text(path, sizeof path, "%s/%s", s->dir, name);
	f = fopen(path, "r");
	if (f == NULL)
		return "";
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

/* A program: it appends its arguments, one a line, to <name>.args. */
static inline void
stage_program(const struct stage *s, const char *name, const char *body)
{
	char text[4096];

	stage_text(text, sizeof text,
	    "#!/bin/sh\ncd %s\n{ for a; do printf '%%s\\n' \"$a\"; done; echo --; } >> %s.args\n%s\n",
	    s->dir, name, body);
	stage_write(s->bin, name, text, 0700);
}

/* A member of the cluster that is the real server of the test. */
static inline void
stage_leader(struct stage *s)
{
	struct view_member *m = &s->spec.node;

	s->spec.has_node = true;
	stage_text(m->name, sizeof m->name, "leader");
	stage_text(m->conn_url, sizeof m->conn_url,
	    "postgres://127.0.0.1:%s/postgres", s->srv->port);
	stage_text(m->role, sizeof m->role, "primary");
	stage_text(m->version, sizeof m->version, "4.1.4");
	m->checkpoint_after_promote = CAP_DONE;
	m->has_data = 1;
}

/* A test that failed has not closed its stage: show what was logged. */
static struct stage *stage_opened;

static inline int
stage_teardown(void **state)
{
	struct stage *s = stage_opened;

	(void)state;
	if (s == NULL)
		return 0;
	dup2(s->stderr_fd, 2);
	fprintf(stderr, "%s:\n%s", s->dir, stage_read(s, "log"));
	stage_opened = NULL;
	return 0;
}

#define STAGE_TEST(f) cmocka_unit_test_teardown(f, stage_teardown)

static inline void
stage_gone(void *arg)
{
	struct stage *s = arg;

	job_poke(&s->c);
}

/* version: content of PG_VERSION.  more: JSON merged into the configuration;
 * %s in it is the directory. */
static inline struct stage *
stage_open(void **state, const char *version, const char *more)
{
	static struct stage stage;
	struct stage *s = &stage;
	char text[4096], extra[2048] = "", cmd[1024];
	const char *at;
	struct log_settings ls = { .level = LOG_LVL_DEBUG };
	struct tree *t, *o;
	struct pgerr err;
	char why[128];

	memset(s, 0, sizeof *s);
	s->srv = *state;
	strcpy(s->dir, "/tmp/pgjobs-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	stage_text(s->data, sizeof s->data, "%s/data", s->dir);
	stage_text(s->bin, sizeof s->bin, "%s/bin", s->dir);
	stage_text(s->log, sizeof s->log, "%s/log", s->dir);
	stage_text(cmd, sizeof cmd,
	    "mkdir -p %s %s/global %s/%s/archive_status %s/pg_replslot/old %s/conf",
	    s->bin, s->data, s->data,
	    strchr(version, '.') != NULL ? "pg_xlog" : "pg_wal", s->data,
	    s->dir);
	assert_int_equal(system(cmd), 0);
	stage_write(s->data, "PG_VERSION", version, 0600);
	stage_write(s->data, "postgresql.conf", "# own\n", 0600);
	stage_write(s->data, "pg_replslot/old/state", "x", 0600);
	stage_text(text, sizeof text,
	    "{\"name\":\"n\",\"scope\":\"s\",\"restapi\":{\"listen\":\"127.0.0.1:1\"},"
	    "\"postgresql\":{\"listen\":\"127.0.0.1:1\",\"data_dir\":\"%s\","
	    "\"pgpass\":\"%s/pgpass\",\"bin_dir\":\"%s\",\"authentication\":{"
	    "\"superuser\":{\"username\":\"postgres\",\"password\":\"su\"},"
	    "\"replication\":{\"username\":\"postgres\",\"password\":\"re\"}}}}",
	    s->data, s->dir, s->bin);
	t = tree_from_json(text, strlen(text), why, sizeof why);
	assert_non_null(t);
	if (more != NULL) {
		/* every %s is the directory */
		while ((at = strstr(more, "%s")) != NULL) {
			stage_text(extra + strlen(extra),
			    sizeof extra - strlen(extra), "%.*s%s",
			    (int)(at - more), more, s->dir);
			more = at + 2;
		}
		stage_text(extra + strlen(extra), sizeof extra - strlen(extra),
		    "%s", more);
		o = tree_from_json(extra, strlen(extra), why, sizeof why);
		assert_non_null(o);
		assert_true(tree_patch(t, o, NULL));
		tree_free(o);
	}
	s->c.base = event_base_new();
	s->c.conf = pgconf_build(t, NULL, ROLE_UNINITIALIZED, &err);
	assert_non_null(s->c.conf);
	s->c.local = t;
	s->c.umask = 077;
	s->c.reasons = tree_map();
	s->c.state = STATE_STOPPED;
	s->c.role = ROLE_DEMOTED;
	s->c.callbacks = callbacks_new(&s->c);
	s->c.heartbeat = sql_new(s->c.base, NULL);
	s->c.local_repl = sql_new(s->c.base, NULL);
	s->c.ev_tick = NULL;
	postmaster_init(
	    &s->c.pm, s->c.base, s->data, "postgres", stage_gone, s);
	stage_leader(s);
	log_configure(&ls);
	stage_opened = s;
	fflush(stderr);
	s->stderr_fd = dup(2);
	s->log_fd =
	    open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(s->log_fd, 2);
	return s;
}

static inline bool
stage_logged(const struct stage *s, const char *text)
{
	return strstr(stage_read(s, "log"), text) != NULL;
}

/* Run one job to its end; its result. */
static inline enum ha_job_result
stage_run(struct stage *s, enum ha_job_kind kind)
{
	int64_t limit = clock_boot_ns() + 60 * NS_PER_SEC;
	const char *p, *last = NULL;

	s->spec.kind = kind;
	job_submit(&s->c, 0, &s->spec);
	while ((s->c.job != NULL || s->c.job_queue != NULL) &&
	    clock_boot_ns() < limit) {
		struct timeval tv = { 0, 20000 };

		event_base_loopexit(s->c.base, &tv);
		event_base_dispatch(s->c.base);
	}
	for (p = stage_read(s, "log"); (p = strstr(p, " ended: ")) != NULL;
	     p += 8)
		last = p + 8;
	if (last == NULL)
		fail_msg("the job did not end");
	return (enum ha_job_result)atoi(last);
}

static inline void
stage_close(struct stage *s)
{
	char cmd[128];

	stage_opened = NULL;
	dup2(s->stderr_fd, 2);
	close(s->stderr_fd);
	close(s->log_fd);
	if (getenv("SHOW") != NULL)
		fprintf(stderr, "%s", stage_read(s, "log"));
	sql_free(s->c.heartbeat);
	sql_free(s->c.local_repl);
	postmaster_free(&s->c.pm);
	pgconf_free(s->c.conf);
	pgconf_free(s->c.previous);
	tree_free(s->c.local);
	tree_free(s->c.reasons);
	tree_free(s->c.params);
	tree_free(s->c.recovery);
	free(s->c.callbacks);
	event_base_free(s->c.base);
	stage_text(cmd, sizeof cmd, "rm -rf %s", s->dir);
	assert_int_equal(system(cmd), 0);
}

#endif
