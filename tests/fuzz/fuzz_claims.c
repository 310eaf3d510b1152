/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the walk through claims: the input is an image. Two walks have to say the same, a walk
 * without data has to be the beginning of one with data, and a walk that is stopped ends. The
 * check, which counts references in its own way, must expect as many for each cluster as were told
 * here.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

#define MEMORY_BYTES (UINT64_C(64) << 20)
/* Compared so many clusters of each kind of problem. */
#define KEPT 64
/* The check ignores metadata that claims more than this beyond what the file stores. */
#define TRUSTED_BYTES (UINT64_C(4) << 30)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A cluster of which the check says how many references there are. */
struct counted {
	uint64_t cluster, expected, count;
};

struct heard {
	const struct qcow2_geometry *geometry;
	uint64_t sum, claims, stop_at;
	uint64_t structures_sum; /* of the claims before the first of data */
	uint64_t bytes;
	bool data;
	struct counted clusters[2 * KEPT];
	size_t cluster_count;
};

static void mix(struct heard *heard, uint64_t value)
{
	heard->sum = heard->sum * 31 + value;
}

static bool is_counted(const struct qcow2_geometry *geometry, const struct qcow2_claim *claim)
{
	uint64_t end = claim->offset_bytes + claim->length_bytes;

	return claim->length_bytes > 0 && end > claim->offset_bytes &&
	       (end <= geometry->file_size_bytes ||
		end - geometry->file_size_bytes < geometry->cluster_size_bytes);
}

static void count(struct heard *heard, const struct qcow2_claim *claim)
{
	unsigned bits = heard->geometry->cluster_bits;
	uint64_t last = claim->offset_bytes + claim->length_bytes - 1;

	for (size_t i = 0; i < heard->cluster_count; i++)
		if (heard->clusters[i].cluster >= claim->offset_bytes >> bits &&
		    heard->clusters[i].cluster <= last >> bits)
			heard->clusters[i].count += claim->weight;
}

static int hear(void *opaque, const struct qcow2_claim *claim)
{
	struct heard *heard = opaque;
	char where[QCOW2_CLAIM_WHERE_MAX];

	if (claim->use < QCOW2_USE_DATA || claim->use > QCOW2_USE_COMPRESSED || claim->weight == 0)
		abort();
	if (claim->part == QCOW2_CLAIM_DATA)
		heard->data = true;
	else if (heard->data)
		abort(); /* data comes last */
	/* Any L1 and L2 table and data maps a part of a disk, unless 64 bits cannot say where. */
	if (claim->has_guest && claim->part != QCOW2_CLAIM_DATA &&
	    claim->part != QCOW2_CLAIM_L1_TABLE && claim->part != QCOW2_CLAIM_L2_TABLE)
		abort();
	if (claim->has_guest && (claim->guest_length_bytes == 0 ||
				 claim->guest_byte > UINT64_MAX - claim->guest_length_bytes))
		abort();
	for (const char *c = qcow2_claim_where(claim, where, sizeof(where)); *c; c++)
		mix(heard, (uint64_t)*c);
	if (where[0] == '\0')
		abort();
	mix(heard, claim->offset_bytes);
	mix(heard, claim->length_bytes);
	mix(heard, claim->weight);
	mix(heard, claim->use);
	if (!heard->data)
		heard->structures_sum = heard->sum;
	heard->bytes += claim->length_bytes < TRUSTED_BYTES ? claim->length_bytes : TRUSTED_BYTES;
	if (is_counted(heard->geometry, claim))
		count(heard, claim);
	return ++heard->claims == heard->stop_at;
}

static int hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct heard *heard = opaque;

	if (problem->kind != qcow2_problem_kind_get(QCOW2_PROBLEM_REFCOUNT_LOW) &&
	    problem->kind != qcow2_problem_kind_get(QCOW2_PROBLEM_REFCOUNT_HIGH))
		return 0;
	if (!problem->has_cluster)
		abort();
	heard->clusters[heard->cluster_count++] = (struct counted){
		.cluster = problem->cluster_offset_bytes >> heard->geometry->cluster_bits,
		.expected = problem->expected,
	};
	return 0;
}

static void compare_with_check(const struct qcow2_image *image, struct heard *heard)
{
	const struct qcow2_check_options options = {
		.size = sizeof(options),
		.threads = 1,
		.memory_limit_bytes = MEMORY_BYTES,
		.max_per_kind = KEPT,
		.problem = hear_problem,
		.opaque = heard,
	};
	struct qcow2_error err;

	if (qcow2_check(image, &options, NULL, &err))
		heard->cluster_count = 0;
}

static void walk(const struct qcow2_image *image)
{
	struct qcow2_claims_options options = {.size = sizeof(options),
					       .memory_limit_bytes = MEMORY_BYTES};
	struct heard first = {.geometry = qcow2_image_geometry(image)}, again = first, part = first,
		     stopped = first;
	struct qcow2_error err;

	if (first.geometry)
		compare_with_check(image, &first);
	if (qcow2_claims_walk(image, &options, hear, &first, &err))
		return;
	for (size_t i = 0; i < first.cluster_count && first.bytes < TRUSTED_BYTES; i++)
		if (first.clusters[i].count != first.clusters[i].expected)
			abort();
	if (qcow2_claims_walk(image, &options, hear, &again, &err) || again.sum != first.sum)
		abort();
	options.without_data = true;
	if (qcow2_claims_walk(image, &options, hear, &part, &err) || part.data ||
	    part.sum != first.structures_sum)
		abort();
	options.without_data = false;
	stopped.stop_at = first.claims / 2 + 1;
	if (qcow2_claims_walk(image, &options, hear, &stopped, &err) == 0 ||
	    err.code != QCOW2_ERROR_STOPPED || stopped.claims != stopped.stop_at)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (qcow2_source_from_memory(data, size, &source, &err))
		return 0;
	if (qcow2_image_open(source, &image, &err) == 0) {
		walk(image);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
