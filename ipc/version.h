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

/* The stores that this build can speak to, and what is said when the
 * configuration names none of them (spec/dcs.md 1, spec/config.md 2.3). */
#define STORE_IMPLEMENTATIONS "etcd3"
#define STORE_MISSING                                                       \
	"Can not find suitable configuration of distributed configuration " \
	"store\nAvailable implementations: " STORE_IMPLEMENTATIONS

#endif
