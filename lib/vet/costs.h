/* SPDX-License-Identifier: MIT */
/* Sums for the estimates of what QEMU needs. Numbers of hostile images are large: none wraps. */
#ifndef Q2_VET_COSTS_H
#define Q2_VET_COSTS_H

#include "base/checked.h"
#include "vet/vet.h"

#define Q2_NS_A_MILLISECOND UINT64_C(1000000)
/* For each cluster of the file, holes as well: QEMU asks for the refcount of each. */
#define Q2_FILE_CLUSTER_NS UINT64_C(3)
/*
 * What each byte that the file stores may take beyond the limit: a second for 100 MB. An image that
 * is honest never takes that, not even with clusters of 512 bytes.
 */
#define Q2_STORED_BYTE_NS UINT64_C(10)

/* What does not fit is large enough. */
static inline uint64_t q2_times(uint64_t a, uint64_t b)
{
	uint64_t product;

	return q2_mul_u64(a, b, &product) ? UINT64_MAX : product;
}

static inline uint64_t q2_plus(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return q2_add_u64(a, b, &sum) ? UINT64_MAX : sum;
}

/* Milliseconds, after what the file may take for its size. */
static inline uint64_t q2_ms_beyond(uint64_t ns, uint64_t credit_ns)
{
	return ns > credit_ns ? (ns - credit_ns) / Q2_NS_A_MILLISECOND : 0;
}

static inline uint64_t q2_stored_ns(const struct q2_vet *vet)
{
	return q2_times(qcow2_source_allocated_bytes(vet->source), Q2_STORED_BYTE_NS);
}

static inline uint64_t q2_file_clusters(const struct q2_vet *vet)
{
	return q2_div_ceil_u64(vet->result.file_size_bytes, vet->geometry->cluster_size_bytes);
}

/* Tells an estimate. field: what takes the most of it. */
void q2_tell_cost(struct q2_vet *vet, enum qcow2_vet_rule_number rule, uint64_t value,
		  const char *field);

/*
 * Lets the check of this library count the faults that qemu-img check prints, which finds them again
 * in each snapshot. Returns 0, or -1 with vet->err filled.
 */
int q2_count_faults(struct q2_vet *vet, uint64_t *faults);

/* What map and convert need. */
int q2_vet_reading_costs(struct q2_vet *vet);

#endif
