/*
 * sql.c: libpq in non-blocking mode on libevent.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ipc/clock.h"
#include "../../ipc/log.h"
#include "../../ipc/types.h"
#include "resolve.h"
#include "sql.h"

#define MAX_OPTIONS 40

struct query {
	struct query *next;
	char *text;
	int nparams;
	char **params;
	int64_t deadline;
	sql_cb cb;
	void *arg;
};

struct sql {
	struct event_base *base;
	char name[WORD_SIZE];
	char *keys[MAX_OPTIONS + 1], *values[MAX_OPTIONS + 1];
	PGconn *conn;
	struct resolve *resolve; /* names are being looked up before */
	bool ready;		 /* connection established */
	bool sent;		 /* head of the queue is with the server */
	bool copying;		 /* ... and streams its answer */
	PGresult *res;		 /* last result of the running query */
	int server_version;
	struct event *ev_io, *ev_timer, *ev_kick;
	struct query *head, **tail;
	unsigned queued;
	bool in_callback;
	bool dead; /* freed by a callback of its own */
};

static void drive(struct sql *);

static void
query_free(struct query *q)
{
	int i;

	for (i = 0; q->params != NULL && i < q->nparams; i++)
		free(q->params[i]);
	free(q->params);
	free(q->text);
	free(q);
}

static void
drop_connection(struct sql *s)
{
	resolve_drop(s->resolve);
	s->resolve = NULL;
	if (s->ev_io != NULL)
		event_free(s->ev_io);
	s->ev_io = NULL;
	if (s->res != NULL)
		PQclear(s->res);
	s->res = NULL;
	if (s->conn != NULL) {
		PQfinish(s->conn);
		if (s->ready && s->name[0] != '\0')
			log_info("closed patroni %s connection to postgres",
			    s->name);
	}
	s->conn = NULL;
	s->ready = s->sent = s->copying = false;
}

static void
kick(struct sql *s)
{
	struct timeval now = { 0, 0 };

	evtimer_add(s->ev_kick, &now);
}

static void
arm(struct sql *s)
{
	int64_t left;
	struct timeval tv;

	if (s->head == NULL) {
		evtimer_del(s->ev_timer);
		return;
	}
	left = s->head->deadline - clock_boot_ns();
	if (left < 0)
		left = 0;
	tv.tv_sec = left / NS_PER_SEC;
	tv.tv_usec = (left % NS_PER_SEC) / 1000 + 1;
	evtimer_add(s->ev_timer, &tv);
}

/* Ends the query at the head.  False: its callback freed the connection,
 * which must not be touched any more. */
static bool
finish(struct sql *s, struct sql_answer *a)
{
	struct query *q = s->head;

	s->head = q->next;
	if (s->head == NULL)
		s->tail = &s->head;
	s->queued--;
	s->sent = false;
	a->server_version = s->server_version;
	if (a->message == NULL)
		a->message = "";
	s->in_callback = true;
	q->cb(a, q->arg);
	s->in_callback = false;
	query_free(q);
	if (!s->dead)
		return true;
	sql_free(s);
	return false;
}

static void
trim(char *text)
{
	size_t n = strlen(text);

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	/* one line for the log */
	for (; *text != '\0'; text++)
		if (*text == '\n' || *text == '\t')
			*text = ' ';
}

static void
lose(struct sql *s, const char *why)
{
	struct sql_answer a;
	char text[TEXT_SIZE];

	snprintf(text, sizeof text, "%s", why);
	trim(text);
	drop_connection(s);
	if (s->head == NULL)
		return;
	memset(&a, 0, sizeof a);
	a.outcome = SQL_LOST;
	a.message = text;
	if (!finish(s, &a))
		return;
	arm(s);
	if (s->head != NULL)
		kick(s);
}

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	drive(arg);
}

static void
on_kick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	drive(arg);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sql *s = arg;

	(void)fd;
	(void)what;
	if (s->head == NULL)
		return;
	if (s->head->deadline > clock_boot_ns()) {
		arm(s);
		return;
	}
	lose(s, s->ready ? "query timed out" : "connection timed out");
}

static bool
wait_io(struct sql *s, short what)
{
	/* libpq may change its socket while connecting */
	if (s->ev_io != NULL) {
		if (event_get_fd(s->ev_io) == PQsocket(s->conn) &&
		    (event_get_events(s->ev_io) & (EV_READ | EV_WRITE)) == what)
			return event_add(s->ev_io, NULL) == 0;
		event_free(s->ev_io);
	}
	s->ev_io = event_new(s->base, PQsocket(s->conn), what, on_io, s);
	return s->ev_io != NULL && event_add(s->ev_io, NULL) == 0;
}

static void
no_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

static const char *
option(const struct sql *s, const char *key)
{
	int i;

	for (i = 0; s->keys[i] != NULL; i++)
		if (strcmp(s->keys[i], key) == 0)
			return s->values[i];
	return NULL;
}

/* a: addresses found, or NULL when there was no name. */
static bool
start_connection(struct sql *s, const struct resolve_answer *a)
{
	const char *keys[MAX_OPTIONS + 4], *values[MAX_OPTIONS + 4];
	int i, n = 0;

	for (i = 0; s->keys[i] != NULL; i++) {
		if (a != NULL &&
		    (strcmp(s->keys[i], "host") == 0 ||
			strcmp(s->keys[i], "port") == 0))
			continue;
		keys[n] = s->keys[i];
		values[n++] = s->values[i];
	}
	if (a != NULL) {
		keys[n] = "host";
		values[n++] = a->host;
		keys[n] = "hostaddr";
		values[n++] = a->hostaddr;
		keys[n] = "port";
		values[n++] = a->port;
	}
	keys[n] = values[n] = NULL;
	s->conn = PQconnectStartParams(keys, values, 0);
	if (s->conn == NULL)
		return false;
	if (s->name[0] != '\0')
		log_info("establishing a new patroni %s connection to postgres",
		    s->name);
	PQsetNoticeReceiver(s->conn, no_notice, NULL);
	return PQstatus(s->conn) != CONNECTION_BAD;
}

static void
on_resolved(const struct resolve_answer *a, void *arg)
{
	struct sql *s = arg;

	s->resolve = NULL;
	if (!a->ok)
		lose(s, a->error);
	else if (!start_connection(s, a) || !wait_io(s, EV_WRITE))
		lose(s,
		    s->conn != NULL ? PQerrorMessage(s->conn) :
				      "out of memory");
}

/* 1 ready, 0 wait, -1 failed */
static int
connecting(struct sql *s)
{
	const char *port = option(s, "port");

	if (s->resolve != NULL)
		return 0;
	if (s->conn == NULL && option(s, "hostaddr") == NULL &&
	    resolve_needed(option(s, "host"))) {
		s->resolve = resolve_run(s->base, option(s, "host"),
		    port != NULL ? port : "", on_resolved, s);
		return s->resolve != NULL ? 0 : -1;
	}
	if (s->conn == NULL) {
		if (!start_connection(s, NULL))
			return -1;
		return wait_io(s, EV_WRITE) ? 0 : -1;
	}
	switch (PQconnectPoll(s->conn)) {
	case PGRES_POLLING_OK:
		if (PQsetnonblocking(s->conn, 1) == -1)
			return -1;
		s->ready = true;
		s->server_version = PQserverVersion(s->conn);
		return 1;
	case PGRES_POLLING_READING:
		return wait_io(s, EV_READ) ? 0 : -1;
	case PGRES_POLLING_WRITING:
		return wait_io(s, EV_WRITE) ? 0 : -1;
	default:
		return -1;
	}
}

static bool
send_query(struct sql *s)
{
	struct query *q = s->head;
	int ok;

	if (q->nparams == 0)
		ok = PQsendQuery(s->conn, q->text);
	else
		ok = PQsendQueryParams(s->conn, q->text, q->nparams, NULL,
		    (const char *const *)q->params, NULL, NULL, 0);
	s->sent = ok == 1;
	return s->sent;
}

/* False: the connection was freed. */
static bool
deliver(struct sql *s)
{
	struct sql_answer a;
	PGresult *res = s->res;
	char text[TEXT_SIZE];
	const char *state;
	bool alive;

	s->res = NULL;
	memset(&a, 0, sizeof a);
	switch (PQresultStatus(res)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
	case PGRES_EMPTY_QUERY:
		a.outcome = SQL_OK;
		a.res = res;
		break;
	default:
		a.outcome = SQL_ERROR;
		snprintf(text, sizeof text, "%s", PQresultErrorMessage(res));
		trim(text);
		a.message = text;
		state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
		if (state != NULL)
			snprintf(a.sqlstate, sizeof a.sqlstate, "%s", state);
		/* class 57P0x: the server is going away */
		if (PQstatus(s->conn) == CONNECTION_BAD ||
		    strncmp(a.sqlstate, "57P0", 4) == 0) {
			a.outcome = SQL_LOST;
			drop_connection(s);
		}
		break;
	}
	alive = finish(s, &a);
	PQclear(res);
	return alive;
}

/*
 * One message is enough: the connection goes with the rest of the stream.
 * 1 query finished, 2 the stream has ended, 0 wait, -1 connection lost,
 * -2 freed
 */
static int
streaming(struct sql *s)
{
	struct sql_answer a;
	char *message;
	bool alive;
	int n;

	while ((n = PQgetCopyData(s->conn, &message, 1)) > 0) {
		if (message[0] == 'w')
			break;
		PQfreemem(message); /* keepalive */
	}
	if (n == 0)
		return wait_io(s, EV_READ) ? 0 : -1;
	s->copying = false;
	if (n < 0)
		return n == -1 ? 2 : -1;
	memset(&a, 0, sizeof a);
	a.outcome = SQL_OK;
	a.wal = message;
	a.nwal = (size_t)n;
	drop_connection(s);
	alive = finish(s, &a);
	PQfreemem(message);
	return alive ? 1 : -2;
}

/* 1 query finished, 0 wait, -1 connection lost, -2 freed */
static int
running(struct sql *s)
{
	PGresult *res;
	int flushed, r;

	flushed = PQflush(s->conn);
	if (flushed == -1 || PQconsumeInput(s->conn) == 0)
		return -1;
	if (s->copying && (r = streaming(s)) != 2)
		return r;
	while (!PQisBusy(s->conn)) {
		res = PQgetResult(s->conn);
		if (res == NULL) {
			if (s->res == NULL)
				return -1;
			return deliver(s) ? 1 : -2;
		}
		if (PQresultStatus(res) == PGRES_COPY_BOTH) {
			PQclear(res);
			s->copying = true;
			if ((r = streaming(s)) != 2)
				return r;
			continue;
		}
		/* keep the first error, else the newest result */
		if (s->res != NULL &&
		    PQresultStatus(s->res) == PGRES_FATAL_ERROR) {
			PQclear(res);
			continue;
		}
		if (s->res != NULL)
			PQclear(s->res);
		s->res = res;
	}
	return wait_io(s, flushed == 1 ? EV_READ | EV_WRITE : EV_READ) ? 0 : -1;
}

/* The connection is idle: watch it only to notice its end. */
static void
idle(struct sql *s)
{
	arm(s);
	if (s->conn == NULL)
		return;
	if (PQconsumeInput(s->conn) == 0 ||
	    PQstatus(s->conn) == CONNECTION_BAD || !wait_io(s, EV_READ))
		drop_connection(s);
}

static void
drive(struct sql *s)
{
	int r;

	for (;;) {
		if (s->head == NULL) {
			idle(s);
			return;
		}
		arm(s);
		if (!s->ready) {
			r = connecting(s);
			if (r == 0)
				return;
			if (r == -1) {
				lose(s,
				    s->conn != NULL ? PQerrorMessage(s->conn) :
						      "out of memory");
				return;
			}
		}
		if (!s->sent && !send_query(s)) {
			lose(s, PQerrorMessage(s->conn));
			return;
		}
		r = running(s);
		if (r == 0 || r == -2)
			return;
		if (r == -1) {
			lose(s, PQerrorMessage(s->conn));
			return;
		}
	}
}

struct sql *
sql_new(struct event_base *base, const char *name)
{
	struct sql *s;

	s = calloc(1, sizeof *s);
	if (s == NULL)
		return NULL;
	s->base = base;
	s->tail = &s->head;
	if (name != NULL)
		text_set(s->name, sizeof s->name, name);
	s->ev_timer = evtimer_new(base, on_timer, s);
	s->ev_kick = evtimer_new(base, on_kick, s);
	if (s->ev_timer == NULL || s->ev_kick == NULL) {
		sql_free(s);
		return NULL;
	}
	return s;
}

static void
free_target(struct sql *s)
{
	int i;

	for (i = 0; i < MAX_OPTIONS; i++) {
		free(s->keys[i]);
		if (s->values[i] != NULL)
			wipe(s->values[i], strlen(s->values[i]));
		free(s->values[i]);
		s->keys[i] = s->values[i] = NULL;
	}
}

void
sql_forget(struct sql *s)
{
	struct query *q;

	if (s == NULL)
		return;
	while ((q = s->head) != NULL) {
		s->head = q->next;
		query_free(q);
	}
	s->tail = &s->head;
	s->queued = 0;
	drop_connection(s);
	evtimer_del(s->ev_timer);
	evtimer_del(s->ev_kick);
}

void
sql_free(struct sql *s)
{
	if (s == NULL)
		return;
	if (s->ev_timer != NULL && s->ev_kick != NULL)
		sql_forget(s);
	if (s->in_callback) {
		s->dead = true;
		return;
	}
	if (s->ev_timer != NULL)
		event_free(s->ev_timer);
	if (s->ev_kick != NULL)
		event_free(s->ev_kick);
	free_target(s);
	free(s);
}

bool
sql_target(struct sql *s, const char *const *keys, const char *const *values)
{
	int i, n = 0;

	free_target(s);
	for (i = 0; keys[i] != NULL; i++) {
		if (values[i] == NULL)
			continue;
		if (n == MAX_OPTIONS)
			return false;
		s->keys[n] = strdup(keys[i]);
		s->values[n] = strdup(values[i]);
		if (s->keys[n] == NULL || s->values[n] == NULL)
			return false;
		n++;
	}
	return true;
}

static bool
copy_params(struct query *q, int n, const char *const *params)
{
	int i;

	if (n == 0)
		return true;
	q->params = calloc((size_t)n, sizeof *q->params);
	if (q->params == NULL)
		return false;
	q->nparams = n;
	for (i = 0; i < n; i++) {
		if (params[i] == NULL)
			continue;
		q->params[i] = strdup(params[i]);
		if (q->params[i] == NULL)
			return false;
	}
	return true;
}

int
sql_query(struct sql *s, const char *text, int nparams,
    const char *const *params, int64_t timeout_ns, sql_cb cb, void *arg)
{
	struct query *q;

	if (s->queued >= SQL_QUEUE)
		return -1;
	q = calloc(1, sizeof *q);
	if (q == NULL)
		return -1;
	q->text = strdup(text);
	q->cb = cb;
	q->arg = arg;
	q->deadline = clock_boot_ns() + timeout_ns;
	if (q->text == NULL || !copy_params(q, nparams, params)) {
		query_free(q);
		return -1;
	}
	*s->tail = q;
	s->tail = &q->next;
	s->queued++;
	if (s->head == q)
		kick(s);
	return 0;
}

void
sql_close(struct sql *s)
{
	if (s == NULL)
		return;
	drop_connection(s);
	while (s->head != NULL) {
		struct sql_answer a;

		memset(&a, 0, sizeof a);
		a.outcome = SQL_LOST;
		a.message = "connection closed";
		if (!finish(s, &a))
			return;
	}
	evtimer_del(s->ev_timer);
	evtimer_del(s->ev_kick);
}

bool
sql_connected(const struct sql *s)
{
	return s != NULL && s->ready;
}

int
sql_server_version(const struct sql *s)
{
	return s->server_version;
}

const char *
sql_text(const PGresult *r, int row, int col)
{
	return row < PQntuples(r) && col < PQnfields(r) ?
	    PQgetvalue(r, row, col) :
	    "";
}

int64_t
sql_int(const PGresult *r, int row, int col)
{
	int64_t v;

	return text_to_int64(sql_text(r, row, col), INT64_MIN, INT64_MAX, &v) ?
	    v :
	    0;
}

uint64_t
sql_lsn(const PGresult *r, int row, int col)
{
	int64_t v = sql_int(r, row, col);

	return v > 0 ? (uint64_t)v : 0;
}

bool
sql_bool(const PGresult *r, int row, int col)
{
	return sql_text(r, row, col)[0] == 't';
}

static bool
quote(const char *text, char q, const char *open, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	while (*open != '\0' && n + 1 < size)
		buf[n++] = *open++;
	for (; *text != '\0'; text++) {
		if (n + 4 > size) {
			buf[0] = '\0';
			return false;
		}
		if (*text == q || (q == '\'' && *text == '\\'))
			buf[n++] = *text;
		buf[n++] = *text;
	}
	if (n + 2 > size) {
		buf[0] = '\0';
		return false;
	}
	buf[n++] = q;
	buf[n] = '\0';
	return true;
}

bool
sql_quote(const char *text, char *buf, size_t size)
{
	/* with E'' a doubled backslash is right whatever the settings are */
	return quote(
	    text, '\'', strchr(text, '\\') != NULL ? " E'" : "'", buf, size);
}

bool
sql_quote_name(const char *text, char *buf, size_t size)
{
	return quote(text, '"', "\"", buf, size);
}
