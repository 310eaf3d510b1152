/* SPDX-License-Identifier: MIT */
/* What an L2 entry refers to: for the counting, and for naming owners. */
#ifndef Q2_CHECK_L2_H
#define Q2_CHECK_L2_H

#include "base/crew.h"
#include "check/internal.h"

/* For what an entry of that table that is not compressed uses its cluster. */
enum q2_use q2_l2_use(const struct q2_l2_ref *ref, uint64_t entry);

/*
 * The bytes of the file that an entry refers to, without its place; false if there are none: it is
 * unallocated, in a data file, or starts past the end.
 */
bool q2_l2_claim(const struct qcow2_image *image, const struct q2_l2_ref *ref, uint64_t entry,
		 struct q2_claim *claim);

#endif
