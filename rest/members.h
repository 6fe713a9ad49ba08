/*
 * members.h: addresses of members whose api_url holds a host name, for
 * restapi.allowlist_include_members (spec/rest-api.md 4).
 *
 * This process cannot resolve; dcs does.  What it found is kept, and asked
 * for again when a member has a new name or when a client that wants
 * something unsafe is not among the known addresses.
 */
#ifndef REST_MEMBERS_H
#define REST_MEMBERS_H

#include "rest.h"

/*
 * Look names up before this request is judged?  True: handle() will run when
 * the answer came, or did not in time.  False: nothing to wait for.
 */
bool members_wait(struct rest *, struct httpd_request *,
    void (*handle)(struct rest *, struct httpd_request *));
void members_free(struct rest *);

#endif
