/* SPDX-License-Identifier: MIT */
/*
 * What each thread of a check has for itself, so that counting needs no locks. Worker 0 is the
 * calling thread's; at the end of each stage it gets what the others have found.
 */
#ifndef Q2_CHECK_WORKER_H
#define Q2_CHECK_WORKER_H

#include "base/digest.h"
#include "check/bad_list.h"
#include "check/bits.h"
#include "check/clusters.h"

struct q2_worker {
	const struct qcow2_geometry *geometry;
	struct q2_memory *memory; /* of all workers */
	struct q2_clusters clusters;
	bool tallying;   /* guest data is shared by snapshots: it is tallied */
	uint8_t *buffer; /* Q2_PIECE_BYTES and a cluster */
	uint64_t allocated, fragmented, compressed; /* clusters of the active image */
	uint64_t highest_cluster;                   /* in use, plus one */
	uint64_t beyond_end;                        /* refcounts of clusters past the end */
	uint64_t beyond_highest;                    /* of those clusters, plus one */
	struct q2_bad_list bad[Q2_BAD_KINDS];
	struct q2_bits beyond; /* clusters past the end that are referred to: see below */
	uint64_t beyond_steps; /* what noting them has cost */
	bool noting_beyond;    /* somebody wants to know them */
	uint64_t unreferenced; /* clusters with a refcount that nothing refers to */
	bool misled; /* a cluster has more references than its refcount, which is no lag */
	struct q2_bits damaged; /* clusters with problems that do damage */
	enum qcow2_damage worst_damage;
	struct q2_digest digest;
	bool digesting; /* metadata that is read goes into digest */
	struct qcow2_error err;
	bool failed; /* err is filled: the check ends once all threads have noticed */
};

/* Notes that memory was short. Returns false. */
bool q2_worker_fail_memory(struct q2_worker *worker);

/* Notes an error, unless there is one already; it ends the check once this stage is over. */
void q2_worker_fail(struct q2_worker *worker, const struct qcow2_error *err);

/*
 * Counts a claim. As for QEMU, one that passes the end of the file by a cluster or more is a
 * problem and no reference.
 */
void q2_worker_count(struct q2_worker *worker, const struct qcow2_claim *claim);

/*
 * Notes that something refers to a cluster that is not in the file: who lets the file grow must not
 * give that cluster away. Does nothing for offsets inside the file,
 * or Q2_BEYOND_CLUSTERS (references.h) behind it.
 */
void q2_worker_note_beyond(struct q2_worker *worker, uint64_t offset_bytes);

/* Adds size bytes of metadata at a host offset to the digest. */
static inline void q2_worker_digest(struct q2_worker *worker, uint64_t offset_bytes,
				    const void *bytes, uint64_t size)
{
	if (worker->digesting)
		q2_digest_add(&worker->digest, offset_bytes,
			      (struct qcow2_bytes){bytes, (size_t)size});
}

#endif
