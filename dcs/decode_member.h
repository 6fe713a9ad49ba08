/*
 * decode_member.h: one member document -> struct view_member.
 */
#ifndef DCS_DECODE_MEMBER_H
#define DCS_DECODE_MEMBER_H

#include "driver.h"

/* False (and a warning) when a text does not fit its field; then the member
 * is left out.  On true the trees belong to the view. */
bool decode_member(const struct dcs_kv *, struct view_member *);

#endif
