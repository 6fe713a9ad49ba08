/*
 * tls.c: server side of TLS (spec/rest-api.md 2.5), a module of its own
 * (tls.h).  Works on PEM texts that were read by the master, since this
 * process opens no files.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <string.h>

#include "tls.h"

static int
give_password(char *buf, int size, int rwflag, void *arg)
{
	const char *password = arg;
	size_t len = password == NULL ? 0 : strlen(password);

	(void)rwflag;
	if (len > (size_t)size)
		return -1;
	if (len > 0) /* NOLINTNEXTLINE: OpenSSL takes the length, not a NUL */
		memcpy(buf, password, len);
	return (int)len;
}

/* Certificate and, behind it, its chain. */
static bool
load_chain(SSL_CTX *ctx, BIO *bio, const char *password)
{
	X509 *x;
	bool ok;

	x = PEM_read_bio_X509_AUX(bio, NULL, give_password, (void *)password);
	if (x == NULL)
		return false;
	ok = SSL_CTX_use_certificate(ctx, x) == 1;
	X509_free(x);
	while (ok &&
	    (x = PEM_read_bio_X509(
		 bio, NULL, give_password, (void *)password)) != NULL) {
		if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
			X509_free(x);
			ok = false;
		}
	}
	ERR_clear_error(); /* the end of the file is no error */
	return ok;
}

static bool
load_key(SSL_CTX *ctx, BIO *bio, const char *password)
{
	EVP_PKEY *key;
	bool ok;

	key =
	    PEM_read_bio_PrivateKey(bio, NULL, give_password, (void *)password);
	if (key == NULL)
		return false;
	ok = SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
	    SSL_CTX_check_private_key(ctx) == 1;
	EVP_PKEY_free(key);
	return ok;
}

/* CAs that client certificates must descend from; also announced to clients. */
static bool
load_cas(SSL_CTX *ctx, BIO *bio)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	X509 *x;
	int n = 0;

	while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (X509_STORE_add_cert(store, x) != 1 ||
		    SSL_CTX_add_client_CA(ctx, x) != 1) {
			X509_free(x);
			return false;
		}
		X509_free(x);
		n++;
	}
	ERR_clear_error();
	return n > 0;
}

static BIO *
open_pem(const struct tls_settings *s, enum tls_file which)
{
	if (s->pem[which].text == NULL)
		return NULL;
	return BIO_new_mem_buf(s->pem[which].text, (int)s->pem[which].len);
}

static const char *
load_files(const struct tls_settings *s, SSL_CTX *ctx)
{
	const char *password = s->key_password;
	BIO *bio;
	bool ok;

	if ((bio = open_pem(s, TLS_CERT)) == NULL)
		return "restapi.certfile could not be read";
	ok = load_chain(ctx, bio, password);
	BIO_free(bio);
	if (!ok)
		return "restapi.certfile holds no usable certificate";
	bio = open_pem(s, s->pem[TLS_KEY].text != NULL ? TLS_KEY : TLS_CERT);
	if (bio == NULL)
		return "restapi.keyfile could not be read";
	ok = load_key(ctx, bio, password);
	BIO_free(bio);
	if (!ok)
		return "restapi.keyfile holds no private key that fits the "
		       "certificate, or its password is wrong";
	if ((bio = open_pem(s, TLS_CA)) == NULL)
		return NULL;
	ok = load_cas(ctx, bio);
	BIO_free(bio);
	return ok ? NULL : "restapi.cafile holds no usable certificate";
}

static void
set_modes(SSL_CTX *ctx, enum tls_verify verify)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(
	    ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	/* Sessions would cost memory per client; tickets resume without. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(
	    ctx, (const unsigned char *)"patroni", 7);
	if (verify == TLS_VERIFY_OPTIONAL)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	else if (verify == TLS_VERIFY_REQUIRED)
		SSL_CTX_set_verify(ctx,
		    SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

static const char *
reason(void)
{
	unsigned long e = ERR_peek_last_error();

	return e == 0 ? NULL : ERR_reason_error_string(e);
}

static struct tls_context *
context_new(const struct tls_settings *s, const char **error)
{
	SSL_CTX *ctx;

	*error = "TLS could not be set up";
	ERR_clear_error();
	if ((ctx = SSL_CTX_new(TLS_server_method())) == NULL)
		return NULL;
	set_modes(ctx, s->verify);
	if (s->ciphers[0] != '\0' &&
	    SSL_CTX_set_cipher_list(ctx, s->ciphers) != 1)
		*error = "restapi.ciphers holds no usable cipher";
	else
		*error = load_files(s, ctx);
	if (*error == NULL)
		return (struct tls_context *)ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static void
context_free(struct tls_context *ctx)
{
	SSL_CTX_free((SSL_CTX *)ctx);
}

/* ---- connections ---- */

static struct tls_conn *
conn_open(struct tls_context *ctx, int fd)
{
	SSL *ssl = SSL_new((SSL_CTX *)ctx);

	if (ssl != NULL && SSL_set_fd(ssl, fd) != 1) {
		SSL_free(ssl);
		ssl = NULL;
	}
	return (struct tls_conn *)ssl;
}

static void
conn_close(struct tls_conn *c, bool goodbye)
{
	SSL *ssl = (SSL *)c;

	if (goodbye && SSL_is_init_finished(ssl)) {
		ERR_clear_error();
		SSL_shutdown(ssl);
	}
	SSL_free(ssl);
}

static void
conn_goodbye(struct tls_conn *c)
{
	ERR_clear_error();
	SSL_shutdown((SSL *)c);
}

static enum tls_wants
wants_of(const SSL *ssl, int n)
{
	switch (SSL_get_error(ssl, n)) {
	case SSL_ERROR_WANT_READ:
		return TLS_WANTS_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANTS_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_ENDED;
	case SSL_ERROR_SSL:
		return TLS_FAILED;
	default:
		return TLS_GONE;
	}
}

static enum tls_wants
conn_accept(struct tls_conn *c, bool *client_cert)
{
	SSL *ssl = (SSL *)c;
	int n;

	ERR_clear_error();
	if ((n = SSL_accept(ssl)) != 1)
		return wants_of(ssl, n);
	*client_cert = SSL_get0_peer_certificate(ssl) != NULL &&
	    SSL_get_verify_result(ssl) == X509_V_OK;
	return TLS_NOTHING;
}

static int
bounded(size_t len)
{
	return (int)(len > INT32_MAX ? INT32_MAX : len);
}

/* As recv(2) and send(2). */
static ssize_t
result(const SSL *ssl, int n, enum tls_wants *wants)
{
	*wants = TLS_NOTHING;
	if (n > 0)
		return n;
	*wants = wants_of(ssl, n);
	if (*wants == TLS_ENDED)
		return 0;
	errno = *wants == TLS_WANTS_READ || *wants == TLS_WANTS_WRITE ?
	    EAGAIN :
	    ECONNRESET;
	return -1;
}

static ssize_t
conn_recv(struct tls_conn *c, void *p, size_t len, enum tls_wants *wants)
{
	ERR_clear_error();
	return result((SSL *)c, SSL_read((SSL *)c, p, bounded(len)), wants);
}

static ssize_t
conn_send(struct tls_conn *c, const void *p, size_t len, enum tls_wants *wants)
{
	ssize_t n;

	ERR_clear_error();
	n = result((SSL *)c, SSL_write((SSL *)c, p, bounded(len)), wants);
	if (n != 0)
		return n;
	errno = ECONNRESET;
	return -1;
}

static bool
conn_pending(const struct tls_conn *c, bool unprocessed)
{
	const SSL *ssl = (const SSL *)c;

	return SSL_pending(ssl) > 0 ||
	    (unprocessed && SSL_has_pending(ssl) != 0);
}

static void
clear(void)
{
	ERR_clear_error();
}

const struct tls_module tls_module_openssl = {
	.version = TLS_MODULE_VERSION,
	.context_new = context_new,
	.context_free = context_free,
	.reason = reason,
	.clear = clear,
	.open = conn_open,
	.close = conn_close,
	.goodbye = conn_goodbye,
	.accept = conn_accept,
	.recv = conn_recv,
	.send = conn_send,
	.pending = conn_pending,
};
