/* SPDX-License-Identifier: MIT */
/*
 * What one L2 entry means for the guest. Rules that a reader can obey in spite of a fault (reserved
 * bits, a copied flag that is wrong) do not matter here; the check tells of them. Where a rule is
 * broken so that a reader cannot know what to read, the entry is invalid, as it is for QEMU.
 */
#include "image/mapping/mapping.h"

/* The largest host offset that the format allows: bits 56 and up of an offset are always 0. */
#define OFFSET_MOST (QCOW2_ENTRY_MASK(l2_entry, offset) | 511)

static void invalid(struct qcow2_mapping_extent *out, enum qcow2_problem_id problem)
{
	out->kind = QCOW2_L2_INVALID;
	out->problem = problem;
}

static void judge_compressed(const struct qcow2_image *image, const struct q2_mapping_entry *e,
			     struct qcow2_mapping_extent *out)
{
	const struct qcow2_geometry *geometry = &image->geometry;
	const struct qcow2_compressed_extent extent =
		qcow2_compressed_split(e->entry, geometry->cluster_bits);
	const uint64_t end = extent.offset_bytes + extent.length_bytes;

	if (geometry->data_file) {
		invalid(out, QCOW2_PROBLEM_COMPRESSED_DATA_FILE);
	} else if (extent.offset_bytes > OFFSET_MOST) {
		invalid(out, QCOW2_PROBLEM_COMPRESSED_OFFSET);
	} else if (extent.offset_bytes >= geometry->file_size_bytes ||
		   end >= geometry->file_size_bytes + geometry->cluster_size_bytes) {
		/* The last sectors may be cut; a cluster or more of them may not. */
		invalid(out, QCOW2_PROBLEM_COMPRESSED_BEYOND_END);
	} else {
		out->kind = QCOW2_L2_COMPRESSED;
		out->host.byte = extent.offset_bytes;
		out->host_bytes = extent.length_bytes;
	}
}

/*
 * Whether a cluster that has a place has no data there, so that nothing is lost if the file ends
 * before.
 */
static bool has_no_data(const struct qcow2_geometry *geometry, const struct q2_mapping_entry *e,
			const struct qcow2_mapping_extent *out)
{
	if (geometry->extended_l2)
		return qcow2_l2_subclusters_decode(e->subclusters).allocated == 0;
	return out->kind == QCOW2_L2_ZERO_ALLOCATED;
}

/* The rules of a host offset that is in use. */
static void judge_place(const struct qcow2_geometry *geometry, const struct q2_mapping_entry *e,
			struct qcow2_mapping_extent *out)
{
	const uint64_t offset = e->entry & QCOW2_ENTRY_MASK(l2_entry, offset);

	/* Guest and host offsets are the same in a data file, whose size is not known here. */
	if (geometry->data_file && offset != e->guest_byte) {
		invalid(out, QCOW2_PROBLEM_DATA_FILE_OFFSET);
	} else if (offset % geometry->cluster_size_bytes != 0) {
		invalid(out, QCOW2_PROBLEM_DATA_UNALIGNED);
	} else if (!geometry->data_file && offset >= geometry->file_size_bytes &&
		   !has_no_data(geometry, e, out)) {
		invalid(out, QCOW2_PROBLEM_DATA_BEYOND_END);
	} else {
		out->host.byte = offset;
		out->host_bytes = geometry->cluster_size_bytes;
	}
}

/* One bad subcluster spoils its cluster: QEMU reads none of them then. */
static bool judge_subclusters(const struct q2_mapping_entry *e, bool placed,
			      struct qcow2_mapping_extent *out)
{
	const struct qcow2_l2_subclusters bits = qcow2_l2_subclusters_decode(e->subclusters);

	if (bits.allocated & bits.zeroes)
		invalid(out, QCOW2_PROBLEM_SUBCLUSTER_BOTH);
	else if (bits.allocated != 0 && !placed)
		invalid(out, QCOW2_PROBLEM_SUBCLUSTER_WITHOUT_OFFSET);
	else
		return true;
	return false;
}

/*
 * Whether an entry is zeros at offset 0 of a data file. QEMU sees no place there, as with other
 * entries without an offset; only of data does it look at the copied flag.
 */
static bool is_zero_at_start(const struct qcow2_geometry *geometry, uint64_t entry)
{
	return !geometry->extended_l2 && (entry & QCOW2_ENTRY_MASK(l2_entry, zero)) &&
	       (entry & QCOW2_ENTRY_MASK(l2_entry, offset)) == 0;
}

void q2_mapping_judge(const struct qcow2_image *image, const struct q2_mapping_entry *e,
		      struct qcow2_mapping_extent *out)
{
	const struct qcow2_geometry *geometry = &image->geometry;
	const bool placed = qcow2_l2_has_offset(e->entry, geometry->data_file);

	out->host.byte = QCOW2_NO_OFFSET;
	out->host_bytes = 0;
	out->problem = QCOW2_PROBLEM_NONE;
	out->kind = qcow2_l2_classify(e->entry, geometry->extended_l2, geometry->data_file);
	if (out->kind == QCOW2_L2_COMPRESSED) {
		judge_compressed(image, e, out);
		return;
	}
	if (geometry->extended_l2) {
		if (!judge_subclusters(e, placed, out))
			return;
		out->kind = qcow2_subcluster_classify(e->entry, e->subclusters, e->subcluster,
						      geometry->data_file);
	} else if ((e->entry & QCOW2_ENTRY_MASK(l2_entry, zero)) && image->header.version < 3) {
		invalid(out, QCOW2_PROBLEM_L2_ENTRY_ZERO_FLAG);
		return;
	}
	if (is_zero_at_start(geometry, e->entry))
		out->kind = QCOW2_L2_ZERO;
	else if (placed)
		judge_place(geometry, e, out);
}
