/* SPDX-License-Identifier: MIT */
/* See answers.h. */
#include "edit/bitmap_trust/answers.h"

#include "edit/bitmap_trust/claims.h"

enum qcow2_problem_id q2_trust_whole(const struct q2_bitmap_trust *trust, uint64_t index)
{
	const struct q2_trusted_bitmap *bitmap = q2_claims_bitmap(trust, index);

	if (!bitmap || trust->incomplete)
		return QCOW2_PROBLEM_CLUSTER_OWNERS;
	if (trust->duplicate)
		return QCOW2_PROBLEM_EXTENSION_DUPLICATE;
	if (trust->directory != QCOW2_PROBLEM_NONE && bitmap->whole != QCOW2_PROBLEM_BITMAP_TYPE &&
	    bitmap->whole != QCOW2_PROBLEM_BITMAP_GRANULARITY)
		return trust->directory;
	return bitmap->whole;
}

bool q2_trust_table(const struct q2_bitmap_trust *trust, uint64_t index)
{
	const struct q2_trusted_bitmap *bitmap = q2_claims_bitmap(trust, index);

	if (!bitmap || trust->incomplete || trust->directory != QCOW2_PROBLEM_NONE)
		return false;
	return !bitmap->foreign_table && bitmap->whole != QCOW2_PROBLEM_BITMAP_TABLE_OFFSET &&
	       bitmap->whole != QCOW2_PROBLEM_BITMAP_TABLE_BEYOND_END;
}

/* Returns the first fault of a bitmap at or behind an entry; NULL if there is none. */
static const struct q2_bitmap_fault *find_fault(const struct q2_bitmap_trust *trust,
						struct q2_claimant who)
{
	const struct q2_bitmap_fault *faults = (const void *)trust->faults.data;
	const struct q2_bitmap_fault wanted = {who, QCOW2_PROBLEM_NONE};
	size_t low = 0, high = trust->faults.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (q2_by_claimant(&faults[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < trust->faults.count && faults[low].who.bitmap == who.bitmap ? &faults[low]
										 : NULL;
}

enum qcow2_problem_id q2_trust_entry(const struct q2_bitmap_trust *trust, uint64_t bitmap,
				     uint64_t entry)
{
	struct q2_claimant who = {(uint32_t)bitmap, (uint32_t)entry};
	const struct q2_bitmap_fault *fault = find_fault(trust, who);

	if (fault && fault->who.entry == entry)
		return fault->id;
	return q2_claims_bitmap(trust, bitmap)->tail_entry == entry ? QCOW2_PROBLEM_BITMAP_DATA_TAIL
								    : QCOW2_PROBLEM_NONE;
}

enum qcow2_problem_id q2_trust_any(const struct q2_bitmap_trust *trust, uint64_t bitmap)
{
	struct q2_claimant who = {(uint32_t)bitmap, 0};
	const struct q2_bitmap_fault *fault = find_fault(trust, who);

	if (fault)
		return fault->id;
	return q2_claims_bitmap(trust, bitmap)->tail_entry != UINT32_MAX
		       ? QCOW2_PROBLEM_BITMAP_DATA_TAIL
		       : QCOW2_PROBLEM_NONE;
}

bool q2_trust_has(const struct q2_bitmap_trust *trust, uint64_t bitmap, enum qcow2_problem_id id)
{
	const struct q2_bitmap_fault *faults = (const void *)trust->faults.data;
	const struct q2_bitmap_fault *first =
		find_fault(trust, (struct q2_claimant){(uint32_t)bitmap, 0});

	/* Without any fault there is no array, and pointer arithmetic on NULL is undefined. */
	for (size_t i = first ? (size_t)(first - faults) : trust->faults.count;
	     i < trust->faults.count && faults[i].who.bitmap == bitmap; i++)
		if (faults[i].id == id)
			return true;
	return id == QCOW2_PROBLEM_BITMAP_DATA_TAIL &&
	       q2_claims_bitmap(trust, bitmap)->tail_entry != UINT32_MAX;
}

bool q2_trust_same_name(const struct q2_bitmap_trust *trust, uint64_t bitmap)
{
	return q2_claims_bitmap(trust, bitmap)->same_name;
}

bool q2_trust_doubtful(const struct q2_bitmap_trust *trust, uint64_t bitmap)
{
	const struct q2_trusted_bitmap *trusted = q2_claims_bitmap(trust, bitmap);

	return !trusted || trust->incomplete || trust->directory_doubtful || trusted->doubtful;
}

bool q2_trust_others_sound(const struct q2_bitmap_trust *trust)
{
	return trust->others_sound;
}

bool q2_trust_refcounts_low(const struct q2_bitmap_trust *trust)
{
	return trust->refcounts_low;
}

bool q2_trust_directory_is_shared(const struct q2_bitmap_trust *trust)
{
	return trust->directory == QCOW2_PROBLEM_CLUSTER_OWNERS;
}
