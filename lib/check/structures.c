/* SPDX-License-Identifier: MIT */
/* Notes what the first part of a check found, and adds the last part of another check. */
#include "check/structures.h"

#include <string.h>

#include "base/digest.h"
#include "check/run.h"

/*
 * Adds a word to a mark. A collision does no harm: q2_check_changed() proves by itself that marks
 * are equal. The mark shows a write in between, or a mistake in that proof.
 */
static void add(uint64_t *mark, uint64_t word)
{
	*mark = (*mark ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	*mark ^= *mark >> 29;
}

static void add_tables(uint64_t *mark, const struct q2_metadata *metadata)
{
	for (size_t i = 0; i < metadata->table_count; i++) {
		const struct q2_l2_ref *ref = &metadata->tables[i];

		add(mark, ref->offset_bytes);
		add(mark, ref->weight);
		add(mark, ref->active << 2 | (uint64_t)ref->copied << 1 | ref->beyond_size);
		add(mark, (uint64_t)ref->list << 32 | ref->index);
	}
	for (size_t i = 0; i < metadata->disk_count; i++) {
		add(mark, metadata->disks[i].size_bytes);
		add(mark, metadata->disks[i].name_offset_bytes);
		add(mark, metadata->disks[i].name_size);
	}
}

static void add_blocks(uint64_t *mark, const struct q2_check *check)
{
	for (size_t i = 0; i < check->block_count; i++) {
		add(mark, check->blocks[i].offset_bytes);
		add(mark, check->blocks[i].index << 1 | check->blocks[i].hole);
	}
	add(mark, check->blocks_counted << 1 | check->table_counted);
	/* The bytes that were claimed: the bound is what the file stores and a constant. */
	add(mark,
	    qcow2_source_allocated_bytes(qcow2_image_source(check->image)) - check->claims_left);
}

static uint64_t find_lowest(const struct q2_check *check)
{
	uint64_t lowest = UINT64_MAX;

	/* Tables are in the order of their offsets. */
	if (check->metadata.table_count > 0)
		lowest = check->metadata.tables[0].offset_bytes;
	for (size_t i = 0; i < check->block_count; i++)
		if (check->blocks[i].offset_bytes < lowest)
			lowest = check->blocks[i].offset_bytes;
	return lowest;
}

void q2_structures_note(const struct q2_check *check)
{
	struct q2_structures *out = check->structures;

	memcpy(out->by_kind, check->by_kind, sizeof(out->by_kind));
	out->corruptions = check->result->corruptions;
	out->leaks = check->result->leaks;
	out->warnings = check->result->warnings;
	out->digest = check->workers[0].digest;
	out->lowest_bytes = find_lowest(check);
	add_tables(&out->mark, &check->metadata);
	add_blocks(&out->mark, check);
	out->is_whole = !check->claims_are_cut && !check->digest_is_cut;
}

bool q2_structures_match(const struct q2_structures *one, const struct q2_structures *other)
{
	return one->is_whole && other->is_whole && one->mark == other->mark;
}

void q2_structures_derive(struct q2_check_totals *after, const struct q2_check_totals *before,
			  const struct q2_structures *had, const struct q2_structures *has)
{
	struct qcow2_check_result *sum = &after->sum;

	*after = *before;
	for (size_t i = 0; i < Q2_PROBLEM_NUMBERS; i++)
		after->by_kind[i] += has->by_kind[i] - had->by_kind[i];
	sum->corruptions += has->corruptions - had->corruptions;
	sum->leaks += has->leaks - had->leaks;
	sum->warnings += has->warnings - had->warnings;
	/* A digest is a sum over pieces: those of tables and refcounts are in both. */
	if (sum->has_digest)
		for (size_t i = 0; i < 2; i++)
			sum->metadata_digest[i] += has->digest.sum[i] - had->digest.sum[i];
}

void q2_structures_total(struct q2_check_totals *totals, const struct qcow2_image *image,
			 const struct q2_structures *structures,
			 const struct q2_header_alone *alone, bool digest)
{
	struct qcow2_check_result *sum = &totals->sum;

	*totals = (struct q2_check_totals){.sum = {.size = sizeof(*sum)}};
	memcpy(totals->by_kind, structures->by_kind, sizeof(totals->by_kind));
	sum->corruptions = structures->corruptions;
	sum->leaks = structures->leaks;
	sum->warnings = structures->warnings;
	sum->has_data_file = (qcow2_image_header(image)->incompatible_features &
			      QCOW2_INCOMPATIBLE_DATA_FILE) != 0;
	sum->has_digest = digest;
	for (size_t i = 0; digest && i < 2; i++)
		sum->metadata_digest[i] = structures->digest.sum[i] + alone->rest.sum[i];
}
