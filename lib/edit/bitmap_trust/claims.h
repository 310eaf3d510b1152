/* SPDX-License-Identifier: MIT */
/* Which clusters bitmaps refer to, and which of them are nobody else's. See trust.c. */
#ifndef Q2_EDIT_BITMAP_TRUST_CLAIMS_H
#define Q2_EDIT_BITMAP_TRUST_CLAIMS_H

#include <qcow2/image.h>
#include <qcow2/problem.h>

#include "base/vector.h"
#include "edit/bitmap_trust/within.h"

/* Instead of an entry: the bitmap's table itself. Instead of a bitmap: the directory. */
#define Q2_CLAIM_TABLE     UINT32_MAX
#define Q2_CLAIM_DIRECTORY UINT32_MAX

/* A bitmap and an entry of its table, which refer to a cluster or have a fault. */
struct q2_claimant {
	uint32_t bitmap, entry;
};

/* A reference to a cluster. */
struct q2_bitmap_claim {
	uint64_t cluster;
	struct q2_claimant who;
	enum qcow2_problem_id fault; /* of the cluster, without the other claims */
};

/* An entry that cannot be believed. */
struct q2_bitmap_fault {
	struct q2_claimant who;
	enum qcow2_problem_id id;
};

struct q2_trusted_bitmap {
	enum qcow2_problem_id whole;
	bool doubtful;                 /* see q2_trust_doubtful() */
	bool shared_table;             /* another bitmap has the same: its data are claimed once */
	bool same_name, foreign_table; /* other things use the clusters of its table */
	uint32_t tail_entry; /* the entry whose bits past the end are set; UINT32_MAX: none */
	uint64_t last_data;  /* where the last entry that the disk needs has its data; 0: none */
};

struct q2_bitmap_trust {
	struct qcow2_image *image;
	const struct qcow2_geometry *geometry;
	const struct q2_bitmap_within *within; /* NULL, or who counts references later */
	struct q2_vector claims;               /* by cluster, once they are judged */
	struct q2_vector faults;               /* by bitmap and entry, once they are judged */
	struct q2_vector bitmaps;              /* by index */
	enum qcow2_problem_id directory;
	bool directory_doubtful;
	bool refcounts_low, others_sound;
	bool incomplete; /* not all claims are known: nothing is believed */
	bool duplicate;  /* there are several bitmaps extensions that differ */
};

/* Orders faults by bitmap, entry and kind, for qsort() and for searches. */
int q2_by_claimant(const void *left, const void *right);

/* Returns an empty list; NULL if memory is short. */
struct q2_bitmap_trust *q2_claims_new(struct qcow2_image *image);

struct q2_trusted_bitmap *q2_claims_bitmap(const struct q2_bitmap_trust *trust, uint64_t index);

/* Notes that `who` uses the bytes [offset, offset + size), as far as the file has them. */
int q2_claims_add(struct q2_bitmap_trust *trust, uint64_t offset_bytes, uint64_t size_bytes,
		  struct q2_claimant who, struct qcow2_error *err);

/* Notes that an entry cannot be believed. */
int q2_claims_fault(struct q2_bitmap_trust *trust, struct q2_claimant who, enum qcow2_problem_id id,
		    struct qcow2_error *err);

/* Finds the faults of all clusters. Call it once, when all claims are noted. */
int q2_claims_judge(struct q2_bitmap_trust *trust, struct qcow2_error *err);

#endif
