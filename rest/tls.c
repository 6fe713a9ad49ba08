/*
 * tls.c: server side of TLS (spec/rest-api.md 2.5).  Works on PEM texts that
 * were read by the master, since this process opens no files.
 */
#include <openssl/err.h>
#include <openssl/pem.h>

#include <string.h>

#include "../ipc/log.h"
#include "rest.h"

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
open_pem(const struct rest *r, enum tls_file which)
{
	if (r->pem[which].text == NULL)
		return NULL;
	return BIO_new_mem_buf(r->pem[which].text, (int)r->pem[which].len);
}

static const char *
load_files(const struct rest *r, SSL_CTX *ctx, const char *password)
{
	BIO *bio;
	bool ok;

	if ((bio = open_pem(r, TLS_CERT)) == NULL)
		return "restapi.certfile could not be read";
	ok = load_chain(ctx, bio, password);
	BIO_free(bio);
	if (!ok)
		return "restapi.certfile holds no usable certificate";
	bio = open_pem(r, r->pem[TLS_KEY].text != NULL ? TLS_KEY : TLS_CERT);
	if (bio == NULL)
		return "restapi.keyfile could not be read";
	ok = load_key(ctx, bio, password);
	BIO_free(bio);
	if (!ok)
		return "restapi.keyfile holds no private key that fits the "
		       "certificate, or its password is wrong";
	if ((bio = open_pem(r, TLS_CA)) == NULL)
		return NULL;
	ok = load_cas(ctx, bio);
	BIO_free(bio);
	return ok ? NULL : "restapi.cafile holds no usable certificate";
}

static void
set_modes(SSL_CTX *ctx, enum verify_client verify)
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
	if (verify == VERIFY_OPTIONAL)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	else if (verify == VERIFY_REQUIRED)
		SSL_CTX_set_verify(ctx,
		    SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

SSL_CTX *
tls_context(const struct rest *r, const struct tree *restapi,
    enum verify_client verify, const char **error)
{
	const char *ciphers = tree_path_text(restapi, "ciphers", "");
	SSL_CTX *ctx;

	*error = "TLS could not be set up";
	ERR_clear_error();
	if ((ctx = SSL_CTX_new(TLS_server_method())) == NULL)
		return NULL;
	set_modes(ctx, verify);
	if (ciphers[0] != '\0' && SSL_CTX_set_cipher_list(ctx, ciphers) != 1)
		*error = "restapi.ciphers holds no usable cipher";
	else
		*error = load_files(
		    r, ctx, tree_path_text(restapi, "keyfile_password", NULL));
	if (*error == NULL)
		return ctx;
	if (ERR_peek_last_error() != 0)
		log_error("REST API TLS: %s: %s", *error,
		    ERR_reason_error_string(ERR_peek_last_error()));
	ERR_clear_error();
	SSL_CTX_free(ctx);
	return NULL;
}
