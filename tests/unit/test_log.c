/*
 * test_log.c: what a log line looks like (ipc/log.c), and what the `log`
 * section makes of it (master/conf/logging.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../helpers/json.h"
#include "../../master/conf/internal.h"

static int saved, pipe_fd[2];

static int catch (void **state)
{
	(void)state;
	fflush(stderr);
	saved = dup(2);
	if (saved == -1 || pipe(pipe_fd) == -1)
		return -1;
	return dup2(pipe_fd[1], 2) == -1 ? -1 : 0;
}

static int
release(void **state)
{
	(void)state;
	dup2(saved, 2);
	close(saved);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	log_configure(&(struct log_settings){ .level = 100 });
	return 0;
}

/* The line that was written; valid until the next call. */
static const char *
line(void)
{
	static char text[8192];
	ssize_t n = read(pipe_fd[0], text, sizeof(text) - 1);

	assert_true(n > 0);
	text[n] = '\0';
	assert_int_equal(text[n - 1], '\n');
	text[n - 1] = '\0';
	assert_null(strchr(text, '\n'));
	return text;
}

static struct tree *
json_line(void)
{
	const char *text = line();
	char why[TEXT_SIZE];
	struct tree *t = tree_from_json(text, strlen(text), why, sizeof(why));

	if (t == NULL)
		fail_msg("%s: %s", why, text);
	return t;
}

/* Of the `log` section given as YAML, for one process. */
static void
settings(const char *yaml, enum proc proc, struct log_settings *s)
{
	char err[TEXT_SIZE];
	struct conf conf = { 0 };

	conf.effective =
	    conf_yaml_parse(yaml, strlen(yaml), 0, err, sizeof(err));
	assert_non_null(conf.effective);
	conf_log_settings(&conf, proc, s);
	tree_free(conf.effective);
}

static void
configure(const char *yaml)
{
	struct log_settings s;

	settings(yaml, PROC_MASTER, &s);
	log_configure(&s);
}

static void
test_default(void **state)
{
	unsigned y, mo, d, h, mi, sec, ms;
	int n = 0;

	(void)state;
	configure("log: {}\n");
	log_debug("not shown");
	log_info("one\ntwo");
	assert_int_equal(
	    sscanf(line(), "%4u-%2u-%2u %2u:%2u:%2u,%3u INFO: one two%n", &y,
		&mo, &d, &h, &mi, &sec, &ms, &n),
	    7);
	assert_true(n > 0);
}

static void
test_dateformat(void **state)
{
	(void)state;
	configure("log: {dateformat: 'day', level: DEBUG}\n");
	log_debug("x");
	assert_string_equal(line(), "day DEBUG: x");
	configure("log: {format: '%(levelname)-8s|%(name)s|%(message)s'}\n");
	log_warn("100%%");
	assert_string_equal(line(), "WARNING|patroni|100%");
}

static void
test_json(void **state)
{
	struct tree *t;

	(void)state;
	configure("log: {type: json}\n");
	log_rule(LOG_LVL_INFO, "some.rule", "say \"%s\"", "so");
	t = json_line();
	assert_string_equal(tree_path_text(t, "message", ""), "say \"so\"");
	assert_string_equal(tree_path_text(t, "levelname", ""), "INFO");
	assert_string_equal(tree_path_text(t, "rule", ""), "some.rule");
	assert_non_null(tree_get(t, "asctime"));
	tree_free(t);
}

static void
test_json_fields(void **state)
{
	struct tree *t;

	(void)state;
	configure(
	    "log:\n  type: json\n  dateformat: 'a\"b'\n"
	    "  format: [asctime, {levelname: severity}, message, lineno]\n"
	    "  static_fields: {node: n1, rank: 3, ok: true}\n");
	log_error("broken");
	t = json_line();
	assert_int_equal(tree_count(t), 7);
	assert_string_equal(tree_path_text(t, "severity", ""), "ERROR");
	assert_string_equal(tree_path_text(t, "asctime", ""), "a\"b");
	assert_string_equal(tree_path_text(t, "message", ""), "broken");
	assert_int_equal(tree_get(t, "lineno")->type, TREE_NULL);
	assert_string_equal(tree_path_text(t, "node", ""), "n1");
	assert_int_equal(tree_path_int(t, "rank", 0), 3);
	assert_true(tree_path_bool(t, "ok", false));
	tree_free(t);
	/* a pattern names the fields as well */
	configure("log: {type: json, format: '%(levelname)s - %(message)s'}\n");
	log_info("x");
	t = json_line();
	assert_int_equal(tree_count(t), 2);
	assert_string_equal(tree_path_text(t, "levelname", ""), "INFO");
	tree_free(t);
}

/* Cut, it still is an object, at whatever character the room ends. */
static void
test_json_long(void **state)
{
	static const char *const yaml[] = {
		"log: {type: json}\n",
		"log: {type: json, static_fields: {a: b}}\n",
		"log: {type: json, format: [message], static_fields: {a: b}}\n",
	};
	char text[4000];
	struct tree *t;
	size_t i, shift;

	(void)state;
	for (i = 0; i < 3; i++)
		for (shift = 0; shift < 8; shift++) {
			configure(yaml[i]);
			memset(text, '"', sizeof(text));
			memset(text, 'x', shift);
			text[sizeof(text) - 1] = '\0';
			log_info("%s", text);
			t = json_line();
			assert_true(
			    strlen(tree_path_text(t, "message", "")) > 1000);
			assert_int_equal(tree_count(t), i == 2 ? 2 : 4 + i);
			if (i > 0)
				assert_string_equal(
				    tree_path_text(t, "a", ""), "b");
			tree_free(t);
		}
}

static int32_t
level(const char *yaml, enum proc proc)
{
	struct log_settings s;

	settings(yaml, proc, &s);
	return s.level;
}

static void
test_loggers(void **state)
{
	const char *some = "log:\n  level: WARNING\n  loggers:\n"
			   "    patroni.dcs: DEBUG\n    patroni.ha: error\n"
			   "    patroni.postgresql.slots: DEBUG\n"
			   "    urllib3: DEBUG\n    patroni.api: 25\n";
	const char *all = "log:\n  loggers: {patroni: ERROR, patroni.ha: INFO,"
			  " patroni.postgresql: DEBUG, patro: DEBUG}\n";

	(void)state;
	assert_int_equal(level(some, PROC_DCS), LOG_LVL_DEBUG);
	assert_int_equal(level(some, PROC_REST), 25);
	assert_int_equal(level(some, PROC_POSTGRES), LOG_LVL_ERROR);
	assert_int_equal(level(some, PROC_WATCHDOG), LOG_LVL_WARNING);
	assert_int_equal(level(some, PROC_MASTER), LOG_LVL_WARNING);
	assert_int_equal(level(all, PROC_MASTER), LOG_LVL_ERROR);
	assert_int_equal(level(all, PROC_DCS), LOG_LVL_ERROR);
	assert_int_equal(level(all, PROC_POSTGRES), LOG_LVL_DEBUG);
	assert_int_equal(level("log: {level: FATAL}\n", PROC_REST), 50);
	assert_int_equal(level("log: {level: no}\n", PROC_REST), 20);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, catch, release)
	const struct CMUnitTest tests[] = {
		T(test_default),
		T(test_dateformat),
		T(test_json),
		T(test_json_fields),
		T(test_json_long),
		cmocka_unit_test(test_loggers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
