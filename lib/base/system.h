/* SPDX-License-Identifier: MIT */
/*
 * What systems have under different names, or lack, but for files, which source/system.h has. Each
 * difference that the library meets is decided here, so that the code elsewhere reads the same for
 * all. Where something is lacking altogether, such as locks of open files, its caller goes on
 * without (see docs/portability.md).
 */
#ifndef Q2_BASE_SYSTEM_H
#define Q2_BASE_SYSTEM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* FreeBSD lacks it. Reads and writes never fail with the one that stands for it. */
#ifdef ENODATA
#define Q2_ENODATA ENODATA
#else
#define Q2_ENODATA ENOMSG
#endif

/* Numbers as little-endian bytes in memory, and back: the same exchange both ways. */
static inline uint64_t q2_little_endian(uint64_t number)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap64(number);
#else
	return number;
#endif
}

/* Fills up to 256 bytes with what nobody can guess. False: there is none, or none yet. */
bool q2_random(void *bytes, size_t size);

/* Overwrites a secret, also one that is never read again. */
void q2_wipe(void *bytes, size_t size);

#endif
