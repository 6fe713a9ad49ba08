/*
 * rest.h: requests of patronictl to members' REST APIs (patronictl.md 6).
 */
#ifndef CTL_REST_H
#define CTL_REST_H

#include "ctl.h"

struct rest_answer {
	long status; /* 0: no answer, text says why */
	char *body;  /* NUL-terminated, "" when none; freed by rest_free */
	size_t len;
	char text[TEXT_SIZE];
};

/*
 * A request to a member, waited for as long as it takes.  path NULL: to its
 * api_url as it stands; else that path on the same server.  body NULL: none.
 * A connection that cannot be made is tried again as 6.2 says.
 */
void rest_call(struct ctl *, struct store *, const struct view_member *,
    const char *method, const char *path, const struct tree *body,
    struct rest_answer *);
/* The same for a target, whose member may be missing. */
void rest_target(struct ctl *, struct store *, const struct target *,
    const char *method, const char *path, const struct tree *body,
    struct rest_answer *);
/* GET of the member's api_url within so many seconds. */
void rest_get(struct ctl *, struct store *, const struct view_member *,
    int seconds, struct rest_answer *);
void rest_free(struct rest_answer *);

#endif
