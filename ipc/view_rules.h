/*
 * view_rules.h: what a cluster view says, as every reader of it has to
 * understand it: modes of the dynamic configuration, roles and addresses of
 * members.  Plain questions without a clock; the HA rules are helpers/ha.
 * NULL for the view is allowed and says nothing of all that.
 */
#ifndef IPC_VIEW_RULES_H
#define IPC_VIEW_RULES_H

#include "view.h"

enum view_role {
	VIEW_ROLE_LEADER,
	VIEW_ROLE_STANDBY_LEADER,
	VIEW_ROLE_SYNC_STANDBY,
	VIEW_ROLE_QUORUM_STANDBY,
	VIEW_ROLE_REPLICA
};

/* "pause" of the dynamic configuration. */
bool view_paused(const struct view *);
/* Has the section `standby_cluster` (may be NULL) a truthy host, port or
 * restore_command (spec/config.md 4)? */
bool standby_cluster_valid(const struct tree *section);
bool view_standby_cluster(const struct view *);
/* Is synchronous mode on (quorum mode too)?  Never in a standby cluster.
 * *quorum (may be NULL): is it quorum mode. */
bool view_synchronous(const struct view *, bool *quorum);
/* Is the member listed in /sync as a standby (case ignored)? */
bool view_sync_standby(const struct view *, const char *name);
bool view_leads(const struct view *, const struct view_member *);
/* Role as listings show it (spec/patronictl.md, spec/rest-api.md 9). */
enum view_role view_role(const struct view *, const struct view_member *);
/*
 * Host (lower case; of several, the list as it stands) and port (5432 where
 * none is given) of the member's conn_url; false when it has none.
 */
bool view_member_address(
    const struct view_member *, char *host, size_t size, int *port);

#endif
