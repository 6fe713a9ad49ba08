/*
 * tls.h: TLS as the HTTP server sees it.
 *
 * OpenSSL costs a process half a megabyte before the first connection, so
 * patroni-rest has it in a module (patroni-rest-tls.so) and loads that when
 * restapi.certfile is set.  That is possible before the sandbox closes only;
 * for TLS that a reload turns on the master starts another process
 * (master/successor.c).  Nothing outside of tls.c calls OpenSSL.
 */
#ifndef REST_TLS_H
#define REST_TLS_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_context; /* certificate, key and rules */
struct tls_conn;

enum tls_file { TLS_CERT, TLS_KEY, TLS_CA, TLS_FILE_COUNT };
enum tls_verify { TLS_VERIFY_NONE, TLS_VERIFY_OPTIONAL, TLS_VERIFY_REQUIRED };

struct tls_pem {
	char *text; /* NULL: none */
	size_t len;
};

struct tls_settings {
	const struct tls_pem *pem; /* TLS_FILE_COUNT of them */
	const char *ciphers;	   /* "" = OpenSSL's choice */
	const char *key_password;  /* or NULL */
	enum tls_verify verify;
};

/* What a connection waits for, or how it ended. */
enum tls_wants {
	TLS_NOTHING,
	TLS_WANTS_READ,
	TLS_WANTS_WRITE,
	TLS_ENDED,  /* properly */
	TLS_GONE,   /* the connection itself */
	TLS_FAILED, /* against the protocol, or refused */
};

struct tls_module {
	uint32_t version; /* TLS_MODULE_VERSION: a module of another build */
	/* NULL with *error (static text); more by reason(). */
	struct tls_context *(*context_new)(
	    const struct tls_settings *, const char **error);
	void (*context_free)(struct tls_context *); /* connections live on */
	const char *(*reason)(void);		    /* or NULL */
	void (*clear)(void);			    /* what reason() tells */
	struct tls_conn *(*open)(struct tls_context *, int fd);
	void (*close)(struct tls_conn *, bool goodbye);
	void (*goodbye)(struct tls_conn *);
	enum tls_wants (*accept)(struct tls_conn *, bool *client_cert);
	/* As recv(2) and send(2), EAGAIN with what is waited for. */
	ssize_t (*recv)(struct tls_conn *, void *, size_t, enum tls_wants *);
	ssize_t (*send)(
	    struct tls_conn *, const void *, size_t, enum tls_wants *);
	/* Bytes that the descriptor will not tell of; unprocessed: those of
	 * an unfinished record as well. */
	bool (*pending)(const struct tls_conn *, bool unprocessed);
};

#define TLS_MODULE "patroni-rest-tls.so"
#define TLS_MODULE_SYMBOL "tls_module_openssl"
#define TLS_MODULE_VERSION (2u << 16 | (uint32_t)sizeof(struct tls_module))

/* Not linked into patroni-rest. */
extern const struct tls_module tls_module_openssl __attribute__((weak));

/* Load it unless it is there; NULL: not available (logged). */
const struct tls_module *tls_module(void);
bool tls_loaded(void);

#endif
