/* SPDX-License-Identifier: MIT */
/* See system.h. */
#include "base/system.h"

#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

bool q2_random(void *bytes, size_t size)
{
#ifdef GRND_NONBLOCK
	return getrandom(bytes, size, GRND_NONBLOCK) == (ssize_t)size;
#else
	return getentropy(bytes, size) == 0;
#endif
}

void q2_wipe(void *bytes, size_t size)
{
#ifdef __APPLE__
	volatile unsigned char *each = bytes;

	while (size-- > 0)
		*each++ = 0;
#else
	explicit_bzero(bytes, size);
#endif
}
