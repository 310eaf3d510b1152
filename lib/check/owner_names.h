/* SPDX-License-Identifier: MIT */
/* Names of the snapshots and bitmaps that owners of bad clusters are parts of. */
#ifndef Q2_CHECK_OWNER_NAMES_H
#define Q2_CHECK_OWNER_NAMES_H

#include "check/owners.h"

struct q2_part_name {
	uint64_t index;                  /* of the snapshot or bitmap */
	char text[QCOW2_OWNER_NAME_MAX]; /* escaped, and maybe cut */
};

/* Those of one kind, in the order of their indexes. */
struct q2_part_names {
	struct q2_part_name *items;
	size_t count, capacity;
};

/*
 * Reads the names of all snapshots or bitmaps that owners of the named clusters are parts of.
 * 0, or -1 with check->err filled.
 */
int q2_part_names_find(struct q2_check *check, const struct q2_named *named,
		       enum qcow2_part_of kind, struct q2_part_names *names);
/* The name of one of them; "" if it has none. */
const char *q2_part_names_get(const struct q2_part_names *names, uint64_t index);
void q2_part_names_release(struct q2_check *check, struct q2_part_names *names);

#endif
