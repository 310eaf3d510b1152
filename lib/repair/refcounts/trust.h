/* SPDX-License-Identifier: MIT */
/* Whether refcounts say anything, where they should count clusters that are in use. */
#ifndef Q2_REPAIR_TRUST_H
#define Q2_REPAIR_TRUST_H

#include "check/classify.h"
#include "check/references.h"

/* What disks lose at once, at the least: refcounts are judged by so many bytes. */
#define Q2_TRUST_BYTES 512

/* Which of 64 clusters from first on, a multiple of 64, something refers to. */
uint64_t q2_trust_used(const struct q2_clusters *clusters, uint64_t first);

/*
 * Whether Q2_TRUST_BYTES of refcounts, for the clusters from first on, are lost: half of the
 * clusters in use there, or more, have another refcount than theirs.
 */
bool q2_trust_is_lost(const struct q2_clusters *clusters, unsigned refcount_order,
		      const uint8_t *bytes, uint64_t first);

#endif
