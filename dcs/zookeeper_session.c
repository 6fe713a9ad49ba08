/*
 * zookeeper_session.c: the client library inside the event loop, and the life
 * of the session.
 *
 * The library does not block when it is given addresses: names are resolved
 * here beforehand, by libevent's resolver.  It notices a dead server late
 * (two thirds of the session's time), so that connecting and silence are
 * watched here too (spec/dcs.md 9.1): a socket that is given up is shut down
 * under the library, which goes to the next server with the same session.
 *
 * A session that expired, or whose length was changed, is replaced by a new
 * one; its keys are taken over by zookeeper_lock.c.
 */
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <event2/dns.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "zookeeper_int.h"

#define RESOLVE_AGAIN (10 * NS_PER_SEC) /* while there is no connection */
#define RESOLVE_FAILED NS_PER_SEC
#define MAX_STUCK 100
#define MAX_TIMEOUT_MS (24 * 3600 * 1000)

struct zk_lookup_one {
	struct zk_lookup *all;
	struct evdns_getaddrinfo_request *request;
	int port;
};

struct zk_lookup {
	struct zk *zk;
	struct zk_lookup_one one[ZK_MAX_HOSTS];
	uint32_t open; /* not answered yet, and one while starting them */
	char *text;    /* "1.2.3.4:2181,..." */
	size_t len;
	bool closed; /* the driver is gone: wait for the last answer */
};

static void session_open(struct zk *);

static void
arm(struct event *ev, int64_t ns)
{
	struct timeval tv;

	if (ns < 0)
		ns = 0;
	tv.tv_sec = ns / NS_PER_SEC;
	tv.tv_usec = ns % NS_PER_SEC / 1000;
	evtimer_add(ev, &tv);
}

/* How long silence is borne; half of it passes before we ask. */
static int64_t
silence_ns(const struct zk *zk)
{
	int64_t ns = dcs_loop_ns(zk->dcs) - 2 * NS_PER_SEC;

	return ns < 2 * NS_PER_SEC ? 2 * NS_PER_SEC : ns;
}

static int64_t
connect_ns(const struct zk *zk)
{
	int64_t ns = dcs_loop_ns(zk->dcs) / 2;

	if (ns < NS_PER_SEC)
		ns = NS_PER_SEC;
	return ns > dcs_ttl_ns(zk->dcs) / 10 ? ns : dcs_ttl_ns(zk->dcs) / 10;
}

int64_t
zk_lease_sent(const struct zk *zk, int64_t sent_ns)
{
	int64_t given =
	    zk->handle == NULL ? 0 : zoo_recv_timeout(zk->handle) * NS_PER_MS;
	int64_t ttl = dcs_ttl_ns(zk->dcs);

	return given < ttl ? sent_ns - (ttl - given) : sent_ns;
}

static void
failed(struct zk *zk, const char *what)
{
	if (zk->failures++ % 10 == 0)
		log_warn("ZooKeeper: %s", what);
	snprintf(zk->last_error, sizeof(zk->last_error), "%s", what);
}

/* ---- names ---- */

static void
lookup_free(struct zk_lookup *l)
{
	free(l->text);
	free(l);
}

/* One more server of the list; the library shuffles them.  It splits at the
 * last colon and knows no brackets: an address of IPv6 goes without. */
static void
add_address(struct zk_lookup *l, const char *address, int port)
{
	char one[INET6_ADDRSTRLEN + 16], *text;
	int n;

	n = snprintf(
	    one, sizeof(one), "%s%s:%d", l->len == 0 ? "" : ",", address, port);
	if (n < 0 || (size_t)n >= sizeof(one))
		return;
	if ((text = realloc(l->text, l->len + (size_t)n + 1)) == NULL)
		return;
	memcpy(text + l->len, one, (size_t)n + 1);
	l->text = text;
	l->len += (size_t)n;
}

static void
lookup_done(struct zk_lookup *l)
{
	struct zk *zk = l->zk;
	char *text = l->text;

	if (--l->open > 0)
		return;
	if (l->closed) {
		lookup_free(l);
		return;
	}
	l->text = NULL;
	lookup_free(l);
	zk->lookup = NULL;
	zk->resolved_at = clock_boot_ns();
	if (text == NULL) {
		failed(zk, "no name of a server can be resolved");
		arm(zk->retry, RESOLVE_FAILED);
		return;
	}
	if (zk->servers == NULL || strcmp(zk->servers, text) != 0)
		zk->told = false;
	free(zk->servers);
	zk->servers = text;
	if (zk->handle == NULL)
		session_open(zk);
	else if (!zk->connected &&
	    !zk->told) { /* connected, it would move us */
		zk->told = true;
		zoo_set_servers(zk->handle, zk->servers);
	}
	zk_pump(zk);
}

static void
on_name(int result, struct evutil_addrinfo *list, void *arg)
{
	struct zk_lookup_one *one = arg;
	const struct evutil_addrinfo *a;
	char text[INET6_ADDRSTRLEN];

	one->request = NULL;
	for (a = list; result == 0 && a != NULL; a = a->ai_next) {
		const struct sockaddr_in *v4 = (const void *)a->ai_addr;
		const struct sockaddr_in6 *v6 = (const void *)a->ai_addr;
		const void *bytes = a->ai_family == AF_INET6 ?
		    (const void *)&v6->sin6_addr :
		    (const void *)&v4->sin_addr;

		if ((a->ai_family == AF_INET || a->ai_family == AF_INET6) &&
		    inet_ntop(a->ai_family, bytes, text, sizeof(text)) != NULL)
			add_address(one->all, text, one->port);
	}
	if (list != NULL)
		evutil_freeaddrinfo(list);
	lookup_done(one->all);
}

static void
lookup_one(struct zk_lookup *l, const struct zk_host *h)
{
	struct evutil_addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_protocol = IPPROTO_TCP };
	struct zk_lookup_one *one = &l->one[h - l->zk->conf.hosts];
	struct evdns_getaddrinfo_request *request;
	struct in6_addr v6;
	struct in_addr v4;

	one->all = l;
	one->port = h->port;
	if (inet_pton(AF_INET, h->host, &v4) == 1) {
		add_address(l, h->host, h->port);
		return;
	}
	if (inet_pton(AF_INET6, h->host, &v6) == 1) {
		add_address(l, h->host, h->port);
		return;
	}
	if (l->zk->dns == NULL)
		l->zk->dns = evdns_base_new(l->zk->base,
		    EVDNS_BASE_INITIALIZE_NAMESERVERS |
			EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (l->zk->dns == NULL)
		return;
	l->open++;
	/* NULL: on_name() has run already */
	request =
	    evdns_getaddrinfo(l->zk->dns, h->host, NULL, &hints, on_name, one);
	if (request != NULL)
		one->request = request;
}

static void
lookup_start(struct zk *zk)
{
	struct zk_lookup *l;
	uint32_t i;

	if (zk->lookup != NULL)
		return;
	if ((l = calloc(1, sizeof(*l))) == NULL) {
		failed(zk, "out of memory");
		arm(zk->retry, RESOLVE_FAILED);
		return;
	}
	zk->lookup = l;
	l->zk = zk;
	l->open = 1;
	for (i = 0; i < zk->conf.nhosts; i++)
		lookup_one(l, &zk->conf.hosts[i]);
	lookup_done(l);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct zk *zk = arg;

	(void)fd;
	(void)what;
	/* resolv.conf may have changed */
	if (zk->lookup == NULL && zk->dns != NULL) {
		evdns_base_free(zk->dns, 0);
		zk->dns = NULL;
	}
	lookup_start(zk);
}

void
zk_session_hosts(struct zk *zk)
{
	arm(zk->retry, 0);
}

/* ---- the session ---- */

static void
on_probe(struct zk *zk, const struct zk_answer *a, void *arg)
{
	(void)arg;
	zk->probe = NULL;
	if (a->rc != ZOK && a->rc != ZNONODE) {
		if (!zk_trouble(a->rc))
			failed(zk, zerror(a->rc));
		return;
	}
	if (zk->confirmed)
		return;
	/* The watches were sent before this: whatever they had missed has been
	 * told by now, and the server has caught up with its leader. */
	zk->confirmed = true;
	zk->failures = 0;
	zk->last_error[0] = '\0';
	zk_cache_start(zk);
	zk_ops_ready(zk);
}

static void
on_connected(struct zk *zk)
{
	int64_t id = zoo_client_id(zk->handle)->client_id;

	zk->connected = true;
	zk->confirmed = false;
	zk->answer_at = clock_boot_ns();
	if (id != zk->session) {
		if (!dcs_ctl_mode(zk->dcs))
			log_info("ZooKeeper session 0x%llx on %s, %.1f s",
			    (unsigned long long)id,
			    zoo_get_current_server(zk->handle),
			    zoo_recv_timeout(zk->handle) / 1000.0);
		zk->session = id;
		zk_cache_reset(zk);
	}
	zk->probe = zk_sync(zk, on_probe, NULL);
}

static void
on_disconnected(struct zk *zk)
{
	bool was = zk->connected;

	zk->connected = zk->confirmed = false;
	zk->attempt_at = clock_boot_ns();
	zk_cancel(zk->probe);
	zk->probe = NULL;
	if (was) {
		zk->lost_at = zk->attempt_at;
		dcs_watch_changed(zk->dcs, 0, WAKE_OTHER);
	}
	if (!zk->told)
		arm(zk->retry, 0);
}

static void
on_session(zhandle_t *h, int type, int state, const char *path, void *arg)
{
	struct zk *zk = arg;

	(void)path;
	if (type != ZOO_SESSION_EVENT || h != zk->handle || zk->reopen)
		return;
	/* the library believes any peer that sends enough bytes */
	if (zoo_recv_timeout(zk->handle) <= 0 ||
	    zoo_recv_timeout(zk->handle) > MAX_TIMEOUT_MS ||
	    state == ZOO_READONLY_STATE) {
		failed(zk, "what answers is not ZooKeeper");
		zk->reopen = true;
	} else if (state == ZOO_CONNECTED_STATE) {
		on_connected(zk);
		return;
	}
	on_disconnected(zk);
	if (state == ZOO_EXPIRED_SESSION_STATE) {
		log_warn("ZooKeeper session 0x%llx has expired",
		    (unsigned long long)zk->session);
		zk->reopen = true;
	} else if (state == ZOO_AUTH_FAILED_STATE) {
		failed(zk, "authentication failed: check auth_data");
		zk->reopen = true;
	}
	zk_pump(zk);
}

/* The library's own words, for those who look for them. */
static void
on_log(const char *message)
{
	const char *at = strstr(message, "@");

	log_debug("ZooKeeper client: %.*s", 400, at == NULL ? message : at + 1);
}

static void
session_open(struct zk *zk)
{
	char where[ZK_MAX_HOSTS * 64 + PATH_SIZE];
	uint32_t i;
	int n;

	zk->reopen = false;
	zk->attempt_at = clock_boot_ns();
	if (zk->servers == NULL) {
		arm(zk->retry, 0);
		return;
	}
	n = snprintf(
	    where, sizeof(where), "%s%s", zk->servers, zk->conf.chroot);
	if (n < 0 || (size_t)n >= sizeof(where)) {
		failed(zk, "too many addresses of servers");
		arm(zk->retry, RESOLVE_AGAIN);
		return;
	}
	zk->told = true;
	zk->ttl_asked = dcs_ttl_ns(zk->dcs);
	zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
	zk->handle =
	    zookeeper_init2(where, on_session, (int)(zk->ttl_asked / NS_PER_MS),
		NULL, zk, ZOO_NO_LOG_CLIENTENV, on_log);
	if (zk->handle == NULL) {
		failed(zk, "the client cannot be started");
		arm(zk->retry, RESOLVE_FAILED);
		return;
	}
	for (i = 0; i < zk->conf.nauth; i++)
		zoo_add_auth(zk->handle, zk->conf.auth[i].scheme,
		    zk->conf.auth[i].credential,
		    (int)strlen(zk->conf.auth[i].credential), NULL, NULL);
}

/*
 * Can the end of the session be said at once?  zookeeper_close() waits up to
 * 3 s for what is still to be sent.  A server that does not read has not heard
 * of us for a while either, and ends the session by itself.
 */
static bool
may_say_end(struct zk *zk)
{
	struct pollfd p = { .fd = zk->fd, .events = POLLOUT };
	struct timeval tv;
	int fd = -1, interest = 0;

	return zookeeper_interest(zk->handle, &fd, &interest, &tv) == ZOK &&
	    fd == zk->fd && (interest & ZOOKEEPER_WRITE) == 0 &&
	    poll(&p, 1, 0) == 1 && p.revents == POLLOUT;
}

/*
 * Let go of the handle.  end_session false: the session must outlive us, its
 * keys are taken over by the next one; so its end is not said.
 */
static void
session_drop(struct zk *zk, bool end_session)
{
	zhandle_t *h = zk->handle;

	event_del(zk->io);
	event_del(zk->pump);
	zk_cancel(zk->probe);
	zk->probe = NULL;
	zk->connected = zk->confirmed = false;
	if (h == NULL)
		return;
	if (zk->fd != -1 && !(end_session && may_say_end(zk)))
		(void)shutdown(zk->fd, SHUT_RDWR);
	zk->fd = -1;
	/* ends what is under way, by the callbacks: they see no handle */
	zk->handle = NULL;
	(void)zookeeper_close(h);
}

static void
session_renew(struct zk *zk)
{
	session_drop(zk, false);
	zk_requests_failed(zk);
	zk_cache_reset(zk);
	session_open(zk);
	/* an authentication that fails would fail again at once */
	if (zk->failures > 0 && zk->handle != NULL) {
		arm(zk->pump, NS_PER_SEC);
		return;
	}
	zk_pump(zk);
}

/* ---- in the loop ---- */

static void
watch_socket(struct zk *zk, int fd, int interest, const struct timeval *tv)
{
	short what = 0;

	if (interest & ZOOKEEPER_READ)
		what |= EV_READ;
	if (interest & ZOOKEEPER_WRITE)
		what |= EV_WRITE;
	if (fd != zk->fd) {
		zk->fd = fd;
		zk->attempt_at = clock_boot_ns();
	}
	if (fd != -1 && what != 0) {
		event_assign(
		    zk->io, zk->base, fd, what, event_get_callback(zk->io), zk);
		event_add(zk->io, tv);
	} else
		evtimer_add(zk->pump, tv);
}

/* Ask the library what it waits for, and wait for that. */
static void
pump(struct zk *zk)
{
	struct timeval tv = { 0, 0 };
	int fd = -1, interest = 0, rc;

	if (zk->reopen) {
		session_renew(zk);
		return;
	}
	if (zk->handle == NULL)
		return;
	event_del(zk->io);
	rc = zookeeper_interest(zk->handle, &fd, &interest, &tv);
	if (zk->reopen) {
		zk_pump(zk);
		return;
	}
	if (rc != ZOK) {
		if (is_unrecoverable(zk->handle) == ZINVALIDSTATE)
			zk->reopen = true;
		failed(zk, zerror(rc));
		zk->fd = -1;
		/* 0.1 s doubling to 1 s, as many as have failed in a row */
		arm(zk->pump,
		    zk->failures > 3 ? NS_PER_SEC :
				       100 * NS_PER_MS << zk->failures);
		return;
	}
	if (tv.tv_sec == 0 && tv.tv_usec < 1000)
		tv.tv_usec = 1000;
	if (!zk->connected && tv.tv_sec >= 1) {
		tv.tv_sec = 1;
		tv.tv_usec = 0;
	}
	watch_socket(zk, fd, interest, &tv);
}

/* A length that makes no sense leaves the library looking at bytes that it
 * does not take: then neither this connection nor the handle is of use. */
static int
process(struct zk *zk, int events)
{
	int before = 0, after = 0, fd = zk->fd, rc;

	if (events & ZOOKEEPER_READ)
		(void)ioctl(fd, FIONREAD, &before);
	rc = zookeeper_process(zk->handle, events);
	if (rc != ZOK && rc != ZNOTHING)
		return rc;
	if (before > 0 && ioctl(fd, FIONREAD, &after) == 0 && after >= before)
		zk->stuck++;
	else
		zk->stuck = 0;
	if (zk->stuck > MAX_STUCK) {
		failed(zk, "what answers is not ZooKeeper");
		zk->stuck = 0;
		zk->reopen = true;
	}
	return rc;
}

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	struct zk *zk = arg;
	int events = 0, rc;

	(void)fd;
	event_del(zk->io); /* the library may close it */
	if (what & EV_READ)
		events |= ZOOKEEPER_READ;
	if (what & EV_WRITE)
		events |= ZOOKEEPER_WRITE;
	if (events != 0) {
		rc = process(zk, events);
		if (rc != ZOK && rc != ZNOTHING) {
			zk->fd = -1;
			if (!zk->connected)
				failed(zk, zerror(rc));
		}
	}
	pump(zk);
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct zk *zk = arg;

	(void)fd;
	(void)what;
	zk_requests_failed(zk);
	pump(zk);
}

void
zk_pump(struct zk *zk)
{
	arm(zk->pump, 0);
}

void
zk_answered(struct zk *zk)
{
	zk->answer_at = clock_boot_ns();
}

static void
on_ping(struct zk *zk, const struct zk_answer *a, void *arg)
{
	(void)a;
	(void)arg;
	zk->probe = NULL;
}

/* Give up the socket: the library goes to the next server. */
static void
give_up(struct zk *zk, const char *why)
{
	failed(zk, why);
	zk->attempt_at = zk->answer_at = clock_boot_ns();
	if (zk->fd != -1)
		(void)shutdown(zk->fd, SHUT_RDWR);
}

/*
 * The session is kept alive from here, but lock and member key are to live by
 * the calls of those who asked for them: of a controller that hangs, the lock
 * has to go when its lease is over.
 */
static bool
abandoned(const struct zk *zk, int64_t now)
{
	int64_t ttl = dcs_ttl_ns(zk->dcs);

	return (zk->lock_sent != 0 && now - zk->lock_sent > ttl) ||
	    (zk->touched_at != 0 && now - zk->touched_at > ttl);
}

static void
end_abandoned(struct zk *zk)
{
	log_warn("Nobody has renewed the lock or the member key for the ttl: "
		 "the session is given up");
	zk->lock_sent = zk->touched_at = zk->session = 0;
	session_drop(zk, true);
	zk_requests_failed(zk);
	zk_cache_reset(zk);
	session_open(zk);
	zk_pump(zk);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct zk *zk = arg;
	int64_t silence = silence_ns(zk), now = clock_boot_ns(), quiet;

	(void)fd;
	(void)what;
	arm(zk->tick, silence / 8);
	if (abandoned(zk, now) && zk->handle != NULL) {
		end_abandoned(zk);
		return;
	}
	if (!zk->connected && zk->handle != NULL &&
	    now - zk->resolved_at > RESOLVE_AGAIN)
		arm(zk->retry, 0);
	/* The session is over by now.  Holding on to it would also shut us out
	 * of an ensemble that has not seen as many changes as we have. */
	if (!zk->connected && zk->handle != NULL && zk->session != 0 &&
	    now - zk->lost_at > zk->ttl_asked + RESOLVE_FAILED) {
		zk->session = 0;
		zk->reopen = true;
		zk_pump(zk);
		return;
	}
	if (zk->handle == NULL || zk->fd == -1)
		return;
	if (!zk->connected) {
		if (now - zk->attempt_at > connect_ns(zk))
			give_up(zk, "no answer to the attempt to connect");
		return;
	}
	quiet = now - zk->answer_at;
	if (quiet >= silence && zk->probe != NULL)
		give_up(zk, "no answer from the server, trying the next one");
	else if (quiet >= silence / 2 && zk->probe == NULL) {
		/* it may be us who slept: half the time is the server's */
		zk->answer_at = now - silence / 2;
		zk->probe = zk_exists(zk, "", false, on_ping, NULL);
	}
}

/* ---- life ---- */

void
zk_session_settings(struct zk *zk)
{
	if (zk->handle == NULL || zk->ttl_asked == dcs_ttl_ns(zk->dcs) ||
	    dcs_ctl_mode(zk->dcs))
		return;
	/* another length: another session, which takes the keys over */
	zk->reopen = true;
	zk->failures = 0;
	zk_pump(zk);
}

bool
zk_session_start(struct zk *zk)
{
	zk->fd = -1;
	zk->io = event_new(zk->base, -1, 0, on_io, zk);
	zk->pump = evtimer_new(zk->base, on_pump, zk);
	zk->tick = evtimer_new(zk->base, on_tick, zk);
	zk->retry = evtimer_new(zk->base, on_retry, zk);
	if (zk->io == NULL || zk->pump == NULL || zk->tick == NULL ||
	    zk->retry == NULL)
		return false;
	arm(zk->tick, silence_ns(zk) / 8);
	if (zk->conf.nhosts > 0)
		arm(zk->retry, 0);
	return true;
}

static void
event_end(struct event *ev)
{
	if (ev != NULL)
		event_free(ev);
}

void
zk_session_close(struct zk *zk)
{
	uint32_t i;

	/* a control tool's session has nothing to be taken over */
	if (zk->io != NULL && zk->pump != NULL)
		session_drop(zk, dcs_ctl_mode(zk->dcs));
	zk_requests_failed(zk);
	if (zk->lookup != NULL) {
		zk->lookup->closed = true;
		for (i = 0; i < ZK_MAX_HOSTS; i++)
			if (zk->lookup->one[i].request != NULL)
				evdns_getaddrinfo_cancel(
				    zk->lookup->one[i].request);
	}
	if (zk->dns != NULL)
		evdns_base_free(zk->dns, 1);
	event_end(zk->io);
	event_end(zk->pump);
	event_end(zk->tick);
	event_end(zk->retry);
	free(zk->servers);
}
