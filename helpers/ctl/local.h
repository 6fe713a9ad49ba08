/*
 * local.h: the daemon of this node, over its control socket (design 10).
 */
#ifndef CTL_LOCAL_H
#define CTL_LOCAL_H

#include "ctl.h"

/* An empty query of that kind. */
void local_query(struct msg_ctl_query *, enum ctl_query_kind);
/* One query with its variable part (or NULL), one answer; the reply is copied,
 * the tree (or NULL) is the caller's.  Exits when there is no daemon or no
 * answer in time. */
struct tree *local_ask(const struct ctl *, const struct parsed *,
    const struct msg_ctl_query *, const struct tree *var, int seconds,
    struct msg_ctl_reply *);

/* local_act.c: actions on this node; exit codes. */
int local_restart(struct ctl *, const struct parsed *);
int local_reinit(struct ctl *, const struct parsed *);
int local_switchover(struct ctl *, const struct parsed *, bool failover);
int local_flush(struct ctl *, const struct parsed *);

#endif
