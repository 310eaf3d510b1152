/* SPDX-License-Identifier: MIT */
/* Which names are those of images over NBD, and not of files. */
#ifndef Q2_BASE_NBD_NAME_H
#define Q2_BASE_NBD_NAME_H

#include <stdbool.h>
#include <string.h>

static inline bool q2_nbd_name_wants_tls(const char *name)
{
	return strncmp(name, "nbds://", 7) == 0 || strncmp(name, "nbds+unix://", 12) == 0;
}

static inline bool q2_is_nbd_name(const char *name)
{
	return strncmp(name, "nbd://", 6) == 0 || strncmp(name, "nbd+unix://", 11) == 0 ||
	       q2_nbd_name_wants_tls(name);
}

#endif
