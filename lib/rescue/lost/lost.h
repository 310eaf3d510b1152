/* SPDX-License-Identifier: MIT */
/*
 * Lost mappings: L2 tables that no L1 entry leads to any more are put back to their places in the
 * active L1 table, and L2 tables whose entries are gone are made anew from the clusters that leak.
 *
 * Works on an image that can be opened, so a lost header comes first: image is a view of the plan
 * that has it. Nothing is written. Every place has a confidence and its evidence; a plan takes
 * those of which the evidence is good enough.
 */
#ifndef Q2_RESCUE_LOST_H
#define Q2_RESCUE_LOST_H

#include "base/vector.h"

#include <qcow2/rescue.h>

/* Confidences. A place of at least Q2_LOST_LIKELY is planned unless the caller says otherwise. */
#define Q2_LOST_CERTAIN  95
#define Q2_LOST_LIKELY   50
#define Q2_LOST_POSSIBLE 30

struct q2_lost_entry;

/* One place of the active disk. */
struct q2_lost_place {
	struct qcow2_rescue_table public; /* planned: confidence is at least confidence_least */
	/*
	 * Not 0: the table at l2_table is there, but its entries are gone; this many of them would be
	 * written anew. They are [first_entry, first_entry + new_entries) of lost->entries.
	 */
	uint64_t new_entries;
	size_t first_entry;
	bool copied; /* the refcount of the table is 1 */
};

/* An entry of an L2 table that would be written. */
struct q2_lost_entry {
	uint64_t offset_bytes; /* in the file: of the entry */
	uint64_t entry;        /* the word */
};

struct q2_lost {
	struct q2_vector places;  /* of struct q2_lost_place, by l1_index, the best one first */
	struct q2_vector entries; /* of struct q2_lost_entry */
	uint64_t holes;           /* L1 entries that lead to no table, as far as the disk goes */
	uint64_t orphans;         /* L2 tables that nothing leads to */
	uint64_t unplaced;        /* of them: no place is planned for them */
	uint64_t planned;         /* places that are planned */
	uint64_t
		mapped_clusters; /* that tables lead to which have places, or for which they are planned */
	bool has_refcounts; /* that of the header is not 0 */
	uint64_t emptied;   /* L2 tables that L1 entries lead to, but that have no entry, while
				     clusters leak that they may have led to */
};

struct q2_lost_how {
	const struct q2_vector
		*tables;           /* of struct q2_found_table, as q2_scan_tables() lists them */
	unsigned confidence_least; /* for public.planned; 0: Q2_LOST_LIKELY */
	bool look_at_guest;
	uint64_t memory_limit_bytes; /* 0: as a check */
};

/*
 * Fills a struct of zeros. image has a geometry. 0, also if nothing is lost, or -1 with *err
 * filled: QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT, QCOW2_ERROR_MEMORY. q2_lost_release() in any case.
 */
int q2_lost_find(struct q2_lost *lost, const struct qcow2_image *image,
		 const struct q2_lost_how *how, struct qcow2_error *err);

/*
 * Plans the places that are planned: L1 entries and entries of L2 tables, in QCOW2_PHASE_POINT.
 * Refcounts and copied flags are left to qcow2_repair(). header: of the image.
 */
int q2_lost_plan(const struct q2_lost *lost, const struct qcow2_header *header,
		 struct qcow2_plan *plan, struct qcow2_error *err);

void q2_lost_release(struct q2_lost *lost);

#endif
