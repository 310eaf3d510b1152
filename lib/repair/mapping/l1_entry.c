/* SPDX-License-Identifier: MIT */
/* Mends one L1 entry. See l2_entry.h. */
#include "repair/mapping/l2_entry.h"

#define OFFSET QCOW2_ENTRY_MASK(l1_entry, offset)

const enum qcow2_problem_id q2_l1_kinds[] = {
	QCOW2_PROBLEM_L1_ENTRY_RESERVED, QCOW2_PROBLEM_L1_ENTRY_OFFSET_ZERO,
	QCOW2_PROBLEM_L2_TABLE_UNALIGNED, QCOW2_PROBLEM_L2_TABLE_BEYOND_END, QCOW2_PROBLEM_NONE};

/* What is not mapped at all. */
static enum qcow2_reads unmapped(const struct q2_entries *entries)
{
	return entries->has_backing ? QCOW2_READS_BACKING : QCOW2_READS_ZEROS;
}

/* Whether QEMU refuses the entry, so that a table past the end of the file is not read as zeros. */
static bool is_unaligned(const struct q2_entries *entries, uint64_t entry)
{
	return (entry & OFFSET) % entries->geometry->cluster_size_bytes != 0;
}

static void mend_unaligned(const struct q2_entries *entries, bool is_table,
			   struct q2_l1_mended *out)
{
	out->before = QCOW2_READS_ERROR;
	if (is_table) {
		out->entry &= ~(OFFSET & (entries->geometry->cluster_size_bytes - 1));
		out->after = QCOW2_READS_DATA;
		out->does = "points to the L2 table that starts at this cluster, which lacks a "
			    "reference";
		return;
	}
	out->costs = true;
	out->entry = 0;
	out->after = unmapped(entries);
	out->does = "unmaps a part of the disk whose L2 table cannot be found";
	if (entries->has_backing && !entries->version_2) {
		out->wants_zeros = true;
		out->after = QCOW2_READS_ZEROS;
		out->does = "maps zeros where the L2 table cannot be found";
	}
}

bool q2_l1_mend(const struct q2_entries *entries, enum qcow2_problem_id id, uint64_t entry,
		bool is_table, struct q2_l1_mended *out)
{
	*out = (struct q2_l1_mended){.entry = entry};
	switch ((unsigned)id) {
	case QCOW2_PROBLEM_L1_ENTRY_RESERVED:
		out->entry &= ~qcow2_l1_entry_reserved;
		out->does = "clears reserved bits";
		return true;
	case QCOW2_PROBLEM_L1_ENTRY_OFFSET_ZERO:
		out->entry = 0;
		out->does = "clears flags of an entry that leads to no L2 table";
		return true;
	case QCOW2_PROBLEM_L2_TABLE_UNALIGNED:
		mend_unaligned(entries, is_table, out);
		return true;
	case QCOW2_PROBLEM_L2_TABLE_BEYOND_END:
		out->before = unmapped(entries);
		if (is_table && !is_unaligned(entries, entry)) {
			out->entry = (entry & ~OFFSET) | q2_l1_candidate(entries, entry);
			out->after = QCOW2_READS_DATA;
			out->does = "clears a bit of the offset, so that it leads to an L2 table "
				    "that lacks a reference";
			return true;
		}
		out->costs = is_unaligned(entries, entry);
		out->entry = 0;
		if (out->costs)
			out->before = QCOW2_READS_ERROR;
		out->after = unmapped(entries);
		out->does = "clears an entry whose L2 table lies past the end of the file";
		return true;
	}
	return false;
}
