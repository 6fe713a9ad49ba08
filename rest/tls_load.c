/*
 * tls_load.c: gets the module of tls.h.
 */
#include "../helpers/module.h"
#include "../ipc/log.h"
#include "tls.h"

static const struct tls_module *module;

bool
tls_loaded(void)
{
	return module != NULL || &tls_module_openssl != NULL;
}

const struct tls_module *
tls_module(void)
{
	if (module == NULL && &tls_module_openssl != NULL)
		module = &tls_module_openssl;
	if (module == NULL)
		module = module_load(TLS_MODULE, TLS_MODULE_SYMBOL);
	if (module != NULL && module->version != TLS_MODULE_VERSION) {
		log_error("TLS is not available: %s is of another version",
		    TLS_MODULE);
		module = NULL;
	}
	return module;
}
