/*
 * module.c: see module.h.
 */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "../ipc/log.h"
#include "../ipc/types.h"
#include "module.h"

void
module_path(char *path, size_t size, const char *file)
{
	char *slash = NULL;
	ssize_t n = readlink("/proc/self/exe", path, size);

	if (n > 0 && (size_t)n < size) {
		path[n] = '\0';
		slash = strrchr(path, '/');
	}
	if (slash != NULL &&
	    text_set(slash + 1, size - (size_t)(slash + 1 - path), file) &&
	    access(path, R_OK) == 0)
		return;
	if (!text_set(path, size, LIBEXECDIR "/") ||
	    !text_set(path + strlen(path), size - strlen(path), file))
		path[0] = '\0';
}

const void *
module_load(const char *file, const char *symbol)
{
	char path[PATH_SIZE];
	void *module, *found;

	module_path(path, sizeof(path), file);
	if ((module = dlopen(path, RTLD_NOW | RTLD_LOCAL)) == NULL) {
		log_error("TLS is not available: %s", dlerror());
		return NULL;
	}
	if ((found = dlsym(module, symbol)) == NULL) {
		log_error("TLS is not available: %s", dlerror());
		(void)dlclose(module);
	}
	return found;
}
