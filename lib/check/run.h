/* SPDX-License-Identifier: MIT */
/* The state of one check, which all its stages share, and its progress. */
#ifndef Q2_CHECK_RUN_H
#define Q2_CHECK_RUN_H

#include "check/check.h"
#include "check/damage.h"
#include "check/references.h"
#include "check/worker.h"
#include "claims/metadata.h"

#include <qcow2/check.h>

/* A refcount block that counts clusters of the file. */
struct q2_refcount_block {
	uint64_t offset_bytes;
	uint64_t index; /* in the refcount table */
	bool hole;      /* it lies in a hole: all its refcounts are 0 */
};

struct q2_check {
	const struct qcow2_image *image;
	const struct qcow2_header *header;
	const struct qcow2_geometry *geometry;
	const struct qcow2_check_options *options;
	struct qcow2_check_result *result;
	struct q2_check_totals *totals;
	uint64_t *by_kind;       /* problems of each kind, indexed by enum qcow2_problem_id */
	struct qcow2_error *err; /* of the calling thread alone */
	struct q2_reporter reporter;
	bool for_caller; /* the problem that a rule has found last is to be told */
	struct q2_damage damage;
	struct q2_memory memory;
	struct q2_metadata metadata; /* reads into the buffer of worker 0 */
	uint64_t file_clusters;      /* the last may be cut */
	unsigned threads;
	struct q2_worker *workers;        /* one for each thread */
	struct q2_refcount_block *blocks; /* in the order of the refcount table */
	size_t block_count, block_capacity;
	uint64_t bad_left[Q2_BAD_KINDS]; /* how many of a kind may still be told */
	uint64_t bad_from;               /* bad clusters before this one have been told */
	/*
	 * The bytes that metadata may still claim before further claims are ignored: a hostile
	 * image may claim any number of clusters with each of its bytes.
	 */
	uint64_t claims_left;
	_Atomic uint64_t done_bytes;
	uint64_t total_bytes;
	bool stopped;            /* the callback for problems wants no more */
	bool keeps;              /* what was counted is kept: see references.h */
	bool table_counted;      /* the claim of the refcount table was counted */
	uint64_t blocks_counted; /* so many claims of refcount blocks were: the first ones */
	bool claims_are_cut;     /* metadata claims so much that a part was not counted */
	bool digest_is_cut;      /* a bound on what is read kept some metadata out of the digest */
	const struct q2_presumed *presumed;   /* NULL, or leaks that refcounts do not tell */
	struct q2_structures *structures;     /* NULL, or what to fill after the first part */
	bool structures_alone;                /* there is no last part: see structures.h */
	struct q2_header_alone *header_alone; /* NULL, or what to fill instead of the last part */
};

/* Gets workers and their memory. 0, or -1 with check->err filled. */
int q2_check_start(struct q2_check *check);
void q2_check_release(struct q2_check *check);

/* Keeps what was counted, once the check is through. 0, or -1 with check->err filled. */
int q2_references_take(struct q2_check *check, struct q2_references **out);

/* The refcount block of that index that counts clusters of the file, or NULL. */
const struct q2_refcount_block *q2_check_block(const struct q2_check *check, uint64_t index);

/* Whether a cluster is taken for a leak although no refcount says so. */
static inline bool q2_is_presumed(const struct q2_check *check, uint64_t cluster)
{
	return check->presumed && q2_bits_has(&check->presumed->clusters, cluster);
}

/* Hands a problem to the caller, until the caller wants no more. Only for the calling thread. */
void q2_check_tell(struct q2_check *check, const struct qcow2_problem *problem);

/* The caller wants no more: fills check->err. Returns -1. */
int q2_check_fail_stopped(struct q2_check *check);

/* Tells the caller how far the check is; -1 if it shall stop. Only for the calling thread. */
int q2_check_progress(struct q2_check *check);

/* A thread has failed, or progress wants to stop: fills check->err with why. Returns -1. */
int q2_check_worker_failed(struct q2_check *check);

#endif
