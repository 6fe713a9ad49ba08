/*
 * diff.h: unified difference of two texts (patronictl.md 12.5).
 */
#ifndef CTL_DIFF_H
#define CTL_DIFF_H

#include <stdbool.h>
#include <stdio.h>

/* Three lines of context, headers without names; nothing when they are equal
 * but for line ends at their ends.  colour: with escape sequences. */
void diff_print(const char *before, const char *after, bool colour, FILE *);

#endif
