/* SPDX-License-Identifier: MIT */
/* Finds the L2 table of a place, and runs of L1 entries that have none. */
#include "base/bytes.h"
#include "image/mapping/mapping.h"

#define ENTRY_BYTES 8

/* The first cluster of the disk that entry `index` of the L1 table maps. */
static uint64_t first_cluster(const struct qcow2_mapping *m, uint64_t index)
{
	return index << m->l2_bits;
}

/*
 * Behind the entries that can be read: the rest of the table is lost, the rest of the disk is not.
 */
static void find_behind(const struct qcow2_mapping *m, uint64_t index,
			struct qcow2_mapping_extent *run)
{
	if (index < m->l1.claimed) {
		run->kind = QCOW2_L2_INVALID;
		run->problem = m->l1.lost;
		q2_mapping_run_to(m, first_cluster(m, m->l1.claimed), run);
	} else {
		q2_mapping_run_to(m, UINT64_MAX, run);
	}
}

/* How many entries from the first of bytes on lead to no table. */
static uint64_t count_empty(struct qcow2_bytes bytes)
{
	size_t count = 0;

	while ((count + 1) * ENTRY_BYTES <= bytes.size &&
	       !(q2_load_be64(bytes.data + count * ENTRY_BYTES) &
		 QCOW2_ENTRY_MASK(l1_entry, offset)))
		count++;
	return count;
}

/* Whether an L2 table can be where an entry says that it is. */
static bool judge_table(const struct qcow2_geometry *geometry, uint64_t table,
			struct qcow2_mapping_extent *run)
{
	if (table % geometry->cluster_size_bytes != 0)
		run->problem = QCOW2_PROBLEM_L2_TABLE_UNALIGNED;
	else if (table >= geometry->file_size_bytes)
		run->problem = QCOW2_PROBLEM_L2_TABLE_BEYOND_END;
	else
		return true;
	run->kind = QCOW2_L2_INVALID;
	return false;
}

int q2_mapping_find(struct qcow2_mapping *m, struct qcow2_mapping_extent *run,
		    struct qcow2_error *err)
{
	const uint64_t index = q2_mapping_cluster(m) >> m->l2_bits;
	const uint64_t entry_at = m->l1.offset_bytes + index * ENTRY_BYTES;
	struct q2_mapping_glance glance;
	uint64_t table, empty;

	m->ahead.entries = 0;
	*run = (struct qcow2_mapping_extent){.size = sizeof(*run),
					     .start.byte = m->at,
					     .kind = QCOW2_L2_UNALLOCATED,
					     .host.byte = QCOW2_NO_OFFSET,
					     .entry_at.byte = QCOW2_NO_OFFSET};
	if (index >= m->l1.stored) {
		find_behind(m, index, run);
		return 0;
	}
	if (q2_mapping_look(&m->l1_window, entry_at, ENTRY_BYTES, &glance, err))
		return -1;
	run->entry_at.byte = entry_at;
	if (glance.hole_bytes > 0) {
		q2_mapping_run_to(m, first_cluster(m, index + glance.hole_bytes / ENTRY_BYTES),
				  run);
		return 0;
	}
	run->entry = q2_load_be64(glance.bytes.data);
	table = run->entry & QCOW2_ENTRY_MASK(l1_entry, offset);
	if (table != 0 && judge_table(&m->image->geometry, table, run))
		return q2_mapping_find_l2(m, table, run, err);
	empty = table != 0 ? 1 : count_empty(glance.bytes);
	q2_mapping_run_to(m, first_cluster(m, index + empty), run);
	return 0;
}
