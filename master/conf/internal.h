/*
 * internal.h: what the files of the configuration library share.
 */
#ifndef CONF_INTERNAL_H
#define CONF_INTERNAL_H

#include "conf.h"

#define CONF_PATH_SIZE 256

/* Store sections in the order of spec/config.md 1.3 step 5; ends with NULL. */
extern const char *const conf_stores[];	      /* all that may be configured */
extern const char *const conf_built_stores[]; /* of this build */

/* Set a value at a dotted path; missing maps are made, other values in the
 * way replaced.  Takes the value over, also on failure (or NULL value). */
bool conf_set_path(struct tree *root, const char *path, struct tree *value);
/* The chosen context of the kubeconfig as one flat map, the files that it
 * names read; NULL inside a pod, or when there is none. */
struct tree *conf_kubeconfig(const struct tree *root);
/* Remove the value at a dotted path. */
void conf_remove_path(struct tree *root, const char *path);
/* Null, false, 0, "", empty list or map: spec 2.4.3. */
bool conf_falsy(const struct tree *); /* NULL counts as falsy */
/* "a.b" + "c"; false when it does not fit. */
bool conf_path_join(char *dst, size_t size, const char *path, const char *key);
/* "x, y and z": the scalar's text for a note, quoted; "(hidden)" if secret. */
const char *conf_shown(
    const struct conf_key *, const struct tree *, char *buf, size_t size);
/* The last component is a `*`. */
bool conf_key_wild(const struct conf_key *);

/* Build conf->effective from conf->local (spec 2.4).  Problems are noted. */
bool conf_build(struct conf *, unsigned flags, struct conf_notes *);
/* Give known keys their types and warn about unknown ones. */
bool conf_normalise(struct conf *, struct conf_notes *);

/* The warnings about unknown keys alone. */
void conf_note_unknown(struct conf *, struct conf_notes *);

/* A YAML list or map from a variable (spec 5), or NULL with err set. */
struct tree *conf_env_collection(
    const char *text, bool map, char *err, size_t errsize);

#endif
