/* SPDX-License-Identifier: MIT */
/* What an L2 entry refers to: for the counting, and for naming owners. */
#ifndef QCOW2_CHECK_L2_H
#define QCOW2_CHECK_L2_H

#include "check/crew.h"
#include "check/internal.h"

/* For what an entry of that table that is not compressed uses its cluster. */
enum qcow2_use qcow2_l2_use(const struct qcow2_l2_ref *ref, uint64_t entry);

/*
 * The bytes of the file that an entry refers to, without its place; false if there are none: it is
 * unallocated, in a data file, or starts past the end.
 */
bool qcow2_l2_claim(const struct qcow2_image *image, const struct qcow2_l2_ref *ref, uint64_t entry,
		    struct qcow2_claim *claim);

#endif
