/*
 * ha_names.h: small sets of member names, compared without case and kept in
 * code point order (spec/ha.md 13, 14), and synchronous_standby_names.
 */
#ifndef HELPERS_HA_HA_NAMES_H
#define HELPERS_HA_HA_NAMES_H

#include "../../ipc/types.h"

/* Most hold two or three: copy them with names_copy(), not by assignment. */
struct names {
	uint32_t n;
	char v[MAX_MEMBERS][NAME_SIZE];
};

void names_copy(struct names *to, const struct names *from);
bool names_has(const struct names *, const char *);
void names_add(struct names *, const char *);
void names_remove(struct names *, const char *);
void names_union(struct names *, const struct names *);	    /* a |= b */
void names_minus(struct names *, const struct names *);	    /* a -= b */
void names_intersect(struct names *, const struct names *); /* a &= b */
bool names_equal(const struct names *, const struct names *);
bool names_subset(const struct names *, const struct names *); /* a <= b */
bool names_disjoint(const struct names *, const struct names *);
/* "a, b" */
void names_text(
    const struct names *, const char *separator, char *buf, size_t size);

enum ssn_type { SSN_OFF = 0, SSN_PRIORITY, SSN_QUORUM };

struct ssn {
	enum ssn_type type;
	uint32_t n; /* how many have to confirm */
	bool star;  /* held a `*` */
	bool bad;   /* could not be parsed, treated as off */
	struct names names;
};

/* spec 13.2 */
void ssn_parse(const char *, struct ssn *);
/* Value for these names, "" = unset; n < 0: all of them. */
void ssn_build(const struct names *, int64_t n, bool quorum,
    uint32_t server_version, char *buf, size_t size);

#endif
