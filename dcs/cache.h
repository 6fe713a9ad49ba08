/*
 * cache.h: the keys of the cluster as a driver's watch last saw them.
 *
 * Shared by the drivers with DCS_CAP_WATCH: it knows which change wakes the
 * HA loop (spec/dcs.md 7.6, 4.5) and answers loads.  It does not know where
 * changes come from.  A deleted key leaves a mark with the token of the
 * deletion, so that a late event of an older state cannot bring it back.
 */
#ifndef DCS_CACHE_H
#define DCS_CACHE_H

#include <sys/queue.h>

#include "driver.h"

struct cache_entry {
	TAILQ_ENTRY(cache_entry) entry;
	char *path; /* relative to the base path */
	enum dcs_key key;
	const char *member; /* inside path, or NULL */
	char *value;
	size_t len;
	int64_t token;
	int64_t modify;
	char session[WORD_SIZE]; /* "" = bound to none */
	bool deleted;		 /* remembers the token of a delete */
};

TAILQ_HEAD(cache_list, cache_entry);

struct cache {
	struct dcs *dcs;
	struct cache_list list;
	uint32_t n;
	bool broken; /* memory ran out: rather no cache than a wrong one */
};

void cache_init(struct cache *, struct dcs *);
void cache_clear(struct cache *);
/* The key as stored, or NULL. */
const struct cache_entry *cache_find(const struct cache *, const char *path);
/*
 * One change, if it is newer than what is known: value NULL = deleted.
 * modify 0 = the token.  Adds to the mask of keys, and the reason to wake if
 * it weighs more than *wake.
 */
void cache_change(struct cache *, const char *path, const char *value,
    size_t len, const char *session, int64_t token, int64_t modify,
    uint32_t *keys, uint32_t *wake);
/* The same for what this client wrote itself: tells the core at once, without
 * waking anybody. */
void cache_own(struct cache *, const char *path, const char *value, size_t len,
    const char *session, int64_t token);
/*
 * Make the cache what the store holds: begin, cache_fill() of every key, end.
 * The end says what differs from before.  False: memory ran out or too many
 * keys; the cache is then empty.
 */
void cache_fill_begin(struct cache *, struct cache_list *old);
void cache_fill(struct cache *, const char *path, const char *value, size_t len,
    const char *session, int64_t token, int64_t modify);
bool cache_fill_end(
    struct cache *, struct cache_list *old, uint32_t *keys, uint32_t *wake);
/* End a load with what is there. */
void cache_answer(struct cache *, struct dcs_call *);

#endif
