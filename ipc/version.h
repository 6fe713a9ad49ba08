/*
 * version.h: which release this is.
 *
 * PROGRAM_VERSION is this program's own number (--version, patronictl).  What
 * other members and tools read as `version` (member data, REST) is the level
 * of behaviour that spec/dcs.md 2.6 asks for: COMPAT_VERSION.
 */
#ifndef IPC_VERSION_H
#define IPC_VERSION_H

#define PROGRAM_VERSION "0.1.0"
#define COMPAT_VERSION "4.1.4"

/*
 * The stores that this build can speak to: name of the configuration section,
 * in the order in which sections are looked for (alphabetical, spec/dcs.md 1).
 * A driver is added here, and nowhere else: dcs.c makes its table of
 * `dcs_<name>` from it, the configuration chooses by it, and it is what is
 * said when the configuration names none of them (spec/config.md 2.3).
 */
#define STORES(FIRST, NEXT) \
	FIRST(consul)       \
	NEXT(etcd) NEXT(etcd3) NEXT(exhibitor) NEXT(kubernetes) NEXT(zookeeper)
#define STORE_FIRST(name) #name
#define STORE_NEXT(name) ", " #name
#define STORE_IMPLEMENTATIONS STORES(STORE_FIRST, STORE_NEXT)
#define STORE_MISSING                                                       \
	"Can not find suitable configuration of distributed configuration " \
	"store\nAvailable implementations: " STORE_IMPLEMENTATIONS

#endif
