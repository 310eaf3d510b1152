/* SPDX-License-Identifier: MIT */
/* Joins entries that differ in the same manner to ranges, and tells these. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/entry.h>

#include "base/bytes.h"
#include "diff/internal.h"
#include "image/guest.h"

/* The bits of an entry that say where something is: the same ones in all tables that have any. */
static uint64_t offset_bits(uint64_t entry)
{
	return entry & QCOW2_ENTRY_MASK(l2_entry, offset);
}

static bool is_compressed(const struct q2_diff *d, uint64_t entry)
{
	return d->kind->table == QCOW2_DIFF_L2 && qcow2_l2_is_compressed(entry);
}

/* Whether an entry is the one before it, but a cluster further. */
static bool is_step(const struct q2_diff *d, uint64_t before, uint64_t entry)
{
	return d->kind->table != QCOW2_DIFF_REFCOUNTS && offset_bits(before) != 0 &&
	       entry - before == d->halves[0].geometry->cluster_size_bytes &&
	       offset_bits(before ^ entry) == (before ^ entry) && !is_compressed(d, entry);
}

/* Whether an entry continues the run at one side; *step becomes how. */
static bool continues(const struct q2_diff *d, size_t side, const struct qcow2_diff_entry *next,
		      uint64_t *step)
{
	const struct qcow2_diff_range *range = &d->run.range;
	const struct qcow2_diff_entry *first = &d->run.entries[side];
	uint64_t before = d->run.before[side];

	*step = next->entry - before;
	return next->lost == first->lost && next->subclusters == first->subclusters &&
	       (next->offset_bytes == QCOW2_NO_OFFSET) ==
		       (first->offset_bytes == QCOW2_NO_OFFSET) &&
	       (*step == 0 || is_step(d, before, next->entry)) &&
	       (range->first == range->last || *step == first->step_bytes);
}

/* Joins an entry to the run, if it continues it. */
static bool join(struct q2_diff *d, uint64_t index, const struct qcow2_diff_entry entries[2])
{
	struct qcow2_diff_range *range = &d->run.range;
	uint64_t steps[2] = {0, 0};

	if (!d->run.open || index != range->last + 1)
		return false;
	if (range->table == QCOW2_DIFF_BITMAP_DATA) {
		if (entries[0].lost != d->run.entries[0].lost ||
		    entries[1].lost != d->run.entries[1].lost)
			return false;
		d->run.entries[0].entry += entries[0].entry;
		d->run.entries[1].entry += entries[1].entry;
		range->last = index;
		return true;
	}
	if (!continues(d, 0, &entries[0], &steps[0]) || !continues(d, 1, &entries[1], &steps[1]))
		return false;
	for (size_t side = 0; side < 2; side++) {
		d->run.entries[side].step_bytes = steps[side];
		d->run.before[side] = entries[side].entry;
	}
	range->last = index;
	return true;
}

/* Whether entries differ in nothing but where they lead. */
static bool is_moved(const struct q2_diff *d, const struct qcow2_diff_entry entries[2])
{
	unsigned cluster_bits = d->halves[0].geometry->cluster_bits;
	uint64_t a = entries[0].entry, b = entries[1].entry;

	if (d->kind->table == QCOW2_DIFF_REFCOUNTS || d->kind->table == QCOW2_DIFF_BITMAP_DATA ||
	    entries[0].lost || entries[1].lost || entries[0].subclusters != entries[1].subclusters)
		return false;
	if (is_compressed(d, a) && is_compressed(d, b)) {
		const struct qcow2_compressed_extent one = qcow2_compressed_split(a, cluster_bits);
		const struct qcow2_compressed_extent other =
			qcow2_compressed_split(b, cluster_bits);

		return one.offset_bytes != other.offset_bytes && one.sectors == other.sectors &&
		       qcow2_l2_entry_decode(a).copied == qcow2_l2_entry_decode(b).copied;
	}
	return a != b && offset_bits(a) != 0 && offset_bits(b) != 0 &&
	       offset_bits(a ^ b) == (a ^ b);
}

void q2_diff_run_begin(struct q2_diff *d, const struct q2_diff_kind *kind)
{
	d->kind = kind;
	d->run.open = false;
}

void q2_diff_run_add(struct q2_diff *d, uint64_t index, const struct qcow2_diff_entry entries[2])
{
	const struct q2_diff_kind *kind = d->kind;
	const struct qcow2_geometry *geometry = d->halves[0].geometry;

	d->result->entries++;
	if (join(d, index, entries))
		return;
	q2_diff_run_end(d);
	d->run = (struct q2_diff_run){
		.open = true,
		.range = {.size = sizeof(d->run.range),
			  .table = kind->table,
			  .first = index,
			  .last = index,
			  .moved = is_moved(d, entries)},
		.entries = {entries[0], entries[1]},
		.before = {entries[0].entry, entries[1].entry},
	};
	if (kind->table == QCOW2_DIFF_L2)
		d->run.range.guest_byte = q2_guest_byte(geometry, kind->index, index);
	if (kind->table == QCOW2_DIFF_REFCOUNTS)
		d->run.range.host_byte = (kind->index * geometry->refcount_block_entries + index)
					 << geometry->cluster_bits;
}

void q2_diff_run_end(struct q2_diff *d)
{
	struct qcow2_diff_range told = d->run.range, *range = &told;
	char path[2 * Q2_DIFF_PATH_MAX];

	if (!d->run.open || d->failed)
		return;
	d->run.open = false;
	d->result->differences++;
	if (range->first == range->last)
		snprintf(path, sizeof(path), "%s/%" PRIu64, d->kind->path, range->first);
	else
		snprintf(path, sizeof(path), "%s/%" PRIu64 "..%" PRIu64, d->kind->path,
			 range->first, range->last);
	range->path = path;
	range->entries[0] = &d->run.entries[0];
	range->entries[1] = &d->run.entries[1];
	if (d->visitor->range)
		q2_diff_answer(d, d->visitor->range(d->opaque, range));
}

/* Tells of the entries of a piece that differ. */
static void hear_words(struct q2_diff *d, const struct q2_diff_table tables[2],
		       const struct q2_diff_piece *piece, void *opaque)
{
	const struct q2_diff_kind *kind = opaque;
	size_t entry_bytes = kind->words * sizeof(uint64_t);

	for (size_t i = 0; i + entry_bytes <= piece->size && !d->failed; i += entry_bytes) {
		struct qcow2_diff_entry entries[2];
		uint64_t at = piece->at + i;

		if (memcmp(piece->bytes[0] + i, piece->bytes[1] + i, entry_bytes) == 0 &&
		    !q2_diff_only_one(tables, at))
			continue;
		for (size_t side = 0; side < 2; side++) {
			entries[side] = q2_diff_place(&tables[side], at);
			entries[side].entry = q2_load_be64(piece->bytes[side] + i);
			if (kind->words == 2)
				entries[side].subclusters =
					q2_load_be64(piece->bytes[side] + i + sizeof(uint64_t));
		}
		q2_diff_run_add(d, at / entry_bytes, entries);
	}
}

void q2_diff_words(struct q2_diff *d, const struct q2_diff_table tables[2],
		   const struct q2_diff_kind *kind)
{
	struct q2_diff_table whole[2] = {tables[0], tables[1]};
	struct q2_diff_kind mine = *kind;

	/* Half an extended L2 entry is none. */
	for (size_t side = 0; side < 2; side++)
		whole[side].there_bytes -= whole[side].there_bytes % (kind->words * 8);
	q2_diff_run_begin(d, kind);
	q2_diff_read(d, whole, false, hear_words, &mine);
	q2_diff_run_end(d);
}
