/*
 * schema.c: the table of all configuration keys, and look-ups in it.
 *
 * The order of the rows is that of --validate-config (spec/config.md 15.2).
 * Rows of older forms and of keys that upstream does not know stand at the
 * end of their section.  The manual page documents every row (a unit test
 * compares).
 */
#include <stdlib.h>
#include <string.h>

#include "conf.h"

#define D FOR(DCS)
#define R FOR(REST)
#define P FOR(POSTGRES)
#define W FOR(WATCHDOG)

/* clang-format off: a table */
/* Sections: map of known keys. */
#define SECTION(path, who, check, flags, help)                             \
	{                                                                  \
		path, CONF_SECTION, NULL, 0, 0, NULL, CONF_RELOADED, NULL, \
		    who, check, flags, help                                \
	}
/* Rows without limits and words. */
#define ROW(path, type, dflt, class, env, who, check, flags, help)           \
	{                                                                    \
		path, type, dflt, 0, 0, NULL, class, env, who, check, flags, \
		    help                                                     \
	}
#define NUM(path, type, dflt, min, max, class, env, who, flags, help)          \
	{                                                                      \
		path, type, dflt, min, max, NULL, class, env, who, CHECK_TYPE, \
		    flags, help                                                \
	}
#define WORD(path, dflt, words, class, env, who, flags, help)        \
	{                                                            \
		path, CONF_WORD, dflt, 0, 0, words, class, env, who, \
		    CHECK_TYPE, flags, help                          \
	}

#define S_TEXT(path, env, who, help) \
	ROW(path, CONF_TEXT, NULL, CONF_AT_START, env, who, CHECK_TYPE, 0, help)
#define R_TEXT(path, env, who, help) \
	ROW(path, CONF_TEXT, NULL, CONF_RELOADED, env, who, CHECK_TYPE, 0, help)
#define SECRET(path, class, env, who, help)                                  \
	ROW(path, CONF_TEXT, NULL, class, env, who, CHECK_TYPE, CONF_SECRET, \
	    help)
#define S_BOOL(path, dflt, env, who, help) \
	ROW(path, CONF_BOOL, dflt, CONF_AT_START, env, who, CHECK_TYPE, 0, help)
#define R_BOOL(path, dflt, env, who, help) \
	ROW(path, CONF_BOOL, dflt, CONF_RELOADED, env, who, CHECK_TYPE, 0, help)
/* Accepted and used, not looked at by --validate-config. */
#define QUIET(path, type, dflt, class, who, help) \
	ROW(path, type, dflt, class, NULL, who, CHECK_NOT, 0, help)
#define OLD(path, type, class, who, help) \
	ROW(path, type, NULL, class, NULL, who, CHECK_NOT, CONF_OLD, help)
/* Dynamic configuration below bootstrap.dcs. */
#define DYN(path, type, dflt, min, max, flags, help)                 \
	{                                                            \
		"bootstrap.dcs." path, type, dflt, min, max, NULL,   \
		    CONF_BOOTSTRAP, NULL, P, CHECK_TYPE, flags, help \
	}
#define DYN_QUIET(path, type, dflt, help) \
	QUIET("bootstrap.dcs." path, type, dflt, CONF_BOOTSTRAP, P, help)

#define PORT_MAX 65535
#define INT_TOP 2147483647

#define ETCD_ROWS(s)                                                           \
	SECTION(s, D, CHECK_TYPE, 0,                                           \
	    "etcd as the store; etcd3 speaks the v3 protocol, etcd the old "   \
	    "v2 one"),                                                         \
	    ROW(s ".host", CONF_TEXT, NULL, CONF_AT_START, "-", D,             \
		CHECK_REACH, CONF_ONE_OF,                                      \
		"host:port of one endpoint; port 2379 when left out"),         \
	    ROW(s ".hosts", CONF_ANY, NULL, CONF_AT_START, "-", D,             \
		CHECK_REACH_ANY, CONF_ONE_OF,                                  \
		"endpoints to start from, list or text with commas"),          \
	    ROW(s ".srv", CONF_TEXT, NULL, CONF_AT_START, "-", D, CHECK_TYPE,  \
		CONF_ONE_OF, "domain whose SRV records name the endpoints"),   \
	    ROW(s ".srv_suffix", CONF_TEXT, NULL, CONF_AT_START, "-", D,       \
		CHECK_TYPE, CONF_ONE_OF, "suffix of the SRV record names"),    \
	    ROW(s ".url", CONF_TEXT, NULL, CONF_AT_START, "-", D, CHECK_TYPE,  \
		CONF_ONE_OF, "URL of one endpoint; may carry credentials"),    \
	    ROW(s ".proxy", CONF_TEXT, NULL, CONF_AT_START, "-", D,            \
		CHECK_TYPE, CONF_ONE_OF,                                       \
		"URL of a proxy; used alone, without discovery"),              \
	    WORD(s ".protocol", "http", "http https", CONF_AT_START, "-", D,   \
		0, "scheme of the endpoints that are given without one"),      \
	    R_TEXT(s ".username", "-", D, "account in etcd"),                  \
	    SECRET(s ".password", CONF_RELOADED, "-", D, "its password"),      \
	    S_TEXT(s ".cacert", "-", D, "CA certificates for the endpoints"),  \
	    S_TEXT(s ".cert", "-", D, "client certificate"),                   \
	    S_TEXT(s ".key", "-", D, "key of the client certificate"),         \
	    ROW(s ".port", CONF_INT, "2379", CONF_AT_START, "-", D, CHECK_NOT, \
		0, "port of endpoints given without one"),                     \
	    ROW(s ".use_proxies", CONF_BOOL, "false", CONF_AT_START, "-", D,   \
		CHECK_NOT, 0, "hosts are proxies: no discovery of members"),   \
	    OLD(s ".discovery_srv", CONF_TEXT, CONF_AT_START, D,               \
		"synonym of srv"),                                             \
	    OLD(s ".srv_domain", CONF_TEXT, CONF_AT_START, D,                  \
		"synonym of srv")

/* The TLS and ACL keys that zookeeper and exhibitor share. */
#define ZK_ROWS(s, check)                                                       \
	ROW(s ".use_ssl", CONF_BOOL, "false", CONF_AT_START, "-", D, check, 0,  \
	    "TLS to the servers"),                                              \
	    ROW(s ".verify", CONF_BOOL, "true", CONF_AT_START, "-", D, check,   \
		0, "check the servers' certificates"),                          \
	    ROW(s ".cacert", CONF_TEXT, NULL, CONF_AT_START, "-", D, check, 0,  \
		"CA certificates for the servers"),                             \
	    ROW(s ".cert", CONF_TEXT, NULL, CONF_AT_START, "-", D, check, 0,    \
		"client certificate"),                                          \
	    ROW(s ".key", CONF_TEXT, NULL, CONF_AT_START, "-", D, check, 0,     \
		"key of the client certificate"),                               \
	    ROW(s ".key_password", CONF_TEXT, NULL, CONF_AT_START, "-", D,      \
		check, CONF_SECRET, "password of the key"),                     \
	    ROW(s ".set_acls", CONF_MAP, NULL, CONF_AT_START, "-", D, check,    \
		0,                                                              \
		"ACL of created nodes: principal to list of CREATE READ WRITE " \
		"DELETE ADMIN ALL"),                                            \
	    ROW(s ".auth_data", CONF_MAP, NULL, CONF_AT_START, "-", D, check,   \
		CONF_SECRET, "credentials: scheme to credential")

/* One account of postgresql.authentication. */
#define AUTH(a, E, flag, who)                                                  \
	SECTION("postgresql.authentication." a, P, CHECK_TYPE, flag, who),     \
	    ROW("postgresql.authentication." a ".username", CONF_TEXT, NULL,   \
		CONF_RELOADED, E "_USERNAME", P, CHECK_TYPE, CONF_REQUIRED,    \
		"name of the role"),                                           \
	    SECRET("postgresql.authentication." a ".password", CONF_RELOADED,  \
		E "_PASSWORD", P, "its password"),                             \
	    AUTH_KEY(a, "sslmode", E "_SSLMODE", 0, "libpq sslmode"),          \
	    AUTH_KEY(a, "sslcert", E "_SSLCERT", 0, "client certificate"),     \
	    AUTH_KEY(a, "sslkey", E "_SSLKEY", 0, "key of the certificate"),   \
	    AUTH_KEY(a, "sslpassword", E "_SSLPASSWORD", CONF_SECRET,          \
		"password of the key"),                                        \
	    AUTH_KEY(                                                          \
		a, "sslrootcert", E "_SSLROOTCERT", 0, "CA certificates"),     \
	    AUTH_KEY(a, "sslcrl", E "_SSLCRL", 0, "revocation list"),          \
	    AUTH_KEY(a, "sslcrldir", E "_SSLCRLDIR", 0,                        \
		"directory of revocation lists"),                              \
	    AUTH_KEY(a, "gssencmode", E "_GSSENCMODE", 0, "libpq gssencmode"), \
	    AUTH_KEY(a, "channel_binding", E "_CHANNEL_BINDING", 0,            \
		"libpq channel_binding"),                                      \
	    AUTH_KEY(a, "sslnegotiation", E "_SSLNEGOTIATION", 0,              \
		"libpq sslnegotiation")
#define AUTH_KEY(a, k, env, flag, help)                            \
	ROW("postgresql.authentication." a "." k, CONF_TEXT, NULL, \
	    CONF_RELOADED, env, P, CHECK_NOT, flag, help)

/* Parameters and host based authentication by role. */
#define BY_ROLE(k, type, help)                                              \
	QUIET("postgresql." k "_primary", type, NULL, CONF_RELOADED, P,     \
	    help " while primary"),                                         \
	    QUIET("postgresql." k "_replica", type, NULL, CONF_RELOADED, P, \
		help " while replica"),                                     \
	    QUIET("postgresql." k "_standby_leader", type, NULL,            \
		CONF_RELOADED, P, help " while standby leader")

#define BINARY(k, env)                                                     \
	ROW("postgresql.bin_name." k, CONF_TEXT, k, CONF_RELOADED, env, P, \
	    CHECK_BIN_NAME, 0, "name of the program " k)

#define DYN_MAX(k, dflt, min, max)                                      \
	DYN("postgresql.parameters." k, CONF_NUMBER, dflt, min, max, 0, \
	    "the PostgreSQL parameter, equal on all nodes")

const struct conf_key conf_keys[] = {
	/* ---- top level ---- */
	ROW("name", CONF_TEXT, NULL, CONF_AT_START, "NAME", D | R | P | W,
	    CHECK_NAME, CONF_REQUIRED,
	    "name of this node, unique in the cluster"),
	ROW("scope", CONF_TEXT, NULL, CONF_AT_START, "SCOPE", D | R | P,
	    CHECK_TYPE, CONF_REQUIRED, "name of the cluster"),
	NUM("thread_pool_size", CONF_INT, "5", 5, INT_TOP, CONF_AT_START,
	    "THREAD_POOL_SIZE", 0, CONF_LENIENT,
	    "accepted for compatibility; there are no threads"),
	NUM("thread_stack_size", CONF_BYTES, "524288", 65536, INT_TOP,
	    CONF_AT_START, "THREAD_STACK_SIZE", 0, CONF_LENIENT,
	    "accepted for compatibility; there are no threads"),
	ROW("namespace", CONF_TEXT, "service", CONF_AT_START, "NAMESPACE",
	    D | R | P, CHECK_NOT, 0, "first part of the path in the store"),
	ROW("user", CONF_TEXT, "_patroni", CONF_AT_START, NULL, 0, CHECK_NOT,
	    CONF_OURS,
	    "account of the store and REST helpers when started as root"),
	ROW("database_user", CONF_TEXT, NULL, CONF_AT_START, NULL, 0, CHECK_NOT,
	    CONF_OURS,
	    "account of PostgreSQL and the keeper when started as root; "
	    "default: owner of data_dir, else postgres"),
	ROW("set_uid_scripts", CONF_BOOL, NULL, CONF_AT_START, NULL, P,
	    CHECK_NOT, CONF_OURS,
	    "scripts may use sudo and other set-uid programs; default: on "
	    "when callbacks, hooks or methods of your own are configured"),
	ROW("control_socket", CONF_TEXT, NULL, CONF_AT_START, NULL, 0,
	    CHECK_NOT, CONF_OURS,
	    "Unix socket of patronictl local; default: see below"),

	/* ---- log ---- */
	SECTION("log", P, CHECK_TYPE, 0, "where log lines go and their form"),
	WORD("log.type", "plain", "plain json", CONF_RELOADED, "LOG_TYPE", P,
	    CONF_LENIENT, "form of a line"),
	WORD("log.level", "INFO",
	    "DEBUG INFO WARN WARNING ERROR FATAL CRITICAL", CONF_RELOADED,
	    "LOG_LEVEL", P, CONF_LENIENT, "lines below it are not written"),
	WORD("log.traceback_level", "ERROR", "DEBUG ERROR", CONF_RELOADED,
	    "LOG_TRACEBACK_LEVEL", P, CONF_NOCASE | CONF_LENIENT,
	    "accepted for compatibility; there are no tracebacks"),
	ROW("log.format", CONF_ANY, "'%(asctime)s %(levelname)s: %(message)s'",
	    CONF_RELOADED, "LOG_FORMAT", P, CHECK_FORMAT, 0,
	    "pattern of a line; a list of fields when type is json"),
	R_TEXT("log.dateformat", "LOG_DATEFORMAT", P,
	    "strftime pattern of the time; without it milliseconds follow"),
	ROW("log.static_fields", CONF_MAP, "{}", CONF_RELOADED,
	    "LOG_STATIC_FIELDS", P, CHECK_TYPE, 0,
	    "fields added to every line when type is json"),
	NUM("log.max_queue_size", CONF_INT, "1000", 0, 0, CONF_RELOADED,
	    "LOG_MAX_QUEUE_SIZE", P, CONF_LENIENT,
	    "accepted for compatibility; lines are not queued"),
	R_TEXT("log.dir", "LOG_DIR", P,
	    "directory of patroni.log; without it lines go to stderr"),
	NUM("log.file_num", CONF_INT, "4", 0, 0, CONF_RELOADED, "LOG_FILE_NUM",
	    P, CONF_LENIENT, "old log files kept"),
	NUM("log.file_size", CONF_INT, "25000000", 0, 0, CONF_RELOADED,
	    "LOG_FILE_SIZE", P, CONF_LENIENT,
	    "bytes after which the log file is rotated; 0: never"),
	NUM("log.mode", CONF_INT, NULL, 0, 511, CONF_RELOADED, "LOG_MODE", P,
	    CONF_LENIENT, "permissions of the log file (0644 is octal)"),
	ROW("log.loggers", CONF_MAP, "{}", CONF_RELOADED, "LOG_LOGGERS", P,
	    CHECK_TYPE, 0, "levels of components: name to level"),
	R_BOOL("log.deduplicate_heartbeat_logs", "false",
	    "LOG_DEDUPLICATE_HEARTBEAT_LOGS", P,
	    "leave out a heartbeat line that repeats the last one"),

	/* ---- ctl ---- */
	SECTION("ctl", D, CHECK_TYPE, 0,
	    "requests to REST interfaces of members, also by patronictl"),
	ROW("ctl.insecure", CONF_BOOL, "false", CONF_RELOADED, "CTL_INSECURE",
	    0, CHECK_TYPE, 0,
	    "patronictl does not check the members' certificates"),
	R_TEXT("ctl.cacert", "CTL_CACERT", D,
	    "CA certificates for the members; default restapi.cafile"),
	R_TEXT("ctl.certfile", "CTL_CERTFILE", D, "client certificate"),
	R_TEXT("ctl.keyfile", "CTL_KEYFILE", D, "key of the certificate"),
	SECRET("ctl.keyfile_password", CONF_RELOADED, "CTL_KEYFILE_PASSWORD", D,
	    "password of the key"),
	ROW("ctl.authentication", CONF_SECTION, NULL, CONF_RELOADED, NULL, D,
	    CHECK_NOT, 0,
	    "credentials for the members; default restapi.authentication"),
	ROW("ctl.authentication.username", CONF_TEXT, NULL, CONF_RELOADED,
	    "CTL_USERNAME", D, CHECK_NOT, 0, "user name"),
	ROW("ctl.authentication.password", CONF_TEXT, NULL, CONF_RELOADED,
	    "CTL_PASSWORD", D, CHECK_NOT, CONF_SECRET, "password"),
	ROW("ctl.auth", CONF_TEXT, NULL, CONF_RELOADED, NULL, D, CHECK_NOT,
	    CONF_OLD | CONF_SECRET, "old form: user:password"),

	/* ---- restapi ---- */
	SECTION("restapi", R, CHECK_TYPE, CONF_REQUIRED,
	    "the REST interface of this node"),
	ROW("restapi.thread_pool_size", CONF_INT, "5", CONF_AT_START,
	    "RESTAPI_THREAD_POOL_SIZE", 0, CHECK_TYPE, CONF_LENIENT,
	    "accepted for compatibility; there are no threads"),
	ROW("restapi.listen", CONF_TEXT, NULL, CONF_RELOADED, "RESTAPI_LISTEN",
	    R | P, CHECK_BIND, CONF_REQUIRED, "host:port to listen on"),
	ROW("restapi.connect_address", CONF_TEXT, NULL, CONF_RELOADED,
	    "RESTAPI_CONNECT_ADDRESS", R | P, CHECK_CONNECT, CONF_REQUIRED,
	    "host:port that others use; default listen"),
	SECTION("restapi.authentication", R, CHECK_TYPE, 0,
	    "credentials that requests with an effect must carry"),
	ROW("restapi.authentication.username", CONF_TEXT, NULL, CONF_RELOADED,
	    "RESTAPI_USERNAME", R, CHECK_TYPE, CONF_REQUIRED, "user name"),
	ROW("restapi.authentication.password", CONF_TEXT, NULL, CONF_RELOADED,
	    "RESTAPI_PASSWORD", R, CHECK_TYPE, CONF_REQUIRED | CONF_SECRET,
	    "password"),
	R_TEXT("restapi.certfile", "RESTAPI_CERTFILE", R | P,
	    "server certificate; makes the interface https"),
	R_TEXT("restapi.keyfile", "RESTAPI_KEYFILE", R,
	    "its key, when not in certfile"),
	SECRET("restapi.keyfile_password", CONF_RELOADED,
	    "RESTAPI_KEYFILE_PASSWORD", R, "password of the key"),
	R_TEXT("restapi.cafile", "RESTAPI_CAFILE", R,
	    "CA certificates of clients"),
	R_TEXT("restapi.ciphers", "RESTAPI_CIPHERS", R, "OpenSSL cipher list"),
	WORD("restapi.verify_client", "none", "none optional required",
	    CONF_RELOADED, "RESTAPI_VERIFY_CLIENT", R, CONF_NOCASE,
	    "whether clients show a certificate"),
	ROW("restapi.allowlist", CONF_STRINGS, NULL, CONF_RELOADED,
	    "RESTAPI_ALLOWLIST", R, CHECK_TYPE, 0,
	    "addresses, networks and names that may make unsafe requests"),
	R_BOOL("restapi.allowlist_include_members", "false",
	    "RESTAPI_ALLOWLIST_INCLUDE_MEMBERS", R,
	    "the members' REST addresses may, too"),
	ROW("restapi.http_extra_headers", CONF_MAP, NULL, CONF_RELOADED,
	    "RESTAPI_HTTP_EXTRA_HEADERS", R, CHECK_TYPE, 0,
	    "headers added to every answer"),
	ROW("restapi.https_extra_headers", CONF_MAP, NULL, CONF_RELOADED,
	    "RESTAPI_HTTPS_EXTRA_HEADERS", R, CHECK_TYPE, 0,
	    "headers added to every answer over TLS"),
	NUM("restapi.request_queue_size", CONF_INT, "5", 0, 4096, CONF_AT_START,
	    "RESTAPI_REQUEST_QUEUE_SIZE", R, CONF_LENIENT,
	    "connections that the kernel keeps waiting"),
	WORD("restapi.server_tokens", "Original",
	    "Original Minimal ProductOnly", CONF_RELOADED,
	    "RESTAPI_SERVER_TOKENS", R, CONF_NOCASE | CONF_LENIENT,
	    "how much the Server header tells"),
	ROW("restapi.auth", CONF_TEXT, NULL, CONF_RELOADED, NULL, R, CHECK_NOT,
	    CONF_OLD | CONF_SECRET, "old form: user:password"),

	/* ---- bootstrap ---- */
	SECTION("bootstrap", P, CHECK_TYPE, 0,
	    "how a new cluster is made; without it this node never makes one"),
	SECTION("bootstrap.dcs", P, CHECK_TYPE, CONF_REQUIRED,
	    "first dynamic configuration, written to the store once"),
	DYN("ttl", CONF_NUMBER, "30", 20, INT_TOP, 0,
	    "seconds that the leader lock lasts without renewal"),
	DYN("loop_wait", CONF_NUMBER, "10", 1, INT_TOP, 0,
	    "seconds between two runs of the HA loop"),
	DYN("retry_timeout", CONF_NUMBER, "10", 3, INT_TOP, 0,
	    "seconds that store and PostgreSQL operations are retried"),
	DYN("maximum_lag_on_failover", CONF_NUMBER, "1048576", 0, INT64_MAX, 0,
	    "bytes that a candidate may lag behind"),
	DYN("maximum_lag_on_syncnode", CONF_NUMBER, "-1", -1, INT64_MAX, 0,
	    "bytes after which a synchronous standby is replaced"),
	DYN("member_slots_ttl", CONF_DURATION, "1800", 0, INT_TOP, 0,
	    "how long the slot of a member that left is kept"),
	DYN("postgresql", CONF_SECTION, NULL, 0, 0, 0,
	    "the same keys as in postgresql, for all nodes"),
	DYN("postgresql.parameters", CONF_MAP, NULL, 0, 0, 0,
	    "PostgreSQL parameters of all nodes"),
	DYN_MAX("max_connections", "100", 1, 262143),
	DYN_MAX("max_locks_per_transaction", "64", 10, INT_TOP),
	DYN_MAX("max_prepared_transactions", "0", 0, 262143),
	DYN_MAX("max_replication_slots", "10", 0, 262143),
	DYN_MAX("max_wal_senders", "10", 0, 262143),
	DYN_MAX("max_worker_processes", "8", 0, 262143),
	DYN("postgresql.use_pg_rewind", CONF_BOOL, "false", 0, 0, 0,
	    "rejoin a former primary by pg_rewind"),
	ROW("bootstrap.dcs.postgresql.rewind", CONF_LIST, NULL, CONF_BOOTSTRAP,
	    NULL, P, CHECK_OPTIONS, 0, "options of pg_rewind"),
	ROW("bootstrap.dcs.postgresql.basebackup", CONF_LIST, NULL,
	    CONF_BOOTSTRAP, NULL, P, CHECK_OPTIONS, 0,
	    "options of pg_basebackup"),
	DYN("postgresql.pg_hba", CONF_STRINGS, NULL, 0, 0, 0,
	    "lines of pg_hba.conf"),
	DYN("postgresql.pg_ident", CONF_STRINGS, NULL, 0, 0, 0,
	    "lines of pg_ident.conf"),
	DYN("postgresql.pg_ctl_timeout", CONF_NUMBER, "60", 0, INT_TOP, 0,
	    "seconds to wait for pg_ctl"),
	DYN("postgresql.use_slots", CONF_BOOL, "true", 0, 0, 0,
	    "replication slots for the members"),
	DYN("primary_start_timeout", CONF_NUMBER, "300", 0, INT_TOP, 0,
	    "seconds that a crashed primary may take to come back; 0: fail "
	    "over at once"),
	DYN("primary_stop_timeout", CONF_NUMBER, "0", 0, INT_TOP, 0,
	    "seconds a stop may take in synchronous mode; 0: no limit"),
	DYN("standby_cluster", CONF_SECTION, NULL, 0, 0, 0,
	    "this cluster follows a primary elsewhere"),
	DYN("standby_cluster.host", CONF_TEXT, NULL, 0, 0, CONF_ONE_OF,
	    "host of the remote primary, also several with commas"),
	DYN("standby_cluster.port", CONF_INT, NULL, 0, PORT_MAX, CONF_ONE_OF,
	    "its port, also several with commas"),
	DYN("standby_cluster.restore_command", CONF_TEXT, NULL, 0, 0,
	    CONF_ONE_OF, "command that fetches archived WAL"),
	DYN("standby_cluster.primary_slot_name", CONF_TEXT, NULL, 0, 0, 0,
	    "slot on the remote primary"),
	DYN("standby_cluster.create_replica_methods", CONF_STRINGS, NULL, 0, 0,
	    0, "how the standby leader is made"),
	DYN("standby_cluster.archive_cleanup_command", CONF_TEXT, NULL, 0, 0, 0,
	    "command that removes archived WAL"),
	DYN("standby_cluster.recovery_min_apply_delay", CONF_TEXT, NULL, 0, 0,
	    0, "delay of the standby leader"),
	ROW("bootstrap.dcs.synchronous_mode", CONF_ANY, "off", CONF_BOOTSTRAP,
	    NULL, P, CHECK_SYNC_MODE, 0,
	    "on, off or quorum: manage synchronous_standby_names"),
	DYN("synchronous_mode_strict", CONF_BOOL, "false", 0, 0, 0,
	    "refuse commits rather than run without a synchronous standby"),
	DYN("synchronous_node_count", CONF_NUMBER, "1", 1, INT_TOP, 0,
	    "synchronous standbys wanted"),
	DYN_QUIET("max_timelines_history", CONF_NUMBER, "0",
	    "timelines kept in the history key; 0: all"),
	DYN_QUIET("primary_race_backoff", CONF_NUMBER, "0",
	    "seconds that a former primary leaves the race to others"),
	DYN_QUIET("failsafe_mode", CONF_BOOL, "false",
	    "stay primary without the store while all members agree"),
	DYN_QUIET("check_timeline", CONF_BOOL, "false",
	    "a candidate must be on the newest timeline"),
	DYN_QUIET("pause", CONF_BOOL, "false", "maintenance mode"),
	DYN_QUIET("slots", CONF_MAP, "{}",
	    "permanent slots: name to {type, database, plugin, cluster_type}"),
	DYN_QUIET("ignore_slots", CONF_LIST, "[]",
	    "slots that are left alone: {name, type, database, plugin}"),
	OLD("bootstrap.dcs.master_start_timeout", CONF_NUMBER, CONF_BOOTSTRAP,
	    P, "old name of primary_start_timeout"),
	OLD("bootstrap.dcs.master_stop_timeout", CONF_NUMBER, CONF_BOOTSTRAP, P,
	    "old name of primary_stop_timeout"),
	OLD("bootstrap.dcs.permanent_slots", CONF_MAP, CONF_BOOTSTRAP, P,
	    "old name of slots"),
	OLD("bootstrap.dcs.permanent_replication_slots", CONF_MAP,
	    CONF_BOOTSTRAP, P, "old name of slots"),
	ROW("bootstrap.initdb", CONF_ANY, NULL, CONF_BOOTSTRAP, NULL, P,
	    CHECK_OPTIONS, 0, "options of initdb"),
	ROW("bootstrap.method", CONF_TEXT, "initdb", CONF_BOOTSTRAP, NULL, P,
	    CHECK_TYPE, 0, "name of a custom method"),
	QUIET("bootstrap.pg_hba", CONF_STRINGS, NULL, CONF_BOOTSTRAP, P,
	    "lines added to pg_hba.conf when postgresql.pg_hba is not set"),
	QUIET("bootstrap.post_bootstrap", CONF_TEXT, NULL, CONF_BOOTSTRAP, P,
	    "command run on the new primary"),
	OLD("bootstrap.post_init", CONF_TEXT, CONF_BOOTSTRAP, P,
	    "synonym of post_bootstrap"),
	OLD("bootstrap.users", CONF_MAP, CONF_BOOTSTRAP, P,
	    "roles of version 1: name to {password, options}"),
	QUIET("bootstrap.*", CONF_MAP, NULL, CONF_BOOTSTRAP, P,
	    "a custom method: command, no_params, "
	    "keep_existing_recovery_conf, recovery_conf, arguments"),

	/* ---- stores ---- */
	SECTION("consul", D, CHECK_TYPE, 0, "Consul as the store"),
	ROW("consul.host", CONF_TEXT, "127.0.0.1:8500", CONF_AT_START, "-", D,
	    CHECK_REACH, CONF_ONE_OF, "host:port of the agent"),
	ROW("consul.url", CONF_TEXT, NULL, CONF_AT_START, "-", D, CHECK_TYPE,
	    CONF_ONE_OF, "URL of the agent; wins over host"),
	NUM("consul.port", CONF_INT, "8500", 0, PORT_MAX, CONF_AT_START, "-", D,
	    0, "port when host has none"),
	WORD("consul.scheme", "http", "http https", CONF_AT_START,
	    "CONSUL_SCHEME", D, 0, "scheme of the agent"),
	SECRET("consul.token", CONF_RELOADED, "-", D, "ACL token"),
	S_TEXT("consul.cacert", "-", D, "CA certificates for the agent"),
	S_TEXT("consul.cert", "-", D, "client certificate"),
	S_TEXT("consul.key", "-", D, "key of the client certificate"),
	R_TEXT("consul.dc", "-", D, "datacentre"),
	ROW("consul.service_check_interval", CONF_TEXT, "5s", CONF_AT_START,
	    "-", D, CHECK_TYPE, 0, "how often Consul checks the service"),
	S_TEXT("consul.service_check_tls_server_name", "-", D,
	    "SNI name of the check"),
	S_BOOL(
	    "consul.verify", "true", "-", D, "check the agent's certificate"),
	R_BOOL("consul.register_service", "false", "-", D,
	    "register a service with the role as tag"),
	ROW("consul.checks", CONF_STRINGS, "[]", CONF_AT_START, "-", D,
	    CHECK_TYPE, 0, "health checks that the session depends on"),
	ROW("consul.service_tags", CONF_STRINGS, "[]", CONF_RELOADED, "-", D,
	    CHECK_TYPE, 0, "more tags of the service"),
	WORD("consul.consistency", "default", "default consistent stale",
	    CONF_RELOADED, "-", D, 0, "consistency of reads"),

	ETCD_ROWS("etcd"),
	ETCD_ROWS("etcd3"),

	SECTION(
	    "exhibitor", D, CHECK_TYPE, 0, "ZooKeeper found through Exhibitor"),
	ROW("exhibitor.hosts", CONF_STRINGS, NULL, CONF_AT_START, "-", D,
	    CHECK_TYPE, CONF_REQUIRED, "Exhibitor hosts to start from"),
	{ "exhibitor.port", CONF_INT, NULL, 0, PORT_MAX, NULL, CONF_AT_START,
	    "-", D, CHECK_TYPE, CONF_REQUIRED, "port of Exhibitor" },
	NUM("exhibitor.poll_interval", CONF_INT, "300", 1, INT_TOP,
	    CONF_AT_START, NULL, D, 0, "seconds between two polls"),
	ZK_ROWS("exhibitor", CHECK_NOT),

	SECTION("raft", D, CHECK_TYPE, 0,
	    "built-in Raft of older versions, which this program does not have"),
	ROW("raft.self_addr", CONF_TEXT, NULL, CONF_AT_START, "RAFT_SELF_ADDR",
	    D, CHECK_CONNECT, CONF_REQUIRED, "host:port of this node"),
	ROW("raft.bind_addr", CONF_TEXT, NULL, CONF_AT_START, "RAFT_BIND_ADDR",
	    D, CHECK_BIND, 0, "host:port to listen on; default self_addr"),
	ROW("raft.partner_addrs", CONF_STRINGS, NULL, CONF_AT_START,
	    "RAFT_PARTNER_ADDRS", D, CHECK_REACH_LIST, CONF_REQUIRED,
	    "host:port of the others"),
	S_TEXT("raft.data_dir", "RAFT_DATA_DIR", D, "directory of its log"),
	SECRET("raft.password", CONF_AT_START, "RAFT_PASSWORD", D,
	    "shared secret of the members"),
	ROW("raft.min_timeout", CONF_REAL, "0.4", CONF_AT_START,
	    "RAFT_MIN_TIMEOUT", D, CHECK_TYPE, 0, "election timeout, least"),
	ROW("raft.max_timeout", CONF_REAL, "1.4", CONF_AT_START,
	    "RAFT_MAX_TIMEOUT", D, CHECK_TYPE, 0, "election timeout, most"),
	ROW("raft.connection_timeout", CONF_REAL, "3.5", CONF_AT_START,
	    "RAFT_CONNECTION_TIMEOUT", D, CHECK_TYPE, 0,
	    "seconds after which a silent peer is cut"),
	ROW("raft.append_entries_period", CONF_REAL, "0.1", CONF_AT_START,
	    "RAFT_APPEND_ENTRIES_PERIOD", D, CHECK_TYPE, 0,
	    "seconds between heartbeats"),
	ROW("raft.connection_retry_time", CONF_REAL, "5.0", CONF_AT_START,
	    "RAFT_CONNECTION_RETRY_TIME", D, CHECK_TYPE, 0,
	    "seconds between connection attempts; 0 allowed"),
	ROW("raft.leader_fallback_timeout", CONF_REAL, "30.0", CONF_AT_START,
	    "RAFT_LEADER_FALLBACK_TIMEOUT", D, CHECK_TYPE, 0,
	    "seconds after which a leader without followers steps down"),

	SECTION("zookeeper", D, CHECK_TYPE, 0, "ZooKeeper as the store"),
	ROW("zookeeper.hosts", CONF_ANY, NULL, CONF_AT_START, "-", D,
	    CHECK_REACH_ANY, CONF_REQUIRED,
	    "servers, list or text with commas"),
	ZK_ROWS("zookeeper", CHECK_TYPE),
	OLD("zookeeper.exhibitor", CONF_MAP, CONF_AT_START, D,
	    "old place of exhibitor"),

	SECTION(
	    "kubernetes", D, CHECK_TYPE, 0, "the Kubernetes API as the store"),
	ROW("kubernetes.labels", CONF_MAP, NULL, CONF_AT_START, "-", D,
	    CHECK_TYPE, CONF_REQUIRED, "labels that find the cluster's pods"),
	S_BOOL("kubernetes.bypass_api_service", "false", "-", D,
	    "connect to the API servers' own addresses"),
	S_BOOL("kubernetes.use_endpoints", "false", "-", D,
	    "Endpoints instead of ConfigMaps"),
	ROW("kubernetes.namespace", CONF_TEXT, "default", CONF_AT_START, "-", D,
	    CHECK_TYPE, 0, "namespace of the objects"),
	ROW("kubernetes.scope_label", CONF_TEXT, "cluster-name", CONF_AT_START,
	    "-", D, CHECK_TYPE, 0, "label that holds the scope"),
	ROW("kubernetes.role_label", CONF_TEXT, "role", CONF_AT_START, "-", D,
	    CHECK_TYPE, 0, "label that holds the role"),
	ROW("kubernetes.leader_label_value", CONF_TEXT, "primary",
	    CONF_AT_START, "-", D, CHECK_TYPE, 0, "its value on the primary"),
	ROW("kubernetes.follower_label_value", CONF_TEXT, "replica",
	    CONF_AT_START, "-", D, CHECK_TYPE, 0, "its value on a replica"),
	ROW("kubernetes.standby_leader_label_value", CONF_TEXT, "primary",
	    CONF_AT_START, "-", D, CHECK_TYPE, 0,
	    "its value on a standby leader"),
	S_TEXT("kubernetes.tmp_role_label", "-", D,
	    "second label with the role, for a change of names"),
	S_TEXT("kubernetes.cacert", "-", D,
	    "CA certificates of the API; default of the service account"),
	ROW("kubernetes.pod_ip", CONF_TEXT, NULL, CONF_AT_START, "-", D,
	    CHECK_IP, 0, "address of this pod (use_endpoints)"),
	ROW("kubernetes.ports", CONF_LIST, NULL, CONF_AT_START, "-", D,
	    CHECK_PORTS, 0, "ports of the endpoint: {name, port, protocol}"),
	ROW("kubernetes.retriable_http_codes", CONF_ANY, "[]", CONF_AT_START,
	    "-", D, CHECK_CODES, 0,
	    "more HTTP codes after which a request is repeated"),
	ROW("kubernetes.bootstrap_labels", CONF_MAP, NULL, CONF_AT_START, "-",
	    D, CHECK_TYPE, 0, "labels of the pod while it is made"),
	ROW("kubernetes.context", CONF_TEXT, "kind-kind", CONF_AT_START, "-", D,
	    CHECK_NOT, 0, "context of kubeconfig, outside a cluster"),

	/* ---- citus ---- */
	SECTION("citus", D | R | P, CHECK_TYPE, 0,
	    "this cluster is one group of a Citus cluster"),
	ROW("citus.database", CONF_TEXT, NULL, CONF_AT_START, "CITUS_DATABASE",
	    D | R | P, CHECK_TYPE, CONF_REQUIRED,
	    "database with the extension"),
	{ "citus.group", CONF_INT, NULL, 0, INT_TOP, NULL, CONF_AT_START,
	    "CITUS_GROUP", D | R | P, CHECK_TYPE, CONF_REQUIRED,
	    "group number; 0 is the coordinator" },

	/* ---- postgresql ---- */
	SECTION("postgresql", P, CHECK_TYPE, CONF_REQUIRED,
	    "the PostgreSQL server of this node"),
	ROW("postgresql.listen", CONF_TEXT, NULL, CONF_PENDING,
	    "POSTGRESQL_LISTEN", P, CHECK_BIND_MANY, CONF_REQUIRED,
	    "host[,host]:port for listen_addresses and port"),
	ROW("postgresql.connect_address", CONF_TEXT, NULL, CONF_RELOADED,
	    "POSTGRESQL_CONNECT_ADDRESS", P, CHECK_CONNECT, CONF_REQUIRED,
	    "host:port that others use"),
	ROW("postgresql.proxy_address", CONF_TEXT, NULL, CONF_RELOADED,
	    "POSTGRESQL_PROXY_ADDRESS", P, CHECK_CONNECT, 0,
	    "host:port of a pooler or proxy, published as proxy_url"),
	SECTION("postgresql.authentication", P, CHECK_TYPE, CONF_REQUIRED,
	    "roles used by the manager"),
	AUTH("replication", "REPLICATION", CONF_REQUIRED,
	    "role that replicas connect with"),
	AUTH("superuser", "SUPERUSER", CONF_REQUIRED,
	    "role for everything else"),
	AUTH("rewind", "REWIND", 0, "role of pg_rewind, from PostgreSQL 11"),
	ROW("postgresql.data_dir", CONF_TEXT, NULL, CONF_AT_START,
	    "POSTGRESQL_DATA_DIR", P, CHECK_DATA_DIR, CONF_REQUIRED,
	    "the data directory"),
	SECTION("postgresql.bin_name", P, CHECK_TYPE, 0,
	    "names of the programs where they differ"),
	BINARY("pg_ctl", "POSTGRESQL_BIN_PG_CTL"),
	BINARY("initdb", "POSTGRESQL_BIN_INITDB"),
	BINARY("pg_controldata", "POSTGRESQL_BIN_PG_CONTROLDATA"),
	BINARY("pg_basebackup", "POSTGRESQL_BIN_PG_BASEBACKUP"),
	BINARY("postgres", "POSTGRESQL_BIN_POSTGRES"),
	BINARY("pg_isready", "POSTGRESQL_BIN_PG_ISREADY"),
	BINARY("pg_rewind", "POSTGRESQL_BIN_PG_REWIND"),
	ROW("postgresql.bin_dir", CONF_TEXT, "''", CONF_AT_START,
	    "POSTGRESQL_BIN_DIR", P, CHECK_BIN_DIR, 0,
	    "directory of the programs; empty: found in $PATH"),
	ROW("postgresql.parameters", CONF_MAP, NULL, CONF_PENDING, NULL, P,
	    CHECK_TYPE, 0, "PostgreSQL parameters of this node"),
	ROW("postgresql.parameters.unix_socket_directories", CONF_TEXT, NULL,
	    CONF_PENDING, NULL, P, CHECK_TYPE, 0,
	    "the PostgreSQL parameter; the first absolute one is used"),
	ROW("postgresql.pg_hba", CONF_STRINGS, NULL, CONF_RELOADED, NULL, P,
	    CHECK_TYPE, 0, "lines of pg_hba.conf"),
	ROW("postgresql.pg_ident", CONF_STRINGS, NULL, CONF_RELOADED, NULL, P,
	    CHECK_TYPE, 0, "lines of pg_ident.conf"),
	NUM("postgresql.pg_ctl_timeout", CONF_NUMBER, "60", 0, INT_TOP,
	    CONF_RELOADED, NULL, P, CONF_LENIENT, "seconds to wait for pg_ctl"),
	R_BOOL("postgresql.use_pg_rewind", "false", NULL, P,
	    "rejoin a former primary by pg_rewind"),
	ROW("postgresql.rewind", CONF_ANY, NULL, CONF_RELOADED, NULL, P,
	    CHECK_OPTIONS, 0, "options of pg_rewind"),
	ROW("postgresql.basebackup", CONF_ANY, NULL, CONF_RELOADED, NULL, P,
	    CHECK_OPTIONS, 0, "options of pg_basebackup"),
	ROW("postgresql.config_dir", CONF_TEXT, NULL, CONF_AT_START,
	    "POSTGRESQL_CONFIG_DIR", P, CHECK_NOT, 0,
	    "directory of postgresql.conf; default data_dir"),
	QUIET("postgresql.config_base_name", CONF_TEXT, "postgresql",
	    CONF_AT_START, P, "base of the configuration file names"),
	QUIET("postgresql.custom_conf", CONF_TEXT, NULL, CONF_RELOADED, P,
	    "file included instead of the base file"),
	QUIET("postgresql.database", CONF_TEXT, "postgres", CONF_AT_START, P,
	    "database of the manager's own connections"),
	ROW("postgresql.pgpass", CONF_TEXT, "~/pgpass", CONF_AT_START,
	    "POSTGRESQL_PGPASS", P, CHECK_NOT, 0,
	    "password file that is written"),
	BY_ROLE("parameters", CONF_MAP, "parameters that are added"),
	BY_ROLE("pg_hba", CONF_STRINGS, "lines that replace pg_hba"),
	BY_ROLE("pg_ident", CONF_STRINGS, "lines that replace pg_ident"),
	QUIET("postgresql.recovery_conf", CONF_MAP, NULL, CONF_RELOADED, P,
	    "recovery parameters of replicas"),
	QUIET("postgresql.use_unix_socket", CONF_BOOL, "false", CONF_RELOADED,
	    P, "own connections by Unix socket"),
	QUIET("postgresql.use_unix_socket_repl", CONF_BOOL, "false",
	    CONF_RELOADED, P, "own replication connections by Unix socket"),
	QUIET("postgresql.krbsrvname", CONF_TEXT, NULL, CONF_RELOADED, P,
	    "Kerberos service name"),
	QUIET("postgresql.callbacks", CONF_SECTION, NULL, CONF_RELOADED, P,
	    "commands run after an event, with event, role and scope"),
	QUIET("postgresql.callbacks.on_reload", CONF_TEXT, NULL, CONF_RELOADED,
	    P, "after a reload"),
	QUIET("postgresql.callbacks.on_restart", CONF_TEXT, NULL, CONF_RELOADED,
	    P, "after a restart"),
	QUIET("postgresql.callbacks.on_role_change", CONF_TEXT, NULL,
	    CONF_RELOADED, P, "after promotion or demotion"),
	QUIET("postgresql.callbacks.on_start", CONF_TEXT, NULL, CONF_RELOADED,
	    P, "after a start"),
	QUIET("postgresql.callbacks.on_stop", CONF_TEXT, NULL, CONF_RELOADED, P,
	    "after a stop"),
	QUIET("postgresql.create_replica_methods", CONF_STRINGS, "[basebackup]",
	    CONF_RELOADED, P, "methods tried in turn to make a replica"),
	QUIET("postgresql.remove_data_directory_on_rewind_failure", CONF_BOOL,
	    "false", CONF_RELOADED, P,
	    "make the node anew when pg_rewind fails"),
	QUIET("postgresql.remove_data_directory_on_diverged_timelines",
	    CONF_BOOL, "false", CONF_RELOADED, P,
	    "make the node anew when timelines diverged"),
	QUIET("postgresql.pre_promote", CONF_TEXT, NULL, CONF_RELOADED, P,
	    "command run before promotion; failure gives the lock back"),
	QUIET("postgresql.before_stop", CONF_TEXT, NULL, CONF_RELOADED, P,
	    "command run before PostgreSQL is stopped"),
	ROW("postgresql.use_slots", CONF_BOOL, "true", CONF_DYNAMIC, NULL, P,
	    CHECK_NOT, 0, "dynamic configuration only"),
	OLD("postgresql.create_replica_method", CONF_STRINGS, CONF_RELOADED, P,
	    "old name of create_replica_methods"),
	OLD("postgresql.name", CONF_TEXT, CONF_AT_START, P,
	    "old place of name"),
	OLD("postgresql.replication", CONF_MAP, CONF_RELOADED, P,
	    "old place of authentication.replication"),
	OLD("postgresql.superuser", CONF_MAP, CONF_RELOADED, P,
	    "old place of authentication.superuser"),
	OLD("postgresql.pg_rewind", CONF_MAP, CONF_RELOADED, P,
	    "old form of authentication.superuser with use_pg_rewind"),
	QUIET("postgresql.*", CONF_MAP, NULL, CONF_RELOADED, P,
	    "a custom replica method: command, no_params, no_leader, "
	    "keep_data, arguments"),

	/* ---- watchdog ---- */
	SECTION("watchdog", W | P, CHECK_TYPE, 0,
	    "what stops a primary whose manager hangs"),
	ROW("watchdog.mode", CONF_ANY, "automatic", CONF_RELOADED, NULL, W | P,
	    CHECK_WATCHDOG_MODE, CONF_LENIENT,
	    "off, automatic or required: use of the device"),
	ROW("watchdog.device", CONF_TEXT, "/dev/watchdog", CONF_RELOADED, NULL,
	    W | P, CHECK_TYPE, 0, "the device"),
	NUM("watchdog.safety_margin", CONF_INT, "5", -1, INT_TOP, CONF_RELOADED,
	    NULL, W | P, 0,
	    "seconds between its timeout and ttl; -1: half of ttl"),
	QUIET("watchdog.driver", CONF_TEXT, "default", CONF_RELOADED, W | P,
	    "default, or testing for a named pipe"),
	ROW("watchdog.fence", CONF_BOOL, "on", CONF_RELOADED, NULL, W | P,
	    CHECK_NOT, CONF_OURS,
	    "stop PostgreSQL when the lease of a primary has run out"),

	/* ---- tags ---- */
	SECTION("tags", P | R, CHECK_TYPE, 0, "what this node may become"),
	ROW("tags.nofailover", CONF_BOOL, "false", CONF_RELOADED, NULL, P | R,
	    CHECK_TAGS, 0, "never becomes primary"),
	{ "tags.failover_priority", CONF_INT, "1", 0, INT_TOP, NULL,
	    CONF_RELOADED, NULL, P | R, CHECK_TAGS, 0,
	    "higher is preferred in a race; 0: never" },
	R_BOOL("tags.clonefrom", "false", NULL, P | R,
	    "preferred source of new replicas"),
	R_BOOL("tags.noloadbalance", "false", NULL, P | R,
	    "GET /replica answers 503"),
	R_TEXT("tags.replicatefrom", NULL, P | R, "member to replicate from"),
	ROW("tags.nosync", CONF_BOOL, "false", CONF_RELOADED, NULL, P | R,
	    CHECK_TAGS, 0, "never a synchronous standby"),
	{ "tags.sync_priority", CONF_INT, "1", 0, INT_TOP, NULL, CONF_RELOADED,
	    NULL, P | R, CHECK_TAGS, 0,
	    "higher is preferred as synchronous standby; 0: never" },
	R_BOOL("tags.nostream", "false", NULL, P | R,
	    "replicates from the archive alone"),
	QUIET("tags.*", CONF_ANY, NULL, CONF_RELOADED, P | R,
	    "a tag of one's own, published with the member"),
	{ NULL, CONF_SECTION, NULL, 0, 0, NULL, CONF_RELOADED, NULL, 0,
	    CHECK_NOT, 0, NULL },
};
/* clang-format on */

/* Does the row's path stand for this path? *wild: by way of a `*`. */
static bool
path_matches(const char *pattern, const char *path, bool *wild)
{
	size_t plen, len;

	*wild = false;
	for (;;) {
		plen = strcspn(pattern, ".");
		len = strcspn(path, ".");
		if (plen == 1 && *pattern == '*')
			*wild = true;
		else if (plen != len || strncmp(pattern, path, len) != 0)
			return false;
		if (pattern[plen] != path[len])
			return false;
		if (pattern[plen] == '\0')
			return true;
		pattern += plen + 1;
		path += len + 1;
	}
}

const struct conf_key *
conf_key_find(const char *path)
{
	const struct conf_key *k, *found = NULL;
	bool wild;

	for (k = conf_keys; k->path != NULL; k++) {
		if (!path_matches(k->path, path, &wild))
			continue;
		if (!wild)
			return k;
		found = k;
	}
	return found;
}

/* Optimal string alignment distance; more than `max` counts as max + 1. */
static unsigned
distance(const char *a, size_t la, const char *b, size_t lb, unsigned max)
{
	unsigned rows[3][64], *two = rows[0], *one = rows[1], *cur = rows[2];
	unsigned *t, cost, best;

	if (la >= 64 || lb >= 64)
		return max + 1;
	for (size_t j = 0; j <= lb; j++)
		one[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		cur[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			cost = a[i - 1] == b[j - 1] ? 0 : 1;
			best = one[j - 1] + cost;
			if (one[j] + 1 < best)
				best = one[j] + 1;
			if (cur[j - 1] + 1 < best)
				best = cur[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && two[j - 2] + 1 < best)
				best = two[j - 2] + 1;
			cur[j] = best;
		}
		t = two;
		two = one;
		one = cur;
		cur = t;
	}
	return one[lb] > max ? max + 1 : one[lb];
}

const char *
conf_key_nearest(const char *path)
{
	const char *word = strrchr(path, '.'), *found = NULL, *last;
	size_t prefix = word != NULL ? (size_t)(word + 1 - path) : 0, len;
	unsigned max, d;

	word = path + prefix;
	len = strlen(word);
	max = len < 4 ? 1 : len < 9 ? 2 : 3;
	for (const struct conf_key *k = conf_keys; k->path != NULL; k++) {
		if (strncmp(k->path, path, prefix) != 0 ||
		    strchr(k->path + prefix, '.') != NULL)
			continue;
		last = k->path + prefix;
		if (*last == '*')
			continue;
		d = distance(word, len, last, strlen(last), max);
		if (d <= max && d > 0) {
			found = last;
			max = d - 1;
			if (max == 0)
				break;
		}
	}
	return found;
}

static void
accepted_number(
    const struct conf_key *k, const char *kind, char *buf, size_t size)
{
	if (k->min == 0 && k->max == 0)
		snprintf(buf, size, "%s", kind);
	else if (k->max == INT_TOP || k->max == INT64_MAX)
		snprintf(
		    buf, size, "%s, %lld or more", kind, (long long)k->min);
	else
		snprintf(buf, size, "%s from %lld to %lld", kind,
		    (long long)k->min, (long long)k->max);
}

void
conf_key_accepted(const struct conf_key *k, char *buf, size_t size)
{
	switch (k->type) {
	case CONF_SECTION:
	case CONF_MAP:
		snprintf(buf, size, "a mapping");
		return;
	case CONF_TEXT:
		snprintf(buf, size, "text");
		return;
	case CONF_INT:
	case CONF_NUMBER:
		accepted_number(k, "an integer", buf, size);
		return;
	case CONF_REAL:
		accepted_number(k, "a number", buf, size);
		return;
	case CONF_BOOL:
		snprintf(buf, size, "on, off, true, false, yes or no");
		return;
	case CONF_BYTES:
		accepted_number(
		    k, "bytes, or a number with B kB MB GB TB", buf, size);
		return;
	case CONF_DURATION:
		accepted_number(
		    k, "seconds, or a number with ms s min h d", buf, size);
		return;
	case CONF_WORD:
		snprintf(buf, size, "one of: %s", k->words);
		return;
	case CONF_LIST:
		snprintf(buf, size, "a list");
		return;
	case CONF_STRINGS:
		snprintf(buf, size, "a list of text");
		return;
	case CONF_ANY:
		break;
	}
	snprintf(buf, size, "%s", k->help);
}
