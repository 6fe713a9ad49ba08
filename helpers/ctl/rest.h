/*
 * rest.h: requests of patronictl to members' REST APIs (patronictl.md 6).
 */
#ifndef CTL_REST_H
#define CTL_REST_H

#include "ctl.h"

struct rest_answer {
	long status;	/* 0: no answer, text says why */
	char *body;	/* NUL-terminated, "" when none; freed by rest_free */
	size_t len;
	char text[TEXT_SIZE];
};

/* GET, waited for; timeout in seconds over all. */
void rest_get(struct ctl *, struct store *, const char *url, int timeout,
    struct rest_answer *);
void rest_free(struct rest_answer *);

#endif
