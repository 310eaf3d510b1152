/* SPDX-License-Identifier: MIT */
/*
 * What a check has counted, kept for whoever makes refcounts fit: how often each host cluster is
 * referenced, and which L2 tables there are.
 */
#ifndef Q2_CHECK_REFERENCES_H
#define Q2_CHECK_REFERENCES_H

#include "check/bits.h"
#include "check/check.h"
#include "check/clusters.h"
#include "check/packed.h"
#include "claims/l2.h"

/* Of the clusters past the end of the file, so many behind it are in q2_references.beyond. */
#define Q2_BEYOND_CLUSTERS (UINT64_C(1) << 20)

struct q2_references {
	struct q2_memory memory;     /* of all that follows */
	struct q2_clusters clusters; /* may be changed by who keeps them; empty once packed */
	struct q2_packed packed;     /* instead, if q2_references_pack() was called */
	uint64_t file_clusters;      /* the last may be cut */
	struct q2_l2_ref *tables;    /* distinct L2 tables, in the order of their offsets */
	size_t table_count, table_capacity;
	/*
	 * Clusters past the end of the file that something refers to: who lets the file grow must
	 * not give them away. If it has failed, any may be one.
	 */
	struct q2_bits beyond;
	/* Clusters that a repair has counted although nothing refers to them. */
	struct q2_bits spared;
	/* What the refcount table and its blocks claim: so that it can be taken away again. */
	bool table_counted;
	uint64_t blocks_counted; /* the first ones of the table */
	bool are_cut; /* the image claims so much that a part of it was not counted, besides those two */
};

/*
 * As q2_check(), and keeps what was counted: *kept is set to it, or to NULL if the clusters cannot
 * be looked at. The caller frees it with q2_references_free().
 */
int q2_check_keep(const struct qcow2_image *image, const struct qcow2_check_options *options,
		  struct q2_check_totals *totals, struct q2_references **kept,
		  struct qcow2_error *err);

/*
 * Clusters that nothing refers to and whose refcounts are lost: they are taken for leaks, as they may
 * have been in use.
 */
struct q2_presumed {
	struct q2_bits clusters;
	bool needs_flags;     /* bitmaps leak as well: see struct q2_l2_like */
	bool are_owners_told; /* clusters with two owners are those of refcounts, which are moved */
};

/*
 * Whether such leaks, and others, may be lost data of the guest: *may_be_data, as leaks_may_be_data
 * of a check. 0, or -1 with *err filled, as q2_check().
 */
int q2_check_presumed(const struct qcow2_image *image, const struct qcow2_check_options *options,
		      const struct q2_presumed *presumed, bool *may_be_data,
		      struct qcow2_error *err);

/* references may be NULL. */
void q2_references_free(struct q2_references *references);

/*
 * Keeps what was counted in less memory, to be looked up alone: its tables and clusters are gone.
 * False if memory is short.
 */
bool q2_references_pack(struct q2_references *references);

/* What is known of a cluster; nothing of one past those of the file. */
struct q2_cluster_state q2_references_state(const struct q2_references *references,
					    uint64_t cluster);

/* How often a cluster is referenced; 0 for one past those of the file. */
uint64_t q2_references_of(const struct q2_references *references, uint64_t cluster);

#endif
