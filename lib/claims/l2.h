/* SPDX-License-Identifier: MIT */
/* Distinct L2 tables, and what an entry of one refers to. */
#ifndef Q2_CLAIMS_L2_H
#define Q2_CLAIMS_L2_H

#include "image/guest.h"

#include <qcow2/claims.h>
#include <qcow2/entry.h>

/* The list that the active image's L1 table is; that of snapshot i is 1 + i. */
#define Q2_ACTIVE 0

/* A distinct L2 table. There may be millions, so it is kept small. */
struct q2_l2_ref {
	uint64_t offset_bytes; /* inside the file */
	uint64_t weight;       /* L1 entries that lead to it */
	uint64_t active;       /* of them, those of the active image */
	uint32_t list;         /* the first of them: its list, */
	uint32_t index;        /* and its index in the L1 table */
	bool copied;           /* an active one has the copied flag */
	bool beyond_size;      /* the active one maps clusters past the virtual size */
	bool faulty;           /* for the check: an entry breaks a rule by itself */
	bool used;             /* for the check: an entry is not 0 */
};

/* Says in a claim which part of a virtual disk it maps, if it maps any. */
static inline void q2_claim_set_guest(struct qcow2_claim *claim, struct q2_guest_range guest)
{
	claim->has_guest = guest.length_bytes != 0;
	claim->guest_byte = guest.byte;
	claim->guest_length_bytes = guest.length_bytes;
}

/* The L1 table of the disk that a claim belongs to: Q2_ACTIVE unless it is one of a snapshot. */
static inline uint32_t q2_claim_list(const struct qcow2_claim *claim)
{
	return claim->part_of == QCOW2_PART_OF_SNAPSHOT ? (uint32_t)claim->part_of_index + 1
							: Q2_ACTIVE;
}

/* Says in a claim which image the L1 table `list` is of. */
static inline void q2_claim_set_list(struct qcow2_claim *claim, uint32_t list)
{
	claim->part_of = list == Q2_ACTIVE ? QCOW2_PART_OF_IMAGE : QCOW2_PART_OF_SNAPSHOT;
	claim->part_of_index = list == Q2_ACTIVE ? 0 : list - 1;
}

/* For what an entry of that table that is not compressed uses its cluster. */
static inline enum qcow2_claim_use q2_l2_use(const struct q2_l2_ref *ref, uint64_t entry)
{
	if (ref->active == 0)
		return QCOW2_USE_DATA;
	return entry & QCOW2_ENTRY_MASK(l2_entry, copied) ? QCOW2_USE_DATA_COPIED
							  : QCOW2_USE_DATA_SHARED;
}

/*
 * The bytes of the file that an L2 entry refers to. Leaves out whose entry it is, which
 * q2_l2_claim_name() adds. False if it refers to none: it is unallocated, or in a data file.
 */
bool q2_l2_claim(const struct qcow2_geometry *geometry, const struct q2_l2_ref *ref, uint64_t entry,
		 struct qcow2_claim *claim);

/*
 * Adds to a claim that it is entry number index of that table, which maps a part of a disk of
 * disk_bytes.
 */
void q2_l2_claim_name(const struct qcow2_geometry *geometry, const struct q2_l2_ref *ref,
		      uint64_t disk_bytes, uint64_t index, struct qcow2_claim *claim);

#endif
