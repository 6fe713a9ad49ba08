/*
 * action.h: what the unsafe requests share (action*.c).
 */
#ifndef REST_ACTION_H
#define REST_ACTION_H

#include "rest.h"

/* One request that waits for others. */
struct action {
	struct rest *rest;
	struct httpd_request *q; /* NULL: asked over the control socket */
	uint64_t local_id;	 /* then: of that query */
	struct tree *body;	 /* map, never NULL */
	void (*go)(struct action *, const struct view *);
	struct msg_request req;
	/* switchover, failover */
	bool failover;
	char leader[NAME_SIZE], candidate[NAME_SIZE];
	char scheduled_at[WORD_SIZE];
	char owner[NAME_SIZE]; /* lock owner when the request was taken */
	const char *lost;      /* static text for 503 when no answer comes */
	int rounds, rounds_left;
	struct event *timer;
	struct buf merged; /* PATCH, PUT: the answer */
};

/* Answers end an action: they free it. */
void action_text(struct action *, int code, const char *text);
void action_page(struct action *, int code);
void action_free(struct action *);

/*
 * Access, body (spec 3.3) and a new action; NULL when the request has been
 * answered already.
 */
struct action *action_new(
    struct rest *, struct httpd_request *, bool mandatory);
/* The same for a request whose body does not matter. */
struct action *action_bare(struct rest *, struct httpd_request *);
/* Read the store, then go(); 503 when it does not answer. */
void action_live(
    struct action *, void (*go)(struct action *, const struct view *));
/* Send req to postgres and pass its answer on.  lost: text for 503 when no
 * answer comes. */
void action_request(struct action *, const struct tree *var, int64_t within_ns,
    const char *lost);
/* A text member of the body; NULL when absent, null or "".  *bad when it is
 * of another type or longer than size. */
const char *action_member(
    const struct action *, const char *key, size_t size, bool *bad);
/* Tell the HA loop that something was written. */
void action_wake(struct rest *);

/* Let the request's own file go on with an action of the control socket. */
void action_restart_start(struct action *, bool cancel);
void action_switch_start(struct action *, bool cancel);

void action_restart(struct rest *, struct httpd_request *);
void action_restart_delete(struct rest *, struct httpd_request *);
void action_switch(struct rest *, struct httpd_request *, bool failover);
void action_switch_delete(struct rest *, struct httpd_request *);
void action_config(struct rest *, struct httpd_request *, bool patch);

#endif
