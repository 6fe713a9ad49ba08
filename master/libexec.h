/*
 * libexec.h: where an installed system keeps the helper programs.
 */
#ifndef MASTER_LIBEXEC_H
#define MASTER_LIBEXEC_H

#ifndef LIBEXECDIR
#define LIBEXECDIR "/usr/libexec/patroni"
#endif

#endif
