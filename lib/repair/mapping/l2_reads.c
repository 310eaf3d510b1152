/* SPDX-License-Identifier: MIT */
/* What the guest reads by an L2 entry, and what of it has to be looked up. See l2_entry.h. */
#include "repair/mapping/l2_entry.h"

#define OFFSET     QCOW2_ENTRY_MASK(l2_entry, offset)
#define COPIED     QCOW2_ENTRY_MASK(l2_entry, copied)
#define COMPRESSED QCOW2_ENTRY_MASK(l2_entry, compressed)
#define ZERO       QCOW2_ENTRY_MASK(l2_entry, zero)

uint64_t q2_entry_inside(const struct q2_entries *entries, uint64_t offset)
{
	uint64_t highest = offset;

	if (offset < entries->geometry->file_size_bytes)
		return offset;
	while (highest & (highest - 1))
		highest &= highest - 1;
	return offset & ~highest;
}

uint64_t q2_l2_compressed_at(const struct q2_entries *entries, uint64_t entry)
{
	uint64_t offset = qcow2_l2_compressed_decode(entry, entries->geometry->cluster_bits).offset;

	return q2_entry_inside(entries, offset & (OFFSET | 511));
}

uint64_t q2_l1_candidate(const struct q2_entries *entries, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l1_entry, offset);
	uint64_t within = entries->geometry->cluster_size_bytes - 1;

	if (offset & within)
		offset &= ~within;
	else if (offset >= entries->geometry->file_size_bytes)
		offset = q2_entry_inside(entries, offset);
	else
		return 0;
	return offset < entries->geometry->file_size_bytes ? offset : 0;
}

uint64_t q2_l2_candidate(const struct q2_entries *entries, struct q2_l2_pair pair)
{
	const struct qcow2_geometry *geometry = entries->geometry;
	uint64_t within = geometry->cluster_size_bytes - 1;
	uint64_t offset = pair.entry & OFFSET & ~within, inside;
	bool wanted;

	if (geometry->data_file || offset == 0)
		return 0;
	if (offset >= geometry->file_size_bytes) {
		inside = q2_entry_inside(entries, offset);
		wanted = !qcow2_l2_is_compressed(pair.entry) && (pair.entry & OFFSET) == offset &&
			 !(entries->version_2 && (pair.entry & ZERO));
		return wanted && inside < geometry->file_size_bytes ? inside : 0;
	}
	if (qcow2_l2_is_compressed(pair.entry))
		/* The compressed flag may be the wrong one: the rest is a whole entry then. */
		wanted = (pair.entry & COPIED) != 0 &&
			 (pair.entry & ~(COPIED | COMPRESSED)) == offset;
	else
		wanted = (pair.entry & OFFSET & within) != 0 ||
			 (entries->version_2 && (pair.entry & ZERO));
	return wanted ? offset : 0;
}

uint32_t q2_l2_both(const struct q2_entries *entries, struct q2_l2_pair pair)
{
	uint64_t offset = pair.entry & OFFSET;

	if (!entries->geometry->extended_l2 || qcow2_l2_is_compressed(pair.entry) || offset == 0 ||
	    entries->geometry->data_file)
		return 0;
	return (uint32_t)(pair.subclusters & pair.subclusters >> 32);
}

static bool is_invalid(const struct q2_entries *entries, struct q2_l2_pair pair)
{
	const struct qcow2_l2_subclusters bits = qcow2_l2_subclusters_decode(pair.subclusters);

	if (!entries->geometry->extended_l2)
		return entries->version_2 && (pair.entry & ZERO);
	return (bits.allocated & bits.zeroes) != 0 ||
	       (bits.allocated != 0 &&
		!qcow2_l2_has_offset(pair.entry, entries->geometry->data_file));
}

/* Of an entry that is valid by itself: a standard one with a place. */
static bool is_refused(const struct q2_entries *entries, uint64_t entry, uint64_t guest_byte)
{
	uint64_t offset = entry & OFFSET;

	return offset % entries->geometry->cluster_size_bytes != 0 ||
	       (entries->geometry->data_file && offset != guest_byte);
}

static enum qcow2_reads reads_compressed(const struct q2_entries *entries, uint64_t entry,
					 const struct q2_l2_facts *facts)
{
	struct qcow2_compressed_extent extent =
		qcow2_compressed_split(entry, entries->geometry->cluster_bits);

	if (entries->geometry->data_file || !facts->inflates ||
	    extent.offset_bytes >= entries->geometry->file_size_bytes)
		return QCOW2_READS_ERROR;
	return QCOW2_READS_DATA;
}

enum qcow2_reads q2_l2_reads(const struct q2_entries *entries, struct q2_l2_pair pair,
			     const struct q2_l2_facts *facts, unsigned subcluster)
{
	const struct qcow2_geometry *geometry = entries->geometry;
	bool data_file = geometry->data_file, placed = qcow2_l2_has_offset(pair.entry, data_file);
	enum qcow2_l2_kind kind;

	if (qcow2_l2_is_compressed(pair.entry))
		return reads_compressed(entries, pair.entry, facts);
	if (is_invalid(entries, pair))
		return QCOW2_READS_ERROR;
	kind = geometry->extended_l2 ? qcow2_subcluster_classify(pair.entry, pair.subclusters,
								 subcluster, data_file)
				     : qcow2_l2_classify(pair.entry, false, data_file);
	/* QEMU sees no place at offset 0 of a data file if the cluster is zeros. */
	if (kind == QCOW2_L2_ZERO_ALLOCATED && !geometry->extended_l2 && !(pair.entry & OFFSET))
		return QCOW2_READS_ZEROS;
	if (placed && is_refused(entries, pair.entry, facts->guest_byte))
		return QCOW2_READS_ERROR;
	if (kind == QCOW2_L2_UNALLOCATED)
		return entries->has_backing ? QCOW2_READS_BACKING : QCOW2_READS_ZEROS;
	if (kind == QCOW2_L2_DATA &&
	    (data_file || (pair.entry & OFFSET) < geometry->file_size_bytes))
		return QCOW2_READS_DATA;
	return QCOW2_READS_ZEROS;
}
