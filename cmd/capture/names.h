/* SPDX-License-Identifier: MIT */
/*
 * Neutral names of the same length instead of those in an image. Equal names get equal ones, and
 * different names different ones, up to each NUL, where programs end a name. Characters that a check
 * complains of stay or have others of their kind in their place, so that what was malformed or not
 * printable is so afterwards.
 */
#ifndef CMD_CAPTURE_NAMES_H
#define CMD_CAPTURE_NAMES_H

#include <qcow2/base.h>
#include <qcow2/error.h>

/* A name that was seen, or the shape of some, by its digest; and a number. */
struct capture_known {
	uint8_t digest[16];
	uint64_t
		number; /* of the name among those of its shape, or of names of the shape; from 1 */
};

/* All zeros: none was seen. */
struct capture_names {
	struct capture_known *slots; /* a hash table; number 0: free */
	size_t count, room;
};

/*
 * Puts another name in place of the bytes of one. 0, or -1 with *err filled: QCOW2_ERROR_MEMORY, or
 * QCOW2_ERROR_LIMIT if there are more short names of one kind than there are neutral ones.
 */
int capture_names_replace(struct capture_names *names, uint8_t *name, size_t size,
			  struct qcow2_error *err);

void capture_names_release(struct capture_names *names);

#endif
