/*
 * probe.h: looks at the world for --validate-config and the generator:
 * addresses, directories, programs.  May block, each step within a few
 * seconds; never used by a running daemon.
 */
#ifndef CONF_PROBE_H
#define CONF_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROBE_MS 3000 /* deadline of one connect */

/* 1 connected, 0 refused or timed out, -1 the name does not resolve (why is
 * set, static text).  Host "*": this machine. */
int probe_connect(const char *host, int port, const char **why);
bool probe_is_dir(const char *path);
bool probe_exists(const char *path);
/* Absent, or nothing in it but dot-files and lost+found. */
bool probe_dir_empty(const char *path);
/* Full path of an executable in dir, or in $PATH when dir is "". */
bool probe_program(const char *dir, const char *name, char *path, size_t size);
/* Run argv[0] (a path) and catch the first bytes of its output; the exit
 * status, or -1 when it could not run or took longer than `ms`. */
int probe_run(char *const argv[], int ms, char *out, size_t size);
/* "15" or "9.6" of `postgres --version`; false when it cannot be had. */
bool probe_postgres_version(const char *program, char *out, size_t size);

#endif
