/*
 * test_dcs_resolve.c: names to addresses beside the loop: what is found, and
 * name servers that never answer.
 */
#include <sys/wait.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dcs/resolve.h"
#include "ipc/clock.h"
#include "ipc/log.h"
#include "own_ns.h"

#define SKIPPED 77

struct answer {
	bool done, all;
	struct tree *map;
};

static struct event_base *base;

static void
on_answer(const struct tree *map, bool all, void *arg)
{
	struct answer *a = arg;

	assert_false(a->done);
	a->done = true;
	a->all = all;
	a->map = map == NULL ? NULL : tree_copy(map);
}

static struct tree *
names(const char *const *n)
{
	struct tree *list = tree_list();

	for (; *n != NULL; n++)
		tree_append(list, tree_text(*n));
	return list;
}

static bool
has(const struct tree *map, const char *name, const char *address)
{
	const struct tree *list = tree_get(map, name);

	for (uint32_t i = 0; i < tree_count(list); i++)
		if (strcmp(tree_child(list, i)->u.s, address) == 0)
			return true;
	return false;
}

static void
test_found(void **state)
{
	static const char *const some[] = { "localhost", "10.1.2.3", "::1",
		"no.such.name.invalid", "", NULL };
	struct resolver *r = resolver_new(base);
	struct tree *list = names(some);
	struct answer a = { 0 };

	(void)state;
	tree_append(list, tree_int(5));
	assert_true(resolver_start(
	    r, list, clock_boot_ns() + 20 * NS_PER_SEC, on_answer, &a));
	assert_false(a.done);
	tree_free(list);
	while (!a.done)
		event_base_loop(base, EVLOOP_ONCE);
	assert_false(a.all);
	assert_true(has(a.map, "localhost", "127.0.0.1") ||
	    has(a.map, "localhost", "::1"));
	assert_true(has(a.map, "10.1.2.3", "10.1.2.3"));
	assert_true(has(a.map, "::1", "::1"));
	assert_int_equal(tree_count(a.map), 3);
	tree_free(a.map);
	/* freed with a lookup on the way: no callback, nothing left */
	list = names(some);
	memset(&a, 0, sizeof(a));
	assert_true(resolver_start(
	    r, list, clock_boot_ns() + 20 * NS_PER_SEC, on_answer, &a));
	tree_free(list);
	resolver_free(r);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_false(a.done);
	while (resolver_threads() > 0)
		usleep(1000);
}

/* A name server that takes every question and answers none. */
static int
silent_server(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(53),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == -1)
		return SKIPPED;
	return write_text("/etc/resolv.conf", "nameserver 127.0.0.1\n") ?
	    0 :
	    SKIPPED;
}

static int
hang(void)
{
	static const char *const one[] = { "db1.example", NULL };
	struct resolver *r;
	struct tree *list;
	struct answer a[RESOLVER_THREADS] = { 0 }, more = { 0 };
	int64_t start;
	int i;

	if (!own_ns() || silent_server() != 0)
		return SKIPPED;
	base = event_base_new();
	r = resolver_new(base);
	list = names(one);
	start = clock_boot_ns();
	for (i = 0; i < RESOLVER_THREADS; i++)
		if (!resolver_start(
			r, list, start + 200 * NS_PER_MS, on_answer, &a[i]))
			return 1;
	/* no thread is left for more */
	if (resolver_start(r, list, start + NS_PER_SEC, on_answer, &more))
		return 2;
	for (i = 0; i < RESOLVER_THREADS; i++)
		while (!a[i].done)
			event_base_loop(base, EVLOOP_ONCE);
	if (clock_boot_ns() - start > 4 * NS_PER_SEC)
		return 3;
	for (i = 0; i < RESOLVER_THREADS; i++)
		if (a[i].map != NULL || a[i].all)
			return 4;
	resolver_free(r);
	tree_free(list);
	return more.done ? 5 : 0;
}

static void
test_silent_name_server(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if ((pid = fork()) == 0)
		_exit(hang());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_name_server),
		cmocka_unit_test(test_found),
	};
	int failed;

	log_configure(&(struct log_settings){ .level = 100 });
	base = event_base_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	return failed;
}
