/* SPDX-License-Identifier: MIT */
/* Holds the claims of L2 entries near some bytes to those that the whole walk has told. */
#ifndef TESTS_CLAIMS_NEAR_H
#define TESTS_CLAIMS_NEAR_H

#include "image_fixture.h"

#include <stdlib.h>

#include "claims/metadata.h"

/* Expects the claims of data of a walk that touch [first, last], in order. */
struct near {
	const struct qcow2_claim *claims;
	size_t count, at;
	uint64_t first, last;
};

static bool skip_others(struct near *near)
{
	for (; near->at < near->count; near->at++) {
		const struct qcow2_claim *claim = &near->claims[near->at];

		if (claim->part == QCOW2_CLAIM_DATA && claim->offset_bytes <= near->last &&
		    claim->offset_bytes + claim->length_bytes > near->first)
			return true;
	}
	return false;
}

static int hear_near(void *opaque, const struct qcow2_claim *claim)
{
	struct near *near = opaque;
	struct qcow2_claim told = *claim;

	assert_true(skip_others(near));
	told.size = sizeof(told);
	assert_memory_equal(&told, &near->claims[near->at++], sizeof(told));
	return 0;
}

static int ignore(void *opaque, const struct qcow2_claim *claim)
{
	(void)opaque;
	(void)claim;
	return 0;
}

static void assert_near(const struct qcow2_claim *claims, size_t count, uint64_t first,
			uint64_t last)
{
	struct near near = {.claims = claims, .count = count, .first = first, .last = last};
	const struct q2_listener deaf = {.claim = ignore};
	const struct q2_listener listener = {.opaque = &near, .claim = hear_near};
	struct q2_memory memory = {.limit_bytes = 1 << 20};
	struct q2_metadata metadata;

	q2_metadata_init(&metadata, image, &memory, &err);
	metadata.buffer = malloc(Q2_PIECE_BYTES + CLUSTER);
	assert_non_null(metadata.buffer);
	assert_int_equal(q2_metadata_visit_structures(&metadata, &deaf), 0);
	assert_int_equal(q2_metadata_follow_l1(&metadata, &deaf), 0);
	assert_int_equal(q2_metadata_claim_l2_entries_near(&metadata, &listener, first, last), 0);
	assert_false(skip_others(&near));
	free(metadata.buffer);
	q2_metadata_release(&metadata);
}

#endif
