/*
 * access.h: who may make unsafe requests (spec/rest-api.md 4).
 */
#ifndef REST_ACCESS_H
#define REST_ACCESS_H

#include "../ipc/tree.h"
#include "../ipc/view.h"
#include "httpd.h"

enum verify_client {
	VERIFY_NONE = 0,
	VERIFY_OPTIONAL = 1,
	VERIFY_REQUIRED = 2
};

struct allow {
	int family; /* AF_INET or AF_INET6 */
	uint8_t addr[16];
	uint32_t bits;
};

struct access {
	char *expected; /* whole Authorization header, or NULL */
	struct allow *allow;
	uint32_t nallow;
	bool restricted; /* an allowlist was given, usable or not */
	bool include_members;
	enum verify_client verify_client;
};

/* From the restapi section (may be NULL).  Bad entries are logged and
 * skipped.  False when memory is short; *a is then unusable. */
bool access_load(struct access *a, const struct tree *restapi);
void access_free(struct access *);
/* Host of the member's api_url as written, brackets included; false without. */
bool access_member_host(const struct view_member *, char *, size_t);
/* The check of addresses alone; addresses as below. */
bool access_address_allowed(const struct access *,
    const struct sockaddr_storage *peer, const struct view *,
    const struct tree *addresses);
/*
 * 0 when the request may go on, else the status; *text and *headers (may be
 * NULL) are then the answer.  view: cached view or NULL.  addresses:
 * members' host names, each with the list of its addresses, or NULL.
 * failsafe: members are not let in by themselves.
 */
int access_check(const struct access *, const struct httpd_request *,
    const struct view *view, const struct tree *addresses, bool failsafe,
    const char **text, const char **headers);

/* Exposed for tests: "10.0.0.0/8", "::1", dotted masks. */
bool allow_parse(const char *, struct allow *);
bool allow_match(const struct allow *, const struct sockaddr_storage *);

#endif
