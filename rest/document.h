/*
 * document.h: the texts that answers carry: node status document, /metrics,
 * /cluster, /history, /failsafe (spec/rest-api.md 5, 9, 10, 12, 13.1).
 */
#ifndef REST_DOCUMENT_H
#define REST_DOCUMENT_H

#include "../ipc/version.h"
#include "../ipc/view_rules.h"
#include "buf.h"
#include "health.h"
#include "httpd.h"

struct document_names {
	char scope[NAME_SIZE];
	char name[NAME_SIZE];
};

/* The manager's own figures for /metrics. */
struct own_metrics {
	const struct msg_restarts *helpers;
	const struct msg_dcs_figures *dcs;
	size_t queued;		 /* unsent bytes on the links of rest */
	int64_t view_latency_ns; /* last live read, 0 = none */
	const struct httpd_stats *http;
};

/* Status document.  tags: configured, filtered tags, used when the snapshot
 * has none. */
void document_status(struct buf *, const struct snapshot *,
    const struct facts *, const struct document_names *,
    const struct tree *tags);
void document_metrics(struct buf *, const struct snapshot *,
    const struct facts *, const struct view *, int64_t now,
    const struct document_names *, const struct tree *tags,
    const struct own_metrics *);
void document_cluster(struct buf *, const struct view *, const char *scope);
void document_history(struct buf *, const struct view *);
void document_failsafe(struct buf *, const struct view *);

#endif
