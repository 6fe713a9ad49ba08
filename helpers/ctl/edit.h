/*
 * edit.h: changes to a configuration tree (patronictl.md 12.2, 12.3), and the
 * operator's editor and pager (12.4, 12.5).
 */
#ifndef CTL_EDIT_H
#define CTL_EDIT_H

#include "ctl.h"

/* KEY=VALUE of -s, or of -p (pg).  Exits on a syntax error. */
void edit_set(struct tree *config, const char *setting, bool pg);
/* The mapping in a file, "-" = stdin.  Exits when it is none. */
struct tree *edit_read(const char *path);
/* The mapping in a text; what: for the message.  Exits when it is none. */
struct tree *edit_parse(const char *text, size_t len, const char *what);
/* The whole tree as YAML; the caller frees it. */
char *edit_text(const struct tree *);
/* Equal as Python compares: 1, 1.0 and true are the same. */
bool edit_equal(const struct tree *, const struct tree *);

/* editor.c: the text after the operator edited it; the caller frees it. */
char *editor_run(const char *cluster, const char *text);
/* Show a text with the pager; exits when there is none. */
void pager_show(const char *text);

#endif
