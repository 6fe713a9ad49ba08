/*
 * main.c: patroni-dcs, the DCS client (design 6).
 */
#include "../ipc/log.h"
#include "serve.h"

int
main(int argc, char **argv)
{
	struct serve *s;
	struct helper *h;
	int code;

	log_init("dcs");
	if ((s = serve_new()) == NULL)
		fatal("out of memory");
	h = helper_start(PROC_DCS, &serve_ops, s, argc, argv);
	code = helper_run(h);
	serve_free(s);
	return code;
}
