/*
 * editor.c: the operator's editor and pager as child programs
 * (patronictl.md 12.4, 12.5).  Their terminal, their Ctrl-C.
 */
#include <sys/random.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edit.h"

#define MAX_WORDS 32

/* Is it an executable in PATH (or a path of its own)? */
static bool
found(const char *name)
{
	const char *path = getenv("PATH"), *p, *end;
	char full[PATH_MAX];

	if (strchr(name, '/') != NULL)
		return access(name, X_OK) == 0;
	for (p = path != NULL ? path : "/usr/bin:/bin";; p = end + 1) {
		end = strchrnul(p, ':');
		if (snprintf(full, sizeof(full), "%.*s/%s", (int)(end - p), p,
			name) < (int)sizeof(full) &&
		    access(full, X_OK) == 0)
			return true;
		if (*end == '\0')
			return false;
	}
}

static const char *
environment(const char *name)
{
	const char *v = getenv(name);

	return v != NULL && v[0] != '\0' ? v : NULL;
}

static pid_t
spawn(char *const *argv, int in)
{
	pid_t pid;

	(void)fflush(stdout);
	if ((pid = fork()) != 0)
		return pid;
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGPIPE, SIG_DFL);
	if (in != -1 && dup2(in, STDIN_FILENO) == -1)
		_exit(127);
	execvp(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int
wait_child(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			return 1;
	return WIFEXITED(status) ?
	    WEXITSTATUS(status) :
	    -(WIFSIGNALED(status) ? WTERMSIG(status) : 1);
}

/* ---- the editor ---- */

/* While the file exists, an error must not leave it behind. */
static char file[PATH_MAX];

static void
remove_file(void)
{
	if (file[0] != '\0')
		(void)unlink(file);
	file[0] = '\0';
}

static void
write_file(const char *cluster, const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
	const char *tmp = environment("TMPDIR");
	unsigned char r[2] = { 0, 0 };
	char name[NAME_SIZE], *c;
	size_t len = strlen(text);
	int fd;

	if (!text_set(name, sizeof(name), cluster))
		ctl_error("cluster name too long");
	for (c = name; *c != '\0'; c++)
		if (*c == '/')
			*c = '_';
	if (getrandom(r, sizeof(r), GRND_NONBLOCK) != sizeof(r))
		r[0] = r[1] = 0; /* mkostemps brings its own */
	if (snprintf(file, sizeof(file), "%s/%s-config-%c%cXXXXXX.yaml",
		tmp != NULL ? tmp : "/tmp", name, letters[r[0] & 31],
		letters[r[1] & 31]) >= (int)sizeof(file))
		ctl_error("name of the temporary file too long");
	if ((fd = mkostemps(file, (int)strlen(".yaml"), 0)) == -1) {
		c = strdup(file);
		file[0] = '\0';
		ctl_error("%s: %s", c != NULL ? c : "", strerror(errno));
	}
	(void)atexit(remove_file);
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			ctl_error("%s: %s", file, strerror(errno));
		text += n;
		len -= (size_t)n;
	}
	if (close(fd) == -1)
		ctl_error("%s: %s", file, strerror(errno));
}

static char *
read_file(void)
{
	char *text = malloc(CONF_MAX_FILE + 1);
	FILE *f = fopen(file, "re");
	size_t len;

	if (f == NULL || text == NULL)
		ctl_error("%s: %s", file, strerror(errno));
	len = fread(text, 1, CONF_MAX_FILE + 1, f);
	if (ferror(f))
		ctl_error("%s: %s", file, strerror(errno));
	if (len > CONF_MAX_FILE)
		ctl_error("%s: larger than a configuration may be", file);
	(void)fclose(f);
	text[len] = '\0';
	if (strlen(text) != len)
		ctl_error("%s: not a text", file);
	return text;
}

static const char *
editor_name(void)
{
	const char *name = environment("EDITOR");

	if (name != NULL)
		return name;
	if (found("editor"))
		return "editor";
	if (found("vi"))
		return "vi";
	ctl_error("EDITOR environment variable is not set. editor or vi are "
		  "not available");
}

char *
editor_run(const char *cluster, const char *text)
{
	char *words = strdup(editor_name()), *at = words, *word;
	char *argv[MAX_WORDS + 2];
	void (*old)(int);
	int n = 0, code;
	pid_t pid;

	if (words == NULL)
		ctl_error("out of memory");
	while ((word = strsep(&at, " \t")) != NULL)
		if (word[0] != '\0' && n < MAX_WORDS)
			argv[n++] = word;
	if (n == 0 || !found(argv[0]))
		ctl_error("%s: no such editor", n > 0 ? argv[0] : "EDITOR");
	write_file(cluster, text);
	argv[n++] = file;
	argv[n] = NULL;
	old = signal(SIGINT, SIG_IGN); /* Ctrl-C is for the editor */
	pid = spawn(argv, -1);
	code = pid == -1 ? 1 : wait_child(pid);
	(void)signal(SIGINT, old);
	if (code != 0)
		ctl_error("Editor exited with return code %d", code);
	word = read_file();
	remove_file();
	free(words);
	return word;
}

/* ---- the pager ---- */

static const char *
base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static const char *
pager_name(void)
{
	const char *names[] = { environment("PAGER"), "less", "more" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i] != NULL && found(names[i]))
			return names[i];
	ctl_error(
	    "No pager could be found. Either set PAGER environment "
	    "variable with your pager or install either \"less\" or \"more\" "
	    "in the host.");
}

void
pager_show(const char *text)
{
	char name[PATH_SIZE], options[] = "-FRSX", shift[] = "--shift",
			      one[] = "1";
	char *argv[] = { name, NULL, NULL, NULL, NULL };
	void (*old)(int);
	FILE *f;
	int fd[2];
	pid_t pid;

	if (!text_set(name, sizeof(name), pager_name()))
		ctl_error("name of the pager too long");
	if (strcmp(base(name), "less") == 0 && environment("LESS") == NULL) {
		argv[1] = options;
		argv[2] = shift;
		argv[3] = one;
	}
	if (pipe2(fd, O_CLOEXEC) == -1)
		ctl_error("pipe: %s", strerror(errno));
	old = signal(SIGINT, SIG_IGN);
	if ((pid = spawn(argv, fd[0])) == -1)
		ctl_error("fork: %s", strerror(errno));
	(void)close(fd[0]);
	if ((f = fdopen(fd[1], "w")) == NULL)
		ctl_error("out of memory");
	fputs(text, f);
	(void)fclose(f); /* the operator may have left it early */
	(void)wait_child(pid);
	(void)signal(SIGINT, old);
}
