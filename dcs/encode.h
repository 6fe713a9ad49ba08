/*
 * encode.h: the documents that this node writes (spec/dcs.md 2.6 to 2.11):
 * compact JSON, fields in the order of 2.12.  All functions return allocated
 * text or NULL when memory is short (or the tree cannot be written).
 */
#ifndef DCS_ENCODE_H
#define DCS_ENCODE_H

#include "../ipc/messages.h"

/* doc: map {tags, pending_restart_reason, scheduled_restart} or NULL. */
char *encode_member(const struct msg_dcs_touch *, const struct tree *doc);
/*
 * doc: map {slots, retain_slots}; a key that is not there takes the value of
 * `last` (the last known status, may be NULL), a null drops the field.
 */
char *encode_status(
    uint64_t optime, const struct tree *doc, const struct view *last);
/* voters: list of names, NULL = none; they are sorted here. */
char *encode_sync(
    const char *leader, uint32_t quorum, const struct tree *voters);
char *encode_failover(const struct msg_dcs_failover *);
/* Any tree: history lines, failsafe. */
char *encode_tree(const struct tree *);
/* spec/dcs.md 2.2: are two documents the same to a reader?  An absent and an
 * empty "retain_slots" are (2.7 rule 2). */
bool documents_equal(const char *a, size_t alen, const char *b, size_t blen);

#endif
