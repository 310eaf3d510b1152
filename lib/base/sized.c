/* SPDX-License-Identifier: MIT */
/* See sized.h. */
#include "base/sized.h"

#include <stdint.h>
#include <string.h>

#include "base/error.h"

/* No structure is that large: a size above it was never set. */
#define SIZE_MOST ((size_t)1 << 16)

static size_t size_of(const void *sized)
{
	size_t size;

	memcpy(&size, sized, sizeof(size));
	return size;
}

int q2_sized_check(const void *theirs, struct qcow2_error *err)
{
	size_t size = size_of(theirs);

	if (size < sizeof(size) || size > SIZE_MOST)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the member size of a structure is not set to its size");
	return 0;
}

int q2_sized_take(void *mine, size_t mine_size, const void *theirs, struct qcow2_error *err)
{
	const uint8_t *bytes = theirs;
	size_t size;

	memset(mine, 0, mine_size);
	if (theirs) {
		if (q2_sized_check(theirs, err))
			return -1;
		size = size_of(theirs);
		for (size_t i = mine_size; i < size; i++)
			if (bytes[i] != 0)
				return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
					       "an option is set that this version does not know");
		memcpy(mine, theirs, size < mine_size ? size : mine_size);
	}
	memcpy(mine, &mine_size, sizeof(mine_size));
	return 0;
}

void q2_sized_give(void *theirs, const void *mine, size_t mine_size)
{
	size_t size = size_of(theirs);

	memset(theirs, 0, size);
	memcpy(theirs, mine, size < mine_size ? size : mine_size);
	memcpy(theirs, &size, sizeof(size));
}

int q2_flags_check(unsigned flags, unsigned known, struct qcow2_error *err)
{
	if (flags & ~known)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "a flag is set that this version does not know: 0x%x",
			       flags & ~known);
	return 0;
}
