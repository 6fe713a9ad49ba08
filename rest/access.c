/*
 * access.c: allowlist, client certificates, basic authentication.
 *
 * This process can open no connection and read no file, so names are not
 * resolved here: the master does that, and a name that still comes is one
 * that has no address.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../helpers/base64.h"
#include "../ipc/log.h"
#include "../ipc/values.h"
#include "access.h"

#define MAX_ALLOW 1024

/* ---- addresses ---- */

/* A v4-mapped address is the IPv4 address that it stands for. */
static void
unmap(struct allow *a)
{
	static const uint8_t prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff,
		0xff };

	if (a->family != AF_INET6 || a->bits < 96 ||
	    memcmp(a->addr, prefix, 12) != 0)
		return;
	a->family = AF_INET;
	memmove(a->addr, a->addr + 12, 4);
	memset(a->addr + 4, 0, 12);
	a->bits -= 96;
}

static bool
mask_bits(const char *text, const struct allow *a, uint32_t *bits)
{
	struct in_addr mask;
	uint32_t m, most = a->family == AF_INET ? 32 : 128;
	int64_t n;

	if (text_to_int64(text, 0, most, &n)) {
		*bits = (uint32_t)n;
		return true;
	}
	if (a->family != AF_INET || inet_pton(AF_INET, text, &mask) != 1)
		return false;
	m = ntohl(mask.s_addr);
	if ((~m & (~m + 1)) != 0) {
		m = ~m; /* a host mask, 0.0.0.255 */
		if ((~m & (~m + 1)) != 0)
			return false;
	}
	for (*bits = 0; m & 0x80000000u; m <<= 1)
		(*bits)++;
	return true;
}

bool
allow_parse(const char *text, struct allow *a)
{
	char addr[INET6_ADDRSTRLEN + 2];
	const char *slash = strchr(text, '/'), *p = text;
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);

	memset(a, 0, sizeof(*a));
	if (len >= 2 && p[0] == '[' && p[len - 1] == ']') {
		p++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(addr))
		return false;
	memcpy(addr, p, len);
	addr[len] = '\0';
	if (inet_pton(AF_INET, addr, a->addr) == 1)
		a->family = AF_INET;
	else if (inet_pton(AF_INET6, addr, a->addr) == 1)
		a->family = AF_INET6;
	else
		return false;
	a->bits = a->family == AF_INET ? 32 : 128;
	if (slash != NULL && !mask_bits(slash + 1, a, &a->bits))
		return false;
	unmap(a);
	return true;
}

bool
allow_match(const struct allow *a, const struct sockaddr_storage *peer)
{
	struct allow p;
	uint32_t full = a->bits / 8, rest = a->bits % 8;
	uint8_t mask;

	memset(&p, 0, sizeof(p));
	p.family = peer->ss_family;
	if (p.family == AF_INET) {
		memcpy(
		    p.addr, &((const struct sockaddr_in *)peer)->sin_addr, 4);
		p.bits = 32;
	} else if (p.family == AF_INET6) {
		memcpy(p.addr, &((const struct sockaddr_in6 *)peer)->sin6_addr,
		    16);
		p.bits = 128;
	} else
		return false;
	unmap(&p);
	if (p.family != a->family || memcmp(p.addr, a->addr, full) != 0)
		return false;
	if (rest == 0)
		return true;
	mask = (uint8_t)(0xff << (8 - rest));
	return (p.addr[full] & mask) == (a->addr[full] & mask);
}

bool
access_member_host(const struct view_member *m, char *host, size_t size)
{
	const char *p = strstr(m->api_url, "://");
	size_t len;

	if (p == NULL)
		return false;
	p += 3;
	len = *p == '[' ? strcspn(p, "]") + 1 : strcspn(p, ":/?#");
	if (len == 0 || len >= size)
		return false;
	memcpy(host, p, len);
	host[len] = '\0';
	return strchr(host, '/') == NULL;
}

static bool
text_match(const char *text, const struct sockaddr_storage *peer)
{
	struct allow a;

	return allow_parse(text, &a) && allow_match(&a, peer);
}

/* The host of a member's api_url, or what it resolves to, is the peer. */
static bool
member_match(const struct view *v, const struct tree *addresses,
    const struct sockaddr_storage *peer)
{
	const struct tree *list, *t;
	char host[URL_SIZE];
	uint32_t i, j;

	for (i = 0; v != NULL && i < v->nmembers; i++) {
		if (!access_member_host(&v->members[i], host, sizeof(host)))
			continue;
		if (text_match(host, peer))
			return true;
		list = tree_get(addresses, host);
		for (j = 0; list != NULL && j < tree_count(list); j++) {
			t = tree_child(list, j);
			if (t->type == TREE_TEXT && text_match(t->u.s, peer))
				return true;
		}
	}
	return false;
}

/* ---- configuration ---- */

static bool
load_allowlist(struct access *a, const struct tree *list)
{
	const struct tree *t;
	uint32_t i, n;

	if (list == NULL || list->type != TREE_LIST || tree_count(list) == 0)
		return true;
	a->restricted = true;
	n = tree_count(list) < MAX_ALLOW ? tree_count(list) : MAX_ALLOW;
	if ((a->allow = calloc(n, sizeof(*a->allow))) == NULL)
		return false;
	for (i = 0; i < n; i++) {
		t = tree_child(list, i);
		if (t->type == TREE_TEXT &&
		    allow_parse(t->u.s, &a->allow[a->nallow])) {
			a->nallow++;
			continue;
		}
		if (t->type == TREE_TEXT && strchr(t->u.s, '/') == NULL)
			log_error("Failed to resolve %s: no address was found "
				  "in time",
			    t->u.s);
		else
			log_error(
			    "Invalid value \"%s\" in the allowlist: not an "
			    "address or network",
			    t->type == TREE_TEXT ? t->u.s : "?");
	}
	if (a->nallow == 0)
		log_error("No entry of restapi.allowlist is usable: unsafe "
			  "requests are refused");
	return true;
}

static bool
load_credentials(struct access *a, const struct tree *restapi)
{
	const char *user, *password, *literal;
	char *coded, *plain;
	size_t len;

	literal = tree_path_text(restapi, "auth", NULL);
	user = tree_path_text(restapi, "authentication.username", NULL);
	password = tree_path_text(restapi, "authentication.password", NULL);
	if (user != NULL && user[0] != '\0' && password != NULL &&
	    password[0] != '\0') {
		len = strlen(user) + strlen(password) + 2;
		if ((plain = malloc(len)) == NULL)
			return false;
		snprintf(plain, len, "%s:%s", user, password);
	} else if (literal != NULL && literal[0] != '\0') {
		if ((plain = strdup(literal)) == NULL)
			return false;
	} else
		return true;
	len = strlen(plain);
	coded = len > 65536 ? NULL : base64_encode(plain, len);
	wipe(plain, len);
	free(plain);
	if (coded == NULL)
		return false;
	if (asprintf(&a->expected, "Basic %s", coded) == -1)
		a->expected = NULL;
	wipe(coded, strlen(coded));
	free(coded);
	return a->expected != NULL;
}

static void
load_verify(struct access *a, const struct tree *restapi)
{
	const char *v = tree_path_text(restapi, "verify_client", "none");

	if (strcasecmp(v, "optional") == 0)
		a->verify_client = VERIFY_OPTIONAL;
	else if (strcasecmp(v, "required") == 0)
		a->verify_client = VERIFY_REQUIRED;
	else if (strcasecmp(v, "none") != 0)
		log_error("Bad value in the \"restapi.verify_client\": %s", v);
}

bool
access_load(struct access *a, const struct tree *restapi)
{
	const struct tree *t;
	char text[16];

	memset(a, 0, sizeof(*a));
	load_verify(a, restapi);
	t = tree_get(restapi, "allowlist_include_members");
	if (t != NULL && t->type != TREE_LIST && t->type != TREE_MAP &&
	    tree_scalar_text(t, text, sizeof(text)) < (int)sizeof(text))
		a->include_members = value_bool(text) == 1;
	if (load_credentials(a, restapi) &&
	    load_allowlist(a, tree_get(restapi, "allowlist")))
		return true;
	access_free(a);
	return false;
}

void
access_free(struct access *a)
{
	if (a->expected != NULL)
		wipe(a->expected, strlen(a->expected));
	free(a->expected);
	free(a->allow);
	memset(a, 0, sizeof(*a));
}

/* ---- the checks ---- */

static bool
listed(const struct access *a, const struct sockaddr_storage *peer)
{
	uint32_t i;

	for (i = 0; i < a->nallow; i++)
		if (allow_match(&a->allow[i], peer))
			return true;
	return false;
}

bool
access_address_allowed(const struct access *a,
    const struct sockaddr_storage *peer, const struct view *view,
    const struct tree *addresses)
{
	if (!a->restricted && !a->include_members)
		return true;
	return listed(a, peer) ||
	    (a->include_members && member_match(view, addresses, peer));
}

/* Members are no exception where the view may be gone. */
static bool
failsafe_allowed(const struct access *a, const struct sockaddr_storage *peer)
{
	return !a->restricted || listed(a, peer);
}

/* Takes as long for a wrong text as for the right one. */
static bool
same_secret(const char *got, const char *want)
{
	size_t len = strlen(want);
	bool same_length = strlen(got) == len;

	return secret_equal(same_length ? got : want, want, len) && same_length;
}

int
access_check(const struct access *a, const struct httpd_request *r,
    const struct view *view, const struct tree *addresses, bool failsafe,
    const char **text, const char **headers)
{
	*headers = NULL;
	if (failsafe ? !failsafe_allowed(a, &r->peer) :
		       !access_address_allowed(a, &r->peer, view, addresses)) {
		*text = "Access is denied";
		return 403;
	}
	if (r->tls && a->verify_client != VERIFY_NONE && !r->client_cert) {
		*text = "client certificate required";
		return 403;
	}
	if (a->expected == NULL)
		return 0;
	*headers = "WWW-Authenticate: Basic realm=\"Patroni\"\r\n";
	if (r->head.authorization == NULL) {
		*text = "no auth header received";
		return 401;
	}
	if (!same_secret(r->head.authorization, a->expected)) {
		*text = "not authenticated";
		return 401;
	}
	return 0;
}
