/*
 * etcd3_proto.h: bodies and replies of etcd's JSON gateway (spec/dcs.md 7):
 * pure functions on text, no I/O.
 */
#ifndef DCS_ETCD3_PROTO_H
#define DCS_ETCD3_PROTO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../helpers/base64.h"

#define LEASE_ID_SIZE 24
#define STREAM_MAX_DOCUMENT (8 * 1024 * 1024)

/* gRPC codes that matter here */
enum grpc_code {
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_PERMISSION = 7,
	GRPC_PRECONDITION = 9,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16
};

/* 64-bit number: a JSON string or number; absent = 0. */
int64_t etcd_int(const json_t *object, const char *key);
/* First document of a reply; NULL when it is not JSON. */
json_t *etcd_parse(const char *, size_t);
/* Does the reply carry an error?  Fills code and message. */
bool etcd_error(const json_t *, int *code, char *msg, size_t size);
int64_t etcd_revision(const json_t *); /* header.revision */

/* One key-value of a range reply or event. */
struct etcd_kv {
	char *key; /* decoded, both owned */
	char *value;
	size_t len;
	int64_t mod_revision;
	char lease[LEASE_ID_SIZE]; /* "0" = none */
};
bool etcd_kv_parse(const json_t *, struct etcd_kv *);
void etcd_kv_clear(struct etcd_kv *);

/* Splits a stream of JSON documents. */
struct etcd_stream {
	char *buf;
	size_t len, cap, pos; /* pos: scanned up to here */
	int depth;
	bool text, escape;
};
typedef bool (*etcd_document_cb)(const json_t *, void *arg);
/* Feed bytes; cb for each whole document.  False: malformed or too long, or
 * cb said false. */
bool etcd_stream_feed(
    struct etcd_stream *, const char *, size_t, etcd_document_cb, void *arg);
void etcd_stream_reset(struct etcd_stream *); /* frees the buffer */

#endif
