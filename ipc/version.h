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

#endif
