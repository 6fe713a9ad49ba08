/*
 * httpd_report.c: what is logged of clients that break the rules: one line
 * for all that happened in ten seconds, so that no client can fill the log.
 */
#include <inttypes.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "httpd_conn.h"

#define REPORT_NS (10 * NS_PER_SEC)
#define RATE_LINES 10

/* True while something is still to be reported. */
bool
httpd_report(struct httpd_server *s)
{
	const struct httpd_stats *n = &s->stats, *o = &s->reported;
	bool news = n->refused != o->refused || n->slow != o->slow ||
	    n->errors != o->errors || n->handshakes != o->handshakes;

	if (!news)
		return false;
	if (s->reported_ns != 0 && s->now - s->reported_ns < REPORT_NS)
		return true;
	log_warn("REST API: since the last report %" PRIu64 " malformed "
		 "requests, %" PRIu64 " failed TLS handshakes, %" PRIu64
		 " clients too slow, %" PRIu64 " refused at a limit",
	    n->errors - o->errors, n->handshakes - o->handshakes,
	    n->slow - o->slow, n->refused - o->refused);
	s->reported = *n;
	s->reported_ns = s->now;
	return false;
}

bool
httpd_log_rate(struct httpd_log_rate *r, int64_t now)
{
	if (r->since_ns == 0 || now - r->since_ns >= REPORT_NS) {
		if (r->lines > RATE_LINES)
			log_error("%u further lines of this kind were left out",
			    r->lines - RATE_LINES);
		r->since_ns = now;
		r->lines = 0;
	}
	return ++r->lines <= RATE_LINES;
}
